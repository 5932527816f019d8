"""The command ``rnnrt``: convert, info, run, stream, verify, bench, demo, doctor.

Exit codes: 0 ok, 1 a check failed, 2 usage (arguments, input arrays, a missing package), 3 a bad file, 4 not supported.
Answers go to stdout (as one JSON object with ``--json``), messages and progress to stderr.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import sys
import time
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from . import bench
from .errors import (
    ModelFileError,
    NotStreamableError,
    ResourceLimitError,
    RnnrtError,
    ShapeError,
    UnsupportedModelError,
    VerificationError,
    require,
)
from .graph import Graph, Input
from .importers.detection import detect

OK, CHECK_FAILED, USAGE, BAD_FILE, UNSUPPORTED = range(5)
INTERRUPTED = 130  # what a shell says of a program that Ctrl-C ended


class UsageError(RnnrtError):
    """What was asked for on the command line cannot be done as asked."""


@dataclasses.dataclass
class Report:
    """What a command found: ``data`` for --json, ``lines`` for people, and whether every check held."""

    data: dict
    lines: list
    ok: bool = True


def main(arguments=None) -> int:
    """Run one command; returns its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(
                errors="replace"
            )  # a terminal without µ gets a question mark, not an exception
    as_json = "--json" in arguments
    try:
        options = parser().parse_args(arguments)
        report = options.command(options)
        print(json.dumps(report.data, indent=1) if as_json else "\n".join(report.lines), flush=True)
    except RnnrtError as error:
        _print_error(error, as_json)
        return exit_code(error)
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), 1
        )  # the reader left (| head); nothing is wrong with us, and Python flushes once more
        return OK
    except KeyboardInterrupt:
        return INTERRUPTED
    return OK if report.ok else CHECK_FAILED


def exit_code(error: RnnrtError) -> int:
    if isinstance(error, VerificationError):
        return CHECK_FAILED
    if isinstance(error, (ModelFileError, ResourceLimitError)) or getattr(error, "while_reading", False):
        return BAD_FILE
    if isinstance(error, (UnsupportedModelError, NotStreamableError)):
        return UNSUPPORTED
    return USAGE


def _print_error(error, as_json):
    draft = getattr(error, "draft", None)
    if as_json:
        parts = {
            k: None if getattr(error, k) is None else str(getattr(error, k))
            for k in ("what", "where", "expected", "found", "fix")
        }
        print(
            json.dumps(
                {"error": {"kind": type(error).__name__, "message": str(error), "draft": draft} | parts},
                indent=1,
            )
        )
        return
    message = str(error)
    if draft:  # it goes to stdout, so that `rnnrt info weights.pt > weights.spec` starts a spec
        print(draft.rstrip())
        message = (
            message.replace(draft, "").rstrip().removesuffix("A draft:")
            + "A draft is on stdout; complete it and give it with --spec."
        )
    print(f"rnnrt: {message}", file=sys.stderr)


# ---- reading and printing -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _reading():
    """A model file whose parts do not fit one another is a bad file, whatever kind of error says so."""
    try:
        yield
    except ShapeError as error:
        error.while_reading = True
        raise


def open_model(path, spec=None, **options):
    """The Model in any file rnnrt reads: its own by load, another's by convert."""
    import rnnrt

    with _reading():
        if detect(path).name == "rnnrt":
            if spec:
                raise UsageError("a .rnnrt file needs no spec: it says what it is", where=str(path))
            return rnnrt.load(path, **options)
        return rnnrt.convert(path, **_spec(spec))


def _spec(path):
    """The importer's option for the spec in a file, if there is one."""
    return {"spec": _read_text(path)} if path else {}


def _read_text(path):
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=path) from error
    except UnicodeDecodeError as error:
        raise UsageError("is no text", where=path, expected="UTF-8") from error


def _read_array(path):
    try:
        made = np.load(path, allow_pickle=False)
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror or error}", where=path) from error
    except (ValueError, EOFError, BadZipFile) as error:
        raise UsageError(
            "is not a NumPy array",
            where=path,
            expected="a .npy file of numbers",
            fix="Write it with numpy.save.",
        ) from error
    if not isinstance(made, np.ndarray):
        raise UsageError(
            "holds several arrays",
            where=path,
            expected="a .npy file",
            fix="Name each input: --input name=x.npy ...",
        )
    return made


