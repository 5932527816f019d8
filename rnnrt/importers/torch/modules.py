"""Live torch.nn modules: their tensors as NumPy arrays, and what calling one means. Uses a module's objects,
imports no torch.

A module is recognised by its class, and only where it runs that class's own ``forward``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...errors import UnsupportedModelError
from ..axes.slots import Slots
from ..axes.values import Constant, Refused, StateInput, Tensor, shown
from ..operators import attention, table
from .aten import ATEN
from .functional import FUNCTIONAL
from .layers import (
    ELEMENTWISE,
    conv1d_options,
    conv2d_options,
    conv_transpose1d_options,
    conv_transpose2d_options,
    one,
    rnn_cells,
)

#: torch.nn class name -> f(network, module, constants, *arguments)
MODULES = {}


def _module(*names):
    def register(function):
        MODULES.update(dict.fromkeys(names, function))
        return function

    return register


#: What a layer's answer is worked out in: a subclass that has one of its own is another layer.
_ARITHMETIC = ("forward", "__call__", "_call_impl", "_wrapped_call_impl", "_conv_forward")


def kind(module):
    """The name of the torch.nn class a module is, or None: a subclass counts only where it keeps the class's
    arithmetic.
    """
    for base in type(module).__mro__:
        if base.__module__.startswith("torch.nn.modules."):
            own = not any(
                getattr(type(module), name, None) is not getattr(base, name, None) or name in vars(module)
                for name in _ARITHMETIC
            )
            return base.__name__ if base.__name__ in MODULES and own else None
    return None


def call_module(net, module, name, arguments, options):
    """What a call of a supported module makes."""
    word = kind(module)
    where = f"module {name!r} ({word})"
    if module._forward_hooks or any(
        not hasattr(hook, "compute_weight") for hook in module._forward_pre_hooks.values()
    ):
        raise UnsupportedModelError(
            "a forward hook may change what the module does", where=where, fix="Remove the hook first."
        )
    constants = {n: Constant(f"{name}.{n}", a) for n, a in tensors_of(module, where).items()}
    if word not in (*_RECURRENT, "MultiheadAttention") and (
        options or len(arguments) != 1 or not isinstance(arguments[0], (Tensor, Slots))
    ):
        given = ", ".join(map(shown, arguments)) + "".join(f", {option}=" for option in options)
        fix = (
            "An RNN returns its output and its states: take [0]." if isinstance(arguments[0], tuple) else None
        )
        what = "the module must be given one tensor"
        raise UnsupportedModelError(what, where=where, found=f"({given})", fix=fix)
    try:
        return MODULES[word](net, module, constants, *arguments, **options)
    except AttributeError as error:  # of a tensor of another kind than it takes
        what = "is not supported on frames of several axes"
        raise UnsupportedModelError(what, where=where, found=shown(arguments[0])) from error


# ---- tensors -----------------------------------------------------------------------------------------------


def array_of(tensor, where):
    """A live tensor as float32 NumPy."""
    word = str(tensor.dtype)
    if (
        tensor.is_sparse
        or tensor.is_quantized
        or tensor.device.type == "meta"
        or word.startswith("torch.complex")
    ):
        raise UnsupportedModelError(
            "the tensor is sparse, quantised, complex or without data",
            where=where,
            found=f"{word} on {tensor.device}",
        )
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()


def tensors_of(module, where):
    """A module's own tensors by name, weight and spectral normalisation applied as its forward would in
    evaluation.
    """
    found = {
        n: t for group in (module._parameters, module._buffers) for n, t in group.items() if t is not None
    }
    applied = {}
    for hook in module._forward_pre_hooks.values():  # torch.nn.utils.weight_norm and spectral_norm
        spectral = hasattr(hook, "n_power_iterations")
        applied[hook.name] = (
            hook.compute_weight(module, do_power_iteration=False) if spectral else hook.compute_weight(module)
        )
        parts = ("_orig", "_u", "_v") if spectral else ("_g", "_v")
        found = {n: t for n, t in found.items() if n not in [hook.name + part for part in parts]}
    parametrized = module._modules.get("parametrizations") or {}
    if parametrized and kind(module) in _RECURRENT:
        raise UnsupportedModelError(
            "a parametrised recurrent layer is not supported",
            where=where,
            fix="Call remove_parametrizations first.",
        )
    applied |= {n: getattr(module, n) for n in parametrized}
    return {n: array_of(t, f"{where}, tensor {n!r}") for n, t in (found | applied).items()}


# ---- what each module means --------------------------------------------------------------------------------

_RECURRENT = ("RNN", "LSTM", "GRU")


@_module(*_RECURRENT)
def _rnn(net, module, constants, input, hx=None):
    if not isinstance(input, (Tensor, Slots)):
        raise UnsupportedModelError("the module must be given a tensor", found=str(input))
    kind, _, nonlinearity = module.mode.partition("_")
    options = {"nonlinearity": nonlinearity.lower()} if nonlinearity else {}
    _, cells = rnn_cells(
        {n: c.array for n, c in constants.items()}, kind, where=f"{net.name} ({kind})", **options
    )
    states = dict(zip(("initial_h", "initial_c"), _states(hx, 2 if kind == "LSTM" else 1)))
    sequence, *finals = table.apply(
        net, kind.lower(), x=input, cells=cells, batch_first=module.batch_first, **states
    )
    return sequence, tuple(finals) if kind == "LSTM" else finals[0]


def _states(hx, count):
    """h_0, or h_0 and c_0, of what a recurrent module was given for its initial state."""
    if hx is None or count == 1:
        return (hx,)
    if isinstance(hx, StateInput):
        return tuple(replace(hx, path=(*hx.path, k)) for k in range(count))
    if not isinstance(hx, (tuple, list)) or len(hx) != count:
        raise UnsupportedModelError(
            "the initial state is not supported", expected="(h_0, c_0)", found=shown(hx)
        )
    return tuple(hx)


@_module("Conv1d")
def _conv1d(net, module, constants, x):
    options = {o: getattr(module, o) for o in ("stride", "padding", "dilation", "groups")}
    mode = module.padding_mode
    if mode != "zeros" and any(ends := module._reversed_padding_repeated_twice):
        x = table.apply(net, "pad", x=net.arranged(x, "bft"), widths=tuple(ends), mode=mode)
        options["padding"] = 0
    options = conv1d_options("Conv1d", **options)
    return table.apply(net, "conv1d", x=x, weight=constants["weight"], bias=constants.get("bias"), **options)


@_module("Conv2d")
def _conv2d(net, module, constants, x):
    options = {o: getattr(module, o) for o in ("stride", "padding", "dilation", "groups")}
    if module.padding_mode != "zeros" and any(ends := module._reversed_padding_repeated_twice):
        x = table.apply(net, "pad", x=x, widths=tuple(ends), mode=module.padding_mode)
        options["padding"] = 0
    arrays = {"weight": constants["weight"], "bias": constants.get("bias")}
    return table.apply(net, "conv2d", x=x, **arrays, **conv2d_options("Conv2d", **options))


@_module("ConvTranspose1d")
def _conv_transpose1d(net, module, constants, x, output_size=None):
    if output_size is not None:
        raise UnsupportedModelError(
            "a ConvTranspose1d called with output_size is not supported",
            fix="Give the module the output_padding that makes this size.",
        )
    words = ("stride", "padding", "output_padding", "groups", "dilation", "padding_mode")
    options = conv_transpose1d_options("ConvTranspose1d", **{o: getattr(module, o) for o in words})
    arrays = {"weight": constants["weight"], "bias": constants.get("bias")}
    return table.apply(net, "conv_transpose1d", x=x, **arrays, **options)


@_module("ConvTranspose2d")
def _conv_transpose2d(net, module, constants, x, output_size=None):
    if output_size is not None:
        raise UnsupportedModelError(
            "a ConvTranspose2d called with output_size is not supported",
            fix="Give the module the output_padding that makes this size.",
        )
    words = ("stride", "padding", "output_padding", "groups", "dilation")
    options = {o: getattr(module, o) for o in words} | {"mode": module.padding_mode}
    arrays = {"weight": constants["weight"], "bias": constants.get("bias")}
    options = conv_transpose2d_options("ConvTranspose2d", **options)
    return table.apply(net, "conv_transpose2d", x=x, **arrays, **options)


def _padded(net, module, x, mode):
    return table.apply(net, "pad", x=x, widths=tuple(module.padding), mode=mode)


@_module("InstanceNorm1d")
def _instance_norm(net, module, constants, x):
    constants.pop("num_batches_tracked", None)
    arrays = {"scale": constants.get("weight"), "offset": constants.get("bias")}
    own = not module.track_running_stats
    arrays |= {} if own else {"mean": constants["running_mean"], "variance": constants["running_var"]}
    return table.apply(net, "instance_norm", x=x, **arrays, epsilon=module.eps, own_statistics=own)


def _called(word, *attributes, **named):
    """A module that is a function of torch.nn.functional over its tensors: ``attributes`` of the module are
    arguments of the same name, ``named`` those of another name.
    """
    words = ATEN | FUNCTIONAL

    def lower(net, module, constants, x):
        options = {o: getattr(module, o) for o in attributes if hasattr(module, o)}
        options |= {argument: getattr(module, o) for argument, o in named.items()}
        return table.call(net, words, word, x, **constants, **options)

    return lower


_WINDOW = ("kernel_size", "stride", "padding", "ceil_mode")
MODULES |= {
    "Linear": _called("linear"),
    "NonDynamicallyQuantizableLinear": _called("linear"),
    "Embedding": _called("embedding", "max_norm"),
    "LayerNorm": _called("layer_norm", "normalized_shape", "eps"),
    "MaxPool1d": _called("max_pool1d", *_WINDOW, "dilation", "return_indices"),
    "AvgPool1d": _called("avg_pool1d", *_WINDOW, "count_include_pad"),
    "MaxPool2d": _called("max_pool2d", *_WINDOW, "dilation", "return_indices"),
    "AvgPool2d": _called("avg_pool2d", *_WINDOW, "count_include_pad", "divisor_override"),
    "Unfold": _called("im2col", "kernel_size", "dilation", "padding", "stride"),
    "AdaptiveAvgPool2d": _called("adaptive_avg_pool2d", "output_size"),
    "AdaptiveMaxPool2d": _called("adaptive_max_pool2d", "output_size", "return_indices"),
    "ZeroPad2d": _called("pad", pad="padding"),
    "ConstantPad2d": _called("pad", "value", pad="padding"),
    "AdaptiveAvgPool1d": _called("adaptive_avg_pool1d", "output_size"),
    "AdaptiveMaxPool1d": _called("adaptive_max_pool1d", "output_size", "return_indices"),
    "Flatten": _called("flatten", "start_dim", "end_dim"),
    "Softmax": _called("softmax", "dim"),
    "LogSoftmax": _called("log_softmax", "dim"),
    "GLU": _called("glu", "dim"),
    "ZeroPad1d": _called("pad", pad="padding"),
    "ReflectionPad1d": lambda net, module, constants, x: _padded(net, module, x, "reflect"),
    "ReplicationPad1d": lambda net, module, constants, x: _padded(net, module, x, "replicate"),
    "CircularPad1d": lambda net, module, constants, x: _padded(net, module, x, "circular"),
    "CircularPad2d": lambda net, module, constants, x: _padded(net, module, x, "circular"),
    "ReflectionPad2d": lambda net, module, constants, x: _padded(net, module, x, "reflect"),
    "ReplicationPad2d": lambda net, module, constants, x: _padded(net, module, x, "replicate"),
    "GroupNorm": _called("group_norm", "num_groups", "eps"),
    "RMSNorm": _called("rms_norm", "normalized_shape", "eps"),
    "Upsample": _called("interpolate", "size", "scale_factor", "mode", "align_corners"),
    "UpsamplingNearest2d": _called("interpolate", "size", "scale_factor", "mode"),
    "Threshold": _called("threshold", "threshold", "value"),
    "Unflatten": lambda net, module, constants, x: table.apply(
        net, "unflatten", x=x, axis=module.dim, sizes=tuple(module.unflattened_size)
    ),
    "ConstantPad1d": _called("pad", "value", pad="padding"),
}
for _kind, (_word, _, _options) in ELEMENTWISE.items():
    if _kind not in ("Identity", "Exp"):
        MODULES[_kind] = _called(_word, *_options, "inplace")


@_module("BatchNorm1d", "BatchNorm2d")
def _batch_norm(net, module, constants, x):
    if "running_mean" not in constants:
        raise UnsupportedModelError(
            f"a {kind(module)} without running statistics (track_running_stats=False) is not supported"
        )
    constants.pop("num_batches_tracked", None)
    return table.call(net, FUNCTIONAL, "batch_norm", x, **constants, eps=module.eps)


@_module("PReLU")
def _prelu(net, module, constants, x):
    return table.apply(net, "prelu", x=x, slope=constants["weight"])


@_module("MultiheadAttention")
def _multihead_attention(
    net,
    module,
    constants,
    query,
    key,
    value,
    key_padding_mask=None,
    need_weights=True,
    attn_mask=None,
    average_attn_weights=True,
    is_causal=False,
):
    """Attention in heads between four linear layers. Its weights cannot be read."""
    extra = [n for n in ("bias_k", "bias_v") if n in constants] + ["add_zero_attn"] * module.add_zero_attn
    if extra or attn_mask is not None or is_causal:
        raise UnsupportedModelError(
            f"a MultiheadAttention with {extra[0] if extra else 'attn_mask'} is not supported",
            expected="key_padding_mask alone",
        )
    tensors = [net.arranged(x, "btf" if module.batch_first else "tbf") for x in (query, key, value)]
    if not module.batch_first:
        tensors = [table.apply(net, "transpose", x=x, first=0, second=1) for x in tensors]
    names = ("q_proj_weight", "k_proj_weight", "v_proj_weight")
    weights = [constants[n].array for n in names if n in constants]
    weights = weights or np.split(constants["in_proj_weight"].array, 3)
    biases = [None] * 3 if "in_proj_bias" not in constants else np.split(constants["in_proj_bias"].array, 3)
    projected = []
    for x, weight, bias in zip(tensors, weights, biases):
        arrays = {"weight": Constant("in_proj_weight", weight)}
        arrays |= {} if bias is None else {"bias": Constant("in_proj_bias", bias)}
        x = table.apply(net, "linear", x=x, **arrays)
        projected.append(attention.in_heads(net, x, module.num_heads))
    mask = None
    if key_padding_mask is not None:
        mask = table.apply(net, "unsqueeze", x=key_padding_mask, axis=1)
        mask = table.apply(net, "unsqueeze", x=mask, axis=1)
        mask = table.apply(net, "logical_not", x=mask) if mask.truth else mask
    made = table.apply(
        net,
        "attention",
        **dict(zip(("query", "key", "value"), projected)),
        mask=mask,
        nothing=not need_weights,
    )
    out = module.out_proj
    arrays = {n: Constant(f"out_proj.{n}", a) for n, a in tensors_of(out, "out_proj").items()}
    made = table.apply(net, "linear", x=attention.out_of_heads(net, made), **arrays)
    if not module.batch_first:
        made = table.apply(net, "transpose", x=made, first=0, second=1)
    return made, Refused(
        "the weights of a MultiheadAttention cannot be read: call it with need_weights=False"
    )


@_module("RReLU")
def _random_leaky_relu(net, module, constants, x):
    return table.apply(net, "random_leaky_relu", x=x, lower=module.lower, upper=module.upper)


@_module("Identity", "Dropout", "Dropout1d", "Dropout2d", "AlphaDropout", "FeatureAlphaDropout")
def _identity(net, module, constants, x):
    return table.apply(net, "identity", x=x)


def input_sizes(module):
    """The numbers of features a module may read, by its own options; none where it takes any."""
    word = kind(module)
    attribute = {
        "Linear": "in_features",
        "NonDynamicallyQuantizableLinear": "in_features",
        "Conv1d": "in_channels",
        "ConvTranspose1d": "in_channels",
        "BatchNorm1d": "num_features",
    }.get(word)
    if word in _RECURRENT:
        attribute = "input_size"
    if word == "LayerNorm":
        return (
            {one(module.normalized_shape, "normalized_shape", "LayerNorm")}
            if len(module.normalized_shape) == 1
            else set()
        )
    return {int(getattr(module, attribute))} if attribute else set()


def weight_sizes(array):
    """The same for a parameter the program uses itself: a weight may be (out, in), (in, out) or (out, in,
    tap).
    """
    return {int(n) for n in np.shape(array)[:2]}
