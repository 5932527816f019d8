"""Operators that act on every number alone, and gates and dropout.

An elementwise activation is an operator of the name and with the parameters it has in a graph
(``graph.FUNCTIONS``); ``clip`` and ``gelu`` choose among them.
"""

from __future__ import annotations

import math

import numpy as np

from ...errors import UnsupportedModelError
from ...layers import FUNCTIONS, Activation, Affine, Function, Multiply, Select
from ..axes.values import AxesError, Constant, Tensor, shown
from .arithmetic import add, multiply, subtract
from .table import apply, operator


def activated(net, x, *functions):
    """``x`` through Functions, one after the other; the linear one adds no layer."""
    for function in functions:
        x = x if function.name == "linear" else net.layered(x, Activation, activation=function)
    return x


def _elementwise(name, parameters):
    def lower(net, x, **values):
        return activated(net, x, Function(name, tuple(values.pop(p) for p in parameters), **values))

    return lower


for _name, _parameters in FUNCTIONS.items():
    operator(_name, truth="kept" if _name == "abs" else "numbers")(_elementwise(_name, _parameters))


def clipping(low, high) -> tuple[Function, ...]:
    """The Functions that keep numbers between ``low`` and ``high``, None for no bound."""
    low, high = (_bound(value) for value in (low, high))
    if low == 0 and high is None:
        return (Function("relu"),)
    if (low, high) == (-1.0, 1.0):
        return (Function("hard_tanh"),)
    if low == 0 and high is not None and high > 0:
        return (Function("clipped_relu", (high,)),)
    made = [Function("at_least", (low,))] if low is not None else []
    return (*made, *([Function("at_most", (high,))] if high is not None else []))


def _bound(value):
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise UnsupportedModelError("a bound of clamp must be a number", found=str(value))
    if math.isnan(value):
        raise UnsupportedModelError("a bound of clamp must be a number", found="NaN")
    return float(value)


@operator()
def clip(net, x, low=None, high=None):
    """Numbers kept between two bounds; where low is above high they are all high."""
    return activated(net, x, *clipping(low, high))


def gelu_of(approximation) -> Function:
    """GELU: exact ("none"), or by tanh."""
    if approximation not in ("none", "tanh"):
        raise UnsupportedModelError(
            "the approximation of GELU is not known", expected="'none' or 'tanh'", found=repr(approximation)
        )
    return Function("gelu_tanh" if approximation == "tanh" else "gelu")


@operator("gelu")
def gelu(net, x, approximation):
    """GELU, exact or by its tanh approximation."""
    return activated(net, x, gelu_of(approximation))


#: Beyond it log(1 + exp(x)) and x are the same float32.
SOFTPLUS_ENDS = 17


@operator("softplus")
def softplus(net, x, beta=1, threshold=20):
    """log(1 + exp(beta x)) / beta, and x where beta x is above the threshold."""
    beta = positive(beta, "the beta of softplus")
    scaled = x if beta == 1 else multiply(net, x, beta)
    y = activated(net, scaled, Function("softplus"))
    y = y if beta == 1 else multiply(net, y, 1.0 / beta)
    if threshold >= SOFTPLUS_ENDS:
        return y
    above = apply(net, "greater", a=scaled, b=float(threshold))
    return apply(net, "where", condition=above, a=x, b=y)


def positive(value, name) -> float:
    """The parameter of an activation that is only meant above 0."""
    if not value > 0:
        raise UnsupportedModelError(f"{name} must be above 0", found=str(value))
    return float(value)


@operator("celu")
def celu(net, x, alpha):
    """x above 0, alpha (exp(x / alpha) - 1) below."""
    return activated(net, x, Function("celu", (positive(alpha, "the alpha of CELU"),)))


@operator()
def random_leaky_relu(net, x, lower=1 / 8, upper=1 / 3, active=False):
    """leaky_relu with a slope drawn between two bounds in training: at inference their mean."""
    if active:
        raise UnsupportedModelError("draws its slope after eval(), too (training=True)")
    return activated(net, x, Function("leaky_relu", ((lower + upper) / 2,)))


@operator()
def prelu(net, x, slope):
    """x above 0, slope · x below; one slope, or one for each of the features on the second axis."""
    slopes = np.asarray(slope.array if isinstance(slope, Constant) else slope, np.float64)
    if slopes.size == 1:
        return activated(net, x, Function("leaky_relu", (float(slopes.reshape(())),)))
    if len(x.axes) < 2 or x.axes[1] != "f" or slopes.shape != (net.signal(x).width,):
        raise AxesError(
            "a slope for each channel needs the channels on the second axis",
            expected=f"(batch, {slopes.size}, ...)",
            found=f"{x}, {slopes.shape} slopes",
        )
    below = net.layered(
        activated(net, x, Function("at_most", (0.0,))), Affine, scale=slopes, offset=0 * slopes
    )
    return add(net, activated(net, x, Function("relu")), below)


@operator()
def root_reciprocal(net, x):
    """1 / sqrt(x)."""
    return activated(net, x, Function("sqrt"), Function("reciprocal"))


@operator()
def log_of_one_more(net, x):
    """log(1 + x)."""
    return activated(net, add(net, x, 1.0), Function("log"))


@operator()
def exponential_less_one(net, x):
    """exp(x) - 1."""
    return add(net, activated(net, x, Function("exponential")), -1.0)


@operator()
def log_to_base(net, x, base):
    """The logarithm of x to a base."""
    return multiply(net, activated(net, x, Function("log")), 1.0 / math.log(base))


@operator(truth="kept")
def sign(net, x):
    """1 above 0, -1 below, else 0."""
    above, below = activated(net, x, Function("above", (0.0,))), multiply(net, x, -1.0)
    return subtract(net, above, activated(net, below, Function("above", (0.0,))))


@operator()
def power(net, a, b):
    """a to the power of b, b a whole number or ±0.5; or a number to the power of a tensor."""
    if not isinstance(a, Tensor) and isinstance(b, Tensor):
        if isinstance(a, bool) or not isinstance(a, (int, float)) or not a > 0:
            raise UnsupportedModelError("only a number above 0 can be raised to a tensor", found=str(a))
        return activated(net, multiply(net, b, math.log(a)), Function("exponential"))
    exponent = float(b) if isinstance(b, (int, float)) and not isinstance(b, bool) else math.nan
    whole = exponent.is_integer() and 1 <= abs(exponent) <= 64
    if not isinstance(a, Tensor) or not (whole or abs(exponent) == 0.5):
        raise UnsupportedModelError(
            "this power is not supported",
            expected="a whole number up to 64, 0.5, or the inverse of these",
            found=shown(b),
        )
    y = a if whole else activated(net, a, Function("sqrt"))
    if whole:
        y = _whole_power(net, a, int(abs(exponent)))
    return y if exponent > 0 else activated(net, y, Function("reciprocal"))


def _whole_power(net, x, n):
    if n == 1:
        return x
    half = _whole_power(net, x, n // 2)
    even = activated(net, half, Function("square"))
    return multiply(net, even, x) if n % 2 else even


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


@operator(truth="kept")
def dropout(net, x, rate, active):
    """The identity, as a trained model drops nothing; ``active``: whether the program drops all the same."""
    if active and rate:
        raise UnsupportedModelError(
            "drops out after eval(), too (training=True, its default)", fix="Give it training=self.training."
        )
    return x
