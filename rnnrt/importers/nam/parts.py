"""What the architectures of .nam files share: the flat list of weights, and activations by name.

Weights stand in the list in the order in which NeuralAmpModelerCore reads them: a convolution is (out, in per
group, tap), then its bias.
"""

from __future__ import annotations

from math import prod

import numpy as np

from ...errors import ModelFileError, UnsupportedModelError, did_you_mean
from ...layers import Activation, Add, Affine, Function, Multiply, Select
from ..captures import Net
from ..containers.json_file import Fields

#: Activations by NAM's names, and our own.
FUNCTIONS = {
    "Tanh": "tanh",
    "Hardtanh": "hard_tanh",
    "ReLU": "relu",
    "Sigmoid": "sigmoid",
    "SiLU": "silu",
    "Hardswish": "hard_silu",
    "Softsign": "softsign",
}
#: Those with a slope below zero, which is this where the file does not say it.
SLOPED, SLOPE = ("LeakyReLU", "PReLU"), 0.01
_FASTTANH = "It is an approximation of Tanh: write Tanh into the file if that may stand for it."


class Weights:
    """The flat list of a network's weights, taken from the front."""

    def __init__(self, fields: Fields):
        self.where = fields.place("weights")
        self._numbers = fields.array("weights", None)
        self._count, self._at = len(self._numbers), 0

    def take(self, *shape) -> np.ndarray:
        """The next numbers as an array; ModelFileError where there are not so many left."""
        count = prod(shape)
        if self._at + count > len(self._numbers):
            raise ModelFileError(
                "holds fewer numbers than the network has weights",
                where=self.where,
                expected=f"at least {self._at + count + self._count - len(self._numbers):,}",
                found=f"{self._count:,}",
            )
        self._at += count
        return self._numbers[self._at - count : self._at].reshape(shape)

    def take_last(self) -> float:
        """The number at the end of the list."""
        number = self._numbers[-1]
        self._numbers = self._numbers[:-1]
        return float(number)

    def end(self):
        left = len(self._numbers) - self._at
        if left:
            raise ModelFileError(
                "holds more numbers than the network has weights",
                where=self.where,
                expected=f"{self._count - left:,}",
                found=f"{self._count:,}",
            )


def conv(net: Net, weights, name, x, rows, *, taps=1, dilation=1, groups=1, bias=False) -> str:
    """A causal convolution out of the next weights."""
    if net.width(x) % groups:
        raise ModelFileError(
            "the groups of a convolution do not divide its channels",
            where=f"{net.where}, {net.prefix}{name}",
            expected=f"a divisor of {net.width(x)}",
            found=str(groups),
        )
    weight = weights.take(rows, net.width(x) // groups, taps)
    offsets = weights.take(rows) if bias else None
    return net.convolution(name, x, weight, offsets, dilation=dilation, groups=groups)


def activate(net: Net, name, x, activation) -> str:
    """``activation`` of ``x``, as ``activation_of`` read it."""
    if isinstance(activation, Function):
        return net.add(Activation, name, x, activation=activation)
    return net.prelu(name, x, activation)


def gated(net: Net, name, x, mode, activation, gate) -> str:
    """The first half x of the channels, activated (a) and weighted by p, the activated other half: "gated"
    a · p, "blended" a · p + x · (1 - p).
    """
    half = net.width(x) // 2
    signal = net.add(Select, f"{name}.signal", x, index=range(half))
    control = net.add(Select, f"{name}.control", x, index=range(half, 2 * half))
    activated = activate(net, f"{name}.activated", signal, activation)
    gate = activate(net, f"{name}.gate", control, gate)
    if mode == "gated":
        return net.add(Multiply, name, activated, gate)
    rest = net.add(Affine, f"{name}.rest", gate, scale=-np.ones(half), offset=np.ones(half))
    wet = net.add(Multiply, f"{name}.wet", activated, gate)
    return net.add(Add, name, wet, net.add(Multiply, f"{name}.dry", signal, rest))


def activation_of(value, where) -> Function | np.ndarray:
    """A Function, or the slopes of a PReLU, of an activation as the file has it: a name, or an object with a
    type.
    """
    fields = Fields({"type": value} if isinstance(value, str) else value, where)
    name = fields.text("type")
    if name not in FUNCTIONS and name not in SLOPED:
        raise UnsupportedModelError(
            f"the activation {name[:40]!r} is not supported",
            where=where,
            expected=f"one of {', '.join((*FUNCTIONS, *SLOPED))}",
            fix=_FASTTANH if name == "Fasttanh" else did_you_mean(name, (*FUNCTIONS, *SLOPED)),
        )
    slope = fields.number("negative_slope", SLOPE)
    slopes = fields.array("negative_slopes", None, default=None)
    fields.end()
    if name in FUNCTIONS:
        return Function(FUNCTIONS[name])
    if name == "PReLU" and slopes is not None:
        return slopes
    return Function("leaky_relu", (float(np.float32(slope)),))
