"""Functions and operators of TensorFlow between the layers of a tf.keras network, as its files record them.

TensorFlow 2.4 to 2.15 write a layer TFOpLambda (SlicingOpLambda for x[...]), named after the function, its
arguments in the node; TensorFlow before 2.4 writes TensorFlowOpLayer, which holds one operator of a
TensorFlow graph (Keras 2: layers/core/tf_op_layer.py, engine/base_layer.py).
"""

from __future__ import annotations

from ...errors import ModelFileError, RnnrtError, UnsupportedModelError
from ..axes.sizes import Size
from ..operators.table import Word, harmless, only, rest, takes, vocabulary
from .algebra import Algebra

_NAME = harmless("name")


def _numbers(operator, first="x", *more, **fixed):
    """A function of one tensor."""
    return Word(operator, takes("x|features|input|value|logits|tensor", first), *more, *_NAME, **fixed)


def _pair(operator):
    return Word(operator, takes("x|a", "a"), takes("y|b", "b"), *_NAME)


def _reduction(operator, **fixed):
    reduced = takes("axis|reduction_indices", "axes", None), takes("keepdims|keep_dims", "keep", False)
    return Word(operator, takes("input_tensor", "x"), *reduced, *_NAME, **fixed)


def _over(operator):
    return Word(operator, takes("logits", "x"), takes("axis", "axis", -1), *_NAME)


def _gelu(x, approximate):
    return {"x": x, "approximation": "tanh" if approximate else "none"}


def _size_list(x, times):
    return {"x": x, "times": tuple(times) if isinstance(times, (list, tuple)) else (times,)}


#: The functions by their names in a file; "raw." before the operators of a graph that have no function alike.
WORDS = vocabulary(
    {
        "__operators__.add math.add add": _pair("add"),
        "math.subtract subtract": _pair("subtract"),
        "math.multiply multiply": _pair("multiply"),
        "math.truediv math.divide divide truediv realdiv": _pair("divide"),
        "math.pow pow": _pair("power"),
        "math.maximum maximum": _pair("maximum"),
        "math.minimum minimum": _pair("minimum"),
        "math.greater greater": _pair("greater"),
        "math.greater_equal greater_equal": _pair("greater_equal"),
        "math.less less": _pair("less"),
        "math.less_equal less_equal": _pair("less_equal"),
        "__operators__.eq math.equal equal": _pair("equal"),
        "__operators__.ne math.not_equal not_equal": _pair("not_equal"),
        "math.logical_and logical_and": _pair("logical_and"),
        "math.logical_or logical_or": _pair("logical_or"),
        "math.logical_not logical_not": _numbers("logical_not"),
        "math.negative negative": _numbers("negate"),
        "math.abs abs": _numbers("abs"),
        "math.square square": _numbers("square"),
        "math.sqrt sqrt": _numbers("sqrt"),
        "math.rsqrt": _numbers("root_reciprocal"),
        "math.reciprocal": _numbers("reciprocal"),
        "math.exp exp": _numbers("exponential"),
        "math.expm1": _numbers("exponential_less_one"),
        "math.log": _numbers("log"),
        "math.log1p": _numbers("log_of_one_more"),
        "math.sin sin": _numbers("sin"),
        "math.cos cos": _numbers("cos"),
        "math.erf": _numbers("erf"),
        "math.sign sign": _numbers("sign"),
        "math.tanh tanh nn.tanh": _numbers("tanh"),
        "math.sigmoid sigmoid nn.sigmoid": _numbers("sigmoid"),
        "math.log_sigmoid": _numbers("log_sigmoid"),
        "nn.relu": _numbers("relu"),
        "nn.relu6": _numbers("clip", low=0.0, high=6.0),
        "nn.selu": _numbers("selu"),
        "nn.elu": _numbers("elu", alpha=1.0),
        "nn.leaky_relu": _numbers("leaky_relu", "x", takes("alpha", "slope", 0.2)),
        "nn.gelu": Word(
            "gelu", takes("features", "x"), takes("approximate", "approximate", False), *_NAME, prepare=_gelu
        ),
        "nn.silu nn.swish": _numbers("silu", "x", only("beta", 1.0)),
        "math.softplus nn.softplus": _numbers("softplus"),
        "nn.softsign math.softsign": _numbers("softsign"),
        "nn.softmax math.softmax": _over("softmax"),
        "nn.log_softmax math.log_softmax": _over("log_softmax"),
        "math.reduce_sum reduce_sum": _reduction("reduce_sum"),
        "math.reduce_mean reduce_mean": _reduction("reduce_mean"),
        "math.reduce_max reduce_max": _reduction("reduce_max"),
        "math.reduce_min reduce_min": _reduction("reduce_min"),
        "math.reduce_std": _reduction("deviation", correction=0),
        "math.reduce_variance": _reduction("variance", correction=0),
        "math.reduce_logsumexp reduce_logsumexp": _reduction("log_sum_exp"),
        "math.cumsum cumsum": Word(
            "cumulative_sum",
            takes("x"),
            takes("axis", "axis", 0),
            only("exclusive", False),
            only("reverse", False),
            *_NAME,
        ),
        "concat": Word("concat", takes("values", "tensors"), takes("axis"), *_NAME),
        "stack": Word("stack", takes("values", "tensors"), takes("axis", "axis", 0), *_NAME),
        "unstack": Word("unbind", takes("value", "x"), *harmless("num"), takes("axis", "axis", 0), *_NAME),
        "expand_dims": Word("unsqueeze", takes("input", "x"), takes("axis"), *_NAME),
        "squeeze compat.v1.squeeze": Word(
            "squeeze", takes("input", "x"), takes("axis|squeeze_dims", "axes"), *_NAME
        ),
        "transpose compat.v1.transpose": Word(
            "permute", takes("a", "x"), takes("perm", "order"), only("conjugate", False), *_NAME
        ),
        "cast": Word("cast", takes("x"), takes("dtype", "type"), *_NAME),
        "where": Word("where", takes("condition"), takes("x", "a"), takes("y", "b"), *_NAME),
        "clip_by_value": Word(
            "clip",
            takes("t", "x"),
            takes("clip_value_min", "low"),
            takes("clip_value_max", "high"),
            *_NAME,
        ),
        "identity stop_gradient": _numbers("identity"),
        "repeat": Word("repeat_each", takes("input", "x"), takes("repeats", "times"), takes("axis"), *_NAME),
        "tile": Word("tile", takes("input", "x"), takes("multiples", "times"), *_NAME, prepare=_size_list),
        "reverse": Word("flip", takes("tensor", "x"), takes("axis", "axes"), *_NAME),
        "einsum": Word("einsum", takes("equation"), rest("inputs", "tensors"), *_NAME),
    }
)


