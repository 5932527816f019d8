"""Broadcasting: tensors of a program whose axes stand for one another as NumPy has it, as signals of one
shape.

An axis of size one, or one that is missing in front, stands for any. Over time the value of one frame, given
once, is repeated beside every frame of another tensor; over features one number is copied.
"""

from __future__ import annotations

import dataclasses

from ...layers import Expand, Last, Reshape, Select
from .values import AxesError, LengthError, UnsupportedModelError


def together(tensors):
    """Whether tensors have a frame for every frame of the others, given inputs of one length."""
    return len({x.clock and x.clock[1:] for x in tensors}) <= 1


def of_one_length(net, tensors):
    """Whether the program takes its numbers of frames for numbers, and these are the same."""
    lengths = {net.signal(x).length for x in tensors}
    return net.known and len(lengths) == 1 and None not in lengths


def _one_frame(net, x):
    """A sequence of one frame as that frame, its time an axis of size one."""
    if x.clock is None or x.clock.stride or x.clock.span != 1 or "t" not in x.axes:
        return x
    axes = tuple("1" if a == "t" else a for a in x.axes)
    return dataclasses.replace(x, references=(net.add(Last, x.reference),), axes=axes, clock=None)


def other_frames(net, shown):
    """The refusal of a join whose tensors have as many frames for some lengths of the input alone."""
    return LengthError("the tensors run over different frames", found=shown, fix=net.advice["length"])


def broadcast(net, *tensors):
    """The tensors with the same axes, features and frames; raises where they do not fit one another."""
    tensors = [net.single(x) for x in tensors]
    if not together([x for x in tensors if any("t" in a for a in x.axes)]):
        tensors = [_one_frame(net, x) for x in tensors]
    shown = " and ".join(map(str, tensors))
    rank = max(len(x.axes) for x in tensors)
    padded = [("1",) * (rank - len(x.axes)) + x.axes for x in tensors]
    axes = []
    for position in range(rank):
        found = {own[position] for own in padded} - {"1"}
        if len(found) > 1 and "f" in found:  # one number may stand for another axis as well
            for k, x in enumerate(tensors):
                if padded[k][position] == "f" and net.signal(x).width == 1:
                    tensors[k] = x.view(references=(net.add(Reshape, x.reference, features=()),))
                    padded[k] = padded[k][:position] + ("1",) + padded[k][position + 1 :]
            found = {own[position] for own in padded} - {"1"}
        if len(found) > 1 or found == {"s"}:
            raise AxesError("the axes of the tensors do not fit one another", found=shown)
        axes.append(found.pop() if found else "1")
    if "b" not in axes and not {"bt", "tb"} & set(axes):
        raise AxesError("the tensors have no batch axis", found=shown)
    if len(set(axes) - {"1"}) + axes.count("1") != len(axes):
        raise AxesError("the axes of the tensors do not fit one another", found=shown)
    timed = [x for x in tensors if any("t" in a for a in x.axes)]
    if timed and not together(timed) and not of_one_length(net, timed):
        raise other_frames(net, shown)
    widths = {net.signal(x).width for x, own in zip(tensors, padded) if "f" in own} - {1}
    if len(widths) > 1:
        raise UnsupportedModelError("the tensors have different numbers of features", found=shown)
    width = widths.pop() if widths else 1
    return [_fitted(net, x, own, tuple(axes), width, timed) for x, own in zip(tensors, padded)]


def _fitted(net, x, own, axes, width, timed):
    reference = x.reference
    if "f" in axes:
        if "f" not in own:
            reference = net.add(Reshape, reference, features=(1,))
        if width > 1 and net.builder.signal(reference).width == 1:
            reference = net.add(Select, reference, index=(0,) * width)
    if timed and not any("t" in a for a in own):
        if "t" not in axes:
            raise AxesError("a tensor over batch * time cannot meet one without time", found=str(x))
        reference = net.add(Expand, timed[0].reference, reference)
    clock = timed[0].clock if timed else None
    return dataclasses.replace(x, references=(reference,), axes=axes, clock=clock)
