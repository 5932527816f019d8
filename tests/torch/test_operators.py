"""Arithmetic between tensors, slices, padding, reductions, norms and what networks make of them, against
PyTorch: each at several batches and lengths, and streamed where it can be.
"""

import numpy as np
import pytest
from needs import need

import rnnrt
from rnnrt.errors import NotStreamableError, ShapeError, UnsupportedModelError

torch = need("torch")
F, nn = torch.nn.functional, torch.nn
WHOLE = "whole"  # cannot be streamed


class Of(nn.Module):
    """``function`` of a module's own parts and what its first part makes of the input."""

    def __init__(self, first, function, **parts):
        super().__init__()
        self.first, self.function = first, function
        for name, part in parts.items():
            if isinstance(part, (nn.Module, nn.Parameter)):
                setattr(self, name, part)
            else:
                self.register_buffer(name, part)

    def forward(self, x):
        y = self.first(x)
        return self.function(self, y[0] if isinstance(self.first, nn.GRU) else y)


def frames(function, streams=True, **parts):
    """(module, example) on (batch, time, features) frames of 6."""
    return Of(nn.GRU(4, 6, batch_first=True), function, **parts), (2, 13, 4), streams


def channels(function, streams=True, **parts):
    """(module, example) on (batch, channels, time) with 6 channels."""
    return Of(nn.Conv1d(4, 6, 3), function, **parts), (2, 4, 13), streams


def draw(*shape):
    return torch.from_numpy(np.random.default_rng(4).standard_normal(shape).astype(np.float32))


