"""The calls of a PyTorch program that move axes or pick parts: each takes a Network and the call's own
arguments.

Most only rename axes and add nothing to the graph. A call that would mix sequences, cut time or depend on the
number of frames is refused.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from math import prod

from ...errors import ShapeError, UnsupportedModelError
from ...layers import Concatenate, Conv1D, Flatten, GlobalMaxPool, Last, Reshape, Reverse, Select
from .values import Harmless, LengthError, Lengths, MaxOverTime, Refused, Size, StateInput, Tensor

#: name of the call (function, method or aten operator) -> f(network, *arguments, **options)
SHAPES = {}


def call(*names):
    def register(function):
        SHAPES.update(dict.fromkeys(names, function))
        return function

    return register


# ---- axes --------------------------------------------------------------------------------------------------


def _flat(items):
    return tuple(items[0]) if len(items) == 1 and isinstance(items[0], (tuple, list)) else tuple(items)


@call("transpose", "swapaxes", "swapdims")
def transpose(net, input, dim0, dim1):
    axes = list(input.axes)
    first, second = net.axis(input, dim0), net.axis(input, dim1)
    axes[first], axes[second] = axes[second], axes[first]
    return input.view(axes)


@call("permute")
def permute(net, input, *dims):
    order = [net.axis(input, d) for d in _flat(dims)]
    if sorted(order) != list(range(len(input.axes))):
        raise UnsupportedModelError("permute must name every axis once", found=str(dims))
    return input.view([input.axes[k] for k in order])


@call("movedim", "moveaxis")
def movedim(net, input, source, destination):
    axes = list(input.axes)
    moved = axes.pop(net.axis(input, source))
    axes.insert(net.axis(input, destination), moved)
    return input.view(axes)


@call("t", "T")
def transposed(net, input):
    if len(input.axes) != 2:
        raise UnsupportedModelError(
            "is supported for two axes only", found=str(input), fix="Use transpose or permute."
        )
    return input.view(input.axes[::-1])


@call("mT")
def matrix_transposed(net, input):
    return transpose(net, input, -2, -1)


@call("unsqueeze")
def unsqueeze(net, input, dim):
    if isinstance(input, StateInput) and dim == 0:
        return input  # (batch, units) of one layer and direction is read as (1, batch, units)
    rank = len(input.axes) + 1
    if not isinstance(dim, int) or not -rank <= dim < rank:
        raise UnsupportedModelError("dim must be a number of an axis", found=str(dim))
    axes = list(input.axes)
    axes.insert(dim % rank, "1")
    return input.view(axes)


@call("squeeze")
def squeeze(net, input, dim=None):
    if dim is None:
        raise UnsupportedModelError(
            "squeeze without dim drops the batch axis of a batch of one", fix="Name the axis: squeeze(-1)."
        )
    for position in sorted(
        {net.axis(input, d) for d in (dim if isinstance(dim, (tuple, list)) else [dim])}, reverse=True
    ):
        axis = input.axes[position]
        size = net.sizes(input)[position]
        if isinstance(size, Size):
            raise UnsupportedModelError(f"squeeze of the {axis} axis depends on its size", found=str(input))
        if size == 1:
            input = _without(net, input, position)
    return input


def _without(net, x, position):
    """``x`` without an axis of size one."""
    axes = x.axes[:position] + x.axes[position + 1 :]
    if x.axes[position] == "f":
        return x.view(axes, (net.add(Reshape, x.reference, features=()),))
    return x.view(axes)


@call(
    "contiguous",
    "clone",
    "detach",
    "float",
    "cpu",
    "cuda",
    "requires_grad_",
    "alias",
    "lift_fresh_copy",
    "detach_",
)
def same(net, input, *ignored, **options):
    for option in (*ignored, *options.values()):
        if not isinstance(option, (Harmless, bool, type(None))):
            raise UnsupportedModelError("is not supported with this argument", found=str(option))
    return input


@call("to", "type", "_to_copy")
def to(net, input, *ignored, **options):
    words = [o.word for o in (*ignored, *options.values()) if isinstance(o, Harmless)]
    wrong = [w for w in words if w.startswith("torch.") and w in _TYPES and w != "torch.float32"]
    ids = isinstance(input, Lengths) or isinstance(input, Tensor) and net.is_ids(input)
    if wrong and not (ids and wrong[0] in ("torch.int64", "torch.int32")):
        raise UnsupportedModelError(
            f"a change of type to {wrong[0]} is not supported", expected="torch.float32"
        )
    return input


_TYPES = {
    f"torch.{t}"
    for t in [
        "float16",
        "float32",
        "float64",
        "bfloat16",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "bool",
        "complex64",
        "complex128",
    ]
}


@call("tolist")
def to_list(net, input):
    if isinstance(input, Lengths):
        return input
    raise UnsupportedModelError("the values of a tensor are not known while a model is read")


@call("long", "int")
def whole(net, input):
    if isinstance(input, Lengths) or net.is_ids(input):
        return input
    raise UnsupportedModelError("numbers cannot be made whole inside the graph")


# ---- sizes -------------------------------------------------------------------------------------------------


@call("size", "shape")
def size(net, input, dim=None):
    if isinstance(input, (StateInput, Lengths)):
        raise UnsupportedModelError("the size of a state or of lengths is not known")
    sizes = tuple(net.sizes(input))
    return sizes if dim is None else sizes[net.axis(input, dim)]


@call("sym_size")
def sym_size(net, input, dim):
    return size(net, input, dim)


@call("dim", "ndimension", "ndim")
def rank(net, input):
    return len(input.axes)


@call("device", "dtype", "get_device")
def harmless(net, input):
    return Harmless("of a tensor")


# ---- reshape -----------------------------------------------------------------------------------------------


@call("view", "reshape", "_unsafe_view")
def reshape(net, input, *shape):
    if len(shape) == 1 and isinstance(shape[0], Harmless):
        return to(net, input, *shape)
    x = _plain(net, input)
    x = x.view([part for axis in x.axes for part in axis])  # a merged "bt" may be taken apart again
    return _regrouped(
        net, x, _groups(net, x, [s if isinstance(s, Size) else Size((), _number(s)) for s in _flat(shape)])
    )


@call("flatten")
def flatten(net, input, start_dim=0, end_dim=-1):
    x = _plain(net, input)
    start, end = net.axis(x, start_dim), net.axis(x, end_dim)
    positions = list(range(len(x.axes)))
    groups = (
        [[p] for p in positions[:start]] + [positions[start : end + 1]] + [[p] for p in positions[end + 1 :]]
    )
    return _regrouped(net, x, groups)


def _plain(net, x):
    """``x`` with every axis of size one called "1"."""
    for position, size in enumerate(net.sizes(x)):
        if size == 1 and x.axes[position] != "1":
            references = (
                (net.add(Reshape, x.reference, features=()),) if x.axes[position] == "f" else x.references
            )
            x = x.view(x.axes[:position] + ("1",) + x.axes[position + 1 :], references)
    return x


def _number(value):
    if isinstance(value, bool) or not isinstance(value, int):
        raise UnsupportedModelError("a shape must hold sizes and numbers", found=str(value))
    return value


def _groups(net, x, targets):
    """Which axes of ``x``, in order, make each target size: a list of positions a target.

    Axes are taken from both ends towards the one -1. A number never stands for batch or time: the trace would
    then hold for that number alone.
    """
    sizes = [s if isinstance(s, Size) else Size((), s) for s in net.sizes(x)]
    fixed = net.signal(x).length
    positions = list(range(len(sizes)))
    unknown = [k for k, t in enumerate(targets) if t == Size((), -1)]
    if len(unknown) > 1:
        raise UnsupportedModelError("only one size may be -1", found=str(len(unknown)))
    cut = unknown[0] if unknown else len(targets)
    left = [_consume(positions, sizes, t, fixed, x, 0) for t in targets[:cut]]
    right = [_consume(positions, sizes, t, fixed, x, -1) for t in reversed(targets[cut + 1 :])]
    if unknown:
        return left + [positions] + right[::-1]
    if any(sizes[p] != Size((), 1) for p in positions):
        raise _constant(x)
    if left:
        left[-1] = left[-1] + positions
    return left


def _consume(positions, sizes, target, fixed, x, end):
    """Take positions from one end until their product is ``target``."""
    group = []
    while not _equal([sizes[p] for p in group], target, fixed) or (
        target == Size((), 1) and not group and positions and sizes[positions[end]] == target
    ):
        if not positions or (group and target == Size((), 1)):
            raise _constant(x)
        group.insert(0 if end else len(group), positions.pop(end))
    return group


def _equal(group, target, fixed):
    axes, number = [a for s in group for a in s.axes], prod(s.number for s in group)
    if not target.axes and fixed is not None:
        number, axes = number * fixed ** sum(a != "b" for a in axes), [a for a in axes if a == "b"]
    return Counter(axes) == Counter(target.axes) and number == target.number


def _constant(x):
    return UnsupportedModelError(
        "this shape does not keep batch, time and features apart, or holds batch or time as a constant",
        found=str(x),
        fix="Take states by number, as h_n[-1]."
        if "s" in x.axes
        else "Write sizes as x.size(0) and x.size(1), and let -1 stand for the features.",
    )


def _regrouped(net, x, groups):
    made = []
    for group in groups:
        axes = "".join(x.axes[p] for p in group).replace("1", "")
        if len(axes) < 2 or axes in ("bt", "tb"):
            made.append(axes or "1")
        elif axes == "sf":
            x = x.view(references=(net.add(Concatenate, *x.references),))
            made.append("f")
        elif axes in ("tf", "ft"):
            x = x.view(references=(_flattened(net, x, axes),))
            made.append("f")
        else:
            raise UnsupportedModelError(f"the axes {' and '.join(axes)} cannot be merged", found=str(x))
    return x.view(made)


def _flattened(net, x, axes):
    """All frames of a sequence of fixed length as one value, in the order torch's axes have."""
    signal = net.signal(x)
    if signal.length is None:
        raise LengthError(
            "flattening time needs a fixed number of frames",
            found=str(x),
            fix="Give example= so that it is known.",
        )
    reference = net.add(Flatten, x.reference)
    if axes == "tf":
        return reference
    return net.add(
        Select,
        reference,
        index=[t * signal.width + f for f in range(signal.width) for t in range(signal.length)],
    )


