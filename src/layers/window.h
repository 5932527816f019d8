/* What layers with a window over time share: how many frames are due, and the frames kept between visits.
 *
 * Output frame k covers the input frames k * stride - pad_left + tap * dilation, tap < kernel_size. Frames before the first and after the
 * last are padding. `same` padding makes ceil(frames / stride) outputs of `frames` inputs. */
#ifndef RNNRT_WINDOW_H
#define RNNRT_WINDOW_H

#include <string.h>

#include "../plan.h"

static inline size_t window_span(const struct rnnrt_row *row) { return ((size_t)row->kernel_size - 1) * (size_t)row->dilation + 1; }

static inline size_t window_due(const struct rnnrt_op *op, size_t frames, bool ended) {
    const struct rnnrt_row *row = &op->row;
    size_t stride = (size_t)row->stride, span = window_span(row);
    if (frames == 0) return 0;
    if (ended && row->same) return (frames + stride - 1) / stride;
    size_t padded = frames + (size_t)row->pad_left + (ended ? (size_t)row->pad_right : 0);
    return padded < span ? 0 : (padded - span) / stride + 1;
}

/* The last frames of the input, in a ring written twice (at p and at p + ring), so that any stretch of up to `ring` frames is contiguous. */
struct window_state {
    uint64_t seen, made;
    float frames[];
};

static inline size_t window_ring(const struct rnnrt_op *op, size_t frames) { return window_span(&op->row) + frames; }

static inline size_t window_state_bytes(const struct rnnrt_op *op, size_t batch, size_t frames) {
    return sizeof(struct window_state) + 2 * window_ring(op, frames) * batch * (size_t)op->row.input_size * sizeof(float);
}

static inline size_t window_capacity(const struct rnnrt_op *op, size_t frames) {
    return (frames + window_span(&op->row) + (size_t)op->row.pad_left + (size_t)op->row.pad_right) / (size_t)op->row.stride + 2;
}

static inline void window_append(struct window_state *state, size_t ring, size_t frame, const float *x, size_t frames) {
    for (size_t done = 0; done < frames;) {
        size_t place = (size_t)((state->seen + done) % ring), count = rnnrt_smaller(frames - done, ring - place);
        memcpy(state->frames + place * frame, x + done * frame, count * frame * sizeof(float));
        memcpy(state->frames + (place + ring) * frame, x + done * frame, count * frame * sizeof(float));
        done += count;
    }
    state->seen += frames;
}

/* Frame `index` (and those after it up to the last seen), which must be among the last `ring`. */
static inline const float *window_at(const struct window_state *state, size_t ring, size_t frame, uint64_t index) {
    return state->frames + (size_t)(index % ring) * frame;
}

static inline bool window_ok(const struct rnnrt_row *row) {
    return row->kernel_size >= 1 && row->stride >= 1 && row->dilation >= 1 && row->pad_left >= 0 && row->pad_right >= 0 &&
           (int64_t)(row->kernel_size - 1) * row->dilation < 1 << 24 && row->pad_left <= 1 << 24 && row->pad_right <= 1 << 24;
}

#endif
