"""TFLite's WHILE as ONNX's Loop, and what a file keeps in variables.

A body carries all it reads: what goes through it unchanged, the number of the step, states, and sequences
that it fills frame by frame. Those become what the loop collects.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ...errors import ModelFileError, UnsupportedModelError
from ..axes.sizes import Size
from ..onnx.loops import loop
from ..onnx.model import Port
from ..onnx.moves import sizes_of
from .schema import RESOURCE, type_name

LOOP = "TfliteLoop"
_EXPANDS = ("RESHAPE", "EXPAND_DIMS")


def _while(scope, op):
    translation, own = scope.translation, op.options
    count = len(op.inputs)
    prefix = f"{scope.prefix}{op.outputs[0].name if op.outputs else 'loop'}/"
    names = [f"state{k}" for k in range(count)]
    body = translation.body(own.body, scope.depth + 1, names, prefix)
    ends = translation.body(own.cond, scope.depth + 1, names, f"{prefix}end ")
    for graph, made in ((body.graph, count), (ends.graph, 1)):
        if len(graph.inputs) != count or len(graph.outputs) != made or len(op.outputs) != count:
            raise ModelFileError("the graphs it runs do not fit what it carries")
    if any(v is None for v in op.inputs):
        raise ModelFileError("what it carries is left out")
    for own in zip(op.inputs, op.outputs, body.graph.inputs, body.graph.outputs, ends.graph.inputs):
        if len({v.type for v in own}) > 1:
            raise ModelFileError("the graphs it runs do not fit what it carries", found=own[0].type)
    collected = {k: frame for k in range(count) if (frame := _collected(body, k)) is not None}
    last = {k: v for k in range(count) if k not in collected and (v := _last(body, k)) is not None}
    carried = [k for k in range(count) if k not in collected and k not in last]
    wanted = [body.graph.outputs[k] for k in carried]
    body.run([*wanted, *collected.values(), *last.values()])
    ends.run(ends.graph.outputs)
    after = [body.name(v) for v in body.graph.outputs]
    # the answer "go on?", before the first step and behind every one
    first = _copied(scope, ends, {names[k]: scope.name(v) for k, v in enumerate(op.inputs)}, "first ")
    again = _copied(body, ends, dict(zip(names, after)), "again ")
    states = {k: value for k, value in last.items() if _carried_as(body, value) is None}
    kept = [names[k] for k in carried] + [f"last{k}" for k in states]
    nexts = [after[k] for k in carried] + [body.name(v) for v in states.values()]
    counter, going = f"{prefix}step", f"{prefix}going"
    frames = [body.name(v) for v in collected.values()]
    ports = [list(map(Port, n)) for n in ((counter, going, *kept), (again, *nexts, *frames))]
    program = body.program(*ports)
    initial = [scope.name(op.inputs[k]) for k in carried]
    initial += [scope.constant(np.zeros(v.stated, np.float32)) for v in states.values()]
    finals = {k: scope.free("last") for k in range(count)}
    outputs = [finals[k] for k in (*carried, *states, *collected)]
    filled = [scope.name(op.inputs[k]) for k in collected]
    attributes = {"body": program, "filled": len(filled)}
    scope.node(LOOP, ["", first, *initial, *filled], outputs, **attributes)
    for k, value in enumerate(op.outputs):
        final = finals[k]
        if k in last:
            same = _carried_as(body, last[k])
            axis = scope.whole([0])
            scope.node("Unsqueeze", (finals[k] if same is None else finals[same], axis), [scope.name(value)])
        else:
            scope.node("Identity", (final,), [scope.name(value)])


def _copied(scope, ends, names, label):
    """The nodes of the condition in another graph, reading ``names``; the name of its answer."""
    own = {n: f"{ends.prefix}{label}{n}" for node in ends.nodes for n in node.outputs} | {
        n: f"{ends.prefix}{label}{n}" for n in ends.arrays
    }
    scope.arrays.update({own[n]: a for n, a in ends.arrays.items()})
    table = own | names
    for node in ends.nodes:
        scope.translation.spend()
        scope.nodes.append(
            dataclasses.replace(
                node,
                name=f"{label}{node.name}",
                inputs=tuple(table.get(n, n) for n in node.inputs),
                outputs=tuple(table[n] for n in node.outputs),
            )
        )
    answer = ends.name(ends.graph.outputs[0])
    return table.get(answer, answer)


def _carried_as(body, value):
    """The place of a value among what a body carries on, None where it is not there."""
    return next((k for k, v in enumerate(body.graph.outputs) if v is value), None)


def _frame(body, value):
    """What became a sequence of one frame by an axis in front, or None."""
    maker = body.maker.get(value)
    if maker is None or maker.word not in _EXPANDS:
        return None
    x = maker.inputs[0]
    return x if value.stated == (1, *x.stated) and x.array is None else None


def _collected(body, k):
    """What a step puts at its place in a sequence: of parts before it, itself, parts behind; or None."""
    sequence, value = body.graph.inputs[k], body.graph.outputs[k]
    maker = body.maker.get(value)
    if maker is None:
        return None
    if maker.word == "DYNAMIC_UPDATE_SLICE":
        whole, one, starts = maker.inputs
        alone = whole is sequence and body.users[sequence] == [maker]
        starts = _starts(body, starts)
        fits = alone and starts and starts[0][1] == 0 and set(starts[1:]) <= {0}
        return _frame(body, one) if fits else None
    if maker.word != "CONCATENATION" or len(maker.inputs) != 3 or maker.options.axis or maker.options.fused:
        return None
    before, one, behind = maker.inputs
    parts = [body.maker.get(v) for v in (before, behind)]
    if any(p is None or p.word != "SLICE" or p.inputs[0] is not sequence for p in parts):
        return None
    if len(body.users[sequence]) != 2:
        return None
    ends, starts = _starts(body, parts[0].inputs[2]), _starts(body, parts[1].inputs[1])
    bounds = ((parts[0].inputs[1], 0), (parts[1].inputs[2], -1))
    whole = all(v.array is not None and (v.array == n).all() for v, n in bounds)
    step = ends and ends[0]
    fits = whole and step and starts and step[0] == starts[0][0] and (step[1], starts[0][1]) == (0, 1)
    return _frame(body, one) if fits and set(ends[1:]) <= {-1} and set(starts[1:]) <= {0} else None


def _starts(body, value):
    """A list of bounds the first of which counts steps: ((counter, more), number, ...), or None."""
    maker = body.maker.get(value)
    if maker is None or maker.word not in ("CONCATENATION", "PACK"):
        return None
    parts = []
    for part in maker.inputs:
        if part.array is not None:
            parts += [int(n) for n in part.array.reshape(-1)]
        else:
            parts.append(_counter(body, part))
    good = parts and isinstance(parts[0], tuple) and all(isinstance(p, int) for p in parts[1:])
    return tuple(parts) if good else None


def _counter(body, value):
    """(the place of a number that counts steps, what was added to it), or None."""
    more = 0
    while value not in body.graph.inputs:
        maker = body.maker.get(value)
        if maker is None or maker.word not in ("RESHAPE", "ADD", "EXPAND_DIMS"):
            return None
        if maker.word == "ADD":
            other = next((v for v in maker.inputs if v.array is not None), None)
            if other is None or other.array.size != 1 or maker.options.fused:
                return None
            more += int(other.array.reshape(()))
            rest = [v for v in maker.inputs if v is not other]  # none where it is added to itself
            if len(rest) != 1:
                return None
            value = rest[0]
        else:
            value = maker.inputs[0]
    place = body.graph.inputs.index(value)
    after = body.graph.outputs[place]
    return (place, more) if after is not value and value.stated == () else None


def _last(body, k):
    """What a step leaves of itself alone, as a sequence of one frame that nothing in it reads; or None."""
    sequence = body.graph.inputs[k]
    if body.users.get(sequence) or sequence.shape[:1] != (1,):
        return None
    return _frame(body, body.graph.outputs[k])


def run(reader, net, node, given, values):
    """What a node of ``_while`` makes: a Loop's results. The sequences that it fills must be as long as it
    runs often.
    """
    own = dict(node.attributes)
    count = own.pop("filled")
    filled = given[len(given) - count :] if count else []
    inner = dataclasses.replace(node, attributes=own)
    made = loop(reader, net, inner, given[: len(given) - count], values)
    for sequence, x in zip(made[len(made) - count :], filled):
        sizes = list(x.sizes) if hasattr(x, "sizes") else list(getattr(x, "shape", ()))
        frames = sizes_of(net, sequence)[0]
        steps = "all frames" if isinstance(frames, Size) else frames
        length = net.signal(sequence).length
        if not sizes or (sizes[0] != frames and sizes[0] != length):
            raise UnsupportedModelError(
                "a loop must fill the sequences it makes",
                expected=f"as many frames as it has steps ({steps})",
                found=str(sizes[:1]),
            )
    return made


# ---- variables ---------------------------------------------------------------------------------------------


def _handle(scope, op):
    """The name of what a handle stands for is kept beside it."""
    value = op.outputs[0]
    if type_name(RESOURCE) != value.type:
        raise ModelFileError("makes something else than a variable", found=value.type)
    scope.handles[value] = f"{op.options.container or ''}/{op.options.shared_name or ''}".strip("/")


def _variable(scope, value):
    if value not in scope.handles:
        raise UnsupportedModelError("a variable must have a name of its own")
    return scope.handles[value]


def _read(scope, op):
    name, out = _variable(scope, op.inputs[0]), op.outputs[0]
    before = scope.translation.variable(name, out)
    scope.node("Identity", (scope.current.get(name, before),), [scope.name(out)])


def _assign(scope, op):
    name, value = _variable(scope, op.inputs[0]), op.inputs[1]
    scope.translation.variable(name, value)
    scope.current[name] = scope.name(value)


def _once(scope, op):
    """A graph that gives variables their first values: zeros."""
    translation = scope.translation
    if scope.depth or not 0 <= op.options.subgraph < len(translation.model.graphs):
        raise UnsupportedModelError("is supported in the first graph alone, of one that is there")
    for own in translation.model.graphs[op.options.subgraph].operators:
        if own.word == "VAR_HANDLE":
            continue
        value = own.inputs[1] if own.word == "ASSIGN_VARIABLE" and len(own.inputs) == 2 else None
        if value is None or value.array is None or value.array.any():
            raise UnsupportedModelError(
                "variables that do not begin at zero are not supported", found=f"the operator {own.word}"
            )


WORDS = {
    "WHILE": _while,
    "VAR_HANDLE": _handle,
    "READ_VARIABLE": _read,
    "ASSIGN_VARIABLE": _assign,
    "CALL_ONCE": _once,
}
