/* Rows -> plan: check, pack, order the ops into stages, and count how far branches can run ahead of one
 * another. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arena.h"

static const struct rnnrt_layer *const layers[] = {
#define RNNRT_LAYER(word) &rnnrt_layer_##word,
    RNNRT_LAYERS(RNNRT_LAYER)
#undef RNNRT_LAYER
};

/* Where memory is promised freely, asking for more than there is ends the process at the first touch, not
 * here. */
static bool machine_has(size_t bytes) {
    if (bytes < (size_t)1 << 30) return true;
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages < 1 || size < 1 || bytes / (size_t)size < (size_t)pages;
}

void *rnnrt_aligned(size_t bytes) {
    if (bytes >= RNNRT_MOST || !machine_has(bytes)) return NULL;
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64 + (bytes == 0 ? 64 : 0));
    if (p) memset(p, 0, bytes);
    return p;
}

static enum rnnrt_status bad_row(struct rnnrt_error *error, size_t row, const char *text) {
    if (error) *error = (struct rnnrt_error){.row = (int32_t)row, .text = text};
    return RNNRT_BAD_ROW;
}

/* ---- one row ---- */

size_t rnnrt_row_slots(const struct rnnrt_row *row) {
    if (row->kind == rnnrt_kind_scan) return row->inner ? row->inner->outputs : 1;
    return row->kind == rnnrt_kind_lstm ? 4 : rnnrt_recurrent(row->kind) ? 2 : 1;
}

int32_t rnnrt_value(const struct rnnrt_row *rows, size_t row, size_t slot) {
    for (size_t r = 0; r < row; r++) slot += rnnrt_row_slots(&rows[r]);
    return (int32_t)slot;
}

/* Slots of a scan that are answers of its step. */
static size_t scan_answers(const struct rnnrt_row *row) {
    size_t slots = rnnrt_row_slots(row);
    return row->states > 0 && (size_t)row->states < slots ? slots - (size_t)row->states : slots;
}

static int32_t slot_width(const struct rnnrt_row *row, size_t slot) {
    if (row->kind == rnnrt_kind_scan && row->inner) {
        size_t answers = scan_answers(row), states = row->inner->outputs - answers;
        return row->inner->values[row->inner->output[slot < answers ? states + slot : slot - answers]].width;
    }
    return slot > RNNRT_SLOT_H ? row->units : row->output_size;
}

/* Slot 0 and the inputs run over time, or are given once, as the kind demands. */
static bool time_fits(const struct rnnrt_plan *plan, const struct rnnrt_row *row) {
    if (row->kind == rnnrt_kind_input) return true;
    bool in = plan->values[row->input[0]].timed, out = row->timed != 0;
    for (int32_t i = 1; i < row->inputs; i++)
        if (plan->values[row->input[i]].timed != (in && !rnnrt_recurrent(row->kind))) return false;
    if (row->kind == rnnrt_kind_scan) return in == !row->length && out;
    switch (layers[row->kind]->time) {
    case RNNRT_TIME_NEEDED: return in && out;
    case RNNRT_TIME_ENDS: return in && !out;
    case RNNRT_TIME_BEGINS: return !in && out;
    default: return in == out;
    }
}

static bool takes_several(int32_t kind) {
    return kind == rnnrt_kind_concatenate || kind == rnnrt_kind_add || kind == rnnrt_kind_multiply ||
           rnnrt_recurrent(kind);
}

static bool consults_mask(const struct rnnrt_row *row) {
    return row->kind == rnnrt_kind_rnn || row->kind == rnnrt_kind_gru || row->kind == rnnrt_kind_lstm ||
           row->kind == rnnrt_kind_global_average_pool || (row->kind == rnnrt_kind_scan && !row->length);
}

