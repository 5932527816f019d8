"""Convolution over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import ShapeError
from .base import TensorSpec, layer_class, shape_text
from .function import LINEAR
from .window import Window, checked_padding, windows

if TYPE_CHECKING:
    from ..annotations import Elementwise, OptionalWeights, Padding, Weights


@layer_class
class Conv1D(Window):
    """Cross-correlation over time. weight (out, tap, in per group), bias (out,) or None.

    ``padding``: (left, right) zeros, or "same" as Keras and TensorFlow mean it: ceil(length / stride) frames
    out, and where the padding is odd the extra zero on the right. Causal padding is (dilation * (taps - 1),
    0).
    """

    weight: Weights = None
    bias: OptionalWeights = None
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    padding: Padding = (0, 0)
    activation: Elementwise = LINEAR
    kind: ClassVar[str] = "conv1d"
    arrays: ClassVar[tuple[str, ...]] = ("weight", "bias")

    def check(self) -> None:
        if self.weight is None or self.weight.ndim != 3 or 0 in self.weight.shape:
            raise ShapeError(
                "weight must be (out, tap, in per group)", where=self.where, found=shape_text(self.weight)
            )
        self._positive("stride", "dilation", "groups")
        self._expect("bias", self.weight.shape[:1], "one per output")
        if self.weight.shape[0] % self.groups:
            raise ShapeError(
                "groups must divide the outputs",
                where=self.where,
                found=f"{self.weight.shape[0]} outputs, {self.groups} groups",
            )
        if self.span > 1 << 24:
            raise ShapeError(
                "the window is too long",
                where=self.where,
                expected="at most 2**24 frames",
                found=f"{self.span}",
            )
        if (
            self.padding == "same" and self.stride == 1
        ):  # stated once and for all: it does not depend on the length
            total = self.span - 1
            object.__setattr__(self, "padding", (total // 2, total - total // 2))
        object.__setattr__(self, "padding", checked_padding(self, self.padding))

    @property
    def span(self) -> int:
        """Frames between the first and the last tap, both counted."""
        return (self.weight.shape[1] - 1) * self.dilation + 1

    def infer(self, x: TensorSpec) -> tuple[TensorSpec, ...]:
        self._width(self._frames(x), self.weight.shape[2] * self.groups, "the weight and groups")
        return (TensorSpec(self.weight.shape[:1], True, windows(self, x.length, self.span)),)

    def startable(self, x: TensorSpec) -> dict[str, tuple[int, ...]]:
        """The frame that stands before the first in place of the zeros of a padding on the left."""
        return {"window": x.features} if self.padding != "same" and self.padding[0] else {}

    def engine_fields(self, x: TensorSpec) -> dict[str, Any]:
        return {
            "kernel_size": self.weight.shape[1],
            "stride": self.stride,
            "dilation": self.dilation,
            "groups": self.groups,
            "weight": self.weight,
            "bias": self.bias,
            "activation": self.activation.pair,
        } | self.padding_fields(x)
