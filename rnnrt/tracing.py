"""What the recurrent layers of a network do at every step: ``Model.trace``.

States are the engine's own, of plans that show them beside what each layer reads. The gates, which the engine
never writes down, are those of the reference's equations (see reference.py) for these states, in float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import masks, reference, timing
from .errors import UnsupportedModelError
from .graph import Output
from .passes.trivial import drop_dead
from .plans import Plans
from .ports import engine_form

if TYPE_CHECKING:
    from .annotations import Floats
    from .model import Model

#: Layers that one plan shows: each shows at most six values, and a plan has 64 outputs.
TOGETHER = 10


def trace(model: Model[Any], given: tuple[Any, ...]) -> dict[str, dict[str, Floats]]:
    """What ``Model.trace`` says."""
    graph, ports = model._run_graph, model._ports
    layers = [x for x in graph.layers if x.keeps == "state"]
    if not layers:
        raise UnsupportedModelError("this model has no recurrent layer to trace")
    arrays, batch, frames, batched = ports.canonical([*given, *[None] * (len(ports.inputs) - len(given))])
    arrays = masks.completed(ports.inputs, arrays, batch, timing.clocks(graph), None)
    frames = ports.frames(arrays) if isinstance(frames, dict) else frames
    arrays = [engine_form(arrays[k]) for k in ports.engine_order]
    traced = {}
    for k in range(0, len(layers), TOGETHER):
        group = layers[k : k + TOGETHER]
        wanted = list(dict.fromkeys(r for x in group for r in (*_shown(x), *x.reads)))
        cut = drop_dead(graph.replace(graph.layers, outputs=[Output(r, r) for r in wanted]))
        plan = Plans(cut, model._plans.isa, model._plans.any()).for_frames(frames)
        counts = [plan.due(n, [len(a) for a in arrays], True) for n in range(len(wanted))]
        made = [np.empty((n, batch, graph.signals[r].width), np.float32) for n, r in zip(counts, wanted)]
        plan.run(batch, arrays, made)
        values = dict(zip(wanted, made))
        traced |= {x.name: _of_layer(x, values, graph.start) for x in group}
    axes = (lambda a: a.swapaxes(0, 1)) if batched else (lambda a: a[:, 0])
    return {
        layer: {name: np.ascontiguousarray(axes(a), np.float32) for name, a in found.items()}
        for layer, found in traced.items()
    }


def _shown(layer):
    """References of what the layer says at every step, by their names in a trace."""
    if layer.kind == "scan":
        answers = [o for o in layer.extra_outputs if o not in layer.states]
        return {layer.name: "y"} | {f"{layer.name}:{o}": o for o in answers}
    return {layer.name: "h"} | ({f"{layer.name}:cells": "c"} if "c" in layer.states else {})


def _of_layer(layer, values, start):
    """{name: (time, batch, size)}; of frames of several bins, size is that of all of them."""
    found = {name: values[reference] for reference, name in _shown(layer).items()}
    if layer.kind == "scan":
        return found
    frames, batch, size = found["h"].shape
    bins = size // layer.output_size
    x, h = (a.reshape(frames, batch * bins, -1) for a in (values[layer.inputs[0]], found["h"]))
    real = np.ones((frames, batch), bool)
    if layer.mask is not None:
        real = values[layer.mask][:, :, 0] != 0
    real = real.repeat(bins, 1)
    first = np.zeros((batch, size))
    if len(layer.inputs) > 1:
        first = values[layer.inputs[1]][0]
    elif f"{layer.name}/h" in start:
        first = np.broadcast_to(start[f"{layer.name}/h"].ravel(), first.shape)
    first = first.reshape(batch * bins, -1)
    before, state = np.empty(h.shape), first  # h before every frame: a masked one leaves it as it was
    for t in range(len(h))[:: -1 if layer.reverse else 1]:
        before[t] = state
        state = np.where(real[t, :, None], h[t], state)
    rows = lambda a: a.reshape(-1, a.shape[-1]).astype(np.float64)
    for name, gate in reference.gates(layer, rows(x), rows(before)).items():
        gate = np.where(real[:, :, None], gate.reshape(*real.shape, -1), np.nan)
        found[name] = gate.reshape(frames, batch, -1)
    return found
