"""Operators on known values: weights, constants, and shapes, whose entries are numbers or Sizes.

What depends on sizes and constants alone is worked out while a file is read, within a budget of numbers: a
file of a hundred bytes can ask for an array of any size.
"""

from __future__ import annotations

from math import prod

import numpy as np

from ...errors import ModelFileError, ResourceLimitError, UnsupportedModelError
from ..axes.sizes import Shifted, Size
from .tensors import TYPES, type_name

#: Numbers that one result may hold, beyond twice those of the largest array in the file, and all results
#: together beyond sixteen times those of all arrays.
_MOST, _MOST_IN_ALL = 1_000_000, 20_000_000


class Unknown(Exception):
    """A value depends on a size that only the run tells; the text says how."""


class Folder:
    """Works out nodes of known values. ``opset``: the version of ONNX's operators; ``arrays``: all of the
    file.
    """

    def __init__(self, opset, arrays):
        self.opset = opset
        sizes = [a.size for a in arrays]
        self.most = _MOST + 2 * max(sizes, default=0)
        self.left = _MOST_IN_ALL + 16 * sum(sizes)

    def spend(self, shape):
        """Raise where a result of this shape is larger than the budget; ``shape``: numbers."""
        count = prod(shape)
        self.left -= count
        if count > self.most or self.left < 0 or min(shape, default=0) < 0:
            raise ResourceLimitError(
                "a constant expression of the file makes more numbers than a model needs",
                expected=f"at most {self.most:,}",
                found=f"{tuple(shape)}",
            )

    def __call__(self, node, values):
        """The results of a node, one an output; raises Unknown, or an RnnrtError."""
        self.outputs = len(node.outputs)
        made = FOLDED[node.op](self, node.attributes, *values)
        return tuple(map(tidy, made)) if isinstance(made, tuple) else (tidy(made),)


def tidy(array):
    """An array of objects as one of numbers where it holds no Size."""
    array = np.asarray(array)
    if array.dtype == object and not any(isinstance(v, Size | Shifted) for v in array.flat):
        return array.astype(np.int64)
    return array


def integers(value, what, sizes=Size):
    """A known value as a list of Python's whole numbers and ``sizes``."""
    if value is None:
        return None
    array = np.atleast_1d(np.asarray(value))
    if array.ndim != 1 or array.dtype.kind not in "iuO":
        raise ModelFileError(f"{what} must be a list of whole numbers", found=f"{array.dtype} {array.shape}")
    if any(isinstance(v, Size | Shifted) and not isinstance(v, sizes) for v in array):
        raise Unknown(f"{what} is made of the size of an input")
    return [v if isinstance(v, sizes) else int(v) for v in array]


def plain_integers(value, what):
    """The same without Sizes."""
    made = integers(value, what)
    if made is not None and any(isinstance(v, Size) for v in made):
        raise Unknown(f"{what} depends on the size of an input")
    return made


# ---- shapes ------------------------------------------------------------------------------------------------


def _shape(folder, own, x):
    return np.array(x.shape, np.int64)[slice(own.get("start", 0), own.get("end"))]


def _size(folder, own, x):
    return np.int64(x.size)


def _constant(folder, own):
    kinds = {"value": None, "value_float": np.float32, "value_floats": np.float32}
    kinds |= {"value_int": np.int64, "value_ints": np.int64}
    found = [name for name in own if name in kinds]
    if len(own) != 1 or not found:
        raise UnsupportedModelError(
            "a Constant of this form is not supported", found=", ".join(own) or "nothing"
        )
    return own[found[0]] if kinds[found[0]] is None else np.array(own[found[0]], kinds[found[0]])


def _constant_of_shape(folder, own, shape):
    sizes = plain_integers(shape, "the shape of a ConstantOfShape") if np.size(shape) else []
    value = own.get("value", np.zeros(1, np.float32))
    folder.spend(sizes)
    return np.full(sizes, value.reshape(-1)[0], value.dtype)


def _expand(folder, own, x, shape):
    sizes = plain_integers(shape, "the shape of an Expand")
    sizes = np.broadcast_shapes(x.shape, tuple(sizes))
    folder.spend(sizes)
    return np.broadcast_to(x, sizes)


