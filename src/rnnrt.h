/* The C interface of rnnrt: a plan from rows, a stream from a plan, frames through a stream.
 *
 * A *row* describes one layer of a network in plain C; rows stand in an order they can run in and name their
 * inputs by value number. A *plan* is the checked, packed, immutable form of all rows; any number of threads
 * may share it. A *stream* is the state of one batch of sequences; one thread at a time may use it. Frames
 * are rows of float32; a chunk is time-major: (frames, batch, width).
 *
 * Nothing here allocates but the create functions and rnnrt_run; no call writes to stdout or ends the
 * process. */
#ifndef RNNRT_H
#define RNNRT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum rnnrt_status {
    RNNRT_OK = 0,
    RNNRT_NO_MEMORY = -1,
    RNNRT_BAD_ROW = -2,        /* a row is impossible: error.row, error.text */
    RNNRT_NO_ISA = -3,         /* the instruction set asked for is unknown, or this processor lacks it */
    RNNRT_BAD_ID = -4,         /* an embedding id is out of range: error.row, error.position */
    RNNRT_MISALIGNED = -5,     /* branches that join ended at different lengths: error.row */
    RNNRT_TOO_SHORT = -6,      /* the whole input ended before a layer could answer: error.row */
    RNNRT_NOT_STREAMABLE = -7, /* the plan needs its whole input first: error.row */
    RNNRT_ENDED = -8,     /* the stream was flushed, or a call on it failed half-way: only reset is legal */
    RNNRT_BAD_STATE = -9, /* bytes that no stream of this kind gave */
};

struct rnnrt_error {
    int32_t row;      /* the row it happened in, or -1 */
    int64_t position; /* e.g. the frame of a bad id */
    int64_t batch_row;
    double value;     /* e.g. the bad id */
    const char *text; /* a fixed sentence part, or NULL */
};

enum rnnrt_function_name {
    RNNRT_LINEAR,
    RNNRT_RELU,
    RNNRT_LEAKY_RELU,
    RNNRT_CLIPPED_RELU,
    RNNRT_TANH,
    RNNRT_SIGMOID,
    RNNRT_HARD_SIGMOID,
    RNNRT_HARD_SIGMOID_KERAS2,
    RNNRT_HARD_TANH,
    RNNRT_EXPONENTIAL,
    RNNRT_ELU,
    RNNRT_SELU,
    RNNRT_SILU,
    RNNRT_HARD_SILU,
    RNNRT_SOFTSIGN,
    RNNRT_GELU_TANH,
    RNNRT_FUNCTIONS
};

struct rnnrt_function {
    enum rnnrt_function_name name;
    float parameter;
};

/* The layer list: kind words as the graph spells them. */
/* clang-format off */
#define RNNRT_LAYERS(X) \
    X(input) X(dense) X(embedding) X(conv1d) X(rnn) X(gru) X(lstm) X(affine) \
    X(layer_normalization) X(activation) X(softmax) X(max_pool1d) X(average_pool1d) \
    X(global_max_pool) X(global_average_pool) X(last) X(reverse) X(flatten) X(unflatten) \
    X(reshape) X(select) X(time_distributed) X(concatenate) X(add) X(multiply)
/* clang-format on */

enum rnnrt_kind {
#define RNNRT_KIND(word) rnnrt_kind_##word,
    RNNRT_LAYERS(RNNRT_KIND)
#undef RNNRT_KIND
        RNNRT_KINDS
};

enum { RNNRT_MAX_INPUTS = 64, RNNRT_MAX_OUTPUTS = 4 };
enum rnnrt_norm { RNNRT_NORM_NONE, RNNRT_NORM_GATES, RNNRT_NORM_JOINT };

struct rnnrt_plan;
struct rnnrt_stream;

/* One layer. Value number of output slot s of row r: r * RNNRT_MAX_OUTPUTS + s. Slots of a recurrent row: 0
 * the sequence, 1 the final h, 2 the final c, 3 the cell state at every step. Arrays are read while the plan
 * is made and not kept. */
struct rnnrt_row {
    int32_t kind;
    int32_t inputs, input[RNNRT_MAX_INPUTS];
    int32_t input_size;  /* numbers in a frame of the first input */
    int32_t output_size; /* numbers in a frame of slot 0 */
    int32_t timed;       /* slot 0 is a sequence (1) or is given once (0) */
    int32_t units;       /* recurrent rows: cell size */
    int32_t kernel_size, stride, dilation, groups;
    int32_t pad_left, pad_right; /* zeros before and after */
    int32_t same;                /* padding as TensorFlow means it; pad_left and pad_right unused */
    int32_t length;              /* frames where fixed (input, flatten, unflatten), else 0 */
    int32_t reverse, reset_after, norm, count_padding;
    int32_t unpacked; /* recurrent rows: the lengths of a call do not count for it */
    struct rnnrt_function activation, recurrent_activation;
    float epsilon;
    const float *weight, *recurrent_weight, *bias, *recurrent_bias, *gamma, *beta, *projection;
    const int32_t *index;           /* select */
    const struct rnnrt_plan *inner; /* time_distributed; must outlive this plan */
};

