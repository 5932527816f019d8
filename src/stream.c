/* A stream: the state of one batch of sequences, and the loop that takes frames through the ops of a plan.
 *
 * Memory: `state` survives between calls and holds no pointers (a copy of it is a copy of the stream); `work`
 * holds the chunk every value has at a visit and the ops' scratch; `whole` the full-length buffers of plans
 * that cannot stream. All sized when the stream is made, `whole` when a longer input comes. */
#include <stdlib.h>
#include <string.h>

#include "layers/window.h"
#include "plan.h"

/* What is kept per op between visits; at the start of the op's part of `state`. */
struct op_record {
    uint64_t consumed; /* frames of its inputs it has seen */
    uint64_t done;     /* its final visit is over */
    uint64_t queued[]; /* frames waiting per input, where the op joins branches that can be apart */
};

struct op_place {
    size_t record, state;            /* offsets into `state` */
    size_t queue[RNNRT_MAX_INPUTS];  /* offsets into `state` of the frames waiting */
    size_t joined[RNNRT_MAX_INPUTS]; /* offsets (floats) into `work` where waiting and new frames are put side
                                        by side */
    size_t scratch;                  /* offset (floats) into `work` */
    const float
        *initial[RNNRT_MAX_OUTPUTS]; /* whole runs: states given in place of what inputs 1 and 2 say */
    size_t frames;                   /* most frames at a visit */
    bool joins;
};

struct value_place {
    size_t work;     /* offset (floats) into `work` */
    size_t capacity; /* frames */
    float *data;     /* this visit's frames */
    size_t fresh;    /* how many */
    float *whole;    /* the full-length buffer of values that have one */
    size_t total;    /* its frames */
};

struct rnnrt_stream {
    const struct rnnrt_plan *plan;
    size_t batch, block;
    bool every_step;
    struct header {
        uint64_t position, ended;
    } *header; /* at the start of state */
    char *state;
    size_t state_bytes;
    float *work;
    float *whole;
    size_t whole_floats;
    float *once; /* the inputs without a time axis, one after the other */
    struct op_place *ops;
    struct value_place *values;
    size_t *total; /* room for rnnrt_plan_totals */
    struct rnnrt_stream **inner;
};

/* ---- denormals: flushed inside every entry, the caller's mode restored ---- */

#if defined(__SSE2__)
typedef unsigned int float_mode;
static float_mode enter_floats(void) {
    float_mode old = __builtin_ia32_stmxcsr();
    if ((old & 0xffc0u) != 0x9fc0u) /* flush, denormals are zero, all masked, to nearest */
        __builtin_ia32_ldmxcsr(0x9fc0u | (old & 0x3fu));
    return old;
}
static void leave_floats(float_mode old) {
    if ((old & 0xffc0u) != 0x9fc0u) __builtin_ia32_ldmxcsr(old);
}
#elif defined(__aarch64__)
typedef uint64_t float_mode;
static float_mode enter_floats(void) {
    float_mode old;
    __asm__ volatile("mrs %0, fpcr" : "=r"(old));
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)1 << 24));
    return old;
}
static void leave_floats(float_mode old) { __asm__ volatile("msr fpcr, %0" : : "r"(old)); }
#else
typedef int float_mode;
static float_mode enter_floats(void) { return 0; }
static void leave_floats(float_mode old) { (void)old; }
#endif

/* ---- making one ---- */

static size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

/* Whether input i of the op comes from a full-length buffer. */
static bool reads_whole(const struct rnnrt_plan *plan, const struct rnnrt_op *op, int32_t i) {
    const struct rnnrt_value *value = &plan->values[op->row.input[i]];
    const struct rnnrt_op *from = &plan->ops[op->row.input[i] / RNNRT_MAX_OUTPUTS];
    if (!value->full) return false;
    if (op->whole || from->whole || (rnnrt_recurrent(op->row.kind) && i > 0) ||
        (!plan->streams && rnnrt_joins(op)))
        return true;
    return from->stage < 0 ? !value->timed || op->stage > 0 : op->stage > from->stage;
}

static enum rnnrt_status make_whole_buffers(struct rnnrt_stream *stream, size_t frames);
static size_t once_floats(const struct rnnrt_op *op, size_t batch) {
    return round_up(batch * (size_t)op->row.output_size + 16, 16);
}

