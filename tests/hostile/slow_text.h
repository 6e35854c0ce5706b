#pragma once

#include <ctime>
#include <functional>
#include <string>
#include <string_view>

// What the tests of slow texts share.
namespace fathom::test {

inline std::string repeated(std::string_view part, size_t bytes) {
    std::string out;
    while (out.size() < bytes) out += part;
    return out;
}

/// Processor time of this thread: what else the machine does is no matter.
inline double seconds(const std::function<void()>& body) {
    const auto now = [] {
        timespec time;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
        return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
    };
    const double begin = now();
    body();
    return now() - begin;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__OPTIMIZE__)
inline constexpr double kSlack = 30;
#else
inline constexpr double kSlack = 2;  // two threads may share a core; the bar itself is 0.2 s
#endif

}  // namespace fathom::test
