/* Threads that share the work of calls: several callers at once, each with answers of the same bits as on one
 * thread, some of them ended by their question; a worker that a large product wakes; and threads that end
 * with the last plan. And 64 threads at once in streams of one plan, each in its own.
 *
 * tests/c/test_races.py compiles it with the thread sanitizer, on the scalar kernels alone. Exit code
 * 0: every check held. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "share.h"

#define CHECK(condition) ((condition) ? (void)0 : fail(#condition, __LINE__))

static void fail(const char *condition, int line) {
    fprintf(stderr, "threads.c:%d: %s does not hold\n", line, condition);
    exit(1);
}

#if defined(__x86_64__) /* tables that are not compiled: RNNRT_ISA asks for none of them */
const struct rnnrt_kernels rnnrt_kernels_avx2 = {.isa = ""}, rnnrt_kernels_avx512 = {.isa = ""};
#elif defined(__aarch64__)
const struct rnnrt_kernels rnnrt_kernels_neon = {.isa = ""};
#endif

enum { IN = 5, UNITS = 33, OUT = 2 * UNITS, FRAMES = 16, MOST_ROWS = 12, CALLERS = 3, TURNS = 3 };

static float weights[4 * UNITS * UNITS], x[FRAMES * MOST_ROWS * IN];

/* A bidirectional LSTM, and a dense layer on both its directions. */
static struct rnnrt_plan *plan_of(size_t threads) {
    struct rnnrt_layer_desc layers[5] = {
        {.kind = rnnrt_kind_input, .output_size = IN, .timed = 1},
        {.kind = rnnrt_kind_lstm, .inputs = 1, .input_size = IN, .output_size = UNITS, .timed = 1},
        {.kind = rnnrt_kind_lstm, .inputs = 1, .input_size = IN, .output_size = UNITS, .timed = 1},
        {.kind = rnnrt_kind_concatenate, .inputs = 2, .input_size = UNITS, .output_size = OUT, .timed = 1},
        {.kind = rnnrt_kind_dense, .inputs = 1, .input_size = OUT, .output_size = OUT, .timed = 1},
    };
    for (int k = 1; k < 3; k++) {
        layers[k].units = UNITS;
        layers[k].weight = layers[k].recurrent_weight = weights;
        layers[k].activation.name = RNNRT_TANH;
        layers[k].recurrent_activation.name = RNNRT_SIGMOID;
    }
    layers[2].reverse = 1;
    layers[3].input[0] = rnnrt_value(layers, 1, 0), layers[3].input[1] = rnnrt_value(layers, 2, 0);
    layers[4].input[0] = rnnrt_value(layers, 3, 0), layers[4].weight = weights;
    int32_t output = rnnrt_value(layers, 4, 0);
    struct rnnrt_plan *plan;
    CHECK(!rnnrt_plan_create(&plan, layers, 5, &output, 1, "scalar", NULL, NULL));
    rnnrt_plan_threads(plan, threads);
    return plan;
}

static enum rnnrt_status run(const struct rnnrt_plan *plan, size_t batch, struct rnnrt_between *between,
                             float *y) {
    struct rnnrt_array in = {x, IN, FRAMES * IN, FRAMES, 1}, out = {y, OUT, FRAMES * OUT, FRAMES, 1};
    return rnnrt_run(plan, batch, &in, &out, NULL, NULL, 0, NULL, 0, 0, between, NULL);
}

static float expected[FRAMES * MOST_ROWS * OUT];
static const size_t rows[] = {1, 3, MOST_ROWS};

static void answers_as_alone(const struct rnnrt_plan *plan) {
    float *y = malloc(sizeof expected);
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        CHECK(y && !run(plan, rows[k], NULL, y));
        CHECK(!memcmp(y, expected, rows[k] * FRAMES * OUT * sizeof *y));
    }
    free(y);
}

static int never(void *argument) {
    ++*(int *)argument;
    return 1;
}

