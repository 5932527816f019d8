/* The time loop of the recurrent layers. */
#include "recurrent.h"

enum {
    STRETCH_ROWS = 64, /* rows of the input product worked on at a time: a few tiles, small enough to stay in
                          the L2 cache */
    STRETCH_OVERLAPPED = 18, /* the same where the next stretch's product runs while the steps of this one do:
                                three tiles of it */
    OVERLAP_FLOATS = 16384,  /* recurrent weights from this size on come from beyond the L1 cache, and a step
                                waits for them */
};

/* h (batch, output_size), then c (batch, units) for an LSTM: where one row keeps them, or gathered from
 * several. */
struct states {
    float *h, *c;
};

static size_t c_size(const struct rnnrt_op *op) {
    return op->row.kind == rnnrt_kind_lstm ? (size_t)op->row.units : 0;
}

static bool holds(const struct rnnrt_op *op) { return op->row.masked_output == RNNRT_MASKED_HOLD; }

/* Whether row b has met a frame that is not masked, 1 or 0: from then on the last output is the state. */
static float *begun_of(const struct rnnrt_op *op, const struct rnnrt_visit *visit, size_t b) {
    return (float *)rnnrt_kept_of(op, visit, b) + op->row.output_size + c_size(op);
}

size_t rnnrt_recurrent_keeps(const struct rnnrt_op *op, struct rnnrt_kept *kept) {
    kept[0] = (struct rnnrt_kept){"h", 1, (size_t)op->row.output_size, false, false};
    size_t arrays = 1;
    if (c_size(op)) kept[arrays++] = (struct rnnrt_kept){"c", 1, c_size(op), false, false};
    if (holds(op)) kept[arrays++] = (struct rnnrt_kept){"begun", 1, 1, false, true};
    return arrays;
}

/* The states before the visit's first frame: what the further inputs say where the sequence begins with it.
 */
static struct states take_states(const struct rnnrt_op *op, const struct rnnrt_visit *visit, float *room) {
    size_t batch = visit->batch, out = (size_t)op->row.output_size, units = c_size(op);
    struct states s = {room, room + batch * out};
    if (batch == 1) s.h = rnnrt_kept_of(op, visit, 0), s.c = s.h + out;
    for (size_t b = 0; b < batch && batch > 1; b++) {
        const float *kept = rnnrt_kept_of(op, visit, b);
        memcpy(s.h + b * out, kept, out * sizeof *kept);
        memcpy(s.c + b * units, kept + out, units * sizeof *kept);
    }
    if (rnnrt_start(op, visit, 0) > 0) return s;
    int32_t given = op->row.inputs - op->counted;
    if (given > 0) memcpy(s.h, visit->x[op->counted], batch * out * sizeof(float));
    if (given > 1) memcpy(s.c, visit->x[op->counted + 1], batch * units * sizeof(float));
    return s;
}

static void keep_states(const struct rnnrt_op *op, const struct rnnrt_visit *visit, struct states s) {
    size_t out = (size_t)op->row.output_size, units = c_size(op);
    for (size_t b = 0; b < visit->batch && visit->batch > 1; b++) {
        float *kept = rnnrt_kept_of(op, visit, b);
        memcpy(kept, s.h + b * out, out * sizeof *kept);
        memcpy(kept + out, s.c + b * units, units * sizeof *kept);
    }
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
    op->weight = rnnrt_plan_pack(plan, row->weight, 1, rows, (size_t)row->input_size, &status);
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
    sizes->scratch = stretch(batch) * batch * gates * units + held + 3 * batch * out + 2 * batch * units + 64;
}

double rnnrt_work_recurrent(const struct rnnrt_op *op) {
    double gates = op->row.kind == rnnrt_kind_lstm  ? 4
                   : op->row.kind == rnnrt_kind_gru ? 3
                                                    : 1,
           units = op->row.units, out = op->row.output_size;
    return gates * units * (op->row.input_size + out + 10) + (op->row.projection ? units * out : 0);
}

/* The input part W x + b of `count` frames from `first` on. */
static struct rnnrt_product input_part(const struct rnnrt_op *op, const struct rnnrt_visit *visit,
                                       size_t first, size_t count, float *parts) {
    size_t in = (size_t)op->row.input_size;
    return (struct rnnrt_product){.x = visit->x[0] + first * visit->batch * in,
                                  .x_stride = in,
                                  .depth = in,
                                  .rows = count * visit->batch,
                                  .y = parts,
                                  .y_stride = op->weight->outputs,
                                  .bias = op->bias};
}

/* Whether frame t counts for row b: it is not masked, nor past the end of a packed row. */
enum live { LIVE, MASKED, OVER };
static enum live live(const struct rnnrt_op *op, const struct rnnrt_visit *visit, size_t t, size_t b) {
    const float *mask = rnnrt_mask_at(op, visit, t);
    if (visit->lengths && !op->row.unpacked && (int64_t)(rnnrt_start(op, visit, b) + t) >= visit->lengths[b])
        return OVER;
    return mask && mask[b] == 0 ? MASKED : LIVE;
}

