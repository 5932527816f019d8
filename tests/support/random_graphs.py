"""Random valid graphs for property tests: small DAGs of every kind of layer, the same for the same seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from rnnrt.graph import GraphBuilder
from rnnrt.layers import (
    FUNCTIONS,
    GRU,
    LSTM,
    Activation,
    Add,
    Affine,
    AveragePool1D,
    BatchNormalization,
    Concatenate,
    Conv1D,
    ConvTranspose1D,
    Dense,
    Flatten,
    GlobalAveragePool,
    GlobalMaxPool,
    Last,
    LayerNormalization,
    MaxPool1D,
    Multiply,
    NotEqual,
    Reshape,
    Reverse,
    Scan,
    Select,
    SimpleRNN,
    Softmax,
    TimeDistributed,
)

SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33)
#: Functions that grow beyond float32, have no answer to some numbers, or leap between two that are next to
#: each other.
UNFIT = ("exponential", "square", "reciprocal", "sqrt", "log", "above", "hard_shrink")
#: Functions whose answers stay small whatever they are given; the others may grow from layer to layer.
BOUNDED = ("tanh", "sigmoid", "hard_sigmoid", "hard_sigmoid_keras2", "hard_tanh", "softsign")


@dataclasses.dataclass(frozen=True)
class Edge:
    """A reference and what the next layer must know of it: the width, and whether there is time."""

    reference: str
    width: int
    timed: bool = True


def random_graph(seed, streamable=True):
    """(graph, inputs): ``inputs(batch, time, seed=0)`` gives {name: float32 array (batch, time, features)}.

    2 to 8 layers from an input to its outputs, widths of 1 to 33. ``streamable``: only layers that can run
    frame by frame (look-ahead and a last step or global pooling at the end included); otherwise reversed
    ones, too, and poolings in front of other layers. ``frames_needed(graph)`` frames are enough for every
    window.
    """
    return _Maker(seed, streamable).make()


def frames_needed(graph, limit=4096):
    """The fewest frames with which every window of ``graph`` is filled at least once."""
    for time in range(1, limit):
        layers = [dataclasses.replace(x, length=time) if x.kind == "input" else x for x in graph.layers]
        try:
            graph.replace(layers)
        except ValueError:
            continue
        return time
    raise AssertionError(f"{limit} frames are not enough")


class _Maker:
    def __init__(self, seed, streamable):
        self.random, self.streamable, self.b = np.random.default_rng(seed), streamable, GraphBuilder()
        self.masks = np.random.default_rng([seed, 1])  # masks leave what else is drawn as it was

    def make(self) -> tuple[object, Callable]:
        width = self.size()
        edges = [Edge(self.b.input("x", (width,)), width)]
        layers = self.random.integers(2, 9)
        while len(self.b.layers) <= layers:
            edges.append(self.step(edges))
        self.b.output("y", self.ending(edges[-1]))
        if self.chance(0.3):
            self.b.output("also", edges[self.random.integers(1, len(edges))].reference)
        graph = self.b.graph(metadata={"source": "random"})

        def inputs(batch, time, seed=0):
            generator = np.random.default_rng((seed, batch, time))
            return {
                name: generator.standard_normal((batch, time, width)).astype(np.float32)
                for name in graph.inputs
            }

        return graph, inputs

    # -- choices ---------------------------------------------------------------------------------------------
    def chance(self, probability):
        return self.random.random() < probability

    def pick(self, items):
        return items[self.random.integers(len(items))]

    def size(self):
        return int(self.pick(SIZES))

    def weights(self, *shape):
        """Numbers that neither explode nor vanish: a variance of about 1 / the last axis."""
        return (self.random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]) or 1)).astype(np.float32)

    def maybe(self, *shape):
        return self.weights(*shape) * 0.5 if self.chance(0.7) else None

    def function(self, names=tuple(FUNCTIONS)):
        name = self.pick([n for n in names if n not in UNFIT])
        return (name, *(0.1 + float(self.random.random()) for _ in FUNCTIONS[name]))

    # -- steps -----------------------------------------------------------------------------------------------
    def step(self, edges):
        """One more layer (or a fork of two and their join) on one of the latest edges."""
        edge = edges[-1] if self.chance(0.8) else self.pick(edges)
        if not edge.timed:
            return self.pick((self.dense, self.activation, self.affine, self.layer_norm))(edge)
        steps = [self.dense, self.conv, self.conv, self.recurrent, self.recurrent, self.fork, self.fork]
        steps += [
            self.pool,
            self.conv_transpose,
            self.affine,
            self.batch_norm,
            self.layer_norm,
            self.activation,
            self.softmax,
            self.select,
            self.per_frame,
            self.scan,
        ]
        if not self.streamable:
            steps += [self.reverse, self.collapse]
        return self.pick(steps)(edge)

    def ending(self, edge):
        if edge.timed and self.chance(0.25):
            edge = self.collapse(edge)
        return self.dense(edge).reference if self.chance(0.5) else edge.reference

    def add(self, kind, edge, width=None, **fields):
        return dataclasses.replace(
            edge, reference=self.b.add(kind, kind.kind, edge.reference, **fields), width=width or edge.width
        )

    def dense(self, edge):
        out, function = self.size(), self.function() if self.chance(0.5) else "linear"
        return self.add(
            Dense, edge, out, weight=self.weights(out, edge.width), bias=self.maybe(out), activation=function
        )

    def convolution(self, kind, edge, shape, **fields):
        return self.add(
            kind,
            edge,
            shape[0],
            weight=self.weights(*shape),
            bias=self.maybe(shape[0]),
            activation=self.function() if self.chance(0.5) else "linear",
            **fields,
        )

    def conv(self, edge, out=None, keep_rate=False):
        """A Conv1D of any stride, dilation, groups and padding; ``keep_rate``: as many frames out as in,
        whatever the window.
        """
        groups = int(self.pick([g for g in (1, 1, 1, 2, 3, edge.width) if edge.width % g == 0]))
        out = out or groups * max(1, self.size() // groups)
        groups = groups if out % groups == 0 else 1
        taps, dilation = int(self.random.integers(1, 6)), int(self.pick((1, 1, 1, 2, 3)))
        stride = 1 if keep_rate or self.chance(0.6) else int(self.random.integers(2, 4))
        window = (taps - 1) * dilation
        ahead = int(self.random.integers(0, window + 1))
        paddings = [(window, 0), (window - ahead, ahead)]
        paddings += (
            []
            if keep_rate
            else [(0, 0), (0, 0), (int(self.random.integers(0, 3)), int(self.random.integers(0, 3)))]
        )
        paddings += ["same"] if stride == 1 or not self.streamable else []
        padding = self.pick(paddings)
        shape = (out, taps, edge.width // groups)
        fields = {"stride": stride, "dilation": dilation, "groups": groups}
        return self.convolution(Conv1D, edge, shape, padding=padding, **fields)

    def conv_transpose(self, edge, out=None, stride=None):
        """A ConvTranspose1D that cuts off no more than it adds; ``stride``: exactly so many frames of one."""
        groups = int(self.pick([g for g in (1, 1, 2, 3, edge.width) if edge.width % g == 0]))
        out = out or groups * max(1, self.size() // groups)
        groups = groups if out % groups == 0 else 1
        taps, dilation = int(self.random.integers(1, 6)), int(self.pick((1, 1, 2)))
        span, exact = (taps - 1) * dilation + 1, stride is not None
        stride = stride or int(self.random.integers(1, 4))
        left = int(self.random.integers(0, span))
        right = span - stride - left if exact else int(self.random.integers(-2, span - left))
        shape = (out, taps, edge.width // groups)
        fields = {"stride": stride, "dilation": dilation, "groups": groups}
        return self.convolution(ConvTranspose1D, edge, shape, padding=(left, right), **fields)

    def up_and_down(self, edge, width):
        """Through a higher rate and back."""
        stride = int(self.random.integers(2, 4))
        edge = self.conv_transpose(edge, self.size(), stride)
        more = int(self.random.integers(0, 3))
        ahead = int(self.random.integers(0, more + 1))
        weight = self.weights(width or 3, stride + more, edge.width)
        return self.add(Conv1D, edge, width or 3, weight=weight, stride=stride, padding=(more - ahead, ahead))

    def pool(self, edge):
        size, stride = int(self.random.integers(1, 5)), int(self.random.integers(1, 4))
        padding = (
            (int(self.random.integers(0, size)), int(self.random.integers(0, size)))
            if self.chance(0.4)
            else (0, 0)
        )
        if self.chance(0.3) and (stride == 1 or not self.streamable):
            padding = "same"
        kind = self.pick((MaxPool1D, AveragePool1D))
        fields = {"count_padding": True} if kind is AveragePool1D and self.chance(0.5) else {}
        return self.add(kind, edge, size=size, stride=stride, padding=padding, **fields)

    def recurrent(self, edge, reverse=False):
        kind, units, fields = self.pick((SimpleRNN, LSTM, GRU)), self.size(), {}
        rows, seen = kind.gates * units, units
        bins = self.pick([n for n in range(2, edge.width + 1) if edge.width % n == 0] or [1])
        bins = bins if self.chance(0.2) else 1  # rows of their own
        mask = self.mask(edge)
        if bins > 1:
            edge = self.add(Reshape, edge, edge.width // bins, features=(bins, edge.width // bins))
        if kind is LSTM and self.chance(0.3):
            seen = self.size()
            fields["projection"] = self.weights(seen, units)
        if kind is GRU:
            fields["reset_after"] = self.chance(0.6)
            fields["recurrent_bias"] = self.maybe(rows) if fields["reset_after"] else None
        if kind is not SimpleRNN:
            fields["recurrent_activation"] = self.pick(BOUNDED[1:4])
        if self.chance(0.25):
            norm = "joint" if kind is not GRU and self.chance(0.3) else "gates"
            fields |= {
                "norm": norm,
                "gamma": self.maybe(rows),
                "beta": self.maybe(rows),
                "epsilon": self.pick((1e-3, 1e-5)),
            }
        made = self.add(
            kind,
            edge,
            seen,
            weight=self.weights(rows, edge.width),
            recurrent_weight=self.weights(rows, seen),
            bias=self.maybe(rows),
            activation=self.function(BOUNDED) if self.chance(0.3) else "tanh",
            reverse=reverse,
            **mask,
            **fields,
        )
        if kind is LSTM and self.chance(0.15):
            made = dataclasses.replace(made, reference=f"{made.reference}:cells", width=units)
        if bins > 1:
            made = self.add(Reshape, made, bins * made.width, features=(bins * made.width,))
        return made

    def mask(self, edge):
        """Now and then a mask of the frames a recurrent layer reads: where some feature of theirs is above 0,
        in the same frame or in one of the next.
        """
        if self.masks.random() < 0.7:
            return {}
        feature, taps = int(self.masks.integers(edge.width)), int(self.masks.integers(1, 3))
        told = self.b.add(Select, "told", edge.reference, index=(feature,))
        ones = np.ones((1, taps, 1), np.float32)
        told = self.b.add(Conv1D, "ahead", told, weight=ones, padding=(0, taps - 1), activation="relu")
        told = self.b.add(NotEqual, "mask", told)
        return {"mask": told, "masked_output": ("hold", "zero")[self.masks.integers(2)]}

    def affine(self, edge):
        return self.add(
            Affine, edge, scale=self.random.uniform(-2, 2, edge.width), offset=self.weights(edge.width)
        )

    def batch_norm(self, edge):
        n = edge.width
        return self.add(
            BatchNormalization,
            edge,
            mean=self.weights(n),
            variance=self.random.uniform(0.2, 3, n),
            gamma=self.maybe(n),
            beta=self.maybe(n),
        )

    def layer_norm(self, edge):
        return self.add(
            LayerNormalization,
            edge,
            size=edge.width,
            gamma=self.maybe(edge.width),
            beta=self.maybe(edge.width),
            epsilon=1e-3,
        )

    def activation(self, edge):
        return self.add(Activation, edge, activation=self.function())

    def softmax(self, edge):
        return self.add(Softmax, edge)

    def select(self, edge):
        index = tuple(int(i) for i in self.random.integers(0, edge.width, self.size()))
        return self.add(Select, edge, len(index), index=index)

    def per_frame(self, edge):
        """A small convolution over a frame's numbers, run inside each frame."""
        if edge.width < 4:
            return self.activation(edge)
        inner = GraphBuilder()
        x = inner.input("frame", (1,), length=edge.width)
        h = inner.add(
            Conv1D, "conv", x, weight=self.weights(2, 3, 1), bias=self.maybe(2), stride=2, activation="tanh"
        )
        inner.output("y", inner.add(Flatten, "flatten", h))
        column = self.add(Reshape, edge, features=(edge.width, 1))
        return self.add(TimeDistributed, column, 2 * ((edge.width - 3) // 2 + 1), graph=inner.graph())

    def scan(self, edge):
        """A cell of one or two states, one of them from before, with a joint product and an answer of its own
        width.
        """
        step, units, answer = GraphBuilder(), self.size(), self.size()
        x, h = step.input("x", (edge.width,), time=False), step.input("h", (units,), time=False)
        states, joined = ("h",), step.add(Concatenate, "join", *((x, h) if self.chance(0.5) else (h, x)))
        if self.chance(0.5):
            states = ("h", "before")
            was = step.input("before", (units,), time=False)
            joined = step.add(Concatenate, "three", joined, was)
        size = step.signal(joined).width
        new = step.add(
            Dense,
            "new",
            joined,
            weight=self.weights(units, size),
            bias=self.maybe(units),
            activation=self.function(BOUNDED),
        )
        shown = step.add(Concatenate, "shown", new, x)
        y = step.add(
            Dense, "y", shown, weight=self.weights(answer, units + edge.width), bias=self.maybe(answer)
        )
        for name, value in zip(("h'", "before'", "answer"), (new, h)[: len(states)] + (y,)):
            step.output(name, value)
        made = self.add(
            Scan,
            edge,
            answer,
            graph=step.graph(),
            states=states,
            initial=self.maybe(units * len(states)),
            reverse=not self.streamable and self.chance(0.5),
            **self.mask(edge),
        )
        if self.chance(0.2) and not self.streamable:
            return dataclasses.replace(made, reference=f"{made.reference}:h", width=units, timed=False)
        return made

    def fork(self, edge):
        """Two or three branches of different delay and one rate, joined again."""
        kind = self.pick((Add, Multiply, Concatenate))
        width = None if kind is Concatenate else self.size()
        branches = [self.branch(edge, width) for _ in range(self.random.integers(2, 4))]
        if (kind is Concatenate and self.chance(0.5)) or edge.width == width:
            branches.insert(self.random.integers(len(branches) + 1), edge)  # a skip connection
        joined = self.b.add(kind, kind.kind, *(branch.reference for branch in branches))
        return dataclasses.replace(
            edge, reference=joined, width=width or sum(branch.width for branch in branches)
        )

    def branch(self, edge, width):
        if self.chance(0.3):
            edge = self.recurrent(edge, reverse=not self.streamable and self.chance(0.5))
        for _ in range(self.random.integers(1, 3)):
            edge = self.conv(edge, width, keep_rate=True)
        return self.up_and_down(edge, width) if self.chance(0.2) else edge

    def reverse(self, edge):
        return self.add(Reverse, edge) if self.chance(0.3) else self.recurrent(edge, reverse=True)

    def collapse(self, edge):
        """The last step or a pooling over all time: from here on one value a sequence."""
        return dataclasses.replace(
            self.add(self.pick((Last, GlobalMaxPool, GlobalAveragePool)), edge), timed=False
        )
