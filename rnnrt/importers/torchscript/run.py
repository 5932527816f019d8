"""A module of torch.jit run by PyTorch, beside the graph read from it. Imports torch: only for who asked to
compare.
"""

from __future__ import annotations

import numpy as np

from ...axes import to_canonical
from ...errors import UnsupportedModelError
from ...verification import full_lengths
from ..torch.run import by_rows


def runner(module, graph):
    """f(arrays in the order of ``graph.inputs``, with its axes) -> the answers of a live ScriptModule in the
    order of the graph's outputs. States that a caller may give are zero.
    """
    import torch

    types = {a.name: a.type for a in module.forward.schema.arguments[1:]}

    def answers(arrays, batch):
        given = {}
        for name, x in arrays.items():
            own = torch.from_numpy(np.array(x))
            given[name] = own.to(torch.int64) if graph[name].ids else own
        canonical = {name: to_canonical(x, graph[name].axes) for name, x in arrays.items()}
        lengths = full_lengths(graph, canonical)
        if lengths is not None:
            given[graph.metadata["lengths_input"]] = torch.from_numpy(lengths).to(torch.int64)

        def value(kind, path):
            """An input of the module: what was given, zeros for a state, and tuples of these."""
            if kind.kind() == "TupleType":
                return tuple(value(part, (*path, k)) for k, part in enumerate(kind.elements()))
            name = "_".join(map(str, path))
            return given[name] if name in given else torch.zeros(_state_shape(graph, path, batch))

        with torch.no_grad():
            return module(*(value(kind, (name,)) for name, kind in types.items()))

    return by_rows(answers, graph)


def _state_shape(graph, path, batch):
    """The shape of an initial state of forward, by what the graph takes of it."""
    states, form = graph.metadata.get("state_inputs", ()), graph.metadata.get("initial_states", ())
    own = path[1:] if len(states) == 1 else (states.index(path[0]), *path[1:]) if path[0] in states else None
    layers = [n for way, names in form if own is not None and tuple(way[: len(own)]) == own for n in names]
    if not layers:
        name = "_".join(map(str, path))
        raise UnsupportedModelError(f"torch needs a value for {name!r}, which the network does not take")
    return len(layers), batch, graph.signals[layers[0].replace("/", ":")].width
