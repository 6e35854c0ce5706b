// Access to global memory: bounds, written marks, sectors, order between warps and blocks.
#pragma once

namespace virtual_gpu {

struct Access;
struct Instruction;
struct Warp;

// The global part of resolve(); alignment is checked already.
void resolve_global(Warp& warp, const Instruction& instruction, Access* access);

}  // namespace virtual_gpu
