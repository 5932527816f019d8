"""Saving: after any failure, the old file or the whole new one is there, and nothing else."""

import os
import random
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from rnnrt.errors import ModelFileError
from rnnrt.format import atomic_write, file
from rnnrt.graph import GraphBuilder
from rnnrt.layers import Dense


def graph(width=2):
    b = GraphBuilder()
    b.output("y", b.add(Dense, "fc", b.input("x", (width,)), weight=np.ones((width, width))))
    return b.graph()


@pytest.fixture
def saved(tmp_path):
    file.save(graph(), tmp_path / "small.rnnrt")
    return tmp_path / "small.rnnrt"


def test_a_new_file_has_the_usual_mode_and_an_old_one_keeps_its_own(tmp_path):
    path = tmp_path / "m.rnnrt"
    old = os.umask(0o027)
    try:
        file.save(graph(), path)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o604)
    file.save(graph(), path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


@pytest.mark.parametrize("call", ["fsync", "replace", "fchmod"])
def test_a_failing_call_leaves_the_old_file_and_nothing_else(saved, monkeypatch, call):
    before = saved.read_bytes()

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(ModelFileError, match="cannot be written: No space left on device"):
        file.save(graph(50), saved)
    assert saved.read_bytes() == before and os.listdir(saved.parent) == [saved.name]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(saved):
    """A real write error: the child may not make files longer than 4 KiB."""
    before = saved.read_bytes()
    program = (
        "import resource, signal, sys, numpy as np; from rnnrt.format import file; from rnnrt.errors import "
        "ModelFileError\n"
        "from rnnrt.graph import GraphBuilder; from rnnrt.layers import Dense\n"
        "b = GraphBuilder(); b.output('y', b.add(Dense, 'fc', b.input('x', (64,)), weight=np.ones((64, "
        "64)))); graph = b.graph()\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (4096, "
        "4096))\n"
        "try: file.save(graph, sys.argv[1])\n"
        "except ModelFileError as error: print(error); sys.exit(3)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, saved], check=False, capture_output=True, text=True, env=environment()
    )
    assert done.returncode == 3 and "cannot be written: File too large" in done.stdout, done.stderr
    assert saved.read_bytes() == before and os.listdir(saved.parent) == [saved.name]


def environment():
    root = str(Path(file.__file__).parents[2])
    return os.environ | {
        "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]),
        "OMP_NUM_THREADS": "1",
    }


def test_killing_a_save_leaves_the_old_or_the_new_file(tmp_path):
    """kill -9 at random moments; the next save removes what the killed one left behind."""
    path, generator = tmp_path / "m.rnnrt", random.Random(2)
    atomic_write.write(path, [bytes(4096)] * 50)  # there is an old file even if the disk takes its time
    program = (
        "import sys; from rnnrt.format import atomic_write\n"
        "n = 0\n"
        "print('ready', flush=True)\n"
        "while True: n += 1; atomic_write.write(sys.argv[1], [bytes([n % 256]) * 4096] * 50)\n"
    )
    for _ in range(6):
        child = subprocess.Popen(
            [sys.executable, "-c", program, path], stdout=subprocess.PIPE, env=environment()
        )
        child.stdout.readline()
        time.sleep(0.02 + generator.random() * 0.05)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
        content = path.read_bytes()
        assert len(content) == 4096 * 50 and len(set(content)) == 1
    (tmp_path / ".m.rnnrt.0123456789abcdef.rnnrt-tmp").write_bytes(b"left behind")
    file.save(graph(), path)
    assert os.listdir(tmp_path) == ["m.rnnrt"]
    assert file.load(path).graph.parameters == 4


def test_many_savers_at_once_leave_one_whole_file(tmp_path):
    path, failures = tmp_path / "m.rnnrt", []

    def save(byte):
        try:
            for _ in range(20):
                atomic_write.write(path, [bytes([byte]) * 5000])
        except Exception as error:  # noqa: BLE001 - reported below
            failures.append(error)

    threads = [threading.Thread(target=save, args=(byte,)) for byte in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    content = path.read_bytes()
    assert len(content) == 5000 and len(set(content)) == 1 and os.listdir(tmp_path) == ["m.rnnrt"]
