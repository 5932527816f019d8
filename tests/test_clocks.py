"""Inputs with lengths of their own: in whole calls, and pushed each at its own pace."""

import numpy as np
import pytest
from case_layers import conv, dense
from clock_networks import (
    apart,
    encoder_decoder,
    ends,
    given,
    laid_out,
    left_end_beside,
    same,
    started_gru,
    three_of_two_clocks,
    two_ends,
)
from expect import refused, same_bits
from small_models import lstm, network, normal

import rnnrt
from rnnrt import NotStreamableError, ShapeError, reference, timing
from rnnrt import layers as L

NETWORKS = {"ends": two_ends, "apart": apart, "three": three_of_two_clocks}


def lengths_of(model, generator):
    by_clock = generator.integers(3, 24, len(model.clocks))
    return {n: int(count) for names, count in zip(model.clocks, by_clock) for n in names}


def answered(model, *xs):
    made = model(*xs)
    return made if isinstance(made, tuple) else (made,)


def streamed(model, xs, generator, stream=None):
    """What pushes of random sizes, other ones for every clock, bring in all."""
    stream, made = stream or model.stream(len(xs[0])), []
    names, at = list(model.inputs), np.zeros(len(model.clocks), int)
    sizes = [xs[names.index(own[0])].shape[1] for own in model.clocks]
    clock = {n: k for k, own in enumerate(model.clocks) for n in own}
    while (at < sizes).any():
        step = [int(generator.integers(0, s - a + 1)) for s, a in zip(sizes, at)]
        chunks = []
        for name, x in zip(names, xs):
            k = clock[name]
            chunks.append(x[:, at[k] : at[k] + step[k]] if step[k] or generator.random() < 0.5 else None)
        due = stream.max_outputs(tuple(step))
        pushed = stream.push(tuple(chunks))
        pushed = pushed if isinstance(pushed, tuple) else (pushed,)
        assert (due if isinstance(due, tuple) else (due,)) == tuple(y.shape[1] for y in pushed)
        made.append(pushed)
        at += step
        assert stream.position == tuple(at)
    rest = stream.flush()
    made.append(rest if isinstance(rest, tuple) else (rest,))
    return [np.concatenate(parts, 1) for parts in zip(*made)]


@pytest.mark.parametrize("name", NETWORKS)
def test_inputs_of_several_clocks_are_pushed_each_at_its_own_pace(name):
    model, generator = NETWORKS[name](), np.random.default_rng(1)
    for _ in range(6):
        lengths = lengths_of(model, generator)
        xs = given(model, lengths, 3)
        whole = answered(model, *xs)
        expected, _ = reference.run(model.graph, dict(zip(model.inputs, xs)))
        for y, exact in zip(whole, expected.values()):
            assert np.abs(y - exact).max() < 1e-5
        same(model, streamed(model, xs, generator), whole)


def test_the_clocks_are_the_inputs_whose_frames_meet():
    assert two_ends().clocks == (("left",), ("right",))
    assert apart().clocks == (("left",), ("right",))
    assert three_of_two_clocks().clocks == (("a", "c"), ("b",))
    assert laid_out().clocks == (("x",), ("source",))
    for model in (two_ends(), apart(), three_of_two_clocks(), laid_out(), encoder_decoder()):
        plan, ports = model._plans.common, model._ports  # and the engine finds the same ones
        numbers = {ports.inputs[k].layer.name: plan.clock(i) for i, k in enumerate(ports.engine_order)}
        assert [len({numbers[n] for n in names}) for names in model.clocks] == [1] * len(model.clocks)
        assert len(set(numbers.values())) == len(model.clocks)


def test_the_inputs_may_be_named_in_another_order_than_they_are_made_in():
    graph = three_of_two_clocks().graph
    model = rnnrt.Model(graph.replace(graph.layers, inputs=("b", "c", "a")))
    assert model.clocks == (("b",), ("c", "a"))
    xs = given(model, {"a": 9, "c": 9, "b": 4}, 2)
    stream = model.stream(2)
    stream.push((xs[0][:, :3], xs[1][:, :7], xs[2][:, :7]))
    assert stream.position == (3, 7)
    assert stream.state.arrays()["position"].tolist() == [[3, 7]] * 2
    stream.push((xs[0][:, 3:], xs[1][:, 7:], xs[2][:, 7:]))
    assert same_bits(stream.flush()[1][:, 0], model(*xs)[1])


