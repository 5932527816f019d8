"""What PyTorch's operators make of parameters and buffers alone, in NumPy: a weight that is normalised,
scaled or turned before a layer reads it.

Every function has the argument names, order and defaults of its operator's schema in aten. Numbers are worked
out in float64 and rounded once.
"""

from __future__ import annotations

import math

import numpy as np

from ...errors import ResourceLimitError, RnnrtError, UnsupportedModelError
from ..axes.values import Constant, Harmless

#: numbers that a constant may grow to
_MOST = 1 << 24


def folded(word, positional, named, name):
    """What a call of an operator makes of arrays: a Constant, a tuple of them, or a number."""
    if word not in FOLDED:
        raise UnsupportedModelError(f"{word} of parameters alone is not supported")
    wide = lambda v: v.astype(np.float64) if isinstance(v, np.ndarray) and v.dtype.kind == "f" else v
    listed = lambda v: [wide(item) for item in v] if isinstance(v, (list, tuple)) else wide(v)
    try:
        with np.errstate(all="ignore"):
            made = FOLDED[word](
                *map(listed, positional), **{n.replace("self", "input"): listed(v) for n, v in named.items()}
            )
    except RnnrtError:
        raise
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, MemoryError) as error:
        raise UnsupportedModelError(f"{word} cannot be worked out from the parameters alone") from error
    return _constants(made, name)


def _constants(made, name):
    if isinstance(made, (tuple, list)):
        return tuple(_constants(part, name) for part in made)
    array = np.asarray(made)
    if array.dtype.kind == "f":
        array = array.astype(np.float32)
    return Constant(name, np.ascontiguousarray(array).reshape(array.shape))


def _checked(shape, own=0):
    """A shape; raises where it has more numbers than a constant may grow to, or already had (``own``)."""
    if math.prod(max(int(n), 1) for n in shape) > max(_MOST, own):
        raise ResourceLimitError("a constant has too many numbers", found=str(tuple(shape))[:80])
    return shape


def _two(function):
    """Of two arrays or numbers that broadcast."""

    def made(input, other):
        _checked(np.broadcast_shapes(np.shape(input), np.shape(other)), max(np.size(input), np.size(other)))
        return function(input, other)

    return made


def _product(input, other):
    _checked((*np.shape(input)[:-1], *np.shape(other)[-1:]), max(np.size(input), np.size(other)))
    return input @ other


def _axes(dim, array):
    if dim is None or isinstance(dim, (list, tuple)) and not dim:
        return tuple(range(array.ndim))
    return tuple(dim) if isinstance(dim, (list, tuple)) else (dim,)


def _same(input, **_):
    return input


def _typed(input, dtype=None, **_):
    """Only a type of float, which numbers here have anyway."""
    if isinstance(dtype, Harmless) and "float" not in dtype.word:
        raise UnsupportedModelError(f"a change of type to {dtype} is not supported")
    return input


def _weight_norm(v, g, dim=0):
    over = tuple(k for k in range(v.ndim) if k != dim) if dim != -1 else tuple(range(v.ndim))
    return _two(np.multiply)(v, g / np.sqrt((v * v).sum(over, keepdims=True)))


def _norm(input, p=2, dim=None, keepdim=False, ord=None, dtype=None):
    _typed(input, dtype)
    p = p if ord is None else ord
    p = 2 if p is None else p
    over = _axes(dim, input)
    if p == math.inf:
        return np.abs(input).max(over, keepdims=keepdim)
    return (np.abs(input) ** p).sum(over, keepdims=keepdim) ** (1 / p)


def _scaled(function):
    """Of two arrays, the second times alpha."""
    return lambda input, other, alpha=1: _two(function)(input, other if alpha == 1 else other * alpha)


def _divided(input, other, rounding_mode=None):
    if rounding_mode is not None:
        raise UnsupportedModelError("a division with rounding is not supported")
    return _two(np.divide)(input, other)


def _slice(input, dim=0, start=None, end=None, step=1):
    index = [slice(None)] * input.ndim
    index[dim] = slice(start, end, step)
    return input[tuple(index)]


def _expand(input, size, implicit=False):
    own = (1,) * (len(size) - input.ndim) + input.shape
    return np.broadcast_to(input, _checked([a if n == -1 else n for n, a in zip(size, own)]))


def _repeat(input, repeats):
    _checked([n * max(input.size, 1) for n in repeats])
    return np.tile(input, repeats)


def _swapped(input, dim0, dim1):
    return np.swapaxes(input, dim0, dim1)


def _softplus(input, beta=1, threshold=20):
    return np.where(input * beta > threshold, input, np.logaddexp(0, input * beta) / beta)


