"""Live layers and cells of classes that are not known here: what their ``call`` makes of symbolic tensors, as
Keras itself records it, becomes graph layers by the tables for Keras's layers and keras.ops functions.

Only what the caller has in memory is called: a model, or classes in custom_objects. The objects are as before
when it is done.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import re
import sys

import numpy as np

from ... import reference
from ...errors import RnnrtError, UnsupportedModelError
from ...layers import Input, Reshape
from ..axes.scores import VALUES, Scores
from ..axes.slots import Slots
from ..axes.values import Constant, Network
from .algebra import ADVICE, Algebra
from .classes import configured, is_class, loaded
from .config import Description, describe
from .functions import OPERATIONS
from .live import as_array, tree_of
from .unsupported import KNOWN, unsupported
from .weights import NETWORKS, snake_case

#: Classes inside one another, and the calls that one of them makes.
_DEPTH, _MOST_CALLS = 16, 20_000
#: What Keras puts around words of an error to colour them in a terminal.
_COLOURS = r"\x1b\[[0-9;]*m"
#: Frames of the sequences by which a graph is compared with a live layer.
_FRAMES = 12


class _Known(Algebra):
    """The operators over tensors whose axes are known; what they make are such tensors again."""

    def __init__(self, context, net, tensors):
        self.context, self.net, self.inputs = context, net, list(tensors)
        self.net.name = context.name

    def reference(self, x):
        return x

    answer = reference

    def placed(self, x):
        """A tensor as a layer reads it."""
        return Algebra.reference(self, x)


class Tracer:
    """The calls of live objects on their way into the graph that ``importer`` builds. ``inside``: whether it
    is that of a step."""

    def __init__(self, importer, where, inside=False):
        self.importer, self.where, self.depth, self.calls = importer, where, 0, 0
        self.net = Network(ADVICE)
        self.net.builder, self.net.inside = importer.builder, inside
        self.keras = sys.modules["keras"]

    # -- values ----------------------------------------------------------------------------------------------
    def tensor(self, reference):
        """A reference of the graph as a value."""
        return _Known.tensor(self._algebra("", ()), reference)

    def flags(self, reference):
        """A mask's reference as truth values, one a frame."""
        if self.net.builder.signal(reference).features:
            reference = self.net.builder.add(Reshape, f"{reference}.told", reference, features=())
        return dataclasses.replace(self.tensor(reference), truth=True)

    def placed(self, value):
        """A value as a reference of the graph."""
        if not isinstance(value, VALUES):
            raise UnsupportedModelError("gives a number that no input decides", where=self.where)
        return self._algebra("value", ()).placed(value)

    def _algebra(self, name, tensors):
        context = self.importer.context_of(Description("call", name, {}), {}, name)
        return _Known(context, self.net, tensors)

    def _symbol(self, value):
        """The symbolic tensor that stands for a value."""
        if isinstance(value, Constant):
            return self.keras.KerasTensor(value.array.shape, dtype=str(value.array.dtype))
        if isinstance(value, Scores):
            lengths = {a: self.net.builder.signal(r).length for a, r in value.references.items()}
            sizes = zip(value.axes, value.sizes())
            shape = [lengths.get(a, None if a == "b" else n) for a, n in sizes]
            return self.keras.KerasTensor(shape, dtype="float32")
        if isinstance(value, Slots):
            length = self.net.builder.signal(value.references[0]).length
            named = {"b": None, "t": length}
            shape = [named.get(a, n) for a, n in zip(value.axes, value.places.shape)]
            return self.keras.KerasTensor(shape, dtype="float32")
        length = self.net.signal(value).length
        sizes = [n if isinstance(n, int) else None for n in self.net.sizes(value)]
        shape = [length if a == "t" else n for a, n in zip(value.axes, sizes)]
        kind = "bool" if value.truth else "int32" if self.net.is_ids(value) else "float32"
        return self.keras.KerasTensor(shape, dtype=kind)

    def _value(self, argument, known):
        """An argument of a recorded call: what is known of a symbolic tensor, else a number or an array."""
        if isinstance(argument, self.keras.KerasTensor):
            return known[id(argument)]
        if isinstance(argument, (list, tuple)):
            return type(argument)(self._value(a, known) for a in argument)
        if isinstance(argument, np.generic) or argument is None or isinstance(argument, (str, slice)):
            return argument.item() if isinstance(argument, np.generic) else argument
        if isinstance(argument, (bool, int, float, type(...))):
            return argument
        if isinstance(argument, (self.keras.Variable, np.ndarray)) or self.keras.ops.is_tensor(argument):
            return self._constant(argument)
        raise UnsupportedModelError(f"is called with {str(argument)[:80]}", where=self.where)

    def _constant(self, value):
        value = value.value if isinstance(value, self.keras.Variable) else value
        array = np.asarray(self.keras.ops.convert_to_numpy(value))
        if array.ndim == 0:
            return array.item()
        return Constant("of the class", array)

    # -- calls -----------------------------------------------------------------------------------------------
    def call(self, made, arguments, named=None):
        """What ``made.call`` makes of nests of values, some of them ``named``: a nest of values."""
        self.depth += 1
        if self.depth > _DEPTH:
            raise UnsupportedModelError("holds too many layers within layers", where=self.where)
        if not isinstance(made, self.keras.layers.Layer):
            raise UnsupportedModelError(
                "is a live object of another Keras than the one that is imported here",
                where=self.where,
                found=f"{type(made).__module__}.{type(made).__name__}",
            )
        outside, self.where = self.where, f"{self.where}: {type(made).__name__}"
        known, kept = {}, []

        def stand(value):
            if isinstance(value, (list, tuple)):
                return type(value)(map(stand, value))
            if not isinstance(value, (*VALUES, Constant)):
                return value
            symbol = self._symbol(value)
            known[id(symbol)] = value
            kept.append(symbol)
            return symbol

        copied = object.__new__(type(made))
        vars(copied).update(vars(made))
        weight = lambda v: stand(self._array_of(v)) if isinstance(v, self.keras.Variable) else v
        for name, value in vars(made).items():
            if isinstance(value, self.keras.Variable):
                vars(copied)[name] = weight(value)
            elif isinstance(value, dict) and any(isinstance(v, self.keras.Variable) for v in value.values()):
                vars(copied)[name] = {k: weight(v) for k, v in value.items()}
        before = dict(vars(copied))
        owners = [x for x in made._flatten_layers() if hasattr(x, "_inbound_nodes")]
        counts = [(len(x._inbound_nodes), len(x._outbound_nodes)) for x in owners]
        try:
            named = {name: stand(value) for name, value in (named or {}).items()}
            results, nodes = self._recorded(copied, made, [stand(a) for a in arguments], named)
            changed = [k for k, v in vars(copied).items() if before.get(k) is not v and k in before]
            fresh = [k for k in vars(copied) if k not in before and self._symbolic(vars(copied)[k])]
            if any(self._symbolic(vars(copied)[k]) for k in changed) or fresh:
                name = next(iter([*fresh, *changed]))
                raise UnsupportedModelError(
                    f"its call keeps a tensor in self.{name}",
                    where=self.where,
                    fix="Make it a state: take it as an argument and return it.",
                )
            for node in nodes:
                values = self._node(node, known)
                for symbol, value in zip(node.outputs, values, strict=True):
                    known[id(symbol)] = value
            return self._nest(results, known)
        finally:
            for x, (inbound, outbound) in zip(owners, counts):
                del x._inbound_nodes[inbound:], x._outbound_nodes[outbound:]
            self.where, self.depth = outside, self.depth - 1

    def _array_of(self, variable):
        array = as_array(variable)
        return Constant(variable.name, array.reshape(1) if array.ndim == 0 else array)

    def _symbolic(self, value):
        return any(isinstance(v, self.keras.KerasTensor) for v in self.keras.tree.flatten(value))

    def _nest(self, value, known):
        if isinstance(value, (list, tuple)):
            return [self._nest(v, known) for v in value]
        return self._value(value, known)

    def _recorded(self, copied, made, symbols, given):
        """(what the call gives, the calls recorded on the way, in order)."""
        with _started_by_itself(self.keras.layers.RNN):
            return self._called(copied, made, symbols, given)

    def _called(self, copied, made, symbols, given):
        named = inspect.signature(type(made).call).parameters
        options = ({"training": False} if "training" in named else {}) | given
        try:
            results = type(made).call(copied, *symbols, **options)
        except Exception as error:  # whatever the author's code raises when it meets a symbolic tensor
            said = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
            said = said[1:] if len(said) > 1 and said[0].startswith("Exception encountered") else said
            raise UnsupportedModelError(
                f"its call cannot be followed: {re.sub(_COLOURS, '', said[0])[:160]}",
                where=self.where,
                expected="arithmetic written with keras.ops and Keras's layers",
                fix=f"Write it so, or say what it is: custom_objects={{{type(made).__name__!r}: f}}, where "
                f"f(config, arrays) returns an rnnrt layer.",
            ) from error
        order, seen, waiting = [], set(), [(t, False) for t in self.keras.tree.flatten(results)]
        while waiting:
            symbol, done = waiting.pop()
            history = getattr(symbol, "_keras_history", None)
            if history is None or history.operation is None:
                continue
            node = history.operation._inbound_nodes[history.node_index]
            if done:
                order.append(node)
            elif id(node) not in seen:
                seen.add(id(node))
                waiting.append((symbol, True))
                waiting += [(t, False) for t in node.arguments.keras_tensors]
        self.calls += len(order)
        if self.calls > _MOST_CALLS:
            raise UnsupportedModelError("makes too many calls", where=self.where)
        return results, list(dict.fromkeys(order))

    def _node(self, node, known):
        """What one recorded call makes: a list of values."""
        operation = node.operation
        arguments = [self._value(a, known) for a in node.arguments.args]
        options = {k: v for k, v in node.arguments.kwargs.items() if v is not None and k != "training"}
        tensors = [v for v in self.keras.tree.flatten(arguments) if isinstance(v, VALUES)]
        if not tensors:
            plain = self.keras.tree.map_structure(
                lambda v: v.array if isinstance(v, Constant) else v, arguments
            )
            return [self._constant(v) for v in self.keras.tree.flatten(operation(*plain, **options))]
        if isinstance(operation, self.keras.layers.Layer):
            return self._layer(operation, arguments, {k: self._value(v, known) for k, v in options.items()})
        kind = type(operation).__name__
        where = Description(kind, snake_case(kind), {}, operation=True)
        if not type(operation).__module__.startswith("keras.") or kind not in OPERATIONS:
            raise unsupported(where).at(self.where)
        if options:
            raise UnsupportedModelError(
                f"keras.ops.{snake_case(kind)} is called with {', '.join(options)}", where=self.where
            )
        config = {k: _listed(v) for k, v in operation.get_config().items()}
        description = Description(kind, f"{self.where}: {snake_case(kind)}", config, operation=True)
        context = self.importer.context_of(description, {}, snake_case(kind))
        context.arguments = arguments
        context.algebra = lambda _: _Known(context, self.net, tensors)
        build = OPERATIONS[kind]
        try:
            inspect.signature(build).bind(context, *tensors)
        except TypeError as error:
            raise UnsupportedModelError(
                f"keras.ops.{snake_case(kind)} is not supported with these arguments", where=self.where
            ) from error
        made = build(context, *tensors)
        context.config.finish()
        return list(made) if isinstance(made, (list, tuple)) else [made]

    def _layer(self, made, arguments, named):
        entry = self.keras.saving.serialize_keras_object(made) if _described(made) else None
        layer = describe(entry) if entry else None
        known = KNOWN | {"TimeDistributed", *NETWORKS}
        if layer is None or layer.custom or layer.class_name not in known:
            return self.keras.tree.flatten(self.call(made, arguments, named))
        flat = self.keras.tree.flatten(arguments)
        if named or not all(isinstance(v, VALUES) for v in flat):
            raise UnsupportedModelError("is called with numbers beside tensors", where=layer.where)
        arrays = tree_of(layer, made, self.where)
        references = [self.placed(v) for v in flat]
        try:
            results = self.importer.called(layer, arrays, references, made.name)
        except UnsupportedModelError as error:  # one that holds what the author wrote
            try:
                return self.keras.tree.flatten(self.call(made, arguments))
            except UnsupportedModelError:
                raise error.at(self.where) from None
        except RnnrtError as error:
            raise error.at(self.where)
        return [self.tensor(r) for r in results]


