/* When the ops of a plan run: stages, frames counted, the work of a frame, phases, and what cannot stream. */
#include <stdlib.h>
#include <string.h>

#include "arena.h"

/* ---- clocks ---- */

/* The input row that leads the clock that input row r is of: of those joined, the first. */
static int32_t leader_of(const struct rnnrt_plan *plan, int32_t r) {
    while (r >= 0 && plan->ops[r].leader != r) r = plan->ops[r].leader;
    return r;
}

/* Makes the clocks of two inputs one. */
static void join_clocks(struct rnnrt_plan *plan, int32_t own, int32_t other) {
    plan->ops[own > other ? own : other].leader = own > other ? other : own;
}

/* Inputs whose frames an op joins are of one clock. What has no frames may be of several, and so may a
 * sequence that is laid out of it at their end. */
static enum rnnrt_status find_clocks(struct rnnrt_plan *plan) {
    for (size_t r = 0; r < plan->count; r++) {
        struct rnnrt_op *op = &plan->ops[r];
        op->leader = op->desc.kind == rnnrt_kind_input && op->desc.timed ? (int32_t)r : -1;
        for (int32_t i = 0; i < op->counted; i++) {
            const struct rnnrt_value *value = &plan->values[op->desc.input[i]];
            int32_t other = leader_of(plan, plan->ops[value->op].leader), own = leader_of(plan, op->leader);
            if (other < 0 || !value->timed) continue;
            if (own < 0) op->leader = other;
            else join_clocks(plan, own, other);
        }
        for (int32_t i = 2; rnnrt_reads_whole(op->desc.kind) && i < op->desc.inputs; i++) {
            int32_t own = leader_of(plan, plan->ops[plan->values[op->desc.input[1]].op].leader),
                    other = leader_of(plan, plan->ops[plan->values[op->desc.input[i]].op].leader);
            if (own >= 0 && other >= 0) join_clocks(plan, own, other);
        }
    }
    size_t input = 0;
    for (size_t r = 0; r < plan->count; r++) {
        struct rnnrt_op *op = &plan->ops[r];
        for (int32_t i = 0; i < op->counted; i++)
            op->clocks |= plan->ops[plan->values[op->desc.input[i]].op].clocks;
        if (op->desc.kind != rnnrt_kind_input) continue;
        int32_t leader = leader_of(plan, op->leader);
        if (leader == (int32_t)r && plan->clocks == RNNRT_MAX_CLOCKS) return RNNRT_BAD_LAYER;
        if (leader == (int32_t)r) op->clocks = (uint64_t)1 << plan->clocks++;
        else if (leader >= 0) op->clocks = plan->ops[leader].clocks;
        plan->input_clock[input++] = op->clocks ? __builtin_ctzll(op->clocks) : -1;
    }
    if (!plan->clocks) plan->clocks = 1; /* of no input */
    return RNNRT_OK;
}

size_t rnnrt_plan_clocks(const struct rnnrt_plan *plan) { return plan->clocks; }
int32_t rnnrt_plan_clock(const struct rnnrt_plan *plan, size_t input) { return plan->input_clock[input]; }

/* ---- stages ----
 * Ops of one stage are invoked block by block, in order. An op that needs a value complete before it starts
 * (an initial state), or reads what a whole op made, belongs to a later stage and reads that value from a
 * full-length buffer. */

static bool closes(int32_t kind) {
    return kind == rnnrt_kind_last || kind == rnnrt_kind_global_max_pool ||
           kind == rnnrt_kind_global_average_pool || kind == rnnrt_kind_first ||
           kind == rnnrt_kind_global_sum || kind == rnnrt_kind_global_variance;
}

/* Whether input i must be complete before the op starts. What depends on inputs given once alone comes with
 * the first frame, and an expand keeps it. */