def read_inputs(graph: Graph, items):
    """{input name: array} from ``x.npy`` or ``name=x.npy`` items; unnamed ones in the source's order."""
    made, unnamed = {}, [n for n in graph.inputs if not any(item.startswith(n + "=") for item in items)]
    for item in items:
        name, equals, path = item.partition("=")
        if not equals:
            if not unnamed:
                raise UsageError(
                    "more inputs given than the model has",
                    expected=f"{len(graph.inputs)}: {', '.join(graph.inputs)}",
                    found=str(len(items)),
                )
            name, path = unnamed.pop(0), item
        elif name not in graph.inputs:
            raise UsageError(f"the model has no input {name!r}", expected=f"one of {', '.join(graph.inputs)}")
        made[name] = _read_array(path)
    if set(made) != set(graph.inputs):
        raise UsageError(
            "inputs are missing", expected=", ".join(graph.inputs), found=", ".join(made) or "none"
        )
    return made


def write_outputs(path, outputs: dict):
    """One output to a .npy file, or all of them by name to a .npz file."""
    by_name = Path(path).suffix == ".npz"
    if not by_name and len(outputs) > 1:
        raise UsageError(
            "the model has several outputs", where=path, expected="a .npz file", found=", ".join(outputs)
        )
    try:
        with open(path, "wb") as file:  # given a name, numpy would add its own suffix
            np.savez(file, **outputs) if by_name else np.save(file, next(iter(outputs.values())))
    except OSError as error:
        raise UsageError(f"cannot be written: {error.strerror}", where=path) from error


def table(header, rows):
    """Lines of aligned columns: text to the left, numbers to the right."""
    cells = [[str(c) for c in row] for row in [header, *rows]]
    widths = [max(len(row[k]) for row in cells) for k in range(len(header))]
    right = [
        all(
            isinstance(row[k], (int, float)) or str(row[k])[:1].isdigit() or row[k] in ("", "-")
            for row in rows
        )
        for k in range(len(header))
    ]
    return [
        "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right)).rstrip()
        for row in cells
    ]


