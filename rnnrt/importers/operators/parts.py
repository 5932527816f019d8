"""Operators that take parts of a tensor: items, slices, splits. What would cut the batch, or cut time where
that depends on the number of frames, is refused.
"""

from __future__ import annotations

import dataclasses

from ...errors import ShapeError, UnsupportedModelError
from ...layers import Conv1D, ConvTranspose1D, Crop1D, First, Last, Reshape, Reverse, Select
from ..axes.sizes import Size
from ..axes.values import AxesError, LengthError, RowEnds, RowNumbers, StateInput, Tensor, Zeros
from .moves import unsqueeze
from .recurrence import at_ends
from .table import operator


@operator("item", ids=True, items=True, truth="kept")
def item(net, x, index):
    """``x[index]`` of a tensor, a tuple of results, a size or a state, as NumPy indexes."""
    if isinstance(x, StateInput):
        bounds = (index.start, index.stop, index.step) if isinstance(index, slice) else (index,)
        if all(isinstance(n, int) or (n is None and isinstance(index, slice)) for n in bounds):
            return dataclasses.replace(x, path=(*x.path, index))
        raise UnsupportedModelError(f"part of the state {x.name!r} cannot be taken", found=str(index))
    if isinstance(x, (tuple, list, dict)):
        try:
            return x[index]
        except (LookupError, TypeError) as error:
            raise UnsupportedModelError("there is no such item", found=str(index)) from error
    if not isinstance(x, Tensor):
        raise UnsupportedModelError("cannot be indexed", found=str(x))
    index = index if isinstance(index, tuple) else (index,)
    if any(isinstance(part, (RowEnds, RowNumbers)) for part in index):
        return _each_rows_last(net, x, index)
    if any(not isinstance(i, (int, slice, type(None), type(...))) or isinstance(i, bool) for i in index):
        raise UnsupportedModelError("an index must be made of numbers and slices", found=str(index))
    named = sum(i is not None and i is not ... for i in index)
    if named > len(x.axes) or index.count(...) > 1:
        raise AxesError("too many indices", found=f"{index} of {x}")
    if ... not in index:
        index += (...,)
    place = index.index(...)
    index = index[:place] + (slice(None),) * (len(x.axes) - named) + index[place + 1 :]
    position = 0
    for part in index:
        if part is None:
            x = unsqueeze(net, x, position)
            position += 1
        elif isinstance(part, int):
            x = select(net, x, position, part)
        else:
            x = slice_(net, x, position, part.start, part.stop, 1 if part.step is None else part.step)
            position += 1
    return x


def _each_rows_last(net, x, index):
    """x[rows, lengths - 1], or x[lengths - 1, rows] with time first."""
    kinds = {RowNumbers: "b", RowEnds: "t"}
    letters = tuple(kinds.get(type(part)) for part in index)
    rest = [part for part, letter in zip(index, letters) if letter is None]
    fits = sorted(map(str, letters[:2])) == ["b", "t"] and x.axes[:2] == letters[:2]
    if not fits or any(part is not ... and part != slice(None) for part in rest):
        raise UnsupportedModelError(
            "only the last frame of each row can be taken so",
            expected="x[arange(x.size(0)), lengths - 1]",
            found=f"index {', '.join(map(str, index))} of {x}",
        )
    return at_ends(net, x, next(part for part in index if isinstance(part, RowEnds)))


@operator(ids=True, truth="kept")
def select(net, x, axis, index):
    """One item of an axis, which is gone from the result."""
    if isinstance(x, StateInput) and axis == 0:
        return item(net, x, index)
    position = net.axis(x, axis)
    axis, others = x.axes[position], x.axes[:position] + x.axes[position + 1 :]
    if isinstance(index, bool) or not isinstance(index, int):
        raise UnsupportedModelError("an index must be a number", found=str(index))
    if axis == "t":
        net.whole(x)
        away = index if index >= 0 else -1 - index  # frames between it and the end it is counted from
        reference = x.reference
        if away:
            ends = {"before": away} if index >= 0 else {"after": away}
            reference = net.add(Crop1D, reference, **ends)
        reference = net.add(First if index >= 0 else Last, reference)
        return dataclasses.replace(x, references=(reference,), axes=others, clock=None)
    sizes = {"f": net.signal(x).width, "s": len(x.references), "1": 1}
    if axis not in sizes:
        raise UnsupportedModelError("one sequence of a batch cannot be taken", found=f"index {index} of {x}")
    if not -sizes[axis] <= index < sizes[axis]:
        raise UnsupportedModelError(
            "the index is out of range", expected=f"below {sizes[axis]}", found=str(index)
        )
    if axis == "s":
        return x.view(others, (x.references[index],))
    if axis == "f":
        picked = net.add(Select, x.reference, index=(index % sizes[axis],))
        return x.view(others, (net.add(Reshape, picked, features=()),))
    return x.view(others)


