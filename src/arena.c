/* Arenas: their layout, and the few that wait in a plan for the next call. */
#include "arena.h"

#include <stdlib.h>
#include <string.h>

/* Gives every op and value its place for `batch` rows and `block` frames, and makes room for it. */
static enum rnnrt_status lay_out(struct rnnrt_arena *arena, size_t batch, size_t block) {
    const struct rnnrt_plan *plan = arena->plan;
    size_t work = 0;
    arena->batch = 0; /* until it fits */
    for (size_t v = 0; v < plan->value_count; v++) arena->values[v].capacity = 0;
    for (size_t r = 0; r < plan->count; r++) {
        const struct rnnrt_op *op = &plan->ops[r];
        struct op_place *place = &arena->ops[r];
        size_t frames = SIZE_MAX;
        bool joins = rnnrt_joins(op);
        for (int32_t i = 0; i < op->row.inputs; i++) {
            size_t capacity = arena->values[op->row.input[i]].capacity;
            if (rnnrt_recurrent(op->row.kind) && i > 0) continue;
            if (rnnrt_reads_whole(plan, op, i)) capacity = block;
            if (joins) capacity += op->lag[i];
            frames = rnnrt_smaller(frames, capacity);
        }
        if (op->row.kind == rnnrt_kind_input) frames = block;
        struct rnnrt_sizes sizes = {0, frames};
        size_t cells = rnnrt_recurrent(op->row.kind) && !op->scan ? 4 * (size_t)op->row.units : 0;
        size_t numbers = (size_t)op->row.input_size + (size_t)op->row.output_size + cells;
        /* of one frame of every row, or up to 64 of one: what ops hold of them does not wrap */
        if (rnnrt_times(batch + 64, numbers) >= RNNRT_MOST / 8) return RNNRT_NO_MEMORY;
        if (op->layer->measure) op->layer->measure(op, batch, frames, &sizes);
        place->frames = frames;
        place->scratch = work;
        work = rnnrt_round_up(work + sizes.scratch + 16, 16);
        for (int32_t i = 0; joins && i < op->row.inputs; i++) {
            if (!op->lag[i] || rnnrt_reads_whole(plan, op, i)) continue;
            size_t width = (size_t)plan->values[op->row.input[i]].width * batch;
            place->joined[i] = work;
            work = rnnrt_round_up(
                work + rnnrt_times(op->lag[i] + arena->values[op->row.input[i]].capacity, width) + 16, 16);
        }
        for (size_t slot = 0; slot < op->slots; slot++) {
            size_t v = op->value + slot;
            struct value_place *value = &arena->values[v];
            if (!plan->values[v].used) continue;
            value->capacity = slot == 0 || plan->values[v].timed ? sizes.capacity : 1;
            value->work = work;
            work = rnnrt_round_up(
                work + rnnrt_times(value->capacity, batch * (size_t)plan->values[v].width) + 16, 16);
        }
        if (work >= RNNRT_MOST / sizeof(float)) return RNNRT_NO_MEMORY;
    }
    size_t rows = rnnrt_round_up(batch * sizeof(char *), 64);
    if (work + 64 > arena->work_floats) {
        free(arena->work);
        arena->work = rnnrt_aligned((work + 64) * sizeof(float));
        arena->work_floats = arena->work ? work + 64 : 0;
    }
    char **table = rows <= arena->row_room ? arena->rows : realloc(arena->rows, rows);
    if (table) arena->rows = table, arena->row_room = rnnrt_larger(rows, arena->row_room);
    if (!arena->work || !table) return RNNRT_NO_MEMORY;
    arena->live = false;
    for (size_t r = 0; r < plan->count; r++) {
        const struct rnnrt_op *op = &plan->ops[r];
        if (op->row.kind != rnnrt_kind_time_distributed) continue;
        const struct rnnrt_row *first = &op->row.inner->ops[0].row; /* all now, so that no step allocates */
        struct rnnrt_arena **inner = &arena->inner[r];
        rnnrt_arena_free(*inner);
        enum rnnrt_status status = rnnrt_arena_borrow(op->row.inner, batch, rnnrt_block(0, batch), inner);
        if (!status) status = rnnrt_arena_own_rows(*inner);
        if (!status) status = rnnrt_arena_whole(*inner, first->timed ? (size_t)first->length : 1);
        if (status) return status;
    }
    arena->batch = batch;
    arena->block = block;
    return RNNRT_OK;
}

