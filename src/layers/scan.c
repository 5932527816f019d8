/* Any recurrence: a plan of one step, run once for every frame and all batch rows; what it says the next
 * states are, the next step takes.
 *
 * Inputs of the row: one sequence, all per-step inputs of the step side by side (or none: then it runs
 * `length` steps); the values that states start at, as `index` says; the values given once. Slots: the
 * answers of the step, then the final states; the plan inside gives the next states first, then the answers.
 *
 * What does not depend on the states runs ahead of the loop, and what no state depends on runs after it: for
 * a stretch of frames at once, so that a matrix product has many rows. */
#include <string.h>

#include "../plan.h"

enum { STRETCH_ROWS = 64 }; /* rows of such a product worked on at a time */

/* When an op of the step runs: once a invocation, ahead of the steps of a stretch, at every step, or after
 * them.
 */
enum phase { ONCE, AHEAD, STEP, AFTER };

/* What a value of the step depends on. */
enum { ON_FRAMES = 1, ON_STATES = 2, ON_ONCE = 4 };

struct rnnrt_scan {
    size_t inputs, sequences, states, answers;
    size_t state_floats; /* of one batch row */
    struct scan_value {
        uint8_t phase, depends;
        bool kept;  /* for every frame of a stretch, else for one step */
        bool early; /* a later step needs it, so it cannot wait until after them */
    } value[];
};

static size_t width_of(const struct rnnrt_plan *step, size_t value) {
    return (size_t)step->values[value].width;
}
static size_t stretch(size_t batch) { return batch >= STRETCH_ROWS ? 1 : STRETCH_ROWS / batch; }
static bool over_time(const struct rnnrt_op *op) { return op->desc.length == 0; }
/* The input of the layer that the step's first value given once comes from. */
static size_t first_once(const struct rnnrt_op *op) {
    const struct rnnrt_scan *scan = op->scan;
    return (size_t)op->desc.inputs - (scan->inputs - scan->sequences - scan->states);
}
/* The value of the plan inside that slot `slot` shows. */
static size_t shown_by(const struct rnnrt_op *op, size_t slot) {
    size_t states = op->scan->states, answers = op->scan->answers;
    return (size_t)op->desc.inner->output[slot < answers ? states + slot : slot - answers];
}

/* ---- where the states are ---- */

static float *state_at(const struct rnnrt_op *op, const struct rnnrt_invocation *call, size_t s, size_t b) {
    float *at = rnnrt_kept_of(op, call, b);
    for (size_t k = 0; k < s; k++) at += width_of(op->desc.inner, op->scan->sequences + k);
    return at;
}

int32_t rnnrt_scan_start(const struct rnnrt_op *op, size_t slot) {
    int32_t input = op->desc.index[slot - op->scan->answers];
    return input < 0 ? -1 : input + op->mask;
}

/* The last output of answer `slot` that was not masked. */
static float *held_at(const struct rnnrt_op *op, const struct rnnrt_invocation *call, size_t slot, size_t b) {
    float *at = state_at(op, call, op->scan->states, b);
    for (size_t k = 0; k < slot; k++) at += width_of(op->desc.inner, shown_by(op, k));
    return at;
}

static bool holds(const struct rnnrt_op *op) { return op->desc.masked_output == RNNRT_MASKED_HOLD; }

static size_t keeps(const struct rnnrt_op *op, struct rnnrt_kept *kept) {
    size_t arrays = 0;
    for (size_t s = 0; s < op->scan->states; s++)
        kept[arrays++] =
            (struct rnnrt_kept){"state", 1, width_of(op->desc.inner, op->scan->sequences + s), false, false};
    for (size_t slot = 0; holds(op) && slot < op->scan->answers; slot++)
        kept[arrays++] =
            (struct rnnrt_kept){"held", 1, width_of(op->desc.inner, shown_by(op, slot)), false, true};
    return arrays;
}

/* ---- the plan of a step ---- */

