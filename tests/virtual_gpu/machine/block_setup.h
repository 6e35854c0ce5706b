// Makes blocks ready to run.
#pragma once

#include "machine/warp.h"

namespace virtual_gpu {

// Gives the block its registers, shared and local memory, and fills constants and the special
// registers that are the same for every block of the launch.
void setup_block(Launch* launch, Block* block);

// Makes it block number 'linear' of the grid. All its clocks begin after 'clock_base', the value
// that an earlier block in the same place ended with; returns the base for the next.
uint32_t start_block(Block* block, uint64_t linear, uint32_t clock_base);

}  // namespace virtual_gpu
