/* The portable target: four lanes in the vector extension of GCC and clang, which becomes what the machine
 * has: SSE on any x86-64, single floats where there are no vectors. It is also the definition of each
 * operation. fma is one rounding only where the hardware has it; elsewhere it rounds twice. */
#define ISA scalar
#define LANES 4
#define REGISTERS 16
#define TILE_ROWS 4
#define IN_STEP 1

typedef float vf __attribute__((vector_size(4 * LANES)));
typedef int32_t scalar_ints __attribute__((vector_size(4 * LANES)));
typedef uint32_t scalar_bits __attribute__((vector_size(4 * LANES))); /* sums of these wrap */

#define EACH(expression)                                     \
    do {                                                     \
        for (int i = 0; i < LANES; i++) r[i] = (expression); \
    } while (0)

VECTOR vf vf_load(const float *p) {
    vf r;
    memcpy(&r, p, sizeof r);
    return r;
}
VECTOR void vf_store(float *p, vf a) { memcpy(p, &a, sizeof a); }
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
VECTOR vf vf_set(float a) { return (vf){a, a, a, a}; }
VECTOR vf vf_add(vf a, vf b) { return a + b; }
VECTOR vf vf_sub(vf a, vf b) { return a - b; }
VECTOR vf vf_mul(vf a, vf b) { return a * b; }
VECTOR vf vf_div(vf a, vf b) { return a / b; }
VECTOR vf vf_sqrt(vf a) {
    vf r;
    EACH(sqrtf(a[i]));
    return r;
}
#ifdef __FP_FAST_FMAF
VECTOR vf vf_fma(vf a, vf b, vf c) {
    vf r;
    EACH(__builtin_fmaf(a[i], b[i], c[i]));
    return r;
}
#else
VECTOR vf vf_fma(vf a, vf b, vf c) { return a * b + c; }
#endif
/* a > b ? x : y */
VECTOR vf vf_where_greater(vf a, vf b, vf x, vf y) {
    scalar_bits greater = (scalar_bits)(a > b);
    return (vf)((greater & (scalar_bits)x) | (~greater & (scalar_bits)y));
}
/* min and max answer b where either is NaN */
VECTOR vf vf_min(vf a, vf b) { return vf_where_greater(b, a, a, b); }
VECTOR vf vf_max(vf a, vf b) { return vf_where_greater(a, b, a, b); }
VECTOR vf vf_abs(vf a) { return (vf)((scalar_bits)a & 0x7fffffffu); }
/* the magnitude of a with the sign of b; a must not be negative */
VECTOR vf vf_copysign(vf a, vf b) { return (vf)((scalar_bits)a | ((scalar_bits)b & 0x80000000u)); }
/* 2^n from the float 1.5 * 2^23 + n, -127 <= n <= 127; 0 for n = -127 */
VECTOR vf vf_power_of_two(vf a) { return (vf)(((scalar_bits)a << 23) + 0x3f800000u); }
/* m of a = m 2^n, 2/3 <= m < 4/3 (about), and n; a > 0, normal */
VECTOR vf vf_split(vf a, vf *n) {
    scalar_bits above = (scalar_bits)a - 0x3f2aaaabu;
    *n = __builtin_convertvector((scalar_ints)above >> 23, vf);
    return (vf)((scalar_bits)a - (above & 0xff800000u));
}
/* Number i of each four, or two, lanes in all of them; where there are sixteen also of each eight. */
VECTOR vf vf_spread_four(vf a, int i) { return vf_set(a[i]); }
VECTOR vf vf_spread_two(vf a, int i) { return (vf){a[i], a[i], a[i + 2], a[i + 2]}; }
/* Of four lanes each: n numbers, at most four, of each row; the same n numbers; and n of each to its row. */
VECTOR vf vf_load_fours(const float *p, size_t stride, size_t n) {
    (void)stride;
    return n == 4 ? vf_load(p) : vf_load_n(p, n);
}
VECTOR vf vf_repeat_four(const float *p, size_t n) { return n == 4 ? vf_load(p) : vf_load_n(p, n); }
VECTOR void vf_store_fours(float *p, size_t stride, vf a, size_t n) {
    (void)stride;
    vf_store_n(p, a, n);
}
/* (Of more than four lanes: vf_turn_fours makes number j of each four of x[i] number i of that of x[j].) */
/* The sum over the lanes, in halves: each with the one half of them further. */
VECTOR float vf_sum(vf a) { return (a[0] + a[2]) + (a[1] + a[3]); }

#undef EACH
