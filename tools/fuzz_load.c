/* A fuzzer of rnnrt_load_memory: .rnnrt files that were damaged, or that lie about what they hold.
 *
 *     fuzz_load fuzz SEED MUTANTS FILE...
 *         each mutant gets a status, or a plan that runs and streams; little is allocated for a small file
 *     fuzz_load memory FILE...
 *         every file where the first allocation fails, the second, the third, ...
 *
 * Most mutants are changed in the lowered table, whose checksum is made to fit, so that the checks behind it
 * are reached. tests/c/test_embed.py compiles it with the sanitizers, which see what is read or written
 * beyond. Exit code 0: every check held. */
#include "../tests/c/checked.h"

enum { TAIL = 16, ROW = 64 };

struct file {
    unsigned char *bytes;
    size_t size, table, table_size; /* where the lowered table is, and its bytes without the tail */
    size_t plans;                   /* the word of the table where its layers begin */
    size_t *values, value_count;    /* the words there that are sizes, or name values and arrays */
};

static int chance(int percent) { return below(100) < percent; }
static size_t up_to(size_t n) { return (size_t)(draw() % (n + 1)); }

static uint32_t get(const unsigned char *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void put(unsigned char *p, uint32_t word) {
    for (int k = 0; k < 4; k++) p[k] = (unsigned char)(word >> 8 * k);
}

static uint32_t crc32(const unsigned char *p, size_t count) {
    uint32_t value = ~(uint32_t)0;
    for (size_t i = 0; i < count; i++) {
        value ^= p[i];
        for (int bit = 0; bit < 8; bit++) value = value >> 1 ^ (value & 1 ? 0xedb88320u : 0);
    }
    return ~value;
}

/* Walks through the layers; `fields`: the word where the list of fields begins. */
static void find_values(struct file *f, const unsigned char *table, size_t fields) {
    size_t at = f->plans, plans = get(table + 4 * at++);
    f->values = __real_malloc(f->table_size * sizeof *f->values);
    while (plans--) {
        for (size_t layers = get(table + 4 * at++); layers; layers--) {
            size_t inputs = get(table + 4 * (at + 2));
            for (at += 3; inputs; inputs--) f->values[f->value_count++] = at++;
            for (size_t count = get(table + 4 * at++); count; count--) {
                uint32_t type = get(table + 4 * (fields + 2 + 2 * get(table + 4 * at++)));
                f->values[f->value_count++] = at;
                at += type == 'F' || type == 'n' ? 2 : 1;
            }
        }
        for (size_t outputs = get(table + 4 * at++); outputs; outputs--, at += 2)
            f->values[f->value_count++] = at + 1;
        at++;
    }
    CHECK(4 * at == f->table_size);
}

static struct file read_file(const char *path) {
    struct file f = {0};
    FILE *opened = fopen(path, "rb");
    CHECK(opened && !fseek(opened, 0, SEEK_END));
    f.size = (size_t)ftell(opened);
    rewind(opened);
    f.bytes = __real_malloc(f.size);
    CHECK(fread(f.bytes, 1, f.size, opened) == f.size && f.size > TAIL);
    fclose(opened);
    f.table_size = get(f.bytes + f.size - TAIL);
    f.table = f.size - (f.table_size + TAIL + ROW - 1) / ROW
    *ROW;
    CHECK(f.table < f.size);
    static const size_t each[] = {2, 5, 1, 3}; /* words of a field, an array, an integer, a fact */
    const unsigned char *table = f.bytes + f.table;
    f.plans = 3 + get(table + 8) / 4;
    for (int list = 0; list < 4; list++) f.plans += 1 + each[list] * get(table + 4 * f.plans);
    CHECK(4 * f.plans < f.table_size);
    find_values(&f, table, 3 + get(table + 8) / 4);
    return f;
}

/* ---- damage ---- */

static uint32_t odd_word(uint32_t before) {
    static const uint32_t bite[] = {0,  1,  2,       3,       4,           7,           16,         63,
                                    64, 65, 1 << 20, 1 << 24, 0x7fffffffu, 0xffffffffu, 0x80000000u};
    switch (below(6)) {
    case 0: return before + 1;
    case 1: return before - 1;
    case 2: return before ^ (uint32_t)1 << below(32);
    case 3: return (uint32_t)below(40);
    case 4: return (uint32_t)draw();
    default: return bite[below(sizeof bite / sizeof *bite)];
    }
}

/* The tail that fits a table of so many bytes, after which the file ends; returns the file's size. */
static size_t close_table(unsigned char *bytes, size_t table, size_t table_size) {
    size_t whole = (table_size + TAIL + ROW - 1) / ROW
    *ROW;
    unsigned char *tail = bytes + table + whole - TAIL;
    memset(bytes + table + table_size, 0, whole - TAIL - table_size);
    put(tail, (uint32_t)table_size);
    put(tail + 4, crc32(bytes + table, table_size));
    memcpy(tail + 8, "RNNRTLOW", 8);
    return table + whole;
}

/* Words of the table go, come twice, or change places. */
static size_t reorder(unsigned char *words, size_t count) {
    size_t first = up_to(count - 1), some = 1 + up_to(count - first - 1), other = up_to(count - some);
    if (some > 40) some = 1 + up_to(39);
    unsigned char *kept = __real_malloc(some * 4);
    memcpy(kept, words + first * 4, some * 4);
    switch (below(3)) {
    case 0: memmove(words + first * 4, words + (first + some) * 4, (count - first - some) * 4); break;
    case 1: memmove(words + other * 4, kept, some * 4); break;
    default: memmove(words + (first + some) * 4, words + first * 4, (count - first) * 4); count += 2 * some;
    }
    free(kept);
    return count - some;
}

/* A mutant in memory, from byte *shift on. */
static unsigned char *mutant_of(const struct file *f, size_t *size, size_t *shift) {
    size_t room = f->size + 4 * ROW
    +1024;
    unsigned char *m = __real_malloc(room), *exact; /* no byte more than it has, to see what is read beyond */
    memcpy(m, f->bytes, f->size);
    *size = f->size;
    int way = below(20);
    if (way == 0) *size = up_to(f->size - 1); /* cut */
    else if (way == 1) m[up_to(9)] = (unsigned char)draw();
    else if (way <= 3)
        for (int k = 1 + below(8); k; k--) m[up_to(f->size - 1)] ^= (unsigned char)(1 << below(8));
    else {
        size_t words = f->table_size / 4;
        unsigned char *table = m + f->table;
        for (int k = 1 + below(3); k && words; k--) {
            size_t value = f->values[up_to(f->value_count - 1)];
            size_t first = words > f->plans && chance(85) ? f->plans : 0,
                   at = 4 * (first + up_to(words - 1 - first));
            if (chance(50) && value < words) at = 4 * value;
            if (chance(90)) put(table + at, odd_word(get(table + at)));
            else if (words < f->table_size / 4 + 80) words = reorder(table, words);
        }
        *size = close_table(m, f->table, words * 4);
        if (chance(3)) m[*size - 1 - up_to(TAIL - 1)] ^= (unsigned char)(1 << below(8));
    }
    CHECK(*size <= room);
    *shift = chance(20) ? up_to(3) : 0; /* at an odd place now and then */
    exact = __real_malloc(*shift + *size + (*size == 0));
    memcpy(exact + *shift, m, *size);
    free(m);
    return exact;
}

/* ---- what becomes of a plan ---- */

static int loaded, ran, streamed;

static bool small(const struct rnnrt_plan *plan, size_t frames) {
    struct rnnrt_port port;
    struct rnnrt_state_array array;
    double numbers = 0;
    for (size_t i = 0; rnnrt_plan_input(plan, i, &port); i++)
        if (port.width > 1 << 12 || port.length > 1 << 8) return false;
    for (size_t o = 0; rnnrt_plan_output(plan, o, &port); o++)
        if (port.width > 1 << 12) return false;
    for (size_t k = 0; rnnrt_plan_state_array(plan, k, &array); k++)
        numbers += (double)array.frames * (double)array.width;
    return numbers < 1 << 18 && rnnrt_plan_work(plan, frames) < 2e6;
}

/* A few frames through a stream, and the whole input at once. */
static void exercise(const struct rnnrt_plan *plan) {
    enum { FRAMES = 9 };
    struct rnnrt_array in[64], out[RNNRT_PLAN_OUTPUTS];
    struct rnnrt_port port;
    struct rnnrt_error error;
    struct rnnrt_stream *stream = NULL;
    size_t counts[RNNRT_MAX_CLOCKS], inputs = rnnrt_plan_inputs(plan), outputs = rnnrt_plan_outputs(plan);
    const char *text;
    if (inputs > 64 || !small(plan, FRAMES)) return;
    for (size_t c = 0; c < RNNRT_MAX_CLOCKS; c++) counts[c] = FRAMES;
    for (size_t i = 0; i < inputs; i++) {
        CHECK(rnnrt_plan_input(plan, i, &port) && port.name);
        int32_t clock = rnnrt_plan_clock(plan, i);
        if (clock >= 0 && port.length) counts[clock] = port.length;
    }
    size_t room = 0;
    for (size_t o = 0; o < outputs; o++) {
        CHECK(rnnrt_plan_output(plan, o, &port) && port.name);
        size_t due = rnnrt_plan_due(plan, o, counts, true);
        if (due > 1 << 12) return;
        room += due * port.width;
        out[o] = (struct rnnrt_array){NULL, (ptrdiff_t)port.width, (ptrdiff_t)port.width, due, 1};
    }
    if (room > 1 << 20) return;
    size_t wide = 1;
    for (size_t i = 0; i < inputs; i++) {
        rnnrt_plan_input(plan, i, &port);
        size_t frames = port.timed ? counts[rnnrt_plan_clock(plan, i)] : 1;
        in[i] = (struct rnnrt_array){__real_malloc(frames * port.width * sizeof(float)),
                                     (ptrdiff_t)port.width, (ptrdiff_t)port.width, frames, 1};
        for (size_t k = 0; k < frames * port.width; k++)
            in[i].data[k] = port.width == wide ? (float)below(3) : number();
    }
    for (size_t o = 0; o < outputs; o++)
        out[o].data = __real_malloc((out[o].frames * (size_t)out[o].time_stride + 1) * sizeof(float));
    struct rnnrt_array due[RNNRT_PLAN_OUTPUTS];
    memcpy(due, out, sizeof due);
    ran += !rnnrt_run(plan, 1, in, out, NULL, NULL, 0, NULL, 0, 0, NULL, &error);
    if (rnnrt_plan_obstacle(plan, false, &text) < 0 &&
        !rnnrt_stream_create(&stream, plan, 1, 0, false, chance(50), &error)) {
        for (size_t i = 0, k = 0; i < inputs; i++, k++) {
            rnnrt_plan_input(plan, i, &port);
            if (!port.timed) rnnrt_stream_set_once(stream, i, in[i].data);
        }
        memcpy(out, due, sizeof out);
        if (!rnnrt_stream_push(stream, in, out, NULL, &error)) {
            for (size_t o = 0; o < outputs; o++) { /* the rest goes behind what is there */
                CHECK(out[o].frames <= due[o].frames);
                size_t done = out[o].frames;
                out[o] = due[o];
                out[o].data += done * (size_t)out[o].time_stride;
                out[o].frames -= done;
            }
            streamed += !rnnrt_stream_flush(stream, out, NULL, &error);
        }
        rnnrt_stream_free(stream);
    }
    for (size_t i = 0; i < inputs; i++) free(in[i].data);
    for (size_t o = 0; o < outputs; o++) free(due[o].data);
}

static void fuzz(uint64_t first, uint64_t mutants, struct file *files, size_t count) {
    int by_status[32] = {0};
    for (uint64_t s = first; s < first + mutants; s++) {
        seed(s);
        const struct file *f = &files[up_to(count - 1)];
        size_t size, shift;
        unsigned char *bytes = mutant_of(f, &size, &shift);
        struct rnnrt_plan *plan;
        struct rnnrt_error error;
        allocated = 0;
        enum rnnrt_status status = rnnrt_load_memory(&plan, bytes + shift, size, &error);
        CHECK(!status == (plan != NULL));
        CHECK(status <= 0 && status > -32 && *rnnrt_status_text(status));
        CHECK(allocated < 400 * size + (1 << 16)); /* an op is a few hundred times the words that say it */
        by_status[-status]++;
        if (plan) loaded++, exercise(plan);
        rnnrt_plan_free(plan);
        free(bytes);
    }
    printf("%llu mutants: %d loaded, %d ran, %d streamed; refused:", (unsigned long long)mutants, loaded, ran,
           streamed);
    for (int k = 1; k < 32; k++)
        if (by_status[k]) printf(" %d %s;", by_status[k], rnnrt_status_text(-k));
    printf("\n");
    if (mutants < 1000) return;
    CHECK((uint64_t)loaded > mutants / 50 && (uint64_t)streamed > mutants / 100);
    CHECK((uint64_t)by_status[-RNNRT_BAD_FILE] > mutants / 10 &&
          (uint64_t)by_status[-RNNRT_BAD_LAYER] > mutants / 50);
}

static void starve(struct file *files, size_t count) {
    size_t refused = 0;
    for (size_t k = 0; k < count; k++)
        for (size_t n = 1;; n++) {
            struct rnnrt_plan *plan;
            struct rnnrt_error error;
            allocations = 0, fail_at = n;
            enum rnnrt_status status = rnnrt_load_memory(&plan, files[k].bytes, files[k].size, &error);
            fail_at = 0;
            CHECK(status == RNNRT_OK || (status == RNNRT_NO_MEMORY && !plan));
            rnnrt_plan_free(plan);
            if (!status) break;
            refused++;
        }
    printf("%zu files: %zu allocations refused\n", count, refused);
    CHECK(refused > 10 * count);
}

int main(int count, char **words) {
    int named = count > 1 && !strcmp(words[1], "fuzz") ? 4 : 2;
    size_t files = count > named ? (size_t)(count - named) : 0;
    if (!files)
        return fprintf(stderr, "usage: fuzz_load fuzz SEED MUTANTS FILE... | fuzz_load memory FILE...\n"), 2;
    struct file *all = __real_malloc(files * sizeof *all);
    for (size_t k = 0; k < files; k++) all[k] = read_file(words[named + (int)k]);
    if (named == 4) fuzz(strtoull(words[2], NULL, 10), strtoull(words[3], NULL, 10), all, files);
    else starve(all, files);
    for (size_t k = 0; k < files; k++) free(all[k].bytes), free(all[k].values);
    free(all);
    return 0;
}
