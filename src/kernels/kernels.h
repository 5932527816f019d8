/* The kernel table: everything that is worth making fast, once per instruction set. Kernels know nothing of
 * layers.
 *
 * All arrays are float32 unless said; rows are `stride` floats apart; outputs never overlap inputs except
 * where a kernel is said to work in place. The sequence of floating-point operations behind one number
 * depends on the sizes `outputs` and `depth` alone: not on `rows`, nor on which row it is, nor on the table
 * (scalar without hardware fma agrees with itself only). */
#ifndef RNNRT_KERNELS_H
#define RNNRT_KERNELS_H

#include "../matrix.h"
#include "../rnnrt.h"

/* On 32-bit x86 floats are computed in SSE registers: the x87 unit rounds when it pleases and keeps
 * denormals. Every file of src/ includes this header, its system headers first. */
#if defined(__i386__) && !defined(__SSE2_MATH__)
#if defined(__clang__)
#error "build with -msse2 -mfpmath=sse"
#endif
#pragma GCC target("sse2,fpmath=sse")
#endif

/* A sum longer than this is cut into segments of this many terms, one fma chain each, whose totals are added
 * in order: a single chain is 4 to 10 times less accurate at 256 terms and more. Greatest errors against
 * float64, in 1e-5, on three real networks with sums of up to 1,948 terms and answers of up to 62 (8 inputs
 * each): 128 terms 10.4, 2.4, 3.7; 64 terms 3.2, 3.5, 3.0; 32 terms 1.8, 2.1, 3.5; OpenBLAS 10.0, 5.5, 8.4.
 */
#define RNNRT_SEGMENT 64

/* Up to this many outputs a product sums over 16 virtual lanes (term modulo 16) instead of lying across
 * outputs. */
enum { RNNRT_DOT_MAX_OUTPUTS = 4 };

/* Where the outputs of a product may be cut: a whole number of panels of every table; one row of weights that
 * fills the registers. */
enum { RNNRT_CUT_OUTPUTS = 64 };

/* A product of many rows (a GEMM) that is done a little at a time while products of one row run: `weight` and
 * `call` as `product` takes them, `add` false; the rest starts at 0. */
enum { OVERLAP_ROWS = 6 };
struct rnnrt_overlapped {
    const struct rnnrt_matrix *weight;
    struct rnnrt_product call;
    size_t tile, k; /* the tile it stands at, and how many of that tile's terms are done */
    float sum[OVERLAP_ROWS][2][16];
};

/* How lstm_steps and gru_steps read U: as so many rows, or 0 where it is read as it stands; in so many groups
 * of units, or 0 where one product makes all gates. */
struct rnnrt_step_order {
    size_t outputs, groups;
};

/* `frames` steps of one row from h and c, (units,), on, which end at the state after the last; `backwards`:
 * from the last frame to the first. `recurrent` and `groups`: U as order_steps orders it. Gates start at
 * `gates` (frames, gates of the cell), or, where `input` is given, at bias + input x, of frames of one
 * feature, x (frames, 1), or of one frame, x (1, features): `gates` is then room for those of one frame and a
 * vector more. A vector less one number behind the last of `gates`, of the biases and of the input's panels
 * can be read: what stands there does not matter. `held`: room for (units,), of a GRU (4 units,). y (frames,
 * units), or NULL: nobody reads them. An LSTM has no recurrent_bias, a GRU no c. */
struct rnnrt_steps {
    const struct rnnrt_matrix *input, *recurrent;
    const float *bias, *recurrent_bias, *x;
    float *h, *gates, *c, *held, *y; /* h and c apart: a compiler would copy both as one, and wait for them */
    size_t frames, groups;
    bool backwards;
};

enum rnnrt_pairing { RNNRT_QUOTIENT, RNNRT_GREATER, RNNRT_GREATER_EQUAL, RNNRT_EQUAL };

/* Weights below so many floats stay in an L1 cache: a step does not wait for them. */
enum { RNNRT_NEAR_FLOATS = 16384 };

static inline size_t rnnrt_smaller(size_t a, size_t b) { return a < b ? a : b; }

/* Of W and a product with it, its outputs from `from`, a multiple of RNNRT_CUT_OUTPUTS, on: `most` of them,
 * or all that are left where so few more would be left that they would be summed in another order. Returns
 * how many; 0 where none are left. Each number is summed as before. */
static inline size_t rnnrt_cut_outputs(struct rnnrt_matrix *w, struct rnnrt_product *call, size_t from,
                                       size_t most) {
    if (from + (from ? RNNRT_DOT_MAX_OUTPUTS : 0) >= w->outputs) return 0;
    size_t left = w->outputs - from;
    w->panels = (const float *)w->panels + from * w->depth;
    w->outputs = most + RNNRT_DOT_MAX_OUTPUTS >= left ? left : most;
    call->y += from;
    if (call->bias) call->bias += from;
    if (call->plus) call->plus += from;
    return w->outputs;
}

struct rnnrt_kernels {
    const char *isa;
    size_t lanes; /* of a vector */

    /* Bytes of the panels and scales of a matrix of this dtype, outputs and depth; and makes them, in `room`,
     * from weight (outputs, depth): the matrix then points into `room`. */
    size_t (*packed_bytes)(const struct rnnrt_matrix *shape);
    void (*pack)(struct rnnrt_matrix *w, const float *weight, void *room);
    void (*product)(const struct rnnrt_matrix *w, const struct rnnrt_product *call);

