"""How fast rnnrt is beside what people run today: ratios, each from one run.

    python tools/bench_peers.py                      all rows, about two minutes
    python tools/bench_peers.py --only "lstm 128*"   the rows whose name matches
    python tools/bench_peers.py --markdown           the README's table

One thread, float32, pinned to one core. In every row rnnrt and the peer take turns of 20 ms until each has
had its share of --seconds, and first have to give the same answer. Times are of single calls, in
microseconds, the clock's own cost taken off. A verdict is on the ratio of the best times, which other
programs on the machine disturb least. Exit code 1 where a row falls short of what the project asks for.

Peers: onnxruntime (plain ``session.run``; a step takes and gives back its states), torch (eager nn.LSTM
without gradients), keras (``predict`` on the torch backend) and rnnrt's own rows on BLAS. A peer that is not
installed has its rows listed as SKIPPED.
"""

from __future__ import annotations

import argparse
import ctypes
import fnmatch
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import warnings
from dataclasses import asdict, dataclass
from functools import partial
from itertools import repeat
from pathlib import Path
from time import perf_counter

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "KERAS_BACKEND": "torch",
    "RNNRT_BENCH_PINNED": "1",
}
if __name__ == "__main__" and "RNNRT_BENCH_PINNED" not in os.environ:
    # Thread pools and OpenBLAS read these when they are loaded, so they must stand before the first import of
    # NumPy.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    os.execve(
        sys.executable,
        sys.orig_argv,
        {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"} | ENVIRONMENT,
    )

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests/support")]  # the checkout's rnnrt, and its cases

import numpy as np
from case_layers import conv, one, stack
from cases import CASES, Case

import rnnrt
from rnnrt import layers as L
from rnnrt.command import measure

TOLERANCE = 1e-4
SHORT = "FALL SHORT"
#: A call longer than a turn is made at least so often, whatever --seconds says: a busy machine spoils most.
TURNS = 25
FRAMES = 100  # of a whole sequence, and of the streams whose answers are compared


@dataclass(frozen=True)
class Timing:
    """Microseconds of single calls."""

    best: float
    p50: float
    p99: float


@dataclass(frozen=True)
class Contest:
    """What one row times: {label: call} of rnnrt, the peer's call, and how far the two answers are apart (see
    difference).
    """

    ours: dict
    theirs: object
    error: float


@dataclass(frozen=True)
class Row:
    """A line of the benchmark. ``make`` returns its Contest; ``floor``: the least ratio asked for, or None
    where the row only informs.
    """

    name: str
    peer: str
    make: object
    floor: float | None = None


@dataclass(frozen=True)
class Result:
    """What a row came to. ``ratio`` and ``ratio_p50``: how many times faster rnnrt is; all None where the row
    was skipped.
    """

    name: str
    call: str
    peer: str
    floor: float | None
    verdict: str
    ours: Timing | None = None
    theirs: Timing | None = None
    ratio: float | None = None
    ratio_p50: float | None = None
    error: float | None = None


@dataclass(frozen=True)
class Cost:
    """A figure that has a limit and no peer."""

    name: str
    figure: float
    unit: str
    limit: float
    verdict: str
    detail: str


# ---- contests ----------------------------------------------------------------------------------------------


def recurrent_case(kind, units):
    """One layer of ``units`` that reads as many features, as stacked layers do."""
    return Case(f"{kind.kind}_{units}", one(kind, units), features=units)


def wavenet():
    """Eight causal dilated convolutions of 20 channels, and a 1x1 one to 10."""
    dilated = [
        lambda b, x, r, d=d: conv(b, x, r, 20, 2, dilation=d, padding=(d, 0), activation="relu")
        for d in (1, 2, 4, 8) * 2
    ]
    return Case("wavenet", stack(*dilated, lambda b, x, r: conv(b, x, r, 10, 1)), features=1)


def tcn():
    """Eight residual blocks relu(x + relu(conv(relu(conv(x))))) of 64 channels, dilated 1 to 128."""

    def block(b, x, r, dilation):
        y = x
        for _ in range(2):
            y = conv(b, y, r, 64, 3, dilation=dilation, padding=(2 * dilation, 0), activation="relu")
        return b.add(L.Activation, "relu", b.add(L.Add, "add", x, y), activation="relu")

    return Case("tcn", stack(*[partial(block, dilation=2**k) for k in range(8)]), features=64)


def wide_convolutions():
    def layer(b, x, r):
        return conv(b, x, r, 128, 3, padding="same", activation="relu")

    return Case("wide_convolutions", stack(*[layer] * 4), features=128)


