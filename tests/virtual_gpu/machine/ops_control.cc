// Branches, returns, barriers, fences.
#include "machine/decoder.h"
#include "machine/kernel_decoder.h"
#include "machine/lanes.h"
#include "machine/ops_call.h"
#include "machine/sync.h"

namespace virtual_gpu {
namespace {

// 'mode' of barriers: what bar.red computes.
constexpr uint8_t kNoReduction = 0;
constexpr uint8_t kPopc = 1;
constexpr uint8_t kAndReduction = 2;
constexpr uint8_t kOrReduction = 3;
constexpr uint8_t kNegated = 8;

void run_bra(Warp& warp, const Instruction& instruction, uint32_t mask) {
    if (mask == warp.mask) {
        warp.next = instruction.target;
        // A backward jump is where a loop can be left to the other warps.
        if (instruction.target <= warp.pc && warp.budget <= 0) {
            warp.stop = Stop::kYield;
        }
        return;
    }
    warp.parked.push_back({instruction.target, mask, false});
    warp.mask &= ~mask;
    warp.limit = 0;
}

void decode_bra(Decoding& d) {
    d.ignore({"uni"});
    if (d.peek().kind != OperandKind::kLabel) {
        d.fail("a label is wanted");
    }
    d.out().target = d.peek().target + d.kernel().code_base();
    d.skip();
    d.out().run = run_bra;
}

void run_brx(Warp& warp, const Instruction& instruction, uint32_t mask) {
    const std::vector<int>& table = warp.launch->kernel->branch_tables[instruction.target];
    const uint32_t* index = reg<uint32_t>(warp, instruction.op[0]);
    warp.mask &= ~mask;
    for (uint32_t rest = mask; rest != 0;) {
        const uint32_t choice = index[first_lane(rest)];
        uint32_t same = 0;
        for_each_lane(rest, [&](int lane) { same |= (index[lane] == choice) << lane; });
        rest &= ~same;
        if (choice >= table.size()) {
            report(warp, instruction, "branch-outside-table", first_lane(same),
                   "entry " + std::to_string(choice) + " of " + std::to_string(table.size()),
                   LaunchError::kFailure);
            warp.mask |= same;
            return;
        }
        warp.parked.push_back({table[choice], same, false});
    }
    warp.limit = 0;
}

void decode_brx(Decoding& d) {
    d.ignore({"idx", "uni"});
    d.value(Type::kU32);
    d.out().target = d.peek().target + d.kernel().table_base();
    d.skip();
    d.out().run = run_brx;
}

void run_ret(Warp& warp, const Instruction&, uint32_t mask) {
    warp.mask &= ~mask;
    warp.live &= ~mask;
    warp.limit = 0;
    warp.launch->progress += 1;
}

void decode_exit(Decoding& d) { d.out().run = run_ret; }

// ret in the kernel itself is exit; in a function each lane goes back to where it came from.
void decode_ret(Decoding& d) {
    d.ignore({"uni"});
    if (d.kernel().current() == nullptr) {
        d.out().run = run_ret;
    } else {
        decode_return(d);
    }
}

void run_trap(Warp& warp, const Instruction& instruction, uint32_t mask) {
    report(warp, instruction, "trap", first_lane(mask), "the kernel stops itself",
           LaunchError::kFailure);
}

void decode_trap(Decoding& d) { d.out().run = run_trap; }

uint32_t uniform(Warp& warp, const Instruction& instruction, int n, uint32_t mask) {
    return static_cast<uint32_t>(operand(warp, instruction, n, first_lane(mask)));
}

// Of the hardware's 16 barriers, op[0] names one; op[1] says for how many threads it is.
void run_barrier(Warp& warp, const Instruction& instruction, uint32_t mask) {
    if (mask != warp.live) {
        char text[96];
        std::snprintf(text, sizeof text, "lanes 0x%08x of the warp's 0x%08x reach it", mask,
                      warp.live);
        report(warp, instruction, "divergent-barrier", first_lane(mask), text,
               LaunchError::kFailure);
        return;
    }
    BarrierArrival arrival;
    const int base = (instruction.mode & 7) == kNoReduction ? 0 : 1;
    arrival.id = uniform(warp, instruction, base, mask) & 15;
    if (instruction.vector == 2) {
        arrival.threads = uniform(warp, instruction, base + 1, mask);
    }
    if (base == 1) {
        const uint32_t bits = predicate(warp, instruction.op[base + instruction.vector]);
        arrival.reduction = ((instruction.mode & kNegated) != 0 ? ~bits : bits) & mask;
    }
    arrival.instruction = &instruction;
    warp.arrival = arrival;
    warp.stop = Stop::kBarrier;
    warp.launch->kernel_counters->barriers += 1;
}

// bar.arrive counts its threads and goes on.
void run_arrive(Warp& warp, const Instruction& instruction, uint32_t mask) {
    Block::Barrier& barrier = warp.block->arrived[uniform(warp, instruction, 0, mask) & 15];
    barrier.threads += 32;
    barrier.expected = uniform(warp, instruction, 1, mask);
    barrier.known.push_back(warp.clock.known);
    barrier.known.back()[warp.index] = warp.clock.now;
    barrier.others.push_back(warp.clock.others);
    warp.clock.now += 1;
    warp.launch->progress += 1;
    warp.launch->has_partial_barriers = true;
}

void decode_bar_warp(Decoding& d);

void decode_bar(Decoding& d) {
    Instruction& out = d.out();
    if (d.take("warp")) {
        decode_bar_warp(d);
        return;
    }
    d.ignore({"cta", "aligned"});
    const int form = d.take_one_of({"sync", "arrive", "red"});
    if (form < 0) {
        d.fail("'.sync', '.arrive' or '.red' is missing");
    }
    if (form == 2) {
        const int reduction = d.take_one_of({"popc", "and", "or"});
        out.mode = static_cast<uint8_t>(reduction + 1);
        const Type type = d.need_type();
        d.destination(type);
    }
    const size_t left = d.operands_left() - (form == 2 ? 1 : 0);
    out.vector = static_cast<uint8_t>(left);
    d.values(static_cast<int>(left), Type::kU32);
    if (form == 2) {
        d.predicate_value();
        out.mode |= d.is_negated ? kNegated : 0;
    }
    if (left < 1 || left > 2 || (form == 1 && left != 2)) {
        d.fail("wrong number of operands");
    }
    out.run = form == 1 ? run_arrive : run_barrier;
}

void run_sync_warp(Warp& warp, const Instruction& instruction, uint32_t mask) {
    if (!all_lanes_are_here(warp, uniform(warp, instruction, 0, mask), mask)) {
        return;
    }
    warp.clock.now += 1;
}

void decode_bar_warp(Decoding& d) {
    d.ignore({"sync"});
    d.value(Type::kB32);
    d.out().run = run_sync_warp;
}

void run_fence(Warp& warp, const Instruction&, uint32_t) {
    if (warp.launch->settings.check) {
        fence(warp);
    }
}

void run_nothing(Warp&, const Instruction&, uint32_t) {}

void run_proxy_fence(Warp& warp, const Instruction&, uint32_t) {
    if (warp.launch->settings.check) {
        proxy_fence(warp);
    }
}

void decode_fence(Decoding& d) {
    if (d.take("proxy")) {
        if (!d.take("async") && !d.take("async::generic")) {
            d.fail("only fence.proxy.async is supported");
        }
        d.ignore({"global", "shared::cta", "shared::cluster", "acquire", "release", "cluster"});
        d.kernel().kernel().has_async = true;
        d.out().run = run_proxy_fence;
        return;
    }
    if (d.take("mbarrier_init")) {
        d.ignore({"release", "cluster"});
        d.kernel().kernel().has_async = true;
        d.out().run = run_proxy_fence;
        return;
    }
    // Of the block alone: its warps' order comes from barriers, and shared memory is coherent.
    const bool is_block = d.take("cta");
    d.ignore({"gl", "sys", "gpu", "cluster", "sc", "acq_rel"});
    d.out().run = is_block ? run_nothing : run_fence;
}

// Spinning warps give way here, as they should.
void run_nanosleep(Warp& warp, const Instruction&, uint32_t) { warp.stop = Stop::kYield; }

void decode_nanosleep(Decoding& d) {
    d.need_type();
    d.value(Type::kU32);
    d.out().run = run_nanosleep;
}

// Launches run one after the other here, so waiting is over before it begins; that it was done is
// remembered, because what comes before it may not touch what the launch before uses.
void run_grid_wait(Warp& warp, const Instruction&, uint32_t) { warp.has_waited_for_grid = true; }

// setmaxnreg and the like change what the hardware may do, never what the program computes.
void decode_griddepcontrol(Decoding& d) {
    d.out().run = d.take("wait") ? run_grid_wait : run_nothing;
    d.ignore({"launch_dependents"});
}

void decode_setmaxnreg(Decoding& d) {
    d.ignore({"inc", "dec", "sync", "aligned"});
    d.need_type();
    d.immediate();
    d.out().run = run_nothing;
}

constexpr Opcode kOpcodes[] = {
    {"bra", decode_bra},
    {"brx", decode_brx},
    {"ret", decode_ret},
    {"exit", decode_exit},
    {"call", decode_call},
    {"trap", decode_trap},
    {"bar", decode_bar},
    {"barrier", decode_bar},
    {"membar", decode_fence},
    {"fence", decode_fence},
    {"nanosleep", decode_nanosleep},
    {"griddepcontrol", decode_griddepcontrol},
    {"setmaxnreg", decode_setmaxnreg},
};

}  // namespace

std::span<const Opcode> control_opcodes() { return kOpcodes; }

}  // namespace virtual_gpu
