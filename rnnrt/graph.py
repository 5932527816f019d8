"""The one intermediate form: what every importer makes, every pass rewrites and the engine runs.

A :class:`Graph` is a DAG of frozen layers. Weights stand in one canonical form whatever the source: rows are
outputs, LSTM gates are ``i f g o``, GRU gates ``z r n``, a convolution weight is (out, tap, in per group),
every array is float32, C-contiguous and read-only.

What flows along an edge is a signal, as a TensorSpec describes it: a sequence of frames (batch, time,
*features), or, with ``time=False``, a value given once per sequence (batch, *features). A layer names its
inputs by reference: ``"lstm"`` is a layer's main output, ``"lstm:h"`` a further one (see
``Layer.extra_outputs``).
"""

from __future__ import annotations

import dataclasses
from dataclasses import field
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import RnnrtError, ShapeError
from .layers.base import axes_fit, frozen, layer_of, signals_of
from .layers.input import Input
from .layers.record import Record, Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import ArrayLike, NDArray

    from .annotations import Layers, Names, Outputs, Work, layer_class, record
    from .layers.base import Layer, TensorSpec
else:
    from .layers.record import record

    layer_class = record


@record
class Output(Value):
    """A graph output: its name, the value it shows ("layer" or "layer:output"), and the source's order of
    axes.
    """

    name: str
    value: str
    axes: str = "btf"


