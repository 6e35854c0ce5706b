#include "machine/sync.h"

#include "machine/lanes.h"

namespace virtual_gpu {
namespace {

// Everything that is ordered before what the warp does next, its own past included.
Knowledge knowledge_of(const Warp& warp) {
    Knowledge all = warp.clock.others;
    const uint32_t first = warp.global_index() - warp.index;
    for (uint32_t other = 0; other < warp.launch->warps_a_block; other++) {
        const uint32_t time = other == warp.index ? warp.clock.now : warp.clock.known[other];
        if (time != 0) {
            all[first + other] = time;
        }
    }
    return all;
}

}  // namespace

void fence(Warp& warp) {
    join(&warp.clock.others, warp.clock.acquired);
    warp.clock.acquired.clear();
    warp.clock.fenced = std::make_shared<const Knowledge>(knowledge_of(warp));
    // What comes after the fence is not covered by it.
    warp.clock.now += 1;
}

void acquire(Warp& warp, const Instruction& instruction, const Access& access) {
    if (warp.launch->sync.empty()) {
        return;
    }
    const bool is_ordered = (instruction.mode & kOrdered) != 0;
    for_each_lane(access.mask, [&](int lane) {
        const auto found = warp.launch->sync.find(access.address[lane]);
        if (found != warp.launch->sync.end()) {
            join(is_ordered ? &warp.clock.others : &warp.clock.acquired, found->second);
        }
    });
}

void release(Warp& warp, const Instruction& instruction, const Access& access) {
    const bool is_ordered = (instruction.mode & kOrdered) != 0;
    if (!is_ordered && warp.clock.fenced == nullptr) {
        return;
    }
    const Knowledge passed = is_ordered ? knowledge_of(warp) : *warp.clock.fenced;
    for_each_lane(access.mask,
                  [&](int lane) { join(&warp.launch->sync[access.address[lane]], passed); });
    warp.clock.now += is_ordered ? 1 : 0;
}

}  // namespace virtual_gpu
