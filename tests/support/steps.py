"""Step graphs: the recurrent layers written out as arithmetic, in the spellings people use, and cells that
are none of them.
"""

from __future__ import annotations

import numpy as np

from rnnrt import layers as L

#: Sizes of the cells that tests build.
FEATURES, UNITS = 3, 20


def generator(*seed):
    return np.random.default_rng([*seed, 11])


def around(step, states, features=FEATURES, name="cell", **fields):
    """A graph of one Scan, whose answers and final states are all outputs."""
    b = L.GraphBuilder()
    x = b.input("x", (features,))
    y = b.add(L.Scan, name, x, graph=step, states=states, **fields)
    b.output("y", y)
    for other in b.layers[-1].extra_outputs:
        b.output(other, f"{y}:{other}")
    return b.graph()


class Step:
    """One step under construction: ``x`` and the states of the given sizes, and small words for its
    arithmetic.
    """

    def __init__(self, features, states, once=()):
        self.b = L.GraphBuilder()
        self.x = self.b.input("x", (features,), time=False)
        self.state = {s: self.b.input(s, (n,), time=False) for s, n in states.items()}
        self.once = [self.b.input(f"once{k}", (n,), time=False) for k, n in enumerate(once)]

    def dense(self, x, weight, bias=None, **fields):
        return self.b.add(L.Dense, "dense", x, weight=weight, bias=bias, **fields)

    def add(self, *xs):
        return self.b.add(L.Add, "add", *xs)

    def times(self, *xs):
        return self.b.add(L.Multiply, "times", *xs)

    def join(self, *xs):
        return self.b.add(L.Concatenate, "join", *xs)

    def act(self, name, x):
        return self.b.add(L.Activation, "act", x, activation=name)

    def affine(self, x, scale, offset):
        n = self.b.signal(x).width
        return self.b.add(L.Affine, "affine", x, scale=np.full(n, scale), offset=np.full(n, offset))

    def one_minus(self, x):
        return self.affine(x, -1.0, 1.0)

    def cut(self, x, parts):
        """The features of x in equal parts."""
        n = self.b.signal(x).width // parts
        return [self.b.add(L.Select, "cut", x, index=range(k * n, (k + 1) * n)) for k in range(parts)]

    def norm(self, x, gamma, beta, epsilon=1e-3):
        n = self.b.signal(x).width
        return self.b.add(L.LayerNormalization, "norm", x, size=n, gamma=gamma, beta=beta, epsilon=epsilon)

    def graph(self, states, answers):
        """The step: what the next states are, in order, and {name: answer}."""
        for s, value in zip(self.state, states):
            self.b.output(f"next_{s}", value)
        for name, value in answers.items():
            self.b.output(name, value)
        return self.b.graph()


#: How the products of a cell may be written: one matrix over [x; h]; one for x and one for h; one of each a
#: gate; and one matrix over [h; x].
SPELLINGS = ("joint", "separate", "by_gate", "joint_h_first")


def preactivations(step, w, u, b, gates, spelling, h, bias_on_h=None):
    """W x + U h + b, cut into gates."""
    units = len(w) // gates
    if spelling == "joint":
        return step.cut(step.dense(step.join(step.x, h), np.hstack([w, u]), b), gates)
    if spelling == "joint_h_first":
        return step.cut(step.dense(step.join(h, step.x), np.hstack([u, w]), b), gates)
    if spelling == "separate":
        return step.cut(step.add(step.dense(step.x, w, b), step.dense(h, u, bias_on_h)), gates)
    rows = [slice(g * units, (g + 1) * units) for g in range(gates)]
    part = lambda a, r: None if a is None else a[r]
    return [
        step.add(step.dense(h, u[r], part(bias_on_h, r)), step.dense(step.x, w[r], part(b, r))) for r in rows
    ]


