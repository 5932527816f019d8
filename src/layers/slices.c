/* Frames of a sequence left out at either end, or made up there: crop, and pad by a value, by the frame at
 * the end, or by reflection there. All are windows (window.h) of which one frame is copied. And pad by the
 * frames of the other end, which runs once over everything.
 *
 * A reflection of n frames at the start is known only n frames later, and then as many frames back are still
 * to come: its window holds 2 n frames before the newest, and answers n frames late. At the end the frames
 * made up go back one more than there are of them. */
#include "window.h"

/* Left out, or made up, at the start (part[0]) and at the end (part[1]); op->desc's padding is the window's.
 */
static enum rnnrt_status prepare(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    (void)plan;
    struct rnnrt_layer_desc *desc = &op->desc;
    *text = "its span, stride or frames at the ends do not fit";
    int64_t left = desc->pad_left, right = desc->pad_right, span = 1, before = left, after = right;
    if (left < 0 || right < 0 || left > 1 << 22 || right > 1 << 22 || desc->dilation != 1 || desc->same ||
        desc->input_size != desc->output_size || desc->stride < 1)
        return RNNRT_BAD_LAYER;
    switch (desc->kind) {
    case rnnrt_kind_crop: span = left + right + 1, before = after = 0; break;
    case rnnrt_kind_pad_replicate: span = right ? 2 : 1, before = left + span - 1; break;
    case rnnrt_kind_pad_reflect:
        span = 1 + (2 * left > right ? 2 * left : right ? right + 1 : 0);
        before = span - 1 - left, after = 2 * left + right;
        break;
    case rnnrt_kind_pad_circular: before = after = 0; break;
    default: break;
    }
    if (desc->kernel_size != span || (desc->kind != rnnrt_kind_crop && desc->stride != 1))
        return RNNRT_BAD_LAYER;
    op->part[0] = (size_t)left, op->part[1] = (size_t)right;
    desc->pad_left = (int32_t)before, desc->pad_right = (int32_t)after;
    return window_ok(desc) ? RNNRT_OK : RNNRT_BAD_LAYER;
}

static void measure(const struct rnnrt_op *op, size_t batch, size_t frames, struct rnnrt_sizes *sizes) {
    sizes->scratch = window_scratch(batch);
    sizes->capacity = window_capacity(op, frames);
}

/* Frame `frame` of every row. */
static void copy(const struct window *w, int64_t frame, float *y) {
    size_t rows = frame >= 0 ? 1 : w->call->batch, n = w->in * w->call->batch / rows;
    for (size_t b = 0; b < rows; b++) memcpy(y + b * n, window_at(w, frame, b), n * sizeof *y);
}

static enum rnnrt_status run_crop(const struct rnnrt_op *op, struct rnnrt_invocation *call) {
    struct window w = window_open(op, call);
    float *y = call->y[0];
    for (size_t k = 0; k < w.due; k++, y += w.in * call->batch)
        copy(&w, w.first + (int64_t)k * w.stride + (int64_t)op->part[0], y);
    window_close(&w);
    call->made[0] = w.due;
    return RNNRT_OK;
}

/* The frame, counted from the sequence's first, that stands at place `at` of a sequence of `total` frames;
 * less than 0 or at least `total`: none does. */
static int64_t source(const struct rnnrt_op *op, int64_t at, int64_t total) {
    if (at >= 0 && at < total) return at;
    switch (op->desc.kind) {
    case rnnrt_kind_pad_replicate: return at < 0 ? 0 : total - 1;
    case rnnrt_kind_pad_reflect: return at < 0 ? -at : 2 * (total - 1) - at;
    default: return -1;
    }
}

static enum rnnrt_status run_pad(const struct rnnrt_op *op, struct rnnrt_invocation *call) {
    struct window w = window_open(op, call);
    int64_t start = (int64_t)rnnrt_start(op, call, 0), total = start + (int64_t)call->frames;
    int64_t first = (int64_t)window_due(op, (size_t)start, false) - (int64_t)op->part[0];
    size_t all = w.in * call->batch;
    float *y = call->y[0];
    for (size_t k = 0; k < w.due; k++, y += all) {
        int64_t frame = source(op, first + (int64_t)k, total) - start;
        if (frame >= w.begin && frame < w.end) copy(&w, frame, y);
        else if (op->desc.kind != rnnrt_kind_pad_constant) return RNNRT_TOO_SHORT;
        else
            for (size_t i = 0; i < all; i++) y[i] = op->desc.value;
    }
    window_close(&w);
    call->made[0] = w.due;
    return RNNRT_OK;
}

/* A crop reads no frame that is not there; what is made up at an end may have to look for one. */
#define SLICE(how)              \
    {.time = RNNRT_TIME_NEEDED, \
     .prepare = prepare,        \
     .keeps = window_keeps,     \
     .measure = measure,        \
     .due = window_due,         \
     .rate = window_rate,       \
     .run = how,                \
     .ring = true,              \
     .uneven = how == run_crop}
const struct rnnrt_layer_class rnnrt_layer_crop = SLICE(run_crop);
const struct rnnrt_layer_class rnnrt_layer_pad_constant = SLICE(run_pad);
const struct rnnrt_layer_class rnnrt_layer_pad_replicate = SLICE(run_pad);
const struct rnnrt_layer_class rnnrt_layer_pad_reflect = SLICE(run_pad);

/* ---- by the frames of the other end ---- */

static void measure_circular(const struct rnnrt_op *op, size_t batch, size_t frames,
                             struct rnnrt_sizes *sizes) {
    (void)batch;
    sizes->capacity = frames + op->part[0] + op->part[1];
}

static size_t due_circular(const struct rnnrt_op *op, size_t frames, bool ended) {
    return ended && frames ? frames + op->part[0] + op->part[1] : 0;
}

static enum rnnrt_status run_circular(const struct rnnrt_op *op, struct rnnrt_invocation *call) {
    size_t before = op->part[0], after = op->part[1], n = call->frames;
    size_t all = call->batch * (size_t)op->desc.input_size;
    if (n < rnnrt_larger(before, after)) return RNNRT_TOO_SHORT;
    for (size_t k = 0; n && k < before + n + after; k++) {
        size_t frame = k < before ? n - before + k : k < before + n ? k - before : k - before - n;
        memcpy(call->y[0] + k * all, call->x[0] + frame * all, all * sizeof(float));
        if (rnnrt_worked(call->pulse, op->work * (double)call->batch)) return RNNRT_CANCELLED;
    }
    call->made[0] = n ? before + n + after : 0;
    return RNNRT_OK;
}
const struct rnnrt_layer_class rnnrt_layer_pad_circular = {.time = RNNRT_TIME_NEEDED,
                                                           .prepare = prepare,
                                                           .measure = measure_circular,
                                                           .due = due_circular,
                                                           .run = run_circular,
                                                           .asks = true};
