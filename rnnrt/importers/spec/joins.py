"""Lines of a spec that join results, take them apart, repeat them over frames, or reduce them.

They run on the operators that traced programs run on, so a result is a tensor with axes. In a join all
results are taken as (batch, time, features), for a spec writes no transposition; one that is given once, a
value, counts for every frame.
"""

from __future__ import annotations

from ...layers import Crop1D, Expand, Pad1D, Select, Unflatten
from ..axes.sizes import Clock
from ..axes.values import Constant, Network, Tensor, settled
from ..operators import table
from ..torch.aten import ATEN

_MOST = 4096


def _net(spec, name):
    net = Network()
    net.builder, net.name = spec.builder, name
    return net


def _tensor(spec, reference, axes, clock):
    timed = spec.builder.signal(reference).time
    return Tensor((reference,), tuple(axes) if timed else ("b", "f"), clock if timed else None)


def _here(spec):
    return _tensor(spec, spec.x, spec.axes, spec.packing.clock)


def _put(spec, net, tensor, axes):
    """What an operator made is where the network stands."""
    tensor = settled(net, tensor)
    spec.x, spec.packing.clock = tensor.reference, tensor.clock or Clock("")
    spec.axes = axes


# ---- joins -------------------------------------------------------------------------------------------------

_WORDS = {"add": "add", "sub": "subtract", "mul": "multiply", "div": "divide"}


def _join(spec, line):
    net = _net(spec, line.kind)
    references = [spec.settle(v) for v in spec.operands]
    timed = [v for v in references if getattr(v, "axes", None) and spec.builder.signal(v.reference).time]
    arrays = any(isinstance(v, str) for v in references)
    axes = timed[0].axes if timed else "btf"
    tensors = [_operand(spec, v, axes if arrays else "btf", bool(timed)) for v in references]
    if line.kind == "cat":
        made = _cat(spec, net, line, tensors)
    else:
        made = tensors[0]
        for other in tensors[1:]:
            made = table.apply(net, _WORDS[line.kind], a=made, b=other)
    _put(spec, net, made, axes)
    spec.stated = timed[0].stated if timed else False


def _operand(spec, value, axes, beside_frames):
    """A result, a number or a tensor of the file as an operator's argument."""
    if isinstance(value, float):
        return value
    if isinstance(value, str):
        return Constant(value, spec.tensors[value])
    tensor = _tensor(spec, value.reference, axes, value.clock)
    if beside_frames and "t" not in tensor.axes:
        tensor = tensor.view(["1" if a == "t" else a for a in axes])
    return tensor


def _cat(spec, net, line, tensors):
    """torch.cat over the features; a value given once stands beside every frame."""
    if any(not isinstance(t, Tensor) for t in tensors):
        raise line.refuse("cat joins results of lines alone")
    spec.check_features(line, default=None)
    timed = next((t for t in tensors if "t" in t.axes), None)
    if timed is not None:
        beside = lambda t: timed.view(references=(net.add(Expand, timed.reference, t.reference),))
        tensors = [t if "t" in t.axes else beside(t) for t in tensors]
    return table.apply(net, "concat", tensors=tuple(tensors), axis=-1)


# ---- parts -------------------------------------------------------------------------------------------------


def _numbers(line, count, names):
    """Whole numbers of a line: its words, or options by ``names``."""
    found = [int(w) if len(w) < 10 else _MOST + 1 for w in line.words]
    found += [line.options[n] for n in names[len(found) :] if n in line.options]
    if len(found) != count or any(type(n) is not int for n in found):
        raise line.refuse(
            f"{line.kind} takes {count} whole number{'s' * (count > 1)}",
            expected=f"{line.kind} {' '.join(n.upper() for n in names)}",
        )
    return found


def _chunk(spec, line):
    (parts,) = _numbers(line, 1, ("chunks",))
    width = spec.builder.signal(spec.x).width
    if parts < 1 or width % parts or parts != len(line.names):
        raise line.refuse(
            "chunk cuts the features into equal parts, each with a name",
            expected="a, b = chunk 2",
            found=f"{parts} parts of {width} features, {len(line.names)} names",
        )
    spec.check_features(line, default=None)
    size, values = width // parts, []
    whole = spec.x
    for k in range(parts):
        spec.x = spec.builder.add(Select, "chunk", whole, index=range(k * size, (k + 1) * size))
        values.append(spec.value())
    return values


