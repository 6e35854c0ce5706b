#pragma once

#include <cstdint>
#include <string>
#include <type_traits>

#include "abi/handle_memory.h"
#include "base/status.h"
#include "base/thread.h"
#include "fathom/fathom.h"

// The one gate at the border: everything behind it may throw, nothing may pass it.
namespace fathom::abi {

/// Stores an error object where the host asked for one and returns the status.
int32_t report(fathom_error** error, Status status, const char* message) noexcept;

/// Throws in a forked child: locks and threads of the parent do not exist there.
void check_process();

/// `body` returns nothing, or a status where an outcome is too common to be thrown.
template <typename Body>
int32_t guard(fathom_error** error, Body&& body) noexcept {
    try {
        check_process();
        const FloatingPointScope floating_point;
        if (error != nullptr) *error = nullptr;
        if constexpr (std::is_void_v<decltype(body())>) {
            body();
            return FATHOM_OK;
        } else {
            return body();
        }
    } catch (...) {
        int32_t code = FATHOM_INTERNAL;
        describe_exception([&](Status status, const char* message) {
            code = report(error, status, message);
        });
        return code;
    }
}

/// For releases and other calls that cannot fail: in a forked child they do nothing, because
/// destroying would join threads that do not exist.
template <typename Body>
void guard_release(Body&& body) noexcept {
    guard(nullptr, body);
}

/// Throws unless a pointer argument is there, and a handle is live.
template <typename Pointer>
void require(Pointer* pointer, const char* name) {
    if (pointer == nullptr) fail(Status::kInvalidArgument, name, ": found NULL");
    if constexpr (requires { Pointer::kKind; }) {
        if (!is_live(pointer)) {
            fail(Status::kInvalidArgument, name, ": found a handle that was released");
        }
    }
}

/// Pointer and length as text; NULL with length 0 is empty.
inline std::string_view text_of(const char* data, uint64_t bytes, const char* name) {
    if (data == nullptr && bytes != 0) {
        fail(Status::kInvalidArgument, name, ": found NULL with length ", bytes);
    }
    if (bytes > static_cast<uint64_t>(PTRDIFF_MAX)) {
        fail(Status::kInvalidArgument, name, ": length ", bytes, " is larger than any object");
    }
    return data == nullptr ? std::string_view() : std::string_view(data, bytes);
}

}  // namespace fathom::abi