# ---- parts -------------------------------------------------------------------------------------------------


@call("getitem")
def getitem(net, input, index):
    """``input[index]`` of a tensor, a tuple of results, a size or a state."""
    if isinstance(input, StateInput):
        bounds = (index.start, index.stop, index.step) if isinstance(index, slice) else (index,)
        if all(isinstance(n, int) or (n is None and isinstance(index, slice)) for n in bounds):
            return dataclasses.replace(input, path=(*input.path, index))
        raise UnsupportedModelError(f"part of the state {input.name!r} cannot be taken", found=str(index))
    if isinstance(input, (tuple, list, dict)):
        try:
            return input[index]
        except (LookupError, TypeError) as error:
            raise UnsupportedModelError("there is no such item", found=str(index)) from error
    if not isinstance(input, Tensor):
        raise UnsupportedModelError("cannot be indexed", found=str(input))
    index = index if isinstance(index, tuple) else (index,)
    if any(not isinstance(i, (int, slice, type(None), type(...))) or isinstance(i, bool) for i in index):
        raise UnsupportedModelError("an index must be made of numbers and slices", found=str(index))
    named = sum(i is not None and i is not ... for i in index)
    if named > len(input.axes) or index.count(...) > 1:
        raise UnsupportedModelError("too many indices", found=f"{index} of {input}")
    if ... not in index:
        index += (...,)
    place = index.index(...)
    index = index[:place] + (slice(None),) * (len(input.axes) - named) + index[place + 1 :]
    position = 0
    for item in index:
        if item is None:
            input = unsqueeze(net, input, position)
            position += 1
        elif isinstance(item, int):
            input = select(net, input, position, item)
        else:
            input = slice_(net, input, position, item.start, item.stop, 1 if item.step is None else item.step)
            position += 1
    return input


