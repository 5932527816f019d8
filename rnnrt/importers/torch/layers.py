"""PyTorch's layers as graph layers: one function a layer, from its tensors (NumPy) and its constructor's own
options.

The ``*_options`` and ``rnn_cells`` turn PyTorch's options and tensors into those of graph layers. Every
``add_*`` takes a GraphBuilder, a layer name, the reference it reads, the layer's tensors by PyTorch's names
relative to the module ("weight_ih_l0") and the module's options under PyTorch's names and defaults; it
returns the reference it made. Frames are (batch, time, features) whatever axes PyTorch used: axes belong to
who calls. Semantics: the pages of torch.nn for each class. Never imports torch.

Errors: ModelFileError for tensors missing or left over (by name), ShapeError for sizes, UnsupportedModelError
for options.
"""

from __future__ import annotations

import re

import numpy as np

from ...errors import ModelFileError, ShapeError, UnsupportedModelError
from ...layers import (
    GRU,
    LSTM,
    Activation,
    AveragePool1D,
    BatchNormalization,
    Conv1D,
    ConvTranspose1D,
    Dense,
    Embedding,
    Function,
    GlobalAveragePool,
    GlobalMaxPool,
    LayerNormalization,
    MaxPool1D,
    Pad1D,
    SimpleRNN,
)
from ...layers.time import PAD_MODES
from ..operators.activations import SOFTPLUS_ENDS, clipping, gelu_of, positive
from ..operators.layers import taps_first, transposed_taps_first
from ..operators.recurrence import Stack, add_stack

#: torch.nn class -> (its functional name, our function, the options that are its parameters with PyTorch's
#: defaults)
ELEMENTWISE = {
    "Identity": ("identity", "linear", {}),
    "ReLU": ("relu", "relu", {}),
    "ReLU6": ("relu6", "clipped_relu", {}),
    "LeakyReLU": ("leaky_relu", "leaky_relu", {"negative_slope": 0.01}),
    "Tanh": ("tanh", "tanh", {}),
    "Sigmoid": ("sigmoid", "sigmoid", {}),
    "Hardtanh": ("hardtanh", "hard_tanh", {"min_val": -1.0, "max_val": 1.0}),
    "Hardsigmoid": ("hardsigmoid", "hard_sigmoid", {}),
    "Hardswish": ("hardswish", "hard_silu", {}),
    "ELU": ("elu", "elu", {"alpha": 1.0}),
    "SELU": ("selu", "selu", {}),
    "SiLU": ("silu", "silu", {}),
    "Softsign": ("softsign", "softsign", {}),
    "GELU": ("gelu", "gelu_tanh", {"approximate": "none"}),
    "Exp": ("exp", "exponential", {}),
    "Softplus": ("softplus", "softplus", {"beta": 1.0, "threshold": 20.0}),
    "LogSigmoid": ("logsigmoid", "log_sigmoid", {}),
    "Mish": ("mish", "mish", {}),
    "CELU": ("celu", "celu", {"alpha": 1.0}),
    "Softshrink": ("softshrink", "soft_shrink", {"lambd": 0.5}),
    "Hardshrink": ("hardshrink", "hard_shrink", {"lambd": 0.5}),
}
#: Every word ``elementwise`` knows, "ReLU" and "relu" alike -> the class's row above.
FUNCTIONS = {word: kind for kind, row in ELEMENTWISE.items() for word in (kind, row[0])}


def elementwise(word, **options) -> tuple[Function, ...]:
    """The Functions, one after the other, that a torch.nn class or a torch.nn.functional name means, e.g.
    ``elementwise("LeakyReLU", negative_slope=0.2)``.
    """
    if word not in FUNCTIONS:
        raise UnsupportedModelError(
            f"the activation {word} is not supported", expected=f"one of {', '.join(sorted(FUNCTIONS))}"
        )
    kind = FUNCTIONS[word]
    _, name, defaults = ELEMENTWISE[kind]
    unknown = sorted(set(options) - set(defaults) - {"inplace"})
    if unknown:
        raise UnsupportedModelError(
            f"{word} has no option {', '.join(unknown)}", expected=f"{sorted(defaults)}"
        )
    values = {option: options.get(option, default) for option, default in defaults.items()}
    if kind == "GELU":
        return (gelu_of(values["approximate"]),)
    if kind == "Hardtanh":
        return clipping(values["min_val"], values["max_val"])
    if kind == "Softplus":
        if not is_one_function(word, **values):
            raise UnsupportedModelError("a Softplus with these options is no one function", found=str(values))
        values = {}
    if kind == "CELU":
        positive(values["alpha"], "the alpha of CELU")
    return (Function(name, (6.0,) if kind == "ReLU6" else tuple(values.values())),)


