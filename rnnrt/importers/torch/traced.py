"""The trace of a live module, by torch.fx or torch.export, as a Program."""

from __future__ import annotations

import builtins
import operator
import re
from pathlib import PurePath

import numpy as np
import torch
import torch.fx
import torch.nn.functional
from torch.nn.utils import rnn as packing

from ...errors import UnsupportedModelError
from ..axes.values import Constant, Harmless
from ..operators.table import Word, takes
from .aten import ATEN, ATTRIBUTES, METHODS, MaxOverTime
from .functional import FUNCTIONAL, PACKING, PYTHON
from .modules import array_of, call_module, input_sizes, kind
from .ordered import in_order
from .program import Program, Sample
from .recurrent import RECURRENCE
from .rolled import Loop

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

WITHOUT_MODULE = (
    "Import the submodules that are supported, from_torch(module.NAME), or write what it does with supported "
    "calls (docs/coverage.md)."
)
WITHOUT_CALL = (
    "Write it with supported calls (docs/coverage.md), or move it out of forward: its result is then an "
    "input, or it reads the output."
)
BY_VALUE = (
    "Compute without asking for values: a mask, arange(x.size(1)) < lengths[:, None], or torch.where; or "
    "import the parts around it."
)
#: what to do instead of a call that forward often makes
_INSTEAD = {
    "sort": "Pack with enforce_sorted=False, which needs no rows in order.",
    "argsort": "Pack with enforce_sorted=False, which needs no rows in order.",
    "item": BY_VALUE,
    "nonzero": BY_VALUE,
    "__getitem__": BY_VALUE,
    "copy_": "Collect the frames in a list and stack them, or write every frame of a new tensor once.",
    "index_put_": "Compute without asking for values: torch.where, or a mask.",
    "__setitem__": "Collect the frames in a list and stack them.",
}
_FUNCTIONS[in_order] = ("in_order", Word("rows_in_order", takes("x"), takes("axis")))
_ASSERTS = ("_assert", "_assert_is_none")


