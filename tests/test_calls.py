"""Calls a person can live with: plans at once, cancelled calls, other threads that go on, memory that stays bounded, weights packed once."""

import numpy as np
import pytest

import rnnrt
from rnnrt import layers as L

rng = np.random.default_rng(5)


def weights(*shape):
    return (rng.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)


def built(add, features=(4,), **keywords):
    """The Model of a graph with one input and what ``add`` (builder, input) makes of it."""
    b = L.GraphBuilder()
    b.output("y", add(b, b.input("x", features, **keywords)))
    return rnnrt.from_graph(b.graph())


# ---- branches that join ----


def test_levels_of_pooling_that_join_stream():
    def add(b, x):
        for _ in range(12):
            x = b.add(
                L.Add,
                "a",
                b.add(L.MaxPool1D, "p", x, size=2, stride=2),
                b.add(L.AveragePool1D, "q", x, size=3, stride=2, padding=(1, 0)),
            )
        return x

    model, x = built(add), weights(20_000, 4)
    stream = model.stream()
    made = np.concatenate([stream.push(x[:9_001]), stream.push(x[9_001:]), stream.flush()])
    assert made.shape == (4, 4) and made.tobytes() == model(x).tobytes()


def test_a_branch_may_lag_further_than_anybody_would_walk():
    def add(b, x):
        y = b.add(L.Conv1D, "late", x, weight=weights(1, 2, 1), dilation=400_000, padding=(0, 400_000))
        for _ in range(200):
            y = b.add(L.Activation, "t", y, activation="linear")
        return b.add(L.Add, "join", x, y)

    model = built(add, (1,))
    stream = model.stream(_block=1 << 19)
    x = weights(400_100, 1)
    assert len(stream.push(x)) == 100 and len(stream.flush()) == 400_000


def test_branches_that_drift_apart_are_refused_before_a_stream_begins_and_answer_whole_where_they_meet():
    def add(b, x):
        return b.add(L.Add, "join", x, b.add(L.AveragePool1D, "half", x, size=1, stride=2))

    model = built(add)
    assert not model.streamable
    with pytest.raises(rnnrt.NotStreamableError, match="'join'.*strides differ"):
        model.stream()
    x = weights(1, 4)
    assert np.array_equal(model(x), 2 * x)
    with pytest.raises(rnnrt.ShapeError, match="'join'"):
        model(weights(2, 4))
    fixed = built(add, length=1)  # one frame is all there is: they meet
    stream = fixed.stream()
    assert np.array_equal(np.concatenate([stream.push(x), stream.flush()]), 2 * x)
