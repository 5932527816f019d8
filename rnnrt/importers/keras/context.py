"""One call of a Keras layer, as the functions that make graph layers of it see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ... import layers
from ...errors import ModelFileError, ResourceLimitError, UnsupportedModelError
from .config import Config, Description, Version
from .masks import Mask, Masks

#: Numbers that the layers of one network may be given without a file holding them: indices, factors, taps.
_MOST_SYNTHESIZED = 1 << 21


class Assumptions(list):
    """What was assumed of a network, line by line. ``synthesized``: how many numbers its layers were given
    that no file holds.
    """

    synthesized = 0


@dataclass
class LayerContext:
    """One call of one layer: where its graph layers are built, under which name, from which options and
    arrays.
    """

    builder: layers.GraphBuilder
    layer: Description
    name: str
    arrays: dict
    version: Version
    custom_objects: dict
    assumptions: Assumptions
    mask_values: Masks | None = None
    masks: Sequence[Mask | None] = ()  # of each input
    made_mask: Mask | None = None  # the layer's own, whatever its inputs have
    arguments: Sequence = ()  # of a keras.ops function: what it is called with, as the file has it
    truths: set[str] = field(default_factory=set)  # references that are truth values in Keras
    options: dict = field(default_factory=dict)  # of a function of TensorFlow: its named arguments
    importer: object = None  # the one that asks
    algebra: object = None  # what makes the operators of a live call
    config: Config = field(init=False)

    def __post_init__(self):
        self.config = Config(self.layer, self.version)

    @property
    def mask(self):
        """The reference to the first input's mask; None where there is none, or every frame is real."""
        return self.masks[0].reference() if self.masks and self.masks[0] else None

    def inside(self, layer, arrays, name=None) -> LayerContext:
        """The context of a layer or cell that this layer's config holds."""
        return LayerContext(
            self.builder,
            layer,
            name or self.name,
            arrays,
            self.version,
            self.custom_objects,
            self.assumptions,
            self.mask_values,
            self.masks,
            truths=self.truths,
            importer=self.importer,
        )

    def add(self, kind, *inputs, suffix="", **fields):
        return self.builder.add(kind, self.name + suffix, *inputs, **fields)

    def activated(self, kind, x, **fields):
        """A layer that applies the option ``activation`` to its own result."""
        function = self.config.activation("activation")
        if isinstance(function, str):
            return self.of_a_frame(function, self.add(kind, x, **fields), suffix=f".{function}")
        return self.add(kind, x, activation=function, **fields)

    def of_a_frame(self, word, x, suffix=""):
        """An activation that is not a function of one number."""
        kind = {"softmax": layers.Softmax, "log_softmax": layers.LogSoftmax}[word]
        if len(self.builder.signal(x).features) == 2:
            return self.over_bins(x, lambda bins: self.add(kind, bins, suffix=suffix))
        return self.add(kind, x, suffix=suffix)

    def over_bins(self, x, build):
        """``build`` of every frame, (bins, features), as a sequence of bins: a graph inside each frame."""
        bins, *features = self.builder.signal(x).features
        outer, self.builder = self.builder, layers.GraphBuilder()
        self.builder.output("y", build(self.builder.input("frame", features, length=bins)))
        graph, self.builder = self.builder.graph(), outer
        return self.add(layers.TimeDistributed, x, graph=graph)

    def array(self, role, *shape):
        """The array called ``role``, of ``shape``, where None stands for any size."""
        value = self.arrays.get(role)
        if not isinstance(value, np.ndarray):
            raise ModelFileError(f"the array {role} is missing", where=self.layer.where)
        if value.ndim != len(shape) or any(
            wanted not in (None, size) for wanted, size in zip(shape, value.shape)
        ):
            raise ModelFileError(
                f"the array {role} does not fit the options",
                where=self.layer.where,
                expected=str(tuple("any" if n is None else n for n in shape)),
                found=str(value.shape),
            )
        return value

    def bias(self, *shape):
        return self.array("bias", *shape) if self.config.flag("use_bias", True) else None

    def last_axis(self, x, option="axis", default=-1):
        """Refuses an ``axis`` option that is not the last axis of ``x``."""
        axes, signal = self.config.integers(option, default), self.builder.signal(x)
        rank = 1 + signal.time + len(signal.features)
        if axes not in ([-1], [rank - 1]):
            raise self.config.unsupported(option, axes, "the last axis")

    def channels_last(self):
        self.config.only("data_format", "channels_last", None)

    def synthesize(self, numbers):
        """Refuses a network whose options alone ask for more numbers than any should: the file holds none of
        them.
        """
        self.assumptions.synthesized += numbers
        if self.assumptions.synthesized > _MOST_SYNTHESIZED:
            raise ResourceLimitError(
                "the network would move or make too many numbers",
                where=self.layer.where,
                expected=f"at most {_MOST_SYNTHESIZED}, those of the layers before it counted",
            )
        return numbers

    def width(self, x):
        """Numbers in one frame; refuses more than any array here should have."""
        width = self.builder.signal(x).width
        if width > 1 << 24:
            raise ModelFileError(
                "the frames are too wide",
                where=self.layer.where,
                expected="at most 2**24 numbers",
                found=str(width),
            )
        return width

    def last(self, x):
        """Numbers along the last axis of a frame: one scale and offset each is an Affine."""
        self.width(x)
        return (self.builder.signal(x).features or (1,))[-1]

    def length(self, x):
        """The fixed number of frames of a sequence; refuses one that is not fixed."""
        signal = self.builder.signal(x)
        if not signal.time or signal.length is None or len(signal.features) > 1:
            raise UnsupportedModelError(
                "is supported only on sequences of fixed length",
                where=self.layer.where,
                expected="(batch, a fixed number, features)",
                found=str(signal),
            )
        return signal.length
