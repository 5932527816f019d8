"""Who feeds whom in a Keras network: Sequential and Functional configs of Keras 2 and 3 -> one list of calls.

A tensor is a Key: (layer, call, output): output ``output`` of the ``call``-th time ``layer`` was called.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

from ..errors import ModelFileError, UnsupportedModelError, did_you_mean
from .keras_config import Description
from .keras_weights import children

Key = tuple[str, int, int]
#: What Keras calls the first argument of a layer's call(), and arguments that change nothing at inference when null or false.
_FIRST, _QUIET = ("inputs", "sequences", "input"), ("training", "mask")


@dataclass
class Call:
    """One call of one layer: ``weights`` is its folder among the network's arrays, ``number`` counts its calls."""

    layer: Description
    weights: str
    number: int
    sources: list[Key]


@dataclass
class Wiring:
    """A network's calls in an order they can run in, and the keys of its inputs and outputs in the source's order."""

    where: str
    calls: list[Call]
    inputs: list[Key]
    outputs: list[Key]
    shapes: dict[Key, list] = field(default_factory=dict)  # with their batch axis, where the file tells them

    def call(self, name) -> Call:
        """The only call of the layer ``name``."""
        found = [c for c in self.calls if c.layer.name == name]
        if len(found) != 1:
            known = ", ".join(c.layer.name for c in self.calls[:40])
            raise UnsupportedModelError(
                f"there is no layer {name!r} that is called once",
                where=self.where,
                expected=f"one of {known}",
                fix=did_you_mean(name, [c.layer.name for c in self.calls]),
            )
        return found[0]

    def needed(self, outputs, cuts=()):
        """The calls that ``outputs`` rest on, in order; calls in ``cuts`` (layer names) are included, what feeds them is not."""
        makers = {(c.layer.name, c.number): c for c in self.calls}
        wanted, todo = set(), list(outputs)
        while todo:
            call = makers[todo.pop()[:2]]
            if id(call) not in wanted:
                wanted.add(id(call))
                todo += [] if call.layer.name in cuts else call.sources
        return [c for c in self.calls if id(c) in wanted]


def wire(network: Description) -> Wiring:
    """The wiring of a Sequential, Functional or Model; raises ModelFileError, UnsupportedModelError."""
    layers = children(network)
    names = [layer.name for layer, _ in layers]
    if not layers or len(set(names)) != len(names):
        raise ModelFileError("the network has no layers, or two with one name", where=network.where)
    return (
        _sequential(network, layers) if network.class_name == "Sequential" else _functional(network, layers)
    )


def _sequential(network, layers):
    if (
        layers[0][0].class_name != "InputLayer"
    ):  # the first layer tells the shape; Keras 2 names the input after it
        first = layers[0][0]
        shape = (
            first.config.get("batch_input_shape")
            or first.config.get("batch_shape")
            or network.config.get("build_input_shape")
            or first.build_shape
        )
        layers = [
            (Description("InputLayer", f"{first.name}_input", {"batch_input_shape": shape}), ""),
            *layers,
        ]
    keys = [(layer.name, 0, 0) for layer, _ in layers]
    calls = [Call(layer, folder, 0, keys[i - 1 : i] if i else []) for i, (layer, folder) in enumerate(layers)]
    shapes = {keys[i]: layer.build_shape for i, (layer, _) in enumerate(layers[1:]) if layer.build_shape}
    return Wiring(network.where, calls, keys[:1], keys[-1:], shapes)


def _functional(network, layers):
    shapes: dict[Key, list] = {}
    calls = [
        Call(layer, folder, number, _sources(node, layer, shapes))
        for layer, folder in layers
        for number, node in enumerate(layer.inbound if layer.class_name != "InputLayer" else [[]])
    ]
    inputs, outputs = (
        _keys(network.config.get(k), network.where, k) for k in ("input_layers", "output_layers")
    )
    if not inputs or not outputs:
        raise ModelFileError("the network has no input_layers or no output_layers", where=network.where)
    _count_from_zero(calls, inputs, outputs)
    return Wiring(network.where, _sorted(calls, network.where, outputs), inputs, outputs, shapes)


def _count_from_zero(calls, inputs, outputs):
    """tf.keras counts the calls of a nested model from 1 (call 0 being its own making): told by a number no call has."""
    counts: dict[str, int] = {}
    for call in calls:
        counts[call.layer.name] = counts.get(call.layer.name, 0) + 1
    nested = {c.layer.name for c in calls if "layers" in c.layer.config}
    lists = [c.sources for c in calls] + [inputs, outputs]
    shifted = {
        name for keys in lists for name, number, _ in keys if name in nested and number == counts[name]
    }
    for keys in lists:
        keys[:] = [(n, number - 1, o) if n in shifted else (n, number, o) for n, number, o in keys]


