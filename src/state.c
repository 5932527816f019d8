/* The state of a batch row as named arrays: what of it means anything on another machine, whatever the build,
 * the block or the slot a ring stands at. Counts are not among them: they follow from the position. */
#include <string.h>

#include "arena.h"

/* The first slot of an op that shows what it keeps at the end; those after it show the arrays after it. */
static size_t first_shown(const struct rnnrt_op *op) {
    return op->scan ? op->desc.inner->outputs - (size_t)op->desc.states : RNNRT_SLOT_H;
}

float *rnnrt_row_state(const struct rnnrt_plan *plan, char *row, int32_t value) {
    struct rnnrt_kept kept[RNNRT_MOST_KEPT];
    if (value < 0 || (size_t)value >= plan->value_count) return NULL;
    const struct rnnrt_op *op = &plan->ops[plan->values[value].op];
    size_t slot = (size_t)value - op->value, first = first_shown(op);
    if (!rnnrt_recurrent(op->desc.kind) || slot < first) return NULL;
    size_t arrays = op->layer->keeps(op, kept);
    if (slot - first >= arrays || kept[slot - first].own) return NULL;
    float *at = (float *)(void *)(row + op->state);
    for (size_t k = 0; k < slot - first; k++) at += kept[k].width;
    return at;
}

/* Array `index` of the plan, counted op by op: what the op keeps, then its queues. `at`: where in a row. */
static const struct rnnrt_op *find(const struct rnnrt_plan *plan, size_t index,
                                   struct rnnrt_state_array *array, size_t *at) {
    struct rnnrt_kept kept[RNNRT_MOST_KEPT];
    for (size_t r = 0; r < plan->count; r++) {
        const struct rnnrt_op *op = &plan->ops[r];
        size_t arrays = op->layer->keeps ? op->layer->keeps(op, kept) : 0;
        *at = op->state;
        for (size_t k = 0; k < arrays; k++) {
            *array = (struct rnnrt_state_array){(int32_t)r,     (int32_t)k,    kept[k].word,
                                                kept[k].frames, kept[k].width, kept[k].wide};
            if (!index--) return op;
            *at += kept[k].frames * kept[k].width * (kept[k].wide ? sizeof(double) : sizeof(float));
        }
        for (int32_t i = 0; op->joins && i < op->desc.inputs; i++) {
            if (!op->lag[i]) continue;
            *array = (struct rnnrt_state_array){
                (int32_t)r, i, "queue", op->lag[i], (size_t)plan->values[op->desc.input[i]].width, false};
            *at = op->queue[i];
            if (!index--) return op;
        }
    }
    return NULL;
}

bool rnnrt_plan_state_array(const struct rnnrt_plan *plan, size_t index, struct rnnrt_state_array *array) {
    size_t at;
    return find(plan, index, array, &at) != NULL;
}

/* Copies an array between a row and `outside`. Frames of a window or queue stand oldest first outside and in
 * a ring inside; frames from before the sequence began, and places of a queue where nothing waits, are zeros
 * outside. */
static void copy(const struct rnnrt_plan *plan, char *row, size_t index, char *outside, bool in) {
    struct rnnrt_state_array array;
    size_t at;
    const struct rnnrt_op *op = find(plan, index, &array, &at);
    if (!op) return;
    size_t frame = array.width * (array.wide ? sizeof(double) : sizeof(float)), valid = array.frames,
           shift = 0;
    if (op->layer->ring) {
        uint64_t consumed = rnnrt_record_of(op, row)->consumed;
        shift = (size_t)(consumed % array.frames);
        if (!op->start) valid = (size_t)rnnrt_smaller((size_t)consumed, array.frames);
    }
    size_t first = array.frames - valid; /* windows: the oldest are missing */
    if (!strcmp(array.word, "queue")) {
        valid = (size_t)*(uint64_t *)(void *)(row + op->waiting[array.input]), first = 0;
        shift = (size_t)(rnnrt_record_of(op, row)->consumed % array.frames);
    }
    for (size_t t = 0; t < array.frames; t++) {
        char *inside = row + at + (t + shift) % array.frames * frame, *there = outside + t * frame;
        bool real = t >= first && t < first + valid;
        if (in) memcpy(inside, there, frame);
        else if (real) memcpy(there, inside, frame);
        else memset(there, 0, frame);
    }
}

void rnnrt_row_read(const struct rnnrt_plan *plan, char *row, size_t index, void *to) {
    copy(plan, row, index, to, false);
}

void rnnrt_row_write(const struct rnnrt_plan *plan, char *row, size_t index, const void *from) {
    copy(plan, row, index, (char *)from, true);
}

void rnnrt_row_copy(const struct rnnrt_plan *plan, char *to, const char *from) {
    memcpy(to, from, plan->row_bytes);
}

bool rnnrt_row_finite(const struct rnnrt_plan *plan, const char *row) {
    struct rnnrt_kept kept[RNNRT_MOST_KEPT];
    for (size_t r = 0; r < plan->count; r++) {
        const struct rnnrt_op *op = &plan->ops[r];
        size_t arrays = op->layer->keeps && !op->layer->ring ? op->layer->keeps(op, kept) : 0;
        const char *at = row + op->state;
        for (size_t k = 0; k < arrays; k++) {
            size_t count = kept[k].frames * kept[k].width,
                   size = kept[k].wide ? sizeof(double) : sizeof(float);
            bool passes = !strcmp(kept[k].word, "frames"); /* it holds frames that go out of it again */
            for (size_t i = 0; i < count && !passes; i++) {
                double x = kept[k].wide ? ((const double *)(const void *)at)[i]
                                        : (double)((const float *)(const void *)at)[i];
                if (!(x - x == 0)) return false;
            }
            at += count * size;
        }
    }
    return true;
}

enum rnnrt_status rnnrt_row_seek(const struct rnnrt_plan *plan, char *row, const uint64_t *position,
                                 bool every_step) {
    size_t frames[RNNRT_MAX_CLOCKS];
    for (size_t c = 0; c < plan->clocks; c++) {
        if (position[c] > (uint64_t)1 << 60) return RNNRT_BAD_STATE;
        frames[c] = (size_t)position[c];
    }
    struct rnnrt_arena *arena = rnnrt_arena_take(plan);
    if (!arena) return RNNRT_NO_MEMORY;
    size_t *total = arena->total;
    rnnrt_plan_totals(plan, frames, false, every_step, total);
    rnnrt_row_begin(plan, row);
    memcpy(rnnrt_positions(row), position, plan->clocks * sizeof *position);
    for (size_t r = 0; r < plan->count; r++) {
        const struct rnnrt_op *op = &plan->ops[r];
        struct rnnrt_record *record = rnnrt_record_of(op, row);
        if (op->desc.kind == rnnrt_kind_input) continue;
        int32_t counted = op->counted;
        size_t in = SIZE_MAX;
        for (int32_t i = 0; i < counted; i++) in = rnnrt_smaller(in, total[op->desc.input[i]]);
        record->consumed = in;
        record->done = op->once && rnnrt_begun(plan, position) && !every_step;
        for (int32_t i = 0; op->joins && i < op->desc.inputs; i++) {
            bool fresh =
                every_step && !plan->values[op->desc.input[i]].timed; /* each frame brings a newer one */
            if (op->lag[i] && !op->from_whole[i] && !fresh)
                *(uint64_t *)(void *)(row + op->waiting[i]) = total[op->desc.input[i]] - in;
        }
    }
    rnnrt_arena_return(arena);
    return RNNRT_OK;
}
