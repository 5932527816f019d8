"""The recurrent states of a network: which it has, where they may start, and what a stream may go on from."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np

from . import lowering, state_form, timing
from .errors import StateError
from .ports import as_float32
from .state import State


class ModelStates:
    """The states of ``run_graph``, which the engine runs for ``graph``.

    ``values``: (name, value number, size) of every recurrent state, in the order of the layers. ``started``:
    names of those that an input or another layer sets at the beginning. ``windows``: layers that remember
    frames, which recurrent values alone do not hold.
    """

    def __init__(self, graph, run_graph):
        self.graph, self.run_graph = graph, run_graph
        number = lowering.value_numbers(run_graph)
        recurrent = [x for x in run_graph.layers if x.keeps == "state"]
        lifted = run_graph.metadata.get("lifted", {})  # layers that keep the names they had as scans
        states = {x.name: dict(lifted.get(x.name, [(s, s) for s in x.states])) for x in recurrent}
        self.values = [
            (f"{x.name}/{name}", number[f"{x.name}:{s}"], run_graph.signals[f"{x.name}:{s}"].width)
            for x in recurrent
            for s, name in states[x.name].items()
        ]
        self.started = {f"{x.name}/{states[x.name][s]}" for x in recurrent for s in x.started}
        self.windows = [x for x in run_graph.layers if x.keeps == "frames"]

    @cached_property
    def fingerprint(self):
        """A hash of the network: its structure and every weight."""
        from .format import graph_json

        return graph_json.fingerprint(self.graph)

    def make(self, arrays, batch_size, kind=None):
        """A State of this network that holds ``arrays``."""
        return State(arrays, self.fingerprint, batch_size, kind)

    def read(self, value, batch_size, kind, wanted, part):
        """{name: array with batch} of a State or a dict of arrays, checked against what a stream of ``kind``
        keeps: ``wanted``, {name: empty array of its shape and type}. Without "position" it starts a sequence.
        ``part``: what of the network the stream runs (see streaming.py).

        A State of recurrent values and a dict of them are refused where the network remembers frames.
        """
        if not isinstance(value, (State, dict)):
            raise StateError(
                "this is not a state",
                expected="a State, or a dict {name: array}",
                found=type(value).__qualname__,
                fix="Call reset() for a new sequence." if value is None else None,
            )
        if isinstance(value, State):
            self._check_owner(value)
            if value.of_stream:
                value.check_kind(batch_size, kind)
            value = value.arrays()
        if "position" in value:
            return self._complete(value, batch_size, wanted, part.clocks)
        windows = [layer for layer in self.windows if layer.name in part.layers]
        if windows:
            raise StateError(
                "this state holds recurrent values only, but the network also remembers frames: a stream "
                "cannot go on from it",
                where=windows[0].where,
                fix="Set what Stream.state gave; to start a new sequence from it: "
                "model.stream(initial_state=...).",
            )
        arrays = self.initial_arrays(value, batch_size)
        self.check_started(arrays)
        self.check_kept(arrays, part.layers)
        return arrays

    def check_kept(self, names, layers):
        """StateError where one of these states is of none of the layers that a stream runs."""
        for name in names:
            if name.rpartition("/")[0] not in layers:
                raise StateError(
                    f"{name!r} belongs to an input that is given whole, and cannot be set for the stream",
                    fix="Push that input too, or run its part of the network alone.",
                )

    def _complete(self, value, batch_size, wanted, clocks):
        """All the arrays a stream keeps."""
        for name in {*value} ^ {*wanted}:
            fault = "is missing from the state" if name in wanted else "is not part of this stream's state"
            raise StateError(
                f"{name!r} {fault}", expected=f"{sorted(wanted)}", found=f"{sorted(map(str, value))}"
            )
        arrays = {}
        for name, like in wanted.items():
            array, shape = value[name], like.shape if batch_size is not None else like.shape[1:]
            if not isinstance(array, np.ndarray) or array.dtype != like.dtype or array.shape != shape:
                found = (
                    f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
                )
                raise StateError(
                    "an array of the state has another type or shape",
                    where=name,
                    expected=f"{like.dtype} {shape}",
                    found=found,
                )
            arrays[name] = array.reshape(like.shape)
        if arrays["position"].max() > 1 << 60:
            raise StateError("the position is impossible", found=str(arrays["position"].max()))
        # what the network itself says comes first at position 0, and would win without a word
        position = arrays["position"].reshape(len(arrays["position"]), -1)
        for name in self.started & {*arrays}:
            led = self._leaders.get(name.rpartition("/")[0])
            own = [k for k, names in enumerate(clocks) if led in names] or range(len(clocks))
            begins = (position[:, own] == 0).all(1)
            self.check_started([name] if arrays[name][begins].any() else [])
        return arrays

    @cached_property
    def _leaders(self):
        return timing.leaders(self.run_graph)

    def initial(self, state, batch, batched):
        """[(value number, (batch, size) array)] from any form an initial state may take."""
        if state is None:
            return []
        if isinstance(state, State):
            self._check_owner(state)
            if state.of_stream and self.windows:
                raise StateError(
                    "this state came from a stream and also holds frames, which a new sequence would lose",
                    where=self.windows[0].where,
                    fix="Set it as stream.state to go on there; a dict of its recurrent arrays starts a new "
                    "sequence.",
                )
            names = {name for name, _, _ in self.values}
            state = {name: array for name, array in state.arrays().items() if name in names}
        if not isinstance(state, Mapping):
            state = self._source_state(state, batched)
        known = {name: (value, size) for name, value, size in self.values}
        made = []
        for name, array in state.items():
            if name not in known:
                raise StateError(f"there is no state {name!r}", expected=f"{list(known)}")
            value, size = known[name]
            a = as_float32(array, f"state {name!r}")
            wanted = (batch, size) if batched else (size,)
            if a.shape != wanted:
                raise StateError(
                    "the state has the wrong shape", where=name, expected=str(wanted), found=str(a.shape)
                )
            made.append((value, np.ascontiguousarray(a.reshape(batch, size))))
        return made

    def initial_arrays(self, value, batch_size):
        """{name: (batch, size) array} of any form an initial state may take, for a stream."""
        names = {number: name for name, number, _ in self.values}
        made = self.initial(value, batch_size or 1, batch_size is not None)
        return {names[number]: a for number, a in made}

    def _lone_form(self):
        """The form of a network whose states are all of one RNN: h_0, or (h_0, c_0)."""
        layers = [layer for layer in self.graph.layers if layer.keeps == "state"]
        modules = {(layer.name.rpartition(".")[0], layer.states) for layer in layers}
        if len(modules) != 1 or "state_inputs" in self.graph.metadata:
            return None
        return state_form.of_stack([layer.name for layer in layers], layers[0].states)

    def _source_state(self, given, batched):
        """Keras's flat list, or the form that a PyTorch program takes, by state name."""
        names = [name for name, _, _ in self.values]
        if self.graph.metadata.get("source") == "torch":
            form = self.graph.metadata.get("initial_states") or self._lone_form()
            if form is None:
                raise StateError(
                    "the source's forward() does not define a form for initial states",
                    expected=f"{{name: array}} of {names}",
                    found=type(given).__name__,
                )
            return state_form.by_name(form, given, batched)
        listed = isinstance(given, (tuple, list))
        values = list(given) if listed else [given]
        if len(values) != len(names):
            raise StateError(
                "the list of states has the wrong length" if listed else "this is not a list of states",
                expected=f"{names}",
                found=str(len(values)) if listed else type(given).__name__,
            )
        return dict(zip(names, values))

    def check_started(self, names):
        """StateError where one of these states is set inside the network."""
        started = [name for name in names if name in self.started]
        if started:
            raise StateError(
                f"{started[0]!r} is set by another layer or an input and cannot be set from outside",
                fix="Give that input: stream(inputs={name: array}).",
            )

    def _check_owner(self, state):
        if state.belongs_to != self.fingerprint:
            raise StateError(
                "the state belongs to another model",
                expected=self.fingerprint[:12],
                found=state.belongs_to[:12],
            )
