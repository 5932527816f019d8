"""A live PyTorch module as a Graph: its ``forward`` is traced, by torch.fx or else by torch.export, its loops
over frames rolled up (rolled.py), read (traced.py) and compared with the module's own answers (verify.py).
The first way to trace that holds is taken."""

from __future__ import annotations

import contextlib
import inspect
import io
import itertools
import logging
import traceback
import warnings
from collections.abc import Mapping
from dataclasses import replace

import torch
import torch.fx
from torch.nn.utils import rnn as packing

from ...errors import RnnrtError, UnsupportedModelError
from ...graph import Graph
from ...layers import Input
from .copy import evaluated
from .export import exported
from .filled import stacked
from .len_of_tensors import open_lengths
from .modules import kind
from .ordered import unsorted
from .program import RECURRENT, TwoAxesError, leaves
from .rolled import FRAMES, embed_first, rolled
from .rows import NOTE as ROWS
from .rows import by_rows, takes_rows
from .traced import BY_VALUE, TracedProgram, own_line
from .verify import compare

#: calls of a program that holds for the example's frames alone, its loops unrolled
_MOST_CALLS = 4000
#: operations of a size that torch.export is asked to decide by; those of models are some ten
_MOST_OPERATIONS = 150
#: frames more that an input has whose frames no loop is looked for in
_MORE = 3


class _Tracer(torch.fx.Tracer):
    """torch.fx's tracer, with every supported layer a leaf and every call's line kept."""

    def __init__(self):
        super().__init__(
            autowrap_functions=(packing.pack_padded_sequence, packing.pad_packed_sequence, torch.zeros)
        )
        self._autowrap_search += [packing, torch]
        self.record_stack_traces = True

    def is_leaf_module(self, m, module_qualified_name):
        return kind(m) is not None or super().is_leaf_module(m, module_qualified_name)


def trace(module, example=None, shapes=None) -> Graph:
    """The Graph of a live module; ``example``: an input, a tuple of them or {parameter of forward: input},
    for sizes that the layers do not tell and for a forward that torch.fx cannot trace; ``shapes``: {parameter
    of forward: sizes}, None for batch and time, where several axes may be time. The graph is compared with
    the module at several sizes; what could not be compared stands in the metadata's "assumptions".

    Raises UnsupportedModelError naming the call and its line.
    """
    module = _unwrapped(module)
    where, random = f"torch module {type(module).__name__}", torch.get_rng_state()
    try:
        if module._forward_hooks or module._forward_pre_hooks and kind(module) is None:
            raise UnsupportedModelError(
                "a forward hook may change what the module does", fix="Remove the hook first."
            )
        example, shapes = _by_parameter(module, example), _sizes_said(module, shapes)
        try:
            return _first_that_holds(module, example, shapes)
        except UnsupportedModelError:
            rows = None if shapes else by_rows(module, example)
            if rows is None:
                raise
            graph = _of_rows(*rows)
            if graph is None:
                raise
            return graph
    except RnnrtError as error:
        raise error.at(where)
    finally:
        torch.set_rng_state(random)


def _of_rows(module, example):
    """The graph of a module that takes rows, None where there is none."""
    try:
        graph = _first_that_holds(module, example, {})
    except UnsupportedModelError:
        return None
    graph.metadata["one_row"] = module.one_row
    graph.metadata["assumptions"] = [ROWS, *graph.metadata.get("assumptions", ())]
    return graph


def _unwrapped(module):
    """The module behind DataParallel and torch.compile; TorchScript is refused, for it has no Python to
    trace.
    """
    while True:
        if isinstance(module, torch.jit.ScriptModule):
            raise UnsupportedModelError(
                "is a TorchScript module",
                where=f"torch module {module.original_name}",
                fix="Use from_torchscript(); or give the module it was made from, or its state_dict() with a "
                "spec.",
            )
        if isinstance(module, (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)):
            module = module.module
        elif type(module).__name__ == "OptimizedModule" and isinstance(
            getattr(module, "_orig_mod", None), torch.nn.Module
        ):
            module = module._orig_mod
        else:
            return module


