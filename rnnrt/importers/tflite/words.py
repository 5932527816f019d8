"""The words of TFLite: what each operator is in ONNX's, f(scope, operator). Every option is used, or it is
refused unless it has the value that changes nothing.
"""

from __future__ import annotations

import numpy as np

from ...errors import ModelFileError, UnsupportedModelError
from ..onnx.tensors import TYPES
from .loops import WORDS as LOOPS
from .recurrent import WORDS as RECURRENT
from .windows import WORDS as WINDOWS

#: A Slice's bound for "up to the end".
_FAR = (1 << 63) - 1


def names(scope, op):
    return [scope.name(v) for v in op.inputs]


def _plain(name, **attributes):
    """An operator that ONNX has under another name."""

    def word(scope, op):
        scope.node(name, names(scope, op), [scope.name(op.outputs[0])], **attributes)

    return word


def _fused(name):
    """The same with an activation in it."""

    def word(scope, op):
        scope.result(op, name, names(scope, op), op.options.fused)

    return word


def _clip(low, high):
    def word(scope, op):
        scope.clipped(scope.name(op.inputs[0]), scope.name(op.outputs[0]), low, high)

    return word


# ---- arithmetic --------------------------------------------------------------------------------------------


def _chain(scope, op):
    total = scope.name(op.inputs[0])
    for value in op.inputs[1:-1]:
        total = scope.part("Add", total, scope.name(value))
    last = (total, scope.name(op.inputs[-1])) if len(op.inputs) > 1 else None
    scope.node("Add" if last else "Identity", last or (total,), [scope.name(op.outputs[0])])


def _square(scope, op):
    two = scope.constant(2.0, np.float32)
    scope.node("Pow", (scope.name(op.inputs[0]), two), [scope.name(op.outputs[0])])


def _squared_difference(scope, op):
    difference = scope.part("Sub", *names(scope, op))
    scope.node("Pow", (difference, scope.constant(2.0, np.float32)), [scope.name(op.outputs[0])])


def _root_reciprocal(scope, op):
    root = scope.part("Sqrt", scope.name(op.inputs[0]))
    scope.node("Reciprocal", (root,), [scope.name(op.outputs[0])])


def _softmax(scope, op):
    x = scope.name(op.inputs[0])
    if op.options.beta != 1.0:
        x = scope.part("Mul", x, scope.constant(op.options.beta, np.float32))
    scope.node("Softmax", (x,), [scope.name(op.outputs[0])], axis=-1)


def _leaky_relu(scope, op):
    x, out = scope.name(op.inputs[0]), scope.name(op.outputs[0])
    scope.node("LeakyRelu", (x,), [out], alpha=op.options.alpha)


def _prelu(scope, op):
    """x above 0, slope x below."""
    x, slope = names(scope, op)
    scope.known(op.inputs[1], "slopes")
    below = scope.part("Mul", scope.part("Relu", scope.part("Neg", x)), slope)
    scope.node("Sub", (scope.part("Relu", x), below), [scope.name(op.outputs[0])])


def _gelu(scope, op):
    form = "tanh" if op.options.approximate else "none"
    scope.node("Gelu", names(scope, op), [scope.name(op.outputs[0])], approximate=form)


def _extreme(name, bound):
    """MAXIMUM or MINIMUM: with one number a bound."""

    def word(scope, op):
        x, limit = op.inputs
        if x.array is not None and limit.array is None:
            x, limit = limit, x
        out = [scope.name(op.outputs[0])]
        if limit.array is not None and limit.array.size == 1 and limit.array.dtype.kind == "f":
            given = ("", scope.name(limit)) if bound == "max" else (scope.name(limit),)
            if limit.array.ndim <= len(x.stated):
                scope.node("Clip", (scope.name(x), *given), out)
                return
        scope.node(name, names(scope, op), out)

    return word


