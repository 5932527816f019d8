"""What a source is told to be, by its content alone, and the way out for some thirty kinds of wrong file,
made by hand.
"""

import gzip
import io
import json
import os
import pickle
import random
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from needs import need

import rnnrt
from rnnrt import reference, textbook
from rnnrt.errors import ModelFileError, RnnrtError, UnsupportedModelError
from rnnrt.format import file
from rnnrt.graph import GraphBuilder
from rnnrt.importers import detect, read
from rnnrt.importers.containers import LEVELDB_END
from rnnrt.importers.detection import TABLE
from rnnrt.layers import Dense


def zipped(**members):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return made.getvalue()


def npz(**arrays):
    made = io.BytesIO()
    np.savez(made, **arrays)
    return made.getvalue()


def npy(array):
    made = io.BytesIO()
    np.save(made, array)
    return made.getvalue()


def tar(**members):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return made.getvalue()


def message(*fields):
    """A protocol buffers message of (number, int or bytes) fields."""

    def varint(n):
        return bytes([n]) if n < 128 else bytes([n & 127 | 128]) + varint(n >> 7)

    return b"".join(
        varint(number << 3) + varint(value)
        if isinstance(value, int)
        else varint(number << 3 | 2) + varint(len(value)) + value
        for number, value in fields
    )


def graph():
    b = GraphBuilder()
    b.output("y", b.add(Dense, "fc", b.input("x", (2,)), weight=[[1.0, -2.0]]))
    return b.graph()


TEXTBOOK = {
    "Wax": np.ones((2, 3)),
    "Waa": np.ones((2, 2)),
    "Wya": np.ones((1, 2)),
    "ba": np.ones((2, 1)),
    "by": np.ones((1, 1)),
}
LEGACY = b"".join(pickle.dumps(x, 2) for x in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, {}, []))
ONNX = message((1, 8), (2, b"pytorch"), (3, b"2.9"), (7, message((2, b"main_graph"))), (8, message((2, 17))))
GRAPH_DEF = message((1, message((1, b"x"), (2, b"Placeholder"))), (4, message((1, 1000))))

KNOWN = {
    "keras": zipped(**{"metadata.json": "{}", "config.json": "{}", "model.weights.h5": b"\x89HDF\r\n\x1a\n"}),
    "keras-h5": b"\x89HDF\r\n\x1a\n" + bytes(100),
    "torch-zip": zipped(
        **{"archive/data.pkl": b"\x80\x02}.", "archive/version": "3", "archive/data/0": bytes(8)}
    ),
    "torch-legacy": LEGACY,
    "torch-export": zipped(**{"m/models/model.json": "{}", "m/byteorder": b"little"}),
    "torchscript": zipped(**{"m/data.pkl": b"", "m/constants.pkl": b"", "m/code/__torch__.py": ""}),
    "safetensors": safetensors.numpy.save({"w": np.ones((2, 2), np.float32)}, {"format": "pt"}),
    "npz": npz(weight_ih_l0=np.ones(3)),
    "textbook": npz(**TEXTBOOK),
    "onnx": ONNX,
    "checkpoint": bytes(300) + LEVELDB_END,
    "tflite": b"\x1c\0\0\0TFL3" + bytes(50),
    "nam": json.dumps(
        {"weights": [0.5] * 3000, "version": "0.5.4", "config": {}, "architecture": "x"}
    ).encode(),
    "guitarml": json.dumps({"model_data": {"class_name": "x"}, "state_dict": {}}, indent=4).encode(),
    "rtneural": b"\xef\xbb\xbf" + json.dumps({"in_shape": [None, None, 1], "layers": []}).encode(),
}

