"""Layers that join several inputs."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from ..errors import ShapeError
from .base import FrameByFrame, TensorSpec, aligned, layer_class, no_fields, no_work

if TYPE_CHECKING:
    from ..annotations import Work


@layer_class
class Concatenate(FrameByFrame):
    """The features of every input, side by side."""

    kind: ClassVar[str] = "concatenate"
    mask_rule: ClassVar[str] = "combine"
    engine_fields = no_fields
    work = no_work

    def infer(self, *signals: TensorSpec) -> tuple[TensorSpec, ...]:
        first = aligned(self, signals)
        if any(len(s.features) != 1 for s in signals):
            raise ShapeError(
                "concatenation needs one feature axis", where=self.where, found=", ".join(map(str, signals))
            )
        return (dataclasses.replace(first, features=(sum(s.width for s in signals),)),)


@layer_class
class Add(FrameByFrame):
    """The sum of the inputs, from the first to the last."""

    kind: ClassVar[str] = "add"
    mask_rule: ClassVar[str] = "combine"
    engine_fields = no_fields

    def infer(self, *signals: TensorSpec) -> tuple[TensorSpec, ...]:
        first = aligned(self, signals)
        if any(s.features != first.features for s in signals):
            raise ShapeError(
                "the inputs must have one shape", where=self.where, found=", ".join(map(str, signals))
            )
        return (first,)

    def work(self, *signals: TensorSpec) -> Work:
        return 0, (len(signals) - 1) * signals[0].width


@layer_class
class Multiply(Add):
    """The product of the inputs, from the first to the last."""

    kind: ClassVar[str] = "multiply"


@layer_class
class Maximum(Add):
    """The greatest of the inputs; NaN where one is NaN."""

    kind: ClassVar[str] = "maximum"


class _OfSome(Add):
    """A number of each of a fixed number of inputs."""

    kind: ClassVar[str] = ""
    count: ClassVar[int] = 2

    def infer(self, *signals: TensorSpec) -> tuple[TensorSpec, ...]:
        if len(signals) != self.count:
            raise ShapeError(
                "it has too many or too few inputs",
                where=self.where,
                expected=str(self.count),
                found=str(len(signals)),
            )
        return super().infer(*signals)


@layer_class
class Divide(_OfSome):
    """The first input divided by the second."""

    kind: ClassVar[str] = "divide"


@layer_class
class Greater(_OfSome):
    """1 where the first input is greater than the second, else 0."""

    kind: ClassVar[str] = "greater"


@layer_class
class GreaterEqual(_OfSome):
    """1 where the first input is not less than the second, else 0; 0 where one is NaN."""

    kind: ClassVar[str] = "greater_equal"


@layer_class
class Equal(_OfSome):
    """1 where the two inputs are equal, else 0."""

    kind: ClassVar[str] = "equal"


@layer_class
class Where(_OfSome):
    """The second input where the first is not 0, else the third."""

    kind: ClassVar[str] = "where"
    count: ClassVar[int] = 3

    def work(self, *signals: TensorSpec) -> Work:
        return 0, signals[0].width


@layer_class
class Expand(FrameByFrame):
    """At every frame of the first input, a sequence, the value that the second gives once."""

    kind: ClassVar[str] = "expand"
    engine_fields = no_fields
    work = no_work
    keeps = "frames"

    def infer(self, *signals: TensorSpec) -> tuple[TensorSpec, ...]:
        if [s.time for s in signals] != [True, False]:
            raise ShapeError(
                "needs a sequence, and a value given once",
                where=self.where,
                found=", ".join(map(str, signals)),
            )
        sequence, value = signals
        return (dataclasses.replace(sequence, features=value.features),)
