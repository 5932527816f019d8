/* A plan from a .rnnrt file: its lowered table (rnnrt/format/lowered.py says what stands where) and the
 * arrays that the table names. The file may be a stranger's: nothing is read before its place was checked,
 * nothing is allocated beyond a few times the file's own size, and no array serves two layers. The JSON in
 * the file is not read. */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plan.h"

enum {
    TABLE_VERSION = 1,
    TAIL = 16,          /* bytes after the table: its size, its CRC-32, the magic */
    ROW = 64,           /* the table with its tail adds whole rows of so many bytes */
    MOST_LAYERS = 4096, /* of one plan: an op is larger than what the file says of it */
    MOST_IN_ALL = 4 * MOST_LAYERS,
};
static const char magic[8] = "RNNRTLOW";

/* ---- the fields a layer may have ---- */

enum field_type {
    INTEGER = 'i',
    REAL = 'f',
    FUNCTION = 'F',
    WORD = 'w',
    ARRAY = 'a',
    INDEX = 'n',
    PLAN = 'p'
};

static const struct field {
    const char *name;
    enum field_type type;
    size_t offset;
    const char *(*word)(int32_t number);
} known_fields[] = {
#define FIELD(name, type) {#name, type, offsetof(struct rnnrt_layer_desc, name), NULL}
#define WORDS(name, word) {#name, WORD, offsetof(struct rnnrt_layer_desc, name), word}
    FIELD(input_size, INTEGER),
    FIELD(output_size, INTEGER),
    FIELD(timed, INTEGER),
    FIELD(units, INTEGER),
    FIELD(kernel_size, INTEGER),
    FIELD(stride, INTEGER),
    FIELD(dilation, INTEGER),
    FIELD(groups, INTEGER),
    FIELD(pad_left, INTEGER),
    FIELD(pad_right, INTEGER),
    FIELD(bins, INTEGER),
    FIELD(bin_kernel_size, INTEGER),
    FIELD(bin_stride, INTEGER),
    FIELD(bin_dilation, INTEGER),
    FIELD(bin_pad_left, INTEGER),
    FIELD(bin_pad_right, INTEGER),
    FIELD(same, INTEGER),
    FIELD(length, INTEGER),
    FIELD(reverse, INTEGER),
    FIELD(reset_after, INTEGER),
    WORDS(norm, rnnrt_norm_word),
    FIELD(count_padding, INTEGER),
    FIELD(per_step, INTEGER),
    FIELD(states, INTEGER),
    FIELD(unpacked, INTEGER),
    FIELD(causal, INTEGER),
    FIELD(adds, INTEGER),
    WORDS(masked_output, rnnrt_masked_word),
    FIELD(mask, INTEGER),
    FIELD(activation, FUNCTION),
    FIELD(recurrent_activation, FUNCTION),
    FIELD(epsilon, REAL),
    FIELD(value, REAL),
    FIELD(masked_score, REAL),
    FIELD(weight, ARRAY),
    FIELD(recurrent_weight, ARRAY),
    FIELD(bias, ARRAY),
    FIELD(recurrent_bias, ARRAY),
    FIELD(gamma, ARRAY),
    FIELD(beta, ARRAY),
    FIELD(projection, ARRAY),
    FIELD(mean, ARRAY),
    FIELD(start, ARRAY),
    FIELD(index, INDEX),
    FIELD(inner, PLAN),
#undef FIELD
#undef WORDS
};
enum { KNOWN_FIELDS = sizeof known_fields / sizeof *known_fields };
_Static_assert(KNOWN_FIELDS <= 64, "a layer's fields are bits of a word");

/* ---- the words of the table ---- */

