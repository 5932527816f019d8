"""Keras files of weights alone, described layer by layer."""

import io

import h5py
import numpy as np
import pytest
from keras_records import assert_answers, file, weights_alone
from needs import need

import rnnrt
from rnnrt import reference
from rnnrt.errors import ModelFileError, RnnrtError, ShapeError, UnsupportedModelError
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


def test_a_front_end_of_pictures(tmp_path):
    keras = need("keras")
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((None, 12, 2)),
            layers.Conv2D(4, (3, 5), strides=(1, 2), padding="same"),
            layers.BatchNormalization(),
            layers.DepthwiseConv2D((2, 3), padding="same"),
            layers.SeparableConv2D(5, 3, padding="same", activation="relu"),
            layers.MaxPooling2D((1, 3)),
            layers.Reshape((-1, 10)),
            layers.GRU(4),
        ]
    )
    lines = """
    input bins=12
    Conv2D strides=1,2 padding=same
    BatchNormalization
    DepthwiseConv2D padding=same
    SeparableConv2D padding=same activation=relu
    MaxPooling2D pool_size=1,3
    Reshape target_shape=-1,10
    GRU
    """
    model.save_weights(tmp_path / "m.weights.h5")
    made = rnnrt.from_keras(tmp_path / "m.weights.h5", lines)
    x = np.random.default_rng(0).standard_normal((2, 7, 12, 2)).astype(np.float32)
    assert np.allclose(made(x), keras.ops.convert_to_numpy(model(x)), atol=1e-6)
    with pytest.raises(
        UnsupportedModelError, match=r"is supported only where its first spatial axis is time"
    ):
        rnnrt.from_keras(tmp_path / "m.weights.h5", lines.replace("input bins=12", ""))


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
        (("lstm: LSTM", "lstm: LSTM activation=log_softmax"), UnsupportedModelError, "softmax"),
        (("dense: Dense activation=softmax", ""), ModelFileError, "layers/dense/vars/0"),
        (("dense: Dense", "dense: Add"), UnsupportedModelError, "spec, line 7.*Add joins two"),
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


@pytest.mark.parametrize("mode", ["int8", "int4", "float8"])
def test_quantised_weights_are_named(mode, tmp_path):
    keras = need("keras")
    model = keras.Sequential([keras.Input((5, 8)), keras.layers.GRU(6), keras.layers.Dense(8)])
    model.quantize(mode)
    model.save_weights(tmp_path / "q.weights.h5")
    with pytest.raises(
        UnsupportedModelError, match=r"'dense.*Dense\).*the weights are quantised.*quantize\(\)"
    ):
        rnnrt.from_keras(tmp_path / "q.weights.h5", "GRU\nDense")
    with pytest.raises(UnsupportedModelError, match=f"weights are quantised \\({mode.capitalize()}\\)"):
        rnnrt.from_keras(tmp_path / "q.weights.h5", model.to_json())


def test_weights_of_lora_are_read_merged_as_keras_writes_them(tmp_path):
    keras = need("keras")
    model = keras.Sequential([keras.Input((5, 8)), keras.layers.GRU(6), keras.layers.Dense(8)])
    model.layers[1].enable_lora(2)
    for weight in model.layers[1].trainable_weights:
        weight.assign(np.random.default_rng(3).standard_normal(weight.shape) * 0.3)
    model.save_weights(tmp_path / "l.weights.h5")
    x = np.random.default_rng(0).standard_normal((2, 5, 8)).astype(np.float32)
    found = rnnrt.from_keras(tmp_path / "l.weights.h5", "GRU\nDense")(x)
    assert np.abs(found - model.predict(x, verbose=0)).max() < 1e-5


# ---- branches ----------------------------------------------------------------------------------------------


