"""The lowered table of a .rnnrt file: a host in C makes of it the plan that Python makes of the graph, and
says by name what it cannot read. (What damage does to it: tests/c/test_embed.py.)
"""

import dataclasses
import struct
import zlib
from pathlib import Path

import numpy as np
import plans
import pytest
import safetensors.numpy
import sample_graphs
from cases import CASES
from record_hashes import SAMPLES
from safetensors import safe_open
from sample_graphs import graph_with_every_layer, normal, small_file, small_graph

import rnnrt
from rnnrt import verification
from rnnrt.axes import to_source
from rnnrt.calls import WholeCalls
from rnnrt.command import main
from rnnrt.errors import ModelFileError, UnsupportedModelError, VerificationError
from rnnrt.format import file
from rnnrt.graph import GraphBuilder
from rnnrt.layers import BatchNormalization, Conv1D, Dense, Select, TimeDistributed
from rnnrt.loading import verify_for_c
from rnnrt.lowered import Lowered
from rnnrt.plans import Plans


def encoded(graph):
    return b"".join(file.encode(graph, "a test", lower=Lowered))


def in_c(content, graph):
    """A function that answers as the plan does that C makes of a file."""
    model = rnnrt.Model(graph)
    calls = WholeCalls(graph, model._ports, Plans.of_file(content, model._run_graph), model._states)
    return lambda *x: calls.answer(x)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_plan_of_a_file_answers_with_the_same_bits(case):
    model = rnnrt.Model(case.graph())
    for batch, frames in SAMPLES[1:]:
        x = case.sample(batch, frames)
        answer = in_c(plans.file_of(case.graph(), frames), case.graph())
        np.testing.assert_array_equal(answer(x), model(x))


