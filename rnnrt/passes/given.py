"""A network without the part that is known before its first frame: what depends on inputs given whole."""

from __future__ import annotations

from ..errors import NotStreamableError
from ..graph import Graph, Output
from ..layers import Input
from ..layers.base import layer_of


def without_given(graph: Graph, names):
    """(given, rest, values) of a graph whose inputs ``names``, and those without a time axis, are known
    whole.

    ``given``: the graph of ``values``, {input of the rest: value of the graph}, which the rest reads as
    inputs without a time axis; None where it reads none. NotStreamableError where the frames of an input in
    ``names`` meet others.
    """
    known = set()
    for layer in graph.layers:
        whole = not layer.time or layer.name in names if isinstance(layer, Input) else True
        if whole and all(layer_of(r) in known for r in layer.reads):
            known.add(layer.name)
    timed = lambda reference: graph.signals[reference].time
    shown = {o.value for o in graph.outputs}
    # what is laid out over time goes with the frames it meets
    for layer in reversed(graph.layers):
        if layer.name not in known:
            continue
        readers = [x for x in graph.consumers(layer.name) if x.name not in known]
        met = [r for x in readers for r in x.reads if layer_of(r) == layer.name and timed(r)]
        if not met and not any(layer_of(v) == layer.name and timed(v) for v in shown):
            continue
        if isinstance(layer, Input):
            raise NotStreamableError(
                "this input cannot be given whole: its frames are an output, or go where other inputs are "
                "needed too",
                where=f"input {layer.name!r}",
                fix="Push it beside the others.",
            )
        known.discard(layer.name)
    rest = [x for x in graph.layers if x.name not in known]
    read = [r for x in rest for r in x.reads] + [o.value for o in graph.outputs]
    across = [r for r in dict.fromkeys(read) if layer_of(r) in known]
    inputs = [layer_of(r) for r in across if isinstance(graph[layer_of(r)], Input)]
    values = {}
    for reference in across:
        if reference not in inputs:
            values[_free(graph, reference, values)] = reference
    named = {r: name for name, r in values.items()}
    layers = [graph[name] for name in inputs]
    layers += [
        Input(name, features=graph.signals[r].features, time=False, axes="bf") for name, r in values.items()
    ]
    layers += [x.reading([named.get(r, r) for r in x.reads]) for x in rest]
    kept = {x.name for x in layers}
    outputs = [Output(o.name, named.get(o.value, o.value), o.axes) for o in graph.outputs]
    order = [n for n in graph.inputs if n in kept] + list(values)
    return _graph_of(graph, values), graph.replace(layers, inputs=order, outputs=outputs), values


def _free(graph, reference, taken):
    name = reference.replace(":", "_") + "_given"
    while name in taken or name in {x.name for x in graph.layers}:
        name += "_"
    return name


def _graph_of(graph, values):
    """The graph that answers ``values``, by their names."""
    if not values:
        return None
    needed = {layer_of(r) for r in values.values()}
    for layer in reversed(graph.layers):
        if layer.name in needed:
            needed |= {layer_of(r) for r in layer.reads}
    return graph.replace(
        [x for x in graph.layers if x.name in needed],
        inputs=[n for n in graph.inputs if n in needed],
        outputs=[Output(name, r, "bf") for name, r in values.items()],
    )
