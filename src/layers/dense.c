/* y = activation(W x + b) on every frame, or with a second input r activation(r + (W x + b)); and a graph
 * input. */
#include "../plan.h"

static enum rnnrt_status prepare(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    const struct rnnrt_layer_desc *desc = &op->desc;
    *text = "a dense layer needs weights";
    if (!desc->weight) return RNNRT_BAD_LAYER;
    *text = "a dense layer adds one input of its output size";
    if (desc->inputs > 2 || (desc->inputs == 2 && plan->values[desc->input[1]].width != desc->output_size))
        return RNNRT_BAD_LAYER;
    enum rnnrt_status status = RNNRT_OK;
    op->weight =
        rnnrt_plan_pack(plan, desc->weight, 1, (size_t)desc->output_size, (size_t)desc->input_size, &status);
    op->bias = rnnrt_plan_copy(plan, desc->bias, (size_t)desc->output_size, &status);
    return status;
}

static inline void run_rows(const struct rnnrt_op *op, const struct rnnrt_invocation *call, size_t from,
                            size_t count) {
    size_t in = (size_t)op->desc.input_size, out = (size_t)op->desc.output_size;
    int32_t activation = op->desc.activation.name;
    float *y = call->y[0] + from * out;
    const struct rnnrt_product product = {.x = call->x[0] + from * in,
                                          .x_stride = in,
                                          .depth = in,
                                          .rows = count,
                                          .y = y,
                                          .y_stride = out,
                                          .bias = op->bias,
                                          .plus = op->desc.inputs == 2 ? call->x[1] + from * out : NULL,
                                          .plus_stride = out,
                                          .rectified = activation == RNNRT_RELU};
    call->kernels->product(op->weight, &product);
    if (activation != RNNRT_LINEAR && activation != RNNRT_RELU)
        call->kernels->activate(op->desc.activation, count * out, y, y);
}

static enum rnnrt_status run(const struct rnnrt_op *op, struct rnnrt_invocation *call) {
    size_t rows = call->frames * call->batch;
    call->made[0] = call->frames;
    if (!call->pulse) {
        if (rows) run_rows(op, call, 0, rows);
        return RNNRT_OK;
    }
    for (size_t done = 0, most = rnnrt_piece(op->work), count; done < rows; done += count) {
        count = rnnrt_smaller(most, rows - done);
        run_rows(op, call, done, count);
        if (rnnrt_worked(call->pulse, op->work * (double)count)) return RNNRT_CANCELLED;
    }
    return RNNRT_OK;
}

static double work(const struct rnnrt_op *op) {
    return (double)op->desc.output_size * ((double)op->desc.input_size + 4);
}

const struct rnnrt_layer_class rnnrt_layer_dense = {
    .prepare = prepare, .run = run, .work = work, .asks = true};

const struct rnnrt_layer_class rnnrt_layer_input = {0}; /* the stream itself brings in the frames */
