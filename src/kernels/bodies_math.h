/* exp, sigmoid, tanh and the elementwise functions: one written sequence of operations on every instruction
 * set.
 *
 * Errors against the exact value, over every float32 (tests/test_kernels.py re-measures them): exp, sigmoid
 * and tanh at most 4 units in the last place where the result is normal; sigmoid and tanh saturate exactly to
 * 0, 1 and -1, 1; tanh and softsign are odd to the bit. */

/* Up to IN_STEP vectors, of which every operation is done before the next: while one waits for a result, the
 * others' go on. Functions of them take how many there are, a constant where they are called. (One where a
 * vector is a struct of floats: a compiler takes a minute over four of these, and gains nothing.) */
typedef struct {
    vf at[IN_STEP];
} vectors;
#define EACH UNROLL_FOR(int j = 0; j < count; j++)

VECTOR vectors only(vf x) { return (vectors){{x}}; }

/* e^r - 1 with x = n ln 2 + r and biased = 1.5 * 2^23 + n, for |x| <= 104. The polynomial was fitted on |r|
 * <= ln 2 / 2: relative error 1.4e-8. */
VECTOR vectors exp_fraction(const int count, vectors x, vectors *biased) {
    vectors n, r, q;
    EACH biased->at[j] = vf_fma(x.at[j], vf_set(0x1.715476p+0f), vf_set(0x1.8p23f));
    EACH n.at[j] = vf_sub(biased->at[j], vf_set(0x1.8p23f));
    EACH r.at[j] = vf_fma(n.at[j], vf_set(-0x1.62e4p-1f), x.at[j]);    /* ln 2 in two parts: n times the */
    EACH r.at[j] = vf_fma(n.at[j], vf_set(-0x1.7f7d1cp-20f), r.at[j]); /* first is exact */
    EACH q.at[j] = vf_fma(r.at[j], vf_set(0x1.6bebb2p-10f), vf_set(0x1.1229a4p-7f));
    EACH q.at[j] = vf_fma(q.at[j], r.at[j], vf_set(0x1.555678p-5f));
    EACH q.at[j] = vf_fma(q.at[j], r.at[j], vf_set(0x1.5554aep-3f));
    EACH q.at[j] = vf_fma(q.at[j], r.at[j], vf_set(0x1.fffffep-2f));
    EACH q.at[j] = vf_fma(vf_mul(r.at[j], r.at[j]), q.at[j], r.at[j]);
    return q;
}

/* e^x: 0 where the result would be denormal, infinite above 88.72. 2^n is applied in two halves, so that n
 * may pass 127. */
VECTOR vf vf_exp(vf x) {
    vectors biased, p = exp_fraction(1, only(vf_max(vf_set(-104.0f), vf_min(vf_set(89.0f), x))), &biased);
    vf magic = vf_set(0x1.8p23f), n = vf_sub(biased.at[0], magic), half = vf_fma(n, vf_set(0.5f), magic);
    vf first = vf_power_of_two(half), second = vf_power_of_two(vf_add(magic, vf_sub(n, vf_sub(half, magic))));
    return vf_mul(vf_mul(first, vf_add(vf_set(1.0f), p.at[0])), second);
}

/* e^x - 1 for |x| <= 88, exact to its own size near 0 */
VECTOR vectors expm1_of(const int count, vectors x) {
    vectors biased, p = exp_fraction(count, x, &biased);
    EACH {
        vf power = vf_power_of_two(biased.at[j]);
        p.at[j] = vf_fma(power, p.at[j], vf_sub(power, vf_set(1.0f)));
    }
    return p;
}
VECTOR vf vf_expm1(vf x) { return expm1_of(1, only(x)).at[0]; }

