"""The second way to trace a live module: torch.export, which runs the module on an example and so sees through Python that asks for shapes.

It yields aten operators; they are written back as the calls and modules that torch_trace reads. Recurrent modules stand in for
themselves as one operator, for torch.export would unroll them over the example's time. What Python decided by the example's batch or
length leaves no trace in a program, so ``verify`` runs the module at other sizes and compares.
"""

from __future__ import annotations

import inspect
import operator
import warnings

import numpy as np
import torch
import torch.fx

from .. import reference
from ..errors import UnsupportedModelError
from ..graph import Embedding, Input
from .torch_modules import kind

_RECURRENT = ("RNN", "LSTM", "GRU")
#: Positions of the arguments of aten operators whose order is not that of the call of the same name.
_ORDER = {"batch_norm": (0, 3, 4, 1, 2, 5, 6, 7), "embedding": (1, 0, 2)}
_ASSERTS = (
    "_assert_scalar",
    "_assert_tensor_metadata",
    "_assert_async",
    "sym_constrain_range_for_size",
    "sym_constrain_range",
)
TOLERANCE = 1e-4  # of float32 torch against the float64 reference, scaled; a wrong reading is off by far more
ROUNDING = (
    100  # times what the reference errs by in float32: a network that magnifies rounding is no wrong reading
)


@torch.library.custom_op("rnnrt::recurrent", mutates_args=())
def _recurrent(
    x: torch.Tensor, states: list[torch.Tensor], name: str, sizes: list[int], batch_first: bool, cells: bool
) -> list[torch.Tensor]:
    """A whole RNN, GRU or LSTM: only ever traced. ``sizes``: layers * directions, output width, h width, c width."""
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

    def forward(self, input, hx=None):
        states = [] if hx is None else list(hx) if isinstance(hx, (tuple, list)) else [hx]
        out, *finals = torch.ops.rnnrt.recurrent(
            input, states, self.name, self.sizes, self.batch_first, self.cells
        )
        return out, tuple(finals) if self.cells else finals[0]


def exported(module, examples):
    """(fx graph in the calls torch_trace knows, {name: module}); ``module`` a copy in evaluation mode, which is changed."""
    recurrent = {name: m for name, m in module.named_modules() if kind(m) in _RECURRENT}
    for name, own in recurrent.items():
        parent, _, attribute = name.rpartition(".")
        setattr(module.get_submodule(parent), attribute, _Recurrent(own, name))
    every = tuple(dict.fromkeys(range(x.ndim), torch.export.Dim.AUTO) for x in examples)
    program = torch.export.export(module, tuple(examples), dynamic_shapes=every)
    run = program.module()
    return _rewritten(run.graph, program.range_constraints), {"": run, **recurrent}


def _rewritten(graph, ranges):
    made, nodes, recurrent = torch.fx.Graph(), {}, {}
    for node in graph.nodes:
        if (
            node.op == "call_module" or getattr(node.target, "_opname", None) in _ASSERTS
        ):  # torch.export's own checks of shapes
            continue
        arguments = torch.fx.node.map_arg(node.args, nodes.__getitem__)
        options = torch.fx.node.map_arg(node.kwargs, nodes.__getitem__)
        op, target, namespace = node.op, node.target, getattr(node.target, "namespace", None)
        if namespace == "rnnrt":
            x, states, target, _, _, cells = arguments
            op, arguments = "call_module", (x, *((tuple(states) if cells else states[0],) if states else ()))
            recurrent[node] = cells
        elif namespace == "aten":
            op, target = "call_method", node.target._opname
            arguments = tuple(
                arguments[k] for k in _ORDER.get(target, range(len(arguments))) if k < len(arguments)
            )
        elif (
            target is operator.getitem and recurrent.get(node.args[0]) and node.args[1]
        ):  # (out, h, c) was (out, (h, c))
            arguments = (made.call_function(operator.getitem, (arguments[0], 1)), node.args[1] - 1)
        nodes[node] = made.create_node(op, target, arguments, options, name=node.name)
        nodes[node].stack_trace = node.stack_trace
        if op == "placeholder":
            nodes[node].meta["least"] = [_least(n, ranges) for n in node.meta["val"].shape]
    return made


def _least(size, ranges):
    """The least value a traced size may have; None where it became a constant or has a greatest value, too."""
    if isinstance(size, int):
        return None
    bounds = ranges.get(size.node.expr)
    return int(bounds.lower) if bounds is not None and str(bounds.upper) == "int_oo" else None


# ---- the same answer at other sizes ----------------------------------------------------------------------------------