static enum rnnrt_status check_inputs(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    const struct rnnrt_layer_desc *desc = &op->desc;
    const struct rnnrt_plan *step = desc->inner;
    const struct rnnrt_scan *scan = op->scan;
    size_t next = over_time(op), frame = 0;
    *text = "a sequence is not as wide as the frames its step takes";
    for (size_t i = 0; i < scan->sequences; i++) frame += width_of(step, i);
    if (over_time(op) && frame != (size_t)desc->input_size) return RNNRT_BAD_LAYER;
    *text = "its states do not fit the step, or not where they start";
    for (size_t s = 0; s < scan->states; s++) {
        size_t width = width_of(step, scan->sequences + s);
        if (width != width_of(step, (size_t)step->output[s])) return RNNRT_BAD_LAYER;
        if (desc->index[s] == -1) continue;
        if (desc->index[s] != (int32_t)next || next >= (size_t)desc->inputs ||
            width != width_of(plan, (size_t)desc->input[next]))
            return RNNRT_BAD_LAYER;
        next++;
    }
    *text = "its values given once do not fit the step";
    if (next + scan->inputs != (size_t)desc->inputs + scan->sequences + scan->states) return RNNRT_BAD_LAYER;
    for (size_t i = scan->sequences + scan->states; i < scan->inputs; i++, next++)
        if (width_of(step, i) != width_of(plan, (size_t)desc->input[next])) return RNNRT_BAD_LAYER;
    *text = "its output size is not that of its first answer";
    return width_of(step, shown_by(op, 0)) == (size_t)desc->output_size ? RNNRT_OK : RNNRT_BAD_LAYER;
}

/* When each op of the step runs. */
static void choose_phases(const struct rnnrt_plan *step, struct rnnrt_scan *scan) {
    for (size_t i = 0; i < scan->inputs; i++) {
        scan->value[i].depends = i < scan->sequences                  ? ON_FRAMES
                                 : i < scan->sequences + scan->states ? ON_STATES
                                                                      : ON_ONCE;
        scan->value[i].phase = i < scan->sequences ? AHEAD : i < scan->sequences + scan->states ? STEP : ONCE;
        scan->value[i].kept = i < scan->sequences;
    }
    for (size_t s = 0; s < scan->states; s++) scan->value[step->output[s]].early = true;
    for (size_t v = scan->inputs; v < step->count; v++) {
        const struct rnnrt_layer_desc *desc = &step->ops[v].desc;
        for (int32_t i = 0; i < desc->inputs; i++)
            scan->value[v].depends |= scan->value[desc->input[i]].depends;
        scan->value[v].phase = scan->value[v].depends == ON_ONCE     ? ONCE
                               : scan->value[v].depends == ON_FRAMES ? AHEAD
                                                                     : STEP;
    }
    for (size_t v = step->count; v-- > scan->inputs;) {
        const struct rnnrt_layer_desc *desc = &step->ops[v].desc;
        struct scan_value *value = &scan->value[v];
        if (value->phase == STEP) {
            bool late = !value->early; /* and reads nothing that is there for one step only */
            for (int32_t i = 0; i < desc->inputs; i++)
                late &= scan->value[desc->input[i]].phase != ONCE &&
                        ((size_t)desc->input[i] >= scan->inputs || scan->value[desc->input[i]].kept);
            if (late) value->phase = AFTER;
        }
        value->kept |= value->phase == AHEAD || value->phase == AFTER;
        for (int32_t i = 0; i < desc->inputs; i++)
            if (value->phase == STEP) scan->value[desc->input[i]].early = true;
            else if (value->phase == AFTER) scan->value[desc->input[i]].kept = true;
    }
}

