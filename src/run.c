/* Whole inputs: the stages of a plan one after another, each block by block, in rows whose state ends with
 * the call. */
#include <string.h>

#include "arena.h"
#include "float_mode.h"

/* The blocks of one stage: graph inputs feed the first stage block by block, full-length buffers feed
 * themselves. */
static enum rnnrt_status run_stage(struct rnnrt_arena *arena, int32_t stage, const struct rnnrt_array *inputs,
                                   struct rnnrt_array *outputs, const size_t *room, const int64_t *lengths,
                                   struct rnnrt_error *error) {
    const struct rnnrt_plan *plan = arena->plan;
    bool left = true;
    for (size_t start = 0; left; start += arena->block) {
        size_t input = 0;
        left = false;
        for (size_t v = 0; v < plan->value_count; v++) arena->values[v].fresh = 0;
        for (size_t r = 0; r < plan->count; r++) {
            const struct rnnrt_op *op = &plan->ops[r];
            struct rnnrt_record *record = rnnrt_record_of(op, arena->rows[0]);
            if (op->row.kind == rnnrt_kind_input) {
                struct value_place *value = &arena->values[op->value];
                if (op->row.timed && stage == 0) {
                    size_t frames = inputs[input].frames,
                           count = start < frames ? rnnrt_smaller(arena->block, frames - start) : 0;
                    left |= start + count < frames;
                    value->data =
                        (float *)rnnrt_read_frames(&inputs[input], start, count, arena->batch,
                                                   (size_t)op->row.output_size, arena->work + value->work);
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
            enum rnnrt_status status = rnnrt_visit_op(arena, r, lengths, error);
            if (status) return status;
            left |= !record->done;
        }
        enum rnnrt_status status = rnnrt_write_outputs(arena, outputs, room, error);
        if (status) return status;
    }
    for (size_t v = 0; v < plan->value_count; v++) arena->values[v].fresh = 0;
    for (size_t r = 0; r < plan->count; r++)
        if (plan->ops[r].whole && plan->ops[r].stage == stage) {
            enum rnnrt_status status = rnnrt_visit_op(arena, r, lengths, error);
            if (status) return status;
        }
    return rnnrt_write_outputs(arena, outputs, room, error);
}

/* The frames of the inputs whose length is free (or of all, where none is), once it is sure that every input
 * has the frames it should. */
static enum rnnrt_status count_frames(const struct rnnrt_plan *plan, const struct rnnrt_array *inputs,
                                      size_t *frames, struct rnnrt_error *error) {
    bool free_length = false;
    size_t input = 0;
    for (size_t r = 0; r < plan->count; r++) {
        const struct rnnrt_row *row = &plan->ops[r].row;
        if (row->kind != rnnrt_kind_input) continue;
        size_t given = inputs[input++].frames;
        if (!row->timed) continue;
        if (row->length ? given != (size_t)row->length : free_length && given != *frames) {
            if (error) *error = (struct rnnrt_error){.row = (int32_t)r};
            return RNNRT_MISALIGNED;
        }
        if (!row->length || !free_length) *frames = given;
        free_length |= !row->length;
    }
    return RNNRT_OK;
}

/* Inputs that are read at full length: where they lie if that is a chunk, copied otherwise. */
static void take_whole_inputs(struct rnnrt_arena *arena, const struct rnnrt_array *inputs) {
    const struct rnnrt_plan *plan = arena->plan;
    size_t input = 0;
    for (size_t r = 0; r < plan->count; r++) {
        const struct rnnrt_row *row = &plan->ops[r].row;
        if (row->kind != rnnrt_kind_input) continue;
        struct value_place *value = &arena->values[plan->ops[r].value];
        if (value->whole) {
            value->total = row->timed ? inputs[input].frames : 1;
            value->whole = (float *)rnnrt_read_frames(&inputs[input], 0, value->total, arena->batch,
                                                      (size_t)row->output_size, value->whole);
        }
        input++;
    }
}

/* The input that says where the state of a slot starts, if the op has it. */
static int32_t start_of(const struct rnnrt_op *op, size_t slot) {
    return op->scan ? rnnrt_scan_start(op, slot) : (int32_t)slot;
}

/* Writes given states into the rows, or reads the final ones from them. */
static void move_states(struct rnnrt_arena *arena, const struct rnnrt_state_value *states, size_t count,
                        bool in) {
    for (size_t i = 0; i < count; i++) {
        if (!rnnrt_row_state(arena->plan, arena->rows[0], states[i].value)) continue; /* is not a state */
        const struct rnnrt_op *op = &arena->plan->ops[arena->plan->values[states[i].value].row];
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

enum rnnrt_status rnnrt_arena_run(struct rnnrt_arena *arena, const struct rnnrt_array *inputs,
                                  struct rnnrt_array *outputs, const int64_t *lengths,
                                  const struct rnnrt_state_value *initial, size_t initial_count,
                                  const struct rnnrt_state_value *final, size_t final_count,
                                  struct rnnrt_error *error) {
    const struct rnnrt_plan *plan = arena->plan;
    size_t room[RNNRT_PLAN_OUTPUTS], frames = 0;
    enum rnnrt_status status = count_frames(plan, inputs, &frames, error);
    if (!status) status = rnnrt_arena_own_rows(arena);
    if (!status) status = rnnrt_arena_whole(arena, frames);
    if (status) return status;
    arena->every_step = false;
    for (size_t b = 0; b < arena->batch; b++) rnnrt_row_begin(plan, arena->rows[b]);
    take_whole_inputs(arena, inputs);
    move_states(arena, initial, initial_count, true);
    for (size_t o = 0; o < plan->outputs; o++) {
        room[o] = outputs[o].frames;
        outputs[o].frames = 0;
    }
    float_mode mode = enter_floats();
    for (int32_t stage = 0; stage < plan->stages && !status; stage++)
        status = run_stage(arena, stage, inputs, outputs, room, lengths, error);
    leave_floats(mode);
    if (!status) move_states(arena, final, final_count, false);
    for (size_t r = 0; r < plan->count && initial_count; r++)
        memset(arena->ops[r].initial, 0, sizeof arena->ops[r].initial);
    return status;
}

enum rnnrt_status rnnrt_run_inner(struct rnnrt_arena *arena, const struct rnnrt_array *inputs,
                                  struct rnnrt_array *outputs, struct rnnrt_error *error) {
    return rnnrt_arena_run(arena, inputs, outputs, NULL, NULL, 0, NULL, 0, error);
}

enum rnnrt_status rnnrt_run(const struct rnnrt_plan *plan, size_t batch, const struct rnnrt_array *inputs,
                            struct rnnrt_array *outputs, const int64_t *lengths,
                            const struct rnnrt_state_value *initial, size_t initial_count,
                            const struct rnnrt_state_value *final, size_t final_count, size_t block,
                            struct rnnrt_error *error) {
    if (error) *error = (struct rnnrt_error){.row = -1};
    struct rnnrt_arena *arena;
    enum rnnrt_status status = rnnrt_arena_borrow(plan, batch, rnnrt_block(block, batch), &arena);
    if (status) return status;
    status =
        rnnrt_arena_run(arena, inputs, outputs, lengths, initial, initial_count, final, final_count, error);
    rnnrt_arena_return(arena);
    return status;
}
