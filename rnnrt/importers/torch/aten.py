"""The words of PyTorch's own operators, by the argument names, order and defaults of their schemas: the
functions of ``torch``, the methods and attributes of a tensor, and the aten operators that torch.export
yields. Imports no torch.
"""

from __future__ import annotations

from typing import NamedTuple

from ..axes.slots import Slots
from ..axes.values import Constant, Harmless, Refused, Tensor
from ..operators.table import Word, apply, harmless, only, optional, rest, takes, vocabulary
from .arguments import (
    average_window,
    average_windows,
    cast_type,
    convolution,
    convolution2d,
    correction_of,
    index_of,
    max_window,
    max_windows,
    number_of_frames,
    numbers_of_axes,
    over_features,
    picture_windows,
    scale_of,
    scaled_norm,
    transposed_convolution,
    transposed_convolution2d,
)

x = takes("input|self", "x")
dim = takes("dim", "axis")
a, b = takes("input|self", "a"), takes("other", "b")
memory = harmless("memory_format")
#: how the windows of a picture lie
PICTURE_WINDOWS = (
    takes("kernel_size"),
    takes("dilation", "dilation", 1),
    takes("padding", "padding", 0),
    takes("stride", "stride", 1),
)
#: the type a result gets: that of the tensors
AS_IT_IS = only("dtype", None, Harmless("torch.float32"), Harmless("float32"))


class MaxOverTime(NamedTuple):
    """What torch's max over one axis returns."""

    values: Tensor
    indices: Refused


class OfOneOrTwo(Word):
    """max and min: over an axis, or of two tensors, number by number, where the second argument is one.
    ``two``: the operator of two.
    """

    def __init__(self, operator, two):
        parameters = (x, optional("dim|other", "axes"), takes("keepdim", "keep", False))
        super().__init__(operator, *parameters, result=max_over_time)
        self.two = two

    def lower(self, net, word, bound):
        """What a call of this word makes."""
        other = bound.arguments["axes"]
        if isinstance(other, (Constant, Slots, Tensor)):
            return apply(net, self.two, a=bound.arguments["x"], b=other)
        return super().lower(net, word, bound)


def max_over_time(values):
    return MaxOverTime(values, Refused("the indices of max are not supported"))


# ---- words -------------------------------------------------------------------------------------------------

ACTIVATIONS = vocabulary(
    {
        "relu": Word("relu", x),
        "relu6": Word("clip", x, low=0.0, high=6.0),
        "leaky_relu": Word("leaky_relu", x, takes("negative_slope", "slope", 0.01)),
        "tanh": Word("tanh", x),
        "sigmoid": Word("sigmoid", x),
        "hardtanh": Word("clip", x, takes("min_val", "low", -1.0), takes("max_val", "high", 1.0)),
        "hardsigmoid": Word("hard_sigmoid", x),
        "hardswish": Word("hard_silu", x),
        "elu": Word("elu", x, takes("alpha", "alpha", 1.0), only("scale", 1.0), only("input_scale", 1.0)),
        "selu": Word("selu", x),
        "silu": Word("silu", x),
        "gelu": Word("gelu", x, takes("approximate", "approximation", "none")),
        "mish": Word("mish", x),
        "softplus": Word("softplus", x, takes("beta", "beta", 1), takes("threshold", "threshold", 20)),
        "log_sigmoid logsigmoid": Word("log_sigmoid", x),
        "celu": Word("celu", x, takes("alpha", "alpha", 1.0)),
        "softshrink": Word("soft_shrink", x, takes("lambd", "threshold", 0.5)),
        "hardshrink": Word("hard_shrink", x, takes("lambd", "threshold", 0.5)),
        "prelu _prelu_kernel": Word("prelu", x, takes("weight", "slope")),
        "rrelu": Word(
            "random_leaky_relu",
            x,
            takes("lower", "lower", 1 / 8),
            takes("upper", "upper", 1 / 3),
            takes("training", "active", False),
            *harmless("generator"),
        ),
        "exp": Word("exponential", x),
        "expm1 special_expm1": Word("exponential_less_one", x),
        "log": Word("log", x),
        "log1p special_log1p": Word("log_of_one_more", x),
        "log2": Word("log_to_base", x, base=2),
        "log10": Word("log_to_base", x, base=10),
        "sqrt": Word("sqrt", x),
        "rsqrt": Word("root_reciprocal", x),
        "reciprocal": Word("reciprocal", x),
        "square": Word("square", x),
        "abs absolute": Word("abs", x),
        "sign sgn": Word("sign", x),
        "sin": Word("sin", x),
        "cos": Word("cos", x),
        "erf special_erf": Word("erf", x),
        "clamp_min": Word("clip", x, takes("min", "low")),
        "clamp_max": Word("clip", x, takes("max", "high")),
        "clamp clip": Word("clip", x, optional("min", "low"), optional("max", "high")),
        "neg negative": Word("negate", x),
        "pow": Word("power", takes("input|self", "a"), takes("exponent", "b")),
        "softmax": Word("softmax", x, dim, AS_IT_IS),
        "log_softmax": Word("log_softmax", x, dim, AS_IT_IS),
        "_softmax": Word("softmax", x, dim, only("half_to_float", False)),
        "_log_softmax": Word("log_softmax", x, dim, only("half_to_float", False)),
        "glu": Word("glu", x, takes("dim", "axis", -1)),
        "dropout feature_dropout alpha_dropout feature_alpha_dropout": Word(
            "dropout", x, takes("p", "rate"), takes("train", "active")
        ),
    }
)

