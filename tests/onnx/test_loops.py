"""ONNX's Loop and Scan over frames, as exporters of Keras write recurrent layers, against onnxruntime."""

import numpy as np
import pytest
from onnx_answers import assert_same, imported
from onnx_bytes import BOOL, FLOAT, INT32, INT64, graph, model, node, numbers, port, whole

from rnnrt import UnsupportedModelError
from rnnrt.passes import optimise


def frames(batch, time, seed=0):
    return (
        np.random.RandomState(seed + 10 * batch + time).standard_normal((batch, time, 5)).astype(np.float32)
    )


#: An RNN of 4 units: weights are carried unchanged through the loop, as tf2onnx writes them.
CELL = [
    node("Add", "t one", "t_n"),
    node("Gather", "xt t", "frame"),
    node("MatMul", "frame w", "a"),
    node("MatMul", "h u", "r"),
    node("Add", "a r", "sum"),
    node("Tanh", "sum", "h_n"),
    node("Identity", "h_n", "kept"),
    node("Cast", "t_n", "tf", to=FLOAT),
    node("Cast", "last", "lf", to=FLOAT),
    node("Less", "tf lf", "again"),
]


def loop(cell=CELL, count="-", one=1, start=0, extra=(), arrays=None):
    """A file with a Loop over the frames of x: the sequence of h, and the last."""
    ports = [port("i", (), INT64), port("c", (), BOOL), port("t", (), INT32), port("h", ("b", 4))]
    ports += [port("w", (5, 4)), port("u", (4, 4)), port("last", (), INT32)]
    types = {"again": BOOL, "t_n": INT32, "last": INT32}
    ends = [port(n, None, types.get(n, FLOAT)) for n in ("again", "t_n", "h_n", "w", "u", "last", "kept")]
    body = graph(cell, ports, ends, {"one": np.int32(one)})
    nodes = [
        node("Transpose", "x", "xt", perm=[1, 0, 2]),
        node("Shape", "x", "sizes"),
        node("Gather", "sizes at", "frames", axis=0),
        node("Cast", "frames", "last0", to=INT32),
        node("Slice", "sizes zero one64", "batch"),
        node("Concat", "batch units", "hs", axis=0),
        node("ConstantOfShape", "hs", "h0"),
        *extra,
        node(
            "Loop",
            f"{count} true t0 h0 w0 u0 last0",
            "a_t a_h a_w a_u a_l seq",
            body=body,
        ),
        node("Transpose", "seq", "y", perm=[1, 0, 2]),
    ]
    arrays = (arrays or {}) | {
        "at": np.int64(1),
        "zero": whole(0),
        "one64": whole(1),
        "units": whole(4),
        "true": np.array(True),
    }
    arrays |= {"w0": numbers(5, 4, seed=1), "u0": numbers(4, 4, seed=2), "t0": np.int32(start)}
    return model(nodes, {"x": ("b", "t", 5)}, ["y", "a_h"], arrays)


def test_a_loop_over_frames_is_the_layer_it_computes(tmp_path):
    for batch in (1, 3):
        for time in (1, 2, 50):
            made = assert_same(loop(), tmp_path, {"x": frames(batch, time)})
    assert [x.kind for x in optimise(made.graph).layers] == ["input", "rnn"]
    stream, x = made.stream(), frames(1, 20)
    steps = np.stack([stream.step(f)[0] for f in x[0]])
    assert (steps == made(x)[0][0]).all()


def test_a_loop_that_is_told_how_often(tmp_path):
    always = [n for n in CELL[:7]] + [node("Identity", "c", "again")]
    assert_same(loop(always, count="frames"), tmp_path, {"x": frames(2, 7)})


#: The end as tf2onnx writes it of Keras 3: the step's number and the next one's, both before the frames' end.
TWICE = [
    *CELL[:-1],
    node("Cast", "i", "jf", to=FLOAT),
    node("Less", "jf lf", "before"),
    node("Less", "tf lf", "after"),
    node("And", "before after", "again"),
]


def test_a_loop_that_is_told_its_end_several_times(tmp_path):
    for time in (1, 2, 7):
        made = assert_same(loop(TWICE, count="frames"), tmp_path, {"x": frames(2, time)})
    assert [x.kind for x in optimise(made.graph).layers] == ["input", "rnn"]


