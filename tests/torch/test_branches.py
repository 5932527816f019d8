"""Specs with branches: networks as projects write them, each imported from its state dict alone and held
against the module itself; and what is refused."""

import numpy as np
import pytest
from needs import need

import rnnrt
from rnnrt.errors import RnnrtError

# ---- modules -----------------------------------------------------------------------------------------------


def kws(torch):
    """Keyword spotting: convolutions over frames, two GRUs in both directions, attention over time."""
    nn = torch.nn

    class KeywordSpotter(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv1d(10, 12, 5, stride=2, padding=2), nn.BatchNorm1d(12)
            self.conv2, self.bn2 = nn.Conv1d(12, 12, 3, padding=1, groups=3), nn.BatchNorm1d(12)
            self.gru = nn.GRU(12, 7, 2, batch_first=True, bidirectional=True)
            self.attn, self.fc = nn.Linear(14, 1), nn.Linear(14, 5)

        def forward(self, x):
            x = torch.relu(self.bn1(self.conv1(x)))
            x = torch.relu(self.bn2(self.conv2(x))) + x
            x, _ = self.gru(x.transpose(1, 2))
            weights = torch.softmax(self.attn(x), dim=1)
            return self.fc((weights * x).sum(1)).log_softmax(-1)

    return KeywordSpotter(), (torch.randn(2, 10, 31),)


KWS = """
input channels_first
conv1: Conv1d stride=2 padding=2
bn1: BatchNorm1d
a = relu
conv2: Conv1d padding=1 groups=3
bn2: BatchNorm1d
relu
add a
x = gru: GRU
attn: Linear
softmax dim=1
mul x
sum
fc: Linear
log_softmax
"""


def resnet(torch):
    """A residual network over time with a projected shortcut, then a GRU whose last state decides."""
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, width, out, stride):
            super().__init__()
            self.conv1 = nn.Conv1d(width, out, 3, stride, 1, bias=False)
            self.bn1, self.bn2 = nn.BatchNorm1d(out), nn.BatchNorm1d(out)
            self.conv2 = nn.Conv1d(out, out, 3, 1, 1, bias=False)
            self.short = nn.Conv1d(width, out, 1, stride) if stride > 1 else nn.Identity()

        def forward(self, x):
            y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
            return torch.relu(y + self.short(x))

    class ResNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = Block(3, 8, 2)
            self.gru, self.head = nn.GRU(8, 6, batch_first=True), nn.Linear(6, 2)

        def forward(self, x):
            _, h = self.gru(self.block(x).transpose(1, 2))
            return self.head(h[-1])

    return ResNet(), (torch.randn(2, 3, 40),)


RESNET = """
input channels_first
block.conv1: Conv1d stride=2 padding=1
block.bn1: BatchNorm1d
relu
block.conv2: Conv1d padding=1
y = block.bn2: BatchNorm1d
block.short: Conv1d input stride=2
add y
relu
_, h = gru: GRU
head: Linear h
"""


