"""The words of torch.nn.functional, of torch.nn.utils.rnn and of Python's operators, where they take other
arguments than the operators of aten. Imports no torch.
"""

from __future__ import annotations

from ..operators.table import Word, harmless, in_place, only, optional, takes, vocabulary
from .arguments import (
    fixed_table,
    max_window,
    max_windows,
    number_of_frames,
    numbers_of_axes,
    over_features,
    picture_windows,
    scale_of,
)
from .aten import AS_IT_IS, PICTURE_WINDOWS, x

FUNCTIONAL = vocabulary(
    {
        "relu": Word("relu", x, in_place()),
        "relu6": Word("clip", x, in_place(), low=0.0, high=6.0),
        "leaky_relu": Word("leaky_relu", x, takes("negative_slope", "slope", 0.01), in_place()),
        "tanh": Word("tanh", x),
        "sigmoid": Word("sigmoid", x),
        "hardtanh": Word("clip", x, takes("min_val", "low", -1.0), takes("max_val", "high", 1.0), in_place()),
        "hardsigmoid": Word("hard_sigmoid", x, in_place()),
        "hardswish": Word("hard_silu", x, in_place()),
        "elu": Word("elu", x, takes("alpha", "alpha", 1.0), in_place()),
        "selu": Word("selu", x, in_place()),
        "silu": Word("silu", x, in_place()),
        "softsign": Word("softsign", x),
        "mish": Word("mish", x, in_place()),
        "celu": Word("celu", x, takes("alpha", "alpha", 1.0), in_place()),
        "rrelu": Word(
            "random_leaky_relu",
            x,
            takes("lower", "lower", 1 / 8),
            takes("upper", "upper", 1 / 3),
            takes("training", "active", False),
            in_place(),
        ),
        "log_softmax": Word(
            "log_softmax", x, optional("dim", "axis"), only("_stacklevel", 3, None), AS_IT_IS
        ),
        "softmax": Word("softmax", x, optional("dim", "axis"), only("_stacklevel", 3, None), AS_IT_IS),
        "glu": Word("glu", x, takes("dim", "axis", -1)),
        "dropout dropout1d dropout2d": Word(
            "dropout", x, takes("p", "rate", 0.5), takes("training", "active", True), in_place()
        ),
        "alpha_dropout feature_alpha_dropout": Word(
            "dropout", x, takes("p", "rate", 0.5), takes("training", "active", False), in_place()
        ),
        "embedding": Word(
            "embedding",
            x,
            takes("weight", "table"),
            *harmless("padding_idx"),
            optional("max_norm"),
            *harmless("norm_type", "scale_grad_by_freq", "sparse"),
            prepare=fixed_table,
        ),
        "batch_norm": Word(
            "batch_norm",
            x,
            takes("running_mean", "mean"),
            takes("running_var", "variance"),
            optional("weight", "scale"),
            optional("bias", "offset"),
            takes("training", "own_statistics", False),
            *harmless("momentum"),
            takes("eps", "epsilon", 1e-5),
        ),
        "layer_norm": Word(
            "layer_norm",
            x,
            takes("normalized_shape", "size"),
            optional("weight", "scale"),
            optional("bias", "offset"),
            takes("eps", "epsilon", 1e-5),
            prepare=over_features,
        ),
        "max_pool1d": Word(
            "max_pool1d",
            x,
            takes("kernel_size"),
            optional("stride"),
            takes("padding", "padding", 0),
            takes("dilation", "dilation", 1),
            takes("ceil_mode", "ceil_mode", False),
            takes("return_indices", "return_indices", False),
            prepare=max_window,
        ),
        "max_pool2d": Word(
            "max_pool2d",
            x,
            takes("kernel_size"),
            optional("stride"),
            takes("padding", "padding", 0),
            takes("dilation", "dilation", 1),
            takes("ceil_mode", "ceil_mode", False),
            takes("return_indices", "return_indices", False),
            prepare=max_windows,
        ),
        "unfold": Word("unfold2d", x, *PICTURE_WINDOWS, prepare=picture_windows),
        "adaptive_max_pool2d": Word(
            "adaptive_max_pool2d",
            x,
            takes("output_size"),
            takes("return_indices", "return_indices", False),
            prepare=numbers_of_axes,
        ),
        "adaptive_max_pool1d": Word(
            "adaptive_max_pool",
            x,
            takes("output_size"),
            takes("return_indices", "return_indices", False),
            prepare=number_of_frames,
        ),
        "pad": Word("pad", x, takes("pad", "widths"), takes("mode", "mode", "constant"), optional("value")),
        "normalize": Word(
            "unit_norm",
            x,
            takes("p", "order", 2.0),
            takes("dim", "axes", 1),
            takes("eps", "epsilon", 1e-12),
            only("out", None),
        ),
        "group_norm": Word(
            "group_norm",
            x,
            takes("num_groups", "groups"),
            optional("weight", "scale"),
            optional("bias", "offset"),
            takes("eps", "epsilon", 1e-5),
        ),
        "instance_norm": Word(
            "instance_norm",
            x,
            optional("running_mean", "mean"),
            optional("running_var", "variance"),
            optional("weight", "scale"),
            optional("bias", "offset"),
            takes("use_input_stats", "own_statistics", True),
            *harmless("momentum"),
            takes("eps", "epsilon", 1e-5),
        ),
        "interpolate": Word(
            "upsample",
            x,
            optional("size"),
            optional("scale_factor"),
            takes("mode", "mode", "nearest"),
            optional("align_corners"),
            *harmless("recompute_scale_factor"),
            only("antialias", False),
            prepare=scale_of,
        ),
        "threshold": Word("threshold", x, takes("threshold"), takes("value"), in_place()),
    }
)

PACKING = vocabulary(
    {
        "pack_padded_sequence": Word(
            "pack",
            x,
            takes("lengths"),
            takes("batch_first", "batch_first", False),
            *harmless("enforce_sorted"),
        ),
        "pad_packed_sequence": Word(
            "unpack",
            takes("sequence", "x"),
            takes("batch_first", "batch_first", False),
            only("padding_value", 0.0),
            optional("total_length"),
        ),
    }
)

#: functions of the module ``operator``
_left, _right = takes("a"), takes("b")
PYTHON = vocabulary(
    {
        "add": Word("add", _left, _right),
        "sub": Word("subtract", _left, _right),
        "mul": Word("multiply", _left, _right),
        "truediv": Word("divide", _left, _right),
        "floordiv": Word("floor_divide", _left, _right),
        "mod": Word("remainder", _left, _right),
        "neg": Word("negate", takes("a", "x")),
        "gt": Word("greater", _left, _right),
        "lt": Word("less", _left, _right),
        "ge": Word("greater_equal", _left, _right),
        "le": Word("less_equal", _left, _right),
        "eq": Word("equal", _left, _right),
        "ne": Word("not_equal", _left, _right),
        "invert": Word("bitwise_not", takes("a", "x")),
        "and_": Word("bitwise_and", _left, _right),
        "or_": Word("bitwise_or", _left, _right),
        "xor": Word("bitwise_xor", _left, _right),
        "abs": Word("abs", takes("a", "x")),
        "pow": Word("power", _left, _right),
        "matmul": Word("matmul", _left, _right),
        "getitem": Word("item", takes("a", "x"), takes("b", "index")),
    }
)
PYTHON |= {
    f"i{name.rstrip('_')}": PYTHON[name].in_place()
    for name in ("add", "sub", "mul", "truediv", "pow", "and_", "or_", "xor")
}