static bool waits_for(const struct rnnrt_plan *plan, const struct rnnrt_op *op, int32_t i) {
    const struct rnnrt_op *from = &plan->ops[plan->values[op->desc.input[i]].op];
    return i >= op->counted && !(op->desc.kind == rnnrt_kind_expand && from->once && from->stage >= 0);
}

/* Whether a stream gives the value only when the sequence is over. */
static bool comes_late(const struct rnnrt_plan *plan, int32_t value) {
    const struct rnnrt_op *from = &plan->ops[plan->values[value].op];
    return from->late || (!from->once && rnnrt_recurrent(from->desc.kind) && !plan->values[value].timed);
}

/* Whether an op joins frames as they come with frames that are there only at the end: no queue of a known
 * size could hold the first until the others come. */
static bool joins_late(const struct rnnrt_plan *plan, const struct rnnrt_op *op) {
    bool late = false, live = false;
    for (int32_t i = 0; op->joins && i < op->counted; i++) {
        int32_t v = op->desc.input[i];
        if (!plan->values[v].timed) return false;
        if (comes_late(plan, v)) late = true;
        else live |= !plan->ops[plan->values[v].op].once;
    }
    return late && live;
}

static bool runs_backward(const struct rnnrt_op *op) {
    return op->desc.reverse || op->desc.kind == rnnrt_kind_reverse;
}

/* Whether its first frame out needs the last one in. */
static bool needs_all(const struct rnnrt_op *op) {
    return runs_backward(op) || op->desc.kind == rnnrt_kind_pad_circular || rnnrt_reads_whole(op->desc.kind);
}

/* Whether it is one cell over frames: what a direction of a bidirectional layer is. */
static bool is_direction(const struct rnnrt_op *op) {
    return rnnrt_recurrent(op->desc.kind) && op->desc.kind != rnnrt_kind_scan;
}

static void order(struct rnnrt_plan *plan) {
    plan->stages = 1;
    for (size_t r = 0; r < plan->count; r++) {
        const struct rnnrt_op *op = &plan->ops[r];
        if (is_direction(op) && op->desc.reverse) plan->values[op->desc.input[0]].backward = true;
    }
    for (size_t r = 0; r < plan->count; r++) {
        struct rnnrt_op *op = &plan->ops[r];
        /* beside one that runs backward over the same frames it waits for these too: both may run at once */
        op->whole = needs_all(op) || (is_direction(op) && plan->values[op->desc.input[0]].backward);
        op->stage = op->desc.inputs ? 0 : -1;
        op->once = op->desc.inputs || !op->desc.timed;
        for (int32_t i = 0; i < op->desc.inputs; i++) {
            const struct rnnrt_op *from = &plan->ops[plan->values[op->desc.input[i]].op];
            op->once &= from->once;
            bool complete = waits_for(plan, op, i);
            int32_t after = from->stage + (from->stage >= 0 && !op->whole && (from->whole || complete));
            if (after > op->stage) op->stage = after;
        }
        op->late =
            op->desc.inputs && !op->once && (closes(op->desc.kind) || op->desc.kind == rnnrt_kind_flatten);
        for (int32_t i = 0; i < op->desc.inputs; i++) op->late |= comes_late(plan, op->desc.input[i]);
        if (op->stage + 1 > plan->stages) plan->stages = op->stage + 1;
    }
}

/* Whether input i of the op comes from a full-length buffer. */
static bool reads_whole(const struct rnnrt_plan *plan, const struct rnnrt_op *op, int32_t i) {
    const struct rnnrt_value *value = &plan->values[op->desc.input[i]];
    const struct rnnrt_op *from = &plan->ops[value->op];
    if (!value->full) return false;
    if (op->whole || from->whole || i >= op->counted || (!plan->streams && op->joins)) return true;
    return from->stage < 0 ? !value->timed || op->stage > 0 : op->stage > from->stage;
}