static enum rnnrt_status check_mask(struct rnnrt_plan *plan, const struct rnnrt_row *row, size_t r,
                                    struct rnnrt_error *error) {
    if (row->masked_output == RNNRT_UNMASKED)
        return row->mask > 0 ? bad_row(error, r, "it has a mask, but not what a masked frame gives")
                             : RNNRT_OK;
    if (row->masked_output < 0 || row->masked_output >= RNNRT_MASKED_OUTPUTS)
        return bad_row(error, r, "what a masked frame gives is unknown");
    if (!consults_mask(row)) return bad_row(error, r, "a mask means nothing to it");
    if (row->inputs >= RNNRT_MAX_INPUTS) return bad_row(error, r, "it has too many inputs");
    if (row->mask < 0 || (size_t)row->mask >= plan->ops[r].value)
        return bad_row(error, r, "its mask is a value no row before it makes");
    if (plan->values[row->mask].width != 1 || !plan->values[row->mask].timed)
        return bad_row(error, r, "its mask is not one number a frame");
    plan->values[row->mask].used = true;
    return RNNRT_OK;
}

/* From here on the mask is an input like any other, the first after the frames. */
static void take_mask(struct rnnrt_op *op) {
    struct rnnrt_row *row = &op->row;
    if (row->masked_output == RNNRT_UNMASKED) return;
    op->mask = 1;
    memmove(row->input + 2, row->input + 1, ((size_t)row->inputs - 1) * sizeof *row->input);
    row->input[op->mask] = row->mask;
    row->inputs++, op->counted++, op->joins = true;
}

static enum rnnrt_status check_row(struct rnnrt_plan *plan, const struct rnnrt_row *rows, size_t r,
                                   struct rnnrt_error *error) {
    const struct rnnrt_row *row = &rows[r];
    if (row->kind < 0 || row->kind >= RNNRT_KINDS) return bad_row(error, r, "its kind is unknown");
    if (row->inputs < 0 || row->inputs > RNNRT_MAX_INPUTS) return bad_row(error, r, "it has too many inputs");
    if ((row->kind == rnnrt_kind_input) != (row->inputs == 0))
        return bad_row(error, r, "it has no inputs, or is an input and has some");
    if (row->output_size < 1 || row->output_size > 1 << 24)
        return bad_row(error, r, "its output size is impossible");
    if (row->kind != rnnrt_kind_input && (row->input_size < 1 || row->input_size > 1 << 24))
        return bad_row(error, r, "its input size is impossible");
    if ((unsigned)row->activation.name >= RNNRT_FUNCTIONS ||
        (unsigned)row->recurrent_activation.name >= RNNRT_FUNCTIONS)
        return bad_row(error, r, "its activation is unknown");
    if (row->inputs > 1 && !takes_several(row->kind)) return bad_row(error, r, "it takes one input");
    if (row->length < 0) return bad_row(error, r, "its length is impossible");
    if (row->reverse && !rnnrt_recurrent(row->kind)) return bad_row(error, r, "it cannot run in reverse");
    if (row->unpacked && !rnnrt_recurrent(row->kind)) return bad_row(error, r, "lengths mean nothing to it");
    for (int32_t i = 0; i < row->inputs; i++) {
        int32_t v = row->input[i];
        if (v < 0 || (size_t)v >= plan->ops[r].value)
            return bad_row(error, r, "it reads a value no row before it makes");
        plan->values[v].used = true;
    }
    if (row->inputs && plan->values[row->input[0]].width != row->input_size)
        return bad_row(error, r, "its input size is not that of the value it reads");
    if (!time_fits(plan, row))
        return bad_row(error, r, "it runs over time where its inputs do not, or the other way round");
    enum rnnrt_status status = check_mask(plan, row, r, error);
    if (status) return status;
    for (size_t slot = 0; slot < plan->ops[r].slots; slot++)
        plan->values[plan->ops[r].value + slot] = (struct rnnrt_value){
            .row = (int32_t)r,
            .width = slot_width(row, slot),
            .timed = slot == 0                      ? row->timed != 0
                     : row->kind == rnnrt_kind_scan ? slot < scan_answers(row)
                                                    : slot == RNNRT_SLOT_CELLS,
            .used = slot == 0 &&
                    !rnnrt_recurrent(row->kind)}; /* recurrent rows alone can do without their slot 0 */
    return RNNRT_OK;
}

