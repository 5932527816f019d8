/* What a program of real time asks of streams, of every .rnnrt file named.
 *
 *     realtime calls PLANT FILE...
 *         after start-up the process may do nothing but write and exit (seccomp); calls of the allocator, of
 *         locks and of clocks are counted; the caller's floating-point mode is another one at every call.
 *         Streams that own their memory (`realtime`) and those in the caller's are stepped, pushed, flushed
 *         and reset, and have the bits they have in the usual mode. In silence after noise nothing they
 *         answer or keep is denormal, and denormal frames count as silence.
 *     realtime pages PLANT FILE...
 *         the first step of a stream meets no page of memory for the first time.
 *     realtime count PLANT FILE...
 *         a process that is stepped through one instruction at a time: a first step takes no more of them
 *         than later ones, and silence no more than noise.
 *
 * PLANT is "none", or what is done wrong on purpose inside a call: malloc, free, lock, getpid, mode, answer,
 * denormal, page, work. Exit code 0: every check held; 77: this machine has no seccomp, or no ptrace.
 * tests/c/test_realtime.py links it with the library of the package, and compiles it with clang's
 * RealtimeSanitizer (-DSANITIZED), which then does the watching of `calls` itself. */
#include "watched.h"

#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "rnnrt.h"

enum { FRAMES = 48, SILENT = 1600, MOST = 64 };

/* ---- a network and all it needs, made before anything is watched ---- */

struct network {
    struct rnnrt_plan *plan;
    size_t inputs, outputs, clocks, frames[RNNRT_MAX_CLOCKS], longest;
    size_t in_width[MOST], out_width[MOST], room[MOST]; /* room: frames of an output */
    int32_t clock[MOST];
    bool fixed, steps; /* steps: rnnrt_stream_step will do */
};

struct feed { /* frames of every input: of noise, silence, or denormal numbers */
    float *data[MOST];
};

struct heard { /* what a stream answered */
    float *data[MOST];
    size_t frames[MOST];
};

static void *taken(size_t bytes) {
    void *p = calloc(bytes + 64, 1);
    CHECK(p);
    return p;
}

