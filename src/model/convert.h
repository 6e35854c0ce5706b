#pragma once

#include <bit>
#include <cstdint>

#include "base/tensor.h"

// Scalar conversions for the little that is converted while loading; kernels have their own.
namespace fathom {

inline float bf16_to_float(uint16_t bits) {
    return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

/// Rounds to nearest, ties to even. The value is finite.
inline uint16_t float_to_bf16(float value) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

inline float f16_to_float(uint16_t bits) {
    const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
    const uint32_t exponent = (bits >> 10) & 0x1f;
    const uint32_t mantissa = bits & 0x3ff;
    if (exponent == 0) {  // zero and subnormals: mantissa * 2^-24
        const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
        return sign != 0 ? -magnitude : magnitude;
    }
    const uint32_t wide = exponent == 0x1f ? 0xff : exponent + 112;
    return std::bit_cast<float>(sign | wide << 23 | mantissa << 13);
}

inline float f8_e4m3_to_float(uint8_t bits) {
    const int32_t exponent = (bits >> 3) & 0xf;
    const int32_t mantissa = bits & 7;
    if (exponent == 0xf && mantissa == 7) return std::bit_cast<float>(0x7fc00000U);
    // 2^(exponent - 7) * (1 + mantissa / 8), and mantissa * 2^-9 for subnormals.
    const float magnitude =
        exponent == 0 ? static_cast<float>(mantissa) * 0x1p-9F
                      : static_cast<float>(8 + mantissa) * static_cast<float>(1 << exponent) *
                            0x1p-10F;
    return (bits & 0x80) != 0 ? -magnitude : magnitude;
}

}  // namespace fathom
