#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include <pthread.h>

// The only file that makes threads. A thread of ours blocks every asynchronous signal (the host's
// handlers must not run on our stacks) and has a stack of known size.
namespace fathom {

class Thread {
public:
    Thread() = default;
    ~Thread();
    Thread(Thread&& other) noexcept;
    Thread& operator=(Thread&& other) noexcept;
    Thread(const Thread&) = delete;
    Thread& operator=(const Thread&) = delete;

    /// Starts `body` or throws Error(kNoMemory) after brief retries. The body must not throw.
    static Thread start(std::function<void()> body);
    bool joinable() const { return running_; }
    void join();

private:
    pthread_t handle_{};
    bool running_ = false;
};

/// Runs one task on all its threads at once; the caller is one of them. Threads spin briefly
/// between tasks, because a decode step is a few hundred tasks of some tens of microseconds, and
/// sleep after that, because a guest must not burn its host's cores while idle.
class ThreadPool {
public:
    /// A pool of `n_threads` including the caller of run(). Where the system refuses threads the
    /// pool has fewer; size() tells.
    explicit ThreadPool(int32_t n_threads);
    ~ThreadPool();
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    int32_t size() const { return static_cast<int32_t>(workers_.size()) + 1; }

    /// Calls task(context, thread_index, n_threads) once on every thread and returns when all are
    /// done. No allocation. One caller at a time; the task must not throw.
    using Task = void (*)(void* context, int32_t thread, int32_t n_threads);
    void run(Task task, void* context);

    /// The same for a callable object.
    template <typename Body>
    void run(Body&& body) {
        using Plain = std::remove_reference_t<Body>;
        run([](void* context, int32_t thread,
               int32_t n_threads) { (*static_cast<Plain*>(context))(thread, n_threads); },
            const_cast<std::remove_const_t<Plain>*>(&body));
    }

private:
    void work(int32_t index);

    std::vector<Thread> workers_;
    Task task_ = nullptr;
    void* context_ = nullptr;
    alignas(64) std::atomic<uint32_t> epoch_{0};
    alignas(64) std::atomic<int32_t> pending_{0};
    alignas(64) std::atomic<int32_t> sleeping_{0};
    std::atomic<bool> stop_{false};
};

/// A counter that threads wait on. wake() is an atomic add and at most one system call, so that a
/// signal handler may use it; a waiter that reads value() before it looks for work misses nothing.
class WakeWord {
public:
    uint32_t value() const { return word_.load(std::memory_order_seq_cst); }

    void wake() noexcept;

    /// Returns when value() differs from `seen`, at `until_ns` of monotonic_ns(), or now and then
    /// for no reason. UINT64_MAX waits for ever.
    void wait(uint32_t seen, uint64_t until_ns);

private:
    std::atomic<uint32_t> word_{0};
    std::atomic<int32_t> waiters_{0};
};

/// A descriptor that polls readable between set() and clear(): an eventfd. Both are async-signal-
/// safe and keep errno.
class NotifyDescriptor {
public:
    NotifyDescriptor();  // throws Error(kNoMemory) when the process has no descriptor left
    ~NotifyDescriptor();
    NotifyDescriptor(const NotifyDescriptor&) = delete;
    NotifyDescriptor& operator=(const NotifyDescriptor&) = delete;

    int32_t descriptor() const { return descriptor_; }
    void set() noexcept;
    void clear() noexcept;

private:
    int32_t descriptor_;
};

/// Nanoseconds of a clock that never goes back.
uint64_t monotonic_ns();

/// The time `wait_ns` from now, UINT64_MAX where that does not fit: "for ever".
uint64_t deadline_after(uint64_t wait_ns);

/// Number of processors that this process may use.
int32_t usable_processors();

/// Bytes of memory in this machine, and of these the ones that new work can have: the kernel counts
/// what it can take back from its caches.
struct MachineMemory {
    uint64_t total;
    uint64_t available;
};
MachineMemory machine_memory();

/// Sets the calling thread's SSE control word to the default (round to nearest, no flush to zero,
/// all exceptions masked) and gives the host's own back: a host may run with any.
class FloatingPointScope {
public:
    FloatingPointScope();
    ~FloatingPointScope();
    FloatingPointScope(const FloatingPointScope&) = delete;
    FloatingPointScope& operator=(const FloatingPointScope&) = delete;

private:
    uint32_t host_;
    uint32_t outer_;
};

/// Gives the host its own control word back for the time of a hook.
class HostFloatingPointScope {
public:
    HostFloatingPointScope();
    ~HostFloatingPointScope();
    HostFloatingPointScope(const HostFloatingPointScope&) = delete;
    HostFloatingPointScope& operator=(const HostFloatingPointScope&) = delete;

private:
    uint32_t ours_;
};

/// Zeroed memory straight from the system, on huge pages where it gives them: weights are read
/// from end to end in every step, and a miss of the address translation for every 4 KiB costs more
/// than the data. Null when there is none. Here because threads and memory come from one place.
void* map_memory(uint64_t bytes);

/// Returns memory from map_memory; `bytes` as it was asked for.
void unmap_memory(void* memory, uint64_t bytes);

/// Process id, for the rule that a forked child may only be told that it is one.
int32_t process_id();

}  // namespace fathom
