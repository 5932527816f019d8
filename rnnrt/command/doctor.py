"""``rnnrt doctor``: is this machine, this process and this installation fit to keep rnnrt's promises?"""

from __future__ import annotations

import importlib.metadata
import platform
import sys
import tempfile
from pathlib import Path

import numpy as np

from .. import reference
from ..graph import GraphBuilder
from ..layers import GRU, LSTM, Conv1D, Dense
from .report import Report

#: Optional packages and what each is for.
EXTRAS = {
    "h5py": ("keras", "reading .keras and .h5 files"),
    "scipy": ("blas", "backend='blas'"),
    "rich": ("cli", "progress bars"),
    "matplotlib": ("report", "rnnrt demo --plot"),
}
#: The promised bound against float64 (see the README): far below what a wrong kernel would show, above
#: float32 rounding.
BOUND = 1e-5


def examine() -> dict:
    """{"config", "extras", "checks": [{"check", "ok", "found"}]}; every check that is not ok has a
    ``fix``.
    """
    import rnnrt

    config = {"cpu": processor()} | rnnrt.show_config()
    extras = {
        name: {"version": _version(name), "extra": extra, "for": use} for name, (extra, use) in EXTRAS.items()
    }
    checks = [denormals()] + kernels()
    return {"config": config, "extras": extras, "checks": checks}


def _version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def processor() -> str:
    """The processor's name as Linux tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )


def denormals() -> dict:
    """Whether some library built with -ffast-math made the whole process flush denormals (which changes
    everyone's numbers).
    """
    kept = sys.float_info.min / 2 != 0 and float(np.float32(1e-38) / np.float32(16)) != 0
    made = {
        "check": "denormals are kept outside rnnrt's calls",
        "ok": kept,
        "found": "kept" if kept else "flushed to zero process-wide",
    }
    return (
        made
        if kept
        else made
        | {"fix": "A library loaded in this process was linked with -ffast-math; update or rebuild it."}
    )


def tiny_graph():
    """A conv, an LSTM, a GRU and a dense layer with sizes no vector width divides; weights from a fixed
    seed.
    """
    random = np.random.default_rng(3)

    def weights(*shape):
        return random.uniform(-0.5, 0.5, shape).astype(np.float32)

    b = GraphBuilder()
    at = b.add(
        Conv1D,
        "conv",
        b.input("x", (3,)),
        weight=weights(7, 4, 3),
        bias=weights(7),
        stride=2,
        activation="relu",
    )
    at = b.add(
        LSTM,
        "lstm",
        at,
        weight=weights(4 * 19, 7),
        recurrent_weight=weights(4 * 19, 19),
        bias=weights(4 * 19),
    )
    at = b.add(
        GRU,
        "gru",
        at,
        weight=weights(3 * 5, 19),
        recurrent_weight=weights(3 * 5, 5),
        bias=weights(15),
        recurrent_bias=weights(15),
    )
    b.output("y", b.add(Dense, "dense", at, weight=weights(2, 5), bias=weights(2)))
    return b.graph()


def kernels() -> list[dict]:
    """The tiny graph on every instruction set this machine has: near float64, the same bits on all, whole and
    stepped.
    """
    import rnnrt
    from rnnrt._engine import isas

    graph = tiny_graph()
    x = np.random.default_rng(4).standard_normal((1, 61, 3)).astype(np.float32)
    wanted = reference.run(graph, {"x": x})[0]["y"]
    answers, checks = {}, []

    def check(name, model):
        whole, stream = model(x), model.stream()
        pushed = np.concatenate([stream.push(x[0, :17]), stream.push(x[0, 17:]), stream.flush()])
        error, same = float(np.abs(whole - wanted).max()), whole[0].tobytes() == pushed.tobytes()
        found = f"largest error {error:.1e}, streamed bits {'equal' if same else 'different'}"
        checks.append(
            {
                "check": f"the {name} kernels are right",
                "ok": error <= BOUND and (same or name == "blas"),
                "found": found,
            }
        )
        return whole.tobytes()

    with tempfile.TemporaryDirectory(prefix="rnnrt-doctor-") as folder:
        path = Path(folder, "tiny.rnnrt")
        rnnrt.from_graph(graph).save(path)
        for isa in isas():
            answers[isa] = check(isa, rnnrt.load(path, isa=isa))
        if _version("scipy"):
            check("blas", rnnrt.load(path, backend="blas"))  # which promises no bits
    fused = {isa: bits for isa, bits in answers.items() if isa != "scalar"}  # scalar may lack hardware FMA
    if len(fused) > 1:
        same = len(set(fused.values())) == 1
        checks.append(
            {
                "check": f"{', '.join(fused)} give the same bits",
                "ok": same,
                "found": "equal" if same else "different",
            }
        )
    for row in checks:
        if not row["ok"]:
            row["fix"] = (
                "Do not use this machine's answers; RNNRT_ISA=scalar is the plainest path. Please report it "
                "with this output."
            )
    return checks


def command(options):
    """The Report of ``examine``."""
    data = examine()
    lines = [f"{k}: {', '.join(v) if isinstance(v, list) else v}" for k, v in data["config"].items()] + [""]
    lines += [
        f"{name} {x['version']}"
        if x["version"]
        else f"{name} is not installed ({x['for']}): pip install 'rnnrt[{x['extra']}]'"
        for name, x in data["extras"].items()
    ] + [""]
    lines += [
        f"{'ok    ' if c['ok'] else 'FAILED'} {c['check']}: {c['found']}"
        + ("" if c["ok"] else f". {c['fix']}")
        for c in data["checks"]
    ]
    return Report(data, lines, all(c["ok"] for c in data["checks"]))
