"""Live streams: whether a network has them, and how one is made."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from . import _engine, ragged, timing
from .calls import WholeCalls
from .errors import DTypeError, NotStreamableError, ShapeError, did_you_mean
from .layers.record import Record, record
from .model_states import ModelStates
from .passes.given import without_given
from .plans import Plans
from .ports import Ports, as_array, as_float32, stream_signature

#: Most cuts of a network that are kept; all are dropped when there would be more. Streams of a dropped one go
#: on, but not in one batch with those made after it.
MOST = 64


@record
class Streamed(Record):
    """What streams of a network once some inputs are known whole: a graph, its ports and plans; ``given``
    answers ``values``, {input of the graph: value}, from these inputs, or is None.
    """

    graph: Any
    ports: Ports
    plans: Plans
    given: WholeCalls | None
    values: dict[str, str]
    may_emit_many: bool

    @cached_property
    def layers(self):
        """Names of its layers."""
        return {x.name for x in self.graph.layers}

    @cached_property
    def clocks(self):
        """See Model.clocks."""
        return timing.clocks(self.graph)

    @cached_property
    def delay(self):
        """See Model.delay."""
        delays = timing.delays(self.graph)
        return delays[0] if len(delays) == 1 else delays

    @cached_property
    def signature(self):
        """Of its chunks, where they have a short way in."""
        made = stream_signature(self.ports) if len(self.clocks) == 1 else None
        return made and _engine.Signature(*made)

    @cached_property
    def engine_inputs(self):
        """Ports of its inputs, in the order of the engine's rows."""
        return [self.ports.inputs[k] for k in self.ports.engine_order]

    @cached_property
    def timed_inputs(self):
        """Those with a time axis, in the order of the source."""
        return [port for port in self.ports.inputs if port.signal.time]

    @cached_property
    def timed_clocks(self):
        """The number of the clock of each of these."""
        return [self.plans.common.clock(self.engine_inputs.index(port)) for port in self.timed_inputs]

    @cached_property
    def clock_order(self):
        """Numbers of the clocks, as the inputs name them first."""
        of_input = {port.layer.name: clock for port, clock in zip(self.timed_inputs, self.timed_clocks)}
        return [of_input[own[0]] for own in self.clocks]

    @cached_property
    def output_features(self):
        """[(features, timed)] of the outputs."""
        return [(signal.features, signal.time) for _, signal in self.ports.outputs]

    def obstacle(self, every_step):
        """(layer, reason) why it cannot stream, or None."""
        if not any(s.signal.time for s in self.ports.inputs):
            return self.ports.inputs[0].layer.name, "has no time axis, and neither has any other input"
        if self.plans.common is None:
            return self.plans.needs_length, "its padding depends on how long the whole input is"
        return self.plans.common.obstacle(every_step)


