"""The border between Python and the C engine: plans, streams, and every check of shape, type and lifetime.

Nothing here loops over numbers: that is done in src/. A ``Plan`` is immutable and shared; a ``Stream`` belongs to one caller at a time.
"""
# distutils: language = c

cimport cython
from cpython.exc cimport PyErr_CheckSignals
from cpython.object cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

cimport numpy as cnp
import numpy as np

from types import GenericAlias

from . import masks
from .errors import DTypeError, ResourceLimitError, RnnrtError, ShapeError, StateError, StreamBusyError, UnsupportedModelError
from .ports import as_array, as_float32

cnp.import_array()

cdef extern from "rnnrt.h" nogil:
    enum:
        RNNRT_MAX_INPUTS, RNNRT_MAX_OUTPUTS, RNNRT_PLAN_OUTPUTS
    const char *rnnrt_kind_word(int32_t)
    const char *rnnrt_function_word(int32_t)
    const char *rnnrt_slot_word(int32_t)
    const char *rnnrt_norm_word(int32_t)
    const char *rnnrt_masked_word(int32_t)
    enum rnnrt_status:
        RNNRT_OK, RNNRT_NO_MEMORY, RNNRT_BAD_ROW, RNNRT_NO_ISA, RNNRT_BAD_ID, RNNRT_MISALIGNED, RNNRT_TOO_SHORT, RNNRT_NOT_STREAMABLE, RNNRT_ENDED
        RNNRT_BAD_STATE, RNNRT_WRONG_LENGTH, RNNRT_CANCELLED, RNNRT_OUT_OF_PHASE
    struct rnnrt_error:
        int32_t row
        int64_t position, batch_row
        double value
        const char *text
    struct rnnrt_function:
        int name
        float parameter
    struct rnnrt_plan
    struct rnnrt_stream
    struct rnnrt_row:
        int32_t kind, inputs, input_size, output_size, timed, units, kernel_size, stride, dilation, groups, pad_left, pad_right, same, length
        int32_t reverse, reset_after, norm, count_padding, per_step, states, unpacked, masked_output, mask
        int32_t input[RNNRT_MAX_INPUTS]
        rnnrt_function activation, recurrent_activation
        float epsilon, value
        const float *weight
        const float *recurrent_weight
        const float *bias
        const float *recurrent_bias
        const float *gamma
        const float *beta
        const float *projection
        const float *mean
        const float *start
        const int32_t *index
        const rnnrt_plan *inner
    struct rnnrt_array:
        float *data
        ptrdiff_t time_stride, batch_stride
        size_t frames
    struct rnnrt_state_value:
        int32_t value
        float *data
    struct rnnrt_between:
        int (*ask)(void *) noexcept nogil
        void *argument
        double done, asked
    ctypedef void rnnrt_sgemm(char *, char *, int *, int *, int *, float *, float *, int *, float *, int *, float *, float *, int *)
    size_t rnnrt_isas(const char **names, size_t room)
    void rnnrt_use_sgemm(rnnrt_sgemm *sgemm)
    rnnrt_status rnnrt_plan_create(rnnrt_plan **, const rnnrt_row *, size_t, const int32_t *, size_t, const char *, const rnnrt_plan *,
                                   rnnrt_error *)
    void rnnrt_plan_free(rnnrt_plan *)
    const char *rnnrt_plan_isa(const rnnrt_plan *)
    size_t rnnrt_plan_bytes(const rnnrt_plan *)
    double rnnrt_plan_work(const rnnrt_plan *, size_t)
    size_t rnnrt_plan_rows(const rnnrt_plan *, size_t)
    int32_t rnnrt_plan_obstacle(const rnnrt_plan *, bint, const char **)
    size_t rnnrt_plan_due(const rnnrt_plan *, size_t, size_t, bint)
    rnnrt_status rnnrt_run(const rnnrt_plan *, size_t, const rnnrt_array *, rnnrt_array *, const int64_t *, const rnnrt_state_value *, size_t,
                           const rnnrt_state_value *, size_t, size_t, rnnrt_between *, rnnrt_error *)
    rnnrt_status rnnrt_stream_create(rnnrt_stream **, const rnnrt_plan *, size_t, size_t, bint, bint, rnnrt_error *)
    void rnnrt_stream_free(rnnrt_stream *)
    void rnnrt_stream_set_once(rnnrt_stream *, size_t, const float *)
    rnnrt_status rnnrt_stream_push(rnnrt_stream *, const rnnrt_array *, size_t, rnnrt_array *, rnnrt_between *, rnnrt_error *)
    rnnrt_status rnnrt_stream_flush(rnnrt_stream *, rnnrt_array *, rnnrt_between *, rnnrt_error *)
    int rnnrt_stream_step(rnnrt_stream *, const float *, float *, rnnrt_error *)
    void rnnrt_stream_reset(rnnrt_stream *)
    uint64_t rnnrt_stream_position(const rnnrt_stream *)
    size_t rnnrt_stream_due(const rnnrt_stream *, size_t, size_t, bint)
    void rnnrt_stream_reset_row(rnnrt_stream *, size_t)
    bint rnnrt_stream_ended(const rnnrt_stream *)
    void rnnrt_stream_end(rnnrt_stream *)
    char *rnnrt_stream_row(const rnnrt_stream *, size_t)
    uint64_t rnnrt_row_position(const char *)
    uint64_t rnnrt_plan_phase(const rnnrt_plan *, uint64_t)
    size_t rnnrt_rows_due(const rnnrt_plan *, uint64_t, bint, size_t, size_t, bint)
    rnnrt_status rnnrt_row_fits(const rnnrt_plan *, const char *, bint, size_t, bint, rnnrt_error *)
    rnnrt_status rnnrt_rows_push(const rnnrt_plan *, char *const *, size_t, bint, const rnnrt_array *, size_t, bint, rnnrt_array *, rnnrt_between *, rnnrt_error *)
    struct rnnrt_state_array:
        int32_t row, input
        const char *word
        size_t frames, width
        bint wide
    bint rnnrt_plan_state_array(const rnnrt_plan *, size_t, rnnrt_state_array *)
    void rnnrt_row_read(const rnnrt_plan *, char *, size_t, void *)
    void rnnrt_row_write(const rnnrt_plan *, char *, size_t, const void *)
    rnnrt_status rnnrt_row_seek(const rnnrt_plan *, char *, uint64_t, bint)

cdef extern from "Python.h":
    void *PyCapsule_GetPointer(object, const char *) except NULL
    const char *PyCapsule_GetName(object) except? NULL


cdef dict numbers(const char *(*word)(int32_t) noexcept nogil):
    """{word: number} of an enumeration, as C names it."""
    cdef int32_t k = 0
    made = {}
    while word(k) != NULL:
        made[word(k).decode()] = k
        k += 1
    return made


cdef dict kind_number = numbers(rnnrt_kind_word)
cdef dict function_number = numbers(rnnrt_function_word)
#: What C calls its layers and functions, the slots of a row, the norms of a cell and what a masked frame gives: {word: number}.
KINDS, FUNCTIONS, SLOTS, NORMS = kind_number, function_number, numbers(rnnrt_slot_word), numbers(rnnrt_norm_word)
MASKED = numbers(rnnrt_masked_word)
#: Most inputs of a row.
MAX_INPUTS = RNNRT_MAX_INPUTS

