"""PyTorch: files, state dicts and live modules as graphs. The framework itself is touched only where a live
module was given.
"""

from __future__ import annotations

from ...errors import RnnrtError, UnsupportedModelError
from ...graph import Graph
from ..detection import framework
from ..spec import build as specs
from ..spec import text as spec_text
from . import files

__all__ = ["read"]


def read(source, spec=None, *, example=None, shapes=None, prefix="", max_bytes=2 << 30) -> Graph:
    """The Graph of a path, a mapping of names to arrays (a state dict, an opened .npz), or a live nn.Module.

    ``spec``: what a state dict does not say, one line an operation (see spec/build.py), as text or as a path
    to it; without it only one LSTM or GRU imports. A mapping may hold one state dict a layer. ``prefix``
    chooses among several networks in a checkpoint. ``example``: for a live module, one example of each input
    where its layers do not tell the shapes; ``shapes``: {argument of forward: sizes}, None for batch and
    time, where more than one axis may be time. ``max_bytes``: the most that a file's tensors may take.

    Raises ModelFileError for damage, UnsupportedModelError for what is not supported (with a draft spec where
    one is needed).
    """
    if framework(source) == "torch":
        if spec is not None or prefix:
            raise UnsupportedModelError(
                "a live module takes no spec and no prefix",
                fix="Give the part you want, or its state_dict().",
            )
        from .trace import trace

        return trace(source, example, shapes)
    for option, value in (("example", example), ("shapes", shapes)):
        if value is not None:
            raise UnsupportedModelError(f"{option}= belongs to a live module", fix="Leave it out.")
    spec = spec_text.text_of(spec)
    wanted = [line.prefix for line in specs.parse(spec)] if spec is not None else []
    checkpoint = files.read_tensors(source, max_bytes=max_bytes)
    try:
        return specs.build(spec, files.unwrap(checkpoint, prefix, wanted), {"source": "torch"})
    except RnnrtError as error:
        raise error if (error.where or "").startswith(checkpoint.where) else error.at(checkpoint.where)
