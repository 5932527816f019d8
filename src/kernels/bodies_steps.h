/* Steps of a small recurrent layer of one row, one after the other, without leaving the kernel: what stands
 * between two steps of 16 units is otherwise as long as the steps. The operations behind a number are those
 * of `product` and of the cell.
 *
 * Vectors of units go together in groups, with all gates of their units, which stay in registers from the
 * product to the cell: in memory a gate that does not begin with a vector lies across two that were just
 * written, and a processor waits until it can read those. Where there are several groups, the cell of one
 * runs beside the product of the next. Where groups do not pay, one product makes all gates. */

VECTOR size_t frame_of(const struct rnnrt_steps *run, size_t step) {
    return run->backwards ? run->frames - 1 - step : step;
}

VECTOR bool one_feature(const struct rnnrt_steps *run) { return run->input && run->input->depth == 1; }

/* What the gates of frame t from `first` on start from: bias + W x where there is one feature, for its panels
 * lie side by side. `wide`: gates of a frame. */
VECTOR vectors gates_start(const int count, const struct rnnrt_steps *run, size_t t, size_t wide,
                           size_t first) {
    vectors start;
    if (one_feature(run)) {
        const float *w = (const float *)run->input->panels + first;
        vf x = vf_set(run->x[t]);
        EACH start.at[j] = vf_add(run->bias ? vf_load(run->bias + first + j * LANES) : vf_set(0.0f),
                                  vf_fma(x, vf_load(w + j * LANES), vf_set(0.0f)));
    } else {
        const float *gates = run->gates + t * wide + first;
        EACH start.at[j] = vf_load(gates + j * LANES);
    }
    return start;
}

/* The same of the one frame of several features, for all gates, which then stand there. */
static NOINLINE void input_gates(const struct rnnrt_steps *run, size_t wide) {
    const struct rnnrt_product input = {
        .x = run->x, .depth = run->input->depth, .rows = 1, .y = run->gates, .bias = run->bias};
    panels_of_row(run->input, 0, wide, &input, NULL, NULL);
}

#if IN_STEP >= 4
enum {
    GROUP_SUMS = 12,  /* at most: they have registers, with what is read */
    FREE_SUMS = 8,    /* of one group take as long as fewer: each term of a sum waits for the one before it */
    GROUP_WASTE = 64, /* multiply-adds of vectors, at most, that groups need more than one product would: they
                         take 32 cycles, about as long as the waiting that groups save */
};

VECTOR size_t vectors_for(size_t numbers) { return (numbers + LANES - 1) / LANES; }
VECTOR size_t groups_of(size_t gates, size_t vectors) {
    size_t most = GROUP_SUMS / gates;
    return (vectors + most - 1) / most;
}
/* Whether groups pay. (They sum in one segment.) */
VECTOR bool in_groups(size_t gates, size_t units) {
    size_t sums = gates * vectors_for(units);
    return units <= RNNRT_SEGMENT &&
           (sums <= FREE_SUMS || (sums - vectors_for(gates * units)) * units <= GROUP_WASTE);
}
/* Vectors of units of group i: as even as they can be. */
VECTOR size_t group_vectors(size_t vectors, size_t groups, size_t i) {
    return (uint32_t)vectors / (uint32_t)groups + (i < (uint32_t)vectors % (uint32_t)groups);
}
VECTOR size_t group_panels(size_t gates, size_t vectors) { return (gates * vectors + 1) / 2; }

/* Of each group the gates one after the other, each the group's vectors of units: zeros for units that are
 * not there, and up to a whole panel. */
static struct rnnrt_step_order order_steps(size_t gates, size_t units, const float *u, float *ordered) {
    size_t vectors = vectors_for(units), groups = groups_of(gates, vectors), outputs = 0, from = 0;
    if (!in_groups(gates, units)) return (struct rnnrt_step_order){0};
    if (groups == 1 && units % LANES == 0) return (struct rnnrt_step_order){.groups = 1};
    for (size_t i = 0; i < groups; i++) {
        size_t count = group_vectors(vectors, groups, i), wide = count * LANES,
               rows = group_panels(gates, count) * PANEL;
        if (ordered) {
            float *to = ordered + outputs * units;
            memset(to, 0, rows * units * sizeof *to);
            for (size_t gate = 0; gate < gates; gate++)
                memcpy(to + gate * wide * units, u + (gate * units + from) * units,
                       rnnrt_smaller(units - from, wide) * units * sizeof *to);
        }
        outputs += rows;
        from += wide;
    }
    return (struct rnnrt_step_order){.groups = groups, .outputs = outputs};
}

