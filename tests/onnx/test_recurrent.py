"""ONNX's LSTM, GRU and RNN: every attribute is honoured, as onnxruntime has it, or refused by name."""

import itertools

import numpy as np
import pytest
from onnx_answers import assert_same, imported, runtime_answers
from onnx_bytes import INT32, model, node, port

from rnnrt import UnsupportedModelError

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
STATES = {"LSTM": "hc", "GRU": "h", "RNN": "h"}


def weights(op, directions=1, units=4, width=3, seed=0):
    draw, gates = np.random.RandomState(seed), GATES[op]
    shapes = {"W": (directions, gates * units, width), "R": (directions, gates * units, units)}
    shapes["B"] = (directions, 2 * gates * units)
    return {name: draw.uniform(-0.8, 0.8, shape).astype(np.float32) for name, shape in shapes.items()}


def network(op, directions=1, inputs="x W R B", opset=17, ports=None, arrays=None, **attributes):
    """A file of one recurrent node that gives all it can."""
    outputs = "y " + " ".join(f"y_{s}" for s in STATES[op])
    x = ("b", "t", 3) if attributes.get("layout") else ("t", "b", 3)
    own = weights(op, directions) | (arrays or {})
    own = {n: a for n, a in own.items() if n in inputs.split()}
    made = node(op, inputs, outputs, name="rnn", hidden_size=4, **attributes)
    ports = [port("x", x), *(ports or [])]
    return model([made], ports, outputs.split(), own, opset=opset)


def frames(batch, time, layout=0):
    x = np.random.RandomState(10 * batch + time).standard_normal((time, batch, 3)).astype(np.float32)
    return x.transpose(1, 0, 2).copy() if layout else x


SHAPES = list(itertools.product((1, 3), (1, 2, 50)))


@pytest.mark.parametrize("direction", ("forward", "reverse", "bidirectional"))
@pytest.mark.parametrize("op", GATES)
def test_directions(op, direction, tmp_path):
    content = network(op, 1 + (direction == "bidirectional"), direction=direction)
    for batch, time in SHAPES:
        assert_same(content, tmp_path, {"x": frames(batch, time)})


@pytest.mark.parametrize("op", GATES)
def test_without_a_bias(op, tmp_path):
    assert_same(network(op, inputs="x W R"), tmp_path, {"x": frames(2, 5)})


def test_the_reset_gate_before_and_after_the_product(tmp_path):
    for after in (0, 1):
        assert_same(network("GRU", linear_before_reset=after), tmp_path, {"x": frames(2, 6)})
        content = network("GRU", 2, direction="bidirectional", linear_before_reset=after)
        assert_same(content, tmp_path, {"x": frames(2, 6)})


@pytest.mark.parametrize("op", GATES)
def test_initial_states_that_are_inputs(op, tmp_path):
    for directions, direction in ((1, "forward"), (2, "bidirectional")):
        names = [f"s_{s}" for s in STATES[op]]
        ports = [port(n, (directions, "b", 4)) for n in names]
        content = network(op, directions, f"x W R B - {' '.join(names)}", ports=ports, direction=direction)
        draw = np.random.RandomState(5)
        for batch in (1, 3):
            given = {n: draw.standard_normal((directions, batch, 4)).astype(np.float32) for n in names}
            made = assert_same(content, tmp_path, {"x": frames(batch, 4)} | given)
            assert made.inputs["s_h"] == (directions, None, 4)


def test_initial_states_that_are_known(tmp_path):
    first = np.random.RandomState(3).standard_normal((1, 1, 4)).astype(np.float32)
    content = network("LSTM", inputs="x W R B - h c", arrays={"h": first, "c": 2 * first})
    made = assert_same(content, tmp_path, {"x": frames(1, 5)})
    np.testing.assert_array_equal(made.graph.start["rnn/h"], first[0, 0])
    np.testing.assert_array_equal(made.graph.start["rnn/c"], 2 * first[0, 0])
    zeros = network("GRU", inputs="x W R B - h", arrays={"h": np.zeros((1, 2, 4), np.float32)})
    assert not assert_same(zeros, tmp_path, {"x": frames(2, 5)}).graph.start
    rows = np.random.RandomState(3).standard_normal((1, 2, 4)).astype(np.float32)
    with pytest.raises(UnsupportedModelError, match="the initial state is not the same for every row"):
        imported(network("GRU", inputs="x W R B - h", arrays={"h": rows}), tmp_path)


def test_lengths_of_the_rows(tmp_path):
    for op, directions in itertools.product(GATES, (1, 2)):
        direction = ("forward", "bidirectional")[directions - 1]
        ports = [port("lengths", ("b",), INT32)]
        content = network(op, directions, "x W R B lengths", ports=ports, direction=direction)
        made = imported(content, tmp_path)
        assert list(made.inputs) == ["x"]
        lengths, x = np.array([5, 1, 3], np.int32), frames(3, 5)
        wanted = runtime_answers(content, {"x": x, "lengths": lengths})
        for y, z in zip(made(x, lengths=lengths), wanted):
            np.testing.assert_allclose(y, z, atol=1e-5)


