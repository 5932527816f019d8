/* Layer descriptors -> plan: check, pack, schedule (schedule.c), and place what a batch row keeps. */
#include <string.h>

#include "arena.h"

static const struct rnnrt_layer_class *const layers[] = {
#define RNNRT_LAYER(word) &rnnrt_layer_##word,
    RNNRT_LAYERS(RNNRT_LAYER)
#undef RNNRT_LAYER
};

static enum rnnrt_status bad_layer(struct rnnrt_error *error, size_t layer, const char *text) {
    if (error) *error = (struct rnnrt_error){.layer = (int32_t)layer, .text = text};
    return RNNRT_BAD_LAYER;
}

/* ---- one layer ---- */

size_t rnnrt_layer_slots(const struct rnnrt_layer_desc *desc) {
    if (desc->kind == rnnrt_kind_scan) return desc->inner ? desc->inner->outputs : 1;
    return desc->kind == rnnrt_kind_lstm ? 4 : rnnrt_recurrent(desc->kind) ? 2 : 1;
}

int32_t rnnrt_value(const struct rnnrt_layer_desc *descs, size_t layer, size_t slot) {
    for (size_t r = 0; r < layer; r++) slot += rnnrt_layer_slots(&descs[r]);
    return (int32_t)slot;
}

/* Slots of a scan that are answers of its step. */
static size_t scan_answers(const struct rnnrt_layer_desc *desc) {
    size_t slots = rnnrt_layer_slots(desc);
    return desc->states > 0 && (size_t)desc->states < slots ? slots - (size_t)desc->states : slots;
}

static int32_t slot_width(const struct rnnrt_layer_desc *desc, size_t slot) {
    if (desc->kind == rnnrt_kind_scan && desc->inner) {
        size_t answers = scan_answers(desc), states = desc->inner->outputs - answers;
        return desc->inner->values[desc->inner->output[slot < answers ? states + slot : slot - answers]]
            .width;
    }
    return slot > RNNRT_SLOT_H ? desc->units * (desc->bins > 1 ? desc->bins : 1) : desc->output_size;
}

/* Slot 0 and the inputs run over time, or are given once, as the kind demands. */
static bool time_fits(const struct rnnrt_plan *plan, const struct rnnrt_layer_desc *desc) {
    if (desc->kind == rnnrt_kind_input) return true;
    bool in = plan->values[desc->input[0]].timed, out = desc->timed != 0;
    for (int32_t i = 1; i < desc->inputs; i++)
        if (plan->values[desc->input[i]].timed != (in && !rnnrt_reads_once(desc->kind))) return false;
    if (desc->kind == rnnrt_kind_scan) return in == !desc->length && out;
    switch (layers[desc->kind]->time) {
    case RNNRT_TIME_NEEDED: return in && out;
    case RNNRT_TIME_ENDS: return in && !out;
    case RNNRT_TIME_BEGINS: return !in && out;
    default: return in == out;
    }
}

static bool takes_several(int32_t kind) {
    return kind == rnnrt_kind_dense || kind == rnnrt_kind_concatenate || kind == rnnrt_kind_add ||
           kind == rnnrt_kind_multiply || kind == rnnrt_kind_maximum || kind == rnnrt_kind_divide ||
           kind == rnnrt_kind_greater || kind == rnnrt_kind_greater_equal || kind == rnnrt_kind_equal ||
           kind == rnnrt_kind_where || kind == rnnrt_kind_attention || rnnrt_reads_once(kind);
}

static bool consults_mask(const struct rnnrt_layer_desc *desc) {
    return desc->kind == rnnrt_kind_rnn || desc->kind == rnnrt_kind_gru || desc->kind == rnnrt_kind_lstm ||
           desc->kind == rnnrt_kind_global_average_pool || (desc->kind == rnnrt_kind_scan && !desc->length);
}

