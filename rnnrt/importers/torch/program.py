"""A traced program read into a Graph: every call by what it means, under the arrangement of the inputs' axes
that fits.

torch.fx records calls without numbers, so sizes and the order of axes come from what the calls demand: each
arrangement an input could have is tried, and one must fit. Nothing in the trace may depend on a batch size or
a number of frames.
"""

from __future__ import annotations

import builtins
import itertools
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
from ...layers import Input, Reshape, Unflatten
from ..axes.shapes import SHAPES
from ..axes.values import (
    AxesError,
    Constant,
    Harmless,
    LengthError,
    Lengths,
    MaxOverTime,
    Network,
    Refused,
    StateInput,
    Tensor,
    shown,
)
from .calls import CALLS
from .modules import array_of, call_module, input_sizes, kind, weight_sizes
from .verify import leaves

#: torch.<name> takes other arguments than torch.nn.functional.<name>, which CALLS is written for.
_OTHER_SIGNATURE = ("embedding", "batch_norm", "adaptive_max_pool1d")
#: function object -> its name in CALLS
_FUNCTIONS = {}
for _name in CALLS:
    for _namespace in (torch.nn.functional, torch, operator, packing):
        _function = getattr(_namespace, _name, None)
        if callable(_function) and not (_namespace is torch and _name in _OTHER_SIGNATURE):
            _FUNCTIONS[_function] = _name

