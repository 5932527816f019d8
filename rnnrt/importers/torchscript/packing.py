"""Sequences packed with lengths of their own, as tracing writes them: the data and the number of rows at each
frame apart, and the rows put in the order of their lengths and back.

Rows do not depend on one another, so what is done between sorting and sorting back is done as well in the
rows' own order. What a program makes of packed data in any other way is refused.
"""

from __future__ import annotations

from typing import NamedTuple

from ...errors import UnsupportedModelError


class Order(NamedTuple):
    """The order of rows by their ``lengths``, the longest first, or back from it."""

    lengths: object
    back: bool = False


class Sorted(NamedTuple):
    """A value with its rows, on ``axis``, in an order."""

    value: object
    axis: int
    order: Order


class Made(NamedTuple):
    """A step on the way to the order back: "count", "range", "blank" or "lengths" of an order."""

    what: str
    order: Order


class Data(NamedTuple):
    """The frames of a packed sequence. ``call``: the one that packed it or a recurrent layer's; ``pack``: the
    call that packed it; ``order``: of its rows, None for their own.
    """

    call: object
    pack: object
    order: Order | None


class BatchSizes(NamedTuple):
    """How many rows a packed sequence has at each frame."""

    pack: object
    order: Order | None


class Longest(NamedTuple):
    """The number of frames of a packed sequence."""

    pack: object


PACKED = (Order, Sorted, Made, Data, BatchSizes, Longest)
_STACKS = ("lstm", "gru", "rnn_tanh", "rnn_relu")


def refused(found):
    return UnsupportedModelError(
        "a packed sequence is used in a way that is not supported",
        expected="pack_padded_sequence, recurrent layers and pad_packed_sequence",
        found=type(found).__name__,
    )


def pack_word(word, given, call):
    """What a call makes where packing is concerned, None where it is not. ``given``: its positional
    arguments; ``call``: f(word, *arguments) -> a new Call.
    """
    first, rest = (given[0], tuple(given[1:])) if given else (None, ())
    match word, first:
        case "sort", _ if rest == (-1, True):
            order = Order(first)
            return (Made("lengths", order), order)
        case "to", Order() | Made(what="lengths"):
            return first  # whole numbers both before and after
        case "numel", Order():
            return Made("count", first)
        case "arange", 0 if len(rest) == 1 and _is(rest[0], "count"):
            return Made("range", rest[0].order)
        case "empty_like", Order():
            return Made("blank", first)
        case "scatter_", Made(what="blank"):
            axis, order, numbers = rest if len(rest) == 3 else (None,) * 3
            if axis == 0 and order == first.order and _is(numbers, "range") and numbers.order == order:
                return order._replace(back=True)
        case "index_select", _ if len(rest) == 2 and isinstance(rest[1], Order):
            return _ordered(first, *rest)
        case "_pack_padded_sequence", _:
            return _packed(call, *given)
        case "_pad_packed_sequence", Data():
            return _unpacked(call, *given)
        case "size", BatchSizes() if rest == (0,):
            return Longest(first.pack)
        case "select", BatchSizes() if rest == (0, 0):
            x, _, batch_first = first.pack.args[:3]
            return call("sym_size", x, 0 if batch_first else 1)
        case _, Data() if word in _STACKS:
            return _recurrent(word, call, *given)
    return None


def _is(value, what):
    return isinstance(value, Made) and value.what == what


def _ordered(x, axis, order):
    if not order.back:
        return Sorted(x, axis, order)
    if isinstance(x, Sorted) and x.axis == axis and x.order == order._replace(back=False):
        return x.value
    raise refused(order)


def _packed(call, x, lengths, batch_first=False):
    order = None
    if isinstance(x, Sorted):
        order = x.order
        if x.axis != (0 if batch_first else 1) or lengths != Made("lengths", order):
            raise refused(x)
        x, lengths = x.value, order.lengths
    if isinstance(x, PACKED) or isinstance(lengths, PACKED):
        raise refused(x)
    pack = call("pack_padded_sequence", x, lengths, bool(batch_first))
    return Data(pack, pack, order), BatchSizes(pack, order)


def _unpacked(call, data, sizes, batch_first=False, value=0.0, total_length=None):
    if sizes != BatchSizes(data.pack, data.order):
        raise refused(sizes)
    if isinstance(total_length, Longest) and total_length.pack is data.pack:
        total_length = None
    made = call("pad_packed_sequence", data.call, bool(batch_first), value, total_length)
    padded, lengths = call("getitem", made, 0), call("getitem", made, 1)
    if data.order is None:
        return padded, lengths
    return Sorted(padded, 0 if batch_first else 1, data.order), Made("lengths", data.order)


def _recurrent(word, call, data, sizes, states, *options):
    """A recurrent layer over packed data: the states' rows are in the order of the data's."""
    if sizes != BatchSizes(data.pack, data.order) or len(options) != 6:
        raise refused(sizes)
    several = isinstance(states, (list, tuple)) and not isinstance(states, PACKED)
    own = [_state(s, data.order) for s in (states if several else [states])]
    made = call(word, data.call, own if several else own[0], *options, False)
    finals = [call("getitem", made, k) for k in range(1, 3 if word == "lstm" else 2)]
    if data.order is not None:
        finals = [Sorted(final, 1, data.order) for final in finals]
    return (Data(call("getitem", made, 0), data.pack, data.order), *finals)


def _state(state, order):
    if isinstance(state, Sorted) and state.axis == 1 and state.order == order:
        return state.value
    zeros = getattr(state, "target", None) in ("zeros", "zeros_like", "new_zeros")
    if isinstance(state, PACKED) or order is not None and not zeros:
        raise refused(state)
    return state
