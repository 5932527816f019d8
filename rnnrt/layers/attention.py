"""Attention: frames of one sequence gather those of another, which may have a length of its own."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import ShapeError
from .base import LEFT_OUT, Layer, TensorSpec, aligned, layer_class
from .function import LINEAR

if TYPE_CHECKING:
    from ..annotations import Elementwise, OptionalWeights, Work

#: What the fourth input is: a mask of the keys, or numbers that are added to the scores of theirs.
KEY_INPUTS = ("mask", "added")


@layer_class
class Attention(Layer):
    """Every frame q[t] of the queries gathers the values: y[t] = sum over s of w[t, s] v[s], where w[t] is
    the softmax over s of score(q[t], k[s]).

    ``inputs``: queries (time, features), keys (other time, features), values (other time, values), and where
    there is one (other time, 1), as ``key_input`` says: a "mask", 0 at a key that is masked, or what is
    "added" to every score with that key. Keys and what is beside them have one length, and it need not be
    that of the queries.

    The score is a product, ``scale`` q · k, or with ``weight`` (features,) a sum: weight · activation(q + k)
    + bias; then ``score_activation`` of that. ``heads``: so many parts of the features of queries, keys and
    values, each with scores of its own, their answers side by side; a product's alone. The score of a masked
    key is ``masked_score``: minus infinity by default, so that it has no part, and where all are masked the
    answer is NaN. ``causal``: so is that of the keys behind the place of the query, counted from the first
    frame.
    """

    weight: OptionalWeights = None
    bias: OptionalWeights = None
    activation: Elementwise = LINEAR
    score_activation: Elementwise = LINEAR
    scale: float = 1.0
    heads: int = 1
    causal: bool = dataclasses.field(default=False, metadata=LEFT_OUT)
    key_input: str = "mask"
    masked_score: float | None = None  # None: minus infinity, which JSON has not
    kind: ClassVar[str] = "attention"
    arrays: ClassVar[tuple[str, ...]] = ("weight", "bias")
    span, stride, padding = None, 1, (0, 0)
    emits, keeps, whole, lengths, mask_rule = "each", "frames", True, "moves", "own"
    whole_inputs = 1

    def check(self) -> None:
        self._positive("heads")
        if len(self.inputs) not in (3, 4):
            raise ShapeError(
                "reads queries, keys, values and, where there is one, a mask of the keys",
                where=self.where,
                expected="3 or 4 inputs",
                found=str(len(self.inputs)),
            )
        if self.weight is None and (self.bias is not None or self.activation != LINEAR):
            raise ShapeError(
                "bias and activation are those of a score that is a sum: it needs a weight",
                where=self.where,
                expected="a weight, or neither of them",
            )
        if self.weight is not None and (self.weight.ndim != 1 or not self.weight.size or self.heads != 1):
            raise ShapeError(
                "weight must be (features,), and there is one head where the score is a sum",
                where=self.where,
                found=f"{self.weight.shape}, {self.heads} heads",
            )
        self._expect("bias", (1,), "of the score")
        if self.key_input not in KEY_INPUTS:
            raise ShapeError(
                "key_input is not known",
                where=self.where,
                expected=" or ".join(KEY_INPUTS),
                found=repr(self.key_input),
            )
        with np.errstate(over="ignore"):
            finite = np.isfinite(np.float32([self.scale, self.masked_score or 0.0]))
        if not finite.all():
            raise ShapeError(
                "scale and masked_score must be finite",
                where=self.where,
                found=f"{self.scale}, {self.masked_score}",
            )

    @property
    def mask_inputs(self) -> tuple[str, ...]:
        return self.inputs[3:] if self.key_input == "mask" else ()

    def infer(self, *signals: TensorSpec) -> tuple[TensorSpec, ...]:
        query, key, value, *mask = (self._frames(s) for s in signals)
        aligned(self, (key, value, *mask))
        if any(len(s.features) != 1 for s in signals[:3]):
            raise ShapeError("needs one feature axis", where=self.where, found=", ".join(map(str, signals)))
        fits = query.features == key.features and not (query.width % self.heads or value.width % self.heads)
        if self.weight is not None:
            fits &= query.width == self.weight.size
        if not fits or any(s.width != 1 for s in mask):
            raise ShapeError(
                "queries, keys, values, heads and mask do not fit one another",
                where=self.where,
                expected="queries and keys of one size, a mask of one number a frame",
                found=", ".join(map(str, signals)),
            )
        return (dataclasses.replace(query, features=value.features),)

    def engine_fields(self, x: TensorSpec) -> dict[str, Any]:
        return {
            "groups": self.heads,
            "weight": self.weight,
            "bias": self.bias,
            "activation": self.activation.pair,
            "recurrent_activation": self.score_activation.pair,
            "value": float(self.scale),
            "causal": int(self.causal),
            "adds": int(self.key_input == "added"),
            "masked_score": float("-inf") if self.masked_score is None else float(self.masked_score),
        }

    def work(self, query: TensorSpec, key: TensorSpec, value: TensorSpec, *mask: TensorSpec) -> Work:
        """Behind one query and, where the number of keys is open, one key."""
        keys = key.length or 1
        products = query.width + value.width
        others = self.heads * (4 + (self.score_activation != LINEAR) + (self.scale != 1))
        if self.weight is not None:
            others += query.width * (1 + (self.activation != LINEAR)) + (self.bias is not None)
        return keys * products, keys * (others + self.heads * len(mask))
