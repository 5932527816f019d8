/* Private to src/: what a plan and an op are made of, and what a layer has to provide.
 *
 * Words: a *value* is one output slot of a row; a *call* is one call of an op with the frames that are ready
 * for it. */
#ifndef RNNRT_PLAN_H
#define RNNRT_PLAN_H

#include "kernels/kernels.h"
#include "memory.h"
#include "rnnrt.h"

enum { RNNRT_SLOT_H = 1, RNNRT_SLOT_C = 2, RNNRT_SLOT_CELLS = 3 };
enum { RNNRT_IDLE_ARENAS = 4, RNNRT_IDLE_BYTES = 32 << 20 };
/* No size (bytes or floats) reaches this: products stop there, sums of a few such numbers do not wrap, and
 * nothing so large is allocated. */
#define RNNRT_MOST (SIZE_MAX / 16)

struct rnnrt_op;
struct rnnrt_arena;

/* The caller's question of a long call (rnnrt_between), and the floating-point mode it is asked in. */
struct rnnrt_pulse {
    struct rnnrt_between *between;
    uint64_t mode;
};
#define RNNRT_ASK_AFTER 1e7 /* multiply-adds: a piece of work between two questions may be as much again */
bool rnnrt_ask(struct rnnrt_pulse *pulse);
/* Rows of a matrix product between two questions: many enough that cutting it costs nothing. */
static inline size_t rnnrt_piece(double work) {
    return work * 64 < RNNRT_ASK_AFTER ? (size_t)(RNNRT_ASK_AFTER / (work < 1 ? 1 : work)) : 64;
}
/* Counts work that was done; whether the call is to end now. `pulse` may be NULL. */
static inline bool rnnrt_worked(struct rnnrt_pulse *pulse, double work) {
    if (!pulse) return false;
    pulse->between->done += work;
    return pulse->between->done - pulse->between->asked >= RNNRT_ASK_AFTER && rnnrt_ask(pulse);
}

/* What one invocation of an op sees. Chunks are time-major: (frames, batch, width). The batch rows have all
 * got as many frames of every value since this invocation's first as one another, but may have begun at
 * different times: what an op keeps between invocations stands in a block of bytes per row, at op->state. */
struct rnnrt_invocation {
    const struct rnnrt_kernels *kernels;
    size_t batch;
    size_t frames;     /* new frames on every input */
    uint64_t start;    /* frames of input 0 that row 0 had seen before these */
    uint64_t gone;     /* and that there were before these, of whatever stream, in the same memory */
    char *const *rows; /* the state of each batch row; NULL in the step of a scan */
    size_t row_stride; /* bytes from one to the next; 0: they lie anywhere */
    bool final;        /* no more will come */
    bool every_step;   /* what is given once is given after every frame instead */
    const float
        *x[RNNRT_MAX_INPUTS];    /* initial states of recurrent ops: one frame, valid at every invocation */
    float *y[RNNRT_MAX_OUTPUTS]; /* NULL where nobody reads the slot; like x, not for the op to change */
    size_t made[RNNRT_MAX_OUTPUTS]; /* frames written; 0 on entry */
    float *scratch;
    const size_t *ready;       /* frames of every input that there are: of a layer that reads some whole */
    const int64_t *lengths;    /* (batch) true lengths, or NULL */
    struct rnnrt_pulse *pulse; /* or NULL */
    struct rnnrt_arena *inner; /* time_distributed: where the plan inside runs, by run_inner */
    enum rnnrt_status (*run_inner)(struct rnnrt_arena *arena, const struct rnnrt_array *inputs,
                                   struct rnnrt_array *outputs, struct rnnrt_pulse *pulse,
                                   struct rnnrt_error *error);
    struct rnnrt_error *error;
};

/* What an op needs to work on `batch` rows when at most `frames` come at a call. */
struct rnnrt_sizes {
    size_t scratch;  /* floats */
    size_t capacity; /* frames of slot 0 a invocation can make */
};

/* One array an op keeps for every batch row. Windows are rings in memory and stand in order, oldest first,
 * where they are read and written as arrays. */
struct rnnrt_kept {
    const char *word; /* "h", "c", "window", "sum", ... */
    size_t frames, width;
    bool wide; /* float64 */
    bool own;  /* begins at zero whatever the row's `start`: it is not a state */
};
enum { RNNRT_MOST_KEPT = RNNRT_MAX_OUTPUTS };

