/* log, erf, sin, cos and what is made of them: one written sequence of operations on every instruction set.
 *
 * Errors against the exact value, over every float32 (tools/sweep.py, tests/test_kernels.py): log, log(1 +
 * e), erf, sin and cos at most 4 units in the last place where the result is normal, sin and cos however
 * large the angle; softplus, log_sigmoid and mish as well, gelu 6, but for what is flushed on the way: the
 * answers of mish below 1.1e-36 and of gelu below 8e-38 may be 0. */

/* log a for a > 0: log m + n log 2. The polynomial was fitted on |m - 1| <= 1/3: relative error 9e-10. */
VECTOR vf log_of_positive(vf a) {
    vf n, r = vf_sub(vf_split(a, &n), vf_set(1.0f));
    vf q = vf_fma(r, vf_set(0x1.ebcf02p-4f), vf_set(-0x1.071124p-3f));
    q = vf_fma(q, r, vf_set(0x1.b87e9cp-4f));
    q = vf_fma(q, r, vf_set(-0x1.f389fcp-4f));
    q = vf_fma(q, r, vf_set(0x1.24f48ap-3f));
    q = vf_fma(q, r, vf_set(-0x1.559908p-3f));
    q = vf_fma(q, r, vf_set(0x1.99977ep-3f));
    q = vf_fma(q, r, vf_set(-0x1.ffff0ep-3f));
    q = vf_fma(q, r, vf_set(0x1.555556p-2f));
    vf square = vf_mul(r, r);
    q = vf_fma(vf_mul(square, r), q, vf_mul(square, vf_set(-0.5f)));
    q = vf_fma(n, vf_set(0x1.7f7d1cp-20f), q); /* log 2 in two parts: n times the first is exact */
    return vf_fma(n, vf_set(0x1.62e4p-1f), vf_add(q, r));
}

/* log x: -infinity at 0, NaN below. */
VECTOR vf vf_log(vf x) {
    vf zero = vf_set(0.0f), inf = vf_set(INFINITY), y = log_of_positive(x);
    vf below = vf_where_greater(zero, x, vf_set(NAN), x);
    y = vf_where_greater(x, zero, vf_where_greater(inf, x, y, x), below);
    return vf_where_greater(vf_set(FLT_MIN), vf_abs(x), vf_set(-INFINITY), y);
}

/* log(1 + e) for 0 <= e <= 1, exact to its own size near 0: what rounding 1 + e lost is added back. */
VECTOR vf log_of_more(vf e) {
    vf one = vf_set(1.0f), u = vf_add(one, e), lost = vf_sub(e, vf_sub(u, one));
    return vf_add(log_of_positive(u), vf_div(lost, u));
}

VECTOR vf vf_softplus(vf x) { return vf_add(vf_max(vf_set(0.0f), x), log_of_more(vf_exp_of_negative(x))); }
VECTOR vf vf_log_sigmoid(vf x) { return vf_sub(vf_min(vf_set(0.0f), x), log_of_more(vf_exp_of_negative(x))); }

/* x tanh(log(1 + e^x)) = x ((1 + e^x)^2 - 1) / ((1 + e^x)^2 + 1), by e^-|x| */
VECTOR vf vf_mish(vf x) {
    vf zero = vf_set(0.0f), one = vf_set(1.0f), two = vf_set(2.0f), e = vf_exp_of_negative(x);
    vf right = vf_fma(two, e, one), left = vf_mul(e, vf_add(e, two));
    vf num = vf_where_greater(x, zero, right, left);
    vf den = vf_where_greater(x, zero, vf_fma(vf_mul(two, e), e, right), vf_add(left, two));
    return vf_mul(x, vf_div(num, den));
}

/* scale a^2 for 0 <= a <= 20 as a sum, and what that lost: the square of a less its last bits is exact. */
VECTOR vf square_of(vf a, float scale, vf *lost) {
    vf magic = vf_set(0x1.8p16f), high = vf_sub(vf_add(a, magic), magic);
    vf first = vf_mul(vf_set(scale), vf_mul(high, high));
    vf rest = vf_mul(vf_set(scale), vf_mul(vf_sub(a, high), vf_add(a, high))), sum = vf_add(first, rest);
    *lost = vf_sub(rest, vf_sub(sum, first));
    return sum;
}

