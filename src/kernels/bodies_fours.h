/* The last outputs of a product where no more than four are left of them: a vector holds those of as many
 * rows as there are fours in it. A vector for each row would be mostly empty. */

enum {
    FOURS = LANES / 4, /* rows in a vector */
    LEAST_FOURS = 4,   /* vectors of a tile: fewer sums would wait for each other */
    MOST_FOURS = 8,
};

/* The pointer is what it is: a compiler that works out that of every row before the loop has no registers for
 * them. */
#define KEEP_WALKING(pointer) __asm__("" : "+r"(pointer))

/* Terms from .. to - 1 of vectors of rows. */
VECTOR void fours_terms(const int vectors, const float *w, const float *x, size_t x_stride, size_t from,
                        size_t to, vf sum[][8]) {
    size_t k = from;
    for (; k + 4 <= to; k += 4) {
        const float *row = x + k;
        vf weight[4];
        UNROLL_FOR(int i = 0; i < 4; i++) weight[i] = vf_repeat_four(w + (k + (size_t)i) * PANEL, 4);
        UNROLL_FOR(int r = 0; r < vectors; r++, row += FOURS * x_stride) {
            KEEP_WALKING(row);
            vf four = vf_load_fours(row, x_stride, 4);
            UNROLL_FOR(int i = 0; i < 4; i++)
                sum[r][0] = vf_fma(vf_spread_four(four, i), weight[i], sum[r][0]);
        }
    }
    for (; k < to; k++) {
        const float *row = x + k;
        vf weight = vf_repeat_four(w + k * PANEL, 4);
        UNROLL_FOR(int r = 0; r < vectors; r++, row += FOURS * x_stride) {
            KEEP_WALKING(row);
            sum[r][0] = vf_fma(vf_spread_four(vf_load_fours(row, x_stride, 1), 0), weight, sum[r][0]);
        }
    }
}