def test_a_loop_that_is_told_two_ends_is_refused(tmp_path):
    with pytest.raises(UnsupportedModelError, match="end of the loop"):
        imported(loop(TWICE, count="five", arrays={"five": np.int64(5)}), tmp_path)
    other = [*TWICE[:-2], node("Less", "tf nine", "after"), TWICE[-1]]
    with pytest.raises(UnsupportedModelError, match="counted in this way"):
        imported(loop(other, count="frames", arrays={"nine": np.float32(9)}), tmp_path)


def test_masked_frames_keep_the_state(tmp_path):
    """Masking(0) before an RNN, as tf2onnx writes it."""
    before = [
        node("Equal", "x nought", "same"),
        node("Not", "same", "other"),
        node("Cast", "other", "otherf", to=FLOAT),
        node("ReduceSum", "otherf minus", "some", keepdims=1),
        node("Greater", "some nought", "real"),
        node("Transpose", "real", "realt", perm=[1, 0, 2]),
    ]
    cell = [
        *CELL[:5],
        node("Tanh", "sum", "fresh"),
        node("Gather", "realt t", "m"),
        node("Cast", "m", "mf", to=FLOAT),
        node("Not", "m", "nm"),
        node("Cast", "nm", "nmf", to=FLOAT),
        node("Mul", "mf fresh", "p"),
        node("Mul", "nmf h", "q"),
        node("Add", "p q", "h_n"),
        *CELL[6:],
    ]
    content = loop(cell, extra=before, arrays={"nought": np.float32(0), "minus": whole(-1)})
    x = frames(3, 9)
    x[0, 2:4] = x[1, 0] = x[2] = 0
    assert_same(content, tmp_path, {"x": x})


def scan(direction=0, axis=0):
    """A file with a Scan over the frames of x that starts at an input."""
    cell = [
        node("MatMul", "f w", "a"),
        node("Add", "a h", "s"),
        node("Tanh", "s", "h_n"),
        node("Sigmoid", "h_n", "kept"),
    ]
    body = graph(cell, [port("h", ("b", 4)), port("f", ("b", 5))], [port("h_n"), port("kept")])
    own = {"num_scan_inputs": 1, "scan_input_axes": [axis], "scan_output_axes": [axis]}
    own |= {"scan_input_directions": [direction], "scan_output_directions": [direction]}
    shape = ("t", "b", 5) if axis == 0 else ("b", "t", 5)
    return model(
        [node("Scan", "h0 x", "last y", body=body, **own)],
        [port("x", shape), port("h0", ("b", 4))],
        ["y", "last"],
        {"w": numbers(5, 4)},
    )


@pytest.mark.parametrize("direction", (0, 1))
@pytest.mark.parametrize("axis", (0, 1))
def test_a_scan_over_frames(direction, axis, tmp_path):
    for batch in (1, 3):
        for time in (1, 6):
            x, h = frames(batch, time), numbers(batch, 4, seed=7)
            x = x.transpose(1, 0, 2).copy() if axis == 0 else x
            assert_same(scan(direction, axis), tmp_path, {"x": x, "h0": h})


@pytest.mark.parametrize(
    "content, words",
    [
        (loop(one=2), "does not count by 1"),
        (loop(start=1), "does not count from 0"),
        (
            loop([*CELL[:7], node("ReduceMax", "h_n", "m", keepdims=0), node("Less", "m m", "again")]),
            "Less|dim|end",
        ),
        (loop([*CELL[:1], node("Gather", "xt t_n", "frame"), *CELL[2:]]), "another frame than its own"),
        (loop([node("Add", "t t", "t_n"), *CELL[1:]]), "counted in this way.*found Add"),
    ],
)
def test_loops_that_are_something_else_are_refused(content, words, tmp_path):
    with pytest.raises(UnsupportedModelError, match=words):
        imported(content, tmp_path)


def test_a_loop_to_a_number_takes_so_many_frames(tmp_path):
    content = loop([*CELL[:9], node("Less", "tf five", "again")], arrays={"five": np.float32(5)})
    made = imported(content, tmp_path)
    assert [n for shape in made.inputs.values() for n in shape].count(5) >= 1
    for batch in (1, 3):
        assert_same(content, tmp_path, {"x": frames(batch, 5)})
