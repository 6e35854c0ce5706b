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

/// E4M3 has the layout of F16 with its exponent and fraction cut short and another bias. The
/// conversion of F16 knows subnormals whatever the host's floating-point mode is.
static inline Vec widen_f8(__m128i bytes) {
    const __m256i wide = _mm256_cvtepu8_epi16(bytes);
    const __m256i magnitude = _mm256_and_si256(wide, _mm256_set1_epi16(0x7f));
    const __m256i sign = _mm256_slli_epi16(_mm256_and_si256(wide, _mm256_set1_epi16(0x80)), 8);
    const __m256i nan = _mm256_and_si256(_mm256_cmpeq_epi16(magnitude, _mm256_set1_epi16(0x7f)),
                                         _mm256_set1_epi16(0x7e00));
    const __m256i half =
        _mm256_or_si256(_mm256_or_si256(_mm256_slli_epi16(magnitude, 7), sign), nan);
    return _mm512_mul_ps(_mm512_cvtph_ps(half), _mm512_set1_ps(256.0f));
}

static inline Vec load(const float* from) { return _mm512_loadu_ps(from); }

static inline Vec load(const Bf16* from) {
    return widen_bf16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}

static inline Vec load(const F16* from) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}

static inline Vec load(const F8* from) {
    return widen_f8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
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
    return widen_f8(_mm_maskz_loadu_epi8(first_lanes(n), from));
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

static inline float max_lane(Vec v) {
    const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}

static inline void prefetch(const void* address) {
    _mm_prefetch(static_cast<const char*>(address), _MM_HINT_T1);
}
