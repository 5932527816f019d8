"""Operators on rows of which each row of the batch makes several: the bins of its frames, its channels, its
segments, folded into the batch by the program ("bn" or "nb" among the axes of Slots).

What an operator makes of one such row is read on a network of its own, whose layers then run in every bin of
a frame: recurrent layers and products read a frame of bins as so many rows; others move or scale numbers.
"""

from __future__ import annotations

import dataclasses
from math import prod

import numpy as np

from ...errors import UnsupportedModelError
from ...layers import (
    Activation,
    Add,
    Affine,
    BatchNormalization,
    Concatenate,
    Conv1D,
    Conv2D,
    Crop1D,
    Expand,
    Flatten,
    GlobalMaxPool,
    Input,
    Pad1D,
    Reshape,
    Reverse,
    Select,
    Unflatten,
)
from ...layers.base import FrameByFrame
from ...layers.pool import Pool1D
from ...layers.recurrent import Recurrent
from ..axes import slots
from ..axes.sizes import Size
from ..axes.slots import Slots, slots_of
from ..axes.values import Tensor, Zeros, needed
from .fronts import _over_bins
from .stilled import exchanged, mapped, tensors_in
from .table import RETRIES, apply

#: layers that treat every number of a frame alike, whatever its place
_OF_NUMBERS = (Activation, Add, Crop1D, Expand, GlobalMaxPool, Pad1D, Pool1D, Reverse)
#: layers that read frames of several axes along the last one
_OF_BINS = (Affine, BatchNormalization, Recurrent)


def are_bins(arguments):
    """Whether all tensors among arguments have rows that are bins of the rows of a batch, of one number."""
    tensors = tensors_in(arguments)
    if not tensors or not all(isinstance(x, Slots) and x.folded for x in tensors):
        return False
    return len({(x.axes[x.folded[0]], x.places.shape[x.folded[0]]) for x in tensors}) == 1


def _as_operator(net, name, arguments):
    if are_bins(arguments):
        yield lambda: in_every_bin(net, arguments, lambda inner, own: apply(inner, name, **own))


def in_every_bin(net, arguments, function):
    """What ``function(network, arguments)`` makes of one such row, of all of them."""
    tensors = tensors_in(arguments)
    letter, count = tensors[0].axes[tensors[0].folded[0]], tensors[0].places.shape[tensors[0].folded[0]]
    inner, given, own = net.beside(), {}, {}
    for k, x in enumerate({id(x): x for x in tensors}.values()):
        own[id(x)], given[f"bin_{k}"] = _one_of(net, inner, x, f"bin_{k}")
    one = {key: mapped(v, lambda v: _zeros_of_one(net, v, count)) for key, v in arguments.items()}
    made = function(inner, exchanged(one, own))
    if inner.states or inner.lengths:
        raise UnsupportedModelError(
            "rows folded into the batch cannot have initial states or lengths given by the caller"
        )
    results = []
    mapped(made, lambda v: results.append(slots_of(inner, v)) if isinstance(v, (Tensor, Slots)) else None)
    inner.builder.outputs = []
    for k, reference in enumerate(dict.fromkeys(r for v in results for r in v.references)):
        inner.builder.output(f"y{k}", reference)
    references = _run(net, needed(inner.builder.graph()), given, count)
    return mapped(made, lambda v: _of_all(net, inner, v, references, letter, count))


def _one_of(net, inner, x, name):
    """(one row of a tensor, as an input of ``inner``; a reference to those of all bins)."""
    rows = x.folded[0]
    sizes = [n for a, n in zip(x.axes, x.places.shape) if a == "n"]
    places = np.moveaxis(x.places, rows, 0).reshape(1, -1)
    timed = "t" in x.axes
    reference = slots.picked(net, x.seen(("b", "n"), places))
    length = net.builder.signal(x.references[0]).length if timed else None
    features = (prod(sizes),)
    frame = inner.builder.input(name, features, time=timed, length=length)
    axes = tuple("b" if k == rows else a for k, a in enumerate(x.axes))
    if timed:
        inner.sequences.setdefault(x.clock, frame)
    shape = [n if a == "n" else 1 for a, n in zip(axes, x.places.shape)]
    own = Slots(axes, np.arange(features[0]).reshape(shape), (frame,), features, x.clock)
    may_be_frames = not timed and (net.stilled or net.known)
    return (None if may_be_frames else slots.tensor_of(inner, own)) or own, reference


