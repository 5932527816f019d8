/* Matrix products. Weights are packed in panels two vectors wide, term after term, zero-padded: a panel is (terms, 2 * LANES). Up to
 * RNNRT_FEW outputs are kept as rows, padded to 16 terms. */

#define PANEL (2 * LANES)

static size_t packed_size(size_t outputs, size_t terms) {
    if (outputs <= RNNRT_FEW) return outputs * ((terms + 15) / 16 * 16);
    return (outputs + PANEL - 1) / PANEL * PANEL * terms;
}

static void pack(float *packed, const float *weight, size_t outputs, size_t terms) {
    memset(packed, 0, packed_size(outputs, terms) * sizeof *packed);
    size_t padded = (terms + 15) / 16 * 16;
    for (size_t row = 0; row < outputs; row++)
        for (size_t k = 0; k < terms; k++) {
            size_t place = outputs <= RNNRT_FEW ? row * padded + k : (row / PANEL * terms + k) * PANEL + row % PANEL;
            packed[place] = weight[row * terms + k];
        }
}

/* rows x vectors outputs for the terms of one segment. Vector v of term k stands at w + (v / 2) * panel + k * PANEL + (v % 2) * LANES.
 * `first`: y starts from the bias (or nothing, or itself when adding); otherwise the segment's total is added to y.
 * `last`: how many lanes of the last vector exist. */
VECTOR void tile(const int rows, const int vectors, const float *w, size_t panel, size_t terms, const float *bias,
                 bool first, bool add, const float *x, size_t x_stride, float *y, size_t y_stride, size_t last) {
    vf sum[TILE_ROWS][8];
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int v = 0; v < vectors; v++) sum[r][v] = vf_set(0.0f);
    for (size_t k = 0; k < terms; k++) {
        vf weight[8];
        UNROLL for (int v = 0; v < vectors; v++) weight[v] = vf_load(w + (size_t)(v / 2) * panel + k * PANEL + (size_t)(v % 2) * LANES);
        UNROLL for (int r = 0; r < rows; r++) {
            vf value = vf_set(x[(size_t)r * x_stride + k]);
            UNROLL for (int v = 0; v < vectors; v++) sum[r][v] = vf_fma(value, weight[v], sum[r][v]);
        }
    }
    bool from_y = add || !first, from_bias = !from_y && bias;
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int v = 0; v < vectors; v++) {
            float *place = y + (size_t)r * y_stride + (size_t)v * LANES;
            const float *start = from_y ? place : bias + v * LANES;
            if (v == vectors - 1 && last < LANES) {
                vf total = from_y || from_bias ? vf_add(vf_load_n(start, last), sum[r][v]) : vf_add(vf_set(0.0f), sum[r][v]);
                vf_store_n(place, total, last);
            } else {
                vf total = from_y || from_bias ? vf_add(vf_load(start), sum[r][v]) : vf_add(vf_set(0.0f), sum[r][v]);
                vf_store(place, total);
            }
        }
}

typedef void tile_function(const float *w, size_t panel, size_t terms, const float *bias, bool first, bool add, const float *x,
                           size_t x_stride, float *y, size_t y_stride, size_t last);

#define TILE(r, v) static void tile_##r##x##v(const float *w, size_t panel, size_t terms, const float *bias, bool first, bool add,     \
                                              const float *x, size_t x_stride, float *y, size_t y_stride, size_t last) {               \
        tile(r, v, w, panel, terms, bias, first, add, x, x_stride, y, y_stride, last);                                                 \
    }
TILE(1, 1) TILE(1, 2)
/* Many rows share one panel in the L1 cache: the tallest tile that fits runs first. */
TILE(2, 1) TILE(2, 2) TILE(4, 1) TILE(4, 2)
#if TILE_ROWS == 6
TILE(6, 1) TILE(6, 2)
#elif TILE_ROWS == 14
TILE(8, 1) TILE(8, 2) TILE(14, 1) TILE(14, 2)
#endif
static const struct { size_t rows; tile_function *run[2]; } tall_tiles[] = {
#if TILE_ROWS == 14
    {14, {tile_14x1, tile_14x2}}, {8, {tile_8x1, tile_8x2}},
#elif TILE_ROWS == 6
    {6, {tile_6x1, tile_6x2}},
#endif
    {4, {tile_4x1, tile_4x2}}, {2, {tile_2x1, tile_2x2}}, {1, {tile_1x1, tile_1x2}},
};
#undef TILE

/* One row against up to four panels, all segments in one go: eight sums in flight hide the latency of the fma, and weights stream in without
 * a pause (at 128 terms a pause at every segment cost 5 %). The same sums in the same order as `tile`. */