def _cast(scope, op):
    to = next((k for k, word in TYPES.items() if word == op.outputs[0].type), None)
    if to is None:
        raise UnsupportedModelError("a change to this type is not supported", found=op.outputs[0].type)
    scope.node("Cast", names(scope, op), [scope.name(op.outputs[0])], to=to)


# ---- products ----------------------------------------------------------------------------------------------


def _fully_connected(scope, op):
    own = op.options
    x, weight, bias = (*op.inputs, None)[:3]
    if own.weights_format:
        raise UnsupportedModelError("its weights are shuffled: that is not supported")
    matrix = scope.known(weight, "weights")
    if matrix.ndim != 2 or matrix.dtype.kind != "f":
        raise UnsupportedModelError("its weights must be a matrix", found=f"{matrix.dtype} {matrix.shape}")
    given = scope.name(x)
    if len(x.stated) != 2 and not own.keep_num_dims or x.shape[-1:] != matrix.shape[1:]:
        given = scope.part("Reshape", given, scope.whole([-1, matrix.shape[1]]))
    product = (given, scope.constant(matrix.T))
    if bias is None:
        scope.result(op, "MatMul", product, own.fused)
    else:
        scope.result(op, "Add", (scope.part("MatMul", *product), scope.name(bias)), own.fused)


def _batch_product(scope, op):
    a, b = op.inputs
    if op.options.adj_x:
        raise UnsupportedModelError("adj_x is not supported")
    second = scope.name(b)
    if op.options.adj_y:
        order = list(range(len(b.stated)))
        second = scope.part("Transpose", second, perm=[*order[:-2], order[-1], order[-2]])
    scope.node("MatMul", (scope.name(a), second), [scope.name(op.outputs[0])])


# ---- axes --------------------------------------------------------------------------------------------------

_BROADCASTS = ("ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE")


def _reshape(scope, op):
    x, out = op.inputs[0], op.outputs[0]
    if _given_back(scope, x, out):
        scope.names[out] = scope.name(x)
        return
    if len(op.inputs) > 1 and op.inputs[1] is not None:
        shape = op.inputs[1]
        target = scope.name(shape)
        if shape.array is not None:
            target = scope.whole(scope.numbers(shape, "shape"))
    else:
        target = scope.whole(op.options.new_shape)
    scope.node("Reshape", (scope.name(x), target), [scope.name(out)], allowzero=1)


def _given_back(scope, x, out):
    """Whether only axes of size one in front are dropped, and whatever reads the result puts them back by
    broadcasting.
    """
    more = len(x.stated) - len(out.stated)
    if (
        more <= 0
        or x.stated[more:] != out.stated
        or set(x.stated[:more]) != {1}
        or out in scope.graph.outputs
    ):
        return False
    users = scope.users.get(out, [])
    return bool(users) and all(
        user.word in _BROADCASTS
        and all(v is out or len(v.stated) >= len(x.stated) for v in user.inputs)
        and any(v is not out for v in user.inputs)
        for user in users
    )


def _transpose(scope, op):
    order = scope.numbers(op.inputs[1], "order of axes")
    scope.node("Transpose", (scope.name(op.inputs[0]),), [scope.name(op.outputs[0])], perm=order)


def _expand_dims(scope, op):
    axes = scope.whole(scope.numbers(op.inputs[1], "axis"))
    scope.node("Unsqueeze", (scope.name(op.inputs[0]), axes), [scope.name(op.outputs[0])])


def _squeeze(scope, op):
    axes = list(map(int, op.options.squeeze_dims))
    given = (scope.name(op.inputs[0]), *([scope.whole(axes)] if axes else []))
    scope.node("Squeeze", given, [scope.name(op.outputs[0])])


def _shape(scope, op):
    scope.node("Shape", names(scope, op), [scope.name(op.outputs[0])])


def _rank(scope, op):
    scope.arrays[scope.name(op.outputs[0])] = np.array(len(op.inputs[0].stated), np.int32)