class TracedProgram(Program):
    """An fx graph and the modules it calls; ``example``: {parameter of forward: a tensor}, or None;
    ``shapes``: {parameter of forward: sizes}, or None; ``still``: whether it is the program of the example's
    own number of frames.
    """

    def __init__(self, graph, modules, name, example, shapes=None, still=False):
        self.modules, self.still = modules, still
        super().__init__(list(graph.nodes), name, example, shapes)

    def _skip(self):
        """torch.fx pins arguments left at their defaults with asserts; the arguments are then no inputs."""
        skipped = set()
        for node in self.nodes:
            if node.op == "call_function" and getattr(node.target, "__name__", "") in _ASSERTS:
                skipped |= {node} | {n for n in node.all_input_nodes if n.target is operator.eq}
        for node in self.nodes:
            if node.op == "placeholder" and node.users and all(u in skipped for u in node.users):
                skipped.add(node)
        return skipped

    def _works_out(self, node):
        """Calls of numbers alone, but for zeros that an input meets: these may be a state."""
        if node.op not in ("call_function", "call_method") or node in self.reached:
            return False
        met = any(user in self.reached or user.op == "output" for user in node.users)
        return bool(node.all_input_nodes) or not met

    def _word(self, node):
        if node.op == "call_module":
            module = self.modules[node.target]
            if isinstance(module, Loop):
                return "Loop"
            if kind(module) is None:
                raise UnsupportedModelError(
                    f"the module {node.target!r} ({type(module).__name__}) is not supported",
                    where=self._where(node),
                    fix=f"Use nn.{type(module).__name__[:-4]} over the whole sequence."
                    if isinstance(module, torch.nn.RNNCellBase)
                    else self._way_out(node.target),
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
            word = ATEN.get(target._opname) or RECURRENCE.get(target._opname)
            found, shown = (target._opname, word), f"torch.ops.aten.{target._opname}"
        else:
            found = _FUNCTIONS.get(target, (None, None))
            module = getattr(target, "__module__", None) or "torch"
            module = "torch" if module.startswith("torch._C") else module.lstrip("_")
            shown = f"{module}.{getattr(target, '__name__', target)}"
        if found[1] is None:
            fix = _INSTEAD.get(shown.rpartition(".")[2], WITHOUT_CALL)
            raise UnsupportedModelError(
                f"the call {shown} is not supported", where=self._where(node), fix=fix
            )
        return found

    def _way_out(self, name):
        """What to do about a module that is not supported: of a Sequential the parts around it."""
        root = self.modules.get("")
        if not isinstance(root, torch.nn.Sequential) or name not in root._modules:
            return WITHOUT_MODULE
        place, last = list(root._modules).index(name), len(root) - 1
        parts = [f"module[:{place}]"] * (place > 0) + [f"module[{place + 1}:]"] * (place < last)
        around = f"Import what stands around it, {' and '.join(parts)}; or w" if parts else "W"
        return f"{around}rite what it does with supported calls (docs/coverage.md)."

    def _bound(self, node):
        name, word = self.words[node]
        positional = node.args[:1] if node.target is builtins.getattr else node.args
        return word.bind(name, _plain(positional), _plain(node.kwargs))

    def _mapped(self, tree, function):
        return _plain(torch.fx.node.map_arg(tree, function))

    def _attribute(self, node):
        value = self.modules[""]
        for part in node.target.split("."):
            value = getattr(value, part)
        return (
            Constant(node.target, array_of(value, node.target)) if isinstance(value, torch.Tensor) else value
        )

    def _call_module(self, net, node, load):
        arguments, options = load(node.args), load(node.kwargs)
        if isinstance(self.modules[node.target], Loop):
            return self.modules[node.target].lower(self, net, *arguments)
        if len(arguments) == 1 and isinstance(arguments[0], Constant) and not options:  # of parameters alone
            with torch.no_grad():
                made = self.modules[node.target](torch.from_numpy(arguments[0].array))
            return Constant(node.name, array_of(made, node.name))
        return call_module(net, self.modules[node.target], node.target, arguments, options)

    def _sizes_read(self, node):
        if node.op != "call_module" or isinstance(self.modules[node.target], Loop):
            return set()
        return input_sizes(self.modules[node.target])

    def _layouts(self, node, fixed):
        """A size of one that torch.export took for a constant is no open number of frames."""
        least, layouts, fixed = node.meta.get("least", ()), [], fixed or self.still
        for own in super()._layouts(node, fixed):
            place = own.axes.index("t") if "t" in own.axes and node in self.example else None
            one = place is not None and place < len(least) and least[place] is None
            one = one and self.example[node].shape[place] == 1 and node.target not in self.shapes
            layouts += [own] if fixed or not one else []
        return [self._one_for_all(node, own) for own in layouts]

    def _one_for_all(self, node, own):
        """A layout of one frame, where another input's example has more: it counts for all of these."""
        if node not in self.example or own.length is not None or "t" not in own.axes:
            return own
        frames = self.example[node].shape[own.axes.index("t")]
        several = any(x.shape[1:] and max(x.shape[1:]) > 1 for n, x in self.example.items() if n is not node)
        floats = not self.example[node].ids and len(self.example[node].shape) == 3
        return own._replace(length=1) if frames == 1 and several and floats else own

    def _network(self, assumed):
        net = super()._network(assumed)
        net.tells = True
        net.known = any(own.length is not None for own in assumed.values())
        known = [(self.example[n].shape, own.axes) for n, own in assumed.items() if n in self.example]
        rows = {shape[axes.index("b")] for shape, axes in known if "b" in axes}
        net.example_rows = rows.pop() if len(rows) == 1 else None
        return net

    def know(self, node):
        """Takes up the call of a loop's step, which is not among the program's own."""
        if node not in self.words and node.op.startswith("call_"):
            self.words[node] = self._word(node)

    def _examples(self, example):
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
        given = {node: example[node.target] for node in inputs}
        truth = {node: x.dtype == torch.bool for node, x in given.items()}
        ids = {node: not x.is_floating_point() and not truth[node] for node, x in given.items()}
        return {node: Sample(tuple(x.shape), ids[node], truth[node]) for node, x in given.items()}

    def _refuse_constants(self, assumed):
        """Raise where torch.export could not leave an input's batch or time open, or only up to some size."""
        for node, (axes, _, _, length) in assumed.items():
            ones = (
                [n == 1 for n, axis in zip(self.example[node].shape, axes) if axis in "bt"]
                if self.example
                else []
            )
            open_axes = "b" if length is not None else "bt"
            if any(n is None for axis, n in zip(axes, node.meta.get("least", ())) if axis in open_axes):
                raise UnsupportedModelError(
                    f"batch or time of the input {node.target!r} became a constant in the trace",
                    found=f"example {tuple(self.example[node].shape)}",
                    fix="Give an example whose batch and time are above 1: torch.export takes a size of 1 "
                    "for a constant."
                    if any(ones)
                    else "Loops over time are not supported: use whole-sequence layers.",
                )

    def _metadata(self):
        return {"source": "torch", "torch_version": torch.__version__, "module": self.name}

    def _folded(self, node, values):
        numbers = lambda n: torch.from_numpy(v.array) if isinstance(v := values[n], Constant) else v
        load = lambda tree: torch.fx.node.map_arg(tree, numbers)
        arguments, options = load(node.args), load(node.kwargs)
        self._keep_parameters(node, values)
        try:
            if node.op == "call_method":
                value = getattr(arguments[0], node.target)(*arguments[1:], **options)
            else:
                value = node.target(*arguments, **options)
        except (TypeError, ValueError, AttributeError, LookupError, RuntimeError) as error:
            raise UnsupportedModelError(
                f"cannot be worked out from the parameters alone ({error})"
            ) from error
        constant = lambda v: Constant(node.name, array_of(v, node.name)) if isinstance(v, torch.Tensor) else v
        return type(value)(map(constant, value)) if type(value) in (tuple, list) else constant(value)

    def _keep_parameters(self, node, values):
        """Raise where a call would write over a parameter, which is the module's."""
        word = node.target if isinstance(node.target, str) else getattr(node.target, "_opname", "")
        if not word.endswith("_") or word.endswith("__") or not isinstance(node.args[0], torch.fx.Node):
            return
        written = values[node.args[0]].array
        for other in self.nodes:
            own = values.get(other) if other.op == "get_attr" else None
            counts = isinstance(own, Constant) and own.array.dtype.kind in "iu"
            if counts and not node.users and len(other.users) == 1:
                continue  # how often forward was called, which no answer reads
            if isinstance(own, Constant) and np.shares_memory(written, own.array):
                raise UnsupportedModelError(
                    f"forward changes the tensor {other.target!r} of its module",
                    fix="Take a state as an argument instead.",
                )

    def _where(self, node):
        lines = re.findall(r'File "([^"]+)", line (\d+)', node.stack_trace or "")
        return own_line(lines) or f"the call {node.name}"


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


def own_line(frames):
    """The innermost line that is neither PyTorch's nor ours."""
    foreign = (str(PurePath(torch.__file__).parent), str(PurePath(__file__).parents[1]))
    own = [(file, line) for file, line in frames if not file.startswith(foreign)]
    return f"line {own[-1][1]} of {PurePath(own[-1][0]).name}" if own else None
