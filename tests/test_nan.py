"""NaN and infinity stay in the row of a batch they came in."""

import numpy as np
import pytest
from cases import CASES
from expect import same_bits
from small_models import case, lstm, network

import rnnrt
from rnnrt import layers as L


@pytest.mark.parametrize(
    "name",
    [
        "lstm_20",
        "gru_before_20",
        "conv_dilated",
        "textbook_ln_rnn",
        "global_max",
        "max_pool_overlapping",
        "softmax",
        "bidirectional_lstm_add",
    ],
)
def test_nan_in_one_row_leaves_the_bits_of_the_others(name):
    model = rnnrt.Model(case(name).graph())
    x = case(name).sample(19, 30)
    plain = model(x)
    for bad in (np.nan, np.inf, -np.inf):
        spoilt = x.copy()
        spoilt[7, 4, 0] = bad
        made = model(spoilt)
        others = np.arange(19) != 7
        assert same_bits(made[others], plain[others])
        if np.isnan(bad):
            assert np.isnan(made[7]).any()
        if case(name).streams and plain.ndim == 3:
            stream = model.stream(batch_size=19)
            assert same_bits(np.concatenate([stream.push(spoilt), stream.flush()], 1)[others], plain[others])


@pytest.fixture(scope="module")
def model():
    return network(lambda b: lstm(b, "lstm", b.input("x", (3,)), 4))


@pytest.mark.parametrize("case", [c for c in CASES if not c.ids], ids=lambda c: c.name)
def test_nan_and_infinity_stay_in_their_row(case):
    model, frames = rnnrt.Model(case.graph()), case.length or 30
    x = case.sample(5, frames)
    expected = model(x)
    for bad in (np.nan, np.inf, -np.inf):
        spoiled = x.copy()
        spoiled[3, frames // 2] = bad
        y = model(spoiled)
        assert same_bits(np.delete(y, 3, 0), np.delete(expected, 3, 0))
        if case.streams:
            stream = model.stream(5)
            y = np.concatenate([stream.push(spoiled), stream.flush()], 1)
            assert same_bits(np.delete(y.reshape((5, -1)), 3, 0), np.delete(expected.reshape((5, -1)), 3, 0))
            stream.reset()
            y = np.concatenate([stream.push(x), stream.flush()], 1)
            assert same_bits(y.reshape((5, -1)), expected.reshape((5, -1)))


def test_sums_that_vanish_below_zero_have_one_sign_however_many_rows_there_are():
    """Products too small for a float become -0; many rows and a single one add them up alike, to a bias of -0
    too."""
    for width in range(1, 34):
        for outputs in (1, 2, 3, 4):
            b = L.GraphBuilder()
            weight = np.full((outputs, width), -1e-10, np.float32)
            bias = np.full(outputs, -0.0, np.float32)
            b.output("y", b.add(L.Dense, "dense", b.input("x", (width,)), weight=weight, bias=bias))
            model = rnnrt.Model(b.graph())
            x = np.full((40, width), 1e-30, np.float32)
            whole, stream = model(x), model.stream()
            assert whole.tobytes() == np.stack([stream.step(frame) for frame in x]).tobytes(), width
