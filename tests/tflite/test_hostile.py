"""TFLite files from a stranger: only rnnrt's own errors, in little time and memory."""

import contextlib
import random
import resource
import struct
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from mutants import Tally, bytes_changed
from tflite_answers import imported
from tflite_bytes import graph, model, op, read, written
from tflite_files import recorded
from tflite_networks import FILES, one, whole

import rnnrt
from rnnrt import ModelFileError, ResourceLimitError, RnnrtError, UnsupportedModelError
from rnnrt.importers.axes import slots
from rnnrt.importers.containers.flatbuffers import File, fields
from rnnrt.importers.tflite import reader


def seeds():
    files, _ = recorded()
    names = ("gru.215.open", "masked.219.seven", "conv.215.open", "stateful.219.open", "unrolled.219.rows")
    return [files[n] for n in names] + [FILES[n] for n in ("lstm", "both_lstm", "kept_frames", "parts")]


def shuffled(content, draw):
    """The same with other tensors, operators, sizes or numbers in its tables."""
    tables = read(content)
    for _ in range(draw.randrange(1, 4)):
        own = draw.choice(tables["subgraphs"])
        entry = draw.choice(own.get("operators") or [{}])
        inputs = list(entry.get("inputs", ()))
        match draw.randrange(6):
            case 0:
                entry["opcode"] = draw.randrange(len(tables["operator_codes"]))
            case 1 if inputs:
                inputs[draw.randrange(len(inputs))] = draw.randrange(-1, len(own["tensors"]))
                entry["inputs"] = inputs
            case 2:
                tensor = draw.choice(own["tensors"])
                shape = [draw.choice((0, 1, 2, 7, 2**31 - 1)) for _ in tensor.get("shape", ())]
                tensor["shape"] = shape
            case 3:
                buffer = draw.choice(tables["buffers"])
                if 0 < len(buffer.get("data", b"")) <= 64:
                    size = len(buffer["data"])
                    buffer["data"] = bytes(draw.choice((0, 1, 2, 127, 255)) for _ in range(size))
            case 4:
                draw.choice(own["tensors"])["type"] = draw.choice((0, 2, 4, 6, 9, 13))
            case 5 if len(own.get("operators", ())) > 1:
                draw.shuffle(own["operators"])
    return written(tables)


def test_a_file_cut_anywhere_is_refused(tmp_path):
    content = FILES["product_frames"]
    for end in range(len(content)):
        path = tmp_path / "m.tflite"
        path.write_bytes(content[:end])
        with pytest.raises(RnnrtError):
            reader.read(path)


def test_mutants_are_read_or_refused(tmp_path):
    draw, path, tally = random.Random(1), tmp_path / "m.tflite", Tally(20)  # a hang would be minutes
    contents = seeds()
    for k in range(400):
        seed = contents[k % len(contents)]
        path.write_bytes(bytes_changed(seed, draw) if k % 3 else shuffled(seed, draw))
        tally.take(lambda: reader.read(path))
    assert not tally.faults and 10 < tally.ends["read"] < 400


