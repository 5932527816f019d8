"""The second way to trace a live module: torch.export, which runs the module on an example and so sees
through Python that asks for shapes.

It yields aten operators. Recurrent modules stand in for themselves as one operator, for torch.export would
unroll them over the example's time; that operator is written back as the call of the module.
What Python decided by the example's batch or length leaves no trace in a program: verify.py runs the
module at other sizes and compares.
"""

from __future__ import annotations

import contextvars
import operator

import torch
import torch.fx

from .modules import kind
from .rows import takes_rows

_RECURRENT = ("RNN", "LSTM", "GRU")
_ASSERTS = (
    "_assert_scalar",
    "_assert_tensor_metadata",
    "_assert_async",
    "sym_constrain_range_for_size",
    "sym_constrain_range",
)
#: operators whose result is the storage of their first argument, seen otherwise
_VIEWS = ("permute", "transpose", "unsqueeze", "squeeze", "view")


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


@_recurrent.register_vmap
def _(info, in_dims, x, states, name, sizes, batch_first, cells):
    """Rows that have a batch of one each, or none: their rows are the batch."""
    axis, rows = 0 if batch_first else 1, info.batch_size
    whole = lambda y, dim: y.unsqueeze(0).expand(rows, *y.shape) if dim is None else y.movedim(dim, 0)
    merged = lambda y, axis: y.movedim(0, axis).flatten(axis, axis + 1)
    x = whole(x, in_dims[0])
    states = [
        h.expand(len(h), rows, -1) if dim is None and h.shape[1] == 1 else merged(whole(h, dim), 1)
        for h, dim in zip(states, in_dims[1])
    ]
    out, *finals = torch.ops.rnnrt.recurrent(merged(x, axis), states, name, sizes, batch_first, cells)
    parts = lambda y, axis: y.unflatten(axis, (rows, -1)).movedim(axis, 0)
    return [parts(out, axis), *(parts(h, 1) for h in finals)], [0] * (1 + len(finals))


#: {name: layer} that stand for themselves while their owner is exported
_STANDING = contextvars.ContextVar("layers")
#: layers whose first axis is the batch: the number of axes with it, where they take a row without one, too
_BATCHED = {
    **dict.fromkeys(("Conv1d", "ConvTranspose1d", "MaxPool1d", "AvgPool1d", "InstanceNorm1d"), 3),
    **dict.fromkeys(("AdaptiveAvgPool1d", "AdaptiveMaxPool1d"), 3),
    **dict.fromkeys(("BatchNorm1d", "GroupNorm"), None),
}


@torch.library.custom_op("rnnrt::batched", mutates_args=())
def _batched(x: torch.Tensor, name: str) -> torch.Tensor:
    """A layer whose first axis is the batch: only ever traced."""
    raise NotImplementedError


@_batched.register_fake
def _(x, name):
    layer = _STANDING.get()[name]
    tensors = {
        n: x.new_empty(t.shape, dtype=t.dtype) for n, t in (*layer.named_parameters(), *layer.named_buffers())
    }
    if kind(layer) == "MaxPool1d":  # makes a number of the frames, where that of pictures does not
        sizes = layer.kernel_size, layer.stride, layer.padding, layer.dilation
        own = [(rest, n[0] if isinstance(n, tuple) else n) for n, rest in zip(sizes, (1, 1, 0, 1))]
        made = torch.nn.functional.max_pool2d(x.unsqueeze(2), *own, ceil_mode=layer.ceil_mode)
        return made.squeeze(2).contiguous()
    return torch.func.functional_call(layer, tensors, (x,)).contiguous()


@_batched.register_vmap
def _(info, in_dims, x, name):
    made = torch.ops.rnnrt.batched(x.movedim(in_dims[0], 0).flatten(0, 1), name)
    return made.unflatten(0, (info.batch_size, -1)), 0


@torch.library.custom_op("rnnrt::joined", mutates_args=())
def _joined(tensors: list[torch.Tensor], axis: int) -> torch.Tensor:
    """torch.cat, which makes a number of the batch under torch.vmap: only ever traced."""
    raise NotImplementedError


@_joined.register_fake
def _(tensors, axis):
    return torch.cat(tensors, axis)


@_joined.register_vmap
def _(info, in_dims, tensors, axis):
    whole = [
        x.unsqueeze(0).expand(info.batch_size, *x.shape) if dim is None else x.movedim(dim, 0)
        for x, dim in zip(tensors, in_dims[0])
    ]
    return torch.ops.rnnrt.joined(whole, axis + 1 if axis >= 0 else axis), 0


