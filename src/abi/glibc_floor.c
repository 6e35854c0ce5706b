/* Lets a library that was built on Debian 12 (glibc 2.36) load under glibc 2.31, the oldest that is
 * promised. Each function below is what the C++ runtime or we would import in a newer version; here
 * it is defined inside the library, hidden, and stands on older parts. check_library.py fails if
 * the library asks for more than 2.31, and names the function that is missing here.
 *
 * Compiled into libfathom.so for x86-64 with glibc only, never into tests or sanitizer builds. */
#define _GNU_SOURCE 1
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define HIDDEN __attribute__((visibility("hidden"))) extern

/* glibc 2.34 moved the thread functions into libc.so.6 under new versions. The old versions are
 * still there, and before 2.34 they are in libpthread.so.0, which the library needs for that. */
#define OLD(name) __asm__(".symver old_" #name ", " #name "@GLIBC_2.2.5")

int old_pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*body)(void*),
                       void* argument);
OLD(pthread_create);
HIDDEN int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*body)(void*),
                          void* argument) {
    return old_pthread_create(thread, attributes, body, argument);
}

int old_pthread_join(pthread_t thread, void** result);
OLD(pthread_join);
HIDDEN int pthread_join(pthread_t thread, void** result) {
    return old_pthread_join(thread, result);
}

int old_pthread_once(pthread_once_t* control, void (*body)(void));
OLD(pthread_once);
HIDDEN int pthread_once(pthread_once_t* control, void (*body)(void)) {
    return old_pthread_once(control, body);
}

int old_pthread_attr_setstacksize(pthread_attr_t* attributes, size_t bytes);
OLD(pthread_attr_setstacksize);
HIDDEN int pthread_attr_setstacksize(pthread_attr_t* attributes, size_t bytes) {
    return old_pthread_attr_setstacksize(attributes, bytes);
}

int old_pthread_sigmask(int how, const sigset_t* set, sigset_t* old_set);
OLD(pthread_sigmask);
HIDDEN int pthread_sigmask(int how, const sigset_t* set, sigset_t* old_set) {
    return old_pthread_sigmask(how, set, old_set);
}

int old_pthread_mutex_trylock(pthread_mutex_t* mutex);
OLD(pthread_mutex_trylock);
HIDDEN int pthread_mutex_trylock(pthread_mutex_t* mutex) {
    return old_pthread_mutex_trylock(mutex);
}

/* The same with the functions that load a backend's plugin, and libdl.so.2. */
void* old_dlopen(const char* path, int flags);
OLD(dlopen);
HIDDEN void* dlopen(const char* path, int flags) { return old_dlopen(path, flags); }

void* old_dlsym(void* restrict library, const char* restrict name);
OLD(dlsym);
HIDDEN void* dlsym(void* restrict library, const char* restrict name) {
    return old_dlsym(library, name);
}

char* old_dlerror(void);
OLD(dlerror);
HIDDEN char* dlerror(void) { return old_dlerror(); }

int old_dladdr(const void* address, Dl_info* info);
OLD(dladdr);
HIDDEN int dladdr(const void* address, Dl_info* info) { return old_dladdr(address, info); }

/* The C++ runtime only asks whether this exists, to learn whether there can be threads. */
int __pthread_key_create(pthread_key_t* key, void (*destroy)(void*));
int old_pthread_key_create(pthread_key_t* key, void (*destroy)(void*));
OLD(pthread_key_create);
HIDDEN int __pthread_key_create(pthread_key_t* key, void (*destroy)(void*)) {
    return old_pthread_key_create(key, destroy);
}

/* Zero: reference counts of the C++ runtime are always atomic, as before 2.32. */
HIDDEN char __libc_single_threaded;
char __libc_single_threaded = 0;

/* Before 2.33 the stat family was inline code over functions that newer headers do not declare. */
HIDDEN int fstat64(int descriptor, struct stat64* status) {
    return (int)syscall(SYS_fstat, descriptor, status);
}

HIDDEN int fstat(int descriptor, struct stat* status) {
    return (int)syscall(SYS_fstat, descriptor, status);
}

HIDDEN int fstatat(int folder, const char* restrict path, struct stat* restrict status, int flags) {
    return (int)syscall(SYS_newfstatat, folder, path, status, flags);
}

/* The errors that opening and reading files and starting threads meet; others go by number. */
#define NAME(code) \
    case code:     \
        return #code
HIDDEN const char* strerrorname_np(int code) {
    switch (code) {
        NAME(EACCES);
        NAME(EAGAIN);
        NAME(EBADF);
        NAME(EBUSY);
        NAME(EFAULT);
        NAME(EINTR);
        NAME(EINVAL);
        NAME(EIO);
        NAME(EISDIR);
        NAME(ELOOP);
        NAME(EMFILE);
        NAME(ENAMETOOLONG);
        NAME(ENFILE);
        NAME(ENODEV);
        NAME(ENOENT);
        NAME(ENOMEM);
        NAME(ENOSPC);
        NAME(ENOSYS);
        NAME(ENOTDIR);
        NAME(ENXIO);
        NAME(EOPNOTSUPP);
        NAME(EOVERFLOW);
        NAME(EPERM);
        NAME(EROFS);
        NAME(ESTALE);
        NAME(ETIMEDOUT);
        NAME(ETXTBSY);
        NAME(EXDEV);
        default:
            return NULL;
    }
}

/* For std::random_device, which a library linked in can call. */
HIDDEN uint32_t arc4random(void) {
    uint32_t value = 0;
    while (syscall(SYS_getrandom, &value, sizeof value, 0) != sizeof value && errno == EINTR) {
    }
    return value;
}

/* The unwinder of GCC 12 finds an object's unwind table with _dl_find_object (2.35) and has no
 * other way, so this is that function as unwinders did it before: by walking the objects. */
struct search {
    uintptr_t address;
    struct dl_find_object* found;
};

static int visit(struct dl_phdr_info* info, size_t bytes, void* data) {
    struct search* search = data;
    uintptr_t begin = 0, end = 0, table = 0;
    (void)bytes;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr)* part = &info->dlpi_phdr[i];
        const uintptr_t at = info->dlpi_addr + part->p_vaddr;
        if (part->p_type == PT_GNU_EH_FRAME) {
            table = at;
        } else if (part->p_type == PT_LOAD && search->address - at < part->p_memsz) {
            begin = at;
            end = at + part->p_memsz;
        }
    }
    if (end == 0) return 0;
    search->found->dlfo_flags = 0;
    search->found->dlfo_map_start = (void*)begin;
    search->found->dlfo_map_end = (void*)end;
    search->found->dlfo_link_map = NULL;
    search->found->dlfo_eh_frame = (void*)table;
    return table == 0 ? -1 : 1;
}

HIDDEN int _dl_find_object(void* address, struct dl_find_object* found) {
    struct search search = {(uintptr_t)address, found};
    return dl_iterate_phdr(visit, &search) == 1 ? 0 : -1;
}
