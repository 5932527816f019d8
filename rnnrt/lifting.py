"""Scans whose step is an LSTM, a GRU or a simple RNN become those layers; the products of other steps are cut
apart.

A step is recognised by what it computes, not by how it is written. Every value of it is brought into one
form: a sum of matrices times sources plus a bias, where a source is an input of the step or something that is
not linear (an activation, a product of values, a normalisation). Elementwise sums and products of sources are
multiplied out, so that (1 - z) n + z h, n + z (h - n) and h + (1 - z) (n - h) are the same polynomial. What
fits none of the cells stays a scan.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from .graph import Graph
from .layers import GRU, LSTM, Activation, Add, Concatenate, Dense, Reshape, Scan, SimpleRNN
from .layers.function import LINEAR

#: Functions with f(-x) = 1 - f(x).
_COMPLEMENTED = ("sigmoid", "hard_sigmoid", "hard_sigmoid_keras2")
#: Monomials a polynomial may grow to; no known cell has more than 4.
_MOST_TERMS = 32


def lift(graph: Graph) -> Graph:
    """``graph`` with every Scan that is an LSTM, GRU or SimpleRNN as that layer, under the same name.

    ``metadata["lifted"]`` keeps the names of its states: {layer: [(state of the layer, name it had)]}, in
    their order.
    """
    layers, alias, lifted = [], {}, dict(graph.metadata.get("lifted", {}))
    names = {x.name for x in graph.layers}
    for layer in graph.layers:
        inputs = tuple(alias.get(r, r) for r in layer.inputs)
        layer = layer if inputs == layer.inputs else dataclasses.replace(layer, inputs=inputs)
        cell = _recognised(layer) if isinstance(layer, Scan) else None
        if cell is None:
            layers.append(layer)
            continue
        before, references = _sequence_of(layer, graph.signals, names)
        started = [r for s, r in zip(layer.started, layer.inputs[layer.per_step :])]
        started = dict(zip(layer.started, started))
        initial = [started[s] for s in cell.states.values() if s in started]
        layers += [
            *before,
            cell.kind(layer.name, (*references, *initial), reverse=layer.reverse, **cell.fields),
        ]
        own = {shown: s for s, shown in cell.states.items()}
        lifted[layer.name] = [(own[s], s) for s in layer.states]
        alias |= {f"{layer.name}:{s}": f"{layer.name}:{own[s]}" for s in layer.states}
        for output, reference in zip(layer.graph.outputs[len(layer.states) :], _answers(layer)):
            alias[reference] = layer.name + cell.answers[output.value]
    if len(lifted) == len(graph.metadata.get("lifted", {})):
        return graph
    outputs = [dataclasses.replace(o, value=alias.get(o.value, o.value)) for o in graph.outputs]
    return graph.replace(layers, outputs=outputs, metadata=graph.metadata | {"lifted": lifted})


def cut_products(graph: Graph) -> Graph:
    """``graph`` whose Scans read frames, values given once and states by products of their own: W [x; h]
    becomes W_x x + W_h h, so that W_x x of many frames is one product."""
    return graph.replace(
        [dataclasses.replace(x, graph=_cut(x)) if isinstance(x, Scan) else x for x in graph.layers]
    )


# ---- cutting products --------------------------------------------------------------------------------------


def _cut(scan):
    step, names = scan.graph, {x.name for x in scan.graph.layers}
    first = scan.per_step + len(scan.states)
    depends = {
        name: {0 if k < scan.per_step else 1 if k < first else 2} for k, name in enumerate(step.inputs)
    }
    layers, by_name = [], {x.name: x for x in step.layers}
    for layer in step.layers:
        depends.setdefault(layer.name, set().union(*(depends[r] for r in layer.inputs)))
        joined = by_name.get(layer.inputs[0]) if isinstance(layer, Dense) else None
        groups, at = {}, 0
        for r in joined.inputs if isinstance(joined, Concatenate) else ():
            width = step.signals[r].width
            sort = min(depends[r]) if len(depends[r]) == 1 else 1
            groups.setdefault(sort, []).append((r, range(at, at + width)))
            at += width
        if len(groups) < 2:
            layers.append(layer)
            continue
        products, bias = [], layer.bias
        for parts in groups.values():
            source = parts[0][0]
            if len(parts) > 1:
                source = _free(f"{layer.name}/part", names)
                layers.append(Concatenate(source, [r for r, _ in parts]))
            columns = np.concatenate([np.asarray(c) for _, c in parts])
            products.append(_free(f"{layer.name}/product", names))
            layers.append(Dense(products[-1], (source,), weight=layer.weight[:, columns], bias=bias))
            bias = None
        linear = layer.activation == LINEAR
        total = layer.name if linear else _free(f"{layer.name}/sum", names)
        layers.append(Add(total, products))
        if not linear:
            layers.append(Activation(layer.name, (total,), activation=layer.activation))
    needed = {o.value for o in step.outputs}
    for layer in reversed(layers):
        needed |= set(layer.inputs) if layer.name in needed else set()
    return step.replace([x for x in layers if x.name in needed or x.name in step.inputs])


def _free(wanted, names):
    name, number = wanted, 1
    while name in names:
        name, number = f"{wanted}_{number}", number + 1
    names.add(name)
    return name


# ---- the layer around the cell -----------------------------------------------------------------------------


@dataclass
class _Cell:
    """A recognised cell: its layer class and fields; {state of the layer: name in the step}; {value of the
    step that an answer may show: output of the layer}."""

    kind: type
    fields: dict
    states: dict
    answers: dict


def _answers(scan):
    """References to the answers of a scan, in their order."""
    return [scan.name, *(f"{scan.name}:{o.name}" for o in scan.graph.outputs[len(scan.states) + 1 :])]


def _sequence_of(scan, signals, names):
    """(layers to put before, the one reference) that bring the scan's sequences side by side with one feature
    axis.
    """
    before, flat = [], []
    for reference, inside in zip(scan.inputs, scan.graph.inputs[: scan.per_step]):
        signal = scan.graph.signals[inside]
        if len(signal.features) != 1:
            before.append(Reshape(_free(f"{scan.name}/flat", names), (reference,), features=(signal.width,)))
            reference = before[-1].name
        flat.append(reference)
    if len(flat) > 1:
        before.append(Concatenate(_free(f"{scan.name}/x", names), flat))
        flat = [before[-1].name]
    return before, flat


def _recognised(scan):
    """The _Cell that a scan is, or None."""
    if not scan.per_step or any(len(scan.state_signal(s).features) != 1 for s in scan.states):
        return None
    stored = {s: scan.start(s) for s in scan.states if s not in scan.started}
    if any(a is not None and a.any() for a in stored.values()):
        return None
    if not all(
        np.isfinite(getattr(x, a)).all()
        for x in scan.graph.layers
        for a in x.arrays
        if getattr(x, a) is not None
    ):
        return None
    step = _Step(scan)
    match len(scan.states):
        case 1:
            tries = (_rnn, _gru)
        case 2:
            tries = (_lstm,)
        case _:
            return None
    shown = {o.value for o in scan.graph.outputs[len(scan.states) :]}
    for attempt in tries:
        cell = attempt(step)
        if cell is None or not shown <= set(cell.answers):
            continue
        given = [s for s in cell.states.values() if s in scan.started]
        if given != list(cell.states.values())[: len(given)]:
            return None  # c is given and h is not: the fused layer has no such form
        if all(np.isfinite(a).all() for a in cell.fields.values() if isinstance(a, np.ndarray)):
            return cell
    return None


# ---- forms: what the values of a step are made of ----------------------------------------------------------


class _Part:
    """What one source gives to a form: rows picked from it (``index``, -1 for none) and scaled, or a dense
    matrix.
    """

    def __init__(self, index=None, scale=None, matrix=None):
        self.index, self.scale, self.matrix = index, scale, matrix

    def rows(self, rows):
        if self.matrix is not None:
            return _Part(matrix=self.matrix[rows])
        return _Part(self.index[rows], self.scale[rows])

    def empty(self):
        return self.index is not None and (self.index < 0).all()

    def scaled(self, by):
        if self.matrix is not None:
            return _Part(matrix=self.matrix * by[:, None])
        return _Part(self.index, self.scale * by)

    def dense(self, size):
        if self.matrix is not None:
            return self.matrix
        made = np.zeros((len(self.index), size))
        used = np.flatnonzero(self.index >= 0)
        made[used, self.index[used]] = self.scale[used]
        return made

    def plus(self, other, size):
        if self.matrix is None and other.matrix is None:
            apart = (self.index < 0) | (other.index < 0)
            if apart.all():
                mine = other.index < 0
                return _Part(np.where(mine, self.index, other.index), np.where(mine, self.scale, other.scale))
            if (self.index == other.index).all():
                return _Part(self.index, self.scale + other.scale)
        return _Part(matrix=self.dense(size) + other.dense(size))

    def product(self, weight, size):
        """weight times this part."""
        if self.matrix is not None:
            return _Part(matrix=weight @ self.matrix)
        made = np.zeros((len(weight), size))
        used = np.flatnonzero(self.index >= 0)
        columns, terms = self.index[used], weight[:, used] * self.scale[used]
        if len(np.unique(columns)) == len(columns):
            made[:, columns] = terms
        else:
            np.add.at(made.T, columns, terms.T)
        return _Part(matrix=made)

    def picks(self):
        """(rows, scale) where every row is picked and all by one scale, else None."""
        if self.index is None or (self.index < 0).any() or (self.scale != self.scale[0]).any():
            return None
        return self.index, float(self.scale[0])


class _Source:
    """A source of forms: an input of the step (``name``), or what is not linear: ``function`` of a form, the
    product of ``factors``, the normalisation ``norm`` of a form; or, with none of these, something no cell
    holds."""

    def __init__(self, size, name=None, function=None, form=None, factors=None, norm=None):
        self.size, self.name, self.function = size, name, function
        self.form, self.factors, self.norm = form, factors, norm


class _Form:
    """Sum of parts {source: part} and biases: ``bias``, and ``state_bias`` of products that read states
    alone.
    """

    def __init__(self, parts, bias, state_bias):
        self.parts = {s: p for s, p in parts.items() if not p.empty()}
        self.bias, self.state_bias = bias, state_bias

    def __len__(self):
        return len(self.bias)

    def rows(self, rows):
        return _Form({s: p.rows(rows) for s, p in self.parts.items()}, self.bias[rows], self.state_bias[rows])

    def scaled(self, by):
        return _Form({s: p.scaled(by) for s, p in self.parts.items()}, self.bias * by, self.state_bias * by)

    def plus(self, other):
        parts = dict(self.parts)
        for source, part in other.parts.items():
            parts[source] = parts[source].plus(part, source.size) if source in parts else part
        return _Form(parts, self.bias + other.bias, self.state_bias + other.state_bias)

    def product(self, weight):
        parts = {s: p.product(weight, s.size) for s, p in self.parts.items()}
        return _Form(parts, weight @ self.bias, weight @ self.state_bias)

    def biased(self, bias, on_states):
        if bias is None:
            return self
        if on_states:
            return _Form(self.parts, self.bias, self.state_bias + bias)
        return _Form(self.parts, self.bias + bias, self.state_bias)

    def of(self, source):
        """Whether the form is all rows of this source, in order, and nothing else; or of some source
        (None).
        """
        if len(self.parts) != 1 or self.bias.any() or self.state_bias.any():
            return None
        ((own, part),) = self.parts.items()
        return own if (source is None or own is source) and _whole(part, own) else None


def _whole(part, source):
    picked = part.picks()
    return picked is not None and picked[1] == 1 and np.array_equal(picked[0], np.arange(source.size))


def _of(source):
    n = source.size
    return _Form({source: _Part(np.arange(n), np.ones(n))}, np.zeros(n), np.zeros(n))


def _stacked(forms):
    total, at, parts = sum(map(len, forms)), 0, {}
    for form in forms:
        for source, part in form.parts.items():
            if part.matrix is None:
                wide = _Part(np.full(total, -1), np.ones(total))
                wide.index[at : at + len(form)], wide.scale[at : at + len(form)] = part.index, part.scale
            else:
                wide = _Part(matrix=np.zeros((total, source.size)))
                wide.matrix[at : at + len(form)] = part.matrix
            parts[source] = parts[source].plus(wide, source.size) if source in parts else wide
        at += len(form)
    return _Form(parts, *(np.concatenate([getattr(f, b) for f in forms]) for b in ("bias", "state_bias")))


class _Step:
    """The step of a scan as forms, and elementwise values of it as polynomials over atoms: rows of a
    source.
    """

    def __init__(self, scan):
        self.scan, self.atoms = scan, {}
        step = scan.graph
        self.inputs = {name: _Source(step.signals[name].width, name=name) for name in step.inputs}
        first = scan.per_step + len(scan.states)
        self.sequences = [self.inputs[n] for n in step.inputs[: scan.per_step]]
        self.states = dict(zip(scan.states, (self.inputs[n] for n in step.inputs[scan.per_step : first])))
        self.forms = {name: _of(source) for name, source in self.inputs.items()}
        self.reads = {name: {name} for name in step.inputs}
        for layer in step.layers:
            if layer.name in self.forms:
                continue
            self.reads[layer.name] = set().union(*(self.reads[r] for r in layer.inputs))
            self.forms[layer.name] = self._form(layer, [self.forms[r] for r in layer.inputs])
        self.next = {s: self.forms[o.value] for s, o in zip(scan.states, step.outputs)}
        self.shown = {s: o.value for s, o in zip(scan.states, step.outputs)}

    def _form(self, layer, forms):
        first = forms[0]
        on_states = self.reads[layer.name] <= {s.name for s in self.states.values()}
        match layer.kind:
            case "dense":
                made = first.product(layer.weight.astype(np.float64)).biased(layer.bias, on_states)
                return self._activated(layer.activation, made)
            case "affine":
                return first.scaled(layer.scale.astype(np.float64)).biased(layer.offset, on_states)
            case "select":
                return first.rows(np.array(layer.index))
            case "concatenate":
                return _stacked(forms)
            case "add":
                for other in forms[1:]:
                    first = first.plus(other)
                return first
            case "multiply":
                return _of(_Source(len(first), factors=forms)) if len(forms) > 1 else first
            case "activation":
                return self._activated(layer.activation, first)
            case "reshape":
                return first
            case "layer_normalization":
                return _of(_Source(len(first), form=first, norm=layer))
        return _of(_Source(self.scan.graph.signals[layer.name].width))

    def _activated(self, function, form):
        return form if function == LINEAR else _of(_Source(len(form), function=function, form=form))

    # -- polynomials -----------------------------------------------------------------------------------------
    def atom(self, source, rows):
        """The number of the atom that stands for these rows of a source."""
        return self.atoms.setdefault((source, rows.tobytes()), (len(self.atoms), source, rows))[0]

    def atom_of(self, number):
        """(source, rows) of an atom."""
        return next((s, rows) for n, s, rows in self.atoms.values() if n == number)

    def polynomial(self, form):
        """{sorted numbers of atoms: coefficient}, None where it grows too large. A linear form of its own is
        an atom.
        """
        made, bias = {}, form.bias + form.state_bias
        picked = {s: p.picks() for s, p in form.parts.items()}
        if None in picked.values() or (bias != bias[0]).any():
            linear = _Source(len(form), form=form)
            return {(self.atom(linear, np.arange(len(form))),): 1.0}
        if bias[0]:
            made[()] = float(bias[0])
        for source, (rows, scale) in picked.items():
            terms = {(): scale}
            if source.factors is None:
                terms = {(self.atom(source, rows),): scale}
            for factor in source.factors or ():
                other = self.polynomial(factor.rows(rows))
                if other is None or len(other) * len(terms) > _MOST_TERMS:
                    return None
                terms = _product(terms, other)
            for atoms, coefficient in terms.items():
                made[atoms] = made.get(atoms, 0.0) + coefficient
        return {atoms: c for atoms, c in made.items() if c}

    def activation_of(self, number):
        """(function, the form it is of) of an atom that is an activation, else None."""
        source, rows = self.atom_of(number)
        return None if source.function is None else (source.function, source.form.rows(rows))

    def is_state(self, number, state):
        """Whether an atom is the whole state as it was."""
        source, rows = self.atom_of(number)
        return source is self.states[state] and np.array_equal(rows, np.arange(source.size))


def _product(a, b):
    made = {}
    for x, p in a.items():
        for y, q in b.items():
            atoms = tuple(sorted(x + y))
            made[atoms] = made.get(atoms, 0.0) + p * q
    return made


# ---- gates -------------------------------------------------------------------------------------------------


@dataclass
class _Gate:
    """W x + U h + b of one gate and its normalisation: (gamma, beta, epsilon, the Norm source or None, its
    rows).
    """

    weight: np.ndarray
    recurrent: np.ndarray
    bias: np.ndarray
    state_bias: np.ndarray
    norm: tuple | None = None


def _normalised(form):
    """(form inside, norm) of a form that is rows of a layer normalisation; (form, None) of any other."""
    if len(form.parts) != 1 or form.bias.any() or form.state_bias.any():
        return form, None
    ((source, part),) = form.parts.items()
    picked = part.picks()
    if source.norm is None or picked is None or picked[1] != 1:
        return form, None
    rows, layer = picked[0], source.norm
    pick = lambda array, empty: np.full(len(rows), empty) if array is None else array[rows]
    norm = (pick(layer.gamma, 1.0), pick(layer.beta, 0.0), layer.epsilon, source, rows)
    return source.form.rows(rows), norm


def _gate(step, form, state):
    """The _Gate of a pre-activation that is linear in the sequences and the state, or None."""
    inside, norm = _normalised(form)
    gate = _linear(step, inside, state)
    return gate and dataclasses.replace(gate, norm=norm)


def _linear(step, form, state, but=()):
    """The _Gate of a form without its parts of the sources ``but``; None where it has others than x and h."""
    h = step.states[state]
    parts = {s: p for s, p in form.parts.items() if s not in but}
    if not set(parts) <= {h, *step.sequences}:
        return None
    weight = [parts[s].dense(s.size) if s in parts else np.zeros((len(form), s.size)) for s in step.sequences]
    recurrent = parts[h].dense(h.size) if h in parts else np.zeros((len(form), h.size))
    return _Gate(np.hstack(weight), recurrent, form.bias, form.state_bias)


def _fields(gates, apart=False):
    """The fields that gates have in common; ``apart``: with the biases of the state's products by themselves.
    None where their normalisations do not go together."""
    stack = lambda arrays: np.concatenate(arrays).astype(np.float32)
    made = {
        "weight": stack([g.weight for g in gates]),
        "recurrent_weight": stack([g.recurrent for g in gates]),
    }
    biases = {"bias": [g.bias for g in gates]}
    if apart:
        biases["recurrent_bias"] = [g.state_bias for g in gates]
    else:
        biases["bias"] = [g.bias + g.state_bias for g in gates]
    made |= {name: stack(b) for name, b in biases.items() if any(a.any() for a in b)}
    norms = [g.norm for g in gates]
    if all(n is None for n in norms):
        return made
    if any(n is None for n in norms) or len({n[2] for n in norms}) > 1:
        return None
    sources, units = {n[3] for n in norms}, len(gates[0].bias)
    if all(n[3].size == units and np.array_equal(n[4], np.arange(units)) for n in norms):
        made["norm"] = "gates"
    elif len(sources) == 1 and sorted(np.concatenate([n[4] for n in norms])) == list(range(norms[0][3].size)):
        made["norm"] = "joint"
    else:
        return None
    return made | {
        "gamma": stack([n[0] for n in norms]),
        "beta": stack([n[1] for n in norms]),
        "epsilon": norms[0][2],
    }


# ---- the cells ---------------------------------------------------------------------------------------------


def _rnn(step):
    """h' = act(W x + U h + b)."""
    ((state, form),) = step.next.items()
    function, inside = LINEAR, form
    source = form.of(None)
    if source is not None and source.function is not None:
        function, inside = source.function, source.form
    gate = _gate(step, inside, state)
    if gate is None or (function == LINEAR and (gate.norm or not _dense_in(inside, step.states[state]))):
        return None
    fields = _fields([gate])
    return fields and _Cell(
        SimpleRNN, fields | {"activation": function}, {"h": state}, {step.shown[state]: ""}
    )


