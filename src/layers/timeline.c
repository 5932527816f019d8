/* Layers that move frames along time: reversal, a whole sequence as one value, one value as a sequence; and a
 * plan run inside each frame. */
#include <stdlib.h>
#include <string.h>

#include "../plan.h"

/* ---- reverse: runs once over everything ---- */

static enum rnnrt_status prepare_reverse(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    (void)plan;
    *text = "its input and output sizes differ";
    return op->desc.input_size == op->desc.output_size ? RNNRT_OK : RNNRT_BAD_LAYER;
}

static enum rnnrt_status run_reverse(const struct rnnrt_op *op, struct rnnrt_invocation *call) {
    size_t frame = call->batch * (size_t)op->desc.input_size;
    for (size_t t = 0; t < call->frames; t++) {
        memcpy(call->y[0] + t * frame, call->x[0] + (call->frames - 1 - t) * frame, frame * sizeof(float));
        if (rnnrt_worked(call->pulse, op->work * (double)call->batch)) return RNNRT_CANCELLED;
    }
    call->made[0] = call->frames;
    return RNNRT_OK;
}
const struct rnnrt_layer_class rnnrt_layer_reverse = {
    .time = RNNRT_TIME_NEEDED, .prepare = prepare_reverse, .run = run_reverse, .asks = true};

/* ---- flatten: (length, size) -> one value ---- */

static enum rnnrt_status prepare_flatten(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    (void)plan;
    *text = "its length does not fit its sizes";
    const struct rnnrt_layer_desc *desc = &op->desc;
    int64_t in = desc->input_size, out = desc->output_size;
    return desc->length > 0 &&
                   (desc->kind == rnnrt_kind_flatten ? in * desc->length == out : out * desc->length == in)
               ? RNNRT_OK
               : RNNRT_BAD_LAYER;
}

static size_t keeps_flatten(const struct rnnrt_op *op, struct rnnrt_kept *kept) {
    kept[0] =
        (struct rnnrt_kept){"frames", (size_t)op->desc.length, (size_t)op->desc.input_size, false, false};
    return 1;
}

static void measure_flatten(const struct rnnrt_op *op, size_t batch, size_t frames,
                            struct rnnrt_sizes *sizes) {
    (void)op, (void)batch, (void)frames;
    sizes->capacity = 1;
}

static size_t due_flatten(const struct rnnrt_op *op, size_t frames, bool ended) {
    return ended && frames == (size_t)op->desc.length;
}

static enum rnnrt_status run_flatten(const struct rnnrt_op *op, struct rnnrt_invocation *call) {
    size_t in = (size_t)op->desc.input_size, out = (size_t)op->desc.output_size;
    for (size_t b = 0; b < call->batch; b++) {
        float *value = rnnrt_kept_of(op, call, b);
        uint64_t seen = rnnrt_start(op, call, b);
        for (size_t t = 0; t < call->frames && seen < (uint64_t)op->desc.length; t++, seen++)
            memcpy(value + (size_t)seen * in, call->x[0] + (t * call->batch + b) * in, in * sizeof(float));
    }
    if (!call->final || !(rnnrt_start(op, call, 0) + call->frames)) return RNNRT_OK;
    for (size_t b = 0; b < call->batch; b++)
        if (rnnrt_start(op, call, b) + call->frames != (uint64_t)op->desc.length) return RNNRT_TOO_SHORT;
    for (size_t b = 0; b < call->batch; b++)
        memcpy(call->y[0] + b * out, rnnrt_kept_of(op, call, b), out * sizeof(float));
    call->made[0] = 1;
    return RNNRT_OK;
}
const struct rnnrt_layer_class rnnrt_layer_flatten = {.time = RNNRT_TIME_ENDS,
                                                      .prepare = prepare_flatten,
                                                      .keeps = keeps_flatten,
                                                      .measure = measure_flatten,
                                                      .due = due_flatten,
                                                      .run = run_flatten};

/* ---- unflatten: one value -> (length, size) ---- */

static void measure_unflatten(const struct rnnrt_op *op, size_t batch, size_t frames,
                              struct rnnrt_sizes *sizes) {
    (void)batch;
    sizes->capacity = rnnrt_times(frames, (size_t)op->desc.length);
}

