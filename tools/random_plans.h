/* Random rows for plans, mostly sound, now and then with one number gone wrong: the same for the same seed.
 * Made by make_rows, whose plan is NULL where the rows were refused; freed by free_rows. tools/fuzz_plan.c
 * includes it once, after tests/c/checked.h, whose random numbers it draws. */
#ifndef RANDOM_PLANS_H
#define RANDOM_PLANS_H

#include <math.h>

static int chance(int percent) { return below(100) < percent; }

static float *numbers(size_t count) { /* exactly as many as asked for, so that a read beyond is seen */
    float *p = __real_malloc(count ? count * sizeof *p : 1);
    for (size_t i = 0; i < count; i++) p[i] = number();
    return p;
}

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

static struct made_plan *make_rows(int inside);
static struct made_plan *plan_of(struct made_plan *m);

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
    int32_t bins = desc->kind != rnnrt_kind_scan && desc->bins > 1 ? desc->bins : 1;
    return slot > 1 ? (int32_t)((int64_t)bins * desc->units) : desc->output_size;
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
    case rnnrt_kind_conv2d:
        desc->bins = 1 + below(in);
        while (in % desc->bins) desc->bins--;
        desc->groups = chance(40) ? in / desc->bins : 1;
        desc->bin_kernel_size = 1 + below(3), desc->bin_stride = 1 + (chance(40) ? below(4) : 0),
        desc->bin_dilation = 1 + (chance(30) ? below(4) : 0);
        desc->bin_pad_left = desc->bin_pad_right = (desc->bin_kernel_size - 1) * desc->bin_dilation;
        desc->output_size =
            desc->groups * (1 + below(6)) * ((desc->bins + desc->bin_pad_left - 1) / desc->bin_stride + 1);
        desc->kernel_size = 1 + below(4), desc->stride = 1 + (chance(40) ? below(4) : 0),
        desc->dilation = 1 + (chance(30) ? below(4) : 0), desc->same = chance(10);
        desc->pad_left = chance(60) ? below(desc->kernel_size) : 0, desc->pad_right = below(9);
        break;
    case rnnrt_kind_conv_transpose1d:
        desc->pad_left = below(9), desc->pad_right = below(12) - 3;
        /* fall through */
    case rnnrt_kind_conv1d:
        desc->groups = chance(30) ? in : 1;
        desc->output_size = desc->groups * (1 + below(4));
        if (in % 8 == 0 && chance(50)) desc->groups = in / 8, desc->output_size = in; /* groups of eight */
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
        desc->units = desc->output_size = chance(5) ? 40 + below(60) : 1 + below(18); /* some beyond L1 */
        if (desc->kind == rnnrt_kind_lstm && chance(30)) desc->output_size = 1 + below(9);
        desc->reverse = chance(15), desc->reset_after = chance(50), desc->norm = chance(20) ? below(3) : 0;
        for (int i = 1; chance(i == 1 ? 15 : 100) && i <= (desc->kind == rnnrt_kind_lstm ? 2 : 1); i++) {
            if ((desc->input[i] = a_value(m, 0, &width)) < 0) break;
            if (i == 1 && desc->kind != rnnrt_kind_lstm) desc->units = desc->output_size = width;
            desc->inputs = i + 1;
        }
        if (desc->inputs == 1 && chance(20)) {
            desc->bins = 1 + below(in);
            while (in % desc->bins) desc->bins--;
            desc->output_size *= desc->bins;
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
    case rnnrt_kind_pad_circular:
        desc->pad_left = below(5), desc->pad_right = below(5), desc->stride = desc->dilation = 1;
        desc->kernel_size = desc->kind == rnnrt_kind_pad_constant    ? 1
                            : desc->kind == rnnrt_kind_pad_circular  ? 1
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
    case rnnrt_kind_attention:
        for (desc->inputs = 1; desc->inputs < 4; desc->inputs++) {
            int32_t v = a_value(m, timed, &width);
            bool value = desc->inputs == 2, fits = width == (desc->inputs == 3 ? 1 : in) || value;
            if (desc->inputs == 3 && (v < 0 || !fits)) break;
            desc->input[desc->inputs] = v < 0 || (!fits && chance(95)) ? desc->input[0] : v;
            if (value && v >= 0) desc->output_size = width;
        }
        desc->groups = 1 + (chance(30) ? below(3) : 0);
        desc->causal = chance(20), desc->adds = chance(40);
        desc->value = number(), desc->masked_score = chance(60) ? -INFINITY : number();
        desc->recurrent_activation = chance(70) ? (struct rnnrt_function){RNNRT_LINEAR, 0} : any_function();
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
    int32_t *field[] = {&desc->kind,        &desc->inputs,        &desc->input[0],     &desc->input[1],
                        &desc->input_size,  &desc->output_size,   &desc->timed,        &desc->units,
                        &desc->kernel_size, &desc->stride,        &desc->dilation,     &desc->groups,
                        &desc->pad_left,    &desc->pad_right,     &desc->same,         &desc->length,
                        &desc->reverse,     &desc->norm,          &desc->per_step,     &desc->states,
                        &desc->mask,        &desc->masked_output, &desc->bins,         &desc->bin_kernel_size,
                        &desc->bin_stride,  &desc->bin_dilation,  &desc->bin_pad_left, &desc->bin_pad_right,
                        &desc->input[2],    &desc->input[3]};
    int32_t *spoiled = field[below(sizeof field / sizeof *field)];
    if (chance(25)) {
        desc->reverse = !desc->reverse;
        return;
    }
    *spoiled = chance(70) ? odd_number() : below(40);
    if (desc->kernel_size > 1 << 10 || desc->dilation > 1 << 10 || desc->pad_left > 1 << 10 ||
        desc->pad_right > 1 << 10 || desc->bin_kernel_size > 1 << 10 || desc->bin_pad_left > 1 << 10 ||
        desc->bin_pad_right > 1 << 10 || (desc->kind == rnnrt_kind_conv_transpose1d && desc->stride > 1 << 6))
        *spoiled |= 1 << 28; /* sound, but gigabytes: nothing to wait for */
}

