"""lengths=: what PyTorch's packing means, and what is refused."""

import numpy as np
import pytest
from case_layers import conv, recurrent
from cases import CASES
from expect import near, refused, same_bits
from small_models import built, frames, lstm, net, network

import rnnrt
from rnnrt import (
    DTypeError,
    ShapeError,
    UnsupportedModelError,
    reference,
)
from rnnrt import layers as L


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", [L.LSTM, L.GRU, L.SimpleRNN], ids=lambda k: k.kind)
@pytest.mark.parametrize("threads", [1, 2])
def test_lengths_mean_what_packing_means(kind, reverse, threads):
    def build(b, x, r):
        y = recurrent(b, x, r, kind, 6, name="one", reverse=reverse)
        return recurrent(b, b.add(L.Concatenate, "cat", y, x), r, kind, 5, name="two", reverse=not reverse)

    model = built(build).with_options(num_threads=threads)
    x, lengths = frames(6, 9, 3), np.array([9, 1, 4, 0, 8, 3])
    given = {"one/h": frames(6, 6, seed=3), "two/h": frames(6, 5, seed=4)}
    for initial in (None, given):
        expected, end = reference.run(model.graph, {"x": x}, initial, lengths=lengths)
        y, state = model(x, lengths=lengths, initial_state=initial, return_state=True)
        assert near(y, expected["y"])
        assert all(near(a, end[n]) for n, a in state.arrays().items())
    for kind_of_number in ("u1", ">i4", "i8"):
        assert same_bits(model(x, lengths=lengths.astype(kind_of_number)), model(x, lengths=lengths.tolist()))
    short = model(x, lengths=lengths)
    assert near(short[2, :4], model(x[2, :4])) and not short[2, 4:].any()
    spoilt = x.copy()
    spoilt[2, 4:] = np.nan
    assert same_bits(model(spoilt, lengths=lengths)[2, :4], short[2, :4]), (
        "what lies past the end of a row is not read"
    )


def test_wrong_lengths_are_refused():
    model, x = net(), frames(4, 9, 3)
    refused(ShapeError, lambda: model(x, lengths=[9, 1, 10, 2]), "row 2", "expected 0 to 9", "found 10")
    refused(ShapeError, lambda: model(x, lengths=[9, -1, 10, 2]), "row 1", "expected 0 to 9", "found -1")
    for wrong in ([9, 1, 2], [[9, 1, 2, 3]], 9, [1.0, 2.0, 3.0, 4.0], [True] * 4):
        refused(ShapeError, lambda w=wrong: model(x, lengths=w), "lengths", "expected (4,)", "found")
    for wrong in ("abcd", [[1], [1, 2]], ["1", "2", "3", "4"]):
        refused(DTypeError, lambda w=wrong: model(x, lengths=w), "lengths", "found")
    moved = built(lambda b, x, r: recurrent(b, conv(b, x, r, 4, 3), r, L.GRU, 5))
    refused(
        UnsupportedModelError, lambda: moved(x, lengths=[9, 1, 2, 3]), "layer 'gru'", "changed the time axis"
    )
    pointwise = built(lambda b, x, r: recurrent(b, conv(b, x, r, 4, 1), r, L.GRU, 5))
    expected, _ = reference.run(pointwise.graph, {"x": x}, lengths=np.array([9, 1, 2, 3]))
    assert near(pointwise(x, lengths=[9, 1, 2, 3]), expected["y"])
    refused(
        UnsupportedModelError,
        lambda: net(metadata={"source": "keras"})(x, lengths=[9, 1, 2, 3]),
        "lengths=",
        "Keras",
    )
    refused(UnsupportedModelError, lambda: model(x, mask=x > 0), "mask=")


@pytest.fixture(scope="module")
def model():
    return network(lambda b: lstm(b, "lstm", b.input("x", (3,)), 4))


@pytest.mark.parametrize(
    "name",
    [
        "lstm_20",
        "gru_20",
        "gru_before_20",
        "rnn_20",
        "lstm_projection",
        "lstm_reverse",
        "gru_reverse",
        "bidirectional_lstm_concatenate",
        "bidirectional_gru_concatenate",
        "two_bidirectional",
        "last_of_both",
        "final_state",
        "lstm_cells",
        "lstm_norm",
        "conv_one_tap",
    ],
)
def test_lengths_of_a_case_mean_what_packing_means(name):
    case = next(c for c in CASES if c.name == name)
    model, x = rnnrt.Model(case.graph()), case.sample(6, 70)
    lengths = np.array([70, 1, 33, 0, 57, 69])
    expected, states = reference.run(model.graph, {"x": x}, lengths=lengths)
    y, state = model(x, lengths=lengths, return_state=True)
    assert np.abs(y - expected["y"]).max() < 1e-5
    for key, a in state.arrays().items():
        assert np.abs(a - states[key]).max() < 1e-5, key
    spoiled = x.copy()
    for row, n in enumerate(lengths):
        spoiled[row, n:] = 1e3  # what lies beyond the end does not matter where a recurrent layer comes first
    if name != "conv_one_tap":
        assert same_bits(model(spoiled, lengths=lengths), y)
    assert same_bits(model.with_options(num_threads=2)(x, lengths=lengths.tolist()), y)
    assert same_bits(model(x, lengths=np.full(6, 70)), model(x))