/* A group's part of the step of frame t from state h. Its panels are u, its first unit is `from`. The answers
 * go to y, (units,), and of a group that is the only one also to run->h: the next step waits for them there,
 * not for a copy. */
typedef void step_of_group(const struct rnnrt_steps *run, const float *u, size_t from, size_t t,
                           const float *h, float *y);

VECTOR void group_terms(const int sums, const float *u, const size_t units, const float *h, vf *sum) {
    for (size_t k = 0; k < units; k++) row_term(sums, u, PANEL * units, k, h[k], sum);
}
/* U h of all gates of `count` vectors of units. */
VECTOR void group_sums(const int gates, const int count, const float *u, size_t units, const float *h,
                       vf *sum) {
    const size_t whole = (size_t)count * LANES;
    UNROLL_FOR(int v = 0; v < gates * count; v++) sum[v] = vf_set(0.0f);
    /* where the compiler knows `units`, no address waits until that is read */
    if (units == whole) group_terms(gates * count, u, whole, h, sum);
    else group_terms(gates * count, u, units, h, sum);
}

/* The lanes of the last of so many vectors of units. */
VECTOR size_t last_lanes(const int count, size_t units, size_t from) {
    return rnnrt_smaller(units - from - (size_t)(count - 1) * LANES, LANES);
}

VECTOR void lstm_group(const int count, const struct rnnrt_steps *run, const float *u, size_t from, size_t t,
                       const float *h, float *y) {
    const size_t units = run->recurrent->depth, last = last_lanes(count, units, from);
    vectors cell = load_units(count, run->c + from, last), gate[4], made;
    vf sum[4 * IN_STEP];
    group_sums(4, count, u, units, h, sum);
    UNROLL_FOR(int g = 0; g < 4; g++) {
        gate[g] = gates_start(count, run, t, 4 * units, (size_t)g * units + from);
        EACH gate[g].at[j] = vf_add(gate[g].at[j], sum[g * count + j]);
    }
    made = lstm_of(count, gate[0], gate[1], gate[2], gate[3], &cell);
    store_units(count, y + from, made, last);
    store_units(count, run->c + from, cell, last);
    if (units <= (size_t)count * LANES) store_units(count, run->h, made, last);
}

VECTOR void gru_group(const int count, const struct rnnrt_steps *run, const float *u, size_t from, size_t t,
                      const float *h, float *y) {
    const size_t units = run->recurrent->depth, last = last_lanes(count, units, from);
    const float *bias = run->recurrent_bias;
    vectors before = load_units(count, h + from, last), p[3], q[3], made;
    vf sum[3 * IN_STEP];
    group_sums(3, count, u, units, h, sum);
    UNROLL_FOR(int g = 0; g < 3; g++) {
        const size_t first = (size_t)g * units + from;
        p[g] = gates_start(count, run, t, 3 * units, first);
        EACH q[g].at[j] = vf_add(bias ? vf_load(bias + first + j * LANES) : vf_set(0.0f), sum[g * count + j]);
    }
    EACH p[0].at[j] = vf_add(p[0].at[j], q[0].at[j]);
    EACH p[1].at[j] = vf_add(p[1].at[j], q[1].at[j]);
    made = gru_of(count, p[0], p[1], p[2], q[2], before);
    store_units(count, y + from, made, last);
    if (units <= (size_t)count * LANES) store_units(count, run->h, made, last);
}

/* (Functions of their own: none needs what another puts on the stack.) */
#define GROUP(kind, count)                                                                                \
    static NOINLINE void kind##_group_##count(const struct rnnrt_steps *run, const float *u, size_t from, \
                                              size_t t, const float *h, float *y) {                       \
        kind##_group(count, run, u, from, t, h, y);                                                       \
    }
GROUP(lstm, 1)
GROUP(lstm, 2)
GROUP(lstm, 3)
GROUP(gru, 1)
GROUP(gru, 2)
GROUP(gru, 3)
GROUP(gru, 4)
#undef GROUP
static step_of_group *const lstm_groups[] = {lstm_group_1, lstm_group_2, lstm_group_3},
                            *const gru_groups[] = {gru_group_1, gru_group_2, gru_group_3, gru_group_4};

/* What all groups answer stands in y, or, where nobody reads it, by turns in run->h and in `held`: groups
 * still to come need the state before. */
