"""A traced program read into a Graph: every call by what it means, under the arrangement of the inputs' axes
that fits.

torch.fx records calls without numbers, so sizes and the order of axes come from what the calls demand: each
arrangement an input could have is tried, and one must fit. Nothing in the trace may depend on a batch size or
a number of frames.
"""

from __future__ import annotations

import builtins
import operator
import re
from pathlib import PurePath

import torch
import torch.fx
import torch.nn.functional
from torch.nn.utils import rnn as packing

from ... import state_form
from ...errors import RnnrtError, ShapeError, UnsupportedModelError
from ...graph import Graph
from ...layers import Input
from ..axes.layouts import LayoutMismatch, layouts_of, open_layouts, search
from ..axes.values import (
    AxesError,
    Constant,
    Harmless,
    LengthError,
    Lengths,
    Network,
    StateInput,
    Tensor,
    graph_axes,
)
from ..operators.table import readable
from .aten import ATEN, ATTRIBUTES, METHODS, MaxOverTime
from .functional import FUNCTIONAL, PACKING, PYTHON
from .modules import array_of, call_module, input_sizes, kind, weight_sizes
from .verify import leaves

#: function object -> (its name in a message, Word)
_FUNCTIONS = {}
for _namespace, _words in (
    (torch.nn.functional, ATEN | FUNCTIONAL),
    (torch, ATEN),
    (packing, PACKING),
    (operator, PYTHON),
):
    for _name, _word in _words.items():
        if callable(getattr(_namespace, _name, None)):
            _FUNCTIONS[getattr(_namespace, _name)] = (_name, _word)

_ASSERTS = ("_assert", "_assert_is_none")
RECURRENT = ("RNN", "LSTM", "GRU")
#: operators behind which a state or lengths still are what they were
_PASSING = ("identity", "cast", "to_list")
_EXAMPLE = "Give example= with one example of each input."
ADVICE = {
    "sizes": "Write sizes as x.size(0) and x.size(1), and let -1 stand for the features.",
    "states": "Take states by number, as h_n[-1].",
    "length": "Give example= so that it is known.",
    "truth": "Make numbers of them first: x.float().",
    "bits": "Compare first, as in x != 0, or use torch.logical_not, logical_and, logical_or or logical_xor.",
    "cut": "Give pad_packed_sequence total_length=x.size(1), or take the last state from h_n.",
}