# Multiply-adds of one call from which it pays to release the GIL around it (about 5 microseconds of work).
cdef double release_work = 200_000
# And from which it is asked on its way whether it is to go on: some milliseconds.
LONG_WORK = 20_000_000
cdef double long_work = LONG_WORK
# Seconds from one look at what Python wants of a long call to the next: each takes the GIL.
cdef double look_after = 0.01
# Most inputs or outputs of a model: the border keeps their descriptions on the stack.
cdef enum:
    MOST_PORTS = RNNRT_PLAN_OUTPUTS


def isas():
    """Instruction sets this processor runs, best first."""
    cdef const char *names[8]
    cdef size_t count = rnnrt_isas(names, 8)
    return [names[i].decode() for i in range(count)]


def use_blas():
    """Take sgemm from scipy.linalg.cython_blas, through its capsule; done once, when backend="blas" is first asked for."""
    from .errors import require

    capsules = require("scipy.linalg.cython_blas", "blas", 'backend="blas"').__pyx_capi__
    capsule = capsules["sgemm"]
    rnnrt_use_sgemm(<rnnrt_sgemm *> PyCapsule_GetPointer(capsule, PyCapsule_GetName(capsule)))


cdef raise_status(int status, rnnrt_error *error, list names):
    where = f"layer {names[error.row]!r}" if 0 <= error.row < len(names) else None
    text = error.text.decode() if error.text != NULL else None
    if status == RNNRT_NO_MEMORY:
        raise ResourceLimitError("this asks for more memory than there is")
    if status == RNNRT_BAD_ID:
        raise ShapeError("an id is out of range", where=f"{where}, row {error.batch_row}, time {error.position}", found=f"{error.value:g}",
                         fix="Ids are whole numbers from 0 to the table's size less one.")
    if status == RNNRT_MISALIGNED:
        raise ShapeError("joins branches that make different numbers of frames", where=where, fix="Give every input as many frames as the others.")
    if status == RNNRT_TOO_SHORT:
        raise ShapeError("the input is too short, or not as long as the layer needs", where=where, fix="Give it as many frames as the network was made for.")
    if status == RNNRT_ENDED:
        raise StateError("the sequence is over: the stream was flushed, or a call on it failed half-way", fix="Call reset(), or set its state.")
    if status == RNNRT_WRONG_LENGTH:
        too_few = error.value < error.position
        raise ShapeError("the input has a fixed length", where=f"input {names[error.row]!r}", expected=f"{error.position} frames in all", found=f"{error.value:.0f}",
                         fix="Push the others first, or reset() the stream." if too_few else "flush() ends this sequence, reset() starts the next.")
    if status == RNNRT_OUT_OF_PHASE:
        raise StateError("the rows began at different times and cannot run as one batch")
    if status == RNNRT_BAD_STATE:
        raise StateError("the state does not hold together: its counts are not those of a stream of this model", fix="Use only what Stream.state gave.")
    if status == RNNRT_NO_ISA:
        raise UnsupportedModelError("this instruction set is unknown, or this processor lacks it", expected=f"one of {isas()}")
    raise RnnrtError(f"the engine refused the plan: {text}", where=where)


