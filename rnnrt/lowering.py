"""Graph -> layer descriptors: the flat form of each layer that the engine plans from (see src/rnnrt.h).

A descriptor is a plain dict of numbers and arrays, named as the fields of ``struct rnnrt_layer_desc``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ._engine import MASKED, MAX_INPUTS, NORMS
from .errors import UnsupportedModelError
from .graph import Graph
from .layers import Input
from .layers.base import check_time_facts


def value_numbers(graph: Graph) -> dict[str, int]:
    """{reference: value number}: a layer's main output, then its further ones; numbers run on from layer
    to layer.
    """
    numbers, count = {}, 0
    for layer in graph.layers:
        count += bool(layer.joined_inputs)  # the descriptor that puts them side by side comes first
        for output in ("", *layer.extra_outputs):
            numbers[f"{layer.name}:{output}" if output else layer.name] = count
            count += 1
    return numbers


def descs_of(graph: Graph) -> tuple[list[dict], list[int], str | None]:
    """(descriptors, value numbers of the outputs, name of a layer that needs the input's length or None).

    A layer needs the length when its "same" padding puts a different number of zeros before the first frame
    for different lengths (some strides above 1): the graph can then be run only after ``with_length``.
    """
    number = value_numbers(graph)
    descs, needs_length = [], None
    for layer in graph.layers:
        check_time_facts(layer)
        if len(layer.inputs) > MAX_INPUTS:
            raise UnsupportedModelError(
                "joins too many inputs",
                where=layer.where,
                expected=f"at most {MAX_INPUTS}",
                found=str(len(layer.inputs)),
            )
        signals = [graph.signals[r] for r in layer.inputs]
        made, values = graph.signals[layer.name], [number[r] for r in layer.inputs]
        size = signals[0].width if signals else made.width
        if layer.joined_inputs:
            values, frames = values[layer.joined_inputs :], values[: layer.joined_inputs]
            size = sum(s.width for s in signals[: layer.joined_inputs])
            join = {
                "input": frames,
                "input_size": signals[0].width,
                "output_size": size,
                "timed": 1,
                "length": 0,
            }
            descs.append({"name": layer.name, "kind": "concatenate"} | join)
            values.insert(0, number[layer.name] - 1)
        desc = {
            "name": layer.name,
            "kind": layer.kind,
            "input": values,
            "input_size": size,
            "output_size": made.width,
            "timed": int(made.time),
            "length": made.length or 0,
        }
        if len(layer.reads) > len(layer.inputs):
            desc["mask"] = number[layer.reads[-1]]
            desc["masked_output"] = MASKED[getattr(layer, "masked_output", "hold")]
        desc |= layer.engine_fields(signals[0] if signals else None)
        if desc.pop("needs_length", False):
            needs_length = needs_length or layer.name
        starts = layer.startable(*signals)
        if any(f"{layer.name}/{array}" in graph.start for array in starts):
            desc["start"] = _start_of(graph, layer, starts)
        if "norm" in desc:
            desc["norm"] = NORMS[desc["norm"]]
        descs.append(desc)
    return descs, [number[o.value] for o in graph.outputs], needs_length


def _start_of(graph, layer, starts):
    """What the layer keeps, all of it side by side, where a sequence begins; a state that an edge sets is
    there too.
    """
    if layer.keeps == "state":
        starts = {s: graph.signals[f"{layer.name}:{s}"].features for s in layer.states}
    parts = [graph.start.get(f"{layer.name}/{array}", np.zeros(shape)) for array, shape in starts.items()]
    return np.concatenate([part.ravel() for part in parts])


def state_names(graph: Graph) -> dict[str, list[str]]:
    """{layer: the names its recurrent states are shown by}; a layer that was lifted keeps those it had as a
    scan.
    """
    lifted = graph.metadata.get("lifted", {})
    return {
        x.name: [dict(lifted.get(x.name, ())).get(s, s) for s in x.states]
        for x in graph.layers
        if x.keeps == "state"
    }


def with_length(graph: Graph, length) -> Graph:
    """The same graph for sequences of ``length`` frames only, a number or {input: number}; inputs whose
    length is fixed keep theirs. ShapeError where a layer needs inputs of one length."""
    free = lambda x: isinstance(x, Input) and x.time and x.length is None
    own = length.get if isinstance(length, dict) else lambda name: length
    return graph.replace(tuple(replace(x, length=own(x.name)) if free(x) else x for x in graph.layers))