def _narrow(spec, line):
    start, length = _numbers(line, 2, ("start", "length"))
    spec.check_features(line, default=None)
    if length < 1 or start < 0 or start + length > spec.builder.signal(spec.x).width:
        raise line.refuse(
            "narrow takes features that are there",
            expected=f"within {spec.builder.signal(spec.x).width}",
            found=f"{start} to {start + length}",
        )
    spec.x = spec.builder.add(Select, "narrow", spec.x, index=range(start, start + length))


def _crop(spec, line):
    before, after = _numbers(line, 2, ("before", "after"))
    spec.x = spec.builder.add(Crop1D, "crop", spec.x, before=before, after=after)
    spec.packing.window(spec.builder.layers[-1])


def _zero_pad(spec, line):
    if "padding" in line.options and not line.words and len(line.options) == 1:  # the module's own word
        before = after = line.options["padding"]
        if type(before) is not int or before < 0:
            raise line.refuse("the padding must be a whole number", found=str(before))
    else:
        before, after = _numbers(line, 2, ("left", "right"))
    spec.x = spec.builder.add(Pad1D, "pad", spec.x, before=before, after=after)
    spec.packing.window(spec.builder.layers[-1])


def _repeat(spec, line):
    """The value of a sequence at every frame: a number of them, or those of another result."""
    value = spec.settle(spec.operands[-2] if len(spec.operands) > 1 else spec.operands[0])
    like = spec.settle(spec.operands[-1]) if len(spec.operands) > 1 else None
    if spec.builder.signal(value.reference).time:
        raise line.refuse("only a value given once can be repeated over frames")
    if like is None:
        (count,) = _numbers(line, 1, ("length",))
        width = spec.builder.signal(value.reference).width
        if not 1 <= count <= _MOST:
            raise line.refuse("so many frames are not supported", expected=f"1 to {_MOST}", found=str(count))
        index = list(range(width)) * count
        copies = spec.builder.add(Select, "repeat", value.reference, index=index)
        spec.x = spec.builder.add(Unflatten, "repeat", copies, length=count)
        spec.packing.clock = Clock("", count, 0)
    else:
        if line.words or not spec.builder.signal(like.reference).time:
            raise line.refuse("repeat takes a value, then a number or a sequence of frames")
        spec.x = spec.builder.add(Expand, "repeat", like.reference, value.reference)
        spec.packing.clock, spec.packing.longest = like.clock, like.longest
    spec.axes = "btf"


# ---- over the features, or over time -----------------------------------------------------------------------


def _softmax(spec, line):
    kind = "log_softmax" if line.kind in ("LogSoftmax", "log_softmax") else "softmax"
    net, over = _net(spec, kind), spec.axis_of(line, line.options.get("dim"), "softmax")
    if over == "t" and spec.packing.longest:
        raise line.refuse(
            "pad cuts to the longest row, and this line would see the end",
            fix="Write pad total_length where forward gives total_length=x.size(1).",
        )
    x = _here(spec)
    _put(spec, net, table.apply(net, kind, x=x, axis=x.axes.index(over)), spec.axes)


def _glu(spec, line):
    spec.check_features(line, default=-1)
    net, x = _net(spec, "glu"), _here(spec)
    _put(spec, net, table.apply(net, "glu", x=x, axis=x.axes.index("f")), spec.axes)


def _sum(spec, line):
    if not spec.builder.signal(spec.x).time:
        raise line.refuse("sum is over frames, and this result has none")
    net, x = _net(spec, "sum"), _here(spec)
    made = table.apply(net, "reduce_sum", x=x, axes=(x.axes.index("t"),), keep=False)
    _put(spec, net, made, "btf")


def _function(word):
    def add(spec, line):
        net = _net(spec, line.kind)
        _put(spec, net, table.call(net, ATEN, word, _here(spec)), spec.axes)

    return add


#: kind -> (options it takes, f(network, line) -> its results where it has several)
OPERATIONS = {
    **dict.fromkeys(_WORDS, ((), _join)),
    "cat": (("dim",), _join),
    "chunk": (("chunks", "dim"), _chunk),
    "narrow": (("start", "length", "dim"), _narrow),
    "crop": (("before", "after"), _crop),
    "ZeroPad1d": (("left", "right", "padding"), _zero_pad),
    "repeat": (("length",), _repeat),
    "Softmax": (("dim",), _softmax),
    "LogSoftmax": (("dim",), _softmax),
    "GLU": (("dim",), _glu),
    "sum": ((), _sum),
    **{word: ((), _function(word)) for word in ("abs", "square", "sqrt", "log", "neg", "sin", "cos")},
}
