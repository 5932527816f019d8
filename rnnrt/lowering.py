"""Graph -> rows: the flat description of each layer that the engine plans from (see src/rnnrt.h).

A row is a plain dict of numbers and arrays, named as the fields of ``struct rnnrt_row``.
"""

from __future__ import annotations

import numpy as np

from .errors import UnsupportedModelError
from .graph import Graph, Input, same_padding

#: Most inputs one row can join.
MAX_INPUTS = 64
#: Output slots of a row: value number = row * 4 + slot.
SLOTS = {"": 0, "h": 1, "c": 2, "cells": 3}


def rows_of(graph: Graph) -> tuple[list[dict], list[int], str | None]:
    """(rows, value numbers of the outputs, name of a layer that needs the input's length or None).

    A layer needs the length when its "same" padding puts a different number of zeros before the first frame for different
    lengths (some strides above 1): the graph can then be run only after ``with_length``.
    """
    number = {layer.name: k for k, layer in enumerate(graph.layers)}
    value = lambda reference: number[reference.partition(":")[0]] * 4 + SLOTS[reference.partition(":")[2]]
    rows, needs_length = [], None
    for layer in graph.layers:
        if len(layer.inputs) > MAX_INPUTS:
            raise UnsupportedModelError(
                "joins too many inputs",
                where=layer.where,
                expected=f"at most {MAX_INPUTS}",
                found=str(len(layer.inputs)),
            )
        signals = [graph.signals[r] for r in layer.inputs]
        made = graph.signals[layer.name]
        row = {
            "kind": "affine" if layer.kind == "batch_normalization" else layer.kind,
            "input": [value(r) for r in layer.inputs],
            "input_size": signals[0].width if signals else made.width,
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
    return rows, [value(o.value) for o in graph.outputs], needs_length


def with_length(graph: Graph, length: int) -> Graph:
    """The same graph for sequences of ``length`` frames only."""
    from dataclasses import replace

    return graph.replace(
        tuple(replace(x, length=length) if isinstance(x, Input) and x.time else x for x in graph.layers)
    )


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
        "norm": ("none", "gates", "joint").index(layer.norm),
        "epsilon": layer.epsilon,
        "activation": _function(layer.activation),
        "recurrent_activation": _function(getattr(layer, "recurrent_activation", layer.activation)),
        "reset_after": int(getattr(layer, "reset_after", False)),
        **{name: getattr(layer, name) for name in layer.arrays},
    }


def _normalization(layer, x):
    return {"gamma": layer.gamma, "beta": layer.beta, "epsilon": layer.epsilon}


def _batch_normalization(layer, x):
    scale, offset = (np.ascontiguousarray(a, np.float32) for a in layer.affine())
    return {"gamma": scale, "beta": offset}


_FILL = {
    "dense": _dense,
    "embedding": lambda layer, x: {"weight": layer.weight, "length": layer.weight.shape[0]},
    "conv1d": _conv1d,
    "rnn": _recurrent,
    "gru": _recurrent,
    "lstm": _recurrent,
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