def verify(module, graph, examples, least=1):
    """Run the module and the graph at other batches and lengths than the example's; raises UnsupportedModelError where they differ.

    ``module``: in evaluation mode. ``examples``: a tensor for every argument, or None: inputs are made up then, for what torch.fx does not
    see (a forward that asks for types). Lengths that the module itself does not take are passed over, but for the example's own.
    ``least``: the least length the trace holds for; one below it, the module must fail or agree.
    """
    inputs = {layer.name: layer for layer in graph.layers if isinstance(layer, Input)}
    generator = torch.Generator().manual_seed(0)
    if examples is None:
        first = {name: _made_up(layer, graph) for name, layer in inputs.items()}
        first |= dict.fromkeys(graph.metadata.get("state_inputs", ()))
        first |= {name: torch.ones(2) for name in [graph.metadata.get("lengths_input")] if name}
        sizes = [(8, 2), (9, 3), (64, 2), (400, 1)]
    else:
        first = dict(zip(inspect.signature(module.forward).parameters, examples))
        size = {axis: n for name, layer in inputs.items() for axis, n in zip(layer.axes, first[name].shape)}
        time, batch = size.get("t", 1), size["b"]
        sizes = [
            (time, batch),
            (time, batch + 1),
            (time + 1, 2),
            (2 * time + 3, 1),
            (max(time // 2, 1), 3),
            (max(least - 1, 1), 2),
        ]
    agreed = 0
    for frames, rows in sizes:
        fixed = next((layer.length for layer in inputs.values() if layer.length), frames)
        if frames != fixed or (examples is None and agreed == 2):
            continue
        given = {
            name: _other(x, inputs.get(name), name, graph, frames, rows, generator)
            for name, x in first.items()
        }
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # and a module may change its input in place
                expected = module(**{name: None if x is None else x.clone() for name, x in given.items()})
        except Exception as error:  # whatever the user's own forward raises at a size it does not take
            if examples is None or (frames, rows) != sizes[0]:
                continue
            raise UnsupportedModelError(
                "the module does not run on the example", found=str(error).splitlines()[0]
            ) from error
        difference, rounding = _difference(graph, inputs, given, expected)
        if not difference <= max(TOLERANCE, ROUNDING * rounding):
            raise UnsupportedModelError(
                "the module's answer depends on the batch or the number of frames, or on types that forward asks for, in a way the trace"
                " does not hold",
                expected="torch's answer",
                found=f"another at batch {rows}, {frames} frames (difference {difference:.1g})",
            )
        agreed += 1


def _made_up(layer, graph):
    """An input for a graph's Input, ids below the rows of every table that reads them."""
    sizes = {"b": 2, "t": layer.length or 8, "f": layer.features[0] if layer.features else 1}
    axes = layer.axes if layer.features else layer.axes.replace("f", "")
    rows = [len(reader.weight) for reader in graph.consumers(layer.name) if isinstance(reader, Embedding)]
    made = torch.zeros([sizes[axis] for axis in axes])
    return torch.arange(made.numel()).reshape(made.shape) % min(rows, default=1) if layer.ids else made


def _other(x, layer, name, graph, frames, rows, generator):
    """An input like the example, of another size."""
    if name == graph.metadata.get("lengths_input"):
        return torch.full((rows,), frames)
    if x is None:  # a state that forward may go without
        return None
    if layer is None:  # a state, (layers, batch, units)
        return torch.zeros(x.shape[0], rows, *x.shape[2:])
    shape = [{"b": rows, "t": frames}.get(axis, n) for axis, n in zip(layer.axes, x.shape)]
    if x.is_floating_point():
        return torch.randn(shape, generator=generator)
    return x.flatten()[torch.randint(0, x.numel(), shape, generator=generator)]


def _difference(graph, inputs, given, expected):
    """(largest difference of any output from torch's, that of the reference in float32 from itself), scaled; infinite where shapes differ."""
    arrays = {}
    for name, layer in inputs.items():
        axes = layer.axes if layer.features else layer.axes.replace("f", "")
        arrays[name] = given[name].numpy().transpose([axes.index(a) for a in "btf" if a in axes])
    lengths = given.get(graph.metadata.get("lengths_input"))
    lengths = None if lengths is None else lengths.numpy()
    with np.errstate(all="ignore"):
        made, rounded = (
            reference.run(graph, arrays, lengths=lengths, dtype=t)[0] for t in (np.float64, np.float32)
        )
    states, worst, rounding = graph.metadata.get("state_outputs", ()), 0.0, 0.0
    kept = [t for k, t in enumerate(leaves(expected)) if t is not None and k not in states]
    for tensor, output in zip(kept, graph.outputs):
        features = graph.signals[output.value].features
        axes = output.axes if features else output.axes.replace("f", "")
        wanted, found = tensor.numpy(), made[output.name]
        if wanted.ndim != len(axes):
            return np.inf, 0.0
        wanted = wanted.transpose([axes.index(a) for a in "btf" if a in axes])
        if wanted.shape != found.shape:
            return np.inf, 0.0
        worst, rounding = (
            max(worst, _distance(found, wanted)),
            max(rounding, _distance(found, rounded[output.name])),
        )
    return worst, rounding


def _distance(expected, found):
    """The largest difference, relative to the largest expected magnitude where that is above 1; equal infinities and NaN are none."""
    same = (expected == found) | (np.isnan(expected) & np.isnan(found))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(expected - found)).max(initial=0.0)
    return apart / max(1.0, np.abs(expected[np.isfinite(expected)]).max(initial=0.0))


def leaves(tree):
    """What a forward returns, taken out of its tuples and dicts in order."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    return [leaf for item in tree for leaf in leaves(item)] if isinstance(tree, (tuple, list)) else [tree]
