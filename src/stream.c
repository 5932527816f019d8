/* A stream: the blocks of a batch of rows that live on between calls, and the calls that take frames through
 * them. */
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "float_mode.h"

/* In one block of memory: the stream, what its rows keep, and where it borrows none its arena, each part from
 * a multiple of 64 bytes on. */
struct rnnrt_stream {
    const struct rnnrt_plan *plan;
    size_t batch, block;
    size_t slice; /* rows worked on at a time */
    bool every_step, ended;
    bool given;                /* the block is the caller's */
    struct rnnrt_arena *arena; /* of a stream that borrows none, or NULL */
};
enum { HEADER = (sizeof(struct rnnrt_stream) + 63) / 64 * 64 };

static char *row_of(const struct rnnrt_stream *stream, size_t b) {
    return (char *)stream + HEADER + b * stream->plan->row_bytes;
}

/* Bytes of a stream without an arena; RNNRT_MOST: more than there can be. */
static size_t bare_bytes(const struct rnnrt_plan *plan, size_t batch) {
    if (!batch || batch > 1 << 24 || plan->row_bytes >= RNNRT_MOST / 2 / batch) return RNNRT_MOST;
    return HEADER + rnnrt_round_up(batch * plan->row_bytes, 64);
}

enum rnnrt_status rnnrt_stream_size(const struct rnnrt_plan *plan, size_t batch, size_t block,
                                    size_t *bytes) {
    size_t bare = *bytes = bare_bytes(plan, batch), arena;
    if (bare >= RNNRT_MOST) return RNNRT_NO_MEMORY;
    enum rnnrt_status status = rnnrt_arena_size(plan, batch, rnnrt_own_block(plan, block, batch), &arena);
    if (!status) *bytes = bare + arena;
    return status;
}

/* The stream in `bytes` bytes of memory at a multiple of 64. */
static enum rnnrt_status place(void *memory, size_t bytes, const struct rnnrt_plan *plan, size_t batch,
                               size_t block, bool every_step, bool owns_arena, struct rnnrt_stream **out) {
    size_t bare = bare_bytes(plan, batch);
    if (bytes < bare) return RNNRT_NO_MEMORY;
    memset(memory, 0, bare);
    struct rnnrt_stream *stream = memory;
    stream->plan = plan;
    stream->batch = batch;
    stream->slice = owns_arena ? batch : rnnrt_slice(plan, batch, true);
    stream->block =
        owns_arena ? rnnrt_own_block(plan, block, batch) : rnnrt_block(plan, block, stream->slice);
    stream->every_step = every_step;
    enum rnnrt_status status = RNNRT_OK;
    if (owns_arena)
        status = rnnrt_arena_place((char *)memory + bare, bytes - bare, plan, batch, stream->block,
                                   &stream->arena);
    if (status) return status;
    rnnrt_stream_reset(stream);
    *out = stream;
    return RNNRT_OK;
}

enum rnnrt_status rnnrt_stream_create(struct rnnrt_stream **out, const struct rnnrt_plan *plan, size_t batch,
                                      size_t block, bool every_step, bool realtime,
                                      struct rnnrt_error *error) {
    size_t bytes = bare_bytes(plan, batch);
    struct rnnrt_arena *arena;
    *out = NULL;
    if (error) *error = (struct rnnrt_error){.layer = -1};
    enum rnnrt_status status = realtime ? rnnrt_stream_size(plan, batch, block, &bytes) : RNNRT_OK;
    if (status) return status;
    void *memory = rnnrt_take_lines(&plan->memory,
                                    bytes); /* all of it touched: no step meets a page for the first time */
    if (!memory) return RNNRT_NO_MEMORY;
    status = place(memory, bytes, plan, batch, block, every_step, realtime, out);
    if (!status && !realtime) { /* made now, so that no step has to make one */
        status = rnnrt_arena_borrow(plan, (*out)->slice, (*out)->block, &arena);
        if (!status) rnnrt_arena_return(arena);
    }
    if (!status) return RNNRT_OK;
    rnnrt_give(&plan->memory, memory);
    *out = NULL;
    return status;
}

