#pragma once

#include <string_view>

#include "backend/ops.h"

// The only file that opens libraries.
namespace fathom {

/// The backend in libfathom_NAME.so.1: from `folder`, or where that is empty from beside this
/// library. Loaded once and never unloaded. Throws Error(kUnsupported) when it is not there, does
/// not load or belongs to another build: never another backend in its place.
const BackendTable* load_plugin(std::string_view name, std::string_view folder);

}  // namespace fathom
