#pragma once

// The virtual GPU as a test sees it: settings, findings and counters of the very library that the
// plugin opens as its driver.

#include <dlfcn.h>

#include <string>

#include <catch2/catch_test_macros.hpp>

#include "backend/plugin.h"
#include "base/text.h"

namespace cuda_test {

class VirtualDriver {
public:
    static VirtualDriver& instance() {
        static VirtualDriver driver;
        return driver;
    }

    void set(const std::string& settings) const { set_(settings.c_str()); }
    void reset() const { reset_(); }
    std::string text(const char* what) const {
        std::string all(get_(what, nullptr, 0) + 1, '\0');
        get_(what, all.data(), all.size());
        all.pop_back();
        return all;
    }
    /// What is launched from now on counts under this name.
    void section(const char* name) const { section_(name); }
    /// The traffic of this allocation gets a row of its own.
    void name(const void* memory, const char* text) const {
        REQUIRE(name_(reinterpret_cast<uint64_t>(memory), text) == 0);
    }
    const char* folder() const { return FATHOM_VIRTUAL_GPU_DIR; }

private:
    VirtualDriver() {
        void* library =
            dlopen(fathom::concat(folder(), "/libcuda.so.1").c_str(), RTLD_NOW | RTLD_LOCAL);
        REQUIRE(library != nullptr);
        find(library, "virtual_gpu_set", &set_);
        find(library, "virtual_gpu_get", &get_);
        find(library, "virtual_gpu_reset", &reset_);
        find(library, "virtual_gpu_section", &section_);
        find(library, "virtual_gpu_name", &name_);
    }
    template <class Function>
    static void find(void* library, const char* name, Function** function) {
        *function = reinterpret_cast<Function*>(dlsym(library, name));
        REQUIRE(*function != nullptr);
    }

    void (*set_)(const char*) = nullptr;
    size_t (*get_)(const char*, char*, size_t) = nullptr;
    void (*reset_)() = nullptr;
    void (*section_)(const char*) = nullptr;
    int (*name_)(uint64_t, const char*) = nullptr;
};

inline const fathom::BackendTable& cuda_backend() {
    return *fathom::load_plugin("cuda", FATHOM_PLUGIN_DIR);
}

/// A virtual GPU as new, for the length of a test; at its end nothing may have been found.
class CleanDriver {
public:
    explicit CleanDriver(const std::string& settings = "compute=80,seed=0") {
        VirtualDriver::instance().reset();
        VirtualDriver::instance().set(settings);
    }
    ~CleanDriver() { VirtualDriver::instance().reset(); }
    CleanDriver(const CleanDriver&) = delete;
    CleanDriver& operator=(const CleanDriver&) = delete;

    void check_clean() const {
        const std::string findings = VirtualDriver::instance().text("findings");
        // A cubin that the virtual GPU declines is how the plugin learns to hand it PTX.
        std::string real;
        for (size_t begin = 0; begin < findings.size();) {
            const size_t end = std::min(findings.find('\n', begin), findings.size());
            const std::string line = findings.substr(begin, end - begin);
            begin = end + 1;
            if (line.find("a module image is not PTX") == std::string::npos) real += line + "\n";
        }
        CHECK(real == "");
    }
};

}  // namespace cuda_test