static NOINLINE void steps_of_groups(const struct rnnrt_steps *run, size_t gates,
                                     step_of_group *const *steps) {
    const size_t units = run->recurrent->depth, vectors = vectors_for(units), groups = run->groups;
    const float *h = run->h;
    for (size_t i = 0; i < run->frames; i++) {
        size_t t = frame_of(run, i);
        float *y = run->y ? run->y + t * units : h == run->h ? run->held : run->h;
        const float *u = run->recurrent->panels;
        for (size_t g = 0, from = 0; g < groups; g++) {
            size_t count = group_vectors(vectors, groups, g);
            steps[count - 1](run, u, from, t, h, y);
            u += group_panels(gates, count) * PANEL * units;
            from += count * LANES;
        }
        h = y;
    }
    if (h != run->h) memcpy(run->h, h, units * sizeof *h);
}

VECTOR void steps_in_groups(const struct rnnrt_steps *run, const size_t gates, step_of_group *const *steps) {
    if (run->groups > 1) {
        steps_of_groups(run, gates, steps);
        return;
    }
    const size_t units = run->recurrent->depth;
    const float *u = run->recurrent->panels;
    step_of_group *step = steps[vectors_for(units) - 1];
    size_t t = frame_of(run, 0);
    for (size_t i = 1; i < run->frames; t = frame_of(run, i++))
        step(run, u, 0, t, run->h, run->y ? run->y + t * units : run->h);
    step(run, u, 0, t, run->h, run->y ? run->y + t * units : run->h); /* nothing is left to do after it */
}
#define LSTM_IN_GROUPS(run) steps_in_groups(run, 4, lstm_groups)
#define GRU_IN_GROUPS(run) steps_in_groups(run, 3, gru_groups)
#else
static struct rnnrt_step_order order_steps(size_t gates, size_t units, const float *u, float *ordered) {
    (void)gates, (void)units, (void)u, (void)ordered;
    return (struct rnnrt_step_order){0};
}
#define LSTM_IN_GROUPS(run)
#define GRU_IN_GROUPS(run)
#endif

/* All gates of frame t of a step whose state is h: where they start (returned), and the sums of U h at
 * `sums`, or, where that is NULL, added there. */
VECTOR float *gates_of(const struct rnnrt_steps *run, size_t t, size_t wide, const float *h, float *sums) {
    float *gates = run->input ? run->gates : run->gates + t * wide;
    if (one_feature(run)) /* what is written beyond are gates of no frame */
        for (size_t j = 0; j < wide; j += LANES) vf_store(gates + j, gates_start(1, run, t, wide, j).at[0]);
    const struct rnnrt_product call = {.x = h,
                                       .depth = run->recurrent->depth,
                                       .rows = 1,
                                       .y = sums ? sums : gates,
                                       .bias = sums ? run->recurrent_bias : NULL,
                                       .add = !sums};
    panels_of_row(run->recurrent, 0, wide, &call, NULL, NULL);
    return gates;
}

static NOINLINE void lstm_by_rows(const struct rnnrt_steps *run) {
    size_t units = run->recurrent->depth, wide = 4 * units;
    const float *h = run->h;
    for (size_t i = 0; i < run->frames; i++) {
        size_t t = frame_of(run, i);
        float *y = run->y ? run->y + t * units : run->h;
        lstm(units, 1, gates_of(run, t, wide, h, NULL), wide, run->c, units, y, units);
        h = y;
    }
    if (h != run->h) memcpy(run->h, h, units * sizeof *h);
}
static void lstm_steps(const struct rnnrt_steps *run) {
    if (run->input && !one_feature(run)) input_gates(run, 4 * run->recurrent->depth);
    if (run->groups) LSTM_IN_GROUPS(run);
    else lstm_by_rows(run);
}

static NOINLINE void gru_by_rows(const struct rnnrt_steps *run) {
    size_t units = run->recurrent->depth, wide = 3 * units;
    const float *h = run->h;
    for (size_t i = 0; i < run->frames; i++) {
        size_t t = frame_of(run, i);
        float *y = run->y ? run->y + t * units : run->held + wide;
        gru(units, 1, gates_of(run, t, wide, h, run->held), wide, run->held, wide, h, units, y, units);
        h = y;
        if (run->y) continue;
        memcpy(run->h, y, units * sizeof *y); /* the next step writes there again */
        h = run->h;
    }
    if (h != run->h) memcpy(run->h, h, units * sizeof *h);
}
static void gru_steps(const struct rnnrt_steps *run) {
    if (run->input && !one_feature(run)) input_gates(run, 3 * run->recurrent->depth);
    if (run->groups) GRU_IN_GROUPS(run);
    else gru_by_rows(run);
}
