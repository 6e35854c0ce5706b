#include "host/refusals.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>

#include "host/host_support.h"

namespace refusals {
namespace {

struct Countdown {
    std::atomic<int64_t> left{0};  // 0: not armed
    std::atomic<bool> all_after{false};

    bool refuses() {
        if (left.load(std::memory_order_relaxed) <= 0) return false;
        const int64_t mine = left.fetch_sub(1);
        if (mine > 1) return false;
        if (all_after.load()) left.store(1);
        return mine == 1 || all_after.load();
    }
};

Countdown memory;
Countdown threads;
std::atomic<int64_t> refused{0};
std::atomic<int64_t> memory_requests{0};

}  // namespace

bool available() { return !host::kSanitized; }

void arm_memory(int64_t n, bool all_after) {
    refused.store(0);
    memory.all_after.store(all_after);
    memory.left.store(n);
}

void arm_threads(int64_t n, bool all_after) {
    refused.store(0);
    threads.all_after.store(all_after);
    threads.left.store(n);
}

void disarm() {
    memory.all_after.store(false);
    threads.all_after.store(false);
    memory.left.store(0);
    threads.left.store(0);
}

int64_t n_refused() { return refused.load(); }

int64_t n_memory_requests() { return memory_requests.load(); }

bool refuse_memory() {
    memory_requests.fetch_add(1, std::memory_order_relaxed);
    if (!memory.refuses()) return false;
    refused.fetch_add(1);
    errno = ENOMEM;
    return true;
}

bool refuse_thread() {
    if (!threads.refuses()) return false;
    refused.fetch_add(1);
    return true;
}

}  // namespace refusals

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

// The program's definitions come first in the loader's order, so the library's calls end here.
#pragma GCC visibility push(default)
extern "C" {

void* __libc_malloc(size_t bytes);
void* __libc_calloc(size_t n, size_t bytes);
void* __libc_realloc(void* memory, size_t bytes);
void* __libc_memalign(size_t alignment, size_t bytes);

void* malloc(size_t bytes) {
    return refusals::refuse_memory() ? nullptr : __libc_malloc(bytes);
}

void* calloc(size_t n, size_t bytes) {
    return refusals::refuse_memory() ? nullptr : __libc_calloc(n, bytes);
}

void* realloc(void* memory, size_t bytes) {
    return refusals::refuse_memory() ? nullptr : __libc_realloc(memory, bytes);
}

void* aligned_alloc(size_t alignment, size_t bytes) {
    return refusals::refuse_memory() ? nullptr : __libc_memalign(alignment, bytes);
}

int posix_memalign(void** memory, size_t alignment, size_t bytes) {
    if (refusals::refuse_memory()) return ENOMEM;
    *memory = __libc_memalign(alignment, bytes);
    return *memory == nullptr ? ENOMEM : 0;
}

void* mmap(void* address, size_t bytes, int protection, int flags, int descriptor, off_t offset) {
    if (refusals::refuse_memory()) return MAP_FAILED;
    return reinterpret_cast<void*>(
        syscall(SYS_mmap, address, bytes, protection, flags, descriptor, offset));
}

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*body)(void*),
                   void* argument) {
    if (refusals::refuse_thread()) return EAGAIN;
    using Create = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
    static const Create create = reinterpret_cast<Create>(dlsym(RTLD_NEXT, "pthread_create"));
    return create(thread, attributes, body, argument);
}

}  // extern "C"
#pragma GCC visibility pop

#endif
