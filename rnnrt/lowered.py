"""The lowered table of a .rnnrt file: the network as the engine plans it, for a host in C, which reads no
JSON and knows no passes. src/load.c reads it; Python lowers the graph anew and leaves it alone.

All numbers are little-endian words of 32 bits; a string is its number in the list of strings.

    version                          1
    strings: count, bytes            then so many bytes: each string with a 0 after it, padded to whole words
    fields: count                    each: name, a letter for the type
    arrays: count                    each: first byte in the file's data (2 words), numbers (2 words), CRC-32
    integers: count                  then the numbers of all index arrays
    facts: count                     each: name, a float64 (2 words)
    plans: count                     each: layers; the last is the network, one inside another comes before it
      layers: count                  each: name, kind, inputs (count, value numbers), fields: count, each: its
                                     number, its value
      outputs: count                 each: name, value number
      needs_length                   number + 1 of a layer whose padding depends on the input's length, or 0

Types of fields: i an int32, f a float32, w a word, F a function (its word, a float32), a an array, n integers
(count, first), p a plan. An array's number, a plan's: each at most once. After the words: zeros up to a whole
number of blocks, then the table's bytes before the zeros, its CRC-32, and the magic.

The arrays are the graph's own tensors where no pass changed them; the others stand side by side in a tensor
of their own.
"""

from __future__ import annotations

import math
import struct
import zlib

import numpy as np

from . import lowering, passes, timing
from ._engine import MASKED, NORMS
from .format.file import ARRAYS
from .graph import Graph

VERSION, MAGIC = 1, b"RNNRTLOW"
#: Numbers in a row of ARRAYS, and bytes in a row of TABLE: no size of a tensor is beyond the format's most.
_ROW = 64
_TAIL = struct.Struct("<II8s")
_WORDS = {"norm": NORMS, "masked_output": MASKED}
_WIRING = ("name", "kind", "input")
#: The types of the fields of struct rnnrt_layer_desc that are not whole numbers, and where those are not 0
#: when nothing is said.
_LETTERS = (
    dict.fromkeys(_WORDS, "w")
    | dict.fromkeys(("activation", "recurrent_activation"), "F")
    | dict.fromkeys(("epsilon", "value", "masked_score"), "f")
    | dict.fromkeys(("weight", "recurrent_weight", "projection", "bias", "recurrent_bias"), "a")
    | dict.fromkeys(("gamma", "beta", "mean", "start"), "a")
    | {"index": "n", "inner": "p"}
)
_DEFAULTS = {"stride": 1, "dilation": 1, "groups": 1, "mask": -1}


