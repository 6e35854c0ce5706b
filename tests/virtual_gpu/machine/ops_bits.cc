// Logic, shifts and bit fields.
#include <bit>

#include "machine/decoder.h"
#include "machine/lanes.h"

namespace virtual_gpu {
namespace {

enum class Logic { kAnd, kOr, kXor, kNot, kCnot };

template <class T>
Handler logic_handler(Logic op) {
    switch (op) {
        case Logic::kAnd: return binary<[](T a, T b) { return a & b; }, T, T>;
        case Logic::kOr: return binary<[](T a, T b) { return a | b; }, T, T>;
        case Logic::kXor: return binary<[](T a, T b) { return a ^ b; }, T, T>;
        case Logic::kNot: return unary<[](T a) { return ~a; }, T, T>;
        case Logic::kCnot: return unary<[](T a) { return a == 0; }, T, T>;
    }
    return nullptr;
}

template <Logic op>
void logic_predicate(Warp& warp, const Instruction& instruction, uint32_t mask) {
    const uint32_t a = predicate(warp, instruction.op[1]);
    const uint32_t b = op == Logic::kNot ? 0 : predicate(warp, instruction.op[2]);
    set_predicate(warp, instruction.op[0], mask,
                  op == Logic::kAnd   ? a & b
                  : op == Logic::kOr  ? a | b
                  : op == Logic::kXor ? a ^ b
                                      : ~a);
}

template <Logic op>
void decode_logic(Decoding& d) {
    const Type type = d.need_type();
    d.destination(type);
    d.values(op == Logic::kNot || op == Logic::kCnot ? 1 : 2, type);
    switch (type_bits(type)) {
        case 1: d.out().run = op == Logic::kCnot ? nullptr : logic_predicate<op>; break;
        case 16: d.out().run = logic_handler<uint16_t>(op); break;
        case 32: d.out().run = logic_handler<uint32_t>(op); break;
        case 64: d.out().run = logic_handler<uint64_t>(op); break;
    }
}

// A shift by the width or more gives 0, or the sign.
template <class T>
T shift_left(T a, uint32_t n) {
    constexpr uint32_t kBits = sizeof(T) * 8;
    return n >= kBits ? T(0) : static_cast<T>(a << (n % kBits));
}

template <class T>
T shift_right(T a, uint32_t n) {
    constexpr uint32_t kBits = sizeof(T) * 8;
    return n >= kBits ? (a < 0 ? T(-1) : T(0)) : static_cast<T>(a >> (n % kBits));
}

void decode_shl(Decoding& d) {
    const Type type = d.need_type();
    d.destination(type);
    d.value(type);
    d.value(Type::kU32);
    switch (type_bits(type)) {
        case 16: d.out().run = binary<shift_left<uint16_t>, uint16_t, uint16_t, uint32_t>; break;
        case 32: d.out().run = binary<shift_left<uint32_t>, uint32_t, uint32_t, uint32_t>; break;
        case 64: d.out().run = binary<shift_left<uint64_t>, uint64_t, uint64_t, uint32_t>; break;
    }
}

template <class T>
constexpr Handler kShiftRight = binary<shift_right<T>, T, T, uint32_t>;

void decode_shr(Decoding& d) {
    const Type type = d.need_type();
    d.destination(type);
    d.value(type);
    d.value(Type::kU32);
    const bool is_signed = type_is_signed(type);
    switch (type_bits(type)) {
        case 16: d.out().run = is_signed ? kShiftRight<int16_t> : kShiftRight<uint16_t>; break;
        case 32: d.out().run = is_signed ? kShiftRight<int32_t> : kShiftRight<uint32_t>; break;
        case 64: d.out().run = is_signed ? kShiftRight<int64_t> : kShiftRight<uint64_t>; break;
    }
}

// shf: 64 bits (b:a) shifted, 32 of them kept.
template <bool kLeft, bool kClamp>
uint32_t funnel(uint32_t a, uint32_t b, uint32_t n) {
    const uint64_t both = uint64_t{b} << 32 | a;
    const uint32_t by = kClamp ? (n < 32 ? n : 32) : n % 32;
    return static_cast<uint32_t>(kLeft ? (both << by) >> 32 : both >> by);
}

void decode_shf(Decoding& d) {
    const bool is_left = d.take("l");
    if (!is_left && !d.take("r")) {
        d.fail("'.l' or '.r' is missing");
    }
    const bool clamps = d.take("clamp");
    if (!clamps && !d.take("wrap")) {
        d.fail("'.clamp' or '.wrap' is missing");
    }
    d.need_type();
    d.destination(Type::kB32);
    d.values(3, Type::kB32);
    d.out().run = is_left ? (clamps ? ternary<funnel<true, true>, uint32_t, uint32_t>
                                    : ternary<funnel<true, false>, uint32_t, uint32_t>)
                          : (clamps ? ternary<funnel<false, true>, uint32_t, uint32_t>
                                    : ternary<funnel<false, false>, uint32_t, uint32_t>);
}

// Bit 4a + 2b + c of the table is the result for those three bits.
uint32_t lop3(uint32_t a, uint32_t b, uint32_t c, uint32_t table) {
    uint32_t result = 0;
    for (int row = 0; row < 8; row++) {
        const uint32_t hit = (row & 4 ? a : ~a) & (row & 2 ? b : ~b) & (row & 1 ? c : ~c);
        result |= (table >> row & 1) != 0 ? hit : 0;
    }
    return result;
}

void run_lop3(Warp& warp, const Instruction& instruction, uint32_t mask) {
    const uint32_t* a = reg<uint32_t>(warp, instruction.op[1]);
    const uint32_t* b = reg<uint32_t>(warp, instruction.op[2]);
    const uint32_t* c = reg<uint32_t>(warp, instruction.op[3]);
    const auto table = static_cast<uint32_t>(instruction.offset);
    write_lanes(reg<uint32_t>(warp, instruction.op[0]), mask,
                [=](int lane) { return lop3(a[lane], b[lane], c[lane], table); });
}

void decode_lop3(Decoding& d) {
    d.need_type();
    d.destination(Type::kB32);
    d.values(3, Type::kB32);
    d.out().offset = static_cast<int64_t>(d.immediate());
    d.out().run = run_lop3;
}

// Each nibble of the selector picks one of 8 bytes; its top bit asks for that byte's sign.
uint32_t prmt(uint32_t a, uint32_t b, uint32_t selector) {
    const uint64_t bytes = uint64_t{b} << 32 | a;
    uint32_t result = 0;
    for (int i = 0; i < 4; i++) {
        const uint32_t pick = selector >> (4 * i) & 15;
        uint32_t byte = bytes >> (8 * (pick & 7)) & 255;
        if ((pick & 8) != 0) {
            byte = (byte & 128) != 0 ? 255 : 0;
        }
        result |= byte << (8 * i);
    }
    return result;
}

void decode_prmt(Decoding& d) {
    d.need_type();
    d.destination(Type::kB32);
    d.values(3, Type::kB32);
    d.out().run = ternary<prmt, uint32_t, uint32_t>;
}

template <class T>
T field(T a, uint32_t position, uint32_t length) {
    using U = std::make_unsigned_t<T>;
    constexpr uint32_t kBits = sizeof(T) * 8;
    position &= 255;
    length &= 255;
    if (length == 0) {
        return 0;
    }
    // Past the top the sign goes on, or zeros.
    const T moved = position >= kBits ? (a < 0 ? T(-1) : T(0)) : static_cast<T>(a >> position);
    if (length >= kBits || (position < kBits && length >= kBits - position)) {
        return moved;
    }
    if (position >= kBits) {
        return moved;
    }
    const uint32_t spare = kBits - length;
    return static_cast<T>(static_cast<T>(static_cast<U>(moved) << spare) >> spare);
}

template <class T>
constexpr Handler kBitField = ternary<field<T>, T, T, uint32_t, uint32_t>;

void decode_bfe(Decoding& d) {
    const Type type = d.need_type();
    d.destination(type);
    d.value(type);
    d.values(2, Type::kU32);
    switch (type) {
        case Type::kU32: d.out().run = kBitField<uint32_t>; break;
        case Type::kS32: d.out().run = kBitField<int32_t>; break;
        case Type::kU64: d.out().run = kBitField<uint64_t>; break;
        case Type::kS64: d.out().run = kBitField<int64_t>; break;
        default: break;
    }
}

template <class T>
T insert(T a, T b, uint32_t position, uint32_t length) {
    constexpr uint32_t kBits = sizeof(T) * 8;
    position &= 255;
    length &= 255;
    if (position >= kBits || length == 0) {
        return b;
    }
    const T ones = length >= kBits ? ~T{0} : static_cast<T>((T{1} << length) - 1);
    const T place = static_cast<T>(ones << position);
    return static_cast<T>((b & ~place) | ((a << position) & place));
}

template <class T>
void run_bfi(Warp& warp, const Instruction& instruction, uint32_t mask) {
    const T* a = reg<T>(warp, instruction.op[1]);
    const T* b = reg<T>(warp, instruction.op[2]);
    const uint32_t* position = reg<uint32_t>(warp, instruction.op[3]);
    const uint32_t* length = reg<uint32_t>(warp, instruction.op[4]);
    write_lanes(reg<T>(warp, instruction.op[0]), mask, [=](int lane) {
        return insert<T>(a[lane], b[lane], position[lane], length[lane]);
    });
}

void decode_bfi(Decoding& d) {
    const Type type = d.need_type();
    d.destination(type);
    d.values(2, type);
    d.values(2, Type::kU32);
    d.out().run = type_bits(type) == 32   ? run_bfi<uint32_t>
                  : type_bits(type) == 64 ? run_bfi<uint64_t>
                                          : nullptr;
}

uint32_t reverse(uint32_t a) {
    uint32_t result = 0;
    for (int i = 0; i < 32; i++) {
        result |= (a >> i & 1) << (31 - i);
    }
    return result;
}

// bfind: the highest bit that is set (or, of a negative number, not set); -1 if there is none.
template <class T>
uint32_t highest(T a) {
    using U = std::make_unsigned_t<T>;
    const U bits = static_cast<U>(a < 0 ? ~a : a);
    return bits == 0 ? ~0u : static_cast<uint32_t>(sizeof(T) * 8 - 1 - std::countl_zero(bits));
}

void decode_popc(Decoding& d) {
    const Type type = d.need_type();
    d.destination(Type::kU32);
    d.value(type);
    d.out().run = type_bits(type) == 32
                      ? unary<[](uint32_t a) { return std::popcount(a); }, uint32_t, uint32_t>
                      : unary<[](uint64_t a) { return std::popcount(a); }, uint32_t, uint64_t>;
}

void decode_clz(Decoding& d) {
    const Type type = d.need_type();
    d.destination(Type::kU32);
    d.value(type);
    d.out().run = type_bits(type) == 32
                      ? unary<[](uint32_t a) { return std::countl_zero(a); }, uint32_t, uint32_t>
                      : unary<[](uint64_t a) { return std::countl_zero(a); }, uint32_t, uint64_t>;
}

void decode_brev(Decoding& d) {
    const Type type = d.need_type();
    d.destination(type);
    d.value(type);
    d.out().run = type_bits(type) == 32 ? unary<reverse, uint32_t, uint32_t>
                                        : unary<[](uint64_t a) {
                                              return uint64_t{reverse(uint32_t(a))} << 32 |
                                                     reverse(uint32_t(a >> 32));
                                          },
                                                uint64_t, uint64_t>;
}

// '.shiftamt': how far to shift it left, so that it becomes the highest.
template <class T>
uint32_t shift_to_top(T a) {
    const uint32_t position = highest(a);
    return position == ~0u ? ~0u : static_cast<uint32_t>(sizeof(T) * 8 - 1 - position);
}

void decode_bfind(Decoding& d) {
    const bool as_shift = d.take("shiftamt");
    const Type type = d.need_type();
    d.destination(Type::kU32);
    d.value(type);
    switch (type) {
        case Type::kU32:
            d.out().run = as_shift ? unary<shift_to_top<uint32_t>, uint32_t, uint32_t>
                                   : unary<highest<uint32_t>, uint32_t, uint32_t>;
            break;
        case Type::kS32:
            d.out().run = as_shift ? unary<shift_to_top<int32_t>, uint32_t, int32_t>
                                   : unary<highest<int32_t>, uint32_t, int32_t>;
            break;
        case Type::kU64:
            d.out().run = as_shift ? unary<shift_to_top<uint64_t>, uint32_t, uint64_t>
                                   : unary<highest<uint64_t>, uint32_t, uint64_t>;
            break;
        case Type::kS64:
            d.out().run = as_shift ? unary<shift_to_top<int64_t>, uint32_t, int64_t>
                                   : unary<highest<int64_t>, uint32_t, int64_t>;
            break;
        default: break;
    }
}

constexpr Opcode kOpcodes[] = {
    {"and", decode_logic<Logic::kAnd>},
    {"or", decode_logic<Logic::kOr>},
    {"xor", decode_logic<Logic::kXor>},
    {"not", decode_logic<Logic::kNot>},
    {"cnot", decode_logic<Logic::kCnot>},
    {"shl", decode_shl},
    {"shr", decode_shr},
    {"shf", decode_shf},
    {"lop3", decode_lop3},
    {"prmt", decode_prmt},
    {"bfe", decode_bfe},
    {"bfi", decode_bfi},
    {"popc", decode_popc},
    {"clz", decode_clz},
    {"brev", decode_brev},
    {"bfind", decode_bfind},
};

}  // namespace

std::span<const Opcode> bit_opcodes() { return kOpcodes; }

}  // namespace virtual_gpu
