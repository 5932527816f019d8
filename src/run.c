/* Whole inputs: the stages of a plan one after another, each block by block, in rows whose state ends with
 * the call. */
#include <stdlib.h>
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
            if (op->desc.kind == rnnrt_kind_input) {
                struct value_place *value = &arena->values[op->value];
                if (op->desc.timed && stage == 0) {
                    size_t frames = inputs[input].frames,
                           count = start < frames ? rnnrt_smaller(arena->block, frames - start) : 0;
                    left |= start + count < frames;
                    value->data =
                        (float *)rnnrt_read_frames(&inputs[input], start, count, arena->batch,
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
            enum rnnrt_status status = rnnrt_invoke(arena, r, lengths, error);
            if (status) return status;
            left |= !record->done;
        }
        enum rnnrt_status status = rnnrt_write_outputs(arena, outputs, room, error);
        if (status) return status;
    }
    for (size_t v = 0; v < plan->value_count; v++) arena->values[v].fresh = 0;
    for (size_t r = 0; r < plan->count; r++)
        if (plan->ops[r].whole && plan->ops[r].stage == stage) {
            enum rnnrt_status status = rnnrt_invoke(arena, r, lengths, error);
            if (status) return status;
        }
    return rnnrt_write_outputs(arena, outputs, room, error);
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
            value->whole = (float *)rnnrt_read_frames(&inputs[input], 0, value->total, arena->batch,
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
static enum rnnrt_status run_rows(struct rnnrt_arena *arena, const struct rnnrt_array *inputs,
                                  struct rnnrt_array *outputs, const int64_t *lengths,
                                  const struct rnnrt_state_value *initial, size_t initial_count,
                                  const struct rnnrt_state_value *final, size_t final_count,
                                  struct rnnrt_pulse *pulse, struct rnnrt_error *error) {
    const struct rnnrt_plan *plan = arena->plan;
    size_t room[RNNRT_PLAN_OUTPUTS], frames[RNNRT_MAX_CLOCKS];
    enum rnnrt_status status = count_frames(plan, inputs, frames, error);
    if (!status) status = rnnrt_arena_own_rows(arena);
    if (!status) status = rnnrt_arena_whole(arena, frames);
    if (status) return status;
    arena->every_step = false;
    arena->pulse = pulse;
    for (size_t b = 0; b < arena->batch; b++) rnnrt_row_begin(plan, arena->rows[b]);
    take_whole_inputs(arena, inputs);
    move_states(arena, initial, initial_count, true);
    rnnrt_open_outputs(arena, inputs, outputs, room);
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
                                  struct rnnrt_array *outputs, struct rnnrt_pulse *pulse,
                                  struct rnnrt_error *error) {
    return run_rows(arena, inputs, outputs, NULL, NULL, 0, NULL, 0, pulse, error);
}

bool rnnrt_ask(struct rnnrt_pulse *pulse) {
    pulse->between->asked = pulse->between->done;
    leave_floats((float_mode)pulse->mode);
    int answer = pulse->between->ask(pulse->between->argument);
    enter_floats();
    return answer != 0;
}

/* ---- a batch, in slices of rows ---- */

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

static void cut_states(const struct rnnrt_plan *plan, const struct rnnrt_state_value *from, size_t count,
                       size_t row, struct rnnrt_state_value *to) {
    for (size_t i = 0; i < count; i++) {
        to[i] = from[i];
        if (from[i].value >= 0 && (size_t)from[i].value < plan->value_count)
            to[i].data += row * (size_t)plan->values[from[i].value].width;
    }
}

enum rnnrt_status rnnrt_run(const struct rnnrt_plan *plan, size_t batch, const struct rnnrt_array *inputs,
                            struct rnnrt_array *outputs, const int64_t *lengths,
                            const struct rnnrt_state_value *initial, size_t initial_count,
                            const struct rnnrt_state_value *final, size_t final_count, size_t block,
                            struct rnnrt_between *between, struct rnnrt_error *error) {
    if (error) *error = (struct rnnrt_error){.layer = -1};
    size_t frames = 1, most, made[RNNRT_PLAN_OUTPUTS] = {0}, row = 0;
    for (size_t i = 0; i < plan->inputs; i++) frames = rnnrt_larger(frames, inputs[i].frames);
    most = batch > SLICE_LEAST ? rnnrt_plan_rows(plan, frames) : batch;
    if (batch > most) { /* slices of one size: the arena of the first serves all but the last */
        size_t slices = (batch + most - 1) / most;
        most = (batch + slices - 1) / slices;
    }
    struct rnnrt_array *parts = NULL;
    struct rnnrt_state_value *states = NULL;
    if (batch > most) {
        parts = malloc((plan->inputs + plan->outputs) * sizeof *parts);
        states = malloc((initial_count + final_count + 1) * sizeof *states);
        if (!parts || !states) {
            free(parts);
            free(states);
            return RNNRT_NO_MEMORY;
        }
    }
    float_mode mode = enter_floats();
    struct rnnrt_pulse pulse = {between, (uint64_t)mode};
    enum rnnrt_status status = batch ? RNNRT_OK : RNNRT_NO_MEMORY;
    for (size_t rows; row < batch && !status; row += rows) {
        rows = rnnrt_smaller(most, batch - row);
        struct rnnrt_arena *arena;
        if ((status = rnnrt_arena_borrow(plan, rows, rnnrt_block(block, rows), &arena))) break;
        const struct rnnrt_array *in = inputs;
        struct rnnrt_array *out = outputs;
        if (parts) {
            in = parts, out = parts + plan->inputs;
            for (size_t i = 0; i < plan->inputs + plan->outputs; i++) {
                parts[i] = i < plan->inputs ? inputs[i] : outputs[i - plan->inputs];
                parts[i].data += (ptrdiff_t)row * parts[i].batch_stride;
            }
            cut_states(plan, initial, initial_count, row, states);
            cut_states(plan, final, final_count, row, states + initial_count);
        }
        status =
            run_rows(arena, in, out, lengths ? lengths + row : NULL, parts ? states : initial, initial_count,
                     parts ? states + initial_count : final, final_count, between ? &pulse : NULL, error);
        rnnrt_arena_return(arena);
        if (status) break;
        for (size_t o = 0; o < plan->outputs; o++) made[o] = out[o].frames;
    }
    leave_floats(mode);
    if (status == RNNRT_BAD_ID && error) error->batch_row += (int64_t)row;
    for (size_t o = 0; o < plan->outputs && parts; o++) outputs[o].frames = status ? 0 : made[o];
    free(parts);
    free(states);
    return status;
}
