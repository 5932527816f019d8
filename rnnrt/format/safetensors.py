"""The safetensors container, read strictly: nothing is allocated before its size was checked against the
file's. A .rnnrt file is one, within tighter rules; others come from PyTorch.

Eight bytes of header length (little-endian), a JSON header {name: {dtype, shape, data_offsets}} with strings
under ``__metadata__``, then the tensors' bytes without holes or overlaps, in C order.
https://github.com/huggingface/safetensors
"""

from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass
from itertools import accumulate
from math import prod

import numpy as np

from ..errors import ModelFileError, ResourceLimitError
from . import strict_json
from .reading import INCOMPLETE, RAISE, open_regular, path_text, unreadable

MAX_HEADER = 16 << 20
#: The dtypes of a .rnnrt file: what the format calls them, and NumPy.
DTYPES = {"F32": np.dtype("<f4"), "U8": np.dtype("u1")}


@dataclass(frozen=True)
class Rules:
    """What a file may hold: at most ``tensors`` of at most ``rank`` axes, of ``least`` to ``most`` numbers
    each, of the dtypes that have ``bytes`` {as the format calls them: bytes of a number}. ``others``: dtypes
    that are not among these are listed too, their sizes unchecked.
    """

    tensors: int
    rank: int
    least: int
    most: int
    bytes: dict[str, int]
    others: bool = False


#: Of a .rnnrt file.
OWN = Rules(4096, 8, 1, 1 << 24, {word: dtype.itemsize for word, dtype in DTYPES.items()})


