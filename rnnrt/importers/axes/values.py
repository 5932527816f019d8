"""What a PyTorch program's values are while it is read: references into a graph, and the order of their torch
axes.

A graph keeps every sequence as (batch, time, features); a torch program permutes, squeezes and reshapes. So a
traced tensor is a reference plus a tuple of axes, and layout calls change only the axes. An axis is

    "b" batch    "t" time    "f" features    "1" of size one    "s" several references side by side (h_n's
    layers and directions) "bt", "tb"   batch and time merged by a reshape

Never imports torch.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ...errors import UnsupportedModelError
from ...graph import GraphBuilder
from ...layers import Input, Reshape, Signal, Unflatten

_WORDS = {
    "b": "batch",
    "t": "time",
    "f": "features",
    "1": "1",
    "s": "layers",
    "bt": "batch * time",
    "tb": "time * batch",
}


class AxesError(UnsupportedModelError):
    """A call met a tensor whose axes do not fit it: under another reading of the inputs they may."""


class LengthError(UnsupportedModelError):
    """A call is possible only where the number of frames is fixed."""


class Clock(NamedTuple):
    """Which frames a tensor's frames are: (n - span) // stride + 1 of them where ``input`` has n.

    Windows that change the number of frames compose to one span and one stride, so tensors join where these
    agree, whatever windows made them. ``longest``: cut to the longest length given, as pad_packed_sequence
    does without total_length. A value given once that was made a sequence has input "", stride 0 and its
    number of frames as ``span``.
    """

    input: str
    span: int = 1
    stride: int = 1
    longest: bool = False

    def behind(self, span, stride):
        """The clock behind a window of ``span`` frames, its padding taken off, that moves by ``stride``."""
        return self._replace(span=self.span + (span - 1) * self.stride, stride=self.stride * stride)


@dataclass(frozen=True, eq=False)
class Tensor:
    """A traced tensor.

    ``clock``: which frames it has. ``padding``: zeros a call put before and after, which only a convolution
    can take up. ``packed``: a packed sequence; ``ended``: its frames past a row's end are zero already.
    ``root``: the storage; views share it, as in torch.
    """

    references: tuple[str, ...]
    axes: tuple[str, ...]
    clock: Clock | None = None
    padding: tuple[int, int] = (0, 0)
    packed: bool = False
    ended: bool = False
    root: object = field(default_factory=object, repr=False)

    @property
    def reference(self):
        return self.references[0]

    def __str__(self):
        return "(" + ", ".join(_WORDS[a] for a in self.axes) + ")"

    def view(self, axes=None, references=None):
        """The same storage seen otherwise."""
        return dataclasses.replace(
            self, axes=self.axes if axes is None else tuple(axes), references=references or self.references
        )


@dataclass(frozen=True)
class Size:
    """A size known only when the program runs: the product of ``axes``, each "b" or ("t", clock), and a
    number.
    """

    axes: tuple = ()
    number: int = 1

    def __mul__(self, other):
        other = other if isinstance(other, Size) else Size((), other)
        return Size(self.axes + other.axes, self.number * other.number)

    __rmul__ = __mul__


@dataclass(frozen=True, eq=False)
class Constant:
    """A parameter or a buffer read by the program itself."""

    name: str
    array: np.ndarray

    def __str__(self):
        return f"the constant {self.name} {self.array.shape}"


@dataclass(frozen=True)
class Zeros:
    """torch.zeros of a shape, Sizes and numbers; as an initial state it is the default."""

    shape: tuple


@dataclass(frozen=True)
class StateInput:
    """A parameter of forward that only ever is an RNN's initial state; ``path``: the items of it that were
    taken, one after the other, numbers and slices."""

    name: str
    path: tuple = ()


@dataclass(frozen=True)
class Lengths:
    """A parameter of forward that only ever is the lengths of a packed sequence."""

    name: str


@dataclass(frozen=True)
class Harmless:
    """A device, a dtype, a memory format: nothing a result depends on, or checked where it is used."""

    word: str


@dataclass(frozen=True)
class Refused:
    """A value that cannot be carried on; an error only where the program uses it."""

    why: str


def shown(value):
    """A value of a program in a message: tensors by their axes."""
    if isinstance(value, (tuple, list)) and not hasattr(value, "_fields"):
        return "(" + ", ".join(map(shown, value)) + ")"
    return str(value)


class MaxOverTime(NamedTuple):
    """What torch's max over one axis returns."""

    values: Tensor
    indices: Refused


