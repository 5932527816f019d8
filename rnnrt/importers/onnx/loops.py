"""ONNX's Loop and Scan over the frames of sequences, as the layer Scan.

A Loop counts by itself: what its body takes by the number of the step is a frame of a sequence, what it
carries unchanged is given once, what it carries on is a state, and what it collects is a sequence again. It
must run once for every frame; a stop that depends on data is refused.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...errors import UnsupportedModelError
from ...layers import Scan
from ..axes.sizes import Size
from ..axes.slots import Slots, tensor_of
from ..axes.values import AxesError, Tensor
from ..containers.protobuf import shown
from .folding import integers
from .moves import Frozen


@dataclass(frozen=True)
class Counter:
    """The number of the step, and how much was added to it."""

    more: int = 0


@dataclass(frozen=True)
class Until:
    """Whether the step with this number, and something added, is before ``limit``."""

    more: int
    limit: object


@dataclass(frozen=True)
class Outside:
    """A tensor of the program around a body."""

    name: str
    tensor: Tensor


_KEEPS = ("Cast", "Identity", "Squeeze", "Unsqueeze", "Reshape")


def counted(op, given):
    """What an operator makes of a Counter or an Until, or None where it reads neither."""
    if not any(isinstance(v, (Counter, Until)) for v in given):
        return None
    first, second = (*given, None)[:2]
    if op in _KEEPS:
        return first
    if (
        op in ("Add", "Sub")
        and isinstance(first, Counter)
        and isinstance(second, np.ndarray)
        and second.size == 1
    ):
        step = int(second.reshape(-1)[0])
        return Counter(first.more + (step if op == "Add" else -step))
    if op == "Add" and isinstance(second, Counter) and not isinstance(first, Counter):
        return counted(op, [second, first])
    if op == "Less" and isinstance(first, Counter) and isinstance(second, np.ndarray) and second.size == 1:
        return Until(first.more, second.reshape(-1)[0])
    if op == "And":
        ends = [v for v in given if not (isinstance(v, np.ndarray) and v.all())]
        if all(isinstance(v, Until) for v in ends) and len({v.limit for v in ends}) == 1:
            return max(ends, key=lambda v: v.more)  # what is more is first at the limit
    raise UnsupportedModelError("a loop whose steps are counted in this way is not supported", found=f"{op}")


class Body:
    """A body on its way to a Scan: the graph of one step is written into ``net``.

    ``sequences``, ``once``: tensors of the program that the step reads, by their name in it, and what each is
    inside.
    """

    def __init__(self, outer, net):
        self.outer, self.net = outer, net
        self.sequences, self.once, self.frames = {}, {}, []

    def frame(self, outside, position):
        """The frame of a sequence that a step takes."""
        x = tensor_of(self.outer, outside.tensor) if isinstance(outside.tensor, Slots) else outside.tensor
        if x is None or x.axes[position] != "t" or len(x.references) > 1:
            raise AxesError("a step takes a part of what is not a sequence", found=str(outside.tensor))
        key = (x.reference, position)
        if key not in self.sequences:
            self.outer.whole(x)
            axes = [a for k, a in enumerate(x.axes) if k != position]
            self.sequences[key] = (x, self._input(f"frame{len(self.sequences)}", axes, self.outer.signal(x)))
        return self.sequences[key][1]

    def value(self, outside):
        """A value of the program that every step reads."""
        x = tensor_of(self.outer, outside.tensor) if isinstance(outside.tensor, Slots) else outside.tensor
        if x is None or "t" in x.axes or len(x.references) > 1:
            raise UnsupportedModelError("a step reads a whole sequence", found=str(outside.tensor))
        if x.reference not in self.once:
            made = self._input(f"given{len(self.once)}", x.axes, self.outer.signal(x))
            self.once[x.reference] = (x, made)
        return self.once[x.reference][1]

    def _input(self, name, axes, signal):
        reference = self.net.builder.input(name, signal.features, time=False)
        return Tensor((reference,), tuple(axes))


def loop(reader, net, node, given, values):
    """What a Loop makes: the last of what it carries, then what it collects."""
    body = node.attributes["body"]
    trips, begins, *initial = [*given, None, None][: max(2, len(given))]
    if begins is not None and not (isinstance(begins, np.ndarray) and begins.all()):
        raise UnsupportedModelError("a loop that may not begin is not supported", found=str(begins))
    carried = len(body.inputs) - 2
    inside = {body.inputs[0].name: Counter(), body.inputs[1].name: np.array(True)}
    names = [p.name for p in body.inputs[2:]]
    after = [p.name for p in body.outputs[1 : 1 + carried]]
    collected = [p.name for p in body.outputs[1 + carried :]]
    step = Body(net, reader.network())
    unchanged = _unchanged(body, dict(zip(names, after)))
    states = []
    for name, value in zip(names, initial):
        if name in unchanged:
            inside[name] = _inside(name, value)
        elif isinstance(value, np.ndarray) and value.dtype.kind in "iu" and value.size == 1:
            if value.reshape(-1)[0]:
                raise UnsupportedModelError("a loop that does not count from 0 is not supported")
            inside[name] = Counter()
        else:
            states.append(_State(name, value, step))
            inside[name] = states[-1].inside
    scope = reader.body(step, node, inside, values)
    stop, limit = scope[body.outputs[0].name], trips
    for name, next_name in zip(names, after):
        if isinstance(inside[name], Counter) and scope[next_name] != Counter(1):
            raise UnsupportedModelError("a loop that does not count by 1 is not supported")
    if isinstance(stop, Until):
        if stop.more != 1 or (trips is not None and _limit(trips) != _limit(stop.limit)):
            raise UnsupportedModelError("the end of the loop is not supported", found=str(stop))
        limit = stop.limit
    elif not (isinstance(stop, np.ndarray) and stop.all()):
        raise UnsupportedModelError("a loop whose end depends on data is not supported")
    next_of = dict(zip(names, after))
    made = _scan(net, step, states, [scope[next_of[s.name]] for s in states], [scope[n] for n in collected])
    clock, limit = _clock(step), _limit(limit)
    if isinstance(limit, int) and limit > 0 and clock.input and _length(net, step) is None:
        raise Frozen(next(iter(step.sequences.values()))[0], [limit], "runs for a fixed number of frames")
    if limit != Size((("t", clock),)) and limit != _length(net, step):
        raise UnsupportedModelError(
            "a loop must run once for every frame", expected="as often as there are frames", found=str(limit)
        )
    finals = {s.name: made.final(net, s) for s in states}
    last = [finals.get(n, initial[k]) for k, n in enumerate(names)]
    return [*last, *(made.sequence(net, k, clock, 0) for k in range(len(collected)))]


def scan(reader, net, node, given, values):
    """What a Scan makes: the last states, then what it collects."""
    own, body = node.attributes, node.attributes["body"]
    count = own["num_scan_inputs"]
    first = len(body.inputs) - count
    if reader.file.opset < 9:
        raise UnsupportedModelError("a Scan of opset 8 is not supported")
    axes = own.get("scan_input_axes") or [0] * count
    backwards = set(own.get("scan_input_directions") or [0] * count)
    outputs = len(body.outputs) - first
    to_axes = own.get("scan_output_axes") or [0] * outputs
    back = set(own.get("scan_output_directions") or [0] * outputs) or backwards
    if len(backwards) > 1 or (outputs and back != backwards):
        raise UnsupportedModelError("a Scan that runs in two directions at once is not supported")
    step, inside, states = Body(net, reader.network()), {}, []
    for port, value in zip(body.inputs[:first], given):
        states.append(_State(port.name, value, step))
        inside[port.name] = states[-1].inside
    for port, value, axis in zip(body.inputs[first:], given[first:], axes):
        if not isinstance(value, (Tensor, Slots)):
            raise UnsupportedModelError("a Scan over a constant is not supported")
        inside[port.name] = step.frame(Outside(port.name, value), axis % len(value.axes))
    scope = reader.body(step, node, inside, values)
    after = [scope[p.name] for p in body.outputs[:first]]
    answers = [scope[p.name] for p in body.outputs[first:]]
    made = _scan(net, step, states, after, answers, reverse=backwards == {1})
    finals = [made.final(net, s) for s in states]
    return [*finals, *(made.sequence(net, k, _clock(step), to_axes[k]) for k in range(outputs))]


class _State:
    """A state of a body: ``name``; ``inside``: the Tensor that a step reads; ``initial``: an array, or the
    Tensor of the program it starts at.
    """

    def __init__(self, name, value, step):
        self.name, self.word = name, shown(name, 40).replace("/", "_").replace(":", "_")
        if isinstance(value, Slots):
            value = tensor_of(step.outer, value) or value
        if isinstance(value, Tensor):
            if len(value.references) > 1 or "t" in value.axes:
                raise UnsupportedModelError("a state of this form is not supported", found=str(value))
            axes, features, self.initial = value.axes, step.outer.signal(value).features, value
        else:
            array, sizes = (value.array, value.sizes) if hasattr(value, "sizes") else (value, None)
            if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or array.ndim < 1:
                raise UnsupportedModelError("a state of this form is not supported", found=str(value))
            sizes = (
                list(array.shape)
                if sizes is None
                else integers(np.array([*sizes, None], object)[:-1], "sizes")
            )
            open_ = [k for k, n in enumerate(sizes) if isinstance(n, Size)] or [0]
            rows = array if array.shape[open_[0]] == 1 else np.take(array, [0], open_[0])
            if (
                len(open_) != 1
                or not (array == rows).all()
                or array.shape[open_[0]] not in (1, step.outer.batch)
            ):
                raise UnsupportedModelError("a state differs from row to row", found=str(sizes))
            axes = ["b" if k == open_[0] else "f" if n > 1 else "1" for k, n in enumerate(rows.shape)]
            if axes.count("f") > 1:
                raise UnsupportedModelError("a state of this form is not supported", found=str(sizes))
            if "f" not in axes and "1" in axes:
                axes[len(axes) - 1 - axes[::-1].index("1")] = "f"
            features = (rows.size,) if "f" in axes else ()
            self.initial = rows.ravel()
        reference = step.net.builder.input(f"state {self.word}", features, time=False)
        self.inside = Tensor((reference,), tuple(axes))
        self.features = features


def _unchanged(body, pairs):
    """Names of what a body carries as it is: {input: output} of its own."""
    maker = {n: node for node in body.nodes for n in node.outputs}
    found = set()
    for name, after in pairs.items():
        while after in maker and maker[after].op == "Identity":
            after = maker[after].inputs[0]
        if after == name:
            found.add(name)
    return found


def _inside(name, value):
    return Outside(name, value) if isinstance(value, (Tensor, Slots)) else value


def _limit(value):
    """How often a loop runs: a Size, or a number."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    return value if isinstance(value, (Size, type(None))) else int(value)


