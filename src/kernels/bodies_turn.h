/* Rows and columns of numbers turned: of LANES rows at a time, four columns, in registers. */

#if defined(__clang__) || __GNUC__ >= 12
#define MIX(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
typedef int32_t places __attribute__((vector_size(16)));
#define MIX(a, b, ...) __builtin_shuffle(a, b, (places){__VA_ARGS__})
#endif
typedef float quad __attribute__((vector_size(16)));

VECTOR void turn_four_rows(const float *from, size_t from_stride, float *to, size_t to_stride) {
    quad row[4], half[4], column[4];
    UNROLL_FOR(int r = 0; r < 4; r++) memcpy(&row[r], from + (size_t)r * from_stride, sizeof row[r]);
    UNROLL_FOR(int r = 0; r < 2; r++) {
        half[2 * r] = MIX(row[r], row[r + 2], 0, 4, 1, 5);
        half[2 * r + 1] = MIX(row[r], row[r + 2], 2, 6, 3, 7);
    }
    UNROLL_FOR(int r = 0; r < 2; r++) {
        column[2 * r] = MIX(half[r], half[r + 2], 0, 4, 1, 5);
        column[2 * r + 1] = MIX(half[r], half[r + 2], 2, 6, 3, 7);
    }
    UNROLL_FOR(int r = 0; r < 4; r++) memcpy(to + (size_t)r * to_stride, &column[r], sizeof column[r]);
}
#undef MIX

static void turn(const float *from, size_t from_stride, size_t rows, size_t columns, float *to,
                 size_t to_stride) {
    size_t turned = columns < 4 ? 0 : columns, r = 0;
#if LANES > 4
    for (; r + LANES <= rows; r += LANES)
        for (size_t k = 0; k < turned; k += 4) {
            size_t c = rnnrt_smaller(k, columns - 4); /* the last four may be turned in part */
            const float *x = from + r * from_stride + c;
            float *y = to + c * to_stride + r;
            vf four[4];
            UNROLL_FOR(int i = 0; i < 4; i++)
                four[i] = vf_load_fours(x + (size_t)i * from_stride, 4 * from_stride, 4);
            vf_turn_fours(four);
            UNROLL_FOR(int i = 0; i < 4; i++) vf_store(y + (size_t)i * to_stride, four[i]);
        }
#endif
    for (; r + 4 <= rows; r += 4)
        for (size_t k = 0; k < turned; k += 4) {
            size_t c = rnnrt_smaller(k, columns - 4);
            turn_four_rows(from + r * from_stride + c, from_stride, to + c * to_stride + r, to_stride);
        }
    for (size_t k = 0; k < rows; k++) /* what is left */
        for (size_t c = k < r ? turned : 0; c < columns; c++)
            to[c * to_stride + k] = from[k * from_stride + c];
}
