"""Where the players of captures begin: not at zero, but where every layer has answered silence for ever."""

from __future__ import annotations

import dataclasses

import numpy as np

from ... import reference
from ...errors import ModelFileError
from ...graph import GraphBuilder
from ...layers import Conv1D, Input


def silence(builder: GraphBuilder, where) -> dict[str, np.ndarray]:
    """``Graph.start`` of a network of convolutions: for every one of them the frame that its input holds when
    the network's own input has been zero for ever. Worked out in float64; the graph rounds it once.

    The layers may be convolutions and such as make frame t of frame t alone.
    """
    start, steady = {}, {}
    for layer in builder.layers:
        if isinstance(layer, Input):
            steady[layer.name] = np.zeros((1, 1, *layer.features))
            continue
        frames = [steady[reference_] for reference_ in layer.inputs]
        if isinstance(layer, Conv1D) and layer.startable(builder.signal(layer.inputs[0])):
            start[f"{layer.name}/window"] = frames[0][0, 0]
        if isinstance(layer, Conv1D):  # what stands still is the same at any distance
            layer = dataclasses.replace(layer, dilation=1, padding=(0, 0))
            frames = [np.repeat(frames[0], layer.weight.shape[1], axis=1)]
        steady[layer.name] = getattr(reference, layer.kind)(layer, *frames)
    for name, frame in start.items():
        if not (np.abs(frame) <= np.finfo(np.float32).max).all():
            raise ModelFileError(
                "its answer to silence is not finite",
                where=f"{where}, {name}",
                found=f"{np.abs(frame).max():g}",
            )
    return start
