"""The files of a command beside its model: specs, arrays read, answers written; and what may never be written
over.
"""

from __future__ import annotations

import os
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np

from ..axes import to_source
from ..errors import ModelFileError, RnnrtError, did_you_mean
from ..format import atomic_write, wav
from ..format.reading import open_regular
from ..graph import Graph
from ..importers.containers.npz import check_size, read_header
from ..importers.detection import detect
from ..pages import GENERATOR
from .sound import as_input, as_sound
from .usage import UsageError

# ---- reading -----------------------------------------------------------------------------------------------


def read_text(path):
    """The text of a file, without the byte order mark that some editors put first."""
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=path) from error
    except ValueError as error:  # not UTF-8; a NUL inside the path
        raise UsageError("is not text", where=path, expected="UTF-8") from error


def read_array(path):
    """The array in a .npy file: its header is checked against the file's size before anything is
    allocated. Or the Sound in a .wav file.
    """
    try:
        with open_regular(path) as file:
            if wav.is_sound(file.peek(12)[:12]):
                return wav.read(path)
            if file.peek(4)[:4] == b"PK\x03\x04":
                raise UsageError(
                    "holds several arrays",
                    where=path,
                    expected="a .npy file",
                    fix="Name each input: --input name=x.npy ...",
                )
            shape, fortran_order, dtype = read_header(file, path)
            check_size(shape, dtype, os.fstat(file.fileno()).st_size - file.tell(), path)
            numbers = np.empty(shape[::-1] if fortran_order else shape, dtype)
            if file.readinto(numbers.reshape(-1).view("u1")) != numbers.nbytes:
                raise UsageError("ended early: the file changed while it was read", where=path)
    except (
        ModelFileError
    ) as error:  # an input is not a model: what is wrong with it is wrong with the command
        fix = error.fix or "Write it with numpy.save."
        raise UsageError(
            error.what, where=path, expected=error.expected, found=error.found, fix=fix
        ) from error
    return numbers.T if fortran_order else numbers


def read_table(graph: Graph, name, path):
    """The numbers of a .csv file, a line a frame, as the input ``name`` takes them, without a batch axis; a
    first line without a number holds the names of columns.
    """
    layer, signal = graph[name], graph.signals[name]
    if layer.ids or not layer.time:
        raise UsageError(
            f"is a table, which the input {name!r} does not take",
            where=path,
            expected=str(signal),
            fix="Give a .npy file.",
        )
    lines = read_text(path).rstrip().splitlines()
    named = bool(lines) and not any(_is_number(cell) for cell in lines[0].split(","))
    table = []
    for number, line in enumerate(lines[named:], 1 + named):
        where, cells = f"{path}, line {number}", line.split(",")
        if len(cells) != signal.width:
            raise UsageError(
                f"does not have a column for each number in a frame of the input {name!r}",
                where=where,
                expected=str(signal.width),
                found=str(len(cells)),
            )
        try:
            table.append([float(cell) for cell in cells])
        except ValueError as error:
            raise UsageError("holds what is not a number", where=where, found=str(error)[:100]) from error
    if not table:
        raise UsageError("holds no numbers", where=path)
    x = to_source(np.array(table, np.float32).reshape(1, -1, *layer.features), layer.axes)
    return np.squeeze(x, layer.axes.index("b"))


def _is_number(cell):
    try:
        float(cell)
    except ValueError:
        return False
    return True


def split_input(graph: Graph, item):
    """(input name or None, path) of ``x.npy`` or ``name=x.npy``: a path may hold a ``=`` too."""
    name, equals, path = item.partition("=")
    if equals and name in graph.inputs:
        return name, path
    if equals and not os.path.exists(item):
        raise UsageError(
            f"the model has no input {name!r}, and there is no file {item!r}",
            expected=f"one of {', '.join(graph.inputs)}",
            fix=did_you_mean(name, graph.inputs),
        )
    return None, item


def read_inputs(graph: Graph, items, channel=None):
    """({input name: array}, sample rate or None) from ``x.npy``, ``x.wav``, ``x.csv`` or ``name=x.npy``
    items; unnamed ones in the source's order. ``channel``: the one of sounds that is taken, from 1 on.
    """
    split = [split_input(graph, item) for item in items]
    named = [name for name, _ in split if name]
    unnamed = [n for n in graph.inputs if n not in named]
    arrays, rates = {}, set()
    for name, path in split:
        if name is None:
            if not unnamed:
                raise UsageError(
                    "more inputs given than the model has",
                    expected=f"{len(graph.inputs)}: {', '.join(graph.inputs)}",
                    found=str(len(items)),
                )
            name = unnamed.pop(0)
        if name in arrays:
            raise UsageError(f"the input {name!r} is given twice")
        is_table = Path(path).suffix.lower() == ".csv"
        arrays[name] = read_table(graph, name, path) if is_table else read_array(path)
        if isinstance(arrays[name], wav.Sound):
            rates.add(arrays[name].rate)
            arrays[name] = as_input(graph, name, arrays[name], path, channel)
    if set(arrays) != set(graph.inputs):
        raise UsageError(
            "inputs are missing", expected=", ".join(graph.inputs), found=", ".join(arrays) or "none"
        )
    if channel and not rates:
        raise UsageError("--channel is for .wav files", found=" ".join(map(str, items)))
    if len(rates) > 1:
        raise UsageError(
            "the sounds differ in their sample rates", found=", ".join(f"{r} Hz" for r in sorted(rates))
        )
    return arrays, next(iter(rates), None)


# ---- writing -----------------------------------------------------------------------------------------------

