"""The recurrences of recent years as their users write them, live: against PyTorch, whole and streamed."""

import numpy as np
import pytest
from needs import need

import rnnrt
from rnnrt import layers

torch = need("torch")
nn, F = torch.nn, torch.nn.functional


class Cell(nn.Module):
    """A loop over frames. ``state``: sizes of what it keeps; ``step(frame, *state) -> (answer, *state)``."""

    state = (5,)

    def forward(self, x):
        states, answers = [x.new_zeros(x.shape[0], n) for n in self.state], []
        for t in range(x.shape[1]):
            answer, *states = self.step(x[:, t], *states)
            answers.append(answer)
        return torch.stack(answers, 1)


class MinimalGRU(Cell):
    def __init__(self):
        super().__init__()
        self.z, self.h = nn.Linear(3, 5), nn.Linear(3, 5)

    def step(self, x, h):
        z = torch.sigmoid(self.z(x))
        h = (1 - z) * h + z * self.h(x)
        return h, h


class MinimalGRUInParallel(MinimalGRU):
    """The form of the paper in which it is trained: cumulative sums of logarithms."""

    def forward(self, x):
        k, h = self.z(x), self.h(x)
        logs = torch.where(h >= 0, (F.relu(h) + 0.5).log(), -F.softplus(-h)) - F.softplus(-k)
        kept = torch.cumsum(-F.softplus(k), 1)
        return (kept + torch.logcumsumexp(logs - kept, dim=1)).exp()


class MinimalLSTM(Cell):
    def __init__(self):
        super().__init__()
        self.f, self.i, self.h = nn.Linear(3, 5), nn.Linear(3, 5), nn.Linear(3, 5)

    def step(self, x, h):
        f, i = torch.sigmoid(self.f(x)), torch.sigmoid(self.i(x))
        h = f / (f + i) * h + i / (f + i) * self.h(x)
        return h, h


class SRU(Cell):
    def __init__(self):
        super().__init__()
        self.w, self.skip = nn.Linear(3, 15, bias=False), nn.Linear(3, 5)
        self.v, self.b = nn.Parameter(torch.randn(10)), nn.Parameter(torch.randn(10))

    def forward(self, x):
        c, answers = x.new_zeros(x.size(0), 5), []
        u, skip = self.w(x), self.skip(x)
        (vf, vr), (bf, br) = self.v.chunk(2), self.b.chunk(2)
        for t in range(x.size(1)):
            a, f, r = u[:, t].chunk(3, -1)
            f, r = torch.sigmoid(f + vf * c + bf), torch.sigmoid(r + vr * c + br)
            c = f * c + (1 - f) * a
            answers.append(r * c + (1 - r) * skip[:, t])
        return torch.stack(answers, 1)


class QRNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(3, 15, 2)

    def forward(self, x):
        z, f, o = self.conv(F.pad(x.transpose(1, 2), (1, 0))).transpose(1, 2).chunk(3, -1)
        z, f, o = z.tanh(), f.sigmoid(), o.sigmoid()
        c, answers = torch.zeros_like(z[:, 0]), []
        for t in range(z.shape[1]):
            c = f[:, t] * c + (1 - f[:, t]) * z[:, t]
            answers.append(o[:, t] * c)
        return torch.stack(answers, 1)


class IndRNN(Cell):
    def __init__(self):
        super().__init__()
        self.w, self.u = nn.Linear(3, 5), nn.Parameter(torch.rand(5))

    def step(self, x, h):
        h = F.relu(self.w(x) + self.u * h)
        return h, h


class LMU(Cell):
    state = (5, 4)

    def __init__(self):
        super().__init__()
        weight = lambda *shape: nn.Parameter(0.3 * torch.randn(*shape))
        self.ex, self.eh, self.em = weight(1, 3), weight(1, 5), weight(1, 4)
        self.wx, self.wh, self.wm = weight(5, 3), weight(5, 5), weight(5, 4)
        self.register_buffer("a", 0.3 * torch.randn(4, 4))
        self.register_buffer("b", 0.3 * torch.randn(4, 1))

    def step(self, x, h, m):
        u = F.linear(x, self.ex) + F.linear(h, self.eh) + F.linear(m, self.em)
        m = F.linear(m, self.a) + F.linear(u, self.b)
        h = torch.tanh(F.linear(x, self.wx) + F.linear(h, self.wh) + F.linear(m, self.wm))
        return h, h, m


