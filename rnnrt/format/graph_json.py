"""A Graph as plain JSON values and named arrays, and back: generic over the fields of the layer dataclasses.

A layer is {"kind": ..., field: value, ...}; an array is the name of its tensor; an activation is a name or
[name, parameter, ...]; the graph inside a TimeDistributed or Scan layer is written like the outer one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math

import numpy as np

from ..errors import ModelFileError, ResourceLimitError, RnnrtError, UnsupportedModelError
from ..graph import Graph, Output
from ..layers import Function
from ..layers.base import LAYERS
from . import strict_json

MAX_LAYERS = 1024
MAX_WIDTH = 1 << 24
NEWER = "A newer rnnrt may have written the file: update rnnrt."


def encode(graph, taken=()):
    """(the JSON value of ``graph``, {tensor name: array}); tensors get names that are not in ``taken``."""
    arrays = dict.fromkeys(taken)
    value = _encode_graph(graph, "", arrays)
    return value, {name: array for name, array in arrays.items() if array is not None}


def encode_layer(layer):
    """(the JSON value of a layer, {tensor name: array})."""
    arrays: dict[str, np.ndarray] = {}
    return _encode_layer(layer, "", arrays), arrays


def decode_layer(value, take, where):
    """The layer of a JSON value, as ``decode`` reads a graph's."""
    return _layer(value, take, where)


def _encode_graph(graph, prefix, arrays):
    _check_number(graph.layers, "a graph")
    return {
        "layers": [_encode_layer(layer, prefix, arrays) for layer in graph.layers],
        "inputs": list(graph.inputs),
        "outputs": [dataclasses.asdict(output) for output in graph.outputs],
        "metadata": graph.metadata,
    } | ({"start": _encode_start(graph, prefix, arrays)} if graph.start else {})


def _encode_start(graph, prefix, arrays):
    made = {}
    for name, array in graph.start.items():
        made[name] = tensor = _free_name(f"{prefix}{name}/start", arrays)
        arrays[tensor] = array
    return made


def _encode_layer(layer, prefix, arrays):
    made = {"kind": layer.kind}
    for item in dataclasses.fields(layer):
        value = getattr(layer, item.name)
        if item.metadata.get("left_out") and value == item.default:
            continue
        if isinstance(value, np.ndarray):
            made[item.name] = name = _free_name(f"{prefix}{layer.name}/{item.name}", arrays)
            arrays[name] = value
        elif isinstance(value, Graph):
            made[item.name] = _encode_graph(value, f"{prefix}{layer.name}/", arrays)
        elif isinstance(value, Function):
            made[item.name] = [value.name, *value.parameters] if value.parameters else value.name
        elif isinstance(value, tuple):
            made[item.name] = [n.item() if isinstance(n, np.generic) else n for n in value]
        else:
            made[item.name] = value.item() if isinstance(value, np.generic) else value
    return made


def _free_name(wanted, arrays):
    name, number = wanted, 1
    while name in arrays:  # layers "a/b" and, inside "a", "b" want one name
        name, number = f"{wanted}#{number}", number + 1
    return name


def decode(value, take, where):
    """The Graph of a JSON value. ``take(tensor name, where)`` gives an array.

    Raises ModelFileError naming the place as a path ("$.layers[2].units"), or what the layers themselves
    raise.
    """
    parts = _object(value, where, ("layers", "inputs", "outputs", "metadata"), ("start",))
    layers = _check_number(_list(parts["layers"], f"{where}.layers"), where)
    layers = [_layer(layer, take, f"{where}.layers[{i}]") for i, layer in enumerate(layers)]
    inputs = _strings(parts["inputs"], f"{where}.inputs")
    outputs = [
        _output(output, f"{where}.outputs[{i}]")
        for i, output in enumerate(_list(parts["outputs"], f"{where}.outputs"))
    ]
    metadata = _check(
        isinstance(parts["metadata"], dict), parts["metadata"], f"{where}.metadata", "an object"
    )
    start = parts.get("start", {})
    _check(isinstance(start, dict), start, f"{where}.start", "an object")
    start = {
        name: take(_string(tensor, f"{where}.start"), f"{where}.start.{name}")
        for name, tensor in start.items()
    }
    try:
        graph = Graph(layers, inputs, outputs, metadata, start)
    except RnnrtError as error:
        raise error.at(where)
    for reference, signal in graph.signals.items():
        if signal.width > MAX_WIDTH:
            found = f"{signal.width:,}"
            raise ResourceLimitError(
                f"{reference!r} makes frames that are too wide",
                where=where,
                expected=f"at most {MAX_WIDTH:,}",
                found=found,
            )
    return graph


