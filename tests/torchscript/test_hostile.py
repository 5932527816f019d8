"""TorchScript files from a stranger: only rnnrt's own errors, in little time and memory."""

import cProfile
import io
import random
import resource
import zipfile

import numpy as np
import pytest
from mutants import Tally, bytes_changed
from script_bytes import Module, Pickler, Sized, archive, forward
from script_records import changed, recorded
from torch_archives import read_tensors, unwrap

import rnnrt
from rnnrt import ModelFileError, ResourceLimitError, RnnrtError, UnsupportedModelError
from rnnrt.importers.torchscript import reader

W = np.ones((4, 3), np.float32)
#: calls of functions to refuse one file; a million take about half a second
MOST_WORK = 4_000_000


def refused(content, tmp_path, kind=RnnrtError, match="."):
    path = tmp_path / "m.pt"
    path.write_bytes(content)
    with pytest.raises(kind, match=match) as error:
        reader.read(path)
    assert len(str(error.value)) < 2000 and "\x1b" not in str(error.value)
    return error.value


def test_a_file_cut_anywhere(tmp_path):
    content = recorded()["rnn.traced"]
    for end in range(0, len(content), 17):
        refused(content[:end], tmp_path)


def test_mutants_are_read_or_refused(tmp_path):
    draw, path, tally = random.Random(3), tmp_path / "m.pt", Tally(20)  # a hang would be minutes
    seeds = [recorded()[n] for n in ("gru.traced", "tcn.frozen", "cells.traced", "lstm_states.traced")]
    for k in range(200):
        member = draw.choice((".py", ".py", "data.pkl", "constants.pkl", "traced_inputs.pkl"))
        other = lambda name, data: bytes_changed(data, draw) if data else data
        path.write_bytes(changed(seeds[k % len(seeds)], {member: other}))
        tally.take(lambda: reader.read(path))
    assert not tally.faults and 10 < tally.ends["read"] < 200


def doubling(count):
    """Methods of which each calls the next twice."""
    text = forward("return (self).f0(x, )")
    for k in range(count):
        text += f"  def f{k}(self: __torch__.Net,\n    x: Tensor) -> Tensor:\n"
        text += f"    return torch.add((self).f{k + 1}(x, ), (self).f{k + 1}(x, ))\n"
    return text + f"  def f{count}(self: __torch__.Net,\n    x: Tensor) -> Tensor:\n    return x\n"


def lines(line, count):
    return forward("\n".join([line] * count + ["return x"]))


