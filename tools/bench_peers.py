"""How fast rnnrt is beside what people run today: ratios, each from one run.

    python tools/bench_peers.py                      all rows, some five minutes
    python tools/bench_peers.py --quick              the same in less than three
    python tools/bench_peers.py --only "lstm 128*"   the rows whose name matches
    python tools/bench_peers.py --markdown --html page.html --json all.json

Float32, one thread pinned to one core (two rows: two threads on two cores). In every row rnnrt and its peers
take turns of 20 ms until each has had its --seconds, and first have to give the same answer. Times are of
single calls, in microseconds, the clock's own cost taken off. A ratio is that of the best times, which other
programs on the machine disturb least, and is to the fastest form of the fastest peer. Exit code 1 where a row
is more than 2 % below what the project asks for.

Peers, in the forms that tools/bench_rivals.py builds: onnxruntime (``session.run``; arrays bound once),
OpenVINO, LiteRT (of the files that tools/bench_tflite.py makes), torch (eager, ``inference_mode``) and, of
the textbook's networks, Keras (``predict``). rnnrt on SciPy's BLAS is beside them, and no peer.
tools/bench_peers.txt pins what they are:

    python3 -m venv .peers && .peers/bin/pip install -e . -r tools/bench_peers.txt
    .peers/bin/python tools/bench_peers.py
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
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter

import bench_core

bench_core.pin()

import bench_page
import bench_rivals
from bench_costs import COSTS, SHORT
from bench_networks import (
    Work,
    convolution,
    few_outputs,
    recurrent_case,
    separable,
    strided,
    tcn,
    textbook,
    wavenet,
    wide_convolutions,
)
from bench_page import figure
from bench_rivals import PEERS, difference, ours

import rnnrt
from rnnrt import core_limits
from rnnrt import layers as L
from rnnrt.command import measure
from rnnrt.errors import UnsupportedModelError

TOLERANCE = 1e-4
#: A call longer than a turn is made at least so often, whatever --seconds says: a busy machine spoils most.
TURNS = 8
#: A floor is met within this.
NOISE = 0.02


@dataclass(frozen=True)
class Row:
    """A line of the benchmark. ``make`` returns its Work; ``floor``: the least ratio to the best peer that is
    asked for on AVX2, ``floor_512`` where it is another one with AVX-512; None where the row only informs.
    """

    name: str
    make: object
    floor: float | None = None
    floor_512: float | None = None

    def asked(self, isa):
        return self.floor_512 if isa == "avx512" and self.floor_512 is not None else self.floor


@dataclass
class Timing:
    """Microseconds of single calls."""

    best: float
    p50: float
    p99: float
    p999: float


@dataclass
class Result:
    """What a row came to. ``limit``: microseconds that this core could do it in at best; ``ours`` {call:
    Timing}; ``peers`` {peer: {form: Timing}}; ``missing`` {peer: why}; ``error``: the furthest any peer's
    answer is from ours.
    """

    name: str
    floor: float | None
    limit: float | None = None
    ours: dict = field(default_factory=dict)
    peers: dict = field(default_factory=dict)
    missing: dict = field(default_factory=dict)
    error: float = 0.0

    def fastest(self, peer):
        """(form, Timing) of the peer's best form."""
        return min(self.peers[peer].items(), key=lambda x: x[1].best)

    @property
    def rival(self):
        """The name of the fastest peer, or None."""
        rivals = [p for p in self.peers if p != "blas"]
        return min(rivals, key=lambda p: self.fastest(p)[1].best) if rivals else None

    def ratio(self, call, peer=None):
        """How many times faster the call is than the peer, or than the fastest one; None where there is
        none.
        """
        peer = peer or self.rival
        return self.fastest(peer)[1].best / self.ours[call].best if peer else None

    def verdict(self, call):
        ratio = self.ratio(call)
        if not self.error <= TOLERANCE:
            return f"{SHORT}: the answers differ by {self.error:g}"
        if ratio is None or self.floor is None:
            return ""
        return (
            "PASS"
            if ratio >= self.floor
            else "PASS, within 2 %"
            if ratio >= (1 - NOISE) * self.floor
            else SHORT
        )

    def of_limit(self, call):
        return self.limit / self.ours[call].best if self.limit else None

    def as_dict(self):
        calls = {
            call: {"ratio": self.ratio(call), "of_limit": self.of_limit(call), "verdict": self.verdict(call)}
            for call in self.ours
        }
        return asdict(self) | {"rival": self.rival, "calls": calls}


LSTM, GRU, RNN = L.LSTM, L.GRU, L.SimpleRNN


def step(kind, units):
    return lambda: Work(recurrent_case(kind, units), None)


def whole(kind, units, batch=1, threads=1):
    return lambda: Work(recurrent_case(kind, units), batch, threads=threads)


def network(case, frames):
    return lambda: Work(case(), 1, frames)


