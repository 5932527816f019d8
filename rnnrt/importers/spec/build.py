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
AdaptiveAvgPool1d 1, AdaptiveMaxPool1d 1, Softmax, Dropout, Flatten, the elementwise activations, and six
words of the spec's own: ``last`` (the last frame), ``last_state`` (the final h of the RNN's last layer,
directions joined), ``mean`` and ``max`` (over all frames), and ``pack`` and ``pad``.

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
``flatten channels_last``.

*Frames.* The lines between ``per_frame`` and ``end`` run inside each frame: its numbers are a sequence of one
channel (``per_frame channels=C``: of C channels, one after the other), axes (channels, length), and must
become one value. There are no branches.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from ... import state_form
from ...errors import ModelFileError, RnnrtError, ShapeError, UnsupportedModelError, did_you_mean
from ...graph import Graph, GraphBuilder
from ...layers import Flatten, Last, Reshape, Select, Softmax, TimeDistributed
from ..operators.recurrence import join
from ..torch import layers as torch_layers
from .draft import draft, rnn_alone
from .frames import Packing, add_untransposed
from .kinds import (
    ALIASES,
    CELL_TENSORS,
    CONVOLUTIONS,
    FRACTIONS,
    MAY_BE_NONE,
    PARAMETRIC,
    POOLS,
    RANKS,
    RNN_TENSOR,
    RNNS,
    WORDS,
)
from .text import Line, parse

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
    network = _Network(
        tensors, lines.pop(0) if lines[0].kind == "input" else Line(0, "", "input", (), {}), lines
    )
    for line in lines:
        try:
            network.add(line)
        except RnnrtError as error:
            raise error if (error.where or "").startswith("spec") else error.at(line.where)
    return network.finish(metadata)


def _with_draft(error, tensors):
    error.draft = draft(tensors)
    return error


def _claimed(tensors, lines):
    """{line number: {name within the module: array}}, after every tensor found its line and every line its
    tensors.
    """
    found, used, ignored = {}, set(), {}
    for line in lines:
        kind = ALIASES.get(line.kind, line.kind)
        _check_kind(line, kind)
        if kind == "ignore":
            for pattern in line.words:
                matched = [n for n in tensors if fnmatchcase(n, pattern)]
                if not matched:
                    raise ModelFileError(
                        f"no tensor is called {pattern[:80]!r}",
                        where=line.where,
                        fix="Correct or remove the ignore line.",
                    )
                ignored |= {n: line for n in matched}
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


def _check_kind(line, kind):
    with_tensors = kind in RNNS or kind in PARAMETRIC
    if not (with_tensors or kind in POOLS or kind in _OWN_WORDS or kind in torch_layers.FUNCTIONS):
        fix = (
            "No line is written for a change of axes: leave it out."
            if kind in ("transpose", "permute", "squeeze", "unsqueeze")
            else None
        )
        known = (*RNNS, *PARAMETRIC, *POOLS, *_OWN_WORDS, *torch_layers.FUNCTIONS)
        raise line.refuse(
            f"{line.kind[:60]!r} is not known",
            expected=f"one of {', '.join(known)}",
            fix=fix or did_you_mean(line.kind, known),
        )
    if line.prefix and not with_tensors:
        raise line.refuse(f"{line.kind} has no tensors, so it takes no prefix", found=f"{line.prefix[:80]}:")
    words = tuple(
        w for w in line.words if w != "untransposed" or kind not in (*POOLS, *CONVOLUTIONS, "BatchNorm1d")
    )
    if words and kind not in (*POOLS, "flatten", "ignore", "input", "per_frame", "pad"):
        raise line.refuse("an option needs a value", expected="option=value", found=" ".join(line.words)[:80])


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
        if _names_array(option, array):
            if not (RNN_TENSOR.fullmatch(option) if kind in ("RNN", "LSTM", "GRU") else option in known):
                raise line.refuse(f"{line.kind} has no tensor {option!r}", found=f"{option}={array}"[:80])
            if array not in tensors:
                raise ModelFileError(
                    f"there is no tensor {array[:80]!r}",
                    where=line.where,
                    expected=", ".join(list(tensors)[:20]),
                )
            sources[option] = array
    if not sources and not (kind == "LayerNorm" and line.options.get("elementwise_affine") is False):
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


