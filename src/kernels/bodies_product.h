/* Matrix products. Weights are packed in panels two vectors wide, term after term, zero-padded: a panel is
 * (terms, 2 * LANES). Up to RNNRT_FEW outputs are kept as rows, padded to 16 terms. */

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
            size_t place =
                outputs <= RNNRT_FEW ? row * padded + k : (row / PANEL * terms + k) * PANEL + row % PANEL;
            packed[place] = weight[row * terms + k];
        }
}

/* rows x vectors outputs over all terms. Vector v of term k stands at w + (v / 2) * panel + k * PANEL + (v %
 * 2) * LANES. Segment totals stay in registers where there are enough of them, so weights stream in without a
 * pause between segments. `start`: what y starts from, the bias (`start_stride` 0), y itself, or NULL for
 * nothing. `last`: how many lanes of the last vector exist. */
VECTOR void tile(const int rows, const int vectors, const float *w, size_t panel, size_t terms,
                 const float *start, size_t start_stride, const float *x, size_t x_stride, float *y,
                 size_t y_stride, size_t last) {
    vf sum[TILE_ROWS][8], total[TILE_ROWS][8];
    UNROLL_FOR(int r = 0; r < rows; r++)
        UNROLL_FOR(int v = 0; v < vectors; v++) {
            const float *place = start + (size_t)r * start_stride + v * LANES;
            total[r][v] = !start                             ? vf_set(0.0f)
                          : v == vectors - 1 && last < LANES ? vf_load_n(place, last)
                                                             : vf_load(place);
        }
    for (size_t from = 0; from < terms; from += RNNRT_SEGMENT) {
        size_t to = terms - from < RNNRT_SEGMENT ? terms : from + RNNRT_SEGMENT;
        UNROLL_FOR(int r = 0; r < rows; r++)
            UNROLL_FOR(int v = 0; v < vectors; v++) sum[r][v] = vf_set(0.0f);
        for (size_t k = from; k < to; k++) {
            vf weight[8];
            UNROLL_FOR(int v = 0; v < vectors; v++)
                weight[v] = vf_load(w + (size_t)(v / 2) * panel + k * PANEL + (size_t)(v % 2) * LANES);
            UNROLL_FOR(int r = 0; r < rows; r++) {
                vf value = vf_set(x[(size_t)r * x_stride + k]);
                UNROLL_FOR(int v = 0; v < vectors; v++) sum[r][v] = vf_fma(value, weight[v], sum[r][v]);
            }
        }
        UNROLL_FOR(int r = 0; r < rows; r++)
            UNROLL_FOR(int v = 0; v < vectors; v++) total[r][v] = vf_add(total[r][v], sum[r][v]);
    }
    UNROLL_FOR(int r = 0; r < rows; r++)
        UNROLL_FOR(int v = 0; v < vectors; v++) {
            float *place = y + (size_t)r * y_stride + v * LANES;
            if (v == vectors - 1 && last < LANES) vf_store_n(place, total[r][v], last);
            else vf_store(place, total[r][v]);
        }
}

typedef void tile_function(const float *w, size_t panel, size_t terms, const float *start,
                           size_t start_stride, const float *x, size_t x_stride, float *y, size_t y_stride,
                           size_t last);

#define TALL_TILE(r, v) TALL_PASTE(r, v)
#define TALL_PASTE(r, v) tile_##r##x##v
#define TILE(r, v)                                                                              \
    static void TALL_TILE(r, v)(const float *w, size_t panel, size_t terms, const float *start, \
                                size_t start_stride, const float *x, size_t x_stride, float *y, \
                                size_t y_stride, size_t last) {                                 \
        tile(r, v, w, panel, terms, start, start_stride, x, x_stride, y, y_stride, last);       \
    }
/* One row against up to four panels: eight sums in flight hide the latency of the fma. */
TILE(1, 1)
TILE(1, 2)
TILE(1, 3)
TILE(1, 4)
TILE(1, 5)
TILE(1, 6)
TILE(1, 7)
TILE(1, 8)
static tile_function *const wide_tiles[] = {tile_1x1, tile_1x2, tile_1x3, tile_1x4,
                                            tile_1x5, tile_1x6, tile_1x7, tile_1x8};