def _dense_in(form, source):
    """Whether a form holds a matrix times the source: sums and copies of a state are cheaper as they are."""
    return source in form.parts and form.parts[source].matrix is not None


def _gru(step):
    """h' = (1 - z) n + z h, or the same with 1 - z for z."""
    ((state, form),) = step.next.items()
    terms = step.polynomial(form)
    if terms is None or len(terms) != 3:
        return None
    alone = [atoms[0] for atoms, c in terms.items() if len(atoms) == 1 and c == 1]
    pairs = {c: atoms for atoms, c in terms.items() if len(atoms) == 2}
    if len(alone) != 1 or set(pairs) != {1.0, -1.0} or alone[0] not in pairs[-1.0]:
        return None
    both = set(pairs[1.0]) & set(pairs[-1.0])
    if len(both) != 1 or len(set(pairs[1.0])) != 2 or len(set(pairs[-1.0])) != 2 or alone[0] in both:
        return None
    (z,) = both
    (other,) = set(pairs[1.0]) - both
    flipped = step.is_state(alone[0], state)  # h - z h + z n: z is what other cells call 1 - z
    n, h = (other, alone[0]) if flipped else (alone[0], other)
    z, n = step.activation_of(z), step.activation_of(n)
    if z is None or n is None or not step.is_state(h, state):
        return None
    update, inside = _gate(step, z[1], state), _normalised(n[1])
    if update is None or (flipped and (z[0].name not in _COMPLEMENTED or update.norm)):
        return None
    if flipped:
        arrays = ("weight", "recurrent", "bias", "state_bias")
        update = dataclasses.replace(update, **{a: -getattr(update, a) for a in arrays})
    candidate = _candidate(step, inside[0], state)
    if candidate is None:
        return None
    reset, gate, reset_after = candidate
    if reset[0] != z[0]:
        return None
    reset = _gate(step, reset[1], state)
    if reset is None:
        return None
    fields = _fields([update, reset, dataclasses.replace(gate, norm=inside[1])], apart=reset_after)
    if fields is None or fields.get("norm") == "joint":
        return None
    fields |= {"activation": n[0], "recurrent_activation": z[0], "reset_after": reset_after}
    return _Cell(GRU, fields, {"h": state}, {step.shown[state]: ""})