SHAPES = vocabulary(
    {
        "transpose swapaxes swapdims": Word(
            "transpose", x, takes("dim0|axis0", "first"), takes("dim1|axis1", "second")
        ),
        "t numpy_T": Word("transpose_matrix", x),
        "permute": Word("permute", x, rest("dims", "order")),
        "movedim moveaxis": Word("move_axis", x, takes("source"), takes("destination")),
        "unsqueeze": Word("unsqueeze", x, dim),
        "squeeze": Word("squeeze", x, optional("dim", "axes")),
        "flatten": Word("flatten", x, takes("start_dim", "first", 0), takes("end_dim", "last", -1)),
        "view reshape _unsafe_view": Word("reshape", x, rest("shape|size", "shape")),
        "contiguous clone": Word("identity", x, *memory),
        "detach detach_ alias lift_fresh_copy": Word("identity", x),
        "to": Word(
            "cast",
            x,
            rest("other", "given"),
            optional("dtype"),
            *harmless("device", "layout", "non_blocking", "copy", "pin_memory", "memory_format"),
            prepare=cast_type,
        ),
        "_to_copy": Word(
            "cast",
            x,
            optional("dtype"),
            *harmless("layout", "device", "pin_memory", "non_blocking", "memory_format"),
            prepare=cast_type,
        ),
        "type_as": Word("cast", x, takes("other", "like")),
        "sym_size": Word("shape", x, dim),
        "sym_max": Word("larger_size", takes("a"), takes("b")),
        "select": Word("select", x, dim, takes("index")),
        "slice": Word(
            "slice", x, takes("dim", "axis", 0), optional("start"), optional("end"), takes("step", "step", 1)
        ),
        "narrow": Word("narrow", x, dim, takes("start"), takes("length")),
        "chunk": Word("chunk", x, takes("chunks", "parts"), takes("dim", "axis", 0)),
        "split split_with_sizes": Word(
            "split",
            takes("input|self|tensor", "x"),
            takes("split_size|split_sizes|split_size_or_sections", "sizes"),
            takes("dim", "axis", 0),
        ),
        "flip": Word("flip", x, rest("dims", "axes")),
        "unbind": Word("unbind", x, takes("dim", "axis", 0)),
        "stack": Word("stack", takes("tensors"), takes("dim", "axis", 0)),
        "expand": Word("expand", x, rest("size", "shape"), *harmless("implicit")),
        "expand_as": Word("expand_as", x, takes("other")),
        "repeat": Word("tile", x, rest("repeats", "times")),
        "tile": Word("tile", x, rest("dims", "times")),
        "unflatten": Word("unflatten", x, dim, takes("sizes")),
        "repeat_interleave": Word(
            "repeat_each", x, takes("repeats", "times"), optional("dim", "axis"), *harmless("output_size")
        ),
        "cat concat concatenate": Word("concat", takes("tensors"), takes("dim", "axis", 0)),
    }
)

