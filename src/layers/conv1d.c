/* y[k] = activation(b + sum over taps of W[tap] x[k * stride - pad_left + tap * dilation]), weight (out, tap,
 * in per group).
 *
 * Each group's weight is a matrix (out, tap * in). Two ways to add up, chosen by the layer's shape alone:
 * wide inputs have a sum for each tap, added in order; narrow ones one sum for the window. Depthwise, a
 * channel is multiplied and added tap after tap. Products read their inputs where these stand: taps one by
 * one, in the ring and among the new frames, or windows that are runs of frames. What does not stand so is
 * copied to scratch. Where a tap hangs over either end of the input it is left out (or is zeros). */
#include "window.h"

enum {
    WINDOWS_AT_ONCE = 64, /* that are copied */
    MOST_PIECES = 64,     /* taps that one product reads: where these are one sum, whole segments of it */
    PIECES_OF_WIDE = 16,
    ROWS_AT_ONCE = 16,  /* of a window of each row, the taps kept in their rings in scratch */
    FEW_WINDOWS = 4,    /* below so many a row's windows do not pay for a product of their own */
    SHORT_HISTORY = 24, /* frames that are copied in front of new ones, for products of more rows, */
    AT_BORDER = 12,     /* of so many windows at least */
    ALL_ROWS = -1,
};
_Static_assert(MOST_PIECES % RNNRT_SEGMENT == 0, "a sum goes on in the next product where a segment ends");

static size_t in_of_group(const struct rnnrt_layer_desc *desc) {
    return (size_t)(desc->input_size / desc->groups);
}
static size_t out_of_group(const struct rnnrt_layer_desc *desc) {
    return (size_t)(desc->output_size / desc->groups);
}
static bool wide(const struct rnnrt_layer_desc *desc) {
    return in_of_group(desc) >= 16 || desc->kernel_size == 1;
}
/* Lanes lie across groups, whose outputs do not fill a vector. */
static bool across_groups(const struct rnnrt_layer_desc *desc, const struct rnnrt_kernels *kernels) {
    size_t in = in_of_group(desc), out = out_of_group(desc);
    return desc->groups > 1 && in < 16 && (out < 8 || (in == 8 && out == 8 && kernels->lanes == 16));
}
/* Windows are the rows of a product: a few outputs are sums along a row. */
static bool by_window(const struct rnnrt_layer_desc *desc) {
    return !wide(desc) && desc->groups == 1 &&
           (desc->dilation == 1 || desc->output_size <= RNNRT_DOT_MAX_OUTPUTS);
}
static int32_t taps_at_once(const struct rnnrt_layer_desc *desc) {
    return wide(desc) ? PIECES_OF_WIDE : MOST_PIECES;
}
/* Whether products do what comes after them: each output is one product's. */
static bool rectified(const struct rnnrt_op *op) {
    const struct rnnrt_layer_desc *desc = &op->desc;
    return desc->activation.name == RNNRT_RELU && desc->kernel_size <= taps_at_once(desc);
}
static size_t group_depth(const struct rnnrt_layer_desc *desc) {
    return (size_t)desc->kernel_size * in_of_group(desc);
}

static enum rnnrt_status prepare(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    const struct rnnrt_layer_desc *desc = &op->desc;
    *text = "a convolution needs weights, a window that fits and groups that divide its inputs and outputs";
    if (!desc->weight || !window_ok(desc) || desc->groups < 1 || desc->input_size % desc->groups ||
        desc->output_size % desc->groups)
        return RNNRT_BAD_LAYER;
    enum rnnrt_status status = RNNRT_OK;
    size_t depth = group_depth(desc), groups = (size_t)desc->groups, out = (size_t)desc->output_size;
    op->bias = rnnrt_plan_copy(plan, desc->bias, out, &status);
    if (across_groups(desc, plan->kernels)) {
        if (!rnnrt_plan_may_read(plan, desc->weight, rnnrt_times(out, depth))) return RNNRT_BAD_LAYER;
        float *table = rnnrt_plan_floats(plan, rnnrt_times(out, depth));
        if (!table) return RNNRT_NO_MEMORY;
        for (size_t c = 0; c < out && !plan->filled; c++)
            for (size_t k = 0; k < depth; k++) table[k * out + c] = desc->weight[c * depth + k];
        op->table = table;
        return status;
    }
    op->weight = rnnrt_plan_pack(plan, desc->weight, groups, out / groups, depth, &status);
    return status;
}

