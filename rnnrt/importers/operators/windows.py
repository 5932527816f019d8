"""Operators that show a tensor by its windows: each number beside those that follow it along an axis."""

from __future__ import annotations

from math import prod

import numpy as np

from ...errors import ShapeError, UnsupportedModelError
from ...layers import Conv1D
from ..axes import slots
from ..axes.slots import Slots, slots_of
from ..axes.values import AxesError
from .places import axis_of, unsqueeze
from .table import apply, operator

#: Most multiply-adds a frame that windows over time may take: they are a convolution whose taps are 0 and 1.
_MOST = 1 << 24


@operator(apart=True)
def windows(net, x, axis, size, step=1):
    """The windows of ``size`` along an axis, ``step`` from one to the next, as a last axis behind; what does
    not fill a window is left out.
    """
    x = slots_of(net, x)
    place = axis_of(x, axis)
    if any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in (size, step)):
        raise UnsupportedModelError("size and step must be numbers above 0", found=f"{size}, {step}")
    if x.axes[place] == "t":
        return _of_time(net, x, size, step)
    if x.axes[place] != "n":
        raise AxesError("windows can be taken of time and features", found=f"axis {axis} of {x}")
    if x.places.shape[place] < size:
        raise ShapeError("the axis is shorter than a window", expected=f"at least {size}", found=str(x))
    seen = np.lib.stride_tricks.sliding_window_view(x.places, size, place)
    return x.seen((*x.axes, "n"), seen[(slice(None),) * place + (slice(None, None, step),)])


def _of_time(net, x, size, step):
    width = x.places.size
    if width * size * size > _MOST:
        raise UnsupportedModelError(
            "so long windows of so many numbers are not supported", found=f"{size} of {x}"
        )
    taps = np.tile(np.eye(size, dtype=np.float32), (width, 1))[:, :, None]
    reference = net.add(Conv1D, slots.picked(net, x), weight=taps, stride=step, groups=width)
    clock = net.after(x.clock, reference)
    net.sequences.setdefault(clock, reference)
    places = np.arange(width * size).reshape(*x.places.shape, size)
    return Slots((*x.axes, "n"), places, (reference,), (width * size,), clock)


@operator(apart=True)
def unfold2d(net, x, kernel, stride=(1, 1), padding=(0, 0), dilation=(1, 1)):
    """The windows of the last two axes of (batch, channels, ., .), zeros put around them first: (batch,
    channels * taps, places), both in row-major order.
    """
    if any(padding):
        x = apply(net, "pad", x=x, widths=(padding[1], padding[1], padding[0], padding[0]))
    x = slots_of(net, x)
    if len(x.axes) != 4 or x.axes[:2] != ("b", "n") or "b" in "".join(x.axes[1:]):
        raise AxesError("a picture has four axes", expected="(batch, channels, ., .)", found=str(x))
    parts = []
    for k in range(kernel[0]):
        row = _every(net, x, 2, k, kernel[0], stride[0], dilation[0])
        parts += [_every(net, row, 3, m, kernel[1], stride[1], dilation[1]) for m in range(kernel[1])]
    taps = [unsqueeze(net, slots_of(net, part), 2) for part in parts]
    x = slots.joined(net, taps, 2)
    channels, first, second = prod(x.places.shape[1:3]), *x.places.shape[3:]
    letters = "".join(x.axes[3:])
    ones = {"tn": second, "nt": first}.get(letters) == 1  # time alone is what is left
    axes = ("b", "n", "n" if letters == "nn" else "t" if ones else letters)
    return x.seen(axes, x.places.reshape(1, channels, first * second))


def _every(net, x, place, tap, taps, stride, dilation):
    """What tap number ``tap`` sees along an axis."""
    behind = (taps - 1 - tap) * dilation
    if x.axes[place] == "n" and x.places.shape[place] <= (taps - 1) * dilation:
        raise ShapeError("the axis is shorter than a window", found=str(x))
    return apply(net, "slice", x=x, axis=place, start=tap * dilation, end=-behind or None, step=stride)
