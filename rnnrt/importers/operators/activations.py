"""Operators that act on every number alone, and softmax, gates and dropout.

An elementwise activation is an operator of the name and with the parameters it has in a graph
(``graph.FUNCTIONS``); ``clip`` and ``gelu`` choose among them.
"""

from __future__ import annotations

from ...errors import UnsupportedModelError
from ...layers import FUNCTIONS, Activation, Function, Multiply, Select, Softmax
from .table import operator


def activated(net, x, function):
    """``x`` through a Function; the linear one adds no layer."""
    return x if function.name == "linear" else net.layered(x, Activation, activation=function)


def _elementwise(name, parameters):
    def lower(net, x, **values):
        return activated(net, x, Function(name, tuple(values.pop(p) for p in parameters), **values))

    return lower


for _name, _parameters in FUNCTIONS.items():
    operator(_name)(_elementwise(_name, _parameters))


def clipping(low, high) -> Function:
    """The Function that keeps numbers between ``low`` and ``high``, None for no bound."""
    if low is not None and low == 0 and high is None:
        return Function("relu")
    if low is not None and high is not None and (float(low), float(high)) == (-1.0, 1.0):
        return Function("hard_tanh")
    if low is not None and high is not None and low == 0 and float(high) > 0:
        return Function("clipped_relu", (float(high),))
    raise UnsupportedModelError(
        "clamp is supported from -1 to 1 and from 0 up", found=f"{_bound(low)} to {_bound(high)}"
    )


def _bound(value):
    return "none" if value is None else f"{float(value):g}"


@operator()
def clip(net, x, low=None, high=None):
    """Numbers kept between two bounds."""
    return activated(net, x, clipping(low, high))


def gelu_of(approximation) -> Function:
    """GELU: by tanh; the error function ("none") is not supported."""
    if approximation != "tanh":
        raise UnsupportedModelError(
            "GELU with the error function is not supported",
            expected="approximate='tanh'",
            found=repr(approximation),
        )
    return Function("gelu_tanh")


@operator()
def gelu(net, x, approximation):
    """GELU by its tanh approximation."""
    return activated(net, x, gelu_of(approximation))


@operator()
def softmax(net, x, axis=None):
    """Softmax over the features."""
    if axis is None or x.axes[net.axis(x, axis)] != "f":
        raise UnsupportedModelError("softmax is supported over the features", found=f"dim {axis} of {x}")
    return net.layered(x, Softmax)


@operator()
def glu(net, x, axis=-1):
    """a * sigmoid(b), a and b the halves of the features."""
    if x.axes[net.axis(x, axis)] != "f" or net.signal(x).width % 2:
        raise UnsupportedModelError(
            "glu is supported over an even number of features", found=f"dim {axis} of {x}"
        )
    half = net.signal(x).width // 2
    first = net.layered(x, Select, index=range(half))
    gate = activated(net, net.layered(x, Select, index=range(half, 2 * half)), Function("sigmoid"))
    return net.tensor(net.add(Multiply, first.reference, gate.reference), x.axes, x.clock)


@operator()
def dropout(net, x, rate, active):
    """The identity, as a trained model drops nothing; ``active``: whether the program drops all the same."""
    if active and rate:
        raise UnsupportedModelError(
            "drops out after eval(), too (training=True, its default)", fix="Give it training=self.training."
        )
    return x
