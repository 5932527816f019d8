"""One list of configurations: the tests and the benchmarks both walk it.

A case is a name and a function that builds its graph with asymmetric random weights. Sizes are those that
bite: one, just under, at and over a vector of 4, 8 and 16 lanes, over a panel, over a segment of 64 terms.

Weights and samples are the same to the bit on every machine and with every NumPy: they come from the raw
numbers of the bit generator, whose stream NumPy promises to keep (that of standard_normal it does not), by
operations that IEEE 754 fixes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import steps

from rnnrt import layers as L


@dataclass(frozen=True)
class Case:
    name: str
    build: Callable
    features: int = 3
    length: int | None = None
    ids: int = 0  # above 0: the input is ids below this number
    streams: bool = True
    bench: bool = False  # worth a line in the benchmark

    def graph(self, seed=0):
        r = np.random.default_rng([seed, sum(self.name.encode())])
        b = L.GraphBuilder()
        x = b.input("x", () if self.ids else (self.features,), length=self.length, ids=bool(self.ids))
        y = self.build(b, x, r)
        b.output("y", y)
        return b.graph()

    def sample(self, batch, frames, seed=0):
        r = np.random.default_rng([seed, 7])
        frames = self.length or frames
        if self.ids:
            return (raw(r, batch, frames) % np.uint64(self.ids)).astype(np.float32)
        return normal(r, batch, frames, self.features).astype(np.float32)


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
    size, gates = b.signal(x).width, GATES[kind]
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


def _to_dense(out, **fields):
    return lambda b, x, r: dense(b, x, r, out, **fields)


def _layer(kind, **fields):
    return lambda b, x, r: b.add(kind, kind.kind, x, **fields)


def _norm(b, x, r):
    n = b.signal(x).width
    return b.add(
        L.LayerNormalization, "norm", x, size=n, gamma=1 + weights(r, n), beta=weights(r, n), epsilon=1e-5
    )


def _batch_norm(b, x, r):
    n = b.signal(x).width
    return b.add(
        L.BatchNormalization,
        "bn",
        x,
        mean=weights(r, n),
        variance=0.5 + np.abs(weights(r, n)),
        gamma=1 + weights(r, n),
        beta=weights(r, n),
    )


def _residual(b, x, r):
    y = conv(b, x, r, b.signal(x).width, 3, padding=(1, 1), activation="relu")
    y = conv(b, y, r, b.signal(x).width, 5, padding=(4, 0), name="conv2")
    return b.add(L.Add, "add", x, y)


def _three_delays(b, x, r):
    a = conv(b, x, r, 6, 7, padding=(1, 5), name="a")
    c = conv(b, x, r, 6, 4, padding=(3, 0), name="c")
    d = dense(b, x, r, 6, activation="tanh")
    return b.add(L.Concatenate, "cat", b.add(L.Add, "sum", a, c), d, b.add(L.Multiply, "product", a, d, c))


def _encoder_decoder(b, x, r):
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


def _joins(b, x, r):
    """Every join of two or three, of branches of different delay."""
    a, c = conv(b, x, r, 6, 4, padding=(1, 2), name="a"), dense(b, x, r, 6, activation="tanh")
    over = b.add(L.Divide, "divide", a, b.add(L.Activation, "exp", c, activation="exponential"))
    above = b.add(L.Greater, "greater", a, c)
    most = b.add(L.Maximum, "maximum", a, c, over)
    same = b.add(L.Equal, "equal", most, a)
    least = b.add(L.GreaterEqual, "greater_equal", c, most)
    chosen = b.add(L.Where, "where", above, over, most)
    return b.add(L.Concatenate, "cat", chosen, same, least, b.add(L.FeatureMax, "feature_max", over))


def _squeeze_excite(b, x, r):
    y = conv(b, x, r, 9, 3)
    gate = dense(b, b.add(L.GlobalAveragePool, "mean", y), r, 9, activation="sigmoid")
    return b.add(L.Multiply, "gated", y, b.add(L.Expand, "expand", y, gate))


def _softmax_over_time(b, x, r):
    """Attention pooling: scores, their softmax over all frames, the weighted sum."""
    y = recurrent(b, x, r, L.GRU, 7)
    e = b.add(L.Dense, "score", y, weight=weights(r, 1, 7))
    most = b.add(L.Affine, "negative", b.add(L.GlobalMaxPool, "most", e), scale=[-1.0], offset=[0.0])
    e = b.add(L.Add, "less", e, b.add(L.Expand, "of_most", e, most))
    e = b.add(L.Activation, "exp", e, activation="exponential")
    e = b.add(L.Divide, "weight", e, b.add(L.Expand, "of_sum", e, b.add(L.GlobalSum, "sum", e)))
    e = b.add(L.Select, "each", e, index=(0,) * 7)
    return b.add(L.GlobalSum, "pooled", b.add(L.Multiply, "weighted", y, e))


def _statistics(b, x, r):
    y = conv(b, x, r, 5, 3, activation="tanh")
    over = [
        b.add(L.GlobalAveragePool, "mean", y),
        b.add(L.GlobalVariance, "variance", y),
        b.add(L.GlobalVariance, "unbiased", y, correction=0.5),
        b.add(L.GlobalSum, "sum", y),
        b.add(L.First, "first", y),
    ]
    return b.add(L.Concatenate, "cat", *over)


def _difference(b, x, r):
    """x[:, 1:] - x[:, :-1], and a reflection that keeps step with a zero padding."""
    later, before = b.add(L.Crop1D, "later", x, before=1), b.add(L.Crop1D, "before", x, after=1)
    y = b.add(L.Add, "sum", later, b.add(L.Affine, "less", before, scale=-np.ones(3), offset=np.zeros(3)))
    mirrored = b.add(L.Pad1D, "mirrored", y, before=2, after=1, mode="reflect")
    return b.add(L.Concatenate, "cat", mirrored, b.add(L.Pad1D, "zeros", y, before=2, after=1))


def _decoder(b, x, r):
    """Down by a strided convolution, up again in two branches that join, then what runs at that rate."""
    low = conv(b, x, r, 8, 4, stride=2, padding=(1, 1), activation="tanh")
    a = conv_transpose(b, low, r, 6, 4, stride=2, padding=(1, 1), name="a")
    c = conv_transpose(b, low, r, 6, 2, stride=2, name="c")
    y = b.add(L.Add, "sum", a, c)
    return conv(b, recurrent(b, y, r, L.GRU, 7), r, 3, 3, stride=2, padding=(2, 0), name="out")


def _final_state(b, x, r):
    recurrent(b, x, r, L.LSTM, 6, name="lstm")
    return dense(b, b.add(L.Concatenate, "cat", "lstm:h", "lstm:c"), r, 3)


def _cells(b, x, r):
    recurrent(b, x, r, L.LSTM, 6, name="lstm")
    return "lstm:cells"


def _per_frame(b, x, r):
    inner = L.GraphBuilder()
    u = inner.input("frame", (2,), length=10)
    v = conv(inner, u, r, 4, 3, activation="relu")
    v = inner.add(L.MaxPool1D, "pool", v, size=2, stride=2)
    inner.output("out", inner.add(L.Flatten, "flatten", v))
    y = b.add(L.Reshape, "reshape", x, features=(10, 2))
    return dense(b, b.add(L.TimeDistributed, "per_frame", y, graph=inner.graph()), r, 5)


def _per_frame_bidirectional(b, x, r):
    inner = L.GraphBuilder()
    u = inner.input("frame", (2,), length=6)
    inner.output("out", bidirectional(inner, u, r, L.GRU, 3, L.Concatenate))
    y = b.add(
        L.TimeDistributed, "per_frame", b.add(L.Reshape, "reshape", x, features=(6, 2)), graph=inner.graph()
    )
    return b.add(L.Reshape, "flat", y, features=(36,))


def _last_of_both(b, x, r):
    recurrent(b, x, r, L.GRU, 5, name="forward")
    recurrent(b, x, r, L.GRU, 5, name="backward", reverse=True)
    return dense(b, b.add(L.Concatenate, "cat", "forward:h", "backward:h"), r, 4)


def _two_bidirectional(b, x, r):
    y = bidirectional(b, x, r, L.LSTM, 6, L.Concatenate)
    forward = recurrent(b, y, r, L.LSTM, 5, name="forward2")
    backward = recurrent(b, y, r, L.LSTM, 5, name="backward2", reverse=True)
    return dense(b, b.add(L.Add, "merge2", forward, backward), r, 3)


def scan(b, x, graph, states, *more, name="scan", **fields):
    return b.add(L.Scan, name, x, *more, graph=graph, states=states, **fields)


def cell_weights(r, gates, units, size):
    """Of a cell with so many gates: for x, for h, and a bias for each."""
    rows = gates * units
    return weights(r, rows, size), weights(r, rows, units), weights(r, rows), weights(r, rows)


def _scan_lstm(b, x, r, units, **fields):
    w, u, bias, _ = cell_weights(r, 4, units, b.signal(x).width)
    return scan(b, x, steps.lstm(w, u, bias, **fields), ("h", "c"))


def _scan_gru(b, x, r, units, reset_after, blend="one_minus"):
    w, u, bias, also = cell_weights(r, 3, units, b.signal(x).width)
    step = steps.gru(w, u, bias, also if reset_after else None, reset_after, blend=blend)
    return scan(b, x, step, ("h",))


def _scan_rnn(b, x, r, units, **fields):
    w, u, bias, _ = cell_weights(r, 1, units, b.signal(x).width)
    return scan(b, x, steps.rnn(w, u, bias), ("h",), **fields)


def _minimal_gated(b, x, r, units=20, more=(), **fields):
    size = b.signal(x).width
    w, u, bias, _ = cell_weights(r, 2, units, size)
    return scan(b, x, steps.minimal_gated(w, u, bias, size, units), ("h",), *more, **fields)


def _two_widths(b, x, r, **fields):
    scan(b, x, steps.two_widths(r, b.signal(x).width), ("slow", "was", "fast"), **fields)
    return b.add(L.Concatenate, "cat", *("scan" + o for o in ("", ":before", ":about_x", ":new_fast")))


def _scan_from_an_edge(b, x, r):
    """An encoder's last state starts a minimal gated unit, whose final state and answers meet a value given
    once.
    """
    recurrent(b, x, r, L.GRU, 7, name="encoder")
    y = _minimal_gated(b, x, r, 7, more=("encoder:h",), started=("h",))
    again = recurrent(b, y, r, L.SimpleRNN, 4, name="after")
    return b.add(L.Concatenate, "cat", again, y)


def _scan_final_states(b, x, r):
    _two_widths(b, x, r)
    return dense(b, b.add(L.Concatenate, "finals", "scan:slow", "scan:was", "scan:fast"), r, 3)


def _scan_two_sequences(b, x, r):
    """Two sequences of different delay go into one step."""
    late = conv(b, x, r, 5, 4, padding=(1, 2))
    step = steps.Step(b.signal(x).width, {})
    y, h = step.b.input("late", (5,), time=False), step.b.input("h", (6,), time=False)
    mixed = step.dense(step.join(step.x, y, h), weights(r, 6, b.signal(x).width + 11), weights(r, 6))
    new = step.add(step.act("tanh", mixed), step.affine(h, 0.5, 0.1))
    step.b.output("h'", new)
    step.b.output("y", step.dense(step.join(new, h), weights(r, 3, 12), weights(r, 3)))
    return b.add(L.Scan, "scan", x, late, graph=step.b.graph(), states=("h",), per_step=2)


def _decoder_of_fixed_steps(b, x, r, once=()):
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


def _from_a_start(b, x, r, stride=1):
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


def _masked_mean(b, x, r):
    y = recurrent(b, x, r, L.LSTM, 9)
    return dense(b, b.add(L.GlobalAveragePool, "mean", y, mask=mask(b, x, r, 2.0)), r, 3)


def _masked_bidirectional(b, x, r):
    real = mask(b, x, r)
    forward = recurrent(b, x, r, L.LSTM, 6, name="forward", mask=real)
    backward = recurrent(b, x, r, L.LSTM, 6, name="backward", mask=real, reverse=True)
    both = b.add(L.Concatenate, "merge", forward, backward)
    return b.add(L.Concatenate, "cat", b.add(L.GlobalAveragePool, "mean", both, mask=real), "backward:c")


def _masked_cells(b, x, r):
    recurrent(b, x, r, L.LSTM, 12, projection=5, name="lstm", mask=mask(b, x, r))
    return b.add(L.Concatenate, "cat", "lstm:cells", "lstm")


def _masked_late(b, x, r):
    """Frames that come late meet a mask that does not, and one that comes later still."""
    late = conv(b, x, r, 6, 4, padding=(1, 2))
    y = recurrent(b, late, r, L.GRU, 7, name="early", mask=mask(b, x, r))
    later = conv(b, x, r, 1, 7, padding=(0, 6), activation="relu", name="later")
    b.start = {"early/h": weights(r, 7)}
    return recurrent(b, y, r, L.SimpleRNN, 5, name="after", mask=later, masked_output="zero")


def _masked_stride(b, x, r):
    """A mask taken through the stride that its frames go through."""
    real = b.add(L.MaxPool1D, "mask_pool", mask(b, x, r, -0.3), size=3, stride=2)
    y = recurrent(b, conv(b, x, r, 6, 3, stride=2), r, L.LSTM, 6, mask=real)
    return b.add(L.Concatenate, "cat", y, real)


def _masked_from_an_edge(b, x, r):
    """A recurrence that starts at another's last state, whose first frames may be masked."""
    real = mask(b, x, r)
    recurrent(b, x, r, L.LSTM, 7, name="encoder", mask=real)
    size = b.signal(x).width
    cell = {"weight": weights(r, 28, size), "recurrent_weight": weights(r, 28, 7), "bias": weights(r, 28)}
    y = b.add(L.LSTM, "decoder", x, "encoder:h", "encoder:c", **cell, mask=real)
    w, u, bias, _ = cell_weights(r, 1, 7, size)
    more = {"graph": steps.rnn(w, u, bias, activation="softsign"), "states": ("h",), "started": ("h",)}
    return b.add(L.Concatenate, "cat", y, b.add(L.Scan, "scan", x, "encoder:h", **more, mask=real))


