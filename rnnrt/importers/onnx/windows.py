"""Windows of ONNX over frames, as the operator table takes them: over one axis, also where a program has two
axes of which one has size one, or a row of numbers in the place of frames.
"""

from __future__ import annotations

import numpy as np

from ...errors import UnsupportedModelError
from ...layers import Flatten, Unflatten
from ..axes import slots
from ..axes.sizes import Clock
from ..axes.slots import Slots, tensor_of
from ..axes.values import AxesError, Constant, Tensor
from ..operators.table import apply


def framed(net, x):
    """``x`` for an operator over frames: a row of numbers as a sequence of one number each, where it stands
    for one.
    """
    if isinstance(x, Slots) and x.axes == ("b", "n", "n") and x.long > 1:
        turned = x.seen(("b", "n", "n"), x.places.transpose(0, 2, 1))
        length = turned.places.shape[1]
        frames = net.add(Unflatten, slots.picked(net, turned), length=length)
        return net.tensor(frames, "bft", Clock("", length, 0))
    if isinstance(x, Slots) and x.axes == ("b", "n", "n", "n") and 1 in x.places.shape[2:] and x.long > 1:
        place = 2 + x.places.shape[2:].index(1)
        y = framed(net, x.seen(("b", "n", "n"), x.places.squeeze(place)))
        return y.view([*y.axes[:place], "1", *y.axes[place:]])
    x = tensor_of(net, x) or x if isinstance(x, Slots) else x
    if isinstance(x, Tensor) and x.axes == ("b", "1", "f"):
        length = net.signal(x).width
        return net.tensor(net.add(Unflatten, x.reference, length=length), "bft", Clock("", length, 0))
    return x


def row_by_row(net, node, given):
    """(the input of a convolution of one tap over the rows of the program, which are frames, as one of each
    row; what gives its result the axes back).
    """
    own = node.attributes
    taps = np.shape(given[1])[2:] if node.op == "Conv" else ()
    if taps != (1,) or any(own.get("pads", ())) or own.get("strides", [1]) != [1]:
        raise AxesError("a window over the rows of the input is not supported", found=str(given[0]))
    restore = lambda made: net.tensor(net.add(Flatten, made.reference), ("1", "f", "b"), None)
    return given[0].view(("b", "f", "1")), restore


def flat_image(net, node, x, rest):
    """(inputs of an operator over two axes one of which has size one, as over the other alone; what gives its
    result that axis back). Its attributes are cut to match: see ``flat_attributes``.
    """
    if not isinstance(x, Tensor) or "1" not in x.axes[2:]:
        raise UnsupportedModelError(
            "a window over two axes is supported where one of them has size one", found=str(x)
        )
    place = 2 + x.axes[2:].index("1")
    y = framed(net, x.view([a for k, a in enumerate(x.axes) if k != place]))
    restore = lambda made: made.view([*made.axes[:place], "1", *made.axes[place:]])
    if node.op.startswith("Conv"):
        weight = rest[0]
        if not isinstance(weight, np.ndarray) or weight.ndim != 4 or weight.shape[place] != 1:
            raise UnsupportedModelError(
                "a convolution over two axes is supported where one of them has size one", found=str(x)
            )
        rest = [weight.squeeze(place), *rest[1:]]
    return [y, *rest], restore, place - 2


def flat_attributes(own, axis):
    """Attributes of a window over two axes without those of ``axis``, which has size one."""
    made, neutral = dict(own), {"kernel_shape": 1, "strides": None, "dilations": None}
    for name, only in neutral.items():
        if made.get(name):
            if len(made[name]) != 2 or (only is not None and made[name][axis] != only):
                raise UnsupportedModelError(
                    "a window over two axes is not supported", found=f"{name}={made[name]}"
                )
            made[name] = [made[name][1 - axis]]
    for name in ("pads", "output_padding"):
        if made.get(name):
            count = len(made[name]) // 2
            pairs = [made[name][axis], made[name][axis + 2]] if count == 2 else [made[name][axis]]
            if any(pairs):
                raise UnsupportedModelError(
                    "a window over two axes is not supported", found=f"{name}={made[name]}"
                )
            made[name] = [n for k, n in enumerate(made[name]) if k % 2 != axis]
    return made


# ---- two axes, of which one is time ------------------------------------------------------------------------


def is_picture(x):
    """Whether a window over two axes reads time and the bins of frames: neither has size one."""
    if isinstance(x, Slots):
        place = {("b", "n", "t", "n"): 3, ("b", "n", "n", "t"): 2}.get(x.axes)
        return place is not None and x.places.shape[place] > 1
    return isinstance(x, Tensor) and x.axes in (("b", "1", "t", "f"), ("b", "1", "f", "t"))


def over_picture(net, node, word, given):
    """What a window over both spatial axes makes."""
    x, *rest = given
    if node.op.startswith("Global"):
        reduction = {"GlobalAveragePool": "reduce_mean", "GlobalMaxPool": "reduce_max"}[node.op]
        return apply(net, reduction, x=x, axes=(2, 3), keep=True)
    if node.op == "ConvTranspose":
        raise UnsupportedModelError("a transposed convolution over two axes is not supported", found=str(x))
    weight = rest[0] if node.op == "Conv" else None
    if node.op == "Conv" and (not isinstance(weight, np.ndarray) or weight.ndim != 4):
        raise UnsupportedModelError("the weight of a convolution over two axes must be stored", found=str(x))
    each = []
    for axis in (0, 1):
        line = [] if weight is None else [weight.take(0, 3 - axis), *rest[1:]]
        bound = word.bind(node.op, [x, *line], _of_axis(node.attributes, axis))
        each.append(word.prepare(**bound.arguments))
    if weight is None:
        windows = [{name: value for name, value in own.items() if name != "x"} for own in each]
        made = apply(net, word.operator.replace("1d", "2d"), x=x, windows=windows)
        return word.result(made) if word.result else made
    pairs = {name: tuple(own[name] for own in each) for name in ("stride", "padding", "dilation")}
    weight = Constant("the weight of a convolution", weight)
    return apply(net, "conv2d", x=x, weight=weight, bias=each[0]["bias"], groups=each[0]["groups"], **pairs)


def _of_axis(own, axis):
    """The attributes of a window over two axes as of one of them."""
    made = dict(own)
    for name in ("kernel_shape", "strides", "dilations"):
        if made.get(name):
            if len(made[name]) != 2:
                raise UnsupportedModelError(
                    "this window does not have two axes", found=f"{name}={made[name]}"
                )
            made[name] = [made[name][axis]]
    if made.get("pads"):
        if len(made["pads"]) != 4:
            raise UnsupportedModelError("this window does not have two axes", found=f"pads={made['pads']}")
        made["pads"] = [made["pads"][axis], made["pads"][axis + 2]]
    return made