/* Windows that begin before the new frames, and some after them, `frames` frames in all; none where they are
 * read where they stand. */
static size_t at_border(const struct rnnrt_op *op, size_t *frames) {
    const struct rnnrt_layer_desc *desc = &op->desc;
    size_t history = window_history(desc), stride = (size_t)desc->stride,
           windows = rnnrt_larger((history + stride - 1) / stride, AT_BORDER);
    if (!history || history > SHORT_HISTORY || stride > SHORT_HISTORY || by_window(desc) || op->table)
        windows = 0;
    *frames = windows ? (windows - 1) * stride + history + 1 : 0;
    return windows;
}

static void measure(const struct rnnrt_op *op, size_t batch, size_t frames, struct rnnrt_sizes *sizes) {
    const struct rnnrt_layer_desc *desc = &op->desc;
    size_t in = (size_t)desc->input_size, border, room;
    at_border(op, &border);
    if (by_window(desc)) room = rnnrt_times(WINDOWS_AT_ONCE, group_depth(desc));
    else if (batch == 1 || op->table) room = rnnrt_times(border, in);
    else
        room = rnnrt_times(
            rnnrt_smaller((size_t)desc->kernel_size, (size_t)taps_at_once(desc)) * ROWS_AT_ONCE, in);
    sizes->scratch = window_scratch(batch) + room;
    sizes->capacity = window_capacity(op, frames);
}

/* Whether the call is to end, after work on `rows` output rows by `taps` taps of the window. */
static bool worked(const struct window *w, size_t rows, int32_t taps) {
    const struct rnnrt_layer_desc *desc = &w->op->desc;
    if (!w->call->pulse) return false;
    double all = w->op->work * desc->stride / desc->kernel_size;
    return rnnrt_worked(w->call->pulse, all * (double)rows * taps);
}

/* Windows of `rows` rows each that are worked on between two questions. */
static size_t at_once(const struct window *w, size_t rows) {
    if (!w->call->pulse) return SIZE_MAX;
    return rnnrt_larger(rnnrt_piece(w->op->work * w->op->desc.stride) / rows, 1);
}

/* Every `apart`th frame from `frame` on, `count` of batch row b; zeros where there is none. */
static void copy_frames(const struct window *w, size_t b, int64_t frame, int64_t apart, size_t count,
                        float *to) {
    int64_t begin = window_begin(w, b);
    for (size_t run; count; count -= run, frame += (int64_t)run * apart, to += run * w->in) {
        bool none = frame < begin || frame >= w->end;
        size_t together = none                  ? frame < begin ? (size_t)(begin - frame) : count
                          : frame < 0           ? w->history - window_slot(w, frame, b)
                          : w->call->batch == 1 ? (size_t)(w->end - frame)
                                                : 1;
        if (frame < 0 && !none) together = rnnrt_smaller(together, (size_t)-frame);
        run = apart == 1 ? rnnrt_smaller(together, count) : 1;
        if (none) memset(to, 0, run * w->in * sizeof *to);
        else memcpy(to, window_at(w, frame, b), run * w->in * sizeof *to);
    }
}

/* y of `rows` rows, `stride` floats apart, of whole windows. */
static bool run_product(const struct window *w, const float *x, size_t stride, size_t rows, float *y,
                        size_t y_stride) {
    const struct rnnrt_product product = {.x = x,
                                          .x_stride = stride,
                                          .depth = w->op->weight->depth,
                                          .rows = rows,
                                          .y = y,
                                          .y_stride = y_stride,
                                          .bias = w->op->bias,
                                          .rectified = rectified(w->op)};
    w->call->kernels->product(w->op->weight, &product);
    return !worked(w, rows, w->op->desc.kernel_size);
}