def gated(keras):
    """Two inputs, a gate, a residual, functions of keras.ops, states that start a layer, two outputs."""
    layers, ops = keras.layers, keras.ops
    x, speaker = keras.Input((None, 4), name="x"), keras.Input((None, 3), name="speaker")
    a = layers.Conv1D(6, 3, padding="causal", name="front")(ops.log(ops.add(ops.square(x), 0.5)))
    gate = layers.Dense(6, activation="sigmoid", name="gate")(a)
    y = layers.Multiply()([a, gate])
    y = layers.Add()([y, a])
    _, h, c = layers.LSTM(5, return_state=True, name="reader")(speaker)
    y = layers.LSTM(5, return_sequences=True, name="writer")(y, initial_state=[h, c])
    voice = layers.Dense(1, name="voice")(y)
    y = layers.Concatenate()([y, a])
    y = layers.Bidirectional(layers.GRU(3, return_sequences=True), name="both")(y)
    return keras.Model([x, speaker], [ops.subtract(1.0, y), voice])


GATED = """
x = input
speaker = input
square x
add 0.5
log
a = front: Conv1D padding=causal
gate: Dense activation=sigmoid
Multiply a
y = Add a
last, h, c = reader: LSTM speaker return_state=True
w = writer: LSTM y h c return_sequences=True
Concatenate a
both: Bidirectional GRU return_sequences=True
b = multiply 1
out = subtract 1 b
voice = voice: Dense w
output out voice
"""


def random_weights(model):
    for k, layer in enumerate(model.layers):
        rng = np.random.default_rng(k)
        layer.set_weights([rng.uniform(-0.7, 0.7, w.shape) for w in layer.get_weights()])


def inputs(frames=9, others=7):
    rng = np.random.default_rng(0)
    return [rng.standard_normal((2, t, f)).astype(np.float32) for t, f in ((frames, 4), (others, 3))]


def by_folder(spec):
    """The spec with the folders that a tree has for its layers."""
    names = {
        "front": "conv1d",
        "gate": "dense",
        "reader": "lstm",
        "writer": "lstm_1",
        "voice: D": "dense_1: D",
    }
    for name, folder in (names | {"both": "bidirectional"}).items():
        spec = spec.replace(name, folder) if name != "gate" else spec.replace("gate:", "dense:")
    return spec


@pytest.mark.parametrize("kind", ["tree", "list"])
def test_a_spec_with_branches_is_the_network(kind, tmp_path):
    keras = need("keras")
    model = gated(keras)
    random_weights(model)
    path, spec = tmp_path / "gated.weights.h5", by_folder(GATED)
    if kind == "tree":
        model.save_weights(path)
    else:
        model.save(tmp_path / "gated.h5")
        path, spec = tmp_path / "list.h5", GATED
        path.write_bytes(weights_alone((tmp_path / "gated.h5").read_bytes()))
    x = inputs()
    imported = rnnrt.from_keras(path, spec)
    for found, expected in zip(imported(*x), model.predict(x, verbose=0), strict=True):
        assert np.abs(found - expected).max() < 1e-5


def test_one_part_of_a_file_is_read_where_the_rest_is_left_out(tmp_path):
    """Two networks in one file, each by a spec of its own."""
    keras = need("keras")
    layers = keras.layers
    one = [layers.LSTM(5, return_sequences=True, name="a"), layers.Dense(4, name="b")]
    two = [layers.LSTM(6, return_sequences=True, name="c"), layers.Dense(2, name="d")]
    whole = keras.Sequential([keras.Input((None, 3)), *one, *two])
    random_weights(whole)
    whole.save(tmp_path / "whole.h5")
    whole.save_weights(tmp_path / "tree.weights.h5")
    (tmp_path / "list.h5").write_bytes(weights_alone((tmp_path / "whole.h5").read_bytes()))
    x = np.random.default_rng(0).standard_normal((2, 7, 3)).astype(np.float32)
    middle = keras.Sequential([keras.Input((None, 3)), *one]).predict(x, verbose=0)
    end = whole.predict(x, verbose=0)
    specs = {
        "list.h5": (
            "a: LSTM return_sequences=True\nb: Dense\nignore c d",
            "ignore a b\n{}c: LSTM{}\nd: Dense",
        ),
        "tree.weights.h5": (
            "lstm: LSTM return_sequences=True\ndense: Dense\nignore *_1",
            "{}lstm_1: LSTM{}\ndense_1: Dense\nignore lstm dense",
        ),
    }
    for name, (first, second) in specs.items():
        assert np.abs(rnnrt.from_keras(tmp_path / name, first)(x) - middle).max() < 1e-5
        found = rnnrt.from_keras(tmp_path / name, second.format("", " return_sequences=True"))(middle)
        assert np.abs(found - end).max() < 1e-5
        with pytest.raises(ModelFileError, match="no layer of the file is called 'e\\*'"):
            rnnrt.from_keras(tmp_path / name, first.replace("ignore ", "ignore e* "))
        with pytest.raises(ModelFileError, match="ignored and used"):
            rnnrt.from_keras(tmp_path / name, first.replace("ignore ", "ignore * "))
        with pytest.raises(ModelFileError, match="belong to no layer"):
            rnnrt.from_keras(tmp_path / name, first.partition("ignore")[0])


