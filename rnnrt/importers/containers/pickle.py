"""A pickle reader that can run nothing: PyTorch's ``data.pkl`` as a tree of inert values.

The machine below knows the opcodes that plain data needs, with dicts, lists, tuples, numbers and text as its
values. A name in the file is compared with a fixed table of strings and becomes a description; it is never
imported, looked up or called, and tensors are described, not built (what CVE-2025-32434 and CVE-2026-24747
went through). What a file makes by any other name is Opaque: who reads the tree refuses it where a tensor
that is wanted lies in one.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ...errors import ModelFileError, RnnrtError, UnsupportedModelError

#: A tensor takes about 40 instructions, so this is some hundred thousand tensors and at most some 300 MB of
#: small objects.
MAX_INSTRUCTIONS, MAX_DEPTH = 1 << 22, 1000
MAX_AXES, MAX_INTEGER_BYTES = 8, 256

WAY_OUT = "Save model.state_dict() with torch.save, or the tensors as safetensors."


@dataclass(frozen=True)
class Name:
    """A global name of the table below: inert, only ever compared."""

    module: str
    name: str

    def __str__(self):
        return f"{self.module}.{self.name}"


@dataclass(frozen=True)
class Storage:
    """The flat block of numbers that tensors look into: ``numel`` numbers of ``dtype`` ("untyped": bytes)
    under ``key``.

    ``base``: None, or for a view of the legacy format its first number within the block; ``numel`` then
    counts the view's numbers.
    """

    dtype: str
    key: str
    numel: int
    base: int | None = None


@dataclass(frozen=True)
class TensorRecord:
    """A tensor as the file describes it: offset and stride count numbers of ``dtype``."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(frozen=True)
class Refused:
    """A tensor that rnnrt cannot hold; refused with its name where it would be used."""

    what: str


class Opaque:
    """An object of a class that is not in the table, or what a function outside it would have returned.

    ``name``: "module.name" as the file spells it; ``parts``: all that the file gave it (arguments, items, its
    state): nothing is known of what it does with them.
    """

    def __init__(self, name):
        self.name, self.parts = name[:200], []

    def __str__(self):
        return self.name

    __repr__ = __str__

    @property
    def state(self):
        """The attributes it was given, {} where it was given none."""
        states = [p for p in self.parts if isinstance(p, dict)]
        return states[-1] if states else {}

    @property
    def is_module(self):
        """Whether it is a torch.nn.Module, by its attributes."""
        return {"_parameters", "_buffers", "_modules"} <= set(self.state)


#: torch's dtypes by the name of their storage class; those without a NumPy type stay words and are refused
#: where they are used.
STORAGES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "UntypedStorage": "untyped",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "QInt8Storage": "qint8",
    "QUInt8Storage": "quint8",
    "QInt32Storage": "qint32",
    "QUInt4x2Storage": "quint4x2",
}
DTYPES = (
    *STORAGES.values(),
    "complex32",
    "uint16",
    "uint32",
    "uint64",
    "float8_e4m3fn",
    "float8_e5m2",
    "float8_e4m3fnuz",
    "float8_e5m2fnuz",
    "quint2x4",
)
_LAYOUTS = ("strided", "sparse_coo", "sparse_csr", "per_tensor_affine", "per_channel_affine")
_OTHER_TENSORS = {
    "_rebuild_qtensor": "a quantised tensor",
    "_rebuild_sparse_tensor": "a sparse tensor",
    "_rebuild_nested_tensor": "a nested tensor",
    "_rebuild_meta_tensor_no_storage": "a tensor without data (meta device)",
    "_rebuild_device_tensor_from_numpy": "a tensor of a device outside PyTorch",
    "_rebuild_device_tensor_from_cpu_tensor": "a tensor of a device outside PyTorch",
    "_rebuild_wrapper_subclass": "a tensor subclass",
}


# ---- what the reduced names of the table mean --------------------------------------------------------------