class Streams:
    """The live streams of one network, which the engine runs as ``run_graph``."""

    def __init__(self, run_graph, ports, plans, states):
        self.graph, self.ports, self.states = run_graph, ports, states
        self._whole = Streamed(run_graph, ports, plans, None, {}, timing.may_emit_many(run_graph))
        self._cuts: dict[frozenset[str], Streamed] = {}
        #: {every_step: what streams} where nothing was to be given, and nothing stood in the way.
        self._known: dict[bool, Streamed] = {}

    def obstacle(self, every_step=False):
        """(layer, reason) why the network cannot stream, or None."""
        return self._for(frozenset()).obstacle(every_step)

    def _for(self, names):
        """The Streamed where the inputs ``names`` are given whole. What depends on inputs without a time axis
        alone is worked out beforehand too where the engine cannot do it on its way."""
        timed = {s.signal.time for s in self.ports.inputs}
        if not names and (timed != {True, False} or not self._whole.obstacle(False)):
            return self._whole
        made = self._cuts.get(names) or self._cut(names)
        if made.obstacle(False):
            return made
        if len(self._cuts) >= MOST:
            self._cuts = {}
        return self._cuts.setdefault(names, made)  # of two threads that make it, both get the first

    def _cut(self, names):
        given, rest, values = without_given(self.graph, names)
        if max(len(values), len(rest.inputs)) > _engine.MAX_PORTS:
            raise NotStreamableError(
                "too much goes from the inputs that are known whole to the others",
                expected=f"at most {_engine.MAX_PORTS} values",
                found=str(max(len(values), len(rest.inputs))),
                fix="Run it on whole inputs: model(x).",
            )
        calls, isa, family = None, self._whole.plans.isa, self._whole.plans.any()
        if given is not None:  # where it packs, its rows are as long as what is given, unless they say so
            facts = {k: v for k, v in given.metadata.items() if k != "lengths_input"}
            given = given.replace(given.layers, metadata=facts)
            plans = Plans(given, isa, family, self._whole.plans.threads)
            calls = WholeCalls(given, Ports(given, given), plans, ModelStates(given, given))
        emits = timing.may_emit_many(rest)
        return Streamed(rest, Ports(rest, rest), Plans(rest, isa, family), calls, values, emits)

    def _refused(self, obstacle, every_step, names):
        how = "stream with every_step" if every_step and not self._for(names).obstacle(False) else "stream"
        fix = "Run it on whole inputs: model(x)."
        left = [clock for clock in timing.clocks(self.graph) if names.isdisjoint(clock)]
        ways = [left[:k] + left[k + 1 :] for k in reversed(range(len(left)))]  # all but one, from the last on
        for way in [*([clock] for clock in left), *ways] if len(left) > 1 else ():
            more = [n for n in self.graph.inputs if any(n in clock for clock in way)]
            try:
                helps = not self._for(names | set(more)).obstacle(every_step)
            except NotStreamableError:
                continue
            if helps:
                optional = {s.layer.name for s in self.ports.inputs if s.is_mask or s.optional}
                told = [n for n in more if n not in optional]
                given = ", ".join(f"{n!r}: array" for n in self.graph.inputs if n in told or n in names)
                too = " too" if names else ""
                fix = f"Give {' and '.join(map(repr, told))} whole{too}: stream(inputs={{{given}}})."
                break
        return NotStreamableError(
            f"this model cannot {how}: the layer {obstacle[1]}", where=f"layer {obstacle[0]!r}", fix=fix
        )

    def stream(self, model, batch_size, *, every_step, inputs, initial_state, realtime, block):
        """The Stream that ``Model.stream`` answers with."""
        plain = inputs is None and initial_state is None
        if plain and (batch_size is None or (type(batch_size) is int and 1 <= batch_size <= 1 << 24)):
            part = self._known.get(every_step)
            if part is not None:
                plan = part.plans.common
                return _engine.Stream(model, plan, batch_size, every_step, [], part, block, realtime)
        if not isinstance(inputs, Mapping | None):
            raise DTypeError(
                "stream() takes the inputs that are given whole by name",
                expected="{name: array}",
                found=type(inputs).__name__,
            )
        if batch_size is not None and (
            not isinstance(batch_size, (int, np.integer)) or not 1 <= batch_size <= 1 << 24
        ):
            raise ShapeError(
                f"batch_size must be None or a whole number from 1 to {1 << 24}", found=repr(batch_size)
            )
        given = dict(inputs or {})
        facts = self.graph.metadata
        packing = facts.get("lengths_input") or facts.get("lengths_option")
        lengths = given.pop(packing, None)
        for name in given:
            if name not in self.ports.names:
                fix = did_you_mean(str(name), self.ports.names)
                raise ShapeError(f"there is no input {name!r}", expected=f"{self.ports.names}", fix=fix)
        names = self._whole_inputs(given)
        part = self._for(names)
        obstacle = part.obstacle(every_step)
        if obstacle:
            raise self._refused(obstacle, every_step, names)
        lengths = self._lengths(part, packing, lengths, batch_size)
        once = self._once(part, part.engine_inputs, given, batch_size, lengths)
        batch = None if batch_size is None else int(batch_size)
        stream = _engine.Stream(model, part.plans.common, batch, every_step, once, part, block, realtime)
        if plain and not once and every_step in (False, True):
            self._known[bool(every_step)] = part
        if initial_state is not None:
            start = self.states.initial_arrays(initial_state, stream.batch_size)
            self.states.check_started(start)
            self.states.check_kept(start, part.layers)
            stream._start_from(start)
        return stream

    def _whole_inputs(self, given):
        """The inputs over time among those given, with the masks that belong to them."""
        names = {n for n in given if self.graph[n].time}
        optional = {s.layer.name for s in self.ports.inputs if s.is_mask or s.optional}
        for clock in timing.clocks(self.graph):
            missing = [n for n in clock if n not in names and n not in optional]
            if names.isdisjoint(clock) or not missing:
                names |= set() if names.isdisjoint(clock) else set(clock)
                continue
            raise ShapeError(
                "the frames of these inputs are joined, and only one of them is given whole",
                where=f"inputs {next(n for n in clock if n in names)!r} and {missing[0]!r}",
                fix="Give both whole, or push both.",
            )
        if names and not any(
            x.time for x in map(self.graph.__getitem__, self.graph.inputs) if x.name not in names
        ):
            raise ShapeError(
                "all inputs are given whole: nothing is left to stream",
                found=f"{sorted(names)}",
                fix="Call the model: model(x).",
            )
        return frozenset(names)

    def _lengths(self, part, name, lengths, batch_size):
        """The lengths of the rows given whole, (rows,), where the caller says them."""
        if lengths is None:
            return None
        if part.given is None or not any(x.lengths == "honours" for x in part.given.graph.layers):
            raise ShapeError(
                "the lengths of rows count for inputs that are given whole, and none of them is packed here",
                where=f"input {name!r}",
                fix=f"Leave {name!r} out: a stream has the rows that are pushed.",
            )
        lengths = as_array(lengths, f"input {name!r}")
        return np.full(batch_size or 1, lengths) if lengths.size == 1 else lengths

    def _once(self, part, specs, given, batch_size, lengths):
        """(1, rows, width) arrays of the inputs of ``specs`` without a time axis."""
        rows, values = batch_size or 1, {}
        for spec in self.ports.inputs:
            name = spec.layer.name
            if spec.signal.time or name in given or spec.optional:
                continue
            raise ShapeError(
                f"the input {name!r} has no time axis: give it once", fix="stream(inputs={name: array})"
            )
        if part.given is not None:
            asked = [
                _for_rows(s, given.get(s.layer.name, _nothing(s)), batch_size)
                for s in part.given.ports.inputs
            ]
            answers = part.given.answer(asked, lengths)
            answers = answers if isinstance(answers, tuple) else (answers,)
            values = dict(zip(part.values, answers))
        needed = {s.layer.name for s in (*specs, *(part.given.ports.inputs if part.given else ()))}
        for spec in self.ports.inputs:
            if spec.layer.name in given and spec.layer.name not in needed:  # no layer reads it
                spec.checked(_for_rows(spec, given[spec.layer.name], batch_size), batch_size is not None)
        once = []
        for spec in specs:
            if spec.signal.time:
                continue
            value = values.get(spec.layer.name, given.get(spec.layer.name))
            a = (
                np.zeros((rows, spec.signal.width), np.float32)
                if value is None
                else as_array(value, spec.where)
            )
            by_row = a.shape == (rows, *spec.signal.features)
            if value is not None and not by_row and a.shape != spec.signal.features:
                raise _wrong_once(spec, rows, a)
            if value is not None:
                spec.check_ids(a, ["b"] * by_row)
            a = as_float32(a, spec.where).reshape(-1, spec.signal.width)
            once.append(np.ascontiguousarray(np.broadcast_to(a, (rows, spec.signal.width)))[None])
        return once


