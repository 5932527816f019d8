"""TorchScript that PyTorch writes, live and saved, against torch.jit.load."""

import numpy as np
import pytest
from command import run
from needs import need

import rnnrt
from rnnrt import UnsupportedModelError

torch = need("torch")
from torch_modules import Parts

F, nn = torch.nn.functional, torch.nn
pytestmark = pytest.mark.filterwarnings("ignore")


def traced(module, *example, frozen=False):
    made = torch.jit.trace(module.eval(), example, strict=False)
    return torch.jit.freeze(made) if frozen else made


def saved(made, tmp_path):
    path = f"{tmp_path}/m.pt"
    torch.jit.save(made, path)
    return path


GRID = ((False, 1, True, True), (True, 2, False, True), (True, 1, True, False), (False, 2, False, False))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("both_ways, layers, batch_first, bias", GRID)
@pytest.mark.parametrize("frozen", [False, True])
def test_a_file_of_a_recurrent_layer_is_the_live_layer(
    kind, both_ways, layers, batch_first, bias, frozen, tmp_path
):
    torch.manual_seed(0)
    options = {"batch_first": batch_first, "bias": bias, "bidirectional": both_ways, "num_layers": layers}
    module = Parts(lambda m, x: m.rnn(x)[0], rnn=kind(3, 4, **options))
    live = rnnrt.from_torch(module)
    path = saved(traced(module, torch.randn(2, 7, 3), frozen=frozen), tmp_path)
    read = rnnrt.from_torchscript(path)
    for shape in ((2, 7, 3), (5, 1, 3), (1, 40, 3)):
        x = np.random.RandomState(1).standard_normal(shape).astype(np.float32)
        assert (read(x) == live(x)).all()


def test_a_live_module_has_torch_to_answer(tmp_path):
    torch.manual_seed(0)
    module = Parts(lambda m, x: m.fc(m.rnn(x)[0]), rnn=nn.LSTM(3, 4, batch_first=True), fc=nn.Linear(4, 2))
    made = traced(module, torch.randn(3, 7, 3))
    model = rnnrt.from_torchscript(made)
    assert model.golden_by == f"torch {torch.__version__.partition('+')[0]}"
    model.save(tmp_path / "m.rnnrt")
    rnnrt.load(tmp_path / "m.rnnrt", verify=True)
    assert rnnrt.convert(made).golden_by == model.golden_by
    with pytest.raises(UnsupportedModelError, match="live TorchScript module.*from_torchscript"):
        rnnrt.from_torch(made)


class Scripted(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.fc = nn.GRU(3, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x):
        if x.size(1) > 3:
            x = x[:, 1:]
        return self.fc(self.rnn(x)[0])


def test_scripted_modules_are_refused_and_their_weights_read(tmp_path):
    module = Scripted().eval()
    path = saved(torch.jit.script(module), tmp_path)
    with pytest.raises(UnsupportedModelError, match="is scripted.*torch.jit.trace.*with a spec"):
        rnnrt.from_torchscript(path)
    model = rnnrt.from_torch(path, "rnn: GRU batch_first=true\nfc: Linear")
    x = torch.randn(2, 3, 3)
    with torch.no_grad():
        np.testing.assert_allclose(model(x.numpy()), module(x).numpy(), atol=1e-6)


def test_parametrised_weights_are_worked_out(tmp_path):
    torch.manual_seed(0)
    norm, spectral = nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm
    module = Parts(
        lambda m, x: m.fc(F.pad(m.b(F.relu(m.a(x))), (0, 2)).transpose(1, 2)),
        a=norm(nn.Conv1d(3, 4, 3)),
        b=nn.utils.weight_norm(nn.Conv1d(4, 4, 1)),
        fc=spectral(nn.Linear(4, 2)),
    )
    x = torch.randn(2, 3, 9)
    made = traced(module, x)
    for path in (saved(made, tmp_path), saved(torch.jit.freeze(made), tmp_path)):
        wanted = torch.jit.load(path)(x).detach().numpy()
        model = rnnrt.from_torchscript(path, shapes={"x": (2, 3, 9)})
        np.testing.assert_allclose(model(x.numpy()), wanted, atol=1e-6)


def test_the_command_asks_torch_itself(tmp_path, capsys):
    module = Parts(lambda m, x: m.rnn(x)[0], rnn=nn.GRU(3, 4, batch_first=True))
    path = saved(traced(module, torch.randn(2, 7, 3)), tmp_path)
    code, out, _ = run(capsys, "verify", path, "--against", "torch")
    assert code == 0 and "torch" in out


def test_a_traced_function(tmp_path):
    weight = torch.randn(4, 3)
    made = torch.jit.trace(lambda x: torch.tanh(F.linear(x, weight)), torch.randn(2, 5, 3))
    path = saved(made, tmp_path)
    x = torch.randn(3, 8, 3)
    wanted = torch.tanh(F.linear(x, weight)).numpy()
    np.testing.assert_allclose(rnnrt.from_torchscript(path)(x.numpy()), wanted, atol=1e-6)