def _range(folder, own, start, limit, delta):
    if any(isinstance(v.item(), Size | Shifted) for v in (start, limit, delta)):
        raise Unknown("a Range runs up to the size of an input")
    count = max(int(np.ceil((limit.item() - start.item()) / delta.item())), 0) if delta.item() else -1
    folder.spend([count])
    return (start.item() + np.arange(count) * delta.item()).astype(start.dtype)


def _reshape(folder, own, x, shape):
    sizes = plain_integers(shape, "the shape of a Reshape")
    if not own.get("allowzero", 0):
        sizes = [x.shape[k] if n == 0 and k < x.ndim else n for k, n in enumerate(sizes)]
    return x.reshape(sizes)


def _flatten(folder, own, x):
    axis = own.get("axis", 1) % (x.ndim + 1) if own.get("axis", 1) < 0 else own.get("axis", 1)
    return x.reshape(prod(x.shape[:axis]), -1)


def _squeeze(folder, own, x, axes=None):
    axes = own.get("axes") if axes is None else plain_integers(axes, "axes")
    return x.squeeze(tuple(axes) if axes is not None else None)


def _unsqueeze(folder, own, x, axes=None):
    axes = own.get("axes") if axes is None else plain_integers(axes, "axes")
    return np.expand_dims(x, tuple(axes))


def _transpose(folder, own, x):
    return x.transpose(own.get("perm"))


def _concat(folder, own, *parts):
    axis = own.get("axis", 1)
    folder.spend([sum(p.size for p in parts)])
    return np.concatenate(parts, axis)


def bounds(own, starts=None, ends=None, axes=None, steps=None):
    """[(axis, slice)] of a Slice in either form; bounds beyond int32 mean all there is."""
    starts = own.get("starts") if starts is None else integers(starts, "starts")
    ends = own.get("ends") if ends is None else integers(ends, "ends", Size | Shifted)
    axes = own.get("axes") if axes is None else plain_integers(axes, "axes")
    steps = [1] * len(starts) if steps is None else plain_integers(steps, "steps")
    axes = list(range(len(starts))) if axes is None else axes
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise ModelFileError("the bounds of a Slice do not fit one another")
    far = (1 << 31) - 1
    open_end = lambda n, step: isinstance(n, int) and (n >= far if step > 0 else n <= -far)
    return [
        (axis, slice(start, None if open_end(end, step) else end, step))
        for axis, start, end, step in zip(axes, starts, ends, steps)
    ]


def _slice(folder, own, x, *given):
    index = [slice(None)] * x.ndim
    for axis, part in bounds(own, *given):
        if isinstance(part.start, Size) or isinstance(part.stop, Size | Shifted):
            raise Unknown("a Slice ends at the size of an input")
        index[axis] = part
    return x[tuple(index)]


def _gather(folder, own, x, index):
    if index.dtype.kind not in "iu":
        raise Unknown("a Gather takes items by the size of an input")
    axis = own.get("axis", 0)
    folder.spend([index.size, *(n for k, n in enumerate(x.shape) if k != axis % max(x.ndim, 1))])
    return np.take(x, index, axis)


def _split(folder, own, x, sizes=None):
    axis, sizes = own.get("axis", 0), own.get("split") if sizes is None else plain_integers(sizes, "split")
    if sizes is None:
        sizes = equal_parts(x.shape[axis], own.get("num_outputs", folder.outputs))
    if sum(sizes) != x.shape[axis]:
        raise ModelFileError("the parts of a Split do not make up the axis", found=str(sizes))
    return tuple(np.split(x, np.cumsum(sizes)[:-1], axis))


