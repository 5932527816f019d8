"""The JSON of an exported program as Calls: torch/_export/serde/schema.py, versions 8.x.

Every field is used, known to say nothing of an answer, or refused by name. No text in it is ever evaluated:
the expressions of sizes are compared as strings.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from ...errors import ModelFileError, UnsupportedModelError, printable
from ...format import strict_json
from ..axes.values import Harmless, Refused
from ..containers.json_file import Fields
from ..torch.stored import WITHOUT, Call, Dim, Port, keeps
from .archive import TYPES

MAJOR = 8
#: the newest minor version that this was written by; a newer one may have further fields, which are refused
#: where they say something
MINOR = 20
_NEWEST = "Save it with a PyTorch whose torch.export writes schema version 8, as 2.7 and later do."
_BEFORE = "Save the program before run_decompositions(): torch.export.save(torch.export.export(...), path)."
#: checks of sizes and types that torch.export writes beside the network
_ASSERTS = (
    "_assert_scalar",
    "_assert_tensor_metadata",
    "_assert_async",
    "sym_constrain_range",
    "sym_constrain_range_for_size",
)
_SYMBOL = re.compile(r"Symbol\('(\w+)'(, \w+=True)*\)")
_ENDLESS = 1 << 62
_GRAD = ("torch.ops.higher_order.wrap_with_set_grad_enabled",)
_MAX_NESTING = 8
MAX_CALLS = 1 << 13


class Exported(NamedTuple):
    """A program. ``nodes``: Calls, the last of them the output; ``ports``: {input: Port}; ``parameters``:
    {name that the program has for a tensor}; ``metadata``: what is known of the source.
    """

    nodes: list[Call]
    ports: dict[str, Port]
    metadata: dict[str, Any]


def read(root: Fields) -> Exported:
    """The program in an archive's JSON."""
    version = root.object("schema_version")
    major, minor = version.any("major"), version.any("minor")
    version.end()
    if major != MAJOR or type(minor) is not int:
        raise UnsupportedModelError(
            "the schema version of the program is not known",
            where=root.where,
            expected=f"{MAJOR}.0 to {MAJOR}.{MINOR}",
            found=f"{major}.{minor}"[:40],
            fix=_NEWEST,
        )
    dialects = root.any("verifiers") or [root.any("dialect", "TRAINING")]
    root.any("dialect")
    if dialects != ["TRAINING"]:
        raise UnsupportedModelError(
            "the program was decomposed: its recurrent layers are unrolled over the frames of the example",
            where=root.where,
            expected="the dialect TRAINING",
            found=str(dialects)[:80],
            fix=_BEFORE,
        )
    torch_version = root.any("torch_version")
    opset = root.any("opset_version")
    if isinstance(opset, dict) and set(opset) - {"aten"}:
        raise UnsupportedModelError(
            "the program uses operators that are not PyTorch's own",
            where=root.where,
            found=", ".join(map(str, opset))[:80],
        )
    ranges, guards = root.any("range_constraints"), root.any("guards_code")
    guards = guards if isinstance(guards, list) else []
    module = root.object("graph_module")
    root.end()
    for name in ("metadata", "treespec_namedtuple_fields"):
        module.any(name)
    graph, signature = module.object("graph"), module.object("signature")
    calls = module.any("module_call_graph")
    module.end()
    reader = _Reader(graph, signature, ranges, [g for g in guards if isinstance(g, str)])
    nodes = reader.nodes_of(_out_spec(calls))
    metadata = {
        "source": "torch",
        "format": "torch.export",
        "torch_version": printable(str(torch_version))[:40],
        "schema_version": f"{major}.{minor}",
    }
    return Exported(nodes, reader.ports, metadata)


def _out_spec(calls):
    """The structure of what forward returns, as JSON; None where the file does not say."""
    root = next((c for c in calls or () if isinstance(c, dict) and c.get("fqn") == ""), {})
    signature = root.get("signature")
    spec = signature.get("out_spec") if isinstance(signature, dict) else None
    if not isinstance(spec, str) or len(spec) > 1 << 20:
        return None
    made = strict_json.loads(spec, "out_spec", 64)
    return made[1] if isinstance(made, list) and len(made) == 2 else None