@call("select")
def select(net, input, dim, index):
    if isinstance(input, StateInput) and dim == 0:
        return getitem(net, input, index)
    position = net.axis(input, dim)
    axis, rest = input.axes[position], input.axes[:position] + input.axes[position + 1 :]
    if isinstance(index, bool) or not isinstance(index, int):
        raise UnsupportedModelError("an index must be a number", found=str(index))
    if axis == "t":
        net.whole(input)
        if index not in (0, -1):
            raise UnsupportedModelError(
                "only the last frame [-1] or the first [0] can be taken", found=f"frame {index}"
            )
        reference = input.reference if index else net.add(Reverse, input.reference)
        return dataclasses.replace(input, references=(net.add(Last, reference),), axes=rest, clock=None)
    sizes = {"f": net.signal(input).width, "s": len(input.references), "1": 1}
    if axis not in sizes:
        raise UnsupportedModelError(
            "one sequence of a batch cannot be taken", found=f"index {index} of {input}"
        )
    if not -sizes[axis] <= index < sizes[axis]:
        raise UnsupportedModelError(
            "the index is out of range", expected=f"below {sizes[axis]}", found=str(index)
        )
    if axis == "s":
        return input.view(rest, (input.references[index],))
    if axis == "f":
        picked = net.add(Select, input.reference, index=(index % sizes[axis],))
        return input.view(rest, (net.add(Reshape, picked, features=()),))
    return input.view(rest)


