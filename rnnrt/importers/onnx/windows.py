"""Windows of ONNX over frames, as the operator table takes them: over one axis, also where a program has two
axes of which one has size one, or a row of numbers in the place of frames.
"""

from __future__ import annotations

import numpy as np

from ...errors import UnsupportedModelError
from ...layers import Flatten, Unflatten
from ..axes import slots
from ..axes.slots import Slots, tensor_of
from ..axes.values import AxesError, Clock, Tensor


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
    x = tensor_of(net, x) if isinstance(x, Slots) else x
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