class _Reader:
    def __init__(self, graph, signature, ranges, guards):
        self.graph, self.where, self.ranges, self.guards = graph, graph.where, ranges, guards
        self.specs = signature.list("input_specs")
        self.outputs = signature.list("output_specs")
        signature.end()
        self.ports: dict[str, Port] = {}
        self.nodes: list[Call] = []

    def nodes_of(self, structure):
        graph = self.graph
        inputs, outputs, nodes = (graph.list(n) for n in ("inputs", "outputs", "nodes"))
        self.values = graph.any("tensor_values")
        if not isinstance(self.values, dict) or len(nodes) > MAX_CALLS:
            raise self.fault("holds too many calls, or no sizes of its values", f"{len(nodes)} calls")
        for name in ("sym_int_values", "sym_bool_values", "sym_float_values", "is_single_tensor_return"):
            graph.any(name)
        if graph.any("custom_obj_values"):
            raise UnsupportedModelError("the program holds custom objects", where=self.where)
        graph.end()
        if len(inputs) != len(self.specs):
            raise self.fault("the signature does not fit the inputs", f"{len(self.specs)} of {len(inputs)}")
        scope: dict[str, Any] = {}
        for item, spec in zip(inputs, self.specs):
            known = len(scope)
            self.input(scope, item, spec)
            name = _results(item, self.where) if len(scope) > known else None
            if isinstance(name, str) and name not in scope:
                raise self.fault("the signature names another input than the graph", name)
        self.run(scope, nodes, self.values, 0)
        results = [self.result(scope, item, spec) for item, spec in zip(outputs, self.outputs)]
        if len(outputs) != len(self.outputs):
            raise self.fault("the signature does not fit the outputs", f"{len(outputs)}")
        self.nodes.append(Call("output", "output", "output", (_structured(structure, results),)))
        return self.nodes

    def fault(self, what, found=None):
        return ModelFileError(what, where=self.where, found=found)

    # -- inputs and outputs ----------------------------------------------------------------------------------
    def input(self, scope, item, spec):
        kind, value = _one(spec, self.where, "an input of the signature")
        fields = Fields(value, f"{self.where}, {kind}")
        if kind in ("parameter", "buffer", "tensor_constant"):
            name = text_of(fields.object("arg").any("name"), fields.where)
            target = text_of(fields.any(f"{kind}_name"), fields.where)
            fields.any("persistent")
            fields.end()
            self.define(scope, name, Call("get_attr", name, target))
        elif kind == "user_input":
            kind, value = _one(fields.any("arg"), fields.where, "an input")
            fields.end()
            if kind != "as_tensor":
                return  # a number or None, which the program holds where it needs it
            name = text_of(Fields(value, self.where).any("name"), self.where)
            self.ports[name] = self.port(name)
            self.define(scope, name, Call("placeholder", name, name))
        elif kind == "constant_input":
            name = fields.any("name")
            scope[text_of(name, self.where)] = self.argument(scope, fields.any("value"), self.where)
        else:
            raise UnsupportedModelError(f"an input of the kind {kind} is not supported", where=self.where)

    def define(self, scope, name, value):
        if name in scope:
            raise self.fault("a name is given twice", name)
        scope[name] = value
        if isinstance(value, Call):
            self.nodes.append(value)

    def port(self, name):
        meta = Fields(self.values.get(name), f"{self.where}, {name}")
        dtype = TYPES.get(meta.any("dtype"))
        sizes = meta.list("sizes")
        if dtype is None or dtype.startswith("complex") or dtype == "bool" or len(sizes) > 8:
            raise UnsupportedModelError(
                f"an input of {len(sizes)} axes and numbers of type {dtype} is not supported",
                where=meta.where,
            )
        dims = [self.dim(name, k, size) for k, size in enumerate(sizes)]
        return Port(tuple(dims), not dtype.startswith(("float", "bfloat")))

    def dim(self, name, axis, size):
        kind, value = _one(size, self.where, "a size")
        if kind == "as_int" and type(value) is int and value >= 0:
            return Dim(value)
        fields = Fields(value, f"{self.where}, {name}, size {axis}") if kind == "as_expr" else None
        if fields is None:
            raise self.fault("a size is not understood", str(kind)[:40])
        expression, hint = fields.any("expr_str"), fields.any("hint")
        fields.end()
        hint = hint.get("as_int") if isinstance(hint, dict) else hint
        hint = hint if type(hint) is int and hint > 0 else None
        symbol = _SYMBOL.fullmatch(expression) if isinstance(expression, str) else None
        mine = f"L['{name}'].size()[{axis}]"
        divided = re.compile(rf"\(?{re.escape(mine)} % \d+\)? == \d+")
        if symbol is None or any(divided.fullmatch(guard) for guard in self.guards):
            return Dim(hint, some=True)
        return Dim(hint, True, self.bounds(symbol[1]))

    def bounds(self, symbol):
        found = self.ranges.get(symbol) if isinstance(self.ranges, dict) else None
        if not isinstance(found, dict):
            return (None, None)
        low, high = found.get("min_val"), found.get("max_val")
        return tuple(n if type(n) is int and abs(n) < _ENDLESS else None for n in (low, high))

    def result(self, scope, item, spec):
        kind, value = _one(spec, self.where, "an output of the signature")
        if kind in ("buffer_mutation", "user_input_mutation", "parameter_mutation"):
            name = (
                value.get("buffer_name") or value.get("user_input_name") if isinstance(value, dict) else None
            )
            raise keeps(printable(str(name))[:80], self.where)
        if kind != "user_output":
            raise UnsupportedModelError(f"an output of the kind {kind} is not supported", where=self.where)
        return self.argument(scope, item, self.where)

    # -- calls -----------------------------------------------------------------------------------------------
    def run(self, scope, nodes, values, depth):
        for item in nodes:
            fields = Fields(item, self.where)
            target = text_of(fields.any("target"), self.where)
            name = fields.any("name")
            where = fields.where = f"the call {printable(str(name or target))[:80]}"
            inputs, outputs = fields.list("inputs"), fields.list("outputs")
            for other in ("metadata", "is_hop_single_tensor_return"):
                fields.any(other)
            fields.end()
            if target in _GRAD:
                self.inline(scope, inputs, outputs, where, depth)
                continue
            word = _word(target, where)
            if word in _ASSERTS:
                continue
            self.call(scope, word, inputs, outputs, where, values)

    def call(self, scope, word, inputs, outputs, where, values):
        named = {}
        for k, item in enumerate(inputs):
            fields = Fields(item, where)
            name = text_of(fields.any("name"), where)
            fields.any("kind")
            if name in named:
                raise ModelFileError("an argument is given twice", where=where, found=name)
            named[name] = self.argument(scope, fields.any("arg"), f"{where}, {name}")
            fields.end()
        changed = next(iter(named.values()), None)
        if word.endswith("_") and isinstance(changed, Call) and changed.op == "get_attr":
            raise keeps(changed.target, where)
        names = [_results(item, where) for item in outputs]
        own = names[0] if len(names) == 1 and isinstance(names[0], str) else None
        sizes = _sizes(values, own)
        call = Call("call_function", own or f"{word}_{len(self.nodes)}", word, (), named, where, sizes)
        if own:
            self.define(scope, own, call)
            return
        self.nodes.append(call)
        if len(names) == 1 and isinstance(names[0], list):
            names = names[0]
        for k, name in enumerate(names):
            if isinstance(name, str):
                sizes = _sizes(values, name)
                part = Call("call_function", name, "getitem", (call, k), {}, where, sizes)
                self.define(scope, name, part)

    def inline(self, scope, inputs, outputs, where, depth):
        """The calls of a part that runs without gradients."""
        if depth >= _MAX_NESTING:
            raise ModelFileError("parts of the program are nested too deeply", where=where)
        parts = [_one(Fields(item, where).any("arg"), where, "an argument") for item in inputs]
        graphs = [value for kind, value in parts if kind == "as_graph"]
        if len(graphs) != 1 or parts[0][0] != "as_bool":
            raise ModelFileError("a part of the program is not understood", where=where)
        given = [self.argument(scope, {kind: value}, where) for kind, value in parts[2:]]
        graph = Fields(graphs[0], where).object("graph")
        names = [_results(item, where) for item in graph.list("inputs")]
        if len(names) != len(given) or not all(isinstance(n, str) for n in names):
            raise ModelFileError("a part of the program has other inputs than it is given", where=where)
        inner = dict(zip(names, given))
        self.run(inner, graph.list("nodes"), graph.any("tensor_values"), depth + 1)
        made = [self.argument(inner, item, where) for item in graph.list("outputs")]
        shown = [_results(item, where) for item in outputs]
        shown = shown[0] if len(shown) == 1 and isinstance(shown[0], list) else shown
        if len(made) != len(shown):
            raise ModelFileError("a part of the program has other outputs than are read", where=where)
        for name, value in zip(shown, made):
            if isinstance(name, str):
                scope[name] = value

    # -- arguments -------------------------------------------------------------------------------------------
    def argument(self, scope, union, where):
        """An argument as a Call, a plain value or a list of these."""
        kind, value = _one(union, where, "an argument")
        if kind == "as_none":
            return None
        if kind in ("as_tensor", "as_sym_int", "as_sym_bool", "as_sym_float"):
            return self.reference(scope, value, where)
        if kind in ("as_tensors", "as_sym_ints", "as_sym_bools", "as_sym_floats"):
            return [self.reference(scope, item, where) for item in _list(value, where)]
        if kind == "as_optional_tensor":
            return self.argument(scope, value, where)
        if kind == "as_optional_tensors":
            return [self.argument(scope, item, where) for item in _list(value, where)]
        if kind in ("as_int", "as_bool", "as_float", "as_string"):
            return _plain(kind.removeprefix("as_"), value, where)
        if kind in ("as_ints", "as_bools", "as_floats", "as_strings"):
            return [_plain(kind[3:-1], item, where) for item in _list(value, where)]
        if kind == "as_scalar_type":
            return Harmless(f"torch.{TYPES.get(value, 'unknown') if type(value) is int else 'unknown'}")
        if kind == "as_device":
            return Harmless("cpu")
        if kind in ("as_layout", "as_memory_format"):
            return Harmless(kind)
        return Refused(f"an argument of the kind {kind[3:60]} is not supported")

    def reference(self, scope, value, where):
        if not isinstance(value, dict) or len(value) != 1:
            raise ModelFileError("an argument is not understood", where=where)
        ((kind, item),) = value.items()
        if kind in ("name", "as_name"):
            name = text_of(item, where)
            if name not in scope:
                raise ModelFileError("reads a value that is not made before it", where=where, found=name)
            return scope[name]
        if kind in ("as_int", "as_bool", "as_float"):
            return _plain(kind.removeprefix("as_"), item, where)
        raise ModelFileError("an argument is not understood", where=where, found=str(kind)[:40])