/* 1 - erf(root) = e^(-root^2) t R(t) with t = 1 / (1 + root / 2); root^2 = scale a^2. The polynomial was
 * fitted for 0 <= root <= 10.5: relative error 4e-9. */
VECTOR vf complement(vf root, vf a, float scale) {
    vf one = vf_set(1.0f), t = vf_div(one, vf_fma(root, vf_set(0.5f), one));
    vf q = vf_fma(t, vf_set(0x1.2983f4p-5f), vf_set(-0x1.8debc4p-3f));
    q = vf_fma(q, t, vf_set(0x1.8f4140p-2f));
    q = vf_fma(q, t, vf_set(-0x1.358670p-2f));
    q = vf_fma(q, t, vf_set(-0x1.445fb0p-7f));
    q = vf_fma(q, t, vf_set(0x1.c777eep-6f));
    q = vf_fma(q, t, vf_set(0x1.dbdf38p-5f));
    q = vf_fma(q, t, vf_set(0x1.7a4452p-3f));
    q = vf_fma(q, t, vf_set(0x1.f672acp-3f));
    q = vf_fma(q, t, vf_set(0x1.2102b0p-2f));
    q = vf_fma(q, t, vf_set(0x1.20dbfcp-2f));
    vf lost, e = vf_exp_of_negative(square_of(a, scale, &lost));
    return vf_mul(vf_mul(e, vf_sub(one, lost)), vf_mul(t, q)); /* lost e alone could be denormal */
}

/* erf a for 0 <= a <= 1, s = a^2: a Q(s), fitted to 2e-9 of itself. */
VECTOR vf erf_near(vf a, vf s) {
    vf q = vf_fma(s, vf_set(0x1.496a28p-14f), vf_set(-0x1.a3f6fcp-11f));
    q = vf_fma(q, s, vf_set(0x1.5405b2p-8f));
    q = vf_fma(q, s, vf_set(-0x1.b7f90cp-6f));
    q = vf_fma(q, s, vf_set(0x1.ce2cf8p-4f));
    q = vf_fma(q, s, vf_set(-0x1.81273ep-2f));
    q = vf_fma(q, s, vf_set(0x1.20dd74p+0f));
    return vf_mul(a, q);
}

/* Odd to the bit. */
VECTOR vf vf_erf(vf x) {
    vf one = vf_set(1.0f), a = vf_min(vf_set(10.0f), vf_abs(x)), s = vf_mul(a, a);
    vf far = vf_sub(one, complement(a, a, 1.0f));
    return vf_copysign(vf_where_greater(a, one, far, erf_near(a, s)), x);
}

/* x P(X <= x) of a standard normal X: (1 + erf(x / sqrt 2)) / 2 near 0; further off the smaller of P and 1 -
 * P is complement(|x| / sqrt 2) / 2. */
VECTOR vf vf_gelu(vf x) {
    vf zero = vf_set(0.0f), one = vf_set(1.0f), a = vf_min(vf_set(20.0f), vf_abs(x));
    vf root = vf_mul(a, vf_set(0.70710678f));
    vf tail = vf_mul(vf_mul(vf_set(0.5f), x), complement(root, a, 0.5f));
    vf signed_erf = vf_copysign(erf_near(root, vf_mul(root, root)), x);
    vf near = vf_mul(vf_mul(vf_set(0.5f), x), vf_add(one, signed_erf));
    return vf_where_greater(a, one, vf_where_greater(x, zero, vf_sub(x, tail), tail), near);
}

/* ---- sin and cos ---- */

/* From here on n pi / 2 in four parts loses digits. */
#define LARGEST_ANGLE 1024.0f

/* |angle| >= LARGEST_ANGLE less the nearest multiple n of pi / 2; *n modulo 4. Of the bits of 2 / pi those
 * are multiplied that make a difference: the ones before give whole turns, the ones after nothing. */
