"""A module whose forward takes one row without a batch axis, or a batch of one that it writes as a number, as
a module that takes a batch: each row answers as forward does of that row alone.

A program of torch.export sees forward under torch.vmap; whoever runs the module sees a loop over the rows.
"""

from __future__ import annotations

import functools
import inspect

import torch

from ...errors import UnsupportedModelError
from .copy import evaluated
from .program import leaves

NOTE = (
    "example is one row without a batch axis: the model takes a batch of such rows, and answers each as "
    "forward answers it alone."
)
#: rows of an example that is made of one
_ROWS = 2
_STACKS = (torch.nn.RNN, torch.nn.GRU, torch.nn.LSTM)


class _Joining(torch.overrides.TorchFunctionMode):
    """Has torch.cat and torch.stack be one operator of ours (export.py)."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in (torch.cat, torch.concat, torch.concatenate, torch.stack) and "out" not in kwargs:
            tensors = args[0] if args else kwargs["tensors"]
            axis = args[1] if len(args) > 1 else kwargs.get("dim", kwargs.get("axis", 0))
            if func is torch.stack:
                tensors = [x.unsqueeze(axis) for x in tensors]
            if len(tensors) > 1:
                return torch.ops.rnnrt.joined(list(tensors), axis)
            return tensors[0]
        return func(*args, **kwargs)


class _Layer(torch.nn.Module):
    """A layer of PyTorch as a part of a module with a forward of its own."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, input, hx=None):
        return self.layer(input) if hx is None else self.layer(input, hx)


def _gates(cell, x, h, count):
    """What the gates read of an input and of a state, a list each."""
    linear, n = torch.nn.functional.linear, cell.hidden_size
    both = linear(x, cell.weight_ih, cell.bias_ih), linear(h, cell.weight_hh, cell.bias_hh)
    return [[made.narrow(-1, k * n, n) for k in range(count)] for made in both]


def _zero(cell, x):
    return x.new_zeros((*x.shape[:-1], cell.hidden_size))


class _LSTMCell(torch.nn.LSTMCell):
    """One step in the operators it is made of: torch.vmap does not take the step itself."""

    def forward(self, input, hx=None):
        h, c = hx if hx is not None else (_zero(self, input),) * 2
        i, f, g, o = (read + own for read, own in zip(*_gates(self, input, h, 4)))
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class _GRUCell(torch.nn.GRUCell):
    """As ``_LSTMCell``."""

    def forward(self, input, hx=None):
        h = hx if hx is not None else _zero(self, input)
        read, own = _gates(self, input, h, 3)
        r, z = torch.sigmoid(read[0] + own[0]), torch.sigmoid(read[1] + own[1])
        n = torch.tanh(read[2] + r * own[2])
        return (1 - z) * n + z * h


class _RNNCell(torch.nn.RNNCell):
    """As ``_LSTMCell``."""

    def forward(self, input, hx=None):
        (read,), (own,) = _gates(self, input, hx if hx is not None else _zero(self, input), 1)
        return (torch.relu if self.nonlinearity == "relu" else torch.tanh)(read + own)


_STEPS = {torch.nn.LSTMCell: _LSTMCell, torch.nn.GRUCell: _GRUCell, torch.nn.RNNCell: _RNNCell}


def by_rows(module, example):
    """(a copy of ``module`` that takes a batch of rows, an example of several of them), None where the
    example is not such a row.
    """
    if not example:
        return None
    own, named = _ready(module)
    example = {named.get(name, name): value for name, value in example.items()}
    tensors = [x for value in example.values() for _, x in _tensors(value)]
    if any(_place(x) is None and _state_place(x) is None for x in tensors):
        return None
    before = _held(own)
    answer, states = _run(own, example)
    if answer is None or _held(own) != before:
        return None  # a forward that keeps something answers a row otherwise than the one before
    places = {}
    for name, value in example.items():
        for path, x in _tensors(value):
            place = _state_place(x) if (name, path) in states else _place(x)
            if place is None:
                return None
            places[name, path] = place
    several = {
        name: _mapped(value, lambda path, x, name=name: _joined([x] * _ROWS, places[name, path]))
        for name, value in example.items()
    }
    if (
        set(places) <= states
        or all(kept for _, kept in places.values())
        and _run(own, several)[0] is not None
    ):
        return None  # forward takes a batch itself
    ends = [_end(y) for y in leaves(answer) if isinstance(y, torch.Tensor)]
    _take_rows(own, places, ends)
    own.first = next((name, places[name, path][0]) for name, path in places if (name, path) not in states)
    return own, several


def _ready(module):
    """(a copy that can take rows, {parameter of the module's forward: of the copy's})."""
    own, named = evaluated(module).cpu(), {}
    if type(module).__module__.startswith("torch."):
        names = list(inspect.signature(module.forward).parameters)
        own, named = _Layer(own), dict(zip(names, ("input", "hx")))
    for part in own.modules():
        if type(part) in _STEPS:
            part.__class__ = _STEPS[type(part)]
    return own, named


def _take_rows(own, places, ends):
    own.__class__ = _of_rows(type(own), places, ends)
    own.one_row = {
        "inputs": [[name, list(path), axis, kept] for (name, path), (axis, kept) in places.items()],
        "outputs": [list(end) for end in ends],
    }


def as_said(module, said):
    """A copy of a module that takes rows, as a graph's metadata say of it ("one_row")."""
    own, _ = _ready(module)
    places = {(name, tuple(path)): (axis, kept) for name, path, axis, kept in said["inputs"]}
    _take_rows(own, places, [tuple(end) for end in said["outputs"]])
    return own


