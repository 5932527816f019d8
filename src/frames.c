/* Frames on their way in and out: between the caller's arrays, whose strides are any, and chunks. */
#include <string.h>

#include "arena.h"

static ptrdiff_t number_stride(const struct rnnrt_array *array) {
    return array->number_stride ? array->number_stride : 1;
}

void rnnrt_take_frames(const struct rnnrt_kernels *kernels, const struct rnnrt_array *array, size_t row,
                       size_t start, size_t count, size_t width, float *to, size_t to_stride) {
    ptrdiff_t time = array->time_stride, number = number_stride(array);
    const float *from = array->data + (ptrdiff_t)start * time + (ptrdiff_t)row * array->batch_stride;
    if (number == 1 || width == 1)
        for (size_t t = 0; t < count; t++)
            memmove(to + t * to_stride, from + (ptrdiff_t)t * time, width * sizeof *to);
    else if (time == 1 && number > 0) kernels->turn(from, (size_t)number, width, count, to, to_stride);
    else
        for (size_t t = 0; t < count; t++)
            for (size_t k = 0; k < width; k++)
                to[t * to_stride + k] = from[(ptrdiff_t)t * time + (ptrdiff_t)k * number];
}

void rnnrt_lay_frames(const struct rnnrt_kernels *kernels, const struct rnnrt_array *array, size_t row,
                      size_t start, size_t count, size_t width, const float *from, size_t from_stride) {
    ptrdiff_t time = array->time_stride, number = number_stride(array);
    float *to = array->data + (ptrdiff_t)start * time + (ptrdiff_t)row * array->batch_stride;
    if (number == 1 || width == 1)
        for (size_t t = 0; t < count; t++) /* an output may be an input, pushed into its own place */
            memmove(to + (ptrdiff_t)t * time, from + t * from_stride, width * sizeof *to);
    else if (time == 1 && number > 0) kernels->turn(from, from_stride, count, width, to, (size_t)number);
    else
        for (size_t t = 0; t < count; t++)
            for (size_t k = 0; k < width; k++)
                to[(ptrdiff_t)t * time + (ptrdiff_t)k * number] = from[t * from_stride + k];
}

/* Whether the frames of an array lie side by side, as those of a chunk do. */
static bool packed(const struct rnnrt_array *array, size_t frames, size_t batch, size_t width) {
    return (width == 1 || number_stride(array) == 1) &&
           (batch == 1 || array->batch_stride == (ptrdiff_t)width) &&
           (frames == 1 || array->time_stride == (ptrdiff_t)(width * batch));
}

const float *rnnrt_read_frames(const struct rnnrt_arena *arena, const struct rnnrt_array *array, size_t start,
                               size_t count, size_t width, float *to) {
    size_t batch = arena->batch;
    if (!count) return to;
    if (packed(array, count, batch, width)) return array->data + (ptrdiff_t)start * array->time_stride;
    for (size_t b = 0; b < batch; b++)
        rnnrt_take_frames(arena->kernels, array, b, start, count, width, to + b * width, batch * width);
    return to;
}

bool rnnrt_is_apart(const struct rnnrt_arena *arena, const struct rnnrt_array *inputs,
                    const struct rnnrt_array *output) {
    const struct rnnrt_plan *plan = arena->plan;
    size_t batch = arena->batch, width = (size_t)plan->values[plan->output[0]].width, input = 0;
    if (!packed(output, output->frames, batch, width)) return false;
    uintptr_t start = (uintptr_t)output->data, end = start + output->frames * batch * width * sizeof(float);
    for (size_t r = 0; inputs && r < plan->count && input < plan->inputs; r++) {
        if (plan->ops[r].desc.kind != rnnrt_kind_input) continue;
        const struct rnnrt_array *array = &inputs[input++];
        size_t in = (size_t)plan->ops[r].desc.output_size;
        uintptr_t from = (uintptr_t)array->data;
        if (!packed(array, array->frames, batch, in) ||
            (from < end && start < from + array->frames * batch * in * sizeof(float)))
            return false;
    }
    return true;
}

enum rnnrt_status rnnrt_write_outputs(struct rnnrt_arena *arena, struct rnnrt_array *outputs,
                                      const size_t *room, struct rnnrt_error *error) {
    const struct rnnrt_plan *plan = arena->plan;
    for (size_t o = 0; o < plan->outputs; o++) {
        int32_t v = plan->output[o];
        const struct value_place *value = &arena->values[v];
        size_t width = (size_t)plan->values[v].width, batch = arena->batch, made = outputs[o].frames;
        if (!value->fresh) continue;
        if (made + value->fresh > room[o]) {
            if (error)
                *error = (struct rnnrt_error){.layer = plan->values[v].op,
                                              .text = "there is no room for its output"};
            return RNNRT_BAD_LAYER;
        }
        if (packed(&outputs[o], value->fresh, batch, width)) {
            float *to = outputs[o].data + (ptrdiff_t)made * outputs[o].time_stride;
            if (to != value->data) memmove(to, value->data, value->fresh * batch * width * sizeof *to);
        } else
            for (size_t b = 0; b < batch; b++)
                rnnrt_lay_frames(arena->kernels, &outputs[o], b, made, value->fresh, width,
                                 value->data + b * width, batch * width);
        outputs[o].frames += value->fresh;
    }
    return RNNRT_OK;
}