CASES = {
    # arithmetic and comparisons
    "quotient": lambda: frames(lambda m, x: x / (x.abs() + 1)),
    "number over tensor": lambda: frames(lambda m, x: 2 / (x + 3)),
    "greatest and least": lambda: frames(
        lambda m, x: torch.maximum(x, m.l(x)) - torch.minimum(x, m.l(x)), l=nn.Linear(6, 6)
    ),
    "with numbers": lambda: frames(lambda m, x: torch.clamp(x, min=0.1) + x.clamp_max(0.2)),
    "where": lambda: frames(lambda m, x: torch.where(x > 0.1, x, m.l(x)), l=nn.Linear(6, 6)),
    "where of numbers": lambda: frames(lambda m, x: torch.where(x <= -0.1, 2.5, 7.0) * x),
    "comparisons": lambda: frames(
        lambda m, x: (
            (x > m.l(x)).float()
            + 2 * (x >= 0.2).float()
            - 3 * (x < -0.3).float()
            + (x.ge(m.l(x)) & (x <= 0.4))
        ),
        l=nn.Linear(6, 6),
    ),
    "not, or": lambda: frames(lambda m, x: (~(x > 0) | (x > 0.5)).float() * x),
    "masked_fill": lambda: frames(lambda m, x: x.masked_fill(x < 0.1, -2.5)),
    "threshold": lambda: frames(lambda m, x: F.threshold(x, 0.05, -1.0)),
    # broadcasting
    "squeeze-excite by linear layers": lambda: channels(
        lambda m, x: x * torch.sigmoid(m.b(F.relu(m.a(x.mean(-1))))).unsqueeze(-1),
        WHOLE,
        a=nn.Linear(6, 3),
        b=nn.Linear(3, 6),
    ),
    "squeeze-excite by convolutions": lambda: channels(
        lambda m, x: x * torch.sigmoid(m.b(F.relu(m.a(F.adaptive_avg_pool1d(x, 1))))),
        WHOLE,
        a=nn.Conv1d(6, 3, 1),
        b=nn.Conv1d(3, 6, 1),
    ),
    "squeeze-excite expanded": lambda: channels(
        lambda m, x: (
            x
            * torch.sigmoid(m.a(F.adaptive_avg_pool1d(x, 1).view(x.size(0), x.size(1))))
            .view(x.size(0), x.size(1), 1)
            .expand_as(x)
        ),
        WHOLE,
        a=nn.Linear(6, 6),
    ),
    "one feature stands for all": lambda: frames(lambda m, x: x * x.mean(-1, keepdim=True) - x[..., 2:3]),
    "one number a frame spread by a parameter": lambda: frames(
        lambda m, x: x.sum(-1, keepdim=True) * m.w, w=nn.Parameter(draw(5))
    ),
    "less the last frame": lambda: frames(lambda m, x: x - x[:, -1:, :], WHOLE),
    # slices
    "a frame from the front": lambda: frames(lambda m, x: x[:, 3]),
    "a frame from the end": lambda: frames(lambda m, x: x[:, -3]),
    "the first frame": lambda: frames(lambda m, x: x[:, 0] - x[:, -1]),
    "without the first": lambda: frames(lambda m, x: x[:, 2:]),
    "without the last": lambda: frames(lambda m, x: x[:, :-2]),
    "both ends": lambda: frames(lambda m, x: x[:, 2:-3]),
    "every second": lambda: frames(lambda m, x: x[:, ::2]),
    "every third from the second on": lambda: frames(lambda m, x: x[:, 1:-1:3]),
    "differences": lambda: frames(lambda m, x: x[:, 1:] - x[:, :-1]),
    "the last five of thirteen": lambda: frames(lambda m, x: x[:, -5:]),
    "the first five of thirteen": lambda: frames(lambda m, x: x[:, :5]),
    "halves of time": lambda: frames(lambda m, x: torch.cat(x[:, :12].chunk(2, 1), -1)),
    "features unbound": lambda: frames(lambda m, x: x.unbind(-1)[2] - x.unbind(-1)[4]),
    # padding
    "zeros behind an activation": lambda: channels(lambda m, x: torch.tanh(F.pad(F.relu(x), (2, 1))) + 1),
    "zeros returned": lambda: channels(lambda m, x: F.pad(x, (2, 1))),
    "a value": lambda: channels(lambda m, x: F.pad(x, (2, 1), value=0.5)),
    "frames of a value, features first": lambda: frames(lambda m, x: F.pad(x, (1, 2, 3, 0), value=-0.5)),
    "reflect": lambda: channels(lambda m, x: m.c(F.pad(x, (3, 2), mode="reflect")), c=nn.Conv1d(6, 5, 4)),
    "replicate": lambda: channels(lambda m, x: m.c(F.pad(x, (3, 2), mode="replicate")), c=nn.Conv1d(6, 5, 4)),
    "a convolution that reflects": lambda: channels(
        lambda m, x: m.c(x), c=nn.Conv1d(6, 5, 4, padding="same", dilation=2, padding_mode="reflect")
    ),
    "a convolution that replicates": lambda: channels(
        lambda m, x: m.c(x), c=nn.Conv1d(6, 5, 4, stride=2, padding=2, padding_mode="replicate")
    ),
    "circular": lambda: channels(
        lambda m, x: m.c(F.pad(x, (3, 2), mode="circular")), WHOLE, c=nn.Conv1d(6, 5, 4)
    ),
    "a circular convolution": lambda: channels(
        lambda m, x: m.c(x) + x, WHOLE, c=nn.Conv1d(6, 6, 3, padding="same", padding_mode="circular")
    ),
    "circular convolutions, one by strides": lambda: channels(
        lambda m, x: m.d(F.relu(m.c(x))),
        WHOLE,
        c=nn.Conv1d(6, 5, 4, stride=2, padding=2, padding_mode="circular"),
        d=nn.Conv1d(5, 4, 3, padding=2, dilation=2, padding_mode="circular"),
    ),
    "a circular module": lambda: channels(lambda m, x: m.p(x), WHOLE, p=nn.CircularPad1d((2, 1))),
    "a module that reflects": lambda: channels(lambda m, x: m.p(x), p=nn.ReflectionPad1d((2, 1))),
    "a module that replicates": lambda: channels(lambda m, x: m.p(x), p=nn.ReplicationPad1d(2)),
    "cut by padding": lambda: channels(lambda m, x: F.pad(x, (-1, -2))),
    # reductions
    "over features": lambda: frames(
        lambda m, x: torch.stack([x.sum(-1), x.mean(-1), x.amax(-1), x.min(-1)[0], x.std(-1)], -1)
    ),
    "over time": lambda: frames(
        lambda m, x: torch.cat([x.sum(1), x.mean(1), x.max(1)[0], x.amin(1), x.var(1), x.std(1, False)], -1)
    ),
    "over both": lambda: frames(lambda m, x: x.mean((1, 2), keepdim=True) * x, WHOLE),
    "logsumexp": lambda: frames(lambda m, x: (30 * x).logsumexp(-1) - (30 * x).logsumexp(1)[:, :1], WHOLE),
    "cumsum": lambda: frames(lambda m, x: x.cumsum(1)),
    "norms": lambda: frames(
        lambda m, x: (
            x / x.norm(dim=-1, keepdim=True) + F.normalize(x, dim=2, eps=1e-6) - torch.norm(x, 1, -1, True)
        )
    ),
    "statistics by hand": lambda: frames(
        lambda m, x: (x - x.mean(1, keepdim=True)) / (x.std(1, keepdim=True, unbiased=False) + 1e-5), WHOLE
    ),
    # attention over time
    "softmax over time": lambda: frames(lambda m, x: x.softmax(1) + F.log_softmax(x, dim=1), WHOLE),
    "attention by a sum": lambda: frames(
        lambda m, x: (m.a(x).softmax(1) * x).sum(1), WHOLE, a=nn.Linear(6, 1)
    ),
    "attention by bmm": lambda: frames(
        lambda m, x: torch.bmm(m.a(x).squeeze(-1).softmax(1).unsqueeze(1), x).squeeze(1),
        WHOLE,
        a=nn.Linear(6, 1),
    ),
    "attention by matmul": lambda: frames(
        lambda m, x: (x.transpose(1, 2) @ torch.softmax(m.a(x), 1)).squeeze(-1), WHOLE, a=nn.Linear(6, 1)
    ),
    "attention by einsum": lambda: frames(
        lambda m, x: torch.einsum("bt,btf->bf", m.a(x).squeeze(-1).softmax(1), x), WHOLE, a=nn.Linear(6, 1)
    ),
    "attention by a parameter": lambda: frames(
        lambda m, x: (x.tanh().matmul(m.w).softmax(1).unsqueeze(-1) * x).sum(1),
        WHOLE,
        w=nn.Parameter(draw(6)),
    ),
    "attention to the last frame": lambda: frames(
        lambda m, x: torch.bmm(torch.bmm(x, x[:, -1].unsqueeze(2)).squeeze(2).softmax(1).unsqueeze(1), x),
        WHOLE,
    ),
    "einsum with a parameter": lambda: frames(
        lambda m, x: torch.einsum("btf,of->bot", x, m.w), w=nn.Parameter(draw(3, 6))
    ),
    # norms
    "group norm": lambda: channels(lambda m, x: m.g(x), WHOLE, g=nn.GroupNorm(2, 6)),
    "group norm of vectors": lambda: channels(lambda m, x: m.g(x.mean(-1)), g=nn.GroupNorm(3, 6)),
    "one group": lambda: channels(lambda m, x: m.g(5 + x), WHOLE, g=nn.GroupNorm(1, 6, affine=False)),
    "instance norm": lambda: channels(lambda m, x: m.g(x), WHOLE, g=nn.InstanceNorm1d(6, affine=True)),
    "instance norm with running statistics": lambda: channels(
        lambda m, x: m.g(x), g=nn.InstanceNorm1d(6, affine=True, track_running_stats=True)
    ),
    "rms norm": lambda: frames(lambda m, x: m.g(x), g=nn.RMSNorm(6, eps=1e-3)),
    "rms norm by hand": lambda: frames(
        lambda m, x: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * m.w, w=nn.Parameter(draw(6))
    ),
    # pools, more frames
    "max pool dilated": lambda: channels(lambda m, x: F.max_pool1d(x, 3, 2, padding=1, dilation=2)),
    "max pool up": lambda: channels(lambda m, x: F.max_pool1d(x, 3, 2, ceil_mode=True)),
    "max pool up, far apart": lambda: channels(lambda m, x: F.max_pool1d(x, 2, 4, padding=1, ceil_mode=True)),
    "average pool up": lambda: channels(lambda m, x: F.avg_pool1d(x, 4, 3, ceil_mode=True)),
    "average pool up, padded by zeros that count": lambda: channels(
        lambda m, x: F.avg_pool1d(F.avg_pool1d(x, 4, 3, padding=2, ceil_mode=True), 2, 2, 1, ceil_mode=True)
    ),
    "average pool up, padded": lambda: channels(
        lambda m, x: F.avg_pool1d(x, 4, 3, padding=1, ceil_mode=True, count_include_pad=False)
    ),
    "adaptive average": lambda: channels(lambda m, x: F.adaptive_avg_pool1d(x, 4)),
    "adaptive max": lambda: channels(lambda m, x: F.adaptive_max_pool1d(x, 3)),
    "upsample": lambda: channels(lambda m, x: m.u(x), u=nn.Upsample(scale_factor=3)),
    "upsample by lines": lambda: channels(lambda m, x: F.interpolate(x, scale_factor=2, mode="linear")),
    "upsample by lines, odd": lambda: channels(lambda m, x: F.interpolate(x, scale_factor=3, mode="linear")),
    "repeat_interleave": lambda: channels(lambda m, x: x.repeat_interleave(2, dim=2).repeat_interleave(2, 1)),
    # new axes
    "horizon": lambda: frames(lambda m, x: m.l(x[:, -1]).view(-1, 5, 3), l=nn.Linear(6, 15)),
    "horizon unflattened": lambda: frames(
        lambda m, x: m.l(x[:, -1]).unflatten(1, (5, 3)), l=nn.Linear(6, 15)
    ),
    "a decoder of five steps": lambda: frames(
        lambda m, x: m.d(x[:, -1].unsqueeze(1).repeat(1, 5, 1))[0], d=nn.GRU(6, 3, batch_first=True)
    ),
    "stacked values": lambda: frames(
        lambda m, x: m.d(torch.stack([x[:, -1], x.mean(1), x.amax(1)], dim=1))[0],
        d=nn.GRU(6, 3, batch_first=True),
    ),
    "stacked along the last axis": lambda: frames(
        lambda m, x: (torch.stack([x, m.l(x)], -1) * torch.sigmoid(x[..., :1]).unsqueeze(-1)).sum(-1),
        l=nn.Linear(6, 6),
    ),
    "softmax over a stack": lambda: frames(
        lambda m, x: torch.stack([x, m.l(x), x * x], 2).softmax(2)[:, :, 1] + 0.1 * x, l=nn.Linear(6, 6)
    ),
    "joined over time": lambda: channels(
        lambda m, x: m.c(torch.cat([F.max_pool1d(x, 2), x], -1)), c=nn.Conv1d(6, 3, 3)
    ),
    "joined with no frames of features": lambda: frames(
        lambda m, x: torch.cat([x, x.mean(-1, keepdim=True)], -1)
    ),
    "down and up again": lambda: channels(
        lambda m, x: x + F.pad(m.up(m.down(x)), (0, 1)),
        down=nn.Conv1d(6, 6, 4, 2, 1),
        up=nn.ConvTranspose1d(6, 6, 4, 2, 1),
    ),
    "a number for every frame": lambda: frames(
        lambda m, x: m.l(x * m.a + m.b), a=draw(13, 1), b=draw(13, 6), l=nn.Linear(6, 3)
    ),
    "greater and lesser of two": lambda: frames(
        lambda m, x: torch.max(x, m.l(x)) - torch.min(x, m.a) * torch.max(x, m.a),
        l=nn.Linear(6, 6),
        a=draw(6),
    ),
    "filled with infinity": lambda: frames(
        lambda m, x: x.masked_fill(x < x[..., :1], float("-inf")).softmax(-1)
    ),
    "a matrix for every channel": lambda: frames(
        lambda m, x: torch.einsum("btij,ijk->btik", x.unflatten(-1, (2, 3)), m.w).flatten(2), w=draw(2, 3, 4)
    ),
    "written over": lambda: frames(lambda m, x: F.relu(m.l(x), inplace=True) + x, l=nn.Linear(6, 6)),
    "read after it was written over": lambda: frames(lambda m, x: F.relu(x, inplace=True) + x),
    "read after a module wrote over it": lambda: frames(lambda m, x: m.r(x) + x, r=nn.ReLU(inplace=True)),
    "masked in place": lambda: frames(lambda m, x: x.masked_fill_(x < 0, -2.0) * x),
    "a picture of one channel": lambda: frames(
        lambda m, x: m.n(x.unsqueeze(1)).squeeze(1), n=nn.BatchNorm2d(1).requires_grad_(False)
    ),
    "constants worked out": lambda: frames(
        lambda m, x: F.linear(x, torch.linspace(0, 1, 36).view(6, 6).tril() * m.w), w=draw(6, 6)
    ),
    "stacked and summed": lambda: frames(
        lambda m, x: torch.stack([x, m.l(x), x], 0).sum(0) / torch.stack([x + 9, x + 5]).mean(0),
        l=nn.Linear(6, 6),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_what_pytorch_says(name):
    torch.manual_seed(len(name))
    module, shape, streams = CASES[name]()
    module = module.eval()
    for part in module.modules():
        if isinstance(part, (nn.GroupNorm, nn.InstanceNorm1d, nn.RMSNorm)) and part.weight is not None:
            part.weight.data = draw(6)
    model = rnnrt.from_torch(module, example=draw(*shape))
    fixed = next(iter(model.graph.layers)).length
    time = shape.index(13)
    for rows, length in ((2, 13), (3, 13)) if fixed else ((2, 13), (1, 40), (3, 61)):
        x = draw(*(length if k == time else rows if k == 0 else n for k, n in enumerate(shape)))
        with torch.no_grad():
            expected = module(x).numpy()
        y = model(x.numpy())
        assert y.shape == expected.shape
        np.testing.assert_allclose(y, expected, atol=5e-6 * max(1.0, np.abs(expected).max()), rtol=0)
    assert model.streamable == (streams != WHOLE)
    if not model.streamable:
        with pytest.raises(NotStreamableError, match="known only when the sequence is over"):
            model.stream()
        return
    stream, own = model.stream(3), np.moveaxis(x.numpy(), time, 1)
    axes = model.graph.outputs[0].axes
    parts = [stream.push(own[:, k : k + 7]) for k in range(0, own.shape[1], 7)]
    whole = np.concatenate([*parts, stream.flush()], 1)
    y = y if y.ndim < 3 or "t" not in axes else np.moveaxis(y, axes.index("t"), 1)
    assert whole.reshape(y.shape).tobytes() == np.ascontiguousarray(y).tobytes()


class Film(nn.Module):
    """Scale and shift from a value given once."""

    def __init__(self):
        super().__init__()
        self.conv, self.told = nn.Conv1d(4, 6, 3), nn.Linear(5, 12)

    def forward(self, x, speaker):
        scale, shift = self.told(speaker).chunk(2, -1)
        return self.conv(x) * scale.unsqueeze(-1) + shift.unsqueeze(-1)


class Beside(nn.Module):
    def __init__(self, spread):
        super().__init__()
        self.rnn, self.spread = nn.GRU(9, 6, batch_first=True), spread

    def forward(self, x, speaker):
        return self.rnn(torch.cat([x, self.spread(x, speaker)], -1))[0]


SPREADS = {
    "expand": lambda x, z: z.unsqueeze(1).expand(-1, x.size(1), -1),
    "repeat": lambda x, z: z.unsqueeze(1).repeat(1, x.size(1), 1),
    "view and expand": lambda x, z: z.view(z.size(0), 1, z.size(1)).expand(x.size(0), x.size(1), z.size(1)),
}


@pytest.mark.parametrize("name", ["film", *SPREADS])
def test_a_value_given_once_meets_every_frame(name):
    """Also in a stream, whose first frame may come late: what hangs on the value is kept."""
    torch.manual_seed(3)
    module = (Film() if name == "film" else Beside(SPREADS[name])).eval()
    time = 2 if name == "film" else 1
    x, z = draw(*((2, 4, 13) if name == "film" else (2, 13, 4))), draw(2, 5)
    model = rnnrt.from_torch(module, example=(x, z))
    with torch.no_grad():
        expected = np.moveaxis(module(x, z).numpy(), time, 1)
    y = np.moveaxis(model(x.numpy(), z.numpy()), time, 1)
    np.testing.assert_allclose(y, expected, atol=2e-6, rtol=0)
    stream, own = model.stream(2, inputs={"speaker": z.numpy()}), np.moveaxis(x.numpy(), time, 1)
    parts = [stream.push(own[:, :0]), *(stream.push(own[:, k : k + 1]) for k in range(13)), stream.flush()]
    assert np.concatenate(parts, 1).tobytes() == np.ascontiguousarray(y).tobytes()
    again = model.stream(2, inputs={"speaker": z.numpy()})
    again.push(own[:, 3:5])
    stream.reset()
    stream.push(own[:, :6])
    again.state = stream.state
    assert again.push(own[:, 6:]).tobytes() == stream.push(own[:, 6:]).tobytes()


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
@pytest.mark.parametrize("way", ["expand", "repeat"])
def test_a_learned_initial_state(kind, way):
    class Learned(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = getattr(nn, kind)(4, 6, 2, batch_first=True, bidirectional=True)
            self.h, self.c = nn.Parameter(draw(4, 1, 6)), nn.Parameter(draw(4, 1, 6) / 2)

        def forward(self, x):
            spread = lambda p: p.expand(-1, x.size(0), -1) if way == "expand" else p.repeat(1, x.size(0), 1)
            return self.rnn(x, spread(self.h) if kind == "GRU" else (spread(self.h), spread(self.c)))[0]

    torch.manual_seed(5)
    module, x = Learned().eval(), draw(3, 9, 4)
    model = rnnrt.from_torch(module, example=x)
    with torch.no_grad():
        np.testing.assert_allclose(model(x.numpy()), module(x).numpy(), atol=2e-6, rtol=0)


REFUSED = {
    "upsample to a size": (channels, lambda m, x: F.interpolate(x, size=20), "to a size is not supported"),
    "upsample by halves": (channels, lambda m, x: F.interpolate(x, scale_factor=1.5), "by a whole number"),
    "corners": (
        channels,
        lambda m, x: F.interpolate(x, scale_factor=2, mode="linear", align_corners=True),
        "align_corners=True",
    ),
    "frames with frames": (
        frames,
        lambda m, x: (x @ x.transpose(1, 2)).softmax(-1).relu() @ x,
        "relu of scores is supported once",
    ),
    "filled with nothing": (
        frames,
        lambda m, x: x.masked_fill(x < 0, float("nan")),
        "NaN cannot be filled in",
    ),
    "the whole batch": (frames, lambda m, x: x - x.mean(), "the batch among them"),
    "variance of time and features": (frames, lambda m, x: x / x.var((1, 2), keepdim=True), "correction=0"),
    "a third of the norm": (frames, lambda m, x: x.norm(3, -1), "1, 2 or infinity"),
    "indices": (frames, lambda m, x: x.max(-1)[1], "indices of max"),
    "different strides": (channels, lambda m, x: x[:, :, ::2] + x[:, :, 1:], "run over different frames"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_honoured_is_refused_by_name(name):
    make, function, words = REFUSED[name]
    module, shape, _ = make(function)
    with pytest.raises(UnsupportedModelError, match=words):
        rnnrt.from_torch(module.eval(), example=draw(*shape))


def test_circular_padding_needs_as_many_frames_and_all_of_them():
    """Of the other end no more can be copied than there is; the first answer needs the last frame."""
    module = nn.Conv1d(4, 5, 3, padding=3, padding_mode="circular").eval()
    model = rnnrt.from_torch(module)
    for time in (3, 4, 700):
        x = draw(2, 4, time)
        with torch.no_grad():
            np.testing.assert_allclose(model(x.numpy()), module(x).numpy(), atol=5e-6, rtol=0)
    with pytest.raises(ShapeError, match="too short"):
        model(np.zeros((1, 4, 2), np.float32))
    with pytest.raises(NotStreamableError, match="begins with the last frames"):
        model.stream()
