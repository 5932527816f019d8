"""SavedModel folders of Keras 2, as TensorFlow wrote them (2.4 to 2.15, tools/record_saved_models.py),
against what it answered; and the same folders with something in them that does not fit.
"""

import copy
import hashlib
import json
import os
import random
import resource
import sys
from pathlib import Path

import numpy as np
import pytest
from mutants import Tally
from saved_models import (
    DATA,
    FLOAT,
    GRAPH,
    INDEX,
    METADATA,
    PROGRAM,
    child,
    files,
    layer,
    mutant,
    parts,
    recorded,
    table,
    written,
)

import rnnrt
from rnnrt import ModelFileError, ResourceLimitError, UnsupportedModelError, layers
from rnnrt.command import main
from rnnrt.importers import detect
from rnnrt.importers.containers import leveldb
from rnnrt.importers.containers.tensor_bundle import TensorBundle
from rnnrt.importers.keras import reader

VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
#: Networks whose layers of half precision TensorFlow computed as such.
TOLERANCES = {"half": 1e-3}


def gain(config, arrays):
    (amount,) = arrays.values()
    assert list(arrays) == ["amount"]
    return layers.Dense("gain", ("x",), weight=np.diag(amount), bias=np.zeros_like(amount))


def imported(name, tmp_path, change=None, **options):
    """The Model of a recorded folder whose ``parts`` were changed."""
    held = recorded()[0][name]
    if change:
        found = parts(held)
        change(found)
        held = files(found)
    return rnnrt.from_keras(written(tmp_path / "model", held), **options)


def refused(name, tmp_path, change, error, words):
    with pytest.raises(error, match=words) as caught:
        imported(name, tmp_path, change)
    assert os.fspath(tmp_path) in str(caught.value)


# ---- as TensorFlow answers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", recorded()[1])
def test_a_folder_answers_as_tensorflow_does(name, tmp_path):
    answers = recorded()[1][name]
    options = {"custom_objects": {"Gain": gain}} if name.endswith("custom") else {}
    model = imported(name, tmp_path, **options)
    given = [answers[f"x{k}"] for k in range(sum(key.startswith("x") for key in answers))]
    wanted = [answers[f"y{k}"] for k in range(len(answers) - len(given))]
    made = model(*given)
    made = made if isinstance(made, tuple) else (made,)
    tolerance = TOLERANCES.get(name.partition("/")[2], 1e-5)
    for y, z in zip(made, wanted, strict=True):
        assert y.shape == z.shape
        np.testing.assert_allclose(y, z, atol=tolerance, rtol=tolerance)
    assert model.provenance["format"] == "savedmodel"
    assert model.provenance["keras_version"].startswith(name.partition("/")[0])
    assert any("not compared" in said for said in model.assumptions)


def test_the_folders_are_of_many_kinds_and_versions():
    names = [name.split("/") for name in recorded()[1]]
    assert {version for version, _ in names} == {"2.4", "2.5", "2.9", "2.12", "2.15", "2.18"}
    assert len({name for version, name in names if version == "2.15"}) >= 28


def test_what_is_assumed_of_other_files_is_said_of_folders(tmp_path):
    said = imported("2.15/stateful", tmp_path / "a").assumptions
    assert any("stateful=True" in text for text in said)
    said = imported("2.15/half", tmp_path / "b").assumptions
    assert any("computed in float32, where Keras would use mixed_float16" in text for text in said)


def test_a_part_of_a_folders_network_is_cut_out(tmp_path):
    whole, answers = imported("2.15/norm", tmp_path), recorded()[1]["2.15/norm"]
    first = rnnrt.from_keras(tmp_path / "model", outputs=[whole.graph.layers[-2].name])
    assert first(answers["x0"]).shape == (2, 2) or first(answers["x0"]).shape == (2, 4)
    with pytest.raises(UnsupportedModelError, match="no layer|not a layer|does not"):
        rnnrt.from_keras(tmp_path / "model", outputs=["nothing"])


