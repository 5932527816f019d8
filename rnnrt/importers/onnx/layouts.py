"""Which axes the inputs of an ONNX program may have: the rank is stated, and the sizes of features."""

from __future__ import annotations

from typing import NamedTuple

from ...errors import UnsupportedModelError
from ..containers.protobuf import shown
from .tensors import type_name

_FLOATS, _WHOLE = (1, 10, 11, 16), (2, 3, 4, 5, 6, 7, 12, 13)


class Layout(NamedTuple):
    """``axes``: "b", "t", and "n" for an axis of numbers; ``sizes`` of those; ``ids``: whole numbers;
    ``length``: the frames where they are fixed.
    """

    axes: str
    sizes: tuple[int, ...]
    ids: bool = False
    length: int | None = None


#: The axes that an input of so many may have, the likeliest first; of an input that carries a state, too.
_ORDERS = {
    1: ("b", "t"),
    2: ("bn", "bt", "tb", "tn"),
    3: ("btn", "bnt", "tbn", "nbn", "bnn"),
    4: ("btnn", "bntn", "bnnt", "bnnn", "nbnn"),
}
_STATES = {1: ("n",), 2: ("bn", "nn"), 3: ("nbn", "bnn", "nnn"), 4: ("bnnn", "nbnn", "nnnn")}
_IDS = {1: ("b",), 2: ("bt", "tb")}


def layouts_of(port, shape, widths, is_state):
    """Every Layout an input could have. ``widths``: numbers of features that the weights may read, for sizes
    that the file leaves open.
    """
    if shape is None:
        raise UnsupportedModelError(
            f"the file does not say how many axes the input {shown(port.name)!r} has",
            fix="Say it: shapes={name: sizes}, None for sizes that are open.",
        )
    if port.type not in (0, *_FLOATS, *_WHOLE):
        raise UnsupportedModelError(
            f"the input {shown(port.name)!r} holds a type of number that is not supported",
            found=type_name(port.type),
        )
    ids = port.type in _WHOLE
    orders = (_STATES if is_state else _IDS if ids else _ORDERS).get(len(shape), ())
    if not orders:
        raise UnsupportedModelError(
            f"the input {shown(port.name)!r} has a number of axes that is not supported",
            found=str(len(shape)),
            fix="Fix it: constants={name: value}." if not shape else None,
        )
    found = []
    for axes in orders:
        wanted = [n for n, a in zip(shape, axes) if a == "n"]
        known = [n for n in wanted if isinstance(n, int) and n > 0]
        if len(known) == len(wanted):
            found.append(Layout(axes, tuple(wanted), ids))
        elif len(wanted) == 1 and not is_state:
            found += [Layout(axes, (n,), ids) for n in widths]
    if len(shape) == 2 and not ids and not isinstance(shape[1], int):
        found.sort(key=lambda x: "n" in x.axes)  # a size that is open is rather time
    if not found:
        raise UnsupportedModelError(
            f"the file leaves the sizes of the input {shown(port.name)!r} open",
            found=str(shape),
            fix="Say them: shapes={name: sizes}, None for batch and time.",
        )
    return found