def _tensor(storage, offset, shape, stride, dtype=None):
    for numbers in (shape, stride):
        if (
            not isinstance(numbers, (tuple, list))
            or len(numbers) > MAX_AXES
            or not all(_is_size(n) for n in numbers)
        ):
            raise ModelFileError("a tensor's shape or stride is not a short tuple of sizes")
    if not isinstance(storage, Storage) or not _is_size(offset) or len(shape) != len(stride):
        raise ModelFileError("a tensor's storage, offset, shape and stride do not fit together")
    dtype = storage.dtype if dtype is None else dtype.name if isinstance(dtype, Name) else None
    if dtype not in DTYPES or dtype == "untyped":
        raise ModelFileError("a tensor's type of number is not stated")
    if storage.dtype not in ("untyped", dtype):
        raise ModelFileError(
            "a tensor and its storage differ in the type of number", expected=storage.dtype, found=dtype
        )
    return TensorRecord(storage, dtype, offset, tuple(shape), tuple(stride))


def _is_size(n):
    return isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 1 << 48


def _tensor_v2(storage, offset, shape, stride, requires_grad=False, hooks=None, metadata=None):
    if metadata:  # conjugate and negative views: {"conj": True}, {"neg": True}
        return Refused("a lazily negated or conjugated tensor")
    return _tensor(storage, offset, shape, stride)


def _tensor_v3(storage, offset, shape, stride, requires_grad, hooks, dtype, metadata=None):
    return (
        Refused("a lazily negated or conjugated tensor")
        if metadata
        else _tensor(storage, offset, shape, stride, dtype)
    )


def _parameter(data, requires_grad=True, hooks=None, state=None):
    if not isinstance(data, (TensorRecord, Refused)):
        raise ModelFileError("a parameter holds no tensor")
    return data


def _mapping(items=()):
    mapping = {}
    for key, value in items.items() if isinstance(items, dict) else items:
        mapping[_key(key)] = value
    return mapping


def _sequence(items=()):
    if not isinstance(items, (tuple, list)):
        raise ModelFileError("a sequence is made of something else")
    return tuple(items)


def _encoded(text, encoding):
    if encoding != "latin1" or not isinstance(text, str):
        raise ModelFileError("a text is encoded in an unknown way")
    return text.encode("latin1")


def _other_tensor(what):
    return lambda *arguments: Refused(what)


def _made(called, arguments):
    """What a call of an unknown class or function would have returned."""
    made = Opaque(called.name)
    made.parts.extend(arguments)
    return made


#: (module, name) -> the function of this file that a reduction of it stands for; None: a name that is only
#: passed on as a value.
TABLE = {
    ("collections", "OrderedDict"): _mapping,
    ("collections", "Counter"): _mapping,
    ("collections", "defaultdict"): lambda *factory: {},
    ("builtins", "set"): _sequence,
    ("__builtin__", "set"): _sequence,
    ("_codecs", "encode"): _encoded,
    ("torch", "Size"): _sequence,
    ("torch", "device"): lambda *name: ":".join(str(n) for n in name if isinstance(n, (str, int)))[:40],
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor_v2,
    ("torch._utils", "_rebuild_tensor_v3"): _tensor_v3,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch.nn.parameter", "Parameter"): _parameter,
    **{("torch._utils", name): _other_tensor(what) for name, what in _OTHER_TENSORS.items()},
    **{("torch", name): None for name in (*STORAGES, *DTYPES, *_LAYOUTS) if name != "untyped"},
    **{("torch.cuda", name): None for name in STORAGES},
    **{("torch.storage", name): None for name in STORAGES},
    ("torch.serialization", "_get_layout"): lambda name: name if isinstance(name, str) else None,
}


#: Functions of the table that only hold what they are given, and those that need nothing.
_HOLD_ANYTHING = {TABLE["collections", name] for name in ("OrderedDict", "Counter", "defaultdict")}
_HOLD_ANYTHING |= {TABLE["builtins", "set"], TABLE["torch", "device"]}
_EMPTY = {TABLE["collections", "OrderedDict"], TABLE["collections", "defaultdict"]}


