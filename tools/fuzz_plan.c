/* A fuzzer of everything behind rnnrt.h: random rows, mostly sound, through every call, whole and in chunks.
 *
 *     fuzz_plan fuzz SEED PLANS      answers agree bit for bit, rows that lie and states that were damaged
 * get a status fuzz_plan memory SEED PLANS    the same where the first allocation fails, the second, the
 * third, ...
 *
 * PLANS of 1 shows the rows of that seed. tests/c/test_embed.py compiles it with the sanitizers, which see
 * what is read or written beyond. Exit code 0: every check held. */
#include "../tests/c/checked.h"

static int chance(int percent) { return below(100) < percent; }

static float *numbers(size_t count) { /* exactly as many as asked for, so that a read beyond is seen */
    float *p = __real_malloc(count ? count * sizeof *p : 1);
    for (size_t i = 0; i < count; i++) p[i] = number();
    return p;
}

/* ---- random rows: mostly sound, now and then with one number gone wrong ---- */

enum { MOST_ROWS = 12 };

struct made_plan {
    struct rnnrt_layer_desc desc[MOST_ROWS];
    size_t rows, held;
    float *arrays[MOST_ROWS * 8];
    int32_t *index, *starts;
    int32_t output[8];
    size_t outputs;
    struct made_plan *inside;
    struct rnnrt_plan *plan;
};

static int32_t odd_number(void) {
    static const int32_t numbers_that_bite[] = {
        -1, 0, 1, 2, 3, 7, 64, 1 << 24, (1 << 24) + 1, INT32_MAX, INT32_MIN, 1 << 20};
    return numbers_that_bite[below(sizeof numbers_that_bite / sizeof *numbers_that_bite)];
}

/* An array of rows x columns numbers; NULL where the sizes are beyond reason, which the plan must notice. */
static const float *array_of(struct made_plan *m, double rows, double columns) {
    double count = rows * columns;
    if (!(rows > 0 && columns > 0 && count <= 1 << 16)) return NULL;
    return m->arrays[m->held++] = numbers((size_t)count);
}

static struct rnnrt_function any_function(void) {
    return (struct rnnrt_function){(enum rnnrt_function_name)below(RNNRT_FUNCTIONS), number()};
}

static size_t width_of(const struct made_plan *m, int32_t value);

/* The width of a layer's slot, and whether it runs over time. */
static int32_t slot_width(const struct made_plan *m, const struct rnnrt_layer_desc *desc, size_t slot,
                          int *timed) {
    bool spoiled = desc->states < 0 || !m->inside || (size_t)desc->states >= m->inside->outputs;
    if (desc->kind == rnnrt_kind_scan && desc->inner && !spoiled) {
        size_t states = (size_t)desc->states, answers = m->inside->outputs - states;
        *timed = slot < answers;
        return (int32_t)width_of(m->inside,
                                 m->inside->output[slot < answers ? states + slot : slot - answers]);
    }
    *timed = slot == 0 ? desc->timed : slot == 3;
    return slot > 1 ? desc->units : desc->output_size;
}

/* A value of the rows so far (the latest more often), its width in *width; -1 where there is none of that
 * sort. */
static int32_t a_value(const struct made_plan *m, int timed, int32_t *width) {
    for (int tries = 0; tries < 30; tries++) {
        size_t r = chance(60) ? m->rows - 1 - (size_t)below(m->rows < 3 ? (int32_t)m->rows : 3)
                              : (size_t)below((int32_t)m->rows);
        const struct rnnrt_layer_desc *desc = &m->desc[r];
        int slot =
                rnnrt_layer_slots(desc) > 1 && chance(40) ? 1 + below((int)rnnrt_layer_slots(desc) - 1) : 0,
            over_time;
        *width = slot_width(m, desc, (size_t)slot, &over_time);
        if (over_time != timed) continue;
        if (*width < 1 || *width > 1 << 10) continue; /* a spoiled one */
        return rnnrt_value(m->desc, r, (size_t)slot);
    }
    return -1;
}

/* The layer that makes a value, and its slot there. */
static size_t row_of(const struct made_plan *m, int32_t value, size_t *slot) {
    size_t r = 0;
    for (*slot = (size_t)value; r + 1 < m->rows && *slot >= rnnrt_layer_slots(&m->desc[r]); r++)
        *slot -= rnnrt_layer_slots(&m->desc[r]);
    return r;
}

static size_t width_of(const struct made_plan *m, int32_t value) {
    size_t slot, r = row_of(m, value, &slot);
    int timed;
    return (size_t)slot_width(m, &m->desc[r], slot, &timed);
}

