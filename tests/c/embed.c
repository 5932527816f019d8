/* rnnrt from C, without Python: what a program that embeds it writes, and rows that a plan must refuse.
 *
 * tests/c/test_embed.py compiles it with the sanitizers. Exit code 0: every check held. */
#include <math.h>

#include "checked.h"

/* ---- the example: LSTM -> dense, step by step, in chunks and whole ---- */

enum { IN = 3, UNITS = 5, OUT = 2, FRAMES = 23 };

struct network {
    float weight[4 * UNITS * IN], recurrent[4 * UNITS * UNITS], bias[4 * UNITS], dense[OUT * UNITS],
        dense_bias[OUT];
};

static struct rnnrt_plan *lstm_and_dense(const struct network *n) {
    struct rnnrt_layer_desc rows[3];
    memset(rows, 0, sizeof rows);
    rows[0] = (struct rnnrt_layer_desc){.kind = rnnrt_kind_input, .output_size = IN, .timed = 1};
    rows[1] = (struct rnnrt_layer_desc){.kind = rnnrt_kind_lstm,
                                        .inputs = 1,
                                        .input = {0},
                                        .input_size = IN,
                                        .output_size = UNITS,
                                        .timed = 1,
                                        .units = UNITS,
                                        .activation = {RNNRT_TANH, 0},
                                        .recurrent_activation = {RNNRT_SIGMOID, 0},
                                        .weight = n->weight,
                                        .recurrent_weight = n->recurrent,
                                        .bias = n->bias};
    rows[2] = (struct rnnrt_layer_desc){.kind = rnnrt_kind_dense,
                                        .inputs = 1,
                                        .input = {1},
                                        .input_size = UNITS,
                                        .output_size = OUT,
                                        .timed = 1,
                                        .weight = n->dense,
                                        .bias = n->dense_bias};
    int32_t output = rnnrt_value(rows, 2, 0);
    struct rnnrt_plan *plan;
    struct rnnrt_error error;
    CHECK(rnnrt_plan_create(&plan, rows, 3, &output, 1, NULL, NULL, &error) == RNNRT_OK);
    return plan;
}

/* ---- the whole state of a stream, as bytes: position and arrays of every row ---- */

static size_t array_bytes(const struct rnnrt_state_array *array) {
    return array->frames * array->width * (array->wide ? sizeof(double) : sizeof(float));
}

static size_t state_bytes(const struct rnnrt_plan *plan, size_t batch) {
    struct rnnrt_state_array array;
    size_t bytes = sizeof(uint64_t);
    for (size_t k = 0; rnnrt_plan_state_array(plan, k, &array); k++) bytes += array_bytes(&array);
    return bytes * batch;
}

static void state_get(const struct rnnrt_plan *plan, const struct rnnrt_stream *stream, size_t batch,
                      char *to) {
    struct rnnrt_state_array array;
    for (size_t b = 0; b < batch; b++) {
        char *row = rnnrt_stream_row(stream, b);
        uint64_t position = rnnrt_row_position(row, 0);
        memcpy(to, &position, sizeof position);
        to += sizeof position;
        for (size_t k = 0; rnnrt_plan_state_array(plan, k, &array); k++, to += array_bytes(&array))
            rnnrt_row_read(plan, row, k, to);
    }
}

static enum rnnrt_status state_set(const struct rnnrt_plan *plan, struct rnnrt_stream *stream, size_t batch,
                                   bool every_step, const char *from) {
    struct rnnrt_state_array array;
    rnnrt_stream_reset(stream);
    for (size_t b = 0; b < batch; b++) {
        char *row = rnnrt_stream_row(stream, b);
        uint64_t position;
        memcpy(&position, from, sizeof position);
        from += sizeof position;
        enum rnnrt_status status = rnnrt_row_seek(plan, row, &position, every_step);
        if (status) return status;
        for (size_t k = 0; rnnrt_plan_state_array(plan, k, &array); k++, from += array_bytes(&array))
            rnnrt_row_write(plan, row, k, from);
    }
    return RNNRT_OK;
}