@operator("slice", ids=True, truth="kept")
def slice_(net, x, axis=0, start=None, end=None, step=1):
    """The items of an axis from ``start`` up to ``end``."""
    if isinstance(x, StateInput) and axis == 0:
        return item(net, x, slice(start, end, None if step == 1 else step))
    if isinstance(x, Zeros):
        return _of_zeros(x, axis, slice(start, end, step))
    position = net.axis(x, axis)
    axis = x.axes[position]
    ends = end is None or end == net.sizes(x)[position] or end == (1 << 63) - 1
    if start in (None, 0) and ends and step == 1:
        return x
    if axis == "t" and start in (None, 0) and step == 1 and isinstance(end, Size):
        return _cut(net, x, end)
    if any(not isinstance(n, (int, type(None))) for n in (start, end, step)):
        raise UnsupportedModelError("a slice must be made of numbers", found=f"{start}:{end}:{step}")
    if (
        axis == "t"
        and step == 1
        and (end or 0) < 0 <= (start or 0)
        and _may_shorten(net, x, -end, start or 0)
    ):
        return _shortened(net, x, -end, start or 0)
    if axis == "t" and start == -1 and ends and step == 1:
        last = select(net, x, position, -1)
        return unsqueeze(net, last, position)
    if axis == "t":
        return _cropped(net, x, start or 0, None if ends else end, step)
    if axis not in "fs1":
        raise UnsupportedModelError(
            "part of the batch axis cannot be taken", found=f"{start}:{end}:{step} of {x}"
        )
    kept = range(net.sizes(x)[position])[slice(start, end, step)]
    if not kept:
        raise ShapeError(
            "the slice is empty", expected=f"a part of {net.sizes(x)[position]}", found=f"{start}:{end}"
        )
    if axis == "s":
        return x.view(references=tuple(x.references[k] for k in kept))
    if axis == "1":
        return x
    return x.view(references=(net.add(Select, x.reference, index=tuple(kept)),))


def _of_zeros(x, axis, part):
    """Part of an axis of zeros."""
    size, place = x.shape[axis], axis % len(x.shape)
    if not isinstance(size, int):
        raise UnsupportedModelError("part of the batch axis cannot be taken", found=f"{part} of {x}")
    return Zeros((*x.shape[:place], len(range(size)[part]), *x.shape[place + 1 :]))


def _cropped(net, x, start, end, step):
    """x[:, start:end:step]. From the first frames on, or up to the last: of any number of frames; else of a
    fixed one.
    """
    net.whole(x)
    length = net.signal(x).length
    if step < 1:
        raise UnsupportedModelError("a step over time must be above 0", found=str(step))
    if start < 0 or (end is not None and end > 0):
        if length is None:
            raise LengthError(
                "this part of time needs a fixed number of frames",
                found=f"[{start}:{'' if end is None else end}] of {x}",
                fix=net.advice["length"],
            )
        start, end, _ = slice(start, end).indices(length)
        end = end - length or None
        if start - (end or 0) >= length:
            raise ShapeError("the slice is empty", expected=f"a part of {length} frames")
    elif end == 0:
        raise ShapeError("the slice is empty", found=f"[{start}:0]")
    if not start and end is None and step == 1:
        return x
    reference = net.add(Crop1D, x.reference, before=start, after=-(end or 0), stride=step)
    return net.tensor(reference, x.axes, net.after(x.clock, reference))


