/* What the three cells share: the time loop around a cell, the states, and the cell's layer normalisation.
 *
 * The input part W x + b of a stretch of frames is one matrix product; then every step adds its recurrent
 * part and finishes the cell. */
#ifndef RNNRT_RECURRENT_H
#define RNNRT_RECURRENT_H

#include <string.h>

#include "../plan.h"

/* Numbers that the cell gives for one of its rows, once it is prepared. */
static inline size_t rnnrt_cell_size(const struct rnnrt_op *op) {
    return op->projection ? op->projection->outputs : (size_t)op->desc.units;
}

/* One step of a cell for all these rows. `gates` (batch, gates * units) holds the input part; h -> h_new, c
 * in place; `held` is scratch of the size rnnrt_measure_recurrent is told. h_new never is h. `upwards`: as of
 * a product. `input`: the input part, which is yet to be done, or NULL. `overlapped`: the input part of
 * frames to come, which runs while this step does, or NULL. */
struct rnnrt_step {
    const struct rnnrt_op *op;
    const struct rnnrt_kernels *kernels;
    size_t batch;
    float *gates;
    const float *h;
    float *h_new, *c, *held;
    size_t h_stride, c_stride; /* floats from row to row of h and c; h_new and held are packed */
    bool upwards;
    const struct rnnrt_product *input;
    struct rnnrt_overlapped *overlapped;
};
typedef void rnnrt_cell(const struct rnnrt_step *step);

/* y = (add ? y : bias) + U x for all batch rows of the step. */
static inline void rnnrt_recurrent_product(const struct rnnrt_step *step, const struct rnnrt_matrix *u,
                                           const float *bias, bool add, const float *x, size_t x_stride,
                                           float *y, size_t y_stride) {
    const struct rnnrt_product product = {.x = x,
                                          .x_stride = x_stride,
                                          .depth = u->depth,
                                          .rows = step->batch,
                                          .y = y,
                                          .y_stride = y_stride,
                                          .bias = bias,
                                          .add = add,
                                          .upwards = step->upwards};
    if (step->input) step->kernels->product_pair(step->op->weight, step->input, u, &product);
    else if (step->overlapped) step->kernels->product_overlapped(u, &product, step->overlapped);
    else step->kernels->product(u, &product);
}

enum rnnrt_status rnnrt_prepare_recurrent(struct rnnrt_plan *plan, struct rnnrt_op *op, size_t gates,
                                          const char **text);
size_t rnnrt_recurrent_keeps(const struct rnnrt_op *op, struct rnnrt_kept *kept);
void rnnrt_measure_recurrent(const struct rnnrt_op *op, size_t batch, size_t frames, size_t gates,
                             size_t held, struct rnnrt_sizes *sizes);
/* Once op->recurrent is there: makes op->steps where the steps of one row are small and plain enough for the
 * kernels to go from one to the next. */
void rnnrt_prepare_steps(struct rnnrt_plan *plan, struct rnnrt_op *op, size_t gates,
                         enum rnnrt_status *status);
/* Whether this invocation is of that kind; and runs it. */
static inline bool rnnrt_takes_steps(const struct rnnrt_op *op, const struct rnnrt_invocation *call) {
    return op->steps && call->batch == 1 && (!call->lengths || op->desc.unpacked) &&
           !(op->slots > RNNRT_SLOT_CELLS && call->y[RNNRT_SLOT_CELLS]);
}
enum rnnrt_status rnnrt_run_steps(const struct rnnrt_op *op, struct rnnrt_invocation *call);
double rnnrt_work_recurrent(const struct rnnrt_op *op);
enum rnnrt_status rnnrt_run_recurrent(const struct rnnrt_op *op, struct rnnrt_invocation *call, size_t gates,
                                      rnnrt_cell *cell);

/* The norm of gates first .. first + count - 1 of every row, in place; nothing where the cell has none. */
static inline void rnnrt_cell_norm(const struct rnnrt_step *step, size_t first, size_t count, float *gates,
                                   size_t stride) {
    const struct rnnrt_op *op = step->op;
    const struct rnnrt_kernels *kernels = step->kernels;
    size_t units = (size_t)op->desc.units, batch = step->batch;
    if (op->desc.norm == RNNRT_NORM_JOINT)
        kernels->normalize(count * units, batch, op->gamma, op->beta, op->desc.epsilon, gates, stride, gates,
                           stride);
    else if (op->desc.norm == RNNRT_NORM_GATES)
        for (size_t g = 0; g < count; g++)
            kernels->normalize(units, batch, op->gamma ? op->gamma + (first + g) * units : NULL,
                               op->beta ? op->beta + (first + g) * units : NULL, op->desc.epsilon,
                               gates + g * units, stride, gates + g * units, stride);
}

#endif
