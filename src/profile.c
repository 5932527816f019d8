/* Where the time goes: a plan whose ops look at the clock before and after they run. Nothing of it is on the
 * way of any other plan: the ops of a watched one stand under a class of their own, whose run is the
 * stopwatch. */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L /* clock_gettime, under -std=c11 too */
#endif
#include <stdlib.h>
#include <time.h>

#include "plan.h"

struct rnnrt_watch {
    struct rnnrt_layer_class layer; /* first: of the op, but for its run */
    const struct rnnrt_layer_class *watched;
    struct rnnrt_spent *spent;
    uint64_t clock; /* nanoseconds that looking at it takes */
};

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static enum rnnrt_status run(const struct rnnrt_op *op, struct rnnrt_invocation *call) {
    const struct rnnrt_watch *watch = (const struct rnnrt_watch *)(const void *)op->layer;
    struct rnnrt_spent *spent = watch->spent;
    uint64_t begin = now();
    enum rnnrt_status status = watch->watched->run(op, call);
    uint64_t took = now() - begin;
    spent->nanoseconds += took > watch->clock ? took - watch->clock : 0;
    spent->runs++;
    spent->frames += call->frames;
    spent->rows += call->frames * call->batch;
    spent->made += call->made[0] * call->batch;
    return status;
}

enum rnnrt_status rnnrt_plan_watch(struct rnnrt_plan *plan, struct rnnrt_spent *spent) {
    enum { LOOKS = 200 };
    uint64_t least = UINT64_MAX;
    if (plan->watches) return RNNRT_BAD_STATE;
    plan->watches = rnnrt_take_zeroed(&plan->memory, plan->count, sizeof *plan->watches);
    if (!plan->watches) return RNNRT_NO_MEMORY;
    for (int i = 0; i < LOOKS; i++) {
        uint64_t begin = now(), took = now() - begin;
        if (took < least) least = took;
    }
    for (size_t r = 0; r < plan->count; r++) {
        struct rnnrt_watch *watch = &plan->watches[r];
        *watch = (struct rnnrt_watch){*plan->ops[r].layer, plan->ops[r].layer, &spent[r], least};
        watch->layer.run = run;
        plan->ops[r].layer = &watch->layer;
    }
    return RNNRT_OK;
}
