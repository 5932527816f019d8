# A live batch of sequences. What it is given is checked in stream_inputs.pxi, what moves it is in
# stream_push.pxi, what it remembers in stream_state.pxi.


@cython.no_gc_clear  # the plan must outlive the stream, also in a reference cycle
@cython.final
cdef class Stream:
    """One live batch of sequences: its own state over a shared Model. Made by ``Model.stream``.

    Frames are (features,), chunks (time, features); for a stream of ``batch_size`` n they are (n, features)
    and (n, time, features). A stream belongs to one caller at a time: entering it from a second thread raises
    StreamBusyError.
    """

    cdef rnnrt_stream *stream
    cdef readonly object model
    cdef Plan plan
    cdef readonly object batch_size
    cdef readonly bint every_step
    cdef readonly bint may_emit_many  # one frame in can bring several out
    cdef size_t batch, block
    cdef char busy                  # is taken by a caller
    cdef bint simple, flat, realtime
    cdef bint scattered             # its rows are not in phase: they get and give frames at different times
    cdef double work                # multiply-adds of one step, all rows
    cdef Call call                  # of long pushes
    cdef int lead_ndim              # axes before time
    cdef Signature signature        # of chunks, or None
    cdef object part                # of the network: what is left to stream, and facts of all its streams:
    cdef list all_inputs            # its ports, in the order of the rows
    cdef list timed_inputs          # those with a time axis, in the order of the source
    cdef list timed_clocks          # the number of the clock of each
    cdef list clock_order           # numbers of the clocks, as the model's inputs name them first
    cdef list output_features       # (features, timed)
    cdef size_t clocks
    cdef list once                  # arrays of the inputs given once

    def __cinit__(self, model, Plan plan, batch_size, bint every_step, list once, part, size_t block=0,
                  bint realtime=False):
        cdef rnnrt_error error
        self.model, self.plan, self.batch_size, self.every_step = model, plan, batch_size, every_step
        self.batch = 1 if batch_size is None else batch_size
        self.part, self.may_emit_many, self.once = part, part.may_emit_many, once or None
        self.all_inputs = part.engine_inputs
        self.timed_inputs, self.timed_clocks = part.timed_inputs, part.timed_clocks
        self.clock_order, self.output_features = part.clock_order, part.output_features
        self.clocks = len(self.clock_order)
        check_ports(len(self.all_inputs), len(self.output_features))
        status = rnnrt_stream_create(&self.stream, plan.plan, self.batch, block, every_step, realtime, &error)
        if status:
            raise_status(status, &error, plan.names)
        given = iter(once)
        for k, port in enumerate(self.all_inputs if once else ()):
            if not port.signal.time:
                values = next(given)
                rnnrt_stream_set_once(self.stream, k, <const float *> cnp.PyArray_DATA(<cnp.ndarray> values))
        self.realtime, self.block = realtime, block
        self.work = (rnnrt_plan_work(plan.plan, 1) - rnnrt_plan_work(plan.plan, 0)) * self.batch
        self.lead_ndim = 0 if batch_size is None else 1
        self.signature = part.signature
        self.find_simple()

    cdef find_simple(self):
        """`simple`: one input and one output: the way that touches no Python object but arrays.
        `flat`: and the frames of both have one axis.
        """
        cdef Signature own = self.signature
        self.simple = own is not None and own.input_count == 1 and own.output_count == 1
        self.flat = self.simple and own.inputs[0].rank == own.outputs[0].rank == 3

    def __dealloc__(self):
        rnnrt_stream_free(self.stream)

    @classmethod
    def __class_getitem__(cls, answer):
        """Stream[answer], as annotations write it."""
        return GenericAlias(cls, answer)

    cdef int enter(self) except -1:
        if not rnnrt_take_flag(&self.busy):
            raise StreamBusyError(
                "this stream is in use by another thread",
                fix="Make one stream per caller: model.stream() shares the weights.",
            )
        return 0

    cdef inline void leave(self) noexcept:
        rnnrt_leave_flag(&self.busy)

    cdef rnnrt_between *asked(self):
        """What a long push asks; made once, so that pushes allocate nothing."""
        if self.call is None:
            self.call = Call(0)
        return self.call.start()

    cdef tuple lead(self):
        """The axes before time: none, or the batch."""
        return () if self.batch_size is None else (self.batch_size,)

    cdef positions_of(self, size_t row):
        """Frames that a row has taken: a number, or one for every clock."""
        cdef char *block = rnnrt_stream_row(self.stream, row)
        if self.clocks == 1:
            return rnnrt_row_position(block, 0)
        return tuple([rnnrt_row_position(block, clock) for clock in self.clock_order])

    cdef phase_of(self, size_t row):
        """Rows of which this is the same can run as one batch."""
        cdef char *block = rnnrt_stream_row(self.stream, row)
        if self.clocks == 1:
            return rnnrt_plan_phase(self.plan.plan, rnnrt_row_position(block, 0))
        positions = [rnnrt_row_position(block, c) for c in range(self.clocks)]
        return tuple([rnnrt_plan_phase(self.plan.plan, position) for position in positions])

    cdef find_phases(self):
        self.scattered = self.batch > 1 and len({self.phase_of(b) for b in range(self.batch)}) > 1

    # ---- frames in, frames out -----------------------------------------------------------------------------

    def step(self, frame, out=None, mask=None):
        """One time step: ``frame`` (features,), or (batch, features), float32. Returns the output frame, or
        None when nothing is due.

        ``mask``: (), or (batch,), where an input is a mask: whether the frame is real (True, 1) or to be
        passed over; by default it is. With ``out`` (float32, C-contiguous, the output frame's shape) it is
        filled and returned, and nothing is allocated. Raises ShapeError, DTypeError, StateError after
        ``flush``, StreamBusyError.
        """
        cdef cnp.ndarray x = None, y
        cdef rnnrt_error error
        cdef int outcome  # frames, or a status
        if mask is None and self.simple and not self.may_emit_many and not self.scattered:
            x = plain_input(self, frame, False)
        if x is None:
            if mask is None and out is None and not self.may_emit_many:
                answers = push_short(self, frame, True)
                if answers is not None:
                    return one_or_all(answers)
            return step_checked(self, frame, out, mask)
        if out is None:
            y = new_answer(self, -1)
        elif can_fill(self, out, False):
            y = <cnp.ndarray> out
        else:
            raise_bad_out(out, self.lead() + tuple(self.output_features[0][0]))
        self.enter()
        if self.work > long_work:
            outcome = step_long(self, x, y, &error)
        elif self.work > release_work:
            with nogil:
                outcome = rnnrt_stream_step(
                    self.stream, <const float *> cnp.PyArray_DATA(x), <float *> cnp.PyArray_DATA(y), &error
                )
        else:
            outcome = rnnrt_stream_step(
                self.stream, <const float *> cnp.PyArray_DATA(x), <float *> cnp.PyArray_DATA(y), &error
            )
        self.leave()
        if outcome == 1:
            return y
        if outcome == RNNRT_CANCELLED:
            raise_cancelled(self.call)
        if outcome < 0:
            raise_status(outcome, &error, self.plan.names)
        return None

    def push(self, chunk, out=None, mask=None):
        """Any number of time steps: ``chunk`` (time, features) or (batch, time, features). Returns the (k,
        ...) output frames now due, k >= 0.

        With ``out`` (float32, C-contiguous, room for at least ``max_outputs(time)`` frames) its first k
        frames are filled and returned: ``out`` itself where it has no more. A plain float32 array in and a
        plain ``out`` beside it allocate nothing but that view. Several inputs come as a tuple, several
        outputs return as one. Inputs of one clock (Model.clocks) take as many frames as one another, those of
        several clocks each its own number, None for none. ``mask``: (time,), or (batch, time), where an input
        is a mask: which frames are real; by default all.
        """
        cdef cnp.ndarray x = None
        if mask is None and self.simple and not self.scattered:
            x = plain_input(self, chunk, True)
        if x is not None and (
            out is None or (can_fill(self, out, True) and share_no_memory(x, <cnp.ndarray> out))
        ):
            return push_plain(self, x, out)
        if mask is None and out is None:
            answers = push_short(self, chunk, False)
            if answers is not None:
                return one_or_all(answers)
        return one_or_all(push_checked(self, chunks_of(self, chunk, mask, False), False, out))

    def flush(self, out=None):
        """End the sequence, of all inputs: returns the (k, ...) frames that were held back, k >= 0. Only
        ``reset`` or setting ``state`` is legal after it.
        """
        return one_or_all(push_checked(self, [], True, out))

    def max_outputs(self, n):
        """Most frames a push of ``n`` frames can return from here; several outputs: a tuple. Where the inputs
        have several clocks, ``n`` may be a tuple with a number for each.
        """
        cdef Counts counts
        counts_of(self, n, &counts)
        return one_or_all([self.most_due(k, &counts, False) for k in range(len(self.output_features))])

    cdef size_t most_due(self, size_t output, Counts *counts, bint ended):
        """Most frames of an output that any row is due."""
        cdef size_t b, most = rnnrt_stream_due(self.stream, output, counts.by_clock, ended)
        for b in range(1, self.batch if self.scattered else 1):
            most = max(most, self.due_of(b, output, counts, ended))
        return most

    cdef size_t due_of(self, size_t row, size_t output, Counts *counts, bint ended) noexcept:
        return rnnrt_row_due(self.plan.plan, rnnrt_stream_row(self.stream, row), self.every_step, output,
                             counts.by_clock, ended)

    # ---- what it remembers ---------------------------------------------------------------------------------

    def reset(self, rows=None):
        """Start a new sequence, from where the network starts. ``rows``: numbers of the batch rows that do;
        the others go on.

        Where a network looks ahead or has strides, rows that began at different times give their frames at
        different times: ``step`` and ``push`` then return a list with one answer a row instead of an array.
        """
        if rows is not None:
            rows = np.atleast_1d(as_array(rows, "rows"))
            if rows.ndim > 1 or rows.size and (
                rows.dtype.kind not in "iu" or rows.min() < 0 or rows.max() >= self.batch
            ):
                raise ShapeError(
                    "rows must be numbers of batch rows",
                    expected=f"whole numbers from 0 to {self.batch - 1}",
                    found=str(rows),
                )
            if rnnrt_stream_ended(self.stream):
                raise StateError(
                    "the sequences of all rows are over: a row cannot begin alone",
                    fix="Call reset() without rows.",
                )
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
            self.leave()

    @property
    def state(self):
        """Everything the stream remembers, as a State: a copy, to look at, to store or to give back.
        StateError after ``flush``.
        """
        arrays = read_rows(self)
        if self.batch_size is None:
            arrays = {name: a.reshape(a.shape[1:]) for name, a in arrays.items()}
        return self.model._states.make(arrays, self.batch_size, state_kind(self))

    @state.setter
    def state(self, value):
        states, empty = self.model._states, empty_state(self)
        write_rows(self, states.read(value, self.batch_size, state_kind(self), empty, self.part))

    def _start_from(self, arrays):
        """A new sequence that starts from {state name: (batch, size) array}, checked by the model; the rest
        is zero.
        """
        write_rows(self, arrays)

    @property
    def position(self):
        """Frames taken since the sequence began, a tuple with a number for every clock where there are
        several; where rows began at different times, an array with one number, or one such row, a row.
        """
        cdef list positions = [self.positions_of(b) for b in range(self.batch)]
        if len(set(positions)) == 1:
            return positions[0]
        return np.array(positions, np.uint64)

    @property
    def delay(self):
        """Input frames between a frame and its answer (see Model.delay)."""
        return self.part.delay

    @property
    def finite(self):
        """Whether every recurrent state is finite: a bool, or one a batch row. A row that once met NaN keeps
        it until it is reset (``reset(rows=)``, ``reset()``); a window forgets it by itself.
        """
        rows = finite_rows(self)
        return bool(rows[0]) if self.batch_size is None else rows

    def clone(self):
        """A second stream that goes on from the same place. StateError after ``flush``."""
        other = Stream(self.model, self.plan, self.batch_size, self.every_step, self.once or [], self.part,
                       self.block, self.realtime)
        copy_rows(self, other)
        return other

    def __reduce_ex__(self, protocol):
        """A stream belongs to one caller in one process: StateError. What travels is its model and its
        ``state``.
        """
        raise StateError(
            "a stream is neither pickled nor copied",
            fix="Send its model and stream.state, and set the state of a new stream there: "
            "stream = model.stream(); stream.state = state. A second stream here: stream.clone().",
        )

    def __repr__(self):
        return f"<rnnrt.Stream of {self.model!r}, batch_size={self.batch_size}, position={self.position}>"
