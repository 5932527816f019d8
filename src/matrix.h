/* Matrices of weights, which layers hold and kernels read, and one product with such a matrix. */
#ifndef RNNRT_MATRIX_H
#define RNNRT_MATRIX_H

#include <stdbool.h>
#include <stddef.h>

enum rnnrt_dtype { RNNRT_FLOAT32 };

/* W (outputs, depth). Only the kernel table that packed the panels can read them. */
struct rnnrt_matrix {
    enum rnnrt_dtype dtype; /* of the panels */
    size_t outputs, depth;
    const void *panels;
    const float *scales; /* (outputs), of integer panels: W is a row's scale times its panel; else NULL */
};

/* Where `depth` numbers of every row of an input stand: those of row r at x + r * stride. */
struct rnnrt_piece {
    const float *x;
    size_t stride;
};

/* y = (add ? y : bias) + W[:, first .. first + depth - 1] x for every row: x (rows, depth), y (rows,
 * outputs). Rows are x_stride and y_stride floats apart; y does not overlap x.
 *
 * With `pieces` a row is made of `piece_count` of them, `depth` numbers each, against as many columns; x and
 * x_stride are not read. Each piece is a sum of its own, and they are added in order: the answer is that of
 * one product a piece, the first from the bias (or zero), the others with `add`. `joined`: all are one sum,
 * as of the row copied together; `first` is then where the row's first number stands in the whole sum. (Of a
 * matrix of more than RNNRT_DOT_MAX_OUTPUTS outputs: fewer are dots, whose lanes cross no pieces.)
 *
 * `plus` (rows, outputs), plus_stride floats apart: added to that, once it is summed. `rectified`: y is relu
 * of all.
 *
 * `upwards`: up to three rows take their outputs from the first to the last, else from the last to the
 * first; one row of near weights as it likes. Weights that are larger than a cache, read over and over, come
 * from it in part where the way changes every time: what was read last is read first. */
struct rnnrt_product {
    const float *x;
    size_t x_stride, first, depth, rows;
    float *y;
    size_t y_stride;
    const float *bias; /* (outputs), or NULL; not read where `add` */
    bool add, rectified, upwards;
    const float *plus; /* or NULL */
    size_t plus_stride;
    const struct rnnrt_piece *pieces;
    size_t piece_count;
    bool joined;
};

#endif
