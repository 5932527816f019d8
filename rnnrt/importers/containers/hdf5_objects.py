"""The object headers and the strings of an HDF5 file, followed by hand before the HDF5 library follows them.

HDF5 keeps strings of variable length in global heaps ("GCOL") and refers to them by (length: 4 bytes, heap:
8, index: 4). The library believes the length, and converts gigabytes that are not there where a byte of it is
damaged; and it stays for ever at a heap whose free space has no size. So every reference it is going to
follow is found here first, in the attribute that holds it, and nowhere else: the same bytes inside an array
are numbers. Layouts: HDF5 File Format Specification, II.A, III.E, IV.A.1, IV.A.2.
"""

from __future__ import annotations

from math import prod

from ...errors import ModelFileError, UnsupportedModelError

_LAYOUT, _ATTRIBUTE, _CONTINUATION, _ATTRIBUTE_INFO = 0x08, 0x0C, 0x10, 0x15
_SHARED = 0x02  # flag of a message whose body stands elsewhere
_NOWHERE = b"\xff" * 8
_STRINGS_OF_VARIABLE_LENGTH = 9  # class of a datatype
#: Models have some messages an object; all of a file together stay far below this.
_MAX_MESSAGES = 2_000_000
#: Names of attributes that are looked for in the whole file, because no object header holds them.
_MAX_SEARCHES = 64


