"""The kinds of a spec's lines: which tensors each has, which options, and what written sizes must agree
with.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..torch import layers as torch_layers
from . import pictures
from .called import called

#: Options whose value is a word, or a number that may be a fraction; all others are whole numbers or truth
#: values.
WORDS = {"nonlinearity", "padding_mode", "approximate", "padding"}
#: Options of 2-D layers, which may be two numbers: "1,2".
PAIRS = {"kernel_size", "stride", "padding", "dilation", "output_size"}
FRACTIONS = {"eps", "negative_slope", "alpha", "min_val", "max_val", "p", "momentum", "dropout"}
FRACTIONS |= {"beta", "threshold", "lambd", "init"}
MAY_BE_NONE = {"stride", "padding_idx", "max_norm", "momentum"}


@dataclass(frozen=True)
class Kind:
    """A layer with tensors: its function of torch/layers.py, the tensors' names, the options the function
    takes, what written sizes must agree with, options that mean nothing at inference, and the axes PyTorch
    runs it in."""

    add: object
    tensors: tuple[str, ...]
    options: tuple[str, ...]
    sizes: object
    harmless: tuple[str, ...]
    axes: str


def _linear_sizes(t, options):
    return {"in_features": t["weight"].shape[1], "out_features": t["weight"].shape[0], "bias": "bias" in t}


def _conv_sizes(t, options):
    out, per_group, taps = t["weight"].shape
    return {
        "in_channels": per_group * options.get("groups", 1),
        "out_channels": out,
        "kernel_size": taps,
        "bias": "bias" in t,
    }


def _conv_transpose_sizes(t, options):
    inputs, per_group, taps = t["weight"].shape
    return {
        "in_channels": inputs,
        "out_channels": per_group * options.get("groups", 1),
        "kernel_size": taps,
        "bias": "bias" in t,
    }


def _conv2d_sizes(t, options):
    out, per_group, *taps = t["weight"].shape
    return {
        "in_channels": per_group * options.get("groups", 1),
        "out_channels": out,
        "kernel_size": taps[0] if taps[0] == taps[1] else tuple(taps),
        "bias": "bias" in t,
    }


def _batch_norm_sizes(t, options):
    return {"num_features": t["running_mean"].size, "affine": "weight" in t, "track_running_stats": True}


def _layer_norm_sizes(t, options):
    return {"elementwise_affine": "weight" in t, "bias": "bias" in t}


def _group_norm_sizes(t, options):
    return {"affine": "weight" in t} | ({"num_channels": t["weight"].size} if "weight" in t else {})


def _instance_norm_sizes(t, options):
    sizes = {"num_features": t["weight"].size} if "weight" in t else {}
    return sizes | {"affine": "weight" in t, "track_running_stats": "running_mean" in t}


def _rms_norm_sizes(t, options):
    sizes = {"normalized_shape": t["weight"].size} if "weight" in t else {}
    return sizes | {"elementwise_affine": "weight" in t}


def _prelu_sizes(t, options):
    return {"num_parameters": t["weight"].size}


def _embedding_sizes(t, options):
    return {"num_embeddings": t["weight"].shape[0], "embedding_dim": t["weight"].shape[1]}


PARAMETRIC = {
    "Linear": Kind(torch_layers.add_linear, ("weight", "bias"), (), _linear_sizes, (), "btf"),
    "Conv1d": Kind(
        torch_layers.add_conv1d,
        ("weight", "bias"),
        ("stride", "padding", "dilation", "groups", "padding_mode"),
        _conv_sizes,
        (),
        "bft",
    ),
    "Conv2d": Kind(
        None,  # pictures.py
        ("weight", "bias"),
        ("stride", "padding", "dilation", "groups", "padding_mode"),
        _conv2d_sizes,
        (),
        "",
    ),
    "BatchNorm2d": Kind(
        None,
        ("weight", "bias", "running_mean", "running_var"),
        ("eps",),
        _batch_norm_sizes,
        ("momentum",),
        "",
    ),
    "ConvTranspose1d": Kind(
        torch_layers.add_conv_transpose1d,
        ("weight", "bias"),
        ("stride", "padding", "output_padding", "groups", "dilation", "padding_mode"),
        _conv_transpose_sizes,
        (),
        "bft",
    ),
    "BatchNorm1d": Kind(
        torch_layers.add_batch_norm,
        ("weight", "bias", "running_mean", "running_var"),
        ("eps",),
        _batch_norm_sizes,
        ("momentum",),
        "bft",
    ),
    "LayerNorm": Kind(
        torch_layers.add_layer_norm,
        ("weight", "bias"),
        ("eps", "normalized_shape"),
        _layer_norm_sizes,
        (),
        "btf",
    ),
    "GroupNorm": Kind(
        called("group_norm"), ("weight", "bias"), ("num_groups", "eps"), _group_norm_sizes, (), "bft"
    ),
    "InstanceNorm1d": Kind(
        called("instance_norm"),
        ("weight", "bias", "running_mean", "running_var"),
        ("eps",),
        _instance_norm_sizes,
        ("momentum",),
        "bft",
    ),
    "RMSNorm": Kind(called("rms_norm", "btf"), ("weight",), ("eps",), _rms_norm_sizes, (), "btf"),
    "PReLU": Kind(called("prelu"), ("weight",), (), _prelu_sizes, ("init",), "bft"),
    "Embedding": Kind(
        torch_layers.add_embedding,
        ("weight",),
        ("padding_idx", "max_norm"),
        _embedding_sizes,
        ("scale_grad_by_freq", "sparse"),
        "btf",
    ),
}
#: Kinds that may have no tensors, and the option that says so where it is not the default.
WITHOUT_TENSORS = {
    "LayerNorm": ("elementwise_affine", True),
    "RMSNorm": ("elementwise_affine", True),
    "GroupNorm": ("affine", True),
    "InstanceNorm1d": ("affine", False),
}
#: Kinds that need their weight, and whose frames are not those before them.
CONVOLUTIONS = ("Conv1d", "ConvTranspose1d")
RANKS = {("Linear", "weight"): 2, ("Embedding", "weight"): 2, ("Conv2d", "weight"): 4}
RANKS |= {(k, "weight"): 3 for k in CONVOLUTIONS}
RNNS = ("RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell")
CELL_TENSORS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
RNN_TENSOR = re.compile(r"(weight_ih|weight_hh|weight_hr|bias_ih|bias_hh)_l\d{1,4}(_reverse)?")
POOLS = {
    "MaxPool1d": (
        torch_layers.add_max_pool,
        "kernel_size",
        {},
        ("stride", "padding", "dilation", "ceil_mode", "return_indices"),
    ),
    "AvgPool1d": (
        torch_layers.add_average_pool,
        "kernel_size",
        {},
        ("stride", "padding", "ceil_mode", "count_include_pad"),
    ),
    "AdaptiveMaxPool1d": (torch_layers.add_global_pool, "output_size", {"kind": "max"}, ()),
    "AdaptiveAvgPool1d": (torch_layers.add_global_pool, "output_size", {"kind": "average"}, ()),
}
#: Kinds that join results.
JOINS = ("add", "sub", "mul", "div", "cat")
#: Kinds that take whole numbers as words.
NUMBERED = (*POOLS, *pictures.POOLS, "chunk", "narrow", "crop", "ZeroPad1d", "repeat")
#: Words that lines take, by their kind.
WORDS_OF_LINES = {
    **dict.fromkeys((*POOLS, *CONVOLUTIONS, "BatchNorm1d"), ("untransposed",)),
    "flatten": ("channels_first", "channels_last"),
    "input": ("channels_first", "channels_last", "ids", "once", "time_last"),
    **dict.fromkeys(("mean", "max"), ("bins",)),
    "frames": ("bins_first",),
    "pad": ("total_length",),
}
#: functional names -> the class above or the spec's own word
ALIASES = {
    "max_pool1d": "MaxPool1d",
    "adaptive_max_pool1d": "AdaptiveMaxPool1d",
    "avg_pool1d": "AvgPool1d",
    "adaptive_avg_pool1d": "AdaptiveAvgPool1d",
    "softmax": "Softmax",
    "Flatten": "flatten",
    "dropout": "Dropout",
    "Dropout1d": "Dropout",
    "Dropout2d": "Dropout",
    "max_pool2d": "MaxPool2d",
    "avg_pool2d": "AvgPool2d",
    "adaptive_avg_pool2d": "AdaptiveAvgPool2d",
    "adaptive_max_pool2d": "AdaptiveMaxPool2d",
    "AlphaDropout": "Dropout",
    "log_softmax": "LogSoftmax",
    "glu": "GLU",
    "concat": "cat",
    "subtract": "sub",
    "multiply": "mul",
    "divide": "div",
}


def names_array(option, value):
    """``weight=NAME`` names an array; ``bias=False`` is the module's own option of that name."""
    return isinstance(value, str) and (
        bool(RNN_TENSOR.fullmatch(option))
        or option in (*CELL_TENSORS, "weight", "bias", "running_mean", "running_var")
    )
