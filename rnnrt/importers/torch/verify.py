"""Whether a live module answers as the graph read from it: at other batches and lengths, from states that are
not zero, with rows of different lengths. Run in the module's own type of numbers; what could not be compared
comes back in words."""

from __future__ import annotations

import inspect
import itertools
import warnings

import numpy as np
import torch

from ... import reference, state_form
from ...axes import as_said, letters, to_canonical
from ...errors import ShapeError, StateError, UnsupportedModelError
from ...layers import Embedding, Input
from ...verification import distance, longest_row
from .copy import evaluated
from .program import fewest, leaves

TOLERANCE = 1e-4  # of float32 torch against the float64 reference, scaled; a wrong reading is off by far more
ROUNDING = 100  # times the reference's float32 error: magnified rounding is not a wrong reading
COARSE = 16  # units in the last place that a half or bfloat16 module may be off
LONG = 400  # frames from which an example is shortened to what the network needs
NOT_COMPARED = "not compared with torch: "


def compare(module, graph, example, *, optional=(), finals=(), least=1, traced=None, kept=()) -> list[str]:
    """Run the module and the graph at several sizes; what could not be compared, a sentence each.

    ``example``: {parameter of forward: value}, or None: inputs are made up then. ``optional``: parameters
    that forward may go without. ``finals``: (position in forward's result, names of the states it stacks).
    ``least``: the least size the trace holds for; one below it, the module must fail or agree. ``traced``:
    the traced program, to be called as the module: a long example, of which the graph sees a shorter one, is
    run through it. ``kept``: attributes in which forward keeps a state, None before each
    call. Raises UnsupportedModelError where the answers differ.
    """
    module = evaluated(module).cpu()
    comparison = _Comparison(module, graph, example, optional, finals, least, kept)
    notes = [*_read_otherwise(graph), *comparison.notes()]
    if comparison.shortened and traced is not None:
        comparison.at_full_length(traced)
    if _real(module) in (torch.float16, torch.bfloat16):  # too coarse to tell a small fault
        notes += _Comparison(module.float(), graph, example, optional, finals, least, kept).notes()
    return list(dict.fromkeys(notes))


def _read_otherwise(graph):
    """A sentence for each way in which an answer has other axes than torch's."""
    if graph.metadata.get("keeps_ones"):
        yield "an answer keeps the axis of a batch of one, which torch's squeeze drops."
    if rows := graph.metadata.get("rows_written"):
        yield f"forward makes zero states for a batch of {rows} alone; here they are zero for any batch."
    for name in graph.metadata.get("parted_outputs", ()):
        words = {"b": "batch", "t": "time", "f": "features"}
        axes = next(output.axes for output in graph.outputs if output.name == name)
        own = ", ".join(words[a] for a in axes)
        yield f"the output {name!r} is ({own}); torch merges its first two axes."


def _says_nothing(answer):
    """Whether some part of an answer has no numbers, or none that are numbers."""
    tensors = [leaf for leaf in leaves(answer) if isinstance(leaf, torch.Tensor)]
    return any(not t.numel() or t.isnan().all() for t in tensors)


def _real(module, example=None):
    """The type of numbers a module computes in: of several that of the example."""
    tensors = itertools.chain(module.parameters(), module.buffers())
    types = dict.fromkeys(t.dtype for t in tensors if t.is_floating_point())
    given = [x.dtype for x in (example or {}).values() if isinstance(x, torch.Tensor)]
    return next((t for t in given if t in types), next(iter(types), torch.float32))


