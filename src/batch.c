/* A batch of whole inputs, in slices of rows that fit the memory they are worked on in. Threads take slices
 * by turns, where there are rows enough for each; else they share the work inside the one slice. */
#include <stdlib.h>

#include "arena.h"
#include "float_mode.h"

enum {
    SLICE_BYTES = 1 << 20, /* what a slice touches again and again should stay near the processor */
    SLICE_ROWS = 64,       /* below so many rows the matrix products get slow */
    SLICE_MOST = 64 << 20, /* and above so many bytes it is memory that counts */
    SLICE_LEAST = 8,
};

size_t rnnrt_plan_rows(const struct rnnrt_plan *plan, size_t frames) {
    double bytes = 64 + (double)plan->row_bytes;
    for (size_t r = 0; r < plan->count; r++) {
        const struct rnnrt_op *op = &plan->ops[r];
        double before = op->desc.inputs ? plan->ops[plan->values[op->desc.input[0]].op].rate : 1;
        struct rnnrt_sizes sizes = {0, 1};
        if (op->layer->measure) op->layer->measure(op, SLICE_ROWS, 1, &sizes);
        bytes += (double)sizes.scratch * sizeof(float) / SLICE_ROWS;
        for (size_t slot = 0; slot < op->slots; slot++) {
            const struct rnnrt_value *value = &plan->values[op->value + slot];
            double count = !value->full || !value->timed ? 1
                           : slot                        ? before * (double)frames
                                                         : op->rate * (double)frames + op->few;
            if (value->used) bytes += count * value->width * (double)sizeof(float);
        }
    }
    double rows = SLICE_BYTES / bytes;
    if (rows < SLICE_ROWS) {
        rows = SLICE_MOST / bytes;
        rows = rows > SLICE_ROWS ? SLICE_ROWS : rows < SLICE_LEAST ? SLICE_LEAST : rows;
    }
    return rows < 1 << 20 ? (size_t)rows : 1 << 20;
}

size_t rnnrt_slice(const struct rnnrt_plan *plan, size_t count, bool even) {
    if (count <= SLICE_ROWS || plan->inputs > RNNRT_MAX_INPUTS) return count;
    size_t most = rnnrt_larger(rnnrt_plan_rows(plan, 1), SLICE_ROWS), slices = (count + most - 1) / most;
    for (size_t n = slices; n <= 2 * slices && n > 1; n++)
        if (count % n == 0) return count / n;
    return even ? count : (count + slices - 1) / slices;
}

static void cut_states(const struct rnnrt_plan *plan, const struct rnnrt_state_value *from, size_t count,
                       size_t row, struct rnnrt_state_value *to) {
    for (size_t i = 0; i < count; i++) {
        to[i] = from[i];
        if (from[i].value >= 0 && (size_t)from[i].value < plan->value_count)
            to[i].data += row * (size_t)plan->values[from[i].value].width;
    }
}

/* ---- the slices ---- */

/* What one thread takes slices with. */
struct slicer {
    struct rnnrt_member member;
    struct rnnrt_pulse *pulse;
    struct rnnrt_array *arrays;       /* of the plan's inputs and outputs, cut to the slice */
    struct rnnrt_state_value *states; /* initial and final */
    enum rnnrt_status status;
    struct rnnrt_error error;
};

struct slices {
    const struct rnnrt_plan *plan;
    const struct rnnrt_call *call;
    size_t batch, rows, block; /* rows: of a slice, but for the last */
    size_t count, next;
    struct rnnrt_question question;
    struct slicer *slicers;
};

static enum rnnrt_status run_slice(const struct slices *slices, size_t slice, struct slicer *slicer) {
    const struct rnnrt_plan *plan = slices->plan;
    const struct rnnrt_call *all = slices->call;
    size_t row = slice * slices->rows, rows = rnnrt_smaller(slices->rows, slices->batch - row);
    struct rnnrt_arena *arena;
    enum rnnrt_status status = rnnrt_arena_borrow(plan, rows, rnnrt_block(plan, slices->block, rows), &arena);
    if (status) return status;
    struct rnnrt_call call = *all;
    call.inputs = slicer->arrays, call.outputs = slicer->arrays + plan->inputs;
    for (size_t i = 0; i < plan->inputs + plan->outputs; i++) {
        slicer->arrays[i] = i < plan->inputs ? all->inputs[i] : all->outputs[i - plan->inputs];
        slicer->arrays[i].data += (ptrdiff_t)row * slicer->arrays[i].batch_stride;
    }
    if (call.lengths) call.lengths += row;
    call.initial = slicer->states, call.final = slicer->states + call.initial_count;
    cut_states(plan, all->initial, call.initial_count, row, slicer->states);
    cut_states(plan, all->final, call.final_count, row, slicer->states + call.initial_count);
    status = rnnrt_run_rows(arena, &call, NULL, slicer->pulse, &slicer->error);
    rnnrt_arena_return(arena);
    if (status == RNNRT_BAD_ID) slicer->error.batch_row += (int64_t)row;
    return status;
}

static void run_slices(void *argument, size_t number) {
    struct slices *slices = argument;
    struct slicer *slicer = &slices->slicers[number];
    for (size_t k; (k = __atomic_fetch_add(&slices->next, 1, __ATOMIC_RELAXED)) < slices->count;) {
        if (!rnnrt_member_takes(&slicer->member, k)) return;
        slicer->status = run_slice(slices, k, slicer);
        if (slicer->status) rnnrt_member_fails(&slicer->member);
        if (slicer->status) return;
    }
}

