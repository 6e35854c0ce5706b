#pragma once

#include <string_view>

#include "backend/ops.h"
#include "base/status.h"

namespace fathom {

/// Throws the Error that a backend's status means. A number that is no status of ours is the
/// backend's mistake, not the caller's.
inline void check_backend(const BackendTable& table, int32_t status, const BackendError& error) {
    if (status == 0) return;
    const bool known = status > 0 && status <= static_cast<int32_t>(Status::kInternal);
    fail(known ? static_cast<Status>(status) : Status::kInternal, "backend ", table.name, ": ",
         std::string_view(error.text));
}

}  // namespace fathom
