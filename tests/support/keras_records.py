"""The recorded Keras models (tests/data/keras, written by tools/record_keras.py): files, answers, and files
changed on purpose.
"""

import io
import json
import zipfile
from pathlib import Path

import h5py
import numpy as np

from rnnrt import reference

FOLDER = Path(__file__).parents[1] / "data" / "keras"
ARCHIVE = zipfile.ZipFile(FOLDER / "models.zip")
NAMES = ARCHIVE.namelist()
ANSWERS = np.load(FOLDER / "answers.npz")


def file(name):
    return ARCHIVE.read(name)


def recorded(name):
    """[(case, inputs, outputs)] of the model called ``name``."""
    numbered = {}
    for key in ANSWERS.files:
        model, case, array = key.split("/")
        if model == name:
            numbered.setdefault(case, {"x": [], "y": []})[array[0]].append(ANSWERS[key])
    return [(case, arrays["x"], arrays["y"]) for case, arrays in numbered.items()]


def assert_answers(graph, name):
    """Every recorded case: the float64 meaning of the graph is what Keras computed in float32."""
    cases = recorded(name)
    assert cases
    for case, inputs, outputs in cases:
        made, _ = reference.run(graph, dict(zip(graph.inputs, inputs, strict=True)))
        for (output, found), wanted in zip(made.items(), outputs, strict=True):
            assert found.shape == wanted.shape, (case, output)
            assert np.abs(found - wanted).max() <= 1e-5 * max(1, np.abs(wanted).max()), (case, output)


def repacked(data, change):
    """A .keras file with its members changed: ``change(members: dict)`` in place."""
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        members = {name: source.read(name) for name in source.namelist()}
    change(members)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as packed:
        for name, value in members.items():
            packed.writestr(name, value)
    return target.getvalue()


def with_config(data, change):
    """A .keras file with its configuration changed: ``change(config: dict)`` in place."""

    def edit(members):
        config = json.loads(members["config.json"])
        change(config)
        members["config.json"] = json.dumps(config)

    return repacked(data, edit)


def with_layer(name, layer, **options):
    """A recorded .keras file with options of one top-level layer replaced or added."""
    return with_config(file(name), lambda config: find(config, layer)["config"].update(options))


def find(config, layer):
    return next(x for x in config["config"]["layers"] if x["config"].get("name") == layer)


def with_hdf5(data, change):
    """An HDF5 file changed: ``change(h5py.File)``."""
    target = io.BytesIO(data)
    with h5py.File(target, "r+") as opened:
        change(opened)
    return target.getvalue()


def with_weights(data, change):
    """A .keras file with its weights changed: ``change(h5py.File)``."""
    return repacked(
        data,
        lambda members: members.update({"model.weights.h5": with_hdf5(members["model.weights.h5"], change)}),
    )


def with_model_config(data, change):
    """A legacy .h5 file with its configuration changed: ``change(config: dict)`` in place."""

    def edit(opened):
        config = json.loads(opened.attrs["model_config"])
        change(config)
        opened.attrs["model_config"] = json.dumps(config)

    return with_hdf5(data, edit)


def weights_alone(data):
    """A legacy .h5 file as ``model.save_weights("x.h5")`` of Keras 2 left it: the groups at the root, no
    configuration.
    """

    def strip(opened):
        for key in list(opened["model_weights"]):
            opened.move(f"model_weights/{key}", key)
        for key, value in opened["model_weights"].attrs.items():
            opened.attrs[key] = value
        del opened["model_weights"], opened.attrs["model_config"]

    return with_hdf5(data, strip)
