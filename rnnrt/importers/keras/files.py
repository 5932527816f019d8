"""What Keras wrote, opened: a .keras archive, an HDF5 file, a SavedModel folder, a live model -> the
description of the network and its arrays.

Dialects of one thing: .keras (Keras 3 and TensorFlow from 2.12: config.json beside a tree of numbered
arrays), legacy .h5 (Keras 1 to 3: the config as an attribute, flat lists of arrays by layer), weights alone
in either layout or as a checkpoint of TensorFlow (checkpoint.py), and folders of Keras 2 (saved_model.py).
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, replace
from os import PathLike

from ...errors import ModelFileError, UnsupportedModelError
from ...format.reading import is_open, open_regular, path_text, read_whole
from ..containers import HDF5_SIGNATURE, LEVELDB_END, ZIP_SIGNATURE, hdf5
from ..containers.zip import Archive, unpacked_limit
from ..detection import framework
from ..spec.text import is_file, text_of
from . import live
from .checkpoint import Checkpoint
from .config import UNKNOWN, Description, Version, describe, is_json, parse
from .saved_model import SavedModel
from .spec import complete, read_lines, without_ignored
from .weights import TRAINING_GROUPS, fill_lists, fill_tree, named_folders


@dataclass
class KerasModel:
    """A network as Keras describes it, and its arrays by path (see weights.py)."""

    description: Description
    weights: dict
    version: Version
    format: str


def open_model(source, spec=None, max_bytes=2 << 30, custom=(), still=False) -> KerasModel:
    """The model in ``source``: a path of a file or a folder, the bytes of a file, or a live keras.Model.
    ``spec``: Keras's ``to_json()`` text, or lines (see spec.py), for weights alone; ``{"keras_version":
    ...}`` for a file that does not say who wrote it. ``custom``: names of classes that are not Keras's own,
    where a file does not say which package a class is from. ``still``: a live model of a class of its
    author's has the number of frames it was built for.

    Raises ModelFileError, UnsupportedModelError, ResourceLimitError.
    """
    if framework(source) == "keras":
        if spec is not None:
            raise UnsupportedModelError("a live model describes itself; spec is for files of weights alone")
        return _live(source, custom, still)
    if isinstance(source, (str, PathLike)) and os.path.isdir(source):
        return _saved_model(source, spec, max_bytes, custom)
    data, where = file_bytes(source, max_bytes)
    if data.startswith(ZIP_SIGNATURE):
        return _keras_v3(data, where, spec, max_bytes, custom)
    if data.startswith(HDF5_SIGNATURE):
        return _hdf5(data, where, spec, max_bytes, custom)
    if data.endswith(LEVELDB_END):
        return _checkpoint(source, where, spec, max_bytes, custom)
    raise ModelFileError(
        "this is not a file Keras wrote",
        where=where,
        expected="a .keras or an HDF5 file",
        found=repr(bytes(data[:24])) if data else "an empty file",
    )


def file_bytes(source, max_bytes):
    """(the whole file, what messages call it) of a path, or of the bytes themselves."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source), "the given bytes"
    if not isinstance(source, (str, PathLike)) and not is_open(source):
        raise UnsupportedModelError(
            "from_keras takes a path, the bytes of a file or a Keras model", found=type(source).__name__
        )
    where = path_text(source)
    return read_whole(source, max_bytes), where


def described_by(spec, max_bytes) -> str | None:
    """A spec as text: as ``text_of`` gives it, or the description in a .keras or .h5 file that it names."""
    if (
        is_open(spec)
        or not isinstance(spec, (str, PathLike))
        or (isinstance(spec, str) and not is_file(spec))
    ):
        return spec
    with open_regular(spec) as file:
        start = file.read(len(HDF5_SIGNATURE))
    where = path_text(spec)
    if start.startswith(ZIP_SIGNATURE):
        archive = Archive(read_whole(spec, max_bytes), where, max_bytes)
        if not {"config.json", "metadata.json"} <= set(archive.names):
            raise ModelFileError("this is not a .keras file", where=where)
        values = parse(archive.read("config.json"), f"{where}: config.json")
        metadata = parse(archive.read("metadata.json"), f"{where}: metadata.json")
        return json.dumps(values | {"keras_version": str(metadata.get("keras_version", "3.0"))})
    if start == HDF5_SIGNATURE:
        root = hdf5.read(read_whole(spec, max_bytes), where, skip=TRAINING_GROUPS, max_bytes=max_bytes)
        config, version = root.attributes.get("model_config"), root.attributes.get("keras_version")
        if not isinstance(config, str):
            raise UnsupportedModelError("the file does not describe a network", where=where)
        values = parse(config, f"{where}: model_config")
        return json.dumps(({"keras_version": version} if isinstance(version, str) else {}) | values)
    return text_of(spec)