/* ---- stages ----
 * Ops of one stage are visited block by block, in order. An op that needs a value complete before it starts
 * (an initial state), or reads what a whole op made, belongs to a later stage and reads that value from a
 * full-length buffer. */

static bool closes(int32_t kind) {
    return kind == rnnrt_kind_last || kind == rnnrt_kind_global_max_pool ||
           kind == rnnrt_kind_global_average_pool;
}

/* Whether a stream gives the value only when the sequence is over. */
static bool comes_late(const struct rnnrt_plan *plan, int32_t value) {
    const struct rnnrt_op *from = &plan->ops[plan->values[value].row];
    return from->late || (!from->once && rnnrt_recurrent(from->row.kind) && !plan->values[value].timed);
}

/* Whether an op joins frames as they come with frames that are there only at the end: no queue of a known
 * size could hold the first until the others come. */
static bool joins_late(const struct rnnrt_plan *plan, const struct rnnrt_op *op) {
    bool late = false, live = false;
    for (int32_t i = 0; op->joins && i < op->counted; i++) {
        int32_t v = op->row.input[i];
        if (!plan->values[v].timed) return false;
        if (comes_late(plan, v)) late = true;
        else live |= !plan->ops[plan->values[v].row].once;
    }
    return late && live;
}

static void order(struct rnnrt_plan *plan) {
    plan->stages = 1;
    for (size_t r = 0; r < plan->count; r++) {
        struct rnnrt_op *op = &plan->ops[r];
        op->whole = op->row.reverse || op->row.kind == rnnrt_kind_reverse;
        op->stage = op->row.inputs ? 0 : -1;
        op->once = op->row.inputs || !op->row.timed;
        for (int32_t i = 0; i < op->row.inputs; i++) {
            const struct rnnrt_op *from = &plan->ops[plan->values[op->row.input[i]].row];
            op->once &= from->once;
            bool complete = i >= op->counted;
            int32_t after = from->stage + (from->stage >= 0 && !op->whole && (from->whole || complete));
            if (after > op->stage) op->stage = after;
        }
        op->late =
            op->row.inputs && !op->once && (closes(op->row.kind) || op->row.kind == rnnrt_kind_flatten);
        for (int32_t i = 0; i < op->row.inputs; i++) op->late |= comes_late(plan, op->row.input[i]);
        if (op->stage + 1 > plan->stages) plan->stages = op->stage + 1;
    }
}

/* Whether input i of the op comes from a full-length buffer. */
static bool reads_whole(const struct rnnrt_plan *plan, const struct rnnrt_op *op, int32_t i) {
    const struct rnnrt_value *value = &plan->values[op->row.input[i]];
    const struct rnnrt_op *from = &plan->ops[value->row];
    if (!value->full) return false;
    if (op->whole || from->whole || i >= op->counted || (!plan->streams && op->joins)) return true;
    return from->stage < 0 ? !value->timed || op->stage > 0 : op->stage > from->stage;
}

