"""Checkpoints of TensorFlow, weights alone, as it wrote them (tools/record_checkpoints.py), against what it
answered; and the same ones with something that does not fit.
"""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from archives import unpacked
from saved_models import DATA as HELD
from saved_models import INDEX, files, parts, written
from saved_models import recorded as folders

import rnnrt
from rnnrt import ModelFileError, UnsupportedModelError
from rnnrt.importers import detect
from rnnrt.importers.keras import saved_model

DATA = ".data-00000-of-00001"
LINES = "input ids\nEmbedding\nLSTM return_sequences=False recurrent_activation=sigmoid\nDense"


@cache
def recorded():
    """{"2.15/ids_weights": {".index", DATA, ".json", ".npz": content}}."""
    found = {}
    for path, content in unpacked("keras/checkpoints.tar.xz"):
        name = next(path.removesuffix(s) for s in (".index", DATA, ".json", ".npz") if path.endswith(s))
        found.setdefault(name, {})[path.removeprefix(name)] = content
    return found


@pytest.fixture
def index(request, tmp_path):
    """The path of a checkpoint's index, of the recorded one that a test names; others lie beside it."""
    held = recorded()[request.param]
    written(tmp_path, {f"net{end}": held[end] for end in (".index", DATA, ".json")})
    return str(tmp_path / "net.index")


def named(name):
    return pytest.mark.parametrize("index", [f"2.15/{name}"], indirect=True)


def description(index, change=None):
    values = json.loads(Path(index.replace(".index", ".json")).read_text())
    if change:
        change(values["config"]["layers"])
    return json.dumps(values)


@pytest.mark.parametrize("index, name", [(n, n) for n in recorded()], indirect=["index"])
def test_weights_answer_as_tensorflow_does(index, name):
    answers = recorded()[name][".npz"]
    for spec in (description(index), index.replace(".index", ".json")):
        made = rnnrt.from_keras(index, spec)(answers["x"])
        np.testing.assert_allclose(made, answers["y"], rtol=1e-5, atol=3e-6)


@named("ids_trained")
def test_lines_take_the_layers_with_weights_in_order(index):
    answers = recorded()["2.15/ids_trained"][".npz"]
    np.testing.assert_allclose(rnnrt.from_keras(index, LINES)(answers["x"]), answers["y"], atol=1e-6)
    for lines, words in (
        (LINES.replace("recurrent_activation=sigmoid", ""), "recurrent_activation, which is missing"),
        (LINES.replace("\nDense", "\nhead: Dense"), "no names of their own.*head.*in order"),
        (LINES.replace("\nDense", "\nDropout"), "another number of layers.*expected 3.*found 2"),
        (LINES.replace("LSTM", "GRU"), "layer 'gru'"),
    ):
        with pytest.raises((ModelFileError, UnsupportedModelError), match=words):
            rnnrt.from_keras(index, lines)


@pytest.mark.parametrize("name", ["2.15/stacked", "2.9/mixed"])
def test_the_variables_of_a_saved_model_are_a_checkpoint(name, tmp_path):
    held, answers = folders()[0][name], folders()[1][name]
    folder = written(tmp_path / "model", held)
    whole = rnnrt.from_keras(folder)
    metadata = held["keras_metadata.pb"].decode("utf-8", "replace")
    start = metadata.index('{"name"')
    values = saved_model._decoded(json.JSONDecoder().raw_decode(metadata[start:])[0])
    spec = {k: values[k] for k in ("class_name", "config", "keras_version")}
    alone = rnnrt.from_keras(f"{folder}/variables/variables.index", json.dumps(spec))
    assert (alone(answers["x0"]) == whole(answers["x0"])).all()


def swapped(layers):
    """Two layers with weights in another order."""
    k, j = (next(i for i, x in enumerate(layers) if x["class_name"] == name) for name in ("LSTM", "Dense"))
    layers[k], layers[j] = layers[j], layers[k]


def without(name):
    def change(layers):
        layers.remove(next(x for x in layers if x["class_name"] == name))

    return change


@named("chain_trained")
@pytest.mark.parametrize(
    "change, words",
    [
        (swapped, "net.index"),
        (without("Dense"), "another number of layers with weights.*expected 4.*found 3"),
        (without("Dropout"), "stand in another order"),
        (without("Masking"), "stand in another order"),
    ],
)
def test_another_network_is_refused(index, change, words):
    with pytest.raises((ModelFileError, UnsupportedModelError), match=words):
        rnnrt.from_keras(index, description(index, change))


@named("chain_weights")
def test_what_is_missing_is_said(index, tmp_path):
    assert detect(index).importer == "keras"
    with pytest.raises(UnsupportedModelError, match="weights alone.*spec="):
        rnnrt.from_keras(index)
    with pytest.raises(UnsupportedModelError, match="two files.*Give the path"):
        rnnrt.from_keras(Path(index).read_bytes(), description(index))
    with pytest.raises(ModelFileError, match="the name of a checkpoint.*net.index"):
        rnnrt.from_keras(index.removesuffix(".index"), description(index))
    with pytest.raises(ModelFileError, match="is a folder.*net.index"):
        rnnrt.from_keras(tmp_path, description(index))
    data = tmp_path / f"net{DATA}"
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 4
    data.write_bytes(content)
    with pytest.raises(ModelFileError, match="checksum"):
        rnnrt.from_keras(index, description(index))
    data.unlink()
    with pytest.raises(ModelFileError, match=DATA):
        rnnrt.from_keras(index, description(index))


def test_a_checkpoint_without_a_network_of_layers_is_refused(tmp_path):
    """Of a class of the user's own: names of its attributes, and nothing that counts layers."""
    found = parts(folders()[0]["2.15/stacked"])
    for item in found["objects"]:
        item["children"] = [[n.replace("layer", "part"), k] for n, k in item["children"]]
    made = files(found)
    written(tmp_path, {"net.index": made[INDEX], f"net{DATA}": made[HELD]})
    with pytest.raises(UnsupportedModelError, match="no network that Keras built of layers.*part"):
        rnnrt.from_keras(tmp_path / "net.index", '{"class_name": "Sequential", "config": {"layers": []}}')
