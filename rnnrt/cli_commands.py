"""What each command does: arguments in, a Report out. Nothing is printed here."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
import warnings
from pathlib import Path

import numpy as np

from . import bench, golden, verification
from .axes import to_canonical, to_source
from .cli_files import (
    UsageError,
    check_destination,
    output_kind,
    read_inputs,
    read_text,
    split_input,
    write_outputs,
)
from .cli_text import describe, described, progress, table
from .errors import NotStreamableError, ShapeError, VerificationError, require
from .importers.detection import detect
from .peers import opener


@dataclasses.dataclass
class Report:
    """What a command found: ``data`` for --json, ``lines`` for people, whether every check held, and
    ``notes`` for stderr.
    """

    data: dict
    lines: list
    ok: bool = True
    notes: tuple = ()


@contextlib.contextmanager
def _reading():
    """A model file whose parts do not fit one another is a bad file, whatever kind of error says so."""
    try:
        yield
    except ShapeError as error:
        error.while_reading = True
        raise


def open_model(path, options, **settings):
    """The Model in any file rnnrt reads: its own by load, another's by convert; ``settings`` as
    ``with_options`` takes them.
    """
    import rnnrt

    with _reading():
        if detect(path).name == "rnnrt":
            if options.spec:
                raise UsageError("a .rnnrt file needs no spec: it says what it is", where=str(path))
            return rnnrt.load(path, max_bytes=options.max_bytes, **settings)
        model = rnnrt.convert(path, **_importing(options))
    return model.with_options(**settings) if settings.get("num_threads", 1) > 1 else model


def _importing(options):
    """The importer's own options among those of a command."""
    made = {"max_bytes": options.max_bytes}
    return made | {"spec": read_text(options.spec)} if options.spec else made


# ---- info --------------------------------------------------------------------------------------------------


def info(options):
    model = open_model(options.file, options)
    data = {"file": str(options.file)} | describe(model.graph)
    origin = {key: value for key, value in model.provenance.items() if key not in model.graph.metadata}
    data |= {
        "nbytes": int(model.nbytes),
        "golden_by": model.golden_by,
        "assumptions": list(model.assumptions),
        "streamable": model.streamable,
        "provenance": origin,
    }
    lines = [
        f"{data['file']}",
        *described(data),
        *(f"source {key}: {value}" for key, value in origin.items() if key not in (WHY, "compared")),
    ]
    lines += ["assumptions:", *(f"  {text}" for text in model.assumptions)] if model.assumptions else []
    lines += [_golden_by(model), f"packed weights: {data['nbytes'] / 1024:.0f} KiB"]
    if model.streamable:
        data["delay"] = int(model.delay)
        lines.append(f"streams, {data['delay']} frames behind its input" if data["delay"] else "streams")
    else:
        try:
            model.stream()
        except NotStreamableError as error:
            data["not_streamable"] = str(error)
            lines.append(f"does not stream: {error}")
    return Report(data, lines)


# ---- convert, run, stream, verify --------------------------------------------------------------------------


def convert(options):
    import rnnrt

    if detect(options.source).name == "rnnrt":
        raise UsageError("is a .rnnrt file already", where=options.source)
    check_destination(options.output, (options.source, *_read(options)), ".rnnrt", options.force)
    with _reading():
        model = rnnrt.convert(options.source, options.output, golden=options.golden, **_importing(options))
    size, (error, failed) = Path(options.output).stat().st_size, _replayed(model)
    data = {
        "source": options.source,
        "destination": options.output,
        "bytes": size,
        "parameters": int(model.graph.parameters),
        "max_error": error,
        "not_verified": failed,
    }
    data |= {
        "golden_by": model.golden_by,
        WHY: model.provenance.get(WHY),
        "assumptions": list(model.assumptions),
    }
    return Report(
        data,
        [
            f"{options.source} -> {options.output}: {data['parameters']} parameters, {size} bytes, "
            + (f"error at most {error:.1e}" if failed is None else failed),
            _golden_by(model),
        ],
        notes=model.assumptions,
    )


