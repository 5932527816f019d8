"""Weights in parts, as weight norm, spectral norm and pruning leave them in a state dict: those the module
runs with."""

import numpy as np
import pytest
from needs import need
from torch_archives import saved, tensors_of

from rnnrt.errors import ModelFileError, UnsupportedModelError

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")


def test_weight_norm_is_multiplied_out():
    torch = need("torch")
    old = torch.nn.utils.weight_norm
    new = torch.nn.utils.parametrizations.weight_norm
    for norm in (old, new):
        for dim in (0, 1, 2, None):
            module = norm(torch.nn.Conv1d(4, 6, 3), dim=dim)
            with torch.no_grad():
                (module.weight_g if norm is old else module.parametrizations.weight.original0).mul_(1.7)
                module(torch.randn(1, 4, 5))  # the old form computes its weight when it runs
            made = tensors_of(saved({f"conv.{k}": v for k, v in module.state_dict().items()}))
            assert set(made) == {"conv.weight", "conv.bias"}
            np.testing.assert_allclose(made["conv.weight"], module.weight.detach().numpy(), rtol=3e-7)
        rnn = norm(torch.nn.GRU(3, 4), "weight_hh_l0")
        assert set(tensors_of(saved(rnn.state_dict()))) == {
            "weight_ih_l0",
            "weight_hh_l0",
            "bias_ih_l0",
            "bias_hh_l0",
        }


def test_half_of_weight_norm_is_refused():
    torch = need("torch")
    state = torch.nn.utils.weight_norm(torch.nn.Linear(2, 3)).state_dict()
    for name in ("weight_g", "weight_v"):
        with pytest.raises(ModelFileError, match="half of a weight-normalised"):
            tensors_of({k: v for k, v in state.items() if k != name})


def layers(torch):
    nn = torch.nn
    return {
        "linear": (nn.Linear(4, 4), (3, 4)),
        "wide": (nn.Conv1d(4, 6, 3), (2, 4, 9)),
        "square": (nn.Conv1d(5, 5, 3), (2, 5, 9)),
        "transposed": (nn.ConvTranspose1d(4, 6, 3), (2, 4, 9)),
        "square, transposed": (nn.ConvTranspose1d(5, 5, 3), (2, 5, 9)),
    }


@pytest.mark.parametrize("name", ["linear", "wide", "square", "transposed", "square, transposed"])
@pytest.mark.parametrize("old", [True, False])
def test_spectral_norm_is_divided_out(name, old):
    torch = need("torch")
    torch.manual_seed(3)
    layer, shape = layers(torch)[name]
    norm = torch.nn.utils.spectral_norm if old else torch.nn.utils.parametrizations.spectral_norm
    layer, x = norm(layer), torch.randn(shape)
    with torch.no_grad():
        for _ in range(8):  # training's steps, each of which turns u and v a little further
            layer(x)
            (layer.weight_orig if old else layer.parametrizations.weight.original).mul_(1.01)
        layer.eval()(x)
        made = tensors_of(saved({f"c.{k}": v for k, v in layer.state_dict().items()}))
        assert set(made) == {"c.weight", "c.bias"}
        np.testing.assert_allclose(made["c.weight"], layer.weight.numpy(), rtol=1e-6)


def test_spectral_norm_whose_axis_cannot_be_told_is_refused():
    rng = np.random.default_rng(0)
    state = {
        "c.weight_orig": rng.standard_normal((5, 5, 3)),
        "c.weight_u": np.eye(5)[0],
        "c.weight_v": rng.standard_normal(15),
    }
    with pytest.raises(UnsupportedModelError, match=r"c\.weight_orig.*spectral norm.*cannot be told"):
        tensors_of(state)
    with pytest.raises(ModelFileError, match="do not fit.*u \\(4,\\)"):
        tensors_of(state | {"c.weight_u": np.ones(4)})
    with pytest.raises(ModelFileError, match="a part of a spectrally normalised tensor is missing"):
        tensors_of({k: v for k, v in state.items() if k != "c.weight_v"})


def test_pruned_weights_are_multiplied_by_their_mask():
    torch, prune = need("torch"), need("torch.nn.utils.prune")
    layer = torch.nn.GRU(3, 4)
    prune.random_unstructured(layer, "weight_hh_l0", amount=0.5)
    made = tensors_of(saved(layer.state_dict()))
    assert set(made) == {"weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"}
    assert np.array_equal(made["weight_hh_l0"], layer.weight_hh_l0.detach().numpy())
    assert (made["weight_hh_l0"] == 0).sum() == 24


def test_other_parametrisations_are_refused_by_name():
    torch = need("torch")
    state = torch.nn.utils.parametrizations.orthogonal(torch.nn.Linear(3, 3)).state_dict()
    with pytest.raises(UnsupportedModelError, match="original.*parametrization is not supported.*remove_"):
        tensors_of(state)
