"""ONNX's LSTM, GRU and RNN as layers: one a direction. Equations and attributes as
https://onnx.ai/onnx/operators/onnx__LSTM.html states them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...errors import ModelFileError, ShapeError, UnsupportedModelError
from ...layers import GRU, LSTM, Flatten, SimpleRNN, Unflatten
from ...layers.function import Function
from ..axes.sizes import Clock
from ..axes.slots import Slots, tensor_of
from ..axes.values import AxesError, Lengths, Tensor
from ..operators.bins import are_bins, in_every_bin
from ..operators.stilled import inside_every_frame, of_frames


class Kind(NamedTuple):
    """``gates``: of the layer, for each its place among ONNX's; ``functions``: ONNX's defaults; ``states``:
    names of the states, in the order of the inputs.
    """

    layer: type
    gates: tuple[int, ...]
    functions: tuple[str, ...]
    states: str


#: ONNX keeps an LSTM's gates as i o f c, a GRU's as z r h.
KINDS = {
    "LSTM": Kind(LSTM, (0, 2, 3, 1), ("Sigmoid", "Tanh", "Tanh"), "hc"),
    "GRU": Kind(GRU, (0, 1, 2), ("Sigmoid", "Tanh"), "h"),
    "RNN": Kind(SimpleRNN, (0,), ("Tanh",), "h"),
}
_DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
#: ONNX's word -> (a Function's name, {parameter: default})
_FUNCTIONS = {
    "sigmoid": ("sigmoid", ()),
    "tanh": ("tanh", ()),
    "relu": ("relu", ()),
    "softsign": ("softsign", ()),
    "leakyrelu": ("leaky_relu", (("alpha", 0.01),)),
    "elu": ("elu", (("alpha", 1.0),)),
    "hardsigmoid": (None, (("alpha", 0.2), ("beta", 0.5))),
    "affine": (None, (("alpha", 1.0), ("beta", 0.0))),
}
_ATTRIBUTES = (
    "activations",
    "activation_alpha",
    "activation_beta",
    "clip",
    "direction",
    "hidden_size",
    "input_forget",
    "layout",
    "linear_before_reset",
    "output_sequence",
)


def recurrent(net, node, given):
    """(Y, Y_h) or (Y, Y_h, Y_c) of a node; ``given``: what its inputs are, None for those left out."""
    arguments, again = {"given": tuple(given)}, lambda inner, own: recurrent(inner, node, own["given"])
    if are_bins(arguments):
        return in_every_bin(net, arguments, again)
    if of_frames(given[0]):
        time = next(k for k, a in enumerate(given[0].axes) if a == "n")
        return inside_every_frame(net, arguments, again, given[0], time)
    kind, own = KINDS[node.op], node.attributes
    unknown = set(own) - set(_ATTRIBUTES)
    if unknown:
        raise UnsupportedModelError(f"{node.op} has an attribute that is not known: {min(unknown)}")
    x, weights, recurrence, bias, lengths, *initial = [*given, *[None] * 8][:8]
    peepholes = initial.pop(2) if node.op == "LSTM" else None
    initial = initial[: len(kind.states)]
    _refuse(node.op, own, peepholes)
    directions = _DIRECTIONS.get(own.get("direction", "forward").lower())
    if directions is None:
        raise UnsupportedModelError("is not a direction", found=repr(own["direction"]))
    arrays = _arrays(node.op, kind, weights, recurrence, bias, len(directions), own.get("hidden_size"))
    functions = _functions(node.op, kind, own, len(directions))
    batch_first = bool(own.get("layout", 0))
    x, rows, single = _sequence(net, x, batch_first)
    packed = _packed(net, x, lengths)
    starts = [_initial(net, part, len(directions), rows or single, batch_first) for part in initial]
    names = []
    for k, reverse in enumerate(directions):
        fields = _cell(node.op, kind, own, functions[k], [None if a is None else a[k] for a in arrays])
        references, constants = [], {}
        for state, start in zip(kind.states, starts):
            if isinstance(start, np.ndarray):
                constants[state] = start[k]
            elif start is not None:
                references.append(start[k])
        if references and (constants or len(references) < len([s for s in starts if s is not None])):
            raise UnsupportedModelError("of its initial states some are constant and some are not")
        if references and len(references) < len(kind.states):
            raise UnsupportedModelError("of its initial states only some are given", expected="all or none")
        name = net.builder.add(
            kind.layer,
            net.name + ("_reverse" if k else ""),
            x.reference,
            *references,
            reverse=reverse,
            packed=packed,
            **fields,
        )
        net.builder.start |= {f"{name}/{s}": a for s, a in constants.items() if a.any()}
        names.append(name)
    return _results(net, x, kind, names, batch_first, rows, single)


def _refuse(op, own, peepholes):
    """What the layers cannot do, by name."""
    if peepholes is not None and (not isinstance(peepholes, np.ndarray) or peepholes.any()):
        raise UnsupportedModelError("an LSTM with peepholes (its input P) is not supported")
    if own.get("clip") is not None:
        raise UnsupportedModelError(f"{op} with clip={own['clip']:g} is not supported", expected="no clip")
    if own.get("input_forget", 0):
        raise UnsupportedModelError("an LSTM with input_forget=1 is not supported", expected="input_forget=0")
    if own.get("layout", 0) not in (0, 1):
        raise UnsupportedModelError("is not a layout", found=str(own["layout"]))


def _known(array, what):
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        raise UnsupportedModelError(f"its {what} must be known when the file is read")
    return array


def _arrays(op, kind, weights, recurrence, bias, directions, hidden):
    """W (directions, gates * units, in), R and B or None, their shapes checked."""
    weights, recurrence = _known(weights, "W"), _known(recurrence, "R")
    units, gates = recurrence.shape[-1] if recurrence.ndim == 3 else 0, len(kind.gates)
    expected = {"W": (directions, gates * units, weights.shape[-1]), "R": (directions, gates * units, units)}
    found = {"W": weights.shape, "R": recurrence.shape}
    if bias is not None:
        expected["B"], found["B"] = (directions, 2 * gates * units), _known(bias, "B").shape
    if found != expected or not units or (hidden is not None and hidden != units):
        raise ModelFileError(
            f"the weights of this {op} do not fit one another",
            expected=f"{expected}, hidden_size {hidden}",
            found=f"{found}",
        )
    return weights, recurrence, bias


def _functions(op, kind, own, directions):
    """The activations of each direction, as Functions."""
    count = len(kind.functions)
    words = own.get("activations") or list(kind.functions) * directions
    parameters = {
        "alpha": list(own.get("activation_alpha", ())),
        "beta": list(own.get("activation_beta", ())),
    }
    if len(words) != count * directions:
        raise ModelFileError(f"{op} needs {count} activations a direction", found=", ".join(words))
    made = [_function(word, parameters) for word in words]
    return [made[k * count : (k + 1) * count] for k in range(directions)]


def _function(word, parameters):
    """One activation; it takes its own of the lists ``parameters``, in order."""
    name, wanted = _FUNCTIONS.get(word.lower(), (None, None))
    if wanted is None:
        raise UnsupportedModelError(
            f"the activation {word!r} is not supported", expected=f"one of {', '.join(_FUNCTIONS)}"
        )
    values = tuple(parameters[p].pop(0) if parameters[p] else default for p, default in wanted)
    if word.lower() == "hardsigmoid":
        return hard_sigmoid(*values)
    if word.lower() == "affine":
        if values != (1.0, 0.0):
            raise UnsupportedModelError(
                "the activation Affine is supported as the identity", found=str(values)
            )
        return Function("linear")
    return Function(name, values)


def hard_sigmoid(alpha, beta) -> Function:
    """max(0, min(1, alpha x + beta)) for the slopes that there are."""
    near = lambda a, b: abs(a - b) <= 1e-6 * b
    if near(beta, 0.5) and near(alpha, 0.2):
        return Function("hard_sigmoid_keras2")
    if near(beta, 0.5) and near(alpha, 1 / 6):
        return Function("hard_sigmoid")
    raise UnsupportedModelError(
        "HardSigmoid is supported with alpha 0.2 or 1/6 and beta 0.5", found=f"alpha={alpha:g}, beta={beta:g}"
    )


def _cell(op, kind, own, functions, arrays):
    """The fields of the layer that one direction is."""
    weight, recurrence, bias = (None if a is None else np.asarray(a, np.float64) for a in arrays)
    ordered = lambda a: np.concatenate([np.split(a, len(kind.gates))[k] for k in kind.gates])
    fields = {"weight": ordered(weight), "recurrent_weight": ordered(recurrence)}
    first, second = (None, None) if bias is None else map(ordered, np.split(bias, 2))
    if op == "GRU":
        after = bool(own.get("linear_before_reset", 0))
        fields |= {"reset_after": after, "recurrent_activation": functions[0], "activation": functions[1]}
        if bias is not None and after:  # what the reset gate scales has a bias of its own
            units = len(second) // 3
            merged = np.where(np.arange(3 * units) < 2 * units, second, 0)
            fields |= {"bias": first + merged, "recurrent_bias": second - merged}
        elif bias is not None:
            fields["bias"] = first + second
        return fields
    if own.get("linear_before_reset", 0):
        raise UnsupportedModelError(f"{op} has an attribute that is not known: linear_before_reset")
    if bias is not None:
        fields["bias"] = first + second
    if op == "RNN":
        return fields | {"activation": functions[0]}
    if functions[1] != functions[2]:
        raise UnsupportedModelError(
            "an LSTM whose cell and output have different activations is not supported",
            expected="g and h the same",
            found=f"{functions[1]} and {functions[2]}",
        )
    return fields | {"recurrent_activation": functions[0], "activation": functions[1]}


def _sequence(net, x, batch_first):
    """(the sequence, whether its frames are the rows of the program's inputs, whether it has no batch)."""
    x = tensor_of(net, x) if isinstance(x, Slots) else x
    if not isinstance(x, Tensor):
        raise UnsupportedModelError("X must be made of an input", found=str(x))
    x = net.single(x)
    time, batch = (1, 0) if batch_first else (0, 1)
    swapped = ("t", "b", "f") if batch_first else ("b", "t", "f")
    if x.axes == swapped and net.signal(x).length == 1:  # one frame of each row, where the batch should be
        single = ["1" if a == "t" else a for a in x.axes]
        x = net.tensor(net.add(Flatten, x.reference), single, None)
    if len(x.axes) == 3 and x.axes[2] == "f":
        if x.axes[time] == "b" and x.axes[batch] == "1" and net.rows is not False:
            net.rows, net.placed = True, net.placed + 1
            frame = net.add(Unflatten, x.reference, length=1)
            return net.tensor(frame, "btf", Clock("", 1, 0)), True, False
        if x.axes[time] == "t" and x.axes[batch] == "1" and net.unbatched:
            net.placed += 1
            return x.view("tbf" if not batch_first else "btf"), False, True
    x = net.arranged(x, "btf" if batch_first else "tbf")
    if net.rows:
        raise AxesError(
            "its frames are not the rows of the input, as those of another layer are", found=str(x)
        )
    net.rows = False
    return x, False, False


def _packed(net, x, lengths):
    """Whether rows end at lengths of their own, which are then an input of the program."""
    if lengths is None:
        return False
    if not isinstance(lengths, Lengths):
        raise UnsupportedModelError(
            "sequence_lens must be an input",
            expected="lengths of the rows, given with each call",
            found=str(lengths),
        )
    if net.lengths not in (None, lengths.name) or (
        net.packing is not None and net.packing[1:] != x.clock[1:]
    ):
        raise UnsupportedModelError("sequence_lens of several kinds are not supported")
    x.clock.check_lengths()
    net.lengths, net.packing = lengths.name, x.clock
    return True


def _initial(net, part, directions, without_batch, batch_first):
    """None for a state that starts at zero, an array (directions, units) where it is known, or a reference a
    direction.
    """
    if part is None:
        return None
    if isinstance(part, np.ndarray):
        if part.ndim != 3:
            raise ShapeError("the initial state must have three axes", found=str(part.shape))
        rows = part.transpose(1, 0, 2) if batch_first else part
        if len(rows) != directions or not (rows == rows[:, :1]).all():
            raise UnsupportedModelError(
                "the initial state is not the same for every row", found=f"a constant {part.shape}"
            )
        return rows[:, 0] if rows.any() else None
    part = tensor_of(net, part) or part
    batch = "1" if without_batch else "b"
    orders = {(batch, "1", "f"), (batch, "s", "f")} if batch_first else {("1", batch, "f"), ("s", batch, "f")}
    if isinstance(part, Slots):
        wanted = (batch, "n", "n") if batch_first else ("n", batch, "n")
        axes = tuple(
            "1" if a == "n" and n == 1 and without_batch else a for a, n in zip(part.axes, part.places.shape)
        )
        if (axes if without_batch else part.axes) == wanted and part.places.shape[
            wanted.index("n")
        ] == directions:
            return _split(net, part, wanted.index("n"))
    elif part.axes in orders and len(part.references) == directions:
        return part.references
    if without_batch and "b" in part.axes:
        raise AxesError(
            "the rows of the input are its frames, and its initial state is an input, too",
            found=str(part),
            fix="Carry it: state={input: output}.",
        )
    raise AxesError(
        "the initial state does not fit",
        expected=f"({directions}, batch, units), zeros or an input",
        found=str(part),
    )


def _split(net, x, position):
    """A reference for each item of an axis of Slots."""
    made = []
    for k in range(x.places.shape[position]):
        one = x.seen([*x.axes[:position], *x.axes[position + 1 :]], np.take(x.places, k, position))
        made.append(tensor_of(net, one).reference)
    return tuple(made)


def _results(net, x, kind, names, batch_first, rows, single):
    """Y and the final states, with the axes ONNX gives them."""
    stack = "s" if len(names) > 1 else "1"
    if rows:
        flat = tuple(net.add(Flatten, name) for name in names)
        sequence = Tensor(flat, ("b", stack, "1", "f") if not batch_first else ("1", "b", stack, "f"))
    else:
        batch = "1" if single else "b"
        axes = (batch, "t", stack, "f") if batch_first else ("t", stack, batch, "f")
        sequence = Tensor(tuple(names), axes, x.clock)
    batch = "1" if rows or single else "b"
    order = (batch, stack, "f") if batch_first else (stack, batch, "f")
    finals = [Tensor(tuple(f"{name}:{s}" for name in names), order) for s in kind.states]
    return (sequence, *finals)
