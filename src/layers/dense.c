/* y = activation(W x + b) on every frame; and its trivial relatives: a table row, a graph input. */
#include "../plan.h"

static enum rnnrt_status prepare(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    const struct rnnrt_row *row = &op->row;
    *text = "a dense layer needs weights";
    if (!row->weight) return RNNRT_BAD_ROW;
    enum rnnrt_status status = RNNRT_OK;
    op->weight =
        rnnrt_plan_pack(plan, row->weight, (size_t)row->output_size, (size_t)row->input_size, &status);
    op->bias = rnnrt_plan_copy(plan, row->bias, (size_t)row->output_size, &status);
    return status;
}

static enum rnnrt_status run(const struct rnnrt_op *op, struct rnnrt_visit *visit) {
    size_t in = (size_t)op->row.input_size, out = (size_t)op->row.output_size,
           rows = visit->frames * visit->batch;
    visit->kernels->product(op->weight, out, in, op->bias, false, visit->x[0], in, rows, visit->y[0], out);
    if (op->row.activation.name != RNNRT_LINEAR)
        visit->kernels->activate(op->row.activation, rows * out, visit->y[0], visit->y[0]);
    visit->made[0] = visit->frames;
    return RNNRT_OK;
}

const struct rnnrt_layer rnnrt_layer_dense = {.prepare = prepare, .run = run};

const struct rnnrt_layer rnnrt_layer_input = {0}; /* the stream itself brings in the frames */