_PICTURES = (
    b"\x89PNG",
    b"%PDF",
    b"%!PS",
    b"<?xml",
    b"<svg",
    b"\xff\xd8",
    b"II*\0",
    b"MM\0*",
    b"RIFF",
    b"GIF8",
)


def _is_rnnrt(path):
    return detect(path).name == "rnnrt"


def _starts(*beginnings):
    def test(path):
        with open_regular(path) as file:
            return file.read(16).startswith(beginnings)

    return test


def _is_embedded(path):
    with open_regular(path) as file:
        return b" as one array, written by: rnnrt embed " in file.read(1 << 16)


def _is_page(path):
    with open_regular(path) as file:
        return GENERATOR.encode() in file.read(1 << 10)


def _is_wav(path):
    with open_regular(path) as file:
        return wav.is_wav(file.read(12))


def _is_npz(path):
    with ZipFile(path) as archive:
        return all(name.endswith(".npy") for name in archive.namelist())


def _is_csv(path):
    with open_regular(path) as file:
        return Path(path).suffix.lower() == ".csv" and b"\0" not in file.read(4096)


#: What a command writes: (what it is called, whether a file there already is of this kind).
KINDS = {
    ".rnnrt": ("a .rnnrt file", _is_rnnrt),
    ".npy": ("a .npy file", _starts(b"\x93NUMPY")),
    ".npz": ("an .npz file", _is_npz),
    ".csv": ("a .csv file", _is_csv),
    ".wav": ("a .wav file", _is_wav),
    ".parquet": ("a Parquet file", _starts(b"PAR1")),
    ".html": ("a page that rnnrt wrote", _is_page),
    ".c": ("a C file that rnnrt embed wrote", _is_embedded),
    "picture": ("a picture", _starts(*_PICTURES)),
}


def output_kind(path):
    """The key in KINDS for an answer's file, by its suffix; raises UsageError for a suffix that is not
    written.
    """
    suffix = Path(path).suffix.lower() or ".npy"
    if suffix not in (".npy", ".npz", ".csv", ".wav"):
        raise UsageError(
            f"answers are not written as {suffix}",
            where=path,
            expected="a name that ends in .npy, .npz (all outputs by name), .csv (a table) or .wav (sound)",
        )
    return suffix


def check_destination(path, sources, kind, force=False):
    """Raises UsageError where ``path`` is one of the files ``sources`` that are read, under whatever name,
    or, without ``force``, a file of another kind than KINDS[kind]."""
    for source in sources:
        if _same_file(path, source):
            raise UsageError(
                "is read by this command and would be overwritten", where=path, fix="Give another name."
            )
    what, fits = KINDS[kind]
    if force or not os.path.isfile(path) or os.path.getsize(path) == 0:
        return
    try:
        known = fits(path)
    except (RnnrtError, OSError, BadZipFile, ValueError, NotImplementedError):
        known = False
    if not known:
        raise UsageError(
            "is a file of another kind and would be lost",
            where=path,
            expected=f"a new name, or {what}",
            fix="Give another name, or --force to write over it.",
        )


def _same_file(path, source):
    try:
        return os.path.samefile(path, source)
    except (OSError, ValueError):
        return False


def write_outputs(path, outputs: dict, graph: Graph, inputs: dict, rate=None, encoding=None):
    """One output to a .npy, .csv or .wav file, or all of them by name to an .npz file: whole or not at all.
    ``inputs`` as ``read_inputs`` made them; ``rate`` in Hz and ``encoding`` are those of a .wav file. Returns
    what is to be said about it.
    """
    kind = output_kind(path)
    if kind == ".wav":
        return _write_sound(path, as_sound(graph, inputs, outputs, rate, encoding or "float32", path))
    if kind != ".npz" and len(outputs) > 1:
        raise UsageError(
            "the model has several outputs", where=path, expected="a .npz file", found=", ".join(outputs)
        )
    only = next(iter(outputs.values()))
    if kind == ".csv":
        only = _table(path, only)
    try:
        with atomic_write.replacing(path) as file:
            if kind == ".csv":
                np.savetxt(file, only, fmt="%.9g", delimiter=",")  # nine digits are a float32, whole
            elif kind == ".npz":
                np.savez(_Plain(file), **outputs)
            else:
                np.save(_Plain(file), only)
    except ModelFileError as error:
        raise UsageError(error.what, where=path, found=error.found, fix=error.fix) from error
    return ()


def _write_sound(path, sound):
    try:
        parts, cut = wav.encode(sound)
        atomic_write.write(path, parts)
    except ModelFileError as error:
        raise UsageError(
            error.what, where=path, expected=error.expected, found=error.found, fix=error.fix
        ) from error
    said = f"{cut:,} samples were beyond full scale and are cut: write float32 samples to keep them"
    return (said,) if cut else ()


def _table(path, y):
    """``y`` as a table of two axes: one sequence, or a batch of vectors."""
    table = y[0] if y.ndim == 3 and len(y) == 1 else y
    if table.ndim not in (1, 2):
        raise UsageError(
            "a .csv file holds one table of two axes",
            where=path,
            found=f"an answer of shape {y.shape}",
            fix="Write it to a .npy file, or give one sequence without a batch.",
        )
    return table


class _Plain:
    """A file that NumPy takes for any stream: into a real one it writes past Python and loses the system's
    reason when that fails.
    """

    def __init__(self, file):
        self.write, self.seek, self.tell, self.flush = file.write, file.seek, file.tell, file.flush

    def read(self, *_):  # NumPy tells a stream from a path by this
        raise OSError("this file is written")
