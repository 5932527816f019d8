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
import fnmatch
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
from dataclasses import asdict, dataclass
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

from bench_contests import (
    convolution,
    few_outputs,
    keras_textbook,
    on_blas,
    onnx_step,
    onnx_whole,
    recurrent_case,
    separable,
    strided,
    tcn,
    torch_lstm,
    wavenet,
    wide_convolutions,
)
from bench_costs import COSTS, SHORT
from cases import CASES

import rnnrt
from rnnrt import core_limits
from rnnrt import layers as L
from rnnrt.command import measure

TOLERANCE = 1e-4
#: A call longer than a turn is made at least so often, whatever --seconds says: a busy machine spoils most.
TURNS = 25


@dataclass(frozen=True)
class Timing:
    """Microseconds of single calls."""

    best: float
    p50: float
    p99: float


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
    *[
        Row(name, "onnxruntime", lambda make=make, frames=frames: onnx_whole(make(), 1, frames), floor)
        for name, frames, make, floor in (
            ("wavenet, T=16000", 16000, wavenet, 1.05),
            ("tcn, T=1000", 1000, tcn, 1.05),
            ("4 x conv 128, T=1000", 1000, wide_convolutions, 1.05),
            *[
                (f"conv 64, {g} groups, T=1000", 1000, lambda g=g: convolution(64, 64, 3, g), 1.0)
                for g in (1, 8, 16, 32)
            ],
            ("conv 1 to 64, k16, T=1000", 1000, lambda: convolution(1, 64, 16), 1.05),
            ("conv 1 to 64, k64, T=1000", 1000, lambda: convolution(1, 64, 64), 0.93),
            ("separable, T=1000", 1000, separable, 0.95),
            ("strided, T=4096", 4096, strided, 0.95),
            ("dense 128 to 4, T=1000", 1000, few_outputs, 1.1),
        )
    ],
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
    core = core_limits.core()
    said = ", ".join(f"{k} {v}" for k, v in about.items())
    print(said, core, HEAD, sep="\n\n", flush=True)
    about["limits"] = core.as_dict()
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
                {
                    "machine": about,
                    "rows": [asdict(r) for r in results],
                    "costs": [asdict(c) | {"verdict": c.verdict} for c in costs],
                },
                indent=1,
            )
            + "\n"
        )
    return int(any(r.verdict.startswith(SHORT) for r in [*results, *costs]))


if __name__ == "__main__":
    sys.exit(main())
