"""Operators that repeat numbers along an axis, or lay tensors one beside the other along a new one."""

from __future__ import annotations

import dataclasses
from math import prod

import numpy as np

from ...errors import UnsupportedModelError
from ...layers import Affine, Concatenate, Expand, NotEqual, Reshape, Select, Unflatten
from ..axes.sizes import Clock, Size
from ..axes.slots import Slots, joined, slots_of, tensor_of
from ..axes.values import AxesError, Constant, Learned, Tensor, Zeros, shown
from .layers import repeat_frames
from .moves import permute
from .table import APART, apply, operator

_MOST = 1 << 20


def _with_as_many_axes(net, x, numbers):
    """``x`` with axes of size one before its own, so that each has its number."""
    x = net.single(x)
    if len(numbers) < len(x.axes):
        raise UnsupportedModelError("too few numbers", expected=f"{len(x.axes)} or more", found=str(numbers))
    return x.view(("1",) * (len(numbers) - len(x.axes)) + x.axes)


@operator(truth="kept")
def expand(net, x, shape):
    """Axes of size one repeated to the sizes of ``shape``; -1 leaves one as it is."""
    if isinstance(x, Constant):
        return _for_every_row(x, shape, expanded=True)
    if isinstance(x, Zeros):
        return Zeros(_expanded(x.shape, tuple(shape)))
    x = _with_as_many_axes(net, x, shape)
    if _further(x, shape, (1, -1)):
        return apply(net, "expand", x=slots_of(net, x), shape=shape)
    for place, wanted in enumerate(shape):
        size = net.sizes(x)[place]
        if wanted == -1 or wanted == size:
            continue
        if size != 1:
            raise UnsupportedModelError(
                "only axes of size one can be expanded", expected=str(size), found=f"{wanted} of {x}"
            )
        x = _repeated(net, x, place, wanted)
    return x


def _expanded(sizes, wanted):
    """The sizes of zeros that are expanded."""
    own = (1,) * (len(wanted) - len(sizes)) + sizes
    if len(own) != len(wanted) or any(n not in (1, size) and size != -1 for n, size in zip(own, wanted)):
        raise UnsupportedModelError(
            "only axes of size one can be expanded", expected=shown(sizes), found=shown(wanted)
        )
    return tuple(n if size == -1 else size for n, size in zip(own, wanted))


@operator(truth="kept")
def expand_as(net, x, other):
    """Axes of size one repeated to the sizes of another tensor."""
    return expand(net, x, tuple(net.sizes(net.single(other))))


@operator(truth="kept")
def tile(net, x, times):
    """Every axis so many times, the numbers in their order again and again."""
    if isinstance(x, Constant):
        return _of_rows_folded(net, x, times) or _for_every_row(x, times, expanded=False)
    x = _with_as_many_axes(net, x, times)
    if _further(x, times, (1,)):
        return _tile_of_slots(net, slots_of(net, x), times)
    for place, count in enumerate(times):
        if count == 1:
            continue
        if x.axes[place] == "f" and isinstance(count, int) and count > 0:
            _few(count * net.signal(x).width)
            index = np.tile(np.arange(net.signal(x).width), count)
            x = net.layered(x, Select, index=tuple(index))
        elif x.axes[place] == "1":
            x = _repeated(net, x, place, count)
        else:
            raise UnsupportedModelError(
                "only features and axes of size one can be repeated", found=f"axis {place} of {x}"
            )
    return x


@operator(truth="kept")
def repeat_each(net, x, times, axis):
    """Every item of an axis ``times`` times, one after the other."""
    place = net.axis(x, axis)
    if len(x.axes) == 4 and x.axes[place] != "1":
        return apply(net, "repeat_each", x=slots_of(net, x), times=times, axis=axis)
    if isinstance(times, bool) or not isinstance(times, int) or times < 1:
        raise UnsupportedModelError("items can be repeated a whole number of times", found=str(times))
    if x.axes[place] == "f":
        _few(times * net.signal(x).width)
        return net.layered(x, Select, index=tuple(np.repeat(np.arange(net.signal(x).width), times)))
    if x.axes[place] == "1":
        return _repeated(net, x, place, times)
    order = ["bft".index(a) for a in x.axes] if sorted(x.axes) == ["b", "f", "t"] else None
    if x.axes[place] != "t" or order is None:
        raise UnsupportedModelError("only features and time can be repeated", found=f"axis {axis} of {x}")
    turned = permute(net, x, [x.axes.index(a) for a in "bft"])
    return permute(net, repeat_frames(net, turned, times), order)


