// add, sub, mul, mad, fma, div, rem, abs, neg, min, max, rcp, sqrt and the approximate functions.
#include <cmath>
#include <limits>
#include <type_traits>

#include "machine/decoder.h"
#include "machine/lanes.h"
#include "machine/numeric.h"

namespace virtual_gpu {
namespace {

enum class Op { kAdd, kSub, kMul, kMulHi, kMad, kDiv, kRem, kMin, kMax, kAbs, kNeg };

template <class T>
T upper_half(T a, T b) {
    using Wide = std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>;
    return static_cast<T>((Wide{a} * Wide{b}) >> (sizeof(T) * 8));
}

// Wraps like the hardware: signed overflow is computed in the unsigned type.
template <class T>
Handler integer_handler(Op op) {
    using U = std::make_unsigned_t<T>;
    constexpr bool kSigned = std::is_signed_v<T>;
    switch (op) {
        case Op::kAdd: return binary<[](T a, T b) { return T(U(U(a) + U(b))); }, T, T>;
        case Op::kSub: return binary<[](T a, T b) { return T(U(U(a) - U(b))); }, T, T>;
        case Op::kMul: return binary<[](T a, T b) { return T(uint64_t(a) * uint64_t(b)); }, T, T>;
        case Op::kMulHi: return binary<upper_half<T>, T, T>;
        case Op::kMad:
            return ternary<[](T a, T b, T c) { return T(uint64_t(a) * uint64_t(b) + uint64_t(c)); },
                           T, T>;
        case Op::kDiv:  // By 0: the result is not specified; this is what the hardware gives.
            return binary<[](T a, T b) {
                return b == 0 ? T(-1) : kSigned && b == T(-1) ? T(0 - U(a)) : T(a / b);
            },
                          T, T>;
        case Op::kRem:
            return binary<[](T a, T b) {
                return b == 0 ? a : kSigned && b == T(-1) ? T(0) : T(a % b);
            },
                          T, T>;
        case Op::kMin: return binary<[](T a, T b) { return a < b ? a : b; }, T, T>;
        case Op::kMax: return binary<[](T a, T b) { return (a > b) ? a : b; }, T, T>;
        case Op::kAbs: return unary<[](T a) { return a < 0 ? T(0 - U(a)) : a; }, T, T>;
        case Op::kNeg: return unary<[](T a) { return T(0 - U(a)); }, T, T>;
    }
    return nullptr;
}

// Input and output subnormals are zeros with FTZ; every NaN result is the one NaN.
template <bool FTZ>
float in(float value) {
    return FTZ ? flush(value) : value;
}

template <bool FTZ>
float out(float value) {
    return canonical(FTZ ? flush(value) : value);
}

template <bool FTZ>
Handler float_handler(Op op) {
    switch (op) {
        case Op::kAdd:
            return binary<[](float a, float b) { return out<FTZ>(in<FTZ>(a) + in<FTZ>(b)); }, float,
                          float>;
        case Op::kSub:
            return binary<[](float a, float b) { return out<FTZ>(in<FTZ>(a) - in<FTZ>(b)); }, float,
                          float>;
        case Op::kMul:
            return binary<[](float a, float b) { return out<FTZ>(in<FTZ>(a) * in<FTZ>(b)); }, float,
                          float>;
        case Op::kMad:
            return ternary<[](float a, float b, float c) {
                return out<FTZ>(std::fma(in<FTZ>(a), in<FTZ>(b), in<FTZ>(c)));
            },
                           float, float>;
        case Op::kDiv:
            return binary<[](float a, float b) { return out<FTZ>(in<FTZ>(a) / in<FTZ>(b)); }, float,
                          float>;
        case Op::kMin:
            return binary<[](float a, float b) {
                return out<FTZ>(float_min(in<FTZ>(a), in<FTZ>(b)));
            },
                          float, float>;
        case Op::kMax:
            return binary<[](float a, float b) {
                return out<FTZ>(float_max(in<FTZ>(a), in<FTZ>(b)));
            },
                          float, float>;
        case Op::kAbs: return unary<[](float a) { return std::fabs(in<FTZ>(a)); }, float, float>;
        case Op::kNeg: return unary<[](float a) { return -in<FTZ>(a); }, float, float>;
        default: return nullptr;
    }
}

// '.NaN': a NaN on either side is the result.
Handler float_nan_handler(Op op) {
    if (op == Op::kMin) {
        return binary<[](float a, float b) {
            return a != a || b != b ? bits_to_float(kNanF32) : float_min(a, b);
        },
                      float, float>;
    }
    return binary<[](float a, float b) {
        return a != a || b != b ? bits_to_float(kNanF32) : float_max(a, b);
    },
                  float, float>;
}

// '.rz', '.rm', '.rp'. The exact sum or product is rounded once: to odd first, then as asked.
template <Rounding kRounding>
Handler float_directed_handler(Op op) {
    switch (op) {
        case Op::kAdd:
            return binary<[](float a, float b) {
                return canonical(double_to_float<kRounding>(fma_to_odd_double(a, 1, b), a, b));
            },
                          float, float>;
        case Op::kSub:
            return binary<[](float a, float b) {
                return canonical(double_to_float<kRounding>(fma_to_odd_double(a, 1, -b), a, -b));
            },
                          float, float>;
        case Op::kMul:
            return binary<[](float a, float b) {
                const double product = static_cast<double>(a) * b;
                return canonical(double_to_float<kRounding>(product, product, product));
            },
                          float, float>;
        case Op::kMad:
            return ternary<[](float a, float b, float c) {
                const double product = static_cast<double>(a) * b;
                return canonical(
                    double_to_float<kRounding>(fma_to_odd_double(a, b, c), product, c));
            },
                           float, float>;
        default: return nullptr;
    }
}

Handler double_handler(Op op) {
    switch (op) {
        case Op::kAdd: return binary<[](double a, double b) { return a + b; }, double, double>;
        case Op::kSub: return binary<[](double a, double b) { return a - b; }, double, double>;
        case Op::kMul: return binary<[](double a, double b) { return a * b; }, double, double>;
        case Op::kMad:
            return ternary<[](double a, double b, double c) { return std::fma(a, b, c); }, double,
                           double>;
        case Op::kDiv: return binary<[](double a, double b) { return a / b; }, double, double>;
        case Op::kMin:
            return binary<[](double a, double b) { return float_min(a, b); }, double, double>;
        case Op::kMax:
            return binary<[](double a, double b) { return float_max(a, b); }, double, double>;
        case Op::kAbs: return unary<[](double a) { return std::fabs(a); }, double, double>;
        case Op::kNeg: return unary<[](double a) { return -a; }, double, double>;
        default: return nullptr;
    }
}

struct Bf16 {
    static float widen(uint16_t bits) { return bf16_to_float(bits); }
    static uint16_t narrow(float value) { return float_to_bf16(value); }
};

struct F16 {
    static float widen(uint16_t bits) { return f16_to_float(bits); }
    static uint16_t narrow(float value) { return float_to_f16(value); }
};

// Sums, products and quotients of two such values are rounded once more without harm: a float has
// more than twice their bits. fma is not, so it goes through round-to-odd.
template <class Format, Op op>
uint16_t half_op(uint16_t a, uint16_t b, uint16_t c) {
    const float x = Format::widen(a);
    const float y = Format::widen(b);
    switch (op) {
        case Op::kAdd: return Format::narrow(x + y);
        case Op::kSub: return Format::narrow(x - y);
        case Op::kMul: return Format::narrow(x * y);
        case Op::kMad: return Format::narrow(fma_to_odd(x, y, Format::widen(c)));
        case Op::kMin: return Format::narrow(float_min(x, y));
        case Op::kMax: return Format::narrow(float_max(x, y));
        case Op::kAbs: return x != x ? kNan16 : static_cast<uint16_t>(a & 0x7fff);
        default: return x != x ? kNan16 : static_cast<uint16_t>(a ^ 0x8000);
    }
}

template <class Format, Op op, int kSources>
Handler half_handler(bool is_pair) {
    if constexpr (kSources == 1) {
        return is_pair ? unary<[](uint32_t a) {
            return half_op<Format, op>(uint16_t(a), 0, 0) |
                   uint32_t{half_op<Format, op>(uint16_t(a >> 16), 0, 0)} << 16;
        },
                               uint32_t, uint32_t>
                       : unary<[](uint16_t a) { return half_op<Format, op>(a, 0, 0); }, uint16_t,
                               uint16_t>;
    } else if constexpr (kSources == 2) {
        return is_pair ? binary<[](uint32_t a, uint32_t b) {
            return half_op<Format, op>(uint16_t(a), uint16_t(b), 0) |
                   uint32_t{half_op<Format, op>(uint16_t(a >> 16), uint16_t(b >> 16), 0)} << 16;
        },
                                uint32_t, uint32_t>
                       : binary<[](uint16_t a, uint16_t b) { return half_op<Format, op>(a, b, 0); },
                                uint16_t, uint16_t>;
    } else {
        return is_pair ? ternary<[](uint32_t a, uint32_t b, uint32_t c) {
            return half_op<Format, op>(uint16_t(a), uint16_t(b), uint16_t(c)) |
                   uint32_t{
                       half_op<Format, op>(uint16_t(a >> 16), uint16_t(b >> 16), uint16_t(c >> 16))}
                       << 16;
        },
                                 uint32_t, uint32_t>
                       : ternary<[](uint16_t a, uint16_t b, uint16_t c) {
                             return half_op<Format, op>(a, b, c);
                         },
                                 uint16_t, uint16_t>;
    }
}

template <class Format>
Handler half_handler_of(Op op, bool is_pair) {
    switch (op) {
        case Op::kAdd: return half_handler<Format, Op::kAdd, 2>(is_pair);
        case Op::kSub: return half_handler<Format, Op::kSub, 2>(is_pair);
        case Op::kMul: return half_handler<Format, Op::kMul, 2>(is_pair);
        case Op::kMad: return half_handler<Format, Op::kMad, 3>(is_pair);
        case Op::kMin: return half_handler<Format, Op::kMin, 2>(is_pair);
        case Op::kMax: return half_handler<Format, Op::kMax, 2>(is_pair);
        case Op::kAbs: return half_handler<Format, Op::kAbs, 1>(is_pair);
        case Op::kNeg: return half_handler<Format, Op::kNeg, 1>(is_pair);
        default: return nullptr;
    }
}

Handler handler_of(Op op, Type type, bool ftz) {
    switch (type) {
        case Type::kU16:
        case Type::kB16: return integer_handler<uint16_t>(op);
        case Type::kS16: return integer_handler<int16_t>(op);
        case Type::kU32:
        case Type::kB32: return integer_handler<uint32_t>(op);
        case Type::kS32: return integer_handler<int32_t>(op);
        case Type::kU64:
        case Type::kB64: return integer_handler<uint64_t>(op);
        case Type::kS64: return integer_handler<int64_t>(op);
        case Type::kF32: return ftz ? float_handler<true>(op) : float_handler<false>(op);
        case Type::kF64: return double_handler(op);
        case Type::kF16: return half_handler_of<F16>(op, false);
        case Type::kF16x2: return half_handler_of<F16>(op, true);
        case Type::kBF16: return half_handler_of<Bf16>(op, false);
        case Type::kBF16x2: return half_handler_of<Bf16>(op, true);
        default: return nullptr;
    }
}

// Rounding to nearest even needs no suffix; the other three directions are there for f32. '.full'
// and '.approx' of div promise less than the exact quotient that they get here.
void decode_sources(Decoding& d, Op op, int sources) {
    const bool ftz = d.take("ftz");
    const int direction = d.take_one_of({"rz", "rm", "rp"});
    d.ignore({"rn"});
    if (op == Op::kDiv) {
        d.ignore({"approx", "full"});
    }
    const bool keeps_nan = (op == Op::kMin || op == Op::kMax) && d.take("NaN");
    const Type type = d.need_type();
    d.out().type = type;
    d.destination(type);
    d.values(sources, type);
    const bool is_plain_float = type == Type::kF32 && !ftz;
    if (direction >= 0 || keeps_nan) {
        d.out().run = !is_plain_float  ? nullptr
                      : direction == 0 ? float_directed_handler<Rounding::kZero>(op)
                      : direction == 1 ? float_directed_handler<Rounding::kDown>(op)
                      : direction == 2 ? float_directed_handler<Rounding::kUp>(op)
                                       : float_nan_handler(op);
    } else {
        d.out().run = handler_of(op, type, ftz);
    }
}

void decode_copysign(Decoding& d) {
    const Type type = d.need_type();
    d.destination(type);
    d.values(2, type);
    if (type == Type::kF32) {
        d.out().run =
            binary<[](uint32_t a, uint32_t b) { return (a & 0x80000000) | (b & 0x7fffffff); },
                   uint32_t, uint32_t>;
    } else if (type == Type::kF64) {
        d.out().run =
            binary<[](double a, double b) { return std::copysign(b, a); }, double, double>;
    }
}

template <Op op, int kSources>
void decode(Decoding& d) {
    decode_sources(d, op, kSources);
}

template <class Narrow, class Wide>
Handler wide_handler(bool has_sum) {
    if (has_sum) {
        return ternary<[](Narrow a, Narrow b, Wide c) {
            return Wide(uint64_t(Wide(a) * Wide(b)) + uint64_t(c));
        },
                       Wide, Narrow, Narrow, Wide>;
    }
    return binary<[](Narrow a, Narrow b) { return Wide(Wide(a) * Wide(b)); }, Wide, Narrow>;
}

// mul and mad of integers come as .lo, .hi and .wide.
template <bool kHasSum>
void decode_product(Decoding& d) {
    const int part = d.take_one_of({"lo", "hi", "wide"});
    if (part < 0) {
        decode_sources(d, kHasSum ? Op::kMad : Op::kMul, kHasSum ? 3 : 2);
        return;
    }
    const Type type = d.need_type();
    const bool is_signed = type_is_signed(type);
    if (part == 2) {
        const Type wide = type_bits(type) == 16 ? Type::kB32 : Type::kB64;
        d.destination(wide);
        d.values(2, type);
        if (kHasSum) {
            d.value(wide);
        }
        if (type_bits(type) == 16) {
            d.out().run = is_signed ? wide_handler<int16_t, int32_t>(kHasSum)
                                    : wide_handler<uint16_t, uint32_t>(kHasSum);
        } else if (type_bits(type) == 32) {
            d.out().run = is_signed ? wide_handler<int32_t, int64_t>(kHasSum)
                                    : wide_handler<uint32_t, uint64_t>(kHasSum);
        }
        return;
    }
    d.destination(type);
    d.values(kHasSum ? 3 : 2, type);
    if (part == 1 && kHasSum) {
        return;  // mad.hi: nothing uses it yet, so it is refused.
    }
    d.out().run = handler_of(part == 1 ? Op::kMulHi : kHasSum ? Op::kMad : Op::kMul, type, false);
}

// Functions of one float. What is approximate on the card is computed well here; the checks of a
// kernel's results must allow for the documented error anyway.
using FloatFunction = float (*)(float);

template <FloatFunction F, bool FTZ>
void apply(Warp& warp, const Instruction& instruction, uint32_t mask) {
    unary<[](float a) { return out<FTZ>(F(in<FTZ>(a))); }, float, float>(warp, instruction, mask);
}

float reciprocal(float a) { return 1.0f / a; }
float reciprocal_root(float a) { return static_cast<float>(1.0 / std::sqrt(double{a})); }
float root(float a) { return std::sqrt(a); }
float exp2_of(float a) { return std::exp2(a); }
float log2_of(float a) { return std::log2(a); }
float sin_of(float a) { return std::sin(a); }
float cos_of(float a) { return std::cos(a); }
float tanh_of(float a) { return std::tanh(a); }

template <FloatFunction F>
void decode_function(Decoding& d) {
    const bool ftz = d.take("ftz");
    d.ignore({"approx", "rn"});
    const Type type = d.need_type();
    d.destination(type);
    d.value(type);
    if (type == Type::kF32) {
        d.out().run = ftz ? apply<F, true> : apply<F, false>;
    } else if (type == Type::kF64 && d.opcode() == "rcp") {
        d.out().run = unary<[](double a) { return 1.0 / a; }, double, double>;
    } else if (type == Type::kF64 && d.opcode() == "sqrt") {
        d.out().run = unary<[](double a) { return std::sqrt(a); }, double, double>;
    }
}

// Dot products of 4 bytes with a 32-bit sum.
template <class A, class B, class Sum>
Sum dot4(uint32_t a, uint32_t b, Sum c) {
    uint32_t sum = static_cast<uint32_t>(c);
    for (int i = 0; i < 32; i += 8) {
        sum += static_cast<uint32_t>(int32_t{static_cast<A>(a >> i)} *
                                     int32_t{static_cast<B>(b >> i)});
    }
    return static_cast<Sum>(sum);
}

void decode_dp4a(Decoding& d) {
    const Type first = d.need_type();
    const Type second = d.need_type();
    d.destination(Type::kB32);
    d.values(3, Type::kB32);
    const bool a = first == Type::kS32;
    const bool b = second == Type::kS32;
    d.out().run = a && b ? ternary<dot4<int8_t, int8_t, uint32_t>, uint32_t, uint32_t>
                  : a    ? ternary<dot4<int8_t, uint8_t, uint32_t>, uint32_t, uint32_t>
                  : b    ? ternary<dot4<uint8_t, int8_t, uint32_t>, uint32_t, uint32_t>
                         : ternary<dot4<uint8_t, uint8_t, uint32_t>, uint32_t, uint32_t>;
}

constexpr Opcode kOpcodes[] = {
    {"add", decode<Op::kAdd, 2>},       {"sub", decode<Op::kSub, 2>},
    {"mul", decode_product<false>},     {"mad", decode_product<true>},
    {"fma", decode<Op::kMad, 3>},       {"div", decode<Op::kDiv, 2>},
    {"rem", decode<Op::kRem, 2>},       {"min", decode<Op::kMin, 2>},
    {"max", decode<Op::kMax, 2>},       {"abs", decode<Op::kAbs, 1>},
    {"neg", decode<Op::kNeg, 1>},       {"rcp", decode_function<reciprocal>},
    {"sqrt", decode_function<root>},    {"rsqrt", decode_function<reciprocal_root>},
    {"ex2", decode_function<exp2_of>},  {"lg2", decode_function<log2_of>},
    {"sin", decode_function<sin_of>},   {"cos", decode_function<cos_of>},
    {"tanh", decode_function<tanh_of>}, {"dp4a", decode_dp4a},
    {"copysign", decode_copysign},
};

}  // namespace

std::span<const Opcode> arithmetic_opcodes() { return kOpcodes; }

}  // namespace virtual_gpu