def _replayed(model):
    """(error of the golden sample, None) or (None, why it cannot be told); who answered is said elsewhere, so
    not warned of here.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return model.verify(), None
        except VerificationError as error:
            return None, str(error)


#: Under this key a model's provenance says why its golden sample was not answered by a framework.
WHY = "golden_by_reference_because"


def _golden_by(model):
    """Who answered the golden sample, in words."""
    why = model.provenance.get(WHY)
    return f"golden answers by: {_answerer(model)}" + (f" ({why})" if why else "")


def _answerer(model):
    return verification.answered_by(model.golden_by, model.graph)


def _shapes(arrays):
    return {name: {"shape": list(y.shape), "dtype": str(y.dtype)} for name, y in arrays.items()}


def run(options):
    output_kind(options.output)
    model = open_model(options.model, options, num_threads=options.threads)
    _check_output(options, model.graph)
    inputs = read_inputs(model.graph, options.input)
    start = time.perf_counter()
    outputs = model.run(inputs)
    seconds = time.perf_counter() - start
    write_outputs(options.output, outputs)
    data = {"output": options.output, "outputs": _shapes(outputs), "seconds": seconds}
    return Report(
        data,
        [f"{name}: {y.shape} {y.dtype}" for name, y in outputs.items()]
        + [f"{seconds * 1000:.3f} ms -> {options.output}"],
    )


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


def _read(options):
    """The files that a command reads beside its model."""
    return [
        path for path in (options.spec, getattr(options, "golden", None)) if path and os.path.exists(path)
    ]


def _check_output(options, graph):
    """Whether the answers may be written where they shall be: asked before the work, not after it."""
    read = (options.model, *_read(options), *(split_input(graph, item)[1] for item in options.input))
    check_destination(options.output, read, output_kind(options.output), options.force)


def stream(options):
    if options.output:
        output_kind(options.output)
    model = open_model(options.model, options)
    graph = model.graph
    if options.output:
        _check_output(options, graph)
    inputs = read_inputs(graph, options.input)
    timed = [name for name in graph.inputs if graph[name].time]
    once = {name: inputs[name] for name in graph.inputs if not graph[name].time}
    parts = [inputs[name] for name in timed]
    batch, total = _rows_and_frames(graph, timed, parts)
    live = model.stream(batch, inputs=once) if once else model.stream(batch)
    along = 0 if batch is None else 1
    collected, taken = [], []
    for begin in range(0, total, options.chunk):
        chunk = tuple(np.take(x, range(begin, min(begin + options.chunk, total)), axis=along) for x in parts)
        start = time.perf_counter_ns()
        made = live.push(chunk if len(chunk) > 1 else chunk[0])
        taken.append(time.perf_counter_ns() - start)
        collected.append(made)
    tail = live.flush()
    collected.append(tail)
    joined = [
        np.concatenate(column, axis=along)
        for column in zip(*(c if isinstance(c, tuple) else (c,) for c in collected))
    ]
    outputs = {o.name: y for o, y in zip(graph.outputs, joined)}
    if options.output:
        write_outputs(options.output, outputs)
    latency = bench.summarise(taken) if taken else None
    flushed = (tail[0] if isinstance(tail, tuple) else tail).shape[along]
    data = {
        "frames_in": total,
        "chunk": options.chunk,
        "outputs": _shapes(outputs),
        "flushed": flushed,
        "delay": model.delay,
    }
    data["latency_us"] = latency.as_dict() if latency else None
    lines = [f"{total} frames in, chunks of {options.chunk}"] + [
        f"{name}: {y.shape}, {flushed} of them from flush" for name, y in outputs.items()
    ]
    if latency:
        lines.append(
            f"a chunk took p50 {latency.p50:.1f} µs, p99 {latency.p99:.1f} µs, at most {latency.max:.1f} µs"
        )
    return Report(data, lines)


def verify(options):
    model = open_model(options.model, options)
    if options.against:
        by, error = compare(options, model)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # who answered is said below
            error = model.verify()
        by = model.golden_by
    answerer = verification.answered_by(by, model.graph)
    data = {"model": options.model, "ok": True, "golden_by": by, "max_error": error}
    assumed = verification.assumptions(model.graph, by)
    data["compared"], data["assumptions"] = answerer != verification.NOT_COMPARED, list(assumed)
    if data["compared"]:
        line = f"{options.model}: ok, within {error:.1e} of the answers of {answerer}"
    else:
        line = (
            f"{options.model}: {answerer}. The engine computes what was read, within {error:.1e}; nobody "
            f"from outside "
            "answered: convert --golden FILE.npz, or verify --against FRAMEWORK --source FILE"
        )
        assumed = assumed[:-1]  # the last says it again
    return Report(data, [line, *(f"  assumed: {text}" for text in assumed)])


def compare(options, model):
    """(who answered, the largest error) of the user's own file run in its own framework, on inputs of the
    network's own statistics.
    """
    call = next(iter(opener(options.against, options.source or options.model)().items()))
    inputs = verification.sample_inputs(model.graph)
    given = [to_source(inputs[name], model.graph[name].axes) for name in model.graph.inputs]
    given = [x.astype(np.int64) if model.graph[n].ids else x for n, x in zip(model.graph.inputs, given)]
    by, answers = call[0], golden.canonical(call[1](given), model.graph, call[0])
    made = model(*given)
    made = dict(zip((o.name for o in model.graph.outputs), made if isinstance(made, tuple) else (made,)))
    made = {o.name: to_canonical(made[o.name], o.axes) for o in model.graph.outputs}
    return by, verification.check(model.graph, inputs, answers, made, by)


# ---- bench -------------------------------------------------------------------------------------------------

LATENCY = ("min", "p50", "p99", "p999", "max")


def benchmark(options):
    if options.against:
        return against(options)
    model = open_model(options.model, options, num_threads=options.threads)
    graph = model.graph
    inputs = bench.whole_input(graph, options.batch, options.time)
    frames = max((graph[n].length or options.time for n in graph.inputs if graph[n].time), default=1)
    whole = f"whole, {options.batch} x {frames}"
    values = list(inputs.values())
    calls = bench.stream_calls(model, options.chunk) | {whole: lambda: model(*values)}
    steps = {"step": 1, f"chunk of {options.chunk}": options.chunk, whole: frames * options.batch}
    with progress("bench") as tell:
        found = bench.measure(calls, options.seconds, tell)
    data = {"model": options.model, "unit": "microseconds", "clock": round(bench.clock_cost(), 3), "rows": []}
    rows = []
    for name, latency in found.items():
        row = {"call": name, "steps": steps[name]} | latency.as_dict()
        if options.rate:
            row["x_real_time"] = round(steps[name] / options.rate / (latency.mean * 1e-6), 1)
        data["rows"].append(row)
        rows.append(
            [name, *(f"{row[k]:.2f}" for k in LATENCY), row["calls"]]
            + ([row["x_real_time"]] if options.rate else [])
        )
    header = ["µs per call", "min", "p50", "p99", "p99.9", "max", "calls"] + (
        ["x real time"] if options.rate else []
    )
    lines = table(header, rows) + [f"(each with {data['clock']:.2f} µs of the clock's own)"]
    lines += noise(found)
    if "step" not in calls and len(calls) == 1:
        lines.append("this model does not stream; rnnrt info says why")
    return Report(data, lines)


def noise(found):
    """Lines that say which figures the machine made: {call: Latency}."""
    return [
        f"noisy machine: {name} was interrupted {x.switches} times in {x.calls} calls by other processes; "
        f"its tail is theirs"
        for name, x in found.items()
        if x.noisy
    ]


def against(options):
    """The same file, input, process and thread; the contenders take turns of 20 ms."""
    open_peer = opener(options.against, options.source or options.model)
    model = open_model(options.model, options)
    peers = open_peer()
    values = list(bench.whole_input(model.graph, options.batch, options.time).values())
    made = model(*values)
    made = list(made) if isinstance(made, tuple) else [made]
    errors = {}
    for label, call in peers.items():
        wanted = call(values)
        if [y.shape for y in wanted] != [y.shape for y in made]:
            raise VerificationError(
                f"{label} answers in another shape",
                where=options.model,
                expected=str([y.shape for y in wanted]),
                found=str([y.shape for y in made]),
            )
        errors[label] = max(float(np.abs(a - b).max()) for a, b in zip(wanted, made))
    calls = {"rnnrt": lambda: model(*values)} | {
        label: lambda call=call: call(values) for label, call in peers.items()
    }
    with progress(f"bench against {options.against}") as tell:
        found = bench.measure(calls, options.seconds, tell)
    own = found["rnnrt"].p50
    data = {
        "model": options.model,
        "unit": "microseconds",
        "shapes": [list(x.shape) for x in values],
        "rows": [],
    }
    for name, latency in found.items():
        row = {
            "call": name,
            "p50": round(latency.p50, 3),
            "p99": round(latency.p99, 3),
            "calls": latency.calls,
        }
        data["rows"].append(
            row
            | (
                {}
                if name == "rnnrt"
                else {"max_error": errors[name], "speed_up": round(latency.p50 / own, 2)}
            )
        )
    rows = [
        [
            r["call"],
            f"{r['p50']:.1f}",
            f"{r['p99']:.1f}",
            f"{r['max_error']:.1e}" if "max_error" in r else "-",
            f"{r['speed_up']:.1f}" if "speed_up" in r else "-",
        ]
        for r in data["rows"]
    ]
    shapes = ", ".join(str(tuple(s)) for s in data["shapes"])
    return Report(
        data,
        [
            f"{options.model}, input {shapes}, one thread each",
            *table(["µs per call", "p50", "p99", "max error", "speed-up of rnnrt"], rows),
            *noise(found),
        ],
    )


# ---- demo, doctor ------------------------------------------------------------------------------------------


def demo(options):
    from . import demo

    if options.plot:
        _check_plot(options.plot)
        check_destination(options.plot, (), "picture", options.force)
    with progress("demo") as tell:
        data = demo.run(plot=options.plot, seconds=options.seconds, progress=tell)
    return Report(data, demo.text(data), data["ok"])


def _check_plot(path):
    """Whether a picture can be written there: asked before the work, not after it."""
    formats = require(
        "matplotlib.backend_bases", "report", "rnnrt demo --plot"
    ).FigureCanvasBase.get_supported_filetypes()
    if Path(path).suffix.removeprefix(".") not in formats:
        raise UsageError(
            "is not a kind of picture",
            where=path,
            expected=f"a name that ends in one of {', '.join(formats)}",
        )
    folder = Path(path).absolute().parent
    if not folder.is_dir():
        raise UsageError(f"cannot be written: {folder} is not a folder", where=path)


def doctor(options):
    from .doctor import examine

    data = examine()
    lines = [f"{k}: {', '.join(v) if isinstance(v, list) else v}" for k, v in data["config"].items()] + [""]
    lines += [
        f"{name} {x['version']}"
        if x["version"]
        else f"{name} is not installed ({x['for']}): pip install 'rnnrt[{x['extra']}]'"
        for name, x in data["extras"].items()
    ] + [""]
    lines += [
        f"{'ok    ' if c['ok'] else 'FAILED'} {c['check']}: {c['found']}"
        + ("" if c["ok"] else f". {c['fix']}")
        for c in data["checks"]
    ]
    return Report(data, lines, all(c["ok"] for c in data["checks"]))