static void choose_sizes(struct made_plan *m, struct rnnrt_layer_desc *desc, int timed) {
    int32_t in = desc->input_size, width;
    desc->output_size = in;
    switch (desc->kind) {
    case rnnrt_kind_dense: desc->output_size = 1 + below(20); break;
    case rnnrt_kind_embedding: desc->output_size = 1 + below(9), desc->length = 1 + below(5); break;
    case rnnrt_kind_select: desc->output_size = 1 + below(9); break;
    case rnnrt_kind_not_equal: desc->output_size = 1, desc->value = chance(50) ? 0 : number(); break;
    case rnnrt_kind_conv_transpose1d:
        desc->pad_left = below(9), desc->pad_right = below(12) - 3;
        /* fall through */
    case rnnrt_kind_conv1d:
        desc->groups = chance(30) ? in : 1;
        desc->output_size = desc->groups * (1 + below(4));
        /* fall through */
    case rnnrt_kind_max_pool1d:
    case rnnrt_kind_average_pool1d:
        desc->kernel_size = 1 + below(4), desc->stride = 1 + (chance(40) ? below(4) : 0),
        desc->dilation = 1 + (chance(30) ? below(4) : 0);
        if (desc->kind == rnnrt_kind_conv_transpose1d) break;
        desc->pad_left = chance(60) ? below(desc->kernel_size) : 0,
        desc->pad_right = chance(40) ? below(desc->kernel_size) : 0;
        if (desc->kind == rnnrt_kind_conv1d && chance(20))
            desc->pad_left = below(9), desc->pad_right = below(9);
        desc->same = chance(10), desc->count_padding = chance(50);
        break;
    case rnnrt_kind_rnn:
    case rnnrt_kind_gru:
    case rnnrt_kind_lstm:
        desc->units = desc->output_size = 1 + below(18);
        if (desc->kind == rnnrt_kind_lstm && chance(30)) desc->output_size = 1 + below(9);
        desc->reverse = chance(15), desc->reset_after = chance(50), desc->norm = chance(20) ? below(3) : 0;
        for (int i = 1; chance(i == 1 ? 15 : 100) && i <= (desc->kind == rnnrt_kind_lstm ? 2 : 1); i++) {
            if ((desc->input[i] = a_value(m, 0, &width)) < 0) break;
            if (i == 1 && desc->kind != rnnrt_kind_lstm) desc->units = desc->output_size = width;
            desc->inputs = i + 1;
        }
        break;
    case rnnrt_kind_flatten:
        desc->length = m->desc[0].length ? m->desc[0].length : 1 + below(9);
        desc->output_size = in * desc->length, desc->timed = 0;
        break;
    case rnnrt_kind_unflatten:
        desc->length = 1 + below(in);
        while (in % desc->length) desc->length--;
        desc->output_size = in / desc->length, desc->timed = 1;
        break;
    case rnnrt_kind_last:
    case rnnrt_kind_global_max_pool:
    case rnnrt_kind_first:
    case rnnrt_kind_global_sum:
    case rnnrt_kind_global_average_pool: desc->timed = 0; break;
    case rnnrt_kind_global_variance: desc->timed = 0, desc->value = chance(50) ? 0 : 0.5f; break;
    case rnnrt_kind_feature_max: desc->output_size = 1; break;
    case rnnrt_kind_expand:
        if ((desc->input[1] = a_value(m, 0, &width)) < 0) break;
        desc->inputs = 2, desc->output_size = width;
        break;
    case rnnrt_kind_crop:
        desc->pad_left = below(5), desc->pad_right = below(5),
        desc->kernel_size = desc->pad_left + desc->pad_right + 1;
        desc->stride = 1 + (chance(40) ? below(4) : 0), desc->dilation = 1;
        break;
    case rnnrt_kind_pad_constant:
    case rnnrt_kind_pad_replicate:
    case rnnrt_kind_pad_reflect:
        desc->pad_left = below(5), desc->pad_right = below(5), desc->stride = desc->dilation = 1;
        desc->kernel_size = desc->kind == rnnrt_kind_pad_constant    ? 1
                            : desc->kind == rnnrt_kind_pad_replicate ? 1 + (desc->pad_right > 0)
                            : 2 * desc->pad_left > desc->pad_right   ? 2 * desc->pad_left + 1
                            : desc->pad_right                        ? desc->pad_right + 2
                                                                     : 1;
        desc->value = number();
        break;
    case rnnrt_kind_divide:
    case rnnrt_kind_greater:
    case rnnrt_kind_greater_equal:
    case rnnrt_kind_equal:
    case rnnrt_kind_where:
        for (desc->inputs = 1; desc->inputs < (desc->kind == rnnrt_kind_where ? 3 : 2); desc->inputs++) {
            int32_t v = a_value(m, timed, &width);
            desc->input[desc->inputs] = v < 0 || (width != in && chance(95)) ? desc->input[0] : v;
        }
        break;
    case rnnrt_kind_concatenate:
    case rnnrt_kind_add:
    case rnnrt_kind_multiply:
    case rnnrt_kind_maximum:
        for (int i = 1; i < 4 && chance(80); i++) {
            int32_t v = a_value(m, timed, &width);
            if (v < 0 || (desc->kind != rnnrt_kind_concatenate && width != in && chance(95))) continue;
            desc->output_size += desc->kind == rnnrt_kind_concatenate ? width : 0;
            desc->input[desc->inputs++] = v;
        }
        break;
    default: break;
    }
}

static void spoil(struct rnnrt_layer_desc *desc) {
    int32_t *field[] = {&desc->kind,        &desc->inputs,       &desc->input[0], &desc->input[1],
                        &desc->input_size,  &desc->output_size,  &desc->timed,    &desc->units,
                        &desc->kernel_size, &desc->stride,       &desc->dilation, &desc->groups,
                        &desc->pad_left,    &desc->pad_right,    &desc->same,     &desc->length,
                        &desc->reverse,     &desc->norm,         &desc->per_step, &desc->states,
                        &desc->mask,        &desc->masked_output};
    int32_t *spoiled = field[below(sizeof field / sizeof *field)];
    if (chance(25)) {
        desc->reverse = !desc->reverse;
        return;
    }
    *spoiled = chance(70) ? odd_number() : below(40);
    if (desc->kernel_size > 1 << 10 || desc->dilation > 1 << 10 || desc->pad_left > 1 << 10 ||
        desc->pad_right > 1 << 10 || (desc->kind == rnnrt_kind_conv_transpose1d && desc->stride > 1 << 6))
        *spoiled |= 1 << 28; /* sound, but gigabytes: nothing to wait for */
}