@dataclass(frozen=True)
class Entry:
    """One tensor: its dtype, as the format calls it, its shape, and where its bytes lie, counted from the end
    of the header.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


class Container:
    """An open file: ``metadata`` {str: str}, ``entries`` {name: Entry}, and ``read(name)``. Use with
    ``with``.

    ``path``: its path; with ``where``, which then names it in errors, the file itself, open for reading in
    binary. Raises ModelFileError for what is missing, damaged or not a regular file, ResourceLimitError above
    ``max_bytes``.
    """

    def __init__(self, path, max_bytes, where=None):
        self._file = open_regular(path) if where is None else path
        self.path = where or path_text(path)
        try:
            size = self._file.seek(0, os.SEEK_END)
            self._file.seek(0)
            header, self._data = _header(self._file, size, self.path)
            self.metadata, self.entries = _table(header, size - self._data, size, self.path, OWN, max_bytes)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()

    def read(self, name) -> np.ndarray:
        """The array called ``name``, float32 or uint8."""
        entry = self.entries[name]
        array = np.empty(entry.shape, DTYPES[entry.dtype])
        try:
            self._file.seek(self._data + entry.start)
            filled = self._file.readinto(array.reshape(-1).view("u1"))
        except OSError as error:
            raise unreadable(error, self.path) from error
        if filled != array.nbytes:
            raise ModelFileError(
                f"the tensor {name!r} ended early: the file changed while it was read", where=self.path
            )
        return array.astype(array.dtype.newbyteorder("="), copy=False)


def tensors_in(data, where, rules) -> dict[str, tuple[Entry, memoryview]]:
    """{name: (entry, its bytes)} of a whole file in memory. Raises as Container does."""
    header, begin = _header(io.BytesIO(data), len(data), where)
    _, entries = _table(header, len(data) - begin, len(data), where, rules)
    content = memoryview(data)[begin:]
    return {name: (entry, content[entry.start : entry.stop]) for name, entry in entries.items()}


def starts(arrays):
    """{name: where the bytes of ``arrays`` begin, counted from the end of the header}, in their order."""
    ends = accumulate(array.nbytes for array in arrays.values())
    return dict(zip(arrays, (0, *ends)))


def encode_header(arrays, metadata):
    """The first bytes of a file that holds ``arrays`` {name: float32 or uint8 array}, in their order."""
    header, begin = {"__metadata__": metadata}, starts(arrays)
    for name, array in arrays.items():
        offsets = [begin[name], begin[name] + array.nbytes]
        dtype = next(word for word, dtype in DTYPES.items() if dtype == array.dtype)
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": offsets}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)  # so that the tensors are aligned
    if len(text) > MAX_HEADER or len(arrays) > OWN.tensors:
        raise ResourceLimitError(
            "the model does not fit the format's limits",
            expected=f"a header of at most {MAX_HEADER:,} bytes and at most {OWN.tensors:,} tensors",
            found=f"{len(text):,} bytes and {len(arrays):,} tensors",
        )
    return len(text).to_bytes(8, "little") + text


def _header(file, size, path):
    """(the parsed header, where the data begins)."""
    try:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8:
            raise ModelFileError(
                "is too short for a model file", where=path, found=f"{size:,} bytes", fix=INCOMPLETE
            )
        if length > MAX_HEADER:
            wanted = f"a header of at most {MAX_HEADER:,} bytes"
            raise ModelFileError(
                "is not a safetensors file, or its first bytes are damaged",
                where=path,
                expected=wanted,
                found=f"{length:,}",
            )
        if 8 + length > size:
            raise ModelFileError(
                f"is {size:,} bytes, its header alone takes {8 + length:,}", where=path, fix=INCOMPLETE
            )
        text = file.read(length)
    except OSError as error:
        raise unreadable(error, path) from error
    if not text.startswith(b"{") or len(text) < length:
        raise ModelFileError("is not a safetensors file: its header does not begin with '{'", where=path)
    return strict_json.loads(text, f"{path}: header"), 8 + length


def _table(header, available, size, path, rules, max_bytes=None):
    """({metadata}, {name: Entry}) of a parsed header, after every check that needs no tensor."""
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ModelFileError("__metadata__ must hold strings", where=f"{path}: header")
    if len(header) > rules.tensors:
        found = f"{len(header):,}"
        raise ResourceLimitError(
            "has too many tensors", where=path, expected=f"at most {rules.tensors:,}", found=found
        )
    entries = {name: _entry(value, f"{path}: tensor {name!r}", rules) for name, value in header.items()}
    claimed = max((e.stop for e in entries.values()), default=0)
    if max_bytes is not None and max(claimed, size) > max_bytes:
        raise ResourceLimitError(
            f"would need {max(claimed, size):,} bytes",
            where=path,
            expected=f"at most {max_bytes:,}",
            fix=RAISE,
        )
    end = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].stop)):
        if entry.start != end:
            raise ModelFileError(
                "overlaps the tensor before it" if entry.start < end else "leaves a hole before it",
                where=f"{path}: tensor {name!r}",
                expected=f"data from byte {end:,}",
                found=f"{entry.start:,}",
            )
        end = entry.stop
    if end != available:
        fix = INCOMPLETE if end > available else "Something was appended to it."
        raise ModelFileError(
            f"is {size:,} bytes, its header says {size - available + end:,}", where=path, fix=fix
        )
    return metadata, entries


def _entry(value, where, rules):
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise ModelFileError(
            "is described wrongly",
            where=where,
            expected="dtype, shape and data_offsets",
            found=str(value)[:80],
        )
    word = value["dtype"]
    if not isinstance(word, str) or (word not in rules.bytes and not rules.others):
        raise ModelFileError(
            "has a dtype that this file does not hold",
            where=where,
            expected=" or ".join(map(repr, rules.bytes)),
            found=repr(word)[:80],
        )
    shape, offsets = value["shape"], value["data_offsets"]
    if not _sizes(shape) or len(shape) > rules.rank or any(not rules.least <= n <= rules.most for n in shape):
        wanted = f"at most {rules.rank} sizes from {rules.least} to {rules.most:,}"
        raise ModelFileError("has an impossible shape", where=where, expected=wanted, found=str(shape)[:80])
    if not _sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise ModelFileError(
            "has impossible data_offsets", where=where, expected="[start, stop]", found=str(offsets)[:80]
        )
    size = rules.bytes.get(word, 0) * prod(shape)
    if word in rules.bytes and offsets[1] - offsets[0] != size:
        found = f"{offsets[1] - offsets[0]:,}"
        raise ModelFileError(
            "has a size that does not fit its shape",
            where=where,
            expected=f"{size:,} bytes for {shape}",
            found=found,
        )
    return Entry(word, tuple(shape), *offsets)


def _sizes(value):
    return isinstance(value, list) and all(type(n) is int and n >= 0 for n in value)
