"""The core that a benchmark runs on. Imports nothing that reads how many threads there are to be."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORES = "RNNRT_BENCH_CORES"
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "KERAS_BACKEND": "torch",
}


def pin():
    """Start this program again on one core and one thread, if that is not done; thread pools and OpenBLAS
    look when they are loaded, so this comes before the first import of NumPy. The checkout's rnnrt, and the
    cases of its tests, can be imported from then on.
    """
    if CORES not in os.environ:
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[-1:])
        environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"} | ENVIRONMENT
        os.execve(sys.executable, sys.orig_argv, environment | {CORES: ",".join(map(str, cores))})
    sys.path[:0] = [str(ROOT), str(ROOT / "tests/support")]


def cores():
    """The cores there were before."""
    return {int(core) for core in os.environ[CORES].split(",")}
