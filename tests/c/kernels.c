/* Every kernel of one table, at the sizes that bite: prints a hash of its answers per kernel. Tables whose
 * fma rounds once print the same (tests/data/kernels.txt).
 *
 *     kernels [ISA]      the best table by default
 *     kernels avx2 > tests/data/kernels.txt      records, after a change of arithmetic on purpose
 *
 * Exit code 1 where two products at once answer otherwise than one after the other, or some columns of a
 * matrix otherwise than a matrix of them alone. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"

enum { MOST = 640 };

static const size_t sizes[] = {1,  2,  3,  4,  5,  7,  8,  9,  12, 15, 16, 17, 20,  24,  31,  32,  33,
                               39, 40, 41, 47, 48, 49, 63, 64, 65, 95, 96, 97, 127, 128, 129, 130, 200};
enum { SIZES = sizeof sizes / sizeof *sizes };

static uint64_t state = 1;

/* Numbers of 16 bits from -2 to 2: exact in float32; sums of their products are not. */
static void fill(float *p, size_t n) {
    for (size_t i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        p[i] = (float)((int)(state >> 40 & 0xffffu) - 0x8000) / 16384.0f;
    }
}

static float *numbers(size_t n) { /* exactly so many, so that a read beyond is seen by the sanitizers */
    float *p = malloc(n * sizeof *p + (n == 0));
    if (!p) exit(2);
    fill(p, n);
    return p;
}

static uint64_t hash;

static void take(const float *p, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint32_t word;
        memcpy(&word, p + i, sizeof word);
        if ((word & 0x7fffffffu) > 0x7f800000u) word = 0x7fc00000u; /* the bits of a NaN are not promised */
        hash = (hash ^ word) * 1099511628211u;
    }
}

static void begin(void) {
    hash = 14695981039346656037u;
    state = 1;
}

static void finish(const char *kernel) { printf("%s %016llx\n", kernel, (unsigned long long)hash); }

static struct rnnrt_matrix packed_of(const struct rnnrt_kernels *t, const float *w, size_t outputs,
                                     size_t depth) {
    struct rnnrt_matrix matrix = {.dtype = RNNRT_FLOAT32, .outputs = outputs, .depth = depth};
    void *room = aligned_alloc(64, (t->packed_bytes(&matrix) + 127) / 64 * 64);
    if (!room) exit(2);
    t->pack(&matrix, w, room);
    return matrix;
}

static void release(const struct rnnrt_matrix *w) { free((void *)w->panels); }

static struct rnnrt_product call_of(const float *x, size_t depth, size_t rows, float *y, size_t outputs) {
    return (struct rnnrt_product){
        .x = x, .x_stride = depth, .depth = depth, .rows = rows, .y = y, .y_stride = outputs};
}

static void products(const struct rnnrt_kernels *t) {
    begin();
    for (size_t o = 0; o < SIZES; o++)
        for (size_t k = 0; k < SIZES; k++) {
            size_t outputs = sizes[o], depth = sizes[k], rows = 2 + (o + k) % 17, stride = depth + (k & 1);
            float *w = numbers(outputs * depth), *bias = numbers(outputs), *x = numbers(rows * stride),
                  *y = numbers(rows * (outputs + 1));
            struct rnnrt_matrix matrix = packed_of(t, w, outputs, depth);
            struct rnnrt_product call = call_of(x, depth, rows, y, outputs + 1);
            call.x_stride = stride, call.bias = bias;
            t->product(&matrix, &call);
            take(y, rows * (outputs + 1));
            call.bias = NULL, call.rows = 1, call.add = true;
            t->product(&matrix, &call);
            take(y, outputs);
            call.rows = 1 + rows / 2, call.add = false;
            t->product(&matrix, &call);
            take(y, outputs);
            free(w), free(bias), free(x), free(y), release(&matrix);
        }
    finish("product");
}

static int differ(const float *a, const float *b, size_t n) { return memcmp(a, b, n * sizeof *a) != 0; }