def _cut(net, x, end):
    """x[:, :y.size(1)], y a tensor that never has more frames than x, as before a convolution padded on both
    sides.
    """
    clock = end.axes[0][1] if len(end.axes) == 1 and end.number == 1 and end.axes[0] != "b" else None
    if (
        clock is None
        or clock._replace(span=1) != x.clock._replace(span=1, longest=False)
        or not clock.stride
        or (clock.span - x.clock.span) % clock.stride
    ):
        raise UnsupportedModelError(
            "frames can be cut off only down to those of a tensor before", found=str(x)
        )
    more = (clock.span - x.clock.span) // clock.stride
    if more <= 0:
        return x
    return _shortened(net, x, more) if _may_shorten(net, x, more, 0) else _cropped(net, x, 0, -more, 1)


def _may_shorten(net, x, frames, start):
    """Whether the layer that made ``x`` can leave frames out by its own padding."""
    layer = net.layer(x)
    if isinstance(layer, ConvTranspose1D):
        return True
    return (
        isinstance(layer, Conv1D)
        and not start
        and layer.stride == 1
        and layer.padding != "same"
        and layer.padding[1] >= frames
    )


def _shortened(net, x, frames, start=0):
    """x[:, start:-frames] of a convolution that was padded on both sides: the same convolution with less
    padding on the right; or of a transposed one, which cuts off more.
    """
    layer = net.layer(x)
    fields = {f.name: getattr(layer, f.name) for f in dataclasses.fields(layer)}
    left, right = layer.padding
    transposed = isinstance(layer, ConvTranspose1D)
    fields["padding"] = (left + start, right + frames) if transposed else (left, right - frames)
    reference = net.builder.add(type(layer), fields.pop("name"), *fields.pop("inputs"), **fields)
    return dataclasses.replace(x, references=(reference,), clock=net.after(net.clocks[layer.name], reference))


@operator(ids=True, truth="kept")
def narrow(net, x, axis, start, length):
    """``length`` items of an axis, the first of them ``start``."""
    start = start % _width(net, x, axis)
    return slice_(net, x, axis, start, start + length)


@operator(ids=True, truth="kept")
def chunk(net, x, parts, axis=0):
    """An axis as a tuple of ``parts`` equal pieces, the last of them smaller where it must."""
    return split(net, x, -(-_width(net, x, axis) // parts), axis)


@operator(ids=True, truth="kept")
def split(net, x, sizes, axis=0):
    """An axis as a tuple of pieces: their sizes, or one size for all but the last."""
    width = _width(net, x, axis)
    if isinstance(sizes, int):
        sizes = [min(sizes, width - start) for start in range(0, width, sizes)]
    if sum(sizes) != width:
        raise UnsupportedModelError(
            "the parts do not make up the axis", expected=str(width), found=str(sizes)
        )
    starts = [sum(sizes[:k]) for k in range(len(sizes))]
    return tuple(slice_(net, x, axis, start, start + n) for start, n in zip(starts, sizes))


def _width(net, x, axis):
    if isinstance(x, Zeros) and isinstance(x.shape[axis], int):
        return x.shape[axis]
    position = net.axis(x, axis)
    if x.axes[position] == "t" and net.signal(x).length is not None:
        return net.signal(x).length
    if x.axes[position] == "t":
        raise LengthError(
            "time can be split only where its length is fixed", found=str(x), fix=net.advice["length"]
        )
    if x.axes[position] not in ("f", "s"):
        raise UnsupportedModelError("only features and time can be split", found=f"axis {axis} of {x}")
    return net.sizes(x)[position]


@operator(ids=True, truth="kept")
def unbind(net, x, axis=0):
    """The items of an axis, as a tuple."""
    return tuple(select(net, x, axis, k) for k in range(_width(net, x, axis)))


@operator(ids=True, truth="kept")
def flip(net, x, axes):
    """One axis in reverse order."""
    (position,) = [net.axis(x, d) for d in axes]
    if x.axes[position] == "f":
        order = tuple(reversed(range(net.signal(x).width)))
        return net.tensor(net.add(Select, x.reference, index=order), x.axes, x.clock)
    if x.axes[position] != "t":
        raise UnsupportedModelError("only time or features can be flipped", found=str(x))
    net.whole(x)
    return net.tensor(net.add(Reverse, x.reference), x.axes, x.clock)