static float rest_of_large(float angle, float *n) {
    static const uint32_t two_over_pi[] = {0,           0xa2f9836eu, 0x4e441529u, 0xfc2757d1u,
                                           0xf534ddc0u, 0xdb629599u, 0x3c439041u, 0xfe5163abu};
    uint32_t bits;
    memcpy(&bits, &angle, sizeof bits);
    if (!(fabsf(angle) <= FLT_MAX)) {
        *n = 0;
        return angle - angle;
    }
    uint64_t mantissa = (bits & 0x7fffffu) | 0x800000u;
    uint32_t skip = (bits >> 23 & 0xffu) - 120, word = skip / 32, shift = skip % 32, part[3];
    for (uint32_t i = 0; i < 3; i++) {
        uint64_t both = (uint64_t)two_over_pi[word + i] << 32 | two_over_pi[word + i + 1];
        part[i] = (uint32_t)(both << shift >> 32);
    }
    uint64_t turn = (mantissa * part[0] << 32) + mantissa * part[1] + (mantissa * part[2] >> 32);
    uint64_t quarters = (turn + ((uint64_t)1 << 61)) >> 62;
    int64_t rest = (int64_t)(turn - (quarters << 62));
    double r = (double)rest * (1.5707963267948966 / 4611686018427387904.0);
    *n = (float)(quarters & 3);
    if (!(bits >> 31)) return (float)r;
    *n = -*n;
    return (float)-r;
}

/* sin(r + n pi / 2) for |r| <= pi / 4 and a whole n. */
VECTOR vf sin_of_rest(vf r, vf n) {
    vf s = vf_mul(r, r);
    vf sine = vf_fma(s, vf_set(-0x1.9943f2p-13f), vf_set(0x1.11073cp-7f));
    sine = vf_fma(vf_mul(s, r), vf_fma(sine, s, vf_set(-0x1.555546p-3f)), r);
    sine = vf_where_greater(vf_abs(r), vf_set(0.0f), sine, r); /* the sign of a zero stays */
    vf cosine = vf_fma(s, vf_set(0x1.99eb9cp-16f), vf_set(-0x1.6c0c34p-10f));
    cosine = vf_fma(vf_mul(s, s), vf_fma(cosine, s, vf_set(0x1.55554ap-5f)),
                    vf_fma(s, vf_set(-0.5f), vf_set(1.0f)));
    vf magic = vf_set(0x1.8p23f), turns = vf_sub(vf_fma(n, vf_set(0.25f), magic), magic);
    vf q = vf_fma(turns, vf_set(-4.0f), n), zero = vf_set(0.0f); /* -2 .. 2 */
    vf odd = vf_sub(vf_set(0.5f), vf_abs(vf_sub(vf_abs(q), vf_set(1.0f))));
    vf y = vf_where_greater(odd, zero, cosine, sine);
    vf flip = vf_where_greater(q, vf_set(1.5f), vf_set(1.0f),
                               vf_where_greater(vf_set(-0.5f), q, vf_set(1.0f), zero));
    return vf_where_greater(flip, zero, vf_sub(zero, y), y);
}

/* sin(x + quarter pi / 2), n numbers; x and y may be the same. Angles of any size go by a slower way, number
 * by number; which way is taken shows in no bit. */
static void sines(float quarter, size_t n, const float *x, float *y) {
    for (size_t i = 0; i < n; i += LANES) {
        size_t count = n - i < LANES ? n - i : LANES;
        vf a = vf_load_n(x + i, count), magic = vf_set(0x1.8p23f);
        vf k = vf_sub(vf_fma(a, vf_set(0x1.45f306p-1f), magic), magic);
        vf r = vf_fma(k, vf_set(-0x1.9218p+0f),
                      a); /* pi / 2 in parts of 14 bits: what k times one makes is exact */
        r = vf_fma(k, vf_set(-0x1.ed5p-14f), r);
        r = vf_fma(k, vf_set(-0x1.10bp-30f), r);
        r = vf_fma(k, vf_set(-0x1.184698p-44f), r);
        float given[LANES], rests[LANES], quarters[LANES];
        vf_store(given, a);
        bool large = false;
        for (size_t l = 0; l < LANES; l++) large |= !(fabsf(given[l]) < LARGEST_ANGLE);
        if (large) {
            vf_store(rests, r);
            vf_store(quarters, k);
            for (size_t l = 0; l < LANES; l++)
                if (!(fabsf(given[l]) < LARGEST_ANGLE)) rests[l] = rest_of_large(given[l], &quarters[l]);
            r = vf_load(rests);
            k = vf_load(quarters);
        }
        vf_store_n(y + i, sin_of_rest(r, vf_add(k, vf_set(quarter))), count);
    }
}
