"""Operators that compare numbers, join what comparisons say, and choose between tensors by it. Truth values
are 1 for true and 0 for false; any number but 0 counts as true where one is asked for.
"""

from __future__ import annotations

import numpy as np

from ...errors import UnsupportedModelError
from ...layers import Equal, Function, Greater, GreaterEqual, Maximum, Where
from ..axes.values import Constant, Tensor
from .activations import activated, clip
from .arithmetic import affine, merged, multiply, negate, subtract
from .table import holds_truth, operator

_MOST = float(np.finfo(np.float32).max)
_TINY = np.finfo(np.float32).tiny


def _number(value):
    if isinstance(value, Constant) and value.array.size == 1:
        return np.float32(value.array.item())
    if not isinstance(value, (int, float)):
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


@operator(truth="told", ids=True)
def greater(net, a, b):
    """a > b."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return merged(net, Greater, a, b)
    if isinstance(a, Tensor):
        return _above(net, a, _number(b))
    return _above(net, multiply(net, b, -1.0), -_number(a))


@operator(truth="told", ids=True)
def less(net, a, b):
    """a < b."""
    return greater(net, b, a)


@operator(truth="told", ids=True)
def greater_equal(net, a, b):
    """a >= b: a is greater than what comes before b."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return merged(net, GreaterEqual, a, b)
    if isinstance(a, Tensor):
        return _above(net, a, _neighbour(_number(b), -np.inf))
    return _above(net, multiply(net, b, -1.0), _neighbour(-_number(a), -np.inf))


@operator(truth="told", ids=True)
def less_equal(net, a, b):
    """a <= b."""
    return greater_equal(net, b, a)


@operator(truth="told", ids=True)
def equal(net, a, b):
    """a == b."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return merged(net, Equal, a, b)
    x, number = (a, b) if isinstance(a, Tensor) else (b, a)
    return multiply(net, greater_equal(net, x, number), less_equal(net, x, number))


@operator(truth="told", ids=True)
def not_equal(net, a, b):
    """a != b."""
    return logical_not(net, equal(net, a, b))


@operator(truth="told")
def truth(net, x):
    """1 where x is not 0 (NaN is not), else 0: truth values as they are."""
    if not isinstance(x, Tensor):
        return Constant(x.name, x.array != 0) if isinstance(x, Constant) else float(x != 0)
    return x if x.truth else not_equal(net, x, 0.0)


@operator(truth="told")
def logical_not(net, x):
    """1 where x is 0, else 0."""
    return subtract(net, 1.0, x) if x.truth else equal(net, x, 0.0)


@operator(truth="told")
def logical_and(net, a, b):
    """1 where both are true."""
    return multiply(net, truth(net, a), truth(net, b))


@operator(truth="told")
def logical_or(net, a, b):
    """1 where either is true."""
    x, other = _tensor_first(truth(net, a), truth(net, b))
    if isinstance(other, Tensor):
        return merged(net, Maximum, x, other)
    return affine(net, x, _less(1, other, 1), other)


@operator(truth="told")
def logical_xor(net, a, b):
    """1 where one is true and the other is not."""
    x, other = _tensor_first(truth(net, a), truth(net, b))
    return (
        not_equal(net, x, other) if isinstance(other, Tensor) else affine(net, x, _less(1, other, 2), other)
    )


def _tensor_first(a, b):
    return (a, b) if isinstance(a, Tensor) else (b, a)


def _less(number, value, times):
    """number - times * value, of a Constant or a number."""
    if isinstance(value, Constant):
        return Constant(value.name, number - times * value.array.astype(np.float64))
    return number - times * value


def _by_bits(name, logical):
    def lower(net, **operands):
        for value in operands.values():
            if not holds_truth(value):
                raise UnsupportedModelError(
                    f"{name} is supported on truth values alone",
                    found=f"numbers: {value}",
                    fix=net.advice["bits"],
                )
        return logical(net, **operands)

    lower.__doc__ = logical.__doc__
    operator(name, truth="told")(lower)


_by_bits("bitwise_not", logical_not)
_by_bits("bitwise_and", logical_and)
_by_bits("bitwise_or", logical_or)
_by_bits("bitwise_xor", logical_xor)


@operator(truth="kept")
def maximum(net, a, b):
    """The greater of two."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return merged(net, Maximum, a, b)
    x, number = (a, b) if isinstance(a, Tensor) else (b, a)
    if isinstance(number, Constant) and number.array.size > 1:
        finite = clip(net, x, low=-_MOST, high=_MOST)
        return merged(net, Maximum, x, affine(net, finite, 0.0, number))
    return clip(net, x, low=_one(number))


@operator(truth="kept")
def minimum(net, a, b):
    """The lesser of two."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return multiply(net, maximum(net, multiply(net, a, -1.0), multiply(net, b, -1.0)), -1.0)
    x, number = (a, b) if isinstance(a, Tensor) else (b, a)
    if isinstance(number, Constant) and number.array.size > 1:
        return negate(net, maximum(net, negate(net, x), negate(net, number)))
    return clip(net, x, high=_one(number))


def _one(value):
    return value.array.item() if isinstance(value, Constant) else value


@operator(truth="kept")
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
    if np.isnan(number):
        raise UnsupportedModelError("NaN cannot be filled in", fix="Fill in a number.")
    zero = multiply(net, like, 0.0)
    if np.isinf(number):
        return affine(net, zero, 1.0, number)
    return activated(net, zero, Function("at_least", (number,)), Function("at_most", (number,)))


@operator(truth="kept")
def masked_fill(net, x, mask, value):
    """``value`` where the mask is not 0, else x; it is of the type of x."""
    value = truth(net, value) if x.truth else value
    return where(net, mask, value, x)


@operator()
def threshold(net, x, threshold, value):
    """x above the threshold, else ``value``."""
    return where(net, _above(net, x, _number(threshold)), x, value)