_ASSERTS = ("_assert", "_assert_is_none")
_PASSING = (
    "cpu",
    "to",
    "long",
    "int",
    "tolist",
    "detach",
    "clone",
    "contiguous",
    "requires_grad_",
    "float",
    "cuda",
)
_KEEPS_PADDING = ("conv1d", "pad", "Conv1d", "ZeroPad1d", "ConstantPad1d")
RECURRENT = ("RNN", "LSTM", "GRU")
_KEEPS_PACKING = (*RECURRENT, "pad_packed_sequence")
_TAKES_IDS = ("embedding", "Embedding", "getattr", *SHAPES)
_MOST_TRIALS = 20_000


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
        """The name in CALLS or MODULES that a call means; raises for an unknown one."""
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
        if node.op == "call_method":
            name, shown = (node.target if node.target in CALLS else None), f"torch.Tensor.{node.target}"
        elif node.target is builtins.getattr:
            attribute = node.args[1]
            name, shown = (
                ("getattr" if attribute in CALLS or attribute in MaxOverTime._fields else None),
                f"torch.Tensor.{attribute}",
            )
        else:
            name = _FUNCTIONS.get(node.target)
            module = getattr(node.target, "__module__", None) or "torch"
            module = "torch" if module.startswith("torch._C") else module.lstrip("_")
            shown = f"{module}.{getattr(node.target, '__name__', node.target)}"
        if name is None:
            raise UnsupportedModelError(f"the call {shown} is not supported", where=_line(node))
        return name

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
                if word in _PASSING or _takes_item(word, user):
                    follow(user)
                elif word == "pack_padded_sequence" and node in (*user.args[1:2], user.kwargs.get("lengths")):
                    ends.add(Lengths)
                elif word in RECURRENT and node is not user.args[0]:
                    ends.add(StateInput)
                else:
                    ends.add(None)

        follow(node)
        if not ends:
            raise UnsupportedModelError(
                f"forward never uses its argument {node.target!r}", fix="Remove it, or give it a default."
            )
        (end,) = ends if len(ends) == 1 else (None,)
        return None if end is None else end(node.target)

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

    def _choices(self, node, fixed):
        """Every (axes, size, ids, length) an input could have, the likeliest first."""
        example = self.example.get(node)
        if example is None:
            sizes = self._sizes(node)
            floats = [(axes, size, False, None) for size in sizes for axes in ("btf", "bft", "tbf", "bf")]
            return (
                floats
                + [(axes, None, False, None) for axes in ("bt", "tb")]
                + [(axes, None, True, None) for axes in ("bt", "tb", "b")]
            )
        ids = not example.is_floating_point()
        orders = {3: ("btf", "bft", "tbf"), 2: ("bt", "tb") if ids else ("bf", "bt", "tb"), 1: ("b",)}.get(
            example.ndim, ()
        )
        if ids and example.ndim == 3 or not orders:
            raise UnsupportedModelError(
                f"the example for {node.target!r} has a shape that is not supported",
                expected="(batch, time, features) in some order",
                found=str(tuple(example.shape)),
            )
        shapes = [(axes, dict(zip(axes, example.shape))) for axes in orders]
        return [(axes, shape.get("f"), ids, shape.get("t") if fixed else None) for axes, shape in shapes]

    def graph(self, optional=()) -> Graph:
        """The one reading that fits; raises the error of the reading that came furthest. ``optional``:
        parameters left open that forward may go without."""
        self.optional = optional
        inputs = [node for node, role in self.roles.items() if role is None]
        if not inputs:
            raise UnsupportedModelError("forward needs a tensor argument")
        fitting, (_, error) = self._search(inputs, fixed=False)
        if isinstance(error, LengthError) and not fitting and self.example:
            fitting, (_, error) = self._search(inputs, fixed=True)
        if not fitting:
            if isinstance(error, ShapeError) and not self.example and not error.fix:
                sizes = sorted({n for node in inputs for n in self._sizes(node)})
                error.fix = (
                    f"No example was given, so that the layers had to tell the numbers of features ({sizes});"
                    " give example= with one example of each input."
                )
            raise error
        return self._chosen(inputs, fitting)

    def _search(self, inputs, fixed):
        choices = [self._choices(node, fixed) for node in inputs]
        fitting, impossible, furthest = [], [], ((-1,), None)
        for trial, combination in enumerate(itertools.product(*choices)):
            assumed = dict(zip(inputs, combination))
            if any(all(assumed[n] == c for n, c in wrong.items()) for wrong in impossible):
                continue
            if trial > _MOST_TRIALS:
                raise UnsupportedModelError(
                    "the sizes of the inputs cannot be found",
                    fix="Give example= with one example of each input.",
                )
            try:
                fitting.append((assumed, self._read(assumed)))
            except _Misfit as misfit:
                impossible.append({n: assumed[n] for n in self.ancestors[misfit.node]})
                # Of two errors at one call the one that is not a matter of axes or sizes says more. A reading
                # under which no call found the axes it needs says little: it may be the reading that is
                # wrong.
                telling = {AxesError: 0, ShapeError: 1}.get(type(misfit.error), 2)
                rank = (telling == 2 or misfit.placed > 0, self.nodes.index(misfit.node), telling)
                furthest = max(furthest, (rank, misfit.error), key=lambda f: f[0])
        return fitting, furthest

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
            told = len(sizes) == 1 and (self.example or self._told(node, fitting[0][0]))
            if not told:
                raise UnsupportedModelError(
                    f"the layers do not tell the shape of the input {node.target!r}",
                    expected="a layer that reads a number of features" if self.example else None,
                    fix=None if self.example else "Give example= with one example of each input.",
                )
        assumed, graph = fitting[0]
        self._refuse_constants(assumed)
        if (
            len(fitting) > 1
        ):  # layers that act on each frame alike fit several readings, and mean the same under each
            graph.metadata["assumed"] = {
                node.target: Input(node.target, time="t" in axes, axes=_graph_axes(axes)).axes
                for node, (axes, *_) in assumed.items()
            }
        return graph

    def _told(self, node, assumed):
        """Whether the layers tell an input's number of features: a program that only picks some of them takes
        one more as well.
        """
        axes, size, ids, length = assumed[node]
        if size is None:
            return ids or bool(self._sizes(node))
        try:
            self._read(assumed | {node: (axes, size + 1, ids, length)})
        except _Misfit:
            return True
        return False

    # -- reading under an assumption -------------------------------------------------------------------------
    def _read(self, assumed) -> Graph:
        net, values = Network(), {}
        for node in self.nodes:
            if node in self.skipped:
                continue
            try:
                values[node] = self._value(net, node, values, assumed)
            except RnnrtError as error:
                raise _Misfit(
                    node,
                    net.placed,
                    error
                    if node.op == "placeholder"
                    else error.at(_line(node) if node.op != "output" else "the output"),
                ) from error
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
        load = lambda tree: torch.fx.node.map_arg(tree, lambda n: self._loaded(net, node, values[n]))
        arguments, options = _plain(load(node.args)), _plain(load(node.kwargs))
        if node.op == "output":
            return self._finished(net, arguments[0])
        word = self.words[node]
        if node.op == "call_module":
            return call_module(net, self.modules[node.target], node.target, arguments, options)
        if word == "getattr":
            value, word = arguments
            if isinstance(value, MaxOverTime):
                return getattr(value, word)
            arguments = (value,)
        try:
            return CALLS[word](net, *arguments, **options)
        except RnnrtError:  # some are kinds of ValueError and TypeError too
            raise
        except (
            TypeError,
            ValueError,
            AttributeError,
            LookupError,
        ) as error:  # arguments of another kind than the call is written for
            given = ", ".join([*map(shown, arguments), *(f"{k}={shown(v)}" for k, v in options.items())])
            raise UnsupportedModelError(
                f"{word} is not supported with these arguments", found=given
            ) from error

    def _loaded(self, net, node, value):
        """A value as a call reads it; raises where torch would show something else by then."""
        if isinstance(value, Refused):
            raise UnsupportedModelError(value.why)
        if isinstance(value, Tensor):
            word = self.words.get(node)
            if value.root in net.overwritten:
                raise UnsupportedModelError(
                    f"reads a tensor that {net.overwritten[value.root]} has changed in place",
                    fix="Use the call that makes a new tensor.",
                )
            if net.is_ids(value) and word is not None and word not in _TAKES_IDS:
                raise AxesError("whole numbers can only be embedded")
            if any(value.padding) and word not in _KEEPS_PADDING:
                raise UnsupportedModelError("padding is supported only right before a convolution")
            if value.packed and word not in _KEEPS_PACKING:
                raise UnsupportedModelError("a packed sequence can only be given to an RNN and unpacked")
        return value

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
            net.name = name
            reference, axes = _output(net, value)
            net.builder.output(name, reference, axes)
        self.finals = [
            (position, [r.replace(":", "/") for r in value.references]) for position, value in states
        ]
        metadata = {"source": "torch", "torch_version": torch.__version__, "module": self.name}
        metadata |= self._packing(net, kept) | self._initial_states(net)
        metadata |= {"state_outputs": [position for position, _ in states]} if states else {}
        return _needed(
            net.builder.graph(metadata=metadata),
            [r.partition(":")[0] for _, value in states for r in value.references],
        )

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
            made = getattr(arguments[0], node.target)(*arguments[1:], **options)
        else:
            made = node.target(*arguments, **options)
    except (TypeError, ValueError, AttributeError, LookupError, RuntimeError) as error:
        raise UnsupportedModelError(f"cannot be worked out from the parameters alone ({error})") from error
    return Constant(node.name, made.numpy()) if isinstance(made, torch.Tensor) else made


