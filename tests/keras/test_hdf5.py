"""HDF5 files of strangers: references followed before HDF5 follows them, sound files read wherever strings
stand, mutants refused.
"""

import io
import random
import struct
import sys
import tracemalloc
from collections import Counter

import h5py
import numpy as np
import pytest
from keras_records import file

from rnnrt.errors import ModelFileError, RnnrtError
from rnnrt.importers.containers import hdf5
from rnnrt.importers.keras import reader as importer


def reference_in(data, attribute):
    """Where the attribute's reference to a string (length, heap, index) stands in an HDF5 file."""
    heap = data.find(b"GCOL").to_bytes(8, "little")
    return data.find(heap, data.find(attribute + b"\0")) - 4


@pytest.mark.parametrize("length", [1 << 31, (1 << 32) - 1])
def test_a_string_that_claims_more_than_its_heap_holds_is_refused(length):
    """HDF5 would convert gigabytes that are not there."""
    data = bytearray(file("text_classifier.h5"))
    place = reference_in(data, b"backend")
    assert int.from_bytes(data[place : place + 4], "little") == len("torch")
    data[place : place + 4] = length.to_bytes(4, "little")
    with pytest.raises(ModelFileError, match=f"damaged.*{length} bytes"):
        importer.read(bytes(data))


def written(change, **options):
    """The bytes of a new HDF5 file, filled by ``change(h5py.File)``."""
    target = io.BytesIO()
    with h5py.File(target, "w", **options) as opened:
        change(opened)
    return bytearray(target.getvalue())


def test_weights_that_look_like_a_reference_to_a_string_are_weights():
    """Only what stands in an attribute is a reference: these 16 bytes are four numbers, which h5py reads as
    such.
    """

    def change(opened):
        opened.attrs["backend"] = "tensorflow"
        opened["w"] = np.zeros(4, "f4")

    data = written(change)
    heap = data.find(b"GCOL\1")
    with h5py.File(io.BytesIO(data)) as opened:
        start = opened["w"].id.get_offset()
    data[start : start + 16] = np.array([0x7F000000, heap, 0, 1], "<u4").tobytes()
    root = hdf5.read(bytes(data), "f.h5")
    assert (
        root.arrays["w"].tobytes() == data[start : start + 16] and root.attributes["backend"] == "tensorflow"
    )


MANY = {f"note {k}": "text " * k for k in range(1, 40)}


@pytest.mark.parametrize("libver", ["earliest", "v108", "v110", "latest"])
@pytest.mark.parametrize("ordered", [False, True])
def test_strings_are_read_wherever_hdf5_keeps_attributes(libver, ordered):
    """In the object header, continued elsewhere, or in a fractal heap: the format decides by their number and
    size.
    """

    def change(opened):
        group = opened.create_group("g", track_order=ordered)
        for name, text in MANY.items():
            group.attrs[name] = text
        group.attrs["list"] = ["", "two", "threeé"]
        group["w"] = np.arange(3.0)
        group["w"].attrs["dtype"] = "float64"

    data = written(change, libver=libver)
    group = hdf5.read(bytes(data), "f.h5").groups["g"]
    assert group.attributes == MANY | {"list": ["", "two", "threeé"]}
    for name in ("note 1", "note 39"):
        size = len(MANY[name])
        place = data.find(struct.pack("<Q", size) + MANY[name].encode())
        damaged = bytearray(data)
        damaged[place] = size - 1
        with pytest.raises(ModelFileError, match=f"damaged.*a string of {size} bytes where {size - 1} are"):
            hdf5.read(bytes(damaged), "f.h5")


def test_heaps_of_strings_that_overlap_are_refused():
    """A thousand references, each to a heap of its own that reaches to the end of the file, would be read for
    ever.
    """
    count, empty = 1000, struct.pack("<QQ", 2, 0)
    data = written(lambda opened: opened.attrs.create("names", ["x"] * count, dtype=h5py.string_dtype()))
    place, start = reference_in(data, b"names"), -(-len(data) // 1024) * 1024
    data = data.ljust(start, b"\0") + empty * (64 * (count + 1))
    for k in range(count):
        heap = start + 1024 * (k + 1)
        data[heap - 16 : heap + 16] = struct.pack("<QQ8sQ", 1, 16, b"GCOL\1\0\0\0", len(data) - heap)
        data[place + 16 * k : place + 16 * (k + 1)] = struct.pack("<IQI", 1, heap, 1)
    with pytest.raises(ModelFileError, match="heaps of strings within one another"):
        hdf5.read(bytes(data), "f.h5")


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_mutated_hdf5_files_are_read_or_refused_in_words_within_time_and_memory(libver):
    """Bytes of the structure changed, copied, cut and swapped: a bounded number of mutants, each bounded in
    time and memory.
    """

    def change(opened):
        opened.attrs["backend"] = "torch"
        for k in range(3):
            group = opened.create_group(f"layers/lstm_{k}")
            group.attrs["weight_names"] = ["kernel", "bias"]
            group.create_dataset(
                "kernel", data=np.arange(12.0).reshape(3, 4), chunks=(3, 2), compression="gzip"
            )
            group["bias"] = np.arange(4, dtype="f4")
            for n in range(12):
                group.attrs[f"note {n}"] = "text"

    data, choose, outcomes = bytes(written(change, libver=libver)), random.Random(libver), Counter()
    work = 0  # calls and returns: the same number on every machine

    def count(*_):
        nonlocal work
        work += 1

    tracemalloc.start()
    try:
        for _ in range(100):
            mutant = bytearray(data)
            for _ in range(choose.randint(1, 6)):
                at, size = choose.randrange(len(mutant)), choose.choice((1, 2, 4, 8))
                other = choose.randrange(len(mutant))
                mutant[at : at + size] = choose.choice(
                    (
                        bytes([choose.randrange(256)]),
                        choose.randbytes(size),
                        b"\xff" * size,
                        bytes(size),
                        mutant[other : other + size],
                        (at + size).to_bytes(8, "little")[:size],
                    )
                )
            work = 0
            sys.setprofile(count)
            try:
                hdf5.read(bytes(mutant), "mutant.h5", max_bytes=8 << 20)
                outcomes["read"] += 1
            except RnnrtError as error:
                assert "mutant.h5" in str(error)
                outcomes[type(error).__name__] += 1
            finally:
                sys.setprofile(None)
            assert work < 2_000_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100 << 20
    assert outcomes["read"] and outcomes["ModelFileError"]


def test_a_heap_whose_free_space_is_empty_is_refused():
    """HDF5 would walk on the spot for ever."""
    data = bytearray(file("old_series.keras2.1.5.h5"))
    place = data.find(b"GCOL") + 16
    while int.from_bytes(data[place : place + 2], "little"):
        place += 16 + -(-int.from_bytes(data[place + 8 : place + 16], "little") // 8) * 8
    data[place + 8 : place + 16] = bytes(8)
    with pytest.raises(ModelFileError, match="damaged.*heap"):
        importer.read(bytes(data))
