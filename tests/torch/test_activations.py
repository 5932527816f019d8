"""Activations and elementwise functions of PyTorch, as modules, functions and methods, against PyTorch."""

import numpy as np
import pytest
from needs import need

import rnnrt
from rnnrt.errors import UnsupportedModelError

torch = need("torch")
F, nn = torch.nn.functional, torch.nn

MODULES = {
    "GELU": nn.GELU(),
    "GELU tanh": nn.GELU(approximate="tanh"),
    "Softplus": nn.Softplus(),
    "Softplus beta": nn.Softplus(beta=2.5, threshold=30),
    "Mish": nn.Mish(),
    "LogSigmoid": nn.LogSigmoid(),
    "CELU": nn.CELU(0.7),
    "Softshrink": nn.Softshrink(0.2),
    "Hardshrink": nn.Hardshrink(0.4),
    "RReLU": nn.RReLU(0.1, 0.4),
    "LogSoftmax": nn.LogSoftmax(-1),
    "PReLU": nn.PReLU(),
    "Hardtanh": nn.Hardtanh(-0.4, 0.9),
    "Hardtanh above 0": nn.Hardtanh(0.2, 0.9),
}
FUNCTIONS = {
    "log": lambda x: torch.log(x.abs() + 0.1),
    "log1p": lambda x: x.abs().log1p(),
    "log2, log10": lambda x: torch.log2(x * x + 0.5) + torch.log10(x.square() + 1),
    "expm1": torch.expm1,
    "sqrt": lambda x: torch.sqrt(x.abs()),
    "rsqrt": lambda x: torch.rsqrt(x**2 + 1e-3),
    "reciprocal": lambda x: (2 + x).reciprocal(),
    "powers": lambda x: x**3 + torch.pow(x, 2) - (x + 3) ** -1 + (x + 3).pow(-0.5) + x.abs() ** 0.5,
    "a large power": lambda x: x**7,
    "a number to a power": lambda x: 2.0**x,
    "sin, cos": lambda x: torch.sin(4 * x) - x.cos(),
    "sign": torch.sign,
    "erf": torch.erf,
    "abs": abs,
    "clamp": lambda x: x.clamp(-0.3, 0.4),
    "clamp above": lambda x: torch.clamp(x, max=0.1),
    "clamp below": lambda x: x.clamp_min(-0.2),
    "clamp of bounds in the wrong order": lambda x: x.clamp(0.4, -0.3),
    "gelu": F.gelu,
    "softplus": F.softplus,
    "softplus, cut off": lambda x: F.softplus(x, beta=2.0, threshold=0.5),
    "mish": F.mish,
    "celu": lambda x: F.celu(x, 1.3),
    "prelu": lambda x: F.prelu(x, torch.tensor([0.3])),
    "log_softmax": lambda x: F.log_softmax(50 * x, dim=-1),
    "in place": lambda x: F.mish(x + 0, inplace=True),
}


class Recurrent(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.rnn, self.function = nn.GRU(4, 6, batch_first=True), function

    def forward(self, x):
        return self.function(self.rnn(x)[0])


class Channels(nn.Module):
    """Channels on the second axis, as convolutions have them."""

    def __init__(self, function):
        super().__init__()
        self.conv, self.function = nn.Conv1d(4, 6, 3), function

    def forward(self, x):
        return self.function(self.conv(x))


def compared(module, *inputs, tolerance=5e-7):
    """The imported model, once its answers are those of the module."""
    module = module.eval()
    with torch.no_grad():
        expected = module(*inputs).numpy()
    model = rnnrt.from_torch(module, example=inputs if len(inputs) > 1 else inputs[0])
    made = model(*(x.numpy() for x in inputs))
    assert made.shape == expected.shape
    np.testing.assert_allclose(made, expected, atol=tolerance * max(1.0, np.abs(expected).max()), rtol=0)
    return model


def example(*shape):
    return torch.from_numpy(np.random.default_rng(3).standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize("name", MODULES)
def test_a_module_of_an_activation(name):
    torch.manual_seed(1)
    assert compared(Recurrent(MODULES[name]), example(2, 9, 4)).streamable


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_of_every_number(name):
    torch.manual_seed(2)
    assert compared(Recurrent(FUNCTIONS[name]), example(2, 9, 4)).streamable


def test_a_slope_for_each_channel():
    slopes = nn.PReLU(6)
    slopes.weight.data = torch.linspace(-0.5, 0.9, 6)
    compared(Channels(slopes), example(2, 4, 9))
    with pytest.raises(UnsupportedModelError, match="channels on the second axis"):
        rnnrt.from_torch(Recurrent(slopes).eval(), example=example(2, 9, 4))


class Snake(nn.Module):
    """x + sin(alpha x)^2 / alpha, as vocoders write it."""

    def __init__(self, channels):
        super().__init__()
        self.alpha = nn.Parameter(torch.linspace(0.4, 3, channels).view(1, channels, 1))

    def forward(self, x):
        return x + (self.alpha + 1e-9).reciprocal() * torch.sin(self.alpha * x).pow(2)


def test_snake_from_its_parts():
    compared(Channels(Snake(6)), example(2, 4, 9))


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: x**0.3, "this power is not supported.*found 0.3"),
        (lambda x: x**0, "this power is not supported"),
        (lambda x: (-2.0) ** x, "only a number above 0"),
        (lambda x: x.clamp(min=float("nan")), "a bound of clamp must be a number"),
        (lambda x: F.softplus(x, beta=-1), "the beta of softplus must be above 0"),
        (lambda x: F.rrelu(x, training=True), "after eval"),
        (lambda x: F.celu(x, alpha=-1.0), "CELU must be above 0"),
    ],
)
def test_what_cannot_be_honoured_is_refused(function, words):
    with pytest.raises(UnsupportedModelError, match=words):
        rnnrt.from_torch(Recurrent(function).eval(), example=example(2, 9, 4))
