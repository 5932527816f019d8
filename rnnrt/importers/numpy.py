"""The textbook's parameter dictionaries (see ``rnnrt.textbook``) as a Graph.

Inputs, in the textbook's axes: ``x`` (n_x, m, T_x) and the first hidden state ``a0`` (n_a, m), which may be
left out (zeros). Outputs: ``a`` the hidden state and ``y`` the softmax at every step, for an LSTM also ``c``
the cell state at every step.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..errors import DTypeError, ShapeError, UnsupportedModelError
from ..graph import Graph, GraphBuilder
from ..layers import LSTM, Dense, SimpleRNN, Softmax
from ..textbook import LSTM_PARAMETERS, RNN_PARAMETERS, read_parameters


def is_textbook(names):
    """Whether a dictionary with these names is meant as textbook parameters: it has a name only the textbook
    uses.
    """
    return bool({"Wax", "Waa", "Wya", "Wf", "Wi", "Wc", "Wo", "Wy"} & set(names))


def read(parameters) -> Graph:
    """The Graph of {Wax, Waa, Wya, ba, by} or {Wf, bf, Wi, bi, Wc, bc, Wo, bo, Wy, by}.

    Raises DTypeError where it is not a dictionary of real arrays, UnsupportedModelError for names of neither
    kind, ShapeError for a missing name or a wrong shape.
    """
    if not isinstance(parameters, Mapping):
        raise DTypeError("the parameters must be a dictionary of arrays", found=type(parameters).__name__)
    if not is_textbook(parameters):
        raise UnsupportedModelError(
            "these are not the textbook's parameters",
            expected=f"{', '.join(RNN_PARAMETERS)} (RNN) or {', '.join(LSTM_PARAMETERS)} (LSTM)",
            found=", ".join(map(str, parameters)) or "nothing",
        )
    lstm = len(set(parameters) & set(LSTM_PARAMETERS)) > len(set(parameters) & set(RNN_PARAMETERS))
    shapes = LSTM_PARAMETERS if lstm else RNN_PARAMETERS
    extra = [str(name) for name in parameters if name not in shapes]
    if extra:
        kind = "LSTM" if lstm else "RNN"
        raise UnsupportedModelError(
            f"the textbook's {kind} has no {', '.join(extra)}", expected=", ".join(shapes)
        )
    arrays, n_x, n_a, _ = read_parameters(parameters, shapes)
    for name, array in arrays.items():
        if np.any(np.isfinite(array) & (np.abs(array) > np.finfo(np.float32).max)):
            raise ShapeError(
                f"{name} holds numbers beyond float32's range",
                found=f"{np.abs(array[np.isfinite(array)]).max():g}",
            )
    b = GraphBuilder()
    x = b.input("x", (n_x,), axes="fbt")
    a0 = b.input("a0", (n_a,), time=False, axes="fb")
    if lstm:
        hidden = _lstm(b, x, a0, arrays, n_a)
    else:
        hidden = b.add(
            SimpleRNN,
            "rnn",
            x,
            a0,
            weight=arrays["Wax"],
            recurrent_weight=arrays["Waa"],
            bias=arrays["ba"][:, 0],
        )
    y = b.add(Dense, "output", hidden, weight=arrays["Wy" if lstm else "Wya"], bias=arrays["by"][:, 0])
    b.output("a", hidden, "fbt")
    b.output("y", b.add(Softmax, "softmax", y), "fbt")
    if lstm:
        b.output("c", f"{hidden}:cells", "fbt")
    return b.graph(metadata={"source": "numpy", "optional_inputs": ["a0"]})


def _lstm(b, x, a0, arrays, n_a):
    gates = [arrays[f"W{gate}"] for gate in "fico"]
    return b.add(  # the textbook starts c at zero, whatever a0 is
        LSTM,
        "lstm",
        x,
        a0,
        weight=ifgo(*(w[:, n_a:] for w in gates)),
        recurrent_weight=ifgo(*(w[:, :n_a] for w in gates)),
        bias=ifgo(*(arrays[f"b{gate}"][:, 0] for gate in "fico")),
    )


def ifgo(f, i, c, o):
    """The textbook's four gates f i c o, one array each, as one array with gate rows i f g o."""
    return np.concatenate([i, f, c, o])
