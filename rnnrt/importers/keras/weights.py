"""Which variables each Keras layer holds and where a file keeps them: containers -> arrays by path.

Whatever the container, the result is one nested dict per model, keyed as a .keras file spells its paths:
``{"layers": {"bidirectional": {"forward_layer": {"cell": {"kernel": array, ...}}}}}``. A path ends in a
variable's role, not in the number it has in the file.

Three ways to store them: ``fill_tree`` reads the groups of model.weights.h5 (each layer's own variables
numbered: trainable in order of creation, then the others); ``fill_lists`` reads one flat list for each
top-level layer (legacy .h5 and live models: all trainable variables of the layer and of everything in it,
then the others); a SavedModel folder names every variable by the attributes that lead to it
(``Slot.tracked``, see saved_model.py).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace

import numpy as np

from ...errors import ModelFileError, UnsupportedModelError
from ..containers.hdf5 import Group
from .config import TRAINING_SUFFIXES, Description, describe

#: Layers one network may list; the deepest ones in use have some hundreds.
MAX_LAYERS = 4096
_CELLS = {"SimpleRNN", "LSTM", "GRU", "CuDNNLSTM", "CuDNNGRU"}
#: Networks that may stand inside another, or be the model.
NETWORKS = {"Sequential", "Functional", "Model"}
#: Groups beside the weights: what training needs to go on.
TRAINING_GROUPS = (
    "optimizer",
    "optimizer_weights",
    "metrics",
    "_metrics",
    "compile_metrics",
    "_compile_metrics",
    "loss_tracker",
    "_loss_tracker",
)
#: What a generator of random numbers keeps beside a dropout: nothing at inference.
RANDOM = {"seed_generator", "_random_generator", "seed_generator_state"}
_ROLES = {
    "kernel",
    "recurrent_kernel",
    "bias",
    "gamma",
    "beta",
    "moving_mean",
    "moving_variance",
    "embeddings",
    "depthwise_kernel",
    "pointwise_kernel",
    "alpha",
    "scale",
    "mean",
    "variance",
    "count",
}
#: What Keras 3 calls a DepthwiseConv1D's kernel.
OTHER_ROLE = {"depthwise_kernel": "kernel"}


#: Layers without variables.
_EMPTY = {
    "InputLayer",
    "Dropout",
    "SpatialDropout1D",
    "GaussianNoise",
    "GaussianDropout",
    "AlphaDropout",
    "ActivityRegularization",
    "Identity",
    "Activation",
    "ReLU",
    "LeakyReLU",
    "ELU",
    "Softmax",
    "Rescaling",
    "MaxPooling1D",
    "AveragePooling1D",
    "GlobalMaxPooling1D",
    "GlobalAveragePooling1D",
    "Flatten",
    "Reshape",
    "Permute",
    "RepeatVector",
    "Cropping1D",
    "ZeroPadding1D",
    "Concatenate",
    "Add",
    "Subtract",
    "Multiply",
    "Average",
    *("UpSampling1D", "UnitNormalization", "Maximum", "Minimum", "Dot", "Normalization"),
    *("AdaptiveAveragePooling1D", "AdaptiveMaxPooling1D"),
    *("MaxPooling2D", "AveragePooling2D", "GlobalMaxPooling2D", "GlobalAveragePooling2D"),
    *("ZeroPadding2D", "Cropping2D", "SpatialDropout2D", "UpSampling2D"),
    "Masking",
    "Lambda",
    *("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer"),
}


@dataclass(frozen=True)
class Slot:
    """A variable: its path, and whether training changes it. ``whole``: all arrays below the path, of a layer
    nobody here knows. ``layer``: whose it is. ``tracked``: the attributes of Keras 2 that lead to it from the
    model (layer-1, cell, kernel)."""

    path: tuple[str, ...]
    trainable: bool = True
    whole: bool = False
    layer: Description | None = None
    tracked: tuple[str, ...] | None = None

    def inside(self, *prefix, trainable=True, tracked=None):
        made = replace(self, path=prefix + self.path, trainable=self.trainable and trainable)
        return made if self.tracked is None else replace(made, tracked=(tracked or prefix) + self.tracked)

    @property
    def shared(self):
        """What the variables of one layer have in common wherever in a network it is listed: networks may
        share layers.
        """
        return (
            self.layer.class_name,
            self.layer.name,
            json.dumps(said(self.layer.config), sort_keys=True),
            self.path[-1:],
        )


# ---- what each layer holds ---------------------------------------------------------------------------------


def slots(layer: Description, count=None) -> list[Slot]:
    """The variables of a layer in the order Keras creates them. ``count``: see ``children``."""
    return [
        slot if slot.layer else replace(slot, layer=layer, tracked=slot.tracked or slot.path)
        for slot in _slots(layer, count)
    ]


def _slots(layer, count):
    config = layer.config
    if layer.custom:
        return [Slot((), whole=True)]
    for option in ("quantization_config", "lora_rank"):
        if config.get(option):
            mode = config[option].get("class_name") if isinstance(config[option], dict) else config[option]
            mode = str(mode).removesuffix("QuantizationConfig")[:40]
            raise UnsupportedModelError(
                "the layer has LoRA's weights beside its own"
                if option == "lora_rank"
                else f"the layer's weights are quantised ({mode})",
                where=layer.where,
                found=f"{option}={mode}",
                fix="Save the model before it was quantised, or after LoRA's weights were merged into it.",
            )
    match layer.class_name:
        case "Dense" | "Conv1D" | "Conv1DTranspose" | "Conv2D" | "Conv2DTranspose":
            return _named("kernel", bias=config)
        case "DepthwiseConv1D" | "DepthwiseConv2D":
            return _named("depthwise_kernel", bias=config)
        case "SeparableConv1D" | "SeparableConv2D":
            return _named("depthwise_kernel", "pointwise_kernel", bias=config)
        case "SimpleRNNCell" | "LSTMCell" | "GRUCell":
            return _named("kernel", "recurrent_kernel", bias=config)
        case name if name in _CELLS:
            own = _named("kernel", "recurrent_kernel", bias=config)
            kept = name.startswith("CuDNN")  # whose variables are the layer's own, without a cell
            return [replace(s.inside("cell"), tracked=s.path if kept else None) for s in own]
        case "Embedding":
            return _named("embeddings")
        case "PReLU":
            return _named("alpha")
        case "BatchNormalization":
            return _scaled(config) + [Slot(("moving_mean",), False), Slot(("moving_variance",), False)]
        case "GroupNormalization":
            return _scaled(config)
        case "RMSNormalization":
            return _named("scale")
        case "Normalization" if config.get("mean") is None:
            tracked = {"mean": ("adapt_mean",), "variance": ("adapt_variance",), "count": ("count",)}
            return [Slot((name,), False, tracked=there) for name, there in tracked.items()]
        case "Attention":
            scale = ("scale",) if config.get("use_scale") else ()
            return _named(*scale, *(("concat_score_weight",) if config.get("score_mode") == "concat" else ()))
        case "AdditiveAttention":
            return _named("scale") if config.get("use_scale", True) else []
        case "MultiHeadAttention":
            parts = [f"{part}_dense" for part in ("query", "key", "value", "output")]
            own = _named("kernel", bias=config)
            return [s.inside(part, tracked=(f"_{part}",)) for part in parts for s in own]
        case "LayerNormalization":
            return _named("gamma") if config.get("rms_scaling") else _scaled(config)
        case "RNN":
            return _inner(layer, "cell", "cell", count)
        case "StackedRNNCells":
            return _children(layer, "cells", None)
        case "TimeDistributed":
            return _inner(layer, "layer", "layer", count)
        case "Bidirectional":
            forward = _inner(layer, "layer", "forward_layer", count)
            backward = "backward_layer" if config.get("backward_layer") else "layer"
            return forward + _inner(layer, backward, "backward_layer", count)
        case name if name in NETWORKS:
            return _children(layer, "layers", count)
        case name if name in _EMPTY or layer.operation:
            return []
    return [Slot((), whole=True)]


def _named(*names, bias=None):
    if bias is not None and bias.get("use_bias", True):
        names += ("bias",)
    return [Slot((n,)) for n in names]


def _scaled(config):
    return _named(*(n for n, key in (("gamma", "scale"), ("beta", "center")) if config.get(key, True)))


def inner(layer, key) -> Description:
    """The layer described inside another's config."""
    return describe(layer.config.get(key), f"{layer.where}: {key}")


