/* Layers that look at one frame at a time and keep nothing: activations, softmax, normalisations, selection,
 * merging. */
#include <string.h>

#include "../plan.h"

static enum rnnrt_status done(struct rnnrt_visit *visit) {
    visit->made[0] = visit->frames;
    return RNNRT_OK;
}

static enum rnnrt_status same_size(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    (void)plan;
    *text = "its input and output sizes differ";
    return op->row.input_size == op->row.output_size ? RNNRT_OK : RNNRT_BAD_ROW;
}

static size_t width(const struct rnnrt_op *op) { return (size_t)op->row.input_size; }
static size_t rows(const struct rnnrt_visit *visit) { return visit->frames * visit->batch; }

static enum rnnrt_status run_activation(const struct rnnrt_op *op, struct rnnrt_visit *visit) {
    visit->kernels->activate(op->row.activation, rows(visit) * width(op), visit->x[0], visit->y[0]);
    return done(visit);
}
const struct rnnrt_layer rnnrt_layer_activation = {.prepare = same_size, .run = run_activation};

static enum rnnrt_status run_reshape(const struct rnnrt_op *op, struct rnnrt_visit *visit) {
    memcpy(visit->y[0], visit->x[0], rows(visit) * width(op) * sizeof(float));
    return done(visit);
}
const struct rnnrt_layer rnnrt_layer_reshape = {.prepare = same_size, .run = run_reshape};

static enum rnnrt_status run_softmax(const struct rnnrt_op *op, struct rnnrt_visit *visit) {
    visit->kernels->softmax(op->row.kind == rnnrt_kind_log_softmax, width(op), rows(visit), visit->x[0],
                            visit->y[0]);
    return done(visit);
}
const struct rnnrt_layer rnnrt_layer_softmax = {.prepare = same_size, .run = run_softmax};
const struct rnnrt_layer rnnrt_layer_log_softmax = {.prepare = same_size, .run = run_softmax};

static enum rnnrt_status prepare_norm(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    enum rnnrt_status status = same_size(plan, op, text);
    if (op->row.kind == rnnrt_kind_affine && (!op->row.gamma || !op->row.beta))
        *text = "it needs a scale and an offset", status = RNNRT_BAD_ROW;
    op->gamma = rnnrt_plan_copy(plan, op->row.gamma, width(op), &status);
    op->beta = rnnrt_plan_copy(plan, op->row.beta, width(op), &status);
    op->mean = rnnrt_plan_copy(plan, op->row.mean, width(op), &status);
    return status;
}

static enum rnnrt_status run_affine(const struct rnnrt_op *op, struct rnnrt_visit *visit) {
    visit->kernels->affine(width(op), rows(visit), op->mean, op->gamma, op->beta, visit->x[0], visit->y[0]);
    return done(visit);
}
const struct rnnrt_layer rnnrt_layer_affine = {.prepare = prepare_norm, .run = run_affine};

static enum rnnrt_status run_norm(const struct rnnrt_op *op, struct rnnrt_visit *visit) {
    visit->kernels->normalize(width(op), rows(visit), op->gamma, op->beta, op->row.epsilon, visit->x[0],
                              width(op), visit->y[0], width(op));
    return done(visit);
}
const struct rnnrt_layer rnnrt_layer_layer_normalization = {.prepare = prepare_norm, .run = run_norm};

/* ---- select: y[k] = x[index[k]] ---- */

static enum rnnrt_status prepare_select(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    *text = "its index is out of range";
    for (int32_t k = 0; k < op->row.output_size; k++)
        if (!op->row.index || op->row.index[k] < 0 || op->row.index[k] >= op->row.input_size)
            return RNNRT_BAD_ROW;
    float *copy = rnnrt_plan_floats(plan, (size_t)op->row.output_size);
    if (!copy) return RNNRT_NO_MEMORY;
    if (!plan->filled) memcpy(copy, op->row.index, (size_t)op->row.output_size * sizeof(int32_t));
    op->row.index = (const int32_t *)(const void *)copy;
    return RNNRT_OK;
}

static enum rnnrt_status run_select(const struct rnnrt_op *op, struct rnnrt_visit *visit) {
    const float *x = visit->x[0];
    float *y = visit->y[0];
    for (size_t r = 0; r < rows(visit); r++, x += op->row.input_size, y += op->row.output_size)
        for (int32_t k = 0; k < op->row.output_size; k++) y[k] = x[op->row.index[k]];
    return done(visit);
}
const struct rnnrt_layer rnnrt_layer_select = {.prepare = prepare_select, .run = run_select};

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
    return op->row.output_size == 1 ? RNNRT_OK : RNNRT_BAD_ROW;
}

static enum rnnrt_status run_not_equal(const struct rnnrt_op *op, struct rnnrt_visit *visit) {
    const float *x = visit->x[0];
    for (size_t r = 0; r < rows(visit); r++, x += width(op)) {
        bool any = false;
        for (size_t k = 0; k < width(op); k++) any |= differs(x[k], op->row.value);
        visit->y[0][r] = any ? 1 : 0;
    }
    return done(visit);
}
const struct rnnrt_layer rnnrt_layer_not_equal = {.prepare = prepare_not_equal, .run = run_not_equal};

/* ---- merging ---- */

static enum rnnrt_status run_concatenate(const struct rnnrt_op *op, struct rnnrt_visit *visit) {
    size_t out = (size_t)op->row.output_size, offset = 0;
    for (int32_t i = 0; i < op->row.inputs; i++) {
        size_t in = op->part[i];
        for (size_t r = 0; r < rows(visit); r++)
            memcpy(visit->y[0] + r * out + offset, visit->x[i] + r * in, in * sizeof(float));
        offset += in;
    }
    return done(visit);
}

static enum rnnrt_status prepare_concatenate(struct rnnrt_plan *plan, struct rnnrt_op *op,
                                             const char **text) {
    *text = "its output is not as wide as its inputs together";
    size_t total = 0;
    for (int32_t i = 0; i < op->row.inputs; i++)
        total += op->part[i] = (size_t)plan->values[op->row.input[i]].width;
    return total == (size_t)op->row.output_size ? RNNRT_OK : RNNRT_BAD_ROW;
}
const struct rnnrt_layer rnnrt_layer_concatenate = {.prepare = prepare_concatenate, .run = run_concatenate};

static enum rnnrt_status prepare_merge(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    *text = "its inputs differ in size";
    for (int32_t i = 0; i < op->row.inputs; i++)
        if (plan->values[op->row.input[i]].width != op->row.output_size) return RNNRT_BAD_ROW;
    return RNNRT_OK;
}

static enum rnnrt_status run_merge(const struct rnnrt_op *op, struct rnnrt_visit *visit) {
    void (*join)(size_t, const float *, const float *, float *) =
        op->row.kind == rnnrt_kind_add ? visit->kernels->add : visit->kernels->multiply;
    size_t n = rows(visit) * width(op);
    if (op->row.inputs == 1) memcpy(visit->y[0], visit->x[0], n * sizeof(float));
    for (int32_t i = 1; i < op->row.inputs; i++)
        join(n, i == 1 ? visit->x[0] : visit->y[0], visit->x[i], visit->y[0]);
    return done(visit);
}
const struct rnnrt_layer rnnrt_layer_add = {.prepare = prepare_merge, .run = run_merge};
const struct rnnrt_layer rnnrt_layer_multiply = {.prepare = prepare_merge, .run = run_merge};
