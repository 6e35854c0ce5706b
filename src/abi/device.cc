#include "abi/device.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "backend/backend.h"
#include "backend/check_backend.h"
#include "base/status.h"
#include "base/thread.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace fathom::abi {
namespace {

/// The processor's own name for itself: 48 bytes in three leaves.
void read_name(char (&name)[96]) {
#if defined(__x86_64__)
    unsigned words[12] = {};
    if (static_cast<unsigned>(__get_cpuid_max(0x80000000u, nullptr)) >= 0x80000004u) {
        for (unsigned leaf = 0; leaf < 3; ++leaf) {
            unsigned* at = words + size_t{4} * leaf;
            __get_cpuid(0x80000002u + leaf, at, at + 1, at + 2, at + 3);
        }
        std::memcpy(name, words, sizeof words);
        return;
    }
#endif
    std::memcpy(name, "CPU", sizeof "CPU");
}

/// The value of "isa" in the backend's description of the best level that it opens: kAuto is the
/// fastest one, which is not always the best.
void read_level(char (&level)[32]) {
    const BackendTable& backend = *cpu_backend();
    BackendOptions options{.n_threads = 1, .deterministic = 0, .isa = CpuIsa::kAvx512Bf16,
                           .mla_form = MlaForm::kAuto};
    void* device = nullptr;
    BackendError error = {};
    int32_t status = backend.open(&options, &device, &error);
    while (status == static_cast<int32_t>(Status::kUnsupported) &&
           options.isa != CpuIsa::kScalar) {
        options.isa = static_cast<CpuIsa>(static_cast<int32_t>(options.isa) - 1);
        status = backend.open(&options, &device, &error);
    }
    check_backend(backend, status, error);
    const std::string_view text = backend.describe(device);
    constexpr std::string_view kKey = "\"isa\":\"";
    const size_t from = text.find(kKey) + kKey.size();
    const std::string_view value = text.substr(from, text.find('"', from) - from);
    std::memcpy(level, value.data(), std::min(value.size(), sizeof level - 1));
    backend.close(device);
}

}  // namespace

fathom_device_info cpu_device_info() {
    fathom_device_info info = {};
    info.kind = FATHOM_DEVICE_CPU;
    info.n_processors = usable_processors();
    const MachineMemory memory = machine_memory();
    info.memory_total = memory.total;
    info.memory_available = memory.available;
    read_name(info.name);
    read_level(info.level);
    return info;
}

}  // namespace fathom::abi
