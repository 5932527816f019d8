"""Draft specs: what the names and shapes of tensors tell of a network, with ``?`` for what they do not
tell.
"""

from __future__ import annotations

import re

from ...errors import UnsupportedModelError
from ..torch.layers import rnn_kind

_RNN = re.compile(r"(?:(.*)\.)?((?:weight_ih|weight_hh|weight_hr|bias_ih|bias_hh)_l\d{1,4}(?:_reverse)?)")
_HEAD = """\
# A draft. Put the lines into the order of the network's forward(), add the lines without tensors (relu, last,
# flatten, ...), and replace every '?'. The order below is only that of the tensors.
"""
#: The options a Conv1d leaves no trace of.
_CONV_OPTIONS = "stride=? padding=? dilation=? groups=?"
_CELLS = {4: "LSTMCell", 3: "GRUCell", 1: "RNNCell nonlinearity=?"}


def draft(tensors: dict) -> str:
    """A draft spec for {name: array}: a line for every module the names show, in the order of the dict, which
    is not an order of running.
    """
    lines, joins = [], _joins(_modules(tensors))
    pictures = {a.shape[0] for a in tensors.values() if a.ndim == 4}
    for prefix, group in _modules(tensors).items():
        start = f"{prefix}: " if prefix else ""
        guess = _guess(group, pictures)
        if guess is not None:
            lines.append(f"{start}{guess[0]}  # order?{guess[1]}{joins.get(prefix, '')}")
        else:
            lines += [
                f"?  # order? the tensor {_printable(f'{prefix}.{n}' if prefix else n)} {tuple(a.shape)}"
                for n, a in group.items()
            ]
    axes = (
        "input ?  # channels_first for (batch, channels, time), channels_last for (batch, time, features)\n"
    )
    if pictures:
        axes = (
            "input channels=? bins=?  # (batch, channels, time, bins), or with time_last "
            "(batch, channels, bins, time)\n"
        )
    conv = pictures or any(re.search(r"\b(Conv1d|ConvTranspose1d|BatchNorm1d)\b", line) for line in lines)
    return _HEAD + (axes if conv else "") + "\n".join(_printable(line) for line in lines) + "\n"


def rnn_alone(tensors: dict) -> str:
    """The spec of a dict that is exactly one LSTM or GRU; anything else raises UnsupportedModelError with a
    draft.
    """
    modules = _modules(tensors)
    text = draft(tensors)
    kind = None
    if len(modules) == 1:
        ((prefix, group),) = modules.items()
        kind = rnn_kind(group) if all(_RNN.fullmatch(name) for name in group) else None
    if kind in ("LSTM", "GRU"):
        return f"{prefix}: {kind}" if prefix else kind
    what = "an RNN does not tell its nonlinearity" if kind else "the tensors do not tell how the network runs"
    error = UnsupportedModelError(
        what, fix=f"Pass a spec: one line per operation in forward order. A draft:\n{text}"
    )
    error.draft = text
    raise error


def _modules(tensors):
    """{module's prefix: {name within it: array}}, in the order of the dict."""
    groups = {}
    for name, array in tensors.items():
        prefix, _, last = name.rpartition(".")
        groups.setdefault(prefix, {})[last] = array
    return groups


