"""What people typed at the command, and what became of their files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from outcome import Row, need

import rnnrt


def rows(folder):
    yield from _overwriting()
    yield from _inputs()
    yield from _words()
    yield from _files()


def _run(*arguments, stdout=None, **options):
    """The finished command; a traceback or another exit code than rnnrt's own is a fault."""
    done = subprocess.run(
        [sys.executable, "-m", "rnnrt", *map(os.fspath, arguments)],
        stdout=stdout if stdout is not None else subprocess.PIPE,
        stderr=subprocess.PIPE,
        check=False,
        text=True,
        errors="replace",
        timeout=300,
        **options,
    )
    need("Traceback" not in done.stderr, f"a traceback: {done.stderr.strip().splitlines()[-1:]}")
    need(done.returncode in (0, 1, 2, 3, 4), f"exit code {done.returncode}: {done.stderr.strip()}")
    return done


def _refused(done, *codes):
    need(
        done.returncode in codes,
        f"exit code {done.returncode}, expected {codes}: {done.stdout} {done.stderr}",
    )
    return f"exit {done.returncode}: {' '.join(done.stderr.split())[:160]}"


def _state_dict(name="net.pt", nan=False):
    import torch

    torch.manual_seed(0)
    lstm, dense = torch.nn.LSTM(3, 8, batch_first=True), torch.nn.Linear(8, 1)
    if nan:
        with torch.no_grad():
            lstm.weight_hh_l0[0, 0] = float("nan")
    parts = {"l": lstm, "fc": dense}
    torch.save({f"{p}.{k}": v for p, m in parts.items() for k, v in m.state_dict().items()}, name)
    Path("net.spec").write_text("l: LSTM\nfc: Linear\n")
    return name


def _model(name="m.rnnrt"):
    if not Path(name).exists():
        rnnrt.from_torch(_state_dict(), spec="l: LSTM\nfc: Linear").save(name)
    return name


def _input(name="x.npy"):
    np.save(name, np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32))
    return name


def _keras(name="k.keras"):
    import keras

    keras.utils.set_random_seed(0)
    keras.Sequential([keras.Input((None, 3)), keras.layers.LSTM(4)]).save(name)
    return name


def _overwriting():
    def attempt(prepare, arguments, victim):
        prepare()
        before = Path(victim).read_bytes()
        done = _run(*arguments)
        need(Path(victim).read_bytes() == before, f"{victim} was overwritten, exit {done.returncode}")
        return _refused(done, 2, 3, 4)

    def both():
        _model()
        _input()

    def linked():
        _keras()
        Path("link.keras").unlink(missing_ok=True)
        Path("link.keras").symlink_to("k.keras")

    def hard():
        _keras()
        Path("hard.rnnrt").unlink(missing_ok=True)
        os.link("k.keras", "hard.rnnrt")

    cases = {
        "convert K -o K": (_keras, ("convert", "k.keras", "-o", "k.keras"), "k.keras"),
        "convert K -o a link to K": (linked, ("convert", "k.keras", "-o", "link.keras"), "k.keras"),
        "convert K -o a hard link to K": (hard, ("convert", "k.keras", "-o", "hard.rnnrt"), "k.keras"),
        "convert K -o another .pt": (
            lambda: (_keras(), _state_dict("other.pt")),
            ("convert", "k.keras", "-o", "other.pt"),
            "other.pt",
        ),
        "run --output onto the model": (
            both,
            ("run", "m.rnnrt", "--input", "x.npy", "--output", "m.rnnrt"),
            "m.rnnrt",
        ),
        "run --output onto the input": (
            both,
            ("run", "m.rnnrt", "--input", "x.npy", "--output", "x.npy"),
            "x.npy",
        ),
        "stream --output onto the input": (
            both,
            ("stream", "m.rnnrt", "--input", "x.npy", "--output", "x.npy"),
            "x.npy",
        ),
    }
    for name, (prepare, arguments, victim) in cases.items():
        yield Row(f"tool/{name}", lambda p=prepare, a=arguments, v=victim: attempt(p, a, v))

    def full_disk():
        both()
        done = _run("run", "m.rnnrt", "--input", "x.npy", "--output", "/dev/full")
        need("None" not in done.stderr, f"the reason is None: {done.stderr}")
        return _refused(done, 2, 3)

    yield Row("tool/run --output on a full disk", full_disk)


