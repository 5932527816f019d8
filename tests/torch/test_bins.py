"""Rows of which each row of the batch makes several (bins, channels, segments), and windows of an axis: the
imports answer as torch does, at other lengths and batches too, whole and streamed.
"""

import itertools

import numpy as np
import pytest
from expect import TOLERANCE, distance
from needs import need

torch = need("torch")

import torch.nn.functional as F
from torch import nn

import rnnrt

BINS = 4


class Inter(nn.Module):
    """Along time in every bin, then along the bins of every frame: the block of dual-path networks."""

    def __init__(self, kind=nn.LSTM, **options):
        super().__init__()
        wide = 10 if options.get("bidirectional") else 5
        self.inter, self.fc = kind(6, 5, batch_first=True, **options), nn.Linear(wide, 6)
        self.intra, self.out = nn.GRU(6, 3, batch_first=True, bidirectional=True), nn.Linear(6, 6)
        self.norm = nn.LayerNorm((BINS, 6))

    def forward(self, x):  # batch, channels, time, bins
        x = x.permute(0, 3, 2, 1)
        y = x.reshape(x.shape[0] * x.shape[1], x.shape[2], x.shape[3])
        y = torch.tanh(self.fc(self.inter(y)[0])).reshape(x.shape[0], BINS, -1, 6)
        x = (x + y).permute(0, 2, 1, 3)
        y = self.intra(x.reshape(x.shape[0] * x.shape[1], BINS, 6))[0]
        return x + self.norm(self.out(y).view(x.shape[0], -1, BINS, 6))


class ZeroStates(nn.Module):
    """With zero states for every bin, halves of which two layers take."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.GRU(3, 2, batch_first=True), nn.GRU(3, 2, batch_first=True)

    def forward(self, x):
        y = x.permute(0, 3, 2, 1)
        rows = y.reshape(y.shape[0] * y.shape[1], y.shape[2], y.shape[3])
        one, two = torch.chunk(torch.zeros(1, rows.shape[0], 4), 2, dim=-1)
        left, right = torch.chunk(rows, 2, dim=-1)
        made = torch.cat([self.one(left, one)[0], self.two(right, two)[0]], -1)
        return made.view(y.shape[0], BINS, -1, 4).transpose(1, 2)


class ByChannel(nn.Module):
    """One network for every channel of a series, and its last state."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.rnn = nn.Conv1d(1, 3, 3, padding=1), nn.BatchNorm1d(3), nn.GRU(3, 5)
        self.fc = nn.Linear(5, 2)

    def forward(self, x):
        b, t, c = x.shape
        y = torch.relu(self.norm(self.conv(x.transpose(1, 2).reshape(-1, 1, t))))
        return self.fc(self.rnn(y.permute(2, 0, 1))[1][-1]).view(b, c, 2)


