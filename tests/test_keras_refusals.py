"""What the Keras importer refuses: by name where a sound file holds what rnnrt does not run, safely where it
is damaged or hostile.
"""

import io
import json
import random
import sys
import zipfile

import h5py
import numpy as np
import pytest
from keras_records import (
    file,
    find,
    repacked,
    with_config,
    with_hdf5,
    with_layer,
    with_model_config,
    with_weights,
)

from rnnrt.errors import (
    MissingExtraError,
    ModelFileError,
    ResourceLimitError,
    RnnrtError,
    UnsupportedModelError,
)
from rnnrt.importers.keras import reader as importer

CLASSIFIER = "text_classifier.keras"


# ---- sound files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, layer, options, words",
    [
        (CLASSIFIER, "lstm", {"time_major": True}, r"'lstm' \(LSTM\): the option time_major=True"),
        (CLASSIFIER, "lstm", {"activation": "softmax"}, "activation='softmax'"),
        (CLASSIFIER, "lstm", {"peephole": True}, r"'lstm' \(LSTM\): the option peephole='True' is unknown"),
        (
            CLASSIFIER,
            "conv1d",
            {"data_format": "channels_first"},
            r"'conv1d' \(Conv1D\): the option data_format='channels_first'",
        ),
        (CLASSIFIER, "conv1d", {"padding": "reflect"}, "padding='reflect'"),
        (CLASSIFIER, "conv1d", {"activation": "gelu"}, "'gelu' is not supported.*erf"),
        (CLASSIFIER, "conv1d", {"activation": "os.system"}, "'os.system' is not supported"),
        (CLASSIFIER, "conv1d", {"dtype": "int8_from_float32"}, "dtype='int8_from_float32'"),
        (CLASSIFIER, "dense", {"quantization_config": {"bits": 4}}, "quantization_config"),
        (CLASSIFIER, "dense", {"lora_rank": 4}, "lora_rank"),
        (CLASSIFIER, "max_pooling1d", {"padding": "causal"}, "padding='causal'"),
        (
            "pointwise.keras",
            "batch_True_True",
            {"axis": 1},
            r"\(BatchNormalization\): the option axis=\[1\].*last axis",
        ),
        ("pointwise.keras", "layer_True_True", {"axis": [1, 2]}, r"axis=\[1, 2\]"),
        ("pointwise.keras", "layer_True_False", {"rms_scaling": True}, "rms_scaling=True"),
        ("pointwise.keras", "soft", {"axis": 1}, r"'soft' \(Softmax\): the option axis=\[1\]"),
        ("pointwise.keras", "merge_concatenate", {"axis": 1}, r"\(Concatenate\): the option axis=\[1\]"),
        ("pointwise.keras", "clipped", {"threshold": 0.2}, "threshold=0.2"),
        ("pointwise.keras", "clipped", {"negative_slope": 0.2}, "max_value=0.5"),
        ("forecaster.keras", "permute", {"dims": [3, 1, 2]}, "dims"),
        ("bidirectional.keras", "lstm_sum_all", {"merge_mode": "dot"}, "merge_mode='dot'"),
    ],
)
def test_an_option_that_changes_the_answer_is_refused_by_name(name, layer, options, words):
    with pytest.raises(UnsupportedModelError, match=words):
        importer.read(with_layer(name, layer, **options))


@pytest.mark.parametrize(
    "class_name",
    [
        "Masking",
        "Lambda",
        "MultiHeadAttention",
        "PReLU",
        "UpSampling1D",
        "ConvLSTM1D",
        "Discretization",
    ],
)
def test_a_layer_that_is_not_supported_is_named_with_the_supported_ones(class_name):
    def change(config):
        find(config, "spatial_dropout1d").update(class_name=class_name)

    with pytest.raises(
        UnsupportedModelError, match=rf"'spatial_dropout1d' \({class_name}\): .*{class_name}.*LSTM"
    ) as caught:
        importer.read(with_config(file(CLASSIFIER), change))
    assert "outputs=['embedding']" in str(caught.value) or "inputs=['spatial_dropout1d']" in str(caught.value)


def test_a_function_of_tensorflow_on_layers_outputs_is_named_with_the_layers_that_do_the_same():
    def change(config):
        find(config, "dropout").update(
            class_name="TFOpLambda", config={"name": "dropout", "function": "math.square"}
        )

    with pytest.raises(
        UnsupportedModelError, match=r"'dropout' \(TFOpLambda\): .*tf\.math\.square.*LSTM.*Multiply.*outputs="
    ):
        importer.read(with_config(file(CLASSIFIER), change))


