"""Operators that are layers with weights, norms, and reductions over windows or all frames.

Weights are Constants: (outputs, inputs) for a product, (outputs, inputs / groups, taps) for a convolution.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ...errors import ShapeError, UnsupportedModelError
from ...layers import (
    AveragePool1D,
    BatchNormalization,
    Conv1D,
    ConvTranspose1D,
    Dense,
    Embedding,
    GlobalAveragePool,
    GlobalMaxPool,
    LayerNormalization,
    MaxPool1D,
)
from ..axes.values import Constant, Tensor
from .arithmetic import add
from .table import operator


def _arrays(**constants):
    """Parameters as arrays, None for those that are left out."""
    for name, value in constants.items():
        if value is not None and not isinstance(value, Constant):
            raise UnsupportedModelError(f"the {name} must be a parameter or a buffer of the module")
    return {name: None if value is None else value.array for name, value in constants.items()}


def taps_first(weight):
    """A convolution weight (out, in / groups, tap) as (out, tap, in / groups)."""
    return np.swapaxes(np.asarray(weight), 1, 2)


# ---- products ----------------------------------------------------------------------------------------------


@operator()
def linear(net, x, weight, bias=None):
    """weight · x + bias over the last axis."""
    x = net.featured(x)
    return net.tensor(net.add(Dense, x.reference, **_arrays(weight=weight, bias=bias)), x.axes, x.clock)


@operator()
def matmul(net, a, b):
    """a · b over the last axis of ``a``, ``b`` a parameter of two axes."""
    if not isinstance(a, Tensor) or not isinstance(b, Constant) or b.array.ndim != 2:
        raise UnsupportedModelError("only a product with a parameter of two axes is supported")
    x = net.featured(a)
    return net.layered(x, Dense, weight=b.array.T)


@operator()
def gemm(net, a, b, c):
    """a · b + c."""
    return add(net, matmul(net, a, b), c)


@operator(ids=True)
def embedding(net, x, table):
    """The row of ``table`` that each whole number names."""
    if not isinstance(x, Tensor) or not net.is_ids(x):
        raise UnsupportedModelError("an Embedding must read whole numbers given as input", found=str(x))
    reference = net.add(Embedding, x.reference, weight=_arrays(weight=table)["weight"])
    return net.tensor(reference, (*x.axes, "f"), x.clock)


@operator(padding=True)
def conv1d(net, x, weight, bias=None, stride=1, padding=(0, 0), dilation=1, groups=1):
    """A convolution over (batch, features, time). ``padding``: zeros (before, after), or "same"."""
    x = net.arranged(x, "bft")
    arrays = _arrays(weight=weight, bias=bias)
    if np.ndim(arrays["weight"]) != 3:
        shape = str(np.shape(arrays["weight"]))
        raise ShapeError("weight must be (out, in / groups, tap)", found=shape)
    arrays["weight"] = taps_first(arrays["weight"])
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    reference = net.add(Conv1D, x.reference, **arrays, **options)
    if any(x.padding):
        reference = _with_padding(net, x.padding)
    return net.tensor(reference, "bft", net.after(x.clock, reference))


def _with_padding(net, extra):
    """The convolution just added, with the zeros that ``pad`` put around its input."""
    layer = net.builder.layers[-1]
    fields = {f.name: getattr(layer, f.name) for f in dataclasses.fields(layer)}
    fields["padding"] = tuple(own + more for own, more in zip(layer.padding, extra))
    return net.builder.add(type(layer), fields.pop("name"), *fields.pop("inputs"), **fields)


def transposed_taps_first(weight, groups):
    """The weight of a transposed convolution, (in, out / groups, tap), as (out, tap, in / groups)."""
    weight = np.asarray(weight)
    inputs, outputs, taps = weight.shape
    if inputs % groups:
        raise ShapeError("groups must divide the inputs", found=f"{inputs} inputs, {groups} groups")
    parts = weight.reshape(groups, inputs // groups, outputs, taps).transpose(0, 2, 3, 1)
    return parts.reshape(groups * outputs, taps, inputs // groups)


@operator()
def conv_transpose1d(net, x, weight, bias=None, stride=1, padding=(0, 0), dilation=1, groups=1):
    """A transposed convolution over (batch, features, time), weight (inputs, outputs / groups, taps).
    ``padding``: frames cut off (before, after), or where less than 0 added.
    """
    x = net.arranged(x, "bft")
    arrays = _arrays(weight=weight, bias=bias)
    if np.ndim(arrays["weight"]) != 3:
        raise ShapeError("weight must be (in, out / groups, tap)", found=str(np.shape(arrays["weight"])))
    arrays["weight"] = transposed_taps_first(arrays["weight"], groups)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    reference = net.add(ConvTranspose1D, x.reference, **arrays, **options)
    return net.tensor(reference, "bft", net.after(x.clock, reference))


@operator(padding=True)
def pad(net, x, widths, value=0):
    """Zeros before and after the last axis of a (batch, features, time) tensor, kept until the convolution
    that reads it. ``widths``: (before, after).
    """
    if value not in (None, 0) or len(widths) != 2 or not all(isinstance(n, int) and n >= 0 for n in widths):
        raise UnsupportedModelError(
            "only zeros before and after the frames can be padded", found=f"{widths} of value {value}"
        )
    x = net.arranged(x, "bft")
    return dataclasses.replace(x, padding=tuple(own + more for own, more in zip(x.padding, widths)))


# ---- norms -------------------------------------------------------------------------------------------------


@operator()
def batch_norm(net, x, mean, variance, scale=None, offset=None, epsilon=1e-5, own_statistics=False):
    """(x - mean) / sqrt(variance + epsilon) · scale + offset, a number of each for every feature;
    ``own_statistics``: with mean and variance of each batch, which is refused.
    """
    if own_statistics:
        raise UnsupportedModelError(
            "a batch_norm with each batch's own statistics (training=True) is not supported"
        )
    x = net.arranged(x, "bf", "bft") if x.axes not in (("bt", "f"), ("tb", "f")) else x
    if mean is None or variance is None:
        raise UnsupportedModelError("a batch norm without running statistics is not supported")
    arrays = _arrays(mean=mean, variance=variance, gamma=scale, beta=offset)
    return net.tensor(net.add(BatchNormalization, x.reference, **arrays, epsilon=epsilon), x.axes, x.clock)


@operator()
def layer_norm(net, x, size, scale=None, offset=None, epsilon=1e-5):
    """The features of each frame, ``size`` of them, at mean 0 and variance 1; then · scale + offset."""
    x = net.featured(x)
    features = net.signal(x).features
    if features != (size,):
        raise ShapeError(
            "normalized_shape must be the features of a frame", expected=str(features), found=f"({size},)"
        )
    arrays = _arrays(gamma=scale, beta=offset)
    return net.tensor(
        net.add(LayerNormalization, x.reference, size=size, **arrays, epsilon=epsilon), x.axes, x.clock
    )


# ---- pooling -----------------------------------------------------------------------------------------------


@operator()
def max_pool1d(net, x, size, stride, padding=(0, 0)):
    """The greatest of each window of frames; padding never wins."""
    return _pooled(net, x, MaxPool1D, size=size, stride=stride, padding=padding)


@operator()
def average_pool1d(net, x, size, stride, padding=(0, 0), count_padding=True):
    """The mean of each window of frames; padded zeros count where ``count_padding``."""
    options = {"size": size, "stride": stride, "padding": padding, "count_padding": bool(count_padding)}
    return _pooled(net, x, AveragePool1D, **options)


def _pooled(net, x, kind, **fields):
    x = net.arranged(x, "bft")
    reference = net.add(kind, x.reference, **fields)
    return net.tensor(reference, "bft", net.after(x.clock, reference))


@operator()
def global_average_pool(net, x):
    """The mean of all frames, as one frame."""
    return net.tensor(net.add(GlobalAveragePool, net.arranged(x, "bft").reference), "bf1", None)


@operator()
def global_max_pool(net, x):
    """The greatest of all frames, as one frame."""
    return net.tensor(net.add(GlobalMaxPool, net.arranged(x, "bft").reference), "bf1", None)


@operator()
def reduce_mean(net, x, axes=None, keep=False):
    """The mean over time; ``keep``: an axis of size one stays."""
    return _over_time(net, x, GlobalAveragePool, axes, keep)


@operator()
def reduce_max(net, x, axes=None, keep=False):
    """The greatest over time; ``keep``: an axis of size one stays."""
    return _over_time(net, x, GlobalMaxPool, axes, keep)


def _over_time(net, x, kind, axes, keep):
    """A reduction of all frames to one; the axis must be that of time."""
    numbers = axes if isinstance(axes, (tuple, list)) else (axes,)
    if len(numbers) != 1 or numbers[0] is None:
        raise UnsupportedModelError("dim must be the one axis of time", found=str(axes))
    position = net.axis(x, numbers[0])
    if x.axes[position] != "t":
        raise UnsupportedModelError("only time can be reduced", found=f"axis {numbers[0]} of {x}")
    net.whole(x)
    left = x.axes[:position] + (("1",) if keep else ()) + x.axes[position + 1 :]
    return net.tensor(net.add(kind, x.reference), left, None)
