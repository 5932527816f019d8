"""Recurrent operators: stacks of RNN, GRU and LSTM layers, and sequences packed with lengths of their own."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from ...errors import ShapeError, UnsupportedModelError
from ...layers import (
    GRU,
    LSTM,
    Activation,
    Add,
    Affine,
    Concatenate,
    Dense,
    Input,
    Maximum,
    Multiply,
    NotEqual,
    Reshape,
    Select,
    SimpleRNN,
    Softmax,
    Unflatten,
)
from ..axes.regroup import ones_named
from ..axes.sizes import Clock, Size
from ..axes.values import AxesError, Constant, Learned, Lengths, StateInput, Tensor, Zeros
from .table import apply, operator


@dataclass(frozen=True)
class Stack:
    """What recurrent layers make, as references. ``sequence``: the last layer's output, directions joined.

    ``h``, ``c``: the final states, one tuple of directions a layer (``h[-1]``: the last layer's, forward then
    reverse); ``c`` is () for an RNN and a GRU. ``layers``: names of the layers made, the directions of one
    layer before the next layer.
    """

    sequence: str
    h: tuple[tuple[str, ...], ...]
    c: tuple[tuple[str, ...], ...]
    layers: tuple[str, ...]


def add_stack(builder, name, x, kind, cells, *, initial=None, packed=True, mask=None) -> Stack:
    """Recurrent layers one on the other. ``kind``: the class of each; ``cells``: a tuple of directions a
    layer, each the fields of one graph layer, the second direction in reverse. ``initial``: initial states by
    reference, one (h,) or (h, c) a layer and direction. ``packed``: whether the rows' lengths count for them.
    ``mask``: a reference to 1 in the frames that count; answers are 0 in the others.

    Layers are named "{name}.l0", "{name}.l0_reverse", "{name}.l1", ... and joined directions
    "{name}.l0_joined".
    """
    count = sum(map(len, cells))
    if initial is not None and len(initial) != count:
        raise ShapeError(
            "one initial state a layer and direction is needed",
            where=name,
            expected=str(count),
            found=str(len(initial)),
        )
    names, h, c = [], [], []
    for k, directions in enumerate(cells):
        for suffix, fields in zip(("", "_reverse"), directions):
            state = initial[len(names)] if initial is not None else ()
            options = {"reverse": bool(suffix), "packed": packed}
            options |= {"mask": mask, "masked_output": "zero"} if mask else {}
            names.append(builder.add(kind, f"{name}.l{k}{suffix}", x, *state, **options, **fields))
        own = names[-len(directions) :]
        h.append(tuple(f"{layer}:h" for layer in own))
        c.append(tuple(f"{layer}:c" for layer in own))
        x = join(builder, f"{name}.l{k}_joined", own)
    return Stack(x, tuple(h), tuple(c) if kind is LSTM else (), tuple(names))


def join(builder, name, references):
    """Several values side by side; a single one is itself."""
    return references[0] if len(references) == 1 else builder.add(Concatenate, name, *references)


def add_ended(builder, name, x):
    """The frames of ``x``, and zeros past the end of each row, as packing and unpacking leave them: a
    recurrence whose new state is its input, so that the rows' lengths act on it as on any other."""
    width = builder.signal(x).width
    fields = {"weight": np.eye(width), "recurrent_weight": np.zeros((width, width)), "activation": "linear"}
    return builder.add(SimpleRNN, name, x, **fields)


def at_ends(net, x, ends):
    """The last frame of each row of a sequence, its other axes as they are: the state in which the recurrence
    of ``add_ended`` ends.
    """
    if x.clock is None or any(x.padding):
        raise UnsupportedModelError("lengths count the frames of a sequence", found=str(x))
    clock = x.clock._replace(longest=False)
    counted_on(net, Lengths(ends.name), clock)
    net.shortest_row = 1  # the one before the first frame would be the last of all
    reference = x.reference if net.signal(x).features else net.add(Reshape, x.reference, features=(1,))
    reference = f"{add_ended(net.builder, net.name, reference)}:h"
    if not net.signal(x).features:
        reference = net.add(Reshape, reference, features=())
    return net.tensor(reference, tuple(a for a in x.axes if a != "t"), None)


# ---- layers ------------------------------------------------------------------------------------------------


@operator(packed=True)
def rnn(net, x, cells, initial_h=None, batch_first=False):
    """(sequence, final h) of RNN layers; ``cells`` as ``add_stack`` takes them."""
    return _recurrent(net, x, SimpleRNN, cells, (initial_h,), batch_first)


