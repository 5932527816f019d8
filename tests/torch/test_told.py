"""Programs that are honoured otherwise than torch has them: for one number of frames alone, or with an axis
that torch drops or merges. The model says so, and the numbers are torch's."""

import numpy as np
import pytest
from expect import TOLERANCE, distance
from needs import need

torch = need("torch")

import torch.nn.functional as F
from torch import nn
from torch_modules import Call

import rnnrt
from rnnrt.errors import ShapeError, UnsupportedModelError

KEEPS, MERGES, ALONE = "keeps the axis of a batch of one", "torch merges its first two axes", "frames alone"


class Stepwise(nn.Module):
    """Cells called frame by frame, the answers put into a tensor of zeros, or joined in another way."""

    def __init__(self, joined):
        super().__init__()
        self.cell, self.embedding, self.joined = nn.GRUCell(4, 5), nn.Embedding(7, 4), joined

    def forward(self, x):
        h = torch.zeros(x.size(0), 5)
        outputs = torch.zeros(x.size(0), x.size(1), 5)
        for t in range(x.size(1)):
            frame = self.embedding(x[:, t]) if x.dtype == torch.int64 else x[:, t]
            h = self.joined(t, self.cell(frame, h))
            outputs[:, t] = h
        return outputs


def floats(batch=3, time=9):
    return torch.randn(batch, time, 4)


def ids(batch=3, time=9):
    return torch.randint(0, 7, (batch, time))


def lstm():
    return nn.LSTM(4, 5, 2, batch_first=True, bidirectional=True)


#: name -> (module, what makes its input, words of what the model says, whether any number of frames goes)
PROGRAMS = {
    "squeeze": lambda: (
        Call(lambda x, r, fc: fc(r(x)[0][:, -1]).squeeze(), lstm(), nn.Linear(10, 1)),
        floats,
        KEEPS,
        True,
    ),
    "squeeze of the batch": lambda: (
        Call(lambda x, r: r(x)[1][0][-1].squeeze(0), lstm()),
        floats,
        KEEPS,
        True,
    ),
    "squeeze of features": lambda: (
        Call(lambda x, r, fc: fc(r(x)[0]).squeeze(), lstm(), nn.Linear(10, 1)),
        floats,
        KEEPS,
        True,
    ),
    "merged": lambda: (Call(lambda x, r: r(x)[0].reshape(-1, 10), lstm()), floats, MERGES, True),
    "merged, time first": lambda: (
        Call(lambda x, r: F.log_softmax(r(x)[0].transpose(0, 1).reshape(-1, 10), 1), lstm()),
        floats,
        MERGES,
        True,
    ),
    "states alone": lambda: (Call(lambda x, r: r(x)[1][0], lstm()), floats, None, True),
    "state of one layer": lambda: (
        Call(lambda x, r: r(x)[1], nn.GRU(4, 5, batch_first=True)),
        floats,
        None,
        True,
    ),
    "filled frame by frame": lambda: (Stepwise(lambda t, h: h), floats, None, True),
    "embedded frame by frame": lambda: (Stepwise(lambda t, h: h), ids, None, True),
    "steps that count": lambda: (Stepwise(lambda t, h: h * (1.0 + 0.1 * t)), floats, ALONE, False),
    "steps of ids that count": lambda: (Stepwise(lambda t, h: h * (1.0 + 0.1 * t)), ids, ALONE, False),
    "another at nine": lambda: (
        Call(lambda x, r: r(x * 2.0 if x.size(1) == 9 else x)[0], lstm()),
        floats,
        ALONE,
        False,
    ),
    "another of odd numbers": lambda: (
        Call(lambda x, r: r(x * 2.0 if x.size(1) % 2 else x)[0], lstm()),
        floats,
        ALONE,
        False,
    ),
    "another above five": lambda: (
        Call(lambda x, r: r(x * 2.0 if x.size(1) > 5 else x)[0], lstm()),
        floats,
        ALONE,
        False,
    ),
}