/* Many rows against one panel: the tallest tile that fits runs first. */
TILE(2, 1)
TILE(2, 2)
TILE(4, 1)
TILE(4, 2)
#if TILE_ROWS > 4
TILE(TILE_ROWS, 1)
TILE(TILE_ROWS, 2)
#endif
static const struct {
    size_t rows;
    tile_function *run[2];
} tall_tiles[] = {
#if TILE_ROWS > 4
    {TILE_ROWS, {TALL_TILE(TILE_ROWS, 1), TALL_TILE(TILE_ROWS, 2)}},
#endif
    {4, {tile_4x1, tile_4x2}},
    {2, {tile_2x1, tile_2x2}},
    {1, {tile_1x1, tile_1x2}},
};
#undef TILE

/* Sixteen virtual lanes as whatever vectors there are. */
#define PARTS (16 / LANES)
typedef struct {
    vf part[PARTS];
} v16;

VECTOR v16 v16_set(float a) {
    v16 r;
    UNROLL_FOR(int i = 0; i < PARTS; i++) r.part[i] = vf_set(a);
    return r;
}
VECTOR v16 v16_load(const float *p) {
    v16 r;
    UNROLL_FOR(int i = 0; i < PARTS; i++) r.part[i] = vf_load(p + i * LANES);
    return r;
}
VECTOR v16 v16_load_n(const float *p, size_t n) {
    v16 r;
    UNROLL_FOR(int i = 0; i < PARTS; i++) {
        size_t start = (size_t)i * LANES;
        r.part[i] = n >= start + LANES ? vf_load(p + start)
                    : n > start        ? vf_load_n(p + start, n - start)
                                       : vf_set(0.0f);
    }
    return r;
}
/* The sum over the lanes: lane i with lane i + 8, then + 4, + 2, + 1. */
VECTOR float v16_sum(v16 a) {
    float s[16];
    UNROLL_FOR(int i = 0; i < PARTS; i++) vf_store(s + i * LANES, a.part[i]);
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half; i++) s[i] += s[i + half];
    return s[0];
}

static float dot(const float *w, const float *x, size_t n) {
    v16 sum = v16_set(0.0f);
    size_t k = 0;
    for (; k + 16 <= n; k += 16) {
        v16 a = v16_load(w + k), b = v16_load(x + k);
        UNROLL_FOR(int i = 0; i < PARTS; i++) sum.part[i] = vf_fma(a.part[i], b.part[i], sum.part[i]);
    }
    if (k < n) {
        v16 a = v16_load(w + k), b = v16_load_n(x + k, n - k);
        UNROLL_FOR(int i = 0; i < PARTS; i++) sum.part[i] = vf_fma(a.part[i], b.part[i], sum.part[i]);
    }
    return v16_sum(sum);
}

/* Products of panels, however few outputs are left of them. */
static void product_panels(const float *packed, size_t outputs, size_t terms, const float *bias, bool add,
                           const float *x, size_t x_stride, size_t rows, float *y, size_t y_stride) {
    size_t panel = PANEL * terms, group = rows == 1 ? 4 : 1, start_stride = add ? y_stride : 0;
    const float *from = add ? y : bias;
    for (size_t column = 0; column < outputs; column += group * PANEL) {
        size_t columns = outputs - column < group * PANEL ? outputs - column : group * PANEL;
        size_t vectors = (columns + LANES - 1) / LANES, last = columns - (vectors - 1) * LANES, r = 0;
        const float *w = packed + column * terms, *start = from ? from + column : NULL;
        if (rows == 1) {
            wide_tiles[vectors - 1](w, panel, terms, start, 0, x, x_stride, y + column, y_stride, last);
            continue;
        }
        for (size_t size = 0; r < rows; size++)
            for (size_t height = tall_tiles[size].rows; rows - r >= height; r += height)
                tall_tiles[size].run[vectors - 1](w, panel, terms, start ? start + r * start_stride : NULL,
                                                  start_stride, x + r * x_stride, x_stride,
                                                  y + r * y_stride + column, y_stride, last);
    }
}

static void product(const float *packed, size_t outputs, size_t terms, const float *bias, bool add,
                    const float *x, size_t x_stride, size_t rows, float *y, size_t y_stride) {
    if (outputs <= RNNRT_FEW) {
        size_t padded = (terms + 15) / 16 * 16;
        for (size_t r = 0; r < rows; r++)
            for (size_t j = 0; j < outputs; j++) {
                float sum = dot(packed + j * padded, x + r * x_stride, terms), *place = y + r * y_stride + j;
                *place = add ? *place + sum : bias ? bias[j] + sum : sum;
            }
        return;
    }
    product_panels(packed, outputs, terms, bias, add, x, x_stride, rows, y, y_stride);
}
