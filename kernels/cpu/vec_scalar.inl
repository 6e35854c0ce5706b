// Vectors of four floats in plain C++: what a compiler can do with any processor.

struct Vec {
    float lane[4];
};

constexpr int kLanes = 4;
#define FATHOM_TILE_TOKENS 2
constexpr int kTileTokens = FATHOM_TILE_TOKENS;
constexpr int kStreamTokens = 1;

static inline Vec zero() { return {}; }

static inline Vec set(float value) { return {{value, value, value, value}}; }

static inline float widen_one(float value) { return value; }

static inline float widen_one(Bf16 value) {
    return float_of_bits(static_cast<uint32_t>(value.bits) << 16);
}

static inline float widen_one(F16 value) {
    const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000u) << 16;
    const uint32_t exponent = value.bits >> 10 & 0x1fu;
    const uint32_t fraction = value.bits & 0x3ffu;
    if (exponent == 0) {
        const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
        return sign != 0 ? -magnitude : magnitude;
    }
    const uint32_t wide = exponent == 31 ? 255u : exponent + 112u;
    return float_of_bits(sign | wide << 23 | fraction << 13);
}

static inline float widen_one(F8 value) {
    const uint32_t sign = static_cast<uint32_t>(value.bits & 0x80u) << 24;
    const uint32_t magnitude = value.bits & 0x7fu;
    if (magnitude == 0x7fu) return float_of_bits(sign | 0x7fc00000u);
    if (magnitude < 8) {
        const float small = static_cast<float>(magnitude) * 0x1p-9f;
        return sign != 0 ? -small : small;
    }
    return float_of_bits(sign | ((magnitude << 20) + (120u << 23)));
}

template <class T>
static inline Vec load_part(const T* from, int64_t n) {
    Vec v{};
    for (int64_t i = 0; i < n; ++i) v.lane[i] = widen_one(from[i]);
    return v;
}

template <class T>
static inline Vec load(const T* from) {
    Vec v;
    for (int i = 0; i < kLanes; ++i) v.lane[i] = widen_one(from[i]);
    return v;
}

/// FP8 values times 1 / kF8Unit: what is cheapest to load; a scale makes up for it.
constexpr float kF8Unit = 1.0f;
static inline void load_f8_units(const F8* from, Vec& low, Vec& high) {
    low = load(from);
    high = load(from + kLanes);
}

static inline void store(float* to, Vec v) {
    for (int i = 0; i < kLanes; ++i) to[i] = v.lane[i];
}

static inline void store_part(float* to, Vec v, int64_t n) {
    for (int64_t i = 0; i < n; ++i) to[i] = v.lane[i];
}

static inline Vec add(Vec a, Vec b) {
    for (int i = 0; i < kLanes; ++i) a.lane[i] += b.lane[i];
    return a;
}

static inline Vec sub(Vec a, Vec b) {
    for (int i = 0; i < kLanes; ++i) a.lane[i] -= b.lane[i];
    return a;
}

static inline Vec mul(Vec a, Vec b) {
    for (int i = 0; i < kLanes; ++i) a.lane[i] *= b.lane[i];
    return a;
}

static inline Vec div(Vec a, Vec b) {
    for (int i = 0; i < kLanes; ++i) a.lane[i] /= b.lane[i];
    return a;
}

/// a * b + c. Two roundings here, one in the other variants: bits are promised per variant.
static inline Vec fma(Vec a, Vec b, Vec c) { return add(mul(a, b), c); }

static inline Vec max(Vec a, Vec b) {
    for (int i = 0; i < kLanes; ++i) a.lane[i] = a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i];
    return a;
}

static inline Vec min(Vec a, Vec b) {
    for (int i = 0; i < kLanes; ++i) a.lane[i] = a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i];
    return a;
}

/// v * 2^n, where `biased` = 1.5 * 2^23 + n holds n in its low bits.
static inline Vec scale_by_power(Vec v, Vec biased) {
    for (int i = 0; i < kLanes; ++i) {
        v.lane[i] = float_of_bits(bits_of_float(v.lane[i]) + (bits_of_float(biased.lane[i]) << 23));
    }
    return v;
}

static inline float sum(Vec v) { return (v.lane[0] + v.lane[2]) + (v.lane[1] + v.lane[3]); }

/// Four sums, each as sum() computes it.
static inline void sum4(Vec a, Vec b, Vec c, Vec d, float* out) {
    out[0] = sum(a);
    out[1] = sum(b);
    out[2] = sum(c);
    out[3] = sum(d);
}

static inline float max_lane(Vec v) {
    float best = v.lane[0];
    for (int i = 1; i < kLanes; ++i) best = v.lane[i] > best ? v.lane[i] : best;
    return best;
}

static inline void prefetch(const void* address) { __builtin_prefetch(address, 0, 2); }
