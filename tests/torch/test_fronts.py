"""torch.nn's 2-D layers in front of a sequence answer as in torch, whole and streamed.

A tensor is (batch, channels, time, bins) or (batch, channels, bins, time): what makes a sequence of it tells.
"""

import itertools
import re

import numpy as np
import pytest
from expect import TOLERANCE, distance
from needs import need

torch = need("torch")

import torch.nn.functional as F
from torch import nn
from torch_modules import Call

import rnnrt
from rnnrt import UnsupportedModelError

BINS, CHANNELS = 11, 3


class Front(nn.Module):
    """``part`` of a picture, then a recurrent layer over one of its axes."""

    def __init__(self, part, time, channels=CHANNELS, bins=BINS, ending="flatten", frames=20):
        super().__init__()
        self.part, self.time, self.ending = part, time, ending
        shape = (1, channels, frames, bins) if time == 2 else (1, channels, bins, frames)
        made = part(torch.zeros(shape))
        self.rnn = nn.GRU(made.shape[1] * made.shape[5 - time], 5, batch_first=True)

    def forward(self, x):
        x = self.part(x)
        if self.ending == "flatten":
            x = x.permute(0, self.time, 1, 5 - self.time).flatten(2)
        elif self.ending == "bins first":
            x = x.permute(0, self.time, 5 - self.time, 1)
            x = x.reshape(x.size(0), x.size(1), -1)
        elif self.time == 3:
            b, c, f, t = x.shape
            x = x.contiguous().view(b, c * f, t).transpose(1, 2)
        else:
            x = x.transpose(1, 2).contiguous()
            x = x.view(x.shape[0], x.shape[1], -1)
        return self.rnn(x)[0]


def randomised(module, seed=0):
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, x in (*module.named_parameters(), *module.named_buffers()):
            if x.is_floating_point():
                x.copy_(torch.randn_like(x) * 0.3)
                if "running_var" in name:
                    x.abs_().add_(0.1)
    return module.eval()


def same(module, example, time, *, lengths=(2, 3, 8, 13), streams=True):
    """At several lengths and batches, whole and chunk by chunk, the import answers as the module does."""
    module = randomised(module)
    model = rnnrt.from_torch(module, example=example)
    assert model.streamable or not streams
    for n, batch in itertools.product(lengths, (1, 3)):
        shape = [batch, *example.shape[1:]]
        shape[time] = n
        x = torch.randn(shape)
        with torch.no_grad():
            wanted = module(x).numpy()
        y = model(x.numpy())
        assert y.shape == wanted.shape and distance(wanted, y) <= TOLERANCE
        if streams:
            frames = np.moveaxis(x.numpy(), time, 1)
            stream = model.stream(batch_size=batch)
            parts = [stream.push(frames[:, a:b]) for a, b in ((0, 1), (1, 4), (4, n))] + [stream.flush()]
            assert np.concatenate(parts, 1).tobytes() == np.ascontiguousarray(y).tobytes()
    return model


def picture(time, channels=CHANNELS, bins=BINS, frames=20):
    return torch.randn((2, channels, frames, bins) if time == 2 else (2, channels, bins, frames))


def front(part, time, least=1, **fields):
    lengths = [n for n in (1, 2, 3, 8, 13) if n >= least]
    return same(Front(part, time, **fields), picture(time), time, lengths=lengths)


TRANSPOSED = [
    {"kernel_size": 3},
    {"kernel_size": (1, 3), "stride": (1, 2)},
    {"kernel_size": (3, 5), "stride": (1, 2), "padding": (1, 2), "output_padding": (0, 1)},
    {"kernel_size": (2, 3), "stride": (1, 3), "padding": (0, 3), "groups": 3, "bias": False},
    {"kernel_size": (2, 2), "stride": (1, 4), "dilation": (3, 2)},
]


@pytest.mark.parametrize("options", TRANSPOSED, ids=str)
@pytest.mark.parametrize("time", [2, 3])
@pytest.mark.parametrize("called", [False, True])
def test_every_option_of_a_transposed_convolution(options, time, called):
    turned = lambda n: n[::-1] if isinstance(n, tuple) and time == 3 else n
    part = nn.ConvTranspose2d(CHANNELS, 6, **{name: turned(n) for name, n in options.items()})
    own = {n: getattr(part, n) for n in ("stride", "padding", "output_padding", "groups", "dilation")}
    call = Call(lambda x, m: F.conv_transpose2d(x, m.weight, m.bias, **own), part)
    front(call if called else part, time)


def test_frames_cut_off_behind_a_transposed_convolution():
    up = nn.ConvTranspose2d(CHANNELS, 4, (2, 3), stride=(1, 2))
    front(Call(lambda x, m: m(x)[:, :, :-1], up), 2)