/* The same network as a textbook writes it, in double. */
static void textbook(const struct network *n, const float *x, double *y) {
    double h[UNITS] = {0}, c[UNITS] = {0}, gate[4 * UNITS];
    for (int t = 0; t < FRAMES; t++) {
        for (int r = 0; r < 4 * UNITS; r++) {
            gate[r] = (double)n->bias[r];
            for (int k = 0; k < IN; k++) gate[r] += (double)n->weight[r * IN + k] * (double)x[t * IN + k];
            for (int k = 0; k < UNITS; k++) gate[r] += (double)n->recurrent[r * UNITS + k] * h[k];
        }
        for (int u = 0; u < UNITS; u++) {
            double i = 1 / (1 + exp(-gate[u])), f = 1 / (1 + exp(-gate[UNITS + u])),
                   o = 1 / (1 + exp(-gate[3 * UNITS + u]));
            c[u] = f * c[u] + i * tanh(gate[2 * UNITS + u]);
            h[u] = o * tanh(c[u]);
        }
        for (int r = 0; r < OUT; r++) {
            y[t * OUT + r] = (double)n->dense_bias[r];
            for (int k = 0; k < UNITS; k++) y[t * OUT + r] += (double)n->dense[r * UNITS + k] * h[k];
        }
    }
}

static void example(void) {
    struct network n;
    struct rnnrt_error error;
    float x[FRAMES * IN], stepped[FRAMES * OUT], pushed[FRAMES * OUT], whole[FRAMES * OUT], end[UNITS];
    double wanted[FRAMES * OUT];
    fill(n.weight, sizeof n.weight / 4), fill(n.recurrent, sizeof n.recurrent / 4),
        fill(n.bias, sizeof n.bias / 4);
    fill(n.dense, sizeof n.dense / 4), fill(n.dense_bias, sizeof n.dense_bias / 4), fill(x, sizeof x / 4);
    textbook(&n, x, wanted);
    struct rnnrt_plan *plan = lstm_and_dense(&n);
    struct rnnrt_stream *stream;
    CHECK(rnnrt_stream_create(&stream, plan, 1, 0, false, false, &error) == RNNRT_OK);

    size_t before = allocations;
    for (int t = 0; t < FRAMES; t++)
        CHECK(rnnrt_stream_step(stream, x + t * IN, stepped + t * OUT, &error) == 1);
    CHECK(rnnrt_stream_position(stream, 0) == FRAMES);
    for (int i = 0; i < FRAMES * OUT; i++) CHECK(fabs((double)stepped[i] - wanted[i]) < 1e-5);

    rnnrt_stream_reset(stream);
    for (size_t at = 0, made = 0, chunk = 0; at < FRAMES; at += chunk, chunk++) {
        chunk = chunk < FRAMES - at ? chunk : FRAMES - at;
        struct rnnrt_array in = {x + at * IN, IN, IN, chunk, 1},
                           out = {pushed + made * OUT, OUT, OUT, rnnrt_stream_due(stream, 0, &chunk, false),
                                  1};
        CHECK(rnnrt_stream_push(stream, &in, &out, NULL, &error) == RNNRT_OK && out.frames == chunk);
        made += out.frames;
    }
    CHECK(!memcmp(pushed, stepped, sizeof pushed));
    CHECK(allocations == before); /* neither step nor push nor reset allocates */

    struct rnnrt_state_array array;
    float h[UNITS];
    CHECK(rnnrt_plan_state_array(plan, 0, &array) && !strcmp(array.word, "h") && array.width == UNITS);
    CHECK(rnnrt_plan_state_array(plan, 1, &array) && !strcmp(array.word, "c") && array.layer == 1);
    CHECK(!rnnrt_plan_state_array(plan, 2, &array));
    rnnrt_row_read(plan, rnnrt_stream_row(stream, 0), 0, h);
    struct rnnrt_array in = {x, IN, IN, FRAMES, 1}, out = {whole, OUT, OUT, FRAMES, 1};
    struct rnnrt_state_value final = {2, end};
    CHECK(rnnrt_run(plan, 1, &in, &out, NULL, NULL, 0, &final, 1, 0, NULL, &error) == RNNRT_OK &&
          out.frames == FRAMES);
    CHECK(!memcmp(whole, stepped, sizeof whole) && !memcmp(h, end, sizeof end));

    /* numbers of a frame apart: each over time */
    float turned_x[IN * FRAMES], turned_y[OUT * FRAMES];
    for (int i = 0; i < IN * FRAMES; i++) turned_x[i % IN * FRAMES + i / IN] = x[i];
    struct rnnrt_array turned_in = {turned_x, 1, IN, FRAMES, FRAMES},
                       turned_out = {turned_y, 1, OUT, FRAMES, FRAMES};
    CHECK(rnnrt_run(plan, 1, &turned_in, &turned_out, NULL, NULL, 0, NULL, 0, 0, NULL, &error) == RNNRT_OK);
    for (int i = 0; i < OUT * FRAMES; i++) CHECK(turned_y[i % OUT * FRAMES + i / OUT] == stepped[i]);
    CHECK(rnnrt_run(plan, 0, &in, &out, NULL, NULL, 0, NULL, 0, 0, NULL, &error) == RNNRT_NO_MEMORY);

    /* half a sequence, its state kept, given to another stream, and gone on with */
    struct rnnrt_stream *other;
    CHECK(rnnrt_stream_create(&other, plan, 1, 0, false, false, &error) == RNNRT_OK);
    char *state = __real_malloc(state_bytes(plan, 1));
    rnnrt_stream_reset(stream);
    for (int t = 0; t < 10; t++) CHECK(rnnrt_stream_step(stream, x + t * IN, pushed, &error) == 1);
    state_get(plan, stream, 1, state);
    CHECK(state_set(plan, other, 1, false, state) == RNNRT_OK && rnnrt_stream_position(other, 0) == 10);
    for (int t = 10; t < FRAMES; t++) {
        CHECK(rnnrt_stream_step(other, x + t * IN, pushed, &error) == 1);
        CHECK(!memcmp(pushed, stepped + t * OUT, OUT * sizeof *pushed));
    }
    memset(state, 0x5a, state_bytes(plan, 1));
    CHECK(state_set(plan, other, 1, false, state) == RNNRT_BAD_STATE && rnnrt_stream_position(other, 0) == 0);

    out = (struct rnnrt_array){pushed, OUT, OUT, 0, 1};
    CHECK(rnnrt_stream_flush(other, &out, NULL, &error) == RNNRT_OK && out.frames == 0);
    CHECK(rnnrt_stream_flush(other, &out, NULL, &error) == RNNRT_ENDED &&
          rnnrt_stream_step(other, x, pushed, &error) == RNNRT_ENDED);
    rnnrt_stream_reset(other);
    CHECK(rnnrt_stream_step(other, x, pushed, &error) == 1 && !memcmp(pushed, stepped, OUT * sizeof *pushed));
    free(state);
    rnnrt_stream_free(other);
    rnnrt_stream_free(stream);
    rnnrt_plan_free(plan);
    rnnrt_plan_free(NULL), rnnrt_stream_free(NULL);
}

