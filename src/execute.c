/* The ops at work: what is ready for an op is gathered, the op invoked, and what it made handed on. */
#include <string.h>

#include "arena.h"

/* ---- queues: frames of one branch of a join that wait for the others ----
 *
 * Frame n of the input, counted from the beginning, waits at place n % lag of a ring in the block of the row.
 */

static size_t waiting_frames(const struct rnnrt_op *op, char *row, int32_t i) {
    return op->lag[i] ? *(size_t *)(void *)(row + op->waiting[i]) : 0;
}

static float *queue_place(const struct rnnrt_op *op, char *row, int32_t i, uint64_t frame, size_t width) {
    float *queue = (float *)(void *)(row + op->queue[i]);
    return queue + (size_t)(frame % op->lag[i]) * width;
}

/* Input i of a invocation of a joining op where frames wait: those first, then new ones, side by side. */
static void gather_queue(struct rnnrt_arena *arena, size_t r, int32_t i, struct rnnrt_invocation *call) {
    const struct rnnrt_op *op = &arena->plan->ops[r];
    const struct value_place *value = &arena->values[op->desc.input[i]];
    size_t width = (size_t)arena->plan->values[op->desc.input[i]].width, batch = arena->batch,
           waiting = rnnrt_smaller(waiting_frames(op, arena->rows[0], i), call->frames);
    if (!waiting) return;
    float *joined = arena->work + arena->ops[r].joined[i];
    for (size_t b = 0; b < batch; b++) {
        uint64_t first = rnnrt_record_of(op, arena->rows[b])->consumed;
        for (size_t t = 0; t < waiting; t++)
            memcpy(joined + (t * batch + b) * width, queue_place(op, arena->rows[b], i, first + t, width),
                   width * sizeof *joined);
    }
    memcpy(joined + waiting * batch * width, value->data,
           (call->frames - waiting) * batch * width * sizeof *joined);
    call->x[i] = joined;
}

/* What came of input i and was not used waits behind what waits already. The invocation's frames are
 * consumed. */
static enum rnnrt_status keep_queue(struct rnnrt_arena *arena, const struct rnnrt_op *op, int32_t i,
                                    const struct rnnrt_invocation *call, size_t left) {
    const struct value_place *value = &arena->values[op->desc.input[i]];
    size_t width = (size_t)arena->plan->values[op->desc.input[i]].width, batch = arena->batch;
    if (arena->every_step && !arena->plan->values[op->desc.input[i]].timed)
        left = 0; /* the next frame brings a newer one */
    if (left > op->lag[i]) return RNNRT_MISALIGNED;
    for (size_t b = 0; b < batch && op->lag[i]; b++) {
        char *row = arena->rows[b];
        size_t waited = waiting_frames(op, row, i),
               still = waited > call->frames ? waited - call->frames : 0; /* where they are */
        uint64_t first = rnnrt_record_of(op, row)->consumed;
        for (size_t t = still; t < left; t++)
            memcpy(queue_place(op, row, i, first + t, width),
                   value->data + ((call->frames + t - waited) * batch + b) * width, width * sizeof(float));
        *(size_t *)(void *)(row + op->waiting[i]) = left;
    }
    return RNNRT_OK;
}

/* ---- one invocation ---- */

static struct rnnrt_record *record_of(const struct rnnrt_arena *arena, size_t r) {
    return rnnrt_record_of(&arena->plan->ops[r], arena->rows[0]);
}

static bool producer_done(const struct rnnrt_arena *arena, int32_t value) {
    const char *row = arena->rows[0];
    return ((const struct rnnrt_record *)(const void *)(row + arena->plan->values[value].record))->done != 0;
}

/* Points the invocation at its inputs; `ready`: frames each has. False where an initial state is not there
 * yet. */
