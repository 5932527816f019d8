"""A TFLite model in the words of ONNX: every operator as the nodes that mean the same, for ONNX's reader,
which finds out what the axes are.

Convolutions get their channels in front and their results behind again; what an operator holds beside its own
work (an activation, a shape in numbers) becomes a node of its own. Operators without a word in ONNX are read
by functions of recurrent.py and loops.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...errors import ModelFileError, RnnrtError, UnsupportedModelError
from ..containers.protobuf import shown
from ..onnx.model import Node, Port, Program
from .model import DEEPEST, Model
from .schema import QUANTISED
from .words import WORDS

#: Operators that one file may make, those of bodies as often as they are run.
_MOST = 100_000
_PORTS = {"float32": 1, "int32": 6, "int64": 7, "bool": 9}
_WHOLE = (
    "Import the Keras model it was made from, or convert it again without quantised activations; weights "
    "alone may be quantised."
)


@dataclass(frozen=True)
class Translated(Node):
    """A node that an operator became; ``source``: the operator's own word; ``stated``: of each output the
    shape that the file says, None where it says nothing.
    """

    source: str = ""
    stated: tuple = ()

    @property
    def word(self):
        return self.source


class Scope:
    """A graph of the file on its way to nodes. ``names``: {Value: its name here}; ``maker``, ``users``: of
    Values, in the graph.
    """

    def __init__(self, translation, graph, depth, prefix=""):
        self.translation, self.graph, self.depth, self.prefix = translation, graph, depth, prefix
        self.nodes, self.arrays, self.names = [], {}, {}
        self.maker = {v: op for op in graph.operators for v in op.outputs}
        self.users = {}
        for op in graph.operators:
            for value in filter(None, op.inputs):
                self.users.setdefault(value, []).append(op)
        #: Operators that another one stands for; the variables behind handles, and what they hold by now.
        self.done, self.handles, self.current = set(), {}, {}
        self.now = None

    # -- names -----------------------------------------------------------------------------------------------
    def name(self, value):
        """The name of a Value among the nodes, "" for None; what is in the file becomes an array."""
        if value is None:
            return ""
        if value not in self.names:
            self.names[value] = f"{self.prefix}:{value.name}"  # unlike any that a caller knows
            if value.array is not None:
                self.arrays[self.names[value]] = value.array
        return self.names[value]

    def free(self, what="part"):
        """A name that nothing has."""
        self.translation.count += 1
        own = self.now.outputs[0].name if self.now.outputs else ""
        return f"{self.prefix}{self.translation.count}:{own} {what}"

    def constant(self, array, dtype=None):
        name = self.free("constant")
        self.arrays[name] = np.asarray(array, dtype)
        return name

    def whole(self, numbers):
        return self.constant(list(map(int, numbers)), np.int64)

    # -- nodes -----------------------------------------------------------------------------------------------
    def node(self, op, inputs, outputs, **attributes):
        """A node that the operator at hand becomes; its first output's name."""
        self.translation.spend()
        label = self.prefix + (self.now.outputs[0].name if self.now.outputs else "")
        shapes = {self.names.get(v): v.shape for v in self.now.outputs}
        stated = tuple(shapes.get(name) for name in outputs)
        self.nodes.append(
            Translated(op, "", label, tuple(inputs), tuple(outputs), attributes, self.now.word, stated)
        )
        return outputs[0]

    def part(self, op, *inputs, **attributes):
        """The same, under a name of its own."""
        return self.node(op, inputs, (self.free(),), **attributes)

    def result(self, op, name, inputs, fused=0, **attributes):
        """A node that makes the operator's output, behind it the activation that the operator holds, by its
        number in the schema.
        """
        out = self.name(op.outputs[0])
        if not fused:
            return self.node(name, inputs, (out,), **attributes)
        x = self.part(name, *inputs, **attributes)
        match fused:
            case 1:
                return self.node("Relu", (x,), (out,))
            case 2:
                return self.clipped(x, out, -1.0, 1.0)
            case 3:
                return self.clipped(x, out, 0.0, 6.0)
        raise UnsupportedModelError(
            "holds an activation that is not supported, and that LiteRT leaves out here",
            expected="none, RELU, RELU_N1_TO_1 or RELU6",
            found=f"number {fused}",
        )

    def clipped(self, x, out, low, high):
        bounds = [self.constant(n, np.float32) for n in (low, high)]
        return self.node("Clip", (x, *bounds), (out,))

    def known(self, value, what):
        """What a Value holds; refused where that is not in the file."""
        if value is None or value.array is None:
            raise UnsupportedModelError(
                f"its {what} must be in the file", found=shown(str(value and value.name))
            )
        return value.array

    def numbers(self, value, what):
        array = self.known(value, what)
        if array.dtype.kind not in "iu":
            raise UnsupportedModelError(f"its {what} must be whole numbers", found=str(array.dtype))
        return [int(n) for n in array.reshape(-1)]

    def program(self, inputs, outputs) -> Program:
        """The nodes between Ports; refused where two values have one name, as a file may want it."""
        made = [*self.arrays, *(p.name for p in inputs)]
        made += [name for node in self.nodes for name in node.outputs]
        if len(set(made)) != len(made):
            raise ModelFileError("two values have one name", found=shown(max(made, key=made.count), 60))
        return Program(tuple(self.nodes), self.arrays, tuple(inputs), tuple(outputs))

    def run(self, wanted):
        """Translates the operators that Values need, and those that change variables, in their order."""
        needed, waiting = set(), [self.maker.get(v) for v in wanted]
        waiting += [op for op in self.graph.operators if not op.outputs]
        while waiting:
            op = waiting.pop()
            if op is not None and op not in needed:
                needed.add(op)
                waiting += [self.maker.get(v) for v in op.inputs]
        for op in self.graph.operators:
            if op in self.done or op not in needed:
                continue
            self.now = op
            try:
                _check_types(op)
                word = WORDS.get(op.word)
                if word is None:
                    raise UnsupportedModelError(f"the operator {op.word} is not supported here")
                word(self, op)
            except RnnrtError as error:
                raise error if (error.where or "").startswith("the operator") else error.at(str(op))
            except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
                raise UnsupportedModelError(
                    f"is not supported with these inputs and options ({error})", where=str(op)
                ) from error


