"""What work costs as it grows, beside onnxruntime and what this core could do at best: curves on which cliffs
show.

    python tools/bench_growth.py --html growth.html --json growth.json        some four minutes
    python tools/bench_growth.py --only batch

One thread pinned to one core; a point is the best of many calls, which take turns with the peer's. A family
grows in one thing: units of a layer that steps, frames, rows of a batch, layers, groups, channels. A cliff is
a point that costs over 1.25 times as much a multiply-add as points on both sides of it.
"""

from __future__ import annotations

import bench_core

bench_core.pin()

import argparse
import fnmatch
import json
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path

from bench_networks import Work, convolution, recurrent_case
from bench_peers import limit, machine, once
from bench_rivals import by_onnxruntime, ours
from case_layers import conv, recurrent, stack
from cases import Case

from rnnrt import core_limits
from rnnrt import layers as L
from rnnrt.command import measure
from rnnrt.pages import SOLID, page

CLIFF = 1.25
LEAST_CALLS = 8


def stacked(layers):
    """So many layers of LSTM(64)."""
    made = [lambda b, x, r, k=k: recurrent(b, x, r, L.LSTM, 64, name=f"lstm_{k}") for k in range(layers)]
    return Case(f"stack_{layers}", stack(*made), features=64)


def channels(n):
    return Case(f"conv_{n}", lambda b, x, r: conv(b, x, r, n, 3, padding=(2, 0)), features=n)


@dataclass(frozen=True)
class Family:
    """``work(n)`` for every n of ``sizes``; ``grows``: what its multiply-adds are proportional to."""

    name: str
    sizes: tuple
    work: object
    grows: object


FAMILIES = (
    Family(
        "units of an LSTM, one step",
        (
            8,
            12,
            16,
            20,
            24,
            32,
            33,
            40,
            48,
            64,
            65,
            80,
            96,
            127,
            128,
            160,
            192,
            255,
            256,
            320,
            384,
            512,
            1024,
            2048,
        ),
        lambda n: Work(recurrent_case(L.LSTM, n), None),
        lambda n: 8 * n * n,
    ),
    Family(
        "frames of an LSTM(64)",
        (1, 2, 3, 5, 8, 16, 32, 64, 65, 100, 300, 1000, 10_000, 100_000),
        lambda n: Work(recurrent_case(L.LSTM, 64), 1, n),
        lambda n: 8 * 64 * 64 * n,
    ),
    Family(
        "batch of an LSTM(64), 30 frames",
        (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 16, 24, 32, 33, 64, 128, 256),
        lambda n: Work(recurrent_case(L.LSTM, 64), n, 30),
        lambda n: 8 * 64 * 64 * 30 * n,
    ),
    Family(
        "layers of LSTM(64), 100 frames",
        (1, 2, 3, 4, 6, 8),
        lambda n: Work(stacked(n), 1, 100),
        lambda n: 8 * 64 * 64 * 100 * n,
    ),
    Family(
        "groups of a convolution of 64 channels, 3 taps, 1000 frames",
        (1, 2, 4, 8, 16, 32, 64),
        lambda n: Work(convolution(64, 64, 3, n), 1, 1000),
        lambda n: 64 * 64 * 3 * 1000 / n,
    ),
    Family(
        "channels of a convolution, 3 taps, 1000 frames",
        (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 16, 17, 20, 24, 31, 32, 33, 40, 48, 64, 80, 96, 127, 128),
        lambda n: Work(channels(n), 1, 1000),
        lambda n: 3 * n * n * 1000,
    ),
    Family(
        "frames of a convolution of 64 channels, 3 taps",
        (1, 2, 4, 8, 16, 32, 64, 65, 128, 300, 1000, 10_000, 100_000),
        lambda n: Work(convolution(64, 64, 3), 1, n),
        lambda n: 3 * 64 * 64 * n,
    ),
)


@dataclass(frozen=True)
class Point:
    """Best microseconds at size ``n``: of rnnrt, of onnxruntime, and what the core could do it in."""

    n: int
    ours: float
    theirs: float
    limit: float
    operations: float


def point(family, n, seconds):
    work = family.work(n)
    calls = {"ours": next(iter(ours(work).values())).call}
    for form, made in by_onnxruntime(work).items():
        calls[form] = made.call
    share = max(seconds, LEAST_CALLS * max(map(once, calls.values())))
    found = measure.measure(calls, share * len(calls))
    best = {name: latency.min for name, latency in found.items()}
    return Point(n, best.pop("ours"), min(best.values()), limit(work), family.grows(n))


def cliffs(points):
    """Sizes that cost more a multiply-add than those on both sides."""
    cost = [p.ours / p.operations for p in points]
    return [p.n for a, p, c, b in zip(cost, points[1:], cost[1:], cost[2:]) if c > CLIFF * max(a, b)]


