#include "machine/async.h"

#include <algorithm>

#include "machine/lanes.h"

namespace virtual_gpu {
namespace {

void raise_to(std::vector<uint32_t>* clocks, const std::vector<uint32_t>& by) {
    clocks->resize(std::max(clocks->size(), by.size()), 0);
    for (size_t i = 0; i < by.size(); i++) {
        (*clocks)[i] = std::max((*clocks)[i], by[i]);
    }
}

void end_phase_if_complete(Warp& warp, SharedBarrier* barrier) {
    if (barrier->pending != 0 || barrier->bytes != 0) {
        return;
    }
    barrier->phase += 1;
    barrier->pending = barrier->count;
    raise_to(&barrier->passed, barrier->arriving);
    join(&barrier->others_passed, barrier->others_arriving);
    warp.launch->progress += 1;
}

}  // namespace

void proxy_fence(Warp& warp) {
    AsyncState& state = warp.block->async;
    state.proxy_fences[warp.index].push_back(warp.clock.now);
    state.proxy_known[warp.index] = warp.clock.known;
    state.proxy_known[warp.index][warp.index] = warp.clock.now;
    warp.clock.now += 1;
}

bool is_fenced(const Warp& warp, uint32_t writer, uint32_t clock) {
    const AsyncState& state = warp.block->async;
    // Either the writer fenced after its write, and what the warp knows covers that fence,
    const std::vector<uint32_t>& fences = state.proxy_fences[writer];
    const auto fence = std::lower_bound(fences.begin(), fences.end(), clock);
    const uint32_t known = writer == warp.index ? warp.clock.now : warp.clock.known[writer];
    if (fence != fences.end() && *fence <= known) {
        return true;
    }
    // or the warp itself fenced when it knew of the write.
    const std::vector<uint32_t>& seen = state.proxy_known[warp.index];
    return !seen.empty() && clock <= seen[writer];
}

void init_barrier(Warp& warp, const Instruction& instruction, uint32_t place, uint32_t count) {
    AsyncState& state = warp.block->async;
    SharedBarrier& barrier = state.barriers[place];
    barrier = {};
    barrier.count = count;
    barrier.pending = count;
    barrier.agent = warp.launch->warps_a_block + state.barriers_made++ % kBarrierAgents;
    barrier.init_warp = warp.index;
    barrier.init_clock = warp.clock.now;
    barrier.init_pc = pc_of(warp, instruction);
    warp.launch->progress += 1;
}

SharedBarrier* find_barrier(Warp& warp, const Instruction& instruction, uint32_t place, int lane) {
    std::map<uint32_t, SharedBarrier>& barriers = warp.block->async.barriers;
    const auto found = barriers.find(place);
    if (found == barriers.end()) {
        report(warp, instruction, "not-a-barrier", lane,
               "no mbarrier was initialised at shared+" + std::to_string(place),
               LaunchError::kFailure);
        return nullptr;
    }
    SharedBarrier& barrier = found->second;
    if (barrier.init_warp != warp.index &&
        !warp.clock.follows(barrier.init_warp, barrier.init_clock)) {
        report(warp, instruction, "race", lane,
               "use of the mbarrier at shared+" + std::to_string(place) +
                   " is not ordered after its initialisation at " + where(warp, barrier.init_pc));
    }
    return &barrier;
}

void complete_bytes(Block& block, SharedBarrier* barrier, uint32_t bytes, AgentTime time) {
    barrier->bytes -= bytes;
    barrier->arriving.resize(block.warps[0].clock.known.size(), 0);
    barrier->arriving[time.agent] = time.clock;
    end_phase_if_complete(block.warps[0], barrier);
}

void arrive(Warp& warp, const Instruction& instruction, SharedBarrier* barrier, uint32_t count) {
    if (barrier->pending < count) {
        report(warp, instruction, "too-many-arrivals", first_lane(warp.mask),
               std::to_string(count) + " arrivals, the phase waits for " +
                   std::to_string(barrier->pending),
               LaunchError::kFailure);
        return;
    }
    barrier->pending -= count;
    raise_to(&barrier->arriving, warp.clock.known);
    barrier->arriving[warp.index] = std::max(barrier->arriving[warp.index], warp.clock.now);
    join(&barrier->others_arriving, warp.clock.others);
    barrier->has_waited_for_grid = barrier->has_waited_for_grid || warp.has_waited_for_grid;
    end_phase_if_complete(warp, barrier);
}

void pass_barrier(Warp& warp, const SharedBarrier& barrier) {
    raise_to(&warp.clock.known, barrier.passed);
    join(&warp.clock.others, barrier.others_passed);
    warp.has_waited_for_grid = warp.has_waited_for_grid || barrier.has_waited_for_grid;
}

}  // namespace virtual_gpu
