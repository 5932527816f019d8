"""The layers a graph is built of, one file a family, and what builds a graph of them by hand."""

from typing import TYPE_CHECKING

from .activation import Activation, LogSoftmax, Softmax
from .attention import Attention
from .base import Layer, TensorSpec
from .conv import Conv1D, Conv2D, ConvTranspose1D
from .dense import Dense, Embedding
from .features import FeatureMax, Reshape, Select, TimeDistributed
from .function import FUNCTIONS, Function
from .input import Input
from .mask import NotEqual
from .merge import (
    Add,
    Concatenate,
    Divide,
    Equal,
    Expand,
    Greater,
    GreaterEqual,
    Maximum,
    Multiply,
    Where,
)
from .norm import Affine, BatchNormalization, LayerNormalization
from .pool import AveragePool1D, GlobalAveragePool, GlobalMaxPool, GlobalSum, GlobalVariance, MaxPool1D
from .recurrent import GRU, LSTM, SimpleRNN
from .scan import Scan
from .time import Crop1D, First, Flatten, Last, Pad1D, Reverse, Unflatten

if TYPE_CHECKING:
    from ..graph import Graph, GraphBuilder, Output

__all__ = [
    "FUNCTIONS",
    "GRU",
    "LSTM",
    "Activation",
    "Add",
    "Affine",
    "Attention",
    "AveragePool1D",
    "BatchNormalization",
    "Concatenate",
    "Conv1D",
    "Conv2D",
    "ConvTranspose1D",
    "Crop1D",
    "Dense",
    "Divide",
    "Embedding",
    "Equal",
    "Expand",
    "FeatureMax",
    "First",
    "Flatten",
    "Function",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "GlobalSum",
    "GlobalVariance",
    "Graph",
    "GraphBuilder",
    "Greater",
    "GreaterEqual",
    "Input",
    "Last",
    "Layer",
    "LayerNormalization",
    "LogSoftmax",
    "MaxPool1D",
    "Maximum",
    "Multiply",
    "NotEqual",
    "Output",
    "Pad1D",
    "Reshape",
    "Reverse",
    "Scan",
    "Select",
    "SimpleRNN",
    "Softmax",
    "TensorSpec",
    "TimeDistributed",
    "Unflatten",
    "Where",
]

if not TYPE_CHECKING:  # a type checker that saw it would take every misspelt name for one of the graph's

    def __getattr__(name):
        """The graph's own classes, which stand on the layers: found when first asked for."""
        if name not in ("Graph", "GraphBuilder", "Output"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from .. import graph

        return getattr(graph, name)
