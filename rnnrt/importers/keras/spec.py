"""The spec of a Keras file that holds weights alone: one layer a line, with Keras's own words and defaults.

    input length=50             # only what the weights do not tell: features=N, bins=N, length=N, ids
    x = conv1d: Conv1D padding=causal activation=relu
    Bidirectional LSTM return_sequences=True                          # a wrapper, then what it wraps
    dense: Dense activation=sigmoid
    Multiply x                  # what the line before made, and x
    ignore lstm_7 dense_*       # layers of the file that this network does not have

A prefix is the layer's name in a .h5 file, its folder in a .weights.h5 file; without one it is the name Keras
gives by itself. Sizes (units, filters, kernel_size, input_dim, output_dim) come from the arrays; where they
are written they must agree. Axes are (batch, time, features), after ``input bins=N`` (batch, time, bins,
channels). Options of several numbers are written ``strides=1,2``.

A line reads the line before it. ``a = ...`` names a result, and a line that gives names reads those:
``Add a b``; a merging layer with one name joins the line before and it. A layer that returns states has a
name for each (``y, h, c = LSTM return_state=True``) and starts from them (``LSTM x h c``). Functions of
keras.ops stand under their own names, with numbers in the place of tensors: ``log``, ``add 1e-7``,
``subtract 1 a``.
Further inputs are ``b = input features=N``; the unnamed one is called ``input``. ``output a b`` at the end
returns several results. A result that no line reads is refused. For other wiring give ``model.to_json()``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from ...errors import ModelFileError, UnsupportedModelError, did_you_mean
from ..spec.text import ignored_by, parse
from .config import Description, describe
from .functions import OPERATIONS
from .layers import IDENTITIES, LAYERS
from .recurrent import RECURRENT
from .weights import children, inner, snake_case

#: Wrappers, with the options that are theirs and not those of the layer inside.
_WRAPPERS = {"Bidirectional": ("merge_mode",), "TimeDistributed": ()}
#: Layers that join tensors, given as one list.
_MERGES = {
    *("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Dot"),
    *("Attention", "AdditiveAttention"),
}
_KINDS = {*LAYERS, *RECURRENT, *IDENTITIES} - {"RNN", "Bidirectional"}
#: keras.ops functions of tensors and numbers, by the names they have there.
_FUNCTIONS = {snake_case(name): name for name in OPERATIONS} | {"absolute": "Absolute"}
_FUNCTIONS = {
    name: kind
    for name, kind in _FUNCTIONS.items()
    if kind
    not in (
        *("Where", "GetItem", "Cast", "Einsum", "Concatenate", "Transpose", "Clip", "Split", "Unstack"),
        *("Stack", "Reshape", "ZerosLike", "OnesLike", "ConvertToTensor", "Copy", "StopGradient"),
        *("Identity", "Swapaxes", "Repeat", "Flip", "Dot"),
    )
}
#: Layers that leave a frame's width as the next layer reads it, so that the next one's weights tell the
#: input's.
_KEEPS_WIDTH = {
    *IDENTITIES,
    *("Masking", "Activation", "ReLU", "LeakyReLU", "ELU", "Rescaling", "ZeroPadding1D", "Cropping1D"),
    *("MaxPooling1D", "AveragePooling1D", "LayerNormalization", "BatchNormalization"),
    *("MaxPooling2D", "AveragePooling2D", "ZeroPadding2D", "Cropping2D"),
    *("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"),
    *_FUNCTIONS.values(),
}
_CELL = ("recurrent_kernel", {"units": 0})
#: kind -> the array that tells its sizes, and the axis of each.
_SIZES = {
    "Dense": ("kernel", {"units": 1}),
    "Conv1D": ("kernel", {"kernel_size": 0, "filters": 2}),
    "Conv2D": ("kernel", {"kernel_size": (0, 1), "filters": 3}),
    "Conv2DTranspose": ("kernel", {"kernel_size": (0, 1), "filters": 2}),
    "DepthwiseConv2D": ("depthwise_kernel", {"kernel_size": (0, 1)}),
    "SeparableConv2D": ("depthwise_kernel", {"kernel_size": (0, 1)}),
    "Conv1DTranspose": ("kernel", {"kernel_size": 0, "filters": 1}),
    "DepthwiseConv1D": ("depthwise_kernel", {"kernel_size": 0}),
    "SeparableConv1D": ("depthwise_kernel", {"kernel_size": 0}),
    "Embedding": ("embeddings", {"input_dim": 0, "output_dim": 1}),
    **dict.fromkeys(("SimpleRNN", "LSTM", "GRU", "CuDNNLSTM", "CuDNNGRU"), _CELL),
}


@dataclass
class Network:
    """What the lines describe. ``description``: without the sizes that arrays tell; ``reads``: {layer: the
    layers it reads}; ``stated``: {input: what its line says}; ``ignored``: the lines of layers that are left
    out; ``named``: layers whose line has a prefix."""

    description: Description
    reads: dict[str, list[str]] = field(default_factory=dict)
    stated: dict[str, dict] = field(default_factory=dict)
    ignored: list = field(default_factory=list)
    named: set[str] = field(default_factory=set)


class _Lines:
    """The lines on their way into a Functional config."""

    def __init__(self):
        self.entries, self.counts, self.names = [], {}, {}
        self.reads, self.stated, self.ignored, self.named = {}, {}, [], set()
        self.read, self.lines, self.chain, self.outputs = set(), {}, None, []

    def input(self, line, name):
        options = dict(line.options) | dict.fromkeys(line.words, True) if line else {}
        if any(type(n) is not (bool if o == "ids" else int) or n < 1 for o, n in options.items()) or set(
            options
        ) - {"features", "bins", "length", "ids"}:
            raise line.refuse(
                "the input line is not understood", expected="input [ids] [features=N] [bins=N] [length=N]"
            )
        self.entries.append({"class_name": "InputLayer", "config": {"name": name}, "name": name})
        self.stated[name] = options
        self.names[name] = self.chain = (name, 0)
        self.reads[name] = []

    def free_name(self, base):
        number = self.counts[base] = self.counts.get(base, -1) + 1
        return f"{base}_{number}" if number else base

    def operands(self, line, kind):
        """(tensors and numbers that the line reads, the words left over)."""
        found, words = [], []
        for word in line.words:
            if word in self.names:
                found.append(self.names[word])
            elif kind in _FUNCTIONS and (number := _number(word)) is not None:
                found.append(number)
            else:
                words.append(word)
        if not found or (kind in (*_MERGES, *_FUNCTIONS) and _lacks_one(kind, found)):
            if self.chain is None:
                raise line.refuse("no input stands before it")
            found.insert(0, self.chain)
        self.read |= {f[0] for f in found if isinstance(f, tuple)}
        return found, words

    def layer(self, line):
        kind, found = line.kind, []
        found, words = self.operands(line, line.kind)
        wrapped = kind in _WRAPPERS and len(words) == 1
        kind = words[0] if wrapped else kind
        if (
            kind not in _KINDS | set(_FUNCTIONS)
            or (words and not wrapped)
            or (wrapped and kind in _FUNCTIONS)
        ):
            known = (
                f"[Bidirectional | TimeDistributed] {' | '.join(sorted(_KINDS))}, or a function of keras.ops"
            )
            raise line.refuse(
                "this is not a layer, or a word in it is not the name of a result above it",
                expected=f"{known}; names: {', '.join(self.names)}",
                found=" ".join((line.kind, *line.words))[:80],
                fix=None if kind in _KINDS else did_you_mean(kind, (*_KINDS, *_FUNCTIONS)),
            )
        if len(found) < 2 and (kind in _MERGES or (kind in _FUNCTIONS and _joins(kind))):
            raise line.refuse(f"{line.kind} joins two results or more", expected=f"{line.kind} NAME")
        if any(isinstance(f, tuple) and f[1] for f in found) and len(found) == 1:
            raise line.refuse("a state alone is not read by this layer")
        own = _WRAPPERS.get(line.kind, ())
        options = {o: _numbers(v) for o, v in line.options.items()}
        entry = {"class_name": kind, "config": {o: v for o, v in options.items() if o not in own}}
        entry["module"] = "keras.layers"
        if wrapped:
            entry["config"]["name"] = "wrapped"
            entry = {
                "class_name": line.kind,
                "config": {"layer": entry} | {o: v for o, v in options.items() if o in own},
                "module": "keras.layers",
            }
        base = line.kind if kind in _FUNCTIONS else snake_case(line.kind)
        name = self.free_name(base)
        if line.prefix:
            name, _ = line.prefix, self.named.add(line.prefix)
        if name in self.reads:
            raise line.refuse("two layers have this name; a layer is called once in a spec", found=name)
        if kind in _FUNCTIONS:
            entry |= {"class_name": _FUNCTIONS[kind], "module": "keras.src.ops.numpy"}
        entry["config"]["name"] = entry["name"] = name
        tensors = [_tensor(f) if isinstance(f, tuple) else f for f in found]
        arguments, more = ([tensors], {}) if kind in _MERGES else (tensors, {})
        if kind in RECURRENT and len(tensors) > 1:
            arguments, more = tensors[:1], {"initial_state": tensors[1:]}
        entry["inbound_nodes"] = [{"args": arguments, "kwargs": more}]
        self.entries.append(entry)
        self.lines[name] = line
        self.reads[name] = [f[0] for f in found if isinstance(f, tuple)]
        self.chain = (name, 0)
        for place, own_name in enumerate(line.names):
            self.names[own_name] = (name, place)

    def network(self):
        if not self.lines:
            raise UnsupportedModelError("the spec holds no layer", where="spec")
        outputs = self.outputs or [self.chain]
        unread = [n for n in self.lines if n not in self.read and n not in [name for name, _ in outputs]]
        if unread:
            raise self.lines[unread[0]].refuse(
                "no line reads the result of this one",
                fix="Name it (a = ...) and give the name to the line that reads it, or take the line out.",
            )
        config = {
            "name": "spec",
            "layers": self.entries,
            "input_layers": [[n, 0, 0] for n in self.stated],
            "output_layers": [[name, 0, place] for name, place in outputs],
        }
        description = describe({"class_name": "Functional", "config": config}, "spec")
        return Network(description, self.reads, self.stated, self.ignored, self.named)


def _lacks_one(kind, found):
    """Whether a join has one operand alone, and so reads the line before it, too."""
    if kind in _MERGES:
        return len(found) == 1
    return not any(isinstance(f, tuple) for f in found) or (len(found) == 1 and _joins(kind))


def _joins(kind):
    return _FUNCTIONS[kind] in (
        *("Add", "Subtract", "Multiply", "Divide", "TrueDivide", "Maximum", "Minimum", "Power", "Matmul"),
        *("Equal", "Greater", "GreaterEqual", "Less", "LessEqual", "LogicalAnd", "LogicalOr", "LogicalXor"),
    )


def _tensor(operand):
    name, place = operand
    return {"class_name": "__keras_tensor__", "config": {"keras_history": [name, 0, place]}}


def _number(word):
    try:
        return float(word) if word[:1] in "+-.0123456789" and len(word) < 40 else None
    except ValueError:
        return None


def read_lines(text) -> Network:
    """The network that the lines describe, without the sizes that its arrays tell. Raises
    UnsupportedModelError naming the line.
    """
    lines, made = parse(text), _Lines()
    first = lines.pop(0) if lines and lines[0].kind == "input" and not lines[0].names else None
    if first or not any(line.kind == "input" for line in lines):
        made.input(first, "input")
    for line in lines:
        if made.outputs and line.kind != "ignore":
            raise line.refuse("output must be the last line")
        match line.kind:
            case "input" if len(line.names) == 1 and not line.prefix:
                made.input(line, line.names[0])
            case "input":
                raise line.refuse(
                    "input may only be the first line", fix="Give a further one a name: b = input."
                )
            case "ignore":
                if not line.words or line.names or line.options:
                    raise line.refuse("ignore names the layers that are left out", expected="ignore NAME*")
                made.ignored.append(line)
            case "output":
                if line.options or not line.words or set(line.words) - set(made.names):
                    raise line.refuse("output names results above it", expected=", ".join(made.names))
                made.outputs = [made.names[w] for w in line.words]
            case _:
                made.layer(line)
    return made.network()


def _numbers(value):
    """Numbers with commas between them as a list."""
    parts = value.split(",") if isinstance(value, str) else ()
    plain = len(parts) > 1 and all(re.fullmatch(r"-?\d{1,9}", part) for part in parts)
    return [int(part) for part in parts] if plain else value


def without_ignored(network: Network, names) -> list[str]:
    """The ``names`` of layers in a file that the network does not leave out."""
    ignored = {}
    for line in network.ignored:
        ignored |= ignored_by(line, names, "layer of the file")
    both = sorted(set(ignored) & set(network.reads))
    if both:
        raise ModelFileError(f"the layer {both[0][:80]!r} is ignored and used", where=ignored[both[0]].where)
    return [n for n in names if n not in ignored]


def complete(network: Network, weights: dict):
    """Puts what the arrays tell into the network's configuration."""
    known, entries = {}, {}
    for layer, folder in children(network.description):
        if layer.class_name == "InputLayer":
            entries[layer.name] = layer
            continue
        own, arrays = layer, weights.get("layers", {}).get(folder, {})
        if layer.class_name in _WRAPPERS:
            own = inner(layer, "layer")
            arrays = arrays.get("forward_layer", arrays.get("layer", {}))
        arrays = arrays.get("cell", arrays)
        name, axes = _SIZES.get(own.class_name, ("", {}))
        last = max((np.max(axis) for axis in axes.values()), default=0)
        if name and name in arrays and arrays[name].ndim > last:
            for option, axis in axes.items():
                shape = arrays[name].shape
                size = [shape[k] for k in axis] if isinstance(axis, tuple) else shape[axis]
                own.config.setdefault(option, size)
        if own.class_name.startswith("SeparableConv") and "pointwise_kernel" in arrays:
            own.config.setdefault("filters", arrays["pointwise_kernel"].shape[-1])
        known[layer.name] = (own, arrays)
    for name, stated in network.stated.items():
        told = _told(name, network, known) | stated
        if not told.get("ids") and "features" not in told:
            raise UnsupportedModelError(
                "the size of the input's frames cannot be told",
                where="spec",
                fix="Add a first line: input features=N."
                if name == "input"
                else f"{name} = input features=N",
            )
        shape = [None, told.get("length")] + ([told["bins"]] if "bins" in told else [])
        shape += [] if told.get("ids") else [told["features"]]
        entries[name].config["batch_shape"] = shape


def _told(name, network, known):
    """What the first layer with weights tells of an input, read through layers that keep a frame's width."""
    same = {name}
    for layer, sources in network.reads.items():
        if not sources or sources[0] not in same:
            continue
        own, arrays = known[layer]
        told = _input(own, arrays)
        if told:
            return told
        if own.class_name in _KEEPS_WIDTH:
            same.add(layer)
    return {}


def _input(layer, arrays):
    """What a layer with weights tells of what it reads."""
    if layer.class_name == "Embedding":
        return {"ids": True}
    if layer.class_name in ("LayerNormalization", "BatchNormalization"):
        array = arrays.get("gamma", arrays.get("beta", arrays.get("moving_mean")))
        return {} if array is None or array.ndim != 1 else {"features": array.size}
    kernel = arrays.get("depthwise_kernel", arrays.get("kernel"))
    if kernel is None or kernel.ndim not in (2, 3, 4):
        return {}
    if layer.class_name == "Conv1DTranspose":
        return {"features": kernel.shape[-1]}
    groups = layer.config.get("groups", 1)
    return {"features": kernel.shape[-2] * (groups if type(groups) is int else 1)}
