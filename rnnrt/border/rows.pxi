# Rows of several streams in one call, each with the bits it would have alone: see rnnrt_rows_push.


def push_streams(list streams, list given, list masks, bint one, check=None):
    """What every stream returns for its chunk (or, with ``one``, its frame) of ``given``, of which its one of
    ``masks`` says what is real: rows of all of them in one go.

    Every check comes before the first row moves, last ``check(room)``, where room is the most frames that a
    row is due.
    """
    cdef Stream stream
    cdef list rows = [], entered = []
    cdef size_t room = 0
    cdef Counts counts
    lengths = None
    for stream, chunk, mask in zip(streams, given, masks):
        if stream.plan is not (<Stream> streams[0]).plan:
            raise StateError(
                "some of the streams were made with inputs given whole, or masked, and others were not",
                fix="Push them in two calls.",
            )
        inputs = engine_inputs(stream, chunks_of(stream, chunk, mask, one))
        own = {port.layer.name: len(a) for a, port in zip(inputs, stream.all_inputs) if port.signal.time}
        if lengths is not None and own != lengths:
            raise ShapeError(
                "the chunks have different numbers of frames",
                found=f"{' and '.join([told_frames(n) for n in (lengths, own)])}",
                fix="Push streams with chunks of other lengths in another call.",
            )
        lengths = own
        rows += [(stream, b, [a[:, b] for a in inputs]) for b in range(stream.batch)]
    try:
        for stream in streams:
            stream.enter()
            entered.append(stream)
        if check is not None:
            for stream in streams:
                count_frames(stream.plan, rows[0][2], &counts)
                room = max(room, stream.most_due(0, &counts, False))
            check(room)
        row_answers = push_rows(rows, False)
    finally:
        for stream in entered:
            stream.find_phases()
            stream.leave()
    answers, first = [], 0
    for stream in streams:
        answers.append(answers_of_rows(stream, row_answers[first:first + stream.batch]))
        first += stream.batch
    return answers


cdef told_frames(dict frames):
    """{input: frames} in a message: the number alone where there is one input."""
    if len(frames) == 1:
        return str(*frames.values())
    return "(" + ", ".join([f"{name!r} {count}" for name, count in frames.items()]) + ")"


def push_rows(list rows, bint ended):
    """Push (or flush) single rows of streams of one plan: ``rows`` of (stream, row, [(time, width) array of
    each input]).

    Returns a list of (k, width) arrays, one an output, for each row. The streams were entered by the caller;
    nothing has changed where a row could not take the frames. After a failure half-way all of the streams
    have ended.
    """
    cdef rnnrt_error error
    cdef Stream stream
    cdef Plan plan
    cdef Call call = None
    cdef rnnrt_between *between = NULL
    cdef int status = RNNRT_NO_MEMORY
    cdef bint every_step
    cdef Counts counts
    cdef rnnrt_array inputs[MOST_PORTS]
    cdef rnnrt_array outputs[MOST_PORTS]
    cdef size_t frames, k, count = len(rows)
    cdef char **blocks
    cdef cnp.ndarray made
    if not rows:
        return []
    stream = rows[0][0]
    plan, every_step = stream.plan, stream.every_step
    frames = count_frames(plan, rows[0][2], &counts)
    arrays = [np.stack(given, 1) for given in zip(*[given for _, _, given in rows])]
    room = most_due_of(rows, &counts, ended)
    answers = [np.empty((due, count, width), np.float32) for due, width in zip(room, plan.widths)]
    made = np.empty((len(answers), count), np.uintp)
    for k, a in enumerate(arrays):
        describe(<cnp.ndarray> a, &inputs[k])
    for k, a in enumerate(answers):
        describe(<cnp.ndarray> a, &outputs[k])
    if rnnrt_plan_work(plan.plan, frames) * count > long_work:
        call = Call(0)
        between = call.start()
    blocks = <char **> calloc(count, sizeof(char *))
    if blocks == NULL:
        raise MemoryError()
    try:
        for k, (stream, b, _) in enumerate(rows):
            blocks[k] = rnnrt_stream_row(stream.stream, b)
        with nogil:
            status = rnnrt_rows_push(plan.plan, blocks, count, every_step, inputs, ended, outputs,
                                     <size_t *> cnp.PyArray_DATA(made), between, &error)
    finally:
        free(blocks)
        if ended or status:  # some rows have moved, and their answers are lost
            for stream, _, _ in rows:
                rnnrt_stream_end(stream.stream)
    if status == RNNRT_CANCELLED:
        raise_cancelled(call)
    if status:
        raise_status(status, &error, plan.names)
    return [[a[:n, k] for a, n in zip(answers, of_row)] for k, of_row in enumerate(made.T.tolist())]


cdef list most_due_of(list rows, Counts *counts, bint ended):
    """The most frames of each output that any row is due, or an error where one of them cannot take the
    frames.
    """
    cdef rnnrt_error error
    cdef Stream stream
    cdef Py_ssize_t k
    cdef int status
    error.layer, error.text = -1, NULL
    stream = rows[0][0]
    room = [0] * len(stream.output_features)
    for stream, b, _ in rows:
        status = RNNRT_ENDED
        if not rnnrt_stream_ended(stream.stream):
            status = rnnrt_row_fits(stream.plan.plan, rnnrt_stream_row(stream.stream, b), stream.every_step,
                                    counts.by_clock, ended, &error)
        if status:
            raise_status(status, &error, stream.plan.names)
        for k in range(len(room)):
            room[k] = max(room[k], stream.due_of(b, k, counts, ended))
    return room
