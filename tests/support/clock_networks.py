"""Networks of several timed inputs with lengths of their own, and what tests of them share."""

import numpy as np
from case_layers import bidirectional, conv, conv_transpose, dense
from expect import same_bits
from small_models import lstm, network, normal

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


def given(model, lengths, rows):
    """Inputs of ``lengths`` in the model's order, (rows, time, features)."""
    return [normal(rows, lengths[n], model.inputs[n][2]) for n in model.inputs]


def same(model, made, whole):
    for y, expected, output in zip(made, whole, model.outputs):
        if len(model.outputs[output]) == 2:
            expected = expected[:, None]
        assert same_bits(y, expected), output


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


def started_gru(b, x, h, r, **fields):
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
        **fields,
    )


def laid_out():
    """RepeatVector: the end of one input beside every frame of another."""

    def make(b):
        r = np.random.default_rng(12)
        x, source = b.input("x", (2,), length=6), b.input("source", (3,))
        end = b.add(L.Last, "end", bidirectional(b, source, r, L.GRU, 4, L.Concatenate))
        repeated = b.add(L.Unflatten, "repeat", dense(b, end, r, 6 * 4), length=6)
        return lstm(b, "lstm", b.add(L.Concatenate, "beside", x, repeated), 3)

    return network(make)


def left_end_beside(b, x, how):
    return b.add(L.Last, f"end_{how}", lstm(b, f"lstm_{how}", x, 4))
