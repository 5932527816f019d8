"""Networks whose state goes in and out with every call: the state becomes one of streams, and a call a frame.

A *call graph* answers one call. Its states are inputs and outputs like others; ``carried`` pairs them. Where
its sequences are of any length and the states are those of recurrent layers, the layers keep them, and frames
stay frames. Elsewhere a call is one frame: layers within a call run frame by frame (TimeDistributed where
they have a time of their own), and what depends on its own last value is a Scan, one for every circle.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict

import numpy as np

from ..errors import ShapeError, UnsupportedModelError
from ..graph import Graph, GraphBuilder
from ..layers import (
    Affine,
    Concatenate,
    Conv1D,
    Dense,
    Input,
    Last,
    Reshape,
    Scan,
    Select,
    TimeDistributed,
)
from ..layers.base import FrameByFrame, layer_of
from ..layers.recurrent import Recurrent
from .call_graph import (
    MOVES,
    Part,
    Row,
    components,
    fields_of,
    parts_of,
    refused,
    rows_of,
    same,
    whole,
    without_inner_time,
)


def carried(graph: Graph, pairs: dict[str, str], rows=False) -> Graph:
    """``graph`` with the states ``pairs`` ({input: output}) carried. ``rows``: the rows of a call are frames
    of one sequence. Raises UnsupportedModelError where a state cannot be kept.
    """
    timed = [n for n in graph.inputs if n not in pairs and graph.signals[n].time]
    if rows or not timed or any(graph.signals[n].length == 1 for n in timed):
        return _Calls(graph, pairs, rows).graph()
    if not all(graph.signals[n].length for n in timed):
        return _of_frames(graph, pairs)
    try:  # where no layer sees where a call ends, calls in a row are one sequence
        return _of_frames(_of_any_length(graph, timed), pairs)
    except (UnsupportedModelError, ShapeError):
        return _Calls(graph, pairs, rows).graph()


def _of_any_length(graph, names):
    """The graph with inputs of any number of frames."""
    free = [dataclasses.replace(x, length=None) if x.name in names else x for x in graph.layers]
    return graph.replace(free)


def proposed_states(graph):
    """What ``info`` says of inputs and outputs that a caller may carry from call to call: pairs of one shape,
    in their order.
    """
    pairs, free = {}, [o for o in graph.outputs if not graph.signals[o.value].time]
    for name in graph.inputs:
        layer, signal = graph[name], graph.signals[name]
        if signal.time or layer.ids:
            continue
        own = [o for o in free if graph.signals[o.value] == signal and o.axes == layer.axes]
        if own:
            pairs[name] = own[0].name
            free.remove(own[0])
    if len(pairs) == len(graph.inputs):
        return {}  # nothing is left to be a frame
    return {"proposed_state": pairs} if pairs else {}


# ---- frames of a free number -------------------------------------------------------------------------------


def _of_frames(graph, pairs):
    """Recurrent layers and scans that start from a state and end in it keep it."""
    rows, outputs = rows_of(graph.layers, graph.signals), {o.name: o.value for o in graph.outputs}
    layers, kept = [], set()
    next_rows = {s: rows[outputs[o]] for s, o in pairs.items()}
    for layer in graph.layers:
        states, first = _started(layer)
        starts = [rows.get(r) for r in layer.inputs[first : first + len(states)]]
        if starts and all(r is not None and set(r.used()) <= set(pairs) for r in starts):
            for state, start in zip(states, starts):
                kept |= _matched(start, whole(f"{layer.name}:{state}", len(start)), next_rows, layer)
            inputs = layer.inputs[:first] + layer.inputs[first + len(states) :]
            began = {"started": ()} if isinstance(layer, Scan) else {}
            layer = dataclasses.replace(layer, inputs=inputs, **began)
        elif isinstance(layer, (Recurrent, Scan)) or not isinstance(layer, FrameByFrame):
            timed = any(graph.signals[r].time for r in layer.inputs)
            if timed and not isinstance(layer, Last):
                raise refused("begins anew with every call of the file", where=layer.where)
        layers.append(layer)
    _check_all(pairs, next_rows, kept)
    shown = [o for o in graph.outputs if o.name not in pairs.values()]
    if any(not graph.signals[o.value].time for o in shown) or not shown:
        raise refused(
            "what is not a sequence would be answered once, and not after every call", where="outputs"
        )
    needed = {layer_of(o.value) for o in shown}
    for layer in reversed(layers):
        needed |= {layer_of(r) for r in layer.reads} if layer.name in needed else set()
    lost = needed & set(pairs)
    if lost:
        raise refused(f"the state {min(lost)!r} is read by more than recurrent layers that keep it")
    names = [n for n in graph.inputs if n not in pairs]
    left = [x for x in layers if x.name in needed or x.name in names]
    return graph.replace(left, inputs=names, outputs=shown)


def _started(layer):
    """(the states that inputs of a layer set, the place of the first of those)."""
    if isinstance(layer, Scan):
        return layer.started, layer.per_step
    return (layer.started, 1) if isinstance(layer, Recurrent) else ((), 0)


def _matched(start, end, next_rows, layer):
    """The places of states that a layer's start is read from; they must be where its end is put."""
    found = set()
    for k in range(len(start)):
        state, place = start.sources[start.owner[k]], int(start.elements[k])
        after = next_rows[state]
        if after.sources[after.owner[place]] != end.sources[0] or after.elements[place] != k:
            raise refused(
                f"starts from the state {state!r}, and what it ends in does not become that state",
                where=layer.where,
            )
        found.add((state, place))
    return found


