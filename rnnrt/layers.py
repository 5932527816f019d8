"""The layers a graph is built of, for building one by hand: see rnnrt.graph for what each computes."""

from .graph import (
    Activation, Add, Affine, AveragePool1D, BatchNormalization, Concatenate, Conv1D, Dense, Embedding, FUNCTIONS, Flatten,
    Function, GRU, GlobalAveragePool, GlobalMaxPool, Graph, GraphBuilder, Input, LSTM, Last, LayerNormalization, MaxPool1D,
    Multiply, Output, Reshape, Reverse, Select, SimpleRNN, Softmax, TimeDistributed, Unflatten,
)  # fmt: skip

__all__ = [
    "Activation", "Add", "Affine", "AveragePool1D", "BatchNormalization", "Concatenate", "Conv1D", "Dense", "Embedding",
    "FUNCTIONS", "Flatten", "Function", "GRU", "GlobalAveragePool", "GlobalMaxPool", "Graph", "GraphBuilder", "Input", "LSTM",
    "Last", "LayerNormalization", "MaxPool1D", "Multiply", "Output", "Reshape", "Reverse", "Select", "SimpleRNN", "Softmax",
    "TimeDistributed", "Unflatten",
]  # fmt: skip