/* Instruction sets this processor runs, best first; returns how many. */
size_t rnnrt_isas(const char **names, size_t room);
/* Hands over the Fortran sgemm that isa "blas" runs on. */
typedef void rnnrt_sgemm(char *transa, char *transb, int *m, int *n, int *k, float *alpha, float *a, int *lda,
                         float *b, int *ldb, float *beta, float *c, int *ldc);
void rnnrt_use_sgemm(rnnrt_sgemm *sgemm);

/* `isa`: NULL for the best (or $RNNRT_ISA), a name of rnnrt_isas, or "blas". `outputs`: value numbers. On
 * failure *plan is NULL. */
enum rnnrt_status rnnrt_plan_create(struct rnnrt_plan **plan, const struct rnnrt_row *rows, size_t count,
                                    const int32_t *outputs, size_t output_count, const char *isa,
                                    struct rnnrt_error *error);
void rnnrt_plan_free(struct rnnrt_plan *plan);
const char *rnnrt_plan_isa(const struct rnnrt_plan *plan);
size_t rnnrt_plan_bytes(const struct rnnrt_plan *plan);
/* The row that keeps the plan from streaming, or -1; *text says why. `every_step` asks for that mode. */
int32_t rnnrt_plan_obstacle(const struct rnnrt_plan *plan, bool every_step, const char **text);
/* Frames of output `output` due after `frames` input frames, and how many more come at the end. */
size_t rnnrt_plan_due(const struct rnnrt_plan *plan, size_t output, size_t frames, bool ended);

/* Frame (t, b) of a batch of sequences stands at data + t * time_stride + b * batch_stride (floats). */
struct rnnrt_array {
    float *data;
    ptrdiff_t time_stride, batch_stride;
    size_t frames;
};
/* State values of recurrent rows: value number (slot 1 h, slot 2 c) and (batch, size) numbers, read before
 * (in place of what the row's further inputs say) or written after. */
struct rnnrt_state_value {
    int32_t value;
    float *data;
};

/* One whole batch of sequences, inputs by input row. Inputs of fixed length have that many frames, all others
 * the same number. Outputs must not overlap inputs. */
enum rnnrt_status rnnrt_run(const struct rnnrt_plan *plan, size_t batch, const struct rnnrt_array *inputs,
                            struct rnnrt_array *outputs, const int64_t *lengths,
                            const struct rnnrt_state_value *initial, size_t initial_count,
                            const struct rnnrt_state_value *final, size_t final_count, size_t block,
                            struct rnnrt_error *error);

/* `block`: frames worked on at a time, 0 for the default. */
enum rnnrt_status rnnrt_stream_create(struct rnnrt_stream **stream, const struct rnnrt_plan *plan,
                                      size_t batch, size_t block, bool every_step, struct rnnrt_error *error);
void rnnrt_stream_free(struct rnnrt_stream *stream);
/* The value of an input without a time axis, (batch, width); zeros until it is set. `input` counts the input
 * rows. Set it before the first frame: what hangs on it alone is worked out with that. */
void rnnrt_stream_set_once(struct rnnrt_stream *stream, size_t input, const float *x);
/* Push `frames` frames: inputs by input row, those without a time axis unused. outputs[o].frames: room on
 * entry, emitted on return. Outputs must not overlap inputs, except that one frame may be pushed into its own
 * place. After a failure half-way the stream has ended. */
enum rnnrt_status rnnrt_stream_push(struct rnnrt_stream *stream, const struct rnnrt_array *inputs,
                                    size_t frames, struct rnnrt_array *outputs, struct rnnrt_error *error);
enum rnnrt_status rnnrt_stream_flush(struct rnnrt_stream *stream, struct rnnrt_array *outputs,
                                     struct rnnrt_error *error);
/* One frame of the one input into the one output, both (batch, width) and contiguous: returns frames emitted
 * (0 or 1) or a status. */
int rnnrt_stream_step(struct rnnrt_stream *stream, const float *x, float *y, struct rnnrt_error *error);
void rnnrt_stream_reset(struct rnnrt_stream *stream);
uint64_t rnnrt_stream_position(const struct rnnrt_stream *stream);
/* Most frames of `output` that a push of `frames` (and a flush, when `ended`) can emit from here. */
size_t rnnrt_stream_due(const struct rnnrt_stream *stream, size_t output, size_t frames, bool ended);
/* Everything that survives between calls, as one block of bytes without pointers. */
size_t rnnrt_stream_state_bytes(const struct rnnrt_stream *stream);
void rnnrt_stream_state_get(const struct rnnrt_stream *stream, void *bytes);
/* RNNRT_BAD_STATE, and nothing changed, where the bytes cannot be a state of this plan, batch, block and
 * mode. */
enum rnnrt_status rnnrt_stream_state_set(struct rnnrt_stream *stream, const void *bytes);
/* The h (slot 1) or c (slot 2) of a recurrent row inside the state: (batch, size) floats, or NULL. */
float *rnnrt_stream_state_value(struct rnnrt_stream *stream, int32_t value);

#ifdef __cplusplus
}
#endif
#endif