CONVOLUTIONS = [
    {"kernel_size": 3},
    {"kernel_size": (3, 5), "padding": (1, 2)},
    {"kernel_size": (1, 4), "stride": (1, 2), "bias": False},
    {"kernel_size": (2, 3), "stride": (2, 3), "padding": (0, 1)},
    {"kernel_size": (2, 3), "dilation": (3, 2), "padding": (3, 1)},
    {"kernel_size": (4, 2), "padding": "same"},
    {"kernel_size": (3, 3), "padding": "valid", "groups": 3},
    {"kernel_size": 3, "padding": 1, "groups": 3, "stride": 2},
]


@pytest.mark.parametrize("options", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("time", [2, 3])
def test_every_option_of_a_convolution(options, time):
    own = {}
    for name, default in (("kernel_size", 1), ("dilation", 1), ("padding", 0)):
        value = options.get(name, default)
        own[name] = value[time - 2] if isinstance(value, tuple) else value
    span = (own["kernel_size"] - 1) * own["dilation"] + 1
    least = {"same": 1, "valid": span}.get(own["padding"]) or max(1, span - 2 * own["padding"])
    front(nn.Conv2d(CHANNELS, 6, **options), time, least)


POOLS = [
    nn.MaxPool2d((1, 2)),
    nn.MaxPool2d((2, 1)),
    nn.AvgPool2d((2, 3), stride=(1, 2), padding=(1, 1), ceil_mode=True),
    nn.AvgPool2d((3, 2), stride=(3, 2), padding=(1, 0), ceil_mode=True),
    nn.MaxPool2d(2),
    nn.MaxPool2d((3, 4), (1, 2), (1, 2)),
    nn.MaxPool2d((2, 3), ceil_mode=True),
    nn.MaxPool2d((2, 2), (1, 1), dilation=(1, 3)),
    nn.AvgPool2d((1, 2)),
    nn.AvgPool2d(2),
    nn.AvgPool2d((3, 4), (1, 2), (1, 2)),
    nn.AvgPool2d((3, 4), (1, 2), (1, 1), count_include_pad=False),
    nn.AvgPool2d((2, 3), ceil_mode=True),
]


@pytest.mark.parametrize("pool", POOLS, ids=str)
@pytest.mark.parametrize("time", [2, 3])
def test_every_option_of_a_pool(pool, time):
    front(pool, time, 4)


def cut_into_branches(x, first, second):
    a, b = x.chunk(2, 1) if x.shape[1] == 4 else (x[:, :1], x[:, 1:])
    return torch.cat([first(a), second(b)], dim=1)


PARTS = {
    "batch norm": lambda: nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()),
    "functions": lambda: Call(
        lambda x, c: F.max_pool2d(F.relu(F.conv2d(x, c.weight, c.bias, padding=1)), (2, 2)),
        nn.Conv2d(3, 4, 3),
    ),
    "average": lambda: Call(lambda x: F.avg_pool2d(x, (1, 3), stride=2)),
    "activations": lambda: nn.Sequential(
        nn.ELU(), nn.LeakyReLU(0.2), nn.GELU(), nn.Hardtanh(), nn.SiLU(inplace=True)
    ),
    "in place": lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), nn.Dropout2d(0.3)),
    "prelu": lambda: nn.Sequential(nn.PReLU(), nn.PReLU(3)),
    "residual": lambda: Call(lambda x, c: x + c(x), nn.Conv2d(3, 3, 3, padding=1)),
    "scaled": lambda: Call(lambda x, c: 0.5 * x - c(x) / 3, nn.Conv2d(3, 3, 3, padding=1)),
    "gated": lambda: Call(lambda x, c: torch.sigmoid(c(x)) * torch.tanh(x), nn.Conv2d(3, 3, 3, padding=1)),
    "branches": lambda: Call(cut_into_branches, nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 4, (1, 1))),
    "cat over bins": lambda: Call(lambda x, c: torch.cat([x, c(x)], -1), nn.Conv2d(3, 3, 3, padding=1)),
    "padded": lambda: nn.Sequential(nn.ZeroPad2d((1, 2, 2, 0)), nn.Conv2d(3, 4, 3)),
    "constant": lambda: nn.Sequential(nn.ConstantPad2d((0, 1, 2, 1), 0.5), nn.Conv2d(3, 4, 3)),
    "some bins": lambda: Call(lambda x: x[:, 1:, :, :]),
}


BETWEEN = [(name, time) for name in PARTS for time in (2, 3) if (name, time) != ("cat over bins", 3)]


@pytest.mark.parametrize(("name", "time"), BETWEEN)
def test_what_stands_between(name, time):
    front(PARTS[name](), time, 3)


