"""The one intermediate form: what every importer makes, every pass rewrites and the engine runs.

A :class:`Graph` is a DAG of frozen layers. Weights stand in one canonical form whatever the source: rows are
outputs, LSTM gates are ``i f g o``, GRU gates ``z r n``, a convolution weight is (out, tap, in per group),
every array is float32, C-contiguous and read-only.

What flows along an edge is a :class:`Signal`: a sequence of frames (batch, time, *features), or, with
``time=False``, a value given once per sequence (batch, *features). A layer names its inputs by reference:
``"lstm"`` is a layer's main output, ``"lstm:h"`` a further one (see ``Layer.extra_outputs``).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .errors import RnnrtError, ShapeError, UnsupportedModelError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from .annotations import (
        Elementwise,
        Layers,
        Names,
        OptionalWeights,
        Outputs,
        Padding,
        References,
        Sizes,
        Weights,
        layer_class,
    )
else:
    # Generated methods nobody calls cost import time: repr is written by hand, equality is identity.
    layer_class = dataclass(frozen=True, eq=False, repr=False, match_args=False)

#: Activation functions by name, with the names of their parameters. ``hard_sigmoid`` is relu6(x + 3) / 6
#: (Keras 3, PyTorch); ``hard_sigmoid_keras2`` is clip(0.2 x + 0.5, 0, 1) (Keras 1 and 2, TensorFlow 1).
FUNCTIONS: dict[str, tuple[str, ...]] = {
    "linear": (),
    "relu": (),
    "leaky_relu": ("slope",),
    "clipped_relu": ("maximum",),
    "tanh": (),
    "sigmoid": (),
    "hard_sigmoid": (),
    "hard_sigmoid_keras2": (),
    "hard_tanh": (),
    "exponential": (),
    "elu": ("alpha",),
    "selu": (),
    "silu": (),
    "hard_silu": (),
    "softsign": (),
    "gelu_tanh": (),
}


@dataclass(frozen=True)
class Function:
    """An elementwise activation: a name of FUNCTIONS and its parameters."""

    name: str
    parameters: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.name not in FUNCTIONS:
            raise UnsupportedModelError(
                f"the activation {self.name!r} is not supported",
                expected=f"one of {', '.join(FUNCTIONS)}",
                fix=did_you_mean(self.name, FUNCTIONS),
            )
        object.__setattr__(self, "parameters", tuple(float(p) for p in self.parameters))
        if len(self.parameters) != len(FUNCTIONS[self.name]):
            raise ShapeError(
                f"the activation {self.name!r} has the wrong number of parameters",
                expected=f"{len(FUNCTIONS[self.name])} {FUNCTIONS[self.name]}",
                found=f"{self.parameters}",
            )

    def __str__(self) -> str:
        return (
            f"{self.name}({', '.join(f'{p:g}' for p in self.parameters)})" if self.parameters else self.name
        )


def function(value: Function | str | Sequence[Any]) -> Function:
    """A Function from a Function, a name, or a (name, *parameters) sequence."""
    if isinstance(value, Function):
        return value
    if isinstance(value, str):
        return Function(value)
    return Function(value[0], tuple(value[1:]))


LINEAR, TANH, SIGMOID = Function("linear"), Function("tanh"), Function("sigmoid")


@dataclass(frozen=True)
class Signal:
    """What flows along an edge: frames over time, or (``time=False``) one value per sequence.

    ``features``: shape of one frame, () for a single id or number. ``length``: number of frames where it is
    fixed.
    """

    features: tuple[int, ...]
    time: bool = True
    length: int | None = None

    @property
    def width(self) -> int:
        """Numbers in one frame."""
        return prod(self.features)

    def __str__(self) -> str:
        axes = (("time" if self.length is None else str(self.length)),) if self.time else ()
        return "(" + ", ".join(("batch",) + axes + tuple(map(str, self.features))) + ")"


#: kind -> class, filled as the layer classes below are defined.
LAYERS: dict[str, type[Layer]] = {}

#: What every layer class says about time, as class attributes or properties of these names, each with the
#: values it may have. Nothing is assumed of a class that leaves one out: a graph that holds it is refused
#: when it is planned.
#:
#: ``span``: input frames one output frame is made of; None: all frames before it, or all there are.
#: ``stride``: input frames from one output frame to the next. ``padding``: (left, right) frames made up
#: before the first and after the last, or "same" as in Conv1D. What makes frames up on the right looks ahead:
#: its last answers come when the sequence is over. ``emits``: "each": one frame every ``stride`` frames in;
#: "end": one value, when the sequence is over; "length": ``length`` frames for the one value in. ``keeps``:
#: what must survive between frames: "nothing"; "state": the recurrent states it names in ``states``;
#: "frames": past frames, sums of them, frames still to be given, or the place in its stride. ``whole``:
#: whether it needs every frame before it gives the first. ``lengths``: where rows of a batch end at different
#: frames: "honours": it stops at each row's end; "keeps": frame t of its output depends on frame t alone;
#: "moves": neither, so what follows cannot tell where a row ends.
TIME_FACTS = {
    "span": lambda v: v is None or (isinstance(v, (int, np.integer)) and v >= 1),
    "stride": lambda v: isinstance(v, (int, np.integer)) and v >= 1,
    "padding": lambda v: v == "same" or (isinstance(v, tuple) and len(v) == 2),
    "emits": ("each", "end", "length").__contains__,
    "keeps": ("nothing", "state", "frames").__contains__,
    "whole": (True, False).__contains__,
    "lengths": ("honours", "keeps", "moves").__contains__,
}


def check_time_facts(layer: Layer) -> None:
    """UnsupportedModelError where the layer's class leaves out a time fact, or says something that is not
    one.
    """
    for name, fits in TIME_FACTS.items():
        value = getattr(layer, name, TIME_FACTS)
        if value is TIME_FACTS or not fits(value):
            raise UnsupportedModelError(
                f"its class does not say {name!r}, a fact about time that every layer must state",
                where=layer.where,
                found="nothing" if value is TIME_FACTS else repr(value),
                fix=f"Give {type(layer).__name__} the class attributes {', '.join(TIME_FACTS)}: "
                "see rnnrt.graph.TIME_FACTS.",
            )


@layer_class
class Layer:
    """Base of every layer: a name, the references it reads, and what it makes of their signals.

    ``kind`` is the layer's word everywhere: its function in reference.py and its name in the engine. Fields
    that hold arrays are made float32, contiguous and read-only; fields named ``*activation`` accept a name.
    """

    name: str
    inputs: References

    kind: ClassVar[str] = ""
    extra_outputs: ClassVar[tuple[str, ...]] = ()
    arrays: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if cls.kind:
            LAYERS[cls.kind] = cls

    def __post_init__(self) -> None:
        if not self.name or ":" in self.name:
            raise ShapeError("a layer's name must not be empty or hold ':'", found=repr(self.name))
        if isinstance(self.inputs, str):
            object.__setattr__(self, "inputs", (self.inputs,))
        object.__setattr__(self, "inputs", tuple(self.inputs))
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if item.name in self.arrays and value is not None:
                object.__setattr__(self, item.name, _frozen(value, self.name, item.name))
            elif item.name.endswith("activation"):
                object.__setattr__(self, item.name, function(value))
        self.check()

    def check(self) -> None:
        """Whether the layer's own fields agree with one another; raises ShapeError."""

    def infer(self, *signals: Signal) -> tuple[Signal, ...]:
        """The signals of ``("",) + extra_outputs`` from those of ``inputs``; raises ShapeError."""
        raise NotImplementedError

    # -- what the checks below are written with --------------------------------------------------------------
    def _expect(self, array, shape, what):
        value = getattr(self, array)
        if value is not None and value.shape != tuple(shape):
            raise ShapeError(
                f"{array} has the wrong shape",
                where=self.where,
                expected=f"{tuple(shape)}, {what}",
                found=f"{value.shape}",
            )

    def _positive(self, *names):
        for name in names:
            value = getattr(self, name)
            if (
                not isinstance(value, (int, np.integer))
                or isinstance(value, bool)
                or not 1 <= value <= 1 << 24
            ):
                raise ShapeError(
                    f"{name} must be a whole number from 1 to {1 << 24}", where=self.where, found=repr(value)
                )

    def _frames(self, signal):
        if not signal.time:
            raise ShapeError(
                "needs a sequence of frames",
                where=self.where,
                expected="(batch, time, features)",
                found=str(signal),
            )
        return signal

    def _width(self, signal, expected, of):
        if signal.features != (expected,):
            raise ShapeError(
                f"the input does not fit {of}",
                where=self.where,
                expected=f"frames of ({expected},)",
                found=str(signal),
            )
        return signal

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} of {', '.join(self.inputs) or 'the caller'}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Made anew where it is unpickled or copied, so that its checks are made and its arrays are read-only
        there too.
        """
        return type(self), tuple(getattr(self, item.name) for item in dataclasses.fields(self))

    @property
    def where(self) -> str:
        return f"layer {self.name!r} ({type(self).__name__})"

    @property
    def parameters(self) -> int:
        """Number of weights held."""
        return sum(getattr(self, a).size for a in self.arrays if getattr(self, a) is not None)


class _FrameByFrame(Layer):
    """A layer whose output frame t is made of the input frames t alone."""

    span, stride, padding = 1, 1, (0, 0)
    emits, keeps, whole, lengths = "each", "nothing", False, "keeps"


class _Window(Layer):
    """A layer whose output frame is made of ``span`` input frames, ``stride`` apart, with ``padding``
    around.
    """

    emits, whole = "each", False

    @property
    def keeps(self) -> str:
        return "nothing" if self.span == self.stride == 1 else "frames"

    @property
    def lengths(self) -> str:
        return "keeps" if self.span == self.stride == 1 and self.padding == (0, 0) else "moves"


def _frozen(value, layer, name):
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise ShapeError(f"{name} must hold real numbers", where=f"layer {layer!r}", found=str(array.dtype))
    array = np.array(array, dtype=np.float32, order="C", copy=True)
    array.setflags(write=False)
    return array


# ---- where signals enter -----------------------------------------------------------------------------------


@layer_class
class Input(_FrameByFrame):
    """A graph input. ``axes`` is the source's order of b(atch), t(ime) and f(eatures), e.g. "btf" or "bft".

    ``ids``: whole numbers for an Embedding.
    """

    inputs: References = ()
    features: Sizes = ()
    time: bool = True
    length: int | None = None
    ids: bool = False
    axes: str = "btf"
    kind: ClassVar[str] = "input"

    def check(self) -> None:
        object.__setattr__(self, "features", tuple(int(n) for n in self.features))
        if any(n < 1 or n > 1 << 24 for n in self.features) or prod(self.features) > 1 << 24:
            raise ShapeError(
                "an input's sizes must be from 1 to 2**24", where=self.where, found=str(self.features)
            )
        if self.length is not None:
            self._positive("length")
            if not self.time:
                raise ShapeError("an input without a time axis has no length", where=self.where)
        wanted = ("b", "t", "f") if self.time else ("b", "f")
        if not self.time and self.axes == "btf":
            object.__setattr__(self, "axes", "bf")
        if sorted(self.axes) != sorted(wanted):
            raise ShapeError(
                "axes must name each axis once", where=self.where, expected="".join(wanted), found=self.axes
            )

    def infer(self) -> tuple[Signal, ...]:
        return (Signal(self.features, self.time, self.length),)


# ---- products ----------------------------------------------------------------------------------------------


@layer_class
class Dense(_FrameByFrame):
    """y = activation(W x + b), on every frame. weight (out, in), bias (out,) or None."""

    weight: Weights = None
    bias: OptionalWeights = None
    activation: Elementwise = LINEAR
    kind: ClassVar[str] = "dense"
    arrays: ClassVar[tuple[str, ...]] = ("weight", "bias")

    def check(self) -> None:
        _matrix(self, "weight")
        self._expect("bias", self.weight.shape[:1], "one per output")

    def infer(self, x: Signal) -> tuple[Signal, ...]:
        self._width(x, self.weight.shape[1], "the weight")
        return (dataclasses.replace(x, features=(self.weight.shape[0],)),)


@layer_class
class Embedding(_FrameByFrame):
    """Row ``id`` of a table. weight (ids, out); the input is one id a frame."""

    weight: Weights = None
    kind: ClassVar[str] = "embedding"
    arrays: ClassVar[tuple[str, ...]] = ("weight",)

    def check(self) -> None:
        _matrix(self, "weight")

    def infer(self, x: Signal) -> tuple[Signal, ...]:
        if x.width != 1:
            raise ShapeError(
                "an embedding takes one id a frame", where=self.where, expected="(batch, time)", found=str(x)
            )
        return (dataclasses.replace(x, features=(self.weight.shape[1],)),)


@layer_class
class Conv1D(_Window):
    """Cross-correlation over time. weight (out, tap, in per group), bias (out,) or None.

    ``padding``: (left, right) zeros, or "same" as Keras and TensorFlow mean it: ceil(length / stride) frames
    out, and where the padding is odd the extra zero on the right. Causal padding is (dilation * (taps - 1),
    0).
    """

    weight: Weights = None
    bias: OptionalWeights = None
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    padding: Padding = (0, 0)
    activation: Elementwise = LINEAR
    kind: ClassVar[str] = "conv1d"
    arrays: ClassVar[tuple[str, ...]] = ("weight", "bias")

    def check(self) -> None:
        if self.weight is None or self.weight.ndim != 3 or 0 in self.weight.shape:
            raise ShapeError(
                "weight must be (out, tap, in per group)", where=self.where, found=_shape(self.weight)
            )
        self._positive("stride", "dilation", "groups")
        self._expect("bias", self.weight.shape[:1], "one per output")
        if self.weight.shape[0] % self.groups:
            raise ShapeError(
                "groups must divide the outputs",
                where=self.where,
                found=f"{self.weight.shape[0]} outputs, {self.groups} groups",
            )
        if self.span > 1 << 24:
            raise ShapeError(
                "the window is too long",
                where=self.where,
                expected="at most 2**24 frames",
                found=f"{self.span}",
            )
        if (
            self.padding == "same" and self.stride == 1
        ):  # stated once and for all: it does not depend on the length
            total = self.span - 1
            object.__setattr__(self, "padding", (total // 2, total - total // 2))
        object.__setattr__(self, "padding", _padding(self, self.padding))

    @property
    def span(self) -> int:
        """Frames between the first and the last tap, both counted."""
        return (self.weight.shape[1] - 1) * self.dilation + 1

    def infer(self, x: Signal) -> tuple[Signal, ...]:
        self._width(self._frames(x), self.weight.shape[2] * self.groups, "the weight and groups")
        return (Signal(self.weight.shape[:1], True, windows(self, x.length, self.span)),)


# ---- recurrence --------------------------------------------------------------------------------------------


@layer_class
class _Recurrent(Layer):
    """What the three cells share. Inputs: x, then optionally the initial state (h, and c for an LSTM),
    without time; one left out is zero.

    ``reverse``: run from the last frame to the first; outputs stay at the frame they belong to, the final
    state is the one after frame 0. ``packed``: the lengths of a call count for it, as for an RNN over a
    packed sequence: outputs past a row's end are 0, its state stays, and the reverse direction starts at the
    row's end. ``norm``: where the cell's layer normalisation stands: "none"; "gates": each gate's
    pre-activation W x + U h + b is normalised over its own units (two-pass variance, ``epsilon`` inside the
    root), scaled by gamma and shifted by beta, both (gates * units,), before its activation; "joint": the
    same over all gates at once.
    """

    weight: Weights = None
    recurrent_weight: Weights = None
    bias: OptionalWeights = None
    activation: Elementwise = TANH
    reverse: bool = False
    packed: bool = True
    norm: str = "none"
    gamma: OptionalWeights = None
    beta: OptionalWeights = None
    epsilon: float = 1e-3
    gates: ClassVar[int] = 1
    states: ClassVar[tuple[str, ...]] = ("h",)
    extra_outputs: ClassVar[tuple[str, ...]] = ("h",)
    arrays: ClassVar[tuple[str, ...]] = ("weight", "recurrent_weight", "bias", "gamma", "beta")
    span, stride, padding = None, 1, (0, 0)
    emits, keeps, lengths = "each", "state", "honours"

    @property
    def whole(self) -> bool:
        return self.reverse

    @property
    def units(self) -> int:
        return self.weight.shape[0] // self.gates

    @property
    def output_size(self) -> int:
        return self.units

    def check(self) -> None:
        _matrix(self, "weight")
        rows = self.gates * self.units
        if rows != self.weight.shape[0] or not self.units:
            raise ShapeError(
                f"weight must have {self.gates} rows a unit", where=self.where, found=str(self.weight.shape)
            )
        if self.recurrent_weight is None:
            raise ShapeError("recurrent_weight is missing", where=self.where)
        self._expect("recurrent_weight", (rows, self.output_size), "gates * units rows, one column a unit")
        self._expect("bias", (rows,), "gates * units")
        if self.norm not in ("none", "gates", "joint") or (self.norm == "joint" and self.gates == 3):
            raise UnsupportedModelError(
                "this placement of the cell's normalisation is not supported",
                where=self.where,
                expected="none, gates, or joint (not for a GRU)",
                found=repr(self.norm),
            )
        if self.norm == "none" and (self.gamma is not None or self.beta is not None):
            raise ShapeError("gamma and beta mean nothing without norm", where=self.where)
        self._expect("gamma", (rows,), "gates * units")
        self._expect("beta", (rows,), "gates * units")
        if not (np.isfinite(self.epsilon) and self.epsilon >= 0):
            raise ShapeError(
                "epsilon must be finite and not negative", where=self.where, found=repr(self.epsilon)
            )

    def infer(self, x: Signal, *initial: Signal) -> tuple[Signal, ...]:
        self._width(self._frames(x), self.weight.shape[1], "the weight")
        if len(initial) > len(self.states):
            raise ShapeError(
                "there are too many initial states",
                where=self.where,
                expected=f"at most {self.states}",
                found=f"{len(initial)} inputs",
            )
        sizes = {"h": self.output_size, "c": self.units}
        for state, signal in zip(self.states, initial):
            if signal != Signal((sizes[state],), False):
                raise ShapeError(
                    f"the initial {state} does not fit",
                    where=self.where,
                    expected=f"(batch, {sizes[state]})",
                    found=str(signal),
                )
        made = {
            "": dataclasses.replace(x, features=(self.output_size,)),
            "cells": dataclasses.replace(x, features=(self.units,)),
        }
        made |= {state: Signal((sizes[state],), False) for state in self.states}
        return tuple(made[o] for o in ("",) + self.extra_outputs)


@layer_class
class SimpleRNN(_Recurrent):
    """Elman cell: h' = activation(W x + U h + b). weight (units, in), recurrent_weight (units, units)."""

    kind: ClassVar[str] = "rnn"