def equal_parts(size, count):
    """The sizes of ``count`` parts of an axis, the last of them smaller where it must be."""
    part = -(-size // count)
    return [part] * (count - 1) + [size - part * (count - 1)]


def _tile(folder, own, x, repeats):
    repeats = plain_integers(repeats, "repeats")
    folder.spend([x.size, *repeats])
    return np.tile(x, repeats)


# ---- numbers -----------------------------------------------------------------------------------------------


def _cast(folder, own, x):
    word = TYPES.get(own.get("to"))
    if word is None:
        raise UnsupportedModelError("a Cast to this type is not supported", found=type_name(own.get("to")))
    if x.dtype == object:
        return x if word != "bool" else _no_size("a Cast")
    with np.errstate(all="ignore"):
        return x.astype("float32" if word in ("float16", "bfloat16") else word)


def _no_size(what):
    raise Unknown(f"{what} of a size of an input")


def _elementwise(function, sizes=False):
    """A function of arrays that broadcast; ``sizes``: it takes Sizes, too."""

    def work(folder, own, *given):
        if not sizes and any(a.dtype == object for a in given):
            _no_size("arithmetic")
        folder.spend(np.broadcast_shapes(*(a.shape for a in given)))
        try:
            with np.errstate(all="ignore"):
                made = np.asarray(function(*given))
        except TypeError:
            _no_size("arithmetic")
        kind = given[0].dtype
        if made.dtype == object:
            return tidy(made)
        return made if made.dtype == bool or kind == object else made.astype(kind)

    return work


def _divide(a, b):
    if a.dtype.kind not in "iu":
        return a / b
    if (b == 0).any():
        raise ModelFileError("a constant expression of the file divides by zero")
    made = np.abs(a) // np.abs(b)
    return made * np.sign(a) * np.sign(b)


def _several(function):
    """The same function over any number of arrays, two at a time."""

    def over(*arrays):
        made = arrays[0]
        for other in arrays[1:]:
            made = function(made, other)
        return made

    return over


def _modulo(a, b):
    if a.dtype.kind in "iu" and (b == 0).any():
        raise ModelFileError("a constant expression of the file divides by zero")
    return np.mod(a, b)


def _same(a, b):
    """Whether numbers or Sizes are equal: a Size is at least 1, and else known only to equal itself."""

    def one(a, b):
        if not isinstance(a, Size | Shifted) and not isinstance(b, Size | Shifted):
            return bool(a == b)
        if a == b:
            return True
        other = b if isinstance(a, Size) else a
        if isinstance(other, Size | Shifted) or other >= 1:
            _no_size("a comparison")
        return False

    if a.dtype != object and b.dtype != object:
        return a == b
    a, b = np.broadcast_arrays(a, b)
    return np.array([one(p, q) for p, q in zip(a.flat, b.flat)], bool).reshape(a.shape)


def _less(a, b):
    """Whether numbers are less than others; a Size is at least 1."""

    def one(a, b):
        if isinstance(b, Size) and not isinstance(a, Size) and a <= 0:
            return True
        if isinstance(a, Size) and not isinstance(b, Size) and b <= 1:
            return False
        return bool(a < b)

    if a.dtype != object and b.dtype != object:
        return a < b
    a, b = np.broadcast_arrays(a, b)
    return np.array([one(p, q) for p, q in zip(a.flat, b.flat)], bool).reshape(a.shape)


def _where(folder, own, condition, a, b):
    if condition.dtype == object:
        _no_size("a comparison")
    folder.spend(np.broadcast_shapes(condition.shape, a.shape, b.shape))
    return np.where(condition, a, b)


def _reduced(function):
    def work(folder, own, x, axes=None):
        axes = own.get("axes") if axes is None else plain_integers(axes, "axes")
        if axes is not None and not axes:
            if own.get("noop_with_empty_axes", 0):
                return x
            axes = None
        if x.dtype == object and function is not np.prod:
            _no_size("a sum")
        made = function(x, axis=None if axes is None else tuple(axes), keepdims=bool(own.get("keepdims", 1)))
        return np.asarray(made).astype(x.dtype)

    return work


def _norm(x, axis, keepdims):
    return np.sqrt(np.sum(np.square(x.astype(np.float64)), axis=axis, keepdims=keepdims))


def _matmul(folder, own, a, b):
    folder.spend([a.size, b.shape[-1] if b.ndim > 1 else 1])
    return np.matmul(a.astype(np.float64), b.astype(np.float64)).astype(a.dtype)


def _gemm(folder, own, a, b, c=None):
    a = a.T if own.get("transA", 0) else a
    b = b.T if own.get("transB", 0) else b
    made = own.get("alpha", 1.0) * _matmul(folder, own, a, b)
    return (made if c is None else made + own.get("beta", 1.0) * c).astype(a.dtype)


def dequantized(own, x, scale, zero=None):
    """(x - zero) * scale, one scale in all or one along ``axis``, as float32."""
    if own.get("block_size", 0):
        raise UnsupportedModelError("numbers quantised in blocks are not supported")
    if scale.ndim and scale.size > 1:
        shape = [1] * x.ndim
        shape[own.get("axis", 1)] = -1
        scale, zero = scale.reshape(shape), zero if zero is None else zero.reshape(shape)
    x = x.astype(np.float64) - (0 if zero is None else zero.astype(np.float64))
    return (x * scale.astype(np.float64)).astype(np.float32)


def _dequantize(folder, own, x, scale, zero=None):
    folder.spend(x.shape)
    return dequantized(own, x, scale, zero)


def _as_it_is(folder, own, x, *rest):
    return x


def _clip(folder, own, x, low=None, high=None):
    low = own.get("min") if low is None else low
    high = own.get("max") if high is None else high
    return x if low is None and high is None else np.clip(x, low, high).astype(x.dtype)


FOLDED = {
    "Shape": _shape,
    "Size": _size,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "Range": _range,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Concat": _concat,
    "Slice": _slice,
    "Gather": _gather,
    "Split": _split,
    "Tile": _tile,
    "Cast": _cast,
    "Identity": _as_it_is,
    "Dropout": _as_it_is,
    "Add": _elementwise(np.add, sizes=True),
    "Sub": _elementwise(np.subtract, sizes=True),
    "Mul": _elementwise(np.multiply, sizes=True),
    "Div": _elementwise(_divide),
    "Mod": _elementwise(_modulo),
    "Pow": _elementwise(np.power),
    "Max": _elementwise(_several(np.maximum)),
    "Min": _elementwise(_several(np.minimum)),
    "Neg": _elementwise(np.negative),
    "Abs": _elementwise(np.abs),
    "Sqrt": _elementwise(np.sqrt),
    "Exp": _elementwise(np.exp),
    "Log": _elementwise(np.log),
    "Floor": _elementwise(np.floor),
    "Ceil": _elementwise(np.ceil),
    "Reciprocal": _elementwise(np.reciprocal),
    "Tanh": _elementwise(np.tanh),
    "Sigmoid": _elementwise(lambda x: 1 / (1 + np.exp(-x.astype(np.float64)))),
    "Relu": _elementwise(lambda x: np.maximum(x, 0)),
    "Clip": _clip,
    "Equal": _elementwise(_same, sizes=True),
    "Less": _elementwise(_less, sizes=True),
    "Greater": _elementwise(np.greater),
    "LessOrEqual": _elementwise(np.less_equal),
    "GreaterOrEqual": _elementwise(np.greater_equal),
    "Not": _elementwise(np.logical_not),
    "And": _elementwise(np.logical_and),
    "Or": _elementwise(np.logical_or),
    "Where": _where,
    "ReduceProd": _reduced(np.prod),
    "ReduceSum": _reduced(np.sum),
    "ReduceMean": _reduced(np.mean),
    "ReduceMax": _reduced(np.max),
    "ReduceMin": _reduced(np.min),
    "ReduceL2": _reduced(_norm),
    "MatMul": _matmul,
    "Gemm": _gemm,
    "DequantizeLinear": _dequantize,
}

#: The attributes that an operator without a Word may have, in any version.
ATTRIBUTES = {
    "Shape": "start end",
    "Constant": "value value_float value_floats value_int value_ints value_string value_strings sparse_value",
    "ConstantOfShape": "value",
    "Reshape": "allowzero",
    "Flatten": "axis",
    "Squeeze": "axes",
    "Unsqueeze": "axes",
    "Transpose": "perm",
    "Concat": "axis",
    "Slice": "starts ends axes",
    "ReverseSequence": "batch_axis time_axis",
    "Gather": "axis",
    "Split": "axis split num_outputs",
    "Cast": "to saturate round_mode",
    "Dropout": "ratio seed training_mode",
    "Mod": "fmod",
    "Clip": "min max",
    "Gemm": "alpha beta transA transB",
    "DequantizeLinear": "axis block_size output_dtype",
    "Einsum": "equation",
    "HardSigmoid": "alpha beta",
    "Pad": "mode pads paddings value",
    "SplitToSequence": "axis keepdims",
    "ConcatFromSequence": "axis new_axis",
    "NotEqual": "value axis keepdims",
} | dict.fromkeys(
    ("ReduceProd", "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2"),
    "axes keepdims noop_with_empty_axes",
)


def check_attributes(node, words):
    """Refuse an attribute that is not known, of an operator that is not among ``words``, which check
    theirs.
    """
    if node.op in words or node.domain:
        return
    unknown = set(node.attributes) - set(ATTRIBUTES.get(node.op, "").split())
    if unknown:
        raise UnsupportedModelError(f"{node.op} has an attribute that is not known: {min(unknown)}")
