/* Matrix products. Weights are packed in panels two vectors wide, term after term, zero-padded: a panel is
 * (depth, 2 * LANES). Up to RNNRT_DOT_MAX_OUTPUTS outputs are kept as rows, padded to 16 terms. */

#define PANEL (2 * LANES)
/* Rows of the tallest tile. */
enum { MOST_ROWS = TILE_ROWS > 4 ? 12 : 8 };

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

/* What a product reads of its rows: see struct rnnrt_product. `room`: how many terms the first segment takes;
 * `plus`: for the outputs of the tile at work, of row 0; `floor`: what its outputs are at least, 0 or minus
 * infinity; `second`: floats from the first vector of three to the next. */
struct input {
    const struct rnnrt_piece *pieces;
    size_t count, depth, room;
    bool joined;
    const float *plus;
    size_t plus_stride;
    float floor;
    size_t second;
};

#include "bodies_fours.h"

/* Vector v of a row of outputs, of which the last has `last` lanes; `fours`: of FOURS rows, `stride` apart.
 */
VECTOR vf outputs_load(const int vectors, const bool fours, int v, const float *row, size_t stride,
                       size_t last) {
    if (fours) return vf_load_fours(row, stride, last);
    return v == vectors - 1 && last < LANES ? vf_load_n(row + v * LANES, last) : vf_load(row + v * LANES);
}
VECTOR void outputs_store(const int vectors, const bool fours, int v, float *row, size_t stride, size_t last,
                          vf made) {
    if (fours) vf_store_fours(row, stride, made, last);
    else if (v == vectors - 1 && last < LANES) vf_store_n(row + v * LANES, made, last);
    else vf_store(row + v * LANES, made);
}
/* The same of what all rows start from: the bias, or NULL for nothing. */
VECTOR vf outputs_bias(const int vectors, const bool fours, int v, const float *bias, size_t last) {
    if (!bias) return vf_set(0.0f);
    return fours ? vf_repeat_four(bias, last) : outputs_load(vectors, false, v, bias, 0, last);
}

/* What the rows of a tile start from: `start`, each its own, `stride` apart, or where that is 0 the same. */
VECTOR void outputs_begin(const int rows, const int vectors, const bool fours, const float *start,
                          size_t stride, size_t last, vf total[][8]) {
    if (!start || !stride) {
        UNROLL_FOR(int v = 0; v < vectors; v++) {
            vf bias = outputs_bias(vectors, fours, v, start, last);
            UNROLL_FOR(int r = 0; r < rows; r++) total[r][v] = bias;
        }
        return;
    }
    UNROLL_FOR(int r = 0; r < rows; r++) {
        KEEP_WALKING(start);
        UNROLL_FOR(int v = 0; v < vectors; v++)
            total[r][v] = outputs_load(vectors, fours, v, start, stride, last);
        start += fours ? FOURS * stride : stride;
    }
}

/* y = max(floor, plus + (total + sum)). */
VECTOR void outputs_end(const int rows, const int vectors, const bool fours, vf total[][8], vf sum[][8],
                        const float *plus, size_t plus_stride, vf floor, float *y, size_t stride,
                        size_t last) {
    if (plus) { /* the smaller code of a loop of its own is worth it: most products have none */
        UNROLL_FOR(int r = 0; r < rows; r++) {
            KEEP_WALKING(plus);
            UNROLL_FOR(int v = 0; v < vectors; v++) {
                vf more = outputs_load(vectors, fours, v, plus, plus_stride, last);
                sum[r][v] = vf_add(more, vf_add(total[r][v], sum[r][v]));
            }
            plus += fours ? FOURS * plus_stride : plus_stride;
        }
    } else {
        UNROLL_FOR(int r = 0; r < rows; r++)
            UNROLL_FOR(int v = 0; v < vectors; v++) sum[r][v] = vf_add(total[r][v], sum[r][v]);
    }
    UNROLL_FOR(int r = 0; r < rows; r++) {
        KEEP_WALKING(y);
        UNROLL_FOR(int v = 0; v < vectors; v++)
            outputs_store(vectors, fours, v, y, stride, last, vf_max(floor, sum[r][v]));
        y += fours ? FOURS * stride : stride;
    }
}
VECTOR void tile_clear(const int rows, const int vectors, vf sum[][8]) {
    UNROLL_FOR(int r = 0; r < rows; r++)
        UNROLL_FOR(int v = 0; v < vectors; v++) sum[r][v] = vf_set(0.0f);
}