def test_all_unsupported_layers_are_named_and_the_largest_part_between_them():
    def change(config):
        find(config, "spatial_dropout1d").update(class_name="Masking")
        find(config, "dropout").update(class_name="Attention")

    data = with_config(file(CLASSIFIER), change)
    with pytest.raises(
        UnsupportedModelError,
        match=r"'spatial_dropout1d' \(Masking\), 'dropout' \(Attention\).*inputs=\['spatial_dropout1d'\], "
        r"outputs=\['lstm'\]",
    ):
        importer.read(data)
    importer.read(data, inputs=["spatial_dropout1d"], outputs=["lstm"])


def test_operations_and_arguments_that_are_not_supported_are_named():
    def divide(config):
        next(x for x in config["config"]["layers"] if x["module"].endswith("ops.numpy"))["class_name"] = (
            "Divide"
        )

    with pytest.raises(UnsupportedModelError, match=r"operation 'Divide' \(keras.ops\)"):
        importer.read(with_config(file("pointwise.keras"), divide))

    def train(config):
        find(config, "top")["inbound_nodes"][0]["kwargs"]["training"] = True

    with pytest.raises(UnsupportedModelError, match="'top'.*training=True"):
        importer.read(with_config(file("branches.keras"), train))


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


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_the_advice_cuts_behind_a_front_whose_shapes_are_not_known(suffix):
    """A Reshape says itself what comes out of it."""

    def front(config):
        find(config, "permute").update(class_name="Conv2D")
        find(config, "permute_1").update(class_name="MaxPooling2D")

    change = with_config if suffix == ".keras" else with_model_config
    data = change(file(f"forecaster{suffix}"), front)
    with pytest.raises(
        UnsupportedModelError, match=r"'permute' \(Conv2D\).*inputs=\['(reshape|permute_1)'\]"
    ):
        importer.read(data)
    made = importer.read(data, inputs=["reshape"])
    assert made.signals["reshape"].length == 4 and made.signals["reshape"].features == (6,)


def test_a_stateful_layer_and_half_precision_are_read_and_said():
    made = importer.read(with_layer(CLASSIFIER, "lstm", stateful=True))
    assert "stateful=True" in made.metadata["assumptions"][0]
    made = importer.read(
        with_layer(
            CLASSIFIER, "dense", dtype={"class_name": "DTypePolicy", "config": {"name": "mixed_bfloat16"}}
        )
    )
    assert "computed in float32, where Keras would use mixed_bfloat16" in made.metadata["assumptions"][0]


@pytest.mark.parametrize("spec", [3, b"{}"])
def test_a_spec_that_is_no_text_is_refused(spec):
    with pytest.raises(UnsupportedModelError, match="spec is not understood.*to_json"):
        importer.read(file("text_classifier.weights.h5"), spec)


# ---- files that contradict themselves ----------------------------------------------------------------------


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


# ---- hostile files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html><body>404</body></html>",
        b"version https://git-lfs.github.com/spec/v1\n",
        b"PK\x03\x04",
        b"\x89HDF\r\n\x1a\n" + bytes(99),
    ],
)
def test_other_files_are_refused(data, tmp_path):
    with pytest.raises(ModelFileError):
        importer.read(data)
    (tmp_path / "m.keras").write_bytes(data)
    with pytest.raises(ModelFileError, match="m.keras"):
        importer.read(tmp_path / "m.keras")


def test_what_is_no_file_is_refused(tmp_path):
    for source in (tmp_path, tmp_path / "missing", "a\0b"):
        with pytest.raises(ModelFileError):
            importer.read(source)
    with pytest.raises(UnsupportedModelError, match="a path"):
        importer.read(3)


@pytest.mark.parametrize(
    "text, words",
    [
        (b"", "JSON"),
        (b"[]", "does not hold an object"),
        (b"\xff\xfe", "UTF-8"),
        (b'{"class_name": "Sequential", "class_name": "Sequential"}', "twice"),
        (b'{"a":' * 2000 + b"1" + b"}" * 2000, "deep"),
        (b'{"class_name": "Sequential", "config": 3}', "config must be an object"),
        (b'{"class_name": "Sequential", "config": {"layers": {}}}', "layers is missing"),
        (b'{"class_name": "Lambda", "config": {"function": "import os"}}', "class 'Lambda'"),
        (b'{"class_name": "Sequential", "config": {"layers": []}}', "no layer"),
    ],
)
def test_json_that_is_not_a_model_is_refused(text, words):
    with pytest.raises(RnnrtError, match=words):
        importer.read(repacked(file(CLASSIFIER), lambda members: members.update({"config.json": text})))


