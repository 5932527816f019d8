"""The .rnnrt file: what goes in comes out, and a file that lies, is cut or is mutated ends in one clear error."""

import dataclasses
import json
import os
import random
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from safetensors import safe_open

from rnnrt import atomic, file, graph_json, reference, strict_json
from rnnrt.errors import DTypeError, ModelFileError, ResourceLimitError, RnnrtError, UnsupportedModelError
from rnnrt.graph import (
    GRU,
    LAYERS,
    LSTM,
    Activation,
    Add,
    Affine,
    AveragePool1D,
    BatchNormalization,
    Concatenate,
    Conv1D,
    Dense,
    Embedding,
    Flatten,
    GlobalAveragePool,
    GlobalMaxPool,
    GraphBuilder,
    Last,
    LayerNormalization,
    MaxPool1D,
    Multiply,
    Reshape,
    Reverse,
    Select,
    SimpleRNN,
    Softmax,
    TimeDistributed,
    Unflatten,
)


def normal(*shape, seed=0):
    return np.random.default_rng(seed + sum(shape)).standard_normal(shape).astype(np.float32)


def small_graph():
    b = GraphBuilder()
    x = b.input("x", (2,))
    h = b.add(GRU, "gru", x, weight=normal(9, 2), recurrent_weight=normal(9, 3), bias=normal(9), recurrent_bias=normal(9))
    b.output("y", b.add(Dense, "fc", b.add(Last, "last", h), weight=normal(1, 3), bias=normal(1)))
    return b.graph(metadata={"source": "test"})


def graph_with_every_layer():
    """One graph in which every kind of layer and every type of field occurs."""
    inner = GraphBuilder()
    h = inner.add(Conv1D, "conv", inner.input("frame", (2,), length=4), weight=normal(3, 2, 2), bias=normal(3), dilation=2)
    inner.output("out", inner.add(Flatten, "flatten", h))
    b = GraphBuilder()
    x = b.input("x", (3,), length=12, axes="bft")
    ids = b.input("ids", (), ids=True, length=12)
    h0 = b.input("h0", (4,), time=False)
    embedded = b.add(Embedding, "table", ids, weight=normal(5, 3))
    h = b.add(BatchNormalization, "bn", x, mean=normal(3), variance=np.abs(normal(3)), gamma=normal(3), epsilon=1e-5)
    h = b.add(Multiply, "product", h, b.add(Affine, "affine", embedded, scale=normal(3), offset=normal(3)))
    h = b.add(Conv1D, "conv", h, weight=normal(6, 3, 1), groups=3, padding="same", activation=("leaky_relu", 0.2))
    h = b.add(MaxPool1D, "max", b.add(AveragePool1D, "mean", h, size=3, stride=1, padding=(1, 1), count_padding=True), size=2, stride=2)
    h = b.add(SimpleRNN, "rnn", h, h0, weight=normal(4, 6), recurrent_weight=normal(4, 4), norm="gates", gamma=normal(4), reverse=True)
    h = b.add(GRU, "gru", h, weight=normal(12, 4), recurrent_weight=normal(12, 4), reset_after=False, recurrent_activation="hard_sigmoid")
    h = b.add(LSTM, "lstm", h, weight=normal(20, 4), recurrent_weight=normal(20, 2), projection=normal(2, 5), epsilon=1e-12)
    wide = b.add(Concatenate, "wide", h, "lstm:cells", b.add(Reverse, "reverse", h))
    wide = b.add(Add, "sum", wide, b.add(LayerNormalization, "ln", wide, size=9, gamma=normal(9)))
    picked = b.add(Select, "pick", b.add(Activation, "gelu", wide, activation="gelu_tanh"), index=(8, 0, 1, 2, 3, 4, 5, 7))
    inside = b.add(TimeDistributed, "per_frame", b.add(Reshape, "reshape", picked, features=(4, 2)), graph=inner.graph())
    pooled = b.add(Concatenate, "pooled", b.add(GlobalMaxPool, "gmax", inside), b.add(GlobalAveragePool, "gmean", inside))
    again = b.add(Dense, "fc", b.add(Unflatten, "unflatten", pooled, length=3), weight=normal(2, 4))
    b.output("classes", b.add(Softmax, "softmax", again), "tbf")
    b.output("state", "lstm:c")
    b.output("last", b.add(Last, "last", inside))
    return b.graph(metadata={"source": "test", "assumed": ["epsilon", 0.001, None, True]})


