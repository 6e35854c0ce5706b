#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

// Memory of the host's handles. It never becomes anything else, and what was given back is used
// again only after kQuarantine others, so that a handle that was released can be told from a live
// one: a second release, or a use after it, is an error of the host and not its end.
namespace fathom::abi {

enum class HandleKind : uint32_t {
    kReleased = 0,
    kBuffer,
    kEngine,
    kModel,
    kTokenizer,
    kPrompt,
    kSession,
    kStream,
};

inline constexpr size_t kHandleBytes = 112;  // most that a handle may have
inline constexpr size_t kQuarantine = 256;

/// Memory for one handle of this kind. Throws std::bad_alloc.
void* take_handle_memory(HandleKind kind);
void give_handle_memory(void* handle) noexcept;

/// What lies there now. Async-signal-safe.
HandleKind handle_kind(const void* handle) noexcept;
/// Makes a live handle a released one; false if it is none. Of two threads one succeeds.
bool retire_handle(void* handle, HandleKind kind) noexcept;

/// Base of what the host's opaque pointers point to.
template <HandleKind kKindOfHandle>
struct Handle {
    static constexpr HandleKind kKind = kKindOfHandle;
    static void* operator new(size_t) { return take_handle_memory(kKind); }
    static void operator delete(void* memory) { give_handle_memory(memory); }
};

/// Whether this is a handle that was not released. Async-signal-safe.
template <typename HandleType>
bool is_live(const HandleType* handle) noexcept {
    return handle != nullptr && handle_kind(handle) == HandleType::kKind;
}

/// The handle, now the caller's to destroy; null for NULL and for what was released before.
template <typename HandleType>
std::unique_ptr<HandleType> retire(HandleType* handle) noexcept {
    static_assert(sizeof(HandleType) <= kHandleBytes);
    const bool live = handle != nullptr && retire_handle(handle, HandleType::kKind);
    return std::unique_ptr<HandleType>(live ? handle : nullptr);
}

}  // namespace fathom::abi
