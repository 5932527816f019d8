"""Functions of keras.ops, as functional files of Keras 3 record them and live classes call them: options and
arguments -> operators of the table that every source shares.
"""

from __future__ import annotations

from ... import layers
from ...errors import UnsupportedModelError
from ..axes.scores import VALUES
from ..axes.sizes import Size
from ..axes.values import Constant
from .algebra import Algebra


def _operands(context, references):
    """(the operators, the positional arguments of a call: tensors and what stands beside them)."""
    algebra = context.algebra(references) if context.algebra else Algebra(context, references)
    left = iter(algebra.inputs)

    def filled(argument):
        if isinstance(argument, (Constant, slice, type(...))):  # of a live call
            return argument
        if isinstance(argument, VALUES):
            return next(left)
        if isinstance(argument, dict) and argument.get("class_name") == "__keras_tensor__":
            return next(left)
        if isinstance(argument, dict) and argument.get("class_name") == "__slice__":
            bounds = argument.get("config")
            parts = [bounds.get(k) if isinstance(bounds, dict) else ... for k in ("start", "stop", "step")]
            if any(type(n) not in (int, type(None)) for n in parts):
                raise UnsupportedModelError("a slice must be made of numbers", where=context.layer.where)
            return slice(*parts)
        if isinstance(argument, dict) and argument.get("class_name") == "__ellipsis__":
            return ...
        if isinstance(argument, (list, tuple)):
            return tuple(map(filled, argument))
        if argument is None or type(argument) in (int, float):
            return argument
        raise UnsupportedModelError(f"is called with {str(argument)[:80]}", where=context.layer.where)

    arguments = [filled(a) for a in context.arguments] if context.arguments else algebra.inputs
    if any(True for _ in left):
        raise UnsupportedModelError("its arguments are not understood", where=context.layer.where)
    return algebra, arguments


def _options(context, names):
    """Options of the call that Keras keeps in the config, by the operator's names."""
    found = {}
    for name, argument in names.items():
        value = context.config.value(name, None)
        found[argument] = tuple(value) if isinstance(value, list) else value
    return found


def _operation(operator, *arguments, options=None, dropped=None, **fixed):
    """A function whose positional arguments are the operator's ``arguments``; ``options``: {its own name: the
    operator's} of what the config says; ``dropped``: options that must have this value.
    """

    def build(context, *references):
        algebra, given = _operands(context, references)
        if len(given) != len(arguments):
            raise UnsupportedModelError(
                "is called with other arguments than are known", where=context.layer.where
            )
        for name, value in (dropped or {}).items():
            context.config.only(name, value)
        named = dict(zip(arguments, given)) | _options(context, options or {}) | fixed
        return algebra.answer(algebra.do(operator, **named))

    return build


_REDUCED = {"axis": "axes", "keepdims": "keep"}


def _extreme(operator):
    def build(context, x):
        context.config.only("initial", None)
        return _operation(operator, "x", options=_REDUCED)(context, x)

    return build


def _gelu(context, x):
    approximation = "tanh" if context.config.flag("approximate", True) else "none"
    return _operation("gelu", "x", approximation=approximation)(context, x)


def _clip(context, x):
    algebra, (own,) = _operands(context, (x,))
    low, high = (context.config.number(name) for name in ("x_min", "x_max"))
    return algebra.answer(algebra.do("clip", x=own, low=low, high=high))


def _einsum(context, *references):
    algebra, tensors = _operands(context, references)
    equation = context.config.text("subscripts")
    return algebra.answer(algebra.do("einsum", equation=equation, tensors=tuple(tensors)))


def _concatenate(context, *references):
    algebra, given = _operands(context, references)
    tensors = given[0] if len(given) == 1 and isinstance(given[0], tuple) else tuple(given)
    axis = context.config.integer("axis", 0)
    return algebra.answer(algebra.do("concat", tensors=tensors, axis=axis))