enum rnnrt_status rnnrt_stream_create(struct rnnrt_stream **out, const struct rnnrt_plan *plan, size_t batch,
                                      size_t block, bool every_step, struct rnnrt_error *error) {
    *out = NULL;
    if (error) *error = (struct rnnrt_error){.row = -1};
    struct rnnrt_stream *stream = calloc(1, sizeof *stream);
    if (!stream || !batch || batch > 1 << 24) {
        free(stream);
        return RNNRT_NO_MEMORY;
    }
    stream->plan = plan;
    stream->batch = batch;
    stream->block = rnnrt_block(block, batch);
    stream->every_step = every_step;
    stream->ops = calloc(plan->count, sizeof *stream->ops);
    stream->values = calloc(plan->count * RNNRT_MAX_OUTPUTS, sizeof *stream->values);
    stream->total = calloc(plan->count * RNNRT_MAX_OUTPUTS, sizeof *stream->total);
    stream->inner = calloc(plan->count, sizeof *stream->inner);
    if (!stream->ops || !stream->values || !stream->total || !stream->inner) goto fail;

    size_t state = sizeof(struct header), work = 0, once = 0;
    for (size_t r = 0; r < plan->count; r++) {
        const struct rnnrt_op *op = &plan->ops[r];
        struct op_place *place = &stream->ops[r];
        size_t frames = SIZE_MAX;
        place->joins = rnnrt_joins(op);
        for (int32_t i = 0; i < op->row.inputs; i++) {
            size_t capacity = stream->values[op->row.input[i]].capacity;
            if (rnnrt_recurrent(op->row.kind) && i > 0) continue;
            if (reads_whole(plan, op, i)) capacity = stream->block;
            if (place->joins) capacity += op->lag[i];
            frames = rnnrt_smaller(frames, capacity);
        }
        if (op->row.kind == rnnrt_kind_input) frames = stream->block;
        if (op->row.kind == rnnrt_kind_input && !op->row.timed) once += once_floats(op, batch);
        struct rnnrt_sizes sizes = {0, 0, frames};
        size_t numbers = (size_t)op->row.input_size + (size_t)op->row.output_size + 4 * (size_t)op->row.units;
        /* of one frame of every row, or up to 64 of one: what ops hold of them does not wrap */
        if (rnnrt_times(batch + 64, numbers) >= RNNRT_MOST / 8) goto fail;
        if (op->layer->measure) op->layer->measure(op, batch, frames, &sizes);
        place->frames = frames;
        place->record = state;
        state = round_up(state + sizeof(struct op_record) +
                             (place->joins ? (size_t)op->row.inputs : 0) * sizeof(uint64_t),
                         64);
        place->state = state;
        state = round_up(state + sizes.state, 64);
        place->scratch = work;
        work = round_up(work + sizes.scratch + 16, 16);
        for (int32_t i = 0; place->joins && i < op->row.inputs; i++) {
            if (!op->lag[i] || reads_whole(plan, op, i)) continue;
            size_t width = (size_t)plan->values[op->row.input[i]].width * batch;
            place->queue[i] = state;
            state = round_up(state + rnnrt_times(op->lag[i], width * sizeof(float)), 64);
            place->joined[i] = work;
            work = round_up(
                work + rnnrt_times(op->lag[i] + stream->values[op->row.input[i]].capacity, width) + 16, 16);
            if (state >= RNNRT_MOST || work >= RNNRT_MOST) goto fail;
        }
        for (size_t slot = 0; slot < RNNRT_MAX_OUTPUTS; slot++) {
            size_t v = r * RNNRT_MAX_OUTPUTS + slot;
            if (!plan->values[v].width || !plan->values[v].used) continue;
            stream->values[v].capacity = slot == 0 ? sizes.capacity : slot == RNNRT_SLOT_CELLS ? frames : 1;
            stream->values[v].work = work;
            work = round_up(
                work + rnnrt_times(stream->values[v].capacity, batch * (size_t)plan->values[v].width) + 16,
                16);
        }
        if (state >= RNNRT_MOST || work >= RNNRT_MOST || once >= RNNRT_MOST) goto fail;
        if (op->row.kind == rnnrt_kind_time_distributed) {
            const struct rnnrt_row *first = &op->row.inner->ops[0].row;
            if (rnnrt_stream_create(&stream->inner[r], op->row.inner, batch, 0, false, error)) goto fail;
            if (make_whole_buffers(stream->inner[r], first->timed ? (size_t)first->length : 1))
                goto fail; /* now, so that no step allocates */
        }
    }
    stream->state_bytes = state;
    stream->state = rnnrt_aligned(state);
    stream->work = rnnrt_aligned((work + 64) * sizeof(float));
    stream->once = rnnrt_aligned((once + 64) * sizeof(float));
    if (!stream->state || !stream->work || !stream->once) goto fail;
    float *to = stream->once;
    for (size_t r = 0; r < plan->count; r++)
        if (plan->ops[r].row.kind == rnnrt_kind_input && !plan->ops[r].row.timed) {
            stream->values[r * RNNRT_MAX_OUTPUTS].whole = to;
            stream->values[r * RNNRT_MAX_OUTPUTS].total = 1;
            to += once_floats(&plan->ops[r], batch);
        }
    stream->header = (struct header *)(void *)stream->state;
    *out = stream;
    return RNNRT_OK;
fail:
    rnnrt_stream_free(stream);
    return RNNRT_NO_MEMORY;
}