/* Terms from .. to - 1. Vector v of term k stands at w + (v / 2) * panel + k * PANEL + (v % 2) * LANES; but
 * the second one at w + second + k * PANEL, for the first of three may be the last of its panel. */
VECTOR void tile_terms(const int rows, const int vectors, const float *w, size_t panel, size_t second,
                       const float *x, size_t x_stride, size_t from, size_t to, vf sum[][8]) {
    const float *four[MOST_ROWS / 4]; /* the first of every four rows */
    UNROLL_FOR(int r = 0; r < rows; r += 4) four[r / 4] = x + (size_t)r * x_stride + from;
    for (size_t k = from; k < to; k++) {
        const float *weight_at[8], *weights = w + k * PANEL;
        UNROLL_FOR(int v = 0; v < vectors; v++)
            weight_at[v] = weights + (v == 1 ? second : (size_t)(v / 2) * panel + (size_t)(v % 2) * LANES);
        UNROLL_FOR(int r = 0; r < rows; r += 4) KEEP_WALKING(four[r / 4]);
        if (rows > 1 && rows < vectors) { /* fewer registers where each vector is read once */
            vf value[MOST_ROWS];
            UNROLL_FOR(int r = 0; r < rows; r++) value[r] = vf_set(four[r / 4][(size_t)(r % 4) * x_stride]);
            UNROLL_FOR(int v = 0; v < vectors; v++) {
                vf weight = vf_load(weight_at[v]);
                UNROLL_FOR(int r = 0; r < rows; r++) sum[r][v] = vf_fma(value[r], weight, sum[r][v]);
            }
        } else {
            vf weight[8];
            UNROLL_FOR(int v = 0; v < vectors; v++) weight[v] = vf_load(weight_at[v]);
            UNROLL_FOR(int r = 0; r < rows; r++) {
                vf value = vf_set(four[r / 4][(size_t)(r % 4) * x_stride]);
                UNROLL_FOR(int v = 0; v < vectors; v++) sum[r][v] = vf_fma(value, weight[v], sum[r][v]);
            }
        }
        UNROLL_FOR(int r = 0; r < rows; r += 4) four[r / 4]++;
    }
}

/* rows x vectors outputs, of the rows from `row` on; `fours`: of rows * FOURS rows. `start`: what y starts
 * from, the bias (`start_stride` 0), y itself, or NULL for nothing.
 *
 * Where there are not registers for sums and totals, a compiler that tries to keep both reads a weight from
 * memory for each row: totals wait in memory. Of one segment they are never written down. */
#define WAIT_IN_MEMORY(array) __asm__("" : "+m"(array))
VECTOR void tile(const int rows, const int vectors, const bool fours, const float *w, size_t panel,
                 const struct input *in, size_t row, const float *start, size_t start_stride, float *y,
                 size_t y_stride, size_t last) {
    vf sum[MOST_ROWS][8], total[MOST_ROWS][8];
    size_t depth = in->depth, room = in->room, p = 0, from = 0;
    const size_t second = vectors == 3 ? in->second : LANES;
    bool segments = in->joined ? depth * in->count > room : in->count > 1 || depth > room;
    if (segments) outputs_begin(rows, vectors, fours, start, start_stride, last, total);
    else tile_clear(rows, vectors, total);
    tile_clear(rows, vectors, sum);
    for (;;) {
        if (segments && 2 * rows * vectors > REGISTERS - 8) WAIT_IN_MEMORY(total);
        size_t x_stride = in->pieces[p].stride, to = depth - from < room ? depth : from + room;
        const float *x = in->pieces[p].x + row * x_stride;
        if (fours) fours_terms(rows, w, x, x_stride, from, to, sum);
        else tile_terms(rows, vectors, w, panel, second, x, x_stride, from, to, sum);
        room -= to - from;
        from = to;
        if (from == depth) {
            if (++p == in->count) break;
            from = 0, w += depth * PANEL;
            if (room && in->joined) continue; /* the segment goes on in the next piece */
        }
        UNROLL_FOR(int r = 0; r < rows; r++)
            UNROLL_FOR(int v = 0; v < vectors; v++) total[r][v] = vf_add(total[r][v], sum[r][v]);
        tile_clear(rows, vectors, sum);
        room = RNNRT_SEGMENT;
    }
    if (!segments) outputs_begin(rows, vectors, fours, start, start_stride, last, total);
    const float *plus = in->plus ? in->plus + row * in->plus_stride : NULL;
    outputs_end(rows, vectors, fours, total, sum, plus, in->plus_stride, vf_set(in->floor), y, y_stride,
                last);
}