/* What is kept for its whole length. */
static void keep_whole_values(struct rnnrt_plan *plan) {
    for (size_t r = 0; r < plan->count; r++) {
        const struct rnnrt_op *op = &plan->ops[r];
        for (int32_t i = 0; i < op->row.inputs; i++) {
            struct rnnrt_value *value = &plan->values[op->row.input[i]];
            const struct rnnrt_op *from = &plan->ops[plan->values[op->row.input[i]].row];
            value->full |= from->whole || op->whole ||
                           (op->stage > from->stage && !(from->stage < 0 && op->stage == 0)) ||
                           i >= op->counted;
        }
        if (op->stage < 0 && !op->row.timed) plan->values[op->value].full = true;
        for (size_t slot = 0; op->whole && slot < op->slots; slot++)
            plan->values[op->value + slot].full = true;
    }
    const char *text;
    plan->streams = rnnrt_plan_obstacle(plan, false, &text) < 0;
    for (size_t r = 0; r < plan->count && plan->streams; r++)
        if (plan->ops[r].row.kind == rnnrt_kind_input && plan->ops[r].row.timed)
            plan->length = (size_t)plan->ops[r].row.length;
    /* Where the branches of a join may be any distance apart they wait for one another in full-length
     * buffers. */
    for (size_t r = 0; r < plan->count && !plan->streams; r++)
        for (int32_t i = 0; plan->ops[r].joins && i < plan->ops[r].row.inputs; i++)
            plan->values[plan->ops[r].row.input[i]].full = true;
    for (size_t r = 0; r < plan->count; r++) {
        struct rnnrt_op *op = &plan->ops[r];
        for (int32_t i = 0; i < op->row.inputs; i++) op->from_whole[i] = reads_whole(plan, op, i);
        for (op->shown = op->slots; op->shown && !plan->values[op->value + op->shown - 1].used;) op->shown--;
    }
}

/* ---- counting frames ---- */

static size_t op_due(const struct rnnrt_op *op, size_t frames, bool ended) {
    return op->layer->due ? op->layer->due(op, frames, ended) : frames;
}

void rnnrt_plan_totals(const struct rnnrt_plan *plan, size_t frames, bool ended, bool every_step,
                       size_t *total) {
    for (size_t r = 0; r < plan->count; r++) {
        const struct rnnrt_op *op = &plan->ops[r];
        size_t *made = total + op->value, in = SIZE_MAX;
        memset(made, 0, op->slots * sizeof *made);
        if (op->row.kind == rnnrt_kind_input) {
            if (!op->row.timed) made[0] = frames || ended;
            else made[0] = ended && op->row.length && !plan->streams ? (size_t)op->row.length : frames;
            continue;
        }
        bool over =
            ended ||
            (op->once && frames); /* what hangs on inputs given once alone is over with the first frame */
        for (int32_t i = 0; i < op->counted; i++) in = rnnrt_smaller(in, total[op->row.input[i]]);
        if (every_step && closes(op->row.kind)) made[0] = in;
        else made[0] = op->whole && !over ? 0 : op_due(op, in, over);
        if (rnnrt_recurrent(op->row.kind)) {
            for (size_t slot = RNNRT_SLOT_H; slot < op->slots; slot++)
                made[slot] = plan->values[op->value + slot].timed ? made[0] : every_step ? in : over && in;
        }
    }
}

/* ---- how far the branches of a join run apart ----
 * The frames of a value after n input frames, while more may come, follow a line in whole numbers: none
 * before `first`, then min(most, (rate n + shift) / stride). Windows keep it one, since ((n + a) / s + b) / t
 * is (n + a + b s) / (s t), and so do joins, whose minimum of two lines of one slope is the lower one from
 * the later beginning on. u ((n + a) / s) is not a line: it steps by u, between two lines of one slope, (u n
 * + u a) / s and that of a shift u (s - 1) less. How far one value can be above another then follows without
 * a walk along them. */
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

static struct rnnrt_rate rate_of(const struct rnnrt_op *op) {
    struct rnnrt_rate rate = {.up = 1, .down = 1};
    if (op->layer->rate) op->layer->rate(op, &rate);
    return rate;
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
    const struct rnnrt_op *op = &plan->ops[plan->values[v].row];
    if (plan->values[v].timed || !rnnrt_recurrent(op->row.kind)) return paces[plan->values[v].row];
    return (struct pace){.first = op->once ? 1 : NEVER, .most = 1, .known = true}; /* a final state */
}

/* The frames input i of a joining op may be ahead of the slowest by: what a queue on that edge must hold
 * between visits. `length`: frames where all inputs have so many, else 0; `total`: counts at that length. */
