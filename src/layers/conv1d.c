/* y[k] = activation(b + sum over taps of W[tap] x[k * stride - pad_left + tap * dilation]), weight (out, tap,
 * in per group).
 *
 * Three ways, chosen by the layer's shape alone. Wide inputs: one matrix product per tap, added in order,
 * straight from the ring. Narrow inputs: the window as one long row of kernel_size * in numbers, gathered
 * into scratch, and one product. Depthwise: multiply and add along the channels, tap after tap. Where a tap
 * hangs over either end of the input it is left out (or gathered as zeros). */
#include <stdlib.h>

#include "window.h"

enum { GATHERED_ROWS = 64 };

static bool depthwise(const struct rnnrt_row *row) {
    return row->groups > 1 && row->groups == row->input_size && row->output_size == row->input_size;
}
static size_t per_group(const struct rnnrt_row *row) { return (size_t)(row->input_size / row->groups); }
static bool tap_by_tap(const struct rnnrt_row *row) { return per_group(row) >= 16 || row->kernel_size == 1; }
static size_t group_terms(const struct rnnrt_row *row) { return (size_t)row->kernel_size * per_group(row); }

static enum rnnrt_status prepare(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    const struct rnnrt_row *row = &op->row;
    *text = "a convolution needs weights, a window that fits and groups that divide its inputs and outputs";
    if (!row->weight || !window_ok(row) || row->groups < 1 || row->input_size % row->groups ||
        row->output_size % row->groups)
        return RNNRT_BAD_ROW;
    enum rnnrt_status status = RNNRT_OK;
    size_t terms = group_terms(row), outputs = (size_t)(row->output_size / row->groups),
           groups = (size_t)row->groups, taps = (size_t)row->kernel_size;
    op->bias = rnnrt_plan_copy(plan, row->bias, (size_t)row->output_size, &status);
    if (depthwise(row)) { /* (tap, channel) */
        float *weight =
            rnnrt_plan_floats(plan, rnnrt_times((size_t)row->output_size, (size_t)row->kernel_size));
        if (!weight) return RNNRT_NO_MEMORY;
        for (size_t c = 0; c < groups; c++)
            for (size_t tap = 0; tap < terms; tap++) weight[tap * groups + c] = row->weight[c * terms + tap];
        op->weight = weight;
        return status;
    }
    if (rnnrt_times(outputs + 31, terms + 15) >= RNNRT_MOST) return RNNRT_NO_MEMORY; /* a group, padded */
    size_t parts = tap_by_tap(row) ? taps : 1, part = terms / parts,
           size = plan->kernels->packed_size(outputs, part);
    float *packed = rnnrt_plan_floats(plan, rnnrt_times(size, parts * groups)),
          *rows = malloc(outputs * part * sizeof *rows);
    for (size_t g = 0; g < groups && packed && rows; g++)
        for (size_t tap = 0; tap < parts; tap++) { /* (group, tap), or (group) with all taps in a row */
            for (size_t o = 0; o < outputs; o++)
                memcpy(rows + o * part, row->weight + (g * outputs + o) * terms + tap * part,
                       part * sizeof *rows);
            plan->kernels->pack(packed + (g * parts + tap) * size, rows, outputs, part);
        }
    free(rows);
    op->weight = packed;
    return packed && rows ? status : RNNRT_NO_MEMORY;
}

static void measure(const struct rnnrt_op *op, size_t batch, size_t frames, struct rnnrt_sizes *sizes) {
    sizes->state = window_state_bytes(op, batch, frames);
    sizes->scratch = rnnrt_times(GATHERED_ROWS, group_terms(&op->row));
    sizes->capacity = window_capacity(op, frames);
}

/* The first input frame of output k's window; negative where it hangs over the beginning. */
static int64_t first_of(const struct rnnrt_row *row, uint64_t k) {
    return (int64_t)(k * (uint64_t)row->stride) - row->pad_left;
}

/* The window of output k for one batch row and group, zeros where it hangs over either end. */
static void gather(const struct rnnrt_op *op, const struct window *w, uint64_t k, size_t b, size_t g,
                   float *to) {
    const struct rnnrt_row *row = &op->row;
    size_t in = (size_t)row->input_size, part = per_group(row);
    for (int32_t tap = 0; tap < row->kernel_size; tap++, to += part) {
        int64_t index = first_of(row, k) + (int64_t)tap * row->dilation;
        if (index < 0 || (uint64_t)index >= w->seen) memset(to, 0, part * sizeof *to);
        else memcpy(to, window_at(w, (uint64_t)index) + b * in + g * part, part * sizeof *to);
    }
}