/* ---- plans of a family: one copy of the weights, read once ---- */

static void families(void) {
    enum { TAPS = 5, LENGTH = 9 };
    float *w = __real_malloc(OUT * TAPS * IN * sizeof *w), x[LENGTH * IN], y[LENGTH * OUT], z[LENGTH * OUT];
    fill(w, OUT * TAPS * IN), fill(x, LENGTH * IN);
    struct rnnrt_layer_desc rows[2] = {
        {.kind = rnnrt_kind_input, .output_size = IN, .timed = 1, .length = LENGTH},
        {.kind = rnnrt_kind_conv1d,
         .inputs = 1,
         .input_size = IN,
         .output_size = OUT,
         .timed = 1,
         .kernel_size = TAPS,
         .stride = 2,
         .dilation = 1,
         .groups = 1,
         .pad_left = 2,
         .pad_right = 2,
         .weight = w}};
    int32_t output = 1;
    struct rnnrt_plan *first, *second, *third, *none;
    struct rnnrt_error error;
    CHECK(rnnrt_plan_create(&first, rows, 2, &output, 1, NULL, NULL, &error) == RNNRT_OK);
    struct rnnrt_array in = {x, IN, IN, LENGTH, 1}, out = {y, OUT, OUT, LENGTH, 1};
    CHECK(rnnrt_run(first, 1, &in, &out, NULL, NULL, 0, NULL, 0, 0, NULL, &error) == RNNRT_OK);
    free(w); /* so that a second reading is seen; that the row has weights still counts */
    CHECK(rnnrt_plan_create(&second, rows, 2, &output, 1, NULL, first, &error) == RNNRT_OK);
    CHECK(rnnrt_plan_bytes(second) == rnnrt_plan_bytes(first));
    for (int k = 0; k < 4; k++) {
        struct rnnrt_layer_desc other[2] = {rows[0], rows[1]};
        if (k == 0) other[1].kernel_size = 3, other[1].pad_left = other[1].pad_right = 1;
        if (k == 1) other[1].output_size = OUT + 1;
        if (k == 2) other[1].bias = x;
        if (k == 3) other[1].weight = NULL;
        CHECK(rnnrt_plan_create(&none, other, 2, &output, 1, NULL, first, &error) == RNNRT_BAD_LAYER &&
              !none && error.layer == 1);
    }
    struct rnnrt_layer_desc more[3] = {rows[0], rows[0], rows[1]}; /* an input more, so other numbers */
    more[2].input[0] = 1;
    CHECK(rnnrt_plan_create(&none, more, 3, (int32_t[]){0, 2}, 2, NULL, first, &error) == RNNRT_BAD_LAYER);
    more[2].like = 2, more[1].like = 1, more[0].like = -1;
    CHECK(rnnrt_plan_create(&third, more, 3, (int32_t[]){0, 2}, 2, NULL, first, &error) == RNNRT_OK);
    CHECK(rnnrt_plan_bytes(third) == rnnrt_plan_bytes(first));
    for (int k = 0; k < 3; k++) {
        more[2].like = (int32_t[]){-1, 1, 3}[k]; /* no layer, the wrong one, one there is not */
        CHECK(rnnrt_plan_create(&none, more, 3, (int32_t[]){0, 2}, 2, NULL, first, &error) ==
                  RNNRT_BAD_LAYER &&
              error.layer == 2);
    }
    rnnrt_plan_free(first);
    out = (struct rnnrt_array){z, OUT, OUT, LENGTH, 1};
    CHECK(rnnrt_run(second, 1, &in, &out, NULL, NULL, 0, NULL, 0, 0, NULL, &error) == RNNRT_OK);
    CHECK(!memcmp(y, z, out.frames * OUT * sizeof *y));
    rnnrt_plan_free(second);
    struct rnnrt_array ins[2] = {in, in}, outs[2] = {out, out};
    float first_out[LENGTH * IN];
    outs[0] = (struct rnnrt_array){first_out, IN, IN, LENGTH, 1};
    outs[1] = (struct rnnrt_array){z, OUT, OUT, LENGTH, 1};
    memset(z, 0, sizeof z);
    CHECK(rnnrt_run(third, 1, ins, outs, NULL, NULL, 0, NULL, 0, 0, NULL, &error) == RNNRT_OK);
    CHECK(!memcmp(y, z, outs[1].frames * OUT * sizeof *z));
    rnnrt_plan_free(third);
}