def is_one_function(word, beta=1.0, threshold=20.0, **options):
    """Whether ``elementwise`` can say it: a Softplus of another beta, or cut off, is arithmetic."""
    return FUNCTIONS.get(word) != "Softplus" or (beta == 1 and threshold >= SOFTPLUS_ENDS)


# ---- what the functions below are written with -------------------------------------------------------------


def take(tensors, where, required, optional=()):
    """The tensors named, required ones first, None for an optional one that is absent; raises on missing or
    left-over names.
    """
    missing = [name for name in required if name not in tensors]
    unexpected = sorted(set(tensors) - set(required) - set(optional))
    if missing or unexpected:
        found = (
            ", ".join(f"{name} {tuple(np.shape(tensors[name]))}" for name in sorted(tensors)) or "no tensors"
        )
        what = [f"the tensors {', '.join(missing)} are missing"] * bool(missing)
        what += [f"the tensors {', '.join(unexpected)} do not belong to it"] * bool(unexpected)
        raise ModelFileError(
            " and ".join(what),
            where=where,
            expected=", ".join((*required, *(f"[{o}]" for o in optional))),
            found=found,
        )
    return [tensors.get(name) for name in (*required, *optional)]


def one(value, option, where):
    """The single number of a 1-D layer's option: PyTorch keeps 3, (3,) and [3] alike."""
    if isinstance(value, (tuple, list)) and len(value) == 1:
        value = value[0]
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise UnsupportedModelError(f"{option} must be one whole number", where=where, found=repr(value))
    return int(value)


def zrn(array):
    """PyTorch's GRU rows, reset update new (r z n), as z r n: the gates are blocks of the first axis."""
    r, z, n = np.split(np.asarray(array), 3)
    return np.concatenate([z, r, n])


# ---- recurrence --------------------------------------------------------------------------------------------


_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
_KEY = re.compile(r"(weight_ih|weight_hh|bias_ih|bias_hh|weight_hr)_l(\d{1,4})(_reverse)?")


def rnn_kind(tensors):
    """ "RNN", "GRU" or "LSTM" by the shapes of the first layer's weights (importing needs no more), or None
    where they fit none.
    """
    ih, hh, hr = (np.shape(tensors.get(f"{key}_l0", ())) for key in ("weight_ih", "weight_hh", "weight_hr"))
    if len(ih) != 2 or len(hh) != 2 or ih[0] != hh[0]:
        return None
    if len(hr) == 2:
        return "LSTM" if hh[0] == 4 * hr[1] and hh[1] == hr[0] else None
    return next((kind for kind, gates in _GATES.items() if hh[0] == gates * hh[1]), None)


def rnn_sizes(tensors, where="the RNN"):
    """(layers, directions, bias, projection) that the names of an RNN's tensors tell; raises where names are
    no RNN's or leave a gap.
    """
    parts = {name: _KEY.fullmatch(name) for name in tensors}
    take({name: tensors[name] for name, part in parts.items() if part is None}, where, ())
    keys = [part.groups() for part in parts.values()]
    layers = 1 + max((int(layer) for _, layer, _ in keys), default=0)
    directions = 1 + any(reverse for _, _, reverse in keys)
    stems = ["weight_ih", "weight_hh"] + [
        s for s in ("bias_ih", "bias_hh") if any(k.startswith("bias") for k, _, _ in keys)
    ]
    stems += ["weight_hr"] * any(k == "weight_hr" for k, _, _ in keys)
    if (
        layers * directions * len(stems) > 8 * len(keys) + 8
    ):  # a lone weight_ih_l9999 must not make a list of 40,000 names
        raise ModelFileError(
            "most layers' tensors are missing", where=where, found=", ".join(sorted(tensors)[:8])
        )
    take(
        tensors,
        where,
        [f"{s}_l{k}{d}" for k in range(layers) for d in ("", "_reverse")[:directions] for s in stems],
    )
    return layers, directions, "bias_ih" in stems, "weight_hr" in stems