static struct rnnrt_arena *make(const struct rnnrt_plan *plan) {
    struct rnnrt_arena *arena = calloc(1, sizeof *arena);
    if (!arena) return NULL;
    arena->plan = plan;
    arena->count = plan->count;
    arena->ops = calloc(plan->count, sizeof *arena->ops);
    arena->values = calloc(plan->value_count, sizeof *arena->values);
    arena->total = calloc(plan->value_count, sizeof *arena->total);
    arena->inner = calloc(plan->count, sizeof *arena->inner);
    if (arena->ops && arena->values && arena->total && arena->inner) return arena;
    rnnrt_arena_free(arena);
    return NULL;
}

void rnnrt_arena_free(struct rnnrt_arena *arena) {
    if (!arena) return;
    for (size_t r = 0; arena->inner && r < arena->count; r++) rnnrt_arena_free(arena->inner[r]);
    free(arena->inner);
    free(arena->ops);
    free(arena->values);
    free(arena->total);
    free(arena->rows);
    free(arena->blocks);
    free(arena->work);
    free(arena->whole);
    free(arena);
}

/* ---- the idle ones: taken and left without a lock ---- */

/* The cache is not part of what a plan means. */
static struct rnnrt_plan *cache_of(const struct rnnrt_plan *plan) { return (struct rnnrt_plan *)plan; }

static size_t bytes_of(const struct rnnrt_arena *arena) {
    return (arena->work_floats + arena->whole_floats) * sizeof(float) + arena->block_bytes;
}

static struct rnnrt_arena *pop(const struct rnnrt_plan *plan, size_t i) {
    struct rnnrt_plan *cache = cache_of(plan);
    if (!__atomic_load_n(&cache->idle[i], __ATOMIC_RELAXED)) return NULL;
    struct rnnrt_arena *arena = __atomic_exchange_n(&cache->idle[i], NULL, __ATOMIC_ACQUIRE);
    if (arena) __atomic_fetch_sub(&cache->idle_bytes, bytes_of(arena), __ATOMIC_RELAXED);
    return arena;
}

void rnnrt_arena_return(struct rnnrt_arena *arena) {
    struct rnnrt_plan *cache = cache_of(arena->plan);
    if (bytes_of(arena) > RNNRT_IDLE_BYTES / RNNRT_IDLE_ARENAS) { /* what depends on the length goes first */
        free(arena->whole);
        arena->whole = NULL;
        arena->whole_floats = 0;
        arena->live = false;
    }
    size_t bytes = bytes_of(arena);
    if (__atomic_add_fetch(&cache->idle_bytes, bytes, __ATOMIC_RELAXED) <= RNNRT_IDLE_BYTES)
        for (size_t i = 0; i < RNNRT_IDLE_ARENAS; i++) {
            struct rnnrt_arena *none = NULL;
            if (__atomic_load_n(&cache->idle[i], __ATOMIC_RELAXED)) continue;
            if (__atomic_compare_exchange_n(&cache->idle[i], &none, arena, false, __ATOMIC_RELEASE,
                                            __ATOMIC_RELAXED))
                return;
        }
    __atomic_fetch_sub(&cache->idle_bytes, bytes, __ATOMIC_RELAXED);
    rnnrt_arena_free(arena);
}

struct rnnrt_arena *rnnrt_arena_take(const struct rnnrt_plan *plan) {
    struct rnnrt_arena *arena = NULL;
    for (size_t i = 0; i < RNNRT_IDLE_ARENAS && !arena; i++) arena = pop(plan, i);
    return arena ? arena : make(plan);
}

