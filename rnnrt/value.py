"""A model as a value: what its pickle holds, and the models this process has made of pickles.

A pickle is one call: ``rnnrt.value.restore(version, content, options)``. By value, ``content`` is the bytes
of the model's .rnnrt file, its golden sample and provenance in it; by path it is (path, size, sha256) of a
file that stays where it is. Either way every check of ``rnnrt.load`` is made. The same bytes under the same
options are one Model in a process, however many tasks bring them.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from io import BytesIO
from typing import TYPE_CHECKING

from .errors import DTypeError, ModelFileError, UnsupportedModelError
from .model import Model

if TYPE_CHECKING:
    from typing import Any

    from .annotations import Answer

#: Of what ``restore`` is called with. A later rnnrt that calls it otherwise counts on, and an earlier one
#: refuses by that number.
VERSION = 1
OPTIONS = {"num_threads": int, "backend": str, "weights": str, "isa": str | None, "lift": bool}
WHERE = "the pickled model"

#: Models made of pickles outlive the task that brought them, for the next one brings the same: so many, in so
#: many bytes of weights.
MOST_HELD, MOST_HELD_BYTES = 4, 256 << 20


def by_path(model: Model[Answer]) -> Model[Answer]:
    """The same model, whose pickle holds no weights but the path, size and sha256 of the .rnnrt file it was
    loaded from.

    For processes that share a disk. Where the file is missing or another one, unpickling raises
    ModelFileError; so does this call for a model that ``rnnrt.load`` did not read from a path, or whose file
    holds another network by now.
    """
    if not isinstance(model, Model):
        raise DTypeError(
            "this is not a model", expected="what rnnrt.load(path) returned", found=type(model).__name__
        )
    if model._path is None:
        raise ModelFileError(
            "the model was not loaded from a .rnnrt file, so no path says what it is",
            fix="Save and load it first: model.save(path); rnnrt.load(path).",
        )
    from .format import file, graph_json
    from .format.reading import open_regular

    with open_regular(model._path) as opened:
        size, digest = _measure(opened)
        stored = file.load(opened, size, model._path)
    if graph_json.fingerprint(stored.graph) != model.fingerprint:
        raise ModelFileError(
            "holds another network than when the model was loaded",
            where=model._path,
            fix="Load it again: rnnrt.load(path).",
        )
    made = Model.__new__(Model)
    made.__dict__.update(model.__dict__)
    made._by_path = (model._path, size, digest)
    return made


def reduced(model: Model[Any]) -> tuple[Any, ...]:
    """What ``Model.__reduce__`` returns."""
    if type(model) is not Model:
        raise UnsupportedModelError(
            "a subclass of rnnrt.Model is not pickled, for its pickle would come back as a plain Model",
            found=type(model).__qualname__,
            fix="Give the subclass a __reduce__ of its own.",
        )
    from .format import file

    options = dict(model._options)
    if model._by_path is not None:
        return restore, (VERSION, model._by_path, options)
    by = model._golden_by or "reference"
    content = b"".join(file.encode(model.graph, WHERE, model._golden, by, model.provenance))
    with _lock:
        _living.setdefault(_key(_digest(BytesIO(content)), options), model)
    return restore, (VERSION, content, options)


def restore(version: object, content: object = None, options: object = None, *newer: object) -> Model[Any]:
    """The Model of a pickle. Raises UnsupportedModelError where a newer rnnrt wrote it, and whatever
    ``rnnrt.load`` raises for its file.
    """
    if version != VERSION or newer:
        raise UnsupportedModelError(
            "the pickle was written by a newer rnnrt",
            where=WHERE,
            expected=f"version {VERSION}",
            found=repr(version)[:20],
            fix="Update rnnrt here, or send the .rnnrt file.",
        )
    from .format.reading import open_regular

    options = _checked(options)
    if isinstance(content, bytes):
        opened = BytesIO(content)
        return _one(_digest(opened), options, lambda: _model(opened, len(content), options, WHERE))
    if not (isinstance(content, tuple) and [type(part) for part in content] == [str, int, str]):
        raise ModelFileError(
            "holds neither the bytes of a file nor its path, size and sha256",
            where=WHERE,
            found=type(content).__name__,
        )
    path, size, digest = content
    with open_regular(path) as opened:
        if os.fstat(opened.fileno()).st_size != size or _measure(opened)[1] != digest:
            raise ModelFileError(
                "is not the file that the pickle names: its content differs",
                where=path,
                expected=f"{size:,} bytes with the sha256 {digest[:12]}",
                fix="Copy that file here, or pickle the model itself, which carries its weights.",
            )

        def make():
            made = _model(opened, size, options, path)
            made._path, made._by_path = path, content
            return made

        return _one(digest, options, make, content)


def _model(opened, size, options, where):
    from .format import file

    stored = file.load(opened, size, where)
    return Model(
        stored.graph,
        **options,
        golden=stored.golden,
        golden_by=stored.golden_by,
        provenance=stored.provenance,
    )


def _checked(options):
    """The options of a pickle, if they are ours."""
    from .format import graph_json

    if not isinstance(options, dict):
        raise ModelFileError("has no options", where=WHERE, found=type(options).__name__)
    for name, value in options.items():
        if name not in OPTIONS:
            raise UnsupportedModelError(
                f"holds the unknown option {str(name)[:80]!r}",
                where=WHERE,
                expected=", ".join(OPTIONS),
                fix=graph_json.NEWER,
            )
        if not isinstance(value, OPTIONS[name]):
            raise ModelFileError(
                f"the option {name!r} is not what it should be", where=WHERE, found=repr(value)[:80]
            )
    return options


def _measure(opened):
    """(size, sha256) of an open file, which is left at its beginning."""
    digest = _digest(opened)
    size = opened.seek(0, os.SEEK_END)
    opened.seek(0)
    return size, digest


def _digest(opened):
    import hashlib

    opened.seek(0)
    digest = hashlib.file_digest(opened, "sha256").hexdigest()
    opened.seek(0)
    return digest


# ---- one Model a process -----------------------------------------------------------------------------------

#: Every living model that was pickled or unpickled here, by the sha256 of its file and its options; the last
#: unpickled ones are held.
_living: weakref.WeakValueDictionary[Any, Model[Any]] = weakref.WeakValueDictionary()
_held: OrderedDict[Any, Model[Any]] = OrderedDict()
_lock = threading.Lock()


def _new_lock():
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_new_lock)  # another thread may have held it


def _key(digest, options, path=None):
    return digest, tuple(sorted(options.items())), path


def _one(digest, options, make, path=None):
    """The living model of this content, or the one ``make`` returns; a model by path is another one than the
    same by value.
    """
    key = _key(digest, options, path)
    with _lock:
        model = _living.get(key)
    made = model or make()
    with _lock:
        model = _living.setdefault(key, made)  # of two threads that made it at once, the first one's
        _held[key] = model
        _held.move_to_end(key)
        while len(_held) > MOST_HELD or (
            len(_held) > 1 and sum(4 * m.graph.parameters for m in _held.values()) > MOST_HELD_BYTES
        ):
            _held.popitem(last=False)
    return model
