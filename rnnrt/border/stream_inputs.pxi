# What a stream is given, checked: each input as an array of one frame or a chunk, and the ``out`` to fill.


cdef inline bint fits_frames(Stream stream, x, bint timed, Port *port) noexcept:
    """Whether ``x`` is an array (``lead``, features), or (``lead``, time, features) where it is ``timed``."""
    cdef int before = stream.lead_ndim + timed, axis
    if not cnp.PyArray_CheckExact(x) or cnp.PyArray_NDIM(<cnp.ndarray> x) != before + port.rank - 2:
        return False
    if stream.lead_ndim and cnp.PyArray_DIM(<cnp.ndarray> x, 0) != <Py_ssize_t> stream.batch:
        return False
    for axis in range(2, port.rank):  # after the batch and the time
        if cnp.PyArray_DIM(<cnp.ndarray> x, before + axis - 2) != port.sizes[axis]:
            return False
    return True


cdef inline cnp.ndarray plain_input(Stream stream, x, bint timed):
    """``x`` as the engine reads it, itself where it can; None where the long way is to look at it."""
    cdef Port *port = &stream.signature.inputs[0]
    if port.ids:
        x = plain_form(x, port)
        return <cnp.ndarray> x if x is not None and fits_frames(stream, x, timed, port) else None
    return plain_of(<cnp.ndarray> x) if fits_frames(stream, x, timed, port) else None


cdef inline bint can_fill(Stream stream, out, bint timed) noexcept:
    """Whether the engine writes to ``out`` as it lies."""
    return fits_frames(stream, out, timed, &stream.signature.outputs[0]) and is_plain_to_fill(
        out, cnp.PyArray_NDIM(<cnp.ndarray> out)
    )


cdef cnp.ndarray new_answer(Stream stream, Py_ssize_t count):
    """An array for ``count`` frames out, or for one without an axis of time where it is -1."""
    cdef cnp.npy_intp shape[MOST_AXES + 2]
    cdef int ndim = stream.lead_ndim, k
    cdef Port *port = &stream.signature.outputs[0]
    shape[0] = stream.batch
    if count >= 0:
        shape[ndim] = count
        ndim += 1
    for k in range(2, port.rank):
        shape[ndim] = port.sizes[k]
        ndim += 1
    return cnp.PyArray_SimpleNew(ndim, shape, cnp.NPY_FLOAT32)


cdef list paired(Stream stream, given, mask):
    """What is given for each input with a time axis: several come as a tuple, in which masks may be left out.
    """
    ports = stream.timed_inputs
    unmasked = sum([not port.is_mask for port in ports])
    several = isinstance(given, (tuple, list) if unmasked > 1 else tuple) and len(ports) > 1
    given = list(given) if several else [given]
    if len(given) == unmasked:
        rest = iter(given)
        given = [None if port.is_mask else next(rest) for port in ports]
    if len(given) != len(ports):
        raise ShapeError(
            "the stream takes several inputs, as a tuple in their order",
            expected=f"({', '.join([port.layer.name for port in ports])})",
            found=f"{len(given)} of them" if several else type(given[0]).__name__,
            fix="None stands for an input that has no frames now." if stream.clocks > 1 else None,
        )
    return given if mask is None else masks.placed(ports, given, mask)


