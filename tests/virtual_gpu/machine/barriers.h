// The sixteen barriers of a block.
#pragma once

#include "machine/warp.h"

namespace virtual_gpu {

// Lets go the warps whose barrier is complete. Returns whether there was one.
bool release_barriers(Block& block);

}  // namespace virtual_gpu
