"""Live PyTorch modules that import: each is equal to torch at two lengths. Those that are refused:
test_refusals.py.
"""

import numpy as np
import pytest
from needs import need

torch = need("torch")
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnnrt import reference
from rnnrt.errors import UnsupportedModelError
from rnnrt.importers.torch.reader import read

TOLERANCE = 1e-5


# ---- comparing ---------------------------------------------------------------------------------------------


def canonical(array, axes, features):
    """A torch array with the given axes as (batch, time, *features)."""
    if not features:
        axes = axes.replace("f", "")
    return np.transpose(array, [axes.index(a) for a in "btf" if a in axes])


def example_for(layer, time, batch, generator):
    """A random input in torch's axes."""
    sizes = {"b": batch, "t": layer.length or time, "f": layer.features[0] if layer.features else 1}
    axes = layer.axes if layer.features else layer.axes.replace("f", "")
    shape = [sizes[a] for a in axes]
    return (
        torch.randint(0, 7, shape, generator=generator)
        if layer.ids
        else torch.randn(shape, generator=generator)
    )


def tensors(result):
    """The tensors of a result in order, states of an RNN left out where the graph leaves them out."""
    if isinstance(result, dict):
        result = list(result.values())
    if isinstance(result, (tuple, list)):
        return [t for item in result for t in tensors(item)]
    return [result] if isinstance(result, torch.Tensor) else []


def difference(module, graph, time, batch=3):
    """The largest difference of any output, scaled by its size."""
    generator = torch.Generator().manual_seed(time)
    given = [example_for(graph[name], time, batch, generator) for name in graph.inputs]
    module.eval()
    lengths, extra = None, []
    if "lengths_input" in graph.metadata:
        lengths = np.array([time, max(time - 2, 1), 1])[:batch]
        extra = [torch.tensor(lengths)]
    if "state_inputs" in graph.metadata:
        extra = [None] * len(graph.metadata["state_inputs"])
    with torch.no_grad():
        result = tensors(module(*given, *extra))
    expected = [t for k, t in enumerate(result) if k not in graph.metadata.get("state_outputs", [])]
    inputs = {
        name: canonical(x.numpy(), graph[name].axes, graph[name].features)
        for name, x in zip(graph.inputs, given)
    }
    made, _ = reference.run(graph, inputs, lengths=lengths)
    assert len(expected) == len(graph.outputs)
    worst = 0.0
    for tensor, output in zip(expected, graph.outputs):
        wanted = canonical(tensor.numpy(), output.axes, graph.signals[output.value].features)
        assert made[output.name].shape == wanted.shape
        worst = max(worst, np.abs(made[output.name] - wanted).max() / max(1.0, np.abs(wanted).max()))
    return worst


def prepared(module):
    """The module with weights and statistics no default hides, and left in training mode: importing must not
    care.
    """
    generator = torch.Generator().manual_seed(7)
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if tensor.is_floating_point():
            tensor.data = (
                torch.rand(tensor.shape, generator=generator) + 0.5
                if "var" in name
                else torch.randn(tensor.shape, generator=generator) * 0.4
            )
    return module.train()


# ---- modules that import -----------------------------------------------------------------------------------

ACCEPTED = {}


def accepted(*arguments, example=None, times=(9, 14)):
    def register(cls):
        ACCEPTED[cls.__name__] = (cls, arguments, example, times)
        return cls

    return register


@accepted()
class FunctionalReluAndLastStep(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.fc = nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x):
        out, _ = self.lstm(x)
        return self.fc(F.relu(out[:, -1]))


@accepted()
class DefinedOutOfOrder(nn.Module):
    """Layers of one width defined in another order than they run in."""

    def __init__(self):
        super().__init__()
        self.second, self.first, self.rnn = nn.Linear(4, 4), nn.Linear(4, 4), nn.GRU(4, 4, batch_first=True)

    def forward(self, x):
        return self.second(torch.tanh(self.first(self.rnn(x)[0])))


