"""The steps of random PyTorch forwards that hold no state: pointwise, and over windows of frames."""

import random

import torch
import torch.nn.functional as F
from torch import nn


class Step:
    """One step of a program: its words, and run(module, values), which adds what it makes to the values
    (traced ones too).
    """

    def __init__(self, words, run):
        self.words, self.run = words, run


class Blocks:
    """A program as it grows (torch_forwards.Writer). Its current value has ``axes`` "btf", "bft" or "tbf",
    ``width`` features, and ``frames`` (span, stride) as against the input; ``end``: whether it was cut to the
    longest row, so that nothing may look at where it ends.
    """

    def __init__(self, seed):
        self.r = random.Random(seed)
        torch.manual_seed(seed)
        self.parts, self.steps, self.buffers, self.number = {}, [], {}, 0

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