def rnn_cells(tensors, kind, nonlinearity="tanh", where="the RNN"):
    """(the class of graph layer, a tuple of directions a layer, each the fields of one graph layer) of a
    torch.nn.RNN, LSTM or GRU: layers, directions, bias, sizes and projection are read off its tensors.

    An LSTM's and an RNN's two biases are summed, which is exact; a GRU's stay two, for its reset gate stands
    between them.
    """
    if kind not in _GATES:
        raise UnsupportedModelError(
            f"{kind} is not a recurrent layer of PyTorch", where=where, expected="RNN, GRU or LSTM"
        )
    if nonlinearity not in ("tanh", "relu"):
        raise UnsupportedModelError(
            "the nonlinearity is not supported",
            where=where,
            expected="tanh or relu",
            found=repr(nonlinearity),
        )
    if nonlinearity != "tanh" and kind != "RNN":
        raise UnsupportedModelError(f"{kind} has no option nonlinearity", where=where)
    layers, directions, _, projected = rnn_sizes(tensors, where)
    if projected and kind != "LSTM":
        raise ModelFileError("only an LSTM has a projection (weight_hr)", where=where)
    stems = [s for s in ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr") if f"{s}_l0" in tensors]
    cells = []
    for k in range(layers):
        own = []
        for suffix in ("", "_reverse")[:directions]:
            arrays = {stem: np.asarray(tensors[f"{stem}_l{k}{suffix}"]) for stem in stems}
            own.append(_cell(arrays, kind, nonlinearity, f"{where}, l{k}{suffix}"))
        cells.append(tuple(own))
    return {"RNN": SimpleRNN, "GRU": GRU, "LSTM": LSTM}[kind], tuple(cells)


def _cell(tensors, kind, nonlinearity, where):
    """The fields of one direction of one layer; ``tensors`` by stem ("weight_ih")."""
    ih, hh, hr = tensors["weight_ih"], tensors["weight_hh"], tensors.get("weight_hr")
    gates = _GATES[kind]
    if ih.ndim != 2 or hh.ndim != 2 or (hr is not None and hr.ndim != 2):
        raise ShapeError("the weights must be matrices", where=where, found=f"{ih.shape}, {hh.shape}")
    units, width = hh.shape[0] // gates, hh.shape[1]
    fits = (
        units
        and ih.shape[0] == hh.shape[0] == gates * units
        and (width == units if hr is None else hr.shape == (width, units))
    )
    biases = [tensors[b] for b in ("bias_ih", "bias_hh") if b in tensors]
    if not fits or any(b.shape != (gates * units,) for b in biases):
        found = ", ".join(f"{stem} {array.shape}" for stem, array in tensors.items())
        raise ShapeError(
            f"the tensors are not {kind}'s",
            where=where,
            expected=f"{gates} * hidden_size rows, hidden_size columns in weight_hh",
            found=found,
        )
    if kind == "GRU":
        both = {"bias": zrn(biases[0]), "recurrent_bias": zrn(biases[1])} if biases else {}
        return {"weight": zrn(ih), "recurrent_weight": zrn(hh), "reset_after": True} | both
    # added in float64: the rounding to float32 then happens once
    bias = biases[0].astype(np.float64) + biases[1] if biases else None
    fields = {"weight": ih, "recurrent_weight": hh, "bias": bias}
    return fields | ({"projection": hr} if kind == "LSTM" else {"activation": nonlinearity})


def add_rnn(builder, name, x, tensors, *, kind, nonlinearity="tanh", initial=None, packed=True) -> Stack:
    """A whole torch.nn.RNN, LSTM or GRU stack. ``initial``, ``packed``: as ``add_stack`` takes them."""
    layer, cells = rnn_cells(tensors, kind, nonlinearity, f"{name} ({kind})")
    return add_stack(builder, name, x, layer, cells, initial=initial, packed=packed)


# ---- products ----------------------------------------------------------------------------------------------


def add_linear(builder, name, x, tensors):
    """torch.nn.Linear on every frame: weight (out_features, in_features)."""
    weight, bias = take(tensors, f"{name} (Linear)", ["weight"], ["bias"])
    return builder.add(Dense, name, x, weight=weight, bias=bias)


def add_embedding(builder, name, x, tensors, *, padding_idx=None, max_norm=None):
    """torch.nn.Embedding. ``padding_idx`` only stops a gradient; ``max_norm`` would rewrite the table while
    it is read.
    """
    if max_norm is not None:
        raise UnsupportedModelError("an Embedding with max_norm is not supported", where=name)
    (weight,) = take(tensors, f"{name} (Embedding)", ["weight"])
    if padding_idx is not None and not -len(weight) <= padding_idx < len(weight):
        raise ShapeError(
            "padding_idx is outside the table",
            where=name,
            expected=f"below {len(weight)}",
            found=str(padding_idx),
        )
    return builder.add(Embedding, name, x, weight=weight)


def add_conv1d(builder, name, x, tensors, *, stride=1, padding=0, dilation=1, groups=1, padding_mode="zeros"):
    """torch.nn.Conv1d: weight (out, in / groups, tap); ``padding`` a number (on both sides), "valid" or
    "same" (stride 1 only).
    """
    where = f"{name} (Conv1d)"
    weight, bias = take(tensors, where, ["weight"], ["bias"])
    if np.ndim(weight) != 3:
        raise ShapeError("weight must be (out, in / groups, tap)", where=where, found=str(np.shape(weight)))
    if padding_mode in PAD_MODES[1:]:
        fields = conv1d_options(where, stride, padding, dilation, groups)["padding"]
        total = (np.shape(weight)[2] - 1) * one(dilation, "dilation", where)
        before, after = (total // 2, total - total // 2) if fields == "same" else fields
        if before or after:
            x = builder.add(Pad1D, f"{name}.padded", x, before=before, after=after, mode=padding_mode)
        padding, padding_mode = 0, "zeros"
    options = conv1d_options(where, stride, padding, dilation, groups, padding_mode)
    return builder.add(Conv1D, name, x, weight=taps_first(weight), bias=bias, **options)


def conv1d_options(where, stride=1, padding=0, dilation=1, groups=1, padding_mode="zeros"):
    """The options of torch.nn.Conv1d as fields of a graph's Conv1D."""
    stride, dilation, groups = (
        one(stride, "stride", where),
        one(dilation, "dilation", where),
        one(groups, "groups", where),
    )
    if padding == "same" and stride != 1:
        raise UnsupportedModelError(
            "padding='same' exists only with stride 1", where=where, found=f"stride {stride}"
        )
    if isinstance(padding, str) and padding not in ("same", "valid"):
        raise UnsupportedModelError(
            "the padding is not supported",
            where=where,
            expected="a number, 'valid' or 'same'",
            found=repr(padding),
        )
    if padding != "same":
        sides = 0 if padding == "valid" else one(padding, "padding", where)
        padding = (sides, sides)
    if padding_mode != "zeros" and padding != (0, 0):
        raise UnsupportedModelError(
            f"padding_mode={padding_mode!r} is not supported",
            where=where,
            expected="'zeros', 'reflect', 'replicate' or 'circular'",
        )
    return {"stride": stride, "dilation": dilation, "groups": groups, "padding": padding}


def pair(value, option, where):
    """The two whole numbers of a 2-D layer's option: PyTorch takes one for both."""
    value = value if isinstance(value, (tuple, list)) else (value, value)
    value = tuple(value) * 2 if len(value) == 1 else value
    if len(value) != 2:
        raise UnsupportedModelError(f"{option} must be one number or two", where=where, found=repr(value))
    return tuple(one(n, option, where) for n in value)


def conv2d_options(where, stride=1, padding=0, dilation=1, groups=1, padding_mode="zeros"):
    """The options of torch.nn.Conv2d, those of two axes as pairs; padding (before, after) of each, or
    "same".
    """
    sides = [padding] * 2 if isinstance(padding, str) else pair(padding, "padding", where)
    strides, dilations = pair(stride, "stride", where), pair(dilation, "dilation", where)
    own = [
        conv1d_options(where, *one_axis, groups, padding_mode) for one_axis in zip(strides, sides, dilations)
    ]
    made = {name: tuple(axis[name] for axis in own) for name in ("stride", "dilation", "padding")}
    return made | {"groups": own[0]["groups"], "padding": "same" if padding == "same" else made["padding"]}


def add_conv_transpose1d(builder, name, x, tensors, **options):
    """torch.nn.ConvTranspose1d: weight (in, out / groups, tap); options as conv_transpose1d_options takes."""
    where = f"{name} (ConvTranspose1d)"
    weight, bias = take(tensors, where, ["weight"], ["bias"])
    if np.ndim(weight) != 3:
        raise ShapeError("weight must be (in, out / groups, tap)", where=where, found=str(np.shape(weight)))
    fields = conv_transpose1d_options(where, **options)
    weight = transposed_taps_first(weight, fields["groups"])
    return builder.add(ConvTranspose1D, name, x, weight=weight, bias=bias, **fields)


def conv_transpose1d_options(
    where, stride=1, padding=0, output_padding=0, groups=1, dilation=1, padding_mode="zeros"
):
    """The options of torch.nn.ConvTranspose1d as fields of a graph's ConvTranspose1D."""
    names = ("stride", "padding", "output_padding", "groups", "dilation")
    stride, padding, more, groups, dilation = (
        one(value, name, where)
        for name, value in zip(names, (stride, padding, output_padding, groups, dilation))
    )
    if padding_mode != "zeros":
        raise UnsupportedModelError(
            f"padding_mode={padding_mode!r} is not supported", where=where, expected="'zeros'"
        )
    if not 0 <= more < max(stride, dilation):
        raise UnsupportedModelError(
            "output_padding must be smaller than stride or dilation", where=where, found=str(more)
        )
    return {"stride": stride, "dilation": dilation, "groups": groups, "padding": (padding, padding - more)}


def conv_transpose2d_options(
    where, stride=1, padding=0, output_padding=0, groups=1, dilation=1, mode="zeros"
):
    """The options of torch.nn.ConvTranspose2d, those of two axes as pairs, padding (before, after)."""
    names, values = ("stride", "padding", "output_padding", "dilation"), (stride, padding, output_padding)
    pairs = zip(names, (*values, dilation))
    strides, sides, more, dilations = (pair(value, name, where) for name, value in pairs)
    own = [
        conv_transpose1d_options(where, s, p, m, groups, d, mode)
        for s, p, m, d in zip(strides, sides, more, dilations)
    ]
    made = {name: tuple(axis[name] for axis in own) for name in ("stride", "dilation", "padding")}
    return made | {"groups": own[0]["groups"]}


# ---- normalisation and activations -------------------------------------------------------------------------


def add_batch_norm(builder, name, x, tensors, *, eps=1e-5):
    """torch.nn.BatchNorm1d as it is after ``eval()``: running statistics. One without them would use each
    batch's own: refused.
    """
    where = f"{name} (BatchNorm1d)"
    if "running_mean" not in tensors and "running_var" not in tensors:
        raise UnsupportedModelError(
            "a BatchNorm1d without running statistics (track_running_stats=False) is not supported",
            where=where,
        )
    optional = ["weight", "bias", "num_batches_tracked"]
    mean, variance, gamma, beta, _ = take(tensors, where, ["running_mean", "running_var"], optional)
    return builder.add(
        BatchNormalization, name, x, mean=mean, variance=variance, gamma=gamma, beta=beta, epsilon=eps
    )


def add_layer_norm(builder, name, x, tensors, *, eps=1e-5, normalized_shape=None):
    """torch.nn.LayerNorm over the features of each frame; without weights its size is the frame's."""
    where = f"{name} (LayerNorm)"
    gamma, beta = take(tensors, where, [], ["weight", "bias"])
    width = builder.signal(x).width
    size = normalized_size(normalized_shape, where) if normalized_shape is not None else width
    if size != width or builder.signal(x).features != (width,):
        raise ShapeError(
            "normalized_shape must be the features of a frame",
            where=where,
            expected=str(builder.signal(x).features),
            found=f"({size},)",
        )
    return builder.add(LayerNormalization, name, x, size=size, gamma=gamma, beta=beta, epsilon=eps)


def normalized_size(shape, where):
    """The number of features that a LayerNorm's normalized_shape names."""
    return one(shape, "normalized_shape", where)


def add_activation(builder, name, x, word, **options):
    """An elementwise activation by its torch name, class ("ReLU") or function ("relu"); Identity adds no
    layer.
    """
    for function in elementwise(word, **options):
        x = x if function.name == "linear" else builder.add(Activation, name, x, activation=function)
    return x


# ---- pooling -----------------------------------------------------------------------------------------------


def add_max_pool(
    builder,
    name,
    x,
    *,
    kernel_size,
    stride=None,
    padding=0,
    dilation=1,
    ceil_mode=False,
    return_indices=False,
):
    """torch.nn.MaxPool1d; padding never wins."""
    where = f"{name} (MaxPool1d)"
    if return_indices:
        raise UnsupportedModelError("MaxPool1d with return_indices is not supported", where=where)
    fields = max_window_options(where, kernel_size, stride, padding, ceil_mode, dilation)
    return builder.add(MaxPool1D, name, x, **fields)


def add_average_pool(
    builder, name, x, *, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True
):
    """torch.nn.AvgPool1d; padded zeros count, unless ``count_include_pad=False``."""
    where = f"{name} (AvgPool1d)"
    fields = average_window_options(where, kernel_size, stride, padding, ceil_mode, count_include_pad)
    if zeros := fields.pop("zeros", None):
        x = builder.add(Pad1D, f"{name}.padded", x, before=zeros[0], after=zeros[1])
    return builder.add(AveragePool1D, name, x, **fields)


def max_window_options(where, kernel_size, stride=None, padding=0, ceil_mode=False, dilation=1):
    """The options of torch.nn.MaxPool1d as fields of a graph's MaxPool1D."""
    fields = window_options(where, kernel_size, stride, padding)
    fields["dilation"] = one(dilation, "dilation", where)
    return _up(fields) if ceil_mode else fields


def average_window_options(
    where, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True
):
    """The options of torch.nn.AvgPool1d as fields of a graph's AveragePool1D. ``zeros`` among them: so many
    frames before and after, which count, where those that ceil_mode adds do not.
    """
    fields = window_options(where, kernel_size, stride, padding)
    if not ceil_mode:
        return fields | {"count_padding": bool(count_include_pad)}
    if not count_include_pad or not any(fields["padding"]):
        return _up(fields) | {"count_padding": False}
    sides = fields["padding"][0]  # no window starts behind the last frame
    more = min(fields["stride"] - 1, fields["size"] - sides - 1)
    return fields | {"padding": (0, more), "count_padding": False, "zeros": (sides, sides)}


def _up(fields):
    """A window whose last frames may be missing (ceil_mode): more padding on the right, of which none starts
    beyond the last frame.
    """
    left, right = fields["padding"]
    span = (fields["size"] - 1) * fields.get("dilation", 1) + 1
    return fields | {"padding": (left, min(right + fields["stride"] - 1, span - 1))}


def window_options(where, kernel_size, stride=None, padding=0):
    """The options of a pooling window as fields of a graph's pooling layer."""
    size = one(kernel_size, "kernel_size", where)
    sides = one(padding, "padding", where)
    if 2 * sides > size:
        raise ShapeError(
            "padding must be at most half the window",
            where=where,
            expected=f"at most {size // 2}",
            found=str(sides),
        )
    return {
        "size": size,
        "stride": size if stride in (None, (), []) else one(stride, "stride", where),
        "padding": (sides, sides),
    }


def add_global_pool(builder, name, x, *, kind, output_size=1):
    """torch.nn.AdaptiveAvgPool1d(1) ("average") or AdaptiveMaxPool1d(1) ("max"): over all frames, to one
    value a sequence.
    """
    if one(output_size, "output_size", name) != 1:
        raise UnsupportedModelError(
            "adaptive pooling is supported to one frame only", where=name, found=f"output_size={output_size}"
        )
    return builder.add({"average": GlobalAveragePool, "max": GlobalMaxPool}[kind], name, x)