void rnnrt_stream_free(struct rnnrt_stream *stream) {
    if (!stream) return;
    for (size_t r = 0; stream->inner && r < stream->plan->count; r++) rnnrt_stream_free(stream->inner[r]);
    free(stream->inner);
    free(stream->ops);
    free(stream->values);
    free(stream->total);
    free(stream->state);
    free(stream->work);
    free(stream->whole);
    free(stream->once);
    free(stream);
}

void rnnrt_stream_set_once(struct rnnrt_stream *stream, size_t input, const float *x) {
    for (size_t r = 0; r < stream->plan->count; r++) {
        const struct rnnrt_row *row = &stream->plan->ops[r].row;
        if (row->kind != rnnrt_kind_input || input--) continue;
        if (!row->timed)
            memcpy(stream->values[r * RNNRT_MAX_OUTPUTS].whole, x,
                   stream->batch * (size_t)row->output_size * sizeof *x);
        return;
    }
}

void rnnrt_stream_discard(struct rnnrt_stream *stream) { rnnrt_stream_free(stream); }

/* ---- one round: every op of a stage is visited once, in order ---- */

/* Input i of a joining op: waiting frames and new ones side by side. */
static void gather_queue(struct rnnrt_stream *stream, const struct rnnrt_op *op, struct op_place *place,
                         struct op_record *record, int32_t i, struct rnnrt_visit *visit, size_t *ready) {
    struct value_place *value = &stream->values[op->row.input[i]];
    size_t width = (size_t)stream->plan->values[op->row.input[i]].width * stream->batch,
           waiting = (size_t)record->queued[i];
    if (!waiting) {
        visit->x[i] = value->data;
        *ready = value->fresh;
        return;
    }
    float *joined = stream->work + place->joined[i];
    memcpy(joined, stream->state + place->queue[i], waiting * width * sizeof(float));
    memcpy(joined + waiting * width, value->data, value->fresh * width * sizeof(float));
    visit->x[i] = joined;
    *ready = waiting + value->fresh;
}

static enum rnnrt_status keep_queue(struct rnnrt_stream *stream, const struct rnnrt_op *op,
                                    struct op_place *place, struct op_record *record, int32_t i,
                                    const struct rnnrt_visit *visit, size_t left) {
    size_t width = (size_t)stream->plan->values[op->row.input[i]].width * stream->batch;
    if (stream->every_step && !stream->plan->values[op->row.input[i]].timed)
        left = 0; /* the next frame brings a newer one */
    if (left > op->lag[i]) return RNNRT_MISALIGNED;
    if (left)
        memcpy(stream->state + place->queue[i], visit->x[i] + visit->frames * width,
               left * width * sizeof(float));
    record->queued[i] = left;
    return RNNRT_OK;
}

static bool producer_done(const struct rnnrt_stream *stream, int32_t value) {
    const struct op_place *place = &stream->ops[value / RNNRT_MAX_OUTPUTS];
    return ((const struct op_record *)(const void *)(stream->state + place->record))->done != 0;
}

