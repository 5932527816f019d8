"""Networks imported in part."""

import numpy as np
import pytest
from keras_records import (
    file,
    recorded,
)

from rnnrt import reference
from rnnrt.errors import UnsupportedModelError
from rnnrt.importers.keras import reader as importer

#: Keras's own variables, seen through NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_a_cut_network_and_its_rest_make_the_whole():
    data = file("text_classifier.keras")
    first, rest = importer.read(data, outputs=["conv1d"]), importer.read(data, inputs=["conv1d"])
    assert rest.inputs == ("conv1d",) and [o.name for o in first.outputs] == ["conv1d"]
    for _, (ids,), (wanted,) in recorded("text_classifier"):
        middle, _ = reference.run(first, {"ids": ids})
        answer, _ = reference.run(rest, middle)
        np.testing.assert_allclose(answer["dense"], wanted, atol=1e-5)


@pytest.mark.parametrize(
    "name, layer",
    [
        ("old_series.keras2.1.5.h5", "lstm_3"),
        ("forecaster.keras", "gru"),
        ("old_words.keras2.2.4.h5", "norm"),
    ],
)
def test_a_cut_finds_its_shape_where_the_file_does_not_tell_it(name, layer):
    assert (
        importer.read(file(name), inputs=[layer]).signals[layer] == importer.read(file(name)).signals[layer]
    )


def test_a_cut_through_a_graph_takes_several_names():
    made = importer.read(file("branches.keras"), inputs=["a", "b", "k"], outputs=["top", "ends"])
    assert made.inputs == ("a", "b", "k") and [o.name for o in made.outputs] == ["top", "ends"]
    _, inputs, outputs = recorded("branches")[0]
    answer, _ = reference.run(made, dict(zip(("a", "k", "b"), inputs)))
    np.testing.assert_allclose(answer["top"], outputs[2], atol=1e-5)


def test_a_cut_that_leaves_an_input_open_is_refused():
    with pytest.raises(UnsupportedModelError, match="inputs= to hold b"):
        importer.read(file("branches.keras"), inputs=["a", "k"])
    with pytest.raises(UnsupportedModelError, match="no layer 'nothing'.*dense"):
        importer.read(file("text_classifier.keras"), outputs=["nothing"])
