/* Whole inputs: the stages of a plan one after another, each block by block, in rows whose state ends with
 * the call. */
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "float_mode.h"

/* ---- ops that run once over their whole input ---- */

enum { MOST_AT_ONCE = 8 };

/* Some of one stage that wait for none of the others. */
struct at_once {
    const struct rnnrt_arena *arena;
    const int64_t *lengths;
    size_t count, next, op[MOST_AT_ONCE];
    enum rnnrt_status status[MOST_AT_ONCE];
    struct rnnrt_error errors[MOST_AT_ONCE];
    struct rnnrt_member members[MOST_AT_ONCE];
    struct rnnrt_pulse *pulses[MOST_AT_ONCE];
};

static void invoke_some(void *argument, size_t member) {
    struct at_once *ops = argument;
    if (member >= MOST_AT_ONCE) return;
    struct rnnrt_member *own_member = &ops->members[member];
    for (size_t k; (k = __atomic_fetch_add(&ops->next, 1, __ATOMIC_RELAXED)) < ops->count;) {
        if (!rnnrt_member_takes(own_member, k)) return;
        struct rnnrt_arena own = *ops->arena; /* in which each op has places of its own */
        own.kernels = own.plan->kernels;
        own.pulse = ops->pulses[member];
        ops->errors[k] = (struct rnnrt_error){.layer = -1};
        ops->status[k] = rnnrt_invoke(&own, ops->op[k], ops->lengths, &ops->errors[k]);
        if (ops->status[k]) rnnrt_member_fails(own_member);
    }
}

/* Whether it is better to take the ops at once, each with its products whole, than one by one with products
 * that all members share. */
static bool worth_it(const struct at_once *ops, const struct rnnrt_sharing *sharing) {
    const struct rnnrt_arena *arena = ops->arena;
    if (!sharing || !sharing->by_pieces || ops->count < 2) return false;
    double least = 1e300;
    for (size_t k = 0; k < ops->count; k++) {
        const struct rnnrt_op *op = &arena->plan->ops[ops->op[k]];
        double work = op->work * (double)arena->batch;
        if (ops->count < sharing->team.size && work >= 4 * rnnrt_worth.product) return false;
        work *= (double)arena->values[op->desc.input[0]].total;
        least = work < least ? work : least;
    }
    return least >= rnnrt_worth.product;
}

static enum rnnrt_status invoke_all(struct at_once *ops, struct rnnrt_arena *arena,
                                    struct rnnrt_sharing *sharing, struct rnnrt_error *error) {
    if (!worth_it(ops, sharing)) {
        enum rnnrt_status status = RNNRT_OK;
        for (size_t k = 0; k < ops->count && !status; k++)
            status = rnnrt_invoke(arena, ops->op[k], ops->lengths, error);
        return status;
    }
    struct rnnrt_question question = {.pulse = arena->pulse, .failed = SIZE_MAX};
    for (size_t m = 0; m < MOST_AT_ONCE; m++)
        ops->pulses[m] = rnnrt_member_begin(&ops->members[m], &question, m);
    ops->next = 0;
    bool whole = rnnrt_team_run(&sharing->team, true, invoke_some, ops, rnnrt_member_idle, &ops->members[0]);
    for (size_t m = 0; m < MOST_AT_ONCE; m++) rnnrt_member_end(&ops->members[m]);
    if (!whole || question.over) return RNNRT_CANCELLED;
    if (question.failed == SIZE_MAX) return RNNRT_OK;
    if (error) *error = ops->errors[question.failed];
    return ops->status[question.failed];
}

static bool waits_for_some(const struct at_once *ops, const struct rnnrt_op *op) {
    for (int32_t i = 0; i < op->desc.inputs; i++)
        for (size_t k = 0; k < ops->count; k++)
            if ((size_t)ops->arena->plan->values[op->desc.input[i]].op == ops->op[k]) return true;
    return false;
}