def _nothing(spec):
    """What stands for an optional input that is not given: zeros where it is given once."""
    return None if spec.signal.time else np.zeros(spec.signal.features, np.float32)


def _wrong_once(spec, rows, a):
    return ShapeError(
        "the input has the wrong shape",
        where=spec.where,
        expected=f"{spec.signal.features}, or {(rows, *spec.signal.features)}",
        found=str(a.shape),
    )


def _for_rows(spec, x, batch_size):
    """``x`` as a whole call takes it for ``batch_size`` rows: one value for all of them is repeated."""
    if x is None:
        return None
    if spec.signal.time and ragged.any_ragged([spec], [x]):
        raise ShapeError(
            "rows of different length cannot be given whole to one stream",
            where=spec.where,
            fix="Make one stream for each row, and step them together: model.step_many(streams, frames).",
        )
    x = as_array(x, spec.where)
    alone = x.ndim == spec.rank - 1
    if not spec.signal.time and batch_size is None and x.shape == (1, *spec.signal.features):
        return x[0]
    if not alone and (batch_size is None or x.ndim != spec.rank):
        one = [n for n, axis in zip(spec.shape, spec.letters) if axis != "b"]
        raise ShapeError(
            "the input has the wrong shape",
            where=spec.where,
            expected=f"({', '.join('time' if n is None else str(n) for n in one)})"
            + (f", or that of {batch_size} rows" if batch_size is not None else ", without a batch axis"),
            found=str(x.shape),
        )
    at = spec.letters.index("b")
    if alone and batch_size is not None:
        return np.repeat(np.expand_dims(x, at), batch_size, at)
    if not alone and x.shape[at] != batch_size:
        raise ShapeError(
            "the input has another number of rows than the stream",
            where=spec.where,
            expected=str(batch_size),
            found=str(x.shape[at]),
        )
    return x
