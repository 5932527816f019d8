"""Layers that change nothing, or that nothing needs, are dropped."""

from __future__ import annotations

from ..graph import Graph
from ..layers import Activation, Add, Concatenate, Input, Reshape, Reverse, Select
from ..layers.base import layer_of
from ..layers.function import LINEAR
from .rewriting import rebuilt, rewired


def drop_trivial(graph: Graph) -> Graph:
    """Without layers that change nothing."""
    kept, alias = {}, {}
    for layer in graph.layers:
        layer = rewired(layer, alias)
        if isinstance(layer, Reshape) and isinstance(before := kept.get(layer.inputs[0]), Reshape):
            layer = layer.reading(before.inputs)  # the shape between does not matter
        same = _unchanged(layer, kept, graph.signals)
        if same is None:
            kept[layer.name] = layer
        else:
            alias[layer.name] = same
    return rebuilt(graph, kept, alias)


def drop_dead(graph: Graph) -> Graph:
    """Without layers that reach no output; inputs stay."""
    needed = {layer_of(output.value) for output in graph.outputs}
    for layer in reversed(graph.layers):
        if layer.name in needed:
            needed.update(map(layer_of, layer.reads))
    return graph.replace([x for x in graph.layers if x.name in needed or isinstance(x, Input)])


def _unchanged(layer, kept, signals):
    """The reference whose value this layer repeats, or None."""
    match layer:
        case Activation(activation=function) if function == LINEAR:
            return layer.inputs[0]
        case Reshape(features=features) if (
            features == signals[layer.name].features == signals[layer.inputs[0]].features
        ):
            return layer.inputs[0]
        case Select(index=index) if index == tuple(range(signals[layer.inputs[0]].width)):
            return layer.inputs[0]
        case Concatenate() | Add() if len(layer.inputs) == 1:
            return layer.inputs[0]
        case Reverse() if isinstance(kept.get(layer.inputs[0]), Reverse):
            return kept[layer.inputs[0]].inputs[0]
    return None