/* What is kept for its whole length. */
static void keep_whole_values(struct rnnrt_plan *plan) {
    for (size_t r = 0; r < plan->count; r++) {
        const struct rnnrt_op *op = &plan->ops[r];
        for (int32_t i = 0; i < op->desc.inputs; i++) {
            struct rnnrt_value *value = &plan->values[op->desc.input[i]];
            const struct rnnrt_op *from = &plan->ops[plan->values[op->desc.input[i]].op];
            value->full |= from->whole || op->whole ||
                           (op->stage > from->stage && !(from->stage < 0 && op->stage == 0)) ||
                           waits_for(plan, op, i);
        }
        if (op->stage < 0 && !op->desc.timed) plan->values[op->value].full = true;
        for (size_t slot = 0; op->whole && slot < op->slots; slot++)
            plan->values[op->value + slot].full = true;
    }
    const char *text;
    plan->streams = rnnrt_plan_obstacle(plan, false, &text) < 0;
    for (size_t r = 0; r < plan->count && plan->streams; r++)
        if (plan->ops[r].desc.kind == rnnrt_kind_input && plan->ops[r].desc.timed) {
            plan->length[__builtin_ctzll(plan->ops[r].clocks)] = (size_t)plan->ops[r].desc.length;
            plan->fixed |= plan->ops[r].desc.length > 0;
        }
    /* Where the branches of a join may be any distance apart they wait for one another in full-length
     * buffers. */
    for (size_t r = 0; r < plan->count && !plan->streams; r++)
        for (int32_t i = 0; plan->ops[r].joins && i < plan->ops[r].desc.inputs; i++)
            plan->values[plan->ops[r].desc.input[i]].full = true;
    for (size_t r = 0; r < plan->count; r++) {
        struct rnnrt_op *op = &plan->ops[r];
        for (int32_t i = 0; i < op->desc.inputs; i++) op->from_whole[i] = reads_whole(plan, op, i);
        op->straight = plan->outputs == 1 && (size_t)plan->output[0] == op->value &&
                       op->desc.kind != rnnrt_kind_input && !op->layer->due && !op->whole &&
                       !plan->values[op->value].full;
        if (op->straight) plan->straight = (size_t)plan->values[op->value].width;
        op->plain = op->desc.inputs == 1 && !op->joins && !op->from_whole[0] &&
                    op->desc.kind != rnnrt_kind_scan; /* whose states may start elsewhere */
        op->abreast = op->joins && !op->apart && plan->clocks == 1 && op->counted == op->desc.inputs &&
                      op->desc.kind != rnnrt_kind_scan;
        for (int32_t i = 0; i < op->desc.inputs; i++)
            op->abreast &= !op->lag[i] && !op->from_whole[i] && plan->values[op->desc.input[i]].timed;
        for (op->shown = op->slots; op->shown && !plan->values[op->value + op->shown - 1].used;) op->shown--;
    }
    plan->prompt = plan->streams && !plan->fixed && plan->clocks == 1 && plan->inputs == 1 &&
                   plan->outputs == 1 && plan->ops[0].desc.kind == rnnrt_kind_input;
    for (size_t r = 1; r < plan->count; r++)
        plan->prompt &= (plan->ops[r].plain || plan->ops[r].abreast) && plan->ops[r].shown <= 1;
}

/* ---- counting frames ---- */

void rnnrt_plan_totals(const struct rnnrt_plan *plan, const size_t *frames, bool ended, bool every_step,
                       size_t *total) {
    bool begun = ended;
    for (size_t c = 0; c < plan->clocks; c++) begun |= frames[c] > 0;
    for (size_t r = 0; r < plan->count; r++) {
        const struct rnnrt_op *op = &plan->ops[r];
        size_t *made = total + op->value, in = SIZE_MAX;
        memset(made, 0, op->slots * sizeof *made);
        if (op->desc.kind == rnnrt_kind_input) {
            if (!op->desc.timed) made[0] = begun;
            else if (ended && op->desc.length && !plan->streams) made[0] = (size_t)op->desc.length;
            else made[0] = frames[__builtin_ctzll(op->clocks)];
            continue;
        }
        /* what depends on inputs given once alone is over with the first frame */
        bool over = ended || (op->once && begun);
        for (int32_t i = 0; i < op->counted; i++) in = rnnrt_smaller(in, total[op->desc.input[i]]);
        if (every_step && closes(op->desc.kind)) made[0] = in;
        else made[0] = op->whole && !over ? 0 : rnnrt_op_due(op, in, over);
        if (rnnrt_recurrent(op->desc.kind)) {
            for (size_t slot = RNNRT_SLOT_H; slot < op->slots; slot++)
                made[slot] = plan->values[op->value + slot].timed ? made[0] : every_step ? in : over && in;
        }
    }
}

