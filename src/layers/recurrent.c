/* The time loop of the recurrent layers. */
#include "recurrent.h"

enum {
    STRETCH_ROWS = 64, /* rows of the input product worked on at a time: a few tiles, small enough to stay in
                          the L2 cache */
    STRETCH_BESIDE = 18, /* the same where the next stretch's product runs beside the steps of this one: three
                            tiles of a job */
    BESIDE_FLOATS = 16384, /* recurrent weights from this size on come from beyond the L1 cache, and a step
                              waits for them */
};

/* The states start the op's state: h (batch, output_size), then c (batch, units) for an LSTM; `begun` at
 * their end. */
struct states {
    float *h, *c;
    uint64_t *begun;
};

static struct states states_of(const struct rnnrt_op *op, void *state, size_t batch) {
    struct states s;
    s.h = state;
    s.c = s.h + batch * (size_t)op->row.output_size;
    float *end = s.c + (op->row.kind == rnnrt_kind_lstm ? batch * (size_t)op->row.units : 0);
    s.begun = (uint64_t *)(((uintptr_t)end + 7) & ~(uintptr_t)7);
    return s;
}

static size_t stretch(size_t batch) { return batch >= STRETCH_ROWS ? 1 : STRETCH_ROWS / batch; }

enum rnnrt_status rnnrt_prepare_recurrent(struct rnnrt_plan *plan, struct rnnrt_op *op, size_t gates,
                                          const char **text) {
    struct rnnrt_row *row = &op->row;
    *text = "a recurrent layer needs weight and recurrent_weight, and sizes that fit";
    if (!row->weight || !row->recurrent_weight || row->units < 1 || row->units > 1 << 22)
        return RNNRT_BAD_ROW;
    if (row->projection ? row->kind != rnnrt_kind_lstm : row->output_size != row->units) return RNNRT_BAD_ROW;
    *text = "its norm is unknown";
    if (row->norm < RNNRT_NORM_NONE || row->norm > RNNRT_NORM_JOINT ||
        (row->kind == rnnrt_kind_gru && row->norm == RNNRT_NORM_JOINT))
        return RNNRT_BAD_ROW;
    *text = "it starts from more states than it has";
    if (row->inputs > (row->kind == rnnrt_kind_lstm ? 3 : 2)) return RNNRT_BAD_ROW;
    for (int32_t i = 1; i < row->inputs; i++)
        if (plan->values[row->input[i]].width != (i == 1 ? row->output_size : row->units))
            return RNNRT_BAD_ROW;
    enum rnnrt_status status = RNNRT_OK;
    size_t rows = gates * (size_t)row->units;
    op->weight = rnnrt_plan_pack(plan, row->weight, rows, (size_t)row->input_size, &status);
    op->bias = rnnrt_plan_copy(plan, row->bias, rows, &status);
    op->recurrent_bias = rnnrt_plan_copy(plan, row->recurrent_bias, rows, &status);
    op->gamma = rnnrt_plan_copy(plan, row->gamma, rows, &status);
    op->beta = rnnrt_plan_copy(plan, row->beta, rows, &status);
    op->standard = row->norm == RNNRT_NORM_NONE && row->activation.name == RNNRT_TANH &&
                   row->recurrent_activation.name == RNNRT_SIGMOID;
    return status;
}

void rnnrt_measure_recurrent(const struct rnnrt_op *op, size_t batch, size_t gates, size_t held,
                             struct rnnrt_sizes *sizes) {
    size_t units = (size_t)op->row.units, out = (size_t)op->row.output_size;
    sizes->state = (batch * out + (op->row.kind == rnnrt_kind_lstm ? batch * units : 0)) * sizeof(float) + 16;
    sizes->scratch = stretch(batch) * batch * gates * units + held + 2 * batch * out + batch * units + 64;
}

/* The input part W x + b of `count` frames from `first` on, as a product or as a job. */
static void project(const struct rnnrt_op *op, const struct rnnrt_visit *visit, size_t wide, size_t first,
                    size_t count, float *parts, struct rnnrt_job *job) {
    size_t in = (size_t)op->row.input_size;
    const float *x = visit->x[0] + first * visit->batch * in;
    if (!job) {
        visit->kernels->product(op->weight, wide, in, op->bias, false, x, in, count * visit->batch, parts,
                                wide);
        return;
    }
    job->packed = op->weight, job->bias = op->bias, job->outputs = wide, job->terms = in;
    job->x = x, job->x_stride = in, job->rows = count, job->y = parts, job->y_stride = wide;
    job->tile = job->term = 0;
}