/* e^-|x|, which cannot overflow; e^-88 is 0 here, so that a sigmoid saturates exactly. */
VECTOR vectors exp_of_negative(const int count, vectors x) {
    vectors biased;
    EACH x.at[j] = vf_sub(vf_set(0.0f), vf_min(vf_set(88.0f), vf_abs(x.at[j])));
    x = exp_fraction(count, x, &biased);
    EACH x.at[j] = vf_mul(vf_power_of_two(biased.at[j]), /* power * x alone could be denormal */
                          vf_add(vf_set(1.0f), x.at[j]));
    return x;
}
VECTOR vf vf_exp_of_negative(vf x) { return exp_of_negative(1, only(x)).at[0]; }

/* sigmoid and tanh as numerators and denominators, so that a product of two of them costs one division. */
typedef struct {
    vectors num, den;
} ratios;

/* 1 / (1 + e^-x) as numerator and denominator. */
VECTOR ratios sigmoid_ratios(const int count, vectors x) {
    vectors e = exp_of_negative(count, x);
    ratios y;
    EACH y.num.at[j] = vf_where_greater(x.at[j], vf_set(0.0f), vf_set(1.0f), e.at[j]);
    EACH y.den.at[j] = vf_add(vf_set(1.0f), e.at[j]);
    return y;
}

/* m / (m + 2) with m = e^(2|x|) - 1 and the sign of x; exactly 1 from |x| = 10 on. */
VECTOR ratios tanh_ratios(const int count, vectors x) {
    vectors twice;
    ratios y;
    EACH {
        vf a = vf_min(vf_set(10.0f), vf_abs(x.at[j]));
        twice.at[j] = vf_add(a, a);
    }
    vectors m = expm1_of(count, twice);
    EACH y.num.at[j] = vf_copysign(m.at[j], x.at[j]);
    EACH y.den.at[j] = vf_add(m.at[j], vf_set(2.0f));
    return y;
}

VECTOR vectors products_of(const int count, ratios a, ratios b) {
    EACH a.num.at[j] = vf_div(vf_mul(a.num.at[j], b.num.at[j]), vf_mul(a.den.at[j], b.den.at[j]));
    return a.num;
}

/* e / (1 + e) with e = e^-|x|, or 1 less that: near 1 the last step alone rounds. (1 / (1 + e) rounds 1 + e
 * first, to twice the spacing of the result: a forget gate that stays there makes the same error at every
 * step, and a cell adds them up.) */
VECTOR vectors sigmoids(const int count, vectors x) {
    vectors e = exp_of_negative(count, x);
    vf one = vf_set(1.0f);
    EACH e.at[j] = vf_div(e.at[j], vf_add(one, e.at[j]));
    EACH e.at[j] = vf_where_greater(x.at[j], vf_set(0.0f), vf_sub(one, e.at[j]), e.at[j]);
    return e;
}
VECTOR vectors tanhs(const int count, vectors x) {
    ratios y = tanh_ratios(count, x);
    EACH y.num.at[j] = vf_div(y.num.at[j], y.den.at[j]);
    return y.num;
}
VECTOR vf vf_sigmoid(vf x) { return sigmoids(1, only(x)).at[0]; }
VECTOR vf vf_tanh(vf x) { return tanhs(1, only(x)).at[0]; }

VECTOR vf clip(vf x, float low, float high) { return vf_max(vf_set(low), vf_min(vf_set(high), x)); }

#include "bodies_elementary.h"

VECTOR vf vf_below_zero(vf x, vf y) { return vf_where_greater(vf_set(0.0f), x, y, x); }
VECTOR vf vf_expm1_below(vf x) { return vf_expm1(clip(x, -88.0f, 0.0f)); }
VECTOR vf vf_sixths(vf x) { return vf_div(clip(vf_add(x, vf_set(3.0f)), 0.0f, 6.0f), vf_set(6.0f)); }
VECTOR vf vf_gelu_tanh(vf x) {
    vf cube = vf_mul(vf_mul(x, x), x),
       inner = vf_mul(vf_set(0.7978845608028654f), vf_fma(vf_set(0.044715f), cube, x));
    return vf_mul(vf_mul(vf_set(0.5f), x), vf_add(vf_set(1.0f), vf_tanh(inner)));
}
VECTOR vf vf_beyond(vf x, float edge, vf y) {
    return vf_where_greater(vf_abs(x), vf_set(edge), y, vf_mul(x, vf_set(0.0f)));
}

