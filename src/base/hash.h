#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace fathom {

/// XXH3, 64 bits. For fingerprints and look-ups inside one process, never a security boundary.
uint64_t hash64(std::span<const std::byte> bytes, uint64_t seed = 0);

}  // namespace fathom