#include "bodies_row.h"

/* Some eight sums in flight hide the latency of the fma. How many rows a tile of so many vectors takes, at
 * most: as many sums as leave registers for what is read, 2 * TILE_ROWS. */
enum { IN_FOURS = 8 }; /* the shape of a tile beside those of 1 to 8 vectors */
typedef void tile_of(const float *w, size_t panel, const struct input *in, size_t row, const float *start,
                     size_t start_stride, float *y, size_t y_stride, size_t last);
#define TILE(r, v)                                                                                 \
    static void tile_##r##x##v(const float *w, size_t panel, const struct input *in, size_t row,   \
                               const float *start, size_t start_stride, float *y, size_t y_stride, \
                               size_t last) {                                                      \
        tile(r, v, false, w, panel, in, row, start, start_stride, y, y_stride, last);              \
    }
#define NAME(r, v) [(r) - 1][(v) - 1] = tile_##r##x##v,
/* clang-format off */
#define TILES(EACH)                                  \
    EACH(1, 1) EACH(2, 1) EACH(3, 1) EACH(4, 1)      \
    EACH(1, 2) EACH(2, 2) EACH(3, 2) EACH(4, 2)      \
    EACH(1, 3) EACH(2, 3) EACH(3, 3)                 \
    EACH(1, 4) EACH(2, 4) EACH(3, 4)                 \
    EACH(1, 5) EACH(1, 6) EACH(1, 7) EACH(1, 8)
#if TILE_ROWS > 4
#define TALLER(EACH)                                 \
    EACH(5, 1) EACH(6, 1) EACH(7, 1) EACH(8, 1)      \
    EACH(9, 1) EACH(10, 1) EACH(11, 1) EACH(12, 1)   \
    EACH(5, 2) EACH(6, 2)                            \
    EACH(4, 3)
#else
#define TALLER(EACH)
#endif
#if TILE_ROWS > 6
#define TALLEST(EACH) EACH(7, 2) EACH(8, 2)
#else
#define TALLEST(EACH)
#endif
#if TILE_ROWS > 8
#define WIDEST(EACH)                                 \
    EACH(9, 2) EACH(10, 2) EACH(11, 2) EACH(12, 2)   \
    EACH(5, 3) EACH(6, 3) EACH(7, 3) EACH(8, 3)      \
    EACH(2, 5) EACH(2, 6) EACH(2, 7) EACH(2, 8)      \
    EACH(3, 5) EACH(3, 6) EACH(3, 7) EACH(3, 8)
enum { MOST_OF_FEW = 8 }; /* vectors of a tile of two or three rows */
static const size_t most_rows[] = {12, TILE_ROWS, 8, 3, 3, 3, 3, 3, MOST_FOURS};
#else
#define WIDEST(EACH)
enum { MOST_OF_FEW = 4 };
static const size_t most_rows[] = {TILE_ROWS > 4 ? 12 : 4, TILE_ROWS, TILE_ROWS > 4 ? 4 : 3, 3, 1, 1, 1, 1, MOST_FOURS};
#endif
/* clang-format on */
#define FOURS_TILE(r)                                                                                        \
    static void fours_##r(const float *w, size_t panel, const struct input *in, size_t row,                  \
                          const float *start, size_t start_stride, float *y, size_t y_stride, size_t last) { \
        tile(r, 1, true, w, panel, in, row, start, start_stride, y, y_stride, last);                         \
    }
