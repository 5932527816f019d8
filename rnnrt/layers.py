"""The layers a graph is built of, for building one by hand: see rnnrt.graph for what each computes."""

from .graph import *  # noqa: F403
from .graph import LAYERS, Graph, GraphBuilder, Output

__all__ = sorted([c.__name__ for c in LAYERS.values()] + ["Graph", "GraphBuilder", "Output"])
