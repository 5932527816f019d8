"""Sizes that forward asks for, and reshapes and joins that hold for one number of frames alone."""

import numpy as np
import pytest
from expect import TOLERANCE, distance
from needs import need

torch = need("torch")

import torch.nn.functional as F
from torch import nn
from torch_modules import Call

import rnnrt


def same(module, *shapes):
    """The import, made from the first shape, answers as the module at each."""
    torch.manual_seed(0)
    model = rnnrt.from_torch(module.eval(), example=torch.randn(shapes[0]))
    for shape in shapes:
        for batch in (shape[0], 1):
            x = torch.randn(batch, *shape[1:])
            with torch.no_grad():
                wanted = module(x)
            for a, b in zip(*((v if isinstance(v, tuple) else (v,)) for v in (wanted, model(x.numpy())))):
                assert tuple(a.shape) == b.shape and distance(a.numpy(), b) <= TOLERANCE
    return model


POOLED = {
    "avg_pool1d": lambda x, c, f: f(F.avg_pool1d(c(x), c(x).shape[-1]).squeeze(2)),
    "max_pool1d": lambda x, c, f: f(F.max_pool1d(c(x), c(x).size(2)).squeeze(2)),
    "max_pool1d of one size": lambda x, c, f: f(F.max_pool1d(c(x), (c(x).size(2),)).flatten(1)),
}


@pytest.mark.parametrize("name", POOLED)
def test_a_pool_over_as_many_frames_as_there_are(name):
    same(Call(POOLED[name], nn.Conv1d(3, 4, 3), nn.Linear(4, 2)), (2, 3, 9), (3, 3, 14))


def test_a_pool_over_all_of_two_axes():
    pooled = lambda x, c, f: f(F.avg_pool2d(c(x).mean(3, keepdim=True) * c(x), c(x).shape[2:]).flatten(1))
    module = Call(pooled, nn.Conv2d(1, 4, 3), nn.Linear(4, 2))
    torch.manual_seed(0)
    model = rnnrt.from_torch(module, shapes={"x": (None, 1, None, 8)}, example=torch.randn(2, 1, 9, 8))
    x = torch.randn(3, 1, 12, 8)
    assert distance(module(x).detach().numpy(), model(x.numpy())) <= TOLERANCE


def windowed(x, c, r, f):
    """A window of 12 frames as a picture, and its frames beside its rows again."""
    x = torch.relu(c(x.view(-1, 1, 12, 3)))
    frames = x.shape[2]
    x = r(x.permute(2, 0, 3, 1).reshape(frames, -1, 5 * 3))[0]
    return f(x.view(-1, 6)).view(frames, -1, 2)[-1, :, :]


def flattened(x, c, f):
    return f(c(x).view(x.size(0), 4 * 7))


def added_to_zeros(x, f, g):
    made = torch.zeros(size=(x.size()[0], 5))
    for part in (f, g):
        made = made + part(x[:, -1])
    return made


def joined(x, down, up):
    """A skip beside what comes back, cut to its length, which Python works out."""
    length = x.shape[-1]
    x = F.pad(x, (0, max(0, (length + 3) // 4 * 4 - length)))
    return up(down(x))[..., :length] + x[..., :length]


def turned(x, r, c, f):
    """The same numbers as three steps, and as three channels."""
    return f(torch.cat([r(x)[0][:, -1], c(x).mean(-1)], 1))


def merged(x, f, norm, r):
    """(batch, channels, bins, frames) of which a layer sees every frame of every row alone."""
    frames, batch, channels, _ = x.permute(3, 0, 1, 2).data.shape
    y = x.permute(3, 0, 1, 2)[..., :5]
    y = norm(f(y.reshape(-1, channels * 5))).reshape(frames, batch, 6)
    y = r(torch.tanh(y))[0].reshape(-1, 6)
    y = torch.cat([y, y], -1).reshape(frames, batch, 2, 6)
    return y.permute(1, 2, 3, 0)


FIXED = {
    "windowed": (
        lambda: Call(windowed, nn.Conv2d(1, 5, (5, 1)), nn.LSTM(15, 6), nn.Linear(6, 2)),
        (2, 12, 3),
    ),
    "flattened": (lambda: Call(flattened, nn.Conv1d(3, 4, 3), nn.Linear(28, 2)), (2, 3, 9)),
    "joined": (lambda: Call(joined, nn.Conv1d(3, 4, 4, 4), nn.ConvTranspose1d(4, 3, 4, 4)), (2, 3, 14)),
    "turned": (
        lambda: Call(turned, nn.LSTM(9, 4, batch_first=True), nn.Conv1d(3, 4, 3), nn.Linear(8, 2)),
        (2, 3, 9),
    ),
}


@pytest.mark.parametrize("name", FIXED)
def test_what_holds_for_one_number_of_frames(name):
    make, shape = FIXED[name]
    model = same(make(), shape)
    assert next(iter(model.inputs.values())) == (None, *shape[1:])


def test_zeros_that_a_sum_begins_with():
    same(Call(added_to_zeros, nn.Linear(3, 5), nn.Linear(3, 5)), (2, 7, 3), (3, 9, 3))


def test_batch_and_frames_merged_from_four_axes():
    module = Call(merged, nn.Linear(10, 6), nn.BatchNorm1d(6), nn.GRU(6, 6))
    same(module, (2, 2, 8, 9), (3, 2, 8, 5))


def test_one_step_of_a_policy():
    """A frame whose time comes and goes, and a state."""

    class Policy(nn.Module):
        def __init__(self):
            super().__init__()
            self.gru, self.out = nn.GRU(5, 6), nn.Linear(6, 2)

        def forward(self, x, state, masks):
            y, state = self.gru(x.unsqueeze(0), (state * masks).unsqueeze(0))
            return self.out(y.squeeze(0)), state.squeeze(0)

    module, example = Policy(), (torch.randn(3, 5), torch.randn(3, 6), torch.ones(3, 1))
    model = rnnrt.from_torch(module, example=example)
    for a, b in zip(module(*example), model(*(x.numpy() for x in example))):
        assert distance(a.detach().numpy(), b) <= TOLERANCE


def test_a_frame_of_a_picture_is_taken_by_its_number():
    last = lambda x, c, f: f(c(x)[:, :, -1].flatten(1)) + f(c(x)[:, :, 0].flatten(1))
    module = Call(last, nn.Conv2d(1, 2, 3, padding=1), nn.Linear(12, 2))
    model = same(module, (2, 1, 9, 6), (3, 1, 5, 6))
    assert model.inputs == {"x": (None, 1, None, 6)}
    assert np.isfinite(model(np.ones((1, 1, 3, 6)))).all()
