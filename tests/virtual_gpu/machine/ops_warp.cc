// What the lanes of a warp do together: shfl, vote, match, redux, activemask, elect.
#include "machine/decoder.h"
#include "machine/kernel_decoder.h"
#include "machine/lanes.h"

namespace virtual_gpu {
namespace {

uint32_t member_mask(Warp& warp, const Instruction& instruction, int n, uint32_t mask) {
    return static_cast<uint32_t>(operand(warp, instruction, n, first_lane(mask)));
}

// A lane that names itself not in the member mask executes something undefined.
bool members_agree(Warp& warp, const Instruction& instruction, int n, uint32_t mask) {
    const uint32_t members = member_mask(warp, instruction, n, mask);
    if (!all_lanes_are_here(warp, members, mask)) {
        return false;
    }
    if ((mask & ~members) != 0) {
        report(warp, instruction, "lane-outside-mask", first_lane(mask & ~members),
               "it executes the instruction, but its member mask leaves it out");
    }
    return true;
}

enum class Shuffle : uint8_t { kUp, kDown, kBfly, kIdx };

// Which lane 'lane' reads; -1 if the segment has none there (it then keeps its own value).
int source_lane(Shuffle mode, int lane, uint32_t b, uint32_t c) {
    const int by = static_cast<int>(b & 31);
    const int clamp = static_cast<int>(c & 31);
    const int segment = static_cast<int>(c >> 8 & 31);
    const int most = (lane & segment) | (clamp & ~segment);
    const int least = lane & segment;
    switch (mode) {
        case Shuffle::kUp: return lane - by >= most ? lane - by : -1;
        case Shuffle::kDown: return lane + by <= most ? lane + by : -1;
        case Shuffle::kBfly: return (lane ^ by) <= most ? lane ^ by : -1;
        default: {
            const int from = least | (by & ~segment);
            return from <= most ? from : -1;
        }
    }
}

// op: destination, value, b, c, members; target: the place of the predicate, or -1.
void run_shfl(Warp& warp, const Instruction& instruction, uint32_t mask) {
    if (!members_agree(warp, instruction, 4, mask)) {
        return;
    }
    const auto mode = static_cast<Shuffle>(instruction.mode);
    const uint32_t* value = reg<uint32_t>(warp, instruction.op[1]);
    const uint32_t* b = reg<uint32_t>(warp, instruction.op[2]);
    const uint32_t* c = reg<uint32_t>(warp, instruction.op[3]);
    uint32_t result[32];
    uint32_t in_range = 0;
    for_each_lane(mask, [&](int lane) {
        const int from = source_lane(mode, lane, b[lane], c[lane]);
        if (from >= 0 && (mask >> from & 1) == 0) {
            report(warp, instruction, "shuffle-from-inactive-lane", lane,
                   "it reads lane " + std::to_string(from) + ", which does not take part");
        }
        in_range |= static_cast<uint32_t>(from >= 0) << lane;
        result[lane] = value[from >= 0 ? from : lane];
    });
    uint32_t* out = reg<uint32_t>(warp, instruction.op[0]);
    for_each_lane(mask, [&](int lane) { out[lane] = result[lane]; });
    if (instruction.target >= 0) {
        set_predicate(warp, static_cast<uint32_t>(instruction.target), mask, in_range);
    }
}

// 'd|p': the second destination goes to 'target'.
void pair_destination(Decoding& d, Type type) {
    if (d.peek().kind != OperandKind::kPair) {
        d.destination(type);
        return;
    }
    const std::vector<PtxOperand>& pair = d.peek().elements;
    int width = 0;
    Instruction& out = d.out();
    out.op[0] = d.place_of(pair[0], type, &width);
    out.width[0] = static_cast<uint8_t>(width);
    out.n_ops = 1;
    out.target = static_cast<int32_t>(d.place_of(pair[1], Type::kPredicate, &width));
    d.skip();
}

void decode_shfl(Decoding& d) {
    if (!d.take("sync")) {
        d.fail("'.sync' is missing");
    }
    const int mode = d.take_one_of({"up", "down", "bfly", "idx"});
    d.need_type();
    d.out().mode = static_cast<uint8_t>(mode);
    pair_destination(d, Type::kB32);
    d.values(4, Type::kB32);
    d.out().run = mode >= 0 ? run_shfl : nullptr;
}

enum class Vote : uint8_t { kAll, kAny, kUni, kBallot };
constexpr uint8_t kNegated = 8;

void run_vote(Warp& warp, const Instruction& instruction, uint32_t mask) {
    if (!members_agree(warp, instruction, 2, mask)) {
        return;
    }
    uint32_t votes = predicate(warp, instruction.op[1]);
    votes = ((instruction.mode & kNegated) != 0 ? ~votes : votes) & mask;
    switch (static_cast<Vote>(instruction.mode & 7)) {
        case Vote::kBallot: {
            uint32_t* out = reg<uint32_t>(warp, instruction.op[0]);
            for_each_lane(mask, [&](int lane) { out[lane] = votes; });
            return;
        }
        case Vote::kAll:
            set_predicate(warp, instruction.op[0], mask, votes == mask ? kAllLanes : 0);
            return;
        case Vote::kAny:
            set_predicate(warp, instruction.op[0], mask, votes != 0 ? kAllLanes : 0);
            return;
        default:
            set_predicate(warp, instruction.op[0], mask,
                          votes == mask || votes == 0 ? kAllLanes : 0);
    }
}

void decode_vote(Decoding& d) {
    if (!d.take("sync")) {
        d.fail("'.sync' is missing");
    }
    const int mode = d.take_one_of({"all", "any", "uni", "ballot"});
    const Type type = d.need_type();
    d.destination(type);
    d.predicate_value();
    d.out().mode = static_cast<uint8_t>(mode | (d.is_negated ? kNegated : 0));
    d.value(Type::kB32);
    d.out().run = mode >= 0 ? run_vote : nullptr;
}

// match.any: the lanes with the same value as mine. match.all: all of them, if all agree.
void run_match(Warp& warp, const Instruction& instruction, uint32_t mask) {
    if (!members_agree(warp, instruction, 2, mask)) {
        return;
    }
    uint32_t same[32];
    for_each_lane(mask, [&](int lane) {
        same[lane] = 0;
        const uint64_t mine = operand(warp, instruction, 1, lane);
        for_each_lane(mask, [&](int other) {
            same[lane] |= (operand(warp, instruction, 1, other) == mine) << other;
        });
    });
    uint32_t* out = reg<uint32_t>(warp, instruction.op[0]);
    const bool all = instruction.mode == 1;
    for_each_lane(mask, [&](int lane) { out[lane] = !all || same[lane] == mask ? same[lane] : 0; });
    if (instruction.target >= 0) {
        set_predicate(warp, static_cast<uint32_t>(instruction.target), mask,
                      same[first_lane(mask)] == mask ? kAllLanes : 0);
    }
}

void decode_match(Decoding& d) {
    const int mode = d.take_one_of({"any", "all"});
    d.ignore({"sync"});
    const Type type = d.need_type();
    pair_destination(d, Type::kB32);
    d.value(type);
    d.value(Type::kB32);
    d.out().mode = static_cast<uint8_t>(mode);
    d.out().run = mode >= 0 ? run_match : nullptr;
}

enum class Reduce : uint8_t { kAdd, kMin, kMax, kAnd, kOr, kXor };

void run_redux(Warp& warp, const Instruction& instruction, uint32_t mask) {
    if (!members_agree(warp, instruction, 2, mask)) {
        return;
    }
    const uint32_t* value = reg<uint32_t>(warp, instruction.op[1]);
    const bool is_signed = type_is_signed(instruction.type);
    uint32_t result = value[first_lane(mask)];
    for_each_lane(mask & (mask - 1), [&](int lane) {
        const uint32_t other = value[lane];
        const bool is_less =
            is_signed ? static_cast<int32_t>(other) < static_cast<int32_t>(result) : other < result;
        switch (static_cast<Reduce>(instruction.mode)) {
            case Reduce::kAdd: result += other; break;
            case Reduce::kMin: result = is_less ? other : result; break;
            case Reduce::kMax: result = is_less ? result : other; break;
            case Reduce::kAnd: result &= other; break;
            case Reduce::kOr: result |= other; break;
            case Reduce::kXor: result ^= other; break;
        }
    });
    uint32_t* out = reg<uint32_t>(warp, instruction.op[0]);
    for_each_lane(mask, [&](int lane) { out[lane] = result; });
}

void decode_redux(Decoding& d) {
    d.ignore({"sync"});
    const int mode = d.take_one_of({"add", "min", "max", "and", "or", "xor"});
    d.out().type = d.need_type();
    d.out().mode = static_cast<uint8_t>(mode);
    d.destination(d.out().type);
    d.value(d.out().type);
    d.value(Type::kB32);
    const bool is_integer = !type_is_float(d.out().type) && type_bits(d.out().type) == 32;
    d.out().run = mode >= 0 && is_integer ? run_redux : nullptr;
}

void run_activemask(Warp& warp, const Instruction& instruction, uint32_t mask) {
    uint32_t* out = reg<uint32_t>(warp, instruction.op[0]);
    for_each_lane(mask, [&](int lane) { out[lane] = mask; });
}

void decode_activemask(Decoding& d) {
    d.need_type();
    d.destination(Type::kB32);
    d.out().run = run_activemask;
}

// elect.sync: one lane of the members, the lowest.
void run_elect(Warp& warp, const Instruction& instruction, uint32_t mask) {
    if (!members_agree(warp, instruction, 1, mask)) {
        return;
    }
    const auto leader = static_cast<uint32_t>(first_lane(mask));
    uint32_t* out = reg<uint32_t>(warp, instruction.op[0]);
    for_each_lane(mask, [&](int lane) { out[lane] = leader; });
    if (instruction.target >= 0) {
        set_predicate(warp, static_cast<uint32_t>(instruction.target), mask, 1u << leader);
    }
}

void decode_elect(Decoding& d) {
    d.ignore({"sync"});
    pair_destination(d, Type::kB32);
    d.value(Type::kB32);
    d.out().run = run_elect;
}

constexpr Opcode kOpcodes[] = {
    {"shfl", decode_shfl},
    {"vote", decode_vote},
    {"match", decode_match},
    {"redux", decode_redux},
    {"activemask", decode_activemask},
    {"elect", decode_elect},
};

}  // namespace

std::span<const Opcode> warp_opcodes() { return kOpcodes; }

}  // namespace virtual_gpu
