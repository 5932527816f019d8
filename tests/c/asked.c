/* A long call is asked whether to go on as often as rnnrt_between says, whatever its layers take at once, and
 * ends where the answer says so.
 *
 * tests/c/test_embed.py compiles it with the sanitizers. Exit code 0: every check held. */
#include <math.h>

#include "checked.h"

struct gaps {
    struct rnnrt_between between;
    double last, largest;
};

static int note(void *argument) {
    struct gaps *g = argument;
    double gap = g->between.done - g->last;
    g->last = g->between.done;
    if (gap > g->largest) g->largest = gap;
    return 0;
}

/* However many frames a block has, a convolution asks after what rnnrt_between says. */
static void in_convolutions(void) {
    enum { WIDE = 128, TAPS = 16, LONG = 2000 };
    struct rnnrt_error error;
    float *weight = __real_malloc(WIDE * TAPS * WIDE * sizeof *weight),
          *x = __real_malloc(2 * LONG * WIDE * sizeof *x);
    fill(weight, WIDE * TAPS * WIDE), fill(x, LONG * WIDE);
    for (int32_t in = 12; in <= WIDE; in += 29) {
        struct rnnrt_layer_desc layers[] = {{.kind = rnnrt_kind_input, .output_size = in, .timed = 1},
                                            {.kind = rnnrt_kind_conv1d,
                                             .inputs = 1,
                                             .input_size = in,
                                             .output_size = WIDE,
                                             .timed = 1,
                                             .weight = weight,
                                             .kernel_size = TAPS,
                                             .stride = 1,
                                             .dilation = 1,
                                             .groups = 1,
                                             .pad_left = TAPS - 1}};
        int32_t output = rnnrt_value(layers, 1, 0);
        struct rnnrt_plan *plan;
        CHECK(rnnrt_plan_create(&plan, layers, 2, &output, 1, NULL, NULL, &error) == RNNRT_OK);
        struct rnnrt_array at = {x, in, in, LONG, 1}, made = {x + LONG * WIDE, WIDE, WIDE, LONG, 1};
        struct gaps gaps = {{note, &gaps, 0, 0}, 0, 0};
        CHECK(rnnrt_run(plan, 1, &at, &made, NULL, NULL, 0, NULL, 0, 1000, &gaps.between, &error) ==
              RNNRT_OK);
        double product = 64.0 * (TAPS * in + 4) * WIDE; /* it may be due just before one begins */
        CHECK(gaps.largest > 0 && gaps.largest <= 1e7 + (product > 1e7 ? product : 1e7));
        rnnrt_plan_free(plan);
    }
    free(weight);
    free(x);
}

/* `u` is its bias too. */
static struct rnnrt_plan *lstm(size_t features, size_t units, const float *weight, const float *u) {
    struct rnnrt_layer_desc layers[] = {
        {.kind = rnnrt_kind_input, .output_size = (int32_t)features, .timed = 1},
        {.kind = rnnrt_kind_lstm,
         .inputs = 1,
         .input_size = (int32_t)features,
         .output_size = (int32_t)units,
         .units = (int32_t)units,
         .timed = 1,
         .weight = weight,
         .recurrent_weight = u,
         .bias = u,
         .activation = {RNNRT_TANH, 0},
         .recurrent_activation = {RNNRT_SIGMOID, 0}}};
    int32_t output = rnnrt_value(layers, 1, 0);
    struct rnnrt_plan *plan;
    struct rnnrt_error error;
    CHECK(rnnrt_plan_create(&plan, layers, 2, &output, 1, NULL, NULL, &error) == RNNRT_OK);
    return plan;
}

/* Nor does a recurrent layer of many rows ask later for the rows that share what it reads, and each row is
 * answered as it is alone. */
