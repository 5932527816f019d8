/* Steps of a small LSTM of one row, one after the other, without leaving the kernel: what stands between two
 * steps of 16 units is otherwise as long as the steps. The operations behind a number are those of `product`
 * and `lstm`. */

/* The steps of `count` whole vectors of units: gates stay in registers. */
VECTOR void steps_of(const int count, const struct rnnrt_lstm_steps *run) {
    const float *u = run->recurrent->panels, *h = run->h, *x = run->x, *gates = run->gates;
    const size_t units = (size_t)count * LANES, panel = PANEL * units;
    float *y = run->y ? run->y : run->h;
    for (size_t t = 0; t < run->frames; t++) {
        vf sum[1][8];
        vectors gate[4], cell;
        tile_clear(1, 4 * count, sum);
        tile_terms(1, 4 * count, u, panel, h, 0, 0, units, sum);
        UNROLL_FOR(int v = 0; v < 4 * count; v++) {
            vf start;
            if (run->input) { /* of one feature */
                vf part = vf_fma(vf_set(x[t]), vf_load((const float *)run->input->panels + v * LANES),
                                 vf_set(0.0f));
                start = vf_add(run->bias ? vf_load(run->bias + v * LANES) : vf_set(0.0f), part);
            } else start = vf_load(gates + v * LANES);
            gate[v / count].at[v % count] = vf_add(start, sum[0][v]);
        }
        EACH cell.at[j] = vf_load(run->c + j * LANES);
        vectors made = lstm_of(count, gate[0], gate[1], gate[2], gate[3], &cell);
        EACH vf_store(run->c + j * LANES, cell.at[j]);
        EACH vf_store(y + j * LANES, made.at[j]);
        h = y, gates += 4 * units;
        if (run->y) y += units;
    }
    if (h != run->h) memcpy(run->h, h, units * sizeof *h);
}

static void lstm_steps(const struct rnnrt_lstm_steps *run) {
    if (run->recurrent->outputs == 4 * LANES) steps_of(1, run);
    else steps_of(2, run);
}
