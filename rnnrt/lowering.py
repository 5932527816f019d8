"""Graph -> rows: the flat description of each layer that the engine plans from (see src/rnnrt.h).

A row is a plain dict of numbers and arrays, named as the fields of ``struct rnnrt_row``.
"""

from __future__ import annotations

import numpy as np

from ._engine import MAX_INPUTS, NORMS
from .errors import UnsupportedModelError
from .graph import Graph, Input, check_time_facts, same_padding
from .scan import inputs_first


def value_numbers(graph: Graph) -> dict[str, int]:
    """{reference: value number}: a layer's main output, then its further ones; numbers run on from row to
    row.
    """
    numbers, count = {}, 0
    for layer in graph.layers:
        count += _joined(layer)
        for output in ("", *layer.extra_outputs):
            numbers[f"{layer.name}:{output}" if output else layer.name] = count
            count += 1
    return numbers


def _joined(layer):
    """Whether a row before the layer's own puts its sequences side by side: the engine's scan takes one."""
    return layer.kind == "scan" and layer.per_step > 1


def rows_of(graph: Graph) -> tuple[list[dict], list[int], str | None]:
    """(rows, value numbers of the outputs, name of a layer that needs the input's length or None).

    A layer needs the length when its "same" padding puts a different number of zeros before the first frame
    for different lengths (some strides above 1): the graph can then be run only after ``with_length``.
    """
    number = value_numbers(graph)
    rows, needs_length = [], None
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
        if _joined(layer):
            values, frames = values[layer.per_step :], values[: layer.per_step]
            size = sum(s.width for s in signals[: layer.per_step])
            join = {
                "input": frames,
                "input_size": signals[0].width,
                "output_size": size,
                "timed": 1,
                "length": 0,
            }
            rows.append({"name": layer.name, "kind": "concatenate"} | join)
            values.insert(0, number[layer.name] - 1)
        row = {
            "name": layer.name,
            "kind": "affine" if layer.kind == "batch_normalization" else layer.kind,
            "input": values,
            "input_size": size,
            "output_size": made.width,
            "timed": int(made.time),
            "length": made.length or 0,
        }
        fill = _FILL.get(layer.kind)
        if fill:
            row |= fill(layer, signals[0])
            if row.pop("needs_length", False):
                needs_length = needs_length or layer.name
        rows.append(row)
    return rows, [number[o.value] for o in graph.outputs], needs_length


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
    from dataclasses import replace

    free = lambda x: isinstance(x, Input) and x.time and x.length is None
    own = length.get if isinstance(length, dict) else lambda name: length
    return graph.replace(tuple(replace(x, length=own(x.name)) if free(x) else x for x in graph.layers))


def _function(value):
    return (value.name, value.parameters[0] if value.parameters else 0.0)


def _dense(layer, x):
    return {"weight": layer.weight, "bias": layer.bias, "activation": _function(layer.activation)}


def _window(layer, x, span):
    if layer.padding != "same":
        return {"pad_left": layer.padding[0], "pad_right": layer.padding[1]}
    if x.length is not None:
        left, right = same_padding(x.length, span, layer.stride)
        return {"pad_left": left, "pad_right": right}
    lefts = {same_padding(span + k, span, layer.stride)[0] for k in range(1, layer.stride + 1)}
    return {"same": 1, "pad_left": min(lefts), "needs_length": len(lefts) > 1}


def _conv1d(layer, x):
    fields = {
        "kernel_size": layer.weight.shape[1],
        "stride": layer.stride,
        "dilation": layer.dilation,
        "groups": layer.groups,
    }
    return fields | _dense(layer, x) | _window(layer, x, layer.span)


def _pool(layer, x):
    fields = {
        "kernel_size": layer.size,
        "stride": layer.stride,
        "dilation": 1,
        "count_padding": int(getattr(layer, "count_padding", False)),
    }
    return fields | _window(layer, x, layer.size)


def _recurrent(layer, x):
    return {
        "units": layer.units,
        "reverse": int(layer.reverse),
        "unpacked": int(not layer.packed),
        "norm": NORMS[layer.norm],
        "epsilon": layer.epsilon,
        "activation": _function(layer.activation),
        "recurrent_activation": _function(getattr(layer, "recurrent_activation", layer.activation)),
        "reset_after": int(getattr(layer, "reset_after", False)),
        **{name: getattr(layer, name) for name in layer.arrays},
    }


def _scan(layer, x):
    first = 1 if layer.per_step else 0
    at = {s: first + k for k, s in enumerate(layer.started)}
    return {
        "inner": inputs_first(layer.graph),
        "per_step": layer.per_step,
        "states": len(layer.states),
        "index": np.array([at.get(s, -1) for s in layer.states], np.int32),
        "start": layer.initial,
        "length": layer.steps or 0,
        "reverse": int(layer.reverse),
    }


def _normalization(layer, x):
    return {"gamma": layer.gamma, "beta": layer.beta, "epsilon": layer.epsilon}


def _batch_normalization(layer, x):
    """As (x - mean) * scale + beta: with one offset in place of the mean, a mean far from zero would cost
    digits.
    """
    scale = np.ascontiguousarray(layer.scale, np.float32)
    beta = np.zeros_like(scale) if layer.beta is None else layer.beta
    return {"mean": layer.mean, "gamma": scale, "beta": beta}


_FILL = {
    "dense": _dense,
    "embedding": lambda layer, x: {"weight": layer.weight, "length": layer.weight.shape[0]},
    "conv1d": _conv1d,
    "rnn": _recurrent,
    "gru": _recurrent,
    "lstm": _recurrent,
    "scan": _scan,
    "affine": lambda layer, x: {"gamma": layer.scale, "beta": layer.offset},
    "batch_normalization": _batch_normalization,
    "layer_normalization": _normalization,
    "activation": lambda layer, x: {"activation": _function(layer.activation)},
    "max_pool1d": _pool,
    "average_pool1d": _pool,
    "flatten": lambda layer, x: {"length": x.length},
    "unflatten": lambda layer, x: {"length": layer.length},
    "select": lambda layer, x: {"index": np.array(layer.index, np.int32)},
    "time_distributed": lambda layer, x: {"inner": layer.graph},
}
