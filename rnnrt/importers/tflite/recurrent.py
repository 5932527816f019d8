"""TFLite's recurrent operators as layers: sequences of LSTM and RNN cells in one direction or two. Equations
and the order of inputs as https://www.tensorflow.org/mlir/tfl_ops and TensorFlow Lite's kernels have them.

Their states are variables of the file: zero at first, kept from call to call. A Model begins every call at
zero, its streams keep them.
"""

from __future__ import annotations

import numpy as np

from ...errors import ModelFileError, UnsupportedModelError
from ...layers import LSTM, SimpleRNN
from ...layers.function import Function
from ..axes.slots import Slots, tensor_of
from ..axes.values import Tensor
from ..operators.recurrence import join

#: The activation of a cell, by its number in the schema. What an LSTM without one is, TFLite leaves open: its
#: kernel then reads memory that nothing has written.
_FUNCTIONS = {0: ("linear",), 1: ("relu",), 3: ("clipped_relu", (6.0,)), 4: ("tanh",)}
_OF_LSTM = (1, 4)
_EPSILON = 1e-8  # of the kernels' layer normalisation


def _state(scope, value):
    """Refuse a state that is something else than a variable of this operator alone."""
    if (
        value is None
        or not value.variable
        or value.array is not None
        or value.type != "float32"
        or len(scope.users[value]) != 1
    ):
        raise UnsupportedModelError("its state is shared with another operator, or is not its own")


def _absent(values, what):
    """Refuse inputs that change the equations; zeros do not."""
    for value in values:
        if value is not None and (value.array is None or value.array.any()):
            raise UnsupportedModelError(f"{what} are not supported")


def _cell_of_lstm(scope, op, first, states, norm):
    """(names of the arrays of one direction's cell, other attributes). ``first``: the place of its input
    weights, ``states``: those of h and c, ``norm``: of the coefficients of its layer norm, None for none.
    """
    inputs = [*op.inputs, *[None] * 48]
    _absent(inputs[first + 8 : first + 11], "peepholes")
    _absent(inputs[first + 16 : first + 17], "biases of a projection")
    for place in states:
        _state(scope, inputs[place])
    places = [*range(first, first + 8), *range(first + 11, first + 16)]
    gamma = [inputs[k] for k in range(norm, norm + 4)] if norm else [None] * 4
    return [scope.name(inputs[k]) for k in places] + [scope.name(v) for v in gamma]


def _lstm(scope, op):
    own = op.options
    _check_lstm(own)
    if own.diagonal_recurrent_tensors:
        raise UnsupportedModelError("diagonal_recurrent_tensors are not supported")
    cell = _cell_of_lstm(scope, op, 1, (18, 19), 20)
    _sequence(scope, op, "lstm", [cell], own.time_major, clip=own.cell_clip)


def _both_lstm(scope, op):
    own = op.options
    _check_lstm(own)
    _absent(op.inputs[39:48], "auxiliary inputs")
    cells = [_cell_of_lstm(scope, op, 1, (35, 36), None), _cell_of_lstm(scope, op, 18, (37, 38), None)]
    _sequence(scope, op, "lstm", cells, own.time_major, clip=own.cell_clip)


def _check_lstm(own):
    if own.proj_clip:
        raise UnsupportedModelError("proj_clip is not supported", expected="0", found=f"{own.proj_clip:g}")
    if not (np.isfinite(own.cell_clip) and own.cell_clip >= 0):
        raise ModelFileError("cell_clip must be a number from 0", found=str(own.cell_clip))


def _rnn(scope, op):
    _state(scope, op.inputs[4])
    _sequence(scope, op, "rnn", [[scope.name(v) for v in op.inputs[1:4]]], op.options.time_major)


def _both_rnn(scope, op):
    inputs = [*op.inputs, *[None] * 12]
    _absent(inputs[9:12], "auxiliary inputs")
    cells = []
    for first, state in ((1, 4), (5, 8)):
        _state(scope, inputs[state])
        cells.append([scope.name(v) for v in inputs[first : first + 3]])
    _sequence(scope, op, "rnn", cells, op.options.time_major)


