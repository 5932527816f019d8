"""Reshapes: which axes of a tensor make each axis of another shape.

Batch, time and features stay apart. Batch and time may be merged for a while; anything else that would mix
sequences, cut time or hold for one number of frames alone is refused.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from math import prod

from ...errors import UnsupportedModelError
from ...layers import Concatenate, Flatten, Last, Reshape, Select, Unflatten
from . import slot_shapes, slots
from .sizes import Clock, Shifted, Size
from .values import LengthError


def reshaped(net, x, shape):
    """``x`` with another shape: Sizes and numbers, one of them may be -1; Slots where a frame has several
    axes then.
    """
    try:
        return _of_tensor(net, x, shape)
    except UnsupportedModelError as error:
        if len(shape) > 3 and x.axes in (("tb", "f"), ("bt", "f")):  # batch and time apart again
            x = x.view((*x.axes[0], "f"))
        if isinstance(error, LengthError) or net.is_ids(x) or any(len(a) > 1 for a in x.axes):
            raise
        try:
            made = slot_shapes.reshaped(net, slots.slots_of(net, x), shape)
        except LengthError:
            raise
        except UnsupportedModelError:
            raise error from None
        return (slots.tensor_of(net, made) if made.axes.count("n") < 2 else None) or made


def _of_tensor(net, x, shape):
    x = ones_named(net, x)
    x = x.view([part for axis in x.axes for part in axis])  # a merged "bt" may be taken apart again
    shape = [size.settled() if isinstance(size, Shifted) else size for size in shape]
    targets = [_counted(size if isinstance(size, Size) else Size((), _number(size))) for size in shape]
    plain = [t.number for t in targets[1:] if not t.axes]
    if x.axes == ("b", "f") and len(targets) == 3 and len(plain) == 2 and 1 not in plain:
        return _cut_into_frames(net, x, targets)
    return _regrouped(net, x, _groups(net, x, targets))


def _counted(size):
    """A Size without the number of frames of single ones, which is 1."""
    single = lambda axis: axis != "b" and axis[1] is not None and (axis[1].span, axis[1].stride) == (1, 0)
    return Size(tuple(axis for axis in size.axes if not single(axis)), size.number)


def _cut_into_frames(net, x, targets):
    """(batch, features) as (batch, a number of frames, fewer features)."""
    width = net.signal(x).width
    sizes = [t.number for t in targets[1:]]
    rows = targets[0]
    if sizes.count(-1) == 1 and rows != Size((), -1):
        known = -sizes[0] * sizes[1]
        sizes = [width // known if n == -1 and known > 0 else n for n in sizes]
    if rows not in (Size(("b",)), Size((), -1)) or min(sizes) < 1 or sizes[0] * sizes[1] != width:
        raise _constant(net, x)
    reference = net.add(Unflatten, x.reference, length=sizes[0])
    return net.tensor(reference, ("b", "t", "f"), Clock("", sizes[0], 0))


def flattened(net, x, first, last):
    """``x`` with the axes from ``first`` to ``last`` merged into one."""
    x = ones_named(net, x)
    start, end = net.axis(x, first), net.axis(x, last)
    positions = list(range(len(x.axes)))
    groups = [[p] for p in positions[:start]] + [positions[start : end + 1]]
    return _regrouped(net, x, groups + [[p] for p in positions[end + 1 :]])


def ones_named(net, x):
    """``x`` with every axis of size one called "1", the time of a single frame too."""
    if "t" in x.axes and x.clock is not None and (x.clock.span, x.clock.stride) == (1, 0):
        axes = tuple("1" if a == "t" else a for a in x.axes)
        x = dataclasses.replace(x, references=(net.add(Last, x.reference),), axes=axes, clock=None)
    for position, size in enumerate(net.sizes(x)):
        if size == 1 and x.axes[position] != "1":
            references = (
                (net.add(Reshape, x.reference, features=()),) if x.axes[position] == "f" else x.references
            )
            x = x.view(x.axes[:position] + ("1",) + x.axes[position + 1 :], references)
    return x


def _number(value):
    if isinstance(value, bool) or not isinstance(value, int):
        raise UnsupportedModelError("a shape must hold sizes and numbers", found=str(value))
    return value


def _groups(net, x, targets):
    """Which axes of ``x``, in order, make each target size: a list of positions a target.

    Axes are taken from both ends towards the one -1. A number never stands for batch or time: the trace would
    then hold for that number alone.
    """
    sizes = [s if isinstance(s, Size) else Size((), s) for s in net.sizes(x)]
    fixed = net.signal(x).length
    positions = list(range(len(sizes)))
    unknown = [k for k, t in enumerate(targets) if t == Size((), -1)]
    if len(unknown) > 1:
        raise UnsupportedModelError("only one size may be -1", found=str(len(unknown)))
    cut = unknown[0] if unknown else len(targets)
    left = [_consume(net, positions, sizes, t, fixed, x, 0) for t in targets[:cut]]
    right = [_consume(net, positions, sizes, t, fixed, x, -1) for t in reversed(targets[cut + 1 :])]
    if unknown:
        return left + [positions] + right[::-1]
    if any(sizes[p] != Size((), 1) for p in positions):
        raise _constant(net, x)
    if left:
        left[-1] = left[-1] + positions
    return left


def _consume(net, positions, sizes, target, fixed, x, end):
    """Take positions from one end until their product is ``target``."""
    group = []
    ones = [Size((), 1)] + ([Size(("b",))] if net.batch == 1 else [])
    while not _equal([sizes[p] for p in group], target, fixed, net.batch) or (
        target == Size((), 1) and not group and positions and sizes[positions[end]] in ones
    ):
        if not positions or (group and target == Size((), 1)):
            raise _constant(net, x)
        group.insert(0 if end else len(group), positions.pop(end))
    return group


def _equal(group, target, fixed, batch):
    axes, number = [a for s in group for a in s.axes], prod(s.number for s in group)
    if not target.axes and batch is not None and "b" in axes:
        number, axes = number * batch, [a for a in axes if a != "b"]
    if fixed is not None and set(target.axes) <= {"b"}:
        number, axes = number * fixed ** sum(a != "b" for a in axes), [a for a in axes if a == "b"]
    return Counter(axes) == Counter(target.axes) and number == target.number


def _constant(net, x):
    return UnsupportedModelError(
        "this shape does not keep batch, time and features apart, or holds batch or time as a constant",
        found=str(x),
        fix=net.advice["states" if "s" in x.axes else "sizes"],
    )


def _regrouped(net, x, groups):
    merged = []
    for group in groups:
        axes = "".join(x.axes[p] for p in group).replace("1", "")
        if len(axes) < 2 or axes in ("bt", "tb"):
            merged.append(axes or "1")
        elif axes == "sf":
            x = x.view(references=(net.add(Concatenate, *x.references),))
            merged.append("f")
        elif axes in ("tf", "ft"):
            x = x.view(references=(_flattened(net, x, axes),))
            merged.append("f")
        else:
            raise UnsupportedModelError(f"the axes {' and '.join(axes)} cannot be merged", found=str(x))
    return x.view(merged)


def _flattened(net, x, axes):
    """All frames of a sequence of fixed length as one value, in the order of the tensor's own axes."""
    signal = net.signal(x)
    if signal.length is None:
        raise LengthError(
            "flattening time needs a fixed number of frames",
            found=str(x),
            fix=net.advice["length"],
        )
    reference = net.add(Flatten, x.reference)
    if axes == "tf":
        return reference
    return net.add(
        Select,
        reference,
        index=[t * signal.width + f for f in range(signal.width) for t in range(signal.length)],
    )
