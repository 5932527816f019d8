"""Networks with several inputs and outputs, and inputs without a time axis."""

import numpy as np
import pytest
from case_layers import dense
from expect import near, refused, same_bits
from small_models import built, frames, lstm, network, normal, rnn, two_inputs_two_outputs, with_value

import rnnrt
from rnnrt import (
    DTypeError,
    NotStreamableError,
    ShapeError,
    StateError,
    UnsupportedModelError,
    reference,
)
from rnnrt import layers as L


def test_two_inputs_and_two_outputs_by_place_and_by_name():
    model = two_inputs_two_outputs()
    left, right = frames(4, 6, 3), frames(4, 6, 2)
    expected, _ = reference.run(model.graph, {"left": left, "right": right})
    total, state = model(left, right)
    assert near(total, expected["sum"]) and near(state, expected["state"])
    named = model.run({"right": right, "left": left})
    assert list(named) == ["sum", "state"]
    assert same_bits(named["sum"], total) and same_bits(named["state"], state)
    alone = model(left[1], right[1])
    assert same_bits(alone[0], total[1]) and same_bits(alone[1], state[1])
    stream, made = model.stream(batch_size=4), []
    for t in range(6):
        y, end = stream.step((left[:, t], right[:, t]))
        assert end is None
        made.append(y)
    rest, end = stream.flush()
    assert rest.shape == (4, 0, 4)
    assert same_bits(np.stack(made, 1), total) and same_bits(end[:, 0], state)
    assert stream.max_outputs(3) == (3, 0)
    refused(
        ShapeError,
        lambda: model.stream().push((left[0], right[0]), np.empty((6, 4), np.float32)),
        "one output only",
        "found 2 outputs",
    )


def test_an_input_without_a_time_axis():
    model = two_inputs_two_outputs(time=False)
    left, right = frames(4, 6, 3), frames(4, 2)
    assert model.inputs == {"left": (None, None, 3), "right": (None, 2)}
    expected, _ = reference.run(model.graph, {"left": left, "right": right})
    total, state = model(left, right)
    assert near(total, expected["sum"]) and near(state, expected["state"])
    assert same_bits(model(left[2], right[2])[0], total[2])
    refused(
        ShapeError,
        lambda: model(left, right[:, None]),
        "input 'right'",
        "expected (batch, 2)",
        "found (4, 1, 2)",
    )
    refused(ShapeError, lambda: model(left, right[0]), "input 'right'", "some inputs have a batch axis")
    stream = model.stream(batch_size=4, inputs={"right": right})
    stream.push(left)
    assert same_bits(stream.flush()[0][:, 0], total)
    refused(ShapeError, lambda: model.stream(), "'right' has no time axis", "stream(inputs=")
    refused(
        ShapeError,
        lambda: model.stream(inputs={"right": right}),
        "input 'right'",
        "expected (2,)",
        "found (4, 2)",
    )
    refused(
        ShapeError,
        lambda: model.stream(inputs={"right": right[0], "left": left[0]}),
        "nothing is left to stream",
    )
    refused(DTypeError, lambda: model.stream(inputs={"right": ["a", "b"]}), "input 'right'")
    for wrong in (3, right):
        refused(
            DTypeError, lambda w=wrong: model.stream(inputs=w), "by name", f"found {type(wrong).__name__}"
        )
    timeless = built(lambda b, x, r: dense(b, x, r, 2), time=False, axes="bf")
    assert timeless(frames(4, 3)).shape == (4, 2) and timeless(frames(3)).shape == (2,)
    refused(NotStreamableError, timeless.stream, "'x'", "no time axis")


@pytest.fixture(scope="module")
def model():
    return network(lambda b: lstm(b, "lstm", b.input("x", (3,)), 4))


def test_more_inputs_than_the_border_has_room_for_are_refused():
    def make(b):
        xs = [b.input(f"x{k}", (1,)) for k in range(70)]
        return b.add(L.Add, "all", b.add(L.Add, "some", *xs[:40]), *xs[40:])

    model, given = network(make), tuple(normal(5, 1) for _ in range(70))
    refused(UnsupportedModelError, lambda: model(*given), "64", "70")
    refused(UnsupportedModelError, model.stream, "64", "70")


def test_inputs_of_two_lengths():
    def make(b):
        x, z = b.input("x", (3,)), b.input("z", (2,), length=5)
        return rnn(b, "free", x, 4, reverse=True), rnn(b, "fixed", z, 3, reverse=True)

    for order in (1, -1):
        graph = network(make).graph
        model = rnnrt.Model(graph.replace(graph.layers, inputs=graph.inputs[::order]))
        x, z = normal(2, 300, 3), normal(2, 5, 2)
        expected, _ = reference.run(graph, {"x": x, "z": z})
        y = model.run({"x": x, "z": z})
        assert np.abs(y["y"] - expected["y"]).max() < 1e-6
        assert np.abs(y["y1"] - expected["y1"]).max() < 1e-6
        refused(ShapeError, lambda m=model, given={"x": x, "z": z[:, :4]}: m.run(given), "'z'")