def _masked_per_frame(b, x, r):
    inner = L.GraphBuilder()
    u = inner.input("frame", (2,), length=6)
    inner.output("out", masked_one(L.GRU, 3)(inner, u, r))
    y = b.add(L.Reshape, "reshape", x, features=(6, 2))
    y = b.add(L.TimeDistributed, "per_frame", y, graph=inner.graph())
    return b.add(L.Reshape, "flat", y, features=(18,))


def _masked_ids(b, x, r):
    y = b.add(L.Embedding, "embedding", x, weight=weights(r, 5, 8))
    return recurrent(b, y, r, L.LSTM, 9, mask=b.add(L.NotEqual, "mask", x))


def _textbook(kind, **fields):
    return stack(one(kind, 20, name="one", **fields), one(kind, 20, name="two", **fields), _to_dense(10))


SIZES = (1, 5, 16, 20, 33, 130)
CASES: list[Case] = []


def case(name, build, **fields):
    CASES.append(Case(name, build, **fields))


for _n in SIZES:
    case(f"lstm_{_n}", one(L.LSTM, _n), features=min(_n, 33), bench=_n == 20)
    case(f"gru_{_n}", one(L.GRU, _n), features=min(_n, 33), bench=_n == 20)
    case(f"gru_before_{_n}", one(L.GRU, _n, reset_after=False), features=min(_n, 33))
    case(f"rnn_{_n}", one(L.SimpleRNN, _n), features=min(_n, 33), bench=_n == 20)
    case(f"dense_{_n}", _to_dense(_n, activation="tanh"), features=min(_n, 33))
    case(f"conv_{_n}", lambda b, x, r, n=_n: conv(b, x, r, n, 3, padding=(2, 0)), features=min(_n, 33))