def _zeros_of_one(net, value, count):
    """Zeros for all rows as those for one of every bin."""
    if not isinstance(value, Zeros):
        return value

    def fewer(n):
        if isinstance(n, Size) and n.axes == ("b",) and n.number % count == 0:
            return Size(n.axes, n.number // count)
        return Size(("b",)) if net.batch is not None and n == net.batch * count else n

    return Zeros(tuple(map(fewer, value.shape)))


def _of_all(net, inner, value, references, letter, count):
    """What an operator made of one row, of all of them."""
    if not isinstance(value, (Tensor, Slots)):
        return value
    value = slots_of(inner, value)
    starts, rows = np.concatenate([[0], np.cumsum(value.widths)]), value.axes.index("b")
    owner = np.searchsorted(starts, value.places, "right") - 1
    first = (count - 1) * starts[owner] + value.places  # of bin 0, where all bins of a reference lie together
    places = np.concatenate([first + k * np.asarray(value.widths)[owner] for k in range(count)], rows)
    own = tuple(references[r] for r in value.references)
    axes = tuple(letter if k == rows else a for k, a in enumerate(value.axes))
    if value.clock is not None:
        net.sequences.setdefault(value.clock, own[0])
    return Slots(axes, places, own, tuple(count * w for w in value.widths), value.clock)


# ---- layers ------------------------------------------------------------------------------------------------


def _run(net, graph, given, count):
    """{reference of the graph: a reference to the same of all bins, bin after bin}."""
    made = {}
    for layer in graph.layers:
        if isinstance(layer, Input):
            made[layer.name] = given[layer.name]
            continue
        own = _layer(net, graph, layer, made, count)
        for output in ("", *layer.extra_outputs):
            inside = f"{layer.name}:{output}" if output else layer.name
            made[inside] = f"{own}:{output}" if output else own
        for array, start in graph.start.items():
            of, _, word = array.partition("/")
            if of == layer.name:
                net.builder.start[f"{own}/{word}"] = np.tile(start, (count, 1))
    return made


def _layer(net, graph, layer, made, count):
    """The layer of all bins that stands for one of a single one."""
    fields = {f.name: getattr(layer, f.name) for f in dataclasses.fields(layer)}
    del fields["name"], fields["inputs"]
    signals = [graph.signals[r] for r in layer.inputs]
    flat = [slots.row_of(net, made[r]) for r in layer.inputs]
    add = lambda *references, **own: net.add(type(layer), *references, **own)
    of_bins = lambda reference, features: net.add(Reshape, reference, features=(count, *features))
    if fields.get("mask") is not None:
        raise UnsupportedModelError("a mask of rows folded into the batch is not supported")
    if isinstance(layer, _OF_BINS):
        return add(*(of_bins(r, s.features) for r, s in zip(flat, signals)), **fields)
    if isinstance(layer, _OF_NUMBERS):
        return add(*flat, **fields)
    if isinstance(layer, Reshape):
        return of_bins(flat[0], fields["features"])
    if isinstance(layer, Select):
        index = np.arange(count)[:, None] * signals[0].width + np.asarray(fields["index"])
        return add(flat[0], index=index.ravel())
    if isinstance(layer, Concatenate):
        widths = [s.width for s in signals]
        starts = np.cumsum([0, *(count * w for w in widths)])
        index = [starts[k] + b * w + np.arange(w) for b in range(count) for k, w in enumerate(widths)]
        return net.add(Select, add(*flat), index=np.concatenate(index))
    if isinstance(layer, Flatten):
        length, width = signals[0].length, signals[0].width
        order = np.arange(count * length * width).reshape(length, count, width).swapaxes(0, 1)
        return net.add(Select, add(*flat), index=order.ravel())
    if isinstance(layer, Unflatten):
        length, width = fields["length"], signals[0].width
        order = np.arange(count * width).reshape(count, length, -1).swapaxes(0, 1)
        return add(net.add(Select, flat[0], index=order.ravel()), length=length)
    if isinstance(layer, Conv1D):
        fields["weight"] = fields["weight"][:, :, None]
        return net.add(Conv2D, of_bins(flat[0], signals[0].features), **fields, bin_padding=(0, 0))
    if isinstance(layer, FrameByFrame) and len(flat) == 1:
        return _over_bins(net, of_bins(flat[0], signals[0].features), type(layer), **fields)
    raise UnsupportedModelError(
        f"{type(layer).__name__} is not supported on rows of which each row of the batch makes several",
        fix="Import what reads one of them, and call it for each: they are rows of a batch to it.",
    )


RETRIES.insert(1, _as_operator)