def difference(a, b):
    """The largest one, over the answer's size where that is above 1: the residual network's answers are in
    the thousands.
    """
    assert a.shape == b.shape, (a.shape, b.shape)
    return float(np.abs(a.astype(np.float64) - b).max() / max(1.0, np.abs(b).max()))


def stepped(stream, x):
    """Answers of ``stream`` to the frames of x (1, time, features): (1, time, features)."""
    return np.array([stream.step(frame) for frame in x[0]])[None]


def session_of(written):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(written.model, options, providers=["CPUExecutionProvider"])


def step_calls(model, frame):
    """{label: call}: one frame into a live stream, into a given array and into a fresh one."""
    into, fresh = model.stream(), model.stream()
    out = np.empty_like(into.step(frame))
    return {"step(x, out=y)": lambda: into.step(frame, out=out), "step(x)": lambda: fresh.step(frame)}


def onnx_step(case):
    import onnx_graphs

    graph = case.graph()
    model, written = rnnrt.from_graph(graph), onnx_graphs.step(graph)
    session, x = session_of(written), case.sample(1, FRAMES)
    names = [written.output, *(o for o in written.outputs if o != written.output)]
    back = [(names.index(f"{n}_out"), f"{n}_in") for n in written.states]

    def feed_of(frame):
        return {"x": frame.reshape(1, 1, -1)} | {
            f"{n}_in": np.zeros(shape, np.float32) for n, shape in written.states.items()
        }

    def step(feed):
        made = session.run(names, feed)
        for k, name in back:
            feed[name] = made[k]
        return made[0]

    feed, theirs = feed_of(x[0, 0]), []
    for frame in x[0]:
        feed["x"] = frame.reshape(1, 1, -1)
        theirs.append(step(feed).ravel())
    live = feed_of(x[0, 0])
    return Contest(
        step_calls(model, x[0, 0]),
        lambda: step(live),
        difference(stepped(model.stream(), x)[0], np.array(theirs)),
    )


def onnx_whole(case, batch=1, frames=FRAMES):
    import onnx_graphs

    graph = case.graph()
    model, written = rnnrt.from_graph(graph), onnx_graphs.whole(graph, batch, frames)
    session, x = session_of(written), case.sample(batch, frames)
    feed = {"x": written.arranged(x)}
    return Contest(
        {"model(x)": lambda: model(x)},
        lambda: session.run(None, feed),
        difference(model(x), written.restored(session.run(None, feed)[0])),
    )


def torch_lstm(units, batch):
    import torch

    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    case = recurrent_case(L.LSTM, units)
    graph = case.graph()
    module, held = torch.nn.LSTM(units, units), graph["lstm"]
    weights = {
        "weight_ih_l0": held.weight,
        "weight_hh_l0": held.recurrent_weight,
        "bias_ih_l0": held.bias,
        "bias_hh_l0": 0 * held.bias,
    }
    module.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in weights.items()})
    model, x = rnnrt.from_graph(graph), case.sample(batch, FRAMES)
    time_major = torch.from_numpy(np.ascontiguousarray(x.transpose(1, 0, 2)))
    return Contest(
        {"model(x)": lambda: model(x)},
        lambda: module(time_major),
        difference(model(x), module(time_major)[0].numpy().transpose(1, 0, 2)),
    )


def keras_textbook(name):
    import torch
    from train_demo import network

    torch.set_num_threads(1)
    path = ROOT / "rnnrt" / "demo" / f"{name}.keras"
    model, x = (
        rnnrt.from_keras(path),
        np.random.default_rng(0).standard_normal((1, FRAMES, 1)).astype(np.float32),
    )
    with warnings.catch_warnings(
        action="ignore"
    ):  # of the textbook's own cell, which has its weights only after a first call
        theirs = network(name)
        theirs.predict(x, verbose=0)
    theirs.load_weights(path)
    return Contest(
        {"model(x)": lambda: model(x)},
        lambda: theirs.predict(x, verbose=0),
        difference(model(x), theirs.predict(x, verbose=0)),
    )


def on_blas(case, batch=None):
    """Our own kernels beside the same plan on SciPy's BLAS: one step where ``batch`` is None, else whole
    sequences.
    """
    native = rnnrt.from_graph(case.graph())
    blas = native.with_options(backend="blas")
    x = case.sample(batch or 1, FRAMES)
    if batch is None:
        call = "step(x, out=y)"
        theirs = step_calls(blas, x[0, 0])[call]
        return Contest(
            {call: step_calls(native, x[0, 0])[call]},
            theirs,
            difference(stepped(native.stream(), x), stepped(blas.stream(), x)),
        )
    return Contest({"model(x)": lambda: native(x)}, lambda: blas(x), difference(native(x), blas(x)))


