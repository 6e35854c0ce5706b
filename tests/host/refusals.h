#pragma once

#include <cstdint>

// A system that refuses: this test program puts itself between the library and malloc, mmap and
// pthread_create. Not available under ThreadSanitizer, which does the same.
namespace refusals {

bool available();

/// From now on the n-th request (1 is the next) is refused, and with `all_after` every later one;
/// 0 refuses nothing. Between arming and disarming a test must not need memory itself.
void arm_memory(int64_t n, bool all_after);
void arm_threads(int64_t n, bool all_after);
void disarm();

/// Requests refused since arming.
int64_t n_refused();

/// Requests for memory since the program started, refused or not.
int64_t n_memory_requests();

}  // namespace refusals
