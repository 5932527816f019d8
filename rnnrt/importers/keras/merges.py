"""Keras's layers that join several tensors: options -> graph layers.

Functions as in layers.py; what becomes of masks is in mask_rules.py, what they do to the numbers is here.
"""

from __future__ import annotations

import numpy as np

from ... import layers
from ...errors import ModelFileError
from .algebra import merged, over_time
from .fronts import concatenated
from .masks import merging


def zeroed(context, x, mask, suffix=""):
    """``x`` where ``mask`` is real, else 0."""
    if mask.real:
        return x
    wide = context.mask_values.wide(mask.reference(), context.width(x))
    return context.add(layers.Multiply, x, wide, suffix=suffix)


def _concatenate(context, *xs):
    signal = context.builder.signal(xs[0])
    if signal.time and len(signal.features) > 1:
        return _concatenated_frames(context, xs, signal)
    if signal.time and context.config.integers("axis", -1) in ([1], [-2]):
        return over_time(context, *xs)
    context.last_axis(xs[0])
    return context.add(layers.Concatenate, *xs)


def _concatenated_frames(context, xs, signal):
    """Along an axis of frames that have several."""
    rank, axis = 2 + len(signal.features), context.config.integer("axis", -1)
    place = axis + rank - 2 if axis < 0 else axis - 2
    signals = [context.builder.signal(x) for x in xs]
    rest = {s.features[:place] + s.features[place + 1 :] for s in signals if len(s.features) == rank - 2}
    if not 0 <= place < rank - 2:
        raise context.config.unsupported("axis", axis, "an axis of frames")
    if len(rest) > 1 or any(len(s.features) != rank - 2 for s in signals):
        raise ModelFileError(
            "the inputs do not fit one another",
            where=context.layer.where,
            found=", ".join(map(str, signals[:8])),
        )
    return concatenated(context, xs, place)


def _add(context, *xs):
    return context.add(layers.Add, *xs) if _of_one_shape(context, xs) else merged(context, "add", *xs)


def _multiply(context, *xs):
    return (
        context.add(layers.Multiply, *xs) if _of_one_shape(context, xs) else merged(context, "multiply", *xs)
    )


def _multiply_masked(context, *xs):
    """Keras from 3.4 on: a masked factor counts as 1; where all factors are masked, the product is 0."""
    masks = [*context.masks, *[None] * len(xs)][: len(xs)]
    if not any(masks) or merging(context.version, context.layer.where) != "any":
        return _multiply(context, *xs)
    factors = []
    for k, (x, mask) in enumerate(zip(xs, masks)):
        if mask and not mask.real:
            width = context.synthesize(context.width(x))
            x = zeroed(context, x, mask, f".real_{k}")
            wide = context.mask_values.wide(mask.reference(), width)
            ones = np.ones(width)
            gaps = context.add(layers.Affine, wide, suffix=f".gaps_{k}", scale=-ones, offset=ones)
            x = context.add(layers.Add, x, gaps, suffix=f".factor_{k}")
        factors.append(x)
    product = _multiply(context, *factors)
    if not all(masks):
        return product
    either = context.mask_values.joined(context.name, masks, every=False)
    return zeroed(context, product, either, ".masked")


def _of_one_shape(context, xs):
    """Whether these are numbers of which none is broadcast: Keras lets one frame or one feature stand for
    all.
    """
    if context.truths.issuperset(xs):
        return False
    signals = [context.builder.signal(x) for x in xs]
    lengths = {s.length for s in signals if s.time}
    return (
        len({s.features for s in signals}) == 1
        and len({s.time for s in signals}) == 1
        and not (1 in lengths and len(lengths) > 1)
    )


def _scaled(context, x, factor, suffix=""):
    width = context.synthesize(context.last(x))
    return context.add(layers.Affine, x, suffix=suffix, scale=np.full(width, factor), offset=np.zeros(width))


def average(context, *xs):
    return _scaled(context, _add(context, *xs), 1 / len(xs), ".mean")


def _subtract(context, *xs):
    if len(xs) != 2:
        raise ModelFileError("subtracts two inputs", where=context.layer.where, found=str(len(xs)))
    if not _of_one_shape(context, xs):
        return merged(context, "subtract", *xs)
    return context.add(layers.Add, xs[0], _scaled(context, xs[1], -1.0, ".negative"))


MERGES = {
    "Concatenate": _concatenate,
    "Add": _add,
    "Multiply": _multiply_masked,
    "Average": average,
    "Subtract": _subtract,
}
