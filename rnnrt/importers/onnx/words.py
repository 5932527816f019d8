"""The words of ONNX: its operators of layers, arithmetic and activations, with every input and attribute they
may have in any version (https://onnx.ai/onnx/operators).

Inputs stand in their order, attributes by name; where an attribute became an input in a later version, both
are one parameter. An operator whose meaning changed has a word a version. Operators that move axes or take
parts stand in moves.py, recurrent ones in recurrent.py.
"""

from __future__ import annotations

import numpy as np

from ...errors import ModelFileError, UnsupportedModelError
from ..axes.values import Constant, Tensor
from ..operators.table import Word, harmless, only, optional, takes, vocabulary
from .folding import plain_integers
from .recurrent import hard_sigmoid

x = takes("X", "x")
a, b = takes("A", "a"), takes("B", "b")


# ---- arguments in another form -----------------------------------------------------------------------------


def constant(value, what):
    """A known value as a Constant, None as it is."""
    if value is None or isinstance(value, Constant):
        return value
    if not isinstance(value, np.ndarray):
        raise UnsupportedModelError(f"{what} must be known when the file is read", found=str(value))
    if value.dtype == object or value.dtype.kind not in "fiub":
        raise UnsupportedModelError(f"{what} must hold numbers", found=str(value.dtype))
    return Constant(what, value)


def number(value, what):
    """A known value of one number, None as it is."""
    if value is None or isinstance(value, (int, float)):
        return value
    if not isinstance(value, np.ndarray) or value.size != 1 or value.dtype == object:
        raise UnsupportedModelError(f"{what} must be one number", found=str(getattr(value, "shape", value)))
    return value.item()


def axis_of(axes):
    """The axes of a reduction as whole numbers, None for all."""
    return None if axes is None else plain_integers(axes, "axes") or None


def both(a, b):
    """Two operands: what is known as a Constant."""
    return {"a": a if _is_value(a) else constant(a, "a"), "b": b if _is_value(b) else constant(b, "b")}


def compared(**operands):
    """Operands of a comparison or a choice: what is known as a number."""
    return {
        name: number(value, "what a tensor is compared with") if isinstance(value, np.ndarray) else value
        for name, value in operands.items()
    }


def _is_value(value):
    return not isinstance(value, np.ndarray)


def product(a, b):
    """MatMul, by a matrix that is known."""
    if isinstance(b, np.ndarray) and 2 < b.ndim <= len(getattr(a, "axes", ())) and set(b.shape[:-2]) == {1}:
        b = b.reshape(b.shape[-2:])
    return both(a, b)


