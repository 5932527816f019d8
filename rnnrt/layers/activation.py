"""Functions of a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import ShapeError
from .base import FrameByFrame, TensorSpec, layer_class, no_fields
from .function import LINEAR

if TYPE_CHECKING:
    from ..annotations import Elementwise


@layer_class
class Activation(FrameByFrame):
    """An elementwise function of every number."""

    activation: Elementwise = LINEAR
    kind: ClassVar[str] = "activation"

    def infer(self, x: TensorSpec) -> tuple[TensorSpec, ...]:
        return (x,)

    def engine_fields(self, x: TensorSpec) -> dict[str, Any]:
        return {"activation": self.activation.pair}


@layer_class
class Softmax(FrameByFrame):
    """exp(x - max) / sum over a frame's features."""

    kind: ClassVar[str] = "softmax"
    engine_fields = no_fields

    def infer(self, x: TensorSpec) -> tuple[TensorSpec, ...]:
        if len(x.features) != 1:
            raise ShapeError("softmax needs one feature axis", where=self.where, found=str(x))
        return (x,)


@layer_class
class LogSoftmax(Softmax):
    """x - max - log(sum(exp(x - max))) over a frame's features."""

    kind: ClassVar[str] = "log_softmax"
