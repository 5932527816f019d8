"""Zip archives from strangers: the container of .keras, .npz and PyTorch files.

The standard library reads the directory of the archive; everything a hostile archive can lie about is checked
here, because not every ``zipfile`` in use does (overlapping entries, CVE-2024-0450; a member that inflates to
more than it declares). Nothing is ever extracted to disk, and no name of a member is ever used as a path.
"""

from __future__ import annotations

import codecs
import io
import struct
import zipfile
import zlib

from ...errors import ModelFileError, ResourceLimitError
from ...format.reading import RAISE
from . import ZIP_SIGNATURE

#: A model has some hundreds of members; the largest network of thousands of tensors stays far below this.
MAX_ENTRIES = 1 << 16
#: Deflated weights shrink by 10 % or so; larger members that claim to shrink more than this are bombs.
MAX_RATIO, RATIO_FROM = 100, 16 << 20
#: All that a small file may unpack to, and how many times its size a larger one may.
_ALL, _ALL_RATIO = 64 << 20, 64

codecs.lookup("cp437")  # zipfile decodes names with it: found now, so that reading a file never imports

_DIRECTORY_ENTRY = b"PK\x01\x02"
_LOCAL = struct.Struct(
    "<4s5H3I2H"
)  # signature, version, flags, method, time, date, crc, packed, size, name, extra
_ENCRYPTED, _PATCH, _SIZES_FOLLOW, _UTF8 = 0x2041, 0x20, 0x08, 0x800


def unpacked_limit(size: int, max_bytes: int) -> int:
    """The most bytes that a file of ``size`` bytes may unpack to, in all: no weights are 64 times as large as
    their file.
    """
    return min(max_bytes, max(_ALL, _ALL_RATIO * size))


