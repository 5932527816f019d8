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
