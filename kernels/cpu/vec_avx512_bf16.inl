// What AVX512_BF16 adds: vectors of 32 BF16 values, in pairs for one product-sum.

static inline __m512i load_bf16_pairs(const Bf16* from) { return _mm512_loadu_si512(from); }

static inline __m512i load_bf16_pairs_part(const Bf16* from, int64_t n) {
    return _mm512_maskz_loadu_epi16(static_cast<__mmask32>((uint64_t{1} << n) - 1), from);
}

/// E4M3 to BF16 is exact: the exponent moves by 120, and the seven subnormals become normal.
static inline __m512i widen_f8_pairs(__m256i bytes) {
    const __m512i wide = _mm512_cvtepu8_epi16(bytes);
    const __m512i magnitude = _mm512_and_si512(wide, _mm512_set1_epi16(0x7f));
    const __m512i sign = _mm512_slli_epi16(_mm512_and_si512(wide, _mm512_set1_epi16(0x80)), 8);
    __m512i out = _mm512_add_epi16(_mm512_slli_epi16(magnitude, 4), _mm512_set1_epi16(120 << 7));
    // m * 2^-9 for m = 0 to 7.
    const __m512i small = _mm512_castsi128_si512(
        _mm_setr_epi16(0x0000, 0x3b00, 0x3b80, 0x3bc0, 0x3c00, 0x3c20, 0x3c40, 0x3c60));
    const __mmask32 subnormal = _mm512_cmplt_epu16_mask(magnitude, _mm512_set1_epi16(8));
    out = _mm512_mask_permutexvar_epi16(out, subnormal, magnitude, small);
    const __mmask32 nan = _mm512_cmpeq_epi16_mask(magnitude, _mm512_set1_epi16(0x7f));
    out = _mm512_mask_blend_epi16(nan, out, _mm512_set1_epi16(0x7fc0));
    return _mm512_or_si512(out, sign);
}

static inline __m512i load_bf16_pairs(const F8* from) {
    return widen_f8_pairs(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
}

static inline __m512i load_bf16_pairs_part(const F8* from, int64_t n) {
    return widen_f8_pairs(
        _mm256_maskz_loadu_epi8(static_cast<__mmask32>((uint64_t{1} << n) - 1), from));
}

static void widen_row_bf16(const F8* from, int64_t n, uint16_t* out) {
    int64_t i = 0;
    for (; i + 32 <= n; i += 32) _mm512_storeu_si512(out + i, load_bf16_pairs(from + i));
    if (i == n) return;
    const __mmask32 rest = static_cast<__mmask32>((uint64_t{1} << (n - i)) - 1);
    _mm512_mask_storeu_epi16(out + i, rest, load_bf16_pairs_part(from + i, n - i));
}
