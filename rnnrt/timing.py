"""What a graph does to time, worked out from the time facts of its layers (see layers/base.py)."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np

from .graph import Graph
from .layers import Input
from .layers.base import layer_of
from .layers.window import same_padding


def receptive_field(graph: Graph):
    """Input frames one output frame depends on; None where that is all of them."""
    reach = reaches(graph)
    fields = [reach[layer_of(o.value)] for o in graph.outputs]
    return None if None in fields else max(math.floor(last - first) + 1 for first, last, _ in fields)


def reaches(graph: Graph, *, past_whole: bool = False):
    """{layer: (first, last, jump)}: its frame k depends on the input frames from k * jump + first to
    k * jump + last; None where it depends on all of them. ``past_whole``: such layers count as if on one.
    """
    reach = {}
    for layer in graph.layers:
        seen = [reach[layer_of(r)] for r in layer.inputs] or [(0, 0, 1)]
        if None in seen or (layer.span is None and not past_whole):
            reach[layer.name] = None
            continue
        first, last, jump = min(s[0] for s in seen), max(s[1] for s in seen), max(s[2] for s in seen)
        if layer.span is None:
            reach[layer.name] = (first, last, jump)
            continue
        left = _padding(layer, None)[0]
        if layer.emits == "many":
            from fractions import Fraction  # with all of decimal behind it

            jump *= Fraction(1, layer.stride)
            reach[layer.name] = (first + (left - layer.span + 1) * jump, last + left * jump, jump)
        else:
            last += (layer.span - 1 - left) * jump
            reach[layer.name] = (first - left * jump, last, jump * layer.stride)
    return reach


def may_emit_many(graph: Graph):
    """Whether one frame in can bring several frames of an output: behind a layer that makes many of one, at a
    first frame that comes after more padding than a window and a stride take, or where an input given once is
    laid out over time."""
    once, brought = _given_once(graph), {}  # by layer: the most frames that one frame in brings
    for layer in graph.layers:
        come = max((brought[layer_of(r)] for r in layer.reads), default=1)
        if layer.name in once and layer.emits == "length" and layer.length > 1:
            return True
        if layer.emits == "many":
            come *= layer.stride
        elif layer.emits == "end":
            come = 1
        elif layer.span is not None:
            first = (
                0 if layer.padding == "same" else (layer.padding[0] + come - layer.span) // layer.stride + 1
            )
            come = max(first, -(-come // layer.stride))
        brought[layer.name] = come
    return any(brought[layer_of(o.value)] > 1 for o in graph.outputs if graph.signals[o.value].time)


def leaders(graph: Graph):
    """{layer: the input that leads the clock of its frames}. Inputs whose frames meet in a layer share a
    clock, which the first of them leads: they have as many frames as one another. Layers whose frames, or
    value, come of no sequence have none.
    """
    led: dict[str, str] = {}

    def leader(name):
        while led[name] != name:
            name = led[name]
        return name

    def together(references):
        """The leader that the frames of ``references`` have from now on, None where none has one."""
        known = [leader(led[layer_of(r)]) for r in references if layer_of(r) in led and graph.signals[r].time]
        if not known:
            return None
        first = min(known, key=list(led).index)
        led.update(dict.fromkeys(known, first))
        return first

    for layer in graph.layers:
        if isinstance(layer, Input):
            led |= {layer.name: layer.name} if layer.time else {}
            continue
        joined = layer.joined_inputs or (1 if layer.keeps == "state" else len(layer.inputs))
        reads = [*layer.inputs[:joined], *layer.reads[len(layer.inputs) :]]
        if layer.whole_inputs:
            reads = list(layer.inputs[: layer.whole_inputs])
            together(layer.inputs[layer.whole_inputs :])
        if known := together(reads):
            led[layer.name] = known
    return {name: leader(first) for name, first in led.items()}


def clocks(graph: Graph):
    """Names of the inputs of every clock, in the graph's order."""
    led, made = leaders(graph), {}
    for name in graph.inputs:
        if graph[name].time:
            made.setdefault(led[name], []).append(name)
    return tuple(map(tuple, made.values()))


def counted_by_lengths(graph: Graph):
    """The inputs that lead the clocks on which a packed sequence runs: the lengths of a call count their
    frames.
    """
    led = leaders(graph)
    packed = [x.name for x in graph.layers if x.lengths == "honours" and getattr(x, "packed", True)]
    return list(dict.fromkeys(led[name] for name in packed if name in led))


def delays(graph: Graph):
    """For every clock the smallest d such that for every t a stream has, after t + d frames, given every
    frame that a flush after t frames would have brought. Outputs whose frames all come at the end have no
    such d and are not counted.

    For each value two functions of k are carried through the layers: the input frames it takes until a
    running stream has given k of its frames, and until a stream that is flushed then has. Both are the
    greatest of a few straight lines ``slope * (k - 1) + start``, kept as {slope: start}; the delay is the
    most they are apart.
    """
    late, led = _at_the_end(graph), leaders(graph)
    frames = [o.value for o in graph.outputs if graph.signals[o.value].time and o.value not in late]
    of_layer = layer_delays(graph, {layer_of(v) for v in frames})
    return tuple(
        max((d for name, d in of_layer.items() if led.get(name) == led[names[0]]), default=0)
        for names in clocks(graph)
    )