cdef list chunks_of(Stream stream, given, mask, bint one):
    """The inputs with a time axis as checked chunks; what is given are single frames where it is ``one``.
    Without a mask all is real. Of several inputs one may be None: no frames.
    """
    cdef tuple lead = stream.lead()
    cdef int axis = len(lead)
    chunks, frames = [], {}
    for port, clock, x in zip(stream.timed_inputs, stream.timed_clocks, paired(stream, given, mask)):
        if x is None and port.is_mask:
            chunks.append(None)
            continue
        if x is None and len(stream.timed_inputs) > 1:
            if one:
                raise ShapeError(
                    "a step takes a frame of every input", where=port.where, found="None",
                    fix="push() takes chunks, and None for an input that has no frames now.",
                )
            x = np.zeros(lead + (0,) + port.signal.features, np.float32)
        x = checked_input(stream, x, port, clock, lead, not one)
        x = port.checked_mask(x) if port.is_mask else x
        x = np.expand_dims(x, axis) if one else x
        frames.setdefault(clock, x.shape[axis])
        chunks.append(x)
    for k, port in enumerate(stream.timed_inputs):
        if chunks[k] is None:
            shape = lead + (frames.get(stream.timed_clocks[k], 1 if one else 0),) + port.signal.features
            chunks[k] = np.ones(shape, np.float32)
    check_alike(stream, chunks, axis)
    return chunks


cdef checked_input(Stream stream, x, port, int32_t clock, tuple lead, bint timed):
    """``x`` as a float32 array of one frame (``lead``, features) or a chunk (``lead``, time, features), or an
    error that names the input.
    """
    try:
        x = as_array(x, port.where)
    except DTypeError as error:
        if len(stream.timed_inputs) == 1 and isinstance(x, (tuple, list)):
            error.fix = f"This stream takes frames of {port.layer.name!r} alone, as one array."
        raise
    shape = lead + ((None,) if timed else ()) + port.signal.features
    if x.ndim != len(shape) or any(n is not None and n != found for n, found in zip(shape, x.shape)):
        expected = tuple("time" if n is None else n for n in shape)
        raise ShapeError(
            "the input has the wrong shape",
            where=port.where,
            expected=str(expected).replace("'", ""),
            found=str(x.shape),
        )
    port.check_ids(x, ["b"] * len(lead) + ["t"] * timed, rnnrt_stream_position(stream.stream, clock))
    return as_float32(x, port.where)


cdef list engine_inputs(Stream stream, list chunks):
    """Chunks of the inputs with a time axis as (time, batch, width) arrays of all inputs."""
    given, arrays = {port.layer.name: a for port, a in zip(stream.timed_inputs, chunks)}, []
    for port in stream.all_inputs:
        a = given.get(port.layer.name)
        if a is None:
            arrays.append(np.zeros((0, stream.batch, port.signal.width), np.float32))
        else:
            arrays.append(time_major(a, stream.batch_size, port.signal.width))
    return arrays


cdef check_out_frame(Stream stream, out):
    """Whether ``out`` can take a frame of the one output; of several it takes none, which the push then says.
    """
    shape = stream.lead() + tuple(stream.output_features[0][0])
    fits = isinstance(out, np.ndarray) and out.dtype == np.float32 and out.shape == shape and out.flags.carray
    if len(stream.output_features) == 1 and not fits:
        raise_bad_out(out, shape)


cdef check_out(Stream stream, out, size_t due):
    """Whether ``out`` can take ``due`` frames of the one output."""
    cdef tuple lead = stream.lead()
    cdef int axis = len(lead)
    if len(stream.output_features) != 1:
        raise ShapeError(
            "out= works for models with one output only", found=f"{len(stream.output_features)} outputs"
        )
    shape = lead + (f"at least {due}",) + tuple(stream.output_features[0][0])
    if (
        not isinstance(out, np.ndarray)
        or out.dtype != np.float32
        or not out.flags.writeable
        or out.ndim != len(shape)
        or out.shape[axis] < due
        or out.shape[:axis] + out.shape[axis + 1:] != shape[:axis] + shape[axis + 1:]
    ):
        raise_bad_out(out, shape)


cdef raise_bad_out(out, shape):
    if not isinstance(out, np.ndarray) or out.dtype != np.float32:
        raise DTypeError("out must be a float32 array", found=str(getattr(out, "dtype", type(out).__name__)))
    # "at least 7" without quotation marks
    expected = "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"
    raise ShapeError(
        "out does not fit", expected=f"{expected}, C-contiguous and writeable", found=f"{out.shape}"
    )
