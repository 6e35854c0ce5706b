#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "abi/library_handles.h"

using namespace library;

// Breaks when a client built against an older or newer header is misread.
TEST_CASE("abi struct sizes", "[abi]") {
    struct NewerOptions {
        fathom_engine_options known;
        uint64_t added_later;
    };
    NewerOptions newer = {};
    newer.known.struct_size = sizeof newer;
    newer.known.mode = FATHOM_MODE_MANUAL;
    fathom_engine* engine = nullptr;

    SECTION("an unknown field that is zero is ignored") {
        REQUIRE(fathom_engine_create(&newer.known, &engine, nullptr) == FATHOM_OK);
        fathom_engine_release(engine);
    }
    SECTION("an unknown field that is used is refused") {
        newer.added_later = 1;
        Result result;
        result.status = fathom_engine_create(&newer.known, &engine, &result.error);
        REQUIRE(result.status == FATHOM_UNSUPPORTED);
        REQUIRE(result.message().find("fathom_engine_options") != std::string::npos);
    }
    SECTION("a struct below its first version or of absurd size is refused") {
        for (const uint32_t size : {uint32_t{0}, uint32_t{8},
                                    uint32_t{offsetof(fathom_engine_options, device) - 1},
                                    uint32_t{5000},
                                    UINT32_MAX}) {
            fathom_engine_options options = {};
            options.struct_size = size;
            Result result;
            result.status = fathom_engine_create(&options, &engine, &result.error);
            CAPTURE(size);
            REQUIRE(result.status == FATHOM_INVALID_ARGUMENT);
            REQUIRE(result.message().find("struct_size") != std::string::npos);
        }
    }
    SECTION("a larger result struct gets zeros behind what the library knows") {
        struct NewerStats {
            fathom_engine_stats known;
            uint64_t added_later;
        };
        NewerStats stats;
        std::memset(&stats, 0xff, sizeof stats);
        stats.known.struct_size = sizeof stats;
        const Engine live = new_engine();
        REQUIRE(fathom_engine_stats_read(live.get(), &stats.known, nullptr) == FATHOM_OK);
        REQUIRE(stats.added_later == 0);
        REQUIRE(stats.known.struct_size == sizeof stats);
    }
}

// Breaks when a language that cannot write `= {sizeof s}` gets a struct with garbage in it.
TEST_CASE("abi struct_init", "[abi]") {
    fathom_usage usage;
    std::memset(&usage, 0xff, sizeof usage);
    REQUIRE(fathom_struct_init(&usage, FATHOM_STRUCT_USAGE, sizeof usage) == FATHOM_OK);
    REQUIRE(usage.struct_size == sizeof usage);
    REQUIRE(usage.output_tokens == 0);
    REQUIRE(usage.decode_ns == 0);
    REQUIRE(fathom_struct_init(nullptr, FATHOM_STRUCT_USAGE, sizeof usage) ==
            FATHOM_INVALID_ARGUMENT);
    REQUIRE(fathom_struct_init(&usage, 0, sizeof usage) == FATHOM_INVALID_ARGUMENT);
    REQUIRE(fathom_struct_init(&usage, 999, sizeof usage) == FATHOM_INVALID_ARGUMENT);
    REQUIRE(fathom_struct_init(&usage, FATHOM_STRUCT_USAGE, sizeof usage - 1) ==
            FATHOM_INVALID_ARGUMENT);
}

// Breaks when a name or number that logs and bindings rely on changes.
TEST_CASE("abi names and versions", "[abi]") {
    REQUIRE(fathom_abi_version() == FATHOM_ABI_VERSION);
    REQUIRE(std::string(fathom_status_name(FATHOM_OK)) == "FATHOM_OK");
    REQUIRE(std::string(fathom_status_name(FATHOM_BUSY)) == "FATHOM_BUSY");
    REQUIRE(std::string(fathom_status_name(FATHOM_INTERNAL)) == "FATHOM_INTERNAL");
    REQUIRE(std::string(fathom_status_name(-1)) == "unknown status");
    REQUIRE(std::string(fathom_status_name(19)) == "unknown status");
    REQUIRE(fathom_feature_supported("arch.deepseek_v3") == 1);
    REQUIRE(fathom_feature_supported("arch.llama") == 0);
    REQUIRE(fathom_feature_supported("") == 0);
    REQUIRE(fathom_feature_supported(nullptr) == 0);
}

