/* A convolution over time and over the bins of a frame, which is (bins, channels):
 *
 *     y[k][f] = activation(b + sum over taps (i, j) of
 *                          W[i][j] x[k * stride - pad_left + i * dilation][f * bin_stride - bin_pad_left +
 *                                                                          j * bin_dilation])
 *
 * with weight (out, tap, bin tap, in per group). The bins of an answer are rows of one product that share its
 * weights: under a tap of time a row reads a piece of the frame there, and the pieces of all rows stand
 * evenly spaced. Where bins are padded a frame is read from a copy with zeros beside it; a frame that is not
 * there is zeros. A sum runs over all taps, time first, as one; few outputs have a sum for every piece, added
 * in order. Which of the two, and what a piece is, the layer's shape alone decides. */
#include "window.h"

enum {
    MOST_PIECES = 64,      /* that one product reads: whole segments of a sum */
    FEW_BINS = 6,          /* fewer rows than these do not pay for a pass over the weights: */
    ROWS_AT_ONCE = 24,     /* windows are copied, as rows of one product for several frames, */
    MOST_COPIED = 1 << 14, /* unless a row holds more numbers */
};
_Static_assert(MOST_PIECES % RNNRT_SEGMENT == 0, "a sum goes on in the next product where a segment ends");

/* What follows from a checked descriptor. */
struct shape {
    size_t bins, bins_out;  /* of a frame in and out */
    size_t in, out, groups; /* channels */
    size_t in_group, out_group;
    size_t taps, bin_taps;
    size_t padded;     /* numbers in a frame with its padding */
    size_t pieces;     /* under one tap of time */
    size_t piece;      /* numbers of a piece */
    size_t depth;      /* terms of a sum */
    bool across;       /* lanes lie across groups, whose outputs do not fill a vector */
    bool joined;       /* one sum over all pieces */
    bool copied;       /* windows are */
    bool zeros_beside; /* frames are padded */
};

static struct shape shape_of(const struct rnnrt_layer_desc *desc) {
    struct shape s = {.bins = (size_t)desc->bins,
                      .groups = (size_t)desc->groups,
                      .taps = (size_t)desc->kernel_size,
                      .bin_taps = (size_t)desc->bin_kernel_size};
    size_t span = (s.bin_taps - 1) * (size_t)desc->bin_dilation + 1,
           beside = (size_t)desc->bin_pad_left + (size_t)desc->bin_pad_right;
    s.bins_out = (s.bins + beside - span) / (size_t)desc->bin_stride + 1;
    s.in = (size_t)desc->input_size / s.bins, s.out = (size_t)desc->output_size / s.bins_out;
    s.in_group = s.in / s.groups, s.out_group = s.out / s.groups;
    s.zeros_beside = beside > 0;
    s.padded = rnnrt_times(s.bins + beside, s.in);
    s.depth = rnnrt_times(rnnrt_times(s.taps, s.bin_taps), s.in_group);
    s.across = s.groups > 1 && s.in_group < 16 && s.out_group < 8;
    s.joined = s.across || s.out_group > RNNRT_DOT_MAX_OUTPUTS;
    bool side_by_side = s.groups == 1 && desc->bin_dilation == 1;
    s.pieces = side_by_side ? 1 : s.bin_taps;
    s.piece = s.across ? s.in : side_by_side ? s.bin_taps * s.in : s.in_group;
    s.copied = s.groups == 1 && s.joined && s.bins_out < FEW_BINS && s.depth <= MOST_COPIED;
    return s;
}

static bool bins_ok(const struct rnnrt_layer_desc *desc) {
    if (desc->bins < 1 || desc->input_size % desc->bins || desc->bin_kernel_size < 1 ||
        desc->bin_stride < 1 || desc->bin_dilation < 1 || desc->bin_pad_left < 0 || desc->bin_pad_right < 0)
        return false;
    int64_t span = (int64_t)(desc->bin_kernel_size - 1) * desc->bin_dilation + 1,
            all = (int64_t)desc->bins + desc->bin_pad_left + desc->bin_pad_right;
    if (span > all || all > 1 << 25) return false;
    return desc->output_size % ((all - span) / desc->bin_stride + 1) == 0;
}