static bool gather_inputs(struct rnnrt_arena *arena, size_t r, struct rnnrt_invocation *call, size_t *ready) {
    const struct rnnrt_plan *plan = arena->plan;
    const struct rnnrt_op *op = &plan->ops[r];
    const struct op_place *place = &arena->ops[r];
    size_t consumed = (size_t)record_of(arena, r)->consumed;
    bool begins = true;
    for (int32_t i = 0; i < op->desc.inputs; i++) {
        int32_t v = op->desc.input[i];
        struct value_place *value = &arena->values[v];
        if (i >= op->counted && place->initial[i]) {
            call->x[i] = place->initial[i];
        } else if (op->from_whole[i]) {
            bool again =
                i >= op->counted ||
                (arena->every_step && !plan->values[v].timed); /* given once, read at every invocation */
            size_t start = again ? 0 : consumed;
            call->x[i] = value->whole + start * (size_t)plan->values[v].width * arena->batch;
            ready[i] = value->total - start;
            begins &= i < op->counted || ready[i];
            if (!op->whole && i < op->counted) call->frames = rnnrt_smaller(call->frames, place->frames);
        } else if (op->joins) {
            call->x[i] = value->data;
            ready[i] = waiting_frames(op, arena->rows[0], i) + value->fresh;
        } else {
            call->x[i] = value->data;
            ready[i] = value->fresh;
        }
        if (i >= op->counted) continue;
        call->frames = rnnrt_smaller(call->frames, ready[i]);
        if (place->initial[i]) call->x[i] = place->initial[i]; /* a scan without sequences starts at it */
    }
    for (int32_t i = 0; op->joins && i < op->counted; i++)
        if (op->lag[i] && !op->from_whole[i]) gather_queue(arena, r, i, call);
    return begins;
}

/* Whether the frames are the op's last ones. False where one branch is over and another is not; a value given
 * once is missing where too few frames came for one. */
static bool find_final(const struct rnnrt_arena *arena, const struct rnnrt_op *op,
                       struct rnnrt_invocation *call, const size_t *ready) {
    int32_t exhausted = 0;
    for (int32_t i = 0; i < op->counted; i++)
        exhausted += ready[i] == call->frames && (op->whole || producer_done(arena, op->desc.input[i]));
    call->final = exhausted == op->counted;
    /* one that never comes: no more will be made of the others, which wait for it */
    if (exhausted && !call->frames && !arena->every_step && !arena->plan->values[op->desc.input[0]].timed)
        call->final = true;
    if (!exhausted || call->final || arena->every_step || !arena->plan->values[op->desc.input[0]].timed)
        return true;
    for (int32_t i = 0; i < op->counted; i++)
        if (ready[i] > call->frames && (op->whole || producer_done(arena, op->desc.input[i]))) return false;
    return true;
}

/* Where the op writes: whole ops straight into full-length buffers. */
static void place_outputs(struct rnnrt_arena *arena, size_t r, struct rnnrt_invocation *call) {
    const struct rnnrt_op *op = &arena->plan->ops[r];
    for (size_t slot = 0; slot < op->slots; slot++) {
        struct value_place *value = &arena->values[op->value + slot];
        call->made[slot] = 0;
        __asm__("" ::: "memory"); /* or compilers call memset for one number */
        if (slot >= op->shown) {
            call->y[slot] = NULL;
            continue;
        }
        call->y[slot] = value->capacity ? arena->work + value->work : NULL;
        if (value->whole && op->whole) call->y[slot] = value->whole;
        value->data = call->y[slot];
    }
    const struct rnnrt_array *to = arena->straight;
    if (!op->straight || !to || call->frames > arena->straight_room - to->frames) return;
    call->y[0] = to->data + (ptrdiff_t)to->frames * to->time_stride;
    arena->values[op->value].data = call->y[0];
}

/* What the op made is its values' news; full-length buffers take it too. */
static void hand_on(struct rnnrt_arena *arena, size_t r, const struct rnnrt_invocation *call) {
    const struct rnnrt_op *op = &arena->plan->ops[r];
    for (size_t slot = 0; slot < op->shown; slot++) {
        size_t v = op->value + slot;
        struct value_place *value = &arena->values[v];
        value->fresh = value->capacity ? call->made[slot] : 0;
        if (!value->whole || op->whole || !value->fresh) continue;
        size_t frame = (size_t)arena->plan->values[v].width * arena->batch;
        memcpy(value->whole + value->total * frame, value->data, value->fresh * frame * sizeof(float));
        value->total += value->fresh;
    }
}

static enum rnnrt_status failed(struct rnnrt_error *error, size_t r, enum rnnrt_status status) {
    if (error) error->layer = (int32_t)r;
    return status;
}

/* Whether none of the clocks that move brings the op frames. */
static bool rests(const struct rnnrt_arena *arena, const struct rnnrt_op *op) {
    return op->clocks && !(op->clocks & arena->moving);
}

/* As `gather_inputs` and `find_final` where all inputs bring as many frames and end together, as they all but
 * always do; false where not. */