/* Windows k .. to - 1 of one row, all of whose frames are copied: once, where they are runs of frames. */
static bool run_copied(const struct window *w, size_t b, size_t k, size_t to, float *scratch, float *y) {
    const struct rnnrt_layer_desc *desc = &w->op->desc;
    size_t batch = w->call->batch, out = (size_t)desc->output_size, taps = (size_t)desc->kernel_size,
           stride = (size_t)desc->stride, apart = w->op->weight->depth;
    bool runs = desc->dilation == 1 && stride < taps;
    if (runs) apart = stride * w->in;
    for (size_t count; k < to; k += count) {
        count = rnnrt_smaller(to - k, WINDOWS_AT_ONCE);
        int64_t frame = w->first + (int64_t)k * w->stride;
        if (runs) copy_frames(w, b, frame, 1, (count - 1) * stride + taps, scratch);
        for (size_t j = 0; j < count && !runs; j++)
            copy_frames(w, b, frame + (int64_t)j * w->stride, desc->dilation, taps, scratch + j * apart);
        if (!run_product(w, scratch, apart, count, y + (k * batch + b) * out, batch * out)) return false;
    }
    return true;
}

static bool run_windows(const struct window *w, float *scratch, float *y) {
    const struct rnnrt_layer_desc *desc = &w->op->desc;
    size_t batch = w->call->batch, out = (size_t)desc->output_size, taps = (size_t)desc->kernel_size,
           depth = w->op->weight->depth;
    if (batch > 1 && w->due < FEW_WINDOWS) {
        for (size_t done = 0, rows = w->due * batch, count; done < rows; done += count) {
            count = rnnrt_smaller(rows - done, WINDOWS_AT_ONCE);
            for (size_t r = 0; r < count; r++) {
                int64_t frame = w->first + (int64_t)((done + r) / batch) * w->stride;
                copy_frames(w, (done + r) % batch, frame, desc->dilation, taps, scratch + r * depth);
            }
            if (!run_product(w, scratch, depth, count, y + done * out, out)) return false;
        }
        return true;
    }
    size_t inside = 0, outside = 0; /* windows inside .. outside - 1 stand in the chunk as they are */
    if (batch == 1 && desc->dilation == 1) {
        int64_t last =
            w->end - (int64_t)taps - w->first; /* where the last of them begins, from the first on */
        inside = rnnrt_smaller(w->first < 0 ? (size_t)((w->stride - 1 - w->first) / w->stride) : 0, w->due);
        outside = last < 0 ? inside : rnnrt_smaller((size_t)(last / w->stride) + 1, w->due);
        if (outside < inside) outside = inside;
    }
    for (size_t b = 0; b < batch; b++)
        if (!run_copied(w, b, 0, inside, scratch, y)) return false;
    for (size_t k = inside, count; k < outside; k += count) {
        const float *x = window_at(w, w->first + (int64_t)k * w->stride, 0);
        count = rnnrt_smaller(outside - k, at_once(w, 1));
        if (!run_product(w, x, (size_t)w->stride * w->in, count, y + k * out, out)) return false;
    }
    for (size_t b = 0; b < batch; b++)
        if (!run_copied(w, b, outside, w->due, scratch, y)) return false;
    return true;
}

/* Windows k .. k + count - 1 of one row, or of all, under each of whose taps the frames stand evenly spaced:
 * where, tap by tap, without those taps that hang over an end of the input. */
struct stretch {
    size_t count;
    int32_t first_tap, taps;
    struct rnnrt_piece pieces[MOST_PIECES];
};

static size_t windows_to(const struct window *w, int64_t frames) {
    return (size_t)(w->stride == 1 ? frames : (frames + w->stride - 1) / w->stride);
}

/* The longest such stretch from window k on, of taps tap .. end - 1 and batch row b. ALL_ROWS: of every row,
 * whose new frames stand side by side; there are no others under these taps. */
