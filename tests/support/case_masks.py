"""Masked networks with random weights."""

import steps
from case_layers import cell_weights, conv, dense, mask, masked_one, recurrent, weights

from rnnrt import layers as L


def mean(b, x, r):
    y = recurrent(b, x, r, L.LSTM, 9)
    return dense(b, b.add(L.GlobalAveragePool, "mean", y, mask=mask(b, x, r, 2.0)), r, 3)


def bidirectional(b, x, r):
    real = mask(b, x, r)
    forward = recurrent(b, x, r, L.LSTM, 6, name="forward", mask=real)
    backward = recurrent(b, x, r, L.LSTM, 6, name="backward", mask=real, reverse=True)
    both = b.add(L.Concatenate, "merge", forward, backward)
    return b.add(L.Concatenate, "cat", b.add(L.GlobalAveragePool, "mean", both, mask=real), "backward:c")


def cells(b, x, r):
    recurrent(b, x, r, L.LSTM, 12, projection=5, name="lstm", mask=mask(b, x, r))
    return b.add(L.Concatenate, "cat", "lstm:cells", "lstm")


def late(b, x, r):
    """Frames that come late meet a mask that does not, and one that comes later still."""
    late = conv(b, x, r, 6, 4, padding=(1, 2))
    y = recurrent(b, late, r, L.GRU, 7, name="early", mask=mask(b, x, r))
    later = conv(b, x, r, 1, 7, padding=(0, 6), activation="relu", name="later")
    b.start = {"early/h": weights(r, 7)}
    return recurrent(b, y, r, L.SimpleRNN, 5, name="after", mask=later, masked_output="zero")


def stride(b, x, r):
    """A mask taken through the stride that its frames go through."""
    real = b.add(L.MaxPool1D, "mask_pool", mask(b, x, r, -0.3), size=3, stride=2)
    y = recurrent(b, conv(b, x, r, 6, 3, stride=2), r, L.LSTM, 6, mask=real)
    return b.add(L.Concatenate, "cat", y, real)


def from_an_edge(b, x, r):
    """A recurrence that starts at another's last state, whose first frames may be masked."""
    real = mask(b, x, r)
    recurrent(b, x, r, L.LSTM, 7, name="encoder", mask=real)
    size = b.signal(x).width
    cell = {"weight": weights(r, 28, size), "recurrent_weight": weights(r, 28, 7), "bias": weights(r, 28)}
    y = b.add(L.LSTM, "decoder", x, "encoder:h", "encoder:c", **cell, mask=real)
    w, u, bias, _ = cell_weights(r, 1, 7, size)
    more = {"graph": steps.rnn(w, u, bias, activation="softsign"), "states": ("h",), "started": ("h",)}
    return b.add(L.Concatenate, "cat", y, b.add(L.Scan, "scan", x, "encoder:h", **more, mask=real))


def per_frame(b, x, r):
    inner = L.GraphBuilder()
    u = inner.input("frame", (2,), length=6)
    inner.output("out", masked_one(L.GRU, 3)(inner, u, r))
    y = b.add(L.Reshape, "reshape", x, features=(6, 2))
    y = b.add(L.TimeDistributed, "per_frame", y, graph=inner.graph())
    return b.add(L.Reshape, "flat", y, features=(18,))


def bins(b, x, r):
    """Bins of a frame are masked together."""
    real = mask(b, x, r)
    frames = b.add(L.Reshape, "image", x, features=(3, 2))
    y = recurrent(b, frames, r, L.GRU, 5, mask=real)
    y = recurrent(b, y, r, L.LSTM, 4, mask=real, masked_output="zero")
    return b.add(L.Reshape, "flat", y, features=(12,))


def ids(b, x, r):
    y = b.add(L.Embedding, "embedding", x, weight=weights(r, 5, 8))
    return recurrent(b, y, r, L.LSTM, 9, mask=b.add(L.NotEqual, "mask", x))