class Lowered:
    """The lowered form of ``graph``, whose weights are {tensor name: array}.

    ``arrays``: (rows, 64) float32, what passes changed, or None where they changed nothing.
    """

    def __init__(self, graph: Graph, weights: dict[str, np.ndarray]) -> None:
        self._strings: dict[str, int] = {}
        self._fields: dict[str, tuple[int, str]] = {}
        self._integers: list[int] = []
        self._used: list[tuple[str, int, np.ndarray]] = []  # (tensor, floats before it there, array)
        self._changed: list[np.ndarray] = []
        self._rows = 0
        self._stored: dict[object, list[str]] = {}  # where weights lie: the tensors that hold them
        for name, array in reversed(weights.items()):
            self._stored.setdefault(_place(array), []).append(name)
        self._plans: list[list[object]] = []
        run = passes.optimise(graph)
        self._plan(run)
        self._facts = _facts(run)
        self.arrays = self._side_by_side()

    def encode(self, starts: dict[str, int]) -> np.ndarray:
        """The table, uint8 of shape (rows, 64). ``starts``: {tensor: its first byte in the file's data}."""
        at = lambda used: starts[used[0]] + 4 * used[1]
        order = sorted(range(len(self._used)), key=lambda k: at(self._used[k]))
        number = {k: n for n, k in enumerate(order)}
        words: list[int] = [VERSION]
        plans = [[number[w.number] if isinstance(w, _Array) else w for w in plan] for plan in self._plans]
        facts = [w for name, value in self._facts for w in (self._string(name), *_words("<d", value))]
        fields = [w for name, (_, letter) in self._fields.items() for w in (self._string(name), ord(letter))]
        text = b"".join(s.encode() + b"\0" for s in self._strings)
        text += bytes(-len(text) % 4)
        words += [len(self._strings), len(text), *struct.unpack(f"<{len(text) // 4}I", text)]
        words += [len(self._fields), *fields, len(order)]
        for k in order:
            array = self._used[k][2]
            words += [*_words("<Q", at(self._used[k])), *_words("<Q", array.size)]
            words.append(zlib.crc32(array.reshape(-1).data))
        words += [len(self._integers), *(n & 0xFFFFFFFF for n in self._integers)]
        words += [len(self._facts), *facts, len(plans), *(w for plan in plans for w in plan)]
        table = np.array(words, "<u4").tobytes()
        tail = _TAIL.pack(len(table), zlib.crc32(table), MAGIC)
        padding = bytes(-(len(table) + len(tail)) % _ROW)
        return np.frombuffer(table + padding + tail, np.uint8).reshape(-1, _ROW)

    # ---- what is written -----------------------------------------------------------------------------------

    def _plan(self, graph):
        """The number of the plan of ``graph``, after those inside it."""
        descs, outputs, needs_length = lowering.descs_of(graph)
        words = [len(descs)]
        for desc in descs:
            words += [self._string(desc["name"]), self._string(desc["kind"])]
            words += [len(desc["input"]), *desc["input"]]
            fields = [
                (name, value)
                for name, value in desc.items()
                if name not in _WIRING and value is not None and not _is_default(name, value)
            ]
            words.append(len(fields))
            for name, value in fields:
                words += self._field(name, value)
        words.append(len(outputs))
        for output, value in zip(graph.outputs, outputs):
            words += [self._string(output.name), value]
        names = [desc["name"] for desc in descs]
        words.append(names.index(needs_length) + 1 if needs_length else 0)
        self._plans.append(words)
        return len(self._plans) - 1

    def _field(self, name, value):
        """The words of a field of a layer: its number, its value."""
        letter = _LETTERS.get(name, "i")
        if letter == "w":
            words = [self._string(next(w for w, n in _WORDS[name].items() if n == value))]
        elif letter == "p":
            words = [self._plan(value)]
        elif letter == "F":
            words = [self._string(value[0]), *_words("<f", value[1])]
        elif letter == "n":
            words = [value.size, len(self._integers)]
            self._integers += value.ravel().tolist()
        elif letter == "a":
            words = [self._array(np.ascontiguousarray(value, "<f4"), value)]
        else:
            words = _words("<f", value) if letter == "f" else _words("<i", value)
        number, _ = self._fields.setdefault(name, (len(self._fields), letter))
        return [number, *words]

    def _array(self, array, original):
        """A reference to an array, which is put among the changed ones where the graph does not hold it."""
        names = self._stored.get(_place(original))
        if names:
            self._used.append((names.pop(), 0, array))
        else:
            self._used.append((ARRAYS, self._rows * _ROW, array))
            self._changed.append(array)
            self._rows += -(-array.size // _ROW)
        return _Array(len(self._used) - 1)

    def _side_by_side(self):
        if not self._changed:
            return None
        made, row = np.zeros((self._rows, _ROW), "<f4"), 0
        for array in self._changed:
            made.reshape(-1)[row * _ROW : row * _ROW + array.size] = array.ravel()
            row += -(-array.size // _ROW)
        return made

    def _string(self, text):
        text = text.replace("\0", "\ufffd")  # which ends a string there
        return self._strings.setdefault(text, len(self._strings))


class _Array:
    """Stands for the number of an array, until all are known."""

    def __init__(self, number):
        self.number = number


def _is_default(name, value):
    return isinstance(value, int) and value == _DEFAULTS.get(name, 0)


def _place(array):
    """What two arrays have in common that are the same memory, as a file would hold it."""
    plain = array.dtype == np.dtype("<f4") and array.flags.c_contiguous
    return (array.__array_interface__["data"][0], array.size) if plain else id(array)


def _words(form, value):
    raw = struct.pack(form, np.float32(value) if form == "<f" else value)
    return struct.unpack(f"<{len(raw) // 4}I", raw)


def _facts(graph):
    """[(name, number)] of what a host may want to know: the numbers among the metadata, and the delay of a
    network of one clock, in frames."""
    found = {k: float(v) for k, v in graph.metadata.items() if type(v) in (int, float) and math.isfinite(v)}
    if len(timing.clocks(graph)) == 1 and not any(layer.whole for layer in graph.layers):
        found["delay"] = float(timing.delays(graph)[0])
    return list(found.items())
