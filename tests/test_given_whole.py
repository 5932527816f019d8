"""Inputs over time that are given whole to a stream of the others: run at once, as an encoder is."""

import numpy as np
import pytest
from case_layers import conv, dense
from clock_networks import (
    encoder_decoder,
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
from rnnrt import NotStreamableError, ShapeError, StateError, reference
from rnnrt import layers as L


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


def test_what_no_layer_needs_is_checked_all_the_same():
    def make(b):
        b.input("value", (5,), time=False)
        b.input("dead", (3,))
        start = b.add(L.Last, "end", lstm(b, "encoder", b.input("source", (3,)), 5))
        return started_gru(b, b.input("target", (2,)), start, np.random.default_rng(19))

    model = network(make)
    right = {"source": normal(5, 3), "value": normal(5), "dead": normal(4, 3)}
    assert model.stream(inputs=right).push(normal(3, 2)).shape == (3, 5)
    for name, wrong, error in (
        ("value", "abc", rnnrt.DTypeError),
        ("value", normal(4), ShapeError),
        ("dead", normal(4, 9), ShapeError),
        ("dead", normal(0, 3), ShapeError),
    ):
        refused(error, lambda n=name, w=wrong: model.stream(inputs=right | {n: w}), f"'{name}'")


def packing_encoder():
    """An encoder that packs, and a decoder that does not."""

    def make(b):
        start = b.add(L.Last, "end", lstm(b, "encoder", b.input("source", (3,)), 5))
        b.add(L.Dense, "unused", start, weight=normal(1, 5))
        h = dense(b, "encoder:h", np.random.default_rng(20), 5, activation="tanh")
        return started_gru(b, b.input("target", (2,)), h, np.random.default_rng(21), packed=False)

    return network(make, {"source": "torch", "packed": True, "lengths_input": "sizes"})


def test_rows_given_whole_may_be_of_several_lengths():
    model, sizes = packing_encoder(), np.array([9, 4, 6])
    source, target = given(model, {"source": 9, "target": 6}, 3)
    whole = model(source, target, lengths=sizes)
    for k, n in enumerate(sizes):
        assert same_bits(whole[k], model(source[k, :n], target[k], lengths=np.array([n])))
    assert same_bits(model.stream(3, inputs={"source": source, "sizes": sizes}).push(target), whole)
    one = model.stream(inputs={"source": source[1], "sizes": 4})
    assert same_bits(np.stack([one.step(frame) for frame in target[1]]), whole[1])
    full = model.stream(3, inputs={"source": source})  # of which nothing is said: all of them
    assert same_bits(full.push(target), model(source, target, lengths=np.full(3, 9)))
    refused(ShapeError, lambda: model(source, target), "'sizes'", "Pass lengths=")
    refused(ShapeError, lambda: model(source, target, lengths=np.array([9, 10, 1])), "expected 0 to 9")
    refused(ShapeError, lambda: model(source[:, :5], target, lengths=np.array([6, 1, 1])), "expected 0 to 5")
    refused(ShapeError, lambda: model.stream(3, inputs={"source": source, "sizes": [1, 2]}), "(3,)")
    bare = network(lambda b: lstm(b, "lstm", b.input("x", (3,)), 4), {"packed": True, "lengths_input": "n"})
    refused(ShapeError, lambda: bare.stream(inputs={"n": 4}), "'n'", "Leave 'n' out")


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


def test_a_sequence_laid_out_of_what_is_given_whole():
    model = laid_out()
    source, x = normal(2, 9, 3), normal(2, 6, 2)
    whole = model(x, source)
    stream = model.stream(2, inputs={"source": source})
    assert same_bits(np.concatenate([stream.push(x[:, :2]), stream.push(x[:, 2:])], 1), whole)


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


def test_a_refusal_names_all_that_must_be_given_whole():
    def make(b):
        ends = [left_end_beside(b, b.input(n, (3,)), n) for n in ("one", "two")]
        start = b.add(L.Concatenate, "start", *ends)
        weights = {"weight": normal(24, 2), "recurrent_weight": normal(24, 8)}
        return b.add(L.GRU, "decoder", b.input("target", (2,)), start, **weights)

    model = network(make)
    refused(
        NotStreamableError, model.stream, "Give 'one' and 'two' whole: stream(inputs={'one': array, 'two'"
    )
    left = lambda: model.stream(inputs={"one": normal(4, 3)})
    refused(NotStreamableError, left, "Give 'two' whole too: stream(inputs={'one': array, 'two': array})")
    refused(ShapeError, lambda: model.stream(inputs={"ones": normal(4, 3)}), "Did you mean 'one'?")


def test_what_is_pushed_is_what_is_left():
    model = encoder_decoder()
    source, target = (x[0] for x in given(model, {"source": 9, "target": 6}, 1))
    stream = model.stream(inputs={"source": source})
    for wrong in ((None, target), (source, target), [source, target]):
        refused(rnnrt.DTypeError, lambda w=wrong: stream.push(w), "2 items", "frames of 'target' alone")
    assert stream.position == 0
    rows = [source, source[:3]]
    refused(
        ShapeError, lambda: model.stream(2, inputs={"source": rows}), "'source'", "one stream for each row"
    )


def test_more_values_than_the_engine_passes_on_are_refused_by_name():
    def make(b):
        x, y = b.input("source", (2,)), b.input("target", (2,))
        for k in range(33):
            x = lstm(b, f"encoder{k}", x, 2)
        for k in range(33):
            y = lstm(b, f"decoder{k}", y, 2, f"encoder{k}:h", f"encoder{k}:c")
        return y

    model = network(make)
    refused(
        NotStreamableError, lambda: model.stream(inputs={"source": normal(3, 2)}), "at most 64", "found 67"
    )