static bool gather_abreast(const struct rnnrt_arena *arena, const struct rnnrt_op *op,
                           struct rnnrt_invocation *call) {
    const struct value_place *first = &arena->values[op->desc.input[0]];
    call->frames = first->fresh;
    call->final = producer_done(arena, op->desc.input[0]);
    for (int32_t i = 0; i < op->counted; i++) {
        const struct value_place *value = &arena->values[op->desc.input[i]];
        if (value->fresh != call->frames || producer_done(arena, op->desc.input[i]) != call->final)
            return false;
        call->x[i] = value->data;
    }
    return true;
}

enum rnnrt_status rnnrt_invoke(struct rnnrt_arena *arena, size_t r, const int64_t *lengths,
                               struct rnnrt_error *error) {
    const struct rnnrt_op *op = &arena->plan->ops[r];
    const struct rnnrt_record *record = rnnrt_record_of(op, arena->rows[0]);
    struct rnnrt_invocation call;
    call.kernels = arena->kernels;
    call.batch = arena->batch;
    call.rows = arena->rows;
    call.row_stride = arena->row_stride;
    call.start = record->consumed;
    call.every_step = arena->every_step;
    call.scratch = arena->ops[r].scratch;
    call.lengths = lengths;
    call.pulse = arena->pulse;
    call.inner = arena->inner[r];
    call.run_inner = rnnrt_run_inner;
    call.error = error;
    size_t ready[RNNRT_MAX_INPUTS];
    call.ready = ready;
    if (arena->ops[r].lengthy) call.scratch = arena->ops[r].lengthy;
    bool begins = true, queues = op->joins;
    if (op->abreast && gather_abreast(arena, op, &call)) {
        queues = false;
    } else if (op->plain) { /* what follows comes to this: a step of a small network feels the difference */
        const struct value_place *value = &arena->values[op->desc.input[0]];
        call.x[0] = value->data;
        call.frames = value->fresh;
        call.final = producer_done(arena, op->desc.input[0]);
    } else {
        call.frames = SIZE_MAX;
        begins = gather_inputs(arena, r, &call, ready);
        if (!find_final(arena, op, &call, ready)) return failed(error, r, RNNRT_MISALIGNED);
    }
    call.gone = arena->ops[r].gone;
    arena->ops[r].gone += call.frames;
    place_outputs(arena, r, &call);
    bool given =
        op->desc.kind == rnnrt_kind_expand && ready[1]; /* it keeps what comes before its frames do */
    if (!record->done && (call.frames || call.final || given || (arena->every_step && !rests(arena, op)))) {
        enum rnnrt_status status = begins        ? op->layer->run(op, &call)
                                   : call.frames ? RNNRT_TOO_SHORT
                                                 : RNNRT_OK;
        if (!status && !op->layer->asks &&
            rnnrt_worked(call.pulse, op->work * (double)(call.frames * call.batch)))
            status = RNNRT_CANCELLED;
        if (status) return failed(error, r, status);
        for (size_t b = 0; b < arena->batch; b++) {
            struct rnnrt_record *each = rnnrt_record_of(op, arena->rows[b]);
            each->consumed += call.frames;
            each->done = call.final && !arena->every_step;
        }
    }
    for (int32_t i = 0; queues && i < op->desc.inputs; i++)
        if (!op->from_whole[i] && (op->lag[i] || ready[i] > call.frames)) {
            enum rnnrt_status status = keep_queue(arena, op, i, &call, ready[i] - call.frames);
            if (status) return failed(error, r, status);
        }
    hand_on(arena, r, &call);
    return RNNRT_OK;
}

/* ---- streaming: one stage ---- */

