"""Pictures (frames of channels and bins) in PyTorch's networks: what decides which axis is time, products and
joins with other sizes, pictures that end in numbers, and pictures that come out."""

import itertools

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

BINS, FRAMES = 10, 14


def randomised(module):
    torch.manual_seed(0)
    with torch.no_grad():
        for x in (*module.parameters(), *module.buffers()):
            if x.is_floating_point():
                x.copy_(torch.randn_like(x).abs() * 0.3 + 0.2)
    return module.eval()


def same(module, time, *, lengths=(8, 14), model=None, shapes=None, streams=False):
    """The import answers as the module at several lengths and batches, and streamed."""
    module = randomised(module)
    size = lambda batch, n: (batch, 1, n, BINS) if time == 2 else (batch, 1, BINS, n)
    model = model or rnnrt.from_torch(module, example=torch.randn(size(2, FRAMES)), shapes=shapes)
    for n, batch in itertools.product(lengths, (1, 3)):
        x = torch.randn(size(batch, n))
        with torch.no_grad():
            wanted = module(x).numpy()
        y = model(x.numpy())
        assert y.shape == wanted.shape and distance(wanted, y) <= TOLERANCE
        if streams:
            frames, stream = np.moveaxis(x.numpy(), time, 1), model.stream(batch_size=batch)
            parts = [stream.push(frames[:, :3]), stream.push(frames[:, 3:]), stream.flush()]
            made = np.concatenate([p for p in parts if p.shape[1]], 1)
            wanted = np.moveaxis(y, time, 1) if y.ndim == 4 else y
            assert made.tobytes() == np.ascontiguousarray(wanted).tobytes()
    return model


# ---- products over one axis of several ---------------------------------------------------------------------


def rows_of_channels_first(x, conv, linear, rnn):
    return rnn(torch.relu(linear(conv(x).permute(0, 2, 1, 3).flatten(2))))[0]


def in_order():
    """A Linear over (channels, bins), which the graph keeps as (bins, channels)."""
    conv, linear = nn.Conv2d(1, 3, 3, padding=1), nn.Linear(3 * BINS, 4)
    return Call(rows_of_channels_first, conv, linear, nn.GRU(4, 5, batch_first=True))


def over_bins(x, conv, linear, rnn):
    return rnn(linear(conv(x)).permute(0, 2, 1, 3).flatten(2))[0]


def test_a_linear_reads_its_features_in_the_program_s_order(tmp_path):
    """In a file, too, where no module's answers would show another order."""
    module = randomised(in_order())
    same(module, 2, streams=True)
    torch.export.save(torch.export.export(module, (torch.randn(2, 1, FRAMES, BINS),)), tmp_path / "m.pt2")
    same(module, 2, model=rnnrt.from_pt2(tmp_path / "m.pt2"))


def test_a_linear_over_the_last_of_several_axes():
    conv, rnn = nn.Conv2d(1, 3, 3, padding=1), nn.GRU(3 * 7, 5, batch_first=True)
    same(Call(over_bins, conv, nn.Linear(BINS, 7), rnn), 2, streams=True)


# ---- sizes that broadcast ----------------------------------------------------------------------------------


class Squeeze(nn.Module):
    """Squeeze and excitation, as convolutions of one tap or as products."""

    def __init__(self, how, channels=4):
        super().__init__()
        self.how = how
        one = (lambda a, b: nn.Conv2d(a, b, 1)) if how == "convolutions" else nn.Linear
        self.down, self.up = one(channels, 2), one(2, channels)
        self.norm = nn.BatchNorm2d(2)

    def forward(self, x):
        if self.how == "convolutions":
            s = self.norm(self.down(F.adaptive_avg_pool2d(x, 1)))
            return x * torch.sigmoid(self.up(torch.relu(s)))
        batch, channels, _, _ = x.shape
        s = self.up(torch.relu(self.down(x.mean((2, 3))))).view(batch, channels, 1, 1)
        return x * torch.sigmoid(s).expand_as(x) if self.how == "expanded" else x * torch.sigmoid(s)


def to_frames(x, conv, part, time):
    return part(conv(x)).permute(0, time, 1, 5 - time).flatten(2)


@pytest.mark.parametrize(("how", "time"), [("convolutions", 2), ("products", 3), ("expanded", 2)])
def test_squeeze_and_excitation(how, time):
    rnn = nn.GRU(4 * BINS, 5, batch_first=True)
    forward = lambda x, conv, part, rnn: rnn(to_frames(x, conv, part, time))[0]
    same(Call(forward, nn.Conv2d(1, 4, 3, padding=1), Squeeze(how), rnn), time)


class Scaled(nn.Module):
    """Parameters of channels and of bins, and numbers of one axis for all places of another."""

    def __init__(self):
        super().__init__()
        self.by_channel, self.by_bin = nn.Parameter(torch.ones(1, 4, 1, 1)), nn.Parameter(torch.ones(BINS))

    def forward(self, x):
        x = x * self.by_channel + self.by_bin
        return torch.log1p(x.abs()) - x.mean(3, keepdim=True) + 0.1 * x.mean(1, keepdim=True)


def test_parameters_and_means_that_broadcast():
    forward = lambda x, conv, part: to_frames(x, conv, part, 2)
    same(Call(forward, nn.Conv2d(1, 4, 3, padding=1), Scaled()), 2, streams=True)


@pytest.mark.parametrize(
    ("mode", "factor", "time"),
    [("nearest", 2, 2), ("nearest", (1, 3), 3), ("bilinear", 2, 3), ("bilinear", (1, 3), 2)],
)
def test_upsampled_pictures(mode, factor, time):
    def forward(x, conv, after):
        return to_frames(F.interpolate(conv(x), scale_factor=factor, mode=mode), after, nn.Identity(), time)

    same(Call(forward, nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1)), time)


