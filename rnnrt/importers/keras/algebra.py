"""Keras's layers and keras.ops functions that are operators of the table every source shares
(importers/operators): broadcasting merges, reductions, slices, norms and attention to one frame.

Keras's axes are the graph's own: batch, time, features. A sequence of one frame stands for any number of
them.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ... import layers
from ...errors import ModelFileError, UnsupportedModelError
from ...layers import Function
from ..axes import slots
from ..axes.scores import Scores
from ..axes.sizes import Clock
from ..axes.slots import Slots
from ..axes.values import Constant, Network, Tensor
from ..operators.table import apply
from .masks import merging

ADVICE = {
    "length": "Give the model's input a fixed length.",
    "truth": 'Make numbers of them first: keras.ops.cast(x, "float32").',
    "bits": "Use keras.ops.logical_not, logical_and, logical_or or logical_xor.",
}


class Algebra:
    """The operators over one layer's inputs. ``inputs``: the tensors it was called with."""

    def __init__(self, context, references):
        self.context = context
        self.net = Network(ADVICE)
        self.net.builder, self.net.name = context.builder, context.name
        self.inputs = [self.tensor(r) for r in references]

    def tensor(self, reference):
        if isinstance(reference, Scores):
            return reference
        if isinstance(reference, (Tensor, Slots)):  # another function's, its frames counted anew
            if reference.clock is None:
                return reference
            one = self.context.builder.signal(reference.references[0]).length == 1
            clock = Clock("", 1, 0) if one else Clock("the input")
            self.net.sequences.setdefault(clock, reference.references[0])
            return dataclasses.replace(reference, clock=clock)
        signal = self.context.builder.signal(reference)
        if len(signal.features) > 1:
            return self._frames(reference, signal)
        axes = ("b", *("t" * signal.time), *("f" * len(signal.features)))
        clock = Clock("", 1, 0) if signal.length == 1 else Clock("the input")
        x = self.net.tensor(reference, axes, clock if signal.time else None)
        return dataclasses.replace(x, truth=reference in self.context.truths)

    def _frames(self, reference, signal):
        """Frames of several axes; a sequence of one frame has an axis of size one in time's place."""
        axes = ("b", *("t" * signal.time), *("n" * len(signal.features)))
        places = np.arange(signal.width).reshape((1,) * (1 + signal.time) + signal.features)
        clock = Clock("the input") if signal.time else None
        if clock:
            self.net.sequences.setdefault(clock, reference)
        x = Slots(axes, places, (reference,), (signal.width,), clock)
        return slots.timeless(self.net, x) if signal.length == 1 else x

    def do(self, operator, **arguments):
        try:
            return apply(self.net, operator, **arguments)
        except UnsupportedModelError as error:
            raise error.at(self.context.layer.where)

    def answer(self, x):
        """What a function gives: a reference, or a Pending where the tensor has axes that only another
        function may read."""
        if isinstance(x, Scores):
            return Pending(self, x)
        if isinstance(x, Slots):
            odd = x.axes[:2] != ("b", "t") or "t" in x.axes[2:]
        else:
            odd = "1" in x.axes or list(x.axes) not in (["b"], ["b", "t"], ["b", "f"], ["b", "t", "f"])
        return Pending(self, x) if odd else self.reference(x)

    def reference(self, x):
        """A tensor as Keras has it: its axes batch, time, features in this order."""
        if isinstance(x, Scores):
            raise x.as_an_answer(ADVICE["length"]).at(self.context.layer.where)
        reference = self._reference(x)
        if isinstance(x, Tensor) and x.truth:
            self.context.truths.add(reference)
        elif reference in self.context.truths:  # the same numbers, and no longer truth values
            reference = self.net.add(layers.Activation, reference, activation="linear")
        return reference

    def _reference(self, x):
        if isinstance(x, Slots) and x.axes.count("n") < 2:
            x = slots.tensor_of(self.net, x)
        if isinstance(x, Slots):
            return self._of_frames(x)
        x = self.net.single(x)
        if "s" in x.axes:
            return self._of_frames(slots.slots_of(self.net, x))
        axes, reference = [a for a in x.axes if a != "1"], x.reference
        ones = [k for k, a in enumerate(x.axes) if a == "1"]
        if axes == ["b", "t", "f"] and ones and x.axes[:2] == ("b", "t"):
            return self._of_frames(slots.slots_of(self.net, x))
        if axes not in (["b"], ["b", "t"], ["b", "f"], ["b", "t", "f"]) or len(ones) > 1:
            raise self._out_of_order(x)
        if not ones:
            return reference
        if "f" in axes and "t" not in axes and ones == [1]:  # one frame
            return self.net.add(layers.Unflatten, reference, length=1)
        if axes == ["b", "f"] and ones == [2]:  # frames of one feature
            return self.net.add(layers.Unflatten, reference, length=self.net.signal(x).width)
        if "f" not in axes and ones == [len(x.axes) - 1]:  # one feature
            return self.net.add(layers.Reshape, reference, features=(1,))
        raise UnsupportedModelError(
            "a further axis is not supported", where=self.context.layer.where, found=str(x)
        )

    def _of_frames(self, x):
        """Frames of several axes; without time the first of them is that of a sequence of fixed length."""
        if x.axes[0] != "b" or "b" in x.axes[1:] or "t" in x.axes[2:]:
            raise self._out_of_order(x)
        reference = slots.picked(self.net, x)
        if x.axes[1] != "t":
            reference = self.net.add(layers.Unflatten, reference, length=x.places.shape[1])
        features = x.places.shape[2:]
        return reference if len(features) == 1 else self.net.add(layers.Reshape, reference, features=features)

    def _out_of_order(self, x):
        return UnsupportedModelError(
            "answers with its axes in another order than layers read them",
            where=self.context.layer.where,
            expected="(batch, time, features) or (batch, features)",
            found=str(x),
            fix="Keep the batch first: add a new axis behind it, ops.expand_dims(x, 1), and take x[:, 0] in "
            "the place of x[0].",
        )

    def real(self, mask, x, other):
        """``x`` where its mask is real, else the other."""
        if not mask or mask.real:
            return x
        told = self.tensor(self.context.mask_values.wide(mask.reference(), 1))
        return self.do("where", condition=told, a=x, b=other)


