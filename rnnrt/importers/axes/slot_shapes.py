"""Reshapes of frames of several axes: batch and time keep their places among the numbers, or are one axis
with their neighbours.
"""

from __future__ import annotations

from math import prod

import numpy as np

from ...errors import UnsupportedModelError
from ...layers import ConvTranspose1D
from .sizes import Shifted, Size
from .slots import Slots, picked, timeless
from .values import LengthError, Tensor

#: Numbers that a frame's becoming frames may multiply.
_MOST = 1 << 22


def reshaped(net, x, shape):
    """Another shape: numbers and Sizes, one of them may be -1; batch and time keep their places in the
    order. Time may become numbers, where the number of frames is fixed.
    """
    shape = [n.settled() if isinstance(n, Shifted) else n for n in shape]
    if any(len(a) > 1 for a in x.axes):
        try:
            return _reshaped(net, x, shape)
        except UnsupportedModelError:
            x = apart(x)
    x, shape = _risen(net, x, shape)
    if (folded := _folded(net, x, shape)) is not None:
        return folded
    if (merged := _merged(net, x, shape)) is not None:
        return merged
    try:
        return _reshaped(net, x, shape)
    except UnsupportedModelError as error:
        timed = any(isinstance(n, Size) and any(a != "b" for a in n.axes) for n in shape)
        if "t" not in x.axes or timed:
            raise
        if net.builder.signal(x.references[0]).length is None:
            raise LengthError(error.what, found=error.found, fix=error.fix) from None
    x = timeless(net, x)
    return _folded(net, x, shape) or _reshaped(net, x, shape)


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
    """Slots whose batch and time, or one of them and numbers, are two axes."""
    for k, a in enumerate(x.axes):
        if len(a) > 1:
            return x.seen((*x.axes[:k], *a, *x.axes[k + 1 :]), np.expand_dims(x.places, k + (a[0] == "n")))
    return x


def _folded(net, x, shape):
    """Another shape in which the batch and the numbers beside it are one axis; None of one that has none."""
    if "b" not in x.axes:
        return None
    for times, wanted in _times(net, x, shape):
        for made in _folds(x, times):
            try:
                return _reshaped(net, made, wanted)
            except UnsupportedModelError:
                continue
    return None


def _folds(x, times):
    """Slots whose batch and ``times`` of the numbers behind it, or in front, are one axis."""
    rows = x.axes.index("b")
    first, last = rows, rows + 1
    while first and x.axes[first - 1] == "n":
        first -= 1
    while last < len(x.axes) and x.axes[last] == "n":
        last += 1
    sizes = x.places.shape
    before, behind = prod(sizes[first:rows]), prod(sizes[rows:last])
    if behind % times == 0:
        left = (behind // times,) if behind > times else ()
        shape = (*sizes[:rows], times, *left, *sizes[last:])
        yield x.seen((*x.axes[:rows], "bn", *"n" * len(left), *x.axes[last:]), x.places.reshape(shape))
    if before % times == 0:
        left = (before // times,) if before > times else ()
        shape = (*sizes[:first], *left, times, *sizes[rows + 1 :])
        yield x.seen((*x.axes[:first], *"n" * len(left), "nb", *x.axes[rows + 1 :]), x.places.reshape(shape))


def _times(net, x, shape):
    """(how many rows each row of the batch may make in a shape; the shape with these in it for -1)."""
    sizes = [n for n in shape if isinstance(n, Size)]
    if rows := [n.number for n in sizes if n.axes == ("b",)]:
        yield from ((n, shape) for n in rows if n > 1)
        return
    for n in shape:
        if isinstance(n, int) and net.batch and n > net.batch and n % net.batch == 0:
            yield n // net.batch, shape
    known = prod(n for n in shape if isinstance(n, int) and n != -1)
    timed = [n.number for n in sizes if n.axes == (("t", x.clock),)]
    if list(shape).count(-1) != 1 or timed != [1] * x.axes.count("t") or len(sizes) > 1 or not known:
        return
    times = x.places.size // known
    if times > 1 and times * known == x.places.size:
        yield times, [Size(("b",), times) if n == -1 else n for n in shape]


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


def _reshaped(net, x, shape):
    own = {a: (size, n) for a, size, n in zip(x.axes, x.sizes, x.places.shape) if a != "n"}
    sizes = {a: size for a, (size, _) in own.items()}
    kept, axes, target = list(own), [], []
    fixed = {"b": net.batch, "t": net.builder.signal(x.references[0]).length}
    for a, (_, n) in own.items():
        known = [fixed.get(part) for part in a if part != "n"]
        fixed[a] = None if None in known else prod(known) * n
    for n in shape:
        letter = next((a for a in kept if n == sizes[a]), None)
        here = kept[0] if kept and len(axes) == x.axes.index(kept[0]) else None
        if letter is None and here and not isinstance(n, Size):
            letter = here if n == fixed[here] or "b" in here and n == -1 and not axes else None
        if letter:
            kept.remove(letter)
        axes.append(letter or "n")
        target.append(own[letter][1] if letter else n)
    if any(isinstance(n, Size) for n in target):
        raise _kept_apart(net, x)
    count = x.places.size
    if target.count(-1) == 1:
        rest = int(np.prod([n for n in target if n != -1]))
        if len(kept) == 1 and rest * own[kept[0]][1] == count:  # the numbers say all but that axis
            axes[target.index(-1)], kept = kept[0], []
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


def _kept_apart(net, x):
    return UnsupportedModelError(
        "this shape does not keep batch, time and features apart, or holds batch or time as a constant",
        found=str(x),
        fix=net.advice["sizes"],
    )
