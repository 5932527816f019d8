/* Elman cell: h' = act(norm(W x + U h + b)). State: h. */
#include "recurrent.h"

static void cell(const struct rnnrt_step *step) {
    size_t units = (size_t)step->op->desc.units;
    rnnrt_recurrent_product(step, step->op->recurrent, NULL, true, step->h, step->h_stride, step->gates,
                            units);
    rnnrt_cell_norm(step, 0, 1, step->gates, units);
    step->kernels->activate(step->op->desc.activation, step->batch * units, step->gates, step->h_new);
}

static enum rnnrt_status prepare(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    enum rnnrt_status status = rnnrt_prepare_recurrent(plan, op, 1, text);
    if (status) return status;
    op->recurrent = rnnrt_plan_pack(plan, op->desc.recurrent_weight, 1, (size_t)op->desc.units,
                                    (size_t)op->desc.units, &status);
    return status;
}

static void measure(const struct rnnrt_op *op, size_t batch, size_t frames, struct rnnrt_sizes *sizes) {
    rnnrt_measure_recurrent(op, batch, frames, 1, 0, sizes);
}

static enum rnnrt_status run(const struct rnnrt_op *op, struct rnnrt_invocation *call) {
    return rnnrt_run_recurrent(op, call, 1, cell);
}

const struct rnnrt_layer_class rnnrt_layer_rnn = {.time = RNNRT_TIME_NEEDED,
                                                  .prepare = prepare,
                                                  .keeps = rnnrt_recurrent_keeps,
                                                  .measure = measure,
                                                  .run = run,
                                                  .work = rnnrt_work_recurrent,
                                                  .asks = true};
