/* Layers that compare, divide or choose between inputs number by number, the greatest number of a frame, and
 * a value given once beside every frame. */
#include <string.h>

#include "../plan.h"

static size_t numbers(const struct rnnrt_op *op, const struct rnnrt_invocation *call) {
    return call->frames * call->batch * (size_t)op->desc.output_size;
}

static enum rnnrt_status prepare(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    int32_t wanted = op->desc.kind == rnnrt_kind_where ? 3 : op->desc.kind == rnnrt_kind_maximum ? 0 : 2;
    *text = "it has too many or too few inputs";
    if (wanted && op->desc.inputs != wanted) return RNNRT_BAD_LAYER;
    *text = "its inputs differ in size";
    for (int32_t i = 0; i < op->desc.inputs; i++)
        if (plan->values[op->desc.input[i]].width != op->desc.output_size) return RNNRT_BAD_LAYER;
    return RNNRT_OK;
}

static enum rnnrt_status run_maximum(const struct rnnrt_op *op, struct rnnrt_invocation *call) {
    size_t n = numbers(op, call);
    if (op->desc.inputs == 1) memcpy(call->y[0], call->x[0], n * sizeof(float));
    for (int32_t i = 1; i < op->desc.inputs; i++)
        call->kernels->maximum(n, i == 1 ? call->x[0] : call->y[0], call->x[i], call->y[0]);
    call->made[0] = call->frames;
    return RNNRT_OK;
}

static enum rnnrt_status run_two(const struct rnnrt_op *op, struct rnnrt_invocation *call) {
    enum rnnrt_pairing how = op->desc.kind == rnnrt_kind_divide    ? RNNRT_QUOTIENT
                             : op->desc.kind == rnnrt_kind_greater ? RNNRT_GREATER
                             : op->desc.kind == rnnrt_kind_equal   ? RNNRT_EQUAL
                                                                   : RNNRT_GREATER_EQUAL;
    call->kernels->pair(how, numbers(op, call), call->x[0], call->x[1], call->y[0]);
    call->made[0] = call->frames;
    return RNNRT_OK;
}

static enum rnnrt_status run_where(const struct rnnrt_op *op, struct rnnrt_invocation *call) {
    size_t n = numbers(op, call);
    for (size_t i = 0; i < n; i++) call->y[0][i] = call->x[0][i] == 0 ? call->x[2][i] : call->x[1][i];
    call->made[0] = call->frames;
    return RNNRT_OK;
}

const struct rnnrt_layer_class rnnrt_layer_maximum = {.prepare = prepare, .run = run_maximum};
const struct rnnrt_layer_class rnnrt_layer_divide = {.prepare = prepare, .run = run_two};
const struct rnnrt_layer_class rnnrt_layer_greater = {.prepare = prepare, .run = run_two};
const struct rnnrt_layer_class rnnrt_layer_greater_equal = {.prepare = prepare, .run = run_two};
const struct rnnrt_layer_class rnnrt_layer_equal = {.prepare = prepare, .run = run_two};
const struct rnnrt_layer_class rnnrt_layer_where = {.prepare = prepare, .run = run_where};

/* ---- the greatest number of each frame; a NaN stays ---- */

static enum rnnrt_status prepare_greatest(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    (void)plan;
    *text = "its output is not one number a frame";
    return op->desc.output_size == 1 ? RNNRT_OK : RNNRT_BAD_LAYER;
}

static enum rnnrt_status run_greatest(const struct rnnrt_op *op, struct rnnrt_invocation *call) {
    size_t width = (size_t)op->desc.input_size;
    const float *x = call->x[0];
    for (size_t r = 0; r < call->frames * call->batch; r++, x += width) {
        float greatest = x[0];
        for (size_t k = 1; k < width; k++)
            if (x[k] > greatest || x[k] != x[k]) greatest = x[k];
        call->y[0][r] = greatest;
    }
    call->made[0] = call->frames;
    return RNNRT_OK;
}
const struct rnnrt_layer_class rnnrt_layer_feature_max = {.prepare = prepare_greatest, .run = run_greatest};

/* ---- expand: at every frame of input 0 the value that input 1 gives once ---- */

static enum rnnrt_status prepare_expand(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    *text = "it needs a sequence, and a value given once of its output size";
    return op->desc.inputs == 2 && plan->values[op->desc.input[1]].width == op->desc.output_size
               ? RNNRT_OK
               : RNNRT_BAD_LAYER;
}

static size_t keeps_expand(const struct rnnrt_op *op, struct rnnrt_kept *kept) {
    kept[0] = (struct rnnrt_kept){"value", 1, (size_t)op->desc.output_size, false, true};
    return 1;
}

/* The value comes with the first frame or before it, and is kept for those after it: where it lay other
 * values lie by then. */
static enum rnnrt_status run_expand(const struct rnnrt_op *op, struct rnnrt_invocation *call) {
    size_t n = (size_t)op->desc.output_size;
    for (size_t b = 0; b < call->batch; b++) {
        float *value = rnnrt_kept_of(op, call, b);
        if (call->every_step || call->ready[1]) memcpy(value, call->x[1] + b * n, n * sizeof *value);
        for (size_t t = 0; t < call->frames; t++)
            memcpy(call->y[0] + (t * call->batch + b) * n, value, n * sizeof *value);
    }
    call->made[0] = call->frames;
    return RNNRT_OK;
}
const struct rnnrt_layer_class rnnrt_layer_expand = {
    .time = RNNRT_TIME_NEEDED, .prepare = prepare_expand, .keeps = keeps_expand, .run = run_expand};
