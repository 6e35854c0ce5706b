#include "host/refusals.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <new>

#include "host/host_support.h"

namespace refusals {
namespace {

// The hooks below run before AddressSanitizer has made its shadow memory, so nothing that they
// touch may be checked; hence also builtins in place of std::atomic.
#if defined(__SANITIZE_ADDRESS__)
#define FATHOM_UNCHECKED __attribute__((no_sanitize_address, no_sanitize_undefined))
#else
#define FATHOM_UNCHECKED
#endif

struct Countdown {
    int64_t left;  // 0: not armed
    bool all_after;
};

Countdown memory;
Countdown threads;
int64_t refused;
int64_t memory_requests;
// AddressSanitizer ends the process where it cannot learn the stack of a new thread, so what that
// takes is not refused.
__thread bool exempt;

FATHOM_UNCHECKED bool refuses(Countdown& countdown) {
    if (__atomic_load_n(&countdown.left, __ATOMIC_RELAXED) <= 0) return false;
    const int64_t mine = __atomic_fetch_sub(&countdown.left, 1, __ATOMIC_SEQ_CST);
    if (mine > 1) return false;
    const bool all_after = __atomic_load_n(&countdown.all_after, __ATOMIC_SEQ_CST);
    if (all_after) __atomic_store_n(&countdown.left, 1, __ATOMIC_SEQ_CST);
    if (mine != 1 && !all_after) return false;
    __atomic_fetch_add(&refused, 1, __ATOMIC_SEQ_CST);
    return true;
}

void arm(Countdown& countdown, int64_t n, bool all_after) {
    __atomic_store_n(&refused, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&countdown.all_after, all_after, __ATOMIC_SEQ_CST);
    __atomic_store_n(&countdown.left, n, __ATOMIC_SEQ_CST);
}

}  // namespace

#if defined(__SANITIZE_THREAD__)
bool available() { return false; }
#else
bool available() { return true; }
#endif

void arm_memory(int64_t n, bool all_after) { arm(memory, n, all_after); }

void arm_threads(int64_t n, bool all_after) { arm(threads, n, all_after); }

void disarm() {
    for (Countdown* countdown : {&memory, &threads}) {
        __atomic_store_n(&countdown->all_after, false, __ATOMIC_SEQ_CST);
        __atomic_store_n(&countdown->left, 0, __ATOMIC_SEQ_CST);
    }
}

int64_t n_refused() { return __atomic_load_n(&refused, __ATOMIC_SEQ_CST); }

int64_t n_memory_requests() { return __atomic_load_n(&memory_requests, __ATOMIC_SEQ_CST); }

FATHOM_UNCHECKED bool refuse_memory() {
    __atomic_fetch_add(&memory_requests, 1, __ATOMIC_RELAXED);
    if (exempt || !refuses(memory)) return false;
    errno = ENOMEM;
    return true;
}

bool refuse_thread() { return refuses(threads); }

}  // namespace refusals

#if !defined(__SANITIZE_THREAD__)

// The program's definitions come first in the loader's order, so the library's calls end here.
#pragma GCC visibility push(default)
extern "C" {

// What stands behind: the C library, or AddressSanitizer's allocator, which sees every request that
// is not refused.
#if defined(__SANITIZE_ADDRESS__)
#define FATHOM_REAL(name) __interceptor_##name
void* __interceptor_aligned_alloc(size_t alignment, size_t bytes);
#else
#define FATHOM_REAL(name) __libc_##name
void* __libc_memalign(size_t alignment, size_t bytes);
#define __interceptor_aligned_alloc __libc_memalign
#endif
void* FATHOM_REAL(malloc)(size_t bytes);
void* FATHOM_REAL(calloc)(size_t n, size_t bytes);
void* FATHOM_REAL(realloc)(void* memory, size_t bytes);

FATHOM_UNCHECKED void* malloc(size_t bytes) {
    return refusals::refuse_memory() ? nullptr : FATHOM_REAL(malloc)(bytes);
}

FATHOM_UNCHECKED void* calloc(size_t n, size_t bytes) {
    return refusals::refuse_memory() ? nullptr : FATHOM_REAL(calloc)(n, bytes);
}

FATHOM_UNCHECKED void* realloc(void* memory, size_t bytes) {
    return refusals::refuse_memory() ? nullptr : FATHOM_REAL(realloc)(memory, bytes);
}

FATHOM_UNCHECKED void* aligned_alloc(size_t alignment, size_t bytes) {
    return refusals::refuse_memory() ? nullptr : __interceptor_aligned_alloc(alignment, bytes);
}

FATHOM_UNCHECKED int posix_memalign(void** memory, size_t alignment, size_t bytes) {
    if (refusals::refuse_memory()) return ENOMEM;
    *memory = __interceptor_aligned_alloc(alignment, bytes);
    return *memory == nullptr ? ENOMEM : 0;
}

FATHOM_UNCHECKED void* mmap(void* address, size_t bytes, int protection, int flags, int descriptor,
                            off_t offset) {
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

#if defined(__SANITIZE_ADDRESS__)
// AddressSanitizer's operator new does not come through malloc, so it is refused on its own. What
// delete gives back must come from that operator new, not from malloc.
namespace {

template <typename Function>
Function next(const char* symbol) {
    return reinterpret_cast<Function>(dlsym(RTLD_NEXT, symbol));
}

}  // namespace

extern "C" FATHOM_UNCHECKED int pthread_getattr_np(pthread_t thread, pthread_attr_t* attributes) {
    static const auto real = next<int (*)(pthread_t, pthread_attr_t*)>("pthread_getattr_np");
    refusals::exempt = true;
    const int result = real(thread, attributes);
    refusals::exempt = false;
    return result;
}

// The loader takes a thread's part of a library's thread-local variables from malloc. LeakSanitizer
// knows such memory by its own malloc, which with these hooks the loader does not call itself.
extern "C" const char* __lsan_default_suppressions() { return "leak:ld-linux-x86-64.so.2\n"; }

void* operator new(size_t bytes) {
    static const auto real = next<void* (*)(size_t)>("_Znwm");
    if (refusals::refuse_memory()) throw std::bad_alloc();
    return real(bytes);
}
void* operator new[](size_t bytes) {
    static const auto real = next<void* (*)(size_t)>("_Znam");
    if (refusals::refuse_memory()) throw std::bad_alloc();
    return real(bytes);
}
void* operator new(size_t bytes, const std::nothrow_t& nothrow) noexcept {
    static const auto real = next<void* (*)(size_t, const std::nothrow_t&)>("_ZnwmRKSt9nothrow_t");
    return refusals::refuse_memory() ? nullptr : real(bytes, nothrow);
}
void* operator new[](size_t bytes, const std::nothrow_t& nothrow) noexcept {
    static const auto real = next<void* (*)(size_t, const std::nothrow_t&)>("_ZnamRKSt9nothrow_t");
    return refusals::refuse_memory() ? nullptr : real(bytes, nothrow);
}
void* operator new(size_t bytes, std::align_val_t alignment) {
    static const auto real = next<void* (*)(size_t, std::align_val_t)>("_ZnwmSt11align_val_t");
    if (refusals::refuse_memory()) throw std::bad_alloc();
    return real(bytes, alignment);
}
void* operator new[](size_t bytes, std::align_val_t alignment) {
    static const auto real = next<void* (*)(size_t, std::align_val_t)>("_ZnamSt11align_val_t");
    if (refusals::refuse_memory()) throw std::bad_alloc();
    return real(bytes, alignment);
}
#endif
#pragma GCC visibility pop

#endif