def tcn(torch):
    """The temporal convolutional network of Bai et al.: padded convolutions whose last frames are cut off."""
    nn = torch.nn

    class Level(nn.Module):
        def __init__(self, width, out, dilation):
            super().__init__()
            norm = torch.nn.utils.parametrizations.weight_norm
            self.pad = 2 * dilation
            self.conv1 = norm(nn.Conv1d(width, out, 3, padding=self.pad, dilation=dilation))
            self.conv2 = norm(nn.Conv1d(out, out, 3, padding=self.pad, dilation=dilation))
            self.down = nn.Conv1d(width, out, 1) if width != out else None

        def forward(self, x):
            y = torch.relu(self.conv1(x)[:, :, : -self.pad])
            y = torch.relu(self.conv2(y)[:, :, : -self.pad])
            return torch.relu(y + (x if self.down is None else self.down(x)))

    class TCN(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.out = nn.Sequential(Level(3, 6, 4)), nn.Linear(6, 2)

        def forward(self, x):
            return self.out(self.net(x.transpose(1, 2)).transpose(1, 2))

    return TCN(), (torch.randn(2, 50, 3),)


TCN = """
net.0.conv1: Conv1d padding=8 dilation=4
crop 0 8
relu
net.0.conv2: Conv1d padding=8 dilation=4
crop 0 8
y = relu
net.0.down: Conv1d input
add y
relu
out: Linear
"""


def mask(torch):
    """A speech enhancer: a GRU estimates the mask of a spectrum, and whether somebody speaks."""
    nn = torch.nn

    class Enhancer(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.inp = nn.LayerNorm(16), nn.Linear(16, 12)
            self.gru, self.mask, self.vad = (
                nn.GRU(12, 12, batch_first=True),
                nn.Linear(24, 16),
                nn.Linear(12, 1),
            )

        def forward(self, spectrum):
            x = torch.nn.functional.elu(self.inp(self.norm(torch.log(spectrum + 0.1))))
            y, _ = self.gru(x)
            m = torch.sigmoid(self.mask(torch.cat([x, y], dim=-1)))
            return m * spectrum, torch.sigmoid(self.vad(y))

    return Enhancer(), (torch.rand(2, 20, 16),)


MASK = """
add input 0.1
log
norm: LayerNorm
inp: Linear
x = elu
y = gru: GRU
cat x y
mask: Linear
sigmoid
enhanced = mul input
vad: Linear y
voice = sigmoid
output enhanced voice
"""


def autoencoder(torch):
    """The LSTM autoencoder: the encoder's last state, repeated, is what the decoder reads."""
    nn = torch.nn

    class Autoencoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.decoder = nn.LSTM(3, 8, 2, batch_first=True), nn.LSTM(8, 8, batch_first=True)
            self.out = nn.Linear(8, 3)

        def forward(self, x):
            _, (h, _) = self.encoder(x)
            y, _ = self.decoder(h[-1].unsqueeze(1).repeat(1, x.size(1), 1))
            return self.out(y)

    return Autoencoder(), (torch.randn(2, 9, 3),)


AUTOENCODER = """
_, h = encoder: LSTM
repeat h input
decoder: LSTM
out: Linear
"""


def translator(torch):
    """An encoder's states start the decoder, with two layers in two directions summed up by a bridge."""
    nn = torch.nn

    class Translator(nn.Module):
        def __init__(self):
            super().__init__()
            self.emb, self.emb2 = nn.Embedding(11, 4), nn.Embedding(9, 5)
            self.enc, self.dec = nn.LSTM(4, 6, 2, batch_first=True), nn.LSTM(5, 6, 2, batch_first=True)
            self.out = nn.Linear(6, 9)

        def forward(self, source, target):
            _, state = self.enc(self.emb(source))
            y, _ = self.dec(self.emb2(target), state)
            return self.out(y)

    return Translator(), (torch.randint(0, 11, (2, 7)), torch.randint(0, 9, (2, 5)))


TRANSLATOR = """
source = input ids
target = input ids
emb: Embedding source
_, h, c = enc: LSTM
y = emb2: Embedding target
dec: LSTM y h c
out: Linear
"""


def wavenet(torch):
    """Gated dilated convolutions with skips, conditioned on a speaker."""
    nn = torch.nn

    class WaveNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.start, self.cond = nn.Conv1d(1, 6, 1), nn.Linear(4, 12)
            self.gated = nn.ModuleList(nn.Conv1d(6, 12, 2, dilation=2**k) for k in range(2))
            self.skip, self.end = nn.Conv1d(6, 5, 1), nn.Conv1d(5, 1, 1)
            self.slope, self.scale = nn.PReLU(5), nn.Parameter(torch.rand(5, 1))

        def forward(self, x, speaker):
            x = self.start(x)
            for k, conv in enumerate(self.gated):
                y = conv(torch.nn.functional.pad(x, (2**k, 0))) + self.cond(speaker).unsqueeze(-1)
                f, g = y.chunk(2, dim=1)
                x = torch.tanh(f) * torch.sigmoid(g) + x
            return self.end(self.slope(self.skip(x)) * self.scale)

    return WaveNet(), (torch.randn(2, 1, 30), torch.randn(2, 4))


WAVENET = """
x = input channels_first
speaker = input once
c = cond: Linear speaker
a = start: Conv1d x
ZeroPad1d 1 0
gated.0: Conv1d
add c
f, g = chunk 2 dim=1
f = tanh f
g = sigmoid g
mul f g
a = add a
ZeroPad1d 2 0
gated.1: Conv1d dilation=2
add c
f, g = chunk 2 dim=1
f = tanh f
g = sigmoid g
mul f g
add a
skip: Conv1d
slope: PReLU
mul scale
end: Conv1d
"""


def excited(torch):
    """Squeeze and excite, group norm, GLU, root mean square norm."""
    nn = torch.nn

    class Excited(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.gn = nn.Conv1d(4, 12, 3, padding=1), nn.GroupNorm(3, 12, eps=1e-3)
            self.squeeze, self.excite = nn.Linear(6, 2), nn.Linear(2, 6)
            self.rms, self.out = nn.RMSNorm(6), nn.Linear(6, 6, bias=False)

        def forward(self, x):
            x = nn.functional.glu(self.gn(self.conv(x)), dim=1)
            s = torch.sigmoid(self.excite(torch.relu(self.squeeze(x.mean(2)))))
            x = (x * s.unsqueeze(2)).transpose(1, 2)
            return self.out(self.rms(x)) - 2.0 * x[..., 0:1] / (x.abs() + 1.0)

    return Excited(), (torch.randn(2, 4, 15),)


EXCITED = """
input channels_first
conv: Conv1d padding=1
gn: GroupNorm num_groups=3 eps=1e-3
x = GLU dim=1
mean
squeeze: Linear
relu
excite: Linear
sigmoid
x = mul x btf
one = narrow 0 1
abs x
d = add 1.0
r = rms: RMSNorm x
"""
EXCITED += """
y = out: Linear r
mul one 2.0
div d
sub y
neg
"""

PROJECTS = {
    "keyword spotting": (kws, KWS),
    "residual network and GRU": (resnet, RESNET),
    "temporal convolutions": (tcn, TCN),
    "speech mask": (mask, MASK),
    "autoencoder": (autoencoder, AUTOENCODER),
    "translator": (translator, TRANSLATOR),
    "gated convolutions": (wavenet, WAVENET),
    "squeeze and excite": (excited, EXCITED),
}
#: The five that a spec of at most 15 lines describes.
SHORT = (
    "keyword spotting",
    "residual network and GRU",
    "temporal convolutions",
    "speech mask",
    "autoencoder",
)


def made(name):
    torch = need("torch")
    torch.manual_seed(1)
    module, x = PROJECTS[name][0](torch)
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm1d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2.0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1.3).add_(0.02)
        module.eval()
        y = module(*x)
    y = [part.numpy() for part in (y if isinstance(y, tuple) else (y,))]
    return module.state_dict(), tuple(part.numpy() for part in x), y


def answers(model, x):
    found = model(*x)
    return found if isinstance(found, tuple) else (found,)


@pytest.mark.parametrize("name", PROJECTS)
def test_a_project_imports_from_its_state_dict_alone(name):
    state, x, y = made(name)
    model = rnnrt.from_torch(state, PROJECTS[name][1])
    for found, expected in zip(answers(model, x), y, strict=True):
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= 1e-5 * max(1, np.abs(expected).max())


def test_at_most_fifteen_lines():
    for name in SHORT:
        assert len(PROJECTS[name][1].split("\n")) - 2 <= 15


@pytest.mark.parametrize("name", ["temporal convolutions", "speech mask", "gated convolutions"])
def test_a_project_streams_with_the_bits_of_a_whole_call(name):
    state, x, _ = made(name)
    model = rnnrt.from_torch(state, PROJECTS[name][1])
    axes = {n: model.graph[n].axes for n in model.graph.inputs}
    frames = [np.moveaxis(a, 1, -1) if own == "bft" else a for a, own in zip(x, axes.values())]
    once = {n: a[0] for n, a in zip(axes, frames) if a.ndim == 2}
    stream = model.stream(inputs=once) if once else model.stream()
    whole = answers(model, tuple(a[:1] for a in x))
    live = frames[0][0]
    pushed = [stream.push(live[:7]), stream.push(live[7:8]), stream.push(live[8:]), stream.flush()]
    for k, expected in enumerate(whole):
        parts = [p[k] if isinstance(p, tuple) else p for p in pushed]
        expected = np.moveaxis(expected, 1, -1) if name == "gated convolutions" else expected
        assert np.array_equal(np.concatenate([p for p in parts if p is not None and len(p)]), expected[0])


def test_check_runs_at_once():
    state, x, y = made("keyword spotting")
    assert "compared" not in str(rnnrt.from_torch(state, KWS, check=(x[0], y[0])).assumptions)
    with pytest.raises(rnnrt.VerificationError):
        rnnrt.from_torch(
            state, KWS.replace("padding=1 groups=3", "padding=1 groups=3\ntanh"), check=(x[0], y[0])
        )


#: A part of a spec, what stands there instead, and what is said of it; in the speech mask.
MISTAKES = [
    ("cat x y", "cat x z", "line 8.*no line above has a result called 'z'"),
    ("cat x y", "cat x y input", "mask.*40|40.*mask|24"),
    ("cat x y", "cat x y dim=1", "cat is supported over the features only"),
    ("mul input", "mul x", "different numbers of features"),
    ("x = elu", "btf = elu", "line 6.*cannot have this name.*btf"),
    ("x = elu", "x, z = elu", "line 6.*too few results"),
    ("x = elu", "x=elu", "line 6"),
    ("x = elu", "x= elu", "line 6"),
    ("x = elu", "x =", "line 6.*names no operation"),
    ("y = gru", "y, h, c = gru", "line 7.*too few results"),
    ("vad: Linear y", "vad: Linear x y", "line 12.*too many results"),
    ("log\n", "log\nq = relu input\nadd 0.5 input\n", "line 3.*no line reads the result"),
    ("output enhanced voice", "output enhanced", "line 13.*no line reads the result"),
    ("output enhanced voice", "output enhanced voice\nrelu", "output must be the last line"),
    ("output enhanced voice", "output enhanced voices", "line 14.*'voices'"),
    ("sigmoid\nenhanced", "add\nenhanced", "line 10.*too few results"),
    ("sigmoid\nenhanced", "sub x y input\nenhanced", "line 10.*too many results"),
    ("sigmoid\nenhanced", "sub 1 2\nenhanced", "line 10"),
    ("sigmoid\nenhanced", "input\nenhanced", "line 10.*first line"),
    ("sigmoid\nenhanced", "chunk 2\nenhanced", "line 10.*each with a name"),
    ("sigmoid\nenhanced", "narrow 10 7\nenhanced", "line 10.*features that are there"),
    ("sigmoid\nenhanced", "repeat 3\nenhanced", "line 10.*given once"),
    ("sigmoid\nenhanced", "crop 1\nenhanced", "line 10.*crop takes 2 whole numbers"),
    ("sigmoid\nenhanced", "crop 1 0\nenhanced", "line 11.*different frames"),
    ("sigmoid\nenhanced", "softmax dim=3\nenhanced", "line 10.*features or the frames"),
    ("add input 0.1", "add input 0.1.2", "line 2"),
    ("add input 0.1", "add input norm.weight\nlog\nignore norm.weight", "ignored and used"),
    ("gru: GRU", "gru: GRU x y", "line 7.*'y'"),
]


@pytest.mark.parametrize("old, new, words", MISTAKES)
def test_mistakes_are_named(old, new, words):
    state, _, _ = made("speech mask")
    assert MASK.count(old) == 1
    with pytest.raises(RnnrtError, match=words):
        rnnrt.from_torch(state, MASK.replace(old, new))


def test_an_axis_that_cannot_be_told_is_asked_for():
    """Behind a convolution on (batch, time, features) dim=1 may be the channels or the frames."""
    torch = need("torch")
    conv = torch.nn.Conv1d(3, 4, 3, padding=1)
    x = torch.randn(2, 6, 3)
    state = {f"c.{k}": v for k, v in conv.state_dict().items()}
    with pytest.raises(RnnrtError, match="line 2.*changed the axes.*btf or bft"):
        rnnrt.from_torch(state, "c: Conv1d padding=1\nsoftmax dim=1")
    with torch.no_grad():
        y = conv(x.transpose(1, 2))
    channels = rnnrt.from_torch(state, "c: Conv1d padding=1 bft\nsoftmax dim=1")(x.numpy())
    np.testing.assert_allclose(channels, torch.softmax(y, 1).numpy(), atol=1e-6)
    frames = rnnrt.from_torch(state, "c: Conv1d padding=1 btf\nsoftmax dim=1")(x.numpy())
    np.testing.assert_allclose(frames, torch.softmax(y.transpose(1, 2), 1).numpy(), atol=1e-6)


def test_states_of_packed_rows_are_those_at_their_ends():
    torch = need("torch")
    gru, fc = torch.nn.GRU(3, 4, batch_first=True), torch.nn.Linear(8, 2)
    x, lengths = torch.randn(3, 6, 3), torch.tensor([6, 2, 4])
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    with torch.no_grad():
        out, h = gru(packed)
        out, _ = torch.nn.utils.rnn.pad_packed_sequence(out, batch_first=True, total_length=6)
        y = fc(torch.cat([h[-1], out.mean(1)], -1)).numpy()
    state = {f"gru.{k}": v for k, v in gru.state_dict().items()}
    state |= {f"fc.{k}": v for k, v in fc.state_dict().items()}
    spec = "pack\n_, h = gru: GRU\npad total_length\nmean\ncat h\nfc: Linear"
    spec = spec.replace("_, h = gru", "out, h = gru").replace("cat h", "cat h m").replace("mean", "m = mean")
    model = rnnrt.from_torch(state, spec)
    np.testing.assert_allclose(model(x.numpy(), lengths=lengths.numpy()), y, atol=1e-6)


def test_the_draft_shows_what_sizes_tell_of_branches():
    from rnnrt.importers.spec import build
    from rnnrt.importers.torch.files import read_tensors, unwrap

    draft = {}
    for name in ("residual network and GRU", "speech mask", "temporal convolutions"):
        text = build.draft(unwrap(read_tensors(made(name)[0])))
        draft |= {line.partition(":")[0]: line for line in text.splitlines()}
    assert draft["block.short"].endswith("; fits beside block.conv1 ... block.conv2: add")
    assert draft["net.0.down"].endswith("; fits beside net.0.conv1 ... net.0.conv2: add")
    assert draft["mask"].endswith("; reads as many as inp and gru make together: cat")
    assert draft["block.conv2"].endswith("; as well a ConvTranspose1d, by its tensors")
    assert not [n for n in ("head", "vad", "out", "gru") if "add" in draft[n] or "cat" in draft[n]]
    assert "ConvTranspose1d" not in draft["block.short"]
