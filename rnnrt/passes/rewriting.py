"""What passes are written with: layers that read something else, layers taken into one another."""

from __future__ import annotations

import dataclasses
from collections import Counter

from ..layers.base import layer_of


def rewired(layer, alias):
    """The layer reading what ``alias`` {reference: reference} puts in place of its inputs and its mask."""
    return layer.reading(tuple(alias.get(r, r) for r in layer.reads))


def rebuilt(graph, layers, alias):
    outputs = [dataclasses.replace(o, value=alias.get(o.value, o.value)) for o in graph.outputs]
    return graph.replace(layers.values(), outputs=outputs)


def absorb(graph, joined):
    """Lets layers be taken into the layer they read, where they alone read it and ``joined(layer before,
    layer)`` is one.
    """
    decisive = graph.decisive
    uses = Counter(layer_of(r) for x in graph.layers for r in x.reads)
    uses.update(layer_of(output.value) for output in graph.outputs)
    kept, alias = {}, {}
    for layer in graph.layers:
        layer = rewired(layer, alias)
        before = kept.get(layer.inputs[0]) if len(layer.inputs) == 1 else None
        alone = before is not None and uses[before.name] == 1 and layer.name not in decisive
        one = joined(before, layer) if alone else None
        if one is None:
            kept[layer.name] = layer
        else:
            kept[before.name], alias[layer.name] = one, before.name
            uses[before.name] = uses[layer.name]
    return rebuilt(graph, kept, alias)


def free_name(wanted, names):
    name, number = wanted, 1
    while name in names:
        name, number = f"{wanted}_{number}", number + 1
    names.add(name)
    return name