static enum rnnrt_status prepare(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    const struct rnnrt_layer_desc *desc = &op->desc;
    *text = "a convolution needs weights, a window that fits and groups that divide its inputs and outputs";
    if (!desc->weight || !window_ok(desc) || !bins_ok(desc) || desc->groups < 1) return RNNRT_BAD_LAYER;
    struct shape s = shape_of(desc);
    if (s.in % s.groups || s.out % s.groups) return RNNRT_BAD_LAYER;
    enum rnnrt_status status = RNNRT_OK;
    op->bias = rnnrt_plan_copy(plan, desc->bias, s.out, &status);
    if (!s.across) {
        op->weight = rnnrt_plan_pack(plan, desc->weight, s.groups, s.out_group, s.depth, &status);
        return status;
    }
    if (!rnnrt_plan_may_read(plan, desc->weight, rnnrt_times(s.out, s.depth))) return RNNRT_BAD_LAYER;
    float *table = rnnrt_plan_floats(plan, rnnrt_times(s.out, s.depth));
    if (!table) return RNNRT_NO_MEMORY;
    for (size_t c = 0; c < s.out && !plan->filled; c++)
        for (size_t k = 0; k < s.depth; k++) table[k * s.out + c] = desc->weight[c * s.depth + k];
    op->table = table;
    return status;
}

static void measure(const struct rnnrt_op *op, size_t batch, size_t frames, struct rnnrt_sizes *sizes) {
    struct shape s = shape_of(&op->desc);
    size_t held = rnnrt_smaller(s.taps, MOST_PIECES / s.pieces + 2);
    sizes->scratch =
        window_scratch(batch) + (s.copied ? rnnrt_times(ROWS_AT_ONCE, s.depth) : rnnrt_times(held, s.padded));
    sizes->capacity = window_capacity(op, frames);
}

static double work(const struct rnnrt_op *op) {
    struct shape s = shape_of(&op->desc);
    return ((double)s.depth + 4) * op->desc.output_size / op->desc.stride;
}

/* Whether the call is to end, after `frames` frames out. */
static bool worked(const struct window *w, double frames) {
    return w->call->pulse && rnnrt_worked(w->call->pulse, w->op->work * w->op->desc.stride * frames);
}

/* Frame `frame` of row b, its padding beside it; in `room` where it does not stand so. */
static const float *frame_at(const struct window *w, const struct shape *s, int64_t frame, size_t b,
                             float *room) {
    bool there = frame >= window_begin(w, b) && frame < w->end;
    if (there && !s->zeros_beside) return window_at(w, frame, b);
    if (!there) {
        memset(room, 0, s->padded * sizeof *room);
        return room;
    }
    size_t left = (size_t)w->op->desc.bin_pad_left * s->in;
    memset(room, 0, left * sizeof *room);
    memcpy(room + left, window_at(w, frame, b), w->in * sizeof *room);
    memset(room + left + w->in, 0, (s->padded - left - w->in) * sizeof *room);
    return room;
}

/* What `count` pieces from the `first`th on add to every bin: to the bias, or to what those before made. */
static void run_pieces(const struct window *w, const struct shape *s, struct rnnrt_piece *pieces,
                       size_t count, size_t first, float *y) {
    const struct rnnrt_op *op = w->op;
    struct rnnrt_product product = {.pieces = pieces,
                                    .piece_count = count,
                                    .joined = s->joined,
                                    .first = first * (s->across ? s->in_group : s->piece),
                                    .depth = s->piece,
                                    .rows = s->bins_out,
                                    .y = y,
                                    .y_stride = s->out,
                                    .bias = op->bias,
                                    .add = first > 0};
    if (s->across) {
        const float *weight = op->table + product.first * s->out;
        if (s->in_group == 1 && s->out_group == 1) w->call->kernels->depthwise(weight, &product);
        else w->call->kernels->grouped(weight, s->in_group, s->out_group, &product);
        return;
    }
    for (size_t g = 0; g < s->groups; g++) {
        w->call->kernels->product(&op->weight[g], &product);
        for (size_t p = 0; p < count; p++) pieces[p].x += s->in_group;
        product.y += s->out_group;
        if (product.bias) product.bias += s->out_group;
    }
}

