"""Who feeds whom in a Keras network: Sequential and Functional configs of Keras 2 and 3 -> one list of calls.

A tensor is a Key: (layer, call, output): output ``output`` of the ``call``-th time ``layer`` was called.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

from ...errors import ModelFileError, UnsupportedModelError, did_you_mean
from .config import Description
from .weights import NETWORKS, children

Key = tuple[str, int, int]
#: Layers of tf.keras that are functions of TensorFlow.
FUNCTIONS = ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer")
#: What Keras calls the first argument of a layer's call(), and arguments that change nothing at inference
#: when null or false.
_FIRST, _QUIET = ("inputs", "sequences", "input", "query"), ("training", "mask")
#: Inputs after the first that a file may name, in their order.
_BY_NAME = {"MultiHeadAttention": ("value", "key")}


@dataclass
class Call:
    """One call of one layer: ``weights`` is its folder among the network's arrays, ``number`` counts its
    calls.

    ``sources``: what it computes with. ``others``: what it reads besides (masks, arguments that are not
    supported); ``masks``: those it is called with, one (or None) for each input that has one; ``arguments``
    and ``options``: as Keras 3 wrote those without a name, and tf.keras those with one; ``refusal`` says
    which argument is not supported, raised where the call is needed.
    """

    layer: Description
    weights: str
    number: int
    sources: list[Key] = field(default_factory=list)
    others: list[Key] = field(default_factory=list)
    masks: list[Key | None] | None = None
    arguments: list = field(default_factory=list)
    options: dict = field(default_factory=dict)
    refusal: UnsupportedModelError | None = None


@dataclass
class Wiring:
    """A network's calls in an order they can run in, and the keys of its inputs and outputs in the source's
    order.
    """

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

    def needed(self, outputs, cuts=(), given=None):
        """The calls that ``outputs`` rest on, in order; calls in ``cuts`` (layer names) are included, what
        feeds them is not. ``given``: masks that need not be made; None: no masks are followed.
        """
        makers = {(c.layer.name, c.number): c for c in self.calls}
        wanted, todo = set(), list(outputs)
        while todo:
            call = makers[todo.pop()[:2]]
            if id(call) not in wanted:
                wanted.add(id(call))
                if call.layer.name not in cuts:
                    masks = () if given is None else call.masks or ()
                    todo += [*call.sources, *(key for key in masks if key and key not in given)]
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
    nodes = [
        (layer, folder, number, node)
        for layer, folder in layers
        for number, node in enumerate(layer.inbound if layer.class_name != "InputLayer" else [[]])
    ]
    calls = []
    for layer, folder, number, node in nodes:
        calls.append(Call(layer, folder, number))
        _read(node, calls[-1], shapes)
    inputs, outputs = (
        _keys(network.config.get(k), network.where, k) for k in ("input_layers", "output_layers")
    )
    if not inputs or not outputs:
        raise ModelFileError("the network has no input_layers or no output_layers", where=network.where)
    objects = any(isinstance(node, dict) for *_, node in nodes)
    shapes = _count_from_zero(network, calls, outputs, shapes, objects)
    return Wiring(network.where, _sorted(calls, network.where, outputs), inputs, outputs, shapes)


def _count_from_zero(network, calls, outputs, shapes, objects):
    """Rewrites ``calls`` and ``outputs`` so that every layer's calls count from 0; returns ``shapes`` under
    such keys.

    A network's own making may count as a call of it. Where from a file counts depends on the writer, on the
    class and on the place:

        writer (its inbound nodes)        class        in inbound nodes   in output_layers
        Keras 3 (``objects``)             Functional   0                  1
        Keras 3                           Sequential   0                  0
        Keras 2, tf.keras (lists)         both         1                  1

    (Keras 3: models/functional.py, get_config and serialize_node; tf.keras: engine/functional.py,
    get_network_config.) A class that is not Keras's own may derive from either. A network's file holds only
    the calls that its outputs rest on, so that under the right rule each recorded call is read, and no other
    is: a rule that does not pass this is not the file's.
    """
    counts: dict[str, int] = {}
    for call in calls:
        counts[call.layer.name] = counts.get(call.layer.name, 0) + 1
    first = {}  # (in inbound nodes, in output_layers) by layer
    for layer in {c.layer.name: c.layer for c in calls}.values():
        rules = _rules(layer, objects)
        if rules != [(0, 0)] or "layers" in layer.config:
            read = [
                {number for key in keys for name, number, _ in [key] if name == layer.name}
                for keys in ([key for c in calls for key in c.sources + c.others], outputs)
            ]
            first[layer.name] = _rule(network, layer, rules, read, counts[layer.name])
    counted = lambda key, place: (key[0], key[1] - first.get(key[0], (0, 0))[place], key[2])
    for call in calls:
        for keys in (call.sources, call.others, call.masks or []):
            keys[:] = [key and counted(key, 0) for key in keys]
    outputs[:] = [counted(key, 1) for key in outputs]
    return {counted(key, 0): shape for key, shape in shapes.items()}


def _rules(layer, objects):
    """The rules by which a layer's calls may be counted: [(first in inbound nodes, first in
    output_layers)].
    """
    nested = "layers" in layer.config
    if layer.custom or (nested and layer.class_name not in NETWORKS):
        return [(0, 0), (0, 1) if objects else (1, 1)]
    if not nested:
        return [(0, 0)]
    if not objects:
        return [(1, 1)]
    return [(0, 0)] if layer.class_name == "Sequential" else [(0, 1)]


def _rule(network, layer, rules, read, count):
    """The one rule under which the numbers ``read`` in inbound nodes and output_layers are those of all
    ``count`` calls.
    """
    fitting = [
        rule
        for rule in rules
        if {n - k for numbers, k in zip(read, rule) for n in numbers} == set(range(count))
    ]
    if len(fitting) == 1 or (fitting and len({_from_zero(read, rule) for rule in fitting}) == 1):
        return fitting[0]
    nodes, outputs = (", ".join(map(str, sorted(numbers))) or "none" for numbers in read)
    ways = " or ".join(f"from {a} in inbound nodes and from {b} in output_layers" for a, b in rules)
    raise ModelFileError(
        "the calls that are read are not the calls that the file records"
        if not fitting
        else "the file does not say which calls are read",
        where=f"{network.where}: {layer.where}",
        expected=f"{count} calls, each read, counted {ways}",
        found=f"calls {nodes} in inbound nodes, {outputs} in output_layers",
    )


def _from_zero(read, rule):
    return tuple(frozenset(n - k for n in numbers) for numbers, k in zip(read, rule))


def _sorted(calls, where, outputs):
    """The calls in an order they can run in, as near to the file's own as that allows. A cycle or a gap is a
    ModelFileError.
    """
    index = {(c.layer.name, c.number): i for i, c in enumerate(calls)}
    for call in calls:
        for name, number, _ in call.sources + call.others:
            if (name, number) not in index:
                raise ModelFileError(
                    "reads a layer that is not there",
                    where=f"{where}: {call.layer.where}",
                    found=f"{name!r}, call {number}",
                )
    for name, number, _ in outputs:
        if (name, number) not in index:
            raise ModelFileError(
                "an output names a layer that is not there", where=where, found=f"{name!r}, call {number}"
            )
    waiting = [len({s[:2] for s in c.sources + c.others}) for c in calls]
    readers: dict[int, list[int]] = {}
    for i, call in enumerate(calls):
        for key in {s[:2] for s in call.sources + call.others}:
            readers.setdefault(index[key], []).append(i)
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


# ---- one inbound node --------------------------------------------------------------------------------------


def _read(node, call, shapes):
    """Fills a call from one inbound node, the layer's further arguments (initial_state) after its input."""
    layer = call.layer
    if isinstance(node, dict):
        arguments, named = node.get("args"), node.get("kwargs")
        if not isinstance(arguments, list) or not isinstance(named, dict):
            raise ModelFileError("an inbound node has fields of the wrong type", where=layer.where)
        first = [named[k] for k in _FIRST if k in named]
        call.arguments = first + arguments
        for argument in call.arguments:
            plain = _tensors(argument, call.sources, shapes, layer)
            if not plain and not (layer.operation and _is_number_or_index(argument)):
                _refuse(call, f"is called with {_short(argument)}, which is not supported")
        _options({k: v for k, v in named.items() if k not in _FIRST}, call, shapes)
        return
    if layer.class_name in FUNCTIONS:
        _function(node, call, shapes)
        return
    items = node if isinstance(node, list) else [None]
    if len(items) == 4 and isinstance(
        items[0], str
    ):  # tf.keras on functions of TensorFlow, and some of one input
        items = [items]
    for item in items:
        if not isinstance(item, list) or len(item) not in (3, 4):
            raise ModelFileError(
                "an inbound node is not understood",
                where=layer.where,
                expected="[layer, call, output, options]",
                found=repr(item)[:80],
            )
        if item[0] == "_CONSTANT_VALUE":  # tf.keras: a number where a tensor may stand
            _refuse(call, f"is called with {_short(item[2])}, which is not supported")
        else:
            call.sources.append(_key(item[:3], layer.where))
        _options(item[3] if len(item) == 4 else {}, call, shapes)
        call.options |= item[3] if len(item) == 4 else {}


