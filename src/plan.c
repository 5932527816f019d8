/* Rows -> plan: check, pack, order the ops into stages, and count how far branches can run ahead of one
 * another. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plan.h"

static const struct rnnrt_layer *const layers[] = {
#define RNNRT_LAYER(word) &rnnrt_layer_##word,
    RNNRT_LAYERS(RNNRT_LAYER)
#undef RNNRT_LAYER
};

/* Where memory is promised freely, asking for more than there is ends the process at the first touch, not
 * here. */
static bool machine_has(size_t bytes) {
    if (bytes < (size_t)1 << 30) return true;
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages < 1 || size < 1 || bytes / (size_t)size < (size_t)pages;
}

void *rnnrt_aligned(size_t bytes) {
    if (!machine_has(bytes)) return NULL;
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64 + (bytes == 0 ? 64 : 0));
    if (p) memset(p, 0, bytes);
    return p;
}

float *rnnrt_plan_floats(struct rnnrt_plan *plan, size_t count) {
    /* 16 floats of slack: kernels may load a whole vector at the end of an array */
    float *p = rnnrt_aligned(rnnrt_times(count + 16, sizeof(float)));
    void **blocks = p ? realloc(plan->blocks, (plan->block_count + 1) * sizeof *blocks) : NULL;
    if (!blocks) {
        free(p);
        return NULL;
    }
    plan->blocks = blocks;
    plan->blocks[plan->block_count++] = p;
    plan->bytes += count * sizeof(float);
    return p;
}

const float *rnnrt_plan_copy(struct rnnrt_plan *plan, const float *from, size_t count,
                             enum rnnrt_status *status) {
    if (!from || *status) return NULL;
    float *p = rnnrt_plan_floats(plan, count);
    if (!p) *status = RNNRT_NO_MEMORY;
    else memcpy(p, from, count * sizeof *p);
    return p;
}

const float *rnnrt_plan_pack(struct rnnrt_plan *plan, const float *weight, size_t outputs, size_t terms,
                             enum rnnrt_status *status) {
    if (*status) return NULL;
    float *p = rnnrt_times(outputs, terms) < RNNRT_MOST_TERMS
                   ? rnnrt_plan_floats(plan, plan->kernels->packed_size(outputs, terms))
                   : NULL;
    if (!p) *status = RNNRT_NO_MEMORY;
    else plan->kernels->pack(p, weight, outputs, terms);
    return p;
}

static enum rnnrt_status bad_row(struct rnnrt_error *error, size_t row, const char *text) {
    if (error) *error = (struct rnnrt_error){.row = (int32_t)row, .text = text};
    return RNNRT_BAD_ROW;
}

/* ---- one row ---- */

static int32_t slot_width(const struct rnnrt_row *row, int slot) {
    if (slot == 0) return row->output_size;
    if (!rnnrt_recurrent(row->kind)) return 0;
    if (slot == RNNRT_SLOT_H) return row->output_size;
    return row->kind == rnnrt_kind_lstm ? row->units : 0;
}

/* Slot 0 and the inputs run over time, or are given once, as the kind demands. */
static bool time_fits(const struct rnnrt_plan *plan, const struct rnnrt_row *row) {
    if (row->kind == rnnrt_kind_input) return true;
    bool in = plan->values[row->input[0]].timed, out = row->timed != 0;
    for (int32_t i = 1; i < row->inputs; i++)
        if (plan->values[row->input[i]].timed != (in && !rnnrt_recurrent(row->kind))) return false;
    switch (row->kind) {
    case rnnrt_kind_flatten:
    case rnnrt_kind_last:
    case rnnrt_kind_global_max_pool:
    case rnnrt_kind_global_average_pool: return in && !out;
    case rnnrt_kind_unflatten: return !in && out;
    case rnnrt_kind_rnn:
    case rnnrt_kind_gru:
    case rnnrt_kind_lstm:
    case rnnrt_kind_reverse:
    case rnnrt_kind_conv1d:
    case rnnrt_kind_max_pool1d:
    case rnnrt_kind_average_pool1d: return in && out;
    default: return in == out;
    }
}

static bool takes_several(int32_t kind) {
    return kind == rnnrt_kind_concatenate || kind == rnnrt_kind_add || kind == rnnrt_kind_multiply ||
           rnnrt_recurrent(kind);
}