/* The answer of the window that begins at `frame` of row b. */
static void run_window(const struct window *w, const struct shape *s, int64_t frame, size_t b, float *scratch,
                       float *y) {
    const struct rnnrt_layer_desc *desc = &w->op->desc;
    struct rnnrt_piece pieces[MOST_PIECES];
    size_t apart = (size_t)desc->bin_dilation * s->in, stride = (size_t)desc->bin_stride * s->in;
    for (size_t p = 0, all = s->taps * s->pieces, count; p < all; p += count) {
        const float *x = NULL;
        float *room = scratch;
        count = rnnrt_smaller(all - p, MOST_PIECES);
        for (size_t k = 0; k < count; k++) {
            size_t tap = (p + k) / s->pieces, bin_tap = (p + k) % s->pieces;
            if (!x || !bin_tap) {
                x = frame_at(w, s, frame + (int64_t)tap * desc->dilation, b, room);
                if (x == room) room += s->padded;
            }
            pieces[k] = (struct rnnrt_piece){x + bin_tap * apart, stride};
        }
        run_pieces(w, s, pieces, count, p, y);
    }
}

static bool run_windows(const struct window *w, const struct shape *s, float *scratch, float *y) {
    size_t batch = w->call->batch, size = (size_t)w->op->desc.output_size;
    for (size_t k = 0; k < w->due; k++)
        for (size_t b = 0; b < batch; b++, y += size) {
            run_window(w, s, w->first + (int64_t)k * w->stride, b, scratch, y);
            if (worked(w, 1)) return false;
        }
    return true;
}

/* The numbers under the taps of output bin `bin`, of the window that begins at `frame` of row b. */
static void copy_window(const struct window *w, const struct shape *s, int64_t frame, size_t b, size_t bin,
                        float *to) {
    const struct rnnrt_layer_desc *desc = &w->op->desc;
    int64_t from = (int64_t)bin * desc->bin_stride - desc->bin_pad_left, begin = window_begin(w, b);
    for (size_t i = 0; i < s->taps; i++, frame += desc->dilation) {
        const float *x = frame >= begin && frame < w->end ? window_at(w, frame, b) : NULL;
        int64_t at = from;
        for (size_t j = 0; j < s->bin_taps; j++, at += desc->bin_dilation, to += s->in) {
            if (x && at >= 0 && at < (int64_t)s->bins) memcpy(to, x + (size_t)at * s->in, s->in * sizeof *to);
            else memset(to, 0, s->in * sizeof *to);
        }
    }
}

static bool run_copied(const struct window *w, const struct shape *s, float *scratch, float *y) {
    size_t batch = w->call->batch, all = w->due * batch * s->bins_out;
    for (size_t row = 0, count; row < all; row += count, y += count * s->out) {
        count = rnnrt_smaller(all - row, ROWS_AT_ONCE);
        for (size_t r = 0; r < count; r++) {
            size_t window = (row + r) / s->bins_out;
            copy_window(w, s, w->first + (int64_t)(window / batch) * w->stride, window % batch,
                        (row + r) % s->bins_out, scratch + r * s->depth);
        }
        const struct rnnrt_product product = {.x = scratch,
                                              .x_stride = s->depth,
                                              .depth = s->depth,
                                              .rows = count,
                                              .y = y,
                                              .y_stride = s->out,
                                              .bias = w->op->bias};
        w->call->kernels->product(w->op->weight, &product);
        if (worked(w, (double)count / (double)s->bins_out)) return false;
    }
    return true;
}

static enum rnnrt_status run(const struct rnnrt_op *op, struct rnnrt_invocation *call) {
    struct window w = window_open(op, call);
    struct shape s = shape_of(&op->desc);
    float *scratch = call->scratch + window_scratch(call->batch), *y = call->y[0];
    bool done = s.copied ? run_copied(&w, &s, scratch, y) : run_windows(&w, &s, scratch, y);
    if (!done) return RNNRT_CANCELLED;
    window_close(&w);
    call->made[0] = w.due;
    if (op->desc.activation.name != RNNRT_LINEAR)
        call->kernels->activate(op->desc.activation, w.due * call->batch * (size_t)op->desc.output_size, y,
                                y);
    return RNNRT_OK;
}

const struct rnnrt_layer_class rnnrt_layer_conv2d = {.time = RNNRT_TIME_NEEDED,
                                                     .prepare = prepare,
                                                     .keeps = window_keeps,
                                                     .measure = measure,
                                                     .due = window_due,
                                                     .rate = window_rate,
                                                     .run = run,
                                                     .work = work,
                                                     .asks = true,
                                                     .ring = true,
                                                     .uneven = true};
