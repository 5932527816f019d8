"""Truth values, which are bool in PyTorch and 1 and 0 here: what joins them, and what makes numbers of them.
The importer is asked without its own comparison with the module, which would only refuse a wrong reading.
"""

import numpy as np
import pytest
from needs import need

import rnnrt
from rnnrt.errors import UnsupportedModelError

torch = need("torch")
trace = need("rnnrt.importers.torch.trace")
F, nn = torch.nn.functional, torch.nn


class Of(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function, self.register = function, nn.Linear(4, 4, bias=False)
        self.register.weight.data = torch.eye(4)
        self.register_buffer("some", torch.tensor([True, False, True, True]))

    def forward(self, x):
        return self.function(self, self.register(x))


def numbers():
    """Frames with 0, -0 and numbers on both sides of 1."""
    x = np.random.default_rng(3).standard_normal((2, 7, 4)).astype(np.float32)
    x[:, 2], x[0, 3], x[1, 1] = 0, 2.5, -0.0
    return x


def changed(x):
    m = x > 0
    m |= x > 0.5
    m ^= x < -1
    m &= x < 2
    return m


CASES = {
    # a tensor of numbers where truth values are asked for
    "not": lambda m, x: torch.logical_not(x),
    "and": lambda m, x: torch.logical_and(x, x > -1),
    "or": lambda m, x: torch.logical_or(x, x > 0.5),
    "xor": lambda m, x: torch.logical_xor(x, x > 0.5),
    "NaN is true": lambda m, x: torch.logical_and(torch.log(x), x > -1).float() + torch.log(x).bool(),
    # truth values
    "sum": lambda m, x: (x > 0) + (x > 0.5) + (x < 1),
    "sum in place": lambda m, x: (x > 0).add_(x > 0.5),
    "joined in place": lambda m, x: changed(x),
    "product": lambda m, x: (x > 0) * (x < 1) + (x < -1),
    "not, and, or, xor": lambda m, x: (~(x > 0) & (x < 1)) | ((x > -1) ^ (x > 0.5)),
    "with what the module holds": lambda m, x: ((x > 0) & m.some) + ((x < 0) ^ m.some) + ((x > 1) | m.some),
    "with True": lambda m, x: ((x > 0) & True) + ((x > 0.5) == False),
    "moved": lambda m, x: (x > 0).transpose(1, 2)[:, :2].flip(1) + (x > 0.5).permute(0, 2, 1)[:, 2:],
    "side by side": lambda m, x: torch.cat([x > 0, x > 0.5], -1) + torch.cat([x > 1, x > -1], -1),
    "spread": lambda m, x: (x.sum(1, keepdim=True) > 0).expand_as(x) + (x > 0.5),
    "chosen": lambda m, x: torch.where(x > 0, x > 0.5, x > -1) + torch.where(x > 0, True, False),
    "filled": lambda m, x: (x > 0).masked_fill(x > 0.5, 2.5) + (x < -1),
    "padded": lambda m, x: F.pad(x > 0, (1, 0), value=0.5) + F.pad(x > 0.5, (0, 1)),
    "greatest": lambda m, x: torch.maximum(x > 0, x > 0.5) + (x > 0).amax(1, True) + (x > 1).min(1, True)[0],
    "compared": lambda m, x: ((x > 0) != (x > 0.5)) + ((x > 0) >= (x < -1)),
    "sign": lambda m, x: torch.sign(x > 0) + torch.sign(x > 0.5),
    "as a type": lambda m, x: x.to(torch.bool) + x.bool() + (x > 0).to((x > 1).dtype) + (x > 0).cpu(),
    # numbers of truth values
    "float": lambda m, x: (x > 0).float() + (x > 0.5).float(),
    "long": lambda m, x: (x > 0).long() + (x > 0.5).int(),
    "like numbers": lambda m, x: (x > 0).to(x) + (x > 0.5).to(x.dtype) + (x > 1).type_as(x),
    "times a number": lambda m, x: (x > 0) * 1.0 + (x > 0.5) * 1,
    "times numbers": lambda m, x: (x > 0) * x + (x > 0.5) * m.some.float(),
    "a number more": lambda m, x: ((x > 0) + 1) + (x > 0.5),
    "counted": lambda m, x: (x > 0).sum(-1) + torch.stack([x > 0, x > 0.5]).sum(0)[..., 0],
    "summed up": lambda m, x: (x > 0).cumsum(1) + (x > 0.5),
    "Python's sum": lambda m, x: sum([x > 0, x > 0.5]),
    "chosen beside a number": lambda m, x: torch.where(x > 0, x > 0.5, 1.0) + (x > -1),
    "chosen beside numbers": lambda m, x: torch.where(x > 0, x > 0.5, x) + (x > -1),
    "beside numbers": lambda m, x: torch.cat([x > 0, x], -1) + torch.cat([x > 1, x > -1], -1),
    "functions": lambda m, x: torch.exp(x > 0) + torch.square(x > 0) + (x > 0.5),
    "divided": lambda m, x: (x > 0) / ((x > -5) + 1),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_what_torch_says(name, monkeypatch):
    monkeypatch.setattr(trace, "compare", lambda *_, **__: [])
    module = Of(CASES[name]).eval()
    x = numbers()
    made = rnnrt.from_torch(module, example=torch.from_numpy(x))
    with torch.no_grad():
        expected = module(torch.from_numpy(x)).float().numpy()
    np.testing.assert_allclose(made(x), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "function, word",
    [
        (lambda m, x: ~x, "bitwise_not"),
        (lambda m, x: x & (x > 0), "bitwise_and"),
        (lambda m, x: (x > 0) & 1, "bitwise_and"),
        (lambda m, x: (x > 0) - (x > 1), "subtract"),
        (lambda m, x: -(x > 0), "negate"),
        (lambda m, x: torch.einsum("btf,btf->bt", x > 0, x > 1), "einsum"),
    ],
)
def test_what_is_not_for_them_is_refused(function, word):
    with pytest.raises(UnsupportedModelError, match=word):
        rnnrt.from_torch(Of(function).eval(), example=torch.from_numpy(numbers()))


@pytest.mark.parametrize(
    "name", ["sum", "joined in place", "not, and, or, xor", "like numbers", "chosen", "padded"]
)
def test_an_exported_program_means_the_same(name, tmp_path):
    """torch.export writes types and operators out."""
    module, x = Of(CASES[name]).eval(), torch.from_numpy(numbers())
    sizes = {"x": dict.fromkeys(range(2), torch.export.Dim.AUTO)}
    torch.export.save(torch.export.export(module, (x,), dynamic_shapes=sizes), tmp_path / "m.pt2")
    with torch.no_grad():
        expected = module(x).float().numpy()
    np.testing.assert_allclose(rnnrt.from_pt2(tmp_path / "m.pt2")(x.numpy()), expected, rtol=0, atol=1e-6)
