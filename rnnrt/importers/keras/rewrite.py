"""A Keras file written anew for Keras itself to read, with nothing in it but weights and what this importer
knows.

Keras imports modules and makes objects by the names in a file. So a file from a stranger is never handed to
it: it gets a copy in which every class is one of Keras's own that is imported here, from one reading of the
bytes, so that no two readers can see two files.
"""

from __future__ import annotations

import io
import json
import os
import zipfile

from ...errors import UnsupportedModelError, require
from ...format.reading import path_text
from ..containers import ZIP_SIGNATURE, hdf5
from ..containers.zip import Archive
from .config import TRAINING_SUFFIXES, parse
from .files import file_bytes
from .flags import FLAG_OPERATIONS
from .functions import OPERATIONS
from .layers import IDENTITIES, LAYERS
from .recurrent import CELLS, RECURRENT
from .weights import TRAINING_GROUPS

#: Every class a config may name: layers, and the plain values Keras 3 writes as objects.
_CLASSES = {
    *LAYERS,
    *RECURRENT,
    *CELLS,
    *IDENTITIES,
    *OPERATIONS,
    *FLAG_OPERATIONS,
    "InputLayer",
    "TimeDistributed",
    "StackedRNNCells",
    "Sequential",
    "Functional",
    "Model",
    "DTypePolicy",
    "__keras_tensor__",
}


def rewrite(source, folder, max_bytes: int = 2 << 30) -> str:
    """The path of a file in ``folder`` that says what ``source`` (a path or the bytes of a .keras or .h5
    file) says, for Keras to load.

    Raises UnsupportedModelError where it names a class that is not Keras's or not known here, or holds no
    whole model, and what the readers of its container raise.
    """
    if isinstance(source, (str, os.PathLike)) and os.path.isdir(source):
        raise UnsupportedModelError(
            "a SavedModel folder holds a program, and Keras is not asked to run it", where=path_text(source)
        )
    data, where = file_bytes(source, max_bytes)
    if data.startswith(ZIP_SIGNATURE):
        archive, path = Archive(data, where, max_bytes), os.path.join(folder, "model.keras")
        if set(archive.names) != {"config.json", "metadata.json", "model.weights.h5"}:
            raise UnsupportedModelError(
                "the archive holds more than config, metadata and weights", where=where
            )
        weights = archive.read("model.weights.h5")
        hdf5.read(weights, where, skip=TRAINING_GROUPS, max_bytes=max_bytes)
        with zipfile.ZipFile(path, "w") as copy:
            copy.writestr("config.json", _cleaned(archive.read("config.json"), where))
            copy.writestr("metadata.json", json.dumps(parse(archive.read("metadata.json"), where)))
            copy.writestr("model.weights.h5", weights)
        return path
    root = hdf5.read(data, where, skip=TRAINING_GROUPS, max_bytes=max_bytes)
    config = root.attributes.get("model_config")
    if not isinstance(config, str):
        raise UnsupportedModelError("the file holds weights alone", where=where)
    h5py, path, memory = (
        require("h5py", "keras", "reading Keras's files"),
        os.path.join(folder, "model.h5"),
        io.BytesIO(data),
    )
    with h5py.File(memory, "r+") as opened:
        opened.attrs["model_config"] = _cleaned(config, where)
    with open(path, "wb") as file:
        file.write(memory.getbuffer())
    return path


def _cleaned(text, where):
    values = parse(text, where)
    values.pop("compile_config", None)
    return json.dumps(checked(values, where))


def checked(value, where, custom=()):
    """The value without what only training reads (which may name anything); raises for a class that is not
    known, but for those in ``custom``, which are then found by their names alone.
    """
    if isinstance(value, list):
        return [checked(v, where, custom) for v in value]
    if not isinstance(value, dict):
        return value
    if "class_name" in value:
        name, module = value["class_name"], value.get("module")
        own = str(name).rpartition(">")[2]
        if own in custom:
            inside = checked(value.get("config"), where, custom)
            return {"module": None, "class_name": own, "config": inside, "registered_name": own}
        keras_own = module is None or (isinstance(module, str) and module.partition(".")[0] == "keras")
        if name not in _CLASSES or not keras_own:
            raise UnsupportedModelError(
                f"it names a class that is not one of Keras's own, {str(name)[:80]!r}", where=where
            )
    left_out = ("build_config",) if custom else ()  # a class of the user's builds what it holds itself
    kept = {k: v for k, v in value.items() if k not in left_out and not k.endswith(TRAINING_SUFFIXES)}
    return {k: checked(v, where, custom) for k, v in kept.items()}
