"""Every layer, as the cases hold it, on every row of the kernel table against the float64 reference."""

from functools import lru_cache

import numpy as np
import pytest
from cases import CASES
from expect import ROWS, keeps_promise_1, options, scaled

import rnnrt
from rnnrt import layers, reference


def named(case):
    """The case, and the kinds of its layers: ``-k average_pool1d`` runs every case that holds one."""
    kinds = dict.fromkeys(layer.kind for layer in case.graph().layers)
    return f"{case.name}:{'+'.join(kind for kind in kinds if kind != 'input')}"


@lru_cache(maxsize=8)  # the rows of a case follow each other
def exact(case, batch, frames):
    """(input, outputs, states) as the float64 reference has them, or None where the input is too short."""
    x = case.sample(batch, frames)
    try:
        return x, *reference.run(case.graph(), {"x": x})
    except rnnrt.ShapeError:
        return None


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("case", CASES, ids=named)
def test_layer_matches_reference(case, row):
    if row == "blas":
        pytest.importorskip("scipy")
    graph = case.graph()
    model = rnnrt.Model(graph, **options(row))
    for batch, frames in ((1, 1), (1, 2), (3, 50), (2, 171)):
        found = exact(case, batch, frames)
        if found is None:
            with pytest.raises(rnnrt.ShapeError, match="too short"):
                model(case.sample(batch, frames))
            continue
        x, expected, states = found
        y, state = model(x, return_state=True)
        assert y.shape == expected["y"].shape
        assert y.dtype == np.float32
        assert keeps_promise_1({"y": y}, graph, {"x": x}, expected)
        for name, held in state.arrays().items():
            assert scaled(held, states[name].reshape(held.shape)) <= 1e-5, name


# ---- promise 1 over long sequences -------------------------------------------------------------------------


def rounded_lstm(layer, x):
    """An LSTM whose gates and states are exact values rounded once: as good as float32 gets."""
    single = lambda a: a.astype(np.float32).astype(np.float64)
    h = c = np.zeros((len(x), layer.units))
    made = []
    for t in range(x.shape[1]):
        s = x[:, t].astype(np.float64) @ layer.weight.T.astype(np.float64)
        s = single(s + h @ layer.recurrent_weight.T.astype(np.float64) + layer.bias)
        i, f, g, o = np.split(s, 4, axis=-1)
        i, f, o = (single(reference.sigmoid(a)) for a in (i, f, o))
        c = single(f * c + single(i * single(np.tanh(g))))
        h = single(o * single(np.tanh(c)))
        made.append(h)
    return np.stack(made, 1)


@pytest.mark.parametrize("seed", range(3))
def test_a_cell_that_remembers_long_adds_up_no_error(seed):
    """Forget gates that stay close to 1: what their sigmoid rounds wrongly a cell adds up, step after
    step.
    """
    r, units = np.random.default_rng(seed), 8
    weight, recurrent = (r.standard_normal((4 * units, n)) * s for n, s in ((2, 0.5), (units, 0.05)))
    bias = np.concatenate([np.full(units, -6), r.uniform(5, 9, units), np.zeros(2 * units)])
    weight[units : 2 * units] *= 0.05
    recurrent[units : 2 * units] *= 0.05
    b = layers.GraphBuilder()
    fields = {"weight": weight, "recurrent_weight": recurrent, "bias": bias}
    b.output("y", b.add(layers.LSTM, "lstm", b.input("x", (2,)), **fields))
    graph = b.graph()
    x = (np.random.default_rng(99).standard_normal((1, 3000, 2)) * 0.1 + 0.7).astype(np.float32)
    wanted = reference.run(graph, {"x": x})[0]["y"]
    best = np.abs(rounded_lstm(graph["lstm"], x) - wanted).max()
    assert np.abs(rnnrt.from_graph(graph)(x) - wanted).max() <= 3 * best < 2e-6