@dataclasses.dataclass(eq=False)
class Pending:
    """A tensor that is not yet a reference."""

    algebra: Algebra
    tensor: Tensor

    def reference(self):
        return self.algebra.reference(self.tensor)


def merged(context, operator, *references):
    """Two inputs or more, one after the other, through an operator of two. Frames of several axes go through
    as rows of numbers, where none is broadcast.
    """
    signals = [context.builder.signal(x) for x in references]
    features = signals[0].features
    alike = all((s.features, s.time) == (features, signals[0].time) for s in signals)
    if len(features) > 1 and alike and context.truths.isdisjoint(references):
        row = (signals[0].width,)
        rows = [
            context.add(layers.Reshape, x, suffix=f".row_{k}", features=row) for k, x in enumerate(references)
        ]
        return context.add(
            layers.Reshape, merged(context, operator, *rows), suffix=".frames", features=features
        )
    algebra = Algebra(context, references)
    made = algebra.inputs[0]
    for x in algebra.inputs[1:]:
        made = algebra.do(operator, a=made, b=x)
    return algebra.reference(made)


def over_time(context, *references):
    """Sequences of fixed lengths, one behind the other."""
    algebra = Algebra(context, references)
    return algebra.reference(algebra.do("concat", tensors=tuple(algebra.inputs), axis=1))


def prelu_of_frames(context, x, alpha):
    """PReLU whose slopes are those of every frame of a fixed number: alpha (time, features)."""
    algebra = Algebra(context, (x,))
    (own,) = algebra.inputs
    below = algebra.do("multiply", a=algebra.do("clip", x=own, high=0.0), b=Constant("alpha", alpha))
    return algebra.reference(algebra.do("add", a=algebra.do("relu", x=own), b=below))