def _marked(value, custom):
    """A description in which classes called as one in ``custom`` are custom, where the file does not say
    whose they are.
    """
    if isinstance(value, list):
        return [_marked(v, custom) for v in value]
    if not isinstance(value, dict):
        return value
    marked = {k: _marked(v, custom) for k, v in value.items()}
    name = marked.get("class_name")
    if isinstance(name, str) and "module" not in marked and {name, name.rpartition(">")[2]} & set(custom):
        marked |= {"module": None, "registered_name": name}
    return marked


def _spec(spec, written):
    """(the description, None where it says only who wrote the file; its Version) of ``to_json()`` text.

    Keras 3 writes no version there, but fields of its own. ``written``: the file's.
    """
    if not isinstance(spec, str) or not is_json(spec):
        found = f"{type(spec).__name__} {str(spec)[:40]!r}"
        raise UnsupportedModelError(
            "spec is not understood here", expected="the text of Keras's model.to_json()", found=found
        )
    values = parse(spec, "spec")
    if "keras_version" in values:
        version = Version(str(values["keras_version"]))
    elif "registered_name" in values and not (written and written.number("", where="spec")[0] >= 3):
        version = Version("3.0")
    else:
        version = written
    return values if "class_name" in values else None, version


# ---- .keras ------------------------------------------------------------------------------------------------


def _keras_v3(data, where, spec, max_bytes, custom):
    max_bytes = unpacked_limit(len(data), max_bytes)
    archive = Archive(data, where, max_bytes)
    names = set(archive.names)
    if "config.json" not in names or "metadata.json" not in names:
        raise ModelFileError(
            "this zip archive is not a .keras file",
            where=where,
            expected="config.json and metadata.json",
            found=", ".join(sorted(names)[:8]),
        )
    if "model.weights.h5" not in names:
        raise UnsupportedModelError(
            "the weights are in a form that is not supported",
            where=where,
            expected="model.weights.h5",
            found=", ".join(sorted(n for n in names if "weights" in n)) or "no weights",
            fix="Save the model as one .keras file again.",
        )
    metadata = parse(archive.read("metadata.json"), f"{where}: metadata.json")
    version = Version(str(metadata.get("keras_version", "3.0")))
    values = _spec(spec, version)[0] if spec is not None else None
    if values is None:
        values = parse(archive.read("config.json"), f"{where}: config.json")
    described = describe(_marked(values, custom))
    place = f"{where}: model.weights.h5"
    root = hdf5.read(archive.read("model.weights.h5"), place, skip=TRAINING_GROUPS, max_bytes=max_bytes)
    return KerasModel(described, fill_tree(_network(described, where), root, place), version, "keras-v3")


def _network(described, where):
    if described.custom or described.class_name not in ("Sequential", "Functional", "Model"):
        raise UnsupportedModelError(
            f"the model is of the class {described.class_name!r}",
            where=where,
            expected="a Sequential or Functional model",
            fix="Build the same network with the functional API, load the weights into it and save that.",
        )
    return described


# ---- HDF5 --------------------------------------------------------------------------------------------------


def _hdf5(data, where, spec, max_bytes, custom):
    root = hdf5.read(data, where, skip=TRAINING_GROUPS, max_bytes=max_bytes)
    config = root.attributes.get("model_config")
    group = root.groups.get("model_weights", root)
    written = group.attributes.get("keras_version", root.attributes.get("keras_version"))
    version, values = Version(written) if isinstance(written, str) else None, None
    lines = isinstance(spec, str) and not is_json(spec)
    if not lines and spec is not None:
        values, version = _spec(spec, version)
    if not lines and values is None and isinstance(config, str):
        values = parse(config, f"{where}: model_config")
        version = version or (Version(str(values["keras_version"])) if "keras_version" in values else None)
    if not re.match(r"[2-9]|\d\d", written if isinstance(written, str) else ""):
        _check_keras1(group, where)
    network = read_lines(spec) if lines else None
    if lines:
        described = network.description
    elif values is not None:
        described = describe(_marked(values, custom))
    else:
        raise _weights_alone(where)
    described = _network(described, where)
    if (
        group is root
        and ("layers" in root.groups or "_layer_checkpoint_dependencies" in root.groups)
        and "layer_names" not in root.attributes
    ):
        weights = fill_tree(described, _chosen(network, root) if lines else root, where)
        if lines:
            complete(network, weights)
        return KerasModel(described, weights, version or Version(UNKNOWN, recent=True), "hdf5")
    lists = _lists(group, where)
    if lines:
        lists = {name: lists[name] for name in without_ignored(network, lists)}
    weights = fill_lists(described, lists, where)
    if lines:
        complete(network, weights)
    return KerasModel(described, weights, version or Version(UNKNOWN), "hdf5")


def _weights_alone(where, or_else="save the whole model"):
    return UnsupportedModelError(
        "the file holds weights alone and does not say what network they belong to",
        where=where,
        fix="Give spec=, the text of model.to_json() or one layer a line (lstm: LSTM, dense: Dense "
        f"activation=softmax), or {or_else}.",
    )


