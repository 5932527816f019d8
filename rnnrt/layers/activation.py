"""Functions of a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import ShapeError
from .base import FrameByFrame, TensorSpec, after_product, layer_class, no_fields
from .function import LINEAR

if TYPE_CHECKING:
    from ..annotations import Elementwise, Work


@layer_class
class Activation(FrameByFrame):
    """An elementwise function of every number."""

    activation: Elementwise = LINEAR
    kind: ClassVar[str] = "activation"

    def infer(self, x: TensorSpec) -> tuple[TensorSpec, ...]:
        return (x,)

    def engine_fields(self, x: TensorSpec) -> dict[str, Any]:
        return {"activation": self.activation.pair}

    def work(self, x: TensorSpec) -> Work:
        return 0, after_product(None, self.activation, x.width)


@layer_class
class Softmax(FrameByFrame):
    """exp(x - max) / sum over a frame's features."""

    kind: ClassVar[str] = "softmax"
    engine_fields = no_fields

    def infer(self, x: TensorSpec) -> tuple[TensorSpec, ...]:
        if len(x.features) != 1:
            raise ShapeError("softmax needs one feature axis", where=self.where, found=str(x))
        return (x,)

    def work(self, x: TensorSpec) -> Work:
        return 0, 5 * x.width  # max, difference, e^, sum; division, or a difference again


@layer_class
class LogSoftmax(Softmax):
    """x - max - log(sum(exp(x - max))) over a frame's features."""

    kind: ClassVar[str] = "log_softmax"
