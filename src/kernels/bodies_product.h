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

/* What a product reads of its rows: see struct rnnrt_product. `room`: how many terms the first segment takes.
 */
struct input {
    const struct rnnrt_piece *pieces;
    size_t count, depth, room;
    bool joined;
};

/* What rows x vectors outputs start from, and where they go; `last`: how many lanes of the last vector exist.
 */
VECTOR void tile_start(const int rows, const int vectors, const float *start, size_t start_stride,
                       size_t last, vf total[][8]) {
    UNROLL_FOR(int r = 0; r < rows; r++)
        UNROLL_FOR(int v = 0; v < vectors; v++) {
            const float *place = start + (size_t)r * start_stride + v * LANES;
            total[r][v] = !start                             ? vf_set(0.0f)
                          : v == vectors - 1 && last < LANES ? vf_load_n(place, last)
                                                             : vf_load(place);
        }
}
VECTOR void tile_end(const int rows, const int vectors, float *y, size_t y_stride, size_t last,
                     vf total[][8]) {
    UNROLL_FOR(int r = 0; r < rows; r++)
        UNROLL_FOR(int v = 0; v < vectors; v++) {
            float *place = y + (size_t)r * y_stride + v * LANES;
            if (v == vectors - 1 && last < LANES) vf_store_n(place, total[r][v], last);
            else vf_store(place, total[r][v]);
        }
}
VECTOR void tile_clear(const int rows, const int vectors, vf sum[][8]) {
    UNROLL_FOR(int r = 0; r < rows; r++)
        UNROLL_FOR(int v = 0; v < vectors; v++) sum[r][v] = vf_set(0.0f);
}
VECTOR void tile_add(const int rows, const int vectors, vf sum[][8], vf total[][8]) {
    UNROLL_FOR(int r = 0; r < rows; r++)
        UNROLL_FOR(int v = 0; v < vectors; v++) total[r][v] = vf_add(total[r][v], sum[r][v]);
}

/* Terms from .. to - 1. Vector v of term k stands at w + (v / 2) * panel + k * PANEL + (v % 2) * LANES. */
VECTOR void tile_terms(const int rows, const int vectors, const float *w, size_t panel, const float *x,
                       size_t x_stride, size_t from, size_t to, vf sum[][8]) {
    for (size_t k = from; k < to; k++) {
        const float *weights = w + k * PANEL;
        if (rows > 1 && rows < vectors) { /* fewer registers where each vector is read once */
            vf value[TILE_ROWS];
            UNROLL_FOR(int r = 0; r < rows; r++) value[r] = vf_set(x[(size_t)r * x_stride + k]);
            UNROLL_FOR(int v = 0; v < vectors; v++) {
                vf weight = vf_load(weights + (size_t)(v / 2) * panel + (size_t)(v % 2) * LANES);
                UNROLL_FOR(int r = 0; r < rows; r++) sum[r][v] = vf_fma(value[r], weight, sum[r][v]);
            }
            continue;
        }
        vf weight[8];
        UNROLL_FOR(int v = 0; v < vectors; v++)
            weight[v] = vf_load(weights + (size_t)(v / 2) * panel + (size_t)(v % 2) * LANES);
        UNROLL_FOR(int r = 0; r < rows; r++) {
            vf value = vf_set(x[(size_t)r * x_stride + k]);
            UNROLL_FOR(int v = 0; v < vectors; v++) sum[r][v] = vf_fma(value, weight[v], sum[r][v]);
        }
    }
}

/* rows x vectors outputs, of the rows from `row` on. Segment totals stay in registers where there are enough
 * of them, so weights stream in without a pause between segments. `start`: what y starts from, the bias
 * (`start_stride` 0), y itself, or NULL for nothing. */
VECTOR void tile(const int rows, const int vectors, const float *w, size_t panel, const struct input *in,
                 size_t row, const float *start, size_t start_stride, float *y, size_t y_stride,
                 size_t last) {
    vf sum[TILE_ROWS][8], total[TILE_ROWS][8];
    tile_start(rows, vectors, start, start_stride, last, total);
    tile_clear(rows, vectors, sum);
    size_t depth = in->depth, room = in->room;
    for (size_t p = 0; p < in->count; p++, w += depth * PANEL) {
        size_t x_stride = in->pieces[p].stride;
        const float *x = in->pieces[p].x + row * x_stride;
        for (size_t from = 0, to; from < depth; from = to) {
            to = depth - from < room ? depth : from + room;
            tile_terms(rows, vectors, w, panel, x, x_stride, from, to, sum);
            room -= to - from;
            if (room && in->joined && p + 1 < in->count) continue; /* the segment goes on in the next piece */
            room = RNNRT_SEGMENT;
            tile_add(rows, vectors, sum, total);
            tile_clear(rows, vectors, sum);
        }
    }
    tile_end(rows, vectors, y, y_stride, last, total);
}

