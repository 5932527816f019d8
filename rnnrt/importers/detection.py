"""What a source is, by its content: one table, tried from top to bottom. A suffix is never looked at.

Nothing is unpacked or parsed in full, and at most a few megabytes of a file are read; importers check what
they read themselves.
"""

from __future__ import annotations

import codecs
import os
import re
import struct
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import NamedTuple

from ..errors import ModelFileError, RnnrtError, UnsupportedModelError
from ..format.file import is_rnnrt
from ..format.reading import IN_FOLDER, is_open, open_regular, path_text
from ..format.safetensors import MAX_HEADER
from ..graph import Graph
from .containers import HDF5_SIGNATURE, LEVELDB_END, ZIP_SIGNATURE
from .numpy import is_textbook

START = 4096
MAX_DIRECTORY = 8 << 20  # bytes of a zip archive's list of members that are looked at
MAX_JSON = 8 << 20  # bytes of a JSON file in which its outermost keys are looked for


class Content:
    """The parts of a file that the table's tests look at, read when first asked for."""

    def __init__(self, file):
        self._file = file
        self.size = os.fstat(file.fileno()).st_size
        self.start = self.part(0, START)

    def part(self, offset, length):
        self._file.seek(offset)
        return self._file.read(length)

    @cached_property
    def text(self):
        """The beginning as text, white space before it left out; None where it is binary."""
        try:
            text = codecs.getincrementaldecoder("utf-8-sig")().decode(
                self.start
            )  # a character cut at the end is not an error
        except UnicodeDecodeError:
            return None
        return text.lstrip() if all(c.isprintable() or c.isspace() for c in text) else None

    @cached_property
    def header(self):
        """The start of a safetensors file with its whole JSON header; empty where it is none."""
        length = int.from_bytes(self.start[:8], "little")
        if not (2 <= length <= MAX_HEADER and self.start[8:9] == b"{"):
            return b""
        return self.part(0, 8 + length)

    @cached_property
    def members(self):
        """Names of a zip archive's members; empty where it is none, or its directory at the end is
        missing.
        """
        tail = (
            self.part(max(0, self.size - MAX_DIRECTORY), MAX_DIRECTORY)
            if self.start.startswith(ZIP_SIGNATURE)
            else b""
        )
        end = tail.rfind(b"PK\x05\x06")
        if end < 0:
            return ()
        size = int.from_bytes(tail[end + 12 : end + 16], "little")
        if tail[max(0, end - 20) : end].startswith(
            b"PK\x06\x07"
        ):  # zip64: its record and locator, 76 bytes, stand in between
            end -= 76
            size = int.from_bytes(tail[end + 40 : end + 48], "little")
        names, entry = [], max(0, end - size)
        while tail[entry : entry + 4] == b"PK\x01\x02" and entry < end:
            name, extra, comment = struct.unpack_from("<3H", tail[entry + 28 : entry + 34].ljust(6, b"\0"))
            names.append(tail[entry + 46 : entry + 46 + name].decode("utf-8", "replace").replace("\\", "/"))
            entry += 46 + name + extra + comment
        return tuple(names)

    @cached_property
    def keys(self):
        """The outermost keys of a JSON object, as far as it is looked at; empty where it is none."""
        if not self.start.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{"):
            return frozenset()
        keys, depth, word = set(), 0, b""
        for token in _JSON_TOKEN.finditer(self.part(0, MAX_JSON)):
            mark = token[0][:1]
            if mark == b":" and depth == 1:
                keys.add(word.strip(b'"').decode("utf-8", "replace"))
            depth += (mark in b"{[") - (mark in b"}]")
            word = token[0]
        return frozenset(keys)

    def has(self, pattern):
        """Whether a member's whole name fits."""
        return any(re.fullmatch(pattern, name) for name in self.members)

    @cached_property
    def fields(self):
        """{number: wire type} of a protocol buffers message's outer fields, None where it is none. A cut last
        field is let pass.
        """
        fields, position = {}, 0
        for _ in range(4096):
            if position >= self.size:
                break
            key = self._varint(position)
            value = key and self._varint(key[1])
            number, wire = (key[0] >> 3, key[0] & 7) if key else (0, None)
            if not number or wire not in (0, 1, 2, 5) or (wire in (0, 2) and not value):
                return None
            fields.setdefault(number, wire)
            if wire in (0, 2):
                position = value[1] + (value[0] if wire == 2 else 0)
            else:
                position = key[1] + (8 if wire == 1 else 4)
        return fields

    def _varint(self, position):
        """(the number, where it ends) or None."""
        number = 0
        for i, byte in enumerate(self.part(position, 10)):
            number |= (byte & 127) << 7 * i
            if byte < 128:
                return number, position + i + 1
        return None


#: Strings, whole or cut at the end, and the marks that JSON is built of.
_JSON_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[{}\[\]:]', re.DOTALL)


class Kind(NamedTuple):
    """A row of the table. ``importer``: who reads it; without one it is refused as ``error`` with ``fix``,
    the way out.
    """

    name: str
    what: str
    test: Callable[[Content], bool]
    importer: str | None = None
    fix: str | None = None
    error: type[RnnrtError] = UnsupportedModelError


def _starts(*beginnings):
    return lambda content: content.start.startswith(beginnings)


def _text_starts(*beginnings):
    return lambda content: content.text is not None and content.text[:200].lower().startswith(beginnings)


def _text_has(pattern):
    return lambda content: content.text is not None and re.search(pattern, content.text) is not None


def _keys(*names):
    return lambda content: content.keys.issuperset(names)


def _is_nam(content):
    """All four keys of a .nam file, or all but one: what is missing is then said."""
    return "architecture" in content.keys and len({"version", "config", "weights"} & content.keys) >= 2


def _is_json_state_dict(content):
    """Tensors by PyTorch's names at the outermost level."""
    return any(re.search(r"(^|\.)weight(_ih_l0)?$", key) for key in content.keys)


def _at(offset, mark):
    return lambda content: content.start[offset : offset + len(mark)] == mark


def _is_onnx(content):
    """onnx.proto's ModelProto: ir_version (1) a number, graph (7) a message, and no field it does not
    have.
    """
    fields = content.fields or {}
    return fields.get(1) == 0 and fields.get(7) == 2 and set(fields) <= {*range(1, 9), 14, 20, 25, 26}


def _is_saved_model(content):
    """TensorFlow's SavedModel (1: version, 2: graphs) or a bare GraphDef (1: nodes, 2: library, 3: version,
    4: versions).
    """
    fields = content.fields or {}
    return fields in ({1: 0, 2: 2}, {2: 2}) or (
        fields.get(1) == 2 and set(fields) <= {1, 2, 3, 4} and b"\x12" in content.start[:200]
    )


_SAVE_STATE_DICT = (
    "In PyTorch: torch.save(model.state_dict(), path), then import that with a spec; or give "
    "from_torch the live module."
)
_SAVE_KERAS = 'In Keras: model.save("model.keras"), then import that.'
_GIVE_FOLDER = "Give the folder it is in, where Keras 2 saved that (the one with saved_model.pb)."
_UNPACK = "Unpack it and give the model file inside."
_MODEL_SUFFIXES = r"(keras|h5|hdf5|pt|pth|ckpt|bin|onnx|tflite|safetensors|npz|rnnrt)"

#: The first row whose test holds decides, so what is special stands before what is general.
TABLE = (
    Kind(
        "empty",
        "an empty file",
        lambda c: c.size == 0,
        fix="Copy or download it again.",
        error=ModelFileError,
    ),
    Kind(
        "git-lfs",
        "a git-lfs pointer, not the file it points to",
        _text_starts("version https://git-lfs"),
        fix="Fetch the file itself: git lfs pull.",
        error=ModelFileError,
    ),
    Kind("rnnrt", "an rnnrt file", lambda c: is_rnnrt(c.header), "file"),
    Kind("safetensors", "a safetensors file", lambda c: bool(c.header), "torch"),
    Kind("keras-h5", "an HDF5 file", _starts(HDF5_SIGNATURE), "keras"),
    # zip archives
    Kind(
        "savedmodel",
        "a zip archive of a TensorFlow SavedModel",
        lambda c: c.has(r"(.*/)?saved_model\.pb"),
        fix="Unpack it and give the folder, the one with saved_model.pb.",
    ),
    Kind(
        "keras",
        "a .keras archive",
        lambda c: c.has(r"config\.json") and c.has(r"metadata\.json|model\.weights\..*"),
        "keras",
    ),
    Kind(
        "torchscript",
        "a TorchScript program",
        lambda c: c.has(r"[^/]*/(constants\.pkl|code/.*|bytecode\.pkl)"),
        "torchscript",
    ),
    Kind(
        "torch-export",
        "a torch.export archive",
        lambda c: c.has(r"serialized_exported_program\.json|[^/]+/(models/[^/]+\.json|data/aotinductor/.*)"),
        "pt2",
    ),
    Kind("torch-zip", "a file of torch.save", lambda c: c.has(r"([^/]*/)?data\.pkl"), "torch"),
    Kind(
        "textbook",
        "an .npz of textbook parameters",
        lambda c: c.has(r".*\.npy") and is_textbook(_arrays(c.members)),
        "textbook_npz",
    ),
    Kind(
        "npz",
        "an .npz archive",
        lambda c: bool(c.members) and all(n.endswith(".npy") for n in c.members),
        "torch",
    ),
    Kind(
        "zipped", "a zip archive with a model inside", lambda c: c.has(rf".*\.{_MODEL_SUFFIXES}"), fix=_UNPACK
    ),
    Kind(
        "zip",
        "a zip archive without a model rnnrt knows",
        lambda c: bool(c.members) or c.start[:4] == b"PK\x05\x06",
        fix=_UNPACK,
    ),
    Kind(
        "zip-cut",
        "a zip archive whose end is missing",
        _starts(ZIP_SIGNATURE),
        fix="Is this an incomplete copy? Copy or download it again.",
        error=ModelFileError,
    ),
    # pickles
    Kind(
        "torch-legacy",
        "a file of torch.save before PyTorch 1.6",
        _at(2, bytes.fromhex("8a0a6cfc9c46f9206aa85019")),
        "torch",
    ),
    Kind(
        "pickle",
        "a Python pickle, which could run code and is not read",
        lambda c: c.start[:1] == b"\x80" and c.start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"),
        fix=_SAVE_STATE_DICT,
    ),
    # other programs' models
    Kind("tflite", "a TFLite model", _at(4, b"TFL3"), "tflite"),
    Kind(
        "torch-mobile",
        "a PyTorch Mobile or ExecuTorch program",
        lambda c: c.start[4:8] in (b"PTMF", b"ET12"),
        fix=_SAVE_STATE_DICT,
    ),
    Kind(
        "gguf",
        "a GGUF or GGML file",
        _starts(b"GGUF", b"lmgg", b"tjgg", b"fmgg"),
        fix="Import the PyTorch file it was made from.",
    ),
    Kind(
        "npy", "a single NumPy array", _starts(b"\x93NUMPY"), fix="Save all weights by name with numpy.savez."
    ),
    Kind(
        "matlab",
        "a MATLAB file",
        _starts(b"MATLAB 5.0"),
        fix="Export the network to ONNX, or its weights to .npz.",
    ),
    Kind(
        "checkpoint",
        "the index of a TensorFlow checkpoint",
        lambda c: c.part(max(0, c.size - len(LEVELDB_END)), len(LEVELDB_END)) == LEVELDB_END,
        "keras",
    ),
    # archives and compressed files
    Kind("gzip", "a gzip file", _starts(b"\x1f\x8b"), fix="Unpack it: gunzip."),
    Kind(
        "compressed",
        "a compressed file",
        _starts(b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf\x27\x1c", b"Rar!"),
        fix=_UNPACK,
    ),
    Kind(
        "tar",
        "a tar archive (PyTorch's form before 0.1.10 is one, too)",
        _at(257, b"ustar"),
        fix=f"{_UNPACK} A PyTorch one: load it in PyTorch and save its state_dict().",
    ),
    # text
    Kind(
        "html",
        "a web page or an XML answer of a server, not a model",
        _text_starts("<!doctype", "<html", "<head", "<body", "<?xml", "<"),
        fix="Download the file itself: the address led to a page.",
        error=ModelFileError,
    ),
    Kind("nam", "a Neural Amp Modeler capture", _is_nam, "nam"),
    Kind("guitarml", "a GuitarML capture", _keys("model_data", "state_dict"), "rtneural"),
    Kind("rtneural", "an RTNeural network", _keys("in_shape", "layers"), "rtneural"),
    Kind(
        "guitarml-wavenet",
        "a WaveNet of GuitarML's first players, whose format is not read",
        _keys("dilations", "variables"),
        fix="Train the capture with one of their newer trainers, or give the PyTorch model.",
    ),
    Kind(
        "json-state-dict",
        "a PyTorch state dict written as JSON",
        _is_json_state_dict,
        fix="Give from_torch() a dictionary of its arrays, with a spec: "
        "{name: numpy.array(value) for name, value in json.load(open(path)).items()}.",
    ),
    Kind(
        "tensorflow-js",
        "a TensorFlow.js model",
        _text_has(r'\A\{[^\0]*"(modelTopology|weightsManifest)"'),
        fix=f"Import the Keras model it was made from. {_SAVE_KERAS}",
    ),
    Kind(
        "keras-json",
        "a Keras architecture without weights",
        _text_has(r'\A"?\{[^\0]*"class_name\\?"\s*:'),
        fix="Give the weights file as the source, and this file's text as spec=.",
    ),
    Kind(
        "json",
        "a JSON file",
        _text_has(r"\A[{\[]"),
        fix="Give the file that holds the weights.",
        error=ModelFileError,
    ),
    Kind(
        "text",
        "a text file",
        lambda c: c.text is not None,
        fix="Give the file that holds the weights.",
        error=ModelFileError,
    ),
    # protocol buffers have no mark of their own, so they come last
    Kind(
        "keras-metadata",
        "the description of a Keras 2 model without its weights",
        lambda c: c.fields == {1: 2} and b"_tf_keras_" in c.start,
        fix=_GIVE_FOLDER,
    ),
    Kind("onnx", "an ONNX model", _is_onnx, "onnx"),
    Kind(
        "savedmodel",
        "a TensorFlow graph",
        _is_saved_model,
        fix=f"{_GIVE_FOLDER} Else, {_SAVE_KERAS[0].lower()}{_SAVE_KERAS[1:]}",
    ),
)


def _arrays(members):
    return [name.removesuffix(".npy") for name in members]


def detect(source) -> Kind:
    """The row that ``source`` belongs to: a path, a mapping of names to arrays, a live Keras, PyTorch or ONNX
    model, or a Graph.

    Raises UnsupportedModelError or ModelFileError, with the way out, for whatever rnnrt does not read.
    """
    live = _live_kind(source)
    if live and live.importer is None:
        raise live.error(f"is {live.what}", where="the given object", fix=live.fix)
    if live:
        return live
    if not isinstance(source, (str, bytes, os.PathLike)) and not is_open(source):
        raise UnsupportedModelError(
            "this is not something that rnnrt imports",
            expected="a path, a dictionary of arrays, or a live Keras or PyTorch model",
            found=f"{type(source).__module__}.{type(source).__qualname__}",
        )
    where = path_text(source)
    if not is_open(source) and os.path.isdir(source):
        return _folder(source, where)
    if not is_open(source) and not os.path.exists(source) and os.path.exists(f"{where}.index"):
        raise ModelFileError(
            "is not a file, but the name of a checkpoint", where=where, fix=f"Give {where}.index."
        )
    try:
        with open_regular(source) as file:
            content = Content(file)
            kind = next((row for row in TABLE if row.test(content)), None)
            start, members = content.start[:16], content.members
    except OSError as error:
        raise ModelFileError(f"cannot be read: {error.strerror or error}", where=where) from error
    if kind is None:
        raise ModelFileError(
            "is not a kind of file that rnnrt knows",
            where=where,
            found=f"first bytes {start!r}",
            fix="Is it damaged or encrypted?",
        )
    if kind.importer is None:
        found = (
            f"members {', '.join(members[:6])}{', ...' if len(members) > 6 else ''}"
            if kind.name in ("zip", "zipped")
            else None
        )
        raise kind.error(f"is {kind.what}", where=where, found=found, fix=kind.fix)
    return kind


_READERS = {
    "file": "rnnrt.load",
    "keras": "rnnrt.from_keras",
    "torch": "rnnrt.from_torch",
    "onnx": "rnnrt.from_onnx",
    "tflite": "rnnrt.from_tflite",
    "pt2": "rnnrt.from_pt2",
    "torchscript": "rnnrt.from_torchscript",
    "numpy": "rnnrt.from_numpy",
    "nam": "rnnrt.from_nam",
    "rtneural": "rnnrt.from_rtneural",
    "graph": "rnnrt.from_graph",
}


def expect(source, importer, *others):
    """Raises where ``source`` belongs to another importer than ``importer`` and ``others``, naming the
    function that reads it.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        return
    kind = detect(source)
    if kind.importer not in (importer, *others):
        raise UnsupportedModelError(
            f"is {kind.what}, which {_READERS[importer]} does not read",
            where="the given object" if _live_kind(source) else path_text(source),
            fix=f"Use {_READERS.get(kind.importer, 'rnnrt.convert')}().",
        )


# ---- what is not a file ------------------------------------------------------------------------------------


def framework(source) -> str | None:
    """ "keras", "torch" or "onnx" where ``source`` is a live model of that framework, else None; by the names
    of its classes, so that nothing is imported to ask.
    """
    classes = [(c.__module__, c.__name__) for c in type(source).__mro__]
    packages = {module.partition(".")[0] for module, _ in classes}
    if packages & {
        "keras",
        "tf_keras",
    }:  # first: a Keras layer on the torch backend is a torch module, too
        return "keras"
    if ("torch.nn.modules.module", "Module") in classes or _EXPORTED in classes:
        return "torch"
    if "ModelProto" in {name for _, name in classes} and any(p.startswith("onnx") for p in packages):
        return "onnx"
    return None


_EXPORTED = ("torch.export.exported_program", "ExportedProgram")
_SCRIPT = ("torch.jit._script", "ScriptModule")


def _live_kind(source):
    """The row of an object that is not a path."""
    if isinstance(source, Graph):
        return Kind("graph", "a graph", _never, "graph")
    live = framework(source)
    if live == "keras":
        return Kind("keras-model", "a live Keras model", _never, "keras")
    classes = [(c.__module__, c.__name__) for c in type(source).__mro__] if live == "torch" else ()
    if _EXPORTED in classes:
        return Kind("torch-program", "a live program of torch.export", _never, "pt2")
    if _SCRIPT in classes:
        return Kind("torch-script", "a live TorchScript module", _never, "torchscript")
    if live == "torch":
        return Kind("torch-module", "a live PyTorch module", _never, "torch")
    if live == "onnx":
        return Kind("onnx-model", "a live ONNX model", _never, "onnx")
    if isinstance(source, Mapping):
        if is_textbook(source):
            return Kind("textbook", "the textbook's parameters", _never, "numpy")
        return Kind("state-dict", "a mapping of names to arrays", _never, "torch")
    return None


def _never(_):
    return False


def _folder(path, where):
    """The row of a folder. Raises where it is not one that is read: which file in it to give instead."""
    try:
        names = sorted(os.listdir(path))
    except OSError as error:
        raise ModelFileError(f"cannot be read: {error.strerror or error}", where=where) from error
    if "saved_model.pb" in names or "keras_metadata.pb" in names:
        return Kind("savedmodel", "a TensorFlow SavedModel folder", _never, "keras")
    if IN_FOLDER in names:
        return next(row for row in TABLE if row.name == "rnnrt")
    models = [name for name in names if re.search(rf"\.({_MODEL_SUFFIXES}|index)$", name)]
    fix = f"Give the file itself: {', '.join(models[:4])}." if models else "Give the path of a model file."
    raise ModelFileError("is a folder", where=where, fix=fix)
