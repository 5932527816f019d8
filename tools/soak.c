/* Very many steps of one stream, from C: tools/soak.py compiles it and says what it shows.
 *
 *     soak MODEL.rnnrt STEPS [PLANT]
 *
 * Frames of noise and silent ones, 4,096 by turns. Half-way the state is read; at the end another stream goes
 * on from it with the frames of the second half, to the same answers and the same state, bit by bit. While
 * they run no allocation is made and the process does not grow. PLANT: what is done wrong on purpose, leak
 * or bit. Prints one line of JSON; exit code 0: all held. */
#include <time.h>
#include <unistd.h>

#include "../tests/c/checked.h"

enum { TABLE = 1021, TURN = 4096, GROUPS = 40, STEPS_OF_GROUP = 32, WARM = 1000, PAGE = 4096, GROWTH = 64 };

static const char *plant = "";
static float *frames; /* TABLE of noise, one silent */
static size_t in_width, out_width, state_bytes;
static struct rnnrt_plan *plan;
static uint64_t spent[2][GROUPS * STEPS_OF_GROUP],
    longest; /* of noise, of silence: steps that took so long */

/* ---- nanoseconds, in 32 steps between powers of two ---- */

static size_t place_of(uint64_t ns) {
    if (ns < STEPS_OF_GROUP) return (size_t)ns;
    int shift = 63 - __builtin_clzll(ns) - 5;
    return (size_t)(shift + 1) * STEPS_OF_GROUP + (size_t)(ns >> shift) - STEPS_OF_GROUP;
}

static double time_of(size_t place) {
    size_t group = place / STEPS_OF_GROUP;
    if (!group) return (double)place;
    return (double)((place % STEPS_OF_GROUP + STEPS_OF_GROUP) << (group - 1));
}

static double percentile(double share, int first, int last) {
    uint64_t all = 0, seen = 0;
    for (int kind = first; kind <= last; kind++)
        for (size_t k = 0; k < GROUPS * STEPS_OF_GROUP; k++) all += spent[kind][k];
    for (size_t k = 0; k < GROUPS * STEPS_OF_GROUP; k++) {
        for (int kind = first; kind <= last; kind++) seen += spent[kind][k];
        if (seen && (double)seen >= share * (double)all) return time_of(k);
    }
    return 0;
}

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Pages of memory that the process has now. */
static long pages(void) {
    FILE *opened = fopen("/proc/self/statm", "r");
    long all, resident;
    CHECK(opened && fscanf(opened, "%ld %ld", &all, &resident) == 2);
    fclose(opened);
    return resident;
}

/* ---- the state as bytes ---- */

static void read_state(struct rnnrt_stream *stream, char *to) {
    struct rnnrt_state_array array;
    char *row = rnnrt_stream_row(stream, 0);
    uint64_t position = rnnrt_row_position(row, 0);
    memcpy(to, &position, sizeof position), to += sizeof position;
    for (size_t k = 0; rnnrt_plan_state_array(plan, k, &array); k++) {
        rnnrt_row_read(plan, row, k, to);
        to += array.frames * array.width * (array.wide ? sizeof(double) : sizeof(float));
    }
}

static void write_state(struct rnnrt_stream *stream, const char *from) {
    struct rnnrt_state_array array;
    char *row = rnnrt_stream_row(stream, 0);
    uint64_t position;
    memcpy(&position, from, sizeof position), from += sizeof position;
    CHECK(!rnnrt_row_seek(plan, row, &position, false));
    for (size_t k = 0; rnnrt_plan_state_array(plan, k, &array); k++) {
        rnnrt_row_write(plan, row, k, from);
        from += array.frames * array.width * (array.wide ? sizeof(double) : sizeof(float));
    }
}

/* ---- steps ---- */