def _by_parameter(module, example):
    """{parameter of forward: a tensor, None, or a tuple of these}, or None without an example."""
    if example is None:
        return None
    names = list(inspect.signature(module.forward).parameters)
    if not isinstance(example, Mapping):
        values = list(example) if isinstance(example, (tuple, list)) else [example]
        if len(values) > len(names):
            raise UnsupportedModelError(
                "example holds more values than forward has arguments",
                expected=f"at most {len(names)}: {', '.join(names)}",
                found=str(len(values)),
            )
        example = dict(zip(names, values))
    unknown = [name for name in example if name not in names]
    if unknown:
        raise UnsupportedModelError(
            f"forward has no argument {unknown[0]!r}, for which example gives a value",
            expected=", ".join(names),
        )
    parameters = inspect.signature(module.forward).parameters
    several = next((n for n, p in parameters.items() if p.kind == p.VAR_POSITIONAL), None)
    if several in example:
        raise UnsupportedModelError(
            f"forward takes any number of inputs, *{several}, which have no names of their own",
            fix="Write forward with an argument for each input.",
        )
    return {name: _tensors(example[name], name) for name in names if name in example}


def _sizes_said(module, shapes):
    """{parameter of forward: sizes}, checked."""
    names = list(inspect.signature(module.forward).parameters)
    for name, sizes in (shapes or {}).items():
        if name not in names:
            raise UnsupportedModelError(
                f"forward has no argument {name!r}, for which shapes says sizes", expected=", ".join(names)
            )
        if not isinstance(sizes, (tuple, list)) or any(
            n is not None and (type(n) is not int or n < 1) for n in sizes
        ):
            raise UnsupportedModelError(
                f"shapes of {name!r} are not understood",
                expected="a tuple of numbers, None for batch and time",
                found=repr(sizes)[:80],
            )
    return {name: tuple(sizes) for name, sizes in (shapes or {}).items()}


def _tensors(value, name):
    if value is None or isinstance(value, torch.Tensor):
        return value
    if isinstance(value, (tuple, list)) and not all(isinstance(v, (int, float)) for v in value):
        return tuple(_tensors(part, name) for part in value)
    try:
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UnsupportedModelError(
            f"the example for {name!r} is not an array of numbers",
            expected="a tensor or an array, or a tuple of these",
            found=type(value).__name__,
        ) from error


def _first_that_holds(module, example, shapes):
    """The graph of the first way to trace whose reading the module's own answers confirm."""
    few = None  # why the program of the example's own number of frames was not read
    held = None  # one of a fixed number of frames, where a later way may be of any
    untraced, refusals, ways, last = None, [], _ways(module, example), _of_own_length(module, example)
    while ways or (last and held is None):
        still = not ways
        undecided = [e for e in refusals if isinstance(e, TwoAxesError)]
        if still and undecided and _of_one_channel(example):
            raise undecided[0]
        way, optional = ways.pop(0) if ways else last.pop(0)
        try:
            graph, modules = way(optional)
        except _Untraceable as error:
            untraced = untraced or error if still else error
            continue
        try:
            program = TracedProgram(graph, modules, type(module).__name__, example, shapes, still)
            absent = [name for name in optional if program.role(name) is None]
            if absent:  # no state and no lengths: what forward does without it is another program
                ways.insert(0, (way, [name for name in optional if name not in absent]))
                continue
            result = program.graph(optional)
            closed = program.resorts(result) and any(isinstance(x, Input) and x.length for x in result.layers)
            result = _as_packed(result) if kind(module) in RECURRENT else result
            least = max([n for node in program.nodes for n in node.meta.get("least", ()) if n], default=1)
            kept = getattr(graph, "kept", ())
            options = {"optional": optional, "finals": program.finals, "least": least, "kept": kept}
            if "" in modules and not isinstance(
                modules[""], torch.fx.GraphModule
            ):  # torch.export keeps guards
                options["traced"] = _Traced(modules[""].cpu(), graph)
            notes = compare(module, result, example, **options)
            notes += [
                f"forward keeps a state in {n}: here each call starts anew, a stream goes on." for n in kept
            ]
            notes += _why_still(result, refusals, untraced) if still else []
            result.metadata.update({"assumptions": notes} if notes else {})
            if not closed or still:
                return result
            held = held or result
        except RnnrtError as error:
            if not still and (not optional or kind(module)):
                refusals.append(error)
            else:
                few = few or error
    if held is not None:
        return held
    raise refusals[0] if refusals else few if few and isinstance(untraced, _TooLong) else untraced


