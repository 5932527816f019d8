"""An ONNX program read into a Graph: every node by what it means, under the layout of the inputs that fits.

Which axis of an input is the batch and which is time, a file does not say, and what it says of their sizes
may be wrong: each layout an input could have is tried, and one must fit. Frames that are taken by number make
the input that long.
"""

from __future__ import annotations

from collections import ChainMap

import numpy as np

from ...errors import ModelFileError, ResourceLimitError, RnnrtError, UnsupportedModelError
from ...layers import Reshape
from ..axes.layouts import Impossible, LayoutMismatch, furthest, search
from ..axes.sizes import Clock, Size
from ..axes.slots import Slots, slots_of, tensor_of
from ..axes.values import AxesError, Lengths, Tensor
from ..containers.protobuf import shown
from ..operators import OPERATORS
from . import moves, padding, windows  # noqa: F401 (padding fills MOVES)
from .folding import ATTRIBUTES, FOLDED, Folder, Unknown, check_attributes, integers
from .layouts import layouts_of
from .loops import Counter, Outside, counted, loop, scan
from .moves import MOVES, Frozen
from .network import ADVICE, OnnxNetwork
from .nodes import needed, reads, users
from .operands import (
    ELEMENTWISE,
    aligned,
    divide,
    gemm,
    is_apart,
    not_equal,
    opposite,
    over_places,
    power,
    unchanged,
)
from .patterns import lifted
from .quantised import as_floats
from .recurrent import KINDS, recurrent
from .scores import einsum, holds_scores, of_scores
from .words import ACTIVATIONS, WORDS

#: operators whose windows run over frames
_WINDOWS = ("Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")
#: activations that are not of every number alone
_BY_FRAME = ("Softmax", "LogSoftmax")
#: operators that make truth values, or may, and how many of their inputs must be some
_TRUTHS_MADE = ("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal", "And", "Or", "Where")
_TRUTHS_READ = {"Not": 1, "And": 2, "Or": 2, "Where": 1}
#: operators behind which lengths are still lengths
_PASSING = ("Cast", "Identity")
OWN = {"Gemm": gemm, "Pow": power, "Div": divide, "NotEqual": not_equal, "Not": opposite}
_KNOWN = {*WORDS, *MOVES, *OWN, *FOLDED, *ATTRIBUTES}
#: what to do about an operator that is not supported
_SORTED = (
    "If it is the sort of pack_padded_sequence, export it with enforce_sorted=True, or give from_torch the "
)
_SORTED += "live module."
_WAYS_OUT = {"TopK": _SORTED, "ScatterElements": _SORTED}
_WITHOUT = (
    "Cut out the part before it or behind it (onnx.utils.extract_model), or write it with operators that are."
)
#: operators of the table that take frames of several axes as they are
_OF_PICTURES = ("batch_norm", "layer_norm", "reduce_mean", "reduce_max", "reduce_sum")
_TAKES_FRAMES = ("Gather", "Slice", "Split", "SplitToSequence")
_SHAPES = "Say which sizes the inputs have: shapes={name: sizes}"
#: nodes that are not constants: a loop over some hundred frames, written out
_MOST_NODES = 1 << 13
#: nodes that all readings of the inputs go through, how many more for each node of the program, and what a
#: reading takes beside its nodes
_MOST_READ, _READ_EACH, _READING = 4000, 50, 4


class Spread:
    """A constant that is the same all along axes whose size only the run tells: ``array`` with size one
    there, ``sizes`` of all axes.
    """

    def __init__(self, array, sizes):
        self.array, self.sizes = array, sizes

    def __str__(self):
        return f"a constant {self.sizes}"


class Unknowable(UnsupportedModelError):
    """A value that only the run tells, met where it must be known."""


