/* What layers with a window over time share: how many frames are due, and the frames kept between
 * invocations.
 *
 * Output frame k covers the input frames k * stride - pad_left + tap * dilation, tap < kernel_size. Frames
 * before the first and after the last are padding. `same` padding makes ceil(frames / stride) outputs of
 * `frames` inputs. */
#ifndef RNNRT_WINDOW_H
#define RNNRT_WINDOW_H

#include <string.h>

#include "../plan.h"

static inline size_t window_span(const struct rnnrt_layer_desc *desc) {
    return ((size_t)desc->kernel_size - 1) * (size_t)desc->dilation + 1;
}

static inline size_t window_due(const struct rnnrt_op *op, size_t frames, bool ended) {
    const struct rnnrt_layer_desc *desc = &op->desc;
    size_t stride = (size_t)desc->stride, span = window_span(desc);
    if (frames == 0) return 0;
    if (stride == 1 && !desc->same) { /* no division: a step of a small network feels it */
        size_t all = frames + (size_t)desc->pad_left + (ended ? (size_t)desc->pad_right : 0);
        return all < span ? 0 : all - span + 1;
    }
    if (ended && desc->same) return (frames + stride - 1) / stride;
    size_t padded = frames + (size_t)desc->pad_left + (ended ? (size_t)desc->pad_right : 0);
    return padded < span ? 0 : (padded - span) / stride + 1;
}

static inline void window_rate(const struct rnnrt_op *op, struct rnnrt_rate *rate) {
    const struct rnnrt_layer_desc *desc = &op->desc;
    int64_t span = (int64_t)window_span(desc), left = desc->pad_left;
    *rate = (struct rnnrt_rate){.up = 1,
                                .down = desc->stride,
                                .offset = left + desc->stride - span,
                                .warm = span + desc->stride + left + desc->pad_right,
                                .tail = desc->pad_right || desc->same};
}

/* Frames kept between invocations: all of a window but its last frame. */
static inline size_t window_history(const struct rnnrt_layer_desc *desc) { return window_span(desc) - 1; }

static inline size_t window_keeps(const struct rnnrt_op *op, struct rnnrt_kept *kept) {
    kept[0] =
        (struct rnnrt_kept){"window", window_history(&op->desc), (size_t)op->desc.input_size, false, false};
    return kept[0].frames > 0;
}

/* Most frames out of `frames` in: the line they follow, what the end adds, and what stands before a line that
 * begins with more than one. */
static inline size_t window_capacity(const struct rnnrt_op *op, size_t frames) {
    const struct rnnrt_layer_desc *desc = &op->desc;
    size_t history = window_history(desc), left = (size_t)desc->pad_left, stride = (size_t)desc->stride,
           early = left > history ? left - history : 0, missing = history > left ? history - left : 0,
           late = desc->same ? missing + stride : (size_t)desc->pad_right;
    return (frames + early + late) / stride + 2;
}

/* The windows of one call. Frames are counted from the invocation's first new one, which is 0: those before
 * it stand in a ring of `history` frames per row, those from it on in the invocation's chunk. All rows agree
 * on these counts: they are in phase. Where their sequences began they need not: `uneven`. `phase`: the slot
 * of each row's ring that frame 0 will take. */
struct window {
    const struct rnnrt_op *op;
    const struct rnnrt_invocation *call;
    size_t in, history, due; /* numbers in a frame of one row; outputs of this invocation */
    int64_t begin, end;      /* the frames any row has: begin <= frame < end; others are padding */
    int64_t first, stride;   /* window k of this invocation starts at first + k * stride */
    uint32_t *phase;
    bool uneven; /* some rows have fewer: see window_begin */
};

/* Scratch a window takes in front of its op's own: the phases. */
static inline size_t window_scratch(size_t batch) { return (batch + 15) / 16 * 16; }

/* The slot of a ring that frame `seen` of a sequence takes: 32-bit divisions where they do are twice as fast.
 */
