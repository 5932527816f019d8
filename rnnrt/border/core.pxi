# Where the time goes: what a watched plan counts, and the loops that measure a core.

#: What a layer took: see rnnrt_spent in src/rnnrt.h.
SPENT = np.dtype([(name, np.uint64) for name in ("nanoseconds", "runs", "frames", "rows", "made")])


def core_products(size_t times, isa=None):
    """Run ``times`` rounds of independent multiply-adds in registers; returns how many those are."""
    encoded_isa = None if isa is None else isa.encode()
    cdef const char *c_isa = NULL
    if encoded_isa is not None:
        c_isa = encoded_isa
    return rnnrt_core_products(c_isa, times)


def core_reads(cnp.ndarray numbers, size_t times, isa=None):
    """Read a float32 array from end to end ``times`` times, with a multiply-add a number; returns how many
    those are.
    """
    if not is_plain(numbers, 1):
        raise DTypeError("the numbers must be a float32 array of one axis")
    encoded_isa = None if isa is None else isa.encode()
    cdef const char *c_isa = NULL
    if encoded_isa is not None:
        c_isa = encoded_isa
    cdef size_t count = cnp.PyArray_SIZE(numbers)
    return rnnrt_core_reads(c_isa, <const float *> cnp.PyArray_DATA(numbers), count, times)
