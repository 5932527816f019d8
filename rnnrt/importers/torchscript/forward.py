"""The code of a traced module as Calls.

Its methods are followed as they would run, one call into the other, with calls in the place of tensors; sizes
are numbers that only the run knows. Nothing of the file is compiled or run. A submodule's arguments stand in
the order of its own method, whatever its class in PyTorch has.
"""

from __future__ import annotations

import ast
import collections
from typing import Any, NamedTuple

from ...errors import ModelFileError, ResourceLimitError, UnsupportedModelError, printable
from ..axes.values import Harmless
from ..containers.pickle import Opaque, Refused, TensorRecord
from ..torch.state_dict import is_script, tensors_of
from ..torch.stored import Call, Dim, Port, keeps
from .archive import Script, plain
from .code import LOOPS, Code, Function, scripted
from .packing import PACKED, Longest, Made, pack_word, refused
from .words import TYPES

#: a loop over two hundred frames; a network of four hundred layers is a third of it
MAX_CALLS, MAX_STEPS = 1 << 12, 1 << 16
MAX_NESTING = 48  # modules in modules, and methods that call one another
_CONSTANTS = "CONSTANTS."
_NUMBERS = {"inf": float("inf"), "nan": float("nan")}
#: operators of sizes: their own word, and what they make of plain numbers
_ARITHMETIC = {
    "add": ("_operator.add", lambda a, b: a + b),
    "sub": ("_operator.sub", lambda a, b: a - b),
    "mul": ("_operator.mul", lambda a, b: a * b),
}
#: where an operator takes a type of number among its positional arguments
_TYPED = {"softmax": 2, "log_softmax": 2, "cumsum": 2}
_KINDS = {"int": int, "float": float, "bool": bool}
_NUMBER_OF = ("NumToTensor", "ScalarImplicit", "IntImplicit", "Int")


class Forward(NamedTuple):
    """``nodes``: Calls, the last of them the output; ``ports``: {input: Port}; ``parts``: {input: (argument
    of forward, path)} of inputs that come in a tuple.
    """

    nodes: list[Call]
    ports: dict[str, Port]
    parts: dict[str, tuple]


def read(script: Script, shapes) -> Forward:
    """The forward of an archive's module. ``shapes``: {input: sizes} that the caller says, None for those
    that may be any.
    """
    return _Reader(script, shapes).forward()


class _Frame(NamedTuple):
    """A method being followed. ``values``: by name; ``path``: the name of its module in the whole."""

    values: dict[str, Any]
    path: str
    where: str
    depth: int

    def at(self, node):
        """Where a node stands, for messages."""
        return f"{self.where}, line {node.lineno}"