def _inputs():
    def nan():
        _state_dict("nan.pt", nan=True)
        done = _run("convert", "nan.pt", "--spec", "net.spec", "-o", "nan.rnnrt")
        text = done.stdout + done.stderr
        named = "weight_hh_l0" in text or "recurrent_weight" in text
        need(named and "nan" in text.lower(), f"convert does not name the tensor: {text}")
        if done.returncode:
            return _refused(done, 1, 3, 4)
        return "named; " + _refused(_run("verify", "nan.rnnrt"), 1)

    yield Row("tool/convert and verify of NaN weights", nan)

    def damaged(write):
        _model()
        write(Path("bad.npy"))
        return _refused(_run("run", "m.rnnrt", "--input", "bad.npy"), 2, 3)

    def giant(path):
        header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (4000000000, 3), }"
        header += b" " * (118 - len(header)) + b"\n"
        path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)

    heads = {
        "a damaged .npy header": lambda p: p.write_bytes(
            b"\x93NUMPY\x01\x00\x76\x00{'descr': oops" + b" " * 104
        ),
        "a giant .npy header": giant,
        "an empty .npy": lambda p: p.write_bytes(b""),
        "an .npy of objects": lambda p: np.save(p, np.array([{}, 1], object), allow_pickle=True),
    }
    for name, write in heads.items():
        yield Row(f"tool/run of {name}", lambda w=write: damaged(w))

    def bench():
        return _refused(_run("bench", _model(), "--frames", "1000000000000"), 2, 3)

    yield Row("tool/bench of an impossible size", bench)

    def full_stdout():
        with open("/dev/full", "w") as full:
            return _refused(_run("info", _model(), stdout=full), 1, 2, 3)

    yield Row("tool/info on a full stdout", full_stdout)

    def mark():
        Path("bom.spec").write_bytes(b"\xef\xbb\xbfl: LSTM\r\nfc: Linear\r\n")
        _state_dict()
        return _refused(_run("convert", "net.pt", "--spec", "bom.spec", "-o", "bom.rnnrt"), 0)

    yield Row("tool/a spec with a byte order mark", mark)

    def equals():
        _model()
        Path("date=2026-01-01").mkdir(exist_ok=True)
        _input("date=2026-01-01/x.npy")
        return _refused(_run("run", "m.rnnrt", "--input", "date=2026-01-01/x.npy", "--output", "y.npy"), 0)

    yield Row("tool/--input date=2026-01-01/x.npy", equals)

    def latin():
        name = os.fsdecode(b"mod\xe8le.rnnrt")
        Path(name).write_bytes(Path(_model()).read_bytes())
        return _refused(_run("info", name), 0)

    yield Row("tool/a Latin-1 file name", latin)

    def terminal():
        name = "evil\x1b[31m.rnnrt"
        Path(name).write_bytes(b"not a model")
        done = _run("info", name)
        need("\x1b" not in done.stderr + done.stdout, "the terminal code is printed raw")
        return _refused(done, 3, 4)

    yield Row("tool/terminal codes in a file name", terminal)

    def csv():
        _model()
        _input()
        done = _run("run", "m.rnnrt", "--input", "x.npy", "--output", "p.csv")
        if done.returncode:
            return _refused(done, 2)
        y = np.loadtxt("p.csv", delimiter=",", ndmin=2, comments="#")
        need(y.size == 20, f"p.csv holds {y.shape}")
        return f"p.csv holds {y.shape}"

    yield Row("tool/run --output p.csv", csv)


