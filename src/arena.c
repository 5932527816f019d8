/* Arenas: their layout, and the few that wait in a plan for the next call. */
#include "arena.h"

#include <string.h>

/* ---- where everything lies ---- */

/* An arena, its tables, then what depends on batch and block: for one in one piece all of it side by side in
 * this order, each part from a multiple of 64 bytes on. */

static size_t padded(size_t bytes) { return rnnrt_round_up(bytes, 64); }

/* Of an arena without rows and work. */
static size_t bare_bytes(const struct rnnrt_plan *plan) {
    return padded(
        sizeof(struct rnnrt_arena) + plan->count * (sizeof(struct op_place) + sizeof(struct rnnrt_arena *)) +
        plan->value_count * (sizeof(struct value_place) + sizeof(size_t)) + plan->rooms * sizeof(size_t));
}

/* A bare arena in zeroed memory of bare_bytes. */
static struct rnnrt_arena *bare(void *memory, const struct rnnrt_plan *plan) {
    struct rnnrt_arena *arena = memory;
    arena->plan = plan;
    arena->kernels = plan->kernels;
    arena->home = -1;
    arena->count = plan->count;
    arena->ops = (struct op_place *)(arena + 1);
    arena->values = (struct value_place *)(arena->ops + plan->count);
    arena->total = (size_t *)(arena->values + plan->value_count);
    arena->rooms = arena->total + plan->value_count;
    arena->inner = (struct rnnrt_arena **)(arena->rooms + plan->rooms);
    return arena;
}

/* Places what op r needs for itself from *at on: its scratch, and where frames of inputs that wait are put
 * side by side. */
static void place_own(struct rnnrt_arena *arena, size_t r, size_t batch, size_t frames, size_t scratch,
                      size_t *at) {
    const struct rnnrt_plan *plan = arena->plan;
    const struct rnnrt_op *op = &plan->ops[r];
    arena->ops[r].own = *at;
    *at = rnnrt_round_up(*at + scratch + 16, 16);
    for (int32_t i = 0; op->joins && i < op->desc.inputs; i++) {
        if (!op->lag[i] || op->from_whole[i]) continue;
        size_t width = (size_t)plan->values[op->desc.input[i]].width * batch;
        arena->ops[r].joined[i] = *at;
        *at = rnnrt_round_up(*at + rnnrt_times(frames, width) + 16, 16);
    }
}

/* The most frames that come to op r at an invocation. */
static size_t most_frames(const struct rnnrt_arena *arena, size_t r, size_t block) {
    const struct rnnrt_op *op = &arena->plan->ops[r];
    size_t frames = SIZE_MAX;
    if (op->desc.kind == rnnrt_kind_input) return block;
    for (int32_t i = 0; i < op->counted; i++) {
        size_t capacity = op->from_whole[i] ? block : arena->values[op->desc.input[i]].capacity;
        frames = rnnrt_smaller(frames, capacity + (op->joins ? op->lag[i] : 0));
    }
    return frames;
}

/* Gives every op and value its place for `batch` rows and `block` frames; *floats: what `work` must hold.
 *
 * First what an op needs for itself, one op after the other in the same place; then the rooms of values; then
 * what whole ops need for themselves, which may run at once. */
