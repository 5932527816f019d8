/* The time loop of the recurrent layers. */
#include "recurrent.h"

enum {
    STRETCH_ROWS = 64, /* frames of one row whose input part is one product: a few tiles, whose gates stay in
                          the L1 and L2 caches until the steps take them */
    STRETCH_BATCH = 192, /* rows of all frames of the same, where the batch has several and there are outputs
                            to cut: the more, the more tiles share a panel of weights */
    STRETCH_OVERLAPPED = 18, /* frames where the next stretch's product runs while the steps of this one do:
                                three tiles of it */
    BEYOND_L2 = 1 << 18,     /* weights of both products that do not stay in an L2 cache of 1 MB together: the
                                overlapped one drives out what the steps read */
};

/* h (rows, what the cell gives), and c (rows, units) for an LSTM, a row for each bin of each batch row: where
 * the batch rows keep them, or, where these lie anywhere, gathered. The strides are floats from row to row.
 */
struct states {
    float *h, *c;
    size_t h_stride, c_stride;
    bool gathered;
};

static void copy_rows(float *to, size_t to_stride, const float *from, size_t from_stride, size_t count,
                      size_t rows) {
    if (rows == 1) {
        memcpy(to, from, count * sizeof *to);
        return;
    }
    if (to_stride == count && from_stride == count) count *= rows, rows = 1;
    for (size_t b = 0; b < rows; b++) memcpy(to + b * to_stride, from + b * from_stride, count * sizeof *to);
}

static size_t c_size(const struct rnnrt_op *op) {
    return op->desc.kind == rnnrt_kind_lstm ? (size_t)op->desc.units : 0;
}

/* Numbers that a batch row keeps of h and c: those of all its bins. */
static size_t kept_size(const struct rnnrt_op *op) { return (size_t)op->desc.output_size; }
static size_t kept_c_size(const struct rnnrt_op *op) { return rnnrt_bins(op) * c_size(op); }

static bool holds(const struct rnnrt_op *op) { return op->desc.masked_output == RNNRT_MASKED_HOLD; }

/* Whether row b has met a frame that is not masked, 1 or 0: from then on the last output is the state. */
static float *begun_of(const struct rnnrt_op *op, const struct rnnrt_invocation *call, size_t b) {
    return (float *)rnnrt_kept_of(op, call, b) + kept_size(op) + kept_c_size(op);
}

size_t rnnrt_recurrent_keeps(const struct rnnrt_op *op, struct rnnrt_kept *kept) {
    kept[0] = (struct rnnrt_kept){"h", 1, kept_size(op), false, false};
    size_t arrays = 1;
    if (c_size(op)) kept[arrays++] = (struct rnnrt_kept){"c", 1, kept_c_size(op), false, false};
    if (holds(op)) kept[arrays++] = (struct rnnrt_kept){"begun", 1, 1, false, true};
    return arrays;
}

/* The states before the invocation's first frame: what the further inputs say where the sequence begins with
 * it.
 */
static struct states take_states(const struct rnnrt_op *op, const struct rnnrt_invocation *call,
                                 float *room) {
    size_t batch = call->batch, bins = rnnrt_bins(op), out = rnnrt_cell_size(op), units = c_size(op),
           stride = call->row_stride / sizeof(float);
    float *first = rnnrt_kept_of(op, call, 0);
    struct states s = {first, first + bins * out, stride, stride, false};
    if (bins > 1) s.h_stride = out, s.c_stride = units;             /* of the one batch row */
    if (batch > 1 && (bins > 1 || !stride || stride > INT32_MAX)) { /* BLAS counts in int */
        s = (struct states){room, room + batch * bins * out, out, units, true};
        for (size_t b = 0; b < batch; b++) {
            const float *kept = rnnrt_kept_of(op, call, b);
            memcpy(s.h + b * bins * out, kept, bins * out * sizeof *kept);
            memcpy(s.c + b * bins * units, kept + bins * out, bins * units * sizeof *kept);
        }
    }
    if (call->start > 0) return s;
    int32_t given = op->desc.inputs - op->counted;
    if (given > 0) copy_rows(s.h, s.h_stride, call->x[op->counted], out, out, batch * bins);
    if (given > 1) copy_rows(s.c, s.c_stride, call->x[op->counted + 1], units, units, batch * bins);
    return s;
}

static void keep_states(const struct rnnrt_op *op, const struct rnnrt_invocation *call, struct states s) {
    size_t out = kept_size(op), units = kept_c_size(op);
    for (size_t b = 0; b < call->batch; b++) {
        float *kept = rnnrt_kept_of(op, call, b);
        memcpy(kept, s.h + b * out, out * sizeof *kept);
        memcpy(kept + out, s.c + b * units, units * sizeof *kept);
    }
}

