"""TensorFlow's checkpoints: NAME.index, a table of what is where, and the tensors themselves in
NAME.data-00000-of-00001 and further shards. See tensorflow/core/util/tensor_bundle.
"""

from __future__ import annotations

import os
from itertools import pairwise
from math import prod
from typing import NamedTuple

import numpy as np

from ...errors import ModelFileError, UnsupportedModelError
from ...format.reading import INCOMPLETE, open_regular, path_text, read_whole, too_large
from . import leveldb, protobuf
from .bfloat16 import widened
from .crc32c import checksum, masked
from .protobuf import Field, shown

#: Bytes of an index: a hundred or so a tensor.
MAX_INDEX = 64 << 20
_STRING, _BFLOAT16 = 7, 14
#: TensorFlow's numbers of types (types.proto).
_TYPES = {1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 5: "<i2", 6: "i1", 9: "<i8", 10: "?", _BFLOAT16: "<u2"}
_TYPES |= {17: "<u2", 19: "<f2", 22: "<u4", 23: "<u8"}
_MESSAGES = {
    "BundleHeader": {1: Field("num_shards", "int"), 2: Field("endianness", "int")},
    "BundleEntry": {
        1: Field("dtype", "int"),
        2: Field("shape", "TensorShape"),
        3: Field("shard", "int"),
        4: Field("offset", "int"),
        5: Field("size", "int"),
        6: Field("crc32c", "fixed32"),
        7: Field("slices", "bytes", many=True),
    },
    "TensorShape": {2: Field("dim", "Dim", many=True), 3: Field("unknown_rank", "int")},
    "Dim": {1: Field("size", "int")},
}


class Entry(NamedTuple):
    """Where a tensor is."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc32c: int
    sliced: bool


class TensorBundle:
    """The tensors of a checkpoint. ``path``: its files' without ".index"; ``names`` of the tensors. No file
    is opened but those. Each tensor is read when it is asked for, and its checksum compared.

    Raises ModelFileError where it is damaged, UnsupportedModelError, ResourceLimitError where it and the
    ``others`` bytes that were read with it are more than ``max_bytes``.
    """

    def __init__(self, path, max_bytes, others=0):
        self.path, self.where = path, path_text(path) + ".index"
        data = read_whole(f"{path}.index", min(max_bytes, MAX_INDEX))
        table = leveldb.read(data, self.where)
        header = self._message(table.pop(b"", b""), "BundleHeader", "")
        if header.endianness:
            raise UnsupportedModelError("was written on a big-endian machine", where=self.where)
        self.shards = 1 if header.num_shards is None else header.num_shards
        self.entries = {}
        for key, value in table.items():
            try:
                name = key.decode()
            except UnicodeDecodeError:
                raise ModelFileError(
                    "the name of a tensor is not text", where=self.where, found=repr(key[:40])
                ) from None
            self.entries[name] = self._entry(self._message(value, "BundleEntry", name), name)
        self._check_places(max_bytes, len(data) + others)

    @property
    def names(self):
        return list(self.entries)

    def array(self, name) -> np.ndarray:
        """The numbers of a tensor; of bfloat16, as float32."""
        entry = self._wanted(name)
        if entry.dtype not in _TYPES:
            raise UnsupportedModelError(
                "the tensor is of a type that is not supported",
                where=self._place(name),
                expected="real numbers",
                found=f"type {entry.dtype} of TensorFlow's",
            )
        dtype = np.dtype(_TYPES[entry.dtype])
        if prod(entry.shape) * dtype.itemsize != entry.size:
            raise self._damaged("the tensor's bytes do not fit its shape", name, str(entry.shape))
        data = self._read(entry, name)
        self._compare(checksum(data), entry.crc32c, name)
        array = np.frombuffer(data, dtype).reshape(entry.shape)
        return widened(array) if entry.dtype == _BFLOAT16 else array

    def text(self, name) -> bytes:
        """The bytes in a tensor that holds one string: its length, the checksum of that, then the bytes."""
        entry = self._wanted(name)
        if entry.dtype != _STRING or entry.shape:
            raise self._damaged("the tensor is not one string", name, f"type {entry.dtype}, {entry.shape}")
        data = self._read(entry, name)
        length = start = 0
        while start < min(len(data), 9):
            length |= (data[start] & 127) << 7 * start
            start += 1
            if data[start - 1] < 128:
                break
        text = data[start + 4 :]
        if length != len(text):
            raise self._damaged("the string has another length than it says", name, f"{len(text):,} bytes")
        crc = checksum(length.to_bytes(4 if length >> 32 == 0 else 8, "little"))
        self._compare(crc, int.from_bytes(data[start : start + 4], "little"), name)
        self._compare(checksum(text, checksum(data[start : start + 4], crc)), entry.crc32c, name)
        return text

    # ---- the index ----

    def _message(self, value, kind, name):
        where = f"{self.where}: {shown(name)}" if name else self.where
        return protobuf.read(bytes(value), kind, _MESSAGES, where)

    def _entry(self, found, name):
        shape = () if found.shape is None else tuple(d.size or 0 for d in found.shape.dim)
        unknown = found.shape is not None and found.shape.unknown_rank
        entry = Entry(
            found.dtype or 0,
            shape,
            found.shard or 0,
            found.offset or 0,
            found.size or 0,
            found.crc32c or 0,
            bool(found.slices),
        )
        if unknown or len(shape) > 8 or min(*shape, entry.shard, entry.offset, entry.size, 0) < 0:
            raise self._damaged("an entry of the index is impossible", name, str(entry[:5]))
        if entry.shard >= self.shards:
            raise self._damaged("a tensor is in a shard that there is not", name, f"shard {entry.shard}")
        return entry

    def _check_places(self, max_bytes, others):
        """Raises where tensors overlap, which no writer does, or are more than ``max_bytes`` in all."""
        places = sorted((e.shard, e.offset, e.size, name) for name, e in self.entries.items() if not e.sliced)
        total = others + sum(size for _, _, size, _ in places)
        if total > max_bytes:
            raise too_large(self.where, total, max_bytes)
        for (shard, offset, size, _), (other, begins, _, name) in pairwise(places):
            if shard == other and begins < offset + size:
                raise self._damaged("the tensor overlaps with another", name, f"byte {begins:,}")

    def _wanted(self, name):
        if name not in self.entries:
            raise self._damaged("the tensor is missing", name)
        if self.entries[name].sliced:
            raise UnsupportedModelError("the tensor is stored in slices", where=self._place(name))
        return self.entries[name]

    # ---- the shards ----

    def _read(self, entry, name):
        path = f"{self.path}.data-{entry.shard:05d}-of-{self.shards:05d}"
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if entry.offset + entry.size > size:
                raise ModelFileError(
                    "a tensor ends outside of the file",
                    where=f"{path_text(path)}: {shown(name)}",
                    expected=f"at least {entry.offset + entry.size:,} bytes",
                    found=f"{size:,}",
                    fix=INCOMPLETE,
                )
            file.seek(entry.offset)
            data = file.read(entry.size)
        if len(data) != entry.size:
            raise self._damaged("the file changed while it was read", name)
        return data

    def _compare(self, crc, stored, name):
        if masked(crc) != stored:
            raise self._damaged("the checksum of the tensor is wrong", name)

    def _place(self, name):
        return f"{self.where}: {shown(name)}"

    def _damaged(self, what, name, found=None):
        return ModelFileError(what, where=self._place(name), found=found, fix=INCOMPLETE)