@contextlib.contextmanager
def _started_by_itself(recurrent):
    """While it lasts, a recurrent layer asked for its initial state of a batch that is open answers None,
    which is what it starts from where it is given nothing."""
    own = recurrent.get_initial_state

    def get_initial_state(layer, batch_size):
        return None if batch_size is None else own(layer, batch_size)

    recurrent.get_initial_state = get_initial_state
    try:
        yield
    finally:
        recurrent.get_initial_state = own


def _described(made):
    """Whether a layer says what it is: one of Keras's own, not a cell (whose call says it), with functions of
    Keras's own.
    """
    function = getattr(made, "activation", None)
    names = [type(made).__module__, *([function.__module__] if inspect.isfunction(function) else [])]
    return all(n.startswith("keras.") for n in names) and not type(made).__name__.endswith(("Cell", "Cells"))


def _listed(value):
    return [_listed(v) for v in value] if isinstance(value, (list, tuple)) else value


# ---- cells -------------------------------------------------------------------------------------------------


class Stepwise:
    """A cell as the step of a Scan. ``states``: their names; ``object``: the live cell, or the class and what
    a file holds of it."""

    def __init__(self, context, made):
        self.context, self.made = context, made
        self.own = not isinstance(made, type)
        self.sizes = self._sizes(made if self.own else configured(context, made))
        single = len(self.sizes) == 1
        self.states = ("state",) if single else tuple(f"state_{k}" for k in range(len(self.sizes)))

    def _sizes(self, cell):
        size = getattr(cell, "state_size", None)
        sizes = list(size) if isinstance(size, (list, tuple)) else [size]
        if not sizes or any(isinstance(n, bool) or not isinstance(n, (int, np.integer)) for n in sizes):
            raise UnsupportedModelError(
                "a cell needs state_size, a number or a list of numbers",
                where=self.context.layer.where,
                found=str(size)[:80],
            )
        return [int(n) for n in sizes]

    def fields(self, x, started):
        """The fields of the Scan over the sequence ``x``; ``started``: whether its states are given."""
        context, features = self.context, self.context.builder.signal(x).features
        made = self.made if self.own else loaded(context, self.made, [[None, None, *features]], cell=True)
        where, importer = context.layer.where, context.importer.apart()
        frame = importer.builder.input("x", features, time=False)
        states = [importer.builder.input(n, (k,), time=False) for n, k in zip(self.states, self.sizes)]
        tracer = Tracer(importer, where, inside=True)
        answered = tracer.call(made, [tracer.tensor(frame), tuple(map(tracer.tensor, states))])
        if not isinstance(answered, list) or len(answered) != 2:
            raise UnsupportedModelError("a cell must return its output and its states", where=where)
        answer, after = answered
        after = tracer.keras.tree.flatten(after)
        if len(after) != len(states) or isinstance(answer, list):
            raise UnsupportedModelError(
                "a cell must return one output and as many states as it takes",
                where=where,
                expected=str(len(states)),
                found=str(len(after)),
            )
        for name, size, value in zip(self.states, self.sizes, after):
            reference = tracer.placed(value)
            if importer.builder.signal(reference).features != (size,):
                raise UnsupportedModelError(
                    f"the next state {name!r} has another size than state_size",
                    where=where,
                    expected=f"({size},)",
                    found=str(importer.builder.signal(reference).features),
                )
            importer.builder.output(f"next {name}", reference)
        importer.builder.output("y", tracer.placed(answer))
        graph = importer.builder.graph(["x", *self.states])

        def answers(x, *states):
            answer, after = made(x, tuple(states))
            return [*tracer.keras.tree.flatten(after), answer]

        _compare(graph, answers, where)
        return {
            "graph": graph,
            "states": self.states,
            "started": self.states if started else (),
            "initial": None if started else self._initial(made),
        }

    def _initial(self, made):
        """What the states start at where nothing is given; None for zeros."""
        begin, where = getattr(made, "get_initial_state", None), self.context.layer.where
        if begin is None:
            return None
        try:
            given = begin(batch_size=2)
            given = given if isinstance(given, (list, tuple)) else [given]
            arrays = [np.asarray(sys.modules["keras"].ops.convert_to_numpy(g)) for g in given]
        except Exception as error:  # the author's own
            raise UnsupportedModelError(
                "its get_initial_state cannot be read", where=where, found=str(error)[:160]
            ) from error
        if [a.shape for a in arrays] != [(2, n) for n in self.sizes] or any(
            (a[0] != a[1]).any() for a in arrays
        ):
            raise UnsupportedModelError(
                "its get_initial_state does not give every row the same start of the states' sizes",
                where=where,
                found=", ".join(str(a.shape) for a in arrays),
            )
        start = np.concatenate([a[0] for a in arrays]).astype(np.float32)
        return start if start.any() else None