/* Frames of a stretch, of `frames` there are, with gates of `wide` numbers a row. */
static size_t stretch(size_t batch, size_t frames, size_t wide) { /* no division in the step of one row */
    if (batch == 1) return STRETCH_ROWS;
    size_t most = wide >= STRETCH_BATCH / STRETCH_ROWS * RNNRT_CUT_OUTPUTS ? STRETCH_BATCH : STRETCH_ROWS;
    return rnnrt_smaller(rnnrt_larger(most / batch, 1), rnnrt_larger(frames, 1));
}

enum rnnrt_status rnnrt_prepare_recurrent(struct rnnrt_plan *plan, struct rnnrt_op *op, size_t gates,
                                          const char **text) {
    struct rnnrt_layer_desc *desc = &op->desc;
    *text = "a recurrent layer needs weight and recurrent_weight, and sizes that fit";
    if (!desc->weight || !desc->recurrent_weight || desc->units < 1 || desc->units > 1 << 22)
        return RNNRT_BAD_LAYER;
    int32_t bins = (int32_t)rnnrt_bins(op);
    if (desc->input_size % bins || desc->output_size % bins) return RNNRT_BAD_LAYER;
    if (desc->projection ? desc->kind != rnnrt_kind_lstm : desc->output_size != bins * desc->units)
        return RNNRT_BAD_LAYER;
    *text = "its norm is unknown";
    if (desc->norm < RNNRT_NORM_NONE || desc->norm > RNNRT_NORM_JOINT ||
        (desc->kind == rnnrt_kind_gru && desc->norm == RNNRT_NORM_JOINT))
        return RNNRT_BAD_LAYER;
    *text = "it starts from more states than it has";
    if (desc->inputs > (desc->kind == rnnrt_kind_lstm ? 3 : 2)) return RNNRT_BAD_LAYER;
    for (int32_t i = 1; i < desc->inputs; i++)
        if (plan->values[desc->input[i]].width != (i == 1 ? desc->output_size : bins * desc->units))
            return RNNRT_BAD_LAYER;
    enum rnnrt_status status = RNNRT_OK;
    size_t rows = gates * (size_t)desc->units;
    op->weight = rnnrt_plan_pack(plan, desc->weight, 1, rows, (size_t)(desc->input_size / bins), &status);
    op->bias = rnnrt_plan_copy(plan, desc->bias, rows, &status);
    op->recurrent_bias = rnnrt_plan_copy(plan, desc->recurrent_bias, rows, &status);
    op->gamma = rnnrt_plan_copy(plan, desc->gamma, rows, &status);
    op->beta = rnnrt_plan_copy(plan, desc->beta, rows, &status);
    op->standard = desc->norm == RNNRT_NORM_NONE && desc->activation.name == RNNRT_TANH &&
                   desc->recurrent_activation.name == RNNRT_SIGMOID;
    return status;
}

void rnnrt_measure_recurrent(const struct rnnrt_op *op, size_t batch, size_t frames, size_t gates,
                             size_t held, struct rnnrt_sizes *sizes) {
    size_t units = (size_t)op->desc.units, out = rnnrt_cell_size(op);
    batch *= rnnrt_bins(op);
    if (op->whole) frames = STRETCH_BATCH; /* of a block are what it is told, not what it is run with */
    size_t parts = stretch(batch, frames, gates * units) * batch * gates * units;
    sizes->scratch = parts + held + 3 * batch * out + 2 * batch * units + 64;
}

double rnnrt_work_recurrent(const struct rnnrt_op *op) {
    double gates = op->desc.kind == rnnrt_kind_lstm  ? 4
                   : op->desc.kind == rnnrt_kind_gru ? 3
                                                     : 1,
           units = op->desc.units, in = (double)op->weight->depth, out = (double)rnnrt_cell_size(op);
    return (double)rnnrt_bins(op) *
           (gates * units * (in + out + 10) + (op->desc.projection ? units * out : 0));
}

/* The input part W x + b of `count` frames from `first` on. */
static struct rnnrt_product input_part(const struct rnnrt_op *op, const struct rnnrt_invocation *call,
                                       size_t first, size_t count, float *parts) {
    size_t in = op->weight->depth, batch = call->batch * rnnrt_bins(op);
    return (struct rnnrt_product){.x = call->x[0] + first * batch * in,
                                  .x_stride = in,
                                  .depth = in,
                                  .rows = count * batch,
                                  .y = parts,
                                  .y_stride = op->weight->outputs,
                                  .bias = op->bias};
}

