/* y = row number x of a table (length, output_size). Ids come as float32, exact up to 2^24; a bad one is an
 * error, never a read out of bounds. */
#include <math.h>
#include <string.h>

#include "../plan.h"

static enum rnnrt_status prepare(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    *text = "an embedding needs a table and one id a frame";
    if (!op->desc.weight || op->desc.length < 1 || op->desc.input_size != 1) return RNNRT_BAD_LAYER;
    enum rnnrt_status status = RNNRT_OK;
    op->table = rnnrt_plan_copy(plan, op->desc.weight,
                                rnnrt_times((size_t)op->desc.length, (size_t)op->desc.output_size), &status);
    return status;
}

static enum rnnrt_status run(const struct rnnrt_op *op, struct rnnrt_invocation *call) {
    size_t out = (size_t)op->desc.output_size;
    for (size_t row = 0; row < call->frames * call->batch; row++) {
        float id = call->x[0][row];
        if (!(id >= 0.0f && id < (float)op->desc.length) || id != floorf(id)) {
            size_t b = row % call->batch;
            uint64_t start = call->rows ? rnnrt_start(op, call, b) : call->start;
            if (call->error)
                *call->error = (struct rnnrt_error){.position = (int64_t)(start + row / call->batch),
                                                    .batch_row = (int64_t)b,
                                                    .value = (double)id};
            return RNNRT_BAD_ID;
        }
        memcpy(call->y[0] + row * out, op->table + (size_t)id * out, out * sizeof(float));
    }
    call->made[0] = call->frames;
    return RNNRT_OK;
}

const struct rnnrt_layer_class rnnrt_layer_embedding = {.prepare = prepare, .run = run};
