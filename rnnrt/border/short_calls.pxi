# The short way of a call with whole inputs: arrays in the source's axes, read and written where they lie.
# What is not as it should be is left to the long way, which says what is wrong.


cdef struct Port:
    # An input or an output: its axes as the source has them, the batch among them.
    int rank, batch, time, last  # which axis is that; -1: none. last: a frame's last; its axes are in order
    Py_ssize_t sizes[MOST_AXES + 2]  # of each axis; 0: free
    Py_ssize_t width  # numbers of a frame
    double ids        # an input of whole numbers from 0 to less than this; 0: of any numbers


cdef enum:
    MOST_CONVERTED = 1 << 20  # numbers of an array of another type: larger ones are converted in parts


@cython.final
cdef class Signature:
    """What goes in and out. ``inputs``, ``outputs``: (letters of the axes, their sizes, None for a free one,
    bound of ids or 0) each; ``places``: the engine's number of each input.
    """

    cdef size_t input_count, output_count
    cdef size_t places[MOST_PORTS]
    cdef Port inputs[MOST_PORTS]
    cdef Port outputs[MOST_PORTS]

    def __cinit__(self, list inputs, list outputs, list places):
        self.input_count, self.output_count = len(inputs), len(outputs)
        check_ports(len(inputs), len(outputs))
        for k, (port, place) in enumerate(zip(inputs, places)):
            self.places[k] = place
            port_of(port, &self.inputs[k])
        for k, port in enumerate(outputs):
            port_of(port, &self.outputs[k])


@cython.final
cdef class ShortCalls:
    """Calls of ``plan`` with an array for each of its inputs and nothing else said."""

    cdef Plan plan
    cdef Signature signature

    def __cinit__(self, Plan plan, Signature signature):
        self.plan, self.signature = plan, signature

    def answer(self, x, tuple more, out):
        """The output or a tuple of them; None where the long way is to be taken."""
        cdef rnnrt_array sources[MOST_PORTS]
        cdef rnnrt_array targets[MOST_PORTS]
        cdef Py_ssize_t batch = 0, frames = -1
        cdef Signature own = self.signature
        cdef bint batched = False
        cdef size_t k
        cdef list kept = []
        cdef cnp.ndarray a
        if 1 + <size_t> len(more) != own.input_count or (out is not None and own.output_count != 1):
            return None
        for k in range(own.input_count):
            a = plain_form(more[k - 1] if k else x, &own.inputs[k])
            if a is None:
                return None
            if k == 0:
                batched = cnp.PyArray_NDIM(a) == own.inputs[0].rank
            if not described(a, &own.inputs[k], batched, True, &batch, &frames, &sources[own.places[k]]):
                return None
            kept.append(a)
        if batch < 1 or frames == 0:
            return None
        if frames < 0:  # no input runs over time
            frames = 1
        for k in range(own.output_count):
            targets[k].frames = due_alike(self.plan, k, frames)
            if not targets[k].frames:
                return None
            a = new_array(&own.outputs[k], batched, True, batch, &targets[k])
            if out is not None:
                if not fits_like(out, a) or shares(out, kept):
                    return None
                a = <cnp.ndarray> out
                targets[k].data = <float *> cnp.PyArray_DATA(a)
            kept.append(a)
        run_alike(self.plan, batch, frames, sources, targets)
        if own.output_count == 1:
            return kept[own.input_count]
        return tuple(kept[own.input_count:])


cdef int port_of(tuple said, Port *port) except -1:
    letters, sizes, ids = said
    port.rank, port.batch, port.time, port.last, port.width, port.ids = len(letters), -1, -1, -1, 1, ids
    for k, (letter, size) in enumerate(zip(letters, sizes)):
        port.sizes[k] = size or 0
        if letter == "b":
            port.batch = k
        elif letter == "t":
            port.time = k
        else:
            port.last = k
            port.width *= size
    return 0


cdef inline cnp.ndarray plain_form(x, Port *port):
    """``x`` as the engine reads it, itself where it can; None where the long way is to look at it."""
    if port.ids and isinstance(x, (int, np.integer)):  # an id alone, as programs have it
        x = cnp.PyArray_FROM_O(x)
    if not cnp.PyArray_CheckExact(x) or (port.ids and cnp.PyArray_ISFLOAT(<cnp.ndarray> x)):
        return None
    cdef cnp.ndarray a = plain_of(<cnp.ndarray> x)
    return None if a is None or (port.ids and not all_ids(a, port.ids)) else a


cdef inline cnp.ndarray plain_of(cnp.ndarray x):
    """``x`` as float32 in C's order, itself where it is; None where it is not of real numbers, or is large.
    """
    if is_plain(x, cnp.PyArray_NDIM(x)):
        return x
    if not (cnp.PyArray_ISINTEGER(x) or cnp.PyArray_ISFLOAT(x) or cnp.PyArray_ISBOOL(x)):
        return None
    if cnp.PyArray_SIZE(x) > MOST_CONVERTED:
        return None
    return cnp.PyArray_FROM_OTF(x, cnp.NPY_FLOAT32, cnp.NPY_ARRAY_CARRAY_RO | cnp.NPY_ARRAY_FORCECAST)