def layer_norm_of_frames(context, x, axes, gamma, beta, epsilon):
    """A layer norm of a sequence over time, or over time and features; gamma and beta have the sizes of
    ``axes``, None where there is none.
    """
    algebra = Algebra(context, (x,))
    do, (own,) = algebra.do, algebra.inputs
    over = tuple(axes)
    less = do("subtract", a=own, b=do("reduce_mean", x=own, axes=over, keep=True))
    variance = do("reduce_mean", x=do("square", x=less), axes=over, keep=True)
    made = do("multiply", a=less, b=do("root_reciprocal", x=do("add", a=variance, b=epsilon)))
    for operator, role, array in (("multiply", "gamma", gamma), ("add", "beta", beta)):
        if array is not None:
            shaped = array if len(axes) > 1 else array[:, None]
            made = do(operator, a=made, b=Constant(role, shaped))
    return algebra.reference(made)


def _extreme_of(operator):
    """The greatest or the least of several inputs. Keras from 3.4 on: at a masked frame an input counts as
    what there is of those before it, or of the one behind.
    """

    def build(context, *references):
        masks = [*context.masks, *[None] * len(references)][: len(references)]
        if not any(m and not m.real for m in masks) or merging(context.version, context.layer.where) != "any":
            return merged(context, operator, *references)
        algebra = Algebra(context, references)
        made, before = algebra.inputs[0], masks[0]
        for k, (x, mask) in enumerate(zip(algebra.inputs[1:], masks[1:])):
            x = algebra.real(mask, x, made)
            made = algebra.do(operator, a=algebra.real(before, made, x), b=x)
            both = [before, mask] if before and mask else None
            before = both and context.mask_values.joined(f"{context.name}.{k}", both, every=False)
        return algebra.reference(made)

    return build


def _dot(context, a, b):
    """The sum of products over one axis of each, of unit vectors where ``normalize``."""
    algebra = Algebra(context, (a, b))
    axes = context.config.integers("axes")
    axes = axes * 2 if len(axes) == 1 else axes
    places = [
        x.axis(n) if isinstance(x, Scores) else algebra.net.axis(x, n) for x, n in zip(algebra.inputs, axes)
    ]
    tensors = list(algebra.inputs)
    if context.config.flag("normalize", False):
        tensors = [
            algebra.do("unit_norm", x=x, order=2, axes=p, epsilon=1e-6) for x, p in zip(tensors, places)
        ]
    words = [
        ["b" if k == 0 else "k" if k == p else f"{'xy'[n]}{k}" for k in range(len(x.axes))]
        for n, (x, p) in enumerate(zip(tensors, places))
    ]
    letters, names = {}, iter("cdefghij")
    spelled = [
        "".join(w if len(w) == 1 else letters.setdefault(w, next(names)) for w in own) for own in words
    ]
    output = "b" + "".join(c for own in spelled for c in own if c not in "bk")
    made = algebra.do("einsum", equation=f"{','.join(spelled)}->{output}", tensors=tuple(tensors))
    if len(output) == 1:  # Keras keeps an axis
        made = algebra.do("unsqueeze", x=made, axis=1)
    return Pending(algebra, made) if isinstance(made, Scores) else algebra.reference(made)


def scores_through(context, x, function):
    """Scores through an activation: "softmax" of the last axis, or a Function of each."""
    algebra = Algebra(context, (x,))
    if function == "softmax":
        return algebra.answer(algebra.do("softmax", x=x, axis=-1))
    values = dict(zip(layers.FUNCTIONS[function.name], function.parameters))
    return algebra.answer(algebra.do(function.name, x=x, **values))


