#include "driver/driver.h"

#include <charconv>
#include <cstdio>
#include <cstdlib>

namespace virtual_gpu {
namespace {

uint64_t number(const std::string& text) {
    uint64_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

void write_text(const std::string& path, const std::string& text) {
    std::FILE* file = std::fopen(path.c_str(), "w");
    if (file != nullptr) {
        std::fwrite(text.data(), 1, text.size(), file);
        std::fclose(file);
    }
}

// Runs at the end of the process: the report of everything that was found and counted.
struct FinalReport {
    ~FinalReport() {
        Driver& driver = Driver::instance();
        const std::string findings = driver.findings_text();
        if (!driver.settings.counters_file.empty()) {
            write_text(driver.settings.counters_file, driver.counters_json());
        }
        if (!driver.settings.findings_file.empty()) {
            write_text(driver.settings.findings_file, findings);
        } else if (!findings.empty()) {
            std::fprintf(stderr, "virtual GPU:\n%s", findings.c_str());
        }
    }
};

}  // namespace

Driver& Driver::instance() {
    // Never destroyed: the host may call until its last moment.
    static Driver* driver = new Driver;
    return *driver;
}

void Driver::initialise() {
    if (is_initialised) {
        return;
    }
    static FinalReport report;
    if (const char* text = std::getenv("FATHOM_VIRTUAL_GPU")) {
        apply(text);
    }
    machine = std::make_unique<Machine>(settings.memory_bytes);
    is_initialised = true;
}

void Driver::apply(const std::string& text) {
    for (size_t at = 0; at < text.size();) {
        const size_t end = std::min(text.find(',', at), text.size());
        const std::string pair = text.substr(at, end - at);
        at = end + 1;
        const size_t equals = pair.find('=');
        const std::string key = pair.substr(0, equals);
        const std::string value = equals == std::string::npos ? "" : pair.substr(equals + 1);
        if (key == "compute")
            settings.compute = static_cast<int>(number(value));
        else if (key == "devices")
            settings.devices = static_cast<int>(number(value));
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
        else if (key == "fail_allocation")
            settings.fail_allocation = number(value);
        else if (key == "fail_launch")
            settings.fail_launch = number(value);
        else if (key == "lose_device")
            settings.lose_device = number(value);
        else if (key == "missing")
            settings.missing = value;
        else if (key == "counters")
            settings.counters_file = value;
        else if (key == "findings")
            settings.findings_file = value;
        else
            complain("virtual GPU setting '" + key + "' is unknown");
    }
    random_state_ = settings.seed;
}

CUresult Driver::ready() const {
    if (!is_initialised) {
        return CUDA_ERROR_NOT_INITIALIZED;
    }
    if (current_context() == nullptr) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    return sticky;
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

bool Driver::is_pinned(const void* pointer, size_t bytes) const {
    auto after = pinned.upper_bound(const_cast<void*>(pointer));
    if (after == pinned.begin()) {
        return false;
    }
    --after;
    const auto offset = static_cast<uint64_t>(static_cast<const char*>(pointer) -
                                              static_cast<const char*>(after->first));
    return offset + bytes <= after->second;
}

std::string Driver::counters_json() const {
    std::string json = "{\"launches\": " + std::to_string(launches) +
                       ", \"graph_launches\": " + std::to_string(graph_launches) +
                       ", \"kernels_run\": " + std::to_string(kernels_run) + ", \"modules\": [";
    const char* comma = "";
    for (const auto& module : modules) {
        json += comma + virtual_gpu::counters_json(*module->program);
        comma = ",\n";
    }
    return json + "]}\n";
}

std::string Driver::findings_text() const {
    std::string text;
    for (const std::string& complaint : complaints) {
        text += complaint + "\n";
    }
    if (machine != nullptr) {
        for (const Finding& finding : machine->findings().list()) {
            text += describe(finding) + "\n";
        }
    }
    return text;
}

CUcontext& current_context() {
    static thread_local CUcontext context = nullptr;
    return context;
}

CUcontext context_of(int device) {
    static char contexts[64];
    return reinterpret_cast<CUcontext>(&contexts[device]);
}

}  // namespace virtual_gpu

// For tests, beside the driver's own interface.
using virtual_gpu::Driver;

extern "C" __attribute__((visibility("default"))) void virtual_gpu_set(const char* settings) {
    std::lock_guard lock(Driver::instance().mutex);
    Driver::instance().apply(settings);
}

// Copies as much of the text as fits and returns its whole length. 'what': "findings", "counters".
extern "C" __attribute__((visibility("default"))) size_t virtual_gpu_get(const char* what,
                                                                         char* text, size_t size) {
    Driver& driver = Driver::instance();
    std::lock_guard lock(driver.mutex);
    const std::string all =
        std::string(what) == "counters" ? driver.counters_json() : driver.findings_text();
    if (size != 0) {
        const size_t n = all.copy(text, size - 1);
        text[n] = '\0';
    }
    return all.size();
}

// Forgets findings and faults, and takes a lost device for found: the next test begins anew.
extern "C" __attribute__((visibility("default"))) void virtual_gpu_reset() {
    Driver& driver = Driver::instance();
    std::lock_guard lock(driver.mutex);
    driver.sticky = CUDA_SUCCESS;
    driver.complaints.clear();
    driver.settings.fail_allocation = 0;
    driver.settings.fail_launch = 0;
    driver.settings.lose_device = 0;
    driver.settings.missing.clear();
    if (driver.machine != nullptr) {
        driver.machine->findings().clear();
    }
}
