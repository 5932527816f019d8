"""A graph as a picture: SVG without script or anything fetched, in the reader's own colours.

Layers stand in ranks, each below what it reads. An edge that passes ranks has a place of its own in each of
them, so that it runs between the boxes; within a rank all stand where their neighbours pull them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from .layers import Input
from .layers.base import layer_of
from .timing import layer_delays

if TYPE_CHECKING:
    from .graph import Graph
    from .model import Model

#: Sizes in pixels.
WIDE, HIGH, LANE, BESIDE, BELOW, EDGE = 216, 58, 14, 22, 34, 8
#: Letters that fit into a box, of the name and of the smaller lines.
NAME, SMALL = 27, 35
SWEEPS = 8
LINE = 'stroke="currentColor" stroke-opacity=".5"'
#: A model of more layers is shown as a table.
MOST = 300


@dataclass
class _Place:
    """A box, or the place of an edge in a rank that it passes."""

    rank: int
    wide: int = LANE
    lines: tuple[str, ...] = ()
    above: list[_Place] = field(default_factory=list)
    below: list[_Place] = field(default_factory=list)
    x: float = 0.0

    @property
    def y(self):
        return EDGE + self.rank * (HIGH + BELOW)


def drawing(graph: Graph, delays: dict[str, int] | None = None) -> str:
    """SVG of all layers and outputs of ``graph``, with their shapes and parameters; ``delays`` in frames of
    the input, by layer.
    """
    boxes, edges = _boxes(graph, delays or {})
    ranks: list[list[_Place]] = [[] for _ in range(max(b.rank for b in boxes) + 1)]
    for box in boxes:
        ranks[box.rank].append(box)
    paths = [(_route(source, target, ranks), label, dashed) for source, target, label, dashed in edges]
    _arrange(ranks)
    left = min(p.x - p.wide / 2 for rank in ranks for p in rank) - EDGE
    for rank in ranks:
        for place in rank:
            place.x -= left
    width = max(p.x + p.wide / 2 for rank in ranks for p in rank) + EDGE
    height = ranks[-1][0].y + HIGH + EDGE
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}" '
        f'viewBox="0 0 {width:.0f} {height}" font-family="system-ui, sans-serif" font-size="13" '
        'text-anchor="middle" fill="currentColor" role="img">'
    )
    drawn = [_edge(path, label, dashed) for path, label, dashed in paths]
    return "\n".join([head, *drawn, *map(_box, boxes), "</svg>"])


def of_model(model: Model[Any]) -> str:
    """HTML that shows a model: what it is in a line, and its graph."""
    graph, streams = model.graph, model.streamable
    facts = [counted(len(graph.layers), "layer"), counted(graph.parameters, "parameter")]
    if streams:
        behind = model.delay if isinstance(model.delay, tuple) else (model.delay,)
        late = " and ".join(counted(d, "frame") for d in behind)
        facts.append("streams" + (f", {late} late" if any(behind) else ""))
    else:
        facts.append("does not stream")
    if model.receptive_field is not None:
        facts.append(f"an answer sees {counted(model.receptive_field, 'frame')}")
    line = (
        f"<b>rnnrt.Model</b> {escape(str(graph.metadata.get('source', 'graph')))}: {escape(', '.join(facts))}"
    )
    if len(graph.layers) > MOST:
        picture = model.summary()._repr_html_()
    else:
        picture = drawing(graph, layer_delays(graph) if streams else None)
    return f'<div><p>{line}</p><div style="overflow-x: auto">{picture}</div></div>'


def _boxes(graph, delays):
    """The boxes, and the edges (from, to, output of it that is not the main one, whether it is a mask)."""
    rank: dict[str, int] = {}
    for x in graph.layers:
        rank[x.name] = 1 + max((rank[layer_of(r)] for r in x.reads), default=-1)
    for x in reversed(graph.layers):  # an input stands just above whoever reads it first
        if isinstance(x, Input):
            rank[x.name] = max(0, min((rank[y.name] for y in graph.consumers(x.name)), default=1) - 1)
    of, edges = {}, []
    for x in graph.layers:
        facts = [counted(x.parameters, "parameter")] if x.parameters else []
        if delays.get(x.name):
            facts.append(f"{counted(delays[x.name], 'frame')} late")
        lines = x.name, f"{type(x).__name__} {graph.signals[x.name]}", ", ".join(facts)
        of[x.name] = _Place(rank[x.name], WIDE, lines)
        for k, reference in enumerate(x.reads):
            name, _, part = reference.partition(":")
            edges.append((of[name], of[x.name], part, k >= len(x.inputs)))
    shown = []
    for o in graph.outputs:
        name, _, part = o.value.partition(":")
        shown.append(_Place(rank[name] + 1, WIDE, (o.name, f"output {graph.signals[o.value]}", "")))
        edges.append((of[name], shown[-1], part, False))
    return [*of.values(), *shown], edges


def _route(source, target, ranks):
    """The places that an edge runs through, both ends among them."""
    path = [source]
    for rank in range(source.rank + 1, target.rank):
        path.append(_Place(rank))
        ranks[rank].append(path[-1])
    path.append(target)
    for a, b in pairwise(path):
        a.below.append(b)
        b.above.append(a)
    return path


def _arrange(ranks):
    """Set the x of every place: ranks in turn, down and up, each ordered by where its neighbours stand."""
    for rank in ranks:
        _settle(rank)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for rank in ranks if down else ranks[::-1]:
            for place in rank:
                pulls = [p.x for p in (place.above if down else place.below)]
                place.x = sum(pulls) / len(pulls) if pulls else place.x
            rank.sort(key=lambda p: p.x)
            _settle(rank)


def _settle(rank):
    """Move the places of a rank apart where they overlap, all together no way to either side."""
    wanted, reached = [p.x for p in rank], None
    for place in rank:
        place.x = place.x if reached is None else max(place.x, reached + place.wide / 2)
        reached = place.x + place.wide / 2 + BESIDE
    shift = sum(p.x - x for p, x in zip(rank, wanted)) / len(rank)
    for place in rank:
        place.x -= shift


def _edge(path, label, dashed):
    words, bottom = [], None
    for place in path:
        if bottom is None:
            words.append(f"M{place.x:.1f} {place.y + HIGH}")
        else:
            middle = (bottom.y + HIGH + place.y) / 2
            words.append(f"C{bottom.x:.1f} {middle} {place.x:.1f} {middle} {place.x:.1f} {place.y}")
            if not place.lines:
                words.append(f"V{place.y + HIGH}")
        bottom = place
    style = ' stroke-dasharray="3 3"' if dashed else ""
    drawn = f'<path d="{" ".join(words)}" fill="none" {LINE}{style}/>'
    if not label:
        return drawn
    at = f'x="{path[0].x + 5:.1f}" y="{path[0].y + HIGH + 12}"'
    return f'{drawn}<text {at} font-size="11" text-anchor="start">{escape(label)}</text>'


def _box(place):
    name, what, facts = place.lines
    x, y, first = place.x - place.wide / 2, place.y, 19 if facts else 25
    end = what.startswith(("Input ", "output "))
    fill = 'rx="14" fill-opacity=".02"' if end else 'rx="5" fill="rgb(70, 130, 200)" fill-opacity=".22"'
    drawn = [
        f"<g><title>{escape(chr(10).join(filter(None, place.lines)))}</title>",
        f'<rect x="{x:.1f}" y="{y}" width="{place.wide}" height="{HIGH}" {fill} {LINE}/>',
    ]
    rows = [(name, NAME, ' font-weight="600"'), (what, SMALL, ' font-size="11"')]
    rows += [(facts, SMALL, ' font-size="11" fill-opacity=".8"')] if facts else []
    for k, (text, most, style) in enumerate(rows):
        text = escape(_cut(text, most))
        drawn.append(f'<text x="{place.x:.1f}" y="{y + first + 16 * k}"{style}>{text}</text>')
    return "".join([*drawn, "</g>"])


def _cut(text, most):
    return text if len(text) <= most else f"{text[: most - 1]}…"


def counted(number: int, word: str) -> str:
    """ "1 frame", "2 frames"."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"
