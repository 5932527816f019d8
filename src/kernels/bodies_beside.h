/* Two products at once. One row against weights that live in the L2 cache or beyond waits for memory half of
 * its time; a job, the product of many rows with weights of its own, fills that time with arithmetic. The
 * inner loop takes one term of both: eight vectors of the row's weights, and a tile of JOB_ROWS x 2 vectors
 * of the job. Each output is summed exactly as `tile` sums it. */

#if LANES == 16 /* it takes 23 vector registers */

VECTOR void job_begin(struct rnnrt_job *job, size_t panels, const float **w, const float **x, float **y) {
    size_t row = job->tile / panels * JOB_ROWS, column = job->tile % panels * PANEL;
    *w = job->packed + column * job->terms;
    *x = job->x + row * job->x_stride;
    *y = job->y + row * job->y_stride + column;
    if (job->term) return;
    for (int r = 0; r < JOB_ROWS; r++)
        for (int v = 0; v < 2; v++)
            vf_store(*y + (size_t)r * job->y_stride + v * LANES,
                     job->bias ? vf_load(job->bias + column + v * LANES) : vf_set(0.0f));
    memset(job->sum, 0, sizeof job->sum);
}

VECTOR void job_load(const struct rnnrt_job *job, vf sum[JOB_ROWS][2]) {
    UNROLL_FOR(int r = 0; r < JOB_ROWS; r++)
        UNROLL_FOR(int v = 0; v < 2; v++) sum[r][v] = vf_load(job->sum[r][v]);
}

VECTOR void job_save(struct rnnrt_job *job, vf sum[JOB_ROWS][2]) {
    UNROLL_FOR(int r = 0; r < JOB_ROWS; r++)
        UNROLL_FOR(int v = 0; v < 2; v++) vf_store(job->sum[r][v], sum[r][v]);
}

VECTOR void job_term(const float *w, const float *x, size_t x_stride, vf sum[JOB_ROWS][2]) {
    vf w0 = vf_load(w), w1 = vf_load(w + LANES);
    UNROLL_FOR(int r = 0; r < JOB_ROWS; r++) {
        vf value = vf_set(x[(size_t)r * x_stride]);
        sum[r][0] = vf_fma(value, w0, sum[r][0]);
        sum[r][1] = vf_fma(value, w1, sum[r][1]);
    }
}

VECTOR void row_total(float *y, vf sum[8]) {
    UNROLL_FOR(int v = 0; v < 8; v++) {
        vf_store(y + v * LANES, vf_add(vf_load(y + v * LANES), sum[v]));
        sum[v] = vf_set(0.0f);
    }
}

/* The end of a segment: its total goes to y. */
VECTOR void job_total(const struct rnnrt_job *job, float *y, vf sum[JOB_ROWS][2]) {
    UNROLL_FOR(int r = 0; r < JOB_ROWS; r++)
        UNROLL_FOR(int v = 0; v < 2; v++) {
            float *place = y + (size_t)r * job->y_stride + v * LANES;
            vf_store(place, vf_add(vf_load(place), sum[r][v]));
            sum[r][v] = vf_set(0.0f);
        }
}

static size_t job_tiles(const struct rnnrt_job *job) { return job->rows / JOB_ROWS * (job->outputs / PANEL); }