def _words():
    yield Row("tool/--version", lambda: _said(_run("--version"), rnnrt.__version__))
    yield Row("tool/no arguments: help", lambda: _said(_run(), "convert"))
    yield Row("tool/an unknown command", lambda: _said(_run("confert", "x"), "convert", 2))
    yield Row("tool/an unknown kind in a spec", lambda: _misspelt())
    yield Row(
        "tool/from_keras of a .pt", lambda: str(rnnrt.from_keras(_state_dict())), "must", ("from_torch",)
    )
    yield Row("tool/from_torch of a .keras", lambda: str(rnnrt.from_torch(_keras())), "must", ("from_keras",))

    def data():
        content = Path(_model()).read_bytes()
        try:
            rnnrt.load(content)
        except (rnnrt.RnnrtError, TypeError) as error:
            need(isinstance(error, rnnrt.RnnrtError), f"{type(error).__name__}")
            need(len(str(error)) < 500, f"an error of {len(str(error))} characters")
            return str(error)
        return "loads"

    yield Row("tool/load(bytes of a file)", data, "may")

    def spec_path():
        _state_dict()
        return str(rnnrt.from_torch("net.pt", spec=Path("net.spec")))

    yield Row("tool/spec= of a path", spec_path)

    def golden():
        import torch

        name = _state_dict()
        lstm, dense = torch.nn.LSTM(3, 8, batch_first=True), torch.nn.Linear(8, 1)
        state = torch.load(name)
        lstm.load_state_dict({k[2:]: v for k, v in state.items() if k.startswith("l.")})
        dense.load_state_dict({k[3:]: v for k, v in state.items() if k.startswith("fc.")})
        x = torch.randn(2, 9, 3)
        with torch.no_grad():
            y = dense(lstm(x)[0]).numpy()
        np.savez("right.npz", x=x.numpy(), y=y)
        np.savez("wrong.npz", x=x.numpy(), y=y + 1)
        arguments = ("convert", name, "--spec", "net.spec", "-o", "g.rnnrt", "--force", "--golden")
        need(_run(*arguments, "right.npz").returncode == 0, "the right samples are refused")
        return _refused(_run(*arguments, "wrong.npz"), 1)

    yield Row("tool/convert --golden", golden)


def _said(done, word, code=0):
    need(done.returncode == code, f"exit {done.returncode}, expected {code}")
    need(word in done.stdout + done.stderr, f"no word of {word}: {done.stdout} {done.stderr}")
    return f"says {word}"


def _misspelt():
    try:
        rnnrt.from_torch(_state_dict(), spec="l: LTSM\nfc: Linear")
    except rnnrt.RnnrtError as error:
        need("did you mean" in str(error).lower() and "LSTM" in str(error), str(error))
        return str(error)
    need(False, "an unknown kind was read")


def _files():
    def sparse():
        import resource
        import time

        with open("sparse.h5", "wb") as file:
            file.write(b"\x89HDF\r\n\x1a\n" + bytes(64))
            file.truncate(40 << 30)
        start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            rnnrt.from_keras("sparse.h5")
        except rnnrt.RnnrtError as error:
            seconds = time.perf_counter() - start
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
            need(seconds < 1 and grown < 200, f"{seconds:.1f} s and {grown:.0f} MB before the refusal")
            if "max_bytes" in str(error):
                _takes_max_bytes()
            return f"{error} ({seconds:.2f} s)"
        finally:
            os.unlink("sparse.h5")
        need(False, "a sparse file of 40 GB was read")

    yield Row("tool/a sparse .h5 of 40 GB", sparse)


def _takes_max_bytes():
    from inspect import signature

    for function in (rnnrt.from_keras, rnnrt.from_torch, rnnrt.convert):
        if "max_bytes" not in signature(function).parameters:
            kinds = {p.kind for p in signature(function).parameters.values()}
            need(4 in {int(k) for k in kinds}, f"{function.__name__} does not take max_bytes")