static enum rnnrt_status check_mask(struct rnnrt_plan *plan, const struct rnnrt_layer_desc *desc, size_t r,
                                    struct rnnrt_error *error) {
    if (desc->masked_output == RNNRT_UNMASKED)
        return desc->mask > 0 ? bad_layer(error, r, "it has a mask, but not what a masked frame gives")
                              : RNNRT_OK;
    if (desc->masked_output < 0 || desc->masked_output >= RNNRT_MASKED_OUTPUTS)
        return bad_layer(error, r, "what a masked frame gives is unknown");
    if (!consults_mask(desc)) return bad_layer(error, r, "a mask means nothing to it");
    if (desc->inputs >= RNNRT_MAX_INPUTS) return bad_layer(error, r, "it has too many inputs");
    if (desc->mask < 0 || (size_t)desc->mask >= plan->ops[r].value)
        return bad_layer(error, r, "its mask is a value no layer before it makes");
    if (plan->values[desc->mask].width != 1 || !plan->values[desc->mask].timed)
        return bad_layer(error, r, "its mask is not one number a frame");
    plan->values[desc->mask].used = true;
    return RNNRT_OK;
}

/* From here on the mask is an input like any other, the first after the frames. */
static void take_mask(struct rnnrt_op *op) {
    struct rnnrt_layer_desc *desc = &op->desc;
    if (desc->masked_output == RNNRT_UNMASKED) return;
    op->mask = 1;
    memmove(desc->input + 2, desc->input + 1, ((size_t)desc->inputs - 1) * sizeof *desc->input);
    desc->input[op->mask] = desc->mask;
    desc->inputs++, op->counted++, op->joins = true;
}

static enum rnnrt_status check_layer(struct rnnrt_plan *plan, const struct rnnrt_layer_desc *descs, size_t r,
                                     struct rnnrt_error *error) {
    const struct rnnrt_layer_desc *desc = &descs[r];
    if (desc->kind < 0 || desc->kind >= RNNRT_KINDS) return bad_layer(error, r, "its kind is unknown");
    if (desc->inputs < 0 || desc->inputs > RNNRT_MAX_INPUTS)
        return bad_layer(error, r, "it has too many inputs");
    if ((desc->kind == rnnrt_kind_input) != (desc->inputs == 0))
        return bad_layer(error, r, "it has no inputs, or is an input and has some");
    if (desc->output_size < 1 || desc->output_size > 1 << 24)
        return bad_layer(error, r, "its output size is impossible");
    if (desc->kind != rnnrt_kind_input && (desc->input_size < 1 || desc->input_size > 1 << 24))
        return bad_layer(error, r, "its input size is impossible");
    if ((unsigned)desc->activation.name >= RNNRT_FUNCTIONS ||
        (unsigned)desc->recurrent_activation.name >= RNNRT_FUNCTIONS)
        return bad_layer(error, r, "its activation is unknown");
    if (desc->inputs > 1 && !takes_several(desc->kind)) return bad_layer(error, r, "it takes one input");
    if (desc->length < 0) return bad_layer(error, r, "its length is impossible");
    if (desc->reverse && !rnnrt_recurrent(desc->kind)) return bad_layer(error, r, "it cannot run in reverse");
    if (rnnrt_recurrent(desc->kind) &&
        (desc->bins < 0 || desc->bins > (desc->kind == rnnrt_kind_scan ? 1 : 1 << 24) ||
         (desc->bins > 1 && desc->units < 1) || (int64_t)desc->bins * desc->units > 1 << 24))
        return bad_layer(error, r, "its bins are impossible");
    if (desc->unpacked && !rnnrt_recurrent(desc->kind))
        return bad_layer(error, r, "lengths mean nothing to it");
    for (int32_t i = 0; i < desc->inputs; i++) {
        int32_t v = desc->input[i];
        if (v < 0 || (size_t)v >= plan->ops[r].value)
            return bad_layer(error, r, "it reads a value no layer before it makes");
        plan->values[v].used = true;
    }
    if (desc->inputs && plan->values[desc->input[0]].width != desc->input_size)
        return bad_layer(error, r, "its input size is not that of the value it reads");
    if (!time_fits(plan, desc))
        return bad_layer(error, r, "it runs over time where its inputs do not, or the other way round");
    enum rnnrt_status status = check_mask(plan, desc, r, error);
    if (status) return status;
    for (size_t slot = 0; slot < plan->ops[r].slots; slot++)
        plan->values[plan->ops[r].value + slot] = (struct rnnrt_value){
            .op = (int32_t)r,
            .width = slot_width(desc, slot),
            .timed = slot == 0                       ? desc->timed != 0
                     : desc->kind == rnnrt_kind_scan ? slot < scan_answers(desc)
                                                     : slot == RNNRT_SLOT_CELLS,
            .used = slot == 0 &&
                    !rnnrt_recurrent(desc->kind)}; /* recurrent layers alone can do without their slot 0 */
    return RNNRT_OK;
}