class _Comparison:
    """One module in one type of numbers against one graph."""

    def __init__(self, module, graph, example, optional, finals, least, kept=()):
        self.kept = kept
        self.module, self.graph, self.finals, self.least = module, graph, finals, least
        self.example, self.optional, self.real = example or {}, set(optional), _real(module, example)
        self.made_up = example is None
        self.inputs = {layer.name: layer for layer in graph.layers if isinstance(layer, Input)}
        self.states = list(graph.metadata.get("state_inputs", ()))
        self.form = graph.metadata.get("initial_states", [])
        self.lengths = graph.metadata.get("lengths_input") or graph.metadata.get("lengths_option")
        self.generator = torch.Generator().manual_seed(0)
        self.failure = None
        #: whether inputs are made of the example's own numbers, for others are outside what forward takes
        self.near_example = False

    def notes(self):
        modes = self._modes()
        agreed = dict.fromkeys(modes, 0)
        for trial, (frames, rows) in enumerate(self._sizes()):
            for mode in modes if trial < 2 else [modes[trial % len(modes)]]:
                if not (self.made_up and agreed[mode] >= 2):
                    agreed[mode] += self._agrees(frames, rows, *mode)
            if trial == 0 and not any(agreed.values()) and not self.made_up and not self.shortened:
                raise UnsupportedModelError(
                    "the module does not run on the example", found=self._first_line(self.failure)
                )
        if not any(agreed.values()) and self.shortened:
            frames, rows = self.own
            agreed[modes[0]] += self._agrees(frames, rows, *modes[0])
        if not any(agreed.values()):
            why = f"it does not run on inputs made up for it ({self._first_line(self.failure)})"
            return [f"{NOT_COMPARED}{why}. Give example= with one example of each input."]
        notes = []
        if self.states and not any(n for (states, _), n in agreed.items() if states):
            notes.append(f"{NOT_COMPARED}the initial states {', '.join(map(repr, self.states))}.")
        if self.lengths and not any(n for (_, lengths), n in agreed.items() if lengths):
            notes.append(f"{NOT_COMPARED}rows of different lengths ({self.lengths!r}).")
        return notes

    def _modes(self):
        """(whether states are given, whether lengths are) of every way the module is called."""
        states = [True] * bool(self.states)
        if not self.states or self.optional >= set(self.states) or self.made_up:
            states.append(False)
        lengths = [True] * bool(self.lengths) + [False] * (not self.lengths or self.lengths in self.optional)
        return list(itertools.product(states, lengths))

    @staticmethod
    def _first_line(error):
        return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]

    # -- sizes -----------------------------------------------------------------------------------------------
    def _sizes(self):
        """(frames, rows) to try."""
        timed = [layer for layer in self.inputs.values() if "t" in layer.axes]
        own = [
            layer for layer in timed if layer.length != 1
        ] or timed  # one frame counts for all of the others
        fixed = next((layer.length for layer in own if layer.length), None)
        self.shortened = False
        if self.made_up:
            few = fewest(self.graph)
            return [
                (fixed or n, rows) for n, rows in ((max(8, few), 2), (few + 9, 3), (few + 64, 2), (400, 1))
            ]
        size = {}
        for name, layer in self.inputs.items():
            shape = dict(zip(layer.axes, self.example[name].shape))
            size |= {axis: n for axis, n in shape.items() if axis != "t" or layer in own}
        own, rows = size.get("t", 1), min(size["b"], max(self.least, 8))
        if fixed:
            return [(fixed, rows), (fixed, rows + 1)]
        time = own if own <= LONG else max(fewest(self.graph), self.least, 64)
        self.shortened, self.own = time != own, (own, rows)
        tried = [(time, rows), (time, rows + 1), (time + 1, 2), (2 * time + 3, 1), (max(time // 2, 1), 3)]
        return tried + [(max(self.least - 1, 1), 2)]

    def at_full_length(self, traced):
        """Raise where the module and its traced program differ on the example itself: forward asked how long
        it is.
        """
        given = {
            name: x.to(self.real) if x.is_floating_point() else x
            for name, x in self.example.items()
            if isinstance(x, torch.Tensor)
        }
        given |= {name: x for name, x in self.example.items() if name not in given}
        wanted = self._run(given)
        if isinstance(wanted, Exception):
            raise UnsupportedModelError(
                "the module does not run on the example", found=self._first_line(wanted)
            )
        found = self._run(given, traced)
        same = not isinstance(found, Exception) and all(
            a.shape == b.shape and distance(a.double().numpy(), b.double().numpy()) <= TOLERANCE
            for a, b in zip(leaves(wanted), leaves(found))
            if isinstance(a, torch.Tensor)
        )
        if not same:
            raise UnsupportedModelError(
                "the module's answer depends on the number of frames in a way the trace does not hold",
                expected="torch's answer on the example",
                found="another",
            )

    # -- one call --------------------------------------------------------------------------------------------
    def _agrees(self, frames, rows, with_states, with_lengths):
        """Whether both ran at this size; raises where their answers differ."""
        given = {name: self._input(layer, name, frames, rows) for name, layer in self.inputs.items()}
        lengths = self._lengths(frames, rows) if with_lengths else None
        if self.lengths:
            given[self.lengths] = lengths
        forms = self._state_forms(rows) if with_states else [dict.fromkeys(self.states)]
        for states in forms:
            expected = self._run(given | states)
            if self.example and not self.near_example and _says_nothing(expected):
                self.near_example = True  # a logarithm, a root: of negative numbers they are no number
                given |= {n: self._input(layer, n, frames, rows) for n, layer in self.inputs.items()}
                expected = self._run(given | states)
            if isinstance(expected, Exception):
                self.failure = expected
                continue
            few = frames < fewest(self.graph)
            if few and _says_nothing(expected):
                continue
            initial = self._by_name(states) if with_states else {}
            if initial is None:
                continue
            try:
                self._judge(given, lengths, initial, expected, frames, rows)
            except ShapeError:
                if not few:
                    raise
                continue  # a slice of too few frames is empty in PyTorch, and refused here
            return True
        return False

    def _run(self, given, module=None):
        """The module's answer, called as its users do: by position as far as that goes; or what it raised."""
        positional, named, by_position = [], {}, True
        given = self.example | given
        for name, parameter in inspect.signature(self.module.forward).parameters.items():
            by_position &= name in given and parameter.kind is not parameter.KEYWORD_ONLY
            if name not in given:
                continue
            value = given[name]
            value = value.clone() if isinstance(value, torch.Tensor) else value  # it may be changed in place
            if by_position:
                positional.append(value)
            else:
                named[name] = value
        for name in self.kept:
            owner, _, key = name.rpartition(".")
            setattr(self.module.get_submodule(owner), key, None)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return (module or self.module)(*positional, **named)
            except Exception as error:  # noqa: BLE001 - whatever the user's own forward raises at a size it does not take
                return error

    def _input(self, layer, name, frames, rows):
        if name in self.graph.metadata.get("row_lengths", {}):
            return self._lengths(frames, rows)
        axes = letters(layer.axes, len(layer.features))
        sizes = {"b": rows, "t": layer.length or frames}
        sizes |= {f"f{k}": n for k, n in enumerate(layer.features)}
        shape = [sizes[a] for a in axes]
        example = self.example.get(name)
        if example is not None and not example.is_floating_point():
            return self._picked(example, shape)
        if self.near_example and example is not None and example.numel():
            picked = self._picked(example, shape).to(self.real)
            return picked * (0.5 + torch.rand(shape, generator=self.generator).to(self.real))
        if layer.ids:
            tables = [len(r.weight) for r in self.graph.consumers(layer.name) if isinstance(r, Embedding)]
            return torch.randint(0, min(tables, default=1), shape, generator=self.generator)
        return torch.randn(shape, generator=self.generator).to(self.real)

    def _picked(self, example, shape):
        return example.flatten()[torch.randint(0, example.numel(), shape, generator=self.generator)]

    def _lengths(self, frames, rows):
        """Lengths in falling order, the longest now all frames and now fewer."""
        most = max(longest_row(self.graph, frames), 1)
        longest = most if rows % 2 else max(most - 2, 1)
        return torch.tensor([max(longest - 2 * k, 1) for k in range(rows)])

    def _state_forms(self, rows):
        """{parameter: states that are not zero} in the form of the example, else in each form its parts may
        have.
        """
        sizes = {}
        for layer in self.graph.layers:
            for state in getattr(layer, "states", ()):
                sizes[f"{layer.name}/{state}"] = layer.output_size if state == "h" else layer.units
        forms = []
        for stacked in (False, True):
            states = {}
            for k, name in enumerate(self.states):
                own = [
                    (p[1:] if len(self.states) > 1 else p, n)
                    for p, n in self.form
                    if len(self.states) < 2 or p[0] == k
                ]
                example = self.example.get(name)
                states[name] = (
                    self._built(own, sizes, rows, stacked) if example is None else self._like(example, rows)
                )
            forms.append(states)
        return forms if any(self.example.get(name) is None for name in self.states) else forms[:1]

    def _random(self, *shape):
        return (torch.randn(shape, generator=self.generator) * 0.5).to(self.real)

    def _like(self, example, rows):
        if isinstance(example, (tuple, list)):
            return type(example)(self._like(x, rows) for x in example)
        if not isinstance(example, torch.Tensor):
            return example
        return self._random(*(rows if k == example.ndim - 2 else n for k, n in enumerate(example.shape)))

    def _built(self, entries, sizes, rows, stacked):
        """A state as forward takes it apart: tuples all the way, or ``stacked``: its last items are those of
        one tensor.
        """
        if any(not path for path, _ in entries):
            names = next(names for path, names in entries if not path)
            return self._random(len(names), rows, sizes[names[0]])
        last = all(len(path) == 1 for path, _ in entries)
        if last and (stacked or any(isinstance(path[0], list) for path, _ in entries)):
            ends = [path[0][1] or 0 if isinstance(path[0], list) else path[0] + 1 for path, _ in entries]
            least = max(sum(len(names) for _, names in {str(p): (p, n) for p, n in entries}.values()), *ends)
            return self._random(least, rows, sizes[entries[0][1][0]])
        firsts = {path[0] for path, _ in entries if not isinstance(path[0], list)}
        count = max(max(firsts) + 1, -min(firsts), len(firsts))
        parts = []
        for k in range(count):
            own = [(path[1:], names) for path, names in entries if path[0] in (k, k - count)]
            parts.append(self._built(own or [([], entries[0][1])], sizes, rows, stacked))
        return tuple(parts)

    def _by_name(self, states):
        numpy = lambda tree: (
            tuple(map(numpy, tree))
            if isinstance(tree, (tuple, list))
            else None
            if tree is None
            else tree.float().numpy()
        )
        values = [numpy(states[name]) for name in self.states]
        try:
            return state_form.by_name(self.form, values if len(values) > 1 else values[0], True)
        except StateError:
            return None

    # -- judging ---------------------------------------------------------------------------------------------
    def _judge(self, given, lengths, initial, expected, frames, rows):
        difference, rounding = self._difference(given, lengths, initial, expected)
        coarse = COARSE * torch.finfo(self.real).eps if self.real in (torch.float16, torch.bfloat16) else 0.0
        if difference <= max(TOLERANCE, ROUNDING * rounding, coarse):
            return
        also = [" and given states"] * bool(initial) + [f", lengths {lengths}"] * (lengths is not None)
        raise UnsupportedModelError(
            "the module's answer depends on the batch or the number of frames, or on types that forward asks "
            "for, in a way the trace does not hold",
            expected="torch's answer",
            found=f"another at batch {rows}, {frames} frames{''.join(also)} (difference {difference:.1g})",
            fix="Give example= with one example of each input, so that torch.export runs what forward asks."
            if self.made_up
            else "Where it is meant for one number of frames, say it: shapes={name: sizes}, None for batch.",
        )

    def _difference(self, given, lengths, initial, expected):
        """(largest difference of any output from torch's, that of the reference in float32 from itself),
        scaled; infinite where shapes differ."""
        graph, arrays = self.graph, {}
        for name, layer in self.inputs.items():
            axes = layer.axes if layer.features else layer.axes.replace("f", "")
            x = given[name].float() if given[name].is_floating_point() else given[name]
            arrays[name] = to_canonical(x.numpy(), axes)
        lengths = None if lengths is None else lengths.numpy()
        with np.errstate(all="ignore"):
            (outputs, states), (rounded, _) = (
                reference.run(graph, arrays, initial, lengths=lengths, dtype=t)
                for t in (np.float64, np.float32)
            )
        found = leaves(expected)
        positions = [position for position, _ in self.finals]
        kept = [t for k, t in enumerate(found) if t is not None and k not in positions]
        pairs = [
            (np.stack([states[n] for n in names]), found[k].float().numpy(), None) for k, names in self.finals
        ]
        cut = graph.metadata.get("cut_outputs", ())
        for tensor, output in zip(kept, graph.outputs):
            features = graph.signals[output.value].features
            axes = output.axes if features else output.axes.replace("f", "")
            wanted = tensor.float().numpy()
            end = int(lengths.max()) if output.name in cut and lengths is not None else None
            y, r = (a[output.name] if end is None else a[output.name][:, :end] for a in (outputs, rounded))
            wanted = as_said(wanted, output, features, len(y), graph.metadata)
            if wanted.ndim != len(axes):
                return np.inf, 0.0
            pairs.append((y, to_canonical(wanted, axes), r))
        if len(kept) != len(graph.outputs) or any(a.shape != b.shape for a, b, _ in pairs):
            return np.inf, 0.0
        worst = max(distance(y, wanted) for y, wanted, _ in pairs)
        return worst, max((distance(y, r) for y, _, r in pairs if r is not None), default=0.0)
