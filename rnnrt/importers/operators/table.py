"""The operator table: what foreign programs are made of, under names of no framework, and how a framework's
own words are translated into it.

An *operator* is a function of a Network and named arguments that adds to the graph, or only moves axes:
``apply(net, "conv1d", x=..., weight=..., ...)``. A *vocabulary* is a dict of a source's words; each is a
``Word``, which says which operator is meant and what becomes of every argument the source can give: the
operator's own argument, known harmless, or refused unless it has one value. An argument that a word does not
list is refused by name. A new source brings a vocabulary; the operators stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ...errors import RnnrtError, UnsupportedModelError
from ..axes.scores import Scores
from ..axes.sizes import Size
from ..axes.slots import Slots, as_tensors, tensor_of
from ..axes.values import (
    AxesError,
    Constant,
    FrameNumbers,
    Harmless,
    Learned,
    Lengths,
    Refused,
    RowEnds,
    RowNumbers,
    Tensor,
    Unset,
    Zeros,
    settled,
    shown,
)


class Operator(NamedTuple):
    """``lower``: f(net, **arguments). ``ids``, ``padding``, ``packed``: whether it takes whole numbers, a
    tensor with zeros put around it, a packed sequence. ``items``: it takes an item of another operator's
    result, so the other items do not matter. ``truth``: what it makes of truth values, one of TRUTH, or the
    operator that stands for it where all of OPERANDS are truth values. ``apart``: it takes Slots itself.
    ``unread``: it asks for no numbers, so that a tensor may have been changed in place.
    """

    lower: Callable
    ids: bool = False
    padding: bool = False
    packed: bool = False
    items: bool = False
    truth: str = "numbers"
    apart: bool = False
    unread: bool = False


#: "numbers": it counts them as 1 and 0, and makes numbers; "kept": its result is truth values where all of
#: OPERANDS are; "told": its result always is; "own": it says so itself; "refused": it takes numbers alone.
TRUTH = ("numbers", "kept", "told", "own", "refused")
OPERANDS = ("x", "a", "b", "tensors")

#: name -> Operator, filled as the modules of this folder are imported
OPERATORS: dict[str, Operator] = {}
#: name -> what stands for the operator where it is given Slots; others take them as Tensors
APART: dict[str, Callable] = {}
#: what counts frames or rows, and is no tensor of a graph
COUNTS = (FrameNumbers, Lengths, RowEnds, RowNumbers)
#: name -> what stands for the operator where it is given Scores; all others refuse them
OF_SCORES: dict[str, Callable] = {}
#: f(net, name, arguments): what else a call that is refused may mean, each a function without arguments
RETRIES: list[Callable] = []
#: name -> what stands for the operator where it is given the lengths of rows, or the numbers of frames
OF_COUNTS: dict[str, Callable] = {}


def operator(name=None, **takes):
    """Registers a function as the operator of its own name, or of ``name``."""

    def register(function):
        OPERATORS[name or function.__name__] = Operator(function, **takes)
        return function

    return register


def apply(net, name, **arguments):
    """What an operator makes of its arguments; raises where one cannot be read there."""
    if net.trying:
        return _applied(net, name, arguments)
    before = len(net.builder.layers)
    net.trying = True
    try:
        return _applied(net, name, arguments)
    except UnsupportedModelError as error:
        if isinstance(error, _Unreadable):  # however it is laid out
            raise
        for attempt in (a for other in RETRIES for a in other(net, name, arguments)):
            stilled, ones = net.stilled, net.keeps_ones
            net.builder.forget(before)
            try:
                made = attempt()
                net.resorted = True
                return made
            except (RnnrtError, TypeError, ValueError, AttributeError, LookupError):
                net.stilled, net.keeps_ones = stilled, ones
        net.builder.forget(before)
        if isinstance(error, AxesError) and not error.fix and _meet(net, arguments):
            error.fix = net.advice["length"]
        raise
    finally:
        net.trying = False


def _meet(net, arguments):
    """Whether two sequences meet of which one has an open number of frames."""
    timed = [x for x in arguments.values() if isinstance(x, (Tensor, Slots)) and "t" in x.axes]
    timed += [x for own in arguments.values() if type(own) is tuple for x in own if isinstance(x, Tensor)]
    lengths = [net.builder.signal(x.references[0]).length for x in timed if "t" in x.axes]
    return len(lengths) > 1 and None in lengths


class _Unreadable(UnsupportedModelError):
    """What an operator is given may not be read by it."""


class _UnreadableAxes(_Unreadable, AxesError):
    """The same, and under another reading of the inputs it may be."""


def _applied(net, name, arguments):
    own = OPERATORS[name]
    if _holds_scores(tuple(arguments.values())):
        return _applied_to_scores(net, name, arguments)
    if name in OF_COUNTS and any(isinstance(v, COUNTS) for v in arguments.values()):
        return OF_COUNTS[name](net, **arguments)
    if own.items and isinstance(arguments["x"], (tuple, list)):
        return own.lower(net, **arguments)
    if name in _FILLING:
        arguments = {argument: _filled(net, value) for argument, value in arguments.items()}
    if _is_apart(tuple(arguments.values())):
        arguments = {argument: _settled(net, value) for argument, value in arguments.items()}
        _check(net, own, tuple(arguments.values()), 1)
        if own.apart or name in APART:
            return (own.lower if own.apart else APART[name])(net, **arguments)
        arguments = {argument: as_tensors(net, value) for argument, value in arguments.items()}
    if not own.padding:
        arguments = {argument: _settled(net, value) for argument, value in arguments.items()}
    _check(net, own, tuple(arguments.values()), 1)
    truth = [holds_truth(value) for argument, value in arguments.items() if argument in OPERANDS]
    all_truth = bool(truth) and all(truth)
    if all_truth and own.truth == "refused":
        raise _Unreadable(
            f"{name} is not supported on truth values, only on numbers", fix=net.advice["truth"]
        )
    if all_truth and own.truth not in TRUTH:
        return apply(net, own.truth, **arguments)
    made = own.lower(net, **arguments)
    if own.truth == "own" or own.items and not isinstance(arguments["x"], Tensor):
        return made
    return _of_type(made, own.truth == "told" or all_truth and own.truth == "kept")


def _holds_scores(value):
    """Whether a value is Scores, or holds some."""
    return any(map(_holds_scores, value)) if type(value) in (tuple, list) else isinstance(value, Scores)


def _applied_to_scores(net, name, arguments):
    _check(net, OPERATORS[name], tuple(arguments.values()), 1)
    if name not in OF_SCORES:
        raise UnsupportedModelError(
            f"{name} is not supported on the scores of two sequences of open length: they may be scaled, "
            "masked, go through softmax and be multiplied by values",
            found=", ".join(shown(v) for v in arguments.values() if isinstance(v, (Scores, Tensor, Slots))),
            fix=net.advice["length"],
        )
    arguments = {argument: _settled(net, value) for argument, value in arguments.items()}
    return OF_SCORES[name](net, **arguments)


#: operators that take zeros for the tensor they are
_FILLING = {
    "multiply",
    "subtract",
    "divide",
    "concat",
    "linear",
    "matmul",
    "einsum",
    "stack",
    "maximum",
    "tile",
}


def _filled(net, value):
    """Zeros as the tensor they are, where the program says for every row."""
    if type(value) in (tuple, list):
        return type(value)(_filled(net, v) for v in value)
    if not isinstance(value, Zeros) or value.shape.count(Size(("b",))) != 1:
        return value
    sizes = [1 if n == Size(("b",)) else n for n in value.shape]
    if not all(isinstance(n, int) for n in sizes):
        return value
    count = math.prod(sizes)
    axes = ("b" if n == Size(("b",)) else "n" for n in value.shape)
    made = Slots(tuple(axes), np.arange(count).reshape(sizes), (net.nothing(count),), (count,))
    return tensor_of(net, made) or made


def _is_apart(value):
    """Whether a value is Slots, or holds some."""
    return any(map(_is_apart, value)) if type(value) in (tuple, list) else isinstance(value, Slots)


def holds_truth(value):
    """Whether an operand is truth values: to the program, not by its numbers."""
    if isinstance(value, (tuple, list)):
        return bool(value) and all(map(holds_truth, value))
    if isinstance(value, (Constant, Learned)):
        return value.array.dtype == bool
    return value.truth if isinstance(value, Tensor) else isinstance(value, bool)


def _of_type(value, truth):
    """A result, or each of several, as truth values or numbers."""
    if type(value) in (tuple, list):
        return type(value)(_of_type(v, truth) for v in value)
    if isinstance(value, Tensor) and value.truth != truth:
        return replace(value, truth=truth)
    return value


def _settled(net, value):
    """An argument whose zeros around frames are in the graph."""
    if type(value) in (tuple, list):
        return type(value)(_settled(net, v) for v in value)
    return settled(net, value) if isinstance(value, Tensor) else value


def _check(net, own, values, depth):
    for value in values:
        if isinstance(value, (tuple, list)) and depth and not own.items:
            _check(net, own, value, depth + 1)
        readable(net, value, own.unread)
        if isinstance(value, Tensor):
            if net.is_ids(value) and not own.ids:
                raise _UnreadableAxes("whole numbers can only be embedded")
            if value.packed and not own.packed:
                raise _Unreadable("a packed sequence can only be given to a recurrent layer and unpacked")


def readable(net, value, unread=False):
    """Raise where a value cannot be carried on, or the source would show something else by then;
    ``unread``: only what it is matters, not its numbers.
    """
    if isinstance(value, Refused) and not (unread and isinstance(value, Unset)):
        raise _Unreadable(value.why)
    if not unread and isinstance(value, (Tensor, Slots, Scores)) and value.root in net.overwritten:
        raise _Unreadable(
            f"reads a tensor that {net.overwritten[value.root]} has changed in place",
            fix="Use the call that makes a new tensor.",
        )


# ---- words -------------------------------------------------------------------------------------------------

_REQUIRED = object()


@dataclass(frozen=True)
class Parameter:
    """An argument as a source gives it. ``names``: what the source calls it. ``argument``: what the operator
    calls it, None where it is not passed on. ``allowed``: the only values that are honoured; () for any.
    ``rest``: it takes all positional arguments that are left, or one sequence of them. ``in_place``: where it
    is true, the first argument is overwritten.
    """

    names: tuple[str, ...]
    argument: str | None = None
    default: object = _REQUIRED
    allowed: tuple = ()
    rest: bool = False
    in_place: bool = False


def takes(name, argument=None, default=_REQUIRED):
    """An argument that the operator takes, as ``argument`` (by default under the same name). ``name`` may
    hold several, "split_size|split_sizes".
    """
    names = tuple(name.split("|"))
    return Parameter(names, argument or names[0], default)


def optional(name, argument=None):
    """An argument that the operator takes, or None."""
    return takes(name, argument, None)


def rest(name, argument):
    """All positional arguments that are left, as one tuple."""
    return Parameter(tuple(name.split("|")), argument, (), rest=True)


def only(name, *values):
    """An argument that is honoured only where it has one of ``values``, the first of them its default."""
    return Parameter((name,), None, values[0], allowed=values)


def harmless(*names):
    """Arguments on which no answer depends."""
    return [Parameter((name,), None, None) for name in names]


def in_place(name="inplace"):
    """Whether the result is written over the first argument."""
    return Parameter((name,), None, False, in_place=True)


class Bound(NamedTuple):
    """A call taken apart. ``arguments``: by the operator's names. ``overwrites``: whether its result is
    written over its first argument.
    """

    arguments: dict
    overwrites: bool


class Word:
    """What a source's word means: an operator, its parameters in the source's order, and arguments that the
    word itself fixes.

    ``prepare``: a function from the operator's arguments as the source gives them to those the operator takes
    (layouts, options of another form). ``result``: a function from the operator's result to what the source
    returns. ``overwrites``: the word writes its result over its first argument.
    """

    def __init__(self, operator, *parameters, prepare=None, result=None, overwrites=False, **fixed):
        self.operator, self.parameters, self.fixed = operator, parameters, fixed
        self.prepare, self.result, self.overwrites = prepare, result, overwrites

    def in_place(self):
        """The same word, its result written over its first argument."""
        settings = {"prepare": self.prepare, "result": self.result, "overwrites": True}
        return Word(self.operator, *self.parameters, **settings, **self.fixed)

    def bind(self, word, positional, named) -> Bound:
        """A call of this word taken apart, its arguments as they are; raises for one that is missing, not
        known or not honoured.
        """
        given, left, positional = [], dict(named), list(positional)
        for parameter in self.parameters:
            own = [name for name in parameter.names if name in left]
            if parameter.rest:
                items = positional if not own else left.pop(own[0])
                items = items[0] if len(items) == 1 and isinstance(items[0], (tuple, list)) else items
                value, positional = tuple(items), []
            elif positional:
                value = positional.pop(0)
            elif own:
                value = left.pop(own[0])
            elif parameter.default is _REQUIRED:
                raise UnsupportedModelError(f"{word} is called without its argument {parameter.names[0]}")
            else:
                value = parameter.default
            given.append((parameter, value))
        if left or positional:
            unknown = next(iter(left), None) or f"number {len(self.parameters) + 1}"
            raise UnsupportedModelError(
                f"{word} has an argument that is not known: {unknown}",
                expected=", ".join(p.names[0] for p in self.parameters),
                found=shown(left.get(unknown, positional[0] if positional else None)),
            )
        for parameter, value in given:
            if parameter.allowed and not any(_same(value, allowed) for allowed in parameter.allowed):
                raise UnsupportedModelError(
                    f"{word} with {parameter.names[0]}={shown(value)} is not supported",
                    expected=f"{parameter.names[0]}={' or '.join(map(str, parameter.allowed))}",
                )
        arguments = {p.argument: value for p, value in given if p.argument}
        overwrites = self.overwrites or any(p.in_place and value for p, value in given)
        return Bound(self.fixed | arguments, overwrites)

    def lower(self, net, word, bound):
        """What a call of this word makes."""
        try:
            arguments = self.prepare(**bound.arguments) if self.prepare else bound.arguments
            value = apply(net, self.operator, **arguments)
        except RnnrtError:  # some are kinds of ValueError and TypeError too
            raise
        except (TypeError, ValueError, AttributeError, LookupError) as error:  # arguments of another kind
            given = ", ".join(f"{name}={shown(v)}" for name, v in bound.arguments.items())
            raise UnsupportedModelError(
                f"{word} is not supported with these arguments", found=given
            ) from error
        first = bound.arguments.get(self.parameters[0].argument)
        if bound.overwrites and value is not first:
            net.overwritten[first.root] = word
        return self.result(value) if self.result else value


def _same(value, allowed):
    return value is allowed or (isinstance(value, (int, float, str, Harmless)) and value == allowed)


def vocabulary(table):
    """{"cat concat": Word} as one entry a word."""
    return {name: word for names, word in table.items() for name in names.split()}


def call(net, words, word, *positional, **named):
    """What a call of a vocabulary's word makes."""
    own = words[word]
    return own.lower(net, word, own.bind(word, positional, named))
