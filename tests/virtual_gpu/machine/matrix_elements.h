// Elements of tensor-core operands: how they lie in registers and memory, and their values.
#pragma once

#include <cstdint>
#include <cstring>

#include "machine/numeric.h"

namespace virtual_gpu {

struct Bf16Element {
    using Bits = uint16_t;
    static float value(Bits bits) { return bf16_to_float(bits); }
};

struct F16Element {
    using Bits = uint16_t;
    static float value(Bits bits) { return f16_to_float(bits); }
};

struct Tf32Element {  // The lower 13 bits do not count.
    using Bits = uint32_t;
    static float value(Bits bits) { return bits_to_float(bits & 0xffffe000); }
};

template <float (*kDecode)(uint8_t)>
struct Float8Element {
    using Bits = uint8_t;
    struct Table {
        float values[256];
        Table() {
            for (int i = 0; i < 256; i++) {
                values[i] = kDecode(static_cast<uint8_t>(i));
            }
        }
    };
    static float value(Bits bits) {
        static const Table table;
        return table.values[bits];
    }
};
using E4m3Element = Float8Element<e4m3_to_float>;
using E5m2Element = Float8Element<e5m2_to_float>;

struct S8Element {
    using Bits = int8_t;
    static int32_t value(Bits bits) { return bits; }
};

struct U8Element {
    using Bits = uint8_t;
    static int32_t value(Bits bits) { return bits; }
};

// Sixteen bytes that lie side by side, in order.
template <class Element, class Sum>
void widen_piece(const void* bytes, Sum* out) {
    typename Element::Bits bits[16 / sizeof(typename Element::Bits)];
    std::memcpy(bits, bytes, 16);
    for (size_t i = 0; i < 16 / sizeof(typename Element::Bits); i++) {
        out[i] = Element::value(bits[i]);
    }
}

}  // namespace virtual_gpu
