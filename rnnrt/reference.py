"""What each layer means, in float64 NumPy: the oracle for the engine, the importers and the files.

One function a layer, named by its ``kind``, written from the equations in the layer's docstring and sharing
nothing with the engine. Sequences are (batch, time, *features), values given once (batch, *features). Slow
and obvious on purpose.

Run in float32 it says by how much a framework may round, so its sums then have a written order and its
functions are rounded once from float64: NumPy's own float32 sums and functions round differently from one
processor to the next.
"""

from __future__ import annotations

import math

import numpy as np

from .errors import ShapeError
from .graph import Graph
from .layers import Input
from .layers.window import same_padding


def run(graph: Graph, inputs: dict, initial_state: dict | None = None, lengths=None, dtype=np.float64):
    """Evaluate ``graph`` on {input name: array}, canonical axes (batch, time, *features).

    Masks stand in ``inputs`` like any input. ``initial_state``: {"lstm/h": (batch, units), ...}, missing ones
    zero. ``lengths``: (batch,) true lengths
    with PyTorch's packing meaning: recurrent outputs past a row's end are 0, states freeze there, the reverse
    direction starts there. Returns ({output name: array}, {"lstm/h": final state, ...}).
    """
    values, states = {}, {}
    initial_state = {n: a for n, a in graph.start.items() if not n.endswith("/window")} | (
        initial_state or {}
    )
    for layer in graph.layers:
        if isinstance(layer, Input):
            x = np.asarray(inputs[layer.name], dtype)
            signal = graph.signals[layer.name]
            if x.shape[2 if signal.time else 1 :] != signal.features:
                raise ShapeError(
                    "the input does not fit", where=layer.where, expected=str(signal), found=str(x.shape)
                )
            values[layer.name] = x
            continue
        arguments = [values[r] for r in layer.inputs]
        masked = len(layer.reads) > len(layer.inputs)
        mask = values[layer.reads[-1]].reshape(arguments[0].shape[:2]) != 0 if masked else None
        if layer.kind == "scan":
            answers, finals = scan(layer, arguments, initial_state, lengths, mask)
            values |= dict(zip([layer.name, *(f"{layer.name}:{o}" for o in layer.extra_outputs)], answers))
            values |= {f"{layer.name}:{s}": a for s, a in finals.items()}
            states |= {f"{layer.name}/{s}": a for s, a in finals.items()}
        elif layer.keeps == "state":
            given = {s: a for s, a in zip(layer.states, arguments[1:])}
            given |= {
                s: _rows(np.asarray(initial_state[f"{layer.name}/{s}"], dtype), len(arguments[0]))
                for s in layer.states
                if f"{layer.name}/{s}" in initial_state
            }
            made = recurrent(layer, arguments[0], given, lengths, mask)
            for output in layer.extra_outputs:
                values[f"{layer.name}:{output}"] = made[output]
            values[layer.name] = made[""]
            states |= {f"{layer.name}/{s}": made[s] for s in layer.states}
        else:
            if layer.kind in ("reshape", "not_equal"):  # where do the features begin?
                arguments.append(graph.signals[layer.name])
            if f"{layer.name}/window" in graph.start:
                arguments.append(graph.start[f"{layer.name}/window"])
            if masked:
                arguments.append(mask)
            values[layer.name] = globals()[layer.kind](layer, *arguments)
    return {o.name: values[o.value] for o in graph.outputs}, states


def _rows(state, batch):
    """One start for every row."""
    return state if state.ndim > 1 else np.broadcast_to(state, (batch, *state.shape))


# ---- activations -------------------------------------------------------------------------------------------