class _Network:
    """The chain while it is built. ``x``: the reference reached; ``axes``: how PyTorch holds it there."""

    def __init__(self, tensors, stated, lines):
        self.outer = self.rnn = None
        self.found = _claimed(tensors, lines)
        self.axes = self.stated_axes = "bft" if "channels_first" in stated.words else "btf"
        self.packing, self.rnns, self.assumptions = Packing(), [], []
        kinds = [line.kind for line in lines if line.kind not in ("ignore", "Dropout")]
        self.alone = len(kinds) == 1 and kinds[0] in ("RNN", "LSTM", "GRU")
        self.builder = GraphBuilder()
        self.x = self._input(stated, lines)

    def _input(self, line, lines):
        words, numbers = {"channels_first", "channels_last", "ids"}, {"features", "length"}
        wrong = [w for w in line.words if w not in words] + [
            o for o, n in line.options.items() if o not in numbers or type(n) is not int
        ]
        if wrong or line.prefix or {"channels_first", "channels_last"} <= set(line.words):
            expected = "input [channels_first | channels_last] [ids] [features=N] [length=N]"
            raise line.refuse(
                "the input line is not understood", expected=expected, found=" ".join(wrong)[:80] or None
            )
        features, ids = line.options.get("features"), "ids" in line.words
        if features is None and not ids:
            features, ids = self._features(lines)
        try:
            return self.builder.input(
                "input",
                () if ids else (features,),
                ids=ids,
                length=line.options.get("length"),
                axes=self.axes,
            )
        except RnnrtError as error:
            raise error.at(line.where if line.number else "spec")

    def _features(self, lines):
        """(features, ids) of the input, by the first line that fixes them."""
        for line in lines:
            kind, found = ALIASES.get(line.kind, line.kind), self.found.get(line.number)
            if found:
                return _frame_width(line, kind, found), kind == "Embedding"
            if kind in ("flatten", "per_frame", "end"):
                break
        raise UnsupportedModelError(
            "the size of the input's frames cannot be told",
            where="spec",
            fix="Add a first line: input features=N.",
        )

    # -- lines -----------------------------------------------------------------------------------------------
    def add(self, line):
        kind = ALIASES.get(line.kind, line.kind)
        self.packing.check(line, kind)
        if "untransposed" in line.words:
            self._add_untransposed(line, kind)
        elif kind in RNNS:
            self._add_rnn(line)
        elif kind in PARAMETRIC:
            self._add_parametric(line, kind)
        elif kind in POOLS:
            self._add_pool(line, kind)
        elif kind in torch_layers.FUNCTIONS:
            self._check_options(line)
            self.x = torch_layers.add_activation(
                self.builder, line.kind.lower(), self.x, kind, **line.options
            )
        else:
            allowed = {
                "flatten": {"start_dim"},
                "Softmax": {"dim"},
                "Dropout": {"p", "inplace"},
                "per_frame": {"channels"},
            }
            self._check_options(line, allowed.get(kind, ()))
            _OWN_WORDS[kind](self, line)

    def _check_options(self, line, allowed=None):
        """Names first, then types, so that the functions of torch/layers.py meet only values they know how to
        judge.
        """
        for option, value in line.options.items():
            if allowed is not None and option not in allowed:
                raise line.refuse(
                    f"{line.kind} has no option {option[:60]!r}",
                    expected=", ".join(sorted(allowed)) or "no options",
                    fix=did_you_mean(option, allowed),
                )
            fits = type(value) in (int, float) if option in FRACTIONS else isinstance(value, int)
            fits = (
                fits
                or (isinstance(value, str) and option in WORDS)
                or (value is None and option in MAY_BE_NONE)
            )
            if not fits:
                raise line.refuse(f"the option {option[:60]} has an impossible value", found=repr(value)[:80])

    def _add_rnn(self, line):
        kind = line.kind.removesuffix("Cell")
        tensors = self.found[line.number]
        options = {o: v for o, v in line.options.items() if not _names_array(o, v)}
        layers, directions, bias, projected = torch_layers.rnn_sizes(tensors, line.where)
        hh = tensors["weight_hh_l0"]
        sizes = {
            "input_size": tensors["weight_ih_l0"].shape[-1],
            "hidden_size": (tensors["weight_hr_l0"] if projected else hh).shape[-1],
            "bias": bias,
        }
        if not line.kind.endswith("Cell"):
            sizes |= {
                "num_layers": layers,
                "bidirectional": directions == 2,
                "proj_size": hh.shape[-1] if projected else 0,
                "batch_first": True,
            }
        taken = {"nonlinearity"} if kind == "RNN" else set()
        self._agree(line, options, sizes, {*taken, "dropout"})
        if kind == "RNN" and "nonlinearity" not in options:
            raise line.refuse(
                "an RNN must state its nonlinearity",
                fix="Add nonlinearity=tanh (PyTorch's default) or nonlinearity=relu.",
            )
        kept = {o: options[o] for o in taken} | {"packed": self.packing.packed or self.alone}
        self.rnn = torch_layers.add_rnn(
            self.builder, line.prefix or line.kind.lower(), self.x, tensors, kind=kind, **kept
        )
        self.rnns.append((self.rnn.layers, "hc" if kind == "LSTM" else "h"))
        self.x, self.axes, self.packing.ended = self.rnn.sequence, "btf", True

    def _add_untransposed(self, line, kind):
        if self.axes == "bft" or not self.builder.signal(self.x).time:
            raise line.refuse(
                "untransposed means nothing here", expected="(batch, time, features)", found="other axes"
            )
        words = tuple(word for word in line.words if word != "untransposed")
        stated = Line(line.number, line.prefix, line.kind, words, line.options)
        self._check_options(stated)
        self.x = add_untransposed(self.builder, stated, kind, self.x, self.found.get(line.number))

    def _transposed(self, line):
        """Note that a layer over (batch, channels, time) is taken to have been given that."""
        if self.axes == "btf" and self.builder.signal(self.x).time:
            self.assumptions.append(
                f"{line.where}: {line.kind} is taken to read (batch, channels, time), transposed by forward "
                f"before it;"
                " say untransposed where forward gives it (batch, time, features) as they are."
            )

    def _add_parametric(self, line, word):
        kind, tensors = PARAMETRIC[word], self.found[line.number]
        for name, array in tensors.items():
            if array.ndim != RANKS.get((word, name), 1):
                raise ShapeError(
                    f"{name} has the wrong number of axes for {word}",
                    where=line.where,
                    expected=str(RANKS.get((word, name), 1)),
                    found=str(array.shape),
                )
        if (
            word != "BatchNorm1d"
            and "bias" in tensors
            and "weight" not in tensors
            or word == "BatchNorm1d"
            and ("bias" in tensors) != ("weight" in tensors)
        ):
            raise ModelFileError("weight or bias is missing", where=line.where, found=", ".join(tensors))
        if "running_mean" in kind.tensors and not {"running_mean", "running_var"} <= set(tensors):
            raise ModelFileError(
                "running_mean or running_var is missing", where=line.where, found=", ".join(tensors)
            )
        options = {o: v for o, v in line.options.items() if not _names_array(o, v)}
        if word in CONVOLUTIONS and "weight" not in tensors:
            raise ModelFileError("weight is missing", where=line.where)
        self._agree(line, options, kind.sizes(tensors, options), {*kind.options, *kind.harmless})
        kept = {o: v for o, v in options.items() if o in kind.options}
        if kind.axes == "bft":
            self._transposed(line)
        self.x = kind.add(self.builder, line.prefix or word.lower(), self.x, tensors, **kept)
        self.axes = kind.axes
        if word in CONVOLUTIONS:
            self.packing.window(self.builder.layers[-1])

    def _agree(self, line, options, sizes, others):
        """Written sizes must be those of the tensors."""
        self._check_options(Line(line.number, "", line.kind, (), options), {*sizes, *others})
        for option, value in options.items():
            if option in sizes and value != sizes[option]:
                raise ShapeError(
                    f"{option} is not what the tensors say",
                    where=line.where,
                    expected=str(sizes[option]),
                    found=str(value),
                )

    def _add_pool(self, line, kind):
        add, first, fixed, others = POOLS[kind]
        options = dict(line.options)
        if len(line.words) > 1 or (
            line.words and (first in options or not line.words[0].isdecimal() or len(line.words[0]) > 9)
        ):
            raise line.refuse(
                f"{line.kind} takes one number without a name",
                expected=f"{line.kind} {first}",
                found=" ".join(line.words)[:80],
            )
        if line.words:
            options[first] = int(line.words[0])
        if first not in options:
            raise line.refuse(f"{line.kind} must state its {first}", fix=f"Write {line.kind} {first}=N.")
        self._check_options(Line(line.number, "", line.kind, (), options), {first, *others})
        self._transposed(line)
        self.x = add(self.builder, line.kind.lower(), self.x, **fixed, **options)
        self.axes = "bft"
        if kind in ("MaxPool1d", "AvgPool1d"):
            self.packing.window(self.builder.layers[-1])

    # -- layers without tensors, and the spec's own words ----------------------------------------------------
    def _last(self, line):
        self.x = self.builder.add(Last, "last", self.x)

    def _last_state(self, line):
        if self.rnn is None or self.x != self.rnn.sequence:
            raise line.refuse("last_state must follow the line of an RNN, LSTM or GRU")
        self.x = join(self.builder, "last_state", self.rnn.h[-1])
        self.packing.packed = False

    def _pack(self, line):
        if self.outer is not None or not self.builder.signal(self.x).time:
            raise line.refuse("only a sequence of frames can be packed")
        self.packing.pack(line)

    def _pad(self, line):
        self.x = self.packing.pad(line, self.builder, self.x)

    def _mean(self, line):
        self.x = torch_layers.add_global_pool(self.builder, "mean", self.x, kind="average")

    def _max(self, line):
        self.x = torch_layers.add_global_pool(self.builder, "max", self.x, kind="max")

    def _dropout(self, line):
        """The identity at inference."""

    def _softmax(self, line):
        timed, dim = self.builder.signal(self.x).time, line.options.get("dim")
        channels_first = timed and self.stated_axes == "bft" and self.axes == "bft"
        if dim is None and channels_first:
            raise line.refuse(
                "softmax must state its dim where the axes are (batch, channels, time)",
                fix="Write softmax dim=1 for the channels.",
            )
        if dim is not None and dim not in ((1, -2) if channels_first else (2, -1) if timed else (1, -1)):
            raise line.refuse("softmax is supported over the features only", found=f"dim={dim}")
        self.x = self.builder.add(Softmax, "softmax", self.x)

    def _flatten(self, line):
        signal = self.builder.signal(self.x)
        if (
            line.options.get("start_dim", 1) != 1
            or not set(line.words) <= {"channels_first", "channels_last"}
            or len(line.words) > 1
        ):
            raise line.refuse(
                "flatten keeps the batch and joins the rest",
                expected="flatten [channels_first | channels_last]",
            )
        if not signal.time:
            return
        if not line.words and self.axes != self.stated_axes and signal.width > 1:
            raise line.refuse(
                "the order of the flattened numbers cannot be told: the layers before changed the axes",
                fix="Write flatten channels_first where x is (batch, channels, time), flatten channels_last "
                "where (batch, time, features).",
            )
        self.x = self.builder.add(Flatten, "flatten", self.x)
        if (
            "channels_last" not in line.words
            and (line.words or self.axes == "bft")
            and signal.width > 1
            and signal.length > 1
        ):
            # PyTorch lays one channel's frames side by side, Flatten one frame's channels
            order = tuple(t * signal.width + c for c in range(signal.width) for t in range(signal.length))
            self.x = self.builder.add(Select, "flatten_order", self.x, index=order)

    def _per_frame(self, line):
        if self.outer is not None:
            raise line.refuse("per_frame cannot stand inside per_frame")
        signal, channels = self.builder.signal(self.x), line.options.get("channels", 1)
        if line.words or len(signal.features) != 1 or channels < 1 or signal.width % channels:
            raise line.refuse(
                "the frames cannot be cut into channels",
                expected="per_frame [channels=C]",
                found=f"frames of {signal.features}",
            )
        length = signal.width // channels
        if channels > 1 and length > 1:
            order = tuple(c * length + t for t in range(length) for c in range(channels))
            self.x = self.builder.add(Select, "frame_order", self.x, index=order)
        self.x = self.builder.add(Reshape, "frames", self.x, features=(length, channels))
        self.outer = (self.builder, self.x, self.axes, self.stated_axes)
        self.builder = GraphBuilder()
        self.x = self.builder.input("frame", (channels,), length=length, axes="bft")
        self.axes = self.stated_axes = "bft"

    def _end(self, line):
        if self.outer is None:
            raise line.refuse("end has no per_frame before it")
        if self.builder.signal(self.x).time:
            raise line.refuse(
                "what runs inside a frame must make one value of it",
                fix="End it with flatten, last, mean or max.",
            )
        self.builder.output("value", self.x)
        inner = self.builder.graph()
        self.builder, self.x, self.axes, self.stated_axes = self.outer
        self.outer = None
        self.x = self.builder.add(TimeDistributed, "per_frame", self.x, graph=inner)

    def _input_again(self, line):
        raise line.refuse("input may only be the first line")

    def _ignore(self, line):
        """Done when the tensors were claimed."""

    # -- the end ---------------------------------------------------------------------------------------------
    def finish(self, metadata):
        if self.outer is not None:
            raise UnsupportedModelError("per_frame has no end", where="spec", fix="Add a line: end.")
        if self.packing.packed:
            raise UnsupportedModelError(
                "pack has no pad or last_state behind it", where="spec", fix="Add a line: pad."
            )
        metadata = dict(metadata or {}) | ({"packed": True} if self.alone else self.packing.metadata())
        if len(self.rnns) == 1:
            metadata["initial_states"] = state_form.of_stack(*self.rnns[0])
        if self.assumptions:
            metadata["assumptions"] = [*metadata.get("assumptions", ()), *self.assumptions]
        timed = self.builder.signal(self.x).time
        self.builder.output(
            "output", self.x, "bft" if timed and self.stated_axes == self.axes == "bft" else "btf"
        )
        return self.builder.graph(metadata=metadata)


