"""The cells that a step may be: SimpleRNN, GRU and LSTM, told by the polynomial of its next states."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from ..layers import GRU, LSTM, SimpleRNN
from ..layers.function import LINEAR
from .step_forms import Step, form_of, is_whole

#: Functions with f(-x) = 1 - f(x).
_COMPLEMENTED = ("sigmoid", "hard_sigmoid", "hard_sigmoid_keras2")


@dataclass
class Cell:
    """A recognised cell: its layer class and fields; {state of the layer: name in the step}; {value of the
    step that an answer may show: output of the layer}."""

    kind: type
    fields: dict
    states: dict
    answers: dict


def recognised(scan):
    """The Cell that a scan is, or None."""
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
    step = Step(scan)
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
    return fields and Cell(
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
    return Cell(GRU, fields, {"h": state}, {step.shown[state]: ""})


def _candidate(step, form, state):
    """((function, form) of the reset gate, the _Gate of n, reset_after) from the pre-activation of n, or
    None.
    """
    products = [s for s in form.parts if s.factors is not None]
    if len(products) != 1:
        return None
    (product,) = products
    gate = _linear(step, form, state, but=products)
    terms = step.polynomial(form_of(product))
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
        or not is_whole(part, product)
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
            hidden, projection = form_of(source), part.matrix.astype(np.float32)
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
            return Cell(LSTM, fields, {"h": h, "c": c}, {step.shown[h]: "", step.shown[c]: ":cells"})
    return None
