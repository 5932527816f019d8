# Frames through a stream: the long step, the plain push, and everything else as checked chunks.


cdef int step_long(Stream stream, cnp.ndarray x, cnp.ndarray y, rnnrt_error *error):
    """A step as a push of one frame, which can be interrupted."""
    cdef rnnrt_array source, target
    cdef rnnrt_between *between = stream.asked()
    cdef Py_ssize_t width_in = stream.signature.inputs[0].width, width_out = stream.signature.outputs[0].width
    cdef int status
    source.data, source.frames = <float *> cnp.PyArray_DATA(x), 1
    source.time_stride, source.batch_stride = stream.batch * width_in, width_in
    source.number_stride = 1
    target.data, target.frames = <float *> cnp.PyArray_DATA(y), 1
    target.time_stride, target.batch_stride = stream.batch * width_out, width_out
    target.number_stride = 1
    with nogil:
        status = rnnrt_stream_push(stream.stream, &source, &target, between, error)
    return status if status else <int> target.frames


cdef step_checked(Stream stream, frame, out, mask):
    """`Stream.step` for everything the fast path does not take: other types and strides, several inputs or
    outputs, ids.
    """
    if stream.may_emit_many:
        raise StateError(
            "this model can answer with several frames to one step",
            fix="Use push(), which returns (k, ...) frames.",
        )
    axis = len(stream.lead())
    chunks = chunks_of(stream, frame, mask, True)
    if out is not None:
        check_out_frame(stream, out)
    answers = push_checked(stream, chunks, False, None if out is None else np.expand_dims(out, axis))
    if out is not None:
        return out if answers[0].shape[axis] else None
    return one_or_all([frame_of(a, axis) for a in answers])


cdef frame_of(answer, int axis):
    """The one frame of what a push returned, or None; where rows are out of phase, a list of these."""
    if isinstance(answer, list):
        return [row[0] if len(row) else None for row in answer]
    return answer.take(0, axis) if answer.shape[axis] else None


cdef one_or_all(list answers):
    """What a model with one output returns, or with several."""
    return answers[0] if len(answers) == 1 else tuple(answers)


cdef push_plain(Stream stream, cnp.ndarray chunk, out):
    """`Stream.push` of one plain chunk into one plain array, or into a new one where that is None."""
    cdef rnnrt_array source, target
    cdef rnnrt_error error
    cdef rnnrt_between *between
    cdef Py_ssize_t width_in = stream.signature.inputs[0].width, width_out = stream.signature.outputs[0].width
    cdef int status, axis = stream.lead_ndim
    cdef size_t frames = cnp.PyArray_DIM(chunk, axis), room, due
    stream.enter()
    due = rnnrt_stream_due(stream.stream, 0, &frames, False)
    try:
        if out is None:
            out = new_answer(stream, <Py_ssize_t> due)
        room = cnp.PyArray_DIM(<cnp.ndarray> out, axis)
        if room < due:
            raise_bad_out(out, stream.lead() + (f"at least {due}",) + tuple(stream.output_features[0][0]))
    except BaseException:
        stream.leave()
        raise
    source.data, source.frames = <float *> cnp.PyArray_DATA(chunk), frames
    source.time_stride, source.batch_stride = width_in, frames * width_in
    source.number_stride = 1
    target.data, target.frames = <float *> cnp.PyArray_DATA(<cnp.ndarray> out), room
    target.time_stride, target.batch_stride = width_out, room * width_out
    target.number_stride = 1
    if stream.work * frames > release_work:
        between = stream.asked() if stream.work * frames > long_work else NULL
        with nogil:
            status = rnnrt_stream_push(stream.stream, &source, &target, between, &error)
    else:
        status = rnnrt_stream_push(stream.stream, &source, &target, NULL, &error)
    stream.leave()
    if status == RNNRT_CANCELLED:
        raise_cancelled(stream.call)
    if status:
        raise_status(status, &error, stream.plan.names)
    if target.frames == room:
        return out
    return out[:target.frames] if axis == 0 else out[:, :target.frames]


