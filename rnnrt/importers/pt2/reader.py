"""torch.export's archives: a file, or a live ExportedProgram, as a graph."""

from __future__ import annotations

import io

from ...errors import ModelFileError, ResourceLimitError, RnnrtError, UnsupportedModelError, did_you_mean
from ...format.reading import path_text, read_whole
from ...graph import Graph
from ..carried import carried, proposed_states
from ..detection import framework
from ..torch.stored import StoredProgram
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
    try:
        exported = schema.read(root)
        _known(states, exported.ports, "input")
        array = lambda name: tensors.array(name, where)
        program = StoredProgram(exported.nodes, "forward", exported.ports, array, states, exported.metadata)
        graph = program.graph()
    except RnnrtError:  # some are kinds of ValueError and TypeError too
        raise
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ModelFileError(f"the program is not understood ({type(error).__name__})") from error
    except MemoryError as error:
        raise ResourceLimitError("the program asks for more memory than there is") from error
    wide = sorted({t for t in tensors.types.values() if t in ("float16", "bfloat16", "float64")})
    if wide:
        note = f"arrays of {' and '.join(wide)} numbers are computed with in float32"
        graph.metadata["assumptions"] = [*graph.metadata.get("assumptions", ()), note]
    if states:
        names = [o.name for o in graph.outputs]
        _known(states.values(), names, "output")
        return carried(graph, states)
    found = proposed_states(graph)
    return graph.replace(graph.layers, metadata=graph.metadata | found) if found else graph


def _known(given, names, what):
    for name in given:
        if name not in names:
            raise UnsupportedModelError(
                f"state names an {what} that is not there",
                expected=", ".join(names),
                found=repr(name),
                fix=did_you_mean(name, list(names)),
            )
