#include "abi/guard.h"

#include <atomic>
#include <cstring>

#include "abi/handles.h"

namespace fathom::abi {
namespace {

char no_memory_text[] = "the system refused memory";

/// Handed out when there is no memory for a message; releasing it does nothing.
fathom_error no_memory{Status::kNoMemory, no_memory_text};

}  // namespace

int32_t report(fathom_error** error, Status status, const char* message) noexcept {
    if (error != nullptr) {
        const size_t bytes = std::strlen(message) + 1;
        char* copy = new (std::nothrow) char[bytes];
        fathom_error* made = copy == nullptr ? nullptr : new (std::nothrow) fathom_error;
        if (made == nullptr) {
            delete[] copy;
            *error = &no_memory;
        } else {
            std::memcpy(copy, message, bytes);
            *made = {status, copy};
            *error = made;
        }
    }
    return static_cast<int32_t>(status);
}

bool is_static(const fathom_error* error) { return error == &no_memory; }

void check_process() {
    static std::atomic<int32_t> owner{0};
    const int32_t now = process_id();
    int32_t first = 0;
    if (owner.compare_exchange_strong(first, now) || first == now) return;
    fail(Status::kBadState, "this process was forked from process ", first,
         ", which uses the library; a forked child cannot");
}

}  // namespace fathom::abi