HOSTILE = {
    "fill": model(
        graph(
            [op("FILL", "d v", "f"), op("ADD", "x f", "y")],
            {"x": (1, 2)},
            "y",
            {"f": (1 << 30, 2), "y": (1, 2)},
            {"d": np.array([1 << 40, 2], np.int64), "v": np.float32(1)},
        )
    ),
    "range": model(
        graph(
            [op("RANGE", "a b c", "r"), op("ADD", "x r", "y")],
            {"x": (1, 2)},
            "y",
            {"r": (1 << 30,), "y": (1, 2)},
            {"a": np.int64(0), "b": np.int64(1 << 60), "c": np.int64(1)},
            types={"r": "int64"},
        )
    ),
    "tile": one("TILE", (1, 2), (1, 2), {"n": np.array([1 << 31, 1 << 31], np.int64)}),
    "input": one("RELU", (1, (1 << 31) - 1)),
    "pads": one("PAD", (1, 6, 4), (1, 6, 4), {"p": np.array([[0, 0], [1 << 40, 0], [0, 0]], np.int64)}),
    "stride": one(
        "STRIDED_SLICE",
        (1, 6, 4),
        (1, 6, 4),
        {"b": whole(0, 0, 0), "e": whole(0, 0, 0), "s": whole(1, 0, 1)},
    ),
    "split": model(
        graph(
            [op("SPLIT_V", "x n a", "y z", num_splits=2)],
            {"x": (1, 6, 4)},
            "y",
            {"y": (1, 6, 2), "z": (1, 6, 2)},
            {"n": whole(-8, 12), "a": np.int32(2)},
        )
    ),
    "far frame": one("GATHER", y=(1, 2, 4), arrays={"i": whole(0, (1 << 31) - 1)}, axis=1),
    "far split": model(
        graph(
            [op("SPLIT_V", "x n a", "y z", num_splits=2)],
            {"x": (1, None, 4)},
            "y",
            {"y": (1, None, 4), "z": (1, None, 4)},
            {"n": whole((1 << 31) - 1, (1 << 31) - 1), "a": np.int32(1)},
        )
    ),
    "reshape": one("RESHAPE", (1, 6, 4), (1, 6, 4), {"s": whole(-1, -1, 0)}),
    "no weights": one("FULLY_CONNECTED", (1, 4), (1, 3), {"w": np.zeros((0, 4), np.float32)}),
    "long name": model(graph([op("RELU", "x", "\x1b[2J" * 50_000)], {"x": (1, 2, 2, 2, 2, 2)}, "x")),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_files_that_ask_for_too_much(name, tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(HOSTILE[name])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(RnnrtError) as refused:
        rnnrt.from_tflite(path)
    assert len(str(refused.value)) < 2000 and "\x1b" not in str(refused.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # KiB


def test_a_graph_that_runs_others_again_and_again(tmp_path):
    """Every graph runs the next twice, thirty deep."""
    graphs = []
    for k in range(30):
        ops = [op("WHILE", "x", "a", cond=k + 1, body=k + 1), op("WHILE", "a", "y", cond=k + 1, body=k + 1)]
        graphs.append(graph(ops, {"x": (1, 2)}, "y", {"a": (1, 2), "y": (1, 2)}))
    graphs.append(graph([op("RELU", "x", "y")], {"x": (1, 2)}, "y", {"y": (1, 2)}))
    with pytest.raises(RnnrtError, match="too deeply|do not fit"):
        imported(model(*graphs), tmp_path)


# ---- the container -----------------------------------------------------------------------------------------

_KINDS = {"Node": fields(next="0 Node", number="1 i32 = 7", items="2 Node*", name="3 text")}


def table(*offsets, size=None):
    """A vtable and a table of 32-bit fields: their values."""
    count = len(offsets)
    vtable = struct.pack(
        f"<{2 + count}H", 4 + 2 * count, size or 4 + 4 * count, *(4 + 4 * k for k in range(count))
    )
    return vtable, struct.pack(f"<i{count}I", len(vtable), *offsets)


def file_of(vtable, body, more=b""):
    return struct.pack("<I", 4 + len(vtable)) + vtable + body + more


def test_a_table_and_its_defaults():
    made = File(file_of(*table(0, 5)), {"Node": {1: _KINDS["Node"][1]}}, "f").root("Node")
    assert made.number == 5 and made.unknown == (0,)
    assert File(file_of(*table()), _KINDS, "f").root("Node").number == 7


def test_offsets_lead_forwards_and_stay_inside():
    vtable, body = table(4)
    assert len(file_of(vtable, body)) == 18
    for step in (0, 2, 5, 1 << 20, (1 << 32) - 1):
        with pytest.raises(ModelFileError):
            File(file_of(*table(step)), _KINDS, "f").root("Node")


def test_a_table_may_not_reach_over_the_end():
    vtable, body = table(1, 2)
    for cut in range(len(file_of(vtable, body))):
        with pytest.raises(ModelFileError):
            File(file_of(vtable, body)[:cut], _KINDS, "f").root("Node")
    with pytest.raises(ModelFileError, match="ends outside"):
        File(file_of(*table(1, 2, size=4000)), _KINDS, "f").root("Node")


def test_tables_nest_and_are_shared_within_limits():
    """A vector of one table a million times, and a chain of tables."""
    chain = b""
    for _ in range(40):
        chain += struct.pack("<HHH", 6, 8, 4) + b"\0\0" + struct.pack("<iI", 8, 4 + 8)
    with pytest.raises(ResourceLimitError, match="nest too deeply"):
        File(struct.pack("<I", 12) + chain, _KINDS, "f").root("Node")
    count = 1_100_000
    many = struct.pack("<5H", 10, 8, 0, 0, 4) + b"\0\0" + struct.pack("<iI", 12, 4)
    vector = struct.pack("<I", count) + struct.pack("<I", 4) * count
    with pytest.raises(ResourceLimitError, match="too many tables"):
        File(struct.pack("<I", 16) + many + vector, _KINDS, "f").root("Node")


def test_what_counts_steps_may_be_added_to_itself(tmp_path):
    """A loop's counter is a number and a constant added; a file may add the constant twice."""
    path, tried = tmp_path / "m.tflite", 0
    for name in ("gru.215.open", "masked.219.seven", "rnn.215.open"):
        tables = read(recorded()[0][name])
        for own in tables["subgraphs"][1:]:
            for entry in own.get("operators") or []:
                inputs = list(entry.get("inputs", ()))
                for number in inputs if len(inputs) == 2 else ():
                    entry["inputs"] = [number, number]
                    path.write_bytes(written(tables))
                    tried += 1
                    with contextlib.suppress(RnnrtError):
                        reader.read(path)
                entry["inputs"] = inputs
    assert tried > 20


def test_a_sequence_of_too_many_numbers_is_refused_before_they_are_counted_out():
    net = SimpleNamespace(
        builder=SimpleNamespace(signal=lambda _: SimpleNamespace(length=1 << 24)), advice={}
    )
    x = slots.Slots(("b", "t", "n"), np.zeros((1, 1, 64), int), ("x",), (64,))
    tracemalloc.start()
    with pytest.raises(UnsupportedModelError, match="too many numbers"):
        slots.timeless(net, x)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