/* Columns first .. first + depth - 1 of a matrix as a matrix of their own. */
static void products_of_columns(const struct rnnrt_kernels *t) {
    static const size_t outputs[] = {1, 4, 5, 33, 130}, whole[] = {20, 51, 192}, rows[] = {1, 2, 9};
    for (int i = 0; i < 5 * 3 * 3 * 3; i++) {
        size_t n = outputs[i % 5], all = whole[i / 5 % 3], r = rows[i / 15 % 3], part = all / 3,
               first = (size_t)(i / 45) * part;
        float *w = numbers(n * all), *some = numbers(n * part), *x = numbers(r * part), *bias = numbers(n),
              *y = numbers(r * n), *wanted = numbers(r * n);
        w[first ? 0 : all - 1] = HUGE_VALF; /* other columns have no part in it */
        for (size_t j = 0; j < n; j++) memcpy(some + j * part, w + j * all + first, part * sizeof *w);
        struct rnnrt_matrix matrix = packed_of(t, w, n, all), alone = packed_of(t, some, n, part);
        struct rnnrt_product call = call_of(x, part, r, wanted, n);
        call.bias = bias;
        t->product(&alone, &call);
        call.y = y, call.first = first;
        t->product(&matrix, &call);
        if (differ(y, wanted, r * n)) {
            fprintf(stderr, "columns from %zu of %zu x %zu differ\n", first, n, all);
            exit(1);
        }
        free(w), free(some), free(x), free(bias), free(y), free(wanted), release(&matrix), release(&alone);
    }
}

/* Rows in pieces: the answers of one product a piece; channel by channel those of one fma a piece. */
static void products_of_pieces(const struct rnnrt_kernels *t) {
    static const size_t outputs[] = {1, 4, 5, 17, 33, 130}, depths[] = {1, 16, 20, 70},
                        rows[] = {1, 2, 3, 5, 7, 8, 13, 35}, counts[] = {0, 1, 2, 5};
    for (int i = 0; i < 6 * 4 * 8 * 4 * 3; i++) {
        size_t n = outputs[i % 6], depth = depths[i / 6 % 4], r = rows[i / 24 % 8],
               count = counts[i / 192 % 4];
        bool add = i / 768 == 2;
        float *w = numbers(n * (5 + 1) * depth), *bias = numbers(n + depth),
              *y = numbers(r * (n + depth + 3)), *wanted = numbers(r * (n + depth + 3)),
              *x = numbers(5 * (r + 4) * (depth + 3));
        float *begun = numbers(r * (n + depth + 3));
        memcpy(wanted, y, r * (n + depth + 3) * sizeof *y);
        memcpy(begun, y, r * (n + depth + 3) * sizeof *y);
        struct rnnrt_matrix matrix = packed_of(t, w, n, 6 * depth);
        struct rnnrt_piece pieces[5];
        for (size_t p = 0; p < 5; p++) /* of other strides, and they may overlap */
            pieces[p] = (struct rnnrt_piece){x + p * depth / 2, p % 2 ? depth : depth + 3};
        struct rnnrt_product call = {.pieces = pieces, .piece_count = count, .first = depth, .depth = depth};
        call.rows = r, call.y = y, call.y_stride = n + 3, call.bias = i / 768 ? bias : NULL, call.add = add;
        t->product(&matrix, &call);
        struct rnnrt_product one = {
            .first = depth, .depth = depth, .rows = r, .y = wanted, .y_stride = n + 3, .add = true};
        for (size_t k = 0; k < r && !add; k++)
            for (size_t j = 0; j < n; j++) wanted[k * (n + 3) + j] = call.bias ? bias[j] : 0.0f;
        for (size_t p = 0; p < count; p++, one.first += depth) {
            one.x = pieces[p].x, one.x_stride = pieces[p].stride;
            t->product(&matrix, &one);
        }
        int wrong = differ(y, wanted, r * (n + 3) - 3);
        for (size_t k = 0; k < r; k++) { /* relu of that; an `add` starts from what y is */
            float *row = wanted + k * (n + 3);
            if (add) memcpy(y + k * (n + 3), begun + k * (n + 3), n * sizeof *y);
            t->activate((struct rnnrt_function){.name = RNNRT_RELU}, n, row, row);
        }
        call.rectified = true;
        t->product(&matrix, &call);
        wrong |= differ(y, wanted, r * (n + 3) - 3);
        call.rectified = !add && i % 2;
        call.y_stride = depth;
        memcpy(wanted, y, r * depth * sizeof *y);
        t->depthwise(w, &call);
        for (size_t k = 0; k < r; k++) {
            float *row = wanted + k * depth;
            for (size_t j = 0; j < depth && !add; j++) row[j] = call.bias ? bias[j] : 0.0f;
            for (size_t p = 0; p < count; p++)
                t->multiply_add(depth, w + p * depth, pieces[p].x + k * pieces[p].stride, row);
            if (call.rectified) t->activate((struct rnnrt_function){.name = RNNRT_RELU}, depth, row, row);
        }
        wrong |= differ(y, wanted, r * depth);
        for (size_t p = 0; p < 5; p++) /* frames one after the other: many rows share what they load */
            pieces[p] = (struct rnnrt_piece){x + p * depth, depth};
        t->depthwise(w, &call);
        for (size_t k = 0; k < r; k++) {
            struct rnnrt_product row = call;
            struct rnnrt_piece own[5];
            for (size_t p = 0; p < 5; p++) own[p] = (struct rnnrt_piece){x + (p + k) * depth, depth};
            row.pieces = own, row.rows = 1, row.y = wanted + k * depth;
            t->depthwise(w, &row);
        }
        if (wrong || differ(y, wanted, r * depth)) {
            fprintf(stderr, "%zu rows of %zu pieces of %zu, %zu outputs: differ\n", r, count, depth, n);
            exit(1);
        }
        free(begun), free(w), free(bias), free(x), free(y), free(wanted), release(&matrix);
    }
}