def _further(x, counts, same):
    """Whether a frame gets one more axis of numbers, beside its features."""
    return (
        "t" in x.axes
        and "f" in x.axes
        and any(a == "1" and type(n) is int and n not in same for a, n in zip(x.axes, counts))
    )


def _tile_of_slots(net, x, times):
    """Axes of numbers so many times."""
    if len(times) != len(x.axes) or any(
        n != 1 and (a != "n" or type(n) is not int or n < 1) for a, n in zip(x.axes, times)
    ):
        raise UnsupportedModelError("only axes of a frame can be repeated", found=f"{times} times {x}")
    _few(x.places.size * prod(times))
    return x.seen(x.axes, np.tile(x.places, times))


APART["tile"] = _tile_of_slots


def _few(count):
    if count > _MOST:
        raise UnsupportedModelError("so many copies are not supported", expected=f"at most {_MOST}")


def _repeated(net, x, place, count):
    """``x`` with an axis of size one repeated ``count`` times: a Size of time, or a number, which is the
    features, or frames of their own where there are features and no time.
    """
    axes = lambda axis: x.axes[:place] + (axis,) + x.axes[place + 1 :]
    clock = (
        count.axes[0][1]
        if isinstance(count, Size) and len(count.axes) == 1 and count.axes[0] != "b"
        else None
    )
    if clock is not None and count.number == 1:
        if "t" in x.axes or clock not in net.sequences:
            raise UnsupportedModelError("cannot be repeated over these frames", found=str(x))
        reference = net.add(Expand, net.sequences[clock], x.reference)
        return net.tensor(reference, axes("t"), clock)
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise UnsupportedModelError(
            "an axis of size one can be repeated over the frames of a tensor, or a number of times",
            found=f"{count} of {x}",
        )
    if x.axes[place] == "f":  # one number
        _few(count)
        return net.layered(x, Select, index=(0,) * count)
    if "f" not in x.axes and ("t" in x.axes or place == len(x.axes) - 1):
        _few(count)
        wide = net.add(Select, net.add(Reshape, x.reference, features=(1,)), index=(0,) * count)
        return net.tensor(wide, axes("f"), x.clock)
    if "t" in x.axes:
        raise UnsupportedModelError("a further axis is not supported", found=f"{count} of {x}")
    width = net.signal(x).width
    _few(count * width)
    reference = x.reference if "f" in x.axes else net.add(Reshape, x.reference, features=(1,))
    copies = net.add(Select, reference, index=tuple(np.tile(np.arange(width), count)))
    reference = net.add(Unflatten, copies, length=count)
    if "f" not in x.axes:
        reference = net.add(Reshape, reference, features=())
    return net.tensor(reference, axes("t"), Clock("", count, 0))


def _of_rows_folded(net, x, times):
    """A parameter of several rows, repeated once for every row of the batch, which makes as many; None of
    another.
    """
    rows = [k for k, n in enumerate(times) if n == Size(("b",))]
    shape = (1,) * (len(times) - x.array.ndim) + x.array.shape
    if (
        len(shape) != len(times)
        or len(rows) != 1
        or shape[rows[0]] < 2
        or list(times).count(1) != len(times) - 1
    ):
        return None
    nothing = net.nothing(x.array.size)
    reference = net.add(Affine, nothing, scale=np.zeros(x.array.size), offset=x.array.ravel())
    axes = tuple("bn" if k in rows else "n" for k in range(len(shape)))
    return Slots(axes, np.arange(x.array.size).reshape(shape), (reference,), (x.array.size,))


