// Executes one warp until it gives way.
#pragma once

#include "machine/warp.h"

namespace virtual_gpu {

// Runs a ready warp until it stops at a barrier, ends, fails or has used up its budget.
void run_warp(Warp& warp, int64_t budget);

}  // namespace virtual_gpu
