"""Masks of Keras: refused where they would be used, ended where Keras ends them, never dropped."""

import json

import numpy as np
import pytest
from keras_records import (
    file,
    find,
    with_config,
    with_weights,
)

from rnnrt.errors import (
    UnsupportedModelError,
)
from rnnrt.importers.keras import reader as importer

CLASSIFIER = "text_classifier.keras"


def masked(change=lambda config: None):
    def both(config):
        find(config, "embedding")["config"]["mask_zero"] = True
        change(config)

    return with_config(file(CLASSIFIER), both)


def test_a_mask_is_refused_where_it_would_be_used_and_ends_where_keras_ends_it():
    importer.read(masked())  # the convolution ends it

    def pass_on(config):
        find(config, "conv1d").update(class_name="Dropout", config={"name": "conv1d", "rate": 0.5})
        find(config, "max_pooling1d").update(
            class_name="Dropout", config={"name": "max_pooling1d", "rate": 0.5}
        )

    def drop_convolution(data):
        return with_weights(data, lambda opened: opened.__delitem__("layers/conv1d"))

    with pytest.raises(
        UnsupportedModelError, match=r"'lstm' \(LSTM\): uses the mask of layer 'embedding'.*mask_zero=False"
    ):
        importer.read(drop_convolution(masked(pass_on)))


def masked_chain():
    """Embedding (mask_zero) -> Dropout -> Dropout -> LSTM -> ...: the mask reaches the LSTM."""

    def pass_on(config):
        for name in ("conv1d", "max_pooling1d"):
            find(config, name).update(class_name="Dropout", config={"name": name, "rate": 0.5})
        find(config, "lstm")["build_config"] = {"input_shape": [None, None, 7]}

    def fit(opened):
        del opened["layers/conv1d"], opened["layers/lstm/cell/vars/0"]
        opened["layers/lstm/cell/vars/0"] = np.zeros((7, 24), np.float32)

    return with_weights(masked(pass_on), fit)


@pytest.mark.parametrize("start", ["embedding", "spatial_dropout1d", "max_pooling1d"])
def test_a_part_of_a_network_does_not_drop_the_mask_that_crosses_its_cut(start):
    with pytest.raises(UnsupportedModelError, match=r"'lstm' \(LSTM\): uses the mask of layer 'embedding'"):
        importer.read(masked_chain(), inputs=[start])
    importer.read(masked_chain(), inputs=["lstm"])  # return_sequences=False ends the mask


def test_a_part_whose_output_carries_a_mask_says_so_and_so_does_the_advice():
    words = "layer 'max_pooling1d': its output carries the mask of layer 'embedding'"
    made = importer.read(masked_chain(), outputs=["max_pooling1d"])
    assert words in made.metadata["assumptions"][0]
    with pytest.raises(UnsupportedModelError, match=rf"outputs=\['max_pooling1d'\]\. {words}"):
        importer.read(masked_chain())


def test_masks_recorded_as_arguments_are_masks():
    """Keras 3 writes the mask that flows into a layer of a functional model as one of its arguments."""

    def give(config):
        layers = config["config"]["layers"]
        node = find(config, "shared")["inbound_nodes"][0]
        mask = {
            "module": "keras.src.ops.numpy",
            "class_name": "NotEqual",
            "config": {"name": "not_equal"},
            "registered_name": "NotEqual",
            "name": "not_equal",
            "inbound_nodes": [{"args": [node["args"][0], 0], "kwargs": {}}],
        }
        layers.insert(3, mask)
        tensor = json.loads(json.dumps(node["args"][0]))
        tensor["config"]["keras_history"] = ["not_equal", 0, 0]
        node["kwargs"]["mask"] = tensor

    data = with_config(file("branches.keras"), give)
    with pytest.raises(UnsupportedModelError, match=r"'shared' \(GRU\): uses the mask of layer 'not_equal'"):
        importer.read(data)
    importer.read(data, outputs=["key"])  # which needs no part of it
