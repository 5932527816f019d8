/* What cannot be seen through rnnrt.h. How far the branches of a join run apart, as lag.c works it out, is
 * held against a walk along the frames: random graphs of windows and joins, then some that no walk would
 * finish. The arenas a plan keeps for its next calls stay within their bounds. And a plan that is watched
 * counts, while others of its family run on as they were.
 *
 * tests/c/test_embed.py compiles it with the sanitizers. Exit code 0: every check held. */
#include "checked.h"
#include "plan.h"

enum { MOST_ROWS = 10, WALK = 3000 };

static float taps[8];
static int lags_seen, apart_seen, fixed_seen, early_seen; /* how much of the testing reached how far */

static struct rnnrt_layer_desc a_row(int32_t kind, int32_t inputs, int32_t timed) {
    return (struct rnnrt_layer_desc){.kind = kind,
                                     .inputs = inputs,
                                     .input_size = 1,
                                     .output_size = 1,
                                     .timed = timed,
                                     .stride = 1,
                                     .dilation = 1,
                                     .groups = 1,
                                     .weight = taps};
}

static struct rnnrt_layer_desc a_transposed(int32_t from) {
    struct rnnrt_layer_desc desc = a_row(rnnrt_kind_conv_transpose1d, 1, 1);
    desc.input[0] = from;
    desc.kernel_size = 1 + below(4);
    desc.stride = 1 + below(3);
    desc.dilation = 1 + (below(3) ? 0 : below(3));
    desc.pad_left = below(5);
    desc.pad_right = below(9) - 4;
    return desc;
}

static struct rnnrt_layer_desc a_window(int32_t from) {
    struct rnnrt_layer_desc desc = a_row(below(2) ? rnnrt_kind_conv1d : rnnrt_kind_average_pool1d, 1, 1);
    bool conv = desc.kind == rnnrt_kind_conv1d;
    desc.input[0] = from;
    desc.kernel_size = 1 + below(4);
    desc.stride = below(3) ? 1 : 1 + below(3);
    desc.dilation = 1 + (conv && !below(3) ? below(20) : 0);
    desc.pad_left = below(conv && !below(4) ? 12 : desc.kernel_size);
    desc.pad_right = below(desc.kernel_size);
    desc.same = !below(8) && desc.pad_left <= (desc.kernel_size - 1) * desc.dilation;
    return desc;
}

/* The furthest each input of layer r is ahead of the slowest, over `frames` frames. */
static void walk(const struct rnnrt_plan *plan, size_t r, size_t frames, size_t *furthest) {
    const struct rnnrt_layer_desc *desc = &plan->ops[r].desc;
    size_t total[MOST_ROWS];
    memset(furthest, 0, RNNRT_MAX_INPUTS * sizeof *furthest);
    for (size_t n = 1; n <= frames; n++) {
        size_t least = SIZE_MAX;
        rnnrt_plan_totals(plan, &n, false, false, total);
        for (int32_t i = 0; i < desc->inputs; i++) least = rnnrt_smaller(least, total[desc->input[i]]);
        for (int32_t i = 0; i < desc->inputs; i++)
            furthest[i] = rnnrt_larger(furthest[i], total[desc->input[i]] - least);
    }
}

/* Rows at positions of one phase do the same from there on: every value gets as many frames, while more come
 * and at the end. */
static void phases(const struct rnnrt_plan *plan) {
    enum { POSITIONS = 40, AHEAD = 12 };
    size_t before[2][MOST_ROWS], after[2][MOST_ROWS];
    for (size_t n = plan->warm; n < plan->warm + POSITIONS; n++) {
        const size_t at[2] = {n, n + plan->period * (size_t)(1 + below(9))};
        for (int k = 0; k < 2; k++) rnnrt_plan_totals(plan, &at[k], false, false, before[k]);
        for (size_t more = 0; more < AHEAD; more++)
            for (int way = 0; way < 3; way++) {
                for (int k = 0; k < 2; k++)
                    rnnrt_plan_totals(plan, &(size_t){at[k] + more}, way == 1, way == 2, after[k]);
                if (way == 2) rnnrt_plan_totals(plan, &at[0], false, true, before[0]);
                if (way == 2) rnnrt_plan_totals(plan, &at[1], false, true, before[1]);
                for (size_t v = 0; v < plan->value_count; v++) {
                    CHECK(after[0][v] - before[0][v] == after[1][v] - before[1][v]);
                    CHECK(!before[0][v] == !before[1][v]);
                }
                if (way < 2) continue;
                for (int k = 0; k < 2; k++) rnnrt_plan_totals(plan, &at[k], false, false, before[k]);
            }
    }
    early_seen += plan->warm < 4;
}

/* From its first frame on a row of a causal network is in phase with all others, and where windows wait until
 * they are full from then on. */
