"""The .rnnrt file: what goes in comes out, any safetensors reader opens it, and no other path is taken for
one.
"""

import dataclasses
import os

import numpy as np
import pytest
import safetensors.numpy
from safetensors import safe_open
from sample_graphs import graph_with_every_layer, normal, same, small_file, small_graph

from rnnrt import reference, verification
from rnnrt.errors import DTypeError, ModelFileError
from rnnrt.format import file, graph_json, strict_json
from rnnrt.graph import GraphBuilder
from rnnrt.layers import Activation, Conv1D, Dense, TimeDistributed
from rnnrt.layers.base import LAYERS


@pytest.fixture
def saved(tmp_path):
    return small_file(tmp_path)


# ---- what goes in comes out --------------------------------------------------------------------------------


def test_every_layer_and_field_comes_back(tmp_path):
    graph = graph_with_every_layer()
    assert {layer.kind for layer in (*graph.layers, *graph["per_frame"].graph.layers)} == set(LAYERS)
    golden = verification.reference_sample(graph)
    file.save(
        graph,
        tmp_path / "m.rnnrt",
        golden=golden,
        golden_by="keras 3",
        provenance={"file": "m.keras", "sizes": [1, 2.5]},
    )
    stored = file.load(tmp_path / "m.rnnrt")
    assert same(stored.graph, graph)
    assert stored.graph.metadata == graph.metadata and stored.golden_by == "keras 3"
    assert stored.provenance == {"file": "m.keras", "sizes": [1, 2.5]}
    for before, after in zip(golden, stored.golden):
        assert set(before) == set(after)
        for name, array in before.items():
            np.testing.assert_array_equal(array, after[name])
    again, _ = reference.run(stored.graph, stored.golden[0])
    for name, array in stored.golden[1].items():
        np.testing.assert_array_equal(again[name].astype(np.float32), array)


def test_every_annotation_of_every_layer_can_be_read():
    for layer in LAYERS.values():
        for item in dataclasses.fields(layer):
            kind = item.type.removesuffix(" | None")
            assert kind in graph_json._FIELDS or kind in ("Weights", "OptionalWeights", "Graph"), (
                f"{layer.__name__}.{item.name}: {item.type}"
            )


def test_a_file_without_golden_or_provenance(tmp_path):
    file.save(small_graph(), tmp_path / "m.rnnrt")
    stored = file.load(tmp_path / "m.rnnrt")
    assert stored.golden is None and stored.golden_by is None and stored.provenance == {}


def test_any_safetensors_reader_opens_it_and_may_rewrite_it(saved, tmp_path):
    with safe_open(saved, "numpy") as opened:
        metadata, tensors = opened.metadata(), {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    assert metadata["format"] == "rnnrt" and metadata["format_version"] == "2"
    assert set(tensors) == {
        *(f"gru/{a}" for a in ("weight", "recurrent_weight", "bias", "recurrent_bias")),
        *("fc/weight", "fc/bias", "golden/input/x", "golden/output/y", "lowered"),
    }
    np.testing.assert_array_equal(tensors["gru/weight"], small_graph()["gru"].weight)
    safetensors.numpy.save_file(tensors, tmp_path / "again.rnnrt", metadata)
    assert same(file.load(tmp_path / "again.rnnrt").graph, small_graph())
    assert file.is_rnnrt((tmp_path / "again.rnnrt").read_bytes())


def test_the_same_graph_makes_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        file.save(
            graph_with_every_layer(),
            tmp_path / name,
            golden=verification.reference_sample(graph_with_every_layer()),
        )
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_names_that_want_one_tensor_name_stay_apart(tmp_path):
    inner = GraphBuilder()
    inner.output("y", inner.add(Dense, "input", inner.input("x", (2,), time=False), weight=normal(2, 2)))
    b = GraphBuilder()
    x = b.input("weight", (2,))
    x = b.add(TimeDistributed, "golden", x, graph=inner.graph())
    b.output("y", b.add(Dense, "golden/input", x, weight=normal(2, 2, seed=9)))
    graph = b.graph()
    file.save(graph, tmp_path / "m", golden=verification.reference_sample(graph))
    stored = file.load(tmp_path / "m")
    assert same(stored.graph, graph)
    np.testing.assert_array_equal(
        stored.golden[0]["weight"], verification.reference_sample(graph)[0]["weight"]
    )


@pytest.mark.parametrize("make", [small_graph, graph_with_every_layer])
def test_golden_arrays_are_seeded_and_fit_the_graph(make):
    graph = make()
    first, again, other = (verification.reference_sample(graph, seed) for seed in (0, 0, 1))
    for name in graph.inputs:
        np.testing.assert_array_equal(first[0][name], again[0][name])
    assert any((first[0][name] != other[0][name]).any() for name in graph.inputs)
    assert all(np.isfinite(a).all() and a.dtype == np.float32 for part in first for a in part.values())


def test_golden_frames_are_enough_for_long_windows():
    b = GraphBuilder()
    h = b.add(Conv1D, "a", b.input("x", (1,)), weight=normal(1, 10, 1), stride=5)
    b.output("y", b.add(Conv1D, "b", h, weight=normal(1, 8, 1), stride=4))
    inputs, outputs = verification.reference_sample(b.graph())
    assert inputs["x"].shape == (2, 64, 1) and outputs["y"].shape[1] >= 1


def test_is_rnnrt_looks_at_the_content(saved, tmp_path):
    assert file.is_rnnrt(saved.read_bytes())
    safetensors.numpy.save_file({"w": normal(2)}, tmp_path / "w", {"format": "pt"})
    for other in (
        b"",
        b"{",
        b"\x10" + bytes(7),
        (tmp_path / "w").read_bytes(),
        b"PK\x03\x04" + bytes(60),
        b"\xff" * 64,
    ):
        assert not file.is_rnnrt(other)


def test_what_could_not_be_read_back_is_not_written(tmp_path):
    b = GraphBuilder()
    b.output("y", b.add(Activation, "a", b.input("x", (1,)), activation=("elu", float("inf"))))
    for graph, golden_by, provenance in (
        (b.graph(), "reference", None),
        (small_graph(), "reference", {"a": float("nan")}),
        (small_graph(), "reference", {"a": 1 << 60}),
        (small_graph(), "reference", {"a": {1, 2}}),
        (
            small_graph(),
            "reference",
            {"a": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]},
        ),
        (small_graph(), "\ud800", None),
        (small_graph().replace(small_graph().layers, metadata={"a": b"bytes"}), "reference", None),
    ):
        with pytest.raises(ModelFileError, match="m.rnnrt"):
            file.save(
                graph,
                tmp_path / "m.rnnrt",
                golden=verification.reference_sample(small_graph()),
                golden_by=golden_by,
                provenance=provenance,
            )
    inputs, outputs = verification.reference_sample(small_graph())
    for golden in (
        (outputs, inputs),
        ({}, outputs),
        (inputs, {"y": outputs["y"][:1]}),
        ({"x": inputs["x"][:, :, :1]}, outputs),
    ):
        with pytest.raises(ModelFileError, match="golden"):
            file.save(small_graph(), tmp_path / "m.rnnrt", golden=golden)
    assert not list(tmp_path.iterdir())


