"""A TFLite file as graphs of operators on values; what it holds that cannot be honoured is refused by name.
See https://ai.google.dev/edge/litert and the schema beside TensorFlow's converter.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from ...errors import ModelFileError, UnsupportedModelError
from ..containers import bfloat16
from ..containers.flatbuffers import File
from ..containers.protobuf import Message, shown
from .schema import NAMES, OPERATORS, QUANTISED, TABLES, TYPES, type_name

#: What the first graph of a file may have: a graph that it runs may run others, and those none.
DEEPEST = 3
_MOST_AXES = 8
_KERAS = "Import the Keras model it was made from, with from_keras()."
_FLEX = (
    "Convert it again with a fixed batch (keras.Input(shape, batch_size=1)) and without SELECT_TF_OPS; or "
    "import the Keras model it was made from, with from_keras()."
)


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of a graph. ``shape``: numbers, None where the file leaves one open; ``stated``: the same in
    numbers. ``type``: "float32", ...; ``array``: what it holds, where that is in the file, integers with a
    scale as the numbers they stand for; ``variable``: it keeps what it holds from call to call.
    """

    name: str
    shape: tuple
    stated: tuple
    type: str
    array: np.ndarray | None = None
    variable: bool = False


@dataclass(frozen=True, eq=False)
class Operator:
    """``word``: as the schema spells it; ``inputs``: Values, None for one that is left out."""

    word: str
    inputs: tuple
    outputs: tuple
    options: Message

    def __str__(self):
        name = self.outputs[0].name if self.outputs else ""
        return f"the operator {self.word} of {shown(name)!r}"


@dataclass(frozen=True, eq=False)
class Graph:
    inputs: tuple
    outputs: tuple
    operators: tuple


@dataclass
class Model:
    """``graphs``: the first is what a call runs. ``names``: {Value: what a caller calls it}. ``widened``:
    names of arrays that were float16 or bfloat16; ``quantised``: of those that were integers with a scale.
    ``left_out``: further signatures.
    """

    graphs: list
    names: dict
    widened: list = field(default_factory=list)
    quantised: list = field(default_factory=list)
    left_out: list = field(default_factory=list)


def read(data, where) -> Model:
    """The Model that ``data`` (bytes) is."""
    if data[4:8] != b"TFL3":
        raise ModelFileError("is not a TFLite model", where=where, expected="the mark TFL3 at byte 4")
    return _Reader(data, where).model()