static enum rnnrt_status check_row(struct rnnrt_plan *plan, const struct rnnrt_row *rows, size_t r,
                                   struct rnnrt_error *error) {
    const struct rnnrt_row *row = &rows[r];
    if (row->kind < 0 || row->kind >= RNNRT_KINDS) return bad_row(error, r, "its kind is unknown");
    if (row->inputs < 0 || row->inputs > RNNRT_MAX_INPUTS) return bad_row(error, r, "it has too many inputs");
    if ((row->kind == rnnrt_kind_input) != (row->inputs == 0))
        return bad_row(error, r, "it has no inputs, or is an input and has some");
    if (row->output_size < 1 || row->output_size > 1 << 24)
        return bad_row(error, r, "its output size is impossible");
    if (row->kind != rnnrt_kind_input && (row->input_size < 1 || row->input_size > 1 << 24))
        return bad_row(error, r, "its input size is impossible");
    if ((unsigned)row->activation.name >= RNNRT_FUNCTIONS ||
        (unsigned)row->recurrent_activation.name >= RNNRT_FUNCTIONS)
        return bad_row(error, r, "its activation is unknown");
    if (row->inputs > 1 && !takes_several(row->kind)) return bad_row(error, r, "it takes one input");
    if (row->length < 0) return bad_row(error, r, "its length is impossible");
    if (row->reverse && !rnnrt_recurrent(row->kind)) return bad_row(error, r, "it cannot run in reverse");
    if (row->unpacked && !rnnrt_recurrent(row->kind)) return bad_row(error, r, "lengths mean nothing to it");
    for (int32_t i = 0; i < row->inputs; i++) {
        int32_t v = row->input[i];
        if (v < 0 || v / RNNRT_MAX_OUTPUTS >= (int32_t)r || plan->values[v].width == 0)
            return bad_row(error, r, "it reads a value no row before it makes");
        plan->values[v].used = true;
    }
    if (row->inputs && plan->values[row->input[0]].width != row->input_size)
        return bad_row(error, r, "its input size is not that of the value it reads");
    if (!time_fits(plan, row))
        return bad_row(error, r, "it runs over time where its inputs do not, or the other way round");
    for (int slot = 0; slot < RNNRT_MAX_OUTPUTS; slot++)
        plan->values[r * RNNRT_MAX_OUTPUTS + (size_t)slot] = (struct rnnrt_value){
            .width = slot_width(row, slot),
            .timed = slot == 0 ? row->timed != 0 : slot == RNNRT_SLOT_CELLS,
            .used = slot == 0 &&
                    !rnnrt_recurrent(row->kind)}; /* recurrent rows alone can do without their slot 0 */
    return RNNRT_OK;
}

/* ---- stages ----
 * Ops of one stage are visited block by block, in order. An op that needs a value complete before it starts
 * (an initial state), or reads what a whole op made, belongs to a later stage and reads that value from a
 * full-length buffer. */

static void order(struct rnnrt_plan *plan) {
    plan->stages = 1;
    for (size_t r = 0; r < plan->count; r++) {
        struct rnnrt_op *op = &plan->ops[r];
        op->whole = op->row.reverse || op->row.kind == rnnrt_kind_reverse;
        op->stage = op->row.inputs ? 0 : -1;
        op->once = op->row.inputs || !op->row.timed;
        for (int32_t i = 0; i < op->row.inputs; i++) {
            const struct rnnrt_op *from = &plan->ops[op->row.input[i] / RNNRT_MAX_OUTPUTS];
            op->once &= from->once;
            bool complete = rnnrt_recurrent(op->row.kind) && i > 0;
            int32_t after = from->stage + (from->stage >= 0 && !op->whole && (from->whole || complete));
            if (after > op->stage) op->stage = after;
        }
        if (op->stage + 1 > plan->stages) plan->stages = op->stage + 1;
    }
    for (size_t r = 0; r < plan->count; r++) {
        const struct rnnrt_op *op = &plan->ops[r];
        for (int32_t i = 0; i < op->row.inputs; i++) {
            struct rnnrt_value *value = &plan->values[op->row.input[i]];
            const struct rnnrt_op *from = &plan->ops[op->row.input[i] / RNNRT_MAX_OUTPUTS];
            value->full |= from->whole || op->whole ||
                           (op->stage > from->stage && !(from->stage < 0 && op->stage == 0)) ||
                           (rnnrt_recurrent(op->row.kind) && i > 0);
        }
        if (op->stage < 0 && !op->row.timed) plan->values[r * RNNRT_MAX_OUTPUTS].full = true;
        for (size_t slot = 0; op->whole && slot < RNNRT_MAX_OUTPUTS; slot++)
            plan->values[r * RNNRT_MAX_OUTPUTS + slot].full = true;
    }
    const char *text;
    plan->streams = rnnrt_plan_obstacle(plan, false, &text) < 0;
    /* Where the branches of a join may be any distance apart they wait for one another in full-length
     * buffers. */
    for (size_t r = 0; r < plan->count && !plan->streams; r++)
        for (int32_t i = 0; rnnrt_joins(&plan->ops[r]) && i < plan->ops[r].row.inputs; i++)
            plan->values[plan->ops[r].row.input[i]].full = true;
}