/* ---- rows that began at different times ---- */

static void phases(void) {
    float w[OUT * 3 * IN], x[2 * IN], y[8 * OUT];
    fill(w, OUT * 3 * IN), fill(x, 2 * IN);
    struct rnnrt_layer_desc rows[2] = {{.kind = rnnrt_kind_input, .output_size = IN, .timed = 1},
                                       {.kind = rnnrt_kind_conv1d,
                                        .inputs = 1,
                                        .input_size = IN,
                                        .output_size = OUT,
                                        .timed = 1,
                                        .kernel_size = 3,
                                        .stride = 2,
                                        .dilation = 1,
                                        .groups = 1,
                                        .weight = w}};
    int32_t output = 1;
    struct rnnrt_plan *plan;
    struct rnnrt_stream *stream;
    struct rnnrt_error error;
    CHECK(rnnrt_plan_create(&plan, rows, 2, &output, 1, NULL, NULL, &error) == RNNRT_OK);
    CHECK(rnnrt_stream_create(&stream, plan, 2, 0, false, false, &error) == RNNRT_OK);
    char *first = rnnrt_stream_row(stream, 0), *second = rnnrt_stream_row(stream, 1);
    struct rnnrt_array in = {x, 2 * IN, IN, 1, 1}, out = {y, 2 * OUT, OUT, 4, 1}, flushed = out;
    CHECK(rnnrt_stream_push(stream, &in, &out, NULL, &error) == RNNRT_OK && out.frames == 0);
    rnnrt_stream_reset_row(stream, 1);
    /* the next answer of the one comes after two frames, that of the other after three */
    out.frames = 4;
    CHECK(rnnrt_stream_push(stream, &in, &out, NULL, &error) == RNNRT_OUT_OF_PHASE);
    CHECK(rnnrt_stream_flush(stream, &flushed, NULL, &error) == RNNRT_OUT_OF_PHASE);
    CHECK(rnnrt_row_position(first, 0) == 1 && rnnrt_row_position(second, 0) == 0);
    char *both[2] = {first, second};
    size_t made[2];
    CHECK(rnnrt_rows_push(plan, both, 2, false, &in, false, &out, NULL, NULL, &error) == RNNRT_OUT_OF_PHASE);
    CHECK(rnnrt_rows_push(plan, &second, 1, false, &in, false, &out, NULL, NULL, &error) == RNNRT_OK);
    for (int t = 1; t < 3; t++) {
        out.frames = 4;
        CHECK(rnnrt_stream_push(stream, &in, &out, NULL, &error) == RNNRT_OK && out.frames == (t == 2));
    }
    /* in one call, rows of any phase: the answers of both where each alone has them */
    float alone[2 * OUT], again[2 * OUT];
    rnnrt_stream_reset_row(stream, 0), rnnrt_stream_reset_row(stream, 1);
    struct rnnrt_array one = {x, IN, IN, 1, 1}, to = {alone, OUT, OUT, 1, 1};
    for (int t = 0; t < 3; t++) {
        to.frames = 1;
        CHECK(rnnrt_rows_push(plan, &first, 1, false, &one, false, &to, NULL, NULL, &error) == RNNRT_OK);
        CHECK(to.frames == (t == 2));
    }
    rnnrt_stream_reset_row(stream, 0);
    for (int t = 0; t < 2; t++) {
        to = (struct rnnrt_array){alone + OUT, OUT, OUT, 1, 1};
        CHECK(rnnrt_rows_push(plan, &first, 1, false, &one, false, &to, NULL, NULL, &error) == RNNRT_OK);
    }
    for (int o = 0; o < OUT; o++) again[OUT + o] = 7;
    struct rnnrt_array same = {x, 2 * IN, 0, 1, 1}; /* both rows take the same frame */
    to = (struct rnnrt_array){again, 2 * OUT, OUT, 1, 1};
    CHECK(rnnrt_rows_push(plan, both, 2, false, &same, false, &to, made, NULL, &error) == RNNRT_OK);
    CHECK(to.frames == 1 && made[0] == 1 && made[1] == 0 && !memcmp(again, alone, OUT * sizeof *alone));
    CHECK(again[OUT] == 7); /* of a row that is not due nothing is touched */
    rnnrt_stream_free(stream);
    rnnrt_plan_free(plan);
}

