"""Live streams: whether a network has them, and how one is made."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from . import _engine
from .errors import DTypeError, NotStreamableError, ShapeError
from .ports import as_array, as_float32


def obstacle_of(ports, plans, every_step):
    """(layer, reason) why the network cannot stream, or None."""
    if not any(s.signal.time for s in ports.inputs):
        return ports.inputs[0].layer.name, "has no time axis, and neither has any other input"
    if plans.common is None:
        return plans.needs_length, "its padding depends on how long the whole input is"
    return plans.common.obstacle(every_step)


def stream_of(model, ports, plans, states, batch_size, *, every_step, inputs, initial_state, realtime, block):
    """The Stream that ``Model.stream`` answers with."""
    obstacle = obstacle_of(ports, plans, every_step)
    if obstacle:
        how = "stream with every_step" if every_step and not obstacle_of(ports, plans, False) else "stream"
        raise NotStreamableError(
            f"this model cannot {how}: the layer {obstacle[1]}",
            where=f"layer {obstacle[0]!r}",
            fix="Run it on whole inputs: model(x).",
        )
    if batch_size is not None and (
        not isinstance(batch_size, (int, np.integer)) or not 1 <= batch_size <= 1 << 24
    ):
        raise ShapeError(
            f"batch_size must be None or a whole number from 1 to {1 << 24}", found=repr(batch_size)
        )
    if not isinstance(inputs, Mapping | None):
        raise DTypeError(
            "stream() takes the inputs without a time axis by name",
            expected="{name: array}",
            found=type(inputs).__name__,
        )
    given, once = dict(inputs or {}), []
    specs = [ports.inputs[k] for k in ports.engine_order]
    for spec in specs:
        if spec.signal.time:
            continue
        value = given.pop(spec.layer.name, None)
        if value is None and not spec.optional:
            raise ShapeError(
                f"the input {spec.layer.name!r} has no time axis: give it once",
                fix="stream(inputs={name: array})",
            )
        shape = (batch_size or 1, spec.signal.width)
        a = np.zeros(shape, np.float32) if value is None else as_array(value, spec.where)
        rows = a.shape == (shape[0], *spec.signal.features)
        if value is not None and not rows and a.shape != spec.signal.features:
            raise ShapeError(
                "the input has the wrong shape",
                where=spec.where,
                expected=f"{spec.signal.features}, or {(shape[0], *spec.signal.features)}",
                found=str(a.shape),
            )
        if value is not None:
            spec.check_ids(a, ["b"] * rows)
        a = as_float32(a, spec.where)
        once.append(np.ascontiguousarray(np.broadcast_to(a.reshape(-1, spec.signal.width), shape))[None])
    if given:
        raise ShapeError(
            f"there is no input {next(iter(given))!r} without a time axis",
            expected=f"{[s.layer.name for s in specs if not s.signal.time]}",
        )
    outs = [(signal.features, signal.time) for _, signal in ports.outputs]
    stream = _engine.Stream(
        model,
        plans.common,
        None if batch_size is None else int(batch_size),
        every_step,
        specs,
        once,
        outs,
        block,
        realtime,
    )
    if initial_state is not None:
        start = states.initial_arrays(initial_state, stream.batch_size)
        states.check_started(start)
        stream._start_from(start)
    return stream
