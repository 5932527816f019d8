"""HDF5 from strangers: the whole tree of a file as plain groups and arrays, every object checked before it is
read.

h5py opens what a file points at, not only what it holds: soft and external links, external raw storage and
virtual datasets all lead out of the file, and an unknown filter loads a shared library. None of that occurs
in what Keras writes, so all of it is refused here, in the one place where this package touches h5py. Sizes
are checked before anything is allocated.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

import numpy as np

from ...errors import ModelFileError, ResourceLimitError, RnnrtError, UnsupportedModelError, require
from ...format.reading import RAISE
from . import HDF5_SIGNATURE
from .bfloat16 import widened
from .hdf5_objects import Objects
from .zip import unpacked_limit

#: gzip, shuffle, fletcher32 (H5Z_FILTER_*): built into the library, no plug-in is ever loaded for them.
_FILTERS = {1, 2, 3}
_MAX_DEPTH, _MAX_OBJECTS, _MAX_STRINGS = 64, 50_000, 100_000
#: What h5py and the HDF5 library below it raise on damaged files.
_FAULTS = (
    OSError,
    RuntimeError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    OverflowError,
    UnicodeError,
    MemoryError,
)


@dataclass
class Group:
    """One group: its path, the attributes that hold text (str or list of str), sub-groups and arrays by
    name.
    """

    path: str
    attributes: dict[str, str | list[str]] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)

    def group(self, path) -> Group | None:
        """The group at a relative path, or None."""
        found = self
        for name in path.split("/"):
            found = found and found.groups.get(name)
        return found

    def array(self, path) -> np.ndarray | None:
        """The array at a relative path, or None."""
        where, _, name = path.rpartition("/")
        parent = self.group(where) if where else self
        return parent and parent.arrays.get(name)

    def walk(self, prefix=""):
        """(relative path, array) of every array below, depth first."""
        for name, array in self.arrays.items():
            yield prefix + name, array
        for name, group in self.groups.items():
            yield from group.walk(f"{prefix}{name}/")


def read(data: bytes, where: str, *, skip=(), max_bytes: int = 2 << 30) -> Group:
    """The tree in ``data``, an HDF5 file. Groups at the root whose name is in ``skip`` are not entered.

    Raises ModelFileError on anything damaged or leading out of the file, UnsupportedModelError on types that
    are not numbers, ResourceLimitError where the arrays need more than ``max_bytes`` (float32 or as stored,
    whichever is more), or than any that come from a file of this size.
    """
    h5py = require("h5py", "keras", "reading HDF5 (.h5, .keras)")
    if not data.startswith(HDF5_SIGNATURE):
        raise ModelFileError("this is not an HDF5 file", where=where, found=repr(bytes(data[:12])))
    objects = Objects(data, where)
    try:
        with h5py.File(h5py.h5f.open_file_image(data)) as file:
            return _Reader(h5py, objects, max_bytes).group(file, "", skip)
    except RnnrtError:
        raise
    except _FAULTS as error:
        raise _damaged(where, str(error)[:200] or type(error).__name__) from error


def _damaged(where, found):
    return ModelFileError(
        "the HDF5 file is damaged", where=where, found=found, fix="Copy or download it again."
    )


class _Reader:
    """One pass over one open file, with what it has read so far."""

    def __init__(self, h5py, objects, max_bytes):
        self.h5py, self.objects, self.where, self.file_size = h5py, objects, objects.where, len(objects.data)
        self.asked, self.max_bytes = max_bytes, unpacked_limit(self.file_size, max_bytes)
        self.left, self.seen = self.max_bytes, set()

    def at(self, path):
        return f"{self.where}: {path or '/'}"

    def group(self, handle, path, skip=()):
        self.visit(handle, path)
        result = Group(path, self.attributes(handle, path))
        for name in handle:
            inner = f"{path}/{name}"
            if name in skip:
                continue
            link = handle.get(name, getlink=True)
            if type(link) is not self.h5py.HardLink:
                raise ModelFileError(
                    f"a {type(link).__name__} leads elsewhere; links are not followed", where=self.at(inner)
                )
            if self.objects.is_virtual(self.h5py.h5o.get_info(handle.id, name.encode("utf-8")).addr):
                raise ModelFileError("a virtual dataset leads elsewhere", where=self.at(inner))
            item = handle[name]
            if isinstance(item, self.h5py.Group):
                result.groups[name] = self.group(item, inner)
            elif isinstance(item, self.h5py.Dataset):
                self.visit(item, inner)
                result.arrays[name] = self.array(item, inner)
            else:
                raise ModelFileError(
                    "neither a group nor an array", where=self.at(inner), found=type(item).__name__
                )
        return result

    def visit(self, item, path):
        """Bounds the walk, and ends it where hard links make a circle or name one object twice."""
        address = self.h5py.h5o.get_info(item.id).addr
        if address in self.seen:
            raise ModelFileError("one object is linked twice", where=self.at(path))
        self.seen.add(address)
        if len(self.seen) > _MAX_OBJECTS or path.count("/") > _MAX_DEPTH:
            raise ModelFileError(
                "the tree of groups is too large",
                where=self.at(path),
                expected=f"{_MAX_OBJECTS} objects, {_MAX_DEPTH} deep",
            )

    def array(self, dataset, path):
        where, dtype, shape = self.at(path), dataset.dtype, dataset.shape
        properties = dataset.id.get_create_plist()
        if properties.get_external_count():
            raise ModelFileError("the array's bytes are in another file", where=where)
        filters = {properties.get_filter(i)[0] for i in range(properties.get_nfilters())}
        if not filters <= _FILTERS:
            raise UnsupportedModelError(
                "the array is packed with a filter that is not supported",
                where=where,
                expected="gzip, shuffle, fletcher32",
                found=str(filters - _FILTERS),
            )
        bfloat16 = (
            dtype.kind == "V"
            and dtype.itemsize == 2
            and dtype.fields is None
            and self.attributes(dataset, path).get("dtype") == "bfloat16"
        )
        if shape is None or not (bfloat16 or (dtype.kind in "fiub" and dtype.itemsize <= 8)):
            raise UnsupportedModelError(
                "the array does not hold plain numbers", where=where, found=str(dtype)
            )
        size = prod(shape) * max(dtype.itemsize, 4)
        if size > self.left:
            raise ResourceLimitError(
                "the array is larger than this reader accepts",
                where=where,
                found=f"{shape}, {size} bytes in a file of {self.file_size}",
                expected=f"at most {self.max_bytes} bytes in all",
                fix=RAISE
                if self.max_bytes == self.asked
                else "No weights shrink so much: save the model again without compression.",
            )
        self.left -= size
        value = dataset[()]
        if bfloat16:
            return widened(np.asarray(value).view(np.uint16))
        return np.asarray(value, dtype=dtype.newbyteorder("="))

    def attributes(self, item, path):
        """The attributes that hold strings; others are no business of a reader of models."""
        found = {}
        for name in item.attrs:
            stored = item.attrs.get_id(name)
            text = self.h5py.check_string_dtype(stored.dtype)
            if text is None or stored.shape is None:
                continue
            if (
                prod(stored.shape) > _MAX_STRINGS
                or prod(stored.shape) * stored.dtype.itemsize > self.max_bytes
            ):
                raise ModelFileError(f"the attribute {name!r} is too large", where=self.at(path))
            if text.length is None:
                self.objects.check_strings(self.h5py.h5o.get_info(item.id).addr, name)
            value = item.attrs[name]
            found[name] = [_text(v) for v in np.ravel(value)] if stored.shape else _text(value)
        return found


def _text(value):
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
