"""Layers that exporters spell out: GELU by the error function, layer normalisation by means and roots, and
masks, which frames are not all of one value.

They are found among the nodes of a program and become the one node that later versions of ONNX have for them.
"""

from __future__ import annotations

import contextlib
import dataclasses

import numpy as np

from .model import Node

_ROOT_OF_TWO = np.sqrt(2)


def lifted(nodes, known):
    """``nodes`` with what is recognised as nodes Gelu, LayerNormalization and NotEqual (of all numbers on the
    last axis, or of each alone); ``known``: {name: array}, to which their constants are added. What they
    replace is left for who drops nodes that nothing needs.
    """
    graph = _Graph(nodes, known)
    made = {}
    for node in nodes:
        pattern = _PATTERNS.get(node.op)
        if pattern is not None:
            with contextlib.suppress(IndexError, ValueError):  # an input that must be there is not
                made |= pattern(graph, node)
    return [made.get(id(n), n) for n in nodes]


class _Graph:
    def __init__(self, nodes, known):
        self.known, self.maker, self.readers = known, {}, {}
        for node in nodes:
            self.maker |= dict.fromkeys(filter(None, node.outputs), node)
            for name in filter(None, node.inputs):
                self.readers.setdefault(name, []).append(node)

    def made_by(self, name, *ops):
        node = self.maker.get(name)
        return node if node is not None and node.op in ops and not node.domain else None

    def number(self, name):
        """The one number a name stands for, or None."""
        array = self.known.get(name)
        return float(array.reshape(-1)[0]) if array is not None and array.size == 1 else None

    def only_reader(self, name, op):
        """The one node that reads a value, if it is of this kind."""
        readers = self.readers.get(name, [])
        return readers[0] if len(readers) == 1 and readers[0].op == op else None

    def other(self, node, name):
        """The other operand of a node that reads ``name``."""
        rest = [n for n in node.inputs if n != name]
        return rest[0] if len(node.inputs) == 2 and len(rest) == 1 else None

    def axes(self, node):
        """The axes of a reduction, None where they are not stated."""
        if len(node.inputs) < 2:
            return node.attributes.get("axes")
        array = self.known.get(node.inputs[1])
        return None if array is None else array.tolist()

    def is_filled(self, name, value):
        """Whether a value is one number, spread over a shape."""
        made = self.made_by(name, "ConstantOfShape")
        if made is not None:
            return float(np.ravel(made.attributes.get("value", 0.0))[0]) == value
        made = self.made_by(name, "Expand")
        return self.is_number(name if made is None else made.inputs[0], value)

    def sizes(self, name):
        """The numbers of a shape that is put together of single ones, None for what only the run tells."""
        made = self.made_by(name, "Concat")
        return [self.number(n) for n in made.inputs] if made is not None else None

    def shape_of(self, name):
        """The value whose shape a name is, None for what is something else."""
        while (cast := self.made_by(name, "Cast")) is not None:
            name = cast.inputs[0]
        made = self.made_by(name, "Shape")
        return None if made is None or made.attributes else made.inputs[0]

    def is_number(self, name, value):
        found = self.number(name)
        return found is not None and abs(found - value) <= 1e-6 * abs(value)


def _gelu(graph, erf):
    """{id of the last node: Gelu} where x / sqrt 2 goes into ``erf`` and 0.5 x (1 + erf) comes out."""
    inner = graph.made_by(erf.inputs[0], "Div", "Mul")
    if inner is None:
        return {}
    x, by = inner.inputs
    wanted = _ROOT_OF_TWO if inner.op == "Div" else 1 / _ROOT_OF_TWO
    if not graph.is_number(by, wanted):
        x, by = by, x
        if inner.op == "Div" or not graph.is_number(by, wanted):
            return {}
    one = graph.only_reader(erf.outputs[0], "Add")
    if one is None or not graph.is_number(graph.other(one, erf.outputs[0]), 1.0):
        return {}
    value, factors = one.outputs[0], []
    while len(factors) < 2 and (product := graph.only_reader(value, "Mul")) is not None:
        factors.append(graph.other(product, value))
        value = product.outputs[0]
        half = graph.made_by(factors[-1], "Mul") if factors[-1] else None
        halved = half is not None and x in half.inputs and graph.is_number(graph.other(half, x), 0.5)
        if halved and len(factors) == 1:
            return {id(product): _node(product, "Gelu", (x,))}
    if len(factors) == 2 and x in factors and graph.is_number(factors[1 - factors.index(x)], 0.5):
        return {id(product): _node(product, "Gelu", (x,))}
    return {}


