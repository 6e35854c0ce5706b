#include "driver/driver.h"

#include <charconv>
#include <cstdio>
#include <cstdlib>

namespace virtual_gpu {
namespace {

constexpr int kMaxDevices = 64;

uint64_t number(const std::string& text) {
    uint64_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

char contexts[kMaxDevices];

// The device that the thread's context belongs to, -1 without one.
int current_device() {
    const CUcontext context = current_context();
    const auto* at = reinterpret_cast<const char*>(context);
    return context == nullptr ? -1 : static_cast<int>(at - contexts);
}

void set_device_setting(const std::string& key, const std::string& value) {
    DriverSettings& settings = shared().settings;
    if (key == "compute")
        settings.compute = static_cast<int>(number(value));
    else if (key == "devices")
        settings.devices = static_cast<int>(std::min<uint64_t>(number(value), kMaxDevices));
    else if (key == "driver")
        settings.driver_version = static_cast<int>(number(value));
    else if (key == "memory")
        settings.memory_bytes = number(value);
    else if (key == "seed")
        settings.seed = static_cast<uint32_t>(number(value));
    else if (key == "check")
        settings.check = number(value) != 0;
    else if (key == "count")
        settings.count = number(value) != 0;
    else if (key == "peer_timeout_ms")
        settings.peer_timeout_ms = number(value);
    else if (key == "fail_allocation")
        settings.fail_allocation = number(value);
    else if (key == "fail_launch")
        settings.fail_launch = number(value);
    else if (key == "lose_device")
        settings.lose_device = number(value);
    else if (key == "mutant")
        settings.mutant = number(value);
    else if (key == "mutants")
        settings.mutants_file = value;
    else if (key == "missing")
        settings.missing = value;
    else if (key == "counters")
        settings.counters_file = value;
    else if (key == "findings")
        settings.findings_file = value;
    else
        complain("virtual GPU setting '" + key + "' is unknown");
}

}  // namespace

Shared& shared() {
    // Never destroyed: the host may call until its last moment.
    static Shared* all = [] {
        auto* made = new Shared;
        for (int i = 0; i < kMaxDevices; i++) {
            made->devices.push_back(std::make_unique<Driver>(i));
        }
        return made;
    }();
    return *all;
}

Driver& Driver::instance() {
    const int device = current_device();
    return *shared().devices[device < 0 ? 0 : device];
}

void initialise() {
    std::lock_guard lock(shared().mutex);
    if (shared().is_initialised) {
        return;
    }
    shared().is_initialised = true;
    if (const char* text = std::getenv("FATHOM_VIRTUAL_GPU")) {
        apply_settings(text);
    }
}

void apply_settings(const std::string& text) {
    for (size_t at = 0; at < text.size();) {
        const size_t end = std::min(text.find(',', at), text.size());
        const std::string pair = text.substr(at, end - at);
        at = end + 1;
        const size_t equals = pair.find('=');
        set_device_setting(pair.substr(0, equals),
                           equals == std::string::npos ? "" : pair.substr(equals + 1));
    }
    for (const auto& device : shared().devices) {
        device->seed(shared().settings.seed);
        if (device->machine != nullptr) {
            device->machine->memory().set_capacity(shared().settings.memory_bytes);
        }
    }
}

void complain(const std::string& text) {
    std::lock_guard lock(shared().mutex);
    shared().complaints.push_back(text);
}

CUresult Driver::ready() const {
    if (!shared().is_initialised) {
        return CUDA_ERROR_NOT_INITIALIZED;
    }
    return current_context() == nullptr ? CUDA_ERROR_INVALID_CONTEXT : sticky;
}

CUresult Driver::ready_outside_capture() const {
    if (const CUresult result = ready()) {
        return result;
    }
    for (const Stream* stream : stream_order) {
        if (stream->capture != nullptr && stream->capture_mode != CU_STREAM_CAPTURE_MODE_RELAXED) {
            return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
        }
    }
    return CUDA_SUCCESS;
}

uint64_t Driver::random(uint64_t n) {
    uint64_t z = random_state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (z ^ (z >> 31)) % n;
}

bool is_pinned(const void* pointer, size_t bytes) {
    std::lock_guard lock(shared().mutex);
    const std::map<void*, uint64_t>& pinned = shared().pinned;
    auto after = pinned.upper_bound(const_cast<void*>(pointer));
    if (after == pinned.begin()) {
        return false;
    }
    --after;
    const auto offset = static_cast<uint64_t>(static_cast<const char*>(pointer) -
                                              static_cast<const char*>(after->first));
    return offset + bytes <= after->second;
}

Driver& owner_of(CUdeviceptr address) {
    for (const auto& device : shared().devices) {
        if (device->machine != nullptr && device->machine->memory().owns(address)) {
            return *device;
        }
    }
    return Driver::instance();
}

CUcontext& current_context() {
    static thread_local CUcontext context = nullptr;
    return context;
}

CUcontext context_of(int device) { return reinterpret_cast<CUcontext>(&contexts[device]); }

}  // namespace virtual_gpu
