"""Operands of ONNX's arithmetic brought to one form: Tensors of the same axes, and constants that are one
number or one a feature.
"""

from __future__ import annotations

import numpy as np

from ...errors import UnsupportedModelError
from ...layers import NotEqual, Reshape, Unflatten
from ..axes.sizes import Clock
from ..axes.slots import Slots, picked, slots_of, tensor_of
from ..axes.values import Constant, Tensor
from ..operators.table import OPERATORS, apply

#: operators of two operands that broadcast
ELEMENTWISE = (
    *("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "PRelu", "Where", "And", "Or"),
    *("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"),
)


def aligned(net, given):
    """Operands with one number of axes, as broadcasting has it; a constant that is the same in every row of a
    fixed batch without that axis.
    """
    values = [v for v in given if isinstance(v, (Tensor, Slots))]
    rank = max(v.ndim if isinstance(v, np.ndarray) else len(v.axes) for v in given if v is not None)
    made = []
    for value in given:
        if isinstance(value, (Tensor, Slots)):
            made.append(_raised(value, rank))
        else:
            made.append(value)
    first = next(v for v in made if isinstance(v, (Tensor, Slots)))
    length = net.builder.signal(first.references[0]).length
    made = [
        _of_any_row(net, v, first.axes, length) if isinstance(v, np.ndarray) and v.ndim else v for v in made
    ]
    return _alike(net, made) if len(values) > 1 else made


def _raised(x, rank):
    """A tensor with axes of size one in front."""
    more = rank - len(x.axes)
    if not more:
        return x
    if isinstance(x, Slots):
        return x.seen(["n"] * more + list(x.axes), x.places.reshape([1] * more + list(x.places.shape)))
    return x.view(["1"] * more + list(x.axes))


def _of_any_row(net, array, axes, length=None):
    """A constant that is the same along the axis of a batch whose size the file fixes, with size one there;
    also along batch and time in one, of ``length`` frames. Where the batch is open, such a constant would
    make rows of its own.
    """
    array = array.reshape((1,) * (len(axes) - array.ndim) + array.shape)
    for k, axis in enumerate(axes):
        if axis in ("b", "t", "bt", "tb") and array.shape[k] > 1:
            first = np.take(array, [0], k)
            rows = (net.batch or 0) * (length or 0) if len(axis) > 1 else net.batch
            if axis == "t" or array.shape[k] != rows or not (array == first).all():
                raise UnsupportedModelError(
                    "a constant differs from row to row or from frame to frame", found=str(array.shape)
                )
            array = first
    return array


def _alike(net, values):
    """Tensors whose axes differ only in a sequence of one frame as the same axes."""
    tensors = [v for v in values if isinstance(v, (Tensor, Slots))]
    if len({t.axes for t in tensors}) == 1 and all(isinstance(t, Tensor) for t in tensors):
        return values
    plain = [tensor_of(net, v) if isinstance(v, Slots) else v for v in values]
    timed = next((p for p in plain if isinstance(p, Tensor) and "t" in p.axes), None)
    if timed is not None:
        place, length = timed.axes.index("t"), net.signal(timed).length
        plain = [
            _timed(net, p, place, length) if isinstance(p, Tensor) and p is not timed else p for p in plain
        ]
    plain = [_single(net, p, plain) if isinstance(p, Tensor) else p for p in plain]
    return plain


def _timed(net, x, place, length):
    """A value given once as a sequence of one frame, beside one."""
    if "t" in x.axes or length != 1 or len(x.axes) <= place or x.axes[place] != "1":
        return x
    reference = net.add(Unflatten, x.reference, length=1)
    return net.tensor(reference, [*x.axes[:place], "t", *x.axes[place + 1 :]], Clock("", 1, 0))


def _single(net, x, others):
    """One feature, an axis of size one beside features, as one feature."""
    axes = next((p.axes for p in others if isinstance(p, Tensor) and "f" in p.axes), None)
    if axes is None or "f" in x.axes or len(axes) != len(x.axes):
        return x
    wanted = tuple("1" if a == "f" else a for a in axes)
    if x.axes != wanted:
        return x
    return net.tensor(net.add(Reshape, x.reference, features=(1,)), axes, x.clock)


def unchanged(op, given):
    """The operand that an operator with the other, a constant, leaves as it is, or None."""
    neutral = {"Add": 0, "Sub": 0, "Mul": 1, "Div": 1}.get(op)
    for k, (constant, x) in enumerate(((given[1], given[0]), (given[0], given[1]))):
        if neutral is None or not isinstance(constant, np.ndarray) or isinstance(x, np.ndarray):
            continue
        if k and op in ("Sub", "Div"):
            continue
        if constant.size == 1 and constant.ndim <= len(x.axes) and (constant == neutral).all():
            return x
    return None


def over_places(net, given, apply_flat):
    """What ``apply_flat`` makes of operands, some of which are frames of several axes: of each the numbers
    that broadcasting puts beside one another, as one row.
    """
    rank = max(v.ndim if isinstance(v, np.ndarray) else len(v.axes) for v in given)
    apart = [v if isinstance(v, np.ndarray) else _raised(slots_of(net, v), rank) for v in given]
    moving = [v for v in apart if isinstance(v, Slots)]
    axes = tuple(next((a for a in letters if a != "n"), "n") for letters in zip(*(v.axes for v in moving)))
    if any("t" in axes and "t" not in v.axes for v in moving):
        raise UnsupportedModelError(
            "the tensors run over different frames", found=", ".join(map(str, moving))
        )
    apart = [_of_any_row(net, v, axes) if isinstance(v, np.ndarray) else v for v in apart]
    shape = np.broadcast_shapes(*(v.shape if isinstance(v, np.ndarray) else v.places.shape for v in apart))
    row = tuple(a for a in axes if a != "n") + ("f",)
    flat = []
    for v in apart:
        if isinstance(v, np.ndarray):
            flat.append(np.broadcast_to(v, shape).reshape(-1))
        else:
            reference = picked(net, v.seen(axes, np.broadcast_to(v.places, shape)))
            flat.append(net.tensor(reference, row, v.clock))
    made = apply_flat(flat)
    count = int(np.prod(shape))
    return Slots(axes, np.arange(count).reshape(shape), (made.reference,), (count,), made.clock)


def is_apart(given):
    """Whether an operand is a frame of several axes."""
    return any(isinstance(v, Slots) and v.long > 1 for v in given)


def constants(given):
    return [Constant("a constant", v) if isinstance(v, np.ndarray) else v for v in given]


# ---- operators ---------------------------------------------------------------------------------------------


def gemm(net, own, a, b, c=None):
    """alpha A B + beta C."""
    alpha, beta = own.get("alpha", 1.0), own.get("beta", 1.0)
    if own.get("transA", 0):
        raise UnsupportedModelError("Gemm with transA=1 is not supported")
    if not isinstance(b, np.ndarray):
        raise UnsupportedModelError("only a product with a known matrix is supported")
    matrix = (b.T if own.get("transB", 0) else b) * np.float64(alpha)
    made = apply(net, "matmul", a=a, b=Constant("B", matrix))
    if c is None or not beta:
        return made
    if beta != 1.0:
        c = c * np.float64(beta) if isinstance(c, np.ndarray) else apply(net, "multiply", a=c, b=beta)
    first, second = constants(aligned(net, [made, c]))
    return apply(net, "add", a=first, b=second)


def power(net, own, x, exponent):
    """x to a known power: 2, 0.5, 1, 3 or -1."""
    if not isinstance(exponent, np.ndarray) or not exponent.size or (exponent != exponent.flat[0]).any():
        raise UnsupportedModelError("only one power, known when the file is read, is supported")
    match exponent.flat[0].item():
        case 1:
            return x
        case 2:
            if isinstance(x, Slots) and x.long > 1:
                return over_places(net, [x], lambda flat: power(net, own, flat[0], exponent))
            return apply(net, "square", x=x) if "square" in OPERATORS else apply(net, "multiply", a=x, b=x)
        case 3:
            return apply(net, "multiply", a=apply(net, "multiply", a=x, b=x), b=x)
        case 0.5:
            return apply(net, needed("sqrt"), x=x)
        case -1:
            return apply(net, needed("reciprocal"), x=x)
        case -0.5:
            return apply(net, needed("reciprocal"), x=apply(net, needed("sqrt"), x=x))
    raise UnsupportedModelError(
        "this power is not supported", expected="2, 3, 0.5, 1, -1", found=str(exponent)
    )


def divide(net, own, a, b):
    """a / b."""
    if isinstance(b, np.ndarray):
        first, second = constants(aligned(net, [a, b]))
        return apply(net, "divide", a=first, b=second)
    inverse = apply(net, needed("reciprocal"), x=tensor_of(net, b))
    first, second = constants(aligned(net, [a, inverse]))
    return apply(net, "multiply", a=first, b=second)


def not_equal(net, own, x):
    """1 where numbers are not ``value``, else 0: of each, or where any of the features is not."""
    x = tensor_of(net, x) if isinstance(x, Slots) else net.single(x)
    width = net.signal(x).width
    if (
        not isinstance(x, Tensor)
        or x.axes[-1:] != ("f",)
        and "axis" in own
        or "axis" not in own
        and width != 1
    ):
        raise UnsupportedModelError(
            "a comparison is supported of all features of a frame, or of one", found=str(x)
        )
    made = net.add(NotEqual, x.reference, value=own["value"])
    if "f" in x.axes and own.get("keepdims", 1):
        return net.tensor(made, x.axes, x.clock)
    return net.tensor(net.add(Reshape, made, features=()), [a for a in x.axes if a != "f"], x.clock)


def opposite(net, own, x):
    """1 - x, of what is 1 or 0."""
    return apply(net, "subtract", a=1.0, b=x)


def needed(operator):
    """The name of an operator, refused where the table does not have it."""
    if operator not in OPERATORS:
        raise UnsupportedModelError(f"the function {operator!r} is not supported")
    return operator
