"""Live Keras models: as their files answer, and refused by name where Keras computes otherwise."""

import numpy as np
import pytest
from expect import TOLERANCE, distance
from keras_records import (
    assert_answers,
    file,
)
from needs import need

import rnnrt
from rnnrt import reference
from rnnrt.errors import UnsupportedModelError
from rnnrt.importers.keras import reader as importer

keras = need("keras")
from keras import layers as L
from live_keras import saved, sequential

#: Keras's own variables, seen through NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.mark.parametrize(
    "name",
    ["cells", "bidirectional", "stacks", "pointwise", "text_classifier", "forecaster", "branches", "words"],
)
def test_a_live_model_answers_as_its_file_does(name, tmp_path):
    keras = need("keras")
    path = tmp_path / "model.keras"
    path.write_bytes(file(f"{name}.keras"))
    made = importer.read(keras.saving.load_model(path))
    assert made.metadata["format"] == "live" and made.metadata["keras_version"] == keras.__version__
    assert_answers(made, name)


def test_an_untrained_frozen_live_model_is_read_in_its_own_order():
    keras = need("keras")
    layers = keras.layers
    inside = keras.Sequential(
        [
            keras.Input((None, 3)),
            layers.BatchNormalization(),
            layers.Dense(4),
            layers.BatchNormalization(),
            layers.Dense(2),
        ]
    )
    inside.layers[0].trainable = False
    rng = np.random.default_rng(0)
    for v in inside.weights:
        v.assign(rng.uniform(0.5, 1.5, v.shape))
    x = rng.normal(size=(2, 4, 3)).astype(np.float32)
    for frozen in (False, True):
        inside.trainable = not frozen
        model = keras.Sequential([keras.Input((None, 3)), inside, layers.ReLU()])
        made = importer.read(model)
        answer, _ = reference.run(made, {made.inputs[0]: x})
        np.testing.assert_allclose(answer[made.outputs[0].name], model.predict(x, verbose=0), rtol=1e-5)


def test_a_live_layer_and_a_model_that_was_never_called_are_refused():
    keras = need("keras")

    class Mine(keras.Model):
        def __init__(self, units):
            super().__init__()
            self.dense = keras.layers.Dense(units)

        def call(self, x):
            return self.dense(x)

    with pytest.raises(UnsupportedModelError, match="class 'Mine'.*never called.*Call it once"):
        importer.read(Mine(2))
    with pytest.raises(UnsupportedModelError, match="only whole Keras models"):
        importer.read(keras.layers.LSTM(3))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", ["live", "keras", "h5"])
def test_a_depthwise_convolution_imports_from_every_container(how, tmp_path):
    """Keras 3 calls its kernel "kernel"; a .keras file does not say."""
    model = sequential(
        L.DepthwiseConv1D(3, depth_multiplier=2, padding="same", activation="relu"),
        L.DepthwiseConv1D(2, use_bias=False),
    )
    x = np.random.RandomState(0).randn(2, 9, 4).astype(np.float32)
    assert distance(model(x).detach().numpy(), rnnrt.from_keras(saved(model, how, tmp_path))(x)) <= TOLERANCE


def doubled(x):
    return x * 2


def _quantised():
    model = sequential(L.Dense(4))
    model.quantize("int8")
    return model


def _lora():
    model = sequential(L.Dense(4))
    model.layers[0].enable_lora(2)
    return model


def _one_frame_for_all():
    x = keras.Input((None, 4))
    return keras.Model(x, L.Add()([x, L.GlobalAveragePooling1D(keepdims=True)(x)]))


def _one_feature_for_all():
    x = keras.Input((None, 4))
    return keras.Model(x, L.Multiply()([x, L.Dense(1)(x)]))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", ["live", "keras", "h5"])
@pytest.mark.parametrize("make", [_one_frame_for_all, _one_feature_for_all])
def test_one_frame_or_one_feature_stands_for_all(make, how, tmp_path):
    keras.utils.set_random_seed(3)
    model, x = make(), np.random.default_rng(0).standard_normal((2, 9, 4)).astype(np.float32)
    y, wanted = rnnrt.from_keras(saved(model, how, tmp_path))(x), np.asarray(model.predict(x, verbose=0))
    np.testing.assert_allclose(y, wanted, atol=1e-6 * max(1, np.abs(wanted).max()), rtol=0)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", ["live", "keras", "h5"])
@pytest.mark.parametrize(
    "make, match",
    [
        (
            lambda: sequential(L.Conv1D(2, 1, activation=doubled)),
            "'conv1d.*function of the model's author .'doubled'",
        ),
        (
            lambda: sequential(L.GRU(2, activation=lambda x: x * 2)),
            "'gru.*function of the model's author .a lambda",
        ),
        (_quantised, "'dense.*quantization_config"),
        (_lora, "'dense.*lora_rank=2"),
    ],
    ids=["function", "lambda", "int8", "lora"],
)
def test_what_keras_computes_otherwise_is_refused_by_name(make, match, how, tmp_path):
    source = saved(make(), how, tmp_path)
    with pytest.raises(UnsupportedModelError, match=match):
        rnnrt.from_keras(source)


@pytest.mark.filterwarnings("ignore")
def test_a_layer_that_h5_cannot_tell_apart_is_named(tmp_path):
    model = sequential(
        keras.Sequential([keras.Input((None, 4)), L.Dense(3), L.EinsumDense("abc,cd->abd", (None, 3))])
    )
    with pytest.raises(UnsupportedModelError, match="layers/einsum_dense"):
        rnnrt.from_keras(saved(model, "h5", tmp_path))
