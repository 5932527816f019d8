/* The workers of the process: taken and left without a lock, woken by a number that moves on. Where there are
 * no POSIX threads a team is the caller alone. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* sched_getaffinity */
#endif
#include "team.h"
#include "kernels/kernels.h"

size_t rnnrt_pool_processors;

#if defined(__unix__) || defined(__APPLE__)
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "float_mode.h"

/* Nanoseconds. A step of a recurrent layer comes within microseconds of the one before; a sleeping thread may
 * take a hundred of them to come. */
enum {
    WORKER_SPINS = 300000,  /* for the next work, before it sleeps */
    LONG_WAIT = 100000,     /* for a worker at a product */
    CALLER_SPINS = 1000000, /* for a worker at work, before it sleeps, */
    LOOK_AFTER = 5000000,   /* and looks whether the call is to end */
    SECOND = 1000000000,
};

/* A number that one thread moves on and another waits for. */
struct gate {
    uint32_t value, sleepers;
    pthread_mutex_t lock;
    pthread_cond_t moved;
};

struct rnnrt_worker {
    uint32_t claimed __attribute__((aligned(128))); /* the last work whose part of its somebody has taken */
    rnnrt_part *part;                               /* of the work it is to take part in: */
    void *argument;
    size_t member;
    struct gate posted;                             /* the number of that; in one line with the above */
    struct gate done __attribute__((aligned(128))); /* the last work whose part of its is done */
    bool taken;                                     /* by a team */
    bool awake;
    bool ends;
    pthread_t thread;
};

static struct rnnrt_worker workers[RNNRT_MOST_THREADS];
static size_t count;                                     /* workers that live */
static size_t holders;                                   /* see rnnrt_pool_hold */
static uint32_t forks;                                   /* that led to this process */
static bool watched;                                     /* they are counted */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of the four above */

#define LOAD(x) __atomic_load_n(&(x), __ATOMIC_SEQ_CST)
#define STORE(x, to) __atomic_store_n(&(x), to, __ATOMIC_SEQ_CST)

/* ---- waiting ---- */

static void pause_a_little(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * SECOND + t.tv_nsec;
}

/* Whether the value moves on from `old` within some time. */
static bool moves_within(int64_t time_left, const struct gate *gate, uint32_t old) {
    int64_t end = 0;
    for (unsigned turn = 1;; turn++) {
        if (__atomic_load_n(&gate->value, __ATOMIC_ACQUIRE) != old) return true;
        pause_a_little();
        if (turn % 64) continue;
        int64_t time = now(CLOCK_MONOTONIC);
        if (!end) end = time + time_left;
        else if (time >= end) return false;
    }
}

/* Waits until the value is not `old`, asleep; at most for LOOK_AFTER where `bounded`. */
static void sleep_at(struct gate *gate, uint32_t old, bool bounded) {
    pthread_mutex_lock(&gate->lock);
    STORE(gate->sleepers, gate->sleepers + 1);
    int64_t end = bounded ? now(CLOCK_REALTIME) + LOOK_AFTER : 0;
    struct timespec until = {.tv_sec = (time_t)(end / SECOND), .tv_nsec = (long)(end % SECOND)};
    bool over = false;
    while (LOAD(gate->value) == old && !over) {
        if (!bounded) pthread_cond_wait(&gate->moved, &gate->lock);
        else over = pthread_cond_timedwait(&gate->moved, &gate->lock, &until) == ETIMEDOUT;
    }
    STORE(gate->sleepers, gate->sleepers - 1);
    pthread_mutex_unlock(&gate->lock);
}

/* Whoever goes to sleep says so before it looks at the value, and whoever moves that looks at the sleepers
 * after it: one of them sees the other. */
static void move_to(struct gate *gate, uint32_t value) {
    STORE(gate->value, value);
    if (!LOAD(gate->sleepers)) return;
    pthread_mutex_lock(&gate->lock);
    pthread_cond_signal(&gate->moved);
    pthread_mutex_unlock(&gate->lock);
}