/* One row whose terms stand in one piece: nothing to look up, which a small step feels. */
typedef void wide_tile(const float *w, size_t panel, size_t depth, const float *start, const float *x,
                       float *y, size_t last);
VECTOR void tile_of_one(const int vectors, const float *w, size_t panel, size_t depth, const float *start,
                        const float *x, float *y, size_t last) {
    vf sum[1][8], total[1][8];
    tile_start(1, vectors, start, 0, last, total);
    for (size_t from = 0; from < depth; from += RNNRT_SEGMENT) {
        tile_clear(1, vectors, sum);
        tile_terms(1, vectors, w, panel, x, 0, from,
                   depth - from < RNNRT_SEGMENT ? depth : from + RNNRT_SEGMENT, sum);
        tile_add(1, vectors, sum, total);
    }
    tile_end(1, vectors, y, 0, last, total);
}
#define WIDE_TILE(v)                                                                                     \
    static void wide_##v(const float *w, size_t panel, size_t depth, const float *start, const float *x, \
                         float *y, size_t last) {                                                        \
        tile_of_one(v, w, panel, depth, start, x, y, last);                                              \
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

/* Some eight sums in flight hide the latency of the fma: one row takes up to four panels at a time, two or
 * three rows two, more rows one. */
typedef void tile_of(const float *w, size_t panel, const struct input *in, size_t row, const float *start,
                     size_t start_stride, float *y, size_t y_stride, size_t last);
#define TILE_NAME(r, v) TILE_PASTE(r, v)
#define TILE_PASTE(r, v) tile_##r##x##v
#define TILE(r, v)                                                                                  \
    static void TILE_NAME(r, v)(const float *w, size_t panel, const struct input *in, size_t row,   \
                                const float *start, size_t start_stride, float *y, size_t y_stride, \
                                size_t last) {                                                      \
        tile(r, v, w, panel, in, row, start, start_stride, y, y_stride, last);                      \
    }
#define TILES_OF_TWO(r) \
    TILE(r, 1)          \
    TILE(r, 2)
#define TILES_OF_FOUR(r)       \
    TILES_OF_TWO(r) TILE(r, 3) \
    TILE(r, 4)
#define NAMES_OF_TWO(r) tile_##r##x1, tile_##r##x2
#define NAMES_OF_FOUR(r) NAMES_OF_TWO(r), tile_##r##x3, tile_##r##x4
TILES_OF_FOUR(1)
TILE(1, 5)
TILE(1, 6)
TILE(1, 7)
TILE(1, 8)
TILES_OF_FOUR(2)
TILES_OF_FOUR(3)
TILES_OF_TWO(4)
#if TILE_ROWS > 4
TILES_OF_TWO(5)
TILES_OF_TWO(6)
#endif
#if TILE_ROWS > 6
TILES_OF_TWO(7)
#endif
#if TILE_ROWS > 7
TILES_OF_TWO(8)
#endif
static tile_of *const tiles[TILE_ROWS][8] = {
    {NAMES_OF_FOUR(1), tile_1x5, tile_1x6, tile_1x7, tile_1x8},
    {NAMES_OF_FOUR(2)},
    {NAMES_OF_FOUR(3)},
    {NAMES_OF_TWO(4)},
#if TILE_ROWS > 4
    {NAMES_OF_TWO(5)},
    {NAMES_OF_TWO(6)},
#endif
#if TILE_ROWS > 6
    {NAMES_OF_TWO(7)},
#endif
#if TILE_ROWS > 7
    {NAMES_OF_TWO(8)},
#endif
};
#undef TILE
#undef TILE_NAME
#undef TILE_PASTE
#undef TILES_OF_TWO
#undef TILES_OF_FOUR
#undef NAMES_OF_TWO
#undef NAMES_OF_FOUR

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
    UNROLL_FOR(int half = PARTS / 2; half; half /= 2)
        UNROLL_FOR(int i = 0; i < half; i++) a.part[i] = vf_add(a.part[i], a.part[i + half]);
    return vf_sum(a.part[0]);
}