static struct made_plan *make_rows(int inside);
static void free_rows(struct made_plan *m);

static void give_arrays(struct made_plan *m, struct rnnrt_layer_desc *desc) {
    double in = desc->input_size, out = desc->output_size, units = desc->units;
    double gates = desc->kind == rnnrt_kind_lstm ? 4 : desc->kind == rnnrt_kind_gru ? 3 : 1;
    switch (desc->kind) {
    case rnnrt_kind_dense:
        desc->weight = array_of(m, out, in), desc->bias = chance(70) ? array_of(m, out, 1) : NULL;
        break;
    case rnnrt_kind_embedding: desc->weight = array_of(m, desc->length, out); break;
    case rnnrt_kind_conv1d:
    case rnnrt_kind_conv_transpose1d:
        desc->weight = desc->groups > 0
                           ? array_of(m, out * desc->kernel_size, (double)(desc->input_size / desc->groups))
                           : NULL;
        desc->bias = chance(70) ? array_of(m, out, 1) : NULL;
        break;
    case rnnrt_kind_rnn:
    case rnnrt_kind_gru:
    case rnnrt_kind_lstm:
        desc->weight = array_of(m, gates * units, in),
        desc->recurrent_weight = array_of(m, gates * units, out);
        desc->bias = chance(70) ? array_of(m, gates * units, 1) : NULL;
        desc->recurrent_bias =
            desc->kind == rnnrt_kind_gru && chance(50) ? array_of(m, gates * units, 1) : NULL;
        desc->gamma = chance(50) ? array_of(m, gates * units, 1) : NULL,
        desc->beta = chance(50) ? array_of(m, gates * units, 1) : NULL;
        if (desc->kind == rnnrt_kind_lstm && desc->output_size != desc->units)
            desc->projection = array_of(m, out, units);
        break;
    case rnnrt_kind_affine:
    case rnnrt_kind_layer_normalization:
        desc->gamma = array_of(m, in, 1), desc->beta = array_of(m, in, 1);
        desc->mean = chance(50) ? array_of(m, in, 1) : NULL;
        break;
    case rnnrt_kind_select:
        if (m->index || desc->output_size < 1 || desc->output_size > 1 << 16 || desc->input_size < 1) break;
        desc->index = m->index = __real_malloc((size_t)desc->output_size * sizeof *m->index);
        for (int32_t k = 0; k < desc->output_size; k++)
            m->index[k] = chance(1) ? odd_number() : below(desc->input_size);
        break;
    default: break;
    }
}

static struct made_plan *plan_of(struct made_plan *m);

/* A layer of a step: mostly of what a step may hold. */
static void add_step_row(struct made_plan *m, int32_t output_size) {
    static const int32_t kinds[] = {rnnrt_kind_dense,   rnnrt_kind_activation, rnnrt_kind_affine,
                                    rnnrt_kind_softmax, rnnrt_kind_add,        rnnrt_kind_concatenate,
                                    rnnrt_kind_last};
    struct rnnrt_layer_desc *desc = &m->desc[m->rows];
    *desc = (struct rnnrt_layer_desc){.inputs = 1, .epsilon = 1e-3f, .activation = any_function()};
    desc->kind = output_size ? rnnrt_kind_dense : kinds[below(chance(3) ? 7 : 6)];
    desc->input[0] = a_value(m, 0, &desc->input_size);
    choose_sizes(m, desc, 0);
    if (output_size) desc->output_size = output_size;
    give_arrays(m, desc);
    m->rows++;
}

/* Layer `desc` becomes a scan with a step made for the values it reads: frames of any width, or, where its
 * first input is not timed, none. */
static void make_scan(struct made_plan *m, struct rnnrt_layer_desc *desc, int timed) {
    struct made_plan *step = __real_calloc(1, sizeof *step);
    int32_t states = below(4), width[3], widths = 0, first = timed ? -1 : desc->input[0], given;
    m->starts = __real_malloc(RNNRT_MAX_OUTPUTS * sizeof *m->starts);
    for (int32_t s = 0; s < RNNRT_MAX_OUTPUTS; s++) m->starts[s] = -1;
    desc->per_step = timed ? 1 + chance(30) : 0, desc->states = states, desc->reverse = timed && chance(15);
    desc->length = timed ? 0 : 1 + below(6);
    if (timed) desc->input_size = 0;
    desc->inputs = timed;
    for (int32_t i = 0; i < desc->per_step; i++, step->rows++)
        desc->input_size += step->desc[step->rows].output_size = 1 + below(7);
    for (int32_t s = 0; s < states; s++, step->rows++) {
        given = first >= 0 ? first : chance(30) ? a_value(m, 0, &width[s]) : -1;
        if (given < 0) width[s] = 1 + below(9);
        else width[s] = (int32_t)width_of(m, given), m->starts[s] = desc->inputs;
        if (given >= 0) desc->input[desc->inputs++] = given;
        step->desc[step->rows].output_size = width[s];
        widths += width[s];
        first = -1;
    }
    for (int32_t once = below(3) + (first >= 0); once--; step->rows++) {
        given = first >= 0 ? first : a_value(m, 0, &width[0]);
        if (given < 0) break;
        step->desc[step->rows].output_size = (int32_t)width_of(m, given);
        desc->input[desc->inputs++] = given;
        first = -1;
    }
    for (int32_t k = below(4); k-- && step->rows + (size_t)states < MOST_ROWS;) add_step_row(step, 0);
    for (int32_t s = 0; s < states; s++) {
        add_step_row(step, chance(98) ? step->desc[desc->per_step + s].output_size : 1 + below(9));
        step->output[step->outputs++] = (int32_t)step->rows - 1;
    }
    for (int32_t k = 1 + below(3); k--;) step->output[step->outputs++] = below((int32_t)step->rows);
    m->inside = plan_of(step);
    desc->inner = step->plan;
    desc->index = m->starts;
    desc->start = chance(40) ? array_of(m, widths ? widths : 1, 1) : NULL;
    desc->output_size = (int32_t)width_of(step, step->output[states]);
}