/* ---- how much work a frame is ---- */

static void take_numbers(struct rnnrt_plan *plan, double numbers) {
    if (numbers > plan->most_numbers) plan->most_numbers = numbers;
}

static void count_work(struct rnnrt_plan *plan) {
    for (size_t r = 0; r < plan->count; r++) {
        struct rnnrt_op *op = &plan->ops[r];
        op->rate = op->desc.timed != 0, op->few = !op->desc.timed;
        if (op->desc.kind == rnnrt_kind_input) {
            take_numbers(plan, op->rate * op->desc.output_size);
            continue;
        }
        const struct rnnrt_value *value = &plan->values[op->desc.input[0]];
        const struct rnnrt_op *from = &plan->ops[value->op];
        bool final = !value->timed && rnnrt_recurrent(from->desc.kind);
        double rate = final ? 0 : from->rate, few = final ? 1 : from->few;
        op->work = op->layer->work ? op->layer->work(op)
                                   : 4.0 * ((double)op->desc.input_size + (double)op->desc.output_size);
        plan->work_frame += op->work * rate;
        plan->work_once += op->work * few;
        if (is_direction(op) && op->work > plan->work_step) plan->work_step = op->work;
        if (rnnrt_recurrent(op->desc.kind)) /* its gates */
            take_numbers(plan, rate * 4 * (double)rnnrt_bins(op) * op->desc.units);
        if (!op->desc.timed) continue;
        struct rnnrt_rate by = rnnrt_rate_of(op);
        double length =
            op->desc.kind == rnnrt_kind_unflatten || (op->desc.kind == rnnrt_kind_scan && op->desc.length)
                ? (double)op->desc.length
                : (double)by.up / (double)by.down;
        op->rate = rate * length, op->few = few * length;
        take_numbers(plan, op->rate * op->desc.output_size);
    }
}

double rnnrt_plan_work(const struct rnnrt_plan *plan, size_t frames) {
    return plan->work_once + plan->work_frame * (double)frames;
}

/* ---- phases ---- */

/* From where on, and how often, all that the ops do repeats: a bound that the spans of all windows give. */
static void bound_phases(struct rnnrt_plan *plan) {
    const uint64_t most = (uint64_t)1 << 40;
    plan->period = 1;
    plan->warm = 1;                            /* a row without frames ends without an answer */
    for (size_t r = 0; r < plan->count; r++) { /* the product of all strides is a period of every op's */
        uint64_t down = (uint64_t)rnnrt_rate_of(&plan->ops[r]).down;
        plan->period = plan->period > most / down ? 0 : plan->period * down;
    }
    for (size_t r = 0; r < plan->count; r++) {
        const struct rnnrt_op *op = &plan->ops[r];
        const struct rnnrt_layer_desc *desc = &op->desc;
        uint64_t rate = plan->period ? plan->period : 1, span = (uint64_t)rnnrt_rate_of(op).warm;
        bool first = op->once || desc->inputs > op->counted || desc->kind == rnnrt_kind_global_max_pool ||
                     desc->kind == rnnrt_kind_first;
        if (op->once && desc->timed && desc->length) {
            uint64_t l = (uint64_t)desc->length;
            plan->warm += l > most / rate ? most : l * rate;
        }
        plan->warm += first ? rate : span > most / rate ? most : span * rate;
        if (plan->warm > most) plan->warm = most;
    }
    if (!plan->period) plan->warm = most;
}

