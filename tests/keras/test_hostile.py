"""Damaged and hostile Keras files: refused in words, and safely."""

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
