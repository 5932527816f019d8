"""Model: a planned network that answers whole inputs and makes streams."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, overload

import numpy as np

from . import _engine, lowering, many, passes, state_form, timing
from .axes import to_canonical, to_source
from .errors import (
    DTypeError,
    ModelFileError,
    NotStreamableError,
    ShapeError,
    StateError,
    UnsupportedModelError,
)
from .graph import Graph
from .layers import Input, Scan
from .ports import (
    Port,
    as_array,
    as_float32,
    engine_form,
    finish_output,
    make_output,
    readable,
    shape_of,
    tables_of,
)
from .state import State

if TYPE_CHECKING:
    from typing import Unpack

    from numpy.typing import ArrayLike

    from .annotations import (
        Answer,
        Backend,
        Check,
        CustomObjects,
        File,
        Floats,
        InitialState,
        Options,
        Path,
        Progress,
        Samples,
        WeightType,
    )
else:
    from typing import TypeVar

    Answer = TypeVar("Answer")  # annotations.py says what it stands for

#: Numbers of an input that are converted at a time.
SLICE = 1 << 20


class Model(Generic[Answer]):
    """A network ready to run. Immutable: any number of threads may call it, and every stream shares its
    weights.

    Made by ``rnnrt.load``, ``rnnrt.from_*`` or ``rnnrt.from_graph``. ``backend``: "native", or "blas" for
    products on SciPy's BLAS, which gives up the promise of equal bits. ``num_threads``: threads that share
    the rows of a large batch.
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
            raise UnsupportedModelError(f"weights={weights!r} is not there yet", expected="'float32'")
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
        self._isa = "blas" if backend == "blas" else isa
        self._golden, self._golden_by, self.provenance = golden, golden_by, provenance or {}
        self._run_graph = passes.optimise(graph, lift)
        self._plans: dict[int, _engine.Plan] = {}
        self._family = None
        _, _, self._needs_length = lowering.rows_of(self._run_graph)
        self._plan = None if self._needs_length else self._make_plan(self._run_graph)
        number = lowering.value_numbers(self._run_graph)
        recurrent = [x for x in self._run_graph.layers if x.keeps == "state"]
        lifted = self._run_graph.metadata.get("lifted", {})  # layers that keep the names they had as scans
        states = {x.name: dict(lifted.get(x.name, [(s, s) for s in x.states])) for x in recurrent}
        #: (name, value number, size) of every recurrent state, in the order of the layers.
        self.state_values = [
            (f"{x.name}/{name}", number[f"{x.name}:{s}"], self._run_graph.signals[f"{x.name}:{s}"].width)
            for x in recurrent
            for s, name in states[x.name].items()
        ]
        #: Recurrent states that do not start from zero: what an input or another layer says comes first.
        self._started = {
            f"{x.name}/{states[x.name][s]}"
            for x in recurrent
            for s in (x.started if isinstance(x, Scan) else x.states[: len(x.inputs) - 1])
        }
        #: Layers that remember frames, which a state of recurrent values alone does not hold.
        self._windows = [x for x in self._run_graph.layers if x.keeps == "frames"]
        #: Whether one frame in can bring several out.
        self.bursts = timing.may_emit_many(self._run_graph)
        self._inputs = [
            Port(
                graph[name],
                graph.signals[name],
                tables_of(graph, name),
                name in graph.metadata.get("optional_inputs", ()),
            )
            for name in graph.inputs
        ]
        order = [x.name for x in self._run_graph.layers if isinstance(x, Input)]
        self._row_order = [graph.inputs.index(name) for name in order]
        # Everything a call needs to know about each output, looked up once.
        self._outs = [(o, graph.signals[o.value]) for o in graph.outputs]
        self._plain = self._plain_ports()
        self._fingerprint = None

    def _plain_ports(self):
        """(width, length or 0, timed output) where one plain sequence goes in and one array comes out, for
        which calls have a short way.
        """
        if (
            len(self._inputs) != 1
            or len(self._outs) != 1
            or self._plan is None
            or self._options["num_threads"] > 1
            or "lengths_input" in self.graph.metadata
        ):
            return None
        port, (output, signal) = self._inputs[0], self._outs[0]
        if (
            port.layer.axes != "btf"
            or port.layer.ids
            or port.tables
            or len(port.signal.features) != 1
            or len(signal.features) != 1
            or output.axes not in ("btf", "bf")
        ):
            return None
        return port.signal.width, port.signal.length or 0, signal.time

    def _make_plan(self, graph):
        """A Plan; those for other lengths share the packed weights of the first."""
        plan = _engine.plan_of(graph, self._isa, self._family)
        self._family = self._family or plan
        return plan

    def _plan_for(self, frames):
        """The plan for inputs of ``frames``, a number or, where they differ, {input: number}: one plan for
        all lengths, except where a layer's padding depends on the length, or inputs are not equally long."""
        differ = isinstance(frames, dict)
        if self._plan is not None and not differ:
            return self._plan
        key = tuple(frames.items()) if differ else frames
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) >= 8:
                self._plans.clear()
            try:
                graph = lowering.with_length(self._run_graph, frames)
            except ShapeError as error:
                if differ and error.fix is None:
                    error.fix = (
                        f"The inputs have different lengths here ({frames}), and these layers need one."
                    )
                raise
            plan = self._plans[key] = self._make_plan(graph)
        return plan

    # ---- what it is ----------------------------------------------------------------------------------------

    @property
    def inputs(self) -> dict[str, tuple[int | None, ...]]:
        """{name: shape as the source has it, None for a free size}."""
        return {p.layer.name: p.shape for p in self._inputs}

    @property
    def outputs(self) -> dict[str, tuple[int | None, ...]]:
        """{name: shape as the source has it, None for a free size}."""
        return {o.name: shape_of(signal, o.axes) for o, signal in self._outs}

    @property
    def nbytes(self) -> int:
        """Bytes of the packed weights."""
        return self._plan_for(self._any_length()).nbytes

    @property
    def isa(self) -> str:
        """The instruction set the kernels run on."""
        return self._plan_for(self._any_length()).isa

    @property
    def streamable(self) -> bool:
        """Whether ``stream()`` works; ``stream()`` itself says why not."""
        return self._obstacle(False) is None

    @property
    def delay(self) -> int:
        """Input frames by which a stream's answers lag: the smallest d such that for every t the running
        stream has, after t + d frames, given all that a flush after t frames would have. 0 for a network that
        does not look ahead.

        Outputs that come only when the sequence is over are not counted.
        """
        return timing.delay(self._run_graph) if self.streamable else 0

    @property
    def receptive_field(self) -> int | None:
        """Input frames one output frame depends on; None where a recurrent layer or a whole-sequence layer
        makes that all of them.
        """
        return timing.receptive_field(self._run_graph)

    def summary(self) -> str:
        """A table of the layers (name, kind, output, parameters), and what was assumed about them."""
        rows = [("layer", "kind", "output", "parameters")]
        rows += [
            (
                x.name,
                type(x).__name__,
                str(self.graph.signals[x.name]),
                f"{x.parameters:,}" if x.parameters else "",
            )
            for x in self.graph.layers
        ]
        rows.append(("", "", "in all", f"{self.graph.parameters:,}"))
        wide = [max(len(r[k]) for r in rows) for k in range(4)]
        lines = [
            "  ".join(c.rjust(w) if k == 3 else c.ljust(w) for k, (c, w) in enumerate(zip(r, wide))).rstrip()
            for r in rows
        ]
        return "\n".join(lines + [f"assumed: {text}" for text in self.assumptions])

    def __repr__(self) -> str:
        return (
            f"<rnnrt.Model {self.graph.metadata.get('source', 'graph')}: {len(self.graph.layers)} layers, "
            f"{self.graph.parameters:,} parameters>"
        )

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
        mask: ArrayLike | None = None,
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
        mask: ArrayLike | None = None,
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
        mask: ArrayLike | None = None,
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
        mask: ArrayLike | None = None,
        initial_state: InitialState | None = None,
        return_state: bool = False,
        out: Floats | None = None,
        progress: Progress | None = None,
    ) -> Any:
        """Run whole inputs, axes as the source framework takes them; batched or not is told by the number of
        axes.

        ``lengths``: (batch,) true lengths with PyTorch's packing meaning. ``initial_state``: a State,
        {"lstm/h": array}, or the source's own form. ``out``: float32 array for the one output. Returns the
        output, or a tuple of them in the source's order; with ``return_state`` (output, State). ``progress``:
        f(done, total) in multiply-adds, called in this thread now and then during a long call and at its end.
        What it raises ends the call, as Ctrl-C does; ``out`` is then unspecified. Raises ShapeError,
        DTypeError, StateError, each naming the input.
        """
        if (
            self._plain is not None
            and not more
            and lengths is mask is initial_state is out is progress is None
            and not return_state
        ):
            y = self._plan.answer(x, *self._plain)
            if y is not None:
                return y
        if mask is not None:
            raise UnsupportedModelError(
                "mask= is not supported yet",
                fix="Use lengths= for a PyTorch model whose rows have different lengths.",
            )
        given = (x, *more)
        if len(given) > len(self._inputs):
            raise ShapeError(
                "there are too many inputs", expected=f"{list(self.inputs)}", found=str(len(given))
            )
        return self._answer(
            list(given) + [None] * (len(self._inputs) - len(given)),
            lengths,
            initial_state,
            return_state,
            out,
            progress,
        )

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
        made = self._answer([inputs.get(n) for n in names], None, None, False, None)
        return dict(zip(self.outputs, made if isinstance(made, tuple) else (made,)))

    def _answer(self, given, lengths, initial_state, return_state, out, progress=None):
        if progress is not None and not callable(progress):
            raise DTypeError(
                "progress must be a function", expected="f(done, total)", found=type(progress).__name__
            )
        arrays, batch, frames, batched = self._canonical(given)
        required = self.graph.metadata.get("lengths_input")
        if lengths is not None:
            if isinstance(frames, dict):
                raise ShapeError("lengths= needs inputs that are equally long", found=f"{frames}")
            lengths = self._check_lengths(lengths, batch, frames)
        elif required:
            raise ShapeError(f"this module was traced with lengths ({required!r})", fix="Pass lengths=.")
        plan = self._plan_for(frames)
        if isinstance(frames, dict):
            frames = max(frames.values())
        made, views = [], []
        for k, (output, signal) in enumerate(self._outs):
            count = plan.due(k, frames, True)
            if not count:
                raise ShapeError(
                    "the input is too short for this network",
                    where=f"output {output.name!r}",
                    found=f"{frames} frames",
                )
            end = self._cut_at(output.name, lengths)
            shared = out is not None and any(np.may_share_memory(out, a) for a in arrays)
            array, view = make_output(
                output.axes,
                signal,
                batch,
                count,
                batched,
                out if len(self._outs) == 1 and end is None else None,
                shared,
            )
            made.append(array)
            views.append(view)
        if out is not None and len(self._outs) != 1:
            raise ShapeError("out= works for models with one output only", found=f"{len(self._outs)} outputs")
        initial = self._initial(initial_state, batch, batched)
        final = (
            [(name, value, np.empty((batch, size), np.float32)) for name, value, size in self.state_values]
            if return_state
            else []
        )
        self._run(
            plan,
            batch,
            [arrays[k] for k in self._row_order],
            views,
            lengths,
            initial,
            [(v, a) for _, v, a in final],
            progress,
        )
        results = tuple(
            finish_output(output.axes, signal, array, batched, out)
            if (end := self._cut_at(output.name, lengths)) is None
            else self._cut(output.axes, signal, array, view, end, batched, out)
            for (output, signal), array, view in zip(self._outs, made, views)
        )
        result = results[0] if len(results) == 1 else results
        if not return_state:
            return result
        return result, self.make_state(
            {name: a if batched else a[0] for name, _, a in final}, batch if batched else None
        )

    def _cut_at(self, output, lengths):
        """Frames that an output has with these lengths where pad_packed_sequence cuts it to the longest row;
        else None.
        """
        if lengths is None or output not in self.graph.metadata.get("cut_outputs", ()):
            return None
        return max(1, int(lengths.max()))

    def _cut(self, axes, signal, array, view, end, batched, out):
        shorter, cut = make_output(axes, signal, view.shape[1], end, batched, out, out is not None)
        cut[...] = view[:end]
        return finish_output(axes, signal, shorter, batched, out)

    def _run(self, plan, batch, arrays, views, lengths, initial, final, progress):
        """Run the plan. Inputs that the engine cannot read as they are become what it reads some rows at a
        time, and threads share out the rows where there is enough work for them."""
        frames = max(a.shape[0] for a in arrays)
        total = plan.work(frames) * batch
        long = total > _engine.LONG_WORK
        call = _engine.Call(total, progress) if long or progress is not None else None
        threads = min(self._options["num_threads"], batch) if long else 1
        size = batch
        if threads > 1 or any(a.size > SLICE and not readable(a) for a in arrays):
            numbers = sum(a.shape[0] * a.shape[2] for a in arrays)
            rows = plan.rows(frames)
            size = min(-(-batch // threads), rows * max(1, SLICE // (rows * numbers)))
        cuts = iter([(k, min(k + size, batch)) for k in range(0, batch, size)])

        def rows_of(a, b, part):
            if (a, b) == (0, batch):
                plan.run(batch, [engine_form(x) for x in arrays], views, lengths, initial, final, 0, part)
                return
            kept = [(v, np.empty_like(x[a:b])) for v, x in final]
            plan.run(
                b - a,
                [engine_form(x[:, a:b]) for x in arrays],
                [y[:, a:b] for y in views],
                None if lengths is None else lengths[a:b].copy(),
                [(v, np.ascontiguousarray(x[a:b])) for v, x in initial],
                kept,
                0,
                part,
                a,
            )
            for (_, x), (_, y) in zip(final, kept):
                x[a:b] = y

        if threads < 2:
            for a, b in cuts:
                rows_of(a, b, call)
        else:
            _share_out(cuts, rows_of, call, threads)
        if call is not None:
            call.finish()

    def _canonical(self, given):
        """Inputs as float32 (time, batch, width) arrays, the batch, the frames (by input where they differ),
        and whether a batch axis was given."""
        batched, batch, free, arrays = None, 1, {}, []
        for port, x in zip(self._inputs, given):
            if x is None:
                if not port.optional:
                    raise ShapeError(
                        f"the input {port.layer.name!r} is missing", expected=f"{list(self.inputs)}"
                    )
                arrays.append(None)
                continue
            x = as_array(x, port.where)
            has_batch = x.ndim == port.rank
            if not has_batch and x.ndim != port.rank - 1:
                raise port.wrong(x)
            port.check_ids(x, [a for a in port.letters if has_batch or a != "b"])
            if batched is not None and has_batch != batched:
                raise ShapeError(
                    "some inputs have a batch axis and some have not",
                    where=port.where,
                    expected=f"{port.rank - (not batched)} axes",
                    found=str(x.shape),
                )
            batched = has_batch
            array = port.canonical(x, has_batch)
            if len(arrays) and any(a is not None and a.shape[1] != array.shape[1] for a in arrays):
                raise ShapeError(
                    "the inputs have different batch sizes", where=port.where, found=str(x.shape)
                )
            batch = array.shape[1]
            if port.signal.time and port.signal.length is None:
                free[port.layer.name] = array.shape[0]
            arrays.append(array)
        # a network may take inputs of different lengths: what joins them says where it cannot
        frames = free if len(set(free.values())) > 1 else next(iter(free.values()), None)
        if frames is None:
            frames = next((p.signal.length for p in self._inputs if p.signal.time), 1)
        if not batch:
            raise ShapeError(
                "the batch is empty", where=self._inputs[0].where, expected="at least one row", found="0 rows"
            )
        arrays = [
            np.zeros((1, batch, p.signal.width), np.float32) if a is None else a
            for p, a in zip(self._inputs, arrays)
        ]
        return arrays, batch, frames, True if batched is None else batched

    def _check_lengths(self, lengths, batch, frames):
        from . import verification

        facts = self.graph.metadata
        if facts.get("source") == "torch" and not facts.get("packed"):
            raise UnsupportedModelError(
                "lengths= counts only where the program packs its rows (pack_padded_sequence), and this one "
                "does not",
                fix="Run rows of equal length together, or each row alone, cut to its length."
                " A spec says where forward packs: pack ... pad.",
            )
        if facts.get("source") == "keras":
            raise UnsupportedModelError(
                "lengths= on a Keras model is not supported yet",
                fix="Run rows of different lengths one by one.",
            )
        lengths = as_array(lengths, "lengths")
        if lengths.dtype.kind not in "iu" or lengths.shape != (batch,):
            raise ShapeError(
                "lengths must be one whole number a row",
                expected=f"({batch},)",
                found=f"{lengths.dtype} {lengths.shape}",
            )
        most = verification.longest_row(self.graph, frames)
        bad = np.flatnonzero((lengths < 0) | (lengths > most))
        if bad.size:
            raise ShapeError(
                f"the length of row {bad[0]} is out of range",
                expected=f"0 to {most}",
                found=str(lengths[bad[0]]),
            )
        if not facts.get("packed"):
            self._refuse_moved_time()
        return np.ascontiguousarray(lengths, np.int64)

    def _refuse_moved_time(self):
        """Lengths given to a graph built by hand count input frames: refuse them where a layer before a
        recurrent one changed those.
        """
        moved = set()
        for layer in self._run_graph.layers:
            sequences = [r.partition(":")[0] for r in layer.inputs if self._run_graph.signals[r].time]
            if layer.lengths == "honours" and not moved.isdisjoint(sequences):
                raise UnsupportedModelError(
                    "lengths= means nothing here: a layer before it changed the time axis",
                    where=layer.where,
                    fix="Run rows of different lengths one by one.",
                )
            if layer.lengths == "moves" or any(r.partition(":")[0] in moved for r in layer.inputs):
                moved.add(layer.name)

    def _initial(self, state, batch, batched):
        """[(value number, (batch, size) array)] from any form an initial state may take."""
        if state is None:
            return []
        if isinstance(state, State):
            self._check_owner(state)
            if state.of_stream and self._windows:
                raise StateError(
                    "this state came from a stream and holds frames too, which a new sequence would lose",
                    where=self._windows[0].where,
                    fix="Set it as stream.state to go on there; a dict of its recurrent arrays starts a new "
                    "sequence.",
                )
            names = {name for name, _, _ in self.state_values}
            state = {name: array for name, array in state.arrays().items() if name in names}
        if not isinstance(state, Mapping):
            state = self._source_state(state, batched)
        known = {name: (value, size) for name, value, size in self.state_values}
        made = []
        for name, array in state.items():
            if name not in known:
                raise StateError(f"there is no state {name!r}", expected=f"{list(known)}")
            value, size = known[name]
            a = as_float32(array, f"state {name!r}")
            wanted = (batch, size) if batched else (size,)
            if a.shape != wanted:
                raise StateError(
                    "the state has the wrong shape", where=name, expected=str(wanted), found=str(a.shape)
                )
            made.append((value, np.ascontiguousarray(a.reshape(batch, size))))
        return made

    def _lone_form(self):
        """The form of a network whose states are all of one RNN: h_0, or (h_0, c_0)."""
        layers = [layer for layer in self.graph.layers if layer.keeps == "state"]
        modules = {(layer.name.rpartition(".")[0], layer.states) for layer in layers}
        if len(modules) != 1 or "state_inputs" in self.graph.metadata:
            return None
        return state_form.of_stack([layer.name for layer in layers], layers[0].states)

    def _source_state(self, given, batched):
        """Keras's flat list, or the form that a PyTorch program takes, by state name."""
        names = [name for name, _, _ in self.state_values]
        if self.graph.metadata.get("source") == "torch":
            form = self.graph.metadata.get("initial_states") or self._lone_form()
            if form is None:
                raise StateError(
                    "forward takes no states in a form of its own",
                    expected=f"{{name: array}} of {names}",
                    found=type(given).__name__,
                )
            return state_form.by_name(form, given, batched)
        given = list(given) if isinstance(given, (tuple, list)) else [given]
        if len(given) != len(names):
            raise StateError(
                "the list of states has the wrong length", expected=f"{names}", found=str(len(given))
            )
        return dict(zip(names, given))

    # ---- streams -------------------------------------------------------------------------------------------

    def _any_length(self):
        return next((p.signal.length for p in self._inputs if p.signal.time and p.signal.length), 64)

    def _obstacle(self, every_step):
        if not any(p.signal.time for p in self._inputs):
            return self._inputs[0].layer.name, "has no time axis, nor has any other input"
        if self._plan is None:
            return self._needs_length, "its padding depends on how long the whole input is"
        return self._plan.obstacle(every_step)

    def stream(
        self,
        batch_size: int | None = None,
        *,
        every_step: bool = False,
        inputs: Mapping[str, ArrayLike] | None = None,
        initial_state: InitialState | None = None,
        realtime: bool = False,
        _block: int = 0,
    ) -> _engine.Stream[Answer]:
        """A Stream: one live sequence, or ``batch_size`` of them side by side, with a state of its own.

        A network that answers once, at the end of its input, answers at ``flush``; with ``every_step`` it
        says after every frame what ``model(x[:t + 1])`` would say. ``inputs``: {name: array} of the inputs
        without a time axis. ``initial_state``: where this sequence starts, in any form a call takes;
        ``reset`` goes to zero. ``realtime``: the stream owns the memory its calls work in and never shares
        it, so that no call allocates or waits, however many threads use the model. Raises NotStreamableError
        with the layer and the reason where the whole input is needed first.
        """
        obstacle = self._obstacle(every_step)
        if obstacle:
            how = "stream with every_step" if every_step and self.streamable else "stream"
            raise NotStreamableError(
                f"this model cannot {how}: the layer {obstacle[1]}",
                where=f"layer {obstacle[0]!r}",
                fix="Run it on whole inputs: model(x).",
            )
        if batch_size is not None and (
            not isinstance(batch_size, (int, np.integer)) or not 1 <= batch_size <= 1 << 24
        ):
            raise ShapeError(
                f"batch_size must be None or a whole number from 1 to {1 << 24}", found=repr(batch_size)
            )
        if not isinstance(inputs, Mapping | None):
            raise DTypeError(
                "stream() takes the inputs without a time axis by name",
                expected="{name: array}",
                found=type(inputs).__name__,
            )
        given, once = dict(inputs or {}), []
        ports = [self._inputs[k] for k in self._row_order]
        for port in ports:
            if port.signal.time:
                continue
            value = given.pop(port.layer.name, None)
            if value is None and not port.optional:
                raise ShapeError(
                    f"the input {port.layer.name!r} has no time axis: give it once",
                    fix="stream(inputs={name: array})",
                )
            shape = (batch_size or 1, port.signal.width)
            a = np.zeros(shape, np.float32) if value is None else as_array(value, port.where)
            rows = a.shape == (shape[0], *port.signal.features)
            if value is not None and not rows and a.shape != port.signal.features:
                raise ShapeError(
                    "the input has the wrong shape",
                    where=port.where,
                    expected=f"{port.signal.features}, or {(shape[0], *port.signal.features)}",
                    found=str(a.shape),
                )
            if value is not None:
                port.check_ids(a, ["b"] * rows)
            a = as_float32(a, port.where)
            once.append(np.ascontiguousarray(np.broadcast_to(a.reshape(-1, port.signal.width), shape))[None])
        if given:
            raise ShapeError(
                f"there is no input {next(iter(given))!r} without a time axis",
                expected=f"{[p.layer.name for p in ports if not p.signal.time]}",
            )
        outs = [(signal.features, signal.time) for _, signal in self._outs]
        made = _engine.Stream(
            self,
            self._plan,
            None if batch_size is None else int(batch_size),
            every_step,
            ports,
            once,
            outs,
            _block,
            realtime,
        )
        if initial_state is not None:
            start = self._initial_arrays(initial_state, made.batch_size)
            self._check_started(start)
            made._start_from(start)
        return made

    def step_many(
        self,
        streams: Iterable[_engine.Stream[Answer]],
        frames: ArrayLike | Iterable[Any],
        out: Floats | None = None,
    ) -> Any:
        """One step of many live streams in one call: the bits each would have alone.

        ``streams``: of this model, each once, all with every_step or none; rows count in the order of the
        streams. ``frames``: (rows, features), or one frame a stream as its ``step`` takes it. Returns a list
        with what each stream's ``step`` would; with ``out`` (rows, features), float32, the rows that are due
        are filled and a bool array (rows,) says which. Nothing changes where an error is raised before the
        first row moves.
        """
        return many.step(self, streams, frames, out)

    def push_many(
        self,
        streams: Iterable[_engine.Stream[Answer]],
        chunks: ArrayLike | Iterable[Any],
        out: Floats | None = None,
    ) -> Any:
        """The same for chunks of as many frames each, (rows, time, features) or one a stream: a list of what
        each stream's ``push`` would return; with ``out`` (rows, room, features) the first frames of each row
        are filled and their numbers (rows,) come back."""
        return many.push(self, streams, chunks, out)

    # what a Stream asks of its model

    def make_state(
        self, arrays: dict[str, Any], batch_size: int | None, kind: dict[str, Any] | None = None
    ) -> State:
        return State(arrays, self.fingerprint, batch_size, kind)

    def read_state(
        self, value: Any, batch_size: int | None, kind: dict[str, Any], wanted: dict[str, Any]
    ) -> dict[str, Any]:
        """{name: array with batch} of a State or a dict of arrays, checked against what a stream of ``kind``
        keeps: ``wanted``, {name: empty array of its shape and type}. Without "position" it starts a sequence.

        A State of recurrent values and a dict of them are refused where the network remembers frames.
        """
        if not isinstance(value, (State, dict)):
            raise StateError(
                "this is not a state",
                expected="a State, or a dict {name: array}",
                found=type(value).__qualname__,
                fix="Call reset() for a new sequence." if value is None else None,
            )
        if isinstance(value, State):
            self._check_owner(value)
            if value.of_stream:
                value.check_kind(batch_size, kind)
            value = value.arrays()
        if "position" in value:
            return self._complete(value, batch_size, wanted)
        if self._windows:
            raise StateError(
                "this state holds recurrent values alone, but the network remembers frames as well: the "
                "stream would "
                "go on from frames it never saw",
                where=self._windows[0].where,
                fix="Set what Stream.state gave; to start a new sequence from it: "
                "model.stream(initial_state=...).",
            )
        arrays = self._initial_arrays(value, batch_size)
        self._check_started(arrays)
        return arrays

    def _complete(self, value, batch_size, wanted):
        """All the arrays a stream keeps."""
        for name in {*value} ^ {*wanted}:
            fault = "is missing from the state" if name in wanted else "is not part of this stream's state"
            raise StateError(
                f"{name!r} {fault}", expected=f"{sorted(wanted)}", found=f"{sorted(map(str, value))}"
            )
        arrays = {}
        for name, like in wanted.items():
            array, shape = value[name], like.shape if batch_size is not None else like.shape[1:]
            if not isinstance(array, np.ndarray) or array.dtype != like.dtype or array.shape != shape:
                found = (
                    f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
                )
                raise StateError(
                    "an array of the state has another type or shape",
                    where=name,
                    expected=f"{like.dtype} {shape}",
                    found=found,
                )
            arrays[name] = array.reshape(like.shape)
        if arrays["position"].max() > 1 << 60:
            raise StateError("the position is impossible", found=str(arrays["position"].max()))
        # what the network itself says comes first at position 0, and would win without a word
        begins = arrays["position"] == 0
        self._check_started([n for n, _, _ in self.state_values if arrays[n][begins].any()])
        return arrays

    def _initial_arrays(self, value, batch_size):
        """{name: (batch, size) array} of any form an initial state may take, for a stream."""
        names = {number: name for name, number, _ in self.state_values}
        made = self._initial(value, batch_size or 1, batch_size is not None)
        return {names[number]: a for number, a in made}

    def _check_started(self, names):
        started = [name for name in names if name in self._started]
        if started:
            raise StateError(
                f"{started[0]!r} is set by another layer or an input and cannot be set from outside",
                fix="Give that input: stream(inputs={name: array}).",
            )

    def _check_owner(self, state):
        if state.belongs_to != self.fingerprint:
            raise StateError(
                "the state belongs to another model",
                expected=self.fingerprint[:12],
                found=state.belongs_to[:12],
            )

    @property
    def fingerprint(self) -> str:
        """A hash of the network: its structure and every weight."""
        if self._fingerprint is None:
            from .format import graph_json

            self._fingerprint = graph_json.fingerprint(self.graph)
        return self._fingerprint

    # ---- files ---------------------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Write a .rnnrt file, whole or not at all. Its golden sample is the one this model came with, or
        float64 reference answers.
        """
        from . import verification
        from .format import file

        golden, by = (
            (self._golden, self._golden_by)
            if self._golden
            else (verification.reference_sample(self.graph), "reference")
        )
        provenance = self.provenance or dict(self.graph.metadata)
        if verification.answered_by(by, self.graph) == verification.NOT_COMPARED:
            provenance = provenance | {"compared": verification.NOT_COMPARED}
        file.save(self.graph, path, golden, by, provenance)

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
        given = [to_source(inputs[port.layer.name], port.layer.axes) for port in self._inputs]
        made = self._answer(given, verification.full_lengths(self.graph, inputs), None, False, None)
        made = made if isinstance(made, tuple) else (made,)
        answers = {o.name: to_canonical(a, o.axes) for (o, _), a in zip(self._outs, made)}
        return verification.check(self.graph, inputs, outputs, answers, by, tolerance)


def _share_out(cuts, rows_of, call, threads):
    """Run every cut by one of ``threads`` threads, the caller's among them. The first error ends all, as does
    what interrupts the caller.
    """

    def drain(part):
        try:
            for a, b in cuts:
                if call.error is None:
                    rows_of(a, b, part)
        except BaseException as error:  # noqa: BLE001 - given back to the caller below
            call.cancel(error)

    workers = [threading.Thread(target=drain, args=(call.part(),)) for _ in range(threads - 1)]
    for w in workers:
        w.start()
    drain(call)
    for w in workers:
        while w.is_alive():
            try:
                w.join()
            except BaseException as error:  # noqa: BLE001 - likewise
                call.cancel(error)
    if call.error is not None:
        raise call.error


# ---- the ways in -------------------------------------------------------------------------------------------


def from_keras(
    source: Any,
    spec: str | os.PathLike[str] | None = None,
    *,
    custom_objects: CustomObjects | None = None,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    check: Check | None = None,
    max_bytes: int = 2 << 30,
) -> Model[Answer]:
    """A Model from a .keras or .h5 file, a weights file with ``spec`` (Keras's to_json() text, or one layer a
    line: see importers/keras/spec.py; or a path to either), or a live Keras model.

    ``check``: samples of your own, (x, y) as ``Model.verify`` takes them or the path of an .npz, which become
    the golden sample: VerificationError where they are not answered. ``max_bytes``: the most that the file
    may take, unpacked (ResourceLimitError).
    """
    from .importers import detection
    from .importers.keras import reader

    detection.expect(source, "keras")
    return _imported(
        reader.read(
            source,
            spec,
            custom_objects=custom_objects,
            inputs=inputs,
            outputs=outputs,
            max_bytes=max_bytes,
        ),
        source,
        hindrance=_hindrance(inputs, outputs),
        check=check,
    )


def from_torch(
    source: Any,
    spec: str | os.PathLike[str] | None = None,
    *,
    example: Any = None,
    prefix: str = "",
    check: Check | None = None,
    max_bytes: int = 2 << 30,
) -> Model[Answer]:
    """A Model from a PyTorch file or state dict with a ``spec``, from a mapping of names to arrays, or from a
    live module.

    ``check``, ``max_bytes``: as in ``from_keras``.
    """
    from .importers import detection
    from .importers.torch import reader

    detection.expect(source, "torch")
    return _imported(
        reader.read(source, spec, example=example, prefix=prefix, max_bytes=max_bytes), source, check=check
    )


def _imported(graph, source, *, ask=None, hindrance=None, check=None):
    """The Model of a graph imported from ``source``, with its provenance and, where it is to be asked
    (``ask``, by default a live source) and nothing hinders it, the answers of the framework."""
    from . import golden

    provenance = golden.provenance(source, graph)
    if check is not None:
        return _checked(graph, check, provenance)
    if not (golden.is_live(source) if ask is None else ask):
        return Model(graph, provenance=provenance)
    made = golden.of(source, graph, hindrance)
    provenance |= {"golden_by_reference_because": made.why} if made.why else {}
    return Model(graph, golden=(made.inputs, made.outputs), golden_by=made.by, provenance=provenance)


def _checked(graph, check, provenance):
    """The Model of a graph with the user's samples ``check`` ((x, y), or the path of an .npz) as its golden
    ones, after it answered them.
    """
    from . import golden

    is_pair = isinstance(check, (tuple, list)) and len(check) == 2
    made = golden.given(graph, *check) if is_pair else golden.read(check, graph)
    model = Model(graph, golden=(made.inputs, made.outputs), golden_by=made.by, provenance=provenance)
    model.verify()
    return model


def _hindrance(inputs=None, outputs=None, spec=None, **_):
    """Why an importer's options keep the framework from answering for the graph, or None."""
    return (
        "only a part of the network was imported"
        if inputs or outputs
        else "the file holds weights alone"
        if spec is not None
        else None
    )


def from_numpy(parameters: Mapping[str, ArrayLike]) -> Model[tuple[Floats, ...]]:
    """A Model from the textbook's parameter dictionaries (see rnnrt.textbook), in their own axes."""
    from .importers import numpy

    return Model(numpy.read(parameters))


def from_graph(graph: Graph, *, lift: bool = True) -> Model[Answer]:
    """A Model from a Graph built by hand (see rnnrt.layers). ``lift``: Scans that are an LSTM, GRU or
    SimpleRNN run as those layers do; otherwise as the arithmetic they state."""
    return Model(graph, lift=lift)


def load(
    path: File,
    *,
    num_threads: int = 1,
    backend: Backend = "native",
    weights: WeightType = "float32",
    isa: str | None = None,
    verify: bool = False,
    max_bytes: int = 2 << 30,
) -> Model[Answer]:
    """A Model from a .rnnrt file. ``verify``: replay its golden sample first (VerificationError)."""
    from .format import file
    from .format.reading import path_text
    from .importers import detect

    kind = detect(path)
    if kind.name != "rnnrt":
        raise ModelFileError(
            f"is {kind.what}, not a .rnnrt file", where=path_text(path), fix="Import it with rnnrt.convert()."
        )
    stored = file.load(path, max_bytes)
    model = Model(
        stored.graph,
        num_threads=num_threads,
        backend=backend,
        weights=weights,
        isa=isa,
        golden=stored.golden,
        golden_by=stored.golden_by,
        provenance=stored.provenance,
    )
    if isinstance(path, (str, bytes, os.PathLike)):
        model._path = os.path.abspath(path_text(path))
    if verify:
        model.verify()
    return model


def convert(
    source: Any,
    destination: Path | None = None,
    *,
    golden: Literal["auto", "reference"] | Check = "auto",
    **options: Any,
) -> Model[Answer]:
    """A Model from any source rnnrt knows, told by content; saved to ``destination`` where one is given,
    after ``Model.verify``.

    ``golden``: who answers the sample that the file carries. "auto": the source's own framework, where it is
    live or its file can be run by the installed Keras; else, or with "reference", the float64 reference. Or
    your own samples: (x, y) as ``Model.verify`` takes them, or the path of an .npz that holds them by name
    (or x0.. and y0..); VerificationError where they are not answered. ``options``: as the importer takes
    them.
    """
    from . import importers, verification

    own = isinstance(golden, str) and golden in ("auto", "reference")
    if isinstance(golden, str) and not own and not os.path.exists(golden):
        raise UnsupportedModelError(
            "golden must name who answers the sample",
            expected="'auto', 'reference', samples (x, y), or the path of an .npz",
            found=repr(golden),
        )
    if importers.detect(source).name == "rnnrt":
        model = load(source, **options)
        if not own:
            model = _checked(model.graph, golden, model.provenance)
    else:
        ask = False if golden == "reference" else True if destination is not None else None
        graph = importers.read(source, **options)
        model = _imported(
            graph, source, ask=ask, hindrance=_hindrance(**options), check=None if own else golden
        )
    if destination is not None:
        _, outputs = model._golden or verification.reference_sample(model.graph)
        if all(
            np.isfinite(y).all() for y in outputs.values()
        ):  # else it verifies nothing, and ``verify`` fails
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # who answered is in the file and in ``assumptions``
                model.verify()
        model.save(destination)
    return model


def show_config() -> dict[str, Any]:
    """CPU, instruction sets, and the versions of what rnnrt stands on, as a dict."""
    import platform

    from . import __version__

    return {
        "rnnrt": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": platform.machine(),
        "isas": _engine.isas(),
    }