@call("slice")
def slice_(net, input, dim=0, start=None, end=None, step=1):
    if isinstance(input, StateInput) and dim == 0:
        return getitem(net, input, slice(start, end, None if step == 1 else step))
    position = net.axis(input, dim)
    axis = input.axes[position]
    whole = (
        start in (None, 0)
        and (end is None or end == net.sizes(input)[position] or end == (1 << 63) - 1)
        and step == 1
    )
    if whole:
        return input
    if axis == "t" and start in (None, 0) and step == 1 and isinstance(end, Size):
        return _cut(net, input, end)
    if any(not isinstance(n, (int, type(None))) for n in (start, end, step)):
        raise UnsupportedModelError("a slice must be made of numbers", found=f"{start}:{end}:{step}")
    if axis == "t" and start in (None, 0) and step == 1 and end < 0:
        return _chomped(net, input, -end)
    if axis == "t" and start == -1 and end is None and step == 1:
        last = select(net, input, position, -1)
        return unsqueeze(net, last, position)
    if axis not in "fs1":
        raise UnsupportedModelError(
            f"part of the {'time' if axis == 't' else 'batch'} axis cannot be taken",
            found=f"{start}:{end}:{step} of {input}",
        )
    kept = range(net.sizes(input)[position])[slice(start, end, step)]
    if not kept:
        raise ShapeError(
            "the slice is empty", expected=f"a part of {net.sizes(input)[position]}", found=f"{start}:{end}"
        )
    if axis == "s":
        return input.view(references=tuple(input.references[k] for k in kept))
    if axis == "1":
        return input
    return input.view(references=(net.add(Select, input.reference, index=tuple(kept)),))