enum rnnrt_status rnnrt_stream_init(struct rnnrt_stream **out, void *memory, size_t bytes,
                                    const struct rnnrt_plan *plan, size_t batch, size_t block,
                                    bool every_step, struct rnnrt_error *error) {
    *out = NULL;
    if (error) *error = (struct rnnrt_error){.layer = -1};
    if ((uintptr_t)memory % 64) return RNNRT_NO_MEMORY;
    enum rnnrt_status status = place(memory, bytes, plan, batch, block, every_step, true, out);
    if (!status) (*out)->given = true;
    return status;
}

void rnnrt_stream_free(struct rnnrt_stream *stream) {
    if (stream && !stream->given)
        rnnrt_give(&stream->plan->memory, stream); /* an arena of its own is in it */
}

/* ---- frames ---- */

/* Inputs given once are gathered from the rows of an arena. */
static void gather_once(struct rnnrt_arena *arena) {
    const struct rnnrt_plan *plan = arena->plan;
    for (size_t v = 0; v < plan->value_count && !arena->live; v++)
        arena->values[v].whole = NULL, arena->values[v].total = 0;
    arena->live = true;
    for (size_t r = 0; r < plan->count && plan->once_inputs; r++) {
        const struct rnnrt_op *op = &plan->ops[r];
        struct value_place *value = &arena->values[op->value];
        if (op->desc.kind != rnnrt_kind_input || op->desc.timed) continue;
        size_t width = (size_t)op->desc.output_size;
        value->whole = arena->work + value->work;
        value->total = 1;
        for (size_t b = 0; b < arena->batch; b++)
            memcpy(value->whole + b * width, arena->rows[b] + op->state, width * sizeof(float));
    }
}

/* Bits: the clocks that have `count` frames; for 0 those that have any. */
static inline uint64_t having(const struct rnnrt_plan *plan, const size_t *frames, size_t count) {
    uint64_t clocks = 0;
    if (plan->clocks == 1) return frames[0] > 0;
    for (size_t c = 0; c < plan->clocks; c++)
        clocks |= (uint64_t)(count ? frames[c] == count : frames[c] > 0) << c;
    return clocks;
}

/* Frames of every input through the rows of an arena, block by block, clocks with as many side by side, and
 * with `ended` their end. */
static inline enum rnnrt_status advance(struct rnnrt_arena *arena, bool every_step,
                                        const struct rnnrt_array *inputs, const size_t *frames, bool ended,
                                        struct rnnrt_array *outputs, struct rnnrt_between *between,
                                        struct rnnrt_error *error) {
    size_t room[RNNRT_PLAN_OUTPUTS];
    enum rnnrt_status status = RNNRT_OK;
    arena->every_step = every_step;
    if (!arena->live || arena->plan->once_inputs) gather_once(arena);
    rnnrt_open_outputs(arena, inputs, outputs, room);
    float_mode mode = enter_floats();
    struct rnnrt_pulse pulse = {between, (uint64_t)mode};
    arena->pulse = between ? &pulse : NULL;
    for (uint64_t left = having(arena->plan, frames, 0); left && !status; left &= ~arena->moving) {
        size_t count = frames[__builtin_ctzll(left)], block = arena->every_step ? 1 : arena->block, start = 0;
        arena->moving = having(arena->plan, frames, count);
        do {
            status = rnnrt_round(arena, inputs, start, rnnrt_smaller(block, count - start), false, outputs,
                                 room, error);
        } while (!status && (start += block) < count);
    }
    /* no frames have no answer; with every_step nothing is held back: what is given at the end was given with
     * the last frame */
    if (ended && !status && !arena->every_step) {
        arena->moving = 0;
        for (size_t c = 0; c < arena->plan->clocks; c++)
            if (rnnrt_row_position(arena->rows[0], c)) arena->moving |= (uint64_t)1 << c;
        if (arena->moving) status = rnnrt_round(arena, inputs, 0, 0, true, outputs, room, error);
    }
    leave_floats(mode);
    return status;
}

/* ---- rows in phase as one batch ---- */