def _function(node, call, shapes):
    """A call of a function of TensorFlow: its first argument, a tensor, a number or a list of tensors, then
    the others by name, which every tensor of the list repeats. Tensors become the objects that stand for
    them.
    """
    layer, flat = call.layer, isinstance(node, list) and bool(node) and isinstance(node[0], str)
    items = [node] if flat else node
    if not isinstance(items, list) or any(not isinstance(i, list) or len(i) not in (3, 4) for i in items):
        raise ModelFileError("an inbound node is not understood", where=layer.where, found=repr(node)[:80])
    first = [i[2] if i[0] == "_CONSTANT_VALUE" else _marker(i[:3], call, shapes) for i in items]
    named = items[0][3] if items and len(items[0]) == 4 else {}
    if not isinstance(named, dict):
        raise ModelFileError("an inbound node has options of the wrong type", where=layer.where)
    call.arguments = first if flat or len(first) == 1 and layer.class_name == "SlicingOpLambda" else [first]
    call.options = {name: _marked(value, call, shapes) for name, value in named.items()}


def _marked(value, call, shapes):
    if isinstance(value, list) and len(value) == 3 and isinstance(value[0], str):
        return _marker(value, call, shapes) if value[0] != "_CONSTANT_VALUE" else value[2]
    return [_marked(v, call, shapes) for v in value] if isinstance(value, list) else value


