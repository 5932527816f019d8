"""Keras's recurrent layers: SimpleRNN, LSTM, GRU, their cuDNN forms, RNN over cells, Bidirectional -> graph
layers.

Keras runs a ``go_backwards`` layer over the reversed input and leaves its outputs in that order; a graph
layer with ``reverse`` leaves every output at its own frame. So a Reverse is added where Keras's order is
seen, and Bidirectional, which turns the backward half round again, needs none.
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass

from ... import layers
from ...errors import ModelFileError, UnsupportedModelError
from .live import Live
from .merges import average
from .weights import children, from_cudnn, inner
from .written_cells import WrittenOut

#: Options that change nothing at inference, or only how the same numbers are computed.
_HARMLESS = (
    "unroll",
    "implementation",
    "input_dim",
    "input_length",
    "dropout",
    "recurrent_dropout",
    "seed",
    "unit_forget_bias",
    "ragged",
    "num_constants",
    "use_cudnn",
)


# ---- cells: (graph class, its fields) ----------------------------------------------------------------------


def _arrays(context, gates):
    """(weight, recurrent_weight, bias) of a cell, rows as outputs; the bias as the file has it."""
    units = context.config.integer("units")
    kernel, recurrent = (
        context.array("kernel", None, gates * units),
        context.array("recurrent_kernel", units, gates * units),
    )
    bias = context.arrays.get("bias")
    if (
        gates > 1 and bias is not None and bias.shape == (2 * gates * units,)
    ):  # no other layout has such a bias
        kernel, recurrent, bias = from_cudnn(gates, kernel, recurrent, bias)
        context.arrays = context.arrays | {"bias": bias}
    return kernel.T, recurrent.T, units


def _functions(context, gated=True):
    """activation and recurrent_activation: functions of one number, or a softmax of all units."""
    functions = {"activation": context.config.activation("activation", "tanh")}
    if gated:
        name = "recurrent_activation"
        default = (
            None
            if name in context.config.values
            else context.version.recurrent_activation(context.layer.where)
        )
        functions[name] = context.config.activation(name, default)
    for name, function in functions.items():
        if function == "log_softmax":
            raise context.config.unsupported(name, function, "an elementwise function, or softmax")
    return functions


def _simple_rnn(context):
    weight, recurrent, units = _arrays(context, 1)
    return layers.SimpleRNN, {
        "weight": weight,
        "recurrent_weight": recurrent,
        "bias": context.bias(units),
        **_functions(context, gated=False),
    }


def _lstm(context):
    """Keras's gates i f c o are the graph's i f g o."""
    weight, recurrent, units = _arrays(context, 4)
    return layers.LSTM, {
        "weight": weight,
        "recurrent_weight": recurrent,
        "bias": context.bias(4 * units),
        **_functions(context),
    }


def _gru(context):
    """Keras's gates z r h are the graph's z r n; a bias of two rows holds the recurrent one second."""
    weight, recurrent, units = _arrays(context, 3)
    bias = context.arrays.get("bias") if context.config.flag("use_bias", True) else None
    two_rows = bias is not None and bias.ndim == 2
    if "reset_after" in context.config.values:
        reset_after = context.config.flag("reset_after")
    elif bias is not None or context.version.recent:
        reset_after = two_rows or bias is None
    else:
        number = context.version.number(
            "reset_after, which is missing, has had two defaults", context.layer.where
        )
        if number[0] < 3 and "tf" in context.version.text:
            raise UnsupportedModelError(
                "the file does not say reset_after, and its default changed",
                where=context.layer.where,
                found=context.version.text,
            )
        reset_after = number[0] >= 3
    if "reset_after" not in context.config.values and bias is None:
        context.assumptions.append(
            f"layer {context.name!r} (GRU): reset_after={reset_after} taken, the default of Keras "
            f"{context.version.text}; without a bias nothing in the weights tells"
        )
    fields = {
        "weight": weight,
        "recurrent_weight": recurrent,
        "reset_after": reset_after,
        **_functions(context),
    }
    if bias is None or not reset_after:
        return layers.GRU, fields | {"bias": context.bias(3 * units)}
    both = context.array("bias", 2, 3 * units)
    return layers.GRU, fields | {"bias": both[0], "recurrent_bias": both[1]}


def _cudnn(cell, **fixed):
    """CuDNNLSTM and CuDNNGRU have no options for what cuDNN computes: tanh, sigmoid, biases."""

    def read(context):
        context.config.values = context.config.values | fixed
        return cell(context)

    return read


CELLS = {
    "SimpleRNN": _simple_rnn,
    "SimpleRNNCell": _simple_rnn,
    "LSTM": _lstm,
    "LSTMCell": _lstm,
    "GRU": _gru,
    "GRUCell": _gru,
    "CuDNNLSTM": _cudnn(_lstm, activation="tanh", recurrent_activation="sigmoid", use_bias=True),
    "CuDNNGRU": _cudnn(
        _gru, activation="tanh", recurrent_activation="sigmoid", use_bias=True, reset_after=True
    ),
}


def _normalised_cell(context):
    """The textbook's LNSimpleRNNCell: SimpleRNNCell(units, activation=None), LayerNormalization(), then the
    activation.
    """
    found = {}
    for path, array in context.arrays.items():
        owner, _, last = path.replace("/vars/", "/").rpartition("/")
        owner, last = owner.rpartition("/")[2], last.partition(":")[0]
        for start, roles in (
            ("simple_rnn_cell", ("kernel", "recurrent_kernel", "bias")),
            ("layer_norm", ("gamma", "beta")),
        ):
            if owner.startswith(start):
                found[roles[int(last)] if last in ("0", "1", "2")[: len(roles)] else last] = array
    if set(found) != {"kernel", "recurrent_kernel", "bias", "gamma", "beta"} or len(context.arrays) != 5:
        raise _unknown(context, f"its arrays are {', '.join(context.arrays) or 'missing'}")
    context.arrays = found
    weight, recurrent, units = _arrays(context, 1)
    context.assumptions.append(
        f"layer {context.name!r} ({context.layer.class_name}): taken for the textbook's cell, "
        "activation(LayerNormalization(SimpleRNNCell(x, h))), with epsilon 0.001 and the activation after "
        "the normalisation."
    )
    functions = _functions(context, gated=False)
    if functions["activation"] == "softmax":
        raise context.config.unsupported("activation", "softmax", "an elementwise function")
    norm = {
        "norm": "gates",
        "gamma": context.array("gamma", units),
        "beta": context.array("beta", units),
        "epsilon": 1e-3,
    }
    return layers.SimpleRNN, {
        "weight": weight,
        "recurrent_weight": recurrent,
        "bias": context.array("bias", units),
        **functions,
        **norm,
    }


def custom_layers(context) -> list[layers.Layer]:
    """The layers that the caller's function for a custom class makes of its options and arrays."""
    make = context.custom_objects.get(context.layer.class_name) or context.custom_objects.get(
        context.layer.class_name.rpartition(">")[2]
    )
    if make is None:
        raise _unknown(context)
    answered = make(
        copy.deepcopy(context.layer.config), {path: array.copy() for path, array in context.arrays.items()}
    )
    answered = list(answered) if isinstance(answered, (list, tuple)) else [answered]
    if not answered or not all(isinstance(x, layers.Layer) for x in answered):
        raise UnsupportedModelError(
            "the function in custom_objects must return an rnnrt layer, or a list of them",
            where=context.layer.where,
            found=repr(answered)[:80],
        )
    return answered


