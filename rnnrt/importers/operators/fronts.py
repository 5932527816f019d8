"""Operators on frames of several axes, as 2-D front ends make them: (batch, channels, time, bins) or (batch,
channels, bins, time).

Such a tensor is Slots: moving and picking its axes is NumPy's, and what has one axis of numbers left is an
ordinary Tensor for the operators behind. Frames of layers here are (bins, channels); what a pool or a padding
does is done over time and over bins one after the other, which is the same. An operator of the table that is
not here takes Slots only where they have one axis of numbers.
"""

from __future__ import annotations

from math import prod

import numpy as np

from ...errors import ShapeError, UnsupportedModelError
from ...graph import GraphBuilder
from ...layers import (
    FUNCTIONS,
    Activation,
    Add,
    Affine,
    AveragePool1D,
    BatchNormalization,
    Conv2D,
    Dense,
    Embedding,
    Function,
    GlobalAveragePool,
    GlobalMaxPool,
    GlobalSum,
    LayerNormalization,
    LogSoftmax,
    MaxPool1D,
    Pad1D,
    Reshape,
    Softmax,
    TimeDistributed,
)
from ..axes import slot_shapes, slots
from ..axes.sizes import Clock, Size
from ..axes.slots import Slots, slots_of
from ..axes.values import AxesError, Constant, Learned, Tensor
from .activations import dropout
from .layers import _arrays
from .places import axis_of, move_axis, unsqueeze
from .table import APART, apply, operator

# ---- frames of bins and channels ---------------------------------------------------------------------------


def image(net, x):
    """(the reference to frames (bins, channels), the place of time) of a tensor of four axes."""
    x = slots_of(net, x)
    if x.axes not in (("b", "n", "t", "n"), ("b", "n", "n", "t")):
        expected = "(batch, channels, time, bins) or (batch, channels, bins, time)"
        raise AxesError("the axes do not fit this call", expected=expected, found=str(x))
    net.placed += 1
    time = x.axes.index("t")
    return _shaped(net, x, x.places.squeeze((0, time)).T), time, x.clock


def _shaped(net, x, places):
    """A reference to the numbers of ``places``, with its axes."""
    features = net.builder.signal(x.references[0]).features
    if len(x.references) == 1 and np.array_equal(places, np.arange(prod(features)).reshape(features)):
        return x.references[0]
    row = slots.picked(net, x.seen(("b", "t", *"n" * places.ndim), places[None, None]))
    return net.add(Reshape, row, features=places.shape)


def picture(net, reference, clock, time):
    """Frames (bins, channels) as the program has them, time at place ``time``."""
    net.sequences.setdefault(clock, reference)
    bins, channels = net.builder.signal(reference).features
    places = np.expand_dims(np.arange(bins * channels).reshape(bins, channels).T, (0, time))
    axes = ("b", "n", "t", "n") if time == 2 else ("b", "n", "n", "t")
    return Slots(axes, places, (reference,), (bins * channels,), clock)


def _over_bins(net, reference, kind, **fields):
    """A layer over the first axis of every frame."""
    size, *rest = net.builder.signal(reference).features
    inner = GraphBuilder()
    inner.output("y", inner.add(kind, kind.kind, inner.input("frame", rest, length=size), **fields))
    return net.add(TimeDistributed, reference, graph=inner.graph())


def _over_both(net, x, kind, fields):
    """A layer over time and over bins, ``fields`` of each of the two spatial axes; None: nothing is done."""
    reference, time, clock = image(net, x)
    over_time, over_bins = fields[time - 2], fields[3 - time]
    if over_time is not None:
        reference = net.add(kind, reference, **over_time)
        clock = net.after(clock, reference)
    if over_bins is not None:
        reference = _over_bins(net, reference, kind, **over_bins)
    return picture(net, reference, clock, time)


# ---- layers ------------------------------------------------------------------------------------------------


