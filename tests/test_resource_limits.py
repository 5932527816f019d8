"""Files of at most 1 MB that ask for far more work or memory than they are worth."""

import io
import json
import struct
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest
from needs import need

import rnnrt
from rnnrt.errors import ModelFileError, ResourceLimitError, UnsupportedModelError

torch = need("torch")
h5py = need("h5py")


def expanded(path):
    torch.save({"weight_ih_l0": torch.zeros(1).expand(400_000_000)}, path)


def expanded_in_a_legacy_file(path):
    torch.save(
        {f"w{k}": torch.zeros(1).expand(20_000_000) for k in range(25)},
        path,
        _use_new_zipfile_serialization=False,
    )


def zeros_packed(path):
    npy = io.BytesIO()
    np.save(npy, np.zeros(16_000_000, np.int8))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for k in range(30):
            archive.writestr(f"a{k}.npy", npy.getvalue())


def impossible_safetensors(shape):
    def write(path):
        size = 4 * int(np.prod([n for n in shape if n < 2], dtype=object))
        header = json.dumps({"w": {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}}).encode()
        path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(size))

    return write


def never_written(path):
    """Arrays that HDF5 fills with zeros when they are read."""
    with h5py.File(path, "w") as file:
        for k in range(30):
            file.create_dataset(f"model_weights/d/a{k}", shape=(4000, 4000), dtype="f4")


def keras_config(*layers):
    def write(path):
        weights = io.BytesIO()
        with h5py.File(weights, "w") as file:
            file.create_group("layers")
        config = {
            "class_name": "Sequential",
            "config": {"name": "s", "layers": [{"class_name": n, "config": c} for n, c in layers]},
        }
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("config.json", json.dumps(config))
            archive.writestr("metadata.json", '{"keras_version": "3.0.0"}')
            archive.writestr("model.weights.h5", weights.getvalue())

    return write


WIDE = {"batch_input_shape": [None, 100, 1 << 24]}


HOSTILE = {
    "expanded.pt": (expanded, ResourceLimitError, "tensors of a file of this size"),
    "legacy.pt": (expanded_in_a_legacy_file, ResourceLimitError, "tensors of a file of this size"),
    "zeros.npz": (zeros_packed, ResourceLimitError, "would unpack to"),
    "axes.safetensors": (impossible_safetensors([1] * 50_000), ModelFileError, "an impossible shape"),
    "empty.safetensors": (
        impossible_safetensors([0, 1 << 40, 1 << 40]),
        ModelFileError,
        "shape is impossible",
    ),
    "unwritten.h5": (never_written, ResourceLimitError, "larger than this reader accepts"),
    "pads.keras": (
        keras_config(*(("ZeroPadding1D", {"name": f"z{k}", **WIDE}) for k in range(50))),
        ResourceLimitError,
        "'z0'",
    ),
    "scales.keras": (
        keras_config(*(("Rescaling", {"name": f"r{k}", "scale": 2.0, **WIDE}) for k in range(50))),
        ResourceLimitError,
        "'r0'",
    ),
    "copies.keras": (
        keras_config(
            ("InputLayer", {"name": "x", "batch_shape": [None, 2]}),
            *(
                ("RepeatVector", {"name": f"c{k}", "n": 1 << 19})
                if k % 2
                else ("GlobalMaxPooling1D", {"name": f"c{k}"})
                for k in range(1, 200)
            ),
        ),
        ResourceLimitError,
        "'c5'.*too many numbers",
    ),
    "unknown.keras": (
        keras_config(
            ("InputLayer", {"name": "x", "batch_shape": [None, None, 2]}),
            *(("Activation" if k % 2 else "Odd", {"name": f"u{k}"}) for k in range(4000)),
        ),
        UnsupportedModelError,
        "'u0'",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_small_file_takes_little_work_and_little_memory(name, tmp_path):
    write, kind, match = HOSTILE[name]
    path = tmp_path / name
    write(path)
    assert path.stat().st_size <= 1 << 20
    read = rnnrt.from_keras if name.endswith((".h5", ".keras")) else rnnrt.from_torch
    tracemalloc.start()
    try:
        with pytest.raises(kind, match=match):
            read(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 200 << 20
    work = 0  # calls and returns, the same number on every machine; a second holds some two million

    def count(*_):
        nonlocal work
        work += 1

    sys.setprofile(count)
    try:
        with pytest.raises(kind):
            read(path)
    finally:
        sys.setprofile(None)
    assert work < 8_000_000
