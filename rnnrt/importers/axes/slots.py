"""Frames of several axes: a tensor as an array of numbers picked one by one.

A graph keeps a frame as a row of numbers; a program may give it several axes (states of several layers in one
tensor, a stack, heads) and move them about. Such a tensor is an array of places: which number of which
references stands there. Moving axes, slicing and joining are then NumPy's own; what has one axis left is an
ordinary Tensor again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from ...errors import UnsupportedModelError
from ...layers import Concatenate, ConvTranspose1D, Flatten, Reshape, Select, Unflatten
from .values import AxesError, Clock, LengthError, Shifted, Size, Tensor

#: Numbers in a frame of several axes.
_MOST = 1 << 22


@dataclass(frozen=True, eq=False)
class Slots:
    """``axes``: "b", "t", "bt" or "tb" where both are merged, or "n" for an axis of numbers. ``places``: an
    array with those axes, of size one but where they are "n": positions among the numbers of ``references``
    side by side, ``widths`` of each.
    """

    axes: tuple[str, ...]
    places: np.ndarray
    references: tuple[str, ...]
    widths: tuple[int, ...]
    clock: Clock | None = None
    root: object = field(default_factory=object, repr=False)  # the storage, which views share

    def __str__(self):
        words = {"b": "batch", "t": "time", "bt": "batch * time", "tb": "time * batch"}
        return "(" + ", ".join(words.get(a) or str(n) for a, n in zip(self.axes, self.places.shape)) + ")"

    @property
    def long(self):
        """How many axes of numbers are longer than one."""
        return sum(a == "n" and n > 1 for a, n in zip(self.axes, self.places.shape))

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
    if len(long) > 1:
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


def reshaped(net, x, shape):
    """Another shape: numbers and Sizes, one of them may be -1; batch and time keep their places in the
    order. Time may become numbers, where the number of frames is fixed.
    """
    shape = [n.settled() if isinstance(n, Shifted) else n for n in shape]
    x, shape = _risen(net, apart(x), shape)
    if (merged := _merged(net, x, shape)) is not None:
        return merged
    if (rows := _rows(net, x, shape)) is not None:
        return rows
    try:
        return _reshaped(net, x, shape)
    except UnsupportedModelError as error:
        timed = any(isinstance(n, Size) and any(a != "b" for a in n.axes) for n in shape)
        if "t" not in x.axes or timed:
            raise
        if net.builder.signal(x.references[0]).length is None:
            raise LengthError(error.what, found=error.found, fix=error.fix) from None
    return _reshaped(net, timeless(net, x), shape)


def _risen(net, x, shape):
    """(Slots, shape) where the numbers behind time have become frames, if ``shape`` merges them with it: of
    each frame as many, one after the other.
    """
    timed = [k for k, n in enumerate(shape) if isinstance(n, Size) and n.axes == (("t", x.clock),)]
    if "t" not in x.axes or len(timed) != 1 or (times := shape[timed[0]].number) < 2:
        return x, shape
    time = x.axes.index("t")
    behind = time + 1
    while behind < len(x.axes) and x.axes[behind] == "n" and prod(x.places.shape[time:behind]) < times:
        behind += 1
    if prod(x.places.shape[time:behind]) != times:
        return x, shape
    others = (*x.places.shape[: time + 1], *x.places.shape[behind:])
    parts = np.moveaxis(x.places.reshape(*others[: time + 1], times, *others[time + 1 :]), time + 1, 0)
    axes, width = x.axes[: time + 1] + x.axes[behind:], parts[0].size
    if (parts == parts[:1]).all():  # copies
        row, taps, groups = x.seen(axes, parts[0]), np.ones((width, times, 1)), width
    else:  # frame by frame the first ``width`` numbers, then the next
        if width * width * times * times > _MOST:
            raise UnsupportedModelError("so many numbers of a frame cannot become frames", found=str(x))
        row, groups = x.seen(("b", "t", "n"), parts.reshape(1, 1, -1)), 1
        taps = np.eye(width * times).reshape(times, width, times * width).transpose(1, 0, 2)
    reference = net.add(ConvTranspose1D, picked(net, row), weight=taps, stride=times, groups=groups)
    clock = net.after(x.clock, reference)
    net.sequences.setdefault(clock, reference)
    made = Slots(axes, np.arange(width).reshape(others), (reference,), (width,), clock, x.root)
    return made, [Size((("t", clock),)) if k == timed[0] else n for k, n in enumerate(shape)]


def apart(x):
    """Slots whose batch and time are two axes."""
    for k, a in enumerate(x.axes):
        if len(a) > 1:
            return x.seen((*x.axes[:k], *a, *x.axes[k + 1 :]), np.expand_dims(x.places, k + 1))
    return x


def _merged(net, x, shape):
    """Batch and time as one axis in front of all numbers, None of another shape."""
    lead, count = x.axes[:2], x.places.size
    if {*lead} != {"b", "t"} or len(shape) < 2:
        return None
    rest = list(shape[1:])
    if any(isinstance(n, Size) for n in rest) or rest.count(-1) > 1 or (rest.count(-1) and shape[0] == -1):
        return None
    known = int(np.prod([n for n in rest if n != -1]))
    if -1 in rest:
        if not known or count % known:
            return None
        rest[rest.index(-1)] = count // known
    both = [Size(("b",)) * Size((("t", x.clock),)), Size((("t", x.clock),)) * Size(("b",))]
    length = net.builder.signal(x.references[0]).length
    if length is not None:
        both += [Size(("b",), length)] + ([net.batch * length] if net.batch is not None else [])
    if int(np.prod(rest)) != count or shape[0] != -1 and shape[0] not in both:
        return None
    if len(rest) == 1:
        return Tensor((picked(net, x),), ("".join(lead), "f"), x.clock, root=x.root)
    return x.seen(("".join(lead), *"n" * len(rest)), x.places.reshape(1, *rest))


def _rows(net, x, shape):
    """The batch merged with numbers in front of others: these become frames, each of which is a row. None of
    another shape.
    """
    if x.axes[:2] == ("n", "b") and len(shape) > 2 and shape[0] == x.places.shape[0]:
        turned = x.seen((*x.axes[1:], "n"), np.moveaxis(x.places, 0, -1))
        made = _rows(net, turned, (*shape[1:], shape[0]))
        if not isinstance(made, Slots):
            return None
        return made.seen(("n", *made.axes[:-1]), np.moveaxis(made.places, -1, 0))
    rest = list(shape[1:])
    if x.axes[:1] != ("b",) or "t" in x.axes or len(rest) < 1 or any(not isinstance(n, int) for n in rest):
        return None
    count, head = x.places.size, shape[0]
    times = head.number if isinstance(head, Size) and head.axes == ("b",) else None
    times = head // net.batch if isinstance(head, int) and net.batch and head > 0 else times
    if -1 in rest:
        known = int(np.prod([n for n in rest if n != -1])) * (times or 0)
        if rest.count(-1) > 1 or not known or count % known:
            return None
        rest[rest.index(-1)] = count // known
    known = int(np.prod(rest))
    if known < 1 or count % known or count == known or times not in (None, count // known):
        return None
    if times is None and head != -1:
        return None
    length = count // known
    reference = net.add(Unflatten, picked(net, x), length=length)
    clock = Clock("", length, 0)
    net.sequences.setdefault(clock, reference)
    net.stilled = True
    if len(rest) == 1:
        return Tensor((reference,), ("bt", "f"), clock, root=x.root)
    places = np.arange(known).reshape(1, *rest)
    return Slots(("bt", *"n" * len(rest)), places, (reference,), (known,), clock, x.root)


def _reshaped(net, x, shape):
    sizes = {"b": Size(("b",)), "t": Size((("t", x.clock),))}
    kept = [a for a in x.axes if a != "n"]
    axes, target = [], []
    fixed = {"b": net.batch, "t": net.builder.signal(x.references[0]).length}
    for n in shape:
        letter = next((a for a in kept if n == sizes[a]), None)
        here = kept[0] if kept and len(axes) == x.axes.index(kept[0]) else None
        if letter is None and here and not isinstance(n, Size):
            letter = here if n == fixed[here] or here == "b" and n == -1 and not axes else None
        if letter:
            kept.remove(letter)
        axes.append(letter or "n")
        target.append(1 if letter else n)
    if any(isinstance(n, Size) for n in target):
        raise _kept_apart(net, x, shape)
    count = x.places.size
    if target.count(-1) == 1:
        rest = int(np.prod([n for n in target if n != -1]))
        if len(kept) == 1 and rest == count:  # the numbers say all but that axis
            axes[target.index(-1)], kept, rest = kept[0], [], count
        if not rest or count % rest:
            raise _kept_apart(net, x)
        target[target.index(-1)] = count // rest
    if kept or int(np.prod(target)) != count or not _in_order(x, axes, target):
        raise _kept_apart(net, x)
    return x.seen(axes, x.places.reshape(target))


def _in_order(x, axes, target):
    """Whether batch and time stand between the same numbers as before."""
    return _places(x.axes, x.places.shape) == _places(axes, target)


def _places(axes, sizes):
    """(axis, how many numbers an item of the axes before it counts) of batch and time."""
    return [(a, int(np.prod(sizes[:k]))) for k, a in enumerate(axes) if a != "n"]


def _kept_apart(net, x, shape=()):
    several = any(isinstance(n, Size) and n.axes == ("b",) and n.number > 1 for n in shape[:1])
    return UnsupportedModelError(
        "rows of which each row of the batch makes several (its bands, its channels) are not read here"
        if several
        else "this shape does not keep batch, time and features apart, or holds batch or time as a constant",
        found=str(x),
        fix="Import what reads one of them, and call it for each: they are rows of a batch to it."
        if several
        else net.advice["sizes"],
    )
