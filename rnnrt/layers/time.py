"""Layers that change which frames there are, and none of their numbers."""

from __future__ import annotations

from typing import Any, ClassVar

from ..errors import ShapeError
from .base import Layer, TensorSpec, layer_class, no_fields
from .pool import GlobalMaxPool


@layer_class
class Last(GlobalMaxPool):
    """The last frame: x[:, -1]."""

    kind: ClassVar[str] = "last"
    span, keeps = 1, "nothing"  # it holds back the newest frame, and needs no older one


@layer_class
class Reverse(Layer):
    """The frames in reverse order; and so is a mask of them."""

    kind: ClassVar[str] = "reverse"
    engine_fields = no_fields
    span, stride, padding = None, 1, (0, 0)
    emits, keeps, whole, lengths, mask_rule = "each", "frames", True, "moves", "own"

    def infer(self, x: TensorSpec) -> tuple[TensorSpec, ...]:
        return (self._frames(x),)


@layer_class
class Flatten(Layer):
    """All frames of a sequence of fixed length as one value, frame after frame: (time, *features) -> (time *
    features,).
    """

    kind: ClassVar[str] = "flatten"
    span, stride, padding = None, 1, (0, 0)
    emits, keeps, whole, lengths, mask_rule = "end", "frames", False, "moves", "drop"

    def infer(self, x: TensorSpec) -> tuple[TensorSpec, ...]:
        if self._frames(x).length is None:
            raise ShapeError(
                "a sequence can be flattened only when its length is fixed",
                where=self.where,
                found=str(x),
                fix="Give the model's input a fixed length.",
            )
        return (TensorSpec((x.length * x.width,), False),)

    def engine_fields(self, x: TensorSpec) -> dict[str, Any]:
        return {"length": x.length}


@layer_class
class Unflatten(Layer):
    """A value given once as a sequence of ``length`` frames: (length * features,) -> (length, features)."""

    length: int = 1
    kind: ClassVar[str] = "unflatten"
    span, stride, padding = 1, 1, (0, 0)
    emits, keeps, whole, lengths, mask_rule = "length", "frames", False, "keeps", "drop"

    def check(self) -> None:
        self._positive("length")

    def infer(self, x: TensorSpec) -> tuple[TensorSpec, ...]:
        if x.time or len(x.features) != 1 or x.width % self.length:
            raise ShapeError(
                "the input cannot be cut into frames",
                where=self.where,
                expected=f"(batch, {self.length} * features)",
                found=str(x),
            )
        return (TensorSpec((x.width // self.length,), True, self.length),)

    def engine_fields(self, x: TensorSpec) -> dict[str, Any]:
        return {"length": self.length}
