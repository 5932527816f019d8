"""Random graphs as live streams: any chunks, in any mix of streams, give the bits of the whole sequence.

    python tools/fuzz_streams.py                          1,000 graphs from seed 0
    python tools/fuzz_streams.py --graphs 20000           about half an hour on one core
    python tools/fuzz_streams.py --first 17 --graphs 1    the graph of seed 17 again

Of every graph (tests/support/random_graphs.py) some streams live side by side. In each round some begin anew,
go on from a copy of another or from their own state as bytes; then some are given a chunk, of as many frames
each, by ``step_many``, ``push_many`` or alone. Whenever one ends, all it has answered and what ``flush``
brings must have the bits of ``model(x)`` on all it was given. Graphs are left out until those with strides
or look-ahead, masks and scans have their share (SHARES); what ran is counted and printed. Exit code 1 where a
bit differs, with the seed.
"""

from __future__ import annotations

import argparse
import collections
import sys
from pathlib import Path

import numpy as np

import rnnrt

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))
from random_graphs import random_graph

#: What is counted of graphs, and the share of them that must have it.
SHARES = {"strides or look-ahead": 0.3, "masks": 0.3, "scan": 0.2}
STREAMS, ROUNDS = 5, 8


class Difference(Exception):
    """A stream that answered other bits than the whole sequence."""


def features(model):
    """Which of SHARES a network has."""
    layers = model.graph.layers
    return {
        name
        for name, there in {
            "strides or look-ahead": model.delay or any(x.stride > 1 or x.emits == "many" for x in layers),
            "masks": any(getattr(x, "mask", None) is not None for x in layers),
            "scan": any(x.kind == "scan" for x in layers),
        }.items()
        if there
    }


class Live:
    """A stream with all that it was given and has answered, output by output."""

    def __init__(self, model):
        self.model, self.stream = model, model.stream()
        self.given, self.answers = [], [[] for _ in model.graph.outputs]

    def copy(self):
        made = Live(self.model)
        made.stream = self.stream.clone()
        made.given, made.answers = [*self.given], [[*parts] for parts in self.answers]
        return made

    def through_bytes(self):
        """The same stream, as another process would go on with it."""
        state = rnnrt.State.from_bytes(self.stream.state.to_bytes())
        self.stream = self.model.stream()
        self.stream.state = state

    def took(self, chunk, answer, stepped=False):
        self.given.append(chunk)
        for parts, one in zip(self.answers, answer if isinstance(answer, tuple) else (answer,)):
            if one is not None:
                parts.append(one[None] if stepped else one)

    def end(self):
        """Flush and compare; how many answers were compared (0 where the sequence is too short for one)."""
        self.took(np.zeros((0, self.model.graph.signals["x"].width), np.float32), self.stream.flush())
        x = np.concatenate(self.given)
        try:
            whole = self.model(x)
        except rnnrt.ShapeError:
            return 0
        compared = 0
        whole = whole if isinstance(whole, tuple) else (whole,)
        for output, parts, wanted in zip(self.model.graph.outputs, self.answers, whole):
            wanted = wanted if self.model.graph.signals[output.value].time else wanted[None]
            made = np.concatenate(parts)
            if made.shape != wanted.shape or not np.array_equal(made, wanted, equal_nan=True):
                raise Difference(
                    f"output {output.name!r} after {len(x)} frames: {made.shape}, {wanted.shape} whole"
                )
            if (np.signbit(made) != np.signbit(wanted))[~np.isnan(wanted)].any():
                raise Difference(f"output {output.name!r} after {len(x)} frames: zeros of another sign")
            compared += wanted.size
        return compared


def mixed(model, sample, r, counts):
    """Live streams of one model in ROUNDS rounds; ``sample(frames)`` gives input."""
    streams = [Live(model) for _ in range(STREAMS)]
    many = streams[0].stream.may_emit_many
    for _ in range(ROUNDS):
        for k in r.permutation(STREAMS)[: r.integers(3)]:
            what = ("reset", "clone", "bytes")[r.integers(3)]
            counts[what] += 1
            if what == "bytes":
                streams[k].through_bytes()
                continue
            counts["numbers"] += streams[k].end()
            if what == "clone":
                streams[k] = streams[(k + 1) % STREAMS].copy()
            else:
                streams[k].stream.reset()
                streams[k].given, streams[k].answers = [], [[] for _ in model.graph.outputs]
        chosen = [streams[k] for k in r.permutation(STREAMS)[: 1 + r.integers(STREAMS)]]
        frames = int((1, 1, 1, 2, 3, 5, 8, 40, 0)[r.integers(9)])
        chunks = [sample(frames) for _ in chosen]
        together = [live.stream for live in chosen]
        stepped = frames == 1 and not many and r.random() < 0.8
        way = "step_many" if stepped else "push_many" if r.random() < 0.8 else "push"
        counts[way] += 1
        if way == "push":
            made = [stream.push(chunk) for stream, chunk in zip(together, chunks)]
        else:
            made = getattr(model, way)(together, [c[0] if stepped else c for c in chunks])
        for live, chunk, answer in zip(chosen, chunks, made):
            live.took(chunk, answer, stepped)
    for live in streams:
        counts["numbers"] += live.end()


def run(first, graphs):
    """{what: how often} of so many graphs from seed ``first`` on. Raises Difference with the seed."""
    counts, seed = collections.Counter(), first
    while counts["graphs"] < graphs:
        graph, inputs = random_graph(seed, streamable=seed % 3 != 0)
        model = rnnrt.from_graph(graph)
        seed += 1
        if not model.streamable:
            continue
        had = features(model)
        short = [name for name, share in SHARES.items() if counts[name] < share * counts["graphs"]]
        if short and had.isdisjoint(short):
            continue
        r = np.random.default_rng(seed)
        source = inputs(1, 4096, seed)["x"][0]
        sample = lambda n, r=r, source=source: source[(at := int(r.integers(4096 - n))) : at + n]
        counts["graphs"] += 1
        counts.update(had)
        try:
            mixed(model, sample, r, counts)
        except Difference as error:
            raise Difference(f"seed {seed - 1}: {error}") from None
        except Exception as error:
            error.add_note(f"seed {seed - 1}")
            raise
    return counts


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--graphs", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, metavar="SEED")
    options = parser.parse_args(arguments)
    try:
        counts = run(options.first, options.graphs)
    except Difference as error:
        print(f"differs: {error}")
        return 1
    for name, count in counts.items():
        of = f" ({count / counts['graphs']:.0%})" if name in SHARES else ""
        print(f"{count:12,} {name}{of}")
    print("0 bits differ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