@pytest.mark.parametrize("ending", ["flatten", "bins first", "view"])
@pytest.mark.parametrize("time", [2, 3])
def test_the_order_of_a_frame_s_numbers(ending, time):
    front(nn.Conv2d(CHANNELS, 4, 3, padding=1), time, ending=ending)


class Collapsed(nn.Module):
    """The bins of a picture become one number, or none."""

    def __init__(self, how, time):
        super().__init__()
        self.how, self.time = how, time
        taps = (1, BINS) if time == 2 else (BINS, 1)
        self.conv = nn.Conv2d(
            1, 6, taps if how in ("squeeze", "index") else 3, padding=0 if how in ("squeeze", "index") else 1
        )
        self.rnn = nn.LSTM(6, 4, batch_first=True)

    def forward(self, x):
        x, bins = torch.relu(self.conv(x.unsqueeze(1))), 5 - self.time
        if self.how == "squeeze":
            x = x.squeeze(bins)
        elif self.how == "index":
            x = x[:, :, :, 0] if bins == 3 else x[:, :, 0, :]
        elif self.how == "adaptive":
            size = (None, 1) if bins == 3 else (1, None)
            x = F.adaptive_avg_pool2d(x, size).squeeze(bins)
        elif self.how == "max":
            x = x.max(dim=bins)[0]
        else:
            x = x.mean(bins)
        return self.rnn(x.permute(0, 2, 1))[0]


@pytest.mark.parametrize("how", ["squeeze", "index", "mean", "max", "adaptive"])
@pytest.mark.parametrize("time", [2, 3])
def test_bins_that_become_one(how, time):
    """Of an input without a channel axis, which unsqueeze(1) adds."""
    example = torch.randn((2, 20, BINS) if time == 2 else (2, BINS, 20))
    same(Collapsed(how, time), example, time - 1)


@pytest.mark.parametrize("time", [2, 3])
def test_a_crnn(time):
    layers, channels = [], 1
    for out, pool in ((8, (1, 2)), (6, (1, 3)), (4, (2, 1))):
        pool = pool if time == 2 else pool[::-1]
        layers += [nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out)]
        layers += [nn.ReLU(inplace=True), nn.MaxPool2d(pool), nn.Dropout(0.2)]
        channels = out
    module = Front(nn.Sequential(*layers), time, channels=1, bins=24)
    model = same(module, picture(time, channels=1, bins=24), time, lengths=(2, 5, 13))
    kinds = [layer.kind for layer in model._run_graph.layers]
    assert "batch_normalization" not in kinds and "activation" not in kinds


def test_frames_are_channels_and_bins():
    module = randomised(Front(nn.Conv2d(CHANNELS, 4, (3, 2)), 3))
    model = rnnrt.from_torch(module, example=picture(3))
    assert model.inputs == {"x": (None, CHANNELS, BINS, None)}
    x = torch.randn(CHANNELS, BINS, 6)
    stream = model.stream()
    made = [stream.step(x[..., t].numpy()) for t in range(6)]
    with torch.no_grad():
        wanted = module(x[None])[0].numpy()
    assert made[0] is None and distance(wanted, np.stack(made[1:])) <= TOLERANCE
    assert distance(wanted, model(x.numpy())) <= TOLERANCE


def test_pictures_come_out_where_a_sequence_goes_in():
    """An enhancement mask: the axis of channels comes and goes."""
    net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1))
    rnn = nn.GRU(BINS, BINS, batch_first=True)

    def forward(x, net, rnn):
        return torch.sigmoid(net(rnn(x)[0].unsqueeze(1)).squeeze(1))

    same(Call(forward, net, rnn), torch.randn(2, 20, BINS), 1)


def test_a_file(tmp_path):
    model = front(nn.Conv2d(CHANNELS, 4, 3, padding=1), 2)
    model.save(tmp_path / "m.rnnrt")
    again, x = rnnrt.load(tmp_path / "m.rnnrt"), picture(2).numpy()
    assert np.array_equal(again(x), model(x))
    again.verify()


