"""The spec: what a state dict or a weights-only file does not say, one line per operation in forward order.

    [prefix:] Kind [option=value ...]        # comment

``Kind`` and its options are PyTorch's own words with PyTorch's own defaults, classes and functions alike
(``ReLU``, ``relu``)::

    conv: Conv1d stride=2 padding=2
    relu
    gru: GRU
    last                    # out[:, -1]
    fc: Linear
    ignore similarity_*     # tensors that are meant to be unused

*Tensors.* ``gru: GRU`` reads ``gru.weight_ih_l0`` and its kin, a line without a prefix reads names without
one. Where names are not PyTorch's, an option names the array: ``enc: GRU weight_ih_l0=enc_w_ih
weight_hh_l0=enc_w_hh``. Sizes, layers, directions, bias and projection come from the tensors; where they are
written (``hidden_size=64``) they must agree. Every tensor must be used or ignored, every line must find its
tensors.

*Kinds.* RNN (must state ``nonlinearity``), LSTM, GRU and their cells (``GRUCell``: run over the sequence),
Linear, Conv1d, ConvTranspose1d, BatchNorm1d, LayerNorm, Embedding, MaxPool1d and AvgPool1d (``MaxPool1d 2``),
AdaptiveAvgPool1d 1, AdaptiveMaxPool1d 1, Softmax, Dropout, Flatten, the elementwise activations, and words
of the spec's own: ``last`` (the last frame), ``last_state`` (the final h of the RNN's last layer, directions
joined), ``mean``, ``max`` and ``sum`` (over all frames), ``flip`` (the frames in reverse order), ``crop 1 2``
(without the first and the last two frames), ``pack`` and ``pad``.

*Branches.* A line reads the line before it. ``a = Kind ...`` names a result, and a line that gives names
reads those::

    a = relu
    conv2: Conv1d padding=1
    add a                       # the line before and a
    f, g = chunk 2              # along the features
    t = tanh f
    s = sigmoid g
    mul t s

``add``, ``sub``, ``mul``, ``div`` and ``cat`` (side by side, over the features) join results; with one name
they join the line before and it. A value given once (a ``mean``, a ``last_state``) counts for every frame.
Numbers and names of tensors may stand there too: ``mul 0.5``, ``sub 1 a``, ``mul x scale``. ``narrow 0 64``
takes 64 features from number 0 on. ``repeat value 24`` and ``repeat value x`` give a value at 24 frames, or
at those of x. An RNN gives its final states by further names and starts from them: ``out, h, c = enc: LSTM``,
``dec: LSTM target h c``; read by another line, a state is that of the last layer, directions joined. Further
inputs are ``b = input features=3``, or ``b = input once features=3`` for a value without frames; the unnamed
one is called ``input``. ``output a b`` at the end returns several results. A result that no line reads is
refused.

*Rows of different lengths.* ``pack`` stands where forward calls pack_padded_sequence, ``pad`` where it calls
pad_packed_sequence, ``pad total_length`` where that keeps every frame. RNN, LSTM and GRU lines between them
see the call's ``lengths``, no others do; ``last_state`` ends a packed stretch too. A spec of one RNN, LSTM or
GRU alone counts as packed.

*Axes* are (batch, time, features). A first line ``input`` may say otherwise: ``channels_first`` makes them
(batch, channels, time), on input and, where the network ends in a layer that PyTorch runs so, on output;
``features=N``, ``length=N`` and ``ids`` state what tensors cannot tell. No line is written for a
transposition, nor for taking off the axis of length one that adaptive pooling leaves: a Conv1d, a BatchNorm1d
or a pooling layer is taken to read (batch, channels, time). Where forward gives it (batch, time, features) as
they are, its line says ``untransposed``. ``flatten`` joins a sequence of fixed length in the order of its
axes; where a convolution or an RNN left them otherwise than the input, say ``flatten channels_first`` or
``flatten channels_last``. Any line may end in ``btf`` or ``bft``, the order in which forward holds its
result; it decides what ``dim=1`` means behind it (softmax over the frames or the channels) and the axes of
the output.

*Pictures*, in front of a sequence: after ``input channels=1 bins=40``, (batch, channels, time, bins), or
``input channels=1 bins=40 time_last``, (batch, channels, bins, time); or after ``unsqueeze``, which makes
one channel of frames of features. Conv2d, BatchNorm2d, MaxPool2d, AvgPool2d, AdaptiveAvgPool2d, activations
and joins run on them, with pairs as ``stride=1,2``: the first number is that of axis 2. ``frames`` makes
features of a frame's channels and bins, in this order, ``frames bins_first`` in the other; ``mean bins`` and
``max bins`` leave the channels; ``flatten`` joins all numbers of a fixed number of frames::

    input channels=1 bins=40
    conv: Conv2d padding=1,2 stride=1,2
    relu
    MaxPool2d 1,2
    frames                  # x.permute(0, 2, 1, 3).flatten(2)
    gru: GRU

*Frames.* The lines between ``per_frame`` and ``end`` run inside each frame: its numbers are a sequence of one
channel (``per_frame channels=C``: of C channels, one after the other), axes (channels, length), and must
become one value.
"""

from __future__ import annotations

from ...errors import ModelFileError, RnnrtError, UnsupportedModelError, did_you_mean
from ...graph import Graph
from ..torch import layers as torch_layers
from . import joins, pictures
from .draft import draft, rnn_alone
from .kinds import (
    ALIASES,
    CELL_TENSORS,
    PARAMETRIC,
    POOLS,
    RNN_TENSOR,
    RNNS,
    WITHOUT_TENSORS,
    names_array,
)
from .network import OWN_WORDS, SpecNetwork
from .text import Line, ignored_by, parse
from .wiring import wired

