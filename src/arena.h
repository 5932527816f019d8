/* Private to src/: the memory a call works in, and the ops at work on a group of batch rows.
 *
 * An arena belongs to a call for as long as it lasts and keeps nothing that a later call needs: what survives
 * stands in the blocks of the rows (see plan.h). Idle arenas wait in the plan. */
#ifndef RNNRT_ARENA_H
#define RNNRT_ARENA_H

#include "plan.h"
#include "share.h"

struct op_place {
    float *scratch;
    float *y;                               /* slot 0, or NULL: nobody reads it */
    struct value_place *in, *out;           /* input 0, and slot 0 */
    uint64_t gone;                          /* frames gone through, of whatever stream */
    size_t own;                             /* `scratch` as an offset (floats) into `work` */
    size_t joined[RNNRT_MAX_INPUTS];        /* likewise: where waiting and new frames are put side by side */
    const float *initial[RNNRT_MAX_INPUTS]; /* whole runs: states given in place of what these inputs say */
    size_t frames;                          /* most frames at a invocation */
    float *lengthy;                         /* whole runs: scratch that is as long as the inputs, or NULL */
};

struct value_place {
    size_t work;     /* offset (floats) into `work` */
    size_t capacity; /* frames */
    float *data;     /* this invocation's frames */
    size_t fresh;    /* how many */
    float *whole;    /* the full-length buffer of values that have one */
    size_t total;    /* its frames */
};

struct rnnrt_arena {
    const struct rnnrt_plan *plan;
    const struct rnnrt_kernels *kernels; /* the plan's, or with products that a team shares */
    size_t count;                        /* ops; the plan may be gone when an arena without a place goes */
    int32_t home;                        /* its place among the plan's idle ones, or -1 */
    size_t batch, block;
    bool every_step;
    uint64_t moving;              /* bits: the clocks whose frames a round takes */
    bool live;                    /* no full-length buffers of an earlier whole run are attached */
    struct rnnrt_pulse *pulse;    /* of the call at work, or NULL */
    struct rnnrt_array *straight; /* its output, where an op may write it as it goes, or NULL */
    size_t straight_room;         /* frames it can take in all */
    char **rows;                  /* (batch) the blocks this call works on */
    size_t row_stride;            /* bytes from one to the next; 0: they lie anywhere */
    size_t row_room; /* bytes of it: it never shrinks, so that a smaller batch cannot want memory */
    float *work;
    size_t work_floats;
    float *whole; /* full-length buffers of whole runs */
    size_t whole_floats;
    char *blocks; /* the rows of whole runs, whose state ends with the call */
    size_t block_bytes;
    struct op_place *ops;
    struct value_place *values;
    size_t *total;              /* room for rnnrt_plan_totals */
    size_t *rooms;              /* (plan->rooms) offsets (floats) into `work`; sizes while it is laid out */
    struct rnnrt_arena **inner; /* of the plans inside */
    bool has_inner;
    bool placed; /* it lies in one piece in memory of another's, is never fitted anew, and nothing of it is
                    freed */
};

static inline size_t rnnrt_round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

/* An arena for `batch` rows and blocks of `block` frames: an idle one of the plan, fitted, or a new one. */
enum rnnrt_status rnnrt_arena_borrow(const struct rnnrt_plan *plan, size_t batch, size_t block,
                                     struct rnnrt_arena **arena);
/* The same where one waits at place 0 that fits, as it does in a step; NULL otherwise. */
static inline struct rnnrt_arena *rnnrt_arena_waiting(const struct rnnrt_plan *plan, size_t batch,
                                                      size_t block) {
    struct rnnrt_idle *place = &((struct rnnrt_plan *)plan)->idle[0];
    if (!__atomic_load_n(&place->arena, __ATOMIC_RELAXED) ||
        __atomic_exchange_n(&place->taken, true, __ATOMIC_ACQUIRE))
        return NULL;
    if (place->arena && place->arena->batch == batch && place->arena->block == block) return place->arena;
    __atomic_store_n(&place->taken, false, __ATOMIC_RELEASE);
    return NULL;
}
/* Leaves it at its place after a call that cannot have changed its size. */
static inline void rnnrt_arena_leave(struct rnnrt_arena *arena) {
    __atomic_store_n(&((struct rnnrt_plan *)arena->plan)->idle[arena->home].taken, false, __ATOMIC_RELEASE);
}
/* Any idle arena of the plan, fitted to nothing, or a bare one; NULL when there is no memory. */
struct rnnrt_arena *rnnrt_arena_take(const struct rnnrt_plan *plan);
/* Leaves it to the next call, or frees it where enough are idle. */
void rnnrt_arena_return(struct rnnrt_arena *arena);
/* Takes it from the plan for good: it belongs to whoever frees it. */
void rnnrt_arena_keep(struct rnnrt_arena *arena);
void rnnrt_arena_free(struct rnnrt_arena *arena);
/* Bytes of an arena in one piece, and the arena in that many, at a multiple of 64; RNNRT_NO_MEMORY where
 * there are less. */
