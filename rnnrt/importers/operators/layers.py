"""Operators that are layers with weights, norms, and reductions over windows or all frames.

Weights are Constants: (outputs, inputs) for a product, (outputs, inputs / groups, taps) for a convolution.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ...errors import ResourceLimitError, ShapeError, UnsupportedModelError
from ...layers import (
    AveragePool1D,
    BatchNormalization,
    Concatenate,
    Conv1D,
    ConvTranspose1D,
    Crop1D,
    Dense,
    Embedding,
    GlobalAveragePool,
    GlobalMaxPool,
    LayerNormalization,
    MaxPool1D,
    Pad1D,
    Reshape,
    Select,
    Unflatten,
)
from ...layers.time import PAD_MODES
from ..axes.sizes import Clock, Size
from ..axes.slots import slots_of
from ..axes.values import Constant, LengthError, Tensor, settled
from .table import apply, operator

#: numbers in the matrix that puts more features beside others
_MOST_PADDED = 1 << 24


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


@operator(ids=True)
def embedding(net, x, table):
    """The row of ``table`` that each whole number names."""
    if isinstance(x, Tensor) and "f" in x.axes and net.is_ids(x):
        return apply(net, "embedding", x=slots_of(net, x), table=table)
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
    if padding == "same":
        x = settled(net, x)
    else:
        padding = tuple(own + more for own, more in zip(padding, x.padding))
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    reference = net.add(Conv1D, x.reference, **arrays, **options)
    return net.tensor(reference, "bft", net.after(x.clock, reference))


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


@operator(padding=True, truth="kept")
def pad(net, x, widths, value=0, mode="constant"):
    """``x`` with more before and after its last axes: ``widths`` (before, after) of the last, then of the one
    before it, ... Zeros around frames are kept until a convolution reads them.
    """
    value = 0.0 if value is None else value
    if (
        len(widths) % 2
        or len(widths) > 2 * len(x.axes)
        or not all(isinstance(n, int) and not isinstance(n, bool) for n in widths)
        or isinstance(value, bool)
        or not isinstance(value, (int, float))
    ):
        raise UnsupportedModelError(
            "this padding is not supported",
            expected="numbers before and after the last axes",
            found=f"{widths} of value {value}",
        )
    if mode not in PAD_MODES:
        raise UnsupportedModelError(
            f"padding by mode={mode!r} is not supported", expected=f"one of {', '.join(PAD_MODES)}"
        )
    x = net.single(x)
    value = float(value != 0) if x.truth else value
    for back in range(len(widths) // 2):
        ends, place = widths[2 * back : 2 * back + 2], len(x.axes) - 1 - back
        if ends == (0, 0) or list(ends) == [0, 0]:
            continue
        axis = x.axes[place]
        if axis == "1" and "t" not in x.axes:
            x = x.view(
                x.axes[:place] + ("t",) + x.axes[place + 1 :], (net.add(Unflatten, _wide(net, x), length=1),)
            )
            x = dataclasses.replace(x, clock=Clock("", 1, 0))
            axis = "t"
        if axis == "f" and mode == "constant":
            x = _more_features(net, x, *ends, value)
        elif axis == "t":
            x = _more_frames(net, x, ends, value, mode)
        else:
            raise UnsupportedModelError(
                "only time, and features by a value, can be padded", found=f"axis {place} of {x}"
            )
    return x


def _wide(net, x):
    return x.reference if net.signal(x).features else net.add(Reshape, x.reference, features=(1,))


def _more_features(net, x, before, after, value):
    if before < 0 or after < 0:
        kept = range(max(0, -before), net.signal(x).width - max(0, -after))
        x = net.layered(x, Select, index=tuple(kept))
        before, after = max(0, before), max(0, after)
    size = net.signal(x).width
    if (before + size + after) * size > _MOST_PADDED:
        raise ResourceLimitError("so many features more are not supported", found=f"{before} and {after}")
    weight = np.zeros((before + size + after, size))
    weight[before : before + size] = np.eye(size)
    bias = np.full(len(weight), float(value))
    bias[before : before + size] = 0
    return net.layered(x, Dense, weight=weight, bias=bias if value else None)


def _more_frames(net, x, ends, value, mode):
    net.whole(x)
    if mode == "constant" and value == 0 and min(ends) >= 0 and x.axes == ("b", "f", "t"):
        return dataclasses.replace(x, padding=tuple(own + more for own, more in zip(x.padding, ends)))
    x = settled(net, x)
    fields = {"mode": mode, "value": value if mode == "constant" else 0.0}
    if max(ends) > 0:
        before, after = (max(0, n) for n in ends)
        reference = net.add(Pad1D, x.reference, before=before, after=after, **fields)
        x = net.tensor(reference, x.axes, net.after(x.clock, reference))
    if min(ends) < 0:
        before, after = (max(0, -n) for n in ends)
        reference = net.add(Crop1D, x.reference, before=before, after=after)
        x = net.tensor(reference, x.axes, net.after(x.clock, reference))
    return x


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
    if len(x.axes) == 4:
        fields = {"scale": scale, "offset": offset, "epsilon": epsilon}
        return apply(net, "batch_norm", x=slots_of(net, x), mean=mean, variance=variance, **fields)
    x = net.arranged(x, "bf", "bft") if x.axes not in (("bt", "f"), ("tb", "f")) else x
    if mean is None or variance is None:
        raise UnsupportedModelError("a batch norm without running statistics is not supported")
    arrays = _arrays(mean=mean, variance=variance, gamma=scale, beta=offset)
    return net.tensor(net.add(BatchNormalization, x.reference, **arrays, epsilon=epsilon), x.axes, x.clock)


@operator()
def layer_norm(net, x, size, scale=None, offset=None, epsilon=1e-5):
    """The features of each frame, ``size`` of them, at mean 0 and variance 1; then · scale + offset."""
    if isinstance(size, tuple):
        return apply(
            net, "layer_norm", x=slots_of(net, x), size=size, scale=scale, offset=offset, epsilon=epsilon
        )
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
def max_pool1d(net, x, size, stride, padding=(0, 0), dilation=1):
    """The greatest of each window of frames; padding never wins."""
    return _pooled(net, x, MaxPool1D, size=size, stride=stride, padding=padding, dilation=dilation)


@operator()
def average_pool1d(net, x, size, stride, padding=(0, 0), count_padding=True, zeros=(0, 0)):
    """The mean of each window of frames; padded zeros count where ``count_padding``. ``zeros``: further ones
    before and after, which always count.
    """
    if any(zeros):
        x = settled(net, pad(net, net.arranged(x, "bft"), zeros))
    options = {"size": size, "stride": stride, "padding": padding, "count_padding": bool(count_padding)}
    return _pooled(net, x, AveragePool1D, **options)


def _pooled(net, x, kind, **fields):
    if isinstance(fields["size"], Size):
        x = net.arranged(x, "bft")
        if net.sizes(x)[-1] != fields["size"]:
            raise UnsupportedModelError(
                "a window must be a number of frames, or all of them", found=str(fields["size"])
            )
        whole = GlobalMaxPool if kind is MaxPool1D else GlobalAveragePool
        return net.tensor(net.add(whole, x.reference), "bf1", None)
    x = net.arranged(x, "bft")
    reference = net.add(kind, x.reference, **fields)
    return net.tensor(reference, "bft", net.after(x.clock, reference))


@operator()
def global_average_pool(net, x):
    """The mean of all frames, as one frame."""
    return _adaptive(net, x, 1, GlobalAveragePool)


@operator(truth="kept")
def global_max_pool(net, x):
    """The greatest of all frames, as one frame."""
    return _adaptive(net, x, 1, GlobalMaxPool)


@operator()
def adaptive_average_pool(net, x, frames):
    """``frames`` means, of parts of the sequence as equal as they can be."""
    return _adaptive(net, x, frames, GlobalAveragePool)


@operator(truth="kept")
def adaptive_max_pool(net, x, frames):
    """``frames`` greatest, of parts of the sequence as equal as they can be."""
    return _adaptive(net, x, frames, GlobalMaxPool)


def _adaptive(net, x, frames, kind):
    x = net.arranged(x, "bft")
    if frames == 1:
        return net.tensor(net.add(kind, x.reference), "bf1", None)
    length = net.signal(x).length
    if length is None:
        raise LengthError(
            "adaptive pooling to more than one frame needs a fixed number of frames", fix=net.advice["length"]
        )
    if not 1 <= frames <= 1024:
        raise UnsupportedModelError(
            "adaptive pooling to so many frames is not supported", expected="1 to 1024", found=str(frames)
        )
    parts = []
    for k in range(frames):
        start, end = k * length // frames, -(-(k + 1) * length // frames)
        part = net.add(Crop1D, x.reference, before=start, after=length - end)
        parts.append(net.add(kind, part))
    reference = net.add(Unflatten, net.add(Concatenate, *parts), length=frames)
    return net.tensor(reference, "bft", Clock("", frames, 0))


# ---- more frames -------------------------------------------------------------------------------------------


@operator(truth="kept")
def repeat_frames(net, x, times):
    """Every frame ``times`` times, over the last axis."""
    x = net.arranged(x, "bft")
    if times == 1:
        return x
    if isinstance(times, bool) or not isinstance(times, int) or not 1 <= times <= 4096:
        raise UnsupportedModelError(
            "frames can be repeated a whole number of times", expected="1 to 4096", found=str(times)
        )
    width = net.signal(x).width
    ones = np.ones((width, times, 1))
    reference = net.add(ConvTranspose1D, x.reference, weight=ones, stride=times, groups=width)
    return net.tensor(reference, "bft", net.after(x.clock, reference))


@operator()
def upsample(net, x, times, mode="nearest"):
    """``times`` frames for every frame, over the last axis: copies, or by lines between the middles of
    frames (align_corners=False).
    """
    whole = isinstance(times, (int, float)) and not isinstance(times, bool) and float(times).is_integer()
    if not whole or not 1 <= times <= 4096:
        raise UnsupportedModelError(
            "upsampling is supported by a whole number",
            expected="scale_factor of 1 to 4096",
            found=str(times),
        )
    times = int(times)
    if mode in ("nearest", "nearest-exact"):
        return repeat_frames(net, x, times)
    if mode != "linear":
        raise UnsupportedModelError(
            f"upsampling by mode={mode!r} is not supported", expected="nearest or linear"
        )
    x = net.arranged(x, "bft")
    if times == 1:
        return x
    width, taps = net.signal(x).width, 2 * times - times % 2
    # the frame at place t of the longer sequence lies (t + 0.5) / times - 0.5 along the shorter one
    offsets = (np.arange(taps) - (taps - 1) / 2) / times
    weight = np.broadcast_to((1 - np.abs(offsets))[None, :, None], (width, taps, 1))
    reference = net.add(Pad1D, x.reference, before=1, after=1, mode="replicate")
    first = times + (taps - times) // 2
    fields = {"weight": weight, "stride": times, "groups": width, "padding": (first, first)}
    made = net.add(ConvTranspose1D, reference, **fields)
    clock = net.after(net.after(x.clock, reference), made)
    return net.tensor(made, "bft", clock)