def _sequence(scope, op, kind, cells, time_major, **attributes):
    """A node for all directions: x, then the arrays of each."""
    merged = len(cells) == len(op.outputs) + 1 == 2
    if len(op.outputs) != (1 if merged else len(cells)) or merged != bool(
        len(cells) == 2 and op.options.merge_outputs
    ):
        raise ModelFileError("merge_outputs does not fit its outputs")
    scope.node(
        SEQUENCE,
        [scope.name(op.inputs[0]), *(name for cell in cells for name in cell)],
        [scope.name(v) for v in op.outputs],
        kind=kind,
        directions=len(cells),
        time_major=bool(time_major),
        function=op.options.fused,
        **attributes,
    )


# ---- layers ------------------------------------------------------------------------------------------------

SEQUENCE = "TfliteSequence"


def sequence(reader, net, node, given, values):
    """What a node of ``_sequence`` makes: a tensor a direction, or both side by side."""
    own = node.attributes
    x, *arrays = given
    x = tensor_of(net, x) if isinstance(x, Slots) else x
    if not isinstance(x, Tensor):
        raise UnsupportedModelError("its sequence must be made of an input", found=str(x))
    x = net.arranged(x, "tbf" if own["time_major"] else "btf")
    if own["function"] not in (_OF_LSTM if own["kind"] == "lstm" else _FUNCTIONS):
        raise UnsupportedModelError("holds an activation that is not supported", found=str(own["function"]))
    function = Function(*_FUNCTIONS[own["function"]])
    net.name, made, count = node.name, [], len(arrays) // own["directions"]
    for k in range(own["directions"]):
        cell = [_known(a) for a in arrays[k * count : (k + 1) * count]]
        fields = _lstm_fields(cell, own["clip"]) if own["kind"] == "lstm" else _rnn_fields(cell)
        kind = LSTM if own["kind"] == "lstm" else SimpleRNN
        label = net.name + ("_reverse" if k else "")
        made.append(net.builder.add(kind, label, x.reference, reverse=bool(k), activation=function, **fields))
    if len(node.outputs) < len(made):
        made = [join(net.builder, f"{net.name}_joined", made)]
    return [net.tensor(reference, x.axes, x.clock) for reference in made]


def _known(array):
    if array is not None and (not isinstance(array, np.ndarray) or array.dtype.kind != "f"):
        raise UnsupportedModelError("its weights must be in the file, as floats")
    return array


def _rnn_fields(arrays):
    weight, recurrent, bias = arrays
    if weight is None or recurrent is None:
        raise ModelFileError("its weights are left out")
    return {"weight": weight, "recurrent_weight": recurrent, "bias": bias}


def _lstm_fields(arrays, clip):
    weights, recurrences, biases = arrays[:4], arrays[4:8], arrays[8:12]
    projection, gamma = arrays[12], arrays[13:17]
    if any(a is None for a in (*weights[1:], *recurrences[1:])):
        raise ModelFileError("its weights are left out")
    if (weights[0] is None) != (recurrences[0] is None):
        raise ModelFileError("only some of the weights of its input gate are there")
    if weights[0] is None:  # the input gate is one minus the forget gate: 1 - s(x) = s(-x)
        if any(a is not None for a in gamma):
            raise UnsupportedModelError("a coupled input gate with layer normalisation is not supported")
        weights, recurrences = ([-part[1], *part[1:]] for part in (weights, recurrences))
        biases = [None if biases[1] is None else -biases[1], *biases[1:]]
    units = len(weights[1])
    if any(b is not None for b in biases):
        biases = [np.zeros(units, np.float32) if b is None else b for b in biases]
    bias = None if biases[0] is None else np.concatenate([np.ravel(b) for b in biases])
    fields = {
        "weight": np.concatenate(weights),
        "recurrent_weight": np.concatenate(recurrences),
        "projection": projection,
        "cell_clip": clip,
    }
    present = [a for a in gamma if a is not None]
    if not present:
        return fields | {"bias": bias}
    if len(present) != 4:
        raise ModelFileError("only some of the coefficients of its layer normalisation are there")
    gamma = np.concatenate([np.ravel(a) for a in gamma])
    return fields | {"norm": "gates", "gamma": gamma, "beta": bias, "epsilon": _EPSILON}


WORDS = {
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _lstm,
    "BIDIRECTIONAL_SEQUENCE_LSTM": _both_lstm,
    "UNIDIRECTIONAL_SEQUENCE_RNN": _rnn,
    "BIDIRECTIONAL_SEQUENCE_RNN": _both_rnn,
}
