"""Programs of torch.export, live and saved, against the modules they were made of."""

import itertools

import numpy as np
import pytest
from command import run
from needs import need

import rnnrt
from rnnrt import UnsupportedModelError

torch = need("torch")
from torch_modules import Parts

F, nn, Dim = torch.nn.functional, torch.nn, torch.export.Dim


def program(module, *example, left_open=False, **options):
    sizes = tuple({k: Dim.AUTO for k in range(x.ndim)} for x in example) if left_open else None
    return torch.export.export(module.eval(), example, dynamic_shapes=sizes, **options)


def saved(made, tmp_path):
    torch.export.save(made, tmp_path / "m.pt2")
    return tmp_path / "m.pt2"


def answers(module, x):
    with torch.no_grad():
        return module(torch.from_numpy(x)).numpy()


KINDS = (nn.LSTM, nn.GRU, nn.RNN)
GRID = list(itertools.product(KINDS, (False, True), (1, 2), (False, True), (False, True)))


@pytest.mark.parametrize("kind, both_ways, layers, batch_first, bias", GRID)
def test_an_archive_of_a_recurrent_layer_is_the_live_layer(
    kind, both_ways, layers, batch_first, bias, tmp_path
):
    torch.manual_seed(0)
    options = {"batch_first": batch_first, "bias": bias, "bidirectional": both_ways, "num_layers": layers}
    module = Parts(lambda m, x: m.rnn(x)[0], rnn=kind(3, 4, **options))
    live = rnnrt.from_torch(module)
    path = saved(program(module, torch.randn(2, 7, 3), left_open=layers == 2), tmp_path)
    read = rnnrt.from_pt2(path)
    assert [n for n in read.graph.signals] == [n for n in live.graph.signals]
    for shape in ((2, 7, 3), (5, 1, 3), (1, 40, 3)):
        x = np.random.RandomState(1).standard_normal(shape).astype(np.float32)
        assert (read(x) == live(x)).all()
        np.testing.assert_allclose(read(x), answers(module, x), atol=1e-6)


def test_a_projection_a_nonlinearity_and_final_states(tmp_path):
    torch.manual_seed(0)
    module = Parts(
        lambda m, x: (m.b(m.a(x)[0])[1][-1], m.a(x)[1][1][0]),
        a=nn.LSTM(3, 5, proj_size=2, batch_first=True),
        b=nn.RNN(2, 4, nonlinearity="relu", batch_first=True),
    )
    model = rnnrt.from_pt2(saved(program(module, torch.randn(2, 7, 3)), tmp_path))
    x = torch.randn(3, 11, 3)
    with torch.no_grad():
        wanted = module(x)
    for y, z in zip(model(x.numpy()), wanted, strict=True):
        np.testing.assert_allclose(y, z.numpy(), atol=1e-6)


def test_a_live_program_has_torch_to_answer(tmp_path):
    torch.manual_seed(0)
    module = Parts(lambda m, x: m.fc(m.rnn(x)[0]), rnn=nn.LSTM(3, 4, batch_first=True), fc=nn.Linear(4, 2))
    made = program(module, torch.randn(3, 7, 3))  # of 3 rows alone, says the file
    model = rnnrt.from_pt2(made)
    assert model.golden_by == f"torch {torch.__version__.partition('+')[0]}"
    model.save(tmp_path / "m.rnnrt")
    rnnrt.load(tmp_path / "m.rnnrt", verify=True)
    assert rnnrt.convert(made).golden_by == model.golden_by


def test_normalised_weights_are_worked_out(tmp_path):
    torch.manual_seed(0)
    norm, spectral = nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm
    module = Parts(
        lambda m, x: m.fc(F.pad(m.b(F.relu(m.a(x))), (0, 2)).transpose(1, 2)),
        a=norm(nn.Conv1d(3, 4, 3)),
        b=norm(nn.Conv1d(4, 4, 1), dim=None),
        fc=spectral(nn.Linear(4, 2)),
    )
    for left_open in (False, True):
        path = saved(program(module, torch.randn(2, 3, 9), left_open=left_open), tmp_path)
        model = rnnrt.from_pt2(path)
        x = torch.randn(2, 3, 9).numpy()
        np.testing.assert_allclose(model(x), answers(module, x), atol=1e-6)


