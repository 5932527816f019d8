"""ONNX: a file, or a live ModelProto, as a graph."""

from __future__ import annotations

import numpy as np

from ...errors import RnnrtError, UnsupportedModelError, did_you_mean
from ...format.reading import path_text, read_whole
from ...graph import Graph
from ...layers import Reshape
from ..axes import slots
from ..axes.scores import Scores
from ..axes.slots import Slots
from ..axes.values import Tensor
from ..carried import carried, proposed_states
from ..containers.protobuf import shown
from ..detection import framework
from . import model
from .program import Reader
from .quantised import ASSUMPTION

__all__ = ["read"]


def read(
    source,
    *,
    state=None,
    constants=None,
    shapes=None,
    data=None,
    max_bytes=2 << 30,
) -> Graph:
    """The Graph of a path to an ONNX file or of a live ModelProto.

    ``state``: {input: output} of values that a caller carries from call to call. ``constants``: {input:
    value} of inputs that are fixed. ``shapes``: {input: sizes} that the file leaves open, None for batch and
    time. ``data``: the file, or files, beside it that hold its weights. ``max_bytes``: the most that each
    file may take.

    Raises ModelFileError for damage, UnsupportedModelError for what is not supported.
    """
    live = framework(source) == "onnx"
    where = "the given model" if live else path_text(source)
    content = source.SerializeToString() if live else read_whole(source, max_bytes)
    file = model.read(content, where, data, max_bytes)
    said = {"source": "onnx", "producer": shown(file.producer), "opset": file.opset}
    return graph_of(file, where, said, state, constants, shapes)


def graph_of(file, where, said, state=None, constants=None, shapes=None) -> Graph:
    """The Graph of a File. ``said``: what its metadata hold of the source; the rest as ``read`` takes it."""
    try:
        with np.errstate(all="ignore"):  # what is not finite is said of the weights
            return _read(file, said, dict(state or {}), dict(constants or {}), dict(shapes or {}))
    except RnnrtError as error:
        raise error if (error.where or "").startswith(where) else error.at(where)


def _read(file, said, states, constants, shapes):
    program = file.program
    names = [p.name for p in program.inputs]
    for what, given in (("state", states), ("constants", constants), ("shapes", shapes)):
        for name in given:
            if name not in names:
                raise UnsupportedModelError(
                    f"{what} names an input that is not there",
                    expected=", ".join(map(shown, names)),
                    found=repr(name),
                    fix=did_you_mean(name, names),
                )
    constants = {n: np.asarray(v) for n, v in constants.items()}
    reader = Reader(file, constants, {n: tuple(s) for n, s in shapes.items()}, states)
    net, _ = reader.read()
    for output in states.values():
        if output not in net.shown:
            raise UnsupportedModelError(
                "state names an output that is not there",
                expected=", ".join(shown(n) for n in net.shown),
                found=repr(output),
                fix=did_you_mean(output, net.shown),
            )
    for name, value in net.shown.items():
        _output(net, name, value)
    graph = net.graph(_metadata(file, said, reader, net, constants))
    if states or net.rows:
        return carried(graph, states, bool(net.rows))
    proposed = proposed_states(graph)
    return graph.replace(graph.layers, metadata=graph.metadata | proposed) if proposed else graph


def _metadata(file, said, reader, net, constants):
    made, assumptions = dict(said), list(said.get("assumptions", ()))
    if file.widened:
        assumptions.append(f"{len(file.widened)} arrays of 16-bit numbers are computed with in float32")
    if reader.quantised:
        assumptions.append(ASSUMPTION)
    for name in reader.unused:
        assumptions.append(f"the input {shown(name)!r} of the file is used by nothing and left out")
    for name, value in constants.items():
        if value.size == 1:
            assumptions.append(f"the input {shown(name)!r} is {value.item()}")
    if assumptions:
        made["assumptions"] = assumptions
    if net.lengths is not None:
        made |= {"lengths_input": net.lengths, "packed": True, "cut_outputs": []}
        made["packing"] = list(net.packing[1:3])
    return made


def _output(net, name, x):
    """A value as an output of the graph, with the axes that the file gives it."""
    if isinstance(x, Scores):
        raise x.as_an_answer(net.advice["length"]).at(f"the output {shown(name)!r}")
    if not isinstance(x, (Tensor, Slots)):
        raise UnsupportedModelError(f"the output {shown(name)!r} is not made of an input", found=str(x))
    if net.unbatched and isinstance(x, Tensor) and "b" not in x.axes:
        x = x.view(("b", *x.axes))
    if isinstance(x, Tensor) and ("s" in x.axes or x.axes.count("1") > 1 or "1" in x.axes and "f" in x.axes):
        x = slots.slots_of(net, x)
    if isinstance(x, Tensor):
        net.output(name, x)
        return
    if "b" not in x.axes and not net.rows:
        fix = "Return it before batch and features are merged." if x.folded else None
        raise UnsupportedModelError(f"the output {shown(name)!r} has no batch axis", found=str(x), fix=fix)
    net.name = name
    sizes = tuple(n for a, n in zip(x.axes, x.places.shape) if a == "n")
    reference = slots.picked(net, x)
    if len(sizes) != 1:
        reference = net.add(Reshape, reference, features=sizes)
    axes = "".join("f" if a == "n" else a for a in x.axes)
    axes = axes if "b" in axes else "b" + axes  # a state, where the rows of a call are frames
    net.builder.output(name, reference, axes if "f" in axes else axes + "f")