class _Reader:
    def __init__(self, script, shapes):
        self.script, self.shapes, self.code = script, shapes, Code(script.code)
        self.nodes, self.ports, self.parts, self.steps = [], {}, {}, MAX_STEPS
        self.records = script.records
        self.records[0].update(tensors_of(script.module))
        self.places = {id(record): name for name, record in reversed(self.records[0].items())}
        self.paths, self.parameters, self.counts = {id(script.module): ""}, {}, collections.Counter()
        #: calls whose results are sizes, and those that are made of parameters alone
        self.sizes, self.learned = set(), set()

    def forward(self):
        function = self.code.method(self.script.module.name, "forward")
        examples = self.script.example
        given = [self.script.module]
        if examples is not None and len(examples) != len(function.arguments) - 1:
            examples = None
        for k, (name, kind) in enumerate(function.arguments[1:]):
            example = examples[k] if examples else None
            given.append(self.input((name,), kind, example, function.where))
        unknown = next((n for n in self.shapes if n not in self.ports), None)
        if unknown is not None:
            raise UnsupportedModelError(
                "shapes names an input that is not there",
                expected=", ".join(self.ports),
                found=repr(unknown),
            )
        result = self.run(function, given, {}, "", 0)
        self.nodes.append(Call("output", "output", "output", (self.carried(result),)))
        return Forward(self.nodes, self.ports, self.parts)

    # -- inputs ----------------------------------------------------------------------------------------------
    def input(self, path, kind, example, where):
        """A placeholder, or a tuple, list or dict of them. ``path``: the argument and what to take of it."""
        name = "_".join(map(str, path))
        kind_name, parts = _type(kind)
        if kind_name == "Optional" and len(parts) == 1:
            kind_name, parts = _type(parts[0])
        if kind_name == "Tensor":
            while name in self.ports:
                name += "_"
            self.ports[name] = self.port(name, example)
            if len(path) > 1:
                self.parts[name] = (path[0], path[1:])
            call = Call("placeholder", name, name)
            self.nodes.append(call)
            return call
        several = isinstance(example, (list, tuple))
        if kind_name == "Tuple":
            examples = example if several and len(example) == len(parts) else [None] * len(parts)
            own = enumerate(zip(parts, examples))
            return tuple(self.input((*path, k), p, e, where) for k, (p, e) in own)
        if kind_name == "List" and several:
            return [self.input((*path, k), parts[0], e, where) for k, e in enumerate(example)]
        if kind_name == "Dict" and isinstance(example, dict) and all(isinstance(k, str) for k in example):
            return {k: self.input((*path, k), parts[-1], e, where) for k, e in example.items()}
        if kind_name in ("List", "Dict"):
            raise UnsupportedModelError(
                f"the file does not say what is in the {kind_name.lower()} {name!r}",
                where=where,
                fix="Trace the module with tensors, or with a tuple of them.",
            )
        raise scripted(f"an input that is not a tensor, {name!r}", where)

    def port(self, name, example):
        """What is known of an input: what the caller says, else the file."""
        known = isinstance(example, TensorRecord)
        if known and not example.dtype.startswith(("float", "bfloat", "int", "uint")):
            raise UnsupportedModelError(
                f"an input of numbers of type {example.dtype} is not supported: {name}"
            )
        ids = not example.dtype.startswith(("float", "bfloat")) if known else None
        sizes = self.shapes.get(name, example.shape if known else None)
        if sizes is None:
            return Port(None, ids)
        if not all(n is None or type(n) is int and n >= 0 for n in sizes) or len(sizes) > 8:
            raise UnsupportedModelError(
                f"shapes of the input {name!r} are not understood",
                expected="whole numbers, and None for sizes that may be any",
                found=str(tuple(sizes))[:80],
            )
        if known and len(sizes) != len(example.shape):
            raise UnsupportedModelError(
                f"shapes gives the input {name!r} another number of axes than it was traced with",
                expected=str(example.shape),
                found=str(tuple(sizes)),
            )
        return Port(tuple(Dim(n, n is None) for n in sizes), ids)

    # -- calls -----------------------------------------------------------------------------------------------
    def call(self, word, args, kwargs, frame, line):
        if len(self.nodes) >= MAX_CALLS:
            most = f"at most {MAX_CALLS}"
            raise ResourceLimitError("the program has too many calls", expected=most, fix=LOOPS)
        args, kwargs = self.carried(args), self.carried(kwargs)
        number = self.counts[word]
        self.counts[word] += 1
        where = f"{printable(word)[:60]} of {frame.path or 'the module'}: {frame.where}, line {line}"
        name = f"{word.lstrip('_')}_{number}" if number else word.lstrip("_")
        made = Call("call_function", name, word, args, kwargs, where)
        self.nodes.append(made)
        if made.all_input_nodes and all(n in self.learned for n in made.all_input_nodes):
            self.learned.add(made)
        return made

    def carried(self, value):
        """A value as an argument or a result: no modules and nothing packed in it."""
        if isinstance(value, PACKED):
            raise refused(value)
        if isinstance(value, Opaque):
            raise UnsupportedModelError("a module is used as a value", found=printable(value.name)[:80])
        if isinstance(value, dict):
            return {k: self.carried(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(map(self.carried, value))
        return value

    def run(self, function: Function, args, kwargs, path, depth):
        """What a method or a function returns."""
        if depth > MAX_NESTING:
            raise ResourceLimitError("its methods call one another too deeply", where=function.where)
        names = [name for name, _ in function.arguments]
        values = dict(zip(names, args))
        if len(args) > len(names) or set(values) & set(kwargs) or set(names) != {*values, *kwargs}:
            raise ModelFileError(
                "a method is called with other arguments than it has",
                where=function.where,
                expected=", ".join(names)[:120],
                found=f"{len(args)} values and {', '.join(kwargs)[:80] or 'no names'}",
            )
        frame = _Frame(values | kwargs, path, function.where, depth)
        for statement in function.body:
            self.step()
            if isinstance(statement, ast.Return):
                return None if statement.value is None else self.value(statement.value, frame)
            if not isinstance(statement, ast.Assign):
                where = f"{function.where}, line {statement.lineno}"
                raise scripted(f"the statement {_name(statement)}", where)
            value = self.value(statement.value, frame)
            for target in statement.targets:
                self.assign(target, value, frame)
        return None

    def step(self):
        self.steps -= 1
        if self.steps < 0:
            most = f"at most {MAX_STEPS}"
            raise ResourceLimitError("the program takes too many steps", expected=most, fix=LOOPS)

    def assign(self, target, value, frame):
        if isinstance(target, ast.Name):
            frame.values[target.id] = value
        elif isinstance(target, ast.Tuple):
            parts = self.taken_apart(value, len(target.elts), frame.at(target))
            for inner, part in zip(target.elts, parts):
                self.assign(inner, part, frame)
        elif isinstance(target, ast.Attribute):
            raise keeps(printable(target.attr)[:80], frame.at(target))
        else:
            raise scripted(f"an assignment to a {_name(target)}", frame.at(target))

    def taken_apart(self, value, count, where):
        """The items of a tuple or a list, or of what a call returns."""
        if isinstance(value, Call):
            made = [
                Call("call_function", f"{value.name}_{k}", "getitem", (value, k), {}, value.where)
                for k in range(count)
            ]
            self.nodes += made
            self.learned |= set(made) if value in self.learned else set()
            return made
        if isinstance(value, (tuple, list)) and not isinstance(value, PACKED) and len(value) == count:
            return value
        raise ModelFileError("takes a value apart that has other parts", where=where, expected=f"{count}")

    # -- expressions -----------------------------------------------------------------------------------------
    def value(self, node, frame):
        self.step()
        kind = type(node)
        if kind is ast.Name:
            return self.named(node, frame)
        if kind is ast.Constant and type(node.value) in (type(None), bool, int, float, str):
            return self.literal(node, frame)
        if kind is ast.Attribute:
            root = node.value
            if type(root) is ast.Name and root.id == "CONSTANTS" and "CONSTANTS" not in frame.values:
                return self.constant(node.attr, frame.at(node))
            return self.attribute(self.value(root, frame), node.attr, frame.at(node))
        if kind is ast.Call:
            return self.called(node, frame, frame.at(node))
        if kind is ast.List:
            return [self.value(item, frame) for item in node.elts]
        if kind is ast.Tuple:
            return tuple(self.value(item, frame) for item in node.elts)
        if kind is ast.Dict:
            keys = [None if k is None else self.value(k, frame) for k in node.keys]
            if all(isinstance(k, str) for k in keys):
                return dict(zip(keys, [self.value(v, frame) for v in node.values]))
            raise scripted("a dictionary with keys that are not texts", frame.at(node))
        if kind is ast.UnaryOp and type(node.op) is ast.USub:
            value = self.value(node.operand, frame)
            if type(value) in (int, float):
                return -value
            raise scripted("a sign before a value that is not a number", frame.at(node))
        raise scripted(f"the expression {_name(node)}", frame.at(node))

    def named(self, node, frame):
        if node.id in frame.values:
            return frame.values[node.id]
        if node.id in _NUMBERS:
            return _NUMBERS[node.id]
        if node.id in ("torch", "ops", "__torch__"):
            raise scripted(f"{node.id} as a value", frame.at(node))
        raise ModelFileError("reads a name that has no value", where=frame.at(node), found=node.id[:80])

    def literal(self, node, frame):
        if isinstance(node.value, str) and (len(node.value) > 512 or not node.value.isprintable()):
            raise ModelFileError("holds a text that is not a word", where=frame.at(node))
        return node.value

    def constant(self, name, where):
        number = name.removeprefix("c")
        constants = self.script.constants
        if not number.isdecimal() or len(number) > 8 or int(number) >= len(constants):
            raise ModelFileError("lacks a constant that its code reads", where=where, found=name[:40])
        return self.stored(constants[int(number)], f"{_CONSTANTS}c{int(number)}")

    def attribute(self, owner, name, where):
        if not is_script(owner):
            raise scripted(f"the attribute {name[:60]!r} of a value", where)
        if name not in owner.state:
            found = f"{printable(owner.name)[:120]}.{printable(name)[:80]}"
            raise ModelFileError("lacks an attribute that its code reads", where=where, found=found)
        path = f"{self.paths[id(owner)]}.{name}".lstrip(".")
        return self.stored(owner.state[name], path)

    def stored(self, value, path):
        """A value of a pickle: tensors as the parameters they are."""
        value = plain(value)
        if isinstance(value, (TensorRecord, Refused)):
            own = path.startswith(_CONSTANTS)
            name = path if own else self.places.get(id(value), path)
            if name not in self.parameters:
                self.records[own].setdefault(name, value)
                made = self.parameters[name] = Call("get_attr", name, name)
                self.nodes.append(made)
                self.learned.add(made)
            return self.parameters[name]
        if is_script(value):
            self.paths.setdefault(id(value), path)
            return value
        if isinstance(value, (list, tuple)):
            return type(value)(self.stored(item, f"{path}.{k}") for k, item in enumerate(value))
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        raise UnsupportedModelError(f"the attribute {printable(path)[:80]} is not a tensor or a number")

    # -- what is called --------------------------------------------------------------------------------------
    def called(self, node, frame, where):
        names = _dotted(node.func)
        if names and names[0] in frame.values:
            names = None
        if names == ["annotate"] and len(node.args) == 2:
            return self.value(node.args[1], frame)
        if names and names[0] not in ("torch", "ops", "__torch__") and len(names) > 1:
            names = None
        if names is None and not isinstance(node.func, ast.Attribute):
            raise scripted(f"a call of the expression {_name(node.func)}", where)
        if names and len(names) == 1 and names[0] not in (*_KINDS, "getattr"):
            raise scripted(f"a call of {names[0][:60]}", where)
        owner = None if names else self.value(node.func.value, frame)
        if any(isinstance(a, ast.Starred) for a in node.args) or any(k.arg is None for k in node.keywords):
            raise scripted("a call with a list of arguments", where)
        args = [self.value(a, frame) for a in node.args]
        kwargs = {k.arg: self.value(k.value, frame) for k in node.keywords}
        if owner is not None or names is None:
            return self.submodule(owner, node.func.attr, args, kwargs, frame, where)
        if names[0] == "__torch__":
            if names[-1][:1].isupper():
                raise scripted(f"an object of {'.'.join(names)[:120]}", where)
            return self.run(self.code.function(".".join(names)), args, kwargs, frame.path, frame.depth + 1)
        if names[0] == "torch" and len(names) == 2 or names[:2] == ["ops", "aten"] and len(names) == 3:
            return self.operator(names[-1], args, kwargs, frame, node.lineno)
        if names[:2] == ["ops", "prim"] and len(names) == 3 and names[2] in _NUMBER_OF:
            return self.number(args, where)
        if names[0] in _KINDS and len(args) == 1 and not kwargs:
            number = self.number(args, where)
            return number if isinstance(number, (Call, *PACKED)) else _KINDS[names[0]](number)
        if names == ["getattr"] and len(args) == 2 and isinstance(args[1], str):
            return self.attribute(args[0], args[1], where)
        raise scripted(f"a call of {'.'.join(names)[:80]}", where)

    def submodule(self, module, method, args, kwargs, frame, where):
        if not is_script(module):
            raise scripted(f"the method {method[:60]!r} of a value", where)
        function = self.code.method(module.name, method)
        path = self.paths.get(id(module), frame.path)
        return self.run(function, [module, *args], kwargs, path, frame.depth + 1)

    def number(self, args, where):
        """One number: plain, a size, or that of a constant with a single one."""
        value = self.plain(args[0]) if len(args) == 1 else None
        if isinstance(value, (int, float, Made, Longest)) or self.is_size(value):
            return value
        raise UnsupportedModelError(
            "takes a number out of a tensor: it is known only when the program runs", where=where
        )

    def is_size(self, value):
        return isinstance(value, Call) and value in self.sizes

    def plain(self, value):
        """The number of a constant that is one number, else the value itself."""
        name = value.target if isinstance(value, Call) and value.op == "get_attr" else None
        record = next((own[name] for own in self.records if name in own), None)
        if not isinstance(record, TensorRecord) or record.shape:
            return value
        number = self.script.tensors.array(value.target, "the file").item()
        return number if record.dtype.startswith(("float", "bfloat")) else int(number)

    def operator(self, word, args, kwargs, frame, line):
        where = f"{word[:60]} in {frame.where}, line {line}"
        call = lambda w, *given: self.call(w, given, {}, frame, line)
        packed = pack_word(word, args, call)
        if packed is not None:
            if word == "select":  # the number of rows
                self.sizes.add(packed)
            return packed
        if word in _NUMBER_OF:
            return self.number(args, where)
        if word == "device":
            return Harmless("cpu")
        if word == "__getitem__" and len(args) == 2 and isinstance(args[0], (list, tuple, dict)):
            try:
                return args[0][args[1]]
            except (LookupError, TypeError):
                raise ModelFileError("there is no such item", where=where) from None
        if word == "size":
            return self.size(args, kwargs, where, call)
        if word in _ARITHMETIC and len(args) == 2 and not kwargs:
            plain = [self.plain(a) for a in args]
            if all(type(n) in (int, float) for n in plain):
                return _ARITHMETIC[word][1](*plain)
            if all(type(n) in (int, float) or self.is_size(n) for n in plain):
                made = call(_ARITHMETIC[word][0], *plain)
                self.sizes.add(made)
                return made
        if word.endswith("_") and not word.endswith("__") and args and args[0] in self.learned:
            raise keeps(args[0].target, where)
        word, args, kwargs = _as_stored(word, args, kwargs)
        return self.call(word, tuple(args), kwargs, frame, line)

    def size(self, args, kwargs, where, call):
        axis = kwargs.get("dim", args[1] if len(args) > 1 else None)
        if not args or not isinstance(args[0], Call):
            raise UnsupportedModelError("asks for the size of a value that is not a tensor", where=where)
        if axis is None:
            port = self.ports.get(args[0].target) if args[0].op == "placeholder" else None
            if port is None or port.dims is None:
                raise UnsupportedModelError("the number of axes of a value is not known", where=where)
            axes = range(len(port.dims))
        else:
            axes = [axis]
        made = [call("sym_size", args[0], k) for k in axes]
        self.sizes |= set(made)
        return made if axis is None else made[0]


def _as_stored(word, args, kwargs):
    """A call as a stored program has it: types by their names, convolutions by their kind."""
    args = list(args)
    if isinstance(kwargs.get("dtype"), int):
        kwargs = kwargs | {"dtype": _typed(kwargs["dtype"])}
    place = _TYPED.get(word)
    if place is not None and len(args) > place and isinstance(args[place], int):
        args[place] = _typed(args[place])
    if word == "to":
        kinds = [a for a in args[1:] if type(a) is int]
        like = [a for a in args[1:] if isinstance(a, Call)]
        own = {"dtype": _typed(kinds[0])} if kinds else {}
        own |= {k: v for k, v in kwargs.items() if k == "dtype"}
        return word, [*args[:1], *like], own
    if word in ("max", "min") and len(args) == 2 and isinstance(args[1], Call):
        return f"{word}imum", args, kwargs
    if word in ("_convolution", "convolution") and len(args) >= 9:
        x, weight, bias, stride, padding, dilation, transposed, more, groups = args[:9]
        axes = f"{len(stride)}d" if isinstance(stride, list) else "1d"
        if transposed:
            return f"conv_transpose{axes}", [x, weight, bias, stride, padding, more, groups, dilation], {}
        return f"conv{axes}", [x, weight, bias, stride, padding, dilation, groups], {}
    if word == "_convolution_mode" and len(args) == 7 and isinstance(args[3], list):
        return f"conv{len(args[3])}d", args, kwargs
    return word, args, kwargs


def _typed(number):
    return Harmless(f"torch.{TYPES.get(number, 'unknown')}")


def _dotted(node):
    """["torch", "linear"] of an expression of names and dots, None of another."""
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return [node.id, *reversed(names)] if isinstance(node, ast.Name) else None


def _type(kind):
    """("Tuple", [parts]) of a type as it is written."""
    if isinstance(kind, ast.Name):
        return kind.id, []
    if isinstance(kind, ast.Subscript) and isinstance(kind.value, ast.Name):
        parts = kind.slice.elts if isinstance(kind.slice, ast.Tuple) else [kind.slice]
        return kind.value.id, parts
    return None, []


def _name(node):
    """What a message calls a node: "If", "BinOp"."""
    return type(node).__name__


__all__ = ["Forward", "read"]
