"""Inputs with lengths of their own: in whole calls, pushed each at its own pace, and given whole."""

import numpy as np
import pytest
from case_layers import bidirectional, conv, conv_transpose, dense
from expect import refused, same_bits
from small_models import lstm, network, normal

import rnnrt
from rnnrt import NotStreamableError, ShapeError, StateError, reference, timing
from rnnrt import layers as L


def ends(b, left, right, r):
    """One answer to the ends of two sequences."""
    left = b.add(L.Last, "left_end", lstm(b, "left_lstm", left, 4))
    right = b.add(L.GlobalMaxPool, "right_end", conv(b, right, r, 5, 3, padding=(1, 1), name="right_conv"))
    return dense(b, b.add(L.Concatenate, "both", left, right), r, 2)


def two_ends():
    r = np.random.default_rng(5)
    return network(lambda b: ends(b, b.input("left", (3,)), b.input("right", (2,)), r))


def apart():
    """Two networks in one, of which one looks ahead and takes two frames for one answer."""

    def make(b):
        r = np.random.default_rng(6)
        left, right = b.input("left", (3,)), b.input("right", (2,))
        return (
            lstm(b, "lstm", left, 4),
            conv(b, right, r, 5, 5, padding=(2, 2), stride=2, name="ahead"),
            conv_transpose(b, left, r, 3, 4, stride=2, padding=(1, 1), name="up"),
        )

    return network(make)


def three_of_two_clocks():
    """`a` and `c` meet, `b` goes its own way until the end."""

    def make(b):
        r = np.random.default_rng(7)
        a, own, c = b.input("a", (3,)), b.input("b", (2,)), b.input("c", (3,))
        met = b.add(L.Add, "met", conv(b, a, r, 3, 3, padding=(2, 0), name="slow"), c)
        return met, b.add(L.Concatenate, "both", b.add(L.Last, "x", met), b.add(L.Last, "y", own))

    return network(make)


NETWORKS = {"ends": two_ends, "apart": apart, "three": three_of_two_clocks}


def lengths_of(model, generator):
    by_clock = generator.integers(3, 24, len(model.clocks))
    return {n: int(count) for names, count in zip(model.clocks, by_clock) for n in names}


def given(model, lengths, rows):
    """Inputs of ``lengths`` in the model's order, (rows, time, features)."""
    return [normal(rows, lengths[n], model.inputs[n][2]) for n in model.inputs]


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


def same(model, made, whole):
    for y, expected, output in zip(made, whole, model.outputs):
        if len(model.outputs[output]) == 2:
            expected = expected[:, None]
        assert same_bits(y, expected), output


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
    refused(ShapeError, stream.flush, "too short", "'both'")
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


# ---- given whole -------------------------------------------------------------------------------------------


def encoder_decoder(both_ways=True, bridge=True):
    def make(b):
        r = np.random.default_rng(10)
        source, target = b.input("source", (3,)), b.input("target", (2,))
        if both_ways:
            joined = bidirectional(b, source, r, L.LSTM, 4, L.Concatenate)
            source_end = b.add(L.Last, "source_end", joined)
        else:
            source_end = b.add(L.Last, "source_end", lstm(b, "encoder", source, 8))
        h = dense(b, source_end, r, 5, activation="tanh") if bridge else f"{lstm(b, 'five', source, 5)}:h"
        return dense(b, started_gru(b, target, h, r), r, 3)

    return network(make)


def started_gru(b, x, h, r):
    units, size = 5, 2
    return b.add(
        L.GRU,
        "decoder",
        x,
        h,
        weight=r.normal(0, 0.3, (3 * units, size)),
        recurrent_weight=r.normal(0, 0.3, (3 * units, units)),
        bias=r.normal(0, 0.1, 3 * units),
        recurrent_bias=r.normal(0, 0.1, 3 * units),
    )