CASE = {case.name: case for case in CASES}
LSTM, GRU, RNN = L.LSTM, L.GRU, L.SimpleRNN

ROWS = [
    *[
        Row(f"{k.kind} {n}, one step", "onnxruntime", lambda k=k, n=n: onnx_step(recurrent_case(k, n)), floor)
        for k, n, floor in (
            (LSTM, 20, 20),
            (GRU, 20, 20),
            (RNN, 20, None),
            (LSTM, 128, 3),
            (GRU, 128, None),
            (LSTM, 256, None),
            (LSTM, 512, None),
        )
    ],
    *[
        Row(f"{k.kind} {n}, T=100", "onnxruntime", lambda k=k, n=n: onnx_whole(recurrent_case(k, n)), floor)
        for k, n, floor in ((LSTM, 20, None), (LSTM, 128, 1.1), (LSTM, 256, None), (GRU, 256, None))
    ],
    *[
        Row(f"lstm {n}, T=100, batch 32", "onnxruntime", lambda n=n: onnx_whole(recurrent_case(LSTM, n), 32))
        for n in (128, 256)
    ],
    *[
        Row(f"lstm {n}, T=100, batch 32", "torch", lambda n=n: torch_lstm(n, 32), floor)
        for n, floor in ((128, None), (256, 1.0))
    ],
    *[
        Row(f"textbook {n}, T=100", "keras", lambda n=n: keras_textbook(n), 100)
        for n in ("ln_rnn", "lstm", "gru", "conv_gru")
    ],
    *[
        Row(f"textbook {n}, T=100", "onnxruntime", lambda n=n: onnx_whole(CASE[f"textbook_{n}"]))
        for n in ("lstm", "gru", "conv_gru")
    ],
    Row("wavenet, T=16000", "onnxruntime", lambda: onnx_whole(wavenet(), 1, 16000)),
    Row("tcn, T=1000", "onnxruntime", lambda: onnx_whole(tcn(), 1, 1000)),
    Row("4 x conv 128, T=1000", "onnxruntime", lambda: onnx_whole(wide_convolutions(), 1, 1000)),
    *[
        Row(f"lstm {n}, {what}", "blas", lambda n=n, batch=batch: on_blas(recurrent_case(LSTM, n), batch))
        for n in (128, 256)
        for what, batch in (("one step", None), ("T=100", 1), ("T=100, batch 32", 32))
    ],
]

#: What each peer needs installed, by import name.
NEEDS = {
    "onnxruntime": ("onnxruntime", "onnx"),
    "torch": ("torch",),
    "keras": ("keras", "torch", "h5py"),
    "blas": ("scipy",),
}


def run(row: Row, seconds: float) -> list[Result]:
    """One Result for each way rnnrt is called in the row. Raises AssertionError where the two sides do not
    compute the same thing.
    """
    missing = [m for m in NEEDS[row.peer] if importlib.util.find_spec(m) is None]
    if missing:
        return [Result(row.name, "", row.peer, row.floor, f"SKIPPED: {', '.join(missing)} not installed")]
    contest = row.make()
    if not contest.error <= TOLERANCE:
        return [
            Result(
                row.name,
                "",
                row.peer,
                row.floor,
                f"{SHORT}: the answers differ by {contest.error:g}",
                error=contest.error,
            )
        ]
    calls = {**contest.ours, row.peer: contest.theirs}
    found = measure.measure(calls, max(seconds, TURNS * len(calls) * max(map(once, calls.values()))))
    spent = measure.measure({"nothing": lambda: None}, 0.02)["nothing"]
    timing = {k: Timing(t.min - spent.min, t.p50 - spent.p50, t.p99 - spent.p50) for k, t in found.items()}
    theirs, results = timing.pop(row.peer), []
    for call, ours in timing.items():
        ratio = theirs.best / ours.best
        results.append(
            Result(
                row.name,
                call,
                row.peer,
                row.floor,
                verdict(row.floor is None, row.floor is None or ratio >= row.floor),
                ours,
                theirs,
                ratio,
                theirs.p50 / ours.p50,
                contest.error,
            )
        )
    return results


def once(call):
    """Seconds of one call."""
    start = perf_counter()
    call()
    return perf_counter() - start


