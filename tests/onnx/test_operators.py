"""ONNX's operators beside recurrent ones, against onnxruntime at several batches and lengths."""

import numpy as np
import pytest
from onnx_answers import assert_same, imported
from onnx_bytes import INT64, model, node, port, whole

from rnnrt import RnnrtError, UnsupportedModelError
from rnnrt.layers import FUNCTIONS

FRAMES, CHANNELS, VALUES = ("b", "t", 6), ("b", 6, "t"), ("b", 6)


def numbers(*shape, seed=0, scale=1.0):
    return (scale * np.random.RandomState(seed).standard_normal(shape)).astype(np.float32)


def chain(*nodes, shape=FRAMES, arrays=None, opset=17):
    """A file of nodes from x to y. An LSTM reads x first, so that the file says which axes it has."""
    return model(list(nodes), {"x": shape}, ["y"], arrays, opset=opset)


def lstm(opset):
    """Nodes and arrays that make a sequence h (batch, time, 4) of x."""
    draw = np.random.RandomState(9)
    arrays = {"W": (1, 16, 6), "R": (1, 16, 4), "B": (1, 32)}
    arrays = {n: draw.uniform(-0.7, 0.7, s).astype(np.float32) for n, s in arrays.items()}
    arrays["one"] = whole(1)
    nodes = [
        node("Transpose", "x", "xt", perm=[1, 0, 2]),
        node("LSTM", "xt W R B", "seq hn cn", hidden_size=4),
        node("Squeeze", "seq one", "hs") if opset > 12 else node("Squeeze", "seq", "hs", axes=[1]),
        node("Transpose", "hs", "h", perm=[1, 0, 2]),
    ]
    return nodes, arrays


def behind(*nodes, arrays=None, opset=17):
    """A file whose nodes read h, a sequence that an LSTM makes."""
    before, own = lstm(opset)
    return model([*before, *nodes], {"x": FRAMES}, ["y"], own | (arrays or {}), opset=opset)


def given(shape, batch, time):
    sizes = [{"b": batch, "t": time}.get(n, n) for n in shape]
    return {"x": numbers(*sizes, seed=batch * 10 + time)}


def check(content, tmp_path, shape=FRAMES, least=1):
    for batch in (1, 3):
        for time in (1, 2, 50):
            if time >= least:
                made = assert_same(content, tmp_path, given(shape, batch, time))
    return made


def test_the_sort_of_a_packed_batch_is_refused_with_the_way_out(tmp_path):
    nodes = [node("Shape", "h", "n", start=1, end=2), node("TopK", "h n", "y i", axis=1, largest=1)]
    with pytest.raises(UnsupportedModelError, match="operator TopK is not supported.*enforce_sorted=True"):
        imported(behind(*nodes), tmp_path)


def cut_to(times):
    """A transposed convolution cut to so many frames for each before it, as tf2onnx writes padding same."""
    nodes = [
        node("Transpose", "h", "channels", perm=[0, 2, 1]),
        node("ConvTranspose", "channels w", "up", strides=[4]),
        node("Shape", "h", "n", start=1, end=2),
        node("Mul", "n times", "wanted"),
        node("Shape", "up", "has", start=2, end=3),
        node("Sub", "has wanted", "over"),
        node("Div", "over two", "start"),
        node("Add", "start wanted", "end"),
        node("Slice", "up start end two", "y"),
    ]
    return behind(*nodes, arrays={"w": numbers(4, 3, 8, scale=0.3), "times": whole(times), "two": whole(2)})


def test_frames_cut_off_by_the_difference_of_two_lengths(tmp_path):
    made = check(cut_to(4), tmp_path)
    assert made(np.zeros((1, 5, 6), np.float32)).shape == (1, 3, 20)


def test_a_difference_that_depends_on_the_number_of_frames_is_refused(tmp_path):
    with pytest.raises(UnsupportedModelError, match="of a size of an input"):
        imported(cut_to(3), tmp_path)


REVERSED = [
    node("Shape", "h", "n", start=1, end=2),
    node("Shape", "h", "rows", start=0, end=1),
    node("Expand", "n rows", "lengths"),
]


def test_a_whole_sequence_in_reverse(tmp_path):
    """As tf2onnx writes the backward layer of a Bidirectional over masked frames."""
    over = {"batch_axis": 0, "time_axis": 1}
    made = check(behind(*REVERSED, node("ReverseSequence", "h lengths", "y", **over)), tmp_path)
    assert "reverse" in [layer.kind for layer in made.graph.layers]
    turned = [*REVERSED, node("Transpose", "h", "ht", perm=[1, 0, 2])]
    check(behind(*turned, node("ReverseSequence", "ht lengths", "y")), tmp_path)


