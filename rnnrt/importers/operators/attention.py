"""Attention between two sequences of open length: products or sums of every frame with every other, what is
done to these scores, and where they meet the values (see axes/scores.py).

What is made of scores elsewhere is refused: the graph has no place for them.
"""

from __future__ import annotations

import math
from dataclasses import replace
from string import ascii_lowercase

import numpy as np

from ...errors import UnsupportedModelError
from ...layers import FUNCTIONS, Affine, Attention, Function, Multiply
from ..axes.scores import Beside, Scores
from ..axes.slots import Slots, picked, slots_of, tensor_of
from ..axes.values import AxesError, Constant, Tensor
from .comparisons import logical_not, truth
from .table import OF_SCORES, OPERATORS, apply, operator

#: What may be added to a total that a softmax divides by: it is at least 1 where the greatest was taken off.
_LITTLE = 1e-6
#: A score whose exponential is nothing beside that of any other.
_NOTHING = -1e4
#: The least number there is: what is not above it is minus infinity.
_LEAST = float(np.finfo(np.float32).min)


def _refused(what, found, net):
    return UnsupportedModelError(what, found=str(found), fix=net.advice["length"])


# ---- scores of two sequences -------------------------------------------------------------------------------


def _open(x):
    """Whether a value is a sequence whose frames may meet those of another."""
    plain = isinstance(x, Slots) or (isinstance(x, Tensor) and not x.packed and not any(x.padding))
    return plain and x.axes.count("t") == 1 and x.axes.count("b") == 1


def scores_of_two(net, name, arguments):
    """A product or a sum of two sequences, of any lengths, every frame with every other."""
    tensors = arguments.get("tensors", (arguments.get("a"), arguments.get("b")))
    if len(tensors) != 2 or not all(map(_open, tensors)):
        return
    if name == "add":
        yield lambda: sums_of(net, *tensors)
    elif name == "subtract":
        yield lambda: sums_of(net, tensors[0], OPERATORS["negate"].lower(net, tensors[1]))
    elif name == "matmul":
        yield lambda: product_of(net, *_letters_of_product(*tensors), tensors)
    elif name == "einsum":
        inputs, _, output = str(arguments["equation"]).replace(" ", "").partition("->")
        yield lambda: product_of(net, inputs.split(","), output, tensors)


def _matrices(net, a, b):
    """The product of matrices, as scores where both are sequences."""
    if _open(a) and _open(b):
        return product_of(net, *_letters_of_product(a, b), (a, b))
    return apply(net, "matmul", a=a, b=b)


def _letters_of_product(a, b):
    """(letters of both, letters of the result) of a product of matrices, the last two axes of each."""
    rank = len(a.axes)
    if len(b.axes) != rank or rank < 3:
        raise AxesError("a product of scores needs as many axes on both sides", found=f"{a} and {b}")
    front = ascii_lowercase[: rank - 2]
    return [f"{front}yz", f"{front}zw"], f"{front}yw"


def product_of(net, letters, output, tensors):
    """The products of every frame of one with every frame of the other, as einsum's ``letters`` say."""
    both = [slots_of(net, x) for x in tensors]
    kinds = [dict(zip(own, x.axes)) for own, x in zip(letters, both)]
    if any(len(kind) != len(x.axes) for kind, x in zip(kinds, both)):
        raise AxesError("the letters do not fit the axes", found=f"{letters} of {both[0]} and {both[1]}")
    times = [next(c for c, a in kind.items() if a == "t") for kind in kinds]
    if times[0] == times[1] or not {*times} <= {*output}:
        raise AxesError("these are no scores of every frame with every other", found=f"{letters} -> {output}")
    summed = [c for c in letters[0] if c not in output]
    heads = [c for c in letters[0] if kinds[0][c] == "n" and c in output]
    shapes = [dict(zip(own, x.places.shape)) for own, x in zip(letters, both)]
    longer = [c for c in heads if shapes[0][c] > 1]
    fits = all({kinds[0].get(c), kinds[1].get(c)} == {"n"} for c in summed + heads)
    fits &= not any(kinds[1][c] == "n" and c not in summed + heads for c in letters[1])
    fits &= all(shapes[0][c] == shapes[1][c] for c in summed + heads) and len(longer) < 2
    fits &= [c for c, a in kinds[0].items() if a == "b"] == [c for c, a in kinds[1].items() if a == "b"]
    if not fits or not summed:
        raise AxesError("these are no scores of every frame with every other", found=f"{letters} -> {output}")
    named = {times[0]: "x", times[1]: "y", **{c: "h" if c in longer else "1" for c in heads}}
    rows = [_row(net, x, own, longer + summed) for x, own in zip(both, letters)]
    return Scores(
        tuple(named.get(c, "b") for c in output),
        dict(zip("xy", rows)),
        {"x": both[0].clock, "y": both[1].clock},
        heads=math.prod(shapes[0][c] for c in longer),
    )