static void warm(void) {
    for (int32_t causal = 0; causal < 2; causal++) {
        struct rnnrt_layer_desc rows[5];
        rows[0] = a_row(rnnrt_kind_input, 0, 1);
        for (int32_t r = 1; r < 5; r++) {
            rows[r] = a_row(rnnrt_kind_conv1d, 1, 1), rows[r].input[0] = r - 1;
            rows[r].kernel_size = 3, rows[r].dilation = 1 << r, rows[r].pad_left = causal ? 2 << r : 0;
        }
        int32_t output = 4;
        struct rnnrt_plan *plan;
        struct rnnrt_error error;
        CHECK(rnnrt_plan_create(&plan, rows, 5, &output, 1, NULL, NULL, &error) == RNNRT_OK);
        CHECK(plan->period == 1 && plan->warm == (causal ? 1 : 1 + 2 * (2 + 4 + 8 + 16)));
        rnnrt_plan_free(plan);
    }
}

static void random_joins(uint64_t s) {
    struct rnnrt_layer_desc rows[MOST_ROWS];
    seed(s);
    int32_t count = 3 + below(MOST_ROWS - 2), length = below(4) ? 0 : 1 + below(60), risen = 0;
    rows[0] = a_row(rnnrt_kind_input, 0, 1), rows[0].length = length;
    for (int32_t r = 1; r < count; r++) {
        int32_t from[3];
        for (int i = 0; i < 3; i++) do
                from[i] = below(r);
            while (!rows[from[i]].timed);
        if (s % 3 == 0 && below(10) < 2) {
            rows[r] = a_transposed(from[0]), risen++;
        } else if (below(10) < 5) {
            rows[r] = a_window(from[0]);
        } else if (r + 1 < count && !below(12)) { /* one value at the end, laid out over time */
            rows[r] = a_row(rnnrt_kind_last, 1, 0), rows[r].input[0] = from[0];
            rows[r + 1] = a_row(rnnrt_kind_unflatten, 1, 1), rows[r + 1].length = 1;
            rows[r + 1].input[0] = r, r++;
        } else {
            rows[r] = a_row(rnnrt_kind_add, 2 + below(2), 1);
            memcpy(rows[r].input, from, sizeof from);
        }
    }
    int32_t output = count - 1;
    struct rnnrt_plan *plan;
    struct rnnrt_error error;
    CHECK(rnnrt_plan_create(&plan, rows, (size_t)count, &output, 1, NULL, NULL, &error) == RNNRT_OK);
    if (plan->streams && !length) phases(plan);
    for (size_t r = 0; r < (size_t)count; r++) {
        const struct rnnrt_op *op = &plan->ops[r];
        size_t furthest[RNNRT_MAX_INPUTS], early[RNNRT_MAX_INPUTS], drifting = 0;
        if (!op->joins) continue;
        walk(plan, r, length ? (size_t)length : WALK, furthest);
        if (op->apart) { /* and it is true: some input has not stopped gaining on another */
            walk(plan, r, WALK / 2, early);
            for (int32_t i = 0; i < op->desc.inputs; i++) drifting += furthest[i] > early[i] + WALK / 200;
            for (size_t k = 0; k < r; k++) drifting += plan->ops[k].apart;
            CHECK(drifting && !length && !plan->streams);
            apart_seen++;
            continue;
        }
        for (int32_t i = 0; i < op->desc.inputs; i++) {
            CHECK(op->lag[i] >= furthest[i]);
            if (!length) CHECK(op->lag[i] <= furthest[i] + (risen ? 4 : 0));
            else CHECK(op->lag[i] <= (4 * (size_t)length + 60) << 2 * risen);
            lags_seen += furthest[i] > 0, fixed_seen += length > 0;
        }
    }
    rnnrt_plan_free(plan);
}

/* `levels` times two poolings of `stride` side by side, joined; every other time one of them sees `delay`
 * frames further. */
static void ladder(int32_t levels, int32_t stride, int32_t delay) {
    size_t count = 1 + 3 * (size_t)levels;
    struct rnnrt_layer_desc *rows = __real_calloc(count, sizeof *rows);
    rows[0] = a_row(rnnrt_kind_input, 0, 1);
    for (size_t r = 1; r < count; r += 3) {
        int32_t from = (int32_t)(r - 1);
        rows[r] = a_row(rnnrt_kind_conv1d, 1, 1), rows[r + 1] = a_row(rnnrt_kind_conv1d, 1, 1);
        rows[r].input[0] = rows[r + 1].input[0] = from;
        rows[r].kernel_size = rows[r + 1].kernel_size = 2;
        rows[r].stride = rows[r + 1].stride = stride;
        rows[r].dilation = delay + 1, rows[r].pad_right = delay;
        rows[r + 2] = a_row(rnnrt_kind_add, 2, 1);
        rows[r + 2].input[0] = (int32_t)r;
        rows[r + 2].input[1] = (int32_t)(r + 1);
    }
    int32_t output = (int32_t)count - 1;
    struct rnnrt_plan *plan;
    struct rnnrt_error error;
    CHECK(rnnrt_plan_create(&plan, rows, count, &output, 1, NULL, NULL, &error) == RNNRT_OK && plan->streams);
    for (size_t r = 3; r < count; r += 3) /* the later branch waits for `delay` frames: so many strides */
        CHECK(plan->ops[r].lag[0] == 0 && plan->ops[r].lag[1] == (size_t)((delay + stride - 1) / stride));
    rnnrt_plan_free(plan);
    free(rows);
}

