"""Operators on the axes of Slots, frames of several axes: moving, dropping, picking and joining them. Most
are NumPy's own, on the places that numbers have.

What each registers stands for the operator of its name where that is given Slots (table.py).
"""

from __future__ import annotations

from math import prod

import numpy as np

from ...errors import ShapeError, UnsupportedModelError
from ...layers import First, Last
from ..axes import slot_shapes, slots
from ..axes.sizes import Size
from ..axes.slots import Slots, slots_of
from ..axes.values import AxesError, Tensor
from .table import APART, apply


def axis_of(x, dim):
    if isinstance(dim, bool) or not isinstance(dim, int) or not -len(x.axes) <= dim < len(x.axes):
        raise AxesError(f"dim must be a number of an axis of {x}", found=str(dim))
    return dim % len(x.axes)


def _permute(net, x, order):
    places = [axis_of(x, d) for d in order]
    if sorted(places) != list(range(len(x.axes))):
        raise UnsupportedModelError("an order of axes must name every axis once", found=str(order))
    return x.seen([x.axes[k] for k in places], x.places.transpose(places))


def _transpose(net, x, first, second):
    order = list(range(len(x.axes)))
    first, second = axis_of(x, first), axis_of(x, second)
    order[first], order[second] = second, first
    return _permute(net, x, order)


def move_axis(net, x, source, destination):
    order = list(range(len(x.axes)))
    order.insert(axis_of(x, destination), order.pop(axis_of(x, source)))
    return _permute(net, x, order)


def unsqueeze(net, x, axis):
    place = axis % (len(x.axes) + 1)
    return x.seen((*x.axes[:place], "n", *x.axes[place:]), np.expand_dims(x.places, place))


def _squeeze(net, x, axes=None):
    if "t" in x.axes and net.builder.signal(x.references[0]).length == 1:
        x = slots.timeless(net, x)
    if axes is None:
        net.keep_ones()
        axes = [k for k, a in enumerate(x.axes) if a == "n"]
    for place in sorted(
        {axis_of(x, d) for d in (axes if isinstance(axes, (tuple, list)) else [axes])}, reverse=True
    ):
        if x.axes[place] != "n":
            raise UnsupportedModelError("squeeze of batch or time depends on its size", found=str(x))
        if x.places.shape[place] == 1:
            x = x.seen(x.axes[:place] + x.axes[place + 1 :], x.places.squeeze(place))
    return x


def _shape(net, x, axis=None):
    sizes = tuple(x.sizes)
    if net.known and "t" in x.axes:
        length = net.builder.signal(x.references[0]).length
        sizes = tuple(length or n if a == "t" else n for a, n in zip(x.axes, sizes))
    return sizes if axis is None else sizes[axis_of(x, axis)]


def _flatten(net, x, first=0, last=-1):
    first, last = axis_of(x, first), axis_of(x, last)
    sizes = x.sizes
    merged = [n for n in sizes[first : last + 1] if n != 1]
    if len(merged) > 1 and "b" in x.axes[first : last + 1]:
        raise UnsupportedModelError(
            "the batch cannot be merged with the axes of frames",
            found=str(x),
            fix="Leave the first axis as it is: flatten(1) or flatten(2).",
        )
    if len(merged) > 1 and "t" in x.axes[first : last + 1]:
        return _flatten(net, slots.timeless(net, x), first, last)
    size = merged[0] if len(merged) == 1 else prod(merged)
    return slot_shapes.reshaped(net, x, (*sizes[:first], size, *sizes[last + 1 :]))


def _unflatten(net, x, axis, sizes):
    place, own = axis_of(x, axis), x.sizes
    return slot_shapes.reshaped(net, x, (*own[:place], *sizes, *own[place + 1 :]))


def _select(net, x, axis, index):
    place = axis_of(x, axis)
    plain = isinstance(index, int) and not isinstance(index, bool)
    if x.axes[place] == "t" and plain and index in (0, -1):
        reference = net.add(Last if index else First, slots.picked(net, x))
        axes = x.axes[:place] + x.axes[place + 1 :]
        places = np.arange(x.places.size).reshape(x.places.squeeze(place).shape)
        return Slots(axes, places, (reference,), (places.size,))
    if x.axes[place] != "n" or not plain or not -x.places.shape[place] <= index < x.places.shape[place]:
        raise UnsupportedModelError("this item cannot be taken", found=f"{index} of axis {axis} of {x}")
    return x.seen(x.axes[:place] + x.axes[place + 1 :], x.places.take(index, place))