static enum rnnrt_status prepare(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    const struct rnnrt_layer_desc *desc = &op->desc;
    const struct rnnrt_plan *step = desc->inner;
    *text = "a scan needs the plan of a step, with states and answers";
    if (!step || desc->states < 0 || desc->per_step < 0 || (size_t)desc->states >= step->outputs ||
        (desc->states && !desc->index) || (desc->per_step == 0) != (desc->length > 0) ||
        (desc->length && desc->reverse))
        return RNNRT_BAD_LAYER;
    *text = "its step is not made of inputs and then layers that look at one frame and keep nothing";
    size_t inputs = 0;
    for (size_t r = 0; r < step->count; r++) {
        const struct rnnrt_op *inside = &step->ops[r];
        if (inside->desc.timed || inside->slots != 1 || inside->layer->keeps || inside->layer->measure ||
            inside->layer->due || inside->desc.kind == rnnrt_kind_time_distributed)
            return RNNRT_BAD_LAYER;
        if (inside->desc.kind == rnnrt_kind_input && inputs++ != r) return RNNRT_BAD_LAYER;
    }
    if ((size_t)desc->per_step + (size_t)desc->states > inputs) return RNNRT_BAD_LAYER;
    if (desc->states && !rnnrt_plan_may_read(plan, desc->index, (size_t)desc->states)) return RNNRT_BAD_LAYER;
    size_t bytes = sizeof *op->scan + step->count * sizeof op->scan->value[0];
    struct rnnrt_scan *scan = (void *)rnnrt_plan_floats(plan, bytes / sizeof(float) + 1);
    if (!scan) return RNNRT_NO_MEMORY;
    op->scan = scan;
    float *index = desc->states ? rnnrt_plan_floats(plan, (size_t)desc->states) : NULL;
    if (desc->states && !index) return RNNRT_NO_MEMORY;
    if (index && !plan->filled) memcpy(index, desc->index, (size_t)desc->states * sizeof *desc->index);
    op->desc.index = (const int32_t *)(const void *)index;
    if (plan->filled) return RNNRT_OK; /* all of it was found out for the first plan of the family */
    scan->inputs = inputs, scan->sequences = (size_t)desc->per_step, scan->states = (size_t)desc->states;
    scan->answers = step->outputs - scan->states;
    for (size_t s = 0; s < scan->states; s++) scan->state_floats += width_of(step, scan->sequences + s);
    enum rnnrt_status status = check_inputs(plan, op, text);
    if (status) return status;
    choose_phases(step, scan);
    return status;
}

static size_t padded(size_t floats) { return (floats + 15) / 16 * 16; }
/* Floats that take as much room as a pointer for each value of a step. */
static size_t pointers_of(const struct rnnrt_plan *step) { return step->count * sizeof(float *) / 4; }

/* Floats of the buffer of a value; values given once lie where they were given. */
static size_t room(const struct rnnrt_op *op, size_t value, size_t batch) {
    const struct rnnrt_scan *scan = op->scan;
    if (value < scan->inputs && scan->value[value].phase == ONCE) return 0;
    size_t frames = scan->value[value].kept ? stretch(batch) : 1;
    return padded(rnnrt_times(frames * batch, width_of(op->desc.inner, value)) + 16);
}

static void measure(const struct rnnrt_op *op, size_t batch, size_t frames, struct rnnrt_sizes *sizes) {
    const struct rnnrt_scan *scan = op->scan;
    sizes->scratch =
        padded(pointers_of(op->desc.inner)) + padded(rnnrt_times(batch, scan->state_floats) + 16);
    for (size_t v = 0; v < op->desc.inner->count; v++) sizes->scratch += room(op, v, batch);
    sizes->capacity = over_time(op) ? frames : (size_t)op->desc.length;
}

static size_t due(const struct rnnrt_op *op, size_t frames, bool ended) {
    (void)ended;
    return over_time(op) ? frames : rnnrt_times(frames, (size_t)op->desc.length);
}

/* ---- running it ---- */

struct run {
    const struct rnnrt_op *op;
    struct rnnrt_invocation *call;
    size_t batch;
    float **at;  /* of every value of the step */
    float *next; /* room for all states */
};

/* Frame `local` of a value: of the stretch where it is kept. */
static float *frame_of(const struct run *run, size_t value, size_t local) {
    bool kept = run->op->scan->value[value].kept;
    return run->at[value] + (kept ? local * run->batch * width_of(run->op->desc.inner, value) : 0);
}

/* The ops of one phase, on `frames` frames of a stretch from `local` on; the first of them is frame `start`
 * of the sequence. */
static enum rnnrt_status run_phase(const struct run *run, enum phase phase, size_t local, size_t frames,
                                   uint64_t start) {
    const struct rnnrt_plan *step = run->op->desc.inner;
    struct rnnrt_invocation call; /* the ops of a step read no more of it than is set here */
    call.kernels = step->kernels, call.batch = run->batch, call.frames = frames,
    call.start = call.gone = start;
    call.final = true, call.every_step = false, call.rows = NULL, call.scratch = NULL;
    call.lengths = NULL, call.pulse = NULL, call.inner = NULL, call.error = run->call->error;
    for (size_t v = run->op->scan->inputs; v < step->count; v++) {
        if (run->op->scan->value[v].phase != phase) continue;
        const struct rnnrt_op *op = &step->ops[v];
        for (int32_t i = 0; i < op->desc.inputs; i++)
            call.x[i] = frame_of(run, (size_t)op->desc.input[i], local);
        call.y[0] = frame_of(run, v, local);
        call.made[0] = 0;
        enum rnnrt_status status = op->layer->run(op, &call);
        if (status) return status;
    }
    return RNNRT_OK;
}

