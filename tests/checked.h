/* What embed.c and tools/fuzz_plan.c share: checks, allocations that are counted and can be made to fail, and
 * random numbers that are the same on every machine. Linked with ld --wrap for malloc, calloc, realloc and
 * aligned_alloc; one program includes it once. */
#ifndef CHECKED_H
#define CHECKED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rnnrt.h"

#define CHECK(condition) ((condition) ? (void)0 : fail(#condition, __FILE__, __LINE__))

static uint64_t seed_now; /* of the plan at work, for the report */

static void fail(const char *condition, const char *file, int line) {
    fprintf(stderr, "%s:%d: %s does not hold (seed %llu)\n", file, line, condition,
            (unsigned long long)seed_now);
    exit(1);
}

/* ---- allocations: counted, and failing when told to ---- */

static size_t allocations, fail_at; /* fail_at: number of the allocation that fails, 0 for none */

static int refuse(void) { return ++allocations == fail_at; }

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void *__wrap_malloc(size_t size) { return refuse() ? NULL : __real_malloc(size); }
void *__wrap_calloc(size_t count, size_t size) { return refuse() ? NULL : __real_calloc(count, size); }
void *__wrap_realloc(void *old, size_t size) { return refuse() ? NULL : __real_realloc(old, size); }
void *__wrap_aligned_alloc(size_t alignment, size_t size) {
    return refuse() ? NULL : __real_aligned_alloc(alignment, size);
}

/* ---- random numbers (xorshift64*): the same on every machine ---- */

static uint64_t random_state;

static uint64_t draw(void) {
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * 2685821657736338717ull;
}
static int32_t below(int32_t n) { return (int32_t)((draw() >> 33) % (uint64_t)n); }
static float number(void) { return (float)(below(2001) - 1000) / 1000.0f; }
static void seed(uint64_t s) {
    seed_now = s;
    random_state = s * 0x9e3779b97f4a7c15ull + 1;
    for (int i = 0; i < 8; i++) draw();
}

/* ---- the whole state of a stream, as bytes: position and arrays of every row ---- */

static size_t array_bytes(const struct rnnrt_state_array *array) {
    return array->frames * array->width * (array->wide ? sizeof(double) : sizeof(float));
}

static size_t state_bytes(const struct rnnrt_plan *plan, size_t batch) {
    struct rnnrt_state_array array;
    size_t bytes = sizeof(uint64_t);
    for (size_t k = 0; rnnrt_plan_state_array(plan, k, &array); k++) bytes += array_bytes(&array);
    return bytes * batch;
}

static void state_get(const struct rnnrt_plan *plan, const struct rnnrt_stream *stream, size_t batch,
                      char *to) {
    struct rnnrt_state_array array;
    for (size_t b = 0; b < batch; b++) {
        char *row = rnnrt_stream_row(stream, b);
        uint64_t position = rnnrt_row_position(row);
        memcpy(to, &position, sizeof position);
        to += sizeof position;
        for (size_t k = 0; rnnrt_plan_state_array(plan, k, &array); k++, to += array_bytes(&array))
            rnnrt_row_read(plan, row, k, to);
    }
}

static enum rnnrt_status state_set(const struct rnnrt_plan *plan, struct rnnrt_stream *stream, size_t batch,
                                   bool every_step, const char *from) {
    struct rnnrt_state_array array;
    rnnrt_stream_reset(stream);
    for (size_t b = 0; b < batch; b++) {
        char *row = rnnrt_stream_row(stream, b);
        uint64_t position;
        memcpy(&position, from, sizeof position);
        from += sizeof position;
        enum rnnrt_status status = rnnrt_row_seek(plan, row, position, every_step);
        if (status) return status;
        for (size_t k = 0; rnnrt_plan_state_array(plan, k, &array); k++, from += array_bytes(&array))
            rnnrt_row_write(plan, row, k, from);
    }
    return RNNRT_OK;
}

#endif