@pytest.mark.parametrize("lengths", [[2, 2, 2], [7, 7, 6]])
def test_rows_that_are_reversed_in_part_are_refused(lengths, tmp_path):
    content = behind(
        node("ReverseSequence", "h lengths", "y", batch_axis=0, time_axis=1),
        arrays={"lengths": whole(*lengths)},
    )
    with pytest.raises(UnsupportedModelError, match="only some frames are in reverse"):
        imported(content, tmp_path)
    with pytest.raises(UnsupportedModelError, match="ReverseSequence has an attribute .* known: axis"):
        imported(behind(*REVERSED, node("ReverseSequence", "h lengths", "y", axis=1)), tmp_path)


CONV = {
    "plain": ({}, 3),
    "padded": ({"pads": [1, 1]}, 1),
    "causal": ({"pads": [4, 0], "dilations": [2]}, 1),
    "strided": ({"strides": [2], "kernel_shape": [3]}, 3),
    "same": ({"auto_pad": "SAME_UPPER"}, 1),
    "same, lower": ({"auto_pad": "SAME_LOWER"}, 1),
    "valid": ({"auto_pad": "VALID"}, 3),
    "grouped": ({"group": 2, "pads": [1, 1]}, 1),
}


@pytest.mark.parametrize("case", CONV)
def test_convolution(case, tmp_path):
    own, least = CONV[case]
    arrays = {"w": numbers(4, 6 // own.get("group", 1), 3), "b": numbers(4)}
    check(chain(node("Conv", "x w b", "y", **own), shape=CHANNELS, arrays=arrays), tmp_path, CHANNELS, least)


@pytest.mark.parametrize("place", (2, 3))
def test_convolution_over_two_axes_one_of_which_has_size_one(place, tmp_path):
    """As exporters write a Conv1D of Keras."""
    kernel = [1, 3] if place == 2 else [3, 1]
    w = np.expand_dims(numbers(4, 6, 3), place)
    own = {"kernel_shape": kernel, "strides": [1, 1], "pads": [0, 1, 0, 1] if place == 2 else [1, 0, 1, 0]}
    nodes = [
        node("Unsqueeze", "x at", "four"),
        node("Conv", "four w b", "made", **own),
        node("Squeeze", "made at", "y"),
    ]
    arrays = {"w": w, "b": numbers(4), "at": whole(place)}
    check(chain(*nodes, shape=CHANNELS, arrays=arrays), tmp_path, CHANNELS)


@pytest.mark.parametrize(
    "own",
    [
        {},
        {"strides": [2]},
        {"strides": [2], "pads": [1, 1]},
        {"strides": [3], "output_padding": [1], "pads": [1, 0]},
    ],
)
def test_transposed_convolution(own, tmp_path):
    arrays = {"w": numbers(6, 4, 4), "b": numbers(4)}
    check(
        chain(node("ConvTranspose", "x w b", "y", **own), shape=CHANNELS, arrays=arrays), tmp_path, CHANNELS
    )


@pytest.mark.parametrize(
    "op, own",
    [
        ("MaxPool", {"kernel_shape": [2], "strides": [2]}),
        ("MaxPool", {"kernel_shape": [3], "pads": [1, 1]}),
        ("AveragePool", {"kernel_shape": [2], "strides": [2]}),
        ("AveragePool", {"kernel_shape": [3], "pads": [1, 1]}),
        ("AveragePool", {"kernel_shape": [3], "pads": [1, 1], "count_include_pad": 1}),
    ],
)
def test_pools(op, own, tmp_path):
    check(chain(node(op, "x", "y", **own), shape=CHANNELS), tmp_path, CHANNELS, 2)


def test_global_pools_and_reductions_over_time(tmp_path):
    for op in ("GlobalAveragePool", "GlobalMaxPool"):
        check(chain(node(op, "x", "y"), shape=CHANNELS), tmp_path, CHANNELS)
    check(behind(node("ReduceMean", "h", "y", axes=[1], keepdims=0)), tmp_path)
    check(behind(node("ReduceMax", "h", "y", axes=[1], keepdims=0)), tmp_path)
    check(behind(node("ReduceMean", "h at", "y", keepdims=0), arrays={"at": whole(1)}, opset=18), tmp_path)


@pytest.mark.parametrize("value", [2, -1, 1.0])
def test_a_yes_or_no_that_is_neither_is_refused(tmp_path, value):
    """onnxruntime takes a keepdims of 2 for no, and a transB of 2 for yes."""
    content = behind(node("ReduceMean", "h", "y", axes=[1], keepdims=value))
    with pytest.raises(UnsupportedModelError, match="attribute 'keepdims' of .* expected 0 or 1"):
        imported(content, tmp_path)


def test_products(tmp_path):
    arrays = {"w": numbers(4, 3), "b": numbers(3)}
    check(behind(node("MatMul", "h w", "m"), node("Add", "b m", "y"), arrays=arrays), tmp_path)
    last = [node("Gather", "h k", "last", axis=1), node("Gemm", "last w b", "y", transB=0)]
    check(behind(*last, arrays=arrays | {"k": np.array(-1)}), tmp_path)
    own = {"alpha": 0.5, "beta": 2.0, "transB": 1}
    arrays["w"] = arrays["w"].T.copy()
    last[1] = node("Gemm", "last w b", "y", **own)
    check(behind(*last, arrays=arrays | {"k": np.array(-1)}), tmp_path)


@pytest.mark.parametrize(
    "op, own",
    [
        ("Relu", {}),
        ("Tanh", {}),
        ("Sigmoid", {}),
        ("Softsign", {}),
        ("Exp", {}),
        ("Neg", {}),
        ("LeakyRelu", {}),
        ("LeakyRelu", {"alpha": 0.3}),
        ("Elu", {}),
        ("Elu", {"alpha": 0.5}),
        ("HardSigmoid", {}),
        ("HardSigmoid", {"alpha": 1 / 6}),
        ("HardSwish", {}),
        ("Selu", {}),
        ("Softmax", {}),
        ("Softmax", {"axis": 2}),
        ("ThresholdedRelu", {}),
        ("ThresholdedRelu", {"alpha": 0.25}),
        ("Identity", {}),
        ("Dropout", {}),
    ],
)
def test_activations(op, own, tmp_path):
    check(behind(node(op, "h", "y", **own)), tmp_path)


@pytest.mark.parametrize(
    "op, function",
    [
        ("Sqrt", "sqrt"),
        ("Abs", "abs"),
        ("Erf", "erf"),
        ("Softplus", "softplus"),
        ("Log", "log"),
        ("Reciprocal", "reciprocal"),
        ("Mish", "mish"),
        ("Sin", "sin"),
        ("Cos", "cos"),
        ("Celu", "celu"),
    ],
)
def test_functions_that_the_engine_may_have(op, function, tmp_path):
    """Each is read where rnnrt has it, and refused by name where it does not."""
    positive = op in ("Sqrt", "Log", "Reciprocal")
    nodes = [node("Sigmoid", "h", "p"), node(op, "p", "y")] if positive else [node(op, "h", "y")]
    if function in FUNCTIONS:
        check(behind(*nodes, opset=18 if op == "Mish" else 17), tmp_path)
    else:
        with pytest.raises(UnsupportedModelError, match=f"the operator {op} is not supported"):
            imported(behind(*nodes, opset=18), tmp_path)


def test_clip(tmp_path):
    arrays = {"low": np.float32(-1), "high": np.float32(1), "zero": np.float32(0)}
    for inputs in ("h low high", "h zero", "h zero high"):
        check(behind(node("Clip", inputs, "y"), arrays=arrays), tmp_path)
    check(behind(node("Clip", "h", "y", min=0.0, max=1.0), opset=10), tmp_path)


def test_arithmetic(tmp_path):
    arrays = {"v": numbers(4), "s": np.float32(0.7), "row": numbers(1, 1, 4)}
    for op in ("Add", "Sub", "Mul", "Div"):
        for other in ("v", "s", "row"):
            check(behind(node(op, f"h {other}", "y"), arrays=arrays), tmp_path)
    check(behind(node("Sub", "s h", "y"), arrays=arrays), tmp_path)
    check(behind(node("Tanh", "h", "a"), node("Sigmoid", "h", "b"), node("Mul", "a b", "y")), tmp_path)
    check(behind(node("Tanh", "h", "a"), node("Sub", "h a", "y")), tmp_path)
    check(behind(node("Pow", "h two", "y"), arrays={"two": np.float32(2)}), tmp_path)


@pytest.mark.parametrize("op", ["Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal"])
def test_comparisons_and_choices(op, tmp_path):
    """Of two tensors, and of one and a number."""
    arrays = {"half": np.float32(0.3)}
    nodes = [node("Neg", "h", "a"), node("Exp", "h", "e"), node("Sub", "e half", "b")]
    nodes += [node(op, "a b", "m"), node("Where", "m a b", "c"), node(op, "h half", "n")]
    nodes += [node("And", "m n", "p"), node("Or", "m n", "q"), node("Not", "q", "r")]
    nodes += [node("Where", "p c half", "d"), node("Where", "r d h", "y")]
    check(behind(*nodes, arrays=arrays), tmp_path)


def test_the_greatest_and_the_least(tmp_path):
    arrays = {"half": np.float32(0.3), "last": np.array([-1], np.int64)}
    nodes = [
        node("Tanh", "h", "a"),
        node("Max", "a h", "b"),
        node("Min", "b half", "c"),
        node("Max", "c a", "d"),
    ]
    check(behind(*nodes, node("Min", "d h", "y"), arrays=arrays), tmp_path)
    for op in ("ReduceMax", "ReduceMin", "ReduceMean"):
        check(behind(node(op, "h", "y", axes=[-1], keepdims=1)), tmp_path)
        check(behind(node(op, "h", "y", axes=[1], keepdims=0)), tmp_path)
    check(behind(node("ReduceSum", "h last", "y", keepdims=1), arrays=arrays), tmp_path)


def test_norms(tmp_path):
    draw = np.random.RandomState(4)
    arrays = {n: draw.uniform(0.5, 1.5, 6).astype(np.float32) for n in ("s", "o", "m", "v")}
    check(
        chain(node("BatchNormalization", "x s o m v", "y"), shape=CHANNELS, arrays=arrays), tmp_path, CHANNELS
    )
    arrays = {"s": numbers(4), "o": numbers(4)}
    check(behind(node("LayerNormalization", "h s o", "y", epsilon=1e-3), arrays=arrays), tmp_path)
    check(behind(node("LayerNormalization", "h s", "y", axis=2), arrays=arrays), tmp_path)


def test_a_layer_norm_that_is_spelled_out_is_one_layer(tmp_path):
    def nodes(squared):
        return [
            node("ReduceMean", "h", "mean", axes=[-1]),
            node("Sub", "h mean", "d"),
            squared,
            node("ReduceMean", "square", "variance", axes=[-1]),
            node("Add", "variance eps", "more"),
            node("Sqrt", "more", "root"),
            node("Div", "d root", "normed"),
            node("Mul", "normed s", "scaled"),
            node("Add", "scaled o", "y"),
        ]

    arrays = {"s": numbers(4), "o": numbers(4), "eps": np.float32(1e-5), "two": np.float32(2)}
    for squared in (node("Pow", "d two", "square"), node("Mul", "d d", "square")):
        made = check(behind(*nodes(squared), arrays=arrays, opset=13), tmp_path)
        assert [x.kind for x in made.graph.layers] == ["input", "lstm", "layer_normalization"]


def test_a_layer_norm_by_a_batch_norm_of_one_row_a_frame(tmp_path):
    """As tf2onnx writes a LayerNormalization of Keras."""
    nodes = [
        node("Reshape", "h four", "rows"),
        node("Shape", "h", "sizes"),
        node("Slice", "sizes from to", "bt"),
        node("ReduceProd", "bt", "count", keepdims=1),
        node("Expand", "one_f count", "ones"),
        node("Expand", "zero_f count", "zeros"),
        node("ReduceMean", "rows", "middle", axes=[0, 2, 3], keepdims=1),
        node("Sub", "rows middle", "inside"),
        node("ReduceSumSquare", "inside", "squares", axes=[0, 2, 3], keepdims=0),
        node("Div", "squares width", "variance"),
        node("Squeeze", "middle axes", "mean"),
        node("BatchNormalization", "rows ones zeros mean variance", "normed", epsilon=1e-3),
        node("Reshape", "normed sizes", "back"),
        node("Mul", "back s", "scaled"),
        node("Add", "scaled o", "y"),
    ]
    arrays = {"four": whole(1, -1, 4, 1), "from": whole(0), "to": whole(2), "axes": whole(0, 2, 3)}
    arrays |= {"one_f": np.float32(1), "zero_f": np.float32(0), "width": np.float32(4)}
    made = check(behind(*nodes, arrays=arrays | {"s": numbers(4), "o": numbers(4, seed=1)}), tmp_path)
    assert [x.kind for x in made.graph.layers] == ["input", "lstm", "layer_normalization"]


def test_a_causal_pad_in_front_of_a_convolution(tmp_path):
    arrays = {"w": numbers(4, 6, 3), "pads": whole(0, 0, 2, 0, 0, 0), "zero": np.float32(0)}
    nodes = [node("Pad", "x pads zero", "padded"), node("Conv", "padded w", "y")]
    check(chain(*nodes, shape=CHANNELS, arrays=arrays), tmp_path, CHANNELS)
    old = [node("Pad", "x", "padded", pads=[0, 0, 2, 0, 0, 0]), node("Conv", "padded w", "y")]
    check(chain(*old, shape=CHANNELS, arrays={"w": arrays["w"]}, opset=10), tmp_path, CHANNELS)


def test_joins_and_parts_of_the_features(tmp_path):
    check(behind(node("Tanh", "h", "a"), node("Concat", "h a", "y", axis=2)), tmp_path)
    check(behind(node("Tanh", "h", "a"), node("Concat", "h a", "y", axis=-1)), tmp_path)
    arrays = {"from": whole(1), "to": whole(3), "at": whole(2), "step": whole(2), "end": whole(1 << 62)}
    check(behind(node("Slice", "h from to at", "y"), arrays=arrays), tmp_path)
    check(behind(node("Slice", "h from end at step", "y"), arrays=arrays), tmp_path)
    check(behind(node("Slice", "h", "y", starts=[1], ends=[3], axes=[2]), opset=9), tmp_path)
    check(behind(node("Split", "h", "a b", axis=2), node("Mul", "a b", "y"), opset=12), tmp_path)
    parts = behind(node("Split", "h n", "a b", axis=-1), node("Tanh", "b", "y"), arrays={"n": whole(1, 3)})
    check(parts, tmp_path)
    check(behind(node("Gather", "h k", "y", axis=2), arrays={"k": whole(3, 0, 0)}), tmp_path)


def test_the_last_frame(tmp_path):
    check(behind(node("Gather", "h k", "y", axis=1), arrays={"k": np.array(-1)}), tmp_path)
    arrays = {"k": whole(-1), "end": whole(1 << 62)}
    check(
        behind(node("Slice", "h k end one", "part"), node("Squeeze", "part one", "y"), arrays=arrays),
        tmp_path,
    )


def test_a_stack_of_states(tmp_path):
    """Final states stacked as exporters do, and taken apart again."""
    nodes = [
        node("Concat", "hn cn", "both", axis=0),
        node("Transpose", "both", "bsf", perm=[1, 0, 2]),
        node("Reshape", "bsf flat_shape", "y"),
    ]
    check(behind(*nodes, arrays={"flat_shape": whole(0, -1)}), tmp_path)
    check(behind(node("Concat", "hn cn", "y", axis=0)), tmp_path)
    nodes = [node("Squeeze", "hn zero", "a"), node("Squeeze", "cn zero", "b")]
    nodes += [
        node("Unsqueeze", "a last", "c"),
        node("Unsqueeze", "b last", "d"),
        node("Concat", "c d", "y", axis=-1),
    ]
    check(behind(*nodes, arrays={"zero": whole(0), "last": whole(-1)}), tmp_path)


def test_sizes_of_an_input_in_shapes(tmp_path):
    """Reshapes whose sizes are worked out from those of the input."""
    nodes = [
        node("Shape", "h", "sizes"),
        node("Gather", "sizes zero", "batch", axis=0),
        node("Gather", "sizes at", "time", axis=0),
        node("Concat", "batch time four", "shape", axis=0),
        node("Reshape", "h shape", "y"),
    ]
    check(behind(*nodes, arrays={"zero": whole(0), "at": whole(1), "four": whole(4)}), tmp_path)
    merged = [node("Reshape", "h flat", "rows"), node("MatMul", "rows w", "m"), node("Shape", "h", "sizes")]
    merged += [node("Slice", "sizes from to", "bt"), node("Concat", "bt three", "back", axis=0)]
    merged += [node("Reshape", "m back", "y")]
    arrays = {"flat": whole(-1, 4), "w": numbers(4, 3), "from": whole(0), "to": whole(2), "three": whole(3)}
    check(behind(*merged, arrays=arrays), tmp_path)


def test_an_embedding_of_ids(tmp_path):
    content = model(
        [node("Gather", "table ids", "e"), node("Relu", "e", "y")],
        [port("ids", ("b", "t"), INT64)],
        ["y"],
        {"table": numbers(9, 4)},
    )
    made = assert_same(content, tmp_path, {"ids": np.random.RandomState(0).randint(0, 9, (3, 5))})
    assert made.graph["ids"].ids


@pytest.mark.parametrize(
    "content, words",
    [
        (behind(node("Softmax", "h", "y", axis=0)), "softmax is supported over the features"),
        (behind(node("MatMul", "h h", "y")), "one side has one row"),
        (behind(node("Softmax", "h", "y"), opset=11), "over several axes at once"),
        (behind(node("Transpose", "h", "y", perm=[0, 1, 2], turn=1)), "Transpose has an attribute .*turn"),
        (behind(node("Shape", "W", "s", odd=1), node("Reshape", "h s", "y")), "Shape has an attribute .*odd"),
        (behind(node("Gemm", "h w", "y", transA=1), arrays={"w": numbers(4, 3)}), "transA=1"),
        (behind(node("Relu", "h", "y", slope=3)), "Relu has an argument that is not known: slope"),
        (behind(node("Cast", "h", "y", to=8)), "found string"),
        (behind(node("Cast", "h", "y", to=7)), "a change of type to int64"),
        (behind(node("Pad", "h p", "y", mode="reflect"), arrays={"p": whole(0, 1, 0, 0, 1, 0)}), "reflect"),
        (
            chain(node("Conv", "x w", "y"), shape=CHANNELS, arrays={"w": numbers(4, 6, 3, 3)}),
            "more than one axis",
        ),
        (
            chain(node("MaxPool", "x", "y", kernel_shape=[2], dilations=[2]), shape=CHANNELS),
            "dilations or ceil",
        ),
        (
            behind(node("Reshape", "h s", "y"), arrays={"s": whole(-1, 3)}),
            "before batch and features are merged",
        ),
        (
            behind(node("Transpose", "h", "p", perm=[1, 0, 2]), node("Add", "p h", "y")),
            "axes of the tensors do not fit",
        ),
        (behind(node("NonMaxSuppression", "h h", "y")), "NonMaxSuppression is not supported"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(content, words, tmp_path):
    with pytest.raises(RnnrtError, match=words):
        imported(content, tmp_path)


def test_a_constant_expression_cannot_ask_for_memory(tmp_path):
    nodes = [node("ConstantOfShape", "s", "big"), node("Add", "h big", "y")]
    for shape in (whole(1 << 40), whole(1 << 20, 1 << 20), whole(-1)):
        with pytest.raises(RnnrtError, match="more numbers than a model needs|cannot be worked out"):
            imported(behind(*nodes, arrays={"s": shape}), tmp_path)
    doubling = [node("Concat", "c0 c0", "c1", axis=0)]
    doubling += [node("Concat", f"c{k} c{k}", f"c{k + 1}", axis=0) for k in range(1, 60)]
    nodes = [*doubling, node("Add", "h c60", "y")]
    with pytest.raises(RnnrtError, match="more numbers than a model needs"):
        imported(behind(*nodes, arrays={"c0": np.ones(4, np.float32)}), tmp_path)


def test_not_of_numbers_is_refused(tmp_path):
    content = behind(node("Tanh", "h", "numbers"), node("Not", "numbers", "y"))
    with pytest.raises(RnnrtError, match="takes truth values .bool.; found the numbers 'numbers'"):
        imported(content, tmp_path)


@pytest.mark.parametrize("to", [1, 11, 10, INT64])
def test_truth_values_cast_to_numbers_are_counted(to, tmp_path):
    nodes = [node("Greater", "h none", "p"), node("Greater", "h some", "q")]
    nodes += [node("Cast", "p", "pn", to=to), node("Cast", "q", "qn", to=to), node("Add", "pn qn", "sum")]
    arrays = {"none": np.float32(0), "some": np.float32(0.1)}
    check(behind(*nodes, node("Cast", "sum", "y", to=1), arrays=arrays), tmp_path)


def test_numbers_cast_to_truth_values_and_what_is_made_of_those(tmp_path):
    nodes = [node("Cast", "h", "any", to=9), node("Greater", "h some", "q"), node("Not", "q", "nq")]
    nodes += [node("Transpose", "any", "turned", perm=[1, 0, 2]), node("Not", "turned", "none")]
    nodes += [node("Transpose", "none", "back", perm=[1, 0, 2]), node("Or", "back nq", "either")]
    nodes += [node("And", "either any", "both"), node("Cast", "both", "y", to=1)]
    check(behind(*nodes, arrays={"some": np.float32(0.1)}), tmp_path)
