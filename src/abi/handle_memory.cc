#include "abi/handle_memory.h"

#include <atomic>
#include <mutex>

namespace fathom::abi {
namespace {

struct Slot {
    std::atomic<HandleKind> kind{HandleKind::kReleased};
    Slot* next = nullptr;
    alignas(16) unsigned char bytes[kHandleBytes];
};

constexpr size_t kSlotsInBlock = 64;

/// Never freed: a stale handle may be shown to the library at any time.
struct Block {
    Slot slots[kSlotsInBlock];
    Block* next = nullptr;
};

constinit std::mutex mutex;
constinit Block* blocks = nullptr;  // the first one has n_new slots that were never used
constinit size_t n_new = 0;
constinit Slot* first_released = nullptr;  // a queue
constinit Slot* last_released = nullptr;
constinit size_t n_released = 0;

Slot& take_released() {
    Slot& slot = *first_released;
    first_released = slot.next;
    if (first_released == nullptr) last_released = nullptr;
    --n_released;
    return slot;
}

Slot& take_new() {
    if (n_new == 0) {
        auto* const block = new Block;
        block->next = blocks;
        blocks = block;
        n_new = kSlotsInBlock;
    }
    return blocks->slots[--n_new];
}

Slot& slot_of(const void* handle) {
    const auto* bytes = static_cast<const unsigned char*>(handle);
    return *reinterpret_cast<Slot*>(const_cast<unsigned char*>(bytes - offsetof(Slot, bytes)));
}

}  // namespace

void* take_handle_memory(HandleKind kind) {
    const std::lock_guard lock(mutex);
    Slot& slot = n_released > kQuarantine ? take_released() : take_new();
    slot.kind.store(kind);
    return slot.bytes;
}

void give_handle_memory(void* handle) noexcept {
    Slot& slot = slot_of(handle);
    slot.kind.store(HandleKind::kReleased);  // also where a constructor threw
    const std::lock_guard lock(mutex);
    slot.next = nullptr;
    (last_released == nullptr ? first_released : last_released->next) = &slot;
    last_released = &slot;
    ++n_released;
}

HandleKind handle_kind(const void* handle) noexcept { return slot_of(handle).kind.load(); }

bool retire_handle(void* handle, HandleKind kind) noexcept {
    return slot_of(handle).kind.compare_exchange_strong(kind, HandleKind::kReleased);
}

}  // namespace fathom::abi