static enum rnnrt_status visit_op(struct rnnrt_stream *stream, size_t r, const int64_t *lengths,
                                  struct rnnrt_error *error) {
    const struct rnnrt_plan *plan = stream->plan;
    const struct rnnrt_op *op = &plan->ops[r];
    struct op_place *place = &stream->ops[r];
    struct op_record *record = (struct op_record *)(void *)(stream->state + place->record);
    struct rnnrt_visit visit;
    visit.kernels = plan->kernels;
    visit.batch = stream->batch;
    visit.frames = SIZE_MAX;
    visit.start = record->consumed;
    visit.final = true;
    visit.every_step = stream->every_step;
    visit.state = stream->state + place->state;
    visit.scratch = stream->work + place->scratch;
    visit.ring = op->row.kernel_size > 0 ? window_ring(op, place->frames) : 0;
    visit.lengths = lengths;
    visit.inner = stream->inner[r];
    visit.error = error;
    size_t ready[RNNRT_MAX_INPUTS];
    int32_t counted = rnnrt_recurrent(op->row.kind) ? 1 : op->row.inputs, exhausted = 0;
    bool begins = true; /* whether every initial state is there */
    for (int32_t i = 0; i < op->row.inputs; i++) {
        int32_t v = op->row.input[i];
        struct value_place *value = &stream->values[v];
        if (i >= counted && place->initial[i]) {
            visit.x[i] = place->initial[i];
        } else if (reads_whole(plan, op, i)) {
            bool again = i >= counted ||
                         (stream->every_step && !plan->values[v].timed); /* given once, read at every visit */
            size_t width = (size_t)plan->values[v].width * stream->batch,
                   start = again ? 0 : (size_t)record->consumed;
            visit.x[i] = value->whole + start * width;
            ready[i] = value->total - start;
            begins &= i < counted || ready[i];
            visit.frames =
                op->whole || i >= counted ? visit.frames : rnnrt_smaller(visit.frames, place->frames);
        } else if (place->joins) {
            gather_queue(stream, op, place, record, i, &visit, &ready[i]);
        } else {
            visit.x[i] = value->data;
            ready[i] = value->fresh;
        }
        if (i < counted) visit.frames = rnnrt_smaller(visit.frames, ready[i]);
    }
    for (int32_t i = 0; i < counted; i++)
        exhausted += ready[i] == visit.frames && producer_done(stream, op->row.input[i]);
    visit.final = exhausted == counted;
    if (exhausted && !visit.final && !stream->every_step) { /* one branch is over and another is not */
        for (int32_t i = 0; i < counted; i++)
            if (ready[i] > visit.frames && producer_done(stream, op->row.input[i])) {
                if (error) error->row = (int32_t)r;
                return RNNRT_MISALIGNED;
            }
    }
    for (size_t slot = 0; slot < RNNRT_MAX_OUTPUTS; slot++) {
        struct value_place *value = &stream->values[r * RNNRT_MAX_OUTPUTS + slot];
        visit.made[slot] = 0;
        visit.y[slot] = value->capacity ? stream->work + value->work : NULL;
        if (value->whole && op->whole) visit.y[slot] = value->whole;
        value->data = visit.y[slot];
    }
    if (!record->done && (visit.frames || visit.final || stream->every_step)) {
        enum rnnrt_status status = begins         ? op->layer->run(op, &visit)
                                   : visit.frames ? RNNRT_TOO_SHORT
                                                  : RNNRT_OK;
        if (status) {
            if (error) error->row = (int32_t)r;
            return status;
        }
        record->consumed += visit.frames;
        record->done = visit.final && !stream->every_step;
    }
    for (int32_t i = 0; place->joins && i < op->row.inputs; i++)
        if (!reads_whole(plan, op, i) && (op->lag[i] || ready[i] > visit.frames)) {
            enum rnnrt_status status =
                keep_queue(stream, op, place, record, i, &visit, ready[i] - visit.frames);
            if (status) {
                if (error) error->row = (int32_t)r;
                return status;
            }
        }
    for (size_t slot = 0; slot < RNNRT_MAX_OUTPUTS; slot++) {
        struct value_place *value = &stream->values[r * RNNRT_MAX_OUTPUTS + slot];
        value->fresh = value->capacity ? visit.made[slot] : 0;
        if (value->whole && !op->whole && value->fresh) {
            size_t frame = (size_t)plan->values[r * RNNRT_MAX_OUTPUTS + slot].width * stream->batch;
            memcpy(value->whole + value->total * frame, value->data, value->fresh * frame * sizeof(float));
            value->total += value->fresh;
        }
    }
    return RNNRT_OK;
}

/* Frames start .. start + count - 1 of a strided array as a chunk: where it lies if it is one already, copied
 * to `to` otherwise. */
static const float *read_frames(const struct rnnrt_array *array, size_t start, size_t count, size_t batch,
                                size_t width, float *to) {
    if (!count) return to;
    const float *from = array->data + (ptrdiff_t)start * array->time_stride;
    bool packed = (batch == 1 || array->batch_stride == (ptrdiff_t)width) &&
                  (count == 1 || array->time_stride == (ptrdiff_t)(width * batch));
    if (packed) return from;
    for (size_t t = 0; t < count; t++)
        for (size_t b = 0; b < batch; b++)
            memcpy(to + (t * batch + b) * width,
                   from + (ptrdiff_t)t * array->time_stride + (ptrdiff_t)b * array->batch_stride,
                   width * sizeof *to);
    return to;
}