HTML = b"\n<!DOCTYPE html><html><head><title>404</title></head></html>"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
WRONG = {
    "empty": (b"", "empty", ModelFileError, "an empty file.*again"),
    "html": (HTML, "html", ModelFileError, "web page.*Download the file itself"),
    "html_bom": (b"\xef\xbb\xbf" + HTML, "html", ModelFileError, "web page"),
    "xml_error": (
        b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
        "html",
        ModelFileError,
        "XML answer",
    ),
    "git_lfs": (LFS, "git-lfs", ModelFileError, "git lfs pull"),
    "saved_model_pb": (
        message((1, 1), (2, b"\n\x05serve" + bytes(300))),
        "savedmodel",
        UnsupportedModelError,
        'model.save."model.keras"',
    ),
    "graph_def": (GRAPH_DEF, "savedmodel", UnsupportedModelError, "TensorFlow graph.*model.keras"),
    "saved_model_zip": (
        zipped(**{"m/saved_model.pb": b"", "m/variables/x": b""}),
        "savedmodel",
        UnsupportedModelError,
        "Unpack it and give the folder",
    ),
    "keras_metadata": (
        message((1, b"\x1a\x04root\x22\x11_tf_keras_network*\x02{}")),
        "keras-metadata",
        UnsupportedModelError,
        "without its weights.*Give the folder",
    ),
    "torch_mobile": (b"\x10\0\0\0PTMF" + bytes(50), "torch-mobile", UnsupportedModelError, "state_dict"),
    "pickle": (pickle.dumps({"a": 1}, 4), "pickle", UnsupportedModelError, "could run code.*state_dict"),
    "zip_in_zip": (
        zipped(**{"classifier.keras": b"PK"}),
        "zipped",
        UnsupportedModelError,
        "classifier.keras.*Unpack",
    ),
    "nested_stored": (
        zipped(**{"best.pt": KNOWN["torch-zip"]}),
        "zipped",
        UnsupportedModelError,
        "best.pt.*Unpack",
    ),
    "docx": (
        zipped(**{"word/document.xml": "", "[Content_Types].xml": ""}),
        "zip",
        UnsupportedModelError,
        "word/document.xml",
    ),
    "zip_empty": (zipped(), "zip", UnsupportedModelError, "without a model"),
    "zip_cut": (KNOWN["keras"][:-30], "zip-cut", ModelFileError, "incomplete copy"),
    "gzip": (gzip.compress(b"x" * 100), "gzip", UnsupportedModelError, "gunzip"),
    "xz": (b"\xfd7zXZ\x00\x00" + bytes(20), "compressed", UnsupportedModelError, "Unpack"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(20), "compressed", UnsupportedModelError, "Unpack"),
    "tar": (tar(**{"model.pt": b"x"}), "tar", UnsupportedModelError, "tar archive.*Unpack"),
    "oldest_torch": (
        tar(sys_info=b"x", pickle=b"x", tensors=b"x", storages=b"x"),
        "tar",
        UnsupportedModelError,
        "in PyTorch",
    ),
    "gguf": (b"GGUF\x03\0\0\0" + bytes(30), "gguf", UnsupportedModelError, "GGUF.*PyTorch"),
    "ggml": (b"lmgg" + bytes(30), "gguf", UnsupportedModelError, "GGML"),
    "npy": (npy(np.ones(3)), "npy", UnsupportedModelError, "numpy.savez"),
    "matlab": (
        b"MATLAB 5.0 MAT-file, Platform: GLNXA64" + bytes(100),
        "matlab",
        UnsupportedModelError,
        "ONNX",
    ),
    "keras_json": (
        json.dumps({"class_name": "Sequential", "config": {}}).encode(),
        "keras-json",
        UnsupportedModelError,
        "spec=",
    ),
    "keras_json_string": (  # json.dump(model.to_json(), file)
        json.dumps(json.dumps({"class_name": "Sequential", "config": {}})).encode(),
        "keras-json",
        UnsupportedModelError,
        "spec=",
    ),
    "tensorflow_js": (
        json.dumps({"modelTopology": {"class_name": "x"}}).encode(),
        "tensorflow-js",
        UnsupportedModelError,
        "TensorFlow.js",
    ),
    "guitarml_wavenet": (
        json.dumps({"activation": "gated", "dilations": [1, 2], "variables": []}).encode(),
        "guitarml-wavenet",
        UnsupportedModelError,
        "first players",
    ),
    "json_state_dict": (
        json.dumps({"lstm.weight_ih_l0": [[0.5]], "lstm.bias_ih_l0": [0.5]}).encode(),
        "json-state-dict",
        UnsupportedModelError,
        "from_torch.. a dictionary of its arrays",
    ),
    "nam_inside": (  # the four keys, but not at the outermost level
        json.dumps({"a": {"version": "", "architecture": "", "config": {}, "weights": []}}).encode(),
        "json",
        ModelFileError,
        "a JSON file",
    ),
    "keys_in_text": (
        json.dumps({"a": '"in_shape": 1, "layers": 2'}).encode(),
        "json",
        ModelFileError,
        "a JSON file",
    ),
    "json": (b'{"a": 1}', "json", ModelFileError, "JSON"),
    "yaml": ("größe: 3\nlayers:\n- lstm\n".encode() * 500, "text", ModelFileError, "text file"),
    "python": (b"import torch\nclass Net: ...\n", "text", ModelFileError, "text file"),
    "png": (
        b"\x89PNG\r\n\x1a\n" + bytes(range(200)),
        None,
        ModelFileError,
        "not a kind of file that rnnrt knows.*PNG",
    ),
    "noise": (random.Random(0).randbytes(5000), None, ModelFileError, "not a kind of file that rnnrt knows"),
    "zeros": (bytes(5000), None, ModelFileError, "not a kind of file that rnnrt knows"),
    "one_byte": (b"\x80", None, ModelFileError, "not a kind of file that rnnrt knows"),
}


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("suffix", ["", ".keras", ".txt"])
def test_what_rnnrt_reads_is_known_by_its_content(tmp_path, name, suffix):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(KNOWN[name])
    for source in (path, str(path), os.fsencode(path)):
        kind = detect(source)
        assert kind.name == name and kind.importer


