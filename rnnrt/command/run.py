"""``rnnrt run`` and ``rnnrt stream``: arrays in, answers out, whole or chunk by chunk."""

from __future__ import annotations

import time

import numpy as np

from .files import output_kind, read_inputs, write_outputs
from .live import pace, stream_pipe
from .models import check_output, open_model
from .report import Report, shapes
from .sound import output_rate
from .usage import UsageError


def run(options):
    output_kind(options.output)
    model = open_model(options.model, options, num_threads=options.threads)
    check_output(options, model.graph)
    inputs, rate = read_inputs(model.graph, options.input, options.channel)
    if output_kind(options.output) == ".wav":
        rate = output_rate(model.graph, rate, options.output)
    start = time.perf_counter()
    outputs = model.run(inputs)
    seconds = time.perf_counter() - start
    notes = write_outputs(options.output, outputs, model.graph, inputs, rate, options.encoding)
    data = {"output": options.output, "outputs": shapes(outputs), "seconds": seconds}
    return Report(
        data,
        [f"{name}: {y.shape} {y.dtype}" for name, y in outputs.items()]
        + [f"{seconds * 1000:.3f} ms -> {options.output}"],
        notes=notes,
    )


def stream(options):
    if "-" in options.input:
        return stream_pipe(options, open_model(options.model, options))
    for name in ("raw", "format"):
        if getattr(options, name) is not None:
            raise UsageError(f"--{name} is for what comes on stdin", expected="--input -")
    if options.output == "-":
        raise UsageError("only answers to stdin go to stdout", where="--output -", expected="--input -")
    if options.output:
        output_kind(options.output)
    model = open_model(options.model, options)
    graph = model.graph
    if options.output:
        check_output(options, graph)
    elif options.encoding:
        raise UsageError("--encoding is for --output")
    inputs, rate = read_inputs(graph, options.input, options.channel)
    if options.rate and rate and options.rate != rate:
        raise UsageError("a sound has a rate of its own", where="--rate", expected=f"{rate:g}, or none")
    frame_rate = options.rate or rate
    if options.output and output_kind(options.output) == ".wav":
        rate = output_rate(graph, rate, options.output)
    timed = [name for name in graph.inputs if graph[name].time]
    once = {name: inputs[name] for name in graph.inputs if not graph[name].time}
    parts = [inputs[name] for name in timed]
    batch, total = _rows_and_frames(graph, timed, parts)
    live = model.stream(batch, inputs=once) if once else model.stream(batch)
    along = 0 if batch is None else 1
    collected, taken, late = [], [], 0
    for begin in range(0, total, options.chunk):
        chunk = tuple(np.take(x, range(begin, min(begin + options.chunk, total)), axis=along) for x in parts)
        start = time.perf_counter_ns()
        made = live.push(chunk if len(chunk) > 1 else chunk[0])
        taken.append(time.perf_counter_ns() - start)
        late += bool(frame_rate) and taken[-1] > min(options.chunk, total - begin) / frame_rate * 1e9
        collected.append(made)
    tail = live.flush()
    collected.append(tail)
    joined = [
        np.concatenate(column, axis=along)
        for column in zip(*(c if isinstance(c, tuple) else (c,) for c in collected))
    ]
    outputs = {o.name: y for o, y in zip(graph.outputs, joined)}
    notes = ()
    if options.output:
        notes = write_outputs(options.output, outputs, graph, inputs, rate, options.encoding)
    flushed = (tail[0] if isinstance(tail, tuple) else tail).shape[along]
    data = {
        "frames_in": total,
        "chunk": options.chunk,
        "outputs": shapes(outputs),
        "flushed": flushed,
        "delay": model.delay,
    }
    lines = [f"{total} frames in, chunks of {options.chunk}"] + [
        f"{name}: {y.shape}, {flushed} of them from flush" for name, y in outputs.items()
    ]
    paced, more = pace(taken, total, options.chunk, frame_rate, sum(taken), late)
    return Report(data | paced, lines + more, notes=notes)


def _rows_and_frames(graph, names, arrays):
    """(rows or None without a batch axis, frames) of the arrays of the inputs ``names``, which must agree."""
    made = set()
    for name, x in zip(names, arrays):
        extra = x.ndim - len(graph[name].features) - 1
        if extra not in (0, 1):
            raise UsageError(
                "the input has the wrong shape",
                where=f"input {name!r}",
                expected=f"{graph.signals[name]}, or the same without batch",
                found=str(x.shape),
            )
        made.add((x.shape[0] if extra else None, x.shape[extra]))
    if len(made) != 1:
        raise UsageError(
            "the inputs differ in their batch or their frames",
            expected="the same of each",
            found=", ".join(str(x.shape) for x in arrays),
        )
    return made.pop()
