#include "backend/plugin.h"

#include <algorithm>
#include <cstring>
#include <string>

#include <dlfcn.h>

#include "backend/plugin_abi.h"
#include "base/status.h"

namespace fathom {
namespace {

/// Why the last dlopen() or dlsym() of this thread failed.
std::string last_reason() {
    const char* text = dlerror();
    return text == nullptr ? "no reason given" : printable(text, 240);
}

/// RTLD_LOCAL: what a library exports stays out of the host's names.
void* open_library(const char* path) { return dlopen(path, RTLD_NOW | RTLD_LOCAL); }

void* open_first(const char* const* paths, int32_t n_paths, char* report, uint64_t report_bytes) {
    std::string tried;
    void* library = nullptr;
    try {
        for (int32_t i = 0; i < n_paths && library == nullptr; ++i) {
            library = open_library(paths[i]);
            if (library == nullptr) append(tried, concat(i == 0 ? "" : "; ", last_reason()));
        }
    } catch (...) {
        // Without memory for the report there is still the library, or none.
    }
    if (report != nullptr && report_bytes > 0) {
        const size_t bytes = std::min<size_t>(tried.size(), report_bytes - 1);
        std::memcpy(report, tried.data(), bytes);
        report[bytes] = '\0';
    }
    return library;
}

void* find(void* library, const char* name) { return dlsym(library, name); }

constexpr PluginServices kServices = {.open_first = open_first, .find = find};

/// The folder of the library that holds this code.
std::string own_folder() {
    Dl_info info{};
    if (dladdr(&kServices, &info) == 0 || info.dli_fname == nullptr) return ".";
    const std::string_view path = info.dli_fname;
    const size_t slash = path.rfind('/');
    return slash == std::string_view::npos ? "." : std::string(path.substr(0, slash));
}

}  // namespace

const BackendTable* load_plugin(std::string_view name, std::string_view folder) {
    const std::string path = concat(folder.empty() ? std::string_view(own_folder()) : folder,
                                    "/libfathom_", name, ".so.1");
    void* library = open_library(path.c_str());
    if (library == nullptr) {
        fail(Status::kUnsupported, "backend ", name, ": its plugin did not load: ", last_reason());
    }
    const auto entry = reinterpret_cast<PluginEntry>(find(library, kPluginEntryName));
    if (entry == nullptr) {
        fail(Status::kUnsupported, "backend ", name, ": ", printable(path), " exports no ",
             kPluginEntryName, "; it is no plugin of Fathom");
    }
    const char* found = nullptr;
    const BackendTable* table = entry(&kServices, kBuildId, &found);
    if (table == nullptr) {
        fail(Status::kUnsupported, "backend ", name, ": ", printable(path), " is of build ",
             printable(found == nullptr ? "unknown" : found), ", wanted ", kBuildId,
             ": library and plugin ship together");
    }
    return table;
}

}  // namespace fathom