@operator(packed=True)
def gru(net, x, cells, initial_h=None, batch_first=False):
    """(sequence, final h) of GRU layers."""
    return _recurrent(net, x, GRU, cells, (initial_h,), batch_first)


@operator(packed=True)
def lstm(net, x, cells, initial_h=None, initial_c=None, batch_first=False):
    """(sequence, final h, final c) of LSTM layers."""
    return _recurrent(net, x, LSTM, cells, (initial_h, initial_c), batch_first)


def _recurrent(net, x, kind, cells, initial, batch_first):
    orders = ("btf", "tbf") if x.packed else ("btf" if batch_first else "tbf",)
    try:
        x = net.arranged(x, *orders)
    except AxesError as error:
        error.fix = error.fix or _over_the_batch(x, batch_first)
        raise
    count = sum(map(len, cells))
    learned = any(isinstance(p, Learned) for p in initial)
    given, inputs = (None, ()) if learned else _initial(net, initial, count)
    options = {"initial": given, "packed": x.packed and not x.real, "mask": x.real}
    stack = add_stack(net.builder, net.name, x.reference, kind, cells, **options)
    for word, state in zip("hc", inputs):
        net.states.append((state, [f"{layer}/{word}" for layer in stack.layers]))
    if learned:
        for word, part in zip("hc", initial):
            net.builder.start |= dict(zip([f"{n}/{word}" for n in stack.layers], _learned(net, part, count)))
    sequence = net.tensor(stack.sequence, x.axes, x.clock)
    finals = [
        Tensor(tuple(r for directions in own for r in directions), ("s", "b", "f"))
        for own in ((stack.h, stack.c) if kind is LSTM else (stack.h,))
    ]
    counts = {"real": x.real, "counted": x.counted}
    return (dataclasses.replace(sequence, packed=x.packed, ended=x.packed, **counts), *finals)


def _over_the_batch(x, batch_first):
    """What to do where a recurrent layer would take the rows of a batch for frames."""
    if x.axes == (("t", "b", "f") if batch_first else ("b", "t", "f")):
        return (
            "The layer would read the rows of a batch as the frames of one sequence: turn its input round, "
            f"or make it with batch_first={not batch_first}."
        )
    if x.axes in (("b", "1", "f"), ("b", "f")):
        return "Its input has frames and no batch: write forward for a batch, and give example= one."
    return None


@operator()
def rnn_step(net, x, fields, initial_h):
    """The state after one step of an RNN layer over values given once; ``fields``: those of the layer."""
    return _step(net, x, SimpleRNN, fields, (initial_h,))[0]


@operator()
def gru_step(net, x, fields, initial_h):
    """The state after one step of a GRU layer."""
    return _step(net, x, GRU, fields, (initial_h,))[0]


@operator()
def lstm_step(net, x, fields, initial_h, initial_c):
    """(h, c) after one step of an LSTM layer."""
    return _step(net, x, LSTM, fields, (initial_h, initial_c))


def _step(net, x, kind, fields, initial):
    x = net.arranged(x, "bf")
    if net.inside:
        return written_out(net, x, kind, fields, initial)
    given = [part.reference for part in initial if isinstance(part, Tensor) and part.axes == ("b", "f")]
    zeros = [p for p in initial if isinstance(p, Zeros) and len(p.shape) == 2 and p.shape[0] == Size(("b",))]
    if len(given) != len(initial) and len(zeros) != len(initial):
        raise UnsupportedModelError(
            "the state of a cell must be (batch, units): zeros, or made of an input",
            found=", ".join(map(str, initial)),
        )
    frame = net.add(Unflatten, x.reference, length=1)
    layer = net.add(kind, frame, *given, packed=False, **fields)
    net.steps.add(layer)
    words = "hc" if kind is LSTM else "h"
    return tuple(Tensor((f"{layer}:{word}",), ("b", "f")) for word in words)


