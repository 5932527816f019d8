/* GRU, gates z r n: h' = (1 - z) n + z h, written n + z (h - n).
 * reset_after: n = act(Wn x + bn + r (Un h + un)) (cuDNN, PyTorch, Keras); else n = act(Wn x + Un (r h) + bn)
 * (Cho et al. 2014). State: h. */
#include "recurrent.h"

static void activate_zr(const struct rnnrt_step *step) {
    size_t units = (size_t)step->op->desc.units, wide = 3 * units;
    rnnrt_cell_norm(step, 0, 2, step->gates, wide);
    for (size_t b = 0; b < step->batch; b++)
        step->kernels->activate(step->op->desc.recurrent_activation, 2 * units, step->gates + b * wide,
                                step->gates + b * wide);
}

static void finish(const struct rnnrt_step *step) {
    size_t units = (size_t)step->op->desc.units, wide = 3 * units;
    rnnrt_cell_norm(step, 2, 1, step->gates + 2 * units, wide);
    for (size_t b = 0; b < step->batch; b++) {
        float *z = step->gates + b * wide, *n = z + 2 * units;
        step->kernels->activate(step->op->desc.activation, units, n, n);
        step->kernels->lerp(units, z, n, step->h + b * step->h_stride, step->h_new + b * units);
    }
}

static void cell_after(const struct rnnrt_step *step) {
    const struct rnnrt_kernels *kernels = step->kernels;
    size_t units = (size_t)step->op->desc.units, wide = 3 * units;
    float *gates = step->gates, *held = step->held;
    rnnrt_recurrent_product(step, step->op->recurrent, step->op->recurrent_bias, false, step->h,
                            step->h_stride, held, wide);
    if (step->op->standard) {
        kernels->gru(units, step->batch, gates, wide, held, wide, step->h, step->h_stride, step->h_new,
                     units);
        return;
    }
    for (size_t b = 0; b < step->batch; b++)
        kernels->add(2 * units, gates + b * wide, held + b * wide, gates + b * wide);
    activate_zr(step);
    for (size_t b = 0; b < step->batch; b++)
        kernels->multiply_add(units, gates + b * wide + units, held + b * wide + 2 * units,
                              gates + b * wide + 2 * units);
    finish(step);
}

static void cell_before(const struct rnnrt_step *step) {
    size_t units = (size_t)step->op->desc.units, wide = 3 * units;
    float *gates = step->gates;
    rnnrt_recurrent_product(step, step->op->recurrent, NULL, true, step->h, step->h_stride, gates, wide);
    activate_zr(step);
    for (size_t b = 0; b < step->batch; b++)
        step->kernels->multiply(units, gates + b * wide + units, step->h + b * step->h_stride,
                                step->held + b * units);
    rnnrt_recurrent_product(step, step->op->recurrent_n, NULL, true, step->held, units, gates + 2 * units,
                            wide);
    finish(step);
}

static enum rnnrt_status prepare(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    enum rnnrt_status status = rnnrt_prepare_recurrent(plan, op, 3, text);
    if (status) return status;
    size_t units = (size_t)op->desc.units;
    if (op->desc.reset_after) {
        op->recurrent = rnnrt_plan_pack(plan, op->desc.recurrent_weight, 1, 3 * units, units, &status);
        if (plan->kernels->gru_steps) rnnrt_prepare_steps(plan, op, 3, &status);
    } else {
        op->recurrent = rnnrt_plan_pack(plan, op->desc.recurrent_weight, 1, 2 * units, units, &status);
        op->recurrent_n =
            rnnrt_plan_pack(plan, op->desc.recurrent_weight + 2 * units * units, 1, units, units, &status);
    }
    return status;
}

static void measure(const struct rnnrt_op *op, size_t batch, size_t frames, struct rnnrt_sizes *sizes) {
    rnnrt_measure_recurrent(op, batch, frames, 3, 4 * rnnrt_bins(op) * batch * (size_t)op->desc.units, sizes);
}

static enum rnnrt_status run(const struct rnnrt_op *op, struct rnnrt_invocation *call) {
    if (rnnrt_takes_steps(op, call)) return rnnrt_run_steps(op, call);
    return rnnrt_run_recurrent(op, call, 3, op->desc.reset_after ? cell_after : cell_before);
}

const struct rnnrt_layer_class rnnrt_layer_gru = {.time = RNNRT_TIME_NEEDED,
                                                  .prepare = prepare,
                                                  .keeps = rnnrt_recurrent_keeps,
                                                  .measure = measure,
                                                  .run = run,
                                                  .work = rnnrt_work_recurrent,
                                                  .asks = true};