def _inner(layer, key, folder, count):
    child = inner(layer, key)
    return [s.inside(folder, trainable=child.trainable) for s in slots(child, count)]


def twice_with_weights(layer):
    """For how many TensorFlow 2.12 and 2.13 counted a layer: they listed one with weights twice, and wrote it
    at its first place (engine/functional.py, _layer_checkpoint_dependencies): lstm, lstm_2, lstm_4."""
    return 2 if slots(layer) else 1


def children(layer, key="layers", count=None) -> list[tuple[Description, str]]:
    """The layers (or cells) in a layer's config, each with its name among them in a .keras file: lstm,
    lstm_1, ...

    ``count(layer)``: for how many of its class a layer counts, where that is not one.
    """
    entries = layer.config.get(key)
    if not isinstance(entries, list):
        raise ModelFileError(f"the list of {key} is missing", where=layer.where)
    if len(entries) > MAX_LAYERS:
        raise ModelFileError(
            f"too many {key}", where=layer.where, expected=f"at most {MAX_LAYERS}", found=str(len(entries))
        )
    named, counts = [], {}
    for entry in entries:
        child = describe(entry, layer.where)
        base = snake_case(child.class_name.rpartition(">")[2])
        number = counts.get(base, 0)
        if not child.operation:
            counts[base] = number + (count(child) if count else 1)
        named.append((child, f"{base}_{number}" if number else base))
    return named


