"""Networks with random weights, of more than one layer and without a scan or a mask."""

import numpy as np
from case_layers import bidirectional, conv, conv_transpose, dense, one, recurrent, stack, to_dense, weights

from rnnrt import layers as L


def dense_plus(b, x, r, out, **fields):
    """A product and what is added to it, which is one of the activations' too."""
    other = b.add(L.Activation, "tanh", dense(b, x, r, out), activation="tanh")
    return b.add(
        L.Dense,
        "sum",
        x,
        other,
        weight=weights(r, out, b.signal(x).width),
        bias=weights(r, out) if out != 9 else None,
        **fields,
    )


def residual(b, x, r):
    y = conv(b, x, r, b.signal(x).width, 3, padding=(1, 1), activation="relu")
    y = conv(b, y, r, b.signal(x).width, 5, padding=(4, 0), name="conv2")
    return b.add(L.Add, "add", x, y)


def three_delays(b, x, r):
    a = conv(b, x, r, 6, 7, padding=(1, 5), name="a")
    c = conv(b, x, r, 6, 4, padding=(3, 0), name="c")
    d = dense(b, x, r, 6, activation="tanh")
    return b.add(L.Concatenate, "cat", b.add(L.Add, "sum", a, c), d, b.add(L.Multiply, "product", a, d, c))


def encoder_decoder(b, x, r):
    recurrent(b, x, r, L.LSTM, 7, name="encoder")
    size = b.signal(x).width
    return b.add(
        L.LSTM,
        "decoder",
        x,
        "encoder:h",
        "encoder:c",
        weight=weights(r, 28, size),
        recurrent_weight=weights(r, 28, 7),
        bias=weights(r, 28),
    )


def joins(b, x, r):
    """Every join of two or three, of branches of different delay."""
    a, c = conv(b, x, r, 6, 4, padding=(1, 2), name="a"), dense(b, x, r, 6, activation="tanh")
    over = b.add(L.Divide, "divide", a, b.add(L.Activation, "exp", c, activation="exponential"))
    above = b.add(L.Greater, "greater", a, c)
    most = b.add(L.Maximum, "maximum", a, c, over)
    same = b.add(L.Equal, "equal", most, a)
    least = b.add(L.GreaterEqual, "greater_equal", c, most)
    chosen = b.add(L.Where, "where", above, over, most)
    return b.add(L.Concatenate, "cat", chosen, same, least, b.add(L.FeatureMax, "feature_max", over))


def squeeze_excite(b, x, r):
    y = conv(b, x, r, 9, 3)
    gate = dense(b, b.add(L.GlobalAveragePool, "mean", y), r, 9, activation="sigmoid")
    return b.add(L.Multiply, "gated", y, b.add(L.Expand, "expand", y, gate))


def softmax_over_time(b, x, r):
    """Attention pooling: scores, their softmax over all frames, the weighted sum."""
    y = recurrent(b, x, r, L.GRU, 7)
    e = b.add(L.Dense, "score", y, weight=weights(r, 1, 7))
    most = b.add(L.Affine, "negative", b.add(L.GlobalMaxPool, "most", e), scale=[-1.0], offset=[0.0])
    e = b.add(L.Add, "less", e, b.add(L.Expand, "of_most", e, most))
    e = b.add(L.Activation, "exp", e, activation="exponential")
    e = b.add(L.Divide, "weight", e, b.add(L.Expand, "of_sum", e, b.add(L.GlobalSum, "sum", e)))
    e = b.add(L.Select, "each", e, index=(0,) * 7)
    return b.add(L.GlobalSum, "pooled", b.add(L.Multiply, "weighted", y, e))


def attention(queries=6, additive=False, masked=False, **fields):
    """Attention of an LSTM's frames to those of a convolution."""

    def build(b, x, r):
        q = recurrent(b, x, r, L.LSTM, queries)
        frames = conv(b, x, r, 10, 3, padding=(1, 1), name="frames")
        k = dense(b, frames, r, queries)
        own = dict(fields)
        if additive:
            own |= {"weight": weights(r, queries), "bias": weights(r, 1), "activation": "tanh"}
        beside = ()
        if masked:
            told = b.add(L.Select, "told", frames, index=(0,))
            beside = (b.add(L.Activation, "real", told, activation=("above", -0.2)),)
        return b.add(L.Attention, "attention", q, k, frames, *beside, **own)

    return build


def statistics(b, x, r):
    y = conv(b, x, r, 5, 3, activation="tanh")
    over = [
        b.add(L.GlobalAveragePool, "mean", y),
        b.add(L.GlobalVariance, "variance", y),
        b.add(L.GlobalVariance, "unbiased", y, correction=0.5),
        b.add(L.GlobalSum, "sum", y),
        b.add(L.First, "first", y),
    ]
    return b.add(L.Concatenate, "cat", *over)


