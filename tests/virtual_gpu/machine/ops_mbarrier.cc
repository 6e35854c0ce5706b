// mbarrier: barriers in shared memory that threads and copies arrive at.
//
// A wait that would fail first lets the copies arrive that report to the barrier: they come as late
// as a program can tell, and a program that reads without waiting finds what was there before.
#include "machine/async.h"
#include "machine/decoder.h"
#include "machine/kernel_decoder.h"
#include "machine/lanes.h"

namespace virtual_gpu {
namespace {

constexpr uint8_t kHasState = 1;  // op[0] receives a state.
constexpr uint8_t kHasCount = 2;  // The last operand is a count, or a number of bytes.
constexpr uint8_t kExpectsBytes = 4;
constexpr uint8_t kDrops = 8;
constexpr uint8_t kArrives = 16;

uint32_t place_of(Warp& warp, const Instruction& instruction, int n, int lane) {
    const uint64_t at =
        operand(warp, instruction, n, lane) + static_cast<uint64_t>(instruction.offset);
    return static_cast<uint32_t>(at);  // A generic address into the window has the same low half.
}

bool is_place(Warp& warp, const Instruction& instruction, uint32_t place, int lane) {
    if (place % 8 == 0 && place + 8 <= warp.block->shared_bytes) {
        return true;
    }
    const bool is_aligned = place % 8 == 0;
    report(warp, instruction, is_aligned ? "out-of-bounds" : "misaligned", lane,
           "mbarrier at shared+" + std::to_string(place),
           is_aligned ? LaunchError::kIllegalAddress : LaunchError::kMisaligned);
    return false;
}

void run_init(Warp& warp, const Instruction& instruction, uint32_t mask) {
    for_each_lane(mask, [&](int lane) {
        const uint32_t place = place_of(warp, instruction, 0, lane);
        if (!is_place(warp, instruction, place, lane)) {
            return;
        }
        const auto count = static_cast<uint32_t>(operand(warp, instruction, 1, lane));
        if (count == 0 || count >= 1u << 20) {
            report(warp, instruction, "bad-argument", lane,
                   "an mbarrier for " + std::to_string(count) + " arrivals, 1 to 1048575 can be",
                   LaunchError::kFailure);
            return;
        }
        init_barrier(warp, instruction, place, count);
    });
}

void run_invalidate(Warp& warp, const Instruction& instruction, uint32_t mask) {
    for_each_lane(mask, [&](int lane) {
        const uint32_t place = place_of(warp, instruction, 0, lane);
        if (find_barrier(warp, instruction, place, lane) != nullptr) {
            warp.block->async.barriers.erase(place);
        }
    });
}

// The state that arrive returns: the phase it belongs to, and how many it still waited for.
uint64_t state_of(const SharedBarrier& barrier) {
    return barrier.phase << 32 | static_cast<uint32_t>(barrier.pending);
}

// arrive, arrive_drop, arrive.expect_tx, expect_tx.
void run_arrive(Warp& warp, const Instruction& instruction, uint32_t mask) {
    const int at = (instruction.mode & kHasState) != 0 ? 1 : 0;
    for_each_lane(mask, [&](int lane) {
        const uint32_t place = place_of(warp, instruction, at, lane);
        SharedBarrier* barrier = find_barrier(warp, instruction, place, lane);
        if (barrier == nullptr) {
            return;
        }
        const uint64_t number =
            (instruction.mode & kHasCount) != 0 ? operand(warp, instruction, at + 1, lane) : 1;
        const bool expects = (instruction.mode & kExpectsBytes) != 0;
        if (expects) {
            barrier->bytes += static_cast<uint32_t>(number);
        }
        if (at == 1) {
            write_lane(warp, instruction.op[0], instruction.width[0], lane, state_of(*barrier));
        }
        if ((instruction.mode & kDrops) != 0) {
            barrier->count -= 1;
        }
        if ((instruction.mode & kArrives) != 0) {
            arrive(warp, instruction, barrier, expects ? 1 : static_cast<uint32_t>(number));
        }
    });
    if ((instruction.mode & kArrives) != 0) {
        warp.clock.now += 1;  // What the warp does next is not covered by its arrival.
    }
}

// Whether the phase that the lane asks for is over. 'mode' says what op[2] is: a parity (1), or a
// state that arrive returned.
bool is_over(const SharedBarrier& barrier, uint8_t mode, uint64_t asked) {
    return mode == 1 ? (barrier.phase & 1) != (asked & 1) : barrier.phase > asked >> 32;
}

void run_wait(Warp& warp, const Instruction& instruction, uint32_t mask) {
    uint32_t over = 0;
    for_each_lane(mask, [&](int lane) {
        const uint32_t place = place_of(warp, instruction, 1, lane);
        SharedBarrier* barrier = find_barrier(warp, instruction, place, lane);
        if (barrier == nullptr) {
            return;
        }
        const uint64_t asked = operand(warp, instruction, 2, lane);
        if (!is_over(*barrier, instruction.mode, asked)) {
            carry_out_for(*warp.block, place);
        }
        if (is_over(*barrier, instruction.mode, asked)) {
            over |= 1u << lane;
            pass_barrier(warp, *barrier);
        }
    });
    set_predicate(warp, instruction.op[0], mask, over);
    if (over != mask) {
        warp.budget = 0;  // It will ask again; the others get a turn first.
    }
}

void run_pending_count(Warp& warp, const Instruction& instruction, uint32_t mask) {
    for_each_lane(mask, [&](int lane) {
        write_lane(warp, instruction.op[0], instruction.width[0], lane,
                   operand(warp, instruction, 1, lane) & 0xffffffff);
    });
}

void take_scopes(Decoding& d) {
    d.ignore({"release", "acquire", "relaxed", "cta", "cluster"});
    if (!d.take("shared") && !d.take("shared::cta")) {
        d.fail("only barriers of the block's own shared memory (.shared::cta) are supported");
    }
    if (d.need_type() != Type::kB64) {
        d.fail("only .b64 is supported");
    }
    d.kernel().kernel().has_async = true;
}

void decode_arrival(Decoding& d, uint8_t mode) {
    Instruction& out = d.out();
    const bool expects = d.take("expect_tx");
    d.ignore({"noComplete"});
    take_scopes(d);
    out.mode = mode | (expects ? kExpectsBytes : 0);
    if ((mode & kArrives) != 0) {
        d.destination(Type::kB64);
        out.mode |= kHasState;
    }
    d.address();
    if (d.operands_left() > 0) {
        d.value(Type::kU32);
        out.mode |= kHasCount;
    }
    if (expects && (out.mode & kHasCount) == 0) {
        d.fail("the number of bytes is missing");
    }
    out.run = run_arrive;
}

void decode_mbarrier(Decoding& d) {
    Instruction& out = d.out();
    if (d.take("init")) {
        take_scopes(d);
        d.address();
        d.value(Type::kU32);
        out.run = run_init;
    } else if (d.take("inval")) {
        take_scopes(d);
        d.address();
        out.run = run_invalidate;
    } else if (d.take("arrive")) {
        decode_arrival(d, kArrives);
    } else if (d.take("arrive_drop")) {
        decode_arrival(d, kArrives | kDrops);
    } else if (d.take("test_wait") || d.take("try_wait")) {
        out.mode = d.take("parity");
        take_scopes(d);
        d.destination(Type::kPredicate);
        d.address();
        d.value(out.mode == 1 ? Type::kU32 : Type::kB64);
        if (d.operands_left() > 0) {
            d.skip();  // How long the hardware may suspend the thread.
        }
        out.run = run_wait;
    } else if (d.take("pending_count")) {
        if (d.need_type() == Type::kB64) {
            d.destination(Type::kU32);
            d.value(Type::kB64);
            out.run = run_pending_count;
        }
    } else {
        decode_arrival(d, 0);  // expect_tx alone.
    }
}

constexpr Opcode kOpcodes[] = {{"mbarrier", decode_mbarrier}};

}  // namespace

std::span<const Opcode> mbarrier_opcodes() { return kOpcodes; }

}  // namespace virtual_gpu
