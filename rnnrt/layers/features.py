"""Layers that rearrange the features of each frame."""

from __future__ import annotations

import dataclasses
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import ShapeError, UnsupportedModelError
from .base import FrameByFrame, TensorSpec, layer_class, no_fields, no_work

if TYPE_CHECKING:
    from ..annotations import Sizes, Work
    from ..graph import Graph


@layer_class
class Reshape(FrameByFrame):
    """Another shape for each frame; the numbers and their order stay."""

    features: Sizes = ()
    kind: ClassVar[str] = "reshape"
    engine_fields = no_fields
    work = no_work

    def check(self) -> None:
        object.__setattr__(self, "features", tuple(int(n) for n in self.features))

    def infer(self, x: TensorSpec) -> tuple[TensorSpec, ...]:
        if prod(self.features) != x.width or any(n < 1 for n in self.features):
            raise ShapeError(
                "a frame cannot take this shape",
                where=self.where,
                expected=f"{x.width} numbers",
                found=str(self.features),
            )
        return (dataclasses.replace(x, features=self.features),)


@layer_class
class Select(FrameByFrame):
    """Features by number: y[k] = x[index[k]]. Slices, permutations and repeats of a frame's features."""

    index: Sizes = ()
    kind: ClassVar[str] = "select"
    work = no_work

    def check(self) -> None:
        object.__setattr__(self, "index", tuple(int(n) for n in self.index))

    def infer(self, x: TensorSpec) -> tuple[TensorSpec, ...]:
        if not self.index or len(x.features) != 1 or min(self.index) < 0 or max(self.index) >= x.width:
            raise ShapeError(
                "index is empty or out of range",
                where=self.where,
                expected=f"numbers below {x.width}",
                found=f"{self.index[:8]}",
            )
        return (dataclasses.replace(x, features=(len(self.index),)),)

    def engine_fields(self, x: TensorSpec) -> dict[str, Any]:
        return {"index": np.array(self.index, np.int32)}


@layer_class
class FeatureMax(FrameByFrame):
    """The greatest number of each frame; NaN where one is NaN."""

    kind: ClassVar[str] = "feature_max"
    engine_fields = no_fields

    def infer(self, x: TensorSpec) -> tuple[TensorSpec, ...]:
        if len(x.features) != 1:
            raise ShapeError("needs one feature axis", where=self.where, found=str(x))
        return (dataclasses.replace(x, features=(1,)),)

    def work(self, x: TensorSpec) -> Work:
        return 0, x.width


@layer_class
class TimeDistributed(FrameByFrame):
    """A whole graph run inside each frame: the frame's first axis is the inner graph's time (where it has
    one).
    """

    graph: Graph = None
    kind: ClassVar[str] = "time_distributed"

    def check(self) -> None:
        if len(self.graph.inputs) != 1 or len(self.graph.outputs) != 1:
            raise UnsupportedModelError(
                "the graph inside must have one input and one output", where=self.where
            )

    @property
    def parameters(self) -> int:
        return self.graph.parameters

    def infer(self, x: TensorSpec) -> tuple[TensorSpec, ...]:
        inner = self.graph.signals[self.graph.inputs[0]]
        wanted = ((inner.length,) if inner.time else ()) + inner.features
        if x.features != wanted:
            raise ShapeError(
                "the frames do not fit the graph inside",
                where=self.where,
                expected=f"frames of {wanted}",
                found=str(x),
            )
        made = self.graph.signals[self.graph.outputs[0].value]
        return (dataclasses.replace(x, features=((made.length,) if made.time else ()) + made.features),)

    def engine_fields(self, x: TensorSpec) -> dict[str, Any]:
        return {"inner": self.graph}

    def work(self, x: TensorSpec) -> Work:
        return self.graph.work()
