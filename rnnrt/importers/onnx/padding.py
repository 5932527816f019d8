"""The Pad of ONNX: zeros before and after frames, numbers around a picture, copies of frames."""

from __future__ import annotations

import dataclasses

import numpy as np

from ...errors import ModelFileError, ShapeError, UnsupportedModelError
from ..axes.sizes import Size
from ..axes.slots import slots_of
from ..axes.values import Tensor
from ..operators.table import apply
from .folding import plain_integers
from .moves import MOVES, length_of, picked, position_of, sizes_of


def pad(net, own, x, pads=None, value=None, axes=None):
    """Zeros before and after the frames, or copies of a frame of numbers by place."""
    pads = (own.get("pads") or own.get("paddings")) if pads is None else plain_integers(pads, "pads")
    value = own.get("value", 0.0) if value is None else np.asarray(value).item()
    axes = list(range(len(x.axes))) if axes is None else plain_integers(axes, "axes")
    if len(pads) != 2 * len(axes):
        raise ModelFileError("pads must have two numbers an axis", found=str(pads))
    mode = own.get("mode", "constant")
    if len(x.axes) == 4 and mode == "constant" and (made := _padded_picture(net, x, pads, axes, value)):
        return made
    for k, axis in enumerate(axes):
        before, after, position = pads[k], pads[k + len(axes)], position_of(x, axis)
        if before or after:
            x = _padded(net, x, position, before, after, mode, value)
    return x


def _padded_picture(net, x, pads, axes, value):
    """Numbers around the last two axes of a picture; None where something else is asked."""
    by = {position_of(x, axis): (pads[k], pads[k + len(axes)]) for k, axis in enumerate(axes)}
    around = [by.get(k, (0, 0)) for k in range(4)]
    bins = [k for k in (2, 3) if x.axes[k] != "t"]
    others = any(any(pair) for pair in around[:2])
    if x.axes[0] != "b" or "t" not in x.axes[2:] or others or not any(around[bins[0]]):
        return None
    if min(n for pair in around for n in pair) < 0:
        return None
    return apply(net, "pad", x=slots_of(net, x), widths=(*around[3], *around[2]), value=float(value))


def _padded(net, x, position, before, after, mode, value):
    size = sizes_of(net, x)[position]
    axis = x.axes[position]
    length = length_of(net, x) if axis == "t" else size
    if min(before, after) < 0:
        raise UnsupportedModelError(
            "padding by less than nothing is not supported", found=f"{before}, {after}"
        )
    if mode == "constant":
        if axis != "t" or value:
            raise UnsupportedModelError(
                "only zeros before and after the frames can be padded", found=f"{value:g} on an axis of {x}"
            )
        if not isinstance(x, Tensor):
            raise UnsupportedModelError("frames with several axes cannot be padded", found=str(x))
        return dataclasses.replace(x, padding=(x.padding[0] + before, x.padding[1] + after))
    if mode not in ("reflect", "edge", "wrap"):
        raise ModelFileError("is not a mode of padding", found=repr(mode))
    if length is None or isinstance(length, Size):
        raise UnsupportedModelError(
            f"padding with {mode} needs a fixed number of frames", found=str(x), fix=net.advice["length"]
        )
    if max(before, after) >= length and mode == "reflect" or max(before, after) > length:
        raise ShapeError("the padding is longer than what it repeats", found=f"{before}, {after} of {length}")
    index = np.pad(np.arange(length), (before, after), {"edge": "edge", "wrap": "wrap"}.get(mode, "reflect"))
    return picked(net, x, position, index)


MOVES["Pad"] = pad
