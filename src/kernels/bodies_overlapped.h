/* Two products at once, of one row and of many:
 *
 *     y = start + W x             a step: one row against weights that live in the L2 cache or beyond, which
 *                                 waits for memory half of its time
 *     Y[r] = B + V X[r]           the overlapped one: arithmetic to fill that time with
 *
 * Their loops over terms run as one. The sums of four panels of W and of one tile of V (OVERLAP_ROWS rows,
 * one panel) are in registers, and every turn takes one term k of the step and one term j of the tile:
 *
 *     s[v]    += x[k]    W[v][k]  v: the eight vectors of the four panels
 *     S[r][v] += X[r][j] V[v][j]  r: the rows of the tile, v: the two vectors of its panel
 *
 * Where a segment of either ends, its sums go to y or Y and start again at 0: each output is summed exactly
 * as `tile` sums it. At the depth of V the next tile begins, wherever the step is; what a step leaves of a
 * tile waits for the next one (`k` and `sum` of struct rnnrt_overlapped). */

#if LANES == 16 /* it takes 23 vector registers */

/* Terms from k on to the end of their segment. */
VECTOR size_t segment_left(size_t k, size_t depth) {
    return rnnrt_smaller(depth - k, RNNRT_SEGMENT - k % RNNRT_SEGMENT);
}

/* ---- the tile of the overlapped product ---- */

static size_t tile_count(const struct rnnrt_overlapped *o) {
    return o->call.rows / OVERLAP_ROWS * (o->weight->outputs / PANEL);
}

VECTOR void tile_begin(const struct rnnrt_overlapped *o, const float **w, const float **x, float **y) {
    const struct rnnrt_product *call = &o->call;
    size_t panels = o->weight->outputs / PANEL, row = o->tile / panels * OVERLAP_ROWS,
           column = o->tile % panels * PANEL;
    *w = (const float *)o->weight->panels + column * o->weight->depth + call->first * PANEL;
    *x = call->x + row * call->x_stride;
    *y = call->y + row * call->y_stride + column;
    if (o->k) return;
    for (int r = 0; r < OVERLAP_ROWS; r++)
        for (int v = 0; v < 2; v++)
            vf_store(*y + (size_t)r * call->y_stride + v * LANES,
                     call->bias ? vf_load(call->bias + column + v * LANES) : vf_set(0.0f));
}

VECTOR void tile_load(const struct rnnrt_overlapped *o, vf sum[OVERLAP_ROWS][2]) {
    UNROLL_FOR(int r = 0; r < OVERLAP_ROWS; r++)
        UNROLL_FOR(int v = 0; v < 2; v++) sum[r][v] = o->k ? vf_load(o->sum[r][v]) : vf_set(0.0f);
}

VECTOR void tile_save(struct rnnrt_overlapped *o, vf sum[OVERLAP_ROWS][2]) {
    UNROLL_FOR(int r = 0; r < OVERLAP_ROWS; r++)
        UNROLL_FOR(int v = 0; v < 2; v++) vf_store(o->sum[r][v], sum[r][v]);
}

VECTOR void tile_term(const float *w, const float *x, size_t x_stride, vf sum[OVERLAP_ROWS][2]) {
    vf w0 = vf_load(w), w1 = vf_load(w + LANES);
    UNROLL_FOR(int r = 0; r < OVERLAP_ROWS; r++) {
        vf value = vf_set(x[(size_t)r * x_stride]);
        sum[r][0] = vf_fma(value, w0, sum[r][0]);
        sum[r][1] = vf_fma(value, w1, sum[r][1]);
    }
}

/* The end of a segment: its sums go to y. */
VECTOR void tile_total(const struct rnnrt_overlapped *o, float *y, vf sum[OVERLAP_ROWS][2]) {
    UNROLL_FOR(int r = 0; r < OVERLAP_ROWS; r++)
        UNROLL_FOR(int v = 0; v < 2; v++) {
            float *place = y + (size_t)r * o->call.y_stride + v * LANES;
            vf_store(place, vf_add(vf_load(place), sum[r][v]));
            sum[r][v] = vf_set(0.0f);
        }
}

/* ---- four panels of the step ---- */

VECTOR void row_total(float *y, vf sum[8]) {
    UNROLL_FOR(int v = 0; v < 8; v++) {
        vf_store(y + v * LANES, vf_add(vf_load(y + v * LANES), sum[v]));
        sum[v] = vf_set(0.0f);
    }
}

/* ---- both ---- */