def fields_of(layer):
    """A layer's fields but its name and inputs."""
    return {
        f.name: getattr(layer, f.name) for f in dataclasses.fields(layer) if f.name not in ("name", "inputs")
    }


def _unknown(context, why=None):
    name = context.layer.class_name
    return UnsupportedModelError(
        f"the custom class {name!r} is not known here" + (f" ({why})" if why else ""),
        where=context.layer.where,
        expected="one of Keras's own layers or cells, or the textbook's LNSimpleRNNCell",
        fix=f"Say what it is: custom_objects={{{name!r}: f}}, where f(config, arrays) returns an rnnrt "
        f"layer.",
    )


def _custom_cells(context):
    name = context.layer.class_name
    if not isinstance(context.arrays, Live) and (
        name.rpartition(">")[2] == "LNSimpleRNNCell"
        and {"units", "activation"} <= set(context.layer.config)
        and not {name, "LNSimpleRNNCell"} & set(context.custom_objects)
    ):
        cells = _normalised_cell(context)
        context.config.harmless("dtype")
        context.config.finish()
        return [cells]
    if (stepwise := context.importer.cell_of(context)) is not None:
        return [(stepwise, {})]
    cells = custom_layers(context)
    if any(type(x) not in (layers.SimpleRNN, layers.LSTM, layers.GRU) or x.reverse for x in cells):
        raise UnsupportedModelError(
            "the function in custom_objects must describe a cell by SimpleRNN, LSTM or GRU layers, not "
            "reversed",
            where=context.layer.where,
        )
    return [(type(x), fields_of(x)) for x in cells]