@pytest.mark.parametrize("both_ways", [True, False])
@pytest.mark.parametrize("bridge", [True, False])
def test_an_encoder_is_given_whole_and_the_decoder_streams(both_ways, bridge):
    model = encoder_decoder(both_ways, bridge)
    source, target = given(model, {"source": 9, "target": 6}, 3)
    assert model.clocks == (("source",), ("target",)) and not model.streamable
    refused(NotStreamableError, model.stream, "Give 'source' whole")
    whole = model(source, target)
    exact, _ = reference.run(model.graph, {"source": source, "target": target})
    assert np.abs(whole - exact["y"]).max() < 1e-5
    stream = model.stream(3, inputs={"source": source})
    assert same_bits(np.concatenate([stream.push(target[:, :2]), stream.push(target[:, 2:])], 1), whole)
    assert stream.flush().shape == (3, 0, 3)
    one = model.stream(inputs={"source": source[1]})
    assert same_bits(np.stack([one.step(frame) for frame in target[1]]), whole[1])
    shared = model.stream(2, inputs={"source": source[1]})  # one source for all rows
    assert same_bits(shared.push(target[[1, 1]]), whole[[1, 1]])
    assert one.position == 6
    again = model.stream(inputs={"source": source[1]})
    again.push(target[1, :4])
    twin = model.stream(inputs={"source": source[1]})
    twin.state = rnnrt.State.from_bytes(again.state.to_bytes())
    assert same_bits(twin.push(target[1, 4:]), whole[1, 4:])
    other = model.stream(inputs={"source": source[0]})
    refused(StateError, lambda: setattr(other, "state", again.state), "given_once")
    again.reset()
    assert same_bits(again.push(target[1]), whole[1])


def test_what_is_given_whole_must_be_given_right():
    model = encoder_decoder()
    source, target = given(model, {"source": 9, "target": 6}, 3)
    stream = lambda batch=3, **inputs: model.stream(batch, inputs=inputs)
    refused(ShapeError, lambda: stream(source=source[:2]), "'source'", "expected 3", "found 2")
    refused(ShapeError, lambda: stream(source=source[:, :, :2]), "'source'", "wrong shape")
    refused(ShapeError, lambda: stream(None, source=source), "'source'", "wrong shape")
    refused(ShapeError, lambda: stream(source=source[:, :0]), "'source'", "no frames")
    refused(ShapeError, lambda: stream(source=source, target=target), "nothing is left to stream")
    refused(ShapeError, lambda: stream(sauce=source), "no input 'sauce'")
    refused(NotStreamableError, lambda: stream(target=target), "cannot be given whole")
    forward = encoder_decoder(both_ways=False)
    refused(
        StateError,
        lambda: forward.stream(3, inputs={"source": source}, initial_state={"encoder/h": np.zeros((3, 8))}),
        "'encoder/h'",
        "given whole",
    )
    three = three_of_two_clocks()
    a, b, c = given(three, {"a": 5, "b": 4, "c": 5}, 1)
    refused(ShapeError, lambda: three.stream(1, inputs={"a": a}), "'a'", "'c'", "Give both whole")
    refused(NotStreamableError, lambda: three.stream(1, inputs={"a": a, "c": c}), "cannot be given whole")
    live = three.stream(1, inputs={"b": b})
    made = [live.push((a[:, :2], c[:, :2])), live.push((a[:, 2:], c[:, 2:])), live.flush()]
    same(three, [np.concatenate(p, 1) for p in zip(*made)], three(a, b, c))


@pytest.mark.parametrize("strided", [False, True])
def test_what_is_given_whole_shares_the_weights(strided):
    """A stream of a part of the network packs nothing anew, whichever inputs it was given whole."""

    def make(b):
        r = np.random.default_rng(18)
        source = b.input("source", (3,))
        if strided:  # whose padding needs the length
            source = b.add(L.Conv1D, "half", source, weight=normal(3, 2, 3), stride=2, padding="same")
        start = b.add(L.Last, "end", lstm(b, "encoder", source, 5))
        y = lstm(b, "first", b.input("target", (2,)), 4)
        y = b.add(L.GRU, "decoder", y, start, weight=normal(15, 4), recurrent_weight=normal(15, 5))
        return dense(b, y, r, 3)

    graph = network(make).graph
    model = rnnrt.Model(graph.replace(graph.layers, start={"first/h": normal(4)}))
    source, target = (x[0] for x in given(model, {"source": 9, "target": 6}, 1))
    stream = model.stream(inputs={"source": source})
    assert same_bits(stream.push(target), model(source, target))
    cut = model._streams._for(frozenset({"source"}))
    for plan in (cut.plans.any(), cut.given.plans.any()):
        assert plan.nbytes == model.nbytes  # a plan counts what its family holds


def test_streams_that_were_given_other_inputs_whole_are_not_of_one_batch():
    model = two_ends()
    left, right = (x[0] for x in given(model, {"left": 5, "right": 4}, 1))
    both, one = model.stream(), model.stream(inputs={"right": right})
    refused(StateError, lambda: model.push_many([both, one], [(left, right), left]), "given whole")
    one.push(left)
    assert same_bits(one.flush()[0], model(left, right))


