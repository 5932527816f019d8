/* y[k] = activation(b + sum over taps of W[tap] x[k * stride - pad_left + tap * dilation]), weight (out, tap,
 * in per group).
 *
 * Each group's weight is a matrix (out, tap * in). Three ways to add up, chosen by the layer's shape alone.
 * Wide inputs: a sum for each tap, added in order; the product reads the taps where they stand, in the ring
 * and among the new frames. Narrow inputs: the window as one long row of kernel_size * in numbers, and one
 * sum; the window stands in scratch. Depthwise: multiply and add along the channels, tap after tap, read
 * where they stand. Where a tap hangs over either end of the input it is left out (or is zeros). */
#include "window.h"

enum {
    GATHERED_ROWS = 64, /* whole windows in scratch */
    MOST_PIECES = 16,   /* taps that one product reads */
    ROWS_AT_ONCE = 16,  /* of a window of each row, the taps kept in their rings in scratch */
    FEW_WINDOWS = 4,    /* below so many a row's windows do not pay for a product of their own */
    ALL_ROWS = -1,
};

static bool depthwise(const struct rnnrt_layer_desc *desc) {
    return desc->groups > 1 && desc->groups == desc->input_size && desc->output_size == desc->input_size;
}
static size_t per_group(const struct rnnrt_layer_desc *desc) {
    return (size_t)(desc->input_size / desc->groups);
}
static bool tap_by_tap(const struct rnnrt_layer_desc *desc) {
    return per_group(desc) >= 16 || desc->kernel_size == 1;
}
static size_t group_depth(const struct rnnrt_layer_desc *desc) {
    return (size_t)desc->kernel_size * per_group(desc);
}

static enum rnnrt_status prepare(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    const struct rnnrt_layer_desc *desc = &op->desc;
    *text = "a convolution needs weights, a window that fits and groups that divide its inputs and outputs";
    if (!desc->weight || !window_ok(desc) || desc->groups < 1 || desc->input_size % desc->groups ||
        desc->output_size % desc->groups)
        return RNNRT_BAD_LAYER;
    enum rnnrt_status status = RNNRT_OK;
    size_t taps = (size_t)desc->kernel_size, groups = (size_t)desc->groups, out = (size_t)desc->output_size;
    op->bias = rnnrt_plan_copy(plan, desc->bias, out, &status);
    if (depthwise(desc)) {
        if (!rnnrt_plan_may_read(plan, desc->weight, rnnrt_times(out, taps))) return RNNRT_BAD_LAYER;
        float *table = rnnrt_plan_floats(plan, rnnrt_times(out, taps));
        if (!table) return RNNRT_NO_MEMORY;
        for (size_t c = 0; c < groups && !plan->filled; c++)
            for (size_t tap = 0; tap < taps; tap++) table[tap * groups + c] = desc->weight[c * taps + tap];
        op->table = table;
        return status;
    }
    op->weight = rnnrt_plan_pack(plan, desc->weight, groups, out / groups, group_depth(desc), &status);
    return status;
}

static void measure(const struct rnnrt_op *op, size_t batch, size_t frames, struct rnnrt_sizes *sizes) {
    size_t taps = rnnrt_smaller((size_t)op->desc.kernel_size, MOST_PIECES),
           wide = rnnrt_times(rnnrt_times(taps, ROWS_AT_ONCE), (size_t)op->desc.input_size),
           narrow = rnnrt_times(GATHERED_ROWS, group_depth(&op->desc));
    sizes->scratch = window_scratch(batch) + (!tap_by_tap(&op->desc) && !op->table ? narrow
                                              : batch > 1                          ? wide
                                                                                   : 0);
    sizes->capacity = window_capacity(op, frames);
}

/* Window k of this invocation for one batch row and group, zeros where it hangs over either end. */
static void gather(const struct window *w, size_t k, size_t b, size_t g, float *to) {
    const struct rnnrt_layer_desc *desc = &w->op->desc;
    size_t part = per_group(desc);
    int64_t frame = w->first + (int64_t)k * w->stride, begin = window_begin(w, b);
    for (int32_t tap = 0; tap < desc->kernel_size; tap++, to += part, frame += desc->dilation)
        if (frame < begin || frame >= w->end) memset(to, 0, part * sizeof *to);
        else memcpy(to, window_at(w, frame, b) + g * part, part * sizeof *to);
}