enum rnnrt_status rnnrt_round(struct rnnrt_arena *arena, const struct rnnrt_array *inputs, size_t start,
                              size_t count, bool ended, struct rnnrt_array *outputs, const size_t *room,
                              struct rnnrt_error *error) {
    const struct rnnrt_plan *plan = arena->plan;
    size_t input = 0;
    const bool several = plan->clocks > 1, first = !rnnrt_begun(plan, rnnrt_positions(arena->rows[0]));
    for (size_t r = 0; r < plan->count; r++) {
        const struct rnnrt_op *op = &plan->ops[r];
        if (op->desc.kind != rnnrt_kind_input) {
            if (several && !first &&
                rests(arena, op)) { /* in the first round it may get what is given once */
                for (size_t slot = 0; slot < op->slots; slot++) arena->values[op->value + slot].fresh = 0;
                continue;
            }
            enum rnnrt_status status = rnnrt_invoke(arena, r, NULL, error);
            if (status) return status;
            continue;
        }
        struct value_place *value = &arena->values[op->value];
        float *room_for_it = arena->work + value->work;
        if (several && rests(arena, op)) {
            value->fresh = 0;
            value->data = room_for_it;
        } else if (op->desc.timed) {
            value->fresh = count;
            value->data = count ? (float *)rnnrt_read_frames(arena, &inputs[input], start, count,
                                                             (size_t)op->desc.output_size, room_for_it)
                                : room_for_it;
            record_of(arena, r)->done = ended;
        } else { /* shown in the first round where it is an output */
            value->data = value->whole;
            value->fresh = arena->every_step || first;
            record_of(arena, r)->done = 1;
        }
        input++;
    }
    for (size_t b = 0; b < arena->batch; b++) {
        uint64_t *position = rnnrt_positions(arena->rows[b]);
        if (!several) position[0] += count;
        for (size_t c = 0; several && c < plan->clocks; c++)
            if (arena->moving >> c & 1) position[c] += count;
    }
    return rnnrt_write_outputs(arena, outputs, room, error);
}

enum rnnrt_status rnnrt_prompt_round(struct rnnrt_arena *arena, const float *x, float *y, size_t *made,
                                     struct rnnrt_error *error) {
    const struct rnnrt_plan *plan = arena->plan;
    char *row = arena->rows[0];
    struct rnnrt_invocation call;
    call.kernels = arena->kernels;
    call.batch = 1;
    call.rows = arena->rows;
    call.row_stride = arena->row_stride;
    call.final = call.every_step = false;
    call.lengths = NULL;
    call.pulse = NULL;
    call.run_inner = rnnrt_run_inner;
    call.error = error;
    /* nobody reads a slot but the first, and ops do not write to call.y: four slots at once, which most have
     * at most, for a loop over few becomes a call of memset */
    enum { MOST_HAVE = 4 };
    call.y[1] = call.y[2] = call.y[3] = NULL;
    arena->values[0].data = (float *)x;
    arena->values[0].fresh = 1;
    const struct rnnrt_op *op = plan->ops, *last = op + plan->count - 1;
    struct op_place *place = arena->ops;
    while (op < last) {
        op++, place++;
        size_t frames = place->in->fresh;
        bool even = true;
        call.x[0] = place->in->data;
        for (int32_t i = 1; i < op->desc.inputs; i++) {
            const struct value_place *in = &arena->values[op->desc.input[i]];
            even &= in->fresh == frames;
            call.x[i] = in->data;
        }
        if (!even) { /* a branch that holds frames back beside one that does not: there are queues */
            enum rnnrt_status status = rnnrt_invoke(arena, (size_t)(op - plan->ops), NULL, error);
            if (status) return status;
            continue;
        }
        call.y[0] = place->out->data = place->y;
        place->out->fresh = 0;
        if (!frames) continue;
        for (size_t slot = MOST_HAVE; slot < op->slots; slot++) call.y[slot] = NULL;
        struct rnnrt_record *record = rnnrt_record_of(op, row);
        call.frames = frames;
        call.start = record->consumed;
        call.gone = place->gone;
        place->gone += frames;
        call.scratch = place->scratch;
        call.inner = arena->inner[place - arena->ops];
        call.made[0] = 0;
        enum rnnrt_status status = op->layer->run(op, &call);
        if (status) return failed(error, (size_t)(op - plan->ops), status);
        record->consumed += frames;
        if (place->y) place->out->fresh = call.made[0];
    }
    rnnrt_positions(row)[0]++;
    const struct value_place *value = &arena->values[plan->output[0]];
    size_t width = (size_t)plan->values[plan->output[0]].width;
    *made = value->fresh;
    if (*made > 1) {
        if (error)
            *error = (struct rnnrt_error){.layer = plan->values[plan->output[0]].op,
                                          .text = "there is no room for its output"};
        return RNNRT_BAD_LAYER;
    }
    if (*made && width == 1) *y = *value->data;
    else if (*made) memmove(y, value->data, width * sizeof *y); /* both may be the input itself */
    return RNNRT_OK;
}