#define OVER(n, expression)                           \
    do {                                              \
        size_t i = 0;                                 \
        for (; i + LANES <= (n); i += LANES) {        \
            vf a = vf_load(x + i);                    \
            vf_store(y + i, (expression));            \
        }                                             \
        if (i < (n)) {                                \
            vf a = vf_load_n(x + i, (n) - i);         \
            vf_store_n(y + i, (expression), (n) - i); \
        }                                             \
    } while (0)

/* One function each, so that a compiler has one at a time before it: `a` is the vector, `p` the parameter. */
#define FUNCTION(constant, expression)                                             \
    static void activate_##constant(float p, size_t n, const float *x, float *y) { \
        (void)p;                                                                   \
        OVER(n, expression);                                                       \
    }
FUNCTION(LINEAR, a)
FUNCTION(RELU, vf_max(vf_set(0.0f), a))
FUNCTION(LEAKY_RELU, vf_below_zero(a, vf_mul(vf_set(p), a)))
FUNCTION(CLIPPED_RELU, clip(a, 0.0f, p))
FUNCTION(HARD_SIGMOID, vf_sixths(a))
FUNCTION(HARD_SIGMOID_KERAS2, clip(vf_fma(a, vf_set(0.2f), vf_set(0.5f)), 0.0f, 1.0f))
FUNCTION(HARD_TANH, clip(a, -1.0f, 1.0f))
FUNCTION(EXPONENTIAL, vf_exp(a))
FUNCTION(ELU, vf_below_zero(a, vf_mul(vf_set(p), vf_expm1_below(a))))
FUNCTION(SELU, vf_mul(vf_set(1.0507009873554805f),
                      vf_below_zero(a, vf_mul(vf_set(1.6732632423543772f), vf_expm1_below(a)))))
FUNCTION(SILU, vf_mul(a, vf_sigmoid(a)))
FUNCTION(HARD_SILU, vf_mul(a, vf_sixths(a)))
FUNCTION(SOFTSIGN, vf_div(a, vf_add(vf_set(1.0f), vf_abs(a))))
FUNCTION(GELU_TANH, vf_gelu_tanh(a))
FUNCTION(GELU, vf_gelu(a))
FUNCTION(SOFTPLUS, vf_softplus(a))
FUNCTION(LOG_SIGMOID, vf_log_sigmoid(a))
FUNCTION(MISH, vf_mish(a))
FUNCTION(CELU, vf_below_zero(a, vf_mul(vf_set(p), vf_expm1_below(vf_div(a, vf_set(p))))))
FUNCTION(SOFT_SHRINK, vf_beyond(a, p, vf_sub(a, vf_copysign(vf_set(p), a))))
FUNCTION(HARD_SHRINK, vf_beyond(a, p, a))
FUNCTION(AT_LEAST, vf_max(vf_set(p), a))
FUNCTION(AT_MOST, vf_min(vf_set(p), a))
FUNCTION(ABOVE, vf_where_greater(a, vf_set(p), vf_set(1.0f), vf_set(0.0f)))
FUNCTION(ABS, vf_abs(a))
FUNCTION(SQUARE, vf_mul(a, a))
FUNCTION(SQRT, vf_sqrt(a))
FUNCTION(RECIPROCAL, vf_div(vf_set(1.0f), a))
FUNCTION(LOG, vf_log(a))
FUNCTION(ERF, vf_erf(a))
#undef FUNCTION