static void *call(void *argument) {
    struct rnnrt_plan *const *plans = argument;
    float *y = malloc(sizeof expected);
    int cancelled = 0;
    CHECK(y);
    for (size_t turn = 0; turn < TURNS; turn++) {
        answers_as_alone(plans[turn % 3]);
        int asked = 0;
        struct rnnrt_between between = {.ask = never, .argument = &asked, .done = RNNRT_ASK_AFTER};
        enum rnnrt_status status = run(plans[turn % 3], MOST_ROWS, &between, y);
        CHECK(status == (asked ? RNNRT_CANCELLED : RNNRT_OK) &&
              asked <= 1); /* others may do all of the work */
        cancelled += asked;
    }
    CHECK(cancelled);
    free(y);
    return NULL;
}

/* ---- streams of one plan, each thread in its own ---- */

enum { STREAMS = 64, LIVE = 40, LIVE_TURNS = 3 };

static float live_x[STREAMS * LIVE * IN], live_y[STREAMS * LIVE * OUT];
static const struct rnnrt_plan *live_plan;
static pthread_barrier_t all_there;

/* An LSTM, and a dense layer on it. */
static struct rnnrt_plan *plan_of_streams(void) {
    struct rnnrt_layer_desc layers[3] = {
        {.kind = rnnrt_kind_input, .output_size = IN, .timed = 1},
        {.kind = rnnrt_kind_lstm, .inputs = 1, .input_size = IN, .output_size = UNITS, .timed = 1},
        {.kind = rnnrt_kind_dense, .inputs = 1, .input_size = UNITS, .output_size = OUT, .timed = 1},
    };
    layers[1].units = UNITS;
    layers[1].weight = layers[1].recurrent_weight = weights;
    layers[1].activation.name = RNNRT_TANH;
    layers[1].recurrent_activation.name = RNNRT_SIGMOID;
    layers[2].input[0] = rnnrt_value(layers, 1, 0), layers[2].weight = weights;
    int32_t output = rnnrt_value(layers, 2, 0);
    struct rnnrt_plan *plan;
    CHECK(!rnnrt_plan_create(&plan, layers, 3, &output, 1, "scalar", NULL, NULL));
    return plan;
}

/* Steps and chunks of stream k, in other parts each turn; and its row beside the next one's in one call. */
static void live(size_t k, size_t turn) {
    struct rnnrt_stream *stream, *beside;
    float y[2 * LIVE * OUT];
    const float *x = live_x + k * LIVE * IN, *expected_y = live_y + k * LIVE * OUT;
    CHECK(!rnnrt_stream_create(&stream, live_plan, 1, 0, false, k % 2, NULL));
    for (size_t t = 0, n; t < LIVE; t += n) {
        n = rnnrt_smaller((k + 7 * turn + t) % 6, LIVE - t);
        struct rnnrt_array in = {(float *)x + t * IN, IN, IN, n, 1}, out = {y + t * OUT, OUT, OUT, n, 1};
        if (n) CHECK(!rnnrt_stream_push(stream, &in, &out, NULL, NULL) && out.frames == n);
        else CHECK(rnnrt_stream_step(stream, x + t * IN, y + t * OUT, NULL) == 1), n = 1;
    }
    CHECK(!memcmp(y, expected_y, LIVE * OUT * sizeof *y));
    size_t made[2], rows = k + 1 < STREAMS ? 2 : 1;
    CHECK(!rnnrt_stream_create(&beside, live_plan, 1, 0, false, false, NULL));
    rnnrt_stream_reset(stream);
    char *blocks[2] = {rnnrt_stream_row(stream, 0), rnnrt_stream_row(beside, 0)};
    struct rnnrt_array in = {(float *)x, IN, LIVE * IN, LIVE, 1}, out = {y, OUT, LIVE * OUT, LIVE, 1};
    CHECK(!rnnrt_rows_push(live_plan, blocks, rows, false, &in, false, &out, made, NULL, NULL));
    CHECK(!memcmp(y, expected_y, rows * LIVE * OUT * sizeof *y));
    rnnrt_stream_free(stream), rnnrt_stream_free(beside);
}