@accepted()
class TimeFirst(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru, self.fc = nn.GRU(4, 6, 2, bidirectional=True), nn.Linear(12, 2)

    def forward(self, x):
        out, _ = self.gru(x)
        return self.fc(out[-1])


@accepted()
class ConvFrontEnd(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv1d(4, 6, 3, stride=2, padding=1), nn.BatchNorm1d(6)
        self.rnn, self.fc = nn.RNN(6, 5, nonlinearity="relu"), nn.Linear(5, 2)

    def forward(self, x):
        x = self.norm(self.conv(x.permute(0, 2, 1))).relu().permute(2, 0, 1)
        out, _ = self.rnn(x)
        return self.fc(out).transpose(0, 1)


@accepted()
class BidirectionalStates(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.fc = (
            nn.LSTM(3, 5, num_layers=2, bidirectional=True, batch_first=True, proj_size=2),
            nn.Linear(4, 3),
        )

    def forward(self, x):
        _, (h_n, c_n) = self.lstm(x)
        return self.fc(torch.cat((h_n[-2], h_n[-1]), dim=1)), c_n[0]


@accepted()
class StatesByReshape(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru, self.fc = nn.GRU(3, 4, 2, bidirectional=True, batch_first=True), nn.Linear(16, 2)

    def forward(self, x):
        _, h = self.gru(x)
        return self.fc(h.permute(1, 0, 2).reshape(x.size(0), -1))


@accepted()
class ZeroStates(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.fc = nn.LSTM(4, 5, 2, batch_first=True), nn.Linear(5, 1)

    def forward(self, x):
        h0 = torch.zeros(2, x.size(0), 5).to(x.device)
        c0 = torch.zeros(2, x.shape[0], 5, device=x.device).requires_grad_()
        out, _ = self.lstm(x, (h0.detach(), c0.detach()))
        return self.fc(out[:, -1, :])


@accepted()
class StateHandedThrough(nn.Module):
    """The character model of every tutorial: hidden in, hidden out."""

    def __init__(self):
        super().__init__()
        self.embed, self.gru, self.fc = nn.Embedding(7, 4), nn.GRU(4, 5, batch_first=True), nn.Linear(5, 7)

    def forward(self, ids, hidden):
        out, hidden = self.gru(self.embed(ids), hidden)
        return self.fc(out), hidden


@accepted()
class OptionalState(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.drop, self.fc = nn.LSTM(4, 5), nn.Dropout(0.5), nn.Linear(5, 2)

    def forward(self, x, state=None):
        if state is None:
            state = (x.new_zeros(1, x.size(1), 5), x.new_zeros(1, x.size(1), 5))
        out, state = self.lstm(x, state)
        return F.dropout(self.fc(self.drop(out)), 0.3, self.training), state


@accepted()
class EncoderDecoder(nn.Module):
    """The decoder begins in the encoder's last state; two inputs of different lengths are given the same
    here.
    """

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder, self.fc = (
            nn.LSTM(3, 5, batch_first=True),
            nn.LSTM(4, 5, batch_first=True),
            nn.Linear(5, 3),
        )

    def forward(self, source, target):
        _, (h, c) = self.encoder(source)
        out, _ = self.decoder(target, (torch.tanh(h), c))
        return self.fc(out)


@accepted()
class StateFromALayer(nn.Module):
    def __init__(self):
        super().__init__()
        self.start, self.gru = nn.Linear(2, 5), nn.GRU(3, 5, batch_first=True)

    def forward(self, x, condition):
        out, _ = self.gru(x, self.start(condition).unsqueeze(0))
        return out * torch.sigmoid(out)


@accepted()
class Packed(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.rnn = nn.Embedding(7, 4), nn.LSTM(4, 5, bidirectional=True, batch_first=True)
        self.fc = nn.Linear(10, 1)

    def forward(self, ids, lengths):
        packed = pack_padded_sequence(self.embed(ids), lengths.cpu(), batch_first=True, enforce_sorted=False)
        out, (h, _) = self.rnn(packed)
        out, _ = nn.utils.rnn.pad_packed_sequence(out, batch_first=True)
        return self.fc(out).squeeze(-1), torch.cat([h[-2, :, :], h[-1, :, :]], dim=-1)


@accepted()
class HalfPacked(nn.Module):
    """Lengths count for the RNN that runs over the packed sequence, and not for the one behind."""

    def __init__(self):
        super().__init__()
        self.one, self.two = (
            nn.GRU(4, 4, batch_first=True),
            nn.GRU(4, 4, batch_first=True, bidirectional=True),
        )

    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths, batch_first=True)
        out, _ = pad_packed_sequence(self.one(packed)[0], batch_first=True, total_length=x.size(1))
        return self.two(out)[0]


@accepted()
class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru, self.norm, self.relu = (
            nn.GRU(6, 6, batch_first=True),
            nn.LayerNorm(6),
            nn.ReLU(inplace=True),
        )

    def forward(self, x):
        y, _ = self.gru(x)
        y = self.norm(x + y)
        return y + self.relu(y * 2.0 - 0.5)


@accepted()
class TwoInputsTwoOutputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.rnn = nn.Linear(3, 4), nn.Linear(2, 4), nn.GRU(8, 5, batch_first=True)

    def forward(self, x, z):
        out, _ = self.rnn(torch.cat([self.a(x), self.b(z)], dim=-1))
        return {
            "sequence": out,
            "mean": out.mean(dim=1),
            "peak": out.max(dim=1).values,
            "top": torch.amax(out, 1),
        }


@accepted()
class CausalConvolutions(nn.Module):
    """A temporal convolutional network: padding on both sides, the right one chomped; and F.pad on the
    left.
    """

    def __init__(self):
        super().__init__()
        self.one = nn.utils.parametrizations.weight_norm(nn.Conv1d(4, 6, 3, padding=4, dilation=2))
        self.two, self.skip = nn.Conv1d(6, 6, 2, dilation=3, groups=2), nn.Conv1d(4, 6, 1)

    def forward(self, x):
        y = F.leaky_relu(self.one(x)[:, :, :-4], 0.2)
        y = F.glu(torch.cat([self.two(F.pad(y, (3, 0))), self.skip(x)], 1), 1)
        return y


@accepted()
class GatedWavenetBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.out = nn.Conv1d(4, 8, 3, padding="same"), nn.Conv1d(4, 4, 1)

    def forward(self, x):
        a, b = self.conv(x).chunk(2, dim=1)
        return x + self.out(torch.tanh(a) * torch.sigmoid(b))


@accepted()
class PoolsAndPicks(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv1d(4, 6, 3), nn.ELU(), nn.MaxPool1d(2), nn.AvgPool1d(3, stride=1, padding=1)
        )
        self.pool, self.fc = nn.AdaptiveMaxPool1d(1), nn.Linear(6, 2)

    def forward(self, x):
        y = self.conv(x)
        return (
            self.fc(torch.flatten(self.pool(y), 1)),
            F.adaptive_avg_pool1d(y, 1).squeeze(-1)[:, 1:4],
            y[:, 2],
        )


@accepted()
class MergedFrames(nn.Module):
    """A Linear over (batch * time, features), as TimeDistributed is often written."""

    def __init__(self):
        super().__init__()
        self.rnn, self.fc = nn.GRU(4, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x):
        batch, time, _ = x.shape
        out, _ = self.rnn(x)
        return torch.softmax(self.fc(out.contiguous().view(batch * time, -1)), dim=-1).view(batch, time, -1)


@accepted()
class HalvesOfABidirectional(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.fc = nn.GRU(4, 5, batch_first=True, bidirectional=True), nn.Linear(10, 2)

    def forward(self, x):
        out, _ = self.rnn(x)
        return self.fc(torch.cat((out[:, -1, :5], out[:, 0, 5:]), 1))


@accepted()
class OneNumberAFrame(nn.Module):
    """(batch, time) in and out."""

    def __init__(self):
        super().__init__()
        self.rnn, self.fc = nn.LSTM(1, 5, batch_first=True), nn.Linear(5, 1)

    def forward(self, x):
        return self.fc(self.rnn(x.unsqueeze(-1))[0]).squeeze(-1)


@accepted()
class OwnParameters(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.zeros(4, 5)), nn.Parameter(torch.zeros(5))
        self.register_buffer("mean", torch.zeros(4))
        self.rnn = nn.GRU(5, 3, batch_first=True)

    def forward(self, x):
        return 1.0 - self.rnn(torch.matmul((x - self.mean) / 3.0, self.weight) + self.bias)[0]


@accepted()
class NestedAndNormalised(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.GRU(4, 4, batch_first=True) for _ in range(3)])
        self.norms = nn.ModuleList([nn.LayerNorm(4) for _ in range(3)])
        self.act = nn.PReLU()

    def forward(self, x):
        for rnn, norm in zip(self.blocks, self.norms):
            x = x + self.act(norm(rnn(x)[0]))
        return x


@accepted()
class SharedLayer(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(4, 4, batch_first=True)

    def forward(self, x):
        return self.rnn(self.rnn(x)[0].flip(1))[0][..., :2]


@accepted(example=torch.zeros(2, 4, 9), times=(9,))
class FlattenOfAFixedLength(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv1d(4, 5, 3), nn.Linear(5 * 7, 3)

    def forward(self, x):
        return self.fc(F.hardtanh(self.conv(x)).flatten(1))


@accepted(example=torch.zeros(2, 6, 4))
class SizesFromAnExample(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(2, 3, batch_first=True)

    def forward(self, x):
        return self.rnn(x[:, :, 1:3])[0]


@accepted(example=torch.zeros(3, 7, 4))
class AsksForSizes(nn.Module):
    """What torch.fx cannot trace and torch.export can: Python that looks at shapes."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.rnn = (
            nn.Conv1d(4, 6, 3, padding=1),
            nn.BatchNorm1d(6),
            nn.LSTM(6, 5, 2, bidirectional=True),
        )
        self.gru, self.embed, self.fc = nn.GRU(10, 4), nn.Parameter(torch.zeros(4)), nn.Linear(4, 2)

    def forward(self, x):
        if x.dim() == 2:
            x = x.unsqueeze(0)
        assert x.size(0) > 0 and x.size(-1) == 4
        y = torch.relu(self.norm(self.conv((x + self.embed).transpose(1, 2)))).permute(2, 0, 1)
        zeros = torch.zeros(4, x.size(0), 5)
        y, (h, c) = self.rnn(y, (zeros, zeros))
        y, _ = self.gru(y)
        return self.fc(F.dropout(y[-1], 0.1, self.training)).view(x.size(0), -1), h[-1], c[0], x.max(1).values


@accepted()
class OldWeightNorm(nn.Module):
    def __init__(self):
        super().__init__()
        with pytest.warns(FutureWarning):
            self.conv = nn.utils.weight_norm(nn.Conv1d(3, 4, 2))

    def forward(self, x):
        return F.relu6(self.conv(x))


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_traced_module_is_equal_to_torch(name):
    cls, arguments, example, times = ACCEPTED[name]
    torch.manual_seed(1)
    module = prepared(cls(*arguments))
    if name == "OldWeightNorm":  # its weight is made anew from g and v
        module(torch.zeros(1, 3, 5))
    flags = [m.training for m in module.modules()]
    graph = read(module, example=example)
    assert [m.training for m in module.modules()] == flags
    assert graph.metadata["module"] == name
    for time in times:
        assert difference(module, graph, time) <= TOLERANCE


BARE = {
    "rnn": lambda: nn.RNN(3, 4, 2, nonlinearity="relu", batch_first=True),
    "lstm": lambda: nn.LSTM(3, 4, 2, bidirectional=True),
    "gru": lambda: nn.GRU(3, 4, bias=False, batch_first=True),
    "conv1d": lambda: nn.Conv1d(4, 6, 3, padding=2, dilation=2, groups=2),
    "sequential": lambda: nn.Sequential(
        nn.Conv1d(3, 4, 3),
        nn.BatchNorm1d(4),
        nn.Tanh(),
        nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Flatten()),
        nn.Linear(4, 2),
    ),
    "ids": lambda: nn.Sequential(
        nn.Embedding(9, 4), nn.LayerNorm(4), nn.GELU(approximate="tanh"), nn.Dropout(0.5)
    ),
}


@pytest.mark.parametrize("name", BARE)
def test_a_bare_layer_and_a_sequential_are_read_directly(name):
    module = prepared(BARE[name]())
    graph = read(module)
    assert [o.name for o in graph.outputs] == ["output"]
    for time in (5, 8):
        assert difference(module, graph, time) <= TOLERANCE


def test_states_and_names_are_torchs():
    graph = read(nn.LSTM(3, 4, 2, bidirectional=True))
    _, states = reference.run(graph, {"input": np.zeros((1, 2, 3))})
    assert set(states) == {f"lstm.{k}/{s}" for k in ("l0", "l0_reverse", "l1", "l1_reverse") for s in "hc"}
    assert read(prepared(TwoInputsTwoOutputs())).outputs[2].name == "peak"
    assert read(prepared(BidirectionalStates())).outputs[1].name == "output_1"
    assert read(prepared(StateHandedThrough())).metadata["state_inputs"] == ["hidden"]
    assert read(prepared(Packed())).metadata["lengths_input"] == "lengths"


def test_an_initial_state_reaches_the_layer():
    """A state handed through is the caller's to give, under the layer's own name."""
    module = prepared(StateHandedThrough())
    graph = read(module)
    ids, h = torch.tensor([[1, 2, 3]]), torch.randn(1, 1, 5)
    with torch.no_grad():
        expected, state = module(ids, h)
    made, states = reference.run(graph, {"ids": ids.numpy()}, {"gru.l0/h": h[0].numpy()})
    assert np.abs(made["output"] - expected.numpy()).max() <= TOLERANCE
    assert np.abs(states["gru.l0/h"] - state[0].numpy()).max() <= TOLERANCE


def test_a_state_dict_and_its_live_module_are_one_graph():
    module = prepared(nn.LSTM(3, 4, 2, batch_first=True))
    x = np.random.RandomState(3).randn(2, 6, 3)
    live, _ = reference.run(read(module), {"input": x})
    stored, _ = reference.run(read(module.state_dict()), {"input": x})
    assert (live["output"] == stored["output"]).all()


def test_options_of_the_other_kind_of_source_are_refused():
    with pytest.raises(UnsupportedModelError, match="no spec and no prefix"):
        read(nn.LSTM(3, 4), "LSTM")
    with pytest.raises(UnsupportedModelError, match="example= belongs to a live module"):
        read(nn.LSTM(3, 4).state_dict(), example=torch.zeros(2, 5, 3))
