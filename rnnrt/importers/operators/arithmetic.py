"""Operators of arithmetic between tensors, parameters and numbers, and concatenation."""

from __future__ import annotations

import dataclasses

import numpy as np

from ...errors import UnsupportedModelError
from ...layers import (
    Activation,
    Add,
    Affine,
    Concatenate,
    Divide,
    Flatten,
    Multiply,
    Reshape,
    Select,
    Unflatten,
)
from ..axes import slots
from ..axes.broadcast import broadcast, of_one_length, other_frames, together
from ..axes.sizes import Clock, Shifted, Size
from ..axes.values import Constant, Learned, LengthError, Tensor, Zeros
from .table import operator


@operator(truth="logical_or")
def add(net, a, b):
    """a + b; of plain numbers and sizes too."""
    if _counts(a) and _counts(b):
        return a + b
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return merged(net, Add, a, b)
    if isinstance(a, Zeros) or isinstance(b, Zeros):
        return _beside_zeros(net, *((b, a) if isinstance(a, Zeros) else (a, b)))
    x, constant = (a, b) if isinstance(a, Tensor) else (b, a)
    return affine(net, x, 1.0, constant)


def _beside_zeros(net, x, zeros):
    """A sum's first part, where it has the zeros' shape: what a loop over parts starts from."""
    if not isinstance(x, Tensor) or list(zeros.shape) != net.sizes(x):
        raise UnsupportedModelError(
            "zeros can be added to a tensor of their own shape", expected=str(x), found=str(zeros.shape)
        )
    return x


@operator(truth="logical_and")
def multiply(net, a, b):
    """a * b; sizes and plain numbers can be multiplied, too."""
    if _counts(a) and _counts(b):
        return _settled(a) * _settled(b)
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return merged(net, Multiply, a, b)
    x, constant = (a, b) if isinstance(a, Tensor) else (b, a)
    return affine(net, x, constant, 0.0)


@operator(truth="refused")
def subtract(net, a, b):
    """a - b."""
    if _counts(a) and _counts(b):
        try:
            return a - b
        except TypeError:
            raise _of_a_length(net, f"{a} - {b}") from None
    return add(net, a, multiply(net, b, -1.0) if isinstance(b, Tensor) else _negative(b))


@operator()
def divide(net, a, b):
    """a / b; sizes are not divided."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return merged(net, Divide, a, b)
    if isinstance(b, Tensor):
        return multiply(net, net.layered(b, Activation, activation="reciprocal"), a)
    if not isinstance(a, Tensor):
        raise UnsupportedModelError("only tensors can be divided", found=f"{a} / {b}")
    with np.errstate(divide="ignore"):
        return affine(net, a, 1.0 / _numbers(b), 0.0)


@operator(truth="refused")
def floor_divide(net, a, b):
    """a // b of sizes and plain numbers."""
    if not (_counts(a) and _whole(b) and b):
        raise UnsupportedModelError("only sizes can be divided by //", found=f"{a} // {b}")
    return a // b


@operator(truth="refused")
def remainder(net, a, b):
    """a % b of sizes that are known."""
    if _whole(a) and _whole(b) and b:
        return a % b
    if _counts(a) and _counts(b):
        raise _of_a_length(net, f"{a} % {b}")
    raise UnsupportedModelError("only sizes have a remainder", found=f"{a} % {b}")


@operator(truth="refused")
def larger_size(net, a, b):
    """The larger one of two sizes."""
    if _whole(a) and _whole(b):
        return max(a, b)
    raise _of_a_length(net, f"max({a}, {b})")


def _of_a_length(net, found):
    return LengthError(
        "this is known of a fixed number of frames alone", found=found, fix=net.advice["length"]
    )


@operator(truth="refused")
def negate(net, x):
    """-x."""
    return multiply(net, x, -1.0) if isinstance(x, Tensor) else _negative(x)


