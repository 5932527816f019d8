"""What trainers keep beside the weights, and objects that hold the weights themselves: the first are passed
by, the second named with the way out."""

import argparse
import collections
import datetime
import enum
import functools
import pathlib

import numpy as np
import pytest
from needs import need
from torch_archives import saved, tensors_of

from rnnrt.errors import UnsupportedModelError

LEGACY = {"_use_new_zipfile_serialization": False}
FORMS = pytest.mark.parametrize("options", [{}, LEGACY, {"pickle_protocol": 4}], ids=["zip", "old", "4"])


class Mode(enum.Enum):
    TRAIN = "train"


class Options(dict):
    """As Lightning's AttributeDict."""

    def __init__(self, **values):
        super().__init__(values)
        self.__dict__ = self


class Tree:
    """As omegaconf's DictConfig: its own state, in which it holds itself."""

    def __init__(self):
        self.content, self.parent, self.seen = {"lr": 1e-3}, self, {Mode.TRAIN: [1, 2]}


class Slotted:
    __slots__ = ("a", "b")


def slotted():
    made = Slotted()
    made.a, made.b = 1, [2]
    return made


EXTRAS = {
    "namespace": lambda: argparse.Namespace(lr=1e-3, layers=[1, 2]),
    "scalar": lambda: np.float64(0.25),
    "array": lambda: np.arange(3.0),
    "enum": lambda: Mode.TRAIN,
    "partial": lambda: functools.partial(sorted, reverse=True),
    "defaultdict": lambda: collections.defaultdict(list, a=[1]),
    "deque": lambda: collections.deque([1, 2], maxlen=3),
    "loss": lambda: need("torch").nn.CrossEntropyLoss(weight=need("torch").ones(3)),
    "dates": lambda: {datetime.datetime(2024, 1, 2), datetime.timedelta(3)},
    "path": lambda: pathlib.Path("/data/x"),
    "options": lambda: Options(lr=1e-3, path=pathlib.PurePosixPath("a")),
    "tree": Tree,
    "slots": slotted,
    "class": lambda: Tree,
    "random": lambda: np.random.default_rng(1),
    "complex": lambda: 1 + 2j,
}


@FORMS
@pytest.mark.parametrize("name", EXTRAS)
def test_objects_beside_the_weights_are_passed_by(name, options):
    torch = need("torch")
    layer = torch.nn.LSTM(3, 4)
    extra = EXTRAS[name]()
    checkpoint = {
        "epoch": 3,
        "hyper_parameters": {"thing": extra, "again": [extra, (extra,)]},
        "callbacks": {name: extra},
        "state_dict": {f"model.{k}": v for k, v in layer.state_dict().items()},
    }
    made = tensors_of(saved(checkpoint, **options))
    assert set(made) == set(layer.state_dict())
    for key, tensor in layer.state_dict().items():
        assert np.array_equal(made[key], tensor.numpy())
    beside = tensors_of(saved({**layer.state_dict(), "config": extra}, **options))
    assert set(beside) == set(layer.state_dict())


@FORMS
def test_a_state_dict_of_another_class_of_dictionary(options):
    torch = need("torch")
    state = torch.nn.GRU(2, 3).state_dict()
    assert set(tensors_of(saved(collections.defaultdict(list, state), **options))) == set(state)


@FORMS
def test_tensors_inside_an_object_are_named(options):
    torch = need("torch")
    held = Options(weight=torch.ones(2, 3))
    with pytest.raises(UnsupportedModelError, match=r"'fc'.*inside an object of .*Options"):
        tensors_of(saved({"bias": torch.ones(2), "fc": held}, **options))
    with pytest.raises(UnsupportedModelError, match=r"tensors lie in an object of .*Options"):
        tensors_of(saved({"epoch": 3, "net": held}, **options))
    with pytest.raises(UnsupportedModelError, match=r"tensors lie in an object of .*Options"):
        tensors_of(saved(held, **options))
    with pytest.raises(UnsupportedModelError, match=r"tensors lie in an object of .*Options"):
        tensors_of(saved({"net": held, "state": {"w": torch.ones(1)}}, **options), "net")