/* The arrays from row `first` on. */
static void cut(const struct rnnrt_array *all, size_t count, size_t first, struct rnnrt_array *own) {
    for (size_t i = 0; i < count; i++) {
        own[i] = all[i];
        if (own[i].data) own[i].data += (ptrdiff_t)first * own[i].batch_stride;
    }
}

/* `count` rows, `slice` at a time: those at `rows`, or where that is NULL the stream's. */
static enum rnnrt_status in_slices(const struct rnnrt_plan *plan, const struct rnnrt_stream *stream,
                                   char *const *rows, size_t count, size_t slice, bool every_step,
                                   const struct rnnrt_array *inputs, const size_t *frames, bool ended,
                                   struct rnnrt_array *outputs, struct rnnrt_between *between,
                                   struct rnnrt_error *error) {
    struct rnnrt_array in[RNNRT_MAX_INPUTS], out[RNNRT_PLAN_OUTPUTS] = {0};
    enum rnnrt_status status = RNNRT_OK;
    for (size_t first = 0, own; first < count && !status; first += own) {
        struct rnnrt_arena *arena;
        own = rnnrt_smaller(slice, count - first);
        status = rnnrt_arena_borrow(plan, own, stream ? stream->block : rnnrt_block(plan, 0, own), &arena);
        if (status) break;
        for (size_t b = 0; b < own; b++) arena->rows[b] = rows ? rows[first + b] : row_of(stream, first + b);
        arena->row_stride = rows ? 0 : plan->row_bytes;
        if (inputs) cut(inputs, plan->inputs, first, in);
        cut(outputs, plan->outputs, first, out);
        status = advance(arena, every_step, inputs ? in : NULL, frames, ended, out, between, error);
        rnnrt_arena_return(arena);
        if (status == RNNRT_BAD_ID && error) error->batch_row += (int64_t)first;
    }
    for (size_t o = 0; o < plan->outputs; o++) outputs[o].frames = out[o].frames;
    return status;
}

/* ---- what a call asks before it changes anything ---- */

/* The frames of every clock among those of the inputs; NULL: none. */
static enum rnnrt_status frames_of(const struct rnnrt_plan *plan, const struct rnnrt_array *inputs,
                                   size_t *frames, struct rnnrt_error *error) {
    uint64_t known = 0;
    for (size_t c = 0; c < plan->clocks; c++) frames[c] = 0;
    for (size_t i = 0; inputs && i < plan->inputs; i++) {
        int32_t c = plan->input_clock[i];
        if (c < 0) continue;
        if ((known >> c & 1) && frames[c] != inputs[i].frames) {
            for (size_t r = 0; error && r < plan->count; r++)
                if (plan->ops[r].desc.kind == rnnrt_kind_input && !i--) {
                    error->layer = (int32_t)r;
                    break;
                }
            return RNNRT_MISALIGNED;
        }
        frames[c] = inputs[i].frames;
        known |= (uint64_t)1 << c;
    }
    return RNNRT_OK;
}

/* Whether an input of fixed length can take the frames of its clock, or the end. */
static bool fits_length(const struct rnnrt_plan *plan, size_t c, uint64_t total, bool ended) {
    return !plan->length[c] || (total <= plan->length[c] && (!ended || !total || total == plan->length[c]));
}

/* Whether all these clocks get as many frames. */
static bool even(const struct rnnrt_plan *plan, uint64_t clocks, const size_t *frames) {
    uint64_t same = 0;
    if (!(clocks & (clocks - 1))) return true;
    for (size_t c = 0, first = (size_t)__builtin_ctzll(clocks); c < plan->clocks; c++)
        same |= (uint64_t)(frames[c] == frames[first]) << c;
    return !(clocks & ~same);
}

