"""Programs whose operators do not take their tensors as they are: rows of words or characters inside every
frame, lengths that forward counts itself, and sequences of a fixed length whose time becomes numbers; against
PyTorch, and streamed where it can be.
"""

import math

import numpy as np
import pytest
from needs import need

import rnnrt
from rnnrt.errors import NotStreamableError, UnsupportedModelError

torch = need("torch")
F, nn = torch.nn.functional, torch.nn


class Of(nn.Module):
    """``function`` of a module's own parts and an input."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.function(self, x)


def words(m, x):
    """Words of sentences: a GRU over each, a sum of its states and one of them, a GRU over the sentences."""
    b, s, w = x.size()
    y, _ = m.word(m.table(x.view(b * s, w)))
    y = (y * torch.softmax(m.ask(torch.tanh(y)), 1)).sum(1) + y[:, 1]
    return m.sentence(y.view(b, s, -1))[0]


def final(m, x):
    b, s, w = x.size()
    _, (h, _) = m.word(m.table(x.view(b * s, w)))
    return m.fc(h.transpose(1, 0).contiguous().view(b, s, -1))


def convolved(m, x):
    b, s, w = x.size()
    y = F.relu(m.conv(m.table(x.view(b * s, w)).transpose(1, 2)))
    return m.sentence(F.max_pool1d(y, y.size(2)).squeeze(2).view(b, s, -1))[0]


def counted(m, x):
    n = (x != 0).sum(-1)
    p = nn.utils.rnn.pack_padded_sequence(m.table(x), n, batch_first=True, enforce_sorted=False)
    y, (h, _) = m.rnn(p)
    y, _ = nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=x.size(1))
    return torch.cat([h[0], h[1], y.sum(1)], 1)


def every_frame(m, x):
    y, _ = m.rnn(x)
    return m.rnn2(torch.softmax(m.q(y) @ y.transpose(1, 2), -1) @ y)[0]


def additive(m, x):
    e = torch.tanh(m.q(x).unsqueeze(2) + m.k(x).unsqueeze(1))
    return m.rnn(torch.softmax(m.v(e).squeeze(-1), 2) @ x)[0]


def skipped(m, x):
    b = x.size(0)
    y = x[:, -8:].transpose(1, 2).contiguous().view(b, 3, 2, 4).permute(2, 0, 3, 1).contiguous()
    return m.rnn(y.view(2, b * 4, 3))[1].view(b, -1)


def carried(m, x):
    """A loop over sentences, the state of one handed on to the next."""
    h, made = torch.zeros(1, x.size(0), 3), []
    for words in x.permute(1, 0, 2):
        y, h = m.word(m.table(words.permute(1, 0)), h)
        made.append(y.sum(0))
    return m.sentence(torch.stack(made, 1))[0]


def counted_rows(m, x):
    """Days of a flat row, as many as ``len`` says rows."""
    days = x.view(len(x), 3, -1).permute(0, 2, 1)
    return m.rnn(days)[0][:, -1]


def copies(m, x):
    """Frames as often as two scales say, by an axis of copies."""
    b, f, t = x.size()
    y = x.unsqueeze(1).unsqueeze(-1).unsqueeze(3).repeat(1, 1, 1, 1, 1, 3).view(b, 1, f, t * 3)
    return m.rnn(m.conv(y).squeeze(1).transpose(1, 2))[0]


def parts(m, x):
    """Every frame's numbers as two frames."""
    b, t, f = x.size()
    return m.rnn(x.reshape(b, t, 2, f // 2).reshape(b, 2 * t, f // 2))[0]


def one_channel(m, x):
    """Padding that arithmetic with the length decides."""
    more = math.ceil((x.shape[-1] - 1) / 4) * 4 + 5 - x.shape[-1]
    return m.conv(F.pad(x, (0, more)))


TABLE = {"table": lambda: nn.Embedding(11, 5)}


def ids(*shape, most=11):
    return torch.randint(1, most, shape, generator=torch.Generator().manual_seed(3))


def ended(b, t):
    x = ids(b, t)
    for k in range(b):
        x[k, t - k :] = 0
    return x


def floats(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


#: name -> (function, its parts, f(batch, frames) -> an input, whether it takes any number of frames, whether
#: it streams)
CASES = {
    "words of sentences": (
        words,
        {"word": lambda: nn.GRU(5, 3, bidirectional=True, batch_first=True), "ask": lambda: nn.Linear(6, 1)}
        | {"sentence": lambda: nn.GRU(6, 4, batch_first=True)},
        lambda b, t: ids(b, t, 7),
        True,
        True,
    ),
    "final states of words": (
        final,
        {"word": lambda: nn.LSTM(5, 3, bidirectional=True, batch_first=True), "fc": lambda: nn.Linear(6, 2)},
        lambda b, t: ids(b, t, 4),
        True,
        True,
    ),
    "convolution of characters": (
        convolved,
        {"conv": lambda: nn.Conv1d(5, 6, 3, padding=1), "sentence": lambda: nn.GRU(6, 4, batch_first=True)},
        lambda b, t: ids(b, t, 6),
        True,
        True,
    ),
    "lengths of ids": (
        counted,
        {"rnn": lambda: nn.LSTM(5, 4, bidirectional=True, batch_first=True)},
        ended,
        True,
        False,
    ),
    "every frame with every other": (
        every_frame,
        {"rnn": lambda: nn.GRU(3, 4, batch_first=True), "q": lambda: nn.Linear(4, 4)}
        | {"rnn2": lambda: nn.GRU(4, 2, batch_first=True)},
        lambda b, t: floats(b, t, 3),
        False,
        False,
    ),
    "sums of every pair": (
        additive,
        {"q": lambda: nn.Linear(3, 4), "k": lambda: nn.Linear(3, 4), "v": lambda: nn.Linear(4, 1)}
        | {"rnn": lambda: nn.GRU(3, 2, batch_first=True)},
        lambda b, t: floats(b, t, 3),
        False,
        False,
    ),
    "words with a state carried on": (
        carried,
        {"word": lambda: nn.GRU(5, 3), "sentence": lambda: nn.GRU(3, 4, batch_first=True)},
        lambda b, t: ids(b, t, 4),
        False,
        False,
    ),
    "one channel": (
        one_channel,
        {"conv": lambda: nn.Conv1d(1, 3, 5, stride=4)},
        lambda b, t: floats(b, 1, t),
        False,
        False,
    ),
    "days of a flat row": (
        counted_rows,
        {"rnn": lambda: nn.GRU(3, 4, batch_first=True)},
        lambda b, t: floats(b, 3 * t),
        False,
        False,
    ),
    "copies of frames": (
        copies,
        {
            "conv": lambda: nn.Conv2d(1, 1, (1, 5), padding=(0, 2)),
            "rnn": lambda: nn.GRU(3, 4, batch_first=True),
        },
        lambda b, t: floats(b, 3, t),
        True,
        False,
    ),
    "numbers that become frames": (
        parts,
        {"rnn": lambda: nn.GRU(3, 4, batch_first=True)},
        lambda b, t: floats(b, t, 6),
        True,
        True,
    ),
    "every fourth frame": (
        skipped,
        {"rnn": lambda: nn.GRU(3, 4)},
        lambda b, t: floats(b, t, 3),
        False,
        False,
    ),
}


def built(name):
    function, parts, draw, free, streams = CASES[name]
    torch.manual_seed(1)
    parts = (TABLE if draw(1, 9).dtype == torch.int64 else {}) | parts
    return Of(function, **{n: make() for n, make in parts.items()}).eval(), draw, free, streams


@pytest.mark.parametrize("name", CASES)
def test_the_answers_are_those_of_the_module(name):
    module, draw, free, _ = built(name)
    model = rnnrt.from_torch(module, example=draw(2, 9))
    for b, t in [(2, 9), (1, 9), (4, 9), *([(3, 14), (2, 4)] if free else [])]:
        x = draw(b, t)
        with torch.no_grad():
            want = module(x).numpy()
        np.testing.assert_allclose(model(x.numpy()), want, rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", CASES)
def test_a_stream_answers_with_the_same_bits(name):
    module, draw, _, streams = built(name)
    model, x = rnnrt.from_torch(module, example=draw(2, 9)), draw(2, 9).numpy()
    if not streams:
        try:
            stream = model.stream(batch_size=2)
        except NotStreamableError:
            return
        frames, output = model.graph["x"].axes.index("t"), model.graph.outputs[0].axes
        x = np.moveaxis(x, frames, 1)
        made = [stream.push(np.ascontiguousarray(p)) for p in (x[:, :1], x[:, 1:])]
        last = np.concatenate([*made, stream.flush()], 1) if "t" in output else stream.flush()
        whole = model(np.ascontiguousarray(np.moveaxis(x, 1, frames)))
        whole = np.moveaxis(whole, output.index("t"), 1) if "t" in output else whole
        assert np.ascontiguousarray(last).reshape(-1).tobytes() == whole.reshape(-1).tobytes()
        return
    stream = model.stream(batch_size=2)
    parts = [stream.push(np.ascontiguousarray(x[:, k : k + n])) for k, n in ((0, 1), (1, 3), (4, 5))]
    whole = np.concatenate([*parts, stream.flush()], 1)
    assert whole.tobytes() == model(x).tobytes()


class Written(nn.Module):
    """Zero states for the batch that the module was made for."""

    def __init__(self, rows):
        super().__init__()
        self.rows, self.rnn = rows, nn.LSTM(3, 4)

    def forward(self, x):
        zeros = torch.zeros(1, self.rows, 4)
        return self.rnn(x.permute(1, 0, 2), (zeros, zeros))[0].permute(1, 0, 2)


def test_zero_states_of_one_batch_are_zero_for_any():
    module = Written(2).eval()
    model = rnnrt.from_torch(module, example=floats(2, 9, 3))
    assert "for a batch of 2 alone" in model.graph.metadata["assumptions"][0]
    for b in (1, 4):
        module.rows, x = b, floats(b, 7, 3)
        np.testing.assert_allclose(model(x.numpy()), module(x).detach().numpy(), rtol=0, atol=2e-5)
    with pytest.raises(UnsupportedModelError, match="do not follow the input's batch"):
        rnnrt.from_torch(Written(3).eval(), example=floats(2, 9, 3))


class Counting(nn.Module):
    """How often it was called, as a parameter that no answer reads, or one does."""

    def __init__(self, read):
        super().__init__()
        self.read, self.rnn = read, nn.GRU(3, 4, batch_first=True)
        self.step = nn.Parameter(torch.zeros(1).long(), requires_grad=False)

    def forward(self, x):
        self.step += 1
        return self.rnn(x * self.step if self.read else x)[0]


def test_a_counter_of_calls_is_left_out_and_one_that_is_read_refused():
    module, x = Counting(False).eval(), floats(3, 7, 3)
    model = rnnrt.from_torch(module, example=x)
    np.testing.assert_allclose(model(x.numpy()), module(x).detach().numpy(), rtol=0, atol=2e-5)
    with pytest.raises(UnsupportedModelError, match="changes the tensor 'step'"):
        rnnrt.from_torch(Counting(True).eval(), example=x)


class Keeping(nn.Module):
    """A recurrent block that goes on where it was, by an attribute."""

    def __init__(self):
        super().__init__()
        self.rnn, self.hidden = nn.LSTM(3, 4, batch_first=True), None

    def forward(self, x):
        y, self.hidden = self.rnn(x, self.hidden)
        return y


def test_a_state_kept_in_an_attribute():
    """Every call starts anew, as the module does where it is None; a stream goes on, as the module does."""
    module, x = nn.Sequential(Keeping(), nn.Linear(4, 2)).eval(), floats(2, 9, 3)
    model = rnnrt.from_torch(module, example=x)
    assert module[0].hidden is None and "keeps a state in 0.hidden" in model.graph.metadata["assumptions"][0]
    stream, made = model.stream(batch_size=2), []
    for part in (x[:, :4], x[:, 4:]):
        want = module(part).detach().numpy()
        np.testing.assert_allclose(stream.push(part.numpy()), want, rtol=0, atol=2e-5)
        made.append(want)
    for _ in range(2):
        np.testing.assert_allclose(model(x.numpy()), np.concatenate(made, 1), rtol=0, atol=2e-5)
    with pytest.raises(UnsupportedModelError, match="Set it to None before the import"):
        rnnrt.from_torch(module, example=x)  # it was called


def test_inputs_that_a_logarithm_takes():
    """Made-up ones are negative, too: what the module is compared by is made of the example then."""

    def energies(m, x):
        y = m.conv((x + 1e-6).log())
        return m.q((y - y.mean(-1, keepdim=True)).transpose(1, 2))

    conv = nn.Conv1d(3, 4, 3, padding=4, dilation=4)
    module = Of(energies, conv=conv, q=nn.Linear(4, 2)).eval()
    model = rnnrt.from_torch(module, example=floats(2, 3, 8).abs())
    x = floats(3, 3, 14).abs()
    np.testing.assert_allclose(model(x.numpy()), module(x).detach().numpy(), rtol=0, atol=2e-5)


class GatedByBasin(nn.Module):
    """A cell's loop over frames with a bias repeated for every row and a gate given once."""

    def __init__(self):
        super().__init__()
        self.gate, self.w, self.u = (
            nn.Linear(2, 4),
            nn.Parameter(floats(3, 8)),
            nn.Parameter(floats(4, 8) / 2),
        )
        self.bias = nn.Parameter(floats(8))

    def forward(self, x, basin):
        x, rows = x.transpose(0, 1), x.size(0)
        h = x.data.new(rows, 4).zero_()
        bias, i, made = self.bias.unsqueeze(0).expand(rows, 8), torch.sigmoid(self.gate(basin)), []
        for t in range(x.size(0)):
            f, g = (torch.addmm(bias, h, self.u) + torch.mm(x[t], self.w)).chunk(2, 1)
            h = torch.sigmoid(f) * h + i * torch.tanh(g)
            made.append(h)
        return torch.stack(made, 0).transpose(0, 1)


def test_a_bias_repeated_for_every_row_of_a_loop():
    torch.manual_seed(4)
    module = GatedByBasin().eval()
    model = rnnrt.from_torch(module, example=(floats(2, 7, 3), floats(2, 2)))
    for b, t in ((1, 7), (3, 12)):
        x, basin = floats(b, t, 3), floats(b, 2)
        want = module(x, basin).detach().numpy()
        np.testing.assert_allclose(model(x.numpy(), basin.numpy()), want, rtol=0, atol=2e-5)


class AttentionStep(nn.Module):
    """One step of a decoder: its state asks the encoder's frames, and a GRU goes on from it."""

    def __init__(self):
        super().__init__()
        self.ask, self.gru = nn.Linear(8, 1), nn.GRU(4, 4)

    def forward(self, h, frames):
        asked = h[-1].repeat(frames.size(0), 1, 1)
        weights = torch.softmax(self.ask(torch.tanh(torch.cat([asked, frames], 2))), 0)
        return self.gru((weights * frames).sum(0, keepdim=True), h)[0]


def test_a_state_that_attention_reads_as_well():
    torch.manual_seed(4)
    module = AttentionStep().eval()
    model = rnnrt.from_torch(module, example=(floats(1, 2, 4), floats(9, 2, 4)))
    for b, t in ((1, 9), (3, 5)):
        h, frames = floats(1, b, 4), floats(t, b, 4)
        want = module(h, frames).detach().numpy()
        np.testing.assert_allclose(model(h.numpy(), frames.numpy()), want, rtol=0, atol=2e-5)


def test_a_row_of_ids_out_of_the_table_is_refused():
    module, draw, *_ = built("words of sentences")
    model, x = rnnrt.from_torch(module, example=draw(2, 9)), draw(2, 9).numpy()
    x[1, 3, 2] = 11
    with pytest.raises(rnnrt.RnnrtError):
        model(x)


def test_what_reads_a_tensor_that_was_changed_stays_refused():
    def changed(m, x):
        y = m.q(x)
        z = y @ y.transpose(1, 2)
        y.sigmoid_()
        return z @ y.view(y.size(0), -1, 4) + 0 * (y.view(y.size(0), -1, 4) @ y.transpose(1, 2)).sum()

    module = Of(changed, q=nn.Linear(3, 4)).eval()
    with pytest.raises(UnsupportedModelError):
        rnnrt.from_torch(module, example=floats(2, 9, 3))
