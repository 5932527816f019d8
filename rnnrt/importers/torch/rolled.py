"""Loops over frames in a traced program, rolled up again: a program of torch.export repeats the steps of a
cell as often as its example has frames; they become one call of a Loop.

What one step computes is found by comparing each step with the one before it, call by call, down to what the
first starts from. The module's own answers at other numbers of frames then tell whether the loop was meant
(verify.py)."""

from __future__ import annotations

import operator
from math import prod
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import torch
import torch.fx

from ...errors import UnsupportedModelError
from ...layers import First, Last, Reverse, Scan
from ..axes.sizes import Size
from ..axes.slots import Slots, picked, tensor_of
from ..axes.values import AxesError, Constant, Learned, Network, Tensor, Zeros

#: Frames of the example that a program is unrolled over, and the step that is taken for all of them.
FRAMES, _TEMPLATE = 6, 2
_MOST_LOOPS = 16
_END = 1 << 32
WHOLE_IN_A_STEP = (
    "Import what runs once and the step as two modules: the step takes its frame and its states as inputs."
)
#: Operators that take nothing of a tensor but its shape.
_OF_A_SIZE = ("zeros_like", "new_zeros", "ones_like", "new_ones", "full_like", "new_full", "sym_size")


def rolled(graph, modules):
    """(the graph with its loops as calls of Loops, the modules with them); None where it has none."""
    modules, count = dict(modules), 0
    embed_first(graph)
    while count < _MOST_LOOPS and (found := _Unrolled.of(graph)) is not None:
        name = found.name(modules)
        graph = found.written(name)
        modules[name] = Loop(found)
        count += 1
    return (graph, modules) if count else None


def embed_first(graph):
    """Frames of embedded ids in the place of embedded frames of ids: numbers can be taken of what a layer
    makes, not of ids.
    """
    embedded = {}
    for node in list(graph.nodes):
        if _word(node) == "slice" and _whole(*node.args):  # torch.export leaves out some of them
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
            continue
        if _word(node) != "embedding":
            continue
        root, moves = node.args[1], []
        while _word(root) in ("select", "unsqueeze"):
            moves.append(root)
            root = root.args[0]
        if root.op != "placeholder" or not any(_word(n) == "select" for n in moves):
            continue
        with graph.inserting_before(node):
            if (key := (node.args[0], root)) not in embedded:
                made = graph.call_function(
                    node.target, (node.args[0], root, *node.args[2:]), dict(node.kwargs)
                )
                made.meta["val"] = SimpleNamespace(shape=(*_sizes(root), _sizes(node)[-1]))
                made.stack_trace = node.stack_trace
                embedded[key] = made
            made = embedded[key]
            for move in reversed(moves):
                rank = len(_sizes(move.args[0])) + (_word(move) == "unsqueeze")
                taken = graph.call_function(move.target, (made, move.args[1] % rank, *move.args[2:]))
                taken.meta["val"] = SimpleNamespace(shape=(*_sizes(move), _sizes(node)[-1]))
                made = taken
        node.replace_all_uses_with(made)
        graph.erase_node(node)


class _Differs(Exception):
    """Two steps are not the same."""


def _word(node):
    return getattr(node.target, "_opname", None) if node.op == "call_function" else None


def _sizes(node):
    return tuple(node.meta["val"].shape) if hasattr(node.meta.get("val"), "shape") else None


def _whole(x, dim=0, start=None, end=None, step=1):
    return start in (0, None) and step == 1 and (end is None or isinstance(end, int) and end > _END)


