/* Windows over time without weights (max, average), and what is left of a whole sequence: its last frame, its
 * greatest, its mean.
 *
 * Sums over time run in float64, frame after frame, so that neither block nor chunk shows in them. */
#include "window.h"

static enum rnnrt_status prepare_window(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    (void)plan;
    *text = "a pooling window does not fit";
    op->row.dilation = 1;
    bool padded = op->row.pad_left >= op->row.kernel_size ||
                  op->row.pad_right >= op->row.kernel_size; /* a window of padding alone has no answer */
    return window_ok(&op->row) && !padded && op->row.input_size == op->row.output_size ? RNNRT_OK
                                                                                       : RNNRT_BAD_ROW;
}

static void measure_window(const struct rnnrt_op *op, size_t batch, size_t frames,
                           struct rnnrt_sizes *sizes) {
    sizes->state = window_state_bytes(op, batch, frames);
    sizes->capacity = window_capacity(op, frames);
}

static enum rnnrt_status run_window(const struct rnnrt_op *op, struct rnnrt_visit *visit) {
    const struct rnnrt_row *row = &op->row;
    struct window w = window_open(op, visit);
    size_t frame = w.frame;
    float *y = visit->y[0];
    for (uint64_t k = w.made; k < w.due; k++, y += frame, visit->made[0]++) {
        int64_t start = (int64_t)(k * (uint64_t)row->stride) - row->pad_left, end = start + row->kernel_size;
        int64_t from = start<0 ? 0 : start, to = end>(int64_t) w.seen ? (int64_t)w.seen : end;
        const float *x = window_at(&w, (uint64_t)from);
        if (row->kind == rnnrt_kind_max_pool1d) {
            memcpy(y, x, frame * sizeof *y);
            for (int64_t t = from + 1; t < to; t++)
                visit->kernels->maximum(frame, y, x + (size_t)(t - from) * frame, y);
        } else {
            double count = (double)(row->count_padding ? row->kernel_size : to - from);
            for (size_t i = 0; i < frame; i++) {
                double sum = 0.0;
                for (int64_t t = from; t < to; t++) sum += (double)x[(size_t)(t - from) * frame + i];
                y[i] = (float)(sum / count);
            }
        }
    }
    return RNNRT_OK;
}

const struct rnnrt_layer rnnrt_layer_max_pool1d = {
    .prepare = prepare_window, .measure = measure_window, .due = window_due, .run = run_window};
const struct rnnrt_layer rnnrt_layer_average_pool1d = {
    .prepare = prepare_window, .measure = measure_window, .due = window_due, .run = run_window};

/* ---- what is given once, at the end (or after every frame so far) ---- */

static enum rnnrt_status prepare_once(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    (void)plan;
    *text = "its input and output sizes differ";
    return op->row.input_size == op->row.output_size ? RNNRT_OK : RNNRT_BAD_ROW;
}

static size_t due_once(const struct rnnrt_op *op, size_t frames, bool ended) {
    (void)op;
    return ended && frames > 0;
}

static void measure_once(const struct rnnrt_op *op, size_t batch, size_t frames, struct rnnrt_sizes *sizes) {
    (void)frames;
    sizes->state = rnnrt_times(batch, (size_t)op->row.input_size * sizeof(double));
    sizes->capacity = 1;
}

static enum rnnrt_status run_once(const struct rnnrt_op *op, struct rnnrt_visit *visit) {
    double *value = visit->state;
    size_t n = visit->batch * (size_t)op->row.input_size;
    uint64_t seen = visit->start;
    for (size_t t = 0; t < visit->frames; t++, seen++) {
        const float *x = visit->x[0] + t * n;
        switch (op->row.kind) {
        case rnnrt_kind_last:
            if (t + 1 == visit->frames)
                for (size_t i = 0; i < n; i++) value[i] = (double)x[i];
            break;
        case rnnrt_kind_global_average_pool:
            for (size_t i = 0; i < n; i++) value[i] += (double)x[i];
            break;
        default: /* greatest; a NaN stays */
            for (size_t i = 0; i < n; i++)
                if (seen == 0 || (double)x[i] > value[i] || x[i] != x[i]) value[i] = (double)x[i];
        }
    }
    if (!seen || !(visit->every_step || visit->final)) return RNNRT_OK;
    double divisor = op->row.kind == rnnrt_kind_global_average_pool ? (double)seen : 1.0;
    for (size_t i = 0; i < n; i++) visit->y[0][i] = (float)(value[i] / divisor);
    visit->made[0] = 1;
    return RNNRT_OK;
}

const struct rnnrt_layer rnnrt_layer_last = {
    .prepare = prepare_once, .measure = measure_once, .due = due_once, .run = run_once};
const struct rnnrt_layer rnnrt_layer_global_max_pool = {
    .prepare = prepare_once, .measure = measure_once, .due = due_once, .run = run_once};
const struct rnnrt_layer rnnrt_layer_global_average_pool = {
    .prepare = prepare_once, .measure = measure_once, .due = due_once, .run = run_once};