def _sizes(values, name):
    """The sizes that the file has for a value, None for those it leaves open; () where it does not say."""
    meta = values.get(name) if isinstance(values, dict) else None
    sizes = meta.get("sizes") if isinstance(meta, dict) else None
    if not isinstance(sizes, list):
        return ()
    return tuple(size.get("as_int") if isinstance(size, dict) else None for size in sizes)


def _word(target, where):
    """The name of an operator, without its namespace and overload."""
    parts = target.split(".")
    if parts[:3] == ["torch", "ops", "aten"] and len(parts) == 5:
        return parts[3]
    if parts[0] == "_operator" and len(parts) == 2:
        return target
    raise UnsupportedModelError(f"the operator {target} is not supported", where=where, fix=WITHOUT)


def _results(item, where):
    """The name of one result, a list of names, None for what is not a result."""
    kind, value = _one(item, where, "a result")
    if kind in ("as_tensor", "as_sym_int", "as_sym_bool", "as_sym_float"):
        name = next(iter(value.values()), None) if isinstance(value, dict) and len(value) == 1 else None
        return text_of(name, where)
    if kind in ("as_tensors", "as_optional_tensors"):
        items = _list(value, where)
        return [_results({"as_tensor": i} if "name" in i else i, where) if i else None for i in items]
    return None


