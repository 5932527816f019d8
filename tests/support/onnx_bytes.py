"""ONNX files written byte by byte, by the numbers of onnx.proto: what a test of the importer reads needs
nothing of ONNX installed.
"""

import struct

import numpy as np

FLOAT, INT32, INT64, BOOL, BFLOAT16 = 1, 6, 7, 9, 16
TYPES = {np.dtype(t): n for t, n in (("float32", 1), ("uint8", 2), ("int8", 3), ("int32", 6), ("int64", 7))}
TYPES |= {np.dtype(t): n for t, n in (("bool", 9), ("float16", 10), ("float64", 11))}


def numbers(*shape, seed=0):
    """Weights, float32."""
    return np.random.RandomState(seed).uniform(-0.7, 0.7, shape).astype(np.float32)


def whole(*values):
    """A list of whole numbers, as axes and shapes are."""
    return np.array(values, np.int64)


def varint(n):
    n &= (1 << 64) - 1
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes(out + bytes([n]))


def field(number, value):
    """One field: a whole number, a float, text, bytes, or None for nothing."""
    if value is None:
        return b""
    if isinstance(value, (bool, int, np.integer)):
        return varint(number << 3) + varint(int(value))
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    value = value.encode() if isinstance(value, str) else bytes(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def message(*fields):
    return b"".join(field(n, v) for n, v in fields)


def tensor(array, name="", type=None, raw=True):
    """A TensorProto; without ``raw`` as a list of typed numbers."""
    array = np.asarray(array)
    type = type or TYPES[array.dtype]
    dims = [(1, n) for n in array.shape]
    if raw:
        body = [(9, np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes())]
    elif array.dtype == np.float32:
        body = [(4, array.astype("<f4").tobytes())]
    elif array.dtype == np.float64:
        body = [(10, array.astype("<f8").tobytes())]
    elif array.dtype == np.float16:
        body = [(5, b"".join(map(varint, array.view(np.uint16).ravel().tolist())))]
    else:
        body = [(7 if array.dtype == np.int64 else 5, b"".join(map(varint, array.ravel().tolist())))]
    return message(*dims, (2, type), (8, name), *body)


def attribute(name, value):
    if isinstance(value, bytes):  # a graph
        return message((1, name), (6, value), (20, 5))
    if isinstance(value, float):
        return message((1, name), (2, value), (20, 1))
    if isinstance(value, (bool, int)):
        return message((1, name), (3, value), (20, 2))
    if isinstance(value, str):
        return message((1, name), (4, value), (20, 3))
    if isinstance(value, np.ndarray):
        return message((1, name), (5, tensor(value)), (20, 4))
    if all(isinstance(v, str) for v in value):
        return message((1, name), *((9, v) for v in value), (20, 8))
    if all(isinstance(v, int) for v in value):
        return message((1, name), *((8, v) for v in value), (20, 7))
    return message((1, name), *((7, float(v)) for v in value), (20, 6))


def node(op, inputs, outputs, domain="", name="", **attributes):
    """A NodeProto; ``inputs`` and ``outputs`` as text, names with spaces between them, "-" for one left
    out.
    """
    names = lambda text: ["" if n == "-" else n for n in text.split()]
    own = [(5, attribute(k, v)) for k, v in attributes.items() if v is not None]
    fields = [(1, n) for n in names(inputs)] + [(2, n) for n in names(outputs)]
    return message(*fields, (3, name or None), (4, op), *own, (7, domain or None))


def port(name, shape=None, type=FLOAT):
    """A ValueInfoProto: "x", ("b", "t", 5)."""
    if shape is None:
        return message((1, name), (2, message((1, message((1, type))))))
    dims = [(1, message((1, n) if isinstance(n, int) else (2, n))) for n in shape]
    return message((1, name), (2, message((1, message((1, type), (2, message(*dims)))))))


def graph(nodes, inputs, outputs, arrays=None, extra=()):
    fields = [(1, n) for n in nodes] + [(2, "g")]
    fields += [(5, tensor(a, name) if not isinstance(a, bytes) else a) for name, a in (arrays or {}).items()]
    return message(*fields, *((11, p) for p in inputs), *((12, p) for p in outputs), *extra)


def model(nodes, inputs, outputs, arrays=None, opset=17, ir=8, extra=(), domains=()):
    """A whole file. ``inputs``: {name: shape} or ports; ``outputs``: names or ports."""
    inputs = [port(n, s) for n, s in inputs.items()] if isinstance(inputs, dict) else inputs
    outputs = [port(o) if isinstance(o, str) else o for o in outputs]
    made = graph(nodes, inputs, outputs, arrays)
    opsets = [message((2, opset)), *(message((1, d), (2, 1)) for d in domains)]
    return message((1, ir), (2, "a test"), (7, made), *((8, o) for o in opsets), *extra)