def test_a_learned_state_of_any_batch(tmp_path):
    module = Parts(lambda m, x: m.rnn(x, m.start.expand(-1, x.size(1), -1))[0], rnn=nn.GRU(3, 4))
    module.start = nn.Parameter(torch.randn(1, 1, 4))
    for left_open in (False, True):
        model = rnnrt.from_pt2(saved(program(module, torch.randn(7, 2, 3), left_open=left_open), tmp_path))
        for batch in (1, 2, 5):
            x = torch.randn(9, batch, 3).numpy()
            np.testing.assert_allclose(model(x), answers(module, x), atol=1e-6)


FRAMES, CHANNELS = (2, 16, 4), (2, 4, 16)
OPERATORS = {
    "instance norm": (CHANNELS, lambda m, x: m.part(x), nn.InstanceNorm1d(4, affine=True)),
    "group norm": (CHANNELS, lambda m, x: m.part(x), nn.GroupNorm(2, 4)),
    "rms norm": (FRAMES, lambda m, x: m.part(x), nn.RMSNorm(4)),
    "copies": (CHANNELS, lambda m, x: F.interpolate(m.part(x), scale_factor=2), nn.Conv1d(4, 4, 1)),
    "lines": (
        CHANNELS,
        lambda m, x: F.interpolate(m.part(x), scale_factor=3.0, mode="linear"),
        nn.Conv1d(4, 4, 1),
    ),
    "transposed": (CHANNELS, lambda m, x: m.part(x), nn.ConvTranspose1d(4, 3, 4, 2, 1, groups=1)),
    "reflected": (CHANNELS, lambda m, x: m.part(x), nn.Conv1d(4, 4, 3, padding=1, padding_mode="reflect")),
    "greatest frame": (CHANNELS, lambda m, x: m.part(x).flatten(1), nn.AdaptiveMaxPool1d(1)),
    "gated": (CHANNELS, lambda m, x: F.glu(m.part(x), 1), nn.Conv1d(4, 6, 3)),
    "ids": ((2, 16), lambda m, x: m.part(x).tanh(), nn.Embedding(9, 4)),
    "attention": (FRAMES, lambda m, x: (torch.softmax(m.part(x), 1) * x).sum(1), nn.Linear(4, 1)),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_of_aten(name):
    shape, call, part = OPERATORS[name]
    torch.manual_seed(0)
    module = Parts(call, part=part)
    x = torch.randint(0, 9, shape) if name == "ids" else torch.randn(shape)
    model = rnnrt.from_pt2(program(module, x, left_open=True))
    np.testing.assert_allclose(model(x.numpy()), answers(module, x.numpy()), atol=1e-5)


# ---- frozen time -------------------------------------------------------------------------------------------


def rnn(call):
    """A program whose number of frames torch.export writes as that of the example."""
    return Parts(lambda m, x: call(m, m.rnn(x)[0]), rnn=nn.GRU(3, 4, batch_first=True), fc=nn.Linear(4, 2))


FREE = {
    "last": lambda m, y: y[:, -1],
    "first": lambda m, y: y[:, 0],
    "without the last": lambda m, y: y[:, :-1],
    "mean": lambda m, y: y.mean(1),
    "softmax over time": lambda m, y: (torch.softmax(m.fc(y), 1)).sum(1),
    "scaled": lambda m, y: y * 3 + 0.5,
    "greatest": lambda m, y: y.amax(1),
    "causal": lambda m, y: F.avg_pool1d(F.pad(y.transpose(1, 2), (2, 0)), 3, 1),
}
#: what holds for the frames of the example alone, for Python worked it out from them
FROZEN = {
    "sum by length": lambda m, y: y.sum(1) / y.size(1),
    "one less": lambda m, y: y.sum(1) * (1 / (y.size(1) - 1)),
    "root of the length": lambda m, y: y.sum(1) / y.size(1) ** 0.5,
    "middle": lambda m, y: y[:, y.size(1) // 2],
    "second half": lambda m, y: y[:, y.size(1) // 2 :],
    "all but three by number": lambda m, y: y[:, : y.size(1) - 3],
    "loop": lambda m, y: sum(y[:, t] * t for t in range(y.size(1))),
    "halves": lambda m, y: y.reshape(y.size(0), -1)[:, :4],
    "pool over all": lambda m, y: F.avg_pool1d(y.transpose(1, 2), y.size(1)),
    "repeated": lambda m, y: y[:, -1:].repeat(1, y.size(1), 1),
    "to eight": lambda m, y: F.avg_pool1d(F.pad(y.transpose(1, 2), (0, -y.size(1) % 8)), 2, 2),
}


@pytest.mark.parametrize("name", FREE)
def test_what_treats_frames_alike_takes_any_number(name, tmp_path):
    torch.manual_seed(0)
    module = rnn(FREE[name])
    model = rnnrt.from_pt2(saved(program(module, torch.randn(2, 7, 3), left_open=True), tmp_path))
    for frames in (7, 2, 12):
        x = torch.randn(2, frames, 3).numpy()
        np.testing.assert_allclose(model(x), answers(module, x), atol=1e-6)
    assert any("takes any number" in note for note in model.assumptions)


@pytest.mark.parametrize("name", FROZEN)
def test_what_may_depend_on_the_number_of_frames_takes_that_number(name, tmp_path):
    torch.manual_seed(0)
    module = rnn(FROZEN[name])
    path = saved(program(module, torch.randn(2, 7, 3), left_open=True), tmp_path)
    try:
        model = rnnrt.from_pt2(path)
    except UnsupportedModelError:
        return
    x = torch.randn(2, 7, 3).numpy()
    np.testing.assert_allclose(model(x), answers(module, x), atol=1e-5)
    with pytest.raises(rnnrt.ShapeError):
        model(torch.randn(2, 9, 3).numpy())
    assert any("exactly the 7 frames" in note for note in model.assumptions)


def test_most_of_these_are_read(tmp_path):
    torch.manual_seed(0)
    read = 0
    for call in FROZEN.values():
        try:
            rnnrt.from_pt2(program(rnn(call), torch.randn(2, 7, 3), left_open=True))
            read += 1
        except UnsupportedModelError:
            pass
    assert read >= len(FROZEN) - 2


def test_time_that_closes_on_the_way():
    """A convolution leaves time open in the file, the LSTM behind it does not, and a loop runs over that."""

    def call(m, x):
        y = m.rnn(m.conv(x).transpose(1, 2))[0]
        return sum(y[:, t] * (t + 2) for t in range(y.size(1)))

    torch.manual_seed(0)
    module = Parts(call, conv=nn.Conv1d(3, 4, 2, stride=2), rnn=nn.LSTM(4, 4, batch_first=True))
    made = program(module, torch.randn(2, 3, 10), left_open=True)
    sizes = next(n for n in made.graph.nodes if n.name == "x").meta["val"].shape
    assert not isinstance(sizes[2], int)  # it is open in the file
    model = rnnrt.from_pt2(made)
    x = torch.randn(2, 3, 10).numpy()
    assert model.inputs["x"] == (None, 3, 10)
    np.testing.assert_allclose(model(x), answers(module, x), atol=1e-5)


def test_a_branch_by_the_number_of_frames(tmp_path):
    conv = nn.Conv1d(3, 4, 3)
    even = Parts(lambda m, x: m.conv(x) * (2.0 if x.size(2) % 2 == 0 else 5.0), conv=conv)
    model = rnnrt.from_pt2(program(even, torch.randn(2, 3, 10), left_open=True))
    assert model.inputs["x"] == (None, 3, 10)
    long = Parts(lambda m, x: m.conv(x) * (2.0 if x.size(2) > 50 else 5.0), conv=conv)
    model = rnnrt.from_pt2(program(long, torch.randn(2, 3, 60), left_open=True))
    assert any("exported for 51 to any number of frames" in note for note in model.assumptions)
    model = rnnrt.from_pt2(program(long, torch.randn(2, 3, 40), left_open=True))
    assert any("to 50 frames" in note for note in model.assumptions)


# ---- refusals ----------------------------------------------------------------------------------------------


def test_decomposed_programs_are_refused(tmp_path):
    module = Parts(lambda m, x: m.rnn(x)[0], rnn=nn.LSTM(3, 4, batch_first=True))
    made = program(module, torch.randn(2, 7, 3)).run_decompositions()
    with pytest.raises(UnsupportedModelError, match="unrolled.*before run_decompositions"):
        rnnrt.from_pt2(saved(made, tmp_path))


def test_states_that_a_module_keeps_are_refused():
    class Keeps(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.GRU(3, 4)
            self.register_buffer("h", torch.zeros(1, 2, 4))

        def forward(self, x):
            y, h = self.rnn(x, self.h)
            self.h.copy_(h)
            return y

    with pytest.raises(UnsupportedModelError, match="changes 'h', which it keeps.*state="):
        rnnrt.from_pt2(program(Keeps(), torch.randn(7, 2, 3)))


def test_other_refusals():
    x = torch.randn(2, 7, 3)
    active = Parts(lambda m, x: m.rnn(x)[0], rnn=nn.LSTM(3, 4, 2, dropout=0.5, batch_first=True))
    with pytest.raises(UnsupportedModelError, match="dropout between the layers is active.*eval"):
        rnnrt.from_pt2(torch.export.export(active.train(), (x,)))
    learned = Parts(lambda m, x: m.rnn(x, m.start)[0], rnn=nn.GRU(3, 4, batch_first=True))
    learned.start = nn.Parameter(torch.randn(1, 2, 4))
    with pytest.raises(UnsupportedModelError, match="the initial state must be"):
        rnnrt.from_pt2(program(learned, x))
    with pytest.raises(UnsupportedModelError, match="operator sort is not supported"):
        rnnrt.from_pt2(program(Parts(lambda m, x: x.sort(1)[0]), x))
    with pytest.raises(UnsupportedModelError, match="Use rnnrt.from_pt2"):
        rnnrt.from_torch(program(active, x))


def test_a_part_without_gradients_is_read(tmp_path):
    def call(m, x):
        with torch.no_grad():
            y = m.fc(x)
        return m.rnn(y)[0]

    module = Parts(call, fc=nn.Linear(3, 3), rnn=nn.GRU(3, 4, batch_first=True))
    model = rnnrt.from_pt2(saved(program(module, torch.randn(2, 7, 3)), tmp_path))
    x = torch.randn(1, 5, 3).numpy()
    np.testing.assert_allclose(model(x), answers(module, x), atol=1e-6)


def test_double_and_half_weights_are_said(tmp_path):
    module = Parts(lambda m, x: m.rnn(x)[0], rnn=nn.GRU(3, 4, batch_first=True)).double()
    model = rnnrt.from_pt2(program(module, torch.randn(2, 7, 3).double()))
    assert any("float64 numbers are computed with in float32" in note for note in model.assumptions)


def test_an_input_nobody_uses_is_left_out():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 2)

        def forward(self, x, z):
            return self.fc(x)

    model = rnnrt.from_pt2(program(Two(), torch.randn(2, 7, 3), torch.randn(2, 2)))
    assert list(model.inputs) == ["x"] and any(
        "'z' of the program is used by nothing" in n for n in model.assumptions
    )


def test_verify_against_torch(tmp_path, capsys):
    module = Parts(lambda m, x: m.rnn(x)[0], rnn=nn.LSTM(3, 4, batch_first=True))
    path = saved(program(module, torch.randn(1, 7, 3)), tmp_path)
    code, out, _ = run(capsys, "verify", path, "--against", "torch")
    assert code == 0 and "of the answers of torch" in out
    code, out, _ = run(capsys, "verify", path)
    assert code == 0 and "not compared" in out