/* ---- counting frames ---- */

static bool windowed(int32_t kind) {
    return kind == rnnrt_kind_conv1d || kind == rnnrt_kind_max_pool1d || kind == rnnrt_kind_average_pool1d;
}

static size_t op_due(const struct rnnrt_op *op, size_t frames, bool ended) {
    return op->layer->due ? op->layer->due(op, frames, ended) : frames;
}

static bool closes(int32_t kind) {
    return kind == rnnrt_kind_last || kind == rnnrt_kind_global_max_pool ||
           kind == rnnrt_kind_global_average_pool;
}

void rnnrt_plan_totals(const struct rnnrt_plan *plan, size_t frames, bool ended, bool every_step,
                       size_t *total) {
    for (size_t r = 0; r < plan->count; r++) {
        const struct rnnrt_op *op = &plan->ops[r];
        size_t *made = total + r * RNNRT_MAX_OUTPUTS, in = SIZE_MAX;
        memset(made, 0, RNNRT_MAX_OUTPUTS * sizeof *made);
        if (op->row.kind == rnnrt_kind_input) {
            if (!op->row.timed) made[0] = frames || ended;
            else made[0] = ended && op->row.length && !plan->streams ? (size_t)op->row.length : frames;
            continue;
        }
        int32_t counted = rnnrt_recurrent(op->row.kind) ? 1 : op->row.inputs;
        bool over =
            ended ||
            (op->once && frames); /* what hangs on inputs given once alone is over with the first frame */
        for (int32_t i = 0; i < counted; i++) in = rnnrt_smaller(in, total[op->row.input[i]]);
        if (every_step && closes(op->row.kind)) made[0] = in;
        else made[0] = op->whole && !over ? 0 : op_due(op, in, over);
        if (rnnrt_recurrent(op->row.kind)) {
            made[RNNRT_SLOT_H] = made[RNNRT_SLOT_C] = every_step ? in : over && in;
            made[RNNRT_SLOT_CELLS] = made[0];
        }
    }
}

/* How far input i of a joining op can be ahead of the slowest: what a queue on that edge must hold between
 * visits. The counts repeat once every branch has started, so the walk ends after two common periods past the
 * longest delay. */
static enum rnnrt_status count_lags(struct rnnrt_plan *plan) {
    bool joins = false;
    size_t start = 0, period = 1;
    for (size_t r = 0; r < plan->count; r++) {
        const struct rnnrt_row *row = &plan->ops[r].row;
        joins |= rnnrt_joins(&plan->ops[r]);
        if (row->kernel_size > 0) {
            size_t stride = (size_t)rnnrt_larger((size_t)row->stride, 1),
                   span = ((size_t)row->kernel_size - 1) * rnnrt_larger((size_t)row->dilation, 1) + 1;
            start += span * period + stride * period;
            period *= stride;
        }
    }
    if (!joins || !plan->streams) return RNNRT_OK;
    size_t limit = start + 2 * period;
    limit = rnnrt_smaller(
        limit,
        ((size_t)1 << 26) /
            plan->count); /* a longer walk than anybody would wait for; a lag missed is an error later */
    size_t *total = malloc(plan->count * RNNRT_MAX_OUTPUTS * sizeof *total);
    if (!total) return RNNRT_NO_MEMORY;
    for (size_t frames = 1; frames <= limit; frames++) {
        rnnrt_plan_totals(plan, frames, false, false, total);
        for (size_t r = 0; r < plan->count; r++) {
            struct rnnrt_op *op = &plan->ops[r];
            if (!rnnrt_joins(op)) continue;
            size_t least = SIZE_MAX;
            for (int32_t i = 0; i < op->row.inputs; i++)
                least = rnnrt_smaller(least, total[op->row.input[i]]);
            for (int32_t i = 0; i < op->row.inputs; i++)
                op->lag[i] = rnnrt_larger(op->lag[i], total[op->row.input[i]] - least);
        }
    }
    for (size_t r = 0; r < plan->count; r++) /* values given once come at the start or at the end */
        for (int32_t i = 0; i < plan->ops[r].row.inputs && plan->ops[r].row.inputs > 1; i++)
            if (!plan->values[plan->ops[r].row.input[i]].timed) plan->ops[r].lag[i] = 1;
    free(total);
    return RNNRT_OK;
}

/* ---- the plan ---- */

