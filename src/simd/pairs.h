/* Sixteen lanes as two AVX2 vectors, slow and built for tests alone (RNNRT_PAIRS): what is written for
 * AVX-512 also runs where there is none. Meanings are those of scalar.h. */
#define ISA avx2_pairs
#define LANES 16
#define REGISTERS 16
#define TILE_ROWS 12
#define IN_STEP 4

typedef struct {
    __m256 low, high;
} vf;

/* Of n lanes, how many stand in the lower half and how many in the upper. */
#define LOWER(n) ((n) < 8 ? (n) : 8)
#define UPPER(n) ((n) < 8 ? 0 : (n) - 8)
#define SPLAT(value) _mm256_set1_ps(value)

VECTOR __m256i pairs_first(size_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
VECTOR vf vf_load(const float *p) { return (vf){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
VECTOR void vf_store(float *p, vf a) {
    _mm256_storeu_ps(p, a.low);
    _mm256_storeu_ps(p + 8, a.high);
}
VECTOR vf vf_load_n(const float *p, size_t n) {
    return (vf){_mm256_maskload_ps(p, pairs_first(LOWER(n))),
                _mm256_maskload_ps(p + 8, pairs_first(UPPER(n)))};
}
VECTOR void vf_store_n(float *p, vf a, size_t n) {
    _mm256_maskstore_ps(p, pairs_first(LOWER(n)), a.low);
    _mm256_maskstore_ps(p + 8, pairs_first(UPPER(n)), a.high);
}
VECTOR vf vf_set(float a) { return (vf){SPLAT(a), SPLAT(a)}; }
#define ON_BOTH(f, a, b) ((vf){f((a).low, (b).low), f((a).high, (b).high)})
VECTOR vf vf_add(vf a, vf b) { return ON_BOTH(_mm256_add_ps, a, b); }
VECTOR vf vf_sub(vf a, vf b) { return ON_BOTH(_mm256_sub_ps, a, b); }
VECTOR vf vf_mul(vf a, vf b) { return ON_BOTH(_mm256_mul_ps, a, b); }
VECTOR vf vf_div(vf a, vf b) { return ON_BOTH(_mm256_div_ps, a, b); }
VECTOR vf vf_min(vf a, vf b) { return ON_BOTH(_mm256_min_ps, a, b); }
VECTOR vf vf_max(vf a, vf b) { return ON_BOTH(_mm256_max_ps, a, b); }
VECTOR vf vf_sqrt(vf a) { return (vf){_mm256_sqrt_ps(a.low), _mm256_sqrt_ps(a.high)}; }
VECTOR vf vf_fma(vf a, vf b, vf c) {
    return (vf){_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
VECTOR vf vf_where_greater(vf a, vf b, vf x, vf y) {
    return (vf){_mm256_blendv_ps(y.low, x.low, _mm256_cmp_ps(a.low, b.low, _CMP_GT_OQ)),
                _mm256_blendv_ps(y.high, x.high, _mm256_cmp_ps(a.high, b.high, _CMP_GT_OQ))};
}
VECTOR vf vf_abs(vf a) {
    return (vf){_mm256_andnot_ps(SPLAT(-0.0f), a.low), _mm256_andnot_ps(SPLAT(-0.0f), a.high)};
}
VECTOR vf vf_copysign(vf a, vf b) {
    return (vf){_mm256_or_ps(a.low, _mm256_and_ps(SPLAT(-0.0f), b.low)),
                _mm256_or_ps(a.high, _mm256_and_ps(SPLAT(-0.0f), b.high))};
}
VECTOR __m256 pairs_power(__m256 a) {
    return _mm256_castsi256_ps(
        _mm256_add_epi32(_mm256_slli_epi32(_mm256_castps_si256(a), 23), _mm256_set1_epi32(0x3f800000)));
}
VECTOR vf vf_power_of_two(vf a) { return (vf){pairs_power(a.low), pairs_power(a.high)}; }
VECTOR __m256 pairs_split(__m256 a, __m256 *n) {
    __m256i bits = _mm256_castps_si256(a), above = _mm256_sub_epi32(bits, _mm256_set1_epi32(0x3f2aaaab));
    *n = _mm256_cvtepi32_ps(_mm256_srai_epi32(above, 23));
    above = _mm256_and_si256(above, _mm256_set1_epi32((int)0xff800000u));
    return _mm256_castsi256_ps(_mm256_sub_epi32(bits, above));
}
VECTOR vf vf_split(vf a, vf *n) { return (vf){pairs_split(a.low, &n->low), pairs_split(a.high, &n->high)}; }
VECTOR __m256 pairs_spread(__m256 a, int i) {
    switch (i) {
    case 0: return _mm256_permute_ps(a, 0x00);
    case 1: return _mm256_permute_ps(a, 0x55);
    case 2: return _mm256_permute_ps(a, 0xaa);
    default: return _mm256_permute_ps(a, 0xff);
    }
}
VECTOR vf vf_spread_four(vf a, int i) { return (vf){pairs_spread(a.low, i), pairs_spread(a.high, i)}; }
VECTOR vf vf_spread_eight(vf a, int i) {
    __m256i which = _mm256_set1_epi32(i);
    return (vf){_mm256_permutevar8x32_ps(a.low, which), _mm256_permutevar8x32_ps(a.high, which)};
}
VECTOR vf vf_spread_two(vf a, int i) {
    return i ? (vf){_mm256_movehdup_ps(a.low), _mm256_movehdup_ps(a.high)}
             : (vf){_mm256_moveldup_ps(a.low), _mm256_moveldup_ps(a.high)};
}
VECTOR __m128 pairs_four(const float *p, size_t n) {
    return _mm_maskload_ps(p, _mm256_castsi256_si128(pairs_first(n)));
}
VECTOR __m256 pairs_two_fours(__m128 a, __m128 b) {
    return _mm256_insertf128_ps(_mm256_castps128_ps256(a), b, 1);
}
VECTOR vf vf_load_fours(const float *p, size_t stride, size_t n) {
    return (vf){pairs_two_fours(pairs_four(p, n), pairs_four(p + stride, n)),
                pairs_two_fours(pairs_four(p + 2 * stride, n), pairs_four(p + 3 * stride, n))};
}
VECTOR vf vf_repeat_four(const float *p, size_t n) {
    __m256 two = pairs_two_fours(pairs_four(p, n), pairs_four(p, n));
    return (vf){two, two};
}
VECTOR void vf_store_fours(float *p, size_t stride, vf a, size_t n) {
    __m128i some = _mm256_castsi256_si128(pairs_first(n));
    _mm_maskstore_ps(p, some, _mm256_castps256_ps128(a.low));
    _mm_maskstore_ps(p + stride, some, _mm256_extractf128_ps(a.low, 1));
    _mm_maskstore_ps(p + 2 * stride, some, _mm256_castps256_ps128(a.high));
    _mm_maskstore_ps(p + 3 * stride, some, _mm256_extractf128_ps(a.high, 1));
}
VECTOR void pairs_turn(__m256 *x) {
    __m256 a = _mm256_unpacklo_ps(x[0], x[1]), b = _mm256_unpacklo_ps(x[2], x[3]),
           c = _mm256_unpackhi_ps(x[0], x[1]), d = _mm256_unpackhi_ps(x[2], x[3]);
    x[0] = _mm256_shuffle_ps(a, b, 0x44), x[1] = _mm256_shuffle_ps(a, b, 0xee);
    x[2] = _mm256_shuffle_ps(c, d, 0x44), x[3] = _mm256_shuffle_ps(c, d, 0xee);
}
VECTOR void vf_turn_fours(vf *x) {
    __m256 low[4] = {x[0].low, x[1].low, x[2].low, x[3].low},
           high[4] = {x[0].high, x[1].high, x[2].high, x[3].high};
    pairs_turn(low), pairs_turn(high);
    for (int i = 0; i < 4; i++) x[i] = (vf){low[i], high[i]};
}
VECTOR float vf_sum(vf a) {
    __m256 eight = _mm256_add_ps(a.low, a.high);
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1)),
           two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

#undef LOWER
#undef UPPER
#undef SPLAT
#undef ON_BOTH
