"""The spec of a Keras file that holds weights alone: one layer a line, with Keras's own words and defaults.

    input length=50                                # only what the weights do not tell: features=N, length=N,
    ids conv1d: Conv1D padding=causal activation=relu Bidirectional LSTM return_sequences=True       # a
    wrapper, then what it wraps dense: Dense activation=softmax

A prefix is the layer's name in a .h5 file, its folder in a .weights.h5 file; without one it is the name Keras
gives by itself. Sizes (units, filters, kernel_size, input_dim, output_dim) come from the arrays; where they
are written they must agree. Axes are (batch, time, features). There are no branches: those need
``model.to_json()``.
"""

from __future__ import annotations

from ...errors import ModelFileError, UnsupportedModelError, did_you_mean
from ..spec.text import parse
from .config import Description, describe
from .layers import IDENTITIES, LAYERS
from .recurrent import RECURRENT
from .weights import children, inner, snake_case

#: Wrappers, with the options that are theirs and not those of the layer inside.
_WRAPPERS = {"Bidirectional": ("merge_mode",), "TimeDistributed": ()}
_KINDS = {*LAYERS, *RECURRENT, *IDENTITIES} - {
    "RNN",
    "Bidirectional",
    "Add",
    "Subtract",
    "Multiply",
    "Average",
    "Concatenate",
}
#: Layers that leave a frame's width as the next layer reads it, so that the next one's weights tell the
#: input's.
_KEEPS_WIDTH = {
    *IDENTITIES,
    "Masking",
    "Activation",
    "ReLU",
    "LeakyReLU",
    "ELU",
    "Rescaling",
    "ZeroPadding1D",
    "Cropping1D",
    "MaxPooling1D",
    "AveragePooling1D",
}
_CELL = ("recurrent_kernel", {"units": 0})
#: kind -> the array that tells its sizes, and the axis of each.
_SIZES = {
    "Dense": ("kernel", {"units": 1}),
    "Conv1D": ("kernel", {"kernel_size": 0, "filters": 2}),
    "Conv1DTranspose": ("kernel", {"kernel_size": 0, "filters": 1}),
    "DepthwiseConv1D": ("depthwise_kernel", {"kernel_size": 0}),
    "SeparableConv1D": ("depthwise_kernel", {"kernel_size": 0}),
    "Embedding": ("embeddings", {"input_dim": 0, "output_dim": 1}),
    **dict.fromkeys(("SimpleRNN", "LSTM", "GRU", "CuDNNLSTM", "CuDNNGRU"), _CELL),
}


def sequential(text) -> Description:
    """The network that the lines describe, without the sizes that its arrays tell. Raises
    UnsupportedModelError naming the line.
    """
    lines, entries, counts = parse(text), [], {}
    stated = lines.pop(0) if lines and lines[0].kind == "input" else None
    options = dict(stated.options) | dict.fromkeys(stated.words, True) if stated else {}
    if any(type(n) is not (bool if o == "ids" else int) or n < 1 for o, n in options.items()) or set(
        options
    ) - {"features", "length", "ids"}:
        raise stated.refuse(
            "the input line is not understood", expected="input [ids] [features=N] [length=N]"
        )
    for line in lines:
        wrapped = line.kind in _WRAPPERS and len(line.words) == 1
        kind = line.words[0] if wrapped else line.kind
        if kind not in _KINDS or (line.words and not wrapped):
            found = " ".join((line.kind, *line.words))[:80]
            raise line.refuse(
                "this is not a layer that a chain can hold",
                expected=f"[Bidirectional | TimeDistributed] {' | '.join(sorted(_KINDS))}",
                found=found,
                fix=None if kind in _KINDS else did_you_mean(kind, _KINDS),
            )
        own = _WRAPPERS.get(line.kind, ())
        entry = {"class_name": kind, "config": {o: v for o, v in line.options.items() if o not in own}}
        if wrapped:
            entry["config"]["name"] = "wrapped"
            entry = {
                "class_name": line.kind,
                "config": {"layer": entry} | {o: v for o, v in line.options.items() if o in own},
            }
        base = snake_case(line.kind)
        number = counts[base] = counts.get(base, -1) + 1
        entry["config"]["name"] = line.prefix or (f"{base}_{number}" if number else base)
        entries.append(entry)
    if not entries:
        raise UnsupportedModelError("the spec holds no layer", where="spec")
    entries.insert(0, {"class_name": "InputLayer", "config": {"name": "input", "stated": options}})
    return describe({"class_name": "Sequential", "config": {"name": "spec", "layers": entries}}, "spec")


def complete(network: Description, weights: dict, *, folders):
    """Puts what the arrays tell into the network's configuration. ``folders``: in a tree, prefixes must be
    the arrays' own.
    """
    (entry, _), *layers = children(network)
    known, open_width = {}, True
    for layer, folder in layers:
        if folders and layer.name != folder:
            raise ModelFileError(
                "the prefix is not the layer's folder in the file",
                where=layer.where,
                expected=f"{folder}:",
                found=f"{layer.name}:",
            )
        own, arrays = layer, weights.get("layers", {}).get(folder, {})
        if layer.class_name in _WRAPPERS:
            own = inner(layer, "layer")
            arrays = arrays.get("forward_layer", arrays.get("layer", {}))
        arrays = arrays.get("cell", arrays)
        name, axes = _SIZES.get(own.class_name, ("", {}))
        if name and name in arrays and arrays[name].ndim > max(axes.values()):
            for option, axis in axes.items():
                own.config.setdefault(option, arrays[name].shape[axis])
        if own.class_name == "SeparableConv1D" and "pointwise_kernel" in arrays:
            own.config.setdefault("filters", arrays["pointwise_kernel"].shape[-1])
        if open_width and own.class_name not in _KEEPS_WIDTH:
            known, open_width = _input(own, arrays), False
    stated = entry.config.pop("stated")
    known |= stated
    if not known.get("ids") and "features" not in known:
        raise UnsupportedModelError(
            "the size of the input's frames cannot be told",
            where="spec",
            fix="Add a first line: input features=N.",
        )
    entry.config["batch_shape"] = [None, known.get("length")] + (
        [] if known.get("ids") else [known["features"]]
    )


def _input(layer, arrays):
    """What the first layer with weights tells of the input."""
    if layer.class_name == "Embedding":
        return {"ids": True}
    kernel = arrays.get("depthwise_kernel", arrays.get("kernel"))
    if kernel is None or kernel.ndim not in (2, 3):
        return {}
    if layer.class_name == "Conv1DTranspose":
        return {"features": kernel.shape[-1]}
    groups = layer.config.get("groups", 1)
    return {"features": kernel.shape[-2] * (groups if type(groups) is int else 1)}