def _guess(group, pictures=()):
    """(kind and options, comment) of the module that has exactly these tensors; None where no one module
    has. ``pictures``: numbers of channels that Conv2d lines make.
    """
    names, shape = set(group), group["weight"].shape if "weight" in group else ()
    if all(_RNN.fullmatch(name) for name in names):
        kind = rnn_kind(group)
        if kind is not None:
            return kind + (
                " nonlinearity=?" if kind == "RNN" else ""
            ), f" weight_ih_l0 {tuple(group['weight_ih_l0'].shape)}"
    if {"weight_ih", "weight_hh"} <= names <= {"weight_ih", "weight_hh", "bias_ih", "bias_hh"} and group[
        "weight_hh"
    ].ndim == 2:
        rows, columns = group["weight_hh"].shape
        word = _CELLS.get(rows // columns) if columns and not rows % columns else None
        return None if word is None else (word, f" weight_ih {tuple(group['weight_ih'].shape)}")
    if {"running_mean", "running_var"} <= names <= {"weight", "bias", "running_mean", "running_var"}:
        kind = "BatchNorm2d" if group["running_mean"].size in pictures else "BatchNorm1d"
        return kind, f" {group['running_mean'].size} channels; eps=1e-05 unless written"
    if not {"weight"} <= names <= {"weight", "bias"}:
        return None
    if len(shape) == 4:
        return f"Conv2d {_CONV_OPTIONS}", f" weight {tuple(shape)}"
    if len(shape) == 3:
        kind, options, other = "Conv1d", _CONV_OPTIONS, ""
        if "bias" in names and group["bias"].size != shape[0]:  # (in, out / groups, tap)
            kind, options = "ConvTranspose1d", f"{_CONV_OPTIONS} output_padding=?"
        elif "bias" not in names or shape[0] == shape[1]:
            other = "; as well a ConvTranspose1d, by its tensors"
        return f"{kind} {options}", f" weight {tuple(shape)}{other}"
    if len(shape) == 2:
        return (
            ("Linear", f" weight {tuple(shape)}")
            if "bias" in names
            else ("?", f" Linear or Embedding, weight {tuple(shape)}")
        )
    if len(shape) == 1:
        return "?", f" LayerNorm or another norm (only LayerNorm is supported), weight {tuple(shape)}"
    return None


def _joins(modules):
    """{prefix: comment} of modules whose sizes show that results are joined before or behind them."""
    sizes = {prefix: _sizes(group) for prefix, group in modules.items()}
    sizes = {prefix: size for prefix, size in sizes.items() if size}
    found, names = {}, list(sizes)
    for k, prefix in enumerate(names):
        (reads, makes, small), before = sizes[prefix], names[max(0, k - 64) : k]
        parent = prefix.rpartition(".")[0].rpartition(".0")[0] or prefix.rpartition(".")[0]
        beside = [n for n in before if parent and n.startswith(parent + ".")]
        first = next((n for n in beside if sizes[n][0] == reads), None)
        if small and first and sizes[beside[-1]][1] == makes and reads != makes:
            found[prefix] = f"; fits beside {first} ... {beside[-1]}: add"
            continue
        outputs = {n: sizes[n][1] for n in before}
        pairs = [
            (a, b) for i, a in enumerate(before) for b in before[i + 1 :] if outputs[a] + outputs[b] == reads
        ]
        if len(pairs) == 1 and reads not in outputs.values() and reads != sizes[names[0]][0]:
            found[prefix] = f"; reads as many as {pairs[0][0]} and {pairs[0][1]} make together: cat"
    return found


def _sizes(group):
    """(features it reads, features it makes, whether it looks at one frame alone) of a module that tells."""
    if "weight_ih_l0" in group and rnn_kind(group):
        both = 2 if any(n.endswith("_reverse") for n in group) else 1
        last = group.get("weight_hr_l0", group["weight_hh_l0"])
        return (
            group["weight_ih_l0"].shape[1],
            both * last.shape[-1 if "weight_hr_l0" not in group else 0],
            False,
        )
    shape = group["weight"].shape if "weight" in group else ()
    if len(shape) == 2 and "bias" in group:
        return shape[1], shape[0], True
    if len(shape) == 3 and set(group) <= {"weight", "bias"}:
        transposed = "bias" in group and group["bias"].size != shape[0]
        return (shape[0], group["bias"].size, False) if transposed else (shape[1], shape[0], shape[2] == 1)
    return None


def _printable(text):
    """Names come from a file: one line of printable characters each."""
    return "".join(c if c.isprintable() else "?" for c in text)[:400]