static enum rnnrt_status run_whole_ops(struct rnnrt_arena *arena, int32_t stage, const int64_t *lengths,
                                       struct rnnrt_sharing *sharing, struct rnnrt_error *error) {
    struct at_once ops;
    ops.arena = arena, ops.lengths = lengths, ops.count = 0;
    for (size_t r = 0; r < arena->plan->count; r++) {
        const struct rnnrt_op *op = &arena->plan->ops[r];
        if (!op->whole || op->stage != stage) continue;
        if (ops.count == MOST_AT_ONCE || waits_for_some(&ops, op)) {
            enum rnnrt_status status = invoke_all(&ops, arena, sharing, error);
            if (status) return status;
            ops.count = 0;
        }
        ops.op[ops.count++] = r;
    }
    return invoke_all(&ops, arena, sharing, error);
}

/* ---- a stage ---- */

/* The blocks of one stage: graph inputs feed the first stage block by block, full-length buffers feed
 * themselves. */
static enum rnnrt_status run_stage(struct rnnrt_arena *arena, int32_t stage, const struct rnnrt_call *call,
                                   const size_t *room, struct rnnrt_sharing *sharing,
                                   struct rnnrt_error *error) {
    const struct rnnrt_array *inputs = call->inputs;
    const struct rnnrt_plan *plan = arena->plan;
    bool left = true;
    for (size_t start = 0; left; start += arena->block) {
        size_t input = 0;
        left = false;
        for (size_t v = 0; v < plan->value_count; v++) arena->values[v].fresh = 0;
        for (size_t r = 0; r < plan->count; r++) {
            const struct rnnrt_op *op = &plan->ops[r];
            struct rnnrt_record *record = rnnrt_record_of(op, arena->rows[0]);
            if (op->desc.kind == rnnrt_kind_input) {
                struct value_place *value = &arena->values[op->value];
                if (op->desc.timed && stage == 0) {
                    size_t frames = inputs[input].frames,
                           count = start < frames ? rnnrt_smaller(arena->block, frames - start) : 0;
                    left |= start + count < frames;
                    value->data =
                        (float *)rnnrt_read_frames(arena, &inputs[input], start, count,
                                                   (size_t)op->desc.output_size, arena->work + value->work);
                    value->fresh = count;
                    record->done = start + count >= frames;
                } else if (stage == 0) {
                    value->data = value->whole;
                    value->fresh = start == 0;
                    record->done = 1;
                }
                input++;
                continue;
            }
            if (op->whole || op->stage != stage || record->done) continue;
            enum rnnrt_status status = rnnrt_invoke(arena, r, call->lengths, error);
            if (status) return status;
            left |= !record->done;
        }
        enum rnnrt_status status = rnnrt_write_outputs(arena, call->outputs, room, error);
        if (status) return status;
    }
    for (size_t v = 0; v < plan->value_count; v++) arena->values[v].fresh = 0;
    enum rnnrt_status status = run_whole_ops(arena, stage, call->lengths, sharing, error);
    if (status) return status;
    return rnnrt_write_outputs(arena, call->outputs, room, error);
}

/* The frames of a clock's inputs whose length is free (or of all, where none is), once it is sure that every
 * input has the frames it should. */
static enum rnnrt_status count_frames(const struct rnnrt_plan *plan, const struct rnnrt_array *inputs,
                                      size_t *frames, struct rnnrt_error *error) {
    uint64_t free_length = 0; /* bits: clocks that have such an input */
    size_t input = 0;
    frames[0] = 0;
    for (size_t r = 0; r < plan->count; r++) {
        const struct rnnrt_layer_desc *desc = &plan->ops[r].desc;
        if (desc->kind != rnnrt_kind_input) continue;
        size_t given = inputs[input++].frames;
        if (!desc->timed) continue;
        uint64_t clock = plan->ops[r].clocks;
        size_t *own = &frames[__builtin_ctzll(clock)];
        if (desc->length ? given != (size_t)desc->length : (free_length & clock) && given != *own) {
            if (error) *error = (struct rnnrt_error){.layer = (int32_t)r};
            return RNNRT_MISALIGNED;
        }
        if (!desc->length || !(free_length & clock)) *own = given;
        if (!desc->length) free_length |= clock;
    }
    return RNNRT_OK;
}

