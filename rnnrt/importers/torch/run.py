"""A stored program run by PyTorch, beside the graph read from it. Imports torch: only for who asked to
compare.
"""

from __future__ import annotations

import numpy as np

from ...axes import as_said, letters
from ...errors import UnsupportedModelError
from .program import leaves


def by_rows(answers, graph):
    """f(arrays in the order of ``graph.inputs``, with its axes) -> the answers in the order of the graph's
    outputs, of as many rows at a time as the program takes.

    ``answers``: f({input: array}, batch) -> what the program returns.
    """
    import torch

    states = graph.metadata.get("state_outputs", ())
    rows = graph.metadata.get("example_batch")

    def run(given):
        arrays = dict(zip(graph.inputs, given))
        batch = next(x.shape[_batch(graph[n])] for n, x in arrays.items())
        made = leaves(answers(arrays, batch))
        kept = [y for k, y in enumerate(made) if isinstance(y, torch.Tensor) and k not in states]
        if len(kept) != len(graph.outputs):
            raise UnsupportedModelError(
                "the program returns another number of tensors",
                expected=str(len(graph.outputs)),
                found=str(len(kept)),
            )
        features = [graph.signals[o.value].features for o in graph.outputs]
        return [
            as_said(y.detach().float().numpy(), o, f, batch, graph.metadata)
            for y, o, f in zip(kept, graph.outputs, features)
        ]

    def call(given):
        given = [np.asarray(x) for x in given]
        places = [_batch(graph[n]) for n in graph.inputs]
        batch = given[0].shape[places[0]]
        if rows is None or rows == batch:
            return run(given)
        parts = []
        for start in range(0, batch, rows):
            index = [min(k, batch - 1) for k in range(start, start + rows)]
            parts.append(run([np.take(x, index, k) for x, k in zip(given, places)]))
        ends = [o.axes.index("b") for o in graph.outputs]
        joined = [np.concatenate(own, k) for own, k in zip(zip(*parts), ends)]
        return [np.take(y, range(batch), k) for y, k in zip(joined, ends)]

    return call


def _batch(layer):
    return letters(layer.axes, len(layer.features)).index("b")
