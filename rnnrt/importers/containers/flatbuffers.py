"""FlatBuffers, read by a table of the fields that are known; nothing of flatbuffers is needed. Every offset,
every table and every length is checked against the file. See https://flatbuffers.dev/internals.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from ...errors import ModelFileError, ResourceLimitError
from ...format.reading import INCOMPLETE
from .protobuf import DEEPEST, Message

#: Most tables and items of vectors of tables that are read of one file.
MOST_TABLES = 1_000_000
#: kind -> (struct's format, NumPy's type)
_NUMBERS = {
    "bool": ("<?", "?"),
    "i8": ("<b", "i1"),
    "u8": ("<B", "u1"),
    "i16": ("<h", "<i2"),
    "u16": ("<H", "<u2"),
    "i32": ("<i", "<i4"),
    "u32": ("<I", "<u4"),
    "i64": ("<q", "<i8"),
    "u64": ("<Q", "<u8"),
    "f32": ("<f", "<f4"),
}


class Field(NamedTuple):
    """A field of a table. ``kind``: a number ("i32", ...), "text", "bytes" (a view of the file), the name of
    a table, "union" (where its table lies, for ``File.table``), or None for one that is not read. ``many``: a
    vector, () where it is not there; of numbers an array.
    """

    name: str
    kind: str | None
    many: bool = False
    default: object = None


def fields(**texts) -> dict[int, Field]:
    """{slot: Field} of name="slot kind", "slot kind*" for a vector, "slot kind = default", "slot" for one
    that is not read.
    """
    made = {}
    for name, text in texts.items():
        slot, _, rest = text.partition(" ")
        kind, _, default = rest.partition(" = ")
        many = kind.endswith("*")
        kind = kind.rstrip("*") or None
        value = () if many else None
        if kind in _NUMBERS and not many:
            value = float(default or 0) if kind == "f32" else int(default or 0)
        made[int(slot)] = Field(name, kind, many, value)
    return made


class File:
    """A file of FlatBuffers. ``kinds``: {table: {slot: Field}}; ``where``: its name in messages."""

    def __init__(self, data, kinds, where):
        self.data, self.view, self.kinds, self.where = data, memoryview(data), kinds, where
        self.left = MOST_TABLES
        self.empty = {kind: {f.name: f.default for f in known.values()} for kind, known in kinds.items()}

    def root(self, kind) -> Message:
        """The table that the file begins with."""
        return self.table(self.offset(0, kind), kind)

    def table(self, at, kind, depth=DEEPEST) -> Message:
        """The table of a kind at a place. Raises ModelFileError where it is not one, ResourceLimitError above
        MOST_TABLES or DEEPEST.
        """
        self._spend(1, depth)
        vtable = at - self.number(at, "i32", kind)
        slots, size = (self.number(vtable + k, "u16", kind) for k in (0, 2))
        if vtable < 0 or slots < 4 or slots % 2 or size < 4 or vtable + slots > len(self.data):
            raise self.damaged(f"the fields of {kind} cannot be found", at)
        if at + size > len(self.data):
            raise self.damaged(f"{kind} ends outside of the file", at)
        made, known = Message(self.empty[kind]), self.kinds[kind]
        for slot, (offset,) in enumerate(struct.iter_unpack("<H", self.view[vtable + 4 : vtable + slots])):
            if not offset:
                continue
            field = known.get(slot)
            if field is None:
                made.unknown = (*made.unknown[:8], slot)
            elif field.kind is not None:
                width = struct.calcsize(_NUMBERS[field.kind][0]) if _is_number(field) else 4
                if not 4 <= offset <= size - width:
                    raise self.damaged(f"{kind}.{field.name} lies outside of its table", at)
                made.__dict__[field.name] = self._value(at + offset, field, f"{kind}.{field.name}", depth)
        return made

    def _value(self, at, field, name, depth):
        if _is_number(field):
            return self.number(at, field.kind, name)
        at = self.offset(at, name)
        if field.kind == "union":
            return at
        if field.kind == "text" and not field.many:
            return self._text(at, name)
        if not field.many and field.kind != "bytes":
            return self.table(at, field.kind, depth - 1)
        count = self.number(at, "u32", name)
        code = "u1" if field.kind == "bytes" else _NUMBERS.get(field.kind, (None, "<u4"))[1]
        end = at + 4 + count * np.dtype(code).itemsize
        if end > len(self.data):
            raise self.damaged(f"{name} ends outside of the file", at)
        if field.kind == "bytes":
            return self.view[at + 4 : end]
        if field.kind in _NUMBERS:
            return np.frombuffer(self.view[at + 4 : end], code)
        self._spend(count, depth)
        places = [self.offset(at + 4 + 4 * k, name) for k in range(count)]
        if field.kind == "text":
            return [self._text(p, name) for p in places]
        return [self.table(p, field.kind, depth - 1) for p in places]

    def _spend(self, count, depth):
        self.left -= count
        if self.left < 0 or not depth:
            raise ResourceLimitError(
                "the file holds too many tables" if depth else "the file's tables nest too deeply",
                where=self.where,
                expected=f"at most {MOST_TABLES:,}" if depth else f"at most {DEEPEST}",
            )

    def _text(self, at, name):
        end = at + 4 + self.number(at, "u32", name)
        if end > len(self.data):
            raise self.damaged(f"{name} ends outside of the file", at)
        try:
            return str(self.view[at + 4 : end], "utf-8")
        except UnicodeDecodeError:
            raise self.damaged(f"{name} is not text", at) from None

    def offset(self, at, name):
        """The place that the offset at a place leads to, always further on."""
        step = self.number(at, "u32", name)
        if not 4 <= step <= len(self.data) - at - 4:
            raise self.damaged(f"{name} leads outside of the file", at)
        return at + step

    def number(self, at, kind, name):
        try:
            return struct.unpack_from(_NUMBERS[kind][0], self.data, at if at >= 0 else len(self.data))[0]
        except struct.error:
            raise self.damaged(f"{name} lies outside of the file", at) from None

    def damaged(self, what, at):
        return ModelFileError(what, where=self.where, found=f"byte {at:,}", fix=INCOMPLETE)


def _is_number(field):
    return field.kind in _NUMBERS and not field.many