static void run_depthwise(const struct rnnrt_op *op, struct rnnrt_visit *visit, const struct window *w) {
    const struct rnnrt_row *row = &op->row;
    size_t width = (size_t)row->input_size, batch = visit->batch;
    for (uint64_t k = w->made; k < w->due; k++)
        for (size_t b = 0; b < batch; b++) {
            float *y = visit->y[0] + ((size_t)(k - w->made) * batch + b) * width;
            if (op->bias) memcpy(y, op->bias, width * sizeof *y);
            else memset(y, 0, width * sizeof *y);
            for (int32_t tap = 0; tap < row->kernel_size; tap++) {
                int64_t index = first_of(row, k) + (int64_t)tap * row->dilation;
                if (index < 0 || (uint64_t)index >= w->seen) continue;
                visit->kernels->multiply_add(width, op->weight + (size_t)tap * width,
                                             window_at(w, (uint64_t)index) + b * width, y);
            }
        }
}

static void run_gathered(const struct rnnrt_op *op, struct rnnrt_visit *visit, const struct window *w) {
    const struct rnnrt_row *row = &op->row;
    const struct rnnrt_kernels *kernels = visit->kernels;
    size_t out = (size_t)row->output_size, groups = (size_t)row->groups, batch = visit->batch,
           terms = group_terms(row), outputs = out / groups;
    size_t size = kernels->packed_size(outputs, terms), rows = (size_t)(w->due - w->made) * batch;
    for (size_t done = 0, count; done < rows; done += count) {
        count = rnnrt_smaller(rows - done, GATHERED_ROWS);
        for (size_t g = 0; g < groups; g++) {
            for (size_t r = 0; r < count; r++)
                gather(op, w, w->made + (done + r) / batch, (done + r) % batch, g,
                       visit->scratch + r * terms);
            kernels->product(op->weight + g * size, outputs, terms, op->bias ? op->bias + g * outputs : NULL,
                             false, visit->scratch, terms, count, visit->y[0] + done * out + g * outputs,
                             out);
        }
    }
}

static void run_taps(const struct rnnrt_op *op, struct rnnrt_visit *visit, const struct window *w) {
    const struct rnnrt_row *row = &op->row;
    size_t in = (size_t)row->input_size, out = (size_t)row->output_size, groups = (size_t)row->groups,
           batch = visit->batch, outputs = out / groups;
    size_t part = per_group(row), size = visit->kernels->packed_size(outputs, part),
           rows = (size_t)(w->due - w->made) * batch;
    int64_t stride = row->stride, made = (int64_t)w->made;
    for (size_t r = 0; r < rows; r++)
        if (op->bias) memcpy(visit->y[0] + r * out, op->bias, out * sizeof(float));
        else memset(visit->y[0] + r * out, 0, out * sizeof(float));
    for (int32_t tap = 0; tap < row->kernel_size; tap++) {
        /* outputs first .. last - 1 find an input frame under this tap */
        int64_t offset = (int64_t)tap * row->dilation - row->pad_left, seen = (int64_t)w->seen;
        int64_t first = offset < 0 ? (-offset + stride - 1) / stride : 0,
                last = seen > offset ? (seen - 1 - offset) / stride + 1 : 0;
        if (first < made) first = made;
        if (last > (int64_t)w->due) last = (int64_t)w->due;
        if (first >= last) continue;
        const float *x = window_at(w, (uint64_t)(first * stride + offset));
        float *y = visit->y[0] + (size_t)(first - made) * batch * out;
        size_t frames = (size_t)(last - first),
               strips = stride > 1 ? batch : 1; /* without stride, frame and batch row are one axis */
        for (size_t g = 0; g < groups; g++)
            for (size_t b = 0; b < strips; b++)
                visit->kernels->product(op->weight + (g * (size_t)row->kernel_size + (size_t)tap) * size,
                                        outputs, part, NULL, true, x + b * in + g * part,
                                        stride > 1 ? (size_t)stride * batch * in : in,
                                        stride > 1 ? frames : frames * batch, y + b * out + g * outputs,
                                        stride > 1 ? batch * out : out);
    }
}

static enum rnnrt_status run(const struct rnnrt_op *op, struct rnnrt_visit *visit) {
    struct window w = window_open(op, visit);
    if (depthwise(&op->row)) run_depthwise(op, visit, &w);
    else if (tap_by_tap(&op->row)) run_taps(op, visit, &w);
    else run_gathered(op, visit, &w);
    visit->made[0] = (size_t)(w.due - w.made);
    if (op->row.activation.name != RNNRT_LINEAR) {
        size_t n = visit->made[0] * visit->batch * (size_t)op->row.output_size;
        visit->kernels->activate(op->row.activation, n, visit->y[0], visit->y[0]);
    }
    return RNNRT_OK;
}

const struct rnnrt_layer rnnrt_layer_conv1d = {
    .prepare = prepare, .measure = measure, .due = window_due, .run = run};
