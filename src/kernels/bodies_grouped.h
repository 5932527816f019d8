/* Products of groups that read and make few numbers each: lanes lie across groups. Weights are (terms,
 * outputs of all groups). */

/* Lanes past `lanes` are zero. */
VECTOR vf some_of(const float *x, size_t lanes) { return lanes < LANES ? vf_load_n(x, lanes) : vf_load(x); }

/* What `rows` outputs from channel c on start from. */
VECTOR void starts(const int rows, size_t row, size_t c, size_t lanes, const struct rnnrt_product *call,
                   vf *start) {
    UNROLL_FOR(int r = 0; r < rows; r++) {
        const float *from = call->add ? call->y + (row + (size_t)r) * call->y_stride : call->bias;
        start[r] = from ? some_of(from + c, lanes) : vf_set(0.0f);
    }
}

VECTOR void ends(const int rows, size_t row, size_t c, size_t lanes, const struct rnnrt_product *call,
                 const vf *end) {
    vf floor = vf_set(call->rectified ? 0.0f : -INFINITY);
    UNROLL_FOR(int r = 0; r < rows; r++) {
        float *to = call->y + (row + (size_t)r) * call->y_stride + c;
        vf made = vf_max(floor, end[r]);
        if (lanes < LANES) vf_store_n(to, made, lanes);
        else vf_store(to, made);
    }
}

/* One input and one output a group. */
VECTOR void depthwise_tile(const int rows, const float *weight, size_t row, size_t c, size_t lanes,
                           const struct rnnrt_product *call) {
    vf sum[4];
    starts(rows, row, c, lanes, call, sum);
    for (size_t p = 0; p < call->piece_count; p++) {
        size_t stride = call->pieces[p].stride;
        const float *x = call->pieces[p].x + row * stride + c;
        vf factor = some_of(weight + p * call->depth + c, lanes);
        UNROLL_FOR(int r = 0; r < rows; r++)
            sum[r] = vf_fma(factor, some_of(x + (size_t)r * stride, lanes), sum[r]);
    }
    ends(rows, row, c, lanes, call, sum);
}

VECTOR void end_segment(const int rows, vf *sum, vf *total) {
    UNROLL_FOR(int r = 0; r < rows; r++) {
        total[r] = vf_add(total[r], sum[r]);
        sum[r] = vf_set(0.0f);
    }
}

/* Number i of each `across` lanes in all of them. */
VECTOR vf spread_of(const int across, vf a, int i) {
#if LANES == 16
    if (across == 8) return vf_spread_eight(a, i);
#endif
    return across == 4 ? vf_spread_four(a, i) : vf_spread_two(a, i);
}

/* `in` numbers make `out` of each group, in the order of a product's sum. `across`: 8, 4 or 2 where both are
 * that many: those of a term are spread in a register; else 0, and they are fetched one by one. */
VECTOR void grouped_tile(const int rows, const int across, const float *weight, size_t in, size_t out,
                         size_t row, size_t c, size_t lanes, const struct rnnrt_product *call) {
    vf sum[4], total[4], x[4];
    size_t outputs = call->depth / in * out, room = RNNRT_SEGMENT - call->first % RNNRT_SEGMENT, place[LANES];
    for (size_t j = 0; !across && j < LANES; j++) place[j] = j < lanes ? (c + j) / out * in : 0;
    starts(rows, row, c, lanes, call, total);
    UNROLL_FOR(int r = 0; r < rows; r++) sum[r] = vf_set(0.0f);
    weight += c;
    for (size_t p = 0; p < call->piece_count; p++) {
        size_t stride = call->pieces[p].stride;
        const float *from = call->pieces[p].x + row * stride;
        if (across) {
            UNROLL_FOR(int r = 0; r < rows; r++) x[r] = some_of(from + (size_t)r * stride + c, lanes);
            UNROLL_FOR(int i = 0; i < across; i++) {
                vf factor = some_of(weight, lanes);
                weight += outputs;
                UNROLL_FOR(int r = 0; r < rows; r++) {
                    sum[r] = vf_fma(spread_of(across, x[r], i), factor, sum[r]);
                }
            }
            room -= (size_t)across; /* which a segment is a multiple of */
            if (!room) end_segment(rows, sum, total), room = RNNRT_SEGMENT;
            continue;
        }
        for (size_t i = 0; i < in; i++, from++) {
            vf factor = some_of(weight, lanes);
            weight += outputs;
            UNROLL_FOR(int r = 0; r < rows; r++) {
                float some[LANES];
                for (size_t j = 0; j < LANES; j++) some[j] = from[(size_t)r * stride + place[j]];
                sum[r] = vf_fma(vf_load(some), factor, sum[r]);
            }
            if (!--room) end_segment(rows, sum, total), room = RNNRT_SEGMENT;
        }
    }
    if (room < RNNRT_SEGMENT) end_segment(rows, sum, total);
    ends(rows, row, c, lanes, call, total);
}