def _frame_width(line, kind, found):
    """Features that a line with tensors takes; 1 where its tensors are odd, of which the line itself will
    complain.
    """
    first = next((found[n] for n in ("weight_ih_l0", "weight", "running_mean") if n in found), None)
    groups = line.options.get("groups", 1)
    if kind == "Conv1d" and first is not None and first.ndim == 3 and isinstance(groups, int):
        return first.shape[1] * groups
    if kind == "ConvTranspose1d" and first is not None and first.ndim == 3:
        return first.shape[0]
    return first.shape[-1] if first is not None and first.ndim else 1


_OWN_WORDS = {
    "last": _Network._last,
    "last_state": _Network._last_state,
    "pack": _Network._pack,
    "pad": _Network._pad,
    "mean": _Network._mean,
    "max": _Network._max,
    "flatten": _Network._flatten,
    "Softmax": _Network._softmax,
    "Dropout": _Network._dropout,
    "per_frame": _Network._per_frame,
    "end": _Network._end,
    "ignore": _Network._ignore,
    "input": _Network._input_again,
}


def _names_array(option, value):
    """``weight=NAME`` names an array; ``bias=False`` is the module's own option of that name."""
    return isinstance(value, str) and (
        bool(RNN_TENSOR.fullmatch(option))
        or option in (*CELL_TENSORS, "weight", "bias", "running_mean", "running_var")
    )
