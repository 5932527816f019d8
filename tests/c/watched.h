/* What realtime.c watches its calls with: system calls forbidden, those of the allocator, of locks and of
 * clocks counted, the caller's floating-point mode another one at every call; and how to do each of these
 * wrong on purpose. One program includes it once, before anything else. */
#ifndef WATCHED_H
#define WATCHED_H

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { NOT_HERE = 77, FAILED = 1 }; /* exit codes */

static const char *subject = "?", *plant = "none";

/* Says what is wrong and ends, with nothing but write and exit. */
static void die(const char *what, const char *more) {
    const char *parts[] = {"realtime: ", subject, ": ", what, more, "\n"};
    for (size_t k = 0; k < sizeof parts / sizeof *parts; k++)
        if (write(STDERR_FILENO, parts[k], strlen(parts[k])) < 0) _exit(FAILED);
    _exit(FAILED);
}

#define CHECK(condition) ((condition) ? (void)0 : die(#condition " does not hold", ""))

/* ---- calls that are counted ---- */

static volatile long calls;
static const char *volatile last_call = "";

#ifdef SANITIZED
#include <sanitizer/rtsan_interface.h>
extern void __rtsan_realtime_enter(void), __rtsan_realtime_exit(void);
#else
static void __rtsan_realtime_enter(void) {}
static void __rtsan_realtime_exit(void) {}
void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void __libc_free(void *);

#define COUNT(name) (calls++, last_call = #name)
void *malloc(size_t n) { return COUNT(malloc), __libc_malloc(n); }
void *calloc(size_t k, size_t n) { return COUNT(calloc), __libc_calloc(k, n); }
void *realloc(void *p, size_t n) { return COUNT(realloc), __libc_realloc(p, n); }
void *memalign(size_t a, size_t n) { return COUNT(memalign), __libc_memalign(a, n); }
void *aligned_alloc(size_t a, size_t n) { return COUNT(aligned_alloc), __libc_memalign(a, n); }
void free(void *p) { COUNT(free), __libc_free(p); }
int posix_memalign(void **p, size_t a, size_t n) {
    COUNT(posix_memalign);
    return (*p = __libc_memalign(a, n)) ? 0 : ENOMEM;
}

/* The real one is looked up at the first call, which comes before any that is watched: see main. */
#define FORWARD(name, params, ...)                            \
    int name params {                                         \
        static int(*real) params;                             \
        COUNT(name);                                          \
        if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name); \
        return real(__VA_ARGS__);                             \
    }
FORWARD(pthread_mutex_lock, (pthread_mutex_t * m), m)
FORWARD(pthread_mutex_trylock, (pthread_mutex_t * m), m)
FORWARD(pthread_mutex_unlock, (pthread_mutex_t * m), m)
FORWARD(pthread_rwlock_rdlock, (pthread_rwlock_t * l), l)
FORWARD(pthread_rwlock_wrlock, (pthread_rwlock_t * l), l)
FORWARD(pthread_spin_lock, (pthread_spinlock_t * l), l)
FORWARD(pthread_cond_signal, (pthread_cond_t * c), c)
FORWARD(pthread_cond_broadcast, (pthread_cond_t * c), c)
FORWARD(pthread_cond_wait, (pthread_cond_t * c, pthread_mutex_t *m), c, m)
FORWARD(pthread_once, (pthread_once_t * o, void (*f)(void)), o, f)
FORWARD(clock_gettime, (clockid_t c, struct timespec *t), c, t)
#endif

/* ---- system calls ---- */

#ifdef SANITIZED
static void forbid(void) {}
#else

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

static void trapped(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    char digits[12], *p = digits + sizeof digits;
    *--p = 0;
    for (int n = info->si_syscall; p == digits + sizeof digits - 1 || n; n /= 10) *--p = (char)('0' + n % 10);
    die("a system call inside step, push, flush or reset: number ", p);
}

static void forbid(void) {
    struct sigaction action = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO};
    sigaction(SIGSYS, &action, NULL);
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        _exit(NOT_HERE);
}
#endif

/* ---- the caller's floating-point mode ---- */

#if defined(__x86_64__)
typedef unsigned mode_word;
static mode_word get_mode(void) { return __builtin_ia32_stmxcsr() & 0xffc0u; } /* without what has happened */
static void set_mode(mode_word mode) { __builtin_ia32_ldmxcsr(mode); }
/* usual; flushed; rounded down, up, to zero, and flushed in half; signals for what is invalid, divided by 0,
 * or overflows */
static const mode_word modes[] = {0x1f80, 0x9fc0, 0x3f80, 0x5f80, 0xff80, 0x1fc0, 0x1900, 0x9940};
#else
typedef uint64_t mode_word;
static mode_word get_mode(void) {
    mode_word mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
}
static void set_mode(mode_word mode) { __asm__ volatile("msr fpcr, %0" : : "r"(mode)); }
static const mode_word modes[] = {0, 1 << 24, 1 << 22, 1 << 23, 3 << 22, 1 << 25, 3 << 24};
#endif
enum { MODES = sizeof modes / sizeof *modes };

/* ---- a call that is watched ---- */

static long calls_before;
static mode_word mode_now;
static int turn, watched; /* watched: calls in all */
static bool usual = true; /* in the usual mode */
static pthread_mutex_t a_lock = PTHREAD_MUTEX_INITIALIZER;
static char *fresh;           /* a page that nobody has touched */
static void *volatile memory; /* volatile, or compilers leave the calls out */

static void do_wrong(void) {
    if (!strcmp(plant, "malloc")) memory = malloc(16);
    else if (!strcmp(plant, "free")) free(memory);
    else if (!strcmp(plant, "lock")) pthread_mutex_lock(&a_lock), pthread_mutex_unlock(&a_lock);
    else if (!strcmp(plant, "getpid")) syscall(SYS_getpid);
    else if (!strcmp(plant, "mode")) set_mode(get_mode() ^ (modes[2] ^ modes[0]));
    else if (!strcmp(plant, "page") && fresh) *(volatile char *)fresh = 1, fresh = NULL;
}

static void enter(void) {
    mode_now = modes[usual ? 0 : turn++ % MODES];
    calls_before = calls;
    set_mode(mode_now);
    __rtsan_realtime_enter();
}

static void leave(const char *what) {
    static char told[64];
    if (*plant != 'n') do_wrong();
    __rtsan_realtime_exit();
    mode_word mode = get_mode();
    set_mode(modes[0]);
    if (mode != mode_now) die("the floating-point mode is another one after ", what);
    if (calls != calls_before) die(what, strcat(strcpy(told, " calls "), last_call));
    watched++;
}

#define WATCHED(call) (enter(), (void)(call), leave(#call))

#endif
