/* LSTM, gates i f g o (Hochreiter and Schmidhuber 1997, with forget gate): c' = f c + i g, h' = o act(c'),
 * optionally c' kept within a bound (value) before that, and h' = P (o act(c')). State: h, c. No peepholes.
 */
#include "recurrent.h"

static void clip(size_t units, float bound, float *c) {
    for (size_t u = 0; u < units; u++) /* what is not a number stays */
        c[u] = c[u] > bound ? bound : c[u] < -bound ? -bound : c[u];
}

static void cell(const struct rnnrt_step *step) {
    const struct rnnrt_op *op = step->op;
    const struct rnnrt_kernels *kernels = step->kernels;
    size_t units = (size_t)op->desc.units, out = rnnrt_cell_size(op), wide = 4 * units;
    float *y = op->projection ? step->held : step->h_new; /* (batch, units) */
    rnnrt_recurrent_product(step, op->recurrent, NULL, true, step->h, step->h_stride, step->gates, wide);
    if (op->standard) {
        kernels->lstm(units, step->batch, step->gates, wide, step->c, step->c_stride, y, units);
    } else {
        rnnrt_cell_norm(step, 0, 4, step->gates, wide);
        for (size_t b = 0; b < step->batch; b++) {
            float *i = step->gates + b * wide, *g = i + 2 * units, *o = i + 3 * units,
                  *c = step->c + b * step->c_stride;
            kernels->activate(op->desc.recurrent_activation, 2 * units, i, i);
            kernels->activate(op->desc.activation, units, g, g);
            kernels->activate(op->desc.recurrent_activation, units, o, o);
            kernels->lstm_cells(units, i, c);
            if (op->desc.value > 0) clip(units, op->desc.value, c);
            kernels->activate(op->desc.activation, units, c, g);
            kernels->multiply(units, o, g, y + b * units);
        }
    }
    if (op->projection) {
        const struct rnnrt_product product = {.x = y,
                                              .x_stride = units,
                                              .depth = units,
                                              .rows = step->batch,
                                              .y = step->h_new,
                                              .y_stride = out};
        kernels->product(op->projection, &product);
    }
}

static enum rnnrt_status prepare(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    enum rnnrt_status status = rnnrt_prepare_recurrent(plan, op, 4, text);
    if (status) return status;
    size_t units = (size_t)op->desc.units, out = (size_t)op->desc.output_size / rnnrt_bins(op);
    if (!(op->desc.value >= 0)) return RNNRT_BAD_LAYER;
    if (op->desc.value > 0) op->standard = false; /* the fused epilogue has no bound */
    op->recurrent = rnnrt_plan_pack(plan, op->desc.recurrent_weight, 1, 4 * units, out, &status);
    if (op->desc.projection)
        op->projection = rnnrt_plan_pack(plan, op->desc.projection, 1, out, units, &status);
    else if (plan->kernels->lstm_steps) rnnrt_prepare_steps(plan, op, 4, &status);
    return status;
}

static void measure(const struct rnnrt_op *op, size_t batch, size_t frames, struct rnnrt_sizes *sizes) {
    rnnrt_measure_recurrent(op, batch, frames, 4, rnnrt_bins(op) * batch * (size_t)op->desc.units, sizes);
}

static enum rnnrt_status run(const struct rnnrt_op *op, struct rnnrt_invocation *call) {
    if (rnnrt_takes_steps(op, call)) return rnnrt_run_steps(op, call);
    return rnnrt_run_recurrent(op, call, 4, cell);
}

const struct rnnrt_layer_class rnnrt_layer_lstm = {.time = RNNRT_TIME_NEEDED,
                                                   .prepare = prepare,
                                                   .keeps = rnnrt_recurrent_keeps,
                                                   .measure = measure,
                                                   .run = run,
                                                   .work = rnnrt_work_recurrent,
                                                   .asks = true};
