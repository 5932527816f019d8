"""Where the time of a network goes, layer by layer: ``Model.profile``.

The times are those of a twin of the model whose layers look at the clock as they run (see src/profile.c); the
twin shares the model's weights and answers with the same bits. Operations and bytes are counted by the layers
themselves (``Layer.work``, ``Layer.weights_read``) for the frames that went through them.
"""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

import numpy as np

from . import lowering
from .core_limits import Core, core
from .errors import NotStreamableError, RnnrtError, UnsupportedModelError
from .layers import Input
from .layers.record import Record
from .plans import Plans
from .ragged import any_ragged, is_ragged
from .tables import table

if TYPE_CHECKING:
    from .annotations import record
    from .model import Model
else:
    from .layers.record import record

#: At least so many calls are measured, and at most.
LEAST, MOST = 3, 5000
#: Nanoseconds that looking at the clock adds to a run of a layer, at most.
LOOK = 200
#: So many times as long as its parts a call may take before it is said to be noise.
NOISE = 1.25
NOISY = "noisy machine: calls took longer than their parts, for others had the processor in between"


@record
class LayerProfile(Record):
    """What one layer took of a call, or of a step. ``name`` and ``kind`` as ``rnnrt info --streaming`` shows
    them.

    ``seconds``: in it, the median of many calls. ``runs``: how often it ran, once a block of frames.
    ``frames``: it went through, in all batch rows. ``bytes``: of weights and frames that it has to read and
    write. ``flops``: of matrix products and convolutions, a multiply-add counted as two; ``others``: other
    operations on single numbers, a function of a number (tanh, exp) counted as one. ``limit``: seconds that
    this core could do it in; ``bound``: what does not let it do better, "FLOPs" or a cache or the memory.
    """

    name: str
    kind: str
    seconds: float
    runs: float
    frames: float
    bytes: float
    flops: float
    others: float
    limit: float
    bound: str

    @property
    def of_limit(self) -> float:
        """The share of the limit that it reached: 1 would be all of it."""
        return self.limit / self.seconds if self.seconds else 0.0