/* y[r][j] += w[j] . x[r], of rows and outputs that share what they load. */
VECTOR void dots(const int rows, const int outputs, const float *w, size_t w_stride, const float *x,
                 size_t x_stride, size_t n, float *y, size_t y_stride) {
    v16 sum[4][4];
    UNROLL_FOR(int r = 0; r < rows; r++)
        UNROLL_FOR(int j = 0; j < outputs; j++) sum[r][j] = v16_set(0.0f);
    for (size_t k = 0; k < n; k += 16) {
        v16 a[4];
        bool some = n - k < 16;
        UNROLL_FOR(int j = 0; j < outputs; j++) {
            const float *from = w + (size_t)j * w_stride + k;
            a[j] = some ? v16_load_n(from, n - k) : v16_load(from);
        }
        UNROLL_FOR(int r = 0; r < rows; r++) {
            const float *from = x + (size_t)r * x_stride + k;
            v16 b = some ? v16_load_n(from, n - k) : v16_load(from);
            UNROLL_FOR(int j = 0; j < outputs; j++)
                UNROLL_FOR(int i = 0; i < PARTS; i++)
                    sum[r][j].part[i] = vf_fma(a[j].part[i], b.part[i], sum[r][j].part[i]);
        }
    }
    UNROLL_FOR(int r = 0; r < rows; r++)
        UNROLL_FOR(int j = 0; j < outputs; j++) y[(size_t)r * y_stride + (size_t)j] += v16_sum(sum[r][j]);
}

/* Short sums of many rows: LANES rows lie across a vector, for a dot of few terms is mostly the adding up of
 * its lanes. Terms are padded to 4, 8, 16 or 32 with zeros, to more than there are below 16: a lane without a
 * term is +0, and so is then a sum of nothing but -0, which products too small for a float become. */
enum { ACROSS_TERMS = 32 };
typedef float across_terms[ACROSS_TERMS][LANES] __attribute__((aligned(64)));

VECTOR vf across_sum(const int lanes, const bool twice, const float *w, const float (*term)[LANES]) {
    vf sum[16];
    UNROLL_FOR(int k = 0; k < lanes; k++) sum[k] = vf_fma(vf_set(w[k]), vf_load(term[k]), vf_set(0.0f));
    UNROLL_FOR(int k = 0; twice && k < 16; k++)
        sum[k] = vf_fma(vf_set(w[16 + k]), vf_load(term[16 + k]), sum[k]);
    UNROLL_FOR(int half = lanes / 2; half; half /= 2)
        UNROLL_FOR(int i = 0; i < half; i++) sum[i] = vf_add(sum[i], sum[i + half]);
    return sum[0];
}

/* y[r][j] = start[r][j] + w[j] . x[r] of the rows 0 .. rows - 1, a multiple of LANES. `start`: with a stride
 * of 0 the same for every row; NULL: 0. */
static void dots_across(size_t outputs, const float *w, size_t w_stride, const float *x, size_t x_stride,
                        size_t n, size_t rows, const float *start, size_t start_stride, float *y,
                        size_t y_stride) {
    across_terms term;
    float weight[RNNRT_DOT_MAX_OUTPUTS][ACROSS_TERMS], total[LANES];
    memset(term, 0, sizeof term);
    memset(weight, 0, sizeof weight);
    for (size_t j = 0; j < outputs; j++) memcpy(weight[j], w + j * w_stride, n * sizeof *w);
    for (; rows; rows -= LANES, x += LANES * x_stride, y += LANES * y_stride) {
        for (size_t r = 0; r < LANES; r++)
            for (size_t k = 0; k < n; k++) term[k][r] = x[r * x_stride + k];
        for (size_t j = 0; j < outputs; j++) {
            vf sum = n < 4     ? across_sum(4, false, weight[j], term)
                     : n < 8   ? across_sum(8, false, weight[j], term)
                     : n <= 16 ? across_sum(16, false, weight[j], term)
                               : across_sum(16, true, weight[j], term);
            if (!start_stride) { /* one start for all, or none */
                vf_store(total, vf_add(vf_set(start ? start[j] : 0.0f), sum));
                UNROLL_FOR(size_t r = 0; r < LANES; r++) y[r * y_stride + j] = total[r];
                continue;
            }
            vf_store(total, sum);
            UNROLL_FOR(size_t r = 0; r < LANES; r++)
                y[r * y_stride + j] = start[r * start_stride + j] + total[r];
        }
        if (start) start += LANES * start_stride;
    }
}

