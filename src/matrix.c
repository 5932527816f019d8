/* What a plan keeps of the weights of its rows: packed for its kernels or copied, once for all plans of a
 * family, which ask for the same blocks of a layer in the same order. */
#include <string.h>

#include "plan.h"

/* For one block more. */
static bool make_room(struct rnnrt_weights *weights) {
    if (weights->count < weights->room) return true;
    size_t room = 2 * weights->count + 8;
    struct rnnrt_weights_block *blocks = rnnrt_take(&weights->memory, room, sizeof *blocks);
    if (!blocks) return false;
    if (weights->count) memcpy(blocks, weights->blocks, weights->count * sizeof *blocks);
    rnnrt_give(&weights->memory, weights->blocks);
    weights->blocks = blocks;
    weights->room = room;
    return true;
}

float *rnnrt_plan_floats(struct rnnrt_plan *plan, size_t count) {
    struct rnnrt_weights *weights = plan->weights;
    size_t k = plan->filled ? plan->next_block++ : weights->count;
    if (plan->filled) {
        plan->misfit |= k >= weights->count || weights->blocks[k].size != count;
        return plan->misfit ? NULL : weights->blocks[k].data;
    }
    /* 16 floats of slack: kernels may load a whole vector at the end of an array */
    float *p = rnnrt_take_lines(&weights->memory, rnnrt_times(count + 16, sizeof(float)));
    if (!p || !make_room(weights)) {
        rnnrt_give(&weights->memory, p);
        return NULL;
    }
    weights->blocks[k] = (struct rnnrt_weights_block){p, count};
    weights->count = k + 1;
    weights->bytes += count * sizeof(float);
    return p;
}

bool rnnrt_plan_may_read(struct rnnrt_plan *plan, const void *from, size_t count) {
    if (!plan->lent || plan->beyond) return !plan->beyond;
    uintptr_t at = (uintptr_t)from;
    size_t low = 0, high = plan->lent_count - 1; /* the last at or before `from` is below `high` */
    struct rnnrt_lent *found = &plan->lent[high];
    if (at < (uintptr_t)found->from || at - (uintptr_t)found->from >= found->count * 4) {
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            if ((uintptr_t)plan->lent[middle].from <= at) low = middle + 1;
            else high = middle;
        }
        found = low ? &plan->lent[low - 1] : NULL;
    }
    size_t before = found ? (at - (uintptr_t)found->from) / 4 : 0;
    plan->beyond = !found || before > found->count || count > found->count - before;
    if (!plan->beyond) found->read += count;
    return !plan->beyond;
}

void rnnrt_weights_release(struct rnnrt_weights *weights) {
    if (!weights || __atomic_sub_fetch(&weights->plans, 1, __ATOMIC_ACQ_REL)) return;
    struct rnnrt_allocator memory = weights->memory;
    for (size_t k = 0; k < weights->count; k++) rnnrt_give(&memory, weights->blocks[k].data);
    rnnrt_give(&memory, weights->blocks);
    rnnrt_give(&memory, weights);
}

const float *rnnrt_plan_copy(struct rnnrt_plan *plan, const float *from, size_t count,
                             enum rnnrt_status *status) {
    if (!from || *status) return NULL;
    if (!rnnrt_plan_may_read(plan, from, count)) {
        *status = RNNRT_BAD_LAYER;
        return NULL;
    }
    float *p = rnnrt_plan_floats(plan, count);
    if (!p) *status = RNNRT_NO_MEMORY;
    else if (!plan->filled) memcpy(p, from, count * sizeof *p);
    return p;
}

static size_t whole_lines(size_t bytes) { return (bytes + 63) / 64 * 64; }

const struct rnnrt_matrix *rnnrt_plan_pack(struct rnnrt_plan *plan, const float *weight, size_t count,
                                           size_t outputs, size_t depth, enum rnnrt_status *status) {
    if (*status) return NULL;
    if (!rnnrt_plan_may_read(plan, weight, rnnrt_times(rnnrt_times(count, outputs), depth))) {
        *status = RNNRT_BAD_LAYER;
        return NULL;
    }
    return rnnrt_plan_pack_made(plan, weight, count, outputs, depth, status);
}

const struct rnnrt_matrix *rnnrt_plan_pack_made(struct rnnrt_plan *plan, const float *weight, size_t count,
                                                size_t outputs, size_t depth, enum rnnrt_status *status) {
    if (*status) return NULL;
    *status = RNNRT_NO_MEMORY;
    if (rnnrt_times(outputs + 31, depth + 15) >= RNNRT_MOST) return NULL; /* padded to panels, or 16 terms */
    struct rnnrt_matrix shape = {.dtype = RNNRT_FLOAT32, .outputs = outputs, .depth = depth};
    size_t head = rnnrt_times(count, sizeof shape), each = whole_lines(plan->kernels->packed_bytes(&shape));
    if (head >= RNNRT_MOST || each >= RNNRT_MOST) return NULL;
    head = whole_lines(head);
    struct rnnrt_matrix *w =
        (void *)rnnrt_plan_floats(plan, (head + rnnrt_times(each, count)) / sizeof(float));
    if (!w) return NULL;
    for (size_t g = 0; g < count && !plan->filled; g++) {
        w[g] = shape;
        plan->kernels->pack(&w[g], weight + g * outputs * depth, (char *)w + head + g * each);
    }
    *status = RNNRT_OK;
    return w;
}
