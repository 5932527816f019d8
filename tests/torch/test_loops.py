"""Loops over frames in forward: cells called frame by frame and recurrences written out are the layers they
compute, at any number of frames, whole and streamed."""

import functools

import numpy as np
import pytest
from needs import need

import rnnrt
from rnnrt.errors import UnsupportedModelError
from rnnrt.passes import optimise


def modules(torch):
    """{name: (module, features, kinds of the recurrent layers it becomes)}."""
    nn, functional = torch.nn, torch.nn.functional

    class Looped(nn.Module):
        """``forward`` of a function step(self, frame, *states) -> (answer, *states)."""

        def __init__(self, step, sizes, stacked=True, **parts):
            super().__init__()
            for name, part in parts.items():
                setattr(self, name, part)
            self.step, self.sizes, self.stacked = step, sizes, stacked

        def forward(self, x):
            states, answers = [x.new_zeros(x.size(0), n) for n in self.sizes], []
            for t in range(x.size(1)):
                answer, *states = self.step(self, x[:, t], *states)
                answers.append(answer)
            return torch.stack(answers, 1) if self.stacked else answers[-1]

    def lstm(s, x, h, c):
        h, c = s.cell(x, (h, c))
        return h, h, c

    def gru(s, x, h):
        h = s.cell(x, h)
        return s.fc(h), h

    def written_lstm(s, x, h, c):
        i, f, g, o = (s.wx(x) + h @ s.u).chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return h, h, c

    def min_gru(s, x, h):
        z = torch.sigmoid(s.z(x))
        h = (1 - z) * h + z * s.h(x)
        return h, h

    def min_lstm(s, x, h):
        f, i = torch.sigmoid(s.f(x)), torch.sigmoid(s.i(x))
        h = f / (f + i) * h + i / (f + i) * s.h(x)
        return h, h

    def ind_rnn(s, x, h):
        h = torch.relu(s.wx(x) + s.u * h)
        return h, h

    def sru(s, x, c):
        a, b, d = s.wx(x).chunk(3, -1)
        f, r = torch.sigmoid(b + s.vf * c), torch.sigmoid(d + s.vr * c)
        c = f * c + (1 - f) * a
        return r * c + (1 - r) * x, c

    def lmu(s, x, h, m):
        m = functional.linear(m, s.a) + functional.linear(s.ex(x) + s.eh(h) + s.em(m), s.b)
        h = torch.tanh(s.wx(x) + s.wh(h) + s.wm(m))
        return h, h, m

    def lru(s, x, a, b):
        a, b = s.re * a - s.im * b + s.bre(x), s.re * b + s.im * a + s.bim(x)
        return s.cre(a) - s.cim(b), a, b

    class Stacked(nn.Module):
        """Two cells in one loop, the first from a learned state; the last state goes out, too."""

        def __init__(self):
            super().__init__()
            self.a, self.b, self.h0 = nn.GRUCell(3, 5), nn.LSTMCell(5, 4), nn.Parameter(torch.randn(1, 5))

        def forward(self, x):
            h = self.h0.expand(x.size(0), -1)
            state = (x.new_zeros(x.size(0), 4), x.new_zeros(x.size(0), 4))
            answers = []
            for t in range(x.size(1)):
                h = self.a(x[:, t], h)
                state = self.b(h, state)
                answers.append(state[0])
            return torch.stack(answers, dim=1), h

    class Shown(nn.Module):
        """Hidden and cell states at every frame, and a head on what is no state at the last."""

        def __init__(self):
            super().__init__()
            self.cell, self.fc, self.head = nn.LSTMCell(3, 4), nn.Linear(4, 2), nn.Linear(2, 2)

        def forward(self, x):
            h, c = x.new_zeros(x.size(0), 4), x.new_zeros(x.size(0), 4)
            hidden, cells = [], []
            for t in range(x.size(1)):
                h, c = self.cell(x[:, t], (h, c))
                y = torch.tanh(self.fc(h))
                hidden.append(h)
                cells.append(c)
            return torch.stack(hidden, 1), torch.stack(cells, 1), self.head(y)

    class After(nn.Module):
        """Two loops, one over the answers of the other; frames by unbind, and time first."""

        def __init__(self):
            super().__init__()
            self.a, self.b = nn.GRUCell(3, 5), nn.RNNCell(5, 4)

        def run(self, cell, x, size):
            h, answers = torch.zeros(x.size(1), size), []
            for frame in x.unbind(0):
                h = cell(frame, h)
                answers.append(h.unsqueeze(0))
            return torch.cat(answers, dim=0)

        def forward(self, x):
            y = torch.relu(self.run(self.a, x.transpose(0, 1), 5))
            return self.run(self.b, y, 4).transpose(0, 1)

    class Quasi(nn.Module):
        """A QRNN: gates by a convolution, the recurrence alone in the loop."""

        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(3, 12, 2)

        def forward(self, x):
            gates = self.conv(functional.pad(x.transpose(1, 2), (1, 0))).transpose(1, 2)
            z, f, o = gates.chunk(3, dim=-1)
            z, f, o = torch.tanh(z), torch.sigmoid(f), torch.sigmoid(o)
            c, answers = torch.zeros_like(z[:, 0]), []
            for t in range(x.size(1)):
                c = f[:, t] * c + (1 - f[:, t]) * z[:, t]
                answers.append(o[:, t] * c)
            return torch.stack(answers, 1)

    class Seeded(nn.Module):
        """A loop that starts from what another layer made of the input."""

        def __init__(self):
            super().__init__()
            self.gru, self.cell = nn.GRU(3, 4, batch_first=True), nn.GRUCell(3, 4)

        def forward(self, x):
            h = self.gru(x)[1][-1]
            for t in range(x.size(1)):
                h = self.cell(x[:, t], h)
            return h

    vector = lambda n: nn.Parameter(torch.rand(n) * 0.8)
    matrix = lambda *size: nn.Parameter(torch.randn(*size) * 0.4)
    linear = nn.Linear
    parts = {
        "a": matrix(6, 6),
        "b": matrix(6, 1),
        "ex": linear(3, 1),
        "eh": linear(5, 1),
        "em": linear(6, 1),
        "wx": linear(3, 5),
        "wh": linear(5, 5, bias=False),
        "wm": linear(6, 5, bias=False),
    }
    lru_parts = {"re": vector(6), "im": vector(6), "cre": linear(6, 2), "cim": linear(6, 2)}
    lru_parts |= {"bre": linear(3, 6), "bim": linear(3, 6)}
    gated = {"f": linear(3, 5), "i": linear(3, 5), "h": linear(3, 5)}
    return {
        "LSTMCell": (Looped(lstm, (5, 5), cell=nn.LSTMCell(3, 5)), 3, ["lstm"]),
        "GRUCell, last": (Looped(gru, (5,), False, cell=nn.GRUCell(3, 5), fc=linear(5, 2)), 3, ["gru"]),
        "RNNCell": (Looped(gru, (5,), cell=nn.RNNCell(3, 5, nonlinearity="relu"), fc=linear(5, 2)), 3, None),
        "written LSTM": (Looped(written_lstm, (5, 5), wx=linear(3, 20), u=matrix(5, 20)), 3, ["lstm"]),
        "minGRU": (Looped(min_gru, (5,), z=linear(3, 5), h=linear(3, 5)), 3, ["scan"]),
        "minLSTM": (Looped(min_lstm, (5,), **gated), 3, ["scan"]),
        "IndRNN": (Looped(ind_rnn, (5,), wx=linear(3, 5), u=vector(5)), 3, None),
        "SRU": (Looped(sru, (4,), wx=linear(4, 12), vf=vector(4), vr=vector(4)), 4, ["scan"]),
        "LMU": (Looped(lmu, (5, 6), **parts), 3, ["scan"]),
        "LRU": (Looped(lru, (6, 6), **lru_parts), 3, ["scan"]),
        "two cells": (Stacked(), 3, ["scan"]),
        "two stacks": (Shown(), 3, None),
        "two loops": (After(), 3, ["gru", "rnn"]),
        "QRNN": (Quasi(), 3, ["scan"]),
        "from a layer": (Seeded(), 3, ["gru", "gru"]),
    }