def test_a_rnnrt_file_is_known_and_read(tmp_path):
    file.save(graph(), tmp_path / "model.h5")
    assert detect(tmp_path / "model.h5").name == "rnnrt"
    assert file.canonical_json(read(tmp_path / "model.h5")) == file.canonical_json(graph())
    with pytest.raises(RnnrtError, match="max_bytes"):
        read(tmp_path / "model.h5", max_bytes=10)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_told_what_it_is_and_the_way_out(tmp_path, name):
    content, kind, error, words = WRONG[name]
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    with pytest.raises(error, match=f"model.pt: is .*{words}" if kind else words) as caught:
        detect(path)
    assert type(caught.value) is error
    with pytest.raises(error):
        read(path)


def test_every_row_of_the_table_has_a_test():
    tried = {kind for _, kind, _, _ in WRONG.values()} | set(KNOWN) | {"rnnrt"}
    assert {row.name for row in TABLE} <= tried
    assert all(row.importer or row.fix for row in TABLE)


@pytest.mark.parametrize("name", sorted({*KNOWN, *WRONG}))
def test_a_cut_or_mutated_file_ends_in_a_kind_or_one_error(tmp_path, name):
    content, generator = KNOWN.get(name) or WRONG[name][0], random.Random(name)
    path = tmp_path / "m"
    for _ in range(60):
        data = bytearray(
            content[: generator.randrange(len(content) + 1)] if generator.random() < 0.3 else content
        )
        for _ in range(generator.randrange(4) if data else 0):
            data[generator.randrange(len(data))] = generator.randrange(256)
        path.write_bytes(data)
        try:
            assert detect(path).importer
        except RnnrtError as error:
            assert str(path) in str(error)


def test_a_kind_without_an_importer_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rnnrt.importers.onnx.reader", None)  # as if it were not there
    (tmp_path / "m").write_bytes(ONNX)
    with pytest.raises(UnsupportedModelError, match="m: is an ONNX model, for which"):
        read(tmp_path / "m")


def test_folders_and_special_paths(tmp_path):
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"")
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "model.safetensors").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe")
    for path, error, words in (
        (tmp_path / "hub", ModelFileError, "is a folder.*model.safetensors"),
        (tmp_path, ModelFileError, "is a folder"),
        (tmp_path / "pipe", ModelFileError, "a pipe"),
        (tmp_path / "missing.keras", ModelFileError, "No such file"),
        ("nul\0", ModelFileError, "null"),
    ):
        with pytest.raises(error, match=words):
            detect(path)
    assert detect(tmp_path / "saved").importer == "keras"
    with pytest.raises(UnsupportedModelError, match="holds a program.*model.keras"):
        read(tmp_path / "saved")


@pytest.mark.parametrize("source", [5, None, 1.5, [1, 2], np.ones(3), object(), Dense])
def test_what_is_no_source_is_refused_by_type(source):
    with pytest.raises(UnsupportedModelError, match="not something that rnnrt imports.*found"):
        detect(source)


