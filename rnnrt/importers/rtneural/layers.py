"""RTNeural's layers: arrays in Keras's order and orientation, run frame by frame from states of zeros."""

from __future__ import annotations

from ...errors import ModelFileError, UnsupportedModelError
from ...layers import GRU, LSTM, Activation, BatchNormalization, Dense, Softmax
from ..captures import Net
from ..containers.json_file import Fields, array

#: Activations by RTNeural's names, and our own; softmax is a layer.
_FUNCTIONS = {"tanh": "tanh", "relu": "relu", "sigmoid": "sigmoid", "elu": ("elu", 1.0)}


def add_layer(net: Net, fields: Fields, x: str, time: int | None) -> str:
    """The layer of one object over ``x``, in a network for ``time`` frames where it states a number."""
    kind = fields.text("type")
    if kind not in _LAYERS:
        raise UnsupportedModelError(
            f"the layer type {kind[:40]!r} is not supported",
            where=fields.where,
            expected=f"one of {', '.join(_LAYERS)}",
            fix="RTNeural's exporter writes 'unknown' for layers it does not know: give the Keras model."
            if kind == "unknown"
            else None,
        )
    shape, name = fields.list("shape"), kind.replace("-", "_")
    y = _LAYERS[kind](net, fields, name, x)
    if not shape or shape[-1] != net.width(y):
        raise ModelFileError(
            "the shape does not fit the weights",
            where=fields.where,
            expected=f"{net.width(y)} at the end",
            found=str(shape)[:80],
        )
    if time is not None and len(shape) == 3 and type(shape[1]) is int and shape[1] != time:
        raise UnsupportedModelError(
            "it was trained on windows, with a padding or stride that the file does not tell",
            where=fields.where,
            expected=f"{time} frames, as in in_shape: a causal network",
            found=f"{shape[1]} frames",
            fix="Give the Keras model it was made from.",
        )
    fields.end()
    return y


def _weights(fields, *choices):
    """The arrays of a layer as {name: value not checked yet}, by the one of ``choices``, tuples of names,
    that has as many.
    """
    values = fields.list("weights")
    names = next((names for names in choices if len(names) == len(values)), None)
    if names is None:
        raise ModelFileError(
            "does not hold the layer's arrays",
            where=fields.place("weights"),
            expected=" or ".join(", ".join(names) or "none" for names in choices),
            found=f"{len(values)} arrays",
        )
    return dict(zip(names, values))


def _array(fields, values, name, *shape):
    return array(values[name], shape, f"{fields.place('weights')}, {name}") if name in values else None


def _activated(net, fields, name, x):
    """``x`` through the field ``activation``."""
    word = fields.text("activation", "")
    if word == "softmax":
        return net.add(Softmax, f"{name}.softmax", x)
    if word == "":
        return x
    if word not in _FUNCTIONS:
        raise UnsupportedModelError(
            f"the activation {word[:40]!r} is not supported",
            where=fields.place("activation"),
            expected=", ".join((*_FUNCTIONS, "softmax")),
        )
    return net.add(Activation, f"{name}.activation", x, activation=_FUNCTIONS[word])


def _dense(net, fields, name, x):
    values = _weights(fields, ("kernel", "bias"), ("kernel",))
    kernel = _array(fields, values, "kernel", net.width(x), None)
    bias = _array(fields, values, "bias", kernel.shape[1])
    return _activated(net, fields, name, net.add(Dense, name, x, weight=kernel.T, bias=bias))


def _conv1d(net, fields, name, x):
    taps, dilation = _only(fields, "kernel_size"), _only(fields, "dilation")
    groups = fields.count("groups", 1)
    values = _weights(fields, ("kernel", "bias"), ("kernel",))
    kernel = _array(fields, values, "kernel", taps, max(net.width(x) // groups, 1), None)
    bias = _array(fields, values, "bias", kernel.shape[2])
    weight = kernel.transpose(2, 1, 0)
    y = net.convolution(name, x, weight, bias, dilation=dilation, groups=groups)
    return _activated(net, fields, name, y)


def _only(fields, key):
    """The number of a field that is a list of one."""
    values = fields.counts(key)
    if len(values) != 1:
        raise fields.refuse(key, "a list of one number", values)
    return values[0]


def _cell(net, fields, gates, x):
    """(weight, recurrent weight, the arrays) of an LSTM or GRU. It runs tanh and sigmoid, as RTNeural does
    whatever the field ``activation`` says.
    """
    word = fields.text("activation", "")
    if word not in ("", "tanh"):
        place = fields.where.rpartition(", ")[2]
        net.assume(
            f"{place}: its activation is tanh, as RTNeural runs it, though the file says {word[:40]!r}"
        )
    values = _weights(fields, ("kernel", "recurrent_kernel", "bias"))
    kernel = _array(fields, values, "kernel", net.width(x), None)
    rows = kernel.shape[1]
    if rows % gates:
        raise ModelFileError(
            "does not hold the same number of columns for every gate",
            where=f"{fields.place('weights')}, kernel",
            expected=f"a multiple of {gates}",
            found=str(rows),
        )
    recurrent = _array(fields, values, "recurrent_kernel", rows // gates, rows)
    return kernel.T, recurrent.T, values


def _lstm(net, fields, name, x):
    weight, recurrent, values = _cell(net, fields, 4, x)
    bias = _array(fields, values, "bias", len(weight))
    return net.add(LSTM, name, x, weight=weight, recurrent_weight=recurrent, bias=bias)


def _gru(net, fields, name, x):
    weight, recurrent, values = _cell(net, fields, 3, x)
    bias, recurrent_bias = _array(fields, values, "bias", 2, len(weight))
    biases = {"bias": bias, "recurrent_bias": recurrent_bias}
    return net.add(GRU, name, x, weight=weight, recurrent_weight=recurrent, **biases)


def _prelu(net, fields, name, x):
    fields.text("activation", "")
    slopes = _array(fields, _weights(fields, ("alpha",)), "alpha", 1, None)[0]
    return net.prelu(name, x, slopes)


def _batchnorm(net, fields, name, x):
    fields.text("activation", "")
    values = _weights(fields, ("gamma", "beta", "mean", "variance"), ("mean", "variance"))
    arrays = {key: _array(fields, values, key, net.width(x)) for key in values}
    return net.add(BatchNormalization, name, x, epsilon=float(fields.number("epsilon")), **arrays)


def _activation(net, fields, name, x):
    _weights(fields, ())
    return _activated(net, fields, name, x)


_LAYERS = {
    "dense": _dense,
    "time-distributed-dense": _dense,
    "conv1d": _conv1d,
    "lstm": _lstm,
    "gru": _gru,
    "prelu": _prelu,
    "batchnorm": _batchnorm,
    "activation": _activation,
}