/* How totals are counted: while more may come, at the end, and for answers to every step. */
enum { WAYS = 3 };
static void totals_at(const struct rnnrt_plan *plan, uint64_t position, int way, size_t *total) {
    size_t frames[RNNRT_MAX_CLOCKS];
    for (size_t c = 0; c < plan->clocks; c++) frames[c] = (size_t)position;
    rnnrt_plan_totals(plan, frames, way == 1, way == 2, total);
}

/* Whether a row at `position` does with all frames to come what one at plan->warm does: its values get as
 * many frames in a period, each has begun that has begun there, and no window is less full where that tells.
 * Counts follow lines from some frame on (see lag.c), so all positions after one that is, are. `total`: room
 * for four times all values. */
static bool settled(const struct rnnrt_plan *plan, uint64_t position, size_t *total) {
    size_t values = plan->value_count, *own = total, *later = own + values, *far = later + values,
           *farther = far + values;
    for (int way = 0; way < WAYS; way++) {
        totals_at(plan, position, way, own), totals_at(plan, position + plan->period, way, later);
        totals_at(plan, plan->warm, way, far), totals_at(plan, plan->warm + plan->period, way, farther);
        for (size_t v = 0; v < values; v++)
            if (later[v] - own[v] != farther[v] - far[v] || !own[v] != !far[v]) return false;
        for (size_t r = 0; r < plan->count && !way; r++) {
            const struct rnnrt_op *op = &plan->ops[r];
            struct rnnrt_kept kept[RNNRT_MOST_KEPT];
            if (!op->layer->ring || op->layer->uneven || op->start || !op->layer->keeps(op, kept)) continue;
            if (own[op->desc.input[0]] < kept[0].frames) return false;
        }
    }
    return true;
}

static enum rnnrt_status find_phases(struct rnnrt_plan *plan) {
    const uint64_t far = (uint64_t)1 << 30;
    bound_phases(plan);
    if (!plan->streams || !plan->period || plan->period > far || plan->warm > far) return RNNRT_OK;
    size_t *total = rnnrt_take(&plan->memory, 4 * plan->value_count, sizeof *total);
    if (!total) return RNNRT_NO_MEMORY;
    uint64_t before = 0, found = plan->warm; /* the first settled position is after the one, not the other */
    while (found - before > 1) {
        uint64_t middle = before + (found - before) / 2;
        if (settled(plan, middle, total)) found = middle;
        else before = middle;
    }
    plan->warm = found;
    rnnrt_give(&plan->memory, total);
    return RNNRT_OK;
}

/* ---- all of it ---- */

enum rnnrt_status rnnrt_schedule(struct rnnrt_plan *plan) {
    enum rnnrt_status status = find_clocks(plan);
    if (status) return status;
    count_work(plan);
    order(plan);
    if ((status = rnnrt_count_lags(plan))) return status;
    keep_whole_values(plan);
    if ((status = rnnrt_share_rooms(plan))) return status;
    return find_phases(plan);
}

