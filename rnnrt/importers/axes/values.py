"""What the values of a foreign program are while it is read: references into a graph, and the order of their
axes there.

A graph keeps every sequence as (batch, time, features); a program permutes, squeezes and reshapes. So a
traced tensor is a reference plus a tuple of axes, and operators that move axes change only the tuple. An axis
is

    "b" batch    "t" time    "f" features    "1" of size one
    "s" several references side by side (the layers and directions of final states)
    "bt", "tb" batch and time merged by a reshape
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass, field

import numpy as np

from ...errors import UnsupportedModelError
from ...graph import Graph, GraphBuilder
from ...layers import (
    Affine,
    Concatenate,
    Crop1D,
    First,
    Flatten,
    Input,
    Last,
    NotEqual,
    Pad1D,
    Reshape,
    Reverse,
    Select,
    TensorSpec,
    Unflatten,
)
from .sizes import Clock, Size

#: layers whose numbers are those of their inputs
_MOVING = (Concatenate, Crop1D, First, Flatten, Last, Reshape, Reverse, Select, Unflatten)
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
    """An operator met a tensor whose axes do not fit it: under another reading of the inputs they may."""


class LengthError(UnsupportedModelError):
    """An operator is possible only where the number of frames is fixed."""


@dataclass(frozen=True, eq=False)
class Tensor:
    """A traced tensor.

    ``clock``: which frames it has. ``padding``: zeros put before and after it, which only a convolution can
    take up. ``packed``: a packed sequence; ``ended``: its frames past a row's end are zero already; ``real``:
    the reference to 1 in the frames that a row has, where the program counts them itself, and ``counted``: to
    how many they are.
    ``truth``: whether they are truth values to the program, which are 1 and 0 in the graph. ``root``: the
    storage, which views share.
    """

    references: tuple[str, ...]
    axes: tuple[str, ...]
    clock: Clock | None = None
    padding: tuple[int, int] = (0, 0)
    packed: bool = False
    ended: bool = False
    real: str | None = None
    counted: Tensor | None = None
    truth: bool = False
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


@dataclass(frozen=True, eq=False)
class Constant:
    """A parameter or a buffer read by the program itself."""

    name: str
    array: np.ndarray

    def __str__(self):
        return f"the constant {self.name} {self.array.shape}"


@dataclass(frozen=True, eq=False)
class Learned:
    """A parameter repeated for every row of the batch, along its axis ``batch``, which has size one."""

    name: str
    array: np.ndarray
    batch: int

    def __str__(self):
        return f"the constant {self.name} {self.array.shape} for every row"


@dataclass(frozen=True)
class Zeros:
    """Zeros of a shape, Sizes and numbers; as an initial state they are the default."""

    shape: tuple

    def __str__(self):
        return f"zeros of shape {shown(self.shape)}"


@dataclass(frozen=True)
class StateInput:
    """An input that only ever is the initial state of a recurrent layer; ``path``: the items of it that were
    taken, one after the other, numbers and slices."""

    name: str
    path: tuple = ()


@dataclass(frozen=True)
class Lengths:
    """An input that only ever is the lengths of rows; ``axes``: "b" and axes of size one."""

    name: str
    axes: tuple[str, ...] = ("b",)


@dataclass(frozen=True)
class FrameNumbers:
    """The numbers of the frames of a clock, 0, 1, 2 ...; ``axes``: "t" and axes of size one."""

    clock: Clock
    axes: tuple[str, ...] = ("t",)


@dataclass(frozen=True)
class RowEnds:
    """The number of each row's last frame: its length less one; ``axes`` as those of Lengths."""

    name: str
    axes: tuple[str, ...] = ("b",)


@dataclass(frozen=True)
class RowNumbers:
    """The numbers of the rows of a batch, 0, 1, 2 ...; ``axes``: "b" and axes of size one."""

    axes: tuple[str, ...] = ("b",)


@dataclass(frozen=True)
class Harmless:
    """A device, a type, a memory format: nothing a result depends on, or checked where it is used."""

    word: str

    def __str__(self):
        return self.word


