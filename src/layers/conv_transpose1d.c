/* The transpose of a convolution: every input frame is added to `span` frames of the sum,
 *
 *     s[t * stride + tap * dilation] += W[tap] x[t],    y[k] = activation(b + s[k + pad_left])
 *
 * with weight (out, tap, in per group). Of the (frames - 1) * stride + span frames of s, pad_left are cut off
 * in front and pad_right at the end; a negative pad_right adds frames of the bias alone.
 *
 * Each group's weight is a matrix (tap * out, in), so that one product makes all that a frame adds. Frames
 * are added one after the other, whatever a invocation brings, to sums that wait until no frame to come can
 * reach them: the order of every sum is that of time. */
#include <stdlib.h>
#include <string.h>

#include "../plan.h"

enum { PRODUCT_ROWS = 64 }; /* input frames whose products are worked out at a time */

static int64_t span_of(const struct rnnrt_layer_desc *desc) {
    return ((int64_t)desc->kernel_size - 1) * desc->dilation + 1;
}
static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

/* After n frames s is complete, and not cut off at the end, up to n * stride - held_back(row). */
static int64_t held_back(const struct rnnrt_layer_desc *desc) {
    return larger(0, desc->pad_right - (span_of(desc) - desc->stride));
}
/* From there on, frames of s that frames so far have reached. */
static size_t pending(const struct rnnrt_layer_desc *desc) {
    return (size_t)larger(0, larger(desc->pad_right, span_of(desc) - desc->stride));
}
/* From there on, frames that the end brings. */
static size_t tail(const struct rnnrt_layer_desc *desc) {
    return (size_t)larger(0, span_of(desc) - desc->stride - desc->pad_right);
}

static enum rnnrt_status prepare(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    const struct rnnrt_layer_desc *desc = &op->desc;
    const int32_t most = 1 << 24;
    *text =
        "a transposed convolution needs weights, a window that fits and groups that divide its inputs and "
        "outputs";
    if (!desc->weight || desc->groups < 1 || desc->input_size % desc->groups ||
        desc->output_size % desc->groups || desc->kernel_size < 1 || desc->kernel_size > most ||
        desc->stride < 1 || desc->stride > most || desc->dilation < 1 || desc->dilation > most ||
        span_of(desc) > most || desc->pad_left < 0 || desc->pad_left > most || desc->pad_right < -most ||
        desc->pad_right > most || desc->same)
        return RNNRT_BAD_LAYER;
    *text = "a transposed convolution begins at nothing";
    if (desc->start) return RNNRT_BAD_LAYER;
    enum rnnrt_status status = RNNRT_OK;
    size_t taps = (size_t)desc->kernel_size, groups = (size_t)desc->groups, out = (size_t)desc->output_size,
           in = (size_t)desc->input_size / groups, outputs = out / groups;
    op->bias = rnnrt_plan_copy(plan, desc->bias, out, &status);
    if (rnnrt_times(rnnrt_times(out, taps), in) >= RNNRT_MOST / sizeof(float)) return RNNRT_NO_MEMORY;
    if (!rnnrt_plan_may_read(plan, desc->weight, out * taps * in)) return RNNRT_BAD_LAYER;
    float *turned =
        plan->filled ? NULL
                     : rnnrt_take(&plan->memory, out * taps * in, sizeof *turned); /* (group, tap, out, in) */
    if (!turned && !plan->filled) return RNNRT_NO_MEMORY;
    for (size_t o = 0; o < out && turned; o++)
        for (size_t tap = 0; tap < taps; tap++)
            memcpy(turned + ((o / outputs * taps + tap) * outputs + o % outputs) * in,
                   desc->weight + (o * taps + tap) * in, in * sizeof *turned);
    op->weight = rnnrt_plan_pack_made(plan, turned, groups, taps * outputs, in, &status);
    rnnrt_give(&plan->memory, turned);
    return status;
}

static size_t keeps(const struct rnnrt_op *op, struct rnnrt_kept *kept) {
    kept[0] = (struct rnnrt_kept){"frames", pending(&op->desc), (size_t)op->desc.output_size, false, true};
    return kept[0].frames > 0;
}

static size_t due(const struct rnnrt_op *op, size_t frames, bool ended) {
    const struct rnnrt_layer_desc *desc = &op->desc;
    size_t sums = rnnrt_times(frames, (size_t)desc->stride) + (ended ? tail(desc) : 0),
           cut = (size_t)held_back(desc) + (size_t)desc->pad_left;
    return frames && sums > cut ? sums - cut : 0;
}

static void rate(const struct rnnrt_op *op, struct rnnrt_rate *rate) {
    const struct rnnrt_layer_desc *desc = &op->desc;
    int64_t cut = held_back(desc) + desc->pad_left;
    *rate = (struct rnnrt_rate){.up = desc->stride,
                                .down = 1,
                                .offset = -cut,
                                .warm = cut / desc->stride + 2,
                                .tail = tail(desc) > 0};
}

/* Frames of s that a invocation of `frames` works on: those it completes, and what is reached or given after.
 */
static size_t sums_of(const struct rnnrt_layer_desc *desc, size_t frames) {
    return rnnrt_times(frames, (size_t)desc->stride) + rnnrt_larger(pending(desc), tail(desc));
}

