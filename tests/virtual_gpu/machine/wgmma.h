// What the rest of the machine must know of wgmma.
#pragma once

#include "machine/warp.h"

namespace virtual_gpu {

// While products are under way, an instruction must leave their registers alone.
void check_matrix_registers(Warp& warp, const Instruction& instruction);

// A warp ends: products that nobody waited for are a finding.
void drop_products(Warp& warp);

}  // namespace virtual_gpu
