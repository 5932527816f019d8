"""The graph of a spec, line by line."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from ... import state_form
from ...errors import ModelFileError, RnnrtError, ShapeError, UnsupportedModelError, did_you_mean
from ...graph import GraphBuilder
from ...layers import Flatten, Last, Reshape, Reverse, Select, TimeDistributed
from ..axes.sizes import Clock
from ..operators.recurrence import join
from ..torch import layers as torch_layers
from . import joins, pictures
from .called import called
from .frames import Packing, add_untransposed
from .kinds import (
    CONVOLUTIONS,
    FRACTIONS,
    MAY_BE_NONE,
    PAIRS,
    PARAMETRIC,
    POOLS,
    RANKS,
    RNNS,
    WORDS,
    names_array,
)
from .pictures import Pictures
from .text import Line
from .wiring import Result, input_width


class Value(NamedTuple):
    """What a line makes. ``axes``: how PyTorch holds it there; ``stated``: whether a line says so; ``clock``:
    which frames it has. ``longest``: cut to the longest row. ``stack``: the RNN whose sequence it is."""

    reference: str
    axes: str = "btf"
    clock: Clock = Clock("input")
    stated: bool = False
    longest: bool = False
    stack: object = None


class States(NamedTuple):
    """Final states of an RNN, h or c: a tuple of directions for every layer."""

    references: tuple[tuple[str, ...], ...]


class SpecNetwork:
    """The graph while it is built. ``x``, ``axes``, ...: the value that the line at hand reads first.

    ``found``: {line number: {name within the module: array}}; ``alone``: whether the spec is one RNN alone.
    """

    def __init__(self, tensors, found, stated, calls, alone):
        self.tensors, self.found, self.calls, self.alone = tensors, found, calls, alone
        self.outer = self.rnn = None
        self.x, self.axes, self.stated = "", "btf", False
        self.stated_axes = "bft" if "channels_first" in stated.words else "btf"
        self.packing, self.rnns, self.assumptions = Packing(), [], []
        self.results: dict[Result, Value | States] = {}
        self.builder = GraphBuilder()
        first = Result(0)
        if any(first in call.reads for call in calls):
            self.results[first] = self._input(stated, first)
        elif stated.number:
            raise stated.refuse("no line reads the input", fix="Take the line out, or give a line: input.")

    def _input(self, line, result, name="input"):
        words = {"channels_first", "channels_last", "ids", "once"}
        numbers = {"features", "length"}
        picture = {"channels", "bins"} <= set(line.options)
        if picture:
            words, numbers = {"time_last"}, {"channels", "bins", "length"}
        wrong = [w for w in line.words if w not in words] + [
            o for o, n in line.options.items() if o not in numbers or type(n) is not int
        ]
        if wrong or line.prefix or {"channels_first", "channels_last"} <= set(line.words):
            expected = "input [channels_first | channels_last] [ids] [once] [features=N] [length=N]"
            expected = "input channels=C bins=N [time_last] [length=N]" if picture else expected
            raise line.refuse(
                "the input line is not understood", expected=expected, found=" ".join(wrong)[:80] or None
            )
        if picture:
            reference, axes = pictures.input_of(line, self.builder, name)
            return Value(reference, axes, Clock(name), stated=True)
        features, ids, once = line.options.get("features"), "ids" in line.words, "once" in line.words
        if features is None and not ids:
            widths = {c.line.number: self._width(c) for c in self.calls if c.line.number in self.found}
            flat = {c.line.number for c in self.calls if c.kind in (*pictures.PARAMETRIC, *pictures.POOLS)}
            if flat & {c.line.number for c in self.calls if result in c.reads}:
                raise pictures.missing_input(line)
            told = input_width(result, self.calls, widths)
            if told is None:
                raise UnsupportedModelError(
                    "the size of the input's frames cannot be told",
                    where=line.where if line.number else "spec",
                    fix="Add a first line: input features=N."
                    if name == "input"
                    else f"Say it: {name} = input features=N.",
                )
            features, ids = told
        axes = "bft" if "channels_first" in line.words else "btf"
        fields = {"length": line.options.get("length"), "axes": axes} if not once else {"time": False}
        try:
            reference = self.builder.input(name, () if ids else (features,), ids=ids, **fields)
        except RnnrtError as error:
            raise error.at(line.where if line.number else "spec")
        return Value(reference, axes if not once else "btf", Clock(name), stated=axes == "bft")

    def _width(self, call):
        found = self.found[call.line.number]
        return _frame_width(call.line, call.kind, found), call.kind == "Embedding"

    # -- lines -----------------------------------------------------------------------------------------------
    def add(self, call):
        line, kind = call.line, call.kind
        if kind == "ignore":
            return
        self.operands = [self.results[r] if isinstance(r, Result) else r for r in call.reads]
        self._read(line, kind)
        self.packing.check(line, kind)
        made = self._made(line, kind, call)
        if call.axes:
            if not self.builder.signal(self.x).time or isinstance(made, States):
                raise line.refuse(f"{call.axes} says nothing of a result without time")
            self.axes, self.stated = call.axes, True
        several = made if isinstance(made, list) else [self.value()]
        for place, value in enumerate(several):
            self.results[Result(line.number, place)] = value

    def _read(self, line, kind):
        """The first value that the line reads is where the network stands."""
        first = next(v for v in (*self.operands, None) if isinstance(v, (Value, States, type(None))))
        if first is None:
            return
        if isinstance(first, States) and self.packing.packed:
            self.packing.packed = False  # what is read is the state at each row's end
        first = self.settle(first)
        self.x, self.axes, self.stated, self.rnn = first.reference, first.axes, first.stated, first.stack
        self.packing.clock, self.packing.longest = first.clock, first.longest
        if any(isinstance(v, Value) and v.longest != first.longest for v in self.operands):
            raise line.refuse("one of its inputs was cut to the longest row by pad, and another was not")

    def value(self):
        return Value(self.x, self.axes, self.packing.clock, self.stated, self.packing.longest, self.rnn)

    def _made(self, line, kind, call):
        """The line's own work on ``x``; a list where it has several results."""
        stack, self.rnn = self.rnn, None
        if kind != "input":
            at = [getattr(v, "axes", "") for v in self.operands]
            pictures.check(line, kind, next((a for a in at if a in pictures.AXES), self.axes))
        if kind == "input":
            self._set(self._input(line, Result(line.number), line.names[0] if line.names else "input"))
        elif self._of_picture(line, kind):
            pass
        elif "untransposed" in line.words:
            self._add_untransposed(line, kind)
        elif kind in RNNS:
            return self._add_rnn(line, call)
        elif kind in PARAMETRIC:
            self._add_parametric(line, kind)
        elif kind in POOLS:
            self._add_pool(line, kind)
        elif kind in torch_layers.FUNCTIONS:
            self._check_options(line)
            at = (self.builder, line.kind.lower(), self.x)
            if torch_layers.is_one_function(kind, **line.options):
                self.x = torch_layers.add_activation(*at, kind, **line.options)
            else:
                self.x = called("softplus")(*at, {}, **line.options)
        elif kind in joins.OPERATIONS:
            allowed, add = joins.OPERATIONS[kind]
            self._check_options(line, allowed)
            return add(self, line)
        else:
            allowed = {"flatten": {"start_dim"}, "Dropout": {"p", "inplace"}, "per_frame": {"channels"}}
            self._check_options(line, allowed.get(kind, ()))
            self.rnn = stack if kind in ("last_state", "Dropout") else None
            OWN_WORDS[kind](self, line)
        return None

    def _of_picture(self, line, kind):
        """Whether the line reads a picture, or makes one, and so was added."""
        axes = [getattr(v, "axes", "") for v in self.operands]
        if not ({self.axes, *axes} & set(pictures.AXES) or kind == "unsqueeze"):
            return False
        own = Pictures(self, line.prefix or line.kind.lower())
        if kind in pictures.PARAMETRIC:
            self._add_parametric(line, kind)
        elif kind in pictures.POOLS:
            options = self._pool_options(line, kind, pictures.POOLS[kind][1], pictures.POOL_OPTIONS[kind])
            own.pool(kind, options)
        elif kind == "unsqueeze":
            own.unsqueeze(line)
        elif kind in joins.OPERATIONS:
            own.join(line, self.operands)
        elif kind in OWN_WORDS:
            self._check_options(line, {"Dropout": {"p", "inplace"}, "flatten": {"start_dim"}}.get(kind, ()))
            own.own(line, kind)
        else:
            return False
        return True

    def _set(self, value):
        self.x, self.axes, self.stated = value.reference, value.axes, value.stated
        self.packing.clock, self.packing.longest = value.clock, False

    def settle(self, value):
        """Final states as the value that forward makes of them: those of the last layer, directions
        joined.
        """
        if not isinstance(value, States):
            return value
        return Value(join(self.builder, "last_state", value.references[-1]), clock=Clock(""))

    @property
    def sure(self):
        """Whether it is known how forward holds ``x``: behind a convolution on (batch, time, features) it may
        be transposed back, or not.
        """
        return self.stated or (self.stated_axes, self.axes) != ("btf", "bft")

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
            fits = fits or isinstance(value, tuple) and option in PAIRS
            fits = (
                fits
                or (isinstance(value, str) and option in WORDS)
                or (value is None and (option in MAY_BE_NONE or (line.kind, option) == ("RMSNorm", "eps")))
            )
            if not fits:
                raise line.refuse(f"the option {option[:60]} has an impossible value", found=repr(value)[:80])

    def _add_rnn(self, line, call):
        kind = line.kind.removesuffix("Cell")
        tensors = self.found[line.number]
        options = {o: v for o, v in line.options.items() if not names_array(o, v)}
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
        initial = self._initial(line, kind, layers * directions)
        self.rnn = torch_layers.add_rnn(
            self.builder,
            line.prefix or line.kind.lower(),
            self.x,
            tensors,
            kind=kind,
            initial=initial,
            **kept,
        )
        if initial is None:
            self.rnns.append((self.rnn.layers, "hc" if kind == "LSTM" else "h"))
        self.x, self.packing.ended = self.rnn.sequence, True
        self.stated, self.axes = self.stated and self.axes == "btf", "btf"
        states = [States(self.rnn.h), *([States(self.rnn.c)] if kind == "LSTM" else [])]
        return [self.value(), *states][: max(call.makes, 1)]

    def _initial(self, line, kind, cells):
        """The initial states that an RNN's line reads behind its sequence: one (h,) or (h, c) a cell."""
        given, stacks = self.operands[1:], []
        if not given:
            return None
        if kind == "LSTM" and len(given) != 2:
            raise line.refuse("an LSTM starts from h and c", expected=f"{line.kind} x h c")
        for value in given:
            if isinstance(value, States):
                stacks.append([r for directions in value.references for r in directions])
            else:
                stacks.append([value.reference])
            if len(stacks[-1]) != cells:
                raise line.refuse(
                    "the initial state is not one for every layer and direction",
                    expected=str(cells),
                    found=str(len(stacks[-1])),
                )
        return list(zip(*stacks))

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
            word not in ("BatchNorm1d", "BatchNorm2d")
            and "bias" in tensors
            and "weight" not in tensors
            or word in ("BatchNorm1d", "BatchNorm2d")
            and ("bias" in tensors) != ("weight" in tensors)
        ):
            raise ModelFileError("weight or bias is missing", where=line.where, found=", ".join(tensors))
        statistics = {"running_mean", "running_var"} & set(tensors)
        needed = "running_mean" in kind.tensors and (word != "InstanceNorm1d" or statistics)
        if needed and len(statistics) < 2:
            raise ModelFileError(
                "running_mean or running_var is missing", where=line.where, found=", ".join(tensors)
            )
        options = {o: v for o, v in line.options.items() if not names_array(o, v)}
        options = pictures.pairs_of(line, options) if word in pictures.PARAMETRIC else options
        if word in (*CONVOLUTIONS, "Conv2d", "PReLU") and "weight" not in tensors:
            raise ModelFileError("weight is missing", where=line.where)
        self._agree(line, options, kind.sizes(tensors, options), {*kind.options, *kind.harmless})
        kept = {o: v for o, v in options.items() if o in kind.options}
        if word in pictures.PARAMETRIC:
            return Pictures(self, line.prefix or word.lower()).parametric(word, tensors, kept)
        one_slope = word == "PReLU" and tensors["weight"].size == 1
        axes = self.axes if one_slope else kind.axes
        if axes == "bft":
            self._transposed(line)
        before = len(self.builder.layers)
        self.x = kind.add(self.builder, line.prefix or word.lower(), self.x, tensors, **kept)
        self.stated = self.stated and self.axes == axes
        self.axes = axes
        if word in CONVOLUTIONS:
            self._windows(before)

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
        options, before = self._pool_options(line, kind, first, others), len(self.builder.layers)
        self._transposed(line)
        if kind.startswith("Adaptive") and options[first] != 1:
            parts = called(f"adaptive_{fixed['kind']}_pool")
            self.x = parts(self.builder, line.kind.lower(), self.x, {}, frames=options[first])
            self.packing.clock = Clock("", options[first], 0)
        else:
            self.x = add(self.builder, line.kind.lower(), self.x, **fixed, **options)
        self.stated = self.stated and self.axes == "bft"
        self.axes = "bft"
        if kind in ("MaxPool1d", "AvgPool1d"):
            self._windows(before)

    def _windows(self, before):
        """The layers from number ``before`` on are a window, and what pads in front of it."""
        for layer in self.builder.layers[before:]:
            self.packing.window(layer)

    def _pool_options(self, line, kind, first, others):
        """The options of a pooling layer, its size among them, which may stand without a name."""
        options = dict(line.options)
        if line.words and kind in pictures.POOLS and "," in line.words[0] and first not in options:
            options[first], line = line.words[0], dataclasses.replace(line, words=line.words[1:])
        options = pictures.pairs_of(line, options) if kind in pictures.POOLS else options
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
        return options

    # -- which axis an option means --------------------------------------------------------------------------
    def axis_of(self, line, dim, what):
        """The axis, "f" or "t", that ``dim`` of a line means."""
        if not self.builder.signal(self.x).time:
            axes = "bf"
        elif not self.sure:
            axes = "bxf"  # either (batch, time, features) or the layer's own order
        else:
            axes = self.axes
        if dim is None and axes == "bft":
            raise line.refuse(
                f"{what} must state its dim where the axes are (batch, channels, time)",
                fix=f"Write {what} dim=1 for the channels.",
            )
        dim = -1 if dim is None else dim
        if type(dim) is not int or not -len(axes) <= dim < len(axes) or axes[dim] == "b":
            raise line.refuse(f"{what} is over the features or the frames", found=f"dim={dim}")
        if axes[dim] == "x":
            raise line.refuse(
                f"{what} may be over the frames or the channels: the layers before changed the axes",
                found=f"dim={dim}",
                fix="Say how forward holds them there: btf or bft at the end of the line before.",
            )
        return axes[dim]

    def check_features(self, line, default):
        """Refuse a line whose ``dim`` is not the features."""
        dim = line.options.get("dim", default)
        unsure = self.builder.signal(self.x).time and not self.sure and dim in (1, -2)
        if dim is not None and not unsure and self.axis_of(line, dim, line.kind) != "f":
            raise line.refuse(f"{line.kind} is supported over the features only", found=f"dim={dim}")

    # -- layers without tensors, and the spec's own words ----------------------------------------------------
    def _last(self, line):
        self.x = self.builder.add(Last, "last", self.x)

    def _last_state(self, line):
        if self.rnn is None or self.x != self.rnn.sequence:
            raise line.refuse("last_state must follow the line of an RNN, LSTM or GRU")
        self.x, self.rnn = join(self.builder, "last_state", self.rnn.h[-1]), None
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

    def _flip(self, line):
        self.x = self.builder.add(Reverse, "flip", self.x)

    def _dropout(self, line):
        """The identity at inference."""

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
        if not line.words and not self.stated and self.axes != self.stated_axes and signal.width > 1:
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
        self.outer = (self.builder, self.x, self.axes, self.stated, self.stated_axes, self.packing)
        self.builder = GraphBuilder()
        self.x = self.builder.input("frame", (channels,), length=length, axes="bft")
        self.axes = self.stated_axes = "bft"
        self.packing, self.stated = Packing(), True

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
        self.builder, self.x, self.axes, self.stated, self.stated_axes, self.packing = self.outer
        self.outer = None
        self.x = self.builder.add(TimeDistributed, "per_frame", self.x, graph=inner)

    # -- the end ---------------------------------------------------------------------------------------------
    def finish(self, outputs, metadata):
        """The Graph with ``outputs``, [(name, Result)]."""
        if self.outer is not None:
            raise UnsupportedModelError("per_frame has no end", where="spec", fix="Add a line: end.")
        if self.packing.packed:
            raise UnsupportedModelError(
                "pack has no pad or last_state behind it", where="spec", fix="Add a line: pad."
            )
        metadata = dict(metadata or {})
        metadata |= {"packed": True} if self.alone else self.packing.metadata(self._cut(outputs))
        if len(self.rnns) == 1:
            metadata["initial_states"] = state_form.of_stack(*self.rnns[0])
        if self.assumptions:
            metadata["assumptions"] = [*metadata.get("assumptions", ()), *self.assumptions]
        for name, result in outputs:
            value = self.settle(self.results[result])
            timed = self.builder.signal(value.reference).time
            if value.axes in pictures.AXES:
                Pictures(self, name).output(name, value)
                continue
            first = timed and value.axes == "bft" and (value.stated or self.stated_axes == "bft")
            self.builder.output(name, value.reference, "bft" if first else "btf")
        return self.builder.graph(metadata=metadata)

    def _cut(self, outputs):
        return [name for name, result in outputs if getattr(self.results[result], "longest", False)]


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


OWN_WORDS = {
    "last": SpecNetwork._last,
    "last_state": SpecNetwork._last_state,
    "pack": SpecNetwork._pack,
    "pad": SpecNetwork._pad,
    "mean": SpecNetwork._mean,
    "max": SpecNetwork._max,
    "flip": SpecNetwork._flip,
    "flatten": SpecNetwork._flatten,
    "Dropout": SpecNetwork._dropout,
    "per_frame": SpecNetwork._per_frame,
    "end": SpecNetwork._end,
    "unsqueeze": None,  # of pictures
    "frames": None,
}
