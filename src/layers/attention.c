/* Attention: every frame of a sequence, a query, gathers those of another one, which may have a length of its
 * own: y[t] = sum over s of softmax_s(score(q[t], k[s])) v[s].
 *
 * Keys and values of one batch row and head are packed as matrices, so that scores and sums are products like
 * any others; queries go through a few at a time, so that what is held of the scores is linear in the number
 * of keys. A row and a head are done like that one by one: bits depend on neither batch nor threads. */
#include <math.h>
#include <string.h>

#include "../plan.h"

enum {
    QUERIES = 24,
    KEYS = 64
}; /* at a time: some tiles of a product; keys an additive score is summed of */

static size_t head_keys(const struct rnnrt_op *op) { return (size_t)(op->desc.input_size / op->desc.groups); }
static size_t head_values(const struct rnnrt_op *op) {
    return (size_t)(op->desc.output_size / op->desc.groups);
}

static enum rnnrt_status prepare(struct rnnrt_plan *plan, struct rnnrt_op *op, const char **text) {
    const struct rnnrt_layer_desc *desc = &op->desc;
    *text = "attention takes queries, keys and values, and one number a key";
    if (desc->inputs != 3 && desc->inputs != 4) return RNNRT_BAD_LAYER;
    *text = "the sizes of its queries, keys, values or mask do not fit one another";
    if (plan->values[desc->input[1]].width != desc->input_size ||
        plan->values[desc->input[2]].width != desc->output_size ||
        (desc->inputs == 4 && plan->values[desc->input[3]].width != 1))
        return RNNRT_BAD_LAYER;
    *text = "its heads do not divide its sizes";
    if (desc->groups < 1 || desc->input_size % desc->groups || desc->output_size % desc->groups)
        return RNNRT_BAD_LAYER;
    *text = "an additive score has one head, and only it has a bias or a function of sums";
    if (desc->weight ? desc->groups != 1 : desc->bias || desc->activation.name != RNNRT_LINEAR)
        return RNNRT_BAD_LAYER;
    *text = "the score of a masked key is not a number";
    if (isnan(desc->masked_score)) return RNNRT_BAD_LAYER;
    enum rnnrt_status status = RNNRT_OK;
    if (desc->weight)
        op->weight = rnnrt_plan_pack(plan, desc->weight, 1, 1, (size_t)desc->input_size, &status);
    op->bias = rnnrt_plan_copy(plan, desc->bias, 1, &status);
    return status;
}

/* ---- where it works ---- */

/* What it holds of one row and head, `keys` frames: floats, one part after the other. */
struct places {
    size_t gathered, packed_keys, packed_values, scores, sums, ones, all;
};

static size_t up(size_t floats) { return (floats + 15) / 16 * 16; }

static size_t packed(const struct rnnrt_kernels *kernels, size_t outputs, size_t depth) {
    if (rnnrt_times(outputs + 64, depth + 64) >= RNNRT_MOST / 64) return RNNRT_MOST / 16;
    const struct rnnrt_matrix shape = {.dtype = RNNRT_FLOAT32, .outputs = outputs, .depth = depth};
    return up(kernels->packed_bytes(&shape) / sizeof(float) + 1);
}

static struct places places_of(const struct rnnrt_op *op, const struct rnnrt_kernels *kernels, size_t keys) {
    size_t in = head_keys(op), out = head_values(op), at = 0;
    const bool additive = op->weight != NULL;
    struct places p;
    const size_t sizes[] = {
        up(rnnrt_times(keys, rnnrt_larger(in, out))),
        additive ? 0 : packed(kernels, keys, in),
        packed(kernels, out, keys),
        up(rnnrt_times(keys, QUERIES)),
        additive ? up(KEYS * in) : 0,
        additive ? up(in) : 0,
    };
    size_t *const to[] = {&p.gathered, &p.packed_keys, &p.packed_values, &p.scores, &p.sums, &p.ones};
    for (size_t k = 0; k < sizeof to / sizeof *to; k++) {
        *to[k] = at;
        at = sizes[k] >= RNNRT_MOST / 16 || at >= RNNRT_MOST / 16 ? RNNRT_MOST / 16 : at + sizes[k];
    }
    p.all = at + 16;
    return p;
}

static size_t lengthy(const struct rnnrt_op *op, const struct rnnrt_kernels *kernels, const size_t *total) {
    return places_of(op, kernels, total[op->desc.input[1]]).all;
}

/* ---- at work ---- */

struct head {
    const struct rnnrt_op *op;
    const struct rnnrt_invocation *call;
    size_t row, number, keys; /* `number`: of the head */
    struct rnnrt_matrix key_matrix, value_matrix;
    float *gathered, *scores, *sums, *ones;
};

static const float *frame(const struct rnnrt_invocation *call, int input, size_t t, size_t row,
                          size_t width) {
    return call->x[input] + (t * call->batch + row) * width;
}

/* Keys as (keys, size), and values as (size, keys), packed. */
static void pack_head(struct head *h, float *key_room, float *value_room) {
    const struct rnnrt_op *op = h->op;
    size_t in = head_keys(op), out = head_values(op), from = h->number * out;
    for (size_t s = 0; s < h->keys; s++) {
        const float *v = frame(h->call, 2, s, h->row, (size_t)op->desc.output_size) + from;
        for (size_t k = 0; k < out; k++) h->gathered[k * h->keys + s] = v[k];
    }
    h->value_matrix = (struct rnnrt_matrix){.dtype = RNNRT_FLOAT32, .outputs = out, .depth = h->keys};
    h->call->kernels->pack(&h->value_matrix, h->gathered, value_room);
    for (size_t s = 0; s < h->keys; s++)
        memcpy(h->gathered + s * in,
               frame(h->call, 1, s, h->row, (size_t)op->desc.input_size) + h->number * in,
               in * sizeof(float));
    if (op->weight) return;
    h->key_matrix = (struct rnnrt_matrix){.dtype = RNNRT_FLOAT32, .outputs = h->keys, .depth = in};
    h->call->kernels->pack(&h->key_matrix, h->gathered, key_room);
}

