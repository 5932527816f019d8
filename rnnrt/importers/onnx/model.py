"""An ONNX file as nodes, arrays, inputs and outputs; what it holds that cannot be honoured is refused by
name. See https://github.com/onnx/onnx/blob/main/docs/IR.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ...errors import ModelFileError, UnsupportedModelError
from ..containers import protobuf
from ..containers.protobuf import numbers, shown
from . import tensors
from .messages import MESSAGES

#: Versions of the operator set that are known; the meaning of operators changes with them.
OPSETS = range(7, 29)
#: Names of the domain of ONNX's own operators.
DOMAINS = ("", "ai.onnx")
_NEWEST_IR = 14
#: Attributes that are yes or no. Of other numbers runtimes make either, so they are refused.
FLAGS = frozenset(
    {"allowzero", "ceil_mode", "count_include_pad", "input_forget", "keepdims", "layout"}
    | {"linear_before_reset", "new_axis", "noop_with_empty_axes", "training_mode", "transA", "transB"}
)


@dataclass(frozen=True)
class Node:
    """One operator of a graph. ``inputs``: names, "" for one that is left out. ``attributes``: numbers,
    strings, arrays, lists of numbers, or a Program for a body.
    """

    op: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict

    def __str__(self):
        name = self.name or next(filter(None, self.outputs), "")
        return f"the node {shown(name)!r} ({shown(self.word)})"

    @property
    def word(self):
        """The operator with its domain."""
        return f"{self.domain}.{self.op}" if self.domain else self.op


@dataclass(frozen=True)
class Port:
    """An input or an output of a graph. ``type``: of its numbers, 0 where nothing is said; ``shape``: a
    number, a name or None an axis, None where nothing is said.
    """

    name: str
    type: int = 0
    shape: tuple | None = None


@dataclass(frozen=True)
class Program:
    """A graph of nodes in an order they can run in, or the body of one."""

    nodes: tuple[Node, ...]
    arrays: dict[str, np.ndarray]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


@dataclass(frozen=True)
class File:
    """A whole file. ``opset``: the version of ONNX's own operators; ``metadata``: what the file says of
    itself; ``widened``: names of arrays that were float16 or bfloat16; ``own``: operators that ONNX does not
    have, {name: f(reader, network, node, inputs, values) -> results}; ``advice``: other words for ADVICE;
    ``check``: f(network, node, results), which raises where they are not what the file says.
    """

    program: Program
    opset: int
    producer: str
    metadata: dict = field(default_factory=dict)
    widened: tuple[str, ...] = ()
    own: dict = field(default_factory=dict)
    advice: dict = field(default_factory=dict)
    check: Callable | None = None


def read(data, where, data_files=None, max_bytes=2 << 30) -> File:
    """The File that ``data`` (bytes) is. ``data_files``: paths of the files beside it that hold weights."""
    model = protobuf.read(data, "Model", MESSAGES, where)
    if model.unknown or model.graph is None:
        raise ModelFileError("is not an ONNX model", where=where, expected="a graph of operators")
    if not 1 <= (model.ir_version or 0) <= _NEWEST_IR:
        raise UnsupportedModelError(
            "the file is of a version of ONNX that is not known",
            where=where,
            expected=f"ir_version 1 to {_NEWEST_IR}",
            found=str(model.ir_version),
        )
    versions = {o.version for o in model.opsets if (o.domain or "") in DOMAINS}
    if len(versions) != 1 or not versions <= set(OPSETS):
        raise UnsupportedModelError(
            "the file's operators are of a version that is not known",
            where=where,
            expected=f"opset {OPSETS[0]} to {OPSETS[-1]}",
            found=", ".join(map(str, versions)) or "none stated",
            fix="Convert it: onnx.version_converter.convert_version(model, 18).",
        )
    beside = tensors.Beside(data_files, where, max_bytes)
    reader = _Reader(where, beside)
    program = reader.program(model.graph, ())
    if model.functions:
        names = ", ".join(shown(f.name or "") for f in model.functions[:4])
        used = {(f.domain or "", f.name) for f in model.functions} & reader.operators
        if used:
            raise UnsupportedModelError(
                "the file defines functions of its own",
                where=where,
                found=names,
                fix="Inline them: onnx.inliner.inline_local_functions(model).",
            )
    unused = set(beside.paths) - set(beside.read)
    if unused:
        raise ModelFileError("holds no weights of the model", where=min(unused), fix="Leave out data=.")
    return File(
        program,
        versions.pop(),
        f"{model.producer_name or ''} {model.producer_version or ''}".strip(),
        {e.key or "": e.value or "" for e in model.metadata},
        tuple(reader.widened),
    )


def _without_end(names):
    """Names without those left out at the end."""
    names = list(names)
    while names and not names[-1]:
        names.pop()
    return tuple(names)


class _Reader:
    def __init__(self, where, beside):
        self.where, self.beside = where, beside
        self.operators, self.widened = set(), []

    def program(self, graph, outside) -> Program:
        """A graph; ``outside``: the sets of names that a body may read of the graphs around it."""
        self.known(graph, "the graph")
        if graph.sparse:
            raise UnsupportedModelError("sparse tensors are not supported", where=self.where)
        arrays = {}
        for tensor in graph.initializers:
            self.once(tensor.name, arrays)
            arrays[tensor.name] = self.array(tensor, f"the array {shown(tensor.name)!r}")
        inputs = tuple(self.port(v) for v in graph.inputs if (v.name or "") not in arrays)
        made = set(arrays)
        for port in inputs:
            self.once(port.name, made)
            made.add(port.name)
        nodes, scopes = [], (*outside, made)
        for message in graph.nodes:
            nodes.append(self.node(message, scopes))
            missing = [n for n in nodes[-1].inputs if n and not any(n in names for names in scopes)]
            if missing:
                raise self.damaged(f"reads {shown(missing[0])!r}, which nothing before it makes", nodes[-1])
            for name in filter(None, nodes[-1].outputs):
                self.once(name, made)
                made.add(name)
        outputs = tuple(self.port(v) for v in graph.outputs)
        lost = [p.name for p in outputs if not any(p.name in names for names in scopes)]
        if lost or not outputs or not (nodes or outside):
            raise ModelFileError(
                f"nothing makes the output {shown(lost[0])!r}"
                if lost
                else "the graph has no outputs or no nodes",
                where=self.where,
            )
        return Program(tuple(nodes), arrays, inputs, outputs)

    def once(self, name, names):
        if not name or name in names:
            raise ModelFileError(
                "two values have one name" if name else "a value has no name",
                where=self.where,
                found=repr(shown(name or "")),
            )

    def damaged(self, what, node):
        return ModelFileError(what, where=f"{self.where}: {node}")

    def known(self, message, what):
        if message.unknown:
            raise UnsupportedModelError(
                f"{what} holds a field that is not known",
                where=self.where,
                found=f"field {message.unknown[0]}",
            )

    def array(self, tensor, name):
        self.known(tensor, name)
        if tensor.type in (10, 16):
            self.widened.append(tensor.name or name)
        return tensors.array(tensor, name, self.where, self.beside)

    def port(self, value):
        own = value.type.tensor if value.type is not None else None
        shape = None
        if own is not None and own.shape is not None:
            shape = tuple(d.name or None if d.value is None else d.value for d in own.shape.dims)
        return Port(value.name or "", (own.type if own else None) or 0, shape)

    def node(self, message, outside):
        domain = message.domain or ""
        node = Node(
            message.op or "",
            "" if domain in DOMAINS else domain,
            message.name or "",
            _without_end(message.inputs),
            _without_end(message.outputs),
            {},
        )
        self.known(message, str(node))
        self.operators.add((node.domain, node.op))
        for attribute in message.attributes:
            name = attribute.name or ""
            if name in node.attributes:
                raise self.damaged(f"states its attribute {shown(name)!r} twice", node)
            value = node.attributes[name] = self.attribute(attribute, node, outside)
            if name in FLAGS and not (isinstance(value, int) and value in (0, 1)):
                raise UnsupportedModelError(
                    f"the attribute {name!r} of {node} is not supported",
                    where=self.where,
                    expected="0 or 1",
                    found=shown(repr(value)),
                )
        return node

    def attribute(self, attribute, node, outside):
        """What an attribute holds, as its type says."""
        what = f"the attribute {shown(attribute.name or '')!r} of {node}"
        self.known(attribute, what)
        match attribute.type:
            case 1 if attribute.f is not None:
                return attribute.f
            case 2 if attribute.i is not None:
                return attribute.i
            case 3 if attribute.s is not None:
                return str(attribute.s, "utf-8", "replace")
            case 4 if attribute.t is not None:
                return self.array(attribute.t, what)
            case 5 if attribute.g is not None:
                return self.program(attribute.g, outside)
            case 6:
                return numbers(attribute.floats, np.float32).tolist()
            case 7:
                return numbers(attribute.ints, np.int64).tolist()
            case 8:
                return [str(s, "utf-8", "replace") for s in attribute.strings]
            case 1 | 2 | 3 as kind:  # protobuf writes no zero and no empty text
                return (0.0, 0, "")[kind - 1]
        raise UnsupportedModelError(f"{what} is of a type that is not supported", where=self.where)