def _candidate(step, form, state):
    """((function, form) of the reset gate, the _Gate of n, reset_after) from the pre-activation of n, or
    None.
    """
    products = [s for s in form.parts if s.factors is not None]
    if len(products) != 1:
        return None
    (product,) = products
    gate = _linear(step, form, state, but=products)
    terms = step.polynomial(_of(product))
    if gate is None or gate.recurrent.any() or terms is None or list(terms.values()) != [1.0]:
        return None
    (atoms,) = terms
    activations = [a for a in atoms if step.activation_of(a) is not None]
    if len(atoms) != 2 or len(activations) != 1:
        return None
    (reset,) = activations
    (other,) = [a for a in atoms if a != reset]
    part = form.parts[product]
    if step.is_state(other, state):
        if part.matrix is None:
            return None
        gate = dataclasses.replace(gate, recurrent=part.matrix)
        return step.activation_of(reset), gate, False
    source, _ = step.atom_of(other)
    if (
        source.form is None
        or source.function is not None
        or source.norm is not None
        or not _whole(part, product)
    ):
        return None
    after = _linear(step, source.form, state)
    if after is None or after.weight.any() or not _dense_in(source.form, step.states[state]):
        return None
    return (
        step.activation_of(reset),
        _Gate(gate.weight, after.recurrent, gate.bias + gate.state_bias, after.bias + after.state_bias),
        True,
    )


