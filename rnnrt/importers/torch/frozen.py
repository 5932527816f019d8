"""Whether an operator of a stored program treats all frames alike, where the file says how many frames its
example had and nothing says that it holds for others.

Python's loops over frames, and numbers worked out from how many there are, leave only numbers in a file: a
frame taken by its number, a mean that divides by 7. Such an operator raises LengthError while the number of
frames is open, and the program is then read for the example's number alone. A number that only happens to be
the example's costs its openness, too.
"""

from __future__ import annotations

import math

from ...layers import Pad1D
from ..axes.slots import Slots
from ..axes.values import Constant, LengthError, Tensor

_ARITHMETIC = ("add", "subtract", "multiply", "divide")
_SHAPES = (
    "reshape",
    "expand",
    "tile",
    "unflatten",
    "repeat_each",
    "max_pool1d",
    "average_pool1d",
    "upsample",
    "adaptive_average_pool",
    "adaptive_max_pool",
)
_WINDOWS = ("conv1d", "max_pool1d", "average_pool1d")
#: the words of these, and of padding
_READS_PADDING = ("conv1d", "max_pool1d", "avg_pool1d", "pad", "constant_pad_nd")
_END = (1 << 63) - 1


class FrozenLength(LengthError):
    """An operator that may hold for the example's number of frames alone."""


def check(net, node, operator, arguments, stated):
    """Raises LengthError where a call may hold for the example's number of frames alone. ``stated``:
    {input: frames of the example} of the inputs whose number of frames is open against what the file says,
    None where it does not say how many the example had: any number may then be made of it.
    """
    x = arguments.get("x")
    unsaid = None in stated.values()
    stated = {name: n for name, n in stated.items() if n is not None}
    frames = set(stated.values()) | _frames(arguments, stated)
    if operator == "select" and _over_time(net, x, arguments["axis"]):
        index = arguments["index"]
        if isinstance(index, int) and (index > 0 or index == 0 and (unsaid or min(frames) == 1)):
            raise _frozen("takes a frame by its number", f"frame {index}")
    elif operator == "slice" and _over_time(net, x, arguments["axis"]):
        start, end = arguments["start"], arguments["end"]
        if _above(start) or _above(end) and end != _END:
            raise _frozen("takes frames by their numbers", f"[{start}:{end}]")
    elif operator in _ARITHMETIC:
        for number in _numbers(arguments):
            if any(_of(number, n) for n in frames) or unsaid and _of_some(number):
                raise _frozen("uses a number that may be made of the number of frames", str(number))
    elif operator in _SHAPES:
        for number in _numbers(arguments):
            if (number in frames or unsaid) and number > 1:
                raise _frozen("uses a number that may be the number of frames", str(number))
    elif operator == "pad" and isinstance(x, Slots):
        _check_picture(x, arguments["widths"])
    elif operator == "pad" and isinstance(x, Tensor):
        _check_padding(node, x, arguments["widths"])
    if operator in _WINDOWS and isinstance(x, Tensor):
        _check_window(net, x, operator, arguments)


def _frozen(what, found):
    return FrozenLength(f"{what}, so that it may hold for that many frames alone", found=found)


def _above(n):
    return isinstance(n, int) and n > 0


def _over_time(net, x, axis):
    return isinstance(x, Tensor) and isinstance(axis, int) and x.axes[net.axis(x, axis)] == "t"


def _frames(arguments, stated):
    """How many frames the tensors of a call had, given the example's."""
    found = set()
    for value in arguments.values():
        clock = value.clock if isinstance(value, (Tensor, Slots)) else None
        if clock is not None and clock.input in stated and clock.stride and not clock.risen:
            found.add((stated[clock.input] - clock.span) // clock.stride + 1)
    return found


def _numbers(tree):
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, (tuple, list)):
        return [n for item in tree for n in _numbers(item)]
    if isinstance(tree, Constant) and tree.array.size == 1:
        return [float(tree.array.reshape(-1)[0])]
    return [tree] if isinstance(tree, (int, float)) and not isinstance(tree, bool) else []


def _of(number, n):
    """Whether a number is n or n - 1, a root or logarithm of these, or one over them."""
    known = [m for m in (n, n - 1) if m == n > 1 or m > 3]
    known += [f(m) for m in known for f in (math.sqrt, math.log)]
    return any(math.isclose(abs(number), k, rel_tol=1e-6) for m in known for k in (m, 1 / m))


def _of_some(number):
    """Whether a number is ``_of`` some n."""
    small = min(abs(number), 1 / abs(number)) if number else 0.0
    if not 0 < small < 1:
        return False
    whole = lambda k: k < 1 << 18 and math.isclose(k, round(k), rel_tol=1e-6)
    root = 1 / small
    return whole(root) or whole(root * root) or any(whole(math.exp(k)) for k in (root, small) if k < 17)


def _check_padding(node, x, widths):
    """Padding of time holds for any number of frames where it is that of the windows behind it."""
    for back in range(min(len(widths) // 2, len(x.axes))):
        over_time = x.axes[len(x.axes) - 1 - back] == "t" and any(widths[2 * back : 2 * back + 2])
        if over_time and not all(u.target in _READS_PADDING for u in node.users):
            raise _frozen("pads time by numbers that no window behind it explains", str(tuple(widths)))


def _check_picture(x, widths):
    """Padding of time, of frames of several axes, may have been made of the number of frames."""
    for back in range(min(len(widths) // 2, len(x.axes))):
        if x.axes[len(x.axes) - 1 - back] == "t" and any(widths[2 * back : 2 * back + 2]):
            raise _frozen("pads time by numbers", str(tuple(widths)))


def _check_window(net, x, operator, arguments):
    layer = net.layer(x)
    total = sum(x.padding) + (layer.before + layer.after if isinstance(layer, Pad1D) else 0)
    if not total:
        return
    weight = arguments.get("weight")
    size = weight.array.shape[-1] if isinstance(weight, Constant) else arguments.get("kernel_size")
    stride = arguments["stride"] or size
    size, stride, dilation = (_one(n) for n in (size, stride, arguments.get("dilation", 1)))
    span = (size - 1) * dilation + 1
    if stride != 1 or total != span - 1:  # a network of strides often pads to a multiple of them
        raise _frozen("reads time padded by numbers that its windows do not explain", str(total))


def _one(n):
    return n[0] if isinstance(n, (tuple, list)) and n else n or 1
