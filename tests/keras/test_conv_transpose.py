"""keras.layers.Conv1DTranspose answers as in Keras, whole and streamed."""

import itertools

import numpy as np
import pytest
from needs import need

keras = need("keras")

import rnnrt

GRID = [
    (taps, stride, dilation, padding)
    for taps, stride, dilation, padding in itertools.product(
        (1, 2, 3, 4, 7), (1, 2, 4), (1, 2), ("valid", "same")
    )
    if stride == 1 or dilation == 1
]


def network(taps, frames=None, **options):
    x = keras.Input((frames, 3))
    up = keras.layers.Conv1DTranspose(4, taps, bias_initializer="normal", name="up", **options)
    return keras.Model(x, up(x))


@pytest.mark.parametrize(("taps", "stride", "dilation", "padding"), GRID)
def test_every_option(taps, stride, dilation, padding):
    keras.utils.set_random_seed(0)
    options = {"strides": stride, "dilation_rate": dilation, "padding": padding, "activation": "tanh"}
    model = network(taps, **options)
    imported = rnnrt.from_keras(model)
    x = np.random.default_rng(0).standard_normal((2, 6, 3)).astype(np.float32)
    wanted, y = keras.ops.convert_to_numpy(model(x)), imported(x)
    assert y.shape == wanted.shape and np.abs(y - wanted).max() <= 1e-5
    stream = imported.stream(batch_size=2)
    parts = [stream.push(x[:, :1]), stream.push(x[:, 1:]), stream.flush()]
    assert np.concatenate(parts, 1).tobytes() == y.tobytes()


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".weights.h5"])
def test_a_file(suffix, tmp_path):
    model, path = network(4, strides=2, padding="same"), tmp_path / f"up{suffix}"
    spec = None
    if suffix == ".weights.h5":
        model.save_weights(path)
        spec = "Conv1DTranspose strides=2 padding=same"
    else:
        model.save(path)
    x = np.random.default_rng(1).standard_normal((2, 5, 3)).astype(np.float32)
    wanted = keras.ops.convert_to_numpy(model(x))
    assert np.abs(rnnrt.from_keras(path, spec)(x) - wanted).max() <= 1e-5


def transposed(x, kernel, bias, stride, padding, frames):
    """What TensorFlow says: the transpose of the convolution that makes x's frames of ``frames`` ones."""
    taps, n = len(kernel), x.shape[1]
    before = max((n - 1) * stride + taps - frames, 0) // 2 if padding == "same" else 0
    y = np.zeros((len(x), frames, kernel.shape[1])) + bias
    for t in range(n):
        for k in range(taps):
            if 0 <= t * stride + k - before < frames:
                y[:, t * stride + k - before] += x[:, t] @ kernel[k].T
    return y


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(
    ("taps", "stride", "more"), [(3, 2, 0), (3, 2, 1), (2, 2, 1), (4, 3, 0), (4, 3, 2), (1, 3, 2), (5, 4, 3)]
)
def test_output_padding(taps, stride, more, padding):
    """As TensorFlow has it, which Keras's backend of PyTorch does not follow in every case."""
    keras.utils.set_random_seed(taps)
    model = network(taps, strides=stride, padding=padding, output_padding=more)
    x = np.random.default_rng(2).standard_normal((2, 5, 3)).astype(np.float32)
    kernel, bias = (np.asarray(w.value.detach().cpu()) for w in model.layers[-1].weights)
    cut = 2 * (taps // 2) if padding == "same" else 0
    wanted = transposed(x, kernel, bias, stride, padding, 4 * stride + taps - cut + more)
    y = rnnrt.from_keras(model)(x)
    assert y.shape == wanted.shape and np.abs(y - wanted).max() <= 1e-5