/* Rows from the first on, four at a time, then one by one; a vector of channels at a time. `full`: whole
 * vectors have code of their own, which few instructions a term are worth. */
#define IN_TILES(first, outputs, full, tile, ...)                                               \
    for (size_t row = (first), high; row < call->rows; row += high) {                           \
        high = call->rows - row >= 4 ? 4 : 1;                                                   \
        for (size_t c = 0, lanes; c < (outputs); c += LANES) {                                  \
            lanes = rnnrt_smaller((outputs) - c, LANES);                                        \
            if (full && high == 4 && lanes == LANES) tile(4, __VA_ARGS__, row, c, LANES, call); \
            else if (high == 4) tile(4, __VA_ARGS__, row, c, lanes, call);                      \
            else if (full && lanes == LANES) tile(1, __VA_ARGS__, row, c, LANES, call);         \
            else tile(1, __VA_ARGS__, row, c, lanes, call);                                     \
        }                                                                                       \
    }

/* Rows whose taps are frames one after the other: a frame is loaded once for all windows that it is in. */
enum { RUN_ROWS = 8, MOST_RUN_TAPS = 5 };

static bool is_run(const struct rnnrt_product *call) {
    size_t taps = call->piece_count, stride = taps ? call->pieces[0].stride : 0;
    if (taps < 2 || taps > MOST_RUN_TAPS || call->depth % LANES) return false;
    for (size_t p = 1; p < taps; p++)
        if (call->pieces[p].stride != stride || call->pieces[p].x != call->pieces[p - 1].x + stride)
            return false;
    return true;
}

VECTOR void depthwise_run(const int taps, const float *weight, size_t row, size_t c,
                          const struct rnnrt_product *call) {
    vf sum[RUN_ROWS], factor[MOST_RUN_TAPS];
    size_t stride = call->pieces[0].stride;
    const float *x = call->pieces[0].x + row * stride + c;
    starts(RUN_ROWS, row, c, LANES, call, sum);
    UNROLL_FOR(int p = 0; p < taps; p++) factor[p] = vf_load(weight + (size_t)p * call->depth + c);
    UNROLL_FOR(int t = 0; t < RUN_ROWS + taps - 1; t++, x += stride) {
        vf frame = vf_load(x);
        UNROLL_FOR(int p = 0; p < taps; p++)
            if (t >= p && t - p < RUN_ROWS) sum[t - p] = vf_fma(factor[p], frame, sum[t - p]);
    }
    ends(RUN_ROWS, row, c, LANES, call, sum);
}

static void depthwise(const float *weight, const struct rnnrt_product *call) {
    size_t from = is_run(call) ? call->rows / RUN_ROWS * RUN_ROWS : 0;
    for (size_t row = 0; row < from; row += RUN_ROWS)
        for (size_t c = 0; c < call->depth; c += LANES) {
            if (call->piece_count == 2) depthwise_run(2, weight, row, c, call);
            else if (call->piece_count == 3) depthwise_run(3, weight, row, c, call);
            else if (call->piece_count == 4) depthwise_run(4, weight, row, c, call);
            else depthwise_run(5, weight, row, c, call);
        }
    IN_TILES(from, call->depth, true, depthwise_tile, weight)
}
#if LANES == 16
static void grouped_eight(const float *weight, const struct rnnrt_product *call) {
    IN_TILES(0, call->depth, true, grouped_tile, 8, weight, 8, 8)
}
#endif
static void grouped_four(const float *weight, const struct rnnrt_product *call) {
    IN_TILES(0, call->depth, true, grouped_tile, 4, weight, 4, 4)
}
static void grouped_two(const float *weight, const struct rnnrt_product *call) {
    IN_TILES(0, call->depth, true, grouped_tile, 2, weight, 2, 2)
}
static void grouped(const float *weight, size_t in, size_t out, const struct rnnrt_product *call) {
#if LANES == 16
    if (in == 8 && out == 8) {
        grouped_eight(weight, call);
        return;
    }
#endif
    if (in == 4 && out == 4) grouped_four(weight, call);
    else if (in == 2 && out == 2) grouped_two(weight, call);
    else IN_TILES(0, call->depth / in * out, false, grouped_tile, 0, weight, in, out)
}
#undef IN_TILES
