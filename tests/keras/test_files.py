"""Every kind of file that Keras writes, in every dialect, against what Keras answered."""

import json

import h5py
import numpy as np
import pytest
from keras_records import (
    ANSWERS,
    NAMES,
    assert_answers,
    file,
    find,
    repacked,
    weights_alone,
    with_config,
    with_hdf5,
    with_layer,
    with_model_config,
    with_weights,
)

from rnnrt import layers, reference
from rnnrt.errors import ModelFileError, UnsupportedModelError
from rnnrt.importers.keras import reader as importer
from rnnrt.importers.spec.text import text_of

#: Keras's own variables, seen through NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


WHOLE = [n for n in NAMES if not n.endswith((".json", ".weights.h5"))]


# ---- every kind of file ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WHOLE)
def test_a_file_answers_as_keras_did(name):
    assert_answers(importer.read(file(name)), name.partition(".")[0])


def test_the_record_holds_every_output_of_every_model():
    assert len(WHOLE) >= 24 and len(ANSWERS.files) > 400


@pytest.mark.parametrize("name", ["text_classifier", "branches"])
@pytest.mark.parametrize("suffix", [".weights.h5", ".h5"])
def test_weights_alone_answer_with_the_text_of_to_json(name, suffix):
    data = file(name + suffix)
    if suffix == ".h5":
        data = weights_alone(data)
    with pytest.raises(UnsupportedModelError, match="weights alone"):
        importer.read(data)
    assert_answers(importer.read(data, file(f"{name}.json").decode()), name)


