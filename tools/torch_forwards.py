"""Random PyTorch forwards: programs over one or two sequences, the same for the same seed."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch_blocks import Blocks


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


class Writer(Blocks):
    """Writes one program: the module, and what goes into it."""

    def __init__(self, seed):
        super().__init__(seed)
        self.outputs, self.states, self.state_kind = [], [], None
        self.as_dict = False
        self.build()

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
