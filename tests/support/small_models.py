"""Small models, made by hand where a test needs one of a certain form."""

import numpy as np
from case_layers import dense, recurrent, weights
from cases import CASES

import rnnrt
from rnnrt import layers as L


def built(build, *, features=(3,), axes="btf", out_axes="btf", metadata=None, **fields):
    """A Model of one input ``x``; ``build(b, x, r)`` makes what is before the output ``y``."""
    b = L.GraphBuilder()
    x = b.input("x", features, axes=axes, **fields)
    b.output("y", build(b, x, np.random.default_rng(5)), out_axes)
    return rnnrt.Model(b.graph(metadata=metadata))


def net(kind=L.LSTM, units=5, **fields):
    return built(lambda b, x, r: recurrent(b, x, r, kind, units), **fields)


def both(metadata):
    """A GRU, and an LSTM over it."""
    return built(
        lambda b, x, r: recurrent(b, recurrent(b, x, r, L.GRU, 4, name="one"), r, L.LSTM, 4, name="two"),
        metadata=metadata,
    )


def embedding():
    return built(
        lambda b, x, r: b.add(L.Embedding, "embedding", x, weight=weights(r, 11, 4)), features=(), ids=True
    )


def two_inputs_two_outputs(**second):
    """``left`` (3,) and ``right`` (2,); "sum" of both, and "state" of the right one alone."""
    b, r = L.GraphBuilder(), np.random.default_rng(6)
    left, right = b.input("left", (3,)), b.input("right", (2,), **second)
    a = recurrent(b, left, r, L.GRU, 4, name="a")
    if not b.signal(right).time:
        last = b.add(L.Last, "last", a)
        b.output("sum", b.add(L.Concatenate, "cat", last, right))
        b.output("state", dense(b, right, r, 2))
    else:
        c = recurrent(b, right, r, L.SimpleRNN, 4, name="c")
        b.output("sum", b.add(L.Add, "add", a, c))
        b.output("state", "c:h")
    return rnnrt.Model(b.graph())


def case(name):
    return next(c for c in CASES if c.name == name)


def model_of(name):
    """The Model of the case of that name."""
    return rnnrt.Model(case(name).graph())


def frames(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


# ---- any number of inputs and outputs ----------------------------------------------------------------------


def network(make, metadata=None):
    """Model of the graph that ``make(builder)`` describes; what it returns becomes the outputs y, y1, ..."""
    b = L.GraphBuilder()
    made = make(b)
    for k, value in enumerate(made if isinstance(made, tuple) else (made,)):
        b.output(f"y{k}" if k else "y", value)
    return rnnrt.Model(b.graph(metadata=metadata))


def normal(*shape, seed=0):
    return (np.random.default_rng([seed, *shape]).standard_normal(shape) / 2).astype(np.float32)


def rnn(b, name, x, units, *initial, **fields):
    size = b.signal(x).width
    return b.add(
        L.SimpleRNN,
        name,
        x,
        *initial,
        weight=normal(units, size, seed=units),
        recurrent_weight=normal(units, units),
        bias=normal(units),
        **fields,
    )


def lstm(b, name, x, units, *initial, **fields):
    size = b.signal(x).width
    return b.add(
        L.LSTM,
        name,
        x,
        *initial,
        weight=normal(4 * units, size),
        recurrent_weight=normal(4 * units, units),
        bias=normal(4 * units),
        **fields,
    )


def with_value():
    """An RNN that starts from ``value``, which has no time axis, and its last answer beside the value."""

    def make(b):
        x, value = b.input("x", (3,)), b.input("value", (4,), time=False)
        return b.add(L.Concatenate, "cat", b.add(L.Last, "last", rnn(b, "rnn", x, 4, value)), value)

    return network(make)
