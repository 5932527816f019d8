"""Norms with statistics of each sequence or frame that are made of other operators: group, instance and root
mean square.
"""

from __future__ import annotations

import numpy as np

from ...errors import ShapeError
from ...layers import Affine, Dense, Function, GlobalAveragePool
from ..axes.values import AxesError, Constant
from .activations import activated, root_reciprocal
from .arithmetic import add, multiply, subtract
from .reductions import reduce_mean
from .table import apply, operator


def _scaled(net, x, scale, offset):
    """``x`` · scale + offset, a number of each for every feature."""
    size = net.signal(x).width
    arrays = []
    for value, default in ((scale, 1.0), (offset, 0.0)):
        array = np.full(size, default) if value is None else np.asarray(value.array)
        if array.shape != (size,):
            raise ShapeError(
                "a norm needs one number a feature", expected=f"({size},)", found=str(array.shape)
            )
        arrays.append(array)
    if scale is None and offset is None:
        return x
    return net.layered(x, Affine, scale=arrays[0], offset=arrays[1])


@operator()
def group_norm(net, x, groups, scale=None, offset=None, epsilon=1e-5):
    """(batch, features, time): each of ``groups`` of features side by side at mean 0 and variance 1 over its
    features and all frames; then · scale + offset. Without time: over its features.
    """
    x = net.single(x)
    if x.axes[:2] != ("b", "f") or x.axes not in (("b", "f"), ("b", "f", "t")):
        raise AxesError(
            "a group norm needs (batch, features, time)", expected="(batch, features, ...)", found=str(x)
        )
    size = net.signal(x).width
    if groups < 1 or size % groups:
        raise ShapeError(
            "groups must divide the features", expected=f"a divisor of {size}", found=str(groups)
        )
    inside = size // groups
    block = np.kron(np.eye(groups), np.full((inside, inside), 1.0 / inside))

    def mean(value):
        """Of each group, at every feature of it; of all frames."""
        reference = value.reference
        if "t" in value.axes:
            net.whole(value)
            reference = net.add(GlobalAveragePool, reference)
        if inside > 1:
            reference = net.add(Dense, reference, weight=block)
        return net.tensor(reference, ("b", "f", "1")[: len(value.axes)], None)

    off = subtract(net, x, mean(x))
    spread = add(net, mean(activated(net, off, Function("square"))), float(epsilon))
    return _scaled(net, multiply(net, off, root_reciprocal(net, spread)), scale, offset)


@operator()
def instance_norm(
    net, x, scale=None, offset=None, epsilon=1e-5, mean=None, variance=None, own_statistics=True
):
    """(batch, features, time): every feature at mean 0 and variance 1 over all frames; then · scale +
    offset.
    """
    if not own_statistics:  # the same numbers for every row: a batch norm
        fields = {"mean": mean, "variance": variance, "scale": scale, "offset": offset}
        return apply(net, "batch_norm", x=x, **fields, epsilon=epsilon)
    if not isinstance(x.axes, tuple) or net.single(x).axes != ("b", "f", "t"):
        raise AxesError("an instance norm needs (batch, features, time)", found=str(x))
    return group_norm(net, x, net.signal(x).width, scale, offset, epsilon)


@operator()
def rms_norm(net, x, size, scale=None, epsilon=None):
    """x / sqrt(mean of x^2 over the features + epsilon) · scale."""
    x = net.featured(x)
    if net.signal(x).features != (size,):
        raise ShapeError(
            "normalized_shape must be the features of a frame",
            expected=str(net.signal(x).features),
            found=f"({size},)",
        )
    epsilon = float(np.finfo(np.float32).eps) if epsilon is None else float(epsilon)
    squares = reduce_mean(net, activated(net, x, Function("square")), -1, True)
    y = multiply(net, x, root_reciprocal(net, add(net, squares, epsilon)))
    return _scaled(net, y, scale if isinstance(scale, Constant) else None, None)