/* The two that recurrent networks are made of: IN_STEP vectors at a time. */
#define FUNCTION_IN_STEP(constant, several, one)                                                         \
    static void activate_##constant(float p, size_t n, const float *x, float *y) {                       \
        const int count = IN_STEP;                                                                       \
        (void)p;                                                                                         \
        for (; n >= IN_STEP * LANES; n -= IN_STEP * LANES, x += IN_STEP * LANES, y += IN_STEP * LANES) { \
            vectors a;                                                                                   \
            EACH a.at[j] = vf_load(x + j * LANES);                                                       \
            a = several(count, a);                                                                       \
            EACH vf_store(y + j * LANES, a.at[j]);                                                       \
        }                                                                                                \
        OVER(n, one(a));                                                                                 \
    }
FUNCTION_IN_STEP(TANH, tanhs, vf_tanh)
FUNCTION_IN_STEP(SIGMOID, sigmoids, vf_sigmoid)
#undef FUNCTION_IN_STEP

static void activate_SIN(float p, size_t n, const float *x, float *y) {
    (void)p;
    sines(0.0f, n, x, y);
}
static void activate_COS(float p, size_t n, const float *x, float *y) {
    (void)p;
    sines(1.0f, n, x, y);
}

static void (*const activations[])(float p, size_t n, const float *x, float *y) = {
#define ROW(constant, word) [RNNRT_##constant] = activate_##constant,
    RNNRT_FUNCTION_LIST(ROW)
#undef ROW
};

static void activate(struct rnnrt_function function, size_t n, const float *x, float *y) {
    if (function.name != RNNRT_LINEAR || x != y) activations[function.name](function.parameter, n, x, y);
}

#define OVER_TWO(n, expression)                                                \
    do {                                                                       \
        size_t i = 0;                                                          \
        for (; i + LANES <= (n); i += LANES) {                                 \
            vf a = vf_load(x0 + i), b = vf_load(x1 + i);                       \
            vf_store(y + i, (expression));                                     \
        }                                                                      \
        if (i < (n)) {                                                         \
            vf a = vf_load_n(x0 + i, (n) - i), b = vf_load_n(x1 + i, (n) - i); \
            vf_store_n(y + i, (expression), (n) - i);                          \
        }                                                                      \
    } while (0)

static void add(size_t n, const float *x0, const float *x1, float *y) { OVER_TWO(n, vf_add(a, b)); }
static void multiply(size_t n, const float *x0, const float *x1, float *y) { OVER_TWO(n, vf_mul(a, b)); }
/* a NaN on either side stays: max answers b where either is NaN, and |a| > -1 is false only for a NaN */
static void maximum(size_t n, const float *x0, const float *x1, float *y) {
    OVER_TWO(n, vf_where_greater(vf_abs(a), vf_set(-1.0f), vf_max(a, b), a));
}

/* 1 where neither is NaN, else 0 */
VECTOR vf both_numbers(vf a, vf b) {
    vf least = vf_set(-1.0f), one = vf_set(1.0f), zero = vf_set(0.0f);
    return vf_where_greater(vf_abs(a), least, vf_where_greater(vf_abs(b), least, one, zero), zero);
}

static void pair(enum rnnrt_pairing how, size_t n, const float *x0, const float *x1, float *y) {
    vf one = vf_set(1.0f), zero = vf_set(0.0f);
    switch (how) {
    case RNNRT_QUOTIENT: OVER_TWO(n, vf_div(a, b)); return;
    case RNNRT_GREATER: OVER_TWO(n, vf_where_greater(a, b, one, zero)); return;
    case RNNRT_GREATER_EQUAL:
        OVER_TWO(n, vf_where_greater(a, b, one, vf_where_greater(b, a, zero, both_numbers(a, b))));
        return;
    case RNNRT_EQUAL:
        OVER_TWO(n, vf_where_greater(a, b, zero, vf_where_greater(b, a, zero, both_numbers(a, b))));
        return;
    }
}

