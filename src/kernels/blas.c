/* The BLAS row of the kernel table: products run on a Fortran sgemm handed over by rnnrt_use_sgemm,
 * everything else on the best native table. Bits may differ from the native rows and with the number of rows:
 * that is OpenBLAS's nature. */
#include <string.h>

#include "kernels.h"

static rnnrt_sgemm *sgemm;
static struct rnnrt_kernels table;

static size_t packed_bytes(const struct rnnrt_matrix *w) { return w->outputs * w->depth * sizeof(float); }

static void pack(struct rnnrt_matrix *w, const float *weight, void *room) {
    memcpy(room, weight, packed_bytes(w));
    w->panels = room;
}

/* Row-major y = x W^T is column-major y^T = W x^T with W^T as stored. */
static void product_of_one(const struct rnnrt_matrix *w, const struct rnnrt_product *call) {
    size_t rows = call->rows;
    if (!rows) return;
    int m = (int)w->outputs, n = (int)rows, k = (int)call->depth, lda = (int)w->depth,
        ldb = rows > 1 ? (int)call->x_stride : k, ldc = rows > 1 ? (int)call->y_stride : m;
    float one = 1.0f, beta = call->add || call->bias ? 1.0f : 0.0f, *x = (float *)call->x,
          *weight = (float *)w->panels + call->first; /* Fortran knows no const */
    char transposed = 'T', plain = 'N';
    if (ldb < k) ldb = k; /* overlapping windows: Fortran wants ldb >= k, so they go one by one */
    if (!call->add && call->bias)
        for (size_t r = 0; r < rows; r++)
            memcpy(call->y + r * call->y_stride, call->bias, w->outputs * sizeof *call->y);
    if (rows > 1 && call->x_stride < call->depth) {
        n = 1;
        for (size_t r = 0; r < rows; r++)
            sgemm(&transposed, &plain, &m, &n, &k, &one, weight, &lda, x + r * call->x_stride, &ldb, &beta,
                  call->y + r * call->y_stride, &ldc);
        return;
    }
    sgemm(&transposed, &plain, &m, &n, &k, &one, weight, &lda, x, &ldb, &beta, call->y, &ldc);
}

static void product_of_pieces(const struct rnnrt_matrix *w, const struct rnnrt_product *call) {
    struct rnnrt_product piece = *call;
    for (size_t r = 0; r < call->rows && !call->add; r++) {
        float *y = call->y + r * call->y_stride;
        if (call->bias) memcpy(y, call->bias, w->outputs * sizeof *y);
        else memset(y, 0, w->outputs * sizeof *y);
    }
    piece.add = true;
    for (size_t p = 0; p < call->piece_count; p++, piece.first += call->depth) {
        piece.x = call->pieces[p].x, piece.x_stride = call->pieces[p].stride;
        product_of_one(w, &piece);
    }
}

static void product(const struct rnnrt_matrix *w, const struct rnnrt_product *call) {
    struct rnnrt_function relu = {.name = RNNRT_RELU};
    if (call->pieces) product_of_pieces(w, call);
    else product_of_one(w, call);
    for (size_t r = 0; r < call->rows; r++) {
        float *y = call->y + r * call->y_stride;
        if (call->plus) table.add(w->outputs, y, call->plus + r * call->plus_stride, y);
        if (call->rectified) table.activate(relu, w->outputs, y, y);
    }
}

void rnnrt_use_sgemm(rnnrt_sgemm *function) {
    const struct rnnrt_kernels *best = rnnrt_kernels_find(NULL);
    if (!best) return; /* RNNRT_ISA names none: the plan that asks for "blas" says so */
    table = *best;
    table.isa = "blas";
    table.packed_bytes = packed_bytes;
    table.pack = pack;
    table.product = product;
    table.product_pair = NULL;
    table.product_overlapped = NULL;
    table.finish_overlapped = NULL;
    table.lstm_steps = table.gru_steps = NULL; /* its products are its own */
    sgemm = function;
}

const struct rnnrt_kernels *rnnrt_kernels_blas(void) { return sgemm ? &table : NULL; }