/* How the frames of slot 0 run over time against those of input 0. */
enum rnnrt_time {
    RNNRT_TIME_KEPT,   /* over time where the input does, else given once */
    RNNRT_TIME_NEEDED, /* over time both */
    RNNRT_TIME_ENDS,   /* given once, of an input over time */
    RNNRT_TIME_BEGINS, /* over time, of an input given once */
};

/* How many frames of slot 0 there are for n > 0 frames of input 0 while more may come: (up n + offset) /
 * down, or none where that is less. */
struct rnnrt_rate {
    int64_t up, down, offset;
    int64_t warm; /* frames of input 0 after which no frame out reaches beyond the first one in */
    bool tail;    /* its last frames come only when no more do */
};

struct rnnrt_layer_class {
    enum rnnrt_time time;
    /* Check the row against itself and pack its weights into memory of the plan. NULL: nothing to do. */
    enum rnnrt_status (*prepare)(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text);
    /* What is kept for every row: how many arrays were written to `kept`, which stand one after the other at
     * op->state, the float64 ones aligned. NULL: nothing. */
    size_t (*keeps)(const struct rnnrt_op *op, struct rnnrt_kept *kept);
    /* NULL: no scratch, as many frames out as in. */
    void (*measure)(const struct rnnrt_op *op, size_t batch, size_t frames, struct rnnrt_sizes *sizes);
    /* Scratch of an op that runs whole and whose need of it grows with the frames of its inputs, in floats;
     * `total`: frames of every value. NULL: there is none but that of `measure`. */
    size_t (*lengthy)(const struct rnnrt_op *op, const struct rnnrt_kernels *kernels, const size_t *total);
    /* Frames of slot 0 made once `frames` have come in all; `ended`: and no more will. NULL: one for one. */
    size_t (*due)(const struct rnnrt_op *op, size_t frames, bool ended);
    /* The same as a line, where there is one. NULL: none but that of one for one. */
    void (*rate)(const struct rnnrt_op *op, struct rnnrt_rate *rate);
    enum rnnrt_status (*run)(const struct rnnrt_op *op, struct rnnrt_invocation *call);
    /* Multiply-adds behind one frame of input 0, for one batch row. NULL: a few for every number. */
    double (*work)(const struct rnnrt_op *op);
    bool asks;   /* run counts its work while it goes on (rnnrt_worked) */
    bool ring;   /* what it keeps is a ring of frames, and is not read before it is written */
    bool uneven; /* rings: rows that have kept different numbers of frames may run together */
};

struct rnnrt_op {
    const struct rnnrt_layer_class *layer;
    struct rnnrt_layer_desc desc; /* its array pointers are replaced by the packed or copied ones below; its
                             mask stands among its inputs */
    int32_t mask;        /* the number of that input: 1, after the frames and before where states start; 0: it
                            has none */
    size_t value, slots; /* its values are value .. value + slots - 1 */
    size_t shown;        /* no slot from this one on is read by anybody */
    const struct rnnrt_matrix *weight, *recurrent, *projection; /* packed; convolutions: one weight a group */
    const struct rnnrt_matrix *recurrent_n; /* gru without reset_after: Un; `recurrent` holds Uz and Ur */
    const struct rnnrt_matrix *steps; /* recurrent: U for the kernels that go from step to step, or NULL: they
                                         do not; */
    size_t groups;                    /* and how many groups of units it stands in */
    const float *table; /* copied: embedding (id, number); depthwise convolution (tap, channel) */
    const float *bias, *recurrent_bias, *gamma, *beta, *mean; /* copied */
    const struct rnnrt_scan *scan;                            /* scan: how its step is run */
    size_t record, state; /* where the op's record and what it keeps stand in the block of a row */
    size_t waiting[RNNRT_MAX_INPUTS]; /* joins: where it says there how many frames of input i wait, */
    size_t queue[RNNRT_MAX_INPUTS];   /* and where they do; 0: none ever does */
    const float *start;               /* copied: what the kept arrays begin with, one frame each, or NULL */
    size_t block, start_block;        /* the first block of its weights, and that of `start` */
    int32_t stage;                    /* -1 for inputs */
    int32_t leader;                   /* the input layer that leads the clock of its frames, or -1 */
    uint64_t clocks; /* bits: those whose frames it goes through; 0: it depends on inputs given once alone */
    bool late;       /* in a stream: slot 0 comes when the sequence is over */
    bool once;       /* depends on inputs given once alone */
    bool whole;      /* runs once over its whole input, after the other ops of its stage */
    bool apart;      /* the inputs it joins drift apart, or one comes only at the end */
    bool standard;   /* recurrent: sigmoid gates, tanh, no norm: the fused epilogue applies */
    bool joins;      /* it needs its inputs frame by frame side by side */
    bool straight;   /* slot 0 is the only output, and has a frame for every one of input 0 */
    bool plain;      /* it has one input, whose frames come as they are made */
    bool abreast;    /* it joins inputs whose frames come as they are made, all at once */
    bool from_whole[RNNRT_MAX_INPUTS]; /* input i comes from a full-length buffer */
    int32_t counted;                   /* inputs whose frames it goes through: the others are there at once */
    size_t lag[RNNRT_MAX_INPUTS];      /* frames input i may run ahead of the others by */
    size_t part[RNNRT_MAX_INPUTS];     /* concatenate: width of input i */
    double work;                       /* multiply-adds behind one frame of input 0, one batch row */
    double rate, few;                  /* about rate * n + few frames of slot 0 for n input frames */
};

