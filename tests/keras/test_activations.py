"""Activations of Keras, of layers, of cells and as layers, against Keras."""

import numpy as np
import pytest
from needs import need

import rnnrt

keras = need("keras")
L = keras.layers

NAMES = [
    "gelu",
    "softplus",
    "mish",
    "log_sigmoid",
    "celu",
    "soft_shrink",
    "hard_shrink",
    "hard_tanh",
    "silu",
] + ["softsign", "elu", "selu", "relu6", "hard_silu", "leaky_relu", "hard_sigmoid"]


def compared(model, x, tolerance=1e-6):
    expected = np.asarray(model.predict(x, verbose=0))
    made = rnnrt.from_keras(model)
    y = made(x)
    assert y.shape == expected.shape
    np.testing.assert_allclose(y, expected, atol=tolerance * max(1, np.abs(expected).max()), rtol=0)
    return made


def example(*shape):
    return np.random.default_rng(5).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("name", NAMES)
def test_an_activation_of_layers_and_of_cells(name):
    keras.utils.set_random_seed(1)
    parts = [
        keras.Input((None, 3)),
        L.Conv1D(5, 2, activation=name),
        L.LSTM(4, activation=name, return_sequences=True),
    ]
    compared(keras.Sequential([*parts, L.Dense(6), L.Activation(name)]), example(2, 7, 3))


@pytest.mark.parametrize("top", [None, 0.8])
@pytest.mark.parametrize("slope", [0.0, 0.2])
@pytest.mark.parametrize("floor", [0.0, 0.3])
def test_relu_in_all_its_options(top, slope, floor):
    keras.utils.set_random_seed(4)
    relu = L.ReLU(max_value=top, negative_slope=slope, threshold=floor)
    compared(
        keras.Sequential([keras.Input((None, 3)), L.GRU(5, return_sequences=True), relu]), example(2, 9, 3)
    )


def test_log_softmax():
    keras.utils.set_random_seed(2)
    parts = [keras.Input((None, 3)), L.GRU(5, return_sequences=True), L.Dense(6, activation="log_softmax")]
    compared(keras.Sequential([*parts, L.Activation("log_softmax")]), example(2, 7, 3))


@pytest.mark.parametrize("shape", ["sequences", "vectors"])
def test_prelu_has_a_slope_for_each_feature(shape):
    keras.utils.set_random_seed(3)
    slopes = keras.initializers.RandomUniform(-0.5, 0.9)
    parts = [keras.Input((None, 3)), L.GRU(5, return_sequences=shape == "sequences")]
    parts += [L.PReLU(slopes, shared_axes=[1] if shape == "sequences" else None), L.Dense(2)]
    compared(keras.Sequential(parts), example(2, 7, 3))
