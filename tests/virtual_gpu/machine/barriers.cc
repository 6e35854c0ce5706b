#include "machine/barriers.h"

#include <algorithm>

#include "machine/lanes.h"

namespace virtual_gpu {
namespace {

constexpr uint8_t kReductionMask = 7;
constexpr uint8_t kPopc = 1;
constexpr uint8_t kAndReduction = 2;

// bar.red: every thread gets the count, the conjunction or the disjunction of all predicates.
void write_reduction(Block& block, const std::vector<uint32_t>& waiting) {
    uint32_t count = 0;
    uint32_t threads = 0;
    for (const uint32_t index : waiting) {
        count += static_cast<uint32_t>(__builtin_popcount(block.warps[index].arrival.reduction));
        threads += static_cast<uint32_t>(__builtin_popcount(block.warps[index].live));
    }
    for (const uint32_t index : waiting) {
        Warp& warp = block.warps[index];
        const Instruction& instruction = *warp.arrival.instruction;
        const uint8_t reduction = instruction.mode & kReductionMask;
        if (reduction == 0) {
            continue;
        }
        const bool holds = reduction == kAndReduction ? count == threads : count != 0;
        for_each_lane(warp.live, [&](int lane) {
            write_lane(warp, instruction.op[0], instruction.width[0], lane,
                       reduction == kPopc ? count : holds);
        });
    }
}

// All who met know of each other what came before.
void join_clocks(Block& block, const std::vector<uint32_t>& waiting,
                 const Block::Barrier& arrived) {
    std::vector<uint32_t> known(block.warps[0].clock.known.size(), 0);
    bool has_waited = false;
    Knowledge others;
    const auto add = [&](const std::vector<uint32_t>& clock, const Knowledge& of_others) {
        for (size_t i = 0; i < known.size(); i++) {
            known[i] = std::max(known[i], clock[i]);
        }
        join(&others, of_others);
    };
    for (const uint32_t index : waiting) {
        const WarpClock& clock = block.warps[index].clock;
        add(clock.known, clock.others);
        known[index] = std::max(known[index], clock.now);
        has_waited = has_waited || block.warps[index].has_waited_for_grid;
    }
    for (size_t i = 0; i < arrived.known.size(); i++) {
        add(arrived.known[i], arrived.others[i]);
    }
    for (const uint32_t index : waiting) {
        WarpClock& clock = block.warps[index].clock;
        clock.known = known;
        block.warps[index].has_waited_for_grid = has_waited;
        clock.now += 1;
        if (!others.empty()) {
            clock.others = others;
        }
    }
}

}  // namespace

bool release_barriers(Block& block) {
    bool any = false;
    for (uint32_t id = 0; id < 16; id++) {
        Block::Barrier& barrier = block.arrived[id];
        std::vector<uint32_t> waiting;
        uint32_t expected = barrier.expected;
        for (const Warp& warp : block.warps) {
            if (warp.state == WarpState::kAtBarrier && warp.arrival.id == id) {
                waiting.push_back(warp.index);
                expected = std::max(expected, warp.arrival.threads);
            }
        }
        if (waiting.empty()) {
            continue;
        }
        const uint64_t threads = waiting.size() * 32 + barrier.threads;
        const bool is_complete =
            expected == 0 ? waiting.size() == block.live_warps : threads >= expected;
        if (!is_complete) {
            continue;
        }
        any = true;
        write_reduction(block, waiting);
        join_clocks(block, waiting, barrier);
        if (waiting.size() == block.live_warps) {
            block.full_barriers += 1;
        } else {
            block.warps[waiting[0]].launch->has_partial_barriers = true;
        }
        for (const uint32_t index : waiting) {
            block.warps[index].state = WarpState::kReady;
        }
        barrier = {};
        block.warps[0].launch->progress += 1;
    }
    return any;
}

}  // namespace virtual_gpu