def _ways(module, example):
    """[(a function of the optional parameters to leave open that traces, those parameters)], the best
    first.
    """
    if kind(module) is not None:
        return [(lambda optional: _called(module, optional), ["hx"] * (kind(module) in RECURRENT))]
    given = {name for name, value in (example or {}).items() if value is not None}
    parameters = inspect.signature(module.forward).parameters.values()
    pinned = {p.name: p.default for p in parameters if p.default is not p.empty and p.name not in given}
    pinned |= {name: None for name, value in (example or {}).items() if value is None}
    ways, free = [], [n for n, v in pinned.items() if v is None]
    if not takes_rows(module):
        ways = [
            (lambda optional: _symbolic(module, pinned, optional), own)
            for own in ([free, []] if free else [[]])
        ]
    if example is not None:
        ways.append((lambda _: _exported(module, example), []))
        if (wider := _of_two(example)) is not None:
            ways.append((lambda _: _exported(module, wider), []))
        for axis in (1, 0):
            for some in _of_frames(example, axis):
                ways.append((lambda _, some=some: _loops(module, some), []))
    return ways


def _of_own_length(module, example):
    """The last ways: the program for the example's own number of frames, its batch alone left open."""
    if example is None or kind(module) is not None:
        return []
    few = _of_two(example) or example
    given = [x for x in example.values() if isinstance(x, torch.Tensor) and x.ndim]
    one = any(x.shape[0] == 1 or x.ndim > 3 for x in given)
    axes = (0, 1) if all(x is None or x.ndim > 1 for x in few.values() if not isinstance(x, tuple)) else (0,)
    ways = [(few, axis) for axis in axes]
    if few is not example and not one:  # what has a size of one is not the batch, but its one channel
        ways.insert(0, (example, 0))
    return [(lambda _, some=some, axis=axis: _still(module, some, axis), []) for some, axis in ways]


def _still(module, example, axis):
    """The program of torch.export for the example's own number of frames, the batch at ``axis``."""
    graph, modules = _exported(module, example, batch=axis)
    if len(graph.nodes) > _MOST_CALLS:
        raise _Untraceable(
            f"forward makes {len(graph.nodes)} calls for the example's frames",
            fix="Give a shorter example, or use whole-sequence layers.",
        )
    embed_first(graph)
    return graph, modules


def _why_still(graph, refusals, untraced):
    """A sentence on what made the number of frames fixed."""
    lengths = sorted({x.length for x in graph.layers if isinstance(x, Input) and x.length})
    why = (refusals or [untraced])[0]
    frames = " and ".join(map(str, lengths))
    return [f"holds for the example's {frames} frames alone: {why.what}."] if lengths and why else []