for _kind in GATES:
    _word = _kind.kind
    case(f"{_word}_no_bias", one(_kind, 7, bias=False))
    case(f"{_word}_relu", one(_kind, 7, activation="relu"))
    case(f"{_word}_norm", one(_kind, 20, norm="gates"), bench=_word == "lstm")
    case(f"{_word}_reverse", one(_kind, 9, reverse=True), streams=False)
    if _kind is not L.SimpleRNN:
        case(f"{_word}_hard_sigmoid", one(_kind, 9, recurrent_activation="hard_sigmoid"))
        case(f"{_word}_hard_sigmoid_keras2", one(_kind, 9, recurrent_activation="hard_sigmoid_keras2"))
    for _merge in (L.Concatenate, L.Add, L.Multiply):
        case(
            f"bidirectional_{_word}_{_merge.kind}",
            lambda b, x, r, k=_kind, m=_merge: bidirectional(b, x, r, k, 6, m),
            streams=False,
        )
case("lstm_joint_norm", one(L.LSTM, 12, norm="joint"))
case("gru_before_norm", one(L.GRU, 12, norm="gates", reset_after=False))
case("gru_before_relu", one(L.GRU, 12, activation="relu", reset_after=False))
case("lstm_projection", one(L.LSTM, 20, projection=6))
case("lstm_projection_norm", one(L.LSTM, 12, projection=5, norm="gates"))
case("lstm_cells", _cells)
case("lstm_128", one(L.LSTM, 128), features=128, bench=True)
case("lstm_256", one(L.LSTM, 256), features=64, bench=True)
case("gru_128", one(L.GRU, 128), features=128, bench=True)
for _f in L.FUNCTIONS:
    _p = {"clipped_relu": (1.5,), "elu": (0.7,), "at_least": (-0.5,), "celu": (0.7,)}
    _p = _p.get(_f, (0.3,) * len(L.FUNCTIONS[_f]))
    _positive = [_layer(L.Activation, activation="exponential")] * (_f in ("sqrt", "log", "reciprocal"))
    case(
        f"function_{_f}", stack(*_positive, _layer(L.Activation, activation=L.Function(_f, _p))), features=19
    )