static int consults_mask(const struct rnnrt_layer_desc *desc) {
    return desc->kind == rnnrt_kind_rnn || desc->kind == rnnrt_kind_gru || desc->kind == rnnrt_kind_lstm ||
           desc->kind == rnnrt_kind_global_average_pool || (desc->kind == rnnrt_kind_scan && !desc->length);
}

/* Gives the layer that is to be the next a mask: some number a frame, or whether some frames are zeros. Where
 * it then is. */
static struct rnnrt_layer_desc *give_mask(struct made_plan *m, struct rnnrt_layer_desc *desc) {
    int32_t width, mask = a_value(m, 1, &width);
    if (mask < 0) return desc;
    if (width != 1) {
        struct rnnrt_layer_desc *before = desc++;
        *desc = *before;
        *before = (struct rnnrt_layer_desc){.kind = rnnrt_kind_not_equal,
                                            .inputs = 1,
                                            .input = {mask},
                                            .input_size = width,
                                            .output_size = 1,
                                            .timed = 1};
        mask = rnnrt_value(m->desc, m->rows++, 0);
    }
    desc->mask = mask, desc->masked_output = 1 + below(RNNRT_MASKED_OUTPUTS - 1);
    return desc;
}

/* As many frames of every clock. */
static const size_t *alike(size_t frames) {
    static size_t by_clock[RNNRT_MAX_CLOCKS];
    for (size_t c = 0; c < RNNRT_MAX_CLOCKS; c++) by_clock[c] = frames;
    return by_clock;
}

static void add_row(struct made_plan *m, int inside) {
    struct rnnrt_layer_desc *desc = &m->desc[m->rows];
    int timed = chance(75);
    memset(desc, 0, sizeof *desc);
    desc->stride = desc->dilation = desc->groups = desc->inputs = 1;
    desc->epsilon = 1e-3f;
    desc->activation = any_function(), desc->recurrent_activation = any_function();
    if (chance(40)) desc->activation.name = RNNRT_TANH, desc->recurrent_activation.name = RNNRT_SIGMOID;
    do desc->kind = 1 + below(RNNRT_KINDS - 1);
    while ((desc->kind == rnnrt_kind_time_distributed || desc->kind == rnnrt_kind_scan) &&
           (inside || m->inside || m->rows + 1 >= MOST_ROWS));
    if (!inside && chance(8)) {
        *desc = (struct rnnrt_layer_desc){.kind = rnnrt_kind_input,
                                          .output_size = 1 + below(7),
                                          .timed = chance(30),
                                          .length = m->desc[0].length};
        if (!desc->timed) desc->length = 0;
    } else {
        if (desc->kind == rnnrt_kind_unflatten) timed = 0;
        desc->input[0] = a_value(m, timed, &desc->input_size);
        if (desc->input[0] < 0) desc->input[0] = a_value(m, timed = !timed, &desc->input_size);
        if (desc->input[0] < 0) return;
        desc->timed = timed;
        choose_sizes(m, desc, timed);
    }
    if (desc->kind == rnnrt_kind_scan) {
        struct rnnrt_layer_desc *before = desc; /* frames of the right width */
        if (timed) *++desc = *before;
        make_scan(m, desc, timed);
        desc->timed = 1;
        if (timed) {
            *before = (struct rnnrt_layer_desc){.kind = rnnrt_kind_dense,
                                                .inputs = 1,
                                                .input = {before->input[0]},
                                                .input_size = (int32_t)width_of(m, before->input[0]),
                                                .output_size = desc->input_size,
                                                .timed = 1};
            before->weight = array_of(m, before->output_size, before->input_size);
            desc->input[0] = rnnrt_value(m->desc, m->rows++, 0);
        }
    }
    if (desc->kind == rnnrt_kind_time_distributed) {
        m->inside = make_rows(1);
        desc->inner = m->inside->plan;
        desc->input_size = m->inside->desc[0].output_size * m->inside->desc[0].length;
        desc->output_size = desc->input_size;
        /* frames of the right width, and the width the plan inside makes of them */
        struct rnnrt_layer_desc *before = desc++;
        *desc = *before;
        *before = (struct rnnrt_layer_desc){.kind = rnnrt_kind_dense,
                                            .inputs = 1,
                                            .input = {before->input[0]},
                                            .input_size = 0,
                                            .output_size = desc->input_size,
                                            .timed = timed};
        before->input_size = (int32_t)width_of(m, before->input[0]);
        before->weight = array_of(m, before->output_size, before->input_size);
        desc->input[0] = rnnrt_value(m->desc, m->rows++, 0);
        size_t made =
            desc->inner ? rnnrt_plan_due(desc->inner, 0, alike((size_t)m->inside->desc[0].length), true) : 0;
        desc->output_size = made ? (int32_t)(made * width_of(m->inside, m->inside->output[0])) : 1;
    }
    if (consults_mask(desc) && chance(40) && m->rows + 1 < MOST_ROWS) desc = give_mask(m, desc);
    if (chance(3)) spoil(desc), desc->start = NULL; /* which has numbers for the states there were */
    give_arrays(m, desc);
    m->rows++;
}

