/* The transpose of a convolution: every input frame is added to `span` frames of the sum,
 *
 *     s[t * stride + tap * dilation] += W[tap] x[t],    y[k] = activation(b + s[k + pad_left])
 *
 * with weight (out, tap, in per group). Of the (frames - 1) * stride + span frames of s, pad_left are cut off
 * in front and pad_right at the end; a negative pad_right adds frames of the bias alone.
 *
 * Each group's weight is a matrix (tap * out, in), so that one product makes all that a frame adds. Frames
 * are added one after the other, whatever a visit brings, to sums that wait until no frame to come can reach
 * them: the order of every sum is that of time. */
#include <stdlib.h>
#include <string.h>

#include "../plan.h"

enum { PRODUCT_ROWS = 64 }; /* input frames whose products are worked out at a time */

static int64_t span_of(const struct rnnrt_row *row) {
    return ((int64_t)row->kernel_size - 1) * row->dilation + 1;
}
static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

/* After n frames s is complete, and not cut off at the end, up to n * stride - held_back(row). */
static int64_t held_back(const struct rnnrt_row *row) {
    return larger(0, row->pad_right - (span_of(row) - row->stride));
}
/* From there on, frames of s that frames so far have reached. */
static size_t pending(const struct rnnrt_row *row) {
    return (size_t)larger(0, larger(row->pad_right, span_of(row) - row->stride));
}
/* From there on, frames that the end brings. */
static size_t tail(const struct rnnrt_row *row) {
    return (size_t)larger(0, span_of(row) - row->stride - row->pad_right);
}

static enum rnnrt_status prepare(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    const struct rnnrt_row *row = &op->row;
    const int32_t most = 1 << 24;
    *text =
        "a transposed convolution needs weights, a window that fits and groups that divide its inputs and "
        "outputs";
    if (!row->weight || row->groups < 1 || row->input_size % row->groups || row->output_size % row->groups ||
        row->kernel_size < 1 || row->kernel_size > most || row->stride < 1 || row->stride > most ||
        row->dilation < 1 || row->dilation > most || span_of(row) > most || row->pad_left < 0 ||
        row->pad_left > most || row->pad_right < -most || row->pad_right > most || row->same)
        return RNNRT_BAD_ROW;
    *text = "a transposed convolution begins at nothing";
    if (row->start) return RNNRT_BAD_ROW;
    enum rnnrt_status status = RNNRT_OK;
    size_t taps = (size_t)row->kernel_size, groups = (size_t)row->groups, out = (size_t)row->output_size,
           in = (size_t)row->input_size / groups, outputs = out / groups;
    op->bias = rnnrt_plan_copy(plan, row->bias, out, &status);
    if (rnnrt_times(rnnrt_times(out, taps), in) >= RNNRT_MOST / sizeof(float)) return RNNRT_NO_MEMORY;
    float *turned =
        plan->filled ? NULL : malloc(out * taps * in * sizeof *turned); /* (group, tap, out, in) */
    if (!turned && !plan->filled) return RNNRT_NO_MEMORY;
    for (size_t o = 0; o < out && turned; o++)
        for (size_t tap = 0; tap < taps; tap++)
            memcpy(turned + ((o / outputs * taps + tap) * outputs + o % outputs) * in,
                   row->weight + (o * taps + tap) * in, in * sizeof *turned);
    op->weight = rnnrt_plan_pack(plan, turned, groups, taps * outputs, in, &status);
    free(turned);
    return status;
}

static size_t keeps(const struct rnnrt_op *op, struct rnnrt_kept *kept) {
    kept[0] = (struct rnnrt_kept){"frames", pending(&op->row), (size_t)op->row.output_size, false, true};
    return kept[0].frames > 0;
}

static size_t due(const struct rnnrt_op *op, size_t frames, bool ended) {
    const struct rnnrt_row *row = &op->row;
    size_t sums = rnnrt_times(frames, (size_t)row->stride) + (ended ? tail(row) : 0),
           cut = (size_t)held_back(row) + (size_t)row->pad_left;
    return frames && sums > cut ? sums - cut : 0;
}

static void rate(const struct rnnrt_op *op, struct rnnrt_rate *rate) {
    const struct rnnrt_row *row = &op->row;
    int64_t cut = held_back(row) + row->pad_left;
    *rate = (struct rnnrt_rate){
        .up = row->stride, .down = 1, .offset = -cut, .warm = cut / row->stride + 2, .tail = tail(row) > 0};
}

/* Frames of s that a visit of `frames` works on: those it completes, and what is reached or given after. */
static size_t sums_of(const struct rnnrt_row *row, size_t frames) {
    return rnnrt_times(frames, (size_t)row->stride) + rnnrt_larger(pending(row), tail(row));
}

static size_t product_floats(const struct rnnrt_row *row) {
    return rnnrt_times(rnnrt_times(PRODUCT_ROWS, (size_t)row->kernel_size),
                       (size_t)(row->output_size / row->groups));
}