enum rnnrt_status rnnrt_arena_size(const struct rnnrt_plan *plan, size_t batch, size_t block, size_t *bytes);
enum rnnrt_status rnnrt_arena_place(void *memory, size_t bytes, const struct rnnrt_plan *plan, size_t batch,
                                    size_t block, struct rnnrt_arena **arena);
/* Of `count` rows that take a step, so many at a time, as many each time but for the last; `even`: as many
 * each time, so that no arena is fitted anew. What a slice touches again from layer to layer stays near the
 * processor. */
size_t rnnrt_slice(const struct rnnrt_plan *plan, size_t count, bool even);
/* Rows of the arena's own for a run whose state ends with it. */
enum rnnrt_status rnnrt_arena_own_rows(struct rnnrt_arena *arena);
/* Full-length buffers for inputs of frames[c] frames. */
enum rnnrt_status rnnrt_arena_whole(struct rnnrt_arena *arena, const size_t *frames);

/* A new sequence for one row; inputs given once stay. */
void rnnrt_row_begin(const struct rnnrt_plan *plan, char *row);

/* ---- ops at work (execute.c) ---- */

/* Takes what is ready through op r. */
enum rnnrt_status rnnrt_invoke(struct rnnrt_arena *arena, size_t r, const int64_t *lengths,
                               struct rnnrt_error *error);
/* Frames start .. start + count - 1 of batch row `row` of an array copied to others `to_stride` floats apart
 * whose numbers lie side by side, and from these (frames.c). */
void rnnrt_take_frames(const struct rnnrt_kernels *kernels, const struct rnnrt_array *array, size_t row,
                       size_t start, size_t count, size_t width, float *to, size_t to_stride);
void rnnrt_lay_frames(const struct rnnrt_kernels *kernels, const struct rnnrt_array *array, size_t row,
                      size_t start, size_t count, size_t width, const float *from, size_t from_stride);
/* Frames start .. start + count - 1 of a strided array as a chunk: where it lies if it is one already, copied
 * to `to` otherwise. */
const float *rnnrt_read_frames(const struct rnnrt_arena *arena, const struct rnnrt_array *array, size_t start,
                               size_t count, size_t width, float *to);
/* Whether the one output may be written where it is to go: it is a chunk that shares no memory with an input,
 * which would be written over before it is read. */
bool rnnrt_is_apart(const struct rnnrt_arena *arena, const struct rnnrt_array *inputs,
                    const struct rnnrt_array *output);
/* Begins a call: no frames are in the outputs yet, and `room` is what each can take. */
static inline void rnnrt_open_outputs(struct rnnrt_arena *arena, const struct rnnrt_array *inputs,
                                      struct rnnrt_array *outputs, size_t *room) {
    enum { WORTH_IT = 256 }; /* floats: fewer are copied sooner than this is known */
    size_t floats = outputs->frames * arena->batch * arena->plan->straight;
    arena->straight = floats >= WORTH_IT && rnnrt_is_apart(arena, inputs, outputs) ? outputs : NULL;
    arena->straight_room = outputs->frames;
    for (size_t o = 0; o < arena->plan->outputs; o++) {
        room[o] = outputs[o].frames;
        outputs[o].frames = 0;
    }
}
/* Appends this round's frames of every output; `room`: frames each can take in all. */
enum rnnrt_status rnnrt_write_outputs(struct rnnrt_arena *arena, struct rnnrt_array *outputs,
                                      const size_t *room, struct rnnrt_error *error);
/* `count` new frames of every input of the clocks arena->moving, or with `ended` their end, through the ops
 * of a plan that streams. */
enum rnnrt_status rnnrt_round(struct rnnrt_arena *arena, const struct rnnrt_array *inputs, size_t start,
                              size_t count, bool ended, struct rnnrt_array *outputs, const size_t *room,
                              struct rnnrt_error *error);

/* The same for one frame of one row through a plan that is `prompt`, which has not ended, and without a
 * pulse: a step of a small network is mostly what it costs to ask. `y`: room for one frame. */
enum rnnrt_status rnnrt_prompt_round(struct rnnrt_arena *arena, const float *x, float *y, size_t *made,
                                     struct rnnrt_error *error);

/* A whole batch of inputs (run.c). */
struct rnnrt_call {
    const struct rnnrt_array *inputs;
    struct rnnrt_array *outputs;
    const int64_t *lengths;
    const struct rnnrt_state_value *initial, *final;
    size_t initial_count, final_count;
};
/* It goes through the arena's own rows; `sharing`: with a team, or NULL. */
enum rnnrt_status rnnrt_run_rows(struct rnnrt_arena *arena, const struct rnnrt_call *call,
                                 struct rnnrt_sharing *sharing, struct rnnrt_pulse *pulse,
                                 struct rnnrt_error *error);
/* The same for the plan inside an op, which has one input and one output. */
enum rnnrt_status rnnrt_run_inner(struct rnnrt_arena *arena, const struct rnnrt_array *inputs,
                                  struct rnnrt_array *outputs, struct rnnrt_pulse *pulse,
                                  struct rnnrt_error *error);

#endif
