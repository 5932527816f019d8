"""PyTorch's files as tensors: zip and legacy ``torch.save`` files, safetensors and .npz, told apart by their
content.

Layouts: torch/serialization.py (zip since 1.6: ``<top>/data.pkl`` describes, ``<top>/data/<key>`` holds the
storages; before: a stream of pickles followed by the storages) and the safetensors format page. Tensors are
views into storages that several may share; each is read out on its own, bounds checked, as float32. Devices
are ignored. Nothing in a file is run (see containers/pickle.py).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from math import prod

import numpy as np

from ...errors import DTypeError, ModelFileError, ResourceLimitError, UnsupportedModelError
from ...format import safetensors
from ...format.reading import path_text, read_whole
from ..containers import ZIP_SIGNATURE, pickle
from ..containers.bfloat16 import widened
from ..containers.npz import read_npz
from ..containers.zip import Archive, unpacked_limit
from ..detection import detect
from .state_dict import is_script, tensors_of, unwrap

__all__ = ["Checkpoint", "read_bytes", "read_tensors", "unwrap"]

_NUMBERS = {
    "float64": "f8",
    "float32": "f4",
    "float16": "f2",
    "bfloat16": "u2",
    "int64": "i8",
    "int32": "i4",
    "int16": "i2",
    "int8": "i1",
    "uint64": "u8",
    "uint32": "u4",
    "uint16": "u2",
    "uint8": "u1",
    "bool": "u1",
}
_SAFE = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
}

_SAFE_RULES = safetensors.Rules(
    tensors=1 << 18,
    rank=pickle.MAX_AXES,
    least=0,
    most=1 << 40,
    bytes={word: np.dtype(_NUMBERS[dtype]).itemsize for word, dtype in _SAFE.items()},
    others=True,
)

_OTHER_READERS = {"keras": "from_keras", "onnx": "from_onnx", "pt2": "from_pt2"}
_OTHER_READERS |= {"file": "rnnrt.load", "graph": "from_graph"}

_MOST_NUMBERS = 1 << 40  # what NumPy can describe, also where an axis of length 0 makes it none

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_START = b"\x8a\x0a" + _LEGACY_MAGIC.to_bytes(10, "little")


class Checkpoint:
    """What a file or a mapping holds, before anything is read out: ``tree`` of dicts, plain values and
    tensors as they are stored.

    ``array(leaf, name)`` reads one tensor out as float32; all of them together may not take more than
    ``max_bytes``.
    """

    def __init__(self, tree, where, max_bytes, storage=None, order="<"):
        self.tree, self.where, self._left, self._storage, self._order = tree, where, max_bytes, storage, order

    def is_tensor(self, leaf):
        return isinstance(leaf, (pickle.TensorRecord, pickle.Refused, np.ndarray)) or (
            hasattr(leaf, "detach") and hasattr(leaf, "shape")
        )

    def array(self, leaf, name) -> np.ndarray:
        """The tensor as a float32 array of its own. ``name``: what messages call it."""
        where = f"{self.where}, tensor {name!r}"
        if isinstance(leaf, pickle.Opaque):
            leaf = pickle.Refused(f"inside an object of {leaf}, which rnnrt never imports or runs")
        if isinstance(leaf, pickle.Refused):
            raise UnsupportedModelError(
                f"it is {leaf.what}", where=where, fix="Save plain dense float tensors."
            )
        if not isinstance(leaf, pickle.TensorRecord):
            leaf = _live(leaf, where)
            self._spend(leaf.size, where)
            return as_float32(leaf, str(leaf.dtype), where)
        if len(leaf.shape) > pickle.MAX_AXES or prod(max(n, 1) for n in leaf.shape) > _MOST_NUMBERS:
            raise ModelFileError(
                "the tensor's shape is impossible",
                where=where,
                expected=f"at most {pickle.MAX_AXES} axes",
                found=str(leaf.shape)[:80],
            )
        code = _NUMBERS.get(leaf.dtype)
        if code is None:
            raise UnsupportedModelError(
                f"numbers of type {leaf.dtype} are not supported",
                where=where,
                fix="Save plain float tensors.",
            )
        self._spend(prod(leaf.shape), where)
        dtype = np.dtype(self._order + code)
        block, size = leaf.storage, dtype.itemsize
        numel = block.numel if block.dtype != "untyped" else block.numel // size
        last = leaf.offset + sum((n - 1) * step for n, step in zip(leaf.shape, leaf.stride))
        if 0 in leaf.shape:
            return np.zeros(leaf.shape, np.float32)
        if last >= numel:
            raise ModelFileError(
                "the tensor reaches past the end of its storage",
                where=where,
                expected=f"at most {numel} numbers",
                found=f"{last + 1}",
            )
        data, begin = self._storage(block.key, where), (block.base or 0) * size
        if begin + numel * size > len(data) or block.base is None and numel * size != len(data):
            raise ModelFileError(
                "the storage has another size than declared",
                where=where,
                expected=f"{begin + numel * size} bytes",
                found=str(len(data)),
            )
        numbers = np.frombuffer(data, dtype, numel, begin)
        strides = tuple(step * size for step in leaf.stride)
        view = np.lib.stride_tricks.as_strided(numbers[leaf.offset :], leaf.shape, strides, writeable=False)
        return as_float32(view, leaf.dtype, where)

    def _spend(self, numbers, where):
        self._left -= 4 * numbers
        if self._left < 0:
            raise ResourceLimitError(
                "the tensors take more than max_bytes, or than any tensors of a file of this size",
                where=where,
                fix="Pass a larger max_bytes if the file is trusted, or save the tensors as they are, not "
                "expanded from smaller ones.",
            )


class Tensors:
    """The tensors of a stored program by its names for them, read out when asked for;
    ``types`` of those read so far.
    """

    def __init__(self, records, checkpoints):
        self._records, self._checkpoints = records, checkpoints
        self.types: dict[str, str] = {}

    def array(self, name, where):
        """A tensor as float32."""
        for records, checkpoint in zip(self._records, self._checkpoints):
            if name in records:
                record = records[name]
                made = checkpoint.array(record, name)
                dtype = getattr(record, "dtype", "float32")
                if made.ndim:  # a number of a program is a double, whatever it is used with
                    self.types[name] = dtype
                if dtype.lstrip("u").startswith("int") and (abs(made) >= 1 << 24).any():
                    raise UnsupportedModelError(
                        "holds whole numbers beyond 2**24", where=f"{checkpoint.where}, tensor {name!r}"
                    )
                return made
        raise ModelFileError(f"lacks the tensor {name!r}", where=where)


def as_float32(array, dtype, where):
    """Float32 copy of an array of ``dtype`` (bfloat16: its bits as uint16); DTypeError where float64 does not
    fit.
    """
    if dtype == "bfloat16":
        return widened(array)
    with np.errstate(over="ignore"):
        numbers = array.astype(np.float32, order="C")
    if dtype == "float64" and (np.isinf(numbers) & np.isfinite(array)).any():
        raise DTypeError("a float64 number is too large for float32", where=where)
    return numbers


def _live(leaf, where):
    """A NumPy array of real numbers from an array or a torch tensor."""
    if not isinstance(leaf, np.ndarray):
        try:
            leaf = leaf.detach().cpu().resolve_conj()
            leaf = leaf.float().numpy() if "bfloat16" in str(leaf.dtype) else leaf.numpy()
        except (TypeError, RuntimeError, NotImplementedError, AttributeError) as error:
            raise UnsupportedModelError(
                f"the tensor cannot be read ({error})", where=where, fix="Pass plain dense float tensors."
            ) from error
    if leaf.dtype.kind not in "fiub":
        raise UnsupportedModelError(
            f"numbers of type {leaf.dtype} are not supported", where=where, fix="Pass plain float tensors."
        )
    return leaf


# ---- sources -----------------------------------------------------------------------------------------------


def read_tensors(source, where=None, max_bytes=2 << 30) -> Checkpoint:
    """The checkpoint in a path or in a mapping of names to arrays or torch tensors (a state dict, an opened
    .npz); see ``unwrap``.

    Raises ModelFileError for damage, UnsupportedModelError (with the way out) for files that are something
    else, ResourceLimitError past ``max_bytes``.
    """
    if isinstance(source, Mapping):
        where = where or "the mapping"
        try:
            return Checkpoint(_plain(source), where, max_bytes)
        except ValueError as error:  # an .npz that holds pickled objects
            raise ModelFileError(f"the mapping cannot be read ({error})", where=where) from error
    kind, where = detect(source), where or path_text(source)
    if kind.importer in _OTHER_READERS:
        raise UnsupportedModelError(
            f"is {kind.what}, not PyTorch's", where=where, fix=f"Use {_OTHER_READERS[kind.importer]}."
        )
    return read_bytes(read_whole(source, max_bytes), where, max_bytes)


def _plain(mapping, depth=0):
    """A mapping and the mappings in it as dicts."""
    inside = lambda value: _plain(value, depth + 1) if isinstance(value, Mapping) and depth < 16 else value
    return {name: inside(value) for name, value in mapping.items()}


def read_bytes(data: bytes, where: str, max_bytes=2 << 30) -> Checkpoint:
    """The checkpoint in the content of a file; raises as ``read_tensors``."""
    max_bytes = unpacked_limit(len(data), max_bytes)
    if data.startswith(ZIP_SIGNATURE):
        return _read_zip(Archive(data, where, max_bytes), max_bytes)
    if data[2:14] == _LEGACY_START:
        return _read_legacy(data, where, max_bytes)
    if data[8:9] == b"{":
        return _read_safetensors(data, where, max_bytes)
    raise ModelFileError(
        "this is not a PyTorch file",
        where=where,
        expected="torch.save's zip or legacy file, safetensors or .npz",
        found=repr(data[:8]),
    )


# ---- containers --------------------------------------------------------------------------------------------


def _read_zip(archive, max_bytes):
    where, names = archive.where, archive.names
    pickled = [n for n in names if n.count("/") == 1 and n.endswith("/data.pkl")]
    if not pickled and names and all(n.endswith(".npy") for n in names):
        return Checkpoint(read_npz(archive), where, max_bytes)
    if len(pickled) != 1:
        found = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        raise ModelFileError(
            "the zip archive is not a file of torch.save",
            where=where,
            expected="one <name>/data.pkl",
            found=found or "no members",
        )
    top = pickled[0].removesuffix("data.pkl")
    order = archive.read(top + "byteorder").strip() if top + "byteorder" in archive else b"little"
    if order not in (b"little", b"big"):
        raise ModelFileError(
            "the byte order is unknown", where=where, expected="little or big", found=repr(order[:20])
        )
    tree, _, _ = pickle.load(archive.read(pickled[0]), f"{where}, {pickled[0]}")
    tree = tensors_of(tree) if is_script(tree) else tree
    read = {}  # the tensors of an RNN usually share one storage: unpack it once

    def storage(key, where):
        if key not in read:
            read[key] = archive.read(f"{top}data/{key}")
        return read[key]

    return Checkpoint(tree, where, max_bytes, storage, "<" if order == b"little" else ">")


def _read_legacy(data, where, max_bytes):
    """torch.save before 1.6: pickles of magic number, protocol, machine, object and storage keys, then
    (count, numbers) a storage.
    """
    position, parts = 0, []
    for _ in range(5):
        value, position, storages = pickle.load(data, where, position)
        parts.append((value, storages))
    (magic, _), (protocol, _), (machine, _), (tree, storages), (keys, _) = parts
    if (
        magic != _LEGACY_MAGIC
        or protocol != 1001
        or not isinstance(machine, dict)
        or not isinstance(keys, list)
    ):
        raise ModelFileError("this is not a legacy file of torch.save", where=where)
    if machine.get("little_endian") is not True:
        raise UnsupportedModelError(
            "the file was written on a big-endian machine",
            where=where,
            fix="Save it anew with PyTorch 1.6 or later.",
        )
    blocks = {}
    for key in keys:
        dtype = storages.get(key) if isinstance(key, str) else None
        size = {
            "untyped": 1,
            "complex64": 8,
            "complex128": 16,
            "qint8": 1,
            "quint8": 1,
            "qint32": 4,
            "quint4x2": 1,
        }.get(dtype)
        size = size or (np.dtype(_NUMBERS[dtype]).itemsize if dtype in _NUMBERS else None)
        if size is None or key in blocks or position + 8 > len(data):
            raise ModelFileError(
                "the list of storages is damaged",
                where=f"{where}, byte {position}",
                fix="Copy or download the file again.",
            )
        (count,) = struct.unpack_from("<q", data, position)
        start, position = position + 8, position + 8 + count * size
        if count < 0 or position > len(data):
            raise ModelFileError(
                "a storage runs past the end of the file",
                where=f"{where}, byte {start}",
                fix="Copy or download the file again.",
            )
        blocks[key] = (start, position)

    def storage(key, where):
        if key not in blocks:
            raise ModelFileError("its storage is missing from the file", where=where)
        start, end = blocks[key]
        return memoryview(data)[start:end]

    return Checkpoint(tree, where, max_bytes, storage)


def _read_safetensors(data, where, max_bytes):
    tree, contents = {}, {}
    for name, (entry, content) in safetensors.tensors_in(data, where, _SAFE_RULES).items():
        if entry.dtype not in _SAFE:
            tree[name] = pickle.Refused(f"a tensor of {entry.dtype} numbers")
            continue
        dtype, shape = _SAFE[entry.dtype], entry.shape
        stride = tuple(prod(shape[k + 1 :]) for k in range(len(shape)))
        tree[name] = pickle.TensorRecord(pickle.Storage(dtype, name, prod(shape)), dtype, 0, shape, stride)
        contents[name] = content
    return Checkpoint(tree, where, max_bytes, lambda key, where: contents[key])