/* ---- a batch in slices of rows is the rows one by one ---- */

static void slices(void) {
    enum { ROWS = 70000 };
    struct network n;
    struct rnnrt_error error;
    fill(n.weight, sizeof n.weight / 4), fill(n.recurrent, sizeof n.recurrent / 4),
        fill(n.bias, sizeof n.bias / 4);
    fill(n.dense, sizeof n.dense / 4), fill(n.dense_bias, sizeof n.dense_bias / 4);
    struct rnnrt_plan *plan = lstm_and_dense(&n);
    CHECK(rnnrt_plan_rows(plan, 2) < ROWS);
    float *x = __real_malloc(ROWS * 2 * IN * sizeof *x), *y = __real_malloc(ROWS * 2 * OUT * sizeof *y),
          *h = __real_malloc(2 * ROWS * UNITS * sizeof *h), one[2 * OUT], end[UNITS];
    fill(x, ROWS * 2 * IN), fill(h, ROWS * UNITS);
    struct rnnrt_array in = {x, IN, 2 * IN, 2, 1}, out = {y, OUT, 2 * OUT, 2, 1};
    struct rnnrt_state_value first = {2, h}, last = {2, h + ROWS * UNITS};
    CHECK(rnnrt_run(plan, ROWS, &in, &out, NULL, &first, 1, &last, 1, 0, NULL, &error) == RNNRT_OK &&
          out.frames == 2);
    for (size_t b = 0; b < ROWS; b += 997) {
        struct rnnrt_array a = {x + b * 2 * IN, IN, IN, 2, 1}, c = {one, OUT, OUT, 2, 1};
        struct rnnrt_state_value from = {first.value, h + b * UNITS}, to = {last.value, end};
        CHECK(rnnrt_run(plan, 1, &a, &c, NULL, &from, 1, &to, 1, 0, NULL, &error) == RNNRT_OK);
        CHECK(!memcmp(one, y + b * 2 * OUT, sizeof one) && !memcmp(end, h + (ROWS + b) * UNITS, sizeof end));
    }
    /* live rows, in even slices and in others */
    struct rnnrt_stream *stream;
    float *z = __real_malloc(ROWS * 2 * OUT * sizeof *z);
    char **blocks = __real_malloc(ROWS * sizeof *blocks);
    out = (struct rnnrt_array){y, OUT, 2 * OUT, 2, 1};
    CHECK(rnnrt_run(plan, ROWS, &in, &out, NULL, NULL, 0, NULL, 0, 0, NULL, &error) == RNNRT_OK);
    CHECK(rnnrt_stream_create(&stream, plan, ROWS, 0, false, false, &error) == RNNRT_OK);
    for (size_t b = 0; b < ROWS; b++) blocks[b] = rnnrt_stream_row(stream, b);
    for (int odd = 0; odd < 2; odd++) {
        memset(z, 0, ROWS * 2 * OUT * sizeof *z);
        out = (struct rnnrt_array){z, OUT, 2 * OUT, 2, 1};
        rnnrt_stream_reset(stream);
        CHECK((odd ? rnnrt_rows_push(plan, blocks, ROWS - 1, false, &in, false, &out, NULL, NULL, &error)
                   : rnnrt_stream_push(stream, &in, &out, NULL, &error)) == RNNRT_OK);
        CHECK(out.frames == 2 && !memcmp(z, y, (ROWS - (size_t)odd) * 2 * OUT * sizeof *z));
    }
    out.frames = 2;
    rnnrt_stream_reset(stream);
    CHECK(rnnrt_stream_flush(stream, &out, NULL, &error) == RNNRT_OK && out.frames == 0);
    CHECK(rnnrt_stream_step(stream, x, z, &error) == RNNRT_ENDED);
    rnnrt_stream_free(stream);
    free(z);
    free(blocks);
    rnnrt_plan_free(plan);
    free(x);
    free(y);
    free(h);
}