/* Whether the frames and the end fit; said before anything changes. */
enum rnnrt_status rnnrt_row_fits(const struct rnnrt_plan *plan, const char *row, bool every_step,
                                 const size_t *frames, bool ended, struct rnnrt_error *error) {
    uint64_t some = 0; /* bits: clocks that have frames */
    if (!plan->fixed && plan->clocks == 1) return RNNRT_OK;
    for (size_t r = 0; r < plan->count; r++) {
        const struct rnnrt_op *op = &plan->ops[r];
        if (op->desc.kind != rnnrt_kind_input) {
            if (every_step ? even(plan, op->clocks, frames)
                           : !ended || !(op->clocks & some) || !(op->clocks & ~some))
                continue;
            if (error) *error = (struct rnnrt_error){.layer = (int32_t)r};
            return every_step ? RNNRT_MISALIGNED : RNNRT_TOO_SHORT;
        }
        if (!op->desc.timed) continue;
        size_t c = (size_t)__builtin_ctzll(op->clocks);
        uint64_t total = rnnrt_row_position(row, c) + frames[c];
        if (total) some |= op->clocks;
        if (fits_length(plan, c, total, ended && !every_step)) continue;
        if (error)
            *error = (struct rnnrt_error){
                .layer = (int32_t)r, .position = (int64_t)plan->length[c], .value = (double)total};
        return RNNRT_WRONG_LENGTH;
    }
    return RNNRT_OK;
}

static bool in_phase(const struct rnnrt_plan *plan, const char *a, const char *b) {
    for (size_t c = 0; c < plan->clocks; c++) {
        uint64_t at = rnnrt_row_position(a, c), other = rnnrt_row_position(b, c);
        if (at != other && rnnrt_plan_phase(plan, at) != rnnrt_plan_phase(plan, other)) return false;
    }
    return true;
}

static enum rnnrt_status stream_frames(struct rnnrt_stream *stream, const struct rnnrt_array *inputs,
                                       const size_t *frames, bool ended, struct rnnrt_array *outputs,
                                       struct rnnrt_between *between, struct rnnrt_error *error) {
    if (error) *error = (struct rnnrt_error){.layer = -1};
    if (stream->ended) return RNNRT_ENDED;
    if (!stream->plan->streams) return RNNRT_NOT_STREAMABLE;
    struct rnnrt_arena *arena = stream->arena, *waiting = NULL;
    enum rnnrt_status status = RNNRT_OK;
    bool asks = stream->plan->fixed || stream->plan->clocks > 1;
    for (size_t b = 0; asks && b < stream->batch && !status; b++)
        status = rnnrt_row_fits(stream->plan, row_of(stream, b), stream->every_step, frames, ended, error);
    for (size_t b = 1; b < stream->batch && !status; b++)
        if (!in_phase(stream->plan, row_of(stream, 0), row_of(stream, b))) status = RNNRT_OUT_OF_PHASE;
    if (status) return status;
    if (stream->slice < stream->batch) {
        status = in_slices(stream->plan, stream, NULL, stream->batch, stream->slice, stream->every_step,
                           inputs, frames, ended, outputs, between, error);
        stream->ended = ended || status;
        return status;
    }
    if (!arena) arena = waiting = rnnrt_arena_waiting(stream->plan, stream->batch, stream->block);
    if (!arena) status = rnnrt_arena_borrow(stream->plan, stream->batch, stream->block, &arena);
    if (status) return status;
    for (size_t b = 0; b < stream->batch; b++) arena->rows[b] = row_of(stream, b);
    arena->row_stride = stream->plan->row_bytes;
    status = advance(arena, stream->every_step, inputs, frames, ended, outputs, between, error);
    if (waiting) rnnrt_arena_leave(waiting);
    else if (!stream->arena) rnnrt_arena_return(arena);
    if (ended || status)
        stream->ended = true; /* ops before the one that failed have gone on: the sequence cannot */
    return status;
}

enum rnnrt_status rnnrt_stream_push(struct rnnrt_stream *stream, const struct rnnrt_array *inputs,
                                    struct rnnrt_array *outputs, struct rnnrt_between *between,
                                    struct rnnrt_error *error) {
    size_t frames[RNNRT_MAX_CLOCKS];
    if (error) *error = (struct rnnrt_error){.layer = -1};
    enum rnnrt_status status = frames_of(stream->plan, inputs, frames, error);
    return status ? status : stream_frames(stream, inputs, frames, false, outputs, between, error);
}

enum rnnrt_status rnnrt_stream_flush(struct rnnrt_stream *stream, struct rnnrt_array *outputs,
                                     struct rnnrt_between *between, struct rnnrt_error *error) {
    static const size_t none[RNNRT_MAX_CLOCKS];
    return stream_frames(stream, NULL, none, true, outputs, between, error);
}

