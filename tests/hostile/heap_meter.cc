#include "hostile/heap_meter.h"

#include <atomic>
#include <cstdlib>
#include <new>

#include <malloc.h>

namespace {

std::atomic<int64_t> live_bytes{0};
std::atomic<int64_t> peak_bytes{0};
std::atomic<uint64_t> n_allocations{0};
std::atomic<uint64_t> failing{0};  // 0: none; else that many allocations from now

void* allocate(std::size_t bytes, std::size_t alignment) {
    n_allocations.fetch_add(1, std::memory_order_relaxed);
    if (failing.load(std::memory_order_relaxed) != 0 && failing.fetch_sub(1) == 1) {
        throw std::bad_alloc();
    }
    if (bytes == 0) bytes = 1;
    void* memory = alignment <= __STDCPP_DEFAULT_NEW_ALIGNMENT__
                       ? std::malloc(bytes)
                       : std::aligned_alloc(alignment, (bytes + alignment - 1) & ~(alignment - 1));
    if (memory == nullptr) throw std::bad_alloc();
    const int64_t live = live_bytes.fetch_add(static_cast<int64_t>(malloc_usable_size(memory))) +
                         static_cast<int64_t>(malloc_usable_size(memory));
    int64_t peak = peak_bytes.load();
    while (live > peak && !peak_bytes.compare_exchange_weak(peak, live)) {
    }
    return memory;
}

void release(void* memory) {
    if (memory == nullptr) return;
    live_bytes.fetch_sub(static_cast<int64_t>(malloc_usable_size(memory)));
    std::free(memory);
}

int64_t bytes_at_start = 0;
uint64_t allocations_at_start = 0;

}  // namespace

void* operator new(std::size_t bytes) { return allocate(bytes, 1); }
void* operator new[](std::size_t bytes) { return allocate(bytes, 1); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
    return allocate(bytes, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t bytes, std::align_val_t alignment) {
    return allocate(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { release(memory); }
void operator delete[](void* memory) noexcept { release(memory); }
void operator delete(void* memory, std::size_t) noexcept { release(memory); }
void operator delete[](void* memory, std::size_t) noexcept { release(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { release(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { release(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { release(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { release(memory); }

namespace fathom::test {

HeapMeter::HeapMeter() {
    bytes_at_start = live_bytes.load();
    ::peak_bytes = bytes_at_start;
    allocations_at_start = n_allocations.load();
}

uint64_t HeapMeter::peak_bytes() const {
    return static_cast<uint64_t>(::peak_bytes.load() - bytes_at_start);
}

uint64_t HeapMeter::allocations() const { return n_allocations.load() - allocations_at_start; }

FailAllocation::FailAllocation(uint64_t n) { failing = n; }
FailAllocation::~FailAllocation() { failing = 0; }

}  // namespace fathom::test