# ---- which axis is time ------------------------------------------------------------------------------------


def ocr(x, conv, rnn, out):
    """Sizes worked out behind a pool of two; forward asks for one and joins batch with time."""
    x = F.max_pool2d(conv(x), (2, 2))
    batch, _, height, width = x.size()
    assert height == BINS // 2
    x = rnn(x.permute(3, 0, 1, 2).reshape(width, batch, -1))[0]
    steps, batch, features = x.size()
    return out(x.view(steps * batch, features)).view(steps, batch, -1).transpose(0, 1)


def test_frames_behind_a_pool_are_counted():
    module = Call(ocr, nn.Conv2d(1, 3, 3, padding=1), nn.GRU(3 * BINS // 2, 4), nn.Linear(4, 3))
    model = same(module, 3, lengths=(9, 14))
    assert model.inputs == {"x": (None, 1, BINS, None)}


def pooled(x, conv, linear):
    return linear(F.adaptive_avg_pool2d(torch.relu(conv(x)), 1).flatten(1))


def of_pictures():
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 3, padding=1))


UNDECIDED = {
    "pooled": lambda: Call(pooled, nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4, 3)),
    "pictures": of_pictures,
}


@pytest.mark.parametrize("name", UNDECIDED)
def test_the_user_says_which_axis_is_time(name):
    module = randomised(UNDECIDED[name]())
    x = torch.randn(2, 1, BINS, BINS)  # of one size, so that not even the sizes differ
    argument = "x" if name == "pooled" else "input"
    said = rf"axis 2 \(10\) or 3 \(10\); .*shapes=\{{'{argument}': \(None, 1, 10, None\)\}}"
    with pytest.raises(UnsupportedModelError, match=said):
        rnnrt.from_torch(module, example=x)
    for time in (2, 3):
        shapes = {argument: (None, 1, None, BINS) if time == 2 else (None, 1, BINS, None)}
        model = same(module, time, shapes=shapes, streams=name == "pictures")
        assert model.inputs == shapes
        same(
            module, time, model=rnnrt.from_torch(module, shapes=shapes)
        )  # they are enough without an example


def test_time_is_the_axis_that_is_kept():
    forward = lambda x, conv, linear: linear(conv(x).mean(2).transpose(1, 2))
    model = same(Call(forward, nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4, 3)), 3, streams=True)
    assert model.inputs == {"x": (None, 1, BINS, None)}


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({"y": (None, 1, 10, None)}, "forward has no argument 'y'"),
        ({"x": (None, 1, None)}, "shapes of 'x' are not supported"),
        ({"x": (None, None, None, None)}, "shapes of 'x' are not supported"),
        ({"x": (None, 1, "bins", None)}, "shapes of 'x' are not understood"),
    ],
)
def test_shapes_that_say_nothing_are_refused(shapes, words):
    module = UNDECIDED["pooled"]()
    with pytest.raises(UnsupportedModelError, match=words):
        rnnrt.from_torch(module, example=torch.randn(2, 1, BINS, FRAMES), shapes=shapes)


def test_a_file_that_leaves_both_open_says_what_to_do(tmp_path):
    torch.export.save(torch.export.export(of_pictures(), (torch.randn(2, 1, 9, BINS),)), tmp_path / "m.pt2")
    with pytest.raises(UnsupportedModelError, match="is time is not decided.*dynamic_shapes"):
        rnnrt.from_pt2(tmp_path / "m.pt2")


# ---- pictures that end in numbers --------------------------------------------------------------------------

ENDS = {
    "flatten": lambda x: x.flatten(1),
    "view": lambda x: x.view(x.size(0), -1),
    "reshape": lambda x: x.reshape(-1, 3 * (BINS // 2) * (FRAMES // 2)),
    "turned": lambda x: x.permute(0, 2, 3, 1).flatten(1),
}


@pytest.mark.parametrize(("end", "kind"), [*((end, "live") for end in ENDS), ("view", "pt2")])
def test_all_numbers_of_a_fixed_number_of_frames(end, kind, tmp_path):
    linear = nn.Linear(3 * (BINS // 2) * (FRAMES // 2), 4)
    forward = lambda x, conv, linear: linear(ENDS[end](F.max_pool2d(torch.relu(conv(x)), 2)))
    module, model = randomised(Call(forward, nn.Conv2d(1, 3, 3, padding=1), linear)), None
    if kind == "pt2":
        torch.export.save(torch.export.export(module, (torch.randn(2, 1, FRAMES, BINS),)), tmp_path / "m.pt2")
        model = rnnrt.from_pt2(tmp_path / "m.pt2")
    model = same(module, 2, lengths=(FRAMES,), model=model)
    assert model.inputs == {"x": (None, 1, FRAMES, BINS)}


# ---- ways out ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (nn.Sequential(nn.Conv2d(1, 4, 3), nn.PixelShuffle(2), nn.ReLU()), r"module\[:1\] and module\[2:\]"),
        (nn.Sequential(nn.PixelShuffle(2), nn.ReLU()), r"around it, module\[1:\]; or write"),
        (Call(lambda x, p: p(x), nn.PixelShuffle(1)), r"from_torch\(module.NAME\)"),
        (Call(lambda x: torch.fft.rfft(x)), "fft_rfft is not supported. Write it with supported calls"),
    ],
)
def test_what_is_not_supported_names_a_way_out(module, words):
    with pytest.raises(UnsupportedModelError, match=words):
        rnnrt.from_torch(module, example=torch.randn(2, 1, FRAMES, BINS))