def _fill(scope, op):
    value = scope.known(op.inputs[1], "value").reshape(-1)[:1]
    scope.node("ConstantOfShape", (scope.name(op.inputs[0]),), [scope.name(op.outputs[0])], value=value)


# ---- parts -------------------------------------------------------------------------------------------------


def _gather(scope, op):
    if op.options.batch_dims:
        raise UnsupportedModelError("batch_dims is not supported", found=str(op.options.batch_dims))
    scope.node("Gather", names(scope, op), [scope.name(op.outputs[0])], axis=op.options.axis)


def _embedding_lookup(scope, op):
    index, table = names(scope, op)
    scope.node("Gather", (table, index), [scope.name(op.outputs[0])], axis=0)


def _slice(scope, op):
    x, begin, size = op.inputs
    starts, sizes = (scope.numbers(v, what) for v, what in ((begin, "begin"), (size, "size")))
    ends = [_FAR if n == -1 else s + n for s, n in zip(starts, sizes)]
    axes = scope.whole(range(len(starts)))
    given = (scope.name(x), scope.whole(starts), scope.whole(ends), axes)
    scope.node("Slice", given, [scope.name(op.outputs[0])])


def _strided_slice(scope, op):
    """Bounds that a mask leaves out are those of the axis; an axis of ``shrink_axis_mask`` is one item."""
    own = op.options
    x, begin, end, stride = op.inputs
    for word in ("ellipsis_mask", "new_axis_mask", "offset"):
        if getattr(own, word):
            raise UnsupportedModelError(f"{word} is not supported", found=str(getattr(own, word)))
    strides = scope.numbers(stride, "strides")
    shrunk = [k for k in range(len(strides)) if own.shrink_axis_mask >> k & 1]
    if any(own.begin_mask >> k & 1 for k in shrunk):
        raise UnsupportedModelError("begin_mask of an axis of shrink_axis_mask is not supported")
    kept = [k for k in range(len(strides)) if k not in shrunk]
    open_start = [k for k in kept if own.begin_mask >> k & 1]
    open_end = [k for k in kept if own.end_mask >> k & 1]
    kept = [k for k in kept if not (k in open_start and k in open_end and strides[k] == 1)]
    value = scope.name(x)
    if kept:
        ends = [_FAR if strides[k] > 0 else -_FAR for k in kept]
        starts = [0 if strides[k] > 0 else _FAR for k in kept]
        given = (
            _bounds(scope, begin, kept, open_start, starts),
            _bounds(scope, end, kept, open_end, ends),
            scope.whole(kept),
            scope.whole(strides[k] for k in kept),
        )
        value = scope.part("Slice", value, *given)
    for k in reversed(shrunk):
        if begin.array is not None:
            index = scope.constant(int(begin.array.reshape(-1)[k]), np.int64)
        else:
            index = scope.part("Gather", scope.name(begin), scope.constant(k, np.int64), axis=0)
        value = scope.part("Gather", value, index, axis=k)
    scope.node("Identity", (value,), [scope.name(op.outputs[0])])


def _bounds(scope, value, kept, left_out, instead):
    """The bounds of the axes ``kept``, those of the axes ``left_out`` replaced."""
    if value.array is not None:
        numbers = scope.numbers(value, "bounds")
        return scope.whole(other if k in left_out else numbers[k] for k, other in zip(kept, instead))
    own = scope.part("Gather", scope.name(value), scope.whole(kept), axis=0)
    if not left_out:
        return own
    masked = scope.constant([k in left_out for k in kept], bool)
    return scope.part("Where", masked, scope.whole(instead), own)


def _split(scope, op):
    axis, x = op.inputs
    (axis,) = scope.numbers(axis, "axis")
    if op.options.num_splits != len(op.outputs):
        raise ModelFileError("num_splits does not fit its outputs", found=str(op.options.num_splits))
    scope.node("Split", (scope.name(x),), [scope.name(v) for v in op.outputs], axis=axis)