/* ---- families ---- */

static bool same_arrays(const struct rnnrt_layer_desc *a, const struct rnnrt_layer_desc *b) {
    return !a->weight == !b->weight && !a->recurrent_weight == !b->recurrent_weight && !a->bias == !b->bias &&
           !a->recurrent_bias == !b->recurrent_bias && !a->gamma == !b->gamma && !a->beta == !b->beta &&
           !a->projection == !b->projection && !a->mean == !b->mean && !a->start == !b->start &&
           (!a->index == !b->index || (a->kind == rnnrt_kind_scan && !a->states)) &&
           a->per_step == b->per_step && a->states == b->states;
}

/* Whether what is packed for the one layer is right for the other. */
static bool same_weights(const struct rnnrt_layer_desc *a, const struct rnnrt_layer_desc *b) {
    return a->kind == b->kind && a->input_size == b->input_size && a->output_size == b->output_size &&
           a->units == b->units && a->groups == b->groups && a->reset_after == b->reset_after &&
           a->norm == b->norm && a->kernel_size == b->kernel_size && a->bins == b->bins &&
           a->bin_kernel_size == b->bin_kernel_size && same_arrays(a, b);
}

/* ---- what a batch row keeps ---- */

static const char beyond[] = "one of its arrays has fewer numbers than its sizes say";

static size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

/* The op of the family that op `r` is, NULL where it is none. */
static const struct rnnrt_op *op_of_family(const struct rnnrt_plan *family, const struct rnnrt_op *op,
                                           size_t r) {
    size_t own = op->desc.like > 0 ? (size_t)op->desc.like - 1 : r;
    return family && op->desc.like >= 0 && own < family->count ? &family->ops[own] : NULL;
}

/* Places what the ops keep in the block of one row: first what is zeroed when a sequence begins. */
static enum rnnrt_status lay_out_row(struct rnnrt_plan *plan, const struct rnnrt_plan *family,
                                     struct rnnrt_error *error) {
    struct rnnrt_kept kept[RNNRT_MOST_KEPT];
    size_t at = plan->clocks * sizeof(uint64_t);
    for (int zeroed = 1; zeroed >= 0; zeroed--) {
        for (size_t r = 0; r < plan->count; r++) {
            struct rnnrt_op *op = &plan->ops[r];
            size_t arrays = op->layer->keeps ? op->layer->keeps(op, kept) : 0;
            if (zeroed) {
                op->record = at;
                for (size_t slot = 0; slot < op->slots; slot++) plan->values[op->value + slot].record = at;
                at += sizeof(struct rnnrt_record);
            }
            if (arrays && op->desc.start && zeroed) {
                enum rnnrt_status status = RNNRT_OK;
                size_t width = 0;
                for (size_t k = 0; k < arrays && !kept[k].own; k++)
                    width += kept[k].wide ? RNNRT_MOST : kept[k].width;
                if (width >= RNNRT_MOST) return bad_layer(error, r, "a sum begins at nothing");
                const struct rnnrt_op *like = op_of_family(family, op, r);
                plan->next_block = like ? like->start_block : SIZE_MAX;
                op->start_block = family ? plan->next_block : plan->weights->count;
                op->start = rnnrt_plan_copy(plan, op->desc.start, width, &status);
                if (plan->beyond) return bad_layer(error, r, beyond);
                if (status) return status;
                plan->starts = true;
            }
            if (arrays && zeroed != op->layer->ring) {
                op->state = at;
                for (size_t k = 0; k < arrays; k++)
                    at += rnnrt_times(rnnrt_times(kept[k].frames, kept[k].width), kept[k].wide ? 8 : 4);
                at = round_up(at, 8);
            }
            if (!zeroed && op->desc.kind == rnnrt_kind_input && !op->desc.timed) {
                plan->once_inputs = true;
                op->state = at;
                at = round_up(at + (size_t)op->desc.output_size * sizeof(float), 8);
            }
            for (int32_t i = 0; op->joins && i < op->desc.inputs; i++) {
                if (!op->lag[i]) continue;
                size_t width = (size_t)plan->values[op->desc.input[i]].width;
                if (zeroed) op->waiting[i] = at, at += 8;
                else op->queue[i] = at, at = round_up(at + rnnrt_times(op->lag[i], width * sizeof(float)), 8);
            }
            if (at >= RNNRT_MOST) return RNNRT_NO_MEMORY;
        }
        if (zeroed) plan->zeroed_bytes = at;
    }
    plan->row_bytes = round_up(at, 16);
    return RNNRT_OK;
}

