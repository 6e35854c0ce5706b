#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

#include "base/thread.h"

namespace fathom {

/// One at a time inside the engine's step and what belongs to it. The executor, which would take a
/// plain mutex again at once after each step, lets guests go first.
class StepGate {
public:
    /// Inside the gate for as long as it lives.
    class Guest {
    public:
        explicit Guest(StepGate& gate) : gate_(gate) {
            gate_.guests_.fetch_add(1);
            gate_.mutex_.lock();
        }
        ~Guest() { gate_.leave(); }
        Guest(const Guest&) = delete;
        Guest& operator=(const Guest&) = delete;

    private:
        StepGate& gate_;
    };

    void enter_executor() {
        while (true) {
            const uint32_t seen = turn_.value();
            if (guests_.load() == 0) break;
            turn_.wait(seen, UINT64_MAX);
        }
        mutex_.lock();
    }
    void leave_executor() { mutex_.unlock(); }

    bool try_enter() {
        if (!mutex_.try_lock()) return false;
        guests_.fetch_add(1);
        return true;
    }
    void leave() {
        mutex_.unlock();
        if (guests_.fetch_sub(1) == 1) turn_.wake();
    }

private:
    std::mutex mutex_;
    std::atomic<int32_t> guests_{0};
    WakeWord turn_;
};

}  // namespace fathom