def _split(context, x):
    """Equal parts, or parts that end where ``indices_or_sections`` says."""
    algebra, (own,) = _operands(context, (x,))
    told, axis = context.config.value("indices_or_sections"), context.config.integer("axis", 0)
    if isinstance(told, list):
        ends = [*told, algebra.net.sizes(own)[algebra.net.axis(own, axis)]]
        if any(type(n) is not int for n in ends) or sorted(ends) != ends:
            raise context.config.unsupported("indices_or_sections", told, "places in order, of features")
        parts = algebra.do("split", x=own, sizes=[b - a for a, b in zip([0, *ends], ends)], axis=axis)
    else:
        size = algebra.net.sizes(own)[algebra.net.axis(own, axis)]
        count = context.config.integer("indices_or_sections")
        if type(size) is not int or count < 1 or size % count:
            raise context.config.unsupported("indices_or_sections", count, f"equal parts of {size} features")
        parts = algebra.do("split", x=own, sizes=[size // count] * count, axis=axis)
    return [algebra.answer(p) for p in parts]


def _unstack(context, x):
    algebra, (own,) = _operands(context, (x,))
    context.config.harmless("num")
    return [algebra.answer(p) for p in algebra.do("unbind", x=own, axis=context.config.integer("axis", 0))]


def _flip(context, x):
    algebra, (own,) = _operands(context, (x,))
    return algebra.answer(algebra.do("flip", x=own, axes=context.config.integers("axis")))


def _stack(context, *references):
    algebra, given = _operands(context, references)
    tensors = given[0] if len(given) == 1 and isinstance(given[0], tuple) else tuple(given)
    return algebra.answer(algebra.do("stack", tensors=tensors, axis=context.config.integer("axis", 0)))


def _reshape(context, x):
    """-1 in front, or None, is the batch."""
    algebra, (own,) = _operands(context, (x,))
    shape = [-1 if n is None else n for n in context.config.value("newshape")]
    if shape[:1] == [-1] and own.axes[:1] == ("b",):
        shape[0] = Size(("b",))
    return algebra.answer(algebra.do("reshape", x=own, shape=tuple(shape)))


def _alike(value):
    """Zeros or ones of a tensor's shape."""

    def build(context, x):
        algebra, (own,) = _operands(context, (x,))
        context.config.only("dtype", None, "float32")
        context.config.only("sparse", None, False)
        none = algebra.do("multiply", a=own, b=0.0)
        return algebra.answer(algebra.do("add", a=none, b=value) if value else none)

    return build


def _same(context, x):
    algebra, (own,) = _operands(context, (x,))
    context.config.only("dtype", None, "float32")
    context.config.harmless("sparse", "ragged")
    return algebra.answer(own)


def _function(name, **parameters):
    """A function of one number with options. ``parameters``: {option: its default}."""

    def build(context, x):
        algebra, (own,) = _operands(context, (x,))
        told = tuple(float(context.config.number(o, v)) for o, v in parameters.items())
        own = algebra.do("identity", x=own)
        return algebra.answer(
            algebra.net.layered(own, layers.Activation, activation=layers.Function(name, told))
        )

    return build


def _transpose(context, x):
    algebra, (own,) = _operands(context, (x,))
    axes = context.config.integers("axes")
    return algebra.answer(algebra.do("permute", x=own, order=tuple(axes)))


def _normalize(context, x):
    """x / max(its norm over an axis, epsilon)."""
    algebra, (own,) = _operands(context, (x,))
    axis, epsilon = context.config.integers("axis", -1), context.config.value("epsilon", None)
    epsilon = 1e-7 if epsilon is None else float(epsilon)  # keras.config.epsilon()
    order = context.config.integer("order", 2)
    return algebra.answer(algebra.do("unit_norm", x=own, order=order, axes=tuple(axis), epsilon=epsilon))


def _two(operator):
    return _operation(operator, "a", "b")


#: keras.ops functions, by the names of Keras's classes of them -> f(context, references).
OPERATIONS = {
    "Add": _two("add"),
    "Subtract": _two("subtract"),
    "Multiply": _two("multiply"),
    "Divide": _two("divide"),
    "TrueDivide": _two("divide"),
    "Maximum": _two("maximum"),
    "Minimum": _two("minimum"),
    "Power": _two("power"),
    "Matmul": _two("matmul"),
    "LogicalAnd": _two("logical_and"),
    "LogicalOr": _two("logical_or"),
    "LogicalXor": _two("logical_xor"),
    "LogicalNot": _operation("logical_not", "x"),
    "BitwiseAnd": _two("bitwise_and"),
    "BitwiseOr": _two("bitwise_or"),
    "BitwiseXor": _two("bitwise_xor"),
    "BitwiseNot": _operation("bitwise_not", "x"),
    "BitwiseInvert": _operation("bitwise_not", "x"),
    "Cast": _operation("cast", "x", options={"dtype": "type"}),
    "Equal": _two("equal"),
    "Greater": _two("greater"),
    "GreaterEqual": _two("greater_equal"),
    "Less": _two("less"),
    "LessEqual": _two("less_equal"),
    "Where": _operation("where", "condition", "a", "b"),
    "Negative": _operation("negate", "x"),
    "GetItem": _operation("item", "x", "index"),
    "ExpandDims": _operation("unsqueeze", "x", options={"axis": "axis"}),
    "Squeeze": _operation("squeeze", "x", options={"axis": "axes"}),
    "Sum": _operation("reduce_sum", "x", options=_REDUCED),
    "Mean": _operation("reduce_mean", "x", options=_REDUCED),
    "Max": _extreme("reduce_max"),
    "Min": _extreme("reduce_min"),
    "Var": _operation("variance", "x", options=_REDUCED, correction=0),
    "Std": _operation("deviation", "x", options=_REDUCED, correction=0),
    "Logsumexp": _operation("log_sum_exp", "x", options=_REDUCED),
    "Softmax": _operation("softmax", "x", options={"axis": "axis"}),
    "LogSoftmax": _operation("log_softmax", "x", options={"axis": "axis"}),
    "Clip": _clip,
    "Einsum": _einsum,
    "Concatenate": _concatenate,
    "Transpose": _transpose,
    "Split": _split,
    "Unstack": _unstack,
    "Stack": _stack,
    "Reshape": _reshape,
    "ZerosLike": _alike(0.0),
    "OnesLike": _alike(1.0),
    "ConvertToTensor": _same,
    "Copy": _same,
    "StopGradient": _same,
    "Identity": _same,
    "NotEqual": _two("not_equal"),
    "Dot": _two("matmul"),
    "Swapaxes": _operation("transpose", "x", options={"axis1": "first", "axis2": "second"}),
    "Repeat": _operation("repeat_each", "x", options={"repeats": "times", "axis": "axis"}),
    "Flip": _flip,
    "Normalize": _normalize,
    "Tile": _operation("tile", "x", options={"repeats": "times"}),
    "Cumsum": _operation("cumulative_sum", "x", options={"axis": "axis"}, dropped={"dtype": None}),
    "LeakyRelu": _function("leaky_relu", negative_slope=0.2),
    "Elu": _function("elu", alpha=1.0),
    "Celu": _function("celu", alpha=1.0),
    "HardShrink": _function("hard_shrink", threshold=0.5),
    "SoftShrink": _function("soft_shrink", threshold=0.5),
    "HardTanh": _function("hard_tanh"),
    "Relu6": _operation("clip", "x", low=0.0, high=6.0),
    "Exp": _operation("exponential", "x"),
    "Expm1": _operation("exponential_less_one", "x"),
    "Log1p": _operation("log_of_one_more", "x"),
    "Rsqrt": _operation("root_reciprocal", "x"),
    "Absolute": _operation("abs", "x"),
    "Gelu": _gelu,
} | {
    name: _operation(operator, "x")
    for name, operator in {
        "Abs": "abs",
        "Log": "log",
        "Sqrt": "sqrt",
        "Square": "square",
        "Reciprocal": "reciprocal",
        "Sin": "sin",
        "Cos": "cos",
        "Erf": "erf",
        "Sign": "sign",
        "Tanh": "tanh",
        "Sigmoid": "sigmoid",
        "Relu": "relu",
        "Silu": "silu",
        "Softplus": "softplus",
        "Softsign": "softsign",
        "LogSigmoid": "log_sigmoid",
        "Mish": "mish",
        "Selu": "selu",
        "HardSigmoid": "hard_sigmoid",
        "HardSilu": "hard_silu",
    }.items()
}
