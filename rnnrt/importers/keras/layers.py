"""What each Keras layer without recurrence becomes: options and arrays -> graph layers, one small function a
class.

A function takes a LayerContext and the references of its inputs and returns a reference, or a list of them
where the layer has several outputs. LAYERS at the end is the table the importer looks classes up in.
Semantics: the Keras 3 layers of the same names.
"""

from __future__ import annotations

from math import prod

import numpy as np

from ... import layers
from ...errors import ModelFileError, UnsupportedModelError
from ..axes.scores import Scores
from .algebra import ALGEBRA, layer_norm_of_frames, prelu_of_frames, scores_through
from .config import Description, layer_activation
from .fronts import FRONTS, check_copies, normalized, normalized_over
from .merges import MERGES, zeroed

# ---- products ----------------------------------------------------------------------------------------------


def _dense(context, x):
    units, signal = context.config.integer("units"), context.builder.signal(x)
    context.config.only("quantization_config", None)
    if (
        signal.time and len(signal.features) == 2
    ):  # over the last axis alone: the frame's first axis is an inner time
        return context.over_bins(x, lambda bins: _dense_of(context, bins, units))
    if len(signal.features) != 1:
        raise UnsupportedModelError(
            "is supported only on (batch, time, features) and (batch, time, n, features)",
            where=context.layer.where,
            found=str(signal),
        )
    return _dense_of(context, x, units)


def _dense_of(context, x, units):
    return context.activated(
        layers.Dense, x, weight=context.array("kernel", None, units).T, bias=context.bias(units)
    )


def _embedding(context, x):
    shape = context.config.integer("input_dim"), context.config.integer("output_dim")
    context.config.only("quantization_config", None)
    context.config.harmless("input_length", "sparse")
    signal = context.builder.signal(x)
    if signal.features not in ((), (1,)):
        if len(signal.features) > 1 or context.config.flag("mask_zero", False):
            raise UnsupportedModelError(
                "ids of more than two axes, or of two and mask_zero, are not supported",
                where=context.layer.where,
                expected="(batch, time), or (batch, time, ids a frame)",
                found=str(signal),
            )
        table = context.array("embeddings", *shape)
        return context.over_bins(x, lambda ids: context.add(layers.Embedding, ids, weight=table))
    if context.config.flag("mask_zero", False):
        where, name = context.layer.where, context.name
        context.made_mask = context.mask_values.not_equal(where, name, lambda: x, 0.0)
    return context.add(layers.Embedding, x, weight=context.array("embeddings", *shape))


def _masking(context, x):
    """Keras sets the frames to 0 that it masks."""
    value, signal = context.config.number("mask_value", 0.0), context.builder.signal(x)
    if not signal.time or len(signal.features) != 1:
        raise UnsupportedModelError(
            "masks are supported only of (batch, time, features)",
            where=context.layer.where,
            found=str(signal),
        )
    where, name = context.layer.where, context.name
    context.made_mask = context.mask_values.not_equal(where, name, lambda: x, value)
    return zeroed(context, x, context.made_mask)


def _window(context, *paddings):
    """Options every convolution has: (taps, {stride, dilation, padding}). ``paddings``: those it may have."""
    config = context.config
    context.channels_last()
    taps, dilation = config.integer("kernel_size"), config.integer("dilation_rate", 1)
    padding = config.text("padding", "valid")
    paddings = paddings or ("valid", "same", "causal")
    if padding not in paddings:
        raise config.unsupported("padding", padding, " or ".join(paddings))
    if taps < 1 or dilation < 1:
        raise ModelFileError("kernel_size and dilation_rate must be positive", where=context.layer.where)
    sides = {"valid": (0, 0), "causal": (dilation * (taps - 1), 0), "same": "same"}[padding]
    return taps, {"stride": config.integer("strides", 1), "dilation": dilation, "padding": sides}


def _conv1d(context, x):
    """Keras's kernel is (tap, in per group, out)."""
    taps, window = _window(context)
    filters = context.config.integer("filters")
    weight = context.array("kernel", taps, None, filters).transpose(2, 0, 1)
    return context.activated(
        layers.Conv1D,
        x,
        weight=weight,
        bias=context.bias(filters),
        groups=context.config.integer("groups", 1),
        **window,
    )


