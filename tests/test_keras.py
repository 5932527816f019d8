"""Keras models against what Keras answered (tests/data/keras, written by tools/record_keras.py), and against a live Keras where there is one."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from rnnrt import reference
from rnnrt.importers import keras as importer

FOLDER = Path(__file__).parent / "data" / "keras"
ARCHIVE = zipfile.ZipFile(FOLDER / "models.zip")
FILES = [n for n in ARCHIVE.namelist() if not n.endswith((".json", ".weights.h5"))]
ANSWERS = np.load(FOLDER / "answers.npz")


def recorded(name):
    """[(case, inputs, outputs)] of the model called ``name``."""
    cases = sorted({k.rpartition("/")[0] for k in ANSWERS.files if k.startswith(f"{name}/")})
    numbered = lambda case, letter: [
        ANSWERS[f"{case}/{letter}{i}"] for i in range(sum(k.startswith(f"{case}/{letter}") for k in ANSWERS.files))
    ]
    return [(case, numbered(case, "x"), numbered(case, "y")) for case in cases]


def assert_answers(graph, name):
    """Every recorded case: the float64 meaning of the graph is what Keras computed in float32."""
    cases = recorded(name)
    assert cases
    for case, inputs, outputs in cases:
        made, _ = reference.run(graph, dict(zip(graph.inputs, inputs, strict=True)))
        for (output, found), wanted in zip(made.items(), outputs, strict=True):
            assert found.shape == wanted.shape, (case, output)
            assert np.abs(found - wanted).max() <= 1e-5 * max(1, np.abs(wanted).max()), (case, output)


@pytest.mark.parametrize("file", FILES)
def test_answers_as_keras_did(file):
    graph = importer.read(ARCHIVE.read(file))
    assert_answers(graph, file.partition(".")[0])
