"""Shapes as Keras writes them, batch first, as the graph's inputs."""

from __future__ import annotations

from ...errors import ModelFileError, UnsupportedModelError


def signal_of(tensor, ids):
    """The fields of an Input for a Keras shape: (batch, n) are n ids in a row for an Embedding, otherwise n
    features without time.
    """
    shape = tensor.shape
    if not isinstance(shape, list) or not shape or any(type(n) is not int and n is not None for n in shape):
        raise ModelFileError(
            "the shape of the input is missing or is not a shape",
            where=tensor.where,
            found=repr(shape)[:80],
            fix="Build the model with keras.Input(shape) and save it again.",
        )
    axes = shape[1:]
    if ids and len(axes) < 2:
        return {"features": (), "time": bool(axes), "length": axes[0] if axes else None, "ids": True}
    timed, features = len(axes) > 1, axes[1:] if len(axes) > 1 else axes
    if None in features:
        raise UnsupportedModelError(
            "only the time axis of an input may be open",
            where=tensor.where,
            found=str(tuple(shape)),
            fix="Build the model with keras.Input(shape) and save it again.",
        )
    return {"features": features, "time": timed, "length": axes[0] if timed else None, "ids": ids}
