"""A Keras model in memory: its own JSON, its variables as arrays by path, and the objects of classes that are
not Keras's own, whose ``call`` can be followed (traced.py).
"""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np

from ...errors import UnsupportedModelError
from .config import Version, parse
from .weights import children, fill_lists, fill_own, inner, slots


class Live(dict):
    """The arrays of a live object of a class not known here, by path; ``object``: the object itself."""

    def __init__(self, made):
        super().__init__({_name(v): as_array(v) for v in variables(made)})
        self.object = made


def known(layer, arrays):
    """(layer, its arrays): a live class that is Keras's RNN but for how it is made (as ncps's CfC) as that
    layer; any other as it is.
    """
    made, keras = getattr(arrays, "object", None), sys.modules.get("keras")
    if not layer.custom or keras is None or not isinstance(made, keras.layers.RNN):
        return layer, arrays
    base, kind = keras.layers.RNN, type(made)
    if any(getattr(kind, name) is not getattr(base, name) for name in ("call", "inner_loop", "compute_mask")):
        return layer, arrays
    cell = {"class_name": type(made.cell).__name__, "module": type(made.cell).__module__, "config": {}}
    if cell["module"].startswith("keras."):
        cell["config"] = made.cell.get_config()
    options = ("return_sequences", "return_state", "go_backwards", "stateful", "zero_output_for_mask")
    config = {"cell": cell} | {name: getattr(made, name) for name in options}
    layer = replace(layer, class_name="RNN", config=config, custom=False)
    return layer, tree_of(layer, made, layer.where)


def variables(made):
    """The variables of a live layer: all that training changes, then the others."""
    return [*made.trainable_weights, *made.non_trainable_weights]


def as_array(variable):
    return np.asarray(variable.numpy())


def _name(variable):
    return getattr(variable, "path", None) or variable.name


def of_a_class(model):
    """Whether a live model is of a class of its author's, whose ``call`` says what it is."""
    keras = sys.modules.get("keras")
    if keras is None or not isinstance(model, keras.Model):
        return False
    return not {"Functional", "Sequential"} & {c.__name__ for c in type(model).__mro__}


def _as_layer(model, where, still):
    """A model of a class of its author's as the one layer of a functional model; its time is open, or
    ``still``: what it was built for.
    """
    keras = sys.modules["keras"]
    shapes = list(getattr(model, "_build_shapes_dict", None) or {})
    shape = model._build_shapes_dict[shapes[0]] if len(shapes) == 1 else None
    if not isinstance(shape, tuple) or not all(isinstance(n, (int, type(None))) for n in shape):
        raise UnsupportedModelError(
            f"the model is of the class {type(model).__name__!r}, of which one input must be known",
            where=where,
            found=str(shape) if shapes else "a model that was never called",
            fix="Call it once with an array, or build the same network with the functional API.",
        )
    ids = len(shape) == 2 and any(isinstance(x, keras.layers.Embedding) for x in model._flatten_layers())
    timed = len(shape) > 2 or ids
    sizes = [None, *(None if k == 0 and timed and not still else n for k, n in enumerate(shape[1:]))]
    kind, name = "int32" if ids else "float32", model.name
    zeros = keras.ops.zeros([1, *shape[1:]], dtype=kind)
    count = len(keras.tree.flatten(model(zeros, training=False)))
    history = {"shape": sizes, "dtype": kind, "keras_history": ["inputs", 0, 0]}
    entry = {"module": "keras.layers", "class_name": "InputLayer", "name": "inputs", "inbound_nodes": []}
    entry["config"] = {"batch_shape": sizes, "dtype": kind, "name": "inputs"}
    own = {"module": type(model).__module__, "class_name": type(model).__name__, "name": name}
    own |= {"registered_name": type(model).__name__, "config": {"name": name}}
    node = {"args": [{"class_name": "__keras_tensor__", "config": history}], "kwargs": {}}
    config = {"name": f"{name}_model", "layers": [entry, own | {"inbound_nodes": [node]}]}
    config |= {"input_layers": [["inputs", 0, 0]], "output_layers": [[name, 0, k] for k in range(count)]}
    return {"module": "keras", "class_name": "Functional", "config": config}, Version(keras.__version__)


