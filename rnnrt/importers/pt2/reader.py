"""torch.export's archives: a file, or a live ExportedProgram, as a graph."""

from __future__ import annotations

import io

from ...errors import RnnrtError
from ...format.reading import path_text, read_whole
from ...graph import Graph
from ..detection import framework
from ..torch.stored import StoredProgram, known, understood, with_states
from . import archive, schema

__all__ = ["read"]


def read(source, *, state=None, max_bytes=2 << 30) -> Graph:
    """The Graph of a path to a .pt2 file or of a live ExportedProgram.

    ``state``: {input: output} of values that a caller carries from call to call. ``max_bytes``: the most that
    the file and its tensors may take.

    Raises ModelFileError for damage, UnsupportedModelError for what is not supported.
    """
    live = framework(source) == "torch"
    where = "the given program" if live else path_text(source)
    content = _saved(source) if live else read_whole(source, max_bytes)
    try:
        return _read(content, where, dict(state or {}), max_bytes)
    except RnnrtError as error:
        raise error if (error.where or "").startswith(where) else error.at(where)


def _saved(program):
    import torch

    held = io.BytesIO()
    torch.export.save(program, held)
    return held.getvalue()


def _read(content, where, states, max_bytes):
    root, tensors = archive.read(content, where, max_bytes)
    with understood():
        exported = schema.read(root)
        known(states, exported.ports, "input")
        array = lambda name: tensors.array(name, where)
        program = StoredProgram(exported.nodes, "forward", exported.ports, array, states, exported.metadata)
        graph = program.graph()
    return with_states(graph, states, tensors.types)
