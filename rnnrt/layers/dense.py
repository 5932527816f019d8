"""Products with a matrix, frame by frame."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import ShapeError
from .base import FrameByFrame, TensorSpec, after_product, aligned, layer_class, no_work
from .function import LINEAR

if TYPE_CHECKING:
    from ..annotations import Elementwise, OptionalWeights, Weights, Work


@layer_class
class Dense(FrameByFrame):
    """y = activation(W x + b), on every frame; with a second input r of y's width, activation(r + (W x + b)).
    weight (out, in), bias (out,) or None.
    """

    weight: Weights = None
    bias: OptionalWeights = None
    activation: Elementwise = LINEAR
    kind: ClassVar[str] = "dense"
    arrays: ClassVar[tuple[str, ...]] = ("weight", "bias")

    def check(self) -> None:
        self._expect_matrix("weight")
        self._expect("bias", self.weight.shape[:1], "one per output")

    def infer(self, x: TensorSpec, *added: TensorSpec) -> tuple[TensorSpec, ...]:
        self._width(x, self.weight.shape[1], "the weight")
        if len(added) > 1:
            raise ShapeError("adds more than one input", where=self.where, found=", ".join(map(str, added)))
        for r in added:
            self._width(r, self.weight.shape[0], "what it is added to")
            x = aligned(self, (x, r))
        return (dataclasses.replace(x, features=(self.weight.shape[0],)),)

    def engine_fields(self, x: TensorSpec) -> dict[str, Any]:
        return {"weight": self.weight, "bias": self.bias, "activation": self.activation.pair}

    def work(self, x: TensorSpec, *added: TensorSpec) -> Work:
        outputs = len(self.weight)
        return self.weight.size, after_product(self.bias, self.activation, outputs) + len(added) * outputs


@layer_class
class Embedding(FrameByFrame):
    """Row ``id`` of a table. weight (ids, out); the input is one id a frame."""

    weight: Weights = None
    kind: ClassVar[str] = "embedding"
    mask_rule: ClassVar[str] = "drop"  # a mask of its own is NotEqual of the ids
    arrays: ClassVar[tuple[str, ...]] = ("weight",)
    work = no_work

    def check(self) -> None:
        self._expect_matrix("weight")

    def infer(self, x: TensorSpec) -> tuple[TensorSpec, ...]:
        if x.width != 1:
            raise ShapeError(
                "an embedding takes one id a frame", where=self.where, expected="(batch, time)", found=str(x)
            )
        return (dataclasses.replace(x, features=(self.weight.shape[1],)),)

    def engine_fields(self, x: TensorSpec) -> dict[str, Any]:
        return {"weight": self.weight, "length": self.weight.shape[0]}

    def weights_read(self) -> tuple[int, int]:
        return 0, self.weight.shape[1]