static struct made_plan *make_rows(int inside) {
    struct made_plan *m = __real_calloc(1, sizeof *m);
    m->desc[0] = (struct rnnrt_layer_desc){.kind = rnnrt_kind_input,
                                           .output_size = 1 + below(9),
                                           .timed = 1,
                                           .length = inside || chance(20) ? 1 + below(20) : 0};
    m->rows = 1;
    for (size_t most = inside ? 4 : MOST_ROWS - 1, wanted = 1 + (size_t)below((int32_t)most);
         m->rows < wanted + 1 && m->rows < MOST_ROWS - 1;)
        add_row(m, inside);
    m->outputs = inside ? 1 : 1 + (size_t)below(3);
    for (size_t o = 0; o < m->outputs; o++) {
        int32_t width;
        m->output[o] = o ? a_value(m, chance(50), &width) : rnnrt_value(m->desc, m->rows - 1, 0);
        if (m->output[o] < 0) m->output[o] = 0;
    }
    if (chance(1)) m->output[0] = odd_number();
    return plan_of(m);
}

/* Makes the plan of the rows there are. */
static struct made_plan *plan_of(struct made_plan *m) {
    struct rnnrt_error error;
    const char *isa[8];
    size_t isas = rnnrt_isas(isa, 8);
    enum rnnrt_status status = rnnrt_plan_create(&m->plan, m->desc, m->rows, m->output, m->outputs,
                                                 isa[below((int32_t)isas)], NULL, &error);
    CHECK((status == RNNRT_OK) == (m->plan != NULL));
    CHECK(status == RNNRT_OK || (status == RNNRT_BAD_LAYER && error.layer >= 0 && error.text) ||
          status == RNNRT_NO_MEMORY);
    return m;
}

static void free_rows(struct made_plan *m) {
    if (!m) return;
    rnnrt_plan_free(m->plan);
    free_rows(m->inside);
    for (size_t i = 0; i < m->held; i++) free(m->arrays[i]);
    free(m->index);
    free(m->starts);
    free(m);
}

/* ---- random frames through a plan ---- */

struct frames {
    struct rnnrt_array array[MOST_ROWS];
    float *held[MOST_ROWS];
    size_t count;
    int uneven; /* one input has a frame more than the others */
};

/* Exactly sized memory, time-major or batch-major. */
static struct rnnrt_array room_for(size_t frames, size_t batch, size_t width, int time_major, float *held) {
    ptrdiff_t w = (ptrdiff_t)width;
    return (struct rnnrt_array){held, time_major ? w * (ptrdiff_t)batch : w,
                                time_major ? w : w * (ptrdiff_t)frames, frames};
}

static void make_inputs(const struct made_plan *m, size_t frames, size_t batch, struct frames *to) {
    to->count = 0;
    to->uneven = 0;
    for (size_t r = 0; r < m->rows; r++) {
        const struct rnnrt_layer_desc *desc = &m->desc[r];
        if (desc->kind != rnnrt_kind_input) continue;
        int more = desc->timed && chance(3);
        size_t count = !desc->timed ? 1 : frames + (size_t)more, width = (size_t)desc->output_size;
        to->uneven |= more;
        float *p = to->held[to->count] = numbers(count * batch * width);
        for (size_t i = 0; width == 1 && i < count * batch; i++)
            p[i] = chance(1) ? p[i] : (float)below(2); /* ids, mostly */
        to->array[to->count++] = room_for(count, batch, width, chance(50), p);
    }
}

static void free_frames(struct frames *f) {
    for (size_t i = 0; i < f->count; i++) free(f->held[i]);
    f->count = 0;
}

static void make_outputs(const struct made_plan *m, const size_t *due, size_t batch, struct frames *to) {
    to->count = m->outputs;
    for (size_t o = 0; o < m->outputs; o++) {
        size_t width = width_of(m, m->output[o]);
        CHECK(due[o] < 1 << 20);
        to->held[o] = numbers(due[o] * batch * width);
        to->array[o] = room_for(due[o], batch, width, 1, to->held[o]);
    }
}

/* What a run or a stream answered, output by output, all frames in a row. */
struct answer {
    float *data[4];
    size_t frames[4];
};

static void collect(const struct made_plan *m, size_t batch, const struct frames *made, struct answer *to) {
    for (size_t o = 0; o < m->outputs; o++) {
        size_t frame = batch * width_of(m, m->output[o]);
        to->data[o] =
            __real_realloc(to->data[o], (to->frames[o] + made->array[o].frames + 1) * frame * sizeof(float));
        memcpy(to->data[o] + to->frames[o] * frame, made->held[o],
               made->array[o].frames * frame * sizeof(float));
        to->frames[o] += made->array[o].frames;
    }
}

static void free_answer(const struct made_plan *m, struct answer *a) {
    for (size_t o = 0; o < m->outputs; o++) free(a->data[o]);
    memset(a, 0, sizeof *a);
}

static int cancelled;

static int same_number(float a, float b) {
    return a != a ? b != b : !memcmp(&a, &b, sizeof a);
} /* payloads of NaN are not promised */