/* Pieces that are one sum have the answer of the row copied together, wherever in the sum they begin; and so
 * have lanes that lie across groups, term after term. */
static void joined_pieces(const struct rnnrt_kernels *t) {
    static const size_t ins[] = {1, 2, 4, 3, 15, 8}, outs[] = {1, 2, 4, 5, 7, 20, 8},
                        counts[] = {1, 3, 40, 70};
    for (int i = 0; i < 6 * 7 * 4 * 3; i++) {
        size_t in = ins[i % 6], out = outs[i / 6 % 7], count = counts[i / 42 % 4],
               first = i / 168 == 1 ? 3 : 0, taps = count + first, depth = taps * in, r = 1 + (size_t)i % 9,
               groups = 1 + (size_t)i % 7;
        float *w = numbers(groups * out * depth), *x = numbers((taps + r) * groups * in),
              *bias = numbers(groups * out), *y = numbers(r * groups * out),
              *wanted = numbers(r * groups * out), *row = numbers(depth),
              *table = numbers(groups * out * depth);
        struct rnnrt_piece *pieces = malloc(count * sizeof *pieces);
        if (!pieces) exit(2);
        struct rnnrt_product call = {
            .pieces = pieces, .piece_count = count, .joined = true, .first = first * in};
        call.rows = r, call.y_stride = groups * out, call.bias = i % 3 ? bias : NULL;
        for (size_t g = 0; g < groups; g++) {
            struct rnnrt_matrix matrix = packed_of(t, w + g * out * depth, out, depth);
            for (size_t k = 0; k < r; k++) { /* the taps before the first are left out: zeros add nothing */
                for (size_t j = 0; j < depth; j++)
                    row[j] = j < first * in ? 0.0f : x[(k + j / in) * groups * in + g * in + j % in];
                struct rnnrt_product one = call_of(row, depth, 1, wanted + (k * groups + g) * out, out);
                one.bias = call.bias ? bias + g * out : NULL;
                t->product(&matrix, &one);
                if (out > RNNRT_DOT_MAX_OUTPUTS) continue;
                for (size_t o = 0; o < out; o++) { /* a chain a segment, as of many outputs */
                    float total = call.bias ? bias[g * out + o] : 0.0f, sum = 0.0f;
                    for (size_t j = 0; j < depth; j++) {
                        t->multiply_add(1, row + j, w + (g * out + o) * depth + j, &sum);
                        if ((j + 1) % RNNRT_SEGMENT && j + 1 < depth) continue;
                        total += sum, sum = 0.0f;
                    }
                    wanted[(k * groups + g) * out + o] = total;
                }
            }
            for (size_t p = 0; p < count; p++)
                pieces[p] = (struct rnnrt_piece){x + (first + p) * groups * in + g * in, groups * in};
            call.depth = in, call.y = y + g * out, call.bias = call.bias ? bias + g * out : NULL;
            if (out > RNNRT_DOT_MAX_OUTPUTS) t->product(&matrix, &call);
            release(&matrix);
            for (size_t o = 0; o < out; o++)
                for (size_t j = 0; j < depth; j++)
                    table[j * groups * out + g * out + o] = w[(g * out + o) * depth + j];
        }
        int wrong = out > RNNRT_DOT_MAX_OUTPUTS && differ(y, wanted, r * groups * out);
        for (size_t p = 0; p < count; p++)
            pieces[p] = (struct rnnrt_piece){x + (first + p) * groups * in, groups * in};
        call.depth = groups * in, call.y = y, call.bias = i % 3 ? bias : NULL;
        call.rectified = i % 2;
        t->grouped(table + first * in * groups * out, in, out, &call);
        for (size_t j = 0; call.rectified && j < r * groups * out; j++)
            wanted[j] = wanted[j] > 0 ? wanted[j] : 0;
        if (wrong || differ(y, wanted, r * groups * out)) {
            fprintf(stderr, "%zu rows of %zu joined pieces, %zu groups of %zu to %zu: differ\n", r, count,
                    groups, in, out);
            exit(1);
        }
        free(w), free(x), free(bias), free(y), free(wanted), free(row), free(table), free(pieces);
    }
}