@record
class Profile(Record):
    """Where the time of a call goes, or with ``steps`` that of one step.

    ``seconds``: of the call, as a caller sees it, the median of ``calls``; ``between``: what of a call is in
    no layer: checks of the input, its way into the engine's order and back, frames handed on from layer to
    layer. ``core``: what this core does at best.
    """

    what: str
    layers: tuple[LayerProfile, ...]
    seconds: float
    between: float
    calls: int
    steps: bool
    core: Core

    @property
    def known(self) -> float:
        """Seconds that the layers and what is between them take together: those of the call, but on a machine
        that gives the processor to others meanwhile.
        """
        return self.between + sum(x.seconds for x in self.layers)

    @property
    def noisy(self) -> bool:
        """Whether calls took so much longer than their parts that others must have had the processor."""
        return self.seconds > NOISE * self.known

    def share(self, seconds: float) -> float:
        """Of all that is known of a call: 1 would be all of it."""
        return seconds / max(self.known, 1e-12)

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values: times in microseconds."""
        layers = [
            {
                "name": x.name,
                "kind": x.kind,
                "us": round(x.seconds * 1e6, 4),
                "share": round(self.share(x.seconds), 5),
                "runs": x.runs,
                "frames": x.frames,
                "bytes": x.bytes,
                "flops": x.flops,
                "other_operations": x.others,
                "of_limit": round(x.of_limit, 5),
                "bound": x.bound,
            }
            for x in self.layers
        ]
        return {
            "what": self.what,
            "steps": self.steps,
            "us": round(self.seconds * 1e6, 4),
            "between_us": round(self.between * 1e6, 4),
            "noisy": self.noisy,
            "calls": self.calls,
            "layers": layers,
            "core": self.core.as_dict(),
        }

    def lines(self) -> list[str]:
        """As text, a layer a line."""
        rows = [
            [
                x.name,
                x.kind,
                f"{x.seconds * 1e6:.2f}",
                f"{self.share(x.seconds):.1%}",
                f"{x.runs:g}",
                amount(x.bytes),
                amount(x.flops),
                amount(x.others),
                f"{x.of_limit:.0%}" if x.limit else "-",
                x.bound,
            ]
            for x in self.layers
        ]
        rest = f"{self.between * 1e6:.2f}", f"{self.share(self.between):.1%}"
        rows.append(["(between layers)", "", *rest, *[""] * 6])
        header = ("layer", "kind", "µs", "share", "runs", "bytes", "FLOPs", "others", "of limit", "bound by")
        took = f"{self.seconds * 1e6:.2f} µs a {'step' if self.steps else 'call'}"
        lines = [f"{self.what}: {took}, the median of {self.calls}", *table(header, rows), str(self.core)]
        return lines + ([NOISY] if self.noisy else [])

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def __repr__(self) -> str:
        return f"<Profile of {self.what}: {self.seconds * 1e6:.2f} µs, {len(self.layers)} layers>"

    def _repr_html_(self) -> str:
        from .profile_page import fragment

        return fragment(self)


def amount(number: float) -> str:
    """A number of bytes or operations, in three digits or so: 12.3k, 4.56M."""
    for unit in ("", "k", "M", "G"):
        if number < 999.5 or unit == "G":
            return f"{number:.3g}{unit}" if number < 100 else f"{number:.0f}{unit}"
        number /= 1000
    return ""


def profile(model: Model[Any], given: tuple[Any, ...], steps: bool, seconds: float) -> Profile:
    """What ``Model.profile`` says."""
    seconds = float(seconds)
    plans = _Watched(model._run_graph, model._plans.isa, model._plans.any())
    twin, plain = _copied(model, plans), alone(model)
    make = _steps if steps else _calls
    watched, unwatched = make(twin, given), make(plain, given)
    watched(), unwatched()  # what the first call alone does is none of its time
    _, spent = plans.used()
    counts, takes, both, whole = None, [], [], []
    end = perf_counter_ns() + seconds * 1e9
    while len(whole) < LEAST or (len(whole) < MOST and perf_counter_ns() < end):
        spent[:] = 0
        both.append(watched())
        takes.append(spent["nanoseconds"].copy())
        counts = spent.copy() if counts is None else counts
        whole.append(unwatched())
    # medians of parts and not what the parts leave of a whole: others, who get the processor once in a while,
    # are in every long call and in few short parts. Looking at the clock is in no call but the watched ones.
    looking = max(0, min(LOOK * float(counts["runs"].sum()), min(both) - min(whole)))
    between = max(0.0, float(np.median(np.array(both) - np.sum(takes, axis=1))) - looking)
    each = len(_frames(twin, given)[0]) if steps else 1
    took = np.median(takes, axis=0) / each
    names, core_here = plans.used()[0].names, core(model._plans.isa)
    layers = tuple(_rows(_sized(model, given), names, counts, took, each, core_here))
    shapes = ", ".join(_shape(x) for x in given if x is not None)
    what = f"frames of {shapes} one by one" if steps else f"a call with {shapes}"
    call = float(np.median(whole)) / each * 1e-9
    return Profile(what, layers, call, between / each * 1e-9, len(whole), steps, core_here)


def _sized(model, given):
    """The network for the frames of a call, where the work of a frame depends on how many there are."""
    graph = model._run_graph
    attending = next((x for x in graph.layers if x.whole_inputs), None)
    if attending is None:
        return graph
    if any_ragged(model._ports.inputs, given):
        raise UnsupportedModelError(
            "its work on rows of different length is not counted",
            where=attending.where,
            fix="Profile rows of one length.",
        )
    frames = model._ports.canonical([*given, *[None] * (len(model.inputs) - len(given))])[2]
    return lowering.with_length(graph, frames)


def _shape(x):
    """The shape of an input, in words where it is rows of different length."""
    return f"{len(x)} rows of their own lengths" if is_ragged(x) else str(np.shape(x))


class _Watched(Plans):
    """Plans whose layers count what they take."""

    def __init__(self, graph, isa, family):
        self.counting = []
        super().__init__(graph, isa, family)

    def _make(self, graph):
        plan = super()._make(graph)
        self.counting.append((plan, plan.watch()))
        return plan

    def used(self):
        """(the plan that has run, what it counted)."""
        for plan, spent in self.counting:
            if spent["runs"].any() or all(isinstance(x, Input) for x in self.graph.layers):
                return plan, spent
        raise UnsupportedModelError(
            "its inputs that are given once are worked out before the first step, which is not profiled",
            fix="Profile whole calls: without steps.",
        )


def alone(model):
    """The same model on one thread, as its watched twin is."""
    if model._plans.threads == 1:
        return model
    return _copied(model, Plans(model._run_graph, model._plans.isa, model._plans.any()))


def _copied(model, plans):
    """The same network on other plans of it."""
    made = object.__new__(type(model))
    made.__dict__.update(model.__dict__)
    made._run_on(plans)
    return made


def _calls(model, given):
    def call():
        start = perf_counter_ns()
        model(*given)
        return perf_counter_ns() - start

    return call


def _frames(model, given):
    """(frames, inputs given once): what each step of a stream takes, and {name: array}; in canonical axes."""
    arrays, batch, frames, batched = model._ports.canonical(
        [*given, *[None] * (len(model.inputs) - len(given))]
    )
    specs = model._ports.inputs
    if isinstance(frames, dict) or len(model.clocks) > 1:
        raise UnsupportedModelError(
            "inputs with numbers of frames of their own have no common steps",
            fix="Profile whole calls: without steps.",
        )

    def of(spec, array):
        frames = array.reshape((len(array), batch, *spec.signal.features))
        return np.ascontiguousarray(frames if batched else frames[:, 0], np.float32)

    timed = [of(s, a) for s, a in zip(specs, arrays) if s.signal.time and a is not None]
    once = {s.layer.name: of(s, a)[0] for s, a in zip(specs, arrays) if not s.signal.time}
    if not timed:
        raise NotStreamableError("this model has no steps: no input has a time axis")
    return list(timed[0]) if len(timed) == 1 else list(zip(*timed)), once, batch if batched else None


def _steps(model, given):
    frames, once, batch = _frames(model, given)
    stream = model.stream(batch, inputs=once) if once else model.stream(batch)
    take = stream.step
    try:
        take(frames[0])
    except RnnrtError:  # a frame in may be several out
        take, axis = stream.push, 0 if batch is None else 1
        one = lambda x: np.expand_dims(x, axis)
        frames = [tuple(map(one, x)) if isinstance(x, tuple) else one(x) for x in frames]

    def run():
        stream.reset()
        start = perf_counter_ns()
        for frame in frames:
            take(frame)
        return perf_counter_ns() - start

    return run


def _rows(graph, names, counts, took, each, core):
    """A LayerProfile for every layer that runs."""
    read = {r for x in graph.layers for r in x.reads} | {o.value for o in graph.outputs}
    held = sum(4 * x.parameters for x in graph.layers)
    for layer in graph.layers:
        if isinstance(layer, Input):
            continue
        own = [k for k, name in enumerate(names) if name == layer.name]
        last = counts[own[-1]]
        runs, frames, rows, made = (float(last[k]) / each for k in ("runs", "frames", "rows", "made"))
        signals = [graph.signals[r] for r in layer.inputs]
        products, others = layer.work(*signals)
        counted = made if layer.counts_output else rows
        widths = sum(s.width for s in signals if s.time == signals[0].time)
        outputs = [layer.name, *(f"{layer.name}:{o}" for o in layer.extra_outputs)]
        shown = sum(
            graph.signals[r].width
            for r in outputs
            if r in read and graph.signals[r].time == graph.signals[layer.name].time
        )
        once, every = (4 * n for n in layer.weights_read())
        moved = once * runs + every * frames, 4 * (widths * rows + shown * made)
        # weights that every step reads come from where they alone have room, unless others are read between
        near, far = core.level_of(every if frames > runs else held), core.level_of(held)
        limits = {
            "FLOPs": (products + others) * counted / core.products * 1e-9,
            near.name: (every * frames / near.bandwidth + (once * runs + moved[1]) / far.bandwidth) * 1e-9,
        }
        bound = max(limits, key=limits.get)
        yield LayerProfile(
            layer.name,
            layer.kind,
            float(took[own].sum()) * 1e-9,
            runs,
            rows,
            sum(moved),
            2 * products * counted,
            others * counted,
            limits[bound],
            bound if limits[bound] else "",
        )
