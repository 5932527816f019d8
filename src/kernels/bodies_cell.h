/* What follows a cell's products. Gates lie side by side, `units` each; lanes lie across units. */

VECTOR vf load_some(const float *p, size_t n) { return n >= LANES ? vf_load(p) : vf_load_n(p, n); }
VECTOR void store_some(float *p, vf a, size_t n) {
    if (n >= LANES) vf_store(p, a);
    else vf_store_n(p, a, n);
}

/* c = f c + i g, h = o tanh(c) */
static void lstm(size_t units, size_t rows, const float *restrict gates, size_t gates_stride,
                 float *restrict c, float *restrict h, size_t h_stride) {
    for (size_t r = 0; r < rows; r++, gates += gates_stride, c += units, h += h_stride)
        for (size_t u = 0; u < units; u += LANES) {
            size_t n = units - u;
            ratio i = sigmoid_ratio(load_some(gates + u, n)),
                  g = tanh_ratio(load_some(gates + 2 * units + u, n));
            vf f = vf_sigmoid(load_some(gates + units + u, n));
            ratio o = sigmoid_ratio(load_some(gates + 3 * units + u, n));
            vf cell = vf_fma(f, load_some(c + u, n), product_of(i, g));
            store_some(c + u, cell, n);
            store_some(h + u, product_of(o, tanh_ratio(cell)), n);
        }
}

/* z = s(pz + qz), r = s(pr + qr), n = tanh(pn + r qn), h' = n + z (h - n) */
static void gru(size_t units, size_t rows, const float *restrict p, size_t p_stride, const float *restrict q,
                size_t q_stride, const float *restrict h, size_t h_stride, float *restrict h_new,
                size_t h_new_stride) {
    for (size_t row = 0; row < rows;
         row++, p += p_stride, q += q_stride, h += h_stride, h_new += h_new_stride)
        for (size_t u = 0; u < units; u += LANES) {
            size_t count = units - u;
            vf z = vf_sigmoid(vf_add(load_some(p + u, count), load_some(q + u, count)));
            vf r = vf_sigmoid(vf_add(load_some(p + units + u, count), load_some(q + units + u, count)));
            vf n =
                vf_tanh(vf_fma(r, load_some(q + 2 * units + u, count), load_some(p + 2 * units + u, count)));
            store_some(h_new + u, vf_fma(z, vf_sub(load_some(h + u, count), n), n), count);
        }
}

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