def _conv1d_transpose(context, x):
    """Keras's kernel is (tap, out, in). A valid one has at least length * stride frames; with output_padding
    it has as many as that says, and what a "same" one is short of is cut on both sides, TensorFlow's way.
    """
    config = context.config
    taps, window = _window(context, "valid", "same")
    filters, stride = config.integer("filters"), window["stride"]
    weight = context.array("kernel", taps, filters, None).transpose(1, 0, 2)
    config.only("groups", 1)  # TensorFlow 2.12 to 2.15 write it
    more = config.integers("output_padding") if config.value("output_padding", None) is not None else None
    if more is not None:
        span = (taps - 1) * window["dilation"] + 1
        cut = (2 * (span // 2) if window["padding"] == "same" else 0) - more[0]
        before = max(cut, 0) // 2 if window["padding"] == "same" else 0
        window["padding"] = (before, cut - before)
    elif window["padding"] != "same":
        window["padding"] = (0, min(0, (taps - 1) * window["dilation"] + 1 - stride))
    return context.activated(layers.ConvTranspose1D, x, weight=weight, bias=context.bias(filters), **window)


def _depthwise(context, taps):
    """The kernel (tap, in, multiplier) as (in * multiplier, tap, 1): output c * multiplier + m reads input
    c.
    """
    multiplier = context.config.integer("depth_multiplier", 1)
    context.config.only("groups", 1)  # TensorFlow 2.12 to 2.15 write it; the input's features are the groups
    kernel = context.array("depthwise_kernel", taps, None, multiplier)
    return kernel.transpose(1, 2, 0).reshape(-1, taps, 1), kernel.shape[1]


def _depthwise_conv1d(context, x):
    taps, window = _window(context)
    weight, groups = _depthwise(context, taps)
    return context.activated(
        layers.Conv1D, x, weight=weight, bias=context.bias(len(weight)), groups=groups, **window
    )


def _separable_conv1d(context, x):
    taps, window = _window(context)
    weight, groups = _depthwise(context, taps)
    filters = context.config.integer("filters")
    x = context.add(layers.Conv1D, x, suffix=".depthwise", weight=weight, groups=groups, **window)
    pointwise = context.array("pointwise_kernel", 1, len(weight), filters)
    return context.activated(layers.Dense, x, weight=pointwise[0].T, bias=context.bias(filters))


# ---- normalisation, activations ----------------------------------------------------------------------------


def _scale_and_offset(context, axes=1):
    return (
        context.array(role, *(None,) * axes) if context.config.flag(option, True) else None
        for role, option in (("gamma", "scale"), ("beta", "center"))
    )


def _batch_normalization(context, x):
    config = context.config
    axis, signal = config.integers("axis", -1), context.builder.signal(x)
    rank = 1 + signal.time + len(signal.features)
    if len(axis) == 1 and 1 <= axis[0] % rank < rank - 1 and abs(axis[0]) <= rank:
        return normalized_over(context, x, axis[0] % rank, _batch_normalized)
    context.last_axis(x)
    return _batch_normalized(context, x)


def _batch_normalized(context, x, spread=lambda array: array):
    """``spread``: what makes an array of as many numbers as a frame's last axis of one of the variables."""
    config = context.config
    config.only("renorm", False)
    config.only("mode", 0)
    config.harmless(
        "momentum",
        "synchronized",
        "fused",
        "renorm_clipping",
        "renorm_momentum",
        "virtual_batch_size",
        "adjustment",
    )
    gamma, beta = _scale_and_offset(context)
    mean, variance = context.array("moving_mean", None), context.array("moving_variance", None)
    return context.add(
        layers.BatchNormalization,
        x,
        mean=spread(mean),
        variance=spread(variance),
        gamma=None if gamma is None else spread(gamma),
        beta=None if beta is None else spread(beta),
        epsilon=config.number("epsilon", 1e-3),
    )


def _layer_normalization(context, x):
    context.config.only("rms_scaling", False)
    if len(context.builder.signal(x).features) > 1 and context.builder.signal(x).time:
        axes, epsilon = context.config.integers("axis", -1), context.config.number("epsilon", 1e-3)
        gamma, beta = _scale_and_offset(context, len(axes))
        return normalized(context, x, axes, gamma=gamma, beta=beta, epsilon=epsilon)
    if context.builder.signal(x).time:
        axes, rank = context.config.integers("axis", -1), 3
        axes = sorted(a % rank if -rank <= a < rank else a for a in axes)
        if axes in ([1], [1, 2]):
            gamma, beta = _scale_and_offset(context, len(axes))
            epsilon = context.config.number("epsilon", 1e-3)
            return layer_norm_of_frames(context, x, axes, gamma, beta, epsilon)
    context.last_axis(x)
    gamma, beta = _scale_and_offset(context)
    width = context.width(x)
    return context.add(
        layers.LayerNormalization,
        x,
        size=width,
        gamma=gamma,
        beta=beta,
        epsilon=context.config.number("epsilon", 1e-3),
    )


def _activation(context, x):
    context.config.harmless(*context.layer.config)  # layer_activation reads them all, and refuses the unknown
    options = dict(context.layer.config)
    function = layer_activation(
        Description(context.layer.class_name, context.layer.name, options), context.version
    )
    if isinstance(x, Scores):
        return scores_through(context, x, function)
    return (
        context.of_a_frame(function, x)
        if isinstance(function, str)
        else context.add(layers.Activation, x, activation=function)
    )


def _prelu(context, x):
    """x above 0, alpha x below; alpha has a number a feature, or one for all of them."""
    signal, shared = context.builder.signal(x), context.config.value("shared_axes", None)
    alpha = context.array("alpha", *(None,) * (signal.time + len(signal.features)))
    shared = [shared] if isinstance(shared, int) else shared or []
    context.config.harmless("alpha_constraint")
    if signal.time and alpha.shape[0] != 1:
        if signal.length != alpha.shape[0] or len(signal.features) != 1:
            expected = "[1], one slope for all frames, or a fixed number of them"
            raise context.config.unsupported("shared_axes", shared, expected)
        return prelu_of_frames(context, x, alpha)
    shape = alpha.shape[signal.time :]
    if any(n not in (1, size) for n, size in zip(shape, signal.features)):
        raise ModelFileError(
            "the array alpha does not fit the input", where=context.layer.where, found=str(alpha.shape)
        )
    slopes = np.broadcast_to(alpha.reshape(shape), signal.features).reshape(-1)
    features = signal.features
    if len(features) > 1:
        x = context.add(layers.Reshape, x, suffix=".row", features=(context.width(x),))
    above = context.add(layers.Activation, x, suffix=".above", activation="relu")
    below = context.add(layers.Activation, x, suffix=".below", activation=layers.Function("at_most", (0.0,)))
    below = context.add(layers.Affine, below, suffix=".scaled", scale=slopes, offset=0 * slopes)
    y = context.add(layers.Add, above, below)
    return y if len(features) == 1 else context.add(layers.Reshape, y, suffix=".frames", features=features)


def _rescaling(context, x):
    width = context.synthesize(context.last(x))
    scale, offset = (
        np.broadcast_to(context.config.numbers(name, default, width), width)
        for name, default in (("scale", 1.0), ("offset", 0.0))
    )
    return context.add(layers.Affine, x, scale=scale, offset=offset)


# ---- pooling and time --------------------------------------------------------------------------------------


def _pool(kind):
    def build(context, x):
        context.channels_last()
        size = context.config.integer("pool_size", 2)
        stride = context.config.integer("strides", None)
        padding = context.config.text("padding", "valid")
        if padding not in ("valid", "same"):
            raise context.config.unsupported("padding", padding, "valid or same")
        return context.add(
            kind,
            x,
            size=size,
            stride=size if stride is None else stride,
            padding="same" if padding == "same" else (0, 0),
        )

    return build


def _global_pool(kind):
    def build(context, x):
        context.channels_last()
        mask = {"mask": context.mask} if kind is layers.GlobalAveragePool else {}
        y = context.add(kind, x, **mask)
        return (
            context.add(layers.Unflatten, y, suffix=".keepdims", length=1)
            if context.config.flag("keepdims", False)
            else y
        )

    return build


def _flatten(context, x):
    context.channels_last()
    return _flat(context, x)


def _flat(context, x):
    """(batch, everything else)."""
    signal = context.builder.signal(x)
    if len(signal.features) != 1:
        x = context.add(layers.Reshape, x, suffix=".frames", features=(signal.width,))
    return context.add(layers.Flatten, x) if signal.time else x


def _reshape(context, x):
    shape, signal = context.config.integers("target_shape"), context.builder.signal(x)
    if signal.time and signal.length is None:
        if len(shape) > 1 and shape[0] == -1 and prod(shape[1:]) == signal.width:
            return context.add(layers.Reshape, x, features=shape[1:])
        raise context.config.unsupported(
            "target_shape", shape, "(-1, features) on a sequence whose length is not fixed"
        )
    numbers = signal.width * (signal.length if signal.time else 1)
    known = prod(n for n in shape if n != -1)
    if (
        shape.count(-1) > 1
        or any(n < 1 and n != -1 for n in shape)
        or numbers % known
        or (-1 not in shape and known != numbers)
    ):
        raise ModelFileError(
            "target_shape does not fit the input",
            where=context.layer.where,
            expected=f"{numbers} numbers",
            found=str(shape),
        )
    shape = [numbers // known if n == -1 else n for n in shape]
    if signal.time and len(shape) > 1 and shape[0] == signal.length:
        return context.add(layers.Reshape, x, features=shape[1:])
    x = _flat(context, x)
    if len(shape) == 1:
        return x
    x = context.add(layers.Unflatten, x, suffix=".frames" if len(shape) > 2 else "", length=shape[0])
    return context.add(layers.Reshape, x, features=shape[1:]) if len(shape) > 2 else x


def _repeat_vector(context, x):
    n, width = context.config.integer("n"), context.width(x)
    check_copies(context, n * width)
    return context.add(
        layers.Unflatten,
        context.add(layers.Select, x, suffix=".copies", index=np.tile(np.arange(width), n)),
        length=n,
    )


def _both_sides(context, option):
    value = context.config.integers(option, [1, 1])
    left, right = value * 2 if len(value) == 1 else value if len(value) == 2 else (-1, -1)
    if min(left, right) < 0 or max(left, right) > 1 << 24:
        raise ModelFileError(
            f"{option} must be one number or two, not negative", where=context.layer.where, found=str(value)
        )
    return left, right


def _zero_padding1d(context, x):
    """A convolution that multiplies each feature by 1 and pads."""
    context.channels_last()
    width = context.synthesize(context.width(x))
    return context.add(
        layers.Conv1D, x, weight=np.ones((width, 1, 1)), groups=width, padding=_both_sides(context, "padding")
    )


def _cropping1d(context, x):
    """A convolution whose only weight that is not 0 is a 1 at the frame that stays; the dilation keeps its
    taps few.
    """
    left, right = _both_sides(context, "cropping")
    step = int(np.gcd(left, right)) or 1
    taps, width = (left + right) // step + 1, context.width(x)
    if taps * width > 1 << 20:
        raise context.config.unsupported("cropping", [left, right], "sides with a large common divisor")
    context.synthesize(taps * width)
    weight = np.zeros((width, taps, 1))
    weight[:, left // step] = 1
    return context.add(layers.Conv1D, x, weight=weight, groups=width, dilation=step)


#: Layers that do nothing at inference, and what they may be told.
IDENTITIES = {
    "Dropout": ("rate", "noise_shape", "seed", "p"),
    "SpatialDropout2D": ("rate", "seed", "p", "noise_shape", "data_format"),
    "SpatialDropout1D": ("rate", "seed", "p", "noise_shape"),
    "GaussianNoise": ("stddev", "seed", "sigma"),
    "GaussianDropout": ("rate", "seed", "p"),
    "AlphaDropout": ("rate", "seed", "noise_shape"),
    "ActivityRegularization": ("l1", "l2"),
    "Identity": (),
}

LAYERS = {
    "Dense": _dense,
    "Embedding": _embedding,
    "Masking": _masking,
    "Conv1D": _conv1d,
    "Conv1DTranspose": _conv1d_transpose,
    "DepthwiseConv1D": _depthwise_conv1d,
    "SeparableConv1D": _separable_conv1d,
    "BatchNormalization": _batch_normalization,
    "LayerNormalization": _layer_normalization,
    "Activation": _activation,
    "LeakyReLU": _activation,
    "ELU": _activation,
    "PReLU": _prelu,
    "Rescaling": _rescaling,
    "MaxPooling1D": _pool(layers.MaxPool1D),
    "AveragePooling1D": _pool(layers.AveragePool1D),
    "GlobalMaxPooling1D": _global_pool(layers.GlobalMaxPool),
    "GlobalAveragePooling1D": _global_pool(layers.GlobalAveragePool),
    "Flatten": _flatten,
    "Reshape": _reshape,
    "RepeatVector": _repeat_vector,
    "ZeroPadding1D": _zero_padding1d,
    "Cropping1D": _cropping1d,
    **FRONTS,
    **MERGES,
    **ALGEBRA,
}
