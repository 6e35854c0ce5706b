// Order between blocks: fences with atomics, volatile and relaxed accesses, acquire and release.
#pragma once

#include "machine/access.h"

namespace virtual_gpu {

// 'mode' bit of memory instructions: the instruction itself acquires or releases. Without it, it
// takes a fence before (to release) or after (to acquire).
constexpr uint8_t kOrdered = 128;

// A strong read saw what the last strong writes of those locations passed on.
void acquire(Warp& warp, const Instruction& instruction, const Access& access);
// A strong write passes on what its warp did before its last fence.
void release(Warp& warp, const Instruction& instruction, const Access& access);
// membar.gl, fence.acq_rel.gpu and the like.
void fence(Warp& warp);

}  // namespace virtual_gpu