/* The same, done: of more rows than STRETCH_ROWS some outputs after the other, so that each product is as
 * much work as one of STRETCH_ROWS or what may go by without a question. Whether the call is to end. */
static bool do_input_part(const struct rnnrt_op *op, const struct rnnrt_invocation *call, size_t first,
                          size_t count, float *parts, struct rnnrt_pulse *pulse) {
    const struct rnnrt_product whole = input_part(op, call, first, count, parts);
    double work = (double)whole.depth * (double)whole.rows; /* of one output */
    size_t outputs = op->weight->outputs, most = outputs, done;
    if (whole.rows > STRETCH_ROWS)
        most = rnnrt_larger(rnnrt_piece(work), outputs * STRETCH_ROWS / whole.rows) / RNNRT_CUT_OUTPUTS *
               RNNRT_CUT_OUTPUTS;
    for (size_t from = 0;; from += done) {
        struct rnnrt_matrix w = *op->weight;
        struct rnnrt_product product = whole;
        done = rnnrt_cut_outputs(&w, &product, from, most);
        if (!done) return false;
        call->kernels->product(&w, &product);
        if (rnnrt_worked(pulse, work * (double)done)) return true;
    }
}

/* Whether frame t counts for row b: it is not masked, nor past the end of a packed row. */
enum live { LIVE, MASKED, OVER };
static enum live live(const struct rnnrt_op *op, const struct rnnrt_invocation *call, size_t t, size_t b) {
    const float *mask = rnnrt_mask_at(op, call, t);
    if (call->lengths && !op->desc.unpacked && (int64_t)(rnnrt_start(op, call, b) + t) >= call->lengths[b])
        return OVER;
    return mask && mask[b] == 0 ? MASKED : LIVE;
}

static bool any_live(const struct rnnrt_op *op, const struct rnnrt_invocation *call, size_t t) {
    for (size_t b = 0; b < call->batch; b++)
        if (live(op, call, t, b) == LIVE) return true;
    return false;
}

/* The output of a row that keeps its state: the state, where that is its last output, or zeros. */
static void say(bool last, const float *state, size_t count, float *y) {
    if (last) memcpy(y, state, count * sizeof *y);
    else memset(y, 0, count * sizeof *y);
}

/* Rows for which frame t counts go on to h_new; the others keep their states, whatever the cell made of such
 * a frame. */
static void keep_still_rows(const struct rnnrt_op *op, const struct rnnrt_invocation *call, size_t t,
                            struct states s, float *h_new, const float *c_before) {
    size_t units = (size_t)op->desc.units, out = rnnrt_cell_size(op), bins = rnnrt_bins(op),
           batch = call->batch * bins;
    float *cells = op->slots > RNNRT_SLOT_CELLS ? call->y[RNNRT_SLOT_CELLS] : NULL;
    for (size_t b = 0; b < batch; b++) {
        size_t row = b / bins;
        enum live is = live(op, call, t, row);
        if (is == LIVE) {
            memcpy(s.h + b * s.h_stride, h_new + b * out, out * sizeof(float));
            if (holds(op)) *begun_of(op, call, row) = 1;
            continue;
        }
        bool last = is == MASKED && holds(op) && *begun_of(op, call, row) != 0;
        say(last, s.h + b * s.h_stride, out, h_new + b * out);
        memcpy(s.c + b * s.c_stride, c_before + b * c_size(op), c_size(op) * sizeof(float));
        if (cells) say(last, s.c + b * s.c_stride, units, cells + (t * batch + b) * units);
    }
}

/* The states after the invocation's last frame are kept, and shown where they are answers. */
static void finish(const struct rnnrt_op *op, struct rnnrt_invocation *call, struct states s, const float *h,
                   size_t h_stride) {
    size_t batch = call->batch * rnnrt_bins(op), units = (size_t)op->desc.units, out = rnnrt_cell_size(op);
    if (h != s.h) copy_rows(s.h, s.h_stride, h, h_stride, out, batch);
    if (s.gathered) keep_states(op, call, s);
    call->made[0] = call->frames;
    if (op->slots > RNNRT_SLOT_CELLS) call->made[RNNRT_SLOT_CELLS] = call->frames;
    if (!(call->every_step || call->final) || call->start + call->frames == 0) return;
    if (call->y[RNNRT_SLOT_H]) copy_rows(call->y[RNNRT_SLOT_H], out, s.h, s.h_stride, out, batch);
    call->made[RNNRT_SLOT_H] = 1;
    if (op->slots <= RNNRT_SLOT_C) return;
    if (call->y[RNNRT_SLOT_C]) copy_rows(call->y[RNNRT_SLOT_C], units, s.c, s.c_stride, units, batch);
    call->made[RNNRT_SLOT_C] = 1;
}