static void product_beside(const float *packed, size_t outputs, size_t terms, const float *bias, bool add,
                           const float *x, float *y, struct rnnrt_job *job) {
    size_t panel = PANEL * terms, panels = job->outputs / PANEL, tiles = job_tiles(job),
           stride = job->x_stride, column = 0;
    if (outputs > RNNRT_FEW && job->tile < tiles) {
        const float *job_w, *job_x;
        float *job_y;
        vf side[JOB_ROWS][2];
        job_begin(job, panels, &job_w, &job_x, &job_y);
        job_load(job, side);
        size_t at = job->term;
        for (; column + 4 * PANEL <= outputs && job->tile < tiles; column += 4 * PANEL) {
            const float *w = packed + column * terms, *start = add ? y + column : bias ? bias + column : NULL;
            vf sum[8];
            for (int v = 0; v < 8; v++)
                vf_store(y + column + v * LANES, start ? vf_load(start + v * LANES) : vf_set(0.0f));
            UNROLL_FOR(int v = 0; v < 8; v++) sum[v] = vf_set(0.0f);
            for (size_t k = 0; k < terms;) {
                size_t main_left = rnnrt_least(terms - k, RNNRT_SEGMENT - k % RNNRT_SEGMENT);
                size_t job_left = rnnrt_least(job->terms - at, RNNRT_SEGMENT - at % RNNRT_SEGMENT),
                       n = rnnrt_least(main_left, job_left);
                for (size_t end = k + n; k < end; k++, at++) {
                    vf value = vf_set(x[k]);
                    UNROLL_FOR(int v = 0; v < 8; v++)
                        sum[v] = vf_fma(
                            value, vf_load(w + (size_t)(v / 2) * panel + k * PANEL + (size_t)(v % 2) * LANES),
                            sum[v]);
                    job_term(job_w + at * PANEL, job_x + at, stride, side);
                }
                if (n == main_left) row_total(y + column, sum);
                if (n < job_left) continue;
                job_total(job, job_y, side);
                if (at < job->terms) continue;
                at = job->term = 0;
                if (++job->tile < tiles) {
                    job_begin(job, panels, &job_w, &job_x, &job_y);
                    continue;
                }
                /* the job is done: the rest of these panels alone */
                for (; k < terms;) {
                    size_t to = k + rnnrt_least(terms - k, RNNRT_SEGMENT - k % RNNRT_SEGMENT);
                    for (; k < to; k++) {
                        vf value = vf_set(x[k]);
                        UNROLL_FOR(int v = 0; v < 8; v++)
                            sum[v] = vf_fma(
                                value,
                                vf_load(w + (size_t)(v / 2) * panel + k * PANEL + (size_t)(v % 2) * LANES),
                                sum[v]);
                    }
                    row_total(y + column, sum);
                }
            }
        }
        job->term = job->tile < tiles ? at : 0;
        job_save(job, side);
    }
    if (outputs <= RNNRT_FEW) product(packed, outputs, terms, bias, add, x, terms, 1, y, outputs);
    else if (column < outputs)
        product_panels(packed + column * terms, outputs - column, terms, bias ? bias + column : NULL, add, x,
                       terms, 1, y + column, outputs - column);
}

static void finish_job(struct rnnrt_job *job) {
    size_t panels = job->outputs / PANEL, full = panels * PANEL, tiles = job_tiles(job), done = 0;
    if (job->outputs > RNNRT_FEW && tiles) {
        if (job->term) {
            const float *w, *x;
            float *y;
            vf side[JOB_ROWS][2];
            job_begin(job, panels, &w, &x, &y);
            job_load(job, side);
            for (size_t at = job->term; at < job->terms;) {
                job_term(w + at * PANEL, x + at, job->x_stride, side);
                if (++at % RNNRT_SEGMENT == 0 || at == job->terms) job_total(job, y, side);
            }
            job->tile++;
            job->term = 0;
        }
        done = job->tile / panels * JOB_ROWS;
        size_t column = job->tile % panels * PANEL;
        if (column) { /* the panels left of the rows begun */
            product_panels(job->packed + column * job->terms, full - column, job->terms,
                           job->bias ? job->bias + column : NULL, false, job->x + done * job->x_stride,
                           job->x_stride, JOB_ROWS, job->y + done * job->y_stride + column, job->y_stride);
            done += JOB_ROWS;
        }
        if (full < job->outputs) /* the columns after the last whole panel, of the rows done so far */
            product_panels(job->packed + full * job->terms, job->outputs - full, job->terms,
                           job->bias ? job->bias + full : NULL, false, job->x, job->x_stride, done,
                           job->y + full, job->y_stride);
    }
    if (done < job->rows)
        product(job->packed, job->outputs, job->terms, job->bias, false, job->x + done * job->x_stride,
                job->x_stride, job->rows - done, job->y + done * job->y_stride, job->y_stride);
}

#endif
