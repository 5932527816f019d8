"""``rnnrt stream --input -``: frames as they come on stdin, each chunk's answer as soon as it is made."""

from __future__ import annotations

import json
import os
import sys
import time
from array import array

import numpy as np

from ..axes import to_canonical, to_source
from .measure import MOST, summarise
from .report import Report
from .usage import UsageError

#: Numbers on stdin: (type, what one of them is divided by), little-endian. Those of int16 are samples of
#: sound, full scale 1, as in a .wav file.
RAW = {"float32": ("<f4", None), "int16": ("<i2", 32768.0)}
#: How answers go to stdout, a frame after the other: numbers of float32, or a line a frame.
FORMATS = ("raw", "csv", "jsonl")

#: How long a look at the beginning of stdin is, and what is not taken for numbers there.
_HEAD = 16
_FILES = {
    b"RIFF": ("a WAV file", "Leave its header out, as: arecord -t raw; or give the file: --input X.wav"),
    b"\x93NUMPY": ("a .npy file", "Give the file: --input X.npy"),
}


def stream_pipe(options, model):
    """Pushes what comes on stdin, ``options.chunk`` frames at a time, until it ends or Ctrl-C."""
    graph = model.graph
    layer, output = _ports(graph)
    if options.input != ["-"]:
        raise UsageError("stdin is the only input", where="--input", found=" ".join(options.input))
    if options.encoding or options.force or options.channel:
        raise UsageError("--encoding, --channel and --force are for files")
    if options.output not in (None, "-"):
        raise UsageError("answers to stdin go to stdout", where=options.output, expected="--output -")
    if options.output and options.json:
        raise UsageError("stdout cannot take answers and --json", fix="Leave out one of them.")
    source, sink = _binary(sys.stdin, "stdin"), _binary(sys.stdout, "stdout") if options.output else None
    raw, form = options.raw or "float32", options.format or "raw"
    kind, scale = RAW[raw]
    width = graph.signals[layer.name].width
    one = width * np.dtype(kind).itemsize
    stream = model.stream()
    taken, work, late, pushed, made, why = array("q"), 0, 0, 0, 0, "the input ended"
    head = b""
    try:
        while True:
            content = source.read(one * options.chunk)
            if len(head) < _HEAD:
                head += content[: _HEAD - len(head)]
                _check_head(head)
            if len(content) % one:
                raise UsageError(
                    "ends in the middle of a frame",
                    where="stdin",
                    expected=f"frames of {width} numbers of {raw}, {one} bytes each",
                    found=f"{pushed:,} frames and {len(content) % one} bytes",
                )
            if not content:
                break
            numbers = np.frombuffer(content, kind).astype(np.float32)
            if scale:
                numbers /= np.float32(scale)
            chunk = _as_source(numbers, layer)
            begin = time.perf_counter_ns()
            answer = stream.push(chunk)
            spent = time.perf_counter_ns() - begin
            work += spent
            if len(taken) < MOST:
                taken.append(spent)
            frames = len(numbers) // width
            pushed += frames
            late += bool(options.rate) and spent > frames / options.rate * 1e9
            made += _write(sink, form, answer, output, graph)
        made += _write(sink, form, stream.flush(), output, graph)
    except KeyboardInterrupt:
        why = "interrupted"
    except BrokenPipeError:  # the reader left (| head); nothing is wrong with us
        why = "the reader of the answers left"
        os.dup2(os.open(os.devnull, os.O_WRONLY), sink.fileno())  # Python flushes once more at its end
    return _report(options, pushed, made, taken, work, late, why)


def _check_head(head):
    """UsageError where stdin begins as a file that has a header, or as text: numbers could not be told from
    it, and every answer would be wrong.
    """
    found = next((said for begin, said in _FILES.items() if head.startswith(begin)), None)
    if not found and len(head) == _HEAD and not head.strip(b"0123456789+-.,;eE \t\r\n"):
        found = ("text", "Give it as a file: --input X.csv")
    if found:
        raise UsageError(
            f"is not numbers alone: begins as {found[0]}", where="stdin", found=repr(head), fix=found[1]
        )


def _ports(graph):
    """The input's layer and the output, where there is one of each that a pipe can carry."""
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise UsageError(
            "a pipe carries one input and one output",
            where="--input -",
            found=f"inputs {', '.join(graph.inputs)}; outputs {', '.join(o.name for o in graph.outputs)}",
        )
    layer = graph[graph.inputs[0]]
    if layer.ids or not layer.time:
        raise UsageError(
            "the input is not frames of numbers", where=layer.name, found=str(graph.signals[layer.name])
        )
    (output,) = graph.outputs
    if not graph.signals[output.value].time:
        raise UsageError(
            "the output is not frames: it comes once, at the end", where=output.name, fix="Use rnnrt run."
        )
    return layer, output


def _binary(file, name):
    if file is None or not hasattr(file, "buffer") or file.isatty():
        raise UsageError(
            "is not a pipe or a file", where=name, fix="As: arecord ... | rnnrt stream MODEL --input -"
        )
    return file.buffer


def _as_source(numbers, layer):
    """Frames after one another as one sequence along the source's axes, without a batch."""
    x = to_source(numbers.reshape(1, -1, *layer.features), layer.axes)
    return np.squeeze(x, layer.axes.index("b"))


def _write(sink, form, answer, output, graph):
    """Writes the frames of ``answer``; returns how many they are."""
    signal = graph.signals[output.value]
    y = np.expand_dims(answer, output.axes.index("b"))
    y = np.ascontiguousarray(to_canonical(y, output.axes), "<f4").reshape(-1, signal.width)
    if sink is None or not len(y):
        return len(y)
    if form == "raw":
        sink.write(y.tobytes())
    elif form == "csv":
        np.savetxt(sink, y, fmt="%.9g", delimiter=",")  # nine digits are a float32, whole
    else:
        sink.write("".join(json.dumps(row) + "\n" for row in y.tolist()).encode())
    sink.flush()
    return len(y)


def _report(options, pushed, made, taken, work, late, why):
    data = {"frames_in": pushed, "frames_out": made, "chunk": options.chunk, "ended": why}
    lines = [f"{pushed:,} frames in, {made:,} out, chunks of {options.chunk}; {why}"]
    paced, more = pace(taken, pushed, options.chunk, options.rate, work, late)
    lines += more
    if options.output:  # stdout holds the answers
        return Report(data | paced, [], notes=tuple(lines))
    return Report(data | paced, lines)


def pace(taken, frames, chunk, rate, work, late):
    """How long chunks took, of which ``taken`` are times in ns, and with a ``rate`` how that compares with
    what there is: (plain JSON values, lines). ``work``: ns of all chunks; ``late``: how many took too long.
    """
    if not taken:
        return {"latency_us": None}, []
    latency = summarise(taken)
    data = {"latency_us": latency.as_dict()}
    words = {"p50": latency.p50, "p99": latency.p99, "p99.9": latency.p999, "at most": latency.max}
    lines = ["a chunk took " + ", ".join(f"{name} {value:.1f} µs" for name, value in words.items())]
    if rate:
        data |= {
            "budget_us": chunk / rate * 1e6,
            "late": late,
            "times_real_time": frames / rate / (work / 1e9),
        }
        lines.append(
            f"{data['times_real_time']:.1f} x real time at {rate:g} frames a second; {late} of "
            f"{-(-frames // chunk)} chunks took longer than their {data['budget_us']:.0f} µs"
        )
    return data, lines
