"""The recurrent cells the engine has kernels of its own for."""

from __future__ import annotations

import dataclasses
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import ShapeError, UnsupportedModelError
from .base import LEFT_OUT, Layer, TensorSpec, layer_class
from .function import SIGMOID, TANH
from .mask import check_masked_output
from .norm import normalising

if TYPE_CHECKING:
    from ..annotations import Elementwise, OptionalWeights, Weights, Work


@layer_class
class Recurrent(Layer):
    """What the three cells share. Inputs: x, then optionally the initial state (h, and c for an LSTM),
    without time; one left out is zero. Frames of several axes, (bins, features) say, are read along the last
    one: every bin is a sequence of its own, of the same weights, and so is a bin of the states.

    ``reverse``: run from the last frame to the first; outputs stay at the frame they belong to, the final
    state is the one after frame 0. ``packed``: the lengths of a call count for it, as for an RNN over a
    packed sequence: outputs past a row's end are 0, its state stays, and the reverse direction starts at the
    row's end. ``norm``: where the cell's layer normalisation stands: "none"; "gates": each gate's
    pre-activation W x + U h + b is normalised over its own units (two-pass variance, ``epsilon`` inside the
    root), scaled by gamma and shifted by beta, both (gates * units,), before its activation; "joint": the
    same over all gates at once.

    ``mask``: reference of a sequence of one number a frame: where it is 0 the states stay what they were, in
    either direction, and the outputs at that frame are what ``masked_output`` says: "hold", the last output
    on the way that was not masked, zeros before the first (wherever the states start); or "zero".
    """

    weight: Weights = None
    recurrent_weight: Weights = None
    bias: OptionalWeights = None
    activation: Elementwise = TANH
    reverse: bool = False
    packed: bool = True
    norm: str = "none"
    gamma: OptionalWeights = None
    beta: OptionalWeights = None
    epsilon: float = 1e-3
    mask: str | None = dataclasses.field(default=None, metadata=LEFT_OUT)
    masked_output: str = dataclasses.field(default="hold", metadata=LEFT_OUT)
    gates: ClassVar[int] = 1
    states: ClassVar[tuple[str, ...]] = ("h",)
    extra_outputs: ClassVar[tuple[str, ...]] = ("h",)
    arrays: ClassVar[tuple[str, ...]] = ("weight", "recurrent_weight", "bias", "gamma", "beta")
    span, stride, padding = None, 1, (0, 0)
    emits, keeps, lengths, mask_rule = "each", "state", "honours", "pass"

    @property
    def whole(self) -> bool:
        return self.reverse

    @property
    def started(self) -> tuple[str, ...]:
        """States that an input sets at the beginning."""
        return self.states[: len(self.inputs) - 1]

    @property
    def units(self) -> int:
        return self.weight.shape[0] // self.gates

    @property
    def output_size(self) -> int:
        return self.units

    def check(self) -> None:
        self._expect_matrix("weight")
        rows = self.gates * self.units
        if rows != self.weight.shape[0] or not self.units:
            raise ShapeError(
                f"weight must have {self.gates} rows a unit", where=self.where, found=str(self.weight.shape)
            )
        if self.recurrent_weight is None:
            raise ShapeError("recurrent_weight is missing", where=self.where)
        self._expect("recurrent_weight", (rows, self.output_size), "gates * units rows, one column a unit")
        self._expect("bias", (rows,), "gates * units")
        if self.norm not in ("none", "gates", "joint") or (self.norm == "joint" and self.gates == 3):
            raise UnsupportedModelError(
                "this placement of the cell's normalisation is not supported",
                where=self.where,
                expected="none, gates, or joint (not for a GRU)",
                found=repr(self.norm),
            )
        if self.norm == "none" and (self.gamma is not None or self.beta is not None):
            raise ShapeError("gamma and beta are allowed only with norm", where=self.where)
        self._expect("gamma", (rows,), "gates * units")
        self._expect("beta", (rows,), "gates * units")
        if not (np.isfinite(self.epsilon) and self.epsilon >= 0):
            raise ShapeError(
                "epsilon must be finite and not negative", where=self.where, found=repr(self.epsilon)
            )
        check_masked_output(self.masked_output, self.where)

    def infer(self, x: TensorSpec, *initial: TensorSpec) -> tuple[TensorSpec, ...]:
        self._last(self._frames(x), self.weight.shape[1], "the weight")
        if len(initial) > len(self.states):
            raise ShapeError(
                "there are too many initial states",
                where=self.where,
                expected=f"at most {self.states}",
                found=f"{len(initial)} inputs",
            )
        sizes, bins = {"h": self.output_size, "c": self.units}, x.features[:-1]
        for state, signal in zip(self.states, initial):
            wanted = TensorSpec((*bins, sizes[state]), False)
            if signal != wanted:
                raise ShapeError(
                    f"the initial {state} does not fit",
                    where=self.where,
                    expected=str(wanted),
                    found=str(signal),
                )
        outputs = {
            "": dataclasses.replace(x, features=(*bins, self.output_size)),
            "cells": dataclasses.replace(x, features=(*bins, self.units)),
        }
        outputs |= {state: TensorSpec((*bins, sizes[state]), False) for state in self.states}
        return tuple(outputs[o] for o in ("",) + self.extra_outputs)

    def startable(self, x: TensorSpec, *initial: TensorSpec) -> dict[str, tuple[int, ...]]:
        sizes = {"h": self.output_size, "c": self.units}
        return {s: (*x.features[:-1], sizes[s]) for s in self.states[len(initial) :]}

    #: Operations of the cell on every unit's gates and states, the functions among them.
    cell_work: ClassVar[int] = 1

    def work(self, x: TensorSpec, *initial: TensorSpec) -> Work:
        rows = len(self.weight)  # of W x + U h + b
        joined = rows * (2 if self.bias is not None else 1)
        norm = 0 if self.norm == "none" else normalising(rows, self.gamma, self.beta)
        bins = prod(x.features[:-1])
        products = self.weight.size + self.recurrent_weight.size
        return bins * products, bins * (joined + norm + self.units * self.cell_work)

    def weights_read(self) -> tuple[int, int]:
        each = self.recurrent_weight.size
        return self.parameters - each, each

    def engine_fields(self, x: TensorSpec) -> dict[str, Any]:
        return {
            "units": self.units,
            "reverse": int(self.reverse),
            "unpacked": int(not self.packed),
            "norm": self.norm,
            "epsilon": self.epsilon,
            "activation": self.activation.pair,
            "recurrent_activation": self.activation.pair,
            "reset_after": 0,
            **{name: getattr(self, name) for name in self.arrays},
            **({"bins": prod(x.features[:-1])} if len(x.features) > 1 else {}),
        }