static inline uint32_t window_phase(uint64_t seen, size_t history) {
    return seen >> 32 ? (uint32_t)(seen % history) : (uint32_t)seen % (uint32_t)history;
}

static inline struct window window_open(const struct rnnrt_op *op, const struct rnnrt_invocation *call) {
    const struct rnnrt_layer_desc *desc = &op->desc;
    uint64_t start = rnnrt_start(op, call, 0), least = start, most = start;
    size_t made = window_due(op, (size_t)start, false), history = window_history(desc);
    struct window w = {
        .op = op,
        .call = call,
        .in = (size_t)desc->input_size,
        .history = history,
        .due = window_due(op, (size_t)start + call->frames, call->final) - made,
        .end = (int64_t)call->frames,
        .first = (int64_t)made * desc->stride - desc->pad_left - (int64_t)start,
        .stride = desc->stride,
        .phase = (uint32_t *)(void *)call->scratch,
    };
    if (history) w.phase[0] = window_phase(start, history);
    for (size_t b = 1; b < call->batch && history; b++) {
        uint64_t seen = rnnrt_start(op, call, b);
        w.phase[b] = window_phase(seen, history);
        least = seen < least ? seen : least;
        most = seen > most ? seen : most;
    }
    w.begin = -(op->start ? (int64_t)history : (int64_t)rnnrt_smaller((size_t)most, history));
    w.uneven = least < most && least < history && !op->start;
    return w;
}

/* The first frame row b has. */
static inline int64_t window_begin(const struct window *w, size_t b) {
    if (!w->uneven) return w->begin;
    return -(int64_t)rnnrt_smaller((size_t)rnnrt_start(w->op, w->call, b), w->history);
}

/* How many rows from b on have the same first frame. */
static inline size_t window_alike(const struct window *w, size_t b) {
    size_t rows = 1;
    if (!w->uneven) return w->call->batch - b;
    while (b + rows < w->call->batch && window_begin(w, b + rows) == window_begin(w, b)) rows++;
    return rows;
}

/* The slot of row b's ring in which frame `frame` stands, one of those kept. */
static inline size_t window_slot(const struct window *w, int64_t frame, size_t b) {
    int64_t slot = (int64_t)w->phase[b] + frame;
    return (size_t)(slot < 0 ? slot + (int64_t)w->history : slot);
}

/* Frame `frame` of row b, which there must be. */
static inline const float *window_at(const struct window *w, int64_t frame, size_t b) {
    if (frame >= 0) return w->call->x[0] + ((size_t)frame * w->call->batch + b) * w->in;
    return (const float *)rnnrt_kept_of(w->op, w->call, b) + window_slot(w, frame, b) * w->in;
}

/* Keeps the last frames of the invocation for the next one. */
static inline void window_close(const struct window *w) {
    size_t frames = w->call->frames, from = frames > w->history ? frames - w->history : 0;
    for (size_t b = 0; b < w->call->batch && w->history; b++) {
        float *ring = rnnrt_kept_of(w->op, w->call, b);
        size_t slot = from ? (w->phase[b] + from) % w->history : w->phase[b];
        for (size_t t = from, run; t < frames; t += run) { /* a row alone lies in its chunk without gaps */
            run = w->call->batch == 1 ? rnnrt_smaller(frames - t, w->history - slot) : 1;
            memcpy(ring + slot * w->in, window_at(w, (int64_t)t, b), run * w->in * sizeof *ring);
            slot = slot + run == w->history ? 0 : slot + run;
        }
    }
}

static inline bool window_ok(const struct rnnrt_layer_desc *desc) {
    return desc->kernel_size >= 1 && desc->stride >= 1 && desc->dilation >= 1 && desc->pad_left >= 0 &&
           desc->pad_right >= 0 && (int64_t)(desc->kernel_size - 1) * desc->dilation < 1 << 24 &&
           desc->pad_left <= 1 << 24 && desc->pad_right <= 1 << 24 &&
           (!desc->same || desc->pad_left <= (desc->kernel_size - 1) * desc->dilation);
}

#endif