HOSTILE = {
    "brackets": (forward(f"return {'(' * 5000}x{')' * 5000}"), ResourceLimitError),
    "signs": (forward(f"return {'-' * 50_000}1"), RnnrtError),
    "dots": (forward(f"return x{'.a' * 50_000}"), RnnrtError),
    "calls itself": (forward("return (self).forward(x, )"), ResourceLimitError),
    "calls twice": (doubling(40), ResourceLimitError),
    "many calls": (lines("x = torch.relu(x)", 10_000), ResourceLimitError),
    "many steps": (lines("_0 = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]", 5000), ResourceLimitError),
    "many readings": (lines("x = torch.relu(x)", 4000), RnnrtError),
    "long code": (lines(f"_0 = '{'x' * 1000}'", 3000), ResourceLimitError),
    "a large number": (forward(f"return torch.mul(x, {'9' * 10_000})"), ModelFileError),
    "not code": ("\0\xff", ModelFileError),
    "broken code": ("class Net(Module:\n", ModelFileError),
    "a constant that grows": (
        forward("\n".join(["w = self.w", *["w = torch.cat([w, w], 0)"] * 40, "return torch.linear(x, w)"])),
        RnnrtError,
    ),
    "large zeros": (forward("return torch.add(x, torch.zeros([1099511627776]))"), RnnrtError),
    "starred": (forward("return torch.relu(*[x])"), UnsupportedModelError),
    "terminal codes": (forward("return torch.relu(x, '\x1b[2J')"), RnnrtError),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_code_that_asks_for_too_much(name, tmp_path):
    code, kind = HOSTILE[name]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with cProfile.Profile() as work:
        refused(archive(code, Module(w=W), example=[Sized(2, 5, 3)]), tmp_path, kind)
    assert sum(calls.callcount for calls in work.getstats()) < MOST_WORK
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 18  # KiB


def test_inputs_of_which_nothing_is_known(tmp_path):
    """Six thousand readings of four inputs, none of which fits."""
    body = "_0 = torch.cat([torch.add(x, y), torch.add(z, u)], 1)\nreturn torch.linear(_0, self.w)"
    code = forward(body, "x: Tensor,\n    y: Tensor,\n    z: Tensor,\n    u: Tensor")
    with cProfile.Profile() as work:
        refused(archive(code, Module(w=W)), tmp_path, ResourceLimitError, "so many readings.*shapes=")
    assert sum(calls.callcount for calls in work.getstats()) < MOST_WORK


@pytest.mark.parametrize("shape", [(1 << 40, 7, 3), (2, 7, 1 << 40), (2,) * 60, ()])
def test_examples_of_any_size(shape, tmp_path):
    path = tmp_path / "m.pt"
    path.write_bytes(archive(forward("return torch.linear(x, self.w)"), Module(w=W), example=[Sized(*shape)]))
    try:
        reader.read(path)
    except RnnrtError as error:
        assert len(str(error)) < 2000


def test_code_is_never_run(tmp_path):
    body = "_0 = __import__('os').abort()\nreturn x"
    refused(archive(forward(body), Module()), tmp_path, UnsupportedModelError)
    body = "return torch.linear(x, self.w)\nimport os\nos.abort()"
    path = tmp_path / "m.pt"
    path.write_bytes(archive(forward(body), Module(w=W), example=[Sized(2, 5, 3)]))
    reader.read(path)  # nothing behind a return is needed


def replaced(member, data):
    return archive(forward("return x"), Module(), example=[Sized(2, 5, 3)], more={member: data})


PICKLES = {
    "a call": b"\x80\x02cos\nsystem\n(X\x02\x00\x00\x00lstR.",
    "a call of a class": b"\x80\x02c__torch__\nNet\n(X\x02\x00\x00\x00lstR.",
    "arguments of a class": b"\x80\x02c__torch__\nNet\n(K\x01t\x81}b.",
    "another class": b"\x80\x02cos\nNet\n)\x81}b.",
    "numbers": b"\x80\x02K\x05.",
    "nothing": b"",
    "an extension": b"\x80\x02\x82\x01.",
}


@pytest.mark.parametrize("name", PICKLES)
def test_pickles_that_hold_something_else(name, tmp_path):
    made, written = io.BytesIO(), replaced("more", b"")
    with zipfile.ZipFile(io.BytesIO(written)) as source, zipfile.ZipFile(made, "w") as copy:
        for member in source.namelist():
            copy.writestr(member, PICKLES[name] if member == "net/data.pkl" else source.read(member))
    refused(made.getvalue(), tmp_path)
    with pytest.raises(RnnrtError):
        rnnrt.from_torch(tmp_path / "m.pt", "fc: Linear")


def test_modules_that_hold_one_another(tmp_path):
    """A module that hangs on itself: its weights are found once, and its code may not run in circles."""
    own = b"\x80\x02c__torch__\nNet\n)\x81q\x00}(" + Pickler().of("me") + b"h\x00"
    pickler = Pickler()
    own += pickler.of("weight") + pickler.of(W) + b"ub."
    code = forward("_0 = (self.me).me\nreturn torch.linear(x, _0.weight)")
    content = changed(
        archive(code, Module(), example=[Sized(2, 5, 3)]), {"net/data.pkl": own}, {"data/0": W.tobytes()}
    )
    path = tmp_path / "m.pt"
    path.write_bytes(content)
    assert rnnrt.from_torchscript(path)(np.ones((1, 2, 3), np.float32)).tolist() == [[[3] * 4] * 2]
    tensors = unwrap(read_tensors(path))
    assert list(tensors) == ["weight"] and (tensors["weight"] == W).all()


def test_tensors_that_reach_past_their_storage(tmp_path):
    content = archive(forward("return torch.linear(x, self.w)"), Module(w=W), example=[Sized(2, 5, 3)])
    refused(changed(content, {"data/0": W.tobytes()[:-4]}), tmp_path, ModelFileError, "another size than")
    refused(changed(content, left_out=["data/0"]), tmp_path, ModelFileError, "is missing")


def test_archives_of_another_kind(tmp_path):
    content = archive(forward("return x"), Module(), example=[Sized(2, 5, 3)])
    refused(changed(content, more={"byteorder": b"big"}), tmp_path, UnsupportedModelError, "byte order")
    old = changed(content, more={"model.json": b"{}"}, left_out=["data.pkl"])
    refused(old, tmp_path, UnsupportedModelError, "before 1.4.*torch.jit.load")
    refused(changed(content, left_out=["__torch__.py"]), tmp_path, ModelFileError, "lacks a file of its code")
    refused(changed(content, left_out=["constants.pkl"]), tmp_path, RnnrtError)


def test_a_larger_file_than_allowed(tmp_path):
    path = tmp_path / "m.pt"
    path.write_bytes(recorded()["lstm.traced"])
    with pytest.raises(ResourceLimitError, match="max_bytes"):
        rnnrt.from_torchscript(path, max_bytes=1000)
