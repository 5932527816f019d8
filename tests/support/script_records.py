"""The TorchScript files that tools/record_torchscript.py recorded, and parts of them changed."""

import io
import tarfile
import zipfile
from functools import cache
from pathlib import Path

#: as torch.jit.trace writes it, and after torch.jit.freeze
WAYS = ("traced", "frozen")


@cache
def recorded():
    """{"lstm.traced": content of a file}."""
    with tarfile.open(Path(__file__).parents[1] / "data" / "torchscript.tar.xz") as archive:
        return {m.name.removesuffix(".pt"): archive.extractfile(m).read() for m in archive}


def members(content):
    """{name without the top folder: bytes}."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {n.partition("/")[2]: archive.read(n) for n in archive.namelist()}


def changed(content, changes=None, more=None, left_out=()):
    """A file with members changed: ``changes``: {the end of a name: f(name, bytes) -> bytes, or bytes};
    ``more``: {name without the top folder: bytes}; without those whose name ends in one of ``left_out``.
    """
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(made, "w") as copy:
        top = source.namelist()[0].partition("/")[0]
        for name in source.namelist():
            data = source.read(name)
            own = next((end for end in changes or {} if name.endswith(end)), None)
            if own is not None:
                data = changes[own](name, data) if callable(changes[own]) else changes[own]
            if not name.endswith(tuple(left_out)):
                copy.writestr(name, data)
        for name, data in (more or {}).items():
            copy.writestr(f"{top}/{name}", data)
    return made.getvalue()
