"""The work that tools/bench_peers.py times: networks and what they are given."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from case_layers import conv, dense, one, stack
from cases import CASES, Case

import rnnrt
from rnnrt import layers as L

ROOT = Path(__file__).resolve().parent.parent
FRAMES = 100  # of a whole sequence, and of the streams whose answers are compared
CASE = {case.name: case for case in CASES}


@dataclass(frozen=True)
class Work:
    """Whole sequences, (``batch``, ``frames``, features), through the network of ``case``, with the weights
    of the .keras ``file`` where there is one; or, where ``batch`` is None, one frame after the other into a
    live stream. On so many ``threads``.
    """

    case: Case
    batch: int | None = 1
    frames: int = FRAMES
    threads: int = 1
    file: Path | None = None

    @property
    def steps(self):
        return self.batch is None

    def graph(self):
        return rnnrt.from_keras(self.file).graph if self.file else self.case.graph()

    def sample(self):
        """(batch, frames, features), float32; of a stream the frames it begins with."""
        return self.case.sample(self.batch or 1, self.frames)


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


def convolution(features, out, taps, groups=1):
    """One causal convolution."""
    name = f"conv_{features}_{out}_{taps}_{groups}"
    return Case(
        name,
        lambda b, x, r: conv(b, x, r, out, taps, groups=groups, padding=(taps - 1, 0)),
        features=features,
    )


def separable():
    """Eight depthwise convolutions of 64 channels, each followed by one of a single tap."""
    layers = [
        lambda b, x, r: conv(b, x, r, 64, 3, groups=64, padding=(2, 0)),
        lambda b, x, r: conv(b, x, r, 64, 1, activation="relu"),
    ]
    return Case("separable", stack(*layers * 8), features=64)


def strided():
    """Four convolutions of stride 2, from 1 channel to 32, 64, 64 and 64."""
    layers = [
        lambda b, x, r, n=n: conv(b, x, r, n, 4, stride=2, padding=(1, 1), activation="relu")
        for n in (32, 64, 64, 64)
    ]
    return Case("strided", stack(*layers), features=1)


def few_outputs():
    return Case("few_outputs", lambda b, x, r: dense(b, x, r, 4), features=128)


def textbook(name):
    """A call of one of the networks that the package carries."""
    return Work(CASE[f"textbook_{name}"], file=ROOT / "rnnrt" / "demo" / f"{name}.keras")
