"""The scalar functions against float64 over the whole range of float32, and what denormals do.

Here every 4,099th bit pattern and everything near zero, the thresholds, infinity and NaN; tools/sweep.py walks all 2^32.
"""

import numpy as np
import pytest

import rnnrt
from rnnrt import _engine
from rnnrt import layers as L

SMALLEST = np.float32(2.0**-126)  # the smallest normal number


def apply(name, isa, x, parameters=()):
    """A Function of every number of x, by a model that does nothing else."""
    b = L.GraphBuilder()
    u = b.input("x", (1024,))
    b.output("y", b.add(L.Activation, "f", u, activation=L.Function(name, parameters)))
    model = rnnrt.Model(b.graph(), isa=isa)
    padded = np.zeros(-(-x.size // 1024) * 1024, np.float32)
    padded[: x.size] = x
    return model(padded.reshape(1, -1, 1024)).reshape(-1)[: x.size]


def patterns(step=4099):
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, SMALLEST, -SMALLEST, 88.0, -88.0, 87.33, -87.33, 88.72, 88.73, 10.0, -10.0, 9.01, -104.0]
    bits = np.concatenate([np.arange(0, 2**32, step, dtype=np.uint64).astype(np.uint32), np.array(special, np.float32).view(np.uint32)])
    near = np.concatenate([np.float32(s).view(np.uint32) + np.arange(-64, 65) for s in (1.0, 87.336545, 88.0, 88.72284, 9.010913, 10.0, 0.34657359)])
    near = near.astype(np.uint32)
    return np.concatenate([bits, near, near | np.uint32(1 << 31)]).view(np.float32)


def exact(name, x):
    with np.errstate(all="ignore"):
        x = x.astype(np.float64)
        if name == "tanh":
            return np.tanh(x)
        if name == "exponential":
            return np.exp(x)
        return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))


def ulps(y, wanted):
    """Units in the last place between y and the exact value, where that is a normal number."""
    with np.errstate(all="ignore"):
        normal = np.isfinite(wanted) & (np.abs(wanted) >= SMALLEST) & (np.abs(wanted) <= np.finfo(np.float32).max)
        spacing = np.spacing(np.abs(wanted[normal]).astype(np.float32)).astype(np.float64)
        return np.abs(y[normal].astype(np.float64) - wanted[normal]) / spacing


@pytest.mark.parametrize("isa", _engine.isas())
@pytest.mark.parametrize("name", ["tanh", "sigmoid", "exponential"])
def test_at_most_four_ulp_exact_ends_and_odd(name, isa):
    x = patterns()
    flushed = np.where(np.abs(x) < SMALLEST, np.float32(0), x)  # denormals are flushed on the way in
    y, wanted = apply(name, isa, x), exact(name, flushed)
    assert np.isnan(y[np.isnan(x)]).all()
    live = ~np.isnan(x)
    assert ulps(y[live], wanted[live]).max() <= 4
    assert not np.isnan(y[live]).any()
    if name == "tanh":
        assert (y[live & (x >= 10)] == 1).all()
        assert (y[live & (x <= -10)] == -1).all()
        assert np.array_equal(apply(name, isa, -x[live]).view(np.uint32), (-y[live]).view(np.uint32))
    if name == "sigmoid":
        assert (y[live & (x >= 88)] == 1).all()
        assert (y[live & (x <= -88)] == 0).all()
        assert ((y[live] >= 0) & (y[live] <= 1)).all()
    if name == "exponential":
        assert np.isinf(y[live & (x > 88.7229)]).all()
        assert (y[live & (x < -87.34)] == 0).all()


@pytest.mark.parametrize("name", [n for n, p in L.FUNCTIONS.items() if not p])
def test_functions_have_one_meaning_on_every_vector_instruction_set(name):
    rows = [i for i in _engine.isas() if i != "scalar"]
    x = patterns(65537)
    x = x[np.isfinite(x)]
    made = [apply(name, isa, x) for isa in rows]
    for other in made[1:]:
        assert made[0].tobytes() == other.tobytes()


