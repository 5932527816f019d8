"""The words of TorchScript's code beyond those of a stored program. Imports no torch."""

from __future__ import annotations

import dataclasses

from ..operators.table import Word, harmless, optional, rest, takes, vocabulary
from ..torch.aten import SHAPES, x
from ..torch.functional import PACKING
from ..torch.stored import STORED

#: PyTorch's own numbers of types (c10/core/ScalarType.h)
TYPES = {
    0: "uint8",
    1: "int8",
    2: "int16",
    3: "int32",
    4: "int64",
    5: "float16",
    6: "float32",
    7: "float64",
    8: "complex32",
    9: "complex64",
    10: "complex128",
    11: "bool",
    15: "bfloat16",
}


def apart(parts):
    """Parts that share no storage: one may be written over while the others are read."""
    return tuple(dataclasses.replace(part, root=object()) for part in parts)


def _unsafe(word):
    own = SHAPES[word]
    return Word(own.operator, *own.parameters, prepare=own.prepare, result=apart, **own.fixed)


SCRIPT = vocabulary(
    {
        "unsafe_chunk": _unsafe("chunk"),
        "unsafe_split unsafe_split_with_sizes": _unsafe("split"),
        "numpy_T": SHAPES["t"],
        "einsum": Word("einsum", takes("equation"), rest("operands|tensors", "tensors"), *harmless("path")),
        "frobenius_norm": Word("norm", x, optional("dim", "axes"), takes("keepdim", "keep", False), order=2),
        "reflection_pad1d": Word("pad", x, takes("padding", "widths"), mode="reflect"),
        "replication_pad1d": Word("pad", x, takes("padding", "widths"), mode="replicate"),
    }
)
WORDS = STORED | PACKING | SCRIPT
