"""TFLite files written by hand, of a few operators each: what no converter writes, and what is wrong."""

import struct

import numpy as np

from rnnrt.importers.tflite.schema import NAMES, OPERATORS, TABLES

_SIZES = {"bool": 1, "i8": 1, "u8": 1, "i16": 2, "u16": 2, "i32": 4, "u32": 4, "i64": 8, "u64": 8, "f32": 4}
_CODES = dict(zip(_SIZES, "?bBhHiIqQf"))
_KINDS = TABLES | {k.word: k.options for k in OPERATORS.values()}
_TYPES = {"float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "bool": 6, "int16": 7, "int8": 9}
_TYPES |= {"resource": 13}
_UNIONS = {k.word: k.union for k in OPERATORS.values()}


class _Writer:
    """Tables one after the other, what they refer to behind them, aligned as the format wants it."""

    def __init__(self):
        self.out = bytearray(struct.pack("<I4s", 0, b"TFL3"))

    def pad(self, align, ahead=0):
        self.out += bytes(-(len(self.out) + ahead) % align)

    def table(self, kind, values):
        slots = {f.name: (slot, f) for slot, f in _KINDS[kind].items()}
        inline, size = [], 4
        for name, value in values.items():
            if value is None:
                continue
            slot, field = slots[name]
            width = 4 if field.many or field.kind not in _SIZES else _SIZES[field.kind]
            size += -size % width
            inline.append((slot, size, field, value))
            size += width
        count = max((slot for slot, *_ in inline), default=-1) + 1
        self.pad(8, 4 + 2 * count)
        vtable = len(self.out)
        offsets = [0] * count
        for slot, at, *_ in inline:
            offsets[slot] = at
        self.out += struct.pack(f"<{2 + count}H", 4 + 2 * count, size, *offsets)
        start = len(self.out)
        self.out += bytes(size)
        struct.pack_into("<i", self.out, start, start - vtable)
        for _, at, field, value in inline:
            if field.kind in _SIZES and not field.many:
                struct.pack_into(f"<{_CODES[field.kind]}", self.out, start + at, value)
            else:
                struct.pack_into("<I", self.out, start + at, self.value(field, value) - start - at)
        return start

    def value(self, field, value):
        if field.kind == "union":
            return self.table(*value)
        if field.kind == "text" and not field.many:
            data = value.encode()
            self.pad(4)
            at = len(self.out)
            self.out += struct.pack("<I", len(data)) + data + b"\0"
            return at
        if field.kind == "bytes" or field.kind in _SIZES:
            width = 16 if field.kind == "bytes" else _SIZES[field.kind]
            data = bytes(value) if field.kind == "bytes" else _packed(field.kind, value)
            self.pad(max(width, 4), 4)
            at = len(self.out)
            self.out += struct.pack("<I", len(value)) + data
            return at
        if not field.many:
            return self.table(field.kind, value)
        self.pad(4)
        at = len(self.out)
        self.out += struct.pack("<I", len(value)) + bytes(4 * len(value))
        for k, item in enumerate(value):
            place = at + 4 + 4 * k
            struct.pack_into("<I", self.out, place, self.table(field.kind, item) - place)
        return at


def _packed(kind, values):
    return struct.pack(f"<{len(values)}{_CODES[kind]}", *values)


def written(model) -> bytes:
    """The bytes of a Model: a dict of dicts by the schema's names."""
    writer = _Writer()
    struct.pack_into("<I", writer.out, 0, writer.table("Model", model))
    return bytes(writer.out)


def op(word, inputs, outputs, custom=None, **options):
    """An operator; names divided by spaces, "-" for one that is left out."""
    return word, inputs.split(), outputs.split(), custom, options


def graph(ops, inputs, outputs, shapes=None, arrays=None, variables=(), types=None, scales=None):
    """A graph: ``inputs``: {name: shape}, None in it for what is open; ``shapes``: of other tensors."""
    shapes = dict(inputs) | (shapes or {})
    arrays = {n: np.asarray(a) for n, a in (arrays or {}).items()}
    names = [*inputs, *arrays, *variables]
    for _, given, made, *_ in ops:
        names += [n for n in (*given, *made) if n != "-"]
    return {
        "ops": ops,
        "inputs": list(inputs),
        "outputs": outputs.split(),
        "names": list(dict.fromkeys(names)),
        "shapes": shapes,
        "arrays": arrays,
        "variables": variables,
        "types": types or {},
        "scales": scales or {},
    }


def model(*graphs, signatures=None, **more):
    """The bytes of a file of graphs, as ``graph`` makes them; the first is what a call runs."""
    codes, buffers, subgraphs = [], [{}], []
    for own in graphs:
        numbers = {n: k for k, n in enumerate(own["names"])} | {"-": -1}
        operators = []
        for word, inputs, outputs, custom, options in own["ops"]:
            code = 32 if custom else NAMES.index(word)
            entry = {"old_code": min(code, 127), "code": code, "custom": custom}
            if entry not in codes:
                codes.append(entry)
            operators.append(
                {
                    "opcode": codes.index(entry),
                    "inputs": [numbers[n] for n in inputs],
                    "outputs": [numbers[n] for n in outputs],
                    "options_type": _UNIONS.get(word) or None if options else None,
                    "options": (word, options) if options else None,
                }
            )
        tensors = []
        for name in own["names"]:
            array = own["arrays"].get(name)
            shape = array.shape if array is not None else own["shapes"].get(name, ())
            kind = own["types"].get(name, "float32" if array is None else array.dtype.name)
            entry = {"shape": [1 if n is None else n for n in shape], "type": _TYPES[kind], "name": name}
            if None in shape:
                entry["signature"] = [-1 if n is None else n for n in shape]
            if array is not None:
                entry["buffer"] = len(buffers)
                buffers.append({"data": np.ascontiguousarray(array).tobytes()})
            if name in own["variables"]:
                entry["is_variable"] = True
            if name in own["scales"]:
                scale, zero, axis = own["scales"][name]
                entry["quantization"] = {"scale": scale, "zero_point": zero, "dimension": axis}
            tensors.append(entry)
        subgraphs.append(
            {
                "tensors": tensors,
                "inputs": [numbers[n] for n in own["inputs"]],
                "outputs": [numbers[n] for n in own["outputs"]],
                "operators": operators,
            }
        )
    entry = {"version": 3, "operator_codes": codes, "subgraphs": subgraphs, "buffers": buffers}
    return written(entry | ({"signatures": signatures} if signatures else {}) | more)


def read(content):
    """The dict that ``written`` makes the file of again."""
    from rnnrt.importers.containers.flatbuffers import File

    file = File(content, _KINDS, "a file")

    def plain(value):
        if isinstance(value, list):
            return [plain(v) for v in value]
        if hasattr(value, "unknown"):
            fields = {n: v for n, v in vars(value).items() if n not in ("_empty", "unknown")}
            return {n: plain(v) for n, v in fields.items()}
        return bytes(value) if isinstance(value, memoryview) else value

    made = plain(file.root("Model"))
    unions = {k.union: k.word for k in OPERATORS.values() if k.union}
    for subgraph in made["subgraphs"]:
        for entry in subgraph.get("operators", ()):
            code = made["operator_codes"][entry.get("opcode", 0)]
            number = max(code.get("code", 0), code.get("old_code", 0))
            word = OPERATORS[number].word if number in OPERATORS else unions.get(entry.get("options_type"))
            if isinstance(entry.get("options"), int):
                entry["options"] = (word, plain(file.table(entry["options"], word)))
    return made