ROWS = [
    Row("lstm 20, one step", step(LSTM, 20), 10),
    Row("lstm 64, one step", step(LSTM, 64), 4),
    Row("lstm 128, one step", step(LSTM, 128), 2.3),
    Row("lstm 256, one step", step(LSTM, 256), 1.6),
    Row("lstm 512, one step", step(LSTM, 512), 1.4),
    Row("lstm 1024, one step", step(LSTM, 1024), 1.2),
    Row("gru 20, one step", step(GRU, 20), 21),
    Row("gru 128, one step", step(GRU, 128), 3.1),
    Row("gru 256, one step", step(GRU, 256), 1.75),
    Row("rnn 20, one step", step(RNN, 20)),
    Row("lstm 20, T=100", whole(LSTM, 20), 2.2),
    Row("lstm 128, T=100", whole(LSTM, 128), 1.3),
    Row("lstm 256, T=100", whole(LSTM, 256), 1.23),
    Row("lstm 512, T=100", whole(LSTM, 512), 1.12),
    Row("gru 256, T=100", whole(GRU, 256), 1.27),
    Row("lstm 128, T=100, batch 2", whole(LSTM, 128, 2), 1.0),
    Row("lstm 128, T=100, batch 3", whole(LSTM, 128, 3), 1.0),
    Row("lstm 128, T=100, batch 5", whole(LSTM, 128, 5), 1.0),
    Row("lstm 128, T=100, batch 8", whole(LSTM, 128, 8), 1.06),
    Row("lstm 128, T=100, batch 32", whole(LSTM, 128, 32), 1.03, 1.15),
    Row("lstm 256, T=100, batch 32", whole(LSTM, 256, 32), 1.0, 1.1),
    Row("lstm 512, T=100, batch 32", whole(LSTM, 512, 32), 1.0, 1.05),
    Row("gru 256, T=100, batch 32", whole(GRU, 256, 32), 1.1),
    Row("textbook ln_rnn, T=100", lambda: textbook("ln_rnn"), 100),
    Row("textbook lstm, T=100", lambda: textbook("lstm"), 2.1),
    Row("textbook gru, T=100", lambda: textbook("gru")),
    Row("textbook conv_gru, T=100", lambda: textbook("conv_gru"), 3),
    *[
        Row(f"conv 64, {g} groups, T=1000", network(lambda g=g: convolution(64, 64, 3, g), 1000), 1.0)
        for g in (1, 8, 16, 32)
    ],
    Row("conv 1 to 64, k16, T=1000", network(lambda: convolution(1, 64, 16), 1000), 1.05),
    Row("conv 1 to 64, k64, T=1000", network(lambda: convolution(1, 64, 64), 1000), 0.93),
    Row("wavenet, T=16000", network(wavenet, 16000), 1.05),
    Row("tcn, T=1000", network(tcn, 1000), 1.05),
    Row("4 x conv 128, T=1000", network(wide_convolutions, 1000), 1.05),
    Row("separable, T=1000", network(separable, 1000), 0.95),
    Row("strided, T=4096", network(strided, 4096), 0.95),
    Row("dense 128 to 4, T=1000", network(few_outputs, 1000), 1.1),
    Row("lstm 256, T=100, 2 threads", whole(LSTM, 256, threads=2), 1.1),
    Row("lstm 512, T=100, 2 threads", whole(LSTM, 512, threads=2), 1.0),
]


def run(row: Row, isa: str, seconds: float) -> Result:
    work = row.make()
    result = Result(row.name, row.asked(isa))
    forms, calls = ours(work), {}
    for call, form in forms.items():
        calls["", call] = form.call
    answer = next(iter(forms.values())).answer
    for peer, (build, needs) in PEERS.items():
        if peer == "keras" and not work.file:
            continue
        lacking = [name for name in needs if importlib.util.find_spec(name) is None]
        if lacking:
            result.missing[peer] = f"{', '.join(lacking)} not installed"
            continue
        try:
            built = build(work)
        except UnsupportedModelError as error:  # of the writer of ONNX graphs
            result.missing[peer] = str(error)
            continue
        for name, form in built.items():
            result.error = max(result.error, difference(answer, form.answer))
            calls[peer, name] = form.call
    for form in forms.values():
        result.error = max(result.error, difference(answer, form.answer))
    longest = max(seconds, TURNS * max(map(once, calls.values())))
    found = measure.measure(calls, longest * len(calls))
    spent = measure.measure({"nothing": lambda: None}, 0.02)["nothing"]
    for (peer, name), t in found.items():
        timing = Timing(t.min - spent.min, t.p50 - spent.p50, t.p99 - spent.p50, t.p999 - spent.p50)
        (result.peers.setdefault(peer, {}) if peer else result.ours)[name] = timing
    result.limit = limit(work)
    return result


def once(call):
    """Seconds of one call."""
    start = perf_counter()
    call()
    return perf_counter() - start


