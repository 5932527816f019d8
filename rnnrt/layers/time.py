"""Layers that change which frames there are, and none of their numbers."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np

from ..errors import ShapeError
from .base import Layer, TensorSpec, layer_class, no_fields, no_work
from .pool import GlobalMaxPool
from .window import Window, windows


@layer_class
class Last(GlobalMaxPool):
    """The last frame: x[:, -1]."""

    kind: ClassVar[str] = "last"
    work = no_work
    span, keeps = 1, "nothing"  # it holds back the newest frame, and needs no older one


@layer_class
class First(GlobalMaxPool):
    """The first frame: x[:, 0]."""

    kind: ClassVar[str] = "first"
    work = no_work


@layer_class
class Crop1D(Window):
    """The frames without the first ``before`` and the last ``after``, of those every ``stride``-th:
    x[:, before : time - after : stride].
    """

    before: int = 0
    after: int = 0
    stride: int = 1
    padding = (0, 0)
    kind: ClassVar[str] = "crop"
    work = no_work

    @property
    def span(self) -> int:
        return self.before + self.after + 1

    def check(self) -> None:
        self._positive("stride")
        check_ends(self, "before", "after")

    def infer(self, x: TensorSpec) -> tuple[TensorSpec, ...]:
        return (dataclasses.replace(self._frames(x), length=windows(self, x.length, self.span)),)

    def engine_fields(self, x: TensorSpec) -> dict[str, Any]:
        return {
            "kernel_size": self.span,
            "stride": self.stride,
            "pad_left": self.before,
            "pad_right": self.after,
        }


#: What Pad1D makes up frames of.
PAD_MODES = ("constant", "replicate", "reflect", "circular")


@layer_class
class Pad1D(Window):
    """``before`` frames made up before the first and ``after`` behind the last: of ``value``, of the frame at
    that end, of the frames next to it in reverse order ("reflect": the frame at the end stands once), or of
    those of the other end ("circular": the sequence goes on there; no more than it has).
    """

    before: int = 0
    after: int = 0
    mode: str = "constant"
    value: float = 0.0
    kind: ClassVar[str] = "pad"
    work = no_work
    stride = 1

    @property
    def whole(self) -> bool:
        return self.mode == "circular"

    @property
    def span(self) -> int | None:
        """Of the window a frame is copied from: what is reflected waits as long as it is."""
        if self.mode == "circular":
            return None
        if self.mode == "reflect":
            return max(2 * self.before, self.after + 1 if self.after else 0) + 1
        return 2 if self.mode == "replicate" and self.after else 1

    @property
    def padding(self) -> tuple[int, int]:
        """Of that window."""
        if self.mode == "circular":
            return 0, 0
        if self.mode == "reflect":
            return self.span - 1 - self.before, 2 * self.before + self.after
        return self.before + self.span - 1, self.after

    def check(self) -> None:
        check_ends(self, "before", "after")
        if self.mode not in PAD_MODES:
            raise ShapeError(
                "mode is not known", where=self.where, expected=", ".join(PAD_MODES), found=repr(self.mode)
            )
        if not np.isfinite(np.float32(self.value)):
            raise ShapeError("value must be finite", where=self.where, found=repr(self.value))

    def infer(self, x: TensorSpec) -> tuple[TensorSpec, ...]:
        more = {"reflect": 1, "circular": 0}.get(self.mode)
        least = 1 if more is None else max(self.before, self.after, 1 - more) + more
        if self._frames(x).length is not None and x.length < least:
            raise ShapeError(
                "the sequence is shorter than what is copied from it",
                where=self.where,
                expected=f"at least {least} frames",
                found=str(x.length),
            )
        length = None if x.length is None else x.length + self.before + self.after
        return (dataclasses.replace(x, length=length),)

    def engine_fields(self, x: TensorSpec) -> dict[str, Any]:
        return {
            "kind": f"pad_{self.mode}",
            "kernel_size": self.span or 1,
            "pad_left": self.before,
            "pad_right": self.after,
            "value": self.value,
        }


def check_ends(layer: Layer, *names: str) -> None:
    """ShapeError where a number of frames at an end is not one."""
    for name in names:
        value = getattr(layer, name)
        if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or not 0 <= value <= 1 << 22:
            raise ShapeError(
                f"{name} must be a whole number from 0 to {1 << 22}", where=layer.where, found=repr(value)
            )


@layer_class
class Reverse(Layer):
    """The frames in reverse order; and so is a mask of them."""

    kind: ClassVar[str] = "reverse"
    engine_fields = no_fields
    work = no_work
    span, stride, padding = None, 1, (0, 0)
    emits, keeps, whole, lengths, mask_rule = "each", "frames", True, "moves", "own"

    def infer(self, x: TensorSpec) -> tuple[TensorSpec, ...]:
        return (self._frames(x),)


@layer_class
class Flatten(Layer):
    """All frames of a sequence of fixed length as one value, frame after frame: ``(time, *features)`` ->
    ``(time * features,)``.
    """

    kind: ClassVar[str] = "flatten"
    work = no_work
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
    work = no_work
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