static void count_lag(struct rnnrt_plan *plan, struct rnnrt_op *op, const struct pace *paces, int64_t length,
                      const size_t *total) {
    struct pace least = pace_of_value(plan, paces, op->row.input[0]);
    for (int32_t i = 1; i < op->counted; i++)
        least = slower(least, pace_of_value(plan, paces, op->row.input[i]));
    for (int32_t i = 0; i < op->counted; i++) {
        struct pace own = pace_of_value(plan, paces, op->row.input[i]);
        int64_t lag = ahead(&own, &least), most = length ? (int64_t)total[op->row.input[i]] : NEVER;
        if (!plan->values[op->row.input[i]].timed) lag = 1; /* given at the start or at the end */
        if (lag > most) lag = most;
        op->apart |= lag == NEVER;
        op->lag[i] = op->apart ? 0 : rnnrt_smaller((size_t)lag, SIZE_MAX >> 8);
    }
}

static enum rnnrt_status count_lags(struct rnnrt_plan *plan) {
    struct pace *paces = calloc(plan->count, sizeof *paces);
    size_t *total = malloc(plan->value_count * sizeof *total);
    int64_t length = 0;
    for (size_t r = 0; r < plan->count; r++)
        if (plan->ops[r].row.kind == rnnrt_kind_input && plan->ops[r].row.timed)
            length = plan->ops[r].row.length; /* of all, where the plan streams */
    if (paces && total && length) rnnrt_plan_totals(plan, (size_t)length, false, false, total);
    for (size_t r = 0; r < plan->count && paces && total; r++) {
        struct rnnrt_op *op = &plan->ops[r];
        struct pace p = {.first = 1, .rate = 1, .stride = 1, .most = NEVER, .known = true}; /* of an input */
        if (op->row.kind == rnnrt_kind_input) {
            if (!op->row.timed) p.stride = 0, p.most = 1;
            paces[r] = p;
            continue;
        }
        p = pace_of_value(plan, paces, op->row.input[0]);
        for (int32_t i = 1; op->joins && i < op->counted; i++)
            p = slower(p, pace_of_value(plan, paces, op->row.input[i]));
        if (op->once) { /* over with the first frame */
            p.most = (int64_t)op_due(op, (size_t)p.most, true);
            if (!p.most) p.first = NEVER;
        } else if (op->layer->rate) {
            p = through(p, rate_of(op));
        } else if (op->layer->due &&
                   (op->row.kind != rnnrt_kind_scan ||
                    op->row.length)) { /* those that say nothing before the end, and what is not understood */
            p.known &= op_due(op, p.first == NEVER ? 0 : (size_t)1 << 30, false) == 0;
            p.first = NEVER;
        }
        paces[r] = p;
        if (op->joins) count_lag(plan, op, paces, length, total);
    }
    enum rnnrt_status status = paces && total ? RNNRT_OK : RNNRT_NO_MEMORY;
    free(paces);
    free(total);
    return status;
}

/* ---- how much work a frame is ---- */

static void count_work(struct rnnrt_plan *plan) {
    for (size_t r = 0; r < plan->count; r++) {
        struct rnnrt_op *op = &plan->ops[r];
        op->rate = op->row.timed != 0, op->few = !op->row.timed;
        if (op->row.kind == rnnrt_kind_input) continue;
        const struct rnnrt_value *value = &plan->values[op->row.input[0]];
        const struct rnnrt_op *from = &plan->ops[value->row];
        bool final = !value->timed && rnnrt_recurrent(from->row.kind);
        double rate = final ? 0 : from->rate, few = final ? 1 : from->few;
        op->work = op->layer->work ? op->layer->work(op)
                                   : 4.0 * ((double)op->row.input_size + (double)op->row.output_size);
        plan->work_frame += op->work * rate;
        plan->work_once += op->work * few;
        if (!op->row.timed) continue;
        struct rnnrt_rate by = rate_of(op);
        double length =
            op->row.kind == rnnrt_kind_unflatten || (op->row.kind == rnnrt_kind_scan && op->row.length)
                ? (double)op->row.length
                : (double)by.up / (double)by.down;
        op->rate = rate * length, op->few = few * length;
    }
}