def test_a_spec_may_say_what_the_network_is(tmp_path):
    """As with .keras files: the text of to_json(), here with another activation."""
    values = layer(parts(recorded()[0]["2.15/lstm"]), "root")
    listed = lambda value: value["items"] if value.get("class_name") == "__tuple__" else value
    text = json.dumps({"class_name": values["class_name"], "config": values["config"]})
    text = json.dumps(json.loads(text, object_hook=listed))
    answers = recorded()[1]["2.15/lstm"]
    same = imported("2.15/lstm", tmp_path / "a", spec=text)
    np.testing.assert_allclose(same(answers["x0"]), answers["y0"], atol=1e-5)
    other = text.replace('"activation": "linear"', '"activation": "tanh"')
    y = imported("2.15/lstm", tmp_path / "b", spec=other)(answers["x0"])
    np.testing.assert_allclose(y, np.tanh(answers["y0"]), atol=1e-5)


def test_the_arrays_of_a_custom_class_are_named_by_their_attributes(tmp_path):
    seen = {}

    def cell(config, arrays):
        seen.update(arrays)
        return layers.SimpleRNN(
            "cell",
            ("x",),
            weight=arrays["simple_rnn_cell/kernel"].T,
            recurrent_weight=arrays["simple_rnn_cell/recurrent_kernel"].T,
            bias=arrays["simple_rnn_cell/bias"],
            norm="gates",
            gamma=arrays["layer_norm/gamma"],
            beta=arrays["layer_norm/beta"],
            activation=config["activation"],
        )

    answers = recorded()[1]["2.15/custom"]
    model = imported("2.15/custom", tmp_path, custom_objects={"Gain": gain, "LNSimpleRNNCell": cell})
    assert len(seen) == 5
    np.testing.assert_allclose(model(answers["x0"]), answers["y0"], atol=1e-5)


def test_a_variable_that_is_nobodys_attribute_is_named_by_its_number(tmp_path):
    """A custom layer may keep one where Keras does not look for it; its list of variables has it all the
    same.
    """

    def change(found):
        own = found["objects"][child(found, "layer-0")]["children"]
        own[:] = [c for c in own if c[0] != "amount"]
        (attribute,) = found["objects"][child(found, "variables", "0")]["attributes"]
        found["tensors"][f"variables/0{VALUE}"] = found["tensors"].pop(attribute[2])
        attribute[2] = f"variables/0{VALUE}"

    def kept(config, arrays):
        return gain(config, {"amount": arrays["variables/0"]})

    answers = recorded()[1]["2.15/custom"]
    model = imported("2.15/custom", tmp_path, change, custom_objects={"Gain": kept})
    np.testing.assert_allclose(model(answers["x0"]), answers["y0"], atol=1e-5)


def test_a_class_that_nobody_describes_is_refused_by_name(tmp_path):
    refused("2.15/custom", tmp_path, None, UnsupportedModelError, "'gain'.*test>Gain")


# ---- what a source is --------------------------------------------------------------------------------------


def test_a_folder_is_told_by_what_is_in_it(tmp_path, capsys):
    folder = written(tmp_path / "net.v2", recorded()[0]["2.15/lstm"])
    assert (
        detect(folder).importer == detect(Path(folder)).importer == detect(folder + "/").importer == "keras"
    )
    with pytest.raises(UnsupportedModelError, match=r"SavedModel folder.*from_keras"):
        rnnrt.from_torch(folder, "lstm: LSTM")
    with pytest.raises(ModelFileError, match="SavedModel folder, not a .rnnrt file.*convert"):
        rnnrt.load(folder)
    answers = recorded()[1]["2.15/lstm"]
    model = rnnrt.convert(folder + "/", tmp_path / "own.rnnrt")
    assert model.provenance["file"] == "net.v2"
    np.testing.assert_allclose(rnnrt.load(tmp_path / "own.rnnrt")(answers["x0"]), answers["y0"], atol=1e-5)
    assert main.main(["convert", folder]) == 0
    assert (tmp_path / "net.v2.rnnrt").exists()
    assert main.main(["info", folder]) == 0
    assert "SavedModel" not in capsys.readouterr().err


def test_nothing_but_numpy_is_needed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    imported("2.15/lstm", tmp_path)


def test_the_hash_of_a_folder_is_that_of_what_says_what_is_in_it(tmp_path):
    held = recorded()[0]["2.15/lstm"]
    model = imported("2.15/lstm", tmp_path)
    assert model.provenance["sha256"] == hashlib.sha256(held[METADATA] + held[INDEX]).hexdigest()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (METADATA, "description of a Keras 2 model without its weights.*folder"),
        (INDEX, "weights alone.*the folder|index of a TensorFlow checkpoint.*rnnrt.convert"),
    ],
)
def test_a_file_of_a_folder_is_told_and_the_folder_asked_for(name, words, tmp_path):
    folder = written(tmp_path, recorded()[0]["2.15/lstm"])
    for read in (rnnrt.from_keras, rnnrt.convert, rnnrt.load):
        with pytest.raises((UnsupportedModelError, ModelFileError), match=words):
            read(os.path.join(folder, name))


