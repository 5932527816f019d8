"""The model that a command is about, in any file rnnrt reads."""

from __future__ import annotations

import contextlib
import os

from ..errors import ShapeError
from ..importers.detection import detect
from .files import UsageError, check_destination, output_kind, read_text, split_input


@contextlib.contextmanager
def reading():
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

    with reading():
        if detect(path).name == "rnnrt":
            if options.spec:
                raise UsageError("a .rnnrt file needs no spec: it says what it is", where=str(path))
            return rnnrt.load(path, max_bytes=options.max_bytes, **settings)
        model = rnnrt.convert(path, **importing(path, options))
    return model.with_options(**settings) if settings.get("num_threads", 1) > 1 else model


def importing(path, options):
    """The importer's own options among those of a command; UsageError where its file has no use for one."""
    kind, own = detect(path), ("data", "constant", "state", "shape")
    takes = {"onnx": own, "tflite": own[1:], "pt2": ("state",), "torchscript": own[2:]}.get(kind.importer, ())
    given = next((n for n in own if getattr(options, n) and n not in takes), None)
    if given:
        others = {
            "data": "",
            "state": ", .tflite, .pt2 and TorchScript",
            "shape": ", .tflite and TorchScript",
        }
        others = others.get(given, " and .tflite")
        raise UsageError(f"is {kind.what}; --{given} belongs to .onnx{others} files", where=str(path))
    if kind.importer not in ("keras", "torch", "torchscript") and options.spec:
        raise UsageError(f"is {kind.what}, which needs no spec: it says what it is", where=str(path))
    made = {"max_bytes": options.max_bytes}
    if options.spec:
        made["spec"] = read_text(options.spec)
    for name, argument in (("constant", "constants"), ("state", "state"), ("shape", "shapes")):
        if getattr(options, name):
            made[argument] = dict(getattr(options, name))
    return made | {"data": options.data} if options.data else made


def files_read(options):
    """The files that a command reads beside its model."""
    paths = (options.spec, getattr(options, "golden", None), *(options.data or ()))
    return [path for path in paths if path and os.path.exists(path)]


def check_output(options, graph):
    """Whether the answers may be written where they shall be: asked before the work, not after it."""
    if options.encoding and output_kind(options.output) != ".wav":
        raise UsageError("only the samples of a .wav file have an encoding", where=options.output)
    read = (options.model, *files_read(options), *(split_input(graph, item)[1] for item in options.input))
    check_destination(options.output, read, output_kind(options.output), options.force)
