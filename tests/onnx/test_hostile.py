"""ONNX files from a stranger: only rnnrt's own errors, in little time and memory."""

import random
import resource

import numpy as np
import pytest
from mutants import Tally, bytes_changed
from onnx_answers import imported
from onnx_bytes import field, graph, message, model, node, port, tensor
from onnx_exports import recorded

import rnnrt
from rnnrt import RnnrtError
from rnnrt.importers.onnx import program, reader


def seeds():
    files, _ = recorded()
    names = ("gru.old11", "lstm_states.new20", "tcn.old17", "rnn.new20", "embedded.old20", "hand_gru.old13")
    return [files[n] for n in names]


def test_mutants_are_read_or_refused(tmp_path):
    draw, path, tally = random.Random(1), tmp_path / "m.onnx", Tally(20)  # a hang would be minutes
    contents = seeds()
    for k in range(300):
        path.write_bytes(bytes_changed(contents[k % len(contents)], draw))
        tally.take(lambda: reader.read(path))
    assert not tally.faults and 10 < tally.ends["read"] < 300


HOSTILE = {
    "fields": b"\x08\x08" + field(7, b"\x0a\x00" * 3_000_000) + field(8, message((2, 17))),
    "nodes": model(
        [node("Relu", "x", "x0"), *[node("Relu", f"x{k}", f"x{k + 1}") for k in range(9000)]],
        {"x": ("b", 2)},
        ["x9000"],
    ),
    "shape": model(
        [node("ConstantOfShape", "s", "c"), node("Add", "x c", "y")],
        {"x": ("b", 2)},
        ["y"],
        {"s": np.array([1 << 40], np.int64)},
    ),
    "range": model(
        [node("Range", "a b c", "r"), node("Add", "x r", "y")],
        {"x": ("b", 2)},
        ["y"],
        {"a": np.int64(0), "b": np.int64(1 << 50), "c": np.int64(1)},
    ),
    "range without end": model(
        [node("Range", "a b c", "r"), node("Add", "x r", "y")],
        {"x": ("b", 2)},
        ["y"],
        {"a": np.float32(0), "b": np.float32("inf"), "c": np.float32(0)},
    ),
    "tile": model(
        [node("Tile", "a n", "r"), node("Add", "x r", "y")],
        {"x": ("b", 2)},
        ["y"],
        {"a": np.ones((2, 2), np.float32), "n": np.array([1 << 31, 1 << 31], np.int64)},
    ),
    "input": model([node("Relu", "x", "y")], {"x": ("b", 1 << 40)}, ["y"]),
    "axes": model([node("Relu", "x", "y")], {"x": ("b",) * 50}, ["y"]),
    "pads": model(
        [node("Conv", "x w", "y", pads=[1 << 40, 0])],
        {"x": ("b", 2, "t")},
        ["y"],
        {"w": np.ones((1, 2, 1), np.float32)},
    ),
    "groups": model(
        [node("Conv", "x w", "y", group=0)],
        {"x": ("b", 2, "t")},
        ["y"],
        {"w": np.ones((1, 2, 1), np.float32)},
    ),
    "cycle": model([node("Add", "x b", "a"), node("Add", "a x", "b")], {"x": ("b", 2)}, ["a"]),
    "itself": model([node("Relu", "y", "y")], {"x": ("b", 2)}, ["y"]),
    "dims": model(
        [node("MatMul", "x w", "y")],
        {"x": ("b", 2)},
        ["y"],
        {"w": message((1, 1 << 62), (1, 4), (2, 1), (8, "w"))},
    ),
    "split": model([node("Split", "x n", "a y")], {"x": ("b", 4)}, ["y"], {"n": np.array([-4, 8], np.int64)}),
    "long name": model(
        [node("Relu", "x", "y", name="\x1b[2J" * 100_000)], {"x": ("b", 2, 2, 2, 2, 2, 2)}, ["y"]
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_files_that_ask_for_too_much(name, tmp_path):
    content = HOSTILE[name]
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(RnnrtError) as refused:
        rnnrt.from_onnx(path)
    assert len(str(refused.value)) < 2000 and "\x1b" not in str(refused.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # KiB


def test_readings_of_the_inputs_come_to_an_end(tmp_path, monkeypatch):
    """Seven inputs of which nothing is known, and none of the readings fits."""
    names = "abcdefg"
    adding = [node("Add", f"{x} {y}", f"{x}{y}") for x, y in zip(("a", "ab", "abc"), "bcd")]
    adding += [
        node("Add", "abc d", "u"),
        node("Add", "e f", "v"),
        node("Add", "v g", "w"),
        node("Add", "u w", "p"),
    ]
    nodes, shapes = [*adding, node("MatMul", "p m", "y")], dict.fromkeys(names, ("p", "q", "r"))
    content, read = model(nodes, shapes, ["y"], {"m": np.ones((3, 2), np.float32)}), []
    reading = program.Reader._read
    monkeypatch.setattr(program.Reader, "_read", lambda *given: read.append(1) or reading(*given))
    with pytest.raises(RnnrtError):
        imported(content, tmp_path)
    assert len(read) < 1000


def test_branches_may_nest_as_deep_as_messages(tmp_path):
    content = model(
        [node("If", "c", "y", then_branch=deep(5), else_branch=deep(0))],
        [port("x", ("b", 2)), port("c", (), 9)],
        ["y"],
    )
    made = imported(content, tmp_path, constants={"c": True})
    assert made(np.array([[-1, 2]], np.float32)).tolist() == [[0, 2]]
    content = model(
        [node("If", "c", "y", then_branch=deep(14), else_branch=deep(0))],
        [port("x", ("b", 2)), port("c", (), 9)],
        ["y"],
    )
    with pytest.raises(RnnrtError, match="nest too deeply"):
        imported(content, tmp_path, constants={"c": True})


def deep(depth):
    """The body of a branch: Ifs inside Ifs, then a Relu."""
    body = graph([node("Relu", "x", "z")], [], [port("z")])
    for k in range(depth):
        inner = [
            node("Constant", "-", f"k{k}", value=np.array(True)),
            node("If", f"k{k}", f"y{k}", then_branch=body, else_branch=body),
        ]
        body = graph(inner, [], [port(f"y{k}")], {f"w{k}": tensor(np.ones(1, np.float32), f"w{k}")})
    return body if depth < 8 else graph([node("Relu", "x", "z")], [], [port("z")], extra=[(1, nest(depth))])


def nest(depth):
    """A node whose attributes hold graphs that hold nodes ..."""
    made = node("Relu", "x", "q")
    for _ in range(depth):
        made = node("If", "x", "q", then_branch=graph([made], [], [port("q")]))
    return made