// Breaks when a support ticket does not say what its sender ran.
TEST_CASE("abi build info", "[abi]") {
    const std::string text = fathom_build_info_json();
    REQUIRE(text.find('\n') == std::string::npos);
    const nlohmann::json info = nlohmann::json::parse(text);
    const uint32_t version = fathom_abi_version();
    REQUIRE(info.at("abi") ==
            std::to_string(version >> 16) + "." + std::to_string(version & 0xffff));
    REQUIRE(std::count(info.at("version").get_ref<const std::string&>().begin(),
                       info.at("version").get_ref<const std::string&>().end(), '.') == 2);
    REQUIRE(!info.at("compiler").get<std::string>().empty());
    const std::vector<std::string> backends = info.at("backends");
    for (const std::string& backend : backends) {
        REQUIRE(fathom_feature_supported(("backend." + backend).c_str()) == 1);
    }
    REQUIRE(std::count(backends.begin(), backends.end(), "cpu") == 1);
    // Every level that an engine can be made with has its name here, in the order of the numbers.
    const std::vector<std::string> levels = info.at("cpu_levels");
    REQUIRE(levels.size() == FATHOM_CPU_AVX512_BF16);
    REQUIRE(levels.front() == "scalar");
    REQUIRE(levels.back() == "avx512_bf16");
    fathom_device_info device = sized<fathom_device_info>();
    uint32_t count = 1;
    REQUIRE(fathom_devices_query(&device, &count, nullptr) == FATHOM_OK);
    REQUIRE(std::count(levels.begin(), levels.end(), device.level) == 1);
}

// Breaks when a failed call leaves an error object of an earlier one, or none at all.
TEST_CASE("abi errors", "[abi]") {
    REQUIRE(fathom_error_code(nullptr) == FATHOM_OK);
    REQUIRE(std::string(fathom_error_message(nullptr)).empty());
    fathom_error_release(nullptr);

    fathom_error* error = nullptr;
    REQUIRE(fathom_engine_create(nullptr, nullptr, &error) == FATHOM_INVALID_ARGUMENT);
    REQUIRE(fathom_error_code(error) == FATHOM_INVALID_ARGUMENT);
    REQUIRE(std::string(fathom_error_message(error)) == "engine: found NULL");
    fathom_error_release(error);

    error = reinterpret_cast<fathom_error*>(1);
    uint32_t count = 0;
    REQUIRE(fathom_devices_query(nullptr, &count, &error) == FATHOM_OK);
    REQUIRE(error == nullptr);
}

// Breaks when a host cannot learn what machine it runs on.
TEST_CASE("abi devices", "[abi]") {
    uint32_t count = 0;
    REQUIRE(fathom_devices_query(nullptr, &count, nullptr) == FATHOM_OK);
    REQUIRE(count == 1);
    fathom_device_info device = sized<fathom_device_info>();
    REQUIRE(fathom_devices_query(&device, &count, nullptr) == FATHOM_OK);
    REQUIRE(device.kind == FATHOM_DEVICE_CPU);
    REQUIRE(device.n_processors >= 1);
    REQUIRE(device.memory_total > device.memory_available);
    REQUIRE(std::strlen(device.name) > 0);
    REQUIRE(std::strlen(device.level) > 0);
    count = 0;
    REQUIRE(fathom_devices_query(&device, &count, nullptr) == FATHOM_INVALID_ARGUMENT);
    REQUIRE(count == 1);
}
