"""Operators of ONNX that move axes, take parts, join, and change types: f(net, own, *inputs) -> results.

``own``: the node's attributes. Values are Tensors and Slots, made of an input, or arrays, known when the file
is read. A tensor that takes part in a move which a Tensor cannot express is taken apart into Slots.
"""

from __future__ import annotations

import numpy as np

from ...errors import ModelFileError, ShapeError, UnsupportedModelError
from ...layers import Flatten, Select, Unflatten
from ..axes import slot_shapes, slots
from ..axes.sizes import Clock, Shifted, Size
from ..axes.slots import Slots, slots_of, tensor_of
from ..axes.values import AxesError, Lengths, Tensor
from ..operators.activations import activated
from ..operators.table import apply
from .folding import Unknown, bounds, equal_parts, integers, plain_integers
from .recurrent import hard_sigmoid
from .tensors import TYPES, type_name
from .words import constant


class Frozen(UnsupportedModelError):
    """What is possible only where the input has a fixed number of frames: ``counts``, of which they may be
    one; without those, as many as are taken by number.
    """

    def __init__(
        self, x, counts=(), what="takes frames by their number, for an input of any length", fix=None
    ):
        super().__init__(what, found=str(x), fix=fix)
        self.input, self.counts, self.clock = x.clock.input, sorted(counts), x.clock


class Empty:
    """A tensor without numbers, which nothing may read."""


def position_of(x, axis):
    if isinstance(axis, (bool, Size)) or not -len(x.axes) <= axis < len(x.axes):
        raise ShapeError(f"is not an axis of {x}", found=str(axis))
    return axis % len(x.axes)


def frames_apart(net, x):
    """A sequence of fixed length as Slots whose axis of time is one of numbers."""
    x = x if isinstance(x, Slots) else slots_of(net, x)
    reference = slots.picked(net, x)
    signal = net.builder.signal(reference)
    if signal.length is None:
        raise Frozen(x)
    flat = net.add(Flatten, reference)
    time = x.axes.index("t")
    sizes = [n for k, n in enumerate(x.places.shape) if k != time]
    places = np.arange(signal.length * signal.width).reshape([signal.length, *sizes])
    axes = ["n" if a == "t" else a for a in x.axes]
    return Slots(tuple(axes), np.moveaxis(places, 0, time), (flat,), (signal.length * signal.width,))


def _remembers(net, x):
    """Whether a frame of a tensor is made of more than the same frame of the inputs."""
    wanted, layers = {r.partition(":")[0] for r in x.references}, net.builder.layers
    for layer in reversed(layers):
        if layer.name in wanted:
            if layer.keeps != "nothing" or layer.whole:
                return True
            wanted |= {r.partition(":")[0] for r in layer.reads}
    return False


def length_of(net, x):
    return net.builder.signal(x.references[0]).length if "t" in x.axes else None


# ---- axes --------------------------------------------------------------------------------------------------


def transpose(net, own, x):
    order = own.get("perm") or list(range(len(x.axes)))[::-1]
    if sorted(order) != list(range(len(x.axes))):
        raise ModelFileError("perm must name every axis once", found=f"{order} of {x}")
    if isinstance(x, Slots):
        return x.seen([x.axes[k] for k in order], x.places.transpose(order))
    return x.view([x.axes[k] for k in order])


def unsqueeze(net, own, x, axes=None):
    axes = own.get("axes") if axes is None else plain_integers(axes, "axes")
    rank = len(x.axes) + len(axes)
    for axis in sorted(a % rank for a in axes):
        if isinstance(x, Slots):
            x = x.seen([*x.axes[:axis], "n", *x.axes[axis:]], np.expand_dims(x.places, axis))
        else:
            x = x.view([*x.axes[:axis], "1", *x.axes[axis:]])
    return x


def squeeze(net, own, x, axes=None):
    axes = own.get("axes") if axes is None else plain_integers(axes, "axes")
    if axes is None:
        if any(isinstance(n, Size) for n in sizes_of(net, x)):
            raise UnsupportedModelError("a Squeeze without axes drops the batch axis of a batch of one")
        axes = [k for k, n in enumerate(sizes_of(net, x)) if n == 1]
    positions = sorted({position_of(x, a) for a in axes}, reverse=True)
    for position in positions:
        x = x if (turned := _beside_batch(net, x, position)) is None else turned
        axis = x.axes[position]
        if axis == "t" and length_of(net, x) == 1:
            x = select(net, x, position, 0)
        elif axis == "b" and net.batch == 1:
            raise UnsupportedModelError(
                "the axis of the batch is dropped", found=str(x), fix=net.advice["sizes"]
            )
        elif isinstance(x, Slots) and axis == "n" and x.places.shape[position] == 1:
            x = x.seen([*x.axes[:position], *x.axes[position + 1 :]], x.places.squeeze(position))
        else:
            n = sizes_of(net, x)[position]
            if n != 1:
                raise UnsupportedModelError(
                    "only an axis of size one can be squeezed", expected="1", found=f"axis {position} of {x}"
                )
            x = apply(net, "squeeze", x=x, axes=[position])
    return x