@layer_class
class Graph(Record):
    """A checked DAG of layers in an order they can run in.

    ``inputs``: names of the Input layers in the source's order; by default all in the order of the layers.
    ``outputs``: in the source's order; a value's reference alone is an Output of that name. ``metadata``:
    where it came from and what was assumed, plain JSON values. ``start``: where a sequence begins if not at
    zero: {"lstm/h": (units,), "conv/window": one frame (features,), which stands before the first in every
    place of the padding}, names as in a State; ``initial_state`` of a call overrides it by name. Raises
    ShapeError where the wiring or the sizes do not fit.
    """

    layers: Layers
    inputs: Names = None
    outputs: Outputs = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    start: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    signals: dict[str, TensorSpec] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        inputs = [x.name for x in self.layers if isinstance(x, Input)] if self.inputs is None else self.inputs
        outputs = (self.outputs,) if isinstance(self.outputs, (str, Output)) else self.outputs
        outputs = tuple(Output(o, o) if isinstance(o, str) else o for o in outputs)
        object.__setattr__(self, "inputs", (inputs,) if isinstance(inputs, str) else tuple(inputs))
        object.__setattr__(self, "outputs", outputs)
        signals: dict[str, TensorSpec] = {}
        names = set()
        for layer in self.layers:
            if layer.name in names:
                raise ShapeError("two layers have one name", where=layer.where)
            names.add(layer.name)
            made = signals_of(layer, signals)
            signals[layer.name] = made[0]
            signals.update(zip((f"{layer.name}:{o}" for o in layer.extra_outputs), made[1:]))
        if {x.name for x in self.layers if isinstance(x, Input)} != set(self.inputs) or len(
            set(self.inputs)
        ) != len(self.inputs):
            raise ShapeError("inputs must name every Input layer once", found=str(self.inputs))
        if not self.outputs or len({o.name for o in self.outputs}) != len(self.outputs):
            raise ShapeError(
                "a graph needs outputs, each with its own name", found=str([o.name for o in self.outputs])
            )
        outputs = []
        for output in self.outputs:
            if output.value not in signals:
                raise ShapeError(f"the output {output.name!r} shows {output.value!r}, which no layer makes")
            timed = signals[output.value].time
            axes = "bf" if not timed and output.axes == "btf" else output.axes
            if not axes_fit(axes, signals[output.value]):
                raise ShapeError(
                    f"the axes of the output {output.name!r} do not fit",
                    expected="b, t, f" if timed else "b, f",
                    found=axes,
                )
            outputs.append(dataclasses.replace(output, axes=axes))
        object.__setattr__(self, "outputs", tuple(outputs))
        object.__setattr__(self, "signals", signals)
        object.__setattr__(self, "start", {name: self._start(name, a) for name, a in self.start.items()})

    def _start(self, name, value):
        """The array ``start`` holds for ``name``, checked."""
        layer_name, _, array = name.rpartition("/")
        layer = next((x for x in self.layers if x.name == layer_name), None)
        shapes = {} if layer is None else layer.startable(*(self.signals[r] for r in layer.inputs))
        if array not in shapes:
            known = [
                f"{x.name}/{a}"
                for x in self.layers
                for a in x.startable(*(self.signals[r] for r in x.inputs))
            ]
            raise ShapeError(
                f"nothing called {name!r} can start elsewhere than at zero",
                where="start",
                expected=f"one of {', '.join(known)}" if known else "nothing: no layer here can",
            )
        value = frozen(value, name, "start")
        if value.shape != shapes[array]:
            raise ShapeError(
                "the start has the wrong shape",
                where=f"start of {name!r}",
                expected=str(shapes[array]),
                found=str(value.shape),
            )
        return value

    def __repr__(self) -> str:
        return (
            f"<Graph: {', '.join(self.inputs)} -> {len(self.layers)} layers -> "
            f"{', '.join(o.name for o in self.outputs)}>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return Graph, (self.layers, self.inputs, self.outputs, self.metadata, self.start)

    def __getitem__(self, name: str) -> Layer:
        return next(x for x in self.layers if x.name == name)

    @property
    def parameters(self) -> int:
        """Number of weights in all."""
        return sum(x.parameters for x in self.layers)

    def work(self) -> Work:
        """As ``Layer.work`` says, behind one value given once, or behind all frames of inputs whose length is
        fixed: of a graph inside a layer.
        """
        products = others = 0
        for x in self.layers:
            each = x.work(*(self.signals[r] for r in x.inputs))
            counted = self.signals[x.name if x.counts_output else x.inputs[0]]
            frames = counted.length or 1
            products, others = products + frames * each[0], others + frames * each[1]
        return products, others

    def consumers(self, name: str) -> list[Layer]:
        """Layers that read any output of the layer called ``name``."""
        return [x for x in self.layers if any(layer_of(r) == name for r in x.reads)]

    @property
    def mask_inputs(self) -> tuple[str, ...]:
        """Names of the inputs that are masks: sequences of one number a frame, 1 or 0, that layers consult,
        as they are or moved in time, and that nothing else reads.
        """
        frames, masks = {layer_of(o.value) for o in self.outputs}, set()
        for layer in reversed(self.layers):
            inputs, own = {layer_of(r) for r in layer.inputs}, layer.mask_inputs
            if layer.name in frames:
                frames |= {layer_of(r) for r in layer.reads[: len(layer.reads) - len(own)]}
                masks |= {layer_of(r) for r in own}
            elif layer.name in masks and not (layer.parameters or layer.keeps == "state"):
                masks |= inputs if layer.kind != "not_equal" else set()  # which makes a mask of numbers
        given = masks - frames
        is_mask = lambda x: x.time and not x.ids and prod(x.features) == 1
        return tuple(name for name in self.inputs if name in given and is_mask(self[name]))

    @property
    def decisive(self) -> set[str]:
        """Names of the layers of which a mask is made, or a NotEqual: where numbers that differ by a rounding
        give answers that differ by all, so that nothing exact up to rounding may be done to them.
        """
        made: set[str] = set()
        for layer in reversed(self.layers):
            made |= {layer_of(r) for r in layer.mask_inputs}
            if layer.name in made or layer.kind == "not_equal":
                made |= {layer_of(r) for r in layer.reads}
        return made

    def replace(self, layers: Iterable[Layer], **changes: Any) -> Graph:
        """The same graph with other layers (and other fields); starts of layers that are gone go too."""
        layers = tuple(layers)
        names = {x.name for x in layers}
        start = {name: a for name, a in self.start.items() if name.rpartition("/")[0] in names}
        return Graph(
            layers,
            changes.get("inputs", self.inputs),
            changes.get("outputs", self.outputs),
            changes.get("metadata", self.metadata),
            changes.get("start", start),
        )


class GraphBuilder:
    """Collects layers in order and gives each a free name; what an importer writes with.

    >>> b = GraphBuilder(); x = b.input("x", (1,)); b.output("y", b.add(Dense, "fc", x, weight=[[2.0]]))
    >>> graph = b.graph()
    """

    def __init__(self) -> None:
        self.layers: list[Layer] = []
        self.outputs: list[Output] = []
        self.start: dict[str, ArrayLike] = {}
        self._signals: dict[str, TensorSpec] = {}
        self._named: dict[str, Layer] = {}
        self._numbers: dict[str, int] = {}  # the next one behind a name that was wanted before

    def free_name(self, wanted: str) -> str:
        """``wanted``, or with a number behind it where a layer is already called so."""
        wanted = wanted.replace(":", "_") or "layer"
        name, number = wanted, self._numbers.get(wanted, 1)
        while name in self._named:
            name, number = f"{wanted}_{number}", number + 1
        self._numbers[wanted] = max(1, number - 1)
        return name

    def named(self, name: str) -> Layer | None:
        """The layer of this name, None where there is none."""
        return self._named.get(name)

    def add(self, kind: type[Layer], name: str, *inputs: str, **fields: Any) -> str:
        """Append ``kind(name, inputs, **fields)``; returns the reference to its main output."""
        try:
            layer = kind(self.free_name(name), inputs, **fields)
            made = signals_of(layer, self._signals)
        except RnnrtError as error:
            raise error if error.where else error.at(f"layer {name!r}")
        self.layers.append(layer)
        self._named[layer.name] = layer
        self._signals[layer.name] = made[0]
        self._signals.update(zip((f"{layer.name}:{o}" for o in layer.extra_outputs), made[1:]))
        return layer.name

    def forget(self, count: int) -> None:
        """Take back every layer behind the first ``count``."""
        for layer in self.layers[count:]:
            del self._named[layer.name]
            for reference in (layer.name, *(f"{layer.name}:{o}" for o in layer.extra_outputs)):
                del self._signals[reference]
        del self.layers[count:]

    def input(self, name: str, features: Iterable[int], **fields: Any) -> str:
        """Append an Input with frames of ``features``; returns the reference to it."""
        return self.add(Input, name, features=tuple(features), **fields)

    def signal(self, reference: str) -> TensorSpec:
        """What flows along the edge called ``reference``."""
        return self._signals[reference]

    def output(self, name: str, value: str, axes: str = "btf") -> None:
        """Show the value ``value`` as the graph's next output."""
        self.outputs.append(Output(name, value, axes))

    def graph(self, inputs: Iterable[str] | None = None, metadata: Mapping[str, Any] | None = None) -> Graph:
        """The finished Graph; ``inputs`` in their order, by default the order they were added in."""
        inputs = inputs or [x.name for x in self.layers if isinstance(x, Input)]
        return Graph(tuple(self.layers), tuple(inputs), tuple(self.outputs), dict(metadata or {}), self.start)