/* Whether the call is to end, after work on `rows` output rows by `taps` taps of the window. */
static bool worked(const struct window *w, size_t rows, int32_t taps) {
    const struct rnnrt_layer_desc *desc = &w->op->desc;
    if (!w->call->pulse) return false;
    double all = w->op->work * desc->stride / desc->kernel_size;
    return rnnrt_worked(w->call->pulse, all * (double)rows * taps);
}

static bool run_gathered(const struct window *w, float *scratch, float *y) {
    const struct rnnrt_op *op = w->op;
    const struct rnnrt_kernels *kernels = w->call->kernels;
    size_t out = (size_t)op->desc.output_size, groups = (size_t)op->desc.groups, batch = w->call->batch,
           depth = group_depth(&op->desc), outputs = out / groups, rows = w->due * batch;
    for (size_t done = 0, count; done < rows; done += count) {
        count = rnnrt_smaller(rows - done, GATHERED_ROWS);
        for (size_t g = 0; g < groups; g++) {
            for (size_t r = 0; r < count; r++)
                gather(w, (done + r) / batch, (done + r) % batch, g, scratch + r * depth);
            const struct rnnrt_product product = {.x = scratch,
                                                  .x_stride = depth,
                                                  .depth = depth,
                                                  .rows = count,
                                                  .y = y + done * out + g * outputs,
                                                  .y_stride = out,
                                                  .bias = op->bias ? op->bias + g * outputs : NULL};
            kernels->product(&op->weight[g], &product);
        }
        if (worked(w, count, op->desc.kernel_size)) return false;
    }
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
    size_t groups = op->table ? 1 : (size_t)op->desc.groups, outputs = (size_t)op->desc.output_size / groups,
           part = w->in / groups;
    for (size_t g = 0; g < groups; g++) {
        const struct rnnrt_product product = {.pieces = s->pieces,
                                              .piece_count = (size_t)s->taps,
                                              .first = (size_t)s->first_tap * part,
                                              .depth = part,
                                              .rows = rows,
                                              .y = y + g * outputs,
                                              .y_stride = y_stride,
                                              .bias = op->bias ? op->bias + g * outputs : NULL,
                                              .add = add};
        if (op->table) w->call->kernels->depthwise(op->table + product.first, &product);
        else w->call->kernels->product(&op->weight[g], &product);
        for (int32_t tap = 0; tap < s->taps; tap++) s->pieces[tap].x += part;
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
                count = rnnrt_smaller(s.count, to - j);
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

static bool run_taps(const struct window *w, float *scratch, float *y) {
    size_t batch = w->call->batch, out = (size_t)w->op->desc.output_size;
    int32_t taps = w->op->desc.kernel_size;
    for (int32_t tap = 0, end; tap < taps; tap = end) {
        end = taps - tap < MOST_PIECES ? taps : tap + MOST_PIECES;
        int64_t first = w->first + (int64_t)tap * w->op->desc.dilation; /* under the first of them */
        size_t k = w->stride > 1 && batch > 1 ? w->due
                   : first < 0                ? rnnrt_smaller(windows_to(w, -first), w->due)
                                              : 0;
        if (!run_rows(w, 0, k, tap, end, scratch, y)) return false;
        for (; k < w->due;) { /* frames and rows are one axis */
            struct stretch s;
            stretch_from(w, ALL_ROWS, k, tap, end, &s);
            if (!run_stretch(w, &s, tap > 0, s.count * batch, y + k * batch * out, out)) return false;
            k += s.count;
        }
    }
    return true;
}

static enum rnnrt_status run(const struct rnnrt_op *op, struct rnnrt_invocation *call) {
    struct window w = window_open(op, call);
    float *scratch = call->scratch + window_scratch(call->batch), *y = call->y[0];
    bool done = op->table || tap_by_tap(&op->desc) ? run_taps(&w, scratch, y) : run_gathered(&w, scratch, y);
    if (!done) return RNNRT_CANCELLED;
    window_close(&w);
    call->made[0] = w.due;
    if (op->desc.activation.name != RNNRT_LINEAR)
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