/* One frame that counts for every row: what a step of a stream is, without a loop around it. */
static enum rnnrt_status run_frame(const struct rnnrt_op *op, struct rnnrt_invocation *call, size_t gates,
                                   rnnrt_cell *cell) {
    size_t batch = call->batch * rnnrt_bins(op), units = (size_t)op->desc.units, out = rnnrt_cell_size(op);
    struct states s = take_states(op, call, call->scratch);
    float *parts = call->scratch + batch * (out + units), *spare = parts + batch * gates * units;
    struct rnnrt_product input = input_part(op, call, 0, 1, parts);
    bool large = gates * units * (input.depth + out) >= RNNRT_NEAR_FLOATS,
         pair = large && batch == 1 && call->kernels->product_pair &&
                op->recurrent->outputs == op->weight->outputs;
    input.upwards = large && call->gone & 1;
    if (!pair) call->kernels->product(op->weight, &input);
    const struct rnnrt_step step = {.op = op,
                                    .kernels = call->kernels,
                                    .batch = batch,
                                    .gates = parts,
                                    .h = s.h,
                                    .h_stride = s.h_stride,
                                    .h_new = call->y[0] ? call->y[0] : spare,
                                    .c = s.c,
                                    .c_stride = s.c_stride,
                                    .held = spare + batch * out,
                                    .upwards = input.upwards,
                                    .input = pair ? &input : NULL};
    cell(&step);
    if (op->slots > RNNRT_SLOT_CELLS && call->y[RNNRT_SLOT_CELLS])
        copy_rows(call->y[RNNRT_SLOT_CELLS], units, s.c, s.c_stride, units, batch);
    finish(op, call, s, step.h_new, out);
    return rnnrt_worked(call->pulse, op->work * (double)call->batch) ? RNNRT_CANCELLED : RNNRT_OK;
}

void rnnrt_prepare_steps(struct rnnrt_plan *plan, struct rnnrt_op *op, size_t gates,
                         enum rnnrt_status *status) {
    size_t units = (size_t)op->desc.units, wide = gates * units;
    if (*status || !op->standard || op->desc.masked_output != RNNRT_UNMASKED || rnnrt_bins(op) != 1 ||
        wide <= RNNRT_DOT_MAX_OUTPUTS || wide * (op->weight->depth + units) >= RNNRT_NEAR_FLOATS)
        return;
    struct rnnrt_step_order order = plan->kernels->order_steps(gates, units, NULL, NULL);
    op->groups = order.groups;
    if (!order.outputs) {
        op->steps = op->recurrent;
        return;
    }
    float *ordered = plan->filled ? NULL : rnnrt_take(&plan->memory, order.outputs * units, sizeof *ordered);
    if (ordered) plan->kernels->order_steps(gates, units, op->desc.recurrent_weight, ordered);
    else if (!plan->filled) *status = RNNRT_NO_MEMORY;
    op->steps = rnnrt_plan_pack_made(plan, ordered, 1, order.outputs, units, status);
    rnnrt_give(&plan->memory, ordered);
}

enum rnnrt_status rnnrt_run_steps(const struct rnnrt_op *op, struct rnnrt_invocation *call) {
    size_t wide = op->weight->outputs, depth = op->weight->depth, units = op->steps->depth,
           frames = call->frames;
    float *kept = rnnrt_kept_of(op, call, 0), *parts = call->scratch + 2 * units;
    if (call->start == 0) take_states(op, call, call->scratch);
    struct rnnrt_steps run = {.recurrent = op->steps,
                              .bias = op->bias,
                              .recurrent_bias = op->recurrent_bias,
                              .x = call->x[0],
                              .h = kept,
                              .gates = parts,
                              .c = kept + units,
                              .held = parts + STRETCH_ROWS * wide,
                              .y = call->y[0],
                              .frames = 1,
                              .groups = op->groups,
                              .backwards = op->desc.reverse};
    void (*const steps)(const struct rnnrt_steps *) =
        op->desc.kind == rnnrt_kind_lstm ? call->kernels->lstm_steps : call->kernels->gru_steps;
    call->made[0] = frames;
    if (frames == 1) {
        run.input = op->weight;
        steps(&run);
        if (rnnrt_worked(call->pulse, op->work)) return RNNRT_CANCELLED;
    } else {
        if (depth == 1) run.input = op->weight; /* else the input part is one product of many rows */
        for (size_t done = 0; done < frames; done += run.frames) {
            run.frames = rnnrt_smaller(STRETCH_ROWS, frames - done);
            size_t first = op->desc.reverse ? frames - done - run.frames : done;
            run.x = call->x[0] + first * depth;
            if (call->y[0]) run.y = call->y[0] + first * units;
            if (!run.input) {
                const struct rnnrt_product product = input_part(op, call, first, run.frames, parts);
                call->kernels->product(op->weight, &product);
            }
            steps(&run);
            if (rnnrt_worked(call->pulse, op->work * (double)run.frames)) return RNNRT_CANCELLED;
        }
    }
    if (call->every_step || call->final)
        finish(op, call, (struct states){kept, kept + units, 0, 0, false}, kept, 0);
    return RNNRT_OK;
}