case("leaky_dense", _to_dense(9, activation=L.Function("leaky_relu", (0.2,))))
case("softmax", stack(_to_dense(21), _layer(L.Softmax)))
case("log_softmax", stack(_to_dense(21), _layer(L.LogSoftmax)))
case("layer_norm", _norm, features=37)
case("batch_norm", _batch_norm, features=37)
case("batch_norm_after_relu", stack(_to_dense(9, activation="relu"), _batch_norm))
case("batch_norm_into_conv", stack(lambda b, x, r: conv(b, x, r, 8, 3), _batch_norm))
for _name, _fields in {
    "valid": {},
    "causal": {"padding": (2, 0)},
    "same": {"padding": "same"},
    "stride": {"stride": 2},
    "stride_causal": {"stride": 3, "padding": (2, 0)},
    "dilated": {"dilation": 4, "padding": (8, 0)},
    "dilated_same": {"dilation": 3, "padding": "same"},
    "symmetric": {"padding": (1, 1), "stride": 2},
    "stride_beyond": {"stride": 5},
    "wide_pad": {"padding": (4, 3)},
}.items():
    case(
        f"conv_{_name}",
        lambda b, x, r, f=_fields: conv(b, x, r, 10, 3, activation="relu", **f),
        features=4,
        bench=_name == "dilated",
    )