/* A step of one row where the plan is prompt; NO_ARENA, and nothing has changed, where none waits for it. */
enum { NO_ARENA = 2 };
static int prompt_step(struct rnnrt_stream *stream, const float *x, float *y, struct rnnrt_error *error) {
    struct rnnrt_arena *arena = stream->arena, *waiting = NULL;
    if (!arena) arena = waiting = rnnrt_arena_waiting(stream->plan, 1, stream->block);
    if (!arena) return NO_ARENA;
    if (error) *error = (struct rnnrt_error){.layer = -1};
    arena->rows[0] = row_of(stream, 0);
    arena->row_stride = stream->plan->row_bytes;
    arena->every_step = false;
    arena->pulse = NULL;
    arena->straight = NULL;
    if (!arena->live) gather_once(arena);
    size_t made = 0;
    float_mode mode = enter_floats();
    enum rnnrt_status status = rnnrt_prompt_round(arena, x, y, &made, error);
    leave_floats(mode);
    if (waiting) rnnrt_arena_leave(waiting);
    if (status) stream->ended = true; /* some ops have gone on: the sequence cannot */
    return status ? (int)status : (int)made;
}

int rnnrt_stream_step(struct rnnrt_stream *stream, const float *x, float *y, struct rnnrt_error *error) {
    const struct rnnrt_plan *plan = stream->plan;
    if (plan->prompt && stream->batch == 1 && !stream->every_step && !stream->ended) {
        int made = prompt_step(stream, x, y, error);
        if (made != NO_ARENA) return made;
    }
    if (plan->inputs != 1 || plan->outputs != 1 || plan->ops[0].desc.kind != rnnrt_kind_input) {
        if (error) *error = (struct rnnrt_error){.layer = -1};
        return RNNRT_NOT_STREAMABLE;
    }
    ptrdiff_t in = plan->values[0].width, out = plan->values[plan->output[0]].width,
              batch = (ptrdiff_t)stream->batch;
    struct rnnrt_array input = {(float *)x, in * batch, in, 1, 1}, output = {y, out * batch, out, 1, 1};
    size_t one = 1;
    enum rnnrt_status status = stream_frames(stream, &input, &one, false, &output, NULL, error);
    return status ? (int)status : (int)output.frames;
}

/* ---- rows of any streams ---- */

static enum rnnrt_status push_in_phase(const struct rnnrt_plan *plan, char *const *rows, size_t count,
                                       bool every_step, const struct rnnrt_array *inputs,
                                       const size_t *frames, bool ended, struct rnnrt_array *outputs,
                                       struct rnnrt_between *between, struct rnnrt_error *error) {
    struct rnnrt_arena *arena;
    size_t slice = rnnrt_slice(plan, count, false);
    if (slice < count)
        return in_slices(plan, NULL, rows, count, slice, every_step, inputs, frames, ended, outputs, between,
                         error);
    enum rnnrt_status status = rnnrt_arena_borrow(plan, count, rnnrt_block(plan, 0, count), &arena);
    if (status) return status;
    memcpy(arena->rows, rows, count * sizeof *rows);
    arena->row_stride = 0;
    status = advance(arena, every_step, inputs, frames, ended, outputs, between, error);
    rnnrt_arena_return(arena);
    return status;
}

/* Copies `frames` frames of the `count` rows numbered `row` between an array of all rows and one of these
 * alone, side by side. */
static void move_rows(const struct rnnrt_kernels *kernels, const struct rnnrt_array *all, float *own,
                      const size_t *row, size_t count, size_t frames, size_t width, bool out) {
    for (size_t k = 0; k < count; k++, own += width)
        if (out) rnnrt_lay_frames(kernels, all, row[k], 0, frames, width, own, count * width);
        else rnnrt_take_frames(kernels, all, row[k], 0, frames, width, own, count * width);
}

/* One group of rows in phase, those numbered `row`, gathered from the arrays of all rows, and what they
 * answer laid back. */