static void open_gate(struct gate *gate) {
    STORE(gate->value, 0);
    STORE(gate->sleepers, 0);
    pthread_mutex_init(&gate->lock, NULL);
    pthread_cond_init(&gate->moved, NULL);
}

static void close_gate(struct gate *gate) {
    pthread_mutex_destroy(&gate->lock);
    pthread_cond_destroy(&gate->moved);
}

/* ---- a worker ---- */

/* Whether the worker's part of work `number` is the caller's of this to do: nobody has begun it. */
static bool claim(struct rnnrt_worker *worker, uint32_t number) {
    uint32_t before = number - 1;
    return __atomic_compare_exchange_n(&worker->claimed, &before, number, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST);
}

static void *serve(void *argument) {
    struct rnnrt_worker *worker = argument;
    enter_floats();
    for (uint32_t number = 0;;) {
        if (!moves_within(WORKER_SPINS, &worker->posted, number)) {
            STORE(worker->awake, false);
            sleep_at(&worker->posted, number, false);
            STORE(worker->awake, true);
        }
        number = LOAD(worker->posted.value);
        if (LOAD(worker->ends)) return NULL;
        if (!claim(worker, number)) continue; /* it came too late */
        worker->part(worker->argument, worker->member);
        move_to(&worker->done, number);
    }
}

/* One more worker, taken; NULL where no thread is to be had. Under the lock. */
static struct rnnrt_worker *hire(void) {
    struct rnnrt_worker *worker = &workers[count];
    open_gate(&worker->posted);
    open_gate(&worker->done);
    STORE(worker->claimed, 0);
    STORE(worker->ends, false);
    STORE(worker->taken, true);
    STORE(worker->awake, true); /* soon: it begins so */
    sigset_t all, before;       /* signals are the business of the threads of the host */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&worker->thread, NULL, serve, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) {
        close_gate(&worker->posted);
        close_gate(&worker->done);
        return NULL;
    }
    STORE(count, count + 1);
    return worker;
}

/* ---- the pool ---- */

/* In the child of a fork: the threads of the parent are not there, and what they held is nobody's. */
static void forget(void) {
    pthread_mutex_init(&lock, NULL);
    STORE(count, 0);
    STORE(forks, forks + 1);
}

void rnnrt_pool_hold(void) {
    pthread_mutex_lock(&lock);
    if (!watched) watched = !pthread_atfork(NULL, NULL, forget);
    holders++;
    pthread_mutex_unlock(&lock);
}

void rnnrt_pool_let_go(void) {
    pthread_mutex_lock(&lock);
    if (holders && !--holders) {
        for (size_t k = 0; k < count; k++) {
            STORE(workers[k].ends, true);
            move_to(&workers[k].posted, workers[k].posted.value + 1);
            pthread_join(workers[k].thread, NULL);
            close_gate(&workers[k].posted);
            close_gate(&workers[k].done);
        }
        STORE(count, 0);
    }
    pthread_mutex_unlock(&lock);
}

static size_t processors(void) {
    if (rnnrt_pool_processors) return rnnrt_pool_processors;
#if defined(__linux__)
    cpu_set_t set; /* of the calling thread, whose workers inherit it */
    if (!sched_getaffinity(0, sizeof set, &set)) return (size_t)CPU_COUNT(&set);
#endif
    long all = sysconf(_SC_NPROCESSORS_ONLN);
    return all < 1 ? 1 : (size_t)all;
}

/* Makes a worker look for work: there is none that it could claim. */
static void wake_up(struct rnnrt_worker *worker) {
    uint32_t number = worker->posted.value + 1;
    STORE(worker->claimed, number);
    STORE(worker->done.value, number);
    move_to(&worker->posted, number);
}

/* Takes it for the team unless others have it, or it sleeps and is not to be woken. */
static bool takes(struct rnnrt_worker *worker, bool wake) {
    bool awake = LOAD(worker->awake);
    if ((!awake && !wake) || LOAD(worker->taken)) return false;
    if (__atomic_exchange_n(&worker->taken, true, __ATOMIC_SEQ_CST)) return false;
    if (!awake) wake_up(worker);
    return true;
}

