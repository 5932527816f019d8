/* A large product is cut into blocks of its outputs, or of its rows where it has few outputs, one a member of
 * the team. Each number is summed as before: a block of outputs begins where a panel of the weights does. */
#include "share.h"

struct rnnrt_worth rnnrt_worth = {.call = 1e6, .waking = 1e7, .product = 3e4, .piece = 3e7};

enum {
    CUT_ROWS = 12,
    MOST_PIECES = 64, /* of a product whose rows are cut */
    SMALL = 2000000,  /* multiply-adds, done in less time than a thread spins */
    FIRST_ALONE = 64, /* products */
};

static _Thread_local struct rnnrt_sharing *at_work;

struct cut {
    const struct rnnrt_kernels *kernels;
    const struct rnnrt_matrix *w;
    const struct rnnrt_product *call;
    size_t size; /* outputs or rows of a member */
};

static void outputs_of(void *argument, size_t member) {
    const struct cut *cut = argument;
    struct rnnrt_matrix w = *cut->w;
    struct rnnrt_product call = *cut->call;
    if (rnnrt_cut_outputs(&w, &call, member * cut->size, cut->size)) cut->kernels->product(&w, &call);
}

static void rows_of(void *argument, size_t member) {
    const struct cut *cut = argument;
    size_t rows = cut->call->rows, from = member * cut->size;
    if (from >= rows) return;
    struct rnnrt_product call = *cut->call;
    struct rnnrt_piece pieces[MOST_PIECES];
    for (size_t p = 0; call.pieces && p < call.piece_count; p++) {
        pieces[p] = call.pieces[p];
        pieces[p].x += from * pieces[p].stride;
    }
    if (call.pieces) call.pieces = pieces;
    else call.x += from * call.x_stride;
    call.y += from * call.y_stride;
    if (call.plus) call.plus += from * call.plus_stride;
    call.rows = rnnrt_smaller(cut->size, rows - from);
    cut->kernels->product(cut->w, &call);
}

static size_t shares(size_t n, size_t members, size_t unit) {
    return ((n + members - 1) / members + unit - 1) / unit * unit;
}

static void product(const struct rnnrt_matrix *w, const struct rnnrt_product *call) {
    struct rnnrt_sharing *sharing = at_work;
    size_t members = sharing->team.size, pieces = call->pieces ? call->piece_count : 1;
    struct cut cut = {sharing->plain, w, call, 0};
    rnnrt_part *part = NULL;
    double work = (double)w->outputs * (double)(call->depth * pieces) * (double)call->rows;
    if (work >= rnnrt_worth.product) {
        if (w->outputs >= 2 * RNNRT_CUT_OUTPUTS)
            part = outputs_of, cut.size = shares(w->outputs, members, RNNRT_CUT_OUTPUTS);
        else if (call->rows >= 2 * CUT_ROWS && pieces <= MOST_PIECES)
            part = rows_of, cut.size = shares(call->rows, members, CUT_ROWS);
    }
    /* a processor that is at work for others holds a step up for milliseconds: it is left to them for a while
     */
    bool small = work < SMALL;
    if (part && small && sharing->alone) sharing->alone--, part = NULL;
    if (!part) {
        sharing->plain->product(w, call);
        return;
    }
    size_t waited = sharing->team.waited;
    /* a large one calls for those too that fell asleep while the caller was at work alone */
    rnnrt_team_run(&sharing->team, work >= rnnrt_worth.waking, part, &cut, NULL, NULL);
    if (!small || sharing->team.waited == waited) return;
    sharing->alone = sharing->next_alone;
    sharing->next_alone *= 2;
}

void rnnrt_share_begin(struct rnnrt_sharing *sharing, const struct rnnrt_kernels *plain, size_t threads,
                       double work) {
    rnnrt_team_take(&sharing->team, work >= rnnrt_worth.call ? threads : 1, work >= rnnrt_worth.waking);
    if (sharing->team.size == 1) return;
    sharing->by_pieces = work >= rnnrt_worth.piece || rnnrt_team_awake(&sharing->team);
    sharing->plain = plain;
    sharing->kernels = *plain;
    sharing->kernels.product_pair = NULL;
    sharing->kernels.product_overlapped = NULL;
    sharing->kernels.finish_overlapped = NULL;
    /* a BLAS has threads of its own, and another order for other sizes */
    if (plain != rnnrt_kernels_blas()) sharing->kernels.product = product;
    sharing->alone = 0, sharing->next_alone = FIRST_ALONE;
    sharing->before = at_work;
    at_work = sharing;
}

void rnnrt_share_end(struct rnnrt_sharing *sharing) {
    if (sharing->team.size == 1) return;
    at_work = sharing->before;
    rnnrt_team_leave(&sharing->team);
}

/* ---- the question ---- */

enum { A_THOUSAND = 1000 };

/* Tells what a member has done since it last did. */
static void tell(struct rnnrt_member *member) {
    size_t done = (size_t)(member->between.done / A_THOUSAND);
    __atomic_add_fetch(&member->question->others, done - member->told, __ATOMIC_RELAXED);
    member->told = done;
}

static int ask_for_all(struct rnnrt_member *member) {
    struct rnnrt_question *question = member->question;
    struct rnnrt_between *between = question->pulse->between;
    double before = between->done;
    between->done +=
        member->between.done + (double)__atomic_load_n(&question->others, __ATOMIC_RELAXED) * A_THOUSAND;
    bool end = rnnrt_ask(question->pulse);
    between->done = before;
    if (end) __atomic_store_n(&question->over, true, __ATOMIC_RELAXED);
    return end;
}

static bool wanted(const struct rnnrt_member *member) {
    const struct rnnrt_question *question = member->question;
    return !__atomic_load_n(&question->over, __ATOMIC_RELAXED) &&
           __atomic_load_n(&question->failed, __ATOMIC_RELAXED) >= member->piece;
}

static int ask(void *argument) {
    struct rnnrt_member *member = argument;
    if (!wanted(member)) return 1;
    if (!member->number) return ask_for_all(member);
    tell(member);
    return 0;
}

struct rnnrt_pulse *rnnrt_member_begin(struct rnnrt_member *member, struct rnnrt_question *question,
                                       size_t number) {
    *member = (struct rnnrt_member){.question = question, .number = number};
    if (!question->pulse) return NULL;
    member->between = (struct rnnrt_between){.ask = ask, .argument = member};
    member->pulse = (struct rnnrt_pulse){&member->between, question->pulse->mode};
    /* what was done since the question was last asked counts: it may be the work of calls before this one */
    const struct rnnrt_between *whole = question->pulse->between;
    if (!number) member->between.asked = whole->asked - whole->done;
    return &member->pulse;
}

bool rnnrt_member_takes(struct rnnrt_member *member, size_t piece) {
    member->piece = piece;
    return wanted(member);
}

void rnnrt_member_fails(const struct rnnrt_member *member) {
    size_t *failed = &member->question->failed, first = __atomic_load_n(failed, __ATOMIC_RELAXED);
    while (member->piece < first && !__atomic_compare_exchange_n(failed, &first, member->piece, false,
                                                                 __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
}

void rnnrt_member_idle(void *argument) {
    struct rnnrt_member *member = argument;
    if (member->question->pulse && wanted(member)) ask_for_all(member);
}

void rnnrt_member_end(const struct rnnrt_member *member) {
    struct rnnrt_pulse *pulse = member->question->pulse;
    if (pulse) pulse->between->done += member->between.done;
}