def _key(value):
    """A dictionary's key: flat, because hashing what a file nested could go arbitrarily deep."""
    if isinstance(value, (str, int, float, bytes, type(None))):
        return value
    if isinstance(value, tuple) and all(isinstance(v, (str, int, float, bytes, type(None))) for v in value):
        return value
    if isinstance(value, (Opaque, Name)):
        return value  # each is another key, as it would be in Python
    raise ModelFileError("a dictionary's key is not a plain value")


# ---- the machine -------------------------------------------------------------------------------------------


def load(data: bytes, where: str, start: int = 0):
    """(the value of the pickle that begins at ``start``, the position after it, {key: dtype} of the storages
    it mentions).

    Values are None, bool, int, float, str, bytes, list, tuple, dict, and TensorRecord, Refused, Storage,
    Name, Opaque. Objects may lie in one another in circles. Raises UnsupportedModelError naming
    ``module.name`` for a name of the table that is used as what it is not, ModelFileError for anything
    malformed.
    """
    machine = _Machine(data, where, start)
    try:
        return machine.run(), machine.position, machine.storages
    except RnnrtError as error:
        raise error.at(f"{where}, byte {machine.at}")
    except (IndexError, KeyError, TypeError, ValueError, OverflowError, struct.error) as error:
        raise ModelFileError(
            "the pickle is damaged",
            where=f"{where}, byte {machine.at}",
            fix="Copy or download the file again.",
        ) from error


