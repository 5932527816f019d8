/* How far the branches of a join run apart.
 *
 * The frames of a value after n input frames, while more may come, follow a line in whole numbers: none
 * before `first`, then min(most, (rate n + shift) / stride). Windows keep it one, since ((n + a) / s + b) / t
 * is (n + a + b s) / (s t), and so do joins, whose minimum of two lines of one slope is the lower one from
 * the later beginning on. u ((n + a) / s) is not a line: it steps by u, between two lines of one slope, (u n
 * + u a) / s and that of a shift u (s - 1) less. How far one value can be above another then follows without
 * a walk along them. */
#include <stdlib.h>

#include "plan.h"

struct pace {
    int64_t first; /* from here on there is some; where `low` is `high` there is none before */
    int64_t rate, low, high, stride; /* the shifts of two lines it lies between; stride 0: no line, `most`
                                        from `first` on */
    int64_t most;
    bool known;
};
#define NEVER INT64_MAX
static const int64_t FAR = (int64_t)1 << 60; /* beyond it a line is not known: sums below do not wrap */

static int64_t divided(int64_t a, int64_t b) { return a / b - (a % b < 0); } /* downwards; b > 0 */

/* The most there can be after n frames. */
static int64_t pace_at(const struct pace *p, int64_t n) {
    if (n < p->first && p->low == p->high) return 0;
    int64_t line = p->stride ? divided(p->rate * n + p->high, p->stride) : p->most;
    return line < 0 ? 0 : line < p->most ? line : p->most;
}

/* *shift of a line over `stride` becomes that of (up * line + offset) / down. */
static bool shifted(int64_t *shift, int64_t stride, const struct rnnrt_rate *by) {
    int64_t offset;
    return !__builtin_mul_overflow(by->offset, stride, &offset) &&
           !__builtin_mul_overflow(*shift, by->up, shift) && !__builtin_add_overflow(*shift, offset, shift) &&
           *shift <= FAR && *shift >= -FAR;
}

static struct pace through(struct pace p, struct rnnrt_rate by) {
    if (!p.known || p.first == NEVER) return p;
    if (by.up > 1) p.low -= p.stride - 1;
    p.known = p.most == NEVER && shifted(&p.low, p.stride, &by) && shifted(&p.high, p.stride, &by) &&
              !__builtin_mul_overflow(p.rate, by.up, &p.rate) &&
              !__builtin_mul_overflow(p.stride, by.down, &p.stride) && p.stride <= FAR && p.rate <= 1 << 30;
    if (!p.known) return p;
    int64_t a = p.rate, b = p.stride;
    for (int64_t rest; b; b = rest) rest = a % b, a = b; /* a: their greatest common divisor */
    p.rate /= a, p.stride /= a, p.low = divided(p.low, a), p.high = divided(p.high, a);
    int64_t first = -divided(p.low - p.stride, p.rate);
    if (p.first < first) p.first = first;
    p.known = p.first <= FAR / p.rate;
    return p;
}

/* The slower of two at every n. */
static struct pace slower(struct pace a, struct pace b) {
    if (a.known && a.first == NEVER) return a;
    if (b.known && b.first == NEVER) return b;
    a.known &= b.known && (!a.stride || !b.stride || (a.stride == b.stride && a.rate == b.rate));
    if (!a.stride) a.rate = b.rate, a.low = b.low, a.high = b.high, a.stride = b.stride;
    else if (b.stride && b.low < a.low) a.low = b.low;
    if (b.stride && b.high < a.high) a.high = b.high;
    if (b.first > a.first) a.first = b.first;
    if (b.most < a.most) a.most = b.most;
    return a;
}

/* The furthest `a` can be ahead of `least`, the slowest at its join, before it is sure that the join cannot
 * end well; NEVER: as far as there are frames. */
static int64_t ahead(const struct pace *a, const struct pace *least) {
    if (!a->known || !least->known) return NEVER;
    if (a->first == NEVER) return 0;
    if (least->first == NEVER || !a->stride) return a->most;
    int64_t before = pace_at(a, least->first - 1), by = least->stride ? a->high - least->low : 0;
    int64_t after = by > 0 ? (by - 1) / a->stride + 1 : 0;
    return before > after ? before : after;
}

