"""Keras's own cells whose activation is of all units together, a softmax: the graph of their one step."""

from __future__ import annotations

from ... import layers
from ...graph import GraphBuilder
from ..axes.values import Network, Tensor
from ..operators.recurrence import written_out
from .algebra import ADVICE


class WrittenOut:
    """A cell, a graph class and its fields, as the step of a Scan; ``states``: the names of its states."""

    def __init__(self, context, kind, cell):
        self.context, self.kind, self.cell = context, kind, cell
        self.states = ("state",) if kind is not layers.LSTM else ("state_0", "state_1")

    def fields(self, x, started):
        """The fields of the Scan over the sequence ``x``; ``started``: whether its states are given."""
        net, units = Network(ADVICE), self.cell["recurrent_weight"].shape[1]
        net.builder, net.inside, net.name = GraphBuilder(), True, "step"
        features = self.context.builder.signal(x).features
        one = lambda reference: Tensor((reference,), ("b", "f"))
        frame = one(net.builder.input("x", features, time=False))
        states = [one(net.builder.input(name, (units,), time=False)) for name in self.states]
        made = written_out(net, frame, self.kind, self.cell, states)
        for name, after in zip(self.states, made):
            net.builder.output(f"next {name}", after.reference)
        net.builder.output("y", made[0].reference)
        graph = net.builder.graph(["x", *self.states])
        return {"graph": graph, "states": self.states, "started": self.states if started else ()}
