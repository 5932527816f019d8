"""Keras files of weights alone, described layer by layer."""

import io

import h5py
import numpy as np
import pytest
from keras_records import assert_answers, file, weights_alone
from needs import need

import rnnrt
from rnnrt import reference
from rnnrt.errors import ModelFileError, ShapeError, UnsupportedModelError
from rnnrt.importers.keras import reader as importer

#: Keras's own variables, seen through NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

#: The recorded networks, as their authors would write them down.
CLASSIFIER = """
embedding: Embedding
SpatialDropout1D rate=0.2
conv1d: Conv1D padding=same activation=relu
MaxPooling1D pool_size=2 padding=same      # halves the frames
lstm: LSTM
dense: Dense activation=softmax
"""
SERIES = """
lstm_3: LSTM return_sequences=True
lstm_4: LSTM
dense_2: Dense activation=softmax
"""


def test_a_tree_of_weights_answers_as_keras_did():
    assert_answers(importer.read(file("text_classifier.weights.h5"), CLASSIFIER), "text_classifier")
    nameless = "\n".join(line.partition(": ")[2] or line for line in CLASSIFIER.splitlines())
    assert_answers(importer.read(file("text_classifier.weights.h5"), nameless), "text_classifier")


@pytest.mark.parametrize(
    "name,spec", [("text_classifier.h5", CLASSIFIER), ("old_series.keras2.1.5.h5", SERIES)]
)
def test_a_legacy_list_of_weights_answers_as_keras_did(name, spec):
    """The second by the defaults of the Keras that wrote it: hard_sigmoid gates."""
    made = importer.read(weights_alone(file(name)), spec)
    assert_answers(made, name.partition(".")[0])
    assert made.metadata["format"] == "hdf5"


def test_every_chain_of_a_live_keras_is_its_lines(tmp_path):
    keras = need("keras")
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((12, 6)),
            layers.Conv1D(8, 3, groups=2, padding="causal"),
            layers.BatchNormalization(),
            layers.SeparableConv1D(5, 2),
            layers.Bidirectional(layers.GRU(3, return_sequences=True), merge_mode="sum"),
            layers.TimeDistributed(layers.Dense(4, activation="tanh")),
            layers.SimpleRNN(3, return_sequences=True, go_backwards=True),
            layers.DepthwiseConv1D(2),
            layers.Flatten(),
            layers.Dense(2, use_bias=False),
            layers.LayerNormalization(),
        ]
    )
    lines = """
    input length=12
    Conv1D groups=2 padding=causal
    BatchNormalization
    SeparableConv1D
    Bidirectional GRU return_sequences=True merge_mode=sum
    TimeDistributed Dense activation=tanh
    SimpleRNN return_sequences=True go_backwards=True
    DepthwiseConv1D
    Flatten
    Dense use_bias=False
    LayerNormalization
    """
    for layer in model.layers:
        layer.set_weights([np.random.default_rng(1).uniform(0.2, 0.7, w.shape) for w in layer.get_weights()])
    path = tmp_path / "chain.weights.h5"
    model.save_weights(path)
    x = np.random.default_rng(0).standard_normal((2, 12, 6)).astype(np.float32)
    assert np.abs(rnnrt.from_keras(path, lines)(x) - model.predict(x, verbose=0)).max() < 1e-5


@pytest.mark.parametrize(
    "change,error,match",
    [
        (("lstm: LSTM", "lstm: LSTM units=7"), ModelFileError, "lstm"),
        (("lstm: LSTM", "rnn: LSTM"), ModelFileError, "'rnn'.*expected lstm:"),
        (("lstm: LSTM", "lstm: GRU"), ModelFileError, "gru"),
        (("lstm: LSTM", "lstm: LSTM colour=red"), UnsupportedModelError, "colour='red'"),
        (("lstm: LSTM", "lstm: LSTM activation=softmax"), UnsupportedModelError, "softmax"),
        (("dense: Dense activation=softmax", ""), ModelFileError, "layers/dense/vars/0"),
        (("dense: Dense", "dense: Add"), UnsupportedModelError, "spec, line 7.*chain.*found Add"),
        (("dense: Dense", "dense: os.system"), UnsupportedModelError, "spec, line 7.*os.system"),
        (("dense: Dense", "dense: Linear"), UnsupportedModelError, "spec, line 7.*found Linear"),
        ((CLASSIFIER, "spec.json"), ModelFileError, "spec.json: cannot be read"),
        (("lstm: LSTM", "lstm: Bidirectional LSTM"), ModelFileError, "bidirectional"),
        (("lstm: LSTM", "lstm: Bidirectional Bidirectional"), UnsupportedModelError, "spec, line 6"),
        (("embedding:", "input features=x\nembedding:"), UnsupportedModelError, "input line"),
        (("embedding:", "input ids length=0\nembedding:"), UnsupportedModelError, "input line"),
        (("lstm: LSTM", "lstm: LSTM ?"), UnsupportedModelError, "still has a"),
        ((CLASSIFIER, "# nothing\n"), UnsupportedModelError, "no layer"),
    ],
    ids=lambda v: v[1][:24] if isinstance(v, tuple) else None,
)
def test_lines_that_do_not_fit_are_refused(change, error, match):
    with pytest.raises(error, match=match):
        importer.read(file("text_classifier.weights.h5"), CLASSIFIER.replace(*change))


def test_what_no_weights_tell_must_be_stated():
    target = io.BytesIO()
    with h5py.File(target, "w") as made:
        made["layers/dense/vars/0"], made["layers/dense/vars/1"] = (
            np.ones((6, 2), np.float32),
            np.zeros(2, np.float32),
        )
    data = target.getvalue()
    with pytest.raises(UnsupportedModelError, match="input features=N"):
        importer.read(data, "Flatten\nDense")
    made = importer.read(data, "input features=3 length=2\nFlatten\nDense")
    assert reference.run(made, {made.inputs[0]: np.ones((1, 2, 3))})[0]["dense"].tolist() == [[6.0, 6.0]]
    with pytest.raises((ShapeError, ModelFileError)):
        importer.read(data, "input features=3 length=3\nFlatten\nDense")


def test_lines_are_for_weights_alone():
    with pytest.raises(UnsupportedModelError, match="to_json"):
        importer.read(file("text_classifier.keras"), CLASSIFIER)
    with pytest.raises(UnsupportedModelError, match="one layer a line"):
        importer.read(file("text_classifier.weights.h5"))
