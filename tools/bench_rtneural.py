"""Small recurrent networks of amplifiers on rnnrt beside RTNeural compiled for their size, from C, one pinned
thread:

    python tools/bench_rtneural.py --checkout CHECKOUT [--xsimd INCLUDES] [--units 16 20 40] [--march native]

CHECKOUT is RTNeural's public source (github.com/jatinchowdhury18/RTNeural, with its Eigen), INCLUDES the
folder that holds xsimd/xsimd.hpp. RTNeural is compiled for this processor with -Ofast, once for each of its
backends, and its sizes are known to the compiler; rnnrt reads them from a file. The code of both for AVX2:
RNNRT_ISA=avx2 and --march haswell. Both compute tanh and sigmoid
exactly. A ratio above 1: rnnrt is that much faster than the fastest backend.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import rnnrt

HERE = Path(__file__).resolve().parent
FRAMES = (16, 1)  # of a push, and of a step
BLOCKS = 20_000
DIFFERENCE = 1e-5


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkout", type=Path, required=True)
    parser.add_argument("--xsimd", type=Path)
    parser.add_argument("--march", default="native", help="what RTNeural is compiled for")
    parser.add_argument("--units", type=int, nargs="+", default=[16, 20, 40])
    arguments = parser.parse_args()
    backends = {"STL": [], "EIGEN": ["-isystem", f"{arguments.checkout}/modules/Eigen"]}
    if arguments.xsimd:
        backends["XSIMD"] = ["-isystem", f"{arguments.xsimd}"]
    print("| LSTM | frames | backend | best | median | p99.9 | apart |")
    print("|--:|--:|---|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as place:
        for units in arguments.units:
            network, plain = Path(place, "network.json"), Path(place, "network.rnnrt")
            network.write_text(json.dumps(lstm_and_dense(units)))
            rnnrt.from_rtneural(network).save(plain)
            programs = {b: build(arguments, b, own, units, Path(place)) for b, own in backends.items()}
            for frames in FRAMES:
                print(row(programs, network, plain, units, frames), flush=True)


def lstm_and_dense(units):
    """The network as RTNeural's JSON says it."""
    draw = np.random.default_rng(units)

    def some(*shape):
        return draw.normal(0, 1 / np.sqrt(units), shape).astype(np.float32).tolist()

    gates = [some(1, 4 * units), some(units, 4 * units), some(4 * units)]
    return {
        "in_shape": [None, None, 1],
        "layers": [
            {"type": "lstm", "activation": "", "shape": [None, None, units], "weights": gates},
            {
                "type": "dense",
                "activation": "",
                "shape": [None, None, 1],
                "weights": [some(units, 1), some(1)],
            },
        ],
    }


def row(programs, network, plain, units, frames):
    """The row of the backend whose median is best."""
    found = {b: measured(program, network, plain, frames) for b, program in programs.items()}
    best = min(found, key=lambda b: found[b][4] / found[b][1])
    times = found[best]
    ratios = " | ".join(
        f"{b:.3f} / {a:.3f} = {b / a:.2f}" for a, b in zip(times[:3], times[3:6], strict=True)
    )
    return f"| {units} | {frames} | {best} | {ratios} | {times[6]:.1g} |"


def measured(program, network, plain, frames):
    """Best, median and p99.9 of rnnrt, the same of RTNeural, and how far apart the answers are."""
    pinned = ["taskset", "-c", str(max(os.sched_getaffinity(0)))]
    command = [*pinned, program, network, plain, str(frames), str(BLOCKS)]
    apart, *times = map(
        float, subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    )
    if not apart <= DIFFERENCE:
        sys.exit(f"{program}: the answers are {apart:.2g} apart")
    return [*times, apart]


def build(arguments, backend, include, units, place):
    """The program of bench_rtneural.cpp for one size and backend."""
    program = place / f"{backend}_{units}"
    flags = [
        "-std=c++17",
        "-Ofast",
        f"-march={arguments.march}",
        "-w",
        "-DNDEBUG",
        f"-DUNITS={units}",
        f"-DRTNEURAL_USE_{backend}=1",
    ]
    aligned = 32 if backend == "EIGEN" else 64  # it knows no 64
    flags += [
        f"-DRTNEURAL_DEFAULT_ALIGNMENT={aligned}",
        f"-I{arguments.checkout}",
        *include,
        f"-I{rnnrt.get_include()}",
    ]
    source, library = HERE / "bench_rtneural.cpp", rnnrt.get_library()
    compiler = os.environ.get("CXX", "g++")
    subprocess.run([compiler, *flags, source, library, "-lm", "-o", program], check=True)
    return program


if __name__ == "__main__":
    main()