def _cells(context) -> list:
    """The (class, fields) of every cell in a recurrent layer or cell, bottom first."""
    layer = context.layer
    if layer.class_name in CELLS and not layer.custom:
        kind, cell = CELLS[layer.class_name](context)
        if "softmax" in (cell.get("activation"), cell.get("recurrent_activation")):
            kind, cell = WrittenOut(context, kind, cell), {}
        cells = [(kind, cell)]
    elif layer.class_name == "RNN" and not layer.custom:
        context.config.value("cell")
        cells = _cells(context.inside(inner(layer, "cell"), _below(context, "cell")))
    elif layer.class_name == "StackedRNNCells" and not layer.custom:
        context.config.value("cells")
        context.config.only("reverse_state_order", False)
        folders = _below(context, "cells")
        cells = [
            c
            for child, folder in children(layer, "cells")
            for c in _cells(context.inside(child, folders.get(folder, {})))
        ]
    else:
        return _custom_cells(context)
    context.config.harmless("dtype", *_HARMLESS)
    if layer.class_name.endswith(("Cell", "Cells")):
        context.config.finish()
    return cells


def _below(context, name):
    found = context.arrays.get(name, {})
    if not isinstance(found, dict):
        raise ModelFileError(f"the arrays of {name} are missing", where=context.layer.where)
    return found


# ---- layers ------------------------------------------------------------------------------------------------


@dataclass
class _Run:
    """A recurrent layer at work: every frame's output at its own frame, the last one computed, all final
    states. ``unrolled``: the mask of frames that Keras sets to 0 where it unrolls a layer that goes
    backwards: outputs in the order they are computed, by the mask in the order of the frames.
    """

    sequence: str
    last: str | None
    states: list[str]
    reverse: bool
    return_sequences: bool
    return_state: bool
    unrolled: str | None = None

    def output(self, context, suffix, flipped=False):
        """Keras's output: the sequence in the order it was computed (``flipped``: in the other), or the last
        of it.
        """
        if not self.return_sequences and self.last:
            return self.last
        if not self.return_sequences:  # what a masked frame gives may be another than the state
            y = self.sequence
            y = context.add(layers.Reverse, y, suffix=f"{suffix}.reverse") if self.reverse else y
            return context.add(layers.Last, y, suffix=f"{suffix}.last")
        if self.unrolled:
            y = context.add(layers.Reverse, self.sequence, suffix=f"{suffix}.computed")
            wide = context.mask_values.wide(self.unrolled, context.width(y))
            y = context.add(layers.Multiply, y, wide, suffix=f"{suffix}.zeroed")
            return context.add(layers.Reverse, y, suffix=suffix) if flipped else y
        return (
            context.add(layers.Reverse, self.sequence, suffix=suffix)
            if self.reverse != flipped
            else self.sequence
        )


