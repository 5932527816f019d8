"""Keras's 2-D layers in front of a sequence: options and arrays -> graph layers.

Time is the first spatial axis: a frame of (batch, time, bins, channels) is (bins, channels). What a pool or a
padding does is done over time and over the bins of each frame one after the other, which is the same.
Functions as in layers.py.
"""

from __future__ import annotations

from math import prod

import numpy as np

from ... import layers
from ...errors import ModelFileError, UnsupportedModelError
from ..axes.values import Constant
from .algebra import Algebra


def _check_frames(context, x):
    signal = context.builder.signal(x)
    if not signal.time or len(signal.features) != 2:
        raise UnsupportedModelError(
            "is supported only where its first spatial axis is time",
            where=context.layer.where,
            expected="(batch, time, bins, channels)",
            found=str(signal),
        )
    return signal.features


def _pair(context, option, default=1):
    """The option for time and for bins: one whole number above 0, or two."""
    value = context.config.integers(option, default)
    value = value * 2 if len(value) == 1 else value
    if len(value) != 2 or min(value) < 1:
        raise ModelFileError(
            f"{option} must be one number or two, above 0", where=context.layer.where, found=str(value)
        )
    return value


def _padding(context):
    padding = context.config.text("padding", "valid")
    if padding not in ("valid", "same"):
        raise context.config.unsupported("padding", padding, "valid or same")
    return "same" if padding == "same" else (0, 0)


# ---- convolutions ------------------------------------------------------------------------------------------


def _window(context, x):
    """Options every convolution has: (taps, bin taps), the fields of a Conv2D."""
    _check_frames(context, x)
    context.channels_last()
    taps, padding = _pair(context, "kernel_size"), _padding(context)
    (stride, bin_stride), (dilation, bin_dilation) = (
        _pair(context, "strides"),
        _pair(context, "dilation_rate"),
    )
    return taps, {
        "stride": stride,
        "bin_stride": bin_stride,
        "dilation": dilation,
        "bin_dilation": bin_dilation,
        "padding": padding,
        "bin_padding": padding,
    }


def _conv2d(context, x):
    """Keras's kernel is (tap, bin tap, in per group, out)."""
    taps, window = _window(context, x)
    filters, groups = context.config.integer("filters"), context.config.integer("groups", 1)
    weight = context.array("kernel", *taps, None, filters).transpose(3, 0, 1, 2)
    return context.activated(
        layers.Conv2D, x, weight=weight, bias=context.bias(filters), groups=groups, **window
    )


def _depthwise(context, taps):
    """The kernel (tap, bin tap, in, multiplier) as (in * multiplier, tap, bin tap, 1), and the groups."""
    multiplier = context.config.integer("depth_multiplier", 1)
    context.config.only("groups", 1)
    kernel = context.array("depthwise_kernel", *taps, None, multiplier)
    return kernel.transpose(2, 3, 0, 1).reshape(-1, *taps, 1), kernel.shape[2]


def _depthwise_conv2d(context, x):
    taps, window = _window(context, x)
    weight, groups = _depthwise(context, taps)
    return context.activated(
        layers.Conv2D, x, weight=weight, bias=context.bias(len(weight)), groups=groups, **window
    )


def _separable_conv2d(context, x):
    taps, window = _window(context, x)
    weight, groups = _depthwise(context, taps)
    filters = context.config.integer("filters")
    x = context.add(layers.Conv2D, x, suffix=".depthwise", weight=weight, groups=groups, **window)
    pointwise = context.array("pointwise_kernel", 1, 1, len(weight), filters).transpose(3, 0, 1, 2)
    return context.activated(layers.Conv2D, x, weight=pointwise, bias=context.bias(filters))


