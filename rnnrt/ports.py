"""Where arrays enter and leave a model: the source's axes and types outside, float32 (time, batch, width) for
the engine inside.
"""

from __future__ import annotations

from math import prod

import numpy as np

from .axes import letters
from .errors import DTypeError, ShapeError
from .layers import Embedding, Input

#: Most inputs and outputs of a call that has a short way.
_MOST_SHORT = 32


def tables_of(graph, name):
    """Rows of the embeddings that read an input directly: its ids must be below all of them."""
    return [(x.name, len(x.weight)) for x in graph.consumers(name) if isinstance(x, Embedding)]


def shape_of(signal, axes):
    sizes = {"b": None, "t": signal.length} | {f"f{k}": n for k, n in enumerate(signal.features)}
    return tuple(sizes[a] for a in letters(axes, len(signal.features)))


def as_array(x, where):
    """``x`` as an array of real numbers of any type, or DTypeError naming ``where``."""
    try:
        x = np.asarray(x)
    except (ValueError, TypeError, RuntimeError) as error:
        found = f"{type(x).__name__} ({error})"
        if isinstance(x, (list, tuple)) and "inhomogeneous" in str(error):
            found = f"a {type(x).__name__} of {len(x)} items of different shapes"
        raise DTypeError("this cannot be read as an array of numbers", where=where, found=found) from error
    if x.dtype.kind not in "fiub":
        raise DTypeError(
            "this type of number cannot be used",
            where=where,
            expected="float32, or what converts to it",
            found=str(x.dtype),
        )
    return x


def as_float32(x, where):
    """``x`` as an aligned float32 array in the machine's byte order: itself where it is one."""
    x = as_array(x, where)
    return x if x.dtype == np.float32 and x.flags.aligned else x.astype(np.float32)


def readable(a):
    """Whether the engine reads a (time, batch, width) array as it is: float32 at any strides, but numbers of
    a frame that are one in memory.
    """
    return a.dtype == np.float32 and a.flags.aligned and (a.strides[2] != 0 or a.shape[2] == 1)


def engine_form(a):
    """A (time, batch, width) array as the engine reads it: itself where it does."""
    return a if readable(a) else np.ascontiguousarray(a, np.float32)