static bool any_live(const struct rnnrt_op *op, const struct rnnrt_visit *visit, size_t t) {
    for (size_t b = 0; b < visit->batch; b++)
        if (live(op, visit, t, b) == LIVE) return true;
    return false;
}

/* The output of a row that keeps its state: the state, where that is its last output, or zeros. */
static void say(bool last, const float *state, size_t count, float *y) {
    if (last) memcpy(y, state, count * sizeof *y);
    else memset(y, 0, count * sizeof *y);
}

/* Rows for which frame t counts go on to h_new; the others keep their states, whatever the cell made of such
 * a frame. */
static void keep_still_rows(const struct rnnrt_op *op, const struct rnnrt_visit *visit, size_t t,
                            struct states s, float *h_new, const float *c_before) {
    size_t units = (size_t)op->row.units, out = (size_t)op->row.output_size;
    float *cells = op->slots > RNNRT_SLOT_CELLS ? visit->y[RNNRT_SLOT_CELLS] : NULL;
    for (size_t b = 0; b < visit->batch; b++) {
        enum live is = live(op, visit, t, b);
        if (is == LIVE) {
            memcpy(s.h + b * out, h_new + b * out, out * sizeof(float));
            if (holds(op)) *begun_of(op, visit, b) = 1;
            continue;
        }
        bool last = is == MASKED && holds(op) && *begun_of(op, visit, b) != 0;
        say(last, s.h + b * out, out, h_new + b * out);
        memcpy(s.c + b * c_size(op), c_before + b * c_size(op), c_size(op) * sizeof(float));
        if (cells) say(last, s.c + b * units, units, cells + (t * visit->batch + b) * units);
    }
}

enum rnnrt_status rnnrt_run_recurrent(const struct rnnrt_op *op, struct rnnrt_visit *visit, size_t gates,
                                      rnnrt_cell *cell) {
    size_t batch = visit->batch, units = (size_t)op->row.units, out = (size_t)op->row.output_size,
           wide = gates * units, frames = visit->frames;
    struct states s = take_states(op, visit, visit->scratch);
    float *cells = op->slots > RNNRT_SLOT_CELLS ? visit->y[RNNRT_SLOT_CELLS] : NULL;
    const bool may_keep_still = op->mask || (visit->lengths && !op->row.unpacked);
    bool overlaps = batch == 1 && frames > STRETCH_OVERLAPPED && wide * out >= OVERLAP_FLOATS &&
                    visit->kernels->product_overlapped;
    size_t most = overlaps ? STRETCH_OVERLAPPED : stretch(batch), room = stretch(batch) * batch * wide;
    float *parts = visit->scratch + batch * (out + units), *next_parts = parts + STRETCH_OVERLAPPED * wide;
    float *spare[2] = {parts + room, parts + room + batch * out}, *c_before = spare[1] + batch * out;
    struct rnnrt_overlapped overlapped;
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
        if (!overlaps || done == 0) {
            const struct rnnrt_product call = input_part(op, visit, first, count, parts);
            visit->kernels->product(op->weight, &call);
        }
        step.overlapped = overlaps && after ? &overlapped : NULL;
        if (step.overlapped) {
            overlapped.weight = op->weight, overlapped.tile = overlapped.k = 0;
            overlapped.call =
                input_part(op, visit, op->row.reverse ? first - after : first + count, after, next_parts);
        }
        for (size_t i = 0; i < count; i++) {
            size_t local = op->row.reverse ? count - 1 - i : i, t = first + local;
            step.gates = parts + local * batch * wide;
            step.h_new = visit->y[0] ? visit->y[0] + t * batch * out : spare[step.h == spare[0]];
            if (may_keep_still) memcpy(c_before, s.c, batch * c_size(op) * sizeof(float));
            if (!may_keep_still || any_live(op, visit, t)) cell(&step);
            if (cells) memcpy(cells + t * batch * units, s.c, batch * units * sizeof(float));
            step.h = step.h_new;
            if (may_keep_still) {
                keep_still_rows(op, visit, t, s, step.h_new, c_before);
                step.h = s.h;
            }
            if (rnnrt_worked(visit->pulse, op->work * (double)batch)) return RNNRT_CANCELLED;
        }
        if (!step.overlapped) continue;
        visit->kernels->finish_overlapped(&overlapped);
        float *swap = parts;
        parts = next_parts;
        next_parts = swap;
    }
    if (step.h != s.h) memcpy(s.h, step.h, batch * out * sizeof(float));
    keep_states(op, visit, s);
    visit->made[0] = frames;
    if (op->slots > RNNRT_SLOT_CELLS) visit->made[RNNRT_SLOT_CELLS] = frames;
    if ((visit->every_step || visit->final) && rnnrt_start(op, visit, 0) + frames > 0) {
        if (visit->y[RNNRT_SLOT_H]) memcpy(visit->y[RNNRT_SLOT_H], s.h, batch * out * sizeof(float));
        visit->made[RNNRT_SLOT_H] = 1;
        if (op->slots > RNNRT_SLOT_C) {
            if (visit->y[RNNRT_SLOT_C]) memcpy(visit->y[RNNRT_SLOT_C], s.c, batch * units * sizeof(float));
            visit->made[RNNRT_SLOT_C] = 1;
        }
    }
    return RNNRT_OK;
}