# ---- a page ------------------------------------------------------------------------------------------------

WIDE, HIGH, LEFT, RIGHT, BELOW = 640, 260, 56, 24, 34
CURVES = (("ours", SOLID, ""), ("theirs", "rgb(200, 110, 40)", ""), ("limit", "rgb(128, 128, 128)", "4 3"))
LABELS = {"ours": "rnnrt", "theirs": "onnxruntime", "limit": "limit of this core"}


def picture(family, points):
    """Picoseconds a multiply-add over the size, both in decades, as SVG."""
    from math import floor, log10

    per = {key: [1e6 * getattr(p, key) / p.operations for p in points] for key, _, _ in CURVES}
    every = [v for values in per.values() for v in values if v > 0]
    low, high = log10(min(every)), log10(max(every))
    first, last = log10(points[0].n), log10(points[-1].n)
    across = lambda n: LEFT + (WIDE - LEFT - RIGHT) * (log10(n) - first) / (last - first)
    up = lambda v: (HIGH - BELOW) - (HIGH - BELOW - 8) * (log10(v) - low) / max(high - low, 1e-9)
    parts = [f'<svg viewBox="0 0 {WIDE} {HIGH}" role="img" aria-label="{escape(family.name)}">']
    for k in range(floor(low), floor(high) + 2):
        for step in (1, 2, 5):
            value = step * 10.0**k
            if low <= log10(value) <= high:
                y, right = up(value), WIDE - RIGHT
                parts.append(f'<line x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
                parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    shown = -100.0
    for p in points:
        if across(p.n) - shown > 34:
            shown = across(p.n)
            parts.append(f'<text x="{shown:.1f}" y="{HIGH - 16}" text-anchor="middle">{p.n:g}</text>')
    for key, colour, dashes in CURVES:
        line = " ".join(f"{across(p.n):.1f},{up(v):.1f}" for p, v in zip(points, per[key]) if v > 0)
        parts.append(
            f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2" '
            f'stroke-dasharray="{dashes}"/>'
        )
        if key == "ours":
            parts += [
                f'<circle cx="{across(p.n):.1f}" cy="{up(v):.1f}" r="2.5" fill="{colour}"/>'
                for p, v in zip(points, per[key])
            ]
    return "".join(parts) + "</svg>"


def html(about, core, found):
    key = ", ".join(f'<span style="color: {colour}">{LABELS[name]}</span>' for name, colour, _ in CURVES)
    sections = []
    for family, points in found:
        over = cliffs(points)
        said = f"Cliffs: {', '.join(map(str, over))}." if over else "No cliff."
        sections.append(f"<h2>{escape(family.name)}</h2>{picture(family, points)}<p>{said}</p>")
    style = (
        "<style>svg { width: 100%; height: auto } text { font-size: 12px; fill: CanvasText }"
        " .grid { stroke: rgba(128, 128, 128, .25) } h2 { font-size: 1.05rem; margin: 1.5em 0 .2em }</style>"
    )
    machine_said = ", ".join(f"{k} {v}" for k, v in about.items())
    intro = f"Picoseconds a multiply-add, by size, both in decades: {key}."
    return page(
        "What work costs as it grows",
        f"{style}<p>{escape(machine_said)}</p><p>{escape(str(core))}</p><p>{intro}</p>{''.join(sections)}",
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--only", metavar="PATTERN", default="*", help="families whose name holds this")
    parser.add_argument("--seconds", type=float, default=0.15, help="for each contender of a point")
    parser.add_argument("--html", metavar="FILE", help="write the curves as a page that stands alone")
    parser.add_argument("--json", metavar="FILE", help="write every figure there")
    options = parser.parse_args()
    about, core, found = machine(), core_limits.core(), []
    print(core)
    for family in (f for f in FAMILIES if fnmatch.fnmatch(f.name, f"*{options.only}*")):
        print(
            f"\n{family.name}\n{'':>9}{'rnnrt':>12}{'onnxruntime':>13}{'times':>8}{'limit':>7}{'ps each':>9}"
        )
        points = []
        for n in family.sizes:
            p = point(family, n, options.seconds)
            points.append(p)
            share, each = p.limit / p.ours, 1e6 * p.ours / p.operations
            line = f"{n:>9}{p.ours:12.2f}{p.theirs:13.2f}{p.theirs / p.ours:8.2f}{share:7.0%}{each:9.2f}"
            print(line, flush=True)
        found.append((family, points))
        print(f"cliffs: {', '.join(map(str, cliffs(points))) or 'none'}")
    if options.html:
        Path(options.html).write_text(html(about, core, found))
    if options.json:
        families = [{"name": f.name, "points": [asdict(p) for p in points]} for f, points in found]
        made = {"machine": about, "limits": core.as_dict(), "families": families}
        Path(options.json).write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