def test_delay_has_a_number_for_every_clock():
    model = apart()
    assert model.delay == model.stream().delay
    alone = network(
        lambda b: conv(
            b, b.input("right", (2,)), np.random.default_rng(6), 5, 5, padding=(2, 2), stride=2, name="ahead"
        )
    )
    assert model.delay[1] == alone.delay > 0 and len(model.delay) == 2
    assert timing.delays(two_ends().graph) == two_ends().delay == (0, 0)


def test_inputs_of_one_clock_take_the_same_number_of_frames():
    model = three_of_two_clocks()
    stream = model.stream()
    a, b, c = (x[0] for x in given(model, {"a": 4, "b": 4, "c": 4}, 1))
    for wrong in ((a, b, c[:3]), (a, b, None), (None, None, c[:1])):
        refused(ShapeError, lambda w=wrong: stream.push(w), "'a'", "'c'", "different numbers of frames")
    assert stream.position == (0, 0)
    refused(ShapeError, lambda: stream.max_outputs((1, 2, 3)), "2 clocks")
    assert stream.max_outputs(4) == stream.max_outputs((4, 4))


def test_step_takes_a_frame_of_every_input():
    model = two_ends()
    left, right = (x[0] for x in given(model, {"left": 5, "right": 5}, 1))
    stream = model.stream()
    for t in range(5):
        assert stream.step((left[t], right[t])) is None
    assert same_bits(stream.flush()[0], model(left, right))
    refused(ShapeError, lambda: model.stream().step((left[0], None)), "'right'")


def test_at_the_end_no_input_may_be_without_a_frame_that_is_joined_with_others():
    model = two_ends()
    left, right = (x[0] for x in given(model, {"left": 5, "right": 2}, 1))
    stream = model.stream()
    stream.push((left, None))
    refused(ShapeError, stream.flush, "too short", "'both'", "'left' 5, 'right' 0", "Push frames of 'right'")
    stream.push((None, right))  # nothing had changed
    assert same_bits(stream.flush()[0], model(left, right))
    assert model.stream().flush().shape == (0, 2)
    alone = apart().stream()  # what is joined with nothing may stay away
    alone.push((left, None))
    assert [len(y) for y in alone.flush()] == [0, 0, 1]


def test_with_every_step_joined_answers_take_equal_steps():
    model = two_ends()
    left, right = (x[0] for x in given(model, {"left": 6, "right": 6}, 1))
    causal = network(
        lambda b: dense(
            b,
            b.add(
                L.Concatenate,
                "both",
                b.add(L.Last, "left_end", lstm(b, "left_lstm", b.input("left", (3,)), 4)),
                b.add(L.GlobalMaxPool, "right_end", b.input("right", (2,))),
            ),
            np.random.default_rng(8),
            2,
        )
    )
    refused(NotStreamableError, lambda: model.stream(every_step=True), "looks ahead")
    stream = causal.stream(every_step=True)
    refused(ShapeError, lambda: stream.push((left[:2], right[:1])), "different numbers of frames")
    y = np.concatenate([stream.push((left[:2], right[:2])), stream.push((left[2:], right[2:]))])
    assert same_bits(y, np.stack([causal(left[: t + 1], right[: t + 1]) for t in range(6)]))