class Objects:
    """What the object headers of ``data`` (an HDF5 file) say; ``where`` is what messages call it.

    Raises ModelFileError where the file is laid out as HDF5 lays out nothing that Keras writes.
    """

    def __init__(self, data: bytes, where: str):
        version = data[8:9]
        sizes, base = (data[13:15], data[24:32]) if version in (b"\0", b"\1") else (data[9:11], data[12:20])
        if version not in (b"\0", b"\1", b"\2", b"\3") or sizes != b"\x08\x08" or base != bytes(8):
            raise ModelFileError(
                "the HDF5 file is laid out in a way that Keras does not write",
                where=where,
                fix="Copy or download it again.",
            )
        self.data, self.where = data, where
        self.heaps, self.heap_bytes, self.messages = {}, 0, 0
        self.searched = set()

    def is_virtual(self, address) -> bool:
        """Whether the object at ``address`` is a virtual dataset, which the library cannot open without
        reading a heap.
        """
        # a data layout of version 3 or later, of class 3
        return any(
            kind == _LAYOUT and self.data[at : at + 1] >= b"\3" and self.data[at + 1 : at + 2] == b"\3"
            for kind, _, at, _ in self.header(address)
        )

    def check_strings(self, address, name: str):
        """Every reference in the attribute ``name`` of the object at ``address`` must lie within the string
        it refers to.

        Raises ModelFileError where one does not, UnsupportedModelError where the attribute is stored as no
        known library stores it.
        """
        found = elsewhere = False
        for kind, flags, at, size in self.header(address):
            if kind == _ATTRIBUTE_INFO:
                elsewhere |= self.fractal_heap(at) != _NOWHERE
            elif kind == _ATTRIBUTE and flags & _SHARED:
                elsewhere = True
            elif kind == _ATTRIBUTE:
                found |= self.attribute(at, at + size, name)
        if found and not elsewhere or name in self.searched:
            return
        self.search(name)

    def header(self, address):
        """(kind, flags, start, size) of every message in the object header at ``address``."""
        data, old = self.data, self.data[address : address + 1] == b"\1"
        if old:
            blocks, prefix, ordered = [(address + 16, self.number(address + 8, 4))], 8, 0
        elif data[address : address + 5] == b"OHDR\2":
            flags = data[address + 5]
            at = address + 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
            width = 1 << (flags & 3)
            ordered = 2 if flags & 4 else 0
            blocks, prefix = [(at + width, self.number(at, width))], 4 + ordered
        else:
            raise self.damaged(f"an object without a header at {address}")
        seen = set()
        while blocks:
            at, size = blocks.pop(0)
            if at in seen or at + size > len(data):
                raise self.damaged(f"an object header that does not end, at {address}")
            seen.add(at)
            end = at + size
            while at + prefix <= end:
                kind, size, flags = (
                    (self.number(at, 2), self.number(at + 2, 2), data[at + 4])
                    if old
                    else (data[at], self.number(at + 1, 2), data[at + 3])
                )
                at += prefix
                self.messages += 1
                if at + size > end or self.messages > _MAX_MESSAGES:
                    raise self.damaged(f"an object header that does not end, at {address}")
                if kind == _CONTINUATION:
                    start, length = self.number(at, 8), self.number(at + 8, 8)
                    blocks.append((start, length) if old else (start + 4, length - 8))
                yield kind, flags, at, size
                at += size

    def fractal_heap(self, at):
        """The address (8 bytes) in an attribute info message: where the attributes are that do not stand in
        the header.
        """
        start = at + 2 + (2 if self.data[at + 1] & 1 else 0)
        return self.data[start : start + 8]

    def attribute(self, at, end, name) -> bool:
        """Whether the attribute message at ``at`` is of ``name``; its references are checked if they are
        such.
        """
        data, version = self.data, self.data[at]
        start = at + (9 if version == 3 else 8)
        wanted = name.encode("utf-8", "surrogateescape") + b"\0"
        if version not in (1, 2, 3) or data[start : start + len(wanted)] != wanted:
            return False
        lengths = [self.number(at + 2 + 2 * k, 2) for k in range(3)]
        if version == 1:
            lengths = [-(-n // 8) * 8 for n in lengths]
        kind = start + lengths[0]
        space = kind + lengths[1]
        first = space + lengths[2]
        # A datatype that is shared stands elsewhere; what is asked for is one of strings, so this one is
        # taken for such.
        shared = version > 1 and data[at + 1] & 1
        if first > end or not (shared or data[kind] & 15 == _STRINGS_OF_VARIABLE_LENGTH):
            return first <= end
        rank, sizes = data[space + 1], space + (8 if data[space] == 1 else 4)
        count = (
            0
            if data[space] == 2 and data[space + 3] == 2
            else prod(self.number(sizes + 8 * k, 8) for k in range(rank))
        )
        if first + 16 * count > end:
            raise self.damaged(f"the attribute {name!r} of {count} strings in {end - first} bytes")
        for k in range(count):
            self.reference(first + 16 * k)
        return True

    def reference(self, at):
        """The string referred to at ``at`` must be as long as the reference says."""
        length, address, index = self.number(at, 4), self.number(at + 4, 8), self.number(at + 12, 4)
        if length == 0 or address == 0:  # an empty string; none
            return
        stored = self.heap(address).get(index, 0)
        if length > stored:
            raise self.damaged(f"a string of {length} bytes where {stored} are")

    def heap(self, start):
        """{index: bytes} of the objects in the global heap at ``start``, each of which must end within it."""
        if start in self.heaps:
            return self.heaps[start]
        if self.data[start : start + 5] != b"GCOL\1":
            raise self.damaged(f"a heap of strings that is not there, at {start}")
        size = self.number(start + 8, 8)
        self.heap_bytes += size
        if self.heap_bytes > len(self.data):  # HDF5 never lays one into another; to read such takes for ever
            raise self.damaged(f"heaps of strings within one another, at {start}")
        sizes, at, end = {}, start + 16, start + size
        while at + 16 <= end:
            index, size = self.number(at, 2), self.number(at + 8, 8)
            sizes[index] = min(size, sizes.get(index, size))
            if index == 0 and size < 16:  # free space, its own header counted: HDF5 would stay at it for ever
                break
            at += size if index == 0 else 16 + -(-size // 8) * 8
        if not end - 16 < at <= end:
            raise self.damaged(f"a heap of strings that does not end at {end}")
        self.heaps[start] = sizes
        return sizes

    def search(self, name):
        """Checks an attribute that stands in a fractal heap (many attributes, or long ones): its message is
        found by its name.
        """
        self.searched.add(name)
        data, found = self.data, False
        packed = data.find(b"FRHP\0")
        while packed >= 0:
            if self.number(packed + 7, 2):
                raise self.unknown(name)
            packed = data.find(b"FRHP\0", packed + 1)
        text = name.encode("utf-8", "surrogateescape") + b"\0"
        at = data.find(text) if len(self.searched) <= _MAX_SEARCHES else -1
        while at >= 0:
            for version, before in ((1, 8), (2, 8), (3, 9)):
                start = at - before
                if start >= 0 and data[start] == version and self.number(start + 2, 2) == len(text):
                    found |= self.attribute(start, len(data), name)
            at = data.find(text, at + 1)
        if not found:
            raise self.unknown(name)

    def number(self, at, size):
        return int.from_bytes(self.data[at : at + size], "little")

    def damaged(self, found):
        return ModelFileError(
            "the HDF5 file is damaged", where=self.where, found=found, fix="Copy or download it again."
        )

    def unknown(self, name):
        return UnsupportedModelError(
            f"the attribute {name!r} is stored in a way that this reader does not follow",
            where=self.where,
            fix="Save the model again with Keras.",
        )