class _Reader:
    def __init__(self, data, where):
        self.where = where
        self.file = File(data, TABLES | {k.word: k.options for k in OPERATORS.values()}, where)
        self.made = Model([], {})

    def model(self):
        root = self.file.root("Model")
        self.known(root, "the file")
        if root.version != 3:
            raise UnsupportedModelError(
                "the file is of a version of TFLite that is not known",
                where=self.where,
                expected="3",
                found=str(root.version),
            )
        self.buffers = root.buffers
        codes = [self.code(c) for c in root.operator_codes]
        self.values = []
        for number, graph in enumerate(root.subgraphs):
            self.made.graphs.append(self.graph(graph, codes, number))
        if not self.made.graphs or not self.made.graphs[0].outputs:
            raise self.damaged("holds no graph of operators")
        self._names(root.signatures)
        return self.made

    def damaged(self, what, found=None, where=None):
        where = f"{self.where}: {where}" if where else self.where
        return ModelFileError(what, where=where, found=found)

    def known(self, table, what):
        if table.unknown:
            raise UnsupportedModelError(
                f"{what} holds a field that is not known",
                where=self.where,
                found=f"field {table.unknown[0]}",
            )

    def code(self, code):
        """(the operator's Kind or None, its name)."""
        self.known(code, "an operator code")
        number = max(code.code, code.old_code)
        if number == 32:
            return None, shown(code.custom or "", 60)
        kind = OPERATORS.get(number)
        return kind, kind.word if kind else NAMES[number] if 0 <= number < len(NAMES) else f"number {number}"

    # -- graphs ----------------------------------------------------------------------------------------------
    def graph(self, graph, codes, number):
        self.known(graph, "a graph")
        names = set()
        values = [self.value(t, k, names) for k, t in enumerate(graph.tensors)]
        self.values.append(values)
        inputs = [values[self.index(k, values)] for k in graph.inputs]
        made = {id(v) for v in inputs}
        if len(made) != len(inputs) or any(v.array is not None for v in inputs):
            raise self.damaged("an input of a graph is there twice, or holds numbers already")
        operators = []
        for message in graph.operators:
            own = self.operator(message, codes, values)
            if own.word == "DEQUANTIZE" and (
                len(own.inputs) != 1 or len(own.outputs) != 1 or None in own.inputs
            ):
                raise self.damaged("needs one input and one output", where=str(own))
            if own.word == "DEQUANTIZE" and own.inputs[0].array is not None:
                number = self.index(message.outputs[0], values)
                if own.outputs[0].array is not None or own.inputs[0].type != "float32":
                    raise self.damaged("is not of integers with a scale or of half floats", where=str(own))
                values[number] = replace(own.outputs[0], array=own.inputs[0].array)
                continue
            operators.append(own)
            for value in filter(None, own.inputs):
                if value.array is None and not value.variable and id(value) not in made:
                    raise self.damaged(
                        f"reads {shown(value.name)!r}, which nothing before it makes", where=str(own)
                    )
            for value in own.outputs:
                if value.array is not None or id(value) in made:
                    raise self.damaged(f"makes {shown(value.name)!r} a second time", where=str(own))
                made.add(id(value))
        outputs = [values[self.index(k, values)] for k in graph.outputs]
        lost = [v for v in outputs if v.array is None and id(v) not in made]
        if lost:
            raise self.damaged(f"nothing makes the output {shown(lost[0].name)!r}")
        return Graph(tuple(inputs), tuple(outputs), tuple(operators))

    def index(self, number, items):
        if not 0 <= number < len(items):
            raise self.damaged("refers to what is not there", f"number {number} of {len(items)}")
        return number

    def operator(self, message, codes, values):
        self.known(message, "an operator")
        kind, word = codes[self.index(message.opcode, codes)]
        pick = lambda k: None if k == -1 else values[self.index(k, values)]
        inputs = tuple(pick(k) for k in message.inputs)
        outputs = tuple(pick(k) for k in message.outputs)
        if any(v is None for v in outputs):
            raise self.damaged(f"an operator {word} leaves a result out")
        if kind is None or message.options2_type:
            name = outputs[0].name if outputs else ""
            raise UnsupportedModelError(
                f"the operator {word!r} is not supported",
                where=f"{self.where}: {shown(name)!r}",
                fix=_FLEX if word.startswith("Flex") else _KERAS,
            )
        options = Message(self.file.empty[kind.word])
        if message.options_type:
            if message.options_type != kind.union or message.options is None:
                raise self.damaged(f"an operator {word} has the options of another")
            options = self.file.table(message.options, kind.word)
            self.known(options, f"an operator {word}")
        return Operator(word, inputs, outputs, options)

    # -- tensors ---------------------------------------------------------------------------------------------
    def value(self, tensor, number, names):
        self.known(tensor, "a tensor")
        name = own = tensor.name or f"tensor {number}"
        if own in names:
            name = f"{own} {number}"
        names.add(name)
        stated = tuple(int(n) for n in tensor.shape)
        signature = tuple(int(n) for n in tensor.signature) or stated
        if len(signature) != len(stated) or len(stated) > _MOST_AXES or min(stated, default=0) < 0:
            raise self.damaged("a tensor has an impossible shape", str(stated[:9]), repr(shown(name)))
        if tensor.sparsity is not None:
            raise UnsupportedModelError(f"{shown(name)!r} is sparse: that is not supported", where=self.where)
        shape = tuple(None if n < 0 else n for n in signature)
        array = self.array(tensor, stated, name)
        kind = type_name(tensor.type)
        own = tensor.quantization
        if own is not None and own.details_type:
            raise UnsupportedModelError(
                f"{shown(name)!r} is quantised in a way that is not known", where=self.where
            )
        if array is not None and kind in QUANTISED and own is not None and len(own.scale):
            array, kind = self.dequantised(array, own, name), "float32"
            self.made.quantised.append(name)
        elif array is not None and kind in ("float16", "bfloat16"):
            kind = "float32"
            self.made.widened.append(name)
        return Value(name, shape, stated, kind, array, bool(tensor.is_variable))

    def array(self, tensor, shape, name):
        """The numbers of a tensor that are in the file, None where there are none."""
        if not tensor.buffer:
            return None
        buffer = self.buffers[self.index(tensor.buffer, self.buffers)]
        self.known(buffer, "a buffer")
        if buffer.offset > 1 or buffer.size > 1:
            raise UnsupportedModelError(
                "the file keeps numbers behind its end, as one of more than 2 GB does: that is not supported",
                where=self.where,
            )
        if buffer.data is None or not len(buffer.data):
            return None
        word = TYPES.get(tensor.type)
        if word is None:
            raise UnsupportedModelError(
                f"{shown(name)!r} holds a type of number that is not supported",
                where=self.where,
                expected=", ".join(TYPES.values()),
                found=type_name(tensor.type),
            )
        dtype = np.dtype("uint16" if word == "bfloat16" else word).newbyteorder("<")
        if prod(shape) * dtype.itemsize != len(buffer.data):
            raise self.damaged(
                f"the numbers of {shown(name)!r} do not fit its shape",
                f"{len(buffer.data):,} bytes for {shape} of {word}",
            )
        flat = np.frombuffer(buffer.data, dtype)
        if word == "bfloat16":
            flat = bfloat16.widened(flat)
        elif word == "float16":
            flat = flat.astype(np.float32)
        return flat.reshape(shape)

    def dequantised(self, array, own, name):
        """(q - zero point) * scale: one scale, or one an item of an axis."""
        scale, zero = (np.asarray(a, np.float64) for a in (own.scale, own.zero_point))
        zero = np.zeros(1) if not zero.size else zero
        if len(scale) > 1:
            axis = own.dimension
            if (
                not 0 <= axis < array.ndim
                or {len(scale)} != {array.shape[axis]}
                or len(zero)
                not in (
                    1,
                    len(scale),
                )
            ):
                raise self.damaged(f"the scales of {shown(name)!r} do not fit its shape")
            shape = [-1 if k == axis else 1 for k in range(array.ndim)]
            scale, zero = scale.reshape(shape), zero.reshape(shape) if len(zero) > 1 else zero
        elif len(zero) > 1:
            raise self.damaged(f"the zero points of {shown(name)!r} do not fit its scale")
        return ((array.astype(np.float64) - zero) * scale).astype(np.float32)

    # -- names -----------------------------------------------------------------------------------------------
    def _names(self, signatures):
        """What a caller calls inputs and outputs: by the one signature of the first graph, else the names of
        its tensors.
        """
        graph, values, names = self.made.graphs[0], self.values[0], self.made.names
        names |= {v: v.name for v in (*graph.inputs, *graph.outputs)}
        own = [s for s in signatures if s.subgraph == 0]
        self.made.left_out = [s.key or "" for s in signatures if s not in own]
        for signature in own:
            self.known(signature, "a signature")
        if len(own) == 1:
            said = [*own[0].inputs, *own[0].outputs]
            for port in said:
                self.known(port, "a signature")
                names[values[self.index(port.tensor, values)]] = port.name or ""
