/* y[k] = activation(b + sum over taps of W[tap] x[k * stride - pad_left + tap * dilation]), weight (out, tap,
 * in per group).
 *
 * Each group's weight is a matrix (out, tap * in). Three ways, chosen by the layer's shape alone. Wide
 * inputs: one product per tap, with that tap's columns, added in order, straight from the ring. Narrow
 * inputs: the window as one long row of kernel_size * in numbers, gathered into scratch, and one product.
 * Depthwise: multiply and add along the channels, tap after tap. Where a tap hangs over either end of the
 * input it is left out (or gathered as zeros). */
#include "window.h"

enum {
    GATHERED_ROWS = 64,
    KEPT_RUN = 4, /* windows of one row that pay for a product of their own */
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
    size_t wide = tap_by_tap(&op->desc) ? (size_t)op->desc.input_size : group_depth(&op->desc);
    sizes->scratch = window_scratch(batch) + rnnrt_times(GATHERED_ROWS, wide);
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

static void start_from_bias(const struct rnnrt_op *op, size_t rows, float *y) {
    size_t out = (size_t)op->desc.output_size;
    for (size_t r = 0; r < rows; r++)
        if (op->bias) memcpy(y + r * out, op->bias, out * sizeof *y);
        else memset(y + r * out, 0, out * sizeof *y);
}

/* Whether the call is to end, after work on `rows` output rows by `taps` taps of the window. */
static bool worked(const struct window *w, size_t rows, int32_t taps) {
    const struct rnnrt_layer_desc *desc = &w->op->desc;
    if (!w->call->pulse) return false;
    double all = w->op->work * desc->stride / desc->kernel_size;
    return rnnrt_worked(w->call->pulse, all * (double)rows * taps);
}

static bool run_depthwise(const struct window *w, float *y) {
    const struct rnnrt_op *op = w->op;
    size_t width = w->in, batch = w->call->batch;
    start_from_bias(op, w->due * batch, y);
    for (size_t k = 0; k < w->due; k++)
        for (size_t b = 0; b < batch; b++, y += width) {
            int64_t begin = window_begin(w, b);
            for (int32_t tap = 0; tap < op->desc.kernel_size; tap++) {
                int64_t frame = w->first + (int64_t)k * w->stride + (int64_t)tap * op->desc.dilation;
                if (frame < begin || frame >= w->end) continue;
                w->call->kernels->multiply_add(width, op->table + (size_t)tap * width, window_at(w, frame, b),
                                               y);
            }
            if (worked(w, 1, op->desc.kernel_size)) return false;
        }
    return true;
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

/* y += W[tap] x for `rows` rows and every group. */
static void add_tap(const struct window *w, int32_t tap, const float *x, size_t x_stride, size_t rows,
                    float *y, size_t y_stride) {
    const struct rnnrt_layer_desc *desc = &w->op->desc;
    size_t groups = (size_t)desc->groups, outputs = (size_t)desc->output_size / groups,
           part = per_group(desc);
    for (size_t g = 0; g < groups; g++) {
        const struct rnnrt_product product = {.x = x + g * part,
                                              .x_stride = x_stride,
                                              .first = (size_t)tap * part,
                                              .depth = part,
                                              .rows = rows,
                                              .y = y + g * outputs,
                                              .y_stride = y_stride,
                                              .add = true};
        w->call->kernels->product(&w->op->weight[g], &product);
    }
}

/* The first window of the invocation whose frame under the tap is `frame` or later. */
static size_t window_from(const struct window *w, int64_t offset, int64_t frame) {
    int64_t k = frame <= offset  ? 0
                : w->stride == 1 ? frame - offset
                                 : (frame - offset + w->stride - 1) / w->stride;
    return k < (int64_t)w->due ? (size_t)k : w->due;
}

/* Windows from .. to - 1 whose frame under this tap is kept from earlier invocations, of the rows that have
 * it. A row that has several reads its ring where it lies; single frames of several rows are gathered. */
static void add_kept(const struct window *w, int32_t tap, int64_t offset, size_t from, size_t to,
                     float *scratch, float *y) {
    size_t batch = w->call->batch, out = (size_t)w->op->desc.output_size, stride = (size_t)w->stride;
    for (size_t b = 0; b < batch && (batch == 1 || to - from >= KEPT_RUN); b++)
        for (size_t k = w->uneven ? window_from(w, offset, window_begin(w, b)) : from, count; k < to;
             k += count) {
            size_t slot = window_slot(w, offset + (int64_t)(k * stride), b), left = w->history - slot;
            const float *x = (const float *)rnnrt_kept_of(w->op, w->call, b) + slot * w->in;
            count = rnnrt_smaller(to - k, stride == 1 ? left : (left + stride - 1) / stride);
            add_tap(w, tap, x, stride * w->in, count, y + (k * batch + b) * out, batch * out);
        }
    if (batch == 1 || to - from >= KEPT_RUN) return;
    for (size_t r = from * batch, count; r < to * batch; r += count ? count : 1) {
        size_t most = rnnrt_smaller(to * batch - r, GATHERED_ROWS);
        for (count = 0; count < most; count++) {
            size_t b = (r + count) % batch;
            int64_t frame = offset + (int64_t)((r + count) / batch * stride);
            if (w->uneven && frame < window_begin(w, b)) break;
            memcpy(scratch + count * w->in, window_at(w, frame, b), w->in * sizeof *scratch);
        }
        if (count) add_tap(w, tap, scratch, w->in, count, y + r * out, out);
    }
}

/* The same where the frame under this tap is new. */
static void add_new(const struct window *w, int32_t tap, int64_t offset, size_t from, size_t to, float *y) {
    size_t batch = w->call->batch, out = (size_t)w->op->desc.output_size, stride = (size_t)w->stride;
    if (from >= to) return;
    const float *x = window_at(w, offset + (int64_t)(from * stride), 0);
    y += from * batch * out;
    if (stride == 1) { /* frame and batch row are one axis */
        add_tap(w, tap, x, w->in, (to - from) * batch, y, out);
        return;
    }
    for (size_t b = 0; b < batch; b++)
        add_tap(w, tap, x + b * w->in, stride * batch * w->in, to - from, y + b * out, batch * out);
}

static bool run_taps(const struct window *w, float *scratch, float *y) {
    start_from_bias(w->op, w->due * w->call->batch, y);
    for (int32_t tap = 0; tap < w->op->desc.kernel_size; tap++) {
        int64_t offset = w->first + (int64_t)tap * w->op->desc.dilation;
        size_t begin = window_from(w, offset, w->begin), fresh = window_from(w, offset, 0),
               end = window_from(w, offset, w->end);
        add_kept(w, tap, offset, begin, fresh, scratch, y);
        add_new(w, tap, offset, fresh, end, y);
        if (worked(w, (end - begin) * w->call->batch, 1)) return false;
    }
    return true;
}

static enum rnnrt_status run(const struct rnnrt_op *op, struct rnnrt_invocation *call) {
    struct window w = window_open(op, call);
    float *scratch = call->scratch + window_scratch(call->batch), *y = call->y[0];
    bool done = depthwise(&op->desc)    ? run_depthwise(&w, y)
                : tap_by_tap(&op->desc) ? run_taps(&w, scratch, y)
                                        : run_gathered(&w, scratch, y);
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
