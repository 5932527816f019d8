"""Classes that the caller gives in custom_objects: objects of them, with the weights that a file holds."""

from __future__ import annotations

import os
import sys
import tempfile

from ...errors import RnnrtError, UnsupportedModelError, require
from .live import variables
from .rewrite import checked
from .weights import snake_case


def is_class(value):
    """Whether an entry of custom_objects is a class of Keras layers, not a function."""
    keras = sys.modules.get("keras")
    return keras is not None and isinstance(value, type) and issubclass(value, keras.layers.Layer)


def configured(context, kind):
    """An object of a class from what a file says of it, its weights not yet made. Among its options the file
    may name Keras's own classes and those that are given."""
    scope = {name.rpartition(">")[2]: f for name, f in context.custom_objects.items() if is_class(f)}
    config = checked(context.layer.config, context.layer.where, scope)
    try:
        with sys.modules["keras"].saving.custom_object_scope(scope):
            return kind.from_config(config)
    except Exception as error:  # the author's own
        raise UnsupportedModelError(
            f"the class {kind.__name__} cannot be made from what the file says of it: {str(error)[:160]}",
            where=context.layer.where,
            found=", ".join(config),
        ) from error


def loaded(context, kind, shapes, cell=False):
    """An object of the class ``kind`` with the weights that the file holds of it, built for ``shapes``."""
    keras, where = sys.modules["keras"], context.layer.where
    made = configured(context, kind)
    try:
        inputs = [keras.Input(batch_shape=shape) for shape in shapes]
        layer = keras.layers.RNN(made) if cell else made
        model = keras.Model(inputs, layer(*_as_called(context, inputs)))
        arrays = dict(_flat(context.arrays))
        if all("vars/" in path for path in arrays):
            _load(model, f"layers/{snake_case(type(layer).__name__)}{'/cell' * cell}", arrays)
        else:
            own = variables(made)
            if len(own) != len(arrays):
                raise ValueError(f"it has {len(own)} arrays, the file {len(arrays)}")
            for variable, array in zip(own, arrays.values(), strict=True):
                variable.assign(array)
    except RnnrtError:
        raise
    except Exception as error:  # the author's own, and Keras's many
        raise UnsupportedModelError(
            f"the class {kind.__name__} does not take what the file holds of it: {str(error)[:200]}",
            where=where,
        ) from error
    return made


def _as_called(context, inputs):
    """The inputs as the file says that the layer is called with them: one by one, or as a list."""
    several = len(context.arguments) == 1 and isinstance(context.arguments[0], list)
    return [inputs] if several else inputs


def _flat(arrays, prefix=""):
    for name, value in arrays.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", value


def _load(model, folder, arrays):
    """Has Keras put the arrays, by the paths of its own files, into a model."""
    h5py = require("h5py", "keras", "reading Keras's files")
    with tempfile.TemporaryDirectory() as place:
        path = os.path.join(place, "own.weights.h5")
        with h5py.File(path, "w") as file:
            for name in ("layers", folder):
                file.require_group(name)
            for name, array in arrays.items():
                file[f"{folder}/{name}"] = array
        model.load_weights(path)