def _row(net, x, letters, order):
    """The numbers of Slots as one row, those of the axes ``order`` in this order."""
    kept = [k for k, c in enumerate(letters) if c not in order]
    places = np.transpose(x.places, kept + [letters.index(c) for c in order])
    return picked(net, x.seen(("b", "t", "n"), places.reshape(1, 1, -1)))


def sums_of(net, a, b):
    """The sums of every frame of one, (batch, time, 1, features), with every frame of the other."""
    a, b = tensor_of(net, a), tensor_of(net, b)
    fits = a is not None and b is not None and len(a.axes) == len(b.axes)
    fits = fits and all("1" in pair or pair[0] == pair[1] != "t" for pair in zip(a.axes, b.axes))
    if not fits or "f" not in a.axes or a.axes.index("f") != b.axes.index("f") or a.axes[0] != "b":
        raise AxesError("these are no sums of every frame with every other", found=f"{a} and {b}")
    width = net.signal(a).width
    if net.signal(b).width != width:
        raise AxesError("the tensors have different numbers of features", found=f"{a} and {b}")
    named = ["x" if m == "t" else "y" if n == "t" else m for m, n in zip(a.axes, b.axes)]
    clocks = {"x": a.clock, "y": b.clock}
    return Scores(tuple(named), {"x": a.reference, "y": b.reference}, clocks, "sums", width=width)


# ---- what is done to them ----------------------------------------------------------------------------------


def of_scores(*names):
    """Registers what stands for operators where they are given Scores."""

    def register(function):
        OF_SCORES.update(dict.fromkeys(names, function))
        return function

    return register


@of_scores("identity", "cast")
def _same(net, x, **others):
    return x


@of_scores("dropout")
def _dropout(net, x, rate, active):
    if active:
        raise UnsupportedModelError("dropout is active after eval()")
    return x


@of_scores("transpose")
def _transpose(net, x, first, second):
    axes = list(x.axes)
    first, second = x.axis(first), x.axis(second)
    axes[first], axes[second] = axes[second], axes[first]
    return x.seen(axes)


@of_scores("permute")
def _permute(net, x, order):
    return x.seen([x.axes[x.axis(k)] for k in order])


@of_scores("unsqueeze")
def _unsqueeze(net, x, axis):
    axes = list(x.axes)
    axes.insert(axis % (len(axes) + 1), "1")
    return x.seen(axes)


@of_scores("squeeze")
def _squeeze(net, x, axes=None):
    if axes is None:
        raise _refused("name the axis that squeeze drops", x, net)
    places = {x.axis(k) for k in (axes if isinstance(axes, (tuple, list)) else [axes])}
    if any(x.axes[k] != "1" for k in places):
        raise _refused("squeeze can drop axes of size one alone here", x, net)
    return x.seen([a for k, a in enumerate(x.axes) if k not in places])


@of_scores("reshape")
def _reshape(net, x, shape):
    """To the same axes, or without those of size one."""
    kept = [(a, n) for a, n in zip(x.axes, x.sizes()) if a != "1"]
    axes = []
    for n in shape:
        if n == 1:
            axes.append("1")
        elif kept and n in (-1, None, kept[0][1]):
            axes.append(kept.pop(0)[0])
        else:
            raise _refused("scores cannot be shaped so", f"{shape} of {x}", net)
    if kept:
        raise _refused("scores cannot be shaped so", f"{shape} of {x}", net)
    return x.seen(axes)


@of_scores("shape")
def _shape(net, x, axis=None):
    return tuple(x.sizes()) if axis is None else x.sizes()[x.axis(axis)]