static void affine(size_t n, size_t rows, const float *mean, const float *scale, const float *offset,
                   const float *x, float *y) {
    for (size_t r = 0; r < rows; r++, x += n, y += n) {
        size_t i = 0;
        for (; i + LANES <= n; i += LANES) {
            vf a = vf_load(x + i);
            if (mean) a = vf_sub(a, vf_load(mean + i));
            vf_store(y + i, vf_fma(a, vf_load(scale + i), vf_load(offset + i)));
        }
        if (i < n) {
            vf a = vf_load_n(x + i, n - i);
            if (mean) a = vf_sub(a, vf_load_n(mean + i, n - i));
            vf_store_n(y + i, vf_fma(a, vf_load_n(scale + i, n - i), vf_load_n(offset + i, n - i)), n - i);
        }
    }
}

/* Sixteen virtual lanes over the features (feature modulo 16), mean first, then the mean square of the
 * differences. */
static void normalize(size_t n, size_t rows, const float *gamma, const float *beta, float epsilon,
                      const float *x, size_t x_stride, float *y, size_t y_stride) {
    for (size_t r = 0; r < rows; r++, x += x_stride, y += y_stride) {
        v16 sum = v16_set(0.0f);
        for (size_t k = 0; k < n; k += 16) {
            v16 a = v16_load_n(x + k, n - k);
            UNROLL_FOR(int i = 0; i < PARTS; i++) sum.part[i] = vf_add(sum.part[i], a.part[i]);
        }
        float mean = v16_sum(sum) / (float)n;
        sum = v16_set(0.0f);
        for (size_t k = 0; k < n; k += 16) {
            float held[16];
            size_t count = n - k < 16 ? n - k : 16;
            for (size_t i = 0; i < 16; i++) held[i] = i < count ? x[k + i] - mean : 0.0f;
            v16 a = v16_load(held);
            UNROLL_FOR(int i = 0; i < PARTS; i++) sum.part[i] = vf_fma(a.part[i], a.part[i], sum.part[i]);
        }
        float scale = 1.0f / sqrtf(v16_sum(sum) / (float)n + epsilon);
        for (size_t k = 0; k < n; k += LANES) {
            size_t count = n - k < LANES ? n - k : LANES;
            vf a = vf_mul(vf_sub(vf_load_n(x + k, count), vf_set(mean)), vf_set(scale));
            if (gamma) a = vf_mul(a, vf_load_n(gamma + k, count));
            if (beta) a = vf_add(a, vf_load_n(beta + k, count));
            vf_store_n(y + k, a, count);
        }
    }
}

static void softmax(bool logarithm, size_t n, size_t rows, const float *x, float *y) {
    for (size_t r = 0; r < rows; r++, x += n, y += n) {
        float greatest = x[0];
        for (size_t k = 1; k < n; k++) greatest = x[k] > greatest ? x[k] : greatest;
        v16 sum = v16_set(0.0f);
        for (size_t k = 0; k < n; k += 16) {
            float held[16] = {0};
            size_t count = n - k < 16 ? n - k : 16;
            for (size_t i = 0; i < count; i += LANES) {
                size_t lanes = count - i < LANES ? count - i : LANES;
                vf_store_n(held + i, vf_exp(vf_sub(vf_load_n(x + k + i, lanes), vf_set(greatest))), lanes);
            }
            v16 a = v16_load(held);
            UNROLL_FOR(int i = 0; i < PARTS; i++) sum.part[i] = vf_add(sum.part[i], a.part[i]);
            memcpy(y + k, held, count * sizeof *y);
        }
        vf total = vf_set(v16_sum(sum)), less = vf_log(total);
        for (size_t k = 0; k < n; k += LANES) {
            size_t count = n - k < LANES ? n - k : LANES;
            if (logarithm)
                vf_store_n(y + k, vf_sub(vf_sub(vf_load_n(x + k, count), vf_set(greatest)), less), count);
            else vf_store_n(y + k, vf_div(vf_load_n(y + k, count), total), count);
        }
    }
}