class EchoState(Cell):
    def __init__(self):
        super().__init__()
        self.register_buffer("w", 0.3 * torch.randn(5, 3))
        self.register_buffer("r", 0.3 * torch.randn(5, 5))
        self.readout = nn.Linear(5, 2)

    def step(self, x, h):
        h = 0.7 * h + 0.3 * torch.tanh(x @ self.w.T + h @ self.r.T)
        return self.readout(h), h


class LinearRecurrent(nn.Module):
    """LRU and S4D: a diagonal recurrence of complex numbers, as pairs of reals."""

    def __init__(self):
        super().__init__()
        self.nu, self.theta = nn.Parameter(torch.rand(4)), nn.Parameter(torch.rand(4))
        self.b, self.c = nn.Linear(3, 8, bias=False), nn.Linear(8, 3, bias=False)
        self.d = nn.Parameter(torch.randn(3))

    def forward(self, x):
        size, angle = torch.exp(-torch.exp(self.nu)), torch.exp(self.theta)
        real, imaginary = size * torch.cos(angle), size * torch.sin(angle)
        u, v = (self.b(x) * torch.sqrt(1 - torch.cat([size, size]) ** 2)).chunk(2, -1)
        h, g, answers = x.new_zeros(x.size(0), 4), x.new_zeros(x.size(0), 4), []
        for t in range(x.size(1)):
            h, g = real * h - imaginary * g + u[:, t], real * g + imaginary * h + v[:, t]
            answers.append(self.c(torch.cat([h, g], -1)) + self.d * x[:, t])
        return torch.stack(answers, 1)


class Backwards(Cell):
    """From the last frame to the first, the answers at their own frames."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(3, 5)

    def forward(self, x):
        h, answers = x.new_zeros(x.size(0), 5), [None] * x.size(1)
        for t in reversed(range(x.size(1))):
            h = answers[t] = self.cell(x[:, t], h)
        return torch.stack(answers, 1)


class BackwardsInItsOrder(Backwards):
    """The same, the answers in the order in which they are made."""

    def forward(self, x):
        h, answers = x.new_zeros(x.size(0), 5), []
        for t in range(x.size(1) - 1, -1, -1):
            h = self.cell(x[:, t], h)
            answers.append(h)
        return torch.stack(answers, 1)


class ForwardsAnsweredBackwards(MinimalGRU):
    def forward(self, x):
        h, answers = x.new_zeros(x.size(0), 5), []
        for t in range(x.size(1)):
            h, _ = self.step(x[:, t], h)
            answers.insert(0, h)
        return torch.stack(answers, 1)


class LastOfBackwards(Backwards):
    def forward(self, x):
        h = x.new_zeros(x.size(0), 5)
        for t in reversed(range(x.size(1))):
            h = self.cell(x[:, t], h)
        return h


STREAMED = (MinimalGRU, MinimalGRUInParallel, MinimalLSTM, SRU, QRNN, IndRNN, LMU, EchoState, LinearRecurrent)
WHOLE = (Backwards, BackwardsInItsOrder, ForwardsAnsweredBackwards, LastOfBackwards)


@pytest.mark.parametrize("kind", STREAMED + WHOLE, ids=lambda kind: kind.__name__)
def test_it_answers_as_torch_does(kind):
    torch.manual_seed(1)
    module, x = kind().eval(), torch.randn(2, 11, 3)
    made = rnnrt.from_torch(module, example=x[:, :7])
    y = made(x.numpy())
    np.testing.assert_allclose(y, module(x).detach().numpy(), atol=2e-6, rtol=0)
    assert made.streamable == (kind in STREAMED)
    if made.streamable:
        stream = made.stream(2)
        np.testing.assert_array_equal(np.stack([stream.step(f) for f in x.numpy().swapaxes(0, 1)], 1), y)


def test_a_sum_of_exponentials_does_not_overflow_over_many_frames():
    class Summed(nn.Module):
        def forward(self, x):
            return torch.logcumsumexp(x, dim=1)

    x = 200 * torch.randn(1, 400, 2)
    y = rnnrt.from_torch(Summed(), example=x)(x.numpy())
    np.testing.assert_allclose(y, Summed()(x.double()).numpy(), rtol=1e-6)


def test_a_loop_backwards_is_a_reversed_gru():
    made = rnnrt.from_torch(Backwards().eval(), example=torch.randn(2, 7, 3))
    (scan,) = [x for x in made.graph.layers if isinstance(x, (layers.Scan, layers.GRU))]
    assert scan.reverse
