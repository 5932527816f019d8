"""A .rnnrt file that is cut, mutated or lies ends in one clear error; no checksum, no size and no name is
taken on trust.
"""

import json
import random

import numpy as np
import pytest
from sample_graphs import same, small_file

from rnnrt.errors import ModelFileError, ResourceLimitError, RnnrtError, UnsupportedModelError
from rnnrt.format import file


@pytest.fixture
def saved(tmp_path):
    return small_file(tmp_path)


def reheaded(path, change, data=None):
    """The bytes of a file after ``change`` has rewritten its parsed header (or replaced its text)."""
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    text = change(header)
    text = json.dumps(header if text is None else text) if not isinstance(text, (str, bytes)) else text
    text = text.encode() if isinstance(text, str) else text
    return len(text).to_bytes(8, "little") + text + (raw[8 + length :] if data is None else data)


# ---- files that are cut, mutated or lie --------------------------------------------------------------------


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
    with pytest.raises(
        ModelFileError,
        match=f"is {len(raw) - 100:,} bytes, its header says {len(raw):,}. Is this an incomplete copy",
    ):
        file.load(saved)


def test_random_mutations_are_refused_or_harmless(saved, tmp_path):
    raw, generator = saved.read_bytes(), random.Random(0)
    expected, mutant, harmless = file.load(saved), tmp_path / "mutant.rnnrt", 0
    header_end = 8 + int.from_bytes(raw[:8], "little")
    for _ in range(3000):
        data = bytearray(raw)
        for _ in range(generator.choice((1, 1, 1, 2, 8))):
            position = (
                generator.randrange(len(data))
                if generator.random() < 0.3
                else generator.randrange(header_end)
            )
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
    "not_utf8": (
        lambda h: json.dumps(h).encode().replace(b"a test", b"a \xfftes").replace(b"gru", b"g\xffu"),
        "not UTF-8",
    ),
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
    "product_overflow": (
        lambda h: h["fc/bias"].update(shape=[1 << 24, 1 << 24, 1 << 16]),
        "does not fit its shape",
    ),
    "shape_and_size": (lambda h: h["fc/bias"].update(shape=[2]), "does not fit its shape"),
    "turned_shape": (lambda h: h["gru/weight"].update(shape=[2, 9]), "checksum"),
    "dtype": (lambda h: h["fc/bias"].update(dtype="I32"), "'I32'"),
    "dtype_list": (lambda h: h["fc/bias"].update(dtype=["F32"]), "dtype"),
    "entry_list": (lambda h: h.update({"fc/bias": [1, 2]}), "described wrongly"),
    "entry_extra": (lambda h: h["fc/bias"].update(scale=1), "described wrongly"),
    "offsets_back": (lambda h: h["fc/bias"].update(data_offsets=[8, 4]), "data_offsets"),
    "offsets_three": (lambda h: h["fc/bias"].update(data_offsets=[0, 4, 8]), "data_offsets"),
    "overlap": (lambda h: h["fc/weight"].update(data_offsets=[0, 12]), "overlaps|hole"),
    "hole": (lambda h: h.pop("gru/bias") and None, "hole"),
    "deep": (lambda h: h["__metadata__"].update(provenance=json.dumps(deep(40))), "checksum|nested"),
    "deep_header": (lambda h: h.update(deep=deep(40)), "nested too deeply"),
    "very_deep_header": (
        lambda h: json.dumps(h)[:-1] + ',"d":' + "[" * 100_000 + "]" * 100_000 + "}",
        "nested too deeply",
    ),
    "duplicate_key": (lambda h: json.dumps(h)[:-1] + ',"fc/bias":{}}', "'fc/bias' twice"),
    "surrogate": (lambda h: json.dumps(h)[:-1] + ',"\\ud800":{}}', "surrogate"),
    "metadata_list": (lambda h: h.update(__metadata__=[]), "must hold strings"),
    "metadata_number": (lambda h: h["__metadata__"].update(format_version=1), "must hold strings"),
    "no_metadata": (lambda h: h.pop("__metadata__") and None, "not of rnnrt"),
    "newer": (lambda h: h["__metadata__"].update(format_version="3"), "by a newer rnnrt.*3.*Update rnnrt"),
    "version": (lambda h: h["__metadata__"].update(format_version="0"), "nothing sound about its format"),
    "no_version": (lambda h: h["__metadata__"].pop("format_version") and None, "nothing sound.*None"),
    "older_than_its_table": (lambda h: h["__metadata__"].update(format_version="1"), "'lowered'.*not used"),
    "bytes_for_weights": (
        lambda h: h["fc/bias"].update(dtype="U8", shape=[4]),
        "'fc/bias'.*a dtype that it cannot have",
    ),
    "floats_for_the_table": (
        lambda h: h["lowered"].update(dtype="F32", shape=[h["lowered"]["shape"][0], 16]),
        "'lowered'.*a dtype that it cannot have",
    ),
    "unknown_metadata": (lambda h: h["__metadata__"].update(lowering="x"), "'lowering'"),
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
    return [
        {"kind": "concatenate", "name": f"d{i}", "inputs": [f"d{i - 1}" if i else "x"] * 2}
        for i in range(layers)
    ]


GRAPH_LIES = {
    "unknown_kind": (
        lambda g: g["layers"][1].update(kind="mamba"),
        UnsupportedModelError,
        r"layers\[1\].*'mamba'.*update rnnrt",
    ),
    "unknown_field": (
        lambda g: g["layers"][1].update(zoneout=1),
        UnsupportedModelError,
        r"layers\[1\].*gru has no field 'zoneout'",
    ),
    "unknown_key": (lambda g: g.update(version=2), UnsupportedModelError, "'version'"),
    "unknown_activation": (
        lambda g: g["layers"][1].update(activation="zelu"),
        UnsupportedModelError,
        r"layers\[1\].activation.*'zelu'",
    ),
    "activation_number": (lambda g: g["layers"][1].update(activation=[]), ModelFileError, "activation"),
    "activation_parameters": (
        lambda g: g["layers"][1].update(activation=["tanh", 1]),
        RnnrtError,
        "activation",
    ),
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
    "missing_tensor": (
        lambda g: g["layers"][1].update(weight="x/y"),
        ModelFileError,
        "'x/y' is not in the file",
    ),
    "used_twice": (lambda g: g["layers"][1].update(weight="gru/bias"), ModelFileError, "used twice"),
    "golden_as_weight": (lambda g: g["layers"][3].update(weight="golden/input/x"), RnnrtError, "fc"),
    "forgotten_tensor": (
        lambda g: g["layers"][3].update(bias=None),
        ModelFileError,
        "'fc/bias' is not used by",
    ),
    "wide": (
        lambda g: g["layers"].insert(
            1, {"kind": "reshape", "name": "r", "inputs": ["x"], "features": [1 << 50]}
        ),
        RnnrtError,
        "'r'",
    ),
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
    """Random changes of JSON values; the checksums are made to fit, so that the checks behind them are
    reached.
    """
    generator, values = (
        random.Random(1),
        [None, True, -1, 0, 1, 2, 3, 9, 1e-3, 1 << 40, "", "x", "gru", "same", [], [1], ["x"], {}],
    )
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
    with pytest.raises(ModelFileError, match="tensor 'lowered': the checksum"):
        file.load(saved)


def test_something_appended_is_refused(saved):
    saved.write_bytes(saved.read_bytes() + b"PK\x05\x06" + bytes(18))
    with pytest.raises(ModelFileError, match="appended"):
        file.load(saved)


# ---- resources ---------------------------------------------------------------------------------------------


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
