"""What the values of a step are made of.

Every value is brought into one form: a sum of matrices times sources plus a bias, where a source is an input
of the step or something that is not linear (an activation, a product of values, a normalisation). Elementwise
sums and products of sources are multiplied out, so that (1 - z) n + z h, n + z (h - n) and
h + (1 - z) (n - h) are the same polynomial.
"""

from __future__ import annotations

import numpy as np

from ..layers.function import LINEAR

#: Monomials a polynomial may grow to; no known cell has more than 4.
_MOST_TERMS = 32


class Part:
    """What one source gives to a form: rows picked from it (``index``, -1 for none) and scaled, or a dense
    matrix.
    """

    def __init__(self, index=None, scale=None, matrix=None):
        self.index, self.scale, self.matrix = index, scale, matrix

    def rows(self, rows):
        if self.matrix is not None:
            return Part(matrix=self.matrix[rows])
        return Part(self.index[rows], self.scale[rows])

    def empty(self):
        return self.index is not None and (self.index < 0).all()

    def scaled(self, by):
        if self.matrix is not None:
            return Part(matrix=self.matrix * by[:, None])
        return Part(self.index, self.scale * by)

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
                return Part(np.where(mine, self.index, other.index), np.where(mine, self.scale, other.scale))
            if (self.index == other.index).all():
                return Part(self.index, self.scale + other.scale)
        return Part(matrix=self.dense(size) + other.dense(size))

    def product(self, weight, size):
        """weight times this part."""
        if self.matrix is not None:
            return Part(matrix=weight @ self.matrix)
        made = np.zeros((len(weight), size))
        used = np.flatnonzero(self.index >= 0)
        columns, terms = self.index[used], weight[:, used] * self.scale[used]
        if len(np.unique(columns)) == len(columns):
            made[:, columns] = terms
        else:
            np.add.at(made.T, columns, terms.T)
        return Part(matrix=made)

    def picks(self):
        """(rows, scale) where every row is picked and all by one scale, else None."""
        if self.index is None or (self.index < 0).any() or (self.scale != self.scale[0]).any():
            return None
        return self.index, float(self.scale[0])


class Source:
    """A source of forms: an input of the step (``name``), or what is not linear: ``function`` of a form, the
    product of ``factors``, the normalisation ``norm`` of a form; or, with none of these, something no cell
    holds."""

    def __init__(self, size, name=None, function=None, form=None, factors=None, norm=None):
        self.size, self.name, self.function = size, name, function
        self.form, self.factors, self.norm = form, factors, norm


class Form:
    """Sum of parts {source: part} and biases: ``bias``, and ``state_bias`` of products that read states
    alone.
    """

    def __init__(self, parts, bias, state_bias):
        self.parts = {s: p for s, p in parts.items() if not p.empty()}
        self.bias, self.state_bias = bias, state_bias

    def __len__(self):
        return len(self.bias)

    def rows(self, rows):
        return Form({s: p.rows(rows) for s, p in self.parts.items()}, self.bias[rows], self.state_bias[rows])

    def scaled(self, by):
        return Form({s: p.scaled(by) for s, p in self.parts.items()}, self.bias * by, self.state_bias * by)

    def plus(self, other):
        parts = dict(self.parts)
        for source, part in other.parts.items():
            parts[source] = parts[source].plus(part, source.size) if source in parts else part
        return Form(parts, self.bias + other.bias, self.state_bias + other.state_bias)

    def product(self, weight):
        parts = {s: p.product(weight, s.size) for s, p in self.parts.items()}
        return Form(parts, weight @ self.bias, weight @ self.state_bias)

    def biased(self, bias, on_states):
        if bias is None:
            return self
        if on_states:
            return Form(self.parts, self.bias, self.state_bias + bias)
        return Form(self.parts, self.bias + bias, self.state_bias)

    def of(self, source):
        """Whether the form is all rows of this source, in order, and nothing else; or of some source
        (None).
        """
        if len(self.parts) != 1 or self.bias.any() or self.state_bias.any():
            return None
        ((own, part),) = self.parts.items()
        return own if (source is None or own is source) and is_whole(part, own) else None


def is_whole(part, source):
    picked = part.picks()
    return picked is not None and picked[1] == 1 and np.array_equal(picked[0], np.arange(source.size))


def form_of(source):
    n = source.size
    return Form({source: Part(np.arange(n), np.ones(n))}, np.zeros(n), np.zeros(n))


def stacked(forms):
    total, at, parts = sum(map(len, forms)), 0, {}
    for form in forms:
        for source, part in form.parts.items():
            if part.matrix is None:
                wide = Part(np.full(total, -1), np.ones(total))
                wide.index[at : at + len(form)], wide.scale[at : at + len(form)] = part.index, part.scale
            else:
                wide = Part(matrix=np.zeros((total, source.size)))
                wide.matrix[at : at + len(form)] = part.matrix
            parts[source] = parts[source].plus(wide, source.size) if source in parts else wide
        at += len(form)
    return Form(parts, *(np.concatenate([getattr(f, b) for f in forms]) for b in ("bias", "state_bias")))


class Step:
    """The step of a scan as forms, and elementwise values of it as polynomials over atoms: rows of a
    source.
    """

    def __init__(self, scan):
        self.scan, self.atoms = scan, {}
        step = scan.graph
        self.inputs = {name: Source(step.signals[name].width, name=name) for name in step.inputs}
        first = scan.per_step + len(scan.states)
        self.sequences = [self.inputs[n] for n in step.inputs[: scan.per_step]]
        self.states = dict(zip(scan.states, (self.inputs[n] for n in step.inputs[scan.per_step : first])))
        self.forms = {name: form_of(source) for name, source in self.inputs.items()}
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
                for other in forms[1:]:
                    made = made.plus(other)
                return self._activated(layer.activation, made)
            case "affine":
                return first.scaled(layer.scale.astype(np.float64)).biased(layer.offset, on_states)
            case "select":
                return first.rows(np.array(layer.index))
            case "concatenate":
                return stacked(forms)
            case "add":
                for other in forms[1:]:
                    first = first.plus(other)
                return first
            case "multiply":
                return form_of(Source(len(first), factors=forms)) if len(forms) > 1 else first
            case "activation":
                return self._activated(layer.activation, first)
            case "reshape":
                return first
            case "layer_normalization":
                return form_of(Source(len(first), form=first, norm=layer))
        return form_of(Source(self.scan.graph.signals[layer.name].width))

    def _activated(self, function, form):
        return form if function == LINEAR else form_of(Source(len(form), function=function, form=form))

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
            linear = Source(len(form), form=form)
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