def verdict(informs, reached):
    return "" if informs else "PASS" if reached else SHORT


# ---- costs without a peer ----------------------------------------------------------------------------------


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
    return Cost("import rnnrt, over import numpy", cost, "ms", 30, verdict(False, cost < 30), detail)


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
    return Cost("Python's part of step(x, out=y)", cost, "µs", 0.1, verdict(False, cost <= 0.1), detail)


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


COSTS = {"import rnnrt, over import numpy": import_cost, "Python's part of step(x, out=y)": python_cost}


# ---- what is printed ---------------------------------------------------------------------------------------


def machine():
    """What the figures depend on."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    packages = ("rnnrt", "numpy", "scipy", "onnxruntime", "torch", "keras")
    versions = {p: importlib.metadata.version(p) for p in packages[1:] if importlib.util.find_spec(p)} | {
        "rnnrt": rnnrt.__version__
    }
    return {
        "cpu": cpu,
        "isa": rnnrt.show_config()["isas"][0],
        "core": min(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        **versions,
    }


def figure(value):
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


HEAD = (
    f"{'':28}{'call':17}{'peer':13}{'rnnrt best':>11}{'p50':>9}{'p99':>9}{'peer best':>11}{'p50':>9}"
    f"{'p99':>9}{'best':>8}{'p50':>8}{'error':>9}{'floor':>7}"
)


def printed(result: Result) -> str:
    if result.ours is None:
        return f"{result.name:28}{result.call:17}{result.peer:13}{result.verdict}"
    times = "".join(
        f"{figure(v):>{w}}"
        for t in (result.ours, result.theirs)
        for v, w in zip((t.best, t.p50, t.p99), (11, 9, 9))
    )
    floor = "-" if result.floor is None else f"{result.floor:g}x"
    ratios = f"{result.ratio:7.2f}x{result.ratio_p50:7.2f}x{result.error:9.0e}"
    return f"{result.name:28}{result.call:17}{result.peer:13}{times}{ratios}{floor:>7}  {result.verdict}"


def markdown(results, costs):
    """The README's latency table: medians of single calls, and their ratio."""
    lines = ["| network | call | rnnrt µs | peer | peer µs | times faster |", "|---|---|---:|---|---:|---:|"]
    for r in results:
        if r.ours:
            lines.append(
                f"| {r.name} | `{r.call}` | {figure(r.ours.p50)} | {r.peer} | {figure(r.theirs.p50)} | "
                f"{figure(r.ratio_p50)} |"
            )
    return "\n".join(lines + [""] + [f"{c.name}: {c.figure:.3g} {c.unit}." for c in costs])


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--only",
        metavar="PATTERN",
        default="*",
        help="rows whose name or peer matches this shell pattern, or holds it",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=1.5,
        help="measuring time per row, at least 0.5 (default %(default)s)",
    )
    parser.add_argument("--json", metavar="FILE", help="write every figure there too")
    parser.add_argument("--markdown", action="store_true", help="print the README's table at the end")
    options = parser.parse_args()
    options.seconds = max(options.seconds, 0.5)  # below, a contender would not get its seven turns
    return options


def main():
    options = arguments()

    def wanted(*words):
        return any(fnmatch.fnmatch(w, p) for w in words for p in (options.only, f"*{options.only}*"))

    about = machine() | {"load_before": round(os.getloadavg()[0], 2)}
    print(", ".join(f"{k} {v}" for k, v in about.items()), HEAD, sep="\n\n", flush=True)
    results, costs = [], []
    for row in (r for r in ROWS if wanted(r.name, r.peer)):
        for result in run(row, options.seconds):
            results.append(result)
            print(printed(result), flush=True)
    for cost in (c for name, c in COSTS.items() if wanted(name)):
        made = cost(options.seconds)
        costs.append(made)
        print(
            f"{made.name:45}{made.figure:.3f} {made.unit}, at most {made.limit:g}  {made.verdict}   "
            f"({made.detail})",
            flush=True,
        )
    about["load_after"] = round(os.getloadavg()[0], 2)
    print(f"\nµs per call; load {about['load_before']} before, {about['load_after']} after")
    if options.markdown:
        print("\n" + markdown(results, costs))
    if options.json:
        Path(options.json).write_text(
            json.dumps(
                {"machine": about, "rows": [asdict(r) for r in results], "costs": [asdict(c) for c in costs]},
                indent=1,
            )
            + "\n"
        )
    return int(any(r.verdict.startswith(SHORT) for r in [*results, *costs]))


if __name__ == "__main__":
    sys.exit(main())