def same(one, other):
    """Whether two graphs agree in every field, array and nested graph."""
    assert file.canonical_json(one) == file.canonical_json(other)
    first, second = graph_json.encode(one)[1], graph_json.encode(other)[1]
    assert list(first) == list(second)
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])
        assert not second[name].flags.writeable
    return True


@pytest.fixture
def saved(tmp_path):
    graph = small_graph()
    path = tmp_path / "small.rnnrt"
    file.save(graph, path, golden=file.golden_of(graph), provenance={"from": "a test"})
    return path


def reheaded(path, change, data=None):
    """The bytes of a file after ``change`` has rewritten its parsed header (or replaced its text)."""
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    text = change(header)
    text = json.dumps(header if text is None else text) if not isinstance(text, (str, bytes)) else text
    text = text.encode() if isinstance(text, str) else text
    return len(text).to_bytes(8, "little") + text + (raw[8 + length :] if data is None else data)


# ---- what goes in comes out -----------------------------------------------------------------------------------------


def test_every_layer_and_field_comes_back(tmp_path):
    graph = graph_with_every_layer()
    assert {layer.kind for layer in (*graph.layers, *graph["per_frame"].graph.layers)} == set(LAYERS)
    golden = file.golden_of(graph)
    file.save(graph, tmp_path / "m.rnnrt", golden=golden, golden_by="keras 3", provenance={"file": "m.keras", "sizes": [1, 2.5]})
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
            assert kind in graph_json._FIELDS or kind in ("np.ndarray", "Graph"), f"{layer.__name__}.{item.name}: {item.type}"


def test_a_file_without_golden_or_provenance(tmp_path):
    file.save(small_graph(), tmp_path / "m.rnnrt")
    stored = file.load(tmp_path / "m.rnnrt")
    assert stored.golden is None and stored.golden_by is None and stored.provenance == {}


def test_any_safetensors_reader_opens_it_and_may_rewrite_it(saved, tmp_path):
    with safe_open(saved, "numpy") as opened:
        metadata, tensors = opened.metadata(), {name: opened.get_tensor(name) for name in opened.keys()}
    assert metadata["format"] == "rnnrt" and metadata["format_version"] == "1"
    assert set(tensors) == {
        *(f"gru/{a}" for a in ("weight", "recurrent_weight", "bias", "recurrent_bias")),
        *("fc/weight", "fc/bias", "golden/input/x", "golden/output/y"),
    }
    np.testing.assert_array_equal(tensors["gru/weight"], small_graph()["gru"].weight)
    safetensors.numpy.save_file(tensors, tmp_path / "again.rnnrt", metadata)
    assert same(file.load(tmp_path / "again.rnnrt").graph, small_graph())
    assert file.is_rnnrt((tmp_path / "again.rnnrt").read_bytes())


def test_the_same_graph_makes_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        file.save(graph_with_every_layer(), tmp_path / name, golden=file.golden_of(graph_with_every_layer()))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_names_that_want_one_tensor_name_stay_apart(tmp_path):
    inner = GraphBuilder()
    inner.output("y", inner.add(Dense, "input", inner.input("x", (2,), time=False), weight=normal(2, 2)))
    b = GraphBuilder()
    x = b.input("weight", (2,))
    x = b.add(TimeDistributed, "golden", x, graph=inner.graph())
    b.output("y", b.add(Dense, "golden/input", x, weight=normal(2, 2, seed=9)))
    graph = b.graph()
    file.save(graph, tmp_path / "m", golden=file.golden_of(graph))
    stored = file.load(tmp_path / "m")
    assert same(stored.graph, graph)
    np.testing.assert_array_equal(stored.golden[0]["weight"], file.golden_of(graph)[0]["weight"])


@pytest.mark.parametrize("make", [small_graph, graph_with_every_layer])
def test_golden_arrays_are_seeded_and_fit_the_graph(make):
    graph = make()
    first, again, other = (file.golden_of(graph, seed) for seed in (0, 0, 1))
    for name in graph.inputs:
        np.testing.assert_array_equal(first[0][name], again[0][name])
    assert any((first[0][name] != other[0][name]).any() for name in graph.inputs)
    assert all(np.isfinite(a).all() and a.dtype == np.float32 for part in first for a in part.values())


