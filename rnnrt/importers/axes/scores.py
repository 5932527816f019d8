"""Numbers of every frame of one sequence with every frame of another: what a program makes of two sequences
of open length on its way to attention.

No sequence of a graph holds them, so that they are followed until they meet the values: then all of it is one
Attention layer (operators/attention.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from ...errors import UnsupportedModelError
from ...layers import Function
from .sizes import Clock, Size
from .slots import Slots
from .values import AxesError, Tensor

#: What an axis is in a message.
_WORDS = {"b": "batch", "x": "time", "y": "time of the other"}


class Beside(NamedTuple):
    """What stands beside the frames of one of the two sequences: as Attention's ``key_input`` says, of
    ``letter``; ``value``: the score of a masked frame, None for minus infinity.
    """

    what: str
    letter: str
    reference: str
    value: float | None = None


@dataclass(frozen=True, eq=False)
class Scores:
    """``axes``: "b", "x" and "y", the frames of the two sequences, "h" heads, "f" numbers of a pair, "1".
    ``references``, ``clocks``: of the frames whose features were multiplied, heads side by side, or added.

    ``stage``: "sums": q + k, ``width`` numbers a pair, through ``activation`` and times ``factor`` where
    these are said; "scores"; what a softmax over ``keys`` is made of: their "greatest", the scores "less"
    that, "exponentials", their "total"; "weights". ``of``: what a greatest or a total was made of.
    ``weight``, ``bias``, ``scale``, ``score_activation``: as in Attention; a product's ``bias`` is one that
    its softmax does not see.
    """

    axes: tuple[str, ...]
    references: dict[str, str]
    clocks: dict[str, Clock]
    stage: str = "scores"
    heads: int = 1
    width: int = 1
    activation: Function | None = None
    factor: np.ndarray | None = None
    weight: np.ndarray | None = None
    bias: float = 0.0
    scale: float = 1.0
    score_activation: Function | None = None
    beside: Beside | None = None
    causal: bool = False
    keys: str | None = None
    of: Scores | None = None
    root: object = field(default_factory=object, repr=False)

    def __str__(self):
        words = _WORDS | {"h": str(self.heads), "f": str(self.width)}
        axes = ", ".join(words.get(a, a) for a in self.axes)
        return f"({axes}), the {self.stage} of every frame with every other"

    def seen(self, axes):
        """The same numbers with other axes."""
        return replace(self, axes=tuple(axes))

    def axis(self, number):
        """The place that an axis number means, of these axes."""
        if (
            isinstance(number, bool)
            or not isinstance(number, int)
            or not -len(self.axes) <= number < len(self.axes)
        ):
            raise AxesError(f"dim must be a number of an axis of {self}", found=str(number))
        return number % len(self.axes)

    def as_an_answer(self, fix):
        """The refusal of them as an answer."""
        return UnsupportedModelError(
            f"the {self.stage} of two sequences of open length cannot be an answer, only what they make of "
            "values can",
            found=str(self),
            fix=fix,
        )

    def sizes(self):
        """The size of each axis."""
        open_ = {"b": Size(("b",)), **{a: Size((("t", clock),)) for a, clock in self.clocks.items()}}
        known = {"h": self.heads, "f": self.width, "1": 1}
        return [open_.get(a) or known[a] for a in self.axes]


#: What a value of a program may be that depends on its inputs.
VALUES = (Tensor, Slots, Scores)