def _run(context, x, initial, both=False) -> _Run:
    """The recurrent layer; ``both``: as one of the two inside a Bidirectional."""
    config, mask = context.config, context.mask
    zero = config.flag("zero_output_for_mask", False)
    config.only("time_major", False)
    unroll = config.flag("unroll", False)
    if config.flag("stateful", False):
        context.assumptions.append(
            f"{context.layer.where}: stateful=True; here every call starts from zeros, and a stream keeps "
            f"its state until reset."
        )
    reverse, sequences, state = (
        config.flag(name, False) for name in ("go_backwards", "return_sequences", "return_state")
    )
    if context.layer.class_name != "RNN" and isinstance(context.arrays.get("cell"), dict):
        context.arrays = context.arrays["cell"]
    cells = _cells(context)
    config.finish()
    wanted = sum(len(kind.states) for kind, _ in cells)
    if len(initial) not in (0, wanted):
        raise ModelFileError(
            "the initial state is incomplete",
            where=context.layer.where,
            expected=f"{wanted} tensors",
            found=str(len(initial)),
        )
    fields, unrolled = {"reverse": reverse}, None
    if mask:
        standalone = _standalone(context)
        if initial and standalone:
            raise UnsupportedModelError(
                "what a masked frame before the first real one gives depended on the backend in Keras 2",
                where=context.layer.where,
                found=f"initial_state and the mask of {context.masks[0].where}",
            )
        zero = sequences and not standalone if both else zero
        unrolled = mask if zero and reverse and sequences and unroll else None
        fields |= {"mask": mask, "masked_output": "zero" if zero and not unrolled else "hold"}
    last_is_state = not mask or not (zero or initial)
    initial, states = list(initial), []
    for number, (kind, cell) in enumerate(cells):
        names = kind.states
        own, initial = initial[: len(names)], initial[len(names) :]
        if not isinstance(kind, type):  # a cell of the user's
            last_is_state, kind, cell = False, layers.Scan, kind.fields(x, bool(own))
        x = context.add(kind, x, *own, suffix=f".{number}" if len(cells) > 1 else "", **cell | fields)
        states += [f"{x}:{s}" for s in names]
    return _Run(x, f"{x}:h" if last_is_state else None, states, reverse, sequences, state, unrolled)


def _standalone(context):
    """Whether Keras 2 apart from TensorFlow wrote the file: its Bidirectional lets masked frames hold."""
    what = "masked frames of a Bidirectional are 0 in tf.keras only"
    number = context.version.number(what, context.layer.where)
    return number < (2, 4) and "tf" not in context.version.text


def recurrent(context, x, *initial):
    """SimpleRNN, LSTM, GRU, CuDNNLSTM, CuDNNGRU and RNN: the output, then with return_state the final
    states.
    """
    run = _run(context, x, initial)
    return [run.output(context, ".processed"), *(run.states if run.return_state else ())]


def bidirectional(context, x, *initial):
    """Two layers in opposite directions, merged; without return_sequences, the last output each of them
    computed.
    """
    config = context.config
    config.value("layer")
    config.harmless(
        "dtype",
        "go_backwards",
        "return_sequences",
        "return_state",
        "stateful",
        "weights",
        "num_constants",
        "input_dim",
        "input_length",
    )
    backward = inner(context.layer, "backward_layer" if config.value("backward_layer", None) else "layer")
    if not config.values.get("backward_layer"):
        backward = dataclasses.replace(
            backward,
            config=backward.config | {"go_backwards": not backward.config.get("go_backwards", False)},
        )
    half = len(initial) // 2
    halves = []
    for layer, folder, states in (
        (inner(context.layer, "layer"), "forward", initial[:half]),
        (backward, "backward", initial[half:]),
    ):
        if layer.custom or layer.class_name not in RECURRENT or layer.class_name == "Bidirectional":
            raise UnsupportedModelError(
                f"holds a {layer.class_name}",
                where=context.layer.where,
                expected="one of Keras's recurrent layers",
            )
        halves.append(
            _run(
                context.inside(layer, _below(context, f"{folder}_layer"), f"{context.name}.{folder}"),
                x,
                states,
                both=True,
            )
        )
    first, second = halves
    if (first.return_sequences, first.return_state) != (second.return_sequences, second.return_state):
        raise ModelFileError("the two directions return different things", where=context.layer.where)
    outputs = (
        first.output(context, ".forward.processed"),
        second.output(context, ".backward.processed", flipped=True),
    )
    return [*_merged(context, outputs), *(first.states + second.states if first.return_state else ())]


def _merged(context, outputs):
    match mode := context.config.value("merge_mode", "concat"):
        case "concat":
            return [context.add(layers.Concatenate, *outputs)]
        case "sum":
            return [context.add(layers.Add, *outputs)]
        case "mul":
            return [context.add(layers.Multiply, *outputs)]
        case "ave":
            return [average(context, *outputs)]
        case None:
            return list(outputs)
    raise context.config.unsupported("merge_mode", mode, "concat, sum, mul, ave or null")


RECURRENT = dict.fromkeys(("SimpleRNN", "LSTM", "GRU", "CuDNNLSTM", "CuDNNGRU", "RNN"), recurrent) | {
    "Bidirectional": bidirectional
}
