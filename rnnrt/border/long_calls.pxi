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
    int *stop               # of the whole call: set by any of its threads
    PyObject *call


cdef int ask(void *argument) noexcept nogil:
    """What the engine calls in a long call; not zero ends it."""
    cdef Watch *watch = <Watch *> argument
    cdef double time
    if watch.stop[0]:
        return 1
    time = now()
    if time - watch.looked < look_after:
        return 0
    with gil:
        (<Call> watch.call).look()
    watch.looked = now()
    return watch.stop[0]


@cython.final
cdef class Call:
    """A long call on its way, or the rows of it that one thread works on (``part``): looks after signals and
    tells ``progress``.

    ``progress(done, total)`` is called in the thread of the call, in multiply-adds. What it raises, and what
    a signal raises, ends the call.
    """

    cdef Watch watch
    cdef int stop
    cdef Call whole         # None where this is not a part
    cdef object progress
    cdef readonly object error
    cdef double total, done, counted

    def __cinit__(self, double total, progress=None, Call whole=None):
        self.total, self.progress, self.whole = total, progress, whole
        self.start()

    cdef rnnrt_between *start(self):
        """As before its first question."""
        self.stop, self.error, self.done, self.counted = 0, None, 0, 0
        self.watch.between.ask, self.watch.between.argument = ask, &self.watch
        self.watch.between.done = self.watch.between.asked = 0
        self.watch.looked, self.watch.call = now(), <PyObject *> self
        self.watch.stop = &self.stop if self.whole is None else &self.whole.stop
        return &self.watch.between

    def part(self):
        """The part of this call that another thread does."""
        return Call(0, None, self)

    def cancel(self, error):
        """End the call, in all its threads, with ``error``."""
        if not self.stop:
            self.error = error
            self.stop = 1

    cdef void count(self) noexcept:
        cdef Call whole = self if self.whole is None else self.whole
        whole.done += self.watch.between.done - self.counted
        self.counted = self.watch.between.done

    cdef void look(self) noexcept:
        self.count()
        if self.whole is not None:
            return
        try:
            PyErr_CheckSignals()
            if self.progress is not None:
                self.progress(min(self.done, self.total), self.total)
        except BaseException as error:
            self.cancel(error)

    def finish(self):
        """The last word to ``progress``."""
        if self.progress is not None:
            self.progress(self.total, self.total)


cdef raise_cancelled(Call call):
    raise (call if call.whole is None else call.whole).error
