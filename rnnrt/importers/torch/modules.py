"""Live torch.nn modules: their tensors as NumPy arrays, and what calling one means. Uses a module's objects,
imports no torch.

A module is recognised by its class, and only where it runs that class's own ``forward``.
"""

from __future__ import annotations

import numpy as np

from ...errors import UnsupportedModelError
from ..axes.values import Constant, Tensor, shown
from .calls import CALLS, activation, conv1d, rnn
from .layers import FUNCTIONS, elementwise_options, one

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
    if word not in _RECURRENT and (options or len(arguments) != 1 or not isinstance(arguments[0], Tensor)):
        given = ", ".join(map(shown, arguments)) + "".join(f", {option}=" for option in options)
        fix = (
            "An RNN returns its output and its states: take [0]." if isinstance(arguments[0], tuple) else None
        )
        what = "the module must be given one tensor"
        raise UnsupportedModelError(what, where=where, found=f"({given})", fix=fix)
    return MODULES[word](net, module, constants, *arguments, **options)


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
    made = {}
    for hook in module._forward_pre_hooks.values():  # torch.nn.utils.weight_norm and spectral_norm
        spectral = hasattr(hook, "n_power_iterations")
        made[hook.name] = (
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
    made |= {n: getattr(module, n) for n in parametrized}
    return {n: array_of(t, f"{where}, tensor {n!r}") for n, t in (found | made).items()}


# ---- what each module means --------------------------------------------------------------------------------

_RECURRENT = ("RNN", "LSTM", "GRU")


@_module(*_RECURRENT)
def _rnn(net, module, constants, input, hx=None):
    if not isinstance(input, Tensor):
        raise UnsupportedModelError("the module must be given a tensor", found=str(input))
    word, _, nonlinearity = module.mode.partition("_")
    tensors = {n: c.array for n, c in constants.items()}
    options = {"nonlinearity": nonlinearity.lower()} if nonlinearity else {}
    return rnn(net, input, hx, tensors, kind=word, batch_first=module.batch_first, **options)


@_module("Linear", "NonDynamicallyQuantizableLinear")
def _linear(net, module, constants, x):
    return CALLS["linear"](net, x, **constants)


@_module("Conv1d")
def _conv1d(net, module, constants, x):
    options = {o: getattr(module, o) for o in ("stride", "padding", "dilation", "groups", "padding_mode")}
    return conv1d(net, x, **constants, **options)


@_module("Embedding")
def _embedding(net, module, constants, x):
    return CALLS["embedding"](net, x, **constants, max_norm=module.max_norm)


@_module("BatchNorm1d")
def _batch_norm(net, module, constants, x):
    if "running_mean" not in constants:
        raise UnsupportedModelError(
            "a BatchNorm1d without running statistics (track_running_stats=False) is not supported"
        )
    constants.pop("num_batches_tracked", None)
    return CALLS["batch_norm"](net, x, **constants, eps=module.eps)


@_module("LayerNorm")
def _layer_norm(net, module, constants, x):
    return CALLS["layer_norm"](net, x, module.normalized_shape, **constants, eps=module.eps)


@_module("MaxPool1d", "AvgPool1d", "AdaptiveAvgPool1d", "AdaptiveMaxPool1d")
def _pool(net, module, constants, x):
    word, options = {
        "MaxPool1d": (
            "max_pool1d",
            ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
        ),
        "AvgPool1d": ("avg_pool1d", ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")),
        "AdaptiveAvgPool1d": ("adaptive_avg_pool1d", ("output_size",)),
        "AdaptiveMaxPool1d": ("adaptive_max_pool1d", ("output_size", "return_indices")),
    }[kind(module)]
    return CALLS[word](net, x, **{o: getattr(module, o) for o in options})


@_module("Flatten")
def _flatten(net, module, constants, x):
    return CALLS["flatten"](net, x, module.start_dim, module.end_dim)


@_module("Softmax")
def _softmax(net, module, constants, x):
    return CALLS["softmax"](net, x, module.dim)


@_module("GLU")
def _glu(net, module, constants, x):
    return CALLS["glu"](net, x, module.dim)


@_module("PReLU")
def _prelu(net, module, constants, x):
    if constants["weight"].array.size != 1:
        raise UnsupportedModelError("a PReLU with a slope for each channel is not supported")
    return activation(net, x, "LeakyReLU", negative_slope=float(constants["weight"].array.item()))


@_module("ZeroPad1d", "ConstantPad1d")
def _pad(net, module, constants, x):
    return CALLS["pad"](
        net, x, tuple(module.padding), value=module.value if kind(module) == "ConstantPad1d" else 0
    )


@_module("Dropout", "Dropout1d", "AlphaDropout", "FeatureAlphaDropout")
def _identity(net, module, constants, x):
    return x


def _elementwise(net, module, constants, x):
    word = kind(module)
    options = {o: getattr(module, o) for o in (*elementwise_options(word), "inplace") if hasattr(module, o)}
    return activation(net, x, word, **options)


for _word in FUNCTIONS:
    if not _word.islower() and _word != "Exp":
        MODULES[_word] = _elementwise


def input_sizes(module):
    """The numbers of features a module may read, by its own options; none where it takes any."""
    word = kind(module)
    attribute = {
        "Linear": "in_features",
        "NonDynamicallyQuantizableLinear": "in_features",
        "Conv1d": "in_channels",
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