class Network:
    """The graph being written, with what the calls below need to know of the program.

    ``name``: the layer name for the call at hand. ``overwritten``: storages changed in place, by the call
    that did it: torch would show the change in every view, so such a tensor must not be read again.
    ``lengths``: the name of the packing lengths, ``packing``: the clock they count on. ``states``: (what was
    given, the states it starts, by name) of every RNN that starts from an argument of forward. ``clocks``:
    what a window layer's input ran on. ``placed``: how many calls have found the axes they need.
    """

    def __init__(self):
        self.builder, self.name = GraphBuilder(), ""
        self.overwritten: dict[object, str] = {}
        self.lengths: str | None = None
        self.packing: Clock | None = None
        self.states: list[tuple[StateInput, list[str]]] = []
        self.clocks: dict[str, Clock] = {}
        self.placed = 0

    def input(self, name, axes, size, *, ids=False, length=None):
        """A forward parameter with torch axes such as "btf", "bt" or "bf"; ``size`` its features, None where
        it has no such axis.
        """
        timed = "t" in axes
        order = axes if "f" in axes else axes + "f"
        fields = {"time": timed, "ids": ids, "axes": order, "length": length if timed else None}
        reference = self.builder.input(name, () if size is None else (size,), **fields)
        return Tensor((reference,), tuple(axes), clock=Clock(name) if timed else None)

    def add(self, kind, *references, **fields):
        return self.builder.add(kind, self.name, *references, **fields)

    def signal(self, x) -> Signal:
        return self.builder.signal(x.reference)

    def layer(self, x):
        """The layer whose main output a tensor is."""
        return next((layer for layer in self.builder.layers if layer.name == x.reference), None)

    def is_final_state(self, reference):
        """Whether a reference is an RNN's final state."""
        name, _, output = reference.partition(":")
        return output in ("h", "c") and any(
            layer.name == name and hasattr(layer, "states") for layer in self.builder.layers
        )

    def is_ids(self, x):
        layer = self.layer(x)
        return isinstance(layer, Input) and layer.ids

    def made(self, reference, axes, clock):
        """A new tensor (a storage of its own)."""
        return Tensor((reference,), tuple(axes), clock if any("t" in a for a in axes) else None)

    def layered(self, x, kind, **fields):
        """One layer over a tensor (over each member of a stack) that keeps its axes and its frames."""
        made = self.made(self.add(kind, x.reference, **fields), x.axes, x.clock)
        return made.view(
            references=made.references + tuple(self.add(kind, r, **fields) for r in x.references[1:])
        )

    def single(self, x):
        """A stack of one as a tensor whose first axis has size one."""
        return x.view(["1" if a == "s" else a for a in x.axes]) if len(x.references) == 1 else x

    def sizes(self, x):
        """The size of each axis: numbers, and a Size where only the run tells."""
        symbols = {"b": "b", "t": ("t", x.clock)}
        numbers = {"f": self.signal(x).width, "s": len(x.references), "1": 1}
        return [numbers[a] if a in numbers else Size(tuple(symbols[part] for part in a)) for a in x.axes]

    def axis(self, x, dim):
        """The position a torch dim means; negative ones count from the end."""
        if isinstance(dim, bool) or not isinstance(dim, int) or not -len(x.axes) <= dim < len(x.axes):
            raise UnsupportedModelError(f"dim must be a number of an axis of {x}", found=str(dim))
        return dim % len(x.axes)

    def whole(self, x):
        """Refuse a tensor cut to its batch's longest length where a call would see where it ends: a graph
        keeps every frame.
        """
        if x.clock is not None and x.clock.longest:
            raise UnsupportedModelError(
                "pad_packed_sequence cuts to the longest length, and this call would see the end",
                fix="Give it total_length=x.size(1), or take the last state from h_n.",
            )

    def arranged(self, x, *wanted):
        """``x`` with its axes as one of ``wanted`` ("bft"), an axis of size one read as a feature or a frame
        where it stands for one.
        """
        x = self.single(x)
        self.whole(x)
        for axes in map(tuple, wanted):
            if x.axes == axes:
                self.placed += 1
                return x
        for axes in map(tuple, wanted):
            pairs = list(zip(x.axes, axes))
            if len(x.axes) != len(axes) or any(
                a != w and (a != "1" or w not in "tf" or w in x.axes) for a, w in pairs
            ):
                continue
            reference = x.reference
            if ("1", "f") in pairs:
                reference = self.add(Reshape, reference, features=(1,))
            if ("1", "t") in pairs:
                reference = self.add(Unflatten, reference, length=1)
            clock = Clock("", 1, 0) if ("1", "t") in pairs else x.clock
            return dataclasses.replace(x, references=(reference,), axes=axes, clock=clock)
        expected = " or ".join(str(Tensor((), tuple(axes))) for axes in wanted)
        raise AxesError("the axes do not fit this call", expected=expected, found=str(x))

    def featured(self, x):
        """``x`` with its features on the last axis, as Linear and LayerNorm see them."""
        x = self.single(x)
        if x.axes and x.axes[-1] == "1" and "f" not in x.axes:
            return x.view(x.axes[:-1] + ("f",), (self.add(Reshape, x.reference, features=(1,)),))
        if not x.axes or x.axes[-1] != "f" or "s" in x.axes:
            raise AxesError("the features must be the last axis here", found=str(x))
        return x

    def after(self, clock, layer_name):
        """The clock behind a window layer that reads frames of ``clock``."""
        layer = next(layer for layer in self.builder.layers if layer.name == layer_name)
        span = layer.span
        self.clocks[layer_name] = clock
        if not clock.stride:
            return clock._replace(span=self.builder.signal(layer_name).length)
        return clock.behind(span - sum(layer.padding), layer.stride)

    def overwrite(self, x, call):
        self.overwritten[x.root] = call
