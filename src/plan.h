/* Private to src/: what a plan and an op are made of, and what a layer has to provide.
 *
 * Words: a *value* is one output slot of a row; a *visit* is one call of an op with the frames that are ready
 * for it. */
#ifndef RNNRT_PLAN_H
#define RNNRT_PLAN_H

#include "kernels/kernels.h"
#include "rnnrt.h"

enum { RNNRT_SLOT_H = 1, RNNRT_SLOT_C = 2, RNNRT_SLOT_CELLS = 3 };
/* No size (bytes or floats) reaches this: products stop there, sums of a few such numbers do not wrap, and
 * nothing so large is allocated. */
#define RNNRT_MOST (SIZE_MAX / 16)

struct rnnrt_op;

/* What one visit of an op sees. Chunks are time-major: (frames, batch, width). */
struct rnnrt_visit {
    const struct rnnrt_kernels *kernels;
    size_t batch;
    size_t frames;                    /* new frames on every input */
    uint64_t start;                   /* frames of input 0 before these */
    bool final;                       /* no more will come */
    bool every_step;                  /* what is given once is given after every frame instead */
    const float *x[RNNRT_MAX_INPUTS]; /* initial states of recurrent ops: one frame, valid at every visit */
    float *y[RNNRT_MAX_OUTPUTS];      /* NULL where nobody reads the slot */
    size_t made[RNNRT_MAX_OUTPUTS];   /* frames written; 0 on entry */
    void *state;                      /* zeroed at reset, kept between visits */
    size_t ring;                      /* frames the ring of a windowed op holds */
    float *scratch;
    const int64_t *lengths;     /* (batch) true lengths, or NULL */
    struct rnnrt_stream *inner; /* time_distributed: the stream of the plan inside */
    struct rnnrt_error *error;
};

/* What an op needs in a stream of `batch` rows when at most `frames` come at a visit. */
struct rnnrt_sizes {
    size_t state;    /* bytes */
    size_t scratch;  /* floats */
    size_t capacity; /* frames of slot 0 a visit can make */
};

struct rnnrt_layer {
    /* Check the row against itself and pack its weights into memory of the plan. NULL: nothing to do. */
    enum rnnrt_status (*prepare)(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text);
    /* NULL: no state, no scratch, as many frames out as in. */
    void (*measure)(const struct rnnrt_op *op, size_t batch, size_t frames, struct rnnrt_sizes *sizes);
    /* Frames of slot 0 made once `frames` have come in all; `ended`: and no more will. NULL: one for one. */
    size_t (*due)(const struct rnnrt_op *op, size_t frames, bool ended);
    enum rnnrt_status (*run)(const struct rnnrt_op *op, struct rnnrt_visit *visit);
};

struct rnnrt_op {
    const struct rnnrt_layer *layer;
    struct rnnrt_row row; /* its array pointers are replaced by the packed or copied ones below */
    const float *weight, *recurrent, *projection; /* packed */
    const float *recurrent_n; /* gru without reset_after: Un, packed; `recurrent` holds Uz and Ur */
    const float *bias, *recurrent_bias, *gamma, *beta; /* copied */
    int32_t stage;                                     /* -1 for inputs */
    bool once;                                         /* depends on inputs given once alone */
    bool whole;                    /* runs once over its whole input, after the other ops of its stage */
    bool standard;                 /* recurrent: sigmoid gates, tanh, no norm: the fused epilogue applies */
    size_t lag[RNNRT_MAX_INPUTS];  /* frames input i may run ahead of the others by */
    size_t part[RNNRT_MAX_INPUTS]; /* concatenate: width of input i */
};

struct rnnrt_value {
    int32_t width; /* numbers in a frame; 0: the slot does not exist */
    bool used;     /* somebody reads it */
    bool full;     /* kept for its whole length */
    bool timed;
};

struct rnnrt_plan {
    const struct rnnrt_kernels *kernels;
    size_t count;
    struct rnnrt_op *ops;
    struct rnnrt_value *values; /* count * RNNRT_MAX_OUTPUTS */
    size_t inputs, outputs;
    int32_t *output; /* value numbers */
    int32_t stages;
    bool streams;
    size_t bytes;
    void **blocks; /* memory of rnnrt_plan_floats */
    size_t block_count;
    struct rnnrt_stream *idle[4]; /* arenas waiting for the next rnnrt_run; taken and left atomically */
};

/* A 64-byte aligned block of the plan's own, zeroed; NULL when there is no memory. */
float *rnnrt_plan_floats(struct rnnrt_plan *plan, size_t count);
/* A copy of `from`; NULL stays NULL and is no failure: check *status. */
const float *rnnrt_plan_copy(struct rnnrt_plan *plan, const float *from, size_t count,
                             enum rnnrt_status *status);
/* `weight` (outputs, terms), packed for products. */
const float *rnnrt_plan_pack(struct rnnrt_plan *plan, const float *weight, size_t outputs, size_t terms,
                             enum rnnrt_status *status);

/* Total frames of every value after `frames` frames of every timed input (where inputs of a plan that cannot
 * stream differ, one of fixed length ends with that many); total holds count * RNNRT_MAX_OUTPUTS numbers. */
void rnnrt_plan_totals(const struct rnnrt_plan *plan, size_t frames, bool ended, bool every_step,
                       size_t *total);

/* The frames one block holds: as wanted, or for 0 about four row tiles of a matrix product over all batch
 * rows. */
size_t rnnrt_block(size_t wanted, size_t batch);

/* 64-byte aligned and zeroed; NULL when there is no memory, or more is asked for than the machine has. */
void *rnnrt_aligned(size_t bytes);
void rnnrt_stream_discard(struct rnnrt_stream *stream);
/* Runs `stream` from a fresh state over whole inputs (see rnnrt_run). */
enum rnnrt_status rnnrt_stream_whole(struct rnnrt_stream *stream, const struct rnnrt_array *inputs,
                                     struct rnnrt_array *outputs, const int64_t *lengths,
                                     const struct rnnrt_state_value *initial, size_t initial_count,
                                     const struct rnnrt_state_value *final, size_t final_count,
                                     struct rnnrt_error *error);

static inline bool rnnrt_recurrent(int32_t kind) {
    return kind == rnnrt_kind_rnn || kind == rnnrt_kind_gru || kind == rnnrt_kind_lstm;
}
/* Whether an op needs its inputs frame by frame side by side. */
static inline bool rnnrt_joins(const struct rnnrt_op *op) {
    return op->row.inputs > 1 && !rnnrt_recurrent(op->row.kind);
}
/* a b, or RNNRT_MOST. */
static inline size_t rnnrt_times(size_t a, size_t b) { return b && a > RNNRT_MOST / b ? RNNRT_MOST : a * b; }
static inline size_t rnnrt_smaller(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t rnnrt_larger(size_t a, size_t b) { return a > b ? a : b; }

#define RNNRT_LAYER(word) extern const struct rnnrt_layer rnnrt_layer_##word;
RNNRT_LAYERS(RNNRT_LAYER)
#undef RNNRT_LAYER

#endif
