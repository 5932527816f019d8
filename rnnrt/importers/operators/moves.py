"""Operators that move axes, take sizes or change a tensor's type. Most only rename axes and add nothing to
the graph.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ...errors import UnsupportedModelError
from ...layers import Last, Reshape
from ..axes.regroup import flattened, reshaped
from ..axes.sizes import Size
from ..axes.values import (
    AxesError,
    Harmless,
    Learned,
    LengthError,
    Lengths,
    Refused,
    StateInput,
    Tensor,
    Unset,
    Zeros,
)
from .comparisons import truth
from .table import APART, operator

# ---- axes --------------------------------------------------------------------------------------------------


@operator(ids=True, truth="kept")
def transpose(net, x, first, second):
    """Two axes change places."""
    axes = list(x.axes)
    first, second = net.axis(x, first), net.axis(x, second)
    axes[first], axes[second] = axes[second], axes[first]
    return x.view(axes)


@operator(ids=True, truth="kept")
def rows_in_order(net, x, axis):
    """The rows of a batch put in another order, which is undone later: the tensor itself. ``axis`` must be
    the batch.
    """
    if isinstance(x, (Lengths, StateInput)):
        return x
    if x.axes[net.axis(x, axis)] != "b":
        raise AxesError("only the rows of a batch can be put in order", found=f"axis {axis} of {x}")
    return x


APART["rows_in_order"] = lambda net, x, axis: rows_in_order(net, x, axis)


@operator(ids=True, truth="kept")
def transpose_matrix(net, x):
    """The two axes of a matrix change places."""
    if len(x.axes) != 2:
        raise UnsupportedModelError("is supported for two axes only", found=str(x))
    return x.view(x.axes[::-1])


@operator(ids=True, truth="kept")
def permute(net, x, order):
    """The axes in the order of their old numbers."""
    positions = [net.axis(x, d) for d in order]
    if sorted(positions) != list(range(len(x.axes))):
        raise UnsupportedModelError("an order of axes must name every axis once", found=str(order))
    return x.view([x.axes[k] for k in positions])


@operator(ids=True, truth="kept")
def move_axis(net, x, source, destination):
    """One axis moves to another place, the others keep their order."""
    axes = list(x.axes)
    axis = axes.pop(net.axis(x, source))
    axes.insert(net.axis(x, destination), axis)
    return x.view(axes)


@operator(ids=True, truth="kept")
def unsqueeze(net, x, axis):
    """A new axis of size one at a place of the result."""
    if isinstance(x, Learned):
        place = axis % (x.array.ndim + 1)
        return Learned(x.name, np.expand_dims(x.array, place), x.batch + (place <= x.batch))
    if isinstance(x, StateInput) and axis == 0:
        return x  # (batch, units) of one layer and direction is read as (1, batch, units)
    rank = len(x.axes) + 1
    if not isinstance(axis, int) or not -rank <= axis < rank:
        raise UnsupportedModelError("the axis must be a number of an axis", found=str(axis))
    axes = list(x.axes)
    axes.insert(axis % rank, "1")
    return x.view(axes)


@operator(ids=True, truth="kept")
def squeeze(net, x, axes=None):
    """The named axes, or all, are dropped where their size is one. A batch of one keeps its axis, and
    ``net.keeps_ones`` says so: a graph is read for any batch.
    """
    if axes is None:
        net.keep_ones()
        axes = [k for k, size in enumerate(net.sizes(x)) if size == 1 or _of_one_frame(net, x, k)]
    positions = {net.axis(x, d) for d in (axes if isinstance(axes, (tuple, list)) else [axes])}
    for position in sorted(positions, reverse=True):
        size = net.sizes(x)[position]
        if _of_one_frame(net, x, position):
            axes = x.axes[:position] + x.axes[position + 1 :]
            x = net.tensor(net.add(Last, x.reference), axes, None)
            continue
        if x.axes[position] == "b":
            net.keep_ones()
            continue
        if isinstance(size, Size):
            raise LengthError(
                f"squeeze of the {x.axes[position]} axis depends on its size",
                found=str(x),
                fix=net.advice["length"],
            )
        if size == 1:
            x = _without(net, x, position)
    return x


def _of_one_frame(net, x, position):
    return x.axes[position] == "t" and net.signal(x).length == 1


def _without(net, x, position):
    """``x`` without an axis of size one."""
    axes = x.axes[:position] + x.axes[position + 1 :]
    if x.axes[position] == "f":
        return x.view(axes, (net.add(Reshape, x.reference, features=()),))
    return x.view(axes)


@operator(ids=True, truth="kept")
def reshape(net, x, shape):
    """Another shape, of Sizes and numbers; -1 stands for what is left."""
    return reshaped(net, x, shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape)


@operator(ids=True, truth="kept")
def unflatten(net, x, axis, sizes):
    """One axis as several of ``sizes``."""
    place = net.axis(x, axis)
    shape = net.sizes(x)
    return reshaped(net, x, (*shape[:place], *sizes, *shape[place + 1 :]))


@operator(ids=True, truth="kept")
def flatten(net, x, first=0, last=-1):
    """The axes from ``first`` to ``last`` as one."""
    return flattened(net, x, first, last)


# ---- types -------------------------------------------------------------------------------------------------

_TYPES = {"float16", "float32", "float64", "bfloat16", "bool", "complex64", "complex128"}
_TYPES |= {f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)}


@operator(ids=True, truth="kept")
def identity(net, x):
    """The tensor itself."""
    return x


@operator(ids=True, truth="own")
def cast(net, x, type=None, like=None):
    """The tensor as numbers of another type: float32, or whole numbers that already are; or as truth values.
    None: of the type of ``like``, or as it is.
    """
    if type is None and isinstance(like, Tensor) and not net.is_ids(like):
        type = "bool" if like.truth else "float32"
    ids = isinstance(x, Lengths) or isinstance(x, Tensor) and net.is_ids(x)
    if type is not None and type not in _TYPES:
        raise UnsupportedModelError("is not a type of number", found=str(type))
    if type == "bool" and not ids and isinstance(x, Tensor):
        return dataclasses.replace(truth(net, x), truth=True)
    whole = ids or isinstance(x, Tensor) and x.truth
    if type not in (None, "float32") and not (whole and type in ("int64", "int32")):
        raise UnsupportedModelError(f"a change of type to {type} is not supported", expected="float32")
    return dataclasses.replace(x, truth=False) if type and isinstance(x, Tensor) and x.truth else x


@operator(ids=True)
def to_list(net, x):
    """The values themselves: only of lengths, which stay what they are."""
    if isinstance(x, Lengths):
        return x
    raise UnsupportedModelError("the values of a tensor are not known while a model is read")


# ---- sizes -------------------------------------------------------------------------------------------------


@operator(ids=True, unread=True)
def shape(net, x, axis=None):
    """The size of every axis, or of one."""
    if isinstance(x, (StateInput, Lengths)):
        raise UnsupportedModelError("the size of a state or of lengths is not known")
    sizes = tuple(net.sizes(x))
    if net.known:
        sizes = tuple(net.signal(x).length or n if a == "t" else n for a, n in zip(x.axes, sizes))
    return sizes if axis is None else sizes[net.axis(x, axis)]


@operator(ids=True, unread=True)
def rank(net, x):
    """The number of axes."""
    return len(x.axes)


@operator(ids=True, unread=True)
def device(net, x):
    """Where a tensor is: nothing an answer depends on."""
    return Harmless("of a tensor")


@operator(ids=True, unread=True)
def type_of(net, x):
    """What a tensor is made of."""
    if isinstance(x, Tensor) and not net.is_ids(x):
        return Harmless("bool" if x.truth else "float32")
    return Harmless("of a tensor")


@operator()
def zeros(net, shape):
    """Zeros of a shape, Sizes and numbers."""
    return Zeros(tuple(shape))


@operator(ids=True)
def zeros_like(net, x):
    """Zeros of a tensor's shape."""
    if isinstance(x, Tensor):
        return Zeros(tuple(net.sizes(x)))
    return x if isinstance(x, Zeros) else Refused("zeros_like is not supported here")


_NEVER_SET = "a tensor is read whose numbers were never set"


@operator()
def unset(net, shape):
    """A tensor of a shape, Sizes and numbers, before any number is set."""
    return Unset(_NEVER_SET, tuple(shape))


@operator(ids=True, unread=True)
def unset_like(net, x):
    """A tensor of the shape of another, before any number is set."""
    return Unset(_NEVER_SET, tuple(net.sizes(x))) if isinstance(x, Tensor) else Refused(_NEVER_SET)


@operator(unread=True)
def set_to_zero(net, x):
    """Zeros in the place of numbers that are not set."""
    if not isinstance(x, Unset):
        raise UnsupportedModelError(
            "only a new tensor can be set to zero", found=str(x), fix="Make zeros in its place."
        )
    return Zeros(x.shape)