class _Misfit(Exception):
    """A reading that does not hold: where, and why."""

    def __init__(self, node, placed, error):
        super().__init__(str(error))
        self.node, self.placed, self.error = node, placed, error


def _takes_item(word, node):
    """Whether a call takes a part of its first axis by number, or gives it one."""
    first = node.args[1] if len(node.args) > 1 else None
    plain = lambda n: isinstance(n, int) and not isinstance(n, bool)
    if word == "getitem":
        return (
            plain(first)
            or isinstance(first, slice)
            and not any(isinstance(n, torch.fx.Node) for n in (first.start, first.stop, first.step))
        )
    return word in ("select", "slice", "unsqueeze") and first == 0 and all(map(plain, node.args[1:]))


def _graph_axes(axes):
    return axes if "f" in axes else axes + "f"


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


def _output(net, x):
    """(reference, axes) a graph output needs: axes of size one read as a feature or as the one frame."""
    if (
        "s" in x.axes
        or any(x.padding)
        or x.packed
        or any(len(a) > 1 for a in x.axes)
        or "b" not in x.axes
        or x.axes.count("1") > 1
    ):
        raise UnsupportedModelError(
            "an output must be (batch, time, features) or (batch, features), in some order", found=str(x)
        )
    reference, axes = x.reference, "".join(x.axes)
    if "1" in axes and "f" not in axes:
        reference, axes = net.add(Reshape, reference, features=(1,)), axes.replace("1", "f")
    elif "1" in axes:
        reference, axes = net.add(Unflatten, reference, length=1), axes.replace("1", "t")
    return reference, _graph_axes(axes)


def _needed(graph, kept):
    """The graph without layers that no output and no kept state needs."""
    needed = {o.value.partition(":")[0] for o in graph.outputs} | set(kept) | set(graph.inputs)
    for layer in reversed(graph.layers):
        if layer.name in needed:
            needed |= {r.partition(":")[0] for r in layer.inputs}
    return graph.replace([layer for layer in graph.layers if layer.name in needed])


def _line(node):
    return (
        own_line(re.findall(r'File "([^"]+)", line (\d+)', node.stack_trace or "")) or f"the call {node.name}"
    )


def own_line(frames):
    """The innermost line that is neither PyTorch's nor ours."""
    foreign = (str(PurePath(torch.__file__).parent), str(PurePath(__file__).parent))
    own = [(file, line) for file, line in frames if not file.startswith(foreign)]
    return f"line {own[-1][1]} of {PurePath(own[-1][0]).name}" if own else None
