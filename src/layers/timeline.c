/* Layers that move frames along time: reversal, a whole sequence as one value, one value as a sequence; and a
 * plan run inside each frame. */
#include <stdlib.h>
#include <string.h>

#include "../plan.h"

/* ---- reverse: runs once over everything ---- */

static enum rnnrt_status prepare_reverse(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    (void)plan;
    *text = "its input and output sizes differ";
    return op->row.input_size == op->row.output_size ? RNNRT_OK : RNNRT_BAD_ROW;
}

static enum rnnrt_status run_reverse(const struct rnnrt_op *op, struct rnnrt_visit *visit) {
    size_t frame = visit->batch * (size_t)op->row.input_size;
    for (size_t t = 0; t < visit->frames; t++) {
        memcpy(visit->y[0] + t * frame, visit->x[0] + (visit->frames - 1 - t) * frame, frame * sizeof(float));
        if (rnnrt_worked(visit->pulse, op->work * (double)visit->batch)) return RNNRT_CANCELLED;
    }
    visit->made[0] = visit->frames;
    return RNNRT_OK;
}
const struct rnnrt_layer rnnrt_layer_reverse = {
    .time = RNNRT_TIME_NEEDED, .prepare = prepare_reverse, .run = run_reverse, .asks = true};

/* ---- flatten: (length, size) -> one value ---- */

static enum rnnrt_status prepare_flatten(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    (void)plan;
    *text = "its length does not fit its sizes";
    const struct rnnrt_row *row = &op->row;
    int64_t in = row->input_size, out = row->output_size;
    return row->length > 0 &&
                   (row->kind == rnnrt_kind_flatten ? in * row->length == out : out * row->length == in)
               ? RNNRT_OK
               : RNNRT_BAD_ROW;
}

static size_t keeps_flatten(const struct rnnrt_op *op, struct rnnrt_kept *kept) {
    kept[0] = (struct rnnrt_kept){"frames", (size_t)op->row.length, (size_t)op->row.input_size, false, false};
    return 1;
}

static void measure_flatten(const struct rnnrt_op *op, size_t batch, size_t frames,
                            struct rnnrt_sizes *sizes) {
    (void)op, (void)batch, (void)frames;
    sizes->capacity = 1;
}

static size_t due_flatten(const struct rnnrt_op *op, size_t frames, bool ended) {
    return ended && frames == (size_t)op->row.length;
}

static enum rnnrt_status run_flatten(const struct rnnrt_op *op, struct rnnrt_visit *visit) {
    size_t in = (size_t)op->row.input_size, out = (size_t)op->row.output_size;
    for (size_t b = 0; b < visit->batch; b++) {
        float *value = rnnrt_kept_of(op, visit, b);
        uint64_t seen = rnnrt_start(op, visit, b);
        for (size_t t = 0; t < visit->frames && seen < (uint64_t)op->row.length; t++, seen++)
            memcpy(value + (size_t)seen * in, visit->x[0] + (t * visit->batch + b) * in, in * sizeof(float));
    }
    uint64_t seen = rnnrt_start(op, visit, 0) + visit->frames;
    if (!visit->final || !seen) return RNNRT_OK;
    if (seen != (uint64_t)op->row.length) return RNNRT_TOO_SHORT;
    for (size_t b = 0; b < visit->batch; b++)
        memcpy(visit->y[0] + b * out, rnnrt_kept_of(op, visit, b), out * sizeof(float));
    visit->made[0] = 1;
    return RNNRT_OK;
}
const struct rnnrt_layer rnnrt_layer_flatten = {.time = RNNRT_TIME_ENDS,
                                                .prepare = prepare_flatten,
                                                .keeps = keeps_flatten,
                                                .measure = measure_flatten,
                                                .due = due_flatten,
                                                .run = run_flatten};

/* ---- unflatten: one value -> (length, size) ---- */

static void measure_unflatten(const struct rnnrt_op *op, size_t batch, size_t frames,
                              struct rnnrt_sizes *sizes) {
    (void)batch;
    sizes->capacity = rnnrt_times(frames, (size_t)op->row.length);
}

