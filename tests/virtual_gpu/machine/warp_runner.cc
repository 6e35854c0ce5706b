#include "machine/warp_runner.h"

#include <algorithm>
#include <limits>

#include "machine/copies.h"
#include "machine/lanes.h"
#include "machine/wgmma.h"

namespace virtual_gpu {
namespace {

// The current fragment and those parked: equal instructions merge, and the lowest instruction goes
// first, because that is where lanes that took different ways meet again. A fragment that waits at
// a .sync instruction runs again when lanes join it, or when nothing else can run.
bool choose_fragment(Warp& warp) {
    if (warp.mask != 0) {
        warp.parked.push_back({warp.pc, warp.mask, warp.stop == Stop::kWait});
        warp.mask = 0;
    }
    std::vector<Fragment>& parked = warp.parked;
    std::sort(parked.begin(), parked.end(),
              [](const Fragment& a, const Fragment& b) { return a.pc > b.pc; });
    for (size_t i = parked.size(); i-- > 1;) {
        if (parked[i].pc == parked[i - 1].pc) {
            parked[i - 1].mask |= parked[i].mask;
            // New lanes at a waiting instruction are worth another try.
            parked[i - 1].is_waiting = parked[i - 1].is_waiting && parked[i].is_waiting;
            parked.erase(parked.begin() + static_cast<long>(i));
        }
    }
    size_t chosen = parked.size();
    while (chosen > 0 && parked[chosen - 1].is_waiting) {
        chosen -= 1;
    }
    if (chosen == 0) {
        return false;
    }
    const Fragment fragment = parked[chosen - 1];
    parked.erase(parked.begin() + static_cast<long>(chosen - 1));
    warp.pc = fragment.pc;
    warp.mask = fragment.mask;
    // While another fragment waits, every step may be the one that frees it.
    const bool has_waiting =
        std::any_of(parked.begin(), parked.end(), [](const Fragment& f) { return f.is_waiting; });
    warp.limit = parked.empty() ? std::numeric_limits<int32_t>::max()
                 : has_waiting  ? 0
                                : parked.back().pc;
    return true;
}

void report_stuck(Warp& warp) {
    const Fragment& first = warp.parked.back();
    std::string detail = "lanes of one warp wait at different .sync instructions:";
    for (const Fragment& fragment : warp.parked) {
        char lanes[32];
        std::snprintf(lanes, sizeof lanes, " 0x%08x at ", fragment.mask);
        detail += lanes + where(warp, static_cast<size_t>(fragment.pc));
    }
    report(warp, warp.launch->kernel->code[first.pc], "divergent-sync", first_lane(first.mask),
           detail, LaunchError::kFailure);
}

void end_warp(Warp& warp) {
    warp.state = WarpState::kDone;
    warp.block->live_warps -= 1;
    warp.launch->progress += 1;
    drop_copies(warp);
    drop_bulk_copies(warp);
    drop_products(warp);
}

}  // namespace

void run_warp(Warp& warp, int64_t budget) {
    Launch& launch = *warp.launch;
    const Instruction* code = launch.kernel->code.data();
    const auto n_code = static_cast<int32_t>(launch.kernel->code.size());
    InstructionCounters* counters = launch.counters;
    warp.budget = budget;
    for (;;) {
        if (warp.pc >= warp.limit || warp.mask == 0) {
            warp.stop = Stop::kNone;
            if (warp.mask == 0 && warp.parked.empty()) {
                end_warp(warp);
                return;
            }
            if (!choose_fragment(warp)) {
                report_stuck(warp);
                return;
            }
        }
        if (warp.pc >= n_code) {  // Falling off the end is returning.
            warp.live &= ~warp.mask;
            warp.mask = 0;
            continue;
        }
        const Instruction& instruction = code[warp.pc];
        uint32_t mask = warp.mask;
        if (instruction.guard >= 0) {
            const uint32_t guard = predicate(warp, static_cast<uint32_t>(instruction.guard));
            mask &= instruction.guard_negated ? ~guard : guard;
        }
        counters[warp.pc].executed += 1;
        counters[warp.pc].lanes += static_cast<uint32_t>(__builtin_popcount(mask));
        launch.executed += 1;
        warp.budget -= 1;
        warp.next = warp.pc + 1;
        if (mask != 0) {
            if (!warp.matrix.pending.empty()) {
                check_matrix_registers(warp, instruction);
            }
            instruction.run(warp, instruction, mask);
        }
        if (launch.error != LaunchError::kNone) {
            return;
        }
        if (warp.stop == Stop::kNone) {
            warp.pc = warp.next;
            continue;
        }
        if (warp.stop == Stop::kWait) {
            // It did not happen; it is counted when it does.
            counters[warp.pc].executed -= 1;
            counters[warp.pc].lanes -= static_cast<uint32_t>(__builtin_popcount(mask));
            if (!choose_fragment(warp)) {
                report_stuck(warp);
                return;
            }
            warp.stop = Stop::kNone;
            continue;
        }
        warp.pc = warp.next;
        if (warp.stop == Stop::kBarrier) {
            warp.state = WarpState::kAtBarrier;
        }
        warp.stop = Stop::kNone;
        return;
    }
}

}  // namespace virtual_gpu
