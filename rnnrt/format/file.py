"""The .rnnrt file: a valid safetensors file that any safetensors reader opens, with the graph as JSON in its
metadata.

Metadata: ``format`` "rnnrt", ``format_version`` "2", ``graph`` (graph_json), ``provenance`` (a JSON object),
``golden_by`` (who made the golden arrays) and ``checksums``: {"sha256": {metadata key: hex}, "tensors":
{name: {"crc32", "shape"}}}. Tensors are float32: the weights in the graph's canonical form as
"<layer>/<field>", and a sample of inputs with the outputs that belong to it as "golden/input/<name>" and
"golden/output/<name>", axes (batch, time, *features). They stand in the order of their names, where other
writers of safetensors put them too. For hosts in C there are two more, "lowered/arrays" and, last in the
file and of dtype U8, "lowered" (see rnnrt/lowered.py); here they are checked and left alone. Version 1 had
neither.
"""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from dataclasses import dataclass

import numpy as np

from ..errors import ModelFileError, UnsupportedModelError
from ..graph import Graph
from . import atomic_write, graph_json, strict_json
from .reading import open_regular, path_text
from .safetensors import MAX_HEADER, Container, encode_header, starts

FORMAT_VERSION = 2
_TEXTS = ("graph", "provenance", "golden_by")
_INPUT, _OUTPUT = "golden/input/", "golden/output/"
#: The tensors for hosts in C: the lowered table, and the arrays that passes changed.
TABLE, ARRAYS = "lowered", "lowered/arrays"


@dataclass(frozen=True, eq=False)
class Stored:
    """What a file holds. ``golden``: (inputs, outputs), each {name: array}, made by ``golden_by``; or
    None.
    """

    graph: Graph
    provenance: dict
    golden: tuple[dict, dict] | None
    golden_by: str | None


def save(graph, path, golden=None, golden_by="reference", provenance=None, lower=None):
    """Write ``graph`` to ``path``, whole or not at all (see ``atomic_write.write``), as ``encode`` makes it.

    Raises ModelFileError where the path cannot be written or holds the source itself, and what ``encode``
    raises.
    """
    parts = encode(graph, path_text(path), golden, golden_by, provenance, lower)
    _spare_source(path, (provenance or {}).get("sha256"))
    atomic_write.write(path, parts)


def _spare_source(path, digest):
    """Raises ModelFileError where the file at ``path`` is the very one that the graph was imported from,
    under whatever name.
    """
    if digest is None or not os.path.isfile(path):
        return
    with open_regular(path) as file:
        if hashlib.file_digest(file, "sha256").hexdigest() == digest:
            raise ModelFileError(
                "is the file that the network was imported from, which is not written over",
                where=path_text(path),
                fix="Give another name.",
            )


def encode(graph, where, golden=None, golden_by="reference", provenance=None, lower=None):
    """The bytes of the file of ``graph``, as a list of bytes-like parts; ``where`` names it in errors.

    ``golden``: (inputs, outputs) as ``verification.reference_sample`` makes them; ``golden_by``: what made
    them; ``provenance``: a dict of plain JSON values; ``lower``: lowered.Lowered, where a host in C is to run
    the file. Raises ModelFileError where a value is not JSON,
    ResourceLimitError beyond the format's limits.
    """
    arrays = {}
    if golden is not None:
        _check_golden(graph, golden, where)
        for prefix, part in zip((_INPUT, _OUTPUT), golden):
            arrays |= {prefix + name: array for name, array in part.items()}
    value, weights = graph_json.encode(graph, taken=(*arrays, TABLE, ARRAYS))
    metadata = {"format": "rnnrt", "format_version": str(FORMAT_VERSION)}
    metadata["graph"] = strict_json.dumps(value, f"{where}: graph")
    metadata["provenance"] = strict_json.dumps(dict(provenance or {}), f"{where}: provenance")
    if golden is not None:
        strict_json.dumps(golden_by, f"{where}: golden_by")
        metadata["golden_by"] = golden_by
    table = lower(graph, weights) if lower else None
    if table and table.arrays is not None:
        arrays[ARRAYS] = table.arrays
    arrays = {n: np.ascontiguousarray(a, "<f4") for n, a in sorted((weights | arrays).items())}
    if table:
        arrays[TABLE] = table.encode(starts(arrays))
    metadata["checksums"] = strict_json.dumps(_checksums(metadata, arrays), f"{where}: checksums")
    header = encode_header(arrays, metadata)
    return [header, *(array.reshape(-1).data for array in arrays.values())]


def load(path, max_bytes=2 << 30, where=None) -> Stored:
    """Read a .rnnrt file and check all of it: sizes, wiring, checksums. Nothing in it is run or imported.

    ``path``: its path; with ``where``, which then names it in errors, the file itself, open for reading in
    binary.

    Raises ModelFileError for a missing or damaged file, UnsupportedModelError for what another version wrote,
    ResourceLimitError above ``max_bytes``, before anything of that size is allocated.
    """
    with Container(path, max_bytes, where) as file:
        where = file.path
        checksums = _check_metadata(file.metadata, where)
        sums = _check_texts(file, checksums, where)
        for name, entry in file.entries.items():
            if (entry.dtype == "F32") == (name == TABLE):
                raise ModelFileError("has a dtype that it cannot have", where=f"{where}: tensor {name!r}")
        left = dict.fromkeys(file.entries)

        def take(name, place):
            if name not in left:
                reason = "is used twice" if name in file.entries else "is not in the file"
                raise ModelFileError(f"the tensor {name!r} {reason}", where=place)
            del left[name]
            array = file.read(name)
            if _sum(array) != sums[name]:
                raise ModelFileError(
                    "the checksum does not fit: the file is damaged", where=f"{where}: tensor {name!r}"
                )
            return array

        text = strict_json.loads(file.metadata["graph"], f"{where}: graph")
        graph = graph_json.decode(text, take, f"{where}: graph $")
        for name in (TABLE, ARRAYS):  # for C alone: lowered anew, an old file has new passes
            if name in left and file.metadata["format_version"] != "1":
                take(name, where)
        golden = _read_golden(graph, left, take, where)
        by = file.metadata.get("golden_by")
        if (golden is None) != (by is None):
            raise ModelFileError("golden_by and the golden arrays must come together", where=where)
        provenance = strict_json.loads(file.metadata["provenance"], f"{where}: provenance")
        if not isinstance(provenance, dict):
            raise ModelFileError("provenance must be an object", where=where)
        return Stored(graph, provenance, golden, by)