static uint64_t random_state = 88172645463325252ull;
static uint64_t draw(void) {
    random_state ^= random_state << 13, random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

/* NULL where the network does not stream. */
static struct network *load(const char *path) {
    struct network *n = taken(sizeof *n);
    struct rnnrt_error error;
    struct rnnrt_port port;
    const char *text;
    CHECK(!rnnrt_load(&n->plan, path, &error));
    if (rnnrt_plan_obstacle(n->plan, false, &text) >= 0) return NULL;
    n->inputs = rnnrt_plan_inputs(n->plan), n->outputs = rnnrt_plan_outputs(n->plan);
    n->clocks = rnnrt_plan_clocks(n->plan);
    CHECK(n->inputs <= MOST && n->outputs <= MOST);
    for (size_t c = 0; c < n->clocks; c++) n->frames[c] = FRAMES;
    for (size_t i = 0; i < n->inputs; i++) {
        rnnrt_plan_input(n->plan, i, &port);
        n->in_width[i] = port.width, n->clock[i] = rnnrt_plan_clock(n->plan, i);
        if (n->clock[i] >= 0 && port.length) n->frames[n->clock[i]] = port.length, n->fixed = true;
    }
    for (size_t c = 0; c < n->clocks; c++) n->longest = n->frames[c] > n->longest ? n->frames[c] : n->longest;
    for (size_t o = 0; o < n->outputs; o++) {
        rnnrt_plan_output(n->plan, o, &port);
        n->out_width[o] = port.width;
        n->room[o] = rnnrt_plan_due(n->plan, o, n->frames, true) + n->longest + 16;
    }
    n->steps = n->inputs == 1 && n->outputs == 1;
    return n;
}

static struct feed feed_of(const struct network *n, size_t batch, char kind) {
    struct feed feed = {{NULL}};
    for (size_t i = 0; i < n->inputs; i++) {
        size_t count = (n->clock[i] < 0 ? 1 : n->longest) * batch * n->in_width[i];
        feed.data[i] = taken(count * sizeof(float));
        for (size_t k = 0; k < count && kind != 's'; k++) /* one number may be an id, or a mask */
            feed.data[i][k] = n->in_width[i] == 1 ? kind == 'd' ? 0 : (float)((draw() >> 33) % 3)
                              : kind == 'd'       ? 1e-40f
                                                  : (float)((draw() >> 33) % 2001) / 1000.f - 1;
    }
    return feed;
}

static struct heard heard_of(const struct network *n, size_t batch) {
    struct heard heard = {{NULL}, {0}};
    for (size_t o = 0; o < n->outputs; o++)
        heard.data[o] = taken(n->room[o] * batch * n->out_width[o] * sizeof(float));
    return heard;
}

static void give_once(const struct network *n, struct rnnrt_stream *stream, const struct feed *feed) {
    for (size_t i = 0; i < n->inputs; i++)
        if (n->clock[i] < 0) rnnrt_stream_set_once(stream, i, feed->data[i]);
}

/* Frames `from` .. `to` - 1 of the feed (fewer of clocks that have fewer), `chunk` at a time. */
static void push(const struct network *n, struct rnnrt_stream *stream, size_t batch, const struct feed *feed,
                 size_t from, size_t to, size_t chunk, struct heard *heard) {
    struct rnnrt_array in[MOST], out[MOST];
    struct rnnrt_error error;
    for (size_t t = from; t < to; t += chunk) {
        size_t counts[RNNRT_MAX_CLOCKS];
        for (size_t c = 0; c < n->clocks; c++) {
            size_t end = t + chunk < to ? t + chunk : to;
            end = end < n->frames[c] ? end : n->frames[c];
            counts[c] = end > t ? end - t : 0;
        }
        for (size_t i = 0; i < n->inputs; i++) {
            size_t width = n->in_width[i];
            in[i] = (struct rnnrt_array){feed->data[i], (ptrdiff_t)(width * batch), (ptrdiff_t)width,
                                         n->clock[i] < 0 ? 0 : counts[n->clock[i]], 1};
            if (n->clock[i] >= 0 && counts[n->clock[i]]) in[i].data += t * width * batch;
        }
        for (size_t o = 0; o < n->outputs; o++) {
            size_t width = n->out_width[o], done = heard->frames[o];
            CHECK(done <= n->room[o]);
            out[o] = (struct rnnrt_array){heard->data[o] + done * width * batch, (ptrdiff_t)(width * batch),
                                          (ptrdiff_t)width, n->room[o] - done, 1};
        }
        if (chunk == 1 && n->steps && rnnrt_stream_due(stream, 0, counts, false) <= 1) {
            int made = 0;
            WATCHED(made = rnnrt_stream_step(stream, in->data, out->data, &error));
            CHECK(made >= 0);
            heard->frames[0] += (size_t)made;
        } else {
            enum rnnrt_status status = RNNRT_OK;
            WATCHED(status = rnnrt_stream_push(stream, in, out, NULL, &error));
            CHECK(!status);
            for (size_t o = 0; o < n->outputs; o++) heard->frames[o] += out[o].frames;
        }
    }
}

static void flush(const struct network *n, struct rnnrt_stream *stream, size_t batch, struct heard *heard) {
    struct rnnrt_array out[MOST];
    struct rnnrt_error error;
    for (size_t o = 0; o < n->outputs; o++) {
        size_t width = n->out_width[o], done = heard->frames[o];
        out[o] = (struct rnnrt_array){heard->data[o] + done * width * batch, (ptrdiff_t)(width * batch),
                                      (ptrdiff_t)width, n->room[o] - done, 1};
    }
    enum rnnrt_status status = RNNRT_OK;
    WATCHED(status = rnnrt_stream_flush(stream, out, NULL, &error));
    CHECK(!status);
    for (size_t o = 0; o < n->outputs; o++) heard->frames[o] += out[o].frames;
}

static void begin(struct heard *heard) { memset(heard->frames, 0, sizeof heard->frames); }

/* ---- calls ---- */

struct kept { /* a stream, and what it answered in the usual mode */
    struct rnnrt_stream *stream;
    size_t batch;
    bool every_step;
    struct feed noise;
    struct heard first, again;
};

static struct kept kept_of(const struct network *n, size_t batch, bool every_step, bool own) {
    struct kept k = {.batch = batch, .every_step = every_step};
    struct rnnrt_error error;
    if (own) CHECK(!rnnrt_stream_create(&k.stream, n->plan, batch, 0, every_step, true, &error));
    else {
        size_t bytes;
        void *memory = NULL;
        CHECK(!rnnrt_stream_size(n->plan, batch, 0, &bytes) && !posix_memalign(&memory, 64, bytes));
        CHECK(!rnnrt_stream_init(&k.stream, memory, bytes, n->plan, batch, 0, every_step, &error));
    }
    k.noise = feed_of(n, batch, 'n');
    give_once(n, k.stream, &k.noise);
    k.first = heard_of(n, batch), k.again = heard_of(n, batch);
    return k;
}

static void sequence(const struct network *n, struct kept *k, size_t chunk, struct heard *heard) {
    begin(heard);
    WATCHED(rnnrt_stream_reset(k->stream));
    push(n, k->stream, k->batch, &k->noise, 0, n->longest, chunk, heard);
    flush(n, k->stream, k->batch, heard);
}

/* In every mode, and in chunks of other lengths, the bits of the usual one. */
static void same_in_every_mode(const struct network *n, struct kept *k) {
    static const size_t chunks[] = {1, 1, 5, 13, FRAMES};
    for (size_t c = 0; c < sizeof chunks / sizeof *chunks; c++) {
        struct heard *heard = c ? &k->again : &k->first;
        usual = !c;
        sequence(n, k, chunks[c], heard);
        for (size_t o = 0; o < n->outputs && c; o++) {
            size_t bytes = heard->frames[o] * k->batch * n->out_width[o] * sizeof(float);
            if (!strcmp(plant, "answer") && bytes) ((char *)heard->data[o])[0] ^= 1;
            CHECK(heard->frames[o] == k->first.frames[o] && !memcmp(heard->data[o], k->first.data[o], bytes));
        }
    }
    bool finite = false;
    WATCHED(rnnrt_stream_reset_row(k->stream, k->batch - 1));
    WATCHED(finite = rnnrt_row_finite(n->plan, rnnrt_stream_row(k->stream, 0)));
    (void)finite;
}

static int32_t bits_of(float x) {
    int32_t bits;
    return memcpy(&bits, &x, sizeof bits), bits & 0x7fffffff;
}

static size_t denormal(const float *x, size_t count) {
    size_t found = 0;
    for (size_t k = 0; k < count; k++) found += bits_of(x[k]) && bits_of(x[k]) < 0x800000;
    return found;
}

static size_t denormal_wide(const double *x, size_t count) {
    size_t found = 0;
    for (size_t k = 0; k < count; k++) {
        uint64_t bits;
        memcpy(&bits, &x[k], sizeof bits);
        found += bits << 1 && !(bits << 1 >> 53);
    }
    return found;
}

static int faded; /* states seen on their way to nothing */

static void keeps_no_denormals(const struct network *n, const struct kept *k, void *numbers) {
    struct rnnrt_state_array array;
    for (size_t b = 0; b < k->batch; b++)
        for (size_t a = 0; rnnrt_plan_state_array(n->plan, a, &array); a++) {
            size_t count = array.frames * array.width;
            rnnrt_row_read(n->plan, rnnrt_stream_row(k->stream, b), a, numbers);
            CHECK(!(array.wide ? denormal_wide(numbers, count) : denormal(numbers, count)));
            for (size_t i = 0; i < count && !array.wide; i++) {
                int32_t bits = bits_of(((float *)numbers)[i]);
                faded += bits >= 0x800000 && bits < 0x0d000000; /* below 4e-31 */
            }
        }
}

/* In silence after noise; then frames of denormal numbers are as good as none. */
static void silence(const struct network *n, struct kept *k, struct kept *other, const struct feed *none,
                    const struct feed *tiny, void *numbers) {
    begin(&k->again);
    WATCHED(rnnrt_stream_reset(k->stream));
    push(n, k->stream, k->batch, &k->noise, 0, FRAMES, 5, &k->again);
    for (size_t t = 0; t < SILENT; t += FRAMES) {
        begin(&k->again);
        push(n, k->stream, k->batch, none, 0, FRAMES, 1 + t / FRAMES % 7, &k->again);
        for (size_t o = 0; o < n->outputs; o++) {
            if (!strcmp(plant, "denormal")) k->again.data[o][0] = 1e-40f;
            CHECK(!denormal(k->again.data[o], k->again.frames[o] * k->batch * n->out_width[o]));
        }
        keeps_no_denormals(n, k, numbers);
    }
    WATCHED(rnnrt_stream_reset(other->stream));
    for (size_t b = 0; b < k->batch; b++)
        rnnrt_row_copy(n->plan, rnnrt_stream_row(other->stream, b), rnnrt_stream_row(k->stream, b));
    begin(&k->again), begin(&other->again);
    push(n, k->stream, k->batch, none, 0, FRAMES, 3, &k->again);
    push(n, other->stream, k->batch, tiny, 0, FRAMES, 3, &other->again);
    for (size_t o = 0; o < n->outputs; o++) {
        CHECK(k->again.frames[o] == other->again.frames[o]);
        for (size_t i = 0; i < k->again.frames[o] * k->batch * n->out_width[o]; i++) {
            float a = k->again.data[o][i], b = other->again.data[o][i];
            CHECK(bits_of(a) == bits_of(b) || (!bits_of(a) && denormal(&b, 1))); /* it may be copied */
        }
    }
}

static int calls_of(const char *path) {
    struct network *n = load(path);
    if (!n) return 0;
    const char *text;
    bool every = n->clocks == 1 && rnnrt_plan_obstacle(n->plan, true, &text) < 0;
    struct kept all[] = {kept_of(n, 1, false, true), kept_of(n, 3, false, true), kept_of(n, 1, false, false),
                         kept_of(n, 3, every, true), kept_of(n, 3, false, true)};
    struct feed none = feed_of(n, 3, 's'), tiny = feed_of(n, 3, 'd');
    struct rnnrt_state_array array;
    size_t most = 1;
    for (size_t a = 0; rnnrt_plan_state_array(n->plan, a, &array); a++)
        most = array.frames * array.width > most ? array.frames * array.width : most;
    void *numbers = taken(most * sizeof(double));
    forbid();
    for (size_t s = 0; s < sizeof all / sizeof *all; s++) same_in_every_mode(n, &all[s]);
    if (!n->fixed) silence(n, &all[1], &all[4], &none, &tiny, numbers);
    return watched > 0;
}

/* ---- pages ---- */

static long faults(void) {
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) ? -1 : usage.ru_minflt;
}

