"""Layers that join several inputs."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from ..errors import ShapeError
from .base import FrameByFrame, TensorSpec, aligned, layer_class, no_fields


@layer_class
class Concatenate(FrameByFrame):
    """The features of every input, side by side."""

    kind: ClassVar[str] = "concatenate"
    mask_rule: ClassVar[str] = "combine"
    engine_fields = no_fields

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


@layer_class
class Multiply(Add):
    """The product of the inputs, from the first to the last."""

    kind: ClassVar[str] = "multiply"