static void lay_out(struct run *run) {
    const struct rnnrt_plan *step = run->op->desc.inner;
    const struct rnnrt_scan *scan = run->op->scan;
    float *to = run->call->scratch;
    run->at = (float **)(void *)to;
    to += padded(pointers_of(step));
    run->next = to;
    to += padded(rnnrt_times(run->batch, scan->state_floats) + 16);
    for (size_t v = 0; v < step->count; v++) {
        run->at[v] = to;
        to += room(run->op, v, run->batch);
        if (v < scan->inputs && scan->value[v].phase == ONCE)
            run->at[v] = (float *)run->call->x[first_once(run->op) + v - scan->sequences - scan->states];
    }
}

/* Takes the states to where the step reads them, or puts them back. */
static void move_states(const struct run *run, bool take) {
    const struct rnnrt_scan *scan = run->op->scan;
    for (size_t s = 0; s < scan->states; s++) {
        size_t width = width_of(run->op->desc.inner, scan->sequences + s);
        for (size_t b = 0; b < run->batch; b++) {
            float *kept = state_at(run->op, run->call, s, b),
                  *used = run->at[scan->sequences + s] + b * width;
            memcpy(take ? used : kept, take ? kept : used, width * sizeof *kept);
        }
    }
}

/* The frames of a stretch, each of the step's sequences by itself. */
static void take_frames(struct run *run, size_t first, size_t count) {
    const struct rnnrt_scan *scan = run->op->scan;
    size_t in = (size_t)run->op->desc.input_size, offset = 0;
    const float *x = run->call->x[0] + first * run->batch * in;
    if (scan->sequences == 1) run->at[0] = (float *)x;
    for (size_t i = 0; scan->sequences > 1 && i < scan->sequences; i++) {
        size_t width = width_of(run->op->desc.inner, i);
        for (size_t r = 0; r < count * run->batch; r++)
            memcpy(run->at[i] + r * width, x + r * in + offset, width * sizeof *x);
        offset += width;
    }
}

/* Packed sequences: a row past its end keeps its states and says 0. */
static bool row_is_over(const struct run *run, size_t t, size_t b) {
    const int64_t *lengths = over_time(run->op) ? run->call->lengths : NULL;
    return lengths && (int64_t)(run->call->start + t) >= lengths[b];
}

static bool is_masked(const struct run *run, size_t t, size_t b) {
    const float *mask = rnnrt_mask_at(run->op, run->call, t);
    return mask && mask[b] == 0;
}

/* What the step says the next states are becomes what the next step reads. A state may be a copy of another.
 */
static void next_states(const struct run *run, size_t local, size_t t) {
    const struct rnnrt_scan *scan = run->op->scan;
    const struct rnnrt_plan *step = run->op->desc.inner;
    float *to = run->next;
    for (size_t s = 0; s < scan->states; s++) {
        size_t floats = run->batch * width_of(step, scan->sequences + s);
        memcpy(to, frame_of(run, (size_t)step->output[s], local), floats * sizeof *to);
        to += floats;
    }
    to = run->next;
    for (size_t s = 0; s < scan->states; s++) {
        size_t width = width_of(step, scan->sequences + s);
        for (size_t b = 0; b < run->batch; b++, to += width)
            if (!row_is_over(run, t, b) && !is_masked(run, t, b))
                memcpy(run->at[scan->sequences + s] + b * width, to, width * sizeof *to);
    }
}

/* What row b says at frame t in slot `slot`: `y`, where the frame counts for it. */
static void settle(const struct run *run, size_t slot, size_t t, size_t b, size_t width, float *y) {
    float *held = holds(run->op) ? held_at(run->op, run->call, slot, b) : NULL;
    bool over = row_is_over(run, t, b), masked = is_masked(run, t, b);
    if (over || (masked && !held)) memset(y, 0, width * sizeof *y);
    else if (masked) memcpy(y, held, width * sizeof *y);
    else if (held) memcpy(held, y, width * sizeof *y);
}