ARITHMETIC = vocabulary(
    {
        "add": Word("add", a, b, only("alpha", 1)),
        "sub subtract": Word("subtract", a, b, only("alpha", 1)),
        "rsub": Word("subtract", takes("input|self", "b"), takes("other", "a"), only("alpha", 1)),
        "mul multiply": Word("multiply", a, b),
        "div true_divide divide": Word("divide", a, b, only("rounding_mode", None)),
        "matmul": Word("matmul", a, b),
        "bmm": Word("matmul", a, takes("mat2", "b")),
        "scaled_dot_product_attention": Word(
            "attention",
            *(takes("query"), takes("key"), takes("value"), optional("attn_mask", "mask")),
            only("dropout_p", 0.0),
            takes("is_causal", "causal", False),
            optional("scale"),
            only("enable_gqa", False),
        ),
        "einsum": Word("einsum", takes("equation"), rest("operands|tensors", "tensors")),
        "maximum": Word("maximum", a, b),
        "minimum": Word("minimum", a, b),
        "gt greater": Word("greater", a, b),
        "lt less": Word("less", a, b),
        "ge greater_equal": Word("greater_equal", a, b),
        "le less_equal": Word("less_equal", a, b),
        "eq": Word("equal", a, b),
        "ne not_equal": Word("not_equal", a, b),
        "logical_not": Word("logical_not", x),
        "logical_and": Word("logical_and", a, b),
        "logical_or": Word("logical_or", a, b),
        "logical_xor": Word("logical_xor", a, b),
        "bitwise_not": Word("bitwise_not", x),
        "bitwise_and __and__": Word("bitwise_and", a, b),
        "bitwise_or __or__": Word("bitwise_or", a, b),
        "bitwise_xor __xor__": Word("bitwise_xor", a, b),
        "where": Word("where", takes("condition"), takes("input|self", "a"), takes("other", "b")),
        "masked_fill": Word("masked_fill", x, takes("mask"), takes("value")),
        "threshold": Word("threshold", x, takes("threshold"), takes("value")),
        "mm": Word("matmul", a, takes("mat2", "b")),
        "addmm": Word(
            "gemm",
            takes("input|self", "c"),
            takes("mat1", "a"),
            takes("mat2", "b"),
            only("beta", 1),
            only("alpha", 1),
        ),
    }
)

#: of a variance: the axes, or in their place unbiased
SPREAD = (
    optional("dim|unbiased", "axes"),
    optional("unbiased"),
    takes("keepdim", "keep", False),
    optional("correction"),
)