def _negative(value):
    return Constant(value.name, -value.array) if isinstance(value, Constant) else -value


def _counts(value):
    """A size, known or not, and what arithmetic makes of it."""
    return _whole(value) or isinstance(value, (Size, Shifted))


def _settled(value):
    return value.settled() if isinstance(value, Shifted) else value


def _whole(value):
    """A plain whole number: a size that the program knows."""
    return isinstance(value, int) and not isinstance(value, bool)


def _numbers(value):
    """A constant in float64, its axes kept."""
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, Constant):
        return value.array.astype(np.float64)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return np.float64(value)
    raise UnsupportedModelError(
        "only tensors, parameters and plain numbers can be added and multiplied", found=str(value)
    )


def _of_every_row(x, value):
    """A parameter repeated for every row, beside ``x``, as the parameter itself."""
    if not isinstance(value, Learned):
        return value
    back = value.array.ndim - value.batch
    aligned = back <= len(x.axes) and x.axes[-back] == "b" and value.array.shape[value.batch] == 1
    return Constant(value.name, value.array) if aligned else value


def affine(net, x, scale, offset):
    """scale * x + offset: numbers, or Constants that broadcast over batch and time."""
    if not isinstance(x, Tensor):
        raise UnsupportedModelError("sizes can only be multiplied", found=str(x))
    scale, offset = (_numbers(_of_every_row(x, value)) for value in (scale, offset))
    if any(_of_frames(x, array) for array in (scale, offset)):
        return _affine_by_frame(net, x, scale, offset)
    x = _wide_enough(net, x, scale, offset)
    width = net.signal(x).width
    vectors = []
    for array in (scale, offset):
        shape = (1,) * (len(x.axes) - array.ndim) + array.shape
        if len(shape) != len(x.axes) or any(
            n != 1 and (a != "f" or n != width) for n, a in zip(shape, x.axes)
        ):
            raise UnsupportedModelError(
                "a constant must be one number or one number a feature",
                expected=str(x),
                found=str(array.shape),
            )
        vectors.append(np.broadcast_to(array.reshape(-1), (width,)))
    if net.signal(x).features:
        return net.layered(x, Affine, scale=vectors[0], offset=vectors[1])
    reference = net.add(
        Affine, net.add(Reshape, x.reference, features=(1,)), scale=vectors[0], offset=vectors[1]
    )
    return net.tensor(net.add(Reshape, reference, features=()), x.axes, x.clock)


def _of_frames(x, array):
    """Whether an array has a number for every frame."""
    back = len(x.axes) - x.axes.index("t") if "t" in x.axes else 0
    return 0 < back <= array.ndim <= len(x.axes) and array.shape[-back] > 1


def _affine_by_frame(net, x, scale, offset):
    """scale * x + offset, where these hold a number for every frame."""
    signal, place = net.signal(x), x.axes.index("t")
    if signal.length is None:
        raise LengthError(
            "a constant with a number for every frame needs a fixed number of frames",
            found=f"{scale.shape} and {offset.shape}",
            fix=net.advice["length"],
        )
    sizes = {"t": signal.length, "f": signal.width}
    shape = tuple(sizes.get(a, 1) for a in x.axes)
    try:
        vectors = [np.broadcast_to(array, shape) for array in (scale, offset)]
    except ValueError:
        raise UnsupportedModelError(
            "a constant must be one number, or one a feature or a frame",
            expected=str(shape),
            found=f"{scale.shape} and {offset.shape}",
        ) from None
    vectors = [np.moveaxis(v, place, 0).ravel() for v in vectors]
    reference = net.add(Affine, net.add(Flatten, x.reference), scale=vectors[0], offset=vectors[1])
    reference = net.add(Unflatten, reference, length=signal.length)
    if not signal.features:
        reference = net.add(Reshape, reference, features=())
    return net.tensor(reference, x.axes, x.clock)