static enum rnnrt_status write_outputs(struct rnnrt_stream *stream, struct rnnrt_array *outputs,
                                       const size_t *room, struct rnnrt_error *error) {
    const struct rnnrt_plan *plan = stream->plan;
    for (size_t o = 0; o < plan->outputs; o++) {
        int32_t v = plan->output[o];
        const struct value_place *value = &stream->values[v];
        size_t width = (size_t)plan->values[v].width, batch = stream->batch;
        if (!value->fresh) continue;
        if (outputs[o].frames + value->fresh > room[o]) {
            if (error)
                *error = (struct rnnrt_error){.row = v / RNNRT_MAX_OUTPUTS,
                                              .text = "there is no room for its output"};
            return RNNRT_BAD_ROW;
        }
        float *to = outputs[o].data + (ptrdiff_t)outputs[o].frames * outputs[o].time_stride;
        const float *from = value->data;
        if ((batch == 1 || outputs[o].batch_stride == (ptrdiff_t)width) &&
            outputs[o].time_stride == (ptrdiff_t)(width * batch))
            memmove(to, from,
                    value->fresh * batch * width *
                        sizeof(float)); /* an output may be an input, pushed into its own place */
        else
            for (size_t t = 0; t < value->fresh; t++)
                for (size_t b = 0; b < batch; b++, from += width)
                    memmove(to + (ptrdiff_t)t * outputs[o].time_stride +
                                (ptrdiff_t)b * outputs[o].batch_stride,
                            from, width * sizeof(float));
        outputs[o].frames += value->fresh;
    }
    return RNNRT_OK;
}

/* ---- streaming: one stage, block by block ---- */

static enum rnnrt_status round_of(struct rnnrt_stream *stream, const struct rnnrt_array *inputs, size_t start,
                                  size_t count, bool ended, struct rnnrt_array *outputs, const size_t *room,
                                  struct rnnrt_error *error) {
    const struct rnnrt_plan *plan = stream->plan;
    size_t input = 0;
    for (size_t r = 0; r < plan->count; r++) {
        if (plan->ops[r].row.kind == rnnrt_kind_input) {
            struct value_place *value = &stream->values[r * RNNRT_MAX_OUTPUTS];
            struct op_record *record = (struct op_record *)(void *)(stream->state + stream->ops[r].record);
            size_t width = (size_t)plan->values[r * RNNRT_MAX_OUTPUTS].width;
            if (plan->values[r * RNNRT_MAX_OUTPUTS].timed) {
                value->fresh = count;
                value->data = count ? (float *)read_frames(&inputs[input], start, count, stream->batch, width,
                                                           stream->work + value->work)
                                    : stream->work + value->work;
                record->done = ended;
            } else { /* see rnnrt_stream_set_once; shown in the first round where it is an output */
                value->data = value->whole;
                value->fresh = stream->every_step || stream->header->position == 0;
                record->done = 1;
            }
            input++;
            continue;
        }
        enum rnnrt_status status = visit_op(stream, r, NULL, error);
        if (status) return status;
    }
    stream->header->position += count;
    return write_outputs(stream, outputs, room, error);
}

static enum rnnrt_status stream_frames(struct rnnrt_stream *stream, const struct rnnrt_array *inputs,
                                       size_t frames, bool ended, struct rnnrt_array *outputs,
                                       struct rnnrt_error *error) {
    size_t room[RNNRT_PLAN_OUTPUTS];
    if (error) *error = (struct rnnrt_error){.row = -1};
    if (stream->header->ended) return RNNRT_ENDED;
    if (!stream->plan->streams) return RNNRT_NOT_STREAMABLE;
    enum rnnrt_status status = RNNRT_OK;
    for (size_t o = 0; o < stream->plan->outputs; o++) {
        room[o] = outputs[o].frames;
        outputs[o].frames = 0;
    }
    float_mode mode = enter_floats();
    size_t block = stream->every_step ? 1 : stream->block;
    for (size_t start = 0; start < frames && !status; start += block)
        status = round_of(stream, inputs, start, rnnrt_smaller(block, frames - start), false, outputs, room,
                          error);
    /* no frames have no answer; with every_step nothing is held back: what is given at the end was given with
     * the last frame */
    if (ended && !status && !stream->every_step && stream->header->position)
        status = round_of(stream, inputs, 0, 0, true, outputs, room, error);
    if (ended || status)
        stream->header->ended = 1; /* ops before the one that failed have gone on: the sequence cannot */
    leave_floats(mode);
    return status;
}