enum rnnrt_status rnnrt_run_recurrent(const struct rnnrt_op *op, struct rnnrt_invocation *call, size_t gates,
                                      rnnrt_cell *cell) {
    const bool may_keep_still = op->mask || (call->lengths && !op->desc.unpacked);
    if (call->frames == 1 && !may_keep_still) return run_frame(op, call, gates, cell);
    size_t batch = call->batch * rnnrt_bins(op), units = (size_t)op->desc.units, out = rnnrt_cell_size(op),
           wide = gates * units, frames = call->frames;
    struct states s = take_states(op, call, call->scratch);
    float *cells = op->slots > RNNRT_SLOT_CELLS ? call->y[RNNRT_SLOT_CELLS] : NULL;
    bool large = wide * out >= RNNRT_NEAR_FLOATS,
         overlaps = batch == 1 && frames > STRETCH_OVERLAPPED && large &&
                    wide * (op->weight->depth + out) < BEYOND_L2 && call->kernels->product_overlapped;
    size_t longest = stretch(batch, frames, wide), most = overlaps ? STRETCH_OVERLAPPED : longest,
           room = longest * batch * wide;
    float *parts = call->scratch + batch * (out + units), *next_parts = parts + STRETCH_OVERLAPPED * wide;
    float *spare[2] = {parts + room, parts + room + batch * out}, *c_before = spare[1] + batch * out;
    struct rnnrt_overlapped overlapped;
    struct rnnrt_step step = {.op = op,
                              .kernels = call->kernels,
                              .batch = batch,
                              .h = s.h,
                              .h_stride = s.h_stride,
                              .c = s.c,
                              .c_stride = s.c_stride,
                              .held = c_before + batch * units};
    double work = op->work * (double)call->batch; /* that a step is counted for */
    struct rnnrt_pulse *pulse = overlaps ? NULL : call->pulse;
    if (!overlaps) work -= (double)(batch * wide) * (double)op->weight->depth; /* counted where it is done */
    for (size_t done = 0, count; done < frames; done += count) {
        count = rnnrt_smaller(most, frames - done);
        size_t first = op->desc.reverse ? frames - done - count : done,
               after = rnnrt_smaller(most, frames - done - count);
        if ((!overlaps || done == 0) && do_input_part(op, call, first, count, parts, pulse))
            return RNNRT_CANCELLED;
        step.overlapped = overlaps && after ? &overlapped : NULL;
        if (step.overlapped) {
            overlapped.weight = op->weight, overlapped.tile = overlapped.k = 0;
            overlapped.call =
                input_part(op, call, op->desc.reverse ? first - after : first + count, after, next_parts);
        }
        for (size_t i = 0; i < count; i++) {
            size_t local = op->desc.reverse ? count - 1 - i : i, t = first + local;
            step.gates = parts + local * batch * wide;
            step.h_new = call->y[0] ? call->y[0] + t * batch * out : spare[step.h == spare[0]];
            step.upwards = large && (call->gone + t) & 1;
            if (may_keep_still) copy_rows(c_before, c_size(op), s.c, s.c_stride, c_size(op), batch);
            if (!may_keep_still || any_live(op, call, t)) cell(&step);
            if (cells) copy_rows(cells + t * batch * units, units, s.c, s.c_stride, units, batch);
            step.h = step.h_new, step.h_stride = out;
            if (may_keep_still) {
                keep_still_rows(op, call, t, s, step.h_new, c_before);
                step.h = s.h, step.h_stride = s.h_stride;
            }
            if (rnnrt_worked(call->pulse, work)) return RNNRT_CANCELLED;
        }
        if (!step.overlapped) continue;
        call->kernels->finish_overlapped(&overlapped);
        float *swap = parts;
        parts = next_parts;
        next_parts = swap;
    }
    finish(op, call, s, step.h, step.h_stride);
    return RNNRT_OK;
}
