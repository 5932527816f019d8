"""The wire format of protocol buffers, read by a table of the fields that are known; nothing of protobuf is
needed. See https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from ...errors import ModelFileError, ResourceLimitError, printable
from ...format.reading import INCOMPLETE

#: Most fields that are read of one file, as how many of them a message counts, and how deeply messages may
#: nest.
MOST_FIELDS, MESSAGE = 1_000_000, 8
DEEPEST = 32


class Field(NamedTuple):
    """A field of a message. ``kind``: "int", "fixed32", "float", "double", "text", "bytes", the name of a
    message, or None for one that is not read. ``many``: a list of values, or an array of numbers where they
    are packed.
    """

    name: str
    kind: str | None
    many: bool = False


class Message:
    """A message: its fields by name, None or () where they are not there, and ``unknown``, the numbers of
    those that the table does not hold.
    """

    def __init__(self, empty):
        self._empty, self.unknown = empty, ()

    def __getattr__(self, name):
        try:
            return self._empty[name]
        except KeyError:
            raise AttributeError(name) from None


def read(data, kind, table, where) -> Message:
    """``data`` (bytes) as a message of ``kind``. ``table``: {message: {number: Field}}. Bytes and packed
    numbers are views of ``data``.

    Raises ModelFileError where it is not one, ResourceLimitError above MOST_FIELDS or DEEPEST.
    """
    return _Reader(data, table, where).message(0, len(data), kind, DEEPEST)


class _Reader:
    def __init__(self, data, table, where):
        self.data, self.table, self.where, self.left = data, table, where, MOST_FIELDS
        self.view = memoryview(data)
        self.empty = {
            kind: {f.name: () if f.many else None for f in fields.values()} for kind, fields in table.items()
        }

    def damaged(self, what, at):
        return ModelFileError(what, where=self.where, found=f"byte {at:,}", fix=INCOMPLETE)

    def message(self, at, end, kind, depth):
        fields = self.table[kind]
        made, data = Message(self.empty[kind]), self.data
        values = made.__dict__
        self.left -= MESSAGE
        while at < end:
            self.left -= 1
            if self.left < 0 or not depth:
                raise ResourceLimitError(
                    "the file holds too many fields" if depth else "the file's messages nest too deeply",
                    where=self.where,
                    expected=f"at most {MOST_FIELDS:,}" if depth else f"at most {DEEPEST}",
                )
            key, after = data[at], at + 1
            if key > 127:
                key, after = self.varint(at, end)
            field, wire = fields.get(key >> 3), key & 7
            if wire == 0:
                raw, after = self.varint(after, end)
            elif wire in (1, 5):
                after, raw = after + (8 if wire == 1 else 4), after
            elif wire == 2:
                if after < end and data[after] < 128:
                    raw, after = after + 1, after + 1 + data[after]
                else:
                    size, raw = self.varint(after, end)
                    after = raw + size
            else:
                raise self.damaged(f"a field of {kind} has an impossible type", at)
            if after > end or not key >> 3:
                raise self.damaged(f"a field of {kind} ends outside of it", at)
            if field is None:
                made.unknown = (*made.unknown[:8], key >> 3)
            elif field.kind is not None:
                value = self.value(field, kind, wire, raw, after, depth)
                if not field.many:
                    if field.kind in self.table and field.name in values:  # protobuf would join the two
                        raise self.damaged(f"{kind}.{field.name} is there twice", raw)
                    values[field.name] = value
                else:
                    values.setdefault(field.name, []).append(value)
            at = after
        return made

    def value(self, field, kind, wire, raw, after, depth):
        match field.kind, wire:
            case "int", 0:
                return raw - (1 << 64) if raw >> 63 else raw
            case "float", 5:
                return struct.unpack_from("<f", self.data, raw)[0]
            case "fixed32", 5:
                return struct.unpack_from("<I", self.data, raw)[0]
            case "double", 1:
                return struct.unpack_from("<d", self.data, raw)[0]
            case "text", 2:
                try:
                    return self.data[raw:after].decode()
                except UnicodeDecodeError:
                    raise self.damaged(f"{kind}.{field.name} is not text", raw) from None
            case "bytes", 2:
                return self.view[raw:after]
            case (("float" | "double"), 2) if field.many:
                width = "<f4" if field.kind == "float" else "<f8"
                if (after - raw) % int(width[2]):
                    raise self.damaged(f"the numbers of {kind}.{field.name} end early", raw)
                return np.frombuffer(self.view[raw:after], width)
            case "int", 2 if field.many:
                return self.varints(raw, after, f"{kind}.{field.name}")
            case inner, 2 if inner in self.table:
                return self.message(raw, after, inner, depth - 1)
        raise self.damaged(f"{kind}.{field.name} has another type than it must have", raw)

    def varint(self, at, end):
        """(the number at ``at``, from 0 to 2**64 - 1, where it ends)."""
        number = shift = 0
        while at < end and shift < 70:
            byte = self.data[at]
            number |= (byte & 127) << shift
            at += 1
            if byte < 128:
                if number >> 64:
                    break
                return number, at
            shift += 7
        raise self.damaged("a number does not end", at)

    def varints(self, at, end, name):
        """Packed numbers as int64."""
        data = np.frombuffer(self.view[at:end], np.uint8)
        last = data < 128
        ends = np.flatnonzero(last)
        if not len(data):
            return np.empty(0, np.int64)
        starts = np.concatenate([[0], ends[:-1] + 1])
        if not last[-1] or (ends - starts).max() > 9:
            raise self.damaged(f"a number of {name} does not end", at)
        place = np.arange(len(data)) - np.repeat(starts, ends - starts + 1)
        parts = (data & 127).astype(np.uint64) << (7 * place).astype(np.uint64)
        return np.add.reduceat(parts, starts).view(np.int64)


def numbers(values, dtype) -> np.ndarray:
    """What a repeated field of numbers holds, packed or not, as one array."""
    return np.concatenate([np.empty(0, dtype), *(np.atleast_1d(np.asarray(v, dtype)) for v in values)])


def shown(text, most=80) -> str:
    """A name of a file's in a message: no longer than ``most``, and only what a terminal shows."""
    text = printable(text)
    return text if len(text) <= most else text[: most - 3] + "..."