def written_out(net, x, kind, fields, initial):
    """The states after one step, of layers that look at one frame: what a scan's step is made of. An
    activation may be "softmax", of all units together.
    """
    odd = any(not isinstance(p, Tensor) or p.axes != ("b", "f") for p in initial)
    if odd or fields.get("projection") is not None:
        raise UnsupportedModelError(
            "the state of a cell must be (batch, units)", found=", ".join(map(str, initial))
        )
    h, units = initial[0].reference, fields["recurrent_weight"].shape[1]
    part = lambda value, k: net.add(Select, value, index=range(k * units, (k + 1) * units))
    sigmoid = _of_units(net, fields.get("recurrent_activation", "sigmoid"))
    act = _of_units(net, fields.get("activation", "tanh"))
    read = net.add(Dense, x.reference, weight=fields["weight"], bias=fields.get("bias"))
    own = net.add(Dense, h, weight=fields["recurrent_weight"], bias=fields.get("recurrent_bias"))
    if kind is not GRU:
        sums = net.add(Add, read, own)
    if kind is SimpleRNN:
        made = [act(sums)]
    elif kind is LSTM:
        i, f, o = (sigmoid(part(sums, k)) for k in (0, 1, 3))
        kept = net.add(Multiply, f, initial[1].reference)
        c = net.add(Add, kept, net.add(Multiply, i, act(part(sums, 2))))
        made = [net.add(Multiply, o, act(c)), c]
    else:
        z, r = (sigmoid(net.add(Add, part(read, k), part(own, k))) for k in (0, 1))
        if fields.get("reset_after", True):
            added = net.add(Multiply, r, part(own, 2))
        else:
            weight = fields["recurrent_weight"][2 * units :]
            added = net.add(Dense, net.add(Multiply, r, h), weight=weight)
        n = act(net.add(Add, part(read, 2), added))
        less = net.add(Affine, z, scale=-np.ones(units), offset=np.ones(units))
        made = [net.add(Add, net.add(Multiply, less, n), net.add(Multiply, z, h))]
    return tuple(Tensor((reference,), ("b", "f")) for reference in made)


def _of_units(net, function):
    if function == "softmax":
        return lambda value: net.add(Softmax, value)
    return lambda value: net.add(Activation, value, activation=function)


def _zeros_beside(net, zeros, made):
    """Zeros as states beside others that layers make, of the zeros' shape."""
    shape = (len(made.references) if made.axes[0] == "s" else 1, Size(("b",)), net.signal(made).width)
    if zeros.shape != shape:
        raise UnsupportedModelError(
            "the zeros of the initial state do not fit",
            expected=f"{shape[0]}, batch of the input, {shape[2]}",
            found=str(zeros.shape),
        )
    nothing = {"scale": np.zeros(shape[2]), "offset": np.zeros(shape[2])}
    return made.view(references=tuple(net.add(Affine, r, **nothing) for r in made.references))


def _learned(net, part, cells):
    """Where each cell starts: at a row of a parameter, the same for the whole batch; or at zero."""
    if isinstance(part, Zeros):
        _initial(net, (part,), cells)
        return ()
    if not isinstance(part, Learned) or part.batch != 1 or len(part.array) != cells or part.array.ndim != 3:
        raise UnsupportedModelError(
            "the initial state does not fit", expected=f"({cells}, batch, units)", found=str(part)
        )
    return part.array[:, 0]


def _initial(net, parts, cells):
    """(references to the initial states, one tuple a cell, or None where they are zero or the caller's to
    give; the inputs of the program that the caller gives, h first).
    """
    if all(part is None for part in parts):
        return None, ()
    if all(isinstance(p, StateInput) for p in parts):
        return None, parts
    if any(isinstance(p, Constant) and not p.array.any() for p in parts):
        parts = tuple(Zeros(p.array.shape) if isinstance(p, Constant) else p for p in parts)
    if all(isinstance(p, Zeros) for p in parts):
        for part in parts:
            rows = part.shape[1] if len(part.shape) == 3 else None
            if rows is not None and rows == net.example_rows and not isinstance(rows, Size):
                net.rows_written = rows  # a batch of another size does not run there at all
            elif rows != Size(("b",)):
                rows = None
            if rows is None or part.shape[0] != cells:
                raise UnsupportedModelError(
                    "the zeros of the initial state do not follow the input's batch",
                    expected=f"({cells}, batch of the input, units)",
                    found=str(part.shape),
                )
        return None, ()
    stacks, made = [], next((p for p in parts if isinstance(p, Tensor)), None)
    for part in parts:
        if isinstance(part, Zeros) and made is not None:
            part = _zeros_beside(net, part, made)
        if not isinstance(part, Tensor):
            raise UnsupportedModelError(
                "the initial state must be zeros, an input of the program, or made from other layers",
                found=str(part),
            )
        if part.axes == ("t", "b", "f"):
            part = ones_named(net, part)
        if part.axes == ("1", "b", "f"):
            part = part.view(("s", "b", "f"))
        if part.axes != ("s", "b", "f") or len(part.references) != cells:
            raise UnsupportedModelError(
                "the initial state does not fit", expected=f"({cells}, batch, units)", found=str(part)
            )
        stacks.append(part.references)
    return list(zip(*stacks)), ()