def _lstm(step):
    """c' = f c + i g, h' = o act(c'), or a matrix times that."""
    for h, c in (tuple(step.states), tuple(step.states)[::-1]):
        cell = _lstm_of(step, h, c)
        if cell is not None:
            return cell
    return None


def _lstm_of(step, h, c):
    terms, hidden, projection = step.polynomial(step.next[c]), step.next[h], None
    if len(hidden.parts) == 1 and not hidden.bias.any() and not hidden.state_bias.any():
        ((source, part),) = hidden.parts.items()
        if source.factors is not None and part.matrix is not None:
            hidden, projection = _of(source), part.matrix.astype(np.float32)
    shown = step.polynomial(hidden)
    if terms is None or shown is None or len(terms) != 2 or set(terms.values()) != {1.0}:
        return None
    kept = [atoms for atoms in terms if any(step.is_state(a, c) for a in atoms)]
    if list(shown.values()) != [1.0] or len(kept) != 1 or any(len(a) != 2 for a in (*terms, *shown)):
        return None
    (forget,) = [a for a in kept[0] if not step.is_state(a, c)] or [None]
    fresh = next(atoms for atoms in terms if atoms is not kept[0])
    (pair,) = shown
    numbers = [forget, *fresh, *pair]
    if None in numbers or any(step.activation_of(a) is None for a in numbers):
        return None
    for o, squashed in (pair, pair[::-1]):
        function, form = step.activation_of(squashed)
        gate_function = step.activation_of(o)[0]
        if step.polynomial(form) != terms or step.activation_of(forget)[0] != gate_function:
            continue
        for i, g in (fresh, fresh[::-1]):
            if (step.activation_of(i)[0], step.activation_of(g)[0]) != (gate_function, function):
                continue
            gates = [_gate(step, step.activation_of(a)[1], h) for a in (i, forget, g, o)]
            fields = None if None in gates else _fields(gates)
            if fields is None:
                return None
            fields |= {
                "activation": function,
                "recurrent_activation": gate_function,
                "projection": projection,
            }
            return _Cell(LSTM, fields, {"h": h, "c": c}, {step.shown[h]: "", step.shown[c]: ":cells"})
    return None