static void compare(const struct made_plan *m, size_t batch, const struct answer *a, const struct answer *b) {
    for (size_t o = 0; o < m->outputs; o++) {
        CHECK(a->frames[o] == b->frames[o]);
        for (size_t i = 0; i < a->frames[o] * batch * width_of(m, m->output[o]); i++)
            CHECK(same_number(a->data[o][i], b->data[o][i]));
    }
}

/* Asked at every chance, and out of patience after `left` times. */
struct patience {
    struct rnnrt_between between;
    int left;
};

static int ask(void *argument) {
    struct patience *p = argument;
    p->between.asked = -1e30;
    return p->left-- == 0;
}

static int refusal(enum rnnrt_status s) {
    return s == RNNRT_BAD_ID || s == RNNRT_MISALIGNED || s == RNNRT_TOO_SHORT || s == RNNRT_NO_MEMORY ||
           s == RNNRT_WRONG_LENGTH || s == RNNRT_OUT_OF_PHASE;
}

static enum rnnrt_status run_whole(const struct made_plan *m, const struct frames *in, size_t frames,
                                   size_t batch, struct answer *to) {
    struct frames out;
    struct rnnrt_error error;
    struct rnnrt_state_value states[2];
    size_t due[4], given = 0;
    int64_t lengths[8];
    for (size_t o = 0; o < m->outputs; o++) due[o] = rnnrt_plan_due(m->plan, o, alike(frames), true);
    make_outputs(m, due, batch, &out);
    for (size_t r = 1; !to && r < m->rows && given < 2;
         r++) /* states and lengths: only where nothing is compared */
        if (m->desc[r].units && chance(50)) {
            int32_t value = rnnrt_value(m->desc, r, m->desc[r].kind == rnnrt_kind_lstm && chance(50) ? 2 : 1);
            states[given++] = (struct rnnrt_state_value){value, numbers(batch * width_of(m, value))};
        }
    for (size_t b = 0; b < batch; b++) lengths[b] = below((int32_t)frames + 1);
    struct patience p = {{ask, &p, 0, -1e30}, below(30)};
    struct rnnrt_between *between = !to && chance(50) ? &p.between : NULL;
    enum rnnrt_status status =
        rnnrt_run(m->plan, batch, in->array, out.array, !to && chance(50) ? lengths : NULL, states, given,
                  states, given, (size_t)below(5), between, &error);
    if (status == RNNRT_CANCELLED) {
        CHECK(between && p.left == -1);
        cancelled++, status = RNNRT_NO_MEMORY;
    }
    for (size_t i = 0; i < given; i++) free(states[i].data);
    CHECK(status == RNNRT_OK || refusal(status) || in->uneven);
    for (size_t o = 0; o < m->outputs && !status && !in->uneven; o++) CHECK(out.array[o].frames == due[o]);
    if (to && !status) collect(m, batch, &out, to);
    free_frames(&out);
    return status;
}

/* One push (or flush) of frames start .. start + count - 1, by clock, into exactly the room that is due. */
static enum rnnrt_status push_some(const struct made_plan *m, struct rnnrt_stream *stream,
                                   const struct frames *in, const size_t *start, const size_t *count,
                                   int flush, size_t batch, struct answer *to) {
    struct frames out;
    struct rnnrt_array part[MOST_ROWS];
    struct rnnrt_error error;
    size_t due[4], input = 0;
    for (size_t o = 0; o < m->outputs; o++) due[o] = rnnrt_stream_due(stream, o, count, flush);
    make_outputs(m, due, batch, &out);
    for (size_t r = 0; r < m->rows; r++) {
        if (m->desc[r].kind != rnnrt_kind_input) continue;
        int32_t c = rnnrt_plan_clock(m->plan, input);
        part[input] = in->array[input];
        if (c >= 0) part[input].frames = count[c];
        if (c >= 0 && count[c]) part[input].data += (ptrdiff_t)start[c] * part[input].time_stride;
        input++;
    }
    size_t before = allocations;
    struct patience p = {{ask, &p, 0, -1e30}, below(30)};
    struct rnnrt_between *between = !to && chance(50) ? &p.between : NULL;
    enum rnnrt_status status = flush ? rnnrt_stream_flush(stream, out.array, between, &error)
                                     : rnnrt_stream_push(stream, part, out.array, between, &error);
    CHECK(allocations == before);
    if (status == RNNRT_CANCELLED) {
        CHECK(between && p.left == -1);
        CHECK(rnnrt_stream_flush(stream, out.array, NULL, &error) == RNNRT_ENDED);
        cancelled++, status = RNNRT_ENDED;
    }
    CHECK(status == RNNRT_OK || status == RNNRT_ENDED || refusal(status));
    for (size_t o = 0; o < m->outputs && !status; o++) CHECK(out.array[o].frames <= due[o]);
    if (to && !status) collect(m, batch, &out, to);
    free_frames(&out);
    return status;
}

static void give_once(const struct made_plan *m, struct rnnrt_stream *stream, const struct frames *in) {
    for (size_t r = 0, input = 0; r < m->rows; r++)
        if (m->desc[r].kind == rnnrt_kind_input) {
            if (!m->desc[r].timed) rnnrt_stream_set_once(stream, input, in->array[input].data);
            input++;
        }
}

/* The state of every row as named arrays, from one stream into another; now and then with a bit gone wrong.
 */