def _clock(step):
    clocks = {x.clock for x, _ in step.sequences.values()}
    if len({c and c[1:] for c in clocks}) != 1:
        raise UnsupportedModelError(
            "a loop over several sequences of different frames is not supported"
            if clocks
            else "a loop that reads no sequence is not supported"
        )
    return next(iter(clocks))


def _length(net, step):
    return next((net.signal(x).length for x, _ in step.sequences.values()), None)


class _Made:
    """A Scan in the program's graph: ``layer`` its name, ``answers``: (reference, axes inside) of each."""

    def __init__(self, layer, answers):
        self.layer, self.answers = layer, answers

    def final(self, net, state):
        return Tensor((f"{self.layer}:{state.word}",), state.inside.axes)

    def sequence(self, net, k, clock, position):
        reference, axes = self.answers[k]
        position %= len(axes) + 1
        return net.tensor(reference, [*axes[:position], "t", *axes[position:]], clock)


def _scan(net, step, states, after, answers, reverse=False):
    """The layer Scan of a body."""
    builder = step.net.builder
    for state, value in zip(states, after):
        value = tensor_of(step.net, value) if isinstance(value, Slots) else value
        if not isinstance(value, Tensor) or value.axes != state.inside.axes:
            raise UnsupportedModelError(
                f"the state {shown(state.name)!r} becomes something of another form",
                expected=str(state.inside),
                found=str(value),
            )
        builder.output(f"next {state.word}", value.reference)
    shown_answers = []
    for k, value in enumerate(answers):
        value = tensor_of(step.net, value) if isinstance(value, Slots) else value
        if not isinstance(value, Tensor) or len(value.references) > 1:
            raise UnsupportedModelError("a loop collects something of another form", found=str(value))
        builder.output(f"y{k}", value.reference)
        shown_answers.append(value.axes)
    if not shown_answers and states:
        builder.output("y0", after[0].reference)
    inputs = [made.reference for _, made in step.sequences.values()]
    inputs += [s.inside.reference for s in states] + [made.reference for _, made in step.once.values()]
    started = [s for s in states if isinstance(s.initial, Tensor)]
    initial = [np.zeros(int(np.prod(s.features))) if s in started else s.initial for s in states]
    stored = np.concatenate(initial) if initial else np.zeros(0)
    if not step.sequences:
        raise UnsupportedModelError("a loop that reads no sequence is not supported")
    references = [x.reference for x, _ in step.sequences.values()]
    references += [s.initial.reference for s in started] + [x.reference for x, _ in step.once.values()]
    layer = net.add(
        Scan,
        *references,
        graph=builder.graph(inputs=inputs),
        states=tuple(s.word for s in states),
        per_step=len(step.sequences),
        started=tuple(s.word for s in started),
        initial=stored if stored.any() else None,
        reverse=reverse,
    )
    made = [(layer if k == 0 else f"{layer}:y{k}", axes) for k, axes in enumerate(shown_answers)]
    return _Made(layer, made)