class Reader:
    """A File ready to be read under layouts of its inputs.

    ``constants``: {input: value} that the caller fixes; ``shapes``: {input: sizes} that the file leaves open;
    ``states``: {input: output} that carry a state from call to call.
    """

    def __init__(self, file, constants, shapes, states):
        self.file, self.program, self.states = file, file.program, states
        known = dict(self.program.arrays)
        known |= {name: value for name, value in constants.items()}
        self.folder = Folder(file.opset, list(self.program.arrays.values()))
        self.nodes = needed(self.program.nodes, {p.name for p in self.program.outputs})
        self.known, self.rest = self._folded(known, self.nodes)
        self.rest, self.quantised = as_floats(self.rest, self.known)
        if self.quantised:
            self.known, self.rest = self._folded(self.known, self.rest)
        self.rest = needed(lifted(self.rest, self.known), {p.name for p in self.program.outputs})
        if len(self.rest) > _MOST_NODES:
            raise ResourceLimitError(
                "has more nodes than a program may", expected=f"{_MOST_NODES:,}", found=f"{len(self.rest):,}"
            )
        self.users, self.numbers = users(self.rest), _numbers(self.rest)
        used = {n for node in self.rest for n in reads(node)} | {p.name for p in self.program.outputs}
        self.ports = {p.name: p for p in self.program.inputs if p.name not in constants}
        self.unused = [name for name in self.ports if name not in used]
        self.roles = {name: self._role(name) for name in self.ports}
        self.shapes = {name: shapes.get(name, port.shape) for name, port in self.ports.items()}
        self.ancestors, self.impossible = self._ancestors(), Impossible()
        #: nodes of the last reading, and how many more all of them may go through
        self.place, self.left = 0, _MOST_READ + _READ_EACH * len(self.rest)

    def _folded(self, known, nodes):
        """({name: array} of all that does not depend on an input, the other nodes)."""
        rest = []
        for node in nodes:
            ready = node.op in FOLDED and not node.domain and all(n in known for n in node.inputs if n)
            if ready:
                try:
                    made = self._work_out(node, [known[n] if n else None for n in node.inputs])
                except Unknown:
                    made = None
                if made is not None:
                    if self.file.check is not None:
                        self.file.check(None, node, made)
                    known |= dict(zip(node.outputs, made))
                    continue
            rest.append(node)
        return known, rest

    def _work_out(self, node, values):
        try:
            if node.op not in WORDS or node.op in ATTRIBUTES:
                check_attributes(node, ())
            return self.folder(node, values)
        except RnnrtError as error:
            raise error.at(str(node)) from error
        except (TypeError, ValueError, LookupError, AttributeError, OverflowError, ArithmeticError) as error:
            raise ModelFileError(
                f"cannot be worked out from what it reads ({error})", where=str(node)
            ) from error

    def _role(self, name):
        """Lengths where an input is only ever sequence_lens, else None."""
        ends = set()

        def follow(name, depth=0):
            for user in self.users.get(name, ()):
                if user.op in _PASSING and depth < 16:
                    follow(user.outputs[0], depth + 1)
                else:
                    place = user.inputs.index(name) if name in user.inputs else -1
                    ends.add(Lengths if user.op in KINDS and place == 4 else None)

        follow(name)
        return Lengths(name) if ends == {Lengths} else None

    def _ancestors(self):
        """The inputs that each value depends on."""
        found = {name: {name} for name in self.ports if self.roles[name] is None}
        for node in self.rest:
            own = set().union(*(found.get(n, ()) for n in reads(node)))
            found |= {n: own for n in node.outputs}
        return found

    # -- layouts ---------------------------------------------------------------------------------------------
    def read(self):
        """(the graph's network, {input: Layout}): the one reading that fits; raises the error of the one that
        came furthest.
        """
        inputs = [n for n in self.ports if self.roles[n] is None and n not in self.unused]
        if not inputs:
            raise UnsupportedModelError("no output depends on an input")
        widths = self._widths()
        options = {n: layouts_of(self.ports[n], self.shapes[n], widths, n in self.states) for n in inputs}
        return self._fit(options, {})

    def _fit(self, options, lengths):
        """The reading that fits under one of ``options``, with inputs of fixed ``lengths``; where frames are
        taken by number, that of an input which has so many.
        """
        layouts = {n: _with_length(found, lengths.get(n)) for n, found in options.items()}
        fitting, error = search(layouts, self._read, f"{_SHAPES}.", self.impossible)
        by_frames = {}
        for mismatch in self.impossible.within(layouts):
            if isinstance(mismatch.error, Frozen):
                by_frames.setdefault((mismatch.place, mismatch.error.input), mismatch.error)
        odd = fitting and [n for n, x in fitting[0][0].items() if x.axes[0] == "n" and n not in self.states]
        if fitting and not any(e.input in odd for e in by_frames.values()):
            self._check_stated(fitting[0][0])
            return fitting[0][1], fitting[0][0]
        tried = []
        for frozen in sorted(by_frames.values(), key=lambda e: -e.place)[:4]:
            if frozen.input in lengths or frozen.input not in options:
                continue
            found, clock = [], frozen.clock
            if clock.stride != 1 or clock.risen:
                continue
            for count in [n + clock.span - 1 for n in frozen.counts or [self._frozen_at(frozen)]]:
                try:
                    found.append(self._fit(options, lengths | {frozen.input: count}))
                except UnsupportedModelError as inner:
                    tried.append(inner)
            if len(found) == 1:
                return found[0]
        if fitting:
            self._check_stated(fitting[0][0])
            return fitting[0][1], fitting[0][0]
        if by_frames and not isinstance(error, Frozen):  # a reading without time says little beside these
            timed = {n: [x for x in own if "t" in x.axes] or own for n, own in layouts.items()}
            error = furthest(self.impossible.within(timed)) or error
        if isinstance(error, Frozen) and len(tried) == 1:
            error = tried[0]  # what stands in the way of so many frames says more
        if error.fix is None and any(not self._says_all(n, x) for n, own in options.items() for x in own):
            error.fix = f"{_SHAPES}, None for batch and time."
        raise error

    def _says_all(self, name, layout):
        """Whether the file, or the caller, says the sizes of an input's numbers."""
        stated = [n for n, a in zip(self.shapes[name] or (), layout.axes) if a == "n"]
        return all(isinstance(n, int) and n > 0 for n in stated)

    def _check_stated(self, assumed):
        """Raise where an input's size was guessed, and another would do as well."""
        for name, layout in assumed.items():
            if self._says_all(name, layout):
                continue
            more = layout._replace(sizes=tuple(n + 1 for n in layout.sizes))
            try:
                self._read(assumed | {name: more})
            except LayoutMismatch:
                continue
            raise UnsupportedModelError(
                f"the file leaves a size of the input {shown(name)!r} open, and no weight tells it",
                found=str(self.shapes[name]),
                fix="Say it: shapes={name: sizes}, None for batch and time.",
            )

    def _frozen_at(self, error):
        """How many frames an input has whose frames are taken by number: those that are taken."""
        taken = set()
        for node in self.users.get(error.value, ()):
            taken |= self._taken(node, (error.position, error.position - error.rank))
        count = max(taken, default=-1) + 1
        if not count or len(taken) != count:  # of whole numbers from 0: all below ``count``
            raise UnsupportedModelError(
                f"frames of the input {shown(error.input)!r} are taken by number, and not all of them",
                where=error.where,
                found=f"frames {sorted(taken)[:12]}",
                fix="Export it for sequences of any length.",
            )
        return count

    def _taken(self, node, axes):
        """The frames that a node takes along the axis with either number."""
        known = lambda k: self.known.get(node.inputs[k]) if len(node.inputs) > k else None
        if node.op == "Gather" and node.attributes.get("axis", 0) in axes:
            index = known(1)
            return set() if index is None else {int(n) for n in index.flat if n >= 0}
        if node.op == "Slice":
            try:
                found = moves.bounds(node.attributes, *(known(k) for k in range(1, len(node.inputs))))
            except (RnnrtError, Unknown, TypeError):
                return set()
            for axis, part in found:
                if axis in axes and isinstance(part.stop, int) and part.stop > 0:
                    return set(range(part.start or 0, min(part.stop, 1 << 16)))
        if node.op == "SplitToSequence" and len(node.inputs) < 2:
            users = self.users.get(node.outputs[0], ())
            found = [self.known.get(u.inputs[1]) for u in users if u.op == "SequenceAt"]
            return {int(n) for index in found if index is not None for n in index.flat if n >= 0}
        if node.op in ("Split", "SplitToSequence"):
            parts = node.attributes.get("split")
            parts = known(1).tolist() if known(1) is not None and known(1).ndim else parts
            return set(range(min(sum(parts), 1 << 16) if parts else len(node.outputs)))
        return set()

    def _widths(self):
        """Numbers of features that weights may read, for inputs whose sizes are all open."""
        found = set()
        for array in self.known.values():
            if isinstance(array, np.ndarray) and array.dtype.kind == "f" and array.ndim >= 2:
                found |= set(array.shape[-2:])
        return sorted(found)[:40]

    # -- reading under an assumption -------------------------------------------------------------------------
    def _read(self, assumed):
        self.left -= self.place + _READING
        if self.left < 0:
            raise ResourceLimitError(
                "the sizes of the inputs are not found in so many readings", fix=f"{_SHAPES}."
            )
        net = OnnxNetwork(self.file.advice)
        net.unbatched = any("b" not in x.axes for x in assumed.values())
        batches = {
            self.shapes[n][x.axes.index("b")] for n, x in assumed.items() if "b" in x.axes and self.shapes[n]
        }
        fixed = [n for n in batches if isinstance(n, int) and n > 0]
        net.batch = fixed[0] if len(fixed) == 1 else None
        net.frames = {n: self.shapes[n][x.axes.index("t")] for n, x in assumed.items() if "t" in x.axes}
        values = ChainMap({}, self.known)
        for name, layout in assumed.items():
            values[name] = _entered(net, name, layout)
        values.update({n: role for n, role in self.roles.items() if role is not None})
        self.place = 0
        self._run(net, self.rest, values)
        net.shown = {p.name: values[p.name] for p in self.program.outputs}
        return net

    def _run(self, net, nodes, values):
        for node in nodes:
            self.place += 1
            place = self.place
            try:
                made = self._made(net, node, values)
                if self.file.check is not None:
                    self.file.check(net, node, made)
            except Unknown as unknown:
                made = [Unknowable(str(unknown), where=str(node), fix=ADVICE["sizes"])] * len(node.outputs)
            except RnnrtError as error:
                if isinstance(error, Frozen) and not hasattr(error, "value"):
                    named = (n for n in node.inputs if n and not isinstance(values[n], np.ndarray))
                    error.value = next(named, "")
                    axes = getattr(values.get(error.value), "axes", ())
                    error.position, error.rank = axes.index("t") if "t" in axes else 0, len(axes)
                if isinstance(error, Frozen):
                    error.place = place
                if error.found is not None:
                    error.found = shown(error.found, 200)
                if not (error.where or "").startswith(str(node)):
                    error.at(str(node))
                # what is made inside a body may depend on any of them
                read = [self.ancestors.get(n, self.ports) for n in reads(node) if n not in self.known]
                raise LayoutMismatch(place, net.placed, set().union(*read), error) from error
            for name, value in zip(node.outputs, made):
                if name:
                    values[name] = value

    def _made(self, net, node, values):
        """The results of a node; what it trips over is refused."""
        try:
            return self._results(net, node, values)
        except (RnnrtError, Unknown):  # some are kinds of ValueError and TypeError too
            raise
        except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
            given = [values.get(n) for n in node.inputs]
            raise UnsupportedModelError(
                f"is not supported with these inputs and attributes ({error})",
                found=", ".join(str(getattr(v, "shape", v)) for v in given),
            ) from error

    def _results(self, net, node, values):
        """What a node makes, one value an output."""
        given = [values[n] if n else None for n in node.inputs]
        if node.domain:
            raise UnsupportedModelError(f"the operator {shown(node.word)} is not supported", fix=_WITHOUT)
        if node.op == "If":
            return self._branch(net, node, given, values)
        if node.op in ("Loop", "Scan"):
            net.name = node.name or next(filter(None, node.outputs))
            over = loop if node.op == "Loop" else scan
            return over(self, net, node, given, values)
        if net.body is not None:
            if node.op == "Gather" and isinstance(given[1], Counter) and isinstance(given[0], Outside):
                if given[1].more:
                    raise UnsupportedModelError("a step takes another frame than its own")
                axis = node.attributes.get("axis", 0) % len(given[0].tensor.axes)
                return [net.body.frame(given[0], axis)]
            given = [net.body.value(v) if isinstance(v, Outside) else v for v in given]
            if (made := counted(node.op, given)) is not None:
                return [made]
        if node.op in self.file.own:
            net.name = node.name or next(filter(None, node.outputs))
            return self.file.own[node.op](self, net, node, given, values)
        wrong = next((v for v in given if isinstance(v, Unknowable)), None)
        if wrong is not None:
            raise type(wrong)(wrong.what, where=wrong.where, fix=wrong.fix)
        if node.op == "Shape" and isinstance(given[0], Spread):
            return [np.array([*given[0].sizes, None], object)[:-1]]
        if node.op in ("ConstantOfShape", "Expand") and (spread := self._spread(node, given)):
            return [spread]
        given = [v.array if isinstance(v, Spread) else v for v in given]
        if all(v is None or isinstance(v, np.ndarray) for v in given) and node.op in FOLDED:
            return self._work_out(node, given)
        net.name = node.name or next(filter(None, node.outputs))
        net.shared = any(
            u.op not in (*_TAKES_FRAMES, "Shape") for u in self.users.get(next(iter(node.inputs), ""), ())
        )
        return self._lowered(net, node, given)

    def _lowered(self, net, node, given):
        if node.op in KINDS:
            return recurrent(net, node, given)
        if node.op not in _KNOWN:
            raise UnsupportedModelError(
                f"the operator {shown(node.op)} is not supported", fix=_WAYS_OUT.get(node.op, _WITHOUT)
            )
        check_attributes(node, WORDS)
        if holds_scores(given):
            return [of_scores(net, node, given)]
        if node.op == "Einsum":
            return [einsum(net, node.attributes, *given)]
        if node.op == "Split":
            return moves.split(net, node.attributes, len(node.outputs), *given)
        if node.op in MOVES:
            return [MOVES[node.op](net, node.attributes, *given)]
        if node.op in ELEMENTWISE and (same := unchanged(node.op, given)) is not None:
            return [same]
        alone = node.op in ACTIVATIONS and node.op not in _BY_FRAME
        operands, more = (given[:1], given[1:]) if alone else (given, [])
        if (alone or node.op in ELEMENTWISE) and is_apart(operands):
            return [over_places(net, operands, lambda flat: self._lowered(net, node, [*flat, *more])[0])]
        asked = node.inputs[: _TRUTHS_READ.get(node.op, 0)]
        if (wrong := next((n for n in asked if n in self.numbers), None)) is not None:
            raise ModelFileError("takes truth values (bool)", found=f"the numbers {shown(wrong)!r}")
        if node.op in OWN:
            return [OWN[node.op](net, node.attributes, *given)]
        if node.op in ELEMENTWISE:
            given = aligned(net, given)
        word = WORDS.get(node.op)
        if word is None or word.operator not in OPERATORS:
            raise UnsupportedModelError(f"the operator {shown(node.op)} is not supported", fix=_WITHOUT)
        if node.op in _BY_FRAME and self.file.opset < 13:
            rank = len(getattr(given[0], "axes", ()))
            if node.attributes.get("axis", 1) % max(rank, 1) != rank - 1:
                raise UnsupportedModelError(
                    f"a {node.op} over several axes at once, as before opset 13, is not supported",
                    found=f"axis {node.attributes.get('axis', 1)} of {given[0]}",
                )
        if node.op == "MatMul" and isinstance(given[0], Slots) and given[0].axes == ("b", "n", "n"):
            given = [moves.as_frames(net, given[0]), *given[1:]]
        if node.op in _WINDOWS and windows.is_picture(given[0]):
            made, restore = windows.over_picture(net, node, word, given), None
        else:
            read, restore, own = self._arranged(net, node, given)
            if node.op == "BatchNormalization" and len(getattr(given[0], "axes", ())) == 4:
                read = [slots_of(net, given[0]), *given[1:]]
            elif not (is_apart(read) and word.operator in _OF_PICTURES):
                read = given if node.op == "MatMul" and is_apart(given) else _settled(net, read)
            made = word.lower(net, node.op, word.bind(node.op, read, own))
        made = made if isinstance(made, tuple) else (made,)
        if restore:
            made = tuple(restore(m) for m in made)
        return [
            *made,
            *[Unknowable("a further result is not supported", where=str(node))] * len(node.outputs),
        ]

    def _arranged(self, net, node, given):
        """(the inputs of an operator over frames as one over a single axis, what gives its result the axis of
        size one back or None, its attributes).
        """
        if node.op not in _WINDOWS:
            return given, None, node.attributes
        if net.rows and getattr(given[0], "axes", ()) == ("1", "f", "b"):
            x, restore = windows.row_by_row(net, node, given)
            return [x, *given[1:]], restore, node.attributes
        x = windows.framed(net, given[0])
        if len(getattr(x, "axes", ())) != 4:
            return [x, *given[1:]], None, node.attributes
        read, restore, axis = windows.flat_image(net, node, x, given[1:])
        return read, restore, windows.flat_attributes(node.attributes, axis)

    def network(self):
        """A network for a body."""
        return OnnxNetwork(self.file.advice)

    def body(self, step, node, inside, values):
        """The values of a body, run with ``inside`` for its inputs and the program's values around it."""
        program, step.net.body = node.attributes["body"], step
        around = {
            name: Outside(name, values[name]) if isinstance(values[name], (Tensor, Slots)) else values[name]
            for name in reads(node)
            if name in values
        }
        scope = ChainMap(dict(program.arrays) | inside, around)
        self._run(step.net, needed(program.nodes, {p.name for p in program.outputs}), scope)
        return scope

    def _branch(self, net, node, given, values):
        """What the branch of an If makes whose condition is known."""
        condition = given[0]
        if isinstance(condition, Unknowable):
            raise UnsupportedModelError(
                "the condition of an If depends on the size of an input",
                fix="Say which shape the inputs have: shapes={name: sizes}.",
            )
        if not isinstance(condition, np.ndarray) or condition.size != 1:
            raise UnsupportedModelError(
                "the condition of an If depends on an input", fix="Fix the input: constants={name: value}."
            )
        body = node.attributes["then_branch" if condition.reshape(-1)[0] else "else_branch"]
        inner = values.new_child(dict(body.arrays))
        self._run(net, needed(body.nodes, {p.name for p in body.outputs}), inner)
        return [inner[p.name] for p in body.outputs]

    def _spread(self, node, given):
        """A constant of a shape that only the run tells, or None."""
        x, shape = (None, given[0]) if node.op == "ConstantOfShape" else given[:2]
        if not isinstance(shape, np.ndarray) or shape.dtype != object:
            return None
        sizes = integers(shape, "a shape")
        ones = [1 if isinstance(n, Size) else n for n in sizes]
        if x is None:
            value = node.attributes.get("value", np.zeros(1, np.float32))
            self.folder.spend(ones)
            return Spread(np.full(ones, value.reshape(-1)[0], value.dtype), sizes)
        x = x.array if isinstance(x, Spread) else x
        if not isinstance(x, np.ndarray):
            return None
        made = np.broadcast_shapes(x.shape, tuple(ones))
        self.folder.spend(made)
        padded = [1] * (len(made) - len(sizes)) + sizes
        return Spread(
            np.broadcast_to(x, made), [n if isinstance(n, Size) else m for n, m in zip(padded, made)]
        )