/* ---- the plan ---- */

enum rnnrt_status rnnrt_plan_create(struct rnnrt_plan **out, const struct rnnrt_layer_desc *descs,
                                    size_t count, const int32_t *outputs, size_t output_count,
                                    const char *isa, const struct rnnrt_plan *family,
                                    struct rnnrt_error *error) {
    return rnnrt_plan_make(out, descs, count, outputs, output_count, isa, family, NULL, 0, NULL, error);
}

enum rnnrt_status rnnrt_plan_make(struct rnnrt_plan **out, const struct rnnrt_layer_desc *descs, size_t count,
                                  const int32_t *outputs, size_t output_count, const char *isa,
                                  const struct rnnrt_plan *family, struct rnnrt_lent *lent, size_t lent_count,
                                  const struct rnnrt_allocator *memory, struct rnnrt_error *error) {
    *out = NULL;
    if (error) *error = (struct rnnrt_error){.layer = -1};
    if (!count || count > 1 << 20 || !output_count || output_count > RNNRT_PLAN_OUTPUTS)
        return bad_layer(error, 0, "there are too few or too many layers or outputs");
    static const struct rnnrt_allocator heap;
    if (!memory) memory = family ? &family->memory : &heap;
    struct rnnrt_plan *plan = rnnrt_take_zeroed(memory, 1, sizeof *plan);
    if (!plan) return RNNRT_NO_MEMORY;
    plan->memory = *memory;
    enum rnnrt_status status = RNNRT_NO_MEMORY;
    plan->kernels = isa && !strcmp(isa, "blas") ? rnnrt_kernels_blas() : rnnrt_kernels_find(isa);
    plan->count = count;
    plan->lent = lent;
    plan->lent_count = lent_count;
    plan->outputs = output_count;
    plan->ops = rnnrt_take_zeroed(memory, count, sizeof *plan->ops);
    plan->value_count = (size_t)rnnrt_value(descs, count, 0);
    plan->values = rnnrt_take_zeroed(memory, plan->value_count, sizeof *plan->values);
    plan->output = rnnrt_take_zeroed(memory, output_count, sizeof *plan->output);
    if (family) {
        plan->weights = family->weights;
        plan->filled = true;
        __atomic_add_fetch(&plan->weights->plans, 1, __ATOMIC_RELAXED);
    } else if ((plan->weights = rnnrt_take_zeroed(memory, 1, sizeof *plan->weights))) {
        plan->weights->plans = 1;
        plan->weights->memory = *memory;
    }
    if (!plan->ops || !plan->values || !plan->output || !plan->weights) goto fail;
    status = RNNRT_NO_ISA;
    if (!plan->kernels) goto fail;
    if (family && family->kernels != plan->kernels) {
        status = bad_layer(error, 0, "the family has another instruction set");
        goto fail;
    }
    for (size_t r = 0; r < count; r++) {
        struct rnnrt_op *op = &plan->ops[r];
        op->value = r ? plan->ops[r - 1].value + plan->ops[r - 1].slots : 0;
        op->slots = rnnrt_layer_slots(&descs[r]);
        if ((status = check_layer(plan, descs, r, error))) goto fail;
        op->desc = descs[r];
        const struct rnnrt_op *like = op_of_family(family, op, r);
        if (family && (like ? !same_weights(&descs[r], &like->desc) : descs[r].like >= 0)) {
            status = bad_layer(error, r, "it is not the layer of its family");
            goto fail;
        }
        plan->next_block = like ? like->block : SIZE_MAX; /* which is no block of any family */
        op->block = family ? plan->next_block : plan->weights->count;
        op->layer = layers[descs[r].kind];
        bool one = rnnrt_reads_once(op->desc.kind) || rnnrt_reads_whole(op->desc.kind);
        op->counted = one && op->desc.inputs ? 1 : op->desc.inputs;
        op->joins = op->counted > 1;
        plan->inputs += op->desc.kind == rnnrt_kind_input;
        const char *text = NULL;
        if (op->layer->prepare && (status = op->layer->prepare(plan, op, &text))) {
            if (plan->misfit) status = bad_layer(error, r, "it is not the layer of its family");
            else if (plan->beyond) status = bad_layer(error, r, beyond);
            else if (status == RNNRT_BAD_LAYER) bad_layer(error, r, text);
            goto fail;
        }
        take_mask(op);
    }
    for (size_t o = 0; o < output_count; o++) {
        int32_t v = outputs[o];
        status = bad_layer(error, count - 1, "an output shows a value no layer makes");
        if (v < 0 || (size_t)v >= plan->value_count) goto fail;
        plan->output[o] = v;
        plan->values[v].used = true;
    }
    plan->input_clock = rnnrt_take_zeroed(memory, plan->inputs + 1, sizeof *plan->input_clock);
    status = plan->input_clock ? rnnrt_schedule(plan) : RNNRT_NO_MEMORY;
    if (status == RNNRT_BAD_LAYER) bad_layer(error, 0, "its inputs are of too many clocks");
    if (status || (status = lay_out_row(plan, family, error))) goto fail;
    plan->lent = NULL;
    if (error) *error = (struct rnnrt_error){.layer = -1};
    *out = plan;
    return RNNRT_OK;
fail:
    rnnrt_plan_free(plan);
    return status;
}