static int pages_of(const char *path) {
    struct network *n = load(path);
    if (!n) return 0;
    for (size_t batch = 1; batch <= 64; batch += 63) { /* of 64: more than a page, each */
        struct kept before = kept_of(n, batch, false, true);
        sequence(n, &before, 1, &before.first); /* the program's own pages, its stack and its code */
        sequence(n, &before, 5, &before.again);
        struct kept k = kept_of(n, batch, false, true);
        for (size_t i = 0; i < n->inputs; i++) k.noise.data[i] = before.noise.data[i];
        fresh = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        begin(&before.first);
        long first = faults();
        push(n, k.stream, batch, &k.noise, 0, 1, 1, &before.first);
        CHECK(faults() == first);
        push(n, k.stream, batch, &k.noise, 1, n->longest, 1, &before.first);
        flush(n, k.stream, batch, &before.first);
        CHECK(faults() == first);
    }
    return 1;
}

/* ---- instructions ---- */

enum { LATER = 100, SPAN = 4, EARLY = 2 }; /* LATER .. LATER + SPAN - 1: what steps cost in the long run */

struct counts {
    volatile int counting;
    volatile long first[EARLY], noise[SPAN], silent[SPAN];
};

/* Instructions that the child takes from the moment it asks, by a signal, to the end of `counting`. */
static long instructions(pid_t child, struct counts *counts) {
    long count = 0;
    int state;
    while (counts->counting) {
        if (ptrace(PTRACE_SINGLESTEP, child, NULL, NULL)) _exit(NOT_HERE);
        if (waitpid(child, &state, 0) < 0 || !WIFSTOPPED(state) || WSTOPSIG(state) != SIGTRAP) return -1;
        count++;
    }
    return count;
}

