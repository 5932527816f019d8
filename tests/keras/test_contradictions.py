"""Keras files that contradict themselves."""

import json

import numpy as np
import pytest
from keras_records import (
    file,
    find,
    with_config,
    with_hdf5,
    with_model_config,
    with_weights,
)

from rnnrt.errors import (
    ModelFileError,
    RnnrtError,
    UnsupportedModelError,
)
from rnnrt.importers.keras import reader as importer

CLASSIFIER = "text_classifier.keras"


def delete(path):
    return lambda opened: opened.__delitem__(path)


def resize(path, shape):
    def change(opened):
        del opened[path]
        opened[path] = np.zeros(shape, np.float32)

    return change


@pytest.mark.parametrize(
    "change, words",
    [
        (delete("layers/lstm/cell/vars/2"), "layers/lstm/cell/vars/2.*bias"),
        (delete("layers/dense"), "layers/dense/vars/0"),
        (
            lambda opened: opened.create_dataset("layers/lstm/cell/vars/3", data=np.zeros(3)),
            "belong to no layer.*layers/lstm/cell/vars/3",
        ),
        (
            lambda opened: opened.create_dataset("layers/other/vars/0", data=np.zeros(3)),
            "layers/other/vars/0",
        ),
        (
            resize("layers/lstm/cell/vars/1", (6, 20)),
            r"'lstm' \(LSTM\): the array recurrent_kernel.*\(6, 24\).*\(6, 20\)",
        ),
        (resize("layers/lstm/cell/vars/2", (25,)), r"bias does not fit.*\(24,\).*\(25,\)"),
        (resize("layers/embedding/vars/0", ()), "embeddings"),
    ],
)
def test_arrays_that_do_not_fit_are_named(change, words):
    with pytest.raises(ModelFileError, match=words):
        importer.read(with_weights(file(CLASSIFIER), change))


@pytest.mark.parametrize(
    "change, words",
    [
        (
            lambda opened: opened["model_weights/lstm"].attrs.create("weight_names", ["a", "b", "c"]),
            "weight_names does not fit.*a, b, c",
        ),
        (
            lambda opened: opened["model_weights/lstm"].attrs.__delitem__("weight_names"),
            "'lstm'.*expected 3; found 0",
        ),
        (
            lambda opened: opened["model_weights"].attrs.create("layer_names", ["lstm"]),
            "layer_names does not fit",
        ),
        (delete("model_weights/lstm"), "group is missing.*lstm"),
        (lambda opened: opened.attrs.create("keras_version", "new"), "keras_version"),
    ],
)
def test_a_legacy_file_that_contradicts_itself_is_refused(change, words):
    def both(opened):
        change(opened)
        opened["model_weights"].attrs["keras_version"] = opened.attrs["keras_version"]

    with pytest.raises(ModelFileError, match=words):
        importer.read(with_hdf5(file("text_classifier.h5"), both))


def test_arrays_in_another_order_than_the_layers_are_told_by_their_names():
    def swap(opened):
        group = opened["model_weights/lstm"]
        kernel, recurrent, bias = group.attrs["weight_names"]
        group.attrs["weight_names"] = [recurrent, kernel, bias]

    with pytest.raises(ModelFileError, match="not those of the layer.*kernel, recurrent_kernel, bias"):
        importer.read(with_hdf5(file("text_classifier.h5"), swap))


def ageless(data, change=lambda config: None):
    """A .h5 file that does not say which Keras wrote it."""

    def age(opened):
        del opened.attrs["keras_version"], opened["model_weights"].attrs["keras_version"]

    return with_hdf5(with_model_config(data, change), age)


def test_a_file_that_does_not_say_its_version_is_asked_only_what_depends_on_it():
    assert importer.read(ageless(file("text_classifier.h5"))).metadata["keras_version"] == "unknown"

    def gates(config):
        find(config, "lstm")["config"]["recurrent_activation"] = "hard_sigmoid"

    data = ageless(file("text_classifier.h5"), gates)
    with pytest.raises(UnsupportedModelError, match="'lstm'.*which Keras wrote it, and hard_sigmoid.*spec="):
        importer.read(data)
    for version, name in (("2.15.0", "hard_sigmoid_keras2"), ("3.4.1", "hard_sigmoid")):
        made = importer.read(data, json.dumps({"keras_version": version}))
        assert made["lstm"].recurrent_activation.name == name

    def silent(config):
        del find(config, "lstm")["config"]["recurrent_activation"]

    with pytest.raises(UnsupportedModelError, match="recurrent_activation, which is missing"):
        importer.read(ageless(file("text_classifier.h5"), silent))


def test_the_arrays_of_keras_1_are_refused_with_the_way_out():
    """Keras 1 kept an LSTM's arrays gate by gate."""

    def age(opened):
        group = opened["model_weights/lstm"]
        for name in group.attrs["weight_names"]:
            del group[name]
        names = [f"lstm_1_{array}_{gate}" for gate in "icfo" for array in "WUb"]
        for name in names:
            group[name] = np.zeros(3)
        group.attrs["weight_names"] = names

    with pytest.raises(UnsupportedModelError, match="Keras 1.*lstm_1_W_i.*Keras 2"):
        importer.read(with_hdf5(ageless(file("text_classifier.h5")), age))


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda nodes: nodes[0].update(args=[]), "'top'.*reads nothing"),
        (lambda nodes: nodes[0].update(args=[["gone", 0, 0]]), "'top'.*not there.*'gone'"),
        (lambda nodes: nodes[0].update(args=[["shared", 5, 0]]), "'top'.*not there.*call 5"),
        (
            lambda nodes: nodes[0].update(args=[["shared", 0, 2]]),
            "'top'.*output that the layer does not have",
        ),
        (lambda nodes: nodes[0].update(args=[["top", 0, 0]]), "in a circle"),
        (lambda nodes: nodes[0].update(args=[["a", 0, 0], ["b", 0, 0]]), "'top'.*wrong number of inputs"),
        (lambda nodes: nodes[0].update(args=[7]), "'top'.*is called with 7"),
        (lambda nodes: nodes.clear(), "names a layer that is not there.*'top'"),
    ],
)
def test_wires_that_lead_nowhere_are_refused(change, words):
    with pytest.raises(RnnrtError, match=words):
        importer.read(
            with_config(file("branches.keras"), lambda config: change(find(config, "top")["inbound_nodes"]))
        )
