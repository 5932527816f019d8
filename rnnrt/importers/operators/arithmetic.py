"""Operators of arithmetic between tensors, parameters and numbers, and concatenation."""

from __future__ import annotations

import dataclasses

import numpy as np

from ...errors import UnsupportedModelError
from ...layers import Add, Affine, Concatenate, Multiply, Reshape, Select
from ..axes.values import Constant, Size, Tensor
from .table import operator


@operator()
def add(net, a, b):
    """a + b."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return _merged(net, Add, a, b)
    x, constant = (a, b) if isinstance(a, Tensor) else (b, a)
    return _affine(net, x, 1.0, constant)


@operator()
def multiply(net, a, b):
    """a * b; sizes can be multiplied, too."""
    if isinstance(a, Size) or isinstance(b, Size):
        return a * b
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return _merged(net, Multiply, a, b)
    x, constant = (a, b) if isinstance(a, Tensor) else (b, a)
    return _affine(net, x, constant, 0.0)


@operator()
def subtract(net, a, b):
    """a - b."""
    return add(net, a, multiply(net, b, -1.0) if isinstance(b, Tensor) else _negative(b))


@operator()
def divide(net, a, b):
    """a / b, b a parameter or a number."""
    if not isinstance(a, Tensor) or isinstance(b, Tensor):
        raise UnsupportedModelError("only a tensor by a constant can be divided")
    return _affine(net, a, 1.0 / _numbers(b), 0.0)


@operator()
def negate(net, x):
    """-x."""
    return multiply(net, x, -1.0) if isinstance(x, Tensor) else _negative(x)


def _negative(value):
    return Constant(value.name, -value.array) if isinstance(value, Constant) else -value


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


def _affine(net, x, scale, offset):
    """scale * x + offset: numbers, or Constants that broadcast over batch and time."""
    if not isinstance(x, Tensor):
        raise UnsupportedModelError("sizes can only be multiplied", found=str(x))
    scale, offset = _numbers(scale), _numbers(offset)
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


def _together(tensors):
    """Whether tensors have a frame for every frame of the others, given inputs of one length."""
    return len({x.clock and x.clock[1:] for x in tensors}) == 1


def _merged(net, kind, first, second):
    """A sum or product of two tensors; one feature may stand for all, as broadcasting has it."""
    first, second = net.single(first), net.single(second)
    if first.axes != second.axes or "s" in first.axes:
        raise UnsupportedModelError("the tensors must have the same axes", found=f"{first} and {second}")
    if not _together((first, second)):
        raise UnsupportedModelError("the tensors run over different frames", found=f"{first} and {second}")
    widths = [net.signal(x).width for x in (first, second)]
    for k, (x, width) in enumerate(zip((first, second), widths)):
        if "f" in x.axes and width == 1 and widths[1 - k] > 1:
            spread = net.layered(x, Select, index=(0,) * widths[1 - k])
            first, second = (spread, second) if k == 0 else (first, spread)
    return net.tensor(net.add(kind, first.reference, second.reference), first.axes, first.clock)


@operator()
def concat(net, tensors, axis=0):
    """Tensors side by side over their features, or stacks of states one after the other."""
    if not tensors or any(not isinstance(x, Tensor) for x in tensors):
        raise UnsupportedModelError("only tensors can be concatenated", found=", ".join(map(str, tensors)))
    first = tensors[0]
    position = net.axis(first, axis)
    if any(x.axes != first.axes for x in tensors) or first.axes[position] not in ("f", "s"):
        raise UnsupportedModelError(
            "tensors can be concatenated over their features",
            found=f"dim {axis} of {', '.join(map(str, tensors))}",
        )
    if first.axes[position] == "s":
        references = tuple(r for x in tensors for r in x.references)
        return dataclasses.replace(first, references=references, root=object())
    if not _together(tensors):
        raise UnsupportedModelError(
            "the tensors run over different frames", found=", ".join(map(str, tensors))
        )
    return net.tensor(net.add(Concatenate, *(x.reference for x in tensors)), first.axes, first.clock)
