#pragma once

#include <chrono>
#include <cstdint>

namespace fathom {

/// Bounds the time of one text's way through the steps that a tokenizer.json describes: the text
/// and the patterns may come from a stranger. Each step says beforehand how much it is about to do,
/// so that the clock is read often enough and never in vain. One thread.
class WorkClock {
public:
    /// A unit of work is a byte looked at, 1 to 10 ns.
    static constexpr uint64_t kUnitsPerLook = uint64_t{1} << 26;

    explicit WorkClock(std::chrono::milliseconds limit = std::chrono::seconds(20))
        : limit_(limit), deadline_(std::chrono::steady_clock::now() + limit) {}

    /// Accounts for `units` of work; false: the time is up, and the work must not be done.
    bool spend(uint64_t units) {
        since_look_ += units;
        if (since_look_ >= kUnitsPerLook) {
            since_look_ = 0;
            late_ = late_ || std::chrono::steady_clock::now() > deadline_;
        }
        return !late_;
    }
    std::chrono::milliseconds limit() const { return limit_; }

private:
    std::chrono::milliseconds limit_;
    std::chrono::steady_clock::time_point deadline_;
    uint64_t since_look_ = 0;
    bool late_ = false;
};

}  // namespace fathom
