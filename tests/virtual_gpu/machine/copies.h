// cp.async that is still on its way.
#pragma once

#include "machine/warp.h"

namespace virtual_gpu {

// A warp ends or its block does: copies that nobody waited for are a finding, and are forgotten.
void drop_copies(Warp& warp);

}  // namespace virtual_gpu
