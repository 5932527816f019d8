/* What embed.c, asked.c, allocator.c, tools/fuzz_plan.c and tools/fuzz_load.c share: checks, allocations that
 * are counted and can be made to fail, and random numbers that are the same on every machine. Linked with ld
 * --wrap for malloc, calloc, realloc and aligned_alloc; one program includes it once. */
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
static size_t allocated;            /* bytes, of all of them together */

static int refuse(size_t size) {
    allocated += size;
    return ++allocations == fail_at;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void *__wrap_malloc(size_t size) { return refuse(size) ? NULL : __real_malloc(size); }
void *__wrap_calloc(size_t count, size_t size) {
    return refuse(count * size) ? NULL : __real_calloc(count, size);
}
void *__wrap_realloc(void *old, size_t size) { return refuse(size) ? NULL : __real_realloc(old, size); }
void *__wrap_aligned_alloc(size_t alignment, size_t size) {
    return refuse(size) ? NULL : __real_aligned_alloc(alignment, size);
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
static inline void fill(float *p, size_t count) {
    for (size_t i = 0; i < count; i++) p[i] = number();
}
static void seed(uint64_t s) {
    seed_now = s;
    random_state = s * 0x9e3779b97f4a7c15ull + 1;
    for (int i = 0; i < 8; i++) draw();
}

#endif
