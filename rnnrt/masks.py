"""Masks a caller gives: which inputs take them, and what stands there when none is given."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from . import ragged
from .errors import ShapeError, UnsupportedModelError
from .ports import as_array


def taken(specs):
    """Whether any input is a mask."""
    return any(spec.is_mask for spec in specs)


def placed(specs, given, mask):
    """``given``, an array or None for each input, with ``mask`` (an array, or {input name: array}) in its
    place.
    """
    free = [spec for spec in specs if spec.is_mask]
    if not free:
        raise UnsupportedModelError(
            "mask= means nothing to this model: none of its inputs is a mask",
            fix="Use lengths= for a PyTorch model whose rows have different lengths.",
        )
    if not isinstance(mask, Mapping):
        if len(free) > 1:
            raise ShapeError(
                "this model takes several masks",
                expected=f"{{name: mask}} for {[spec.layer.name for spec in free]}",
                found=type(mask).__name__,
            )
        mask = {free[0].layer.name: mask}
    names = {spec.layer.name for spec in free}
    unknown = [name for name in mask if name not in names]
    if unknown:
        raise ShapeError(f"the input {unknown[0]!r} is not a mask", expected=f"{sorted(names)}")
    made = []
    for spec, x in zip(specs, given):
        own = mask.get(spec.layer.name) if spec.is_mask else None
        if own is not None and x is not None:
            raise ShapeError("this mask is given twice, as an input and as mask=", where=spec.where)
        made.append(x if own is None else with_features(spec, own))
    return made


def with_features(spec, mask):
    """A mask of one number a frame with the axes that the input has after time; rows of them as they are."""
    if ragged.is_ragged(mask):
        return mask
    mask = as_array(mask, spec.where)
    return mask.reshape(mask.shape + (1,) * len(spec.signal.features))


def completed(specs, arrays, batch, clocks, lengths):
    """``arrays`` with (time, batch, 1) arrays for the masks they lack: all real, or real up to each of
    ``lengths`` (batch,). ``clocks``: names of the inputs that have as many frames as one another.
    """
    made, given = [], {spec.layer.name: a for spec, a in zip(specs, arrays) if a is not None}
    for spec, a in zip(specs, arrays):
        if spec.is_mask and a is not None and lengths is not None:
            raise ShapeError(
                "lengths= and a mask are both given", where=spec.where, fix="Pass one: lengths= makes a mask."
            )
        if a is None and spec.is_mask:
            clock = next(names for names in clocks if spec.layer.name in names)
            known = (len(given[name]) for name in clock if name in given)
            count = next(known, spec.signal.length or 1)  # 1: nothing reads it
            ends = np.full(batch, count) if lengths is None else lengths
            a = (np.arange(count)[:, None] < ends).astype(np.float32)[:, :, None]
        made.append(a)
    return made
