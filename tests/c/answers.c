/* Whole plans without Python: reads the plans and samples that tests/support/plans.py wrote and prints the
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

static float number(void) {
    float value;
    memcpy(&value, at++, sizeof value);
    return value;
}

/* An array with its length before it; NULL where that is -1. */
static const void *array(void) {
    int32_t count = word();
    const void *found = count < 0 ? NULL : at;
    at += count < 0 ? 0 : count;
    return found;
}

static struct rnnrt_function function(void) {
    int32_t name = word();
    return (struct rnnrt_function){(enum rnnrt_function_name)name, number()};
}

static void check(enum rnnrt_status status, const struct rnnrt_error *error, const char *what) {
    if (!status) return;
    fprintf(stderr, "%s: status %d, row %d, %s\n", what, status, error->layer,
            error->text ? error->text : "-");
    exit(1);
}

/* Plans inside are left to the end of the process. */
static struct rnnrt_plan *plan_of(const char *isa, const char *name) {
    size_t count = (size_t)word();
    struct rnnrt_layer_desc *rows = calloc(count, sizeof *rows);
    if (!rows) exit(2);
    for (size_t r = 0; r < count; r++) {
        struct rnnrt_layer_desc *desc = &rows[r];
        desc->kind = word();
        desc->inputs = word();
        for (int32_t i = 0; i < desc->inputs; i++) desc->input[i] = word();
        int32_t *const sizes[] = {
            &desc->input_size,  &desc->output_size, &desc->timed,    &desc->units,
            &desc->kernel_size, &desc->stride,      &desc->dilation, &desc->groups,
            &desc->pad_left,    &desc->pad_right,   &desc->same,     &desc->length,
            &desc->reverse,     &desc->reset_after, &desc->norm,     &desc->count_padding,
            &desc->per_step,    &desc->states,      &desc->mask,     &desc->masked_output};
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) *sizes[i] = word();
        desc->activation = function();
        desc->recurrent_activation = function();
        desc->epsilon = number();
        desc->value = number();
        const float **const arrays[] = {
            &desc->weight, &desc->recurrent_weight, &desc->bias, &desc->recurrent_bias, &desc->gamma,
            &desc->beta,   &desc->projection,       &desc->mean, &desc->start};
        for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) *arrays[i] = array();
        desc->index = array();
        if (word()) desc->inner = plan_of(isa, name);
    }
    size_t outputs = (size_t)word();
    int32_t output[RNNRT_PLAN_OUTPUTS];
    for (size_t o = 0; o < outputs; o++) output[o] = word();
    struct rnnrt_plan *plan;
    struct rnnrt_error error = {0};
    check(rnnrt_plan_create(&plan, rows, count, output, outputs, isa, NULL, &error), &error, name);
    free(rows);
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
static uint32_t answer(const char *isa, const char *name, uint32_t hash) {
    size_t batch = (size_t)word(), frames = (size_t)word(), width = (size_t)word(), made = (size_t)word(),
           out = (size_t)word();
    float *x = (float *)array(), *y = calloc(batch * made * out, sizeof *y);
    struct rnnrt_plan *plan = plan_of(isa, name);
    struct rnnrt_array input = {x, (ptrdiff_t)width, (ptrdiff_t)(frames * width), frames},
                       output = {y, (ptrdiff_t)out, (ptrdiff_t)(made * out), made};
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
    const char *isa = count > 2 ? words[2] : NULL;
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
        for (int32_t samples = word(); samples; samples--) hash = answer(isa, name, hash);
        printf("%s %08x\n", name, hash);
    }
    free(all);
    return 0;
}
