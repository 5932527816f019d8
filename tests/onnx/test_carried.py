"""States that go in and out with every call: carried by streams, as a caller of onnxruntime carries them."""

import numpy as np
import pytest
from onnx_answers import imported, runtime_answers
from onnx_bytes import model, node, numbers, port, whole
from onnx_exports import recorded

from rnnrt import UnsupportedModelError
from rnnrt.importers.call_graph import components
from rnnrt.passes import optimise


def called(content, name, frames, states, output):
    """[the answer to each frame] of onnxruntime called frame after frame, ``states``: {input: (start,
    output)}, its outputs in order.
    """
    values, made = {n: start for n, (start, _) in states.items()}, []
    names = [output, *(o for _, o in states.values())]
    for frame in frames:
        answers = dict(zip(names, runtime_answers(content, {name: frame, **values})))
        values = {n: answers[o] for n, (_, o) in states.items()}
        made.append(answers[output])
    return made


def assert_carried(content, tmp_path, frames, states, output="y", name="x", **options):
    """A stream answers each frame as the caller of onnxruntime gets it, with the bits of one whole call."""
    pairs = {n: o for n, (_, o) in states.items()}
    made = imported(content, tmp_path, state=pairs, **options)
    wanted = called(content, name, frames, states, output)
    frame = made.graph.signals[name].features
    xs = [x.reshape(frame) for x in frames]
    whole_call, stream = made(np.stack(xs)[None]), made.stream()
    steps = [stream.step(x) for x in xs]
    for y, z in zip(steps, wanted, strict=True):
        np.testing.assert_allclose(y.ravel(), z.ravel(), atol=1e-5)
    assert (np.stack(steps) == whole_call[0]).all()
    rows = made(np.stack([np.stack(xs), np.zeros((len(xs), *frame), np.float32)]))
    assert (rows[0] == whole_call[0]).all()
    return made


def lstm_step(packed):
    """One frame through an LSTM that is written out, its states in two inputs or in one (2, batch, 4)."""
    arrays = {"wi": numbers(16, 5, seed=1), "wh": numbers(16, 4, seed=2), "b": numbers(16, seed=3)}
    arrays |= {"zero": whole(0), "k0": np.array(0), "k1": np.array(1), "four": whole(4, 4, 4, 4)}
    nodes = [
        node("Gemm", "x wi b", "a", transB=1),
        node("Gemm", "h wh", "r", transB=1),
        node("Add", "a r", "gates"),
        node("Split", "gates four", "i f g o", axis=1),
        node("Sigmoid", "i", "si"),
        node("Sigmoid", "f", "sf"),
        node("Tanh", "g", "tg"),
        node("Sigmoid", "o", "so"),
        node("Mul", "sf c", "kept"),
        node("Mul", "si tg", "fresh"),
        node("Add", "kept fresh", "cn"),
        node("Tanh", "cn", "tc"),
        node("Mul", "so tc", "hn"),
        node("Relu", "hn", "y"),
    ]
    x = port("x", ("b", 5))
    if not packed:
        return model(nodes, [x, port("h", ("b", 4)), port("c", ("b", 4))], ["y", "hn", "cn"], arrays)
    before = [node("Gather", "s k0", "h", axis=0), node("Gather", "s k1", "c", axis=0)]
    after = [
        node("Unsqueeze", "hn zero", "h1"),
        node("Unsqueeze", "cn zero", "c1"),
        node("Concat", "h1 c1", "sn", axis=0),
    ]
    return model([*before, *nodes, *after], [x, port("s", (2, "b", 4))], ["y", "sn"], arrays)


FRAMES = [numbers(1, 5, seed=10 + k) for k in range(12)]