static size_t due_unflatten(const struct rnnrt_op *op, size_t frames, bool ended) {
    (void)ended;
    return frames * (size_t)op->desc.length;
}

static enum rnnrt_status run_unflatten(const struct rnnrt_op *op, struct rnnrt_invocation *call) {
    size_t out = (size_t)op->desc.output_size, length = (size_t)op->desc.length, batch = call->batch;
    for (size_t f = 0; f < call->frames; f++)
        for (size_t t = 0; t < length; t++)
            for (size_t b = 0; b < batch; b++)
                memcpy(call->y[0] + ((f * length + t) * batch + b) * out,
                       call->x[0] + ((f * batch + b) * length + t) * out, out * sizeof(float));
    call->made[0] = call->frames * length;
    return RNNRT_OK;
}
const struct rnnrt_layer_class rnnrt_layer_unflatten = {.time = RNNRT_TIME_BEGINS,
                                                        .prepare = prepare_flatten,
                                                        .measure = measure_unflatten,
                                                        .due = due_unflatten,
                                                        .run = run_unflatten};

/* ---- time_distributed: a whole plan inside each frame, whose first axis is that plan's time ---- */

static enum rnnrt_status prepare_inner(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    *text = "the plan inside has not one input and one output that fit";
    const struct rnnrt_plan *inner = op->desc.inner;
    if (!inner || inner->outputs != 1 || inner->ops[0].desc.kind != rnnrt_kind_input) return RNNRT_BAD_LAYER;
    for (size_t r = 1; r < inner->count; r++)
        if (inner->ops[r].desc.kind == rnnrt_kind_input) return RNNRT_BAD_LAYER;
    const struct rnnrt_layer_desc *first = &inner->ops[0].desc;
    size_t frames = first->timed && first->length > 0 ? (size_t)first->length : !first->timed,
           width = (size_t)inner->values[inner->output[0]].width;
    if (!frames || (uint64_t)frames * (uint64_t)first->output_size != (uint64_t)op->desc.input_size ||
        (size_t)op->desc.output_size % width)
        return RNNRT_BAD_LAYER;
    size_t *total = rnnrt_take(&plan->memory, inner->value_count, sizeof *total);
    if (!total) return RNNRT_NO_MEMORY;
    rnnrt_plan_totals(inner, &frames, true, false, total);
    bool fits = total[inner->output[0]] == (size_t)op->desc.output_size / width;
    rnnrt_give(&plan->memory, total);
    return fits ? RNNRT_OK : RNNRT_BAD_LAYER;
}

static enum rnnrt_status run_inner(const struct rnnrt_op *op, struct rnnrt_invocation *call) {
    const struct rnnrt_plan *inner = op->desc.inner;
    const struct rnnrt_layer_desc *first = &inner->ops[0].desc;
    size_t in = (size_t)op->desc.input_size, out = (size_t)op->desc.output_size,
           frames = first->timed ? (size_t)first->length : 1;
    size_t width = (size_t)inner->values[inner->output[0]].width;
    for (size_t t = 0; t < call->frames; t++) {
        struct rnnrt_array x = {(float *)call->x[0] + t * call->batch * in, first->output_size, (ptrdiff_t)in,
                                frames, 1};
        struct rnnrt_array y = {call->y[0] + t * call->batch * out, (ptrdiff_t)width, (ptrdiff_t)out,
                                out / width, 1};
        enum rnnrt_status status = call->run_inner(call->inner, &x, &y, call->pulse, call->error);
        if (status) return status;
        if (y.frames * width != out) return RNNRT_TOO_SHORT;
    }
    call->made[0] = call->frames;
    return RNNRT_OK;
}
static double work_inner(const struct rnnrt_op *op) {
    const struct rnnrt_layer_desc *first = &op->desc.inner->ops[0].desc;
    return rnnrt_plan_work(op->desc.inner, first->timed ? (size_t)first->length : 1);
}
const struct rnnrt_layer_class rnnrt_layer_time_distributed = {
    .prepare = prepare_inner, .run = run_inner, .work = work_inner, .asks = true};