def _conv2d_transpose(context, x):
    """Keras's kernel is (tap, bin tap, out, in). What "same" cuts off is what makes it the transpose of a
    convolution padded so; a valid one has at least length * stride numbers.
    """
    taps, window = _window(context, x)
    strides = (window["stride"], window["bin_stride"])
    dilations = (window["dilation"], window["bin_dilation"])
    filters = context.config.integer("filters")
    context.config.only("output_padding", None)
    context.config.only("groups", 1)
    same = window["padding"] == "same"
    if same and dilations != (1, 1):
        raise context.config.unsupported("dilation_rate", dilations, "1 with padding='same'")
    ends = []
    for k, s, d in zip(taps, strides, dilations):
        total = s + k - 2
        left = min(-(-total // 2), k - 1)
        ends.append((k - 1 - left, k - 1 - total + left) if same else (0, min(0, (k - 1) * d + 1 - s)))
    kernel, bias = context.array("kernel", *taps, filters, None).transpose(3, 2, 0, 1), context.bias(filters)
    algebra = Algebra(context, (x,))
    made = algebra.do("permute", x=algebra.inputs[0], order=(0, 3, 1, 2))
    fields = {"stride": strides, "padding": tuple(ends), "dilation": dilations}
    fields["bias"] = None if bias is None else Constant("bias", bias)
    made = algebra.do("conv_transpose2d", x=made, weight=Constant("kernel", kernel), **fields)
    y = algebra.reference(algebra.do("permute", x=made, order=(0, 2, 3, 1)))
    function = context.config.activation("activation")
    if isinstance(function, str):
        return context.of_a_frame(function, y, suffix=f".{function}")
    return context.add(layers.Activation, y, suffix=".activated", activation=function)


# ---- channels in front -------------------------------------------------------------------------------------


def _either_format(build):
    """A layer whose channels may stand in front of time, data_format="channels_first": they are moved behind
    it and back, which needs a fixed length."""

    def moved(context, x):
        if context.layer.config.get("data_format") != "channels_first":
            return build(context, x)
        signal = context.builder.signal(x)
        if not signal.time or len(signal.features) != 2:
            raise UnsupportedModelError(
                "is supported with data_format='channels_first' only on (batch, channels, time, bins)",
                where=context.layer.where,
                found=str(signal),
            )
        context.config.values = context.config.values | {"data_format": "channels_last"}
        y = build(context, permuted(context, x, [2, 3, 1]))
        signal = context.builder.signal(y)
        return permuted(context, y, [3, 1, 2]) if signal.time and len(signal.features) == 2 else y

    return moved


# ---- pools, padding ----------------------------------------------------------------------------------------


def _over_both(context, x, kind, over_time, over_bins):
    """A layer over time, then over bins, by the fields it has there; None: nothing is done."""
    if over_time is not None:
        x = context.add(kind, x, **over_time)
    if over_bins is not None:
        x = context.over_bins(x, lambda bins: context.add(kind, bins, **over_bins))
    return x


def _pool(kind):
    def build(context, x):
        _check_frames(context, x)
        context.channels_last()
        size, padding = _pair(context, "pool_size", 2), _padding(context)
        stride = size if context.config.value("strides", None) is None else _pair(context, "strides")
        fields = [
            None if size == stride == 1 else {"size": size, "stride": stride, "padding": padding}
            for size, stride in zip(size, stride)
        ]
        return _over_both(context, x, kind, *fields)

    return build


def _global_pool(kind):
    def build(context, x):
        _check_frames(context, x)
        context.channels_last()
        y = context.add(kind, context.over_bins(x, lambda bins: context.add(kind, bins)))
        if not context.config.flag("keepdims", False):
            return y
        width = context.width(y)
        y = context.add(layers.Unflatten, y, suffix=".keepdims", length=1)
        return context.add(layers.Reshape, y, suffix=".bin", features=(1, width))

    return build


def _ends(context, option):
    """((before, after) of time, of bins): one number for all, one for each axis, or two."""
    value = context.config.value(option, 1)
    value = [value, value] if isinstance(value, int) else value
    if isinstance(value, list) and len(value) == 2:
        value = [[n, n] if isinstance(n, int) else n for n in value]
        if all(isinstance(pair, list) and len(pair) == 2 for pair in value) and all(
            type(n) is int and 0 <= n <= 1 << 22 for pair in value for n in pair
        ):
            return value
    raise ModelFileError(
        f"{option} must be one number, two, or two pairs, not negative",
        where=context.layer.where,
        found=repr(value)[:80],
    )


def _ends_of(kind, option):
    def build(context, x):
        _check_frames(context, x)
        context.channels_last()
        fields = [
            {"before": before, "after": after} if before or after else None
            for before, after in _ends(context, option)
        ]
        return _over_both(context, x, kind, *fields)

    return build


def _up_sampling2d(context, x):
    bins, channels = _check_frames(context, x)
    context.channels_last()
    if (how := context.config.text("interpolation", "nearest")) != "nearest":
        raise context.config.unsupported("interpolation", how, "nearest")
    times, bin_times = _pair(context, "size", 2)
    if bin_times > 1:
        check_copies(context, bins * bin_times * channels)
        order = np.repeat(np.arange(bins * channels).reshape(bins, channels), bin_times, 0)
        x = reordered(context, x, order, order.shape)
    if times == 1:
        return x
    features = context.builder.signal(x).features
    row = context.add(layers.Reshape, x, suffix=".row_of_frames", features=(prod(features),))
    algebra = Algebra(context, (row,))
    made = algebra.reference(algebra.do("repeat_each", x=algebra.inputs[0], times=times, axis=1))
    return context.add(layers.Reshape, made, suffix=".frames", features=features)


# ---- frames of several axes elsewhere ----------------------------------------------------------------------


def check_copies(context, numbers):
    """An index is stored for each of them."""
    if not 1 <= numbers <= 1 << 20:
        raise UnsupportedModelError(
            "would move too many numbers",
            where=context.layer.where,
            expected="1 to 2**20",
            found=str(numbers),
        )
    context.synthesize(numbers)


def reordered(context, x, order, features):
    """Frames of ``features`` made of the numbers of ``x`` in this order, an array of places."""
    order = order.ravel()
    check_copies(context, order.size)
    row = context.add(layers.Reshape, x, suffix=".row", features=(context.width(x),))
    y = context.add(layers.Select, row, suffix=".order", index=order)
    return y if features == (order.size,) else context.add(layers.Reshape, y, features=features)


def concatenated(context, xs, axis):
    """Frames of several axes side by side along one of them, counted from the front of a frame."""
    signals = [context.builder.signal(x) for x in xs]
    places, at = [], 0
    for signal in signals:
        places.append(np.arange(at, at + signal.width).reshape(signal.features))
        at += signal.width
    order = np.concatenate(places, axis)
    rows = [
        context.add(layers.Reshape, x, suffix=f".row_{k}", features=(s.width,))
        for k, (x, s) in enumerate(zip(xs, signals))
    ]
    y = context.add(layers.Concatenate, *rows, suffix=".rows")
    if axis == 0:
        return context.add(layers.Reshape, y, features=order.shape)
    return reordered(context, y, order, order.shape)


def _permute(context, x):
    """The axes in another order: those of each frame, or, of a sequence of fixed length, time as well, by way
    of all numbers side by side.
    """
    return permuted(context, x, context.config.integers("dims"))


def permuted(context, x, dims):
    """The axes behind the batch in the order ``dims``, counted from 1."""
    signal = context.builder.signal(x)
    shape = ((signal.length,) if signal.time else ()) + signal.features
    if sorted(dims) != list(range(1, len(shape) + 1)):
        raise context.config.unsupported("dims", dims, f"an order of the axes of {signal}")
    if dims == sorted(dims):
        return x
    if not signal.time or dims[0] == 1:
        order = np.arange(signal.width).reshape(signal.features)
        order = order.transpose([d - 1 - signal.time for d in dims[signal.time :]])
        return reordered(context, x, order, order.shape)
    if signal.length is None:
        raise UnsupportedModelError(
            "moves time, which is supported only on sequences of fixed length",
            where=context.layer.where,
            expected="dims that begin with 1, or (batch, a fixed number, features)",
            found=f"{dims} of {signal}",
        )
    check_copies(context, signal.length * context.width(x))
    order = np.arange(signal.length * signal.width).reshape(shape).transpose([d - 1 for d in dims])
    if len(signal.features) > 1:
        x = context.add(layers.Reshape, x, suffix=".row", features=(signal.width,))
    flat = context.add(layers.Flatten, x, suffix=".flat")
    flat = context.add(layers.Select, flat, suffix=".order", index=order.ravel())
    if len(order.shape) == 2:
        return context.add(layers.Unflatten, flat, length=order.shape[0])
    frames = context.add(layers.Unflatten, flat, suffix=".frames", length=order.shape[0])
    return context.add(layers.Reshape, frames, features=order.shape[1:])


def normalized(context, x, axes, **fields):
    """Layer normalisation of frames of several axes, over the last of them or over all."""
    signal = context.builder.signal(x)
    rank = 2 + len(signal.features)
    places = sorted(n % rank if -rank <= n < rank else -1 for n in axes)
    if places == [rank - 1] and len(signal.features) == 2:
        size = signal.features[-1]
        return context.over_bins(
            x, lambda bins: context.add(layers.LayerNormalization, bins, size=size, **fields)
        )
    if places != list(range(2, rank)):
        raise context.config.unsupported("axis", axes, "the last axis, or all axes of a frame")
    fields |= {name: fields[name].reshape(-1) for name in ("gamma", "beta") if fields[name] is not None}
    row = context.add(layers.Reshape, x, suffix=".row", features=(prod(signal.features),))
    y = context.add(layers.LayerNormalization, row, size=prod(signal.features), **fields)
    return context.add(layers.Reshape, y, suffix=".frames", features=signal.features)


def normalized_over(context, x, axis, normalize):
    """Batch normalisation over another axis than the last: bins, or the frames of a sequence of fixed length.

    ``normalize``: f(context, a row of numbers, what makes an array of a row of one of a variable).
    """
    signal = context.builder.signal(x)
    timed = axis == 1 and signal.time
    if timed and signal.length is None:
        raise context.config.unsupported("axis", [axis], "the last axis, or a fixed number of frames")
    shape = ((signal.length,) if timed else ()) + signal.features
    place = 0 if timed else axis - 1 - signal.time
    context.synthesize(prod(shape))

    def spread(array):
        if array.shape != (shape[place],):
            raise ModelFileError(
                "a variable has the wrong shape",
                where=context.layer.where,
                expected=f"({shape[place]},)",
                found=str(array.shape),
            )
        one = [n if k == place else 1 for k, n in enumerate(shape)]
        return np.broadcast_to(array.reshape(one), shape).ravel()

    row = x
    if len(signal.features) > 1:
        row = context.add(layers.Reshape, x, suffix=".row", features=(signal.width,))
    if timed:
        row = context.add(layers.Flatten, row, suffix=".flat")
    y = normalize(context, row, spread)
    if timed:
        y = context.add(layers.Unflatten, y, suffix=".frames", length=signal.length)
    if len(signal.features) > 1:
        y = context.add(layers.Reshape, y, suffix=".bins", features=signal.features)
    return y


FRONTS = {
    name: _either_format(build)
    for name, build in {
        "Conv2D": _conv2d,
        "DepthwiseConv2D": _depthwise_conv2d,
        "SeparableConv2D": _separable_conv2d,
        "Conv2DTranspose": _conv2d_transpose,
        "MaxPooling2D": _pool(layers.MaxPool1D),
        "AveragePooling2D": _pool(layers.AveragePool1D),
        "GlobalMaxPooling2D": _global_pool(layers.GlobalMaxPool),
        "GlobalAveragePooling2D": _global_pool(layers.GlobalAveragePool),
        "ZeroPadding2D": _ends_of(layers.Pad1D, "padding"),
        "Cropping2D": _ends_of(layers.Crop1D, "cropping"),
        "UpSampling2D": _up_sampling2d,
    }.items()
} | {"Permute": _permute}