def described(model, where, still=False):
    """(the model's description of itself, parsed, and the Version of Keras that gives it)."""
    if of_a_class(model):
        return _as_layer(model, where, still)
    if not hasattr(model, "to_json") or not hasattr(model, "layers"):
        raise UnsupportedModelError(
            "only whole Keras models are imported",
            where=where,
            found=type(model).__name__,
            fix="Wrap it: keras.Sequential([keras.Input(shape), layer]).",
        )
    try:
        values = parse(model.to_json(), where)
    except (TypeError, ValueError, NotImplementedError, RuntimeError, AttributeError) as error:
        raise _undescribed(where, error) from error
    root = type(model).__mro__
    package = next(p for p in (c.__module__.partition(".")[0] for c in root) if p in ("keras", "tf_keras"))
    return values, Version(str(values.get("keras_version") or sys.modules[package].__version__))


def arrays_of(description, model, where) -> dict:
    """The arrays of a live model by path, as weights.py has them; a Live where it holds a class not known."""
    if of_a_class(model):
        return {"layers": {folder: Live(model) for layer, folder in children(description) if layer.custom}}
    own = {layer.name: layer for layer in model.layers}
    unknown = [
        (layer, folder)
        for layer, folder in children(description)
        if layer.name in own and (_runs_code(layer) or any(s.whole for s in slots(layer)))
    ]
    try:
        apart = {folder: tree_of(layer, own[layer.name], where) for layer, folder in unknown}
        left = own.keys() - {layer.name for layer, _ in unknown}
        lists = {
            name: [(_name(v), as_array(v)) for v in variables(own[name])] for name in own if name in left
        }
    except (TypeError, ValueError, NotImplementedError, RuntimeError, AttributeError) as error:
        raise _undescribed(where, error) from error
    tree = fill_lists(description, lists, where, apart)
    if apart:
        tree.setdefault("layers", {}).update(apart)
    return tree


def _runs_code(layer):
    """Whether a layer's own arithmetic is a function of the model's author, which a live layer has."""
    if layer.class_name == "TimeDistributed":
        return _runs_code(inner(layer, "layer"))
    if layer.class_name not in ("Activation", "Dense"):
        return layer.class_name == "Lambda"
    told = layer.config.get("activation")
    module = told.get("module") if isinstance(told, dict) else None
    return isinstance(told, dict) and str(module).partition(".")[0] not in ("keras", "tf_keras")


def _undescribed(where, error):
    return UnsupportedModelError("Keras cannot describe this model", where=where, found=str(error)[:300])


def tree_of(layer, made, where) -> dict:
    """The arrays of a layer that may hold classes not known here."""
    if layer.custom:
        return Live(made)
    match layer.class_name:
        case "RNN":
            return {"cell": tree_of(inner(layer, "cell"), made.cell, where)}
        case "StackedRNNCells":
            cells = zip(children(layer, "cells"), made.cells, strict=True)
            return {"cells": {folder: tree_of(child, own, where) for (child, folder), own in cells}}
        case "Bidirectional":
            back = "backward_layer" if layer.config.get("backward_layer") else "layer"
            halves = (("forward_layer", "layer"), ("backward_layer", back))
            return {name: tree_of(inner(layer, key), getattr(made, name), where) for name, key in halves}
        case "TimeDistributed":
            return {"layer": tree_of(inner(layer, "layer"), made.layer, where)}
        case "Sequential" | "Functional" | "Model":
            return arrays_of(layer, made, where)
    if _runs_code(layer) or any(s.whole for s in slots(layer)):
        return Live(made)
    return fill_own(layer, [(_name(v), as_array(v)) for v in variables(made)], where)
