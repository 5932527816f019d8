/* y = activation(W x + b) on every frame; and a graph input. */
#include "../plan.h"

static enum rnnrt_status prepare(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    const struct rnnrt_row *row = &op->row;
    *text = "a dense layer needs weights";
    if (!row->weight) return RNNRT_BAD_ROW;
    enum rnnrt_status status = RNNRT_OK;
    op->weight =
        rnnrt_plan_pack(plan, row->weight, 1, (size_t)row->output_size, (size_t)row->input_size, &status);
    op->bias = rnnrt_plan_copy(plan, row->bias, (size_t)row->output_size, &status);
    return status;
}

static enum rnnrt_status run(const struct rnnrt_op *op, struct rnnrt_visit *visit) {
    size_t in = (size_t)op->row.input_size, out = (size_t)op->row.output_size,
           rows = visit->frames * visit->batch;
    size_t most = visit->pulse ? rnnrt_piece(op->work) : rows;
    for (size_t done = 0, count; done < rows; done += count) {
        count = rnnrt_smaller(most, rows - done);
        float *y = visit->y[0] + done * out;
        const struct rnnrt_product call = {.x = visit->x[0] + done * in,
                                           .x_stride = in,
                                           .depth = in,
                                           .rows = count,
                                           .y = y,
                                           .y_stride = out,
                                           .bias = op->bias};
        visit->kernels->product(op->weight, &call);
        if (op->row.activation.name != RNNRT_LINEAR)
            visit->kernels->activate(op->row.activation, count * out, y, y);
        if (rnnrt_worked(visit->pulse, op->work * (double)count)) return RNNRT_CANCELLED;
    }
    visit->made[0] = visit->frames;
    return RNNRT_OK;
}

static double work(const struct rnnrt_op *op) {
    return (double)op->row.output_size * ((double)op->row.input_size + 4);
}

const struct rnnrt_layer rnnrt_layer_dense = {.prepare = prepare, .run = run, .work = work, .asks = true};

const struct rnnrt_layer rnnrt_layer_input = {0}; /* the stream itself brings in the frames */
