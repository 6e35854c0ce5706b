// One warp's access to memory: from addresses to bytes, with every check and count on the way.
#pragma once

#include <cstdint>

#include "machine/warp.h"

namespace virtual_gpu {

struct Access {
    uint32_t mask = 0;   // Lanes that access; what resolve() leaves are those that may go on.
    uint32_t bytes = 0;  // A lane.
    AccessKind kind = AccessKind::kRead;
    uint64_t address[32];
    uint8_t* host[32];    // Where the bytes are, for the lanes in 'mask'.
    bool is_row = false;  // All 32 lanes, side by side: host[lane] = host[0] + lane * bytes.
};

// Fills 'address' from the register at operand 'n' and the instruction's offset.
void read_addresses(Warp& warp, const Instruction& instruction, int n, Access* access);

// Checks bounds, alignment, initialisation and order, counts, and fills 'host'.
void resolve(Warp& warp, const Instruction& instruction, Space space, Access* access);

// Passes over the shared memory's banks that the lanes' addresses need, and how few could do.
void count_wavefronts(Warp& warp, const Instruction& instruction, const uint64_t* address,
                      uint32_t mask, uint32_t bytes);

// Marks bytes of the block's shared memory as written.
void mark_shared_written(Block* block, uint32_t offset, uint32_t bytes);
bool shared_is_written(const Block& block, uint32_t offset, uint32_t bytes);

}  // namespace virtual_gpu
