"""A program of PyTorch's operators that was stored: its calls, and how they are read into a Graph. Imports no
torch.

What a file says of batch and time is not taken for true: torch.export writes the number of frames of its
example for every network with an LSTM in it, though the operator takes any. Such an input is free as long as
every operator treats all frames alike; one that takes frames by number, or a number that may have been worked
out from the example's, makes it exactly that long.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ...axes import letters
from ...errors import (
    ModelFileError,
    ResourceLimitError,
    RnnrtError,
    UnsupportedModelError,
    did_you_mean,
)
from ...layers import Concatenate, First, Pad1D, Reshape, Select
from ..axes.layouts import Layout, LayoutMismatch, search
from ..axes.sizes import Size
from ..axes.slots import Slots
from ..axes.values import Constant, Learned, Network, Tensor, Zeros
from ..carried import carried, proposed_states
from ..operators.table import Word
from .aten import ATEN
from .folding import FOLDED, folded
from .frozen import FrozenLength, check
from .functional import PYTHON
from .program import ADVICE, Program, Sample, fewest
from .recurrent import RECURRENCE

_MOST_LAYERS = 256
#: calls that all readings of the inputs go through, how many more for each call of the program, and what a
#: reading takes beside its calls
_MOST_READ, _READ_EACH, _READING = 1 << 12, 3, 8
#: numbers in all constants that are made, and how many more for each one of a parameter
MOST_MADE, _MADE_EACH = 1 << 22, 8
#: the words of a stored program
STORED = ATEN | RECURRENCE
PLAIN = ADVICE | {
    "sizes": "Export it with batch and time left open (dynamic_shapes), and take sizes from x.size().",
    "length": "Export it so that no operator depends on the number of frames.",
}


class Dim(NamedTuple):
    """A size as a file states it. ``size``: that of the example, None where the file does not say. ``free``:
    whether the file leaves it open. ``bounds``: the least and the greatest it was made for, None: any.
    ``some``: whether the file leaves open some sizes alone, as even ones.
    """

    size: int | None
    free: bool = False
    bounds: tuple[int | None, int | None] = (None, None)
    some: bool = False


class Port(NamedTuple):
    """An input as a file states it. ``dims``: None where it says nothing. ``ids``: whether it holds whole
    numbers, None where it does not say.
    """

    dims: tuple[Dim, ...] | None
    ids: bool | None


class Call:
    """A node of a stored program. ``where``: what messages call it; ``sizes``: what the file says of its
    result, None for an open size.
    """

    def __init__(self, op, name, target, args=(), kwargs=None, where=None, sizes=()):
        self.op, self.name, self.target, self.args, self.kwargs = op, name, target, args, kwargs or {}
        self.sizes = sizes
        self.where, self.users = where or f"the call {name}", {}
        self.all_input_nodes = list(dict.fromkeys(_nodes_in((args, self.kwargs))))
        for node in self.all_input_nodes:
            node.users[self] = None

    def __repr__(self):
        return self.name


def _nodes_in(tree):
    if isinstance(tree, Call):
        return [tree]
    if isinstance(tree, dict):
        tree = list(tree.values())
    return [n for item in tree for n in _nodes_in(item)] if isinstance(tree, (tuple, list)) else []


def mapped(tree, function):
    """Arguments with ``function`` of every node in the place of the node."""
    if isinstance(tree, Call):
        return function(tree)
    if isinstance(tree, dict):
        return {key: mapped(value, function) for key, value in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return tree
    return type(tree)(mapped(item, function) for item in tree) if isinstance(tree, (tuple, list)) else tree


def needed(nodes):
    """The nodes that the last one needs, in order, and those that write over what they read."""
    kept = set()
    for node in reversed(nodes):
        writes = node.op == "call_function" and node.target.endswith("_") and not node.target.endswith("__")
        if node is nodes[-1] or node.op == "placeholder" or node in kept or writes:
            kept |= {node, *node.all_input_nodes}
    return [node for node in nodes if node in kept]


#: what to do about an operator that is not supported
WITHOUT = "Export the part of the network before it or behind it, or write it with supported operators."


class _OfParameters(Word):
    """The word of an operator that is known of parameters alone."""

    def bind(self, word, positional, named):
        raise UnsupportedModelError(f"the operator {word} is supported of parameters alone")


_OF_PARAMETERS = _OfParameters(None)


class StoredProgram(Program):
    """``nodes``: Calls; ``ports``: {name of a placeholder: Port}; ``array``: f(name of a parameter) -> its
    array; ``states``: names of placeholders that a caller carries from call to call; ``metadata``: what the
    graph says of its source.
    """

    #: what a program's author did to have it
    MADE = "exported"
    ADVISED_TIME = (
        "Export it with dynamic_shapes in which the batch and time of {name!r} are open and its other axes "
        "are not."
    )

    def __init__(self, nodes, name, ports, array: Callable, states=(), metadata=None):
        self.ports, self.array, self.states = ports, array, set(states)
        self.any_width = False
        #: inputs whose frames are open in the file, and no longer behind some operator
        self.closed: set[str] = set()
        self.source = metadata or {}
        self.arrays: dict[str, Constant] = {}
        #: what calls make of parameters alone, and how many more numbers they may
        self.made, self.left = {}, MOST_MADE
        super().__init__(needed(nodes), name)
        self.unread = _MOST_READ + _READ_EACH * len(self.nodes)
        for node in self.words:  # what no reading of the inputs mends
            try:
                self.ancestors[node] and self._bound(node)
            except RnnrtError as error:
                raise error.at(node.where)

    # -- what a program says ---------------------------------------------------------------------------------
    def _skip(self):
        return {n for n in self.nodes if n.op == "placeholder" and not n.users}

    def _word(self, node):
        word = PYTHON.get(node.target.removeprefix("_operator."))
        if node.target == "getitem" or node.target.startswith("_operator.") and word:
            return node.target, word
        word = STORED.get(node.target)
        if word is None and node.target not in FOLDED:
            raise UnsupportedModelError(
                f"the operator {node.target} is not supported", where=node.where, fix=WITHOUT
            )
        return node.target, word or _OF_PARAMETERS

    def _bound(self, node):
        name, word = self.words[node]
        return word.bind(name, node.args, node.kwargs)

    def _mapped(self, tree, function):
        return mapped(tree, function)

    def _attribute(self, node):
        if node.target not in self.arrays:
            self.arrays[node.target] = Constant(node.target, self.array(node.target))
            self.left += _MADE_EACH * self.arrays[node.target].array.size
        return self.arrays[node.target]

    def _where(self, node):
        return node.where

    def _metadata(self):
        return self.source | {"module": self.name}

    def _example_batch(self, graph):
        """The number of rows that the file was made for, where it says one."""
        found = set()
        for name in graph.inputs:
            layer = graph[name]
            axes = letters(layer.axes, len(layer.features))
            dims = self.ports[name].dims
            batch = dims[axes.index("b")] if dims else Dim(None, True)
            found |= set() if batch.free else {batch.size}
        return {"example_batch": found.pop()} if len(found) == 1 else {}

    def _role(self, node):
        return None if node.target in self.states else super()._role(node)

    def _folded(self, node, values):
        if node not in self.made:
            arguments = self._mapped((node.args, node.kwargs), lambda n: values[n].array)
            made = self.made[node] = folded(node.target, *arguments, name=node.name)
            self.left -= sum(part.array.size for part in (made if isinstance(made, tuple) else (made,)))
            if self.left < 0:
                raise ResourceLimitError("what is made of the parameters takes too much memory")
        return self.made[node]

    def _examples(self, example):
        inputs = [node for node, role in self.roles.items() if role is None]
        ports = {node: self.ports[node.target] for node in inputs}
        return {node: Sample(tuple(d.size for d in port.dims), port.ids) for node, port in ports.items()}

    def _layer_name(self, node):
        first = next((n.target for n in node.all_input_nodes if "weight_ih" in str(n.target)), None)
        if first is None or node.op != "call_function":
            return super()._layer_name(node)
        path = first.rpartition("weight_ih")[0].removesuffix(".")
        cell = node.target.endswith("_cell")
        return node.name if cell else path or node.target.partition("_")[0]

    # -- layouts ---------------------------------------------------------------------------------------------
    def _layouts(self, node, fixed):
        port = self.ports[node.target]
        kinds = (False, True) if port.ids is None else (port.ids,)
        layouts = [own for ids in kinds for own in self._orders(node, port._replace(ids=ids), fixed)]
        if not layouts and self.any_width:
            raise UnsupportedModelError(
                f"the input {node.target!r} has a shape that is not supported",
                expected="(batch, time, features) in some order",
                found=str(tuple(d.size if d.size is not None else "?" for d in port.dims)),
            )
        return layouts

    def _orders(self, node, port, fixed):
        """Every arrangement of the axes of an input."""
        orders = {3: ("btf", "bft", "tbf"), 2: ("bf", "bt", "tb"), 1: ("b",)}
        if port.ids:
            orders = {2: ("bt", "tb"), 1: ("b",)}
        layouts = [Layout("sbf", port.dims[2].size)] if self._is_stack(node, port) else []
        if len(port.dims) == 4 and not port.ids:
            layouts += self._pictures(node, port, fixed)
        for axes in orders.get(len(port.dims), ()):
            dims = dict(zip(axes, port.dims))
            width, time = dims.get("f"), dims.get("t")
            if width and (width.free and not self.any_width or not width.size):
                continue
            if time and time.size is None and not time.free or dims["b"].some:
                continue
            left_open = time and time.free and node.target not in self.closed
            length = time.size if time and (time.some or fixed and not left_open) else None
            layouts.append(Layout(axes, width and width.size, port.ids, length))
        return layouts

    def _pictures(self, node, port, fixed):
        """Every arrangement of an input of channels and two more axes, of which one is time."""
        layouts = []
        for axes in ("bftf", "bfft"):
            numbers = [dim for axis, dim in zip(axes, port.dims) if axis == "f"]
            time = port.dims[axes.index("t")]
            if any(dim.free and not self.any_width or not dim.size for dim in numbers) or port.dims[0].some:
                continue
            if time.size is None and not time.free:
                continue
            left_open = time.free and node.target not in self.closed
            length = time.size if time.some or fixed and not left_open else None
            layouts.append(Layout(axes, tuple(dim.size for dim in numbers), False, length))
        return layouts

    def _is_stack(self, node, port):
        """Whether an input is the states of several layers, (layers, batch, features): one that is carried,
        or of which every layer is taken by its number.
        """
        if len(port.dims) != 3 or port.ids or port.dims[2].free:
            return False
        if not port.dims[0].size or port.dims[0].size > _MOST_LAYERS:
            return False
        if node.target in self.states:
            return True
        parts = [self._bound(u).arguments for u in node.users if u.target == "select"]
        taken = {p.get("index") for p in parts if p.get("axis") == 0}
        return len(parts) == len(node.users) and taken == set(range(port.dims[0].size))

    def _fitting(self, inputs):
        self.why, errors, refusals, tried, frozen = {}, {}, [], [], []
        fix = "Export the network with fewer inputs."

        def read(assumed):
            try:
                known = set(self.closed)
                graph = self._read(assumed)
                return graph if self.closed == known else self._read(assumed)
            except LayoutMismatch as mismatch:
                errors.setdefault(_axes(assumed), mismatch.error)
                if isinstance(mismatch.error, FrozenLength):
                    frozen.append(assumed)
                raise

        # a file may leave features open, too: such a reading is the last that is tried
        for self.any_width, fixed in ((False, False), (False, True), (True, False), (True, True)):
            layouts = {n: self._layouts(n, fixed) for n in inputs}
            if layouts in tried:
                continue
            tried.append(layouts)
            fitting, error = search(layouts, read, fix)
            if fitting and not fixed:
                fitting = self._likelier(frozen, fitting, layouts) or fitting
            if fitting:
                assumed = fitting[0][0]
                why = errors.get(_axes(assumed))
                self.why = {n.target: why for n in inputs if assumed[n].length is not None}
                return fitting, error
            refusals.insert(0, error) if fixed and not self.any_width else refusals.append(error)
        return [], next(error for error in refusals if error is not None)

    def _likelier(self, frozen, fitting, layouts):
        """[(layouts, graph)] of a likelier reading than that which fits any number of frames, where it fits
        the example's: a number of frames may be that of rows to the other reading.
        """
        place = lambda assumed: [own.index(assumed[n]) for n, own in layouts.items()]
        for assumed in frozen:
            if place(assumed) > place(fitting[0][0]):
                continue
            fixed = {
                n: layout
                for n, own in assumed.items()
                for layout in self._layouts(n, True)
                if layout[:3] == own[:3]
            }
            try:
                return [(fixed, self._read(fixed))]
            except LayoutMismatch:
                continue
        return []

    def graph(self, optional=()):
        graph = super().graph(optional)
        graph.metadata.update(self._example_batch(graph))
        unused = [n.target for n in self.nodes if n.op == "placeholder" and n in self.skipped]
        notes = [f"the input {name!r} of the program is used by nothing and left out" for name in unused]
        notes += [note for name in graph.inputs for note in self._notes(graph, graph[name])]
        if notes:
            graph.metadata["assumptions"] = [*graph.metadata.get("assumptions", ()), *notes]
        return graph

    def _notes(self, graph, layer):
        """What was taken for true of an input."""
        if not layer.time:
            return
        axes = layer.axes if layer.features else layer.axes.replace("f", "")
        dims = self.ports[layer.name].dims
        if dims is None:
            yield (
                f"the file does not say which sizes the input {layer.name!r} was traced with; it takes any "
                "number of frames: no operator in the file depends on it"
            )
            return
        time = dims[axes.index("t")]
        if layer.length is not None:
            why = self.why.get(layer.name)
            yield (
                f"the input {layer.name!r} has exactly the {layer.length} frames it was {self.MADE} with"
                + (f": {why.what} ({why.where})" if why is not None else "")
                + ": it holds for some numbers of frames alone" * time.some
            )
        elif not time.free or layer.name in self.closed:
            yield (
                f"the input {layer.name!r} was {self.MADE} with {time.size} frames, and takes any number: no "
                "operator in the file depends on it"
            )
        low, high = time.bounds
        if low is not None and low > max(2, fewest(graph)) or high is not None:
            yield (
                f"the input {layer.name!r} was {self.MADE} for {low or 0} to "
                f"{high if high is not None else 'any number of'} frames; beyond that PyTorch may answer "
                "otherwise"
            )

    # -- reading under an assumption -------------------------------------------------------------------------
    def _read(self, assumed):
        if self.unread < 0:
            raise ResourceLimitError(
                "the sizes of the inputs are not found in so many readings", fix=self.ADVISED
            )
        place = len(self.nodes)
        try:
            return super()._read(assumed)
        except LayoutMismatch as mismatch:
            place = mismatch.place
            raise
        finally:
            self.unread -= place + _READING

    def _network(self, assumed):
        net = Network(PLAIN)
        dims = [
            (n.target, axis, dim, layout.length)
            for n, layout in assumed.items()
            for axis, dim in zip(layout.axes, self.ports[n.target].dims or ())
        ]
        batches = {dim.size for _, axis, dim, _ in dims if axis == "b" and not dim.free}
        net.batch = batches.pop() if len(batches) == 1 else None
        self.stated = {
            name: dim.size
            for name, axis, dim, length in dims
            if axis == "t" and not length and not (dim.free and name not in self.closed)
        }
        return net

    def _value(self, net, node, values, assumed):
        if node not in assumed or assumed[node].axes != "sbf":
            value = super()._value(net, node, values, assumed)
            self._note_closed(node, value)
            return value
        net.name, width = node.target, assumed[node].size
        count = self.ports[node.target].dims[0].size
        row = net.builder.input(node.target, (count, width), time=False, axes="fbf")
        flat = net.add(Reshape, row, features=(count * width,))
        parts = [net.add(Select, flat, index=range(k * width, (k + 1) * width)) for k in range(count)]
        return Tensor(tuple(parts), ("s", "b", "f"))

    def _note_closed(self, node, value):
        """Whether the file has a number of frames where it left them open at the input: torch.export closes
        them where a recurrent layer reads them.
        """
        if (
            not isinstance(value, (Tensor, Slots))
            or value.clock is None
            or len(node.sizes) != len(value.axes)
        ):
            return
        port = self.ports.get(value.clock.input)
        if (
            port
            and value.clock.stride
            and "t" in value.axes
            and node.sizes[value.axes.index("t")] is not None
        ):
            self.closed.add(value.clock.input)

    def _is_state(self, net, value):
        return not self.states and super()._is_state(net, value)

    def _output(self, net, name, value):
        if value.axes != ("s", "b", "f"):
            super()._output(net, name, value)
            return
        net.name, width = name, net.signal(value).width
        references = value.references
        row = references[0] if len(references) == 1 else net.add(Concatenate, *references)
        row = net.add(Reshape, row, features=(len(references), width))
        net.builder.output(name, row, "fbf")

    def _lowered(self, net, node, bound):
        arguments, word = bound.arguments, self.words[node][1]
        if self.stated:
            check(net, node, word.operator, arguments, self.stated)
        if "hx" in arguments:
            arguments = arguments | {"hx": _starts(net, arguments["hx"])}
            if not _all_zero(arguments["hx"]) and word.operator.endswith("_step"):
                arguments["hx"] = _made_tensors(net, arguments["hx"])
        elif word.operator != "zeros_like":
            arguments = {name: _made_tensors(net, value) for name, value in arguments.items()}
        return super()._lowered(net, node, bound._replace(arguments=arguments))


def _all_zero(state):
    parts = state if isinstance(state, (tuple, list)) else [state]
    return all(isinstance(part, Zeros) for part in parts)


def _made_tensors(net, value):
    """Zeros of every row as a Tensor: what was put before the first frame, as often as it takes."""
    if type(value) in (tuple, list):
        return type(value)(_made_tensors(net, part) for part in value)
    if not isinstance(value, Zeros):
        return value
    value, timed = _starts(net, value), next(iter(net.sequences.values()), None)
    width = value.shape[1] if len(value.shape) == 2 else None
    if timed is None or value.shape[0] != Size(("b",)) or type(width) is not int or not 0 < width <= 1 << 20:
        return value
    if not net.builder.signal(timed).features:
        timed = net.add(Reshape, timed, features=(1,))
    frame = net.add(First, net.add(Pad1D, timed, before=1))
    return net.tensor(net.add(Select, frame, index=(0,) * width), ("b", "f"), None)


def _axes(assumed):
    return tuple((layout.axes, layout.ids) for layout in assumed.values())


def _starts(net, state):
    """Initial states of a program whose batch is the example's: zeros of so many rows, and a parameter that
    is the same for every row, are of any number of rows.
    """
    if isinstance(state, (tuple, list)):
        return type(state)(_starts(net, part) for part in state)
    if net.batch is None or not isinstance(state, (Zeros, Constant)):
        return state
    shape = state.shape if isinstance(state, Zeros) else state.array.shape
    place = len(shape) - 2
    if place not in (0, 1) or shape[place] != net.batch:
        return state
    if isinstance(state, Zeros) or not state.array.any():
        return Zeros((*shape[:place], Size(("b",)), *shape[place + 1 :]))
    first = np.take(state.array, [0], place)
    return Learned(state.name, first, place) if (state.array == first).all() else state


# ---- what readers share ------------------------------------------------------------------------------------


@contextlib.contextmanager
def understood():
    """What goes wrong in a program that no check expects is damage."""
    try:
        yield
    except RnnrtError:  # some are kinds of ValueError and TypeError too
        raise
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ModelFileError(f"the program is not understood ({type(error).__name__})") from error
    except MemoryError as error:
        raise ResourceLimitError("the program asks for more memory than there is") from error


def known(given, names, what):
    """Refuse names of ``state=`` that a program does not have."""
    for name in given:
        if name not in names:
            raise UnsupportedModelError(
                f"state names an {what} that is not there",
                expected=", ".join(names),
                found=repr(name),
                fix=did_you_mean(name, list(names)),
            )


def with_states(graph, states, types):
    """The graph that carries ``states`` {input: output} from call to call, or proposes some. ``types``: {name
    of a parameter: its type in the file}.
    """
    wide = sorted({t for t in types.values() if t in ("float16", "bfloat16", "float64")})
    if wide:
        note = f"arrays of {' and '.join(wide)} numbers are computed with in float32"
        graph.metadata["assumptions"] = [*graph.metadata.get("assumptions", ()), note]
    if states:
        known(states.values(), [o.name for o in graph.outputs], "output")
        return carried(graph, states)
    found = proposed_states(graph)
    return graph.replace(graph.layers, metadata=graph.metadata | found) if found else graph


def keeps(name, where):
    """The refusal of a program that changes what it keeps from call to call."""
    return UnsupportedModelError(
        f"the program changes {name!r}, which it keeps from call to call",
        where=where,
        fix="Call eval() before the export; or take a state as an argument and return the new one, which "
        "state={input: output} then carries.",
    )