static enum rnnrt_status find_places(struct rnnrt_arena *arena, size_t batch, size_t block, size_t *floats) {
    const struct rnnrt_plan *plan = arena->plan;
    size_t own = 0, work = 0;
    for (size_t v = 0; v < plan->value_count; v++) arena->values[v].capacity = 0;
    memset(arena->rooms, 0, plan->rooms * sizeof *arena->rooms);
    for (size_t r = 0; r < plan->count; r++) {
        const struct rnnrt_op *op = &plan->ops[r];
        size_t frames = most_frames(arena, r, block), at = 0;
        struct rnnrt_sizes sizes = {0, frames};
        size_t cells =
            rnnrt_recurrent(op->desc.kind) && !op->scan ? 4 * rnnrt_bins(op) * (size_t)op->desc.units : 0;
        size_t numbers = (size_t)op->desc.input_size + (size_t)op->desc.output_size + cells;
        /* of one frame of every row, or up to 64 of one or 192 of all: what ops hold of them does not wrap */
        if (rnnrt_times(batch + 64, numbers) >= RNNRT_MOST / 8) return RNNRT_NO_MEMORY;
        if (op->layer->measure) op->layer->measure(op, batch, frames, &sizes);
        arena->ops[r].frames = frames;
        place_own(arena, r, batch, frames, sizes.scratch, op->whole ? &work : &at);
        own = rnnrt_larger(own, at);
        for (size_t slot = 0; slot < op->slots; slot++) {
            const struct rnnrt_value *value = &plan->values[op->value + slot];
            struct value_place *place = &arena->values[op->value + slot];
            if (!value->used) continue;
            place->capacity = slot == 0 || value->timed ? sizes.capacity : 1;
            size_t *room = &arena->rooms[value->room],
                   size = rnnrt_times(place->capacity, batch * (size_t)value->width) + 16;
            *room = rnnrt_larger(*room, rnnrt_round_up(size, 16));
        }
        if (own + work >= RNNRT_MOST / sizeof(float)) return RNNRT_NO_MEMORY;
    }
    for (size_t k = 0, size; k < plan->rooms; k++, own += size) {
        size = arena->rooms[k];
        arena->rooms[k] = own;
        if (own + size >= RNNRT_MOST / sizeof(float)) return RNNRT_NO_MEMORY;
    }
    for (size_t r = 0; r < plan->count; r++) {
        const struct rnnrt_op *op = &plan->ops[r];
        for (size_t slot = 0; slot < op->slots; slot++)
            arena->values[op->value + slot].work = arena->rooms[plan->values[op->value + slot].room];
        if (op->whole) arena->ops[r].own += own; /* its inputs never wait: they are whole */
    }
    *floats = own + work + 64;
    return *floats >= RNNRT_MOST / sizeof(float) ? RNNRT_NO_MEMORY : RNNRT_OK;
}

/* Where that is in the memory of the arena: what a step asks is ready. */
static void point(struct rnnrt_arena *arena) {
    for (size_t r = 0; r < arena->count; r++) {
        const struct rnnrt_op *op = &arena->plan->ops[r];
        struct op_place *place = &arena->ops[r];
        place->scratch = arena->work + place->own;
        place->in = op->desc.inputs ? &arena->values[op->desc.input[0]] : NULL;
        place->out = &arena->values[op->value];
        place->y = op->shown && place->out->capacity ? arena->work + place->out->work : NULL;
    }
}

/* The plan inside op r, which runs once a frame on whole inputs of *frames frames; NULL: there is none. */
static const struct rnnrt_plan *plan_inside(const struct rnnrt_plan *plan, size_t r, size_t *frames) {
    const struct rnnrt_layer_desc *desc = &plan->ops[r].desc;
    if (desc->kind != rnnrt_kind_time_distributed) return NULL;
    const struct rnnrt_layer_desc *first = &desc->inner->ops[0].desc;
    *frames = first->timed ? (size_t)first->length : 1;
    return desc->inner;
}

/* ---- on the heap: fitted to one batch and block after the other ---- */

/* Gives everything its place and makes room for it. */
static enum rnnrt_status lay_out(struct rnnrt_arena *arena, size_t batch, size_t block) {
    const struct rnnrt_plan *plan = arena->plan;
    size_t floats, frames;
    arena->batch = 0; /* until it fits */
    enum rnnrt_status status = find_places(arena, batch, block, &floats);
    if (status) return status;
    size_t rows = padded(batch * sizeof(char *));
    if (floats > arena->work_floats) {
        rnnrt_give(&plan->memory, arena->work);
        arena->work = rnnrt_take_lines(&plan->memory, floats * sizeof(float));
        arena->work_floats = arena->work ? floats : 0;
    }
    if (rows > arena->row_room) {
        rnnrt_give(&plan->memory, arena->rows);
        arena->rows = rnnrt_take(&plan->memory, 1, rows);
        arena->row_room = arena->rows ? rows : 0;
    }
    if (!arena->work || !arena->rows) return RNNRT_NO_MEMORY;
    point(arena);
    arena->live = false;
    for (size_t r = 0; r < plan->count; r++) { /* all now, so that no step allocates */
        const struct rnnrt_plan *inside = plan_inside(plan, r, &frames);
        if (!inside) continue;
        struct rnnrt_arena **inner = &arena->inner[r];
        rnnrt_arena_free(*inner);
        status = rnnrt_arena_borrow(inside, batch, rnnrt_own_block(inside, 0, batch), inner);
        if (status) return status;
        rnnrt_arena_keep(*inner);
        arena->has_inner = true;
        status = rnnrt_arena_own_rows(*inner);
        if (!status) status = rnnrt_arena_whole(*inner, &frames);
        if (status) return status;
    }
    arena->batch = batch;
    arena->block = block;
    return RNNRT_OK;
}

