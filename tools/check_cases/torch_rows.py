"""Modules that PyTorch runs and rnnrt once read wrongly (W) or refused wrongly (R)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from outcome import Row, Wrong, compare, need
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import rnnrt

WHOLE = torch.tensor([9, 4, 2])


def _pack(x, lengths):
    return pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)


def _pad(packed, total=None):
    return pad_packed_sequence(packed, batch_first=True, total_length=total)[0]


def _of(forward, count=1, **parts):
    """A module of a class of its own, whose forward has as many named parameters as it takes."""
    if count == 1:
        body = {"forward": lambda self, x: forward(self, x)}
    elif count == 2:
        body = {"forward": lambda self, x, n: forward(self, x, n)}
    else:
        body = {"forward": lambda self, x, h, c: forward(self, x, h, c)}
    module = type("Net", (nn.Module,), body)()
    for name, part in parts.items():
        module.__setattr__(name, part)
    return module.eval()


def _answer(module, *inputs):
    with torch.no_grad():
        made = module.eval()(*inputs)
    return tuple(y.float().numpy() for y in made) if isinstance(made, tuple) else made.float().numpy()


def _gru(inputs=4, units=5):
    return nn.GRU(inputs, units, batch_first=True)


def rows(folder):
    torch.manual_seed(0)
    x = torch.randn(3, 9, 4)
    yield from _wrong(x)
    yield from _refused(x)


# ---- wrong numbers -----------------------------------------------------------------------------------------


def _wrong(x):
    whole = "W1 lengths cut every input: "
    forwards = {
        "pad(total_length=T).mean(1)": lambda s, x, n: _pad(s.g(_pack(x, n))[0], x.size(1)).mean(1),
        "pad(total_length=T).max(1)": lambda s, x, n: _pad(s.g(_pack(x, n))[0], x.size(1)).max(1)[0],
        "pad(total_length=T)": lambda s, x, n: _pad(s.g(_pack(x, n))[0], x.size(1)),
        "h[-1] beside x.mean(1)": lambda s, x, n: torch.cat([s.g(_pack(x, n))[1][-1], x.mean(1)], 1),
        "h[-1] beside x[:, -1]": lambda s, x, n: torch.cat([s.g(_pack(x, n))[1][-1], x[:, -1]], 1),
        "pad": lambda s, x, n: _pad(s.g(_pack(x, n))[0]),
    }
    for name, forward in forwards.items():

        def run(forward=forward):
            module = _of(forward, 2, g=_gru())
            nn.init.constant_(module.g.bias_ih_l0, -2.0)
            lengths = torch.tensor([5, 4, 2])
            model = rnnrt.from_torch(module, example=(x, WHOLE))
            return compare(model(x.numpy(), lengths=lengths.numpy()), _answer(module, x, lengths))

        yield Row(f"torch/{whole}{name}", run, "may", ("length", "mean", "last", "time"))

    def pack_pad():
        module = _of(lambda s, x, n: s.l(_pad(_pack(x, n))), 2, l=nn.Linear(4, 3))
        model = rnnrt.from_torch(module)
        return compare(model(x.numpy(), lengths=WHOLE.numpy()), _answer(module, x, WHOLE))

    yield Row("torch/W2 pack then pad without an RNN", pack_pad)

    for word in ("last", "last_state", "mean", "max"):

        def lengths(word=word):
            gru, dense = _gru(), nn.Linear(5, 3)
            state = {"g." + k: v for k, v in gru.state_dict().items()}
            state |= {"fc." + k: v for k, v in dense.state_dict().items()}
            model = rnnrt.from_torch(state, spec=f"g: GRU\n{word}\nfc: Linear")
            found = model(x[:2].numpy(), lengths=np.array([9, 3]))[1]
            return compare(found, model(x[1, :3].numpy()))

        yield Row(f"torch/W3 lengths with {word}, not packed", lengths, "must", ("pack",))

    def packed_spec():
        gru, dense = _gru(), nn.Linear(5, 3)
        state = {"g." + k: v for k, v in gru.state_dict().items()}
        state |= {"fc." + k: v for k, v in dense.state_dict().items()}
        model = rnnrt.from_torch(state, spec="pack\ng: GRU\npad total_length\nfc: Linear")
        module = _of(lambda s, x, n: s.fc(_pad(s.g(_pack(x, n))[0], x.size(1))), 2, g=gru, fc=dense)
        n = torch.tensor([5, 4, 2])
        return compare(model(x.numpy(), lengths=n.numpy()), _answer(module, x, n))

    yield Row("torch/W3 a spec that packs", packed_spec)

    p, q = torch.randn(1, 3, 5), torch.randn(1, 3, 5)

    def tensorflow_order():
        module = type("A", (nn.Module,), {"forward": lambda s, x, state: s.l(x, (state[1], state[0]))[0]})()
        module.l = nn.LSTM(4, 5, batch_first=True)
        model = rnnrt.from_torch(module)
        return compare(model(x.numpy(), initial_state=(p.numpy(), q.numpy())), _answer(module, x, (p, q)))

    yield Row("torch/W4 c, h = state", tensorflow_order, "may", ("state", "order"))

    def crossed():
        def forward(s, x, h):
            return torch.cat([s.a(x, h[1])[0], s.b(x, h[0])[0]], -1)

        module = type("B", (nn.Module,), {"forward": forward})()
        module.a, module.b = _gru(), _gru()
        model = rnnrt.from_torch(module)
        both = torch.cat([p, q])
        return compare(model(x.numpy(), initial_state=both.numpy()), _answer(module, x, (p, q)))

    yield Row("torch/W4 a(x, h[1]), b(x, h[0])", crossed, "may", ("state", "order"))
    yield from _never_compared(x)
    yield from _subclasses(x)
    yield from _untransposed()


def _never_compared(x):
    def guarded(s, x):
        if isinstance(x, torch.Tensor):  # a tracer's proxy is not a tensor
            x = (x - 0.5) * 2
        return s.l(x)[0]

    def guarded_states(s, x, h, c):
        if isinstance(x, torch.Tensor):
            x = (x - 0.5) * 2
        return s.l(x, (h, c))[0]

    lstm = lambda: nn.LSTM(4, 5, batch_first=True)
    h = torch.randn(1, 3, 5)

    def run(forward, count, cast, *more, **options):
        module = cast(_of(forward, count, l=lstm()))
        dtype = next(module.parameters()).dtype
        model = rnnrt.from_torch(module)
        said = " ".join(model.assumptions)
        try:
            expected = _answer(module, x.to(dtype), *more)
            return compare(
                model(x.numpy(), **options), expected, tolerance=2e-5 if dtype.itemsize > 2 else 2e-2
            )
        except Wrong as error:
            need("not compared" in said, f"{error}, and nothing is said")
            return f"said: {said}"

    states = {"initial_state": (h.numpy(), h.numpy())}
    says = ("torch", "compare", "answer")
    yield Row("torch/W5 float32", lambda: run(guarded, 1, lambda m: m), "may", says)
    yield Row("torch/W5 double weights", lambda: run(guarded, 1, nn.Module.double), "may", says)
    yield Row("torch/W5 half weights", lambda: run(guarded, 1, nn.Module.half), "may", says)
    yield Row("torch/W5 states", lambda: run(guarded_states, 3, lambda m: m, h, h, **states), "may", says)


def _subclasses(x):
    class Causal(nn.Conv1d):
        def _conv_forward(self, x, weight, bias):
            return super()._conv_forward(F.pad(x, (2, 0)), weight, bias)

    class Standardised(nn.Conv1d):
        def _conv_forward(self, x, weight, bias):
            return super()._conv_forward(x, weight - weight.mean((1, 2), keepdim=True), bias)

    class Twice(nn.Linear):
        def __call__(self, x):
            return super().__call__(x) * 2

    for module, given in (
        (Causal(4, 5, 3), x.transpose(1, 2)),
        (Standardised(4, 5, 3), x.transpose(1, 2)),
        (Twice(4, 5), x),
    ):
        run = lambda m=module, g=given: compare(rnnrt.from_torch(m)(g.numpy()), _answer(m, g))
        yield Row(f"torch/W6 {type(module).__name__}", run, "may", ("subclass", type(module).__name__))


def _untransposed():
    def batch_norm():
        module = _of(lambda s, x: s.f(s.bn(s.l(x)[0])), l=nn.LSTM(3, 20, batch_first=True))
        module.bn, module.f = nn.BatchNorm1d(20), nn.Linear(20, 2)
        module.bn.running_mean.normal_()
        x = torch.randn(2, 20, 3)
        model = rnnrt.from_torch(module.state_dict(), spec="l: LSTM\nbn: BatchNorm1d\nf: Linear")
        return _compared_or_said(model, x, module)

    def pool():
        module = _of(lambda s, x: F.avg_pool1d(s.l(x)[0], 3, 1, 1), l=nn.LSTM(3, 6, batch_first=True))
        x = torch.randn(2, 20, 3)
        model = rnnrt.from_torch(module.state_dict(), spec="l: LSTM\nAvgPool1d 3 stride=1 padding=1")
        return _compared_or_said(model, x, module)

    yield Row("torch/W7 BatchNorm1d on (batch, time, features)", batch_norm, "may", ("transpose", "axis"))
    yield Row("torch/W7 avg_pool1d on (batch, time, features)", pool, "may", ("transpose", "axis"))


def _compared_or_said(model, x, module):
    try:
        return compare(model(x.numpy()), _answer(module, x))
    except Wrong as error:
        said = " ".join(model.assumptions)
        need("transpose" in said or "over time" in said, f"{error}, and the axis is not said: {said}")
        return f"said: {said}"


# ---- refused falsely or badly ------------------------------------------------------------------------------


def _refused(x):
    for kernel in (3, 7, 15):

        def residual(kernel=kernel):
            conv, shortcut = (
                nn.Conv1d(4, 5, kernel, stride=2, padding=kernel // 2),
                nn.Conv1d(4, 5, 1, stride=2),
            )
            module = _of(lambda s, x: F.relu(s.c(x) + s.d(x)), c=conv, d=shortcut)
            given = torch.randn(2, 4, 41)
            return compare(rnnrt.from_torch(module)(given.numpy()), _answer(module, given))

        yield Row(f"torch/R1 strided residual, kernel {kernel}", residual)

    def divide():
        module = _of(lambda s, x: s.g((x - s.mean) / s.std)[0], g=_gru())
        module.register_buffer("mean", torch.randn(4))
        module.register_buffer("std", torch.rand(4) + 0.5)
        return compare(rnnrt.from_torch(module)(x.numpy()), _answer(module, x))

    yield Row("torch/R2 divide by a buffer", divide)
    yield from _crashes(x)

    def guard():
        def forward(s, x):
            if not torch.is_tensor(x):
                x = x["features"]
            return s.l(x)[0]

        module = _of(forward, l=nn.LSTM(4, 5, batch_first=True))
        return compare(rnnrt.from_torch(module, example=x)(x.numpy()), _answer(module, x))

    yield Row("torch/R4 export where fx misleads", guard)

    def long_example():
        import time

        module, given = _of(lambda s, x: s.g(x)[0], g=_gru(3, 16)), torch.randn(2, 4000, 3)
        start = time.process_time()  # whatever else the machine is doing
        model = rnnrt.from_torch(module, example=given)
        seconds = time.process_time() - start
        need(seconds < 10, f"an example of 4,000 frames takes {seconds:.0f} s")
        return f"{compare(model(given.numpy()), _answer(module, given))}, {seconds:.1f} s"

    yield Row("torch/R5 an example of 4,000 frames", long_example)
    yield from _messages(x)
    yield from _merging()


def _crashes(x):
    class Stateful(nn.Module):
        def __init__(self):
            super().__init__()
            self.l = nn.LSTM(4, 5, batch_first=True)
            self.hidden = None

        def forward(self, x, hidden):
            return self.l(x, hidden)[0]

    class Keeps(nn.Module):
        def __init__(self):
            super().__init__()
            self.l = nn.LSTM(4, 5, batch_first=True)

        def forward(self, x):
            return self.l(x)[0]

    h = torch.zeros(1, 3, 5)
    examples = {"(x, (h, c))": (x, (h, h)), "{'x': x}": {"x": x}, "(x, None)": (x, None)}
    for name, example in examples.items():
        run = lambda e=example: str(rnnrt.from_torch(Stateful(), example=e))
        yield Row(f"torch/R3 example={name}", run, "may")

    def bare():
        gru = _gru()
        gru.hidden = gru(x)[1:]
        return compare(rnnrt.from_torch(gru)(x.numpy()), _answer(_of(lambda s, x: s.g(x)[0], g=gru), x))

    def normed():
        lstm = nn.utils.parametrizations.weight_norm(nn.LSTM(4, 5), "weight_hh_l0")
        lstm(x)
        return str(rnnrt.from_torch(lstm))

    def kept():
        module = Keeps()
        module.last = module.l(x)[1]
        return compare(rnnrt.from_torch(module)(x.numpy()), _answer(module, x))

    def double():
        module = Keeps().double()
        model = rnnrt.from_torch(module, example=x.double())
        return compare(model(x.numpy()), _answer(module, x.double()))

    yield Row("torch/R3 a bare GRU that keeps its states", bare)
    yield Row("torch/R3 a weight-normed LSTM", normed, "may")
    yield Row("torch/R3 a module that keeps its states", kept, "may")
    yield Row("torch/R3 double module, double example", double)


def _messages(x):
    class Holds(nn.Module):
        def __init__(self):
            super().__init__()
            self.g, self.h = _gru(), None

        def forward(self, x):
            y, self.h = self.g(x, self.h)
            return y

    forwards = {
        "cat over time": (lambda s, x: s.g(torch.cat([x, x], 1))[0], {"g": _gru()}, ("time",)),
        "x[:, 1:] - x[:, :-1]": (lambda s, x: s.g(x[:, 1:] - x[:, :-1])[0], {"g": _gru()}, ("time", "slice")),
        "x[..., :2]": (
            lambda s, x: torch.cat([s.g(x[..., :2])[0], x[..., 2:]], -1),
            {"g": _gru(2)},
            ("...", "Ellipsis", "slice"),
        ),
        "Sequential(LSTM, Linear)": (
            lambda s, x: s.q(x),
            {"q": nn.Sequential(nn.LSTM(4, 5), nn.Linear(5, 2))},
            ("RNN returns", "tuple"),
        ),
        "a cut to x's length": (
            lambda s, x: s.c(x.transpose(1, 2))[:, :, : x.size(1)],
            {"c": nn.Conv1d(4, 5, 3, padding=2)},
            ("slice", "length", "time", "cut"),
        ),
        "x.dim() asked": (lambda s, x: s.g(x)[0] if x.dim() == 3 else x, {"g": _gru()}, ("dim", "example")),
        "LSTMCell": (lambda s, x: s.c(x[:, 0])[0], {"c": nn.LSTMCell(4, 5)}, ("LSTMCell",)),
        "state kept in self.h": (lambda s, x: s.m(x), {"m": Holds()}, ("self", "state", "keep")),
    }
    for name, (forward, parts, says) in forwards.items():
        for example in (None, x):

            def run(forward=forward, parts=parts, example=example):
                module = _of(forward, **parts)
                model = rnnrt.from_torch(module, **({} if example is None else {"example": example}))
                try:
                    expected = _answer(module, x)
                except Exception as error:
                    raise Wrong(f"imports, and torch itself says: {error}") from error
                return compare(model(x.numpy()), expected)

            what = "" if example is None else ", with an example"
            yield Row(f"torch/R6 {name}{what}", run, "may", says)


def _merging():
    class LowRank(nn.Linear):
        """Merges its low-rank part into the weight when it leaves training, as loralib does."""

        def __init__(self, inputs, outputs):
            super().__init__(inputs, outputs)
            self.down, self.up = nn.Parameter(torch.randn(2, inputs)), nn.Parameter(torch.randn(outputs, 2))
            self.merged = False

        def train(self, mode=True):
            super().train(mode)
            if mode == self.merged:
                sign = -1 if mode else 1
                self.weight.data += sign * (self.up.data @ self.down.data)
                self.merged = not mode
            return self

        def forward(self, x):
            low = 0 if self.merged else x @ self.down.T @ self.up.T
            return F.linear(x, self.weight, self.bias) + low

    def run(evaluated):
        torch.manual_seed(1)
        module = type("M", (nn.Module,), {"forward": lambda s, x: s.g(s.l(x))[0]})()
        module.l, module.g = LowRank(4, 5), _gru(5, 5)
        module.train()
        x = torch.randn(2, 9, 4)
        expected = module(x).detach().numpy()
        module.train(not evaluated)
        before = {k: v.clone() for k, v in module.state_dict().items()}
        refused = found = None
        try:
            found = rnnrt.from_torch(module)(x.numpy())
        except rnnrt.RnnrtError as error:
            refused = error
        moved = [k for k, v in module.state_dict().items() if not torch.equal(v, before[k])]
        need(not moved, f"the import changed the user's {moved}")
        need(module.training is not evaluated, "the import changed the module's mode")
        if refused:
            raise refused
        return compare(found, expected)

    yield Row("torch/R7 weights merged by train(), in training mode", lambda: run(False), "may")
    yield Row("torch/R7 weights merged by train(), in eval mode", lambda: run(True), "may")