def test_a_start_made_of_an_input_given_once():
    def make(b):
        r = np.random.default_rng(11)
        x, speaker = b.input("x", (2,)), b.input("speaker", (6,), time=False)
        return started_gru(b, x, dense(b, speaker, r, 5, activation="tanh"), r)

    model = network(make)
    x, speaker = normal(2, 7, 2), normal(2, 6)
    whole = model(x, speaker)
    stream = model.stream(2, inputs={"speaker": speaker})
    assert model.streamable and model.delay == 0
    assert same_bits(np.concatenate([stream.push(x[:, :3]), stream.push(x[:, 3:])], 1), whole)


def laid_out():
    """RepeatVector: the end of one input beside every frame of another."""

    def make(b):
        r = np.random.default_rng(12)
        x, source = b.input("x", (2,), length=6), b.input("source", (3,))
        end = b.add(L.Last, "end", bidirectional(b, source, r, L.GRU, 4, L.Concatenate))
        repeated = b.add(L.Unflatten, "repeat", dense(b, end, r, 6 * 4), length=6)
        return lstm(b, "lstm", b.add(L.Concatenate, "beside", x, repeated), 3)

    return network(make)


def test_a_sequence_laid_out_of_what_is_given_whole():
    model = laid_out()
    source, x = normal(2, 9, 3), normal(2, 6, 2)
    whole = model(x, source)
    stream = model.stream(2, inputs={"source": source})
    assert same_bits(np.concatenate([stream.push(x[:, :2]), stream.push(x[:, 2:])], 1), whole)


def left_end_beside(b, x, how):
    return b.add(L.Last, f"end_{how}", lstm(b, f"lstm_{how}", x, 4))


def test_a_state_of_what_is_given_whole_is_not_dropped():
    model = encoder_decoder(both_ways=False)
    source, target = (x[0] for x in given(model, {"source": 9, "target": 6}, 1))
    stream = model.stream(inputs={"source": source})
    wrong = {"encoder/h": np.ones(8, np.float32)}
    refused(StateError, lambda: setattr(stream, "state", wrong), "'encoder/h'", "given whole")
    with pytest.raises(StateError):
        stream.state = model(source, target, return_state=True)[1]
    windowed = network(
        lambda b: b.add(
            L.Concatenate,
            "both",
            b.add(L.Last, "a", conv(b, b.input("a", (2,)), np.random.default_rng(1), 3, 3, name="taps")),
            left_end_beside(b, b.input("b", (3,)), "b"),
        )
    )
    a, b = (x[0] for x in given(windowed, {"a": 5, "b": 4}, 1))
    live = windowed.stream(inputs={"a": a})
    live.state = {"lstm_b/h": np.zeros(4, np.float32)}  # the windows are not of this stream
    live.push(b)
    assert same_bits(live.flush()[0], windowed(a, b))


def test_every_step_joins_two_clocks_of_three():
    def make(b):
        x, y, z = (b.input(n, (3,)) for n in "xyz")
        joined = b.add(L.Concatenate, "c", left_end_beside(b, y, "y"), left_end_beside(b, z, "z"))
        return lstm(b, "own", x, 2), joined

    model = network(make)
    x, y, z = (a[0] for a in given(model, {"x": 5, "y": 4, "z": 4}, 1))
    stream = model.stream(every_step=True)
    for wrong in ((x[:3], y[:2], z[:1]), (x[:2], y[:1], None), (None, y[:2], z[:1])):
        refused(ShapeError, lambda w=wrong: stream.push(w), "'c'", "different numbers of frames")
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


def test_names_of_values_that_are_given_do_not_meet():
    def make(b):
        r = np.random.default_rng(15)
        source, target = b.input("s", (3,)), b.input("t", (2,))
        h = f"{lstm(b, 'enc', source, 5)}:h"
        last = b.add(L.Last, "last", "enc")
        other = b.add(L.Dense, "enc_h", last, weight=normal(5, 5), bias=normal(5))
        return started_gru(b, target, h, r), b.add(L.Add, "both", other, h)

    model = network(make)
    source, target = (x[0] for x in given(model, {"s": 4, "t": 3}, 1))
    assert same_bits(model.stream(inputs={"s": source}).push(target)[0], model(source, target)[0])


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