/* Packed sequences: a row past its end keeps its state and says 0. */
static void hold_ended_rows(const struct rnnrt_op *op, const struct rnnrt_visit *visit, size_t t,
                            struct states s, float *h_new, const float *c_before) {
    size_t units = (size_t)op->row.units, out = (size_t)op->row.output_size;
    for (size_t b = 0; b < visit->batch; b++) {
        if ((int64_t)(visit->start + t) < visit->lengths[b]) {
            memcpy(s.h + b * out, h_new + b * out, out * sizeof(float));
            continue;
        }
        memset(h_new + b * out, 0, out * sizeof(float));
        if (op->row.kind == rnnrt_kind_lstm)
            memcpy(s.c + b * units, c_before + b * units, units * sizeof(float));
        if (visit->y[RNNRT_SLOT_CELLS])
            memset(visit->y[RNNRT_SLOT_CELLS] + (t * visit->batch + b) * units, 0, units * sizeof(float));
    }
}

enum rnnrt_status rnnrt_run_recurrent(const struct rnnrt_op *op, struct rnnrt_visit *visit, size_t gates,
                                      rnnrt_cell *cell) {
    size_t batch = visit->batch, units = (size_t)op->row.units, out = (size_t)op->row.output_size,
           wide = gates * units, frames = visit->frames;
    struct states s = states_of(op, visit->state, batch);
    if (!*s.begun && op->row.inputs > 1) memcpy(s.h, visit->x[1], batch * out * sizeof(float));
    if (!*s.begun && op->row.inputs > 2) memcpy(s.c, visit->x[2], batch * units * sizeof(float));
    *s.begun = 1;
    const bool packed = visit->lengths && !op->row.unpacked;
    bool beside = batch == 1 && frames > STRETCH_BESIDE && wide * out >= BESIDE_FLOATS &&
                  visit->kernels->product_beside;
    size_t most = beside ? STRETCH_BESIDE : stretch(batch), room = stretch(batch) * batch * wide;
    float *parts = visit->scratch, *next_parts = parts + STRETCH_BESIDE * wide;
    float *spare[2] = {parts + room, parts + room + batch * out}, *c_before = spare[1] + batch * out;
    struct rnnrt_job job;
    struct rnnrt_step step = {.op = op,
                              .kernels = visit->kernels,
                              .batch = batch,
                              .h = s.h,
                              .c = s.c,
                              .held = c_before + batch * units};
    for (size_t done = 0, count; done < frames; done += count) {
        count = rnnrt_smaller(most, frames - done);
        size_t first = op->row.reverse ? frames - done - count : done,
               after = rnnrt_smaller(most, frames - done - count);
        if (!beside || done == 0) project(op, visit, wide, first, count, parts, NULL);
        step.job = beside && after ? &job : NULL;
        if (step.job)
            project(op, visit, wide, op->row.reverse ? first - after : first + count, after, next_parts,
                    &job);
        for (size_t i = 0; i < count; i++) {
            size_t local = op->row.reverse ? count - 1 - i : i, t = first + local;
            step.gates = parts + local * batch * wide;
            step.h_new = visit->y[0] ? visit->y[0] + t * batch * out : spare[step.h == spare[0]];
            if (packed && op->row.kind == rnnrt_kind_lstm)
                memcpy(c_before, s.c, batch * units * sizeof(float));
            cell(&step);
            if (visit->y[RNNRT_SLOT_CELLS])
                memcpy(visit->y[RNNRT_SLOT_CELLS] + t * batch * units, s.c, batch * units * sizeof(float));
            step.h = step.h_new;
            if (!packed) continue;
            hold_ended_rows(op, visit, t, s, step.h_new, c_before);
            step.h = s.h;
        }
        if (!step.job) continue;
        visit->kernels->finish_job(&job);
        float *swap = parts;
        parts = next_parts;
        next_parts = swap;
    }
    if (step.h != s.h) memcpy(s.h, step.h, batch * out * sizeof(float));
    visit->made[0] = visit->made[RNNRT_SLOT_CELLS] = frames;
    if ((visit->every_step || visit->final) && visit->start + frames > 0) {
        if (visit->y[RNNRT_SLOT_H]) memcpy(visit->y[RNNRT_SLOT_H], s.h, batch * out * sizeof(float));
        if (visit->y[RNNRT_SLOT_C]) memcpy(visit->y[RNNRT_SLOT_C], s.c, batch * units * sizeof(float));
        visit->made[RNNRT_SLOT_H] = visit->made[RNNRT_SLOT_C] = 1;
    }
    return RNNRT_OK;
}
