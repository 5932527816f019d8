"""What readers of captures of amplifiers and effects share: the graph that grows, within limits."""

from __future__ import annotations

import numpy as np

from ..errors import ModelFileError, ResourceLimitError
from ..format.graph_json import MAX_LAYERS
from ..graph import GraphBuilder
from ..layers import Activation, Add, Affine, Conv1D, Dense
from .operators.layers import taps_first

#: Numbers that the windows of all convolutions keep for one sequence (64 MiB): a capture keeps some ten
#: thousand.
MAX_KEPT = 1 << 24


class Net:
    """A GraphBuilder with limits, and what was assumed on the way."""

    def __init__(self, where):
        self.builder, self.where, self._kept = GraphBuilder(), where, 0
        self.assumptions: list[str] = []
        #: What stands before the names of layers: the place of a network inside another.
        self.prefix = ""

    def assume(self, text):
        if text not in self.assumptions:
            self.assumptions.append(text)

    def width(self, reference) -> int:
        return self.builder.signal(reference).width

    def add(self, kind, name, *inputs, **fields) -> str:
        if len(self.builder.layers) >= MAX_LAYERS:
            raise ResourceLimitError(
                "holds too many layers", where=self.where, expected=f"at most {MAX_LAYERS:,} in the graph"
            )
        return self.builder.add(kind, self.prefix + name, *inputs, **fields)

    def convolution(self, name, x, weight, bias=None, *, dilation=1, groups=1) -> str:
        """A causal convolution of weight (out, in per group, tap), the oldest tap first; of one tap and one
        group a product.
        """
        rows, columns, taps = weight.shape
        if columns * groups != self.width(x) or rows % groups:
            raise ModelFileError(
                "the channels and groups of a convolution do not fit",
                where=f"{self.where}, {self.prefix}{name}",
                expected=f"{self.width(x)} channels in",
                found=f"{columns} in each of {groups} groups, {rows} out",
            )
        if taps == groups == 1:
            return self.add(Dense, name, x, weight=weight[..., 0], bias=bias)
        past = (taps - 1) * dilation
        self._kept += past * self.width(x)
        if self._kept > MAX_KEPT:
            raise ResourceLimitError(
                "looks back too far",
                where=f"{self.where}, {self.prefix}{name}",
                expected=f"at most {MAX_KEPT:,} numbers of the past",
                found=f"{self._kept:,}",
            )
        fields = {"dilation": dilation, "groups": groups, "padding": (past, 0)}
        return self.add(Conv1D, name, x, weight=taps_first(weight), bias=bias, **fields)

    def prelu(self, name, x, slopes) -> str:
        """max(x, 0) + slope · min(x, 0), a slope for each channel or one for all."""
        if len(slopes) == 1:
            return self.add(Activation, name, x, activation=("leaky_relu", float(slopes[0])))
        if len(slopes) != self.width(x):
            raise ModelFileError(
                "a PReLU needs a slope for every channel",
                where=f"{self.where}, {self.prefix}{name}",
                expected=str(self.width(x)),
                found=str(len(slopes)),
            )
        above = self.add(Activation, f"{name}.above", x, activation="relu")
        below = self.add(Activation, f"{name}.below", x, activation=("at_most", 0.0))
        below = self.add(Affine, f"{name}.sloped", below, scale=slopes, offset=np.zeros(len(slopes)))
        return self.add(Add, name, above, below)
