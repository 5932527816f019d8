/* A fuzzer of everything behind rnnrt.h: random rows, mostly sound, through every call, whole and in chunks.
 *
 *     fuzz_plan fuzz SEED PLANS
 *         answers agree bit for bit; rows that lie and states that were damaged get a status
 *     fuzz_plan memory SEED PLANS
 *         the same where the first allocation fails, the second, the third, ...
 *
 * PLANS of 1 shows the rows of that seed. tests/c/test_embed.py compiles it with the sanitizers, which see
 * what is read or written beyond. Exit code 0: every check held. */
#include "../tests/c/checked.h"
#include "random_plans.h"

/* ---- random frames through a plan ---- */

struct frames {
    struct rnnrt_array array[MOST_ROWS];
    float *held[MOST_ROWS];
    size_t count;
    int uneven; /* one input has a frame more than the others */
};

enum order { TIME_MAJOR, BATCH_MAJOR, CHANNELS_FIRST, ORDERS };

/* Exactly sized memory: (time, batch, width), (batch, time, width) or (batch, width, time). */
static struct rnnrt_array room_for(size_t frames, size_t batch, size_t width, enum order order, float *held) {
    ptrdiff_t w = (ptrdiff_t)width, n = (ptrdiff_t)frames;
    if (order == TIME_MAJOR) return (struct rnnrt_array){held, w * (ptrdiff_t)batch, w, frames, 1};
    if (order == BATCH_MAJOR) return (struct rnnrt_array){held, w, w * n, frames, 1};
    return (struct rnnrt_array){held, 1, w * n, frames, n};
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
        to->array[to->count++] = room_for(count, batch, width, (enum order)below(ORDERS), p);
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
        to->array[o] = room_for(due[o], batch, width, (enum order)below(ORDERS), to->held[o]);
    }
}

/* What a run or a stream answered, output by output, all frames in a row. */
struct answer {
    float *data[4];
    size_t frames[4];
};

static void collect(const struct made_plan *m, size_t batch, const struct frames *made, struct answer *to) {
    for (size_t o = 0; o < m->outputs; o++) {
        size_t width = width_of(m, m->output[o]), frame = batch * width;
        const struct rnnrt_array *a = &made->array[o];
        to->data[o] = __real_realloc(to->data[o], (to->frames[o] + a->frames + 1) * frame * sizeof(float));
        float *next = to->data[o] + to->frames[o] * frame;
        for (size_t t = 0; t < a->frames; t++)
            for (size_t b = 0; b < batch; b++)
                for (size_t k = 0; k < width; k++)
                    *next++ = a->data[(ptrdiff_t)t * a->time_stride + (ptrdiff_t)b * a->batch_stride +
                                      (ptrdiff_t)k * a->number_stride];
        to->frames[o] += a->frames;
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

enum whose { SHARED, OWNED, LENT };

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

/* A stream that shares, owns or is lent the memory it works in. */
static struct rnnrt_stream *open_stream(const struct made_plan *m, size_t batch, size_t block,
                                        bool every_step, enum whose whose) {
    struct rnnrt_stream *stream = NULL;
    struct rnnrt_error error;
    size_t bytes, before;
    if (whose != LENT) {
        rnnrt_stream_create(&stream, m->plan, batch, block, every_step, whose == OWNED, &error);
        return stream;
    }
    if (rnnrt_stream_size(m->plan, batch, block, &bytes)) return NULL;
    char *memory = __real_aligned_alloc(64, bytes);
    memset(memory, 0xa5, bytes);
    before = allocations;
    if (chance(10))
        CHECK(rnnrt_stream_init(&stream, memory, (size_t)below((int32_t)bytes), m->plan, batch, block,
                                every_step, &error) == RNNRT_NO_MEMORY);
    CHECK(rnnrt_stream_init(&stream, memory, bytes, m->plan, batch, block, every_step, &error) == RNNRT_OK);
    CHECK(allocations == before);
    return stream;
}

static void close_stream(struct rnnrt_stream *stream, enum whose whose) {
    rnnrt_stream_free(stream);
    if (whose == LENT) free(stream); /* it lies at the beginning of what it was lent */
}

static int planned, streamed, answered, apart; /* how much of the fuzzing reached how far */

static void stream_through(const struct made_plan *m, const struct frames *in, size_t frames, size_t batch,
                           bool every_step, const struct answer *whole) {
    struct answer made = {{0}, {0}};
    enum whose whose = (enum whose)below(3);
    size_t block = (size_t)below(5), half = (size_t)below((int32_t)frames + 1), clocks, left = frames;
    size_t none[RNNRT_MAX_CLOCKS] = {0}, at[RNNRT_MAX_CLOCKS] = {0}, chunk[RNNRT_MAX_CLOCKS];
    clocks = rnnrt_plan_clocks(m->plan);
    apart += clocks > 1;
    struct rnnrt_stream *stream = open_stream(m, batch, block, every_step, whose),
                        *twin = open_stream(m, batch, block, every_step, whose);
    if (!stream || !twin) {
        close_stream(stream, whose), close_stream(twin, whose);
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
            struct rnnrt_stream *victim = open_stream(m, batch, block, every_step, whose);
            if (!victim) continue;
            give_once(m, victim, in);
            if (move_state(m->plan, stream, victim, batch, every_step, true) == RNNRT_OK &&
                !push_some(m, victim, in, none, alike(half), 0, batch, NULL))
                push_some(m, victim, in, none, none, 1, batch, NULL);
            close_stream(victim, whose);
        }
        struct rnnrt_stream *swap = stream;
        stream = twin, twin = swap;
    }
    if (!status) status = push_some(m, stream, in, none, none, 1, batch, &made);
    if (!status) CHECK(push_some(m, stream, in, none, none, 0, batch, NULL) == RNNRT_ENDED);
    if (whole)
        CHECK(!status), compare(m, batch, whole, &made); /* what can be answered whole can be streamed */
    free_answer(m, &made);
    close_stream(stream, whose), close_stream(twin, whose);
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
    if (plans < 100) return; /* too few for the shares below */
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