NAMES = (
    *(
        "LSTMCell",
        "GRUCell, last",
        "RNNCell",
        "written LSTM",
        "minGRU",
        "minLSTM",
        "IndRNN",
        "SRU",
        "LMU",
        "LRU",
    ),
    *("two cells", "two stacks", "two loops", "QRNN", "from a layer"),
)


@functools.cache
def imported(name):
    """(the module, the Model of it, its features, the kinds that are expected)."""
    torch = need("torch")
    torch.manual_seed(2)
    module, features, kinds = modules(torch)[name]
    model = rnnrt.from_torch(module.eval(), example=torch.randn(2, 9, features))
    return module, model, features, kinds


@pytest.mark.parametrize("name", NAMES)
def test_a_loop_is_its_layer_at_any_number_of_frames(name):
    torch = need("torch")
    module, model, features, kinds = imported(name)
    assert not model.assumptions
    for batch, frames in ((1, 1), (3, 4), (2, 40)):
        x = torch.randn(batch, frames, features)
        with torch.no_grad():
            y = module(x)
        found = model(x.numpy())
        for own, expected in zip(*(v if isinstance(v, tuple) else (v,) for v in (found, y)), strict=True):
            np.testing.assert_allclose(own, expected.numpy(), rtol=1e-5, atol=1e-5)
    recurrent = [layer.kind for layer in optimise(model.graph).layers if layer.keeps == "state"]
    assert kinds is None or recurrent == kinds


@pytest.mark.parametrize("name", [n for n in NAMES if n != "from a layer"])
def test_a_loop_streams_with_the_bits_of_a_whole_call(name):
    _, model, features, _ = imported(name)
    x = np.random.default_rng(0).standard_normal((17, features)).astype(np.float32)
    whole = model(x)
    stream = model.stream()
    parts = [stream.push(x[:5]), stream.push(x[5:6]), stream.push(x[6:]), stream.flush()]
    first = lambda v: v[0] if isinstance(v, tuple) else v
    parts = [p for p in map(first, parts) if p is not None and p.size]
    assert np.array_equal(np.concatenate(parts).reshape(first(whole).shape), first(whole))


def test_every_module_is_listed():
    assert tuple(modules(need("torch"))) == NAMES


def test_steps_as_many_as_the_values_ask_for_are_refused():
    torch = need("torch")
    nn = torch.nn

    class Endless(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.GRUCell(3, 4)

        def forward(self, x):
            h = torch.zeros(x.size(0), 4)
            while h.sum() < 1e9:
                h = self.cell(x[:, 0], h) + 1
            return h

    with pytest.raises(UnsupportedModelError, match="decides by the values"):
        rnnrt.from_torch(Endless().eval(), example=torch.randn(2, 9, 3))