__all__ = ["Line", "build", "draft", "parse"]

# ---- building ----------------------------------------------------------------------------------------------


def build(text: str | None, tensors: dict, metadata: dict | None = None) -> Graph:
    """The Graph that ``text`` makes of {name: float32 array}; without a text the dict must be exactly one
    LSTM or GRU.

    The input is called "input", the output "output". Raises UnsupportedModelError (``draft`` holds a draft
    spec where a text is needed or tensors are left over), ModelFileError for tensors that are missing,
    ShapeError for sizes that do not fit, all naming the line.
    """
    if text is None:
        text = rnn_alone(tensors)
    lines = parse(text)
    if not any(line.kind not in ("input", "ignore") for line in lines):
        raise _with_draft(
            UnsupportedModelError("the spec holds no operation", fix="A draft:\n" + draft(tensors)), tensors
        )
    stated = Line(0, "", "input", (), {})
    if lines[0].kind == "input" and not lines[0].names:
        stated = lines.pop(0)
    for line in lines:
        _check_kind(line, ALIASES.get(line.kind, line.kind))
    calls, outputs = wired(lines, tensors)
    found = _claimed(tensors, calls)
    kinds = [call.kind for call in calls if call.kind not in ("ignore", "Dropout")]
    alone = len(kinds) == 1 and kinds[0] in ("RNN", "LSTM", "GRU")
    network = SpecNetwork(tensors, found, stated, calls, alone)
    for call in calls:
        try:
            network.add(call)
        except RnnrtError as error:
            raise error if (error.where or "").startswith("spec") else error.at(call.line.where)
    return network.finish(outputs, metadata)


def _with_draft(error, tensors):
    error.draft = draft(tensors)
    return error


def _claimed(tensors, calls):
    """{line number: {name within the module: array}}, after every tensor found its line and every line its
    tensors.
    """
    found, used, ignored = {}, set(), {}
    for call in calls:
        line, kind = call.line, call.kind
        used |= {r for r in call.reads if isinstance(r, str)}
        if kind == "ignore":
            ignored |= ignored_by(line, tensors, "tensor")
            if not line.words:
                raise line.refuse("ignore names no tensor", expected="ignore NAME*")
        elif kind in RNNS or kind in PARAMETRIC:
            sources = _sources(tensors, line, kind)
            used |= set(sources.values())
            found[line.number] = {name: tensors[source] for name, source in sources.items()}
    both = sorted(used & set(ignored))
    if both:
        raise ModelFileError(f"the tensor {both[0][:80]!r} is ignored and used", where=ignored[both[0]].where)
    unused = [n[:80] for n in tensors if n not in used and n not in ignored]
    if unused:
        names = ", ".join(unused[:12]) + (f" and {len(unused) - 12} more" if len(unused) > 12 else "")
        fix = "Add the missing line, or ignore them: ignore NAME*."
        raise _with_draft(
            UnsupportedModelError(f"no line of the spec uses {names}", where="spec", fix=fix), tensors
        )
    return found


#: Kinds that have no tensors.
_WITHOUT = (
    *POOLS,
    *pictures.POOLS,
    *OWN_WORDS,
    *joins.OPERATIONS,
    "ignore",
    "input",
    "output",
    *torch_layers.FUNCTIONS,
)


def _check_kind(line, kind):
    with_tensors = kind in RNNS or kind in PARAMETRIC
    if not (with_tensors or kind in _WITHOUT):
        fix = (
            "No line is written for a change of axes: leave it out."
            if kind in ("transpose", "permute", "squeeze")
            else None
        )
        known = (*RNNS, *PARAMETRIC, *_WITHOUT)
        raise line.refuse(
            f"{line.kind[:60]!r} is not known",
            expected=f"one of {', '.join(known)}",
            fix=fix or did_you_mean(line.kind, known),
        )
    if line.prefix and not with_tensors:
        raise line.refuse(f"{line.kind} has no tensors, so it takes no prefix", found=f"{line.prefix[:80]}:")


def _sources(tensors, line, kind):
    """{name within the module: name of the array}, from the line's prefix and from the options that name
    arrays.
    """
    start = line.prefix + "." if line.prefix else ""
    if kind in ("RNN", "LSTM", "GRU"):
        known = [
            n.removeprefix(start)
            for n in tensors
            if n.startswith(start) and RNN_TENSOR.fullmatch(n, len(start))
        ]
    else:
        known = CELL_TENSORS if kind in RNNS else PARAMETRIC[kind].tensors
    sources = {n: start + n for n in known if start + n in tensors}
    for option, array in line.options.items():
        if names_array(option, array):
            if not (RNN_TENSOR.fullmatch(option) if kind in ("RNN", "LSTM", "GRU") else option in known):
                raise line.refuse(f"{line.kind} has no tensor {option!r}", found=f"{option}={array}"[:80])
            if array not in tensors:
                raise ModelFileError(
                    f"there is no tensor {array[:80]!r}",
                    where=line.where,
                    expected=", ".join(list(tensors)[:20]),
                )
            sources[option] = array
    option, default = WITHOUT_TENSORS.get(kind, ("", True))
    if not sources and line.options.get(option, default) is not False:
        names = ", ".join(start + n for n in known) or start + "weight_ih_l0"
        fix = "Correct the prefix, or name the arrays: weight=NAME."
        raise ModelFileError(
            f"no tensors for {line.kind}",
            where=line.where,
            expected=names,
            found=", ".join(list(tensors)[:12]),
            fix=fix,
        )
    suffix = "_l0" if kind.endswith("Cell") else ""
    return {n + suffix: source for n, source in sources.items()}
