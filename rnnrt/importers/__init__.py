"""Importers: a file or a live object of another framework -> Graph.

``detect`` tells what a source is, ``read`` imports it. The importers are loaded when they are first needed.
"""

from __future__ import annotations

from importlib import import_module
from os import PathLike

from ..errors import UnsupportedModelError
from ..graph import Graph
from .detection import detect

__all__ = ["detect", "read"]


def read(source, **options) -> Graph:
    """The Graph of any source ``detect`` knows; ``options`` as the importer's own ``read`` takes them (spec=,
    inputs=, ...).

    Raises what ``detect`` and the importer raise, TypeError for an option the importer does not have.
    """
    kind = detect(source)
    reader = _READERS.get(kind.importer) or _reader(kind, source)
    return reader(source, **options)


def _reader(kind, source):
    folder = f"{__name__}.{kind.importer}"
    module = f"{folder}.reader"
    try:
        return import_module(module).read
    except ModuleNotFoundError as error:
        if error.name not in (folder, module):
            raise
        raise UnsupportedModelError(
            f"is {kind.what}, for which this rnnrt has no importer",
            where=str(source) if isinstance(source, (str, PathLike)) else "the source",
            fix="Import the PyTorch or Keras model it was made from.",
        ) from None


def _graph(source):
    return source


def _file(source, **options):
    from ..format import file

    return file.load(source, **options).graph


def _textbook(source):
    from . import numpy

    return numpy.read(source)


def _textbook_npz(source, max_bytes=2 << 30):
    from ..format.reading import path_text, read_whole
    from . import numpy
    from .containers.npz import read_npz
    from .containers.zip import Archive

    data = read_whole(source, max_bytes)
    return numpy.read(read_npz(Archive(data, path_text(source), max_bytes)))


_READERS = {"graph": _graph, "file": _file, "numpy": _textbook, "textbook_npz": _textbook_npz}