@contextlib.contextmanager
def progress(label):
    """Yields progress(fraction): a bar on stderr (rich where it is installed, plain where not), silent unless that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda fraction: None
        return
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError:
        yield lambda fraction: print(
            f"\r{label} {fraction:4.0%}", end="" if fraction < 1 else "\r\033[K", file=sys.stderr, flush=True
        )
        return
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=1.0)
        yield lambda fraction: bar.update(task, completed=fraction)


# ---- info -----------------------------------------------------------------------------------------------------------


def describe(graph: Graph) -> dict:
    """What a graph holds, as plain JSON values."""
    layers = []
    for layer in graph.layers:
        if isinstance(layer, Input):
            continue
        options = {}
        for item in dataclasses.fields(layer):
            value = getattr(layer, item.name)
            if item.name not in ("name", "inputs", "graph", *layer.arrays) and value != item.default:
                options[item.name] = value if isinstance(value, (bool, int, float, str)) else str(value)
        signal = graph.signals[layer.name]
        layers.append(
            {
                "name": layer.name,
                "kind": layer.kind,
                "inputs": list(layer.inputs),
                "output": str(signal),
                "parameters": int(layer.parameters),
                "options": options,
            }
        )
    return {
        "inputs": [
            {"name": n, "shape": str(graph.signals[n]), "axes": graph[n].axes, "ids": graph[n].ids}
            for n in graph.inputs
        ],
        "outputs": [
            {"name": o.name, "shape": str(graph.signals[o.value]), "axes": o.axes, "value": o.value}
            for o in graph.outputs
        ],
        "parameters": int(graph.parameters),
        "layers": layers,
        "metadata": graph.metadata,
    }


def _described(data):
    rows = []
    for x in data["layers"]:
        options = ", ".join(f"{k}={v}" for k, v in x["options"].items())
        rows.append((x["name"], x["kind"], x["output"], x["parameters"], ", ".join(x["inputs"]), options))
    lines = table(("layer", "kind", "output", "parameters", "reads", "options"), rows)
    lines += ["", f"{data['parameters']} parameters"]
    for word in ("inputs", "outputs"):
        lines += [
            f"{word[:-1]} {x['name']}: {x['shape']}" + (", ids" if x.get("ids") else "") + _axes(x)
            for x in data[word]
        ]
    for key, value in data["metadata"].items():
        if isinstance(value, list):
            lines += [f"{key}:"] + [f"  {v}" for v in value] if value else []
        else:
            lines.append(
                f"{key}: {value if isinstance(value, (str, int, float, bool, type(None))) else json.dumps(value)}"
            )
    return lines


def _axes(item):
    return (
        ""
        if item["axes"] in ("btf", "bf")
        else ", as (" + ", ".join({"b": "batch", "t": "time", "f": "channels"}[a] for a in item["axes"]) + ")"
    )


def info(options):
    model = open_model(options.file, options.spec)
    data = {"file": str(options.file)} | describe(model.graph)
    origin = {key: value for key, value in model.provenance.items() if key not in model.graph.metadata}
    data |= {
        "nbytes": int(model.nbytes),
        "golden_by": model.golden_by,
        "streamable": model.streamable,
        "provenance": origin,
    }
    lines = [
        f"{data['file']}",
        *_described(data),
        *(f"source {key}: {value}" for key, value in origin.items() if key != WHY),
    ]
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


# ---- convert, run, stream, verify -----------------------------------------------------------------------------------


def convert(options):
    import rnnrt

    if detect(options.source).name == "rnnrt":
        raise UsageError("is a .rnnrt file already", where=options.source)
    with _reading():
        model = rnnrt.convert(options.source, options.output, golden=options.golden, **_spec(options.spec))
    size, error = Path(options.output).stat().st_size, model.verify()
    data = {
        "source": options.source,
        "destination": options.output,
        "bytes": size,
        "parameters": int(model.graph.parameters),
        "max_error": error,
    }
    data |= {"golden_by": model.golden_by, WHY: model.provenance.get(WHY)}
    return Report(
        data,
        [
            f"{options.source} -> {options.output}: {data['parameters']} parameters, {size} bytes, error at most {error:.1e}",
            _golden_by(model),
        ],
    )


#: Under this key a model's provenance says why its golden sample was not answered by a framework.
WHY = "golden_by_reference_because"


def _golden_by(model):
    """Who answered the golden sample, in words."""
    why = model.provenance.get(WHY)
    return f"golden answers by: {_answerer(model)}" + (f" ({why})" if why else "")


def _answerer(model):
    return "the float64 reference" if model.golden_by == "reference" else model.golden_by


def _shapes(arrays):
    return {name: {"shape": list(y.shape), "dtype": str(y.dtype)} for name, y in arrays.items()}


def run(options):
    model = open_model(options.model, options.spec, num_threads=options.threads)
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


def stream(options):
    model = open_model(options.model, options.spec)
    graph = model.graph
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
    model = open_model(options.model, options.spec)
    error = model.verify()
    data = {"model": options.model, "ok": True, "golden_by": model.golden_by, "max_error": error}
    return Report(data, [f"{options.model}: ok, within {error:.1e} of the answers of {_answerer(model)}"])


# ---- bench ----------------------------------------------------------------------------------------------------------

LATENCY = ("min", "p50", "p99", "p999", "max")


def benchmark(options):
    if options.against:
        return against(options)
    model = open_model(options.model, options.spec, num_threads=options.threads)
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
    if "step" not in calls and len(calls) == 1:
        lines.append("this model does not stream; rnnrt info says why")
    return Report(data, lines)


def against(options):
    """The same file, input, process and thread; the contenders take turns of 20 ms."""
    from .peers import opener

    open_peer = opener(options.against, options.model)
    model = open_model(options.model, options.spec)
    peers = open_peer(options.model)
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
        ],
    )


# ---- demo, doctor ---------------------------------------------------------------------------------------------------


def demo(options):
    from . import demo

    if options.plot:
        _check_plot(options.plot)
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
            "is no kind of picture", where=path, expected=f"a name that ends in one of {', '.join(formats)}"
        )
    try:
        with open(path, "ab"):
            pass
    except OSError as error:
        raise UsageError(f"cannot be written: {error.strerror}", where=path) from error


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


# ---- the arguments --------------------------------------------------------------------------------------------------


def _count(text):
    if not text.isdecimal() or not 1 <= int(text) < 1 << 31:
        raise argparse.ArgumentTypeError("must be a whole number from 1")
    return int(text)


def _positive(text):
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("must be a positive number")
    return value


class _Parser(argparse.ArgumentParser):
    """Arguments that make no sense are an error like any other: one message, or JSON."""

    def error(self, message):
        raise UsageError(message, fix=f"See: {self.prog} --help")


def parser() -> argparse.ArgumentParser:
    from .peers import PEERS

    root = _Parser(
        prog="rnnrt",
        description="Runs trained recurrent and 1-D convolutional networks on a CPU.",
        epilog=__doc__.split("\n\n", 1)[1],
    )
    commands = root.add_subparsers(required=True, metavar="COMMAND")

    def command(function, name, text, model=None):
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(command=function)
        made.add_argument("--json", action="store_true", help="print one JSON object instead of text")
        if model:
            made.add_argument(
                model,
                metavar=model.upper(),
                help="a .rnnrt, .keras, .h5, .pt, .safetensors or .npz file; its kind is found by its content",
            )
            made.add_argument(
                "--spec",
                metavar="FILE",
                help="for a file that holds weights alone: the layers in order, one a line; or Keras's to_json()",
            )
        return made

    made = command(convert, "convert", "write a model as a .rnnrt file", "source")
    made.add_argument("-o", "--output", required=True, metavar="DST", help="the .rnnrt file to write")
    made.add_argument(
        "--golden",
        choices=("auto", "reference"),
        default="auto",
        help="who answers the sample that verify replays: Keras for its own files, where installed (auto), or rnnrt's float64 reference",
    )
    command(
        info,
        "info",
        "show layers, sizes, inputs, outputs, assumptions; or the draft of a spec where one is needed",
        "file",
    )
    made = command(run, "run", "run a model on whole arrays", "model")
    made.add_argument("--input", required=True, nargs="+", metavar="[NAME=]X.npy")
    made.add_argument(
        "--output", required=True, metavar="Y.npy", help=".npy for one output, .npz for all of them by name"
    )
    made.add_argument("--threads", type=_count, default=1, help="of a .rnnrt file (default 1)")
    made = command(stream, "stream", "run a model chunk by chunk, as a live stream would", "model")
    made.add_argument(
        "--input",
        required=True,
        nargs="+",
        metavar="[NAME=]X.npy",
        help="(time, features) or (batch, time, features)",
    )
    made.add_argument("--chunk", type=_count, default=1, help="frames pushed at a time (default 1)")
    made.add_argument("--output", metavar="Y.npy")
    command(verify, "verify", "replay the answers stored in the file", "model")
    made = command(benchmark, "bench", "measure steps, chunks and whole calls on this machine", "model")
    made.add_argument("--seconds", type=_positive, default=3.0, help="how long to measure (default 3)")
    made.add_argument(
        "--rate", type=_positive, metavar="HZ", help="steps per second of the real signal: adds x real time"
    )
    made.add_argument("--chunk", type=_count, default=32, help="steps in a chunk (default 32)")
    made.add_argument("--time", type=_count, default=200, help="steps in a whole call (default 200)")
    made.add_argument("--batch", type=_count, default=1, help="rows in a whole call (default 1)")
    made.add_argument("--threads", type=_count, default=1, help="of a .rnnrt file (default 1)")
    made.add_argument(
        "--against",
        choices=PEERS,
        help="run your own file in its own framework too, in turns in this process",
    )
    made = command(demo, "demo", "run the networks that come with rnnrt on a real signal and check them")
    made.add_argument("--plot", metavar="FILE", help="draw the forecasts (needs matplotlib)")
    made.add_argument("--seconds", type=_positive, default=2.0, help="how long to measure in all (default 2)")
    command(doctor, "doctor", "examine this machine and this installation")
    return root


if __name__ == "__main__":
    sys.exit(main())