_WEIGHTS = (
    x,
    takes("weight"),
    optional("bias"),
    takes("stride", "stride", 1),
    takes("padding", "padding", 0),
)
_CONVOLUTION = (*_WEIGHTS, takes("dilation", "dilation", 1), takes("groups", "groups", 1))
#: In the order of torch's own arguments, which is another one here.
_TRANSPOSED = (
    *_WEIGHTS,
    takes("output_padding", "output_padding", 0),
    takes("groups", "groups", 1),
    takes("dilation", "dilation", 1),
)
LAYERS = vocabulary(
    {
        "linear": Word("linear", x, takes("weight"), optional("bias")),
        "embedding": Word(
            "embedding",
            takes("weight", "table"),
            takes("indices", "x"),
            *harmless("padding_idx", "scale_grad_by_freq", "sparse"),
        ),
        "conv1d": Word("conv1d", *_CONVOLUTION, prepare=convolution),
        "conv2d": Word("conv2d", *_CONVOLUTION, prepare=convolution2d),
        "conv_transpose1d": Word("conv_transpose1d", *_TRANSPOSED, prepare=transposed_convolution),
        "conv_transpose2d": Word("conv_transpose2d", *_TRANSPOSED, prepare=transposed_convolution2d),
        "pad": Word("pad", x, takes("pad", "widths"), takes("mode", "mode", "constant"), optional("value")),
        "constant_pad_nd": Word("pad", x, takes("pad", "widths"), takes("value", "value", 0)),
        "batch_norm": Word(
            "batch_norm",
            x,
            takes("weight", "scale"),
            takes("bias", "offset"),
            takes("running_mean", "mean"),
            takes("running_var", "variance"),
            takes("training", "own_statistics"),
            *harmless("momentum"),
            takes("eps", "epsilon"),
            *harmless("cudnn_enabled"),
        ),
        "layer_norm": Word(
            "layer_norm",
            x,
            takes("normalized_shape", "size"),
            optional("weight", "scale"),
            optional("bias", "offset"),
            takes("eps", "epsilon", 1e-5),
            *harmless("cudnn_enable"),
            prepare=over_features,
        ),
        "native_layer_norm": Word(
            "layer_norm",
            x,
            takes("normalized_shape", "size"),
            optional("weight", "scale"),
            optional("bias", "offset"),
            takes("eps", "epsilon"),
            prepare=over_features,
            result=lambda made: (made, Refused("the mean of a layer norm"), Refused("its deviation")),
        ),
        "max_pool1d": Word(
            "max_pool1d",
            x,
            takes("kernel_size"),
            optional("stride"),
            takes("padding", "padding", 0),
            takes("dilation", "dilation", 1),
            takes("ceil_mode", "ceil_mode", False),
            prepare=max_window,
        ),
        "avg_pool1d": Word(
            "average_pool1d",
            x,
            takes("kernel_size"),
            optional("stride"),
            takes("padding", "padding", 0),
            takes("ceil_mode", "ceil_mode", False),
            takes("count_include_pad", "count_include_pad", True),
            prepare=average_window,
        ),
        "max_pool2d": Word(
            "max_pool2d",
            x,
            takes("kernel_size"),
            optional("stride"),
            takes("padding", "padding", 0),
            takes("dilation", "dilation", 1),
            takes("ceil_mode", "ceil_mode", False),
            prepare=max_windows,
        ),
        "avg_pool2d": Word(
            "average_pool2d",
            x,
            takes("kernel_size"),
            optional("stride"),
            takes("padding", "padding", 0),
            takes("ceil_mode", "ceil_mode", False),
            takes("count_include_pad", "count_include_pad", True),
            only("divisor_override", None),
            prepare=average_windows,
        ),
        "im2col": Word("unfold2d", x, *PICTURE_WINDOWS, prepare=picture_windows),
        "unfold": Word("windows", x, takes("dimension", "axis"), takes("size"), takes("step", "step", 1)),
        "adaptive_avg_pool2d": Word(
            "adaptive_average_pool2d", x, takes("output_size"), prepare=numbers_of_axes
        ),
        "adaptive_max_pool2d": Word(
            "adaptive_max_pool2d", x, takes("output_size"), prepare=numbers_of_axes, result=max_over_time
        ),
        "adaptive_avg_pool1d": Word(
            "adaptive_average_pool", x, takes("output_size"), prepare=number_of_frames
        ),
        "adaptive_max_pool1d": Word(
            "adaptive_max_pool", x, takes("output_size"), prepare=number_of_frames, result=max_over_time
        ),
        "mean": Word(
            "reduce_mean",
            x,
            optional("dim", "axes"),
            takes("keepdim", "keep", False),
            AS_IT_IS,
        ),
        "sum": Word("reduce_sum", x, optional("dim", "axes"), takes("keepdim", "keep", False), AS_IT_IS),
        "cumsum": Word("cumulative_sum", x, dim, AS_IT_IS),
        "logcumsumexp": Word("cumulative_log_sum_exp", x, dim),
        "logsumexp": Word("log_sum_exp", x, takes("dim", "axes"), takes("keepdim", "keep", False)),
        "var": Word("variance", x, *SPREAD, prepare=correction_of),
        "std": Word("deviation", x, *SPREAD, prepare=correction_of),
        "norm": Word(
            "norm",
            x,
            takes("p", "order", 2),
            optional("dim", "axes"),
            takes("keepdim", "keep", False),
            AS_IT_IS,
            only("out", None),
        ),
        "linalg_vector_norm": Word(
            "norm",
            x,
            takes("ord", "order", 2),
            optional("dim", "axes"),
            takes("keepdim", "keep", False),
            AS_IT_IS,
        ),
        "group_norm": Word(
            "group_norm",
            x,
            takes("num_groups", "groups"),
            optional("weight", "scale"),
            optional("bias", "offset"),
            takes("eps", "epsilon", 1e-5),
            *harmless("cudnn_enabled"),
        ),
        "instance_norm": Word(
            "instance_norm",
            x,
            optional("weight", "scale"),
            optional("bias", "offset"),
            optional("running_mean", "mean"),
            optional("running_var", "variance"),
            takes("use_input_stats", "own_statistics"),
            *harmless("momentum"),
            takes("eps", "epsilon"),
            *harmless("cudnn_enabled"),
        ),
        "upsample_nearest1d": Word(
            "upsample",
            x,
            optional("output_size", "size"),
            optional("scale_factors|scales", "scale_factor"),
            prepare=scale_of,
            mode="nearest",
        ),
        "_upsample_nearest_exact1d": Word(
            "upsample",
            x,
            optional("output_size", "size"),
            optional("scale_factors|scales", "scale_factor"),
            prepare=scale_of,
            mode="nearest-exact",
        ),
        "upsample_linear1d": Word(
            "upsample",
            x,
            optional("output_size", "size"),
            optional("align_corners"),
            optional("scale_factors|scales", "scale_factor"),
            prepare=scale_of,
            mode="linear",
        ),
        "upsample_nearest2d": Word(
            "upsample",
            x,
            optional("output_size", "size"),
            optional("scale_factors|scales_h", "scale_factor"),
            only("scales_w", None),
            prepare=scale_of,
            mode="nearest",
        ),
        "_upsample_nearest_exact2d": Word(
            "upsample",
            x,
            optional("output_size", "size"),
            optional("scale_factors|scales_h", "scale_factor"),
            only("scales_w", None),
            prepare=scale_of,
            mode="nearest-exact",
        ),
        "upsample_bilinear2d": Word(
            "upsample",
            x,
            optional("output_size", "size"),
            optional("align_corners"),
            optional("scale_factors|scales_h", "scale_factor"),
            only("scales_w", None),
            prepare=scale_of,
            mode="bilinear",
        ),
        "rms_norm": Word(
            "rms_norm",
            x,
            takes("normalized_shape", "size"),
            optional("weight", "scale"),
            optional("eps", "epsilon"),
            prepare=scaled_norm,
        ),
        "amin": Word("reduce_min", x, optional("dim", "axes"), takes("keepdim", "keep", False)),
        "min": OfOneOrTwo("reduce_min", "minimum"),
        "amax": Word("reduce_max", x, optional("dim", "axes"), takes("keepdim", "keep", False)),
        "max": OfOneOrTwo("reduce_max", "maximum"),
    }
)

