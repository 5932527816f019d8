"""Where signals enter."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, ClassVar

from ..errors import ShapeError
from .base import FrameByFrame, TensorSpec, axes_fit, layer_class, no_fields, no_work

if TYPE_CHECKING:
    from ..annotations import References, Sizes


@layer_class
class Input(FrameByFrame):
    """A graph input. ``axes`` is the source's order of b(atch), t(ime) and f(eatures), e.g. "btf" or "bft";
    of a frame of several axes "f" stands for all of them, or for one each.

    ``ids``: whole numbers for an Embedding.
    """

    inputs: References = ()
    features: Sizes = ()
    time: bool = True
    length: int | None = None
    ids: bool = False
    axes: str = "btf"
    kind: ClassVar[str] = "input"
    engine_fields = no_fields
    work = no_work

    def check(self) -> None:
        object.__setattr__(self, "features", tuple(int(n) for n in self.features))
        if any(n < 1 or n > 1 << 24 for n in self.features) or prod(self.features) > 1 << 24:
            raise ShapeError(
                "an input's sizes must be from 1 to 2**24", where=self.where, found=str(self.features)
            )
        if self.length is not None:
            self._positive("length")
            if not self.time:
                raise ShapeError("an input without a time axis has no length", where=self.where)
        if not self.time and self.axes == "btf":
            object.__setattr__(self, "axes", "bf")
        if not axes_fit(self.axes, TensorSpec(self.features, self.time)):
            raise ShapeError(
                "axes must name each axis once",
                where=self.where,
                expected="btf" if self.time else "bf",
                found=self.axes,
            )

    def infer(self) -> tuple[TensorSpec, ...]:
        return (TensorSpec(self.features, self.time, self.length),)
