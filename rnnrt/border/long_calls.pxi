# Calls that last: when the GIL is released, and how one is interrupted and tells of its progress.

# Multiply-adds of one call from which it pays to release the GIL around it (about 5 microseconds of work).
cdef double release_work = 200_000
# And from which it is asked on its way whether it is to go on: some milliseconds.
LONG_WORK = 20_000_000
cdef double long_work = LONG_WORK
# Seconds from one look at what Python wants of a long call to the next: each takes the GIL.
cdef double look_after = 0.01


cdef double now() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <double> t.tv_sec + 1e-9 * <double> t.tv_nsec


cdef struct Watch:
    rnnrt_between between
    double looked           # when Python was last asked
    PyObject *call


cdef int ask(void *argument) noexcept nogil:
    """What the engine calls in a long call; not zero ends it."""
    cdef Watch *watch = <Watch *> argument
    cdef double time
    cdef int stop
    time = now()
    if time - watch.looked < look_after:
        return 0
    with gil:
        stop = (<Call> watch.call).look()
    watch.looked = now()
    return stop


@cython.final
cdef class Call:
    """A long call on its way: looks after signals and tells ``progress``.

    ``progress(done, total)`` is called in the thread of the call, in multiply-adds. What it raises, and what
    a signal raises, ends the call.
    """

    cdef Watch watch
    cdef object progress, error
    cdef double total

    def __cinit__(self, double total, progress=None):
        self.total, self.progress = total, progress
        self.start()

    cdef rnnrt_between *start(self):
        """As before its first question."""
        self.error = None
        self.watch.between.ask, self.watch.between.argument = ask, &self.watch
        self.watch.between.done = self.watch.between.asked = 0
        self.watch.looked, self.watch.call = now(), <PyObject *> self
        return &self.watch.between

    cdef int look(self) noexcept:
        """Whether the call is to end."""
        try:
            PyErr_CheckSignals()
            if self.progress is not None:
                self.progress(min(self.watch.between.done, self.total), self.total)
        except BaseException as error:
            self.error = error
        return self.error is not None

    def finish(self):
        """The last word to ``progress``."""
        if self.progress is not None:
            self.progress(self.total, self.total)


cdef raise_cancelled(Call call):
    if call.error is None:
        raise RnnrtError(
            "the process was forked in the middle of this call, which the child cannot finish",
            fix="Do not go on with a call in a child that was forked by its progress function.",
        )
    raise call.error
