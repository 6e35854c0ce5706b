#include "base/thread.h"

#include <cerrno>
#include <charconv>
#include <csignal>
#include <ctime>
#include <exception>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/status.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace fathom {
namespace {

constexpr uint64_t kPageBytes = 4096;
constexpr uint64_t kHugePageBytes = uint64_t{2} << 20;

constexpr size_t kStackBytes = size_t{2} << 20;

/// Polling before sleep: longer than the gap between two operators of a step, shorter than anything
/// that a host would notice. By the clock, because a pause takes 10 cycles on one processor and 140
/// on the next.
constexpr uint64_t kSpinNs = 50'000;
constexpr int32_t kSpinsPerLook = 32;

void pause_briefly() {
#if defined(__x86_64__)
    _mm_pause();
#else
    sched_yield();
#endif
}

/// Polls until `done()` or until kSpinNs have passed; tells which.
template <class Done>
bool spin_until(Done done) {
    const uint64_t end = monotonic_ns() + kSpinNs;
    while (true) {
        for (int32_t spin = 0; spin < kSpinsPerLook; ++spin) {
            if (done()) return true;
            pause_briefly();
        }
        if (monotonic_ns() > end) return done();
    }
}

void futex_wait(std::atomic<uint32_t>& word, uint32_t seen) {
    syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT_PRIVATE, seen, nullptr);
}

void futex_wake_all(std::atomic<uint32_t>& word) {
    syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE_PRIVATE, INT32_MAX);
}

constexpr uint32_t kDefaultControl = 0x1f80;

/// What the host had set where the library was entered on this thread; the default on our own.
constinit thread_local uint32_t host_control = kDefaultControl;

uint32_t exchange_control(uint32_t wanted) {
#if defined(__x86_64__)
    const uint32_t before = _mm_getcsr();
    _mm_setcsr(wanted);
    return before;
#else
    return wanted;
#endif
}

void* enter(void* argument) {
    // A new thread inherits the control word of the host's thread that made it.
    exchange_control(kDefaultControl);
    const std::unique_ptr<std::function<void()>> body(
        static_cast<std::function<void()>*>(argument));
    (*body)();
    return nullptr;
}

}  // namespace

Thread::~Thread() { join(); }

Thread::Thread(Thread&& other) noexcept
    : handle_(other.handle_), running_(std::exchange(other.running_, false)) {}

Thread& Thread::operator=(Thread&& other) noexcept {
    std::swap(handle_, other.handle_);
    std::swap(running_, other.running_);
    return *this;
}

Thread Thread::start(std::function<void()> body) {
    auto owned = std::make_unique<std::function<void()>>(std::move(body));
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) fail(Status::kNoMemory, "thread: no memory");
    pthread_attr_setstacksize(&attributes, kStackBytes);
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP}) sigdelset(&all, fault);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    Thread thread;
    int code = EAGAIN;
    for (int attempt = 0; attempt < 4 && code == EAGAIN; ++attempt) {
        if (attempt > 0) {
            const timespec pause{.tv_sec = 0, .tv_nsec = 2'000'000};
            nanosleep(&pause, nullptr);
        }
        code = pthread_create(&thread.handle_, &attributes, enter, owned.get());
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    pthread_attr_destroy(&attributes);
    if (code != 0) {
        fail(Status::kNoMemory, "thread: the system refused a new thread (errno ", code, ")");
    }
    owned.release();
    thread.running_ = true;
    return thread;
}

void Thread::join() {
    if (!running_) return;
    running_ = false;
    pthread_join(handle_, nullptr);
}

ThreadPool::ThreadPool(int32_t n_threads) {
    workers_.reserve(static_cast<size_t>(n_threads > 1 ? n_threads - 1 : 0));
    for (int32_t index = 1; index < n_threads; ++index) {
        try {
            workers_.push_back(Thread::start([this, index] { work(index); }));
        } catch (const std::exception&) {
            break;  // No thread or no memory for one: a smaller pool computes the same results.
        }
    }
}

ThreadPool::~ThreadPool() {
    stop_.store(true);
    epoch_.fetch_add(1);
    futex_wake_all(epoch_);
    workers_.clear();
}

void ThreadPool::run(Task task, void* context) {
    const int32_t n_threads = size();
    if (n_threads > 1) {
        task_ = task;
        context_ = context;
        pending_.store(n_threads - 1, std::memory_order_relaxed);
        epoch_.fetch_add(1, std::memory_order_seq_cst);
        if (sleeping_.load(std::memory_order_seq_cst) > 0) futex_wake_all(epoch_);
    }
    task(context, 0, n_threads);
    // The workers have equal shares, so the wait is short; after that another thread of the host
    // may need this processor to let a worker finish.
    const auto all_done = [this] { return pending_.load(std::memory_order_acquire) == 0; };
    if (!spin_until(all_done)) {
        while (!all_done()) sched_yield();
    }
}

void ThreadPool::work(int32_t index) {
    uint32_t seen = 0;
    while (true) {
        const auto has_task = [&] { return epoch_.load(std::memory_order_acquire) != seen; };
        while (!spin_until(has_task)) {
            sleeping_.fetch_add(1, std::memory_order_seq_cst);
            futex_wait(epoch_, seen);
            sleeping_.fetch_sub(1, std::memory_order_seq_cst);
        }
        ++seen;
        if (stop_.load()) return;
        task_(context_, index, size());
        pending_.fetch_sub(1, std::memory_order_release);
    }
}