def _one(union, where, what):
    """(the key, the value) of an object of one field."""
    if not isinstance(union, dict) or len(union) != 1:
        raise ModelFileError(f"{what} is not understood", where=where, found=str(type(union).__name__))
    ((kind, value),) = union.items()
    return printable(kind)[:60], value


def _list(value, where):
    if not isinstance(value, list):
        raise ModelFileError("is not a list", where=where, found=type(value).__name__)
    return value


def text_of(value, where):
    """A name in the file: short, and such that a terminal can show it."""
    if not isinstance(value, str) or not 0 < len(value) <= 512 or not value.isprintable():
        raise ModelFileError("holds no name where one must be", where=where, found=repr(value)[:60])
    return value


_WORDS = {"Infinity": float("inf"), "-Infinity": float("-inf"), "NaN": float("nan")}


def _plain(kind, value, where):
    if kind == "float" and isinstance(value, str):
        value = _WORDS.get(value)
    kinds = {"int": int, "bool": bool, "float": (int, float), "string": str}[kind]
    if not isinstance(value, kinds) or isinstance(value, bool) and kind != "bool":
        raise ModelFileError("holds a value of another kind", where=where, expected=kind)
    if kind == "string":
        return text_of(value, where) if value else value
    return float(value) if kind == "float" else value


def _structured(structure, results):
    """The results in the tuples and dicts that forward returned; as they come where the file has others."""
    left = list(results)

    def build(spec, depth):
        if not isinstance(spec, dict) or depth > 32:
            raise ValueError
        kind, children = spec.get("type"), spec.get("children_spec") or []
        if kind is None:
            return left.pop(0)
        made = [build(child, depth + 1) for child in children]
        if kind == "builtins.dict":
            keys = strict_json.loads(spec["context"], "out_spec")
            return dict(zip((text_of(k, "out_spec") for k in keys), made, strict=True))
        if kind in ("builtins.tuple", "builtins.list"):
            return tuple(made)
        raise ValueError

    try:
        made = build(structure, 0)
    except (ValueError, KeyError, IndexError, TypeError, ModelFileError):
        return tuple(results)
    return made if not left else tuple(results)