def merged(net, kind, *tensors):
    """One layer over tensors that broadcast to one shape."""
    fitted = broadcast(net, *tensors)
    first = fitted[0]
    return net.tensor(net.add(kind, *(x.reference for x in fitted)), first.axes, first.clock)


def _wide_enough(net, x, *arrays):
    """``x`` with the features that an array brings along an axis where ``x`` has one number."""
    for array in arrays:
        for back, size in enumerate(reversed(array.shape), 1):
            if size == 1 or back > len(x.axes):
                continue
            axis = x.axes[-back]
            if axis == "1" and "f" not in x.axes:
                axes = x.axes[: len(x.axes) - back] + ("f",) + x.axes[len(x.axes) - back + 1 :]
                x = x.view(axes, (net.add(Reshape, x.reference, features=(1,)),))
            if x.axes[-back] == "f" and net.signal(x).width == 1:
                x = net.layered(x, Select, index=(0,) * size)
    return x


@operator(truth="kept")
def concat(net, tensors, axis=0):
    """Tensors side by side over their features, or stacks of states one after the other."""
    if not tensors or any(not isinstance(x, Tensor) for x in tensors):
        raise UnsupportedModelError("only tensors can be concatenated", found=", ".join(map(str, tensors)))
    position = net.axis(tensors[0], axis)
    if any(x.axes[position : position + 1] == ("f",) for x in tensors):
        tensors = [_one_feature(net, x, position) for x in tensors]
    first = tensors[0]
    alike = all(x.axes == first.axes for x in tensors)
    if alike and first.axes[position] == "t":
        return _one_after_the_other(net, tensors)
    if alike and first.axes[position] == "1" and "s" not in first.axes:
        made = slots.joined(net, tensors, position)
        return slots.tensor_of(net, made) or made
    if not alike or first.axes[position] not in ("f", "s"):
        frames = any(x.axes[position : position + 1] == ("t",) for x in tensors)
        raise UnsupportedModelError(
            "tensors can be concatenated over their features",
            found=f"dim {axis} of {', '.join(map(str, tensors))}",
            fix="Join single frames to a sequence outside of the network, and give it what is longer so."
            if frames
            else None,
        )
    if first.axes[position] == "s":
        references = tuple(r for x in tensors for r in x.references)
        return dataclasses.replace(first, references=references, root=object())
    timed = [x for x in tensors if any("t" in a for a in x.axes)]
    if not together(timed) and not of_one_length(net, timed):
        raise other_frames(net, ", ".join(map(str, tensors)))
    return net.tensor(net.add(Concatenate, *(x.reference for x in tensors)), first.axes, first.clock)


def _one_feature(net, x, position):
    """A tensor whose axis of size one stands beside others' features, as one feature."""
    if len(x.axes) <= position or x.axes[position] != "1" or "f" in x.axes:
        return x
    axes = x.axes[:position] + ("f",) + x.axes[position + 1 :]
    return x.view(axes, (net.add(Reshape, x.reference, features=(1,)),))


def _one_after_the_other(net, tensors):
    """Tensors joined over time, of fixed numbers of frames."""
    first, signals = tensors[0], [net.signal(x) for x in tensors]
    if len({signal.features for signal in signals}) > 1:
        raise UnsupportedModelError(
            "tensors joined over time must have the same features", found=", ".join(map(str, tensors))
        )
    if any(signal.length is None for signal in signals):
        raise LengthError(
            "tensors are joined over time only where their numbers of frames are fixed",
            found=", ".join(map(str, tensors)),
            fix=net.advice["length"],
        )
    for x in tensors:
        net.whole(x)
    length = sum(signal.length for signal in signals)
    rows = [net.add(Flatten, x.reference) for x in tensors]
    reference = net.add(Unflatten, net.add(Concatenate, *rows), length=length)
    if not signals[0].features:
        reference = net.add(Reshape, reference, features=())
    return net.tensor(reference, first.axes, Clock("", length, 0))
