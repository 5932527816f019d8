"""Pooling over a window or over all frames, feature by feature."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import ShapeError
from .base import LEFT_OUT, Layer, TensorSpec, layer_class, no_fields
from .window import Window, checked_padding, windows

if TYPE_CHECKING:
    from ..annotations import Padding, Work


@layer_class
class Pool1D(Window):
    """A window over time, feature by feature. ``padding`` as in Conv1D; "same" is Keras's."""

    size: int = 2
    stride: int = 2
    padding: Padding = (0, 0)

    @property
    def span(self) -> int:
        return self.size

    def check(self) -> None:
        self._positive("size", "stride")
        object.__setattr__(self, "padding", checked_padding(self, self.padding))
        if self.padding != "same" and max(self.padding) >= self.span:
            raise ShapeError(
                "padding must be smaller than the window", where=self.where, found=str(self.padding)
            )

    def infer(self, x: TensorSpec) -> tuple[TensorSpec, ...]:
        return (dataclasses.replace(self._frames(x), length=windows(self, x.length, self.span)),)

    def engine_fields(self, x: TensorSpec) -> dict[str, Any]:
        return {"kernel_size": self.size, "stride": self.stride, "dilation": 1} | self.padding_fields(x)

    def work(self, x: TensorSpec) -> Work:
        return 0, (self.size - 1) * x.width


@layer_class
class MaxPool1D(Pool1D):
    """The greatest in each window of frames ``dilation`` apart; padding never wins."""

    dilation: int = dataclasses.field(default=1, metadata=LEFT_OUT)
    kind: ClassVar[str] = "max_pool1d"

    @property
    def span(self) -> int:
        return (self.size - 1) * self.dilation + 1

    def check(self) -> None:
        self._positive("dilation")
        super().check()

    def engine_fields(self, x: TensorSpec) -> dict[str, Any]:
        return super().engine_fields(x) | {"dilation": self.dilation}


@layer_class
class AveragePool1D(Pool1D):
    """The mean of each window; ``count_padding``: padded zeros count too (PyTorch's default; Keras leaves
    them out).
    """

    count_padding: bool = False
    kind: ClassVar[str] = "average_pool1d"

    def engine_fields(self, x: TensorSpec) -> dict[str, Any]:
        return super().engine_fields(x) | {"count_padding": int(self.count_padding)}

    def work(self, x: TensorSpec) -> Work:
        return 0, self.size * x.width


@layer_class
class GlobalMaxPool(Layer):
    """The greatest over all frames."""

    kind: ClassVar[str] = "global_max_pool"
    engine_fields = no_fields
    span, stride, padding = None, 1, (0, 0)
    emits, keeps, whole, lengths, mask_rule = "end", "frames", False, "moves", "drop"

    def infer(self, x: TensorSpec) -> tuple[TensorSpec, ...]:
        return (dataclasses.replace(self._frames(x), time=False, length=None),)

    def work(self, x: TensorSpec) -> Work:
        return 0, x.width


@layer_class
class GlobalAveragePool(GlobalMaxPool):
    """The mean over all frames; with ``mask``, the reference of a sequence of one number a frame, over those
    where it is not 0 (over none: NaN).
    """

    mask: str | None = dataclasses.field(default=None, metadata=LEFT_OUT)
    kind: ClassVar[str] = "global_average_pool"


@layer_class
class GlobalSum(GlobalMaxPool):
    """The sum over all frames."""

    kind: ClassVar[str] = "global_sum"


@layer_class
class GlobalVariance(GlobalMaxPool):
    """The mean square of the differences from the mean over all frames; ``correction`` is taken from the
    number of frames it divides by (1: the unbiased estimate). NaN where that leaves none.
    """

    correction: float = 0.0
    kind: ClassVar[str] = "global_variance"

    def check(self) -> None:
        if not 0 <= self.correction <= 1 << 24:
            raise ShapeError(
                "correction must not be below zero", where=self.where, found=repr(self.correction)
            )

    def engine_fields(self, x: TensorSpec) -> dict[str, Any]:
        return {"value": self.correction}