def apply(function, x):
    """A Function of layers.FUNCTIONS, elementwise."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
        return _value(function.name, function.parameters, x.astype(np.float64)).astype(x.dtype)


def _value(name, p, x):
    match name:
        case "linear":
            return x
        case "relu":
            return np.maximum(x, 0)
        case "leaky_relu":
            return np.where(x > 0, x, p[0] * x)
        case "clipped_relu":
            return np.clip(x, 0, p[0])
        case "tanh":
            return np.tanh(x)
        case "sigmoid":
            return sigmoid(x)
        case "hard_sigmoid":
            return np.clip(x + 3, 0, 6) / 6
        case "hard_sigmoid_keras2":
            return np.clip(0.2 * x + 0.5, 0, 1)
        case "hard_tanh":
            return np.clip(x, -1, 1)
        case "exponential":
            return np.exp(x)
        case "elu":
            return np.where(x > 0, x, p[0] * np.expm1(np.minimum(x, 0)))
        case "selu":
            return 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0)))
        case "silu":
            return x * sigmoid(x)
        case "hard_silu":
            return x * np.clip(x + 3, 0, 6) / 6
        case "softsign":
            return x / (1 + np.abs(x))
        case "gelu_tanh":
            return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
        case "gelu":
            return 0.5 * x * _erfc(-x / np.sqrt(2))
        case "softplus":
            return np.logaddexp(0, x)
        case "log_sigmoid":
            return -np.logaddexp(0, -x)
        case "mish":
            return x * np.tanh(np.logaddexp(0, x))
        case "celu":
            return np.where(x > 0, x, p[0] * np.expm1(np.minimum(x, 0) / p[0]))
        case "soft_shrink":
            return np.sign(x) * np.maximum(np.abs(x) - p[0], 0)
        case "hard_shrink":
            return np.where(np.abs(x) > p[0], x, 0 * x)
        case "at_least":
            return np.maximum(x, p[0])
        case "at_most":
            return np.minimum(x, p[0])
        case "above":
            return (x > p[0]).astype(x.dtype)
        case "abs":
            return np.abs(x)
        case "square":
            return x * x
        case "sqrt":
            return np.sqrt(x)
        case "reciprocal":
            return 1 / x
        case "log":
            return np.log(x)
        case "sin":
            return np.sin(x)
        case "cos":
            return np.cos(x)
        case "erf":
            return 1 - _erfc(x)
    raise NotImplementedError(name)


_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


# ---- products ----------------------------------------------------------------------------------------------


#: Terms of one chain of a float32 sum: about as accurate as the BLAS libraries that frameworks run on.
_CHAIN = 64


def _product(x, weight):
    """x W^T. In float32: chains of _CHAIN terms, each product and each sum rounded, the chains' totals added
    in order.
    """
    if x.dtype != np.float32:
        return x @ weight.T.astype(x.dtype)
    columns = np.ascontiguousarray(weight.T, x.dtype)
    y = np.zeros(x.shape[:-1] + columns.shape[1:], x.dtype)
    for start in range(0, len(columns), _CHAIN):
        chain = np.zeros_like(y)
        for k in range(start, min(start + _CHAIN, len(columns))):
            chain += x[..., k, None] * columns[k]
        y += chain
    return y


def _sum(x):
    """Over the last axis, which stays with size 1."""
    return _product(x, np.ones((1, x.shape[-1])))


def _standardized(x, epsilon):
    """x less its mean over the last axis, divided by its standard deviation."""
    size = x.dtype.type(x.shape[-1])
    x = x - _sum(x) / size
    return x / np.sqrt(_sum(x * x) / size + x.dtype.type(epsilon))


def _affine(weight, x, bias):
    y = _product(x, weight)
    return y if bias is None else y + bias.astype(x.dtype)


def dense(layer, x, *added):
    y = _affine(layer.weight, x, layer.bias)
    for r in added:
        y = r + y
    return apply(layer.activation, y)


def embedding(layer, x):
    ids = x.astype(np.int64)
    if (ids != x).any() or (ids < 0).any() or (ids >= len(layer.weight)).any():
        raise ShapeError(
            "an id is out of range", where=layer.where, expected=f"whole numbers below {len(layer.weight)}"
        )
    return layer.weight.astype(x.dtype)[ids]


def conv1d(layer, x, before=None):
    """``before``: the frame that stands in place of the zeros on the left."""
    out, taps, per_group = layer.weight.shape
    x = _pad(layer, x, layer.span, 0.0)
    if before is not None:
        x[:, : layer.padding[0]] = before
    frames = (x.shape[1] - layer.span) // layer.stride + 1
    if frames < 1:
        raise ShapeError(
            "the sequence is shorter than the window",
            where=layer.where,
            expected=f"at least {layer.span - sum(layer.padding)} frames",
        )
    y = np.zeros((x.shape[0], frames, out), x.dtype)
    rows = out // layer.groups
    for group in range(layer.groups):
        part = x[:, :, group * per_group : (group + 1) * per_group]
        weight = layer.weight[group * rows : (group + 1) * rows]
        for tap in range(taps):
            start = tap * layer.dilation
            seen = part[:, start : start + (frames - 1) * layer.stride + 1 : layer.stride]
            y[:, :, group * rows : (group + 1) * rows] += _product(seen, weight[:, tap])
    return apply(layer.activation, y if layer.bias is None else y + layer.bias)


def conv2d(layer, x):
    """x (batch, time, bins, channels)."""
    out, taps, bin_taps, per_group = layer.weight.shape
    x = np.pad(_pad(layer, x, layer.span, 0.0), ((0, 0), (0, 0), layer.beside(x.shape[2]), (0, 0)))
    frames = (x.shape[1] - layer.span) // layer.stride + 1
    bins = (x.shape[2] - layer.bin_span) // layer.bin_stride + 1
    if frames < 1:
        raise ShapeError(
            "the sequence is shorter than the window",
            where=layer.where,
            expected=f"at least {layer.span - sum(layer.padding)} frames",
        )
    y = np.zeros((x.shape[0], frames, bins, out), x.dtype)
    rows = out // layer.groups
    for group in range(layer.groups):
        part = x[..., group * per_group : (group + 1) * per_group]
        made = slice(group * rows, (group + 1) * rows)
        for tap, bin_tap in np.ndindex(taps, bin_taps):
            start, first = tap * layer.dilation, bin_tap * layer.bin_dilation
            over_time = slice(start, start + (frames - 1) * layer.stride + 1, layer.stride)
            over_bins = slice(first, first + (bins - 1) * layer.bin_stride + 1, layer.bin_stride)
            y[..., made] += _product(part[:, over_time, over_bins], layer.weight[made, tap, bin_tap])
    return apply(layer.activation, y if layer.bias is None else y + layer.bias)


def conv_transpose1d(layer, x):
    out, taps, per_group = layer.weight.shape
    (batch, time), (left, _) = x.shape[:2], layer.padding
    frames = layer.frames_of(time)
    y = np.zeros((batch, max((time - 1) * layer.stride + layer.span, left + frames), out), x.dtype)
    rows = out // layer.groups
    for group in range(layer.groups):
        part = x[:, :, group * per_group : (group + 1) * per_group]
        weight = layer.weight[group * rows : (group + 1) * rows]
        for tap in range(taps):
            start = tap * layer.dilation
            reached = y[:, start : start + (time - 1) * layer.stride + 1 : layer.stride]
            reached[:, :, group * rows : (group + 1) * rows] += _product(part, weight[:, tap])
    y = y[:, left : left + frames]
    return apply(layer.activation, y if layer.bias is None else y + layer.bias)


def _pad(layer, x, span, value):
    left, right = same_padding(x.shape[1], span, layer.stride) if layer.padding == "same" else layer.padding
    return np.pad(x, ((0, 0), (left, right)) + ((0, 0),) * (x.ndim - 2), constant_values=value)


# ---- recurrence --------------------------------------------------------------------------------------------


def recurrent(layer, x, initial, lengths, mask):
    """All outputs of a SimpleRNN, LSTM or GRU: {"": sequence, "h": final, ...}. ``mask``: (batch, time) of
    frames that are real, or None.
    """
    batch, time, *bins = x.shape[:-1]
    sizes = {"h": layer.output_size, "c": layer.units}
    shapes = {s: (batch, *bins, sizes[s]) for s in layer.states}
    state = {s: np.reshape(initial.get(s, np.zeros(shape, x.dtype)), shape) for s, shape in shapes.items()}
    lengths = np.full(batch, time) if lengths is None or not layer.packed else np.asarray(lengths)
    sequence = np.zeros((batch, time, *bins, layer.output_size), x.dtype)
    cells = np.zeros((batch, time, *bins, layer.units), x.dtype)
    last = {
        "h": np.zeros_like(sequence[:, 0]),
        "c": np.zeros_like(cells[:, 0]),
    }  # outputs not masked: zeros before the first
    step = {"rnn": _rnn_step, "lstm": _lstm_step, "gru": _gru_step}[layer.kind]
    for t in reversed(range(time)) if layer.reverse else range(time):
        new = step(layer, x[:, t], **state)
        there = (t < lengths).reshape(-1, *(1 for _ in bins), 1)
        live = there if mask is None else there & mask[:, t].reshape(there.shape)
        state = {s: np.where(live, new[s], state[s]) for s in state}
        last |= {s: np.where(live, new[s], last[s] if layer.masked_output == "hold" else 0) for s in new}
        sequence[:, t] = np.where(there, last["h"], 0)
        cells[:, t] = np.where(there, last["c"], 0)
    return {"": sequence, "cells": cells, **state}


def _normalised(layer, preactivation, gates):
    """The cell's layer normalisation of the named gates' pre-activations (batch, len(gates) * units)."""
    if layer.norm == "none":
        return preactivation
    columns = np.concatenate([np.arange(g * layer.units, (g + 1) * layer.units) for g in gates])
    y = preactivation.reshape(*preactivation.shape[:-1], 1 if layer.norm == "joint" else len(gates), -1)
    y = _standardized(y, layer.epsilon).reshape(preactivation.shape)
    y = y if layer.gamma is None else y * layer.gamma[columns]
    return y if layer.beta is None else y + layer.beta[columns]


def _rnn_step(layer, x, h):
    s = _affine(layer.weight, x, layer.bias) + _product(h, layer.recurrent_weight)
    return {"h": apply(layer.activation, _normalised(layer, s, [0]))}


def _lstm_step(layer, x, h, c):
    i, f, g, o = _lstm_gates(layer, x, h).values()
    c = f * c + i * g
    c = np.clip(c, -layer.cell_clip, layer.cell_clip) if layer.cell_clip else c
    h = o * apply(layer.activation, c)
    return {"h": h if layer.projection is None else _product(h, layer.projection), "c": c}


def _gru_step(layer, x, h):
    z, _, n = _gru_gates(layer, x, h).values()
    return {"h": (1 - z) * n + z * h}


def gates(layer, x, h):
    """{gate: (rows, units)} of a SimpleRNN, LSTM or GRU, after their activations, from rows of frames and of
    the h before them: i f g o, or z r n; none of a SimpleRNN.
    """
    return {"rnn": lambda *_: {}, "lstm": _lstm_gates, "gru": _gru_gates}[layer.kind](layer, x, h)


def _lstm_gates(layer, x, h):
    s = _affine(layer.weight, x, layer.bias) + _product(h, layer.recurrent_weight)
    gates = zip("ifgo", np.split(_normalised(layer, s, range(4)), 4, axis=-1))
    return {n: apply(layer.activation if n == "g" else layer.recurrent_activation, s) for n, s in gates}


def _gru_gates(layer, x, h):
    p = _affine(layer.weight, x, layer.bias)
    units, u = layer.units, layer.recurrent_weight
    if layer.reset_after:
        q = _affine(layer.recurrent_weight, h, layer.recurrent_bias)
        zr = p[..., : 2 * units] + q[..., : 2 * units]
    else:
        zr = p[..., : 2 * units] + _product(h, u[: 2 * units])
    z, r = np.split(apply(layer.recurrent_activation, _normalised(layer, zr, [0, 1])), 2, axis=-1)
    candidate = r * q[..., 2 * units :] if layer.reset_after else _product(r * h, u[2 * units :])
    n = apply(layer.activation, _normalised(layer, p[..., 2 * units :] + candidate, [2]))
    return {"z": z, "r": r, "n": n}


def scan(layer, arguments, initial_state, lengths, mask):
    """([each answer at every step], {state: final}) of a Scan."""
    step, first, dtype = layer.graph, layer.per_step, arguments[0].dtype
    frames, given = arguments[:first], dict(zip(layer.started, arguments[first:]))
    once = dict(zip(step.inputs[first + len(layer.states) :], arguments[first + len(layer.started) :]))
    batch, time = len(arguments[0]), frames[0].shape[1] if frames else layer.steps
    states = {}
    for s in layer.states:
        shape = (batch, *layer.state_signal(s).features)
        stored = np.zeros(shape) if layer.start(s) is None else layer.start(s).reshape(shape[1:])
        start = initial_state.get(f"{layer.name}/{s}", given.get(s, stored))
        states[s] = np.broadcast_to(np.asarray(start, dtype).reshape((-1, *shape[1:])), shape)
    ends = np.full(batch, time) if lengths is None or not frames else np.asarray(lengths)
    answers = [
        np.zeros((batch, time, *step.signals[o.value].features), dtype) for o in step.outputs[len(states) :]
    ]
    last = [np.zeros_like(answer[:, 0]) for answer in answers]  # what was not masked: zeros before the first
    for t in reversed(range(time)) if layer.reverse else range(time):
        taken = dict(zip(step.inputs, [*(x[:, t] for x in frames), *states.values()])) | once
        made = list(run(step, taken, dtype=dtype)[0].values())
        there = t < ends
        live = there if mask is None else there & mask[:, t]
        shaped = lambda rows, y: rows.reshape((-1,) + (1,) * (y.ndim - 1))
        for k, (answer, y) in enumerate(zip(answers, made[len(states) :])):
            last[k] = np.where(shaped(live, y), y, last[k] if layer.masked_output == "hold" else 0)
            answer[:, t] = np.where(shaped(there, y), last[k], 0)
        states = {s: np.where(shaped(live, y), y, states[s]) for s, y in zip(states, made)}
    return answers, states


# ---- normalisation, activations ----------------------------------------------------------------------------


def batch_normalization(layer, x):
    y = (x - layer.mean.astype(x.dtype)) * layer.scale.astype(x.dtype)
    return y if layer.beta is None else y + layer.beta.astype(x.dtype)


def affine(layer, x):
    return x * layer.scale + layer.offset


def layer_normalization(layer, x):
    y = _standardized(x, layer.epsilon)
    y = y if layer.gamma is None else y * layer.gamma
    return y if layer.beta is None else y + layer.beta


def activation(layer, x):
    return apply(layer.activation, x)


def log_softmax(layer, x):
    x = x - x.max(-1, keepdims=True)
    return x - np.log(_sum(np.exp(x.astype(np.float64)).astype(x.dtype)).astype(np.float64)).astype(x.dtype)


def softmax(layer, x):
    e = np.exp((x - x.max(-1, keepdims=True)).astype(np.float64)).astype(x.dtype)
    return e / _sum(e)


def attention(layer, queries, keys, values, beside=None):
    """Row by row and head by head: the scores of every query with every key, softmax over the keys, the
    values by these weights.
    """
    masked_score = -np.inf if layer.masked_score is None else np.float32(layer.masked_score)
    y = np.zeros(queries.shape[:2] + values.shape[2:], queries.dtype)
    parts = lambda x: np.split(x, layer.heads, axis=-1)
    for b in range(len(queries)):
        hidden = np.zeros((queries.shape[1], keys.shape[1]), bool)
        more = 0 if beside is None or layer.key_input == "mask" else beside[b].reshape(-1)
        if beside is not None and layer.key_input == "mask":
            hidden |= beside[b].reshape(-1) == 0
        if layer.causal:
            hidden |= np.triu(np.ones_like(hidden), 1)
        for q, k, v, made in zip(parts(queries[b]), parts(keys[b]), parts(values[b]), parts(y[b])):
            if layer.weight is None:
                score = _product(q, k) * queries.dtype.type(layer.scale)
            else:
                sums = apply(layer.activation, q[:, None] + k)
                score = _affine(layer.weight[None], sums, layer.bias)[..., 0]
            score = apply(layer.score_activation, score) + more
            score = np.where(hidden, masked_score, score).astype(y.dtype)
            with np.errstate(invalid="ignore"):  # where all keys are masked
                made[:] = _product(softmax(layer, score), v.T)
    return y


# ---- pooling and time --------------------------------------------------------------------------------------


def _pooled(layer, x, fill, reduce):
    padded, step = _pad(layer, x.astype(np.float64), layer.span, fill), getattr(layer, "dilation", 1)
    frames = (padded.shape[1] - layer.span) // layer.stride + 1
    if frames < 1:
        raise ShapeError("the sequence is shorter than the window", where=layer.where)
    starts = [t * layer.stride for t in range(frames)]
    return np.stack([reduce(padded[:, t : t + layer.span : step], axis=1) for t in starts], axis=1).astype(
        x.dtype
    )


def max_pool1d(layer, x):
    return _pooled(layer, x, -np.inf, np.max)


def average_pool1d(layer, x):
    return _pooled(layer, x, 0.0, np.mean) if layer.count_padding else _pooled(layer, x, np.nan, np.nanmean)


def global_max_pool(layer, x):
    return x.max(1)


def global_average_pool(layer, x, mask=None):
    if mask is None:
        return x.astype(np.float64).mean(1).astype(x.dtype)
    real = mask.reshape(mask.shape + (1,) * (x.ndim - 2))
    with np.errstate(invalid="ignore"):  # a mean over no frames
        return (np.where(real, x, 0).astype(np.float64).sum(1) / real.sum(1)).astype(x.dtype)


def not_equal(layer, x, signal):
    frames = x.reshape(x.shape[: 2 if signal.time else 1] + (-1,))
    return (frames != layer.value).any(-1, keepdims=True).astype(x.dtype)


def global_sum(layer, x):
    return x.astype(np.float64).sum(1).astype(x.dtype)


def global_variance(layer, x):
    exact = x.astype(np.float64)
    squares = ((exact - exact.mean(1, keepdims=True)) ** 2).sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (squares / max(0.0, x.shape[1] - layer.correction)).astype(x.dtype)


def feature_max(layer, x):
    return x.max(-1, keepdims=True)


def crop(layer, x):
    if x.shape[1] < layer.span:
        raise ShapeError("the sequence is shorter than the window", where=layer.where)
    return x[:, layer.before : x.shape[1] - layer.after : layer.stride]


def pad(layer, x):
    more = {"reflect": 1, "circular": 0}.get(layer.mode)
    if more is not None and x.shape[1] < max(layer.before, layer.after) + more:
        raise ShapeError("the sequence is shorter than what is copied from it", where=layer.where)
    mode = {"replicate": "edge", "circular": "wrap"}.get(layer.mode, layer.mode)
    value = {"constant_values": np.float32(layer.value)} if mode == "constant" else {}
    return np.pad(x, ((0, 0), (layer.before, layer.after)) + ((0, 0),) * (x.ndim - 2), mode=mode, **value)


def first(layer, x):
    return x[:, 0]


def last(layer, x):
    return x[:, -1]


def reverse(layer, x):
    return x[:, ::-1]


def flatten(layer, x):
    return x.reshape(len(x), -1)


def unflatten(layer, x):
    return x.reshape(len(x), layer.length, -1)


def reshape(layer, x, signal):
    lead = 2 if signal.time else 1
    return x.reshape(x.shape[:lead] + layer.features)


def select(layer, x):
    return x[..., list(layer.index)]


def time_distributed(layer, x):
    inner = layer.graph
    signal = inner.signals[inner.inputs[0]]
    lead = x.shape[: x.ndim - len(signal.features) - (1 if signal.time else 0)]
    outputs, _ = run(inner, {inner.inputs[0]: x.reshape((-1,) + x.shape[len(lead) :])}, dtype=x.dtype)
    made = outputs[inner.outputs[0].name]
    return made.reshape(lead + made.shape[1:])


# ---- merging -----------------------------------------------------------------------------------------------


def concatenate(layer, *xs):
    return np.concatenate(xs, axis=-1)


def add(layer, first, *rest):
    for x in rest:
        first = first + x
    return first


def multiply(layer, first, *rest):
    for x in rest:
        first = first * x
    return first


def maximum(layer, first, *rest):
    for x in rest:
        first = np.maximum(first, x)
    return first


def divide(layer, a, b):
    with np.errstate(divide="ignore", invalid="ignore"):
        return a / b


def greater(layer, a, b):
    return (a > b).astype(a.dtype)


def greater_equal(layer, a, b):
    return (a >= b).astype(a.dtype)


def equal(layer, a, b):
    return (a == b).astype(a.dtype)


def where(layer, condition, a, b):
    return np.where(condition != 0, a, b)


def expand(layer, x, value):
    return np.repeat(value[:, None], x.shape[1], axis=1)
