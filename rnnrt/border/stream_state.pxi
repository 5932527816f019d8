# What the rows of a stream remember, as named arrays.


def state_arrays(Plan plan):
    """(name, shape, dtype) of every array a row of the plan keeps."""
    cdef rnnrt_state_array array
    cdef size_t k = 0
    table = []
    while rnnrt_plan_state_array(plan.plan, k, &array):
        word, layer = array.word.decode(), plan.names[array.layer]
        if word == "queue":
            word += f".{array.input}"
        elif word in ("h", "c", "state") and layer in plan.states:
            word = plan.states[layer][array.input]
        elif word == "held":
            word += f".{array.input - len(plan.states[layer])}"
        shape = [array.width]
        if array.word in (b"window", b"queue", b"frames"):
            shape.insert(0, array.frames)
        table.append((f"{layer}/{word}", tuple(shape), np.float64 if array.wide else np.float32))
        k += 1
    return table


cdef dict empty_state(Stream stream):
    """{name: empty array} of all that the rows keep."""
    table = state_arrays(stream.plan)
    arrays = {name: np.empty((stream.batch,) + shape, dtype) for name, shape, dtype in table}
    clocks = () if stream.clocks == 1 else (stream.clocks,)
    arrays["position"] = np.empty((stream.batch,) + clocks, np.uint64)
    return arrays


cdef dict state_kind(Stream stream):
    """What a State must have in common with this stream, beside the batch, to be its state."""
    digest = ""
    if stream.once:
        import hashlib

        digest = hashlib.sha256(b"".join([a.tobytes() for a in stream.once])).hexdigest()
    return {"every_step": bool(stream.every_step), "given_once": digest}


cdef dict read_rows(Stream stream):
    """A copy of all that the rows keep."""
    cdef char *row
    arrays = empty_state(stream)
    stream.enter()
    try:
        check_goes_on(stream)
        for b in range(stream.batch):
            row = rnnrt_stream_row(stream.stream, b)
            for k, a in enumerate(arrays.values()):
                if k + 1 < len(arrays):
                    rnnrt_row_read(stream.plan.plan, row, k, cnp.PyArray_DATA(<cnp.ndarray> a[b]))
            arrays["position"][b] = stream.positions_of(b)
    finally:
        stream.leave()
    return arrays


cdef int write_rows(Stream stream, dict arrays) except -1:
    """Rows that go on from checked arrays; without "position" they begin with them."""
    cdef rnnrt_error error
    cdef char *row
    cdef uint64_t positions[RNNRT_MAX_CLOCKS]
    cdef int status = RNNRT_OK
    names = [name for name, _, _ in state_arrays(stream.plan)]
    arrays = {name: np.ascontiguousarray(a) for name, a in arrays.items()}
    stream.enter()
    try:
        rnnrt_stream_reset(stream.stream)
        for b in range(stream.batch):
            row = rnnrt_stream_row(stream.stream, b)
            if not status and "position" in arrays:
                for clock, position in zip(stream.clock_order, np.atleast_1d(arrays["position"][b])):
                    positions[clock] = position
                status = rnnrt_row_seek(stream.plan.plan, row, positions, stream.every_step)
            for k, name in enumerate(names):
                if name in arrays:
                    rnnrt_row_write(stream.plan.plan, row, k, cnp.PyArray_DATA(<cnp.ndarray> arrays[name][b]))
        stream.find_phases()
        if status:
            rnnrt_stream_end(stream.stream)
    finally:
        stream.leave()
    if status:
        error.layer, error.text = -1, NULL
        raise_status(status, &error, stream.plan.names)
    return 0


cdef finite_rows(Stream stream):
    """Whether every recurrent state of a row is finite, for each row."""
    cdef size_t b
    rows = np.empty(stream.batch, bool)
    stream.enter()
    try:
        for b in range(stream.batch):
            rows[b] = rnnrt_row_finite(stream.plan.plan, rnnrt_stream_row(stream.stream, b))
    finally:
        stream.leave()
    return rows


cdef int copy_rows(Stream stream, Stream other) except -1:
    """``other``, a new stream of the same kind, goes on from where this one is."""
    cdef size_t b
    stream.enter()
    try:
        check_goes_on(stream)
        for b in range(stream.batch):
            rnnrt_row_copy(stream.plan.plan, rnnrt_stream_row(other.stream, b),
                           rnnrt_stream_row(stream.stream, b))
        other.scattered = stream.scattered
    finally:
        stream.leave()
    return 0


cdef int check_goes_on(Stream stream) except -1:
    if rnnrt_stream_ended(stream.stream):
        raise StateError(
            "the sequence is over: there is no state to go on from", fix="Take the state before flush()."
        )
    return 0