class Flattened(nn.Module):
    """All frames of a channel, of a fixed number, in one product."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv1d(1, 3, 3), nn.Linear(3 * 10, 2)

    def forward(self, x):
        b, t, c = x.shape
        y = torch.relu(self.conv(x.transpose(1, 2).reshape(b * c, 1, t)))
        return self.fc(y.flatten(1)).view(b, c, 2) * 2


class Normed(nn.Module):
    """Each bin at mean 0 and variance 1 over all its frames, and its greatest frame beside it."""

    def __init__(self):
        super().__init__()
        self.rnn, self.norm, self.fc = nn.GRU(3, 6, batch_first=True), nn.GroupNorm(2, 6), nn.Linear(12, 5)

    def forward(self, x):
        y = x.permute(0, 3, 2, 1)
        rows = y.reshape(y.shape[0] * y.shape[1], y.shape[2], y.shape[3])
        made = self.norm(self.rnn(rows)[0].transpose(1, 2)).transpose(1, 2)
        most = made.max(1, keepdim=True)[0]
        made = F.softmax(self.fc(torch.cat([made * most, made], -1)), -1)
        return made.view(y.shape[0], BINS, -1, 5).transpose(1, 2)


class TimeFirst(nn.Module):
    """Time in front, and rows of parts of the features."""

    def __init__(self):
        super().__init__()
        self.rnn, self.fc = nn.LSTM(2, 5), nn.Linear(5, 2)

    def forward(self, x):
        t, b, _ = x.shape
        return self.fc(self.rnn(x.view(t, b * 4, 2))[0]).view(t, b, 8)


class Stacked(nn.Module):
    """Speakers in front of the batch, merged with it for one convolution."""

    def __init__(self):
        super().__init__()
        self.rnn, self.end = nn.LSTM(3, 12, batch_first=True), nn.Conv1d(6, 4, 3, padding=1)

    def forward(self, x):
        y = torch.stack(torch.chunk(self.rnn(x)[0].transpose(1, 2), 2, dim=1), dim=0)
        k, b, n, t = y.shape
        y = torch.sigmoid(self.end(y.view(k * b, n, t)).view(k, b, -1, t))
        return (y[0] * y[1] - y[1]).transpose(1, 2)


class Unfolded(nn.Module):
    """Each bin beside its neighbours, of this frame and of the two before."""

    def __init__(self):
        super().__init__()
        self.near, self.conv, self.rnn = nn.Unfold((1, 3), padding=(0, 1)), nn.Conv2d(9, 2, 1), nn.GRU(32, 3)

    def forward(self, x):  # batch, channels, time, bins
        b, _, t, f = x.shape
        x = self.conv(self.near(x[:, :3]).reshape(b, 9, t, f))
        x = F.unfold(F.pad(x, (0, 1, 2, 0)), (3, 2)).view(b, -1, t, f)
        x = x.reshape(b, 2, -1, t, f).mean(2) - x[:, 3:5]
        return self.rnn(torch.cat([x, x * 2], 1).permute(2, 0, 1, 3).flatten(2))[0].transpose(0, 1)


class Framed(nn.Module):
    """Overlapping frames of a waveform."""

    def __init__(self):
        super().__init__()
        self.fc, self.rnn = nn.Linear(8, 5), nn.GRU(5, 4, batch_first=True)

    def forward(self, x):
        return self.rnn(torch.relu(self.fc(x.unfold(-1, 8, 3))))[0]


class Context(nn.Module):
    """Windows of frames, their features and frames side by side; and of features."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(15 + 8, 4, batch_first=True)

    def forward(self, x):
        over = x.unfold(1, 5, 2).flatten(2)
        within = x[:, 4:].unfold(2, 2, 1).flatten(2)[:, ::2]
        return self.rnn(torch.cat([over, within, within], 2))[0]


#: name: (module, an input of 12 frames or more, the place of time, the batch's, whether it streams)
NETWORKS = {
    "lstm": (Inter(), (2, 6, 12, BINS), 2, 0, True),
    "gru_both_ways": (Inter(nn.GRU, num_layers=2, bidirectional=True), (2, 6, 12, BINS), 2, 0, False),
    "zero_states": (ZeroStates(), (2, 6, 12, BINS), 2, 0, True),
    "by_channel": (ByChannel(), (2, 12, 4), 1, 0, True),
    "normed": (Normed(), (2, 3, 12, BINS), 2, 0, False),
    "flattened": (Flattened(), (2, 12, 4), 1, 0, True),
    "time_first": (TimeFirst(), (12, 2, 8), 0, 1, True),
    "stacked": (Stacked(), (2, 12, 3), 1, 0, True),
    "unfolded": (Unfolded(), (2, 3, 12, 8), 2, 0, True),
    "framed": (Framed(), (2, 40), 1, 0, True),
    "context": (Context(), (2, 12, 3), 1, 0, True),
}


#: what torch's exporter has no words for, or writes as a Range over an axis of any length, as a Flatten of
#: time that says no number, or as a group norm whose groups are merged with time
NOT_EXPORTED = {
    "pt2": (),
    "torchscript": (),
    "onnx": ("unfolded", "framed", "context", "flattened", "normed"),
}


def drawn(name):
    """(the module, its weights no longer what they were made as; an example; the place of time, of batch)."""
    module, shape, time, batch, streams = NETWORKS[name]
    torch.manual_seed(sum(name.encode()))
    with torch.no_grad():
        for own, x in (*module.named_parameters(), *module.named_buffers()):
            if x.is_floating_point():
                x.copy_(torch.randn_like(x) * 0.4)
                if "running_var" in own:
                    x.abs_().add_(0.1)
    return module.eval(), torch.randn(shape), time, batch, streams