void WakeWord::wake() noexcept {
    word_.fetch_add(1, std::memory_order_seq_cst);
    if (waiters_.load(std::memory_order_seq_cst) == 0) return;
    const int saved_errno = errno;
    futex_wake_all(word_);
    errno = saved_errno;
}

void WakeWord::wait(uint32_t seen, uint64_t until_ns) {
    timespec until{};
    // The kernel takes seconds as a signed number; a time that far away is "for ever" as well.
    const bool forever = until_ns >= static_cast<uint64_t>(INT64_MAX);
    if (!forever) {
        until.tv_sec = static_cast<time_t>(until_ns / 1'000'000'000);
        until.tv_nsec = static_cast<long>(until_ns % 1'000'000'000);
    }
    waiters_.fetch_add(1, std::memory_order_seq_cst);
    if (value() == seen) {
        // FUTEX_WAIT_BITSET alone takes an absolute time of the monotonic clock.
        syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word_),
                FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, seen, forever ? nullptr : &until, nullptr,
                FUTEX_BITSET_MATCH_ANY);
    }
    waiters_.fetch_sub(1, std::memory_order_seq_cst);
}

NotifyDescriptor::NotifyDescriptor() : descriptor_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (descriptor_ < 0) {
        fail(Status::kNoMemory, "notify handle: the system refused a descriptor (errno ", errno,
             ")");
    }
}

NotifyDescriptor::~NotifyDescriptor() { close(descriptor_); }

void NotifyDescriptor::set() noexcept {
    const int saved_errno = errno;
    const uint64_t one = 1;
    // A full counter refuses the write and is readable, which is all that is wanted.
    [[maybe_unused]] const ssize_t written = write(descriptor_, &one, sizeof one);
    errno = saved_errno;
}

void NotifyDescriptor::clear() noexcept {
    const int saved_errno = errno;
    uint64_t count;
    [[maybe_unused]] const ssize_t got = read(descriptor_, &count, sizeof count);
    errno = saved_errno;
}

uint64_t monotonic_ns() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

uint64_t deadline_after(uint64_t wait_ns) {
    return checked_add(monotonic_ns(), wait_ns).value_or(UINT64_MAX);
}

namespace {

/// MemAvailable of /proc/meminfo, or 0 where it cannot be read.
uint64_t available_kib() {
    const int file = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    char text[4096];
    const ssize_t bytes = read(file, text, sizeof text);
    close(file);
    constexpr std::string_view kKey = "MemAvailable:";
    const std::string_view all(text, bytes < 0 ? 0 : static_cast<size_t>(bytes));
    const size_t key = all.find(kKey);
    const size_t number = key == all.npos ? key : all.find_first_not_of(' ', key + kKey.size());
    if (number == all.npos) return 0;
    uint64_t kib = 0;
    std::from_chars(all.data() + number, all.data() + all.size(), kib);
    return kib;
}

}  // namespace

MachineMemory machine_memory() {
    const uint64_t page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
    const uint64_t total = page * static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES));
    // Without /proc the pages that hold nothing are all that is known to be free.
    const uint64_t available = available_kib();
    if (available != 0) return {total, available << 10};
    return {total, page * static_cast<uint64_t>(sysconf(_SC_AVPHYS_PAGES))};
}

int32_t usable_processors() {
    // The kernel refuses a set smaller than its own, so the set grows until it is taken.
    for (int room = 1024; room <= 1 << 20; room *= 2) {
        cpu_set_t* set = CPU_ALLOC(static_cast<size_t>(room));
        if (set == nullptr) return 1;
        const size_t bytes = CPU_ALLOC_SIZE(static_cast<size_t>(room));
        const bool taken = sched_getaffinity(0, bytes, set) == 0;
        const int count = taken ? CPU_COUNT_S(bytes, set) : 0;
        CPU_FREE(set);
        if (taken) return count < 1 ? 1 : count;
    }
    return 1;
}

FloatingPointScope::FloatingPointScope()
    : host_(exchange_control(kDefaultControl)), outer_(host_control) {
    host_control = host_;
}
FloatingPointScope::~FloatingPointScope() {
    host_control = outer_;
    exchange_control(host_);
}

HostFloatingPointScope::HostFloatingPointScope() : ours_(exchange_control(host_control)) {}
HostFloatingPointScope::~HostFloatingPointScope() { exchange_control(ours_); }

void* map_memory(uint64_t bytes) {
    if (bytes > UINT64_MAX / 2) return nullptr;
    const uint64_t wanted = round_up(bytes > 0 ? bytes : 1, kPageBytes);
    // Only a mapping that starts on a huge page can consist of them, so map too much and trim.
    const uint64_t slack = wanted >= kHugePageBytes ? kHugePageBytes : 0;
    void* mapped = mmap(nullptr, wanted + slack, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) return nullptr;
    if (slack == 0) return mapped;
    unsigned char* start = static_cast<unsigned char*>(mapped);
    const uint64_t address = reinterpret_cast<uintptr_t>(mapped);
    const uint64_t head = round_up(address, kHugePageBytes) - address;
    if (head > 0) munmap(start, head);
    if (slack > head) munmap(start + head + wanted, slack - head);
    madvise(start + head, wanted, MADV_HUGEPAGE);  // Advice: without it the memory works too.
    return start + head;
}

void unmap_memory(void* memory, uint64_t bytes) {
    if (memory != nullptr) munmap(memory, round_up(bytes > 0 ? bytes : 1, kPageBytes));
}

int32_t process_id() { return static_cast<int32_t>(getpid()); }

}  // namespace fathom
