"""Random modules, live and by their specs, against PyTorch, whole and streamed."""

import random

import numpy as np
import pytest
from expect import TOLERANCE, distance, streamed
from needs import need

import rnnrt

torch = need("torch")
from safetensors.torch import save_file
from torch import nn


class Rnn(nn.Module):
    """The part of an RNN's answer that a network goes on with."""

    def __init__(self, rnn, part):
        super().__init__()
        self.rnn, self.part = rnn, part

    def forward(self, x):
        out, state = self.rnn(x)
        if self.part != "last_state":
            return out if self.part == "sequence" else out[:, -1]
        h = state[0] if isinstance(self.rnn, nn.LSTM) else state
        return torch.cat([h[-2], h[-1]], 1) if self.rnn.bidirectional else h[-1]


class Transposed(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x.transpose(1, 2)).transpose(1, 2)


def random_chain(r):
    """(module, spec, features) of a random chain over (batch, time, features)."""
    features = width = r.randint(1, 5)
    modules, spec = [], []
    for k in range(r.randint(1, 4)):
        sized = ["RNN", "LSTM", "GRU", "Conv1d", "Linear", "BatchNorm1d", "LayerNorm"]
        word = r.choice(sized + ["act", "MaxPool1d", "AvgPool1d"] * (k > 0))
        if word in ("RNN", "LSTM", "GRU"):
            units, two = r.randint(2, 5), r.random() < 0.4
            options = {
                "num_layers": r.randint(1, 2),
                "bias": r.random() < 0.8,
                "batch_first": True,
                "bidirectional": two,
            }
            options |= {"nonlinearity": r.choice(["tanh", "relu"])} if word == "RNN" else {}
            options |= {"proj_size": r.choice([0, units - 1])} if word == "LSTM" else {}
            part = r.choice(["sequence", "sequence", "last", "last_state"])
            modules.append(Rnn(getattr(nn, word)(width, units, **options), part))
            spec.append(
                f"{k}.rnn: {word}" + (f" nonlinearity={options['nonlinearity']}" if word == "RNN" else "")
            )
            width = (options.get("proj_size") or units) * (1 + two)
            if part != "sequence":
                return nn.Sequential(*modules), [*spec, part], features
        elif word == "Conv1d":
            out, stride = r.choice([2, 4]), r.choice([1, 1, 2])
            options = {
                "stride": stride,
                "padding": r.randint(0, 2),
                "dilation": r.randint(1, 2),
                "groups": 2 - width % 2,
            }
            modules.append(Transposed(nn.Conv1d(width, out, r.randint(1, 3), **options)))
            spec.append(f"{k}.inner: Conv1d " + " ".join(f"{o}={v}" for o, v in options.items()))
            width = out
        elif word == "Linear":
            out = r.randint(1, 5)
            modules.append(nn.Linear(width, out))
            spec.append(f"{k}: Linear")
            width = out
        elif word == "act":
            module = r.choice(
                [
                    nn.ReLU(),
                    nn.LeakyReLU(0.3),
                    nn.Hardtanh(0, 2.0),
                    nn.ELU(0.5),
                    nn.GELU("tanh"),
                    nn.Dropout(0.5),
                    nn.SELU(),
                ]
            )
            modules.append(module)
            options = {
                "LeakyReLU": " negative_slope=0.3",
                "Hardtanh": " min_val=0 max_val=2",
                "ELU": " alpha=0.5",
                "GELU": " approximate=tanh",
            }
            spec.append(type(module).__name__ + options.get(type(module).__name__, ""))
        elif word in ("MaxPool1d", "AvgPool1d"):
            size, stride, padding = r.randint(2, 3), r.randint(1, 2), r.randint(0, 1)
            modules.append(Transposed(getattr(nn, word)(size, stride, padding)))
            spec.append(f"{word} {size} stride={stride} padding={padding}")
        else:
            eps = r.choice([1e-5, 1e-2])
            modules.append(
                Transposed(nn.BatchNorm1d(width, eps)) if word == "BatchNorm1d" else nn.LayerNorm(width, eps)
            )
            spec.append(f"{k}{'.inner' if word == 'BatchNorm1d' else ''}: {word} eps={eps}")
    return nn.Sequential(*modules), spec, features


def stored(tensors, how, folder):
    """A state dict as from_torch may be given it."""
    path = folder / how
    match how:
        case "zip":
            torch.save({"epoch": 3, "model_state_dict": {f"module.{n}": t for n, t in tensors.items()}}, path)
        case "legacy":
            torch.save(tensors, path, _use_new_zipfile_serialization=False)
        case "safetensors":
            save_file({n: t.contiguous() for n, t in tensors.items()}, path)
        case "float64":
            return {n: t.double() for n, t in tensors.items()}
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(40))
def test_a_random_module_live_and_by_its_spec_is_equal_to_torch(seed, tmp_path):
    r = random.Random(seed)
    torch.manual_seed(seed)
    module, spec, features = random_chain(r)
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if tensor.is_floating_point():
            tensor.data = torch.rand_like(tensor) + 0.5 if "var" in name else torch.randn_like(tensor) * 0.3
    source = stored(module.state_dict(), r.choice(["zip", "legacy", "safetensors", "float64"]), tmp_path)
    spec = "\n".join([f"input channels_last features={features}", *spec])
    models = [rnnrt.from_torch(module, example=torch.randn(2, 13, features)), rnnrt.from_torch(source, spec)]
    module.eval()
    for batch, frames in ((1, 13), (3, 22)):
        x = torch.randn(batch, frames, features)
        with torch.no_grad():
            expected = module(x).numpy()
        for model in models:
            assert distance(expected, model(x.numpy())) <= TOLERANCE
            if model.streamable:
                whole = model(x[0].numpy())
                chunks = streamed(model, x[0].numpy(), r)
                assert np.array_equal(chunks.reshape(whole.shape), whole)
