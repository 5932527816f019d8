"""Cells and layers of other people: known, described by the caller, or refused."""

import numpy as np
import pytest
from keras_records import (
    assert_answers,
    file,
    find,
    recorded,
    with_config,
    with_weights,
)

from rnnrt import layers, reference
from rnnrt.errors import UnsupportedModelError
from rnnrt.importers.keras import reader as importer

#: Keras's own variables, seen through NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_the_cell_of_the_textbook_is_known_and_what_was_assumed_is_said(suffix):
    made = importer.read(file(f"normalised{suffix}"))
    assert made["rnn"].norm == "gates" and made["rnn"].epsilon == 1e-3
    assert ["epsilon 0.001" in sentence for sentence in made.metadata["assumptions"]] == [True, True]


@pytest.mark.parametrize("name", ["LNSimpleRNNCell", "book>LNSimpleRNNCell"])
def test_the_module_of_the_cell_does_not_matter(name):
    def rename(config):
        for layer in ("rnn", "rnn_1"):
            find(config, layer)["config"]["cell"] |= {"module": "chapter_15", "registered_name": name}

    assert_answers(importer.read(with_config(file("normalised.keras"), rename)), "normalised")


def renamed_cells(name="Mine"):
    def rename(config):
        for layer in ("rnn", "rnn_1"):
            find(config, layer)["config"]["cell"] |= {
                "class_name": name,
                "registered_name": f"package>{name}",
            }

    return with_config(file("normalised.keras"), rename)


def test_other_cells_are_refused_by_name_and_may_be_described_by_the_caller():
    data = renamed_cells()
    with pytest.raises(UnsupportedModelError, match="custom class 'Mine'.*LNSimpleRNNCell.*custom_objects"):
        importer.read(data)
    seen = []

    def mine(config, arrays):
        seen.append((config["units"], sorted(arrays)))
        kernel, recurrent, bias = (arrays[f"simple_rnn_cell/vars/{i}"] for i in range(3))
        gamma, beta = (arrays[f"layer_norm/vars/{i}"] for i in range(2))
        arrays.clear()
        weights = {
            "weight": kernel.T,
            "recurrent_weight": recurrent.T,
            "bias": bias,
            "gamma": gamma,
            "beta": beta,
        }
        return layers.SimpleRNN("any", ("x",), activation=config["activation"], norm="gates", **weights)

    assert_answers(importer.read(data, custom_objects={"Mine": mine}), "normalised")
    assert seen == [
        (units, [f"layer_norm/vars/{i}" for i in range(2)] + [f"simple_rnn_cell/vars/{i}" for i in range(3)])
        for units in (20, 5)
    ]


@pytest.mark.parametrize("answer", [None, [], "LSTM", layers.Dense("d", ("x",), weight=[[1.0]])])
def test_a_description_that_is_no_cell_is_refused(answer):
    with pytest.raises(UnsupportedModelError, match="custom_objects"):
        importer.read(renamed_cells(), custom_objects={"Mine": lambda config, arrays: answer})


def test_a_custom_layer_may_stand_for_several():
    def rename(config):
        find(config, "dense").update(module="elsewhere", class_name="Swish", registered_name="Swish")

    def swish(config, arrays):
        dense = layers.Dense("a", ("x",), weight=arrays["vars/0"].T, bias=arrays["vars/1"])
        return [dense, layers.Activation("b", ("a",), activation="silu")]

    moved = with_weights(file("normalised.keras"), lambda opened: opened["layers"].move("dense", "swish"))
    data = with_config(moved, rename)
    with pytest.raises(UnsupportedModelError, match="custom class 'Swish'"):
        importer.read(data)
    made = importer.read(data, custom_objects={"Swish": swish})
    _, (x,), (y,) = recorded("normalised")[0]
    answer, _ = reference.run(made, {made.inputs[0]: x})
    np.testing.assert_allclose(answer["dense"], y / (1 + np.exp(-y)), atol=1e-5)


def test_a_cell_of_that_name_with_other_arrays_is_refused():
    data = with_weights(
        file("normalised.keras"),
        lambda opened: opened.create_dataset("layers/rnn/cell/gate/vars/0", data=np.zeros(3)),
    )
    with pytest.raises(UnsupportedModelError, match="rnn.*gate/vars/0"):
        importer.read(data)
