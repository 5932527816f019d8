# Numbers of frames, one for every clock of a plan: inputs whose frames meet share one.


cdef struct Counts:
    size_t by_clock[RNNRT_MAX_CLOCKS]


cdef const size_t *alike(size_t frames, Counts *counts) noexcept:
    """As many frames of every clock."""
    for k in range(RNNRT_MAX_CLOCKS):
        counts.by_clock[k] = frames
    return counts.by_clock


cdef size_t count_frames(Plan plan, list inputs, Counts *counts) except? 0:
    """The frames of every clock among (time, ...) arrays of the inputs, which agree in each; returns the most
    of them.
    """
    cdef int32_t clock
    cdef size_t most = 0
    alike(0, counts)
    for k, a in enumerate(inputs):
        clock = rnnrt_plan_clock(plan.plan, k)
        if clock >= 0:
            counts.by_clock[clock] = len(a)
            most = max(most, <size_t> len(a))
    return most


cdef int counts_of(Stream stream, n, Counts *counts) except -1:
    """``n``, a number of frames or one for every clock, as Counts; ShapeError for anything else."""
    several = isinstance(n, tuple) and len(stream.clock_order) > 1
    sizes = n if several else (n,)
    if several and len(sizes) != len(stream.clock_order):
        raise ShapeError(
            "there must be one number of frames a clock",
            expected=f"{len(stream.clock_order)} clocks: {stream.model.clocks}",
            found=repr(n),
        )
    for size in sizes:
        if not isinstance(size, (int, np.integer)) or not 0 <= size <= 1 << 48:
            raise ShapeError("the number of frames must be a whole number from 0", found=repr(n))
    if not several:
        alike(n, counts)
        return 0
    alike(0, counts)
    for clock, size in zip(stream.clock_order, sizes):
        counts.by_clock[clock] = size
    return 0


cdef check_alike(Stream stream, list chunks, int axis):
    """Whether inputs of one clock have as many frames as one another."""
    first = {}
    for port, clock, a in zip(stream.timed_inputs, stream.timed_clocks, chunks):
        known, frames = first.setdefault(clock, (port, a.shape[axis]))
        if frames != a.shape[axis]:
            raise ShapeError(
                "a layer joins these inputs frame by frame, and they have different numbers of frames",
                where=f"inputs {known.layer.name!r} and {port.layer.name!r}",
                expected=str(frames),
                found=str(a.shape[axis]),
                fix="Push as many frames of both.",
            )


cdef raise_of_clocks(Stream stream, int status, rnnrt_error *error, Counts *counts, bint ended):
    """``raise_status`` where several clocks may be what is wrong: the error says how far each is."""
    if stream.clocks < 2 or status not in (RNNRT_TOO_SHORT, RNNRT_MISALIGNED):
        raise_status(status, error, stream.plan.names)
    taken = stream.positions_of(0)
    frames = {}
    for names, clock, before in zip(stream.part.clocks, stream.clock_order, taken):
        frames |= dict.fromkeys(names, before * ended + counts.by_clock[clock])
    none = [repr(name) for name, count in frames.items() if not count]
    text = ", ".join([f"{name!r} {count}" for name, count in frames.items()])
    if ended:
        raise ShapeError(
            "the sequence ends, and an input is too short for what this layer joins",
            where=f"layer {stream.plan.names[error.layer]!r}",
            found=f"frames: {text}",
            fix=f"Push frames of {' and '.join(none)} first." if none else "Push more frames of it first.",
        )
    raise ShapeError(
        "joins branches that have different numbers of frames after this push",
        where=f"layer {stream.plan.names[error.layer]!r}",
        found=f"frames pushed: {text}",
        fix="With every_step, push as many frames of each.",
    )
