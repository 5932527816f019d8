"""The second way to trace a live module: torch.export, which runs the module on an example and so sees
through Python that asks for shapes.

It yields aten operators. Recurrent modules stand in for themselves as one operator, for torch.export would
unroll them over the example's time; that operator is written back as the call of the module.
What Python decided by the example's batch or length leaves no trace in a program: verify.py runs the
module at other sizes and compares.
"""

from __future__ import annotations

import operator

import torch
import torch.fx

from .modules import kind

_RECURRENT = ("RNN", "LSTM", "GRU")
_ASSERTS = (
    "_assert_scalar",
    "_assert_tensor_metadata",
    "_assert_async",
    "sym_constrain_range_for_size",
    "sym_constrain_range",
)


@torch.library.custom_op("rnnrt::recurrent", mutates_args=())
def _recurrent(
    x: torch.Tensor, states: list[torch.Tensor], name: str, sizes: list[int], batch_first: bool, cells: bool
) -> list[torch.Tensor]:
    """A whole RNN, GRU or LSTM: only ever traced. ``sizes``: layers * directions, output width, h width, c
    width.
    """
    raise NotImplementedError


@_recurrent.register_fake
def _(x, states, name, sizes, batch_first, cells):
    batch, (stack, width, hidden, cell) = x.shape[0 if batch_first else 1], sizes
    finals = [x.new_empty((stack, batch, n)) for n in ([hidden, cell] if cells else [hidden])]
    return [x.new_empty((x.shape[0], x.shape[1], width)), *finals]


class _Recurrent(torch.nn.Module):
    """Stands in for a recurrent module while its owner is exported."""

    def __init__(self, module, name):
        super().__init__()
        directions, hidden = 2 if module.bidirectional else 1, module.proj_size or module.hidden_size
        self.sizes = [module.num_layers * directions, directions * hidden, hidden, module.hidden_size]
        self.name, self.batch_first, self.cells = name, module.batch_first, module.mode == "LSTM"

    def flatten_parameters(self):
        """What a recurrent module does for its memory alone."""

    def forward(self, input, hx=None):
        states = [] if hx is None else list(hx) if isinstance(hx, (tuple, list)) else [hx]
        out, *finals = torch.ops.rnnrt.recurrent(
            input, states, self.name, self.sizes, self.batch_first, self.cells
        )
        return out, tuple(finals) if self.cells else finals[0]


def exported(module, example, batch=None):
    """(fx graph in the calls trace.py knows, {name: module}); ``module`` a copy in evaluation mode, which
    is changed. ``batch``: the one axis whose size is left open, None for all.

    ``example``: {parameter of forward: a tensor, None, or a tuple of these}.
    """
    recurrent = {name: m for name, m in module.named_modules() if kind(m) in _RECURRENT}
    for name, own in recurrent.items():
        parent, _, attribute = name.rpartition(".")
        setattr(module.get_submodule(parent), attribute, _Recurrent(own, name))
    shapes = {name: _open(value, batch) for name, value in example.items()}
    program = torch.export.export(module, (), dict(example), dynamic_shapes=shapes)
    run = program.module()
    arguments = [found for name, value in example.items() for found in _paths(name, (), value)]
    return _rewritten(run.graph, program.range_constraints, arguments), {"": run, **recurrent}


def _open(value, batch):
    """Every size of an example left open, or that of one axis, in its own structure."""
    if isinstance(value, (tuple, list)):
        return type(value)(_open(part, batch) for part in value)
    if not isinstance(value, torch.Tensor):
        return None
    axes = range(value.ndim)
    return {k: torch.export.Dim.AUTO if batch in (None, k) else torch.export.Dim.STATIC for k in axes}


def _paths(name, path, value):
    """(parameter, items to take of it) of every leaf of an example, in the order of the program's
    placeholders.
    """
    if isinstance(value, (tuple, list)):
        return [found for k, part in enumerate(value) for found in _paths(name, (*path, k), part)]
    return [(name, path)]


def _rewritten(graph, ranges, arguments):
    rewritten, nodes, recurrent, parameters = torch.fx.Graph(), {}, {}, {}
    given = iter(arguments)
    for node in graph.nodes:
        if (
            node.op == "call_module" or getattr(node.target, "_opname", None) in _ASSERTS
        ):  # torch.export's own checks of shapes
            continue
        if node.op == "placeholder":
            name, path = next(given)
            if not node.users:  # None, or never used
                continue
            if name not in parameters:
                parameters[name] = rewritten.placeholder(name)
            nodes[node] = parameters[name]
            for item in path:
                nodes[node] = rewritten.call_function(operator.getitem, (nodes[node], item))
            nodes[node].meta["val"] = node.meta["val"]
            if not path:
                nodes[node].meta["least"] = [_least(n, ranges) for n in node.meta["val"].shape]
            continue
        arguments, options = (torch.fx.node.map_arg(x, nodes.__getitem__) for x in (node.args, node.kwargs))
        op, target, namespace = node.op, node.target, getattr(node.target, "namespace", None)
        if namespace == "rnnrt":
            x, states, target, _, _, cells = arguments
            op, arguments = "call_module", (x, *((tuple(states) if cells else states[0],) if states else ()))
            recurrent[node] = cells
        elif (
            target is operator.getitem and recurrent.get(node.args[0]) and node.args[1]
        ):  # (out, h, c) was (out, (h, c))
            arguments = (rewritten.call_function(operator.getitem, (arguments[0], 1)), node.args[1] - 1)
        nodes[node] = rewritten.create_node(op, target, arguments, options, name=node.name)
        nodes[node].stack_trace = node.stack_trace
        nodes[node].meta["val"] = node.meta.get("val")
    return rewritten


def _least(size, ranges):
    """The least value a traced size may have; None where it became a constant or has a greatest value,
    too.
    """
    if isinstance(size, int):
        return None
    bounds = ranges.get(size.node.expr)
    return int(bounds.lower) if bounds is not None and str(bounds.upper) == "int_oo" else None