def test_a_network_is_described_by_a_file_beside_its_weights(tmp_path):
    """By a .keras file, a whole .h5 file or the text of to_json(); the weights as a tuner leaves them, with
    the optimizer's.
    """
    keras = need("keras")
    layers = keras.layers
    model = keras.Sequential([keras.Input((6, 3)), layers.GRU(4), layers.Dense(2)])
    model.compile("adam", "mse")
    for name in ("whole.keras", "whole.h5"):
        model.save(tmp_path / name)
    (tmp_path / "model.json").write_text(model.to_json())
    x = np.random.default_rng(0).standard_normal((4, 6, 3)).astype(np.float32)
    model.fit(x, np.ones((4, 2)), epochs=1, verbose=0)
    model.save_weights(tmp_path / "checkpoint.weights.h5")
    y = model.predict(x, verbose=0)
    for name in ("whole.keras", "whole.h5", "model.json"):
        for spec in (tmp_path / name, str(tmp_path / name)):
            made = rnnrt.from_keras(tmp_path / "checkpoint.weights.h5", spec)
            assert np.abs(made(x) - y).max() < 1e-5
    with pytest.raises(ModelFileError, match="model.json"):
        (tmp_path / "model.json").write_bytes(b"PK\x03\x04 no archive")
        rnnrt.from_keras(tmp_path / "checkpoint.weights.h5", tmp_path / "model.json")
    with pytest.raises(UnsupportedModelError, match=r"checkpoint\.weights\.h5.*does not describe a network"):
        path = tmp_path / "checkpoint.weights.h5"
        rnnrt.from_keras(path, path)


#: A part of the spec with branches, what stands there instead, and what is said of it.
MISTAKES = [
    ("Add a", "Add z", "line 10.*names: .*a"),
    ("Add a", "Add", "line 10.*joins two results or more"),
    ("Multiply a", "Multiply gate", "line 9"),
    ("y h c", "y h", "."),
    ("y = Add a", "Add a", "line 12.*names"),
    ("y = Add a", "y = Add a\nq = tanh y", "line 11.*no line reads"),
    ("voice = ", "", "line 18.*output names"),
    ("output out voice", "output out voice\ntanh", "last line"),
    ("output out voice", "output out", "line 17.*no line reads"),
    ("x = input\n", "x = input features=x\n", "input line"),
    ("speaker = input\n", "speaker: input\n", "line 3.*first line"),
    ("a = front", "a = gate", "."),
    ("dense: Dense", "dense_1: Dense", "."),
    ("add 0.5", "Add 0.5", "line 5"),
    ("add 0.5", "add 0.5.5", "line 5"),
    ("reader: LSTM speaker", "reader: LSTM h", "line 11"),
]


@pytest.mark.parametrize("old, new, words", MISTAKES)
def test_mistakes_in_a_spec_with_branches_are_named(old, new, words, tmp_path):
    keras = need("keras")
    path = tmp_path / "gated.weights.h5"
    gated(keras).save_weights(path)
    spec = by_folder(GATED)
    old, new = by_folder(old), by_folder(new)
    assert old in spec
    with pytest.raises(RnnrtError, match=words):
        rnnrt.from_keras(path, spec.replace(old, new))