# ---- packing -----------------------------------------------------------------------------------------------


@operator()
def pack(net, x, lengths, batch_first=False):
    """A sequence whose rows end at lengths of their own. Frames past a row's length no longer count: nothing
    behind reads them, so a tensor cut to the longest row is as good.
    """
    if isinstance(lengths, Tensor) and lengths.axes == ("b",):
        return _counted(net, x, lengths, batch_first)
    if not isinstance(lengths, Lengths) or lengths.axes != ("b",):
        raise UnsupportedModelError(
            "the lengths of a packed sequence must be an argument of forward", found=str(lengths)
        )
    if x.clock is not None:
        x = dataclasses.replace(x, clock=x.clock._replace(longest=False))
    x = net.arranged(x, "btf" if batch_first else "tbf")
    counted_on(net, lengths, x.clock)
    return dataclasses.replace(x, packed=True)


def _counted(net, x, lengths, batch_first):
    """A sequence whose rows end at lengths that the program works out of its inputs: a frame counts where its
    number, from 1 on, is not above its row's.
    """
    if x.clock is not None:
        x = dataclasses.replace(x, clock=x.clock._replace(longest=False))
    x = net.arranged(x, "btf" if batch_first else "tbf")
    numbers = dataclasses.replace(counting(net, x.reference), clock=x.clock)
    if x.clock is not None and isinstance(net.layer(lengths), Input):
        x.clock.check_lengths()
        net.row_lengths[lengths.reference] = list(x.clock[:3])
    ends = net.tensor(net.add(Reshape, lengths.reference, features=(1,)), ("b", "1", "f"), None)
    real = apply(net, "less_equal", a=numbers, b=ends)
    return dataclasses.replace(x, packed=True, real=real.reference, counted=lengths)


def counting(net, reference):
    """The numbers of a sequence's frames, from 1 on."""
    one = net.add(Maximum, *(net.add(NotEqual, reference, value=n) for n in (0.0, 1.0)))  # whatever it holds
    one = one if net.builder.signal(one).features else net.add(Reshape, one, features=(1,))
    clock = next((c for c, r in net.sequences.items() if r == reference), Clock("the rows"))
    return apply(net, "cumulative_sum", x=net.tensor(one, "btf", clock), axis=1)


def counted_on(net, lengths, clock):
    """The lengths of a program's rows, which count the frames of ``clock``: there is one such input."""
    if net.lengths not in (None, lengths.name):
        raise UnsupportedModelError(
            "sequences packed with lengths of their own are not supported",
            expected=f"{net.lengths!r} everywhere",
            found=repr(lengths.name),
        )
    if net.packing is not None and net.packing[1:] != clock[1:]:
        raise UnsupportedModelError("the same lengths are counted in different frames")
    clock.check_lengths()
    net.lengths, net.packing = lengths.name, clock


@operator(packed=True)
def unpack(net, x, batch_first=False, total_length=None):
    """(a packed sequence with its frames back, zeros past each row's end; the lengths). ``total_length``: the
    number of frames it gets, None for those of the longest row.
    """
    if not isinstance(x, Tensor) or not x.packed:
        raise UnsupportedModelError("only a packed sequence can be unpacked", found=str(x))
    whole = Size((("t", x.clock),))
    longest = Size((("t", x.clock._replace(longest=True)),))
    if total_length is not None and total_length not in (whole, longest):
        raise UnsupportedModelError(
            "total_length must be the input's number of frames", found=str(total_length)
        )
    if not x.ended and x.real:
        wide = net.add(Select, x.real, index=(0,) * net.signal(x).width)
        x = x.view(references=(net.add(Multiply, x.reference, wide),))
    elif not x.ended:
        x = x.view(references=(add_ended(net.builder, net.name, x.reference),))
    axes = ("b", "t", "f") if batch_first else ("t", "b", "f")
    clock = x.clock._replace(longest=total_length != whole)
    rows = x.counted or Lengths(net.lengths)
    return dataclasses.replace(x, axes=axes, clock=clock, packed=False, real=None, counted=None), rows
