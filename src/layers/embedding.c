/* y = row number x of a table (length, output_size). Ids come as float32, exact up to 2^24; a bad one is an
 * error, never a read out of bounds. */
#include <math.h>
#include <string.h>

#include "../plan.h"

static enum rnnrt_status prepare(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    *text = "an embedding needs a table and one id a frame";
    if (!op->row.weight || op->row.length < 1 || op->row.input_size != 1) return RNNRT_BAD_ROW;
    enum rnnrt_status status = RNNRT_OK;
    op->table = rnnrt_plan_copy(plan, op->row.weight,
                                rnnrt_times((size_t)op->row.length, (size_t)op->row.output_size), &status);
    return status;
}

static enum rnnrt_status run(const struct rnnrt_op *op, struct rnnrt_visit *visit) {
    size_t out = (size_t)op->row.output_size;
    for (size_t row = 0; row < visit->frames * visit->batch; row++) {
        float id = visit->x[0][row];
        if (!(id >= 0.0f && id < (float)op->row.length) || id != floorf(id)) {
            if (visit->error)
                *visit->error = (struct rnnrt_error){.position = (int64_t)(visit->start + row / visit->batch),
                                                     .batch_row = (int64_t)(row % visit->batch),
                                                     .value = (double)id};
            return RNNRT_BAD_ID;
        }
        memcpy(visit->y[0] + row * out, op->table + (size_t)id * out, out * sizeof(float));
    }
    visit->made[0] = visit->frames;
    return RNNRT_OK;
}

const struct rnnrt_layer rnnrt_layer_embedding = {.prepare = prepare, .run = run};