enum rnnrt_status rnnrt_stream_push(struct rnnrt_stream *stream, const struct rnnrt_array *inputs,
                                    size_t frames, struct rnnrt_array *outputs, struct rnnrt_error *error) {
    return stream_frames(stream, inputs, frames, false, outputs, error);
}

enum rnnrt_status rnnrt_stream_flush(struct rnnrt_stream *stream, struct rnnrt_array *outputs,
                                     struct rnnrt_error *error) {
    return stream_frames(stream, NULL, 0, true, outputs, error);
}

int rnnrt_stream_step(struct rnnrt_stream *stream, const float *x, float *y, struct rnnrt_error *error) {
    const struct rnnrt_plan *plan = stream->plan;
    if (plan->inputs != 1 || plan->outputs != 1 || plan->ops[0].row.kind != rnnrt_kind_input) {
        if (error) *error = (struct rnnrt_error){.row = -1};
        return RNNRT_NOT_STREAMABLE;
    }
    ptrdiff_t in = plan->values[0].width, out = plan->values[plan->output[0]].width,
              batch = (ptrdiff_t)stream->batch;
    struct rnnrt_array input = {(float *)x, in * batch, in, 1}, output = {y, out * batch, out, 1};
    enum rnnrt_status status = stream_frames(stream, &input, 1, false, &output, error);
    return status ? (int)status : (int)output.frames;
}

/* ---- the whole input at once: the stages one after another ---- */

static enum rnnrt_status make_whole_buffers(struct rnnrt_stream *stream, size_t frames) {
    const struct rnnrt_plan *plan = stream->plan;
    rnnrt_plan_totals(plan, frames, true, false, stream->total);
    for (int pass = 0; pass < 2; pass++) {
        size_t floats = 0;
        for (size_t v = 0; v < plan->count * RNNRT_MAX_OUTPUTS; v++) {
            struct value_place *value = &stream->values[v];
            if (pass == 0) value->whole = NULL, value->total = 0;
            if (!plan->values[v].full || !plan->values[v].used) continue;
            if (pass == 1) {
                value->whole = stream->whole + floats;
                if (plan->ops[v / RNNRT_MAX_OUTPUTS].whole) value->total = stream->total[v];
            }
            size_t size = (size_t)plan->values[v].width * stream->batch;
            floats += round_up(rnnrt_times(stream->total[v], size) + 16, 16);
            if (floats >= RNNRT_MOST) return RNNRT_NO_MEMORY;
        }
        if (pass == 0 && floats > stream->whole_floats) {
            free(stream->whole);
            stream->whole = rnnrt_aligned(floats * sizeof(float));
            stream->whole_floats = stream->whole ? floats : 0;
            if (!stream->whole) return RNNRT_NO_MEMORY;
        }
    }
    return RNNRT_OK;
}

/* The blocks of one stage: graph inputs feed the first stage block by block, full-length buffers feed
 * themselves. */