def reshape(net, own, x, shape):
    target = integers(shape, "the shape of a Reshape")
    sizes = sizes_of(net, x)
    if not own.get("allowzero", 0):
        if any(n == 0 and k >= len(sizes) for k, n in enumerate(target)):
            raise ModelFileError("the shape of a Reshape has a 0 where there is no axis", found=str(target))
        target = [sizes[k] if n == 0 else n for k, n in enumerate(target)]
    if (moved := _ones_moved(net, x, target)) is not None:
        return moved
    try:
        if isinstance(x, Tensor):
            try:
                return apply(net, "reshape", x=x, shape=target)
            except (UnsupportedModelError, ShapeError):
                pass
        return slot_shapes.reshaped(net, slots_of(net, x), target)
    except UnsupportedModelError as error:
        numbers = {n for n in target if isinstance(n, int) and n > 0}
        if "t" in x.axes and length_of(net, x) is None and numbers and x.clock.input:
            zeros = sum(x.padding) if isinstance(x, Tensor) else 0
            width = max(net.builder.signal(x.references[0]).width, 1)  # a target may hold all frames of a row
            numbers |= {n // width for n in numbers if n % width == 0}
            counts = {n - zeros for n in numbers if n > zeros}
            raise Frozen(x, counts, error.what, error.fix) from error
        raise


def _ones_moved(net, x, target):
    """``x`` with its axes of size one at other places, or more of them, or fewer: what a converter makes of a
    transposition where the batch is one row. None where the shape is another. Batch and time stay, also where
    their size is one.
    """
    length = length_of(net, x)
    if length is not None and isinstance(x, Tensor):
        length += sum(x.padding)
    lengths = {"b": net.batch, "t": length}
    sizes = [lengths.get(a, n) for a, n in zip(x.axes, sizes_of(net, x))]
    if not all(isinstance(n, int) for n in (*sizes, *target)) or not isinstance(net.batch, int):
        return None
    if [n for n in sizes if n != 1] != [n for n in target if n != 1] or sizes == target:
        return x if sizes == target else None
    places, kept = {}, [k for k, n in enumerate(sizes) if n != 1 or x.axes[k] in "bt"]
    ends = [[k for k, n in enumerate(s) if n != 1] for s in (sizes, target)]
    places |= dict(zip(*ends))
    free = [k for k, n in enumerate(target) if n == 1]
    gap = lambda k, own: sum(p < k for p in own)
    for axis in (k for k in kept if k not in places):  # beside the same neighbours where it can
        near = [k for k in free if gap(k, ends[1]) == gap(axis, ends[0])] or free
        if not near:
            return None
        places[axis] = near[0]
        free.remove(near[0])
    order = sorted(kept, key=places.get)
    dropped = [k for k in range(len(sizes)) if k not in kept]
    for k in reversed(dropped):
        x = squeeze(net, {"axes": [k]}, x)
    left = [k - sum(d < k for d in dropped) for k in order]
    return unsqueeze(net, {"axes": free}, transpose(net, {"perm": left}, x)) if left else None


def as_frames(net, x):
    """Slots of (batch, number, number) as a sequence of so many frames."""
    length = x.places.shape[1]
    frames = net.add(Unflatten, slots.picked(net, x), length=length)
    return net.tensor(frames, "btf", Clock("", length, 0))


def flatten(net, own, x):
    axis = own.get("axis", 1)
    axis = axis % len(x.axes) if axis < 0 else axis
    if axis != 1 or not isinstance(x, Tensor):
        return reshape(net, {}, x, np.array([0, -1])) if axis == 1 else _refused_flatten(x, axis)
    return apply(net, "flatten", x=x, first=1, last=-1) if len(x.axes) > 1 else unsqueeze(net, {}, x, [1])


def _refused_flatten(x, axis):
    raise UnsupportedModelError("Flatten is supported after the first axis", found=f"axis={axis} of {x}")


# ---- parts -------------------------------------------------------------------------------------------------


def gather(net, own, x, index):
    if isinstance(index, (Tensor, Slots)):
        if not isinstance(x, np.ndarray) or own.get("axis", 0) or x.ndim != 2:
            raise UnsupportedModelError("a Gather by an input is supported as an embedding, of a known table")
        return apply(net, "embedding", x=index, table=constant(x, "the table of a Gather"))
    if not isinstance(index, np.ndarray) or index.dtype.kind not in "iu":
        raise UnsupportedModelError("a Gather must take items by known numbers", found=str(index))
    position = position_of(x, own.get("axis", 0))
    if index.ndim == 0:
        return select(net, x, position, int(index))
    if index.ndim == 1 and index.size == 1:
        return unsqueeze(net, {}, select(net, x, position, int(index[0])), [position])
    return picked(net, x, position, index)


def _beside_batch(net, x, position):
    """``x`` with another axis of size one in the place of the batch axis, where the file has one row: the two
    are the same numbers, and the batch is to stay. None where there is no other.
    """
    if x.axes[position] != "b" or net.batch != 1:
        return None
    sizes = sizes_of(net, x)
    for k in sorted(range(len(sizes)), key=lambda k: abs(k - position)):
        length = length_of(net, x) if x.axes[k] == "t" else sizes[k]
        if x.axes[k] == "t" and length is None and net.frames.get(x.clock.input) == 1:
            raise Frozen(x, [1])
        if k != position and length == 1:
            order = list(range(len(sizes)))
            order[k], order[position] = position, k
            return transpose(net, {"perm": order}, x)
    return None


def select(net, x, position, index):
    """One item of an axis, which is gone from the result."""
    if index in (0, -1) and (turned := _beside_batch(net, x, position)) is not None:
        x = turned
    axis = x.axes[position]
    if axis == "t":
        length = length_of(net, x)
        if length is None and (index != -1 or isinstance(x, Slots)):
            if index == 0 and (net.shared_time(x) or _remembers(net, x)):
                return apply(net, "select", x=tensor_of(net, x), axis=position, index=0)
            raise Frozen(x)
        if length is None or index in (-1, length - 1) and isinstance(x, Tensor):
            return apply(net, "select", x=x, axis=position, index=-1)
        x = frames_apart(net, x)
    if isinstance(x, Tensor) and axis in ("s", "1"):
        return apply(net, "select", x=x, axis=position, index=index)
    x = slots_of(net, x)
    if x.axes[position] == "b":
        raise AxesError("one row of a batch cannot be taken", found=str(x))
    size = x.places.shape[position]
    if not -size <= index < size:
        raise ModelFileError("takes an item that is not there", expected=f"below {size}", found=str(index))
    made = x.seen([*x.axes[:position], *x.axes[position + 1 :]], np.take(x.places, index, position))
    return tensor_of(net, made) or made


def picked(net, x, position, index):
    """Items of an axis by known numbers, in the place of it."""
    if x.axes[position] == "t":
        x = frames_apart(net, x)
    x = slots_of(net, x)
    if x.axes[position] == "b":
        raise AxesError("rows of a batch cannot be taken by number", found=str(x))
    size = x.places.shape[position]
    if index.size and not (-size <= index.min() and index.max() < size):
        raise ModelFileError(
            "takes items that are not there", expected=f"below {size}", found=str(index.max())
        )
    axes = [*x.axes[:position], *["n"] * index.ndim, *x.axes[position + 1 :]]
    made = x.seen(axes, np.take(x.places, index, position))
    return tensor_of(net, made) or made


def slice_(net, own, x, *given):
    for axis, part in bounds(own, *given):
        x = _sliced(net, x, position_of(x, axis), part)
    return x


def _sliced(net, x, position, part):
    axis, size = x.axes[position], sizes_of(net, x)[position]
    if part.step == 1 and part.start in (None, 0) and (part.stop is None or part.stop == size):
        return x
    if isinstance(size, Size):
        part = _from_the_end(part, size)
        if isinstance(part.start, Size) or not isinstance(part.stop, (int, type(None))):
            raise Unknown("a Slice depends on the size of an input")
        if axis == "b" and net.batch is not None and range(net.batch)[part] == range(net.batch):
            return x
        if axis == "b":
            raise AxesError("part of a batch cannot be taken", found=f"{part} of {x}")
        length = length_of(net, x)
        if length is None or isinstance(x, Tensor) and _turns_round(part):
            return _of_any_length(net, x, position, part)
        if part == slice(length - 1, None, 1) or part.start == -1 and part.stop is None and part.step == 1:
            return unsqueeze(net, {}, select(net, x, position, -1), [position])
        kept = range(length)[part]
        made = picked(net, x, position, np.array(kept, np.int64)) if len(kept) else None
        return made if made is not None else _empty(x, part)
    kept = range(size)[part]
    if not kept:
        return _empty(x, part)
    if isinstance(x, Tensor) and axis in ("s", "1"):
        return apply(net, "slice", x=x, axis=position, start=part.start, end=part.stop, step=part.step)
    if isinstance(x, Tensor) and axis == "f" and len(x.references) == 1:
        return x.view(references=(net.add(Select, x.reference, index=tuple(kept)),))
    return picked(net, x, position, np.array(kept, np.int64))


def _from_the_end(part, size):
    """A slice that ends at a size of the run as one that ends so many before the end, where that is known."""
    if isinstance(part.stop, Size | Shifted) and isinstance(part.start, int) and part.start >= 0:
        left = Shifted(size, 0).__sub__(part.stop)
        if isinstance(left, int) and part.step == 1:
            return slice(part.start, -left if left > 0 else None, 1)
    return part


def _of_any_length(net, x, position, part):
    """Part of a sequence of any length: its last frame, all in reverse, or what a convolution's padding
    allows to cut off.
    """
    x = tensor_of(net, x)
    if x is None:
        raise UnsupportedModelError("part of a sequence of frames with several axes cannot be taken")
    if part in (slice(0, 1, 1), slice(None, 1, 1)):
        return unsqueeze(net, {}, select(net, x, position, 0), [position])
    if _turns_round(part):
        return apply(net, "flip", x=x, axes=[position])
    if part.step == 1 and (part.start or 0) >= 0 and part.stop is not None and part.stop > 0:
        raise Frozen(x)
    return apply(net, "slice", x=x, axis=position, start=part.start, end=part.stop, step=part.step)


def _turns_round(part):
    """Whether a slice is all of an axis in reverse."""
    return part.step == -1 and part.start in (-1, (1 << 63) - 1) and part.stop is None


def reverse_sequence(net, own, x, lengths):
    """All frames in reverse order: as many of each row as there are."""
    time, batch = position_of(x, own.get("time_axis", 0)), position_of(x, own.get("batch_axis", 1))
    count = length_of(net, x) if x.axes[time] == "t" else sizes_of(net, x)[time]
    count = sizes_of(net, x)[time] if count is None else count
    if x.axes[batch] != "b" or any(n != count for n in integers(lengths, "sequence_lens")):
        raise UnsupportedModelError(
            "rows of which only some frames are in reverse are not supported",
            expected="sequence_lens made of the number of frames",
            found=str(lengths)[:80],
        )
    return _sliced(net, x, time, slice(-1, None, -1))


def _empty(x, part):
    raise ShapeError("the slice is empty", found=f"{part.start}:{part.stop}:{part.step} of {x}")


def split(net, own, count, x, parts=None):
    position = position_of(x, own.get("axis", 0))
    parts = own.get("split") if parts is None else plain_integers(parts, "split")
    size = sizes_of(net, x)[position]
    if isinstance(size, Size) and x.axes[position] == "t":
        size = length_of(net, x)
        if size is None and (parts or count == 1):
            raise Frozen(x)
    if isinstance(size, Size) or size is None:
        raise AxesError("an axis of unknown size cannot be split", found=f"axis {position} of {x}")
    if parts is None:
        count = own.get("num_outputs", count)
        if "num_outputs" not in own and size % count:
            raise ModelFileError("the parts of a Split are not equal", found=f"{size} in {count} parts")
        parts = equal_parts(size, count)
    if sum(parts) != size or min(parts) < 0:
        raise ModelFileError(
            "the parts of a Split do not make up the axis", expected=str(size), found=str(parts)
        )
    ends = np.cumsum(parts)
    cut = lambda n, e: _sliced(net, x, position, slice(int(e - n), int(e), 1)) if n else Empty()
    return tuple(cut(n, e) for n, e in zip(parts, ends))


# ---- joining -----------------------------------------------------------------------------------------------


def concat(net, own, *parts):
    if any(isinstance(p, np.ndarray) for p in parts):
        raise UnsupportedModelError("a tensor and constants cannot be joined")
    first = parts[0]
    position = position_of(first, own.get("axis", 1))
    if len(parts) == 1:
        return first
    plain = all(isinstance(p, Tensor) for p in parts)
    if plain and all(p.axes == first.axes for p in parts) and first.axes[position] in ("f", "s"):
        same = len({len(p.references) for p in parts}) == 1 or first.axes[position] == "s"
        if same and ("s" not in first.axes or first.axes[position] == "s"):
            return apply(net, "concat", tensors=list(parts), axis=position)
    if plain and any(p.axes[position] == "t" for p in parts):
        parts = [frames_apart(net, p) if p.axes[position] == "t" else p for p in parts]
    made = slots.joined(net, parts, position)
    return tensor_of(net, made) if made.places.size == made.places.shape[position] else made


# ---- sequences of tensors ----------------------------------------------------------------------------------


def split_to_sequence(net, own, x, parts=None):
    position = position_of(x, own.get("axis", 0))
    size = length_of(net, x) if x.axes[position] == "t" else sizes_of(net, x)[position]
    if size is None:
        raise Frozen(x)
    if isinstance(size, Size):
        raise AxesError("the rows of a batch cannot be taken apart", found=str(x))
    if parts is None:
        sizes = [1] * size
    else:
        part = plain_integers(parts, "split")
        sizes = part if np.ndim(parts) else [min(part[0], size - k) for k in range(0, size, part[0])]
    made = split(net, {"axis": position}, len(sizes), x, np.array(sizes, np.int64))
    if parts is None and not own.get("keepdims", 1):
        made = [squeeze(net, {}, m, np.array([position])) for m in made]
    return tuple(made)


def sequence_at(net, own, sequence, index):
    if not isinstance(sequence, tuple) or not isinstance(index, np.ndarray) or index.size != 1:
        raise UnsupportedModelError("an item of a sequence must be taken by a known number")
    if not -len(sequence) <= index.item() < len(sequence):
        raise ModelFileError("takes an item that is not there", expected=f"below {len(sequence)}")
    return sequence[index.item()]


def sequence_construct(net, own, *items):
    return tuple(items)


def concat_from_sequence(net, own, sequence):
    if own.get("new_axis", 0):
        axis = own["axis"]
        sequence = [unsqueeze(net, {}, x, np.array([axis])) for x in sequence]
    return concat(net, own, *sequence)


# ---- sizes and types ---------------------------------------------------------------------------------------


def sizes_of(net, x):
    """The size of every axis: a number, or a Size where only the run tells."""
    return net.sizes(x) if isinstance(x, Tensor) else x.sizes


def shape(net, own, x):
    if isinstance(x, Lengths):
        sizes = [Size(("b",))]
    else:
        sizes = [_number_of(net, x, n, a) for n, a in zip(sizes_of(net, x), x.axes)]
    return np.array([*sizes, None], object)[:-1][slice(own.get("start", 0), own.get("end"))]


def _number_of(net, x, size, axis):
    """A Size as the number it is where the number of frames is fixed."""
    if axis == "t" and isinstance(size, Size) and length_of(net, x) is not None:
        return length_of(net, x)
    return size


def size(net, own, x):
    made = 1
    for n in shape(net, {}, x):
        made = made * n
    return np.array([made, None], object)[0:1].reshape(())


def cast(net, own, x):
    word = TYPES.get(own.get("to"))
    if word is None:
        raise UnsupportedModelError("a Cast to this type is not supported", found=type_name(own.get("to")))
    if isinstance(x, Slots):
        return x if word == "float32" else _refused_cast(word)
    if isinstance(x, Tensor) and not net.is_ids(x) and word in ("float16", "bfloat16", "float64"):
        word = "float32"  # as numbers are here, whatever the file computes in
    return apply(net, "cast", x=x, type=word)


def _refused_cast(word):
    raise UnsupportedModelError(f"a change of type to {word} is not supported", expected="float32")


def identity(net, own, x):
    return x


def expand(net, own, x, shape):
    target, sizes = integers(shape, "the shape of an Expand"), sizes_of(net, x)
    padded = [1] * (len(sizes) - len(target)) + target
    if len(target) > len(sizes) or any(t not in (1, n) for t, n in zip(padded, sizes)):
        raise UnsupportedModelError("a tensor cannot be expanded", expected=f"{x}", found=str(target))
    return x


def hard_sigmoid_(net, own, x):
    return activated(net, x, hard_sigmoid(own.get("alpha", 0.2), own.get("beta", 0.5)))


MOVES = {
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
    "Squeeze": squeeze,
    "Reshape": reshape,
    "Flatten": flatten,
    "Gather": gather,
    "Slice": slice_,
    "ReverseSequence": reverse_sequence,
    "Concat": concat,
    "Shape": shape,
    "Size": size,
    "Cast": cast,
    "Identity": identity,
    "Expand": expand,
    "HardSigmoid": hard_sigmoid_,
    "SplitToSequence": split_to_sequence,
    "SequenceAt": sequence_at,
    "SequenceConstruct": sequence_construct,
    "ConcatFromSequence": concat_from_sequence,
}
