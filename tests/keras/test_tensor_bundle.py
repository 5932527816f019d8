"""Tables of LevelDB and TensorFlow's checkpoints: every type of tensor, and what does not fit together."""

import os
import struct

import numpy as np
import pytest
from onnx_bytes import varint
from saved_models import (
    DATA,
    INDEX,
    METADATA,
    PROGRAM,
    files,
    parts,
    recorded,
    table,
    text_tensor,
    written,
)

from rnnrt import ModelFileError, ResourceLimitError, UnsupportedModelError
from rnnrt.importers.containers import leveldb
from rnnrt.importers.containers.crc32c import checksum, masked
from rnnrt.importers.containers.tensor_bundle import TensorBundle
from rnnrt.importers.keras import reader


def test_checksums_are_those_of_the_standard():
    """RFC 3720, B.4; and of two parts after one another."""
    assert checksum(b"") == 0
    assert checksum(b"123456789") == 0xE3069283
    assert checksum(bytes(32)) == 0x8A9136AA
    assert checksum(b"\xff" * 32) == 0x62A8AB43
    assert checksum(bytes(range(32))) == 0x46DD794E
    data = np.random.RandomState(0).bytes((1 << 20) + 4099)
    for at in (0, 1, 2, 3, 4, 5, 1000, 1 << 20, len(data)):
        assert checksum(data[at:], checksum(data[:at])) == checksum(data)


def test_a_compressed_table_is_refused_by_name():
    for kind, name in ((1, "snappy"), (2, "zstd"), (4, "zlib"), (9, "kind 9")):
        with pytest.raises(UnsupportedModelError, match=f"compressed.*{name}"):
            leveldb.read(table({b"a": b"1"}, kind=kind), "a table")


def test_a_table_whose_parts_do_not_fit_is_refused():
    assert leveldb.read(table({b"a": b"1", b"b": b""}), "") == {b"a": b"1", b"b": b""}
    with pytest.raises(ModelFileError, match="keys are not sorted"):
        leveldb.read(table({b"b": b"1", b"a": b"2"}, sort=False), "")
    with pytest.raises(ModelFileError, match="shorter than its parts"):
        leveldb.read(table({b"a": b"1"}, restarts=1 << 30), "")
    with pytest.raises(ModelFileError, match="not a table"):
        leveldb.read(b"", "")


def test_keys_that_unfold_without_end_are_stopped():
    """Each entry adds a byte to the key before it: a small file, quadratic in memory."""
    body = b"\0\1\0a" + b"".join(varint(k) + b"\1\0a" for k in range(1, 12_000))
    with pytest.raises(ResourceLimitError, match="too many entries"):
        leveldb.read(_one_block(body), "")
    many = b"".join(bytes([0, 3, 0]) + k.to_bytes(3, "big") for k in range(leveldb.MOST_ENTRIES))
    with pytest.raises(ResourceLimitError, match="too many entries"):
        leveldb.read(_one_block(many), "")


def _one_block(body):
    own = body + struct.pack("<II", 0, 1)
    made = own + b"\0" + struct.pack("<I", masked(checksum(own + b"\0")))
    index = (
        varint(0)
        + varint(1)
        + varint(len(varint(0) + varint(len(own))))
        + b"z"
        + varint(0)
        + varint(len(own))
    )
    index += struct.pack("<II", 0, 1)
    place = len(made)
    made += index + b"\0" + struct.pack("<I", masked(checksum(index + b"\0")))
    nothing = len(made)
    made += struct.pack("<II", 0, 1) + b"\0"
    made += struct.pack("<I", masked(checksum(made[nothing:])))
    handles = varint(nothing) + varint(8) + varint(place) + varint(len(index))
    return made + handles.ljust(40, b"\0") + leveldb.LEVELDB_END


def bundle(tmp_path, change):
    """The tensors of a recorded checkpoint whose ``parts`` were changed."""
    found = parts(recorded()[0]["2.15/lstm"])
    change(found)
    written(tmp_path, files(found))
    return TensorBundle(os.path.join(tmp_path, "variables", "variables"), 1 << 20)


def test_tensors_of_every_type_are_read(tmp_path):
    numbers = np.array([[1.5, -2.0, 0.0]])
    kinds = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8", 19: "<f2", 4: "u1", 6: "i1", 5: "<i2", 17: "<u2"}
    numbers = {
        kind: (np.abs(numbers) if t.strip("<")[0] == "u" else numbers).astype(t) for kind, t in kinds.items()
    }

    def change(found):
        for kind, array in numbers.items():
            found["tensors"][f"t{kind}"] = [kind, list(array.shape), array.tobytes()]
        upper = np.float32([1.5, -2.0]).view(np.uint32) >> 16
        found["tensors"]["t14"] = [14, [2], upper.astype("<u2").tobytes()]
        found["tensors"]["t10"] = [10, [2], b"\1\0"]
        found["tensors"]["t8"] = [8, [1], bytes(8)]
        found["tensors"]["empty"] = [1, [0, 3], b""]
        found["tensors"]["word"] = [7, [], text_tensor(b"x" * 300)]

    opened = bundle(tmp_path, change)
    for kind, array in numbers.items():
        assert opened.array(f"t{kind}").dtype == array.dtype
        np.testing.assert_array_equal(opened.array(f"t{kind}"), array)
    np.testing.assert_array_equal(opened.array("t14"), np.float32([1.5, -2.0]))
    np.testing.assert_array_equal(opened.array("t10"), [True, False])
    assert opened.array("empty").shape == (0, 3)
    assert opened.text("word") == b"x" * 300
    with pytest.raises(UnsupportedModelError, match="type 8"):
        opened.array("t8")
    with pytest.raises(ModelFileError, match="not one string"):
        opened.text("t1")
    with pytest.raises(ModelFileError, match="t99.*missing"):
        opened.array("t99")


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        ([1, [3, -1], b"\0" * 12], "impossible"),
        ([1, [1] * 9, b"\0" * 4], "impossible"),
        ([1, [1 << 62, 4], b"\0" * 4], "do not fit its shape"),
        ([1, [2], b"\0" * 4], "do not fit its shape"),
    ],
)
def test_a_tensor_of_an_impossible_shape_is_refused(tensor, words, tmp_path):
    with pytest.raises(ModelFileError, match=words):
        bundle(tmp_path, lambda found: found["tensors"].update(t=tensor)).array("t")


def test_a_checkpoint_of_another_machine_is_refused(tmp_path):
    with pytest.raises(UnsupportedModelError, match="big-endian"):
        bundle(tmp_path, lambda found: found["header"].__setitem__(1, 1))


def test_a_shard_that_there_is_not_is_refused(tmp_path):
    with pytest.raises(ModelFileError, match="shard 0"):
        bundle(tmp_path, lambda found: found["header"].__setitem__(0, 0))


def test_no_file_is_read_but_those_of_the_folder(tmp_path, monkeypatch):
    """Not the program, and not what a name in it may point to."""
    held = recorded()[0]["2.15/lstm"] | {PROGRAM: b"\xff" * 64, "assets/vocabulary.txt": b"a"}
    folder, opened, real = written(tmp_path, held), [], os.open
    monkeypatch.setattr(
        os, "open", lambda path, *a, **k: (opened.append(os.fspath(path)), real(path, *a, **k))[1]
    )
    reader.read(folder)
    inside = {os.path.relpath(p, folder) for p in opened}
    assert inside == {METADATA, INDEX, DATA}