def _split_by(scope, op):
    x, sizes, axis = op.inputs
    (axis,) = scope.numbers(axis, "axis")
    sizes = scope.numbers(sizes, "sizes")
    if -1 in sizes:
        whole = x.shape[axis] if -len(x.shape) <= axis < len(x.shape) else None
        if whole is None or sizes.count(-1) > 1:
            raise UnsupportedModelError("a part of open size is not supported", found=str(sizes))
        sizes = [whole - sum(n for n in sizes if n != -1) if n == -1 else n for n in sizes]
    outputs = [scope.name(v) for v in op.outputs]
    scope.node("Split", (scope.name(x), scope.whole(sizes)), outputs, axis=axis)


def _unpack(scope, op):
    if op.options.num != len(op.outputs):
        raise ModelFileError("num does not fit its outputs", found=str(op.options.num))
    for k, value in enumerate(op.outputs):
        index = scope.constant(k, np.int64)
        scope.node("Gather", (scope.name(op.inputs[0]), index), [scope.name(value)], axis=op.options.axis)


def _pack(scope, op):
    axis = scope.whole([op.options.axis])
    parts = [scope.part("Unsqueeze", scope.name(v), axis) for v in op.inputs]
    rank = len(op.inputs[0].stated) + 1
    scope.node("Concat", parts, [scope.name(op.outputs[0])], axis=op.options.axis % rank)


def _concatenation(scope, op):
    if op.options.fused:
        raise UnsupportedModelError(
            "holds an activation, which LiteRT leaves out", found=str(op.options.fused)
        )
    scope.node("Concat", names(scope, op), [scope.name(op.outputs[0])], axis=op.options.axis)


def _reverse(scope, op):
    axes = scope.numbers(op.inputs[1], "axes")
    each = lambda n: scope.whole([n] * len(axes))
    given = (scope.name(op.inputs[0]), each(-1), each(-_FAR), scope.whole(axes), each(-1))
    scope.node("Slice", given, [scope.name(op.outputs[0])])


def _pad(scope, op, mode="constant"):
    pads = scope.known(op.inputs[1], "paddings")
    if pads.ndim != 2 or pads.shape[1] != 2:
        raise ModelFileError("its paddings must be two numbers an axis", found=str(pads.shape))
    given = [scope.name(op.inputs[0]), scope.whole(pads.T.reshape(-1))]
    if len(op.inputs) > 2:
        given.append(scope.constant(scope.known(op.inputs[2], "padding").reshape(())))
    scope.node("Pad", given, [scope.name(op.outputs[0])], mode=mode)


def _mirror_pad(scope, op):
    if op.options.mode != 0:
        raise UnsupportedModelError("padding by SYMMETRIC is not supported", expected="REFLECT")
    _pad(scope, op, "reflect")


def _reduction(name):
    def word(scope, op):
        axes = scope.whole(scope.numbers(op.inputs[1], "axes"))
        keep = int(op.options.keep_dims)
        scope.node(name, (scope.name(op.inputs[0]), axes), [scope.name(op.outputs[0])], keepdims=keep)

    return word


# ---- truth -------------------------------------------------------------------------------------------------


def _any(scope, op):
    """Of "is not a number" over the features, as Keras writes a mask; of others, the greatest."""
    x = op.inputs[0]
    compared = scope.maker.get(x)
    axes = scope.numbers(op.inputs[1], "axes")
    keep, out = int(op.options.keep_dims), [scope.name(op.outputs[0])]
    if (
        compared is not None
        and compared.word == "NOT_EQUAL"
        and [a % len(x.stated) for a in axes] == [len(x.stated) - 1]
    ):
        value, number = compared.inputs
        if number.array is not None and number.array.size == 1:
            given = (scope.name(value),)
            scope.node("NotEqual", given, out, value=float(number.array.reshape(())), axis=-1, keepdims=keep)
            return
    scope.node("ReduceMax", (scope.name(x), scope.whole(axes)), out, keepdims=keep)