@pytest.mark.parametrize(
    "op, activations, more",
    [
        ("RNN", ["Relu"], {}),
        ("RNN", ["LeakyRelu"], {"activation_alpha": [0.2]}),
        ("RNN", ["Softsign"], {}),
        ("RNN", ["Elu"], {"activation_alpha": [0.7]}),
        ("RNN", ["HardSigmoid"], {"activation_alpha": [0.2], "activation_beta": [0.5]}),
        ("GRU", ["HardSigmoid", "Relu"], {"activation_alpha": [0.2], "activation_beta": [0.5]}),
        ("GRU", ["sigmoid", "tanh"], {}),
        ("LSTM", ["HardSigmoid", "Tanh", "Tanh"], {"activation_alpha": [0.2], "activation_beta": [0.5]}),
        ("LSTM", ["Sigmoid", "Relu", "Relu"], {}),
    ],
)
def test_activations(op, activations, more, tmp_path):
    content = network(op, activations=activations, **more)
    assert_same(content, tmp_path, {"x": frames(2, 6)})
    both = network(
        op, 2, activations=activations * 2, direction="bidirectional", **{k: v * 2 for k, v in more.items()}
    )
    assert_same(both, tmp_path, {"x": frames(2, 6)})


def test_directions_may_have_activations_of_their_own(tmp_path):
    content = network("RNN", 2, activations=["Tanh", "Relu"], direction="bidirectional")
    assert_same(content, tmp_path, {"x": frames(2, 6)})


def test_the_batch_first(tmp_path):
    """onnxruntime has no layout 1: the same weights time first, turned about, are its answer."""
    for op, directions in itertools.product(GATES, (1, 2)):
        direction = ("forward", "bidirectional")[directions - 1]
        made = imported(network(op, directions, direction=direction, layout=1), tmp_path)
        x = frames(3, 5)
        y, *finals = runtime_answers(network(op, directions, direction=direction), {"x": x})
        answers = made(x.transpose(1, 0, 2))
        np.testing.assert_allclose(answers[0], np.einsum("tdbu->btdu", y), atol=1e-5)
        for a, f in zip(answers[1:], finals):
            np.testing.assert_allclose(a, f.transpose(1, 0, 2), atol=1e-5)


@pytest.mark.parametrize(
    "op, more, words",
    [
        ("LSTM", {"clip": 3.0}, "LSTM with clip=3 is not supported"),
        ("GRU", {"clip": 0.5}, "GRU with clip=0.5 is not supported"),
        ("LSTM", {"input_forget": 1}, "input_forget=1 is not supported"),
        ("LSTM", {"activations": ["Sigmoid", "Tanh", "Relu"]}, "cell and output have different activations"),
        ("RNN", {"activations": ["ThresholdedRelu"]}, "'ThresholdedRelu' is not supported"),
        (
            "RNN",
            {"activations": ["Affine"], "activation_alpha": [2.0]},
            "Affine is supported as the identity",
        ),
        ("RNN", {"activations": ["HardSigmoid"], "activation_alpha": [0.3]}, "alpha=0.3, beta=0.5"),
        ("RNN", {"shake": 1}, "RNN has an attribute that is not known: shake"),
        ("LSTM", {"linear_before_reset": 1}, "not known: linear_before_reset"),
        ("GRU", {"direction": "sideways"}, "is not a direction"),
    ],
)
def test_what_is_not_honoured_is_refused_by_name(op, more, words, tmp_path):
    with pytest.raises(UnsupportedModelError, match=f"node 'rnn' .{op}.: .*{words}"):
        imported(network(op, **more), tmp_path)


def test_peepholes_are_refused_unless_they_are_zero(tmp_path):
    inputs = "x W R B - - - P"
    zero = network("LSTM", inputs=inputs, arrays={"P": np.zeros((1, 12), np.float32)})
    assert_same(zero, tmp_path, {"x": frames(2, 4)})
    with pytest.raises(UnsupportedModelError, match="peepholes"):
        imported(network("LSTM", inputs=inputs, arrays={"P": np.ones((1, 12), np.float32)}), tmp_path)


def test_a_stream_gives_the_bits_of_the_whole(tmp_path):
    for op in GATES:
        made = imported(network(op, direction="forward"), tmp_path)
        part = made.graph.outputs[0]
        assert part.name == "y"
        x = frames(1, 20)
        whole = made(x)[0][:, 0, 0]
        stream = made.stream()
        steps = [stream.push(x[k : k + 4, 0])[0] for k in range(0, 20, 4)]
        assert (np.concatenate([s.reshape(4, -1) for s in steps]) == whole).all()
