// Vectors of eight floats: AVX2, FMA and F16C.

constexpr int kLanes = 8;
#define FATHOM_TILE_TOKENS 3
constexpr int kTileTokens = FATHOM_TILE_TOKENS;
constexpr int kStreamTokens = 1;

using Vec = __m256;

static inline Vec zero() { return _mm256_setzero_ps(); }
static inline Vec set(float value) { return _mm256_set1_ps(value); }

static inline Vec load(const float* from) { return _mm256_loadu_ps(from); }

static inline Vec load(const Bf16* from) {
    const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

static inline Vec load(const F16* from) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}

/// FP8 values times 1 / kF8Unit. E4M3 is F16 with its exponent and fraction cut short and a bias
/// that is 8 less, so its seven bits moved to the right place are an F16 that is 256 times smaller.
/// The conversion of F16 knows subnormals whatever the host's floating-point mode is.
constexpr float kF8Unit = 256.0f;

static inline Vec load_f8_units(const F8* from) {
    const __m128i high = _mm_slli_epi16(
        _mm_cvtepu8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from))), 8);
    // The arithmetic shift leaves the sign in bits 15 and 14; the latter belongs to the exponent.
    const __m128i half =
        _mm_and_si128(_mm_srai_epi16(high, 1), _mm_set1_epi16(static_cast<int16_t>(0xbf80)));
    const __m128i magnitude = _mm_and_si128(half, _mm_set1_epi16(0x3f80));
    const __m128i nan =
        _mm_and_si128(_mm_cmpeq_epi16(magnitude, _mm_set1_epi16(0x3f80)), _mm_set1_epi16(0x7e00));
    return _mm256_cvtph_ps(_mm_or_si128(half, nan));
}

static inline void load_f8_units(const F8* from, Vec& low, Vec& high) {
    low = load_f8_units(from);
    high = load_f8_units(from + kLanes);
}

static inline Vec load(const F8* from) {
    return _mm256_mul_ps(load_f8_units(from), _mm256_set1_ps(kF8Unit));
}

template <class T>
static inline Vec load_part(const T* from, int64_t n) {
    T all[kLanes] = {};
    for (int64_t i = 0; i < n; ++i) all[i] = from[i];
    return load(all);
}

static inline void store(float* to, Vec v) { _mm256_storeu_ps(to, v); }

static inline void store_part(float* to, Vec v, int64_t n) {
    float all[kLanes];
    store(all, v);
    for (int64_t i = 0; i < n; ++i) to[i] = all[i];
}

static inline Vec add(Vec a, Vec b) { return _mm256_add_ps(a, b); }
static inline Vec sub(Vec a, Vec b) { return _mm256_sub_ps(a, b); }
static inline Vec mul(Vec a, Vec b) { return _mm256_mul_ps(a, b); }
static inline Vec div(Vec a, Vec b) { return _mm256_div_ps(a, b); }
static inline Vec fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
static inline Vec max(Vec a, Vec b) { return _mm256_max_ps(a, b); }
static inline Vec min(Vec a, Vec b) { return _mm256_min_ps(a, b); }

/// v * 2^n, where `biased` = 1.5 * 2^23 + n holds n in its low bits.
static inline Vec scale_by_power(Vec v, Vec biased) {
    const __m256i shift = _mm256_slli_epi32(_mm256_castps_si256(biased), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(v), shift));
}

static inline float sum(Vec v) {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

/// Four sums, each in the order of sum(): lanes i + 4, then i + 2, then i + 1.
static inline void sum4(Vec a, Vec b, Vec c, Vec d, float* out) {
    const __m256 ab =
        _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
    const __m256 cd =
        _mm256_add_ps(_mm256_permute2f128_ps(c, d, 0x20), _mm256_permute2f128_ps(c, d, 0x31));
    const __m256 two = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44),
                                     _mm256_shuffle_ps(ab, cd, 0xee));  // a a c c | b b d d
    const __m256 one = _mm256_add_ps(_mm256_shuffle_ps(two, two, 0x88),
                                     _mm256_shuffle_ps(two, two, 0xdd));  // a c a c | b d b d
    _mm_storeu_ps(out, _mm_unpacklo_ps(_mm256_castps256_ps128(one), _mm256_extractf128_ps(one, 1)));
}

static inline float max_lane(Vec v) {
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}

static inline void prefetch(const void* address) {
    _mm_prefetch(static_cast<const char*>(address), _MM_HINT_T1);
}
