# Calls with whole inputs.


cdef list run_whole(Plan plan, size_t batch, list inputs, list outputs, lengths, initial, final, size_t block,
                    Call call, int64_t first):
    """What Plan.run says."""
    cdef rnnrt_array c_inputs[MOST_PORTS]
    cdef rnnrt_array c_outputs[MOST_PORTS]
    cdef rnnrt_state_value *states = NULL
    cdef rnnrt_error error
    cdef const int64_t *c_lengths = NULL
    cdef size_t n_initial = len(initial), n_final = len(final)
    cdef rnnrt_between *between = NULL if call is None else &call.watch.between
    cdef int status
    check_ports(len(inputs), len(outputs))
    for i, a in enumerate(inputs):
        describe(<cnp.ndarray> a, &c_inputs[i])
    for i, a in enumerate(outputs):
        describe(<cnp.ndarray> a, &c_outputs[i])
    if lengths is not None:
        c_lengths = <const int64_t *> cnp.PyArray_DATA(<cnp.ndarray> lengths)
    if n_initial + n_final:
        states = <rnnrt_state_value *> calloc(n_initial + n_final, sizeof(rnnrt_state_value))
        if states == NULL:
            raise MemoryError()
        for i, (value, a) in enumerate(list(initial) + list(final)):
            states[i].value = value
            states[i].data = <float *> cnp.PyArray_DATA(<cnp.ndarray> a)
    with nogil:
        status = rnnrt_run(plan.plan, batch, c_inputs, c_outputs, c_lengths, states, n_initial,
                           states + n_initial, n_final, block, between, &error)
    free(states)
    if status == RNNRT_CANCELLED:
        raise_cancelled(call)
    if status:
        error.batch_row += first
        raise_status(status, &error, plan.names)
    return [c_outputs[i].frames for i in range(len(outputs))]


cdef run_plain(Plan plan, x, Py_ssize_t width, Py_ssize_t length, bint timed, bint first_in,
               bint first_out):
    """What Plan.answer says."""
    cdef rnnrt_array source, target
    cdef cnp.ndarray y
    cdef Py_ssize_t batch, frames
    cdef size_t one_clock
    cdef int ndim
    if not cnp.PyArray_CheckExact(x):
        return None
    ndim = cnp.PyArray_NDIM(<cnp.ndarray> x)
    if ndim < 2 or ndim > 3 or not is_plain(x, ndim):
        return None
    if cnp.PyArray_DIM(<cnp.ndarray> x, ndim - 1 - first_in) != width:
        return None
    batch = cnp.PyArray_DIM(<cnp.ndarray> x, 0) if ndim == 3 else 1
    frames = cnp.PyArray_DIM(<cnp.ndarray> x, ndim - 2 + first_in)
    if batch < 1 or frames < 1 or (length and frames != length):
        return None
    source.data, source.frames = <float *> cnp.PyArray_DATA(<cnp.ndarray> x), frames
    lay_out(&source, width, first_in)
    one_clock = <size_t> frames
    target.frames = rnnrt_plan_due(plan.plan, 0, &one_clock, True)
    if not target.frames:
        return None
    y = new_output(plan, batch, ndim == 3, timed, first_out, &target)
    run_one(plan, batch, &source, &target)
    return y


cdef inline void lay_out(rnnrt_array *array, Py_ssize_t width, bint first) noexcept:
    """The strides of (batch, time, width), or of (batch, width, time)."""
    array.time_stride = 1 if first else width
    array.number_stride = array.frames if first else 1
    array.batch_stride = array.frames * width


cdef cnp.ndarray new_output(Plan plan, Py_ssize_t batch, bint batched, bint timed, bint first,
                            rnnrt_array *target):
    """An array for ``target.frames`` frames of the one output, which ``target`` then describes."""
    cdef cnp.npy_intp shape[3]
    cdef Py_ssize_t width = plan.widths[0]
    cdef int ndim = 0
    cdef cnp.ndarray y
    if batched:
        shape[ndim], ndim = batch, ndim + 1
    shape[ndim] = width
    if timed:
        shape[ndim + first], shape[ndim + (not first)] = <cnp.npy_intp> target.frames, width
        ndim += 1
    y = <cnp.ndarray> cnp.PyArray_SimpleNew(ndim + 1, shape, cnp.NPY_FLOAT32)
    target.data = <float *> cnp.PyArray_DATA(y)
    lay_out(target, width, first)
    return y


cdef int run_one(Plan plan, Py_ssize_t batch, rnnrt_array *source, rnnrt_array *target) except -1:
    """One input and one output; with the GIL where the work is short, and interruptible where it is long."""
    cdef rnnrt_error error
    cdef double work = rnnrt_plan_work(plan.plan, source.frames) * batch
    cdef Call call = None
    cdef rnnrt_between *between = NULL
    cdef int status
    if work > long_work:
        call = Call(work)
        between = call.start()
    if work > release_work:
        with nogil:
            status = rnnrt_run(plan.plan, batch, source, target, NULL, NULL, 0, NULL, 0, 0, between, &error)
    else:
        status = rnnrt_run(plan.plan, batch, source, target, NULL, NULL, 0, NULL, 0, 0, NULL, &error)
    if status == RNNRT_CANCELLED:
        raise_cancelled(call)
    if status:
        raise_status(status, &error, plan.names)
    return 0
