"""Many live streams: what ``step_many`` costs beside other ways to step as many rows, and how many streams of
Silero VAD one core carries at real time.

    python tools/bench_streams.py                   all figures, about a minute
    python tools/bench_streams.py --only "*LSTM*"
    RNNRT_ISA=avx2 python tools/bench_streams.py    on that instruction set

One thread, float32, pinned to one core; the ways take turns, and have to give the same answers first. Times
are those of the processor, not of the clock on the wall: some calls take longer than a busy machine lets one
program run at a time. Ratios are those of the best times. Silero VAD is measured where models/ has it
(tools/fetch_models.py silero_vad.onnx), with onnxruntime beside it where that is installed. Exit code 1 where
a figure falls short of what the project asks for.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import sys
from functools import partial
from itertools import repeat
from pathlib import Path
from statistics import median
from time import thread_time_ns

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests/support")]  # the checkout's rnnrt, and its cases

from bench_costs import SHORT, Cost
from bench_networks import recurrent_case
from case_layers import conv, recurrent, stack
from cases import Case

import rnnrt
from rnnrt import core_limits
from rnnrt import layers as L

SILERO = ROOT / "models" / "silero_vad.onnx"
FRAME_MS = 32
#: Nanoseconds that calls are made for between two looks at the time, and looks at each way at least.
PIECE, LEAST = 2_000_000, 7


def _times(calls, seconds):
    """{name: (best, median) microseconds of a call}; the ways take turns for about ``seconds`` in all."""
    each, found, spent = {}, {name: [] for name in calls}, 0
    for name, call in calls.items():
        call()
        start = thread_time_ns()
        call()
        each[name] = max(1, PIECE // max(1, thread_time_ns() - start))
    while spent < seconds * 1e9 or len(found[name]) < LEAST:
        for name, call in calls.items():
            start = thread_time_ns()
            for _ in repeat(None, each[name]):
                call()
            took = thread_time_ns() - start
            spent += took
            found[name].append(took / each[name] / 1000)
    return {name: (min(times), median(times)) for name, times in found.items()}


def _frames(rows, features):
    return np.random.default_rng(0).uniform(-1, 1, (rows, features)).astype(np.float32)


def _stepped(model, x):
    """Calls that step as many rows as x has, at positions of their own, each into an array of its own, whose
    answers have been compared: {"step_many": streams of one row, "steps": one by one, "batch": one stream}.
    """
    rows = len(x)
    many, single = [model.stream() for _ in range(rows)], [model.stream() for _ in range(rows)]
    batch, answers = model.stream(rows), {}
    for row in range(rows):
        for k in range(row % 7):  # they began at different times
            many[row].step(x[row])
            single[row].step(x[row])
    for name in ("step_many", "steps", "batch"):
        answers[name] = np.zeros_like(batch.step(x))
    pairs = list(zip(single, x, answers["steps"]))

    def steps():
        for stream, frame, y in pairs:
            stream.step(frame, out=y)

    calls = {
        "step_many": lambda: model.step_many(many, x, out=answers["step_many"]),
        "steps": steps,
        "batch": lambda: batch.step(x, out=answers["batch"]),
    }
    calls["step_many"](), calls["steps"]()
    assert (answers["step_many"] == answers["steps"]).all(), "step_many answers otherwise than step"
    return calls


def _products(model):
    """Multiply-adds of one frame of a row."""
    graph = model.graph
    return sum(x.work(*(graph.signals[value] for value in x.inputs))[0] for x in graph.layers)


def _ratio(name, make, rows, beside, limit):
    """The cost of step_many over that of the way ``beside``."""

    def cost(seconds):
        model = rnnrt.from_graph(make().graph())
        calls = _stepped(model, _frames(rows, *model.graph["x"].features))
        found = _times({way: calls[way] for way in ("step_many", beside)}, seconds)
        ours, theirs = found["step_many"], found[beside]
        alone = rows * _products(model) / core_limits.core(model.isa).products / 1000
        detail = (
            f"{ours[0]:.1f} and {theirs[0]:.1f} µs on {model.isa}, medians {ours[1]:.1f} and "
            f"{theirs[1]:.1f}; the multiply-adds alone would take {alone / theirs[0]:.2f}"
        )
        return Cost(name, ours[0] / theirs[0], "x", limit, detail)

    return cost


def _two_grus():
    layer = partial(recurrent, kind=L.GRU, units=64)
    return Case("gru_64_twice", stack(layer, layer), features=64)


def _wavenet():
    """Six dilated convolutions of 8 channels, of two taps each."""
    dilations = (1, 2, 4, 8, 16, 32)
    layers = [partial(conv, out=8, taps=2, dilation=d, padding=(d, 0), activation="tanh") for d in dilations]
    return Case("wavenet_8", stack(*layers), features=8)


def _wavenet_step(seconds):
    rows, model = 1000, rnnrt.from_graph(_wavenet().graph())
    calls = _stepped(model, _frames(rows, 8))
    found = _times({way: calls[way] for way in ("step_many", "batch")}, seconds)
    ours, batch = found["step_many"], found["batch"]
    detail = f"median {ours[1] / rows:.3f}; one stream of {rows} rows {batch[0] / rows:.3f} µs"
    return Cost("1000 of a WaveNet, a step of one", ours[0] / rows, "µs", 1.0, detail)


def _silero(way, limit):
    """Microseconds of this core for a frame of 32 ms of one stream, by the median."""

    def cost(seconds):
        name = f"Silero VAD, a frame, {way}"
        if not SILERO.exists():
            return f"{name}: not run, python tools/fetch_models.py silero_vad.onnx fetches it"
        given = {"constants": {"sr": 16000}, "shapes": {"input": (None, 576)}}
        model = rnnrt.from_onnx(SILERO, state={"state": "stateN"}, **given)
        rows = 1 if way == "alone" else 1600
        x, y = _frames(rows, 576), np.empty((rows, 1), np.float32)
        streams = [model.stream() for _ in range(rows)]
        if way == "alone":
            calls = {"rnnrt": lambda: streams[0].step(x[0], out=y[0])}
        else:
            calls = {"rnnrt": lambda: model.step_many(streams, x, out=y)}
        found = _times(calls | _silero_peer(x, y, calls["rnnrt"]), seconds)
        each = {who: (best / rows, middle / rows) for who, (best, middle) in found.items()}
        told = [f"{who} {t[1]:.1f} µs, {FRAME_MS * 1000 / t[1]:.0f} streams" for who, t in each.items()]
        detail = f"at real time by medians: {'; '.join(told)}; best {each['rnnrt'][0]:.1f} µs on {model.isa}"
        return Cost(name, each["rnnrt"][1], "µs", limit, detail)

    return cost


def _silero_peer(x, y, ours):
    """{"onnxruntime": the same frames}, where it is installed and answers alike."""
    try:
        import onnxruntime
    except ImportError:
        return {}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(SILERO), options, providers=["CPUExecutionProvider"])
    feed = {"input": x, "state": np.zeros((2, len(x), 128), np.float32), "sr": np.array(16000)}
    ours()
    assert np.abs(session.run(None, feed)[0] - y).max() < 1e-4, "onnxruntime answers otherwise"

    def step():
        feed["state"] = session.run(None, feed)[1]

    return {"onnxruntime": step}


def _units(units):
    return lambda: recurrent_case(L.LSTM, units)


_RATIOS = [
    ("200 of GRU(64) x 2 beside one of 200 rows", _two_grus, 200, "batch", 1.3),
    ("32 of LSTM 128 beside 32 steps", _units(128), 32, "steps", 0.58),
    ("32 of LSTM 512 beside 32 steps", _units(512), 32, "steps", 0.48),
    ("32 of LSTM 2048 beside 32 steps", _units(2048), 32, "steps", 0.2),
]
COSTS = {
    **{name: _ratio(name, *more) for name, *more in _RATIOS},
    "1000 of a WaveNet, a step of one": _wavenet_step,
    "Silero VAD, a frame, alone": _silero("alone", FRAME_MS * 1000 / 950),
    "Silero VAD, a frame, by step_many": _silero("by step_many", FRAME_MS * 1000 / 1600),
}


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", metavar="PATTERN", default="*", help="figures whose name matches")
    parser.add_argument("--seconds", type=float, default=3, help="for each figure (default %(default)s)")
    options = parser.parse_args(words)
    print(core_limits.core(), f"load {os.getloadavg()[0]:.1f}", sep="; ", flush=True)
    short = 0
    for name in fnmatch.filter(COSTS, options.only):
        made = COSTS[name](options.seconds)
        if isinstance(made, str):  # what it needs is not here
            print(made, flush=True)
            continue
        short += made.verdict == SHORT
        print(f"{made.name:44}{made.figure:8.3f} {made.unit}, at most {made.limit:.3g}  {made.verdict}")
        print(f"    {made.detail}", flush=True)
    return int(short > 0)


if __name__ == "__main__":
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    sys.exit(main())
