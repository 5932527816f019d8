"""Frames of several axes: a tensor as an array of numbers picked one by one.

A graph keeps a frame as a row of numbers; a program may give it several axes (states of several layers in one
tensor, a stack, heads) and move them about. Such a tensor is an array of places: which number of which
references stands there. Moving axes, slicing and joining are then NumPy's own; what has one axis left is an
ordinary Tensor again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ...errors import UnsupportedModelError
from ...layers import Concatenate, Flatten, Reshape, Select, Unflatten
from .sizes import Clock, Size
from .values import AxesError, LengthError, Tensor

#: Numbers in a frame of several axes.
_MOST = 1 << 22
#: Numbers merged with the batch, each a row of its own, behind it or in front.
FOLDED = ("bn", "nb")


@dataclass(frozen=True, eq=False)
class Slots:
    """``axes``: "b", "t", "bt" or "tb" where both are merged, "n" for an axis of numbers, "bn", "nb", "tn" or
    "nt" for one that the program has merged with the batch or with time. ``places``: an array with those
    axes, of size one but where numbers are in them: positions among the numbers of ``references`` side by
    side, ``widths`` of each.
    """

    axes: tuple[str, ...]
    places: np.ndarray
    references: tuple[str, ...]
    widths: tuple[int, ...]
    clock: Clock | None = None
    root: object = field(default_factory=object, repr=False)  # the storage, which views share

    def __str__(self):
        words = {"b": "batch", "t": "time", "bt": "batch * time", "tb": "time * batch"}
        mixed = {"bn": "batch * {}", "nb": "{} * batch", "tn": "time * {}", "nt": "{} * time"}
        named = (words.get(a) or mixed.get(a, "{}").format(n) for a, n in zip(self.axes, self.places.shape))
        return "(" + ", ".join(named) + ")"

    @property
    def long(self):
        """How many axes of numbers are longer than one."""
        return sum("n" in a and n > 1 for a, n in zip(self.axes, self.places.shape))

    @property
    def folded(self):
        """The places of axes of numbers that are merged with the batch."""
        return [k for k, a in enumerate(self.axes) if a in FOLDED]

    @property
    def mixed(self):
        """Whether an axis of numbers is merged with the batch or with time."""
        return any(len(a) > 1 and "n" in a for a in self.axes)

    @property
    def sizes(self):
        """The size of every axis: a number, or a Size where only the run tells."""
        symbols = {"b": "b", "t": ("t", self.clock)}
        return [
            n if a == "n" else Size(tuple(symbols[part] for part in a if part != "n"), n)
            for a, n in zip(self.axes, self.places.shape)
        ]

    def seen(self, axes, places):
        """The same numbers with other axes, or some of them."""
        if places.size > _MOST:
            raise UnsupportedModelError("a frame has too many numbers", found=f"{places.size:,}")
        return replace(self, axes=tuple(axes), places=places)


def slots_of(net, x) -> Slots:
    """A Tensor (or Slots) as Slots."""
    if isinstance(x, Slots):
        return x
    if any(x.padding) or x.packed:
        raise UnsupportedModelError("this tensor cannot be taken apart", found=str(x))
    widths = tuple(net.builder.signal(r).width for r in x.references)
    numbers = np.arange(sum(widths))
    if len(set(widths)) > 1:
        raise UnsupportedModelError("the parts of a stack must have one size", found=str(widths))
    sizes = [len(x.references) if a == "s" else widths[0] if a == "f" else 1 for a in x.axes]
    order = [k for k, a in enumerate(x.axes) if a == "s"] + [k for k, a in enumerate(x.axes) if a == "f"]
    places = numbers.reshape([sizes[k] for k in order])
    if len(order) == 2 and order[0] > order[1]:
        places = places.T
    axes = tuple("n" if a in ("f", "s", "1") else a for a in x.axes)
    return Slots(axes, places.reshape(sizes), x.references, widths, x.clock, x.root)


def tensor_of(net, x):
    """Slots with no more than one axis of numbers longer than one as a Tensor, None for others. An axis of
    size one is "1"; with none longer the last one is the features.
    """
    if isinstance(x, Tensor):
        return x
    long = [k for k, a in enumerate(x.axes) if a == "n" and x.places.shape[k] > 1]
    if len(long) > 1 or x.mixed:
        return None
    numbers = [k for k, a in enumerate(x.axes) if a == "n"]
    features = long[0] if long else numbers[-1] if numbers else None
    axes = tuple("f" if k == features else "1" if a == "n" else a for k, a in enumerate(x.axes))
    reference = picked(net, x)
    if features is None:
        reference = net.add(Reshape, reference, features=())
    return net.tensor(reference, axes, x.clock)


def as_tensors(net, value):
    """A value for an operator that knows one axis of numbers; raises where Slots have more."""
    if type(value) in (tuple, list):
        return type(value)(as_tensors(net, v) for v in value)
    if not isinstance(value, Slots):
        return value
    made = tensor_of(net, value) or _unflattened(net, value)
    if made is None and value.folded:
        raise AxesError(
            "rows of which each row of the batch makes several (its bins, its channels) are not read here",
            found=str(value),
            fix="Import what reads one of them, and call it for each: they are rows of a batch to it.",
        )
    if made is None:
        raise AxesError("frames of several axes are not supported here", found=str(value))
    return replace(made, root=value.root)


def _unflattened(net, x):
    """Slots with two axes of numbers, one of which was time, as a sequence of so many frames; None of others:
    of an open number of frames no other axis is a sequence.
    """
    if x.axes != ("b", "n", "n") or not net.stilled:
        return None
    length = x.places.shape[1]
    return net.tensor(net.add(Unflatten, picked(net, x), length=length), "btf", Clock("", length, 0))


def picked(net, x):
    """A reference to the numbers of Slots, in order, as one row."""
    places, starts = x.places.ravel(), np.concatenate([[0], np.cumsum(x.widths)])
    owner = np.searchsorted(starts, places, "right") - 1
    used = list(dict.fromkeys(owner.tolist()))
    flat = [row_of(net, x.references[k]) for k in used]
    fresh = dict(zip(used, np.concatenate([[0], np.cumsum([x.widths[k] for k in used])])))
    index = places - starts[owner] + np.array([fresh[k] for k in owner.tolist()], np.int64)
    joined = flat[0] if len(flat) == 1 else net.add(Concatenate, *flat)
    if np.array_equal(index, np.arange(net.builder.signal(joined).width)):
        return joined
    return net.add(Select, joined, index=index)


def row_of(net, reference):
    """A reference whose frames are rows of numbers."""
    signal = net.builder.signal(reference)
    return reference if len(signal.features) == 1 else net.add(Reshape, reference, features=(signal.width,))


def joined(net, parts, axis):
    """Slots one after the other along an axis of numbers."""
    parts = [slots_of(net, p) for p in parts]
    first = parts[0]
    position = axis % len(first.axes)
    others = lambda p: [n for k, n in enumerate(p.places.shape) if k != position]
    for p in parts[1:]:
        if (
            p.axes != first.axes
            or others(p) != others(first)
            or (p.clock and p.clock[1:]) != (first.clock and first.clock[1:])
        ):
            raise UnsupportedModelError(
                "the tensors cannot be joined", found=", ".join(map(str, parts[:4])), expected="one shape"
            )
    if first.axes[position] != "n":
        raise UnsupportedModelError(
            "tensors cannot be joined along batch or time", found=", ".join(map(str, parts[:4]))
        )
    starts = np.concatenate([[0], np.cumsum([sum(p.widths) for p in parts])])
    places = np.concatenate([p.places + start for p, start in zip(parts, starts)], position)
    made = replace(
        first,
        references=tuple(r for p in parts for r in p.references),
        widths=tuple(w for p in parts for w in p.widths),
        root=object(),
    )
    return made.seen(first.axes, places)


def timeless(net, x):
    """Slots of a fixed number of frames with time as one more axis of numbers; LengthError of any number."""
    length, time = net.builder.signal(x.references[0]).length, x.axes.index("t")
    if length is None:
        raise LengthError(
            "time can be merged with the axes of a frame only where the number of frames is fixed",
            found=str(x),
            fix=net.advice["length"],
        )
    count = length * x.places.size
    if count > _MOST:
        raise UnsupportedModelError(
            "a sequence has too many numbers to be followed one by one",
            expected=f"at most {_MOST:,}",
            found=f"{count:,}",
        )
    places = np.arange(count).reshape(length, *x.places.shape)
    net.stilled = True
    places = np.moveaxis(places, 0, time).squeeze(time + 1)
    axes = tuple("n" if a == "t" else a for a in x.axes)
    return Slots(axes, places, (net.add(Flatten, picked(net, x)),), (places.size,), root=x.root)
