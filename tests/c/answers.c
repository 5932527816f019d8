/* Whole networks without Python: reads the files and samples that tests/support/plans.py wrote and prints the
 * hash of each case's answers, as tests/data/hashes.json holds it.
 *
 *     answers FILE [ISA]      the best table by default
 *
 * The file is a row of 32-bit words of this machine's byte order. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rnnrt.h"

enum { NAME = 64 };

static const int32_t *at;

static int32_t word(void) { return *at++; }

/* Words with their number before them. */
static const void *array(void) {
    int32_t count = word();
    at += count;
    return at - count;
}

static void check(enum rnnrt_status status, const struct rnnrt_error *error, const char *what) {
    if (!status) return;
    fprintf(stderr, "%s: %s: layer %d %s: %s\n", what, rnnrt_status_text(status), error->layer, error->name,
            error->text ? error->text : "-");
    exit(1);
}

static struct rnnrt_plan *plan_of(const char *name) {
    struct rnnrt_plan *plan;
    struct rnnrt_error error = {0};
    size_t bytes = (size_t)*at * 4;
    check(rnnrt_load_memory(&plan, array(), bytes, &error), &error, name);
    return plan;
}

/* As zlib's crc32. */
static uint32_t crc32(uint32_t value, const void *bytes, size_t count) {
    const unsigned char *p = bytes;
    value = ~value;
    for (size_t i = 0; i < count; i++) {
        value ^= p[i];
        for (int bit = 0; bit < 8; bit++) value = value >> 1 ^ (value & 1 ? 0xedb88320u : 0);
    }
    return ~value;
}

/* One sample: (batch, frames, width) -> (batch, made, out). */
static uint32_t answer(const char *name, uint32_t hash) {
    size_t batch = (size_t)word(), frames = (size_t)word(), width = (size_t)word(), made = (size_t)word(),
           out = (size_t)word();
    float *x = (float *)array(), *y = calloc(batch * made * out, sizeof *y);
    struct rnnrt_plan *plan = plan_of(name);
    struct rnnrt_array input = {x, (ptrdiff_t)width, (ptrdiff_t)(frames * width), frames, 1},
                       output = {y, (ptrdiff_t)out, (ptrdiff_t)(made * out), made, 1};
    struct rnnrt_error error = {0};
    if (!y) exit(2);
    check(rnnrt_run(plan, batch, &input, &output, NULL, NULL, 0, NULL, 0, 0, NULL, &error), &error, name);
    if (output.frames != made) exit(1);
    hash = crc32(hash, y, batch * made * out * sizeof *y);
    rnnrt_plan_free(plan);
    free(y);
    return hash;
}

int main(int count, char **words) {
    FILE *file = count > 1 ? fopen(words[1], "rb") : NULL;
    if (count > 2) setenv("RNNRT_ISA", words[2], 1);
    if (!file || fseek(file, 0, SEEK_END)) return 2;
    size_t bytes = (size_t)ftell(file);
    int32_t *all = malloc(bytes);
    rewind(file);
    if (!all || fread(all, 1, bytes, file) != bytes) return 2;
    fclose(file);
    at = all;
    while (at < all + bytes / sizeof *all) {
        const char *name = (const char *)at;
        uint32_t hash = 0;
        at += NAME / sizeof *at;
        for (int32_t samples = word(); samples; samples--) hash = answer(name, hash);
        printf("%s %08x\n", name, hash);
    }
    free(all);
    return 0;
}
