"""Scans with random weights: steps as cells are written, and steps that are no layer's."""

import steps
from case_layers import cell_weights, conv, dense, recurrent, weights

from rnnrt import layers as L


def scan(b, x, graph, states, *more, name="scan", **fields):
    return b.add(L.Scan, name, x, *more, graph=graph, states=states, **fields)


def lstm(b, x, r, units, **fields):
    w, u, bias, _ = cell_weights(r, 4, units, b.signal(x).width)
    return scan(b, x, steps.lstm(w, u, bias, **fields), ("h", "c"))


def gru(b, x, r, units, reset_after, blend="one_minus"):
    w, u, bias, also = cell_weights(r, 3, units, b.signal(x).width)
    step = steps.gru(w, u, bias, also if reset_after else None, reset_after, blend=blend)
    return scan(b, x, step, ("h",))


def rnn(b, x, r, units, **fields):
    w, u, bias, _ = cell_weights(r, 1, units, b.signal(x).width)
    return scan(b, x, steps.rnn(w, u, bias), ("h",), **fields)


def minimal_gated(b, x, r, units=20, more=(), **fields):
    size = b.signal(x).width
    w, u, bias, _ = cell_weights(r, 2, units, size)
    return scan(b, x, steps.minimal_gated(w, u, bias, size, units), ("h",), *more, **fields)


def two_widths(b, x, r, **fields):
    scan(b, x, steps.two_widths(r, b.signal(x).width), ("slow", "was", "fast"), **fields)
    return b.add(L.Concatenate, "cat", *("scan" + o for o in ("", ":before", ":about_x", ":new_fast")))


def from_an_edge(b, x, r):
    """An encoder's last state starts a minimal gated unit, whose final state and answers meet a value given
    once.
    """
    recurrent(b, x, r, L.GRU, 7, name="encoder")
    y = minimal_gated(b, x, r, 7, more=("encoder:h",), started=("h",))
    again = recurrent(b, y, r, L.SimpleRNN, 4, name="after")
    return b.add(L.Concatenate, "cat", again, y)


def final_states(b, x, r):
    two_widths(b, x, r)
    return dense(b, b.add(L.Concatenate, "finals", "scan:slow", "scan:was", "scan:fast"), r, 3)


def two_sequences(b, x, r):
    """Two sequences of different delay go into one step."""
    late = conv(b, x, r, 5, 4, padding=(1, 2))
    step = steps.Step(b.signal(x).width, {})
    y, h = step.b.input("late", (5,), time=False), step.b.input("h", (6,), time=False)
    mixed = step.dense(step.join(step.x, y, h), weights(r, 6, b.signal(x).width + 11), weights(r, 6))
    new = step.add(step.act("tanh", mixed), step.affine(h, 0.5, 0.1))
    step.b.output("h'", new)
    step.b.output("y", step.dense(step.join(new, h), weights(r, 3, 12), weights(r, 3)))
    return b.add(L.Scan, "scan", x, late, graph=step.b.graph(), states=("h",), per_step=2)


def decoder_of_fixed_steps(b, x, r, once=()):
    """A sequence of its own length from an encoder's last state: an answer a step, each fed back."""
    recurrent(b, x, r, L.LSTM, 6, name="encoder")
    step = L.GraphBuilder()
    taken = [step.input(n, (k,), time=False) for n, k in (("h", 6), ("fed", 4), ("c", 6))[: 2 + len(once)]]
    joined = step.add(L.Concatenate, "join", *taken)
    size = step.signal(joined).width
    new = step.add(L.Dense, "new", joined, weight=weights(r, 6, size), bias=weights(r, 6), activation="tanh")
    answer = step.add(L.Dense, "answer", new, weight=weights(r, 4, 6), bias=weights(r, 4))
    for name, value in (("h'", new), ("fed'", answer), ("y", answer)):
        step.output(name, value)
    fields = {"states": ("h", "fed"), "started": ("h",), "initial": weights(r, 10), "per_step": 0, "steps": 7}
    return b.add(L.Scan, "decoder", "encoder:h", *once, graph=step.graph(), **fields)
