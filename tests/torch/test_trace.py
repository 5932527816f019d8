"""Forwards that a trace does not hold: what they leave behind, draw or ask for."""

import numpy as np
import pytest
from expect import TOLERANCE, distance
from needs import need

import rnnrt
from rnnrt.errors import UnsupportedModelError

torch = need("torch")
import torch.nn.functional as F
from torch import nn


class _Layers(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.fc, self.norm = nn.LSTM(4, 4, batch_first=True), nn.Linear(4, 2), nn.BatchNorm1d(4)
        self.register_buffer("calls", torch.zeros(1))


class DropoutWithoutTraining(_Layers):
    def forward(self, x):
        return F.dropout(self.rnn(x)[0], 0.5)


class DropoutTold(_Layers):
    def forward(self, x):
        return F.dropout(self.rnn(x)[0], training=True)


class BatchStatistics(_Layers):
    def forward(self, x):
        norm, y = self.norm, self.rnn(x)[0].transpose(1, 2)
        return F.batch_norm(y, norm.running_mean, norm.running_var, norm.weight, norm.bias, True)


class CountsItsCalls(_Layers):
    def forward(self, x):
        self.calls += 1
        return self.rnn(x)[0] * self.calls


class ReplacesItsBuffer(_Layers):
    def forward(self, x):
        self.calls = self.calls + 1
        return self.rnn(x)[0] * self.calls


class DrawsNoise(_Layers):
    def forward(self, x):
        return self.rnn(x)[0] + torch.randn(4)


class AsksForATuple(_Layers):
    """torch.fx hands out no tuple, so the trace would take the cell state for the hidden one."""

    def forward(self, x):
        _, state = self.rnn(x)
        if isinstance(state, tuple):
            state = state[0]
        return self.fc(state[-1]).view(x.size(0), -1)


@pytest.mark.parametrize(
    "cls, match",
    [
        (DropoutWithoutTraining, "drops out after eval"),
        (DropoutTold, "drops out after eval"),
        (BatchStatistics, "each batch's own statistics"),
        (CountsItsCalls, "changes the tensor 'calls'"),
        (ReplacesItsBuffer, "changes the tensor 'calls'"),
        (DrawsNoise, "draws random numbers"),
        (AsksForATuple, "types that forward asks for"),
    ],
)
def test_a_forward_that_answers_otherwise_than_its_trace_is_refused_and_left_alone(cls, match):
    module = cls()
    before = {name: t.clone() for name, t in module.state_dict().items()}
    with pytest.raises(UnsupportedModelError, match=match) as raised:
        rnnrt.from_torch(module)
    assert cls.__name__ in str(raised.value)
    assert all(torch.equal(before[name], t) for name, t in module.state_dict().items())


def test_dropout_that_is_told_self_training_is_the_identity():
    class Told(_Layers):
        def forward(self, x):
            return F.alpha_dropout(F.dropout(self.rnn(x)[0], 0.5, self.training), 0.3)

    module, x = Told(), torch.randn(2, 5, 4)
    assert (
        distance(module.eval()(x).detach().numpy(), rnnrt.from_torch(module.train())(x.numpy())) <= TOLERANCE
    )


def test_a_bare_layer_in_training_mode_keeps_its_spectral_norm():
    module = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3))
    before = {name: t.clone() for name, t in module.state_dict().items()}
    model = rnnrt.from_torch(module.train())
    assert all(torch.equal(before[name], t) for name, t in module.state_dict().items())
    x = torch.randn(2, 5, 4)
    assert distance(module.eval()(x).detach().numpy(), model(x.numpy())) <= TOLERANCE


def test_a_method_put_in_place_of_forward_is_not_overlooked():
    module = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    module[1].forward = lambda x: torch.tanh(x)
    with pytest.raises(UnsupportedModelError, match=r"'1' \(ReLU\) is not supported"):
        rnnrt.from_torch(module)


def test_what_wraps_a_module_is_taken_off_or_refused_by_name():
    inner = nn.Sequential(nn.Linear(4, 3), nn.Tanh())
    x = np.random.RandomState(0).randn(2, 5, 4).astype(np.float32)
    expected = rnnrt.from_torch(inner)(x)
    for wrapped in (nn.DataParallel(inner), torch.compile(inner)):
        assert np.array_equal(rnnrt.from_torch(wrapped)(x), expected)
    with pytest.warns(DeprecationWarning):
        script = torch.jit.script(inner)
    with pytest.raises(UnsupportedModelError, match="a live TorchScript module.*from_torchscript"):
        rnnrt.from_torch(script)