FOURS_TILE(4)
FOURS_TILE(5)
FOURS_TILE(6)
FOURS_TILE(7)
FOURS_TILE(8)
#undef FOURS_TILE
/* clang-format off */
TILES(TILE) TALLER(TILE) TALLEST(TILE) WIDEST(TILE)
static tile_of *const tiles[][9] = {
    TILES(NAME) TALLER(NAME) TALLEST(NAME) WIDEST(NAME)
    [3][IN_FOURS] = fours_4, [4][IN_FOURS] = fours_5, [5][IN_FOURS] = fours_6, [6][IN_FOURS] = fours_7,
    [7][IN_FOURS] = fours_8,
};
/* clang-format on */
#undef TILE
#undef NAME
#undef TILES
#undef TALLER
#undef TALLEST
#undef WIDEST

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
 * its lanes. Of 16 virtual lanes those without a term are +0, and so is then a sum of nothing but -0, which
 * products too small for a float become: `terms` of `lanes` are summed, and +0 added once. */
enum { ACROSS_TERMS = 32 };
typedef float across_terms[ACROSS_TERMS][LANES] __attribute__((aligned(64)));

VECTOR vf across_sum(const int lanes, const int terms, const float *w, const float (*term)[LANES]) {
    vf sum[16];
    UNROLL_FOR(int k = 0; k < terms && k < lanes; k++)
        sum[k] = vf_fma(vf_set(w[k]), vf_load(term[k]), vf_set(0.0f));
    UNROLL_FOR(int k = 0; terms > lanes && k < lanes; k++)
        sum[k] = vf_fma(vf_set(w[lanes + k]), vf_load(term[lanes + k]), sum[k]);
    UNROLL_FOR(int half = lanes / 2; half; half /= 2)
        UNROLL_FOR(int i = 0; i < half; i++)
            if (i + half < terms) sum[i] = vf_add(sum[i], sum[i + half]);
    return terms < lanes ? vf_add(sum[0], vf_set(0.0f)) : sum[0];
}

/* y[r][j] = total[j][r] of LANES rows. Where rows lie side by side four numbers are written of each, and what
 * is too much is what the next row writes over. */
VECTOR void lay_across(size_t outputs, const float (*total)[LANES], float *y, size_t y_stride) {
    float row[LANES][4];
    size_t r = 0;
    if (outputs * y_stride == 1) {
        vf_store(y, vf_load(total[0]));
        return;
    }
    turn(total[0], LANES, 4, LANES, row[0], 4);
    for (; y_stride == outputs && r * outputs + 4 <= LANES * outputs; r++)
        memcpy(y + r * outputs, row[r], sizeof row[r]);
    for (; r < LANES; r++)
        for (size_t j = 0; j < outputs; j++) y[r * y_stride + j] = row[r][j];
}

/* y[r][j] = start[r][j] + w[j] . x[r] of the rows 0 .. rows - 1, a multiple of LANES. `start`: with a stride
 * of 0 the same for every row; NULL: 0. */
static void dots_across(size_t outputs, const float *w, size_t w_stride, const float *x, size_t x_stride,
                        size_t n, size_t rows, const float *start, size_t start_stride, float *y,
                        size_t y_stride) {
    across_terms term;
    float weight[RNNRT_DOT_MAX_OUTPUTS][ACROSS_TERMS], total[RNNRT_DOT_MAX_OUTPUTS][LANES];
    memset(term, 0, sizeof term);
    memset(weight, 0, sizeof weight);
    memset(total, 0, sizeof total);
    for (size_t j = 0; j < outputs; j++) memcpy(weight[j], w + j * w_stride, n * sizeof *w);
    for (; rows; rows -= LANES, x += LANES * x_stride, y += LANES * y_stride) {
        for (size_t k = 0; k < n && x_stride == 1; k++) vf_store(term[k], vf_load(x + k));
        if (x_stride != 1) turn(x, x_stride, LANES, n, term[0], LANES);
        for (size_t j = 0; j < outputs; j++) {
            vf sum = n <= 3    ? across_sum(4, 3, weight[j], term)
                     : n <= 6  ? across_sum(8, 6, weight[j], term)
                     : n == 7  ? across_sum(8, 7, weight[j], term)
                     : n <= 9  ? across_sum(16, 9, weight[j], term)
                     : n <= 12 ? across_sum(16, 12, weight[j], term)
                     : n <= 16 ? across_sum(16, 16, weight[j], term)
                               : across_sum(16, 32, weight[j], term);
            if (!start_stride) sum = vf_add(vf_set(start ? start[j] : 0.0f), sum); /* one for all, or none */
            vf_store(total[j], sum);
        }
        if (!start_stride) {
            lay_across(outputs, (const float (*)[LANES])total, y, y_stride);
            continue;
        }
        for (size_t r = 0; r < LANES; r++)
            for (size_t j = 0; j < outputs; j++)
                y[r * y_stride + j] = start[r * start_stride + j] + total[j][r];
        start += LANES * start_stride;
    }
}