static enum rnnrt_status move_state(const struct rnnrt_plan *plan, const struct rnnrt_stream *from,
                                    struct rnnrt_stream *to, size_t batch, bool every_step, bool damaged) {
    struct rnnrt_state_array array;
    uint64_t position[RNNRT_MAX_CLOCKS];
    for (size_t c = 0; c < rnnrt_plan_clocks(plan); c++) {
        position[c] = rnnrt_stream_position(from, c);
        if (damaged && chance(20)) position[c] = chance(50) ? draw() : (uint64_t)below(40);
    }
    for (size_t b = 0; b < batch; b++) {
        char *row = rnnrt_stream_row(to, b);
        enum rnnrt_status status = rnnrt_row_seek(plan, row, position, every_step);
        if (status) return status;
        for (size_t k = 0; rnnrt_plan_state_array(plan, k, &array); k++) {
            size_t bytes = array.frames * array.width * (array.wide ? 8 : 4);
            char *numbers = __real_malloc(bytes);
            rnnrt_row_read(plan, rnnrt_stream_row(from, b), k, numbers);
            if (damaged && chance(50)) numbers[draw() % bytes] ^= (char)(1 << below(8));
            rnnrt_row_write(plan, row, k, numbers);
            free(numbers);
        }
    }
    return RNNRT_OK;
}

static int planned, streamed, answered, apart; /* how much of the fuzzing reached how far */

static void stream_through(const struct made_plan *m, const struct frames *in, size_t frames, size_t batch,
                           bool every_step, const struct answer *whole) {
    struct rnnrt_stream *stream = NULL, *twin = NULL;
    struct rnnrt_error error;
    struct answer made = {{0}, {0}};
    bool realtime = chance(30);
    size_t block = (size_t)below(5), half = (size_t)below((int32_t)frames + 1), clocks, left = frames;
    size_t none[RNNRT_MAX_CLOCKS] = {0}, at[RNNRT_MAX_CLOCKS] = {0}, chunk[RNNRT_MAX_CLOCKS];
    clocks = rnnrt_plan_clocks(m->plan);
    apart += clocks > 1;
    if (rnnrt_stream_create(&stream, m->plan, batch, block, every_step, realtime, &error) ||
        rnnrt_stream_create(&twin, m->plan, batch, block, every_step, realtime, &error)) {
        rnnrt_stream_free(stream);
        return;
    }
    enum rnnrt_status status = RNNRT_OK;
    give_once(m, stream, in), give_once(m, twin, in);
    if (chance(30)) { /* one sequence before this one, to be forgotten */
        push_some(m, stream, in, none, alike(half), chance(50), batch, NULL);
        rnnrt_stream_reset(stream);
    }
    while (left && !status) {
        for (size_t c = 0; c < clocks;
             c++) /* each at its own pace, except where answers are joined on the way */
            chunk[c] = every_step && c ? chunk[0] : (size_t)below((int32_t)(frames - at[c]) + 1);
        status = push_some(m, stream, in, at, chunk, 0, batch, &made);
        left = 0;
        for (size_t c = 0; c < clocks; c++) {
            at[c] += chunk[c];
            left += frames - at[c];
            CHECK(status || rnnrt_stream_position(stream, c) == at[c]);
        }
        if (status || !chance(30)) continue;
        CHECK(move_state(m->plan, stream, twin, batch, every_step, false) == RNNRT_OK); /* which goes on */
        for (int i = 0; i < 3; i++) { /* a damaged one is refused, or leads nowhere worse */
            struct rnnrt_stream *victim;
            if (rnnrt_stream_create(&victim, m->plan, batch, block, every_step, realtime, &error)) continue;
            give_once(m, victim, in);
            if (move_state(m->plan, stream, victim, batch, every_step, true) == RNNRT_OK &&
                !push_some(m, victim, in, none, alike(half), 0, batch, NULL))
                push_some(m, victim, in, none, none, 1, batch, NULL);
            rnnrt_stream_free(victim);
        }
        struct rnnrt_stream *swap = stream;
        stream = twin, twin = swap;
    }
    if (!status) status = push_some(m, stream, in, none, none, 1, batch, &made);
    if (!status) CHECK(push_some(m, stream, in, none, none, 0, batch, NULL) == RNNRT_ENDED);
    if (whole)
        CHECK(!status), compare(m, batch, whole, &made); /* what can be answered whole can be streamed */
    free_answer(m, &made);
    rnnrt_stream_free(stream);
    rnnrt_stream_free(twin);
}

static void show_value(const struct made_plan *m, const char *word, int32_t value) {
    size_t slot, r = row_of(m, value, &slot);
    printf("%s %zu:%zu", word, r, slot);
}

/* The rows of a plan, for whoever has to find out what went wrong with it. */
static void show(const struct made_plan *m) {
    static const char *const words[] = {
#define WORD(word) #word,
        RNNRT_LAYERS(WORD)
#undef WORD
    };
    for (size_t r = 0; r < m->rows; r++) {
        const struct rnnrt_layer_desc *desc = &m->desc[r];
        printf("%zu: %s from", r, desc->kind >= 0 && desc->kind < RNNRT_KINDS ? words[desc->kind] : "?");
        for (int32_t i = 0; i < desc->inputs && i < 4; i++) show_value(m, "", desc->input[i]);
        printf(", sizes %d %d, timed %d, units %d, kernel %d stride %d dilation %d pads %d %d same %d, "
               "length %d, reverse %d, mask %d %d\n",
               desc->input_size, desc->output_size, desc->timed, desc->units, desc->kernel_size, desc->stride,
               desc->dilation, desc->pad_left, desc->pad_right, desc->same, desc->length, desc->reverse,
               desc->masked_output, desc->mask);
    }
    for (size_t o = 0; o < m->outputs; o++) show_value(m, "output", m->output[o]), printf("\n");
    if (m->inside) printf("inside:\n"), show(m->inside);
}

