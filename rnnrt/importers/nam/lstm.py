"""NAM's LSTM: a stack of LSTMs with states of its own to begin with, and a product at the end."""

from __future__ import annotations

from ...layers import LSTM, Dense
from ..captures import Net
from ..containers.json_file import Fields
from .parts import Weights


def add_lstm(net: Net, config: Fields, weights: Weights, x: str) -> str:
    """The network of ``config`` over ``x``. A layer's weights: (4 units, in + units) over its input and its
    h, gates i f g o; the bias; h and c to begin with."""
    if config.count("input_size") != net.width(x):
        raise config.refuse("input_size", f"{net.width(x)}, the channels of the input", "another number")
    units, layers = config.count("hidden_size"), config.count("num_layers")
    outputs = config.count("out_channels", 1)
    y = x
    for k in range(layers):
        inputs = net.width(y)
        weight, bias = weights.take(4 * units, inputs + units), weights.take(4 * units)
        fields = {"weight": weight[:, :inputs], "recurrent_weight": weight[:, inputs:], "bias": bias}
        y = net.add(LSTM, f"lstm.l{k}", y, **fields)
        for state in ("h", "c"):
            net.builder.start[f"{y}/{state}"] = weights.take(units)
    weight, bias = weights.take(outputs, units), weights.take(outputs)
    return net.add(Dense, "head", y, weight=weight, bias=bias)
