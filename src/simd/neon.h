/* NEON of aarch64: four lanes. Meanings are those of scalar.h. NEON's own min and max answer NaN where either
 * side is one; here they are comparisons, as on x86. */
#define ISA neon
#define LANES 4
#define REGISTERS 32
#define TILE_ROWS 8
#define IN_STEP 4

typedef float32x4_t vf;

VECTOR vf vf_load(const float *p) { return vld1q_f32(p); }
VECTOR void vf_store(float *p, vf a) { vst1q_f32(p, a); }
VECTOR vf vf_load_n(const float *p, size_t n) {
    float some[LANES] = {0};
    for (size_t i = 0; i < LANES && i < n; i++) some[i] = p[i];
    return vf_load(some);
}
VECTOR void vf_store_n(float *p, vf a, size_t n) {
    float some[LANES];
    vf_store(some, a);
    for (size_t i = 0; i < LANES && i < n; i++) p[i] = some[i];
}
VECTOR vf vf_set(float a) { return vdupq_n_f32(a); }
VECTOR vf vf_add(vf a, vf b) { return vaddq_f32(a, b); }
VECTOR vf vf_sub(vf a, vf b) { return vsubq_f32(a, b); }
VECTOR vf vf_mul(vf a, vf b) { return vmulq_f32(a, b); }
VECTOR vf vf_div(vf a, vf b) { return vdivq_f32(a, b); }
VECTOR vf vf_sqrt(vf a) { return vsqrtq_f32(a); }
VECTOR vf vf_fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
VECTOR vf vf_where_greater(vf a, vf b, vf x, vf y) { return vbslq_f32(vcgtq_f32(a, b), x, y); }
VECTOR vf vf_min(vf a, vf b) { return vf_where_greater(b, a, a, b); }
VECTOR vf vf_max(vf a, vf b) { return vf_where_greater(a, b, a, b); }
VECTOR vf vf_abs(vf a) { return vabsq_f32(a); }
VECTOR vf vf_copysign(vf a, vf b) { return vbslq_f32(vdupq_n_u32(0x80000000u), b, a); }
VECTOR vf vf_power_of_two(vf a) {
    int32x4_t exponent = vshlq_n_s32(vreinterpretq_s32_f32(a), 23);
    return vreinterpretq_f32_s32(vaddq_s32(exponent, vdupq_n_s32(0x3f800000)));
}
VECTOR vf vf_split(vf a, vf *n) {
    int32x4_t bits = vreinterpretq_s32_f32(a), above = vsubq_s32(bits, vdupq_n_s32(0x3f2aaaab));
    *n = vcvtq_f32_s32(vshrq_n_s32(above, 23));
    above = vandq_s32(above, vdupq_n_s32((int32_t)0xff800000u));
    return vreinterpretq_f32_s32(vsubq_s32(bits, above));
}
VECTOR vf vf_spread_four(vf a, int i) { /* the instruction takes a number, not a variable */
    switch (i) {
    case 0: return vdupq_laneq_f32(a, 0);
    case 1: return vdupq_laneq_f32(a, 1);
    case 2: return vdupq_laneq_f32(a, 2);
    default: return vdupq_laneq_f32(a, 3);
    }
}
VECTOR vf vf_spread_two(vf a, int i) { return i ? vtrn2q_f32(a, a) : vtrn1q_f32(a, a); }
VECTOR vf vf_load_fours(const float *p, size_t stride, size_t n) {
    (void)stride;
    return n == 4 ? vf_load(p) : vf_load_n(p, n);
}
VECTOR vf vf_repeat_four(const float *p, size_t n) { return n == 4 ? vf_load(p) : vf_load_n(p, n); }
VECTOR void vf_store_fours(float *p, size_t stride, vf a, size_t n) {
    (void)stride;
    vf_store_n(p, a, n);
}
VECTOR float vf_sum(vf a) {
    float32x2_t two = vadd_f32(vget_low_f32(a), vget_high_f32(a));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}