def test_the_program_of_a_folder_is_told_and_the_folder_asked_for(tmp_path):
    folder = written(tmp_path, recorded()[0]["2.18/module"])
    with pytest.raises(UnsupportedModelError, match="TensorFlow graph.*the folder.*saved_model.pb"):
        rnnrt.from_keras(os.path.join(folder, PROGRAM))


@pytest.mark.parametrize("name", ["2.18/exported", "2.18/module"])
def test_a_folder_without_a_network_of_keras_2_is_refused_with_the_way_out(name, tmp_path):
    words = r"a program, and not the description.*TensorFlow 2.18.*model\.keras.*tf2onnx"
    refused(name, tmp_path, None, UnsupportedModelError, words)


def test_a_folder_with_an_empty_or_damaged_program_is_refused(tmp_path):
    for number, content in enumerate((b"", b"\x12\x00", b"\x12\xff", b"\x08")):
        folder = written(tmp_path / str(number), {PROGRAM: content})
        with pytest.raises((UnsupportedModelError, ModelFileError), match="program|ends|end"):
            rnnrt.from_keras(folder)


def test_a_class_of_the_users_own_is_refused(tmp_path):
    """A subclassed model has no config."""

    def change(found):
        values = layer(found, "root")
        values["class_name"] = "Mine"
        del values["config"]

    refused("2.15/lstm", tmp_path / "a", change, UnsupportedModelError, "class 'Mine'.*functional API")
    rename = lambda found: layer(found, "root").update(class_name="Mine")
    refused("2.15/lstm", tmp_path / "b", rename, UnsupportedModelError, "class 'Mine'.*functional API")


def test_a_folder_without_its_weights_says_which_file_is_missing(tmp_path):
    for name in (INDEX, DATA):
        held = dict(recorded()[0]["2.15/lstm"])
        del held[name]
        folder = written(tmp_path / name.rpartition(".")[2], held)
        with pytest.raises(ModelFileError, match=f"{name}.*No such file"):
            rnnrt.from_keras(folder)


def test_more_than_max_bytes_is_refused_before_it_is_read(tmp_path):
    folder = written(tmp_path, recorded()[0]["2.15/lstm"])
    whole = sum(map(len, recorded()[0]["2.15/lstm"].values()))
    rnnrt.from_keras(folder, max_bytes=whole)
    for most in (0, 100, whole - 1):
        with pytest.raises(ResourceLimitError, match="max_bytes"):
            rnnrt.from_keras(folder, max_bytes=most)


# ---- what a folder says twice ------------------------------------------------------------------------------


def exchange(found, number, first, second):
    """Two attributes of an object lead where the other did."""
    own = found["objects"][number]["children"]
    places = {name: k for k, (name, _) in enumerate(own)}
    a, b = own[places[first]], own[places[second]]
    a[1], b[1] = b[1], a[1]


def test_two_variables_of_a_cell_in_each_others_place_are_refused(tmp_path):
    """Kernel and recurrent kernel have one shape here; TensorFlow's name tells them apart."""

    def change(found):
        exchange(found, child(found, "layer-0", "cell"), "kernel", "recurrent_kernel")

    refused("2.15/compiled", tmp_path, change, ModelFileError, "not what its place says.*recurrent_kernel")


def test_a_key_that_is_one_off_in_the_order_of_variables_is_refused(tmp_path):
    def change(found):
        for own in found["objects"]:
            for attribute in own["attributes"]:
                if attribute[2].startswith("variables/1/"):
                    attribute[2] = f"variables/2{VALUE}"

    refused("2.15/both", tmp_path, change, ModelFileError, "key of a variable leads to another.*variables/2")


def test_two_layers_in_each_others_place_are_refused(tmp_path):
    def change(found):
        exchange(found, 0, "layer-1", "layer-3")

    refused("2.15/mixed", tmp_path, change, ModelFileError, "twice, and not alike.*batch_normalization")


