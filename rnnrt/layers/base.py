"""What every layer is: the signals it reads and makes, its time facts, the checks it is written with."""

from __future__ import annotations

import dataclasses
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import ShapeError, UnsupportedModelError
from .function import Function, function
from .record import Record, Value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from ..annotations import References, Work, record
    from ..annotations import layer_class as layer_class  # noqa: PLC0414 - so that checkers see it exported
else:
    from .record import record

    layer_class = record


@record
class TensorSpec(Value):
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
#: "many": ``stride`` frames for every frame in, which has its part in ``span`` frames out, of which
#: ``padding`` = (left, right) are cut off at either end (right below zero: added); "end": one value, when the
#: sequence is over; "length": ``length`` frames for the one value in. ``keeps``:
#: what must survive between frames: "nothing"; "state": the recurrent states it names in ``states``;
#: "frames": past frames, sums of them, frames still to be given, or the place in its stride. ``whole``:
#: whether it needs every frame before it gives the first. ``lengths``: where rows of a batch end at different
#: frames: "honours": it stops at each row's end; "keeps": frame t of its output depends on frame t alone;
#: "moves": neither, so what follows cannot tell where a row ends. ``mask_rule``: what a mask of its input is
#: to its output, where the source of a network has masks: "pass": it holds there too; "drop": it ends;
#: "combine": one is made of those of all inputs; "own": the layer makes one of it, as its docstring says.
TIME_FACTS = {
    "span": lambda v: v is None or (isinstance(v, (int, np.integer)) and v >= 1),
    "stride": lambda v: isinstance(v, (int, np.integer)) and v >= 1,
    "padding": lambda v: v == "same" or (isinstance(v, tuple) and len(v) == 2),
    "emits": ("each", "many", "end", "length").__contains__,
    "keeps": ("nothing", "state", "frames").__contains__,
    "whole": (True, False).__contains__,
    "lengths": ("honours", "keeps", "moves").__contains__,
    "mask_rule": ("pass", "drop", "combine", "own").__contains__,
}

#: What the metadata of a dataclass field says where its default means that there is no such thing: then it is
#: not written to a file either, so that files and fingerprints of graphs without it stay what they were.
LEFT_OUT = {"left_out": True}


def check_time_facts(layer: Layer) -> None:
    """UnsupportedModelError where the layer's class leaves out a time fact, or says something that is not
    one.
    """
    for name, fits in TIME_FACTS.items():
        value = getattr(layer, name, TIME_FACTS)
        if value is TIME_FACTS or not fits(value):
            raise UnsupportedModelError(
                f"its class does not state {name!r}, a fact about time that every layer must state",
                where=layer.where,
                found="nothing" if value is TIME_FACTS else repr(value),
                fix=f"Give {type(layer).__name__} the class attributes {', '.join(TIME_FACTS)}: "
                "see rnnrt.layers.base.TIME_FACTS.",
            )