def test_a_path_may_be_given_and_is_named_in_errors(tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(file("text_classifier.keras"))
    assert_answers(importer.read(path), "text_classifier")
    assert_answers(importer.read(str(path)), "text_classifier")
    path.write_bytes(with_layer("text_classifier.keras", "conv1d", padding="reflect"))
    with pytest.raises(
        UnsupportedModelError, match=r"model\.keras: layer 'conv1d' \(Conv1D\): the option padding='reflect'"
    ):
        importer.read(path)


def test_metadata_tells_where_the_graph_came_from():
    made = importer.read(file("old_series.keras2.4.0-tf.h5"))
    form = made.metadata.pop("masked")  # how it differs where its input is masked
    assert form["inputs"] == ["lstm_3_input", "lstm_3_input_mask"]
    assert made.metadata == {
        "source": "keras",
        "keras_version": "2.4.0-tf",
        "format": "hdf5",
        "model_name": "sequential_1",
        "assumptions": [],
    }
    assert importer.read(file("cells.keras")).metadata["format"] == "keras-v3"
    assert made.inputs == ("lstm_3_input",) and [o.name for o in made.outputs] == ["dense_2"]


def test_several_outputs_of_one_layer_have_names_of_their_own():
    names = [o.name for o in importer.read(file("stacks.keras")).outputs]
    assert {"encoder", "encoder_1", "encoder_2"} <= set(names) and len(set(names)) == len(names)


def test_inputs_keep_the_order_of_the_model_and_a_rank_2_input_its_meaning():
    made = importer.read(file("branches.keras"))
    assert made.inputs == ("a", "k", "b")
    assert not made.signals["k"].time and made.signals["a"].time and made.signals["a"].length is None
    assert importer.read(file("text_classifier.keras"))["ids"].ids
    assert (
        importer.read(file("forecaster.keras"))
        .signals[importer.read(file("forecaster.keras")).inputs[0]]
        .length
        == 8
    )


# ---- dialects of the legacy format -------------------------------------------------------------------------


def test_attributes_split_for_their_size_are_joined():
    def split(opened):
        for group, name in [(opened["model_weights"], "layer_names")] + [
            (g, "weight_names") for g in opened["model_weights"].values()
        ]:
            names = list(group.attrs.get(name, []))
            if len(names) > 1:
                del group.attrs[name]
                group.attrs[f"{name}0"], group.attrs[f"{name}1"] = names[:1], names[1:]

    assert_answers(importer.read(with_hdf5(file("branches.h5"), split)), "branches")


def test_a_frozen_nested_model_keeps_its_arrays_in_another_order():
    """Frozen, its moving statistics stand behind their layer's other variables, not at the end; the names
    tell.
    """
    name = "old_words.keras2.2.4.h5"

    def freeze(opened):
        group = opened["model_weights/model_1"]
        names = list(group.attrs["weight_names"])
        order = sorted(names, key=lambda n: ("inner_conv" not in n, "inner_norm" not in n))
        assert order != names
        group.attrs["weight_names"] = order
        config = json.loads(opened.attrs["model_config"])
        find(config, "model_1")["config"]["trainable"] = False
        opened.attrs["model_config"] = json.dumps(config)

    assert_answers(importer.read(with_hdf5(file(name), freeze)), "old_words")


def cudnn(kernel, recurrent, gates):
    """The layout cuDNN's layers were saved in: Keras 2.3.1, engine/saving.py, transform_kernels towards
    cuDNN.
    """
    return (
        np.hstack([k.T.reshape(k.shape, order="C") for k in np.hsplit(kernel, gates)]),
        np.hstack([k.T for k in np.hsplit(recurrent, gates)]),
    )


@pytest.mark.parametrize("class_name", ["LSTM", "CuDNNLSTM"])
def test_arrays_in_the_layout_of_cudnn_are_converted(class_name):
    """Under the class that wrote them, and under the plain one, which Keras 2 allowed (as in published
    files).
    """

    def convert(opened):
        group = opened["model_weights/lstm"]
        kernel, recurrent, bias = (group[n] for n in group.attrs["weight_names"])
        kernel[...], recurrent[...] = cudnn(kernel[...], recurrent[...], 4)
        first = np.random.default_rng(0).normal(size=bias.shape).astype(np.float32)
        second, name = bias[...] - first, bias.name
        del opened[name]
        opened[name] = np.concatenate([first, second])
        config = json.loads(opened.attrs["model_config"])
        layer = find(config, "lstm")
        layer["class_name"] = class_name
        if class_name == "CuDNNLSTM":
            for option in ("activation", "recurrent_activation", "use_bias"):
                del layer["config"][option]
        opened.attrs["model_config"] = json.dumps(config)

    assert_answers(importer.read(with_hdf5(file("text_classifier.h5"), convert)), "text_classifier")


@pytest.mark.parametrize("class_name", ["GRU", "CuDNNGRU"])
def test_a_gru_in_the_layout_of_cudnn_is_reset_after(class_name):
    def convert(opened):
        for layer in ("shared",):
            group = opened[f"model_weights/{layer}"]
            kernel, recurrent, bias = (group[n] for n in group.attrs["weight_names"])
            kernel[...], recurrent[...] = cudnn(kernel[...], recurrent[...], 3)
            flat, name = bias[...].ravel(), bias.name
            del opened[name]
            opened[name] = flat
        config = json.loads(opened.attrs["model_config"])
        layer = find(config, "shared")
        layer["class_name"] = class_name
        if class_name == "CuDNNGRU":
            for option in ("activation", "recurrent_activation", "use_bias", "reset_after"):
                del layer["config"][option]
        opened.attrs["model_config"] = json.dumps(config)

    assert_answers(importer.read(with_hdf5(file("branches.h5"), convert)), "branches")


@pytest.mark.parametrize(
    "version, wanted",
    [("2.1.5", "hard_sigmoid_keras2"), ("2.15.0", "hard_sigmoid_keras2"), ("3.0.0", "hard_sigmoid")],
)
def test_hard_sigmoid_is_the_one_of_the_version_that_wrote_the_file(version, wanted):
    def rename(opened):
        for holder in (opened, opened["model_weights"]):
            holder.attrs["keras_version"] = version

    assert (
        importer.read(with_hdf5(file("old_series.keras2.1.5.h5"), rename))["lstm_3"].recurrent_activation.name
        == wanted
    )


@pytest.mark.parametrize(
    "version, wanted", [("2.2.4", "hard_sigmoid_keras2"), ("2.3.1", "sigmoid"), ("2.2.4-tf", None)]
)
def test_a_gate_activation_that_is_not_written_follows_the_version_or_is_refused(version, wanted):
    def change(opened):
        opened.attrs["keras_version"] = opened["model_weights"].attrs["keras_version"] = version
        config = json.loads(opened.attrs["model_config"])
        del find(config, "lstm_3")["config"]["recurrent_activation"]
        opened.attrs["model_config"] = json.dumps(config)

    data = with_hdf5(file("old_series.keras2.1.5.h5"), change)
    if wanted is None:
        with pytest.raises(UnsupportedModelError, match="lstm_3.*recurrent_activation"):
            importer.read(data)
    else:
        assert importer.read(data)["lstm_3"].recurrent_activation.name == wanted


def test_the_folder_of_layers_has_another_name_in_files_of_tensorflow_2_12():
    data = with_weights(file("branches.keras"), lambda opened: rename_layers(opened))
    assert_answers(importer.read(data), "branches")


def test_tensorflow_2_13_counted_a_layer_with_weights_twice():
    """lstm, lstm_2, lstm_4, where Keras 3 writes lstm, lstm_1, lstm_2; a layer without weights counts
    once.
    """

    def rename(opened):
        layers = opened["layers"]
        names = sorted((n for n in layers if n.startswith("time_distributed")), key=lambda n: (len(n), n))
        counts = {n: len(layers[n]) > 0 and sum(1 for _ in arrays_in(layers[n])) > 0 for n in names}
        moves, number = [], 0
        for n in names:
            moves.append((n, f"time_distributed_{number}" if number else "time_distributed"))
            number += 2 if counts[n] else 1
        assert moves[-1][0] != moves[-1][1] and 0 < sum(counts.values()) < len(counts)
        for old, new in reversed(moves):
            if old != new:
                layers.move(old, new)
        rename_layers(opened)

    assert_answers(importer.read(with_weights(file("words.keras"), rename)), "words")


def arrays_in(group):
    found = []
    group.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    return found


def test_options_that_tensorflow_2_15_adds_to_depthwise_layers_change_nothing():
    def add(config):
        for layer in config["config"]["layers"]:
            if layer["class_name"] in ("DepthwiseConv1D", "SeparableConv1D"):
                layer["config"]["groups"] = 1

    assert_answers(importer.read(with_config(file("convolutions.keras"), add)), "convolutions")
    with pytest.raises(UnsupportedModelError, match="groups=2"):
        importer.read(
            with_config(
                file("convolutions.keras"),
                lambda config: next(
                    x for x in config["config"]["layers"] if x["class_name"] == "SeparableConv1D"
                )["config"].update(groups=2),
            )
        )


@pytest.mark.parametrize("axis", [1, [1], -1, [-1]])
def test_the_axis_of_a_layer_inside_time_distributed_is_that_of_its_frames(axis):
    """A frame is (batch, features): its axis 1 is the last one."""

    def wrap(config):
        layer = find(config, "batch_True_True")
        inside = {k: layer[k] for k in ("module", "class_name", "registered_name")}
        inside["config"] = layer["config"] | {"name": "inside", "axis": axis}
        layer.update(class_name="TimeDistributed", config={"name": "batch_True_True", "layer": inside})

    def move(opened):
        layers = opened["layers"]
        order = ["batch_normalization", *(f"batch_normalization_{k}" for k in range(1, 4))]
        layers.move(order[0], "time_distributed_new/layer")
        for before, after in zip(order[1:], order):
            layers.move(before, after)
        first = "time_distributed"
        layers.move(first, "time_distributed_1")
        layers.move("time_distributed_new", first)

    data = with_config(file("pointwise.keras"), wrap)
    assert_answers(importer.read(with_weights(data, move)), "pointwise")


def test_rescaling_by_one_number_a_feature():
    made = importer.read(
        with_layer("pointwise.keras", "rescaling", scale=[1, 2.0, 3, 4, 5], offset=[0, 0, 0, 0, 7])
    )
    layer = made["rescaling"]
    assert list(layer.scale) == [1, 2, 3, 4, 5] and list(layer.offset) == [0, 0, 0, 0, 7]
    with pytest.raises(ModelFileError, match="scale.*5 of them"):
        importer.read(with_layer("pointwise.keras", "rescaling", scale=[1, 2.0]))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_custom_objects_say_what_a_class_is_in_every_kind_of_file(suffix):
    """A .h5 file does not say whose a class is."""

    def own(config):
        layer = find(config, "dense")
        layer["class_name"] = "Mine"
        if suffix == ".keras":
            layer.update(module=None, registered_name="Mine")

    change = with_config if suffix == ".keras" else with_model_config
    data = change(file(f"text_classifier{suffix}"), own)
    if suffix == ".keras":
        data = with_weights(data, lambda opened: opened.move("layers/dense", "layers/mine"))

    def mine(config, arrays):
        assert config["units"] == 3 and len(arrays) == 2
        kernel, bias = sorted(arrays.values(), key=lambda a: -a.ndim)
        dense = layers.Dense(name="mine", inputs=("x",), weight=kernel.T, bias=bias)
        return [dense, layers.Softmax(name="soft", inputs=("mine",))]

    assert_answers(importer.read(data, custom_objects={"Mine": mine}), "text_classifier")
    with pytest.raises(UnsupportedModelError, match=r"Mine.*custom_objects=\{'Mine': f\}"):
        importer.read(data)


@pytest.mark.parametrize("name", ["text_classifier", "branches"])
def test_the_text_of_to_json_may_stand_in_a_json_string(name):
    """json.dump(model.to_json(), file) writes a string, not an object."""
    text = json.dumps(file(f"{name}.json").decode())
    assert_answers(importer.read(file(f"{name}.weights.h5"), text), name)


def test_a_spec_may_be_the_path_of_its_file(tmp_path):
    (tmp_path / "net.json").write_bytes(file("branches.json"))
    for path in (tmp_path / "net.json", str(tmp_path / "net.json")):
        assert_answers(importer.read(file("branches.weights.h5"), path), "branches")
    with pytest.raises(ModelFileError, match=r"none\.json"):
        importer.read(file("branches.weights.h5"), str(tmp_path / "none.json"))
    for text in ('{"name":"a/b"}', '"{\\"name\\":\\"a.json"', None, 5):
        assert text_of(text) is text


def rename_layers(group):
    for name in list(group):
        if isinstance(group[name], h5py.Group):
            rename_layers(group[name])
    if "layers" in group:
        group.move("layers", "_layer_checkpoint_dependencies")


def test_a_file_written_on_windows_has_back_slashes_in_its_names():
    def rename(opened):
        found, wrong = [], {}
        opened.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
        for name in found:
            owner, _, rest = name.partition("/vars/")
            wrong[owner.replace("/", "\\") + "/vars/" + rest] = opened[name][()]
        for name in list(opened):
            del opened[name]
        opened["optimizer\\adam/vars/0"] = np.zeros(3)
        for name, array in wrong.items():
            opened[name] = array

    data = with_weights(file("branches.keras"), rename)
    data = repacked(data, lambda members: members.update({"assets\\words\\list.txt": b"a"}))
    assert_answers(importer.read(data), "branches")


def test_a_dense_layer_on_frames_of_two_axes_takes_the_last():
    def flat(config):
        layer = find(config, "conv")
        dense = {"name": "conv", "units": 4, "activation": "relu", "use_bias": True}
        layer.update(module="keras.layers", class_name="Dense", config=dense, build_config={})

    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(size=(3, 4)).astype(np.float32), rng.normal(size=4).astype(np.float32)

    def put(opened):
        layers = opened["layers"]
        shift = sorted((n for n in layers if n.startswith("time_distributed_")), key=lambda n: int(n[17:]))
        del layers["time_distributed"]
        for name in shift:
            number = int(name[17:]) - 1
            layers.move(name, f"time_distributed_{number}" if number else "time_distributed")
        opened["layers/dense/vars/0"], opened["layers/dense/vars/1"] = kernel, bias

    data = with_weights(with_config(file("words.keras"), flat), put)
    made = importer.read(data, outputs=["conv"])
    x = rng.normal(size=(2, 3, 6, 3))
    (y,) = reference.run(made, {"x": x})[0].values()
    np.testing.assert_allclose(y, np.maximum(x @ kernel + bias, 0), rtol=1e-6, atol=1e-6)


def test_optimizer_and_random_state_are_no_weights():
    def add(opened):
        opened["optimizer/vars/0"] = np.zeros(3)
        opened["layers/dropout/seed_generator/vars/0"] = np.zeros(2, np.uint32)

    assert_answers(importer.read(with_weights(file("text_classifier.keras"), add)), "text_classifier")


# ---- what no backend records rightly -----------------------------------------------------------------------


def test_average_pooling_leaves_padding_out_of_the_mean():
    """TensorFlow's and JAX's rule; Keras's torch backend repeats the edge where padding is on one side
    only.
    """
    data = with_layer("text_classifier.keras", "max_pooling1d")
    made = importer.read(
        with_config(data, lambda c: find(c, "max_pooling1d").update(class_name="AveragePooling1D")),
        outputs=["conv1d", "max_pooling1d"],
    )
    answers, _ = reference.run(made, {"ids": np.arange(5)[None]})
    conv, pooled = answers["conv1d"][0], answers["max_pooling1d"][0]
    np.testing.assert_allclose(pooled, [conv[:2].mean(0), conv[2:4].mean(0), conv[4]], rtol=1e-12)
