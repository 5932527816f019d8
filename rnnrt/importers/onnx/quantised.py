"""Integer forms of a network as the float network they stand for: weights dequantised once, activations not
quantised at all. What the integers themselves answer depends on the batch, and on the processor.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ...errors import ModelFileError, UnsupportedModelError
from .folding import dequantized
from .model import Node

#: What is said of a network that was read so.
ASSUMPTION = (
    "its 8-bit weights are dequantised and computed with in float32; an integer run differs by its rounding "
    "of activations"
)
_MICROSOFT = "com.microsoft"
_ROUNDED = ("QuantizeLinear", "DequantizeLinear")


def as_floats(nodes, known):
    """(nodes without integer arithmetic, whether there was any); ``known``: {name: array}, to which weights
    are added.
    """
    made, found = [], False
    for node in nodes:
        rewrite = _REWRITES.get((node.domain, node.op))
        if node.op in _ROUNDED and node.domain in ("", _MICROSOFT):
            rewrite = _passed
        if rewrite is None:
            made.append(node)
            continue
        found = True
        try:
            made.append(rewrite(node, known))
        except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
            raise ModelFileError(f"its quantised weights do not fit ({error})", where=str(node)) from error
    return made, found


def _array(node, known, place, what, optional=False):
    """A known input of a node; None for one that is left out."""
    name = node.inputs[place] if place < len(node.inputs) else ""
    if not name and optional:
        return None
    if name not in known:
        raise UnsupportedModelError(f"its {what} must be known when the file is read", where=str(node))
    return known[name]


def _as(node, known, op, inputs, weights=None, **attributes) -> Node:
    """A node in place of another; ``weights``: {name: array} that it reads."""
    known.update(weights or {})
    return dataclasses.replace(node, op=op, domain="", inputs=tuple(inputs), attributes=attributes)


def _passed(node, known):
    return _as(node, known, "Identity", node.inputs[:1])


def _measured(node, known):
    """DynamicQuantizeLinear: the numbers as they are, at a scale of 1."""
    outputs = [*node.outputs, "", ""]
    known.update({n: a for n, a in ((outputs[1], np.float32(1)), (outputs[2], np.uint8(0))) if n})
    return dataclasses.replace(_passed(node, known), outputs=node.outputs[:1])


def _product(node, known):
    """MatMulInteger and ConvInteger: their result is scaled by nodes behind."""
    weight = _array(node, known, 1, "weight").astype(np.float64)
    zero = _array(node, known, 3, "zero point", True)
    if zero is not None and zero.ndim:
        zero = zero.reshape(-1, *[1] * (weight.ndim - 1)) if node.op == "ConvInteger" else zero
    weight = weight if zero is None else weight - zero
    name = f"{node.outputs[0]}/weight"
    op = "Conv" if node.op == "ConvInteger" else "MatMul"
    return _as(node, known, op, (node.inputs[0], name), {name: weight.astype(np.float32)}, **node.attributes)


def _lstm(node, known):
    """DynamicQuantizeLSTM: W (directions, in, 4 units) and R (directions, units, 4 units), a scale for each
    direction or each column of it.
    """
    weights, names = {}, []
    for place, scale, what in ((1, 8, "W"), (2, 10, "R")):
        array = _array(node, known, place, what).astype(np.float64)
        factors, zero = (_array(node, known, scale + k, f"scale of {what}") for k in (0, 1))
        column = lambda a, like: np.asarray(a, np.float64).reshape(like.shape[0], 1, -1)
        array = (array - column(zero, array)) * column(factors, array)
        names.append(f"{node.outputs[0] or node.name}/{what}")
        weights[names[-1]] = array.transpose(0, 2, 1).astype(np.float32)
    inputs = [node.inputs[0], *names, *node.inputs[3:8]]
    while inputs and not inputs[-1]:
        inputs.pop()
    return _as(node, known, "LSTM", inputs, weights, **node.attributes)


def _q_matmul(node, known):
    """QLinearMatMul: a, its scale and zero point, b and its, those of the result."""
    own, name = {"axis": -1}, f"{node.outputs[0]}/weight"
    b = dequantized(own, *(_array(node, known, k, "weight") for k in (3, 4, 5)))
    return _as(node, known, "MatMul", (node.inputs[0], name), {name: b})


def _q_gemm(node, known):
    """QGemm: as QLinearMatMul, with an integer C at the scale of the product."""
    scale_a, scale_b = (_array(node, known, k, "scale") for k in (1, 4))
    rows = node.attributes.get("transB", 0)
    b = dequantized({"axis": 0 if rows else 1}, *(_array(node, known, k, "weight") for k in (3, 4, 5)))
    c = _array(node, known, 6, "bias", True)
    names = [f"{node.outputs[0]}/{what}" for what in "bc"]
    weights = {names[0]: b}
    if c is not None:
        weights[names[1]] = (c * (scale_a.astype(np.float64) * scale_b)).astype(np.float32)
    return _as(node, known, "Gemm", (node.inputs[0], *weights), weights, **node.attributes)


def _q_conv(node, known):
    """QLinearConv: x, w and the result with scales and zero points, then an integer bias."""
    scale_x, scale_w = _array(node, known, 1, "scale"), _array(node, known, 4, "scale")
    w = dequantized({"axis": 0}, *(_array(node, known, k, "weight") for k in (3, 4, 5)))
    bias = _array(node, known, 8, "bias", True)
    weights = {f"{node.outputs[0]}/weight": w}
    if bias is not None:
        factor = scale_x.astype(np.float64) * scale_w.reshape(-1)
        weights[f"{node.outputs[0]}/bias"] = (bias * factor).astype(np.float32)
    return _as(node, known, "Conv", (node.inputs[0], *weights), weights, **node.attributes)


def _q_arithmetic(node, known):
    """QLinearAdd and QLinearMul: two operands, each with a scale and a zero point."""
    return _as(node, known, node.op.removeprefix("QLinear"), (node.inputs[0], node.inputs[3]))


def _q_function(node, known):
    return _as(node, known, node.op.removeprefix("QLinear"), node.inputs[:1], **node.attributes)


_REWRITES = {
    ("", "DynamicQuantizeLinear"): _measured,
    ("", "MatMulInteger"): _product,
    ("", "ConvInteger"): _product,
    ("", "QLinearMatMul"): _q_matmul,
    ("", "QLinearConv"): _q_conv,
    (_MICROSOFT, "DynamicQuantizeLSTM"): _lstm,
    (_MICROSOFT, "QGemm"): _q_gemm,
    (_MICROSOFT, "QLinearAdd"): _q_arithmetic,
    (_MICROSOFT, "QLinearMul"): _q_arithmetic,
    (_MICROSOFT, "QLinearSigmoid"): _q_function,
    (_MICROSOFT, "QLinearLeakyRelu"): _q_function,
}
