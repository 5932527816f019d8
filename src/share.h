/* Private to src/: what the members of a team share of a call: its large products, and its question. */
#ifndef RNNRT_SHARE_H
#define RNNRT_SHARE_H

#include "plan.h"
#include "team.h"

/* Multiply-adds from which work is shared: of a call when the threads are awake, of one that wakes them, of
 * one product, and of pieces that a thread takes when it has woken. Below them one thread is done before
 * another has come. Tests lower them. */
extern struct rnnrt_worth {
    double call, waking, product, piece;
} rnnrt_worth;

/* ---- products ---- */

/* The kernels of a plan with products that are shared by the team of the thread that calls them. */
struct rnnrt_sharing {
    struct rnnrt_team team;
    const struct rnnrt_kernels *plain;
    struct rnnrt_kernels kernels;
    bool by_pieces; /* slices and directions are shared too, not only products: the threads have time to come
                     */
    size_t alone, next_alone; /* small products to come that are not shared; and after the next long wait */
    struct rnnrt_sharing *before; /* that of a call around this one */
};
/* Takes up to `threads` threads for a call of this much work on the kernels; their number is
 * sharing->team.size.
 */
void rnnrt_share_begin(struct rnnrt_sharing *sharing, const struct rnnrt_kernels *plain, size_t threads,
                       double work);
void rnnrt_share_end(struct rnnrt_sharing *sharing);

/* ---- the question of a call (rnnrt_between): members count their work, and the caller asks for all ---- */

struct rnnrt_question {
    struct rnnrt_pulse *pulse; /* the caller's, or NULL: nobody asks */
    size_t others;             /* thousands of multiply-adds that members but the caller have told */
    size_t failed;             /* the first piece of the work that failed, or SIZE_MAX */
    bool over;                 /* the caller was told to end */
};
/* Of one thread: what it takes pieces with, each larger in number than its last one. */
struct rnnrt_member {
    struct rnnrt_question *question;
    struct rnnrt_pulse pulse;
    struct rnnrt_between between;
    size_t number, told, piece;
};
/* The pulse of member `number` for its pieces; the question is {pulse, .failed = SIZE_MAX} at first. */
struct rnnrt_pulse *rnnrt_member_begin(struct rnnrt_member *member, struct rnnrt_question *question,
                                       size_t number);
/* Whether piece `piece` is still wanted, which the member then works on: none before it has failed. */
bool rnnrt_member_takes(struct rnnrt_member *member, size_t piece);
/* The piece it works on has failed. */
void rnnrt_member_fails(const struct rnnrt_member *member);
/* What the caller does while it waits for others; `argument`: its struct rnnrt_member. */
void rnnrt_member_idle(void *argument);
/* All pieces are done: its work is the caller's. */
void rnnrt_member_end(const struct rnnrt_member *member);

#endif
