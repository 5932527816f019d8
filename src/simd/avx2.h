/* AVX2 with FMA: eight lanes. Meanings are those of scalar.h. */
#define ISA avx2
#define LANES 8
#define REGISTERS 16
#define TILE_ROWS 6
#define IN_STEP 4

typedef __m256 vf;

VECTOR __m256i avx2_first(size_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
VECTOR vf vf_load(const float *p) { return _mm256_loadu_ps(p); }
VECTOR void vf_store(float *p, vf a) { _mm256_storeu_ps(p, a); }
VECTOR vf vf_load_n(const float *p, size_t n) { return _mm256_maskload_ps(p, avx2_first(n)); }
/* In pieces: some processors take some forty operations for a masked store. */
VECTOR void vf_store_n(float *p, vf a, size_t n) {
    __m128 piece = _mm256_castps256_ps128(a);
    if (n >= LANES) {
        vf_store(p, a);
        return;
    }
    if (n & 4) {
        _mm_storeu_ps(p, piece);
        piece = _mm256_extractf128_ps(a, 1);
        p += 4;
    }
    if (n & 2) {
        _mm_storel_pi((__m64 *)(void *)p, piece);
        piece = _mm_movehl_ps(piece, piece);
        p += 2;
    }
    if (n & 1) _mm_store_ss(p, piece);
}
VECTOR vf vf_set(float a) { return _mm256_set1_ps(a); }
VECTOR vf vf_add(vf a, vf b) { return _mm256_add_ps(a, b); }
VECTOR vf vf_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
VECTOR vf vf_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
VECTOR vf vf_div(vf a, vf b) { return _mm256_div_ps(a, b); }
VECTOR vf vf_sqrt(vf a) { return _mm256_sqrt_ps(a); }
VECTOR vf vf_min(vf a, vf b) { return _mm256_min_ps(a, b); }
VECTOR vf vf_max(vf a, vf b) { return _mm256_max_ps(a, b); }
VECTOR vf vf_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
VECTOR vf vf_where_greater(vf a, vf b, vf x, vf y) {
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_GT_OQ));
}
VECTOR vf vf_abs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
VECTOR vf vf_copysign(vf a, vf b) { return _mm256_or_ps(a, _mm256_and_ps(_mm256_set1_ps(-0.0f), b)); }
VECTOR vf vf_power_of_two(vf a) {
    return _mm256_castsi256_ps(
        _mm256_add_epi32(_mm256_slli_epi32(_mm256_castps_si256(a), 23), _mm256_set1_epi32(0x3f800000)));
}
VECTOR vf vf_split(vf a, vf *n) {
    __m256i bits = _mm256_castps_si256(a), above = _mm256_sub_epi32(bits, _mm256_set1_epi32(0x3f2aaaab));
    *n = _mm256_cvtepi32_ps(_mm256_srai_epi32(above, 23));
    above = _mm256_and_si256(above, _mm256_set1_epi32((int)0xff800000u));
    return _mm256_castsi256_ps(_mm256_sub_epi32(bits, above));
}
VECTOR vf vf_spread_four(vf a, int i) { /* the instruction takes a number, not a variable */
    switch (i) {
    case 0: return _mm256_permute_ps(a, 0x00);
    case 1: return _mm256_permute_ps(a, 0x55);
    case 2: return _mm256_permute_ps(a, 0xaa);
    default: return _mm256_permute_ps(a, 0xff);
    }
}
VECTOR vf vf_spread_two(vf a, int i) { return i ? _mm256_movehdup_ps(a) : _mm256_moveldup_ps(a); }
VECTOR __m128 avx2_four(const float *p, size_t n) {
    return n == 4 ? _mm_loadu_ps(p) : _mm256_castps256_ps128(vf_load_n(p, n));
}
VECTOR vf vf_load_fours(const float *p, size_t stride, size_t n) {
    return _mm256_insertf128_ps(_mm256_castps128_ps256(avx2_four(p, n)), avx2_four(p + stride, n), 1);
}
VECTOR vf vf_repeat_four(const float *p, size_t n) {
    __m128 four = avx2_four(p, n);
    return _mm256_insertf128_ps(_mm256_castps128_ps256(four), four, 1);
}
VECTOR void vf_store_fours(float *p, size_t stride, vf a, size_t n) {
    vf_store_n(p, a, n);
    vf_store_n(p + stride, _mm256_castps128_ps256(_mm256_extractf128_ps(a, 1)), n);
}
VECTOR void vf_turn_fours(vf *x) {
    vf a = _mm256_unpacklo_ps(x[0], x[1]), b = _mm256_unpacklo_ps(x[2], x[3]),
       c = _mm256_unpackhi_ps(x[0], x[1]), d = _mm256_unpackhi_ps(x[2], x[3]);
    x[0] = _mm256_shuffle_ps(a, b, 0x44), x[1] = _mm256_shuffle_ps(a, b, 0xee);
    x[2] = _mm256_shuffle_ps(c, d, 0x44), x[3] = _mm256_shuffle_ps(c, d, 0xee);
}
VECTOR float vf_sum(vf a) {
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1)),
           two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
