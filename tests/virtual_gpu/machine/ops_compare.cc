// setp, set, selp, slct.
#include <type_traits>

#include "machine/decoder.h"
#include "machine/lanes.h"
#include "machine/numeric.h"

namespace virtual_gpu {
namespace {

enum class Compare {
    kEq,
    kNe,
    kLt,
    kLe,
    kGt,
    kGe,
    kEqu,
    kNeu,
    kLtu,
    kLeu,
    kGtu,
    kGeu,
    kNum,
    kNan,
    kNone
};

// The plain comparisons are false for a NaN, the ones that end in 'u' are true.
template <Compare op, class T>
bool compare(T a, T b) {
    switch (op) {
        case Compare::kEq: return a == b;
        case Compare::kNe: return a < b || a > b;
        case Compare::kLt: return a < b;
        case Compare::kLe: return a <= b;
        case Compare::kGt: return a > b;
        case Compare::kGe: return a >= b;
        case Compare::kEqu: return !(a < b || a > b);
        case Compare::kNeu: return !(a == b);
        case Compare::kLtu: return !(a >= b);
        case Compare::kLeu: return !(a > b);
        case Compare::kGtu: return !(a <= b);
        case Compare::kGeu: return !(a < b);
        case Compare::kNum: return a == a && b == b;
        default: return !(a == a && b == b);
    }
}

struct Bf16Value {
    uint16_t bits;
    operator float() const { return bf16_to_float(bits); }
};

struct F16Value {
    uint16_t bits;
    operator float() const { return f16_to_float(bits); }
};

// What a comparison is made in: half formats in float, everything else as it is.
template <class T>
using Compared = std::conditional_t<std::is_class_v<T>, float, T>;

template <Compare op, class T>
uint32_t compare_lanes(Warp& warp, const Instruction& instruction) {
    const T* a = reg<T>(warp, instruction.op[1]);
    const T* b = reg<T>(warp, instruction.op[2]);
    alignas(32) int32_t hits[32];
    for (int lane = 0; lane < 32; lane++) {
        hits[lane] = compare<op, Compared<T>>(a[lane], b[lane]) ? -1 : 0;
    }
    return pack_lanes(hits);
}

// 'mode' of setp: how the third source joins in. Bit 4: it is negated. Bit 5: there is a second
// destination, op[4], which gets the complement.
constexpr uint8_t kAnd = 1;
constexpr uint8_t kOr = 2;
constexpr uint8_t kXor = 3;
constexpr uint8_t kNegated = 16;
constexpr uint8_t kHasSecond = 32;

uint32_t combine(uint32_t a, uint32_t b, uint8_t mode) {
    switch (mode & 3) {
        case kAnd: return a & b;
        case kOr: return a | b;
        case kXor: return a ^ b;
        default: return a;
    }
}

template <Compare op, class T>
void run_setp(Warp& warp, const Instruction& instruction, uint32_t mask) {
    const uint32_t hits = compare_lanes<op, T>(warp, instruction);
    uint32_t other = 0;
    if ((instruction.mode & 3) != 0) {
        other = predicate(warp, instruction.op[3]);
        other = (instruction.mode & kNegated) != 0 ? ~other : other;
    }
    set_predicate(warp, instruction.op[0], mask, combine(hits, other, instruction.mode));
    if ((instruction.mode & kHasSecond) != 0) {
        set_predicate(warp, static_cast<uint32_t>(instruction.target), mask,
                      combine(~hits, other, instruction.mode));
    }
}

// set: the result is all ones, or 1.0 where the destination is a float.
template <Compare op, class T>
void run_set(Warp& warp, const Instruction& instruction, uint32_t mask) {
    const uint32_t hits = compare_lanes<op, T>(warp, instruction);
    const uint32_t yes = instruction.type == Type::kF32 ? float_to_bits(1.0f) : ~0u;
    write_lanes(reg<uint32_t>(warp, instruction.op[0]), mask,
                [=](int lane) { return (hits >> lane & 1) != 0 ? yes : 0; });
}

template <class T, template <Compare, class> class Make>
Handler pick(Compare op) {
    switch (op) {
        case Compare::kEq: return Make<Compare::kEq, T>::handler;
        case Compare::kNe: return Make<Compare::kNe, T>::handler;
        case Compare::kLt: return Make<Compare::kLt, T>::handler;
        case Compare::kLe: return Make<Compare::kLe, T>::handler;
        case Compare::kGt: return Make<Compare::kGt, T>::handler;
        case Compare::kGe: return Make<Compare::kGe, T>::handler;
        default: break;
    }
    if constexpr (!std::is_integral_v<T>) {
        switch (op) {
            case Compare::kEqu: return Make<Compare::kEqu, T>::handler;
            case Compare::kNeu: return Make<Compare::kNeu, T>::handler;
            case Compare::kLtu: return Make<Compare::kLtu, T>::handler;
            case Compare::kLeu: return Make<Compare::kLeu, T>::handler;
            case Compare::kGtu: return Make<Compare::kGtu, T>::handler;
            case Compare::kGeu: return Make<Compare::kGeu, T>::handler;
            case Compare::kNum: return Make<Compare::kNum, T>::handler;
            case Compare::kNan: return Make<Compare::kNan, T>::handler;
            default: break;
        }
    }
    return nullptr;
}

template <Compare op, class T>
struct MakeSetp {
    static constexpr Handler handler = run_setp<op, T>;
};

template <Compare op, class T>
struct MakeSet {
    static constexpr Handler handler = run_set<op, T>;
};

template <template <Compare, class> class Make>
Handler pick_by_type(Compare op, Type type) {
    switch (type) {
        case Type::kB16:
        case Type::kU16: return pick<uint16_t, Make>(op);
        case Type::kS16: return pick<int16_t, Make>(op);
        case Type::kB32:
        case Type::kU32: return pick<uint32_t, Make>(op);
        case Type::kS32: return pick<int32_t, Make>(op);
        case Type::kB64:
        case Type::kU64: return pick<uint64_t, Make>(op);
        case Type::kS64: return pick<int64_t, Make>(op);
        case Type::kF32: return pick<float, Make>(op);
        case Type::kF64: return pick<double, Make>(op);
        case Type::kF16: return pick<F16Value, Make>(op);
        case Type::kBF16: return pick<Bf16Value, Make>(op);
        default: return nullptr;
    }
}

Compare take_compare(Decoding& d) {
    const int index = d.take_one_of({"eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu", "leu",
                                     "gtu", "geu", "num", "nan"});
    if (index >= 0) {
        return static_cast<Compare>(index);
    }
    // The same for unsigned integers, under other names.
    const int unsigned_index = d.take_one_of({"lo", "ls", "hi", "hs"});
    if (unsigned_index < 0) {
        d.fail("it names no comparison");
    }
    return static_cast<Compare>(static_cast<int>(Compare::kLt) + unsigned_index);
}

void decode_setp(Decoding& d) {
    const Compare op = take_compare(d);
    const int join = d.take_one_of({"and", "or", "xor"});
    const bool ftz = d.take("ftz");
    const Type type = d.need_type();
    if (ftz && type != Type::kF32) {
        return;
    }
    uint8_t mode = static_cast<uint8_t>(join + 1);
    if (d.peek().kind == OperandKind::kPair) {
        const std::vector<PtxOperand>& pair = d.peek().elements;
        int width = 0;
        d.out().op[0] = d.place_of(pair[0], Type::kPredicate, &width);
        d.out().width[0] = 1;
        d.out().n_ops = 1;
        d.out().target = static_cast<int32_t>(d.place_of(pair[1], Type::kPredicate, &width));
        mode |= kHasSecond;
        d.skip();
    } else {
        d.destination(Type::kPredicate);
    }
    d.values(2, type);
    if (join >= 0) {
        d.predicate_value();
        mode |= d.is_negated ? kNegated : 0;
    }
    d.out().mode = mode;
    // With ftz a subnormal compares like zero; only ordered comparisons can tell, and nvcc writes
    // this form only under -ftz=true, which Fathom does not use.
    d.out().run = ftz ? nullptr : pick_by_type<MakeSetp>(op, type);
}

void decode_set(Decoding& d) {
    const Compare op = take_compare(d);
    d.out().type = d.need_type();
    const Type type = d.need_type();
    d.destination(d.out().type);
    d.values(2, type);
    d.out().run = type_bits(d.out().type) == 32 ? pick_by_type<MakeSet>(op, type) : nullptr;
}

template <class T>
void run_selp(Warp& warp, const Instruction& instruction, uint32_t mask) {
    const T* a = reg<T>(warp, instruction.op[1]);
    const T* b = reg<T>(warp, instruction.op[2]);
    const uint32_t choice =
        predicate(warp, instruction.op[3]) ^ (instruction.mode != 0 ? kAllLanes : 0);
    write_lanes(reg<T>(warp, instruction.op[0]), mask,
                [=](int lane) { return (choice >> lane & 1) != 0 ? a[lane] : b[lane]; });
}

void decode_selp(Decoding& d) {
    const Type type = d.need_type();
    d.destination(type);
    d.values(2, type);
    d.predicate_value();
    d.out().mode = d.is_negated;
    switch (type_bits(type)) {
        case 16: d.out().run = run_selp<uint16_t>; break;
        case 32: d.out().run = run_selp<uint32_t>; break;
        case 64: d.out().run = run_selp<uint64_t>; break;
    }
}

// slct: a where c >= 0, else b.
void decode_slct(Decoding& d) {
    const Type type = d.need_type();
    const Type sign = d.need_type();
    d.destination(type);
    d.values(2, type);
    d.value(sign);
    if (type_bits(type) == 32 && sign == Type::kS32) {
        d.out().run = ternary<[](uint32_t a, uint32_t b, int32_t c) { return (c >= 0) ? a : b; },
                              uint32_t, uint32_t, uint32_t, int32_t>;
    }
}

constexpr Opcode kOpcodes[] = {
    {"setp", decode_setp}, {"set", decode_set}, {"selp", decode_selp}, {"slct", decode_slct}};

}  // namespace

std::span<const Opcode> compare_opcodes() { return kOpcodes; }

}  // namespace virtual_gpu
