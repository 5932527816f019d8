"""Figures of tools/bench_peers.py that have a limit and no peer: what importing rnnrt costs, what Python
costs in a step, and what a call costs that is not the plain one.
"""

from __future__ import annotations

import ctypes
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from time import perf_counter

import numpy as np
from cases import Case

import rnnrt
from rnnrt import layers as L
from rnnrt.command import measure

ROOT = Path(__file__).resolve().parent.parent
SHORT = "FALL SHORT"


@dataclass(frozen=True)
class Cost:
    """A figure that has a limit and no peer."""

    name: str
    figure: float
    unit: str
    limit: float
    detail: str

    @property
    def verdict(self):
        return "PASS" if self.figure <= self.limit else SHORT


def import_cost(seconds):
    """Whole processes that import NumPy, and NumPy and rnnrt, in turns; the difference of the best ones.

    Both find their modules compiled to bytecode, as pip leaves an installed package.
    """
    rounds, best, imported = 15, {}, []
    folder = tempfile.TemporaryDirectory()
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"PYTHONPATH": str(Path(rnnrt.__file__).parent.parent), "PYTHONPYCACHEPREFIX": folder.name}
    programs = {
        "numpy": "import numpy",
        "rnnrt": "import numpy; from time import perf_counter as now; t = now(); import rnnrt; print((now() "
        "- t) * 1000)",
    }
    with folder:
        for turn in range(rounds + 1):
            for name, program in programs.items():
                start = perf_counter()
                done = subprocess.run(
                    [sys.executable, "-c", program],
                    env=environment,
                    check=True,
                    capture_output=True,
                    text=True,
                )
                spent = (perf_counter() - start) * 1000
                if turn:  # the first one compiles
                    best[name] = min(spent, best.get(name, spent))
                    imported += [float(done.stdout)] if done.stdout else []
    cost = best["rnnrt"] - best["numpy"]
    detail = (
        f"processes {best['rnnrt']:.1f} - {best['numpy']:.1f} ms; by the clock inside them best "
        f"{min(imported):.1f}, median {statistics.median(imported):.1f} ms"
    )
    return Cost("import rnnrt, over import numpy", cost, "ms", 30, detail)


def python_cost(seconds):
    """``stream.step(x, out=y)`` in a Python loop less the same step in a C loop, on a layer so small that
    nearly only the call is left.

    The C side is src/ and tools/step_cost.c, compiled here with the flags of setup.py and loaded into this
    process. An empty Python loop is timed beside them: it is the caller's, and not taken off.
    """
    size, calls = 4, 1000
    case = Case(
        "dense_4",
        lambda b, x, r: b.add(
            L.Dense, "dense", x, weight=r.standard_normal((size, size)), bias=r.standard_normal(size)
        ),
        features=size,
    )
    graph = case.graph()
    stream, x, y = rnnrt.from_graph(graph).stream(), case.sample(1, 1)[0, 0], np.empty(size, np.float32)
    from_c = np.empty(size, np.float32)
    with tempfile.TemporaryDirectory() as folder:
        library = ctypes.CDLL(compiled(Path(folder)))
    library.step_cost_open.restype = ctypes.c_void_p
    library.step_cost_open.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
    library.step_cost_run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_long]
    library.step_cost_run.restype = ctypes.c_long
    opened = library.step_cost_open(graph["dense"].weight.ctypes.data, graph["dense"].bias.ctypes.data, size)
    assert opened, "the C library made no stream"
    addresses = x.ctypes.data, from_c.ctypes.data

    def python():
        for _ in repeat(None, calls):
            stream.step(x, out=y)

    def loop():
        for _ in repeat(None, calls):
            pass

    assert library.step_cost_run(opened, *addresses, calls) == calls
    python()
    assert (y == from_c).all(), "the C library answers otherwise"
    found = measure.measure(
        {"python": python, "c": lambda: library.step_cost_run(opened, *addresses, calls), "loop": loop},
        seconds,
    )
    best = {name: latency.min / calls for name, latency in found.items()}
    cost = best["python"] - best["c"]
    detail = (
        f"step(x, out=y) {best['python']:.3f}, the same from C {best['c']:.3f} µs; p50 "
        f"{found['python'].p50 / calls:.3f} and {found['c'].p50 / calls:.3f}; of it the empty loop "
        f"{best['loop']:.3f}"
    )
    return Cost("Python's part of step(x, out=y)", cost, "µs", 0.1, detail)


