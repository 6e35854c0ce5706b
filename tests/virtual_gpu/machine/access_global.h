// Access to global memory: bounds, written marks, sectors, order between warps and blocks.
#pragma once

#include <cstdint>

#include "machine/shared_shadow.h"

namespace virtual_gpu {

struct Access;
struct Instruction;
struct Warp;

// One thread's access to any number of bytes, as bulk copies make it: checked and counted.
struct Touch {
    uint64_t address;
    uint32_t bytes;
    int lane;
    AccessKind kind;
};
bool touch_global(Warp& warp, const Instruction& instruction, const Touch& touch);

// The global part of resolve(); alignment is checked already.
void resolve_global(Warp& warp, const Instruction& instruction, Access* access);

}  // namespace virtual_gpu
