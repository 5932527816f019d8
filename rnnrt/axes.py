"""The order of an array's axes: canonical (batch, time, *features) inside, as an Input or Output states it
("bft", "tbf") outside.

One letter an axis; a single "f" stands for all axes of a frame, of which there may be none, several of them
for one each ("fbf": the batch between the two axes of a frame). Axes a value lacks ("t", or "b" of a single
row) are left out of the letters.
"""

from __future__ import annotations

import numpy as np


def letters(axes, features):
    """One entry an axis: "btf" and two feature axes -> b t f0 f1."""
    if axes.count("f") > 1:
        count = iter(range(features))
        return [f"f{next(count)}" if a == "f" else a for a in axes]
    return [a if a != "f" else f"f{k}" for a in axes for k in (range(features) if a == "f" else (0,))]


def to_source(array, axes):
    """A canonical array in the order ``axes`` states; contiguous where it had to move."""
    return _moved(array, _canonical(axes), axes)


def to_canonical(array, axes):
    """An array whose order is ``axes`` in the canonical one; contiguous where it had to move."""
    return _moved(array, axes, _canonical(axes))


def as_said(array, output, features, batch, metadata):
    """A framework's answer with the axes of a graph's ``output``, where the graph's metadata says that they
    differ: its first two axes are merged there, or it lacks axes of size one. ``features``: of the signal.
    """
    own = letters(output.axes, len(features))
    sizes = {f"f{k}": n for k, n in enumerate(features)} | {"b": batch}
    if output.name in metadata.get("parted_outputs", ()) and array.ndim == len(own) - 1:
        place = own.index("t") if "t" in own else 0
        sizes["t"] = array.shape[0] // max(batch, 1) if place < 2 else array.shape[place - 1]
    elif metadata.get("keeps_ones") and array.ndim < len(own):
        known = max(int(np.prod([sizes[a] for a in own if a != "t"])), 1)
        sizes["t"] = array.size // known
    else:
        return array
    shape = [sizes[a] for a in own]
    longer = [n for n in array.shape if n != 1] == [n for n in shape if n != 1]
    merged = array.ndim == len(own) - 1 and list(array.shape[1:]) == shape[2:]
    fits = array.size == int(np.prod(shape)) and (longer or merged)
    return array.reshape(shape) if fits else array


def _canonical(axes):
    return "".join(a for a in "bt" if a in axes) + "f" * axes.count("f")


def _moved(array, have, wanted):
    if have == wanted:
        return array
    features = array.ndim - len(have.replace("f", ""))
    have = letters(have, features)
    return np.ascontiguousarray(array.transpose([have.index(a) for a in letters(wanted, features)]))
