"""Live PyTorch modules that are refused: each by a message that names the call, its line and the reason."""

import pytest
from needs import need

torch = need("torch")
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from rnnrt.errors import UnsupportedModelError
from rnnrt.importers.torch.reader import read

REFUSED = {}


def refused(match, *, example=None):
    def register(cls):
        REFUSED[cls.__name__] = (cls, match, example)
        return cls

    return register


class _Lstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.fc = nn.LSTM(4, 4, batch_first=True), nn.Linear(4, 2)


@refused("the weights of two sequences of open length cannot be an answer")
class WeightsOfAttention(_Lstm):
    def forward(self, x):
        out, _ = self.rnn(x)
        weights = torch.softmax(torch.bmm(out, out.transpose(1, 2)), -1)
        return torch.bmm(weights, out), weights


@refused("softmax is supported over the features and over time")
class AttentionOverTheBatch(_Lstm):
    def forward(self, x):
        out, _ = self.rnn(x)
        return out * torch.softmax(out, dim=0)


@refused("batch or time as a constant")
class ConstantBatch(_Lstm):
    def forward(self, x):
        out, _ = self.rnn(x)
        return self.fc(out).view(32, -1, 2)


@refused("batch or time as a constant", example=torch.zeros(2, 6, 4))
class ConstantBatchOfTheExample(_Lstm):
    def forward(self, x):
        return self.fc(self.rnn(x)[0]).reshape(2, -1, 2)


@refused("zeros of the initial state do not follow the input's batch")
class ConstantBatchInState(_Lstm):
    def forward(self, x):
        return self.rnn(x, (torch.zeros(1, 8, 4), torch.zeros(1, 8, 4)))[0]


@refused("axes .* cannot be merged|batch or time as a constant")
class TimeAndBatchMixed(_Lstm):
    def forward(self, x):
        return self.fc(self.rnn(x)[0].transpose(0, 1).reshape(x.size(0), x.size(1), 4))


@refused("control flow")
class DataDependent(_Lstm):
    def forward(self, x):
        return self.rnn(x)[0] if x.sum() > 0 else self.fc(x)


@refused("forward cannot be traced: .*range|cannot be interpreted")
class CellInALoop(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.LSTMCell(4, 4)

    def forward(self, x):
        h = c = torch.zeros(x.size(0), 4)
        made = []
        for t in range(x.size(1)):
            h, c = self.cell(x[:, t], (h, c))
            made.append(h)
        return torch.stack(made, 1)


@refused(r"'transformer' \(TransformerEncoderLayer\) is not supported")
class Transformer(_Lstm):
    def __init__(self):
        super().__init__()
        self.transformer = nn.TransformerEncoderLayer(4, 2, batch_first=True)

    def forward(self, x):
        return self.transformer(self.rnn(x)[0])


@refused(r"line \d+ of test_refusals.py: the call torch.cumprod is not supported")
class UnknownFunction(_Lstm):
    def forward(self, x):
        return torch.cumprod(self.rnn(x)[0], 1)


@refused(r"the call torch.Tensor.roll is not supported")
class UnknownMethod(_Lstm):
    def forward(self, x):
        return self.rnn(x)[0].roll(1, 1)


@refused("needs a fixed number of frames.*example")
class PartOfTime(_Lstm):
    def forward(self, x):
        return self.rnn(x)[0][:, -2:]


@refused("one sequence of a batch cannot be taken")
class PartOfTheBatch(_Lstm):
    def forward(self, x):
        return self.rnn(x)[0][0]


@refused("an index must be made of numbers and slices")
class IndexByTensor(_Lstm):
    def forward(self, x, last):
        return self.rnn(x)[0][:, last]


@refused("changed in place")
class OverwrittenResidual(_Lstm):
    def forward(self, x):
        y = self.rnn(x)[0]
        part = y[..., :2]
        part.relu_()
        return y


@refused("track_running_stats=False")
class BatchStatistics(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv1d(4, 4, 3), nn.BatchNorm1d(4, track_running_stats=False)

    def forward(self, x):
        return self.norm(self.conv(x))


@refused("do not tell the shape")
class NothingTellsTheSize(nn.Module):
    def forward(self, x):
        return torch.relu(x)


@refused("do not tell the shape of the input 'x'. Give example=")
class NothingTellsTheAxes(nn.Module):
    """Whatever a call says of axes that were guessed: these are sound on (batch, features, time)."""

    def forward(self, x):
        return F.max_pool1d(x, 2).sum(2)


@refused("do not tell the shape of the input 'x'. Give example=")
class NothingTellsTheAxesOfAnIndex(nn.Module):
    def forward(self, x):
        return torch.cat([x[:, :, 2:], x[:, :, :2]], 2).permute(0, 2, 1)[:, 1]


@refused("do not tell the shape of the input 'x'. Give example=")
class NothingTellsTheAxesOfADim(nn.Module):
    def forward(self, x):
        return F.max_pool1d(x, 2).select(2, 0)


@refused("axes of the tensors do not fit")
class Broadcasting(_Lstm):
    def forward(self, x):
        out, (h, _) = self.rnn(x)
        return out + h[-1]


@refused("initial state must be zeros")
class LearnedState(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru, self.start = nn.GRU(4, 4), nn.Parameter(torch.ones(1, 1, 4))

    def forward(self, x):
        return self.gru(x, self.start)[0]


@refused("cuts to the longest length")
class LastFrameOfThePadded(_Lstm):
    def forward(self, x, lengths):
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        out, _ = pad_packed_sequence(self.rnn(packed)[0], batch_first=True)
        return self.fc(out[:, -1])


@refused("forward keeps a tensor in state")
class StateKeptOnTheModule(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru, self.state = nn.GRU(4, 4), torch.zeros(1, 2, 4)

    def forward(self, x):
        out, self.state = self.gru(x, self.state)
        return out


@refused("must be given one tensor")
class TupleIntoALayer(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.LSTM(4, 4, batch_first=True), nn.Linear(4, 2))

    def forward(self, x):
        return self.net(x)


@refused("different frames")
class FramesThatDoNotMeet(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv1d(4, 4, 3), nn.Conv1d(4, 4, 5)

    def forward(self, x):
        return self.one(x) + self.two(x)


@refused("needs a fixed number of frames")
class FlattenOfAFreeLength(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv1d(4, 5, 3), nn.Linear(35, 3)

    def forward(self, x):
        return self.fc(self.conv(x).flatten(1))


@refused("decides by the values of a tensor", example=torch.ones(2, 8, 4))
class DataDependentWithAnExample(_Lstm):
    def forward(self, x):
        return self.rnn(x)[0] if x.sum() > 0 else self.fc(x)


@refused("clamp is not supported with these arguments|a bound of clamp must be a number")
class ClampToASize(_Lstm):
    def forward(self, x):
        return torch.clamp(self.rnn(x)[0], 0, x.size(1))


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_honoured_is_refused_by_name(name):
    cls, match, example = REFUSED[name]
    with pytest.raises(UnsupportedModelError, match=match) as raised:
        read(cls(), example=example)
    assert name in str(raised.value)


def test_inputs_without_names_are_refused():
    class Any(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.GRU(3, 4, batch_first=True)

        def forward(self, *inputs):
            return self.rnn(inputs[0])[0]

    with pytest.raises(UnsupportedModelError, match=r"\*inputs, which have no names"):
        read(Any(), example=torch.zeros(2, 5, 3))


def test_a_forward_hook_is_refused():
    module = nn.GRU(3, 4)
    module.register_forward_hook(lambda *_: None)
    with pytest.raises(UnsupportedModelError, match="forward hook"):
        read(module)
