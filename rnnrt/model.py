"""Model: a planned network that answers whole inputs and makes streams."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, Literal, overload

from . import _engine, many, masks, passes, timing
from .axes import to_canonical, to_source
from .calls import WholeCalls
from .errors import DTypeError, ShapeError, UnsupportedModelError
from .graph import Graph
from .model_states import ModelStates
from .passes import masked
from .plans import Plans
from .ports import Ports, shape_of
from .state import State
from .streaming import Streams
from .summary import Summary, summary_of

if TYPE_CHECKING:
    from typing import Unpack

    from numpy.typing import ArrayLike

    from .annotations import (
        Answer,
        Backend,
        Floats,
        InitialState,
        ManyMasks,
        Mask,
        Options,
        Path,
        Progress,
        Samples,
        WeightType,
    )
    from .profiling import Profile
else:
    from typing import TypeVar

    Answer = TypeVar("Answer")  # annotations.py says what it stands for


class Model(Generic[Answer]):
    """A network ready to run. Immutable: any number of threads may call it, and every stream shares its
    weights.

    Made by ``rnnrt.load``, ``rnnrt.from_*`` or ``rnnrt.from_graph``. ``backend``: "native", or "blas" for
    products on SciPy's BLAS, which gives up the promise of equal bits. ``num_threads``: most
    threads that share a call with whole inputs, never more than the processors the process may use; where it
    does not pay, as in short calls, and in streams it is one.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        num_threads: int = 1,
        backend: Backend = "native",
        weights: WeightType = "float32",
        isa: str | None = None,
        golden: tuple[dict[str, Floats], dict[str, Floats]] | None = None,
        golden_by: str | None = None,
        provenance: dict[str, Any] | None = None,
        lift: bool = True,
    ) -> None:
        if not isinstance(graph, Graph):
            raise DTypeError(
                "this is not a graph",
                expected="an rnnrt.Graph",
                found=type(graph).__qualname__,
                fix="Files and live models: rnnrt.convert().",
            )
        if backend not in ("native", "blas"):
            raise UnsupportedModelError(
                "this backend does not exist", expected="'native' or 'blas'", found=repr(backend)
            )
        if not isinstance(weights, str) or weights != "float32":
            raise UnsupportedModelError(f"weights={weights!r} is not supported yet", expected="'float32'")
        if not isinstance(num_threads, int) or num_threads < 1:
            raise ShapeError("num_threads must be a whole number from 1", found=repr(num_threads))
        if isa is not None and isa not in _engine.isas():
            raise UnsupportedModelError(
                "this instruction set is unknown, or this processor lacks it",
                expected=f"one of {_engine.isas()}",
                found=repr(isa),
            )
        if backend == "blas":
            _engine.use_blas()
        self.graph = graph
        self._options = {
            "num_threads": num_threads,
            "backend": backend,
            "weights": weights,
            "isa": isa,
            "lift": lift,
        }
        self._golden, self._golden_by, self.provenance = golden, golden_by, provenance or {}
        self._run_graph = passes.optimise(graph, lift)
        plans = Plans(self._run_graph, "blas" if backend == "blas" else isa, threads=num_threads)
        self._ports = Ports(graph, self._run_graph)
        self._states = ModelStates(graph, self._run_graph)
        self._run_on(plans)

    def _run_on(self, plans):
        """Make calls and streams run on ``plans``, of this network."""
        self._plans = plans
        self._calls = WholeCalls(self.graph, self._ports, plans, self._states)
        self._streams = Streams(self._run_graph, self._ports, plans, self._states)
        #: The short way of a call, or None.
        self._short = None
        if plans.common is not None and not {"lengths_input", "row_lengths"} & self.graph.metadata.keys():
            ports = self._ports.short()
            self._short = ports and _engine.ShortCalls(plans.common, _engine.Signature(*ports))

    # ---- what it is ----------------------------------------------------------------------------------------

    @property
    def inputs(self) -> dict[str, tuple[int | None, ...]]:
        """{name: shape as the source has it, None for a free size}."""
        return {p.layer.name: p.shape for p in self._ports.inputs}

    @property
    def outputs(self) -> dict[str, tuple[int | None, ...]]:
        """{name: shape as the source has it, None for a free size}."""
        return {o.name: shape_of(signal, o.axes) for o, signal in self._ports.outputs}

    @property
    def metadata(self) -> dict[str, Any]:
        """What is known about the network beside its answers, plain JSON values: where it came from, what was
        assumed, and of a capture of an amplifier its ``sample_rate`` in Hz, ``loudness`` in dB and more.
        """
        return self.graph.metadata

    @property
    def nbytes(self) -> int:
        """Bytes of the packed weights."""
        return self._plans.any().nbytes

    @property
    def isa(self) -> str:
        """The instruction set the kernels run on."""
        return self._plans.any().isa

    @property
    def streamable(self) -> bool:
        """Whether ``stream()`` works; ``stream()`` itself says why not."""
        return self._streams.obstacle() is None

    @property
    def clocks(self) -> tuple[tuple[str, ...], ...]:
        """Names of the inputs over time that share a clock, clock by clock: their frames meet in a layer, so
        they have as many as one another. Inputs of different clocks have lengths of their own, and a push
        gives each as many frames as it likes.
        """
        return timing.clocks(self._run_graph)

    @property
    def delay(self) -> Any:
        """Input frames by which a stream's answers lag: the smallest d such that for every t the running
        stream has, after t + d frames, given all that a flush after t frames would have. 0 for a network that
        does not look ahead. Where the inputs have several clocks, one number each.

        Outputs that come only when the sequence is over are not counted.
        """
        delays = timing.delays(self._run_graph) if self.streamable else (0,) * len(self.clocks)
        return delays[0] if len(delays) == 1 else delays or 0

    @property
    def receptive_field(self) -> int | None:
        """Input frames one output frame depends on; None where a recurrent layer or a whole-sequence layer
        makes that all of them.
        """
        return timing.receptive_field(self._run_graph)

    def summary(self) -> Summary:
        """A table of the layers (name, kind, output, parameters), and what was assumed about them: a text,
        which a notebook shows as a table.
        """
        return summary_of(self.graph, self.assumptions)

    def __repr__(self) -> str:
        return (
            f"<rnnrt.Model {self.graph.metadata.get('source', 'graph')}: {len(self.graph.layers)} layers, "
            f"{self.graph.parameters:,} parameters>"
        )

    def _repr_html_(self) -> str:
        """What a notebook shows: the graph drawn, with shapes, parameters and delays."""
        from .drawing import of_model

        return of_model(self)

    def with_options(self, **options: Unpack[Options]) -> Model[Answer]:
        """The same network with another num_threads, backend, weights or isa."""
        unknown = set(options) - set(self._options)
        if unknown:
            raise UnsupportedModelError(
                f"unknown options {sorted(unknown)}", expected=f"{sorted(self._options)}"
            )
        made = Model(
            self.graph,
            **{**self._options, **options},
            golden=self._golden,
            golden_by=self._golden_by,
            provenance=self.provenance,
        )
        made._path, made._by_path = self._path, self._by_path
        return made

    # ---- a value: see value.py -----------------------------------------------------------------------------

    #: Where ``load`` found the file, and (path, size, sha256) of a model that pickles by path.
    _path: str | None = None
    _by_path: tuple[str, int, str] | None = None

    def __eq__(self, other: object) -> bool:
        """Whether both give the same answers: one network, one type of weights, one backend. Threads and
        instruction set change no bit.
        """
        if not isinstance(other, Model):
            return NotImplemented
        return self is other or self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self):
        return self.fingerprint, self._options["weights"], self._options["backend"]

    def __copy__(self) -> Model[Answer]:
        """The model itself: it never changes."""
        return self

    def __deepcopy__(self, memo: object) -> Model[Answer]:
        """The model itself: it never changes."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """The bytes of its file and its options; see ``rnnrt.by_path`` for a small pickle."""
        from .value import reduced

        return reduced(self)

    # ---- whole inputs --------------------------------------------------------------------------------------

    @overload
    def __call__(
        self,
        x: ArrayLike | None,
        *more: ArrayLike | None,
        lengths: ArrayLike | None = None,
        mask: Mask | None = None,
        initial_state: InitialState | None = None,
        return_state: Literal[False] = False,
        out: Floats | None = None,
        progress: Progress | None = None,
    ) -> Answer: ...

    @overload
    def __call__(
        self,
        x: ArrayLike | None,
        *more: ArrayLike | None,
        lengths: ArrayLike | None = None,
        mask: Mask | None = None,
        initial_state: InitialState | None = None,
        return_state: Literal[True],
        out: Floats | None = None,
        progress: Progress | None = None,
    ) -> tuple[Answer, State]: ...

    @overload
    def __call__(
        self,
        x: ArrayLike | None,
        *more: ArrayLike | None,
        lengths: ArrayLike | None = None,
        mask: Mask | None = None,
        initial_state: InitialState | None = None,
        return_state: bool,
        out: Floats | None = None,
        progress: Progress | None = None,
    ) -> Answer | tuple[Answer, State]: ...

    def __call__(
        self,
        x: ArrayLike | None,
        *more: ArrayLike | None,
        lengths: ArrayLike | None = None,
        mask: Mask | None = None,
        initial_state: InitialState | None = None,
        return_state: bool = False,
        out: Floats | None = None,
        progress: Progress | None = None,
    ) -> Any:
        """Run whole inputs, axes as the source framework takes them; batched or not is told by the number of
        axes. Rows of different length: a list, or an array of objects, of one array a row. They run in groups
        of one length, and each answers as if it were alone: a list with its answer for each row (an array of
        all where an output has no time). ``mask`` is then such a list too; ``lengths`` and ``out`` are not
        for these.

        ``lengths``: (batch,) true lengths with PyTorch's packing meaning; of a Keras model, and of a network
        whose inputs include a mask (Graph.mask_inputs), a mask of each row's first frames. ``mask``: (batch,
        time) of True for frames that are real and False for those to pass over (or 1 and 0), for these as in
        Keras's ``model(x, mask=mask)``; {name: mask} where several inputs take one. Without it all frames are
        real. ``initial_state``: a State, {"lstm/h": array}, or the source's own form. ``out``: float32 array
        for the one output. Returns the output, or a tuple of them in the source's order; with
        ``return_state`` (output, State). ``progress``:
        f(done, total) in multiply-adds, called in this thread now and then during a long call and at its end.
        What it raises ends the call, as Ctrl-C does; ``out`` is then unspecified. Raises ShapeError,
        DTypeError, StateError, each naming the input.
        """
        if (
            self._short is not None
            and lengths is mask is initial_state is progress is None
            and not return_state
        ):
            y = self._short.answer(x, more, out)
            if y is not None:
                return y
        given = (x, *more)
        if len(given) > len(self._ports.inputs):
            raise ShapeError(
                "there are too many inputs", expected=f"{list(self.inputs)}", found=str(len(given))
            )
        given = [*given, *[None] * (len(self._ports.inputs) - len(given))]
        if (mask is not None or lengths is not None) and self._masked is not None:
            options = {"lengths": lengths, "mask": mask, "initial_state": initial_state}
            return self._masked(*given, **options, return_state=return_state, out=out, progress=progress)
        return self._calls.answer(
            given if mask is None else masks.placed(self._ports.inputs, given, mask),
            lengths,
            initial_state,
            return_state,
            out,
            progress,
        )

    @cached_property
    def _masked(self) -> Model[Answer] | None:
        """The same network with masks among its inputs, for ``mask=`` and ``lengths=``; None where its own
        inputs include a mask, or no layer would consult one.
        """
        form = None if masks.taken(self._ports.inputs) else masked.form(self.graph)
        if form is None:
            return None
        made = Model(form, **self._options)
        made._states.fingerprint = self.fingerprint  # its states are this model's
        return made

    def run(self, inputs: Mapping[str, ArrayLike]) -> dict[str, Floats]:
        """{input name: array} -> {output name: array}."""
        names = list(self.inputs)
        if not isinstance(inputs, Mapping):
            raise DTypeError(
                "run() takes the inputs by name",
                expected=f"{{name: array}} for {names}",
                found=type(inputs).__name__,
            )
        unknown = [n for n in inputs if n not in names]
        if unknown:
            raise ShapeError(f"there is no input {unknown[0]!r}", expected=f"{names}")
        made = self._calls.answer([inputs.get(n) for n in names])
        return dict(zip(self.outputs, made if isinstance(made, tuple) else (made,)))

    # ---- streams -------------------------------------------------------------------------------------------

    def stream(
        self,
        batch_size: int | None = None,
        *,
        every_step: bool = False,
        inputs: Mapping[str, ArrayLike] | None = None,
        initial_state: InitialState | None = None,
        masked: bool = False,
        realtime: bool = False,
        _block: int = 0,
    ) -> _engine.Stream[Answer]:
        """A Stream: one live sequence, or ``batch_size`` of them side by side, with a state of its own.

        A network that answers once, at the end of its input, answers at ``flush``; with ``every_step`` it
        says after every frame what ``model(x[:t + 1])`` would say. ``inputs``: {name: array} of the inputs
        without a time axis, and of those over time that are known whole, axes as a call takes them (or those
        of one row, for all): an encoder's, whose end the decoder starts from. They are run at once.
        ``initial_state``: where this sequence starts, in any form a call takes; ``reset`` goes to zero.
        ``masked``: its frames may be masked, as in ``step(frame, mask=False)``, where whole calls take
        ``mask=`` (a network that has a mask among its inputs always takes one). ``realtime``: the stream owns
        the memory its calls work in and never shares it, so that no call allocates or waits, however many
        threads use the model. Raises NotStreamableError with the layer and the reason where the whole input
        is needed first, UnsupportedModelError where ``masked`` means nothing.
        """
        model = self
        if masked and not masks.taken(self._ports.inputs):
            model = self._masked
            if model is None:
                raise UnsupportedModelError(
                    "masked=True means nothing to this model: no layer consults a mask of its inputs",
                    fix="Make the stream without it.",
                )
        return model._streams.stream(
            model,
            batch_size,
            every_step=every_step,
            inputs=inputs,
            initial_state=initial_state,
            realtime=realtime,
            block=_block,
        )

    def step_many(
        self,
        streams: Iterable[_engine.Stream[Answer]],
        frames: ArrayLike | Iterable[Any],
        out: Floats | None = None,
        mask: ManyMasks | None = None,
    ) -> Any:
        """One step of many live streams in one call: the bits each would have alone.

        ``streams``: of this model, each once, all with every_step or none; rows count in the order of the
        streams. ``frames``: (rows, features), or one frame a stream as its ``step`` takes it. Returns a list
        with what each stream's ``step`` would; with ``out`` (rows, features), float32, the rows that are due
        are filled and a bool array (rows,) says which. ``mask``: (rows,), or one for each stream as its
        ``step`` takes it, None for a frame that is real; {name: these} where several inputs are masks.
        Nothing changes where an error is raised before the first row moves.
        """
        return many.step(self, streams, frames, out, mask)

    def push_many(
        self,
        streams: Iterable[_engine.Stream[Answer]],
        chunks: ArrayLike | Iterable[Any],
        out: Floats | None = None,
        mask: ManyMasks | None = None,
    ) -> Any:
        """The same for chunks of as many frames each, (rows, time, features) or one a stream: a list of what
        each stream's ``push`` would return; with ``out`` (rows, room, features) the first frames of each row
        are filled and their numbers (rows,) come back. ``mask``: (rows, time), or one for each stream."""
        return many.push(self, streams, chunks, out, mask)

    # ---- what it costs and does ----------------------------------------------------------------------------

    def profile(
        self, x: ArrayLike | None, *more: ArrayLike | None, steps: bool = False, seconds: float = 1.0
    ) -> Profile:
        """Where the time of ``model(x, *more)`` goes: of every layer the time, the bytes and operations that
        it has to do, and the share of what this core could do; measured for about ``seconds``, on one thread.
        ``print`` shows a table, a notebook bars; ``as_dict()`` gives plain values. ``steps``: of a stream
        that takes the frames of x one by one, for one step.

        Raises what the call, or the stream, would raise.
        """
        from .profiling import profile

        return profile(self, (x, *more), steps, seconds)

    def trace(self, x: ArrayLike | None, *more: ArrayLike | None) -> dict[str, dict[str, Floats]]:
        """What every recurrent layer does at every step of ``model(x, *more)``: {layer: {name: (batch, time,
        units)}}, float32, without batch where x has none. Names: "h" what the layer gives, the engine's own
        bits; of an LSTM "c" its cells, and the gates "i", "f", "g", "o"; of a GRU the gates "z", "r", "n",
        each after its activation, by the layer's equations (see rnnrt.layers) for the engine's h. At masked
        frames gates are NaN. Layers are named as in a State; one of backward direction has its arrays at the
        frames they belong to. Of a Scan, "y" and its further answers by name.

        Raises what the call would raise; UnsupportedModelError where no layer is recurrent.
        """
        from .tracing import trace

        return trace(self, (x, *more))

    @property
    def fingerprint(self) -> str:
        """A hash of the network: its structure and every weight."""
        return self._states.fingerprint

    # ---- files ---------------------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Write a .rnnrt file, whole or not at all, for Python and for hosts in C. Its golden sample is the
        one this model came with, or float64 reference answers.
        """
        from . import verification
        from .format import file
        from .lowered import Lowered

        golden, by = (
            (self._golden, self._golden_by)
            if self._golden
            else (verification.reference_sample(self.graph), "reference")
        )
        provenance = self.provenance or dict(self.graph.metadata)
        if verification.answered_by(by, self.graph) == verification.NOT_COMPARED:
            provenance = provenance | {"compared": verification.NOT_COMPARED}
        file.save(self.graph, path, golden, by, provenance, Lowered)

    @property
    def golden_by(self) -> str:
        """Who made the golden sample: a framework's name and version, or "reference"."""
        return self._golden_by or "reference"

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What was taken for granted about this network, a sentence each: by its importer, about its weights,
        and who was not asked.
        """
        from . import verification

        return verification.assumptions(self.graph, self.golden_by)

    def verify(self, x: Samples | None = None, y: Samples | None = None, *, tolerance: float = 1e-5) -> float:
        """Replay the golden sample, or the samples ``x`` -> ``y`` (as the source takes and gives them; a
        tuple or {name: array} where there are several); returns the largest error, relative to the largest
        expected magnitude where that is above 1.

        Raises VerificationError above ``tolerance`` and above twice the float32 rounding in the framework's
        own answer (see verification.py), and where the expected answer is not finite. Warns where the golden
        sample is rnnrt's own reading of a source: that proves only that the engine computes what was read.
        """
        from . import golden, verification

        if (x is None) != (y is None):
            raise ShapeError("verify takes samples with their answers", fix="Give x and y, or neither.")
        if x is not None:
            inputs, outputs, by, _ = golden.given(self.graph, x, y)
        else:
            inputs, outputs = self._golden or verification.reference_sample(self.graph)
            by = self.golden_by
            if verification.answered_by(by, self.graph) == verification.NOT_COMPARED:
                warnings.warn(f"{verification.NOT_COMPARED} with the framework's answers", stacklevel=2)
        given = [to_source(inputs[port.layer.name], port.layer.axes) for port in self._ports.inputs]
        made = self._calls.answer(given, verification.full_lengths(self.graph, inputs))
        made = made if isinstance(made, tuple) else (made,)
        answers = {o.name: to_canonical(a, o.axes) for (o, _), a in zip(self._ports.outputs, made)}
        return verification.check(self.graph, inputs, outputs, answers, by, tolerance)