def _slice(net, x, axis=0, start=None, end=None, step=1):
    place = axis_of(x, axis)
    ends = end is None or end == x.sizes[place] or end == (1 << 63) - 1
    if start in (None, 0) and ends and step in (None, 1):
        return x
    plain = slots.tensor_of(net, x) if x.axes[place] == "t" and x.axes.count("n") < 2 else None
    if plain is not None:
        return apply(net, "slice", x=plain, axis=axis, start=start, end=end, step=step or 1)
    if x.axes[place] == "t":
        row = Tensor((slots.picked(net, x),), ("b", "t", "f"), x.clock)
        made = apply(net, "slice", x=row, axis=1, start=start, end=end, step=step or 1)
        places = np.arange(x.places.size).reshape(x.places.shape)
        return Slots(x.axes, places, made.references, (places.size,), made.clock, made.root)
    if x.axes[place] != "n" or any(not isinstance(n, (int, type(None))) for n in (start, end, step)):
        raise UnsupportedModelError(
            "of frames of several axes only parts of these axes can be taken",
            found=f"{start}:{end}:{step} of axis {axis} of {x}",
        )
    kept = range(x.places.shape[place])[slice(start, end, step)]
    if not kept:
        raise ShapeError("the slice is empty", found=f"{start}:{end}:{step} of axis {axis} of {x}")
    return x.seen(x.axes, x.places.take(list(kept), place))


def _split(net, x, sizes, axis=0):
    place = axis_of(x, axis)
    width = x.places.shape[place]
    if isinstance(sizes, int):
        sizes = [min(sizes, width - start) for start in range(0, width, sizes)]
    if x.axes[place] != "n" or sum(sizes) != width:
        raise UnsupportedModelError(
            "the parts do not make up the axis", expected=str(width), found=str(sizes)
        )
    starts = [sum(sizes[:k]) for k in range(len(sizes))]
    return tuple(_slice(net, x, place, start, start + n) for start, n in zip(starts, sizes))


def _chunk(net, x, parts, axis=0):
    return _split(net, x, -(-x.places.shape[axis_of(x, axis)] // parts), axis)


def _item(net, x, index):
    index = index if isinstance(index, tuple) else (index,)
    named = sum(i is not None and i is not ... for i in index)
    if named > len(x.axes) or index.count(...) > 1:
        raise AxesError("too many indices", found=f"{index} of {x}")
    index = index if ... in index else (*index, ...)
    k, place = index.index(...), 0
    for part in index[:k] + (slice(None),) * (len(x.axes) - named) + index[k + 1 :]:
        if isinstance(part, slice):
            x = _slice(net, x, place, part.start, part.stop, part.step)
        else:
            x = unsqueeze(net, x, place) if part is None else _select(net, x, place, part)
        place += not isinstance(part, int)
    return x


def _expand(net, x, shape):
    """Numbers are copied along their axes; batch and time stay as they are, and what has no time is joined
    with frames as it is.
    """
    sizes = [own if n == -1 else n for own, n in zip(x.places.shape, shape)]
    sizes = [own if isinstance(n, Size) else n for own, n in zip(x.places.shape, sizes)]
    if len(shape) != len(x.axes) or any(
        n not in (own, x.sizes[k]) and (a != "n" or own != 1)
        for k, (a, own, n) in enumerate(zip(x.axes, x.places.shape, sizes))
    ):
        raise UnsupportedModelError(
            "only axes of size one can be expanded, none be added", expected=str(shape), found=str(x)
        )
    return x.seen(x.axes, np.broadcast_to(x.places, sizes))


def _expand_as(net, x, other):
    return _expand(net, slots_of(net, x), slots_of(net, other).sizes)


def _repeat_each(net, x, times, axis):
    place = axis_of(x, axis)
    if isinstance(times, bool) or not isinstance(times, int) or times < 1 or x.axes[place] == "b":
        raise UnsupportedModelError("this axis cannot be repeated", found=f"{times} times axis {axis} of {x}")
    if x.axes[place] == "n":
        return x.seen(x.axes, np.repeat(x.places, times, place))
    row = Tensor((slots.picked(net, x),), ("b", "f", "t"), x.clock)
    made = apply(net, "repeat_frames", x=row, times=times)
    places = np.arange(x.places.size).reshape(x.places.shape)
    return Slots(x.axes, places, (made.reference,), (places.size,), made.clock, made.root)


def _concat(net, tensors, axis=0):
    tensors = [slots_of(net, x) for x in tensors]
    if any(x.axes[axis_of(x, axis)] == "t" for x in tensors):
        tensors = [slots.tensor_of(net, x) or x for x in tensors]
        if not any(isinstance(x, Slots) for x in tensors):
            return apply(net, "concat", tensors=tensors, axis=axis)
    return slots.joined(net, tensors, axis)


# ---- the table ---------------------------------------------------------------------------------------------

APART |= {
    "permute": _permute,
    "transpose": _transpose,
    "move_axis": move_axis,
    "unsqueeze": unsqueeze,
    "squeeze": _squeeze,
    "reshape": slot_shapes.reshaped,
    "flatten": _flatten,
    "unflatten": _unflatten,
    "repeat_each": _repeat_each,
    "expand": _expand,
    "expand_as": _expand_as,
    "shape": _shape,
    "rank": lambda net, x: len(x.axes),
    "select": _select,
    "slice": _slice,
    "split": _split,
    "chunk": _chunk,
    "item": _item,
    "concat": _concat,
    "identity": lambda net, x: x,
}
