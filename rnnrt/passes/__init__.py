"""Graph -> graph, each pass exact up to rounding: the same outputs under the same names from fewer layers.

Names of inputs, of outputs and of the layers that hold a state stay; other layers may vanish. New weights are
computed in float64; where they would leave float32's range the layers are left as they are.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ..graph import Graph
from ..layers import Scan, TimeDistributed
from .folding import fold_batch_norm, fuse_activation, fuse_sum
from .lifting import lift
from .products import cut_products
from .trivial import drop_dead, drop_trivial


def optimise(graph: Graph, lifted=True, outermost=True) -> Graph:
    """``graph`` after every pass; with ``lifted`` false the known cells among its scans stay scans.

    Sums inside Scan and TimeDistributed layers stay layers: cells are told by them.
    """
    with np.errstate(
        over="ignore", invalid="ignore"
    ):  # what leaves float32's range is looked at, not warned of
        for one in PASSES:
            if one is optimise_inner:
                graph = one(graph, lifted)
            elif (lifted or one is not lift) and (outermost or one is not fuse_sum):
                graph = one(graph)
    return graph


def optimise_inner(graph: Graph, lifted=True) -> Graph:
    """Every pass on the graphs inside TimeDistributed and Scan layers."""
    return graph.replace(
        [
            dataclasses.replace(x, graph=optimise(x.graph, lifted, outermost=False))
            if isinstance(x, (TimeDistributed, Scan))
            else x
            for x in graph.layers
        ]
    )


#: In this order: what is dead or trivial would count as a reader and stand in the way of folding.
PASSES = (
    optimise_inner,
    lift,
    cut_products,
    drop_trivial,
    drop_dead,
    fold_batch_norm,
    fuse_sum,
    fuse_activation,
)
