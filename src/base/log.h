#pragma once

#include <cstdint>
#include <string_view>

#include "base/thread.h"

namespace fathom {

/// Where diagnostic records go: nowhere unless the host installs a hook. The library never writes
/// to a descriptor that it did not open.
struct LogHook {
    void (*write)(void* user_data, int32_t level, const char* text, uint64_t text_bytes) = nullptr;
    void* user_data = nullptr;

    void operator()(int32_t level, std::string_view text) const {
        if (write == nullptr) return;
        const HostFloatingPointScope host;
        write(user_data, level, text.data(), text.size());
    }
};

}  // namespace fathom
