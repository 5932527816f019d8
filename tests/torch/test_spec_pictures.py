"""Specs of networks with 2-D layers in front of a sequence: state dicts alone answer as their modules."""

import numpy as np
import pytest
from expect import TOLERANCE, distance
from needs import need

torch = need("torch")

from torch import nn

import rnnrt
from rnnrt import RnnrtError, UnsupportedModelError

BINS = 12


class Keywords(nn.Module):
    """A CRNN that spots keywords; ``time``: the axis of the picture that is time."""

    def __init__(self, time, how):
        super().__init__()
        self.time, self.how = time, how
        own = lambda first, second: (first, second) if time == 2 else (second, first)
        self.conv = nn.Conv2d(1, 6, own(5, 3), own(1, 2), own(2, 1))
        self.norm, self.pool = nn.BatchNorm2d(6), nn.MaxPool2d(own(1, 3))
        self.conv2 = nn.Conv2d(6, 6, 3, padding=1, groups=2, bias=False)
        self.gru = nn.GRU(6 if how == "mean" else 12, 5, batch_first=True)
        self.fc = nn.Linear(5, 3)

    def forward(self, x):
        x = x.unsqueeze(1) if self.how == "unsqueeze" else x
        x = self.pool(torch.relu(self.norm(self.conv(x))))
        x = torch.relu(x + self.conv2(x))
        if self.how == "mean":
            x = x.mean(5 - self.time).transpose(1, 2)
        elif self.how == "bins first":
            x = x.permute(0, self.time, 5 - self.time, 1).flatten(2)
        else:
            x = x.permute(0, self.time, 1, 5 - self.time).flatten(2)
        return self.fc(self.gru(x)[0])


def spec(time, how):
    pair = lambda first, second: f"{first},{second}" if time == 2 else f"{second},{first}"
    first = f"input channels=1 bins={BINS}" + " time_last" * (time == 3)
    if how == "unsqueeze":
        first = f"input features={BINS}" + " channels_first" * (time == 3) + "\nunsqueeze"
    last = {"mean": "mean bins", "bins first": "frames bins_first"}.get(how, "frames")
    return f"""
        {first}
        conv: Conv2d stride={pair(1, 2)} padding={pair(2, 1)}
        norm: BatchNorm2d
        relu
        a = MaxPool2d {pair(1, 3)}
        conv2: Conv2d padding=1 groups=2
        add a
        relu
        {last}
        gru: GRU
        fc: Linear
    """


def randomised(module):
    torch.manual_seed(0)
    with torch.no_grad():
        for x in (*module.parameters(), *module.buffers()):
            if x.is_floating_point():
                x.copy_(torch.randn_like(x).abs() * 0.4 + 0.1)
    return module.eval()


def same(module, model, size, time, lengths=(3, 8)):
    for n in lengths:
        x = torch.randn(size(n))
        with torch.no_grad():
            wanted = module(x).numpy()
        y = model(x.numpy())
        assert y.shape == wanted.shape and distance(wanted, y) <= TOLERANCE


@pytest.mark.parametrize("how", ["channels first", "bins first", "mean", "unsqueeze"])
@pytest.mark.parametrize("time", [2, 3])
def test_a_crnn_from_its_state_dict_alone(time, how):
    module = randomised(Keywords(time, how))
    model = rnnrt.from_torch(module.state_dict(), spec(time, how))
    one = () if how == "unsqueeze" else (1,)
    same(module, model, lambda n: (2, *one, n, BINS) if time == 2 else (2, *one, BINS, n), time)
    assert model.streamable


def test_numbers_of_all_frames_and_pictures_that_come_out():
    conv = nn.Conv2d(1, 2, 3, padding=1)
    flat = randomised(nn.Sequential(conv, nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(2 * 6 * 4, 3)))
    lines = (
        f"input channels=1 bins={BINS} length=8\n0: Conv2d padding=1\nrelu\nAvgPool2d 2\nflatten\n4: Linear"
    )
    same(flat, rnnrt.from_torch(flat.state_dict(), lines), lambda n: (2, 1, n, BINS), 2, lengths=(8,))
    mask = randomised(nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Sigmoid()))
    lines = f"input channels=1 bins={BINS} time_last\n0: Conv2d padding=same\nsigmoid"
    model = rnnrt.from_torch(mask.state_dict(), lines)
    same(mask, model, lambda n: (2, 1, BINS, n), 3)
    pooled = randomised(
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))
    )
    lines = f"input channels=1 bins={BINS}\n0: Conv2d\nAdaptiveAvgPool2d 1\nflatten\n3: Linear"
    same(pooled, rnnrt.from_torch(pooled.state_dict(), lines), lambda n: (2, 1, n, BINS), 2)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("c: Conv2d", "size of the input's pictures.*input channels=C bins=N"),
        ("input channels=1 bins=5\nc: Conv2d\nl: Linear", "Linear cannot read a picture.*frames"),
        ("input features=5\nc: Conv2d", "reads a picture.*unsqueeze"),
        ("input channels=1 bins=5\nc: Conv2d stride=1,2,3", "impossible value"),
        ("input channels=1 bins=5\nc: Conv2d kernel_size=5", "not what the tensors say"),
        ("input channels=1 bins=5\nc: Conv2d\nframes channels_first", r"frames \[bins_first\]"),
        ("input channels=1 bins=5\nc: Conv2d\nsoftmax", "cannot read a picture"),
    ],
)
def test_lines_that_do_not_fit_are_refused(lines, words):
    tensors = {"c.weight": np.ones((2, 1, 3, 3)), "c.bias": np.ones(2)}
    if "Linear" in lines:
        tensors |= {"l.weight": np.ones((3, 2)), "l.bias": np.ones(3)}
    with pytest.raises(RnnrtError, match=words):
        rnnrt.from_torch({n: a.astype(np.float32) for n, a in tensors.items()}, lines)


def test_a_draft_names_the_2d_layers():
    module = Keywords(2, "frames")
    with pytest.raises(UnsupportedModelError) as caught:
        rnnrt.from_torch(module.state_dict())
    for line in ("input channels=? bins=?", "conv: Conv2d stride=?", "norm: BatchNorm2d", "gru: GRU"):
        assert line in caught.value.draft