# ---- layers ------------------------------------------------------------------------------------------------


def traced(context, made, references):
    """The references that a live layer's call makes of ``references``, and of a mask where it takes one."""
    builder, flatten = context.builder, sys.modules["keras"].tree.flatten
    given = [*references, context.masks[0].reference()] if _takes_mask(context, made) else list(references)
    masked = len(given) - len(references)

    def nested(values):
        left = iter(values)
        fill = lambda argument: [fill(a) for a in argument] if isinstance(argument, list) else next(left)
        return [fill(a) for a in context.arguments] if context.arguments else list(left)

    def follow(importer, own):
        tracer = Tracer(importer, context.layer.where)
        values = [tracer.tensor(r) for r in own[: len(references)]]
        named = {"mask": tracer.flags(own[-1])} if masked else {}
        return [tracer.placed(r) for r in flatten(tracer.call(made, nested(values), named))]

    def answers(*xs):
        named = {"mask": xs[-1].reshape(xs[-1].shape[:2]) != 0} if masked else {}
        return flatten(made(*nested(xs[: len(references)]), **named))

    alone = context.importer.apart()
    signals = [builder.signal(r) for r in given]
    own = [
        alone.builder.input(f"x{k}", s.features, time=s.time, length=s.length, ids=_is_ids(builder, r))
        for k, (s, r) in enumerate(zip(signals, given))
    ]
    for k, made_there in enumerate(follow(alone, own)):
        alone.builder.output(f"y{k}", made_there)
    _compare(alone.builder.graph(own), answers, context.layer.where, own[len(references) :])
    return follow(context.importer, given)