class Archive:
    """The members of a zip archive held in memory, all checked before the first is read.

    ``data``: the archive; ``where``: what messages call it; ``max_bytes``: cap on the sum of the unpacked
    sizes. ``names`` lists the members in the order of the archive's directory, folders left out. Stored and
    deflated members only. Raises ModelFileError (naming the member) on anything malformed, encrypted,
    overlapping, duplicate or with a name that leaves the archive, ResourceLimitError where it would unpack to
    more than ``max_bytes``, or than ``unpacked_limit`` of its size.
    """

    def __init__(self, data: bytes, where: str, max_bytes: int = 2 << 30):
        self.where = where
        self._data = data
        # zipfile makes an object of every directory entry without a limit: bound them by their signatures
        # first
        if data.count(_DIRECTORY_ENTRY) > MAX_ENTRIES:
            raise ModelFileError(
                "the zip archive has too many members", where=where, expected=f"at most {MAX_ENTRIES}"
            )
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                entries, directory = archive.infolist(), archive.start_dir
        except (
            zipfile.BadZipFile,
            NotImplementedError,
            ValueError,
            OverflowError,
            EOFError,
            struct.error,
            OSError,
        ) as error:
            raise ModelFileError(
                "the zip archive cannot be read",
                where=where,
                found=f"{len(data)} bytes ({error})",
                fix="Copy or download it again.",
            ) from error
        self._entries, self._starts, extents = {}, {}, []
        for entry in entries:
            start = self._checked(entry)
            extents.append((entry.header_offset, start + entry.compress_size, entry.orig_filename))
            name = _name(entry)
            if name in self._entries:
                raise self._fault(name, "the member occurs twice")
            self._entries[name], self._starts[name] = entry, start
        self._check_extents(extents, directory)
        total = sum(e.file_size for e in entries)
        limit = unpacked_limit(len(data), max_bytes)
        if total > limit:
            largest = max(entries, key=lambda e: e.file_size)
            raise ResourceLimitError(
                f"the archive would unpack to {total} bytes, {largest.file_size} of them in the member "
                f"{largest.orig_filename!r}",
                where=where,
                expected=f"at most {limit} "
                + ("(max_bytes)" if limit == max_bytes else f"of a file of {len(data)}"),
                fix=RAISE if limit == max_bytes else "Save it without compression.",
            )
        for entry in entries:
            if entry.file_size > RATIO_FROM and entry.file_size > MAX_RATIO * entry.compress_size:
                raise self._fault(
                    entry.orig_filename,
                    "the member claims to have been compressed beyond what weights allow",
                    expected=f"at most {MAX_RATIO} : 1",
                    found=f"{entry.compress_size} bytes for {entry.file_size}",
                )
        self.names = [name for name in self._entries if not name.endswith("/")]

    def __contains__(self, name):
        return name in self._entries and not name.endswith("/")

    def size(self, name: str) -> int:
        """How many bytes a member unpacks to."""
        return self._entries[name].file_size

    def read(self, name: str) -> bytes:
        """The bytes of a member; ModelFileError where it is absent or does not unpack to exactly what it
        declares.
        """
        if name not in self:
            raise self._fault(name, "the member is missing from the archive")
        entry, start = self._entries[name], self._starts[name]
        data = self._data[start : start + entry.compress_size]
        if entry.compress_type == zipfile.ZIP_DEFLATED:
            inflate = zlib.decompressobj(-15)
            # one byte of room: a member that unpacks to more than it declares is caught early
            try:
                data = inflate.decompress(data, entry.file_size + 1)
            except zlib.error as error:
                raise self._fault(name, f"the member cannot be unpacked ({error})") from error
            if len(data) != entry.file_size or not inflate.eof:
                raise self._fault(
                    name, "the member does not unpack to its size", expected=f"{entry.file_size} bytes"
                )
        if zlib.crc32(data) != entry.CRC:
            raise self._fault(
                name,
                "the member is damaged: its checksum does not agree",
                fix="Copy or download the file again.",
            )
        return data

    def _fault(self, name, what, **details):
        return ModelFileError(what, where=f"{self.where}, member {name[:200]!r}", **details)

    def _checked(self, entry):
        """Where the member's bytes begin, after its two headers have been compared."""
        name = _name(entry)
        parts = name.removesuffix("/").split("/")
        if not name or len(name) > 1024 or "\0" in name or ":" in parts[0] or {"", ".", ".."} & set(parts):
            raise self._fault(name, "the member's name is not a plain relative path")
        if entry.flag_bits & (_ENCRYPTED | _PATCH):
            raise self._fault(
                name, "the member is encrypted or patched", fix="Save the model without encryption."
            )
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise self._fault(
                name,
                "the member's compression is not supported",
                expected="stored or deflated",
                found=str(entry.compress_type),
            )
        if entry.compress_type == zipfile.ZIP_STORED and entry.compress_size != entry.file_size:
            raise self._fault(
                name, "a stored member has two sizes", found=f"{entry.compress_size} and {entry.file_size}"
            )
        if name.endswith("/") and entry.file_size:
            raise self._fault(name, "a folder holds data")
        offset = entry.header_offset
        if not 0 <= offset <= len(self._data) - _LOCAL.size:
            raise self._fault(name, "the member lies outside the archive", found=f"offset {offset}")
        signature, _, flags, method, _, _, crc, packed, size, name_size, extra_size = _LOCAL.unpack_from(
            self._data, offset
        )
        start = offset + _LOCAL.size + name_size + extra_size
        raw = self._data[offset + _LOCAL.size : offset + _LOCAL.size + name_size]
        agree = (
            signature == ZIP_SIGNATURE
            and method == entry.compress_type
            and not (flags ^ entry.flag_bits) & (_ENCRYPTED | _SIZES_FOLLOW)
        )
        agree = agree and raw.decode("utf-8" if flags & _UTF8 else "cp437", "replace") == entry.orig_filename
        pairs = ((crc, entry.CRC), (packed, entry.compress_size), (size, entry.file_size))
        if flags & _SIZES_FOLLOW:  # the true figures follow the data; zeros (or zip64 marks) may stand here
            agree = agree and all(a in (0, 0xFFFFFFFF, b) for a, b in pairs)
        else:
            agree = agree and crc == entry.CRC and all(a in (0xFFFFFFFF, b) for a, b in pairs[1:])
        if not agree:
            raise self._fault(name, "the member's own header and the archive's directory disagree")
        if start + entry.compress_size > len(self._data):
            raise self._fault(
                name, "the member runs past the end of the archive", fix="Copy or download the file again."
            )
        return start

    def _check_extents(self, extents, directory):
        """Members lie one after the other from byte 0, none inside another or inside the directory."""
        end = 0
        for start, stop, name in sorted(extents):
            if start < end:
                raise self._fault(name, "the member overlaps another")
            if not end and start:
                raise self._fault(name, "something stands before the first member", found=f"{start} bytes")
            end = stop
        if end > directory:
            raise ModelFileError("the zip archive's members and directory overlap", where=self.where)


def _name(entry):
    """A member's name; programs of Windows write back-slashes between its parts."""
    return entry.orig_filename.replace("\\", "/")
