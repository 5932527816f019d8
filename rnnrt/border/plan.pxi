# A network packed for the engine.


# Out of the collector's sight: nothing that a plan holds leads back to it, and were it seen, the list of the
# plans inside could be emptied, and these freed, before the plan whose scratch memory refers to them.
@cython.no_gc
@cython.final
cdef class Plan:
    """A packed, immutable network. ``descs`` and ``outputs`` as lowering.descs_of makes them; ``names`` of
    the layers for messages. ``file``: the bytes of a .rnnrt file that hold the descriptors in their place.
    ``threads``: most that share a call with whole inputs.
    """

    cdef rnnrt_plan *plan
    cdef readonly list names
    cdef readonly list widths      # of the outputs
    cdef readonly dict states      # {layer: names of its recurrent states}
    cdef dict numbers              # {(name, kind) of a layer: its number, from 1}
    cdef list inner                # (graph, its plan) of the plans inside this one, kept alive
    cdef size_t output_count
    cdef cnp.ndarray spent         # where a watched plan counts, else None

    def __cinit__(self, list descs, list outputs, list names, widths, isa=None, dict states={},
                  Plan family=None, bytes file=None, size_t threads=1):
        cdef rnnrt_layer_desc *c_descs = <rnnrt_layer_desc *> calloc(len(descs), sizeof(rnnrt_layer_desc))
        cdef int32_t *c_outputs = <int32_t *> calloc(len(outputs), sizeof(int32_t))
        cdef const char *c_isa = NULL
        cdef rnnrt_error error
        cdef list kept_alive = []
        self.names, self.widths, self.states = names, list(widths), states
        self.inner, self.output_count = [], len(self.widths)
        self.numbers = {(name, desc["kind"]): k for k, (name, desc) in enumerate(zip(names, descs), 1)}
        try:
            if c_descs == NULL or c_outputs == NULL:
                raise MemoryError()
            if file is not None:
                status = rnnrt_load_memory(&self.plan, <const char *> file, len(file), &error)
                if status:
                    raise_status(status, &error, names)
                return
            for k, desc in enumerate(descs):
                describe_layer(desc, &c_descs[k], kept_alive)
                if family is not None:
                    c_descs[k].like = family.numbers.get((names[k], desc["kind"]), -1)
                if "inner" in desc:
                    c_descs[k].inner = self.plan_inside(desc["inner"], isa, family).plan
            for k, value in enumerate(outputs):
                c_outputs[k] = value
            encoded_isa = None if isa is None else isa.encode()
            if encoded_isa is not None:
                c_isa = encoded_isa
            status = rnnrt_plan_create(
                &self.plan, c_descs, len(descs), c_outputs, len(outputs), c_isa,
                NULL if family is None else family.plan, &error,
            )
            if status:
                raise_status(status, &error, names)
            rnnrt_plan_threads(self.plan, threads)
        finally:
            free(c_descs)
            free(c_outputs)

    def __dealloc__(self):
        rnnrt_plan_free(self.plan)

    cdef Plan plan_inside(self, graph, isa, Plan family):
        """The plan of a graph inside this one, which the family may have."""
        cdef Plan inside = None if family is None else next((p for g, p in family.inner if g is graph), None)
        inside = inside or plan_of(graph, isa)
        self.inner.append((graph, inside))
        return inside

    @staticmethod
    def of_file(bytes content, list names, widths):
        """The plan that a host in C makes of a .rnnrt file, whose layers have ``names`` and whose outputs
        have ``widths``.
        """
        return Plan([], [], names, widths, file=content)

    @property
    def isa(self):
        return rnnrt_plan_isa(self.plan).decode()

    @property
    def nbytes(self):
        return rnnrt_plan_bytes(self.plan) + sum(p.nbytes for _, p in self.inner)

    def stream_bytes(self, size_t batch=1):
        """Bytes of a stream in the caller's memory, in C."""
        cdef size_t size = 0
        cdef rnnrt_error error
        cdef int status = rnnrt_stream_size(self.plan, batch, 0, &size)
        if status:
            error.layer, error.text = -1, NULL
            raise_status(status, &error, self.names)
        return size

    def obstacle(self, bint every_step=False):
        """(layer name, reason) of what keeps the plan from streaming, or None."""
        cdef const char *text
        cdef int32_t layer = rnnrt_plan_obstacle(self.plan, every_step, &text)
        return None if layer < 0 else (self.names[layer], text.decode())

    def clock(self, size_t input):
        """The number of the clock of an input, counted over the input layers; -1: it is given once."""
        return rnnrt_plan_clock(self.plan, input)

    def due(self, size_t output, list frames, bint ended):
        """Frames of an output after frames[k] frames of input layer k."""
        cdef Counts counts
        cdef int32_t clock
        alike(0, &counts)
        for k, n in enumerate(frames):
            clock = rnnrt_plan_clock(self.plan, k)
            if clock >= 0:
                counts.by_clock[clock] = n
        return rnnrt_plan_due(self.plan, output, counts.by_clock, ended)

    def work(self, size_t frames):
        """About how many multiply-adds one row of ``frames`` frames takes."""
        return rnnrt_plan_work(self.plan, frames)

    def rows(self, size_t frames):
        """Rows that run() works on at a time: a larger batch runs in slices."""
        return rnnrt_plan_rows(self.plan, frames)

    def watch(self):
        """Count what every layer takes from now on, of a plan that nobody has used: the record array in which
        that is added up, one SPENT a layer. The plan is then for one thread at a time.
        """
        cdef cnp.ndarray spent = np.zeros(len(self.names), SPENT)
        cdef rnnrt_error error
        cdef int status = rnnrt_plan_watch(self.plan, <rnnrt_spent *> cnp.PyArray_DATA(spent))
        if status:
            error.layer, error.text = -1, NULL
            raise_status(status, &error, self.names)
        self.spent = spent
        return spent

    def run(self, size_t batch, list inputs, list outputs, lengths=None, initial=(), final=(), size_t block=0,
            Call call=None, int64_t first=0):
        """Run whole inputs: float32 arrays (time, batch, width) in any strides, but numbers of a frame that
        are one in memory; outputs likewise, filled.

        Returns the frames written of each output. ``initial``, ``final``: (value number, (batch, size) array)
        of states. ``call``: asked whether to go on. ``first``: number of the first row, for messages.
        """
        return run_whole(self, batch, inputs, outputs, lengths, initial, final, block, call, first)


def plan_of(graph, isa=None, family=None, threads=1):
    """The Plan of a Graph whose lengths are settled; ``family``: a Plan of the same layers, or of more than
    these, for another length or with other inputs, whose weights it shares. ``threads``: most that share a
    call with whole inputs.
    """
    from .lowering import descs_of, state_names

    descs, outputs, needs_length = descs_of(graph)
    if needs_length:
        raise ShapeError("needs to know how long the input is", where=f"layer {needs_length!r}")
    names = [desc["name"] for desc in descs]
    widths = [graph.signals[o.value].width for o in graph.outputs]
    return Plan(descs, outputs, names, widths, isa, state_names(graph), family, None, threads)


cdef rnnrt_worth_of worth = rnnrt_worth
def share_always(size_t processors=0):
    """For tests: calls and products of any size are shared, as on so many processors; 0: no more."""
    global rnnrt_pool_processors, rnnrt_worth
    rnnrt_worth = worth
    if processors:
        rnnrt_worth.call = rnnrt_worth.waking = rnnrt_worth.product = rnnrt_worth.piece = 0
    rnnrt_pool_processors = processors