def _children(layer, key, count):
    return [
        s.inside(key, name, trainable=child.trainable, tracked=tracked)
        for (child, name), tracked in zip(children(layer, key, count), attributes(layer, key), strict=True)
        if not child.operation
        for s in slots(child, count)
    ]


def attributes(layer, key="layers") -> list[tuple[str, ...]]:
    """For each of ``children``, the attributes of Keras 2 that lead to it: a Sequential does not count its
    InputLayer.
    """
    made, number = [], 0
    for child, _ in children(layer, key):
        made.append((f"layer-{number}",) if key == "layers" else (key, str(number)))
        number += not (layer.class_name == "Sequential" and child.class_name == "InputLayer")
    return made


def snake_case(class_name):
    """Keras's own rule (keras.src.utils.naming): MaxPooling1D -> max_pooling1d, ReLU -> re_lu."""
    name = re.sub(r"\W+", "", class_name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


# ---- filling them ------------------------------------------------------------------------------------------


def fill_tree(model: Description, root: Group, where) -> dict:
    """The arrays of a .keras or .weights.h5 tree. Raises ModelFileError where one is missing or left over."""
    left = {_path(path): array for path, array in root.walk()}
    left = {
        path: array
        for path, array in left.items()
        if not RANDOM & set(path.split("/")) and path.partition("/")[0] not in TRAINING_GROUPS
    }
    tree: dict = {}
    numbers: dict[tuple, int] = {}
    own, absent = slots(model), []
    for slot, stored in zip(own, _stored(model, own, left), strict=True):
        owner = stored.path if slot.whole else stored.path[:-1]
        folder = "".join(f"{name}/" for name in owner)
        if slot.whole:
            found = {p.removeprefix(folder): left.pop(p) for p in list(left) if p.startswith(folder)}
            put(tree, slot.path, found)
            continue
        path = f"{folder}vars/{numbers.setdefault(owner, 0)}"
        numbers[owner] += 1
        if path in left:
            put(tree, slot.path, left.pop(path))
        else:
            absent.append((slot, path))
    gone = {slot.path for slot, _ in absent}
    there = [s for s in own if absent and not s.whole and s.path not in gone]
    alike, partly = _alike(there), {s.path[:-1] for s in there}
    for slot, path in absent:  # a layer in several networks is written once, where it was met first
        others = alike.get(slot.shared, [])
        if len(others) != 1 or slot.path[:-1] in partly:
            raise ModelFileError(
                "an array is missing",
                where=f"{where}: {path}",
                expected=f"the {slot.path[-1]} of {'/'.join(slot.path[:-1])}",
                found=f"{len(others)} layers like it, which may be meant" if others else None,
            )
        put(tree, slot.path, _get(tree, others[0].path))
    _refuse_quantised(model, left, numbers, where)
    if left:
        raise ModelFileError(
            "arrays belong to no layer of the network", where=where, found=", ".join(list(left)[:8])
        )
    return tree


#: Layers that Keras quantises.
_QUANTISED = ("Dense", "EinsumDense", "Embedding")


def _refuse_quantised(model, left, numbers, where):
    """Raise where what is left over are the scales of quantised weights: a file of weights says nothing of
    them, but that a layer has more arrays than its own.
    """
    folders = {folder: layer for layer, folder in children(model) if layer.class_name in _QUANTISED}
    for path in left:
        owner, _, own = path.rpartition("/vars/")
        layer = folders.get(owner.removeprefix("layers/"))
        if layer and own.isdecimal() and numbers.get(tuple(owner.split("/"))):
            raise UnsupportedModelError(
                "the weights are quantised: the file holds more arrays of this layer than it has",
                where=f"{where}: {layer.where}",
                expected=f"{numbers[tuple(owner.split('/'))]} arrays",
                found=path,
                fix="Save the weights before quantize() was called (int8, int4, float8).",
            )


def named_folders(network: Description, named, groups) -> dict:
    """{folder that the network gives a layer: group} of {folder in the file: group}, where the layers in
    ``named`` are called by their folder in the file. Raises ModelFileError where there is no such folder.
    """
    renamed = {}
    for layer, folder in children(network):
        if layer.name not in named:
            continue
        base = snake_case(layer.class_name)
        if layer.name not in groups or not re.fullmatch(rf"{base}(_\d+)?", layer.name):
            raise ModelFileError(
                "the prefix is not the layer's folder in the file",
                where=layer.where,
                expected=f"{base}:, or one of {', '.join(n for n in groups if n.startswith(base)) or 'none'}",
                found=f"{layer.name}:",
            )
        renamed[folder] = groups[layer.name]
    left = {name: group for name, group in groups.items() if name not in named}
    both = set(left) & set(renamed)
    if both:
        left = {(f"{name} (not read)" if name in both else name): group for name, group in left.items()}
    return renamed | left


def _stored(model, own, paths):
    """The slots under the names that the file gives the layers: those of TensorFlow 2.12 and 2.13 where all
    of them are there.
    """
    found = {path.partition("/vars/")[0] + "/" for path in paths}

    def fits(named):
        folders = {"/".join(s.path[:-1]) + "/" for s in named if not s.whole}
        unknown = tuple("/".join(s.path) + "/" for s in named if s.whole)
        return folders <= found and all(path.startswith(unknown) for path in found - folders)

    if fits(own):
        return own
    twice = slots(model, twice_with_weights)
    return twice if fits(twice) else own


def _path(path):
    """TensorFlow 2.12 had another name for the folder of layers, and tf.keras private ones for the products
    of MultiHeadAttention; files written on Windows may hold back-slashes.
    """
    path = path.replace("\\", "/").replace("_layer_checkpoint_dependencies/", "layers/")
    return re.sub("/_(query|key|value|output)_dense/", r"/\1_dense/", path)


def fill_lists(model: Description, lists: dict[str, list], where, apart=()) -> dict:
    """The arrays of {layer name: [(variable name, array), ...]}, of all layers but those whose folders are in
    ``apart``. Raises ModelFileError where they do not fit.
    """
    tree: dict = {}
    lists = dict(lists)
    for layer, folder in children(model):
        if folder in apart:
            continue
        arrays = lists.pop(layer.name, [])
        own = slots(layer)
        if len(own) == 1 and own[0].whole:
            put(tree, ("layers", folder) + own[0].path, dict(arrays))
            continue
        if any(s.whole for s in own):
            raise UnsupportedModelError(
                f"holds {_unknown(own)}, which is not known here, and its arrays cannot be told from others "
                f"in a file of this kind",
                where=layer.where,
                fix="A custom layer: save the model as .keras. A layer of Keras's own: it is not supported.",
            )
        alike = _alike(own) if len(arrays) < len(own) else {}
        if len(alike) == len(arrays):  # a layer in several of its networks has its arrays here once
            own = [slots_[0] for slots_ in alike.values()]
        for slot, (_, array) in zip(_order(own, arrays, layer, where), arrays):
            for same in alike.get(slot.shared, [slot]) if alike else [slot]:
                put(tree, ("layers", folder) + same.path, array)
    left = [name for name, arrays in lists.items() if arrays]
    if left:
        raise ModelFileError(
            "arrays belong to no layer of the network", where=where, found=", ".join(left[:8])
        )
    return tree


def fill_own(layer: Description, arrays: list, where) -> dict:
    """The arrays [(variable name, array), ...] of one layer by their paths in it."""
    tree: dict = {}
    own = slots(layer)
    for slot, (_, array) in zip(_order(own, arrays, layer, where), arrays, strict=True):
        put(tree, slot.path, array)
    return tree


def _unknown(own):
    return ", ".join("/".join(s.path) for s in own if s.whole)


def _order(own, arrays, layer, where):
    """The slots in the file's order: trainable first; but a frozen layer's variables stay as they were
    created, and names decide.
    """
    if len(own) != len(arrays):
        names = [name for name, _ in arrays]
        raise ModelFileError(
            "the number of arrays does not fit the layer",
            where=f"{where}: {layer.where}",
            expected=f"{len(own)}",
            found=f"{len(arrays)}: {', '.join(names[:8])}",
        )
    roles = [role_of(name) for name, _ in arrays]
    for order in (sorted(own, key=lambda s: not s.trainable), own):
        if all(
            role in (None, slot.path[-1], OTHER_ROLE.get(slot.path[-1])) for role, slot in zip(roles, order)
        ):
            return order
    raise ModelFileError(
        "the arrays are not those of the layer",
        where=f"{where}: {layer.where}",
        expected=", ".join(s.path[-1] for s in own[:8]),
        found=", ".join(n for n, _ in arrays[:8]),
    )


def role_of(name):
    """What a variable's name says it is: "lstm_1/kernel:0" -> kernel; None where it says nothing."""
    word = name.rpartition("/")[2].partition(":")[0]
    return word if word in _ROLES else None


def said(value):
    """A config without what only training reads, and without the numbers Keras gives to objects that it meets
    again.
    """
    if isinstance(value, list):
        return [said(v) for v in value]
    if not isinstance(value, dict):
        return value
    left_out = (*TRAINING_SUFFIXES, "shared_object_id")
    return {k: said(v) for k, v in value.items() if not k.endswith(left_out)}


def _alike(own):
    """{what they share: slots} of slots that may be of one layer."""
    groups: dict[tuple, list[Slot]] = {}
    for slot in own:
        groups.setdefault(slot.shared, []).append(slot)
    return groups


def _get(tree, path):
    for name in path:
        tree = tree[name]
    return tree


def put(tree, path, value):
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    if path:
        tree[path[-1]] = value
    else:
        tree.update(value)


# ---- other layouts of a recurrent layer's arrays -----------------------------------------------------------


def from_cudnn(gates, kernel, recurrent, bias):
    """cuDNN's layout of one layer, as files of Keras 2 hold it, rewritten as Keras's own: (kernel, recurrent,
    bias).

    Input kernels (in, units) are stored transposed gate by gate in the other order of memory, recurrent
    kernels transposed. The bias, (2 * gates * units,), is two: an LSTM's add up, a GRU's stay apart (it is
    reset_after). Keras 2: engine/saving.py.
    """
    kernel = np.hstack([k.T.reshape(k.shape, order="F") for k in np.hsplit(kernel, gates)])
    recurrent = np.hstack([k.T for k in np.hsplit(recurrent, gates)])
    return kernel, recurrent, bias.reshape(2, -1) if gates == 3 else bias.reshape(2, -1).sum(0)