@operator(apart=True)
def conv2d(net, x, weight, bias=None, stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1), groups=1):
    """A convolution over the last two axes, weight (out, in / groups, tap, tap). ``padding``: zeros (before,
    after) of each axis, or "same".
    """
    arrays = _arrays(weight=weight, bias=bias)
    if np.ndim(arrays["weight"]) != 4:
        raise ShapeError("weight must be (out, in / groups, tap, tap)", found=str(np.shape(arrays["weight"])))
    if isinstance(x, Slots) and x.axes == ("b", "n", "n", "n"):
        return _of_one_tap(net, x, weight, bias, stride, padding, groups)
    reference, time, clock = image(net, x)
    arrays["weight"] = arrays["weight"].transpose((0, 2, 3, 1) if time == 2 else (0, 3, 2, 1))
    own, other = time - 2, 3 - time
    sides = (padding, padding) if padding == "same" else (padding[own], padding[other])
    reference = net.add(
        Conv2D,
        reference,
        **arrays,
        stride=stride[own],
        bin_stride=stride[other],
        dilation=dilation[own],
        bin_dilation=dilation[other],
        padding=sides[0],
        bin_padding=sides[1],
        groups=groups,
    )
    return picture(net, reference, net.after(clock, reference), time)


def _of_one_tap(net, x, weight, bias, stride, padding, groups):
    """A convolution over what has no time: a product over the channels, where it has one tap."""
    size = weight.array.shape
    same = padding == "same" or not any(n for pair in padding for n in pair)
    if size[2:] != (1, 1) or tuple(stride) != (1, 1) or not same or groups != 1:
        raise AxesError(
            "of frames without time only a convolution of one tap is supported",
            expected="kernel_size 1, groups=1",
            found=f"taps {size[2:]}, groups={groups}, of {x}",
        )
    product = Constant(weight.name, weight.array.reshape(size[:2]))
    x = _linear(net, move_axis(net, x, 1, 3), product, bias)
    return move_axis(net, slots_of(net, x), 3, 1)


@operator(apart=True)
def max_pool2d(net, x, windows):
    """The greatest of each window of the last two axes; ``windows``: the fields of a MaxPool1D of each."""
    return _pooled(net, x, MaxPool1D, windows)


@operator(apart=True)
def average_pool2d(net, x, windows):
    """The mean of each window of the last two axes; ``windows``: the fields of an AveragePool1D of each,
    ``zeros`` among them as in average_pool1d.
    """
    zeros = [w.get("zeros", (0, 0)) for w in windows]
    if any(map(any, zeros)):
        x = apply(net, "pad", x=x, widths=(*zeros[1], *zeros[0]))
    windows = [{k: v for k, v in w.items() if k != "zeros"} for w in windows]
    return _pooled(net, x, AveragePool1D, windows)


def _pooled(net, x, kind, windows):
    if any(isinstance(w["size"], Size) for w in windows):
        return _over_all(net, slots_of(net, x), kind, [w["size"] for w in windows])
    return _over_both(net, x, kind, [None if w["size"] == w["stride"] == 1 else w for w in windows])


def _over_all(net, x, kind, sizes):
    """Windows over the whole of the last two axes."""
    if sizes != x.sizes[-2:]:
        raise UnsupportedModelError(
            "windows of two axes must be numbers, or the sizes of both", found=f"{sizes} of {x}"
        )
    return _reduced(net, x, [-2, -1], True, "reduce_max" if kind is MaxPool1D else "reduce_mean")


@operator(apart=True)
def adaptive_average_pool2d(net, x, sizes):
    """Means over the whole of an axis, where its size is to be 1; None: it stays."""
    return _adaptive(net, x, sizes, "reduce_mean")


@operator(apart=True)
def adaptive_max_pool2d(net, x, sizes):
    """The greatest over the whole of an axis, where its size is to be 1; None: it stays."""
    return _adaptive(net, x, sizes, "reduce_max")


def _adaptive(net, x, sizes, name):
    x = slots_of(net, x)
    for place, size in zip((-2, -1), sizes, strict=True):
        axis = len(x.axes) + place
        if size is None or (x.axes[axis] == "n" and x.places.shape[axis] == size):
            continue
        if size != 1:
            raise UnsupportedModelError(
                "adaptive pooling of two axes is supported to one number of an axis, or all of it",
                expected="1 or None",
                found=str(size),
            )
        x = _reduced(net, x, [place], True, name)
    return x