void rnnrt_plan_threads(struct rnnrt_plan *plan, size_t threads) {
    bool had = plan->threads > 1, has = threads > 1;
    plan->threads = threads;
    if (has && !had) rnnrt_pool_hold();
    if (had && !has) rnnrt_pool_let_go();
}

void rnnrt_plan_free(struct rnnrt_plan *plan) {
    if (!plan) return;
    rnnrt_plan_threads(plan, 1);
    for (size_t i = 0; i < RNNRT_IDLE_ARENAS; i++) rnnrt_arena_free(plan->idle[i].arena);
    rnnrt_weights_release(plan->weights);
    struct rnnrt_allocator memory = plan->memory;
    for (size_t k = plan->inside_count; k--;) rnnrt_plan_free(plan->inside[k]);
    void *const parts[] = {plan->ops,    plan->values, plan->output,        plan->input_clock, plan->watches,
                           plan->inside, plan->text,   (void *)plan->names, plan->facts,       plan};
    for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) rnnrt_give(&memory, parts[k]);
}

const char *rnnrt_plan_isa(const struct rnnrt_plan *plan) { return plan->kernels->isa; }
size_t rnnrt_plan_bytes(const struct rnnrt_plan *plan) {
    size_t bytes = plan->weights->bytes;
    for (size_t k = 0; k < plan->inside_count; k++) bytes += plan->inside[k]->weights->bytes;
    return bytes;
}
