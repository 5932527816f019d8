"""Captures of amplifiers on rnnrt beside NeuralAmpModelerCore, block by block from C, one pinned thread:

    python tools/bench_nam.py --core CHECKOUT --eigen INCLUDES a.nam b.nam

CHECKOUT is the player's public source (github.com/sdatkinson/NeuralAmpModelerCore), INCLUDES the folder that
holds Eigen/Dense. The player is compiled for this processor with -Ofast and takes float samples; both compute
tanh and sigmoid exactly. A ratio above 1: rnnrt is that much faster.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import rnnrt

HERE = Path(__file__).resolve().parent
BLOCKS = (64, 256)
SAMPLES = 480_000  # 10 s
DIFFERENCE = 1e-4  # most that two answers to a signal of about 0.1 may be apart


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--core", type=Path, required=True)
    parser.add_argument("--eigen", type=Path, required=True)
    parser.add_argument("captures", nargs="+", type=Path, metavar="CAPTURE.nam")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        program = build(arguments.core, arguments.eigen, Path(folder))
        print("| capture | block | x real time | best | median | p99.9 | apart |")
        print("|---|--:|--:|--:|--:|--:|--:|")
        for capture in arguments.captures:
            model = rnnrt.from_nam(capture)
            plain = Path(folder, "capture.rnnrt")
            model.save(plain)
            rate = model.metadata.get("sample_rate", 48_000)
            for block in BLOCKS:
                print(row(program, capture, plain, block, rate), flush=True)


def row(program, capture, plain, block, rate):
    pinned = ["taskset", "-c", str(max(os.sched_getaffinity(0)))]
    command = [*pinned, program, capture, plain, str(block), str(SAMPLES // block)]
    line = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    apart, *times = map(float, line)
    if not apart <= DIFFERENCE:
        sys.exit(f"{capture}: the answers are {apart:.2g} apart")
    ours, theirs = times[:3], times[3:]
    ratios = " | ".join(f"{b:.1f} / {a:.1f} = {b / a:.2f}" for a, b in zip(ours, theirs, strict=True))
    return f"| {capture.name} | {block} | {block / rate * 1e6 / ours[0]:.1f} | {ratios} | {apart:.1g} |"


def build(core, eigen, folder):
    """The program of bench_nam.cpp with the player's source in it."""
    compiler = os.environ.get("CXX", "g++")
    flags = [
        "-std=c++20",
        "-Ofast",
        "-march=native",
        "-DNDEBUG",
        "-DNAM_SAMPLE_FLOAT",
        "-DNAM_ENABLE_A2_FAST",
    ]
    flags += [f"-I{core}", f"-I{core}/NAM", f"-I{core}/Dependencies/nlohmann", "-isystem", f"{eigen}"]
    flags += [f"-I{rnnrt.get_include()}"]
    sources = [*sorted(core.glob("NAM/**/*.cpp")), HERE / "bench_nam.cpp"]

    def compiled(source):
        target = folder / f"{sources.index(source)}.o"
        subprocess.run([compiler, *flags, "-c", source, "-o", target], check=True)
        return target

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compiled, sources))
    program = folder / "bench_nam"
    subprocess.run([compiler, *objects, rnnrt.get_library(), "-lm", "-o", program], check=True)
    return program


if __name__ == "__main__":
    main()
