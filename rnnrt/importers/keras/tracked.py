"""What a checkpoint of TensorFlow 2 keeps of a Keras model: arrays under keys, and the graph of objects that
Keras tracked (tensorflow's trackable_object_graph.proto), which says whose each is.

From the model, names of attributes lead to every layer and variable, and a variable says under which key its
numbers lie. A key is one of the ways that lead to its variable; alone it says little: variables/7 is the
eighth of all in an order of Keras's own.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ...errors import ModelFileError, ResourceLimitError
from ...format.reading import INCOMPLETE
from ..containers import protobuf
from ..containers.protobuf import Field, shown
from .weights import OTHER_ROLE, RANDOM, TRAINING_GROUPS, put, role_of

_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_ATTRIBUTES = "/.ATTRIBUTES/"
_END = f"{_ATTRIBUTES}VARIABLE_VALUE"
#: Keys of what only training reads, and of where stateful layers stood.
_UNREAD = {*TRAINING_GROUPS, *RANDOM, "save_counter", "metrics", "states", ".OPTIMIZER_SLOT"}
#: What Keras tracks of every layer beside its own attributes.
_KEPT = {"variables", "trainable_variables", "non_trainable_variables", "regularization_losses", "keras_api"}
_KEPT |= {"__call__", "call_and_return_all_conditional_losses", "_default_save_signature", "signatures"}
#: What Keras calls a network's layers with weights, by their number among them.
WEIGHTED = "layer_with_weights-"
#: The longest name or key that is read, and most characters of the ways below one custom layer.
_LONGEST, _WAYS = 4096, 1 << 24
_GRAPH_MESSAGES = {
    "TrackableObjectGraph": {1: Field("nodes", "Object", many=True)},
    "Object": {1: Field("children", "Child", many=True), 2: Field("attributes", "Attribute", many=True)},
    "Child": {1: Field("node", "int"), 2: Field("name", "text")},
    "Attribute": {1: Field("name", "text"), 2: Field("full_name", "text"), 3: Field("key", "text")},
}


class Object(NamedTuple):
    """A tracked object: {attribute: number of another}; of a variable also its key and TensorFlow's name."""

    children: dict[str, int]
    key: str | None = None
    name: str = ""


class TrackedObjects:
    """The objects and arrays of a ``bundle`` (see tensor_bundle.py). ``root``: the number of the model, where
    ``find`` begins; ``prefix``: what the keys of its variables begin with. ``where``: what messages call it.

    Raises ModelFileError where they are damaged or contradict themselves, ResourceLimitError.
    """

    def __init__(self, bundle, where):
        self.bundle, self.where, self.root, self.prefix, self.arrays = bundle, where, 0, "", {}
        self.objects = self._graph()

    def fill(self, own) -> dict:
        """The arrays of the variables ``own`` (Slots) by path: see weights.py. ModelFileError where one is
        missing, left over, or not what its name says.
        """
        tree, bound = {}, set()
        for slot in own:
            place = f"{self.where}: {'.'.join(slot.tracked)}"
            number = self.find(slot.tracked)
            if slot.whole and number is not None:
                found = self._below(number, place)
                put(tree, slot.path, {name: self._array(n, place) for name, n in found.items()})
                bound |= set(found.values())
                continue
            if number is None or self.objects[number].key is None:
                expected = f"the {slot.path[-1]} of {slot.layer.where}" if slot.path else slot.layer.where
                raise ModelFileError("an array is missing", where=place, expected=expected)
            role = role_of(self.objects[number].name)
            if role not in (None, slot.path[-1], OTHER_ROLE.get(slot.path[-1])):
                raise ModelFileError(
                    "a variable is not what its place says",
                    where=place,
                    expected=slot.path[-1],
                    found=shown(self.objects[number].name),
                )
            put(tree, slot.path, self._array(number, place))
            bound.add(number)
        self._left_over(bound)
        return tree

    def find(self, attributes) -> int | None:
        """The number of the object that ``attributes`` lead to from the model."""
        return self._from(self.root, attributes)

    def weighted(self, number) -> list[int]:
        """The numbers of the layers with weights that a network's object counts, in their order."""
        held, counted = self.objects[number].children, []
        while f"{WEIGHTED}{len(counted)}" in held:
            counted.append(held[f"{WEIGHTED}{len(counted)}"])
        return counted

    def _from(self, number, attributes):
        for name in attributes:
            number = self.objects[number].children.get(name)
            if number is None:
                return None
        return number

    def _graph(self):
        place = f"{self.bundle.where}: {_GRAPH}"
        found = protobuf.read(self.bundle.text(_GRAPH), "TrackableObjectGraph", _GRAPH_MESSAGES, place).nodes
        objects = []
        for node in found:
            named = {c.name or "": c.node or 0 for c in node.children}
            values = [a for a in node.attributes if a.name == "VARIABLE_VALUE"]
            if any(len(name) > _LONGEST for name in (*named, *(a.key or "" for a in values))):
                raise ModelFileError("a name is too long", where=place, expected=f"at most {_LONGEST:,}")
            if len(named) < len(node.children) or len(values) > 1:
                raise ModelFileError("an object has two attributes of one name", where=place)
            if any(not 0 <= number < len(found) for number in named.values()):
                raise ModelFileError("an attribute leads to an object that there is not", where=place)
            value = values[0] if values else None
            objects.append(Object(named, value and value.key or None, value and value.full_name or ""))
        if not objects:
            raise ModelFileError("holds no objects", where=place, fix=INCOMPLETE)
        return objects

    def _array(self, number, place):
        key = self.objects[number].key
        if key in self.arrays:
            return self.arrays[key]
        way = key.partition(_ATTRIBUTES)[0].split("/")
        if self._from(0, [re.sub(r"\.([.S])", lambda m: "./"[m[1] == "S"], name) for name in way]) != number:
            raise ModelFileError("the key of a variable leads to another", where=place, found=shown(key))
        self.arrays[key] = self.bundle.array(key)
        return self.arrays[key]

    def _below(self, number, place):
        """{attributes joined by "/": number} of the variables of a layer that is not known."""
        found, seen, ahead, left = {}, {number}, [("", number)], _WAYS
        for path, owner in ahead:
            for name, child in self.objects[owner].children.items():
                if child in seen or name in _KEPT | RANDOM:
                    continue
                seen.add(child)
                ahead.append((f"{path}/{name}" if path else name, child))
                left -= len(ahead[-1][0])
                if left < 0:
                    raise ResourceLimitError("holds too many objects", where=place)
                if self.objects[child].key is not None:
                    found[ahead[-1][0]] = child
        own = self._listed(self.objects[number])
        found |= {f"variables/{k}": n for k, n in enumerate(own) if n not in seen}
        return found

    def _listed(self, owner):
        """The numbers of the variables that an object says it has, in its own order."""
        listed = self.objects[owner.children["variables"]].children if "variables" in owner.children else {}
        return [n for n in listed.values() if self.objects[n].key is not None]

    def _left_over(self, bound):
        """Raises where numbers of the model's belong to no layer."""
        keys = {self.objects[n].key for n in bound}
        listed = self._listed(self.objects[self.root])
        left = [self.objects[n].name or str(n) for n in listed if n not in bound]
        left += [
            key.removesuffix(_END)
            for key in self.bundle.names
            if key not in keys
            and key.startswith(self.prefix)
            and key.endswith(_END)
            and not _UNREAD & set(key.split("/"))
        ]
        if left:
            raise ModelFileError(
                "arrays belong to no layer of the network",
                where=self.where,
                found=", ".join(shown(name) for name in left[:8]),
            )
