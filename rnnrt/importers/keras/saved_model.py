"""SavedModel folders of Keras 2: keras_metadata.pb describes every layer (before TensorFlow 2.5,
saved_model.pb does), variables/ is a checkpoint (tracked.py). The program in saved_model.pb is not read.

What the folder says twice must agree: the layers' options stand in the network's config and beside each
layer; layers with weights are counted in two ways; the network lists its variables; and a key is one of the
ways that lead to its variable.
"""

from __future__ import annotations

import os

from ...errors import ModelFileError, UnsupportedModelError
from ...format.reading import path_text, read_whole
from ..containers import protobuf
from ..containers.protobuf import Field, shown
from ..containers.tensor_bundle import TensorBundle
from .config import Description, Version, parse
from .tracked import TrackedObjects
from .weights import (
    NETWORKS,
    attributes,
    children,
    said,
    slots,
)

METADATA, PROGRAM, VARIABLES = "keras_metadata.pb", "saved_model.pb", os.path.join("variables", "variables")
_KERAS = "_tf_keras_"
_OTHERS = (
    'Of the Keras model that it was made from: model.save("model.keras"), then import that. Of the folder '
    "alone: python -m tf2onnx.convert --saved-model FOLDER --output model.onnx, then import that."
)
_METADATA_MESSAGES = {
    "SavedMetadata": {1: Field("nodes", "SavedObject", many=True)},
    "SavedObject": {3: Field("path", "text"), 4: Field("identifier", "text"), 5: Field("metadata", "text")},
}
_PROGRAM_MESSAGES = {
    "SavedModel": {2: Field("programs", "MetaGraph", many=True)},
    "MetaGraph": {1: Field("info", "MetaInfo"), 7: Field("objects", "ObjectGraph")},
    "MetaInfo": {5: Field("tensorflow", "text")},
    "ObjectGraph": {1: Field("nodes", "Node", many=True)},
    "Node": {1: Field("children", "Child", many=True), 4: Field("own", "UserObject")},
    "UserObject": {1: Field("identifier", "text"), 3: Field("metadata", "text")},
    "Child": {1: Field("node", "int"), 2: Field("name", "text")},
}


def files(folder) -> tuple[str, str]:
    """The files of a folder that say what is in it: the layers, and the weights with their checksums."""
    described = os.path.join(folder, METADATA)
    if not os.path.exists(described):
        described = os.path.join(folder, PROGRAM)
    return described, os.path.join(folder, f"{VARIABLES}.index")


