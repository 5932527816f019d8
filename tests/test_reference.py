"""The reference in float32: what rounding may do. Its operations have a written order, so it is the same on
every machine.
"""

import numpy as np
import pytest

from rnnrt import layers, reference

CHAIN = 64


def number(shape, seed):
    """Numbers of 12 bits, so that a product of two fits a float32 barely and a sum rounds."""
    return np.random.default_rng(seed).integers(-4095, 4096, shape).astype(np.float32) / np.float32(4096)


def one_by_one(x, w):
    """The sum over x * w as float32 scalars: chains of 64 terms, their totals added in order."""
    total = np.float32(0)
    for start in range(0, len(x), CHAIN):
        chain = np.float32(0)
        for a, b in zip(x[start : start + CHAIN], w[start : start + CHAIN]):
            chain = np.float32(chain + np.float32(a * b))
        total = np.float32(total + chain)
    return total


def answer(kind, x, dtype=np.float32, **fields):
    b = layers.GraphBuilder()
    b.output("y", b.add(kind, "layer", b.input("x", x.shape[2:]), **fields))
    return reference.run(b.graph(), {"x": x}, dtype=dtype)[0]["y"]


@pytest.mark.parametrize("terms", [1, 3, 64, 65, 200])
def test_a_float32_product_is_summed_in_the_written_order(terms):
    x, weight = number((2, 3, terms), 1), number((5, terms), 2)
    y = answer(layers.Dense, x, weight=weight)
    assert y.dtype == np.float32
    assert y.tolist() == [[[one_by_one(f, w) for w in weight] for f in row] for row in x]


def test_a_float32_recurrence_and_convolution_are_made_of_such_products():
    x, weight, u = number((1, 2, 70), 3), number((6, 70), 4), number((6, 6), 5)
    given = {"weight": weight, "recurrent_weight": u, "activation": "linear"}
    y = answer(layers.SimpleRNN, x, **given)[0]
    first = [one_by_one(x[0, 0], w) for w in weight]
    assert y[0].tolist() == first
    second = [np.float32(one_by_one(x[0, 1], w) + one_by_one(first, v)) for w, v in zip(weight, u)]
    assert y[1].tolist() == second
    y = answer(layers.Conv1D, x, weight=np.stack([weight[:3], weight[3:]], axis=1))[0, 0]
    taps = [[one_by_one(x[0, t], w) for w in weight[3 * t : 3 * t + 3]] for t in (0, 1)]
    assert y.tolist() == [np.float32(a + b) for a, b in zip(*taps)]


def test_float32_statistics_and_sums_have_that_order_too():
    x, size = number((1, 1, 100), 6), np.float32(100)
    ones = np.ones(100, np.float32)
    off = x[0, 0] - one_by_one(x[0, 0], ones) / size
    wanted = off / np.sqrt(one_by_one(off, off) / size + np.float32(1e-3))
    assert answer(layers.LayerNormalization, x, size=100, epsilon=1e-3)[0, 0].tolist() == wanted.tolist()
    e = np.exp((x - x.max()).astype(np.float64)).astype(np.float32)[0, 0]
    assert answer(layers.Softmax, x)[0, 0].tolist() == (e / one_by_one(e, ones)).tolist()


@pytest.mark.parametrize("name", layers.FUNCTIONS)
def test_a_float32_function_is_the_float64_one_rounded_once(name):
    given = layers.Function(name, (0.7,) * len(layers.FUNCTIONS[name]))
    x = number((1, 50, 9), 7) * np.float32(8)
    y = answer(layers.Activation, x, activation=given)
    exact = answer(layers.Activation, x, dtype=np.float64, activation=given)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, exact.astype(np.float32))  # a NaN, of log and sqrt below 0, stays one


@pytest.mark.parametrize("kind", [layers.AveragePool1D, layers.GlobalAveragePool])
def test_a_float32_mean_over_time_is_taken_in_float64(kind):
    x = number((2, 60, 1), 8)  # one feature: NumPy sums along time in an order of its own
    fields = {"size": 30, "stride": 30} if kind is layers.AveragePool1D else {}
    exact = answer(kind, x, dtype=np.float64, **fields)
    assert (answer(kind, x, **fields) == exact.astype(np.float32)).all()