def _chosen(network, root):
    """The tree of a file with the layers that a spec names alone, under the names its network gives them."""
    key = "layers" if "layers" in root.groups else "_layer_checkpoint_dependencies"
    held = root.groups[key]
    groups = {name: held.groups[name] for name in without_ignored(network, held.groups)}
    renamed = named_folders(network.description, network.named, groups)
    chosen = replace(held, groups=renamed)
    return replace(root, groups=root.groups | {key: chosen})


def _check_keras1(root, where):
    """Refuses the arrays of Keras 1, an LSTM's or GRU's cut up by gates: lstm_1_W_i, lstm_1_U_i, lstm_1_b_i,
    ... A later Keras says so in its files, and names like these are then somebody's own (kernel_b)."""
    for group in root.groups.values():
        for name in group.attributes.get("weight_names") or ():
            if re.fullmatch(r".*_[WUb](_[a-z])?(:0)?", name):
                raise UnsupportedModelError(
                    "the arrays are laid out as Keras 1 wrote them, which is not supported",
                    where=where,
                    found=name,
                    fix="Load the model in Keras 2 (the last that reads Keras 1) and save it again.",
                )


def _lists(root, where):
    """{layer name: [(variable name, array), ...]} of a legacy file, in the order its attributes state."""
    lists = {}
    names = _strings(root, "layer_names", where)
    stray = set(root.groups) - {n.partition("/")[0] for n in names} - {"top_level_model_weights"}
    if len(set(names)) != len(names) or stray:
        raise ModelFileError(
            "layer_names does not fit the groups of the file",
            where=where,
            found=", ".join(sorted(stray)) or "a name twice",
        )
    for name in names + ["top_level_model_weights"]:
        group = root.group(name)
        if group is None:
            if name != "top_level_model_weights":
                raise ModelFileError("a layer's group is missing", where=where, expected=name)
            continue
        stored = _strings(group, "weight_names", where)
        arrays = {n: group.array(n) for n in stored}
        missing = [n for n, a in arrays.items() if a is None]
        if missing or len(arrays) != len(stored) or sum(1 for _ in group.walk()) < len(stored):
            raise ModelFileError(
                "weight_names does not fit the arrays of the layer",
                where=f"{where}: {group.path}",
                found=", ".join(missing[:8]) or "a name twice",
            )
        lists[name] = list(arrays.items())
    return lists


def _strings(group, name, where):
    """An attribute that holds a list of strings, split into name0, name1, ... where it was too large for one
    (64 kB).
    """
    found = group.attributes.get(name)
    if found is None:
        parts = []
        while isinstance(part := group.attributes.get(f"{name}{len(parts)}"), list):
            parts.append(part)
        found = [text for part in parts for text in part]
    if not isinstance(found, list):
        raise ModelFileError(
            f"the attribute {name} must be a list of strings", where=f"{where}: {group.path or '/'}"
        )
    return found


# ---- SavedModel folders ------------------------------------------------------------------------------------


def _saved_model(folder, spec, max_bytes, custom):
    saved = SavedModel(folder, max_bytes)
    values, version = _spec(spec, saved.version) if spec is not None else (None, saved.version)
    values = saved.values if values is None else values
    described = _network(describe(_marked(values, custom)), saved.where)
    own = _network(describe(saved.values), saved.where)
    weights = saved.fill_checked(described, own)
    return KerasModel(described, weights, version or Version(UNKNOWN), "savedmodel")


def _checkpoint(source, where, spec, max_bytes, custom):
    if not isinstance(source, (str, PathLike)):
        raise UnsupportedModelError(
            "a checkpoint is two files",
            where=where,
            fix="Give the path of its .index; the other lies beside it.",
        )
    lines, values, version = isinstance(spec, str) and not is_json(spec), None, None
    if not lines and spec is not None:
        values, version = _spec(spec, None)
    if not lines and values is None:
        raise _weights_alone(
            where, "give the folder it is in, where Keras 2 saved that (the one with saved_model.pb)"
        )
    network = read_lines(spec) if lines else None
    described = _network(network.description if lines else describe(_marked(values, custom)), where)
    if lines and (network.named or network.ignored):
        raise UnsupportedModelError(
            "the layers of a checkpoint have no names of their own, and all of them are read",
            where=where,
            found=", ".join(sorted(network.named)) or "ignore",
            fix="Leave the names in front of the layers out: those with weights are taken in order.",
        )
    weights = Checkpoint(source, max_bytes).fill_described(described, in_order=lines)
    if lines:
        complete(network, weights)
    return KerasModel(described, weights, version or Version(UNKNOWN), "checkpoint")


# ---- live models -------------------------------------------------------------------------------------------


def _live(model, custom, still):
    where = f"the model {getattr(model, 'name', '')!r}"
    values, version = live.described(model, where, still)
    described = _network(describe(_marked(values, custom)), where)
    return KerasModel(described, live.arrays_of(described, model, where), version, "live")