def _batch_norm(net, x, mean, variance, scale=None, offset=None, epsilon=1e-5, own_statistics=False):
    if own_statistics or mean is None or variance is None:
        raise UnsupportedModelError("a batch_norm with each batch's own statistics is not supported")
    if x.axes == ("b", "n", "n", "n"):  # no time
        over = lambda name, values: Constant(name, np.float32(values)[:, None, None])
        arrays = _arrays(mean=mean, variance=variance, gamma=scale, beta=offset)
        x = apply(net, "subtract", a=x, b=over("mean", arrays["mean"]))
        factor = (1.0 if scale is None else arrays["gamma"]) / np.sqrt(arrays["variance"] + epsilon)
        x = apply(net, "multiply", a=x, b=over("factor", factor))
        return x if offset is None else apply(net, "add", a=x, b=over("offset", arrays["beta"]))
    reference, time, clock = image(net, x)
    arrays = _arrays(mean=mean, variance=variance, gamma=scale, beta=offset)
    return picture(net, net.add(BatchNormalization, reference, **arrays, epsilon=epsilon), clock, time)


def _prelu(net, x, slope):
    reference, time, clock = image(net, x)
    channels = net.builder.signal(reference).features[-1]
    slopes = np.broadcast_to(_arrays(slope=slope)["slope"], (channels,))
    above = net.add(Activation, reference, activation="relu")
    below = net.add(Activation, reference, activation=Function("at_most", (0.0,)))
    below = net.add(Affine, below, scale=slopes, offset=np.zeros(channels))
    return picture(net, net.add(Add, above, below), clock, time)