def _layer_norm(graph, divide):
    """{id of the last node: LayerNormalization} where (x - mean) / sqrt(variance + epsilon) comes out."""
    centred, root = graph.made_by(divide.inputs[0], "Sub"), graph.made_by(divide.inputs[1], "Sqrt")
    total = graph.made_by(root.inputs[0], "Add") if root is not None else None
    if centred is None or total is None:
        return {}
    epsilon = [graph.number(n) for n in total.inputs]
    if (epsilon[0] is None) == (epsilon[1] is None):
        return {}
    k = 0 if epsilon[0] is not None else 1
    x = _centred(graph, centred.outputs[0])
    square = _mean_of(graph, total.inputs[1 - k])
    power = graph.made_by(square, "Pow", "Mul") if square is not None else None
    if x is None or power is None:
        return {}
    first, second = power.inputs
    squared = graph.is_number(second, 2.0) if power.op == "Pow" else first == second
    if not squared or _centred(graph, first) != x:
        return {}
    return _scaled(graph, divide, x, epsilon[k])


def _scaled(graph, norm, x, epsilon):
    """{id of the last node: LayerNormalization} of x, where a scale and an offset come behind ``norm``."""
    last, size, arrays = norm, None, []
    for op in ("Mul", "Add"):
        reader = graph.only_reader(last.outputs[0], op)
        array = graph.known.get(graph.other(reader, last.outputs[0])) if reader is not None else None
        vector = getattr(array, "ndim", 0) and array.size == array.shape[-1]
        if not vector or size not in (None, array.size):
            if op == "Mul":
                return {}  # without a scale nothing says how many features there are
            break
        last, size = reader, array.size
        arrays.append(array.reshape(-1))
    names = [f"{norm.outputs[0]}/scale", f"{norm.outputs[0]}/offset"][: len(arrays)]
    graph.known.update(zip(names, arrays))
    return {id(last): _node(last, "LayerNormalization", (x, *names), epsilon=epsilon)}


def _norm_by_batch(graph, norm):
    """The same where a BatchNormalization of one row a frame is given the frame's own mean and variance, with
    a scale of 1 and an offset of 0, as tf2onnx writes a LayerNormalization of Keras.
    """
    rows, ones, zeros, mean, variance = norm.inputs
    flat, back = graph.made_by(rows, "Reshape"), graph.only_reader(norm.outputs[0], "Reshape")
    mean, ratio = graph.made_by(mean, "Squeeze"), graph.made_by(variance, "Div")
    squares = graph.made_by(ratio.inputs[0], "ReduceSumSquare") if ratio is not None else None
    if (
        None in (flat, back, mean, squares)
        or not graph.is_filled(ones, 1.0)
        or not graph.is_filled(zeros, 0.0)
    ):
        return {}
    shape, middle = graph.known.get(flat.inputs[1]), graph.made_by(mean.inputs[0], "ReduceMean")
    inside = graph.made_by(squares.inputs[0], "Sub")
    if shape is None or middle is None or inside is None or len(shape) != 4 or shape[0] != 1 or shape[3] != 1:
        return {}
    over = [graph.axes(n) for n in (middle, squares)]
    x = flat.inputs[0]
    if over != [[0, 2, 3]] * 2 or inside.inputs != (rows, middle.outputs[0]) or middle.inputs[0] != rows:
        return {}
    if graph.shape_of(back.inputs[1]) != x:
        return {}
    return _scaled(graph, back, x, norm.attributes.get("epsilon", 1e-5))