struct rnnrt_value {
    int32_t width; /* numbers in a frame */
    int32_t op;    /* that makes it, */
    size_t record; /* and where that has its record */
    bool used;     /* somebody reads it */
    bool full;     /* kept for its whole length */
    bool backward; /* an rnn, gru or lstm reads it from the last frame to the first */
    bool timed;
    size_t room; /* of an arena, in which its chunks lie; where `used` */
};

/* Numbers of 4 bytes that may be read while a plan is made, and how many were. */
struct rnnrt_lent {
    const void *from;
    size_t count, read;
};

/* A number that a loaded plan knows by name. */
struct rnnrt_fact {
    const char *name;
    double value;
};

/* A place where an arena waits for the next call, and which stays its own while the call goes on. */
struct rnnrt_idle {
    struct rnnrt_arena *arena; /* or NULL; changed by who has taken the place */
    size_t bytes;              /* of it, as idle_bytes counts them */
    bool taken;                /* changed atomically */
};

struct rnnrt_plan {
    struct rnnrt_allocator memory; /* what all of it is taken from, but for weights of a family */
    const struct rnnrt_kernels *kernels;
    size_t count;
    struct rnnrt_op *ops;
    struct rnnrt_value *values;
    size_t value_count;
    size_t rooms; /* of an arena, that values lie in one after the other */
    size_t inputs, outputs;
    int32_t *output; /* value numbers */
    int32_t stages;
    bool streams;
    size_t clocks;
    int32_t *input_clock;            /* by input: its clock, or -1 */
    size_t length[RNNRT_MAX_CLOCKS]; /* frames that a plan which streams fixes for a clock, else 0 */
    bool fixed;                      /* it does for some clock */
    double work_frame, work_once;    /* multiply-adds for a row: for every frame, and besides */
    double work_step;                /* for one frame, of the rnn, gru or lstm that has most */
    double most_numbers;             /* that an op makes of a frame of the input, for a row */
    size_t threads;                  /* see rnnrt_plan_threads; 0 as 1 */
    struct rnnrt_weights *weights;
    size_t next_block;       /* while the plan is made: the block of a family that is handed out next */
    bool filled;             /* they are a family's: what is handed out is there already */
    bool misfit;             /* and it has no such block */
    struct rnnrt_lent *lent; /* while the plan is made of a stranger's arrays: all of them, by their place;
                                the last lies anywhere. NULL: the caller answers for them */
    size_t lent_count;
    bool beyond;         /* more than these was wanted */
    size_t row_bytes;    /* of the state of one batch row: first what is zeroed when a sequence begins, */
    size_t zeroed_bytes; /* then inputs given once, windows and queues, which are not read before written */
    bool once_inputs;    /* some input is given once */
    bool prompt;     /* one input, one output, and no op waits for anything but the frame of this moment */
    size_t straight; /* numbers in a frame of the output, where its op may write it as it goes, or 0 */
    bool starts;     /* some op begins with other values than zero */
    uint64_t warm, period; /* rows at these positions and one period later are in phase; period 0: never */
    struct rnnrt_idle idle[RNNRT_IDLE_ARENAS];
    size_t idle_bytes; /* of the arenas that have a place, changed atomically */
    /* Of a loaded plan, else NULL: */
    char *text;         /* its strings */
    const char **names; /* of its layers, then of its outputs */
    struct rnnrt_fact *facts;
    size_t fact_count;
    struct rnnrt_plan **inside; /* plans of its layers, and of theirs */
    size_t inside_count;
    struct rnnrt_watch *watches; /* of a watched plan (profile.c), else NULL */
};