@layer_class
class GRU(_Recurrent):
    """Gates z r n; h' = (1 - z) n + z h. weight (3 units, in), recurrent_weight (3 units, units), bias (3
    units,).

    reset_after: n = act(Wn x + bn + r (Un h + recurrent_bias_n)) (PyTorch, Keras default, cuDNN); otherwise
    n = act(Wn x + Un (r h) + bn), which has no recurrent_bias (Cho et al. 2014; Keras reset_after=False).
    """

    recurrent_bias: OptionalWeights = None
    recurrent_activation: Elementwise = SIGMOID
    reset_after: bool = True
    kind: ClassVar[str] = "gru"
    gates: ClassVar[int] = 3
    arrays: ClassVar[tuple[str, ...]] = _Recurrent.arrays + ("recurrent_bias",)

    def check(self) -> None:
        super().check()
        self._expect("recurrent_bias", (3 * self.units,), "gates * units")
        if self.recurrent_bias is not None and not self.reset_after:
            raise ShapeError(
                "recurrent_bias exists only with reset_after", where=self.where, fix="Add it to bias."
            )


@layer_class
class LSTM(_Recurrent):
    """Gates i f g o; c' = f c + i g, h' = o act(c'), and with ``projection`` (out, units) h' = projection (o
    act(c')).

    weight (4 units, in), recurrent_weight (4 units, units or projected), bias (4 units,).
    Further outputs: "h", "c" the final state, "cells" the cell state at every step.
    """

    projection: OptionalWeights = None
    recurrent_activation: Elementwise = SIGMOID
    kind: ClassVar[str] = "lstm"
    gates: ClassVar[int] = 4
    states: ClassVar[tuple[str, ...]] = ("h", "c")
    extra_outputs: ClassVar[tuple[str, ...]] = ("h", "c", "cells")
    arrays: ClassVar[tuple[str, ...]] = _Recurrent.arrays + ("projection",)

    @property
    def output_size(self) -> int:
        return self.units if self.projection is None else self.projection.shape[0]

    def check(self) -> None:
        if self.projection is not None:
            _matrix(self, "projection")
            if self.projection.shape[1] != self.weight.shape[0] // 4:
                raise ShapeError(
                    "projection must have one column a unit",
                    where=self.where,
                    found=str(self.projection.shape),
                )
        super().check()


