"""Elementwise functions by name: the activations of layers and cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import ShapeError, UnsupportedModelError, did_you_mean
from .record import Value

if TYPE_CHECKING:
    from ..annotations import record
else:
    from .record import record

#: Activation functions by name, with the names of their parameters. ``hard_sigmoid`` is relu6(x + 3) / 6
#: (Keras 3, PyTorch); ``hard_sigmoid_keras2`` is clip(0.2 x + 0.5, 0, 1) (Keras 1 and 2, TensorFlow 1).
#: ``above`` is 1 where x > threshold, else 0, also for NaN.
FUNCTIONS: dict[str, tuple[str, ...]] = {
    "linear": (),
    "relu": (),
    "leaky_relu": ("slope",),
    "clipped_relu": ("maximum",),
    "tanh": (),
    "sigmoid": (),
    "hard_sigmoid": (),
    "hard_sigmoid_keras2": (),
    "hard_tanh": (),
    "exponential": (),
    "elu": ("alpha",),
    "selu": (),
    "silu": (),
    "hard_silu": (),
    "softsign": (),
    "gelu_tanh": (),
    "gelu": (),
    "softplus": (),
    "log_sigmoid": (),
    "mish": (),
    "celu": ("alpha",),
    "soft_shrink": ("threshold",),
    "hard_shrink": ("threshold",),
    "at_least": ("minimum",),
    "at_most": ("maximum",),
    "above": ("threshold",),
    "abs": (),
    "square": (),
    "sqrt": (),
    "reciprocal": (),
    "log": (),
    "sin": (),
    "cos": (),
    "erf": (),
}


@record
class Function(Value):
    """An elementwise activation: a name of FUNCTIONS and its parameters."""

    name: str
    parameters: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.name not in FUNCTIONS:
            raise UnsupportedModelError(
                f"the activation {self.name!r} is not supported",
                expected=f"one of {', '.join(FUNCTIONS)}",
                fix=did_you_mean(self.name, FUNCTIONS),
            )
        object.__setattr__(self, "parameters", tuple(float(p) for p in self.parameters))
        if len(self.parameters) != len(FUNCTIONS[self.name]):
            raise ShapeError(
                f"the activation {self.name!r} has the wrong number of parameters",
                expected=f"{len(FUNCTIONS[self.name])} {FUNCTIONS[self.name]}",
                found=f"{self.parameters}",
            )

    @property
    def pair(self) -> tuple[str, float]:
        """(name, parameter), as the engine takes it."""
        return self.name, self.parameters[0] if self.parameters else 0.0

    def __str__(self) -> str:
        return (
            f"{self.name}({', '.join(f'{p:g}' for p in self.parameters)})" if self.parameters else self.name
        )


def function(value: Function | str | Sequence[Any]) -> Function:
    """A Function from a Function, a name, or a (name, *parameters) sequence."""
    if isinstance(value, Function):
        return value
    if isinstance(value, str):
        return Function(value)
    return Function(value[0], tuple(value[1:]))


LINEAR, TANH, SIGMOID = Function("linear"), Function("tanh"), Function("sigmoid")