def _number(value):
    """A plain number, None of what is none."""
    if isinstance(value, Constant) and value.array.size == 1:
        return float(value.array.reshape(()))
    plain = isinstance(value, (int, float, np.floating, np.integer)) and not isinstance(value, bool)
    return float(value) if plain else None


def _vector(x, value):
    """A parameter of one number for every number of a pair, None of what is none."""
    if not isinstance(value, Constant) or x.stage != "sums" or value.array.ndim > len(x.axes):
        return None
    shape = (1,) * (len(x.axes) - value.array.ndim) + value.array.shape
    if shape != tuple(x.width if a == "f" else 1 for a in x.axes):
        return None
    return value.array.reshape(-1).astype(np.float64)


def _scaled(net, x, by):
    if x.stage == "sums" and x.activation is None and x.factor is None:
        return _rows_through(net, x, scale=by)
    if x.stage == "sums":
        factor = by * (np.ones(x.width) if x.factor is None else x.factor)
        return replace(x, factor=factor, root=object())
    beside = x.beside
    masked = beside is not None and beside.what == "mask"
    if masked and beside.value is not None:
        beside = beside._replace(value=beside.value * by)
    fits = beside is None or masked and (beside.value is not None or by > 0)
    if x.stage != "scores" or x.score_activation is not None or not fits:
        raise _refused("scores can be scaled before they are masked, and before a function of them", x, net)
    weight = None if x.weight is None else x.weight * by
    scaled = {"weight": weight, "bias": x.bias * by, "scale": x.scale * by, "beside": beside}
    return replace(x, **scaled, root=object())


def _rows_through(net, x, scale=1.0, offset=0.0):
    """Sums times a number or a number more: both sides are scaled, one has the more."""
    made = dict(x.references)
    for letter, more in (("x", offset), ("y", 0.0)):
        if not (np.all(np.equal(scale, 1.0)) and np.all(np.equal(more, 0.0))):
            fields = {"scale": np.broadcast_to(scale, x.width), "offset": np.broadcast_to(more, x.width)}
            made[letter] = net.add(Affine, made[letter], **fields)
    return replace(x, references=made, root=object())


@of_scores("multiply")
def _multiply(net, a, b):
    x, other = (a, b) if isinstance(a, Scores) else (b, a)
    if (number := _number(other)) is not None:
        return _scaled(net, x, number)
    vector = _vector(x, other)
    if vector is None:
        raise _refused("scores can be multiplied by numbers", f"{x} and {other}", net)
    return _scaled(net, x, vector)


@of_scores("divide")
def _divide(net, a, b):
    if isinstance(b, Scores) and b.stage == "total" and b.of is a:
        return replace(a, stage="weights", keys=b.keys, root=object())
    number = _number(b)
    if not isinstance(a, Scores) or not number:
        raise _refused("scores can be divided by numbers", f"{a} / {b}", net)
    return _scaled(net, a, 1.0 / number)


@of_scores("negate")
def _negate(net, x):
    return _scaled(net, x, -1.0)


@of_scores("add")
def _add(net, a, b):
    x, other = (a, b) if isinstance(a, Scores) else (b, a)
    number = _number(other)
    if x.stage == "total" and number is not None and 0 <= number <= _LITTLE:
        return x
    if x.stage == "sums" and x.activation is None and x.factor is None:
        vector = number if number is not None else _vector(x, other)
        if vector is not None:
            return _rows_through(net, x, offset=vector)
    if x.stage == "scores" and number is not None and math.isfinite(number) and x.beside is None:
        return _more(net, x, number)
    if x.stage == "scores" and isinstance(other, (Tensor, Slots)):
        return _with(net, x, Beside("added", *_beside(net, x, other)))
    raise _refused(
        "to scores can be added what is one number for every frame of the keys", f"{x} and {other}", net
    )


def _more(net, x, number):
    """Scores and a number: softmax does not see it, a function before it does."""
    more = 0.0 if x.score_activation is not None else number
    return replace(x, bias=x.bias + more, root=object())


@of_scores("subtract")
def _subtract(net, a, b):
    if isinstance(b, Scores):
        if isinstance(a, Scores) and b.stage == "greatest" and b.of is a:
            return replace(a, stage="less", keys=b.keys, root=object())
        raise _refused("scores cannot be subtracted", f"{a} - {b}", net)
    less = -_number(b) if _number(b) is not None else b
    if isinstance(less, Constant):
        less = Constant(less.name, -less.array)
    elif isinstance(less, Tensor):
        less = OPERATORS["negate"].lower(net, less)
    return _add(net, a, less)


