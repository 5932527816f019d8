"""Operators that make one number of many, over time, over the features or over both, and what is made of
them: softmax over time, variances, norms, and products of two tensors.
"""

from __future__ import annotations

import math
from string import ascii_letters

import numpy as np

from ...errors import UnsupportedModelError
from ...graph import GraphBuilder
from ...layers import (
    Activation,
    Add,
    Affine,
    Dense,
    FeatureMax,
    Function,
    GlobalAveragePool,
    GlobalMaxPool,
    GlobalSum,
    GlobalVariance,
    LogSoftmax,
    Reshape,
    Scan,
    Softmax,
)
from ..axes.regroup import ones_named
from ..axes.slots import Slots, picked, slots_of, tensor_of
from ..axes.values import AxesError, Constant, Learned, Tensor
from .activations import activated
from .arithmetic import add, divide, multiply, subtract
from .layers import linear
from .moves import permute
from .table import apply, operator

#: Numbers of a matrix that an einsum becomes.
_MOST_OF_A_MATRIX = 1 << 24
#: The logarithm of so little that it is nothing beside any number.
_NOTHING = -1e30


def _places(net, x, axes):
    """The positions of the axes that are reduced, which must be time or features or of size one."""
    numbers = axes if isinstance(axes, (tuple, list)) else (axes,)
    if not numbers or any(n is None for n in numbers):
        raise UnsupportedModelError(
            "a reduction of all axes, the batch among them, is not supported", fix="Name the axes: dim=1."
        )
    places = sorted({net.axis(x, n) for n in numbers})
    if any(x.axes[p] not in ("t", "f", "1", "s") for p in places):
        raise UnsupportedModelError("only time and features can be reduced", found=f"axes {axes} of {x}")
    return places


def _reduced(net, x, axes, keep, over_time, over_features):
    """``x`` without some axes. ``over_time``: f(tensor) -> the reference to what is made of all frames;
    ``over_features``: f(tensor) -> the tensor with one number of all features.
    """
    x = net.single(x)
    places = _places(net, x, axes)
    for place in places:
        axis = x.axes[place]
        if axis == "s":
            raise UnsupportedModelError("a stack of states cannot be reduced so", found=str(x))
        if axis == "t":
            net.whole(x)
            x = net.tensor(over_time(x), x.axes[:place] + ("1",) + x.axes[place + 1 :], None)
        elif axis == "f":
            x = over_features(x)
    return x if keep else _dropped(net, x, places)


def _dropped(net, x, places):
    for place in reversed(places):
        axes = x.axes[:place] + x.axes[place + 1 :]
        if x.axes[place] == "f":
            x = x.view(axes, (net.add(Reshape, x.reference, features=()),))
        else:
            x = x.view(axes)
    return x


def _weighted(net, factor):
    """Sums features, each times a factor."""

    def over(x):
        size = net.signal(x).width
        weight = np.full((1, size), factor(size))
        return net.tensor(net.add(Dense, x.reference, weight=weight), x.axes, x.clock)

    return over


def _once(net, kind, **fields):
    return lambda x: net.add(kind, x.reference, **fields)


def _greatest(net):
    return lambda x: net.tensor(net.add(FeatureMax, x.reference), x.axes, x.clock)


@operator()
def reduce_sum(net, x, axes=None, keep=False):
    """The sum over axes; over a stack of tensors, which is the first axis, their sum."""
    if isinstance(x, Tensor) and len(x.references) > 1 and axes in (0, (0,), [0]) and not keep:
        return net.tensor(net.add(Add, *x.references), x.axes[1:], x.clock)
    return _reduced(net, x, axes, keep, _once(net, GlobalSum), _weighted(net, lambda n: 1.0))


@operator()
def reduce_mean(net, x, axes=None, keep=False):
    """The mean over axes; over a stack of tensors, which is the first axis, their mean."""
    if isinstance(x, Tensor) and len(x.references) > 1 and axes in (0, (0,), [0]) and not keep:
        return multiply(net, reduce_sum(net, x, 0), 1.0 / len(x.references))
    return _reduced(net, x, axes, keep, _once(net, GlobalAveragePool), _weighted(net, lambda n: 1.0 / n))


@operator(truth="kept")
def reduce_max(net, x, axes=None, keep=False):
    """The greatest over axes."""
    return _reduced(net, x, axes, keep, _once(net, GlobalMaxPool), _greatest(net))


@operator(truth="kept")
def reduce_min(net, x, axes=None, keep=False):
    """The least over axes."""
    return multiply(net, reduce_max(net, multiply(net, x, -1.0), axes, keep), -1.0)