/* As rnnrt_plan_create, where nothing but the `lent` arrays may be read: ordered by their place, but for the
 * last, which lies anywhere. NULL: the caller answers for the arrays. `memory`: NULL for that of the family,
 * or malloc. */
enum rnnrt_status rnnrt_plan_make(struct rnnrt_plan **plan, const struct rnnrt_layer_desc *layers,
                                  size_t count, const int32_t *outputs, size_t output_count, const char *isa,
                                  const struct rnnrt_plan *family, struct rnnrt_lent *lent, size_t lent_count,
                                  const struct rnnrt_allocator *memory, struct rnnrt_error *error);
/* Whether `count` numbers at `from` may be read; asked wherever an array of a descriptor is. */
bool rnnrt_plan_may_read(struct rnnrt_plan *plan, const void *from, size_t count);

/* Packed and copied arrays: of one plan, or of a family that asks for those of a layer in the same order. */
struct rnnrt_weights {
    size_t plans; /* that hold it; counted atomically */
    size_t bytes, count, room;
    struct rnnrt_allocator memory;
    struct rnnrt_weights_block {
        float *data;
        size_t size; /* floats */
    } *blocks;
};

/* A 64-byte aligned block of the plan's own, zeroed, to be filled unless plan->filled; NULL when there is no
 * memory, or the family has no such block. */
float *rnnrt_plan_floats(struct rnnrt_plan *plan, size_t count);
/* A copy of `from`; NULL stays NULL and is not a failure: check *status. */
const float *rnnrt_plan_copy(struct rnnrt_plan *plan, const float *from, size_t count,
                             enum rnnrt_status *status);
/* `count` matrices of weight (count, outputs, depth), packed. */
const struct rnnrt_matrix *rnnrt_plan_pack(struct rnnrt_plan *plan, const float *weight, size_t count,
                                           size_t outputs, size_t depth, enum rnnrt_status *status);
/* The same of a weight that prepare itself has made. */
const struct rnnrt_matrix *rnnrt_plan_pack_made(struct rnnrt_plan *plan, const float *weight, size_t count,
                                                size_t outputs, size_t depth, enum rnnrt_status *status);
/* One plan less holds them; the last one frees them. */
void rnnrt_weights_release(struct rnnrt_weights *weights);

static inline size_t rnnrt_op_due(const struct rnnrt_op *op, size_t frames, bool ended) {
    return op->layer->due ? op->layer->due(op, frames, ended) : frames;
}
static inline struct rnnrt_rate rnnrt_rate_of(const struct rnnrt_op *op) {
    struct rnnrt_rate rate = {.up = 1, .down = 1};
    if (op->layer->rate) op->layer->rate(op, &rate);
    return rate;
}

/* When the checked ops of a plan run, and what they wait for. */
enum rnnrt_status rnnrt_schedule(struct rnnrt_plan *plan);
/* Gives every value its room: in none are two at a time. */
enum rnnrt_status rnnrt_share_rooms(struct rnnrt_plan *plan);
/* How many frames wait at each input of a join (op->lag), or that no number is enough (op->apart). */
enum rnnrt_status rnnrt_count_lags(struct rnnrt_plan *plan);
/* Total frames of every value after frames[c] frames of the inputs of every clock (where those of a plan that
 * cannot stream differ, one of fixed length ends with that many); total holds value_count numbers. */
void rnnrt_plan_totals(const struct rnnrt_plan *plan, const size_t *frames, bool ended, bool every_step,
                       size_t *total);