def _of_frames(example, axis):
    """Examples of a few rows and FRAMES frames, time being ``axis``, to find loops over frames in: of inputs
    of two lengths one that has FRAMES of the first, and one of the second.
    """
    tensors = [x for x in example.values() if isinstance(x, torch.Tensor)]
    if len(tensors) < len([x for x in example.values() if x is not None]):
        return []
    lengths = {x.shape[axis] for x in tensors if x.ndim == 3 or (x.ndim == 2 and not x.is_floating_point())}
    if len(lengths) not in (1, 2):
        return []

    def cut(x, dim, size):
        return x.repeat_interleave(-(-size // x.shape[dim]), dim).narrow(dim, 0, size) if x.shape[dim] else x

    def few(x, length):
        timed = x.ndim == 3 or (x.ndim == 2 and not x.is_floating_point())
        x = cut(x, axis, FRAMES + _MORE * (x.shape[axis] != length)) if timed else x
        return cut(x, 1 - axis if timed else 0, 3).clone() if x.ndim else x

    return [{name: x if x is None else few(x, n) for name, x in example.items()} for n in sorted(lengths)]


def _loops(module, example):
    """The program of torch.export with its loops over frames rolled up."""
    graph, modules = _exported(module, example)
    found = rolled(graph, modules)
    if found is None:
        raise _Untraceable(
            "forward has a loop over frames whose steps are not alike",
            fix="Use whole-sequence layers, or a step that is the same at every frame.",
        )
    for node in found[0].nodes:  # the number of frames is open again; verify.py asks at others
        if node.op == "placeholder" and "least" in node.meta:
            node.meta["least"] = [n or 1 for n in node.meta["least"]]
    return found


def _of_one_channel(example):
    """Whether all inputs are pictures of one channel: a picture, and no sequence of a known length."""
    given = [x for x in example.values() if isinstance(x, torch.Tensor)]
    return all(x.ndim > 3 and x.shape[1] == 1 for x in given)


def _of_two(example):
    """An example of one row as one of two, for torch.export takes a size of one for a constant; None where it
    is no such example.
    """
    tensors = [value for value in example.values() if value is not None]
    if not all(isinstance(x, torch.Tensor) and x.ndim > 1 for x in tensors):
        return None
    places = range(2 if all(x.ndim < 4 for x in tensors) else 1)  # of pictures the second axis is channels
    axis = next((k for k in places if all(x.shape[k] == 1 for x in tensors)), None)
    wider = lambda x: x if x is None or axis is None else torch.cat([x, x], axis)
    return None if axis is None else {name: wider(x) for name, x in example.items()}


def _called(module, optional):
    """(the fx graph of calling one layer, its modules)."""
    name, graph = type(module).__name__.lower(), torch.fx.Graph()
    parameters = list(inspect.signature(module.forward).parameters)[:1] + list(optional)
    graph.output(graph.call_module(name, tuple(graph.placeholder(p) for p in parameters)))
    return graph, {name: evaluated(module)}


def _as_packed(graph):
    """A bare RNN's graph: the caller may give it a packed sequence."""
    layers = [replace(x, packed=True) if hasattr(x, "packed") else x for x in graph.layers]
    return graph.replace(layers, metadata=graph.metadata | {"packed": True})


def _symbolic(module, pinned, optional):
    """(fx graph, {dotted name: submodule}) by torch.fx; parameters of ``pinned`` that are not ``optional``
    have their value there.
    """
    copied, random_before = evaluated(module), torch.get_rng_state()
    before, unset = _tensors_held(copied), _unset(copied)
    values = {name: value for name, value in pinned.items() if name not in optional}
    with warnings.catch_warnings(), open_lengths(copied):
        warnings.simplefilter("ignore")
        try:
            graph = _Tracer().trace(copied, concrete_args=values or None)
            unsorted(graph)
        except (
            Exception
        ) as error:  # whatever the user's own forward raises when it meets a value without numbers
            raise _untraceable(error) from error
    graph.kept = _refuse_memory(copied, before, _tensors_held(copied), random_before, unset)
    return graph, dict(copied.named_modules()) | {"": copied}


def _exported(module, example, batch=None):
    """``batch``: the one axis that stays open, None for all."""
    quiet = logging.root.manager.disable
    said = (
        io.StringIO()
    )  # what torch.export prints and logs of a forward it does not get through is said below
    with warnings.catch_warnings(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        warnings.simplefilter("ignore")
        logging.disable()
        try:
            with open_lengths(module), _sizes_followed():
                graph, modules = exported(evaluated(module), example, batch)
            stacked(graph)
            return graph, modules
        except Exception as error:  # the user's own, and torch.export's many
            raise _untraceable(error) from error
        finally:
            logging.disable(quiet)


@contextlib.contextmanager
def _sizes_followed():
    """While it lasts, torch.export gives up on sizes worked out of sizes in more than _MOST_OPERATIONS: it
    would ask of them for minutes, and seldom find out.
    """
    from torch.fx.experimental.symbolic_shapes import ShapeEnv  # loads sympy

    decides = getattr(ShapeEnv, "_evaluate_expr", None)
    if decides is None:  # another PyTorch: without a bound
        yield
        return

    def bounded(self, expression, *args, **options):
        if getattr(expression, "count_ops", int)() > _MOST_OPERATIONS:
            raise _TooLong(
                "forward works out sizes of sizes in more steps than can be followed",
                fix="Work them out before, and give them as numbers; or import the parts between.",
            )
        return decides(self, expression, *args, **options)

    ShapeEnv._evaluate_expr = bounded
    try:
        yield
    finally:
        ShapeEnv._evaluate_expr = decides


def _tensors_held(module):
    """{dotted name: (tensor, how often it was written)} of parameters, buffers and tensors that are plain
    attributes.
    """
    return {
        f"{name}.{key}".lstrip("."): (t, 0 if t.is_inference() else t._version)
        for name, part in module.named_modules()
        for key, t in itertools.chain(part._parameters.items(), part._buffers.items(), vars(part).items())
        if isinstance(t, torch.Tensor)
    }


def _unset(module):
    """Dotted names of the plain attributes that are None."""
    parts = module.named_modules()
    return {f"{name}.{key}".lstrip(".") for name, part in parts for key, v in vars(part).items() if v is None}


def _refuse_memory(copied, before, after, random_before, unset):
    """Raise where one run of forward left something behind: the next run would answer otherwise than the
    trace. The names of attributes of ``unset``, None before, in which it keeps a state: a module that was not
    called yet starts anew.
    """
    kept = []
    for name, (tensor, version) in after.items():
        old, old_version = before.get(name, (tensor, version))
        if version != old_version if old is tensor else not torch.equal(old, tensor):
            raise UnsupportedModelError(
                f"forward changes the tensor {name!r} of its module",
                fix="Take a state as an argument instead.",
            )
    for name, part in copied.named_modules():
        for key, value in vars(part).items():
            if not any(isinstance(v, torch.fx.Proxy) for v in leaves(value)):
                continue
            kept.append(f"{name}.{key}".lstrip("."))
            if kept[-1] not in unset:
                raise UnsupportedModelError(
                    f"forward keeps a tensor in {kept[-1]}",
                    fix="Set it to None before the import; or take a state as an argument and return it.",
                )
    if not torch.equal(random_before, torch.get_rng_state()):
        raise UnsupportedModelError(
            "forward draws random numbers in evaluation mode, too", fix="Draw them only if self.training."
        )
    for name in kept:
        owner, _, key = name.rpartition(".")
        setattr(copied.get_submodule(owner), key, None)
    return kept


class _Traced:
    """A traced program that runs, as torch.fx's interpreter does; a GraphModule would have torch.fx wrap its
    functions for good.
    """

    def __init__(self, module, graph):
        self.module, self.graph = module, graph

    def __call__(self, *positional, **named):
        bound = inspect.signature(self.module.forward).bind(*positional, **named)
        bound.apply_defaults()
        places = [node.name for node in self.graph.nodes if node.op == "placeholder"]
        values = [bound.arguments[n if n in bound.arguments else n.rpartition("_")[0]] for n in places]
        return torch.fx.Interpreter(self.module, graph=self.graph).run(*values)


class _Untraceable(UnsupportedModelError):
    """A forward that this way of tracing does not get through."""


class _TooLong(_Untraceable):
    """A forward whose sizes torch.export cannot follow."""


def _untraceable(error):
    if isinstance(error, UnsupportedModelError):
        return error
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if "data-dependent" in lines[0]:
        return _Untraceable(
            "forward decides by the values of a tensor", where=_raised_at(error), fix=BY_VALUE
        )
    return _Untraceable(
        f"forward cannot be traced: {lines[0]}",
        where=_raised_at(error),
        fix="Control flow that depends on the data is not supported. Where sizes are asked for, or a loop "
        "runs over the frames, give example= with one example of each input.",
    )


def _raised_at(error):
    frames = traceback.extract_tb(error.__traceback__)
    return own_line([(f.filename, f.lineno) for f in frames]) or "forward"
