# NumPy arrays as the engine reads and writes them.

# Most inputs or outputs of a model: the border keeps their descriptions on the stack.
cdef enum:
    MOST_PORTS = RNNRT_PLAN_OUTPUTS


cdef check_ports(size_t inputs, size_t outputs):
    if inputs > MOST_PORTS or outputs > MOST_PORTS:
        raise UnsupportedModelError(
            "the model has too many inputs or outputs",
            expected=f"at most {MOST_PORTS}",
            found=f"{inputs} and {outputs}",
        )


cdef describe(cnp.ndarray a, rnnrt_array *to):
    """A float32 (time, batch, width) array as the engine sees it."""
    to.data = <float *> cnp.PyArray_DATA(a)
    to.frames = cnp.PyArray_DIM(a, 0)
    to.time_stride = cnp.PyArray_STRIDE(a, 0) // 4
    to.batch_stride = cnp.PyArray_STRIDE(a, 1) // 4
    to.number_stride = cnp.PyArray_STRIDE(a, 2) // 4


cdef inline bint is_plain(a, int ndim) noexcept:
    """Whether ``a`` is an array that the engine reads as it lies: float32, C-contiguous, of ``ndim`` axes."""
    return (
        cnp.PyArray_CheckExact(a)
        and cnp.PyArray_TYPE(<cnp.ndarray> a) == cnp.NPY_FLOAT32
        and cnp.PyArray_NDIM(<cnp.ndarray> a) == ndim
        and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray> a)
    )


cdef inline bint is_plain_to_fill(a, int ndim) noexcept:
    """Whether it also writes to ``a`` as it lies."""
    return (
        cnp.PyArray_CheckExact(a)
        and cnp.PyArray_TYPE(<cnp.ndarray> a) == cnp.NPY_FLOAT32
        and cnp.PyArray_NDIM(<cnp.ndarray> a) == ndim
        and cnp.PyArray_ISCARRAY(<cnp.ndarray> a)
    )


cdef bint share_no_memory(cnp.ndarray a, cnp.ndarray b) noexcept:
    """Whether two contiguous arrays do not."""
    cdef uintptr_t a_start = <uintptr_t> cnp.PyArray_DATA(a), b_start = <uintptr_t> cnp.PyArray_DATA(b)
    return (
        a_start + <uintptr_t> cnp.PyArray_NBYTES(a) <= b_start
        or b_start + <uintptr_t> cnp.PyArray_NBYTES(b) <= a_start
    )


cdef time_major(a, batch_size, width):
    """(time, *features) or (batch, time, *features) as a (time, batch, width) float32 array that the engine
    reads.
    """
    if batch_size is None:
        a = a[None]
    a = a.reshape(a.shape[:2] + (width,)).transpose(1, 0, 2)
    return a if readable(a) else np.ascontiguousarray(a)


# The most axes of a frame that the short way looks at.
cdef enum:
    MOST_AXES = 4