    /* Two products of one row each and as many outputs, some outputs of the second after the same of the
     * first, in the order that the first says; neither has `plus`, is rectified or in pieces. NULL: the one
     * after the other is as good. */
    void (*product_pair)(const struct rnnrt_matrix *w, const struct rnnrt_product *call,
                         const struct rnnrt_matrix *u, const struct rnnrt_product *then);

    /* The product of one row, which takes the overlapped one some way on; and what is left of that. NULL
     * where it would not pay. */
    void (*product_overlapped)(const struct rnnrt_matrix *w, const struct rnnrt_product *call,
                               struct rnnrt_overlapped *overlapped);
    void (*finish_overlapped)(struct rnnrt_overlapped *overlapped);

    /* The same channel by channel, without `plus`: y = (add ? y : bias) + sum over pieces p of weight[p]
     * times piece p, one fma after the other; weight (pieces, depth), y (rows, depth). */
    void (*depthwise)(const float *weight, const struct rnnrt_product *call);
    /* The products of groups which each make `out` numbers of `in`, joined pieces of which hold `depth`
     * numbers of all groups; weight (terms, outputs of all groups). */
    void (*grouped)(const float *weight, size_t in, size_t out, const struct rnnrt_product *call);

    /* y = function(x), n numbers; x and y may be the same. */
    void (*activate)(struct rnnrt_function function, size_t n, const float *x, float *y);
    /* y = softmax of each row of n, or its logarithm x - max - log(sum of e^(x - max)); x and y may be the
     * same unless it is the logarithm. */
    void (*softmax)(bool logarithm, size_t n, size_t rows, const float *x, float *y);
    /* y = gamma (x - mean) / sqrt(variance + epsilon) + beta for each row of n; gamma, beta may be NULL; x
     * and y may be the same. */
    void (*normalize)(size_t n, size_t rows, const float *gamma, const float *beta, float epsilon,
                      const float *x, size_t x_stride, float *y, size_t y_stride);
    /* For each row of n: y = fma(x - mean, scale, offset), the difference rounded once (exact where x is near
     * the mean);
     * `mean` NULL: y = fma(x, scale, offset) */
    void (*affine)(size_t n, size_t rows, const float *mean, const float *scale, const float *offset,
                   const float *x, float *y);
    /* to[c][r] = from[r][c]: the numbers of each row lie side by side, the rows from_stride floats apart; of
     * each column side by side, to_stride floats apart. */
    void (*turn)(const float *from, size_t from_stride, size_t rows, size_t columns, float *to,
                 size_t to_stride);
    /* y = x0 + x1, x0 * x1, max(x0, x1): n numbers; y may be x0. */
    void (*add)(size_t n, const float *x0, const float *x1, float *y);
    void (*multiply)(size_t n, const float *x0, const float *x1, float *y);
    void (*maximum)(size_t n, const float *x0, const float *x1, float *y);

    /* y = x0 / x1; or 1 where x0 > x1, >= or ==, else 0 (also where either is NaN). */
    void (*pair)(enum rnnrt_pairing how, size_t n, const float *x0, const float *x1, float *y);

    /* Cell epilogues with sigmoid gates and tanh, from pre-activations (gates in order, `units` each), on
     * `rows` rows. lstm: c in place, h written. gru: q holds U h + b for all three gates; h_new written from
     * h. Behind the last gate a vector less one number can be read: what stands there does not matter. */
    void (*lstm)(size_t units, size_t rows, const float *gates, size_t gates_stride, float *c,
                 size_t c_stride, float *h, size_t h_stride);
    void (*gru)(size_t units, size_t rows, const float *p, size_t p_stride, const float *q, size_t q_stride,
                const float *h, size_t h_stride, float *h_new, size_t h_new_stride);
    /* U (gates * units, units) as lstm_steps and gru_steps read it, (outputs, units). `ordered` NULL: nothing
     * is written. */
    struct rnnrt_step_order (*order_steps)(size_t gates, size_t units, const float *u, float *ordered);
    /* Steps of an LSTM, or of a GRU with reset_after, with sigmoid gates and tanh and more than
     * RNNRT_DOT_MAX_OUTPUTS gates. NULL: products are made elsewhere. */
    void (*lstm_steps)(const struct rnnrt_steps *run);
    void (*gru_steps)(const struct rnnrt_steps *run);
    /* The same once the gates are activated: lstm_cells c = f c + i g; lerp h_new = (1 - z) n + z h;
     * multiply_add y = y + a b. */
    void (*lstm_cells)(size_t units, const float *gates, float *c);
    void (*lerp)(size_t units, const float *z, const float *n, const float *h, float *h_new);
    void (*multiply_add)(size_t n, const float *a, const float *b, float *y);
};

/* The best table this processor runs, or the one named; NULL if it is unknown or this processor lacks it. */
const struct rnnrt_kernels *rnnrt_kernels_find(const char *isa);
/* A copy of the best table whose products run on the given Fortran sgemm. */
const struct rnnrt_kernels *rnnrt_kernels_blas(void);

#endif