def test_golden_frames_are_enough_for_long_windows():
    b = GraphBuilder()
    h = b.add(Conv1D, "a", b.input("x", (1,)), weight=normal(1, 10, 1), stride=5)
    b.output("y", b.add(Conv1D, "b", h, weight=normal(1, 8, 1), stride=4))
    inputs, outputs = file.golden_of(b.graph())
    assert inputs["x"].shape == (2, 64, 1) and outputs["y"].shape[1] >= 1


def test_is_rnnrt_looks_at_the_content(saved, tmp_path):
    assert file.is_rnnrt(saved.read_bytes())
    safetensors.numpy.save_file({"w": normal(2)}, tmp_path / "w", {"format": "pt"})
    for other in (b"", b"{", b"\x10" + bytes(7), (tmp_path / "w").read_bytes(), b"PK\x03\x04" + bytes(60), b"\xff" * 64):
        assert not file.is_rnnrt(other)


# ---- files that are cut, mutated or lie -----------------------------------------------------------------------------


def test_a_file_cut_at_any_byte_is_refused(saved, tmp_path):
    raw = saved.read_bytes()
    cut = tmp_path / "cut.rnnrt"
    for length in range(len(raw)):
        cut.write_bytes(raw[:length])
        with pytest.raises(ModelFileError, match="cut.rnnrt.*incomplete copy"):
            file.load(cut)


def test_the_error_of_a_cut_file_says_both_sizes(saved):
    raw = saved.read_bytes()
    saved.write_bytes(raw[:-100])
    with pytest.raises(ModelFileError, match=f"is {len(raw) - 100:,} bytes, its header says {len(raw):,}. Is this an incomplete copy"):
        file.load(saved)


def test_random_mutations_are_refused_or_harmless(saved, tmp_path):
    raw, generator = saved.read_bytes(), random.Random(0)
    expected, mutant, harmless = file.load(saved), tmp_path / "mutant.rnnrt", 0
    header_end = 8 + int.from_bytes(raw[:8], "little")
    for _ in range(3000):
        data = bytearray(raw)
        for _ in range(generator.choice((1, 1, 1, 2, 8))):
            position = generator.randrange(len(data)) if generator.random() < 0.3 else generator.randrange(header_end)
            action = generator.randrange(4)
            if action == 0:
                data[position] ^= 1 << generator.randrange(8)
            elif action == 1:
                data[position] = generator.randrange(256)
            elif action == 2:
                data[position] = generator.choice(b'0123456789{}[]",:-eE. ')
            else:
                del data[position]
        mutant.write_bytes(data)
        try:
            stored = file.load(mutant)
        except RnnrtError as error:
            assert "mutant.rnnrt" in str(error)
        else:
            harmless += 1
            assert same(stored.graph, expected.graph) and stored.provenance == expected.provenance
            assert stored.golden_by == expected.golden_by
            for before, after in zip(expected.golden, stored.golden):
                for name, array in before.items():
                    np.testing.assert_array_equal(array, after[name])
    assert harmless < 300  # spaces of the header's padding, mostly


def swap(text, old, new):
    assert text.count(old) >= 1, old
    return text.replace(old, new, 1)


def deep(levels):
    value = 1
    for _ in range(levels):
        value = [value]
    return value


