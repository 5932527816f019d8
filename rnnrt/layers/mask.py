"""Masks: which frames are real. A mask is a sequence of one number a frame, 1 real and 0 masked; a layer that
consults one names it in its field ``mask``.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import ShapeError
from .base import FrameByFrame, TensorSpec, layer_class

if TYPE_CHECKING:
    from ..annotations import Work

#: What a masked frame gives: the last output that was not masked (zeros before the first), or zeros.
MASKED_OUTPUTS = ("hold", "zero")


def check_masked_output(value: str, where: str) -> None:
    """ShapeError where the layer's ``masked_output`` is not one of MASKED_OUTPUTS."""
    if value not in MASKED_OUTPUTS:
        raise ShapeError(
            "masked_output must say what a masked frame gives",
            where=where,
            expected=" or ".join(map(repr, MASKED_OUTPUTS)),
            found=repr(value),
        )


@layer_class
class NotEqual(FrameByFrame):
    """1 where any number of a frame is not ``value`` (as float32), else 0: a mask of frames that are real."""

    value: float = 0.0
    kind: ClassVar[str] = "not_equal"
    mask_rule: ClassVar[str] = "drop"

    def check(self) -> None:
        with np.errstate(over="ignore"):
            value = float(np.float32(self.value))
        if not np.isfinite(value):
            raise ShapeError("value must be finite", where=self.where, found=repr(self.value))
        object.__setattr__(self, "value", value)

    def infer(self, x: TensorSpec) -> tuple[TensorSpec, ...]:
        return (dataclasses.replace(x, features=(1,)),)

    def engine_fields(self, x: TensorSpec) -> dict[str, Any]:
        return {"value": self.value}

    def work(self, x: TensorSpec) -> Work:
        return 0, x.width