def _function(net, x, function):
    if x.stage == "less" and function.name == "exponential":
        return replace(x, stage="exponentials", root=object())
    if x.stage == "sums" and x.activation is None and x.factor is None:
        return replace(x, activation=function, root=object())
    if x.stage == "scores" and x.score_activation is None and x.beside is None:
        return replace(x, score_activation=function, root=object())
    raise _refused(f"{function} of scores is supported once, before they are masked", x, net)


def _elementwise(name, parameters):
    def lower(net, x, **values):
        return _function(net, x, Function(name, tuple(values.pop(p) for p in parameters), **values))

    return lower


for _name, _parameters in FUNCTIONS.items():
    OF_SCORES[_name] = _elementwise(_name, _parameters)
for _name in ("gelu", "softplus", "celu"):  # whose operators have options
    del OF_SCORES[_name]


# ---- masks -------------------------------------------------------------------------------------------------


def _beside(net, x, other):
    """(the sequence, the reference) of one number for every frame of one of the two."""
    other = tensor_of(net, other) if isinstance(other, Slots) else net.single(other)
    if other is None or len(other.axes) > len(x.axes):
        raise _refused("this does not stand beside scores", other, net)
    axes = ("1",) * (len(x.axes) - len(other.axes)) + other.axes
    timed = [k for k, a in enumerate(axes) if a == "t"]
    single = net.signal(other).width == 1
    fits = len(timed) == 1 and single and x.axes[timed[0]] in ("x", "y")
    fits = fits and all(a in ("1", "f", "t") or (a, own) == ("b", "b") for a, own in zip(axes, x.axes))
    if not fits or "b" not in axes:
        raise _refused(
            "scores can be masked by one number for every frame of the keys", f"{x} and {other}", net
        )
    return x.axes[timed[0]], other.reference


def _with(net, x, beside):
    """Scores with a mask more."""
    if x.stage != "scores":
        raise _refused("a mask belongs to the scores before their softmax", x, net)
    own = x.beside
    if own is None:
        return replace(x, beside=beside, root=object())
    if own.what != "mask" or (own.what, own.letter, own.value) != (beside.what, beside.letter, beside.value):
        raise _refused("two masks of scores must be of one kind", x, net)
    both = net.add(Multiply, own.reference, beside.reference)
    return replace(x, beside=own._replace(reference=both), root=object())


def _masked(net, x, real, value):
    """``value`` where ``real`` is 0."""
    number = _number(value)
    if number is None or math.isnan(number) or number == math.inf:
        raise _refused("a masked score must be a number", value, net)
    letter, reference = _beside(net, x, real)
    return _with(net, x, Beside("mask", letter, reference, None if number == -math.inf else number))


@of_scores("masked_fill")
def _masked_fill(net, x, mask, value):
    if not isinstance(x, Scores) or not isinstance(mask, Tensor):
        raise _refused("scores can be masked by one number for every frame of the keys", f"{x}, {mask}", net)
    return _masked(net, x, logical_not(net, truth(net, mask)), value)


@of_scores("where")
def _where(net, condition, a, b):
    if not isinstance(condition, Tensor) or isinstance(a, Scores) == isinstance(b, Scores):
        raise _refused("a choice between scores and a number is supported", f"{condition}, {a}, {b}", net)
    told = truth(net, condition)
    return _masked(net, a, told, b) if isinstance(a, Scores) else _masked(net, b, logical_not(net, told), a)


# ---- softmax -----------------------------------------------------------------------------------------------


def _over(net, x, axes):
    """The one of the two sequences that an axis is."""
    axes = axes if isinstance(axes, (tuple, list)) else (axes,)
    if len(axes) != 1 or axes[0] is None:
        raise _refused("a reduction of scores must name one axis", axes, net)
    letter = x.axes[x.axis(axes[0])]
    if letter not in ("x", "y"):
        raise _refused(
            "softmax of scores goes over the frames of one of the sequences", f"axis {axes} of {x}", net
        )
    return letter


