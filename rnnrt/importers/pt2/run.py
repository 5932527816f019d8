"""A torch.export program run by PyTorch, beside the graph read from it. Imports torch: only for who asked to
compare.

The guards of a program, which hold it to the number of frames of its example, are left out: what is compared
is what its operators answer.
"""

from __future__ import annotations

import inspect

import numpy as np

from ...axes import letters
from ...errors import UnsupportedModelError


def runner(program, graph):
    """f(arrays in the order of ``graph.inputs``, with its axes) -> the answers of a live ExportedProgram in
    the order of the graph's outputs. States that a caller may give are zero.
    """
    import torch

    guarded = "check_guards" in inspect.signature(program.module).parameters
    module = program.module(check_guards=False) if guarded else program.module()
    inputs = [node for node in module.graph.nodes if node.op == "placeholder"]
    states = graph.metadata.get("state_outputs", ())
    rows = graph.metadata.get("example_batch")

    def answers(given):
        arrays = {name: np.asarray(x) for name, x in zip(graph.inputs, given)}
        batch = next(x.shape[_batch(graph[n])] for n, x in arrays.items())
        values = [_value(node, arrays.get(node.name), batch, torch) for node in inputs]
        with torch.no_grad():
            made = torch.fx.Interpreter(module).run(*values, enable_io_processing=False)
        made = _leaves(made)
        kept = [y for k, y in enumerate(made) if isinstance(y, torch.Tensor) and k not in states]
        if len(kept) != len(graph.outputs):
            raise UnsupportedModelError(
                "the program returns another number of tensors",
                expected=str(len(graph.outputs)),
                found=str(len(kept)),
            )
        return [y.float().numpy() for y in kept]

    def call(given):
        """As many rows at a time as the program takes."""
        given = [np.asarray(x) for x in given]
        places = [_batch(graph[n]) for n in graph.inputs]
        batch = given[0].shape[places[0]]
        if rows is None or rows == batch:
            return answers(given)
        parts = []
        for start in range(0, batch, rows):
            index = [min(k, batch - 1) for k in range(start, start + rows)]
            parts.append(answers([np.take(x, index, k) for x, k in zip(given, places)]))
        ends = [o.axes.index("b") for o in graph.outputs]
        joined = [np.concatenate(own, k) for own, k in zip(zip(*parts), ends)]
        return [np.take(y, range(batch), k) for y, k in zip(joined, ends)]

    return call


def _batch(layer):
    return letters(layer.axes, len(layer.features)).index("b")


def _value(node, given, batch, torch):
    """An input of the program: what was given, or zeros for a state."""
    meta = node.meta.get("val")
    if not isinstance(meta, torch.Tensor):
        return meta
    if given is None:
        shape = [batch if k == meta.ndim - 2 else int(n) for k, n in enumerate(meta.shape)]
        return torch.zeros(shape, dtype=meta.dtype)
    return torch.from_numpy(np.array(given)).to(meta.dtype)


def _leaves(tree):
    if isinstance(tree, dict):
        tree = list(tree.values())
    return [leaf for item in tree for leaf in _leaves(item)] if isinstance(tree, (tuple, list)) else [tree]