double rnnrt_plan_work(const struct rnnrt_plan *plan, size_t frames) {
    return plan->work_once + plan->work_frame * (double)frames;
}

/* ---- families ---- */

static bool same_arrays(const struct rnnrt_row *a, const struct rnnrt_row *b) {
    return !a->weight == !b->weight && !a->recurrent_weight == !b->recurrent_weight && !a->bias == !b->bias &&
           !a->recurrent_bias == !b->recurrent_bias && !a->gamma == !b->gamma && !a->beta == !b->beta &&
           !a->projection == !b->projection && !a->mean == !b->mean && !a->start == !b->start &&
           !a->index == !b->index && a->per_step == b->per_step && a->states == b->states;
}

/* Whether what is packed for the one row is right for the other. */
static bool same_weights(const struct rnnrt_row *a, const struct rnnrt_row *b) {
    return a->kind == b->kind && a->input_size == b->input_size && a->output_size == b->output_size &&
           a->units == b->units && a->groups == b->groups && a->reset_after == b->reset_after &&
           a->norm == b->norm && a->kernel_size == b->kernel_size && same_arrays(a, b);
}

/* ---- what a batch row keeps ---- */

static size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

/* Places what the ops keep in the block of one row: first what is zeroed when a sequence begins. */
static enum rnnrt_status lay_out_row(struct rnnrt_plan *plan) {
    struct rnnrt_kept kept[RNNRT_MOST_KEPT];
    size_t at = sizeof(struct rnnrt_row_head);
    for (int zeroed = 1; zeroed >= 0; zeroed--) {
        for (size_t r = 0; r < plan->count; r++) {
            struct rnnrt_op *op = &plan->ops[r];
            size_t arrays = op->layer->keeps ? op->layer->keeps(op, kept) : 0;
            if (zeroed) {
                op->record = at;
                at += sizeof(struct rnnrt_record);
            }
            if (arrays && op->row.start && zeroed) {
                enum rnnrt_status status = RNNRT_OK;
                size_t width = 0;
                for (size_t k = 0; k < arrays && !kept[k].own; k++)
                    width += kept[k].wide ? RNNRT_MOST : kept[k].width;
                if (width >= RNNRT_MOST) return RNNRT_BAD_ROW; /* a sum begins at nothing */
                op->start = rnnrt_plan_copy(plan, op->row.start, width, &status);
                if (status) return status;
                plan->starts = true;
            }
            if (arrays && zeroed != op->layer->ring) {
                op->state = at;
                for (size_t k = 0; k < arrays; k++)
                    at += rnnrt_times(rnnrt_times(kept[k].frames, kept[k].width), kept[k].wide ? 8 : 4);
                at = round_up(at, 8);
            }
            if (!zeroed && op->row.kind == rnnrt_kind_input && !op->row.timed) {
                plan->once_inputs = true;
                op->state = at;
                at = round_up(at + (size_t)op->row.output_size * sizeof(float), 8);
            }
            for (int32_t i = 0; op->joins && i < op->row.inputs; i++) {
                if (!op->lag[i]) continue;
                size_t width = (size_t)plan->values[op->row.input[i]].width;
                if (zeroed) op->waiting[i] = at, at += 8;
                else op->queue[i] = at, at = round_up(at + rnnrt_times(op->lag[i], width * sizeof(float)), 8);
            }
            if (at >= RNNRT_MOST) return RNNRT_NO_MEMORY;
        }
        if (zeroed) plan->zeroed_bytes = at;
    }
    plan->row_bytes = round_up(at, 16);
    return RNNRT_OK;
}