static void score_products(const struct head *h, size_t t, size_t count) {
    const struct rnnrt_op *op = h->op;
    size_t in = head_keys(op), width = (size_t)op->desc.input_size;
    const struct rnnrt_product product = {.x = frame(h->call, 0, t, h->row, width) + h->number * in,
                                          .x_stride = h->call->batch * width,
                                          .depth = in,
                                          .rows = count,
                                          .y = h->scores,
                                          .y_stride = h->keys};
    h->call->kernels->product(&h->key_matrix, &product);
    for (size_t i = 0; op->desc.value != 1 && i < count * h->keys; i++) h->scores[i] *= op->desc.value;
}

/* w · f(q + k) + b of every key. */
static void score_sums(const struct head *h, size_t t, size_t count) {
    const struct rnnrt_op *op = h->op;
    const struct rnnrt_kernels *kernels = h->call->kernels;
    size_t in = (size_t)op->desc.input_size;
    for (size_t q = 0; q < count; q++) {
        const float *query = frame(h->call, 0, t + q, h->row, in);
        for (size_t s = 0, n; s < h->keys; s += n) {
            n = rnnrt_smaller(KEYS, h->keys - s);
            kernels->affine(in, n, NULL, h->ones, query, h->gathered + s * in, h->sums);
            kernels->activate(op->desc.activation, n * in, h->sums, h->sums);
            const struct rnnrt_product product = {.x = h->sums,
                                                  .x_stride = in,
                                                  .depth = in,
                                                  .rows = n,
                                                  .y = h->scores + q * h->keys + s,
                                                  .y_stride = 1,
                                                  .bias = op->bias};
            kernels->product(op->weight, &product);
        }
    }
}

static void mask_scores(const struct head *h, size_t t, size_t count) {
    const struct rnnrt_layer_desc *desc = &h->op->desc;
    for (size_t s = 0; desc->inputs == 4 && s < h->keys; s++) {
        float beside = h->call->x[3][s * h->call->batch + h->row];
        if (!desc->adds && beside != 0) continue;
        for (size_t q = 0; q < count; q++) {
            float *score = &h->scores[q * h->keys + s];
            *score = desc->adds ? *score + beside : desc->masked_score;
        }
    }
    for (size_t q = 0; desc->causal && q < count; q++)
        for (size_t s = t + q + 1; s < h->keys; s++) h->scores[q * h->keys + s] = desc->masked_score;
}

static enum rnnrt_status run_head(struct head *h) {
    const struct rnnrt_op *op = h->op;
    const struct rnnrt_invocation *call = h->call;
    size_t out = head_values(op), width = (size_t)op->desc.output_size;
    double work = (double)h->keys * (double)(head_keys(op) * (op->weight ? 8 : 1) + out + 8);
    for (size_t t = 0, count; t < call->frames; t += count) {
        count = rnnrt_smaller(QUERIES, call->frames - t);
        if (op->weight) score_sums(h, t, count);
        else score_products(h, t, count);
        if (op->desc.recurrent_activation.name != RNNRT_LINEAR)
            call->kernels->activate(op->desc.recurrent_activation, count * h->keys, h->scores, h->scores);
        mask_scores(h, t, count);
        call->kernels->softmax(false, h->keys, count, h->scores, h->scores);
        const struct rnnrt_product product = {.x = h->scores,
                                              .x_stride = h->keys,
                                              .depth = h->keys,
                                              .rows = count,
                                              .y = call->y[0] + (t * call->batch + h->row) * width +
                                                   h->number * out,
                                              .y_stride = call->batch * width};
        call->kernels->product(&h->value_matrix, &product);
        if (rnnrt_worked(call->pulse, work * (double)count)) return RNNRT_CANCELLED;
    }
    return RNNRT_OK;
}

static enum rnnrt_status run(const struct rnnrt_op *op, struct rnnrt_invocation *call) {
    size_t keys = call->ready[1], in = head_keys(op);
    for (int32_t i = 2; i < op->desc.inputs; i++)
        if (call->ready[i] != keys) return RNNRT_MISALIGNED;
    const struct places p = places_of(op, call->kernels, keys);
    struct head h = {.op = op, .call = call, .keys = keys};
    h.gathered = call->scratch + p.gathered, h.scores = call->scratch + p.scores;
    h.sums = call->scratch + p.sums, h.ones = call->scratch + p.ones;
    for (size_t k = 0; op->weight && k < in; k++) h.ones[k] = 1.0f;
    for (h.row = 0; h.row < call->batch; h.row++)
        for (h.number = 0; h.number < (size_t)op->desc.groups; h.number++) {
            pack_head(&h, call->scratch + p.packed_keys, call->scratch + p.packed_values);
            enum rnnrt_status status = run_head(&h);
            if (status) return status;
        }
    call->made[0] = call->frames;
    return RNNRT_OK;
}

/* As if there were so many keys: how many there are is not known before a call. */
static double work(const struct rnnrt_op *op) {
    return KEYS * ((double)op->desc.input_size * (op->weight ? 8 : 1) + (double)op->desc.output_size);
}

const struct rnnrt_layer_class rnnrt_layer_attention = {.time = RNNRT_TIME_NEEDED,
                                                        .prepare = prepare,
                                                        .lengthy = lengthy,
                                                        .run = run,
                                                        .work = work,
                                                        .asks = true};