cdef const float *pointer(row, name, list held) except? NULL:
    array = row.get(name)
    if array is None:
        return NULL
    array = np.ascontiguousarray(array, np.float32)
    held.append(array)
    return <const float *> cnp.PyArray_DATA(<cnp.ndarray> array)


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
    """A long call on its way, or the rows of it that one thread works on (``part``): looks after signals and tells ``progress``.

    ``progress(done, total)`` is called in the thread of the call, in multiply-adds. What it raises, and what a signal raises, ends the call.
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


@cython.no_gc_clear  # the plans inside must outlive what is made of them, also in a reference cycle
@cython.final
cdef class Plan:
    """A packed, immutable network. ``rows`` and ``outputs`` as lowering.rows_of makes them; ``names`` of the rows for messages."""

    cdef rnnrt_plan *plan
    cdef readonly list names
    cdef readonly list widths      # of the outputs
    cdef readonly dict states      # {layer: names of its recurrent states}
    cdef list inner                # (graph, its plan) of the plans inside this one, kept alive
    cdef size_t output_count

    def __cinit__(self, list rows, list outputs, list names, widths, isa=None, dict states={}, Plan family=None):
        cdef rnnrt_row *c_rows = <rnnrt_row *> calloc(len(rows), sizeof(rnnrt_row))
        cdef int32_t *c_outputs = <int32_t *> calloc(len(outputs), sizeof(int32_t))
        cdef rnnrt_error error
        cdef rnnrt_row *r
        cdef const char *c_isa = NULL
        cdef Plan inside
        cdef list held = []
        self.names, self.widths, self.states, self.inner, self.output_count = names, list(widths), states, [], len(outputs)
        try:
            if c_rows == NULL or c_outputs == NULL:
                raise MemoryError()
            for k, row in enumerate(rows):
                r = &c_rows[k]
                r.kind = kind_number[row["kind"]]
                r.inputs = len(row["input"])
                for i, value in enumerate(row["input"]):
                    r.input[i] = value
                r.input_size, r.output_size, r.timed, r.length = row["input_size"], row["output_size"], row["timed"], row["length"]
                r.units, r.kernel_size, r.stride, r.dilation = row.get("units", 0), row.get("kernel_size", 0), row.get("stride", 1), row.get("dilation", 1)
                r.groups, r.pad_left, r.pad_right, r.same = row.get("groups", 1), row.get("pad_left", 0), row.get("pad_right", 0), row.get("same", 0)
                r.reverse, r.reset_after, r.norm = row.get("reverse", 0), row.get("reset_after", 0), row.get("norm", 0)
                r.count_padding, r.epsilon = row.get("count_padding", 0), row.get("epsilon", 0.0)
                r.unpacked = row.get("unpacked", 0)
                r.mask, r.masked_output, r.value = row.get("mask", -1), row.get("masked_output", 0), row.get("value", 0.0)
                name, parameter = row.get("activation", ("linear", 0.0))
                r.activation.name, r.activation.parameter = function_number[name], parameter
                name, parameter = row.get("recurrent_activation", ("linear", 0.0))
                r.recurrent_activation.name, r.recurrent_activation.parameter = function_number[name], parameter
                r.weight, r.recurrent_weight, r.bias = pointer(row, "weight", held), pointer(row, "recurrent_weight", held), pointer(row, "bias", held)
                r.recurrent_bias, r.projection = pointer(row, "recurrent_bias", held), pointer(row, "projection", held)
                r.gamma, r.beta, r.mean = pointer(row, "gamma", held), pointer(row, "beta", held), pointer(row, "mean", held)
                r.per_step, r.states, r.start = row.get("per_step", 0), row.get("states", 0), pointer(row, "start", held)
                if "index" in row:
                    index = np.ascontiguousarray(row["index"], np.int32)
                    held.append(index)
                    r.index = <const int32_t *> cnp.PyArray_DATA(<cnp.ndarray> index)
                if "inner" in row:
                    inside = None if family is None else next((p for g, p in family.inner if g is row["inner"]), None)
                    inside = inside or plan_of(row["inner"], isa)
                    self.inner.append((row["inner"], inside))
                    r.inner = inside.plan
            for k, value in enumerate(outputs):
                c_outputs[k] = value
            wanted = None if isa is None else isa.encode()
            if wanted is not None:
                c_isa = wanted
            status = rnnrt_plan_create(&self.plan, c_rows, len(rows), c_outputs, len(outputs), c_isa, NULL if family is None else family.plan, &error)
            if status:
                raise_status(status, &error, names)
        finally:
            free(c_rows)
            free(c_outputs)

    def __dealloc__(self):
        rnnrt_plan_free(self.plan)

    @property
    def isa(self):
        return rnnrt_plan_isa(self.plan).decode()

    @property
    def nbytes(self):
        return rnnrt_plan_bytes(self.plan) + sum(p.nbytes for _, p in self.inner)

    def obstacle(self, bint every_step=False):
        """(layer name, reason) of what keeps the plan from streaming, or None."""
        cdef const char *text
        cdef int32_t row = rnnrt_plan_obstacle(self.plan, every_step, &text)
        return None if row < 0 else (self.names[row], text.decode())

    def due(self, size_t output, size_t frames, bint ended):
        """Frames of an output after ``frames`` input frames."""
        return rnnrt_plan_due(self.plan, output, frames, ended)

    def work(self, size_t frames):
        """About how many multiply-adds one row of ``frames`` frames takes."""
        return rnnrt_plan_work(self.plan, frames)

    def rows(self, size_t frames):
        """Rows that run() works on at a time: a larger batch runs in slices."""
        return rnnrt_plan_rows(self.plan, frames)

    def run(self, size_t batch, list inputs, list outputs, lengths=None, initial=(), final=(), size_t block=0, Call call=None, int64_t first=0):
        """Run whole inputs: float32 arrays (time, batch, width) in any strides whose last axis is contiguous; outputs likewise, filled.

        Returns the frames written of each output. ``initial``, ``final``: (value number, (batch, size) array) of states. ``call``: asked
        whether to go on. ``first``: number of the first row, for messages.
        """
        cdef rnnrt_array c_inputs[MOST_PORTS]
        cdef rnnrt_array c_outputs[MOST_PORTS]
        cdef rnnrt_state_value *states = NULL
        cdef rnnrt_error error
        cdef const int64_t *c_lengths = NULL
        cdef size_t n_initial = len(initial), n_final = len(final)
        cdef rnnrt_between *between
        cdef int status
        check_ports(len(inputs), len(outputs))
        for i, a in enumerate(inputs):
            describe(<cnp.ndarray> a, &c_inputs[i])
        for i, a in enumerate(outputs):
            describe(<cnp.ndarray> a, &c_outputs[i])
        if lengths is not None:
            c_lengths = <const int64_t *> cnp.PyArray_DATA(<cnp.ndarray> lengths)
        if n_initial + n_final:
            states = <rnnrt_state_value *> calloc(n_initial + n_final, sizeof(rnnrt_state_value))
            if states == NULL:
                raise MemoryError()
            for i, (value, a) in enumerate(list(initial) + list(final)):
                states[i].value = value
                states[i].data = <float *> cnp.PyArray_DATA(<cnp.ndarray> a)
        between = NULL if call is None else &call.watch.between
        with nogil:
            status = rnnrt_run(self.plan, batch, c_inputs, c_outputs, c_lengths, states, n_initial, states + n_initial, n_final, block, between,
                               &error)
        free(states)
        if call is not None:
            call.count()
        if status == RNNRT_CANCELLED:
            raise_cancelled(call)
        error.batch_row += first
        if status:
            raise_status(status, &error, self.names)
        return [c_outputs[i].frames for i in range(len(outputs))]


    def answer(self, x, Py_ssize_t width, Py_ssize_t length, bint timed):
        """The one output for the one input where both are plain: x (batch, time, width) or (time, width), float32 and C-contiguous.

        None for anything else, and where there is nothing to answer: the caller then takes the long way, which says what is wrong.
        ``length``: frames where they are fixed, else 0. ``timed``: the output is a sequence.
        """
        cdef cnp.npy_intp shape[3]
        cdef rnnrt_array source, target
        cdef rnnrt_error error
        cdef cnp.ndarray y
        cdef Py_ssize_t batch, frames, out_width = self.widths[0]
        cdef int ndim, made, status
        cdef double work
        cdef Call call = None
        cdef rnnrt_between *between = NULL
        if not (cnp.PyArray_CheckExact(x) and cnp.PyArray_TYPE(<cnp.ndarray> x) == cnp.NPY_FLOAT32 and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray> x)):
            return None
        ndim = cnp.PyArray_NDIM(<cnp.ndarray> x)
        if ndim < 2 or ndim > 3 or cnp.PyArray_DIM(<cnp.ndarray> x, ndim - 1) != width:
            return None
        batch, frames = cnp.PyArray_DIM(<cnp.ndarray> x, 0) if ndim == 3 else 1, cnp.PyArray_DIM(<cnp.ndarray> x, ndim - 2)
        if batch < 1 or frames < 1 or (length and frames != length):
            return None
        source.data, source.frames = <float *> cnp.PyArray_DATA(<cnp.ndarray> x), frames
        source.time_stride, source.batch_stride = width, frames * width
        target.frames = rnnrt_plan_due(self.plan, 0, frames, True)
        if not target.frames:
            return None
        made = 0
        if ndim == 3:
            shape[made], made = batch, made + 1
        if timed:
            shape[made], made = <cnp.npy_intp> target.frames, made + 1
        shape[made] = out_width
        y = <cnp.ndarray> cnp.PyArray_SimpleNew(made + 1, shape, cnp.NPY_FLOAT32)
        target.data, target.time_stride, target.batch_stride = <float *> cnp.PyArray_DATA(y), out_width, target.frames * out_width
        work = rnnrt_plan_work(self.plan, frames) * batch
        if work > long_work:
            call = Call(work)
            between = call.start()
        if work > release_work:
            with nogil:
                status = rnnrt_run(self.plan, batch, &source, &target, NULL, NULL, 0, NULL, 0, 0, between, &error)
        else:
            status = rnnrt_run(self.plan, batch, &source, &target, NULL, NULL, 0, NULL, 0, 0, NULL, &error)
        if status == RNNRT_CANCELLED:
            raise_cancelled(call)
        if status:
            raise_status(status, &error, self.names)
        return y


def push_streams(list streams, list given, bint one, check=None):
    """What every stream returns for its chunk (or, with ``one``, its frame) of ``given``: rows of all of them in one go.

    Every check comes before the first row moves, last ``check(room)``, where room is the most frames that a row is due.
    """
    cdef Stream stream
    cdef list rows = [], counts = [], entered = []
    cdef size_t room = 0
    frames = None
    for stream, chunk in zip(streams, given):
        inputs = stream.inputs_of(stream.chunks_of(chunk, None, one))
        lengths = {len(a) for a, port in zip(inputs, stream.all_inputs) if port.signal.time}
        if frames is not None:
            lengths.add(frames)
        if len(lengths) > 1:
            raise ShapeError("the chunks have different numbers of frames", found=str(sorted(lengths)), fix="Push streams with chunks of other lengths in another call.")
        frames = lengths.pop()
        rows += [(stream, b, [a[:, b] for a in inputs]) for b in range(stream.batch)]
        counts.append(stream.batch)
    try:
        for stream in streams:
            stream.enter()
            entered.append(stream)
        if check is not None:
            for stream in streams:
                room = max(room, stream.most_due(0, frames, False))
            check(room)
        made = push_rows(rows, frames or 0, False)
    finally:
        for stream in entered:
            stream.find_phases()
            stream.busy = False
    answers, at = [], 0
    for stream, count in zip(streams, counts):
        answers.append(stream.shaped(made[at:at + count]))
        at += count
    return answers


cdef class Group:
    """Rows of one phase, with all that a push of them needs. Made before any row moves: after that nothing asks for memory here."""

    cdef char **blocks
    cdef rnnrt_array inputs[MOST_PORTS]
    cdef rnnrt_array outputs[MOST_PORTS]
    cdef size_t count
    cdef list members, held, answers

    def __cinit__(self, Plan plan, list rows, list members, bint every_step, size_t frames, bint ended):
        cdef Stream stream
        cdef size_t k
        self.members, self.count = members, len(members)
        self.blocks = <char **> calloc(self.count, sizeof(char *))
        if self.blocks == NULL:
            raise MemoryError()
        for k, i in enumerate(members):
            stream = rows[i][0]
            self.blocks[k] = rnnrt_stream_row(stream.stream, rows[i][1])
        self.held = [np.stack(arrays, 1) for arrays in zip(*[rows[i][2] for i in members])]
        position = rnnrt_row_position(self.blocks[0])
        self.answers = [np.empty((rnnrt_rows_due(plan.plan, position, every_step, k, frames, ended), self.count, width), np.float32)
                        for k, width in enumerate(plan.widths)]
        for k, a in enumerate(self.held):
            describe(<cnp.ndarray> a, &self.inputs[k])
        for k, a in enumerate(self.answers):
            describe(<cnp.ndarray> a, &self.outputs[k])

    def __dealloc__(self):
        free(self.blocks)


def push_rows(list rows, size_t frames, bint ended):
    """Push (or flush) single rows of streams of one plan: ``rows`` of (stream, row, [(time, width) array of each input]).

    Rows of one phase run as one batch, with the bits each would have alone. Returns a list of (k, width) arrays, one an output, for
    each row. The streams were entered by the caller; nothing has changed where a row could not take the frames. After a failure
    half-way all of the streams have ended.
    """
    cdef rnnrt_error error
    cdef Stream stream
    cdef Plan plan
    cdef Group group
    cdef Call call = None
    cdef rnnrt_between *between = NULL
    cdef int status = RNNRT_OK
    cdef bint every_step
    error.row, error.text = -1, NULL
    members, made = {}, [None] * len(rows)
    for i, (stream, b, _) in enumerate(rows):
        if rnnrt_stream_ended(stream.stream):
            raise_status(RNNRT_ENDED, &error, stream.plan.names)
        status = rnnrt_row_fits(stream.plan.plan, rnnrt_stream_row(stream.stream, b), stream.every_step, frames, ended, &error)
        if status:
            raise_status(status, &error, stream.plan.names)
        phase = rnnrt_plan_phase(stream.plan.plan, rnnrt_row_position(rnnrt_stream_row(stream.stream, b)))
        members.setdefault(phase, []).append(i)
    if not rows:
        return made
    stream = rows[0][0]
    plan, every_step = stream.plan, stream.every_step
    groups = [Group(plan, rows, m, every_step, frames, ended) for m in members.values()]
    if rnnrt_plan_work(plan.plan, frames) * len(rows) > long_work:
        call = Call(0)
        between = call.start()
    try:
        for group in groups:
            with nogil:
                status = rnnrt_rows_push(plan.plan, group.blocks, group.count, every_step, group.inputs, frames, ended, group.outputs, between, &error)
            if status == RNNRT_CANCELLED:
                raise_cancelled(call)
            if status:
                raise_status(status, &error, plan.names)
            for k, i in enumerate(group.members):
                made[i] = [a[:group.outputs[o].frames, k] for o, a in enumerate(group.answers)]
    except BaseException:
        ended = True  # some rows have moved, and their answers are lost
        raise
    finally:
        if ended:
            for stream, _, _ in rows:
                rnnrt_stream_end(stream.stream)
    return made


cdef bint plain_rows(a, Py_ssize_t rows, Py_ssize_t width) noexcept:
    """Whether ``a`` is a float32 array (rows, width) as the engine reads and writes it."""
    return (cnp.PyArray_CheckExact(a) and cnp.PyArray_TYPE(<cnp.ndarray> a) == cnp.NPY_FLOAT32 and cnp.PyArray_NDIM(<cnp.ndarray> a) == 2
            and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray> a) and cnp.PyArray_DIM(<cnp.ndarray> a, 0) == rows and cnp.PyArray_DIM(<cnp.ndarray> a, 1) == width)


def step_rows(model, list streams, frames, out):
    """What ``step_many`` returns where all is plain: one flat input and output, rows in phase, ``frames`` (and ``out``) one float32 array
    (rows, features). NotImplemented, and nothing has changed, where something is not: also where an error is to be told.
    """
    cdef Stream first, stream
    cdef Py_ssize_t count = len(streams), entered = 0, rows = 0, k
    cdef size_t b
    cdef uint64_t phase = 0, at = 0, position
    cdef bint plain = count > 0
    cdef int status = RNNRT_OK
    cdef char **blocks = NULL
    cdef rnnrt_array x, y
    cdef rnnrt_error error
    cdef cnp.npy_intp shape[2]
    for k in range(count):
        if type(streams[k]) is not Stream:
            return NotImplemented
        rows += (<Stream> streams[k]).batch
    if not plain:
        return NotImplemented
    first = <Stream> streams[0]
    if first.model is not model or not first.simple or first.may_emit_many or first.work * rows > long_work:
        return NotImplemented
    if not plain_rows(frames, rows, first.width_in) or not (out is None or (plain_rows(out, rows, first.width_out) and cnp.PyArray_ISWRITEABLE(<cnp.ndarray> out))):
        return NotImplemented
    blocks = <char **> calloc(rows, sizeof(char *))
    if blocks == NULL:
        raise MemoryError()
    try:
        rows = 0
        for k in range(count):
            stream = <Stream> streams[k]
            if stream.model is not model or stream.busy or stream.scattered or stream.every_step != first.every_step or rnnrt_stream_ended(stream.stream):
                plain = False
                break
            stream.busy = True  # which also finds one that is named twice
            entered += 1
            for b in range(stream.batch):
                blocks[rows] = rnnrt_stream_row(stream.stream, b)
                position = rnnrt_row_position(blocks[rows])
                if rows == 0:
                    at, phase = position, rnnrt_plan_phase(first.plan.plan, position)
                elif position != at and rnnrt_plan_phase(first.plan.plan, position) != phase:
                    plain = False
                if rnnrt_row_fits(first.plan.plan, blocks[rows], first.every_step, 1, False, NULL):
                    plain = False
                rows += 1
        if plain:
            if out is None:
                shape[0], shape[1] = rows, first.width_out
                answer = cnp.PyArray_SimpleNew(2, shape, cnp.NPY_FLOAT32)
            else:
                answer = out
            x.data, x.time_stride, x.batch_stride, x.frames = <float *> cnp.PyArray_DATA(<cnp.ndarray> frames), rows * first.width_in, first.width_in, 1
            y.data, y.time_stride, y.batch_stride, y.frames = <float *> cnp.PyArray_DATA(<cnp.ndarray> answer), rows * first.width_out, first.width_out, 1
            if first.work * rows > release_work:
                with nogil:
                    status = rnnrt_rows_push(first.plan.plan, blocks, rows, first.every_step, &x, 1, False, &y, NULL, &error)
            else:
                status = rnnrt_rows_push(first.plan.plan, blocks, rows, first.every_step, &x, 1, False, &y, NULL, &error)
    finally:
        for k in range(entered):
            (<Stream> streams[k]).busy = False
            if status:  # some ops have gone on: none of the sequences can
                rnnrt_stream_end((<Stream> streams[k]).stream)
        free(blocks)
    if not plain:
        return NotImplemented
    if status:
        raise_status(status, &error, first.plan.names)
    if out is not None:
        shape[0] = rows
        due = cnp.PyArray_SimpleNew(1, shape, cnp.NPY_BOOL)
        memset(cnp.PyArray_DATA(<cnp.ndarray> due), y.frames == 1, rows)
        return due
    if y.frames == 0:
        return [None] * count
    answers, rows = [], 0
    for k in range(count):
        stream = <Stream> streams[k]
        answers.append(answer[rows] if stream.batch_size is None else answer[rows:rows + <Py_ssize_t> stream.batch])
        rows += stream.batch
    return answers


def state_arrays(Plan plan):
    """(name, shape, dtype) of every array a row of the plan keeps."""
    cdef rnnrt_state_array array
    cdef size_t k = 0
    made = []
    while rnnrt_plan_state_array(plan.plan, k, &array):
        word, layer = array.word.decode(), plan.names[array.row]
        if word == "queue":
            word += f".{array.input}"
        elif word in ("h", "c", "state") and layer in plan.states:
            word = plan.states[layer][array.input]
        elif word == "held":
            word += f".{array.input - len(plan.states[layer])}"
        name = f"{layer}/{word}"
        shape = [array.width]
        if array.word in (b"window", b"queue", b"frames"):
            shape.insert(0, array.frames)
        made.append((name, tuple(shape), np.float64 if array.wide else np.float32))
        k += 1
    return made


cdef check_ports(size_t inputs, size_t outputs):
    if inputs > MOST_PORTS or outputs > MOST_PORTS:
        raise UnsupportedModelError("the model has too many inputs or outputs", expected=f"at most {MOST_PORTS}", found=f"{inputs} and {outputs}")


cdef describe(cnp.ndarray a, rnnrt_array *to):
    """A float32 (time, batch, width) array as the engine sees it."""
    to.data = <float *> cnp.PyArray_DATA(a)
    to.frames = cnp.PyArray_DIM(a, 0)
    to.time_stride = cnp.PyArray_STRIDE(a, 0) // 4
    to.batch_stride = cnp.PyArray_STRIDE(a, 1) // 4


def plan_of(graph, isa=None, family=None):
    """The Plan of a Graph whose lengths are settled; ``family``: a Plan of the same graph for another length, whose weights it shares."""
    from .lowering import rows_of, state_names

    rows, outputs, needs_length = rows_of(graph)
    if needs_length:
        raise ShapeError("needs to know how long the input is", where=f"layer {needs_length!r}")
    return Plan(rows, outputs, [row["name"] for row in rows], [graph.signals[o.value].width for o in graph.outputs], isa, state_names(graph), family)


@cython.no_gc_clear  # the plan must outlive the stream, also in a reference cycle
@cython.final
cdef class Stream:
    """One live batch of sequences: its own state over a shared Model. Made by ``Model.stream``.

    Frames are (features,), chunks (time, features); for a stream of ``batch_size`` n they are (n, features) and (n, time, features).
    A stream belongs to one caller at a time: entering it from a second thread raises StreamBusyError.
    """

    cdef rnnrt_stream *stream
    cdef readonly object model
    cdef Plan plan
    cdef readonly object batch_size
    cdef readonly bint every_step
    cdef readonly bint may_emit_many  # one frame in can bring several out
    cdef size_t batch, block
    cdef bint busy, simple, realtime
    cdef bint scattered             # its rows are not in phase: they get and give frames at different times
    cdef double work                # multiply-adds of one step, all rows
    cdef Call call                  # of long pushes
    cdef int frame_ndim
    cdef Py_ssize_t width_in, width_out
    cdef list timed_inputs          # those of all_inputs with a time axis
    cdef list all_inputs            # ports of the model, in the order of the rows
    cdef list once                  # arrays of the inputs given once
    cdef list output_features       # (features, timed)

    def __cinit__(self, model, Plan plan, batch_size, bint every_step, list all_inputs, list once, list output_features, size_t block=0, bint realtime=False):
        cdef rnnrt_error error
        check_ports(len(all_inputs), len(output_features))
        self.model, self.plan, self.batch_size, self.every_step = model, plan, batch_size, every_step
        self.batch = 1 if batch_size is None else batch_size
        self.all_inputs, self.once, self.output_features = all_inputs, once, output_features
        self.timed_inputs = [port for port in all_inputs if port.signal.time]
        status = rnnrt_stream_create(&self.stream, plan.plan, self.batch, block, every_step, realtime, &error)
        if status:
            raise_status(status, &error, plan.names)
        given = iter(once)
        for k, port in enumerate(all_inputs):
            if not port.signal.time:
                rnnrt_stream_set_once(self.stream, k, <const float *> cnp.PyArray_DATA(<cnp.ndarray> next(given)))
        self.realtime = realtime
        self.work, self.block = (rnnrt_plan_work(plan.plan, 1) - rnnrt_plan_work(plan.plan, 0)) * self.batch, block
        self.may_emit_many = model._may_emit_many
        # `simple`: one flat frame in, one flat frame out, no ids to check: the path that touches no Python object
        first = all_inputs[0].signal.features if len(all_inputs) == len(self.timed_inputs) == 1 and not all_inputs[0].holds_ids else ()
        self.simple = len(first) == 1 and len(output_features) == 1 and len(output_features[0][0]) == 1
        self.width_in = first[0] if self.simple else 0
        self.width_out = output_features[0][0][0] if self.simple else 0
        self.frame_ndim = 1 if batch_size is None else 2

    def __dealloc__(self):
        rnnrt_stream_free(self.stream)

    @classmethod
    def __class_getitem__(cls, answer):
        """Stream[answer], as annotations write it."""
        return GenericAlias(cls, answer)

    cdef int enter(self) except -1:
        if self.busy:
            raise StreamBusyError("this stream is in use by another thread", fix="Make one stream per caller: model.stream() shares the weights.")
        self.busy = True
        return 0

    def step(self, frame, out=None, mask=None):
        """One time step: ``frame`` (features,), or (batch, features), float32. Returns the output frame, or None when nothing is due.

        ``mask``: (), or (batch,), where an input is a mask: whether the frame is real (True, 1) or to be passed over; by default it is.
        With ``out`` (float32, C-contiguous, the output frame's shape) it is filled and returned, and nothing is allocated. Raises
        ShapeError, DTypeError, StateError after ``flush``, StreamBusyError.
        """
        cdef cnp.ndarray x, y
        cdef cnp.npy_intp shape[2]
        cdef rnnrt_error error
        cdef int made
        if not (mask is None and self.simple and not self.may_emit_many and not self.scattered and cnp.PyArray_CheckExact(frame) and cnp.PyArray_TYPE(<cnp.ndarray> frame) == cnp.NPY_FLOAT32
                and cnp.PyArray_NDIM(<cnp.ndarray> frame) == self.frame_ndim and cnp.PyArray_IS_C_CONTIGUOUS(<cnp.ndarray> frame)
                and cnp.PyArray_ISNOTSWAPPED(<cnp.ndarray> frame) and cnp.PyArray_ISALIGNED(<cnp.ndarray> frame)
                and cnp.PyArray_DIM(<cnp.ndarray> frame, self.frame_ndim - 1) == self.width_in
                and (self.frame_ndim == 1 or cnp.PyArray_DIM(<cnp.ndarray> frame, 0) == <Py_ssize_t> self.batch)):
            return self.step_checked(frame, out, mask)
        x = <cnp.ndarray> frame
        if out is None:
            shape[0], shape[1] = self.batch, self.width_out
            y = <cnp.ndarray> cnp.PyArray_SimpleNew(self.frame_ndim, shape + 2 - self.frame_ndim, cnp.NPY_FLOAT32)
        else:
            if not (cnp.PyArray_CheckExact(out) and cnp.PyArray_TYPE(<cnp.ndarray> out) == cnp.NPY_FLOAT32 and cnp.PyArray_NDIM(<cnp.ndarray> out) == self.frame_ndim
                    and cnp.PyArray_ISCARRAY(<cnp.ndarray> out) and cnp.PyArray_DIM(<cnp.ndarray> out, self.frame_ndim - 1) == self.width_out
                    and (self.frame_ndim == 1 or cnp.PyArray_DIM(<cnp.ndarray> out, 0) == <Py_ssize_t> self.batch)):
                self.bad_out(out, (self.batch, self.width_out)[2 - self.frame_ndim:])
            y = <cnp.ndarray> out
        self.enter()
        if self.work > long_work:
            made = self.long_step(x, y, &error)
        elif self.work > release_work:
            with nogil:
                made = rnnrt_stream_step(self.stream, <const float *> cnp.PyArray_DATA(x), <float *> cnp.PyArray_DATA(y), &error)
        else:
            made = rnnrt_stream_step(self.stream, <const float *> cnp.PyArray_DATA(x), <float *> cnp.PyArray_DATA(y), &error)
        self.busy = False
        if made == 1:
            return y
        if made == RNNRT_CANCELLED:
            raise_cancelled(self.call)
        if made < 0:
            raise_status(made, &error, self.plan.names)
        return None

    cdef rnnrt_between *asked(self):
        """What a long push asks; made once, so that pushes allocate nothing."""
        if self.call is None:
            self.call = Call(0)
        return self.call.start()

    cdef int long_step(self, cnp.ndarray x, cnp.ndarray y, rnnrt_error *error):
        """A step as a push of one frame, which can be interrupted."""
        cdef rnnrt_array a, b
        cdef rnnrt_between *between = self.asked()
        cdef int status
        a.data, a.time_stride, a.batch_stride, a.frames = <float *> cnp.PyArray_DATA(x), self.batch * self.width_in, self.width_in, 1
        b.data, b.time_stride, b.batch_stride, b.frames = <float *> cnp.PyArray_DATA(y), self.batch * self.width_out, self.width_out, 1
        with nogil:
            status = rnnrt_stream_push(self.stream, &a, 1, &b, between, error)
        return status if status else <int> b.frames

    cdef bad_out(self, out, shape):
        if not isinstance(out, np.ndarray) or out.dtype != np.float32:
            raise DTypeError("out must be a float32 array", found=str(getattr(out, "dtype", type(out).__name__)))
        expected = "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"  # "at least 7" without quotation marks
        raise ShapeError("out does not fit", expected=f"{expected}, C-contiguous and writeable", found=f"{out.shape}")

    cdef tuple lead(self):
        """The axes before time: none, or the batch."""
        return () if self.batch_size is None else (self.batch_size,)

    cdef step_checked(self, frame, out, mask):
        """`step` for everything the fast path does not take: other types and strides, several inputs or outputs, ids."""
        if self.may_emit_many:
            raise StateError("this model can answer with several frames to one step", fix="Use push(), which returns (k, ...) frames.")
        axis = len(self.lead())
        chunks = self.chunks_of(frame, mask, True)
        if out is not None:
            shape = self.lead() + tuple(self.output_features[0][0])
            if len(self.output_features) == 1 and not (isinstance(out, np.ndarray) and out.dtype == np.float32 and out.shape == shape and out.flags.carray):
                self.bad_out(out, shape)
        made = self.pushed(chunks, 1, False, None if out is None else np.expand_dims(out, axis))
        if out is not None:
            return out if made[0].shape[axis] else None
        made = tuple(frame_of(m, axis) for m in made)
        return made[0] if len(made) == 1 else made

    cdef list paired(self, given, mask):
        """What is given for each input with a time axis: several come as a tuple, in which masks may be left out."""
        ports = self.timed_inputs
        frames = sum([not port.is_mask for port in ports])
        given = list(given) if isinstance(given, (tuple, list) if frames > 1 else tuple) and len(ports) > 1 else [given]
        if len(given) == frames:
            rest = iter(given)
            given = [None if port.is_mask else next(rest) for port in ports]
        if len(given) != len(ports):
            raise ShapeError("the number of inputs is wrong", expected=f"{[port.layer.name for port in ports]}", found=str(len(given)))
        return given if mask is None else masks.placed(ports, given, mask)

    cdef list chunks_of(self, given, mask, bint one):
        """The inputs with a time axis as checked chunks; what is given are single frames where it is ``one``. Without a mask all is real."""
        cdef int axis = len(self.lead())
        made = []
        for port, x in zip(self.timed_inputs, self.paired(given, mask)):
            if x is None and port.is_mask:
                made.append(None)
                continue
            x = self.checked(x, port, self.lead(), not one)
            x = port.checked_mask(x) if port.is_mask else x
            made.append(np.expand_dims(x, axis) if one else x)
        shape = next((a.shape[:axis + 1] for a in made if a is not None), self.lead() + (1,))
        return [np.ones(shape + port.signal.features, np.float32) if a is None else a for port, a in zip(self.timed_inputs, made)]

    cdef checked(self, x, port, tuple lead, bint timed):
        """``x`` as a float32 array of one frame (``lead``, features) or a chunk (``lead``, time, features), or an error that names the input."""
        x = as_array(x, port.where)
        shape = lead + ((None,) if timed else ()) + port.signal.features
        if x.ndim != len(shape) or any(w is not None and w != s for w, s in zip(shape, x.shape)):
            wanted = tuple("time" if w is None else w for w in shape)
            raise ShapeError("the input has the wrong shape", where=port.where, expected=str(wanted).replace("'", ""), found=str(x.shape))
        port.check_ids(x, ["b"] * len(lead) + ["t"] * timed, rnnrt_stream_position(self.stream))
        return as_float32(x, port.where)

    def push(self, chunk, out=None, mask=None):
        """Any number of time steps: ``chunk`` (time, features) or (batch, time, features). Returns the (k, ...) output frames now due, k >= 0.

        With ``out`` (float32, C-contiguous, room for at least ``max_outputs(time)`` frames) its first k frames are filled and returned: ``out``
        itself where it has no more. A plain float32 array in and a plain ``out`` beside it allocate nothing but that view. Several inputs come
        as a tuple, several outputs return as one. ``mask``: (time,), or (batch, time), where an input is a mask: which frames are real; by default all.
        """
        cdef rnnrt_array x, y
        cdef rnnrt_error error
        cdef int status, axis = self.frame_ndim - 1
        cdef size_t frames, room, due
        cdef rnnrt_between *between
        if (mask is None and self.simple and out is not None and not self.scattered and cnp.PyArray_CheckExact(chunk) and cnp.PyArray_CheckExact(out)
                and cnp.PyArray_TYPE(<cnp.ndarray> chunk) == cnp.NPY_FLOAT32 and cnp.PyArray_TYPE(<cnp.ndarray> out) == cnp.NPY_FLOAT32
                and cnp.PyArray_NDIM(<cnp.ndarray> chunk) == axis + 2 and cnp.PyArray_NDIM(<cnp.ndarray> out) == axis + 2
                and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray> chunk) and cnp.PyArray_ISCARRAY(<cnp.ndarray> out)
                and cnp.PyArray_DIM(<cnp.ndarray> chunk, axis + 1) == self.width_in and cnp.PyArray_DIM(<cnp.ndarray> out, axis + 1) == self.width_out
                and (axis == 0 or (cnp.PyArray_DIM(<cnp.ndarray> chunk, 0) == <Py_ssize_t> self.batch and cnp.PyArray_DIM(<cnp.ndarray> out, 0) == <Py_ssize_t> self.batch))
                and apart(<cnp.ndarray> chunk, <cnp.ndarray> out)):
            frames, room = cnp.PyArray_DIM(<cnp.ndarray> chunk, axis), cnp.PyArray_DIM(<cnp.ndarray> out, axis)
            x.data, x.time_stride, x.batch_stride, x.frames = <float *> cnp.PyArray_DATA(<cnp.ndarray> chunk), self.width_in, frames * self.width_in, frames
            y.data, y.time_stride, y.batch_stride, y.frames = <float *> cnp.PyArray_DATA(<cnp.ndarray> out), self.width_out, room * self.width_out, room
            self.enter()
            due = rnnrt_stream_due(self.stream, 0, frames, False)
            if room < due:
                self.busy = False
                self.bad_out(out, self.lead() + (f"at least {due}", self.width_out))
            if self.work * frames > release_work:
                between = self.asked() if self.work * frames > long_work else NULL
                with nogil:
                    status = rnnrt_stream_push(self.stream, &x, frames, &y, between, &error)
            else:
                status = rnnrt_stream_push(self.stream, &x, frames, &y, NULL, &error)
            self.busy = False
            if status == RNNRT_CANCELLED:
                raise_cancelled(self.call)
            if status:
                raise_status(status, &error, self.plan.names)
            if y.frames == room:
                return out
            return out[:y.frames] if axis == 0 else out[:, :y.frames]
        chunks = self.chunks_of(chunk, mask, False)
        if len({c.shape[axis] for c in chunks}) > 1:
            raise ShapeError("the inputs have different numbers of frames", found=str([c.shape[axis] for c in chunks]))
        return self.delivered(self.pushed(chunks, chunks[0].shape[axis], False, out))

    def flush(self, out=None):
        """End the sequence: returns the (k, ...) frames that were held back, k >= 0. Only ``reset`` or setting ``state`` is legal after it."""
        return self.delivered(self.pushed([], 0, True, out))

    cdef delivered(self, list made):
        return made[0] if len(made) == 1 else tuple(made)

    cdef pushed(self, list chunks, size_t frames, bint ended, out):
        """Push (or flush) canonical chunks; returns one array per output, with the caller's axes: in ``out`` where that is given."""
        cdef rnnrt_array c_inputs[MOST_PORTS]
        cdef rnnrt_array c_outputs[MOST_PORTS]
        cdef rnnrt_error error
        cdef rnnrt_between *between = NULL
        cdef int status
        cdef list held, made = []
        cdef size_t k = 0
        held = self.inputs_of(chunks)
        for a in held:
            describe(<cnp.ndarray> a, &c_inputs[k])
            k += 1
        if self.scattered:
            return self.pushed_apart(held, frames, ended, out)
        self.enter()
        try:
            for k, (features, _) in enumerate(self.output_features):
                count = rnnrt_stream_due(self.stream, k, frames, ended)
                if out is not None:
                    self.check_out(out, count, features)
                made.append(np.empty((self.batch, count, int(np.prod(features, dtype=np.int64))), np.float32))
                describe(<cnp.ndarray> made[k].transpose(1, 0, 2), &c_outputs[k])
            if ended or self.work * frames > long_work:
                between = self.asked()
            with nogil:
                if ended:
                    status = rnnrt_stream_flush(self.stream, c_outputs, between, &error)
                else:
                    status = rnnrt_stream_push(self.stream, c_inputs, frames, c_outputs, between, &error)
        finally:
            self.busy = False
        if status == RNNRT_CANCELLED:
            raise_cancelled(self.call)
        if status:
            raise_status(status, &error, self.plan.names)
        result = []
        for k, (features, _) in enumerate(self.output_features):
            a = made[k][:, :c_outputs[k].frames]
            a = a.reshape(a.shape[:2] + tuple(features))
            result.append(a[0] if self.batch_size is None else a)
        if out is not None:
            room = out[:c_outputs[0].frames] if self.batch_size is None else out[:, :c_outputs[0].frames]
            room[...] = result[0]
            result[0] = out if room.shape == out.shape else room
        return result

    cdef list inputs_of(self, list chunks):
        """Canonical chunks of the inputs with a time axis as (time, batch, width) arrays of all inputs."""
        timed, held = iter(chunks), []
        for port in self.all_inputs:
            a = next(timed, None) if port.signal.time else None
            held.append(np.zeros((0, self.batch, port.signal.width), np.float32) if a is None else time_major(a, self.batch_size, port.signal.width))
        return held

    cdef list pushed_apart(self, list inputs, size_t frames, bint ended, out):
        """`pushed` where rows are not in phase. An output is one array as ever where every row gets as many frames; a list with
        one (k, ...) array a row where they do not."""
        self.enter()
        try:
            if out is not None:
                self.check_out(out, self.most_due(0, frames, ended), self.output_features[0][0])
                due = {rnnrt_rows_due(self.plan.plan, rnnrt_row_position(rnnrt_stream_row(self.stream, b)), self.every_step, 0, frames, ended) for b in range(self.batch)}
                if len(due) > 1 or (self.every_step and not self.output_features[0][1]):
                    raise StateError("rows that began at different times may be due other numbers of frames than others: there is no one shape for out=",
                                     fix="Call without out=: where they are, the answer is a list with one array a row.")
            made = push_rows([(self, b, [a[:, b] for a in inputs]) for b in range(self.batch)], frames, ended)
        finally:
            self.find_phases()
            self.busy = False
        result = self.shaped(made)
        if out is not None:
            room = out[:, :result[0].shape[1]]
            room[...] = result[0]
            result[0] = out if room.shape == out.shape else room
        return result

    cdef list shaped(self, list rows):
        """What each row answered, for each output, as this stream returns it."""
        result = []
        for k, (features, _) in enumerate(self.output_features):
            answers = [row[k].reshape((-1,) + tuple(features)) for row in rows]
            if self.batch_size is None:
                result.append(np.ascontiguousarray(answers[0]))
            else:
                result.append(np.stack(answers) if len({len(a) for a in answers}) == 1 else answers)
        return result

    cdef find_phases(self):
        self.scattered = self.batch > 1 and len({rnnrt_plan_phase(self.plan.plan, rnnrt_row_position(rnnrt_stream_row(self.stream, b))) for b in range(self.batch)}) > 1

    cdef check_out(self, out, size_t due, features):
        """Whether ``out`` can take ``due`` frames of the one output."""
        axis = len(self.lead())
        if len(self.output_features) != 1:
            raise ShapeError("out= works for models with one output only", found=f"{len(self.output_features)} outputs")
        shape = self.lead() + (f"at least {due}",) + tuple(features)
        if (not isinstance(out, np.ndarray) or out.dtype != np.float32 or not out.flags.writeable or out.ndim != len(shape) or out.shape[axis] < due
                or out.shape[:axis] + out.shape[axis + 1:] != shape[:axis] + shape[axis + 1:]):
            self.bad_out(out, shape)

    def max_outputs(self, n):
        """Most frames a push of ``n`` frames can return from here; several outputs: a tuple."""
        if not isinstance(n, (int, np.integer)) or not 0 <= n <= 1 << 48:
            raise ShapeError("the number of frames must be a whole number from 0", found=repr(n))
        made = tuple(self.most_due(k, n, False) for k in range(len(self.output_features)))
        return made[0] if len(made) == 1 else made

    cdef size_t most_due(self, size_t output, size_t frames, bint ended):
        """Most frames of an output that any row is due."""
        cdef size_t b, most = rnnrt_stream_due(self.stream, output, frames, ended)
        for b in range(1, self.batch if self.scattered else 1):
            most = max(most, rnnrt_rows_due(self.plan.plan, rnnrt_row_position(rnnrt_stream_row(self.stream, b)), self.every_step, output, frames, ended))
        return most

    def reset(self, rows=None):
        """Start a new sequence, from where the network starts. ``rows``: numbers of the batch rows that do; the others go on.

        Where a network looks ahead or has strides, rows that began at different times give their frames at different times:
        ``step`` and ``push`` then return a list with one answer a row instead of an array.
        """
        if rows is not None:
            rows = np.atleast_1d(as_array(rows, "rows"))
            if rows.ndim > 1 or rows.size and (rows.dtype.kind not in "iu" or rows.min() < 0 or rows.max() >= self.batch):
                raise ShapeError("rows must be numbers of batch rows", expected=f"whole numbers from 0 to {self.batch - 1}", found=str(rows))
            if rnnrt_stream_ended(self.stream):
                raise StateError("the sequences of all rows are over: a row cannot begin alone", fix="Call reset() without rows.")
        self.enter()
        try:
            if rows is None:
                rnnrt_stream_reset(self.stream)
                self.scattered = False
            else:
                for b in rows.tolist():
                    rnnrt_stream_reset_row(self.stream, b)
                self.find_phases()
        finally:
            self.busy = False

    cdef dict blank(self):
        """{name: empty array} of all that the rows keep."""
        made = {name: np.empty((self.batch,) + shape, dtype) for name, shape, dtype in state_arrays(self.plan)}
        made["position"] = np.empty(self.batch, np.uint64)
        return made

    @property
    def state(self):
        """Everything the stream remembers, as a State: a copy, to look at, to store or to give back. StateError after ``flush``."""
        arrays = self.blank()
        self.enter()
        try:
            if rnnrt_stream_ended(self.stream):
                raise StateError("the sequence is over: there is no state to go on from", fix="Take the state before flush().")
            for b in range(self.batch):
                row = rnnrt_stream_row(self.stream, b)
                for k, a in enumerate(arrays.values()):
                    if k + 1 < len(arrays):
                        rnnrt_row_read(self.plan.plan, row, k, cnp.PyArray_DATA(<cnp.ndarray> a[b]))
                arrays["position"][b] = rnnrt_row_position(row)
        finally:
            self.busy = False
        if self.batch_size is None:
            arrays = {name: a.reshape(a.shape[1:]) for name, a in arrays.items()}
        return self.model._states.make(arrays, self.batch_size, self.kind())

    cdef dict kind(self):
        """What a State must have in common with this stream, beside the batch, to be its state."""
        digest = ""
        if self.once:
            import hashlib

            digest = hashlib.sha256(b"".join([a.tobytes() for a in self.once])).hexdigest()
        return {"every_step": bool(self.every_step), "given_once": digest}

    @state.setter
    def state(self, value):
        self.write(self.model._states.read(value, self.batch_size, self.kind(), self.blank()))

    def _start_from(self, arrays):
        """A new sequence that starts from {state name: (batch, size) array}, checked by the model; the rest is zero."""
        self.write(arrays)

    cdef int write(self, dict arrays) except -1:
        """Rows that go on from checked arrays; without "position" they begin with them."""
        cdef rnnrt_error error
        cdef int status = RNNRT_OK
        names = [name for name, _, _ in state_arrays(self.plan)]
        held = {name: np.ascontiguousarray(a) for name, a in arrays.items()}
        self.enter()
        try:
            rnnrt_stream_reset(self.stream)
            for b in range(self.batch):
                row = rnnrt_stream_row(self.stream, b)
                if not status and "position" in held:
                    status = rnnrt_row_seek(self.plan.plan, row, held["position"][b], self.every_step)
                for k, name in enumerate(names):
                    if name in held:
                        rnnrt_row_write(self.plan.plan, row, k, cnp.PyArray_DATA(<cnp.ndarray> held[name][b]))
            self.find_phases()
            if status:
                rnnrt_stream_end(self.stream)
        finally:
            self.busy = False
        if status:
            error.row, error.text = -1, NULL
            raise_status(status, &error, self.plan.names)
        return 0

    def clone(self):
        """A second stream that goes on from the same place."""
        other = Stream(self.model, self.plan, self.batch_size, self.every_step, self.all_inputs, self.once, self.output_features, self.block, self.realtime)
        other.state = self.state
        return other

    def __reduce_ex__(self, protocol):
        """A stream belongs to one caller in one process: StateError. What travels is its model and its ``state``."""
        raise StateError("a stream is neither pickled nor copied", fix="Send its model and stream.state, and set the state of a new stream there: "
                         "stream = model.stream(); stream.state = state. A second stream here: stream.clone().")

    @property
    def position(self):
        """Frames taken since the sequence began; where rows began at different times, an array with one number a row."""
        cdef list at = [rnnrt_row_position(rnnrt_stream_row(self.stream, b)) for b in range(self.batch)]
        if len(set(at)) == 1:
            return at[0]
        return np.array(at, np.uint64)

    @property
    def delay(self):
        """Input frames between a frame and its answer (see Model.delay)."""
        return self.model.delay

    @property
    def finite(self):
        """Whether every recurrent state is finite: a bool, or one a batch row. A row that once met NaN keeps it until it is reset
        (``reset(rows=)``, ``reset()``); a window forgets it by itself."""
        table = state_arrays(self.plan)
        rows = np.ones(self.batch, bool)
        self.enter()
        try:
            for k, (name, shape, dtype) in enumerate(table):
                if name.rpartition("/")[2].partition(".")[0] in ("window", "queue", "frames"):
                    continue
                a = np.empty(shape, dtype)
                for b in range(self.batch):
                    rnnrt_row_read(self.plan.plan, rnnrt_stream_row(self.stream, b), k, cnp.PyArray_DATA(<cnp.ndarray> a))
                    rows[b] &= np.isfinite(a).all()
        finally:
            self.busy = False
        return bool(rows[0]) if self.batch_size is None else rows

    def __repr__(self):
        return f"<rnnrt.Stream of {self.model!r}, batch_size={self.batch_size}, position={self.position}>"


cdef frame_of(made, int axis):
    """The one frame of what a push returned, or None; where rows are out of phase, a list of these."""
    if isinstance(made, list):
        return [row[0] if len(row) else None for row in made]
    return made.take(0, axis) if made.shape[axis] else None


cdef bint apart(cnp.ndarray a, cnp.ndarray b) noexcept:
    """Whether two contiguous arrays share no memory."""
    cdef uintptr_t a0 = <uintptr_t> cnp.PyArray_DATA(a), b0 = <uintptr_t> cnp.PyArray_DATA(b)
    return a0 + <uintptr_t> cnp.PyArray_NBYTES(a) <= b0 or b0 + <uintptr_t> cnp.PyArray_NBYTES(b) <= a0


cdef time_major(a, batch_size, width):
    """(time, *features) or (batch, time, *features) as a (time, batch, width) float32 array with a contiguous last axis."""
    if batch_size is None:
        a = a[None]
    a = a.reshape(a.shape[:2] + (width,))
    if a.strides[2] != 4 or a.strides[0] % 4 or a.strides[1] % 4:
        a = np.ascontiguousarray(a)
    return a.transpose(1, 0, 2)
