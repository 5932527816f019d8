"""nn.ConvTranspose1d: as a module, as torch.nn.functional's, exported, in a spec, with its answer cut.

Each is equal to torch.
"""

import itertools

import numpy as np
import pytest
from expect import refused
from needs import need

torch = need("torch")
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

import rnnrt
from rnnrt import UnsupportedModelError

TOLERANCE = 1e-5
FRAMES = 7


class Functional(nn.Module):
    """The same call of a function, or of a module, and what a program does with its answer."""

    def __init__(self, module, then=lambda y: y):
        super().__init__()
        self.up, self.then = module, then

    def forward(self, x):
        m = self.up
        options = (m.stride, m.padding, m.output_padding, m.groups, m.dilation)
        return self.then(F.conv_transpose1d(x, m.weight, m.bias, *options))


class Called(Functional):
    def forward(self, x):
        return self.then(self.up(x))


def grid():
    for stride, taps, padding, dilation, groups in itertools.product(
        (1, 2, 3), (1, 2, 5), (0, 1), (1, 2), (1, 2)
    ):
        for more in sorted({0, max(stride, dilation) - 1}):
            if (FRAMES - 1) * stride + (taps - 1) * dilation + 1 + more > 2 * padding:
                options = {"stride": stride, "padding": padding, "output_padding": more, "dilation": dilation}
                yield taps, options | {"groups": groups, "bias": taps > 1}


GRID = list(grid())


def made(taps, options, seed=0):
    torch.manual_seed(seed)
    return nn.ConvTranspose1d(4, 6, taps, **options).eval()


def answers_as(model, module, frames=FRAMES):
    x = torch.randn(2, 4, frames, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = module(x).numpy()
    y = model(x.numpy())
    assert y.shape == wanted.shape
    assert np.abs(y - wanted).max() <= TOLERANCE
    stream = model.stream(batch_size=2)
    frames = x.numpy().transpose(0, 2, 1)
    parts = [
        stream.push(frames[:, :3]),
        stream.push(frames[:, 3:4]),
        stream.push(frames[:, 4:]),
        stream.flush(),
    ]
    assert np.concatenate(parts, 1).transpose(0, 2, 1).tobytes() == y.tobytes()


@pytest.mark.parametrize(
    "case", GRID, ids=lambda c: f"{c[0]}-" + "-".join(str(int(v)) for v in c[1].values())
)
def test_every_option(case):
    module = made(*case)
    for wrapped in (module, Functional(module)):
        answers_as(rnnrt.from_torch(wrapped), module)


def test_an_exported_program():
    module = made(4, {"stride": 2, "padding": 1})
    answers_as(rnnrt.from_torch(module, example=torch.zeros(2, 4, FRAMES)), module)


def test_weight_norm_and_an_activation_are_folded_in():
    module = nn.Sequential(
        nn.utils.parametrizations.weight_norm(made(4, {"stride": 2})), nn.LeakyReLU(0.1), nn.Conv1d(6, 2, 3)
    ).eval()
    model = rnnrt.from_torch(module)
    answers_as(model, module)
    assert [layer.kind for layer in model._run_graph.layers] == ["input", "conv_transpose1d", "conv1d"]


@pytest.mark.parametrize(
    "then", [lambda y: y[..., :-2], lambda y: y[:, :, 1:-3], lambda y: y.narrow(1, 0, 3)]
)
def test_the_answer_cut_at_its_ends_streams(then):
    module = Called(made(4, {"stride": 2}), then).eval()
    answers_as(rnnrt.from_torch(module), module)


def test_branches_that_rise_alike_join_and_others_do_not():
    class Branches(nn.Module):
        def __init__(self, **other):
            super().__init__()
            self.a, self.b = made(4, {"stride": 2, "padding": 1}), made(2, {"stride": 2} | other, 1)

        def forward(self, x):
            return self.a(x) + self.b(x)

    module = Branches().eval()
    answers_as(rnnrt.from_torch(module), module)
    with pytest.raises(UnsupportedModelError, match="different frames.*Give example="):
        rnnrt.from_torch(Branches(output_padding=1).eval())


@pytest.mark.parametrize(
    "options", ["stride=2 padding=1 output_padding=1 groups=2", "stride=3 kernel_size=5"]
)
def test_a_spec(options):
    words = dict(word.split("=") for word in options.split() if not word.startswith("kernel"))
    module = nn.Sequential(made(5, {n: int(v) for n, v in words.items()}), nn.ReLU())
    tensors = {"up" + n.removeprefix("0"): t.numpy() for n, t in module.state_dict().items()}
    spec = f"input channels_first\nup: ConvTranspose1d {options}\nrelu"
    answers_as(rnnrt.from_torch(tensors, spec), module)
    with pytest.raises(UnsupportedModelError) as caught:
        rnnrt.from_torch(tensors)
    kind = "ConvTranspose1d" if tensors["up.bias"].size != 4 else "Conv1d"
    assert f"up: {kind} stride=? padding=? dilation=? groups=? output_padding=?" in caught.value.draft


class Packed(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.gru = made(2, {"stride": 2}), nn.GRU(6, 3, batch_first=True)

    def forward(self, x, lengths):
        y = self.up(x).transpose(1, 2)
        packed = pack_padded_sequence(y, lengths, batch_first=True, enforce_sorted=False)
        return self.gru(packed)[1][-1]


class Sized(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = made(2, {"stride": 2})

    def forward(self, x):
        return self.up(x, output_size=[15])


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (Packed(), "lengths cannot be counted in frames behind a transposed convolution"),
        (Sized(), "output_size"),
    ],
)
def test_what_cannot_be_honoured_is_refused(module, words):
    refused(UnsupportedModelError, lambda: rnnrt.from_torch(module.eval()), words)


def test_impossible_options_of_a_spec_are_refused():
    tensors = {"up.weight": np.ones((4, 3, 2), np.float32)}
    for options, words in (("output_padding=2 stride=2", "output_padding must be"), ("groups=3", "groups")):
        with pytest.raises(rnnrt.RnnrtError, match=words):
            rnnrt.from_torch(tensors, f"input channels_first\nup: ConvTranspose1d {options}")