/* The pieces of a call; `whole`: room for what is one. */
VECTOR struct input input_of(const struct rnnrt_product *call, struct rnnrt_piece *whole) {
    size_t room = RNNRT_SEGMENT - (call->joined ? call->first % RNNRT_SEGMENT : 0);
    float floor = call->rectified ? 0.0f : -INFINITY;
    struct input in = {whole, 1, call->depth, room, false, NULL, call->plus_stride, floor, LANES};
    *whole = (struct rnnrt_piece){call->x, call->x_stride};
    if (call->pieces) in.pieces = call->pieces, in.count = call->piece_count, in.joined = call->joined;
    return in;
}

/* What a tile does at its end, for outputs that do not pass one. */
static void finish(const struct rnnrt_product *call, size_t column, size_t end) {
    if (!call->rectified && !call->plus) return;
    vf floor = vf_set(call->rectified ? 0.0f : -INFINITY);
    size_t rows = call->rows;
    bool packed = end - column == call->y_stride && (!call->plus || call->plus_stride == call->y_stride);
    if (packed) end = column + rows * call->y_stride, rows = 1; /* one long row: few outputs fill no vector */
    for (size_t r = 0; r < rows; r++)
        for (size_t j = column, n; j < end; j += n) {
            float *y = call->y + r * call->y_stride + j;
            const float *plus = call->plus ? call->plus + r * call->plus_stride + j : NULL;
            n = rnnrt_smaller(end - j, LANES);
            vf made = n == LANES ? vf_load(y) : vf_load_n(y, n);
            if (plus) made = vf_add(n == LANES ? vf_load(plus) : vf_load_n(plus, n), made);
            made = vf_max(floor, made);
            if (n == LANES) vf_store(y, made);
            else vf_store_n(y, made, n);
        }
}

/* Whether four rows of three vectors make better tiles than six of two. Both have twelve sums, but a term
 * takes seven loads in place of eight; and rows that fill the last tile badly cost more: a tile of five rows
 * takes nearly the time of one of six. (Where there are registers for 24 sums neither is felt.) */
VECTOR bool by_threes(size_t rows) {
    return TILE_ROWS == 6 && (rows >= 64 || (rows + 3) / 4 * 4 < (rows + 5) / 6 * 6);
}

/* The vectors of a tile of so many rows, of `left` that are left. `threes`: as by_threes says; pairs come
 * first, so that each is a panel. */
VECTOR size_t vectors_of(size_t rows, size_t left, bool threes) {
    size_t most = rows == 1 ? 8 : rows <= 3 ? MOST_OF_FEW : left == 3 || (threes && left % 3 == 0) ? 3 : 2;
    return rnnrt_smaller(left, most);
}

/* The same of any rows, which are shared evenly among as few tiles as hold them. */
static NOINLINE void panels_of_rows(const struct rnnrt_matrix *w, size_t column, size_t end,
                                    const struct rnnrt_product *call) {
    struct rnnrt_piece whole;
    struct input in = input_of(call, &whole);
    if (!in.count) {
        for (size_t r = 0; r < call->rows && !call->add; r++)
            for (size_t j = column; j < end; j++)
                call->y[r * call->y_stride + j] = call->bias ? call->bias[j] : 0.0f;
        finish(call, column, end);
        return;
    }
    size_t rows = call->rows, panel = PANEL * w->depth, y_stride = call->y_stride,
           start_stride = call->add ? y_stride : 0;
    const float *start = call->add ? call->y : call->bias,
                *weights = (const float *)w->panels + call->first * PANEL + column * w->depth;
    float *y = call->y + column;
    if (start) start += column;
    if (call->plus) in.plus = call->plus + column;
    const bool threes = by_threes(rows);
    for (size_t left = end - column, at = 0, count; left; left -= count) {
        const float *weight = weights + at / 2 * panel + at % 2 * LANES;
        size_t whole_vectors = left / LANES, few = left % LANES, row = 0;
        bool by_fours = few && few <= 4 && rows >= FOURS * LEAST_FOURS;
        size_t vectors = vectors_of(rows, whole_vectors + (few && !(by_fours && whole_vectors)), threes);
        count = rnnrt_smaller(left, vectors * LANES);
        in.second = at % 2 ? panel - LANES : LANES;
        while (row < rows) { /* all of them; or whole fours, and then the rest */
            bool fours = by_fours && !whole_vectors && !row;
            size_t shape = fours ? IN_FOURS : vectors - 1, each = fours ? FOURS : 1, most = most_rows[shape],
                   all = (rows - row) / each, parts = (all + most - 1) / most, height = all / parts,
                   taller = all % parts;
            for (size_t part = 0, high; part < parts; part++, row += high * each) {
                high = height + (part < taller);
                tiles[high - 1][shape](weight, panel, &in, row, start ? start + row * start_stride : NULL,
                                       start_stride, y + row * y_stride, y_stride,
                                       count - (vectors - 1) * LANES);
            }
        }
        at += vectors; /* an odd one is the second of its panel */
        y += count;
        if (start) start += count;
        if (in.plus) in.plus += count;
    }
}

