"""A forward of one row without a batch axis, as tutorials write it, imports as a model of batches, each row
of which answers as forward does of it alone."""

import numpy as np
import pytest
from needs import need

import rnnrt
from rnnrt import UnsupportedModelError

torch = need("torch")
from torch_modules import Parts

F, nn = torch.nn.functional, torch.nn


class Module(Parts):
    """Its forward stands here: len of a tensor is followed in the file of a forward."""

    def forward(self, x):
        return self.call(self, x)


class WithState(Parts):
    def forward(self, x, state):
        return self.call(self, x, state)


def tagger(m, x):
    y, _ = m.lstm(m.embed(x).view(len(x), 1, -1))
    return F.log_softmax(m.out(y.view(len(x), -1)), dim=1)


def tagger_from_states(m, x):
    first = torch.full((2, 1, 5), 0.3), torch.full((2, 1, 5), -0.2)
    y, _ = m.lstm(m.embed(x).view(len(x), 1, -1), first)
    return m.out(y.view(len(x), 10))


def one_number_a_frame(m, x):
    zeros = torch.zeros(1, 1, 5), torch.zeros(1, 1, 5)
    y, _ = m.lstm(x.view(len(x), 1, -1), zeros)
    return m.out(y.view(len(x), -1))[-1]


def words_and_lengths(m, x):
    words = m.embed(x).view(len(x), 1, -1)
    y, _ = m.lstm(torch.cat([words, torch.tanh(words)], 2))
    return m.out(y.squeeze(1))


def cells(m, x):
    h, c, answers = torch.zeros(1, 4), torch.zeros(1, 4), []
    for k in range(x.size(0)):
        h, c = m.cell(x[k].view(1, -1), (h, c))
        answers.append(h)
    return torch.cat(answers, 0)


def parts(*, lstm=None, out=None):
    return {"embed": nn.Embedding(11, 6), "lstm": lstm or nn.LSTM(6, 5), "out": out or nn.Linear(5, 3)}


def ids(*shape):
    return torch.randint(0, 11, shape)


CONV = {"conv": nn.Conv1d(3, 4, 3, padding=1), "out": nn.Linear(4, 2)}
#: name: (what makes the module, what makes one row of n frames)
ROWS = {
    "ids (time)": (lambda: Module(tagger, **parts()), ids),
    "states of a batch of one": (
        lambda: Module(
            tagger_from_states, **parts(lstm=nn.LSTM(6, 5, bidirectional=True), out=nn.Linear(10, 3))
        ),
        ids,
    ),
    "numbers (time)": (lambda: Module(one_number_a_frame, **parts(lstm=nn.LSTM(1, 5))), torch.randn),
    "tensors joined": (lambda: Module(words_and_lengths, **parts(lstm=nn.LSTM(12, 5))), ids),
    "frames, a GRU without batch": (
        lambda: Module(lambda m, x: m.out(m.gru(x)[0]), gru=nn.GRU(3, 5, 2), out=nn.Linear(5, 2)),
        lambda n: torch.randn(n, 3),
    ),
    "frames, an LSTM without batch, batch_first": (
        lambda: Module(
            lambda m, x: m.lstm(x)[0][-1], lstm=nn.LSTM(3, 5, batch_first=True, bidirectional=True)
        ),
        lambda n: torch.randn(n, 3),
    ),
    "frames, an RNN without batch": (
        lambda: Module(lambda m, x: m.rnn(x)[0], rnn=nn.RNN(3, 5)),
        lambda n: torch.randn(n, 3),
    ),
    "the layer alone": (lambda: nn.Conv1d(3, 4, 3), lambda n: torch.randn(3, n)),
    "convolution without batch": (
        lambda: Module(lambda m, x: m.out(torch.relu(m.conv(x.T)).mean(1)), **CONV),
        lambda n: torch.randn(n, 3),
    ),
    "convolution, norm, of a batch of one": (
        lambda: Module(
            lambda m, x: m.norm(m.conv(x.T.unsqueeze(0))).squeeze(0).T, norm=nn.BatchNorm1d(4), **CONV
        ),
        lambda n: torch.randn(n, 3),
    ),
    "pooling without batch": (
        lambda: Module(lambda m, x: m.pool(m.conv(x)), pool=nn.MaxPool1d(2), **CONV),
        lambda n: torch.randn(3, n),
    ),
    "a loop of cells": (lambda: Module(cells, cell=nn.LSTMCell(3, 4)), lambda n: torch.randn(n, 3)),
}


def made(build):
    torch.manual_seed(0)
    module = build().eval()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d):
            part.running_mean.uniform_(-1, 1)
            part.running_var.uniform_(0.5, 2)
    return module


@pytest.mark.parametrize("name", ROWS)
def test_each_row_answers_as_forward_of_it_alone(name):
    build, row = ROWS[name]
    module = made(build)
    model = rnnrt.from_torch(module, example=row(9))
    assert any("one row without a batch axis" in note for note in model.assumptions)
    for frames in (9, 14):
        rows = [row(frames) for _ in range(3)]
        with torch.no_grad():
            wanted = np.stack([module(x).numpy() for x in rows])
        answer = model(np.stack([x.numpy() for x in rows]))
        np.testing.assert_allclose(answer, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("row", [torch.tensor([3]), torch.tensor(3)], ids=["(1)", "()"])
def test_one_step_of_a_batch_of_one(row):
    def step(m, x, h):
        y, h = m.gru(m.embed(x).view(1, 1, -1), h)
        return m.out(y.view(1, -1)), h

    module = WithState(step, embed=nn.Embedding(11, 6), gru=nn.GRU(6, 5, 2), out=nn.Linear(5, 3)).eval()
    model = rnnrt.from_torch(module, example=(row, torch.zeros(2, 1, 5)))
    x, h = np.array([4, 0, 7]), np.random.default_rng(0).standard_normal((2, 3, 5), np.float32)
    with torch.no_grad():
        alone = [module(torch.tensor([k]), torch.from_numpy(h[:, [n]])) for n, k in enumerate(x)]
    wanted = np.concatenate([y.numpy() for y, _ in alone])
    y, state = model(x, initial_state=h, return_state=True)
    np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=1e-5)
    wanted = np.concatenate([s.numpy() for _, s in alone], 1)
    np.testing.assert_allclose(np.stack([*state.arrays().values()]), wanted, rtol=1e-4, atol=1e-5)


def test_an_example_with_a_batch_means_what_it_did():
    module = made(lambda: Module(lambda m, x: m.out(m.lstm(m.embed(x))[0]), **parts()))
    model = rnnrt.from_torch(module, example=ids(2, 9))
    assert not any("one row" in note for note in model.assumptions)
    x = ids(9, 4)  # (time, batch)
    with torch.no_grad():
        np.testing.assert_allclose(model(x.numpy()), module(x).numpy(), rtol=1e-4, atol=1e-5)


REFUSED = {
    "a state kept from call to call": (
        lambda m, x: setattr(m, "last", m.gru(x)[0]) or m.last + 0.0 * len(x),
        lambda: torch.randn(7, 3),
    ),
    "rows mixed where a batch is given": (
        lambda m, x: m.gru(x)[0] - x.mean(1, keepdim=True).sum(),
        lambda: torch.randn(2, 7, 3),
    ),
    "random numbers": (lambda m, x: m.gru(x)[0] + torch.randn(5), lambda: torch.randn(7, 3)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_row_cannot_answer_alone_is_refused(name):
    call, example = REFUSED[name]
    with pytest.raises(UnsupportedModelError):
        rnnrt.from_torch(made(lambda: Module(call, gru=nn.GRU(3, 5))), example=example())
