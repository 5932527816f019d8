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
    if (stride == 1 && !row->same) { /* no division: a step of a small network feels it */
        size_t all = frames + (size_t)row->pad_left + (ended ? (size_t)row->pad_right : 0);
        return all < span ? 0 : all - span + 1;
    }
    if (ended && row->same) return (frames + stride - 1) / stride;
    size_t padded = frames + (size_t)row->pad_left + (ended ? (size_t)row->pad_right : 0);
    return padded < span ? 0 : (padded - span) / stride + 1;
}

static inline void window_rate(const struct rnnrt_op *op, struct rnnrt_rate *rate) {
    const struct rnnrt_row *row = &op->row;
    int64_t span = (int64_t)window_span(row), left = row->pad_left;
    *rate = (struct rnnrt_rate){.up = 1,
                                .down = row->stride,
                                .offset = left + row->stride - span,
                                .warm = span + row->stride + left + row->pad_right,
                                .tail = row->pad_right || row->same};
}

/* Frames kept between visits: all of a window but its last frame. */
static inline size_t window_history(const struct rnnrt_row *row) { return window_span(row) - 1; }

static inline size_t window_keeps(const struct rnnrt_op *op, struct rnnrt_kept *kept) {
    kept[0] =
        (struct rnnrt_kept){"window", window_history(&op->row), (size_t)op->row.input_size, false, false};
    return kept[0].frames > 0;
}

static inline size_t window_capacity(const struct rnnrt_op *op, size_t frames) {
    return (frames + window_span(&op->row) + (size_t)op->row.pad_left + (size_t)op->row.pad_right) /
               (size_t)op->row.stride +
           2;
}

/* The windows of one visit. Frames are counted from the visit's first new one, which is 0: those before it
 * stand in a ring of `history` frames per row, those from it on in the visit's chunk. All rows agree on these
 * counts: they are in phase. `phase`: the slot of each row's ring that frame 0 will take. */
struct window {
    const struct rnnrt_op *op;
    const struct rnnrt_visit *visit;
    size_t in, history, due; /* numbers in a frame of one row; outputs of this visit */
    int64_t begin, end;      /* the frames there are: begin <= frame < end; others are padding */
    int64_t first, stride;   /* window k of this visit starts at first + k * stride */
    uint32_t *phase;
};

/* Scratch a window takes in front of its op's own: the phases. */
static inline size_t window_scratch(size_t batch) { return (batch + 15) / 16 * 16; }

static inline struct window window_open(const struct rnnrt_op *op, const struct rnnrt_visit *visit) {
    const struct rnnrt_row *row = &op->row;
    uint64_t start = rnnrt_start(op, visit, 0);
    size_t made = window_due(op, (size_t)start, false), history = window_history(row);
    int64_t kept = op->start ? (int64_t)history : (int64_t)rnnrt_smaller((size_t)start, history);
    struct window w = {
        op,
        visit,
        (size_t)row->input_size,
        history,
        window_due(op, (size_t)start + visit->frames, visit->final) - made,
        -kept,
        (int64_t)visit->frames,
        (int64_t)made * row->stride - row->pad_left - (int64_t)start,
        row->stride,
        (uint32_t *)(void *)visit->scratch,
    };
    for (size_t b = 0; b < visit->batch && history; b++) {
        uint64_t seen = rnnrt_start(op, visit, b); /* 32-bit divisions where they do: twice as fast */
        w.phase[b] = seen >> 32 ? (uint32_t)(seen % history) : (uint32_t)seen % (uint32_t)history;
    }
    return w;
}

/* The slot of row b's ring in which frame `frame` stands, one of those kept. */
static inline size_t window_slot(const struct window *w, int64_t frame, size_t b) {
    int64_t slot = (int64_t)w->phase[b] + frame;
    return (size_t)(slot < 0 ? slot + (int64_t)w->history : slot);
}

/* Frame `frame` of row b, which there must be. */
static inline const float *window_at(const struct window *w, int64_t frame, size_t b) {
    if (frame >= 0) return w->visit->x[0] + ((size_t)frame * w->visit->batch + b) * w->in;
    return (const float *)rnnrt_kept_of(w->op, w->visit, b) + window_slot(w, frame, b) * w->in;
}

/* Keeps the last frames of the visit for the next one. */
static inline void window_close(const struct window *w) {
    size_t frames = w->visit->frames, from = frames > w->history ? frames - w->history : 0;
    for (size_t b = 0; b < w->visit->batch && w->history; b++) {
        float *ring = rnnrt_kept_of(w->op, w->visit, b);
        size_t slot = from ? (w->phase[b] + from) % w->history : w->phase[b];
        for (size_t t = from, run; t < frames; t += run) { /* a row alone lies in its chunk without gaps */
            run = w->visit->batch == 1 ? rnnrt_smaller(frames - t, w->history - slot) : 1;
            memcpy(ring + slot * w->in, window_at(w, (int64_t)t, b), run * w->in * sizeof *ring);
            slot = slot + run == w->history ? 0 : slot + run;
        }
    }
}

static inline bool window_ok(const struct rnnrt_row *row) {
    return row->kernel_size >= 1 && row->stride >= 1 && row->dilation >= 1 && row->pad_left >= 0 &&
           row->pad_right >= 0 && (int64_t)(row->kernel_size - 1) * row->dilation < 1 << 24 &&
           row->pad_left <= 1 << 24 && row->pad_right <= 1 << 24 &&
           (!row->same || row->pad_left <= (row->kernel_size - 1) * row->dilation);
}

#endif
