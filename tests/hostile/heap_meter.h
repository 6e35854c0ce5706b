#pragma once

#include <cstdint>

// The test program's operator new: counts what is allocated, and fails on request.
namespace fathom::test {

/// Counts from its construction on, in all threads. One at a time.
class HeapMeter {
public:
    HeapMeter();
    /// Most bytes that were allocated at once, above those at the start.
    uint64_t peak_bytes() const;
    uint64_t allocations() const;
};

/// While it lives, allocation number `n` (from 1) of the program throws std::bad_alloc.
class FailAllocation {
public:
    explicit FailAllocation(uint64_t n);
    ~FailAllocation();
    FailAllocation(const FailAllocation&) = delete;
    FailAllocation& operator=(const FailAllocation&) = delete;
};

}  // namespace fathom::test