/* A product of one row, again and again, while one of many rows runs: each must answer as it does alone. */
static void products_at_once(const struct rnnrt_kernels *t) {
    static const size_t outputs[] = {3, 64, 127, 128, 130, 512, 515, MOST}, depth[] = {1, 20, 64, 130},
                        many_outputs[] = {4, 16, 32, 40, 64, 97}, many_depth[] = {1, 63, 64, 65, 200},
                        rows[] = {1, 5, 6, 7, 13, 24};
    for (int i = 0; i < 8 * 4 * 6 * 5 * 6; i++) {
        int rest = i;
        size_t n = outputs[rest % 8], k = depth[(rest /= 8) % 4], mn = many_outputs[(rest /= 4) % 6],
               mk = many_depth[(rest /= 6) % 5], r = rows[(rest /= 5) % 6];
        float *w = numbers(n * k), *x = numbers(k), *bias = numbers(n), *y = numbers(n), *wanted = numbers(n);
        float *mw = numbers(mn * mk), *mx = numbers(r * mk), *mbias = numbers(mn), *my = numbers(r * mn),
              *mwanted = numbers(r * mn);
        struct rnnrt_matrix matrix = packed_of(t, w, n, k), many = packed_of(t, mw, mn, mk);
        struct rnnrt_overlapped overlapped = {.weight = &many, .call = call_of(mx, mk, r, mwanted, mn)};
        overlapped.call.bias = i % 3 ? mbias : NULL;
        t->product(&many, &overlapped.call);
        overlapped.call.y = my;
        for (int times = 0; times < 1 + i % 4; times++) {
            memcpy(wanted, y, n * sizeof *y);
            struct rnnrt_product call = call_of(x, k, 1, wanted, n);
            call.bias = bias, call.add = times & 1;
            t->product(&matrix, &call);
            call.y = y, call.upwards = times / 2 == i % 2;
            t->product_overlapped(&matrix, &call, &overlapped);
            if (differ(y, wanted, n)) {
                fprintf(stderr, "%zu x %zu with an overlapped product differs\n", n, k);
                exit(1);
            }
        }
        t->finish_overlapped(&overlapped);
        if (differ(my, mwanted, r * mn)) {
            fprintf(stderr, "%zu rows, %zu x %zu, overlapped with %zu x %zu differ\n", r, mn, mk, n, k);
            exit(1);
        }
        free(w), free(x), free(bias), free(y), free(wanted), release(&matrix);
        free(mw), free(mx), free(mbias), free(my), free(mwanted), release(&many);
    }
}