def is_rnnrt(header):
    """Whether these first bytes (up to and with the whole header, at best) are those of a .rnnrt file."""
    length = int.from_bytes(header[:8], "little")
    if len(header) < 9 or not 2 <= length <= MAX_HEADER or header[8:9] != b"{":
        return False
    return re.search(rb'"format"\s*:\s*"rnnrt"', header[8 : 8 + length]) is not None


def canonical_json(graph):
    """The graph as one text, the same for the same graph: what a file holds and hashes; weights appear by
    tensor name.
    """
    return strict_json.dumps(graph_json.encode(graph)[0], "graph")


# ---- checksums ---------------------------------------------------------------------------------------------


def _checksums(metadata, arrays):
    texts = {
        key: hashlib.sha256(metadata[key].encode("utf-8")).hexdigest() for key in _TEXTS if key in metadata
    }
    return {"sha256": texts, "tensors": {name: _sum(array) for name, array in arrays.items()}}


def _sum(array):
    """The shape is summed too: bytes alone would not notice (2, 3) becoming (3, 2)."""
    return {"crc32": zlib.crc32(array.reshape(-1).data), "shape": list(array.shape)}


def _check_metadata(metadata, where):
    """The parsed checksums, after the version and the keys were looked at."""
    if metadata.get("format") != "rnnrt":
        raise ModelFileError(
            "is a safetensors file, but not of rnnrt", where=where, fix="Import it with rnnrt.from_torch()."
        )
    version = str(metadata.get("format_version"))
    if version not in map(str, range(1, FORMAT_VERSION + 1)):
        newer = version.isascii() and version.isdigit() and version.strip("0") != ""
        raise UnsupportedModelError(
            "was written by a newer rnnrt" if newer else "says nothing sound about its format",
            where=where,
            expected=f"format_version 1 to {FORMAT_VERSION}",
            found=version[:20],
            fix="Update rnnrt, or convert the source again.",
        )
    known = {"format", "format_version", "checksums", *_TEXTS}
    for key in known - {"golden_by"} - set(metadata):
        raise ModelFileError(f"lacks the metadata {key!r}", where=where)
    for key in set(metadata) - known:
        raise UnsupportedModelError(
            f"holds the unknown metadata {key[:80]!r}", where=where, fix=graph_json.NEWER
        )
    return strict_json.loads(metadata["checksums"], f"{where}: checksums")


def _check_texts(file, checksums, where):
    """{tensor name: its checksum}, after the texts' own were checked."""
    expected = _checksums(file.metadata, {})["sha256"]
    if (
        not isinstance(checksums, dict)
        or set(checksums) != {"sha256", "tensors"}
        or not isinstance(checksums["tensors"], dict)
    ):
        raise ModelFileError("checksums must hold sha256 and tensors", where=where)
    if checksums["sha256"] != expected:
        raise ModelFileError(
            "the checksum of the graph or its description does not fit: the file is damaged", where=where
        )
    if set(checksums["tensors"]) != set(file.entries):
        name = min(set(checksums["tensors"]) ^ set(file.entries))
        raise ModelFileError(f"the tensor {name!r} and its checksum must both be there", where=where)
    return checksums["tensors"]


# ---- golden arrays -----------------------------------------------------------------------------------------


def _check_golden(graph, golden, where):
    """Whether golden arrays belong to this graph; raises ModelFileError."""
    inputs, outputs = golden
    expected = (
        {n: graph.signals[n] for n in graph.inputs},
        {o.name: graph.signals[o.value] for o in graph.outputs},
    )
    batch = None
    for part, signals, kind in zip((inputs, outputs), expected, ("input", "output")):
        if set(part) != set(signals):
            found = ", ".join(part) or "none"
            raise ModelFileError(
                f"the golden {kind}s are not the model's",
                where=where,
                expected=", ".join(signals),
                found=found,
            )
        for name, array in part.items():
            signal, shape = signals[name], np.shape(array)
            batch = batch or (shape[0] if shape else 0)
            rank = 1 + signal.time + len(signal.features)
            fits = len(shape) == rank and shape[0] == batch and shape[1 + signal.time :] == signal.features
            if not fits or (signal.time and signal.length not in (None, shape[1])):
                raise ModelFileError(
                    f"the golden {kind} {name!r} has the wrong shape",
                    where=where,
                    expected=str(signal),
                    found=str(shape),
                )


def _read_golden(graph, names, take, where):
    """The golden arrays among the tensors the graph left over; raises ModelFileError for any other tensor."""
    if not names:
        return None
    golden = {}, {}
    for name in list(names):
        for prefix, part in zip((_INPUT, _OUTPUT), golden):
            if name.startswith(prefix):
                part[name.removeprefix(prefix)] = take(name, where)
                break
        else:
            raise ModelFileError(f"the tensor {name!r} is not used by the graph", where=where)
    _check_golden(graph, golden, where)
    return golden