case("conv_even_same", lambda b, x, r: conv(b, x, r, 10, 8, padding="same"))
case("conv_same_stride2", lambda b, x, r: conv(b, x, r, 10, 2, padding="same", stride=2))
case("conv_same_stride2_wide", lambda b, x, r: conv(b, x, r, 10, 5, padding="same", stride=2), streams=False)
case("conv_one_tap", lambda b, x, r: conv(b, x, r, 10, 1))
case("conv_grouped", lambda b, x, r: conv(b, x, r, 12, 3, groups=2, padding=(1, 1)), features=6)
case("conv_depthwise", lambda b, x, r: conv(b, x, r, 20, 5, groups=20, padding=(2, 2)), features=20)
case("conv_depthwise_multiplier", lambda b, x, r: conv(b, x, r, 12, 3, groups=6), features=6)
case("conv_long_window", lambda b, x, r: conv(b, x, r, 8, 9, padding=(8, 0)), features=33)
case(
    "wavenet",
    stack(
        *[
            lambda b, x, r, d=2**k: conv(b, x, r, 20, 2, dilation=d, padding=(d, 0), activation="relu")
            for k in range(4)
        ],
        _to_dense(1),
    ),
    features=1,
    bench=True,
)
for _name, _fields in {
    "doubling": {"stride": 2, "padding": (1, 1)},
    "causal": {"stride": 2, "padding": (0, 2)},
    "output_padding": {"stride": 3, "padding": (1, 0)},
    "one_to_one": {"padding": (2, 1)},
    "dilated": {"stride": 2, "dilation": 3},
    "gaps": {"stride": 6, "padding": (0, -1)},
    "cut": {"stride": 2, "padding": (3, 5)},
    "same": {"stride": 3, "padding": "same"},
}.items():
    case(
        f"conv_transpose_{_name}",
        lambda b, x, r, f=_fields: conv_transpose(b, x, r, 10, 4, activation="relu", **f),
        features=4,
        bench=_name == "doubling",
    )
