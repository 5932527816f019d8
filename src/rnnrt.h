/* The C interface of rnnrt: a plan from a .rnnrt file or from layer descriptors, a stream from a plan, frames
 * through a stream.
 *
 * A *layer descriptor* says in plain C what one layer is; they stand in an order they can run in and name
 * their inputs by value number. A *plan* is the checked, packed, immutable form of all layers; any number of
 * threads may share it. A *stream* is the state of one batch of sequences; one thread at a time may use it.
 * Frames are rows of float32; a chunk is time-major: (frames, batch, width).
 *
 * Threads: a plan never changes, and all calls that take a `const struct rnnrt_plan *` may run on it at once;
 * of one stream one call at a time. rnnrt_plan_free comes after every stream of the plan is gone.
 * rnnrt_run works on the thread that calls it, and on more where rnnrt_plan_threads says so.
 * Memory: load, create and rnnrt_run allocate, from malloc or from an allocator of the caller's. step, push
 * and flush allocate only where more threads are inside the plan at once than ever before; of a stream that
 * is `realtime` or in the caller's memory they allocate nothing, take no lock and make no system call. Every
 * call leaves the floating-point mode as it was; inside, denormal numbers count as zero in arithmetic. No
 * call writes to stdout or stderr, ends the process, or throws; every status has a text. Floats are those of
 * the machine, which is little-endian for files. */