def _held(module):
    """What a module keeps: which tensors, how often they were written, and what its attributes are."""
    return [
        (name, key, id(value), value._version if isinstance(value, torch.Tensor) else None)
        for name, part in module.named_modules()
        for key, value in (*part._parameters.items(), *part._buffers.items(), *vars(part).items())
    ]


def takes_rows(module):
    """Whether a module is one that ``by_rows`` made; ``first`` then says where the batch of an input is: (its
    name, axis)."""
    return getattr(module, "takes_rows", False) is True


def _run(module, example):
    """(what forward answers of the example, without numbers; {(parameter, path)} of the tensors that reach a
    recurrent layer as its first state), (None, None) where it does not run: without numbers, a forward that
    asks for them ends here.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode  # loads sympy

    states, given = set(), {}

    def seen(layer, args, options):
        hx = options.get("hx", args[1] if len(args) > 1 else None)
        places = [x.untyped_storage()._cdata for x in leaves(hx) if x is not None]
        states.update(given[place] for place in places if place in given)

    stacks = [m for m in module.modules() if type(m) in _STACKS]
    hooks = [m.register_forward_pre_hook(seen, with_kwargs=True) for m in stacks]
    try:
        with FakeTensorMode(allow_non_fake_inputs=True) as mode, torch.no_grad():
            fake = {name: _mapped(v, lambda _, x: mode.from_tensor(x)) for name, v in example.items()}
            for name, value in fake.items():
                given |= {x.untyped_storage()._cdata: (name, path) for path, x in _tensors(value)}
            return module(**fake), states
    except Exception:  # noqa: BLE001 - whatever the user's own forward raises; how it is read says why
        return None, None
    finally:
        for hook in hooks:
            hook.remove()


def _tensors(value, path=()):
    if isinstance(value, (tuple, list)):
        return [found for k, part in enumerate(value) for found in _tensors(part, (*path, k))]
    return [(path, value)] if isinstance(value, torch.Tensor) else []


def _mapped(value, function, path=()):
    if isinstance(value, (tuple, list)):
        return type(value)(_mapped(part, function, (*path, k)) for k, part in enumerate(value))
    return function(path, value) if isinstance(value, torch.Tensor) else value


def _state_place(x):
    """(axis of the batch, whether forward has one there): of a state, (layers, 1, n) or (layers, n)."""
    return (1, x.ndim == 3) if x.ndim == 2 or x.ndim == 3 and x.shape[1] == 1 else None


def _place(x):
    """As ``_state_place`` of an input, None where its first axis may be a batch."""
    if x.ndim and x.shape[0] == 1 and (x.ndim > 1 or not x.is_floating_point()):
        return 0, True
    if x.ndim < (3 if x.is_floating_point() else 2):
        return 0, False
    return (1, True) if x.ndim == 3 - (not x.is_floating_point()) and x.shape[1] == 1 else None


def _end(y):
    """As ``_state_place`` of an answer."""
    return next(((k, True) for k in (1, 0) if y.ndim > 1 + k and y.shape[k] == 1), (0, False))


def _joined(rows, place):
    axis, kept = place
    return torch.cat(rows, axis) if kept else torch.stack(rows, axis)


def _of_rows(kind, places, ends):
    """A subclass of a module's class whose forward takes rows: inputs with the batch at ``places``, answers
    with it at ``ends``.
    """

    @functools.wraps(kind.forward)
    def forward(self, *args, **options):
        given = dict(
            inspect.signature(functools.partial(kind.forward, self)).bind(*args, **options).arguments
        )
        found = [(key, x) for n, v in given.items() for key, x in [((n, p), x) for p, x in _tensors(v)]]
        axes = [places.get(key, (0, False)) for key, _ in found]

        def one(*tensors):
            own = {
                key: x.unsqueeze(axis) if kept else x
                for (key, _), x, (axis, kept) in zip(found, tensors, axes)
            }
            row = {n: _mapped(v, lambda path, _, n=n: own[n, path]) for n, v in given.items()}
            answer = kind.forward(self, **row)
            made = [y for y in leaves(answer) if isinstance(y, torch.Tensor)]
            if len(made) != len(ends):
                raise UnsupportedModelError("forward answers another number of tensors for another row")
            return tuple(y.squeeze(axis) if kept else y for y, (axis, kept) in zip(made, ends)), answer

        tensors = [x for _, x in found]
        if torch.compiler.is_exporting():
            said = []

            def traced(*own):
                made, answer = one(*own)
                said.append(answer)
                return made

            # the batch first on both sides: torch.export loses a tensor that torch.vmap itself moves it in
            with _Joining():
                made = torch.vmap(traced)(*(x.movedim(axis, 0) for x, (axis, _) in zip(tensors, axes)))
            return _as(said[0], iter([y.movedim(0, axis) for y, (axis, _) in zip(made, ends)]))
        count = {x.shape[axis] for x, (axis, _) in zip(tensors, axes)}
        if len(count) > 1:
            raise ValueError(f"inputs of {sorted(count)} rows")
        several = [one(*(x.select(a, k) for x, (a, _) in zip(tensors, axes))) for k in range(count.pop())]
        made = [torch.stack(own, axis) for own, (axis, _) in zip(zip(*(m for m, _ in several)), ends)]
        return _as(several[0][1], iter(made))

    return type(
        kind.__name__, (kind,), {"forward": forward, "__module__": kind.__module__, "takes_rows": True}
    )


def _as(answer, made):
    """``answer`` with its tensors in order replaced by ``made``."""
    if isinstance(answer, dict):
        return {key: _as(value, made) for key, value in answer.items()}
    if isinstance(answer, (tuple, list)):
        return (
            [_as(value, made) for value in answer]
            if isinstance(answer, list)
            else tuple(_as(value, made) for value in answer)
        )
    return next(made) if isinstance(answer, torch.Tensor) else answer
