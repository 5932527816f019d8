"""What is tried where an operator does not take its tensors as they are: the other readings under which it
means the same.

- Rows that a program has merged of batch and time, with several axes in each (words of sentences, characters
  of words): the operator runs inside every frame, on a sequence that begins anew there.
- A sequence of a fixed number of frames: its time becomes one more axis of numbers, so that two sequences
  meet frame by frame (scores of every frame with every other), or frames are regrouped.
- Numbers that were such an axis: they are a sequence again.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ...layers import Reshape, TimeDistributed, Unflatten
from ..axes import slots
from ..axes.sizes import Clock, Size
from ..axes.slots import Slots, slots_of, tensor_of
from ..axes.values import Tensor, Zeros, needed
from .table import OPERATORS, RETRIES, apply

_MERGED = ("bt", "tb")


def mapped(value, function):
    """A value, or each of a tuple or a list of them, through ``function``."""
    if type(value) in (tuple, list):
        return type(value)(mapped(v, function) for v in value)
    return function(value)


def tensors_in(arguments):
    """The tensors among arguments, in order."""
    found = []
    mapped(tuple(arguments.values()), lambda v: found.append(v) if isinstance(v, (Tensor, Slots)) else None)
    return found


def exchanged(arguments, made):
    """The arguments with other tensors in place of some: ``made``: {id of the old one: the new one}."""
    return {name: mapped(value, lambda v: made.get(id(v), v)) for name, value in arguments.items()}


def as_plain(net, name, arguments):
    """An operator of tensors with one axis of numbers, which stood among others."""
    tensors = [x for x in tensors_in(arguments) if isinstance(x, Slots)]
    if tensors and all(x.long < 2 and not x.mixed for x in tensors):
        own = lambda: {id(x): dataclasses.replace(tensor_of(net, x), root=x.root) for x in tensors}
        yield lambda: OPERATORS[name].lower(net, **exchanged(arguments, own()))


# ---- inside every frame ------------------------------------------------------------------------------------


def inside_frames(net, name, arguments):
    """An operator of one tensor whose rows are batch and time merged, run in every frame by itself."""
    tensors = tensors_in(arguments)
    if len(tensors) != 1 or not isinstance(tensors[0], Slots):
        return
    (x,) = tensors
    function = lambda inner, own: apply(inner, name, **own)
    own = [k for k, a in enumerate(x.axes) if a == "n"]
    if not of_frames(x) or not 2 <= len(own) <= 3:
        return
    for time in own if len(own) == 2 else own[:0:-1]:
        yield lambda time=time: inside_every_frame(net, arguments, function, x, time)


def of_frames(x):
    """Whether rows are batch and time merged, with several axes in each."""
    merged = isinstance(x, Slots) and [a for a in x.axes if a != "n"]
    return bool(merged) and len(merged) == 1 and merged[0] in _MERGED


def inside_every_frame(net, arguments, function, x, time):
    """What ``function(network, arguments)`` makes of one frame of ``x``, whose axis ``time`` is a sequence,
    of all of them.
    """
    rows = next(k for k, a in enumerate(x.axes) if a in _MERGED)
    inner = net.beside()
    order = [time, *(k for k, a in enumerate(x.axes) if a == "n" and k != time)]
    sizes = [x.places.shape[k] for k in order]
    places = np.transpose(x.places, [rows, *order])[0]
    reference = slots.picked(net, x.seen(x.axes[rows : rows + 1] + ("n",), places.reshape(1, -1)))
    reference = net.add(Reshape, reference, features=tuple(sizes))
    frame = inner.builder.input("frame", sizes[1:], length=sizes[0])
    clock = Clock("", sizes[0], 0)
    if len(order) == 2:
        axes = tuple("b" if k == rows else "t" if k == time else "f" for k in range(len(x.axes)))
        own = inner.tensor(frame, axes, clock)
    else:
        axes = tuple("b" if k == rows else "t" if k == time else "n" for k in range(len(x.axes)))
        numbers = np.arange(int(np.prod(sizes[1:])))
        shape = [1 if a != "n" else x.places.shape[k] for k, a in enumerate(axes)]
        own = Slots(axes, numbers.reshape(shape), (frame,), (numbers.size,), clock)
        inner.sequences.setdefault(clock, frame)
    zeros = {key: mapped(value, lambda v: _zeros_inside(net, v, x)) for key, value in arguments.items()}
    made = function(inner, exchanged(zeros, {id(x): own}))
    return mapped(made, lambda value: _out(net, inner, value, reference, x, rows))


def _zeros_inside(net, value, x):
    """Zeros for every frame of ``x`` as those for one."""
    if not isinstance(value, Zeros):
        return value
    merged = (Size(("b", ("t", x.clock))), Size((("t", x.clock), "b")))
    length = net.builder.signal(x.references[0]).length
    if length is not None:
        merged += (Size(("b",), length), *([net.batch * length] if net.batch is not None else []))
    return Zeros(tuple(Size(("b",)) if n in merged else n for n in value.shape))


def _out(net, inner, value, reference, x, rows):
    """What an operator made inside a frame, as a tensor outside."""
    if not isinstance(value, (Tensor, Slots)):
        return value
    value = slots_of(inner, value)
    row = slots.picked(inner, value)
    inner.builder.outputs = []
    inner.builder.output("y", row)
    graph = needed(inner.builder.graph())
    outer = net.add(TimeDistributed, reference, graph=graph)
    frames = inner.builder.signal(row).length if "t" in value.axes else 1
    count = frames * value.places.size
    places = np.arange(count).reshape(frames, *value.places.shape)
    if "t" in value.axes:
        time = value.axes.index("t")
        places = np.moveaxis(places, 0, time).squeeze(time + 1)
    else:
        places = places[0]
    axes = tuple(x.axes[rows] if a == "b" else "n" for a in value.axes)
    outer = slots.row_of(net, outer)
    made = Slots(axes, places, (outer,), (count,), x.clock)
    return tensor_of(net, made) or made


# ---- numbers as a sequence ---------------------------------------------------------------------------------


def as_sequence(net, name, arguments):
    """An operator of a tensor without time, which is a sequence to it along one of its axes."""
    tensors = [x for x in tensors_in(arguments) if isinstance(x, Slots)]
    if len(tensors) != 1 or not (net.stilled or net.known):
        return
    (x,) = tensors
    own = [k for k, a in enumerate(x.axes) if a == "n"]
    if x.axes.count("b") != 1 or len(own) != len(x.axes) - 1 or not 2 <= len(own) <= 3:
        return
    for time in own if len(own) == 2 else own[:0:-1]:
        yield lambda time=time: apply(net, name, **exchanged(arguments, {id(x): _sequence(net, x, time)}))


def _sequence(net, x, time):
    length = x.places.shape[time]
    others = [k for k in range(len(x.axes)) if k != time]
    places = np.moveaxis(x.places, time, 0)
    row = slots.picked(net, x.seen(("b", "n"), places.reshape(1, -1)))
    reference, clock = net.add(Unflatten, row, length=length), Clock("", length, 0)
    axes = tuple("t" if k == time else a for k, a in enumerate(x.axes))
    net.sequences.setdefault(clock, reference)
    size = x.places.size // length
    numbers = np.arange(size).reshape([x.places.shape[k] if k in others else 1 for k in range(len(axes))])
    made = Slots(axes, numbers, (reference,), (size,), clock, x.root)
    plain = tensor_of(net, made)
    return made if plain is None else dataclasses.replace(plain, root=x.root)


# ---- time as numbers ---------------------------------------------------------------------------------------


def without_time(net, name, arguments):
    """An operator of sequences of fixed length, some or all of which become numbers."""
    timed = [x for x in tensors_in(arguments) if x.clock is not None and "t" in x.axes]
    plain = [not isinstance(x, Tensor) or not (x.packed or any(x.padding)) for x in timed]
    if not timed or not all(plain):
        return
    lengths = [net.builder.signal(x.references[0]).length for x in timed]
    if None in lengths or any(isinstance(x, Tensor) and net.is_ids(x) for x in timed):
        return
    several = len({id(x) for x in timed}) > 1
    for some in (timed[1:], timed[:-1], timed) if several else (timed,):
        yield lambda some=some: _frozen(net, name, arguments, some)


def _frozen(net, name, arguments, some):
    made = {id(x): slots.timeless(net, slots_of(net, x)) for x in some}
    return apply(net, name, **exchanged(arguments, made))


RETRIES += [as_plain, inside_frames, as_sequence, without_time]
