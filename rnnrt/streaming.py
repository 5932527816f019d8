"""Live streams: whether a network has them, and how one is made."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from . import _engine
from .errors import DTypeError, NotStreamableError, ShapeError
from .ports import as_array, as_float32


def obstacle_of(ports, plans, every_step):
    """(layer, reason) why the network cannot stream, or None."""
    if not any(p.signal.time for p in ports.inputs):
        return ports.inputs[0].layer.name, "has no time axis, nor has any other input"
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
    for port in specs:
        if port.signal.time:
            continue
        value = given.pop(port.layer.name, None)
        if value is None and not port.optional:
            raise ShapeError(
                f"the input {port.layer.name!r} has no time axis: give it once",
                fix="stream(inputs={name: array})",
            )
        shape = (batch_size or 1, port.signal.width)
        a = np.zeros(shape, np.float32) if value is None else as_array(value, port.where)
        rows = a.shape == (shape[0], *port.signal.features)
        if value is not None and not rows and a.shape != port.signal.features:
            raise ShapeError(
                "the input has the wrong shape",
                where=port.where,
                expected=f"{port.signal.features}, or {(shape[0], *port.signal.features)}",
                found=str(a.shape),
            )
        if value is not None:
            port.check_ids(a, ["b"] * rows)
        a = as_float32(a, port.where)
        once.append(np.ascontiguousarray(np.broadcast_to(a.reshape(-1, port.signal.width), shape))[None])
    if given:
        raise ShapeError(
            f"there is no input {next(iter(given))!r} without a time axis",
            expected=f"{[p.layer.name for p in specs if not p.signal.time]}",
        )
    outs = [(signal.features, signal.time) for _, signal in ports.outputs]
    made = _engine.Stream(
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
        start = states.initial_arrays(initial_state, made.batch_size)
        states.check_started(start)
        made._start_from(start)
    return made
