"""The container of torch.jit.save: a zip archive of the module as a pickle, its constants as another, and its
code as text.

``<top>/data.pkl`` with ``<top>/data/<key>``, ``<top>/constants.pkl`` with ``<top>/constants/<key>``, and
``<top>/code/__torch__/...py``. Since PyTorch 1.13 or so ``<top>/traced_inputs.pkl`` holds the sizes of the
example that was traced (its numbers are left out). Nothing of the pickles is run.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ...errors import ModelFileError, RnnrtError, UnsupportedModelError
from ..containers import pickle
from ..containers.zip import Archive
from ..torch.files import Checkpoint, Tensors
from ..torch.state_dict import is_script

_LISTS = ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist", "restore_type_tag")
_TYPED = {f"torch.jit._pickle.{name}" for name in _LISTS}
_RESAVE = "Load it with a later PyTorch and save it again: torch.jit.save(torch.jit.load(path), new_path)."


class Script(NamedTuple):
    """``module``: the object that was saved; ``constants``: by number; ``code``: f(name of a file) ->
    its text, None where there is none; ``records``: {name: tensor as it is stored} of the module and of its
    constants, for its reader to fill; ``tensors``: those, read out when asked for; ``example``: what
    ``forward`` was traced with, tensors without numbers, None where the file does not say.
    """

    module: pickle.Opaque
    constants: tuple
    code: object
    records: tuple[dict, dict]
    tensors: Tensors
    example: tuple | None
    version: str


def read(data: bytes, where: str, max_bytes: int) -> Script:
    """What is in the content of a file; raises as ``pickle.load`` and ``Archive`` do."""
    archive = Archive(data, where, max_bytes)
    top = _top(archive)
    order = archive.read(top + "byteorder").strip() if top + "byteorder" in archive else b"little"
    if order != b"little":
        raise UnsupportedModelError(
            "was written on a machine of another byte order", where=where, found=repr(order[:20])
        )
    module = _pickle(archive, top + "data.pkl")
    if not is_script(module):
        raise ModelFileError("holds no module", where=where, found=type(module).__name__)
    constants = _pickle(archive, top + "constants.pkl")
    if not isinstance(constants, tuple):
        raise ModelFileError("its constants are not a tuple", where=where)

    def code(name):
        member = f"{top}code/{name}"
        return archive.read(member) if member in archive else None

    records = {}, {}
    storages = [_storage(archive, top + folder) for folder in ("data", "constants")]
    tensors = Tensors(records, [Checkpoint({}, where, max_bytes, own) for own in storages])
    version = next((archive.read(top + n) for n in ("version", ".data/version") if top + n in archive), b"")
    version = repr(version[:8].strip())[2:-1]
    return Script(module, constants, code, records, tensors, _example(archive, top), version)


def _top(archive):
    found = [n for n in archive.names if re.fullmatch(r"[^/]+/data\.pkl", n)]
    if len(found) != 1:
        old = any(n.endswith("/model.json") for n in archive.names)
        raise UnsupportedModelError(
            "is TorchScript of PyTorch before 1.4" if old else "holds no module",
            where=archive.where,
            expected="one <name>/data.pkl",
            found=", ".join(archive.names[:5])[:200],
            fix=_RESAVE,
        )
    return found[0].removesuffix("data.pkl")


def _pickle(archive, name):
    return plain(pickle.load(archive.read(name), f"{archive.where}, {name}")[0])


def plain(value):
    """A value without the type that TorchScript says of it: lists of one type, and "Dict[str, Tensor]"."""
    typed = isinstance(value, pickle.Opaque) and value.name in _TYPED and value.parts
    return value.parts[0] if typed else value


def _storage(archive, folder):
    read = {}  # tensors of one storage: unpack it once

    def storage(key, where):
        if key not in read:
            read[key] = archive.read(f"{folder}/{key}")
        return read[key]

    return storage


def _example(archive, top):
    """What forward was traced with; a file that says it in another way than is known here says nothing."""
    if top + "traced_inputs.pkl" not in archive:
        return None
    try:
        given = _pickle(archive, top + "traced_inputs.pkl")
    except RnnrtError:
        return None
    forward = plain(given.get("forward")) if isinstance(given, dict) else None
    return tuple(forward) if isinstance(forward, (list, tuple)) else None
