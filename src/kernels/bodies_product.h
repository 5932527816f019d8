/* Matrix products. Weights are packed in panels two vectors wide, term after term, zero-padded: a panel is
 * (depth, 2 * LANES). Up to RNNRT_DOT_MAX_OUTPUTS outputs are kept as rows, padded to 16 terms. */

#define PANEL (2 * LANES)

/* Floats from one kept row to the next. */
VECTOR size_t padded_depth(const struct rnnrt_matrix *w) { return (w->depth + 15) / 16 * 16; }

static size_t packed_bytes(const struct rnnrt_matrix *w) {
    size_t floats = w->outputs <= RNNRT_DOT_MAX_OUTPUTS ? w->outputs * padded_depth(w)
                                                        : (w->outputs + PANEL - 1) / PANEL * PANEL * w->depth;
    return floats * sizeof(float);
}

static void pack(struct rnnrt_matrix *w, const float *restrict weight, void *restrict room) {
    float *packed = room;
    size_t depth = w->depth, padded = padded_depth(w);
    memset(packed, 0, packed_bytes(w));
    for (size_t row = 0; row < w->outputs; row++)
        for (size_t k = 0; k < depth; k++) {
            size_t place = w->outputs <= RNNRT_DOT_MAX_OUTPUTS
                               ? row * padded + k
                               : (row / PANEL * depth + k) * PANEL + row % PANEL;
            packed[place] = weight[row * depth + k];
        }
    w->panels = packed;
}

/* rows x vectors outputs over `depth` terms. Vector v of term k stands at w + (v / 2) * panel + k * PANEL +
 * (v % 2) * LANES. Segment totals stay in registers where there are enough of them, so weights stream in
 * without a pause between segments. `start`: what y starts from, the bias (`start_stride` 0), y itself, or
 * NULL for nothing. `last`: how many lanes of the last vector exist. */
VECTOR void tile(const int rows, const int vectors, const float *w, size_t panel, size_t depth,
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
    for (size_t from = 0; from < depth; from += RNNRT_SEGMENT) {
        size_t to = depth - from < RNNRT_SEGMENT ? depth : from + RNNRT_SEGMENT;
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

/* One row against up to four panels: eight sums in flight hide the latency of the fma. */
typedef void wide_tile(const float *w, size_t panel, size_t depth, const float *start, const float *x,
                       float *y, size_t last);
#define WIDE_TILE(v)                                                                                     \
    static void wide_##v(const float *w, size_t panel, size_t depth, const float *start, const float *x, \
                         float *y, size_t last) {                                                        \
        tile(1, v, w, panel, depth, start, 0, x, 0, y, 0, last);                                         \
    }
WIDE_TILE(1)
WIDE_TILE(2)
WIDE_TILE(3)
WIDE_TILE(4)
WIDE_TILE(5)
WIDE_TILE(6)
WIDE_TILE(7)
WIDE_TILE(8)
#undef WIDE_TILE
static wide_tile *const wide_tiles[] = {wide_1, wide_2, wide_3, wide_4, wide_5, wide_6, wide_7, wide_8};

/* Several rows against one panel: the tallest tile that fits runs first. */
typedef void tall_tile(const float *w, size_t depth, const float *start, size_t start_stride, const float *x,
                       size_t x_stride, float *y, size_t y_stride, size_t last);
#define TALL_NAME(r, v) TALL_PASTE(r, v)
#define TALL_PASTE(r, v) tall_##r##x##v
#define TALL_TILE(r, v)                                                                                    \
    static void TALL_NAME(r, v)(const float *w, size_t depth, const float *start, size_t start_stride,     \
                                const float *x, size_t x_stride, float *y, size_t y_stride, size_t last) { \
        tile(r, v, w, 0, depth, start, start_stride, x, x_stride, y, y_stride, last);                      \
    }
TALL_TILE(2, 1)
TALL_TILE(2, 2)
TALL_TILE(4, 1)
TALL_TILE(4, 2)
#if TILE_ROWS > 4
TALL_TILE(TILE_ROWS, 1)
TALL_TILE(TILE_ROWS, 2)
#endif
static const struct {
    size_t rows;
    tall_tile *run[2];
} tall_tiles[] = {
#if TILE_ROWS > 4
    {TILE_ROWS, {TALL_NAME(TILE_ROWS, 1), TALL_NAME(TILE_ROWS, 2)}},
#endif
    {4, {tall_4x1, tall_4x2}},
    {2, {tall_2x1, tall_2x2}},
};
enum { TALL_TILES = sizeof tall_tiles / sizeof *tall_tiles };
#undef TALL_TILE

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
        v16 a = v16_load_n(w + k, n - k), b = v16_load_n(x + k, n - k);
        UNROLL_FOR(int i = 0; i < PARTS; i++) sum.part[i] = vf_fma(a.part[i], b.part[i], sum.part[i]);
    }
    return v16_sum(sum);
}