def _takes_mask(context, made):
    """Whether a live layer is called with the mask of what it reads."""
    asked = "mask" in inspect.signature(type(made).call).parameters
    return asked and any(m and not m.real for m in context.masks)


def _is_ids(builder, reference):
    layer = builder.named(reference)
    return isinstance(layer, Input) and layer.ids


def _compare(graph, answers, where, masks=()):
    """Raise where a graph does not answer as the live object does, called with numbers, or the object answers
    otherwise the second time. ``masks``: inputs that are 1 and 0."""
    keras, random = sys.modules["keras"], np.random.default_rng(0)
    given = {}
    for name in graph.inputs:
        signal = graph.signals[name]
        shape = (3, *((signal.length or _FRAMES,) if signal.time else ()), *signal.features)
        flags = graph[name].ids or name in masks
        draw = random.integers(0, 2, shape) if flags else random.standard_normal(shape)
        given[name] = draw.astype(np.int32 if graph[name].ids else np.float32)
    try:
        live = [
            [
                np.asarray(keras.ops.convert_to_numpy(y))
                for y in answers(*map(keras.ops.convert_to_tensor, given.values()))
            ]
            for _ in range(2)
        ]
    except Exception as error:  # the author's own
        raise UnsupportedModelError(
            "it could not be called to be compared with", where=where, found=str(error)[:200]
        ) from error
    own, _ = reference.run(graph, given)
    for name, first, second in zip([o.name for o in graph.outputs], *live, strict=True):
        most = max(1.0, np.abs(first, where=np.isfinite(first), out=np.zeros(first.shape)).max(initial=0))
        if not np.allclose(first, second, rtol=0, atol=1e-5 * most, equal_nan=True):
            raise UnsupportedModelError("its call gives another answer every time", where=where)
        made = own[name]
        if made.shape != first.shape or not np.allclose(
            made, first, rtol=0, atol=1e-4 * most, equal_nan=True
        ):
            found = made.shape if made.shape != first.shape else f"{np.abs(made - first).max():.2g} apart"
            raise UnsupportedModelError(
                "what was read of its call does not answer as it does", where=where, found=str(found)
            )