class _Batched(torch.nn.Module):
    """Stands in for a layer whose first axis is the batch while a module that takes rows is exported:
    torch.vmap merges the batch with other axes there.
    """

    def __init__(self, layer, name):
        super().__init__()
        self.axes, self.name = _BATCHED[kind(layer)], name

    def forward(self, input):
        if input.ndim + 1 == self.axes:
            return torch.ops.rnnrt.batched(input.unsqueeze(0), self.name).squeeze(0)
        return torch.ops.rnnrt.batched(input, self.name)


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
        alone, axis = input.ndim == 2, 0 if self.batch_first else 1
        if alone:
            input, states = input.unsqueeze(axis), [h.unsqueeze(1) for h in states]
        out, *finals = torch.ops.rnnrt.recurrent(
            input, states, self.name, self.sizes, self.batch_first, self.cells
        )
        if alone:
            out, finals = out.squeeze(axis), [h.squeeze(1) for h in finals]
        return out, tuple(finals) if self.cells else finals[0]


def exported(module, example, batch=None):
    """(fx graph in the calls trace.py knows, {name: module}); ``module`` a copy in evaluation mode, which
    is changed. ``batch``: the one axis whose size is left open, None for all.

    ``example``: {parameter of forward: a tensor, None, or a tuple of these}.
    """
    rows, named = takes_rows(module), dict(module.named_modules())
    standing = {name: (m, _Recurrent) for name, m in named.items() if kind(m) in _RECURRENT}
    standing |= {name: (m, _Batched) for name, m in named.items() if rows and kind(m) in _BATCHED}
    for name, (own, stand_in) in standing.items():
        parent, _, attribute = name.rpartition(".")
        setattr(module.get_submodule(parent), attribute, stand_in(own, name))
    layers = {name: own for name, (own, _) in standing.items()}
    shapes = {name: _open(value, batch) for name, value in example.items()}
    token = _STANDING.set(layers)
    try:
        program = torch.export.export(module, (), dict(example), dynamic_shapes=shapes)
        if rows:  # torch.vmap is in the program until then
            program = program.run_decompositions({})
    finally:
        _STANDING.reset(token)
    run = program.module()
    arguments = [found for name, value in example.items() for found in _paths(name, (), value)]
    graph = _rewritten(run.graph, program.range_constraints, arguments)
    if rows:
        _batch_of(graph, *module.first)
        graph.eliminate_dead_code(_has_effect)
    return graph, {"": run, **layers}


def _has_effect(node):
    """Whether a call is no dead code where nothing reads it: it writes into a tensor."""
    word = getattr(node.target, "_opname", "")
    return node.op in ("placeholder", "output") or word.endswith("_") and not word.endswith("__")


def _batch_of(graph, name, axis):
    """Has a program ask the input ``name`` for the batch, its ``axis``: a state cannot be asked."""
    given = next(node for node in graph.nodes if node.op == "placeholder" and node.target == name)
    expression = lambda n: n if isinstance(n, int) else n.node.expr
    rows, asked = expression(given.meta["val"].shape[axis]), None
    for node in list(graph.nodes):
        of = getattr(node.target, "_opname", None) == "sym_size" and node.args[0]
        if of and of.op == "placeholder" and of is not given and expression(node.meta["val"]) == rows:
            if asked is None:
                with graph.inserting_before(node):
                    asked = graph.call_function(torch.ops.aten.sym_size.int, (given, axis))
                asked.meta["val"] = node.meta["val"]
            node.replace_all_uses_with(asked)


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
    rewritten, nodes, recurrent, parameters, views = torch.fx.Graph(), {}, {}, {}, {}
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
        if (same := _same_view(node, views)) is not None:
            nodes[node] = nodes[same]
            continue
        arguments, options = (torch.fx.node.map_arg(x, nodes.__getitem__) for x in (node.args, node.kwargs))
        op, target, namespace = node.op, node.target, getattr(node.target, "namespace", None)
        if namespace == "rnnrt" and target._opname == "batched":
            op, arguments, target = "call_module", arguments[:-1], arguments[-1]
        elif namespace == "rnnrt" and target._opname == "joined":
            target = torch.ops.aten.cat.default
        elif namespace == "rnnrt":
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


def _same_view(node, views):
    """The argument of the program that a chain of views ends at again, having its sizes and strides, else
    None. ``views``: {view: the argument it is of}, which grows.
    """
    if node.op != "call_function" or getattr(node.target, "_opname", None) not in _VIEWS:
        return None
    source = node.args[0]
    base = views[node] = views.get(source, source)
    if base.op != "placeholder":
        return None
    own, first = node.meta["val"], base.meta["val"]
    expression = lambda n: n if isinstance(n, int) else n.node.expr
    laid = lambda t: [(expression(n), expression(by)) for n, by in zip(t.shape, t.stride())]
    return base if laid(own) == laid(first) and own.storage_offset() == first.storage_offset() else None


def _least(size, ranges):
    """The least value a traced size may have; None where it became a constant or has a greatest value,
    too.
    """
    if isinstance(size, int):
        return None
    bounds = ranges.get(size.node.expr)
    return int(bounds.lower) if bounds is not None and str(bounds.upper) == "int_oo" else None