int32_t rnnrt_plan_obstacle(const struct rnnrt_plan *plan, bool every_step, const char **text) {
    *text = "runs from the last frame to the first";
    for (size_t r = 0; r < plan->count; r++)
        if (runs_backward(&plan->ops[r])) return (int32_t)r;
    *text = "begins with the last frames, which are known only when the sequence is over";
    for (size_t r = 0; r < plan->count; r++)
        if (plan->ops[r].desc.kind == rnnrt_kind_pad_circular) return (int32_t)r;
    *text = "attends to frames that are known only when the sequence is over";
    for (size_t r = 0; r < plan->count; r++)
        if (rnnrt_reads_whole(plan->ops[r].desc.kind)) return (int32_t)r;
    for (size_t r = 0; r < plan->count; r++) {
        const struct rnnrt_op *op = &plan->ops[r];
        *text = "has a different fixed length from the inputs its frames are joined with, so they cannot be "
                "streamed together";
        if (op->desc.kind == rnnrt_kind_input && op->desc.timed &&
            op->desc.length != plan->ops[leader_of(plan, (int32_t)r)].desc.length)
            return (int32_t)r;
        *text = op->desc.kind == rnnrt_kind_expand
                    ? "repeats at every frame a value that is known only when the sequence is over"
                    : "takes its initial state from another layer, which must be done first";
        if (op->stage > 0) return (int32_t)r;
        /* it is there with the first frame of any clock, and the op may begin after that */
        *text = "repeats at every frame a value that is worked out from inputs given once";
        if (op->desc.kind == rnnrt_kind_expand && plan->clocks > 1 &&
            plan->ops[plan->values[op->desc.input[1]].op].stage >= 0)
            return (int32_t)r;
        *text = op->mask
                    ? "has a mask that does not keep step with its frames"
                    : "joins branches that do not keep step: their strides differ, or one answers only at "
                      "the end";
        if (op->apart) return (int32_t)r;
        *text = op->mask ? "has frames and a mask of which one is known only at the end"
                         : "joins frames as they come with frames that are known only at the end";
        if (joins_late(plan, op)) return (int32_t)r;
        *text = "answers only when all frames are there";
        if (every_step && (op->desc.kind == rnnrt_kind_flatten || op->desc.kind == rnnrt_kind_unflatten ||
                           (op->desc.kind == rnnrt_kind_scan && op->desc.length)))
            return (int32_t)r;
        *text = "looks ahead: its answer to the last frames comes at the end";
        if (every_step && rnnrt_rate_of(op).tail) return (int32_t)r;
    }
    return -1;
}

size_t rnnrt_plan_count(const struct rnnrt_plan *plan, size_t output, const size_t *frames, bool ended,
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

size_t rnnrt_plan_due(const struct rnnrt_plan *plan, size_t output, const size_t *frames, bool ended) {
    return rnnrt_plan_count(plan, output, frames, ended, false);
}

enum {
    FEW_FRAMES = 56, /* some tiles of a matrix product */
    /* Of a call, whose memory others use after it. Numbers of the widest chunk: what an op reads and what it
     * writes stay in the L2 cache. More frames save nothing. Of several rows at least so many frames of them
     * all that a recurrent layer reads its input weights seldom. */
    CALL_NUMBERS = 16384,
    CALL_FRAMES = 1024,
    CALL_BATCH = 192,
    /* Of memory that is somebody's own, of which there may be many or little: they stay in the nearest cache.
     */
    OWN_NUMBERS = 4096,
    OWN_FRAMES = 256,
    OWN_BATCH = 2 * FEW_FRAMES, /* each row has a history of its own to work through */
};

static size_t block_of(const struct rnnrt_plan *plan, size_t wanted, size_t batch, size_t numbers,
                       size_t most, size_t rows) {
    if (wanted) return rnnrt_smaller(wanted, 1 << 20);
    double fit = (double)numbers / (plan->most_numbers * (batch ? (double)batch : 1) + 1);
    size_t least = batch > 1 ? rnnrt_larger(rows / batch, 1) : FEW_FRAMES;
    return rnnrt_larger(least, fit < (double)most ? (size_t)fit : most);
}

size_t rnnrt_block(const struct rnnrt_plan *plan, size_t wanted, size_t batch) {
    return block_of(plan, wanted, batch, CALL_NUMBERS, CALL_FRAMES, CALL_BATCH);
}

size_t rnnrt_own_block(const struct rnnrt_plan *plan, size_t wanted, size_t batch) {
    return block_of(plan, wanted, batch, OWN_NUMBERS, OWN_FRAMES, OWN_BATCH);
}