static size_t due_unflatten(const struct rnnrt_op *op, size_t frames, bool ended) {
    (void)ended;
    return frames * (size_t)op->row.length;
}

static enum rnnrt_status run_unflatten(const struct rnnrt_op *op, struct rnnrt_visit *visit) {
    size_t out = (size_t)op->row.output_size, length = (size_t)op->row.length, batch = visit->batch;
    for (size_t f = 0; f < visit->frames; f++)
        for (size_t t = 0; t < length; t++)
            for (size_t b = 0; b < batch; b++)
                memcpy(visit->y[0] + ((f * length + t) * batch + b) * out,
                       visit->x[0] + ((f * batch + b) * length + t) * out, out * sizeof(float));
    visit->made[0] = visit->frames * length;
    return RNNRT_OK;
}
const struct rnnrt_layer rnnrt_layer_unflatten = {.time = RNNRT_TIME_BEGINS,
                                                  .prepare = prepare_flatten,
                                                  .measure = measure_unflatten,
                                                  .due = due_unflatten,
                                                  .run = run_unflatten};

/* ---- time_distributed: a whole plan inside each frame, whose first axis is that plan's time ---- */

static enum rnnrt_status prepare_inner(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    (void)plan;
    *text = "the plan inside has not one input and one output that fit";
    const struct rnnrt_plan *inner = op->row.inner;
    if (!inner || inner->outputs != 1 || inner->ops[0].row.kind != rnnrt_kind_input) return RNNRT_BAD_ROW;
    for (size_t r = 1; r < inner->count; r++)
        if (inner->ops[r].row.kind == rnnrt_kind_input) return RNNRT_BAD_ROW;
    const struct rnnrt_row *first = &inner->ops[0].row;
    size_t frames = first->timed && first->length > 0 ? (size_t)first->length : !first->timed,
           width = (size_t)inner->values[inner->output[0]].width;
    if (!frames || (uint64_t)frames * (uint64_t)first->output_size != (uint64_t)op->row.input_size ||
        (size_t)op->row.output_size % width)
        return RNNRT_BAD_ROW;
    size_t *total = malloc(inner->value_count * sizeof *total);
    if (!total) return RNNRT_NO_MEMORY;
    rnnrt_plan_totals(inner, &frames, true, false, total);
    bool fits = total[inner->output[0]] == (size_t)op->row.output_size / width;
    free(total);
    return fits ? RNNRT_OK : RNNRT_BAD_ROW;
}

static enum rnnrt_status run_inner(const struct rnnrt_op *op, struct rnnrt_visit *visit) {
    const struct rnnrt_plan *inner = op->row.inner;
    const struct rnnrt_row *first = &inner->ops[0].row;
    size_t in = (size_t)op->row.input_size, out = (size_t)op->row.output_size,
           frames = first->timed ? (size_t)first->length : 1;
    size_t width = (size_t)inner->values[inner->output[0]].width;
    for (size_t t = 0; t < visit->frames; t++) {
        struct rnnrt_array x = {(float *)visit->x[0] + t * visit->batch * in, first->output_size,
                                (ptrdiff_t)in, frames};
        struct rnnrt_array y = {visit->y[0] + t * visit->batch * out, (ptrdiff_t)width, (ptrdiff_t)out,
                                out / width};
        enum rnnrt_status status = visit->run_inner(visit->inner, &x, &y, visit->pulse, visit->error);
        if (status) return status;
        if (y.frames * width != out) return RNNRT_TOO_SHORT;
    }
    visit->made[0] = visit->frames;
    return RNNRT_OK;
}
static double work_inner(const struct rnnrt_op *op) {
    const struct rnnrt_row *first = &op->row.inner->ops[0].row;
    return rnnrt_plan_work(op->row.inner, first->timed ? (size_t)first->length : 1);
}
const struct rnnrt_layer rnnrt_layer_time_distributed = {
    .prepare = prepare_inner, .run = run_inner, .work = work_inner, .asks = true};
