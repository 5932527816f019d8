"""What layers share that make a frame of several frames: convolutions and pools."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ShapeError
from .base import Layer, TensorSpec


class Window(Layer):
    """A layer whose output frame is made of ``span`` input frames, ``stride`` apart, with ``padding``
    around.
    """

    emits, whole, mask_rule = "each", False, "drop"

    @property
    def keeps(self) -> str:
        return "nothing" if self.span == self.stride == 1 else "frames"

    @property
    def lengths(self) -> str:
        return "keeps" if self.span == self.stride == 1 and self.padding == (0, 0) else "moves"

    def padding_fields(self, x: TensorSpec) -> dict[str, Any]:
        """The engine's words for ``padding``. ``needs_length``: how many zeros stand in front depends on the
        length.
        """
        if self.padding != "same":
            return {"pad_left": self.padding[0], "pad_right": self.padding[1]}
        if x.length is not None:
            left, right = same_padding(x.length, self.span, self.stride)
            return {"pad_left": left, "pad_right": right}
        lefts = {same_padding(self.span + k, self.span, self.stride)[0] for k in range(1, self.stride + 1)}
        return {"same": 1, "pad_left": min(lefts), "needs_length": len(lefts) > 1}


def windows(layer: Window, length: int | None, span: int) -> int | None:
    """Frames a window of ``span`` makes of ``length`` frames under the layer's stride and padding; None stays
    None.
    """
    if length is None:
        return None
    if layer.padding == "same":
        return -(-length // layer.stride)
    made = (length + sum(layer.padding) - span) // layer.stride + 1
    if made < 1:
        raise ShapeError(
            "the sequence is shorter than the window",
            where=layer.where,
            expected=f"at least {span - sum(layer.padding)} frames",
            found=str(length),
        )
    return made


def same_padding(length: int, span: int, stride: int) -> tuple[int, int]:
    """(left, right) zeros of Keras's "same" for a sequence of ``length``: the extra one on the right."""
    total = max((-(-length // stride) - 1) * stride + span - length, 0)
    return total // 2, total - total // 2


def checked_padding(layer: Layer, padding: Any) -> tuple[int, int] | str:
    """``padding`` as (left, right) or "same"; ShapeError otherwise."""
    if padding == "same":
        return padding
    if (
        isinstance(padding, (tuple, list))
        and len(padding) == 2
        and all(isinstance(p, (int, np.integer)) and 0 <= p <= 1 << 24 for p in padding)
    ):
        return (int(padding[0]), int(padding[1]))
    raise ShapeError("padding must be 'same' or (left, right)", where=layer.where, found=repr(padding))