static void product_overlapped(const struct rnnrt_matrix *w, const struct rnnrt_product *call,
                               struct rnnrt_overlapped *o) {
    size_t outputs = w->outputs, depth = call->depth, panel = PANEL * w->depth, tiles = tile_count(o),
           tile_depth = o->call.depth, stride = o->call.x_stride, whole = outputs / (4 * PANEL) * 4 * PANEL,
           done = 0;
    if (outputs <= RNNRT_DOT_MAX_OUTPUTS) {
        product(w, call);
        return;
    }
    if (o->tile < tiles) {
        const float *x = call->x, *tile_w, *tile_x;
        float *tile_y;
        vf tile_sum[OVERLAP_ROWS][2];
        tile_begin(o, &tile_w, &tile_x, &tile_y);
        tile_load(o, tile_sum);
        size_t j = o->k;
        for (; done < whole && o->tile < tiles; done += 4 * PANEL) {
            size_t column = call->upwards ? done : whole - done - 4 * PANEL;
            const float *weight = (const float *)w->panels + column * w->depth + call->first * PANEL,
                        *from = call->add ? call->y : call->bias, *start = from ? from + column : NULL;
            float *y = call->y + column;
            vf sum[8];
            for (int v = 0; v < 8; v++)
                vf_store(y + v * LANES, start ? vf_load(start + v * LANES) : vf_set(0.0f));
            UNROLL_FOR(int v = 0; v < 8; v++) sum[v] = vf_set(0.0f);
            for (size_t k = 0; k < depth;) {
                size_t row_left = segment_left(k, depth), tile_left = segment_left(j, tile_depth),
                       n = rnnrt_smaller(row_left, tile_left);
                for (size_t end = k + n; k < end; k++, j++) {
                    row_term(8, weight, panel, k, x[k], sum);
                    tile_term(tile_w + j * PANEL, tile_x + j, stride, tile_sum);
                }
                if (n == row_left) row_total(y, sum);
                if (n < tile_left) continue;
                tile_total(o, tile_y, tile_sum);
                if (j < tile_depth) continue;
                j = o->k = 0;
                if (++o->tile < tiles) {
                    tile_begin(o, &tile_w, &tile_x, &tile_y);
                    continue;
                }
                while (k < depth) { /* no tile is left: the rest of these panels alone */
                    for (size_t end = k + segment_left(k, depth); k < end; k++)
                        row_term(8, weight, panel, k, x[k], sum);
                    row_total(y, sum);
                }
            }
        }
        o->k = o->tile < tiles ? j : 0;
        tile_save(o, tile_sum);
    }
    if (done < whole) product_panels(w, call->upwards ? done : 0, call->upwards ? whole : whole - done, call);
    if (whole < outputs) product_panels(w, whole, outputs, call);
}

/* The rows from .. to - 1 of a product. */
static struct rnnrt_product rows_of(const struct rnnrt_product *call, size_t from, size_t to) {
    struct rnnrt_product rows = *call;
    rows.x += from * call->x_stride;
    rows.y += from * call->y_stride;
    rows.rows = to - from;
    return rows;
}

static void finish_overlapped(struct rnnrt_overlapped *o) {
    const struct rnnrt_matrix *w = o->weight;
    const struct rnnrt_product *call = &o->call;
    size_t panels = w->outputs / PANEL, full = panels * PANEL, done = 0;
    if (w->outputs > RNNRT_DOT_MAX_OUTPUTS && tile_count(o)) {
        if (o->k) {
            const float *tile_w, *x;
            float *y;
            vf sum[OVERLAP_ROWS][2];
            tile_begin(o, &tile_w, &x, &y);
            tile_load(o, sum);
            for (size_t k = o->k; k < call->depth;) {
                tile_term(tile_w + k * PANEL, x + k, call->x_stride, sum);
                if (++k % RNNRT_SEGMENT == 0 || k == call->depth) tile_total(o, y, sum);
            }
            o->tile++;
            o->k = 0;
        }
        done = o->tile / panels * OVERLAP_ROWS;
        size_t column = o->tile % panels * PANEL;
        if (column) { /* the panels left of the rows begun */
            struct rnnrt_product begun = rows_of(call, done, done + OVERLAP_ROWS);
            product_panels(w, column, full, &begun);
            done += OVERLAP_ROWS;
        }
        if (full < w->outputs) { /* the columns after the last whole panel, of the rows done so far */
            struct rnnrt_product above = rows_of(call, 0, done);
            product_panels(w, full, w->outputs, &above);
        }
    }
    if (done < call->rows) {
        struct rnnrt_product below = rows_of(call, done, call->rows);
        product(w, &below);
    }
}

#endif