def answer(module, x):
    with torch.no_grad():
        return module(x).numpy()


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_numbers_are_torchs_and_the_model_says_what_differs(name):
    torch.manual_seed(len(name))
    module, make, said, free = PROGRAMS[name]()
    model = rnnrt.from_torch(module.eval(), example=make())
    told = " ".join(model.graph.metadata.get("assumptions", ()))
    assert said in told if said else not told
    for batch, time in ((1, 9), (4, 9), *([(1, 5), (2, 30)] if free else [])):
        x = make(batch, time)
        wanted, made = answer(module, x), model(x.numpy())
        if said not in (KEEPS, MERGES) or (said == KEEPS and batch > 1):
            assert made.shape == wanted.shape
        assert distance(wanted.reshape(made.shape), made) <= TOLERANCE
    if not free:
        with pytest.raises(ShapeError, match="wrong (shape|length)|9"):
            model(make(2, 8).numpy())


def test_an_axis_of_one_that_meets_others_is_still_compared_with_torch():
    """Of a batch of one torch's squeeze would turn this product over time into one over features."""
    odd = Call(lambda x, r: r(x)[0] * r(x)[0][..., :1].squeeze(-1).squeeze().unsqueeze(-1), lstm()).eval()
    try:
        model = rnnrt.from_torch(odd, example=floats())
    except UnsupportedModelError:
        return
    for batch in (1, 3):
        x = floats(batch)
        assert distance(answer(odd, x), model(x.numpy())) <= TOLERANCE


@pytest.mark.parametrize(
    "forward, said",
    [
        (lambda x, r: r(x)[0] if x.sum() > 0 else x, "by the values of a tensor.*a mask, arange"),
        (lambda x, r: r(x)[0][x[:, 0, 0].argsort()], "argsort.*enforce_sorted=False"),
        (lambda x, r: r(x)[0] * x.sum().item(), "item.*a mask, arange"),
    ],
)
def test_what_to_do_instead_is_said(forward, said):
    with pytest.raises(UnsupportedModelError, match=said):
        rnnrt.from_torch(Call(forward, lstm()).eval(), example=floats())


def test_a_parameter_that_forward_writes_over_is_refused():
    class Clipping(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.rnn = nn.Parameter(torch.randn(4, 4)), lstm()

        def forward(self, x):
            return self.rnn(F.linear(x, self.weight.detach().clamp_(-0.1, 0.1)))[0]

    module = Clipping().eval()
    before = module.weight.detach().clone()
    with pytest.raises(UnsupportedModelError, match="forward changes the tensor 'weight'"):
        rnnrt.from_torch(module, example=floats())
    assert torch.equal(before, module.weight)


def test_a_loop_with_states_of_several_axes_is_one_layer_and_streams():
    class Columns(nn.Module):
        """A cell for every variable, as tensors of (variables, units)."""

        def __init__(self):
            super().__init__()
            self.w, self.u = nn.Parameter(torch.randn(4, 3, 3) * 0.3), nn.Parameter(torch.randn(4, 1, 3))

        def forward(self, x):
            h, answers = torch.zeros(x.shape[0], 4, 3), []
            for t in range(x.shape[1]):
                own = torch.einsum("bij,ijk->bik", h, self.w)
                h = torch.tanh(own + torch.einsum("bij,jik->bjk", x[:, t].unsqueeze(1), self.u))
                answers.append(h)
            return torch.stack(answers).permute(1, 0, 2, 3).flatten(2)

    torch.manual_seed(0)
    module = Columns().eval()
    model = rnnrt.from_torch(module, example=floats())
    assert [layer.kind for layer in model.graph.layers if layer.keeps == "state"] == ["scan"]
    x = floats(2, 25)
    whole = model(x.numpy())
    assert distance(answer(module, x), whole) <= TOLERANCE
    stream = model.stream(batch_size=2)
    assert (
        np.concatenate([stream.push(x.numpy()[:, :7]), stream.push(x.numpy()[:, 7:])], 1).tobytes()
        == whole.tobytes()
    )
