/* Windows over time without weights (max, average), and what is left of a whole sequence: its last frame, its
 * greatest, its mean.
 *
 * Sums over time run in float64, frame after frame, so that neither block nor chunk shows in them. */
#include <math.h>

#include "window.h"

static enum rnnrt_status prepare_window(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    (void)plan;
    *text = "a pooling window does not fit";
    if (op->desc.kind == rnnrt_kind_average_pool1d) op->desc.dilation = 1;
    if (!window_ok(&op->desc)) return RNNRT_BAD_LAYER;
    int64_t span = (int64_t)window_span(&op->desc);
    bool padded =
        op->desc.pad_left >= span || op->desc.pad_right >= span; /* all padding: there is no answer */
    return !padded && op->desc.input_size == op->desc.output_size ? RNNRT_OK : RNNRT_BAD_LAYER;
}

static void measure_window(const struct rnnrt_op *op, size_t batch, size_t frames,
                           struct rnnrt_sizes *sizes) {
    sizes->scratch = window_scratch(batch) + rnnrt_times(batch, 2 * (size_t)op->desc.input_size);
    sizes->capacity = window_capacity(op, frames);
}

/* How many numbers side by side hold frame `frame` of a row and of those after it, of `rows`. */
static size_t run_of(const struct window *w, int64_t frame, size_t rows) {
    return frame >= 0 ? w->in * rows : w->in;
}

/* Of the frames from, from + dilation, ... before `to` of `rows` rows from b on; of none of them: -infinity.
 */
static void greatest(const struct window *w, size_t b, size_t rows, int64_t from, int64_t to, float *y) {
    for (size_t i = 0; from >= to && i < w->in * rows; i++) y[i] = -INFINITY;
    for (int64_t t = from; t < to; t += w->op->desc.dilation) {
        size_t n = run_of(w, t, rows);
        for (size_t at = 0; at < w->in * rows; at += n) {
            const float *x = window_at(w, t, b + at / w->in);
            if (t == from) memcpy(y + at, x, n * sizeof *y);
            else w->call->kernels->maximum(n, y + at, x, y + at);
        }
    }
}

static void mean(const struct window *w, size_t b, size_t rows, int64_t from, int64_t to, double count,
                 double *sum, float *y) {
    size_t all = w->in * rows;
    for (size_t i = 0; i < all; i++) sum[i] = 0.0;
    for (int64_t t = from; t < to; t++) {
        size_t n = run_of(w, t, rows);
        for (size_t at = 0; at < all; at += n) {
            const float *x = window_at(w, t, b + at / w->in);
            for (size_t i = 0; i < n; i++) sum[at + i] += (double)x[i];
        }
    }
    for (size_t i = 0; i < all; i++) y[i] = (float)(sum[i] / count);
}

/* Window k of `rows` rows from b on, whose sequences began at the same frame. */
static void pool(const struct window *w, size_t k, size_t b, size_t rows, double *sum, float *y) {
    const struct rnnrt_layer_desc *desc = &w->op->desc;
    int64_t start = w->first + (int64_t)k * w->stride, end = start + (int64_t)window_span(desc),
            begin = window_begin(w, b), step = desc->dilation,
            late = start < begin ? (begin - start + step - 1) / step : 0, from = start + late * step,
            to = end > w->end ? w->end : end;
    if (desc->kind == rnnrt_kind_max_pool1d) greatest(w, b, rows, from, to, y);
    else mean(w, b, rows, from, to, (double)(desc->count_padding ? desc->kernel_size : to - from), sum, y);
}

static enum rnnrt_status run_window(const struct rnnrt_op *op, struct rnnrt_invocation *call) {
    struct window w = window_open(op, call);
    double *sum = (double *)(void *)(call->scratch + window_scratch(call->batch));
    float *y = call->y[0];
    for (size_t k = 0; k < w.due; k++)
        for (size_t b = 0, rows; b < call->batch; b += rows, y += rows * w.in)
            pool(&w, k, b, rows = window_alike(&w, b), sum, y);
    window_close(&w);
    call->made[0] = w.due;
    return RNNRT_OK;
}

static double work_window(const struct rnnrt_op *op) {
    return 8.0 * op->desc.kernel_size * op->desc.input_size / op->desc.stride;
}

#define POOL_WINDOW             \
    {.time = RNNRT_TIME_NEEDED, \
     .prepare = prepare_window, \
     .keeps = window_keeps,     \
     .measure = measure_window, \
     .due = window_due,         \
     .rate = window_rate,       \
     .run = run_window,         \
     .work = work_window,       \
     .ring = true,              \
     .uneven = true}
const struct rnnrt_layer_class rnnrt_layer_max_pool1d = POOL_WINDOW;
const struct rnnrt_layer_class rnnrt_layer_average_pool1d = POOL_WINDOW;

/* ---- what is given once, at the end (or after every frame so far) ---- */

