/* The portable target: four lanes written as loops, which any compiler turns into what the machine has.
 * It is also the definition of each operation. fma is one rounding only where the hardware has it; elsewhere
 * it rounds twice. */
#define ISA scalar
#define LANES 4
#define TILE_ROWS 4
#define IN_STEP 1

typedef struct {
    float at[LANES];
} vf;

#define EACH(expression)                                        \
    do {                                                        \
        for (int i = 0; i < LANES; i++) r.at[i] = (expression); \
    } while (0)

VECTOR vf vf_load(const float *p) {
    vf r;
    memcpy(r.at, p, sizeof r);
    return r;
}
VECTOR void vf_store(float *p, vf a) { memcpy(p, a.at, sizeof a); }
VECTOR vf vf_load_n(const float *p, size_t n) {
    vf r;
    EACH((size_t)i < n ? p[i] : 0.0f);
    return r;
}
VECTOR void vf_store_n(float *p, vf a, size_t n) {
    for (size_t i = 0; i < n; i++) p[i] = a.at[i];
}
VECTOR vf vf_set(float a) {
    vf r;
    EACH(a);
    return r;
}
VECTOR vf vf_add(vf a, vf b) {
    vf r;
    EACH(a.at[i] + b.at[i]);
    return r;
}
VECTOR vf vf_sub(vf a, vf b) {
    vf r;
    EACH(a.at[i] - b.at[i]);
    return r;
}
VECTOR vf vf_mul(vf a, vf b) {
    vf r;
    EACH(a.at[i] * b.at[i]);
    return r;
}
VECTOR vf vf_div(vf a, vf b) {
    vf r;
    EACH(a.at[i] / b.at[i]);
    return r;
}
VECTOR vf vf_sqrt(vf a) {
    vf r;
    EACH(sqrtf(a.at[i]));
    return r;
}
/* min and max answer b where either is NaN */
VECTOR vf vf_min(vf a, vf b) {
    vf r;
    EACH(a.at[i] < b.at[i] ? a.at[i] : b.at[i]);
    return r;
}
VECTOR vf vf_max(vf a, vf b) {
    vf r;
    EACH(a.at[i] > b.at[i] ? a.at[i] : b.at[i]);
    return r;
}
#ifdef __FP_FAST_FMAF
VECTOR vf vf_fma(vf a, vf b, vf c) {
    vf r;
    EACH(__builtin_fmaf(a.at[i], b.at[i], c.at[i]));
    return r;
}
#else
VECTOR vf vf_fma(vf a, vf b, vf c) {
    vf r;
    EACH(a.at[i] * b.at[i] + c.at[i]);
    return r;
}
#endif
/* a > b ? x : y */
VECTOR vf vf_where_greater(vf a, vf b, vf x, vf y) {
    vf r;
    EACH(a.at[i] > b.at[i] ? x.at[i] : y.at[i]);
    return r;
}
VECTOR uint32_t scalar_bits(float a) {
    uint32_t u;
    memcpy(&u, &a, 4);
    return u;
}
VECTOR float scalar_float(uint32_t u) {
    float a;
    memcpy(&a, &u, 4);
    return a;
}
VECTOR vf vf_abs(vf a) {
    vf r;
    EACH(scalar_float(scalar_bits(a.at[i]) & 0x7fffffffu));
    return r;
}
/* the magnitude of a with the sign of b; a must not be negative */
VECTOR vf vf_copysign(vf a, vf b) {
    vf r;
    EACH(scalar_float(scalar_bits(a.at[i]) | (scalar_bits(b.at[i]) & 0x80000000u)));
    return r;
}
/* 2^n from the float 1.5 * 2^23 + n, -127 <= n <= 127; 0 for n = -127 */
VECTOR vf vf_power_of_two(vf a) {
    vf r;
    EACH(scalar_float((scalar_bits(a.at[i]) << 23) + 0x3f800000u));
    return r;
}
/* m of a = m 2^n, 2/3 <= m < 4/3 (about), and n; a > 0, normal */
VECTOR vf vf_split(vf a, vf *n) {
    vf r;
    for (int i = 0; i < LANES; i++) {
        uint32_t above = scalar_bits(a.at[i]) - 0x3f2aaaabu;
        n->at[i] = (float)((int32_t)above >> 23);
        r.at[i] = scalar_float(scalar_bits(a.at[i]) - (above & 0xff800000u));
    }
    return r;
}

#undef EACH