def test_rows_begin_anew_and_go_on_in_bytes():
    model, generator = apart(), np.random.default_rng(3)
    xs = given(model, {"left": 9, "right": 14}, 2)
    whole = model(*xs)
    stream = model.stream(2)
    stream.push((xs[0][:, :2], xs[1][:, :5]))
    stream.reset(rows=[1])
    assert stream.position.tolist() == [[2, 5], [0, 0]]
    ahead = stream.push((xs[0][:, :4], xs[1][:, :6]))  # of row 1; row 0 has other frames due
    other = model.stream(1)
    assert all(same_bits(y[1], z[0]) for y, z in zip(ahead, other.push((xs[0][1:, :4], xs[1][1:, :6]))))
    stream = model.stream(2)
    first = stream.push((xs[0][:, :3], xs[1][:, :8]))
    twin = model.stream(2)
    twin.state = rnnrt.State.from_bytes(stream.state.to_bytes())
    assert twin.position == (3, 8)
    rest = [np.concatenate(p, 1) for p in zip(first, twin.push((xs[0][:, 3:], xs[1][:, 8:])), twin.flush())]
    same(model, rest, whole)
    same(model, streamed(model, xs, generator), whole)


def test_many_streams_are_pushed_as_one_batch():
    model = apart()
    xs = given(model, {"left": 9, "right": 14}, 3)
    streams = [model.stream() for _ in range(3)]
    streams[2].push((xs[0][2, :1], xs[1][2, :3]))  # another phase than the others
    alone = [s.clone() for s in streams]
    made = model.push_many(streams, [(xs[0][k, 1:4], xs[1][k, 3:9]) for k in range(3)])
    for k, stream in enumerate(alone):
        for y, z in zip(made[k], stream.push((xs[0][k, 1:4], xs[1][k, 3:9]))):
            assert same_bits(y, z)
    assert [s.position for s in streams] == [s.position for s in alone]
    refused(
        ShapeError,
        lambda: model.push_many(streams, [(xs[0][k, :2], xs[1][k, : k + 1]) for k in range(3)]),
        "different numbers of frames",
        "('left' 2, 'right' 1) and ('left' 2, 'right' 2)",
    )


def test_what_is_given_once_waits_for_the_frames_it_meets():
    def make(b):
        r = np.random.default_rng(13)
        left, right, value = (
            b.input("left", (3,)),
            b.input("right", (2,), length=4),
            b.input("value", (3,), time=False),
        )
        repeated = b.add(L.Unflatten, "repeat", dense(b, value, r, 8), length=4)
        return lstm(b, "lstm", left, 4), b.add(L.Add, "met", right, repeated)

    model = network(make)
    left, right, value = normal(2, 5, 3), normal(2, 4, 2), normal(2, 3)
    stream = model.stream(2, inputs={"value": value})
    made = [stream.push(c) for c in ((left[:, :3], None), (None, right[:, :1]), (left[:, 3:], right[:, 1:]))]
    same(model, [np.concatenate(p, 1) for p in zip(*made, stream.flush())], model(left, right, value))


def test_a_value_beside_every_frame_waits_for_the_frames_it_meets():
    def make(b):
        r = np.random.default_rng(17)
        left, right, value = b.input("left", (3,)), b.input("right", (2,)), b.input("value", (3,), time=False)
        beside = b.add(L.Expand, "beside", right, dense(b, value, r, 2))
        return lstm(b, "lstm", left, 4), b.add(L.Multiply, "film", right, beside)

    model = network(make)
    left, right, value = normal(2, 5, 3), normal(2, 4, 2), normal(2, 3)
    stream = model.stream(2, inputs={"value": value})
    made = [stream.push(c) for c in ((left[:, :3], None), (None, right[:, :1]), (left[:, 3:], right[:, 1:]))]
    same(model, [np.concatenate(p, 1) for p in zip(*made, stream.flush())], model(left, right, value))


def test_fixed_lengths_are_those_of_each_clock():
    def make(b):
        r = np.random.default_rng(9)
        return ends(b, b.input("left", (3,), length=4), b.input("right", (2,), length=7), r)

    model = network(make)
    left, right = (x[0] for x in given(model, {"left": 4, "right": 7}, 1))
    stream = model.stream()
    stream.push((left, right[:3]))
    refused(
        ShapeError, lambda: stream.push((left[:1], None)), "'left'", "fixed length", "expected 4", "found 5"
    )
    refused(ShapeError, stream.flush, "'right'", "expected 7", "found 3")
    stream.push((None, right[3:]))
    assert same_bits(stream.flush()[0], model(left, right))


