"""ONNX's nodes over the scores of two sequences of open length (axes/scores.py): what the operator table
makes of them.
"""

from __future__ import annotations

import numpy as np

from ..axes.scores import Scores
from ..operators.table import apply
from .folding import integers, plain_integers
from .operands import constants
from .words import WORDS


def holds_scores(given):
    """Whether an operand is Scores."""
    return any(isinstance(v, Scores) for v in given)


def of_scores(net, node, given):
    """What a node makes of operands of which some are Scores."""
    own = node.attributes
    if node.op in _MOVES and isinstance(given[0], Scores):
        return _MOVES[node.op](net, own, *given)
    if node.op == "Einsum":
        return einsum(net, own, *given)
    operands = constants(given) if node.op == "Div" else given
    if node.op in ("Div", "Not"):
        names = ("a", "b") if node.op == "Div" else ("x",)
        return apply(net, _OTHERS[node.op], **dict(zip(names, operands)))
    word = WORDS[node.op]
    return word.lower(net, node.op, word.bind(node.op, operands, own))


_OTHERS = {"Div": "divide", "Not": "logical_not"}


def einsum(net, own, *tensors):
    """Einsum of any operands."""
    return apply(net, "einsum", equation=own["equation"], tensors=tuple(constants(tensors)))


def _transpose(net, own, x):
    return apply(net, "permute", x=x, order=own.get("perm") or list(range(len(x.axes)))[::-1])


def _unsqueeze(net, own, x, axes=None):
    axes = own.get("axes") if axes is None else plain_integers(axes, "axes")
    rank = len(x.axes) + len(axes)
    for axis in sorted(a % rank for a in axes):
        x = apply(net, "unsqueeze", x=x, axis=axis)
    return x


def _squeeze(net, own, x, axes=None):
    axes = own.get("axes") if axes is None else plain_integers(axes, "axes")
    return apply(net, "squeeze", x=x, axes=axes)


def _reshape(net, own, x, shape):
    sizes = x.sizes()
    target = [sizes[k] if n == 0 else n for k, n in enumerate(integers(shape, "the shape of a Reshape"))]
    return apply(net, "reshape", x=x, shape=target)


def _shape(net, own, x):
    return np.array([*x.sizes(), None], object)[:-1][slice(own.get("start", 0), own.get("end"))]


_MOVES = {
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Reshape": _reshape,
    "Shape": _shape,
    "Identity": lambda net, own, x: x,
    "Cast": lambda net, own, x: apply(net, "cast", x=x),
}
