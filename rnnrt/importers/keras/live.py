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


def described(model, where):
    """(the model's description of itself, parsed, and the Version of Keras that gives it)."""
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
    if layer.class_name != "Activation":
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
