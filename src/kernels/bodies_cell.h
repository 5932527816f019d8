/* What follows a cell's products. Gates lie side by side, `units` each; lanes lie across units. */

VECTOR vf load_some(const float *p, size_t n) { return n >= LANES ? vf_load(p) : vf_load_n(p, n); }
VECTOR void store_some(float *p, vf a, size_t n) {
    if (n >= LANES) vf_store(p, a);
    else vf_store_n(p, a, n);
}

/* `count` vectors of units, of which the last has `last` lanes. */
VECTOR vectors load_units(const int count, const float *p, size_t last) {
    vectors x;
    EACH x.at[j] = j == count - 1 ? load_some(p + j * LANES, last) : vf_load(p + j * LANES);
    return x;
}
VECTOR void store_units(const int count, float *p, vectors x, size_t last) {
    EACH if (j == count - 1) store_some(p + j * LANES, x.at[j], last);
    else vf_store(p + j * LANES, x.at[j]); }

/* Whole vectors of gates, whatever stands behind the last unit's. */
VECTOR vectors load_gates(const int count, const float *p) {
    vectors x;
    EACH x.at[j] = vf_load(p + j * LANES);
    return x;
}

/* One call of `cell` for every IN_STEP vectors of units, and one for the rest. */
#define OVER_UNITS(cell, ...)                                                                \
    for (size_t u = 0; u < units; u += IN_STEP * LANES) {                                    \
        size_t left = units - u, count = rnnrt_smaller((left + LANES - 1) / LANES, IN_STEP), \
               last = rnnrt_smaller(left - (count - 1) * LANES, LANES);                      \
        if (IN_STEP >= 4 && count == 4) cell(4, last, __VA_ARGS__);                          \
        else if (IN_STEP >= 3 && count == 3) cell(3, last, __VA_ARGS__);                     \
        else if (IN_STEP >= 2 && count == 2) cell(2, last, __VA_ARGS__);                     \
        else cell(1, last, __VA_ARGS__);                                                     \
    }

/* c = f c + i g, h = o tanh(c) */
VECTOR vectors lstm_of(const int count, vectors i, vectors f, vectors g, vectors o, vectors *cell) {
    vectors kept = products_of(count, sigmoid_ratios(count, i), tanh_ratios(count, g)),
            forget = sigmoids(count, f);
    EACH cell->at[j] = vf_fma(forget.at[j], cell->at[j], kept.at[j]);
    return products_of(count, sigmoid_ratios(count, o), tanh_ratios(count, *cell));
}
VECTOR void lstm_units(const int count, size_t last, size_t units, const float *gates, float *c, float *h) {
    vectors cell = load_units(count, c, last),
            made = lstm_of(count, load_gates(count, gates), load_gates(count, gates + units),
                           load_gates(count, gates + 2 * units), load_gates(count, gates + 3 * units), &cell);
    store_units(count, c, cell, last);
    store_units(count, h, made, last);
}
static void lstm(size_t units, size_t rows, const float *restrict gates, size_t gates_stride,
                 float *restrict c, size_t c_stride, float *restrict h, size_t h_stride) {
    for (size_t r = 0; r < rows; r++, gates += gates_stride, c += c_stride, h += h_stride)
        OVER_UNITS(lstm_units, units, gates + u, c + u, h + u);
}

/* z = s(pz + qz), r = s(pr + qr), n = tanh(pn + r qn), h' = n + z (h - n); z and r given as pz + qz, pr + qr.
 */
VECTOR vectors gru_of(const int count, vectors z, vectors r, vectors pn, vectors qn, vectors h) {
    r = sigmoids(count, r);
    EACH pn.at[j] = vf_fma(r.at[j], qn.at[j], pn.at[j]);
    vectors n = tanhs(count, pn);
    z = sigmoids(count, z);
    EACH n.at[j] = vf_fma(z.at[j], vf_sub(h.at[j], n.at[j]), n.at[j]);
    return n;
}
VECTOR vectors sums_of_gates(const int count, const float *p, const float *q) {
    vectors a = load_gates(count, p), b = load_gates(count, q);
    EACH a.at[j] = vf_add(a.at[j], b.at[j]);
    return a;
}
VECTOR void gru_units(const int count, size_t last, size_t units, const float *p, const float *q,
                      const float *h, float *h_new) {
    vectors z = sums_of_gates(count, p, q), r = sums_of_gates(count, p + units, q + units),
            pn = load_gates(count, p + 2 * units), qn = load_gates(count, q + 2 * units);
    store_units(count, h_new, gru_of(count, z, r, pn, qn, load_units(count, h, last)), last);
}
static void gru(size_t units, size_t rows, const float *restrict p, size_t p_stride, const float *restrict q,
                size_t q_stride, const float *restrict h, size_t h_stride, float *restrict h_new,
                size_t h_new_stride) {
    for (size_t row = 0; row < rows;
         row++, p += p_stride, q += q_stride, h += h_stride, h_new += h_new_stride)
        OVER_UNITS(gru_units, units, p + u, q + u, h + u, h_new + u);
}
#undef OVER_UNITS

static void lstm_cells(size_t units, const float *restrict gates, float *restrict c) {
    for (size_t u = 0; u < units; u += LANES) {
        size_t n = units - u;
        vf kept = vf_mul(load_some(gates + u, n), load_some(gates + 2 * units + u, n));
        store_some(c + u, vf_fma(load_some(gates + units + u, n), load_some(c + u, n), kept), n);
    }
}

static void lerp(size_t units, const float *restrict z, const float *restrict n, const float *restrict h,
                 float *restrict h_new) {
    for (size_t u = 0; u < units; u += LANES) {
        size_t count = units - u;
        vf candidate = load_some(n + u, count);
        store_some(h_new + u,
                   vf_fma(load_some(z + u, count), vf_sub(load_some(h + u, count), candidate), candidate),
                   count);
    }
}

static void multiply_add(size_t n, const float *restrict a, const float *restrict b, float *restrict y) {
    for (size_t i = 0; i < n; i += LANES) {
        size_t count = n - i;
        store_some(y + i, vf_fma(load_some(a + i, count), load_some(b + i, count), load_some(y + i, count)),
                   count);
    }
}