struct loader {
    const unsigned char *at; /* words not read yet */
    size_t left;
    const char **strings;
    size_t string_count;
    const struct field **fields; /* by their number in the file */
    size_t field_count;
    struct rnnrt_lent *arrays; /* in the order of the file; one more holds the integers */
    bool *taken;
    size_t array_count;
    int32_t *integers;
    bool *integer_taken;
    size_t integer_count;
    struct rnnrt_plan **plans;
    bool *inside; /* another plan */
    size_t plan_count, layers;
    uint32_t crc[256];
    struct rnnrt_layer_desc *descs; /* of the plan at work */
    const char **names;
    struct rnnrt_allocator memory;
    struct rnnrt_error *error;
};

static uint32_t little(const unsigned char *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t little_long(const unsigned char *p) { return little(p) | (uint64_t)little(p + 4) << 32; }

static enum rnnrt_status refuse(struct rnnrt_error *error, enum rnnrt_status status, const char *text,
                                const char *name) {
    if (!error) return status;
    *error = (struct rnnrt_error){.layer = -1, .text = text};
    for (size_t i = 0; name && name[i] && i + 1 < sizeof error->name; i++) error->name[i] = name[i];
    return status;
}

static enum rnnrt_status broken(struct loader *load, const char *text) {
    return refuse(load->error, RNNRT_BAD_FILE, text, NULL);
}

/* The next word; where there is none, 0 and `left` is past everything. */
static uint32_t word(struct loader *load) {
    if (load->left == 0 || load->left == SIZE_MAX) {
        load->left = SIZE_MAX;
        return 0;
    }
    load->left--;
    load->at += 4;
    return little(load->at - 4);
}

static bool beyond(const struct loader *load) { return load->left == SIZE_MAX; }

/* A number of things of `each` words, which must be there. */
static bool count_of(struct loader *load, size_t each, size_t *count) {
    *count = word(load);
    return !beyond(load) && *count <= load->left / each;
}

static const char *string(struct loader *load) {
    uint32_t number = word(load);
    return number < load->string_count ? load->strings[number] : NULL;
}

static float real(struct loader *load) {
    uint32_t bits = word(load);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static int32_t number_of(const char *(*word_of)(int32_t number), const char *text) {
    for (int32_t number = 0; word_of(number); number++)
        if (!strcmp(word_of(number), text)) return number;
    return -1;
}

/* ---- its lists ---- */

/* The strings, which become the plan's in `text`. */
static enum rnnrt_status read_strings(struct loader *load, char **text) {
    size_t count, bytes = 0;
    if (!count_of(load, 1, &count)) return broken(load, "its table ends early");
    bytes = word(load);
    if (beyond(load) || bytes % 4 || bytes / 4 > load->left || count > bytes)
        return broken(load, "its table ends early");
    *text = rnnrt_take(&load->memory, bytes + 1, 1);
    load->strings = rnnrt_take(&load->memory, count + 1, sizeof *load->strings);
    if (!*text || !load->strings) return RNNRT_NO_MEMORY;
    memcpy(*text, load->at, bytes);
    load->at += bytes, load->left -= bytes / 4;
    char *at = *text, *end = *text + bytes;
    for (size_t k = 0; k < count; k++) {
        char *stop = memchr(at, 0, (size_t)(end - at));
        if (!stop) return broken(load, "its words do not end");
        load->strings[k] = at;
        at = stop + 1;
    }
    load->string_count = count;
    return RNNRT_OK;
}

static enum rnnrt_status read_fields(struct loader *load) {
    if (!count_of(load, 2, &load->field_count)) return broken(load, "its table ends early");
    load->fields = rnnrt_take_zeroed(&load->memory, load->field_count + 1, sizeof *load->fields);
    if (!load->fields) return RNNRT_NO_MEMORY;
    for (size_t k = 0; k < load->field_count; k++) {
        const char *name = string(load);
        uint32_t type = word(load);
        if (!name) return broken(load, "a field has no name");
        for (size_t f = 0; f < KNOWN_FIELDS && !load->fields[k]; f++)
            if (!strcmp(known_fields[f].name, name) && (uint32_t)known_fields[f].type == type)
                load->fields[k] = &known_fields[f];
        if (!load->fields[k])
            return refuse(load->error, RNNRT_NEWER_FILE, "a layer says something that is not known here",
                          name);
    }
    return RNNRT_OK;
}

static void make_crc_table(uint32_t *table) {
    for (uint32_t k = 0; k < 256; k++) {
        table[k] = k;
        for (int bit = 0; bit < 8; bit++) table[k] = table[k] >> 1 ^ (table[k] & 1 ? 0xedb88320u : 0);
    }
}

static uint32_t crc32(const uint32_t *table, const unsigned char *p, size_t count) {
    uint32_t sum = ~(uint32_t)0;
    for (size_t i = 0; i < count; i++) sum = sum >> 8 ^ table[(sum ^ p[i]) & 255];
    return ~sum;
}

/* The arrays, which lie one after the other in `data`, `size` bytes. */
static enum rnnrt_status read_arrays(struct loader *load, const unsigned char *data, size_t size) {
    size_t count, end = 0;
    if (!count_of(load, 5, &count)) return broken(load, "its table ends early");
    load->arrays = rnnrt_take_zeroed(&load->memory, count + 1, sizeof *load->arrays);
    load->taken = rnnrt_take_zeroed(&load->memory, count + 1, sizeof *load->taken);
    if (!load->arrays || !load->taken) return RNNRT_NO_MEMORY;
    for (size_t k = 0; k < count; k++, load->at += 20, load->left -= 5) {
        uint64_t first = little_long(load->at), numbers = little_long(load->at + 8);
        if (first < end || first > size || first % 4 || numbers < 1 || numbers > (size - (size_t)first) / 4)
            return broken(load, "an array is not where the file has room for it");
        const unsigned char *from = data + (size_t)first;
        end = (size_t)first + (size_t)numbers * 4;
        if (crc32(load->crc, from, (size_t)numbers * 4) != little(load->at + 16))
            return broken(load, "the checksum of an array does not fit: the file is damaged, or another "
                                "program has moved its parts");
        load->arrays[k] = (struct rnnrt_lent){from, (size_t)numbers, 0};
    }
    load->array_count = count;
    return RNNRT_OK;
}

static enum rnnrt_status read_integers(struct loader *load) {
    if (!count_of(load, 1, &load->integer_count)) return broken(load, "its table ends early");
    load->integers = rnnrt_take(&load->memory, load->integer_count + 1, sizeof *load->integers);
    load->integer_taken =
        rnnrt_take_zeroed(&load->memory, load->integer_count + 1, sizeof *load->integer_taken);
    if (!load->integers || !load->integer_taken) return RNNRT_NO_MEMORY;
    for (size_t k = 0; k < load->integer_count; k++) load->integers[k] = (int32_t)word(load);
    load->arrays[load->array_count] = (struct rnnrt_lent){load->integers, load->integer_count, 0};
    return RNNRT_OK;
}

static enum rnnrt_status read_facts(struct loader *load, struct rnnrt_fact **facts, size_t *count) {
    if (!count_of(load, 3, count)) return broken(load, "its table ends early");
    *facts = rnnrt_take_zeroed(&load->memory, *count + 1, sizeof **facts);
    if (!*facts) return RNNRT_NO_MEMORY;
    for (size_t k = 0; k < *count; k++) {
        (*facts)[k].name = string(load);
        uint64_t bits = little_long(load->at);
        memcpy(&(*facts)[k].value, &bits, sizeof bits);
        load->at += 8, load->left -= 2;
        if (!(*facts)[k].name) return broken(load, "a fact has no name");
    }
    return RNNRT_OK;
}

/* ---- plans ---- */

/* A value of a field of layer `r` of the plan at work. */
static enum rnnrt_status read_value(struct loader *load, const struct field *field, size_t r) {
    char *to = (char *)&load->descs[r] + field->offset;
    const char *text;
    switch (field->type) {
    case INTEGER: *(int32_t *)(void *)to = (int32_t)word(load); break;
    case REAL: *(float *)(void *)to = real(load); break;
    case WORD:
        text = string(load);
        if (!text) return broken(load, "a word is missing");
        *(int32_t *)(void *)to = number_of(field->word, text);
        if (*(int32_t *)(void *)to < 0)
            return refuse(load->error, RNNRT_NEWER_FILE, "a word is not known here", text);
        break;
    case FUNCTION: {
        struct rnnrt_function *function = (void *)to;
        text = string(load);
        if (!text) return broken(load, "a word is missing");
        int32_t number = number_of(rnnrt_function_word, text);
        if (number < 0) return refuse(load->error, RNNRT_NEWER_FILE, "a function is not known here", text);
        *function = (struct rnnrt_function){(enum rnnrt_function_name)number, real(load)};
        break;
    }
    case ARRAY: {
        uint32_t k = word(load);
        if (k >= load->array_count || load->taken[k])
            return broken(load, "an array is missing, or is another layer's");
        load->taken[k] = true;
        *(const float **)(void *)to = load->arrays[k].from;
        break;
    }
    case INDEX: {
        size_t count = word(load), first = word(load);
        if (first > load->integer_count || count > load->integer_count - first)
            return broken(load, "an index is missing");
        for (size_t k = first; k < first + count; k++) {
            if (load->integer_taken[k]) return broken(load, "an index is another layer's");
            load->integer_taken[k] = true;
        }
        *(const int32_t **)(void *)to = load->integers + first;
        break;
    }
    case PLAN: {
        uint32_t k = word(load);
        if (k >= load->plan_count || load->inside[k])
            return broken(load, "a plan inside is missing, or is another layer's");
        load->inside[k] = true;
        *(const struct rnnrt_plan **)(void *)to = load->plans[k];
        break;
    }
    }
    return RNNRT_OK;
}

static enum rnnrt_status read_layer(struct loader *load, size_t r) {
    struct rnnrt_layer_desc *desc = &load->descs[r];
    uint64_t seen = 0;
    size_t count;
    *desc = (struct rnnrt_layer_desc){.stride = 1, .dilation = 1, .groups = 1, .mask = -1};
    const char *name = load->names[r] = string(load), *kind = string(load);
    if (!name || !kind) return broken(load, "a layer has no name");
    desc->kind = number_of(rnnrt_kind_word, kind);
    if (desc->kind < 0)
        return refuse(load->error, RNNRT_NEWER_FILE, "a kind of layer is not known here", kind);
    if (!count_of(load, 1, &count) || count > RNNRT_MAX_INPUTS)
        return broken(load, "a layer has too many inputs");
    desc->inputs = (int32_t)count;
    for (size_t i = 0; i < count; i++) desc->input[i] = (int32_t)word(load);
    if (!count_of(load, 2, &count)) return broken(load, "its table ends early");
    while (count--) {
        uint32_t k = word(load);
        if (k >= load->field_count) return broken(load, "a layer has a field without a name");
        const struct field *field = load->fields[k];
        uint64_t bit = (uint64_t)1 << (field - known_fields);
        if (seen & bit) return broken(load, "a layer says one thing twice");
        seen |= bit;
        enum rnnrt_status status = read_value(load, field, r);
        if (status) return status;
    }
    return RNNRT_OK;
}

static enum rnnrt_status read_plan(struct loader *load) {
    size_t layers, outputs;
    int32_t output[RNNRT_PLAN_OUTPUTS];
    struct rnnrt_plan *plan = NULL;
    if (!count_of(load, 4, &layers)) return broken(load, "its table ends early");
    load->layers += layers;
    if (!layers || layers > MOST_LAYERS || load->layers > MOST_IN_ALL)
        return broken(load, "it has no layers, or too many");
    load->descs = rnnrt_take_zeroed(&load->memory, layers, sizeof *load->descs);
    load->names = rnnrt_take_zeroed(&load->memory, layers + RNNRT_PLAN_OUTPUTS, sizeof *load->names);
    if (!load->descs || !load->names) return RNNRT_NO_MEMORY;
    for (size_t r = 0; r < layers; r++) {
        enum rnnrt_status status = read_layer(load, r);
        if (status) return status;
    }
    if (!count_of(load, 2, &outputs) || !outputs || outputs > RNNRT_PLAN_OUTPUTS)
        return broken(load, "it has no outputs, or too many");
    for (size_t o = 0; o < outputs; o++) {
        load->names[layers + o] = string(load);
        output[o] = (int32_t)word(load);
        if (!load->names[layers + o]) return broken(load, "an output has no name");
    }
    uint32_t needs_length = word(load);
    if (beyond(load) || needs_length > layers) return broken(load, "its table ends early");
    if (needs_length)
        return refuse(load->error, RNNRT_NEEDS_LENGTH, "its padding depends on how long the input is",
                      load->names[needs_length - 1]);
    enum rnnrt_status status =
        rnnrt_plan_make(&plan, load->descs, layers, output, outputs, NULL, NULL, load->arrays,
                        load->array_count + 1, &load->memory, load->error);
    if (status == RNNRT_BAD_LAYER && load->error && load->error->layer >= 0) {
        int32_t layer = load->error->layer;
        refuse(load->error, status, load->error->text, load->names[layer]);
        load->error->layer = layer;
    }
    if (status) return status;
    load->plans[load->plan_count++] = plan;
    return RNNRT_OK;
}

/* All plans of the table; the last is the network, and the others are inside it. */
static enum rnnrt_status read_plans(struct loader *load) {
    size_t count;
    if (!count_of(load, 4, &count) || !count) return broken(load, "its table ends early");
    load->plans = rnnrt_take_zeroed(&load->memory, count, sizeof *load->plans);
    load->inside = rnnrt_take_zeroed(&load->memory, count, sizeof *load->inside);
    if (!load->plans || !load->inside) return RNNRT_NO_MEMORY;
    while (load->plan_count < count) {
        rnnrt_give(&load->memory, load->descs);
        rnnrt_give(&load->memory, load->names);
        load->descs = NULL, load->names = NULL;
        enum rnnrt_status status = read_plan(load);
        if (status) return status;
    }
    if (load->left) return broken(load, "its table does not end where it says");
    for (size_t k = 0; k + 1 < count; k++)
        if (!load->inside[k]) return broken(load, "a plan belongs to no layer");
    for (size_t k = 0; k <= load->array_count; k++)
        if (load->arrays[k].read != load->arrays[k].count)
            return broken(load, "an array has more numbers than its layer takes");
    return RNNRT_OK;
}

/* ---- the file ---- */

/* The words of the table among the `size` bytes of a file, whose data begins at `data`. */
static enum rnnrt_status find_table(struct loader *load, const unsigned char *file, size_t data,
                                    size_t size) {
    const unsigned char *tail = file + size - TAIL;
    size_t bytes = little(tail);
    if (memcmp(tail + 8, magic, sizeof magic)) return RNNRT_OLD_FILE;
    if (bytes % 4 || bytes > size - data - TAIL) return broken(load, "its table is larger than the file");
    size_t whole = (bytes + TAIL + ROW - 1) / ROW
    *ROW;
    if (whole > size - data) return broken(load, "its table is larger than the file");
    load->at = file + size - whole;
    load->left = bytes / 4;
    if (crc32(load->crc, load->at, bytes) != little(tail + 4))
        return broken(load, "the checksum of its table does not fit: the file is damaged");
    for (const unsigned char *p = load->at + bytes; p < tail; p++)
        if (*p) return broken(load, "there is something after its table");
    return RNNRT_OK;
}

/* Whether the header of a safetensors file says "format": "rnnrt". */
static bool says_rnnrt(const unsigned char *header, size_t size) {
    static const char key[] = "\"format\"", value[] = "\"rnnrt\"";
    for (size_t i = 0; i + sizeof key - 1 <= size; i++) {
        if (memcmp(header + i, key, sizeof key - 1)) continue;
        size_t at = i + sizeof key - 1;
        for (bool colon = false; at < size && (header[at] == ' ' || (header[at] == ':' && !colon)); at++)
            colon |= header[at] == ':';
        if (size - at >= sizeof value - 1 && !memcmp(header + at, value, sizeof value - 1)) return true;
    }
    return false;
}

static enum rnnrt_status read_file(struct loader *load, const unsigned char *file, size_t size,
                                   struct rnnrt_plan **out) {
    uint64_t header = size < 8 ? 0 : little_long(file);
    if (size < 8 + TAIL || header > size - 8 - TAIL || !says_rnnrt(file + 8, (size_t)header))
        return broken(load, "it is not a .rnnrt file, or an incomplete copy of one");
    if (__BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__)
        return refuse(load->error, RNNRT_BAD_FILE, "this machine has another order of bytes", NULL);
    size_t data = 8 + (size_t)header;
    make_crc_table(load->crc);
    enum rnnrt_status status = find_table(load, file, data, size);
    if (status == RNNRT_OLD_FILE)
        return refuse(load->error, status,
                      "an older rnnrt wrote it, without what a host in C needs, or another program rewrote "
                      "it: rnnrt convert old.rnnrt -o new.rnnrt",
                      NULL);
    if (status) return status;
    size_t arrays = (size_t)(load->at - file) - data;
    if (word(load) != TABLE_VERSION)
        return refuse(load->error, RNNRT_NEWER_FILE, "a newer rnnrt wrote it: update rnnrt", NULL);
    char *text = NULL;
    struct rnnrt_fact *facts = NULL;
    size_t fact_count = 0;
    float *copy = NULL;
    if ((uintptr_t)(file + data) % sizeof(float)) { /* floats are read where they lie only if they may be */
        copy = rnnrt_take_lines(&load->memory, arrays);
        if (!copy) return RNNRT_NO_MEMORY;
        memcpy(copy, file + data, arrays);
    }
    status = read_strings(load, &text);
    if (!status) status = read_fields(load);
    if (!status) status = read_arrays(load, copy ? (const unsigned char *)copy : file + data, arrays);
    if (!status) status = read_integers(load);
    if (!status) status = read_facts(load, &facts, &fact_count);
    if (!status) status = read_plans(load);
    rnnrt_give(&load->memory, copy);
    if (status) {
        rnnrt_give(&load->memory, text);
        rnnrt_give(&load->memory, facts);
        return status;
    }
    struct rnnrt_plan *plan = load->plans[--load->plan_count];
    plan->text = text;
    plan->facts = facts;
    plan->fact_count = fact_count;
    plan->names = load->names;
    plan->inside = load->plans;
    plan->inside_count = load->plan_count;
    load->names = NULL, load->plans = NULL, load->plan_count = 0;
    *out = plan;
    return RNNRT_OK;
}

enum rnnrt_status rnnrt_load_memory(struct rnnrt_plan **plan, const void *bytes, size_t size,
                                    struct rnnrt_error *error) {
    return rnnrt_load_memory_with(plan, bytes, size, NULL, error);
}

enum rnnrt_status rnnrt_load_memory_with(struct rnnrt_plan **plan, const void *bytes, size_t size,
                                         const struct rnnrt_allocator *memory, struct rnnrt_error *error) {
    struct loader load = {.error = error};
    if (memory) load.memory = *memory;
    *plan = NULL;
    if (error) *error = (struct rnnrt_error){.layer = -1};
    enum rnnrt_status status = read_file(&load, bytes, size, plan);
    while (load.plan_count) rnnrt_plan_free(load.plans[--load.plan_count]);
    void *const parts[] = {load.plans,  load.inside,       (void *)load.strings, (void *)load.fields,
                           load.arrays, load.taken,        load.integers,        load.integer_taken,
                           load.descs,  (void *)load.names};
    for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) rnnrt_give(&load.memory, parts[k]);
    return status;
}

static enum rnnrt_status unreadable(struct rnnrt_error *error, const char *text, int number) {
    refuse(error, RNNRT_NO_FILE, text, number ? strerror(number) : NULL);
    if (error) error->position = number;
    return RNNRT_NO_FILE;
}

enum rnnrt_status rnnrt_load(struct rnnrt_plan **plan, const char *path, struct rnnrt_error *error) {
    return rnnrt_load_with(plan, path, NULL, error);
}

enum rnnrt_status rnnrt_load_with(struct rnnrt_plan **plan, const char *path,
                                  const struct rnnrt_allocator *memory, struct rnnrt_error *error) {
    static const struct rnnrt_allocator heap;
    struct stat about;
    *plan = NULL;
    if (!memory) memory = &heap;
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe without a writer does not block */
    if (file < 0) return unreadable(error, "the file cannot be opened", errno);
    if (fstat(file, &about) || !S_ISREG(about.st_mode)) {
        close(file);
        return unreadable(error, "it is a folder, a pipe or a device, not a file", 0);
    }
    size_t size = (uint64_t)about.st_size < RNNRT_MOST ? (size_t)about.st_size : RNNRT_MOST, got = 0;
    unsigned char *bytes = rnnrt_take_lines(memory, size);
    ssize_t some = 1;
    while (bytes && got < size && (some > 0 || (some < 0 && errno == EINTR))) {
        some = read(file, bytes + got, size - got);
        if (some > 0) got += (size_t)some;
    }
    int number = some < 0 ? errno : 0;
    close(file);
    enum rnnrt_status status = !bytes       ? refuse(error, RNNRT_NO_MEMORY, NULL, NULL)
                               : got < size ? unreadable(error, "the file cannot be read", number)
                                            : rnnrt_load_memory_with(plan, bytes, size, memory, error);
    rnnrt_give(memory, bytes);
    return status;
}

/* ---- what a plan says about itself ---- */

size_t rnnrt_plan_inputs(const struct rnnrt_plan *plan) { return plan->inputs; }
size_t rnnrt_plan_outputs(const struct rnnrt_plan *plan) { return plan->outputs; }

const char *rnnrt_plan_layer(const struct rnnrt_plan *plan, int32_t layer) {
    return plan->names && layer >= 0 && (size_t)layer < plan->count ? plan->names[layer] : "";
}

bool rnnrt_plan_input(const struct rnnrt_plan *plan, size_t input, struct rnnrt_port *port) {
    for (size_t r = 0, i = 0; r < plan->count; r++) {
        const struct rnnrt_layer_desc *desc = &plan->ops[r].desc;
        if (desc->kind != rnnrt_kind_input || i++ != input) continue;
        *port = (struct rnnrt_port){rnnrt_plan_layer(plan, (int32_t)r), (size_t)desc->output_size,
                                    (size_t)desc->length, desc->timed != 0};
        return true;
    }
    return false;
}

bool rnnrt_plan_output(const struct rnnrt_plan *plan, size_t output, struct rnnrt_port *port) {
    if (output >= plan->outputs) return false;
    const struct rnnrt_value *value = &plan->values[plan->output[output]];
    *port = (struct rnnrt_port){plan->names ? plan->names[plan->count + output] : "", (size_t)value->width, 0,
                                value->timed};
    return true;
}

bool rnnrt_plan_fact(const struct rnnrt_plan *plan, const char *name, double *value) {
    for (size_t k = 0; k < plan->fact_count; k++)
        if (!strcmp(plan->facts[k].name, name)) {
            *value = plan->facts[k].value;
            return true;
        }
    return false;
}