def _with_length(layouts, length):
    return [x._replace(length=length if "t" in x.axes else None) for x in layouts]


def _settled(net, given):
    """Inputs as the operator table takes them: Slots as Tensors, but those of merged rows."""
    made = []
    for value in given:
        if isinstance(value, Slots):
            merged = any(len(a) > 1 for a in value.axes)
            tensor = value if merged else tensor_of(net, value)
            if tensor is None:
                raise AxesError("a frame with several axes cannot be read here", found=str(value))
            value = tensor
        made.append(value)
    return made


def _entered(net, name, layout):
    """An input as its Layout says."""
    signal_axes = "".join("f" if a == "n" else a for a in layout.axes)
    timed, sizes = "t" in layout.axes, layout.sizes
    axes = signal_axes if "b" in signal_axes else "b" + signal_axes
    axes = axes if "f" in axes else axes + "f"
    reference = net.builder.input(
        name, sizes, time=timed, ids=layout.ids, axes=axes, length=layout.length if timed else None
    )
    clock = Clock(name) if timed else None
    if len(sizes) < 2:
        return Tensor((reference,), tuple(signal_axes), clock)
    count = int(np.prod(sizes))
    net.name = name
    shape = _shape_of(layout)
    flat = net.add(Reshape, reference, features=(count,))
    return Slots(tuple(layout.axes), np.arange(count).reshape(shape), (flat,), (count,), clock)


def _shape_of(layout):
    sizes = iter(layout.sizes)
    return [next(sizes) if a == "n" else 1 for a in layout.axes]


def _numbers(nodes):
    """Names of what can only be numbers, by the node that makes them, in bodies too."""
    found = set()
    for node in nodes:
        if (node.op in WORDS or node.op in KINDS) and node.op not in _TRUTHS_MADE:
            found.update(node.outputs)
        for value in node.attributes.values():
            found |= _numbers(value.nodes) if hasattr(value, "nodes") else set()
    return found
