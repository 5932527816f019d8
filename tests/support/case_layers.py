"""One layer with random weights, put into a graph that is being built; what the cases are made of.

Every function takes the GraphBuilder ``b``, what the layer reads and the generator ``r``, and returns what it
makes. Weights and samples are the same to the bit on every machine and with every NumPy: they come from
the raw numbers of the bit generator, whose stream NumPy promises to keep (that of standard_normal it does
not), by operations that IEEE 754 fixes.
"""

import numpy as np

from rnnrt import layers as L


def raw(r, *shape):
    """Random uint64 from the generator ``r``."""
    return r.bit_generator.random_raw(int(np.prod(shape))).reshape(shape)


def normal(r, *shape):
    """About standard normal, float64: the sum of the four 16-bit parts of a raw number, less its mean, by its
    deviation.
    """
    drawn = raw(r, *shape)
    total = sum((drawn >> np.uint64(k)) & np.uint64(0xFFFF) for k in (0, 16, 32, 48))
    return (total.astype(np.float64) - 2 * 0xFFFF) / 37837.0


def weights(r, *shape):
    """Asymmetric (mean not zero) random weights of a size that keeps sums over the last axis near 1."""
    scale = 1 / np.sqrt(np.prod(shape[1:]) if len(shape) > 1 else 4)
    return (normal(r, *shape) * scale + 0.1 * scale).astype(np.float32)


GATES = {L.SimpleRNN: 1, L.GRU: 3, L.LSTM: 4}


def recurrent(b, x, r, kind, units, *, bias=True, projection=None, norm="none", name=None, **fields):
    size, gates = b.signal(x).features[-1], GATES[kind]
    if projection:
        fields["projection"] = weights(r, projection, units)
    if kind is L.GRU and fields.get("reset_after", True) and bias:
        fields["recurrent_bias"] = weights(r, 3 * units)
    if norm != "none":
        fields |= {
            "norm": norm,
            "gamma": 1 + weights(r, gates * units),
            "beta": weights(r, gates * units),
            "epsilon": 1e-3,
        }
    return b.add(
        kind,
        name or kind.__name__.lower(),
        x,
        weight=weights(r, gates * units, size),
        recurrent_weight=weights(r, gates * units, projection or units),
        bias=weights(r, gates * units) if bias else None,
        **fields,
    )


def dense(b, x, r, out, **fields):
    return b.add(
        L.Dense, "dense", x, weight=weights(r, out, b.signal(x).width), bias=weights(r, out), **fields
    )


def conv(b, x, r, out, taps, *, groups=1, name="conv", bias=True, **fields):
    per_group = b.signal(x).width // groups
    return b.add(
        L.Conv1D,
        name,
        x,
        weight=weights(r, out, taps, per_group),
        bias=weights(r, out) if bias else None,
        groups=groups,
        **fields,
    )


def conv2d(b, x, r, out, taps, bin_taps, *, groups=1, name="conv", bias=True, **fields):
    per_group = b.signal(x).features[1] // groups
    return b.add(
        L.Conv2D,
        name,
        x,
        weight=weights(r, out, taps, bin_taps, per_group),
        bias=weights(r, out) if bias else None,
        groups=groups,
        **fields,
    )


def image(bins, channels, *parts):
    """``parts`` over frames of (bins, channels), which come and go as rows of numbers."""

    def build(b, x, r):
        x = stack(*parts)(b, b.add(L.Reshape, "image", x, features=(bins, channels)), r)
        return b.add(L.Reshape, "row", x, features=(b.signal(x).width,))

    return build


def over_bins(kind, **fields):
    """A layer over the bins of every frame."""

    def build(b, x, r):
        bins, channels = b.signal(x).features
        inner = L.GraphBuilder()
        inner.output(
            "y", inner.add(kind, kind.kind, inner.input("frame", (channels,), length=bins), **fields)
        )
        return b.add(L.TimeDistributed, "bins", x, graph=inner.graph())

    return build


def conv_transpose(b, x, r, out, taps, *, groups=1, name="up", bias=True, **fields):
    return b.add(
        L.ConvTranspose1D,
        name,
        x,
        weight=weights(r, out, taps, b.signal(x).width // groups),
        bias=weights(r, out) if bias else None,
        groups=groups,
        **fields,
    )


def bidirectional(b, x, r, kind, units, merge):
    forward = recurrent(b, x, r, kind, units, name="forward")
    backward = recurrent(b, x, r, kind, units, name="backward", reverse=True)
    return b.add(merge, "merge", forward, backward)


def one(kind, units, **fields):
    return lambda b, x, r: recurrent(b, x, r, kind, units, **fields)


def stack(*parts):
    def build(b, x, r):
        for part in parts:
            x = part(b, x, r)
        return x

    return build


def to_dense(out, **fields):
    return lambda b, x, r: dense(b, x, r, out, **fields)


def layer(kind, **fields):
    return lambda b, x, r: b.add(kind, kind.kind, x, **fields)


def layer_norm(b, x, r):
    n = b.signal(x).width
    return b.add(
        L.LayerNormalization, "norm", x, size=n, gamma=1 + weights(r, n), beta=weights(r, n), epsilon=1e-5
    )


def batch_norm(b, x, r):
    n = b.signal(x).features[-1]
    return b.add(
        L.BatchNormalization,
        "bn",
        x,
        mean=weights(r, n),
        variance=0.5 + np.abs(weights(r, n)),
        gamma=1 + weights(r, n),
        beta=weights(r, n),
    )


def cell_weights(r, gates, units, size):
    """Of a cell with so many gates: for x, for h, and a bias for each."""
    rows = gates * units
    return weights(r, rows, size), weights(r, rows, units), weights(r, rows), weights(r, rows)


def mask(b, x, r, offset=0.4):
    """A mask of about two frames in three: where a weighted sum of the features is above -offset."""
    n = b.signal(x).width
    y = b.add(L.Dense, "told", x, weight=weights(r, 1, n), bias=[offset], activation="relu")
    return b.add(L.NotEqual, "mask", y)


def masked(build, **fields):
    """``build(b, x, r, **fields)`` with a mask of x."""
    return lambda b, x, r: build(b, x, r, mask=mask(b, x, r), **fields)


def masked_one(kind, units, **fields):
    return masked(lambda b, x, r, **own: recurrent(b, x, r, kind, units, **own), **fields)