def compiled(folder):
    """src/ and the driver as a shared library in ``folder``; its path."""
    flags = [
        "-std=gnu11",
        "-O3",
        "-fno-math-errno",
        "-fno-trapping-math",
        "-fvisibility=hidden",
        "-ffp-contract=off",
        "-fno-fast-math",
    ]
    library = folder / "step_cost.so"
    sources = [*sorted((ROOT / "src").rglob("*.c")), ROOT / "tools" / "step_cost.c"]
    command = [
        os.environ.get("CC", "cc"),
        "-shared",
        "-fPIC",
        *flags,
        f"-I{ROOT / 'src'}",
        *map(str, sources),
        "-o",
        str(library),
        "-lm",
    ]
    subprocess.run(command, check=True)
    return str(library)


#: Most that a form of a call may cost beside the plain one, in microseconds.
FORMS = {
    "model(float64)": 1.5,
    "model(every other number)": 1.5,
    "model(x, out=y)": 1.5,
    "step(float64)": 1.5,
    "step(id)": 1.5,
    "step(x), no out": 0.5,
    "push(x), no out": 0.5,
    "model.stream()": 2.0,
}


class Forms:
    """Calls, steps and pushes of a small LSTM that say the same in another way than the plain one."""

    def __init__(self):
        random = np.random.default_rng(0)
        b = L.GraphBuilder()
        of = lambda *shape: random.standard_normal(shape)
        fields = {"recurrent_weight": of(80, 20), "bias": of(80)}
        b.output("y", b.add(L.LSTM, "lstm", b.input("x", (8,)), weight=of(80, 8), **fields))
        ids = L.GraphBuilder()
        table = ids.add(L.Embedding, "table", ids.input("x", (), ids=True), weight=of(50, 8))
        ids.output("y", ids.add(L.LSTM, "lstm", table, weight=of(80, 8), **fields))
        model, stream = (m := rnnrt.from_graph(b.graph())), m.stream()
        of_ids = rnnrt.from_graph(ids.graph()).stream()
        x = of(1, 4, 8).astype(np.float32)
        chunk, frame, wide, y = x[0], x[0, 0], of(1, 4, 16).astype(np.float32), model(x)
        out, step = np.empty_like(y[0]), np.empty_like(y[0, 0])
        double, every_other = x.astype(np.float64), wide[..., ::2]
        #: {name: (the call, the plain one or None)}
        self.pairs = {
            "model(float64)": (lambda: model(double), lambda: model(x)),
            "model(every other number)": (lambda: model(every_other), lambda: model(x)),
            "model(x, out=y)": (lambda: model(x, out=y), lambda: model(x)),
            "step(float64)": (lambda: stream.step(double[0, 0]), lambda: stream.step(frame)),
            "step(id)": (lambda: of_ids.step(7), lambda: stream.step(frame)),
            "step(x), no out": (lambda: stream.step(frame), lambda: stream.step(frame, out=step)),
            "push(x), no out": (lambda: stream.push(chunk), lambda: stream.push(chunk, out=out)),
            "model.stream()": (model.stream, None),
        }


def form_cost(name):
    """The cost of one of ``Forms`` beside the plain call, in turns."""

    def cost(seconds):
        form, plain = Forms().pairs[name]
        calls = 100

        def many(call):
            for _ in repeat(None, calls):
                call()

        functions = {"form": lambda: many(form)} | ({"plain": lambda: many(plain)} if plain else {})
        found = measure.measure(functions, seconds)
        best = {key: latency.min / calls for key, latency in found.items()}
        detail = f"{best['form']:.2f} µs" + (f", plain {best['plain']:.2f} µs" if plain else "")
        beside = best["form"] - best.get("plain", 0)
        return Cost(name if plain is None else f"{name}, beside the plain", beside, "µs", FORMS[name], detail)

    return cost


COSTS = {
    "import rnnrt, over import numpy": import_cost,
    "Python's part of step(x, out=y)": python_cost,
    **{f"form of a call: {name}": form_cost(name) for name in FORMS},
}