@operator()
def cumulative_sum(net, x, axis):
    """At every frame the sum of all frames so far."""

    def step(builder, total, frame, size):
        return builder.add(Add, "new", total, frame)

    return _cumulative(net, x, axis, "sum", step)


@operator()
def cumulative_log_sum_exp(net, x, axis):
    """At every frame the logarithm of the sum of the exponentials of all frames so far."""

    def step(builder, total, frame, size):
        ones = np.ones(size)
        less = builder.add(Affine, "less", frame, scale=-ones, offset=0 * ones)
        more = builder.add(Add, "more", total, less)
        more = builder.add(Activation, "joined", more, activation="softplus")
        return builder.add(Add, "new", frame, more)

    return _cumulative(net, x, axis, "log", step, _NOTHING)


def _cumulative(net, x, axis, name, make, start=0.0):
    """A Scan whose one state is what it answers: ``make(builder, state, frame, size)``."""
    x = net.single(x)
    place = net.axis(x, axis)
    if x.axes[place] != "t":
        raise UnsupportedModelError("only time can be summed up", found=f"axis {axis} of {x}")
    net.whole(x)
    reference = x.reference if net.signal(x).features else net.add(Reshape, x.reference, features=(1,))
    step, size = GraphBuilder(), net.builder.signal(reference).width
    frame, total = (step.input(own, (size,), time=False) for own in ("x", name))
    new = make(step, total, frame, size)
    for own in (f"{name}'", "y"):
        step.output(own, new)
    initial = np.full(size, start) if start else None
    reference = net.add(Scan, reference, graph=step.graph(), states=(name,), initial=initial)
    if not net.signal(x).features:
        reference = net.add(Reshape, reference, features=())
    return net.tensor(reference, x.axes, x.clock)


@operator()
def variance(net, x, axes=None, correction=1, keep=False):
    """The variance over axes; ``correction`` is taken from the count it divides by."""
    correction = 1 if correction is None else correction
    x = net.single(x)
    places = _places(net, x, axes)
    reduced = [x.axes[p] for p in places if x.axes[p] != "1"]
    if isinstance(correction, bool) or not isinstance(correction, (int, float)) or correction < 0:
        raise UnsupportedModelError("correction must be a number, not below 0", found=str(correction))
    if reduced == ["t"]:
        return _reduced(net, x, axes, keep, _once(net, GlobalVariance, correction=correction), None)
    if "t" in reduced and correction:
        raise UnsupportedModelError(
            "an unbiased variance over time and features at once is not supported", fix="Say correction=0."
        )
    size = net.signal(x).width
    off = subtract(net, x, reduce_mean(net, x, axes, True))
    made = reduce_mean(net, activated(net, off, Function("square")), axes, keep)
    if not correction:
        return made
    if size <= correction:
        raise UnsupportedModelError("the variance of one number is not a number", found=str(x))
    return multiply(net, made, size / (size - correction))


@operator()
def deviation(net, x, axes=None, correction=1, keep=False):
    """The standard deviation over axes."""
    return activated(net, variance(net, x, axes, correction, keep), Function("sqrt"))


@operator()
def log_sum_exp(net, x, axes=None, keep=False):
    """log(sum(exp(x))) over axes, the greatest taken out first."""
    most = reduce_max(net, x, axes, True)
    e = activated(net, subtract(net, x, most), Function("exponential"))
    made = add(net, activated(net, reduce_sum(net, e, axes, True), Function("log")), most)
    return made if keep else _dropped(net, made, _places(net, x, axes))


@operator()
def norm(net, x, order=2, axes=None, keep=False):
    """The 1-norm, 2-norm or greatest absolute value over axes."""
    if order in (None, "fro", 2):
        made = reduce_sum(net, activated(net, x, Function("square")), axes, keep)
        return activated(net, made, Function("sqrt"))
    size = activated(net, x, Function("abs"))
    if order == 1:
        return reduce_sum(net, size, axes, keep)
    if order == math.inf:
        return reduce_max(net, size, axes, keep)
    raise UnsupportedModelError("this norm is not supported", expected="1, 2 or infinity", found=str(order))


@operator()
def unit_norm(net, x, order=2.0, axes=1, epsilon=1e-12):
    """x / max(norm of x over axes, epsilon)."""
    size = activated(net, norm(net, x, order, axes, True), Function("at_least", (float(epsilon),)))
    return divide(net, x, size)


@operator()
def softmax(net, x, axis=None):
    """Softmax over the features, or over all frames."""
    return _softmax(net, x, axis, Softmax)


@operator()
def log_softmax(net, x, axis=None):
    """The logarithm of softmax."""
    return _softmax(net, x, axis, LogSoftmax)