/* Two products of one row in turns, and from the first output to the last: as one after the other. */
static void products_in_pairs(const struct rnnrt_kernels *t) {
    static const size_t outputs[] = {3, 4, 5, 60, 64, 65, 127, 128, 130, 515, MOST},
                        depth[] = {1, 20, 64, 130};
    for (int i = 0; i < 11 * 4 * 4 * 4; i++) {
        size_t n = outputs[i % 11], k = depth[i / 11 % 4], m = depth[i / 44 % 4];
        bool same = i / 176 & 1; /* the second adds to what the first makes */
        float *w = numbers(n * k), *u = numbers(n * m), *x = numbers(k), *h = numbers(m), *bias = numbers(n),
              *y = numbers(2 * n), *wanted = numbers(2 * n);
        struct rnnrt_matrix first = packed_of(t, w, n, k), second = packed_of(t, u, n, m);
        struct rnnrt_product call = call_of(x, k, 1, wanted, n),
                             then = call_of(h, m, 1, same ? wanted : wanted + n, n);
        call.bias = bias, then.add = same;
        t->product(&first, &call), t->product(&second, &then);
        call.y = y, then.y = same ? y : y + n, call.upwards = then.upwards = i / 352 & 1;
        if (t->product_pair) t->product_pair(&first, &call, &second, &then);
        else t->product(&first, &call), t->product(&second, &then);
        if (differ(y, wanted, same ? n : 2 * n)) {
            fprintf(stderr, "%zu x %zu and %zu x %zu, a pair, differ\n", n, k, n, m);
            exit(1);
        }
        free(w), free(u), free(x), free(h), free(bias), free(y), free(wanted);
        release(&first), release(&second);
    }
}

/* Rows and columns change places, and nothing beside them is written. */
static void turned(const struct rnnrt_kernels *t) {
    static const size_t counts[] = {1, 3, 4, 5, 8, 15, 16, 17, 20, 23, 48};
    for (int i = 0; i < 11 * 11 * 2; i++) {
        size_t rows = counts[i % 11], columns = counts[i / 11 % 11], apart = columns + (i < 121 ? 0 : 3),
               turned_apart = rows + (i < 121 ? 0 : 2);
        float *x = numbers((rows - 1) * apart + columns), *y = numbers(columns * turned_apart);
        float *wanted = numbers(columns * turned_apart);
        memcpy(wanted, y, columns * turned_apart * sizeof *y);
        for (size_t r = 0; r < rows; r++)
            for (size_t c = 0; c < columns; c++) wanted[c * turned_apart + r] = x[r * apart + c];
        t->turn(x, apart, rows, columns, y, turned_apart);
        if (differ(y, wanted, columns * turned_apart)) {
            fprintf(stderr, "%zu rows of %zu, turned, differ\n", rows, columns);
            exit(1);
        }
        free(x), free(y), free(wanted);
    }
}

static void functions(const struct rnnrt_kernels *t) {
    static float x[1 << 16], y[1 << 16];
    begin();
    for (uint32_t i = 0; i < 1 << 16; i++) {
        uint32_t word = i * 65537u;
        memcpy(x + i, &word, sizeof word);
    }
    for (int name = 0; name < RNNRT_FUNCTIONS; name++)
        for (size_t n = (1 << 16) - 3; n <= 1 << 16; n++) {
            struct rnnrt_function f = {(enum rnnrt_function_name)name, 0.7f};
            t->activate(f, n, x, y);
            take(y, n);
        }
    finish("activate");
}