def _not_equal(scope, op):
    scope.node("Not", (scope.part("Equal", *names(scope, op)),), [scope.name(op.outputs[0])])


WORDS = (
    {
        "ADD": _fused("Add"),
        "SUB": _fused("Sub"),
        "MUL": _fused("Mul"),
        "DIV": _fused("Div"),
        "ADD_N": _chain,
        "POW": _plain("Pow"),
        "FLOOR_MOD": _plain("Mod"),
        "SQUARE": _square,
        "SQUARED_DIFFERENCE": _squared_difference,
        "SQRT": _plain("Sqrt"),
        "RSQRT": _root_reciprocal,
        "EXP": _plain("Exp"),
        "LOG": _plain("Log"),
        "ABS": _plain("Abs"),
        "NEG": _plain("Neg"),
        "SIN": _plain("Sin"),
        "COS": _plain("Cos"),
        "FLOOR": _plain("Floor"),
        "LOGISTIC": _plain("Sigmoid"),
        "TANH": _plain("Tanh"),
        "RELU": _plain("Relu"),
        "RELU_N1_TO_1": _clip(-1.0, 1.0),
        "RELU6": _clip(0.0, 6.0),
        "RELU_0_TO_1": _clip(0.0, 1.0),
        "ELU": _plain("Elu"),
        "LEAKY_RELU": _leaky_relu,
        "PRELU": _prelu,
        "GELU": _gelu,
        "HARD_SWISH": _plain("HardSwish"),
        "SOFTMAX": _softmax,
        "LOG_SOFTMAX": _plain("LogSoftmax", axis=-1),
        "MAXIMUM": _extreme("Max", "min"),
        "MINIMUM": _extreme("Min", "max"),
        "CAST": _cast,
        "DEQUANTIZE": _plain("Identity"),
        "FULLY_CONNECTED": _fully_connected,
        "BATCH_MATMUL": _batch_product,
        "RESHAPE": _reshape,
        "TRANSPOSE": _transpose,
        "EXPAND_DIMS": _expand_dims,
        "SQUEEZE": _squeeze,
        "SHAPE": _shape,
        "RANK": _rank,
        "FILL": _fill,
        "RANGE": _plain("Range"),
        "TILE": _plain("Tile"),
        "BROADCAST_TO": _plain("Expand"),
        "GATHER": _gather,
        "EMBEDDING_LOOKUP": _embedding_lookup,
        "SLICE": _slice,
        "STRIDED_SLICE": _strided_slice,
        "SPLIT": _split,
        "SPLIT_V": _split_by,
        "UNPACK": _unpack,
        "PACK": _pack,
        "CONCATENATION": _concatenation,
        "REVERSE_V2": _reverse,
        "PAD": _pad,
        "PADV2": _pad,
        "MIRROR_PAD": _mirror_pad,
        "MEAN": _reduction("ReduceMean"),
        "SUM": _reduction("ReduceSum"),
        "REDUCE_MAX": _reduction("ReduceMax"),
        "REDUCE_MIN": _reduction("ReduceMin"),
        "REDUCE_PROD": _reduction("ReduceProd"),
        "REDUCE_ANY": _any,
        "REDUCE_ALL": _reduction("ReduceMin"),
        "LESS": _plain("Less"),
        "LESS_EQUAL": _plain("LessOrEqual"),
        "GREATER": _plain("Greater"),
        "GREATER_EQUAL": _plain("GreaterOrEqual"),
        "EQUAL": _plain("Equal"),
        "NOT_EQUAL": _not_equal,
        "LOGICAL_AND": _plain("And"),
        "LOGICAL_OR": _plain("Or"),
        "LOGICAL_NOT": _plain("Not"),
        "SELECT": _plain("Where"),
        "SELECT_V2": _plain("Where"),
    }
    | WINDOWS
    | RECURRENT
    | LOOPS
)
