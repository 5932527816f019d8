"""A torch.export program run by PyTorch, beside the graph read from it. Imports torch: only for who asked to
compare.

The guards of a program, which hold it to the number of frames of its example, are left out: what is compared
is what its operators answer.
"""

from __future__ import annotations

import inspect

import numpy as np

from ..torch.run import by_rows


def runner(program, graph):
    """f(arrays in the order of ``graph.inputs``, with its axes) -> the answers of a live ExportedProgram in
    the order of the graph's outputs. States that a caller may give are zero.
    """
    import torch

    guarded = "check_guards" in inspect.signature(program.module).parameters
    module = program.module(check_guards=False) if guarded else program.module()
    inputs = [node for node in module.graph.nodes if node.op == "placeholder"]

    def answers(arrays, batch):
        values = [_value(node, arrays.get(node.name), batch, torch) for node in inputs]
        with torch.no_grad():
            return torch.fx.Interpreter(module).run(*values, enable_io_processing=False)

    return by_rows(answers, graph)


def _value(node, given, batch, torch):
    """An input of the program: what was given, or zeros for a state."""
    meta = node.meta.get("val")
    if not isinstance(meta, torch.Tensor):
        return meta
    if given is None:
        shape = [batch if k == meta.ndim - 2 else int(n) for k, n in enumerate(meta.shape)]
        return torch.zeros(shape, dtype=meta.dtype)
    return torch.from_numpy(np.array(given)).to(meta.dtype)
