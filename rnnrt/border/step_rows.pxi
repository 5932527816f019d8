# One frame of many streams where all is plain: the short way of Model.step_many.


def step_rows(model, list streams, frames, out):
    """What ``step_many`` returns where all is plain: one flat input and output, ``frames`` (and ``out``) one
    float32 array (rows, features). NotImplemented, and nothing has changed, where something is not: also
    where an error is to be told.
    """
    cdef Stream first
    cdef Py_ssize_t entered = 0, rows = plain_rows(model, streams, frames, out), k
    cdef bint ready
    cdef int status = RNNRT_OK
    cdef char **blocks = NULL
    cdef size_t *made
    cdef rnnrt_array source, target
    cdef rnnrt_error error
    cdef rnnrt_between *between = NULL
    if not rows:
        return NotImplemented
    first = <Stream> streams[0]
    blocks = <char **> calloc(rows, sizeof(char *) + sizeof(size_t))
    if blocks == NULL:
        raise MemoryError()
    made = <size_t *> (blocks + rows)
    try:
        ready = enter_rows(model, streams, first, blocks, &entered)
        if not ready:
            return NotImplemented
        answer = new_frames(rows, first.signature.outputs[0].width) if out is None else out
        describe_frames(<cnp.ndarray> frames, rows, first.signature.inputs[0].width, &source)
        describe_frames(<cnp.ndarray> answer, rows, first.signature.outputs[0].width, &target)
        if first.work * rows > release_work:
            between = first.asked() if first.work * rows > long_work else NULL
            with nogil:
                status = rnnrt_rows_push(first.plan.plan, blocks, rows, first.every_step, &source, False,
                                         &target, made, between, &error)
        else:
            status = rnnrt_rows_push(first.plan.plan, blocks, rows, first.every_step, &source, False,
                                     &target, made, NULL, &error)
        if status == RNNRT_CANCELLED:
            raise_cancelled(first.call)
        if status:
            raise_status(status, &error, first.plan.names)
        return frames_of_streams(streams, answer, made) if out is None else due_rows(rows, made)
    finally:
        for k in range(entered):
            leave_row(<Stream> streams[k], status)
        free(blocks)


cdef inline int leave_row(Stream stream, int status) except -1:
    if status:  # some ops have gone on: none of the sequences can
        rnnrt_stream_end(stream.stream)
    if stream.scattered:
        stream.find_phases()
    stream.leave()
    return 0


cdef inline Py_ssize_t plain_rows(model, list streams, frames, out) except -1:
    """How many rows the streams have; 0 where something is not plain, as far as that shows from outside."""
    cdef Stream first
    cdef Py_ssize_t rows = 0, k
    for k in range(len(streams)):
        if type(streams[k]) is not Stream:
            return 0
        rows += (<Stream> streams[k]).batch
    if not rows:
        return 0
    first = <Stream> streams[0]
    if first.model is not model or not first.flat or first.may_emit_many:
        return 0
    if not holds_frames(frames, rows, first.signature.inputs[0].width):
        return 0
    if out is not None and not (
        holds_frames(out, rows, first.signature.outputs[0].width)
        and cnp.PyArray_ISWRITEABLE(<cnp.ndarray> out)
    ):
        return 0
    return rows


cdef inline int enter_rows(model, list streams, Stream first, char **blocks, Py_ssize_t *entered) except -1:
    """Enter the streams, which ``entered`` counts, and find the blocks of their rows: 1 where all can step, 0
    where not.
    """
    cdef Stream stream
    cdef Py_ssize_t rows = 0, k
    cdef size_t b, one = 1
    for k in range(len(streams)):
        stream = <Stream> streams[k]
        if (
            stream.model is not model
            or stream.plan is not first.plan
            or stream.every_step != first.every_step
            or not rnnrt_take_flag(&stream.busy)  # by another thread, or named twice here
        ):
            return 0
        entered[0] += 1
        if rnnrt_stream_ended(stream.stream):
            return 0
        for b in range(stream.batch):
            blocks[rows] = rnnrt_stream_row(stream.stream, b)
            if rnnrt_row_fits(first.plan.plan, blocks[rows], first.every_step, &one, False, NULL):
                return 0
            rows += 1
    return 1


cdef inline bint holds_frames(a, Py_ssize_t rows, Py_ssize_t width) noexcept:
    """Whether ``a`` is a plain array (rows, width)."""
    return (
        is_plain(a, 2)
        and cnp.PyArray_DIM(<cnp.ndarray> a, 0) == rows
        and cnp.PyArray_DIM(<cnp.ndarray> a, 1) == width
    )


cdef inline new_frames(Py_ssize_t rows, Py_ssize_t width):
    cdef cnp.npy_intp shape[2]
    shape[0], shape[1] = rows, width
    return cnp.PyArray_SimpleNew(2, shape, cnp.NPY_FLOAT32)


cdef inline void describe_frames(cnp.ndarray a, Py_ssize_t rows, Py_ssize_t width, rnnrt_array *to) noexcept:
    """A plain array (rows, width) as one frame of a batch."""
    to.data, to.frames = <float *> cnp.PyArray_DATA(a), 1
    to.time_stride, to.batch_stride = rows * width, width
    to.number_stride = 1


cdef inline due_rows(Py_ssize_t rows, const size_t *made):
    """Whether each row was due, as bools."""
    cdef cnp.npy_intp shape[1]
    cdef Py_ssize_t row
    shape[0] = rows
    due = cnp.PyArray_SimpleNew(1, shape, cnp.NPY_BOOL)
    for row in range(rows):
        (<char *> cnp.PyArray_DATA(<cnp.ndarray> due))[row] = made[row] > 0
    return due


cdef list frames_of_streams(list streams, answer, const size_t *made):
    """What each stream returns, of (rows, features): a frame, or one for each row of its batch, None where
    none is due; where some are, a list.
    """
    cdef Stream stream
    cdef Py_ssize_t first = 0, row, due
    frames = []
    for stream in streams:
        due = 0
        for row in range(first, first + <Py_ssize_t> stream.batch):
            due += made[row] > 0
        if due == 0:
            frames.append(None)
        elif stream.batch_size is None:
            frames.append(answer[first])
        elif due == <Py_ssize_t> stream.batch:
            frames.append(answer[first:first + <Py_ssize_t> stream.batch])
        else:
            frames.append([answer[row] if made[row] else None
                           for row in range(first, first + <Py_ssize_t> stream.batch)])
        first += stream.batch
    return frames
