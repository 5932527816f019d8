/* Steps of a small recurrent layer of one row, one after the other, without leaving the kernel: what stands
 * between two steps of 16 units is otherwise as long as the steps. The operations behind a number are those
 * of `product` and of the cell. */

/* bias + W x of the vector of gates from j on, where there is one feature: the panels lie side by side. */
VECTOR vf gates_of_one(const struct rnnrt_steps *run, size_t j, float x) {
    vf start = run->bias ? vf_load(run->bias + j) : vf_set(0.0f);
    return vf_add(start, vf_fma(vf_set(x), vf_load((const float *)run->input->panels + j), vf_set(0.0f)));
}

/* The gates of frame t of a step whose state is h: where they start (`from_input`) and the sums of U h
 * (`sums`), which are the same array where the one is added to the other. */
VECTOR void gates_of(const struct rnnrt_steps *run, size_t t, size_t wide, const float *h, bool add,
                     float *from_input, float *sums) {
    const struct rnnrt_matrix *u = run->recurrent;
    const struct rnnrt_product call = {.x = h,
                                       .depth = u->depth,
                                       .rows = 1,
                                       .y = sums,
                                       .bias = add ? NULL : run->recurrent_bias,
                                       .add = add};
    if (!run->input) {
        panels_of_row(u, 0, wide, &call, NULL, NULL);
        return;
    }
    size_t depth = run->input->depth;
    if (depth == 1) { /* what is written beyond `wide` are gates of no frame */
        for (size_t j = 0; j < wide; j += LANES) vf_store(from_input + j, gates_of_one(run, j, run->x[t]));
        panels_of_row(u, 0, wide, &call, NULL, NULL);
        return;
    }
    const struct rnnrt_product input = {
        .x = run->x + t * depth, .depth = depth, .rows = 1, .y = from_input, .bias = run->bias};
    panels_of_row(run->input, 0, wide, &input, u, &call);
}

#if IN_STEP >= 2
/* The steps of an LSTM of `count` whole vectors of units: gates stay in registers. */
VECTOR void lstm_in_registers(const int count, const struct rnnrt_steps *run) {
    const float *u = run->recurrent->panels, *h = run->h;
    const size_t units = (size_t)count * LANES, panel = PANEL * units,
                 first = run->backwards ? run->frames - 1 : 0;
    const ptrdiff_t ahead = run->backwards ? -1 : 1, row = ahead * (ptrdiff_t)units;
    const float *gates = run->gates + first * 4 * units, *x = run->x + first;
    float *y = run->y ? run->y + first * units : run->h;
    vectors made;
    for (size_t left = run->frames; left; left--) {
        vf sum[1][8];
        vectors gate[4], cell;
        tile_clear(1, 4 * count, sum);
        tile_terms(1, 4 * count, u, panel, LANES, h, 0, 0, units, sum);
        UNROLL_FOR(int v = 0; v < 4 * count; v++) {
            vf start = run->input ? gates_of_one(run, (size_t)v * LANES, *x) : vf_load(gates + v * LANES);
            gate[v / count].at[v % count] = vf_add(start, sum[0][v]);
        }
        EACH cell.at[j] = vf_load(run->c + j * LANES);
        made = lstm_of(count, gate[0], gate[1], gate[2], gate[3], &cell);
        EACH vf_store(run->c + j * LANES, cell.at[j]);
        EACH vf_store(y + j * LANES, made.at[j]);
        h = y, gates += 4 * row, x += ahead;
        if (run->y) y += row;
    }
    EACH vf_store(run->h + j * LANES, made.at[j]); /* the next step waits for it: not for a copy of it */
}
#endif

/* (Functions of their own: the steps in registers need nothing of what the others put on the stack.) */
#if IN_STEP >= 2
static NOINLINE void lstm_in_one(const struct rnnrt_steps *run) { lstm_in_registers(1, run); }
static NOINLINE void lstm_in_two(const struct rnnrt_steps *run) { lstm_in_registers(2, run); }
#endif

static NOINLINE void lstm_by_rows(const struct rnnrt_steps *run) {
    size_t units = run->recurrent->depth, wide = 4 * units;
    const float *h = run->h;
    for (size_t i = 0; i < run->frames; i++) {
        size_t t = run->backwards ? run->frames - 1 - i : i;
        float *gates = run->input ? run->gates : run->gates + t * wide,
              *y = run->y ? run->y + t * units : run->h;
        gates_of(run, t, wide, h, true, gates, gates);
        lstm(units, 1, gates, wide, run->c, units, y, units);
        h = y;
    }
    if (h != run->h) memcpy(run->h, h, units * sizeof *h);
}

static void lstm_steps(const struct rnnrt_steps *run) {
#if IN_STEP >= 2
    bool in_registers = !run->input || run->input->depth == 1;
    if (in_registers && run->recurrent->depth == LANES) lstm_in_one(run);
    else if (in_registers && run->recurrent->depth == 2 * LANES) lstm_in_two(run);
    else
#endif
        lstm_by_rows(run);
}

static void gru_steps(const struct rnnrt_steps *run) {
    size_t units = run->recurrent->depth, wide = 3 * units;
    const float *h = run->h;
    for (size_t i = 0; i < run->frames; i++) {
        size_t t = run->backwards ? run->frames - 1 - i : i;
        float *gates = run->input ? run->gates : run->gates + t * wide,
              *y = run->y ? run->y + t * units : run->held + wide;
        gates_of(run, t, wide, h, false, gates, run->held);
        gru(units, 1, gates, wide, run->held, wide, h, units, y, units);
        h = y;
        if (run->y) continue;
        memcpy(run->h, y, units * sizeof *y); /* the next step writes there again */
        h = run->h;
    }
    if (h != run->h) memcpy(run->h, h, units * sizeof *h);
}
