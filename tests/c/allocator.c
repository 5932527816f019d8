/* A plan on the caller's allocator: all that is taken comes from there, goes back there, and is refused there
 * one by one.
 *
 * allocator FILE...: .rnnrt files. tests/c/test_embed.py compiles it with the sanitizers. Exit code 0: every
 * check held. */
#include "checked.h"
#include "plan.h"

/* ---- an allocator that counts, gives memory full of rubbish, and refuses when told to ---- */

struct heap {
    size_t live, bytes, peak, calls,
        refuse_at; /* refuse_at: number of the call that is refused, 0 for none */
};
struct block {
    size_t bytes;
    char *start;
};

static void *take(void *context, size_t bytes, size_t alignment) {
    struct heap *heap = context;
    CHECK(bytes > 0 && alignment <= 64 && !(alignment & (alignment - 1)));
    if (++heap->calls == heap->refuse_at) return NULL;
    char *start = __real_malloc(bytes + 2 * alignment + sizeof(struct block));
    uintptr_t at = ((uintptr_t)start + sizeof(struct block) + alignment - 1) / alignment * alignment;
    at += at % (2 * alignment) ? 0 : alignment; /* no more than was asked for */
    memset(start, 0xa5, bytes + 2 * alignment + sizeof(struct block));
    memcpy((void *)(at - sizeof(struct block)), &(struct block){bytes, start}, sizeof(struct block));
    heap->live++;
    heap->bytes += bytes;
    if (heap->bytes > heap->peak) heap->peak = heap->bytes;
    return (void *)at;
}

static void release(void *context, void *memory) {
    struct heap *heap = context;
    struct block block;
    CHECK(memory);
    memcpy(&block, (char *)memory - sizeof block, sizeof block);
    CHECK(heap->live-- && heap->bytes >= block.bytes);
    heap->bytes -= block.bytes;
    free(block.start);
}

/* ---- one use of a plan, whose answers are laid one after the other ---- */

enum { FRAMES = 7, BATCH = 3, ROOM = 1 << 16 };
static float ids[ROOM], numbers[ROOM], answers[2][ROOM]; /* ids and masks: one number a frame */

/* RNNRT_OK, or the first status that was not. *count: numbers answered; 0 where the plan does not fit here.
 */
static enum rnnrt_status use(const struct rnnrt_plan *plan, float *to, size_t *count) {
    struct rnnrt_array in[RNNRT_MAX_INPUTS], out[RNNRT_PLAN_OUTPUTS];
    struct rnnrt_port port;
    struct rnnrt_error error;
    struct rnnrt_stream *stream;
    const char *text;
    bool fixed = false;
    size_t frames[RNNRT_MAX_CLOCKS], room[RNNRT_MAX_CLOCKS], inputs = rnnrt_plan_inputs(plan),
                                                             outputs = rnnrt_plan_outputs(plan);
    enum rnnrt_status status = RNNRT_OK;
    *count = 0;
    for (size_t c = 0; c < RNNRT_MAX_CLOCKS; c++) frames[c] = FRAMES;
    for (size_t i = 0; i < inputs; i++)
        if (rnnrt_plan_input(plan, i, &port) && port.timed && port.length)
            frames[rnnrt_plan_clock(plan, i)] = port.length, fixed = true;
    for (size_t c = 0; c < RNNRT_MAX_CLOCKS; c++) room[c] = frames[c] + !fixed;
    for (size_t i = 0; i < inputs; i++) {
        rnnrt_plan_input(plan, i, &port);
        size_t many = port.timed ? frames[rnnrt_plan_clock(plan, i)] : 1;
        if (many * port.width * BATCH > ROOM) return RNNRT_OK;
        in[i] = (struct rnnrt_array){port.width > 1 ? numbers : ids, (ptrdiff_t)(port.width * BATCH),
                                     (ptrdiff_t)port.width, many, 1};
    }
    for (int times = 0; times < 2 && !status; times++) { /* a whole call, then a stream */
        bool streams = rnnrt_plan_obstacle(plan, false, &text) < 0;
        if (times && !streams) break;
        for (size_t o = 0; o < outputs; o++) {
            rnnrt_plan_output(plan, o, &port);
            size_t due = rnnrt_plan_due(plan, o, room, true);
            if (*count + due * port.width * BATCH > ROOM) return RNNRT_OK;
            out[o] = (struct rnnrt_array){to + *count, (ptrdiff_t)(port.width * BATCH), (ptrdiff_t)port.width,
                                          due, 1};
            *count += due * port.width * BATCH;
        }
        if (!times) {
            status = rnnrt_run(plan, BATCH, in, out, NULL, NULL, 0, NULL, 0, 0, NULL, &error);
            if (status != RNNRT_NO_MEMORY) status = RNNRT_OK; /* what else it says, it says of both plans */
            continue;
        }
        status = rnnrt_stream_create(&stream, plan, BATCH, 0, false, false, &error);
        if (status) continue;
        for (size_t i = 0; i < inputs; i++)
            if (rnnrt_plan_input(plan, i, &port) && !port.timed) rnnrt_stream_set_once(stream, i, in[i].data);
        char *rows[BATCH];
        size_t made[BATCH * RNNRT_PLAN_OUTPUTS];
        for (size_t b = 0; b < BATCH; b++) rows[b] = rnnrt_stream_row(stream, b);
        struct rnnrt_array first[RNNRT_MAX_INPUTS], apart[RNNRT_PLAN_OUTPUTS];
        for (size_t i = 0; i < inputs; i++) first[i] = in[i], first[i].frames = 1;
        memcpy(apart, out, sizeof apart);
        if (!fixed) /* row 0 is one frame ahead: where there are strides, it is out of phase */
            status = rnnrt_rows_push(plan, rows, 1, false, first, false, apart, made, NULL, &error);
        if (status != RNNRT_NO_MEMORY)
            status = rnnrt_rows_push(plan, rows, BATCH, false, in, false, out, made, NULL, &error);
        if (status != RNNRT_NO_MEMORY) status = RNNRT_OK;
        rnnrt_stream_free(stream);
    }
    return status;
}

