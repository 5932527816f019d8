"""Networks that begin elsewhere than at zero (Graph.start); the cases "start..." hold their answers."""

import pickle

import numpy as np
import pytest
from case_layers import weights

import rnnrt
from rnnrt import layers as L
from rnnrt import reference
from rnnrt.errors import ShapeError

STARTS = {"conv/window": (3,), "lstm/h": (4,), "lstm/c": (4,)}


def built(starts=STARTS, padding=(2, 0), stride=1, **fields):
    r = np.random.default_rng(3)
    b = L.GraphBuilder()
    x, kernel = b.input("x", (3,)), weights(r, 5, 3, 3)
    y = b.add(L.Conv1D, "conv", x, weight=kernel, padding=padding, stride=stride)
    b.add(L.LSTM, "lstm", y, weight=weights(r, 16, 5), recurrent_weight=weights(r, 16, 4), **fields)
    b.output("y", "lstm")
    b.start = {name: weights(r, *shape) for name, shape in starts.items()}
    return b.graph()


@pytest.fixture(scope="module")
def x():
    return weights(np.random.default_rng(5), 2, 9, 3).astype(np.float32)


def answer(graph, x, initial_state=None):
    return reference.run(graph, {"x": x.astype(np.float64)}, initial_state)[0]["y"]


@pytest.mark.parametrize("backend", ["native", "blas"])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_start_is_where_every_sequence_begins(x, backend, reverse):
    graph = built(reverse=reverse)
    model = rnnrt.from_graph(graph).with_options(backend=backend)
    wanted = answer(graph, x)
    assert np.abs(model(x) - wanted).max() < 1e-6
    assert np.abs(wanted - answer(built({}, reverse=reverse), x)).max() > 1e-3  # and it makes a difference


def test_streams_resets_and_rows_begin_there(x):
    graph = built()
    model, first = rnnrt.from_graph(graph), answer(graph, x)[:, 0]
    stream = model.stream(2)
    assert np.abs(stream.step(x[:, 0]) - first).max() < 1e-6
    kept = model.stream(2).state.arrays()
    for name, start in graph.start.items():
        assert (kept[name] == start).all(), name
    stream.reset()
    assert np.abs(stream.step(x[:, 0]) - first).max() < 1e-6
    stream.reset(rows=[1])
    made = stream.step(x[:, 0])
    assert np.abs(made[1] - first[1]).max() < 1e-6 < np.abs(made[0] - first[0]).max()


def test_an_initial_state_comes_first_by_name(x):
    graph = built()
    h = weights(np.random.default_rng(8), 2, 4).astype(np.float32)
    model, wanted = rnnrt.from_graph(graph), answer(graph, x, {"lstm/h": h})
    assert np.abs(model(x, initial_state={"lstm/h": h}) - wanted).max() < 1e-6
    assert np.abs(model.stream(2, initial_state={"lstm/h": h}).push(x) - wanted).max() < 1e-6


def test_starts_are_saved_and_are_part_of_the_fingerprint(x, tmp_path):
    model, other = rnnrt.from_graph(built()), rnnrt.from_graph(built({}))
    model.save(tmp_path / "m.rnnrt")
    loaded = rnnrt.load(tmp_path / "m.rnnrt")
    assert loaded(x).tobytes() == model(x).tobytes() == pickle.loads(pickle.dumps(model))(x).tobytes()
    assert loaded == model != other and set(loaded.graph.start) == set(STARTS)


@pytest.mark.parametrize(
    ("starts", "fields", "match"),
    [
        ({"lstm/x": (4,)}, {}, "nothing called 'lstm/x'.*lstm/h, lstm/c"),
        ({"other/h": (4,)}, {}, "nothing called 'other/h'"),
        ({"lstm/h": (5,)}, {}, r"start of 'lstm/h'.*wrong shape.*\(4,\).*\(5,\)"),
        ({"conv/window": (2, 3)}, {}, r"wrong shape.*\(3,\)"),
        ({"conv/window": (3,)}, {"padding": (0, 0)}, "nothing called 'conv/window'"),
        ({"conv/window": (3,)}, {"padding": "same", "stride": 2}, "nothing called 'conv/window'"),
    ],
)
def test_what_cannot_start_is_refused_by_name(starts, fields, match):
    with pytest.raises(ShapeError, match=f"(?s){match}"):
        built(starts, **fields)


def test_a_state_that_an_edge_sets_has_no_start():
    r, b = np.random.default_rng(3), L.GraphBuilder()
    x, h = b.input("x", (3,)), b.input("h", (4,), time=False)
    b.add(L.GRU, "gru", x, h, weight=weights(r, 12, 3), recurrent_weight=weights(r, 12, 4))
    b.output("y", "gru")
    b.start = {"gru/h": np.ones(4)}
    with pytest.raises(ShapeError, match="nothing called 'gru/h'"):
        b.graph()