/* The pieces of a call; `whole`: room for what is one. */
VECTOR struct input input_of(const struct rnnrt_product *call, struct rnnrt_piece *whole) {
    size_t room = RNNRT_SEGMENT - (call->joined ? call->first % RNNRT_SEGMENT : 0);
    if (call->pieces) return (struct input){call->pieces, call->piece_count, call->depth, room, call->joined};
    *whole = (struct rnnrt_piece){call->x, call->x_stride};
    return (struct input){whole, 1, call->depth, room, false};
}

/* The outputs from `column`, the first of a panel, to `end` - 1, however few these are: one row of one piece
 * (a GEMV). */
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

/* The same of any rows, which are shared evenly among as few tiles as hold them. */
static void panels_of_rows(const struct rnnrt_matrix *w, size_t column, size_t end,
                           const struct rnnrt_product *call) {
    struct rnnrt_piece whole;
    struct input in = input_of(call, &whole);
    size_t rows = call->rows, panel = PANEL * w->depth, y_stride = call->y_stride,
           start_stride = call->add ? y_stride : 0,
           most = rows == 1   ? 4 * PANEL
                  : rows <= 3 ? 2 * PANEL
                              : PANEL;
    size_t parts = (rows + TILE_ROWS - 1) / TILE_ROWS, height = rows / parts, taller = rows % parts;
    const float *start = call->add ? call->y : call->bias,
                *weight = (const float *)w->panels + call->first * PANEL + column * w->depth;
    float *y = call->y + column;
    if (start) start += column;
    for (size_t left = end - column, count; left; left -= count) {
        count = rnnrt_smaller(left, most);
        size_t vectors = (count + LANES - 1) / LANES, last = count - (vectors - 1) * LANES, row = 0;
        for (size_t part = 0, high; part < parts; part++, row += high) {
            high = height + (part < taller);
            tiles[high - 1][vectors - 1](weight, panel, &in, row, start ? start + row * start_stride : NULL,
                                         start_stride, y + row * y_stride, y_stride, last);
        }
        weight += count * w->depth, y += count;
        if (start) start += count;
    }
}

static void product_panels(const struct rnnrt_matrix *w, size_t column, size_t end,
                           const struct rnnrt_product *call) {
    if (call->rows == 1 && !call->pieces) panels_of_row(w, column, end, call);
    else if (call->rows) panels_of_rows(w, column, end, call);
}

/* Few outputs: a dot product each. */
static void product_dots(const struct rnnrt_matrix *w, const struct rnnrt_product *call) {
    struct rnnrt_piece whole;
    struct input in = input_of(call, &whole);
    const float *weight = (const float *)w->panels + call->first;
    size_t stride = padded_depth(w), n = in.depth, to = call->y_stride, outputs = w->outputs,
           across = n <= ACROSS_TERMS ? call->rows / LANES * LANES : 0;
    for (size_t r = in.count ? across : 0; r < call->rows && !call->add; r++)
        for (size_t j = 0; j < outputs; j++) call->y[r * to + j] = call->bias ? call->bias[j] : 0.0f;
    for (size_t p = 0; p < in.count; p++, weight += n) {
        size_t from = in.pieces[p].stride;
        bool goes_on = p || call->add;
        if (across)
            dots_across(outputs, weight, stride, in.pieces[p].x, from, n, across,
                        goes_on ? call->y : call->bias, goes_on ? to : 0, call->y, to);
        for (size_t r = across, high = 1; r < call->rows; r += high) {
            const float *x = in.pieces[p].x + r * from;
            float *y = call->y + r * to;
            high = outputs == 1 && call->rows - r >= 4 ? 4 : 1;
            if (high == 4) dots(4, 1, weight, stride, x, from, n, y, to);
            else if (outputs == 1) dots(1, 1, weight, stride, x, from, n, y, to);
            else if (outputs == 2) dots(1, 2, weight, stride, x, from, n, y, to);
            else if (outputs == 3) dots(1, 3, weight, stride, x, from, n, y, to);
            else dots(1, 4, weight, stride, x, from, n, y, to);
        }
    }
}

static void product(const struct rnnrt_matrix *w, const struct rnnrt_product *call) {
    if (w->outputs > RNNRT_DOT_MAX_OUTPUTS) product_panels(w, 0, w->outputs, call);
    else product_dots(w, call);
}