static size_t product_floats(const struct rnnrt_layer_desc *desc) {
    return rnnrt_times(rnnrt_times(PRODUCT_ROWS, (size_t)desc->kernel_size),
                       (size_t)(desc->output_size / desc->groups));
}

static void measure(const struct rnnrt_op *op, size_t batch, size_t frames, struct rnnrt_sizes *sizes) {
    const struct rnnrt_layer_desc *desc = &op->desc;
    sizes->scratch = rnnrt_times(rnnrt_times(sums_of(desc, frames), batch), (size_t)desc->output_size) +
                     product_floats(desc);
    sizes->capacity = rnnrt_times(frames, (size_t)desc->stride) + tail(desc);
}

/* Adds what the taps of one group made of one frame. */
static void add_taps(const struct rnnrt_op *op, const struct rnnrt_invocation *call, const float *made,
                     float *sum) {
    size_t taps = (size_t)op->desc.kernel_size, outputs = (size_t)(op->desc.output_size / op->desc.groups),
           step = (size_t)op->desc.dilation * call->batch * (size_t)op->desc.output_size;
    if (step == outputs) { /* the frames it is added to lie side by side */
        call->kernels->add(taps * outputs, sum, made, sum);
        return;
    }
    for (size_t tap = 0; tap < taps; tap++, sum += step, made += outputs)
        call->kernels->add(outputs, sum, made, sum);
}

/* Adds all new frames; false where the call is to end. */
static bool add_frames(const struct rnnrt_op *op, const struct rnnrt_invocation *call, float *sums,
                       float *made) {
    const struct rnnrt_layer_desc *desc = &op->desc;
    size_t batch = call->batch, in = (size_t)desc->input_size, out = (size_t)desc->output_size,
           groups = (size_t)desc->groups, wide = op->weight->outputs, rows = call->frames * batch,
           first = (size_t)held_back(desc), stride = (size_t)desc->stride;
    for (size_t done = 0, count; done < rows; done += count) {
        count = rnnrt_smaller(PRODUCT_ROWS, rows - done);
        for (size_t g = 0; g < groups; g++) {
            const struct rnnrt_product product = {.x = call->x[0] + done * in + g * (in / groups),
                                                  .x_stride = in,
                                                  .depth = in / groups,
                                                  .rows = count,
                                                  .y = made,
                                                  .y_stride = wide};
            call->kernels->product(&op->weight[g], &product);
            for (size_t r = 0; r < count; r++) {
                size_t frame = first + (done + r) / batch * stride, b = (done + r) % batch;
                add_taps(op, call, made + r * wide, sums + (frame * batch + b) * out + g * (out / groups));
            }
        }
        if (rnnrt_worked(call->pulse, op->work * (double)count)) return false;
    }
    return true;
}

static enum rnnrt_status run(const struct rnnrt_op *op, struct rnnrt_invocation *call) {
    const struct rnnrt_layer_desc *desc = &op->desc;
    size_t batch = call->batch, out = (size_t)desc->output_size, waiting = pending(desc),
           all = sums_of(desc, call->frames), before = due(op, (size_t)call->start, false),
           after = due(op, (size_t)call->start + call->frames, call->final), count = after - before;
    float *sums = call->scratch, *made = sums + all * batch * out, *y = call->y[0];
    memset(sums, 0, all * batch * out * sizeof *sums);
    for (size_t b = 0; b < batch && waiting; b++) {
        const float *kept = rnnrt_kept_of(op, call, b);
        for (size_t k = 0; k < waiting; k++)
            memcpy(sums + (k * batch + b) * out, kept + k * out, out * sizeof *sums);
    }
    if (!add_frames(op, call, sums, made)) return RNNRT_CANCELLED;
    size_t complete = call->frames * (size_t)desc->stride, end = complete + (call->final ? tail(desc) : 0);
    const float *first = sums + (end - count) * batch * out; /* what is cut off comes before */
    for (size_t r = 0; r < count * batch; r++)
        if (op->bias) call->kernels->add(out, first + r * out, op->bias, y + r * out);
        else memcpy(y + r * out, first + r * out, out * sizeof *y);
    if (desc->activation.name != RNNRT_LINEAR)
        call->kernels->activate(desc->activation, count * batch * out, y, y);
    for (size_t b = 0; b < batch && waiting; b++) {
        float *kept = rnnrt_kept_of(op, call, b);
        for (size_t k = 0; k < waiting; k++)
            memcpy(kept + k * out, sums + ((complete + k) * batch + b) * out, out * sizeof *kept);
    }
    call->made[0] = count;
    return RNNRT_OK;
}

static double work(const struct rnnrt_op *op) {
    return ((double)(op->desc.input_size / op->desc.groups) + 4) * op->desc.output_size *
           op->desc.kernel_size;
}

const struct rnnrt_layer_class rnnrt_layer_conv_transpose1d = {.time = RNNRT_TIME_NEEDED,
                                                               .prepare = prepare,
                                                               .keeps = keeps,
                                                               .measure = measure,
                                                               .due = due,
                                                               .rate = rate,
                                                               .run = run,
                                                               .work = work,
                                                               .asks = true};
