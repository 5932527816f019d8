"""Random PyTorch forwards, imported and compared with torch: no answer may differ, and few may be refused.

    python tools/fuzz_torch.py --count 2000 --seed 0

Each forward is a random program over one or two sequences: recurrent layers (packed or not, with states from
the caller or from other layers), convolutions, norms, pools, residuals, Sequential parts, reductions over
time, several outputs. Every import is run at several batches and lengths, with rows of different lengths and
states where forward takes them. Prints the refusals by reason; ends with 1 where an answer differed or an
error was not rnnrt's own, or where more than --refused percent were refused.
"""

import argparse
import collections
import random
import re
import sys
import time
import warnings

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import rnnrt

TOLERANCE = 2e-5  # of float32 answers from each other, scaled; a wrong reading is off by far more


class Step:
    """One step of a program: its words, and f(module, values, batch) -> what it makes, called with the traced
    values too.
    """

    def __init__(self, words, run):
        self.words, self.run = words, run


class Forward(nn.Module):
    """A program as a module. Subclasses below give ``forward`` its parameters by name, for a program's inputs
    are its own.
    """

    def __init__(self, writer):
        super().__init__()
        self.parts = nn.ModuleDict(writer.parts)
        self.steps, self.outputs, self.as_dict = writer.steps, writer.outputs, writer.as_dict
        for name, tensor in writer.buffers.items():
            self.register_buffer(name, tensor)

    def follow(self, values):
        for step in self.steps:
            step.run(self, values)
        made = [values[name] for name in self.outputs]
        if self.as_dict:
            return {f"out_{k}": y for k, y in enumerate(made)}
        return made[0] if len(made) == 1 else tuple(made)


class Plain(Forward):
    def forward(self, x):
        return self.follow({"x": x})


class WithLengths(Forward):
    def forward(self, x, lengths):
        return self.follow({"x": x, "lengths": lengths})


class WithState(Forward):
    def forward(self, x, state):
        return self.follow({"x": x, "state": state})


class WithStateOrNone(Forward):
    def forward(self, x, state=None):
        return self.follow({"x": x, "state": state})


class WithLengthsAndState(Forward):
    def forward(self, x, lengths, state):
        return self.follow({"x": x, "lengths": lengths, "state": state})


class TwoInputs(Forward):
    def forward(self, x, z):
        return self.follow({"x": x, "z": z})