/* ---- what it checks ---- */

static size_t families;

/* Of a plan whose layers say what they said when it was made; weights are not read again. */
static void family_of(const struct rnnrt_plan *plan, struct heap *heap) {
    struct rnnrt_layer_desc descs[8];
    struct rnnrt_plan *child;
    struct rnnrt_error error;
    if (plan->count > sizeof descs / sizeof *descs) return;
    for (size_t r = 0; r < plan->count; r++) descs[r] = plan->ops[r].desc;
    for (size_t r = 0; r < plan->count; r++)
        if (plan->ops[r].mask || descs[r].inner) return;
    size_t live = heap->live;
    if (rnnrt_plan_create(&child, descs, plan->count, plan->output, plan->outputs, NULL, plan, &error))
        return;
    CHECK(heap->live > live);
    rnnrt_plan_free(child);
    CHECK(heap->live == live);
    families++;
}

static size_t refused;

static void check(const unsigned char *bytes, size_t size, const char *path) {
    struct heap heap = {0};
    const struct rnnrt_allocator memory = {take, release, &heap};
    struct rnnrt_plan *plan, *usual;
    struct rnnrt_error error;
    size_t count, counted;
    CHECK(rnnrt_load_memory(&usual, bytes, size, &error) == RNNRT_OK);
    CHECK(use(usual, answers[0], &counted) == RNNRT_OK);
    rnnrt_plan_free(usual);

    size_t others = allocations;
    CHECK(rnnrt_load_with(&plan, path, &memory, &error) == RNNRT_OK);
    CHECK(use(plan, answers[1], &count) == RNNRT_OK && count == counted);
    CHECK(heap.live > 0 && heap.calls > heap.live);
    family_of(plan, &heap);
    rnnrt_plan_free(plan);
    CHECK(allocations == others); /* nothing from anywhere else */
    CHECK(!heap.live && !heap.bytes);
    CHECK(!memcmp(answers[0], answers[1], count * sizeof(float)));

    for (size_t n = 1;; n++) {
        heap = (struct heap){.refuse_at = n};
        enum rnnrt_status status = rnnrt_load_memory_with(&plan, bytes, size, &memory, &error);
        CHECK(!status == (plan != NULL));
        if (!status) status = use(plan, answers[1], &count);
        rnnrt_plan_free(plan);
        CHECK(!heap.live && !heap.bytes && allocations == others);
        if (heap.calls < n) break;
        CHECK(status == RNNRT_NO_MEMORY);
        refused++;
    }
}

static unsigned char *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    CHECK(file && !fseek(file, 0, SEEK_END));
    *size = (size_t)ftell(file);
    unsigned char *bytes = __real_malloc(*size);
    rewind(file);
    CHECK(fread(bytes, 1, *size, file) == *size);
    fclose(file);
    return bytes;
}

int main(int count, char **paths) {
    seed(1);
    for (size_t k = 0; k < ROOM; k++) ids[k] = (float)below(2), numbers[k] = number();
    for (int k = 1; k < count; k++) {
        size_t size;
        unsigned char *bytes = read_file(paths[k], &size);
        check(bytes, size, paths[k]);
        free(bytes);
    }
    printf("%d files, %zu families: %zu allocations refused\n", count - 1, families, refused);
    CHECK(refused > 20 * (size_t)(count - 1) && families);
    return 0;
}