/* From which position on, and how often, all that the ops do repeats. */
static void find_phases(struct rnnrt_plan *plan) {
    const uint64_t most = (uint64_t)1 << 40;
    plan->period = 1;
    plan->warm = 1;                            /* a row without frames ends without an answer */
    for (size_t r = 0; r < plan->count; r++) { /* the product of all strides is a period of every op's */
        uint64_t down = (uint64_t)rate_of(&plan->ops[r]).down;
        plan->period = plan->period > most / down ? 0 : plan->period * down;
    }
    for (size_t r = 0; r < plan->count; r++) {
        const struct rnnrt_op *op = &plan->ops[r];
        const struct rnnrt_row *row = &op->row;
        uint64_t rate = plan->period ? plan->period : 1, span = (uint64_t)rate_of(op).warm;
        bool first = op->once || row->inputs > op->counted || row->kind == rnnrt_kind_global_max_pool;
        if (op->once && row->timed && row->length) {
            uint64_t l = (uint64_t)row->length;
            plan->warm += l > most / rate ? most : l * rate;
        }
        plan->warm += first ? rate : span > most / rate ? most : span * rate;
        if (plan->warm > most) plan->warm = most;
    }
    if (!plan->period) plan->warm = most;
}

/* ---- the plan ---- */

enum rnnrt_status rnnrt_plan_create(struct rnnrt_plan **out, const struct rnnrt_row *rows, size_t count,
                                    const int32_t *outputs, size_t output_count, const char *isa,
                                    const struct rnnrt_plan *family, struct rnnrt_error *error) {
    *out = NULL;
    if (error) *error = (struct rnnrt_error){.row = -1};
    if (!count || count > 1 << 20 || !output_count || output_count > RNNRT_PLAN_OUTPUTS)
        return bad_row(error, 0, "there are too few or too many rows or outputs");
    struct rnnrt_plan *plan = calloc(1, sizeof *plan);
    if (!plan) return RNNRT_NO_MEMORY;
    enum rnnrt_status status = RNNRT_NO_MEMORY;
    plan->kernels = isa && !strcmp(isa, "blas") ? rnnrt_kernels_blas() : rnnrt_kernels_find(isa);
    plan->count = count;
    plan->outputs = output_count;
    plan->ops = calloc(count, sizeof *plan->ops);
    plan->value_count = (size_t)rnnrt_value(rows, count, 0);
    plan->values = calloc(plan->value_count, sizeof *plan->values);
    plan->output = calloc(output_count, sizeof *plan->output);
    if (family) {
        plan->weights = family->weights;
        plan->filled = true;
        __atomic_add_fetch(&plan->weights->plans, 1, __ATOMIC_RELAXED);
    } else if ((plan->weights = calloc(1, sizeof *plan->weights))) {
        plan->weights->plans = 1;
    }
    if (!plan->ops || !plan->values || !plan->output || !plan->weights) goto fail;
    status = RNNRT_NO_ISA;
    if (!plan->kernels) goto fail;
    if (family && (family->count != count || family->kernels != plan->kernels)) {
        status = bad_row(error, 0, "the family has other rows or another instruction set");
        goto fail;
    }
    for (size_t r = 0; r < count; r++) {
        struct rnnrt_op *op = &plan->ops[r];
        op->value = r ? plan->ops[r - 1].value + plan->ops[r - 1].slots : 0;
        op->slots = rnnrt_row_slots(&rows[r]);
        if ((status = check_row(plan, rows, r, error))) goto fail;
        if (family && !same_weights(&rows[r], &family->ops[r].row)) {
            status = bad_row(error, r, "it is not the row of its family");
            goto fail;
        }
        op->row = rows[r];
        op->layer = layers[rows[r].kind];
        op->counted = rnnrt_recurrent(op->row.kind) && op->row.inputs ? 1 : op->row.inputs;
        op->joins = op->counted > 1;
        plan->inputs += op->row.kind == rnnrt_kind_input;
        const char *text = NULL;
        if (op->layer->prepare && (status = op->layer->prepare(plan, op, &text))) {
            if (plan->misfit) status = bad_row(error, r, "it is not the row of its family");
            else if (status == RNNRT_BAD_ROW) bad_row(error, r, text);
            goto fail;
        }
        take_mask(op);
    }
    for (size_t o = 0; o < output_count; o++) {
        int32_t v = outputs[o];
        status = bad_row(error, count - 1, "an output shows a value no row makes");
        if (v < 0 || (size_t)v >= plan->value_count) goto fail;
        plan->output[o] = v;
        plan->values[v].used = true;
    }
    count_work(plan);
    order(plan);
    if ((status = count_lags(plan))) goto fail;
    keep_whole_values(plan);
    if ((status = lay_out_row(plan))) goto fail;
    find_phases(plan);
    if (error) *error = (struct rnnrt_error){.row = -1};
    *out = plan;
    return RNNRT_OK;
fail:
    rnnrt_plan_free(plan);
    return status;
}