_MADE_OF = harmless("dtype", "layout", "device", "pin_memory", "requires_grad")
#: a type that a number is cut for is refused
_FILLED_WITH = (AS_IT_IS, *_MADE_OF[1:])
ZEROS = vocabulary(
    {
        "zeros": Word("zeros", rest("size", "shape"), *_MADE_OF),
        "new_zeros": Word("zeros", *harmless("self"), rest("size", "shape"), *_MADE_OF),
        "zeros_like": Word("zeros_like", x, *_MADE_OF, *memory),
        "ones": Word("full", rest("size", "shape"), *_FILLED_WITH, value=1),
        "ones_like": Word("full_like", x, *_FILLED_WITH, *memory, value=1),
        "full": Word("full", takes("size", "shape"), takes("fill_value", "value"), *_FILLED_WITH),
        "new_full": Word(
            "full", *harmless("self"), takes("size", "shape"), takes("fill_value", "value"), *_FILLED_WITH
        ),
        "full_like": Word("full_like", x, takes("fill_value", "value"), *_FILLED_WITH, *memory),
        "empty": Word("unset", rest("size", "shape"), *_MADE_OF, *memory),
        "new new_empty": Word("unset", *harmless("self"), rest("size", "shape"), *_MADE_OF),
        "empty_like": Word("unset_like", x, *_MADE_OF, *memory),
        "zero_": Word("set_to_zero", x),
        "gather": Word("take", x, dim, takes("index"), *harmless("sparse_grad")),
        "index": Word("item", x, takes("indices", "index"), prepare=index_of),
        "arange": Word("frame_numbers", rest("end", "bounds"), *_MADE_OF, *harmless("out")),
    }
)

ATEN = ACTIVATIONS | SHAPES | ARITHMETIC | LAYERS | ZEROS
#: with a "_" the result is written over the first argument
ATEN |= {
    f"{name}_": ATEN[name].in_place() for name in (*ACTIVATIONS, "add", "sub", "mul", "div", "masked_fill")
}
ATEN |= {f"__i{name}__": ATEN[f"__{name}__"].in_place() for name in ("and", "or", "xor")}

#: what a tensor can do -> Word; the attributes too
METHODS = ATEN | vocabulary(
    {
        "size": Word("shape", x, optional("dim", "axis")),
        "dim ndimension": Word("rank", x),
        "get_device": Word("device", x),
        "cpu": Word("identity", x, *memory),
        "float": Word("cast", x, *memory, type="float32"),
        "bool": Word("cast", x, *memory, type="bool"),
        "cuda": Word("identity", x, *harmless("device", "non_blocking"), *memory),
        "requires_grad_": Word("identity", x, *harmless("requires_grad")),
        "long": Word("cast", x, *memory, type="int64"),
        "int": Word("cast", x, *memory, type="int32"),
        "type": Word(
            "cast", x, rest("other", "given"), optional("dtype"), *harmless("non_blocking"), prepare=cast_type
        ),
        "tolist": Word("to_list", x),
        "numpy": Word("to_list", x, *harmless("force")),
    }
)
ATTRIBUTES = vocabulary(
    {
        "shape": Word("shape", x),
        "ndim": Word("rank", x),
        "T": Word("transpose_matrix", x),
        "mT": Word("transpose", x, first=-2, second=-1),
        "device": Word("device", x),
        "data": Word("identity", x),
        "dtype": Word("type_of", x),
    }
)
