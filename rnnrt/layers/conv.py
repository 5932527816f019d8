"""Convolution over time, its transpose, and convolution over time and the bins of a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import ShapeError
from .base import Layer, TensorSpec, after_product, layer_class, shape_text
from .function import LINEAR
from .window import Window, checked_padding, same_padding, windows

if TYPE_CHECKING:
    from ..annotations import Elementwise, OptionalWeights, Padding, Weights, Work


def check_taps(layer: Conv1D | Conv2D | ConvTranspose1D, axes: str = "out, tap, in per group") -> None:
    """Whether weight, with these axes, bias, stride, dilation and groups fit one another; raises
    ShapeError.
    """
    if layer.weight is None or layer.weight.ndim != axes.count(",") + 1 or 0 in layer.weight.shape:
        raise ShapeError(f"weight must be ({axes})", where=layer.where, found=shape_text(layer.weight))
    layer._positive("stride", "dilation", "groups")
    layer._expect("bias", layer.weight.shape[:1], "one per output")
    if layer.weight.shape[0] % layer.groups:
        raise ShapeError(
            "groups must divide the outputs",
            where=layer.where,
            found=f"{layer.weight.shape[0]} outputs, {layer.groups} groups",
        )
    if layer.span > 1 << 24:
        raise ShapeError(
            "the window is too long",
            where=layer.where,
            expected="at most 2**24 frames",
            found=f"{layer.span}",
        )


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
        check_taps(self)
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

    def work(self, x: TensorSpec) -> Work:
        return self.weight.size, after_product(self.bias, self.activation, len(self.weight))


@layer_class
class Conv2D(Window):
    """Cross-correlation over time and over the bins of a frame, which is (bins, channels). weight (out, tap,
    bin tap, in per group), bias (out,) or None.

    ``stride``, ``dilation`` and ``padding`` are those over time, as in Conv1D; ``bin_stride``,
    ``bin_dilation`` and ``bin_padding`` the same over bins: (left, right) zeros beside every frame, or
    "same" as Keras means it. A frame out is (bins, out).
    """

    weight: Weights = None
    bias: OptionalWeights = None
    stride: int = 1
    bin_stride: int = 1
    dilation: int = 1
    bin_dilation: int = 1
    groups: int = 1
    padding: Padding = (0, 0)
    bin_padding: Padding = (0, 0)
    activation: Elementwise = LINEAR
    kind: ClassVar[str] = "conv2d"
    arrays: ClassVar[tuple[str, ...]] = ("weight", "bias")

    def check(self) -> None:
        check_taps(self, "out, tap, bin tap, in per group")
        self._positive("bin_stride", "bin_dilation")
        if self.padding == "same" and self.stride == 1:  # as in Conv1D
            total = self.span - 1
            object.__setattr__(self, "padding", (total // 2, total - total // 2))
        for name in ("padding", "bin_padding"):
            object.__setattr__(self, name, checked_padding(self, getattr(self, name)))

    @property
    def span(self) -> int:
        """Frames between the first and the last tap, both counted."""
        return (self.weight.shape[1] - 1) * self.dilation + 1

    @property
    def bin_span(self) -> int:
        """Bins between the first and the last tap, both counted."""
        return (self.weight.shape[2] - 1) * self.bin_dilation + 1

    def beside(self, bins: int) -> tuple[int, int]:
        """Bins of zeros on the left and on the right of a frame of so many."""
        if self.bin_padding == "same":
            return same_padding(bins, self.bin_span, self.bin_stride)
        return self.bin_padding

    def infer(self, x: TensorSpec) -> tuple[TensorSpec, ...]:
        channels = self.weight.shape[3] * self.groups
        if len(self._frames(x).features) != 2 or x.features[1] != channels:
            raise ShapeError(
                "the input does not fit the weight and groups",
                where=self.where,
                expected=f"frames of (bins, {channels})",
                found=str(x),
            )
        left = x.features[0] + sum(self.beside(x.features[0])) - self.bin_span
        if left < 0:
            raise ShapeError(
                "a frame has fewer bins than the window",
                where=self.where,
                expected=f"at least {x.features[0] - left}",
                found=str(x.features[0]),
            )
        features = (left // self.bin_stride + 1, self.weight.shape[0])
        return (TensorSpec(features, True, windows(self, x.length, self.span)),)

    def engine_fields(self, x: TensorSpec) -> dict[str, Any]:
        left, right = self.beside(x.features[0])
        return {
            "kernel_size": self.weight.shape[1],
            "stride": self.stride,
            "dilation": self.dilation,
            "groups": self.groups,
            "bins": x.features[0],
            "bin_kernel_size": self.weight.shape[2],
            "bin_stride": self.bin_stride,
            "bin_dilation": self.bin_dilation,
            "bin_pad_left": left,
            "bin_pad_right": right,
            "weight": self.weight,
            "bias": self.bias,
            "activation": self.activation.pair,
        } | self.padding_fields(x)

    def work(self, x: TensorSpec) -> Work:
        bins = self.infer(x)[0].features[0]
        return bins * self.weight.size, bins * after_product(self.bias, self.activation, len(self.weight))


@layer_class
class ConvTranspose1D(Layer):
    """The transpose of a convolution: s[t * stride + tap * dilation] += W[tap] x[t], then the bias and the
    activation. weight (out, tap, in per group), bias (out,) or None.

    ``padding``: (left, right) of the (length - 1) * stride + span frames of s that are cut off; a right one
    below zero adds frames of the bias alone. PyTorch's is (padding, padding - output_padding). Or "same" as
    Keras means it: length * stride frames.
    """

    weight: Weights = None
    bias: OptionalWeights = None
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    padding: Padding = (0, 0)
    activation: Elementwise = LINEAR
    kind: ClassVar[str] = "conv_transpose1d"
    arrays: ClassVar[tuple[str, ...]] = ("weight", "bias")
    emits, whole, lengths, mask_rule = "many", False, "moves", "drop"

    def check(self) -> None:
        check_taps(self)
        padding = self.padding
        if padding == "same":
            left = max(self.span - self.stride, 0) // 2
            padding = (left, self.span - self.stride - left)
        if (
            not isinstance(padding, (tuple, list))
            or len(padding) != 2
            or not all(isinstance(p, (int, np.integer)) and abs(p) <= 1 << 24 for p in padding)
            or padding[0] < 0
        ):
            raise ShapeError(
                "padding must be 'same' or (left, right), left not below zero",
                where=self.where,
                found=repr(padding),
            )
        object.__setattr__(self, "padding", (int(padding[0]), int(padding[1])))

    @property
    def span(self) -> int:
        """Frames of the output that one frame of the input reaches, from the first to the last."""
        return (self.weight.shape[1] - 1) * self.dilation + 1

    @property
    def keeps(self) -> str:
        return "nothing" if self.span == self.stride == 1 and self.padding == (0, 0) else "frames"

    def frames_of(self, length: int) -> int:
        """Frames it makes of ``length`` frames; ShapeError where all are cut off."""
        made = (length - 1) * self.stride + self.span - sum(self.padding)
        if made < 1:
            raise ShapeError(
                "the sequence is so short that all of it is cut off",
                where=self.where,
                expected=f"at least {(sum(self.padding) - self.span) // self.stride + 2} frames",
                found=str(length),
            )
        return made

    def infer(self, x: TensorSpec) -> tuple[TensorSpec, ...]:
        self._width(self._frames(x), self.weight.shape[2] * self.groups, "the weight and groups")
        length = None if x.length is None else self.frames_of(x.length)
        return (TensorSpec(self.weight.shape[:1], True, length),)

    def engine_fields(self, x: TensorSpec) -> dict[str, Any]:
        return {
            "kernel_size": self.weight.shape[1],
            "stride": self.stride,
            "dilation": self.dilation,
            "groups": self.groups,
            "pad_left": self.padding[0],
            "pad_right": self.padding[1],
            "weight": self.weight,
            "bias": self.bias,
            "activation": self.activation.pair,
        }

    def work(self, x: TensorSpec) -> Work:
        made = self.stride * len(self.weight)
        return self.weight.size, after_product(self.bias, self.activation, made)