/* ---- rows that lie: each would have the engine read or write beyond its memory ---- */

static void refuses(struct rnnrt_layer_desc desc, const char *word) {
    struct rnnrt_layer_desc rows[2] = {{.kind = rnnrt_kind_input, .output_size = IN, .timed = 1}, desc};
    int32_t output = 1;
    struct rnnrt_plan *plan;
    struct rnnrt_error error;
    CHECK(rnnrt_plan_create(&plan, rows, 2, &output, 1, NULL, NULL, &error) == RNNRT_BAD_LAYER && !plan &&
          error.layer == 1 && strstr(error.text, word));
}

/* The step of a scan: s' = y = W x + s, x of IN numbers, s of 2. */
static struct rnnrt_plan *step_plan(const float *weight, int32_t timed) {
    struct rnnrt_layer_desc rows[4] = {
        {.kind = rnnrt_kind_input, .output_size = IN, .timed = timed},
        {.kind = rnnrt_kind_input, .output_size = 2, .timed = timed},
        {.kind = rnnrt_kind_dense, .inputs = 1, .input_size = IN, .output_size = 2, .timed = timed},
        {.kind = rnnrt_kind_add, .inputs = 2, .input = {2, 1}, .input_size = 2, .output_size = 2}};
    int32_t outputs[2] = {3, 3};
    struct rnnrt_plan *plan;
    struct rnnrt_error error;
    rows[2].weight = weight, rows[3].timed = timed;
    CHECK(rnnrt_plan_create(&plan, rows, 4, outputs, 2, NULL, NULL, &error) == RNNRT_OK);
    return plan;
}

static void scans_that_lie(struct rnnrt_layer_desc scan) {
    const float w[64] = {0};
    const int32_t zero[1] = {-1}, far[1] = {7}, sequence[1] = {0};
    struct rnnrt_plan *step = step_plan(w, 0), *over_time = step_plan(w, 1);
    scan.inner = step, scan.states = 1, scan.index = zero;
    struct rnnrt_layer_desc desc = scan;
    desc.inner = over_time, refuses(desc, "step");
    desc = scan, desc.index = NULL, refuses(desc, "step");
    desc = scan, desc.states = 2, refuses(desc, "step");
    desc = scan, desc.states = -1, refuses(desc, "step");
    desc = scan, desc.per_step = 2, refuses(desc, "step");
    desc = scan, desc.length = 3, refuses(desc, "time");
    desc = scan, desc.index = far, refuses(desc, "states");
    desc = scan, desc.index = sequence, refuses(desc, "states");
    desc = scan, desc.states = 0, desc.index = NULL, refuses(desc, "once");
    desc = scan, desc.output_size = 3, refuses(desc, "output size");
    desc = scan, desc.inputs = 2, desc.input[1] = 0, refuses(desc, "time");

    /* and one that does not */
    struct rnnrt_layer_desc rows[2] = {{.kind = rnnrt_kind_input, .output_size = IN, .timed = 1}, scan};
    const float start[2] = {1, 2};
    int32_t outputs[2] = {rnnrt_value(rows, 1, 0), rnnrt_value(rows, 1, 1)};
    struct rnnrt_plan *plan;
    struct rnnrt_error error;
    rows[1].start = start;
    CHECK(rnnrt_layer_slots(&scan) == 2 &&
          rnnrt_plan_create(&plan, rows, 2, outputs, 2, NULL, NULL, &error) == RNNRT_OK);
    float x[IN] = {0}, y[2], last[2];
    struct rnnrt_array in = {x, IN, IN, 1, 1}, out[2] = {{y, 2, 2, 1, 1}, {last, 2, 2, 1, 1}};
    CHECK(rnnrt_run(plan, 1, &in, out, NULL, NULL, 0, NULL, 0, 0, NULL, &error) == RNNRT_OK);
    CHECK(out[0].frames == 1 && !memcmp(y, start, sizeof y) && !memcmp(last, start, sizeof last));
    rnnrt_plan_free(plan);
    rnnrt_plan_free(over_time);
    rnnrt_plan_free(step);
}

