// Storage types of weights and KV rows, so that overloads of load() widen by type. Included inside
// the anonymous namespace of a variant, as every .inl here: nothing that these files define may be
// shared between variants, or the linker would keep one copy for all processors.

struct Bf16 {
    uint16_t bits;
};
struct F16 {
    uint16_t bits;
};
struct F8 {
    uint8_t bits;  // E4M3: no infinity, 0x7f and 0xff are NaN
};

static inline float float_of_bits(uint32_t bits) {
    float value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t bits_of_float(float value) {
    uint32_t bits;
    __builtin_memcpy(&bits, &value, sizeof bits);
    return bits;
}

/// Nearest BF16, ties to even; a NaN stays one.
static inline uint16_t bf16_of_float(float value) {
    const uint32_t bits = bits_of_float(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40u);
    return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

static inline int64_t element_bytes(DType dtype) {
    switch (dtype) {
        case DType::kF32: return 4;
        case DType::kF16: return 2;
        case DType::kBF16: return 2;
        case DType::kF8E4M3: return 1;
    }
    return 0;
}
