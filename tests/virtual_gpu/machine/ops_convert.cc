// cvt: between integers, floats and the packed small formats.
#include <cmath>
#include <limits>
#include <type_traits>

#include "machine/decoder.h"
#include "machine/lanes.h"
#include "machine/numeric.h"

namespace virtual_gpu {
namespace {

enum class Round : uint8_t { kNone, kNearest, kZero, kDown, kUp };

// 'mode' of the general handler.
constexpr uint8_t kRoundMask = 7;
constexpr uint8_t kSaturate = 8;
constexpr uint8_t kToInteger = 16;  // .rni and its kin: the result has no fraction.
constexpr uint8_t kFlush = 32;

double round_to_integer(double value, Round round) {
    switch (round) {
        case Round::kNearest: return std::nearbyint(value);
        case Round::kDown: return std::floor(value);
        case Round::kUp: return std::ceil(value);
        default: return std::trunc(value);
    }
}

double widen(uint64_t bits, Type type) {
    switch (type) {
        case Type::kF16: return f16_to_float(static_cast<uint16_t>(bits));
        case Type::kBF16: return bf16_to_float(static_cast<uint16_t>(bits));
        case Type::kF32: return bits_to_float(static_cast<uint32_t>(bits));
        default: return std::bit_cast<double>(bits);
    }
}

float narrow_to_float(double value, Round round) {
    const auto nearest = static_cast<float>(value);
    if (round == Round::kNearest || round == Round::kNone ||
        static_cast<double>(nearest) == value || value != value) {
        return nearest;
    }
    const bool is_above = static_cast<double>(nearest) > value;
    const bool wants_below = round == Round::kDown || (round == Round::kZero && value > 0);
    if (is_above == wants_below) {
        return std::nextafter(nearest, is_above ? -INFINITY : INFINITY);
    }
    return nearest;
}

// A double into the bits of a float type. Narrow formats are reached from a value that is exact in
// double, so rounding happens once.
uint64_t narrow(double value, Type type, Round round, bool* is_supported) {
    switch (type) {
        case Type::kF64: return std::bit_cast<uint64_t>(value);
        case Type::kF32: return float_to_bits(canonical(narrow_to_float(value, round)));
        case Type::kF16: {
            const auto exact = static_cast<float>(value);
            *is_supported = static_cast<double>(exact) == value || value != value;
            return round == Round::kZero ? float_to_f16_toward_zero(exact) : float_to_f16(exact);
        }
        default: {
            const auto exact = static_cast<float>(value);
            *is_supported = static_cast<double>(exact) == value || value != value;
            return round == Round::kZero ? float_to_bf16_toward_zero(exact) : float_to_bf16(exact);
        }
    }
}

uint64_t float_to_integer(double value, Type from, Type to, Round round) {
    const int bits = type_bits(to);
    if (value != value) {
        // The ISA's table: 0, but the top bit for 64-bit results and double sources.
        return bits == 64 || from == Type::kF64 ? uint64_t{1} << (bits - 1) : 0;
    }
    const double whole = round_to_integer(value, round);
    const bool is_signed = type_is_signed(to);
    const double low = is_signed ? -std::ldexp(1.0, bits - 1) : 0;
    const double above = std::ldexp(1.0, is_signed ? bits - 1 : bits);
    if (whole < low) {
        return static_cast<uint64_t>(is_signed ? std::numeric_limits<int64_t>::min() >> (64 - bits)
                                               : 0);
    }
    if (whole >= above) {
        return ~uint64_t{0} >> (is_signed ? 65 - bits : 64 - bits);
    }
    return is_signed ? static_cast<uint64_t>(static_cast<int64_t>(whole))
                     : static_cast<uint64_t>(whole);
}

// The low bits of a register as the source type says, widened with its sign.
uint64_t extend(uint64_t bits, Type type) {
    const int shift = 64 - type_bits(type);
    return type_is_signed(type)
               ? static_cast<uint64_t>(static_cast<int64_t>(bits << shift) >> shift)
               : bits << shift >> shift;
}

uint64_t integer_to_integer(uint64_t value, Type from, Type to, bool saturates) {
    const int bits = type_bits(to);
    if (saturates) {
        const bool is_negative = type_is_signed(from) && static_cast<int64_t>(value) < 0;
        const uint64_t most = ~uint64_t{0} >> (type_is_signed(to) ? 65 - bits : 64 - bits);
        if (is_negative) {
            const int64_t least =
                type_is_signed(to) ? std::numeric_limits<int64_t>::min() >> (64 - bits) : 0;
            const auto given = static_cast<int64_t>(value);
            value = static_cast<uint64_t>(given < least ? least : given);
        } else if (value > most) {
            value = most;
        }
    }
    return extend(value, to);
}

uint64_t integer_to_float(uint64_t value, Type from, Type to, Round round) {
    const bool is_signed = type_is_signed(from);
    if (to == Type::kF32 && (round == Round::kNearest || round == Round::kNone)) {
        return float_to_bits(is_signed ? static_cast<float>(static_cast<int64_t>(value))
                                       : static_cast<float>(value));
    }
    const double wide =
        is_signed ? static_cast<double>(static_cast<int64_t>(value)) : static_cast<double>(value);
    bool is_supported = true;
    return narrow(wide, to, round, &is_supported);
}

void run_cvt(Warp& warp, const Instruction& instruction, uint32_t mask) {
    const Type to = instruction.type;
    const Type from = instruction.source_type;
    const auto round = static_cast<Round>(instruction.mode & kRoundMask);
    for_each_lane(mask, [&](int lane) {
        uint64_t bits = operand(warp, instruction, 1, lane);
        uint64_t result = 0;
        if (!type_is_float(from)) {
            bits = extend(bits, from);
            result = type_is_float(to)
                         ? integer_to_float(bits, from, to, round)
                         : integer_to_integer(bits, from, to, (instruction.mode & kSaturate) != 0);
        } else {
            double value = widen(bits, from);
            if ((instruction.mode & kFlush) != 0) {
                value = flush(static_cast<float>(value));
            }
            if (!type_is_float(to)) {
                result = float_to_integer(value, from, to, round);
            } else {
                if ((instruction.mode & kToInteger) != 0) {
                    value = round_to_integer(value, round);
                }
                if ((instruction.mode & kSaturate) != 0) {
                    value = value > 0 ? (value < 1 ? value : 1) : 0;
                }
                bool is_supported = true;
                result = narrow(value, to, round, &is_supported);
                if (!is_supported) {
                    report(warp, instruction, "unsupported", lane,
                           "this double rounds twice on its way to 16 bits", LaunchError::kFailure);
                }
            }
        }
        write_lane(warp, instruction.op[0], instruction.width[0], lane, result);
    });
}

// Two values into one register: the first source is the upper half.
template <auto Narrow>
uint32_t pack16(float upper, float lower) {
    return uint32_t{Narrow(upper)} << 16 | Narrow(lower);
}

template <auto Narrow>
uint16_t pack8(float upper, float lower) {
    return static_cast<uint16_t>(Narrow(upper) << 8 | Narrow(lower));
}

template <auto Widen>
uint32_t unpack8(uint16_t both) {
    return uint32_t{float_to_f16(Widen(static_cast<uint8_t>(both >> 8)))} << 16 |
           float_to_f16(Widen(static_cast<uint8_t>(both)));
}

template <auto Narrow>
uint16_t repack8(uint32_t both) {
    return pack8<Narrow>(f16_to_float(static_cast<uint16_t>(both >> 16)),
                         f16_to_float(static_cast<uint16_t>(both)));
}

// The conversions that kernels spend their time in, as vector code.
Handler common_handler(Type to, Type from, uint8_t mode) {
    const auto round = static_cast<Round>(mode & kRoundMask);
    if (mode == 0) {
        if (to == Type::kF32 && from == Type::kBF16) {
            return unary<[](uint16_t a) { return canonical(bf16_to_float(a)); }, float, uint16_t>;
        }
        if (to == Type::kF32 && from == Type::kF16) {
            return unary<[](uint16_t a) { return canonical(f16_to_float(a)); }, float, uint16_t>;
        }
        if (to == Type::kS64 && from == Type::kS32) {
            return unary<[](int32_t a) { return int64_t{a}; }, int64_t, int32_t>;
        }
        if ((to == Type::kU64 || to == Type::kS64) && from == Type::kU32) {
            return unary<[](uint32_t a) { return uint64_t{a}; }, uint64_t, uint32_t>;
        }
        if (type_bits(to) == 32 && type_bits(from) == 64 && !type_is_float(from) &&
            !type_is_float(to)) {
            return unary<[](uint64_t a) { return uint32_t(a); }, uint32_t, uint64_t>;
        }
    }
    if (mode == static_cast<uint8_t>(Round::kNearest)) {
        if (to == Type::kBF16 && from == Type::kF32) {
            return unary<float_to_bf16, uint16_t, float>;
        }
        if (to == Type::kF16 && from == Type::kF32) {
            return unary<float_to_f16, uint16_t, float>;
        }
        if (to == Type::kF32 && from == Type::kS32) {
            return unary<[](int32_t a) { return static_cast<float>(a); }, float, int32_t>;
        }
        if (to == Type::kF32 && from == Type::kU32) {
            return unary<[](uint32_t a) { return static_cast<float>(a); }, float, uint32_t>;
        }
    }
    (void)round;
    return nullptr;
}

// cvt of pairs: .bf16x2.f32, .f16x2.f32, .e4m3x2.f32 and back. True if it was one of them.
bool decode_packed(Decoding& d, Type to, Type from, Round round, bool saturates) {
    if (from == Type::kF32 && (to == Type::kBF16x2 || to == Type::kF16x2)) {
        d.destination(Type::kB32);
        d.values(2, Type::kF32);
        const bool zero = round == Round::kZero;
        if (saturates || (!zero && round != Round::kNearest)) {
            d.fail("this rounding is not supported");
        }
        if (to == Type::kBF16x2) {
            d.out().run = zero ? binary<pack16<float_to_bf16_toward_zero>, uint32_t, float>
                               : binary<pack16<float_to_bf16>, uint32_t, float>;
        } else {
            d.out().run = zero ? binary<pack16<float_to_f16_toward_zero>, uint32_t, float>
                               : binary<pack16<float_to_f16>, uint32_t, float>;
        }
        return true;
    }
    if (from == Type::kF32 && (to == Type::kE4M3x2 || to == Type::kE5M2x2)) {
        d.destination(Type::kB16);
        d.values(2, Type::kF32);
        d.out().run = to == Type::kE4M3x2 ? binary<pack8<float_to_e4m3>, uint16_t, float>
                                          : binary<pack8<float_to_e5m2>, uint16_t, float>;
        return true;
    }
    if (to == Type::kF16x2 && (from == Type::kE4M3x2 || from == Type::kE5M2x2)) {
        d.destination(Type::kB32);
        d.value(Type::kB16);
        d.out().run = from == Type::kE4M3x2 ? unary<unpack8<e4m3_to_float>, uint32_t, uint16_t>
                                            : unary<unpack8<e5m2_to_float>, uint32_t, uint16_t>;
        return true;
    }
    if (from == Type::kF16x2 && (to == Type::kE4M3x2 || to == Type::kE5M2x2)) {
        d.destination(Type::kB16);
        d.value(Type::kB32);
        d.out().run = to == Type::kE4M3x2 ? unary<repack8<float_to_e4m3>, uint16_t, uint32_t>
                                          : unary<repack8<float_to_e5m2>, uint16_t, uint32_t>;
        return true;
    }
    return false;
}

void decode_cvt(Decoding& d) {
    const int whole = d.take_one_of({"rni", "rzi", "rmi", "rpi"});
    const int rounding = d.take_one_of({"rn", "rz", "rm", "rp"});
    const bool saturates = d.take("sat") | d.take("satfinite");
    const bool ftz = d.take("ftz");
    const Type to = d.need_type();
    const Type from = d.need_type();
    const auto round = static_cast<Round>(std::max(whole, rounding) + 1);
    if (decode_packed(d, to, from, round, saturates)) {
        return;
    }
    d.out().type = to;
    d.out().source_type = from;
    d.out().mode = static_cast<uint8_t>(static_cast<uint8_t>(round) | (saturates ? kSaturate : 0) |
                                        (whole >= 0 ? kToInteger : 0) | (ftz ? kFlush : 0));
    d.destination(to);
    d.value(from);
    const auto is_scalar = [](Type type) {
        return type_bits(type) <= 64 && type_bits(type) >= 8 && type != Type::kF16x2 &&
               type != Type::kBF16x2 && type != Type::kTF32 && type != Type::kE4M3 &&
               type != Type::kE5M2 && type != Type::kE4M3x2 && type != Type::kE5M2x2;
    };
    if (!is_scalar(to) || !is_scalar(from)) {
        return;
    }
    const bool exact_widths = d.out().width[0] == std::max(16, type_bits(to)) &&
                              d.out().width[1] == std::max(16, type_bits(from));
    d.out().run = exact_widths ? common_handler(to, from, d.out().mode) : nullptr;
    if (d.out().run == nullptr) {
        d.out().run = run_cvt;
    }
}

constexpr Opcode kOpcodes[] = {{"cvt", decode_cvt}};

}  // namespace

std::span<const Opcode> convert_opcodes() { return kOpcodes; }

}  // namespace virtual_gpu
