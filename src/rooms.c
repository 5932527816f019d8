/* Which values of a plan lie in the same memory of an arena: a chunk that nobody reads any more gives its
 * room to the next one. What the ops of a deep network touch for one block stays in the nearest cache. */
#include <string.h>

#include "plan.h"

struct rooms {
    double *size; /* of each: numbers for a frame of the input */
    size_t *free; /* those nobody lives in, the last one left at the end */
    size_t free_count;
};

/* A free room: the smallest that is large enough, of equal ones the one left last; else the largest; else a
 * new one. */
static size_t move_in(struct rnnrt_plan *plan, struct rooms *rooms, double size) {
    size_t best = SIZE_MAX, room;
    for (size_t k = rooms->free_count; k--;) {
        double own = rooms->size[rooms->free[k]],
               other = best < SIZE_MAX ? rooms->size[rooms->free[best]] : 0;
        if (best == SIZE_MAX || (own >= size ? other < size || own < other : own > other)) best = k;
    }
    if (best == SIZE_MAX) room = plan->rooms++;
    else {
        room = rooms->free[best];
        rooms->free_count--;
        memmove(rooms->free + best, rooms->free + best + 1, (rooms->free_count - best) * sizeof *rooms->free);
    }
    if (rooms->size[room] < size) rooms->size[room] = size;
    return room;
}

static void move_out(const struct rnnrt_plan *plan, struct rooms *rooms, size_t value) {
    rooms->free[rooms->free_count++] = plan->values[value].room;
}

enum { NEVER = -1 };

/* last[v]: the op after which value v is not read again. Never: outputs, which are shown at the end of a
 * round; inputs given once, which are there for all rounds; and what runs beside others. */
static void find_last(const struct rnnrt_plan *plan, int32_t *last) {
    for (size_t r = 0; r < plan->count; r++) {
        const struct rnnrt_op *op = &plan->ops[r];
        bool stays = op->whole || (op->desc.kind == rnnrt_kind_input && !op->desc.timed);
        for (size_t slot = 0; slot < op->slots; slot++) last[op->value + slot] = stays ? NEVER : (int32_t)r;
        for (int32_t i = 0; i < op->desc.inputs; i++)
            if (last[op->desc.input[i]] != NEVER) last[op->desc.input[i]] = (int32_t)r;
    }
    for (size_t o = 0; o < plan->outputs; o++) last[plan->output[o]] = NEVER;
}

enum rnnrt_status rnnrt_share_rooms(struct rnnrt_plan *plan) {
    size_t values = plan->value_count;
    struct rooms rooms = {rnnrt_take_zeroed(&plan->memory, values, sizeof(double)),
                          rnnrt_take_zeroed(&plan->memory, values, sizeof(size_t)), 0};
    int32_t *last = rnnrt_take_zeroed(&plan->memory, values, sizeof *last);
    enum rnnrt_status status = rooms.size && rooms.free && last ? RNNRT_OK : RNNRT_NO_MEMORY;
    if (!status) find_last(plan, last);
    for (size_t r = 0; r < plan->count && !status; r++) {
        const struct rnnrt_op *op = &plan->ops[r];
        for (size_t slot = 0; slot < op->slots; slot++) {
            struct rnnrt_value *value = &plan->values[op->value + slot];
            double size = (slot && !value->timed ? 0 : op->rate) * value->width;
            if (!value->used) continue;
            /* what is given once lies there before the first op runs */
            bool first = op->desc.kind == rnnrt_kind_input && !op->desc.timed;
            value->room = first ? plan->rooms++ : move_in(plan, &rooms, size);
        }
        for (int32_t i = 0; i < op->desc.inputs; i++) {
            int32_t v = op->desc.input[i];
            if (last[v] != (int32_t)r) continue;
            last[v] = NEVER; /* it may be read twice */
            move_out(plan, &rooms, (size_t)v);
        }
        for (size_t slot = 0; slot < op->slots; slot++) /* what nobody reads */
            if (plan->values[op->value + slot].used && last[op->value + slot] == (int32_t)r)
                move_out(plan, &rooms, op->value + slot);
    }
    rnnrt_give(&plan->memory, rooms.size);
    rnnrt_give(&plan->memory, rooms.free);
    rnnrt_give(&plan->memory, last);
    return status;
}
