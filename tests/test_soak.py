"""tools/soak.py: some steps of it, and that it sees what grows and what differs."""

import mmap
import shutil
import sys

import pytest
import soak
from needs import absent
from small_models import model_of

if sys.platform != "linux" or not (shutil.which("cc") or shutil.which("gcc")):
    absent("not run: no C compiler, or not Linux, whose /proc says how large a process is")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    made = tmp_path_factory.mktemp("soak") / "model.rnnrt"
    model_of("textbook_lstm").save(made)
    return str(made)


def test_nothing_grows_or_drifts(capsys):
    assert soak.main(["--steps", "100000", "--python", "20000"]) == 0
    printed = capsys.readouterr().out
    assert "in C: 100,000 steps" in printed and "through Python: 20,000 steps" in printed
    assert printed.count("a replay of the second half has the same bits") == 2


@pytest.mark.parametrize("name", ["conv_dilated", "three_delays", "scan_two_widths", "conv_stride"])
def test_windows_strides_and_scans_do_neither(name, tmp_path):
    path = tmp_path / "model.rnnrt"
    model_of(name).save(path)
    said = soak.in_c(path, 10_000)
    assert said["held"] and said["replay same"] and said["allocations"] == 0, said


def test_a_leak_and_a_bit_in_c_are_seen(path):
    leaks = soak.in_c(path, 400_000, "leak")
    assert not leaks["held"] and leaks["allocations"] >= 400 and leaks["pages grown"] > soak.GROWTH
    assert leaks["replay same"]
    other = soak.in_c(path, 2000, "bit")
    assert not other["held"] and not other["replay same"] and other["allocations"] == 0


def test_a_leak_and_a_bit_through_python_are_seen(monkeypatch):
    model, kept = model_of("textbook_lstm"), []

    def leak():
        kept.append(mmap.mmap(-1, 20 * soak.PAGE))  # pages that no earlier test has left behind
        kept[-1].write(bytes(20 * soak.PAGE))

    said = soak.through_python(model, 2000, leak)
    assert not said["held"] and said["pages grown"] > soak.GROWTH and said["replay same"]
    said = soak.through_python(model, 2000, lambda: kept.extend([] for _ in range(20)))
    assert not said["held"] and said["objects left"] > soak.LEFT and said["replay same"]
    true = soak.Steps.frame
    turns = iter(range(10**9))
    monkeypatch.setattr(soak.Steps, "frame", lambda self, t: true(self, t) + (next(turns) == 9000))
    said = soak.through_python(model, 2000 * 2)
    assert not said["replay same"] and not said["held"]
