"""The container of torch.export.save: a zip archive with the program as JSON and tensors as raw bytes.

Since PyTorch 2.8 ``<root>/models/<name>.json`` with ``<root>/data/weights`` and ``<root>/data/constants``;
before, a flat archive of ``serialized_exported_program.json`` whose tensors are files of torch.save. Layout:
torch/export/pt2_archive. Only members that the layout names are read; of pickles none but the old tensors',
which nothing is run of.
"""

from __future__ import annotations

import re

from ...errors import ModelFileError, ResourceLimitError, UnsupportedModelError
from ...format import strict_json
from ..containers import pickle
from ..containers.json_file import Fields
from ..containers.zip import Archive
from ..torch.files import Checkpoint, Tensors, read_bytes

MAX_JSON = 64 << 20
MAX_DEPTH = 64
#: sizes and the ends of slices are 64-bit numbers
MAX_INTEGER = 1 << 64

#: torch/_export/serde/schema.py, ScalarType: not torch's own numbers
TYPES = {
    1: "uint8",
    2: "int8",
    3: "int16",
    4: "int32",
    5: "int64",
    6: "float16",
    7: "float32",
    8: "float64",
    9: "complex32",
    10: "complex64",
    11: "complex128",
    12: "bool",
    13: "bfloat16",
    28: "uint16",
    29: "float8_e4m3fn",
    30: "float8_e5m2",
}
_STRIDED = 7

_FLAT = "serialized_exported_program.json"
_RESAVE = "Save it anew with torch.export.save() of PyTorch 2.8 or later."


def read(data: bytes, where: str, max_bytes: int):
    """(the program's JSON as Fields, Tensors) of the content of a file."""
    archive = Archive(data, where, max_bytes)
    if _FLAT in archive:
        return _json(archive, _FLAT), _flat_tensors(archive, max_bytes)
    found = [re.fullmatch(r"([^/]+)/models/([^/]+)\.json", name) for name in archive.names]
    models = [match.groups() for match in found if match]
    compiled = [n for n in archive.names if "/aotinductor/" in n]
    if not models and compiled:
        raise UnsupportedModelError(
            "is compiled by AOTInductor: machine code, not a program",
            where=where,
            fix="Save the program itself: torch.export.save(exported_program, path).",
        )
    if len(models) != 1:
        names = ", ".join(name[:40] for _, name in models[:6])
        raise UnsupportedModelError(
            "holds several programs" if models else "holds no program",
            where=where,
            expected="one <root>/models/<name>.json",
            found=names or ", ".join(archive.names[:5]),
            fix="Save each to a file of its own with torch.export.save().",
        )
    root, name = models[0]
    _check_format(archive, root)
    parts = [
        _tensors(archive, f"{root}/data/{folder}", name, max_bytes) for folder in ("weights", "constants")
    ]
    return _json(archive, f"{root}/models/{name}.json"), Tensors(*zip(*parts))


def _check_format(archive, root):
    def text(member, default):
        name = f"{root}/{member}"
        return archive.read(name)[:20].strip() if name in archive else default

    order = text("byteorder", b"little")
    if order != b"little":
        raise UnsupportedModelError(
            "was written on a machine of another byte order", where=archive.where, found=repr(order)
        )
    kind, version = text("archive_format", b"pt2"), text("archive_version", b"0")
    if kind != b"pt2" or version != b"0":
        raise UnsupportedModelError(
            "the version of the archive is not known",
            where=archive.where,
            expected="pt2, version 0",
            found=f"{kind!r}, {version!r}",
            fix=_RESAVE,
        )


def _json(archive, name):
    data = archive.read(name)
    where = f"{archive.where}, {name}"
    if len(data) > MAX_JSON:
        raise ResourceLimitError(
            "is larger than a program may be",
            where=where,
            expected=f"{MAX_JSON:,} bytes",
            found=f"{len(data):,}",
        )
    return Fields(strict_json.loads(data, where, MAX_DEPTH, MAX_INTEGER), where)


