"""TFLite: a file as a graph."""

from __future__ import annotations

import numpy as np

from ...errors import ModelFileError, RnnrtError
from ...format.reading import path_text, read_whole
from ...graph import Graph
from ..axes.slots import Slots
from ..axes.values import Tensor
from ..containers.protobuf import shown
from ..onnx.model import File
from ..onnx.moves import sizes_of
from ..onnx.quantised import ASSUMPTION
from ..onnx.reader import graph_of
from . import loops, model, recurrent, windows
from .program import Translation

#: The version of ONNX's operators that the words of TFLite are told in.
_OPSET = 20
_ADVICE = {"sizes": "Convert it with a number of frames that is open: keras.Input((None, n), batch_size=1)."}
_OWN = {recurrent.SEQUENCE: recurrent.sequence, loops.LOOP: loops.run, windows.LENGTHS: windows.lengths}

__all__ = ["read"]


def read(source, *, state=None, constants=None, shapes=None, max_bytes=2 << 30) -> Graph:
    """The Graph of a path to a TFLite file of floats.

    ``state``, ``constants``, ``shapes``, ``max_bytes``: as ONNX's reader takes them.

    Raises ModelFileError for damage, UnsupportedModelError for what is not supported.
    """
    where = path_text(source)
    file = model.read(read_whole(source, max_bytes), where)
    translation = Translation(file)
    try:
        program = translation.program()
    except RnnrtError as error:
        raise error.at(where)
    said = {"source": "tflite"}
    assumptions = [ASSUMPTION] if file.quantised else []
    if file.left_out:
        names = ", ".join(shown(n) for n in file.left_out[:4])
        assumptions.append(f"the file's further signatures are left out: {names}")
    if assumptions:
        said["assumptions"] = assumptions
    told = File(program, _OPSET, "", {}, tuple(file.widened), _OWN, _ADVICE, _check_shapes)
    return graph_of(told, where, said, translation.states | dict(state or {}), constants, shapes)


def _check_shapes(net, node, made):
    """Refuse results of another shape than the file says: what an operator means may depend on it. Batch and
    time are as the call has them.
    """
    for value, stated in zip(made, getattr(node, "stated", ())):
        if stated is None or not isinstance(value, (Tensor, Slots, np.ndarray)):
            continue
        plain = isinstance(value, np.ndarray)
        axes = ["n"] * value.ndim if plain else value.axes
        sizes = value.shape if plain else sizes_of(net, value)
        fits = len(axes) == len(stated) and all(
            n in (None, m) or a not in ("f", "n", "1") for a, n, m in zip(axes, stated, sizes)
        )
        if not fits:
            raise ModelFileError(
                "makes something of another shape than the file says", expected=str(stated), found=str(value)
            )
