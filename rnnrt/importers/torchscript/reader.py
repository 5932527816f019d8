"""Traced TorchScript: a file of torch.jit.save, or a live module of torch.jit.trace, as a graph."""

from __future__ import annotations

import io

from ...errors import RnnrtError, printable
from ...format.reading import path_text, read_whole
from ...graph import Graph
from ..detection import framework
from ..torch.stored import known, understood, with_states
from . import archive, forward
from .program import ScriptProgram

__all__ = ["read"]


def read(source, spec=None, *, prefix="", state=None, shapes=None, max_bytes=2 << 30) -> Graph:
    """The Graph of a path to a TorchScript file or of a live module of torch.jit.

    ``state``: {input: output} of values that a caller carries from call to call. ``shapes``: {input: sizes}
    that it was traced with, None for sizes that may be any; by default what the file says. ``spec``,
    ``prefix``: the weights of the file alone are read, as PyTorch's reader reads a state dict. ``max_bytes``:
    the most that the file and its tensors may take.

    Raises ModelFileError for damage, UnsupportedModelError for what is not supported, scripted modules among
    it.
    """
    live = framework(source) == "torch"
    if spec is not None or prefix:
        from ..torch import reader as weights

        return weights.read(source.state_dict() if live else source, spec, prefix=prefix, max_bytes=max_bytes)
    where = "the given module" if live else path_text(source)
    content = _saved(source) if live else read_whole(source, max_bytes)
    try:
        return _read(content, where, dict(state or {}), dict(shapes or {}), max_bytes)
    except RnnrtError as error:
        raise error if (error.where or "").startswith(where) else error.at(where)


def _saved(module):
    import torch

    held = io.BytesIO()
    torch.jit.save(module, held)
    return held.getvalue()


def _read(content, where, states, shapes, max_bytes):
    script = archive.read(content, where, max_bytes)
    with understood():
        made = forward.read(script, {name: tuple(sizes) for name, sizes in shapes.items()})
        known(states, made.ports, "input")
        metadata = {"source": "torch", "format": "TorchScript", "archive_version": script.version}
        array = lambda name: script.tensors.array(name, where)
        name = printable(script.module.name.rpartition(".")[2])[:80]
        program = ScriptProgram(made.nodes, name, made.ports, array, states, metadata)
        program.parts = made.parts
        graph = program.graph()
    return with_states(graph, states, script.tensors.types)
