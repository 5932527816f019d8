"""NumPy's .npz archives as {name: array}: checked sizes, no pickled objects."""

from __future__ import annotations

import io
import tokenize
from math import prod

import numpy as np

from ...errors import ModelFileError
from .zip import Archive


def read_npz(archive: Archive) -> dict[str, np.ndarray]:
    """Every member ``name.npy`` as ``name``, in the archive's order; ModelFileError (naming the member) where
    one is not a plain array.
    """
    return {
        name.removesuffix(".npy"): _array(archive.read(name), f"{archive.where}, member {name!r}")
        for name in archive.names
    }


def read_header(stream, where):
    """(shape, whether Fortran order, dtype) of the .npy at the start of ``stream``, which then stands at its
    numbers.

    Raises ModelFileError where it is not an array of real numbers.
    """
    try:
        version = np.lib.format.read_magic(stream)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[
            version
        ]
        shape, fortran_order, dtype = read(stream)
    except (
        ValueError,
        KeyError,
        TypeError,
        SyntaxError,
        RecursionError,
        MemoryError,
        OverflowError,
        AttributeError,
        IndexError,
        tokenize.TokenError,
    ) as error:
        raise ModelFileError(
            "is not a NumPy array", where=where, expected=".npy of version 1 or 2"
        ) from error
    if dtype.hasobject or dtype.kind not in "fiub":
        raise ModelFileError("the array does not hold real numbers", where=where, found=str(dtype))
    return shape, fortran_order, dtype


def check_size(shape, dtype, left, where):
    """Raises ModelFileError where ``left`` bytes are not an array of this shape."""
    if any(n < 0 for n in shape) or len(shape) > 8 or prod(shape) * dtype.itemsize != left:
        raise ModelFileError(
            "the array's bytes do not fit its shape",
            where=where,
            expected=f"{shape} of {dtype}",
            found=f"{left:,} bytes",
        )


def _array(data, where):
    stream = io.BytesIO(data)
    shape, fortran_order, dtype = read_header(stream, where)
    check_size(shape, dtype, len(data) - stream.tell(), where)
    return np.frombuffer(data, dtype, offset=stream.tell()).reshape(
        shape, order="F" if fortran_order else "C"
    )