def _softmax(net, x, axis, kind):
    if axis is None:
        raise UnsupportedModelError("softmax without dim is not supported", fix="Name the axis: dim=-1.")
    found = x.axes[net.axis(x, axis)]
    if found == "f":
        return net.layered(x, kind)
    if found != "t":
        raise UnsupportedModelError(
            "softmax is supported over the features and over time", found=f"dim {axis} of {x}"
        )
    x = subtract(net, x, reduce_max(net, x, axis, True))
    e = activated(net, x, Function("exponential"))
    total = reduce_sum(net, e, axis, True)
    if kind is Softmax:
        return divide(net, e, total)
    return subtract(net, x, activated(net, total, Function("log")))


# ---- products of two tensors -------------------------------------------------------------------------------


@operator(truth="refused")
def matmul(net, a, b):
    """a · b: with a parameter of two axes over the last axis of ``a``, with one of one axis likewise to one
    number; of two tensors where the axis that is summed or one of the others has one number.
    """
    if isinstance(a, Tensor) and isinstance(b, Constant) and b.array.ndim == 2:
        x = net.featured(a)
        return net.layered(x, Dense, weight=b.array.T)
    if isinstance(a, Tensor) and isinstance(b, Constant) and b.array.ndim == 1:
        x = net.layered(net.featured(a), Dense, weight=b.array[None])
        return _dropped(net, x, [len(x.axes) - 1])
    if isinstance(a, Learned) and isinstance(b, Tensor) and (a.batch, a.array.ndim, len(b.axes)) == (0, 3, 3):
        turned = matmul(net, permute(net, b, (0, 2, 1)), Constant(a.name, a.array[0].T))
        return permute(net, turned, (0, 2, 1))
    if not isinstance(a, Tensor) or not isinstance(b, Tensor):
        raise UnsupportedModelError(
            "only a product of tensors, or of one with a parameter of two axes, is supported"
        )
    a, b = net.single(a), net.single(b)
    if len(a.axes) != 3 or len(b.axes) != 3 or a.axes[0] != "b" or b.axes[0] != "b":
        raise AxesError("a product of tensors needs three axes, the batch first", found=f"{a} and {b}")
    if "1" not in (a.axes[1], b.axes[2]):
        a, b = ones_named(net, a), ones_named(net, b)
    rows, columns = a.axes[1], b.axes[2]
    if "1" not in (rows, columns) or not {a.axes[2], b.axes[1]} <= {"t", "f", "1"}:
        raise UnsupportedModelError(
            "a product of two sequences with one another is supported only where one side has one row",
            found=f"{a} and {b}",
        )
    if rows == "1":  # (b, k) beside (b, k, columns)
        made = reduce_sum(net, multiply(net, a.view(("b", a.axes[2], "1")), b), 1)
        return made.view(("b", "1", *made.axes[1:]))
    made = reduce_sum(net, multiply(net, a, b.view(("b", "1", b.axes[1]))), 2)
    return made.view((*made.axes, "1"))


@operator(truth="refused")
def gemm(net, a, b, c):
    """a · b + c."""
    return add(net, matmul(net, a, b), c)


@operator(truth="refused", apart=True)
def einsum(net, equation, tensors):
    """A sum of products, as NumPy's einsum writes it, of one tensor or two, or of one and a parameter."""
    inputs, _, output = str(equation).replace(" ", "").partition("->")
    letters = inputs.split(",")
    if (
        not output
        or "." in inputs
        or len(letters) != len(tensors)
        or any(len(set(own)) != len(own) for own in (*letters, output))
    ):
        raise UnsupportedModelError("this einsum is not supported", found=str(equation))
    kept = len(output) >= max(map(len, letters)) and all(c in output for own in letters for c in own)
    if len(tensors) == 2 and any(isinstance(t, Constant) for t in tensors) and not kept:
        return _einsum_with_parameter(net, letters, tensors, output)
    if kept or len(tensors) > 2 or any(isinstance(t, Slots) and tensor_of(net, t) is None for t in tensors):
        return _einsum_of_numbers(net, letters, tensors, output)
    tensors = [tensor_of(net, t) if isinstance(t, Slots) else t for t in tensors]
    if not all(isinstance(t, Tensor) for t in tensors):
        raise UnsupportedModelError("this einsum is not supported", found=str(equation))
    every = output + "".join(dict.fromkeys(c for own in letters for c in own if c not in output))
    placed = []
    for own, x in zip(letters, tensors):
        x = ones_named(net, net.single(x))
        if len(own) != len(x.axes):
            raise AxesError("the letters of einsum do not fit the axes", found=f"{own} of {x}")
        order = sorted(range(len(own)), key=lambda k, own=own: every.index(own[k]))
        axes = dict(zip((own[k] for k in order), permute(net, x, order).axes))
        placed.append(x.view([axes.get(c, "1") for c in every]))
    made = placed[0] if len(placed) == 1 else multiply(net, *placed)
    summed = tuple(range(len(output), len(every)))
    return reduce_sum(net, made, summed) if summed else made