/* Two or three rows wait for the weights as one does. */
static void product_panels(const struct rnnrt_matrix *w, size_t column, size_t end,
                           const struct rnnrt_product *call) {
    if (call->rows == 1 && !call->pieces) {
        panels_of_row(w, column, end, call, NULL, NULL);
        finish(call, column, end);
    } else if (call->rows > 3) panels_of_rows(w, column, end, call);
    else if (call->rows) {
        const size_t most = 4 * PANEL;
        size_t last = column + (end - column - 1) / most * most, at = call->upwards ? column : last,
               to = call->upwards ? last : column, step = call->upwards ? most : -most;
        for (;; at += step) {
            panels_of_rows(w, at, rnnrt_smaller(end, at + most), call);
            if (at == to) break;
        }
    }
}

/* Few outputs: a dot product each. */
VECTOR void dots_of_rows(size_t outputs, size_t high, const float *w, size_t w_stride, const float *x,
                         size_t x_stride, size_t n, float *y, size_t y_stride) {
    if (high == 4) dots(4, 1, w, w_stride, x, x_stride, n, y, y_stride);
    else if (outputs == 1) dots(1, 1, w, w_stride, x, x_stride, n, y, y_stride);
    else if (outputs == 2) dots(1, 2, w, w_stride, x, x_stride, n, y, y_stride);
    else if (outputs == 3) dots(1, 3, w, w_stride, x, x_stride, n, y, y_stride);
    else dots(1, 4, w, w_stride, x, x_stride, n, y, y_stride);
}

/* One row of one piece: what a step ends in. */
static NOINLINE void dots_of_row(const struct rnnrt_matrix *w, const struct rnnrt_product *call) {
    for (size_t j = 0; j < w->outputs && !call->add; j++) call->y[j] = call->bias ? call->bias[j] : 0.0f;
    dots_of_rows(w->outputs, 1, (const float *)w->panels + call->first, padded_depth(w), call->x, 0,
                 call->depth, call->y, 0);
    finish(call, 0, w->outputs);
}

static NOINLINE void product_dots(const struct rnnrt_matrix *w, const struct rnnrt_product *call) {
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
            high = outputs == 1 && call->rows - r >= 4 ? 4 : 1;
            dots_of_rows(outputs, high, weight, stride, in.pieces[p].x + r * from, from, n, call->y + r * to,
                         to);
        }
    }
    finish(call, 0, outputs);
}

/* Nothing stands between a step and its row: the others keep their registers and their room to themselves. */
static void product(const struct rnnrt_matrix *w, const struct rnnrt_product *call) {
    if (w->outputs > RNNRT_DOT_MAX_OUTPUTS) product_panels(w, 0, w->outputs, call);
    else if (call->rows == 1 && !call->pieces) dots_of_row(w, call);
    else product_dots(w, call);
}

static void product_pair(const struct rnnrt_matrix *w, const struct rnnrt_product *call,
                         const struct rnnrt_matrix *u, const struct rnnrt_product *then) {
    if (w->outputs > RNNRT_DOT_MAX_OUTPUTS) panels_of_row(w, 0, w->outputs, call, u, then);
    else product(w, call), product(u, then);
}