/* The frames one block holds for all batch rows: as wanted, or for 0 as many as chunks of the widest value
 * fit a cache, but some tiles of a matrix product. */
size_t rnnrt_block(const struct rnnrt_plan *plan, size_t wanted, size_t batch);
/* The same where the memory is a stream's own, or that of a plan inside another: fewer. */
size_t rnnrt_own_block(const struct rnnrt_plan *plan, size_t wanted, size_t batch);

/* Total frames of one output, as rnnrt_plan_totals counts them; allocates only where no arena is idle. */
size_t rnnrt_plan_count(const struct rnnrt_plan *plan, size_t output, const size_t *frames, bool ended,
                        bool every_step);
/* Where a row keeps the h (slot 1) or c (slot 2) of a recurrent op, or NULL. */
float *rnnrt_row_state(const struct rnnrt_plan *plan, char *row, int32_t value);

/* The beginning of a row's block: frames of every clock since the sequence began. */
static inline uint64_t *rnnrt_positions(const char *row) { return (uint64_t *)(void *)row; }
/* Whether a row has had any frame. */
static inline bool rnnrt_begun(const struct rnnrt_plan *plan, const uint64_t *position) {
    uint64_t any = position[0];
    for (size_t c = 1; c < plan->clocks; c++) any |= position[c];
    return any != 0;
}
/* What is kept per op and row; at op->record. */
struct rnnrt_record {
    uint64_t consumed; /* frames of its inputs it has seen */
    uint64_t done;     /* its final invocation is over */
};
static inline struct rnnrt_record *rnnrt_record_of(const struct rnnrt_op *op, char *row) {
    return (struct rnnrt_record *)(void *)(row + op->record);
}
/* Frames of input 0 that row b had seen before this call. */
static inline uint64_t rnnrt_start(const struct rnnrt_op *op, const struct rnnrt_invocation *call, size_t b) {
    return rnnrt_record_of(op, call->rows[b])->consumed;
}
/* What the op keeps for row b. */
static inline void *rnnrt_kept_of(const struct rnnrt_op *op, const struct rnnrt_invocation *call, size_t b) {
    return call->rows[b] + op->state;
}

/* Whether a row keeps states that have names: its inputs after the first are there before it begins. */
static inline bool rnnrt_recurrent(int32_t kind) {
    return kind == rnnrt_kind_rnn || kind == rnnrt_kind_gru || kind == rnnrt_kind_lstm ||
           kind == rnnrt_kind_scan;
}
/* Rows that each batch row is to a cell: one, or the bins of its frames, which share the weights and keep
 * states of their own. Frames lie bin after bin, so the bins of a batch are the rows of a wider one. */
static inline size_t rnnrt_bins(const struct rnnrt_op *op) {
    return op->desc.bins > 1 ? (size_t)op->desc.bins : 1;
}
/* Whether what it reads after its first inputs is given once, and there before it begins. */
static inline bool rnnrt_reads_once(int32_t kind) {
    return rnnrt_recurrent(kind) || kind == rnnrt_kind_expand;
}
/* Whether all it reads after its first input is whole sequences, which have a length of their own. */
static inline bool rnnrt_reads_whole(int32_t kind) { return kind == rnnrt_kind_attention; }
/* The input that the state of slot `slot` of a scan starts at, or -1. */
int32_t rnnrt_scan_start(const struct rnnrt_op *op, size_t slot);
/* The first mask of the invocation's frame t, one a batch row; NULL: nothing is masked. */
static inline const float *rnnrt_mask_at(const struct rnnrt_op *op, const struct rnnrt_invocation *call,
                                         size_t t) {
    return op->mask ? call->x[op->mask] + t * call->batch : NULL;
}
/* a b, or RNNRT_MOST. */
static inline size_t rnnrt_times(size_t a, size_t b) { return b && a > RNNRT_MOST / b ? RNNRT_MOST : a * b; }
static inline size_t rnnrt_larger(size_t a, size_t b) { return a > b ? a : b; }

#define RNNRT_LAYER(word) extern const struct rnnrt_layer_class rnnrt_layer_##word;
RNNRT_LAYERS(RNNRT_LAYER)
#undef RNNRT_LAYER

#endif