def test_what_is_given_once_counts_from_the_first_frame_to_the_last():
    model, x, value = with_value(), normal(3, 11, 3), normal(3, 4)
    expected, _ = reference.run(model.graph, {"x": x, "value": value})
    y = model(x, value)
    assert np.abs(y - expected["y"]).max() < 1e-6
    stream = model.stream(3, inputs={"value": value})
    stream.push(x[:, :5])
    twin, other = stream.clone(), model.stream(3, inputs={"value": value})
    other.state = stream.state
    for s in (stream, twin, other):
        s.push(x[:, 5:])
        assert same_bits(s.flush()[:, 0], y)
    stream.reset()
    stream.push(x)
    assert same_bits(stream.flush()[:, 0], y)
    one = model.stream(inputs={"value": value[0]})
    one.push(x[0])
    assert same_bits(one.flush()[0], y[0])
    shared = model.stream(3, inputs={"value": value[0]})  # one value for all rows
    shared.push(x)
    assert same_bits(shared.flush()[:, 0], model(x, np.broadcast_to(value[0], (3, 4))))
    every = model.stream(every_step=True, inputs={"value": value[0]})
    assert same_bits(every.push(x[0]), np.stack([model(x[0, : t + 1], value[0]) for t in range(11)]))
    assert model.stream(inputs={"value": value[0]}).flush().shape == (0, 8)


def test_what_is_given_once_must_be_given_right():
    model, value = with_value(), normal(4)
    refused(ShapeError, model.stream, "'value'", "give it once")
    refused(ShapeError, lambda: model.stream(inputs={"value": value[:3]}), "'value'", "(3,)")
    refused(ShapeError, lambda: model.stream(2, inputs={"value": normal(3, 4)}), "'value'", "(3, 4)")
    refused(ShapeError, lambda: model.stream(inputs={"value": value, "volume": value}), "'volume'")
    refused(ShapeError, lambda: model.stream(inputs={"value": value, "x": value}), "'x'")
    stream = model.stream(2, inputs={"value": value})
    refused(StateError, lambda: setattr(stream, "state", {"rnn/h": normal(2, 4)}), "rnn/h")


def test_an_initial_state_comes_before_what_the_network_would_start_from():
    def make(b):
        x, h0 = b.input("x", (3,)), b.input("h0", (4,), time=False)
        c0 = b.add(L.Dense, "c0", h0, weight=normal(4, 4))
        return lstm(b, "lstm", x, 4, h0, c0)

    model, x, h0, c = network(make), normal(2, 6, 3), normal(2, 4), normal(2, 4, seed=9)
    for given in ({}, {"lstm/c": c}, {"lstm/h": c}, {"lstm/h": c, "lstm/c": h0}):
        expected, _ = reference.run(model.graph, {"x": x, "h0": h0}, initial_state=given)
        assert np.abs(model(x, h0, initial_state=given) - expected["y"]).max() < 1e-6


def test_answers_that_hang_on_what_is_given_once_alone():
    def make(b):
        x, value = b.input("x", (3,)), b.input("value", (4,), time=False)
        laid_out = b.add(L.Unflatten, "laid_out", value, length=2)
        return (
            rnn(b, "rnn", x, 4),
            value,
            b.add(L.Dense, "dense", value, weight=normal(2, 4)),
            rnn(b, "over_value", laid_out, 3),
        )

    model, x, value = network(make), normal(7, 3), normal(4)
    expected = model(x, value)
    for sizes in ([7], [0, 1, 6], [3, 4]):
        stream, at, parts = model.stream(inputs={"value": value}), 0, []
        for n in sizes:
            parts.append(stream.push(x[at : at + n]))
            at += n
        parts.append(stream.flush())
        made = [np.concatenate(p) for p in zip(*parts)]
        assert same_bits(made[0], expected[0][:at])
        assert same_bits(made[1], expected[1][None])
        assert same_bits(made[2], expected[2][None])
        assert same_bits(made[3], expected[3])
    assert [len(y) for y in model.stream(inputs={"value": value}).flush()] == [0] * 4
    refused(StateError, lambda: model.stream(inputs={"value": value}).step(x[0]), "push()")


def test_a_network_without_time_runs_but_does_not_stream():
    model = network(
        lambda b: b.add(L.Dense, "dense", b.input("value", (4,), time=False), weight=normal(2, 4))
    )
    assert model(normal(4)).shape == (2,)
    assert same_bits(model(normal(3, 4))[1], model(normal(3, 4)[1]))
    assert not model.streamable
    refused(NotStreamableError, model.stream, "'value'", "time")