/* Steps `from` .. `to` - 1; the checksum of what they answered. */
static uint64_t run(struct rnnrt_stream *stream, uint64_t from, uint64_t to, float *y) {
    uint64_t sum = 14695981039346656037u;
    struct rnnrt_error error;
    for (uint64_t t = from; t < to; t++) {
        int silent = t / TURN % 2 == 1;
        const float *x = frames + (silent ? TABLE : t % TABLE) * in_width;
        uint64_t start = now();
        int made = rnnrt_stream_step(stream, x, y, &error);
        uint64_t ns = now() - start;
        CHECK(made == 0 || made == 1);
        spent[silent][place_of(ns)]++;
        longest = ns > longest ? ns : longest;
        for (size_t k = 0; made && k < out_width; k++) {
            uint32_t bits;
            memcpy(&bits, y + k, sizeof bits);
            sum = (sum ^ bits) * 1099511628211u;
        }
        if (*plant == 'l' && t % 1000 == 0) memset(malloc(PAGE), 1, PAGE);
    }
    return sum;
}

int main(int count, char **words) {
    if (count < 3) return fprintf(stderr, "usage: soak MODEL.rnnrt STEPS [PLANT]\n"), 2;
    uint64_t steps = strtoull(words[2], NULL, 10), half = steps / 2;
    struct rnnrt_error error;
    struct rnnrt_port in, out;
    struct rnnrt_state_array array;
    struct rnnrt_stream *stream, *other;
    if (count > 3) plant = words[3];
    seed(1);
    CHECK(!rnnrt_load(&plan, words[1], &error));
    CHECK(rnnrt_plan_inputs(plan) == 1 && rnnrt_plan_outputs(plan) == 1);
    CHECK(rnnrt_plan_input(plan, 0, &in) && rnnrt_plan_output(plan, 0, &out) && !in.length);
    in_width = in.width, out_width = out.width, state_bytes = sizeof(uint64_t);
    for (size_t k = 0; rnnrt_plan_state_array(plan, k, &array); k++)
        state_bytes += array.frames * array.width * (array.wide ? sizeof(double) : sizeof(float));
    char *halfway = calloc(3, state_bytes), *end = halfway + state_bytes, *again = end + state_bytes;
    float *y = calloc(out_width, sizeof *y);
    frames = calloc((TABLE + 1) * in_width, sizeof *frames);
    for (size_t k = 0; k < TABLE * in_width; k++) frames[k] = number();
    CHECK(!rnnrt_stream_create(&stream, plan, 1, 0, false, false, &error));
    CHECK(!rnnrt_stream_create(&other, plan, 1, 0, false, false, &error));
    run(stream, 0, WARM, y);
    rnnrt_stream_reset(stream);
    memset(spent, 0, sizeof spent), longest = 0;
    long before = pages();
    size_t calls = allocations;
    run(stream, 0, half, y);
    read_state(stream, halfway);
    uint64_t first = run(stream, half, steps, y);
    calls = allocations - calls;
    long grown = pages() - before;
    read_state(stream, end);
    if (*plant == 'b') halfway[state_bytes - 1] ^= 1;
    write_state(other, halfway);
    bool same = run(other, half, steps, y) == first;
    read_state(other, again);
    same = same && !memcmp(end, again, state_bytes);
    printf("{\"steps\": %llu, \"allocations\": %zu, \"pages grown\": %ld, \"replay same\": %s, "
           "\"p50 ns\": %.0f, \"p99 ns\": %.0f, \"p99.99 ns\": %.0f, \"longest ns\": %llu, "
           "\"noise p50 ns\": %.0f, \"silence p50 ns\": %.0f, \"noise p99 ns\": %.0f, \"silence p99 ns\": "
           "%.0f}\n",
           (unsigned long long)steps, calls, grown, same ? "true" : "false", percentile(.5, 0, 1),
           percentile(.99, 0, 1), percentile(.9999, 0, 1), (unsigned long long)longest, percentile(.5, 0, 0),
           percentile(.5, 1, 1), percentile(.99, 0, 0), percentile(.99, 1, 1));
    rnnrt_stream_free(stream), rnnrt_stream_free(other);
    rnnrt_plan_free(plan);
    free(halfway), free(y), free(frames);
    return !(same && !calls && grown <= GROWTH);
}