def layer_delays(graph: Graph, wanted=None):
    """{layer: its delay, as of ``delays``} for the layers ``wanted``, all by default. Left out are those
    whose frames all come at the end.
    """
    once, late, running, flushed = _given_once(graph), _at_the_end(graph), {}, {}
    wanted = [x.name for x in graph.layers if (wanted is None or x.name in wanted) and x.name not in late]
    if any(layer.emits == "many" for layer in graph.layers):
        return _counted_delays(graph, once, late, wanted)
    for layer in graph.layers:
        if layer.name in once:
            running[layer.name] = flushed[layer.name] = {0: 1}
            continue
        if layer.name in late:
            continue
        timed = [
            r for r in layer.reads if graph.signals[r].time
        ]  # without where states start, and values given once
        sources = [layer_of(r) for r in timed or layer.inputs]
        before = [running[s] for s in sources] or [{1: 1}], [flushed[s] for s in sources] or [{1: 1}]
        length = graph.signals[layer.inputs[0]].length if layer.inputs else None
        (left, right), span = _padding(layer, length), layer.span or 1
        first = 1 if layer.padding == "same" and length is None else span - left - right
        running[layer.name] = _after(_latest(before[0]), layer.stride, span - left)
        flushed[layer.name] = _after(_latest(before[1]), layer.stride, first)
    return {name: _most_apart(running[name], flushed[name]) for name in wanted}


def _counted_delays(graph, once, late, wanted):
    """The same, counted: where many frames come of one, what it takes is not made of such lines. Once all
    windows are full everything repeats after as many frames as all strides together."""
    jump = full = 1
    for layer in graph.layers:
        if layer.emits == "each" and layer.span is not None:
            full += jump * (layer.span + sum(map(abs, _padding(layer, None))))
            jump *= layer.stride
        elif layer.emits == "many":
            full += jump * -(-(layer.span + sum(map(abs, layer.padding))) // layer.stride)
    n = np.arange(min(4 * (full + jump), 1 << 22))
    running, flushed = {}, {}
    for layer in graph.layers:
        if layer.name in once:
            running[layer.name] = flushed[layer.name] = np.full(len(n), 1 << 60)
        elif layer.name not in late:
            timed = [layer_of(r) for r in layer.reads if graph.signals[r].time]
            x, ended = (np.min([c[s] for s in timed], axis=0) if timed else n for c in (running, flushed))
            length = graph.signals[layer.inputs[0]].length if layer.inputs else None
            (left, right), span, stride = _padding(layer, length), layer.span or 1, layer.stride
            if layer.emits == "many":
                cut = left + max(0, right - span + stride)
                x, ended = x * stride - cut, (ended - 1) * stride + span - left - right
            elif layer.padding == "same" and length is None:
                x, ended = (x + left - span) // stride + 1, -(-ended // stride)
            else:
                x, ended = (x + left - span) // stride + 1, (ended + left + right - span) // stride + 1
            begun = n > 0
            running[layer.name], flushed[layer.name] = np.maximum(x, 0) * begun, np.maximum(ended, 0) * begun
    half = slice(1, len(n) // 2)
    apart = lambda s: int((np.searchsorted(running[s], flushed[s][half]) - n[half]).max())
    return {name: 0 if name in once else apart(name) for name in wanted}


# ---- when a value comes ------------------------------------------------------------------------------------


def _given_once(graph):
    """Names of the layers that depend on inputs without a time axis alone."""
    once = set()
    for layer in graph.layers:
        if not layer.time if isinstance(layer, Input) else all(layer_of(r) in once for r in layer.reads):
            once.add(layer.name)
    return once


def _at_the_end(graph):
    """References to what a stream gives only when the sequence is over."""
    once, late = _given_once(graph), set()
    for layer in graph.layers:
        if layer.name in once:
            continue
        if layer.emits == "end" or layer.whole or any(r in late for r in layer.reads):
            late |= {layer.name, *(f"{layer.name}:{o}" for o in layer.extra_outputs)}
        elif layer.keeps == "state":
            late |= {f"{layer.name}:{s}" for s in layer.states}
    return late


# ---- frames needed, as the greatest of straight lines ------------------------------------------------------


def _latest(lines):
    """Until every one of several values has its k-th frame."""
    return {slope: max(x.get(slope, 0) for x in lines) for slope in {s for x in lines for s in x}}


def _after(lines, stride, first):
    """Frames until a window has its k-th frame, from those until its input has its j-th: it wants
    j = max(1, stride * (k - 1) + first)."""
    made = {0: max(lines.values())}
    for slope, start in lines.items():
        at = start + slope * (first - 1)
        made[slope * stride] = max(at, made.get(slope * stride, at))
    return made


def _most_apart(running, flushed):
    """The greatest difference of two such functions over k >= 1: one is a sum of lines, so at the first k,
    where lines of either cross, or past all of that."""
    at = {0}
    for lines in (running, flushed):
        for (slope, start), (other, begin) in combinations(sorted(lines.items()), 2):
            crossing = max(0, (start - begin) // (other - slope))
            at |= {crossing, crossing + 1}
    at.add(2 * max(at) + 1)
    value = lambda lines, q: max(slope * q + start for slope, start in lines.items())
    return max(0, *(value(running, q) - value(flushed, q) for q in at))


def _padding(layer, length):
    if layer.padding == "same":
        return same_padding(length or layer.span, layer.span, layer.stride)
    return layer.padding
