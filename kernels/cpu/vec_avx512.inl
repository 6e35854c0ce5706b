// Vectors of sixteen floats: AVX-512 F, BW, DQ and VL.

constexpr int kLanes = 16;
#define FATHOM_TILE_TOKENS 6
constexpr int kTileTokens = FATHOM_TILE_TOKENS;
constexpr int kStreamTokens = 3;

using Vec = __m512;

static inline Vec zero() { return _mm512_setzero_ps(); }
static inline Vec set(float value) { return _mm512_set1_ps(value); }

/// The first n of 16 lanes.
static inline __mmask16 first_lanes(int64_t n) {
    return static_cast<__mmask16>((1u << static_cast<unsigned>(n)) - 1u);
}

static inline Vec widen_bf16(__m256i half) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

/// FP8 values times 1 / kF8Unit. E4M3 is F16 with its exponent and fraction cut short and a bias
/// that is 8 less, so its seven bits moved to the right place are an F16 that is 256 times smaller.
/// The conversion of F16 knows subnormals whatever the host's floating-point mode is.
constexpr float kF8Unit = 256.0f;

static inline Vec widen_f8_units(__m128i bytes) {
    const __m256i high = _mm256_slli_epi16(_mm256_cvtepu8_epi16(bytes), 8);
    // The arithmetic shift leaves the sign in bits 15 and 14; the latter belongs to the exponent.
    const __m256i half = _mm256_and_si256(_mm256_srai_epi16(high, 1),
                                          _mm256_set1_epi16(static_cast<int16_t>(0xbf80)));
    const __mmask16 nan = _mm256_cmpeq_epi16_mask(_mm256_and_si256(high, _mm256_set1_epi16(0x7f00)),
                                                  _mm256_set1_epi16(0x7f00));
    return _mm512_cvtph_ps(_mm256_mask_blend_epi16(nan, half, _mm256_set1_epi16(0x7e00)));
}

static inline Vec load_f8_units(const F8* from) {
    return widen_f8_units(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}

/// Two vectors for little more than one: the integer part of the work is done on 32 values.
static inline void load_f8_units(const F8* from, Vec& low, Vec& high) {
    const __m512i moved = _mm512_slli_epi16(
        _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))), 8);
    const __m512i half = _mm512_and_si512(_mm512_srai_epi16(moved, 1),
                                          _mm512_set1_epi16(static_cast<int16_t>(0xbf80)));
    const __m512i largest = _mm512_set1_epi16(0x7f00);
    const __mmask32 nan = _mm512_cmpeq_epi16_mask(_mm512_and_si512(moved, largest), largest);
    const __m512i all = _mm512_mask_blend_epi16(nan, half, _mm512_set1_epi16(0x7e00));
    low = _mm512_cvtph_ps(_mm512_castsi512_si256(all));
    high = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(all, 1));
}

static inline Vec load(const float* from) { return _mm512_loadu_ps(from); }

static inline Vec load(const Bf16* from) {
    return widen_bf16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}

static inline Vec load(const F16* from) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}

static inline Vec load(const F8* from) {
    return _mm512_mul_ps(load_f8_units(from), _mm512_set1_ps(kF8Unit));
}

static inline Vec load_part(const float* from, int64_t n) {
    return _mm512_maskz_loadu_ps(first_lanes(n), from);
}

static inline Vec load_part(const Bf16* from, int64_t n) {
    return widen_bf16(_mm256_maskz_loadu_epi16(first_lanes(n), from));
}

static inline Vec load_part(const F16* from, int64_t n) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first_lanes(n), from));
}

static inline Vec load_part(const F8* from, int64_t n) {
    const Vec units = widen_f8_units(_mm_maskz_loadu_epi8(first_lanes(n), from));
    return _mm512_mul_ps(units, _mm512_set1_ps(kF8Unit));
}

static inline void store(float* to, Vec v) { _mm512_storeu_ps(to, v); }

static inline void store_part(float* to, Vec v, int64_t n) {
    _mm512_mask_storeu_ps(to, first_lanes(n), v);
}

static inline Vec add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
static inline Vec sub(Vec a, Vec b) { return _mm512_sub_ps(a, b); }
static inline Vec mul(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
static inline Vec div(Vec a, Vec b) { return _mm512_div_ps(a, b); }
static inline Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
static inline Vec max(Vec a, Vec b) { return _mm512_max_ps(a, b); }
static inline Vec min(Vec a, Vec b) { return _mm512_min_ps(a, b); }

/// v * 2^n, where `biased` = 1.5 * 2^23 + n holds n in its low bits.
static inline Vec scale_by_power(Vec v, Vec biased) {
    const __m512i shift = _mm512_slli_epi32(_mm512_castps_si512(biased), 23);
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(v), shift));
}

static inline float sum(Vec v) {
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

/// Four sums, each in the order of sum(): lanes i + 8, then i + 4, i + 2 and i + 1.
static inline void sum4(Vec a, Vec b, Vec c, Vec d, float* out) {
    const __m512 ab =
        _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
    const __m512 cd =
        _mm512_add_ps(_mm512_shuffle_f32x4(c, d, 0x44), _mm512_shuffle_f32x4(c, d, 0xee));
    const __m512 four =
        _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
    const __m512 two = _mm512_add_ps(four, _mm512_permute_ps(four, 0x4e));
    const __m512 one = _mm512_add_ps(two, _mm512_permute_ps(two, 0xb1));
    const __m512i firsts = _mm512_setr_epi32(0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12);
    _mm_storeu_ps(out, _mm512_castps512_ps128(_mm512_permutexvar_ps(firsts, one)));
}

static inline float max_lane(Vec v) {
    const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}

static inline void prefetch(const void* address) {
    _mm_prefetch(static_cast<const char*>(address), _MM_HINT_T1);
}