def samples(example, time, batch, frames=(0, 3, 10)):
    for more, rows in itertools.product(frames, (1, 3)):
        shape = list(example.shape)
        shape[time], shape[batch] = shape[time] + more, rows
        yield torch.randn(shape)


def answers_as(module, model, x):
    with torch.no_grad():
        wanted = module(x).numpy()
    found = model(x.numpy())
    assert found.shape == wanted.shape
    assert distance(wanted, found) <= TOLERANCE
    return found


@pytest.mark.parametrize("name", NETWORKS)
def test_a_live_module(name):
    module, example, time, batch, streams = drawn(name)
    model = rnnrt.from_torch(module, example=example)
    for x in samples(example, time, batch, (0,) if name == "flattened" else (0, 3, 10)):
        y = answers_as(module, model, x)
        assert model.streamable == streams
        if not streams or name in ("by_channel", "flattened"):  # one answer a sequence
            continue
        frames = np.ascontiguousarray(np.moveaxis(x.numpy(), (batch, time), (0, 1)))
        stream = model.stream(batch_size=len(frames))
        parts = [stream.push(frames[:, a:b]) for a, b in ((0, 1), (1, 6), (6, None))] + [stream.flush()]
        axes = model.graph.outputs[0].axes
        whole = np.moveaxis(y, (axes.index("b"), axes.index("t")), (0, 1))
        assert np.concatenate(parts, 1).tobytes() == np.ascontiguousarray(whole).tobytes()


@pytest.mark.parametrize(
    "kind, name",
    [
        (kind, name)
        for kind in ("pt2", "torchscript", "onnx")
        for name in NETWORKS
        if name not in NOT_EXPORTED[kind]
    ],
)
def test_files_of_programs(kind, name, tmp_path):
    """Some hold for the example's number of frames alone."""
    module, example, time, batch, _ = drawn(name)
    if kind == "pt2":
        torch.export.save(torch.export.export(module, (example,)), tmp_path / "m.pt2")
        model = rnnrt.from_pt2(tmp_path / "m.pt2")
    elif kind == "torchscript":
        torch.jit.trace(module, example).save(tmp_path / "m.pt")
        model = rnnrt.from_torchscript(tmp_path / "m.pt")
    else:
        axes = {"x": {batch: "batch", time: "time"}}
        options = {"input_names": ["x"], "dynamic_axes": axes, "dynamo": False, "opset_version": 17}
        torch.onnx.export(module, (example,), tmp_path / "m.onnx", **options)
        model = rnnrt.from_onnx(tmp_path / "m.onnx")
    fixed = name == "flattened" or kind == "pt2" and name != "framed"
    fixed |= kind == "torchscript" and name in ("unfolded", "context")
    for x in samples(example, time, batch, (0,) if fixed else (0, 3, 10)):
        answers_as(module, model, x)


def test_an_output_of_such_rows_keeps_them_apart():
    class Rows(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.GRU(1, 5, batch_first=True)

        def forward(self, x):
            b, t, c = x.shape
            y, h = self.rnn(x.permute(0, 2, 1).reshape(b * c, t, 1))
            return y, h[0] * 2

    module = Rows().eval()
    model = rnnrt.from_torch(module, example=torch.randn(2, 12, 4))
    assert any("merges its first two axes" in note for note in model.graph.metadata["assumptions"])
    x = torch.randn(3, 9, 4)
    with torch.no_grad():
        wanted = [y.numpy() for y in module(x)]
    for y, own in zip(wanted, model(x.numpy())):
        assert own.shape == (3, 4, *y.shape[1:]) and distance(y, own.reshape(y.shape)) <= TOLERANCE


def test_what_such_rows_cannot_do_is_said():
    class Given(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.GRU(1, 5, batch_first=True)

        def forward(self, x, h):
            b, t, c = x.shape
            return self.rnn(x.permute(0, 2, 1).reshape(b * c, t, 1), h)[0].reshape(b, c, t, 5)

    with pytest.raises(rnnrt.UnsupportedModelError, match="each row of the batch makes several"):
        rnnrt.from_torch(Given(), example=(torch.randn(2, 12, 4), torch.randn(1, 8, 5)))