static enum rnnrt_status run_stage(struct rnnrt_stream *stream, int32_t stage,
                                   const struct rnnrt_array *inputs, struct rnnrt_array *outputs,
                                   const size_t *room, const int64_t *lengths, struct rnnrt_error *error) {
    const struct rnnrt_plan *plan = stream->plan;
    bool left = true;
    for (size_t start = 0; left; start += stream->block) {
        size_t input = 0;
        left = false;
        for (size_t v = 0; v < plan->count * RNNRT_MAX_OUTPUTS; v++) stream->values[v].fresh = 0;
        for (size_t r = 0; r < plan->count; r++) {
            const struct rnnrt_op *op = &plan->ops[r];
            struct op_record *record = (struct op_record *)(void *)(stream->state + stream->ops[r].record);
            if (op->row.kind == rnnrt_kind_input) {
                struct value_place *value = &stream->values[r * RNNRT_MAX_OUTPUTS];
                if (op->row.timed && stage == 0) {
                    size_t frames = inputs[input].frames,
                           count = start < frames ? rnnrt_smaller(stream->block, frames - start) : 0;
                    left |= start + count < frames;
                    value->data =
                        (float *)read_frames(&inputs[input], start, count, stream->batch,
                                             (size_t)op->row.output_size, stream->work + value->work);
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
            enum rnnrt_status status = visit_op(stream, r, lengths, error);
            if (status) return status;
            left |= !record->done;
        }
        enum rnnrt_status status = write_outputs(stream, outputs, room, error);
        if (status) return status;
    }
    for (size_t v = 0; v < plan->count * RNNRT_MAX_OUTPUTS; v++) stream->values[v].fresh = 0;
    for (size_t r = 0; r < plan->count; r++)
        if (plan->ops[r].whole && plan->ops[r].stage == stage) {
            enum rnnrt_status status = visit_op(stream, r, lengths, error);
            if (status) return status;
        }
    return write_outputs(stream, outputs, room, error);
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

enum rnnrt_status rnnrt_stream_whole(struct rnnrt_stream *stream, const struct rnnrt_array *inputs,
                                     struct rnnrt_array *outputs, const int64_t *lengths,
                                     const struct rnnrt_state_value *initial, size_t initial_count,
                                     const struct rnnrt_state_value *final, size_t final_count,
                                     struct rnnrt_error *error) {
    const struct rnnrt_plan *plan = stream->plan;
    size_t room[RNNRT_PLAN_OUTPUTS], frames = 0, input;
    enum rnnrt_status status = count_frames(plan, inputs, &frames, error);
    if (!status) status = make_whole_buffers(stream, frames);
    if (status) return status;
    rnnrt_stream_reset(stream);
    input = 0;
    for (size_t r = 0; r < plan->count; r++) {
        if (plan->ops[r].row.kind != rnnrt_kind_input) continue;
        struct value_place *value = &stream->values[r * RNNRT_MAX_OUTPUTS];
        size_t width = (size_t)plan->ops[r].row.output_size;
        if (value->whole) {
            size_t count = plan->ops[r].row.timed ? inputs[input].frames : 1;
            const float *from = read_frames(&inputs[input], 0, count, stream->batch, width, value->whole);
            if (from != value->whole) value->whole = (float *)from; /* read-only from here on */
            value->total = count;
        }
        input++;
    }
    for (size_t r = 0; r < plan->count; r++) memset(stream->ops[r].initial, 0, sizeof stream->ops[r].initial);
    for (size_t i = 0; i < initial_count; i++) {
        float *to = rnnrt_stream_state_value(stream, initial[i].value);
        if (to)
            stream->ops[initial[i].value / RNNRT_MAX_OUTPUTS].initial[initial[i].value % RNNRT_MAX_OUTPUTS] =
                initial[i].data;
        if (to)
            memcpy(to, initial[i].data,
                   stream->batch * (size_t)plan->values[initial[i].value].width * sizeof *to);
    }
    for (size_t o = 0; o < plan->outputs; o++) {
        room[o] = outputs[o].frames;
        outputs[o].frames = 0;
    }
    float_mode mode = enter_floats();
    for (int32_t stage = 0; stage < plan->stages && !status; stage++)
        status = run_stage(stream, stage, inputs, outputs, room, lengths, error);
    leave_floats(mode);
    for (size_t i = 0; i < final_count && !status; i++) {
        const float *from = rnnrt_stream_state_value(stream, final[i].value);
        if (from)
            memcpy(final[i].data, from,
                   stream->batch * (size_t)plan->values[final[i].value].width * sizeof *from);
    }
    return status;
}

enum { MOST_KEPT = 1 << 22 }; /* floats of full-length buffers an idle arena may hold on to */

enum rnnrt_status rnnrt_run(const struct rnnrt_plan *plan, size_t batch, const struct rnnrt_array *inputs,
                            struct rnnrt_array *outputs, const int64_t *lengths,
                            const struct rnnrt_state_value *initial, size_t initial_count,
                            const struct rnnrt_state_value *final, size_t final_count, size_t block,
                            struct rnnrt_error *error) {
    if (error) *error = (struct rnnrt_error){.row = -1};
    struct rnnrt_stream **idle = (struct rnnrt_stream **)plan->idle,
                        *stream = NULL; /* the cache is not part of what a plan means */
    size_t wanted = rnnrt_block(block, batch);
    for (size_t i = 0; i < sizeof plan->idle / sizeof *plan->idle && !stream; i++) {
        stream = __atomic_exchange_n(&idle[i], NULL, __ATOMIC_ACQUIRE);
        if (stream && (stream->batch != batch || stream->block != wanted)) {
            rnnrt_stream_free(stream);
            stream = NULL;
        }
    }
    enum rnnrt_status status =
        stream ? RNNRT_OK : rnnrt_stream_create(&stream, plan, batch, wanted, false, error);
    if (status) return status;
    status = rnnrt_stream_whole(stream, inputs, outputs, lengths, initial, initial_count, final, final_count,
                                error);
    if (stream->whole_floats > MOST_KEPT) {
        free(stream->whole);
        stream->whole = NULL;
        stream->whole_floats = 0;
    }
    for (size_t i = 0; i < sizeof plan->idle / sizeof *plan->idle && stream; i++) {
        struct rnnrt_stream *none = NULL;
        if (__atomic_compare_exchange_n(&idle[i], &none, stream, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
            stream = NULL;
    }
    rnnrt_stream_free(stream);
    return status;
}

/* ---- state ---- */

void rnnrt_stream_reset(struct rnnrt_stream *stream) { memset(stream->state, 0, stream->state_bytes); }
uint64_t rnnrt_stream_position(const struct rnnrt_stream *stream) { return stream->header->position; }
size_t rnnrt_stream_state_bytes(const struct rnnrt_stream *stream) { return stream->state_bytes; }
void rnnrt_stream_state_get(const struct rnnrt_stream *stream, void *bytes) {
    memcpy(bytes, stream->state, stream->state_bytes);
}

/* Whether the counts inside a state are those of a stream that has taken in `position` frames: everything
 * else in it is plain numbers. */
static bool counts_agree(struct rnnrt_stream *stream, const char *state, uint64_t position) {
    const struct rnnrt_plan *plan = stream->plan;
    const size_t *total = stream->total;
    rnnrt_plan_totals(plan, (size_t)position, false, stream->every_step, stream->total);
    for (size_t r = 0; r < plan->count; r++) {
        const struct rnnrt_op *op = &plan->ops[r];
        struct op_record record;
        if (op->row.kind == rnnrt_kind_input) continue;
        memcpy(&record, state + stream->ops[r].record, sizeof record);
        int32_t counted = rnnrt_recurrent(op->row.kind) ? 1 : op->row.inputs;
        if (record.done != (op->once && position && !stream->every_step)) return false;
        bool exact =
            !stream->every_step || plan->values[op->row.input[0]]
                                       .timed; /* otherwise once a frame at most, and never read from there */
        size_t in = SIZE_MAX;
        for (int32_t i = 0; i < counted; i++) in = rnnrt_smaller(in, total[op->row.input[i]]);
        if (exact ? record.consumed != in : record.consumed > position) return false;
        for (int32_t i = 0; stream->ops[r].joins && i < op->row.inputs; i++) {
            if (reads_whole(plan, op, i)) continue;
            uint64_t queued;
            memcpy(&queued, state + stream->ops[r].record + sizeof record + (size_t)i * sizeof queued,
                   sizeof queued);
            if (queued > op->lag[i] || (exact && queued != total[op->row.input[i]] - in)) return false;
        }
    }
    return true;
}

enum rnnrt_status rnnrt_stream_state_set(struct rnnrt_stream *stream, const void *bytes) {
    struct header header;
    memcpy(&header, bytes, sizeof header);
    if (header.position > (uint64_t)1 << 60 ||
        (!header.ended && !counts_agree(stream, bytes, header.position)))
        return RNNRT_BAD_STATE;
    memcpy(stream->state, bytes, stream->state_bytes);
    return RNNRT_OK;
}

float *rnnrt_stream_state_value(struct rnnrt_stream *stream, int32_t value) {
    if (value < 0 || (size_t)value >= stream->plan->count * RNNRT_MAX_OUTPUTS) return NULL;
    int32_t r = value / RNNRT_MAX_OUTPUTS, slot = value % RNNRT_MAX_OUTPUTS;
    const struct rnnrt_row *row = &stream->plan->ops[r].row;
    if (!rnnrt_recurrent(row->kind) ||
        (slot != RNNRT_SLOT_H && (slot != RNNRT_SLOT_C || row->kind != rnnrt_kind_lstm)))
        return NULL;
    float *h = (float *)(void *)(stream->state + stream->ops[r].state);
    return slot == RNNRT_SLOT_H ? h : h + stream->batch * (size_t)row->output_size;
}

size_t rnnrt_stream_due(const struct rnnrt_stream *stream, size_t output, size_t frames, bool ended) {
    const struct rnnrt_plan *plan = stream->plan;
    size_t position = (size_t)stream->header->position;
    if (!(position + frames)) return 0;
    rnnrt_plan_totals(plan, position, false, stream->every_step, stream->total);
    size_t before = stream->total[plan->output[output]];
    rnnrt_plan_totals(plan, position + frames, ended, stream->every_step, stream->total);
    size_t after = stream->total[plan->output[output]];
    if (stream->every_step && !plan->values[plan->output[output]].timed) {
        /* one answer a frame once there is one: at most */
        return frames;
    }
    return after - before;
}