enum rnnrt_status rnnrt_plan_create(struct rnnrt_plan **out, const struct rnnrt_row *rows, size_t count,
                                    const int32_t *outputs, size_t output_count, const char *isa,
                                    struct rnnrt_error *error) {
    *out = NULL;
    if (error) *error = (struct rnnrt_error){.row = -1};
    if (!count || count > 1 << 20 || !output_count || output_count > RNNRT_PLAN_OUTPUTS)
        return bad_row(error, 0, "there are too few or too many rows or outputs");
    struct rnnrt_plan *plan = calloc(1, sizeof *plan);
    if (!plan) return RNNRT_NO_MEMORY;
    enum rnnrt_status status = RNNRT_NO_MEMORY;
    plan->kernels = isa && !strcmp(isa, "blas") ? rnnrt_kernels_blas() : rnnrt_kernels_find(isa);
    plan->count = count;
    plan->outputs = output_count;
    plan->ops = calloc(count, sizeof *plan->ops);
    plan->values = calloc(count * RNNRT_MAX_OUTPUTS, sizeof *plan->values);
    plan->output = calloc(output_count, sizeof *plan->output);
    if (!plan->ops || !plan->values || !plan->output) goto fail;
    status = RNNRT_NO_ISA;
    if (!plan->kernels) goto fail;
    for (size_t r = 0; r < count; r++) {
        struct rnnrt_op *op = &plan->ops[r];
        if ((status = check_row(plan, rows, r, error))) goto fail;
        op->row = rows[r];
        op->layer = layers[rows[r].kind];
        if (!windowed(op->row.kind))
            op->row.kernel_size = 0; /* what tells windows from other ops from here on */
        plan->inputs += op->row.kind == rnnrt_kind_input;
        const char *text = NULL;
        if (op->layer->prepare && (status = op->layer->prepare(plan, op, &text))) {
            if (status == RNNRT_BAD_ROW) bad_row(error, r, text);
            goto fail;
        }
    }
    for (size_t o = 0; o < output_count; o++) {
        int32_t v = outputs[o];
        status = bad_row(error, count - 1, "an output shows a value no row makes");
        if (v < 0 || (size_t)v >= count * RNNRT_MAX_OUTPUTS || !plan->values[v].width) goto fail;
        plan->output[o] = v;
        plan->values[v].used = true;
    }
    order(plan);
    if ((status = count_lags(plan))) goto fail;
    if (error) *error = (struct rnnrt_error){.row = -1};
    *out = plan;
    return RNNRT_OK;
fail:
    rnnrt_plan_free(plan);
    return status;
}

void rnnrt_plan_free(struct rnnrt_plan *plan) {
    if (!plan) return;
    for (size_t i = 0; i < sizeof plan->idle / sizeof *plan->idle; i++) rnnrt_stream_discard(plan->idle[i]);
    for (size_t i = 0; i < plan->block_count; i++) free(plan->blocks[i]);
    free(plan->blocks);
    free(plan->ops);
    free(plan->values);
    free(plan->output);
    free(plan);
}

const char *rnnrt_plan_isa(const struct rnnrt_plan *plan) { return plan->kernels->isa; }
size_t rnnrt_plan_bytes(const struct rnnrt_plan *plan) { return plan->bytes; }

int32_t rnnrt_plan_obstacle(const struct rnnrt_plan *plan, bool every_step, const char **text) {
    const struct rnnrt_row *first = NULL;
    for (size_t r = 0; r < plan->count; r++) {
        const struct rnnrt_op *op = &plan->ops[r];
        *text = "is as long as no other input: frames cannot come side by side";
        if (op->row.kind == rnnrt_kind_input && op->row.timed) {
            if (first && op->row.length != first->length) return (int32_t)r;
            first = &op->row;
        }
        *text = op->whole ? "runs from the last frame to the first"
                          : "starts from what another layer says at the end";
        if (op->whole || op->stage > 0) return (int32_t)r;
        *text = "answers only when all frames are there";
        if (every_step && (op->row.kind == rnnrt_kind_flatten || op->row.kind == rnnrt_kind_unflatten))
            return (int32_t)r;
        *text = "looks ahead: its answer to the last frames comes at the end";
        if (every_step && op->row.kernel_size > 0 && (op->row.pad_right || op->row.same)) return (int32_t)r;
    }
    return -1;
}

size_t rnnrt_plan_due(const struct rnnrt_plan *plan, size_t output, size_t frames, bool ended) {
    size_t *total = malloc(plan->count * RNNRT_MAX_OUTPUTS * sizeof *total);
    if (!total) return 0;
    rnnrt_plan_totals(plan, frames, ended, false, total);
    size_t due = total[plan->output[output]];
    free(total);
    return due;
}

size_t rnnrt_block(size_t wanted, size_t batch) {
    if (wanted) return rnnrt_smaller(wanted, 1 << 20);
    return batch >= 56 ? 1 : 56 / rnnrt_larger(batch, 1);
}