def test_every_step_joins_two_clocks_of_three():
    def make(b):
        x, y, z = (b.input(n, (3,)) for n in "xyz")
        joined = b.add(L.Concatenate, "c", left_end_beside(b, y, "y"), left_end_beside(b, z, "z"))
        return lstm(b, "own", x, 2), joined

    model = network(make)
    x, y, z = (a[0] for a in given(model, {"x": 5, "y": 4, "z": 4}, 1))
    stream = model.stream(every_step=True)
    for wrong in ((x[:3], y[:2], z[:1]), (x[:2], y[:1], None), (None, y[:2], z[:1])):
        refused(
            ShapeError, lambda w=wrong: stream.push(w), "'c'", "different numbers of frames", "'y' ", "'z' "
        )
    _own, joined = stream.push((x, y[:3], z[:3]))
    assert same_bits(joined, np.stack([model(x, y[: t + 1], z[: t + 1])[1] for t in range(3)]))
    assert stream.max_outputs((2, 1, 1)) == (2, 1)
    two = network(lambda b: make(b)[1]).stream(every_step=True)
    out = np.empty(8, np.float32)
    assert two.step((x[0], y[0], z[0]), out=out) is out and same_bits(out, joined[0])


def test_a_state_that_begins_with_the_row_and_not_with_a_clock():
    def make(b):
        r = np.random.default_rng(14)
        left, right, value = b.input("left", (3,)), b.input("right", (3,)), b.input("value", (3,), time=False)
        repeated = b.add(L.Unflatten, "repeat", dense(b, value, r, 8), length=4)
        end = b.add(L.Last, "end", started_gru(b, repeated, dense(b, value, r, 5, activation="tanh"), r))
        return lstm(b, "lstm", left, 4), left_end_beside(b, right, "right"), end

    model = network(make)
    left, right, value = (x[0] for x in (normal(1, 5, 3), normal(1, 4, 3), normal(1, 3)))
    stream = model.stream(inputs={"value": value})
    stream.push((None, right[:2]))
    twin = stream.clone()
    for s in (stream, twin):
        assert same_bits(s.push((left, right[2:]))[0], model(left, right, value)[0])


def test_answers_of_inputs_that_end_at_different_times_wait_for_one_another():
    """Fixed lengths, flattened and joined, in a whole call of several blocks and in a stream."""

    def make(b):
        flat = [
            b.add(L.Flatten, f"flat{k}", b.input(f"x{k}", (2,), length=n))
            for k, n in enumerate((120, 30, 60))
        ]
        return dense(b, b.add(L.Concatenate, "all", *flat), np.random.default_rng(16), 3)

    model = network(make)
    xs = given(model, {"x0": 120, "x1": 30, "x2": 60}, 2)
    whole = model(*xs)
    exact, _ = reference.run(model.graph, dict(zip(model.inputs, xs)))
    assert np.abs(whole - exact["y"]).max() < 1e-5
    same(model, streamed(model, xs, np.random.default_rng(2)), (whole,))


def test_a_mask_that_is_left_out_is_as_long_as_what_it_masks():
    def make(b):
        left, right, mask = b.input("left", (3,)), b.input("right", (3,)), b.input("mask", ())
        end = b.add(L.Last, "left_end", lstm(b, "masked", left, 4, mask=mask))
        return b.add(L.Concatenate, "both", end, left_end_beside(b, right, "right"))

    model = network(make)
    left, right = normal(2, 5, 3), normal(2, 9, 3)
    whole = model(left, right)
    assert same_bits(whole, model(left, right, mask=np.ones((2, 5))))
    assert not same_bits(whole, model(left, right, mask=np.arange(5) < [[5], [2]]))
    stream = model.stream(2)
    stream.push((left, right))
    assert same_bits(stream.flush()[:, 0], whole)
    assert same_bits(model.run({"right": right, "left": left})["y"], whole)
    assert not model._plans._by_length  # one plan for all lengths
