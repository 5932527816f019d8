/* AVX-512 F, VL, DQ, BW: sixteen lanes. Meanings are those of scalar.h. */
#define ISA avx512
#define LANES 16
#define REGISTERS 32
#define TILE_ROWS 12
#define IN_STEP 4

typedef __m512 vf;

VECTOR __mmask16 avx512_first(size_t n) { return (__mmask16)((1u << n) - 1u); }
VECTOR vf vf_load(const float *p) { return _mm512_loadu_ps(p); }
VECTOR void vf_store(float *p, vf a) { _mm512_storeu_ps(p, a); }
VECTOR vf vf_load_n(const float *p, size_t n) { return _mm512_maskz_loadu_ps(avx512_first(n), p); }
VECTOR void vf_store_n(float *p, vf a, size_t n) { _mm512_mask_storeu_ps(p, avx512_first(n), a); }
VECTOR vf vf_set(float a) { return _mm512_set1_ps(a); }
VECTOR vf vf_add(vf a, vf b) { return _mm512_add_ps(a, b); }
VECTOR vf vf_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
VECTOR vf vf_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
VECTOR vf vf_div(vf a, vf b) { return _mm512_div_ps(a, b); }
VECTOR vf vf_sqrt(vf a) { return _mm512_sqrt_ps(a); }
VECTOR vf vf_min(vf a, vf b) { return _mm512_min_ps(a, b); }
VECTOR vf vf_max(vf a, vf b) { return _mm512_max_ps(a, b); }
VECTOR vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
VECTOR vf vf_where_greater(vf a, vf b, vf x, vf y) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), y, x);
}
VECTOR vf vf_abs(vf a) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a); }
VECTOR vf vf_copysign(vf a, vf b) { return _mm512_or_ps(a, _mm512_and_ps(_mm512_set1_ps(-0.0f), b)); }
VECTOR vf vf_power_of_two(vf a) {
    return _mm512_castsi512_ps(
        _mm512_add_epi32(_mm512_slli_epi32(_mm512_castps_si512(a), 23), _mm512_set1_epi32(0x3f800000)));
}
VECTOR vf vf_split(vf a, vf *n) {
    __m512i bits = _mm512_castps_si512(a), above = _mm512_sub_epi32(bits, _mm512_set1_epi32(0x3f2aaaab));
    *n = _mm512_cvtepi32_ps(_mm512_srai_epi32(above, 23));
    above = _mm512_and_si512(above, _mm512_set1_epi32((int)0xff800000u));
    return _mm512_castsi512_ps(_mm512_sub_epi32(bits, above));
}
VECTOR vf vf_spread_four(vf a, int i) { /* the instruction takes a number, not a variable */
    switch (i) {
    case 0: return _mm512_permute_ps(a, 0x00);
    case 1: return _mm512_permute_ps(a, 0x55);
    case 2: return _mm512_permute_ps(a, 0xaa);
    default: return _mm512_permute_ps(a, 0xff);
    }
}
VECTOR vf vf_spread_eight(vf a, int i) {
    return vf_spread_four(i < 4 ? _mm512_shuffle_f32x4(a, a, 0xa0) : _mm512_shuffle_f32x4(a, a, 0xf5), i % 4);
}
VECTOR vf vf_spread_two(vf a, int i) { return i ? _mm512_movehdup_ps(a) : _mm512_moveldup_ps(a); }
VECTOR __m128 avx512_four(const float *p, size_t n) {
    return n == 4 ? _mm_loadu_ps(p) : _mm_maskz_loadu_ps((__mmask8)avx512_first(n), p);
}
VECTOR vf vf_load_fours(const float *p, size_t stride, size_t n) {
    vf a = _mm512_broadcast_f32x4(avx512_four(p, n)); /* loads alone: there are few units that shuffle */
    a = _mm512_mask_broadcast_f32x4(a, 0x00f0, avx512_four(p + stride, n));
    a = _mm512_mask_broadcast_f32x4(a, 0x0f00, avx512_four(p + 2 * stride, n));
    return _mm512_mask_broadcast_f32x4(a, 0xf000, avx512_four(p + 3 * stride, n));
}
VECTOR vf vf_repeat_four(const float *p, size_t n) { return _mm512_broadcast_f32x4(avx512_four(p, n)); }
VECTOR void vf_store_fours(float *p, size_t stride, vf a, size_t n) {
    __mmask8 some = (__mmask8)avx512_first(n);
    _mm_mask_storeu_ps(p, some, _mm512_castps512_ps128(a));
    _mm_mask_storeu_ps(p + stride, some, _mm512_extractf32x4_ps(a, 1));
    _mm_mask_storeu_ps(p + 2 * stride, some, _mm512_extractf32x4_ps(a, 2));
    _mm_mask_storeu_ps(p + 3 * stride, some, _mm512_extractf32x4_ps(a, 3));
}
VECTOR void vf_turn_fours(vf *x) {
    vf a = _mm512_unpacklo_ps(x[0], x[1]), b = _mm512_unpacklo_ps(x[2], x[3]),
       c = _mm512_unpackhi_ps(x[0], x[1]), d = _mm512_unpackhi_ps(x[2], x[3]);
    x[0] = _mm512_shuffle_ps(a, b, 0x44), x[1] = _mm512_shuffle_ps(a, b, 0xee);
    x[2] = _mm512_shuffle_ps(c, d, 0x44), x[3] = _mm512_shuffle_ps(c, d, 0xee);
}
VECTOR float vf_sum(vf a) {
    __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1)),
           two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
