"""Every live import is compared with its module and leaves it as it was; what a state dict cannot say, a spec
can.
"""

import numpy as np
import pytest
from needs import need

torch = need("torch")
import fuzz_torch
import torch.nn.functional as F
from torch import nn

import rnnrt
from rnnrt.errors import ShapeError, UnsupportedModelError

X = torch.randn(2, 9, 4, generator=torch.Generator().manual_seed(1))


class Gru(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(4, 5, batch_first=True)

    def forward(self, x):
        return self.gru(x)[0]


class AsksForTheType(Gru):
    def forward(self, x):
        return self.gru((x - 0.5) * 2 if isinstance(x, torch.Tensor) else x)[0]


class AsksForTheTypeWithAState(Gru):
    def forward(self, x, h):
        return self.gru((x - 0.5) * 2 if isinstance(x, torch.Tensor) else x, h)[0]


@pytest.mark.parametrize("prepare", [nn.Module.float, nn.Module.double, nn.Module.half, nn.Module.bfloat16])
@pytest.mark.parametrize("cls", [AsksForTheType, AsksForTheTypeWithAState])
def test_an_import_is_compared_in_the_modules_own_numbers(prepare, cls):
    with pytest.raises(UnsupportedModelError, match="types that forward asks for"):
        rnnrt.from_torch(prepare(cls()))
    assert "assumptions" not in rnnrt.from_torch(prepare(Gru())).graph.metadata


def test_an_example_lets_torch_export_read_what_fx_read_wrongly():
    module = AsksForTheType().eval()
    model = rnnrt.from_torch(module, example=X)
    with torch.no_grad():
        assert np.abs(model(X.numpy()) - module(X).numpy()).max() < 1e-6


def test_what_could_not_be_compared_is_an_assumption():
    class Picky(Gru):
        def __call__(self, x):
            raise ValueError("not now")

    notes = rnnrt.from_torch(Picky()).graph.metadata["assumptions"]
    assert notes[0].startswith("not compared with torch: it does not run") and "not now" in notes[0]


class Causal(nn.Conv1d):
    def _conv_forward(self, x, weight, bias):
        return super()._conv_forward(F.pad(x, (2, 0)), weight, bias)


class Standardised(nn.Conv1d):
    def _conv_forward(self, x, weight, bias):
        return super()._conv_forward(x, weight - 0.25, bias)


class Twice(nn.Linear):
    def __call__(self, x):
        return super().__call__(x) * 2


@pytest.mark.parametrize("cls", [Causal, Standardised])
def test_a_layer_with_arithmetic_of_its_own_is_traced(cls):
    module, x = cls(4, 5, 3), X.transpose(1, 2)
    with torch.no_grad():
        assert np.abs(rnnrt.from_torch(module)(x.numpy()) - module(x).numpy()).max() < 1e-6


def test_a_layer_called_otherwise_is_refused():
    with pytest.raises(UnsupportedModelError, match="torch's answer"):
        rnnrt.from_torch(Twice(4, 5))


# ---- the module stays as it was ----------------------------------------------------------------------------


class Merging(nn.Linear):
    """Low-rank weights that ``train(False)`` adds to the weight in place."""

    def __init__(self, size):
        super().__init__(size, size)
        self.low, self.merged = nn.Parameter(torch.randn(size, size)), False

    def train(self, mode=True):
        super().train(mode)
        if mode == self.merged:
            self.weight.data += self.low.data if not mode else -self.low.data
            self.merged = not mode
        return self

    def forward(self, x):
        return F.linear(x, self.weight if self.merged else self.weight + self.low, self.bias)


class Low(Gru):
    def __init__(self):
        super().__init__()
        self.low = Merging(4)

    def forward(self, x):
        return self.gru(self.low(x))[0]


KINDS = {
    "bare": (lambda: nn.LSTM(4, 5, batch_first=True), None),
    "traced": (Gru, None),
    "merges in eval": (Low, None),
    "exported": (AsksForTheType, X),
    "refused": (AsksForTheType, None),
    "double": (lambda: Gru().double(), None),
    "batch norm": (lambda: nn.Sequential(nn.Conv1d(4, 5, 3), nn.BatchNorm1d(5), nn.Dropout(0.5)), None),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", KINDS)
def test_importing_changes_nothing_of_the_module(name, training):
    make, example = KINDS[name]
    module = make().train(training)

    def facts():
        held = {k: v.numpy().tobytes() for k, v in module.state_dict().items()}
        parts = [
            (m.training, len(m._forward_hooks), len(m._forward_pre_hooks), sorted(vars(m)))
            for m in module.modules()
        ]
        return held, parts, torch.get_rng_state().tolist()

    before = facts()
    try:
        model = rnnrt.from_torch(module, example=example)
    except UnsupportedModelError:
        assert name == "refused"
    else:
        x = X.transpose(1, 2) if name == "batch norm" else X
        after = model(x.numpy())
        assert np.isfinite(after).all()
    assert facts() == before


def test_tensors_that_a_training_step_left_on_the_module_are_no_obstacle():
    bare, module = nn.GRU(4, 5, batch_first=True), Gru()
    bare.last, module.kept = bare(X)[1:], {"h": [module.gru(X)[1]]}
    for source in (bare, module):
        assert rnnrt.from_torch(source)(X.numpy()).shape == (2, 9, 5)


# ---- no false refusal --------------------------------------------------------------------------------------


class StridedResidual(nn.Module):
    def __init__(self, taps):
        super().__init__()
        self.a, self.b = nn.Conv1d(4, 3, taps, stride=2, padding=taps // 2), nn.Conv1d(4, 3, 1, stride=2)
        self.c = nn.Conv1d(3, 3, 3, stride=3, padding=1)
        self.d = nn.Conv1d(4, 3, 1, stride=6)

    def forward(self, x):
        return self.c(F.relu(self.a(x) + self.b(x))) + self.d(x)


class Normalised(Gru):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.randn(4))
        self.register_buffer("std", torch.rand(4) + 0.5)

    def forward(self, x):
        return self.gru((x - self.mean) / self.std)[0]


class CutToSize(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(4, 5, 3, padding=2)

    def forward(self, x):
        return self.conv(x)[:, :, : x.size(2)]


@pytest.mark.parametrize(
    "make", [*(lambda k=k: StridedResidual(k) for k in (3, 7, 15)), Normalised, CutToSize]
)
def test_sound_programs_import(make):
    module = make()
    for frames in (9, 20, 31):
        x = torch.randn(2, frames, 4) if isinstance(module, Normalised) else torch.randn(2, 4, frames)
        with torch.no_grad():
            assert np.abs(rnnrt.from_torch(module)(x.numpy()) - module(x).numpy()).max() < 1e-5


class Guarded(Gru):
    def forward(self, x):
        return self.gru(x)[0] if x.dim() == 3 else x


@pytest.mark.parametrize(
    "cls, example",
    [
        (Guarded, X[:1]),
        (Gru, {"x": X}),
        (Gru, X.numpy()),
        (AsksForTheTypeWithAState, (X, torch.zeros(1, 2, 5))),
    ],
)
def test_examples_of_every_form(cls, example):
    assert rnnrt.from_torch(cls(), example=example)


@pytest.mark.parametrize("example", [{"z": X}, (X, X), "x", object()])
def test_an_example_that_does_not_fit_is_refused_by_name(example):
    with pytest.raises(UnsupportedModelError, match="example"):
        rnnrt.from_torch(Gru(), example=example)


def test_layers_that_only_pick_features_do_not_tell_their_number():
    class Picks(nn.Module):
        def __init__(self):
            super().__init__()
            self.gru = nn.GRU(2, 3, batch_first=True)

        def forward(self, x):
            return self.gru(x[..., :2])[0]

    with pytest.raises(UnsupportedModelError, match="do not tell the shape"):
        rnnrt.from_torch(Picks())
    assert rnnrt.from_torch(Picks(), example=X)(X.numpy()).shape == (2, 9, 3)


def test_where_torch_goes_on_without_a_frame_the_import_is_not_refused():
    """A few frames are none behind the slice; torch pads them again and answers, rnnrt refuses the call."""

    class Padded(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(4, 3, 3)

        def forward(self, x):
            return self.conv(F.pad(torch.tanh(x[:, :, 1:-2]), (2, 2)))

    module = Padded()
    model = rnnrt.from_torch(module, example=torch.randn(2, 4, 5))  # compared at 2 frames too
    for frames in (4, 30):
        x = torch.randn(2, 4, frames)
        with torch.no_grad():
            assert np.abs(model(x.numpy()) - module(x).numpy()).max() < 1e-5
    assert module(torch.randn(1, 4, 2)).shape == (1, 3, 2)
    with pytest.raises(ShapeError):
        model(np.zeros((1, 4, 2), np.float32))


# ---- state dicts and specs ---------------------------------------------------------------------------------


def test_one_state_dict_a_layer_wrapped_names_and_a_spec_in_a_file(tmp_path):
    torch.manual_seed(0)
    gru, fc = nn.GRU(4, 5, batch_first=True), nn.Linear(5, 3)
    with torch.no_grad():
        wanted = fc(gru(X)[0]).numpy()
    layers = {"gru": gru.state_dict(), "fc": fc.state_dict()}
    flat = {f"{layer}.{name}": t for layer, part in layers.items() for name, t in part.items()}
    text = "gru: GRU\nfc: Linear\n"
    (tmp_path / "net.spec").write_text("\ufeff" + text, encoding="utf-8")
    sources = [
        (layers, text),
        ({"model": layers, "optimizer": {"state": {}}}, text),
        ({"net": {"a": layers}}, text.replace("gru:", "net.a.gru:").replace("fc:", "net.a.fc:")),
        ({f"model.{n}": t for n, t in flat.items()}, text),
        (
            {f"model._orig_mod.{n}": t for n, t in flat.items()},
            text.replace("gru:", "model.gru:").replace("fc:", "model.fc:"),
        ),
        ({n.replace("gru.", "gru.module."): t for n, t in flat.items()}, text),
        (
            {f"model.{n}": t for n, t in flat.items()} | {"criterion.weight": torch.ones(3)},
            text + "ignore criterion.*",
        ),
        (flat, tmp_path / "net.spec"),
        (flat, str(tmp_path / "net.spec")),
    ]
    for source, spec in sources:
        assert np.abs(rnnrt.from_torch(source, spec)(X.numpy()) - wanted).max() < 1e-6
    with pytest.raises(rnnrt.ModelFileError, match="none.spec"):
        rnnrt.from_torch(flat, str(tmp_path / "none.spec"))


class Untransposed(nn.Module):
    """A BatchNorm1d over time, where the number of frames is that of the units."""

    def __init__(self):
        super().__init__()
        self.lstm, self.norm = nn.LSTM(4, 9, batch_first=True), nn.BatchNorm1d(9)

    def forward(self, x):
        return F.avg_pool1d(self.norm(self.lstm(x)[0]), 3, 2, 1)


def test_a_spec_says_where_forward_does_not_transpose():
    module = Untransposed().eval()
    module.norm.running_mean.normal_()
    module.norm.running_var.uniform_(0.5, 2)
    text = "lstm: LSTM\nnorm: BatchNorm1d untransposed\nAvgPool1d 3 stride=2 padding=1 untransposed"
    with torch.no_grad():
        wanted = module(X).numpy()
    made = rnnrt.from_torch(module.state_dict(), "input length=9\n" + text)(X.numpy())
    assert made.shape == wanted.shape and np.abs(made - wanted).max() < 1e-5
    with pytest.raises(ShapeError, match="Begin the spec with: input length=9"):
        rnnrt.from_torch(module.state_dict(), text)
    notes = rnnrt.from_torch(module.state_dict(), "lstm: LSTM\nnorm: BatchNorm1d").graph.metadata[
        "assumptions"
    ]
    assert len(notes) == 1 and "line 2: BatchNorm1d is taken to read (batch, channels, time)" in notes[0]
    with pytest.raises(UnsupportedModelError, match="frames as channels"):
        rnnrt.from_torch(module.state_dict(), "lstm: LSTM\nignore norm.*\nMaxPool1d 3 untransposed")


def test_random_forwards_are_equal_to_torch():
    found = [fuzz_torch.one(seed) for seed in range(30)]
    assert [f for f in found if f[0] not in ("ok", "refused")] == []
    assert sum(kind == "ok" for kind, _, _ in found) >= 27
