#pragma once

#include <cerrno>
#include <cstddef>
#include <exception>
#include <thread>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>

namespace fathom::test {

/// Makes the kernel answer this thread's openat2 with `code`, as a sandbox (EPERM) or a kernel
/// before 5.6 (ENOSYS) does. There is no way back: for a thread that ends soon.
inline bool forbid_openat2(int code) {
    sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(code)),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog filter = {sizeof program / sizeof *program, program};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0 &&
           syscall(SYS_openat2, -1, nullptr, nullptr, 0) < 0 && errno == code;
}

/// Runs `body` as the kernel is, then without openat2 in both ways in which it may be missing.
template <typename Body>
void with_and_without_openat2(Body&& body) {
    body();
    for (const int code : {EPERM, ENOSYS}) {
        INFO("openat2 fails with errno " << code);
        bool forbidden = false;
        std::exception_ptr failure;
        std::thread([&] {
            try {
                forbidden = forbid_openat2(code);
                if (forbidden) body();
            } catch (...) {
                failure = std::current_exception();
            }
        }).join();
        CHECK(forbidden);
        if (failure != nullptr) std::rethrow_exception(failure);
    }
}

}  // namespace fathom::test
