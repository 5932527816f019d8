# Rows of several streams as one batch: those of one phase run together, each with the bits it would have
# alone.


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
            stream.busy = False
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


cdef class Group:
    """Rows of one phase, with all that a push of them needs. Made before any row moves: after that nothing
    asks for memory here.
    """

    cdef char **blocks
    cdef rnnrt_array inputs[MOST_PORTS]
    cdef rnnrt_array outputs[MOST_PORTS]
    cdef size_t count
    cdef list members, input_arrays, output_arrays  # numbers of the rows; (time, row, width) arrays

    def __cinit__(self, Plan plan, list rows, list members, bint every_step, bint ended):
        cdef Stream stream
        cdef Counts counts
        cdef size_t k
        self.members, self.count = members, len(members)
        self.blocks = <char **> calloc(self.count, sizeof(char *))
        if self.blocks == NULL:
            raise MemoryError()
        for k, i in enumerate(members):
            stream = rows[i][0]
            self.blocks[k] = rnnrt_stream_row(stream.stream, rows[i][1])
        self.input_arrays = [np.stack(arrays, 1) for arrays in zip(*[rows[i][2] for i in members])]
        count_frames(plan, self.input_arrays, &counts)
        self.output_arrays = []
        for k, width in enumerate(plan.widths):
            due = rnnrt_row_due(plan.plan, self.blocks[0], every_step, k, counts.by_clock, ended)
            self.output_arrays.append(np.empty((due, self.count, width), np.float32))
        for k, a in enumerate(self.input_arrays):
            describe(<cnp.ndarray> a, &self.inputs[k])
        for k, a in enumerate(self.output_arrays):
            describe(<cnp.ndarray> a, &self.outputs[k])

    def __dealloc__(self):
        free(self.blocks)


def push_rows(list rows, bint ended):
    """Push (or flush) single rows of streams of one plan: ``rows`` of (stream, row, [(time, width) array of
    each input]).

    Rows of one phase run as one batch, with the bits each would have alone. Returns a list of (k, width)
    arrays, one an output, for each row. The streams were entered by the caller; nothing has changed where a
    row could not take the frames. After a failure half-way all of the streams have ended.
    """
    cdef rnnrt_error error
    cdef Stream stream
    cdef Plan plan
    cdef Group group
    cdef Call call = None
    cdef rnnrt_between *between = NULL
    cdef int status
    cdef bint every_step
    cdef Counts counts
    cdef list answers = [None] * len(rows)
    cdef size_t frames
    if not rows:
        return answers
    stream = rows[0][0]
    plan, every_step = stream.plan, stream.every_step
    frames = count_frames(plan, rows[0][2], &counts)
    members = by_phase(rows, counts.by_clock, ended)
    groups = [Group(plan, rows, numbers, every_step, ended) for numbers in members]
    if rnnrt_plan_work(plan.plan, frames) * len(rows) > long_work:
        call = Call(0)
        between = call.start()
    try:
        for group in groups:
            with nogil:
                status = rnnrt_rows_push(plan.plan, group.blocks, group.count, every_step, group.inputs,
                                         ended, group.outputs, between, &error)
            if status == RNNRT_CANCELLED:
                raise_cancelled(call)
            if status:
                raise_status(status, &error, plan.names)
            for k, i in enumerate(group.members):
                answers[i] = [a[:group.outputs[o].frames, k] for o, a in enumerate(group.output_arrays)]
    except BaseException:
        ended = True  # some rows have moved, and their answers are lost
        raise
    finally:
        if ended:
            for stream, _, _ in rows:
                rnnrt_stream_end(stream.stream)
    return answers


cdef list by_phase(list rows, const size_t *frames, bint ended):
    """Numbers of the rows of each phase, or an error where one of them cannot take the frames."""
    cdef rnnrt_error error
    cdef Stream stream
    cdef char *block
    cdef int status
    error.layer, error.text = -1, NULL
    members = {}
    for i, (stream, b, _) in enumerate(rows):
        if rnnrt_stream_ended(stream.stream):
            raise_status(RNNRT_ENDED, &error, stream.plan.names)
        block = rnnrt_stream_row(stream.stream, b)
        status = rnnrt_row_fits(stream.plan.plan, block, stream.every_step, frames, ended, &error)
        if status:
            raise_status(status, &error, stream.plan.names)
        members.setdefault(stream.phase_of(b), []).append(i)
    return list(members.values())