static void measure(const struct rnnrt_op *op, size_t batch, size_t frames, struct rnnrt_sizes *sizes) {
    const struct rnnrt_row *row = &op->row;
    sizes->scratch =
        rnnrt_times(rnnrt_times(sums_of(row, frames), batch), (size_t)row->output_size) + product_floats(row);
    sizes->capacity = rnnrt_times(frames, (size_t)row->stride) + tail(row);
}

/* Adds what the taps of one group made of one frame. */
static void add_taps(const struct rnnrt_op *op, const struct rnnrt_visit *visit, const float *made,
                     float *sum) {
    size_t taps = (size_t)op->row.kernel_size, outputs = (size_t)(op->row.output_size / op->row.groups),
           step = (size_t)op->row.dilation * visit->batch * (size_t)op->row.output_size;
    if (step == outputs) { /* the frames it is added to lie side by side */
        visit->kernels->add(taps * outputs, sum, made, sum);
        return;
    }
    for (size_t tap = 0; tap < taps; tap++, sum += step, made += outputs)
        visit->kernels->add(outputs, sum, made, sum);
}

/* Adds all new frames; false where the call is to end. */
static bool add_frames(const struct rnnrt_op *op, const struct rnnrt_visit *visit, float *sums, float *made) {
    const struct rnnrt_row *row = &op->row;
    size_t batch = visit->batch, in = (size_t)row->input_size, out = (size_t)row->output_size,
           groups = (size_t)row->groups, wide = op->weight->outputs, rows = visit->frames * batch,
           first = (size_t)held_back(row), stride = (size_t)row->stride;
    for (size_t done = 0, count; done < rows; done += count) {
        count = rnnrt_smaller(PRODUCT_ROWS, rows - done);
        for (size_t g = 0; g < groups; g++) {
            const struct rnnrt_product call = {.x = visit->x[0] + done * in + g * (in / groups),
                                               .x_stride = in,
                                               .depth = in / groups,
                                               .rows = count,
                                               .y = made,
                                               .y_stride = wide};
            visit->kernels->product(&op->weight[g], &call);
            for (size_t r = 0; r < count; r++) {
                size_t frame = first + (done + r) / batch * stride, b = (done + r) % batch;
                add_taps(op, visit, made + r * wide, sums + (frame * batch + b) * out + g * (out / groups));
            }
        }
        if (rnnrt_worked(visit->pulse, op->work * (double)count)) return false;
    }
    return true;
}

static enum rnnrt_status run(const struct rnnrt_op *op, struct rnnrt_visit *visit) {
    const struct rnnrt_row *row = &op->row;
    size_t batch = visit->batch, out = (size_t)row->output_size, waiting = pending(row),
           all = sums_of(row, visit->frames), before = due(op, (size_t)visit->start, false),
           after = due(op, (size_t)visit->start + visit->frames, visit->final), count = after - before;
    float *sums = visit->scratch, *made = sums + all * batch * out, *y = visit->y[0];
    memset(sums, 0, all * batch * out * sizeof *sums);
    for (size_t b = 0; b < batch && waiting; b++) {
        const float *kept = rnnrt_kept_of(op, visit, b);
        for (size_t k = 0; k < waiting; k++)
            memcpy(sums + (k * batch + b) * out, kept + k * out, out * sizeof *sums);
    }
    if (!add_frames(op, visit, sums, made)) return RNNRT_CANCELLED;
    size_t complete = visit->frames * (size_t)row->stride, end = complete + (visit->final ? tail(row) : 0);
    const float *first = sums + (end - count) * batch * out; /* what is cut off comes before */
    for (size_t r = 0; r < count * batch; r++)
        if (op->bias) visit->kernels->add(out, first + r * out, op->bias, y + r * out);
        else memcpy(y + r * out, first + r * out, out * sizeof *y);
    if (row->activation.name != RNNRT_LINEAR)
        visit->kernels->activate(row->activation, count * batch * out, y, y);
    for (size_t b = 0; b < batch && waiting; b++) {
        float *kept = rnnrt_kept_of(op, visit, b);
        for (size_t k = 0; k < waiting; k++)
            memcpy(kept + k * out, sums + ((complete + k) * batch + b) * out, out * sizeof *kept);
    }
    visit->made[0] = count;
    return RNNRT_OK;
}

static double work(const struct rnnrt_op *op) {
    return ((double)(op->row.input_size / op->row.groups) + 4) * op->row.output_size * op->row.kernel_size;
}

const struct rnnrt_layer rnnrt_layer_conv_transpose1d = {.time = RNNRT_TIME_NEEDED,
                                                         .prepare = prepare,
                                                         .keeps = keeps,
                                                         .measure = measure,
                                                         .due = due,
                                                         .rate = rate,
                                                         .run = run,
                                                         .work = work,
                                                         .asks = true};