/* Inputs that are read at full length: where they lie if that is a chunk, copied otherwise. */
static void take_whole_inputs(struct rnnrt_arena *arena, const struct rnnrt_array *inputs) {
    const struct rnnrt_plan *plan = arena->plan;
    size_t input = 0;
    for (size_t r = 0; r < plan->count; r++) {
        const struct rnnrt_layer_desc *desc = &plan->ops[r].desc;
        if (desc->kind != rnnrt_kind_input) continue;
        struct value_place *value = &arena->values[plan->ops[r].value];
        if (value->whole) {
            value->total = desc->timed ? inputs[input].frames : 1;
            value->whole = (float *)rnnrt_read_frames(arena, &inputs[input], 0, value->total,
                                                      (size_t)desc->output_size, value->whole);
        }
        input++;
    }
}

/* The input that says where the state of a slot starts, if the op has it. */
static int32_t start_of(const struct rnnrt_op *op, size_t slot) {
    return op->scan ? rnnrt_scan_start(op, slot) : op->counted + (int32_t)slot - RNNRT_SLOT_H;
}

/* Writes given states into the rows, or reads the final ones from them. */
static void move_states(struct rnnrt_arena *arena, const struct rnnrt_state_value *states, size_t count,
                        bool in) {
    for (size_t i = 0; i < count; i++) {
        if (!rnnrt_row_state(arena->plan, arena->rows[0], states[i].value)) continue; /* is not a state */
        const struct rnnrt_op *op = &arena->plan->ops[arena->plan->values[states[i].value].op];
        size_t width = (size_t)arena->plan->values[states[i].value].width;
        if (in) {
            int32_t input = start_of(op, (size_t)states[i].value - op->value);
            if (input >= 0) arena->ops[op - arena->plan->ops].initial[input] = states[i].data;
        }
        for (size_t b = 0; b < arena->batch; b++) {
            float *kept = rnnrt_row_state(arena->plan, arena->rows[b], states[i].value);
            if (in) memcpy(kept, states[i].data + b * width, width * sizeof *kept);
            else memcpy(states[i].data + b * width, kept, width * sizeof *kept);
        }
    }
}

/* A whole input through the arena's own rows. */
enum rnnrt_status rnnrt_run_rows(struct rnnrt_arena *arena, const struct rnnrt_call *call,
                                 struct rnnrt_sharing *sharing, struct rnnrt_pulse *pulse,
                                 struct rnnrt_error *error) {
    const struct rnnrt_plan *plan = arena->plan;
    size_t room[RNNRT_PLAN_OUTPUTS], frames[RNNRT_MAX_CLOCKS];
    enum rnnrt_status status = count_frames(plan, call->inputs, frames, error);
    if (!status) status = rnnrt_arena_own_rows(arena);
    if (!status) status = rnnrt_arena_whole(arena, frames);
    if (status) return status;
    arena->every_step = false;
    arena->pulse = pulse;
    if (sharing) arena->kernels = &sharing->kernels;
    for (size_t b = 0; b < arena->batch; b++) rnnrt_row_begin(plan, arena->rows[b]);
    take_whole_inputs(arena, call->inputs);
    move_states(arena, call->initial, call->initial_count, true);
    rnnrt_open_outputs(arena, call->inputs, call->outputs, room);
    float_mode mode = enter_floats();
    for (int32_t stage = 0; stage < plan->stages && !status; stage++)
        status = run_stage(arena, stage, call, room, sharing, error);
    leave_floats(mode);
    arena->kernels = plan->kernels;
    if (!status) move_states(arena, call->final, call->final_count, false);
    for (size_t r = 0; r < plan->count && call->initial_count; r++)
        memset(arena->ops[r].initial, 0, sizeof arena->ops[r].initial);
    return status;
}

enum rnnrt_status rnnrt_run_inner(struct rnnrt_arena *arena, const struct rnnrt_array *inputs,
                                  struct rnnrt_array *outputs, struct rnnrt_pulse *pulse,
                                  struct rnnrt_error *error) {
    const struct rnnrt_call call = {.inputs = inputs, .outputs = outputs};
    return rnnrt_run_rows(arena, &call, NULL, pulse, error);
}

bool rnnrt_ask(struct rnnrt_pulse *pulse) {
    pulse->between->asked = pulse->between->done;
    leave_floats((float_mode)pulse->mode);
    int answer = pulse->between->ask(pulse->between->argument);
    enter_floats();
    return answer != 0;
}
