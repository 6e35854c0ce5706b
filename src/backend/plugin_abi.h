#pragma once

#include <cstdint>

#include "backend/ops.h"

// What crosses between the core and a backend in a library of its own, libfathom_NAME.so.1. Core
// and plugin ship together: both carry the digest of these headers, and a plugin of another build
// is refused. Plain structs and functions, because each side has its own C++ runtime.
namespace fathom {

/// What a plugin asks of the core, the one place that opens libraries.
struct PluginServices {
    /// Opens the first of `n_paths` files that is there and loads; null when none does. `report`
    /// receives what was tried and why each failed, NUL-terminated and cut to fit.
    void* (*open_first)(const char* const* paths, int32_t n_paths, char* report,
                        uint64_t report_bytes);
    /// The address of an exported function; null when there is none.
    void* (*find)(void* library, const char* name);
};

/// The one symbol that a plugin exports. `services` lives as long as the process. Null for another
/// `build_id` than the plugin's own, which is then left in `own_build_id`.
using PluginEntry = const BackendTable* (*)(const PluginServices* services, const char* build_id,
                                            const char** own_build_id);
inline constexpr char kPluginEntryName[] = "fathom_plugin_backend";

/// FATHOM_BUILD_ID comes from CMake: the version and a digest of the headers of this boundary.
inline constexpr char kBuildId[] = FATHOM_BUILD_ID;

}  // namespace fathom