def _frame(node):
    """(sequence, axis, number of the frame, whether its axis stays) of a call that takes one frame."""
    word, sizes = _word(node), None
    if word in ("select", "slice") and isinstance(node.args[0], torch.fx.Node):
        root, sizes = node.args[0], _sizes(node.args[0])
        if sizes is None:
            return None
        axis = (node.args[1] if len(node.args) > 1 else 0) % len(sizes)
        if word == "select" and isinstance(node.args[2], int):
            number = node.args[2]
            if number < 0 and isinstance(sizes[axis], int):
                number += sizes[axis]
            return (root, axis, number, False) if number >= 0 else None
        bounds = node.args[2:4]
        if len(bounds) == 2 and all(isinstance(n, int) for n in bounds) and bounds[1] == bounds[0] + 1:
            return root, axis, bounds[0], True
    if node.target is operator.getitem and _word(node.args[0]) == "unbind":
        own = node.args[0]
        sizes = _sizes(own.args[0])
        if sizes is not None:
            return own.args[0], (own.args[1] if len(own.args) > 1 else 0) % len(sizes), node.args[1], False
    return None


class _Unrolled:
    """The steps of one loop in a graph."""

    def __init__(self, graph, frames, backwards=False):
        if backwards:  # the first step is that of the last frame
            frames = {n: (*f[:2], FRAMES - 1 - f[2], f[3]) for n, f in frames.items()}
        self.graph, self.frames, self.backwards = graph, frames, backwards
        self.level = {}
        for node in graph.nodes:
            own = [self.level[n] for n in node.all_input_nodes if self.level[n] is not None]
            level = None if _word(node) in _OF_A_SIZE else max(own, default=None)
            self.level[node] = frames[node][2] if node in frames else level
        self.shift, self.back, self.first, self.keys = {}, {}, {}, {}

    @classmethod
    def of(cls, graph):
        """The first loop of a graph that can be rolled up, or None."""
        found = {node: frame for node in graph.nodes if (frame := _frame(node))}
        taken = {}
        for node, (root, axis, number, _) in found.items():
            taken.setdefault((root, axis), {}).setdefault(number, []).append(node)
        whole = [key for key, numbers in taken.items() if set(numbers) >= set(range(FRAMES))]
        behind = _behind(graph, found)
        for root, _ in whole:
            if root in behind:
                continue
            frames = {n: f for n, f in found.items() if f[:2] in whole and f[0] not in behind}
            for backwards in (False, True):
                loop = cls(graph, frames, backwards)
                try:
                    loop.find()
                except _Differs:
                    continue
                return loop
        return None

    # -- comparing steps -------------------------------------------------------------------------------------
    def key(self, node):
        """What a value that no frame reaches is, to be compared."""
        if not isinstance(node, torch.fx.Node):
            return tuple(map(self.key, node)) if isinstance(node, (tuple, list)) else (type(node), node)
        if node not in self.keys:
            if node.op in ("placeholder", "call_module"):
                self.keys[node] = node
            else:
                named = tuple(sorted((k, str(v)) for k, v in node.kwargs.items()))
                self.keys[node] = (node.op, node.target, tuple(map(self.key, node.args)), named)
        return self.keys[node]

    def pair(self, after, before):
        """Notes that ``after`` is to its step what ``before`` is to the step before; raises where it is
        not.
        """
        waiting = [(after, before)]
        while waiting:
            a, b = waiting.pop()
            if isinstance(a, (tuple, list)) and isinstance(b, (tuple, list)) and len(a) == len(b):
                waiting += zip(a, b)
                continue
            if not isinstance(a, torch.fx.Node):
                if isinstance(b, torch.fx.Node) or self.key(a) != self.key(b):
                    raise _Differs
                continue
            high = self.level[a]
            low = self.level[b] if isinstance(b, torch.fx.Node) else None
            if high is None and low is None and isinstance(b, torch.fx.Node):
                if self.key(a) != self.key(b):
                    raise _Differs
            elif high == 0 and low is None:
                if self._deeper(a, b):
                    continue
                if self.first.setdefault(a, b) is not b and self.key(self.first[a]) != self.key(b):
                    raise _Differs
            elif None in (high, low) or high != low + 1 or not self._fits(a, b):
                raise _Differs
            elif b not in self.shift:
                frame, other = self.frames.get(a), self.frames.get(b)
                if (frame is None) != (other is None):
                    raise _Differs
                self.shift[b], self.back[a] = a, b
                if frame is not None:
                    if frame[:2] != other[:2] or frame[3] != other[3]:
                        raise _Differs
                    continue
                if (a.op, a.target) != (b.op, b.target) or a.kwargs.keys() != b.kwargs.keys():
                    raise _Differs
                waiting += [*zip(a.args, b.args), *((a.kwargs[k], b.kwargs[k]) for k in a.kwargs)]
                if len(a.args) != len(b.args):
                    raise _Differs

    def _fits(self, a, b):
        """Whether neither of two calls has another beside it already."""
        return self.shift.get(b, a) is a and self.back.get(a, b) is b

    def _deeper(self, a, b):
        """Whether a call of a state alone is the same call of what the first step starts from: it then
        belongs to the step behind, and the state is what it reads.
        """
        if a in self.frames or not isinstance(b, torch.fx.Node) or a.op != "call_function":
            return False
        if self.back.get(a) is b:
            return True
        if (a.op, a.target) != (b.op, b.target) or a in self.first or len(a.args) != len(b.args):
            return False
        if a.kwargs.keys() != b.kwargs.keys():
            return False
        parts = [*zip(a.args, b.args), *((a.kwargs[k], b.kwargs[k]) for k in a.kwargs)]
        kept = dict(self.shift), dict(self.back), dict(self.first)
        self.back[a] = b
        if all(self.attempt(x, y) for x, y in parts):
            return True
        self.shift, self.back, self.first = kept
        return False

    def attempt(self, after, before):
        kept = dict(self.shift), dict(self.back), dict(self.first)
        try:
            self.pair(after, before)
        except _Differs:
            self.shift, self.back, self.first = kept
            return False
        return True

    # -- what the loop is ------------------------------------------------------------------------------------
    def find(self):
        """Fills in ``answers`` {collecting call: the template's value}, ``finals`` {value of the last step:
        the template's}, ``states`` {the template's value: what the first step reads}, ``step``: its calls.
        """
        nodes = list(self.graph.nodes)
        last = FRAMES - 1
        collecting, self.turned = {}, set()
        for node in nodes:
            steps = list(node.args[0]) if _word(node) in ("stack", "cat") else []
            levels = [self.level.get(n) for n in steps]
            if levels not in ([*range(FRAMES)], [*reversed(range(FRAMES))]):
                continue
            rising = levels[0] == 0
            steps = steps if rising else steps[::-1]
            for later, earlier in zip(steps[1:], steps):
                self.pair(later, earlier)
            collecting[node] = steps[_TEMPLATE]
            if rising == self.backwards:  # answers do not stand at their own frames
                self.turned.add(node)
        after = _behind(self.graph, collecting)
        own = [n for n in nodes if n not in after]
        read = {
            r for n in own if self.level[n] == last for r in n.all_input_nodes if self.level[r] == last - 1
        }
        for before in [n for n in own if n in read and n not in self.shift and n not in self.frames]:
            next((n for n in own if self.level[n] == last and self.attempt(n, before)), None)
        inside = set(self.shift) | set(self.shift.values())
        self.outside = [
            n
            for n in nodes
            if n in after or self.level[n] is None or (self.level[n] == last and n not in inside)
        ]
        kept = {n for n in self.outside if n not in self.frames or n in after}
        kept |= {n for node in kept if self.level[node] is None for n in node.all_input_nodes}
        self.outside = [n for n in nodes if n in kept]
        self.finals, needed = {}, set(self.outside)
        for node in self.outside:
            for source in node.all_input_nodes:
                if source in needed or node in collecting:
                    continue
                if self.level[source] != last:
                    raise _Differs
                self.finals[source] = self.template(source)
        self.answers = collecting
        if not collecting and not self.finals:
            raise _Differs
        self._close()

    def template(self, node):
        while self.level[node] > _TEMPLATE:
            node = self.back.get(node)
            if node is None:
                raise _Differs
        return node

    def _close(self):
        """The calls of the template's step, and its states."""
        waiting = [*self.answers.values(), *self.finals.values()]
        step, self.states, self.once, used = set(), {}, {}, {}
        while waiting:
            node = waiting.pop()
            if node in step or node in used:
                continue
            level = self.level[node]
            if level is None:
                self.once[node] = None
            elif node in self.frames:
                used[node] = self.frames[node]
            elif level == _TEMPLATE:
                step.add(node)
                waiting += node.all_input_nodes
            elif level == _TEMPLATE - 1 and node in self.back:
                before = self.back[node]
                if before not in self.first:
                    if before not in self.back:
                        raise _Differs
                    step.add(node)
                    waiting += node.all_input_nodes
                    continue
                if node not in self.shift:
                    raise _Differs
                if self.shift[node] not in self.states:
                    self.states[self.shift[node]] = (node, self.first[before])
                    waiting.append(self.shift[node])
            else:
                raise _Differs
        self.step = [n for n in self.graph.nodes if n in step]
        self.used = used
        if any(f[2] != _TEMPLATE for f in used.values()) or not used:
            raise _Differs

    def name(self, modules):
        """What the loop is called: the module whose weights its step reads."""
        owners = [n.target.rpartition(".")[0] for n in self.once if n.op == "get_attr"]
        parts = [owner.split(".") for owner in owners if owner]
        common = []
        for level in zip(*parts):
            if len(set(level)) > 1:
                break
            common.append(level[0])
        wanted = ".".join(common) or "loop"
        return next(
            n for k in range(len(modules) + 1) if (n := wanted if not k else f"{wanted}.{k}") not in modules
        )

    # -- the graph without the steps -------------------------------------------------------------------------
    def written(self, name):
        """The graph in which one call of the module ``name`` stands for the loop."""
        made, nodes, call = torch.fx.Graph(), {}, None
        results = [*self.answers, *self.finals]
        self.sequences = list(dict.fromkeys(f[0] for f in self.used.values()))
        self.given = [n for n in self.once]
        for node in self.outside:
            needs = any(n in self.finals for n in node.all_input_nodes)
            if call is None and (node in self.answers or needs):
                at = lambda tree: torch.fx.node.map_arg(tree, nodes.__getitem__)
                begins = [first for _, first in self.states.values()]
                arguments = (at(tuple(self.sequences)), at(tuple(begins)), at(tuple(self.given)))
                call = made.call_module(name, arguments)
                call.stack_trace = self.step[-1].stack_trace if self.step else None
                for k, result in enumerate(results):
                    nodes[result] = made.call_function(operator.getitem, (call, k))
                    nodes[result].meta["val"] = result.meta.get("val")
            if node not in self.answers:
                nodes[node] = made.node_copy(node, nodes.__getitem__)
        for node in reversed(made.nodes):
            if not node.users and node.op not in ("placeholder", "output"):
                made.erase_node(node)
        return made


