"""The products of a Scan cut apart: what does not depend on its states becomes one product of many frames."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..graph import Graph
from ..layers import Activation, Add, Concatenate, Dense, Scan
from ..layers.function import LINEAR
from .rewriting import free_name


def cut_products(graph: Graph) -> Graph:
    """``graph`` whose Scans read frames, values given once and states by products of their own: W [x; h]
    becomes W_x x + W_h h, so that W_x x of many frames is one product."""
    to_cut = {x.name for x in graph.layers if isinstance(x, Scan)} - graph.decisive
    return graph.replace(
        [dataclasses.replace(x, graph=_cut(x)) if x.name in to_cut else x for x in graph.layers]
    )


def _cut(scan):
    step, names = scan.graph, {x.name for x in scan.graph.layers}
    first = scan.per_step + len(scan.states)
    depends = {
        name: {0 if k < scan.per_step else 1 if k < first else 2} for k, name in enumerate(step.inputs)
    }
    layers, by_name = [], {x.name: x for x in step.layers}
    for layer in step.layers:
        depends.setdefault(layer.name, set().union(*(depends[r] for r in layer.inputs)))
        plain = isinstance(layer, Dense) and len(layer.inputs) == 1
        joined = by_name.get(layer.inputs[0]) if plain else None
        groups, at = {}, 0
        for r in joined.inputs if isinstance(joined, Concatenate) else ():
            width = step.signals[r].width
            sort = min(depends[r]) if len(depends[r]) == 1 else 1
            groups.setdefault(sort, []).append((r, range(at, at + width)))
            at += width
        if len(groups) < 2:
            layers.append(layer)
            continue
        products, bias = [], layer.bias
        for parts in groups.values():
            source = parts[0][0]
            if len(parts) > 1:
                source = free_name(f"{layer.name}/part", names)
                layers.append(Concatenate(source, [r for r, _ in parts]))
            columns = np.concatenate([np.asarray(c) for _, c in parts])
            products.append(free_name(f"{layer.name}/product", names))
            layers.append(Dense(products[-1], (source,), weight=layer.weight[:, columns], bias=bias))
            bias = None
        linear = layer.activation == LINEAR
        total = layer.name if linear else free_name(f"{layer.name}/sum", names)
        layers.append(Add(total, products))
        if not linear:
            layers.append(Activation(layer.name, (total,), activation=layer.activation))
    needed = {o.value for o in step.outputs}
    for layer in reversed(layers):
        needed |= set(layer.inputs) if layer.name in needed else set()
    return step.replace([x for x in layers if x.name in needed or x.name in step.inputs])
