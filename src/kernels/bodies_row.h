/* Products of one row whose terms stand in one piece (GEMV): nothing to look up, which a small step feels. */

typedef void wide_tile(const float *w, size_t panel, size_t depth, const float *start, const float *x,
                       float *y, size_t last);
enum { WIDEST = TILE_ROWS > 4 ? 12 : 8 }; /* vectors: their sums and what is read have registers */

/* Term k of so many vectors, which stand two a panel. */
VECTOR void row_term(const int vectors, const float *w, size_t panel, size_t k, float x, vf *sum) {
    vf value = vf_set(x);
    UNROLL_FOR(int v = 0; v < vectors; v++)
        sum[v] =
            vf_fma(value, vf_load(w + (size_t)(v / 2) * panel + k * PANEL + (size_t)(v % 2) * LANES), sum[v]);
}
VECTOR void tile_of_one(const int vectors, const float *w, size_t panel, size_t depth, const float *start,
                        const float *x, float *y, size_t last) {
    vf sum[WIDEST], total[WIDEST];
    UNROLL_FOR(int v = 0; v < vectors; v++) total[v] = outputs_bias(vectors, false, v, start, last);
    for (size_t from = 0; from < depth; from += RNNRT_SEGMENT) {
        UNROLL_FOR(int v = 0; v < vectors; v++) sum[v] = vf_set(0.0f);
        size_t to = depth - from < RNNRT_SEGMENT ? depth : from + RNNRT_SEGMENT;
        for (size_t k = from; k < to; k++) row_term(vectors, w, panel, k, x[k], sum);
        UNROLL_FOR(int v = 0; v < vectors; v++) total[v] = vf_add(total[v], sum[v]);
    }
    UNROLL_FOR(int v = 0; v < vectors; v++) outputs_store(vectors, false, v, y, 0, last, total[v]);
}
#define WIDE_TILE(v)                                                                                     \
    static void wide_##v(const float *w, size_t panel, size_t depth, const float *start, const float *x, \
                         float *y, size_t last) {                                                        \
        tile_of_one(v, w, panel, depth, start, x, y, last);                                              \
    }
#define WIDE_NAME(v) wide_##v,
/* clang-format off */
#define WIDE(EACH) EACH(1) EACH(2) EACH(3) EACH(4) EACH(5) EACH(6) EACH(7) EACH(8)
#if TILE_ROWS > 4
#define WIDER(EACH) EACH(9) EACH(10) EACH(11) EACH(12)
#else
#define WIDER(EACH)
#endif
WIDE(WIDE_TILE) WIDER(WIDE_TILE)
static wide_tile *const wide_tiles[] = {WIDE(WIDE_NAME) WIDER(WIDE_NAME)};
/* clang-format on */
#undef WIDE_TILE
#undef WIDE_NAME
#undef WIDE
#undef WIDER

/* `count` outputs from `at` on, the first of a panel. */
VECTOR void some_panels(const struct rnnrt_matrix *w, const struct rnnrt_product *call, size_t at,
                        size_t count) {
    const float *start = call->add ? call->y : call->bias,
                *weight = (const float *)w->panels + call->first * PANEL + at * w->depth;
    size_t vectors = (count + LANES - 1) / LANES;
    wide_tiles[vectors - 1](weight, PANEL * w->depth, call->depth, start ? start + at : NULL, call->x,
                            call->y + at, count - (vectors - 1) * LANES);
}

/* The outputs from `column`, the first of a panel, to `end` - 1, however few these are; `then`: and those
 * of a second product. Of weights that are near, of one product, as few and even tiles as hold them where one
 * of eight vectors does not: one of fewer takes as long as one of eight, since each sum waits for the one
 * before it. Of others eight vectors at once, from the last panels to the first where nothing is said: on the
 * processors that could be asked (Zen 5, both widths) weights of 100 KB to 800 KB come from the L2 cache 5
 * to 40 % faster that way. */
VECTOR void panels_of_row(const struct rnnrt_matrix *w, size_t column, size_t end,
                          const struct rnnrt_product *call, const struct rnnrt_matrix *u,
                          const struct rnnrt_product *then) {
    const size_t outputs = end - column;
    if (outputs > 4 * PANEL && outputs * w->depth < RNNRT_NEAR_FLOATS && !then) {
        size_t vectors = (outputs + LANES - 1) / LANES, parts = (vectors + WIDEST - 1) / WIDEST,
               panels = ((uint32_t)(vectors + 1) / 2 + (uint32_t)parts - 1) / (uint32_t)parts;
        for (size_t at = column; at < end; at += panels * PANEL)
            some_panels(w, call, at, rnnrt_smaller(end - at, panels * PANEL));
        return;
    }
    const size_t most = 4 * PANEL;
    size_t last = column + (outputs - 1) / most * most, at = call->upwards ? column : last,
           to = call->upwards ? last : column, step = call->upwards ? most : -most;
    for (;; at += step) {
        size_t count = rnnrt_smaller(end - at, most);
        some_panels(w, call, at, count);
        if (then) some_panels(u, then, at, count);
        if (at == to) break;
    }
}
