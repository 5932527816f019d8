"""Operators that compare numbers, and choose between tensors by what they say: 1 for true, 0 for false."""

from __future__ import annotations

import numpy as np

from ...errors import UnsupportedModelError
from ...layers import Equal, Function, Greater, GreaterEqual, Maximum, Where
from ..axes.values import Tensor
from .activations import activated, clip
from .arithmetic import merged, multiply, subtract
from .table import operator

_TINY = np.finfo(np.float32).tiny


def _number(value):
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UnsupportedModelError("only tensors and numbers can be compared", found=str(value))
    return np.float32(value)


def _neighbour(number, towards):
    """The next float32 that is not denormal: those count as 0."""
    found = np.nextafter(number, np.float32(towards))
    if abs(number) <= _TINY and abs(found) < _TINY:
        return np.float32(0) if number else np.copysign(_TINY, np.float32(towards))
    return found


def _above(net, x, number):
    return activated(net, x, Function("above", (float(number),)))


@operator()
def greater(net, a, b):
    """a > b."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return merged(net, Greater, a, b)
    if isinstance(a, Tensor):
        return _above(net, a, _number(b))
    return _above(net, multiply(net, b, -1.0), -_number(a))


@operator()
def less(net, a, b):
    """a < b."""
    return greater(net, b, a)


@operator()
def greater_equal(net, a, b):
    """a >= b: a is greater than what comes before b."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return merged(net, GreaterEqual, a, b)
    if isinstance(a, Tensor):
        return _above(net, a, _neighbour(_number(b), -np.inf))
    return _above(net, multiply(net, b, -1.0), _neighbour(-_number(a), -np.inf))


@operator()
def less_equal(net, a, b):
    """a <= b."""
    return greater_equal(net, b, a)


@operator()
def equal(net, a, b):
    """a == b."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return merged(net, Equal, a, b)
    x, number = (a, b) if isinstance(a, Tensor) else (b, a)
    return multiply(net, greater_equal(net, x, number), less_equal(net, x, number))


@operator()
def not_equal(net, a, b):
    """a != b."""
    return logical_not(net, equal(net, a, b))


@operator()
def logical_not(net, x):
    """1 where x is 0, else 0; of what a comparison says."""
    return subtract(net, 1.0, x)


@operator()
def logical_and(net, a, b):
    """1 where both are."""
    return multiply(net, a, b)


@operator()
def logical_or(net, a, b):
    """1 where either is."""
    return maximum(net, a, b)


@operator()
def maximum(net, a, b):
    """The greater of two."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return merged(net, Maximum, a, b)
    x, number = (a, b) if isinstance(a, Tensor) else (b, a)
    return clip(net, x, low=number)


@operator()
def minimum(net, a, b):
    """The lesser of two."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return multiply(net, maximum(net, multiply(net, a, -1.0), multiply(net, b, -1.0)), -1.0)
    x, number = (a, b) if isinstance(a, Tensor) else (b, a)
    return clip(net, x, high=number)


@operator()
def where(net, condition, a, b):
    """a where the condition is not 0, else b."""
    if not isinstance(condition, Tensor):
        raise UnsupportedModelError("a condition must be made of tensors", found=str(condition))
    return merged(net, Where, condition, *(_tensor(net, condition, value) for value in (a, b)))


def _tensor(net, like, value):
    """A number as a tensor of the shape of ``like``, whose numbers are finite."""
    if isinstance(value, Tensor):
        return value
    number = float(_number(value))
    if not np.isfinite(number):
        raise UnsupportedModelError(
            "a number that is filled in must be finite", found=str(value), fix="Fill in -1e9, say."
        )
    zero = multiply(net, like, 0.0)
    return activated(net, zero, Function("at_least", (number,)), Function("at_most", (number,)))


@operator()
def masked_fill(net, x, mask, value):
    """``value`` where the mask is not 0, else x."""
    return where(net, mask, value, x)


@operator()
def threshold(net, x, threshold, value):
    """x above the threshold, else ``value``."""
    return where(net, _above(net, x, _number(threshold)), x, value)