@of_scores("softmax")
def softmax_of(net, x, axis=None):
    if x.stage != "scores":
        raise _refused("softmax is taken of scores", x, net)
    return replace(x, stage="weights", keys=_over(net, x, axis), root=object())


@of_scores("reduce_max")
def _greatest(net, x, axes=None, keep=False):
    if x.stage != "scores" or not keep:
        raise _refused("the greatest score is supported where it is taken off before a softmax", x, net)
    return replace(x, stage="greatest", keys=_over(net, x, axes), of=x, root=object())


@of_scores("reduce_sum")
def _sum(net, x, axes=None, keep=False):
    if x.stage == "sums":
        axes = axes if isinstance(axes, (tuple, list)) else (axes,)
        if [x.axes[x.axis(k)] for k in axes] != ["f"]:
            raise _refused(
                "sums of two sequences can be summed over their features", f"axis {axes} of {x}", net
            )
        made = _summed(x, np.ones(x.width) if x.factor is None else x.factor, 0.0)
        return made if keep else made.seen([a for k, a in enumerate(made.axes) if k != x.axis(axes[0])])
    if x.stage == "exponentials" and keep and _over(net, x, axes) == x.keys:
        return replace(x, stage="total", of=x, root=object())
    raise _refused("a sum of scores is supported where a softmax is made of it", x, net)


def _summed(x, weight, bias):
    """The scores that sums become, their features an axis of size one."""
    axes = tuple("1" if a == "f" else a for a in x.axes)
    return replace(x, axes=axes, stage="scores", factor=None, weight=weight, bias=bias, root=object())


@of_scores("linear")
def _linear(net, x, weight, bias=None):
    if x.stage != "sums" or x.axes[-1] != "f" or weight.array.shape != (1, x.width) or x.factor is not None:
        raise _refused(
            "a product with scores is supported where it makes one of the numbers of a pair", x, net
        )
    return _summed(x, weight.array[0].astype(np.float64), 0.0 if bias is None else _number(bias))


# ---- products ----------------------------------------------------------------------------------------------


@of_scores("matmul")
def _matmul(net, a, b):
    if isinstance(a, Scores) and isinstance(b, Constant) and b.array.ndim <= 2:
        made = _linear(net, a, Constant(b.name, np.atleast_2d(b.array.T)))
        return made if b.array.ndim == 2 else made.seen(made.axes[:-1])
    letters, output = _letters_of_product(a, b)
    return _weighted(net, letters, output, (a, b))


@of_scores("einsum")
def _einsum(net, equation, tensors):
    inputs, _, output = str(equation).replace(" ", "").partition("->")
    if len(tensors) != 2 or not output:
        raise _refused("this einsum of attention weights is not supported", equation, net)
    return _weighted(net, inputs.split(","), output, tensors)


def _weighted(net, letters, output, tensors):
    """The values, summed with the weights, as einsum's ``letters`` say: one layer."""
    if isinstance(tensors[1], Scores):
        letters, tensors = letters[::-1], tensors[::-1]
    w, values = tensors
    if not isinstance(w, Scores) or w.stage != "weights" or not _open(values):
        raise _refused(
            "the weights of attention can be multiplied by a sequence of values", f"{w} and {values}", net
        )
    if w.clocks[w.keys].longest and not _all_masked(w):
        net.whole(replace(values, clock=w.clocks[w.keys]))
    values = slots_of(net, values)
    (own, theirs), kinds = letters, dict(zip(letters[0], w.axes))
    query = "y" if w.keys == "x" else "x"
    places = {a: c for c, a in kinds.items()}
    axes, sizes = dict(zip(theirs, values.axes)), dict(zip(theirs, values.places.shape))
    numbers = [c for c in theirs if axes[c] == "n" and kinds.get(c) != "h" and c not in own]
    fits = len(own) == len(w.axes) and len(theirs) == len(values.axes)
    fits &= axes.get(places[w.keys]) == "t" and axes.get(places["b"]) == "b" and places[w.keys] not in output
    fits &= all(kinds.get(c) == axes[c] or axes[c] in ("t", "n") for c in theirs)
    fits &= "h" not in places or sizes.get(places["h"]) == w.heads
    fits &= all(sizes[c] == 1 for c in theirs if kinds.get(c) == "1")
    fits &= {*output} == {*own, *theirs} - {places[w.keys]}
    if not fits:
        raise _refused(
            "the weights of attention must be multiplied by values, summed over the keys",
            f"{','.join(letters)} -> {output} of {w} and {values}",
            net,
        )
    heads = [places["h"]] if "h" in places else []
    value = _row(net, values, theirs, heads + numbers)
    reference = _layer(net, w, query, value)
    made = [w.heads] * len(heads) + [sizes[c] for c in numbers]
    width = math.prod(made)
    order = heads + numbers
    rest = [c for c in output if c not in order]  # batch, the queries' time, axes of size one
    standing = np.arange(width).reshape([1] * len(rest) + made)
    standing = np.transpose(standing, [(rest + order).index(c) for c in output])
    named = {places["b"]: "b", places[query]: "t"}
    clock = w.clocks[query]
    net.sequences.setdefault(clock, reference)
    result = Slots(tuple(named.get(c, "n") for c in output), standing, (reference,), (width,), clock)
    return tensor_of(net, result) or result