def _sorted(calls, where, outputs):
    """The calls in an order they can run in, as near to the file's own as that allows. A cycle or a gap is a ModelFileError."""
    made = {(c.layer.name, c.number): i for i, c in enumerate(calls)}
    for call in calls:
        for name, number, _ in call.sources:
            if (name, number) not in made:
                raise ModelFileError(
                    "reads a layer that is not there",
                    where=f"{where}: {call.layer.where}",
                    found=f"{name!r}, call {number}",
                )
    for name, number, _ in outputs:
        if (name, number) not in made:
            raise ModelFileError(
                "an output names a layer that is not there", where=where, found=f"{name!r}, call {number}"
            )
    waiting = [len({s[:2] for s in c.sources}) for c in calls]
    readers: dict[int, list[int]] = {}
    for i, call in enumerate(calls):
        for key in {s[:2] for s in call.sources}:
            readers.setdefault(made[key], []).append(i)
    ready = [i for i, n in enumerate(waiting) if n == 0]
    heapify(ready)
    order = []
    while ready:
        i = heappop(ready)
        order.append(calls[i])
        for reader in readers.get(i, ()):
            waiting[reader] -= 1
            if waiting[reader] == 0:
                heappush(ready, reader)
    if len(order) != len(calls):
        raise ModelFileError("the layers feed one another in a circle", where=where)
    return order


# ---- one inbound node -----------------------------------------------------------------------------------------------


def _sources(node, layer, shapes) -> list[Key]:
    """The tensors of one inbound node, the layer's further arguments (initial_state) after its input."""
    if isinstance(node, dict):
        found: list[Key] = []
        arguments, named = node.get("args"), node.get("kwargs")
        if not isinstance(arguments, list) or not isinstance(named, dict):
            raise ModelFileError("an inbound node has fields of the wrong type", where=layer.where)
        first = [named[k] for k in _FIRST if k in named]
        _tensors(first + arguments, found, shapes, layer)
        _options({k: v for k, v in named.items() if k not in _FIRST}, found, shapes, layer)
        return found
    found = []
    for item in node if isinstance(node, list) else [None]:
        if not isinstance(item, list) or len(item) not in (3, 4):
            raise ModelFileError(
                "an inbound node is not understood",
                where=layer.where,
                expected="[layer, call, output, options]",
                found=repr(item)[:80],
            )
        found.append(_key(item[:3], layer.where))
        _options(item[3] if len(item) == 4 else {}, found, shapes, layer)
    return found


def _options(named, found, shapes, layer):
    if not isinstance(named, dict):
        raise ModelFileError(
            "an inbound node has options of the wrong type", where=layer.where, found=repr(named)[:80]
        )
    for name, value in named.items():
        if name == "initial_state" and value is not None:
            _tensors(value, found, shapes, layer)
        elif value is not None and not (name in _QUIET and value is False):
            raise UnsupportedModelError(
                f"is called with {name}={str(value)[:80]}, which is not supported", where=layer.where
            )


def _tensors(value, found, shapes, layer):
    """Collects the tensors in a nest of lists: Keras 3's objects, or Keras 2's triples."""
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        config = value.get("config")
        if not isinstance(config, dict):
            raise ModelFileError("a tensor has no config", where=layer.where)
        key = _key(config.get("keras_history"), layer.where)
        if isinstance(config.get("shape"), list):
            shapes[key] = config["shape"]
        found.append(key)
    elif isinstance(value, list) and len(value) == 3 and isinstance(value[0], str):
        found.append(_key(value, layer.where))
    elif isinstance(value, list):
        for item in value:
            _tensors(item, found, shapes, layer)
    elif isinstance(value, dict) and len(value) == 1:
        _tensors(next(iter(value.values())), found, shapes, layer)
    elif value is not None:
        raise UnsupportedModelError(
            "is called with something that is no tensor", where=layer.where, found=repr(value)[:80]
        )


def _key(value, where) -> Key:
    if (
        isinstance(value, list)
        and len(value) == 3
        and isinstance(value[0], str)
        and all(type(n) is int and n >= 0 for n in value[1:])
    ):
        return tuple(value)
    raise ModelFileError(
        "this is not the place of a tensor",
        where=where,
        expected="[layer, call, output]",
        found=repr(value)[:80],
    )


def _keys(value, where, name) -> list[Key]:
    """The keys in a network's input_layers or output_layers: one, a list, or a dict (which Keras orders by name)."""
    if isinstance(value, dict):
        return [key for name in sorted(value) for key in _keys(value[name], where, name)]
    if not isinstance(value, list):
        raise ModelFileError(f"{name} is missing or of the wrong type", where=where)
    if value and isinstance(value[0], str):
        return [_key(value, where)]
    return [key for item in value for key in _keys(item, where, name)]
