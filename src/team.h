/* Private to src/: threads that share the work of a call. The caller takes a *team* for the call: itself and
 * *workers* of the process, which are made when they are first wanted and wait for the next call after that.
 *
 * A piece of work has a part for every member. Whoever comes first takes a part: a worker its own, the caller
 * its own and then those that no worker has begun. So nothing ever waits for a thread that is late, or that a
 * fork has left behind. What comes out does not depend on who takes which part. */
#ifndef RNNRT_TEAM_H
#define RNNRT_TEAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RNNRT_MOST_THREADS = 64 };

struct rnnrt_worker;

struct rnnrt_team {
    size_t size;    /* members: the caller, number 0, and its workers */
    size_t waited;  /* how often the caller waited long until a worker was done */
    uint32_t forks; /* of the process, when it was taken */
    struct rnnrt_worker *workers[RNNRT_MOST_THREADS]; /* by the number of the member */
};

/* Does part `member` of the work. */
typedef void rnnrt_part(void *argument, size_t member);
/* What the caller looks after every few milliseconds while it waits, or NULL. */
typedef void rnnrt_idle(void *argument);

/* A team of at most `threads` members, fewer where the process may not run as many at once or others have
 * taken them: of one where there are none to be had. Workers that sleep are left where not `wake`, else woken
 * at once: it takes them longer to come than many a call lasts. */
void rnnrt_team_take(struct rnnrt_team *team, size_t threads, bool wake);
void rnnrt_team_leave(struct rnnrt_team *team);
/* Whether all members are awake. */
bool rnnrt_team_awake(const struct rnnrt_team *team);
/* Does all parts of the work, with the workers that are awake, or with `all`; false: a fork in the middle of
 * it left one with a thread of the parent. */
bool rnnrt_team_run(struct rnnrt_team *team, bool all, rnnrt_part *part, void *argument, rnnrt_idle *idle,
                    void *idle_argument);

/* While somebody holds the pool, workers may live; when the last one lets it go they have ended. */
void rnnrt_pool_hold(void);
void rnnrt_pool_let_go(void);

/* For tests: processors to count on in place of those the process may run on; 0: those. */
extern size_t rnnrt_pool_processors;

#endif