class _Machine:
    """The pickle machine: a stack of values, the stacks below each mark, and a memo. ``at``: where the
    present opcode stands.
    """

    def __init__(self, data, where, start):
        self.data, self.where, self.position, self.at = data, where, start, start
        self.stack, self.marked, self.memo, self.storages = [], [], {}, {}

    def run(self):
        for _ in range(MAX_INSTRUCTIONS):
            self.at = self.position
            opcode = self.take(1)
            if opcode == b".":
                if len(self.stack) != 1 or self.marked:
                    raise ModelFileError("the pickle ends in the middle of a value")
                return self.stack.pop()
            handler = _OPCODES.get(opcode)
            if handler is None:
                raise ModelFileError("the pickle holds an unknown instruction", found=repr(opcode))
            handler(self)
        raise ModelFileError("the pickle is too long", expected=f"at most {MAX_INSTRUCTIONS} instructions")

    # -- reading ---------------------------------------------------------------------------------------------
    def take(self, size):
        data = self.data[self.position : self.position + size]
        if len(data) != size:
            raise ModelFileError("the pickle ends too early", fix="Copy or download the file again.")
        self.position += size
        return data

    def number(self, code):
        return struct.unpack(code, self.take(struct.calcsize(code)))[0]

    def line(self):
        end = self.data.find(b"\n", self.position, self.position + 4096)
        if end < 0:
            raise ModelFileError("a line of the pickle has no end")
        text = self.data[self.position : end]
        self.position = end + 1
        return text.decode("utf-8")

    def above_mark(self):
        items, self.stack = self.stack, self.marked.pop()
        return items

    def push(self, value):
        self.stack.append(value)

    # -- containers ------------------------------------------------------------------------------------------
    def mark(self):
        if len(self.marked) >= MAX_DEPTH:
            raise ModelFileError("the pickle is nested too deeply", expected=f"at most {MAX_DEPTH} levels")
        self.marked.append(self.stack)
        self.stack = []

    def top(self, kind):
        if not isinstance(self.stack[-1], kind):  # torch's own machine once ran SETITEM on a tensor
            raise ModelFileError("the pickle fills something that is not a container")
        return self.stack[-1]

    def set_items(self, items):
        if len(items) % 2:
            raise ModelFileError("a dictionary has a key without a value")
        if isinstance(self.stack[-1], Opaque):
            self.stack[-1].parts.extend(items)
            return
        target = self.top(dict)
        for key, value in zip(items[::2], items[1::2]):
            target[_key(key)] = value

    def tuple_of(self, size):
        if len(self.stack) < size:
            raise ModelFileError("the pickle takes more values than there are")
        items = tuple(self.stack[len(self.stack) - size :])
        del self.stack[len(self.stack) - size :]
        self.push(items)

    def long_of(self, size):
        if not 0 <= size <= MAX_INTEGER_BYTES:
            raise ModelFileError("the pickle holds a number too long to be real", found=f"{size} bytes")
        self.push(int.from_bytes(self.take(size), "little", signed=True))

    # -- names -----------------------------------------------------------------------------------------------
    def name(self, module, name):
        if not isinstance(module, str) or not isinstance(name, str):
            raise ModelFileError("the pickle names something without a name")
        self.push(Name(module, name) if (module, name) in TABLE else Opaque(f"{module}.{name}"))

    def refused(self, wanted):
        return UnsupportedModelError(
            f"the file needs {wanted[:200]!r}, which rnnrt never imports or runs",
            expected="a state dict: names, tensors and plain values",
            fix=WAY_OUT,
        )

    def reduce(self):
        arguments, called = self.stack.pop(), self.stack.pop()
        if not isinstance(arguments, tuple):
            raise ModelFileError("a call in the pickle has no arguments")
        if isinstance(called, Opaque):
            self.push(_made(called, arguments))
            return
        meaning = TABLE.get((called.module, called.name)) if isinstance(called, Name) else None
        if meaning is None:
            raise self.refused(f"a call of {called}" if isinstance(called, Name) else "a call of a value")
        unknown = next((a for a in arguments if isinstance(a, Opaque)), None)
        if unknown is not None and meaning not in _HOLD_ANYTHING:
            self.push(Refused(f"made with an object of {unknown}, which rnnrt never imports or runs"))
            return
        self.push(meaning(*arguments))

    def make_object(self, options=False):
        """NEWOBJ, and NEWOBJ_EX with keyword ``options``."""
        named = self.stack.pop() if options else {}
        arguments, called = self.stack.pop(), self.stack.pop()
        if isinstance(called, Name):
            meaning = TABLE.get((called.module, called.name))
            if meaning not in _EMPTY or arguments or named:
                raise self.refused(f"an object of {called}")
            self.push(meaning())
        elif isinstance(called, Opaque):
            self.push(_made(called, (arguments, named)))
        else:
            raise self.refused("an object of an unnamed class")

    def old_object(self):
        """OBJ and INST, of protocols 0 and 1."""
        called, *arguments = self.above_mark()
        if not isinstance(called, Opaque):
            raise self.refused(f"an object of {called if isinstance(called, Name) else 'an unnamed class'}")
        self.push(_made(called, arguments))

    def extension(self):
        raise self.refused("a class of pickle's extension registry")

    def build(self):
        state = self.stack.pop()
        if isinstance(self.stack[-1], Opaque):
            self.stack[-1].parts.append(state)
            return
        # the attributes of an OrderedDict (_metadata: versions of modules) say nothing about the network
        self.top(dict)

    def persistent(self):
        record = self.stack.pop()
        if isinstance(record, tuple) and len(record) == 4 and record[0] == "module":
            self.push(record[1])  # the class of a module, beside its source text, as PyTorch wrote it once
            return
        if (
            not isinstance(record, tuple)
            or len(record) not in (5, 6)
            or record[0] != "storage"
            or not isinstance(record[1], Name)
        ):
            raise ModelFileError("a reference to a storage is malformed")
        _, kind, key, _location, numel, *view = record
        if kind.name not in STORAGES or not isinstance(key, str) or not _is_size(numel):
            raise ModelFileError("a reference to a storage is malformed")
        dtype = STORAGES[kind.name]
        if self.storages.setdefault(key, dtype) != dtype:
            raise ModelFileError(
                "a storage is said to hold two types of number", found=f"{self.storages[key]} and {dtype}"
            )
        if (
            view and view[0] is not None
        ):  # legacy: (key of the view, offset, size) within the storage of ``key``
            if (
                not isinstance(view[0], tuple)
                or len(view[0]) != 3
                or not _is_size(view[0][1])
                or not _is_size(view[0][2])
            ):
                raise ModelFileError("a view of a storage is malformed")
            self.push(Storage(dtype, key, view[0][2], view[0][1]))
        else:
            self.push(Storage(dtype, key, numel))

    # -- the memo --------------------------------------------------------------------------------------------
    def remember(self, index):
        self.memo[index] = self.stack[-1]