def mask_rule(context, made):
    """Whether a live layer's output has its input's mask; raises where it does more with a mask."""
    kind, base, keras = type(made), sys.modules["keras"].layers.Layer, sys.modules["keras"]
    asked = "mask" in inspect.signature(kind.call).parameters
    unclear = UnsupportedModelError(
        "what a class of your own does with a mask is not followed",
        where=context.layer.where,
        fix="Of one input its call may take mask=, and compute_mask may return None or that mask. Or cut a "
        "part out that is without it: inputs=, outputs=.",
    )
    own = kind.compute_mask is not base.compute_mask
    if (asked or own) and (len(context.masks) > 1 or context.masks[0].real):
        raise unclear
    if not own:
        return bool(made.supports_masking)
    signal = context.masks[0].reference() and context.builder.signal(context.masks[0].reference())
    x = keras.KerasTensor((None, signal.length, 1))
    mask = keras.KerasTensor((None, signal.length), dtype="bool")
    try:
        answered = made.compute_mask(x, mask)
    except Exception as error:  # the author's own
        raise unclear from error
    if answered is not None and answered is not mask:
        raise unclear
    return answered is not None


def cell_of(context):
    """The Stepwise of a custom cell that is live, or whose class is given; None for any other."""
    name = context.layer.class_name
    given = context.custom_objects.get(name) or context.custom_objects.get(name.rpartition(">")[2])
    if is_class(given):
        return Stepwise(context, given)
    made = getattr(context.arrays, "object", None)
    return Stepwise(context, made) if made is not None and given is None else None


def layer_of(context, references):
    """The live object of a custom layer, or one made of the class that is given; None for any other."""
    name = context.layer.class_name
    given = context.custom_objects.get(name) or context.custom_objects.get(name.rpartition(">")[2])
    if is_class(given):
        return loaded(context, given, [_shape(context.builder.signal(r)) for r in references])
    return None if given is not None else getattr(context.arrays, "object", None)


def _shape(signal):
    return [None, *((signal.length,) if signal.time else ()), *signal.features]