def _relu(context, x):
    """ReLU(max_value, negative_slope, threshold): x above the threshold, slope · (x - threshold) below, at
    most max_value.
    """
    config = context.config
    top, slope, floor = (config.number(o, None) or 0.0 for o in ("max_value", "negative_slope", "threshold"))
    bounded = config.number("max_value", None) is not None
    if not floor and not (bounded and slope):  # one function
        function = Function("leaky_relu", (slope,)) if slope else Function("relu")
        function = Function("clipped_relu", (top,)) if bounded else function
        return context.add(layers.Activation, x, activation=function)
    algebra = Algebra(context, (x,))
    (own,) = algebra.inputs
    below = algebra.do("multiply", a=algebra.do("subtract", a=own, b=floor), b=slope)
    above = algebra.do("greater", a=own, b=floor)
    made = algebra.do("where", condition=above, a=own, b=below if slope else 0.0)
    return algebra.reference(algebra.do("clip", x=made, high=top) if bounded else made)


def _softmax(context, x):
    """Over the last axis, or over time."""
    algebra = Algebra(context, (x,))
    axes = context.config.integers("axis", -1)
    if len(axes) != 1:
        raise context.config.unsupported("axis", axes, "one axis")
    if context.mask:
        raise UnsupportedModelError(
            "a softmax whose input has a mask is not supported",
            where=context.layer.where,
            found=f"the mask of {context.masks[0].where}",
        )
    return algebra.answer(algebra.do("softmax", x=algebra.inputs[0], axis=axes[0]))


def _up_sampling1d(context, x):
    algebra = Algebra(context, (x,))
    made = algebra.do("repeat_each", x=algebra.inputs[0], times=context.config.integer("size", 2), axis=1)
    return algebra.reference(made)


def _constant(algebra, role, size):
    return Constant(role, algebra.context.array(role, size))


def _group_normalization(context, x):
    algebra = Algebra(context, (x,))
    context.last_axis(x)
    width = context.width(x)
    groups = context.config.integer("groups", 32)
    scale, offset = (
        _constant(algebra, role, width) if context.config.flag(option, True) else None
        for role, option in (("gamma", "scale"), ("beta", "center"))
    )
    (own,) = algebra.inputs  # all frames count, masked ones too
    timed = own.axes == ("b", "t", "f")
    if timed:
        own = algebra.do("transpose", x=own, first=1, second=2)
    epsilon = context.config.number("epsilon", 1e-3)
    groups = width if groups == -1 else groups
    made = algebra.do("group_norm", x=own, groups=groups, scale=scale, offset=offset, epsilon=epsilon)
    return algebra.reference(algebra.do("transpose", x=made, first=1, second=2) if timed else made)


def _rms_normalization(context, x):
    algebra = Algebra(context, (x,))
    context.last_axis(x)
    width = context.width(x)
    scale = _constant(algebra, "scale", width)
    epsilon = context.config.number("epsilon", 1e-6)
    made = algebra.do("rms_norm", x=algebra.inputs[0], size=width, scale=scale, epsilon=epsilon)
    return algebra.reference(made)


def _unit_normalization(context, x):
    algebra = Algebra(context, (x,))
    context.config.only("order", 2)
    axes = context.config.integers("axis", -1)
    squares = algebra.do("square", x=algebra.inputs[0])
    size = algebra.do("reduce_sum", x=squares, axes=tuple(axes), keep=True)
    size = algebra.do("clip", x=size, low=1e-12)  # Keras bounds the square of the norm
    return algebra.reference(
        algebra.do("multiply", a=algebra.inputs[0], b=algebra.do("root_reciprocal", x=size))
    )


def _normalization(context, x):
    """(x - mean) / max(sqrt(variance), 1e-7), feature by feature."""
    context.last_axis(x)
    width, inverted = context.width(x), context.config.flag("invert", False)
    told = [context.config.value(name, None) for name in ("mean", "variance")]
    if told[0] is None:
        told = [context.array(name, width) for name in ("mean", "variance")]
        context.arrays.get("count")
    mean, variance = (np.broadcast_to(np.asarray(v, np.float64).reshape(-1), width) for v in told)
    context.synthesize(2 * width)
    deviation = np.maximum(np.sqrt(variance), 1e-7)
    if inverted:
        return context.add(layers.Affine, x, scale=deviation, offset=mean)
    zero = context.add(layers.Affine, x, suffix=".centred", scale=np.ones(width), offset=-mean)
    return context.add(layers.Affine, zero, scale=1 / deviation, offset=np.zeros(width))