static enum rnnrt_status push_group(const struct rnnrt_plan *plan, char *const *rows, const size_t *row,
                                    size_t count, size_t all, bool every_step,
                                    const struct rnnrt_array *inputs, const size_t *frames, bool ended,
                                    struct rnnrt_array *outputs, const size_t *room, size_t *made,
                                    struct rnnrt_between *between, struct rnnrt_error *error) {
    size_t width[RNNRT_PLAN_OUTPUTS], floats = 0, at = 0, input = 0, ports = plan->inputs + plan->outputs;
    struct rnnrt_array *own = rnnrt_take(&plan->memory, 1, ports * sizeof *own + count * sizeof *rows);
    if (!own) return RNNRT_NO_MEMORY;
    struct rnnrt_array *answers = own + plan->inputs;
    char **blocks = (char **)(void *)(own + ports);
    for (size_t k = 0; k < count; k++) blocks[k] = rows[row[k]];
    for (size_t r = 0; r < plan->count; r++) {
        const struct rnnrt_op *op = &plan->ops[r];
        if (op->desc.kind != rnnrt_kind_input) continue;
        size_t size = (size_t)op->desc.output_size, n = inputs && op->desc.timed ? inputs[input].frames : 0;
        own[input++] = (struct rnnrt_array){NULL, (ptrdiff_t)(size * count), (ptrdiff_t)size, n, 1};
        floats += n * size * count;
    }
    for (size_t o = 0; o < plan->outputs; o++) {
        width[o] = (size_t)plan->values[plan->output[o]].width;
        size_t due = rnnrt_row_due(plan, blocks[0], every_step, o, frames, ended);
        answers[o] = (struct rnnrt_array){NULL, (ptrdiff_t)(width[o] * count), (ptrdiff_t)width[o],
                                          rnnrt_smaller(due, room[o]), 1};
        floats += answers[o].frames * width[o] * count;
    }
    float *numbers = rnnrt_take(&plan->memory, floats + 1, sizeof *numbers);
    enum rnnrt_status status = numbers ? RNNRT_OK : RNNRT_NO_MEMORY;
    for (size_t i = 0; i < ports && numbers; i++) {
        own[i].data = numbers + at;
        at += own[i].frames * (size_t)own[i].time_stride;
        if (i < plan->inputs && own[i].frames)
            move_rows(plan->kernels, &inputs[i], own[i].data, row, count, own[i].frames,
                      (size_t)own[i].batch_stride, false);
    }
    if (!status)
        status = push_in_phase(plan, blocks, count, every_step, own, frames, ended, answers, between, error);
    for (size_t o = 0; o < plan->outputs && !status; o++) {
        move_rows(plan->kernels, &outputs[o], answers[o].data, row, count, answers[o].frames, width[o], true);
        for (size_t k = 0; k < count; k++) made[o * all + row[k]] = answers[o].frames;
        outputs[o].frames = rnnrt_larger(outputs[o].frames, answers[o].frames);
    }
    if (status == RNNRT_BAD_ID && error) error->batch_row = (int64_t)row[error->batch_row];
    rnnrt_give(&plan->memory, numbers);
    rnnrt_give(&plan->memory, own);
    return status;
}

enum rnnrt_status rnnrt_rows_push(const struct rnnrt_plan *plan, char *const *rows, size_t count,
                                  bool every_step, const struct rnnrt_array *inputs, bool ended,
                                  struct rnnrt_array *outputs, size_t *made, struct rnnrt_between *between,
                                  struct rnnrt_error *error) {
    if (error) *error = (struct rnnrt_error){.layer = -1};
    if (!plan->streams) return RNNRT_NOT_STREAMABLE;
    size_t frames[RNNRT_MAX_CLOCKS], room[RNNRT_PLAN_OUTPUTS], alike = 1;
    enum rnnrt_status status = frames_of(plan, inputs, frames, error);
    for (size_t b = 0; b < count && !status; b++)
        status = rnnrt_row_fits(plan, rows[b], every_step, frames, ended, error);
    if (status) return status;
    while (alike < count && in_phase(plan, rows[0], rows[alike])) alike++;
    if (alike >= count) {
        status = push_in_phase(plan, rows, count, every_step, inputs, frames, ended, outputs, between, error);
        for (size_t o = 0; o < plan->outputs && made && !status; o++)
            for (size_t b = 0; b < count; b++) made[o * count + b] = outputs[o].frames;
        return status;
    }
    if (!made) return RNNRT_OUT_OF_PHASE;
    size_t *group = rnnrt_take(&plan->memory, 2 * count, sizeof *group), rest = count;
    if (!group) return RNNRT_NO_MEMORY;
    size_t *left = group + count;
    for (size_t b = 0; b < count; b++) left[b] = b;
    for (size_t o = 0; o < plan->outputs; o++) room[o] = outputs[o].frames, outputs[o].frames = 0;
    while (rest && !status) { /* the first row left, and those in phase with it */
        size_t members = 0, others = 0, first = left[0];
        for (size_t k = 0; k < rest; k++)
            if (in_phase(plan, rows[first], rows[left[k]])) group[members++] = left[k];
            else left[others++] = left[k];
        rest = others;
        status = push_group(plan, rows, group, members, count, every_step, inputs, frames, ended, outputs,
                            room, made, between, error);
    }
    rnnrt_give(&plan->memory, group);
    return status;
}

