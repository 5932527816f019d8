"""Normalisation of frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import ShapeError
from .base import FrameByFrame, TensorSpec, layer_class, shape_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..annotations import OptionalWeights, Weights, Work


def repeated(array: NDArray[np.float32], x: TensorSpec) -> NDArray[np.float32]:
    """Numbers of the last axis for every number of a frame: the array itself where that is its only axis."""
    return array if len(x.features) == 1 else np.tile(array, x.width // array.size)


def normalising(numbers: int, *arrays: NDArray[np.float32] | None) -> int:
    """Operations of (x - mean) / deviation, and of the gamma and beta there are: the sum, the differences,
    their squares, the sum of these, the scale.
    """
    return numbers * (5 + sum(a is not None for a in arrays))


@layer_class
class BatchNormalization(FrameByFrame):
    """y = gamma (x - mean) / sqrt(variance + epsilon) + beta over the last axis, with the moving
    statistics.
    """

    mean: Weights = None
    variance: Weights = None
    gamma: OptionalWeights = None
    beta: OptionalWeights = None
    epsilon: float = 1e-3
    kind: ClassVar[str] = "batch_normalization"
    arrays: ClassVar[tuple[str, ...]] = ("mean", "variance", "gamma", "beta")

    def check(self) -> None:
        if self.mean is None or self.mean.ndim != 1 or not self.mean.size:
            raise ShapeError("mean must be (features,)", where=self.where, found=shape_text(self.mean))
        for name in ("variance", "gamma", "beta"):
            self._expect(name, self.mean.shape, "one per feature")
        if self.variance is None:
            raise ShapeError("variance is missing", where=self.where)
        if not (self.epsilon >= 0 and np.all(self.variance + np.float32(self.epsilon) > 0)):
            raise ShapeError("variance + epsilon must be positive", where=self.where)

    def infer(self, x: TensorSpec) -> tuple[TensorSpec, ...]:
        return (self._last(x, self.mean.size, "the statistics"),)

    @property
    def deviation(self) -> NDArray[np.float64]:
        """sqrt(variance + epsilon), in float64."""
        return np.sqrt(self.variance.astype(np.float64) + self.epsilon)

    @property
    def scale(self) -> NDArray[np.float64]:
        """gamma / sqrt(variance + epsilon), in float64."""
        return (1.0 if self.gamma is None else self.gamma) / self.deviation

    def affine(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(scale, offset) in float64, y = scale x + offset."""
        offset = -self.mean * self.scale
        return self.scale, offset if self.beta is None else offset + self.beta

    def engine_fields(self, x: TensorSpec) -> dict[str, Any]:
        """An affine of (x - mean) * scale + beta: with one offset in place of the mean, a mean far from zero
        would cost digits.
        """
        scale = np.ascontiguousarray(self.scale, np.float32)
        beta = np.zeros_like(scale) if self.beta is None else self.beta
        every = lambda a: repeated(a, x)
        return {"kind": "affine", "mean": every(self.mean), "gamma": every(scale), "beta": every(beta)}

    def work(self, x: TensorSpec) -> Work:
        return 0, 3 * x.width


@layer_class
class Affine(FrameByFrame):
    """y = scale x + offset over the last axis, feature by feature."""

    scale: Weights = None
    offset: Weights = None
    kind: ClassVar[str] = "affine"
    arrays: ClassVar[tuple[str, ...]] = ("scale", "offset")

    def check(self) -> None:
        if self.scale is None or self.scale.ndim != 1 or not self.scale.size or self.offset is None:
            raise ShapeError(
                "scale and offset must be (features,)", where=self.where, found=shape_text(self.scale)
            )
        self._expect("offset", self.scale.shape, "one per feature")

    def infer(self, x: TensorSpec) -> tuple[TensorSpec, ...]:
        return (self._last(x, self.scale.size, "scale"),)

    def engine_fields(self, x: TensorSpec) -> dict[str, Any]:
        return {"gamma": repeated(self.scale, x), "beta": repeated(self.offset, x)}

    def work(self, x: TensorSpec) -> Work:
        return 0, 2 * x.width


@layer_class
class LayerNormalization(FrameByFrame):
    """(x - mean) / sqrt(variance + epsilon) over a frame's features, times gamma plus beta; variance divides
    by N.
    """

    size: int = 0
    gamma: OptionalWeights = None
    beta: OptionalWeights = None
    epsilon: float = 1e-3
    kind: ClassVar[str] = "layer_normalization"
    arrays: ClassVar[tuple[str, ...]] = ("gamma", "beta")

    def check(self) -> None:
        self._positive("size")
        self._expect("gamma", (self.size,), "one per feature")
        self._expect("beta", (self.size,), "one per feature")
        if not (np.isfinite(self.epsilon) and self.epsilon >= 0):
            raise ShapeError(
                "epsilon must be finite and not negative", where=self.where, found=repr(self.epsilon)
            )

    def infer(self, x: TensorSpec) -> tuple[TensorSpec, ...]:
        return (self._width(x, self.size, "size"),)

    def engine_fields(self, x: TensorSpec) -> dict[str, Any]:
        return {"gamma": self.gamma, "beta": self.beta, "epsilon": self.epsilon}

    def work(self, x: TensorSpec) -> Work:
        return 0, normalising(x.width, self.gamma, self.beta)