class SavedModel(TrackedObjects):
    """A folder: what it says of the network (``values``, ``version``), and its arrays (``fill_checked``).

    Raises ModelFileError where it is damaged or contradicts itself, UnsupportedModelError,
    ResourceLimitError above ``max_bytes``.
    """

    def __init__(self, folder, max_bytes):
        self.where = path_text(folder)
        self.place, _ = files(self.where)
        data = read_whole(self.place, max_bytes)
        layers = self._metadata(data) if self.place.endswith(METADATA) else self._described_in_program(data)
        if () not in layers:
            raise ModelFileError("does not describe a model", where=self.place)
        self.values = layers[()]
        if not isinstance(self.values.get("config"), dict):
            raise UnsupportedModelError(
                f"the model is of the class {shown(str(self.values.get('class_name')))!r}, which does not "
                f"describe itself",
                where=self.where,
                expected="a Sequential or Functional model",
                fix="Build the same network with the functional API, load the weights into it and save that.",
            )
        version = self.values.get("keras_version")
        self.version = Version(version) if isinstance(version, str) else None
        bundle = TensorBundle(os.path.join(self.where, VARIABLES), max_bytes, len(data))
        super().__init__(bundle, self.where)
        self.layers = {}
        for path, values in layers.items():
            number = self.find(path)
            if number is not None and self.layers.setdefault(number, values) != values:
                raise ModelFileError(
                    "a layer is described in two ways", where=self.place, found=shown(".".join(path))
                )

    def fill_checked(self, model: Description, described: Description) -> dict:
        """The arrays of ``model`` by path (see weights.py); ``described``: the network as the folder has it.

        Raises ModelFileError where one is missing, left over, or not what its name says.
        """
        self._compare(described, self.root)
        return self.fill(slots(model))

    # ---- what is in the files ----

    def _metadata(self, data):
        """{attributes that lead to a layer: its values}."""
        found = {}
        for node in protobuf.read(data, "SavedMetadata", _METADATA_MESSAGES, self.place).nodes:
            path = node.path or ""
            place = f"{self.place}: {shown(path)}"
            if not (node.identifier or "").startswith(_KERAS) or not path.startswith("root"):
                raise ModelFileError("an entry does not describe a layer", where=place)
            self._describe(found, tuple(path.split(".")[1:]), node.metadata, place)
        return found

    def _described_in_program(self, data):
        """The same, of saved_model.pb."""
        programs = protobuf.read(data, "SavedModel", _PROGRAM_MESSAGES, self.place).programs
        nodes = programs[0].objects.nodes if len(programs) == 1 and programs[0].objects else ()
        if not nodes or not nodes[0].own or not (nodes[0].own.identifier or "").startswith(_KERAS):
            version = programs[0].info.tensorflow if programs and programs[0].info else None
            raise UnsupportedModelError(
                "the SavedModel holds a program, and not the description of a network that Keras 2 saves",
                where=self.where,
                found=f"written by TensorFlow {shown(version)}" if version else None,
                fix=_OTHERS,
            )
        found, seen, ahead = {}, {0}, [((), 0)]
        for path, number in ahead:
            own = nodes[number].own
            if own and (own.identifier or "").startswith(_KERAS):
                place = f"{self.place}: {shown('.'.join(name[:40] for name in path))}"
                self._describe(found, path, own.metadata, place)
            for child in nodes[number].children:
                if not 0 <= (child.node or 0) < len(nodes):
                    raise ModelFileError(
                        "an attribute leads to an object that there is not", where=self.place
                    )
                if (child.node or 0) not in seen and len(path) < protobuf.DEEPEST:
                    seen.add(child.node or 0)
                    ahead.append(((*path, child.name or ""), child.node or 0))
        return found

    def _describe(self, found, path, text, place):
        if path in found:
            raise ModelFileError("a layer is described twice", where=place)
        found[path] = _decoded(parse(text or "", place))

    # ---- what they say twice ----

    def _compare(self, network, owner):
        """Raises where the objects of a network's layers are others than its config lists."""
        held, weighted, unknown = self.objects[owner].children, [], False
        for (layer, _), (name,) in zip(children(network), attributes(network), strict=True):
            if network.class_name == "Sequential" and layer.class_name == "InputLayer":
                continue
            where = f"{self.where}: {layer.where}"
            number = held.get(name)
            values = self.layers.get(number)
            if values is None:
                raise ModelFileError("the layer is missing among the objects", where=where, expected=name)
            found = {"class_name": values.get("class_name"), "name": values.get("name")}
            expected = {"class_name": layer.class_name, "name": layer.name}
            if layer.class_name not in NETWORKS:
                found["config"], expected["config"] = said(values.get("config")), said(layer.config)
            for key, value in expected.items():
                if found[key] != value:
                    raise ModelFileError(
                        "the folder describes the layer twice, and not alike",
                        where=where,
                        expected=f"{key} {_differing(value, found[key])}",
                        found=_differing(found[key], value),
                    )
            if layer.class_name in NETWORKS:
                self._compare(layer, number)
            own = slots(layer)
            unknown = unknown or any(s.whole for s in own)
            weighted += [number] * bool(own)
        counted = self.weighted(owner)
        if counted != weighted and not unknown:
            raise ModelFileError(
                "the layers with weights are others than those that the network lists",
                where=f"{self.where}: {network.where}",
                expected=f"{len(weighted)}: objects {', '.join(map(str, weighted[:8]))}",
                found=f"{len(counted)}: {', '.join(map(str, counted[:8]))}",
            )


def _decoded(value):
    """JSON values with lists for the tuples and shapes that TensorFlow writes as objects."""
    if isinstance(value, list):
        return [_decoded(v) for v in value]
    if not isinstance(value, dict):
        return value
    if value.get("class_name") in ("__tuple__", "TensorShape") and isinstance(value.get("items"), list):
        return _decoded(value["items"])
    return {k: _decoded(v) for k, v in value.items()}


def _differing(value, other):
    """A value in a message: of options, the first that the other has not."""
    if isinstance(value, dict) and isinstance(other, dict):
        key = next((k for k in value if k not in other or other[k] != value[k]), None)
        return "without another's options" if key is None else f"{key}={shown(repr(value[key]), 60)}"
    return shown(repr(value))