case("conv_transpose_wide", lambda b, x, r: conv_transpose(b, x, r, 33, 5, stride=2), features=70)
case("conv_transpose_one_output", lambda b, x, r: conv_transpose(b, x, r, 1, 3, stride=2, bias=False))
case("conv_transpose_grouped", lambda b, x, r: conv_transpose(b, x, r, 12, 3, stride=2, groups=2), features=6)
case("conv_transpose_depthwise", lambda b, x, r: conv_transpose(b, x, r, 6, 4, groups=6), features=6)
case("batch_norm_into_conv_transpose", stack(lambda b, x, r: conv_transpose(b, x, r, 8, 3), _batch_norm))
case("decoder", _decoder)
for _name, _fields in {
    "valid": {},
    "overlapping": {"size": 3, "stride": 1},
    "same": {"padding": "same"},
    "same_three": {"size": 3, "stride": 3, "padding": "same"},
    "padded": {"size": 4, "stride": 2, "padding": (1, 1)},
}.items():
    _streams = _name != "same_three"
    case(f"max_pool_{_name}", _layer(L.MaxPool1D, **_fields), features=18, streams=_streams)
    case(f"average_pool_{_name}", _layer(L.AveragePool1D, **_fields), features=18, streams=_streams)
case("max_pool_dilated", _layer(L.MaxPool1D, size=3, stride=2, dilation=2), features=18)
case("max_pool_dilated_padded", _layer(L.MaxPool1D, size=3, stride=1, dilation=2, padding=(2, 2)), features=5)
case("average_pool_counting", _layer(L.AveragePool1D, size=4, stride=2, padding=(1, 1), count_padding=True))
case("global_max", stack(one(L.GRU, 6), _layer(L.GlobalMaxPool), _to_dense(2)))
case("global_average", stack(one(L.GRU, 6), _layer(L.GlobalAveragePool), _to_dense(2)))
case("last", stack(one(L.LSTM, 9), _layer(L.Last), _to_dense(1, activation="sigmoid")))
case("final_state", _final_state)
case("last_after_stride", stack(lambda b, x, r: conv(b, x, r, 6, 3, stride=2), one(L.GRU, 5), _layer(L.Last)))
case("reverse", stack(_layer(L.Reverse), one(L.SimpleRNN, 5)), streams=False)
case("start", _from_a_start)
case("start_strided", lambda b, x, r: _from_a_start(b, x, r, stride=3))
case(
    "flatten",
    stack(
        lambda b, x, r: conv(b, x, r, 4, 3), _layer(L.Flatten), _to_dense(6, activation="relu"), _to_dense(1)
    ),
    length=12,
)
case(
    "unflatten", stack(_layer(L.Flatten), _layer(L.Unflatten, length=8), one(L.GRU, 4)), length=12, features=4
)
case("select", stack(_to_dense(9), _layer(L.Select, index=(8, 0, 3, 3))))
case(
    "embedding",
    stack(
        lambda b, x, r: b.add(L.Embedding, "embedding", x, weight=weights(r, 23, 8)),
        one(L.LSTM, 9),
        _layer(L.Last),
    ),
    ids=23,
)
case("residual", _residual, features=6)
case("joins", _joins, features=4)
case("squeeze_excite", _squeeze_excite, streams=False)
case("softmax_over_time", _softmax_over_time, streams=False)
case("statistics", _statistics)
case("difference", _difference)
case("crop", _layer(L.Crop1D, before=2, after=3), features=18)
case("crop_stride", stack(_layer(L.Crop1D, before=1, stride=3), one(L.GRU, 5)))
for _name, _fields in {
    "constant": {"before": 3, "after": 2, "value": 0.5},
    "replicate": {"before": 3, "after": 2, "mode": "replicate"},
    "replicate_before": {"before": 2, "mode": "replicate"},
    "reflect": {"before": 3, "after": 2, "mode": "reflect"},
    "reflect_before": {"before": 2, "mode": "reflect"},
    "reflect_after": {"after": 5, "mode": "reflect"},
}.items():
    case(f"pad_{_name}", stack(_layer(L.Pad1D, **_fields), lambda b, x, r: conv(b, x, r, 5, 3)), features=5)