def _einsum_of_numbers(net, letters, tensors, output):
    """Frames of several axes, side by side in all the letters there are, then summed over those that go."""
    every = output + "".join(dict.fromkeys(c for own in letters for c in own if c not in output))
    made = None
    for own, x in zip(letters, tensors):
        order = sorted(range(len(own)), key=lambda k, own=own: every.index(own[k]))
        if isinstance(x, Constant):
            array = x.array.transpose(order)
            x = Constant(x.name, np.expand_dims(array, [k for k, c in enumerate(every) if c not in own]))
        elif isinstance(x, (Tensor, Slots)):
            x = slots_of(net, x)
            if len(own) != len(x.axes):
                raise AxesError("the letters of einsum do not fit the axes", found=f"{own} of {x}")
            x = apply(net, "permute", x=x, order=tuple(order))
            for k, c in enumerate(every):
                x = x if c in own else apply(net, "unsqueeze", x=x, axis=k)
        else:
            raise UnsupportedModelError("this einsum is not supported", found=f"{letters} -> {output}")
        made = x if made is None else apply(net, "multiply", a=made, b=x)
    summed = tuple(range(len(output), len(every)))
    return apply(net, "reduce_sum", x=made, axes=summed, keep=False) if summed else made


def _einsum_with_parameter(net, letters, tensors, output):
    (own, x), (theirs, w) = sorted(zip(letters, tensors), key=lambda p: isinstance(p[1], Constant))
    if isinstance(x, Slots) or len(theirs) > 2 or own.count(output[-1]) == theirs.count(output[-1]) == 1:
        return _frame_by_matrix(net, own, x, theirs, w, output)
    if not isinstance(x, Tensor) or len(own) != len(net.single(x).axes):
        raise UnsupportedModelError("this einsum is not supported", found=f"{letters} -> {output}")
    x = net.single(x)
    summed = [c for c in own if c not in output]
    if len(summed) != 1 or summed[0] not in theirs or x.axes[own.index(summed[0])] != "f":
        raise UnsupportedModelError(
            "an einsum with a parameter must sum over the features", found=f"{letters} of {x}"
        )
    (more,) = [c for c in theirs if c != summed[0]] or [None]
    order = [k for k, c in enumerate(own) if c != summed[0]] + [own.index(summed[0])]
    x = permute(net, x, order)
    array = w.array if theirs[0] != summed[0] or more is None else w.array.T
    made = linear(net, x, Constant(w.name, np.atleast_2d(array)))
    kept = [own[k] for k in order[:-1]]
    if more is None:
        made = _dropped(net, made, [len(made.axes) - 1])
    else:
        kept.append(more)
    if sorted(kept) != sorted(output):
        raise UnsupportedModelError("this einsum is not supported", found=f"{letters} -> {output}")
    return permute(net, made, [kept.index(c) for c in output])


def _frame_by_matrix(net, own, x, theirs, w, output):
    """A product of a frame of any axes with a parameter as one matrix over all of its numbers."""
    x = slots_of(net, x)
    if len(own) != len(x.axes) or len(theirs) != w.array.ndim:
        raise AxesError("the letters of einsum do not fit the axes", found=f"{own} of {x}")
    kept = [c for c, a in zip(own, x.axes) if a != "n"]
    if any(c in theirs or c not in output for c in kept):
        raise UnsupportedModelError("batch and time cannot be summed by einsum", found=f"{own} -> {output}")
    inner = "".join(c for c in own if c not in kept)
    made = "".join(c for c in output if c not in kept)
    sizes = [n for c, n in zip(own, x.places.shape) if c not in kept]
    count = math.prod(sizes)
    if count * w.array.size > _MOST_OF_A_MATRIX:
        raise UnsupportedModelError(
            "the matrix of this einsum is too large", found=f"{count} numbers a frame"
        )
    spare = next(c for c in ascii_letters if c not in own + theirs + output)
    ones = np.eye(count).reshape(count, *sizes)
    matrix = np.einsum(f"{spare}{inner},{theirs}->{spare}{made}", ones, w.array.astype(np.float64))
    reference = net.add(Dense, picked(net, x), weight=matrix.reshape(count, -1).T)
    shape = iter(matrix.shape[1:])
    places = [1 if c in kept else next(shape) for c in output]
    axes = tuple(x.axes[own.index(c)] if c in kept else "n" for c in output)
    total = math.prod(matrix.shape[1:])
    result = Slots(axes, np.arange(total).reshape(places), (reference,), (total,), x.clock)
    return tensor_of(net, result) or result