def _matmul(do, a, b, transpose_a=False, transpose_b=False, name=None):
    turned = lambda x, told: do("transpose", x=x, first=-1, second=-2) if told else x
    return do("matmul", a=turned(a, transpose_a), b=turned(b, transpose_b))


def _add_n(do, inputs, name=None):
    made, *others = inputs
    for other in others:
        made = do("add", a=made, b=other)
    return made


def _squared_difference(do, x, y, name=None):
    return do("square", x=do("subtract", a=x, b=y))


def _reshape(do, tensor, shape, name=None):
    """-1 in front is the batch."""
    first, *others = shape
    front = Size(("b",)) if first == -1 and tensor.axes[:1] == ("b",) else first
    return do("reshape", x=tensor, shape=(front, *others))


def _split(do, value, num_or_size_splits, axis=0, num=None, name=None):
    if isinstance(num_or_size_splits, int):
        size = do("shape", x=value, axis=axis)
        if not isinstance(size, int) or num_or_size_splits < 1 or size % num_or_size_splits:
            raise UnsupportedModelError("features are split into equal parts", found=str(num_or_size_splits))
        num_or_size_splits = [size // num_or_size_splits] * num_or_size_splits
    return do("split", x=value, sizes=list(num_or_size_splits), axis=axis)


def _unit(do, x, axis=None, epsilon=1e-12, name=None, dim=None):
    """The norm's square is bounded by epsilon."""
    total = do("reduce_sum", x=do("square", x=x), axes=axis if dim is None else dim, keep=True)
    return do("multiply", a=x, b=do("root_reciprocal", x=do("clip", x=total, low=float(epsilon))))


def _like(value):
    def make(do, input, dtype=None, name=None, optimize=True):
        if dtype not in (None, "float32"):
            raise UnsupportedModelError(f"dtype={dtype} is not supported", expected="float32")
        none = do("multiply", a=input, b=0.0)
        return do("add", a=none, b=value) if value else none

    return make


#: Those that are several operators: f(do, arguments as TensorFlow has them).
_SEVERAL = {
    "linalg.matmul": _matmul,
    "math.add_n": _add_n,
    "math.squared_difference": _squared_difference,
    "reshape": _reshape,
    "split": _split,
    "math.l2_normalize": _unit,
    "nn.l2_normalize": _unit,
    "zeros_like": _like(0.0),
    "ones_like": _like(1.0),
}

#: What a graph calls its operators (TensorFlowOpLayer): the function, and the names of its inputs in order.
_GRAPH = {
    **dict.fromkeys(("Add", "AddV2"), ("math.add", "x", "y")),
    **{
        name: (f"math.{word}", "x", "y")
        for name, word in {
            "Sub": "subtract",
            "Mul": "multiply",
            "RealDiv": "truediv",
            "Pow": "pow",
            "Maximum": "maximum",
            "Minimum": "minimum",
            "Greater": "greater",
            "Less": "less",
            "GreaterEqual": "greater_equal",
            "LessEqual": "less_equal",
            "SquaredDifference": "squared_difference",
        }.items()
    },
    **{
        name: (f"math.{name.lower()}", "x")
        for name in ("Abs", "Square", "Sqrt", "Rsqrt", "Reciprocal", "Exp", "Expm1", "Log", "Log1p", "Sin")
        + ("Cos", "Erf", "Sign", "Tanh", "Sigmoid", "Softplus", "Softsign")
    },
    "Neg": ("math.negative", "x"),
    "Relu": ("nn.relu", "x"),
    "Relu6": ("nn.relu6", "x"),
    "Elu": ("nn.elu", "x"),
    "Selu": ("nn.selu", "x"),
    "Softmax": ("nn.softmax", "logits"),
    "Identity": ("identity", "x"),
    **{
        name: (f"math.reduce_{name.lower()}", "input_tensor", "axis")
        for name in ("Sum", "Mean", "Max", "Min")
    },
    "ExpandDims": ("expand_dims", "input", "axis"),
    "Squeeze": ("squeeze", "input"),
    "Reshape": ("reshape", "tensor", "shape"),
    "Transpose": ("transpose", "a", "perm"),
    "ConcatV2": ("concat", ..., "axis"),
    "BatchMatMulV2": ("linalg.matmul", "a", "b"),
    "StridedSlice": ("__operators__.getitem", "x", "begin", "end", "strides"),
}
#: Attributes of those operators: what they say of the function, None where nothing depends on them.
_ATTRIBUTES = {
    "T": None,
    "Tidx": None,
    "Tdim": None,
    "Tshape": None,
    "Tperm": None,
    "N": None,
    "Index": None,
    "keep_dims": "keepdims",
    "squeeze_dims": "axis",
    "adj_x": "transpose_a",
    "adj_y": "transpose_b",
    **{f"{m}_mask": f"{m}_mask" for m in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")},
}


def tensorflow(context, *references):
    """A layer TFOpLambda, SlicingOpLambda or TensorFlowOpLayer."""
    algebra, left = Algebra(context, references), iter(range(len(references)))

    def filled(value):
        if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
            return algebra.inputs[next(left)]
        if isinstance(value, (list, tuple)):
            return tuple(map(filled, value))
        if isinstance(value, dict) and value.keys() == {"start", "stop", "step"}:
            return slice(*value.values())
        if isinstance(value, dict) and value.get("class_name") in ("__ellipsis__", "__tuple__"):
            return ... if value["class_name"] == "__ellipsis__" else tuple(map(filled, value["items"]))
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        raise UnsupportedModelError(f"is called with {str(value)[:80]}", where=context.layer.where)

    word = context.layer.config.get("function", context.layer.class_name)
    try:
        if context.layer.class_name == "TensorFlowOpLayer":
            word, positional, named = _of_graph(context, algebra.inputs)
        else:
            word = context.config.text("function")
            positional = [filled(a) for a in context.arguments]
            named = {k: filled(v) for k, v in context.options.items()}
            if any(True for _ in left):
                raise ModelFileError("its arguments are not understood", where=context.layer.where)
        made = _called(algebra, word, positional, named)
    except RnnrtError as error:
        raise error if error.where else error.at(f"{context.layer.where}: tf.{word}")
    except (TypeError, ValueError, LookupError, AttributeError) as error:  # arguments of another kind
        raise UnsupportedModelError(
            f"tf.{word} is not supported with these arguments",
            where=context.layer.where,
            found=str(error)[:160],
        ) from error
    return [algebra.answer(m) for m in (made if isinstance(made, (list, tuple)) else [made])]


def _called(algebra, word, positional, named):
    if word == "__operators__.getitem":
        (x,), index = positional, named["slice_spec"]
        return algebra.do("item", x=x, index=index)
    if word in _SEVERAL:
        return _SEVERAL[word](algebra.do, *positional, **named)
    own = WORDS[word]
    return own.lower(algebra.net, f"tf.{word}", own.bind(f"tf.{word}", positional, named))


def is_known(layer):
    """Whether the function of a TFOpLambda, or the operator of a TensorFlowOpLayer, is read."""
    if layer.class_name == "TensorFlowOpLayer":
        node = layer.config.get("node_def")
        return isinstance(node, dict) and node.get("op") in _GRAPH
    word = layer.config.get("function")
    return isinstance(word, str) and (word in WORDS or word in _SEVERAL or word == "__operators__.getitem")


def _of_graph(context, tensors):
    """(function, its positional arguments, its named ones) of an operator of a TensorFlow graph."""
    node, where = context.config.value("node_def"), context.layer.where
    constants = context.config.value("constants", {})
    word, *names = _GRAPH[node["op"]]
    inputs = [name for name in node.get("input") or () if not str(name).startswith("^")]
    attributes = node.get("attr") or {}
    if not isinstance(constants, dict) or not isinstance(attributes, dict) or not inputs:
        raise ModelFileError("node_def is not understood", where=where)
    left, values = iter(tensors), []
    for place in range(len(inputs)):
        given = constants.get(str(place))
        values.append(_plain(given) if given is not None else next(left, None))
    if any(v is None for v in values) or next(left, None) is not None:
        raise ModelFileError("the inputs of node_def are not those of the layer", where=where)
    named = {}
    for key, value in attributes.items():
        if key not in _ATTRIBUTES and not key.startswith("_"):
            raise UnsupportedModelError(f"the attribute {key} of {node['op']} is not known", where=where)
        if _ATTRIBUTES.get(key):
            named[_ATTRIBUTES[key]] = _attribute(value, where)
    if names[0] is ...:
        return word, [tuple(values[:-1])], {names[1]: values[-1]} | named
    if len(values) != len(names):
        raise ModelFileError("node_def has another number of inputs", where=where, found=str(len(values)))
    if word == "__operators__.getitem":
        return word, values[:1], {"slice_spec": _slices(*values[1:], **named, where=where)}
    if named.get("axis") == ():
        raise UnsupportedModelError(
            "squeeze without an axis drops the batch axis of a batch of one", where=where
        )
    return word, [], dict(zip(names, values)) | named


def _plain(value):
    return tuple(map(_plain, value)) if isinstance(value, (list, tuple)) else value


def _attribute(value, where):
    """The value of an attribute in the JSON of a node: {"b": true}, {"i": "3"}, {"list": {"i": [...]}}."""
    if not isinstance(value, dict) or len(value) > 1:
        raise ModelFileError("an attribute of node_def is not understood", where=where, found=str(value)[:80])
    if not value:
        return False
    ((kind, own),) = value.items()
    if kind == "list":
        return tuple(int(n) for n in (own or {}).get("i", ()))
    return int(own) if kind == "i" else own


def _slices(begin, end, strides, *, where, **masks):
    """The index that a StridedSlice takes."""
    masks = {name: int(value or 0) for name, value in masks.items()}
    made = []
    for k, (start, stop, step) in enumerate(zip(begin, end, strides, strict=True)):
        bit = lambda name, k=k: masks.get(f"{name}_mask", 0) >> k & 1
        if bit("ellipsis"):
            made.append(...)
        elif bit("new_axis"):
            made.append(None)
        elif bit("shrink_axis"):
            made.append(int(start))
        else:
            made.append(slice(None if bit("begin") else start, None if bit("end") else stop, step))
    return tuple(made)


#: The layers -> f(context, references).
TENSORFLOW = dict.fromkeys(("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer"), tensorflow)
