// What the library says of this machine, beside what the kernel says of it.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include <sched.h>

#include <catch2/catch_test_macros.hpp>

#include "fathom/fathom.h"
#include "library_handles.h"
#include "unit/processor_flags.h"

using library::sized;

namespace {

fathom_device_info cpu() {
    fathom_device_info device = sized<fathom_device_info>();
    uint32_t count = 1;
    REQUIRE(fathom_devices_query(&device, &count, nullptr) == FATHOM_OK);
    return device;
}

/// A line of /proc/meminfo in bytes.
uint64_t memory_fact(const std::string& name) {
    std::ifstream file("/proc/meminfo");
    std::string word;
    uint64_t kibibytes = 0;
    while (file >> word) {
        if (word == name + ":" && file >> kibibytes) return kibibytes << 10;
    }
    return 0;
}

}  // namespace

// Breaks when the level is not the best one, a level that is there is refused, or one that is not
// there is taken and faults in the middle of a step.
TEST_CASE("abi device level", "[abi]") {
    const std::vector<std::string> sets = fathom::test::instruction_sets();
    CHECK(std::string(cpu().level) == sets.back());
    for (int32_t level = FATHOM_CPU_SCALAR; level <= FATHOM_CPU_AVX512_BF16; ++level) {
        CAPTURE(level);
        fathom_engine_options options = sized<fathom_engine_options>();
        options.n_threads = 1;
        options.cpu_level = level;
        fathom_engine* engine = nullptr;
        fathom_error* error = nullptr;
        const int32_t status = fathom_engine_create(&options, &engine, &error);
        if (level <= static_cast<int32_t>(sets.size())) {
            CHECK(status == FATHOM_OK);
        } else {
            CHECK(status == FATHOM_UNSUPPORTED);
            CHECK(std::strstr(fathom_error_message(error), sets.back().c_str()) != nullptr);
        }
        fathom_error_release(error);
        fathom_engine_release(engine);
    }
}

// Breaks when a host that plans by this number is told that the page cache is not to be had: after
// one large load it would refuse the next.
TEST_CASE("abi device memory and processors", "[abi]") {
    const uint64_t total = memory_fact("MemTotal");
    REQUIRE(total > 0);
    const fathom_device_info device = cpu();
    CHECK(device.memory_total == total);
    // Others take and give memory meanwhile.
    const uint64_t available = memory_fact("MemAvailable");
    const uint64_t difference = std::max(available, device.memory_available) -
                                std::min(available, device.memory_available);
    CHECK(difference < total / 20);
    cpu_set_t set;
    REQUIRE(sched_getaffinity(0, sizeof set, &set) == 0);
    CHECK(device.n_processors == CPU_COUNT(&set));
}