def _norm_by_rows(graph, back):
    """The same where the batch normalization itself is spelled out, as TFLite writes it: (rows - mean) times
    one over the root of the variance, of x as (1, rows, features, 1) with its rows last.
    """
    turned = graph.made_by(back.inputs[0], "Transpose")
    total = graph.made_by(turned.inputs[0], "Add") if turned is not None else None
    if total is None or turned.attributes.get("perm") != [0, 3, 1, 2]:
        return {}
    scaled, less = graph.made_by(total.inputs[0], "Mul"), graph.made_by(total.inputs[1], "Sub")
    moved = graph.made_by(less.inputs[1], "Mul") if less is not None else None
    if (
        None in (scaled, moved)
        or moved.inputs[1] != scaled.inputs[1]
        or not graph.is_filled(less.inputs[0], 0.0)
    ):
        return {}
    (rows, by), mean = scaled.inputs, moved.inputs[0]
    scale, first = graph.made_by(by, "Mul"), graph.made_by(rows, "Transpose")
    if (
        None in (scale, first)
        or _mean_of_rows(graph, mean) != rows
        or not graph.is_filled(scale.inputs[0], 1.0)
    ):
        return {}
    epsilon = _root_of_rows(graph, scale.inputs[1], rows, mean)
    flat = graph.made_by(first.inputs[0], "Reshape")
    if None in (epsilon, flat) or first.attributes.get("perm") != [0, 2, 3, 1]:
        return {}
    made = _scaled(graph, back, flat.inputs[0], epsilon)
    features = [graph.known[node.inputs[1]].size for node in made.values()]
    if graph.sizes(flat.inputs[1]) != [1, None, *features, 1]:
        return {}
    return made if graph.shape_of(back.inputs[1]) == flat.inputs[0] else {}


def _mean_of_rows(graph, name):
    """What a mean over all axes but the last of four is of."""
    node = graph.made_by(name, "ReduceMean")
    dropped = node is not None and not node.attributes.get("keepdims", 1)
    return node.inputs[0] if dropped and graph.axes(node) == [0, 1, 2] else None


def _root_of_rows(graph, name, rows, mean):
    """The epsilon where a value is one over the root of the variance of ``rows`` and it."""
    inverse = graph.made_by(name, "Reciprocal")
    root = graph.made_by(inverse.inputs[0], "Sqrt") if inverse is not None else None
    total = graph.made_by(root.inputs[0], "Add") if root is not None else None
    square = graph.made_by(_mean_of_rows(graph, total.inputs[0]), "Pow") if total is not None else None
    apart = graph.made_by(square.inputs[0], "Sub") if square is not None else None
    if apart is None or apart.inputs != (rows, mean) or not graph.is_number(square.inputs[1], 2.0):
        return None
    return graph.number(total.inputs[1])


def _not_equal(graph, node):
    """{id of the last node: NotEqual} where x is compared with a number, and with ``axis`` any of the last
    axis must differ.
    """
    equal = graph.made_by(node.inputs[0], "Equal")
    value = graph.number(equal.inputs[1]) if equal is not None else None
    if value is None:
        return {}
    x, alone = equal.inputs[0], _node(node, "NotEqual", (equal.inputs[0],), value=value)
    cast = graph.only_reader(node.outputs[0], "Cast")
    last = cast.outputs[0] if cast is not None else node.outputs[0]
    reduced = graph.only_reader(last, "ReduceSum") or graph.only_reader(last, "ReduceMax")
    above = graph.only_reader(reduced.outputs[0], "Greater") if reduced is not None else None
    if above is None or graph.number(above.inputs[1]) != 0 or graph.axes(reduced) != [-1]:
        return {id(node): alone}
    keep = reduced.attributes.get("keepdims", 1)
    return {id(above): _node(above, "NotEqual", (x,), value=value, axis=-1, keepdims=keep)}


def _mean_of(graph, name):
    """What a mean over the last axis, which stays, is of."""
    node = graph.made_by(name, "ReduceMean")
    if node is None or not node.attributes.get("keepdims", 1):
        return None
    return node.inputs[0] if graph.axes(node) == [-1] else None


def _centred(graph, name):
    """x where a value is x minus its mean over the last axis."""
    node = graph.made_by(name, "Sub")
    if node is None or _mean_of(graph, node.inputs[1]) != node.inputs[0]:
        return None
    return node.inputs[0]


def _node(node, op, inputs, **attributes) -> Node:
    return dataclasses.replace(node, op=op, inputs=inputs, attributes=attributes)


_PATTERNS = {"Erf": _gelu, "Div": _layer_norm, "Not": _not_equal, "BatchNormalization": _norm_by_batch}
_PATTERNS["Reshape"] = _norm_by_rows