def _adaptive(operator):
    def build(context, x):
        context.channels_last()
        algebra = Algebra(context, (x,))
        own = algebra.do("transpose", x=algebra.inputs[0], first=1, second=2)
        made = algebra.do(operator, x=own, frames=context.config.integer("output_size"))
        return algebra.reference(algebra.do("transpose", x=made, first=1, second=2))

    return build


#: What Keras takes from the score of a masked frame.
_MASKED_SCORE = 1e9
_MIXED_UP = "Keras 3 before 3.12 takes the rows of a batch for its queries there"


class _Attention:
    """The scores of queries with keys, and the sums of the values with their softmax, as the layer's options
    say.
    """

    def __init__(self, context, references):
        self.context, self.algebra = context, Algebra(context, references)
        config, self.additive = context.config, context.layer.class_name == "AdditiveAttention"
        self.mode = "additive" if self.additive else config.text("score_mode", "dot")
        config.harmless("dropout", "seed")
        if self.mode not in ("dot", "concat", "additive"):
            raise config.unsupported("score_mode", self.mode, "dot or concat")
        self.scaled = config.flag("use_scale", self.additive)
        if config.flag("return_attention_scores", False):
            raise config.unsupported("return_attention_scores", True, "False")
        self.masks = [*context.masks, None, None][:2]
        told = self.masks[1] and not self.masks[1].real
        if told and (3,) <= context.version.number(_MIXED_UP, context.layer.where) < (3, 12):
            raise UnsupportedModelError(
                f"a mask of the values is not supported here: {_MIXED_UP}",
                where=context.layer.where,
                found=f"the mask of {self.masks[1].where}, Keras {context.version.text}",
                fix="Load the model with Keras 3.12 or later and save it again.",
            )

    def score(self, query, key, width):
        """Of the last axes of both."""
        do = self.algebra.do
        if self.mode == "dot":
            made = do("reduce_sum", x=do("multiply", a=query, b=key), axes=-1, keep=False)
            return self._times(made, "scale") if self.scaled else made
        made = do("add", a=query, b=key)
        if self.mode == "concat":
            made = do("tanh", x=self._times(made, "scale") if self.scaled else made)
            return self._times(do("reduce_sum", x=made, axes=-1, keep=False), "concat_score_weight")
        made = do("tanh", x=made)
        if self.scaled:
            made = do("multiply", a=made, b=_constant(self.algebra, "scale", width))
        return do("reduce_sum", x=made, axes=-1, keep=False)

    def _times(self, x, role):
        return self.algebra.do("multiply", a=x, b=float(self.context.array(role)))

    def flags(self, mask):
        """A mask as 1 and 0, (batch, time, 1); None where every frame is real."""
        if not mask or mask.real:
            return None
        return self.algebra.tensor(self.context.mask_values.wide(mask.reference(), 1))

    def less_masked(self, score, flags):
        """Scores of frames whose values are masked count no more."""
        do = self.algebra.do
        return do("add", a=score, b=do("multiply", a=do("subtract", a=flags, b=1.0), b=_MASKED_SCORE))

    def answer(self, made):
        flags = self.flags(self.masks[0])  # a masked query has no answer
        return self.algebra.reference(made if flags is None else self.algebra.do("multiply", a=made, b=flags))


