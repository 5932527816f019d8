"""LevelDB's tables: sorted keys and values in checked blocks, the index of a TensorFlow checkpoint. See
https://github.com/google/leveldb/blob/main/doc/table_format.md.
"""

from __future__ import annotations

from ...errors import ModelFileError, ResourceLimitError, UnsupportedModelError
from ...format.reading import INCOMPLETE
from . import LEVELDB_END
from .crc32c import checksum, masked

#: Most entries of one table, and most bytes of all its keys, which a table writes without what they share.
MOST_ENTRIES, MOST_KEYS = 1 << 18, 64 << 20
_FOOTER, _TRAILER = 48, 5
_COMPRESSIONS = {1: "snappy", 2: "zstd", 4: "zlib"}


def read(data, where) -> dict[bytes, memoryview]:
    """{key: value}, in the order of keys. Values are views of ``data`` (bytes).

    Raises ModelFileError where it is damaged, UnsupportedModelError where a block is compressed,
    ResourceLimitError above MOST_ENTRIES and MOST_KEYS.
    """
    return _Table(data, where).entries()


class _Table:
    def __init__(self, data, where):
        self.data, self.where = memoryview(data), where
        self.entries_left, self.keys_left = MOST_ENTRIES, MOST_KEYS

    def damaged(self, what, at=None, expected=None, found=None):
        place = self.where if at is None else f"{self.where}, byte {at:,}"
        return ModelFileError(what, where=place, expected=expected, found=found, fix=INCOMPLETE)

    def entries(self):
        size = len(self.data)
        if size < _FOOTER or self.data[-8:] != LEVELDB_END:
            raise self.damaged(
                "is not a table of LevelDB: its last bytes are others",
                expected=LEVELDB_END.hex(),
                found=bytes(self.data[-8:]).hex() or "an empty file",
            )
        end = size - _FOOTER
        others, at = self.handle(end, size)
        index, _ = self.handle(at, size)
        for _ in self.block(*others):  # what more there is in the table, as filters: nothing of its content
            pass
        found, before, place = {}, None, 0
        for _, value, at in self.block(*index):
            (start, length), stop = self.handle(at, at + len(value))
            if start < place or stop != at + len(value):
                raise self.damaged("the blocks are not one after the other", at)
            place = start + length
            for key, value, at in self.block(start, length):
                if before is not None and key <= before:
                    raise self.damaged("the keys are not sorted", at)
                found[key] = value
                before = key
        return found

    def block(self, start, length):
        """(key, value, where the value lies) of each entry of a block."""
        end = start + length
        if end + _TRAILER > len(self.data) - _FOOTER:
            raise self.damaged("a block lies outside of the table", start, found=f"{length:,} bytes")
        kind, stored = self.data[end], int.from_bytes(self.data[end + 1 : end + _TRAILER], "little")
        if masked(checksum(self.data[start : end + 1])) != stored:
            raise self.damaged("the checksum of a block is wrong", start)
        if kind:
            name = _COMPRESSIONS.get(kind, f"kind {kind}")
            raise UnsupportedModelError(
                f"the table's blocks are compressed ({name})",
                where=self.where,
                expected="as TensorFlow writes them, not compressed",
            )
        restarts = int.from_bytes(self.data[end - 4 : end], "little") if length >= 4 else length
        last = end - 4 - 4 * restarts
        if last < start:
            raise self.damaged("a block is shorter than its parts", start)
        key, at = b"", start
        while at < last:
            shared, at = self.varint(at, last)
            own, at = self.varint(at, last)
            size, at = self.varint(at, last)
            if shared > len(key) or own + size > last - at:
                raise self.damaged("an entry ends outside of its block", at)
            key = key[:shared] + bytes(self.data[at : at + own])
            at += own
            self.entries_left, self.keys_left = self.entries_left - 1, self.keys_left - len(key)
            if self.entries_left < 0 or self.keys_left < 0:
                raise ResourceLimitError(
                    "the table holds too many entries",
                    where=self.where,
                    expected=f"at most {MOST_ENTRIES:,}, {MOST_KEYS:,} bytes of keys",
                )
            yield key, self.data[at : at + size], at
            at += size

    def handle(self, at, end):
        """((where a block lies, its bytes), where the handle ends)."""
        start, at = self.varint(at, end)
        length, at = self.varint(at, end)
        return (start, length), at

    def varint(self, at, end):
        number = 0
        for place in range(10):
            if at >= end:
                break
            byte = self.data[at]
            number |= (byte & 127) << 7 * place
            at += 1
            if byte < 128:
                return number, at
        raise self.damaged("a number does not end", at)
