"""What the graph of one call is made of: its values as rows of numbers that moves pick and join, its layers
with a time within the call as one, and the circles among its layers.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict

import numpy as np

from ..errors import UnsupportedModelError
from ..graph import Graph, GraphBuilder
from ..layers import (
    Concatenate,
    Flatten,
    GlobalAveragePool,
    GlobalMaxPool,
    Input,
    Last,
    Reshape,
    Select,
    Unflatten,
)

#: Layers that only move numbers, of one frame or of a value without a time.
MOVES = (Reshape, Select, Concatenate, Unflatten, Flatten, Last, GlobalAveragePool, GlobalMaxPool)


def refused(what, **parts):
    return UnsupportedModelError(
        what, **({"fix": "Import it without state=, and carry the state yourself."} | parts)
    )


# ---- what a value is made of -------------------------------------------------------------------------------


class Row:
    """Numbers side by side: ``elements`` of ``sources``, by ``owner``, the place of a source."""

    def __init__(self, sources, owner, elements):
        self.sources, self.owner, self.elements = sources, owner, elements

    def __len__(self):
        return len(self.owner)

    def take(self, index):
        return Row(self.sources, self.owner[index], self.elements[index])

    def used(self):
        """The sources that numbers are of, in the order of their first."""
        return [self.sources[k] for k in dict.fromkeys(self.owner.tolist())]


def whole(source, width):
    return Row([source], np.zeros(width, np.int64), np.arange(width))


def beside(rows):
    starts = np.concatenate([[0], np.cumsum([len(r.sources) for r in rows])])
    return Row(
        [s for r in rows for s in r.sources],
        np.concatenate([r.owner + k for r, k in zip(rows, starts)]),
        np.concatenate([r.elements for r in rows]),
    )


def parts_of(row):
    """[(source, positions in the row, elements)] of a row."""
    made = defaultdict(lambda: ([], []))
    for k in range(len(row)):
        positions, elements = made[row.sources[row.owner[k]]]
        positions.append(k)
        elements.append(int(row.elements[k]))
    return [(s, np.array(p), np.array(e)) for s, (p, e) in made.items()]


def same(a, b):
    """Whether two rows are the same numbers."""
    return (
        len(a) == len(b)
        and [a.sources[k] for k in a.owner] == [b.sources[k] for k in b.owner]
        and np.array_equal(a.elements, b.elements)
    )


def rows_of(layers, signals_of) -> dict[str, Row]:
    """{reference: Row} of every value without a time, or with one frame: moves are seen through."""
    rows = {}
    for layer in layers:
        if isinstance(layer, Part):
            rows |= layer.rows()
            continue
        made = {r: signals_of[r] for r in outputs_of(layer)}
        made = {r: s for r, s in made.items() if not s.time or s.length == 1}
        inputs = [rows.get(r) for r in layer.inputs]
        if layer.name not in made or not all(inputs):
            rows |= {r: whole(r, s.width) for r, s in made.items()}
        elif isinstance(layer, MOVES) and not isinstance(layer, (Select, Concatenate)):
            rows[layer.name] = inputs[0]
        elif isinstance(layer, Select):
            rows[layer.name] = inputs[0].take(np.array(layer.index))
        elif isinstance(layer, Concatenate):
            rows[layer.name] = beside(inputs)
        else:
            rows |= {r: whole(r, s.width) for r, s in made.items()}
    return rows


def outputs_of(layer):
    """References to what a layer makes."""
    return [layer.name, *(f"{layer.name}:{o}" for o in layer.extra_outputs)]


def fields_of(layer):
    """The fields of a layer beside its name and its inputs."""
    named = {f.name: getattr(layer, f.name) for f in dataclasses.fields(layer)}
    return {n: v for n, v in named.items() if n not in ("name", "inputs")}


@dataclasses.dataclass(frozen=True)
class Part:
    """Layers with a time within a call, as one: the value they read, their ``graph``, and ``exits``, the
    values they make that others read, with the width of each.
    """

    name: str
    inputs: tuple
    graph: Graph
    exits: list

    def rows(self):
        """{reference: Row} of its exits: parts of its one output."""
        made, at = {}, 0
        for reference, width in self.exits:
            made[reference] = Row([self.name], np.zeros(width, np.int64), np.arange(at, at + width))
            at += width
        return made


# ---- time within a call ------------------------------------------------------------------------------------


def without_inner_time(graph):
    """The layers of ``graph``, those with a time of more than one frame as one Part each connected part."""
    inner = {r for r, s in graph.signals.items() if s.time and s.length != 1}
    part_of = {}

    def find(a):
        while part_of.setdefault(a, a) != a:
            a = part_of[a]
        return a

    members = {}
    for layer in graph.layers:
        touched = [r for r in (*layer.inputs, *outputs_of(layer)) if r in inner]
        for r in touched:
            part_of[find(touched[0])] = find(r)
        if touched:
            members[layer.name] = touched[0]
    parts = defaultdict(list)
    for layer in graph.layers:
        if layer.name in members:
            parts[find(members[layer.name])].append(layer)
    last = {part[-1].name: part for part in parts.values()}
    layers = []
    for layer in graph.layers:
        if layer.name in last:
            layers.append(_as_one(graph, last[layer.name]))
        elif layer.name not in members:
            layers.append(layer)
    return layers


def _as_one(graph, part):
    """A connected part of layers with a time within a call as one."""
    names = {x.name for x in part}
    starts = [x for x in part if isinstance(x, (Input, Unflatten))]
    entries = {x.inputs[0] if isinstance(x, Unflatten) else x.name for x in starts}
    if len(entries) != 1:
        raise refused("several values meet in a time within a call", where=part[0].where)
    signal = graph.signals[starts[0].name]
    if signal.length is None:
        raise refused(
            "the number of frames of a call is open", where=part[0].where, fix="Say it: shapes={name: sizes}."
        )
    builder = GraphBuilder()
    start = builder.input("x", signal.features, length=signal.length)
    made = {x.name: start for x in starts}
    for layer in part:
        if layer in starts:
            continue
        if layer.keeps == "state" and len(layer.inputs) > 1:
            raise refused("has a state, and a time within a call", where=layer.where)
        own = builder.add(type(layer), layer.name, *(made[r] for r in layer.inputs), **fields_of(layer))
        made |= dict(zip(outputs_of(layer), [own, *(f"{own}:{o}" for o in layer.extra_outputs)]))
    used = {r for x in graph.layers if x.name not in names for r in x.inputs} | {
        o.value for o in graph.outputs
    }
    exits, flat = [], []
    for reference in (r for x in part if x not in starts for r in outputs_of(x) if r in used):
        own = graph.signals[reference]
        value = builder.add(Flatten, f"{reference}/all", made[reference]) if own.time else made[reference]
        if len(builder.signal(value).features) != 1:
            value = builder.add(Reshape, f"{reference}/row", value, features=(builder.signal(value).width,))
        exits.append((reference, builder.signal(value).width))
        flat.append(value)
    builder.output("y", flat[0] if len(flat) == 1 else builder.add(Concatenate, "all", *flat))
    return Part(part[-1].name, tuple(entries), builder.graph(), exits)


# ---- circles -----------------------------------------------------------------------------------------------


def components(edges):
    """Groups of nodes that need one another, those needed first; ``edges``: {node: what it needs}."""
    order, seen = [], set()
    for root in edges:
        stack = [(root, iter(sorted(edges[root])))] if root not in seen else []
        seen.add(root)
        while stack:
            node, rest = stack[-1]
            after = next((n for n in rest if n not in seen), None)
            if after is None:
                order.append(node)
                stack.pop()
            else:
                seen.add(after)
                stack.append((after, iter(sorted(edges[after]))))
    back, groups, group_of = defaultdict(set), [], {}
    for node, needs in edges.items():
        for n in needs:
            back[n].add(node)
    for root in reversed(order):
        if root in group_of:
            continue
        group, stack = [], [root]
        group_of[root] = len(groups)
        while stack:
            node = stack.pop()
            group.append(node)
            for n in back[node]:
                if n not in group_of:
                    group_of[n] = len(groups)
                    stack.append(n)
        groups.append(group)
    return groups[::-1]