def _all_masked(w):
    """Whether keys past a row's end have no part, so that it does not matter where a batch ends."""
    masked = w.beside is not None and w.beside.what == "mask"
    return masked and (w.beside.value is None or w.beside.value <= _NOTHING)


def _layer(net, w, query, value):
    """The Attention layer of weights and a row of values."""
    fields, beside = {}, ()
    if w.beside is not None:
        if w.beside.letter != w.keys:
            raise _refused("a mask of the queries before their softmax is not supported", w, net)
        beside = (w.beside.reference,)
        fields = {"key_input": w.beside.what, "masked_score": w.beside.value}
    references = (w.references[query], w.references[w.keys], value, *beside)
    if w.weight is not None:
        fields |= {"weight": w.weight, "activation": w.activation or Function("linear")}
        fields |= {"bias": [w.bias]} if w.bias else {}
    else:
        fields |= {"scale": w.scale, "heads": w.heads}
        if w.bias and w.score_activation is not None:
            raise _refused("a number added to products before a function of them is not supported", w, net)
    if w.score_activation is not None:
        fields["score_activation"] = w.score_activation
    return net.add(Attention, *references, causal=w.causal, **fields)


# ---- attention as one operator -----------------------------------------------------------------------------


@operator(apart=True, truth="refused")
def attention(net, query, key, value, mask=None, causal=False, scale=None, nothing=True):
    """The values summed with softmax(scale q · k) over the keys: (batch, ..., time, features) each. ``mask``:
    truth values, true where a key counts, or what is added to the scores; ``scale``: 1 / sqrt(features) by
    default; ``causal``: no query sees a key behind its own place; ``nothing``: where no key counts the answer
    is 0, else NaN.
    """
    if causal and mask is not None:
        raise UnsupportedModelError("a mask beside is_causal is not supported", fix="Give one of them.")
    turned = apply(net, "transpose", x=key, first=-2, second=-1)
    score = _matrices(net, query, turned)
    size = slots_of(net, query).places.shape[-1]
    score = apply(net, "multiply", a=score, b=1 / math.sqrt(size) if scale is None else float(scale))
    if causal:
        if not isinstance(score, Scores):
            raise _refused("a causal mask is supported between two sequences", score, net)
        score = replace(score, causal=True)
    if isinstance(mask, Tensor) and mask.truth:
        score = apply(net, "masked_fill", x=score, mask=logical_not(net, mask), value=-math.inf)
    elif mask is not None:
        score = apply(net, "add", a=score, b=mask)
    made = apply(net, "matmul", a=apply(net, "softmax", x=score, axis=-1), b=value)
    if mask is None or not nothing:
        return made
    most = apply(net, "reduce_max", x=mask, axes=-1, keep=True)
    some = most if most.truth else apply(net, "greater", a=most, b=_LEAST)
    return apply(net, "where", condition=some, a=made, b=0.0)


def in_heads(net, x, heads):
    """(batch, time, features) as (batch, heads, time, features of one)."""
    x = slots_of(net, x)
    size = x.places.shape[-1] // heads
    return x.seen(("b", "n", "t", "n"), x.places.reshape(1, heads, 1, size))


def out_of_heads(net, x):
    """Back again."""
    x = slots_of(net, x)
    return tensor_of(net, x.seen(("b", "t", "n"), np.moveaxis(x.places, 1, 2).reshape(1, 1, -1)))