void rnnrt_team_take(struct rnnrt_team *team, size_t threads, bool wake) {
    team->size = 1, team->waited = 0;
    team->forks = LOAD(forks);
    size_t living = LOAD(count);
    if (threads < 2 || (!wake && !living)) return;
    size_t most = processors();
    if (threads > most) threads = most;
    if (threads > RNNRT_MOST_THREADS) threads = RNNRT_MOST_THREADS;
    for (size_t k = 0; k < living && team->size < threads; k++)
        if (takes(&workers[k], wake)) team->workers[team->size++] = &workers[k];
    if (!wake || team->size == threads || living + 1 >= most || living == RNNRT_MOST_THREADS) return;
    pthread_mutex_lock(&lock);
    while (team->size < threads && watched && count + 1 < most && count < RNNRT_MOST_THREADS) {
        struct rnnrt_worker *worker = hire();
        if (!worker) break;
        team->workers[team->size++] = worker;
    }
    pthread_mutex_unlock(&lock);
}

bool rnnrt_team_awake(const struct rnnrt_team *team) {
    for (size_t m = 1; m < team->size; m++)
        if (!LOAD(team->workers[m]->awake)) return false;
    return true;
}

/* Whether the process is the child of the one that took the team. */
static bool orphaned(const struct rnnrt_team *team) { return team->forks != LOAD(forks); }

void rnnrt_team_leave(struct rnnrt_team *team) {
    for (size_t m = 1; m < team->size && !orphaned(team); m++) STORE(team->workers[m]->taken, false);
    team->size = 1;
}

/* Waits for a worker at work; false: it is none of this process. */
static bool wait_for(struct rnnrt_team *team, struct rnnrt_worker *worker, rnnrt_idle *idle,
                     void *idle_argument) {
    uint32_t number = worker->posted.value, before = number - 1;
    if (LOAD(worker->done.value) == number || moves_within(LONG_WAIT, &worker->done, before)) return true;
    team->waited++;
    while (LOAD(worker->done.value) != number && !moves_within(CALLER_SPINS, &worker->done, before)) {
        sleep_at(&worker->done, before, idle != NULL);
        if (idle && LOAD(worker->done.value) != number) idle(idle_argument);
        if (orphaned(team)) return false;
    }
    return true;
}

bool rnnrt_team_run(struct rnnrt_team *team, bool all, rnnrt_part *part, void *argument, rnnrt_idle *idle,
                    void *idle_argument) {
    uint64_t sent = 0; /* bits: members */
    for (size_t m = 1; m < team->size && !orphaned(team); m++) {
        struct rnnrt_worker *worker = team->workers[m];
        if (!all && !LOAD(worker->awake)) continue;
        worker->part = part, worker->argument = argument, worker->member = m;
        move_to(&worker->posted, worker->posted.value + 1);
        sent |= (uint64_t)1 << m;
    }
    for (size_t m = 0; m < team->size; m++) {
        struct rnnrt_worker *worker = sent >> m & 1 ? team->workers[m] : NULL;
        if (worker && !claim(worker, worker->posted.value)) continue;
        part(argument, m);
        if (sent && orphaned(team)) return false;
        if (worker) STORE(worker->done.value, worker->posted.value);
    }
    for (size_t m = 1; m < team->size; m++)
        if (sent >> m & 1 && !wait_for(team, team->workers[m], idle, idle_argument)) return false;
    return true;
}

#else

void rnnrt_pool_hold(void) {}
void rnnrt_pool_let_go(void) {}
void rnnrt_team_take(struct rnnrt_team *team, size_t threads, bool wake) {
    (void)threads, (void)wake;
    team->size = 1;
}
void rnnrt_team_leave(struct rnnrt_team *team) { (void)team; }
bool rnnrt_team_awake(const struct rnnrt_team *team) { return team->size == 1; }
bool rnnrt_team_run(struct rnnrt_team *team, bool all, rnnrt_part *part, void *argument, rnnrt_idle *idle,
                    void *idle_argument) {
    (void)team, (void)all, (void)idle, (void)idle_argument;
    part(argument, 0);
    return true;
}

#endif