static void stretch_from(const struct window *w, int b, size_t k, int32_t tap, int32_t end,
                         struct stretch *s) {
    size_t batch = w->call->batch, in = w->in, row = b == ALL_ROWS ? 0 : (size_t)b,
           apart = (size_t)w->stride * in, new_apart = b == ALL_ROWS ? apart : apart * batch;
    s->count = w->due - k, s->first_tap = tap, s->taps = 0;
    int64_t frame = w->first + (int64_t)k * w->stride + (int64_t)tap * w->op->desc.dilation, left,
            begin = window_begin(w, row);
    for (; tap < end && frame < w->end; tap++, frame += w->op->desc.dilation) {
        struct rnnrt_piece *piece = &s->pieces[s->taps];
        if (frame >= 0) {
            left = w->end - frame;
            *piece = (struct rnnrt_piece){window_at(w, frame, row), new_apart};
            s->taps++;
        } else if (frame >= begin) {
            int64_t to_end = (int64_t)(w->history - window_slot(w, frame, row));
            left = to_end < -frame ? to_end : -frame;
            *piece = (struct rnnrt_piece){window_at(w, frame, row), apart};
            s->taps++;
        } else {
            left = begin - frame;
            s->first_tap = tap + 1;
        }
        s->count = rnnrt_smaller(s->count, windows_to(w, left));
    }
}

/* One window of some rows from `row` on, which begin alike: what their rings keep of it is gathered, tap by
 * tap. */
static void stretch_of_rows(const struct window *w, size_t row, size_t rows, size_t k, int32_t tap,
                            int32_t end, float *scratch, struct stretch *s) {
    stretch_from(w, (int)row, k, tap, end, s);
    int64_t frame = w->first + (int64_t)k * w->stride + (int64_t)s->first_tap * w->op->desc.dilation;
    for (int32_t t = 0; t < s->taps; t++, frame += w->op->desc.dilation) {
        s->pieces[t].stride = w->in;
        if (frame >= 0) continue;
        for (size_t r = 0; r < rows; r++)
            memcpy(scratch + r * w->in, window_at(w, frame, row + r), w->in * sizeof *scratch);
        s->pieces[t].x = scratch;
        scratch += rows * w->in;
    }
}

/* y = start + the taps of a stretch, of `rows` outputs; `add`: the start is y. */
static bool run_stretch(const struct window *w, struct stretch *s, bool add, size_t rows, float *y,
                        size_t y_stride) {
    const struct rnnrt_op *op = w->op;
    size_t in = in_of_group(&op->desc), out = out_of_group(&op->desc), groups = (size_t)op->desc.groups;
    struct rnnrt_product product = {.pieces = s->pieces,
                                    .piece_count = (size_t)s->taps,
                                    .joined = !wide(&op->desc),
                                    .first = (size_t)s->first_tap * in,
                                    .depth = op->table ? w->in : in,
                                    .rows = rows,
                                    .y = y,
                                    .y_stride = y_stride,
                                    .bias = op->bias,
                                    .add = add,
                                    .rectified = rectified(op)};
    if (op->table) {
        const float *weight = op->table + product.first * (size_t)op->desc.output_size;
        if (in == 1 && out == 1) w->call->kernels->depthwise(weight, &product);
        else w->call->kernels->grouped(weight, in, out, &product);
        return !worked(w, rows, s->taps);
    }
    for (size_t g = 0; g < groups; g++) {
        w->call->kernels->product(&op->weight[g], &product);
        for (int32_t tap = 0; tap < s->taps; tap++) s->pieces[tap].x += in;
        product.y += out;
        if (product.bias) product.bias += out;
    }
    return !worked(w, rows, s->taps);
}

/* Taps tap .. end - 1 of windows k .. to - 1, a row after the other; or, where these are few, a window after
 * the other. */
static bool run_rows(const struct window *w, size_t k, size_t to, int32_t tap, int32_t end, float *scratch,
                     float *y) {
    size_t batch = w->call->batch, out = (size_t)w->op->desc.output_size;
    if (batch == 1 || w->op->table || to - k >= FEW_WINDOWS) {
        for (size_t b = 0; b < batch; b++)
            for (size_t j = k, count; j < to; j += count) {
                struct stretch s;
                stretch_from(w, (int)b, j, tap, end, &s);
                count = rnnrt_smaller(rnnrt_smaller(s.count, to - j), at_once(w, 1));
                if (!run_stretch(w, &s, tap > 0, count, y + (j * batch + b) * out, batch * out)) return false;
            }
        return true;
    }
    for (; k < to; k++)
        for (size_t b = 0, rows; b < batch; b += rows) {
            rows = rnnrt_smaller(window_alike(w, b), ROWS_AT_ONCE);
            struct stretch s;
            stretch_of_rows(w, b, rows, k, tap, end, scratch, &s);
            if (!run_stretch(w, &s, tap > 0, rows, y + (k * batch + b) * out, out)) return false;
        }
    return true;
}

