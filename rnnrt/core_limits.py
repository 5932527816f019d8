"""The limits of one core: how many operations it can do, and how fast numbers come from each cache."""

from __future__ import annotations

import os
from pathlib import Path
from time import perf_counter_ns
from typing import TYPE_CHECKING

import numpy as np

from . import _engine
from .errors import UnsupportedModelError
from .layers.record import Value

if TYPE_CHECKING:
    from .annotations import record
else:
    from .layers.record import record

#: Where Linux says how large the caches are.
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
#: Bytes of the caches of a core where the system does not say.
USUAL = (32 << 10, 512 << 10, 8 << 20)
#: Nanoseconds that one look at the clock is about: short enough that most are not interrupted.
PIECE = 100_000
#: Most bytes read to find out about memory.
MOST = 256 << 20


@record
class Level(Value):
    """A cache or the memory. ``size`` in bytes, None of memory; ``bandwidth`` in GB/s, as one core reads
    float32 numbers for multiply-adds.
    """

    name: str
    size: int | None
    bandwidth: float


@record
class Core(Value):
    """What one core does at best: ``products`` in 10^9 multiply-adds a second on the instruction set
    ``isa``; ``levels`` from the first cache to memory.
    """

    isa: str
    products: float
    levels: tuple[Level, ...]

    def level_of(self, size: float) -> Level:
        """The first level that holds ``size`` bytes."""
        return next(x for x in self.levels if x.size is None or x.size >= size)

    def as_dict(self) -> dict[str, object]:
        """As plain JSON values: "gflops" counts a multiply-add as two."""
        levels = [{"name": x.name, "bytes": x.size, "gb_per_s": round(x.bandwidth, 1)} for x in self.levels]
        return {"isa": self.isa, "gflops": round(2 * self.products, 1), "levels": levels}

    def __str__(self) -> str:
        levels = ", ".join(f"{x.name} {x.bandwidth:.0f}" for x in self.levels)
        return f"this core ({self.isa}): {2 * self.products:.0f} GFLOP/s; GB/s: {levels}"


def cache_sizes() -> list[int]:
    """Bytes of the data caches that a core sees, from the first to the last."""
    found: dict[int, int] = {}
    for folder in sorted(CACHES.glob("index*")):
        try:
            level, kind, size = ((folder / name).read_text().strip() for name in ("level", "type", "size"))
            if kind != "Instruction":
                found[int(level)] = int(size.rstrip("KMG")) << {"K": 10, "M": 20, "G": 30}.get(size[-1:], 0)
        except (OSError, ValueError):
            continue
    sizes = [found[level] for level in sorted(found)]
    return sizes if sizes and sizes == sorted(sizes) and sizes[0] > 0 else list(USUAL)


_measured: dict[str, Core] = {}


def core(isa: str | None = None) -> Core:
    """This core, measured once a process. ``isa``: as Model.isa names it, "blas" too; None for that which
    models run on unless they say otherwise.
    """
    if isa is None or isa == "blas":
        isa = os.environ.get("RNNRT_ISA") or _engine.isas()[0]
    if isa not in _measured:
        _measured[isa] = measured(isa, 0.25)
    return _measured[isa]


def measured(isa: str, seconds: float) -> Core:
    """The same, measured now for about ``seconds``. Raises UnsupportedModelError."""
    if isa not in _engine.isas():
        raise UnsupportedModelError(
            "this instruction set is unknown, or this processor lacks it",
            expected=f"one of {_engine.isas()}",
            found=repr(isa),
        )
    sizes = cache_sizes()
    # half of a cache of the core's own; a quarter of the last one, which others use too; far more than that
    reads = [size // (2 if k + 1 < len(sizes) else 4) for k, size in enumerate(sizes)]
    reads.append(min(max(4 * sizes[-1], 64 << 20), MOST))
    share = seconds / (len(reads) + 1)
    products = _best(lambda times: _engine.core_products(times, isa), share)
    numbers = np.ones(reads[-1] // 4, np.float32)
    levels = []
    for k, size in enumerate(reads):
        part = numbers[: size // 4]
        speed = _best(lambda times, part=part: _engine.core_reads(part, times, isa), share)
        last = k == len(sizes)
        levels.append(Level("memory" if last else f"L{k + 1}", None if last else sizes[k], 4 * speed))
    return Core(isa, products, tuple(levels))


def _best(run, seconds):
    """The most that ``run(times)`` does a nanosecond, of many looks at the clock. It returns how much it
    did.
    """
    times, best, end = 1, 0.0, perf_counter_ns() + seconds * 1e9
    while True:
        start = perf_counter_ns()
        did = run(times)
        now = perf_counter_ns()
        if now - start < PIECE / 2:
            times *= 2
        else:
            best = max(best, did / (now - start))
            if now >= end:
                return best
