/* GRU, gates z r n: h' = (1 - z) n + z h, written n + z (h - n).
 * reset_after: n = act(Wn x + bn + r (Un h + un)) (cuDNN, PyTorch, Keras); else n = act(Wn x + Un (r h) + bn) (Cho et al. 2014). State: h. */
#include "recurrent.h"

static void finish(const struct rnnrt_op *op, const struct rnnrt_kernels *kernels, size_t batch, float *gates, const float *h, float *h_new) {
    size_t units = (size_t)op->row.units, wide = 3 * units;
    rnnrt_cell_norm(op, kernels, batch, 2, 1, gates + 2 * units, wide);
    for (size_t b = 0; b < batch; b++) {
        float *z = gates + b * wide, *n = z + 2 * units;
        kernels->activate(op->row.activation, units, n, n);
        kernels->blend(units, z, n, h + b * units, h_new + b * units);
    }
}

static void activate_zr(const struct rnnrt_op *op, const struct rnnrt_kernels *kernels, size_t batch, float *gates) {
    size_t units = (size_t)op->row.units, wide = 3 * units;
    rnnrt_cell_norm(op, kernels, batch, 0, 2, gates, wide);
    for (size_t b = 0; b < batch; b++) kernels->activate(op->row.recurrent_activation, 2 * units, gates + b * wide, gates + b * wide);
}

static void cell_after(const struct rnnrt_op *op, const struct rnnrt_kernels *kernels, size_t batch, float *gates, const float *h, float *h_new, float *c,
                       float *held) {
    size_t units = (size_t)op->row.units, wide = 3 * units;
    (void)c;
    kernels->product(op->recurrent, wide, units, op->recurrent_bias, false, h, units, batch, held, wide);
    if (op->standard) {
        kernels->gru(units, batch, gates, wide, held, wide, h, units, h_new, units);
        return;
    }
    for (size_t b = 0; b < batch; b++) kernels->add(2 * units, gates + b * wide, held + b * wide, gates + b * wide);
    activate_zr(op, kernels, batch, gates);
    for (size_t b = 0; b < batch; b++)
        kernels->multiply_add(units, gates + b * wide + units, held + b * wide + 2 * units, gates + b * wide + 2 * units);
    finish(op, kernels, batch, gates, h, h_new);
}

static void cell_before(const struct rnnrt_op *op, const struct rnnrt_kernels *kernels, size_t batch, float *gates, const float *h, float *h_new, float *c,
                        float *held) {
    size_t units = (size_t)op->row.units, wide = 3 * units;
    (void)c;
    kernels->product(op->recurrent, 2 * units, units, NULL, true, h, units, batch, gates, wide);
    activate_zr(op, kernels, batch, gates);
    for (size_t b = 0; b < batch; b++) kernels->multiply(units, gates + b * wide + units, h + b * units, held + b * units);
    kernels->product(op->recurrent_n, units, units, NULL, true, held, units, batch, gates + 2 * units, wide);
    finish(op, kernels, batch, gates, h, h_new);
}

static enum rnnrt_status prepare(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    enum rnnrt_status status = rnnrt_prepare_recurrent(plan, op, 3, text);
    size_t units = (size_t)op->row.units;
    if (op->row.reset_after) {
        op->recurrent = rnnrt_plan_pack(plan, op->row.recurrent_weight, 3 * units, units, &status);
    } else {
        op->recurrent = rnnrt_plan_pack(plan, op->row.recurrent_weight, 2 * units, units, &status);
        op->recurrent_n = rnnrt_plan_pack(plan, op->row.recurrent_weight + 2 * units * units, units, units, &status);
    }
    return status;
}

static void measure(const struct rnnrt_op *op, size_t batch, size_t frames, struct rnnrt_sizes *sizes) {
    (void)frames;
    rnnrt_measure_recurrent(op, batch, 3, 3 * batch * (size_t)op->row.units, sizes);
}

static enum rnnrt_status run(const struct rnnrt_op *op, struct rnnrt_visit *visit) {
    return rnnrt_run_recurrent(op, visit, 3, op->row.reset_after ? cell_after : cell_before);
}

const struct rnnrt_layer rnnrt_layer_gru = {.prepare = prepare, .measure = measure, .run = run};