HEADER_LIES = {
    "no_text": (lambda h: b"", "does not begin"),
    "not_an_object": (lambda h: "[1]", "does not begin"),
    "bom": (lambda h: b"\xef\xbb\xbf" + json.dumps(h).encode(), "does not begin"),
    "utf16": (lambda h: json.dumps(h).encode("utf-16"), "does not begin"),
    "not_utf8": (lambda h: json.dumps(h).encode().replace(b"a test", b"a \xfftes").replace(b"gru", b"g\xffu"), "not UTF-8"),
    "not_json": (lambda h: json.dumps(h)[:-1] + ",", "not JSON"),
    "two_values": (lambda h: json.dumps(h) + "{}", "not JSON"),
    "nan": (lambda h: swap(json.dumps(h), "[9, 2]", "[NaN, 2]"), "NaN"),
    "infinity": (lambda h: swap(json.dumps(h), "[9, 2]", "[-Infinity, 2]"), "Infinity"),
    "huge_float": (lambda h: swap(json.dumps(h), "[9, 2]", "[1e999, 2]"), "out of range"),
    "huge_integer": (lambda h: swap(json.dumps(h), "[9, 2]", f"[{1 << 53}1, 2]"), "beyond 2"),
    "very_long_integer": (lambda h: swap(json.dumps(h), "[9, 2]", f"[{'9' * 5000}, 2]"), "beyond 2"),
    "float_size": (lambda h: swap(json.dumps(h), "[9, 2]", "[9.0, 2]"), "impossible shape"),
    "true_as_size": (lambda h: h["fc/bias"].update(shape=[True]), "impossible shape"),
    "text_size": (lambda h: h["fc/bias"].update(shape="1"), "impossible shape"),
    "negative_size": (lambda h: h["fc/bias"].update(shape=[-1, -1]), "impossible shape"),
    "zero_size": (lambda h: h["fc/bias"].update(shape=[0], data_offsets=[0, 0]), "impossible shape"),
    "rank": (lambda h: h["fc/bias"].update(shape=[1] * 9), "impossible shape"),
    "product_overflow": (lambda h: h["fc/bias"].update(shape=[1 << 24, 1 << 24, 1 << 16]), "does not fit its shape"),
    "shape_and_size": (lambda h: h["fc/bias"].update(shape=[2]), "does not fit its shape"),
    "turned_shape": (lambda h: h["gru/weight"].update(shape=[2, 9]), "checksum"),
    "dtype": (lambda h: h["fc/bias"].update(dtype="I32"), "'I32'"),
    "dtype_list": (lambda h: h["fc/bias"].update(dtype=["F32"]), "dtype"),
    "entry_list": (lambda h: h.update({"fc/bias": [1, 2]}), "described wrongly"),
    "entry_extra": (lambda h: h["fc/bias"].update(scale=1), "described wrongly"),
    "offsets_back": (lambda h: h["fc/bias"].update(data_offsets=[8, 4]), "data_offsets"),
    "offsets_three": (lambda h: h["fc/bias"].update(data_offsets=[0, 4, 8]), "data_offsets"),
    "overlap": (lambda h: h["fc/bias"].update(data_offsets=[0, 4]), "overlaps|hole"),
    "hole": (lambda h: h.pop("gru/bias") and None, "hole"),
    "deep": (lambda h: h["__metadata__"].update(provenance=json.dumps(deep(40))), "checksum|nested"),
    "deep_header": (lambda h: h.update(deep=deep(40)), "nested too deeply"),
    "very_deep_header": (lambda h: json.dumps(h)[:-1] + ',"d":' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
    "duplicate_key": (lambda h: json.dumps(h)[:-1] + ',"fc/bias":{}}', "'fc/bias' twice"),
    "surrogate": (lambda h: json.dumps(h)[:-1] + ',"\\ud800":{}}', "surrogate"),
    "metadata_list": (lambda h: h.update(__metadata__=[]), "must hold strings"),
    "metadata_number": (lambda h: h["__metadata__"].update(format_version=1), "must hold strings"),
    "no_metadata": (lambda h: h.pop("__metadata__") and None, "not of rnnrt"),
    "newer": (lambda h: h["__metadata__"].update(format_version="3"), "written by rnnrt format 3, this is 1"),
    "no_version": (lambda h: h["__metadata__"].pop("format_version") and None, "format None"),
    "unknown_metadata": (lambda h: h["__metadata__"].update(lowered="x"), "'lowered'"),
    "no_graph": (lambda h: h["__metadata__"].pop("graph") and None, "'graph'"),
    "no_checksums": (lambda h: h["__metadata__"].pop("checksums") and None, "'checksums'"),
    "checksums_list": (lambda h: h["__metadata__"].update(checksums="[]"), "checksums must hold"),
    "changed_provenance": (lambda h: h["__metadata__"].update(provenance="{}"), "checksum"),
    "changed_golden_by": (lambda h: h["__metadata__"].update(golden_by="nobody"), "checksum"),
    "no_golden_by": (lambda h: h["__metadata__"].pop("golden_by") and None, "checksum"),
}


@pytest.mark.parametrize("lie", HEADER_LIES)
def test_a_lying_header_is_refused_by_name(saved, lie):
    change, words = HEADER_LIES[lie]
    saved.write_bytes(reheaded(saved, change))
    with pytest.raises(RnnrtError, match=words) as caught:
        file.load(saved)
    assert "small.rnnrt" in str(caught.value)


@pytest.mark.parametrize("length", [0, 1, 2, 17, (16 << 20) + 1, 1 << 31, 1 << 63, (1 << 64) - 1])
def test_a_lying_header_length_is_refused(saved, length):
    saved.write_bytes(length.to_bytes(8, "little") + saved.read_bytes()[8:])
    with pytest.raises(ModelFileError, match="small.rnnrt"):
        file.load(saved)


def relabelled(change):
    """The metadata of a file whose graph was changed by someone who also made the checksums fit."""

    def apply(header):
        metadata = header["__metadata__"]
        value = json.loads(metadata["graph"])
        value = change(value) or value
        metadata["graph"] = json.dumps(value)
        sums = json.loads(metadata["checksums"])
        sums["sha256"] = file._checksums(metadata, {})["sha256"]
        metadata["checksums"] = json.dumps(sums)

    return apply


def doubling(layers):
    return [{"kind": "concatenate", "name": f"d{i}", "inputs": [f"d{i - 1}" if i else "x"] * 2} for i in range(layers)]


GRAPH_LIES = {
    "unknown_kind": (lambda g: g["layers"][1].update(kind="mamba"), UnsupportedModelError, r"layers\[1\].*'mamba'.*update rnnrt"),
    "unknown_field": (lambda g: g["layers"][1].update(zoneout=1), UnsupportedModelError, r"layers\[1\].*gru has no field 'zoneout'"),
    "unknown_key": (lambda g: g.update(version=2), UnsupportedModelError, "'version'"),
    "unknown_activation": (lambda g: g["layers"][1].update(activation="mish"), UnsupportedModelError, r"layers\[1\].activation.*'mish'"),
    "activation_number": (lambda g: g["layers"][1].update(activation=[]), ModelFileError, "activation"),
    "activation_parameters": (lambda g: g["layers"][1].update(activation=["tanh", 1]), RnnrtError, "activation"),
    "no_layers": (lambda g: g.pop("layers") and None, ModelFileError, "'layers'"),
    "not_a_list": (lambda g: g.update(layers={}), ModelFileError, "layers"),
    "no_field": (lambda g: g["layers"][1].pop("weight") and None, ModelFileError, "'weight'"),
    "null_weight": (lambda g: g["layers"][1].update(weight=None), ModelFileError, r"layers\[1\].weight"),
    "no_name": (lambda g: g["layers"][1].pop("name") and None, ModelFileError, "'name'"),
    "name_number": (lambda g: g["layers"][1].update(name=5), ModelFileError, r"layers\[1\].name"),
    "truth": (lambda g: g["layers"][1].update(reverse="no"), ModelFileError, r"layers\[1\].reverse"),
    "epsilon": (lambda g: g["layers"][1].update(epsilon="1"), ModelFileError, "epsilon"),
    "infer": (lambda g: g["layers"][1].update(inputs=["x", "x"]), RnnrtError, "gru"),
    "dangling": (lambda g: g["layers"][1].update(inputs=["nobody"]), RnnrtError, "nobody"),
    "itself": (lambda g: g["layers"][1].update(inputs=["gru"]), RnnrtError, "gru"),
    "missing_tensor": (lambda g: g["layers"][1].update(weight="x/y"), ModelFileError, "'x/y' is not in the file"),
    "used_twice": (lambda g: g["layers"][1].update(weight="gru/bias"), ModelFileError, "used twice"),
    "golden_as_weight": (lambda g: g["layers"][3].update(weight="golden/input/x"), RnnrtError, "fc"),
    "forgotten_tensor": (lambda g: g["layers"][3].update(bias=None), ModelFileError, "'fc/bias' belongs to nothing"),
    "wide": (lambda g: g["layers"].insert(1, {"kind": "reshape", "name": "r", "inputs": ["x"], "features": [1 << 50]}), RnnrtError, "'r'"),
    "many": (lambda g: g.update(layers=g["layers"] * 300), ResourceLimitError, "too many layers"),
    "doubling": (lambda g: g["layers"].extend(doubling(60)), ResourceLimitError, "too wide"),
    "huge_input": (lambda g: g["layers"][0].update(features=[1 << 24, 1 << 24]), RnnrtError, "'x'"),
    "output": (lambda g: g["outputs"][0].update(value="nobody"), RnnrtError, "nobody"),
    "output_axes": (lambda g: g["outputs"][0].update(axes="zzz"), RnnrtError, "axes"),
    "outputs_none": (lambda g: g.update(outputs=[]), RnnrtError, "outputs"),
    "output_renamed": (lambda g: g["outputs"][0].update(name="z"), ModelFileError, "golden output"),
    "inputs_none": (lambda g: g.update(inputs=[]), RnnrtError, "Input"),
    "metadata": (lambda g: g.update(metadata=[]), ModelFileError, "metadata"),
    "list": (lambda g: [g], ModelFileError, "object"),
    "length": (lambda g: g["layers"][0].update(length=7), ModelFileError, "golden input"),
}


@pytest.mark.parametrize("lie", GRAPH_LIES)
def test_a_lying_graph_is_refused_by_name(saved, lie):
    change, kind, words = GRAPH_LIES[lie]
    saved.write_bytes(reheaded(saved, relabelled(change)))
    with pytest.raises(kind, match=words) as caught:
        file.load(saved)
    assert "small.rnnrt" in str(caught.value)


def test_mutated_graphs_with_fitting_checksums_end_in_one_kind_of_error(saved, tmp_path):
    """Random changes of JSON values; the checksums are made to fit, so that the checks behind them are reached."""
    generator, values = random.Random(1), [None, True, -1, 0, 1, 2, 3, 9, 1e-3, 1 << 40, "", "x", "gru", "same", [], [1], ["x"], {}]
    mutant = tmp_path / "mutant.rnnrt"

    def places(value, found):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            found.append((value, key))
            if isinstance(value[key], (dict, list)):
                places(value[key], found)
        return found

    def mutate(value):
        for _ in range(generator.choice((1, 1, 2))):
            holder, key = generator.choice(places(value, []))
            if generator.random() < 0.2:
                del holder[key]
            else:
                holder[key] = generator.choice(values)

    refused = 0
    for _ in range(1000):
        mutant.write_bytes(reheaded(saved, relabelled(mutate)))
        try:
            graph = file.load(mutant).graph
        except RnnrtError as error:
            refused += 1
            assert "mutant.rnnrt" in str(error)
        else:
            file.save(graph, tmp_path / "again.rnnrt")  # what was accepted is a sound graph
            assert same(file.load(tmp_path / "again.rnnrt").graph, graph)
    assert refused > 500


def test_a_changed_weight_is_noticed(saved):
    raw = bytearray(saved.read_bytes())
    raw[-1] ^= 1
    saved.write_bytes(raw)
    with pytest.raises(ModelFileError, match="tensor 'golden/output/y': the checksum"):
        file.load(saved)


def test_something_appended_is_refused(saved):
    saved.write_bytes(saved.read_bytes() + b"PK\x05\x06" + bytes(18))
    with pytest.raises(ModelFileError, match="appended"):
        file.load(saved)


# ---- resources ------------------------------------------------------------------------------------------------------


def test_a_bomb_is_refused_before_anything_is_allocated(saved):
    def bomb(header):
        header["bomb"] = {"dtype": "F32", "shape": [1 << 24, 640], "data_offsets": [0, 4 * 640 << 24]}

    saved.write_bytes(reheaded(saved, bomb))
    with pytest.raises(ResourceLimitError, match=r"would need 42,949,672,960 bytes.*max_bytes="):
        file.load(saved)


def test_the_limit_holds_for_sound_files_too(saved):
    size = saved.stat().st_size
    assert file.load(saved, max_bytes=size)
    with pytest.raises(ResourceLimitError, match=f"at most {size - 1:,}.*max_bytes="):
        file.load(saved, max_bytes=size - 1)


def test_a_huge_sparse_file_is_refused(saved):
    with open(saved, "r+b") as opened:
        opened.truncate(3 << 30)
    with pytest.raises(ResourceLimitError, match="max_bytes="):
        file.load(saved)


def test_what_could_not_be_read_back_is_not_written(tmp_path):
    b = GraphBuilder()
    b.output("y", b.add(Activation, "a", b.input("x", (1,)), activation=("elu", float("inf"))))
    for graph, golden_by, provenance in (
        (b.graph(), "reference", None),
        (small_graph(), "reference", {"a": float("nan")}),
        (small_graph(), "reference", {"a": 1 << 60}),
        (small_graph(), "reference", {"a": {1, 2}}),
        (small_graph(), "reference", {"a": deep(40)}),
        (small_graph(), "\ud800", None),
        (small_graph().replace(small_graph().layers, metadata={"a": b"bytes"}), "reference", None),
    ):
        with pytest.raises(ModelFileError, match="m.rnnrt"):
            file.save(graph, tmp_path / "m.rnnrt", golden=file.golden_of(small_graph()), golden_by=golden_by, provenance=provenance)
    inputs, outputs = file.golden_of(small_graph())
    for golden in ((outputs, inputs), ({}, outputs), (inputs, {"y": outputs["y"][:1]}), ({"x": inputs["x"][:, :, :1]}, outputs)):
        with pytest.raises(ModelFileError, match="golden"):
            file.save(small_graph(), tmp_path / "m.rnnrt", golden=golden)
    assert not list(tmp_path.iterdir())


# ---- paths that are no model file -----------------------------------------------------------------------------------


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
        (f"{tmp_path}/nul\0byte", "null byte"),
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


BAD_TARGETS = [("folder", "a folder"), ("pipe", "a pipe"), ("none/m.rnnrt", "No such file"), ("nul\0", "null byte")]


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


# ---- saving ---------------------------------------------------------------------------------------------------------


def test_a_new_file_has_the_usual_mode_and_an_old_one_keeps_its_own(tmp_path):
    path = tmp_path / "m.rnnrt"
    old = os.umask(0o027)
    try:
        file.save(small_graph(), path)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o604)
    file.save(small_graph(), path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


@pytest.mark.parametrize("call", ["fsync", "replace", "fchmod"])
def test_a_failing_call_leaves_the_old_file_and_nothing_else(saved, monkeypatch, call):
    before = saved.read_bytes()

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(ModelFileError, match="cannot be written: No space left on device"):
        file.save(graph_with_every_layer(), saved)
    assert saved.read_bytes() == before and os.listdir(saved.parent) == [saved.name]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(saved):
    """A real write error: the child may not make files longer than 4 KiB."""
    before = saved.read_bytes()
    program = (
        "import resource, signal, sys, numpy as np; from rnnrt import file; from rnnrt.errors import ModelFileError\n"
        "from rnnrt.graph import Dense, GraphBuilder\n"
        "b = GraphBuilder(); b.output('y', b.add(Dense, 'fc', b.input('x', (64,)), weight=np.ones((64, 64)))); graph = b.graph()\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: file.save(graph, sys.argv[1])\n"
        "except ModelFileError as error: print(error); sys.exit(3)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, saved], capture_output=True, text=True, env=environment())
    assert done.returncode == 3 and "cannot be written: File too large" in done.stdout, done.stderr
    assert saved.read_bytes() == before and os.listdir(saved.parent) == [saved.name]


def environment():
    root = str(Path(file.__file__).parent.parent)
    return os.environ | {"PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]), "OMP_NUM_THREADS": "1"}


def test_killing_a_save_leaves_the_old_or_the_new_file(tmp_path):
    """kill -9 at random moments; the next save removes what the killed one left behind."""
    path, generator = tmp_path / "m.rnnrt", random.Random(2)
    program = (
        "import sys; from rnnrt import atomic\n"
        "n = 0\n"
        "print('ready', flush=True)\n"
        "while True: n += 1; atomic.write(sys.argv[1], [bytes([n % 256]) * 4096] * 50)\n"
    )
    for _ in range(6):
        child = subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE, env=environment())
        child.stdout.readline()
        time.sleep(0.02 + generator.random() * 0.05)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
        content = path.read_bytes()
        assert len(content) == 4096 * 50 and len(set(content)) == 1
    (tmp_path / ".m.rnnrt.0123456789abcdef.rnnrt-tmp").write_bytes(b"left behind")
    file.save(small_graph(), path)
    assert os.listdir(tmp_path) == ["m.rnnrt"]
    assert same(file.load(path).graph, small_graph())


def test_many_savers_at_once_leave_one_whole_file(tmp_path):
    path, failures = tmp_path / "m.rnnrt", []

    def save(byte):
        try:
            for _ in range(20):
                atomic.write(path, [bytes([byte]) * 5000])
        except Exception as error:  # noqa: BLE001 - reported below
            failures.append(error)

    threads = [threading.Thread(target=save, args=(byte,)) for byte in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    content = path.read_bytes()
    assert len(content) == 5000 and len(set(content)) == 1 and os.listdir(tmp_path) == ["m.rnnrt"]


def test_strict_json_gives_back_what_it_writes():
    value = {"b": [1, -2.5e-300, "ä\n\u2028", None, True], "a": {}}
    assert strict_json.loads(strict_json.dumps(value, "here"), "here") == value
    assert strict_json.dumps(value, "here").startswith('{"a":{},"b":')