@layer_class
class SimpleRNN(Recurrent):
    """Elman cell: h' = activation(W x + U h + b). weight (units, in), recurrent_weight (units, units)."""

    kind: ClassVar[str] = "rnn"


@layer_class
class GRU(Recurrent):
    """Gates z r n; h' = (1 - z) n + z h. weight (3 units, in), recurrent_weight (3 units, units), bias (3
    units,).

    reset_after: n = act(Wn x + bn + r (Un h + recurrent_bias_n)) (PyTorch, Keras default, cuDNN); otherwise
    n = act(Wn x + Un (r h) + bn), which has no recurrent_bias (Cho et al. 2014; Keras reset_after=False).
    """

    recurrent_bias: OptionalWeights = None
    recurrent_activation: Elementwise = SIGMOID
    reset_after: bool = True
    kind: ClassVar[str] = "gru"
    gates: ClassVar[int] = 3
    cell_work: ClassVar[int] = 3 + 1 + 4  # gates; the reset; (1 - z) n + z h
    arrays: ClassVar[tuple[str, ...]] = Recurrent.arrays + ("recurrent_bias",)

    def check(self) -> None:
        super().check()
        self._expect("recurrent_bias", (3 * self.units,), "gates * units")
        if self.recurrent_bias is not None and not self.reset_after:
            raise ShapeError(
                "recurrent_bias exists only with reset_after", where=self.where, fix="Add it to bias."
            )

    def work(self, x: TensorSpec, *initial: TensorSpec) -> Work:
        products, others = super().work(x, *initial)
        bias = 0 if self.recurrent_bias is None else len(self.weight)
        return products, others + prod(x.features[:-1]) * bias

    def engine_fields(self, x: TensorSpec) -> dict[str, Any]:
        gates = {"recurrent_activation": self.recurrent_activation.pair, "reset_after": int(self.reset_after)}
        return super().engine_fields(x) | gates


@layer_class
class LSTM(Recurrent):
    """Gates i f g o; c' = f c + i g, h' = o act(c'), and with ``projection`` (out, units) h' = projection (o
    act(c')).

    weight (4 units, in), recurrent_weight (4 units, units or projected), bias (4 units,). ``cell_clip``: c'
    is kept between -cell_clip and cell_clip, as TFLite does; 0 for no bound.
    Further outputs: "h", "c" the final state, "cells" the cell state at every step.
    """

    projection: OptionalWeights = None
    recurrent_activation: Elementwise = SIGMOID
    cell_clip: float = dataclasses.field(default=0.0, metadata=LEFT_OUT)
    kind: ClassVar[str] = "lstm"
    gates: ClassVar[int] = 4
    cell_work: ClassVar[int] = 4 + 3 + 2  # gates; f c + i g; o act(c')
    states: ClassVar[tuple[str, ...]] = ("h", "c")
    extra_outputs: ClassVar[tuple[str, ...]] = ("h", "c", "cells")
    arrays: ClassVar[tuple[str, ...]] = Recurrent.arrays + ("projection",)

    @property
    def output_size(self) -> int:
        return self.units if self.projection is None else self.projection.shape[0]

    def check(self) -> None:
        if self.projection is not None:
            self._expect_matrix("projection")
            if self.projection.shape[1] != self.weight.shape[0] // 4:
                raise ShapeError(
                    "projection must have one column a unit",
                    where=self.where,
                    found=str(self.projection.shape),
                )
        if not (np.isfinite(self.cell_clip) and self.cell_clip >= 0):
            raise ShapeError(
                "cell_clip must be finite and not negative", where=self.where, found=repr(self.cell_clip)
            )
        super().check()

    def work(self, x: TensorSpec, *initial: TensorSpec) -> Work:
        products, others = super().work(x, *initial)
        clipped = 2 * self.units if self.cell_clip else 0
        projected = 0 if self.projection is None else self.projection.size
        bins = prod(x.features[:-1])
        return products + bins * projected, others + bins * clipped

    def weights_read(self) -> tuple[int, int]:
        once, each = super().weights_read()
        projected = 0 if self.projection is None else self.projection.size
        return once - projected, each + projected

    def engine_fields(self, x: TensorSpec) -> dict[str, Any]:
        gates = {"recurrent_activation": self.recurrent_activation.pair, "value": float(self.cell_clip)}
        return super().engine_fields(x) | gates
