// The small floating-point formats and the corner cases of PTX arithmetic, bit by bit.
#pragma once

#include <immintrin.h>

#include <bit>
#include <cmath>
#include <cstdint>

namespace virtual_gpu {

// Arithmetic in f32 and f16/bf16 makes this NaN and no other.
constexpr uint32_t kNanF32 = 0x7fffffff;
constexpr uint16_t kNan16 = 0x7fff;

inline float bits_to_float(uint32_t bits) { return std::bit_cast<float>(bits); }
inline uint32_t float_to_bits(float value) { return std::bit_cast<uint32_t>(value); }

inline float canonical(float value) { return value == value ? value : bits_to_float(kNanF32); }

// '.ftz': a subnormal becomes a zero of the same sign.
inline float flush(float value) {
    const uint32_t bits = float_to_bits(value);
    return bits_to_float((bits & 0x7f800000) == 0 ? bits & 0x80000000 : bits);
}

inline float bf16_to_float(uint16_t bits) { return bits_to_float(uint32_t{bits} << 16); }

inline uint16_t float_to_bf16(float value) {  // To nearest, ties to even.
    const uint32_t bits = float_to_bits(value);
    const uint16_t rounded = static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
    return (bits & 0x7fffffff) > 0x7f800000 ? kNan16 : rounded;
}

inline uint16_t float_to_bf16_toward_zero(float value) {
    const uint32_t bits = float_to_bits(value);
    return (bits & 0x7fffffff) > 0x7f800000 ? kNan16 : static_cast<uint16_t>(bits >> 16);
}

inline float f16_to_float(uint16_t bits) { return _cvtsh_ss(bits); }

inline uint16_t float_to_f16(float value) {  // To nearest, ties to even.
    return value == value ? _cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT) : kNan16;
}

inline uint16_t float_to_f16_toward_zero(float value) {
    return value == value ? _cvtss_sh(value, _MM_FROUND_TO_ZERO) : kNan16;
}

// A float of 8 bits with one sign bit, 'kMantissa' mantissa bits and exponent bias 'kBias'.
template <int kMantissa, int kBias>
float decode_float8(uint8_t bits) {
    const int exponent = (bits & 0x7f) >> kMantissa;
    const int fraction = bits & ((1 << kMantissa) - 1);
    const float magnitude = exponent == 0
                                ? std::ldexp(static_cast<float>(fraction), 1 - kBias - kMantissa)
                                : std::ldexp(static_cast<float>(fraction + (1 << kMantissa)),
                                             exponent - kBias - kMantissa);
    return (bits & 0x80) != 0 ? -magnitude : magnitude;
}

// e4m3 has no infinity and one NaN a sign, S.1111.111.
inline float e4m3_to_float(uint8_t bits) {
    return (bits & 0x7f) == 0x7f ? bits_to_float(kNanF32) : decode_float8<3, 7>(bits);
}

// e5m2 is the upper half of an f16.
inline float e5m2_to_float(uint8_t bits) { return f16_to_float(static_cast<uint16_t>(bits << 8)); }

// To nearest, ties to even; what is too large becomes the largest finite value ('.satfinite').
template <int kMantissa, int kBias>
uint8_t encode_float8(float value, uint8_t largest) {
    if (value != value) {
        return 0x7f;
    }
    const uint8_t sign = std::signbit(value) ? 0x80 : 0;
    const float magnitude = std::fabs(value);
    if (magnitude >= decode_float8<kMantissa, kBias>(largest)) {
        return sign | largest;
    }
    // Steps of the binade that the value lies in; the lowest binade holds the subnormals too. A
    // value that rounds up into the next binade carries into the exponent by itself.
    const int exponent = std::max(magnitude == 0 ? 1 - kBias : std::ilogb(magnitude), 1 - kBias);
    const int steps = static_cast<int>(std::nearbyint(std::ldexp(magnitude, kMantissa - exponent)));
    const int code = ((exponent + kBias - 1) << kMantissa) + steps;
    return sign | static_cast<uint8_t>(code > largest ? largest : code);
}

inline uint8_t float_to_e4m3(float value) { return encode_float8<3, 7>(value, 0x7e); }
inline uint8_t float_to_e5m2(float value) { return encode_float8<2, 15>(value, 0x7b); }

// min and max ignore one NaN and order -0 below +0.
template <class T>
T float_min(T a, T b) {
    if (a != a || b != b) {
        return a != a ? b : a;
    }
    return a < b || (a == b && std::signbit(a)) ? a : b;
}

template <class T>
T float_max(T a, T b) {
    if (a != a || b != b) {
        return a != a ? b : a;
    }
    return a > b || (a == b && !std::signbit(a)) ? a : b;
}

// a * b + c in double, rounded to odd: the last bit is set if anything was lost, so that a second
// rounding to fewer bits, in any direction, sees all that it must (Boldo and Melquiond, 2008).
inline double fma_to_odd_double(float a, float b, float c) {
    const double product = static_cast<double>(a) * b;  // Exact: twice 24 bits at most.
    const double sum = product + c;
    const double lost = (product - (sum - (sum - product))) + (c - (sum - product));
    uint64_t bits = std::bit_cast<uint64_t>(sum);
    if (lost != 0 && std::isfinite(sum) && (bits & 1) == 0) {
        bits += (lost > 0) == (sum > 0) ? 1 : -1;
    }
    return std::bit_cast<double>(bits);
}

// The same in float, for results of 16 bits.
inline float fma_to_odd(float a, float b, float c) {
    const double wide = fma_to_odd_double(a, b, c);
    float narrow = static_cast<float>(wide);
    if (std::isfinite(narrow) && static_cast<double>(narrow) != wide &&
        (float_to_bits(narrow) & 1) == 0) {
        narrow = std::nextafter(narrow, wide > narrow ? INFINITY : -INFINITY);
    }
    return narrow;
}

enum class Rounding { kZero, kDown, kUp };

// Rounds the sum of 'a' and 'b', which is 'sum' exactly or rounded to odd. What is too large for
// the direction becomes the largest finite value.
template <Rounding kRounding>
float double_to_float(double sum, double a, double b) {
    const auto nearest = static_cast<float>(sum);
    const double back = nearest;
    if (kRounding == Rounding::kZero) {
        return std::fabs(back) > std::fabs(sum) ? std::nextafter(nearest, 0.0f) : nearest;
    }
    if (kRounding == Rounding::kUp) {
        return back < sum ? std::nextafter(nearest, INFINITY) : nearest;
    }
    if (sum == 0) {  // Downward, what cancels is a negative zero.
        return a == 0 && b == 0 && !std::signbit(a) && !std::signbit(b) ? 0.0f : -0.0f;
    }
    return back > sum ? std::nextafter(nearest, -INFINITY) : nearest;
}

}  // namespace virtual_gpu