def _marker(value, call, shapes):
    call.sources.append(_key(value, call.layer.where))
    return {"class_name": "__keras_tensor__"}


def _is_number_or_index(value):
    """What may stand beside the tensors of a keras.ops function."""
    if isinstance(value, list):
        return all(map(_is_number_or_index, value))
    if isinstance(value, dict):
        return value.get("class_name") in ("__slice__", "__ellipsis__")
    return value is None or type(value) in (int, float)


def _refuse(call, what):
    call.refusal = call.refusal or UnsupportedModelError(what, where=call.layer.where)


def _short(value):
    return str(value) if len(str(value)) <= 80 else f"{str(value)[:77]}..."


def _options(named, call, shapes):
    if not isinstance(named, dict):
        raise ModelFileError(
            "an inbound node has options of the wrong type", where=call.layer.where, found=repr(named)[:80]
        )
    further = _BY_NAME.get(call.layer.class_name, ())
    for name in (*(n for n in further if n in named), *(n for n in named if n not in further)):
        value = named[name]
        if (name == "initial_state" or name in further) and value is not None:
            if not _tensors(value, call.sources, shapes, call.layer):
                _refuse(call, f"is called with {name}={_short(value)}, which is not supported")
        elif _nothing(value) or (name in _QUIET and value is False):
            continue
        else:
            read = len(call.others)
            plain = _tensors(value, call.others, shapes, call.layer)
            masks = _masks(value, call.others[read:]) if name == "mask" and plain else None
            if masks:
                call.masks = masks
            else:
                _refuse(call, f"is called with {name}={_short(value)}, which is not supported")


def _masks(value, found):
    """The masks ``found`` in an argument, in the places of a list that has None for inputs without any; None
    where it is not such a list.
    """
    several = isinstance(value, list) and not (len(value) == 3 and isinstance(value[0], str))
    there = [not _nothing(v) for v in (value if several else [value])]
    keys = iter(found)
    return [next(keys) if is_one else None for is_one in there] if sum(there) == len(found) else None


def _nothing(value):
    """None, or a list of that: the masks of several inputs without any."""
    return value is None or (isinstance(value, list) and all(_nothing(v) for v in value))


def _tensors(value, found, shapes, layer):
    """Collects the tensors in a nest of lists: Keras 3's objects, or Keras 2's triples. False where it holds
    anything else.
    """
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        config = value.get("config")
        if not isinstance(config, dict):
            raise ModelFileError("a tensor has no config", where=layer.where)
        key = _key(config.get("keras_history"), layer.where)
        if isinstance(config.get("shape"), list):
            shapes[key] = config["shape"]
        found.append(key)
        return True
    if isinstance(value, list) and len(value) == 3 and isinstance(value[0], str):
        found.append(_key(value, layer.where))
        return True
    if isinstance(value, dict) and len(value) == 1:
        value = list(value.values())
    if isinstance(value, list):
        plain = [_tensors(item, found, shapes, layer) for item in value]  # all of them are collected
        return all(plain)
    return value is None


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
    """The keys in a network's input_layers or output_layers: one, a list, or a dict (which Keras orders by
    name).
    """
    if isinstance(value, dict):
        return [key for name in sorted(value) for key in _keys(value[name], where, name)]
    if not isinstance(value, list):
        raise ModelFileError(f"{name} is missing or of the wrong type", where=where)
    if value and isinstance(value[0], str):
        return [_key(value, where)]
    return [key for item in value for key in _keys(item, where, name)]