static struct rnnrt_arena *make(const struct rnnrt_plan *plan) {
    void *memory = rnnrt_take_zeroed(&plan->memory, 1, bare_bytes(plan));
    return memory ? bare(memory, plan) : NULL;
}

/* ---- in one piece ---- */

/* Floats of scratch of op r that grow with the totals in arena->total. */
static size_t lengthy_floats(const struct rnnrt_arena *arena, size_t r) {
    const struct rnnrt_op *op = &arena->plan->ops[r];
    return op->layer->lengthy
               ? rnnrt_round_up(op->layer->lengthy(op, arena->plan->kernels, arena->total) + 16, 16)
               : 0;
}

/* Floats of the full-length buffers for the totals in arena->total; RNNRT_MOST: too many. */
static size_t whole_floats(const struct rnnrt_arena *arena, size_t batch) {
    const struct rnnrt_plan *plan = arena->plan;
    size_t floats = 0;
    for (size_t v = 0; v < plan->value_count; v++) {
        if (!plan->values[v].full || !plan->values[v].used) continue;
        size_t size = (size_t)plan->values[v].width * batch;
        if (arena->total[v] > RNNRT_MOST / 64 / size) return RNNRT_MOST;
        floats += rnnrt_round_up(arena->total[v] * size + 16, 16);
    }
    for (size_t r = 0; r < plan->count; r++) floats += lengthy_floats(arena, r);
    return floats < RNNRT_MOST ? floats : RNNRT_MOST;
}

/* What an arena in one piece takes, in the order its parts lie in; `whole`: frames of the whole inputs it
 * runs, or NULL. */
struct parts {
    size_t bare, rows, work, blocks, whole; /* bytes */
};

static enum rnnrt_status count_parts(struct rnnrt_arena *arena, size_t batch, size_t block,
                                     const size_t *whole, struct parts *parts) {
    const struct rnnrt_plan *plan = arena->plan;
    size_t work;
    enum rnnrt_status status = find_places(arena, batch, block, &work);
    if (status) return status;
    *parts =
        (struct parts){bare_bytes(plan), padded(batch * sizeof(char *)), padded(work * sizeof(float)), 0, 0};
    if (!whole) return RNNRT_OK;
    rnnrt_plan_totals(plan, whole, true, false, arena->total);
    size_t floats = whole_floats(arena, batch), rows = rnnrt_times(plan->row_bytes, batch);
    if (rows >= RNNRT_MOST || floats >= RNNRT_MOST / sizeof(float)) return RNNRT_NO_MEMORY;
    parts->blocks = padded(rows);
    parts->whole = padded(floats * sizeof(float));
    return RNNRT_OK;
}

static enum rnnrt_status size_of(const struct rnnrt_plan *plan, size_t batch, size_t block,
                                 const size_t *whole, size_t *bytes) {
    struct parts parts;
    struct rnnrt_arena *arena = make(plan);
    if (!arena) return RNNRT_NO_MEMORY;
    enum rnnrt_status status = count_parts(arena, batch, block, whole, &parts);
    rnnrt_give(&plan->memory, arena);
    if (status) return status;
    *bytes = parts.bare + parts.rows + parts.work + parts.blocks + parts.whole;
    for (size_t r = 0, frames, inside; r < plan->count; r++) {
        const struct rnnrt_plan *inner = plan_inside(plan, r, &frames);
        if (!inner) continue;
        if ((status = size_of(inner, batch, rnnrt_own_block(inner, 0, batch), &frames, &inside)))
            return status;
        *bytes += inside;
        if (*bytes >= RNNRT_MOST) return RNNRT_NO_MEMORY;
    }
    return RNNRT_OK;
}

