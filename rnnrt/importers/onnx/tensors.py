"""The arrays of an ONNX file: numbers of every type rnnrt can hold, inside the file or beside it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from math import prod

import numpy as np

from ...errors import ModelFileError, UnsupportedModelError
from ...format.reading import path_text, read_whole
from ..containers import bfloat16
from ..containers.protobuf import numbers, shown

#: TensorProto's numbers of the types that are read -> what their bytes are; "bfloat16" has no NumPy type.
TYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    16: "bfloat16",
}
_OTHERS = {8: "string", 14: "complex64", 15: "complex128", 21: "uint4", 22: "int4", 25: "uint2", 26: "int2"}
#: which typed field holds the numbers of a type where there are no raw bytes
_FIELDS = {1: "floats", 7: "int64s", 11: "doubles", 12: "uint64s", 13: "uint64s"}
#: Axes a tensor may have.
_MOST_AXES = 8


def type_name(number):
    """The name of one of TensorProto's types, for a message."""
    return TYPES.get(number) or _OTHERS.get(number) or f"type {number}"


class Beside:
    """The data files beside a model: ``data`` as ``from_onnx`` takes it."""

    def __init__(self, data, where, max_bytes):
        several = isinstance(data, Sequence) and not isinstance(data, (str, bytes))
        paths = [] if data is None else list(data) if several else [data]
        self.where, self.max_bytes, self.read = where, max_bytes, {}
        self.paths = {os.path.basename(path_text(p)): p for p in paths}

    def bytes(self, tensor, name, count):
        """The ``count`` bytes that a tensor has in a file beside the model."""
        said = {entry.key: entry.value for entry in tensor.external}
        location = said.get("location") or ""
        if (
            not location
            or os.path.basename(location) != location
            or location in (".", "..")
            or "\\" in location
        ):
            raise ModelFileError(
                f"the weights of {name} lie in a file that is not beside this one",
                where=self.where,
                expected="the name of a file, without a folder",
                found=repr(shown(location)),
            )
        if location not in self.paths:
            raise ModelFileError(
                f"its weights are in a second file, {shown(location)!r}, which must be named to be read",
                where=self.where,
                found=f"data={', '.join(self.paths)}" if self.paths else None,
                fix=f"Give it: from_onnx(path, data={shown(location)!r}), on the command line --data; or "
                "export again with external_data=False.",
            )
        data = self.read.get(location)
        if data is None:
            data = self.read[location] = memoryview(read_whole(self.paths[location], self.max_bytes))
        try:
            offset, length = int(said.get("offset") or 0), int(said.get("length") or count)
        except ValueError:
            offset = length = -1
        if length != count or offset < 0 or offset + count > len(data):
            raise ModelFileError(
                f"the weights of {name} do not fit the file they are in",
                where=shown(location),
                expected=f"{count:,} bytes inside {len(data):,}",
                found=shown(f"offset {said.get('offset') or 0}, length {said.get('length')}"),
            )
        return data[offset : offset + count]


def array(tensor, name, where, beside) -> np.ndarray:
    """A TensorProto as an array: float16 and bfloat16 widened to float32, other types as they are. Raises
    ModelFileError where its bytes do not fit its shape, UnsupportedModelError for types of number rnnrt does
    not have.
    """
    shape, word = tuple(numbers(tensor.dims, np.int64).tolist()), TYPES.get(tensor.type)
    if tensor.segment is not None:
        raise UnsupportedModelError(
            f"{name} is one of several segments, which are not supported", where=where
        )
    if word is None:
        found = type_name(tensor.type)
        raise UnsupportedModelError(
            f"{name} holds a type of number that is not supported",
            where=where,
            expected=", ".join(TYPES.values()),
            found=found,
        )
    dtype = np.dtype("<u2" if word == "bfloat16" else word).newbyteorder("<")
    count = prod(shape)
    if len(shape) > _MOST_AXES or min(shape, default=0) < 0 or count > 1 << 40:
        raise ModelFileError(f"{name} has an impossible shape", where=where, found=str(shape))
    typed = [f for f in ("floats", "int32s", "int64s", "doubles", "uint64s", "strings") if getattr(tensor, f)]
    if tensor.location or tensor.external:
        if tensor.raw is not None or typed:
            raise ModelFileError(f"the numbers of {name} are in two places", where=where)
        flat = np.frombuffer(beside.bytes(tensor, name, count * dtype.itemsize), dtype)
    elif tensor.raw is not None:
        if len(tensor.raw) != count * dtype.itemsize or typed:
            raise ModelFileError(
                f"the bytes of {name} do not fit its shape",
                where=where,
                expected=f"{count * dtype.itemsize:,} for {shape} of {word}",
                found=f"{len(tensor.raw):,}",
            )
        flat = np.frombuffer(tensor.raw, dtype)
    else:
        field = _FIELDS.get(tensor.type, "int32s")
        flat = _typed(tensor, name, where, field, word, dtype)
        if flat.size != count or any(f != field for f in typed):
            raise ModelFileError(
                f"the numbers of {name} do not fit its shape",
                where=where,
                expected=f"{count:,} for {shape} of {word}",
                found=f"{flat.size:,}",
            )
    if word == "bfloat16":
        flat = bfloat16.widened(flat)
    elif word == "float16":
        flat = flat.astype(np.float32)
    return flat.reshape(shape)


def _typed(tensor, name, where, field, word, dtype):
    """The numbers of a tensor that has no bytes: float16 and bfloat16 by their bits, small integers as
    int32.
    """
    if field in ("floats", "doubles"):
        return numbers(getattr(tensor, field), dtype)
    values = numbers(getattr(tensor, field), np.int64)
    if field == "uint64s":
        values = values.view(np.uint64)
    narrow = np.dtype("<u2") if word in ("float16", "bfloat16") else dtype
    if narrow.kind in "iu" and values.size and not _fit(values, narrow):
        raise ModelFileError(f"a number of {name} is outside its type, {word}", where=where)
    values = values.astype(narrow)
    return values.view("<f2") if word == "float16" else values


def _fit(values, dtype):
    limits = np.iinfo(dtype)
    return int(values.min()) >= limits.min and int(values.max()) <= limits.max