/* Shows the answers of `frames` frames: those whose values are kept for a stretch, or the others. */
static void answer(const struct run *run, bool kept, size_t local, size_t t, size_t frames) {
    const struct rnnrt_scan *scan = run->op->scan;
    for (size_t slot = 0; slot < scan->answers; slot++) {
        size_t value = shown_by(run->op, slot), width = width_of(run->op->desc.inner, value);
        if (!run->call->y[slot] || scan->value[value].kept != kept) continue;
        float *y = run->call->y[slot] + t * run->batch * width;
        memcpy(y, frame_of(run, value, local), frames * run->batch * width * sizeof *y);
        if (!run->call->lengths && !run->op->mask) continue; /* every frame counts for every row */
        for (size_t i = 0; i < frames; i++) {
            size_t k = run->op->desc.reverse ? frames - 1 - i : i;
            for (size_t b = 0; b < run->batch; b++)
                settle(run, slot, t + k, b, width, y + (k * run->batch + b) * width);
        }
    }
}

static enum rnnrt_status run_frames(struct run *run, size_t frames) {
    bool reverse = run->op->desc.reverse != 0;
    enum rnnrt_status status = run_phase(run, ONCE, 0, 1, run->call->start);
    for (size_t done = 0, count; done < frames && !status; done += count) {
        count = rnnrt_smaller(stretch(run->batch), frames - done);
        size_t first = reverse ? frames - done - count : done;
        if (over_time(run->op)) take_frames(run, first, count);
        status = run_phase(run, AHEAD, 0, count, run->call->start + first);
        for (size_t i = 0; i < count && !status; i++) {
            size_t local = reverse ? count - 1 - i : i, t = first + local;
            status = run_phase(run, STEP, local, 1, run->call->start + t);
            answer(run, false, local, t, 1);
            next_states(run, local, t);
            if (rnnrt_worked(run->call->pulse, run->op->work * (double)run->batch)) return RNNRT_CANCELLED;
        }
        if (!status) status = run_phase(run, AFTER, 0, count, run->call->start + first);
        if (!status) answer(run, true, 0, first, count);
    }
    return status;
}

static enum rnnrt_status run(const struct rnnrt_op *op, struct rnnrt_invocation *call) {
    const struct rnnrt_scan *scan = op->scan;
    struct run run = {.op = op, .call = call, .batch = call->batch};
    size_t frames = over_time(op) || !call->frames ? call->frames : (size_t)op->desc.length;
    bool over = over_time(op) ? (call->every_step || call->final) && call->start + frames > 0 : frames > 0;
    if (!frames && !over) return RNNRT_OK;
    if (!call->start)
        for (size_t s = 0; s < scan->states; s++)
            for (size_t b = 0, w = width_of(op->desc.inner, scan->sequences + s); b < run.batch; b++)
                if (op->desc.index[s] >= 0)
                    memcpy(state_at(op, call, s, b), call->x[rnnrt_scan_start(op, scan->answers + s)] + b * w,
                           w * sizeof(float));
    if (frames) {
        lay_out(&run);
        move_states(&run, true);
        enum rnnrt_status status = run_frames(&run, frames);
        if (status) return status;
        move_states(&run, false);
    }
    for (size_t slot = 0; slot < op->slots; slot++) {
        call->made[slot] = slot < scan->answers ? frames : over;
        size_t width = slot < scan->answers ? 0 : width_of(op->desc.inner, shown_by(op, slot));
        for (size_t b = 0; width && over && call->y[slot] && b < run.batch; b++)
            memcpy(call->y[slot] + b * width, state_at(op, call, slot - scan->answers, b),
                   width * sizeof(float));
    }
    return RNNRT_OK;
}

static double work(const struct rnnrt_op *op) {
    return rnnrt_plan_work(op->desc.inner, 1) * (over_time(op) ? 1 : (double)op->desc.length);
}

const struct rnnrt_layer_class rnnrt_layer_scan = {.prepare = prepare,
                                                   .keeps = keeps,
                                                   .measure = measure,
                                                   .due = due,
                                                   .run = run,
                                                   .work = work,
                                                   .asks = true};