class Writer:
    """Writes one program. Its current value has ``axes`` "btf", "bft" or "tbf", ``width`` features, and
    ``frames`` (span, stride) as against the input; ``end``: whether it was cut to the longest row, so that
    nothing may look at where it ends."""

    def __init__(self, seed):
        self.r = random.Random(seed)
        torch.manual_seed(seed)
        self.parts, self.steps, self.buffers, self.outputs = {}, [], {}, []
        self.states, self.state_kind, self.number = [], None, 0
        self.as_dict = False
        self.build()

    def chance(self, share):
        return self.r.random() < share

    def name(self, stem):
        self.number += 1
        return f"{stem}_{self.number}"

    def part(self, stem, module):
        name = self.name(stem)
        self.parts[name] = module
        return name

    def step(self, words, run):
        self.steps.append(Step(words, run))

    # -- the program -----------------------------------------------------------------------------------------
    def build(self):
        r = self.r
        self.width = self.input_width = r.choice((1, 2, 3, 4, 6))
        self.axes = self.input_axes = r.choice(("btf", "btf", "btf", "bft", "tbf"))
        self.frames, self.end, self.here = (1, 1), False, "x"
        self.two = self.chance(0.12)
        self.packs = not self.two and self.chance(0.4)
        self.takes_state = not self.two and self.chance(0.3)
        self.ids = self.axes != "bft" and not self.two and self.chance(0.15)
        self.enforce_sorted = self.chance(0.4)
        if self.ids:
            self.width = r.choice((3, 4))
            name = self.part("embed", nn.Embedding(11, self.width))
            self.to(name, lambda m, v, at: m.parts[name](v[at]))
        if self.two:
            self.join_second_input()
        made = r.randint(1, 4)
        places = {r.randrange(made) for _ in range(r.randint(1, 2))} if self.packs else set()
        for k in range(made):
            again = (
                getattr(self, "lengths_frames", self.frames) == self.frames
            )  # the same lengths mean the same frames
            (self.packed if k in places and again else self.block)()
        if self.takes_state and not self.states:
            self.recurrent(packed=False)
        self.optional = False
        if self.takes_state:
            self.settle_states()
        self.finish()
        self.as_dict = len(self.outputs) > 1 and self.chance(0.2)

    def to(self, words, f):
        """The next value from the current one."""
        before, after = self.here, self.name("v")
        self.step(words, lambda m, v: v.__setitem__(after, f(m, v, before)))
        self.here = after

    def turn(self, axes):
        """The current value in other axes."""
        if self.axes == axes:
            return
        order = [self.axes.index(a) for a in axes]
        swapped = [k for k in range(3) if order[k] != k]
        if len(swapped) == 2 and self.chance(0.5):
            self.to("transpose", lambda m, v, at: v[at].transpose(*swapped))
        else:
            self.to("permute", lambda m, v, at: v[at].permute(*order))
        self.axes = axes

    def join_second_input(self):
        width = self.r.choice((2, 3))
        self.second_width = width
        self.turn("btf")
        a, b = self.part("fc", nn.Linear(self.width, 4)), self.part("fc", nn.Linear(width, 4))
        how = self.r.choice(("cat", "add", "mul"))
        joined = {
            "cat": lambda p, q: torch.cat([p, q], -1),
            "add": lambda p, q: p + q,
            "mul": lambda p, q: p * torch.sigmoid(q),
        }[how]
        self.to(f"join {how}", lambda m, v, at: joined(m.parts[a](v[at]), m.parts[b](v["z"])))
        self.width = 8 if how == "cat" else 4

    def block(self):
        choices = ["recurrent", "linear", "act", "norm", "affine", "residual", "sequential", "select"]
        choices += ["function", "over_features", "choose"]
        if not self.end:
            choices += ["recurrent", "conv", "pool", "conv_residual", "flip"]
            choices += ["crop", "pad_frames", "squeeze_excite", "over_time"]
        getattr(self, self.r.choice(choices))()

    # -- pointwise -------------------------------------------------------------------------------------------
    def linear(self):
        self.turn("tbf" if self.axes == "tbf" and self.chance(0.5) else "btf")
        wide = self.r.choice((2, 3, 5))
        name = self.part("fc", nn.Linear(self.width, wide, bias=self.chance(0.8)))
        self.to("linear", lambda m, v, at: m.parts[name](v[at]))
        self.width = wide

    def act(self):
        f = self.r.choice(
            (
                torch.tanh,
                torch.sigmoid,
                F.relu,
                F.elu,
                F.silu,
                lambda x: F.leaky_relu(x, 0.2),
                lambda x: x.clamp(min=0),
            )
        )
        self.to("act", lambda m, v, at: f(v[at]))

    def function(self):
        f = self.r.choice(
            (
                F.gelu,
                F.softplus,
                F.mish,
                lambda x: F.celu(x, 0.7),
                lambda x: torch.log(x.abs() + 0.5),
                lambda x: torch.sqrt(x * x + 0.1),
                lambda x: x + torch.sin(1.5 * x).pow(2) / 1.5,
                lambda x: 1 / (x.abs() + 1) - x.clamp(-0.3, 0.6),
                lambda x: torch.exp(-x.square()) + torch.erf(x),
                lambda x: F.hardshrink(x, 0.3) * F.softsign(x),
            )
        )
        self.to("function", lambda m, v, at: f(v[at]))

    def over_features(self):
        """What one number of each frame's features does to all of them."""
        self.turn("btf")
        f = self.r.choice(
            (
                lambda x: x - x.mean(-1, keepdim=True),
                lambda x: x * torch.sigmoid(x.sum(dim=2, keepdim=True)),
                lambda x: x / (x.abs().amax(-1, keepdim=True) + 1),
                lambda x: F.normalize(x, dim=-1, eps=0.1),
                lambda x: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 0.1),
                lambda x: F.log_softmax(x, dim=-1),
            )
        )
        self.to("over features", lambda m, v, at: f(v[at]))

    def choose(self):
        self.turn("btf")
        name = self.part("fc", nn.Linear(self.width, self.width))
        f = self.r.choice(
            (
                torch.maximum,
                torch.minimum,
                lambda x, y: torch.where(x > 0.1, x, y),
                lambda x, y: x.masked_fill(y < 0, 0.5),
                lambda x, y: x / (1 + y.abs()),
            )
        )
        self.to("choose", lambda m, v, at: f(v[at], m.parts[name](v[at])))

    def norm(self):
        if self.chance(0.5):
            self.turn("btf")
            name = self.part("ln", nn.LayerNorm(self.width))
            self.to("layer norm", lambda m, v, at: m.parts[name](v[at]))
            return
        if self.end:
            return self.act()
        self.turn("bft")
        norm = nn.BatchNorm1d(self.width)
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2.0)
        name = self.part("bn", norm)
        self.to("batch norm", lambda m, v, at: m.parts[name](v[at]))

    def affine(self):
        self.turn("btf")
        mean, scale = self.name("mean"), self.name("scale")
        self.buffers[mean], self.buffers[scale] = torch.randn(self.width), torch.rand(self.width) + 0.5
        if self.chance(0.5):
            self.to("normalise", lambda m, v, at: (v[at] - getattr(m, mean)) / getattr(m, scale))
        else:
            self.to("scale", lambda m, v, at: 0.5 * v[at] * getattr(m, scale) + getattr(m, mean))

    def select(self):
        self.turn("btf")
        if self.width < 2:
            return self.act()
        cut = self.r.randint(1, self.width - 1)
        if self.chance(0.5):
            self.to("slice features", lambda m, v, at: v[at][..., :cut])
            self.width = cut
        else:
            wide = self.width
            self.to(
                "swap halves", lambda m, v, at: torch.cat([v[at][:, :, cut:wide], v[at][..., :cut]], dim=2)
            )

    def sequential(self):
        self.turn("btf")
        wide = self.r.choice((2, 4))
        parts = [
            nn.Linear(self.width, wide),
            self.r.choice((nn.Tanh(), nn.ReLU(), nn.SiLU())),
            nn.Dropout(0.3),
        ]
        if self.chance(0.5):
            parts.append(nn.Sequential(nn.LayerNorm(wide), nn.Linear(wide, wide)))
        name = self.part("seq", nn.Sequential(*parts))
        self.to("sequential", lambda m, v, at: m.parts[name](v[at]))
        self.width = wide

    # -- windows ---------------------------------------------------------------------------------------------
    def window(self, span, stride):
        first, step = self.frames
        self.frames = (first + (span - 1) * step, step * stride)

    def conv(self):
        self.turn("bft")
        wide, taps, dilation = self.r.choice((2, 4)), self.r.randint(1, 4), self.r.choice((1, 1, 2))
        stride = self.r.choice((1, 1, 1, 2, 3))
        kind, span = (
            self.r.choice(("none", "int", "same", "causal", "chomp", "chomp by size")),
            (taps - 1) * dilation + 1,
        )
        if kind in ("same", "causal", "chomp", "chomp by size"):
            stride = 1
        padding = {
            "int": self.r.randint(0, 3),
            "same": "same",
            "chomp": span - 1,
            "chomp by size": span - 1,
        }.get(kind, 0)
        options = {"stride": stride, "dilation": dilation, "bias": self.chance(0.8), "padding": padding}
        name = self.part("conv", nn.Conv1d(self.width, wide, taps, **options))
        if kind == "causal":
            self.to("causal conv", lambda m, v, at: m.parts[name](F.pad(v[at], (span - 1, 0))))
        elif kind == "chomp" and span > 1:
            self.to("chomped conv", lambda m, v, at: m.parts[name](v[at])[:, :, : -(span - 1)])
        elif kind == "chomp by size":
            self.to("conv cut to size", lambda m, v, at: m.parts[name](v[at])[:, :, : v[at].size(2)])
        else:
            self.to("conv", lambda m, v, at: m.parts[name](v[at]))
            total = span - 1 if kind == "same" else 2 * padding
            self.window(span - total, stride)
        self.width = wide

    def conv_residual(self):
        """Two paths with the same number of frames at every length."""
        self.turn("bft")
        taps, stride = self.r.choice((3, 5, 7)), self.r.choice((1, 2, 3))
        a = self.part("conv", nn.Conv1d(self.width, 4, taps, stride=stride, padding=taps // 2))
        b = self.part("conv", nn.Conv1d(self.width, 4, 1, stride=stride))
        self.to("strided residual", lambda m, v, at: F.relu(m.parts[a](v[at]) + m.parts[b](v[at])))
        self.width = 4
        self.window(1, stride)

    def pool(self):
        self.turn("bft")
        size, stride = self.r.randint(2, 3), self.r.randint(1, 3)
        padding = self.r.randint(0, size // 2)
        kind = self.r.choice((nn.MaxPool1d, nn.AvgPool1d))
        name = self.part("pool", kind(size, stride=stride, padding=padding))
        self.to("pool", lambda m, v, at: m.parts[name](v[at]))
        self.window(size - 2 * padding, stride)

    def crop(self):
        self.turn("btf")
        before, after = self.r.choice(((1, 0), (0, 1), (2, 1)))
        if self.chance(0.3):
            self.to("difference", lambda m, v, at: v[at][:, 1:] - v[at][:, :-1])
            self.window(2, 1)
        else:
            self.to("crop", lambda m, v, at: v[at][:, before : -after if after else None])
            self.window(before + after + 1, 1)

    def pad_frames(self):
        self.turn("bft")
        before, after, mode = (
            self.r.randint(0, 2),
            self.r.randint(0, 2),
            self.r.choice(("reflect", "replicate")),
        )
        if self.chance(0.3):
            self.to("pad", lambda m, v, at: torch.tanh(F.pad(v[at], (before, after), value=0.5)))
        else:
            self.to(f"pad {mode}", lambda m, v, at: F.pad(v[at], (before, after), mode=mode))
        self.window(1 - before - after, 1)

    def squeeze_excite(self):
        self.turn("bft")
        a = self.part("fc", nn.Linear(self.width, self.width))
        self.to(
            "squeeze-excite", lambda m, v, at: v[at] * torch.sigmoid(m.parts[a](v[at].mean(2))).unsqueeze(-1)
        )

    def over_time(self):
        """What one number of all frames does to each of them."""
        self.turn("btf")
        f = self.r.choice(
            (
                lambda x: x.softmax(1),
                lambda x: x - x.mean(1, keepdim=True),
                lambda x: x / (1 + x.std(1, keepdim=True, unbiased=False)),
                lambda x: x - x[:, -1:],
                lambda x: x * torch.tanh(x.sum(dim=1, keepdim=True)),
            )
        )
        self.to("over time", lambda m, v, at: f(v[at]))

    def flip(self):
        axis = self.axes.index("t")
        self.to("flip time", lambda m, v, at: v[at].flip(axis))

    def residual(self):
        self.turn("btf")
        name = self.part("fc", nn.Linear(self.width, self.width))
        self.to("residual", lambda m, v, at: v[at] + torch.tanh(m.parts[name](v[at])))

    # -- recurrence ------------------------------------------------------------------------------------------
    def rnn(self, batch_first):
        kind = self.r.choice((nn.RNN, nn.LSTM, nn.LSTM, nn.GRU, nn.GRU))
        units, layers, both = self.r.choice((3, 4)), self.r.choice((1, 1, 2)), self.chance(0.35)
        options = {
            "num_layers": layers,
            "bidirectional": both,
            "batch_first": batch_first,
            "bias": self.chance(0.8),
        }
        if kind is nn.RNN:
            options["nonlinearity"] = self.r.choice(("tanh", "relu"))
        if kind is nn.LSTM and self.chance(0.15):
            options["proj_size"] = 2
        return kind(self.width, units, **options)

    def wants_state(self, module):
        """The place among the states of an RNN that starts from the caller's state, else None."""
        if not self.takes_state or self.states and not self.chance(0.6):
            return None
        self.states.append(module)
        return len(self.states) - 1

    def initial(self, place):
        """f(values) -> hx for the RNN at ``place``, once it is known what ``state`` looks like."""
        if place is None:
            return lambda v: None

        def take(v):
            state = v["state"]
            if state is None:
                return None
            if self.state_kind == "own":
                return state
            if self.state_kind == "swapped":
                c, h = state
                return (h, c)
            return state[self.state_order[place]]

        return take

    def settle_states(self):
        """How forward takes its states: as the one RNN's own, (c, h), or a tuple of them in some order."""
        self.state_order = list(range(len(self.states)))
        self.r.shuffle(self.state_order)
        if len(self.states) == 1:
            swap = isinstance(self.states[0], nn.LSTM) and self.chance(0.5)
            self.state_kind = "swapped" if swap else "own"
        else:
            self.state_kind = "tuple"
        self.optional = self.state_kind == "own" and self.chance(0.4)

    def recurrent(self, packed=False):
        order = self.r.choice(("btf", "btf", "tbf"))
        self.turn(order)
        module = self.rnn(order == "btf")
        name, place = self.part("rnn", module), self.wants_state(module)
        take = self.initial(place)
        states = self.name("s")

        def run(m, v, at):
            hx = take(v)
            out, v[states] = m.parts[name](v[at]) if hx is None else m.parts[name](v[at], hx)
            return out

        self.to("rnn", run)
        self.after_rnn(module, states)

    def after_rnn(self, module, states):
        self.width = (module.proj_size or module.hidden_size) * (2 if module.bidirectional else 1)
        self.final = (module, states)

    def packed(self):
        order = self.r.choice(("btf", "btf", "tbf"))
        self.turn(order)
        first, out_first = order == "btf", self.chance(0.8)
        modules = [] if self.chance(0.2) else [self.rnn(first)]
        names, states, kept = [], [], []
        for module in modules:
            names.append(self.part("rnn", module))
            kept.append(self.initial(self.wants_state(module)))
            states.append(self.name("s"))
        keeps_all = self.chance(0.6) and not self.end
        out_axes = "btf" if out_first else "tbf"
        t = order.index("t")
        enforce = self.enforce_sorted

        def run(m, v, at):
            total = v[at].size(t) if keeps_all else None
            p = pack_padded_sequence(v[at], v["lengths"], batch_first=first, enforce_sorted=enforce)
            for name, take, state in zip(names, kept, states):
                hx = take(v)
                p, v[state] = m.parts[name](p) if hx is None else m.parts[name](p, hx)
            return pad_packed_sequence(p, batch_first=out_first, total_length=total)[0]

        self.lengths_frames = self.frames
        self.to("pack, rnn, pad" if modules else "pack, pad", run)
        self.axes = out_axes
        for module, state in zip(modules, states):
            self.after_rnn(module, state)
        self.end = not keeps_all

    # -- the end ---------------------------------------------------------------------------------------------
    def finish(self):
        if not self.parts or self.chance(0.3):
            self.linear()
        outputs = []
        final = getattr(self, "final", None)
        if final is not None and self.chance(0.3):
            (module, states), made = final, self.name("h")
            last_state = self.last_state(module)
            self.step("last state", lambda m, v: v.__setitem__(made, last_state(v[states])))
            outputs.append(made)
        how = (
            "sequence"
            if self.end
            else self.r.choice(
                (
                    "sequence",
                    "sequence",
                    "last",
                    "mean",
                    "max",
                    "adaptive",
                    "first",
                    "sum",
                    "third",
                    "attention",
                )
            )
        )
        axis = self.axes.index("t")
        if how == "sequence":
            if outputs and self.chance(0.5):
                self.outputs = outputs
                return
        elif how == "attention":
            self.turn("btf")
            score, way = self.part("score", nn.Linear(self.width, 1)), self.r.randrange(4)
            pooled = (
                lambda x, w: (x * w).sum(1),
                lambda x, w: torch.bmm(w.transpose(1, 2), x).squeeze(1),
                lambda x, w: torch.einsum("bt,btf->bf", w.squeeze(-1), x),
                lambda x, w: (x.transpose(1, 2) @ w).squeeze(2),
            )[way]
            self.to(
                f"attention {way}",
                lambda m, v, at: pooled(v[at], torch.softmax(m.parts[score](v[at]), dim=1)),
            )
        elif how == "adaptive":
            self.turn("bft")
            pool = self.r.choice((F.adaptive_avg_pool1d, F.adaptive_max_pool1d))
            self.to("adaptive pool", lambda m, v, at: pool(v[at], 1).squeeze(-1))
        else:
            f = {
                "first": lambda x: x.select(axis, 0),
                "third": lambda x: x.select(axis, 2),
                "sum": lambda x: x.sum(axis),
                "mean": lambda x: x.mean(axis),
                "max": lambda x: x.max(dim=axis)[0],
                "last": [lambda x: x[-1], lambda x: x[:, -1], lambda x: x[:, :, -1]][axis],
            }[how]
            self.to(how, lambda m, v, at: f(v[at]))
        if how != "sequence" and self.chance(0.5):
            wide = self.r.choice((1, 3))
            name = self.part("head", nn.Linear(self.width, wide))
            self.to("head", lambda m, v, at: m.parts[name](v[at]))
        outputs.append(self.here)
        self.outputs = outputs

    def last_state(self, module):
        h = (lambda s: s[0]) if isinstance(module, nn.LSTM) else (lambda s: s)
        if module.bidirectional:
            return lambda s: torch.cat([h(s)[-2], h(s)[-1]], dim=1)
        return lambda s: h(s)[-1]

    # -- the module ------------------------------------------------------------------------------------------
    def module(self):
        used = " ".join(step.words for step in self.steps)
        packs, state = "pack" in used, bool(self.states)
        if self.two:
            kind = TwoInputs
        elif packs and state:
            kind = WithLengthsAndState
        elif packs:
            kind = WithLengths
        elif state:
            kind = WithStateOrNone if self.optional else WithState
        else:
            kind = Plain
        self.takes, self.optional = (packs, state), kind is WithStateOrNone
        module = kind(self)
        with torch.no_grad():
            for p in module.parameters():
                p.uniform_(-0.8, 0.8)
        return module

    def enough(self, more):
        """A number of input frames that leaves ``more`` at the end and some at every step."""
        span, stride = self.frames
        return max(span, 4) + stride * more + self.r.randrange(stride)

    def inputs(self, batch, frames, generator):
        sizes = {"b": batch, "t": frames, "f": self.input_width}
        shape = [sizes[a] for a in self.input_axes if not (self.ids and a == "f")]
        x = (
            torch.randint(0, 11, shape, generator=generator)
            if self.ids
            else torch.randn(shape, generator=generator)
        )
        if self.two:
            return [x, torch.randn(batch, frames, self.second_width, generator=generator)]
        return [x]

    def lengths(self, batch, frames, generator):
        span, stride = self.lengths_frames
        most = (frames - span) // stride + 1
        n = torch.randint(1, most + 1, (batch,), generator=generator)
        return n.sort(descending=True).values if self.enforce_sorted else n

    def state(self, batch, generator):
        """``state`` as forward takes it."""

        def own(module):
            count = module.num_layers * (2 if module.bidirectional else 1)
            h = torch.randn(count, batch, module.proj_size or module.hidden_size, generator=generator)
            if not isinstance(module, nn.LSTM):
                return h
            return h, torch.randn(count, batch, module.hidden_size, generator=generator)

        if self.state_kind == "own":
            return own(self.states[0])
        if self.state_kind == "swapped":
            h, c = own(self.states[0])
            return c, h
        made = [None] * len(self.states)
        for place, module in enumerate(self.states):
            made[self.state_order[place]] = own(module)
        return tuple(made)

    def words(self):
        return f"{self.input_axes}{' ids' if self.ids else ''}: " + ", ".join(
            step.words for step in self.steps
        )


def plain(tree):
    """Tensors as arrays, in their tuples."""
    return tuple(map(plain, tree)) if isinstance(tree, tuple) else None if tree is None else tree.numpy()


def one(seed):
    """("ok" | "refused" | "wrong" | "foreign", details) of the forward that ``seed`` makes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        writer = Writer(seed)
        module, generator = writer.module().eval(), torch.Generator().manual_seed(seed)
        packs, state = writer.takes
        example = None
        if random.Random(seed).random() < 0.5:
            frames = writer.enough(15)
            parts = [*writer.inputs(3, frames, generator)]
            parts += [writer.lengths(3, frames, generator)] if packs else []
            parts += [writer.state(3, generator)] if state else []
            example = tuple(parts)
        before = {k: v.clone() for k, v in module.state_dict().items()}
        try:
            model = rnnrt.from_torch(module, example=example)
        except rnnrt.RnnrtError as error:
            return "refused", error, writer.words()
        except Exception as error:  # noqa: BLE001 - what is looked for
            return "foreign", f"{type(error).__name__}: {error}", writer.words()
        if any(not torch.equal(v, before[k]) for k, v in module.state_dict().items()):
            return "wrong", "importing changed the module", writer.words()
        for batch, more, with_state in ((3, 9, True), (1, 24, True), (4, 2, False), (2, 13, True)):
            frames = writer.enough(more)
            x = writer.inputs(batch, frames, generator)
            given, options = list(x), {}
            if packs:
                n = writer.lengths(batch, frames, generator)
                given.append(n)
                options["lengths"] = n.numpy()
            if state and (with_state or not writer.optional):
                s = writer.state(batch, generator)
                given.append(s)
                options["initial_state"] = plain(s)
            with torch.no_grad():
                wanted = module(*given)
            wanted = list(wanted.values()) if isinstance(wanted, dict) else wanted
            wanted = [wanted] if isinstance(wanted, torch.Tensor) else list(wanted)
            try:
                made = model(*(part.numpy() for part in x), **options)
            except rnnrt.RnnrtError as error:
                return (
                    "wrong",
                    f"imported, then refused at batch {batch}, {frames} frames: {error}",
                    writer.words(),
                )
            except Exception as error:  # noqa: BLE001 - what is looked for
                return "foreign", f"{type(error).__name__}: {error}", writer.words()
            made = made if isinstance(made, tuple) else (made,)
            for y, w in zip(made, wanted, strict=True):
                w = w.numpy()
                if y.shape != w.shape:
                    return "wrong", f"shape {y.shape}, torch {w.shape}", writer.words()
                off = np.abs(y - w).max(initial=0.0) / max(1.0, np.abs(w).max(initial=0.0))
                if not off <= TOLERANCE:
                    return (
                        "wrong",
                        f"off by {off:.2g} at batch {batch}, {frames} frames, {sorted(options)}",
                        writer.words(),
                    )
    return "ok", model.provenance.get("assumptions"), writer.words()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the first forward; the others follow")
    parser.add_argument("--refused", type=float, default=10.0, help="percent that may be refused")
    options = parser.parse_args()
    torch.set_num_threads(1)
    counts, reasons, noted, begun = (
        collections.Counter(),
        collections.Counter(),
        collections.Counter(),
        time.time(),
    )
    for seed in range(options.seed, options.seed + options.count):
        kind, details, words = one(seed)
        counts[kind] += 1
        if kind == "refused":
            reasons[re.sub(r"'[^']*'|\d+", "_", details.what)] += 1
        elif kind != "ok":
            print(f"seed {seed}, {kind}: {details}\n    {words}", flush=True)
        elif details:
            noted["; ".join(details)[:120]] += 1
    refused = 100 * counts["refused"] / options.count
    print(
        f"{options.count} forwards from seed {options.seed} in {time.time() - begun:.0f} s: {counts['ok']} "
        f"equal to torch,"
        f" {counts['wrong']} wrong, {counts['foreign']} foreign errors, {counts['refused']} refused "
        f"({refused:.1f} %)"
    )
    for reason, n in reasons.most_common():
        print(f"{n:6}  refused: {reason}")
    for note, n in noted.most_common():
        print(f"{n:6}  assumed: {note}")
    return 1 if counts["wrong"] or counts["foreign"] or refused > options.refused else 0


if __name__ == "__main__":
    sys.exit(main())