def one_spatial(kernel_shape, strides, dilations, pads, auto_pad, axes=1):
    """The options of a window over one axis: (size, stride, dilation, (before, after) or "same")."""
    get = lambda values, default: list(values) if values else [default] * axes
    sizes, strides, dilations = get(kernel_shape, None), get(strides, 1), get(dilations, 1)
    pads = list(pads) if pads else [0] * (2 * axes)
    if not (len(sizes) == len(strides) == len(dilations) == axes and len(pads) == 2 * axes):
        raise ModelFileError("its kernel_shape, strides, dilations and pads do not have one number an axis")
    (size,), (stride,), (dilation,), (left, right) = sizes, strides, dilations, pads
    auto_pad = auto_pad or "NOTSET"
    if auto_pad == "SAME_UPPER":
        return size, stride, dilation, "same"
    if auto_pad == "SAME_LOWER":
        if stride != 1:
            raise UnsupportedModelError("auto_pad=SAME_LOWER with a stride is not supported")
        total = (size - 1) * dilation
        return size, stride, dilation, (total - total // 2, total // 2)
    if auto_pad == "VALID":
        return size, stride, dilation, (0, 0)
    if auto_pad != "NOTSET":
        raise ModelFileError("is not a value of auto_pad", found=repr(auto_pad))
    return size, stride, dilation, (left, right)


def window_of(weight, kernel_shape):
    """The taps of a convolution's weight (out, in / groups, taps), as the attribute says them."""
    if np.ndim(weight.array) != 3:
        raise UnsupportedModelError(
            "a convolution over more than one axis is not supported", found=f"a weight {weight.array.shape}"
        )
    taps = weight.array.shape[2]
    if kernel_shape and list(kernel_shape) != [taps]:
        raise ModelFileError(
            "kernel_shape does not fit the weight", expected=str(taps), found=str(kernel_shape)
        )
    return [taps]


def convolution(x, weight, bias, kernel_shape, group, **options):
    weight = constant(weight, "the weight of a convolution")
    taps = window_of(weight, kernel_shape)
    _, stride, dilation, padding = one_spatial(taps, **options)
    return {
        "x": x,
        "weight": weight,
        "bias": constant(bias, "the bias of a convolution"),
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": group,
    }


def transposed_convolution(x, weight, bias, kernel_shape, group, output_padding, output_shape, **options):
    weight = constant(weight, "the weight of a convolution")
    taps = window_of(weight, kernel_shape)
    if output_shape:
        raise UnsupportedModelError(
            "a ConvTranspose with output_shape is not supported", found=str(output_shape)
        )
    auto = options.get("auto_pad") or "NOTSET"
    _, stride, dilation, padding = one_spatial(taps, **(options | {"auto_pad": "NOTSET"}))
    extra = (output_padding or [0])[0]
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        total = (taps[0] - 1) * dilation + 1 + extra - stride
        small = total // 2
        left, right = (small, total - small) if auto == "SAME_UPPER" else (total - small, small)
        padding = (left, right)
        if left < 0:
            raise UnsupportedModelError("a ConvTranspose with this auto_pad is not supported", found=auto)
    elif auto == "VALID":
        padding = (0, 0)
    left, right = padding
    return {
        "x": x,
        "weight": weight,
        "bias": constant(bias, "the bias of a convolution"),
        "stride": stride,
        "padding": (left, right - extra),
        "dilation": dilation,
        "groups": group,
    }


def max_window(x, kernel_shape, ceil_mode, storage_order, **options):
    size, stride, dilation, padding = one_spatial(kernel_shape, **options)
    if dilation != 1 or ceil_mode:
        raise UnsupportedModelError("a pool with dilations or ceil_mode is not supported")
    return {"x": x, "size": size, "stride": stride, "padding": padding}


def average_window(x, count_include_pad, **options):
    return max_window(x, storage_order=0, **options) | {"count_padding": bool(count_include_pad)}


def statistics(x, scale, offset, mean, variance, epsilon, training_mode):
    made = {"x": x, "epsilon": epsilon, "own_statistics": bool(training_mode)}
    arrays = {"scale": scale, "offset": offset, "mean": mean, "variance": variance}
    return made | {name: constant(value, f"the {name} of a norm") for name, value in arrays.items()}


def scaled(x, scale, offset, epsilon):
    arrays = {"scale": scale, "offset": offset}
    made = {name: constant(value, f"the {name} of a norm") for name, value in arrays.items()}
    return {"x": x, "epsilon": epsilon} | made


def over_last(x, scale, offset, axis, epsilon):
    """LayerNormalization, over the last axis, of frames of several axes over the last of these."""
    if isinstance(x, Tensor) and axis not in (-1, len(x.axes) - 1):
        raise UnsupportedModelError(
            "LayerNormalization is supported over the last axis", found=f"axis={axis}"
        )
    scale = constant(scale, "the scale of a norm")
    offset = constant(offset, "the offset of a norm")
    size = scale.array.size if isinstance(x, Tensor) else x.places.shape[axis % len(x.axes) :]
    return {"x": x, "size": size, "scale": scale, "offset": offset, "epsilon": epsilon}


def reduction(x, axes, keepdims, noop_with_empty_axes):
    axes = axis_of(axes)
    if axes is None and noop_with_empty_axes:
        raise UnsupportedModelError("a reduction of nothing is not supported")
    return {"x": x, "axes": axes, "keep": bool(keepdims)}


def bounded(x, low, high):
    return {"x": x, "low": number(low, "min"), "high": number(high, "max")}


def not_dropped(x, ratio, training):
    training = number(training, "training_mode")
    return {"x": x, "rate": 1.0, "active": bool(training)}


def first_result(value):
    """What an operator makes, and its further results, which a trained network has no use for."""
    return (value,)


def table_row(table, index, axis):
    if axis:
        raise UnsupportedModelError("a Gather of a table by its columns is not supported")
    return {"table": constant(table, "the table"), "x": index}


def one_function(alpha, beta):
    """HardSigmoid's slopes as one of the activations."""
    return hard_sigmoid(alpha, beta)


# ---- words -------------------------------------------------------------------------------------------------

_AXES = takes("axis", "axis", -1)
#: Selu's own numbers, as float32 has them
_ALPHA, _GAMMA = float(np.float32(1.6732632423543772)), float(np.float32(1.0507009873554805))
ACTIVATIONS = vocabulary(
    {
        "Relu": Word("relu", x),
        "Tanh": Word("tanh", x),
        "Sigmoid": Word("sigmoid", x),
        "Softsign": Word("softsign", x),
        "Exp": Word("exponential", x),
        "LeakyRelu": Word("leaky_relu", x, takes("alpha", "slope", 0.01)),
        "Elu": Word("elu", x, takes("alpha", "alpha", 1.0)),
        "Clip": Word("clip", x, optional("min", "low"), optional("max", "high"), prepare=bounded),
        "HardSwish": Word("hard_silu", x),
        "Gelu": Word("gelu", x, takes("approximate", "approximation", "none")),
        "Softmax": Word("softmax", x, _AXES),
        "LogSoftmax": Word("log_softmax", x, _AXES),
        "Neg": Word("negate", x),
        "Sqrt": Word("sqrt", x),
        "Reciprocal": Word("reciprocal", x),
        "Abs": Word("abs", x),
        "Log": Word("log", x),
        "Sin": Word("sin", x),
        "Cos": Word("cos", x),
        "Erf": Word("erf", x),
        "Softplus": Word("softplus", x),
        "Mish": Word("mish", x),
        "Celu": Word("celu", x, takes("alpha", "alpha", 1.0)),
        "ThresholdedRelu": Word(
            "threshold",
            x,
            takes("alpha", "threshold", 1.0),
            prepare=lambda x, threshold: {"x": x, "threshold": threshold, "value": 0.0},
        ),
        "Selu": Word(
            "selu", x, only("alpha", _ALPHA, 1.6732632423543772), only("gamma", _GAMMA, 1.0507009873554805)
        ),
        "Dropout": Word(
            "dropout",
            x,
            *harmless("ratio"),
            takes("training_mode", "training", None),
            *harmless("seed", "is_test"),
            prepare=lambda x, training: not_dropped(x, None, training),
            result=first_result,
        ),
    }
)

ARITHMETIC = vocabulary(
    {
        "Add": Word("add", a, b, prepare=both),
        "Sub": Word("subtract", a, b, prepare=both),
        "Mul": Word("multiply", a, b, prepare=both),
        "MatMul": Word("matmul", a, b, prepare=product),
        "Max": Word("maximum", a, b, prepare=compared),
        "Min": Word("minimum", a, b, prepare=compared),
        "Greater": Word("greater", a, b, prepare=compared),
        "GreaterOrEqual": Word("greater_equal", a, b, prepare=compared),
        "Less": Word("less", a, b, prepare=compared),
        "LessOrEqual": Word("less_equal", a, b, prepare=compared),
        "Equal": Word("equal", a, b, prepare=compared),
        "And": Word("logical_and", a, b, prepare=compared),
        "Or": Word("logical_or", a, b, prepare=compared),
        "Where": Word("where", takes("condition"), takes("X", "a"), takes("Y", "b"), prepare=compared),
    }
)

_WINDOW = (
    takes("auto_pad", "auto_pad", "NOTSET"),
    takes("dilations", "dilations", None),
    takes("kernel_shape", "kernel_shape", None),
    takes("pads", "pads", None),
    takes("strides", "strides", None),
)
_REDUCTION = (
    optional("axes"),
    takes("keepdims", "keepdims", 1),
    takes("noop_with_empty_axes", "noop_with_empty_axes", 0),
)
LAYERS = vocabulary(
    {
        "Conv": Word(
            "conv1d",
            x,
            takes("W", "weight"),
            optional("B", "bias"),
            takes("group", "group", 1),
            *_WINDOW,
            prepare=convolution,
        ),
        "ConvTranspose": Word(
            "conv_transpose1d",
            x,
            takes("W", "weight"),
            optional("B", "bias"),
            takes("group", "group", 1),
            optional("output_padding"),
            optional("output_shape"),
            *_WINDOW,
            prepare=transposed_convolution,
        ),
        "MaxPool": Word(
            "max_pool1d",
            x,
            takes("ceil_mode", "ceil_mode", 0),
            takes("storage_order", "storage_order", 0),
            *_WINDOW,
            prepare=max_window,
            result=first_result,
        ),
        "AveragePool": Word(
            "average_pool1d",
            x,
            takes("ceil_mode", "ceil_mode", 0),
            takes("count_include_pad", "count_include_pad", 0),
            *_WINDOW,
            prepare=average_window,
        ),
        "GlobalAveragePool": Word("global_average_pool", x),
        "GlobalMaxPool": Word("global_max_pool", x),
        "BatchNormalization": Word(
            "batch_norm",
            x,
            takes("scale"),
            takes("B", "offset"),
            takes("input_mean|mean", "mean"),
            takes("input_var|var", "variance"),
            takes("epsilon", "epsilon", 1e-5),
            takes("training_mode", "training_mode", 0),
            *harmless("momentum"),
            only("spatial", 1),
            prepare=statistics,
            result=first_result,
        ),
        "InstanceNormalization": Word(
            "instance_norm",
            x,
            takes("scale"),
            takes("B", "offset"),
            takes("epsilon", "epsilon", 1e-5),
            prepare=scaled,
        ),
        "LayerNormalization": Word(
            "layer_norm",
            x,
            takes("Scale", "scale"),
            optional("B", "offset"),
            takes("axis", "axis", -1),
            takes("epsilon", "epsilon", 1e-5),
            only("stash_type", 1),
            prepare=over_last,
            result=first_result,
        ),
        "ReduceMean": Word("reduce_mean", x, *_REDUCTION, prepare=reduction),
        "ReduceMax": Word("reduce_max", x, *_REDUCTION, prepare=reduction),
        "ReduceMin": Word("reduce_min", x, *_REDUCTION, prepare=reduction),
        "ReduceSum": Word("reduce_sum", x, *_REDUCTION, prepare=reduction),
    }
)

WORDS = ACTIVATIONS | ARITHMETIC | LAYERS
