"""NAM's ConvNet: causal convolutions of two taps, each normalised and activated, and a product at the end."""

from __future__ import annotations

from ...layers import BatchNormalization, Dense
from ..captures import Net
from ..containers.json_file import Fields
from .parts import Weights, activate, activation_of, conv


def add_convnet(net: Net, config: Fields, weights: Weights, x: str) -> str:
    """The network of ``config`` over ``x``. A block's weights: the convolution, then its bias or, with
    batchnorm, mean, variance, gamma, beta and epsilon."""
    channels, dilations = config.count("channels"), config.counts("dilations")
    normalised, groups = config.flag("batchnorm"), config.count("groups", 1)
    activation = activation_of(config.any("activation"), config.place("activation"))
    outputs = config.count("out_channels", 1)
    y = x
    for k, dilation in enumerate(dilations):
        kernel = {"taps": 2, "dilation": dilation, "groups": groups}
        y = conv(net, weights, f"{k}.conv", y, channels, bias=not normalised, **kernel)
        if normalised:
            names = ("mean", "variance", "gamma", "beta")
            statistics = {name: weights.take(channels) for name in names}
            epsilon = float(weights.take(1)[0])
            y = net.add(BatchNormalization, f"{k}.norm", y, epsilon=epsilon, **statistics)
        y = activate(net, f"{k}.activation", y, activation)
    weight, bias = weights.take(outputs, channels), weights.take(outputs)
    return net.add(Dense, "head", y, weight=weight, bias=bias)
