"""PyTorch's containers: every tensor comes out bit for bit, and of several state dicts the right one."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from needs import need
from torch_archives import saved, tensors_of, zipped

from rnnrt.errors import DTypeError, ModelFileError, ResourceLimitError, UnsupportedModelError
from rnnrt.importers.torch.files import read_tensors

DATA = Path(__file__).parents[1] / "data" / "torch"


# ---- what is read ------------------------------------------------------------------------------------------


def test_recorded_files_agree():
    zip_form, legacy = tensors_of(DATA / "net.pt"), tensors_of(DATA / "net_legacy.pt")
    rounded = tensors_of(str(DATA / "net.safetensors"))
    assert list(zip_form) == list(legacy) and set(zip_form) == set(rounded)
    assert zip_form["gru.weight_ih_l0_reverse"].shape == (18, 8) and "bn.num_batches_tracked" not in zip_form
    for name, array in zip_form.items():
        assert array.dtype == np.float32 and np.array_equal(array, legacy[name])
        assert np.all(np.abs(rounded[name] - array) <= np.abs(array) * 2.0**-8)  # bfloat16 keeps 8 bits
        assert not np.any(rounded[name].view(np.uint32) & 0xFFFF)


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}, {"pickle_protocol": 4}])
@pytest.mark.parametrize("wrapped", [False, True])
def test_every_kind_of_tensor(options, wrapped):
    torch = need("torch")
    storage = torch.randn(100)
    state = dict(torch.nn.LSTM(3, 4, 2, bidirectional=True).state_dict())
    state |= {
        "view": storage[10:40].view(5, 6),
        "transposed": storage[3:43].view(8, 5).t(),
        "strided": storage[::7],
        "expanded": torch.randn(3, 1).expand(3, 4),
        "half": torch.randn(3, 2).half(),
        "bfloat16": torch.randn(7).bfloat16(),
        "double": torch.randn(4).double(),
        "long": torch.arange(-3, 5),
        "short": torch.arange(4).short(),
        "byte": torch.arange(9).byte(),
        "bool": torch.tensor([True, False]),
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(2.5),
        "parameter": torch.nn.Parameter(torch.randn(3)),
        "uint16": torch.arange(3).to(torch.uint16),
    }
    if wrapped:
        training = {
            "state": {0: {"exp_avg": torch.randn(3)}},
            "param_groups": [{"lr": 0.1, "betas": (0.9, 0.99), "params": [0]}],
        }
        value = {
            "epoch": 3,
            "state_dict": {f"module.{k}": v for k, v in state.items()},
            "optimizer": training,
            "seen": {1, 2},
            "raw": b"\xff\0",
        }
    else:
        value = state
    made = tensors_of(saved(value, **options))
    assert list(made) == list(state)
    for name, tensor in state.items():
        assert made[name].dtype == np.float32 and made[name].flags.c_contiguous, name
        assert made[name].shape == tuple(tensor.shape) and np.array_equal(
            made[name], tensor.detach().float().numpy()
        ), name


def test_mappings_and_npz(tmp_path):
    arrays = {
        "a": np.arange(6, dtype=np.float64).reshape(2, 3),
        "b.weight": np.asfortranarray(np.ones((3, 2), np.float16)),
        "n": np.array(3),
    }
    np.savez_compressed(tmp_path / "w.npz", **arrays)
    with np.load(tmp_path / "w.npz") as opened:
        made = [
            tensors_of(arrays),
            tensors_of(opened),
            tensors_of(tmp_path / "w.npz"),
            tensors_of((tmp_path / "w.npz").read_bytes()),
        ]
    for found in made:
        assert list(found) == list(arrays)
        assert all(found[n].dtype == np.float32 and np.array_equal(found[n], a) for n, a in arrays.items())
    with pytest.raises(ModelFileError):
        np.savez(tmp_path / "o.npz", a=np.array([{}], object))
        tensors_of(tmp_path / "o.npz")


def test_live_tensors_in_a_mapping():
    torch = need("torch")
    linear = torch.nn.Linear(3, 2).to(torch.bfloat16)
    made = tensors_of(dict(linear.named_parameters()))
    assert np.array_equal(made["weight"], linear.weight.detach().float().numpy())


def test_big_endian_zip():
    torch = need("torch")
    data = {}
    with zipfile.ZipFile(io.BytesIO(saved({"w": torch.tensor([1.5, -2.0])}))) as archive:
        for name in archive.namelist():
            data[name] = archive.read(name)
    data["archive/byteorder"] = b"big"
    data["archive/data/0"] = np.array([1.5, -2.0], ">f4").tobytes()
    assert tensors_of(zipped(data, zipfile.ZIP_DEFLATED))["w"].tolist() == [1.5, -2.0]


# ---- which state dict --------------------------------------------------------------------------------------


W = {"fc.weight": np.ones((2, 3)), "fc.bias": np.zeros(2)}


def test_wrappings_are_taken_off():
    for key in ("state_dict", "model_state_dict", "model", "net", "module", "ema", "my_own_name"):
        assert set(tensors_of({"epoch": 1, key: dict(W), "optimizer": {"m": np.ones(3)}})) == set(W)
    for prefix in ("module.", "model.", "_orig_mod.", "_forward_module.", "module._orig_mod.model."):
        assert set(tensors_of({prefix + k: v for k, v in W.items()})) == set(W)
    assert set(tensors_of({"model": {"state_dict": dict(W)}, "rng_state": np.zeros(5, np.uint8)})) == set(W)


def test_prefix_chooses_and_is_taken_off():
    heads = {"generator": dict(W), "discriminator": {"conv.weight": np.ones((1, 1, 1))}}
    with pytest.raises(UnsupportedModelError, match="several models.*'discriminator', 'generator'.*prefix="):
        tensors_of(heads)
    assert set(tensors_of(heads, "generator")) == set(W)
    assert set(tensors_of(heads, "generator.fc")) == {"weight", "bias"}
    assert set(
        tensors_of({f"module.encoder.{k}": v for k, v in W.items()} | {"module.rest": np.ones(1)}, "encoder")
    ) == set(W)
    with pytest.raises(ModelFileError, match="begins with 'nothing'.*fc"):
        tensors_of(W, "nothing")


def test_what_is_no_model_is_named():
    with pytest.raises(UnsupportedModelError, match="optimizer state only"):
        tensors_of({"optimizer": {"exp_avg": np.ones(3)}, "epoch": 4})
    with pytest.raises(UnsupportedModelError, match="no tensors"):
        tensors_of({"epoch": 4})
    with pytest.raises(UnsupportedModelError, match="quantised"):
        tensors_of({"fc._packed_params.weight": np.ones(3)})
    with pytest.raises(DTypeError, match="'w'"):
        tensors_of({"w": np.array([1e300])})
    with pytest.raises(UnsupportedModelError, match="'w'.*complex"):
        tensors_of({"w": np.ones(2, complex)})


@pytest.mark.parametrize("make", ["complex", "sparse", "quantised", "meta"])
@pytest.mark.filterwarnings("ignore")
def test_tensors_that_are_not_dense_and_real_are_refused_by_name(make):
    torch = need("torch")
    value = {
        "complex": lambda: torch.ones(2, dtype=torch.complex64),
        "sparse": lambda: torch.eye(3).to_sparse(),
        "quantised": lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
        "meta": lambda: torch.ones(3, device="meta"),
    }[make]()
    for options in ({}, {"_use_new_zipfile_serialization": False}) if make != "meta" else ({},):
        with pytest.raises(UnsupportedModelError, match="odd"):
            tensors_of(saved({"fine": torch.ones(1), "odd": value}, **options))


# ---- files that are something else -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data, words",
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "git-lfs"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5.*from_keras"),
        (b"\x80\x04N.", "pickle"),
        (bytes(257) + b"ustar" + bytes(300), "tar"),
        (zipped({"m/models/model.json": b"{}"}), "torch.export"),
        (zipped({"config.json": b"{}", "model.weights.h5": b""}), "from_keras"),
        (zipped({"readme": b"hello"}), "zip"),
    ],
)
def test_files_that_are_something_else(data, words, tmp_path):
    (tmp_path / "model.pt").write_bytes(data)
    with pytest.raises((UnsupportedModelError, ModelFileError), match=f"model.pt.*{words}"):
        read_tensors(tmp_path / "model.pt")
    with pytest.raises((UnsupportedModelError, ModelFileError), match="stranger.pt"):
        tensors_of(data)


def test_paths_that_cannot_be_read(tmp_path):
    for path in (tmp_path, tmp_path / "absent.pt", "a\0b", "/dev/null", b"absent.pt"):
        with pytest.raises(ModelFileError):
            read_tensors(path)
    with pytest.raises(UnsupportedModelError):
        read_tensors(7)
    with pytest.raises(ResourceLimitError, match="max_bytes"):
        tensors_of(DATA / "net.pt", max_bytes=1000)