static void rows_of_features(const struct rnnrt_kernels *t) {
    float *x = numbers(9 * MOST), *y = numbers(9 * MOST), *gamma = numbers(MOST), *beta = numbers(MOST);
    begin();
    fill(x, 9 * MOST);
    for (size_t s = 0; s < SIZES; s++) {
        t->softmax(s % 2, sizes[s], 9, x, y);
        take(y, 9 * sizes[s]);
    }
    finish("softmax");
    begin();
    for (size_t s = 0; s < SIZES; s++) {
        size_t n = sizes[s];
        t->normalize(n, 9, gamma, s & 1 ? beta : NULL, 1e-3f, x, n + 1, y, n);
        take(y, 9 * n);
        t->normalize(n, 9, NULL, NULL, 1e-3f, x, n, y, n);
        take(y, 9 * n);
    }
    finish("normalize");
    begin();
    for (size_t s = 0; s < SIZES; s++) {
        t->affine(sizes[s], 9, NULL, gamma, beta, x, y);
        take(y, 9 * sizes[s]);
        t->affine(sizes[s], 9, beta, gamma, beta, x, y);
        take(y, 9 * sizes[s]);
    }
    finish("affine");
    free(x), free(y), free(gamma), free(beta);
}

static void pairs_of_numbers(const struct rnnrt_kernels *t) {
    static const char *const names[] = {"add", "multiply", "maximum"};
    void (*const kernels[])(size_t, const float *, const float *, float *) = {t->add, t->multiply,
                                                                              t->maximum};
    for (int k = 0; k < 3; k++) {
        float *a = numbers(MOST), *b = numbers(MOST), *y = numbers(MOST);
        begin();
        fill(a, MOST), fill(b, MOST);
        for (size_t s = 0; s < SIZES; s++) {
            kernels[k](sizes[s], a, b, y);
            take(y, sizes[s]);
        }
        finish(names[k]);
        free(a), free(b), free(y);
    }
}

static void cells(const struct rnnrt_kernels *t) {
    enum { ROWS = 3, UNITS = 200 };
    static float p[ROWS * 4 * UNITS], q[ROWS * 3 * UNITS], h[ROWS * UNITS], c[ROWS * UNITS], y[ROWS * UNITS];
    static const char *const names[] = {"lstm", "gru", "lstm_cells", "lerp", "multiply_add"};
    for (int k = 0; k < 5; k++) {
        begin();
        for (size_t s = 0; s < SIZES; s++) {
            size_t n = sizes[s], made = k < 2 ? ROWS * n : n;
            fill(p, ROWS * 4 * n), fill(q, ROWS * 3 * n), fill(h, ROWS * n), fill(c, ROWS * n), fill(y, made);
            switch (k) {
            case 0: t->lstm(n, ROWS, p, 4 * n, c, n, y, n); break;
            case 1: t->gru(n, ROWS, p, 3 * n, q, 3 * n, h, n, y, n); break;
            case 2: t->lstm_cells(n, p, c); break;
            case 3: t->lerp(n, p, q, h, y); break;
            case 4: t->multiply_add(n, p, q, y); break;
            }
            take(c, ROWS * n), take(y, made);
        }
        finish(names[k]);
    }
}

int main(int count, char **words) {
    const struct rnnrt_kernels *t = rnnrt_kernels_find(count > 1 ? words[1] : NULL);
    if (!t) {
        fprintf(stderr, "this instruction set is unknown, or this processor lacks it\n");
        return 2;
    }
    fprintf(stderr, "%s\n", t->isa);
    products(t);
    products_of_pieces(t);
    joined_pieces(t);
    products_of_columns(t);
    products_in_pairs(t);
    if (t->product_overlapped) products_at_once(t);
    turned(t);
    functions(t);
    rows_of_features(t);
    pairs_of_numbers(t);
    cells(t);
    return 0;
}