def lstm(
    w, u, b, spelling="joint", recurrent_activation="sigmoid", activation="tanh", order="ifgo", norms=None
):
    """The step of an LSTM with the given weights (gates i f g o), which stand in the step's own order of
    gates.
    """
    units, features = len(w) // 4, w.shape[1]
    step = Step(features, {"h": units, "c": units})
    rows = np.concatenate([np.arange(units) + "ifgo".index(g) * units for g in order])
    gates = preactivations(
        step, w[rows], u[rows], None if b is None else b[rows], 4, spelling, step.state["h"]
    )
    gates = dict(zip(order, gates))
    if norms:
        gates = {g: step.norm(v, *(a["ifgo".index(g)] for a in norms)) for g, v in gates.items()}
    i, f, o = (step.act(recurrent_activation, gates[g]) for g in "ifo")
    c = step.add(step.times(f, step.state["c"]), step.times(i, step.act(activation, gates["g"])))
    h = step.times(o, step.act(activation, c))
    return step.graph([h, c], {"y": h})


#: Ways to write the end of a GRU's step; the last two have gates that mean 1 - z.
BLENDS = ("one_minus", "difference", "towards_n")


def gru(w, u, b, ub, reset_after, spelling="separate", blend="one_minus", norms=None):
    """The step of a GRU with the given weights (gates z r n). With reset_after, ``ub`` is the bias beside U
    h.
    """
    units, features = len(w) // 3, w.shape[1]
    step = Step(features, {"h": units})
    h, two = step.state["h"], 2 * units
    zr_bias_h = None if ub is None else ub[:two]
    z, r = preactivations(step, w[:two], u[:two], None if b is None else b[:two], 2, spelling, h, zr_bias_h)
    if norms:
        z, r = (step.norm(v, *(a[g] for a in norms)) for g, v in enumerate((z, r)))
    z, r = step.act("sigmoid", z), step.act("sigmoid", r)
    n = step.dense(step.x, w[two:], None if b is None else b[two:])
    if reset_after:
        n = step.add(n, step.times(r, step.dense(h, u[two:], None if ub is None else ub[two:])))
    else:
        n = step.add(n, step.dense(step.times(r, h), u[two:]))
    n = step.act("tanh", step.norm(n, *(a[2] for a in norms)) if norms else n)
    if blend == "one_minus":
        new = step.add(step.times(step.one_minus(z), n), step.times(z, h))
    elif blend == "difference":
        new = step.add(n, step.times(z, step.add(h, step.affine(n, -1.0, 0.0))))
    else:
        new = step.add(h, step.times(step.one_minus(z), step.add(n, step.affine(h, -1.0, 0.0))))
    return step.graph([new], {"y": new})


def rnn(w, u, b, spelling="joint", activation="tanh", norms=None):
    step = Step(w.shape[1], {"h": len(w)})
    (s,) = preactivations(step, w, u, b, 1, spelling, step.state["h"])
    new = step.act(activation, step.norm(s, *norms) if norms else s)
    return step.graph([new], {"y": new})


def minimal_gated(w, u, b, features, units):
    """A minimal gated unit (Zhou et al. 2016): f = sigmoid(..), n = tanh(W x + U (f h)), h' = (1 - f) h + f
    n.
    """
    step = Step(features, {"h": units})
    h = step.state["h"]
    f = step.dense(step.join(step.x, h), np.hstack([w[:units], u[:units]]), b[:units], activation="sigmoid")
    n = step.dense(step.join(step.x, step.times(f, h)), np.hstack([w[units:], u[units:]]), b[units:])
    n = step.act("tanh", n)
    new = step.add(step.times(step.one_minus(f), h), step.times(f, n))
    return step.graph([new], {"y": new})


def two_widths(r, features):
    """A cell with states of two widths, one a copy of a state as it was, and four answers (six outputs and
    states).
    """
    weights = lambda *shape: (r.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)
    step = Step(features, {"slow": 5, "was": 3, "fast": 3})
    slow, was, fast = step.state.values()
    new_fast = step.dense(
        step.join(step.x, fast, slow), weights(3, features + 8), weights(3), activation="tanh"
    )
    new_slow = step.add(
        step.affine(slow, 0.9, 0.0),
        step.dense(step.join(new_fast, was), weights(5, 6), activation="softsign"),
    )
    shown = step.dense(step.join(new_slow, step.x), weights(4, 5 + features), weights(4))
    about_x = step.act("relu", step.dense(step.x, weights(2, features)))
    return step.graph(
        [new_slow, fast, new_fast], {"y": shown, "before": was, "about_x": about_x, "new_fast": new_fast}
    )