def _of_every_query(attention, query, value, key):
    """Attention of a sequence of queries to one of keys."""
    do, net = attention.algebra.do, attention.algebra.net
    if attention.mode == "dot":
        score = do("einsum", equation="bqd,bkd->bqk", tensors=(query, key))
        score = attention._times(score, "scale") if attention.scaled else score
    else:
        apart = do("unsqueeze", x=query, axis=2), do("unsqueeze", x=key, axis=1)
        score = attention.score(*apart, net.signal(key).width)
    flags = attention.flags(attention.masks[1])
    if flags is not None:
        score = attention.less_masked(score, do("transpose", x=flags, first=1, second=2))
    weights = do("softmax", x=score, axis=-1)
    return attention.answer(do("einsum", equation="bqk,bkd->bqd", tensors=(weights, value)))


def _attention(context, query, value, key=None):
    """Weights from the scores of every query with every key, and the sums of the values with them."""
    attention = _Attention(context, (query, value, value if key is None else key))
    do, (query, value, key) = attention.algebra.do, attention.algebra.inputs
    if query.clock is None or query.clock.span != 1 or query.clock.stride:
        return _of_every_query(attention, query, value, key)
    score = do("unsqueeze", x=attention.score(query, key, context.width(key.reference)), axis=2)
    flags = attention.flags(attention.masks[1])
    score = score if flags is None else attention.less_masked(score, flags)
    weight = do("softmax", x=score, axis=1)
    return attention.answer(do("reduce_sum", x=do("multiply", a=weight, b=value), axes=1, keep=True))


def _multi_head_attention(context, query, value, key=None):
    """Attention in heads between four products of frames."""
    config, arrays = context.config, context.arrays
    heads, size = config.integer("num_heads"), config.integer("key_dim")
    values = config.integer("value_dim", size)
    config.harmless("dropout", "seed", "output_shape", "query_shape", "key_shape", "value_shape")
    config.only("use_gate", False)
    config.only("sliding_window", None)
    config.only("attention_axes", None, [1], (1,))
    config.only("flash_attention", None, False, True)
    biased = config.flag("use_bias", True)

    def product(x, part, *shape):
        kernel, bias = arrays.get(part, {}).get("kernel"), arrays.get(part, {}).get("bias")
        if np.shape(kernel) != shape and np.shape(kernel)[:-1] != shape or (bias is None) == biased:
            raise ModelFileError(
                f"the arrays of {part} do not fit the options",
                where=context.layer.where,
                expected=str(shape),
                found=str(np.shape(kernel)),
            )
        width = context.width(x)
        fields = {"weight": np.reshape(kernel, (width, -1)).T}
        fields |= {"bias": np.ravel(bias)} if biased else {}
        return context.add(layers.Dense, x, suffix=f".{part.removesuffix('_dense')}", **fields)

    if not all(context.builder.signal(x).time for x in (query, value)):
        raise UnsupportedModelError("is supported between sequences", where=context.layer.where)
    key = value if key is None else key
    rows = [
        product(query, "query_dense", context.width(query), heads, size),
        product(key, "key_dense", context.width(key), heads, size),
        product(value, "value_dense", context.width(value), heads, values),
    ]
    fields = {"heads": heads, "scale": size**-0.5}
    made = context.add(layers.Attention, *rows, suffix=".attention", **fields)
    return product(made, "output_dense", heads, values)


#: Those that read the scores of two sequences of open length.
OF_SCORES = ("Activation", "Dot", "Softmax")

#: Keras's layers -> f(context, references).
ALGEBRA = {
    "Maximum": _extreme_of("maximum"),
    "Minimum": _extreme_of("minimum"),
    "Dot": _dot,
    "ReLU": _relu,
    "Softmax": _softmax,
    "UpSampling1D": _up_sampling1d,
    "GroupNormalization": _group_normalization,
    "RMSNormalization": _rms_normalization,
    "UnitNormalization": _unit_normalization,
    "Normalization": _normalization,
    "AdaptiveAveragePooling1D": _adaptive("adaptive_average_pool"),
    "AdaptiveMaxPooling1D": _adaptive("adaptive_max_pool"),
    "Attention": _attention,
    "AdditiveAttention": _attention,
    "MultiHeadAttention": _multi_head_attention,
}