/* The arena at *memory, which then points behind it; nothing from `end` on is touched. */
static enum rnnrt_status place(char **memory, const char *end, const struct rnnrt_plan *plan, size_t batch,
                               size_t block, const size_t *whole, struct rnnrt_arena **out) {
    struct parts parts;
    if ((size_t)(end - *memory) < bare_bytes(plan)) return RNNRT_NO_MEMORY;
    memset(*memory, 0, bare_bytes(plan));
    struct rnnrt_arena *arena = *out = bare(*memory, plan);
    enum rnnrt_status status = count_parts(arena, batch, block, whole, &parts);
    if (status) return status;
    char *at = *memory + parts.bare;
    size_t more = parts.rows + parts.work + parts.blocks + parts.whole;
    if ((size_t)(end - at) < more) return RNNRT_NO_MEMORY;
    memset(at, 0, more);
    arena->placed = true;
    arena->batch = batch, arena->block = block;
    arena->rows = (char **)(void *)at, arena->row_room = parts.rows, at += parts.rows;
    arena->work = (float *)(void *)at, arena->work_floats = parts.work / sizeof(float), at += parts.work;
    point(arena);
    arena->blocks = at, arena->block_bytes = parts.blocks, at += parts.blocks;
    arena->whole = (float *)(void *)at, arena->whole_floats = parts.whole / sizeof(float), at += parts.whole;
    *memory = at;
    for (size_t r = 0, frames; r < plan->count; r++) {
        const struct rnnrt_plan *inner = plan_inside(plan, r, &frames);
        if (!inner) continue;
        arena->has_inner = true;
        status =
            place(memory, end, inner, batch, rnnrt_own_block(inner, 0, batch), &frames, &arena->inner[r]);
        if (!status) status = rnnrt_arena_own_rows(arena->inner[r]);
        if (!status) status = rnnrt_arena_whole(arena->inner[r], &frames);
        if (status) return status;
    }
    return RNNRT_OK;
}

enum rnnrt_status rnnrt_arena_size(const struct rnnrt_plan *plan, size_t batch, size_t block, size_t *bytes) {
    return size_of(plan, batch, block, NULL, bytes);
}

enum rnnrt_status rnnrt_arena_place(void *memory, size_t bytes, const struct rnnrt_plan *plan, size_t batch,
                                    size_t block, struct rnnrt_arena **arena) {
    char *at = memory;
    return place(&at, at + bytes, plan, batch, block, NULL, arena);
}

void rnnrt_arena_free(struct rnnrt_arena *arena) {
    if (!arena || arena->placed) return;
    rnnrt_arena_keep(arena);
    for (size_t r = 0; r < arena->count; r++) rnnrt_arena_free(arena->inner[r]);
    const struct rnnrt_allocator *memory = &arena->plan->memory;
    void *const parts[] = {arena->rows, arena->blocks, arena->work, arena->whole, arena};
    for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) rnnrt_give(memory, parts[k]);
}

/* ---- the idle ones: taken and left without a lock ---- */

/* The cache is not part of what a plan means. */
static struct rnnrt_idle *places_of(const struct rnnrt_plan *plan) {
    return ((struct rnnrt_plan *)plan)->idle;
}

static size_t bytes_of(const struct rnnrt_arena *arena) {
    size_t bytes = (arena->work_floats + arena->whole_floats) * sizeof(float) + arena->block_bytes;
    for (size_t r = 0; r < arena->count && arena->has_inner; r++)
        if (arena->inner[r]) bytes += bytes_of(arena->inner[r]);
    return bytes;
}

/* Adds to the plan's count; the new one. */
static size_t count_bytes(const struct rnnrt_plan *plan, size_t bytes) {
    return __atomic_add_fetch(&((struct rnnrt_plan *)plan)->idle_bytes, bytes, __ATOMIC_RELAXED);
}

static bool take_place(struct rnnrt_idle *place) {
    return !__atomic_load_n(&place->taken, __ATOMIC_RELAXED) &&
           !__atomic_exchange_n(&place->taken, true, __ATOMIC_ACQUIRE);
}

static void leave_place(struct rnnrt_idle *place) {
    __atomic_store_n(&place->taken, false, __ATOMIC_RELEASE);
}

static void put(struct rnnrt_idle *place, struct rnnrt_arena *arena) {
    __atomic_store_n(&place->arena, arena, __ATOMIC_RELAXED);
}

/* The arena that waits at place i, taken; NULL where there is none. */
static struct rnnrt_arena *taken_from(const struct rnnrt_plan *plan, size_t i) {
    struct rnnrt_idle *place = &places_of(plan)[i];
    if (!__atomic_load_n(&place->arena, __ATOMIC_RELAXED) || !take_place(place)) return NULL;
    if (!place->arena) leave_place(place);
    return place->arena;
}

void rnnrt_arena_keep(struct rnnrt_arena *arena) {
    if (arena->home < 0) return;
    struct rnnrt_idle *place = &places_of(arena->plan)[arena->home];
    count_bytes(arena->plan, (size_t)0 - place->bytes);
    place->bytes = 0;
    put(place, NULL);
    leave_place(place);
    arena->home = -1;
}

static void find_place(struct rnnrt_arena *arena) {
    struct rnnrt_idle *places = places_of(arena->plan);
    for (int32_t i = 0; i < RNNRT_IDLE_ARENAS && arena->home < 0; i++) {
        if (__atomic_load_n(&places[i].arena, __ATOMIC_RELAXED) || !take_place(&places[i])) continue;
        if (places[i].arena) leave_place(&places[i]);
        else arena->home = i, put(&places[i], arena);
    }
}