/* The outputs from `column`, the first of a panel, to `end` - 1, however few these are: one row (a GEMV). */
static void panels_of_row(const struct rnnrt_matrix *w, size_t column, size_t end,
                          const struct rnnrt_product *call) {
    size_t depth = call->depth, panel = PANEL * w->depth;
    const float *x = call->x, *start = call->add ? call->y : call->bias;
    const float *weight = (const float *)w->panels + call->first * PANEL + column * w->depth;
    float *y = call->y + column;
    if (start) start += column;
    for (size_t left = end - column, count; left; left -= count) {
        count = rnnrt_smaller(left, 4 * PANEL);
        size_t vectors = (count + LANES - 1) / LANES;
        wide_tiles[vectors - 1](weight, panel, depth, start, x, y, count - (vectors - 1) * LANES);
        weight += 4 * panel, y += 4 * PANEL;
        if (start) start += 4 * PANEL;
    }
}

/* The same of several rows. */
static void panels_of_rows(const struct rnnrt_matrix *w, size_t column, size_t end,
                           const struct rnnrt_product *call) {
    size_t depth = call->depth, rows = call->rows, panel = PANEL * w->depth, x_stride = call->x_stride,
           y_stride = call->y_stride, start_stride = call->add ? y_stride : 0;
    const float *panels = (const float *)w->panels + call->first * PANEL, *x = call->x,
                *from = call->add ? call->y : call->bias;
    for (; column < end; column += PANEL) {
        size_t columns = rnnrt_smaller(end - column, PANEL), vectors = (columns + LANES - 1) / LANES,
               last = columns - (vectors - 1) * LANES, r = 0;
        const float *weight = panels + column * w->depth, *start = from ? from + column : NULL;
        float *y = call->y + column;
        for (size_t size = 0; size < TALL_TILES; size++)
            for (size_t height = tall_tiles[size].rows; rows - r >= height; r += height)
                tall_tiles[size].run[vectors - 1](weight, depth, start ? start + r * start_stride : NULL,
                                                  start_stride, x + r * x_stride, x_stride, y + r * y_stride,
                                                  y_stride, last);
        if (r < rows)
            wide_tiles[vectors - 1](weight, panel, depth, start ? start + r * start_stride : NULL,
                                    x + r * x_stride, y + r * y_stride, last);
    }
}

static void product_panels(const struct rnnrt_matrix *w, size_t column, size_t end,
                           const struct rnnrt_product *call) {
    if (call->rows == 1) panels_of_row(w, column, end, call);
    else panels_of_rows(w, column, end, call);
}

static void product(const struct rnnrt_matrix *w, const struct rnnrt_product *call) {
    size_t outputs = w->outputs;
    if (outputs > RNNRT_DOT_MAX_OUTPUTS) {
        product_panels(w, 0, outputs, call);
        return;
    }
    const float *weight = (const float *)w->panels + call->first;
    for (size_t r = 0; r < call->rows; r++)
        for (size_t j = 0; j < outputs; j++) {
            float sum = dot(weight + j * padded_depth(w), call->x + r * call->x_stride, call->depth),
                  *y = call->y + r * call->y_stride + j;
            *y = call->add ? *y + sum : call->bias ? call->bias[j] + sum : sum;
        }
}