#: Ways to pad by numbers that are there -> NumPy's words.
_COPIED = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def _pad(net, x, widths, value=0, mode="constant"):
    value = 0.0 if value is None else value
    plain = all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in widths)
    if plain and mode in _COPIED and len(widths) % 2 == 0 and len(widths) <= 2 * len(x.axes):
        for back in range(len(widths) // 2):
            x = _copied(net, x, len(x.axes) - 1 - back, *widths[2 * back : 2 * back + 2], mode)
        return x
    if mode != "constant" or not plain or len(widths) not in (2, 4) or not isinstance(value, (int, float)):
        raise UnsupportedModelError(
            "this padding of frames of several axes is not supported",
            expected="a value before and after the last two axes, or copies before and after any",
            found=f"{widths}, mode={mode!r}",
        )
    widths = (*widths, 0, 0)[:4]
    fields = [{"before": a, "after": b, "value": float(value)} for a, b in (widths[2:], widths[:2])]
    return _over_both(net, x, Pad1D, [f if f["before"] or f["after"] else None for f in fields])


def _copied(net, x, place, before, after, mode):
    """An axis with copies of its own numbers before and after."""
    if not before and not after:
        return x
    if x.axes[place] == "t":
        row = Tensor((slots.picked(net, x),), ("b", "f", "t"), x.clock)
        row = apply(net, "pad", x=row, widths=(before, after), mode=mode)
        places = np.arange(x.places.size).reshape(x.places.shape)
        return Slots(x.axes, places, (row.reference,), (places.size,), row.clock)
    if x.axes[place] != "n":
        raise UnsupportedModelError("only time and numbers can be padded", found=f"axis {place} of {x}")
    room = x.places.shape[place] - (mode == "reflect")
    if mode != "replicate" and max(before, after) > room:
        raise ShapeError(
            "the axis is shorter than the copies of it",
            expected=f"at most {room}",
            found=f"{before}, {after}",
        )
    widths = [(before, after) if k == place else (0, 0) for k in range(len(x.axes))]
    return x.seen(x.axes, np.pad(x.places, widths, mode=_COPIED[mode]))


def _linear(net, x, weight, bias=None):
    """Over the last axis; every other number stands alone."""
    plain = slots.tensor_of(net, x) if x.long < 2 else None
    if plain is not None and plain.axes[-1:] == ("f",):
        return apply(net, "linear", x=plain, weight=weight, bias=bias)
    if x.axes[-1] != "n":
        raise AxesError("the features must be the last axis here", found=str(x))
    net.placed += 1
    others = x.places.shape[:-1]
    reference = _shaped(net, x, x.places.reshape(-1, x.places.shape[-1]))
    reference = _over_bins(net, reference, Dense, **_arrays(weight=weight, bias=bias))
    rows, width = net.builder.signal(reference).features
    places = np.arange(rows * width).reshape(*others, width)
    return Slots(x.axes, places, (reference,), (rows * width,), x.clock)


def _upsample(net, x, times, mode="nearest"):
    """Over the last two axes: copies, or by lines between the middles of bins and of frames."""
    if mode not in ("nearest", "nearest-exact", "bilinear"):
        raise UnsupportedModelError(
            f"upsampling by mode={mode!r} is not supported", expected="nearest or bilinear"
        )
    if len(x.axes) != 4:
        raise AxesError("a picture has four axes", found=str(x))
    times = times if isinstance(times, (tuple, list)) else (times, times)
    if len(times) != 2 or any(isinstance(n, bool) or n != int(n) or not 1 <= n <= 4096 for n in times):
        raise UnsupportedModelError(
            "upsampling is supported by whole numbers", expected="one or two of 1 to 4096", found=str(times)
        )
    for back, by in zip((-2, -1), map(int, times)):
        place = len(x.axes) + back
        if by == 1:
            continue
        if x.axes[place] == "t":
            mode_of_one = "linear" if mode == "bilinear" else mode
            row = Tensor((slots.picked(net, x),), ("b", "f", "t"), x.clock)
            made = apply(net, "upsample", x=row, times=by, mode=mode_of_one)
            places = np.arange(x.places.size).reshape(x.places.shape)
            x = Slots(x.axes, places, (made.reference,), (places.size,), made.clock)
        elif mode == "bilinear":
            matrix = Constant("lines", _lines(x.places.shape[place], by))
            x = slots_of(net, _linear(net, move_axis(net, x, place, -1), matrix))
            x = move_axis(net, x, -1, place)
        else:
            x = x.seen(x.axes, np.repeat(x.places, by, place))
    return x


def _lines(size, times):
    """The matrix (size * times, size) of values on the lines between the middles of ``size`` numbers."""
    at = np.clip((np.arange(size * times) + 0.5) / times - 0.5, 0, size - 1)
    return np.maximum(1 - np.abs(at[:, None] - np.arange(size)), 0).astype(np.float32)


# ---- every number alone, or together with its like ---------------------------------------------------------

#: operators that are activations of every number ("linear" is none of them: the operator is a product)
_ALONE = {*FUNCTIONS} - {"linear"}
_ALONE |= {"clip", "gelu", "softplus", "celu", "random_leaky_relu", "cast"}
#: those of several layers, which take numbers as a row
_ALONE_IN_ROWS = {
    *("threshold", "sign", "log_of_one_more", "exponential_less_one", "root_reciprocal", "log_to_base"),
}


def _matmul(net, a, b):
    """a · b: with a parameter over the last axis; or of the last two axes of each, of which one is summed."""
    if isinstance(a, (Slots, Tensor)) and isinstance(b, Constant) and b.array.ndim < 3:
        made = slots_of(net, _linear(net, slots_of(net, a), Constant(b.name, np.atleast_2d(b.array.T))))
        return made if b.array.ndim == 2 else _squeezed(made, -1)
    if any(not isinstance(x, (Slots, Tensor)) for x in (a, b)):
        raise UnsupportedModelError("only tensors, or one and a parameter, can be multiplied here")
    a, b = slots_of(net, a), slots_of(net, b)
    if len(a.axes) != len(b.axes) or len(a.axes) < 3:
        raise AxesError("a product of tensors needs three axes, the batch first", found=f"{a} and {b}")
    made = apply(net, "multiply", a=unsqueeze(net, a, len(a.axes)), b=unsqueeze(net, b, len(b.axes) - 2))
    return _reduced(net, slots_of(net, made), -2, False, "reduce_sum")


def _embedding(net, x, table):
    if not net.is_ids(x):
        raise UnsupportedModelError("an Embedding must read whole numbers given as input", found=str(x))
    made = _over_bins(net, slots.picked(net, x), Embedding, **_arrays(weight=table))
    size = net.builder.signal(made).features[-1]
    count = x.places.size * size
    places = np.arange(count).reshape(*x.places.shape, size)
    return Slots((*x.axes, "n"), places, (made,), (count,), x.clock)


def _layer_norm(net, x, size, scale=None, offset=None, epsilon=1e-5):
    """Over the last axes, which are all numbers of a frame or the last of them."""
    size = size if isinstance(size, tuple) else (size,)
    if x.axes[-len(size) :] != ("n",) * len(size) or x.places.shape[-len(size) :] != size:
        raise AxesError("normalized_shape must be the last axes", expected=str(x), found=str(size))
    count, others = prod(size), x.places.shape[: -len(size)]
    arrays = {k: None if v is None else v.ravel() for k, v in _arrays(gamma=scale, beta=offset).items()}
    reference = _shaped(net, x, x.places.reshape(-1, count))
    reference = _over_bins(net, reference, LayerNormalization, size=count, **arrays, epsilon=epsilon)
    places = np.arange(x.places.size).reshape(*others, *size)
    return Slots(x.axes, places, (reference,), (x.places.size,), x.clock)


def _squeezed(x, place):
    place %= len(x.axes)
    return x.seen(x.axes[:place] + x.axes[place + 1 :], x.places.squeeze(place))


def _stack(net, tensors, axis=0):
    place = axis % (len(slots_of(net, tensors[0]).axes) + 1)
    return slots.joined(net, [unsqueeze(net, slots_of(net, x), place) for x in tensors], place)


#: operators of numbers of the same place, and of one number for all
_ALIKE = {"add", "subtract", "multiply", "divide", "maximum", "minimum", "negate", "power", "sqrt", "square"}


def _alone(name):
    def lower(net, x, **arguments):
        whole = name in _ALONE and _all_of(x)
        made = apply(net, name, x=_row(x, x.references[0] if whole else slots.picked(net, x)), **arguments)
        return in_places(x, made.reference, x.places if whole else None, made)

    return lower


def _alike(name):
    """Numbers of one place: an axis of size one counts for all places of it, and what has no time for every
    frame.
    """

    def lower(net, **arguments):
        given = {key: v for key, v in arguments.items() if isinstance(v, (Slots, Tensor))}
        given = {key: slots_of(net, v) for key, v in given.items()}
        arrays = {k: v.array for k, v in arguments.items() if isinstance(v, (Constant, Learned))}
        axes, shape, clock = _common(given.values(), arrays.values())
        rows = {
            key: _row(x, slots.picked(net, x.seen(x.axes, np.broadcast_to(x.places, shape))), bool(clock))
            for key, x in given.items()
        }
        for key, array in arrays.items():
            rows[key] = Constant(
                key, array.reshape(()) if array.size == 1 else np.broadcast_to(array, shape).ravel()
            )
        made = apply(net, name, **arguments | rows)
        places = np.arange(prod(shape)).reshape(shape)
        return Slots(axes, places, (made.reference,), (prod(shape),), clock, made.root)

    return lower


def _common(tensors, arrays):
    """(the axes, the places' shape, the clock) that tensors and parameters have together."""
    tensors = list(tensors)
    first = tensors[0]
    clocks = [x.clock for x in tensors if any("t" in a for a in x.axes)]
    axes = tuple(next((a for a in own if a != "n"), "n") for own in zip(*(x.axes for x in tensors)))
    fit = all(len(x.axes) == len(first.axes) for x in tensors) and len({c and c[1:] for c in clocks}) < 2
    fit &= "".join(axes).count("t") < 2  # every frame of one beside every frame of the other is another shape
    for x in tensors if fit else ():
        fit &= all(
            own == a or (a == "t" and own == "n" and n == 1)
            for own, a, n in zip(x.axes, axes, x.places.shape)
        )
    try:
        shape = np.broadcast_shapes(*(x.places.shape for x in tensors), *(a.shape for a in arrays))
    except ValueError:
        fit = False
    if not fit or len(shape) != len(axes) or any(n > 1 for a, n in zip(axes, shape) if "n" not in a):
        raise UnsupportedModelError(
            "frames of several axes must have one shape here, or a size of one in its place",
            found=" and ".join([*map(str, tensors), *(str(a.shape) for a in arrays)]),
        )
    return axes, shape, clocks[0] if clocks else None


def _all_of(x):
    """Whether the numbers are all of one reference, each once."""
    return len(x.references) == 1 and np.array_equal(np.sort(x.places, None), np.arange(x.widths[0]))


def _row(x, reference, timed=False):
    """As a row of numbers; ``timed``: beside others that have time."""
    own = any("t" in a for a in x.axes)
    axes = ("b", "t", "f") if own else ("b", "1", "f") if timed else ("b", "f")
    return Tensor((reference,), axes, x.clock if own else None, root=x.root)


def in_places(x, reference, places, made):
    places = np.arange(x.places.size).reshape(x.places.shape) if places is None else places
    return Slots(x.axes, places, (reference,), (x.places.size,), x.clock, made.root)


# ---- one number of many ------------------------------------------------------------------------------------


def _softmax(net, x, axis, kind):
    """Over one axis of numbers; every other number stands alone."""
    if axis is None:
        raise UnsupportedModelError("softmax without dim is not supported", fix="Name the axis: dim=-1.")
    place = axis_of(x, axis)
    if x.axes[place] != "n":
        raise AxesError("softmax is supported over the axes of a frame here", found=f"dim {axis} of {x}")
    moved = move_axis(net, x, place, -1)
    width = moved.places.shape[-1]
    reference = _over_bins(net, _shaped(net, moved, moved.places.reshape(-1, width)), kind)
    places = np.arange(moved.places.size).reshape(moved.places.shape)
    made = Slots(moved.axes, places, (reference,), (places.size,), x.clock)
    return move_axis(net, made, -1, place)


_REDUCTIONS = {"reduce_mean": GlobalAveragePool, "reduce_max": GlobalMaxPool, "reduce_sum": GlobalSum}


def _reduced(net, x, axes, keep, name):
    """Over the named axes, one after the other."""
    numbers = axes if isinstance(axes, (tuple, list)) else [axes]
    if any(n is None for n in numbers) or not numbers:
        raise UnsupportedModelError(
            "a reduction of all axes, the batch among them, is not supported", fix="Name the axes: dim=1."
        )
    places = sorted({axis_of(x, n) for n in numbers}, reverse=True)
    kind = _REDUCTIONS[name]
    for place in places:
        sizes = [n for k, n in enumerate(x.places.shape) if k != place]
        axes = x.axes[:place] + x.axes[place + 1 :]
        if "b" in x.axes[place]:
            raise UnsupportedModelError("only time and frames can be reduced", found=f"axis {place} of {x}")
        if x.axes[place] == "t":
            reference = net.add(kind, slots.picked(net, x))
        else:
            moved = np.moveaxis(x.places, place, 0)
            moved = moved.reshape(len(moved), -1)
            reference = _over_bins(net, _shaped(net, x, moved), kind)
        clock = x.clock if any("t" in a for a in axes) else None
        x = Slots(axes, np.arange(prod(sizes)).reshape(sizes), (reference,), (prod(sizes),), clock)
        if keep:
            x = unsqueeze(net, x, place)
    return x


def _reduction(name):
    return lambda net, x, axes=None, keep=False: _reduced(net, x, axes, keep, name)


# ---- the table ---------------------------------------------------------------------------------------------

APART |= {name: _alone(name) for name in _ALONE | _ALONE_IN_ROWS}
APART |= {name: _alike(name) for name in _ALIKE}
APART |= {name: _reduction(name) for name in _REDUCTIONS}
APART |= {
    "batch_norm": _batch_norm,
    "linear": _linear,
    "prelu": _prelu,
    "pad": _pad,
    "upsample": _upsample,
    "softmax": lambda net, x, axis=None: _softmax(net, x, axis, Softmax),
    "log_softmax": lambda net, x, axis=None: _softmax(net, x, axis, LogSoftmax),
    "dropout": dropout,
    "embedding": _embedding,
    "layer_norm": _layer_norm,
    "matmul": _matmul,
    "stack": _stack,
}


def input_of(net, reference, axes, clock: Clock):
    """An input whose frames have several axes, in the program's order ``axes``."""
    sizes = iter(net.builder.signal(reference).features)
    shape = [next(sizes) if a == "f" else 1 for a in axes]
    width = prod(shape)
    net.sequences.setdefault(clock, reference)
    letters = tuple("n" if a == "f" else a for a in axes)
    return Slots(letters, np.arange(width).reshape(shape), (reference,), (width,), clock)


def output_of(net, name, x):
    """An output whose frames have several axes, in the program's order."""
    if x.folded == [0] and net.tells:
        net.parted.append(name)
        x = slot_shapes.apart(x)
    if "b" not in x.axes or x.mixed:
        fix = "Return it before batch and features are merged." if x.folded else None
        raise UnsupportedModelError("an output must have a batch axis", found=str(x), fix=fix)
    net.name = name
    features = tuple(n for a, n in zip(x.axes, x.places.shape) if a == "n")
    reference = net.add(Reshape, slots.picked(net, x), features=features)
    net.builder.output(name, reference, "".join("f" if a == "n" else a for a in x.axes))