def test_a_cell_that_is_written_out_is_the_layer(tmp_path):
    zero = np.zeros((1, 4), np.float32)
    made = assert_carried(lstm_step(False), tmp_path, FRAMES, {"h": (zero, "hn"), "c": (zero, "cn")})
    packed = np.zeros((2, 1, 4), np.float32)
    other = assert_carried(lstm_step(True), tmp_path, FRAMES, {"s": (packed, "sn")})
    x = np.stack([f.reshape(5) for f in FRAMES])[None]
    assert (made(x) == other(x)).all()
    for one in (made, other):
        assert [x.kind for x in optimise(one.graph).layers] == ["input", "lstm", "activation"]


def test_states_that_a_caller_keeps_are_inputs_without_state(tmp_path):
    made = imported(lstm_step(True), tmp_path)
    assert made.inputs == {"x": (None, 5), "s": (2, None, 4)} and list(made.outputs) == ["y", "sn"]
    x, s = numbers(3, 5, seed=1), numbers(2, 3, 4, seed=2)
    for y, z in zip(made(x, s), runtime_answers(lstm_step(True), {"x": x, "s": s}), strict=True):
        np.testing.assert_allclose(y, z, atol=1e-6)


def test_frames_of_any_number_keep_what_recurrent_layers_end_in(tmp_path):
    files, _ = recorded()
    for way in ("old17", "new20"):
        made = imported(files[f"lstm_states.{way}"], tmp_path, state={"h": "hn", "c": "cn"})
        assert list(made.inputs) == ["x"] and list(made.outputs) == ["y"]
        x = numbers(2, 21, 5)
        stream = made.stream(batch_size=2)
        parts = [stream.push(x[:, :4]), stream.push(x[:, 4:])]
        assert (np.concatenate(parts, 1) == made(x)).all()
        plain = imported(files[f"lstm_states.{way}"], tmp_path)
        states = np.zeros((2, 2, 8), np.float32), np.zeros((2, 2, 8), np.float32)
        first, *states = plain(x[:, :4], *states)
        second, *_ = plain(x[:, 4:], *states)
        np.testing.assert_allclose(np.concatenate([first, second], 1), made(x), atol=1e-6)


def test_a_ring_of_frames_and_a_sum(tmp_path):
    """States that no known cell has: the last two frames, and a running sum."""
    arrays = {"w": numbers(15, 3), "from": whole(5), "end": whole(1 << 62), "one": whole(1)}
    nodes = [
        node("Concat", "ring x", "window", axis=1),
        node("MatMul", "window w", "p"),
        node("Slice", "window from end one", "ring_n"),
        node("Tanh", "p", "t"),
        node("Add", "sum t", "sum_n"),
        node("Mul", "sum_n t", "y"),
    ]
    ports = [port("x", ("b", 5)), port("ring", ("b", 10)), port("sum", ("b", 3))]
    content = model(nodes, ports, ["y", "ring_n", "sum_n"], arrays)
    states = {
        "ring": (np.zeros((1, 10), np.float32), "ring_n"),
        "sum": (np.zeros((1, 3), np.float32), "sum_n"),
    }
    assert_carried(content, tmp_path, FRAMES, states)


def test_convolutions_within_a_call(tmp_path):
    """A frame of 16 samples goes through strided convolutions, then a cell."""
    arrays = {"w1": numbers(4, 1, 3), "w2": numbers(5, 4, 3, seed=1), "at": whole(1), "flat": whole(0, -1)}
    arrays |= {"wi": numbers(4, 15, seed=4), "wh": numbers(4, 4, seed=5), "one": np.float32(1)}
    nodes = [
        node("Unsqueeze", "x at", "x3"),
        node("Conv", "x3 w1", "c1", strides=[2], pads=[1, 1]),
        node("Relu", "c1", "r1"),
        node("Conv", "r1 w2", "c2", strides=[2]),
        node("Reshape", "c2 flat", "f"),
        node("Gemm", "f wi", "a", transB=1),
        node("Gemm", "h wh", "r", transB=1),
        node("Add", "a r", "s"),
        node("Tanh", "s", "hn"),
        node("Identity", "hn", "y"),
    ]
    content = model(nodes, [port("x", ("b", 16)), port("h", ("b", 4))], ["y", "hn"], arrays)
    frames = [numbers(1, 16, seed=k) for k in range(9)]
    made = assert_carried(content, tmp_path, frames, {"h": (np.zeros((1, 4), np.float32), "hn")})
    assert "time_distributed" in [x.kind for x in made.graph.layers]