cdef list push_short(Stream stream, given, bint one):
    """A push of an array for each input, all of one clock, or a step where it is ``one``: what each output
    answers. None where the long way is to look at what is given.
    """
    cdef rnnrt_array sources[MOST_PORTS]
    cdef rnnrt_array targets[MOST_PORTS]
    cdef rnnrt_error error
    cdef rnnrt_between *between = NULL
    cdef Signature own = stream.signature
    cdef Py_ssize_t batch = stream.batch, frames = -1
    cdef bint batched = stream.lead_ndim
    cdef Counts counts
    cdef int status
    cdef size_t k
    cdef list kept = [], answers = []
    cdef cnp.ndarray a
    if own is None or stream.scattered or (own.input_count > 1 and not isinstance(given, tuple)):
        return None
    items = given if own.input_count > 1 else (given,)
    if <size_t> len(items) != own.input_count:
        return None
    for k in range(own.input_count):
        a = plain_form(items[k], &own.inputs[k])
        if a is None or not described(
            a, &own.inputs[k], batched, not one, &batch, &frames, &sources[own.places[k]]
        ):
            return None
        kept.append(a)
    alike(1 if one else frames, &counts)
    stream.enter()
    try:
        for k in range(own.output_count):
            targets[k].frames = rnnrt_stream_due(stream.stream, k, counts.by_clock, False)
            answers.append(new_array(&own.outputs[k], batched, not one, batch, &targets[k]))
        if stream.work * counts.by_clock[0] > long_work:
            between = stream.asked()
        if stream.work * counts.by_clock[0] > release_work:
            with nogil:
                status = rnnrt_stream_push(stream.stream, sources, targets, between, &error)
        else:
            status = rnnrt_stream_push(stream.stream, sources, targets, between, &error)
    finally:
        stream.leave()
    if status == RNNRT_CANCELLED:
        raise_cancelled(stream.call)
    if status:
        raise_of_clocks(stream, status, &error, &counts, False)
    for k in range(own.output_count):
        a = <cnp.ndarray> answers[k]
        if one and not targets[k].frames:
            answers[k] = None
        elif not one and targets[k].frames != <size_t> cnp.PyArray_DIM(a, batched):
            answers[k] = a[:, :targets[k].frames] if batched else a[:targets[k].frames]
    return answers


cdef list push_checked(Stream stream, list chunks, bint ended, out):
    """Push (or flush) checked chunks; returns one array per output, with the caller's axes: in ``out`` where
    that is given.
    """
    cdef rnnrt_array c_inputs[MOST_PORTS]
    cdef rnnrt_array c_outputs[MOST_PORTS]
    cdef rnnrt_error error
    cdef rnnrt_between *between = NULL
    cdef int status
    cdef list inputs = engine_inputs(stream, chunks), outputs = []
    cdef Counts counts
    cdef size_t k = 0, frames = count_frames(stream.plan, inputs, &counts)
    if stream.scattered:
        return push_scattered(stream, inputs, &counts, ended, out)
    for a in inputs:
        describe(<cnp.ndarray> a, &c_inputs[k])
        k += 1
    stream.enter()
    try:
        for k, (features, _) in enumerate(stream.output_features):
            due = rnnrt_stream_due(stream.stream, k, counts.by_clock, ended)
            if out is not None:
                check_out(stream, out, due)
            outputs.append(np.empty((stream.batch, due, prod(features)), np.float32))
            describe(<cnp.ndarray> outputs[k].transpose(1, 0, 2), &c_outputs[k])
        if ended or stream.work * frames > long_work:
            between = stream.asked()
        with nogil:
            if ended:
                status = rnnrt_stream_flush(stream.stream, c_outputs, between, &error)
            else:
                status = rnnrt_stream_push(stream.stream, c_inputs, c_outputs, between, &error)
    finally:
        stream.leave()
    if status == RNNRT_CANCELLED:
        raise_cancelled(stream.call)
    if status:
        raise_of_clocks(stream, status, &error, &counts, ended)
    answers = []
    for k, (features, _) in enumerate(stream.output_features):
        a = outputs[k][:, :c_outputs[k].frames]
        a = a.reshape(a.shape[:2] + tuple(features))
        answers.append(a[0] if stream.batch_size is None else a)
    return answers if out is None else [filled(stream, out, answers[0])]


cdef filled(Stream stream, out, answer):
    """``answer`` in the first frames of ``out``: ``out`` itself where that has no more."""
    room = out[:len(answer)] if stream.batch_size is None else out[:, :answer.shape[1]]
    room[...] = answer
    return out if room.shape == out.shape else room


cdef list push_scattered(Stream stream, list inputs, Counts *counts, bint ended, out):
    """`push_checked` where rows are not in phase. An output is one array as ever where every row gets as many
    frames; a list with one (k, ...) array a row where they do not.
    """
    stream.enter()
    try:
        if out is not None:
            check_out(stream, out, stream.most_due(0, counts, ended))
            due = [stream.due_of(b, 0, counts, ended) for b in range(stream.batch)]
            if len(set(due)) > 1 or (stream.every_step and not stream.output_features[0][1]):
                raise StateError(
                    "rows that began at different times may be due other numbers of frames than others: "
                    "there is no one shape for out=",
                    fix="Call without out=: where they are, the answer is a list with one array a row.",
                )
        rows = push_rows([(stream, b, [a[:, b] for a in inputs]) for b in range(stream.batch)], ended)
    finally:
        stream.find_phases()
        stream.leave()
    answers = answers_of_rows(stream, rows)
    return answers if out is None else [filled(stream, out, answers[0])]


cdef list answers_of_rows(Stream stream, list rows):
    """What each row answered, for each output, as this stream returns it."""
    answers = []
    for k, (features, _) in enumerate(stream.output_features):
        of_rows = [row[k].reshape((-1,) + tuple(features)) for row in rows]
        if stream.batch_size is None:
            answers.append(np.ascontiguousarray(of_rows[0]))
        else:
            answers.append(np.stack(of_rows) if len({len(a) for a in of_rows}) == 1 else of_rows)
    return answers