static void exercise(const struct made_plan *m) {
    const char *text;
    size_t batch = 1 + (size_t)below(4), frames = (size_t)below(chance(20) ? 130 : 30);
    struct frames in;
    struct answer whole = {{0}, {0}};
    if (m->desc[0].length && chance(90)) frames = (size_t)m->desc[0].length;
    for (size_t r = 0; r < m->rows; r++)
        if (m->desc[r].output_size > 1 << 10 || m->desc[r].length > 1 << 10)
            return; /* sound as well, and as slow */
    planned++;
    make_inputs(m, frames, batch, &in);
    enum rnnrt_status status = run_whole(m, &in, frames, batch, &whole);
    answered += !status;
    run_whole(m, &in, frames, batch, NULL);
    if (rnnrt_plan_obstacle(m->plan, false, &text) < 0) {
        streamed++;
        stream_through(m, &in, frames, batch, false, status || in.uneven || !frames ? NULL : &whole);
        if (rnnrt_plan_obstacle(m->plan, true, &text) < 0) stream_through(m, &in, frames, batch, true, NULL);
    }
    free_answer(m, &whole);
    free_frames(&in);
}

static void fuzz(uint64_t first, uint64_t plans) {
    for (uint64_t s = first; s < first + plans; s++) {
        seed(s);
        struct made_plan *m = make_rows(0);
        if (plans == 1) show(m), fflush(stdout);
        if (m->plan) exercise(m);
        free_rows(m);
    }
    printf(
        "%llu plans: %d made, %d answered, %d streamed, %d of them on several clocks, %d calls cancelled\n",
        (unsigned long long)plans, planned, answered, streamed, apart, cancelled);
    CHECK((uint64_t)apart > plans / 50 && (uint64_t)cancelled > plans / 20 && (uint64_t)planned > plans / 4 &&
          (uint64_t)answered > plans / 8 && (uint64_t)streamed > plans / 10);
}

/* ---- every allocation fails once: NO_MEMORY, nothing leaked (the leak checker sees to that), and all is
 * well afterwards ---- */

static void starve(uint64_t first, uint64_t plans) {
    uint64_t refused = 0;
    for (uint64_t s = first; s < first + plans; s++) {
        seed(s);
        struct made_plan *m = make_rows(0);
        struct rnnrt_error error;
        const char *text;
        for (size_t k = 1; m->plan; k++) {
            struct rnnrt_plan *plan;
            struct rnnrt_stream *stream = NULL;
            allocations = 0, fail_at = k;
            enum rnnrt_status status =
                rnnrt_plan_create(&plan, m->desc, m->rows, m->output, m->outputs, NULL, NULL, &error);
            CHECK(status == RNNRT_OK || (status == RNNRT_NO_MEMORY && !plan));
            if (plan && rnnrt_plan_obstacle(plan, false, &text) < 0) {
                status = rnnrt_stream_create(&stream, plan, 2, 0, false, chance(50), &error);
                CHECK(status == RNNRT_OK || (status == RNNRT_NO_MEMORY && !stream));
            }
            fail_at = 0;
            rnnrt_stream_free(stream);
            if (plan) {
                struct frames in;
                size_t frames = m->desc[0].length ? (size_t)m->desc[0].length : 20, used = allocations;
                make_inputs(m, frames, 2, &in);
                struct rnnrt_plan *kept = m->plan;
                m->plan = plan;
                struct answer one = {{0}, {0}}, two = {{0}, {0}};
                size_t due[4];
                struct frames out;
                for (size_t o = 0; o < m->outputs; o++) due[o] = rnnrt_plan_due(plan, o, alike(frames), true);
                make_outputs(m, due, 2, &out);
                allocations = used, fail_at = k;
                enum rnnrt_status ran =
                    rnnrt_run(plan, 2, in.array, out.array, NULL, NULL, 0, NULL, 0, 0, NULL, &error);
                fail_at = 0;
                CHECK(ran == RNNRT_OK || refusal(ran) || in.uneven);
                status = status ? status : ran;
                if (!run_whole(m, &in, frames, 2, &one) && !run_whole(m, &in, frames, 2, &two))
                    compare(m, 2, &one, &two);
                free_answer(m, &one), free_answer(m, &two), free_frames(&out), free_frames(&in);
                m->plan = kept;
            }
            rnnrt_plan_free(plan);
            refused += status == RNNRT_NO_MEMORY;
            if (status != RNNRT_NO_MEMORY) break;
        }
        free_rows(m);
    }
    printf("%llu plans: %llu allocations refused\n", (unsigned long long)plans, (unsigned long long)refused);
    CHECK(refused > plans);
}

int main(int count, char **words) {
    seed(1);
    if (count == 4 && !strcmp(words[1], "fuzz"))
        fuzz(strtoull(words[2], NULL, 10), strtoull(words[3], NULL, 10));
    else if (count == 4 && !strcmp(words[1], "memory"))
        starve(strtoull(words[2], NULL, 10), strtoull(words[3], NULL, 10));
    else return fprintf(stderr, "usage: fuzz_plan fuzz SEED PLANS | fuzz_plan memory SEED PLANS\n"), 2;
    return 0;
}