static void counted_step(const struct network *n, struct kept *k, const struct feed *feed, size_t t,
                         struct counts *counts) {
    begin(&k->again);
    counts->counting = 1;
    raise(SIGUSR1);
    push(n, k->stream, 1, feed, t % FRAMES, t % FRAMES + 1, 1, &k->again);
    if (!strcmp(plant, "work") && !t)
        for (volatile int i = 0; i < 1000; i++) continue;
    counts->counting = 0;
}

static void count_steps(const struct network *n, struct counts *counts) {
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL)) _exit(NOT_HERE);
    struct kept k = kept_of(n, 1, false, true);
    struct feed none = feed_of(n, 1, 's');
    sequence(n, &k, 1, &k.again); /* names are looked up, once a process */
    for (int silent = 0; silent < 2; silent++) {
        rnnrt_stream_reset(k.stream);
        for (size_t t = 0; t < LATER + SPAN; t++) {
            const struct feed *feed = silent && t >= EARLY ? &none : &k.noise;
            if (t < EARLY || t >= LATER) counted_step(n, &k, feed, t, counts);
            else {
                begin(&k.again);
                push(n, k.stream, 1, feed, t % FRAMES, t % FRAMES + 1, 1, &k.again);
            }
        }
    }
    _exit(0);
}