/* By the members of a team, or by the caller alone. */
static enum rnnrt_status run_all(struct slices *slices, struct rnnrt_team *team, struct rnnrt_error *error) {
    const struct rnnrt_plan *plan = slices->plan;
    const struct rnnrt_call *call = slices->call;
    size_t members = team->size, ports = plan->inputs + plan->outputs,
           states = call->initial_count + call->final_count;
    struct slicer *slicers = slices->slicers = rnnrt_take_zeroed(&plan->memory, members, sizeof *slicers);
    struct rnnrt_array *arrays = rnnrt_take_zeroed(&plan->memory, members * ports, sizeof *arrays);
    struct rnnrt_state_value *values = rnnrt_take_zeroed(&plan->memory, members * states + 1, sizeof *values);
    enum rnnrt_status status = slicers && arrays && values ? RNNRT_OK : RNNRT_NO_MEMORY;
    for (size_t m = 0; m < members && !status; m++) {
        slicers[m].pulse = rnnrt_member_begin(&slicers[m].member, &slices->question, m);
        slicers[m].arrays = arrays + m * ports, slicers[m].states = values + m * states;
        slicers[m].error.layer = -1;
    }
    if (!status) {
        bool whole = rnnrt_team_run(team, true, run_slices, slices, rnnrt_member_idle, &slicers[0].member);
        size_t failed = slices->question.failed;
        if (!whole || slices->question.over) status = RNNRT_CANCELLED;
        for (size_t m = 0; m < members; m++) {
            rnnrt_member_end(&slicers[m].member);
            if (status || !slicers[m].status || slicers[m].member.piece != failed) continue;
            status = slicers[m].status;
            if (error) *error = slicers[m].error;
        }
        for (size_t m = 0; m < members && !status; m++) { /* whoever had the last slice had any */
            const struct rnnrt_array *made = slicers[m].arrays + plan->inputs;
            for (size_t o = 0; o < plan->outputs && slicers[m].member.piece == slices->count - 1; o++)
                call->outputs[o].frames = made[o].frames;
        }
    }
    for (size_t o = 0; o < plan->outputs && status; o++) call->outputs[o].frames = 0;
    rnnrt_give(&plan->memory, slicers);
    rnnrt_give(&plan->memory, arrays);
    rnnrt_give(&plan->memory, values);
    return status;
}

/* Whether the members take rows each. That costs nothing on the way, but all read all weights, and an odd row
 * keeps the others waiting; the alternative are products that they share, where a step is large enough. */
static bool shares_rows(const struct rnnrt_plan *plan, size_t batch, size_t members) {
    enum { ROWS_OF_LARGE_STEP = 4 };
    const double large = 1e6; /* multiply-adds of a step whose weights fill a cache */
    if (members < 2 || batch < members) return false;
    if (plan->work_step * (double)batch < 2 * rnnrt_worth.product) return true;
    size_t most = (batch + members - 1) / members;
    if (most * members * 5 > batch * 6) return false;
    return batch >= members * ROWS_OF_LARGE_STEP || plan->work_step < large;
}

enum rnnrt_status rnnrt_run(const struct rnnrt_plan *plan, size_t batch, const struct rnnrt_array *inputs,
                            struct rnnrt_array *outputs, const int64_t *lengths,
                            const struct rnnrt_state_value *initial, size_t initial_count,
                            const struct rnnrt_state_value *final, size_t final_count, size_t block,
                            struct rnnrt_between *between, struct rnnrt_error *error) {
    if (error) *error = (struct rnnrt_error){.layer = -1};
    if (!batch) return RNNRT_NO_MEMORY;
    const struct rnnrt_call call = {inputs, outputs, lengths, initial, final, initial_count, final_count};
    size_t frames = 1;
    for (size_t i = 0; i < plan->inputs; i++) frames = rnnrt_larger(frames, inputs[i].frames);
    size_t most = batch > SLICE_LEAST ? rnnrt_plan_rows(plan, frames) : batch,
           slices = (batch + most - 1) / most;
    struct rnnrt_sharing sharing;
    size_t threads = plan->watches ? 1 : plan->threads; /* a stopwatch is for one at a time */
    double work = threads > 1 ? rnnrt_plan_work(plan, frames) * (double)batch : 0;
    rnnrt_share_begin(&sharing, plan->kernels, threads, work);
    size_t members = sharing.team.size;
    if (slices > 1 || (members > 1 && sharing.by_pieces && shares_rows(plan, batch, members)))
        slices = (slices + members - 1) / members * members;
    float_mode mode = enter_floats();
    struct rnnrt_pulse pulse = {between, (uint64_t)mode};
    enum rnnrt_status status;
    if (slices > 1) { /* of one size: the arena of the first serves all but the last */
        most = (batch + slices - 1) / slices;
        struct slices all = {.plan = plan,
                             .call = &call,
                             .batch = batch,
                             .rows = most,
                             .block = block,
                             .count = (batch + most - 1) / most,
                             .question = {.pulse = between ? &pulse : NULL, .failed = SIZE_MAX}};
        status = run_all(&all, &sharing.team, error);
    } else {
        struct rnnrt_arena *arena;
        size_t at_once = block || members == 1
                             ? rnnrt_block(plan, block, batch)
                             : rnnrt_own_block(plan, 0, batch) * members; /* each has a tile */
        status = rnnrt_arena_borrow(plan, batch, at_once, &arena);
        if (!status) {
            status =
                rnnrt_run_rows(arena, &call, members > 1 ? &sharing : NULL, between ? &pulse : NULL, error);
            rnnrt_arena_return(arena);
        }
    }
    leave_floats(mode);
    rnnrt_share_end(&sharing);
    return status;
}