enum rnnrt_status rnnrt_arena_borrow(const struct rnnrt_plan *plan, size_t batch, size_t block,
                                     struct rnnrt_arena **out) {
    struct rnnrt_arena *other[RNNRT_IDLE_ARENAS], *arena = NULL;
    size_t others = 0;
    *out = NULL;
    if (!batch || batch > 1 << 24) return RNNRT_NO_MEMORY;
    for (size_t i = 0; i < RNNRT_IDLE_ARENAS && !arena; i++) {
        struct rnnrt_arena *idle = pop(plan, i);
        if (idle && idle->batch == batch && idle->block == block) arena = idle;
        else if (idle) other[others++] = idle;
    }
    /* one that has to be laid out anew only where no more may wait than do */
    if (!arena && others == RNNRT_IDLE_ARENAS) arena = other[--others];
    while (others) rnnrt_arena_return(other[--others]);
    if (!arena) arena = make(plan);
    if (!arena) return RNNRT_NO_MEMORY;
    if (arena->batch != batch || arena->block != block) {
        enum rnnrt_status status = lay_out(arena, batch, block);
        if (status) {
            rnnrt_arena_free(arena);
            return status;
        }
    }
    *out = arena;
    return RNNRT_OK;
}

/* ---- whole runs ---- */

enum rnnrt_status rnnrt_arena_own_rows(struct rnnrt_arena *arena) {
    size_t bytes = arena->plan->row_bytes;
    if (bytes >= RNNRT_MOST / arena->batch) return RNNRT_NO_MEMORY;
    if (arena->block_bytes < bytes * arena->batch) {
        free(arena->blocks);
        arena->blocks = rnnrt_aligned(bytes * arena->batch);
        arena->block_bytes = arena->blocks ? bytes * arena->batch : 0;
        if (!arena->blocks) return RNNRT_NO_MEMORY;
    }
    for (size_t b = 0; b < arena->batch; b++) arena->rows[b] = arena->blocks + b * bytes;
    return RNNRT_OK;
}

enum rnnrt_status rnnrt_arena_whole(struct rnnrt_arena *arena, size_t frames) {
    const struct rnnrt_plan *plan = arena->plan;
    arena->live = false;
    rnnrt_plan_totals(plan, frames, true, false, arena->total);
    for (int pass = 0; pass < 2; pass++) {
        size_t floats = 0;
        for (size_t v = 0; v < plan->value_count; v++) {
            struct value_place *value = &arena->values[v];
            if (pass == 0) value->whole = NULL, value->total = 0;
            if (!plan->values[v].full || !plan->values[v].used) continue;
            if (pass == 1) {
                value->whole = arena->whole + floats;
                if (plan->ops[plan->values[v].row].whole) value->total = arena->total[v];
            }
            size_t size = (size_t)plan->values[v].width * arena->batch;
            if (arena->total[v] > RNNRT_MOST / 64 / size) return RNNRT_NO_MEMORY;
            floats += rnnrt_round_up(arena->total[v] * size + 16, 16);
        }
        if (pass == 0 && floats > arena->whole_floats) {
            free(arena->whole);
            arena->whole = rnnrt_aligned(floats * sizeof(float));
            arena->whole_floats = arena->whole ? floats : 0;
            if (!arena->whole) return RNNRT_NO_MEMORY;
        }
    }
    return RNNRT_OK;
}

void rnnrt_row_begin(const struct rnnrt_plan *plan, char *row) {
    struct rnnrt_kept kept[RNNRT_MOST_KEPT];
    memset(row, 0, plan->zeroed_bytes);
    for (size_t r = 0; r < plan->count && plan->starts; r++) {
        const struct rnnrt_op *op = &plan->ops[r];
        const float *start = op->start;
        if (!start) continue;
        size_t arrays = op->layer->keeps(op, kept);
        float *to = (float *)(void *)(row + op->state);
        for (size_t k = 0; k < arrays; start += kept[k++].width)
            for (size_t t = 0; t < kept[k].frames; t++, to += kept[k].width)
                memcpy(to, start, kept[k].width * sizeof *to);
    }
}
