"""The forward and backward passes of a plain RNN and an LSTM as the textbook's programming assignment writes
them, in float64 NumPy.

Columns are examples and time comes last: ``x`` (n_x, m, T_x), hidden states ``a`` (n_a, m, T_x), predictions
``y`` (n_y, m, T_x) after a softmax over axis 0. Every function works on all m examples at once; the caches
of a forward pass are what the backward pass reads. The forward passes are the oracle for ``from_numpy``, and
share nothing with the engine. The backward passes are for learning: the engine does not train.

A gradient d... is that of one number, the loss J, and has the shape of what it is the gradient of. The
backward passes begin at the hidden states, as the assignment's do: where the loss reads the predictions, as
the cross entropy with one-hot ``labels`` (n_y, m, T_x) does, ``da`` is W.T @ (y_pred - labels) at each step,
W being Wya (of the LSTM: Wy).

Parameters of the RNN: Wax (n_a, n_x), Waa (n_a, n_a), Wya (n_y, n_a), ba (n_a, 1), by (n_y, 1). Parameters of
the LSTM: Wf, Wi, Wc, Wo (n_a, n_a + n_x) over [a_prev; x_t], Wy (n_y, n_a), bf, bi, bc, bo (n_a, 1), by (n_y,
1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from .errors import DTypeError, ShapeError

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import ArrayLike

    from .annotations import Doubles, Parameters

#: name -> shape in the textbook's sizes; "n_a+n_x" is the height of [a_prev; x_t].
RNN_PARAMETERS: dict[str, tuple[str, str]] = {
    "Wax": ("n_a", "n_x"),
    "Waa": ("n_a", "n_a"),
    "Wya": ("n_y", "n_a"),
    "ba": ("n_a", "1"),
    "by": ("n_y", "1"),
}
LSTM_PARAMETERS: dict[str, tuple[str, str]] = {
    **{f"W{gate}": ("n_a", "n_a+n_x") for gate in "fico"},
    **{f"b{gate}": ("n_a", "1") for gate in "fico"},
    "Wy": ("n_y", "n_a"),
    "by": ("n_y", "1"),
}


def read_parameters(
    parameters: Parameters, shapes: dict[str, tuple[str, str]]
) -> tuple[dict[str, Doubles], int, int, int]:
    """({name: float64 array}, n_x, n_a, n_y) of a textbook dictionary; ``shapes`` is one of the tables above.

    Raises ShapeError for a missing name or a wrong shape, DTypeError for what is not a dictionary
    of real numbers.
    """
    if not isinstance(parameters, Mapping):
        raise DTypeError(
            "the parameters must be a dictionary of arrays",
            expected=", ".join(shapes),
            found=type(parameters).__name__,
        )
    missing = [name for name in shapes if name not in parameters]
    if missing:
        raise ShapeError(
            f"the parameters lack {', '.join(missing)}",
            expected=", ".join(shapes),
            found=", ".join(map(str, parameters)),
        )
    arrays = {name: _real(parameters[name], name) for name in shapes}
    for name, axes in shapes.items():
        if arrays[name].ndim != 2 or 0 in arrays[name].shape:
            raise ShapeError(
                f"{name} has the wrong shape",
                expected=f"({', '.join(axes)})",
                found=str(arrays[name].shape),
                fix=f"A bias is a column: {name}.reshape(-1, 1)."
                if axes[1] == "1" and arrays[name].ndim == 1
                else None,
            )
    n_y, n_a = arrays["Wya" if shapes is RNN_PARAMETERS else "Wy"].shape
    n_x = arrays["Wax"].shape[1] if shapes is RNN_PARAMETERS else arrays["Wf"].shape[1] - n_a
    if n_x < 1:
        wanted = f"({n_a}, {n_a} + n_x), its first {n_a} columns for a_prev"
        raise ShapeError("Wf has the wrong shape", expected=wanted, found=str(arrays["Wf"].shape))
    sizes = {"n_x": n_x, "n_a": n_a, "n_y": n_y, "n_a+n_x": n_a + n_x, "1": 1}
    for name, axes in shapes.items():
        if arrays[name].shape != tuple(sizes[a] for a in axes):
            raise ShapeError(
                f"{name} has the wrong shape",
                expected=f"({', '.join(axes)}) = {tuple(sizes[a] for a in axes)}",
                found=str(arrays[name].shape),
            )
    return arrays, n_x, n_a, n_y


def rnn_cell_forward(
    xt: ArrayLike, a_prev: ArrayLike, parameters: Parameters
) -> tuple[Doubles, Doubles, tuple[Any, ...]]:
    """One step of the RNN: xt (n_x, m), a_prev (n_a, m) -> a_next (n_a, m), yt_pred (n_y, m), cache.

    cache = (a_next, a_prev, xt, parameters).
    """
    p, n_x, n_a, _ = read_parameters(parameters, RNN_PARAMETERS)
    x, a = _columns(xt, "xt", n_x), _columns(a_prev, "a_prev", n_a)
    _same_examples(xt=x, a_prev=a)
    a_next = np.tanh(p["Wax"] @ x + p["Waa"] @ a + p["ba"])
    yt_pred = _softmax(p["Wya"] @ a_next + p["by"])
    return a_next, yt_pred, (a_next, a_prev, xt, parameters)


def rnn_forward(
    x: ArrayLike, a0: ArrayLike, parameters: Parameters
) -> tuple[Doubles, Doubles, tuple[list[tuple[Any, ...]], Any]]:
    """The RNN over T_x steps: x (n_x, m, T_x), a0 (n_a, m) -> a (n_a, m, T_x), y_pred (n_y, m, T_x), caches.

    caches = ([cache of each step], x).
    """
    _, n_x, n_a, n_y = read_parameters(parameters, RNN_PARAMETERS)
    frames = _sequence(x, n_x)
    _, m, steps = frames.shape
    a, y_pred, caches = np.zeros((n_a, m, steps)), np.zeros((n_y, m, steps)), []
    a_next = a0
    for t in range(steps):
        a_next, y_pred[:, :, t], cache = rnn_cell_forward(frames[:, :, t], a_next, parameters)
        a[:, :, t] = a_next
        caches.append(cache)
    return a, y_pred, (caches, x)


def lstm_cell_forward(
    xt: ArrayLike, a_prev: ArrayLike, c_prev: ArrayLike, parameters: Parameters
) -> tuple[Doubles, Doubles, Doubles, tuple[Any, ...]]:
    """One step of the LSTM: xt (n_x, m), a_prev and c_prev (n_a, m) -> a_next, c_next (n_a, m), yt_pred (n_y,
    m), cache.

    cache = (a_next, c_next, a_prev, c_prev, ft, it, cct, ot, xt, parameters).
    """
    p, n_x, n_a, _ = read_parameters(parameters, LSTM_PARAMETERS)
    x, a, c = _columns(xt, "xt", n_x), _columns(a_prev, "a_prev", n_a), _columns(c_prev, "c_prev", n_a)
    _same_examples(xt=x, a_prev=a, c_prev=c)
    concat = np.concatenate([a, x])
    ft = _sigmoid(p["Wf"] @ concat + p["bf"])
    it = _sigmoid(p["Wi"] @ concat + p["bi"])
    cct = np.tanh(p["Wc"] @ concat + p["bc"])
    c_next = ft * c + it * cct
    ot = _sigmoid(p["Wo"] @ concat + p["bo"])
    a_next = ot * np.tanh(c_next)
    yt_pred = _softmax(p["Wy"] @ a_next + p["by"])
    return a_next, c_next, yt_pred, (a_next, c_next, a_prev, c_prev, ft, it, cct, ot, xt, parameters)


def lstm_forward(
    x: ArrayLike, a0: ArrayLike, parameters: Parameters
) -> tuple[Doubles, Doubles, Doubles, tuple[list[tuple[Any, ...]], Any]]:
    """The LSTM over T_x steps, c starting at zero: x (n_x, m, T_x), a0 (n_a, m) -> a, y, c, caches.

    a and c (n_a, m, T_x), y (n_y, m, T_x); caches = ([cache of each step], x).
    """
    _, n_x, n_a, n_y = read_parameters(parameters, LSTM_PARAMETERS)
    frames = _sequence(x, n_x)
    _, m, steps = frames.shape
    a, c, y, caches = np.zeros((n_a, m, steps)), np.zeros((n_a, m, steps)), np.zeros((n_y, m, steps)), []
    a_next, c_next = a0, np.zeros((n_a, m))
    for t in range(steps):
        a_next, c_next, y[:, :, t], cache = lstm_cell_forward(frames[:, :, t], a_next, c_next, parameters)
        a[:, :, t], c[:, :, t] = a_next, c_next
        caches.append(cache)
    return a, y, c, (caches, x)


def rnn_cell_backward(da_next: ArrayLike, cache: tuple[Any, ...]) -> dict[str, Doubles]:
    """One step of the RNN backwards: da_next (n_a, m), the cache of rnn_cell_forward -> gradients.

    gradients = {"dxt" (n_x, m), "da_prev" (n_a, m), "dWax" (n_a, n_x), "dWaa" (n_a, n_a), "dba" (n_a, 1)}.

    Raises ShapeError for a da_next that is not like a_next, DTypeError for another cache.
    """
    a_next, a_prev, xt, parameters = _cache(cache, "a_next, a_prev, xt, parameters")
    p, n_x, n_a, _ = read_parameters(parameters, RNN_PARAMETERS)
    a_next, a_prev = _columns(a_next, "a_next", n_a), _columns(a_prev, "a_prev", n_a)
    x, da = _columns(xt, "xt", n_x), _like(da_next, "da_next", a_next)
    dz = (1 - a_next**2) * da  # of Wax @ xt + Waa @ a_prev + ba, what the tanh is taken of
    return {
        "dxt": p["Wax"].T @ dz,
        "da_prev": p["Waa"].T @ dz,
        "dWax": dz @ x.T,
        "dWaa": dz @ a_prev.T,
        "dba": dz.sum(axis=1, keepdims=True),
    }


def rnn_backward(da: ArrayLike, caches: tuple[list[tuple[Any, ...]], Any]) -> dict[str, Doubles]:
    """The RNN backwards through time: da (n_a, m, T_x), the caches of rnn_forward -> gradients.

    da is the gradient with respect to each hidden state where the loss reads it; what comes back from later
    steps is added here. gradients = {"dx" (n_x, m, T_x), "da0" (n_a, m), "dWax", "dWaa", "dba"}.

    Raises ShapeError for a da that is not like a, DTypeError for other caches.
    """
    steps, da = _sequence_backwards(da, caches)
    dx, sums, da_next = [], {}, np.zeros(da.shape[:2])
    for t in reversed(range(len(steps))):
        step = rnn_cell_backward(da[:, :, t] + da_next, steps[t])
        dx.append(step.pop("dxt"))
        da_next = step.pop("da_prev")
        sums = {name: sums.get(name, 0) + gradient for name, gradient in step.items()}
    return {"dx": np.stack(dx[::-1], axis=2), "da0": da_next, **sums}


def lstm_cell_backward(da_next: ArrayLike, dc_next: ArrayLike, cache: tuple[Any, ...]) -> dict[str, Doubles]:
    """One step of the LSTM backwards: da_next and dc_next (n_a, m), the cache of lstm_cell_forward ->
    gradients.

    dc_next is what comes back from later steps alone: what reaches c_next through a_next is added here.
    gradients = {"dxt" (n_x, m), "da_prev", "dc_prev" (n_a, m), "dWf", "dWi", "dWc", "dWo" (n_a, n_a + n_x),
    "dbf", "dbi", "dbc", "dbo" (n_a, 1)}.

    Raises ShapeError for a gradient that is not like its state, DTypeError for another cache.
    """
    *states, xt, parameters = _cache(cache, "a_next, c_next, a_prev, c_prev, ft, it, cct, ot, xt, parameters")
    p, n_x, n_a, _ = read_parameters(parameters, LSTM_PARAMETERS)
    names = ("a_next", "c_next", "a_prev", "c_prev", "ft", "it", "cct", "ot")
    a_next, c_next, a_prev, c_prev, ft, it, cct, ot = (
        _columns(state, name, n_a) for state, name in zip(states, names, strict=True)
    )
    x = _columns(xt, "xt", n_x)
    da, dc = _like(da_next, "da_next", a_next), _like(dc_next, "dc_next", c_next)
    tanh_c = np.tanh(c_next)
    dc = dc + da * ot * (1 - tanh_c**2)
    dz = {  # of W @ [a_prev; xt] + b of each gate
        "f": dc * c_prev * ft * (1 - ft),
        "i": dc * cct * it * (1 - it),
        "c": dc * it * (1 - cct**2),
        "o": da * tanh_c * ot * (1 - ot),
    }
    concat = np.concatenate([a_prev, x])
    dconcat = sum(p[f"W{gate}"].T @ dz[gate] for gate in "fico")
    return {
        "dxt": dconcat[n_a:],
        "da_prev": dconcat[:n_a],
        "dc_prev": dc * ft,
        **{f"dW{gate}": dz[gate] @ concat.T for gate in "fico"},
        **{f"db{gate}": dz[gate].sum(axis=1, keepdims=True) for gate in "fico"},
    }


def lstm_backward(da: ArrayLike, caches: tuple[list[tuple[Any, ...]], Any]) -> dict[str, Doubles]:
    """The LSTM backwards through time: da (n_a, m, T_x), the caches of lstm_forward -> gradients.

    da is as in rnn_backward; memory cells are given no gradient but what comes back from later steps.
    gradients = {"dx" (n_x, m, T_x), "da0" (n_a, m), "dWf", "dWi", "dWc", "dWo", "dbf", "dbi", "dbc", "dbo"}.

    Raises ShapeError for a da that is not like a, DTypeError for other caches.
    """
    steps, da = _sequence_backwards(da, caches)
    dx, sums, da_next, dc_next = [], {}, np.zeros(da.shape[:2]), np.zeros(da.shape[:2])
    for t in reversed(range(len(steps))):
        step = lstm_cell_backward(da[:, :, t] + da_next, dc_next, steps[t])
        dx.append(step.pop("dxt"))
        da_next, dc_next = step.pop("da_prev"), step.pop("dc_prev")
        sums = {name: sums.get(name, 0) + gradient for name, gradient in step.items()}
    return {"dx": np.stack(dx[::-1], axis=2), "da0": da_next, **sums}


def _cache(cache, names):
    if not isinstance(cache, tuple) or len(cache) != names.count(",") + 1:
        raise DTypeError(
            "this is not the cache of the forward step",
            expected=f"({names})",
            found=f"{len(cache)} values" if isinstance(cache, tuple) else type(cache).__name__,
        )
    return cache


def _sequence_backwards(da, caches):
    """The caches of the steps, and da as (n_a, m, T_x) float64 that fits them."""
    if not isinstance(caches, tuple) or len(caches) != 2 or not isinstance(caches[0], list) or not caches[0]:
        raise DTypeError(
            "these are not the caches of the forward pass",
            expected="([cache of each step], x), of one step or more",
            found=type(caches).__name__ if not isinstance(caches, tuple) else f"{len(caches)} values",
        )
    steps, array = caches[0], _real(da, "da")
    wanted = (*np.shape(steps[0][0]), len(steps))
    if array.shape != wanted:
        raise ShapeError("da has the wrong shape", expected=f"{wanted}, as a", found=str(array.shape))
    return steps, array


def _like(value, name, state):
    array = _real(value, name)
    if array.shape != state.shape:
        raise ShapeError(f"{name} has the wrong shape", expected=str(state.shape), found=str(array.shape))
    return array


def _real(value, name):
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise DTypeError(f"{name} must hold real numbers", found=str(array.dtype))
    return array.astype(np.float64)


def _columns(value, name, rows):
    array = _real(value, name)
    if array.ndim != 2 or array.shape[0] != rows:
        raise ShapeError(f"{name} has the wrong shape", expected=f"({rows}, m)", found=str(array.shape))
    return array


def _sequence(x, n_x):
    array = _real(x, "x")
    if array.ndim != 3 or array.shape[0] != n_x:
        raise ShapeError(
            "x has the wrong shape", expected=f"(n_x, m, T_x) with n_x = {n_x}", found=str(array.shape)
        )
    return array


def _same_examples(**arrays):
    if len({array.shape[1] for array in arrays.values()}) > 1:
        raise ShapeError(
            "the numbers of examples differ",
            expected="one m",
            found=", ".join(f"{n} {a.shape}" for n, a in arrays.items()),
        )


def _sigmoid(x):
    return np.exp(-np.logaddexp(0, -x))  # 1 / (1 + exp(-x)), which would overflow


def _softmax(x):
    e = np.exp(x - x.max(axis=0))
    return e / e.sum(axis=0)