class Program:
    """An fx graph, ready to be read under assumptions about its inputs."""

    def __init__(self, graph, modules, name, example):
        self.nodes, self.modules, self.name = list(graph.nodes), modules, name
        self.skipped = set()
        self._skip_asserts()
        self.words = {
            node: self._word(node)
            for node in self.nodes
            if node.op.startswith("call_") and node not in self.skipped
        }
        self.roles = {
            node: self._role(node)
            for node in self.nodes
            if node.op == "placeholder" and node not in self.skipped
        }
        self.ancestors = self._ancestors()
        self.example = self._examples(example)
        #: (position in forward's result, names of the states it stacks), once read
        self.finals = []

    # -- reading the trace once ------------------------------------------------------------------------------
    def _skip_asserts(self):
        """torch.fx pins arguments left at their defaults with asserts; the arguments are then no inputs."""
        for node in self.nodes:
            if node.op == "call_function" and getattr(node.target, "__name__", "") in _ASSERTS:
                self.skipped |= {node} | {n for n in node.all_input_nodes if n.target is operator.eq}
        for node in self.nodes:
            if node.op == "placeholder" and node.users and all(u in self.skipped for u in node.users):
                self.skipped.add(node)

    def _word(self, node):
        """What a call means: the class of a module, (name, Word) of a function or a method, None for a part
        of max's result; raises for what is not known.
        """
        if node.op == "call_module":
            module = self.modules[node.target]
            if kind(module) is None:
                raise UnsupportedModelError(
                    f"the module {node.target!r} ({type(module).__name__}) is not supported",
                    where=_line(node),
                    fix=f"Use nn.{type(module).__name__[:-4]} over the whole sequence."
                    if isinstance(module, torch.nn.RNNCellBase)
                    else None,
                )
            return kind(module)
        target = node.target
        if node.op == "call_method":
            found, shown = (target, METHODS.get(target)), f"torch.Tensor.{target}"
        elif target is builtins.getattr:
            attribute = node.args[1]
            found, shown = (attribute, ATTRIBUTES.get(attribute)), f"torch.Tensor.{attribute}"
            if attribute in MaxOverTime._fields:
                return None
        elif getattr(target, "namespace", None) == "aten":
            found, shown = (target._opname, ATEN.get(target._opname)), f"torch.ops.aten.{target._opname}"
        else:
            found = _FUNCTIONS.get(target, (None, None))
            module = getattr(target, "__module__", None) or "torch"
            module = "torch" if module.startswith("torch._C") else module.lstrip("_")
            shown = f"{module}.{getattr(target, '__name__', target)}"
        if found[1] is None:
            raise UnsupportedModelError(f"the call {shown} is not supported", where=_line(node))
        return found

    def _bound(self, node):
        """A call's arguments by the names of its operator, as nodes; raises for one that is not known."""
        name, word = self.words[node]
        positional = node.args[:1] if node.target is builtins.getattr else node.args
        return word.bind(name, _plain(positional), _plain(node.kwargs))

    def _role(self, node):
        """StateInput or Lengths where a parameter of forward is only ever that, else None."""
        if node.target.startswith("*"):
            raise UnsupportedModelError(
                "a forward with *args or **kwargs is not supported", fix="Name its inputs."
            )
        ends = set()

        def follow(node):
            for user in node.users:
                word = self.words.get(user)
                if word in RECURRENT and node is not user.args[0]:
                    ends.add(StateInput)
                elif user.op == "call_module" or word is None:
                    ends.add(None)
                elif (passed := self._passed(user, node)) is _THROUGH:
                    follow(user)
                else:
                    ends.add(passed)

        follow(node)
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
        return Lengths if name == "pack" and arguments["lengths"] is node else None

    def role(self, name):
        """StateInput, Lengths or None, as ``_role``, of a parameter by name."""
        return next((role for node, role in self.roles.items() if node.target == name), None)

    def _ancestors(self):
        """The tensor inputs each node depends on."""
        found = {}
        for node in self.nodes:
            own = {node} if self.roles.get(node, 0) is None else set()
            found[node] = frozenset(own.union(*(found[n] for n in node.all_input_nodes)))
        return found

    def _examples(self, example):
        """{placeholder: example tensor} of the tensor inputs."""
        if example is None:
            return {}
        inputs = [node for node, role in self.roles.items() if role is None]
        for node in inputs:
            if example.get(node.target) is None:
                raise UnsupportedModelError(
                    "example must hold one value for every argument of forward without a default",
                    expected=", ".join(n.target for n in inputs),
                    found=", ".join(example) or "nothing",
                )
            if not isinstance(example[node.target], torch.Tensor):
                raise UnsupportedModelError(
                    f"the argument {node.target!r} is a tuple of tensors, and is not the state of an RNN "
                    f"alone"
                )
        return {node: example[node.target] for node in inputs}

    # -- what the inputs may be ------------------------------------------------------------------------------
    def _sizes(self, node):
        """Numbers of features that layers behind an input read."""
        sizes = set()
        for later in self.nodes:
            if node in self.ancestors[later]:
                if later.op == "call_module":
                    sizes |= input_sizes(self.modules[later.target])
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
        example = self.example.get(node)
        if example is None:
            return open_layouts(self._sizes(node))
        layouts = layouts_of(example.shape, not example.is_floating_point(), fixed)
        if not layouts:
            raise UnsupportedModelError(
                f"the example for {node.target!r} has a shape that is not supported",
                expected="(batch, time, features) in some order",
                found=str(tuple(example.shape)),
            )
        return layouts

    def graph(self, optional=()) -> Graph:
        """The one reading that fits; raises the error of the reading that came furthest. ``optional``:
        parameters left open that forward may go without."""
        self.optional = optional
        inputs = [node for node, role in self.roles.items() if role is None]
        if not inputs:
            raise UnsupportedModelError("forward needs a tensor argument")
        fitting, error = search({n: self._layouts(n, fixed=False) for n in inputs}, self._read, _EXAMPLE)
        if isinstance(error, LengthError) and not fitting and self.example:
            fitting, error = search({n: self._layouts(n, fixed=True) for n in inputs}, self._read)
        if not fitting:
            if isinstance(error, (AxesError, ShapeError)) and not self.example and not error.fix:
                if untold := [node for node in inputs if not self._sizes(node)]:
                    raise self._untold(untold[0]) from error
                sizes = sorted({n for node in inputs for n in self._sizes(node)})
                error.fix = (
                    f"No example was given, so that the layers had to tell the numbers of features ({sizes});"
                    " give example= with one example of each input."
                )
            raise error
        return self._chosen(inputs, fitting)

    def _refuse_constants(self, assumed):
        """Raise where torch.export could not leave an input's batch or time open, or only up to some size."""
        for node, (axes, *_) in assumed.items():
            ones = (
                [n == 1 for n, axis in zip(self.example[node].shape, axes) if axis in "bt"]
                if self.example
                else []
            )
            if any(least is None for axis, least in zip(axes, node.meta.get("least", ())) if axis in "bt"):
                raise UnsupportedModelError(
                    f"batch or time of the input {node.target!r} became a constant in the trace",
                    found=f"example {tuple(self.example[node].shape)}",
                    fix="Give an example whose batch and time are above 1: torch.export takes a size of 1 "
                    "for a constant."
                    if any(ones)
                    else "Loops over time are not supported: use whole-sequence layers.",
                )

    def _chosen(self, inputs, fitting):
        for node in inputs:
            sizes = {(size, ids) for assumed, _ in fitting for _, size, ids, _ in [assumed[node]]}
            if len(sizes) > 1 or not (self.example or self._is_stated(node, fitting[0][0])):
                raise self._untold(node)
        assumed, graph = fitting[0]
        self._refuse_constants(assumed)
        if (
            len(fitting) > 1
        ):  # layers that act on each frame alike fit several readings, and mean the same under each
            graph.metadata["assumed"] = {
                node.target: Input(node.target, time="t" in axes, axes=graph_axes(axes)).axes
                for node, (axes, *_) in assumed.items()
            }
        return graph

    def _untold(self, node):
        return UnsupportedModelError(
            f"the layers do not tell the shape of the input {node.target!r}",
            expected="a layer that reads a number of features" if self.example else None,
            fix=None if self.example else _EXAMPLE,
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
        net, values = Network(ADVICE), {}
        for place, node in enumerate(self.nodes):
            if node in self.skipped:
                continue
            try:
                values[node] = self._value(net, node, values, assumed)
            except RnnrtError as error:
                if node.op != "placeholder":
                    error.at(_line(node) if node.op != "output" else "the output")
                raise LayoutMismatch(place, net.placed, self.ancestors[node], error) from error
        return values[self.nodes[-1]]

    def _value(self, net, node, values, assumed):
        weights = (
            n.target for n in node.all_input_nodes if n.op == "get_attr" and n.target.endswith(".weight")
        )
        net.name = (
            node.target if node.op == "call_module" else next(weights, node.name).removesuffix(".weight")
        )
        if node.op == "placeholder":
            if node not in assumed:
                return self.roles[node]
            axes, size, ids, length = assumed[node]
            return net.input(node.target, axes, size, ids=ids, length=length)
        if node.op == "get_attr":
            return self._attribute(node)
        read = [values[n] for n in node.all_input_nodes]
        if (
            node.op in ("call_function", "call_method")
            and read
            and all(isinstance(v, Constant) for v in read)
        ):
            return _folded(node, values)
        load = lambda tree: _plain(torch.fx.node.map_arg(tree, values.__getitem__))
        if node.op == "output":
            return self._finished(net, load(node.args[0]))
        if node.op == "call_module":
            arguments, options = load(node.args), load(node.kwargs)
            return call_module(net, self.modules[node.target], node.target, arguments, options)
        if self.words[node] is None:
            value, attribute = load(node.args)
            if not isinstance(value, MaxOverTime):
                raise UnsupportedModelError(f"the attribute {attribute} is not supported", found=str(value))
            return getattr(value, attribute)
        name, word = self.words[node]
        bound = self._bound(node)
        return word.lower(net, name, bound._replace(arguments=load(bound.arguments)))

    def _attribute(self, node):
        value = self.modules[""]
        for part in node.target.split("."):
            value = getattr(value, part)
        return (
            Constant(node.target, array_of(value, node.target)) if isinstance(value, torch.Tensor) else value
        )

    # -- outputs ---------------------------------------------------------------------------------------------
    def _finished(self, net, result) -> Graph:
        named = (
            list(result.items()) if isinstance(result, dict) else [(None, value) for value in leaves(result)]
        )
        states, kept = [], []
        for position, (name, value) in enumerate(named):
            readable(net, value)
            if (
                isinstance(value, Tensor)
                and value.axes == ("s", "b", "f")
                and all(net.is_final_state(r) for r in value.references)
            ):
                states.append((position, value))
            elif isinstance(value, Tensor):
                number = f"_{len(kept)}" if kept else ""
                kept.append((str(name) if name is not None else f"output{number}", value))
            elif value is not None:
                raise UnsupportedModelError(
                    "forward returns something that is not a tensor of the network", found=str(value)
                )
        if not kept:
            raise UnsupportedModelError(
                "forward returns no sequence and no value for each sequence",
                fix="Return h_n[-1] instead of h_n.",
            )
        for name, value in kept:
            net.output(name, value)
        self.finals = [
            (position, [r.replace(":", "/") for r in value.references]) for position, value in states
        ]
        metadata = {"source": "torch", "torch_version": torch.__version__, "module": self.name}
        metadata |= self._packing(net, kept) | self._initial_states(net)
        metadata |= {"state_outputs": [position for position, _ in states]} if states else {}
        return net.graph(metadata, [r for _, value in states for r in value.references])

    def _packing(self, net, kept):
        """What a graph that packs says of it: the name of the lengths, which outputs end at the longest row,
        which frames are counted.
        """
        if net.lengths is None:
            return {}
        cut = [name for name, value in kept if value.clock is not None and value.clock.longest]
        key = "lengths_option" if net.lengths in self.optional else "lengths_input"
        return {key: net.lengths, "packed": True, "cut_outputs": cut, "packing": list(net.packing[1:3])}

    def _initial_states(self, net):
        """How forward takes the states that it is given, in its own order."""
        names = [
            n.target
            for n, role in self.roles.items()
            if any(role and role.name == s.name for s, _ in net.states)
        ]
        if not names:
            return {}
        place = lambda state: (names.index(state.name),) if len(names) > 1 else ()
        form = [state_form.entry((*place(state), *state.path), own) for state, own in net.states]
        return {"state_inputs": names, "initial_states": form}


def _folded(node, values):
    """What a call makes of parameters and buffers alone."""
    load = lambda tree: torch.fx.node.map_arg(tree, lambda n: torch.from_numpy(values[n].array))
    arguments, options = load(node.args), load(node.kwargs)
    try:
        if node.op == "call_method":
            value = getattr(arguments[0], node.target)(*arguments[1:], **options)
        else:
            value = node.target(*arguments, **options)
    except (TypeError, ValueError, AttributeError, LookupError, RuntimeError) as error:
        raise UnsupportedModelError(f"cannot be worked out from the parameters alone ({error})") from error
    return Constant(node.name, value.numpy()) if isinstance(value, torch.Tensor) else value


_THROUGH = object()


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


def _plain(tree):
    """fx's own containers as plain ones; devices and types as words."""
    if isinstance(tree, MaxOverTime):
        return tree
    if isinstance(tree, (tuple, list)):
        return (
            type(tree)(map(_plain, tree))
            if type(tree) in (tuple, list)
            else (tuple if isinstance(tree, tuple) else list)(map(_plain, tree))
        )
    if isinstance(tree, dict):
        return {key: _plain(value) for key, value in tree.items()}
    return (
        Harmless(str(tree))
        if isinstance(tree, (torch.dtype, torch.device, torch.memory_format, torch.layout))
        else tree
    )


def _line(node):
    return (
        own_line(re.findall(r'File "([^"]+)", line (\d+)', node.stack_trace or "")) or f"the call {node.name}"
    )


def own_line(frames):
    """The innermost line that is neither PyTorch's nor ours."""
    foreign = (str(PurePath(torch.__file__).parent), str(PurePath(__file__).parents[1]))
    own = [(file, line) for file, line in frames if not file.startswith(foreign)]
    return f"line {own[-1][1]} of {PurePath(own[-1][0]).name}" if own else None