void rnnrt_arena_return(struct rnnrt_arena *arena) {
    size_t bytes = bytes_of(arena);
    if (bytes > RNNRT_IDLE_BYTES / RNNRT_IDLE_ARENAS) { /* what depends on the length goes first */
        rnnrt_give(&arena->plan->memory, arena->whole);
        arena->whole = NULL;
        arena->whole_floats = 0;
        arena->live = false;
        bytes = bytes_of(arena);
    }
    if (arena->home < 0) find_place(arena);
    struct rnnrt_idle *place = arena->home < 0 ? NULL : &places_of(arena->plan)[arena->home];
    size_t before = place ? place->bytes : 0, all = 0;
    if (place && bytes != before) {
        place->bytes = bytes;
        all = count_bytes(arena->plan, bytes - before);
    }
    if (place && all <= RNNRT_IDLE_BYTES) leave_place(place);
    else rnnrt_arena_free(arena);
}

struct rnnrt_arena *rnnrt_arena_take(const struct rnnrt_plan *plan) {
    struct rnnrt_arena *arena = NULL;
    for (size_t i = 0; i < RNNRT_IDLE_ARENAS && !arena; i++) arena = taken_from(plan, i);
    return arena ? arena : make(plan);
}

enum rnnrt_status rnnrt_arena_borrow(const struct rnnrt_plan *plan, size_t batch, size_t block,
                                     struct rnnrt_arena **out) {
    struct rnnrt_arena *arena = NULL;
    size_t others = 0;
    *out = NULL;
    if (!batch || batch > 1 << 24) return RNNRT_NO_MEMORY;
    for (size_t i = 0; i < RNNRT_IDLE_ARENAS; i++) {
        if (!(arena = taken_from(plan, i))) continue;
        if (arena->batch == batch && arena->block == block) break;
        leave_place(&places_of(plan)[i]);
        arena = NULL;
        others++;
    }
    /* one that has to be laid out anew only where no more may wait than do */
    if (!arena && others == RNNRT_IDLE_ARENAS) arena = taken_from(plan, RNNRT_IDLE_ARENAS - 1);
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
        rnnrt_give(&arena->plan->memory, arena->blocks);
        arena->blocks = rnnrt_take_lines(&arena->plan->memory, bytes * arena->batch);
        arena->block_bytes = arena->blocks ? bytes * arena->batch : 0;
        if (!arena->blocks) return RNNRT_NO_MEMORY;
    }
    for (size_t b = 0; b < arena->batch; b++) arena->rows[b] = arena->blocks + b * bytes;
    arena->row_stride = bytes;
    return RNNRT_OK;
}

enum rnnrt_status rnnrt_arena_whole(struct rnnrt_arena *arena, const size_t *frames) {
    const struct rnnrt_plan *plan = arena->plan;
    arena->live = false;
    rnnrt_plan_totals(plan, frames, true, false, arena->total);
    size_t floats = whole_floats(arena, arena->batch);
    if (floats >= RNNRT_MOST / sizeof(float)) return RNNRT_NO_MEMORY;
    if (floats > arena->whole_floats) {
        rnnrt_give(&plan->memory, arena->whole);
        arena->whole = rnnrt_take_lines(&plan->memory, floats * sizeof(float));
        arena->whole_floats = arena->whole ? floats : 0;
        if (!arena->whole) return RNNRT_NO_MEMORY;
    }
    float *at = arena->whole;
    for (size_t v = 0; v < plan->value_count; v++) {
        struct value_place *value = &arena->values[v];
        value->whole = NULL, value->total = 0;
        if (!plan->values[v].full || !plan->values[v].used) continue;
        value->whole = at;
        if (plan->ops[plan->values[v].op].whole) value->total = arena->total[v];
        at += rnnrt_round_up(arena->total[v] * (size_t)plan->values[v].width * arena->batch + 16, 16);
    }
    for (size_t r = 0; r < plan->count; r++) {
        size_t own = lengthy_floats(arena, r);
        arena->ops[r].lengthy = own ? at : NULL;
        at += own;
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
        for (size_t k = 0; k < arrays && !kept[k].own; start += kept[k++].width)
            for (size_t t = 0; t < kept[k].frames; t++, to += kept[k].width)
                memcpy(to, start, kept[k].width * sizeof *to);
    }
}