static enum rnnrt_status prepare_once(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    (void)plan;
    *text = "its input and output sizes differ";
    return op->desc.input_size == op->desc.output_size ? RNNRT_OK : RNNRT_BAD_LAYER;
}

static size_t due_once(const struct rnnrt_op *op, size_t frames, bool ended) {
    (void)op;
    return ended && frames > 0;
}

static size_t keeps_once(const struct rnnrt_op *op, struct rnnrt_kept *kept) {
    const char *word = op->desc.kind == rnnrt_kind_last              ? "last"
                       : op->desc.kind == rnnrt_kind_first           ? "first"
                       : op->desc.kind == rnnrt_kind_global_variance ? "mean"
                       : op->desc.kind == rnnrt_kind_global_max_pool ? "maximum"
                                                                     : "sum";
    kept[0] = (struct rnnrt_kept){word, 1, (size_t)op->desc.input_size, true, false};
    kept[1] = (struct rnnrt_kept){"count", 1, 1, true, false}; /* of frames that were not masked */
    if (op->desc.kind != rnnrt_kind_global_variance) return op->mask ? 2 : 1;
    kept[1] =
        (struct rnnrt_kept){"squares", 1, (size_t)op->desc.input_size, true, false}; /* of differences */
    return 2;
}

static void measure_once(const struct rnnrt_op *op, size_t batch, size_t frames, struct rnnrt_sizes *sizes) {
    (void)op, (void)batch, (void)frames;
    sizes->capacity = 1;
}

/* One row: what is kept after its new frames, and the answer so far if it is wanted. */
static void run_row(const struct rnnrt_op *op, const struct rnnrt_invocation *call, size_t b, float *y) {
    double *value = rnnrt_kept_of(op, call, b);
    size_t n = (size_t)op->desc.input_size, step = n * call->batch;
    const float *x = call->x[0] + b * n;
    uint64_t seen = rnnrt_start(op, call, b);
    for (size_t t = 0; t < call->frames; t++, seen++, x += step) {
        const float *mask = rnnrt_mask_at(op, call, t);
        if (mask && mask[b] == 0) continue;
        if (mask) value[n] += 1;
        switch (op->desc.kind) {
        case rnnrt_kind_last:
            if (t + 1 == call->frames)
                for (size_t i = 0; i < n; i++) value[i] = (double)x[i];
            break;
        case rnnrt_kind_first:
            for (size_t i = 0; seen == 0 && i < n; i++) value[i] = (double)x[i];
            break;
        case rnnrt_kind_global_variance: /* Welford's: no square of a mean is subtracted */
            for (size_t i = 0; i < n; i++) {
                double off = (double)x[i] - value[i];
                value[i] += off / (double)(seen + 1);
                value[n + i] += off * ((double)x[i] - value[i]);
            }
            break;
        case rnnrt_kind_global_sum:
        case rnnrt_kind_global_average_pool:
            for (size_t i = 0; i < n; i++) value[i] += (double)x[i];
            break;
        default: /* greatest; a NaN stays */
            for (size_t i = 0; i < n; i++)
                if (seen == 0 || (double)x[i] > value[i] || x[i] != x[i]) value[i] = (double)x[i];
        }
    }
    if (!y) return;
    if (op->desc.kind == rnnrt_kind_global_variance) {
        double count = (double)seen - (double)op->desc.value;
        for (size_t i = 0; i < n; i++) y[i] = (float)(value[n + i] / (count > 0 ? count : 0));
        return;
    }
    double divisor = op->mask                                          ? value[n]
                     : op->desc.kind == rnnrt_kind_global_average_pool ? (double)seen
                                                                       : 1.0;
    for (size_t i = 0; i < n; i++) y[i] = (float)(value[i] / divisor);
}

static enum rnnrt_status run_once(const struct rnnrt_op *op, struct rnnrt_invocation *call) {
    bool answers = (call->every_step || call->final) && rnnrt_start(op, call, 0) + call->frames > 0;
    for (size_t b = 0; b < call->batch; b++)
        run_row(op, call, b, answers ? call->y[0] + b * (size_t)op->desc.input_size : NULL);
    call->made[0] = answers;
    return RNNRT_OK;
}

#define RNNRT_ONCE            \
    {.time = RNNRT_TIME_ENDS, \
     .prepare = prepare_once, \
     .keeps = keeps_once,     \
     .measure = measure_once, \
     .due = due_once,         \
     .run = run_once}
const struct rnnrt_layer_class rnnrt_layer_last = RNNRT_ONCE;
const struct rnnrt_layer_class rnnrt_layer_first = RNNRT_ONCE;
const struct rnnrt_layer_class rnnrt_layer_global_sum = RNNRT_ONCE;
const struct rnnrt_layer_class rnnrt_layer_global_variance = RNNRT_ONCE;
const struct rnnrt_layer_class rnnrt_layer_global_max_pool = RNNRT_ONCE;
const struct rnnrt_layer_class rnnrt_layer_global_average_pool = RNNRT_ONCE;
