"""Transposed convolutions over frames of several axes, as the decoders of 2-D front ends have them: the
convolution that they are over bins with zeros between and around them."""

from __future__ import annotations

import numpy as np

from ...errors import ShapeError, UnsupportedModelError
from ...layers import Conv2D, Pad1D, Reshape, Select
from ..axes.values import AxesError
from .fronts import _over_bins, image, picture
from .layers import _arrays
from .table import operator


@operator(apart=True)
def conv_transpose2d(
    net, x, weight, bias=None, stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1), groups=1
):
    """A transposed convolution over the last two axes, weight (in, out / groups, tap, tap). ``padding``:
    numbers (before, after) cut off of each axis, below 0 added. Time has a stride of one: each frame of more
    is refused.
    """
    arrays = _arrays(weight=weight, bias=bias)
    size = np.shape(arrays["weight"])
    if len(size) != 4 or size[0] % groups:
        raise ShapeError("weight must be (in, out / groups, tap, tap)", found=f"{size}, {groups} groups")
    reference, time, clock = image(net, x)
    own, other = time - 2, 3 - time
    channels = net.builder.signal(reference).features[-1]
    if channels != size[0]:
        raise AxesError("weight must fit the channels", expected=str(channels), found=str(size))
    if stride[own] != 1:
        raise UnsupportedModelError(
            "a transposed convolution of two axes is supported with a stride of one over time",
            found=f"stride {tuple(stride)} of {x}",
        )
    around = [tuple(dilation[k] * (size[2 + k] - 1) - n for n in padding[k]) for k in (0, 1)]
    if min(around[own]) < 0:
        raise UnsupportedModelError(
            "a transposed convolution that cuts off more frames than it adds is not supported",
            found=f"padding {padding[own]} over time",
        )
    taps = arrays["weight"].reshape(groups, size[0] // groups, *size[1:]).swapaxes(1, 2)
    taps = taps.reshape(groups * size[1], size[0] // groups, *size[2:])[:, :, ::-1, ::-1]
    arrays["weight"] = np.ascontiguousarray(taps.transpose((0, 2, 3, 1) if time == 2 else (0, 3, 2, 1)))
    reference = _apart(net, reference, stride[other], around[other])
    fields = {"dilation": dilation[own], "bin_dilation": dilation[other], "groups": groups}
    reference = net.add(Conv2D, reference, **arrays, **fields, padding=around[own], bin_padding=(0, 0))
    return picture(net, reference, net.after(clock, reference), time)


def _apart(net, reference, stride, around):
    """Frames (bins, channels) with stride - 1 bins of zeros between two, and (before, after) around them; a
    number below zero takes bins off.
    """
    bins, channels = net.builder.signal(reference).features
    if stride == 1 and around == (0, 0):
        return reference
    order = np.full((bins - 1) * stride + 1, bins)  # the bin behind the last one is made of zeros
    order[::stride] = np.arange(bins)
    order = np.pad(order, [max(n, 0) for n in around], constant_values=bins)
    order = order[max(-around[0], 0) : len(order) - max(-around[1], 0)]
    if not len(order):
        raise ShapeError("the transposed convolution leaves no bin", found=f"{bins} bins")
    reference = _over_bins(net, reference, Pad1D, before=0, after=1)
    reference = net.add(Reshape, reference, features=((bins + 1) * channels,))
    index = order[:, None] * channels + np.arange(channels)
    reference = net.add(Select, reference, index=index.ravel())
    return net.add(Reshape, reference, features=(len(order), channels))