static struct pace pace_of_value(const struct rnnrt_plan *plan, const struct pace *paces, int32_t v) {
    const struct rnnrt_op *op = &plan->ops[plan->values[v].op];
    if (plan->values[v].timed || !rnnrt_recurrent(op->desc.kind)) return paces[plan->values[v].op];
    return (struct pace){.first = op->once ? 1 : NEVER, .most = 1, .known = true}; /* a final state */
}

/* The frames input i of a joining op may be ahead of the slowest by: what a queue on that edge must hold
 * between invocations. `fixed`: the number of frames is, and `total` holds the counts at it. */
static void count_lag(struct rnnrt_plan *plan, struct rnnrt_op *op, const struct pace *paces, bool fixed,
                      const size_t *total) {
    struct pace least = pace_of_value(plan, paces, op->desc.input[0]);
    for (int32_t i = 1; i < op->counted; i++)
        least = slower(least, pace_of_value(plan, paces, op->desc.input[i]));
    for (int32_t i = 0; i < op->counted; i++) {
        struct pace own = pace_of_value(plan, paces, op->desc.input[i]);
        int64_t lag = ahead(&own, &least), most = fixed ? (int64_t)total[op->desc.input[i]] : NEVER;
        if (!plan->values[op->desc.input[i]].timed) lag = 1;            /* given at the start or at the end */
        if (lag > most && !(op->clocks & (op->clocks - 1))) lag = most; /* clocks end apart */
        op->apart |= lag == NEVER;
        op->lag[i] = op->apart ? 0 : rnnrt_smaller((size_t)lag, SIZE_MAX >> 8);
    }
}

enum rnnrt_status rnnrt_count_lags(struct rnnrt_plan *plan) {
    struct pace *paces = rnnrt_take_zeroed(&plan->memory, plan->count, sizeof *paces);
    size_t *total = rnnrt_take(&plan->memory, plan->value_count, sizeof *total);
    size_t length[RNNRT_MAX_CLOCKS] = {0}; /* of all inputs of a clock, where the plan streams */
    for (size_t r = 0; r < plan->count; r++)
        if (plan->ops[r].desc.kind == rnnrt_kind_input && plan->ops[r].desc.timed)
            length[__builtin_ctzll(plan->ops[r].clocks)] = (size_t)plan->ops[r].desc.length;
    if (paces && total) rnnrt_plan_totals(plan, length, false, false, total);
    for (size_t r = 0; r < plan->count && paces && total; r++) {
        struct rnnrt_op *op = &plan->ops[r];
        struct pace p = {.first = 1, .rate = 1, .stride = 1, .most = NEVER, .known = true}; /* of an input */
        if (op->desc.kind == rnnrt_kind_input) {
            if (!op->desc.timed) p.stride = 0, p.most = 1;
            paces[r] = p;
            continue;
        }
        p = pace_of_value(plan, paces, op->desc.input[0]);
        for (int32_t i = 1; op->joins && i < op->counted; i++)
            p = slower(p, pace_of_value(plan, paces, op->desc.input[i]));
        if (op->once) { /* over with the first frame */
            p.most = (int64_t)rnnrt_op_due(op, (size_t)p.most, true);
            if (!p.most) p.first = NEVER;
        } else if (op->layer->rate) {
            p = through(p, rnnrt_rate_of(op));
        } else if (op->layer->due &&
                   (op->desc.kind != rnnrt_kind_scan ||
                    op->desc
                        .length)) { /* those that say nothing before the end, and what is not understood */
            p.known &= rnnrt_op_due(op, p.first == NEVER ? 0 : (size_t)1 << 30, false) == 0;
            p.first = NEVER;
        }
        paces[r] = p;
        if (op->joins) count_lag(plan, op, paces, op->clocks && length[__builtin_ctzll(op->clocks)], total);
    }
    enum rnnrt_status status = paces && total ? RNNRT_OK : RNNRT_NO_MEMORY;
    rnnrt_give(&plan->memory, paces);
    rnnrt_give(&plan->memory, total);
    return status;
}