void rnnrt_plan_free(struct rnnrt_plan *plan) {
    if (!plan) return;
    for (size_t i = 0; i < RNNRT_IDLE_ARENAS; i++) rnnrt_arena_free(plan->idle[i].arena);
    rnnrt_weights_release(plan->weights);
    free(plan->ops);
    free(plan->values);
    free(plan->output);
    free(plan);
}

const char *rnnrt_plan_isa(const struct rnnrt_plan *plan) { return plan->kernels->isa; }
size_t rnnrt_plan_bytes(const struct rnnrt_plan *plan) { return plan->weights->bytes; }

int32_t rnnrt_plan_obstacle(const struct rnnrt_plan *plan, bool every_step, const char **text) {
    const struct rnnrt_row *first = NULL;
    for (size_t r = 0; r < plan->count; r++) {
        const struct rnnrt_op *op = &plan->ops[r];
        *text = "has a different fixed length from the other inputs, so they cannot be streamed together";
        if (op->row.kind == rnnrt_kind_input && op->row.timed) {
            if (first && op->row.length != first->length) return (int32_t)r;
            first = &op->row;
        }
        *text = op->whole ? "runs from the last frame to the first"
                          : "takes its initial state from another layer, which must be done first";
        if (op->whole || op->stage > 0) return (int32_t)r;
        *text = op->mask
                    ? "has a mask that does not keep step with its frames"
                    : "joins branches that do not keep step: their strides differ, or one answers only at "
                      "the end";
        if (op->apart) return (int32_t)r;
        *text = op->mask ? "has frames and a mask of which one is known only at the end"
                         : "joins frames as they come with frames that are known only at the end";
        if (joins_late(plan, op)) return (int32_t)r;
        *text = "answers only when all frames are there";
        if (every_step && (op->row.kind == rnnrt_kind_flatten || op->row.kind == rnnrt_kind_unflatten ||
                           (op->row.kind == rnnrt_kind_scan && op->row.length)))
            return (int32_t)r;
        *text = "looks ahead: its answer to the last frames comes at the end";
        if (every_step && rate_of(op).tail) return (int32_t)r;
    }
    return -1;
}

size_t rnnrt_plan_count(const struct rnnrt_plan *plan, size_t output, size_t frames, bool ended,
                        bool every_step) {
    enum { FEW = 512 };
    size_t few[FEW], *total = few;
    struct rnnrt_arena *arena = NULL;
    if (plan->value_count > FEW) {
        arena = rnnrt_arena_take(plan);
        if (!arena) return 0;
        total = arena->total;
    }
    rnnrt_plan_totals(plan, frames, ended, every_step, total);
    size_t count = total[plan->output[output]];
    if (arena) rnnrt_arena_return(arena);
    return count;
}

size_t rnnrt_plan_due(const struct rnnrt_plan *plan, size_t output, size_t frames, bool ended) {
    return rnnrt_plan_count(plan, output, frames, ended, false);
}

size_t rnnrt_block(size_t wanted, size_t batch) {
    if (wanted) return rnnrt_smaller(wanted, 1 << 20);
    return batch >= 56 ? 1 : 56 / rnnrt_larger(batch, 1);
}
