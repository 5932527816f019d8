"""Twelve networks in every format, each against its own framework: what is equal, what is refused, and why.

    python tools/table_of_formats.py [--prove] [NETWORK ...]

Reads the files in tests/data, which record_onnx.py, record_pt2.py, record_torchscript.py and
record_keras_exports.py wrote of the same networks (those of TensorFlow of their Keras counterparts), imports
each and compares with what the framework answered at 1 and 3 rows of 1, 2, 7, 8 and 50 frames. A row a
network, a column a format, and in a cell the files of that format:

    =      answers as the framework does at every number of rows and frames
    =N     takes N frames alone, refuses others by name, and answers as the framework does
    -      is not made by the exporter
    no     refused
    WRONG  answers otherwise

With --prove, the files that take N frames alone run in their own runtime (onnxruntime, PyTorch, LiteRT) with
other numbers: it must refuse them or answer otherwise than the network does. Below, how many files of each
column are "=", and why others are not. Ends with 1 where an answer was wrong, or a proof was not one.
"""

import argparse
import io
import sys
import tempfile
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))
import keras_exports
import onnx_exports
import pt2_records
import script_records

import rnnrt

TOLERANCE = 1e-5


class File(NamedTuple):
    """``content`` of a file of a network, None where there is none; ``source``: the module of tests/support
    that knows its inputs and answers.
    """

    network: str
    way: str
    content: bytes | None
    source: object


READ = {".onnx": rnnrt.from_onnx, ".pt2": rnnrt.from_pt2, ".pt": rnnrt.from_torchscript}
READ[".tflite"] = rnnrt.from_tflite


def columns():
    """{format: (suffix, ways, f(network, way) -> File)}."""

    def torch(files):
        return lambda name, way: File(name, way, files.get(f"{name}.{way}"), onnx_exports)

    def keras(name, way):
        return File(name, way, keras_exports.recorded()[0].get(f"{name}.{way}"), keras_exports)

    exported = onnx_exports.recorded()[0]
    old = [f"{way}{n}" for way, n, fixed in onnx_exports.WAYS if way == "old" and not fixed]
    new = [f"{way}{n}" for way, n, fixed in onnx_exports.WAYS if way == "new" and not fixed]
    return {
        "old 11-20": (".onnx", old, torch(exported)),
        "dynamo 18-23": (".onnx", new, torch(exported)),
        "tf2onnx": (".onnx", [w for w in keras_exports.WAYS if w.endswith("onnx")], keras),
        ".pt2": (".pt2", pt2_records.WAYS, torch(pt2_records.recorded())),
        "traced": (".pt", ["traced"], torch(script_records.recorded())),
        "frozen": (".pt", ["frozen"], torch(script_records.recorded())),
        "TFLite": (".tflite", ["open.tflite"], keras),
    }


class Outcome(NamedTuple):
    """``mark``: what the table shows; ``why``: the reason of a refusal, or what differs; ``length``: the
    frames that a file takes alone.
    """

    mark: str
    why: str = ""
    length: int | None = None


def outcome(file, suffix, folder):
    """What becomes of a file."""
    if file.content is None:
        return Outcome("-")
    path = folder / f"m{suffix}"
    path.write_bytes(file.content)
    try:
        sample = file.source.sample(file.network, 2, 7)[0]
        model = imported(path, sample)
    except rnnrt.RnnrtError as error:
        return Outcome("no", str(error).replace(str(path), file.way))
    letters = file.source.SHAPES[file.network][0].split()
    first = next(iter(model.inputs.values()))
    length = model.inputs.get("x", first)[letters.index("t")]
    answers, compared = file.source.recorded()[1][file.network], 0
    for batch in file.source.BATCHES:
        for time in file.source.TIMES:
            given, at = file.source.sample(file.network, batch, time), f"{batch} rows of {time} frames: "
            wanted = [a for k, a in sorted(answers.items()) if k.startswith(f"{batch} {time} ")]
            try:
                made = run(model, given)
            except rnnrt.RnnrtError as error:
                if length not in (None, time) and isinstance(error, rnnrt.ShapeError) or not wanted:
                    continue
                return Outcome("WRONG", f"{at}refused: {error}")
            if length not in (None, time) or not wanted:
                return Outcome("WRONG", f"{at}answers, but is said to take {length} frames, or none so short")
            for y, z in zip(made, wanted):
                if y.shape != z.shape or not np.allclose(y, z, atol=TOLERANCE, rtol=TOLERANCE):
                    near = np.abs(y - z).max() if y.shape == z.shape else f"{y.shape} and {z.shape}"
                    return Outcome("WRONG", f"{at}{near}")
                compared += 1
    if not compared:
        return Outcome("WRONG", "nothing could be compared")
    return Outcome("=" if length is None else f"={length}", length=length)


