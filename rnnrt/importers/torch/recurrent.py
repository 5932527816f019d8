"""The words of PyTorch's recurrent operators, whose weights come as one list. Imports no torch."""

from __future__ import annotations

from ...errors import UnsupportedModelError
from ..axes.values import Constant, shown
from ..operators.table import Word, takes, vocabulary
from .layers import rnn_cells

_KINDS = {"lstm": "LSTM", "gru": "GRU", "rnn_tanh": "RNN", "rnn_relu": "RNN"}
_STEMS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def _nonlinearity(word):
    return {"nonlinearity": word.removeprefix("rnn_").removesuffix("_cell")} if "rnn" in word else {}


def _arrays(params):
    wrong = next((p for p in params if not isinstance(p, Constant)), None)
    if wrong is not None:
        raise UnsupportedModelError("the weights must be parameters", found=str(wrong))
    return [p.array for p in params]


def stacks(word):
    """What a whole stack of layers takes, from what the operator ``word`` is given."""
    kind = _KINDS[word]

    def prepare(x, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first):
        if train and dropout:
            raise UnsupportedModelError(
                "dropout between the layers is active", fix="Call eval() on the module before it is exported."
            )
        directions = 2 if bidirectional else 1
        stems = list(_STEMS if has_biases else _STEMS[:2])
        if kind == "LSTM" and len(params) == num_layers * directions * (len(stems) + 1):
            stems.append("weight_hr")
        if num_layers < 1 or len(params) != num_layers * directions * len(stems):
            raise UnsupportedModelError(
                "the number of weights does not fit",
                expected=f"{len(stems)} a layer and direction of {num_layers} layers",
                found=str(len(params)),
            )
        names = [
            f"{stem}_l{layer}{end}"
            for layer in range(num_layers)
            for end in ("", "_reverse")[:directions]
            for stem in stems
        ]
        _, cells = rnn_cells(dict(zip(names, _arrays(params))), kind, where=word, **_nonlinearity(word))
        return {"x": x, "cells": cells, "batch_first": bool(batch_first)} | _initial(kind, hx)

    return prepare


def steps(word):
    """What one step of one layer takes."""
    kind = _KINDS[word.removesuffix("_cell")]

    def prepare(x, hx, w_ih, w_hh, b_ih=None, b_hh=None):
        params = [w_ih, w_hh] + [b for b in (b_ih, b_hh) if b is not None]
        names = [f"{stem}_l0" for stem in _STEMS]
        _, (cells,) = rnn_cells(dict(zip(names, _arrays(params))), kind, where=word, **_nonlinearity(word))
        return {"x": x, "fields": cells[0]} | _initial(kind, hx)

    return prepare


def _initial(kind, hx):
    if kind != "LSTM":
        return {"initial_h": hx}
    if not isinstance(hx, (tuple, list)) or len(hx) != 2:
        raise UnsupportedModelError("the initial state is not (h_0, c_0)", found=shown(hx)[:200])
    return {"initial_h": hx[0], "initial_c": hx[1]}


_STACK = (
    takes("input", "x"),
    takes("hx"),
    takes("params"),
    takes("has_biases"),
    takes("num_layers"),
    takes("dropout"),
    takes("train"),
    takes("bidirectional"),
    takes("batch_first"),
)
_STEP = (
    takes("input", "x"),
    takes("hx"),
    takes("w_ih"),
    takes("w_hh"),
    takes("b_ih", "b_ih", None),
    takes("b_hh", "b_hh", None),
)
_OPERATORS = {"lstm": "lstm", "gru": "gru", "rnn_tanh": "rnn", "rnn_relu": "rnn"}
RECURRENCE = vocabulary(
    {word: Word(own, *_STACK, prepare=stacks(word)) for word, own in _OPERATORS.items()}
    | {f"{w}_cell": Word(f"{own}_step", *_STEP, prepare=steps(f"{w}_cell")) for w, own in _OPERATORS.items()}
)