def fingerprint(graph) -> str:
    """A hash of a graph: its structure and every weight."""
    described, arrays = encode(graph)
    digest = hashlib.sha256(strict_json.dumps(described, "graph").encode())
    for name, array in sorted(arrays.items()):
        digest.update(name.encode() + array.tobytes())
    return digest.hexdigest()


def _check_number(layers, where):
    if len(layers) > MAX_LAYERS:
        raise ResourceLimitError(
            "holds too many layers", where=where, expected=f"at most {MAX_LAYERS:,}", found=f"{len(layers):,}"
        )
    return layers


def _layer(value, take, where):
    _check(
        isinstance(value, dict) and isinstance(value.get("kind"), str), value, where, "an object with a kind"
    )
    layer = LAYERS.get(value["kind"])
    if layer is None:
        known = f"one of {', '.join(LAYERS)}"
        raise UnsupportedModelError(
            f"the layer kind {value['kind'][:80]!r} is not known", where=where, expected=known, fix=NEWER
        )
    fields = {item.name: item for item in dataclasses.fields(layer)}
    unknown = sorted(set(value) - set(fields) - {"kind"})
    if unknown:
        raise UnsupportedModelError(
            f"{value['kind']} has no field {unknown[0]!r}", where=where, expected=", ".join(fields), fix=NEWER
        )
    made = {}
    for name, item in fields.items():
        if name in value:
            made[name] = _field(item.type, value[name], take, f"{where}.{name}")
        elif item.default is dataclasses.MISSING or item.type in ("References", "Weights", "Graph"):
            raise ModelFileError(f"{value['kind']} lacks its field {name!r}", where=where)
    try:
        return layer(**made)
    except RnnrtError as error:
        raise error.at(where)


def _field(annotation, value, take, where):
    """``value`` as the dataclass field's annotation wants it."""
    kind, optional, _ = annotation.partition(" | None")
    if value is None and (optional or kind == "OptionalWeights"):
        return None
    if kind in ("Weights", "OptionalWeights"):
        return take(_string(value, where), where)
    if kind == "Graph":
        return decode(value, take, where)
    return _FIELDS[kind](value, where)


def _check(sound, value, where, expected):
    if not sound:
        raise ModelFileError("holds a wrong value", where=where, expected=expected, found=repr(value)[:80])
    return value


def _object(value, where, keys, optional=()):
    _check(isinstance(value, dict), value, where, "an object")
    for key in keys:
        if key not in value:
            raise ModelFileError(f"lacks the key {key!r}", where=where)
    for key in value:
        if key not in keys and key not in optional:
            raise UnsupportedModelError(f"holds the unknown key {key!r}", where=where, fix=NEWER)
    return value


def _output(value, where):
    parts = _object(value, where, ("name", "value", "axes"))
    return Output(**{key: _string(part, f"{where}.{key}") for key, part in parts.items()})


def _list(value, where):
    return _check(isinstance(value, list), value, where, "a list")


def _string(value, where):
    return _check(isinstance(value, str), value, where, "a string")


def _strings(value, where):
    return tuple(_string(item, f"{where}[{i}]") for i, item in enumerate(_list(value, where)))


def _integer(value, where):
    return _check(type(value) is int, value, where, "a whole number")


def _integers(value, where):
    return tuple(_integer(item, f"{where}[{i}]") for i, item in enumerate(_list(value, where)))


def _number(value, where):
    return float(_check(type(value) in (int, float) and math.isfinite(value), value, where, "a number"))


def _boolean(value, where):
    return _check(isinstance(value, bool), value, where, "true or false")


def _padding(value, where):
    return value if value == "same" else _integers(value, where)


def _activation(value, where):
    name, *parameters = value if isinstance(value, list) and value else [value]
    try:
        return Function(_string(name, where), tuple(_number(p, where) for p in parameters))
    except RnnrtError as error:
        raise error if error.where else error.at(where)


_FIELDS = {
    "str": _string,
    "int": _integer,
    "float": _number,
    "bool": _boolean,
    "Elementwise": _activation,
    "Sizes": _integers,
    "References": _strings,
    "Padding": _padding,
}