case("three_delays", _three_delays)
case("encoder_decoder", _encoder_decoder, streams=False)
case("per_frame", _per_frame, features=20)
case("per_frame_bidirectional", _per_frame_bidirectional, features=12)
case("last_of_both", _last_of_both, streams=False)
case("two_bidirectional", _two_bidirectional, streams=False)
case("textbook_ln_rnn", _textbook(L.SimpleRNN, norm="gates"), features=1, bench=True)
case("textbook_lstm", _textbook(L.LSTM), features=1, bench=True)
case("textbook_gru", _textbook(L.GRU), features=1, bench=True)
case(
    "textbook_conv_gru",
    stack(lambda b, x, r: conv(b, x, r, 20, 4, stride=2), _textbook(L.GRU)),
    features=1,
    bench=True,
)

for _n in (1, 20, 33):
    case(f"scan_lstm_{_n}", lambda b, x, r, n=_n: _scan_lstm(b, x, r, n), features=min(_n, 33))
for _spelling in steps.SPELLINGS[1:]:
    case(f"scan_lstm_{_spelling}", lambda b, x, r, s=_spelling: _scan_lstm(b, x, r, 20, spelling=s))
for _blend in steps.BLENDS:
    case(f"scan_gru_{_blend}", lambda b, x, r, k=_blend: _scan_gru(b, x, r, 20, True, k))
    case(f"scan_gru_before_{_blend}", lambda b, x, r, k=_blend: _scan_gru(b, x, r, 20, False, k))
case("scan_rnn", lambda b, x, r: _scan_rnn(b, x, r, 20))
case("scan_rnn_reverse", lambda b, x, r: _scan_rnn(b, x, r, 20, reverse=True), streams=False)
case("scan_minimal_gated", _minimal_gated)
case("scan_minimal_gated_130", lambda b, x, r: _minimal_gated(b, x, r, 130), features=33)
case("scan_stored_start", lambda b, x, r: _minimal_gated(b, x, r, initial=weights(r, 20)))
case("scan_two_widths", _two_widths)
case("scan_two_widths_reverse", lambda b, x, r: _two_widths(b, x, r, reverse=True), streams=False)
case("scan_final_states", _scan_final_states)
case("scan_two_sequences", _scan_two_sequences)
case("scan_from_an_edge", _scan_from_an_edge, streams=False)
case("scan_fixed_steps", _decoder_of_fixed_steps)
case("scan_fixed_steps_once", lambda b, x, r: _decoder_of_fixed_steps(b, x, r, ("encoder:c",)), streams=False)

for _kind in GATES:
    _word = _kind.kind
    for _output in ("hold", "zero"):
        case(f"masked_{_word}_{_output}", masked_one(_kind, 9, masked_output=_output))
    case(f"masked_{_word}_norm", masked_one(_kind, 20, norm="gates"))
    case(f"masked_{_word}_reverse", masked_one(_kind, 9, reverse=True), streams=False)
case("masked_gru_before", masked_one(L.GRU, 9, reset_after=False))
case("masked_lstm_128", masked_one(L.LSTM, 128), features=33)
case("masked_mean", _masked_mean)
case("masked_bidirectional", _masked_bidirectional, streams=False)
case("masked_cells", _masked_cells)
case("masked_late", _masked_late)
case("masked_stride", _masked_stride)
case("masked_from_an_edge", _masked_from_an_edge, streams=False)
case("masked_per_frame", _masked_per_frame, features=12)
case("masked_ids", _masked_ids, ids=5)
for _output in ("hold", "zero"):
    case(f"masked_scan_{_output}", masked(_two_widths, masked_output=_output))
    case(
        f"masked_scan_reverse_{_output}",
        masked(_two_widths, masked_output=_output, reverse=True),
        streams=False,
    )
case("masked_scan_stored_start", masked(_two_widths, initial=np.arange(-5, 6) / 7))
case("masked_scan_lifted", masked(lambda b, x, r, **own: _scan_rnn(b, x, r, 20, **own)))
