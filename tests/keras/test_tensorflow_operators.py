"""Functions and operators of TensorFlow between the layers of tf.keras files, as TensorFlow 2.3 to 2.15 wrote
them (tools/record_keras_operators.py), against its answers."""

import io
import json

import numpy as np
import pytest
from archives import unpacked
from needs import need

import rnnrt
from rnnrt.errors import RnnrtError, UnsupportedModelError
from rnnrt.importers.keras.tensorflow import _SEVERAL, WORDS

h5py = need("h5py")
FILES = dict(unpacked("keras/operators.tar.xz"))
#: What Keras wrote without the tensors that the function reads.
INCOMPLETE = [f"2.15.1/einsum{suffix}" for suffix in (".h5", ".keras")]
READ = sorted(name for name in FILES if not name.endswith(".npz") and name not in INCOMPLETE)


@pytest.mark.parametrize("name", READ)
def test_it_answers_as_tensorflow_did(name):
    record = FILES[f"{name.rpartition('.')[0]}.npz"]
    made = rnnrt.from_keras(FILES[name])
    y = made(record["x0"])
    assert y.shape == record["y"].shape
    np.testing.assert_allclose(y, record["y"], atol=2e-6, rtol=0)


def test_every_way_to_write_them_is_recorded():
    kinds = set()
    for name in READ:
        if name.endswith(".h5"):
            config = json.loads(opened(FILES[name]).attrs["model_config"])
            kinds |= {layer["class_name"] for layer in config["config"]["layers"]}
    assert kinds >= {"TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer"}


@pytest.mark.parametrize("name", INCOMPLETE)
def test_a_file_without_the_tensors_of_a_call_says_so(name):
    with pytest.raises(UnsupportedModelError, match=r"'tf.einsum'.*does not say which tensors"):
        rnnrt.from_keras(FILES[name])


def opened(data):
    return h5py.File(io.BytesIO(data))


def changed(name, change):
    """A recorded file in which ``change`` had its way with the layers of its config, by name."""
    memory = io.BytesIO(FILES[name])
    with h5py.File(memory, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        change({layer["name"]: layer for layer in config["config"]["layers"]})
        file.attrs["model_config"] = json.dumps(config)
    return memory.getvalue()


def a_function(layers):
    layers["tf.math.sqrt"]["config"]["function"] = "io.read_file"


def an_argument(layers):
    layers["tf.math.sqrt"]["inbound_nodes"][0][3]["precision"] = "high"


def a_constant(layers):
    layers["tf.__operators__.add"]["inbound_nodes"][0][3]["y"] = {"class_name": "Lambda"}


REFUSED = {
    a_function: r"function io.read_file",
    an_argument: r"tf.math.sqrt has an argument that is not known: precision",
    a_constant: r"is called with .*Lambda",
}


@pytest.mark.parametrize("change", REFUSED, ids=lambda change: change.__name__)
def test_what_is_not_known_is_refused_by_name(change):
    with pytest.raises(UnsupportedModelError, match=REFUSED[change]):
        rnnrt.from_keras(changed("2.15.1/functions.h5", change))


def test_an_attribute_of_a_graphs_operator_that_is_not_known_is_refused():
    def change(layers):
        node = next(x for x in layers.values() if x["class_name"] == "TensorFlowOpLayer")
        node["config"]["node_def"]["attr"]["fused"] = {"b": True}

    with pytest.raises(UnsupportedModelError, match="the attribute fused of"):
        rnnrt.from_keras(changed("2.3.4/numbers.h5", change))


@pytest.mark.parametrize("swapped", ["begin", "keep"])
def test_nodes_of_other_kinds_never_end_in_another_error(swapped):
    """Every value in the calls of a file, one after the other, as something else."""
    name = "2.15.1/attention.h5" if swapped == "keep" else "2.3.4/parts.h5"
    for junk in (None, [], "x", -1, {"class_name": "__tuple__"}):
        for place in range(4):

            def change(layers, place=place, junk=junk):
                own = [x for x in layers.values() if "Op" in x["class_name"]]
                layer = own[place % len(own)]
                if layer["class_name"] == "TensorFlowOpLayer":
                    layer["config"]["constants"] = {"1": junk}
                    layer["config"]["node_def"]["attr"] = {"begin_mask": junk}
                else:
                    node = layer["inbound_nodes"][0]
                    (node if isinstance(node[0], str) else node[0])[3]["axis"] = junk

            try:
                rnnrt.from_keras(changed(name, change))
            except RnnrtError:
                continue


def test_names_are_those_of_one_table():
    assert not set(WORDS) & set(_SEVERAL)