/* ---- where it is ---- */

char *rnnrt_stream_row(const struct rnnrt_stream *stream, size_t b) { return row_of(stream, b); }
bool rnnrt_stream_ended(const struct rnnrt_stream *stream) { return stream->ended; }
void rnnrt_stream_end(struct rnnrt_stream *stream) { stream->ended = true; }

void rnnrt_stream_set_once(struct rnnrt_stream *stream, size_t input, const float *x) {
    for (size_t r = 0; r < stream->plan->count; r++) {
        const struct rnnrt_op *op = &stream->plan->ops[r];
        size_t width = (size_t)op->desc.output_size;
        if (op->desc.kind != rnnrt_kind_input || input--) continue;
        for (size_t b = 0; b < stream->batch && !op->desc.timed; b++)
            memcpy(row_of(stream, b) + op->state, x + b * width, width * sizeof *x);
        return;
    }
}

void rnnrt_stream_reset(struct rnnrt_stream *stream) {
    for (size_t b = 0; b < stream->batch; b++) rnnrt_row_begin(stream->plan, row_of(stream, b));
    stream->ended = false;
}

void rnnrt_stream_reset_row(struct rnnrt_stream *stream, size_t b) {
    rnnrt_row_begin(stream->plan, row_of(stream, b));
}

uint64_t rnnrt_row_position(const char *row, size_t clock) { return rnnrt_positions(row)[clock]; }

uint64_t rnnrt_stream_position(const struct rnnrt_stream *stream, size_t clock) {
    return rnnrt_row_position(row_of(stream, 0), clock);
}

uint64_t rnnrt_plan_phase(const struct rnnrt_plan *plan, uint64_t position) {
    return position < plan->warm || !plan->period ? position
                                                  : plan->warm + (position - plan->warm) % plan->period;
}

size_t rnnrt_row_due(const struct rnnrt_plan *plan, const char *row, bool every_step, size_t output,
                     const size_t *frames, bool ended) {
    size_t before[RNNRT_MAX_CLOCKS], after[RNNRT_MAX_CLOCKS], given = 0;
    const struct rnnrt_value *value = &plan->values[plan->output[output]];
    bool begun = false;
    for (size_t c = 0; c < plan->clocks; c++) {
        before[c] = (size_t)rnnrt_row_position(row, c);
        after[c] = before[c] + frames[c];
        uint64_t own = plan->ops[value->op].clocks; /* of one number, where there are several */
        if (!own) given += frames[c];
        else if (own >> c & 1) given = frames[c];
        begun |= after[c] > 0;
    }
    if (!begun) return 0;
    /* one answer a frame once there is one: at most */
    if (every_step && !value->timed) return given;
    return rnnrt_plan_count(plan, output, after, ended, every_step) -
           rnnrt_plan_count(plan, output, before, false, every_step);
}

size_t rnnrt_stream_due(const struct rnnrt_stream *stream, size_t output, const size_t *frames, bool ended) {
    return rnnrt_row_due(stream->plan, row_of(stream, 0), stream->every_step, output, frames, ended);
}
