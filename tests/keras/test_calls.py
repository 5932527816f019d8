"""Networks called more than once inside a network."""

import json

import pytest
from keras_records import (
    assert_answers,
    file,
    find,
    with_config,
)

from rnnrt.errors import ModelFileError
from rnnrt.importers.keras import reader as importer

#: Keras's own variables, seen through NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def counted(config, keys):
    """Every place in a configuration that names a call of "enc": [layer, call, output] lists."""
    if isinstance(config, list) and len(config) == 3 and config[0] == "enc":
        keys.append(config)
    for value in config.values() if isinstance(config, dict) else config if isinstance(config, list) else ():
        counted(value, keys)
    return keys


@pytest.mark.parametrize("name", ["second_of_two", "first_of_two"])
@pytest.mark.parametrize("off", [-1, 1])
def test_a_call_counted_one_off_is_refused_by_name(name, off):
    """Whichever one of the places that name a call of the network inside is moved, the record no longer
    fits.
    """
    data = file(f"{name}_functional.keras")
    places = []
    with_config(data, lambda config: places.extend(counted(config["config"], [])))
    assert len(places) >= 2
    for place in range(len(places)):

        def move(config, place=place):
            counted(config["config"], [])[place][1] += off

        with pytest.raises(ModelFileError, match=r"'enc'.*calls|this is not the place of a tensor"):
            importer.read(with_config(data, move))


def in_lists(config, first):
    """A Keras 3 configuration with its nodes as Keras 2 and tf.keras wrote them: lists, calls of networks
    counted from ``first``.
    """
    networks = {
        x["config"]["name"]: x["class_name"] == "Functional"
        for x in config["config"]["layers"]
        if "layers" in x["config"]
    }
    for layer in config["config"]["layers"]:
        keys = [
            json.loads(k) for node in layer["inbound_nodes"] for k in [json.dumps(histories(node["args"]))]
        ]
        layer["inbound_nodes"] = [
            [[n, c + (n in networks) * first, o, {}] for n, c, o in node] for node in keys
        ]
    for key in config["config"]["output_layers"]:
        key[1] += first * (key[0] in networks) - networks.get(key[0], 0)


def histories(value):
    if isinstance(value, dict):
        return [value["config"]["keras_history"]]
    return [key for item in value for key in histories(item)]


@pytest.mark.parametrize("network", ["functional", "sequential"])
@pytest.mark.parametrize("name", ["second_of_two", "first_of_two", "chain_both", "called_outside"])
def test_keras_2_counts_every_call_of_a_network_from_one(name, network):
    data = file(f"{name}_{network}.keras")
    assert_answers(importer.read(with_config(data, lambda config: in_lists(config, 1))), f"{name}_{network}")
    with pytest.raises(ModelFileError, match="'enc'.*from 1 in inbound nodes and from 1 in output_layers"):
        importer.read(with_config(data, lambda config: in_lists(config, 0)))


def test_outputs_of_a_layer_are_not_named_like_another_layer():
    def rename(config):
        layer = find(config, "end")
        layer["config"]["name"] = layer["name"] = "pair_1"
        for key in config["config"]["output_layers"]:
            key[0] = key[0].replace("end", "pair_1")

    made = importer.read(with_config(file("several_inputs.keras"), rename))
    assert [o.name for o in made.outputs] == ["pair", "pair_1", "pair_2"]
    assert_answers(made, "several_inputs")