static void give_arrays(struct made_plan *m, struct rnnrt_layer_desc *desc) {
    double in = desc->input_size, out = desc->output_size, units = desc->units;
    double gates = desc->kind == rnnrt_kind_lstm ? 4 : desc->kind == rnnrt_kind_gru ? 3 : 1;
    double bins = desc->bins > 1 ? desc->bins : 1;
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
    case rnnrt_kind_conv2d:
        desc->weight = desc->groups > 0 && desc->bins > 0
                           ? array_of(m, out * desc->kernel_size * desc->bin_kernel_size,
                                      (double)(desc->input_size / desc->bins / desc->groups))
                           : NULL;
        desc->bias = chance(70) ? array_of(m, out, 1) : NULL;
        break;
    case rnnrt_kind_rnn:
    case rnnrt_kind_gru:
    case rnnrt_kind_lstm:
        in /= bins, out /= bins;
        desc->weight = array_of(m, gates * units, in),
        desc->recurrent_weight = array_of(m, gates * units, out);
        desc->bias = chance(70) ? array_of(m, gates * units, 1) : NULL;
        desc->recurrent_bias =
            desc->kind == rnnrt_kind_gru && chance(50) ? array_of(m, gates * units, 1) : NULL;
        desc->gamma = chance(50) ? array_of(m, gates * units, 1) : NULL,
        desc->beta = chance(50) ? array_of(m, gates * units, 1) : NULL;
        if (desc->kind == rnnrt_kind_lstm && out != units) desc->projection = array_of(m, out, units);
        break;
    case rnnrt_kind_affine:
    case rnnrt_kind_layer_normalization:
        desc->gamma = array_of(m, in, 1), desc->beta = array_of(m, in, 1);
        desc->mean = chance(50) ? array_of(m, in, 1) : NULL;
        break;
    case rnnrt_kind_attention:
        if (chance(40)) desc->weight = array_of(m, in, 1), desc->bias = chance(50) ? array_of(m, 1, 1) : NULL;
        else desc->activation = (struct rnnrt_function){RNNRT_LINEAR, 0};
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
    if (desc->kind == rnnrt_kind_dense && chance(30)) { /* something is added to it */
        desc->input[1] = a_value(m, timed, &desc->output_size);
        if (desc->input[1] < 0) return;
        desc->inputs = 2;
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

#endif