# ---- paths that are not model files ------------------------------------------------------------------------


def test_special_paths_are_refused_with_the_reason(tmp_path, saved):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path, words in (
        (tmp_path, "a folder"),
        (tmp_path / "pipe", "a pipe"),
        ("/dev/zero", "a device"),
        (tmp_path / "missing.rnnrt", "No such file"),
        (saved / "below", "Not a directory"),
        (tmp_path / "loop", "symbolic links"),
        (f"{tmp_path}/nul\0byte", "null (byte|character)"),
        (os.fsencode(tmp_path) + b"/\xff", "No such file"),
        (tmp_path / ("n" * 300), "too long"),
    ):
        with pytest.raises(ModelFileError, match=words):
            file.load(path)
    with pytest.raises(DTypeError, match="int"):
        file.load(5)
    if os.geteuid():
        saved.chmod(0)
        with pytest.raises(ModelFileError, match="Permission"):
            file.load(saved)


def test_a_link_is_read_through_but_not_written_through(tmp_path, saved):
    link = tmp_path / "link.rnnrt"
    link.symlink_to(saved)
    assert same(file.load(link).graph, small_graph())
    before = saved.read_bytes()
    with pytest.raises(ModelFileError, match="symbolic link"):
        file.save(graph_with_every_layer(), link)
    assert saved.read_bytes() == before and link.is_symlink()


BAD_TARGETS = [
    ("folder", "a folder"),
    ("pipe", "a pipe"),
    ("none/m.rnnrt", "No such file"),
    ("nul\0", "null (byte|character)"),
]


@pytest.mark.parametrize("path, words", BAD_TARGETS)
def test_a_path_that_cannot_be_written_is_refused(tmp_path, path, words):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ModelFileError, match=words):
        file.save(small_graph(), os.path.join(tmp_path, path))
    assert sorted(os.listdir(tmp_path)) == ["folder", "pipe"]


def test_a_file_that_shrinks_while_it_is_read_is_refused(saved, monkeypatch):
    original = graph_json.decode
    b = GraphBuilder()
    b.output("y", b.add(Dense, "fc", b.input("x", (100,)), weight=normal(100, 100)))
    file.save(b.graph(), saved)

    def shrink(*arguments):
        os.truncate(saved, saved.stat().st_size // 2)
        return original(*arguments)

    monkeypatch.setattr(graph_json, "decode", shrink)
    with pytest.raises(ModelFileError, match="changed while it was read"):
        file.load(saved)


def test_strict_json_gives_back_what_it_writes():
    value = {"b": [1, -2.5e-300, "ä\n\u2028", None, True], "a": {}}
    assert strict_json.loads(strict_json.dumps(value, "here"), "here") == value
    assert strict_json.dumps(value, "here").startswith('{"a":{},"b":')