static void idle_arenas(void) {
    struct rnnrt_layer_desc rows[2];
    rows[0] = a_row(rnnrt_kind_input, 0, 1), rows[0].output_size = 4096;
    rows[1] = a_row(rnnrt_kind_reverse, 1, 1), rows[1].input_size = rows[1].output_size = 4096;
    int32_t output = 1;
    struct rnnrt_plan *plan;
    struct rnnrt_error error;
    CHECK(rnnrt_plan_create(&plan, rows, 2, &output, 1, NULL, NULL, &error) == RNNRT_OK);
    for (size_t batch = 1; batch < 12; batch++)
        for (size_t frames = 1; frames < 1000; frames *= 3) {
            size_t numbers = batch * frames * 4096;
            float *x = __real_malloc(numbers * sizeof *x), *y = __real_malloc(numbers * sizeof *y);
            for (size_t i = 0; i < numbers; i++) x[i] = (float)(i % 1000);
            struct rnnrt_array in = {x, 4096, (ptrdiff_t)(4096 * frames), frames, 1},
                               out = {y, 4096, (ptrdiff_t)(4096 * frames), frames, 1};
            CHECK(rnnrt_run(plan, batch, &in, &out, NULL, NULL, 0, NULL, 0, 0, NULL, &error) == RNNRT_OK);
            for (size_t b = 0; b < batch; b++)
                CHECK(!memcmp(y + b * frames * 4096, x + ((b + 1) * frames - 1) * 4096, 4096 * sizeof *x));
            CHECK(plan->idle_bytes <= 32 << 20);
            free(x);
            free(y);
        }
    size_t used = 0, before = plan->idle_bytes;
    for (size_t i = 0; i < sizeof plan->idle / sizeof *plan->idle; i++) used += plan->idle[i].arena != NULL;
    CHECK(used > 1 && before > 0); /* batches of different sizes keep an arena each */
    rnnrt_plan_free(plan);
}

/* A watched plan counts and answers as its family does, whose ops stay what they were. */
static void watched(void) {
    enum { LENGTH = 300 };
    static float x[2 * LENGTH], y[2 * LENGTH], z[2 * LENGTH];
    struct rnnrt_layer_desc rows[2] = {a_row(rnnrt_kind_input, 0, 1), a_row(rnnrt_kind_conv1d, 1, 1)};
    rows[1].kernel_size = rows[1].stride = 3;
    int32_t output = 1;
    struct rnnrt_plan *plan, *twin;
    struct rnnrt_error error;
    struct rnnrt_spent spent[2] = {{0}};
    for (size_t i = 0; i < 2 * LENGTH; i++) x[i] = number();
    CHECK(rnnrt_plan_create(&plan, rows, 2, &output, 1, NULL, NULL, &error) == RNNRT_OK);
    CHECK(rnnrt_plan_create(&twin, rows, 2, &output, 1, NULL, plan, &error) == RNNRT_OK);
    fail_at = allocations + 1;
    CHECK(rnnrt_plan_watch(twin, spent) == RNNRT_NO_MEMORY && twin->ops[1].layer == &rnnrt_layer_conv1d);
    fail_at = 0;
    CHECK(rnnrt_plan_watch(twin, spent) == RNNRT_OK && rnnrt_plan_watch(twin, spent) == RNNRT_BAD_STATE);
    CHECK(plan->ops[1].layer == &rnnrt_layer_conv1d && twin->ops[1].layer != &rnnrt_layer_conv1d);
    struct rnnrt_array in = {x, 1, LENGTH, LENGTH, 1}, out = {y, 1, LENGTH, LENGTH, 1};
    CHECK(rnnrt_run(plan, 2, &in, &out, NULL, NULL, 0, NULL, 0, 0, NULL, &error) == RNNRT_OK);
    CHECK(spent[1].runs == 0);
    out.data = z, out.frames = LENGTH;
    CHECK(rnnrt_run(twin, 2, &in, &out, NULL, NULL, 0, NULL, 0, 100, NULL, &error) == RNNRT_OK);
    CHECK(out.frames == LENGTH / 3 && !memcmp(y, z, sizeof y));
    CHECK(spent[0].runs == 0 && spent[1].runs == 3 && spent[1].frames == LENGTH);
    CHECK(spent[1].rows == 2 * LENGTH && spent[1].made == 2 * LENGTH / 3 && spent[1].nanoseconds > 0);
    rnnrt_plan_free(twin);
    rnnrt_plan_free(plan);
}

int main(void) {
    for (size_t k = 0; k < sizeof taps / sizeof *taps; k++) taps[k] = number();
    for (uint64_t s = 1; s <= 1500; s++) random_joins(s);
    printf("%d lags, %d inputs of fixed length, %d joins apart\n", lags_seen, fixed_seen, apart_seen);
    CHECK(lags_seen > 500 && fixed_seen > 300 && apart_seen > 100 && early_seen > 100);
    warm();
    idle_arenas();
    watched();
    ladder(12, 3, 5);
    ladder(30, 2, 4);
    ladder(400, 1, 1 << 20);
    return 0;
}