def _cut(net, x, end):
    """x[:, :y.size(1)], y a tensor that never has more frames than x, as before a convolution padded on both
    sides.
    """
    clock = end.axes[0][1] if len(end.axes) == 1 and end.number == 1 and end.axes[0] != "b" else None
    if (
        clock is None
        or (clock.input, clock.stride, clock.longest) != (x.clock.input, x.clock.stride, False)
        or not clock.stride
        or (clock.span - x.clock.span) % clock.stride
    ):
        raise UnsupportedModelError(
            "frames can be cut off only down to those of a tensor before", found=str(x)
        )
    more = (clock.span - x.clock.span) // clock.stride
    return _chomped(net, x, more) if more > 0 else x


def _chomped(net, x, frames):
    """x[:, :-frames] of a convolution that was padded on both sides: the same convolution with less padding
    on the right.
    """
    layer = net.layer(x)
    if (
        not isinstance(layer, Conv1D)
        or layer.stride != 1
        or layer.padding == "same"
        or layer.padding[1] < frames
    ):
        raise UnsupportedModelError(
            "the last frames can be cut off only where they come from a convolution's right padding",
            found=f"[:-{frames}]",
        )
    fields = {f.name: getattr(layer, f.name) for f in dataclasses.fields(layer)}
    fields["padding"] = (layer.padding[0], layer.padding[1] - frames)
    reference = net.builder.add(Conv1D, fields.pop("name"), *fields.pop("inputs"), **fields)
    return dataclasses.replace(x, references=(reference,), clock=net.after(net.clocks[layer.name], reference))


@call("narrow")
def narrow(net, input, dim, start, length):
    width = _width(net, input, dim)
    start = start % width
    return slice_(net, input, dim, start, start + length)


@call("chunk")
def chunk(net, input, chunks, dim=0):
    width = _width(net, input, dim)
    return split(net, input, -(-width // chunks), dim)


@call("split", "split_with_sizes")
def split(net, input, split_size_or_sections, dim=0):
    width, sizes = _width(net, input, dim), split_size_or_sections
    if isinstance(sizes, int):
        sizes = [min(sizes, width - start) for start in range(0, width, sizes)]
    if sum(sizes) != width:
        raise UnsupportedModelError(
            "the parts do not make up the axis", expected=str(width), found=str(sizes)
        )
    starts = [sum(sizes[:k]) for k in range(len(sizes))]
    return tuple(slice_(net, input, dim, start, start + n) for start, n in zip(starts, sizes))


def _width(net, x, dim):
    axis = x.axes[net.axis(x, dim)]
    if axis not in ("f", "s"):
        raise UnsupportedModelError("only features can be split", found=f"axis {dim} of {x}")
    return net.sizes(x)[net.axis(x, dim)]


@call("flip")
def flip(net, input, *dims):
    (position,) = [net.axis(input, d) for d in _flat(dims)]
    if input.axes[position] == "f":
        order = tuple(reversed(range(net.signal(input).width)))
        return net.made(net.add(Select, input.reference, index=order), input.axes, input.clock)
    if input.axes[position] != "t":
        raise UnsupportedModelError("only time or features can be flipped", found=str(input))
    net.whole(input)
    return net.made(net.add(Reverse, input.reference), input.axes, input.clock)


# ---- over time ---------------------------------------------------------------------------------------------


def over_time(net, x, kind, dim, keepdim):
    """A reduction of all frames to one; torch's dim must be the time axis."""
    dims = dim if isinstance(dim, (tuple, list)) else (dim,)
    if len(dims) != 1 or dims[0] is None:
        raise UnsupportedModelError("dim must be the one axis of time", found=str(dim))
    position = net.axis(x, dims[0])
    if x.axes[position] != "t":
        raise UnsupportedModelError("only time can be reduced", found=f"axis {dims[0]} of {x}")
    net.whole(x)
    axes = x.axes[:position] + (("1",) if keepdim else ()) + x.axes[position + 1 :]
    return net.made(net.add(kind, x.reference), axes, None)


@call("max")
def maximum(net, input, dim=None, keepdim=False):
    return MaxOverTime(
        over_time(net, input, GlobalMaxPool, dim, keepdim), Refused("the indices of max are not supported")
    )
