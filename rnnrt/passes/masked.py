"""The form of a network whose inputs are masked: the same layers, with masks among the inputs.

An importer that knows what its source makes of ``model(x, mask=...)`` writes beside a graph how that form
differs from it: plain JSON among the metadata, the arrays being the graph's own. A graph whose layers consult
no mask of an input has no such form.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ..errors import ModelFileError, RnnrtError, UnsupportedModelError
from ..graph import Graph, Output

#: The difference among a graph's metadata; a sentence where the form is not to be had.
KEY = "masked"


def difference(graph: Graph, masked: Graph):
    """What makes ``masked`` of ``graph``, for ``form``: an entry for each of its layers, the name of one that
    is the graph's, {"like": name, field: value, ...} of one that differs from it in fields without arrays, or
    all of a new one, which has no arrays.
    """
    from ..format import graph_json  # with json and hashlib behind it; few networks have a masked form

    own = {x.name: x for x in graph.layers}
    entries = []
    for layer in masked.layers:
        before = own.get(layer.name)
        if type(before) is type(layer):
            changed = _changed(before, layer)
            entries.append({"like": layer.name} | changed if changed else layer.name)
            continue
        value, arrays = graph_json.encode_layer(layer)
        if arrays:
            raise UnsupportedModelError(
                "a layer of the masked form has weights of its own", where=layer.where
            )
        entries.append(value)
    outputs = [[o.name, o.value, o.axes] for o in masked.outputs]
    return {"layers": entries, "inputs": list(masked.inputs), "outputs": outputs}


def _changed(before, layer):
    made = {}
    for item in dataclasses.fields(layer):
        old, new = getattr(before, item.name), getattr(layer, item.name)
        if item.name in ("inputs", "mask", "masked_output") and old != new:
            made[item.name] = list(new) if isinstance(new, tuple) else new
        elif isinstance(new, np.ndarray) and not np.array_equal(old, new, equal_nan=True):
            raise UnsupportedModelError("a layer of the masked form has other weights", where=layer.where)
    return made


def form(graph: Graph) -> Graph | None:
    """The graph with masks among its inputs; None where its metadata hold none. Raises UnsupportedModelError
    where they say why there is none, ModelFileError where they are not what ``difference`` writes.
    """
    value = graph.metadata.get(KEY)
    if value is None:
        return None
    if isinstance(value, str):
        raise UnsupportedModelError(f"the inputs of this network cannot be masked: {value}")
    own, where = {x.name: x for x in graph.layers}, f"metadata[{KEY!r}]"
    try:
        layers = [_layer(entry, own, where) for entry in value["layers"]]
        outputs = [Output(*output) for output in value["outputs"]]
        metadata = {k: v for k, v in graph.metadata.items() if k != KEY}
        start = {name: a for name, a in graph.start.items() if name.rpartition("/")[0] in own}
        return Graph(layers, value["inputs"], outputs, metadata, start)
    except (KeyError, TypeError, ValueError, AttributeError, RnnrtError) as error:
        found = str(error)[:200]
        raise ModelFileError("the masked form is not understood", where=where, found=found) from error


def _layer(entry, own, where):
    if isinstance(entry, str):
        return own[entry]
    if "like" not in entry:
        from ..format import graph_json

        return graph_json.decode_layer(entry, _no_arrays, where)
    return dataclasses.replace(own[entry["like"]], **{k: v for k, v in entry.items() if k != "like"})


def _no_arrays(name, where):
    raise ModelFileError("a layer of the masked form has weights of its own", where=where)