def test_a_layer_with_weights_that_is_counted_otherwise_is_refused(tmp_path):
    def change(found):
        exchange(found, 0, "layer_with_weights-1", "layer_with_weights-3")
        for entry in found["layers"]:  # each still where its attributes lead
            swap = {"root.layer_with_weights-1": "root.layer_with_weights-3"}
            swap |= {b: a for a, b in swap.items()}
            entry[0] = swap.get(entry[0], entry[0])

    refused("2.15/mixed", tmp_path, change, ModelFileError, "layers with weights are others")


@pytest.mark.parametrize(("key", "value"), [("reset_after", False), ("activation", "relu"), ("units", 5)])
def test_options_that_stand_there_in_two_ways_are_refused(key, value, tmp_path):
    def change(found):
        layer(found, "root.layer_with_weights-0")["config"][key] = value

    refused("2.15/compiled", tmp_path, change, ModelFileError, f"twice, and not alike.*{key}")


def test_a_description_that_is_missing_or_there_twice_is_refused(tmp_path):
    def left_out(found):
        found["layers"] = [entry for entry in found["layers"] if entry[0] != "root.layer_with_weights-0"]

    def doubled(found):
        found["layers"].append(found["layers"][1])

    def no_model(found):
        found["layers"] = found["layers"][1:]

    refused("2.15/lstm", tmp_path / "a", left_out, ModelFileError, "missing among the objects")
    refused("2.15/lstm", tmp_path / "b", doubled, ModelFileError, "described twice")
    refused("2.15/lstm", tmp_path / "c", no_model, ModelFileError, "does not describe a model")


def test_a_variable_that_is_missing_left_over_or_of_another_shape_is_refused(tmp_path):
    def gone(found):
        del found["tensors"][f"variables/0{VALUE}"]

    def unlisted(found):
        own = found["objects"][child(found, "layer-0", "cell")]["children"]
        own[:] = [c for c in own if c[0] != "bias"]

    def stray(found):
        found["tensors"][f"layer-7/kernel{VALUE}"] = [FLOAT, [1], b"\0\0\0\0"]

    def turned(found):
        tensor = found["tensors"][f"variables/0{VALUE}"]
        tensor[1] = tensor[1][::-1]

    refused("2.15/lstm", tmp_path / "a", gone, ModelFileError, "tensor is missing")
    refused("2.15/lstm", tmp_path / "b", unlisted, ModelFileError, "an array is missing.*the bias")
    refused("2.15/lstm", tmp_path / "c", stray, ModelFileError, "belong to no layer.*layer-7/kernel")
    with pytest.raises(rnnrt.RnnrtError, match="kernel"):
        imported("2.15/lstm", tmp_path / "d", turned)


def test_what_only_training_reads_is_left_alone(tmp_path):
    """Optimizer, metrics and the states of stateful layers: their numbers may be anything."""

    def change(found):
        for name, (_, shape, content) in found["tensors"].items():
            if name.startswith(("optimizer", "keras_api")):
                found["tensors"][name] = [999, [*shape, 7], content]

    answers = recorded()[1]["2.15/compiled"]
    names = parts(recorded()[0]["2.15/compiled"])["tensors"]
    assert any(n.startswith("optimizer/_variables/3/") for n in names)
    y = imported("2.15/compiled", tmp_path, change)(answers["x0"])
    np.testing.assert_allclose(y, answers["y0"], atol=1e-5)


# ---- damage ------------------------------------------------------------------------------------------------


def test_a_byte_that_is_another_is_told_by_a_checksum(tmp_path):
    """Wherever it lies, in the index (but for what fills its end up) or in the numbers of a layer."""
    held = recorded()[0]["2.15/lstm"]
    filling = range(len(held[INDEX]) - 42, len(held[INDEX]) - 8)
    for name, step in ((INDEX, 5), (DATA, 31)):
        content = held[name]
        for at in range(0, len(content), step):
            if name == INDEX and at in filling:
                continue
            changed = bytearray(content)
            changed[at] ^= 16
            folder = written(tmp_path, held | {name: bytes(changed)})
            with pytest.raises(
                rnnrt.RnnrtError, match="checksum|table|length|outside|number|blocks"
            ) as caught:
                rnnrt.from_keras(folder)
            assert name == INDEX or "checksum" in str(caught.value) or "length" in str(caught.value)


