/* Steps one dense layer from C, for tools/bench_peers.py: what is left of a Python step() when this is taken
 * away is the price of Python.
 *
 * Compiled together with src/ into a shared library that the benchmark loads beside rnnrt, so both run in one
 * process, in turns. */
#include <stdbool.h>
#include <stddef.h>

#include "rnnrt.h"

#define API __attribute__((visibility("default")))

API struct rnnrt_stream *step_cost_open(const float *weight, const float *bias, int size) {
    struct rnnrt_layer_desc rows[2] = {
        {.kind = rnnrt_kind_input, .input_size = size, .output_size = size, .timed = 1},
        {.kind = rnnrt_kind_dense,
         .inputs = 1,
         .input_size = size,
         .output_size = size,
         .timed = 1,
         .weight = weight,
         .bias = bias},
    };
    struct rnnrt_plan *plan;
    struct rnnrt_stream *stream = NULL;
    struct rnnrt_error error;
    /* The plan lives as long as the process: its one stream is never freed either. */
    if (rnnrt_plan_create(&plan, rows, 2, (int32_t[]){1}, 1, NULL, NULL, &error) == RNNRT_OK)
        rnnrt_stream_create(&stream, plan, 1, 0, false, false, &error);
    return stream;
}

/* Steps `calls` times; returns how many of them answered. */
API long step_cost_run(struct rnnrt_stream *stream, const float *x, float *y, long calls) {
    struct rnnrt_error error;
    long answered = 0;
    for (long k = 0; k < calls; k++) answered += rnnrt_stream_step(stream, x, y, &error) == 1;
    return answered;
}