def _reader(code):
    return lambda m: m.push(m.number(code))


def _text(code):
    return lambda m: m.push(m.take(m.number(code)).decode("utf-8", "surrogatepass"))


def _latin(code):  # text of Python 2: names of that time are ASCII, and latin-1 can hold any byte
    return lambda m: m.push(m.take(m.number(code)).decode("latin-1"))


def _bytes(code):
    return lambda m: m.push(m.take(m.number(code)))


def _protocol(m):
    if m.number("<B") > 5:
        raise ModelFileError("the pickle is of an unknown protocol", expected="0 to 5")


def _frame(m):  # a hint for reading ahead
    if m.number("<Q") > len(m.data) - m.position:
        raise ModelFileError("the pickle ends too early", fix="Copy or download the file again.")


def _items(m):
    return m.stack[-1].parts if isinstance(m.stack[-1], Opaque) else m.top(list)


def _append(m):
    value = m.stack.pop()
    _items(m).append(value)


def _extend(m):
    items = m.above_mark()
    _items(m).extend(items)


def _instance(m):
    m.name(m.line(), m.line())
    called = m.stack.pop()
    m.stack.insert(0, called)
    m.old_object()


def _stack_name(m):
    name, module = m.stack.pop(), m.stack.pop()
    m.name(module, name)


def _set_item(m):
    value, key = m.stack.pop(), m.stack.pop()
    m.set_items([key, value])


def _dictionary(m):
    items = m.above_mark()
    m.push({})
    m.set_items(items)


def _pop(m):
    if m.stack:
        m.stack.pop()
    else:
        m.stack = m.marked.pop()


_OPCODES = {
    b"\x80": _protocol,
    b"\x95": _frame,
    b"(": _Machine.mark,
    b"0": _pop,
    b"1": lambda m: m.above_mark(),
    b"2": lambda m: m.push(m.stack[-1]),
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"J": _reader("<i"),
    b"K": _reader("<B"),
    b"M": _reader("<H"),
    b"G": _reader(">d"),
    b"\x8a": lambda m: m.long_of(m.number("<B")),
    b"\x8b": lambda m: m.long_of(m.number("<i")),
    b"X": _text("<I"),
    b"\x8c": _text("<B"),
    b"\x8d": _text("<Q"),
    b"T": _latin("<I"),
    b"U": _latin("<B"),
    b"B": _bytes("<I"),
    b"C": _bytes("<B"),
    b"\x8e": _bytes("<Q"),
    b"]": lambda m: m.push([]),
    b"l": lambda m: m.push(m.above_mark()),
    b"a": _append,
    b"e": _extend,
    b"\x8f": lambda m: m.push([]),
    b"\x90": _extend,
    b"\x91": lambda m: m.push(tuple(m.above_mark())),
    b")": lambda m: m.push(()),
    b"t": lambda m: m.push(tuple(m.above_mark())),
    b"\x85": lambda m: m.tuple_of(1),
    b"\x86": lambda m: m.tuple_of(2),
    b"\x87": lambda m: m.tuple_of(3),
    b"}": lambda m: m.push({}),
    b"d": _dictionary,
    b"s": _set_item,
    b"u": lambda m: m.set_items(m.above_mark()),
    b"q": lambda m: m.remember(m.number("<B")),
    b"r": lambda m: m.remember(m.number("<I")),
    b"\x94": lambda m: m.remember(len(m.memo)),
    b"h": lambda m: m.push(m.memo[m.number("<B")]),
    b"j": lambda m: m.push(m.memo[m.number("<I")]),
    b"c": lambda m: m.name(m.line(), m.line()),
    b"\x93": _stack_name,
    b"R": _Machine.reduce,
    b"b": _Machine.build,
    b"Q": _Machine.persistent,
    b"i": _instance,
    b"o": _Machine.old_object,
    b"\x81": _Machine.make_object,
    b"\x92": lambda m: m.make_object(options=True),
    b"\x82": _Machine.extension,
    b"\x83": _Machine.extension,
    b"\x84": _Machine.extension,
}