static void *live_thread(void *argument) {
    pthread_barrier_wait(&all_there);
    for (size_t turn = 0; turn < LIVE_TURNS; turn++) live((size_t)argument, turn);
    return NULL;
}

static void streams_of_one_plan(void) {
    struct rnnrt_plan *plan = plan_of_streams();
    struct rnnrt_array in = {live_x, IN, LIVE * IN, LIVE, 1}, out = {live_y, OUT, LIVE * OUT, LIVE, 1};
    for (size_t k = 0; k < sizeof live_x / sizeof *live_x; k++)
        live_x[k] = (float)((k * 7919) % 401) / 200 - 1;
    CHECK(!rnnrt_run(plan, STREAMS, &in, &out, NULL, NULL, 0, NULL, 0, 0, NULL, NULL));
    live_plan = plan;
    CHECK(!pthread_barrier_init(&all_there, NULL, STREAMS));
    pthread_t threads[STREAMS];
    for (size_t k = 0; k < STREAMS; k++) CHECK(!pthread_create(&threads[k], NULL, live_thread, (void *)k));
    for (size_t k = 0; k < STREAMS; k++) CHECK(!pthread_join(threads[k], NULL));
    pthread_barrier_destroy(&all_there);
    rnnrt_plan_free(plan);
}

/* ---- a worker that fell asleep within a call ---- */

static size_t inside;

/* Waits until two threads are in it. */
static void meet(const struct rnnrt_matrix *w, const struct rnnrt_product *call) {
    (void)w, (void)call;
    __atomic_add_fetch(&inside, 1, __ATOMIC_SEQ_CST);
    for (int k = 0; __atomic_load_n(&inside, __ATOMIC_SEQ_CST) < 2; k++) {
        CHECK(k < 5000);
        usleep(1000);
    }
}

static void a_large_product_wakes_who_sleeps(void) {
    const struct rnnrt_worth before = rnnrt_worth;
    rnnrt_worth.waking = 1000;
    const struct rnnrt_kernels plain = {.product = meet};
    const struct rnnrt_matrix w = {.outputs = 128, .depth = 1, .panels = weights};
    const struct rnnrt_product call = {.x = x, .depth = 1, .rows = 100, .y = live_y};
    struct rnnrt_sharing sharing;
    rnnrt_pool_hold();
    rnnrt_share_begin(&sharing, &plain, 2, 1e6);
    CHECK(sharing.team.size == 2);
    while (rnnrt_team_awake(&sharing.team)) usleep(1000);
    sharing.kernels.product(&w, &call);
    rnnrt_share_end(&sharing);
    rnnrt_pool_let_go();
    rnnrt_worth = before;
}

int main(void) {
    setenv("RNNRT_ISA", "scalar", 1);
    for (size_t k = 0; k < sizeof weights / sizeof *weights; k++)
        weights[k] = (float)((k * 7919) % 201) / 1000 - 0.1f;
    for (size_t k = 0; k < sizeof x / sizeof *x; k++) x[k] = (float)((k * 104729) % 401) / 200 - 1;
    struct rnnrt_plan *alone = plan_of(1), *plans[] = {plan_of(2), plan_of(3), plan_of(4)};
    CHECK(!run(alone, MOST_ROWS, NULL, expected));
    rnnrt_worth = (struct rnnrt_worth){0};
    rnnrt_pool_processors = 4;
    pthread_t callers[CALLERS];
    a_large_product_wakes_who_sleeps();
    for (int k = 0; k < CALLERS; k++) CHECK(!pthread_create(&callers[k], NULL, call, plans));
    for (int k = 0; k < CALLERS; k++) CHECK(!pthread_join(callers[k], NULL));
    answers_as_alone(plans[2]);
    for (int k = 0; k < 3; k++) rnnrt_plan_free(plans[k]);
    answers_as_alone(alone);
    rnnrt_plan_free(alone);
    streams_of_one_plan();
    puts("shared");
    return 0;
}