# ---- tensors -----------------------------------------------------------------------------------------------


def _tensors(archive, folder, name, max_bytes):
    """({name: record}, Checkpoint) of a folder of raw tensors."""
    kind = folder.rpartition("/")[2]
    config = f"{folder}/{name}_{kind}_config.json"
    if config not in archive:
        old = f"{folder}/{name}.pt"
        if old in archive:
            return _pickled(archive, old, max_bytes)
        raise ModelFileError(f"lacks {config}", where=archive.where)
    fields = _json(archive, config)
    entries = fields.any("config")
    fields.end()
    if not isinstance(entries, dict):
        raise fields.refuse("config", "an object", entries)
    records = {
        n: _record(archive, folder, Fields(e, f"{fields.where}, {n[:80]}")) for n, e in entries.items()
    }
    read = {}  # tensors of one storage: unpack it once

    def storage(key, where):
        if key not in read:
            read[key] = archive.read(key)
        return read[key]

    return records, Checkpoint(records, archive.where, max_bytes, storage)


def _record(archive, folder, entry):
    """One tensor as the pickles of torch.save describe it."""
    path, pickled = entry.text("path_name"), entry.flag("use_pickle", False)
    entry.any("is_param")
    meta = entry.any("tensor_meta")
    entry.end()
    if pickled or meta is None:
        return pickle.Refused("pickled: a custom object, or a tensor of a class of its own")
    meta = Fields(meta, entry.where)
    dtype, layout = meta.any("dtype"), meta.any("layout")
    sizes, strides = (_integers(meta, name) for name in ("sizes", "strides"))
    (offset,) = _integers(meta, "storage_offset")
    for name in ("requires_grad", "device"):
        meta.any(name)
    meta.end()
    if layout != _STRIDED or TYPES.get(dtype) is None:
        return pickle.Refused(f"a tensor of layout {layout} and type {TYPES.get(dtype, dtype)}")
    key = f"{folder}/{path}"
    if "/" in path or key not in archive:
        raise ModelFileError("the tensor's file is missing", where=entry.where, found=path[:80])
    if len(sizes) != len(strides) or min((*sizes, *strides, offset), default=0) < 0:
        raise ModelFileError(
            "the tensor's sizes do not fit", where=entry.where, found=f"{sizes}, strides {strides}"[:120]
        )
    block = pickle.Storage("untyped", key, archive.size(key))
    return pickle.TensorRecord(block, TYPES[dtype], offset, sizes, strides)


def _integers(fields, name):
    """A list of plain {"as_int": n}, or one, as a tuple."""
    value = fields.any(name)
    items = value if isinstance(value, list) else [value]
    made = [item.get("as_int") if isinstance(item, dict) and len(item) == 1 else None for item in items]
    if any(type(n) is not int for n in made) or len(made) > pickle.MAX_AXES:
        raise fields.refuse(name, 'whole numbers as {"as_int": n}', value)
    return tuple(made)


def _flat_tensors(archive, max_bytes):
    parts = []
    for member in ("serialized_state_dict.pt", "serialized_constants.pt"):
        if member in archive:
            parts.append(_pickled(archive, member, max_bytes))
    return Tensors(*zip(*parts)) if parts else Tensors((), ())


def _pickled(archive, member, max_bytes):
    """({name: record}, Checkpoint) of a file of torch.save inside the archive."""
    data = archive.read(member)
    if not data:
        return {}, None
    checkpoint = read_bytes(data, f"{archive.where}, {member}", max_bytes)
    tree = checkpoint.tree
    if not isinstance(tree, dict):
        raise ModelFileError("is not a dictionary of tensors", where=checkpoint.where)
    return {n: t for n, t in tree.items() if isinstance(n, str) and checkpoint.is_tensor(t)}, checkpoint