def _check_all(pairs, next_rows, kept):
    for state in pairs:
        places = {p for s, p in kept if s == state}
        if places != set(range(len(next_rows[state]))):
            raise refused(
                f"the state {state!r} is not all kept by recurrent layers",
                fix="Say how many frames a call has, one: shapes={name: sizes}. A call is then a frame.",
            )


# ---- a call as a frame -------------------------------------------------------------------------------------


class _Piece:
    """A part of a state that becomes one value's: ``name``; ``positions`` in the state; ``next``: the Row
    it becomes.
    """

    def __init__(self, name, state, positions, after):
        self.name, self.state, self.positions, self.next = name, state, positions, after


class _Calls:
    """A call graph on its way to a graph of frames.

    ``layers``: layers that are not moves, by name, in order; ``reads``: {name: its inputs as Rows};
    ``pieces`` by name; ``made``: {source: reference in the new graph}.
    """

    def __init__(self, graph, pairs, rows):
        self.pairs, self.by_rows, self.call = pairs, rows, graph
        self.layers = without_inner_time(graph)
        self.rows = rows_of(self.layers, graph.signals)
        for name in graph.inputs:  # one with a time within a call is read by a part of its own
            signal = graph.signals[name]
            if name not in self.rows:
                self.rows[name] = whole(name, signal.width * (signal.length or 1))
        self.outputs = {o.name: o for o in graph.outputs}
        self.made, self.builder = {}, GraphBuilder()

    def row(self, reference):
        return self.rows[reference]

    def graph(self):
        self.pieces = self._cut()
        self.nodes = {x.name: x for x in self.layers if self._is_node(x)}
        self.reads = {n: [self._of_pieces(self.row(r)) for r in x.inputs] for n, x in self.nodes.items()}
        for piece in self.pieces.values():
            piece.next = self._of_pieces(piece.next)
        self._keep_in_layers()
        shown = [o for o in self.call.outputs if o.name not in self.pairs.values()]
        self.shown = {o.name: self._of_pieces(self.row(o.value)) for o in shown}
        self._inputs()
        groups = components(self._edges())
        absorbed = self._absorbed(groups)
        for k, group in enumerate(groups):
            states = [n.removeprefix("state ") for n in group if n.startswith("state ")]
            if states:
                self._scan([n for n in self.nodes if n in group or absorbed.get(n) == k], states)
            elif group[0] not in absorbed:
                self._layer(self.builder, self.made, group[0])
        for output in shown:
            self._output(output)
        names = [n for n in self.call.inputs if n not in self.pairs]
        return self.builder.graph(inputs=names, metadata=self.call.metadata)

    # -- states ----------------------------------------------------------------------------------------------
    def _cut(self):
        """States cut into pieces, each the next value of one source."""
        pieces = {}
        for state, output in self.pairs.items():
            after = self.row(self.outputs[output].value)
            before = self.call.signals[state].width
            if len(after) != before:
                raise refused(
                    f"the output {output!r} does not have the size of the state {state!r}",
                    expected=str(before),
                    found=str(len(after)),
                )
            parts = parts_of(after)
            for k, (source, positions, elements) in enumerate(parts):
                order = np.argsort(elements, kind="stable")
                name = state if len(parts) == 1 else f"{state}.{k}"
                pieces[name] = _Piece(name, state, positions[order], after.take(positions[order]))
                del source
        return pieces

    def _of_pieces(self, row):
        """A row whose numbers of states are those of pieces."""
        where = {
            (p.state, int(place)): (p.name, k)
            for p in self.pieces.values()
            for k, place in enumerate(p.positions)
        }
        if not set(row.used()) & set(self.pairs):
            return row
        sources = list(row.sources)
        owner, elements = row.owner.copy(), row.elements.copy()
        index = {s: k for k, s in enumerate(sources)}
        for k in range(len(row)):
            key = (row.sources[row.owner[k]], int(row.elements[k]))
            if key in where:
                name, elements[k] = where[key]
                name = "state " + name
                if name not in index:
                    index[name] = len(sources)
                    sources.append(name)
                owner[k] = index[name]
        return Row(sources, owner, elements)

    def _is_node(self, layer):
        if isinstance(layer, (Input, *MOVES)):
            return (
                layer.name in self.rows
                and self.row(layer.name).sources == [layer.name]
                and not isinstance(layer, Input)
            )
        return True

    def _keep_in_layers(self):
        """Recurrent layers of one step that start from pieces and end in them keep them."""
        for name, layer in self.nodes.items():
            if not isinstance(layer, Recurrent):
                continue
            starts = self.reads[name][1:]
            if layer.reverse:
                raise refused("runs from the last frame to the first", where=layer.where)
            if not starts and not self.by_rows:
                raise refused("begins anew with every call of the file", where=layer.where)
            for state, start in zip(layer.states, starts):
                piece = (
                    self.pieces.get(start.used()[0].removeprefix("state "))
                    if len(start.used()) == 1
                    else None
                )
                end = whole(f"{name}:{state}", len(start))
                if (
                    piece is None
                    or not same(start, whole(f"state {piece.name}", len(start)))
                    or not same(piece.next, end)
                ):
                    raise refused(
                        "starts from a value that is not its own state of the call before", where=layer.where
                    )
                del self.pieces[piece.name]
            self.reads[name] = self.reads[name][:1]

    # -- order -----------------------------------------------------------------------------------------------
    def _edges(self):
        """{node or "state PIECE": what it needs}."""
        edges = {n: {self._maker(s) for r in rows for s in r.used()} for n, rows in self.reads.items()}
        for piece in self.pieces.values():
            edges[f"state {piece.name}"] = {self._maker(s) for s in piece.next.used()}
        names = set(edges)
        return {n: needs & names for n, needs in edges.items()}

    def _maker(self, source):
        return source if source.startswith("state ") else layer_of(source)

    # -- the new graph ---------------------------------------------------------------------------------------
    def _inputs(self):
        for name in self.call.inputs:
            if name in self.pairs:
                continue
            old, features = self.call[name], self.call.signals[name].features
            signal = self.call.signals[name]
            if self.by_rows and signal.time:
                raise refused(
                    "has one frame in each of its rows, and a recurrent layer takes the rows for its frames",
                    where=f"input {name!r}",
                    fix="Export it from an input of (frames, features), without the axis of size one.",
                )
            if signal.time and signal.length != 1:
                features = (signal.length, *features)
            axes = old.axes if signal.time and signal.length == 1 else "btf"
            self.builder.input(name, features, ids=old.ids, axes=axes)
            self.made[name] = name

    def _place(self, builder, made, name, row):
        """A reference to a row, among what is ``made`` in a builder."""
        flat = []
        for source in row.used():
            reference = made[source]
            signal = builder.signal(reference)
            if len(signal.features) != 1:
                reference = builder.add(Reshape, f"{name}/row", reference, features=(signal.width,))
            flat.append(reference)
        used = row.used()
        starts = dict(zip(used, np.cumsum([0, *(builder.signal(r).width for r in flat)])))
        index = np.array([starts[row.sources[k]] for k in row.owner]) + row.elements
        joined = flat[0] if len(flat) == 1 else builder.add(Concatenate, f"{name}/joined", *flat)
        if np.array_equal(index, np.arange(builder.signal(joined).width)):
            return joined
        return builder.add(Select, f"{name}/picked", joined, index=index)

    def _absorbed(self, groups):
        """{product or offset: the group whose Scan alone reads it}: a known cell is recognised by them."""
        group_of = {n: k for k, g in enumerate(groups) if any(m.startswith("state ") for m in g) for n in g}
        shown = {self._maker(s) for r in self.shown.values() for s in r.used()}
        readers = defaultdict(set)
        for n, rows in self.reads.items():
            for maker in {self._maker(s) for r in rows for s in r.used()}:
                readers[maker].add(n)
        for piece in self.pieces.values():
            shown |= {m for m in map(self._maker, piece.next.used()) if m not in group_of}
        found = {}
        for name in reversed(list(self.nodes)):
            own = {found.get(n, group_of.get(n)) for n in readers[name]}
            linear = isinstance(self.nodes[name], (Dense, Affine)) and name not in group_of
            if linear and name not in shown and len(own) == 1 and None not in own:
                found[name] = own.pop()
        return found

    def _layer(self, builder, made, name):
        """One layer, over frames."""
        layer = self.nodes[name]
        if isinstance(layer, Part):
            self._part(layer)
            return
        inputs = [self._place(builder, made, name, r) for r in self.reads[name]]
        features = [self.call.signals[r].features for r in layer.inputs[: len(inputs)]]
        inputs = [
            r if builder.signal(r).features == f else builder.add(Reshape, f"{name}/frame", r, features=f)
            for r, f in zip(inputs, features)
        ]
        if isinstance(layer, Conv1D):
            kind, fields = _of_one_frame(layer)
        elif isinstance(layer, (FrameByFrame, Recurrent)):
            kind, fields = type(layer), fields_of(layer)
        else:
            raise refused("has a time of its own within a call", where=layer.where)
        made[name] = reference = builder.add(kind, name, *inputs, **fields)
        if isinstance(layer, Recurrent):
            made[f"{name}:h"] = reference
            if "c" in layer.states:
                made[f"{name}:c"] = f"{reference}:cells"

    def _part(self, part):
        """Layers with a time within a call, over frames."""
        (row,) = self.reads[part.name]
        reference = self._place(self.builder, self.made, part.name, row)
        wanted = part.graph.signals[part.graph.inputs[0]]
        features = (wanted.length, *wanted.features)
        if self.builder.signal(reference).features != features:
            reference = self.builder.add(Reshape, f"{part.name}/frames", reference, features=features)
        made = self.builder.add(TimeDistributed, part.name, reference, graph=part.graph)
        self.made[part.name] = made

    def _scan(self, inside, states):
        """A circle of layers as a Scan."""
        step, made, per_step = GraphBuilder(), {}, []
        rows = [r for n in inside for r in self.reads[n]] + [self.pieces[s].next for s in states]
        for source in dict.fromkeys(s for r in rows for s in r.used()):
            own = self._maker(source) in inside or source in {f"state {s}" for s in states}
            if not own:
                per_step.append(source)
        if not per_step:
            raise refused("depends on nothing but itself", where=f"the state {states[0]!r}")
        widths = {s: self.builder.signal(self.made[s]).features for s in per_step}
        for k, source in enumerate(per_step):
            made[source] = step.input(f"x{k}", widths[source], time=False)
        for state in states:
            width = len(self.pieces[state].positions)
            made[f"state {state}"] = step.input(f"{state}", (width,), time=False)
        for n in inside:
            self._layer(step, made, n)
        for state in states:
            after = self._place(step, made, f"next {state}", self.pieces[state].next)
            step.output(f"next {state}", after)
        wanted = [s for s in made if self._used_outside(s, inside, states)]
        for k, source in enumerate(wanted or [f"state {states[0]}"]):
            step.output(f"y{k}", made[source])
        name = self.builder.free_name(self.pieces[states[0]].state)
        references = [self.made[s] for s in per_step]
        scan = self.builder.add(
            Scan,
            name,
            *references,
            graph=step.graph(),
            states=tuple(states),
            per_step=len(per_step),
        )
        for k, source in enumerate(wanted):
            self.made[source] = scan if k == 0 else f"{scan}:y{k}"

    def _used_outside(self, source, inside, states):
        """Whether a value that a Scan makes is read elsewhere."""
        own = self._maker(source) in inside or source in {f"state {s}" for s in states}
        others = [r for n, rows in self.reads.items() if n not in inside for r in rows]
        others += [p.next for s, p in self.pieces.items() if s not in states]
        return own and any(source in r.used() for r in [*others, *self.shown.values()])

    def _output(self, output):
        row, signal = self.shown[output.name], self.call.signals[output.value]
        reference = self._place(self.builder, self.made, output.name, row)
        features = signal.features
        if signal.time and signal.length != 1:
            features = (signal.length, *features)
        if self.builder.signal(reference).features != features:
            reference = self.builder.add(Reshape, output.name, reference, features=features)
        axes = output.axes if signal.time and signal.length == 1 else "btf"
        self.builder.output(output.name, reference, axes)


def _of_one_frame(layer):
    """(the class, the fields) of a convolution over a single frame: the tap that falls on it."""
    left = (layer.span - 1) // 2 if layer.padding == "same" else layer.padding[0]
    tap, rest = divmod(left, layer.dilation)
    if rest or tap >= layer.weight.shape[1] or layer.groups != 1:
        raise refused("has no tap on the one frame of a call", where=layer.where)
    fields = {"weight": layer.weight[:, tap, :], "bias": layer.bias, "activation": layer.activation}
    return Dense, fields
