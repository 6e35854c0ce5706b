#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "abi/library_handles.h"

// What tests of the library inside a host process need of the system.
namespace host {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif
#else
inline constexpr bool kSanitized = false;
#endif

/// How a child process ended: its exit code, or 1000 + the signal that killed it.
int wait_for(pid_t child);

/// Runs `body` in a forked child, which ends with _exit(body()).
int in_fork(const std::function<int()>& body);

/// Starts this test program again for one hidden test case, in a process that has not used the
/// library yet, and waits for its end. Its output goes to `output` if that is not null.
int in_fresh_process(const std::string& test_case, std::string* output = nullptr);

/// Entries of /proc/self/fd, and of /proc/self/task.
size_t n_descriptors();
size_t n_threads();
/// Waits until the process has at most `wanted` threads (a joined thread leaves /proc a moment
/// later than pthread_join returns); tells how many there are at last.
size_t n_threads_settled(size_t wanted);

/// A line of /proc/self/status in KiB ("VmRSS", "VmHWM").
uint64_t status_kib(const std::string& field);

/// A new empty folder, removed with what is in it at the end.
class ScratchFolder {
public:
    ScratchFolder();
    ~ScratchFolder();
    ScratchFolder(const ScratchFolder&) = delete;
    ScratchFolder& operator=(const ScratchFolder&) = delete;
    const std::string& path() const { return path_; }

private:
    std::string path_;
};

/// A prompt for the small fixtures, whose vocabulary has 256 rows and no text.
inline std::vector<int32_t> fixture_prompt(int32_t n_tokens) {
    std::vector<int32_t> ids;
    for (int32_t i = 0; i < n_tokens; ++i) ids.push_back(3 + (i * 37) % 250);
    return ids;
}

/// Engine, model, one whole answer of `n_tokens` ids. Reports by status alone, so that it may run
/// on any thread and stack; the first thing that fails ends it.
int32_t whole_life(const std::string& folder, int32_t n_tokens, std::vector<int32_t>* ids);

}  // namespace host
