/* What layers with a window over time share: how many frames are due, and the frames kept between visits.
 *
 * Output frame k covers the input frames k * stride - pad_left + tap * dilation, tap < kernel_size. Frames
 * before the first and after the last are padding. `same` padding makes ceil(frames / stride) outputs of
 * `frames` inputs. */
#ifndef RNNRT_WINDOW_H
#define RNNRT_WINDOW_H

#include <string.h>

#include "../plan.h"

static inline size_t window_span(const struct rnnrt_row *row) {
    return ((size_t)row->kernel_size - 1) * (size_t)row->dilation + 1;
}

static inline size_t window_due(const struct rnnrt_op *op, size_t frames, bool ended) {
    const struct rnnrt_row *row = &op->row;
    size_t stride = (size_t)row->stride, span = window_span(row);
    if (frames == 0) return 0;
    if (ended && row->same) return (frames + stride - 1) / stride;
    size_t padded = frames + (size_t)row->pad_left + (ended ? (size_t)row->pad_right : 0);
    return padded < span ? 0 : (padded - span) / stride + 1;
}

static inline size_t window_ring(const struct rnnrt_op *op, size_t frames) {
    return window_span(&op->row) + frames;
}

static inline size_t window_state_bytes(const struct rnnrt_op *op, size_t batch, size_t frames) {
    return rnnrt_times(2 * window_ring(op, frames),
                       rnnrt_times(batch * (size_t)op->row.input_size, sizeof(float)));
}

static inline size_t window_capacity(const struct rnnrt_op *op, size_t frames) {
    return (frames + window_span(&op->row) + (size_t)op->row.pad_left + (size_t)op->row.pad_right) /
               (size_t)op->row.stride +
           2;
}

/* The windows of one visit. The last frames of the input stand in a ring written twice (at p and at p +
 * ring), so that any stretch of up to `ring` frames is contiguous; that is all the state there is: what was
 * seen and made before follows from the frames counted outside. */
struct window {
    float *frames;
    size_t ring, frame;       /* frames it holds; numbers in one, all batch rows */
    uint64_t seen, made, due; /* input frames up to now; output frames before this visit and after it */
};

/* Takes in the frames of a visit. */
static inline struct window window_open(const struct rnnrt_op *op, const struct rnnrt_visit *visit) {
    struct window w = {visit->state,
                       visit->ring,
                       (size_t)op->row.input_size * visit->batch,
                       visit->start + visit->frames,
                       window_due(op, (size_t)visit->start, false),
                       window_due(op, (size_t)visit->start + visit->frames, visit->final)};
    for (size_t done = 0; done < visit->frames;) {
        size_t place = (size_t)((visit->start + done) % w.ring),
               count = rnnrt_smaller(visit->frames - done, w.ring - place);
        memcpy(w.frames + place * w.frame, visit->x[0] + done * w.frame, count * w.frame * sizeof(float));
        memcpy(w.frames + (place + w.ring) * w.frame, visit->x[0] + done * w.frame,
               count * w.frame * sizeof(float));
        done += count;
    }
    return w;
}

/* Frame `index` (and those after it up to the last seen), which must be among the last `ring`. */
static inline const float *window_at(const struct window *w, uint64_t index) {
    return w->frames + (size_t)(index % w->ring) * w->frame;
}

static inline bool window_ok(const struct rnnrt_row *row) {
    return row->kernel_size >= 1 && row->stride >= 1 && row->dilation >= 1 && row->pad_left >= 0 &&
           row->pad_right >= 0 && (int64_t)(row->kernel_size - 1) * row->dilation < 1 << 24 &&
           row->pad_left <= 1 << 24 && row->pad_right <= 1 << 24 &&
           (!row->same || row->pad_left <= (row->kernel_size - 1) * row->dilation);
}

#endif