def _behind(graph, starts):
    """``starts`` and the nodes of a graph that depend on them."""
    found = set(starts)
    for node in graph.nodes:
        if any(n in found for n in node.all_input_nodes):
            found.add(node)
    return found


# ---- what a call of a loop means ---------------------------------------------------------------------------


class Loop(torch.nn.Module):
    """A loop as a module of a traced program: (sequences, what its states start from, values given once) ->
    its answers at all frames, then final values.
    """

    def __init__(self, found):
        super().__init__()
        self.found = found

    def lower(self, program, net, sequences, begins, given):
        found, inner = self.found, Network(net.advice)
        inner.inside, inner.tells, values, references = True, net.tells, {}, []
        for root, x in zip(found.sequences, sequences):
            frames = [(n, f) for n, f in found.used.items() if f[0] is root]
            axes = {f[1] for _, f in frames}
            x = net.single(x) if isinstance(x, Tensor) else x
            if not isinstance(x, Tensor) or len(axes) > 1 or x.axes[(axis := axes.pop())] != "t":
                raise AxesError("a loop takes frames of a sequence", found=str(x))
            net.whole(x)
            frame = inner.builder.input(f"frame{len(references)}", net.signal(x).features, time=False)
            references.append(x.reference)
            for node, (_, _, _, kept) in frames:
                left = x.axes[:axis] + (("1",) if kept else ()) + x.axes[axis + 1 :]
                values[node] = Tensor((frame,), left)
        clock = net.single(sequences[0]).clock
        states, started, initial, starts = [], [], [], []
        for k, ((after, (before, _)), begin) in enumerate(zip(found.states.items(), begins)):
            form, features, start = _start(net, begin, _sizes(after))
            states.append(f"state{k}")
            values[before] = form.of(inner.builder.input(states[-1], features, time=False))
            size = features[0] if features else 1
            if isinstance(start, Tensor):
                started.append(states[-1])
                starts.append(start.reference)
            initial.append(start if not isinstance(start, Tensor) and start is not None else [0.0] * size)
        for node, value in zip(found.given, given):
            if isinstance(value, (Slots, Tensor)):
                if "t" in value.axes:
                    raise UnsupportedModelError(
                        "a step reads a whole sequence", found=str(value), fix=WHOLE_IN_A_STEP
                    )
                name, form = f"given{len(starts)}", _Form.of_value(net, value)
                starts.append(form.row(net, value))
                own = inner.builder.input(name, net.builder.signal(starts[-1]).features, time=False)
                values[node] = form.of(own)
            else:
                folded = isinstance(value, torch.Tensor)
                values[node] = Constant(node.name, value.detach().numpy()) if folded else value
        for node in found.step:
            program.know(node)
            values[node] = program._value(inner, node, values, {})
        for name, (after, (before, _)) in zip(states, found.states.items()):
            new, form = _plain(inner, values[after]), _Form.of_value(inner, values[before])
            row = form.row(inner, new)
            same = inner.builder.signal(row).features == inner.builder.signal(name).features
            if not same or _Form.of_value(inner, new) != form:
                raise AxesError("a step gives a state in another shape than it takes it", found=str(new))
            inner.builder.output(f"{name}'", row)
        own = [values[n] for n in found.answers.values()]
        wanted = {after: name for name, after in zip(states, found.states)}
        own += [values[n] for n in found.finals.values() if n not in wanted]
        own = [_plain(inner, value) for value in own or [values[next(iter(found.states))]]]
        for k, value in enumerate(own):
            inner.builder.output(f"answer{k}", _Form.of_value(inner, value).row(inner, value))
        net.keeps_ones |= inner.keeps_ones
        scan = net.add(
            Scan,
            *references,
            *starts,
            graph=inner.builder.graph(),
            states=tuple(states),
            per_step=len(references),
            started=tuple(started),
            initial=[n for part in initial for n in part] if any(any(p) for p in initial) else None,
            reverse=found.backwards,
        )
        named = [scan, *(f"{scan}:answer{k}" for k in range(1, len(own)))]
        for k, node in enumerate(found.answers):
            if node in found.turned:
                named[k] = net.add(Reverse, named[k])
        results = [
            _collected(net, node, value, reference, clock)
            for node, value, reference in zip(found.answers, own, named)
        ]
        rest = iter(zip(own[len(found.answers) :], named[len(found.answers) :]))
        for node in found.finals.values():
            if node in wanted:
                form = _Form.of_value(inner, _plain(inner, values[node]))
                results.append(form.of(f"{scan}:{wanted[node]}"))
            else:
                value, reference = next(rest)
                last = net.add(First if found.backwards else Last, reference)
                results.append(_Form.of_value(inner, value).of(last))
        return tuple(results)