class Translation:
    """A Model as a Program. ``states``: {input: output} that it keeps from call to call in its variables."""

    def __init__(self, model: Model):
        self.model, self.count, self.left = model, 0, _MOST
        self.shapes: dict[str, tuple] = {}
        self.states: dict[str, str] = {}

    def spend(self):
        self.left -= 1
        if self.left < 0:
            raise UnsupportedModelError("the file runs too many operators", expected=f"at most {_MOST:,}")

    def program(self) -> Program:
        graph = self.model.graphs[0]
        scope = Scope(self, graph, 0)
        names = self.model.names
        taken = set()
        for value in graph.inputs:
            if value.type not in _PORTS:
                raise UnsupportedModelError(
                    f"the input {shown(names[value])!r} holds a type of number that is not supported",
                    found=value.type,
                    fix=_WHOLE if value.type in QUANTISED else None,
                )
            scope.names[value] = _free(names[value], taken)
        ports = [Port(scope.names[v], _PORTS[v.type], v.shape) for v in graph.inputs]
        scope.run(graph.outputs)
        outputs = []
        for value in graph.outputs:
            own = _free(names[value], taken)
            scope.nodes.append(Translated("Identity", "", own, (scope.name(value),), (own,), {}, "output"))
            outputs.append(Port(own))
        for name, shape in self.shapes.items():
            before, after = _names_of(name)
            ports.append(Port(before, 1, shape))
            outputs.append(Port(after))
            own = scope.current.get(name, before)
            scope.nodes.append(Translated("Identity", "", after, (own,), (after,), {}, "ASSIGN_VARIABLE"))
            self.states[before] = after
        return scope.program(ports, outputs)

    def variable(self, name, value):
        """The input of the program that is what a variable held before the call; ``value``: one it holds."""
        shape = self.shapes.setdefault(name, value.stated)
        if value.type != "float32" or shape != value.stated:
            raise UnsupportedModelError(
                f"the variable {shown(name)!r} does not hold floats of one shape",
                expected=str(shape),
                found=f"{value.type} {value.stated}",
            )
        return _names_of(name)[0]

    def body(self, number, depth, names, prefix):
        """The Scope of another graph of the file, run; ``names``: of its inputs."""
        if not 0 <= number < len(self.model.graphs) or depth > DEEPEST:
            raise UnsupportedModelError("a graph that it runs is not there, or runs others too deeply")
        graph = self.model.graphs[number]
        scope = Scope(self, graph, depth, prefix)
        scope.names |= dict(zip(graph.inputs, names))
        return scope


#: Operators whose result says true or false; those that change the type; the input that has it, elsewhere 0.
_TRUE = (
    *("LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL", "EQUAL", "NOT_EQUAL"),
    *("LOGICAL_AND", "LOGICAL_OR", "LOGICAL_NOT", "REDUCE_ANY", "REDUCE_ALL"),
)
_OWN_TYPE = ("CAST", "SHAPE", "RANK", "WHILE", "VAR_HANDLE", "READ_VARIABLE", "QUANTIZE", "DEQUANTIZE")
_TYPED_BY = {"SPLIT": 1, "EMBEDDING_LOOKUP": 1, "SELECT": 1, "SELECT_V2": 1, "FILL": 1, "TRANSPOSE_CONV": 2}


def _check_types(op):
    """Refuse an operator whose numbers rnnrt does not compute in, or are of another type than stated."""
    for value in op.outputs:
        if value.type in QUANTISED:
            raise UnsupportedModelError(
                "the file computes in whole numbers, which is not supported",
                found=f"{shown(value.name)!r} of {value.type}",
                fix=_WHOLE,
            )
        wanted = "bool" if op.word in _TRUE else None
        if wanted is None and op.word not in _OWN_TYPE:
            wanted = op.inputs[_TYPED_BY.get(op.word, 0)].type
        if value.type not in (*_PORTS, "resource") or value.type != (wanted or value.type):
            raise UnsupportedModelError(
                "the file computes in numbers that are not supported",
                expected=wanted or "float32",
                found=f"{shown(value.name)!r} of {value.type}",
            )


def _names_of(variable):
    """What a variable is as an input and as an output of the program."""
    return f"variable {variable}", f"next {variable}"


def _free(name, taken):
    made, k = name, 1
    while made in taken or not made:
        made, k = f"{name}_{k}" if name else f"value_{k}", k + 1
    taken.add(made)
    return made