# ---- normalisation, activations ----------------------------------------------------------------------------


@layer_class
class BatchNormalization(_FrameByFrame):
    """y = gamma (x - mean) / sqrt(variance + epsilon) + beta over the last axis, with the moving
    statistics.
    """

    mean: Weights = None
    variance: Weights = None
    gamma: OptionalWeights = None
    beta: OptionalWeights = None
    epsilon: float = 1e-3
    kind: ClassVar[str] = "batch_normalization"
    arrays: ClassVar[tuple[str, ...]] = ("mean", "variance", "gamma", "beta")

    def check(self) -> None:
        if self.mean is None or self.mean.ndim != 1 or not self.mean.size:
            raise ShapeError("mean must be (features,)", where=self.where, found=_shape(self.mean))
        for name in ("variance", "gamma", "beta"):
            self._expect(name, self.mean.shape, "one per feature")
        if self.variance is None:
            raise ShapeError("variance is missing", where=self.where)
        if not (self.epsilon >= 0 and np.all(self.variance + np.float32(self.epsilon) > 0)):
            raise ShapeError("variance + epsilon must be positive", where=self.where)

    def infer(self, x: Signal) -> tuple[Signal, ...]:
        return (self._width(x, self.mean.size, "the statistics"),)

    @property
    def deviation(self) -> NDArray[np.float64]:
        """sqrt(variance + epsilon), in float64."""
        return np.sqrt(self.variance.astype(np.float64) + self.epsilon)

    @property
    def scale(self) -> NDArray[np.float64]:
        """gamma / sqrt(variance + epsilon), in float64."""
        return (1.0 if self.gamma is None else self.gamma) / self.deviation

    def affine(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(scale, offset) in float64, y = scale x + offset."""
        offset = -self.mean * self.scale
        return self.scale, offset if self.beta is None else offset + self.beta


@layer_class
class Affine(_FrameByFrame):
    """y = scale x + offset, feature by feature."""

    scale: Weights = None
    offset: Weights = None
    kind: ClassVar[str] = "affine"
    arrays: ClassVar[tuple[str, ...]] = ("scale", "offset")

    def check(self) -> None:
        if self.scale is None or self.scale.ndim != 1 or not self.scale.size or self.offset is None:
            raise ShapeError(
                "scale and offset must be (features,)", where=self.where, found=_shape(self.scale)
            )
        self._expect("offset", self.scale.shape, "one per feature")

    def infer(self, x: Signal) -> tuple[Signal, ...]:
        return (self._width(x, self.scale.size, "scale"),)


@layer_class
class LayerNormalization(_FrameByFrame):
    """(x - mean) / sqrt(variance + epsilon) over a frame's features, times gamma plus beta; variance divides
    by N.
    """

    size: int = 0
    gamma: OptionalWeights = None
    beta: OptionalWeights = None
    epsilon: float = 1e-3
    kind: ClassVar[str] = "layer_normalization"
    arrays: ClassVar[tuple[str, ...]] = ("gamma", "beta")

    def check(self) -> None:
        self._positive("size")
        self._expect("gamma", (self.size,), "one per feature")
        self._expect("beta", (self.size,), "one per feature")
        if not (np.isfinite(self.epsilon) and self.epsilon >= 0):
            raise ShapeError(
                "epsilon must be finite and not negative", where=self.where, found=repr(self.epsilon)
            )

    def infer(self, x: Signal) -> tuple[Signal, ...]:
        return (self._width(x, self.size, "size"),)


@layer_class
class Activation(_FrameByFrame):
    """An elementwise function of every number."""

    activation: Elementwise = LINEAR
    kind: ClassVar[str] = "activation"

    def infer(self, x: Signal) -> tuple[Signal, ...]:
        return (x,)


@layer_class
class Softmax(_FrameByFrame):
    """exp(x - max) / sum over a frame's features."""

    kind: ClassVar[str] = "softmax"

    def infer(self, x: Signal) -> tuple[Signal, ...]:
        if len(x.features) != 1:
            raise ShapeError("softmax needs one feature axis", where=self.where, found=str(x))
        return (x,)


# ---- pooling and time --------------------------------------------------------------------------------------


@layer_class
class _Pool1D(_Window):
    """A window over time, feature by feature. ``padding`` as in Conv1D; "same" is Keras's."""

    size: int = 2
    stride: int = 2
    padding: Padding = (0, 0)

    @property
    def span(self) -> int:
        return self.size

    def check(self) -> None:
        self._positive("size", "stride")
        object.__setattr__(self, "padding", _padding(self, self.padding))
        if self.padding != "same" and max(self.padding) >= self.size:
            raise ShapeError(
                "padding must be smaller than the window", where=self.where, found=str(self.padding)
            )

    def infer(self, x: Signal) -> tuple[Signal, ...]:
        return (dataclasses.replace(self._frames(x), length=windows(self, x.length, self.span)),)


@layer_class
class MaxPool1D(_Pool1D):
    """The greatest in each window; padding never wins."""

    kind: ClassVar[str] = "max_pool1d"


@layer_class
class AveragePool1D(_Pool1D):
    """The mean of each window; ``count_padding``: padded zeros count too (PyTorch's default; Keras leaves
    them out).
    """

    count_padding: bool = False
    kind: ClassVar[str] = "average_pool1d"


@layer_class
class GlobalMaxPool(Layer):
    """The greatest over all frames."""

    kind: ClassVar[str] = "global_max_pool"
    span, stride, padding = None, 1, (0, 0)
    emits, keeps, whole, lengths = "end", "frames", False, "moves"

    def infer(self, x: Signal) -> tuple[Signal, ...]:
        return (dataclasses.replace(self._frames(x), time=False, length=None),)


@layer_class
class GlobalAveragePool(GlobalMaxPool):
    """The mean over all frames."""

    kind: ClassVar[str] = "global_average_pool"


@layer_class
class Last(GlobalMaxPool):
    """The last frame: x[:, -1]."""

    kind: ClassVar[str] = "last"
    span, keeps = 1, "nothing"  # it holds back the newest frame, and needs no older one


@layer_class
class Reverse(Layer):
    """The frames in reverse order."""

    kind: ClassVar[str] = "reverse"
    span, stride, padding = None, 1, (0, 0)
    emits, keeps, whole, lengths = "each", "frames", True, "moves"

    def infer(self, x: Signal) -> tuple[Signal, ...]:
        return (self._frames(x),)


@layer_class
class Flatten(Layer):
    """All frames of a sequence of fixed length as one value, frame after frame: (time, *features) -> (time *
    features,).
    """

    kind: ClassVar[str] = "flatten"
    span, stride, padding = None, 1, (0, 0)
    emits, keeps, whole, lengths = "end", "frames", False, "moves"

    def infer(self, x: Signal) -> tuple[Signal, ...]:
        if self._frames(x).length is None:
            raise ShapeError(
                "a sequence can be flattened only when its length is fixed",
                where=self.where,
                found=str(x),
                fix="Give the model's input a fixed length.",
            )
        return (Signal((x.length * x.width,), False),)


@layer_class
class Unflatten(Layer):
    """A value given once as a sequence of ``length`` frames: (length * features,) -> (length, features)."""

    length: int = 1
    kind: ClassVar[str] = "unflatten"
    span, stride, padding = 1, 1, (0, 0)
    emits, keeps, whole, lengths = "length", "frames", False, "keeps"

    def check(self) -> None:
        self._positive("length")

    def infer(self, x: Signal) -> tuple[Signal, ...]:
        if x.time or len(x.features) != 1 or x.width % self.length:
            raise ShapeError(
                "the input cannot be cut into frames",
                where=self.where,
                expected=f"(batch, {self.length} * features)",
                found=str(x),
            )
        return (Signal((x.width // self.length,), True, self.length),)


@layer_class
class Reshape(_FrameByFrame):
    """Another shape for each frame; the numbers and their order stay."""

    features: Sizes = ()
    kind: ClassVar[str] = "reshape"

    def check(self) -> None:
        object.__setattr__(self, "features", tuple(int(n) for n in self.features))

    def infer(self, x: Signal) -> tuple[Signal, ...]:
        if prod(self.features) != x.width or any(n < 1 for n in self.features):
            raise ShapeError(
                "a frame cannot take this shape",
                where=self.where,
                expected=f"{x.width} numbers",
                found=str(self.features),
            )
        return (dataclasses.replace(x, features=self.features),)


@layer_class
class Select(_FrameByFrame):
    """Features by number: y[k] = x[index[k]]. Slices, permutations and repeats of a frame's features."""

    index: Sizes = ()
    kind: ClassVar[str] = "select"

    def check(self) -> None:
        object.__setattr__(self, "index", tuple(int(n) for n in self.index))

    def infer(self, x: Signal) -> tuple[Signal, ...]:
        if not self.index or len(x.features) != 1 or min(self.index) < 0 or max(self.index) >= x.width:
            raise ShapeError(
                "index is empty or out of range",
                where=self.where,
                expected=f"numbers below {x.width}",
                found=f"{self.index[:8]}",
            )
        return (dataclasses.replace(x, features=(len(self.index),)),)


@layer_class
class TimeDistributed(_FrameByFrame):
    """A whole graph run inside each frame: the frame's first axis is the inner graph's time (where it has
    one).
    """

    graph: Graph = None
    kind: ClassVar[str] = "time_distributed"

    def check(self) -> None:
        if len(self.graph.inputs) != 1 or len(self.graph.outputs) != 1:
            raise UnsupportedModelError(
                "the graph inside must have one input and one output", where=self.where
            )

    @property
    def parameters(self) -> int:
        return self.graph.parameters

    def infer(self, x: Signal) -> tuple[Signal, ...]:
        inner = self.graph.signals[self.graph.inputs[0]]
        wanted = ((inner.length,) if inner.time else ()) + inner.features
        if x.features != wanted:
            raise ShapeError(
                "the frames do not fit the graph inside",
                where=self.where,
                expected=f"frames of {wanted}",
                found=str(x),
            )
        made = self.graph.signals[self.graph.outputs[0].value]
        return (dataclasses.replace(x, features=((made.length,) if made.time else ()) + made.features),)


# ---- merging -----------------------------------------------------------------------------------------------


@layer_class
class Concatenate(_FrameByFrame):
    """The features of every input, side by side."""

    kind: ClassVar[str] = "concatenate"

    def infer(self, *signals: Signal) -> tuple[Signal, ...]:
        first = _aligned(self, signals)
        if any(len(s.features) != 1 for s in signals):
            raise ShapeError(
                "concatenation needs one feature axis", where=self.where, found=", ".join(map(str, signals))
            )
        return (dataclasses.replace(first, features=(sum(s.width for s in signals),)),)


@layer_class
class Add(_FrameByFrame):
    """The sum of the inputs, from the first to the last."""

    kind: ClassVar[str] = "add"

    def infer(self, *signals: Signal) -> tuple[Signal, ...]:
        first = _aligned(self, signals)
        if any(s.features != first.features for s in signals):
            raise ShapeError(
                "the inputs must have one shape", where=self.where, found=", ".join(map(str, signals))
            )
        return (first,)


@layer_class
class Multiply(Add):
    """The product of the inputs, from the first to the last."""

    kind: ClassVar[str] = "multiply"


def _aligned(layer, signals):
    if not signals:
        raise ShapeError("needs at least one input", where=layer.where)
    if len({s.time for s in signals}) > 1 or len({s.length for s in signals if s.length is not None}) > 1:
        raise ShapeError(
            "the inputs must run over the same time", where=layer.where, found=", ".join(map(str, signals))
        )
    length = next((s.length for s in signals if s.length is not None), None)
    return dataclasses.replace(signals[0], length=length)


# ---- small rules used above --------------------------------------------------------------------------------


def windows(layer, length, span):
    """Frames a window of ``span`` makes of ``length`` frames under the layer's stride and padding; None stays
    None.
    """
    if length is None:
        return None
    if layer.padding == "same":
        return -(-length // layer.stride)
    made = (length + sum(layer.padding) - span) // layer.stride + 1
    if made < 1:
        raise ShapeError(
            "the sequence is shorter than the window",
            where=layer.where,
            expected=f"at least {span - sum(layer.padding)} frames",
            found=str(length),
        )
    return made


def same_padding(length, span, stride):
    """(left, right) zeros of Keras's "same" for a sequence of ``length``: the extra one on the right."""
    total = max((-(-length // stride) - 1) * stride + span - length, 0)
    return total // 2, total - total // 2


def _padding(layer, padding):
    if padding == "same":
        return padding
    if (
        isinstance(padding, (tuple, list))
        and len(padding) == 2
        and all(isinstance(p, (int, np.integer)) and 0 <= p <= 1 << 24 for p in padding)
    ):
        return (int(padding[0]), int(padding[1]))
    raise ShapeError("padding must be 'same' or (left, right)", where=layer.where, found=repr(padding))


def _matrix(layer, name):
    value = getattr(layer, name)
    if value is None or value.ndim != 2 or 0 in value.shape:
        raise ShapeError(
            f"{name} must be a matrix with a row for every output", where=layer.where, found=_shape(value)
        )


def _shape(value):
    return "nothing" if value is None else str(value.shape)


# ---- the graph ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Output:
    """A graph output: its name, the value it shows ("layer" or "layer:output"), and the source's order of
    axes.
    """

    name: str
    value: str
    axes: str = "btf"


@layer_class
class Graph:
    """A checked DAG of layers in an order they can run in.

    ``inputs``: names of the Input layers in the source's order; by default all in the order of the layers.
    ``outputs``: in the source's order; a value's reference alone is an Output of that name. ``metadata``:
    where it came from and what was assumed, plain JSON values. Raises ShapeError where the wiring or the
    sizes do not fit.
    """

    layers: Layers
    inputs: Names = None
    outputs: Outputs = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    signals: dict[str, Signal] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        inputs = [x.name for x in self.layers if isinstance(x, Input)] if self.inputs is None else self.inputs
        outputs = (self.outputs,) if isinstance(self.outputs, (str, Output)) else self.outputs
        outputs = tuple(Output(o, o) if isinstance(o, str) else o for o in outputs)
        object.__setattr__(self, "inputs", (inputs,) if isinstance(inputs, str) else tuple(inputs))
        object.__setattr__(self, "outputs", outputs)
        signals: dict[str, Signal] = {}
        names = set()
        for layer in self.layers:
            if layer.name in names:
                raise ShapeError("two layers have one name", where=layer.where)
            names.add(layer.name)
            for reference in layer.inputs:
                if reference not in signals:
                    raise ShapeError(
                        f"reads {reference!r}, which no layer before it makes", where=layer.where
                    )
            try:
                made = layer.infer(*(signals[r] for r in layer.inputs))
            except TypeError as error:
                raise ShapeError(
                    f"has {len(layer.inputs)} inputs, which does not fit", where=layer.where
                ) from error
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
            if sorted(axes) != sorted("btf" if timed else "bf"):
                raise ShapeError(
                    f"the axes of the output {output.name!r} do not fit",
                    expected="b, t, f" if timed else "b, f",
                    found=axes,
                )
            outputs.append(dataclasses.replace(output, axes=axes))
        object.__setattr__(self, "outputs", tuple(outputs))
        object.__setattr__(self, "signals", signals)

    def __repr__(self) -> str:
        return (
            f"<Graph: {', '.join(self.inputs)} -> {len(self.layers)} layers -> "
            f"{', '.join(o.name for o in self.outputs)}>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return Graph, (self.layers, self.inputs, self.outputs, self.metadata)

    def __getitem__(self, name: str) -> Layer:
        return next(x for x in self.layers if x.name == name)

    @property
    def parameters(self) -> int:
        """Number of weights in all."""
        return sum(x.parameters for x in self.layers)

    def consumers(self, name: str) -> list[Layer]:
        """Layers that read any output of the layer called ``name``."""
        return [x for x in self.layers if any(r.partition(":")[0] == name for r in x.inputs)]

    def replace(self, layers: Iterable[Layer], **changes: Any) -> Graph:
        """The same graph with other layers (and other fields)."""
        return Graph(
            layers,
            changes.get("inputs", self.inputs),
            changes.get("outputs", self.outputs),
            changes.get("metadata", self.metadata),
        )


class GraphBuilder:
    """Collects layers in order and gives each a free name; what an importer writes with.

    >>> b = GraphBuilder(); x = b.input("x", (1,)); b.output("y", b.add(Dense, "fc", x, weight=[[2.0]]))
    >>> graph = b.graph()
    """

    def __init__(self) -> None:
        self.layers: list[Layer] = []
        self.outputs: list[Output] = []
        self._signals: dict[str, Signal] = {}

    def free_name(self, wanted: str) -> str:
        """``wanted``, or with a number behind it where a layer is already called so."""
        wanted = wanted.replace(":", "_") or "layer"
        names, name, number = {x.name for x in self.layers}, wanted, 1
        while name in names:
            name, number = f"{wanted}_{number}", number + 1
        return name

    def add(self, kind: type[Layer], name: str, *inputs: str, **fields: Any) -> str:
        """Append ``kind(name, inputs, **fields)``; returns the reference to its main output."""
        try:
            layer = kind(self.free_name(name), inputs, **fields)
            made = layer.infer(*(self._signals[r] for r in inputs))
        except RnnrtError as error:
            raise error if error.where else error.at(f"layer {name!r}")
        self.layers.append(layer)
        self._signals[layer.name] = made[0]
        self._signals.update(zip((f"{layer.name}:{o}" for o in layer.extra_outputs), made[1:]))
        return layer.name

    def input(self, name: str, features: Iterable[int], **fields: Any) -> str:
        """Append an Input with frames of ``features``; returns the reference to it."""
        return self.add(Input, name, features=tuple(features), **fields)

    def signal(self, reference: str) -> Signal:
        """What flows along the edge called ``reference``."""
        return self._signals[reference]

    def output(self, name: str, value: str, axes: str = "btf") -> None:
        """Show the value ``value`` as the graph's next output."""
        self.outputs.append(Output(name, value, axes))

    def graph(self, inputs: Iterable[str] | None = None, metadata: Mapping[str, Any] | None = None) -> Graph:
        """The finished Graph; ``inputs`` in their order, by default the order they were added in."""
        inputs = inputs or [x.name for x in self.layers if isinstance(x, Input)]
        return Graph(tuple(self.layers), tuple(inputs), tuple(self.outputs), dict(metadata or {}))