def difference(b, x, r):
    """x[:, 1:] - x[:, :-1], and a reflection that keeps step with a zero padding."""
    later, before = b.add(L.Crop1D, "later", x, before=1), b.add(L.Crop1D, "before", x, after=1)
    y = b.add(L.Add, "sum", later, b.add(L.Affine, "less", before, scale=-np.ones(3), offset=np.zeros(3)))
    mirrored = b.add(L.Pad1D, "mirrored", y, before=2, after=1, mode="reflect")
    return b.add(L.Concatenate, "cat", mirrored, b.add(L.Pad1D, "zeros", y, before=2, after=1))


def decoder(b, x, r):
    """Down by a strided convolution, up again in two branches that join, then what runs at that rate."""
    low = conv(b, x, r, 8, 4, stride=2, padding=(1, 1), activation="tanh")
    a = conv_transpose(b, low, r, 6, 4, stride=2, padding=(1, 1), name="a")
    c = conv_transpose(b, low, r, 6, 2, stride=2, name="c")
    y = b.add(L.Add, "sum", a, c)
    return conv(b, recurrent(b, y, r, L.GRU, 7), r, 3, 3, stride=2, padding=(2, 0), name="out")


def final_state(b, x, r):
    recurrent(b, x, r, L.LSTM, 6, name="lstm")
    return dense(b, b.add(L.Concatenate, "cat", "lstm:h", "lstm:c"), r, 3)


def bins_from_an_edge(b, x, r):
    """Recurrences of bins that start at the states of others, and what these end in."""
    frames = b.add(L.Reshape, "image", x, features=(4, 3))
    recurrent(b, frames, r, L.LSTM, 5, name="early", projection=2)
    cell = {"weight": weights(r, 20, 3), "recurrent_weight": weights(r, 20, 2), "bias": weights(r, 20)}
    cell |= {"projection": weights(r, 2, 5)}
    b.add(L.LSTM, "late", frames, "early:h", "early:c", **cell)
    rows = {"late": 8, "late:h": 8, "early:c": 20}
    flat = [b.add(L.Reshape, f"flat_{k}", v, features=(n,)) for k, (v, n) in enumerate(rows.items())]
    given = b.add(L.Concatenate, "given", *flat[1:])
    return b.add(L.Concatenate, "cat", flat[0], b.add(L.Expand, "expand", flat[0], given))


def cells(b, x, r):
    recurrent(b, x, r, L.LSTM, 6, name="lstm")
    return "lstm:cells"


def per_frame(b, x, r):
    inner = L.GraphBuilder()
    u = inner.input("frame", (2,), length=10)
    v = conv(inner, u, r, 4, 3, activation="relu")
    v = inner.add(L.MaxPool1D, "pool", v, size=2, stride=2)
    inner.output("out", inner.add(L.Flatten, "flatten", v))
    y = b.add(L.Reshape, "reshape", x, features=(10, 2))
    return dense(b, b.add(L.TimeDistributed, "per_frame", y, graph=inner.graph()), r, 5)


def per_frame_bidirectional(b, x, r):
    inner = L.GraphBuilder()
    u = inner.input("frame", (2,), length=6)
    inner.output("out", bidirectional(inner, u, r, L.GRU, 3, L.Concatenate))
    y = b.add(
        L.TimeDistributed, "per_frame", b.add(L.Reshape, "reshape", x, features=(6, 2)), graph=inner.graph()
    )
    return b.add(L.Reshape, "flat", y, features=(36,))


def last_of_both(b, x, r):
    recurrent(b, x, r, L.GRU, 5, name="forward")
    recurrent(b, x, r, L.GRU, 5, name="backward", reverse=True)
    return dense(b, b.add(L.Concatenate, "cat", "forward:h", "backward:h"), r, 4)


def two_bidirectional(b, x, r):
    y = bidirectional(b, x, r, L.LSTM, 6, L.Concatenate)
    forward = recurrent(b, y, r, L.LSTM, 5, name="forward2")
    backward = recurrent(b, y, r, L.LSTM, 5, name="backward2", reverse=True)
    return dense(b, b.add(L.Add, "merge2", forward, backward), r, 3)


def from_a_start(b, x, r, stride=1):
    """A network that begins in the middle of things: windows, h and c alone, one direction from the end."""
    y = b.add(L.Conv1D, "window", x, weight=weights(r, 5, 3, 3), padding=(4, 0), dilation=2, stride=stride)
    y = recurrent(b, y, r, L.LSTM, 6, name="lstm")
    y = recurrent(b, y, r, L.GRU, 5, name="gru")
    b.start = {
        "window/window": weights(r, 3),
        "lstm/c": weights(r, 6),
        "gru/h": weights(r, 5),
    }
    return y


def textbook(kind, **fields):
    return stack(one(kind, 20, name="one", **fields), one(kind, 20, name="two", **fields), to_dense(10))
