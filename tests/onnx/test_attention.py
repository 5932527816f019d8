"""Attention between sequences of open length as ONNX's nodes, against onnxruntime at several batches and
lengths.
"""

import numpy as np
import pytest
from onnx_answers import assert_same, imported
from onnx_bytes import model, node, whole

from rnnrt import UnsupportedModelError
from rnnrt.layers import Attention

QUERIES, KEYS = ("b", "t", 6), ("b", "s", 4)


def numbers(*shape, seed=0):
    return np.random.RandomState(seed).standard_normal(shape).astype(np.float32)


def recurrent(x, h, size, seed):
    """Nodes and arrays of an LSTM over x (batch, time, size): h (batch, time, 4)."""
    arrays = {f"W{h}": (1, 16, size), f"R{h}": (1, 16, 4)}
    arrays = {n: numbers(*s, seed=seed) / 2 for n, s in arrays.items()} | {f"one{h}": whole(1)}
    nodes = [
        node("Transpose", x, f"{h}_first", perm=[1, 0, 2]),
        node("LSTM", f"{h}_first W{h} R{h}", f"{h}all", hidden_size=4),
        node("Squeeze", f"{h}all one{h}", f"{h}s"),
        node("Transpose", f"{h}s", h, perm=[1, 0, 2]),
    ]
    return nodes, arrays


def file(*nodes, arrays=None):
    """Nodes that read q and k, (batch, time, 4) each, of a length of its own."""
    (first, own), (second, more) = recurrent("x", "q", 6, 1), recurrent("z", "k", 4, 2)
    arrays = own | more | {"n": np.float32([0.5])} | (arrays or {})
    return model([*first, *second, *nodes], {"x": QUERIES, "z": KEYS}, ["y"], arrays, opset=17)


TURNED = node("Transpose", "k", "kt", perm=[0, 2, 1])
SOFTMAX = [node("Softmax", "e", "w", axis=-1), node("MatMul", "w k", "y")]
SUMS = [
    node("Unsqueeze", "q two", "q4"),
    node("Unsqueeze", "k one", "k4"),
    node("Add", "q4 k4", "sum"),
    node("Tanh", "sum", "f"),
    node("MatMul", "f v", "e4"),
    node("Squeeze", "e4 three", "e"),
]
PLACES = {"one": whole(1), "two": whole(2), "three": whole(3), "v": numbers(4, 1)}
HEADS = [
    *(node("Reshape", f"{x} apart", f"{x}4") for x in "qk"),
    node("Transpose", "q4", "qh", perm=[0, 2, 1, 3]),
    node("Transpose", "k4", "kh", perm=[0, 2, 3, 1]),
    node("Transpose", "k4", "vh", perm=[0, 2, 1, 3]),
    node("MatMul", "qh kh", "e"),
    node("Softmax", "e", "w", axis=-1),
    node("MatMul", "w vh", "yh"),
    node("Transpose", "yh", "yt", perm=[0, 2, 1, 3]),
    node("Reshape", "yt together", "y"),
]
NODES = {
    "product": ([TURNED, node("MatMul", "q kt", "m"), node("Mul", "m n", "e"), *SOFTMAX], {}),
    "divided": ([TURNED, node("MatMul", "q kt", "m"), node("Div", "m n", "e"), *SOFTMAX], {}),
    "einsum": (
        [
            node("Einsum", "q k", "e", equation="bqd,bkd->bqk"),
            node("Softmax", "e", "w", axis=-1),
            node("Einsum", "w k", "y", equation="bqk,bkd->bqd"),
        ],
        {},
    ),
    "other_axis": (
        [
            node("Transpose", "q", "qt", perm=[0, 2, 1]),
            node("MatMul", "k qt", "e"),
            node("Softmax", "e", "w", axis=1),
            node("Transpose", "w", "wt", perm=[0, 2, 1]),
            node("MatMul", "wt k", "y"),
        ],
        {},
    ),
    "sums": ([*SUMS, *SOFTMAX], PLACES),
    "heads": (HEADS, {"apart": whole(0, 0, 2, 2), "together": whole(0, 0, 4)}),
    "masked": (
        [
            *[TURNED, node("MatMul", "q kt", "m"), node("ReduceSum", "k two", "s", keepdims=0)],
            *[node("Greater", "s zero", "real"), node("Unsqueeze", "real one", "r")],
            *[node("Where", "r m least", "e"), *SOFTMAX],
        ],
        PLACES | {"zero": np.float32([0]), "least": np.float32(-1e9).reshape(())},
    ),
}


@pytest.mark.parametrize("case", NODES)
def test_two_sequences_of_open_length(case, tmp_path):
    nodes, arrays = NODES[case]
    content = file(*nodes, arrays=arrays)
    for batch, time, other in ((1, 5, 9), (3, 5, 9), (3, 12, 2), (2, 7, 7)):
        given = {"x": numbers(batch, time, 6, seed=time), "z": numbers(batch, other, 4, seed=other)}
        made = assert_same(content, tmp_path, given)
    assert any(isinstance(x, Attention) for x in made.graph.layers)


def test_what_else_is_made_of_scores_is_refused(tmp_path):
    nodes = [TURNED, node("MatMul", "q kt", "e"), node("ReduceMean", "e", "y", axes=[2])]
    with pytest.raises(UnsupportedModelError, match="is not supported on the scores of two sequences"):
        imported(file(*nodes), tmp_path)


def test_weights_that_are_an_answer_are_refused(tmp_path):
    nodes = [TURNED, node("MatMul", "q kt", "e"), node("Softmax", "e", "y", axis=-1)]
    with pytest.raises(
        UnsupportedModelError, match="output 'y': the weights of two sequences .* cannot be an answer"
    ):
        imported(file(*nodes), tmp_path)
