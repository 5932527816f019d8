/* Layers that look at one frame at a time and keep nothing: activations, softmax, normalisations, selection,
 * merging. */
#include <string.h>

#include "../plan.h"

static enum rnnrt_status done(struct rnnrt_invocation *call) {
    call->made[0] = call->frames;
    return RNNRT_OK;
}

static enum rnnrt_status same_size(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    (void)plan;
    *text = "its input and output sizes differ";
    return op->desc.input_size == op->desc.output_size ? RNNRT_OK : RNNRT_BAD_LAYER;
}

static size_t width(const struct rnnrt_op *op) { return (size_t)op->desc.input_size; }
static size_t rows(const struct rnnrt_invocation *call) { return call->frames * call->batch; }

static enum rnnrt_status run_activation(const struct rnnrt_op *op, struct rnnrt_invocation *call) {
    call->kernels->activate(op->desc.activation, rows(call) * width(op), call->x[0], call->y[0]);
    return done(call);
}
const struct rnnrt_layer_class rnnrt_layer_activation = {.prepare = same_size, .run = run_activation};

static enum rnnrt_status run_reshape(const struct rnnrt_op *op, struct rnnrt_invocation *call) {
    memcpy(call->y[0], call->x[0], rows(call) * width(op) * sizeof(float));
    return done(call);
}
const struct rnnrt_layer_class rnnrt_layer_reshape = {.prepare = same_size, .run = run_reshape};

static enum rnnrt_status run_softmax(const struct rnnrt_op *op, struct rnnrt_invocation *call) {
    call->kernels->softmax(op->desc.kind == rnnrt_kind_log_softmax, width(op), rows(call), call->x[0],
                           call->y[0]);
    return done(call);
}
const struct rnnrt_layer_class rnnrt_layer_softmax = {.prepare = same_size, .run = run_softmax};
const struct rnnrt_layer_class rnnrt_layer_log_softmax = {.prepare = same_size, .run = run_softmax};

static enum rnnrt_status prepare_norm(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    enum rnnrt_status status = same_size(plan, op, text);
    if (op->desc.kind == rnnrt_kind_affine && (!op->desc.gamma || !op->desc.beta))
        *text = "it needs a scale and an offset", status = RNNRT_BAD_LAYER;
    op->gamma = rnnrt_plan_copy(plan, op->desc.gamma, width(op), &status);
    op->beta = rnnrt_plan_copy(plan, op->desc.beta, width(op), &status);
    op->mean = rnnrt_plan_copy(plan, op->desc.mean, width(op), &status);
    return status;
}

static enum rnnrt_status run_affine(const struct rnnrt_op *op, struct rnnrt_invocation *call) {
    call->kernels->affine(width(op), rows(call), op->mean, op->gamma, op->beta, call->x[0], call->y[0]);
    return done(call);
}
const struct rnnrt_layer_class rnnrt_layer_affine = {.prepare = prepare_norm, .run = run_affine};

static enum rnnrt_status run_norm(const struct rnnrt_op *op, struct rnnrt_invocation *call) {
    call->kernels->normalize(width(op), rows(call), op->gamma, op->beta, op->desc.epsilon, call->x[0],
                             width(op), call->y[0], width(op));
    return done(call);
}
const struct rnnrt_layer_class rnnrt_layer_layer_normalization = {.prepare = prepare_norm, .run = run_norm};

/* ---- select: y[k] = x[index[k]] ---- */

static enum rnnrt_status prepare_select(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    *text = "its index is out of range";
    if (op->desc.index && !rnnrt_plan_may_read(plan, op->desc.index, (size_t)op->desc.output_size))
        return RNNRT_BAD_LAYER;
    for (int32_t k = 0; k < op->desc.output_size; k++)
        if (!op->desc.index || op->desc.index[k] < 0 || op->desc.index[k] >= op->desc.input_size)
            return RNNRT_BAD_LAYER;
    float *copy = rnnrt_plan_floats(plan, (size_t)op->desc.output_size);
    if (!copy) return RNNRT_NO_MEMORY;
    if (!plan->filled) memcpy(copy, op->desc.index, (size_t)op->desc.output_size * sizeof(int32_t));
    op->desc.index = (const int32_t *)(const void *)copy;
    return RNNRT_OK;
}