@dataclass(frozen=True)
class Refused:
    """A value that cannot be carried on; an error only where the program uses it."""

    why: str


@dataclass(frozen=True)
class Unset(Refused):
    """A tensor of a shape, Sizes and numbers, whose numbers are not set yet."""

    shape: tuple = ()


def shown(value):
    """A value of a program in a message: tensors by their axes."""
    if isinstance(value, (tuple, list)) and not hasattr(value, "_fields"):
        return "(" + ", ".join(map(shown, value)) + ")"
    return str(value)


#: What to do about a refusal, for programs of no framework in particular; a source may say it in its own
#: words.
ADVICE = {
    "sizes": "Write sizes as sizes of the input, not as numbers, and let -1 stand for the features.",
    "states": "Take states by their number, the last one by -1.",
    "length": "Give the input a fixed length.",
    "truth": "Make numbers of them first.",
    "bits": "Compare first.",
    "cut": "Unpack to the input's own length, or take the last state.",
}


class Network:
    """The graph being written, with what operators need to know of the program.

    ``advice``: the source's own words for entries of ADVICE. ``name``: the layer name for the call at hand.
    ``overwritten``: storages changed in place, by the word that did it: the source would show the change in
    every view, so such a tensor must not be read again. ``lengths``: the name of the packing lengths,
    ``packing``: the clock they count on. ``states``: (what was given, the states it starts, by name) of every
    recurrent layer that starts from an input of the program. ``clocks``: what a window layer's input ran on;
    ``sequences``: one reference that has the frames of each clock.
    ``placed``: how many operators have found the axes they need. ``stilled``: whether time became numbers;
    ``known``: whether fixed numbers of frames are numbers to the program. ``trying``: whether an operator is
    being applied, which decides what else it may mean; ``resorted``: whether one did mean something else.
    ``batch``: the number that stands for the batch in the program's own arithmetic, None where it keeps
    the batch open. ``steps``: recurrent layers that stand for one step of a cell. ``inside``: whether
    this is the graph of a step, where no layer may need time. ``tells``: whether its source says where an
    answer has other axes than the program's; then ``keeps_ones``: whether the program may drop the axis
    of a batch of one, which an answer keeps; ``parted``: outputs whose batch and time the program merges,
    and an answer keeps apart. ``row_lengths``: {input that is the lengths of rows: [input whose frames they
    count, span and stride of the windows before]}. ``shortest_row``: the least length that a row may have.
    ``example_rows``: how many rows the example has, None where it is not known, and ``rows_written``: that
    number where the program makes zero states for no other.
    """

    def __init__(self, advice=None):
        self.builder, self.name, self.advice = GraphBuilder(), "", ADVICE | (advice or {})
        self.overwritten: dict[object, str] = {}
        self.lengths: str | None = None
        self.row_lengths: dict[str, list] = {}
        self.shortest_row = 0
        self.packing: Clock | None = None
        self.states: list[tuple[StateInput, list[str]]] = []
        self.clocks: dict[str, Clock] = {}
        self.sequences: dict[Clock, str] = {}
        self.placed, self.stilled, self.known = 0, False, False
        self.trying = self.resorted = False
        self.batch: int | None = None
        self.steps: set[str] = set()
        self.inside = False
        self.tells = self.keeps_ones = False
        self.parted: list[str] = []
        self.example_rows: int | None = None
        self.rows_written: int | None = None

    def beside(self):
        """A network of the same program with a graph of its own."""
        made = copy.copy(self)
        made.builder, made.tells, made.trying, made.lengths, made.packing = (
            GraphBuilder(),
            False,
            False,
            None,
            None,
        )
        made.overwritten, made.clocks, made.sequences = {}, {}, {}
        made.states, made.parted, made.steps = [], [], set()
        return made

    def input(self, name, axes, size, *, ids=False, length=None):
        """An input of the program with axes such as "btf", "bt" or "bf"; ``size`` its features, None where it
        has no such axis.
        """
        timed = "t" in axes
        fields = {"time": timed, "ids": ids, "axes": graph_axes(axes), "length": length if timed else None}
        reference = self.builder.input(name, () if size is None else (size,), **fields)
        return self.tensor(reference, axes, Clock("", 1, 0) if timed and length == 1 else Clock(name))

    def add(self, kind, *references, **fields):
        return self.builder.add(kind, self.name, *references, **fields)

    def signal(self, x) -> TensorSpec:
        return self.builder.signal(x.reference)

    def layer(self, x):
        """The layer whose main output a tensor is."""
        return self.builder.named(x.reference)

    def is_final_state(self, reference):
        """Whether a reference is an RNN's final state."""
        name, _, output = reference.partition(":")
        if output not in ("h", "c") or name in self.steps:
            return False
        return getattr(self.builder.named(name), "keeps", None) == "state"

    def is_ids(self, x):
        return all(map(self.names_rows, x.references))

    def names_rows(self, reference):
        """Whether a reference is whole numbers given as input, or some of them."""
        layer = self.builder.named(reference)
        if isinstance(layer, Input):
            return layer.ids
        return isinstance(layer, _MOVING) and all(map(self.names_rows, layer.inputs))

    def tensor(self, reference, axes, clock):
        """A new tensor (a storage of its own)."""
        timed = any("t" in a for a in axes)
        if timed:
            self.sequences.setdefault(clock, reference)
        return Tensor((reference,), tuple(axes), clock if timed else None)

    def layered(self, x, kind, **fields):
        """One layer over a tensor (over each member of a stack) that keeps its axes and its frames."""
        first = self.tensor(self.add(kind, x.reference, **fields), x.axes, x.clock)
        others = tuple(self.add(kind, r, **fields) for r in x.references[1:])
        return first.view(references=first.references + others)

    def nothing(self, width):
        """A reference to ``width`` zeros a row, given once, whatever the inputs hold."""
        x = next(layer.name for layer in self.builder.layers if isinstance(layer, Input))
        told = self.add(NotEqual, self.add(First, x) if self.builder.signal(x).time else x)
        wide = self.add(Select, told, index=(0,) * width)
        return self.add(Affine, wide, scale=np.zeros(width), offset=np.zeros(width))

    def keep_ones(self):
        """Notes that an axis of a batch of one stays, which the program may drop; raises where nobody says
        so.
        """
        if not self.tells:
            raise UnsupportedModelError(
                "squeeze drops the batch axis of a batch of one",
                fix="Name an axis that is not the batch: squeeze(-1).",
            )
        self.keeps_ones = True

    def single(self, x):
        """A stack of one as a tensor whose first axis has size one."""
        return x.view(["1" if a == "s" else a for a in x.axes]) if len(x.references) == 1 else x

    def sizes(self, x):
        """The size of each axis: numbers, and a Size where only the run tells."""
        symbols = {"b": "b", "t": ("t", x.clock)}
        numbers = {"f": self.signal(x).width, "s": len(x.references), "1": 1}
        return [numbers[a] if a in numbers else Size(tuple(symbols[part] for part in a)) for a in x.axes]

    def axis(self, x, dim):
        """The position an axis number means; negative ones count from the end."""
        if isinstance(dim, bool) or not isinstance(dim, int) or not -len(x.axes) <= dim < len(x.axes):
            raise AxesError(f"dim must be a number of an axis of {x}", found=str(dim))
        return dim % len(x.axes)

    def whole(self, x):
        """Refuse a tensor cut to its batch's longest length where an operator would see where it ends: a
        graph keeps every frame.
        """
        if x.clock is not None and x.clock.longest:
            raise UnsupportedModelError(
                "unpacking cuts to the longest length, and this call would see the end",
                fix=self.advice["cut"],
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
        if self.known and ("b", *x.axes[:0:-1]) in map(tuple, wanted) and {*x.axes} == {*"bft"}:
            return self._turned(x)
        expected = " or ".join(str(Tensor((), tuple(axes))) for axes in wanted)
        raise AxesError("the axes do not fit this call", expected=expected, found=str(x))

    def _turned(self, x):
        """A sequence of fixed length whose features are taken for its frames, and its frames for features."""
        signal = self.signal(x)
        if signal.length is None:
            raise AxesError("the axes do not fit this call", found=str(x))
        order = np.arange(signal.length * signal.width).reshape(signal.length, signal.width).T
        reference = self.add(Select, self.add(Flatten, x.reference), index=order.ravel())
        reference = self.add(Unflatten, reference, length=signal.width)
        axes = tuple({"f": "t", "t": "f"}.get(a, a) for a in x.axes)
        return self.tensor(reference, axes, Clock("", signal.width, 0))

    def featured(self, x):
        """``x`` with its features on the last axis, as products and layer norms see them."""
        x = self.single(x)
        if x.axes and x.axes[-1] == "1" and "f" not in x.axes:
            return x.view(x.axes[:-1] + ("f",), (self.add(Reshape, x.reference, features=(1,)),))
        if not x.axes or x.axes[-1] != "f" or "s" in x.axes:
            raise AxesError("the features must be the last axis here", found=str(x))
        return x

    def after(self, clock, layer_name):
        """The clock behind a window layer that reads frames of ``clock``."""
        layer = self.builder.named(layer_name)
        self.clocks[layer_name] = clock
        if not clock.stride:
            return clock._replace(span=self.builder.signal(layer_name).length)
        return clock.through(layer)

    # -- what the program returns ----------------------------------------------------------------------------
    def output(self, name, x):
        """A tensor as an output of the graph: an axis of size one is a feature there, or the one frame."""
        self.name = name
        x = self._parted(name, settled(self, x))
        merged = any(len(a) > 1 for a in x.axes)
        if "s" in x.axes or x.packed or merged or "b" not in x.axes or x.axes.count("1") > 1:
            raise UnsupportedModelError(
                "an output must be (batch, time, features) or (batch, features), in some order",
                found=str(x),
                fix="Return it before batch and time are merged." if merged else None,
            )
        reference, axes = x.reference, "".join(x.axes)
        if "1" in axes and "f" not in axes:
            reference, axes = self.add(Reshape, reference, features=(1,)), axes.replace("1", "f")
        elif "1" in axes:
            reference, axes = self.add(Unflatten, reference, length=1), axes.replace("1", "t")
        self.builder.output(name, reference, graph_axes(axes))

    def _parted(self, name, x):
        """``x`` with batch and time apart again; where it has one frame, that frame."""
        if ("bt" not in x.axes and "tb" not in x.axes) or x.packed or not self.tells:
            return x
        axes = tuple(part for axis in x.axes for part in axis)
        if self.signal(x).length == 1:
            return self.tensor(self.add(Last, x.reference), tuple(a for a in axes if a != "t"), None)
        self.parted.append(name)
        return x.view(axes)

    def graph(self, metadata, kept=()) -> Graph:
        """The graph, without layers that no output and none of the references ``kept`` needs."""
        return needed(self.builder.graph(metadata=metadata), kept)


def needed(graph, kept=()):
    """A graph without layers that no output and none of the references ``kept`` needs."""
    own = {r.partition(":")[0] for r in (*(o.value for o in graph.outputs), *kept)} | set(graph.inputs)
    for layer in reversed(graph.layers):
        if layer.name in own:
            mask = getattr(layer, "mask", None)
            own |= {r.partition(":")[0] for r in (*layer.inputs, *([mask] if mask else []))}
    return graph.replace([layer for layer in graph.layers if layer.name in own])


def settled(net, x):
    """A tensor with the zeros around its frames in the graph, if it has some."""
    if not any(x.padding):
        return x
    before, after = x.padding
    reference = net.add(Pad1D, x.reference, before=before, after=after)
    clock = net.after(x.clock, reference)
    return dataclasses.replace(x, references=(reference,), padding=(0, 0), clock=clock)


def graph_axes(axes):
    """The axes of an input or an output of a graph, which always have features."""
    return axes if "f" in axes else axes + "f"
