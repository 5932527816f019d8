"""The layers a graph is built of, one file a family, and what builds a graph of them by hand."""

from typing import TYPE_CHECKING

from .activation import Activation, LogSoftmax, Softmax
from .base import Layer, TensorSpec
from .conv import Conv1D, ConvTranspose1D
from .dense import Dense, Embedding
from .features import Reshape, Select, TimeDistributed
from .function import FUNCTIONS, Function
from .input import Input
from .mask import NotEqual
from .merge import Add, Concatenate, Multiply
from .norm import Affine, BatchNormalization, LayerNormalization
from .pool import AveragePool1D, GlobalAveragePool, GlobalMaxPool, MaxPool1D
from .recurrent import GRU, LSTM, SimpleRNN
from .scan import Scan
from .time import Flatten, Last, Reverse, Unflatten

if TYPE_CHECKING:
    from ..graph import Graph, GraphBuilder, Output

__all__ = [
    "FUNCTIONS",
    "GRU",
    "LSTM",
    "Activation",
    "Add",
    "Affine",
    "AveragePool1D",
    "BatchNormalization",
    "Concatenate",
    "Conv1D",
    "ConvTranspose1D",
    "Dense",
    "Embedding",
    "Flatten",
    "Function",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Graph",
    "GraphBuilder",
    "Input",
    "Last",
    "Layer",
    "LayerNormalization",
    "LogSoftmax",
    "MaxPool1D",
    "Multiply",
    "NotEqual",
    "Output",
    "Reshape",
    "Reverse",
    "Scan",
    "Select",
    "SimpleRNN",
    "Softmax",
    "TensorSpec",
    "TimeDistributed",
    "Unflatten",
]

if not TYPE_CHECKING:  # a type checker that saw it would take every misspelt name for one of the graph's

    def __getattr__(name):
        """The graph's own classes, which stand on the layers: found when first asked for."""
        if name not in ("Graph", "GraphBuilder", "Output"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from .. import graph

        return getattr(graph, name)