class _Form(NamedTuple):
    """The axes of a value of one frame; ``sizes``: of its places where it is Slots, else None."""

    axes: tuple
    sizes: tuple | None = None

    @classmethod
    def of_value(cls, net, value):
        if isinstance(value, Slots):
            return cls(value.axes, value.places.shape)
        return cls(net.single(value).axes)

    def of(self, reference):
        """The value of this form whose numbers are those of a reference, in order."""
        if self.sizes is None:
            return Tensor((reference,), self.axes)
        count = prod(self.sizes)
        return Slots(self.axes, np.arange(count).reshape(self.sizes), (reference,), (count,))

    def row(self, net, value):
        """A reference to a value's numbers, in order."""
        return picked(net, value) if isinstance(value, Slots) else net.single(value).reference


def _plain(net, value):
    """A value as a Tensor where it has one axis of numbers at most."""
    return tensor_of(net, value) or value if isinstance(value, Slots) else net.single(value)


def _start(net, begin, sizes=None):
    """(form, features, what it starts from: a Tensor, numbers or None for zeros) of a state; ``sizes``: those
    it has behind a step, where they are known.
    """
    if isinstance(begin, Slots) and "t" not in begin.axes:
        row = Tensor((picked(net, begin),), ("b", "f"))
        return _Form.of_value(net, begin), net.signal(row).features, row
    if isinstance(begin, Tensor):
        begin = net.single(begin)
        if "t" in begin.axes:
            raise AxesError("a loop cannot start from a sequence", found=str(begin))
        return _Form(begin.axes), net.signal(begin).features, begin
    if isinstance(begin, Zeros):
        axes = tuple("b" if n == Size(("b",)) else "f" for n in begin.shape)
        own = tuple(n for n in begin.shape if n != Size(("b",)))
        plain = axes.count("b") == 1 and all(isinstance(n, int) for n in own)
        if plain and axes in (("b", "f"), ("b",)):
            return _Form(axes), own, None
        if "b" not in axes and all(isinstance(n, int) for n in own):
            begin = Constant("zeros", np.zeros(own))
        if plain:
            letters = tuple("b" if a == "b" else "n" for a in axes)
            places = tuple(1 if a == "b" else n for a, n in zip(axes, begin.shape))
            return _Form(letters, places), (prod(own),), None
    if isinstance(begin, Learned) and begin.batch == 0 and begin.array.ndim == 2:
        return _Form(("b", "f")), begin.array.shape[1:], list(map(float, begin.array[0]))
    if (
        isinstance(begin, Constant)
        and begin.array.ndim in (1, 2)
        and len(begin.array.reshape(-1)) == (begin.array.shape[-1])
    ):
        ones = ("1",) * (len(sizes) - 2) if sizes and all(n == 1 for n in sizes[1:-1]) else ()
        return _Form(("b", *ones, "f")), begin.array.shape[-1:], list(map(float, begin.array.reshape(-1)))
    raise UnsupportedModelError(
        "a loop starts from a value that is not (batch, features)",
        found=str(begin)[:80],
        fix="Let its state start from zeros of (batch, features), or from an input.",
    )


def _collected(net, node, value, reference, clock):
    """What a stack or a cat of the answers of all steps is."""
    axes, dim = list(value.axes), node.args[1] if len(node.args) > 1 else 0
    if isinstance(value, Slots) and _word(node) == "stack":
        place, count = dim % (len(axes) + 1), value.places.size
        places = np.arange(count).reshape(np.expand_dims(value.places, place).shape)
        axes.insert(place, "t")
        net.sequences.setdefault(clock, reference)
        return Slots(tuple(axes), places, (reference,), (count,), clock)
    if _word(node) == "stack":
        axes.insert(dim % (len(axes) + 1), "t")
    elif axes[dim % len(axes)] == "1":
        axes[dim % len(axes)] = "t"
    else:
        raise UnsupportedModelError("a loop joins its answers along another axis than time", found=str(value))
    return net.tensor(reference, tuple(axes), clock)