def test_the_plan_of_every_layer_answers_with_the_same_bits():
    graph = graph_with_every_layer()
    inputs, _ = verification.reference_sample(graph)
    model = rnnrt.Model(graph)
    given = [to_source(inputs[p.layer.name], p.layer.axes) for p in model._ports.inputs]
    for found, wanted in zip(in_c(encoded(graph), graph)(*given), model(*given), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_indices_of_layers_and_of_plans_inside_later_ones_stay_apart():
    inner = GraphBuilder()
    inner.output("y", inner.add(Select, "s", inner.input("x", (2,), time=False), index=(1, 0)))
    b = GraphBuilder()
    x = b.add(Select, "outer", b.input("x", (3,)), index=(2, 0))
    b.output("y", b.add(TimeDistributed, "inside", x, graph=inner.graph()))
    graph, x = b.graph(), normal(2, 5, 3)
    np.testing.assert_array_equal(in_c(encoded(graph), graph)(x), rnnrt.Model(graph)(x))


def test_weights_are_stored_once_and_only_those_a_pass_changes_beside_them():
    b = GraphBuilder()
    h = b.add(Conv1D, "conv", b.input("x", (20,)), weight=normal(30, 3, 20), bias=normal(30))
    norm = {name: np.abs(normal(30)) + 1 for name in ("mean", "variance", "gamma", "beta")}
    h = b.add(BatchNormalization, "norm", h, **norm)
    b.output("y", b.add(Dense, "fc", h, weight=normal(50, 30)))
    folded = b.graph()
    added = lambda graph: len(encoded(graph)) - len(b"".join(file.encode(graph, "")))
    assert added(small_graph()) < 1000
    assert 4 * 30 * (3 * 20 + 1) < added(folded) < 4 * 30 * (3 * 20 + 1) + 1500
    x = normal(1, 40, 20)
    np.testing.assert_array_equal(in_c(encoded(folded), folded)(x), rnnrt.Model(folded)(x))


def test_a_file_that_another_program_rewrote_in_its_order_still_serves_c(tmp_path):
    saved = small_file(tmp_path)
    with safe_open(saved, "numpy") as opened:
        metadata, tensors = opened.metadata(), {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    safetensors.numpy.save_file(tensors, tmp_path / "again.rnnrt", metadata)
    content, x = (tmp_path / "again.rnnrt").read_bytes(), normal(1, 9, 2)
    np.testing.assert_array_equal(in_c(content, small_graph())(x), rnnrt.Model(small_graph())(x))


def test_verify_replays_the_sample_through_the_table_too(tmp_path, monkeypatch):
    saved = small_file(tmp_path)
    assert verify_for_c(rnnrt.load(saved, verify=True)) is None

    def otherwise(graph, weights):
        fc = dataclasses.replace(graph["fc"], bias=graph["fc"].bias + 1)
        return Lowered(graph.replace([fc if x.name == "fc" else x for x in graph.layers]), weights)

    monkeypatch.setattr(sample_graphs, "Lowered", otherwise)
    saved = small_file(tmp_path)
    with pytest.raises(VerificationError, match="as a host in C runs it.*not reproduced"):
        rnnrt.load(saved, verify=True)


# ---- what it refuses ---------------------------------------------------------------------------------------


def retabled(content, change):
    """A file whose table is what ``change`` makes of its bytes, with a checksum that fits."""
    size, _, magic = struct.unpack("<II8s", content[-16:])
    begin = len(content) - -(-(size + 16) // 64) * 64
    table = change(content[begin : begin + size])
    tail = struct.pack("<II8s", len(table), zlib.crc32(table), magic)
    return content[:begin] + table + bytes(-(len(table) + 16) % 64) + tail


def swapped(old, new):
    def change(table):
        assert table.count(old) == 1 and len(old) == len(new)
        return table.replace(old, new)

    return change


def word(number, at=0):
    """Replaces a word; ``at``: its number in the table."""
    return lambda table: table[: 4 * at] + struct.pack("<I", number) + table[4 * at + 4 :]


LIES = {
    "newer": (word(2), "a newer rnnrt wrote it: update rnnrt"),
    "kind": (swapped(b"\0gru\0", b"\0gnu\0"), r"a kind of layer is not known here \(gnu\)"),
    "field": (swapped(b"\0reset_after\0", b"\0reset_never\0"), r"not known here \(reset_never\)"),
    "function": (swapped(b"\0sigmoid\0", b"\0sigmund\0"), r"a function is not known here \(sigmund\)"),
    "strings": (word(1 << 31, 2), "its table ends early"),
    "cut": (lambda table: table[:-4], "its table ends early"),
    "longer": (lambda table: table + bytes(4), "does not end where it says"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_table_that_lies_is_refused_by_name(lie):
    change, words = LIES[lie]
    with pytest.raises((ModelFileError, UnsupportedModelError), match=words):
        in_c(retabled(encoded(small_graph()), change), small_graph())
    assert in_c(retabled(encoded(small_graph()), lambda table: table), small_graph())


def test_sizes_that_want_more_than_an_array_holds_are_refused_with_the_layer():
    content = encoded(small_graph())  # the last layer is 3 -> 1: as many numbers as a bias, and weights
    numbers = struct.pack("<QQ", 0, 1)
    assert len(content.split(numbers)) == 2  # the array fc/bias, first in the file: one number
    weight = struct.pack("<QQ", 4, 3)
    with pytest.raises(ModelFileError, match=r"not where the file has room"):
        in_c(retabled(content, swapped(weight, struct.pack("<QQ", 4, 1 << 40))), small_graph())
    shorter = zlib.crc32(np.ascontiguousarray(small_graph()["fc"].weight.ravel()[:2]))
    longer = zlib.crc32(np.ascontiguousarray(small_graph()["fc"].weight))
    lie = struct.pack("<QQI", 4, 2, shorter)
    with pytest.raises(rnnrt.RnnrtError, match="fewer numbers than its sizes say") as caught:
        in_c(retabled(content, swapped(struct.pack("<QQI", 4, 3, longer), lie)), small_graph())
    assert "fc" in str(caught.value)


def test_a_changed_weight_is_noticed():
    content = bytearray(encoded(small_graph()))
    content[8 + int.from_bytes(content[:8], "little")] ^= 1
    with pytest.raises(ModelFileError, match="the checksum of an array does not fit"):
        in_c(bytes(content), small_graph())


def test_an_older_file_loads_in_python_and_c_says_what_to_do(tmp_path):
    old = Path(__file__).parent / "data" / "rnnrt_1.rnnrt"  # the small graph, by format 1
    x = normal(1, 9, 2)
    model = rnnrt.load(old, verify=True)
    assert "an older rnnrt" in verify_for_c(model)
    with pytest.raises(UnsupportedModelError, match=r"an older rnnrt.*rnnrt convert old.rnnrt -o new.rnnrt"):
        in_c(old.read_bytes(), small_graph())
    assert main.main(["convert", str(old), "-o", str(tmp_path / "new.rnnrt")]) == 0
    assert verify_for_c(rnnrt.load(tmp_path / "new.rnnrt")) is None
    answer = in_c((tmp_path / "new.rnnrt").read_bytes(), small_graph())
    np.testing.assert_array_equal(answer(x), model(x))


def test_padding_that_depends_on_the_length_is_refused_with_the_layer():
    case = next(case for case in CASES if case.name == "conv_same_stride2_wide")
    with pytest.raises(UnsupportedModelError, match=r"its padding depends on how long the input is \(conv\)"):
        in_c(encoded(case.graph()), case.graph())


def test_something_else_is_refused():
    for content in (b"", b"{}", bytes(64), b"PK\3\4" + bytes(100), encoded(small_graph())[:-64]):
        with pytest.raises((ModelFileError, UnsupportedModelError), match="not a .rnnrt file|an older rnnrt"):
            in_c(content, small_graph())
