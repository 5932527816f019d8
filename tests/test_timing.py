"""What a network does to time: delay, fixed lengths, inputs of different lengths, what cannot stream, facts
left out.
"""

import dataclasses
from typing import ClassVar

import numpy as np
import pytest
from random_graphs import random_graph

import rnnrt
from rnnrt import NotStreamableError, ShapeError, UnsupportedModelError, reference
from rnnrt import layers as L
from rnnrt.layers.base import LAYERS, TIME_FACTS, FrameByFrame


def weights(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def built(make):
    b = L.GraphBuilder()
    b.output("y", make(b))
    return rnnrt.from_graph(b.graph())


# ---- facts -------------------------------------------------------------------------------------------------


def test_every_layer_states_its_time_facts():
    assert len(LAYERS) > 20
    for cls in LAYERS.values():
        assert all(hasattr(cls, fact) for fact in TIME_FACTS), cls


@pytest.mark.parametrize("left_out", [*TIME_FACTS, None])
def test_a_layer_class_that_leaves_a_fact_out_is_refused(left_out):
    facts = {
        "span": 1,
        "stride": 1,
        "padding": (0, 0),
        "emits": "each",
        "keeps": "nothing",
        "whole": False,
        "lengths": "keeps",
        "mask_rule": "pass",
    }
    facts.pop(left_out, None)

    def infer(self, x):
        return (x,)

    def engine_fields(self, x):
        return {"activation": self.activation.pair}

    body = {
        "kind": "activation",
        "activation": L.Function("relu"),
        "infer": infer,
        "engine_fields": engine_fields,
        **facts,
    }
    stated = dict(LAYERS)
    try:
        cls = type("Novel", (L.Layer,), body)
        network = L.Graph(
            (L.Input("x", features=(2,)), cls("novel", ("x",))), ("x",), (L.Output("y", "novel"),)
        )
        if left_out is None:
            assert (rnnrt.from_graph(network)(np.array([[-1, 2]], np.float32)) == [[0, 2]]).all()
            return
        with pytest.raises(UnsupportedModelError, match=rf"'novel' \(Novel\).*{left_out!r}"):
            rnnrt.from_graph(network)
    finally:
        LAYERS.clear()
        LAYERS.update(stated)


def test_a_layer_class_that_does_not_describe_itself_to_the_engine_is_refused():
    body = {"kind": "", "infer": lambda self, x: (x,)}
    cls = type("Novel", (FrameByFrame,), body)
    layers = (L.Input("x", features=(2,)), cls("novel", ("x",)))
    with pytest.raises(UnsupportedModelError, match=r"'novel' \(Novel\).*Define Novel.engine_fields"):
        rnnrt.from_graph(L.Graph(layers, ("x",), (L.Output("y", "novel"),)))


def test_a_fact_that_is_none_is_refused():
    @dataclasses.dataclass(frozen=True, eq=False, repr=False)
    class Odd(L.Activation):
        kind: ClassVar[str] = ""
        keeps = "everything"

    with pytest.raises(UnsupportedModelError, match=r"'keeps'.*'everything'"):
        rnnrt.from_graph(
            L.Graph(
                (L.Input("x", features=(2,)), Odd("odd", ("x",), "relu")), ("x",), (L.Output("y", "odd"),)
            )
        )


# ---- delay -------------------------------------------------------------------------------------------------


def true_delay(model, frames):
    """By its definition: the smallest d such that a stream has after t + d frames what a flush after t
    brings.
    """
    width = model.graph.signals[model.graph.inputs[0]].width
    stream, running, ended = model.stream(), [0], [0]
    for _ in range(frames):
        running.append(running[-1] + len(stream.push(np.zeros((1, width), np.float32))))
        ended.append(running[-1] + len(stream.clone().flush()))
    reached = [next((t for t in range(frames + 1) if running[t] >= k), None) for k in ended]
    return max((r - t for t, r in enumerate(reached) if r is not None), default=0)


@pytest.mark.parametrize(
    ("window", "delay"),
    [
        ({"taps": 5, "stride": 4, "padding": (1, 1)}, 1),
        ({"taps": 5, "stride": 3, "padding": (2, 2)}, 2),
        ({"taps": 4, "stride": 2, "padding": (1, 2)}, 2),
        ({"taps": 3, "stride": 5, "padding": (0, 2)}, 2),
        ({"taps": 8, "stride": 3, "padding": (0, 7)}, 7),
        ({"taps": 4, "stride": 3, "padding": (9, 0)}, 0),
        ({"taps": 3, "stride": 2, "padding": (9, 5)}, 5),
        ({"taps": 3, "stride": 7, "padding": (0, 0)}, 0),
    ],
)
def test_the_delay_of_a_window_at_every_phase_of_its_stride(window, delay):
    weight = np.ones((1, window.pop("taps"), 1), np.float32)
    model = built(lambda b: b.add(L.Conv1D, "c", b.input("x", (1,)), weight=weight, **window))
    assert model.delay == model.stream().delay == delay == true_delay(model, 40)


@pytest.mark.parametrize("residual", [False, True])
def test_the_delay_has_no_upper_bound(residual):
    def make(b):
        x = b.input("x", (1,))
        for k in range(12):
            weight = np.full((1, 41, 1), 0.01, np.float32)
            y = b.add(L.Conv1D, f"c{k}", x, weight=weight, dilation=25, padding=(500, 500))
            x = b.add(L.Add, f"a{k}", x, y) if residual else y
        return x

    model = built(make)
    assert model.delay == 6000
    stream = model.stream()
    assert len(stream.push(np.zeros((6000, 1), np.float32))) == 0
    assert len(stream.push(np.zeros((1, 1), np.float32))) == 1


@pytest.mark.parametrize("end", ["last", "state"])
def test_what_comes_at_the_end_has_no_delay(end):
    def make(b):
        weight, recurrent = weights(4, 2), weights(4, 4)
        rnn = b.add(L.SimpleRNN, "rnn", b.input("x", (2,)), weight=weight, recurrent_weight=recurrent)
        known = b.add(L.Last, "last", rnn) if end == "last" else f"{rnn}:h"
        laid_out = b.add(L.Unflatten, "laid_out", known, length=4)
        return b.add(L.Conv1D, "ahead", laid_out, weight=np.ones((1, 4, 1), np.float32), padding=(0, 3))

    model = built(make)
    assert model.delay == 0
    stream = model.stream()
    assert len(stream.push(weights(9, 2))) == 0 and len(stream.flush()) == 4


def random_windows(seed):
    """A chain of windows of any stride and padding, with branches of equal rate joined on the way."""
    r = np.random.default_rng(seed)

    def window(b, x, stride):
        span, left, right = int(r.integers(1, 6)), int(r.integers(0, 9)), int(r.integers(0, 9))
        if r.random() < 0.3:
            size = span + 1
            padding = "same" if stride == 1 and r.random() < 0.5 else (min(left, span), min(right, span))
            return b.add(L.MaxPool1D, "p", x, size=size, stride=stride, padding=padding)
        weight = np.ones((1, span, 1), np.float32)
        return b.add(L.Conv1D, "c", x, weight=weight, stride=stride, padding=(left, right))

    def make(b):
        x = b.input("x", (1,))
        for _ in range(r.integers(1, 4)):
            if r.random() < 0.5:
                x = window(b, x, int(r.integers(1, 5)))
                continue
            branches = [x]
            for taps in r.integers(1, 6, r.integers(1, 3)):  # padding in all as long as the window: one rate
                left = int(r.integers(0, taps))
                weight = np.ones((1, taps, 1), np.float32)
                y = b.add(L.Conv1D, "b", x, weight=weight, padding=(left, int(taps) - 1 - left))
                branches.append(y)
            x = b.add(L.Add, "join", *branches)
        return x

    return built(make)


@pytest.mark.parametrize("seed", range(60))
def test_the_delay_of_random_windows_is_what_a_stream_shows(seed):
    model = random_windows(seed)
    assert model.delay == true_delay(model, 160)


@pytest.mark.parametrize("seed", range(30))
def test_the_delay_of_random_networks_is_what_a_stream_shows(seed):
    network = random_graph(seed)[0]
    model = rnnrt.from_graph(network)
    timed = [o for o in network.outputs if network.signals[o.value].time]
    if len(network.inputs) > 1 or not timed or len(network.outputs) > 1:
        return
    assert model.delay == true_delay(model, 60)


# ---- fixed lengths -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [None, 2])
def test_a_stream_takes_as_many_frames_as_its_input_has(batch):
    lead = () if batch is None else (batch,)
    x = weights(*lead, 12, 2)

    def make(b):
        source = b.input("x", (2,), length=10)
        return b.add(L.Conv1D, "c", source, weight=weights(3, 4, 2), stride=2, padding="same")

    model = built(make)
    ten = x[..., :10, :]
    stream = model.stream(batch)
    first = stream.push(x[..., :7, :])
    with pytest.raises(ShapeError, match=r"'x'.*fixed length; expected 10 .* found 7"):
        stream.flush()
    with pytest.raises(ShapeError, match=r"fixed length; expected 10 .* found 12"):
        stream.push(x[..., 7:, :])
    parts = [first, stream.push(ten[..., 7:, :])]
    with pytest.raises(ShapeError, match="found 11"):
        stream.step(x[..., 10, :])
    parts.append(stream.flush())  # what was refused changed nothing
    assert (np.concatenate(parts, len(lead)) == model(ten)).all()
    stream.reset()
    assert stream.flush().shape[len(lead)] == 0  # no frames have no answer


def test_every_step_ends_at_the_fixed_length_and_may_stop_before():
    def make(b):
        units = {"weight": weights(8, 2), "recurrent_weight": weights(8, 2)}
        return b.add(L.Last, "last", b.add(L.LSTM, "lstm", b.input("x", (2,), length=5), **units))

    model, x = built(make), weights(6, 2)
    stream = model.stream(every_step=True)
    assert (stream.push(x[:5])[-1] == model(x[:5])).all()
    with pytest.raises(ShapeError, match="fixed length"):
        stream.step(x[5])
    stream.reset()
    stream.push(x[:2])
    assert len(stream.flush()) == 0


def test_a_fixed_length_beside_a_free_one():
    def make(b):
        x, z = b.input("x", (2,)), b.input("z", (2,), length=5)
        pooled = b.add(L.MaxPool1D, "pool", x, size=3, stride=2, padding="same")
        return b.add(L.Concatenate, "both", b.add(L.Last, "last", pooled), b.add(L.Flatten, "flat", z))

    model, z = built(make), weights(1, 5, 2, seed=1)
    for frames in (9, 10, 1):
        x = weights(1, frames, 2)
        wanted = reference.run(model.graph, {"x": x, "z": z})[0]["y"]
        assert (model(x, z) == wanted.astype(np.float32)).all()
    with pytest.raises(ShapeError, match="'z'"):
        model(weights(1, 9, 2), z[:, :4])
    assert not model.streamable


def test_inputs_may_differ_in_length_where_nothing_joins_them():
    def make(b):
        encoded, decoded = b.input("enc", (3,)), b.input("dec", (4,))
        b.add(L.LSTM, "e", encoded, weight=weights(20, 3), recurrent_weight=weights(20, 5) / 5)
        return b.add(
            L.LSTM, "d", decoded, "e:h", "e:c", weight=weights(20, 4), recurrent_weight=weights(20, 5) / 5
        )

    model = built(make)
    for enc, dec in ((9, 5), (5, 9), (6, 6)):
        e, d = weights(2, enc, 3), weights(2, dec, 4)
        wanted = reference.run(model.graph, {"enc": e, "dec": d})[0]["y"]
        y = model(e, d)
        assert y.shape == (2, dec, 5) and np.abs(y - wanted).max() < 1e-5
    with pytest.raises(ShapeError, match="equally long"):
        model(weights(2, 9, 3), weights(2, 5, 4), lengths=[3, 3])


def test_what_joins_inputs_of_different_length_says_so():
    model = built(lambda b: b.add(L.Add, "sum", b.input("x", (2,)), b.input("z", (2,))))
    with pytest.raises(ShapeError, match=r"'sum'.*same time.*different lengths"):
        model(weights(1, 4, 2), weights(1, 5, 2))


# ---- what cannot stream ------------------------------------------------------------------------------------


def test_frames_as_they_come_cannot_meet_frames_known_at_the_end():
    def attention(b):  # scores over time, turned into one weight a frame
        x = b.input("x", (3,), length=4)
        flat = b.add(L.Flatten, "flat", b.add(L.Dense, "scores", x, weight=weights(3, 3)))
        turned = b.add(L.Select, "turned", flat, index=tuple(range(12))[::-1])
        return b.add(L.Multiply, "meet", x, b.add(L.Unflatten, "again", turned, length=4))

    def repeated(b):
        x = b.input("x", (3,), length=4)
        last = b.add(L.Last, "last", x)
        again = b.add(L.Unflatten, "again", b.add(L.Concatenate, "four", *[last] * 4), length=4)
        return b.add(L.Concatenate, "meet", x, again)

    for make in (attention, repeated):
        model, x = built(make), weights(2, 4, 3)
        assert not model.streamable
        with pytest.raises(NotStreamableError, match=r"'meet'.*known only at the end"):
            model.stream()
        wanted = reference.run(model.graph, {"x": x})[0]["y"]
        assert np.abs(model(x) - wanted).max() < 1e-5


def test_frames_known_at_the_end_may_stream_alone_or_with_values_given_once():
    def make(b):
        x, z = b.input("x", (3,), length=4), b.input("z", (12,), time=False)
        flat = b.add(L.Flatten, "flat", x)
        again = b.add(L.Unflatten, "again", flat, length=4)
        given = b.add(L.Unflatten, "given", z, length=4)
        return b.add(L.Add, "meet", again, given)

    model, x, z = built(make), weights(4, 3), weights(12, seed=1)
    stream = model.stream(inputs={"z": z})
    assert len(stream.push(x)) == 0
    assert (stream.flush() == model(x, z)).all()


def test_too_few_frames_have_no_answer_also_beside_a_value_given_once():
    def make(b):
        conv = b.add(L.Conv1D, "c", b.input("x", (2,)), weight=weights(2, 3, 2))
        return b.add(L.Concatenate, "both", b.add(L.Last, "last", conv), b.input("z", (3,), time=False))

    model, z = built(make), weights(3)
    stream = model.stream(inputs={"z": z})
    stream.push(weights(2, 2))
    assert stream.flush().shape == (0, 5)
    stream.reset()
    stream.push(weights(3, 2))
    assert (stream.flush()[0] == model(weights(3, 2), z)).all()
    with pytest.raises(ShapeError, match="too short"):
        model(weights(2, 2), z)