@pytest.mark.parametrize("time", [2, 3])
@pytest.mark.parametrize("mode", ["reflect", "replicate"])
def test_padding_by_copies_of_frames_and_of_bins(mode, time):
    own = {"padding_mode": mode, "bias": mode == "reflect"}
    front(nn.Conv2d(CHANNELS, 4, 3, padding=1, **own), time, 2)
    front(nn.Conv2d(CHANNELS, 4, (2, 5), padding=(2, 1), stride=(1, 2), **own), time, 3)
    front(nn.Conv2d(CHANNELS, 4, (3, 2), padding="same", dilation=(1, 3), **own), time, 4)
    module = {"reflect": nn.ReflectionPad2d, "replicate": nn.ReplicationPad2d}[mode]
    front(nn.Sequential(module((1, 2, 0, 1)), nn.Conv2d(CHANNELS, 4, 2)), time, 3)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (lambda: nn.MaxPool2d(2, return_indices=True), "return_indices"),
        (lambda: nn.AvgPool2d(2, divisor_override=3), "divisor_override=3"),
        (lambda: nn.BatchNorm2d(3, track_running_stats=False), "running statistics"),
        (lambda: nn.ConvTranspose2d(3, 4, 3, stride=2), "a stride of one over time"),
        (lambda: nn.ConvTranspose2d(3, 4, 1, padding=1), "cuts off more frames than it adds"),
        (lambda: nn.AdaptiveAvgPool2d((None, 4)), "1 or None"),
    ],
)
def test_an_option_that_cannot_be_honoured_is_refused(part, words):
    part = part()
    try:
        module = Front(part, 2)
    except (AttributeError, TypeError):  # what it returns is not one tensor
        module = Call(lambda x, p, r: r(p(x)[0].permute(0, 2, 1, 3).flatten(2))[0], part, nn.GRU(15, 4))
    with pytest.raises(UnsupportedModelError, match=re.escape(words)):
        rnnrt.from_torch(module.eval(), example=picture(2))


def test_the_numbers_of_a_frame_may_say_which_size_is_time():
    """view(batch, -1, numbers): of three sizes the two others are said."""

    class Viewed(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.rnn = nn.Conv2d(1, 4, 3, padding=(2, 1)), nn.GRU(4 * BINS, 5, batch_first=True)

        def forward(self, x):
            y = torch.relu(self.conv(x)).transpose(1, 2)
            return self.rnn(y.contiguous().view(y.shape[0], -1, 4 * BINS))[0]

    same(Viewed(), picture(2, 1), 2)

    class Mixed(Viewed):
        def __init__(self):
            super().__init__()
            self.rnn = nn.GRU(2 * BINS, 5, batch_first=True)

        def forward(self, x):  # two channels of a frame become two frames
            y = torch.relu(self.conv(x)).transpose(1, 2)
            return self.rnn(y.reshape(y.shape[0], -1, 2 * BINS))[0]

    module, x = randomised(Mixed()), picture(2, 1)
    model = rnnrt.from_torch(module, example=x)
    assert model.inputs == {"x": (None, 1, 20, BINS)}  # what becomes of the frames holds for so many
    assert distance(module(x).detach().numpy(), model(x.numpy())) <= TOLERANCE


class Stored(nn.Module):
    """As files hold it: the channels of an input, or an axis of them that comes and goes."""

    def __init__(self, time, how):
        super().__init__()
        self.time, self.how = time, how
        self.conv, self.norm, self.pool = (
            nn.Conv2d(1, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.MaxPool2d((1, 2)),
        )
        self.pool = nn.MaxPool2d((1, 2) if time == 2 else (2, 1))
        self.rnn = nn.GRU(6 * (BINS // 2), 5, batch_first=True)

    def forward(self, x):
        if self.how == "pads":  # to a whole number of eights
            x = F.pad(x, (0, 0, 0, -x.shape[2] % 8) if self.time == 2 else (0, -x.shape[3] % 8))
        x = self.pool(torch.relu(self.norm(self.conv(x))))
        x = x.permute(0, self.time, 1, 5 - self.time)
        x = x.reshape(2, 14, -1) if self.how == "sized" else x.flatten(2)
        return self.rnn(x)[0]


@pytest.mark.parametrize("how", ["free", "sized", "pads"])
@pytest.mark.parametrize("time", [2, 3])
@pytest.mark.parametrize("kind", ["pt2", "torchscript"])
def test_files_of_programs(kind, time, how, tmp_path):
    """One that holds for the example's number of frames alone takes so many."""
    module, example = randomised(Stored(time, how)), picture(time, 1, frames=14)
    if kind == "pt2":
        torch.export.save(torch.export.export(module, (example,)), tmp_path / "m.pt2")
        read = lambda: rnnrt.from_pt2(tmp_path / "m.pt2")
    else:
        torch.jit.trace(module, example).save(tmp_path / "m.pt")
        read = lambda: rnnrt.from_torchscript(tmp_path / "m.pt")
    try:
        model = read()
    except UnsupportedModelError:
        assert how != "free"  # it may be refused, but not be wrong
        return
    for n, batch in ((14, 2), (9, 3), (30, 1)):
        x = picture(time, 1, frames=n)[:1].repeat(batch, 1, 1, 1)
        try:
            y = model(x.numpy())
        except rnnrt.ShapeError:
            assert how != "free" and n != 14
            continue
        with torch.no_grad():
            assert distance(module(x).numpy(), y) <= TOLERANCE