class InputSpec:
    """One graph input: how the source's array becomes the engine's (time, batch, width)."""

    def __init__(self, layer, signal, tables, optional, is_mask=False):
        self.layer, self.signal, self.tables, self.optional = layer, signal, tables, optional
        self.is_mask = is_mask
        self.where, self.holds_ids = f"input {layer.name!r}", layer.ids or bool(tables)
        self.shape = shape_of(signal, layer.axes)
        self.letters = letters(layer.axes, len(signal.features))
        self.rank = len(self.letters)
        wanted = letters("btf" if signal.time else "bf", len(signal.features))
        self.order = tuple(self.letters.index(a) for a in wanted)
        unbatched = [a for a in self.letters if a != "b"]
        self.order_unbatched = tuple(unbatched.index(a) for a in wanted if a != "b")
        self.plain = self.order == tuple(range(self.rank))

    def wrong(self, x):
        axes = {"b": "batch", "t": "time"}
        wanted = ", ".join(str(n) if n is not None else axes[a] for n, a in zip(self.shape, self.letters))
        return ShapeError(
            "the input has the wrong shape",
            where=self.where,
            expected=f"({wanted}), or the same without batch",
            found=str(x.shape),
        )

    def check_ids(self, x, axes, first=0):
        """ShapeError for an id that is out of range, with its row and time. ``axes``: letters of the axes of
        ``x`` before features; ``first``: the time of the first frame."""
        if not self.holds_ids:
            return
        if x.size > 1 << 16 and len(axes) and len(x) > 1:  # in parts, so that what is compared stays small
            size = max(1, (1 << 16) * len(x) // x.size)
            for start in range(0, len(x), size):
                at = {axes[0]: start}
                self._check_ids(x[start : start + size], axes, at.get("b", 0), first + at.get("t", 0))
            return
        self._check_ids(x, axes, 0, first)

    def _check_ids(self, x, axes, first_row, first):
        bad = np.zeros(x.shape, bool) if x.dtype.kind in "iub" else x != np.floor(x)
        for _, size in self.tables:
            bad = bad | ~((x >= 0) & (x < size))
        if bad.any():
            at = np.argwhere(bad)[0]
            row, time = (at[axes.index(a)] if a in axes else 0 for a in "bt")
            raise ShapeError(
                "an id is out of range",
                where=f"{self.where}, row {first_row + row}, time {first + time}",
                expected=f"whole numbers from 0 to {min((n for _, n in self.tables), default=1 << 24) - 1}",
                found=str(x[tuple(at)]),
            )

    def checked_mask(self, x):
        """``x`` as float32; DTypeError where it holds anything but real (1, True) and masked (0, False)."""
        if x.dtype.kind != "b" and not ((x == 0) | (x == 1)).all():
            raise DTypeError(
                "a mask says of each frame whether it is real",
                where=self.where,
                expected="True and False, or 1 and 0",
                found=str(x[(x != 0) & (x != 1)].flat[0]),
            )
        return x.astype(np.float32)

    def checked(self, x, has_batch):
        """``x``, an array of this rank or one less, as ``canonical`` gives it, after every check of it."""
        self.check_ids(x, [a for a in self.letters if has_batch or a != "b"])
        return self.canonical(self.checked_mask(x) if self.is_mask else x, has_batch)

    def canonical(self, x, has_batch):
        if has_batch:
            a = x if self.plain else x.transpose(self.order)
        else:
            a = x.transpose(self.order_unbatched)[None]
        features, signal = self.signal.features, self.signal
        lead = 2 if signal.time else 1
        if a.shape[lead:] != features or (signal.length is not None and a.shape[1] != signal.length):
            raise self.wrong(x)
        if signal.time and not a.shape[1]:
            raise ShapeError("the input has no frames", where=self.where, found=str(x.shape))
        a = a.reshape((a.shape[0], a.shape[1] if signal.time else 1, signal.width))
        return a.transpose(1, 0, 2)


def stream_signature(ports):
    """(inputs, outputs, engine's number of each input) of chunks (batch, time, features) as Signature takes
    them, or None where inputs are masks, given once, or may be left out."""
    inputs, outputs = [], []
    for spec in ports.inputs:
        if not spec.signal.time or spec.is_mask or spec.optional or (spec.holds_ids and not spec.tables):
            return None
        inputs.append((*_chunks(spec.signal), min((n for _, n in spec.tables), default=0)))
    for _, signal in ports.outputs:
        outputs.append((*_chunks(signal), 0))
    if len(inputs) + len(outputs) > _MOST_SHORT or any(len(x[0]) > 5 for x in (*inputs, *outputs)):
        return None
    return inputs, outputs, [ports.engine_order.index(k) for k in range(len(inputs))]


def _chunks(signal):
    return letters("btf", len(signal.features)), (None, None, *signal.features)


def _side_by_side(made):
    """Whether the axes of a frame follow one another, in order."""
    frame = [a for a in made if a.startswith("f")]
    return not frame or made[made.index(frame[0]) :][: len(frame)] == frame == sorted(frame)


def _made_as(axes, signal):
    """Letters of the axes in which an output is made: the source's, where the numbers of a frame follow one
    another in them; else the canonical ones.
    """
    count = len(signal.features)
    made = letters(axes, count)
    frame = [f"f{k}" for k in range(count)]
    if count > 1 and made[made.index("f0") :][:count] != frame:
        return letters("btf" if signal.time else "bf", count)
    return made


def make_output(axes, signal, batch, count, batched, out, shared):
    """(the array to fill, its (time, batch, width) view); ``out`` itself where its memory can be filled and
    is not ``shared`` with an input.
    """
    features, width = signal.features, prod(signal.features)
    frames = count if signal.time else 1
    sizes = {"b": batch, "t": frames} | {f"f{k}": n for k, n in enumerate(features)}
    wanted, made = letters(axes, len(features)), _made_as(axes, signal)
    array = whole = None
    if out is not None:
        shape = tuple(sizes[a] for a in wanted if batched or a != "b")
        if not isinstance(out, np.ndarray) or out.dtype != np.float32:
            raise DTypeError(
                "out must be a float32 array", found=str(getattr(out, "dtype", type(out).__name__))
            )
        if out.shape != shape or not out.flags.writeable:
            raise ShapeError("out does not fit", expected=f"{shape}, writeable", found=str(out.shape))
        if made == wanted and out.flags.carray and not shared:
            array, whole = out, out if batched else np.expand_dims(out, made.index("b"))
    if array is None:
        array = whole = np.empty([sizes[a] for a in made], np.float32)
    order = sorted(range(len(made)), key=lambda k: "tbf".index(made[k][0]))
    view = whole.transpose(order)
    return array, view.reshape(frames, batch, width)


def finish_output(axes, signal, array, batched, out):
    """The filled array with the source's axes."""
    if array is out:
        return out
    wanted, made = letters(axes, len(signal.features)), _made_as(axes, signal)
    if made != wanted:
        array = np.ascontiguousarray(array.transpose([made.index(a) for a in wanted]))
    if not batched:
        array = array.squeeze(wanted.index("b"))
    if out is not None:
        out[...] = array
        return out
    return array


class Ports:
    """The inputs and the outputs of a network. ``inputs``: an InputSpec each, in the source's order;
    ``outputs``: (Output, TensorSpec) each; ``engine_order``: places in ``inputs`` in the order of the rows of
    ``run_graph``, which the engine runs.
    """

    def __init__(self, graph, run_graph):
        optional = graph.metadata.get("optional_inputs", ())
        self.inputs = [
            InputSpec(
                graph[name],
                graph.signals[name],
                tables_of(graph, name),
                name in optional,
                name in graph.mask_inputs,
            )
            for name in graph.inputs
        ]
        self.outputs = [(o, graph.signals[o.value]) for o in graph.outputs]
        order = [x.name for x in run_graph.layers if isinstance(x, Input)]
        self.engine_order = [graph.inputs.index(name) for name in order]

    @property
    def names(self):
        """Names of the inputs, in the source's order."""
        return [spec.layer.name for spec in self.inputs]

    def short(self):
        """(inputs, outputs, engine's number of each input) as ShortCalls takes them, or None where calls have
        no short way: where an input may be left out, or axes of a frame lie apart."""
        inputs, outputs = [], []
        for spec in self.inputs:
            if spec.is_mask or spec.optional or (spec.holds_ids and not spec.tables):
                return None
            inputs.append((spec.letters, spec.shape, min((n for _, n in spec.tables), default=0)))
        for output, signal in self.outputs:
            made = _made_as(output.axes, signal)
            if made != letters(output.axes, len(signal.features)):
                return None
            outputs.append((made, shape_of(signal, output.axes), 0))
        ports = (*inputs, *outputs)
        if len(ports) > _MOST_SHORT or any(len(x[0]) > 5 or not _side_by_side(x[0]) for x in ports):
            return None
        places = [self.engine_order.index(k) for k in range(len(inputs))]
        return inputs, outputs, places

    def frames(self, arrays):
        """{input: its frames} of those of (time, batch, width) arrays whose length is not fixed."""
        free = [s.signal.time and s.signal.length is None for s in self.inputs]
        return {s.layer.name: len(a) for s, a, open_ in zip(self.inputs, arrays, free) if open_}

    def canonical(self, given):
        """Inputs as float32 (time, batch, width) arrays, None for masks that are not given; the batch, the
        frames (by input where they differ), and whether a batch axis was given."""
        batched, batch, free, arrays = None, 1, {}, []
        for spec, x in zip(self.inputs, given):
            if x is None:
                if not spec.optional and not spec.is_mask:
                    raise ShapeError(f"the input {spec.layer.name!r} is missing", expected=f"{self.names}")
                arrays.append(None)
                continue
            x = as_array(x, spec.where)
            has_batch = x.ndim == spec.rank
            if not has_batch and x.ndim != spec.rank - 1:
                raise spec.wrong(x)
            if batched is not None and has_batch != batched:
                raise ShapeError(
                    "some inputs have a batch axis and some have not",
                    where=spec.where,
                    expected=f"{spec.rank - (not batched)} axes",
                    found=str(x.shape),
                )
            batched = has_batch
            array = spec.checked(x, has_batch)
            if len(arrays) and any(a is not None and a.shape[1] != array.shape[1] for a in arrays):
                raise ShapeError(
                    "the inputs have different batch sizes", where=spec.where, found=str(x.shape)
                )
            batch = array.shape[1]
            if spec.signal.time and spec.signal.length is None:
                free[spec.layer.name] = array.shape[0]
            arrays.append(array)
        # a network may take inputs of different lengths: what joins them says where it cannot
        frames = free if len(set(free.values())) > 1 else next(iter(free.values()), None)
        if frames is None:
            frames = next((p.signal.length for p in self.inputs if p.signal.time), 1)
        if not batch:
            raise ShapeError(
                "the batch is empty", where=self.inputs[0].where, expected="at least one row", found="0 rows"
            )
        arrays = [
            np.zeros((1, batch, p.signal.width), np.float32) if a is None and not p.is_mask else a
            for p, a in zip(self.inputs, arrays)
        ]
        return arrays, batch, frames, True if batched is None else batched
