/* The time loop of the recurrent layers. */
#include "recurrent.h"

enum { STRETCH_ROWS = 64 }; /* rows of the input product worked on at a time: a few tiles, small enough to stay in the L2 cache */

/* The states start the op's state: h (batch, output_size), then c (batch, units) for an LSTM; `begun` at their end. */
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

enum rnnrt_status rnnrt_prepare_recurrent(struct rnnrt_plan *plan, struct rnnrt_op *op, size_t gates, const char **text) {
    struct rnnrt_row *row = &op->row;
    *text = "a recurrent layer needs weight and recurrent_weight, and sizes that fit";
    if (!row->weight || !row->recurrent_weight || row->units < 1 || row->units > 1 << 22) return RNNRT_BAD_ROW;
    if (row->projection ? row->kind != rnnrt_kind_lstm : row->output_size != row->units) return RNNRT_BAD_ROW;
    *text = "its norm is unknown";
    if (row->norm < RNNRT_NORM_NONE || row->norm > RNNRT_NORM_JOINT || (row->kind == rnnrt_kind_gru && row->norm == RNNRT_NORM_JOINT)) return RNNRT_BAD_ROW;
    *text = "it starts from one state or none";
    if (row->inputs != 1 && row->inputs != (row->kind == rnnrt_kind_lstm ? 3 : 2)) return RNNRT_BAD_ROW;
    for (int32_t i = 1; i < row->inputs; i++)
        if (plan->values[row->input[i]].width != (i == 1 ? row->output_size : row->units)) return RNNRT_BAD_ROW;
    enum rnnrt_status status = RNNRT_OK;
    size_t rows = gates * (size_t)row->units;
    op->weight = rnnrt_plan_pack(plan, row->weight, rows, (size_t)row->input_size, &status);
    op->bias = rnnrt_plan_copy(plan, row->bias, rows, &status);
    op->recurrent_bias = rnnrt_plan_copy(plan, row->recurrent_bias, rows, &status);
    op->gamma = rnnrt_plan_copy(plan, row->gamma, rows, &status);
    op->beta = rnnrt_plan_copy(plan, row->beta, rows, &status);
    op->standard = row->norm == RNNRT_NORM_NONE && row->activation.name == RNNRT_TANH && row->recurrent_activation.name == RNNRT_SIGMOID;
    return status;
}

void rnnrt_measure_recurrent(const struct rnnrt_op *op, size_t batch, size_t gates, size_t held, struct rnnrt_sizes *sizes) {
    size_t units = (size_t)op->row.units, out = (size_t)op->row.output_size;
    sizes->state = (batch * out + (op->row.kind == rnnrt_kind_lstm ? batch * units : 0)) * sizeof(float) + 16;
    sizes->scratch = stretch(batch) * batch * gates * units + held + 2 * batch * out + batch * units + 64;
}

enum rnnrt_status rnnrt_run_recurrent(const struct rnnrt_op *op, struct rnnrt_visit *visit, size_t gates, rnnrt_cell *cell) {
    size_t batch = visit->batch, units = (size_t)op->row.units, out = (size_t)op->row.output_size, in = (size_t)op->row.input_size;
    size_t wide = gates * units, most = stretch(batch);
    struct states s = states_of(op, visit->state, batch);
    if (!*s.begun && op->row.inputs > 1) {
        memcpy(s.h, visit->x[1], batch * out * sizeof(float));
        if (op->row.kind == rnnrt_kind_lstm) memcpy(s.c, visit->x[2], batch * units * sizeof(float));
    }
    *s.begun = 1;
    float *parts = visit->scratch, *spare[2] = {parts + most * batch * wide, NULL}, *c_before;
    spare[1] = spare[0] + batch * out;
    c_before = spare[1] + batch * out;
    float *held = c_before + batch * units;
    const float *h = s.h;
    for (size_t done = 0; done < visit->frames;) {
        size_t count = rnnrt_smaller(most, visit->frames - done);
        size_t first = op->row.reverse ? visit->frames - done - count : done;
        visit->kernels->product(op->weight, wide, in, op->bias, false, visit->x[0] + first * batch * in, in, count * batch, parts, wide);
        for (size_t i = 0; i < count; i++) {
            size_t local = op->row.reverse ? count - 1 - i : i, t = first + local;
            float *h_new = visit->y[0] ? visit->y[0] + t * batch * out : spare[h == spare[0]];
            if (visit->lengths && op->row.kind == rnnrt_kind_lstm) memcpy(c_before, s.c, batch * units * sizeof(float));
            cell(op, visit->kernels, batch, parts + local * batch * wide, h, h_new, s.c, held);
            if (visit->y[RNNRT_SLOT_CELLS]) memcpy(visit->y[RNNRT_SLOT_CELLS] + t * batch * units, s.c, batch * units * sizeof(float));
            h = h_new;
            if (!visit->lengths) continue;
            /* packed sequences: a row past its end keeps its state and says 0 */
            for (size_t b = 0; b < batch; b++) {
                bool live = (int64_t)(visit->start + t) < visit->lengths[b];
                if (live) {
                    memcpy(s.h + b * out, h_new + b * out, out * sizeof(float));
                    continue;
                }
                memset(h_new + b * out, 0, out * sizeof(float));
                if (op->row.kind == rnnrt_kind_lstm) memcpy(s.c + b * units, c_before + b * units, units * sizeof(float));
                if (visit->y[RNNRT_SLOT_CELLS]) memset(visit->y[RNNRT_SLOT_CELLS] + (t * batch + b) * units, 0, units * sizeof(float));
            }
            h = s.h;
        }
        done += count;
    }
    if (h != s.h) memcpy(s.h, h, batch * out * sizeof(float));
    visit->made[0] = visit->made[RNNRT_SLOT_CELLS] = visit->frames;
    if ((visit->every_step || visit->final) && (visit->start + visit->frames) > 0) {
        if (visit->y[RNNRT_SLOT_H]) memcpy(visit->y[RNNRT_SLOT_H], s.h, batch * out * sizeof(float));
        if (visit->y[RNNRT_SLOT_C]) memcpy(visit->y[RNNRT_SLOT_C], s.c, batch * units * sizeof(float));
        visit->made[RNNRT_SLOT_H] = visit->made[RNNRT_SLOT_C] = 1;
    }
    return RNNRT_OK;
}
