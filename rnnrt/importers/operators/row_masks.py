"""What programs make of the lengths of rows beside packing: masks, and the last frame of each row.

For a mask the numbers of the frames, 0, 1, 2 ..., are compared with the lengths. Both are given axes of size
one, or are repeated along them, until they have (batch, time) between them; what a comparison makes then is 1
in the frames that a row has, or in those that it has not.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ...errors import UnsupportedModelError
from ...layers import Affine, Embedding, Maximum, NotEqual, Reshape
from ..axes.sizes import Size
from ..axes.values import AxesError, FrameNumbers, Lengths, RowEnds, RowNumbers, Tensor
from .comparisons import logical_not
from .recurrence import add_ended, at_ends, counted_on, counting
from .table import OF_COUNTS, apply, operator


@operator()
def frame_numbers(net, bounds):
    """0, 1, 2 ... of every frame of a sequence, or of every row; ``bounds``: how many, or 0 and that."""
    start, size = (0, *bounds) if len(bounds) == 1 else bounds[:2]
    if start == 0 and size == Size(("b",)):
        return RowNumbers()
    frames = size.axes if isinstance(size, Size) and size.number == 1 else ()
    if start != 0 or bounds[2:] not in ((), (1,)) or len(frames) != 1 or frames[0] == "b":
        raise UnsupportedModelError(
            "only the numbers of a sequence's frames are supported",
            expected="arange(x.size(1))",
            found=f"arange({', '.join(map(str, bounds))})",
        )
    return FrameNumbers(frames[0][1])


# ---- axes of size one, and copies along them ---------------------------------------------------------------


def _unsqueeze(net, x, axis):
    place = axis % (len(x.axes) + 1)
    return dataclasses.replace(x, axes=(*x.axes[:place], "1", *x.axes[place:]))


def _item(net, x, index):
    index = index if isinstance(index, tuple) else (index,)
    axes, own = [], list(x.axes)
    for part in index:
        if part is None:
            axes.append("1")
        elif part == slice(None) and own:
            axes.append(own.pop(0))
        else:
            raise UnsupportedModelError("one row's length cannot be taken", found=f"index {part}")
    return dataclasses.replace(x, axes=(*axes, *own))


def _sizes(net, x):
    frames = Size((("t", x.clock),)) if isinstance(x, FrameNumbers) else None
    return [1 if a == "1" else Size(("b",)) if a == "b" else frames for a in x.axes]


def _reshape(net, x, shape):
    (letter,) = [a for a in x.axes if a != "1"] if len({*x.axes} - {"1"}) == 1 else (None,)
    own = [n for n in _sizes(net, x) if n != 1]
    if letter is None or [n for n in shape if n != 1] not in ([-1], own):
        raise UnsupportedModelError("cannot be shaped so", found=f"{shape} of {x}")
    return dataclasses.replace(x, axes=tuple("1" if n == 1 else letter for n in shape))


def _expand(net, x, shape):
    """Along the other axis: what it is compared with has that."""
    if len(shape) < len(x.axes):
        raise AxesError("too few sizes", found=f"{shape} of {x}")
    return dataclasses.replace(x, axes=("1",) * (len(shape) - len(x.axes)) + x.axes)


def _last_of_rows(net, a, b):
    """Lengths less one."""
    if not isinstance(a, Lengths) or b != 1 or isinstance(b, bool):
        raise UnsupportedModelError(
            "of lengths only the numbers of the last frames are supported",
            expected="lengths - 1",
            found=f"{a} - {b}",
        )
    return RowEnds(a.name, a.axes)


@operator()
def take(net, x, axis, index):
    """The frame of each row that ``index`` says, (batch, 1, 1) or so, as one frame."""
    place = net.axis(x, axis)
    if not isinstance(index, RowEnds) or len(index.axes) != len(x.axes) or x.axes[place] != "t":
        raise UnsupportedModelError(
            "only the last frame of each row can be gathered",
            expected="x.gather(1, (lengths - 1).view(-1, 1, 1).expand(-1, 1, x.size(2)))",
            found=f"{index} of {x}",
        )
    axes = tuple("1" if a == "t" else a for a in x.axes)
    return at_ends(net, x, index).view(axes)


def _positions(net, x, table):
    """The row of a table that the number of each frame names."""
    if not isinstance(x, FrameNumbers) or x.axes not in (("t",), ("1", "t")) or x.clock not in net.sequences:
        raise UnsupportedModelError("only the numbers of frames can be embedded so", found=str(x))
    one = counting(net, net.sequences[x.clock])
    size = np.ones(1)
    first = net.add(Affine, one.reference, scale=size, offset=-size)
    first = net.add(Reshape, first, features=())
    reference = net.add(Embedding, first, weight=table.array)
    return net.tensor(reference, ("b", "t", "f"), x.clock)


def _as_it_is(net, x, **others):
    return x


# ---- comparisons -------------------------------------------------------------------------------------------


def _numbered(net, numbers):
    """The numbers of frames as numbers, for lengths that are worked out or are an input of several."""
    if numbers.axes not in (("t",), ("1", "t")) or numbers.clock not in net.sequences:
        raise AxesError("the numbers of frames must be (1, time) here", found=str(numbers))
    one = counting(net, net.sequences[numbers.clock]).reference
    first = net.add(Affine, one, scale=np.ones(1), offset=-np.ones(1))
    return net.tensor(net.add(Reshape, first, features=()), ("b", "t"), numbers.clock)


def _compared(name, inside, outside):
    """``name``: the comparison. ``inside``: whether (numbers, lengths) in this order mark the frames that a
    row has; ``outside``: whether (lengths, numbers) mark the others. None where neither order does.
    """

    def lower(net, a, b):
        if isinstance(a, Tensor) or isinstance(b, Tensor):
            a, b = (_numbered(net, v) if isinstance(v, FrameNumbers) else v for v in (a, b))
            if isinstance(a, Tensor) and isinstance(b, Tensor):
                return apply(net, name, a=a, b=b)
        numbers, lengths = (a, b) if isinstance(a, FrameNumbers) else (b, a)
        wanted = inside if isinstance(a, FrameNumbers) else outside
        if not isinstance(numbers, FrameNumbers) or not isinstance(lengths, Lengths) or wanted is None:
            raise UnsupportedModelError(
                "lengths are only compared with the numbers of frames",
                expected="arange(x.size(1)) < lengths[:, None], or >=",
                found=f"{a} and {b}",
            )
        mask = _mask(net, numbers, lengths)
        return mask if wanted else logical_not(net, mask)

    return lower


def _mask(net, numbers, lengths):
    """1 in the frames that a row has, 0 past its end."""
    rank = max(len(numbers.axes), len(lengths.axes))
    pairs = zip(*(("1",) * (rank - len(x.axes)) + x.axes for x in (numbers, lengths)))
    axes = tuple(a if b == "1" else b for a, b in pairs if "1" in (a, b))
    if len(axes) != rank or sorted(a for a in axes if a != "1") != ["b", "t"]:
        raise AxesError(
            "the numbers of frames and the lengths must be (1, time) and (batch, 1)",
            found=f"{numbers} and {lengths}",
        )
    counted_on(net, lengths, numbers.clock)
    sequence = net.sequences[numbers.clock]
    one = net.add(Maximum, *(net.add(NotEqual, sequence, value=n) for n in (0.0, 1.0)))  # whatever it holds
    mask = net.add(Reshape, add_ended(net.builder, net.name, one), features=())
    return dataclasses.replace(net.tensor(mask, axes, numbers.clock), truth=True)


OF_COUNTS |= {name: _as_it_is for name in ("identity", "cast", "to_list", "expand_as")}
OF_COUNTS["rows_in_order"] = lambda net, x, axis: x
OF_COUNTS |= {
    "subtract": _last_of_rows,
    "unsqueeze": _unsqueeze,
    "item": _item,
    "reshape": _reshape,
    "shape": lambda net, x, axis=None: tuple(_sizes(net, x)) if axis is None else _sizes(net, x)[axis],
    "expand": _expand,
    "tile": lambda net, x, times: _expand(net, x, times),
    "embedding": _positions,
    "less": _compared("less", True, None),
    "greater": _compared("greater", None, True),
    "greater_equal": _compared("greater_equal", False, None),
    "less_equal": _compared("less_equal", None, False),
}