def test_files_that_are_cut_anywhere_are_refused(tmp_path):
    held = recorded()[0]["2.15/rnn"]
    for name, content in held.items():
        for end in range(0, len(content), max(1, len(content) // 30)):
            folder = written(tmp_path, held | {name: content[:end]})
            with pytest.raises(rnnrt.RnnrtError):
                rnnrt.from_keras(folder)


def test_mutants_end_in_rnnrts_own_errors(tmp_path):
    draw, tally = random.Random(3), Tally(2.0)
    seeds = [recorded()[0][f"2.15/{name}"] for name in ("stacked", "twice", "custom", "compiled")]
    seeds = [(parts(seed), seed) for seed in seeds]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(150):
        folder = written(tmp_path, mutant(*draw.choice(seeds), draw))
        tally.take(lambda folder=folder: reader.read(folder))
    assert not tally.faults
    assert 5 < tally.ends["read"] < 120
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


# ---- objects of a checkpoint -------------------------------------------------------------------------------


def test_objects_below_a_custom_layer_that_unfold_without_end_are_stopped(tmp_path):
    """A chain of objects: the way to each holds the ways to all before it."""

    def change(found):
        owner = child(found, "layer-0")
        for _ in range(9000):
            found["objects"][owner]["children"].append(["a" * 9, len(found["objects"])])
            owner = len(found["objects"])
            found["objects"].append({"children": [], "attributes": []})

    with pytest.raises(ResourceLimitError, match="layer-0.*too many objects"):
        imported("2.15/custom", tmp_path / "a", change, custom_objects={"Gain": gain})

    def long(found):
        found["objects"][0]["children"].append(["a" * 5000, 0])

    refused("2.15/lstm", tmp_path / "b", long, ModelFileError, "name is too long")


def test_a_variable_of_many_layers_is_read_once(tmp_path, monkeypatch):
    """Cells may share one; a file could make all its layers share the largest."""
    read, real = [], TensorBundle.array
    monkeypatch.setattr(TensorBundle, "array", lambda self, key: (read.append(key), real(self, key))[1])

    def change(found):
        for name in ("kernel", "recurrent_kernel", "bias"):
            for way in (("layer-0", "forward_layer"), ("layer-0", "backward_layer")):
                cell = found["objects"][child(found, *way, "cell")]["children"]
                for own in cell:
                    if own[0] == name:
                        own[1] = child(found, "layer-0", "forward_layer", "cell", name)

    with pytest.raises(ModelFileError, match="belong to no layer"):
        imported("2.15/both", tmp_path, change)
    assert len(read) == len(set(read)) == 9


def test_a_checkpoint_of_several_shards_is_read(tmp_path):
    """As TensorFlow writes it of several devices: the file of each shard is named by its number."""
    held = recorded()[0]["2.15/lstm"]
    found = parts(held)
    made = files(found | {"header": [2, 0]})
    names = {name: f"variables/variables.data-0000{k}-of-00002" for k, name in enumerate((DATA, "other"))}
    folder = written(tmp_path, {METADATA: held[METADATA], INDEX: made[INDEX], names[DATA]: made[DATA]})
    answers = recorded()[1]["2.15/lstm"]
    np.testing.assert_allclose(rnnrt.from_keras(folder)(answers["x0"]), answers["y0"], atol=1e-5)


def test_tensors_that_overlap_are_refused(tmp_path):
    held = recorded()[0]["2.15/lstm"]
    entries = {bytes(k): bytes(v) for k, v in leveldb.read(held[INDEX], "").items()}
    first, second, *_ = [key for key in entries if key.endswith(b"VALUE")]
    entries[first] = entries[second]
    folder = written(tmp_path, held | {INDEX: table(entries)})
    with pytest.raises(ModelFileError, match="overlaps"):
        rnnrt.from_keras(folder)


def test_the_objects_need_not_be_in_order(tmp_path):
    """Only the names of attributes count: the objects in another order are the same network."""

    def change(found):
        count = len(found["objects"])
        to = {0: 0} | {k: count - k for k in range(1, count)}
        found["objects"] = [copy.deepcopy(found["objects"][k]) for k in sorted(to, key=to.get)]
        for own in found["objects"]:
            for entry in own["children"]:
                entry[1] = to[entry[1]]
            own["children"].reverse()

    answers = recorded()[1]["2.15/mixed"]
    y = imported("2.15/mixed", tmp_path, change)(answers["x0"])
    np.testing.assert_allclose(y, answers["y0"], atol=1e-5)
    assert GRAPH == "_CHECKPOINTABLE_OBJECT_GRAPH"