def test_a_tensor_made_with_an_object_is_named():
    """The hooks of a tensor: nothing says what they would have done to it."""
    torch = need("torch")
    weight = torch.nn.Parameter(torch.ones(2))
    weight._backward_hooks = collections.OrderedDict()
    data = saved({"w": weight})
    assert set(tensors_of(data)) == {"w"}
    with pytest.raises(UnsupportedModelError, match=r"'w'.*made with an object of xollections\.OrderedDict"):
        tensors_of(_stored_again(data, b"ccollections\nOrderedDict\n", b"cxollections\nOrderedDict\n"))


def _stored_again(data, old, new):
    """The archive with other bytes in its pickle."""
    import io
    import zipfile

    from torch_archives import zipped

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = next(n for n in members if n.endswith("data.pkl"))
    assert old in members[name]
    return zipped(members | {name: members[name].replace(old, new)})


# ---- whole modules -----------------------------------------------------------------------------------------


def run_lines(error, folder, monkeypatch):
    """Runs the two lines that a refusal shows."""
    lines = [line.strip() for line in str(error.fix).splitlines() if line.startswith("    ")]
    assert len(lines) == 2, error.fix
    monkeypatch.chdir(folder)
    exec("\n".join(["import torch", *lines]), {})  # noqa: S102 - the test is whether they work


@pytest.mark.parametrize("options", [{}, LEGACY], ids=["zip", "old"])
@pytest.mark.parametrize("keys", [(), ("model",), ("best", "net")])
def test_whole_modules_are_refused_with_the_two_lines_that_save_what_is_needed(
    keys, options, tmp_path, monkeypatch
):
    torch = need("torch")
    layer = torch.nn.LSTM(2, 3)
    value = layer
    for key in reversed(keys):
        value = {"epoch": 1, key: value}
    (tmp_path / "run 7.pt").write_bytes(saved(value, **options))
    with pytest.raises(UnsupportedModelError, match=r"an object of torch\.nn\.modules\.rnn\.LSTM") as caught:
        tensors_of(tmp_path / "run 7.pt", where=str(tmp_path / "run 7.pt"))
    run_lines(caught.value, tmp_path, monkeypatch)
    made = tensors_of(tmp_path / "run 7_state.pt")
    assert set(made) == set(layer.state_dict())


def test_a_state_dict_beside_the_module_is_read():
    torch = need("torch")
    layer = torch.nn.LSTM(2, 3)
    assert set(tensors_of(saved({"model": layer, "weights": layer.state_dict()}))) == set(layer.state_dict())


# ---- averages of weights, quantised weights ----------------------------------------------------------------


def test_an_averaged_model_is_its_weights():
    torch = need("torch")
    layer = torch.nn.GRU(2, 3)
    averaged = torch.optim.swa_utils.AveragedModel(layer)
    assert set(tensors_of(saved(averaged.state_dict()))) == set(layer.state_dict())


def test_an_average_without_names_is_refused_with_the_way_out():
    torch = need("torch")
    state = {"decay": 0.999, "num_updates": 7, "shadow_params": [torch.ones(2), torch.ones(3)]}
    with pytest.raises(UnsupportedModelError, match=r"list, without names.*shadow_params.*copy_to"):
        tensors_of(saved(state))


def test_an_average_beside_the_weights_is_chosen_by_prefix():
    w = {"fc.weight": np.ones((2, 3)), "fc.bias": np.zeros(2)}
    both = {f"{head}.{k}": v for head in ("online_model", "ema_model") for k, v in w.items()}
    with pytest.raises(UnsupportedModelError, match=r"'online_model', 'ema_model'.*prefix='ema_model'"):
        tensors_of({"step": np.array(3), **both}, wanted=["fc"])
    assert set(tensors_of({"step": np.array(3), **both}, "ema_model", wanted=["fc"])) == set(w)


@pytest.mark.filterwarnings("ignore")
def test_quantised_modules_are_named():
    torch = need("torch")

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rec, self.fc = torch.nn.LSTM(3, 4), torch.nn.Linear(4, 2)

    for kinds in ({torch.nn.LSTM}, {torch.nn.Linear}):
        quantised = torch.ao.quantization.quantize_dynamic(Net(), kinds, dtype=torch.qint8)
        for options in ({}, LEGACY):
            with pytest.raises(UnsupportedModelError, match="quantised module.*float model"):
                tensors_of(saved(quantised.state_dict(), **options))
    for name in ("fc.SCB", "fc.weight.absmax", "fc.qweight", "fc.qzeros"):
        with pytest.raises(UnsupportedModelError, match=f"{name}.*quantised module"):
            tensors_of({"fc.weight": np.ones((2, 3)), name: np.ones(2)})
