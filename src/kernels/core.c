/* The limits of a core: the two loops that nothing computes faster than, for each instruction set. What they
 * compute means nothing. */
#include "../simd/target.h"

#include "kernels.h"

/* Twelve chains: more than any of these processors has multiply-adds on their way. */
enum { CHAINS = 12, READ_LINES = 8 };
static volatile float sink;

/* `products` and `reads` of one instruction set. The chains differ, start at what the compiler does not know
 * (zero) and end in `sink`, so that none is left out; the asm keeps it from joining rounds. No number ever
 * becomes a denormal one. */
#define LIMITS(isa, attributes, vector, lanes, set, load, fma, first)                                 \
    attributes static double products_##isa(size_t times) {                                           \
        float start = sink;                                                                           \
        vector a = set(start), b = set(start + 1), s[CHAINS];                                         \
        UNROLL_FOR(int i = 0; i < CHAINS; i++) s[i] = set(start + (float)i);                          \
        for (size_t k = 0; k < times; k++) {                                                          \
            UNROLL_FOR(int i = 0; i < CHAINS; i++) s[i] = fma(s[i], b, a);                            \
            __asm__ volatile("" ::: "memory");                                                        \
        }                                                                                             \
        float end = 0;                                                                                \
        UNROLL_FOR(int i = 0; i < CHAINS; i++) end += first(s[i]);                                    \
        sink = end * 0;                                                                               \
        return (double)times * CHAINS * lanes;                                                        \
    }                                                                                                 \
    attributes static double reads_##isa(const float *p, size_t count, size_t times) {                \
        float start = sink;                                                                           \
        vector a = set(start), s[READ_LINES];                                                         \
        UNROLL_FOR(int i = 0; i < READ_LINES; i++) s[i] = set(start + (float)i);                      \
        count -= count % (READ_LINES * lanes);                                                        \
        for (size_t k = 0; k < times; k++) {                                                          \
            for (const float *at = p; at < p + count; at += READ_LINES * lanes)                       \
                UNROLL_FOR(int i = 0; i < READ_LINES; i++) s[i] = fma(load(at + i * lanes), a, s[i]); \
            __asm__ volatile("" ::: "memory");                                                        \
        }                                                                                             \
        float end = 0;                                                                                \
        UNROLL_FOR(int i = 0; i < READ_LINES; i++) end += first(s[i]);                                \
        sink = end * 0;                                                                               \
        return (double)times * (double)count;                                                         \
    }

#define PLAIN(a) (a)
#define PLAIN_LOAD(p) (*(p))
#define PLAIN_FMA(a, b, c) ((a) * (b) + (c)) /* a call of fmaf where the processor has none is no limit */
LIMITS(scalar, , float, 1, PLAIN, PLAIN_LOAD, PLAIN_FMA, PLAIN)
#if defined(__x86_64__)
LIMITS(avx2, __attribute__((target("avx2,fma"))), __m256, 8, _mm256_set1_ps, _mm256_loadu_ps, _mm256_fmadd_ps,
       _mm256_cvtss_f32)
LIMITS(avx512, __attribute__((target("avx512f"))), __m512, 16, _mm512_set1_ps, _mm512_loadu_ps,
       _mm512_fmadd_ps, _mm512_cvtss_f32)
#elif defined(__aarch64__)
#define NEON_FMA(a, b, c) vfmaq_f32(c, a, b)
#define NEON_FIRST(a) vgetq_lane_f32(a, 0)
LIMITS(neon, , float32x4_t, 4, vdupq_n_f32, vld1q_f32, NEON_FMA, NEON_FIRST)
#endif

static const struct {
    const char *isa;
    double (*products)(size_t);
    double (*reads)(const float *, size_t, size_t);
} limits[] = {
#if defined(__x86_64__)
    {"avx512", products_avx512, reads_avx512},
    {"avx2", products_avx2, reads_avx2},
    {"avx2_pairs", products_avx2, reads_avx2},
#elif defined(__aarch64__)
    {"neon", products_neon, reads_neon},
#endif
    {"scalar", products_scalar, reads_scalar},
};

/* The place of the instruction set that the kernels of `isa` have, or past the last. */
static size_t place(const char *isa) {
    const struct rnnrt_kernels *kernels = rnnrt_kernels_find(isa);
    size_t i = 0, count = sizeof limits / sizeof *limits;
    while (i < count && (!kernels || strcmp(limits[i].isa, kernels->isa))) i++;
    return i;
}

double rnnrt_core_products(const char *isa, size_t times) {
    size_t i = place(isa);
    return i < sizeof limits / sizeof *limits ? limits[i].products(times) : 0;
}

double rnnrt_core_reads(const char *isa, const float *numbers, size_t count, size_t times) {
    size_t i = place(isa);
    return i < sizeof limits / sizeof *limits ? limits[i].reads(numbers, count, times) : 0;
}