def imported(path, example=None):
    """The model of a file; where a frozen one does not say what it was traced with, ``example`` says it."""
    read = READ[path.suffix]
    try:
        return read(path)
    except rnnrt.UnsupportedModelError as error:
        if "shapes={name: sizes}" not in str(error) or path.suffix != ".pt" or example is None:
            raise
        return read(path, shapes={"x": example.shape})


def run(model, given):
    """The outputs of a call, in the order of the network: a file has them, and the inputs, in its own; states
    that an import keeps in its layers are given as such.
    """
    by_name = dict(zip("xhc", given))
    if set(model.inputs) == set(by_name) and set(model.outputs) <= {"y", "hn", "cn"}:
        made = model.run(by_name)
        return [made[n] for n in ("y", "hn", "cn") if n in made]
    made = (
        model(*given) if len(model.inputs) == len(given) else model(given[0], initial_state=tuple(given[1:]))
    )
    return made if isinstance(made, tuple) else (made,)


def proof(file, suffix, length):
    """How a file's own runtime fails at other numbers of frames than ``length``; None where it does not, or
    fails at those, too.
    """
    answers, found = file.source.recorded()[1][file.network], []
    rows = 2 if suffix == ".pt2" else 3  # one of .pt2 may be for two rows
    for time in sorted(file.source.TIMES, key=lambda t: t != length):
        if f"3 {time} 0" not in answers:
            continue
        first = lambda x, shape: x.take(range(rows), shape.split().index("b"))
        shapes = file.source.SHAPES[file.network]
        given = [first(x, shape) for x, shape in zip(file.source.sample(file.network, 3, time), shapes)]
        wanted = first(answers[f"3 {time} 0"], shapes[0])
        try:
            y = RUNTIMES[suffix](file.content, given)
        except Exception as error:  # noqa: BLE001 - whatever a runtime refuses
            if time == length:
                return None
            found.append(f"{time} frames: {type(error).__name__}")
            continue
        same = y.shape == wanted.shape and np.allclose(y, wanted, atol=1e-4, rtol=1e-4)
        if same != (time == length):
            return None
        found += [f"{time} frames: otherwise"] if time != length else []
    return ", ".join(found)


def _by_onnxruntime(content, given):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip([i.name for i in session.get_inputs()], given)))[0]


def _by_torch(load):
    def run(content, given):
        import torch

        with torch.no_grad():
            made = load(torch, io.BytesIO(content))(*map(torch.from_numpy, given))
        return (made[0] if isinstance(made, tuple) else made).numpy()

    return run


def _exported(torch, file):
    """The operators of an archive, without the guards that hold it to the sizes of its example."""
    program = torch.export.load(io.BytesIO(pt2_records.with_inputs(file.read())))
    operators = torch.fx.Interpreter(program.module(check_guards=False))
    return lambda *given: operators.run(*given, enable_io_processing=False)[0]


def _by_litert(content, given):
    from record_tflite import runs

    return runs(content, given)[0][0]


RUNTIMES = {
    ".onnx": _by_onnxruntime,
    ".pt2": _by_torch(_exported),
    ".pt": _by_torch(lambda torch, file: torch.jit.load(file)),
    ".tflite": _by_litert,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("networks", nargs="*")
    parser.add_argument("--prove", action="store_true", help="run frozen files in their own runtime")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    networks, reasons, failed = chosen.networks or list(onnx_exports.SHAPES), [], False
    table, counts = {name: [] for name in networks}, {}
    with tempfile.TemporaryDirectory() as folder:
        for column, (suffix, ways, file_of) in columns().items():
            counts[column] = {}
            for name in networks:
                marks = []
                for way in ways:
                    file = file_of(name, way)
                    found = outcome(file, suffix, Path(folder))
                    marks.append(found.mark)
                    if found.mark in ("no", "WRONG"):
                        reasons.append(f"{column}, {name}, {way}: {found.mark}: {found.why}")
                    if found.length and chosen.prove:
                        shown = proof(file, suffix, found.length)
                        failed |= shown is None
                        word = shown or "NOT PROVEN"
                        reasons.append(f"{column}, {name}, {way}: {found.length} frames alone: {word}")
                failed |= "WRONG" in marks
                table[name].append(" ".join(dict.fromkeys(marks)))
                for way, mark in zip(ways, marks):
                    counts[column].setdefault(way, []).append(mark)
    width = max(map(len, networks)) + 1
    print(" " * width + "".join(f"{c:14}" for c in counts))
    for name, cells in table.items():
        print(f"{name:{width}}" + "".join(f"{cell:14}" for cell in cells).rstrip())
    for column, ways in counts.items():
        for way, marks in ways.items():
            made = [m for m in marks if m != "-"]
            other = sum(m != "=" for m in made)
            most = "" if 4 * other <= len(made) else ": more than a quarter is not"
            print(f"{column}, {way}: {len(made) - other} of {len(made)} at any number of frames{most}")
    print(*reasons, sep="\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