cdef bint all_ids(cnp.ndarray a, double below) noexcept:
    """Whether all of ``a``, made of whole numbers, are from 0 to less than ``below``."""
    cdef const float *numbers = <const float *> cnp.PyArray_DATA(a)
    cdef Py_ssize_t k
    cdef bint good = True
    for k in range(cnp.PyArray_SIZE(a)):
        good &= numbers[k] >= 0 and numbers[k] < below
    return good


cdef inline bint left_out(Port *port, int axis, bint batched, bint timed) noexcept:
    """Whether an array that has no batch, or no time, lacks this axis."""
    return (axis == port.batch and not batched) or (axis == port.time and not timed)


cdef inline void lay_out(Port *port, bint batched, bint timed, const cnp.npy_intp *sizes,
                         rnnrt_array *to) noexcept:
    """The strides of an array in C's order, by its sizes: NumPy lets an axis of size 1 have any stride."""
    cdef int axis, own = port.rank - (not batched) - (not timed) - 1
    cdef Py_ssize_t apart = 1
    to.time_stride, to.batch_stride, to.number_stride = port.width, 0, 1
    for axis in range(port.rank - 1, -1, -1):
        if left_out(port, axis, batched, timed):
            continue
        if axis == port.batch:
            to.batch_stride = apart
        elif axis == port.time:
            to.time_stride = apart
        elif axis == port.last:
            to.number_stride = apart
        apart *= sizes[own]
        own -= 1


cdef inline bint described(cnp.ndarray a, Port *port, bint batched, bint timed, Py_ssize_t *batch,
                           Py_ssize_t *frames, rnnrt_array *to) noexcept:
    """Whether ``a`` is as the port wants it and agrees with the inputs before it; ``to`` then describes it.
    """
    cdef int axis, own = 0
    if cnp.PyArray_NDIM(a) != port.rank - (not batched) - (not timed):
        return False
    to.data, to.frames = <float *> cnp.PyArray_DATA(a), 1
    lay_out(port, batched, timed, cnp.PyArray_DIMS(a), to)
    cdef Py_ssize_t rows = 1, size
    for axis in range(port.rank):
        if left_out(port, axis, batched, timed):
            continue
        size = cnp.PyArray_DIM(a, own)
        if port.sizes[axis] and size != port.sizes[axis]:
            return False
        if axis == port.batch:
            rows = size
        elif axis == port.time:
            to.frames = size
        own += 1
    if batch[0] and rows != batch[0]:
        return False
    if port.time >= 0:
        if frames[0] >= 0 and <Py_ssize_t> to.frames != frames[0]:
            return False
        frames[0] = to.frames
    batch[0] = rows
    return True


cdef cnp.ndarray new_array(Port *port, bint batched, bint timed, Py_ssize_t batch, rnnrt_array *to):
    """An array for ``to.frames`` frames of an output, which ``to`` then describes."""
    cdef cnp.npy_intp shape[MOST_AXES + 2]
    cdef int axis, ndim = 0
    cdef cnp.ndarray a
    for axis in range(port.rank):
        if left_out(port, axis, batched, timed):
            continue
        shape[ndim] = (
            batch if axis == port.batch else <Py_ssize_t> to.frames if axis == port.time else port.sizes[axis]
        )
        ndim += 1
    a = cnp.PyArray_SimpleNew(ndim, shape, cnp.NPY_FLOAT32)
    to.data = <float *> cnp.PyArray_DATA(a)
    lay_out(port, batched, timed, shape, to)
    return a


cdef bint fits_like(out, cnp.ndarray a) noexcept:
    """Whether ``out`` can be filled in the place of ``a``."""
    cdef int axis, ndim = cnp.PyArray_NDIM(a)
    if not is_plain_to_fill(out, ndim):
        return False
    for axis in range(ndim):
        if cnp.PyArray_DIM(<cnp.ndarray> out, axis) != cnp.PyArray_DIM(a, axis):
            return False
    return True


cdef bint shares(out, list arrays):
    """Whether ``out`` has memory in common with one of them."""
    for a in arrays:
        if not share_no_memory(<cnp.ndarray> a, <cnp.ndarray> out):
            return True
    return False


cdef size_t due_alike(Plan plan, size_t output, size_t frames) noexcept:
    """Frames of an output where all inputs over time have so many."""
    cdef Counts counts
    return rnnrt_plan_due(plan.plan, output, alike(frames, &counts), True)


cdef int run_alike(Plan plan, Py_ssize_t batch, Py_ssize_t frames, rnnrt_array *sources,
                   rnnrt_array *targets) except -1:
    """With the GIL where the work is short, and interruptible where it is long."""
    cdef rnnrt_error error
    cdef double work = rnnrt_plan_work(plan.plan, frames) * batch
    cdef Call call = None
    cdef rnnrt_between *between = NULL
    cdef int status
    if work > long_work:
        call = Call(work)
        between = call.start()
    if work > release_work:
        with nogil:
            status = rnnrt_run(plan.plan, batch, sources, targets, NULL, NULL, 0, NULL, 0, 0, between, &error)
    else:
        status = rnnrt_run(plan.plan, batch, sources, targets, NULL, NULL, 0, NULL, 0, 0, NULL, &error)
    if status == RNNRT_CANCELLED:
        raise_cancelled(call)
    if status:
        raise_status(status, &error, plan.names)
    return 0