/* The windows of one row that begin in its ring, which would be several products of few rows, as one whose
 * frames are copied; how many of them were run, or -1. */
static ptrdiff_t run_border(const struct window *w, float *scratch, float *y) {
    const struct rnnrt_layer_desc *desc = &w->op->desc;
    size_t frames, windows = rnnrt_smaller(at_border(w->op, &frames), w->due), span = window_span(desc);
    int64_t last = w->first + (int64_t)windows * w->stride - w->stride + (int64_t)span;
    if (windows < 2 || w->first >= 0 || w->first < window_begin(w, 0) || last > w->end) return 0;
    copy_frames(w, 0, w->first, 1, (windows - 1) * (size_t)w->stride + span, scratch);
    int32_t taps = desc->kernel_size, most = taps_at_once(desc);
    for (int32_t tap = 0; tap < taps; tap += most) {
        struct stretch s = {.first_tap = tap, .taps = taps - tap < most ? taps - tap : most};
        for (int32_t t = 0; t < s.taps; t++)
            s.pieces[t] = (struct rnnrt_piece){scratch + (size_t)(tap + t) * (size_t)desc->dilation * w->in,
                                               (size_t)w->stride * w->in};
        if (!run_stretch(w, &s, tap > 0, windows, y, (size_t)desc->output_size)) return -1;
    }
    return (ptrdiff_t)windows;
}

static bool run_taps(const struct window *w, float *scratch, float *y) {
    size_t batch = w->call->batch, out = (size_t)w->op->desc.output_size;
    int32_t taps = w->op->desc.kernel_size, most = taps_at_once(&w->op->desc);
    ptrdiff_t border = batch == 1 ? run_border(w, scratch, y) : 0;
    if (border < 0) return false;
    for (int32_t tap = 0, end; tap < taps; tap = end) {
        end = taps - tap < most ? taps : tap + most;
        int64_t first = w->first + (int64_t)tap * w->op->desc.dilation; /* under the first of them */
        size_t done = (size_t)border, k = w->stride > 1 && batch > 1 ? w->due
                                          : first < 0 ? rnnrt_smaller(windows_to(w, -first), w->due)
                                                      : 0;
        if (k > done && !run_rows(w, done, k, tap, end, scratch, y)) return false;
        k = rnnrt_larger(k, done);
        for (; k < w->due;) { /* frames and rows are one axis */
            struct stretch s;
            stretch_from(w, ALL_ROWS, k, tap, end, &s);
            s.count = rnnrt_smaller(s.count, at_once(w, batch));
            if (!run_stretch(w, &s, tap > 0, s.count * batch, y + k * batch * out, out)) return false;
            k += s.count;
        }
    }
    return true;
}

static enum rnnrt_status run(const struct rnnrt_op *op, struct rnnrt_invocation *call) {
    struct window w = window_open(op, call);
    float *scratch = call->scratch + window_scratch(call->batch), *y = call->y[0];
    bool done = by_window(&op->desc) ? run_windows(&w, scratch, y) : run_taps(&w, scratch, y);
    if (!done) return RNNRT_CANCELLED;
    window_close(&w);
    call->made[0] = w.due;
    if (op->desc.activation.name != RNNRT_LINEAR && !rectified(op))
        call->kernels->activate(op->desc.activation, w.due * call->batch * (size_t)op->desc.output_size, y,
                                y);
    return RNNRT_OK;
}

static double work(const struct rnnrt_op *op) {
    return ((double)group_depth(&op->desc) + 4) * op->desc.output_size / op->desc.stride;
}

const struct rnnrt_layer_class rnnrt_layer_conv1d = {.time = RNNRT_TIME_NEEDED,
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