static void lies(void) {
    const float w[64] = {0};
    const struct rnnrt_layer_desc dense = {
        .kind = rnnrt_kind_dense, .inputs = 1, .input_size = IN, .output_size = 2, .timed = 1, .weight = w};
    struct rnnrt_layer_desc desc = dense;
    desc.reverse = 1, refuses(desc, "reverse");
    desc = dense, desc.timed = 0, refuses(desc, "time");
    desc = dense, desc.input_size = 2, refuses(desc, "input size");
    desc = dense, desc.output_size = 0, refuses(desc, "output size");
    desc = dense, desc.length = -1, refuses(desc, "length");
    desc = dense, desc.inputs = 2, refuses(desc, "one input");
    desc = dense, desc.input[0] = 1, refuses(desc, "no layer before");
    desc = dense, desc.input[0] = 2, refuses(desc, "no layer before");
    desc = dense, desc.weight = NULL, refuses(desc, "weights");
    desc = dense, desc.kind = RNNRT_KINDS, refuses(desc, "kind");
    desc = dense, desc.activation.name = RNNRT_FUNCTIONS, refuses(desc, "activation");
    static const int32_t same_size[] = {
        rnnrt_kind_reverse, rnnrt_kind_last,       rnnrt_kind_global_max_pool, rnnrt_kind_global_average_pool,
        rnnrt_kind_softmax, rnnrt_kind_activation, rnnrt_kind_reshape};
    for (size_t k = 0; k < sizeof same_size / sizeof *same_size; k++) {
        desc = dense, desc.kind = same_size[k];
        desc.timed = k == 0 || k > 3;
        refuses(desc, "sizes differ");
        desc.output_size = IN, desc.timed = !desc.timed, refuses(desc, "time");
    }
    desc = dense, desc.kind = rnnrt_kind_conv1d,
    desc.kernel_size = desc.stride = desc.dilation = desc.groups = 1;
    struct rnnrt_layer_desc conv = desc;
    desc.same = 1, desc.pad_left = 1, refuses(desc, "window");
    desc = conv, desc.pad_left = -1, refuses(desc, "window");
    desc = conv, desc.kernel_size = INT32_MAX, desc.dilation = INT32_MAX, refuses(desc, "window");
    desc = conv, desc.groups = 2, refuses(desc, "groups");
    desc = conv, desc.kind = rnnrt_kind_max_pool1d, desc.output_size = IN, desc.pad_right = 1,
    refuses(desc, "window");
    desc = dense, desc.kind = rnnrt_kind_gru, desc.units = 2, refuses(desc, "recurrent_weight");
    desc = dense, desc.kind = rnnrt_kind_lstm, desc.units = 3, desc.recurrent_weight = w,
    refuses(desc, "sizes");
    desc = dense, desc.kind = rnnrt_kind_embedding, desc.length = 5, refuses(desc, "one id");
    desc = dense, desc.kind = rnnrt_kind_flatten, desc.length = 5, desc.timed = 0, refuses(desc, "length");
    desc = dense, desc.kind = rnnrt_kind_select, refuses(desc, "index");
    desc = dense, desc.kind = rnnrt_kind_concatenate, refuses(desc, "wide");
    desc = dense, desc.kind = rnnrt_kind_time_distributed, refuses(desc, "inside");
    desc = dense, desc.kind = rnnrt_kind_scan, desc.per_step = 1, refuses(desc, "step");
    scans_that_lie(desc);
    desc = dense, desc.mask = 1, refuses(desc, "not what a masked frame gives");
    desc = dense, desc.masked_output = RNNRT_MASKED_HOLD, refuses(desc, "means nothing");
    desc = dense, desc.kind = rnnrt_kind_global_average_pool, desc.output_size = IN, desc.timed = 0;
    desc.masked_output = RNNRT_MASKED_OUTPUTS, refuses(desc, "unknown");
    desc.masked_output = RNNRT_MASKED_ZERO, refuses(desc, "not one number a frame");
    desc.mask = 1, refuses(desc, "no layer before");
    desc.mask = -1, refuses(desc, "no layer before");
    desc = dense, desc.kind = rnnrt_kind_not_equal, refuses(desc, "not one number a frame");
}