def test_the_rows_of_a_call_may_be_frames(tmp_path):
    """An LSTM over the first axis of a file that has no batch."""
    arrays = {"W": numbers(1, 16, 6), "R": numbers(1, 16, 4), "B": numbers(1, 32), "w": numbers(6, 1, 3)}
    arrays |= {"at": whole(1), "last": whole(2), "top": np.array(-1)}
    nodes = [
        node("Unsqueeze", "x at", "x3"),
        node("Conv", "x3 w", "c"),
        node("Gather", "c top", "g", axis=2),
        node("Unsqueeze", "g at", "g3"),
        node("LSTM", "g3 W R B - h c0", "seq hn cn", hidden_size=4),
        node("Squeeze", "seq at", "q"),
        node("Squeeze", "q at", "y"),
    ]
    ports = [port("x", ("t", 8)), port("h", (1, 1, 4)), port("c0", (1, 1, 4))]
    content = model(nodes, ports, ["y", "hn", "cn"], arrays)
    made = imported(content, tmp_path, state={"h": "hn", "c0": "cn"})
    x, zero = numbers(11, 8), np.zeros((1, 1, 4), np.float32)
    wanted = runtime_answers(content, {"x": x, "h": zero, "c0": zero})[0]
    np.testing.assert_allclose(made(x), wanted, atol=1e-6)
    stream = made.stream()
    assert (np.concatenate([stream.push(x[:3]), stream.push(x[3:])]) == made(x)).all()


@pytest.mark.parametrize(
    "state, words",
    [
        ({"z": "hn"}, "state names an input that is not there.*found 'z'"),
        ({"h": "z"}, "state names an output that is not there.*found 'z'"),
        ({"h": "y", "c": "hn"}, None),
    ],
)
def test_pairs_that_do_not_fit(state, words, tmp_path):
    if words is None:  # another recurrence than the file was made for, and a legal one
        imported(lstm_step(False), tmp_path, state=state)
        return
    with pytest.raises(UnsupportedModelError, match=words):
        imported(lstm_step(False), tmp_path, state=state)


def test_a_state_that_cannot_be_kept_is_refused(tmp_path):
    files, _ = recorded()
    with pytest.raises(UnsupportedModelError, match="what it ends in does not become that state"):
        imported(files["lstm_states.old17"], tmp_path, state={"h": "cn", "c": "hn"})
    arrays = {"W": numbers(1, 4, 3), "R": numbers(1, 4, 4), "w": numbers(4, 4, 3)}
    nodes = [
        node("RNN", "x W R - - h", "seq hn", hidden_size=4),
        node("Squeeze", "seq", "q", axes=[1]),
        node("Transpose", "q", "q3", perm=[1, 2, 0]),
        node("Conv", "q3 w", "y", pads=[2, 0]),
    ]
    content = model(nodes, [port("x", ("t", "b", 3)), port("h", (1, "b", 4))], ["y", "hn"], arrays, opset=11)
    with pytest.raises(UnsupportedModelError, match="begins anew with every call"):
        imported(content, tmp_path, state={"h": "hn"})


def test_circles_are_found():
    edges = {"a": {"b"}, "b": {"a", "c"}, "c": set(), "d": {"a"}, "e": {"e"}}
    found = [set(g) for g in components(edges)]
    assert {frozenset(g) for g in found} == {frozenset(g) for g in ({"a", "b"}, {"c"}, {"d"}, {"e"})}
    assert found.index({"c"}) < found.index({"a", "b"}) < found.index({"d"})