def limit(work):
    """Microseconds that the layers' products and what they read and write take at the core's best."""
    if work.threads > 1:
        return None
    model, x = rnnrt.from_graph(work.graph()), work.sample()
    profile = model.profile(x[0] if work.steps else x, steps=work.steps, seconds=0.05)
    return sum(layer.limit for layer in profile.layers) * 1e6


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
    packages = ("numpy", "scipy", "onnxruntime", "openvino", "ai_edge_litert", "torch", "keras")
    versions = {p: importlib.metadata.version(p) for p in packages if importlib.util.find_spec(p)}
    return {
        "cpu": cpu,
        "isa": os.environ.get("RNNRT_ISA") or rnnrt.show_config()["isas"][0],
        "core": min(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "rnnrt": rnnrt.__version__,
        **versions,
    }


COLUMNS = (("best", 9), ("p50", 9), ("p99", 9))
HEAD = (
    f"{'':28}{'call':16}"
    + "".join(f"{name:>{w}}" for name, w in COLUMNS)
    + f"{'limit':>7}  {'fastest peer':20}"
    + "".join(f"{name:>{w}}" for name, w in COLUMNS)
    + f"{'times':>8}{'error':>8}{'floor':>7}"
)


def printed(result: Result) -> list[str]:
    """A line for each way rnnrt is called."""
    lines = []
    for call, timing in result.ours.items():
        times = lambda t: "".join(f"{figure(getattr(t, name)):>{w}}" for name, w in COLUMNS)
        share = result.of_limit(call)
        line = f"{result.name:28}{call:16}{times(timing)}{f'{share:.0%}' if share else '':>7}  "
        if result.rival:
            form, theirs = result.fastest(result.rival)
            floor = "-" if result.floor is None else f"{result.floor:g}"
            line += f"{result.rival + ' ' + form:20}{times(theirs)}{result.ratio(call):8.2f}"
            line += f"{result.error:8.0e}{floor:>7}"
        lines.append(f"{line}  {result.verdict(call)}".rstrip())
    return lines


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--only",
        metavar="PATTERN",
        default="*",
        help="rows whose name matches this shell pattern, or holds it",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=0.7,
        help="measuring time for each contender of a row (default %(default)s)",
    )
    parser.add_argument("--quick", action="store_true", help="less than three minutes: --seconds 0.2")
    parser.add_argument("--json", metavar="FILE", help="write every figure there too")
    parser.add_argument("--html", metavar="FILE", help="write a page that stands alone")
    parser.add_argument("--markdown", action="store_true", help="print the README's table at the end")
    parser.add_argument("--tflite", metavar="FOLDER", type=Path, help="what tools/bench_tflite.py made")
    options = parser.parse_args()
    bench_rivals.tflite_folder = options.tflite
    if options.quick:
        options.seconds = 0.2
    return options


def main():
    options = arguments()

    def wanted(name):
        return any(fnmatch.fnmatch(name, p) for p in (options.only, f"*{options.only}*"))

    cores = bench_core.cores()
    about, pinned = machine() | {"load_before": round(os.getloadavg()[0], 2)}, os.sched_getaffinity(0)
    core = core_limits.core()
    said = ", ".join(f"{k} {v}" for k, v in about.items())
    print(said, core, HEAD, sep="\n\n", flush=True)
    about["limits"] = core.as_dict()
    results, costs, lacking = [], [], {}
    for row in (r for r in ROWS if wanted(r.name)):
        if "threads" in row.name:
            if len(cores) < 2:
                print(f"{row.name:28}not run: one core")
                continue
            os.sched_setaffinity(0, cores)
        result = run(row, about["isa"], options.seconds)
        os.sched_setaffinity(0, pinned)
        results.append(result)
        lacking |= result.missing
        print(*printed(result), sep="\n", flush=True)
    for name in (n for n in COSTS if wanted(n)):
        made = COSTS[name](max(options.seconds, 0.5))
        costs.append(made)
        print(
            f"{made.name:45}{made.figure:.3f} {made.unit}, at most {made.limit:g}  {made.verdict}   "
            f"({made.detail})",
            flush=True,
        )
    about["load_after"] = round(os.getloadavg()[0], 2)
    print(f"\nµs per call; load {about['load_before']} before, {about['load_after']} after")
    for peer in [p for p in PEERS if lacking.get(p, "").endswith("not installed")]:
        print(f"not compared with {peer}: {lacking[peer]}")
    if options.markdown:
        print("\n" + bench_page.markdown(results, costs))
    if options.html:
        Path(options.html).write_text(bench_page.html(about, core, results, costs))
    if options.json:
        rows = [r.as_dict() for r in results]
        made = {"machine": about, "rows": rows, "costs": [asdict(c) | {"verdict": c.verdict} for c in costs]}
        Path(options.json).write_text(json.dumps(made, indent=1) + "\n")
    verdicts = [r.verdict(call) for r in results for call in r.ours] + [c.verdict for c in costs]
    return int(any(v.startswith(SHORT) for v in verdicts))


if __name__ == "__main__":
    sys.exit(main())