static int count_of(const char *path) {
    struct network *n = load(path);
    if (!n || n->fixed || rnnrt_plan_work(n->plan, 1) > 30000) return 0;
    struct counts *counts =
        mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t child = fork();
    if (!child) count_steps(n, counts);
    long steps[2][EARLY + SPAN], most[2] = {0, 0}, first = 0;
    int state = 0;
    for (int k = 0; k < 2 * (EARLY + SPAN);) {
        if (waitpid(child, &state, 0) < 0) die("the process that is counted cannot be waited for", "");
        if (WIFEXITED(state)) return WEXITSTATUS(state) == NOT_HERE ? _exit(NOT_HERE), 0 : -1;
        if (WSTOPSIG(state) == SIGUSR1) {
            long found = instructions(child, counts);
            CHECK(found > 0);
            steps[k / (EARLY + SPAN)][k % (EARLY + SPAN)] = found;
            k++;
        }
        if (ptrace(PTRACE_CONT, child, NULL, NULL)) _exit(NOT_HERE);
    }
    waitpid(child, &state, 0);
    for (int s = 0; s < 2; s++)
        for (int k = 0; k < SPAN; k++) {
            long found = steps[s][EARLY + k];
            most[s] = found > most[s] ? found : most[s];
        }
    for (int k = 0; k < EARLY; k++) first = steps[0][k] > first ? steps[0][k] : first;
    printf("%s: instructions of the first steps at most %ld, of later ones %ld, in silence %ld\n", subject,
           first, most[0], most[1]);
    fflush(stdout);
    CHECK((double)first <= 1.02 * (double)most[0] + 64);
    CHECK((double)most[1] <= 1.02 * (double)most[0] + 64);
    return 1;
}

/* Each file in a process of its own: one that is forbidden everything can open no other. */
int main(int count, char **words) {
    static const char *names[] = {"calls", "pages", "count"};
    static int (*const tests[])(const char *) = {calls_of, pages_of, count_of};
    int which = 0, streamed = 0, passed = 0;
    while (which < 3 && (count < 4 || strcmp(words[1], names[which]))) which++;
    if (which == 3) return fprintf(stderr, "usage: realtime calls|pages|count PLANT FILE...\n"), 2;
    plant = words[2], memory = malloc(16);
    pthread_mutex_lock(&a_lock), pthread_mutex_unlock(&a_lock);
    for (int k = 3; k < count; k++) {
        int state = 0;
        subject = strrchr(words[k], '/') ? strrchr(words[k], '/') + 1 : words[k];
        pid_t child = fork();
        if (!child) {
            int made = tests[which](words[k]);
            if (made < 0) die("the process that is counted ended", "");
            if (made &&
                (write(STDOUT_FILENO, subject, strlen(subject)) < 0 || write(STDOUT_FILENO, "\n", 1) < 0))
                _exit(FAILED);
            _exit(made ? 0 : 2);
        }
        if (waitpid(child, &state, 0) < 0 || !WIFEXITED(state)) die("a process ended by a signal", "");
        int code = WEXITSTATUS(state);
        if (code == NOT_HERE) return NOT_HERE;
        streamed += code != 2;
        passed += code == 0;
    }
    printf("%d of %d networks that stream passed\n", passed, streamed);
    return passed == streamed && streamed ? 0 : FAILED;
}