static enum rnnrt_status run_select(const struct rnnrt_op *op, struct rnnrt_invocation *call) {
    const float *x = call->x[0];
    float *y = call->y[0];
    for (size_t r = 0; r < rows(call); r++, x += op->desc.input_size, y += op->desc.output_size)
        for (int32_t k = 0; k < op->desc.output_size; k++) y[k] = x[op->desc.index[k]];
    return done(call);
}
const struct rnnrt_layer_class rnnrt_layer_select = {.prepare = prepare_select, .run = run_select};

/* ---- not_equal: one number a frame, 1 where any number of it is not `value` ---- */

/* As IEEE 754 compares, also where denormals are flushed: by bits. */
static bool differs(float a, float b) {
    uint32_t i, k;
    memcpy(&i, &a, sizeof i);
    memcpy(&k, &b, sizeof k);
    return a != a || b != b || (i != k && ((i | k) << 1));
}

static enum rnnrt_status prepare_not_equal(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    (void)plan;
    *text = "its output is not one number a frame";
    return op->desc.output_size == 1 ? RNNRT_OK : RNNRT_BAD_LAYER;
}

static enum rnnrt_status run_not_equal(const struct rnnrt_op *op, struct rnnrt_invocation *call) {
    const float *x = call->x[0];
    for (size_t r = 0; r < rows(call); r++, x += width(op)) {
        bool any = false;
        for (size_t k = 0; k < width(op); k++) any |= differs(x[k], op->desc.value);
        call->y[0][r] = any ? 1 : 0;
    }
    return done(call);
}
const struct rnnrt_layer_class rnnrt_layer_not_equal = {.prepare = prepare_not_equal, .run = run_not_equal};

/* ---- merging ---- */

static enum rnnrt_status run_concatenate(const struct rnnrt_op *op, struct rnnrt_invocation *call) {
    size_t out = (size_t)op->desc.output_size, offset = 0;
    for (int32_t i = 0; i < op->desc.inputs; i++) {
        size_t in = op->part[i];
        for (size_t r = 0; r < rows(call); r++)
            memcpy(call->y[0] + r * out + offset, call->x[i] + r * in, in * sizeof(float));
        offset += in;
    }
    return done(call);
}

static enum rnnrt_status prepare_concatenate(struct rnnrt_plan *plan, struct rnnrt_op *op,
                                             const char **text) {
    *text = "its output is not as wide as its inputs together";
    size_t total = 0;
    for (int32_t i = 0; i < op->desc.inputs; i++)
        total += op->part[i] = (size_t)plan->values[op->desc.input[i]].width;
    return total == (size_t)op->desc.output_size ? RNNRT_OK : RNNRT_BAD_LAYER;
}
const struct rnnrt_layer_class rnnrt_layer_concatenate = {.prepare = prepare_concatenate,
                                                          .run = run_concatenate};

static enum rnnrt_status prepare_merge(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    *text = "its inputs differ in size";
    for (int32_t i = 0; i < op->desc.inputs; i++)
        if (plan->values[op->desc.input[i]].width != op->desc.output_size) return RNNRT_BAD_LAYER;
    return RNNRT_OK;
}

static enum rnnrt_status run_merge(const struct rnnrt_op *op, struct rnnrt_invocation *call) {
    void (*join)(size_t, const float *, const float *, float *) =
        op->desc.kind == rnnrt_kind_add ? call->kernels->add : call->kernels->multiply;
    size_t n = rows(call) * width(op);
    if (op->desc.inputs == 1) memcpy(call->y[0], call->x[0], n * sizeof(float));
    for (int32_t i = 1; i < op->desc.inputs; i++)
        join(n, i == 1 ? call->x[0] : call->y[0], call->x[i], call->y[0]);
    return done(call);
}
const struct rnnrt_layer_class rnnrt_layer_add = {.prepare = prepare_merge, .run = run_merge};
const struct rnnrt_layer_class rnnrt_layer_multiply = {.prepare = prepare_merge, .run = run_merge};