@pytest.mark.parametrize("isa", _engine.isas())
def test_products_of_every_odd_size(isa):
    """Outputs and terms around every edge of a vector, a panel, a tile and a segment; one row, a few and many."""
    r = np.random.default_rng(5)
    sizes = [*range(1, 20), 31, 32, 33, 47, 48, 49, 63, 64, 65, 127, 128, 129, 130, 255, 257]
    for outputs in sizes:
        terms = int(r.choice(sizes))
        weight, bias = r.standard_normal((outputs, terms)).astype(np.float32), r.standard_normal(outputs).astype(np.float32)
        b = L.GraphBuilder()
        b.output("y", b.add(L.Dense, "dense", b.input("x", (terms,)), weight=weight, bias=bias))
        model = rnnrt.Model(b.graph(), isa=isa)
        x = r.standard_normal((1, 23, terms)).astype(np.float32)
        wanted = x.astype(np.float64) @ weight.T.astype(np.float64) + bias
        for rows in (1, 2, 3, 4, 5, 7, 8, 15, 23):
            y = model(x[:, :rows])
            assert np.abs(y - wanted[:, :rows]).max() <= 2e-6 * (1 + terms**0.5), (outputs, terms, rows)


@pytest.mark.parametrize("isa", _engine.isas())
def test_softmax_and_layer_norm_survive_large_numbers(isa):
    b = L.GraphBuilder()
    x = b.input("x", (37,))
    b.output("s", b.add(L.Softmax, "softmax", x))
    b.output("n", b.add(L.LayerNormalization, "norm", x, size=37, epsilon=1e-3))
    model = rnnrt.Model(b.graph(), isa=isa)
    v = np.random.default_rng(2).standard_normal((1, 5, 37)).astype(np.float32) * np.float32([1, 100, 1e4, 1e-4, 30])[None, :, None]
    s, n = model(v)
    e = np.exp(v.astype(np.float64) - v.max(-1, keepdims=True))
    assert np.abs(s - e / e.sum(-1, keepdims=True)).max() < 1e-6
    w = v.astype(np.float64)
    assert np.abs(n - (w - w.mean(-1, keepdims=True)) / np.sqrt(w.var(-1, keepdims=True) + 1e-3)).max() < 1e-5


def test_denormals_are_flushed_inside_and_left_alone_outside():
    b = L.GraphBuilder()
    x = b.input("x", (4,))
    b.output("y", b.add(L.Affine, "half", x, scale=[0.5] * 4, offset=[0.0] * 4))
    model = rnnrt.Model(b.graph())
    tiny = np.full((1, 1, 4), 1e-40, np.float32)
    assert (model(tiny) == 0).all()
    assert (model(np.full((1, 1, 4), SMALLEST, np.float32)) == 0).all()
    stream = model.stream()
    assert (stream.step(tiny[0, 0]) == 0).all()
    assert (tiny * np.float32(0.5) != 0).all()  # NumPy still has its denormals


def test_silence_leads_to_zero_and_not_to_a_crawl():
    """A decaying state passes through the denormals: it becomes 0 exactly, in a stream as in a whole run."""
    b = L.GraphBuilder()
    x = b.input("x", (1,))
    h = b.add(L.SimpleRNN, "rnn", x, weight=[[1.0]], recurrent_weight=[[0.5]], activation="linear")
    b.output("y", h)
    model = rnnrt.Model(b.graph())
    v = np.zeros((1, 300, 1), np.float32)
    v[0, 0] = 1
    y = model(v)
    assert y[0, 100, 0] == 2.0**-100
    assert y[0, 126, 0] == SMALLEST
    assert (y[0, 127:] == 0).all()
    stream = model.stream()
    assert np.concatenate([stream.push(v[0, :130]), stream.push(v[0, 130:])]).tobytes() == y[0].tobytes()