/* ---- a mask: a value like any other, here an input ---- */

static void masked(void) {
    const struct rnnrt_layer_desc rows[3] = {{.kind = rnnrt_kind_input, .output_size = IN, .timed = 1},
                                             {.kind = rnnrt_kind_input, .output_size = 1, .timed = 1},
                                             {.kind = rnnrt_kind_global_average_pool,
                                              .inputs = 1,
                                              .input_size = IN,
                                              .output_size = IN,
                                              .mask = 1,
                                              .masked_output = RNNRT_MASKED_HOLD}};
    const int32_t output = 2;
    struct rnnrt_plan *plan;
    struct rnnrt_error error;
    float x[4 * IN], mask[4] = {0, 1, 0, 1}, mean[IN];
    fill(x, 4 * IN);
    x[0] = x[2 * IN + 1] = NAN;
    CHECK(!strcmp(rnnrt_masked_word(RNNRT_MASKED_ZERO), "zero") && !rnnrt_masked_word(RNNRT_MASKED_OUTPUTS));
    CHECK(rnnrt_plan_create(&plan, rows, 3, &output, 1, NULL, NULL, &error) == RNNRT_OK);
    struct rnnrt_array in[2] = {{x, IN, IN, 4, 1}, {mask, 1, 1, 4, 1}}, out = {mean, IN, IN, 1, 1};
    CHECK(rnnrt_run(plan, 1, in, &out, NULL, NULL, 0, NULL, 0, 0, NULL, &error) == RNNRT_OK);
    for (int k = 0; k < IN; k++) CHECK(mean[k] == (float)(((double)x[IN + k] + (double)x[3 * IN + k]) / 2));
    rnnrt_plan_free(plan);
}

/* ---- frames pushed into their own place, many enough to be written there as they are made ---- */

static void in_place(void) {
    enum { WIDTH = 40, LENGTH = 24 };
    static float weight[WIDTH * WIDTH], x[WIDTH * LENGTH], apart[WIDTH * LENGTH], place[WIDTH * LENGTH];
    const struct rnnrt_layer_desc rows[2] = {
        {.kind = rnnrt_kind_input, .output_size = WIDTH, .timed = 1, .mask = -1},
        {.kind = rnnrt_kind_dense,
         .inputs = 1,
         .input_size = WIDTH,
         .output_size = WIDTH,
         .timed = 1,
         .mask = -1,
         .weight = weight}};
    const int32_t output = 1;
    struct rnnrt_plan *plan;
    struct rnnrt_stream *stream;
    struct rnnrt_error error;
    fill(weight, WIDTH * WIDTH), fill(x, WIDTH * LENGTH);
    CHECK(rnnrt_plan_create(&plan, rows, 2, &output, 1, NULL, NULL, &error) == RNNRT_OK);
    CHECK(rnnrt_stream_create(&stream, plan, 1, 0, false, false, &error) == RNNRT_OK);
    struct rnnrt_array in = {x, WIDTH, WIDTH, LENGTH, 1}, out = {apart, WIDTH, WIDTH, LENGTH, 1};
    CHECK(rnnrt_stream_push(stream, &in, &out, NULL, &error) == RNNRT_OK && out.frames == LENGTH);
    for (int whole = 0; whole < 2; whole++) {
        memcpy(place, x, sizeof x);
        in.data = out.data = place;
        CHECK((whole ? rnnrt_run(plan, 1, &in, &out, NULL, NULL, 0, NULL, 0, 0, NULL, &error)
                     : rnnrt_stream_push(stream, &in, &out, NULL, &error)) == RNNRT_OK);
        CHECK(out.frames == LENGTH && !memcmp(place, apart, sizeof apart));
    }
    rnnrt_stream_free(stream);
    rnnrt_plan_free(plan);
}

int main(void) {
    seed(1);
    in_place();
    example();
    families();
    phases();
    slices();
    lies();
    masked();
    return 0;
}