static void in_batches(size_t batch, size_t units, size_t frames) {
    const ptrdiff_t stride = (ptrdiff_t)units;
    struct rnnrt_error error;
    for (size_t features = 20; features <= 3000; features = 12 * features + 5) {
        size_t wide = 4 * units, rows = batch * frames;
        float *weight = __real_malloc(wide * features * sizeof *weight),
              *u = __real_malloc(wide * units * sizeof *u),
              *x = __real_malloc((rows * (features + units) + frames * units) * sizeof *x),
              *y = x + rows * features, *alone = y + rows * units;
        fill(weight, wide * features), fill(u, wide * units), fill(x, rows * features);
        struct rnnrt_plan *plan = lstm(features, units, weight, u);
        ptrdiff_t f = (ptrdiff_t)features, b = (ptrdiff_t)batch;
        struct rnnrt_array at = {x, b * f, f, frames, 1}, made = {y, b * stride, stride, frames, 1},
                           last = {x + (batch - 1) * features, b * f, f, frames, 1},
                           own = {alone, stride, stride, frames, 1};
        struct gaps gaps = {{note, &gaps, 0, 0}, 0, 0};
        CHECK(rnnrt_run(plan, batch, &at, &made, NULL, NULL, 0, NULL, 0, 0, &gaps.between, &error) ==
              RNNRT_OK);
        double most =
            fmax(1e7, fmax(64.0 * (double)(features * wide), (double)(batch * wide * (units + 10))));
        CHECK(gaps.largest > 0 && gaps.largest <= 1e7 + most);
        CHECK(gaps.between.done == (double)batch * rnnrt_plan_work(plan, frames));
        CHECK(rnnrt_run(plan, 1, &last, &own, NULL, NULL, 0, NULL, 0, 0, NULL, &error) == RNNRT_OK);
        for (size_t t = 0; t < frames; t++)
            CHECK(!memcmp(alone + t * units, y + ((t + 1) * batch - 1) * units, units * sizeof *y));
        rnnrt_plan_free(plan);
        free(weight);
        free(u);
        free(x);
    }
}

struct patience {
    struct rnnrt_between between;
    int asked, most;
};

static int ask(void *argument) {
    struct patience *p = argument;
    return ++p->asked > p->most;
}

static void cancelled(void) {
    enum { IN = 3, UNITS = 5, LONG = 200000 };
    struct rnnrt_error error;
    float weight[4 * UNITS * IN], u[4 * UNITS * UNITS];
    fill(weight, 4 * UNITS * IN), fill(u, 4 * UNITS * UNITS);
    float *x = __real_malloc(LONG * IN * sizeof *x), *y = __real_malloc(2 * LONG * UNITS * sizeof *y),
          *z = y + LONG * UNITS;
    fill(x, LONG * IN);
    struct rnnrt_plan *plan = lstm(IN, UNITS, weight, u);
    struct rnnrt_stream *stream;
    CHECK(rnnrt_stream_create(&stream, plan, 1, 0, false, false, &error) == RNNRT_OK);
    struct rnnrt_array in = {x, IN, IN, LONG, 1}, out = {y, UNITS, UNITS, LONG, 1};
    double work = rnnrt_plan_work(plan, LONG);
    struct patience end = {{ask, &end, 0, 0}, 0, INT32_MAX}, third = {{ask, &third, 0, 0}, 0, 2};
    CHECK(rnnrt_run(plan, 1, &in, &out, NULL, NULL, 0, NULL, 0, 0, &end.between, &error) == RNNRT_OK);
    CHECK(end.asked >= 4 && end.asked >= (int)(work / 2e7) && end.between.done == work);
    out = (struct rnnrt_array){z, UNITS, UNITS, LONG, 1};
    CHECK(rnnrt_run(plan, 1, &in, &out, NULL, NULL, 0, NULL, 0, 0, &third.between, &error) ==
          RNNRT_CANCELLED);
    CHECK(third.asked == 3 && third.between.done < work);
    third.asked = 0, third.between.done = third.between.asked = 0;
    out = (struct rnnrt_array){z, UNITS, UNITS, LONG, 1};
    CHECK(rnnrt_stream_push(stream, &in, &out, &third.between, &error) == RNNRT_CANCELLED);
    CHECK(rnnrt_stream_step(stream, x, z, &error) == RNNRT_ENDED);
    rnnrt_stream_reset(stream);
    out = (struct rnnrt_array){z, UNITS, UNITS, LONG, 1};
    CHECK(rnnrt_stream_push(stream, &in, &out, NULL, &error) == RNNRT_OK && out.frames == LONG);
    CHECK(!memcmp(y, z, LONG * UNITS * sizeof *y)); /* the plan is as it was, the stream begins anew */
    rnnrt_stream_free(stream);
    rnnrt_plan_free(plan);
    free(x);
    free(y);
}

int main(void) {
    seed(1);
    in_convolutions();
    in_batches(32, 200, 40);
    in_batches(258, 260, 6);
    cancelled();
    return 0;
}
