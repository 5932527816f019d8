/* What follows a cell's products. Gates lie side by side, `units` each; lanes lie across units. */

VECTOR vf load_some(const float *p, size_t n) { return n >= LANES ? vf_load(p) : vf_load_n(p, n); }
VECTOR void store_some(float *p, vf a, size_t n) {
    if (n >= LANES) vf_store(p, a);
    else vf_store_n(p, a, n);
}

/* One call of `lanes` for every whole vector of units, and one for the rest: where n is LANES no load or
 * store asks how much there is. */
#define OVER_UNITS(lanes, ...)                                            \
    do {                                                                  \
        size_t u = 0;                                                     \
        for (; u + LANES <= units; u += LANES) lanes(LANES, __VA_ARGS__); \
        if (u < units) lanes(units - u, __VA_ARGS__);                     \
    } while (0)

/* c = f c + i g, h = o tanh(c) */
VECTOR void lstm_lanes(size_t n, size_t units, const float *gates, float *c, float *h) {
    ratio i = sigmoid_ratio(load_some(gates, n)), g = tanh_ratio(load_some(gates + 2 * units, n));
    vf f = vf_sigmoid(load_some(gates + units, n));
    ratio o = sigmoid_ratio(load_some(gates + 3 * units, n));
    vf cell = vf_fma(f, load_some(c, n), product_of(i, g));
    store_some(c, cell, n);
    store_some(h, product_of(o, tanh_ratio(cell)), n);
}
static void lstm(size_t units, size_t rows, const float *restrict gates, size_t gates_stride,
                 float *restrict c, size_t c_stride, float *restrict h, size_t h_stride) {
    for (size_t r = 0; r < rows; r++, gates += gates_stride, c += c_stride, h += h_stride)
        OVER_UNITS(lstm_lanes, units, gates + u, c + u, h + u);
}

/* z = s(pz + qz), r = s(pr + qr), n = tanh(pn + r qn), h' = n + z (h - n) */
VECTOR void gru_lanes(size_t n, size_t units, const float *p, const float *q, const float *h, float *h_new) {
    vf z = vf_sigmoid(vf_add(load_some(p, n), load_some(q, n))),
       r = vf_sigmoid(vf_add(load_some(p + units, n), load_some(q + units, n))),
       candidate = vf_tanh(vf_fma(r, load_some(q + 2 * units, n), load_some(p + 2 * units, n)));
    store_some(h_new, vf_fma(z, vf_sub(load_some(h, n), candidate), candidate), n);
}
static void gru(size_t units, size_t rows, const float *restrict p, size_t p_stride, const float *restrict q,
                size_t q_stride, const float *restrict h, size_t h_stride, float *restrict h_new,
                size_t h_new_stride) {
    for (size_t row = 0; row < rows;
         row++, p += p_stride, q += q_stride, h += h_stride, h_new += h_new_stride)
        OVER_UNITS(gru_lanes, units, p + u, q + u, h + u, h_new + u);
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
