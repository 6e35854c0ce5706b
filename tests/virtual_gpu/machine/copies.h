// cp.async that is still on its way.
#pragma once

#include "machine/warp.h"

namespace virtual_gpu {

// Carries out those of one lane that were issued before the moment 'serial'.
void carry_out_copies(Warp& warp, int lane, uint64_t serial);

// A warp ends or its block does: copies that nobody waited for are a finding, and are forgotten.
void drop_copies(Warp& warp);

}  // namespace virtual_gpu