def _bounded(input, min=None, max=None):
    return np.clip(input, min, max)


def _over(function):
    return lambda input, dim=None, keepdim=False, dtype=None: function(
        _typed(input, dtype), _axes(dim, input), keepdims=keepdim
    )


def _cut(input, split_size=None, dim=0, split_sizes=None, chunks=None):
    size = input.shape[dim]
    if chunks is not None:
        split_size = -(-size // chunks)
    if split_sizes is None:
        split_sizes = [min(split_size, size - k) for k in range(0, size, split_size)]
    return np.split(input, np.cumsum(split_sizes)[:-1], dim)


def _stacked(tensors, dim=0):
    _checked((sum(t.size for t in tensors),))
    return np.stack(tensors, dim)


def _joined(tensors, dim=0):
    _checked((sum(t.size for t in tensors),))
    return np.concatenate(tensors, dim)


def _of_one(function):
    return lambda input: function(input)


def _exponential(input, dim, dtype=None):
    e = np.exp(input - input.max(dim, keepdims=True))
    return e / e.sum(dim, keepdims=True)


FOLDED = {
    "_weight_norm": _weight_norm,
    "transpose": _swapped,
    "swapaxes": lambda input, axis0, axis1: _swapped(input, axis0, axis1),
    "t": lambda input: input.T,
    "numpy_T": lambda input: input.T,
    "permute": lambda input, dims: input.transpose(dims),
    "view": lambda input, size: input.reshape(size),
    "reshape": lambda input, shape: input.reshape(shape),
    "unsqueeze": lambda input, dim: np.expand_dims(input, dim),
    "squeeze": lambda input, dim=None: np.squeeze(
        input, tuple(k for k in _axes(dim, input) if input.shape[k] == 1)
    ),
    "flatten": lambda input, start_dim=0, end_dim=-1: input.reshape(
        *input.shape[: start_dim % input.ndim], -1, *input.shape[end_dim % input.ndim + 1 :]
    ),
    "select": lambda input, dim, index: np.take(input, index, dim),
    "slice": _slice,
    "narrow": lambda input, dim, start, length: _slice(input, dim, start, start + length),
    "flip": lambda input, dims: np.flip(input, dims),
    "expand": _expand,
    "repeat": _repeat,
    "cat": _joined,
    "stack": _stacked,
    "split": _cut,
    "split_with_sizes": lambda input, split_sizes, dim=0: _cut(input, None, dim, split_sizes),
    "chunk": lambda input, chunks, dim=0: _cut(input, None, dim, None, chunks),
    "unbind": lambda input, dim=0: [np.take(input, k, dim) for k in range(input.shape[dim])],
    "getitem": lambda input, index: input[index],
    "add": _scaled(np.add),
    "sub": _scaled(np.subtract),
    "rsub": lambda input, other, alpha=1: _two(np.subtract)(other, input if alpha == 1 else input * alpha),
    "mul": _two(np.multiply),
    "div": _divided,
    "pow": lambda input, exponent: _two(np.power)(input, exponent),
    "neg": _of_one(np.negative),
    "abs": _of_one(np.abs),
    "exp": _of_one(np.exp),
    "log": _of_one(np.log),
    "sqrt": _of_one(np.sqrt),
    "rsqrt": lambda input: 1 / np.sqrt(input),
    "reciprocal": lambda input: 1 / input,
    "square": _of_one(np.square),
    "tanh": _of_one(np.tanh),
    "sigmoid": lambda input: 1 / (1 + np.exp(-input)),
    "relu": lambda input: np.maximum(input, 0),
    "softplus": _softplus,
    "softmax": _exponential,
    "clamp": _bounded,
    "clamp_min": lambda input, min: _bounded(input, min),
    "clamp_max": lambda input, max: _bounded(input, None, max),
    "maximum": _two(np.maximum),
    "minimum": _two(np.minimum),
    "sum": _over(np.sum),
    "mean": _over(np.mean),
    "amax": lambda input, dim=(), keepdim=False: input.max(_axes(dim, input), keepdims=keepdim),
    "norm": _norm,
    "linalg_vector_norm": lambda input, ord=2, dim=None, keepdim=False, dtype=None: _norm(
        input, 2, dim, keepdim, ord, dtype
    ),
    "matmul": _product,
    "mm": lambda input, mat2: _product(input, mat2),
    "mv": lambda input, vec: input @ vec,
    "dot": lambda input, tensor: input @ tensor,
    "vdot": lambda input, other: input @ other,
    "to": _typed,
    "_to_copy": _typed,
    **dict.fromkeys(("clone", "contiguous", "detach", "detach_", "alias", "lift_fresh_copy"), _same),
}
