"""The elementary functions over every float32, on every instruction set of this processor, against float64.

    python tools/sweep.py                       all 2^32 numbers of each: about ten minutes on one core
    python tools/sweep.py --stride 4099         one number in 4099
    python tools/sweep.py tanh --isa avx2

Errors are in units in the last place (ULP) of the float32 nearest to the exact result and count where that is
a normal number; float64 NumPy stands for the exact result, being some 2^28 times finer. Exit code 1 where an
error is above what is promised of its function.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import rnnrt
from rnnrt import _engine, layers

WIDTH, CHUNK, INFINITY, SIGN = 4096, 1 << 20, 0x7F800000, 1 << 31
SMALLEST = np.finfo(np.float32).tiny


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gelu(x):
    return 0.5 * x * np.vectorize(math.erfc, otypes=[np.float64])(-x * np.sqrt(0.5))


@dataclass(frozen=True)
class Exact:
    """A function in float64, its limits at - and + infinity, whether it is odd, and whether it rises.
    ``flushed``: answers below it may be 0, for a number on the way to them is denormal. ``worst``: the
    greatest error promised, in ULP.
    """

    value: Callable
    limits: tuple[float, float]
    odd: bool = False
    rises: bool = True
    flushed: float = float(SMALLEST)
    worst: float = 4.0


#: By the name in the graph.
FUNCTIONS = {
    "tanh": Exact(np.tanh, (-1, 1), odd=True),
    "sigmoid": Exact(sigmoid, (0, 1)),
    "exponential": Exact(np.exp, (0, np.inf)),
    "erf": Exact(np.vectorize(math.erf, otypes=[np.float64]), (-1, 1), odd=True),
    "softplus": Exact(lambda x: np.logaddexp(0, x), (0, np.inf)),
    "log_sigmoid": Exact(lambda x: -np.logaddexp(0, -x), (-np.inf, 0)),
    "log": Exact(np.log, (np.nan, np.inf)),
    "sin": Exact(np.sin, (np.nan, np.nan), odd=True, rises=False),
    "cos": Exact(np.cos, (np.nan, np.nan), rises=False),
    "mish": Exact(lambda x: x * np.tanh(np.logaddexp(0, x)), (np.nan, np.inf), rises=False, flushed=1.1e-36),
    "gelu": Exact(gelu, (np.nan, np.inf), rises=False, flushed=8e-38, worst=6.0),
}


@dataclass
class Found:
    """What was seen of one function on one instruction set. ``falls`` counts neighbours of a function that
    rises in the wrong order, ``deepest`` is the worst of them in ULP. ``last``: the largest |x| of either
    sign whose result is not the limit yet."""

    worst: float = 0.0
    at: float = 0.0
    falls: int = 0
    deepest: float = 0.0
    last: tuple[float, float] = (0.0, 0.0)
    odd: bool = True
    nan: bool = True
    #: Where the exact result is not a normal number, the one found is at most the smallest normal.
    small: bool = True

    def join(self, other):
        if other.worst > self.worst:
            self.worst, self.at = other.worst, other.at
        self.falls, self.deepest = self.falls + other.falls, max(self.deepest, other.deepest)
        self.last = tuple(max(pair, key=abs) for pair in zip(self.last, other.last))
        self.odd, self.nan, self.small = (
            self.odd and other.odd,
            self.nan and other.nan,
            self.small and other.small,
        )


def network(function, isa=None):
    """A network that is one activation, of frames of WIDTH numbers."""
    b = layers.GraphBuilder()
    b.output("y", b.add(layers.Activation, "activation", b.input("x", (WIDTH,)), activation=function))
    return rnnrt.Model(b.graph(), isa=isa)


def evaluate(model, x):
    """``model`` of a flat float32 array of any length."""
    padded = np.zeros((-(-len(x) // WIDTH), WIDTH), np.float32)
    padded.reshape(-1)[: len(x)] = x
    return model(padded).reshape(-1)[: len(x)]


def exactly(function, x):
    """``function`` of float32 numbers, in float64; those that are denormal count as zeros."""
    x = np.where(np.abs(x) < SMALLEST, np.copysign(np.float32(0), x), x)
    with np.errstate(all="ignore"):
        return FUNCTIONS[function].value(x.astype(np.float64))


def ulps(y, exact, flushed=SMALLEST):
    """Error of float32 ``y`` in ULP of the float32 nearest to ``exact``; 0 where that is not a normal number
    of at least ``flushed``, infinite where only one of them is a number.
    """
    with np.errstate(over="ignore"):
        nearest = exact.astype(np.float32)
    normal = (np.abs(nearest) >= flushed) & np.isfinite(nearest) | (np.isnan(y) != np.isnan(nearest))
    with np.errstate(invalid="ignore", over="ignore"):
        found = np.where(np.isinf(y), np.copysign(2.0**128, y.astype(np.float64)), y.astype(np.float64))
        error = np.abs(found - exact) / np.spacing(np.abs(np.where(normal, nearest, np.float32(1))))
    return np.where(normal, np.where(np.isnan(error), np.inf, error), 0.0)


def measure(function, x, y, mirrored=None):
    """Found of y = function(x) for x of one sign whose magnitude grows. ``mirrored``: the results for -x."""
    own, side = FUNCTIONS[function], int(not np.signbit(x[0]))
    exact = exactly(function, x)
    error = ulps(y, exact, own.flushed)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        steps = np.diff(y) if side else -np.diff(y)
    worst, unlimited, falling = (
        int(error.argmax()),
        np.flatnonzero((y != own.limits[side]) & ~(np.isnan(y) & np.isnan(own.limits[side]))),
        np.flatnonzero((steps < 0) & own.rises),
    )
    found = Found(float(error[worst]), float(x[worst]), len(falling))
    found.deepest = max((float(-steps[k] / np.spacing(np.abs(y[k]))) for k in falling[:100]), default=0.0)
    if len(unlimited):
        found.last = (0.0, float(x[unlimited[-1]])) if side else (float(x[unlimited[-1]]), 0.0)
    found.small = bool((np.abs(y[np.abs(exact) < SMALLEST]) <= own.flushed).all())
    if own.odd and mirrored is not None:
        found.odd = bool((mirrored.view(np.uint32) == (y.view(np.uint32) ^ SIGN))[~np.isnan(y)].all())
    return found


def patterns(first, last, stride):
    """Chunks of the float32 whose bits are first, first + stride, ... up to last; neighbouring chunks share
    one number.
    """
    for start in range(first, last + 1, CHUNK * stride):
        yield (
            np.arange(start, min(start + CHUNK * stride, last) + 1, stride, dtype=np.int64)
            .astype(np.uint32)
            .view(np.float32)
        )


def sweep(function, isas, stride=1):
    """({isa: Found}, whether the vector instruction sets agreed in every bit) over every ``stride``-th
    float32.
    """
    models = {isa: network(function, isa) for isa in isas}
    totals, agree = {isa: Found() for isa in isas}, True
    for sign in (0, SIGN):
        for x in patterns(sign, sign + INFINITY, stride):
            made, seen = {isa: evaluate(model, x) for isa, model in models.items()}, {}
            for isa, y in made.items():
                key = y.tobytes()
                if key not in seen:  # what agrees in every bit is measured once
                    seen[key] = measure(
                        function, x, y, evaluate(models[isa], -x) if FUNCTIONS[function].odd else None
                    )
                totals[isa].join(seen[key])
            agree &= len({y.tobytes() for isa, y in made.items() if isa != "scalar"}) <= 1
        for x in patterns(sign + INFINITY + 1, sign + SIGN - 1, stride):
            for isa, model in models.items():
                totals[isa].nan &= bool(np.isnan(evaluate(model, x)).all())
    return totals, agree


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("functions", nargs="*", help=f"of {', '.join(FUNCTIONS)}; all by default")
    parser.add_argument(
        "--isa", action="append", choices=_engine.isas(), help="all of this processor's by default"
    )
    parser.add_argument("--stride", type=int, default=1, help="look at one number in so many")
    options = parser.parse_args(words)
    wrong = False
    print(
        f"{'function':12} {'isa':8} {'max ULP':>8} {'at':>14}  {'falls':>9} {'by ULP':>6}  odd    NaN    "
        f"small  not at its limit up to"
    )
    for function in options.functions or FUNCTIONS:
        began = time.perf_counter()
        totals, agree = sweep(function, options.isa or _engine.isas(), options.stride)
        for isa, f in totals.items():
            wrong |= f.worst > FUNCTIONS[function].worst
            marks = "  ".join(f"{m!s:5}" for m in (f.odd if FUNCTIONS[function].odd else "-", f.nan, f.small))
            print(
                f"{function:12} {isa:8} {f.worst:8.3f} {f.at:14.7g}  {f.falls:9,} {f.deepest:6.2f}  {marks}  "
                f"{f.last[0]:.9g}, {f.last[1]:.9g}"
            )
        print(
            f"{function:12} vector instruction sets agree in every bit: {agree}; "
            f"{time.perf_counter() - began:.0f} s",
            flush=True,
        )
    return wrong


if __name__ == "__main__":
    sys.exit(main())
