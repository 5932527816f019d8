/* The BLAS row of the kernel table: products run on a Fortran sgemm handed over by rnnrt_use_sgemm,
 * everything else on the best native table. Bits may differ from the native rows and with the number of rows:
 * that is OpenBLAS's nature. */
#include <string.h>

#include "kernels.h"

static rnnrt_sgemm *sgemm;
static struct rnnrt_kernels table;

static size_t packed_size(size_t outputs, size_t terms) { return outputs * terms; }

static void pack(float *packed, const float *weight, size_t outputs, size_t terms) {
    memcpy(packed, weight, outputs * terms * sizeof *packed);
}

/* Row-major y = x W^T is column-major y^T = W x^T with W^T as stored. */
static void product(const float *packed, size_t outputs, size_t terms, const float *bias, bool add,
                    const float *x, size_t x_stride, size_t rows, float *y, size_t y_stride) {
    if (!rows) return;
    int m = (int)outputs, n = (int)rows, k = (int)terms, lda = k, ldb = rows > 1 ? (int)x_stride : k,
        ldc = rows > 1 ? (int)y_stride : m;
    float one = 1.0f, beta = add || bias ? 1.0f : 0.0f;
    char transposed = 'T', plain = 'N';
    if (ldb < k) ldb = k; /* overlapping windows: Fortran wants ldb >= k, so they go one by one */
    if (!add && bias)
        for (size_t r = 0; r < rows; r++) memcpy(y + r * y_stride, bias, outputs * sizeof *y);
    if (rows > 1 && x_stride < terms) {
        n = 1;
        for (size_t r = 0; r < rows; r++)
            sgemm(&transposed, &plain, &m, &n, &k, &one, (float *)packed, &lda, (float *)(x + r * x_stride),
                  &ldb, &beta, y + r * y_stride, &ldc);
        return;
    }
    sgemm(&transposed, &plain, &m, &n, &k, &one, (float *)packed, &lda, (float *)x, &ldb, &beta, y, &ldc);
}

void rnnrt_use_sgemm(rnnrt_sgemm *function) {
    const struct rnnrt_kernels *best = rnnrt_kernels_find(NULL);
    if (!best) return; /* RNNRT_ISA names none: the plan that asks for "blas" says so */
    table = *best;
    table.isa = "blas";
    table.packed_size = packed_size;
    table.pack = pack;
    table.product = product;
    table.product_beside = NULL;
    table.finish_job = NULL;
    sgemm = function;
}

const struct rnnrt_kernels *rnnrt_kernels_blas(void) { return sgemm ? &table : NULL; }
