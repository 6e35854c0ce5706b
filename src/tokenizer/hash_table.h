#pragma once

#include <cstddef>
#include <cstdint>

// What the two hash tables of this folder share.
namespace fathom {

inline uint64_t mix(uint64_t value) {
    value *= 0x9E3779B97F4A7C15u;
    value ^= value >> 32;
    return value * 0xD6E8FEB86659FD93u;
}

/// Slots for `n_entries` at a load of at most one half.
inline size_t table_size(size_t n_entries) {
    size_t size = 16;
    while (size < n_entries * 2) size *= 2;
    return size;
}

}  // namespace fathom
