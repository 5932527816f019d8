"""Scans whose step is an LSTM, a GRU or a simple RNN become those layers.

A step is recognised by what it computes, not by how it is written: see step_forms.py and cells.py. What fits
none of the cells stays a scan.
"""

from __future__ import annotations

import dataclasses

from ..graph import Graph
from ..layers import Concatenate, Reshape, Scan
from .rewriting import free_name, rewired


def lift(graph: Graph) -> Graph:
    """``graph`` with every Scan that is an LSTM, GRU or SimpleRNN as that layer, under the same name.

    ``metadata["lifted"]`` keeps the names of its states: {layer: [(state of the layer, name it had)]}, in
    their order.
    """
    layers, alias, lifted = [], {}, dict(graph.metadata.get("lifted", {}))
    names, decisive = {x.name for x in graph.layers}, graph.decisive
    for layer in graph.layers:
        layer = rewired(layer, alias)
        cell = None
        if isinstance(layer, Scan) and layer.name not in decisive:
            from .cells import recognised  # few networks hold a Scan

            cell = recognised(layer)
        if cell is None:
            layers.append(layer)
            continue
        before, references = _sequence_of(layer, graph.signals, names)
        started = [r for s, r in zip(layer.started, layer.inputs[layer.per_step :])]
        started = dict(zip(layer.started, started))
        initial = [started[s] for s in cell.states.values() if s in started]
        layers += [
            *before,
            cell.kind(
                layer.name,
                (*references, *initial),
                reverse=layer.reverse,
                mask=layer.mask,
                masked_output=layer.masked_output,
                **cell.fields,
            ),
        ]
        own = {shown: s for s, shown in cell.states.items()}
        lifted[layer.name] = [(own[s], s) for s in layer.states]
        alias |= {f"{layer.name}:{s}": f"{layer.name}:{own[s]}" for s in layer.states}
        for output, reference in zip(layer.graph.outputs[len(layer.states) :], _answers(layer)):
            alias[reference] = layer.name + cell.answers[output.value]
    if len(lifted) == len(graph.metadata.get("lifted", {})):
        return graph
    outputs = [dataclasses.replace(o, value=alias.get(o.value, o.value)) for o in graph.outputs]
    return graph.replace(layers, outputs=outputs, metadata=graph.metadata | {"lifted": lifted})


def _answers(scan):
    """References to the answers of a scan, in their order."""
    return [scan.name, *(f"{scan.name}:{o.name}" for o in scan.graph.outputs[len(scan.states) + 1 :])]


def _sequence_of(scan, signals, names):
    """(layers to put before, the one reference) that bring the scan's sequences side by side with one feature
    axis.
    """
    before, flat = [], []
    for reference, inside in zip(scan.inputs, scan.graph.inputs[: scan.per_step]):
        signal = scan.graph.signals[inside]
        if len(signal.features) != 1:
            flat_name = free_name(f"{scan.name}/flat", names)
            before.append(Reshape(flat_name, (reference,), features=(signal.width,)))
            reference = flat_name
        flat.append(reference)
    if len(flat) > 1:
        before.append(Concatenate(free_name(f"{scan.name}/x", names), flat))
        flat = [before[-1].name]
    return before, flat