@layer_class
class Layer(Record):
    """Base of every layer: a name, the references it reads, and what it makes of their signals.

    ``kind`` is the layer's word everywhere: its function in reference.py and its name in the engine. Fields
    that hold arrays are made float32, contiguous and read-only; fields named ``*activation`` accept a name.
    A class states everything about its layer: its fields and their check, the shapes of its outputs
    (``infer``), how it is described to the engine (``engine_fields``) and its time facts (see TIME_FACTS).
    """

    name: str
    inputs: References

    kind: ClassVar[str] = ""
    extra_outputs: ClassVar[tuple[str, ...]] = ()
    arrays: ClassVar[tuple[str, ...]] = ()
    #: So many inputs, the first ones, reach the engine side by side as one sequence.
    joined_inputs: ClassVar[int] = 0
    #: From this input on they are whole sequences beside those before, with a length of their own; 0: none.
    whole_inputs: ClassVar[int] = 0

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if vars(cls).get("kind"):  # a class without a word of its own does not stand for its base's
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
                object.__setattr__(self, item.name, frozen(value, self.name, item.name))
            elif item.name.endswith("activation"):
                object.__setattr__(self, item.name, function(value))
        self.check()

    def check(self) -> None:
        """Whether the layer's own fields agree with one another; raises ShapeError."""

    def infer(self, *signals: TensorSpec) -> tuple[TensorSpec, ...]:
        """The signals of ``("",) + extra_outputs`` from those of ``inputs``; raises ShapeError."""
        raise NotImplementedError

    def engine_fields(self, x: TensorSpec) -> dict[str, Any]:
        """The layer as the engine knows it, beyond the wiring: values by the names of ``struct
        rnnrt_layer_desc`` (src/rnnrt.h), in words where the engine has words. ``x``: the first input's
        signal, None without inputs. ``kind`` among them: the engine's word where it is not the layer's own;
        ``needs_length``: whether they hold for one length of the input only.
        """
        raise UnsupportedModelError(
            "its class does not define engine_fields, which describe a layer to the engine",
            where=self.where,
            fix=f"Define {type(self).__name__}.engine_fields, or set it to no_fields.",
        )

    def startable(self, *signals: TensorSpec) -> dict[str, tuple[int, ...]]:
        """{array it keeps for a sequence: shape} of those that may begin elsewhere than at zero (see
        Graph.start): none unless the class says so.
        """
        return {}

    def work(self, *signals: TensorSpec) -> Work:
        """(multiply-adds of matrix products and convolutions, other operations on single numbers) behind one
        frame: of its output where ``counts_output``, else of its first input. Of the others every addition,
        multiplication, comparison and division is one, and so is every function of a number; what happens
        once a frame or once a sequence is not counted.
        """
        raise UnsupportedModelError(
            "its class does not define work, the operations behind a frame",
            where=self.where,
            fix=f"Define {type(self).__name__}.work, or set it to no_work.",
        )

    def weights_read(self) -> tuple[int, int]:
        """(weights read once a block of frames, those read anew at every step of it)."""
        return self.parameters, 0

    @property
    def counts_output(self) -> bool:
        return self.keeps != "state" and self.emits in ("each", "length")

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

    def _expect_matrix(self, name):
        value = getattr(self, name)
        if value is None or value.ndim != 2 or 0 in value.shape:
            raise ShapeError(
                f"{name} must be a matrix with a row for every output",
                where=self.where,
                found=shape_text(value),
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

    def _last(self, signal, expected, of):
        """As _width, of frames of any number of axes: the last one counts."""
        if signal.features[-1:] != (expected,):
            raise ShapeError(
                f"the input does not fit {of}",
                where=self.where,
                expected=f"frames of (..., {expected})"
                if len(signal.features) > 1
                else f"frames of ({expected},)",
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
    def reads(self) -> tuple[str, ...]:
        """References to all it reads: ``inputs``, then the mask it consults."""
        mask: str | None = getattr(self, "mask", None)
        return self.inputs if mask is None else (*self.inputs, mask)

    @property
    def mask_inputs(self) -> tuple[str, ...]:
        """References of ``reads`` that are masks."""
        return self.reads[len(self.inputs) :]

    def reading(self, references: Sequence[str]) -> Layer:
        """The same layer with other ``reads``; itself where they are the same."""
        if tuple(references) == self.reads:
            return self
        count, made = len(self.inputs), object.__new__(type(self))
        made.__dict__.update(self.__dict__, inputs=tuple(references[:count]))  # its own arrays
        if len(references) > count:
            made.__dict__["mask"] = references[count]
        return made

    @property
    def where(self) -> str:
        return f"layer {self.name!r} ({type(self).__name__})"

    @property
    def parameters(self) -> int:
        """Number of weights held."""
        return sum(getattr(self, a).size for a in self.arrays if getattr(self, a) is not None)


def axes_fit(axes: str, signal: TensorSpec) -> bool:
    """Whether a value may have its axes in this order: "b", "t" where it has frames, and "f" once, or once
    for each axis of a frame.
    """
    named = sorted(axes.replace("f", "")) == sorted("bt" if signal.time else "b")
    return named and axes.count("f") in (1, len(signal.features) or 1)


def layer_of(reference: str) -> str:
    """The layer that a reference, "layer" or "layer:output", belongs to."""
    return reference.partition(":")[0]


def no_fields(self: Layer, x: TensorSpec) -> dict[str, Any]:
    """``engine_fields`` of a layer whose kind and wiring say all."""
    return {}


def no_work(self: Layer, *signals: TensorSpec) -> Work:
    """``work`` of a layer that only moves numbers."""
    return 0, 0


def after_product(bias: NDArray[np.float32] | None, activation: Function, outputs: int) -> int:
    """Operations on what a product gave: a bias, a function."""
    return outputs * ((bias is not None) + (activation.name != "linear"))


class FrameByFrame(Layer):
    """A layer whose output frame t is made of the input frames t alone."""

    span, stride, padding = 1, 1, (0, 0)
    emits, keeps, whole, lengths, mask_rule = "each", "nothing", False, "keeps", "pass"


def frozen(value: ArrayLike, layer: str, name: str) -> NDArray[np.float32]:
    """``value`` as a read-only float32 array of its own; ShapeError where it does not hold real numbers."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise ShapeError(f"{name} must hold real numbers", where=f"layer {layer!r}", found=str(array.dtype))
    array = np.array(array, dtype=np.float32, order="C", copy=True)
    array.setflags(write=False)
    return array


def shape_text(value: NDArray[Any] | None) -> str:
    """The shape of an array field, for a message."""
    return "nothing" if value is None else str(value.shape)


def aligned(layer: Layer, signals: tuple[TensorSpec, ...]) -> TensorSpec:
    """The first of ``signals``, of the length that any of them states; ShapeError where they do not run over
    the same time.
    """
    if not signals:
        raise ShapeError("needs at least one input", where=layer.where)
    if len({s.time for s in signals}) > 1 or len({s.length for s in signals if s.length is not None}) > 1:
        raise ShapeError(
            "the inputs must run over the same time", where=layer.where, found=", ".join(map(str, signals))
        )
    length = next((s.length for s in signals if s.length is not None), None)
    return dataclasses.replace(signals[0], length=length)


def signals_of(layer: Layer, signals: Mapping[str, TensorSpec]) -> tuple[TensorSpec, ...]:
    """What ``layer.infer`` makes of the signals it reads, after a look at its mask; raises ShapeError, also
    where it reads what is not there.
    """
    for reference in layer.reads:
        if reference not in signals:
            raise ShapeError(
                f"reads {reference!r}, which no layer before it makes",
                where=layer.where,
                expected=", ".join(signals)[:200] or "an input first",
            )
    try:
        made = layer.infer(*(signals[r] for r in layer.inputs))
    except TypeError as error:
        raise ShapeError(
            f"has {len(layer.inputs)} inputs, which does not fit",
            where=layer.where,
            found=", ".join(layer.inputs)[:200] or "none",
        ) from error
    if len(layer.reads) > len(layer.inputs):
        frames, mask = signals[layer.inputs[0]], signals[layer.reads[-1]]
        if not mask.time or mask.width != 1:
            raise ShapeError(
                "its mask must be a sequence of one number a frame",
                where=layer.where,
                expected="(batch, time)",
                found=str(mask),
            )
        aligned(layer, (frames, mask))
    return made