@pytest.mark.parametrize("name", ["config.json", "metadata.json"])
def test_members_of_the_archive_must_be_there(name):
    with pytest.raises(ModelFileError, match=name):
        importer.read(repacked(file(CLASSIFIER), lambda members: members.pop(name)))


def test_weights_in_another_form_are_refused():
    with pytest.raises(UnsupportedModelError, match="model.weights.npz"):
        importer.read(
            repacked(
                file(CLASSIFIER),
                lambda members: members.update({"model.weights.npz": members.pop("model.weights.h5")}),
            )
        )


KERNEL = "layers/lstm/cell/vars/1"


def soft(opened, tmp_path):
    opened[KERNEL] = h5py.SoftLink("/layers/lstm/cell/vars/0")


def external(opened, tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["x"] = np.zeros((6, 24), np.float32)
    opened[KERNEL] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/x")


def external_storage(opened, tmp_path):
    (tmp_path / "secret").write_bytes(bytes(6 * 24 * 4))
    opened.create_dataset(KERNEL, (6, 24), "f4", external=[(str(tmp_path / "secret"), 0, 6 * 24 * 4)])


def virtual(opened, tmp_path):
    external(opened, tmp_path)
    del opened[KERNEL]
    layout = h5py.VirtualLayout((6, 24), "f4")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", (6, 24))
    opened.create_virtual_dataset(KERNEL, layout)


def lzf(opened, tmp_path):
    opened.create_dataset(KERNEL, data=np.zeros((6, 24), np.float32), compression="lzf")


def strings(opened, tmp_path):
    opened.create_dataset(KERNEL, data=["a", "b"], dtype=h5py.string_dtype())


def ragged(opened, tmp_path):
    opened.create_dataset(KERNEL, (3,), dtype=h5py.vlen_dtype(np.float32))


def compound(opened, tmp_path):
    opened.create_dataset(KERNEL, (3,), dtype=np.dtype([("a", "f4"), ("b", "f4")]))


def references(opened, tmp_path):
    opened.create_dataset(KERNEL, (3,), dtype=h5py.ref_dtype)


def complex_numbers(opened, tmp_path):
    opened.create_dataset(KERNEL, data=np.zeros((6, 24), np.complex64))


def empty(opened, tmp_path):
    opened[KERNEL] = h5py.Empty("f4")


def named_type(opened, tmp_path):
    opened[KERNEL] = np.dtype("f4")


def twice(opened, tmp_path):
    opened[KERNEL] = opened["layers/lstm/cell/vars/0"]


def circle(opened, tmp_path):
    opened[KERNEL] = opened["layers/lstm"]


@pytest.mark.parametrize(
    "plant",
    [
        soft,
        external,
        external_storage,
        virtual,
        lzf,
        strings,
        ragged,
        compound,
        references,
        complex_numbers,
        empty,
        named_type,
        twice,
        circle,
    ],
)
def test_nothing_in_an_hdf5_file_leads_elsewhere_or_is_no_plain_array(plant, tmp_path):
    def change(opened):
        del opened[KERNEL]
        plant(opened, tmp_path)

    where = (
        "model.weights.h5" if plant is virtual else f"model.weights.h5: /{KERNEL}"
    )  # its heap is refused before it is met
    with pytest.raises((ModelFileError, UnsupportedModelError), match=where):
        importer.read(with_weights(file(CLASSIFIER), change))


def bomb(shape, chunks):
    def change(opened):
        del opened[KERNEL]
        opened.create_dataset(KERNEL, shape, "f4", chunks=chunks, compression="gzip")

    return with_weights(file(CLASSIFIER), change)


@pytest.mark.parametrize("shape", [(1 << 40,), (1 << 14, 1 << 12), (1 << 31, 1 << 31)])
def test_an_array_that_declares_more_than_its_file_can_hold_is_not_allocated(shape):
    with pytest.raises(ResourceLimitError, match=f"{KERNEL}.*max_bytes"):
        importer.read(bomb(shape, True))


def test_the_limit_counts_all_arrays_of_a_file(tmp_path):
    path = tmp_path / "m.h5"
    path.write_bytes(file("text_classifier.h5"))
    importer.read(path, max_bytes=1 << 20)
    with pytest.raises(ResourceLimitError, match="limit"):
        importer.read(path, max_bytes=30_000)
    with pytest.raises(ResourceLimitError):
        importer.read(file("text_classifier.h5"), max_bytes=1_500)


def test_networks_that_unfold_without_end_are_refused():
    """Each of five nested networks calls the next one a hundred times: 10**10 calls."""

    def network(level):
        name = f"level_{level}"
        inside = (
            network(level + 1)
            if level < 5
            else {"class_name": "Dropout", "config": {"name": "end", "rate": 0.5}, "name": "end"}
        )
        first = int(level < 5)  # Keras 2 counts a network's calls from 1
        nodes = [[[*(("x", 0, 0) if i == 0 else (inside["name"], first + i - 1, 0)), {}]] for i in range(100)]
        layers = [
            {
                "class_name": "InputLayer",
                "config": {"name": "x", "batch_input_shape": [None, 3]},
                "name": "x",
                "inbound_nodes": [],
            },
            inside | {"inbound_nodes": nodes},
        ]
        config = {
            "name": name,
            "layers": layers,
            "input_layers": [["x", 0, 0]],
            "output_layers": [[inside["name"], first + 99, 0]],
        }
        return {"class_name": "Functional", "name": name, "config": config}

    target = io.BytesIO()
    with h5py.File(target, "w") as opened:
        opened.attrs["model_config"], opened.attrs["keras_version"] = json.dumps(network(1)), "2.4.0"
        opened.create_group("model_weights").attrs["layer_names"] = ["x"]
        opened["model_weights"].create_group("x").attrs["weight_names"] = np.array([], "S1")
    with pytest.raises(ResourceLimitError, match="unfold"):
        importer.read(target.getvalue())


def places(value, path=()):
    """Every place in a nest of dicts and lists, but those only training reads."""
    for key, inner in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        if not str(key).endswith(("_initializer", "_regularizer", "_constraint")):
            yield (*path, key)
            yield from places(inner, (*path, key))


JUNK = [
    None,
    True,
    0,
    -1,
    1e300,
    1 << 40,
    "",
    "x",
    "softmax",
    "LSTM",
    [],
    [1],
    [None],
    [["x", 0, 0]],
    {},
    {"class_name": "LSTM", "config": {}},
]


@pytest.mark.parametrize(
    "name",
    [
        "text_classifier.keras",
        "forecaster.keras",
        "branches.keras",
        "words.keras",
        "normalised.keras",
        "stacks.keras",
    ],
)
def test_a_configuration_with_one_thing_wrong_is_read_or_refused_in_words(name):
    """Never a KeyError or TypeError from inside."""
    with zipfile.ZipFile(io.BytesIO(file(name))) as opened:
        config = json.loads(opened.read("config.json"))
    every, choose = list(places(config)), random.Random(name)
    refused = 0
    for _ in range(60):
        path, junk = choose.choice(every), choose.choice(JUNK)

        def change(holder, path=path, junk=junk):
            for key in path[:-1]:
                holder = holder[key]
            holder[path[-1]] = junk

        try:
            importer.read(with_config(file(name), change))
        except RnnrtError as error:
            assert str(error)
            refused += 1
    assert refused


@pytest.mark.parametrize("name", ["text_classifier.h5", "old_series.keras2.1.5.h5"])
def test_a_cut_or_damaged_file_is_read_or_refused_in_words(name):
    data, choose = file(name), random.Random(name)
    for cut in (1, 100, 3000, len(data) // 2):
        with pytest.raises(ModelFileError):
            importer.read(data[:-cut])
    for _ in range(60):
        damaged = bytearray(data)
        for _ in range(choose.randint(1, 8)):
            damaged[choose.randrange(min(len(data), 8192))] = choose.randrange(256)
        try:
            importer.read(bytes(damaged))
        except RnnrtError as error:
            assert str(error)


def test_without_h5py_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingExtraError, match=r"h5py.*pip install 'rnnrt\[keras\]'"):
        importer.read(file(CLASSIFIER))


def test_a_configuration_in_an_attribute_is_checked_as_one_in_a_file():
    with pytest.raises(UnsupportedModelError, match="time_major=True"):
        importer.read(
            with_model_config(
                file("text_classifier.h5"),
                lambda config: find(config, "lstm")["config"].update(time_major=True),
            )
        )
    with pytest.raises(ModelFileError, match="JSON"):
        importer.read(
            with_hdf5(file("text_classifier.h5"), lambda opened: opened.attrs.create("model_config", "{"))
        )
