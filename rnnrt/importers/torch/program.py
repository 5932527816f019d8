"""A program of PyTorch's operators read into a Graph: every call by what it means, under the arrangement of
the inputs' axes that fits.

A program does not say which axes are batch, time and features: each arrangement an input could have is tried,
and one must fit. Nothing in it may depend on a batch size or a number of frames. Where a program comes from
(the trace of a live module, an archive) is for a subclass to say. Imports no torch.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

from ... import state_form, timing
from ...errors import RnnrtError, ShapeError, UnsupportedModelError
from ...graph import Graph
from ..axes.layouts import Layout, LayoutMismatch, layouts_of, layouts_said, open_layouts, search
from ..axes.scores import Scores
from ..axes.sizes import Clock
from ..axes.slots import Slots, slots_of, tensor_of
from ..axes.values import AxesError, Constant, LengthError, Lengths, Network, StateInput, Tensor
from ..operators.fronts import input_of, output_of
from ..operators.table import readable
from .aten import MaxOverTime
from .modules import weight_sizes

RECURRENT = ("RNN", "LSTM", "GRU")
#: operators behind which a state or lengths still are what they were
_PASSING = ("identity", "cast", "to_list", "rows_in_order")
#: operators that tell frames from those past a row's end
_COMPARING = ("less", "greater", "greater_equal", "less_equal")
#: operators behind which lengths, or numbers of frames, have other axes at most
_KEEPING = (*_PASSING, "unsqueeze", "item", "reshape", "expand", "expand_as", "tile")
#: operators of whole sequences that start from a state
_STACKS = ("rnn", "gru", "lstm")
ADVICE = {
    "sizes": "Write sizes as x.size(0) and x.size(1), and let -1 stand for the features.",
    "states": "Take states by number, as h_n[-1].",
    "length": "Give example= so that it is known.",
    "truth": "Make numbers of them first: x.float().",
    "bits": "Compare first, as in x != 0, or use torch.logical_not, logical_and, logical_or or logical_xor.",
    "cut": "Give pad_packed_sequence total_length=x.size(1), or take the last state from h_n.",
}


class TwoAxesError(UnsupportedModelError):
    """Either of two axes of an input may be time, which only the user can say."""


class Sample(NamedTuple):
    """What is known of an input: its sizes, and whether it holds whole numbers or truth values."""

    shape: tuple
    ids: bool
    truth: bool = False


class Program:
    """Calls, ready to be read under assumptions about the inputs. ``ADVISED``: how to say their sizes;
    ``ADVISED_TIME``: how to say which of them is time, of the input ``{name}`` with ``{sizes}``.

    ``nodes``: in order, the last of them the output; as torch.fx has them: ``op`` ("placeholder", "get_attr",
    "call_...", "output"), ``name``, ``target``, ``args``, ``kwargs``, ``users`` and ``all_input_nodes``.
    ``name``: that of the module. ``example``: what a subclass makes of it is {placeholder: Sample}.
    ``shapes``: {placeholder's name: sizes} as the user states them, None for batch and time.
    """

    ADVISED = "Give example= with one example of each input."
    ADVISED_TIME = (
        "Say it with None for batch and time, a number for every other axis: shapes={{{name!r}: {sizes}}}."
    )

    def __init__(self, nodes, name, example=None, shapes=None):
        self.nodes, self.name, self.shapes = nodes, name, shapes or {}
        self.skipped = self._skip()
        self.reached = self._reached()
        self.words = {
            node: self._word(node)
            for node in self.nodes
            if node.op.startswith("call_") and node not in self.skipped and not self._works_out(node)
        }
        self.roles = {
            node: self._role(node)
            for node in self.nodes
            if node.op == "placeholder" and node not in self.skipped
        }
        ends = [node for node, role in self.roles.items() if isinstance(role, Lengths)]
        #: lengths of several inputs: each is an input of its own, where those of one are told apart from them
        self.own_lengths = ends if len(ends) > 1 else []
        self.roles |= dict.fromkeys(self.own_lengths)
        self.ancestors = self._ancestors()
        self.example = self._examples(example)
        #: graphs in which an operator means something else than elsewhere (operators/stilled.py)
        self.resorted = []
        #: (position in forward's result, names of the states it stacks), once read
        self.finals = []

    # -- what a subclass says --------------------------------------------------------------------------------
    def _skip(self):
        """Nodes that have no part in the network."""
        return set()

    def _works_out(self, node):
        """Whether a call that no input reaches is one that the source works out itself, whatever it is."""
        return False

    def _word(self, node):
        """What a call means: (its name, Word), the class of a module, None for a part of max's result; raises
        for what is not known.
        """
        raise NotImplementedError

    def _bound(self, node):
        """A call's arguments by the names of its operator, as nodes; raises for one that is not known."""
        raise NotImplementedError

    def _mapped(self, tree, function):
        """Arguments with ``function`` of every node in the place of the node."""
        raise NotImplementedError

    def _attribute(self, node):
        """The value of a parameter or a buffer: a Constant."""
        raise NotImplementedError

    def _examples(self, example):
        """{placeholder: Sample} of the tensor inputs."""
        raise NotImplementedError

    def _folded(self, node, values):
        """What a call makes of parameters and buffers alone."""
        raise NotImplementedError

    def _where(self, node):
        """Where a call stands, for a message."""
        return f"the call {node.name}"

    def _sizes_read(self, node):
        """Numbers of features that a call may read of its input, by its own options."""
        return set()

    def _call_module(self, net, node, load):
        raise NotImplementedError

    def _metadata(self):
        """What the graph's metadata says of the source."""
        return {"source": "torch", "module": self.name}

    # -- reading the program once ----------------------------------------------------------------------------
    def _role(self, node):
        """StateInput or Lengths where a parameter of forward is only ever that, else None."""
        if node.target.startswith("*"):
            raise UnsupportedModelError(
                "a forward with *args or **kwargs is not supported", fix="Name its inputs."
            )
        if self._masks_rows(node):
            return Lengths(node.target)
        ends, waiting, seen = set(), [node], set()
        while waiting:
            value = waiting.pop()
            for user in value.users:
                word = self.words.get(user)
                if word in RECURRENT and value is not user.args[0]:
                    ends.add(StateInput)
                elif user.op == "call_module" or word is None:
                    ends.add(None)
                elif (passed := self._passed(user, value)) is not _THROUGH:
                    ends.add(passed)
                elif user not in seen:
                    seen.add(user)
                    waiting.append(user)
        if not ends:
            raise UnsupportedModelError(
                f"forward never uses its argument {node.target!r}", fix="Remove it, or give it a default."
            )
        (end,) = ends if len(ends) == 1 else (None,)
        return None if end is None else end(node.target)

    def _passed(self, user, node):
        """What a call takes a parameter of forward for: _THROUGH where its result still is that, Lengths or
        None.
        """
        try:
            arguments = self._bound(user).arguments
        except UnsupportedModelError:
            return None  # the call is refused where it is read
        name = self.words[user][1].operator
        if name in _PASSING or _takes_item(name, arguments):
            return _THROUGH
        if name in _STACKS and node is not arguments["x"]:
            return StateInput
        return Lengths if name == "pack" and arguments["lengths"] is node else None

    def _masks_rows(self, node):
        """Whether a parameter is lengths that are compared with the numbers of frames, or packed with."""
        masks, waiting = False, [node]
        while waiting:
            value = waiting.pop()
            for user in value.users:
                _, word = self.words.get(user) or ("", None) if user.op != "call_module" else ("", None)
                if word is None:
                    return False
                beside = word.operator in ("item", "take") and value is not user.args[0]
                if beside:  # it says which frame of each row
                    masks = True
                elif word.operator in _KEEPING or (word.operator == "subtract" and user.args[1:] == (1,)):
                    waiting.append(user)
                elif word.operator in _COMPARING and len(user.all_input_nodes) == 2:
                    masks |= any(self._numbers_frames(n) for n in user.all_input_nodes if n is not value)
                    if not masks:
                        return False
                elif word.operator not in ("pack", "shape"):
                    return False
        return masks

    def _numbers_frames(self, node):
        """Whether a value is the numbers of frames, with axes of size one or repeated."""
        while getattr(node, "op", "").startswith("call_") and self.words.get(node):
            _, word = self.words[node]
            if word.operator == "frame_numbers":
                return True
            if word.operator not in _KEEPING:
                return False
            node = self._bound(node).arguments["x"]
        return False

    def role(self, name):
        """StateInput, Lengths or None, as ``_role``, of a parameter by name."""
        return next((role for node, role in self.roles.items() if node.target == name), None)

    def _reached(self):
        """The nodes that some input reaches."""
        found = set()
        for node in self.nodes:
            if node.op == "placeholder" or any(n in found for n in node.all_input_nodes):
                found.add(node)
        return found

    def _ancestors(self):
        """The tensor inputs each node depends on."""
        found = {}
        for node in self.nodes:
            own = {node} if self.roles.get(node, 0) is None else set()
            found[node] = frozenset(own.union(*(found[n] for n in node.all_input_nodes)))
        return found

    # -- what the inputs may be ------------------------------------------------------------------------------
    def _sizes(self, node):
        """Numbers of features that layers behind an input read."""
        sizes = set()
        for later in self.nodes:
            if node in self.ancestors[later]:
                sizes |= self._sizes_read(later)
                for other in later.all_input_nodes:
                    for weight in self._weights_behind(other):
                        sizes |= weight_sizes(self._attribute(weight).array)
        return sorted(sizes)

    def _weights_behind(self, node):
        """The parameters that a value which no input reaches is made of."""
        if node.op == "get_attr":
            return [node]
        return (
            [] if self.ancestors[node] else [w for n in node.all_input_nodes for w in self._weights_behind(n)]
        )

    def _layouts(self, node, fixed):
        """Every Layout an input could have, the likeliest first."""
        example, stated = self.example.get(node), self.shapes.get(node.target)
        if node in self.own_lengths:
            return [Layout("b", None)]
        if stated is not None:
            return self._stated_layouts(node, stated, example)
        if example is None:
            return open_layouts(self._sizes(node))
        layouts = layouts_of(example.shape, example.ids, fixed)
        if not layouts:
            raise UnsupportedModelError(
                f"the example for {node.target!r} has a shape that is not supported",
                expected="(batch, time) or (batch, time, ids a frame)"
                if example.ids
                else "(batch, time, features) in some order",
                found=str(tuple(example.shape)),
                fix="Import the part behind the Embedding, which reads numbers, or what reads one row of ids."
                if example.ids
                else "Import the parts whose inputs have such axes.",
            )
        return layouts

    def _stated_layouts(self, node, shape, example):
        layouts = layouts_said(shape, example.ids if example else None)
        if not layouts or example and len(example.shape) != len(shape):
            raise UnsupportedModelError(
                f"shapes of {node.target!r} are not supported",
                expected="None for batch and time, a number for every other axis, as many as it has",
                found=str(tuple(shape)),
            )
        return layouts

    def graph(self, optional=()) -> Graph:
        """The one reading that fits; raises the error of the reading that came furthest. ``optional``:
        parameters left open that forward may go without."""
        self.optional = optional
        inputs = [node for node, role in self.roles.items() if role is None]
        if not inputs:
            raise UnsupportedModelError("forward needs a tensor argument")
        fitting, error = self._fitting(inputs)
        if not fitting:
            unsaid = not self.example and not self.shapes
            if isinstance(error, (AxesError, ShapeError)) and unsaid and not error.fix:
                if untold := [n for n in inputs if n not in self.own_lengths and not self._sizes(n)]:
                    raise self._untold(untold[0]) from error
                sizes = sorted({n for node in inputs for n in self._sizes(node)})
                error.fix = (
                    "No example was given, so that the layers had to tell the numbers of features "
                    f"({sizes}). {self.ADVISED}"
                )
            raise error
        return self._chosen(inputs, fitting)

    def _fitting(self, inputs):
        """([(layouts, graph)] of the readings that fit, the error of the one that came furthest)."""
        fitting, error = search({n: self._layouts(n, fixed=False) for n in inputs}, self._read, self.ADVISED)
        if isinstance(error, (LengthError, AxesError)) and not fitting and self.example:
            own = error
            fitting, error = search({n: self._layouts(n, fixed=True) for n in inputs}, self._read)
            if not fitting and isinstance(own, AxesError):
                error = own
        return [own for own in fitting if not self.resorts(own[1])] or fitting, error

    def _refuse_constants(self, assumed):
        """Raise where an input's batch or time is not open, by what the source says."""

    def _chosen(self, inputs, fitting):
        fitting = _keeping_time(fitting)
        for node in inputs:
            self._check_told(node, [assumed[node] for assumed, _ in fitting])
            known = self.example or node.target in self.shapes or node in self.own_lengths
            if not known and not self._is_stated(node, fitting[0][0]):
                raise self._untold(node)
        fixed = all(own.length is not None for own in fitting[0][0].values() if "t" in own.axes)
        # the same numbers under each, where all are fixed: that which moves the fewest of them
        assumed, graph = min(fitting, key=lambda reading: len(reading[1].layers)) if fixed else fitting[0]
        self._refuse_constants(assumed)
        if (
            len(fitting) > 1
        ):  # layers that act on each frame alike fit several readings, and mean the same under each
            graph.metadata["assumed"] = {node.target: graph[node.target].axes for node in assumed}
        return graph

    def _check_told(self, node, layouts):
        """Raise where an input fits in ways that differ: another number of features, or, among several axes,
        another that is time. Ways that all fix the number of frames take the same arrays and answer the same.
        """
        ways = {(own.size, own.ids, own.axes if isinstance(own.size, tuple) else None) for own in layouts}
        if len(ways) < 2 or all(own.length is not None or "t" not in own.axes for own in layouts):
            return
        if not self.example:
            raise self._untold(node)
        shape = self.example[node].shape
        times = sorted({own.axes.index("t") for own in layouts if "t" in own.axes})
        axes, kind = " or ".join(f"{k} ({shape[k]})" for k in times), UnsupportedModelError
        if len(times) > 1:
            kind = TwoAxesError
            what = f"which axis of the input {node.target!r} is time is not decided: it may be axis {axes}"
        else:
            what = (
                f"whether the input {node.target!r} has time is not decided: axis {axes} may be features, too"
            )
        raise kind(what, found=str(tuple(shape)), fix=self._say_time(node, shape, times[-1]))

    def _say_time(self, node, shape, time):
        sizes = tuple(None if k in (0, time) else n for k, n in enumerate(shape))
        return self.ADVISED_TIME.format(name=node.target, sizes=sizes)

    def _untold(self, node):
        return UnsupportedModelError(
            f"the layers do not tell the shape of the input {node.target!r}",
            fix=self.ADVISED,
        )

    def _is_stated(self, node, assumed):
        """Whether the layers state an input's number of features: a program that only picks some of them
        takes one more as well.
        """
        layout = assumed[node]
        if layout.size is None:
            return layout.ids or bool(self._sizes(node))
        try:
            self._read(assumed | {node: layout._replace(size=layout.size + 1)})
        except LayoutMismatch:
            return True
        return False

    # -- reading under an assumption -------------------------------------------------------------------------
    def _read(self, assumed) -> Graph:
        net, values = self._network(assumed), {}
        for place, node in enumerate(self.nodes):
            if node in self.skipped:
                continue
            try:
                values[node] = self._value(net, node, values, assumed)
            except RnnrtError as error:
                if node.op not in ("placeholder", "get_attr"):
                    error.at(self._where(node) if node.op != "output" else "the output")
                raise LayoutMismatch(place, net.placed, self.ancestors[node], error) from error
        made = values[self.nodes[-1]]
        self.resorted += [made] if net.resorted else []
        return made

    def resorts(self, graph):
        """Whether a graph is only held because an operator was read in another way than elsewhere."""
        return any(graph is own for own in self.resorted)

    def _network(self, assumed):
        return Network(ADVICE)

    def _layer_name(self, node):
        """What the layers of a call are named by: its module or its weight, else the call."""
        weights = (
            n.target for n in node.all_input_nodes if n.op == "get_attr" and n.target.endswith(".weight")
        )
        named = node.target if node.op == "call_module" else next(weights, node.name)
        return named.removesuffix(".weight")

    def _value(self, net, node, values, assumed):
        net.name = self._layer_name(node)
        if node.op == "placeholder":
            if node not in assumed:
                return self.roles[node]
            axes, size, ids, length = assumed[node]
            if isinstance(size, tuple):
                fields = {"axes": axes, "length": length, "ids": ids}
                return input_of(net, net.builder.input(node.target, size, **fields), axes, Clock(node.target))
            x = net.input(node.target, axes, size, ids=ids, length=length)
            return replace(x, truth=True) if node in self.example and self.example[node].truth else x
        if node.op == "get_attr":
            return self._attribute(node)
        read = [values[n] for n in node.all_input_nodes]
        plain = read and all(isinstance(v, Constant) for v in read)
        if node.op in ("call_function", "call_method") and (plain or node not in self.words):
            return self._folded(node, values)
        load = lambda tree: self._mapped(tree, values.__getitem__)
        if node.op == "output":
            return self._finished(net, load(node.args[0]))
        if node.op == "call_module":
            before = len(net.overwritten)
            made = self._call_module(net, node, load)
            if len(net.overwritten) > before and values.get(node.args[0]) is not made:
                values[node.args[0]] = made  # as below
            return made
        if self.words[node] is None:
            value, attribute = load(node.args)
            if not isinstance(value, MaxOverTime):
                raise UnsupportedModelError(f"the attribute {attribute} is not supported", found=str(value))
            return getattr(value, attribute)
        bound = self._bound(node)
        made = self._lowered(net, node, bound._replace(arguments=load(bound.arguments)))
        if bound.overwrites:  # who reads the first argument from here on reads what was written over it
            first = bound.arguments[self.words[node][1].parameters[0].argument]
            values[first] = made
        return made

    def _lowered(self, net, node, bound):
        """What a call makes of its arguments."""
        name, word = self.words[node]
        return word.lower(net, name, bound)

    # -- outputs ---------------------------------------------------------------------------------------------
    def _finished(self, net, result) -> Graph:
        named = (
            list(result.items()) if isinstance(result, dict) else [(None, value) for value in leaves(result)]
        )
        states, kept = [], []
        for position, (name, value) in enumerate(named):
            readable(net, value)
            if isinstance(value, Slots) and value.axes.count("n") < 2:
                value = tensor_of(net, value) or value
            if isinstance(value, Tensor) and self._is_state(net, value):
                states.append((position, value))
            elif isinstance(value, Scores):
                raise value.as_an_answer(net.advice["length"])
            elif isinstance(value, (Tensor, Slots)):
                number = f"_{len(kept)}" if kept else ""
                kept.append((str(name) if name is not None else f"output{number}", value))
            elif value is not None:
                raise UnsupportedModelError(
                    "forward returns something that is not a tensor of the network", found=str(value)
                )
        if not kept and not states:
            raise UnsupportedModelError("forward returns no tensor of the network")
        if not kept:  # the states are all there is: they are its answer
            kept = [(f"output_{k}" if k else "output", slots_of(net, v)) for k, (_, v) in enumerate(states)]
            kept, states = [(name, tensor_of(net, value) or value) for name, value in kept], []
        for name, value in kept:
            self._output(net, name, value)
        self.finals = [
            (position, [r.replace(":", "/") for r in value.references]) for position, value in states
        ]
        metadata = self._metadata() | self._packing(net, kept) | self._initial_states(net)
        metadata |= {"state_outputs": [position for position, _ in states]} if states else {}
        metadata |= {"keeps_ones": True} if net.keeps_ones else {}
        metadata |= {"parted_outputs": list(net.parted)} if net.parted else {}
        metadata |= {"rows_written": net.rows_written} if net.rows_written else {}
        return net.graph(metadata, [r for _, value in states for r in value.references])

    def _is_state(self, net, value):
        """Whether a result is the final states of recurrent layers, which a call gives in another way."""
        return value.axes == ("s", "b", "f") and all(net.is_final_state(r) for r in value.references)

    def _output(self, net, name, value):
        if isinstance(value, Tensor) and "s" in value.axes and len(value.references) > 1:
            value = slots_of(net, value)
        if isinstance(value, Slots):
            output_of(net, name, value)
        else:
            net.output(name, value)

    def _packing(self, net, kept):
        """What a graph that packs says of it: the name of the lengths, which outputs end at the longest row,
        which frames are counted.
        """
        own = {"row_lengths": net.row_lengths} if net.row_lengths else {}
        if net.lengths is None:
            if any(value.clock is not None and value.clock.longest for _, value in kept):
                raise UnsupportedModelError(
                    "an answer ends with the longest row, whose length forward counts itself",
                    fix=net.advice["cut"],
                )
            return own
        cut = [name for name, value in kept if value.clock is not None and value.clock.longest]
        key = "lengths_option" if net.lengths in self.optional else "lengths_input"
        facts = {"packed": True, "cut_outputs": cut, "packing": list(net.packing[1:3])}
        facts |= {"shortest_row": net.shortest_row} if net.shortest_row else {}
        return own | facts | {key: net.lengths}

    def _initial_states(self, net):
        """How forward takes the states that it is given, in its own order."""
        used = {state.name for state, _ in net.states}
        own = [self._argument(n.target)[0] for n, role in self.roles.items() if role and role.name in used]
        names, form = list(dict.fromkeys(own)), []
        for state, layers in net.states:
            argument, path = self._argument(state.name)
            place = (names.index(argument),) if len(names) > 1 else ()
            form.append(state_form.entry((*place, *path, *state.path), layers))
        return {"state_inputs": names, "initial_states": form} if names else {}

    def _argument(self, name):
        """(the argument of forward, the path to it there) of an input that is a tensor of its own here."""
        return name, ()


_THROUGH = object()


def _keeping_time(fitting):
    """Of pictures either axis may be time: those readings whose time comes out, where some do not."""
    if not any(isinstance(own.size, tuple) for assumed, _ in fitting for own in assumed.values()):
        return fitting
    kept = [sum("t" in output.axes for output in graph.outputs) for _, graph in fitting]
    return [reading for reading, n in zip(fitting, kept) if n == max(kept)]


def fewest(graph):
    """Frames from which every window of a graph is met by frames of the input, its padding aside."""
    reach = timing.reaches(graph, past_whole=True).values()
    return math.ceil(max(last - first + 1 + jump for first, last, jump in reach))


def leaves(tree):
    """What a forward returns, taken out of its tuples and dicts in order."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    return [leaf for item in tree for leaf in leaves(item)] if isinstance(tree, (tuple, list)) else [tree]


def _takes_item(name, arguments):
    """Whether an operator takes a part of the first axis by number, or adds an axis before it."""
    plain = lambda n: n is None or isinstance(n, int) and not isinstance(n, bool)
    if name == "item":
        index = arguments["index"]
        bounds = (index.start, index.stop, index.step) if isinstance(index, slice) else (index,)
        return all(map(plain, bounds)) and index is not None
    first = arguments.get("axis") == 0
    if name == "select":
        return first and plain(arguments["index"])
    if name == "slice":
        return first and all(plain(arguments[n]) for n in ("start", "end", "step"))
    return name == "unsqueeze" and first