#ifndef RNNRT_H
#define RNNRT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef RNNRT_EXPORTS /* the shared library is being built: these names are what it shows */
#pragma GCC visibility push(default)
#endif
#ifdef __cplusplus
extern "C" {
#endif

enum rnnrt_status {
    RNNRT_OK = 0,
    RNNRT_NO_MEMORY = -1,
    RNNRT_BAD_LAYER = -2,      /* a layer is impossible: error.layer, error.text */
    RNNRT_NO_ISA = -3,         /* the instruction set asked for is unknown, or this processor lacks it */
    RNNRT_BAD_ID = -4,         /* an embedding id is out of range: error.layer, error.position */
    RNNRT_MISALIGNED = -5,     /* branches that join ended at different lengths: error.layer */
    RNNRT_TOO_SHORT = -6,      /* the whole input ended before a layer could answer: error.layer */
    RNNRT_NOT_STREAMABLE = -7, /* the plan needs its whole input first: error.layer */
    RNNRT_ENDED = -8,     /* the stream was flushed, or a call on it failed half-way: only reset is legal */
    RNNRT_BAD_STATE = -9, /* bytes that no stream of this kind gave */
    RNNRT_WRONG_LENGTH = -10, /* an input of fixed length would end with error.value frames in place of
                                 error.position; nothing changed: error.layer */
    RNNRT_CANCELLED = -11,    /* rnnrt_between said so: a stream has ended, outputs are unspecified */
    RNNRT_OUT_OF_PHASE = -12, /* rows that began at different times: see rnnrt_rows_push; nothing changed */
    RNNRT_NO_FILE = -13,      /* the file cannot be read: error.text, error.position: errno, or 0 */
    RNNRT_BAD_FILE = -14,     /* not a .rnnrt file, or a damaged one: error.text */
    RNNRT_OLD_FILE = -15,     /* a .rnnrt file without what C needs: rnnrt convert old.rnnrt -o new.rnnrt */
    RNNRT_NEWER_FILE = -16,   /* a newer rnnrt wrote it: error.text, error.name: what is not known here */
    RNNRT_NEEDS_LENGTH = -17, /* the padding of layer error.name depends on the length of the input */
};

struct rnnrt_error {
    int32_t layer;    /* it happened in, or -1 */
    int64_t position; /* e.g. the frame of a bad id */
    int64_t batch_row;
    double value;     /* e.g. the bad id */
    const char *text; /* a fixed sentence part, or NULL */
    char name[48];    /* what of a file the text is about: a layer, a word; as far as it fits */
};

/* The functions: each constant, and the word the graph spells it with. */
/* clang-format off */
#define RNNRT_FUNCTION_LIST(X) \
    X(LINEAR, linear) X(RELU, relu) X(LEAKY_RELU, leaky_relu) X(CLIPPED_RELU, clipped_relu) \
    X(TANH, tanh) X(SIGMOID, sigmoid) X(HARD_SIGMOID, hard_sigmoid) \
    X(HARD_SIGMOID_KERAS2, hard_sigmoid_keras2) X(HARD_TANH, hard_tanh) \
    X(EXPONENTIAL, exponential) X(ELU, elu) X(SELU, selu) X(SILU, silu) \
    X(HARD_SILU, hard_silu) X(SOFTSIGN, softsign) X(GELU_TANH, gelu_tanh) X(GELU, gelu) \
    X(SOFTPLUS, softplus) X(LOG_SIGMOID, log_sigmoid) X(MISH, mish) X(CELU, celu) \
    X(SOFT_SHRINK, soft_shrink) X(HARD_SHRINK, hard_shrink) X(AT_LEAST, at_least) \
    X(AT_MOST, at_most) X(ABOVE, above) X(ABS, abs) X(SQUARE, square) X(SQRT, sqrt) \
    X(RECIPROCAL, reciprocal) X(LOG, log) X(SIN, sin) X(COS, cos) X(ERF, erf)
/* clang-format on */

enum rnnrt_function_name {
#define RNNRT_FUNCTION(constant, word) RNNRT_##constant,
    RNNRT_FUNCTION_LIST(RNNRT_FUNCTION)
#undef RNNRT_FUNCTION
        RNNRT_FUNCTIONS
};

struct rnnrt_function {
    enum rnnrt_function_name name;
    float parameter;
};

/* The layer list: kind words as the graph spells them. */
/* clang-format off */
#define RNNRT_LAYERS(X) \
    X(input) X(dense) X(embedding) X(conv1d) X(conv2d) X(conv_transpose1d) X(rnn) X(gru) X(lstm) X(affine) \
    X(layer_normalization) X(activation) X(softmax) X(log_softmax) X(max_pool1d) X(average_pool1d) \
    X(global_max_pool) X(global_average_pool) X(last) X(reverse) X(flatten) X(unflatten) \
    X(reshape) X(select) X(time_distributed) X(scan) X(concatenate) X(add) X(multiply) \
    X(not_equal) X(maximum) X(divide) X(greater) X(greater_equal) X(equal) X(where) \
    X(feature_max) X(expand) X(first) X(global_sum) X(global_variance) X(crop) \
    X(pad_constant) X(pad_replicate) X(pad_reflect) X(pad_circular) X(attention)
/* clang-format on */

enum rnnrt_kind {
#define RNNRT_KIND(word) rnnrt_kind_##word,
    RNNRT_LAYERS(RNNRT_KIND)
#undef RNNRT_KIND
        RNNRT_KINDS
};

/* Most inputs and outputs of a layer, and most outputs and clocks of a plan. */
enum { RNNRT_MAX_INPUTS = 64, RNNRT_MAX_OUTPUTS = 64, RNNRT_PLAN_OUTPUTS = 64, RNNRT_MAX_CLOCKS = 64 };
enum rnnrt_norm { RNNRT_NORM_NONE, RNNRT_NORM_GATES, RNNRT_NORM_JOINT };
/* What a layer says at a masked frame: what it said at the last frame that was not (zeros before the first),
 * or zeros. RNNRT_UNMASKED: it has no mask. */
enum rnnrt_masked { RNNRT_UNMASKED, RNNRT_MASKED_HOLD, RNNRT_MASKED_ZERO, RNNRT_MASKED_OUTPUTS };

/* The word of a constant as the graph spells it, NULL past the last one. Slots of a recurrent layer: "", "h",
 * "c", "cells". Of no mask: "". */
const char *rnnrt_kind_word(int32_t kind);
const char *rnnrt_function_word(int32_t function);
const char *rnnrt_slot_word(int32_t slot);
const char *rnnrt_norm_word(int32_t norm);
const char *rnnrt_masked_word(int32_t masked);

struct rnnrt_plan;
struct rnnrt_stream;

/* One layer. Its output slots are values, whose numbers run on from layer to layer: the first of one follows
 * the last of the one before it (see rnnrt_value). Slots of a recurrent layer: 0 the sequence, 1 the final h,
 * and for an LSTM 2 the final c, 3 the cell state at every step; a scan the answers of its step, then the
 * final states; other layers slot 0 alone. Arrays are read while the plan is made and not kept. */
struct rnnrt_layer_desc {
    int32_t kind;
    int32_t inputs, input[RNNRT_MAX_INPUTS];
    int32_t input_size;  /* numbers in a frame of the first input */
    int32_t output_size; /* numbers in a frame of slot 0 */
    int32_t timed;       /* slot 0 is a sequence (1) or is given once (0) */
    int32_t units;       /* recurrent layers: cell size */
    int32_t kernel_size, stride, dilation, groups;
    int32_t pad_left, pad_right; /* zeros before and after; conv_transpose1d: frames cut off, or added: < 0;
                                    crop, pad_*: frames left out or made up */
    int32_t bins; /* rnn, gru, lstm: parts of a frame that are each a row to the cell; 0: one. conv2d:
                     positions of an input frame, (bins, channels); and over these: */
    int32_t bin_kernel_size, bin_stride, bin_dilation, bin_pad_left, bin_pad_right;
    int32_t same;   /* padding as TensorFlow means it; pad_left and pad_right unused */
    int32_t length; /* frames where fixed (input, flatten, unflatten, scan), else 0 */
    int32_t reverse, reset_after, norm, count_padding;
    int32_t per_step, states; /* scan: inputs of its step that are frames, and those that are states */
    int32_t unpacked;         /* recurrent layers: the lengths of a call do not count for it */
    int32_t causal, adds;     /* attention: keys behind a query, counted from the first frame, are masked; its
                                 last input is no mask, but is added to the scores */
    int32_t masked_output; /* not RNNRT_UNMASKED: a masked frame changes no state and is no part of a mean, */
    int32_t mask;          /* and this value says which are: one number a frame, 0 where it is masked. rnn,
                              gru, lstm, scan over frames, global_average_pool; else -1 or 0 */
    struct rnnrt_function activation, recurrent_activation; /* attention, whose heads are its groups: of the
                                            sum of query and key (with a weight), and of the score */
    float epsilon;
    float masked_score; /* attention: what the score of a masked key is */
    float value; /* not_equal: 1 where any number of the frame is another than this, else 0; pad_constant:
                    the numbers made up; global_variance: taken from the count it divides by; lstm: the bound
                    of its cells, 0 for none; attention: what a product of query and key is multiplied by */
    const float *weight, *recurrent_weight, *bias, *recurrent_bias, *gamma, *beta, *projection;
    const float *mean;    /* affine: taken from the input first; NULL: nothing is */
    const float *start;   /* where what a layer keeps begins (states side by side; a window: the one frame
                             that stands in all its places); NULL: at zero */
    const int32_t *index; /* select; scan: of each state the input it starts at, or -1 */
    const struct rnnrt_plan *inner; /* time_distributed, scan (its step); must outlive this plan */
    int32_t like; /* the layer of the plan's family that it is, counted from 1; 0: that of its own number, -1:
                     none, and it has no weights */
};

/* Output slots of a layer; 1 where its kind is unknown. */
size_t rnnrt_layer_slots(const struct rnnrt_layer_desc *desc);
/* The value number of slot `slot` of layer `layer`. */
int32_t rnnrt_value(const struct rnnrt_layer_desc *layers, size_t layer, size_t slot);

/* What a status says, in a few words; "" of none. */
const char *rnnrt_status_text(int status);

/* Instruction sets this processor runs, best first; returns how many. */
size_t rnnrt_isas(const char **names, size_t room);
/* Hands over the Fortran sgemm that isa "blas" runs on. */
typedef void rnnrt_sgemm(char *transa, char *transb, int *m, int *n, int *k, float *alpha, float *a, int *lda,
                         float *b, int *ldb, float *beta, float *c, int *ldc);
void rnnrt_use_sgemm(rnnrt_sgemm *sgemm);

/* `isa`: NULL for the best (or $RNNRT_ISA), a name of rnnrt_isas, or "blas". `outputs`: value numbers.
 * `family`: NULL, or a plan of the same layers, or of more than these, for another length or with other
 * inputs (all but length, pad_left, pad_right and same as there, and the same isa): its weights are shared
 * and those of the layers not read; it may be freed before or after this one. On failure *plan is NULL. */
enum rnnrt_status rnnrt_plan_create(struct rnnrt_plan **plan, const struct rnnrt_layer_desc *layers,
                                    size_t count, const int32_t *outputs, size_t output_count,
                                    const char *isa, const struct rnnrt_plan *family,
                                    struct rnnrt_error *error);
/* The same from a .rnnrt file, as Model.save of the Python package or `rnnrt convert` writes it, whoever
 * wrote this one: a damaged file gets a status. Nothing but the file is read. rnnrt_load takes it from
 * `path`; rnnrt_load_memory from `bytes`, which are not kept (aligned to 4 bytes they are read where they
 * are). The instruction set is the best, or $RNNRT_ISA. On failure *plan is NULL. */
enum rnnrt_status rnnrt_load(struct rnnrt_plan **plan, const char *path, struct rnnrt_error *error);
enum rnnrt_status rnnrt_load_memory(struct rnnrt_plan **plan, const void *bytes, size_t size,
                                    struct rnnrt_error *error);
/* Where a plan takes memory from. `allocate` gives `bytes` > 0 bytes at a multiple of `alignment` (a power of
 * two, 64 at most), or NULL where there are none; `release` gets each of them back, never NULL. Neither may
 * call rnnrt. Both run on the thread that makes the call which wants memory: where several threads use a
 * plan, or rnnrt_plan_threads says so, on several at once. */
struct rnnrt_allocator {
    void *(*allocate)(void *context, size_t bytes, size_t alignment);
    void (*release)(void *context, void *memory);
    void *context;
};
/* As rnnrt_load and rnnrt_load_memory, with an allocator that everything comes from which these need, the
 * plan keeps, and later calls on it take (streams, rnnrt_run), also plans it is the family of. What threads
 * stand on is not the allocator's. *memory is copied; NULL: malloc. */
enum rnnrt_status rnnrt_load_with(struct rnnrt_plan **plan, const char *path,
                                  const struct rnnrt_allocator *memory, struct rnnrt_error *error);
enum rnnrt_status rnnrt_load_memory_with(struct rnnrt_plan **plan, const void *bytes, size_t size,
                                         const struct rnnrt_allocator *memory, struct rnnrt_error *error);
void rnnrt_plan_free(struct rnnrt_plan *plan);
/* Up to `threads` threads share the work of one rnnrt_run of the plan (1, the default: the caller's alone; 64
 * at most, and no more than the processors that the calling thread may run on): rows of a batch, the two
 * directions of a bidirectional layer, the outputs of large products. Bits do not change. Small calls, and
 * those that find the threads at work for others, stay on the caller's. Streams always do.
 *
 * The others are made when a call first wants them, are the process's (calls of all plans take them by turns;
 * there is one less than processors), wait without work for less than a millisecond and then asleep, block
 * all signals, and end when the last plan that asked for more than one is freed. A child of a fork makes its
 * own; if it was forked in the middle of a call, by the question of that call, the call may end with
 * RNNRT_CANCELLED. Without POSIX threads (Windows, bare metal), and of a watched plan, a call stays on one.
 * To be said before the plan is used. */
void rnnrt_plan_threads(struct rnnrt_plan *plan, size_t threads);
/* Inputs and outputs, in the order of the arrays that rnnrt_run and rnnrt_stream_push take. Names are those
 * of the file, "" of a plan that was made of descriptors, and live as long as the plan. */
struct rnnrt_port {
    const char *name;
    size_t width;  /* numbers in a frame */
    size_t length; /* frames of an input where they are fixed, else 0 */
    bool timed;    /* a sequence; else given once */
};
size_t rnnrt_plan_inputs(const struct rnnrt_plan *plan);
size_t rnnrt_plan_outputs(const struct rnnrt_plan *plan);
/* Fill *port; false: there are not so many. */
bool rnnrt_plan_input(const struct rnnrt_plan *plan, size_t input, struct rnnrt_port *port);
bool rnnrt_plan_output(const struct rnnrt_plan *plan, size_t output, struct rnnrt_port *port);
/* The name of a layer, as error.layer counts them; "" where it is not known. */
const char *rnnrt_plan_layer(const struct rnnrt_plan *plan, int32_t layer);
/* A number the file knows by name: "delay" in frames, of captures of amplifiers "sample_rate" in Hz,
 * "loudness" in dB, ...; false where it does not. */
bool rnnrt_plan_fact(const struct rnnrt_plan *plan, const char *name, double *value);
const char *rnnrt_plan_isa(const struct rnnrt_plan *plan);
/* Of the packed weights; those of a family count in each of its plans. */
size_t rnnrt_plan_bytes(const struct rnnrt_plan *plan);
/* About how many multiply-adds one row of `frames` frames takes. */
double rnnrt_plan_work(const struct rnnrt_plan *plan, size_t frames);
/* Rows that rnnrt_run works on at a time: a larger batch runs in slices of about so many, in memory for one.
 */
size_t rnnrt_plan_rows(const struct rnnrt_plan *plan, size_t frames);
/* The layer that keeps the plan from streaming, or -1; *text says why. `every_step` asks for that mode. */
int32_t rnnrt_plan_obstacle(const struct rnnrt_plan *plan, bool every_step, const char **text);
/* Inputs over time whose frames meet in a join share a *clock*: they have as many frames as one another.
 * Those of other clocks have numbers of their own. Clocks are counted in the order of their first inputs;
 * `frames` arguments that point to several numbers hold one a clock. */
size_t rnnrt_plan_clocks(const struct rnnrt_plan *plan);
/* The clock of input `input` (counted over the input layers); -1: it is given once. */
int32_t rnnrt_plan_clock(const struct rnnrt_plan *plan, size_t input);
/* All frames of output `output` that are there after `frames` input frames, and when no more come. */
size_t rnnrt_plan_due(const struct rnnrt_plan *plan, size_t output, const size_t *frames, bool ended);

/* Number k of frame (t, b) of a batch of sequences stands at data + t * time_stride + b * batch_stride + k *
 * number_stride (floats); a number_stride of 0 means 1, numbers side by side. Channels that lie one after the
 * other, each over time, have a time_stride of 1. */
struct rnnrt_array {
    float *data;
    ptrdiff_t time_stride, batch_stride;
    size_t frames;
    ptrdiff_t number_stride;
};
/* State values of recurrent layers: value number (slot 1 h, slot 2 c) and (batch, size) numbers, read before
 * (in place of what the layer's further inputs say) or written after. */
struct rnnrt_state_value {
    int32_t value;
    float *data;
};

/* What a long call asks from time to time whether to go on: after 1e7 multiply-adds and what is at work then:
 * at most as much again, or one matrix product of 64 rows, or one frame of all rows of a recurrent layer,
 * where that is more. `ask` runs on the thread of the call, in its floating-point mode, and may use the plan
 * but not the stream; not zero ends the call with RNNRT_CANCELLED. */
struct rnnrt_between {
    int (*ask)(void *argument);
    void *argument;
    double done;  /* multiply-adds so far, as rnnrt_plan_work counts them: 0 at first, calls add to it */
    double asked; /* `done` when it was last asked: 0 at first */
};

/* One whole batch of sequences, inputs by input layer. Inputs of fixed length have that many frames, all
 * others of a clock the same number. Outputs must not overlap inputs. `between`: see there, or NULL. */
enum rnnrt_status rnnrt_run(const struct rnnrt_plan *plan, size_t batch, const struct rnnrt_array *inputs,
                            struct rnnrt_array *outputs, const int64_t *lengths,
                            const struct rnnrt_state_value *initial, size_t initial_count,
                            const struct rnnrt_state_value *final, size_t final_count, size_t block,
                            struct rnnrt_between *between, struct rnnrt_error *error);

/* `block`: frames worked on at a time, 0 for the default. A stream owns what its rows keep between frames and
 * borrows the memory it works in from the plan for the length of a call; with `realtime` it owns that too. */
enum rnnrt_status rnnrt_stream_create(struct rnnrt_stream **stream, const struct rnnrt_plan *plan,
                                      size_t batch, size_t block, bool every_step, bool realtime,
                                      struct rnnrt_error *error);
/* The same in `bytes` bytes of the caller's at a multiple of 64, as many as rnnrt_stream_size says (else
 * RNNRT_NO_MEMORY): init and all that comes after it allocates nothing, as with `realtime`. The memory stays
 * the caller's to free, after the stream. */
enum rnnrt_status rnnrt_stream_size(const struct rnnrt_plan *plan, size_t batch, size_t block, size_t *bytes);
enum rnnrt_status rnnrt_stream_init(struct rnnrt_stream **stream, void *memory, size_t bytes,
                                    const struct rnnrt_plan *plan, size_t batch, size_t block,
                                    bool every_step, struct rnnrt_error *error);
void rnnrt_stream_free(struct rnnrt_stream *stream);
/* The value of an input without a time axis, (batch, width); zeros until it is set. `input` counts the input
 * layers. Set it before the first frame: layers that depend on it alone are computed with that. */
void rnnrt_stream_set_once(struct rnnrt_stream *stream, size_t input, const float *x);
/* Push inputs[i].frames frames of every input, none too: inputs by input layer, those without a time axis
 * unused; those of one clock have as many (else RNNRT_MISALIGNED, and nothing changed). outputs[o].frames:
 * room on entry, emitted on return. Outputs must not overlap inputs, except that one frame may be pushed into
 * its own place. `between`: see there, or NULL. After a failure half-way the stream has ended: only reset or
 * a state brings it back. Inputs of fixed length take that many frames in all, and flush wants them to be
 * there (or none). */
enum rnnrt_status rnnrt_stream_push(struct rnnrt_stream *stream, const struct rnnrt_array *inputs,
                                    struct rnnrt_array *outputs, struct rnnrt_between *between,
                                    struct rnnrt_error *error);
enum rnnrt_status rnnrt_stream_flush(struct rnnrt_stream *stream, struct rnnrt_array *outputs,
                                     struct rnnrt_between *between, struct rnnrt_error *error);
/* One frame of the one input into the one output, both (batch, width) and contiguous: returns frames emitted
 * (0 or 1) or a status. */
int rnnrt_stream_step(struct rnnrt_stream *stream, const float *x, float *y, struct rnnrt_error *error);
void rnnrt_stream_reset(struct rnnrt_stream *stream);
void rnnrt_stream_reset_row(struct rnnrt_stream *stream, size_t row);
/* Frames that row 0 has taken of a clock. */
uint64_t rnnrt_stream_position(const struct rnnrt_stream *stream, size_t clock);
bool rnnrt_stream_ended(const struct rnnrt_stream *stream);
void rnnrt_stream_end(struct rnnrt_stream *stream);
/* Most frames of `output` that a push of `frames` (and a flush, when `ended`) can emit from here. */
size_t rnnrt_stream_due(const struct rnnrt_stream *stream, size_t output, const size_t *frames, bool ended);

/* ---- rows: each row of a stream is a block of bytes of its own, with a position of its own ---- */

/* The state of row `row`; it lives as long as the stream. */
char *rnnrt_stream_row(const struct rnnrt_stream *stream, size_t row);
uint64_t rnnrt_row_position(const char *row, size_t clock);
/* Rows at positions of the same phase, clock by clock, get and give frames in step: they are pushed as one
 * batch. */
uint64_t rnnrt_plan_phase(const struct rnnrt_plan *plan, uint64_t position);
size_t rnnrt_row_due(const struct rnnrt_plan *plan, const char *row, bool every_step, size_t output,
                     const size_t *frames, bool ended);
/* RNNRT_WRONG_LENGTH where inputs of fixed length could not take the frames (or the end); where a layer joins
 * the answers of several clocks, RNNRT_TOO_SHORT at the end of which one has had no frame, and with
 * every_step RNNRT_MISALIGNED for different numbers of frames. */
enum rnnrt_status rnnrt_row_fits(const struct rnnrt_plan *plan, const char *row, bool every_step,
                                 const size_t *frames, bool ended, struct rnnrt_error *error);
/* As rnnrt_stream_push (and flush, when `ended`: `inputs` may be NULL then), for `count` rows of any streams
 * of the plan, each row once. Rows in phase run as one batch. made[output * count + row]: frames emitted for
 * that row, outputs[o].frames for the row that has most; others of that row are not touched. `made` may be
 * NULL for rows that are all in phase (RNNRT_OUT_OF_PHASE where they are not, and nothing changed), which
 * allocate nothing. A failure half-way leaves rows whose sequence cannot go on: see rnnrt_stream_end. */
enum rnnrt_status rnnrt_rows_push(const struct rnnrt_plan *plan, char *const *rows, size_t count,
                                  bool every_step, const struct rnnrt_array *inputs, bool ended,
                                  struct rnnrt_array *outputs, size_t *made, struct rnnrt_between *between,
                                  struct rnnrt_error *error);

/* ---- state: what a row keeps, as named arrays ---- */

struct rnnrt_state_array {
    int32_t layer;    /* it belongs to */
    int32_t input;    /* "queue": of which input; else which of the arrays its layer keeps, from 0 */
    const char *word; /* "h", "c", "state", "window", "queue", "sum", "maximum", "last", "frames"; where a
                         mask is consulted "begun", "held" (the last output), "count" */
    size_t frames, width;
    bool wide; /* float64, not float32 */
};
/* Array `index`, or false: there are no more. */
bool rnnrt_plan_state_array(const struct rnnrt_plan *plan, size_t index, struct rnnrt_state_array *array);
/* Another row of the plan goes on from where `from` is. */
void rnnrt_row_copy(const struct rnnrt_plan *plan, char *to, const char *from);
/* Whether all that the row keeps for good is finite: states, sums and the like. Frames that leave a window
 * again do not count. */
bool rnnrt_row_finite(const struct rnnrt_plan *plan, const char *row);
/* (frames, width) numbers; windows oldest first. */
void rnnrt_row_read(const struct rnnrt_plan *plan, char *row, size_t index, void *to);
/* To be written after rnnrt_row_seek, which begins the row anew and sets all its counts; `position`: one
 * number a clock. */
void rnnrt_row_write(const struct rnnrt_plan *plan, char *row, size_t index, const void *from);
enum rnnrt_status rnnrt_row_seek(const struct rnnrt_plan *plan, char *row, const uint64_t *position,
                                 bool every_step);

/* ---- where the time goes ---- */

/* What a layer of a watched plan took, added up over calls. */
struct rnnrt_spent {
    uint64_t nanoseconds; /* inside it: handing frames from layer to layer is in none */
    uint64_t runs;        /* how often it ran: once a block of frames */
    uint64_t frames;      /* of its first input, */
    uint64_t rows;        /* and those counted in every batch row */
    uint64_t made;        /* frames of its first output, in every batch row */
};
/* From now on spent[i] takes what layer i takes: one for every layer, the caller's, zeros at first or
 * whenever a count is to begin. To be called once, before any stream of the plan and any call on it; the plan
 * is then for one thread at a time. Plans that share its weights are not watched. */
enum rnnrt_status rnnrt_plan_watch(struct rnnrt_plan *plan, struct rnnrt_spent *spent);
/* What this core can do, as the kernels of `isa` (NULL: the best) might: `times` rounds of independent
 * multiply-adds in registers, and `times` passes over `count` numbers at a multiple of 64 bytes, each loaded
 * and multiplied once. Both return the number of multiply-adds; the caller looks at the clock. 0: this
 * processor has no such instruction set. */
double rnnrt_core_products(const char *isa, size_t times);
double rnnrt_core_reads(const char *isa, const float *numbers, size_t count, size_t times);

#ifdef __cplusplus
}
#endif
#ifdef RNNRT_EXPORTS
#pragma GCC visibility pop
#endif
#endif