def test_mappings_and_graphs_need_no_file(tmp_path):
    assert detect(graph()).name == "graph" and detect({}).name == "state-dict"
    assert detect({"weight_ih_l0": np.ones((4, 1))}).importer == "torch"
    assert detect(TEXTBOOK).importer == "numpy"
    made = graph()
    assert read(made) is made
    (tmp_path / "p.npz").write_bytes(npz(**TEXTBOOK))
    x, a0 = np.random.default_rng(0).standard_normal((3, 2, 4)), np.ones((2, 2))
    wanted = textbook.rnn_forward(x, a0, TEXTBOOK)[0]
    with np.load(tmp_path / "p.npz") as opened:
        assert detect(opened).importer == "numpy"
        for source in (TEXTBOOK, opened, tmp_path / "p.npz"):
            outputs, _ = reference.run(read(source), {"x": x.transpose(1, 2, 0), "a0": a0.T})
            np.testing.assert_allclose(outputs["a"].transpose(2, 0, 1), wanted, atol=1e-12)
    with pytest.raises(RnnrtError, match="max_bytes"):
        read(tmp_path / "p.npz", max_bytes=100)


def test_detection_imports_no_framework(tmp_path):
    for name, content in KNOWN.items():
        (tmp_path / name).write_bytes(content)
    program = (
        "import sys, pathlib; from rnnrt.importers import detect\n"
        "for path in pathlib.Path(sys.argv[1]).iterdir(): detect(path)\n"
        "print(sorted({'torch', 'keras', 'tensorflow', 'onnx', 'h5py', 'scipy', 'pickle'} & set(sys.modules) "
        "- before))"
    )
    root = str(Path(file.__file__).parents[2])
    done = subprocess.run(
        check=False,
        args=[sys.executable, "-c", f"import numpy, sys; before = set(sys.modules)\n{program}", tmp_path],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": root},
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_live_torch_modules_and_the_files_torch_writes(tmp_path):
    torch = need("torch")
    module = torch.nn.LSTM(2, 3)
    assert detect(module).importer == "torch" and detect(module.state_dict()).importer == "torch"
    torch.save(module.state_dict(), tmp_path / "new")
    torch.save(module.state_dict(), tmp_path / "old", _use_new_zipfile_serialization=False)
    assert detect(tmp_path / "new").name == "torch-zip" and detect(tmp_path / "old").name == "torch-legacy"
    program = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(3, 2),))
    assert detect(program).importer == "pt2"
    torch.export.save(program, tmp_path / "exported")
    assert detect(tmp_path / "exported").name == "torch-export"
    for source in (program, tmp_path / "exported"):
        with pytest.raises(UnsupportedModelError, match="a.*torch.export.*Use rnnrt.from_pt2"):
            rnnrt.from_torch(source)
    made = torch.jit.script(torch.nn.Linear(2, 2))
    torch.jit.save(made, tmp_path / "script")
    assert detect(tmp_path / "script").importer == detect(made).importer == "torchscript"


def test_live_keras_models_and_the_files_keras_writes(tmp_path):
    keras = need("keras")
    need("h5py")
    model = keras.Sequential([keras.Input((4, 2)), keras.layers.LSTM(3)])
    assert detect(model).importer == "keras"
    model.save(tmp_path / "m.keras")
    model.save(tmp_path / "m.h5")
    assert detect(tmp_path / "m.keras").name == "keras" and detect(tmp_path / "m.h5").name == "keras-h5"


def test_live_onnx_models_and_files(tmp_path):
    onnx = need("onnx")
    value = onnx.helper.make_tensor_value_info
    made = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [value("x", 1, [2])], [value("y", 1, [2])]
    )
    model = onnx.helper.make_model(made)
    assert detect(model).importer == "onnx"
    onnx.save(model, tmp_path / "m")
    assert detect(tmp_path / "m").name == "onnx"


def test_names_of_members_cannot_write_to_a_terminal(tmp_path):
    """What a file says of itself stands in messages as text that is only shown."""
    path = tmp_path / "m.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/\x1b[2J\x07gone", b"")
    for reading in (rnnrt.convert, rnnrt.from_torch):
        with pytest.raises(RnnrtError, match="gone") as error:
            reading(path)
        assert str(error.value).isprintable() and "\\x1b[2J\\x07gone" in str(error.value)
    error = ModelFileError("is odd", where="a\u202eb", found="c\x00\udc80", fix="Do\nthis.")
    assert str(error) == "a\\u202eb: is odd; found c\\x00\\udc80. Do\nthis."