VECTOR void wide(const int vectors, const float *w, size_t panel, size_t terms, const float *bias, bool add, const float *x, float *y, size_t last) {
    vf sum[8], total[8];
    const float *start = add ? y : bias;
    UNROLL for (int v = 0; v < vectors; v++)
        total[v] = !start ? vf_set(0.0f) : v == vectors - 1 && last < LANES ? vf_load_n(start + v * LANES, last) : vf_load(start + v * LANES);
    for (size_t from = 0; from < terms; from += RNNRT_SEGMENT) {
        size_t to = terms - from < RNNRT_SEGMENT ? terms : from + RNNRT_SEGMENT;
        UNROLL for (int v = 0; v < vectors; v++) sum[v] = vf_set(0.0f);
        for (size_t k = from; k < to; k++) {
            vf value = vf_set(x[k]);
            UNROLL for (int v = 0; v < vectors; v++)
                sum[v] = vf_fma(value, vf_load(w + (size_t)(v / 2) * panel + k * PANEL + (size_t)(v % 2) * LANES), sum[v]);
        }
        UNROLL for (int v = 0; v < vectors; v++) total[v] = vf_add(total[v], sum[v]);
    }
    UNROLL for (int v = 0; v < vectors; v++)
        if (v == vectors - 1 && last < LANES) vf_store_n(y + v * LANES, total[v], last);
        else vf_store(y + v * LANES, total[v]);
}

typedef void wide_function(const float *w, size_t panel, size_t terms, const float *bias, bool add, const float *x, float *y, size_t last);

#define WIDE(v) static void wide_##v(const float *w, size_t panel, size_t terms, const float *bias, bool add, const float *x, float *y,   \
                                     size_t last) { wide(v, w, panel, terms, bias, add, x, y, last); }
WIDE(1) WIDE(2) WIDE(3) WIDE(4) WIDE(5) WIDE(6) WIDE(7) WIDE(8)
#undef WIDE
static wide_function *const wide_tiles[] = {wide_1, wide_2, wide_3, wide_4, wide_5, wide_6, wide_7, wide_8};

/* Sixteen virtual lanes as whatever vectors there are. */
#define PARTS (16 / LANES)
typedef struct { vf part[PARTS]; } v16;

VECTOR v16 v16_set(float a) {
    v16 r;
    UNROLL for (int i = 0; i < PARTS; i++) r.part[i] = vf_set(a);
    return r;
}
VECTOR v16 v16_load(const float *p) {
    v16 r;
    UNROLL for (int i = 0; i < PARTS; i++) r.part[i] = vf_load(p + i * LANES);
    return r;
}
VECTOR v16 v16_load_n(const float *p, size_t n) {
    v16 r;
    UNROLL for (int i = 0; i < PARTS; i++) {
        size_t start = (size_t)i * LANES;
        r.part[i] = n >= start + LANES ? vf_load(p + start) : n > start ? vf_load_n(p + start, n - start) : vf_set(0.0f);
    }
    return r;
}
/* The sum over the lanes: lane i with lane i + 8, then + 4, + 2, + 1. */
VECTOR float v16_sum(v16 a) {
    float s[16];
    UNROLL for (int i = 0; i < PARTS; i++) vf_store(s + i * LANES, a.part[i]);
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half; i++) s[i] += s[i + half];
    return s[0];
}

static float dot(const float *w, const float *x, size_t n) {
    v16 sum = v16_set(0.0f);
    size_t k = 0;
    for (; k + 16 <= n; k += 16) {
        v16 a = v16_load(w + k), b = v16_load(x + k);
        UNROLL for (int i = 0; i < PARTS; i++) sum.part[i] = vf_fma(a.part[i], b.part[i], sum.part[i]);
    }
    if (k < n) {
        v16 a = v16_load(w + k), b = v16_load_n(x + k, n - k);
        UNROLL for (int i = 0; i < PARTS; i++) sum.part[i] = vf_fma(a.part[i], b.part[i], sum.part[i]);
    }
    return v16_sum(sum);
}

static void product(const float *packed, size_t outputs, size_t terms, const float *bias, bool add, const float *x, size_t x_stride,
                    size_t rows, float *y, size_t y_stride) {
    if (outputs <= RNNRT_FEW) {
        size_t padded = (terms + 15) / 16 * 16;
        for (size_t r = 0; r < rows; r++)
            for (size_t j = 0; j < outputs; j++) {
                float sum = dot(packed + j * padded, x + r * x_stride, terms), *place = y + r * y_stride + j;
                *place = add ? *place + sum : bias ? bias[j] + sum : sum;
            }
        return;
    }
    size_t panel = PANEL * terms, group = rows == 1 ? 4 : 1;
    for (size_t column = 0; column < outputs; column += group * PANEL) {
        size_t columns = outputs - column < group * PANEL ? outputs - column : group * PANEL;
        size_t vectors = (columns + LANES - 1) / LANES, last = columns - (vectors - 1) * LANES;
        const float *w = packed + column * terms, *b = bias ? bias + column : NULL;
        if (rows == 1) {
            wide_tiles[vectors - 1](w, panel, terms, b, add, x, y + column, last);
            continue;
        }
        for (size_t start = 0; start < terms; start += RNNRT_SEGMENT) { /* a segment of the panel stays in the L1 cache for all rows */
            size_t length = terms - start < RNNRT_SEGMENT ? terms - start : RNNRT_SEGMENT, r = 0;
            for (size_t size = 0; r < rows; size++)
                for (size_t height = tall_tiles[size].rows; rows - r >= height; r += height)
                    tall_tiles[size].run[vectors - 1](w + start * PANEL, panel, length, b, start == 0, add, x + r * x_stride + start, x_stride,
                                                      y + r * y_stride + column, y_stride, last);
        }
    }
}