def _for_every_row(x, sizes, expanded):
    """A parameter the same for every row of the batch: what an initial state may be."""
    shape = (1,) * (len(sizes) - x.array.ndim) + x.array.shape
    batch = None
    for place, (own, wanted) in enumerate(zip(shape, sizes)):
        if wanted == Size(("b",)) and own == 1 and batch is None:
            batch = place
        elif wanted not in ((-1, own) if expanded else (1,)):
            raise UnsupportedModelError(
                "a parameter is repeated otherwise than once for every row of the batch",
                found=f"{shown(tuple(sizes))} times {x.array.shape}",
                fix="Rows of which each row of the batch makes several are not read: import what reads one "
                "of them, and call it for each.",
            )
    return Constant(x.name, x.array) if batch is None else Learned(x.name, x.array.reshape(shape), batch)


@operator()
def full(net, shape, value):
    """A tensor of one number, its sizes numbers and the batch at most."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnsupportedModelError("a tensor can be filled with a number", found=str(value))
    if value == 0:
        return Zeros(tuple(shape))
    rows = [place for place, n in enumerate(shape) if n == Size(("b",))]
    sizes = [1 if place in rows else n for place, n in enumerate(shape)]
    if len(rows) > 1 or not all(isinstance(n, int) for n in sizes):
        raise UnsupportedModelError(
            "a new tensor may have the sizes of a batch, and sizes that are numbers", found=shown(shape)
        )
    array = np.full(sizes, value, np.float32 if isinstance(value, float) else np.int64)
    return Learned("full", array, *rows) if rows else Constant("full", array)


@operator(ids=True)
def full_like(net, x, value):
    """A tensor of one number with the axes and the frames of another."""
    if isinstance(x, Zeros):
        return full(net, x.shape, value)
    if not isinstance(x, Tensor) or isinstance(value, bool) or not isinstance(value, int | float):
        raise UnsupportedModelError("a tensor can be filled with a number", found=f"{value}, as {x}")
    width = net.signal(x).width
    told = net.layered(x, NotEqual)  # a number of every frame that is one, whatever the frame holds
    wide = net.layered(told, Select, index=(0,) * width) if width != 1 else told
    return net.layered(wide, Affine, scale=np.zeros(width), offset=np.full(width, value))


@operator(truth="kept")
def stack(net, tensors, axis=0):
    """Tensors of one shape along a new axis: the first, features of single numbers, or the frames of a
    sequence made of values given once.
    """
    if not tensors or any(not isinstance(x, Tensor) for x in tensors):
        raise UnsupportedModelError("only tensors can be stacked", found=", ".join(map(str, tensors)))
    tensors = [net.single(x) for x in tensors]
    first, rank = tensors[0], len(tensors[0].axes) + 1
    widths = {net.signal(x).width for x in tensors}
    if any(x.axes != first.axes or x.clock != first.clock for x in tensors) or len(widths) > 1:
        raise AxesError("tensors of different shapes cannot be stacked", found=", ".join(map(str, tensors)))
    if isinstance(axis, bool) or not isinstance(axis, int) or not -rank <= axis < rank:
        raise UnsupportedModelError("dim must be a number of an axis of the result", found=str(axis))
    place = axis % rank
    axes = lambda own: first.axes[:place] + (own,) + first.axes[place:]
    if len(tensors) == 1:
        return first.view(axes("1"))
    references = tuple(x.reference for x in tensors)
    if place == 0:
        return dataclasses.replace(first, references=references, axes=axes("s"), root=object())
    if "f" not in first.axes and "1" not in first.axes:
        columns = [net.add(Reshape, r, features=(1,)) for r in references]
        return net.tensor(net.add(Concatenate, *columns), axes("f"), first.clock)
    if "t" in first.axes or "f" not in first.axes or first.axes.count("1"):
        made = joined(net, [apply(net, "unsqueeze", x=slots_of(net, x), axis=place) for x in tensors], place)
        return tensor_of(net, made) or made
    reference = net.add(Unflatten, net.add(Concatenate, *references), length=len(references))
    return net.tensor(reference, axes("t"), Clock("", len(references), 0))
