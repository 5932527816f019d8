"""The pass that finds the known cells among the steps of a Scan."""

import numpy as np
import pytest
import steps
from case_layers import weights
from expect import ROWS, VECTOR_ROWS, keeps_promise_1, options, pushed, same_bits
from steps import FEATURES, UNITS, around, generator

import rnnrt
from rnnrt import layers as L
from rnnrt import passes, reference


def kinds(model):
    return [x.kind for x in model._run_graph.layers if x.kind != "input"]


# ---- known cells -------------------------------------------------------------------------------------------


def known_cells():
    """(name, step, states, layer class, its fields): the same cell as a step and as a layer."""
    r = generator(1)
    draw = lambda gates: (weights(r, gates * UNITS, FEATURES), weights(r, gates * UNITS, UNITS))
    norms = lambda gates: [1 + weights(r, gates, UNITS), weights(r, gates, UNITS)]
    for spelling in steps.SPELLINGS:
        for order in ("ifgo", "ifog", "fiog") if spelling == "joint" else ("ifgo",):
            w, u = draw(4)
            b = weights(r, 4 * UNITS)
            fields = {"weight": w, "recurrent_weight": u, "bias": b}
            step = steps.lstm(w, u, b, spelling, order=order)
            yield f"lstm_{spelling}_{order}", step, ("h", "c"), L.LSTM, fields
        w, u = draw(1)
        b = weights(r, UNITS)
        step = steps.rnn(w, u, b, spelling)
        yield f"rnn_{spelling}", step, ("h",), L.SimpleRNN, {"weight": w, "recurrent_weight": u, "bias": b}
    w, u = draw(4)
    fields = {
        "weight": w,
        "recurrent_weight": u,
        "recurrent_activation": "hard_sigmoid",
        "activation": "softsign",
    }
    step = steps.lstm(w, u, None, "joint", "hard_sigmoid", "softsign")
    yield "lstm_no_bias_hard_sigmoid_softsign", step, ("h", "c"), L.LSTM, fields
    for blend in steps.BLENDS:
        for reset_after in (True, False):
            for spelling in ("separate", "by_gate", "joint"):
                w, u = draw(3)
                b, ub = weights(r, 3 * UNITS), weights(r, 3 * UNITS)
                if not reset_after:
                    ub = None
                elif spelling == "joint":  # has one bias for both products of z and r
                    ub[: 2 * UNITS] = 0
                fields = {"weight": w, "recurrent_weight": u, "bias": b, "recurrent_bias": ub}
                step = steps.gru(w, u, b, ub, reset_after, spelling, blend)
                name = f"gru_{'after' if reset_after else 'before'}_{spelling}_{blend}"
                yield name, step, ("h",), L.GRU, fields | {"reset_after": reset_after}
    for kind, gates in ((L.LSTM, 4), (L.GRU, 3), (L.SimpleRNN, 1)):
        w, u = draw(gates)
        b, norm = weights(r, gates * UNITS), norms(gates)
        fields = {"weight": w, "recurrent_weight": u, "bias": b, "norm": "gates", "epsilon": 1e-3}
        fields |= {"gamma": norm[0].ravel(), "beta": norm[1].ravel()}
        if kind is L.LSTM:
            step = steps.lstm(w, u, b, norms=norm)
        elif kind is L.GRU:
            step, fields["reset_after"] = steps.gru(w, u, b, None, False, norms=norm), False
        else:
            step = steps.rnn(w, u, b, norms=[a[0] for a in norm])
        yield f"{kind.kind}_normalised", step, ("h", "c")[: 1 + (kind is L.LSTM)], kind, fields


KNOWN = list(known_cells())


@pytest.mark.parametrize("cell", KNOWN, ids=lambda c: c[0])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_known_cell_is_lifted_and_has_the_bits_of_its_layer(cell, reverse):
    _, step, states, kind, fields = cell
    model = rnnrt.from_graph(around(step, states, reverse=reverse))
    assert kinds(model) == [kind.kind]
    b = L.GraphBuilder()
    y = b.add(kind, "layer", b.input("x", (FEATURES,)), reverse=reverse, **fields)
    b.output("y", y)
    layer = rnnrt.from_graph(b.graph())
    x = generator(2).standard_normal((3, 70, FEATURES)).astype(np.float32)
    (made, state), (wanted, other) = model(x, return_state=True), layer(x, return_state=True)
    assert same_bits(made[0], wanted)
    for s, value in zip(states, made[1:]):
        assert same_bits(value, other.arrays()[f"layer/{s}"])
        assert same_bits(value, state.arrays()[f"cell/{s}"])


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("cell", KNOWN, ids=lambda c: c[0])
def test_a_known_cell_that_stays_a_scan_is_within_promise_1(cell, row):
    if row == "blas":
        pytest.importorskip("scipy")
    _, step, states, _, _ = cell
    graph = around(step, states)
    model = rnnrt.Model(graph, lift=False, **options(row))
    assert kinds(model) == ["scan"]
    x = generator(3).standard_normal((2, 70, FEATURES)).astype(np.float32)
    expected, _ = reference.run(graph, {"x": x})
    assert keeps_promise_1(model.run({"x": x}), graph, {"x": x}, expected)


@pytest.mark.parametrize("cell", KNOWN[::5], ids=lambda c: c[0])
def test_a_known_cell_that_stays_a_scan_has_one_answer_however_it_is_run(cell):
    _, step, states, _, _ = cell
    graph = around(step, states)
    graph = graph.replace(graph.layers, outputs=graph.outputs[:1])
    models = [rnnrt.Model(graph, lift=False, isa=isa) for isa in VECTOR_ROWS or ["scalar"]]
    x = generator(4).standard_normal((19, 70, FEATURES)).astype(np.float32)
    whole = models[0](x)
    for other in models[1:]:
        assert same_bits(other(x), whole)
    for row in (0, 7, 18):
        assert same_bits(models[0](x[row]), whole[row])
        for sizes in ([1], [0, 1, 7, 50], [70]):
            assert same_bits(pushed(models[0].stream(), x[row], sizes), whole[row])
    assert same_bits(pushed(models[0].stream(batch_size=19), x, [9]), whole)


def test_the_reference_of_a_step_is_that_of_its_layer():
    x = generator(5).standard_normal((2, 9, FEATURES))
    for name, step, states, kind, fields in KNOWN:
        made, _ = reference.run(around(step, states), {"x": x})
        b = L.GraphBuilder()
        b.output("y", b.add(kind, "layer", b.input("x", (FEATURES,)), **fields))
        wanted, finals = reference.run(b.graph(), {"x": x})
        assert np.abs(made["y"] - wanted["y"]).max() < 1e-12, name
        for s in states:
            assert np.abs(made[s] - finals[f"layer/{s}"]).max() < 1e-12, name


def projected(r):
    step = steps.Step(FEATURES, {"memory": UNITS, "out": 5})
    w, u = weights(r, 4 * UNITS, FEATURES), weights(r, 4 * UNITS, 5)
    parts = steps.preactivations(step, w, u, None, 4, "separate", step.state["out"])
    i, f, o = (step.act("sigmoid", parts[k]) for k in (0, 1, 3))
    c = step.add(step.times(step.act("tanh", parts[2]), i), step.times(step.state["memory"], f))
    p = weights(r, 5, UNITS)
    h = step.dense(step.times(step.act("tanh", c), o), p)
    return step.graph([c, h], {"cells": c, "shown": h}), {"weight": w, "recurrent_weight": u, "projection": p}


def test_states_keep_their_names_and_their_order_when_a_cell_is_lifted():
    step, fields = projected(generator(6))
    graph = around(step, ("memory", "out"))
    model = rnnrt.from_graph(graph)
    assert kinds(model) == ["lstm"]
    b = L.GraphBuilder()
    b.output("y", b.add(L.LSTM, "layer", b.input("x", (FEATURES,)), **fields))
    b.output("cells", "layer:cells")
    layer = rnnrt.from_graph(b.graph())
    x = generator(7).standard_normal((2, 30, FEATURES)).astype(np.float32)
    first, state = model(x[:, :11], return_state=True)
    assert list(state.arrays()) == ["cell/memory", "cell/out"]
    second = model(x[:, 11:], initial_state=state)
    whole = layer(x)
    for k, output in enumerate(("cells", "y")):
        assert same_bits(np.concatenate([first[k], second[k]], 1), whole[1 - k]), output
    stream = model.stream(batch_size=2)
    stream.state = {"cell/memory": state.arrays()["cell/memory"], "cell/out": state.arrays()["cell/out"]}
    assert same_bits(stream.push(x[:, 11:])[1], second[1])
    with pytest.raises(rnnrt.StateError, match="cell/h"):
        model(x, initial_state={"cell/h": np.zeros((2, 5))})


def test_several_sequences_go_side_by_side_into_a_lifted_cell():
    r = generator(8)
    w, u, b = weights(r, UNITS, 5), weights(r, UNITS, UNITS), weights(r, UNITS)
    step = L.GraphBuilder()
    one, two, h = (step.input(n, (k,), time=False) for n, k in (("one", 2), ("two", 3), ("h", UNITS)))
    parts = [step.add(L.Dense, "d", v, weight=m) for v, m in ((two, w[:, 2:]), (h, u), (one, w[:, :2]))]
    total = step.add(L.Affine, "b", step.add(L.Add, "s", *parts), scale=np.ones(UNITS), offset=b)
    new = step.add(L.Activation, "act", total, activation="tanh")
    step.output("h'", new)
    step.output("y", new)
    g = L.GraphBuilder()
    xs = [g.input("a", (2,)), g.input("b", (3,))]
    g.output("y", g.add(L.Scan, "cell", *xs, graph=step.graph(), states=("h",), per_step=2))
    model = rnnrt.from_graph(g.graph())
    assert kinds(model) == ["concatenate", "rnn"]
    x = r.standard_normal((2, 12, 5)).astype(np.float32)
    g = L.GraphBuilder()
    g.output("y", g.add(L.SimpleRNN, "l", g.input("x", (5,)), weight=w, recurrent_weight=u, bias=b))
    assert same_bits(model(x[:, :, :2], x[:, :, 2:]), rnnrt.from_graph(g.graph())(x))


# ---- cells that are close to known ones --------------------------------------------------------------------


def near_misses():
    """(name, step, states, fields): steps that are not quite a known cell."""
    r = generator(9)
    w, u, b = weights(r, 4 * UNITS, FEATURES), weights(r, 4 * UNITS, UNITS), weights(r, 4 * UNITS)

    def lstm(change):
        step = steps.Step(FEATURES, {"h": UNITS, "c": UNITS})
        parts = dict(zip("ifgo", steps.preactivations(step, w, u, b, 4, "joint", step.state["h"])))
        act = {k: step.act("tanh" if k == "g" else "sigmoid", v) for k, v in parts.items()}
        return step, act, change(step, parts, act) or act

    def finished(step, act, old="c", squash="tanh"):
        c = step.add(step.times(act["f"], step.state[old]), step.times(act["i"], act["g"]))
        h = step.times(act["o"], step.act(squash, c))
        return step.graph([h, c], {"y": h})

    def peephole(step, parts, act):
        looked = step.dense(step.state["c"], weights(r, UNITS, UNITS))
        act["f"] = step.act("sigmoid", step.add(parts["f"], looked))

    def coupled(step, parts, act):
        act["f"] = step.one_minus(act["i"])

    def other_gate(step, parts, act):
        act["o"] = step.act("hard_sigmoid", parts["o"])

    def doubled(step, parts, act):
        act["f"] = step.affine(act["f"], 2.0, 0.0)

    def shown_doubled(step, parts, act):
        act["o"] = step.affine(act["o"], 2.0, 0.0)

    def doubled_in_part(step, parts, act):
        act["f"] = step.b.add(
            L.Affine, "affine", act["f"], scale=1.0 + (np.arange(UNITS) > 3), offset=np.zeros(UNITS)
        )

    def two_epsilons(step, parts, act):
        for k, v in parts.items():
            normed = step.norm(v, 1 + weights(r, UNITS), weights(r, UNITS), 0.5 if k == "o" else 1e-3)
            act[k] = step.act("tanh" if k == "g" else "sigmoid", normed)

    def a_gate_twice(step, parts, act):
        """The norm of all gates together, of which one is used in two places."""
        joined = step.dense(step.join(step.x, step.state["h"]), np.hstack([w, u]), b)
        i, _, g, o = step.cut(step.norm(joined, 1 + weights(r, 4 * UNITS), weights(r, 4 * UNITS)), 4)
        act |= {"i": step.act("sigmoid", i), "f": step.act("sigmoid", i)}
        act |= {"g": step.act("tanh", g), "o": step.act("sigmoid", o)}

    changes = (doubled, shown_doubled, doubled_in_part, two_epsilons, a_gate_twice)
    for change in (peephole, coupled, other_gate, *changes):
        step, act, _ = lstm(change)
        yield f"lstm_{change.__name__}", finished(step, act), ("h", "c"), {}
    step, act, _ = lstm(lambda *_: None)
    c = step.add(step.times(act["f"], step.state["c"]), step.times(act["i"], act["g"]))
    h = step.dense(step.times(act["o"], step.act("tanh", c)), weights(r, UNITS, UNITS), weights(r, UNITS))
    yield "lstm_projection_with_bias", step.graph([h, c], {"y": h}), ("h", "c"), {}
    step, act, _ = lstm(lambda *_: None)
    yield "lstm_keeps_h", finished(step, act, "h"), ("h", "c"), {}
    step, act, _ = lstm(lambda *_: None)
    yield "lstm_softsign_of_c", finished(step, act, squash="softsign"), ("h", "c"), {}
    yield "lstm_stored_start", steps.lstm(w, u, b), ("h", "c"), {"initial": weights(r, 2 * UNITS)}
    w, u, b = w[: 3 * UNITS], u[: 3 * UNITS], b[: 3 * UNITS]
    step = steps.Step(FEATURES, {"h": UNITS})
    (s,) = steps.preactivations(step, w[:UNITS], u[:UNITS], b[:UNITS], 1, "joint", step.state["h"])
    new = step.act("tanh", s)
    yield "rnn_that_shows_h_before", step.graph([new], {"y": step.state["h"]}), ("h",), {}
    step = steps.Step(FEATURES, {"h": FEATURES})
    yield "running_sum", step.graph([(y := step.add(step.x, step.state["h"]))], {"y": y}), ("h",), {}
    for name, sign, scale in (("gru_blend_of_0.9", -0.9, 1.0), ("gru_with_2z", -1.0, 2.0)):
        step = steps.Step(FEATURES, {"h": UNITS})
        h = step.state["h"]
        z, r_, n = steps.preactivations(step, w, u, b, 3, "joint", h)
        z, n = step.act("sigmoid", z), step.act("tanh", step.add(n, step.times(step.act("sigmoid", r_), h)))
        new = step.add(step.times(step.affine(z, sign, 1.0), n), step.times(step.affine(z, scale, 0.0), h))
        yield name, step.graph([new], {"y": new}), ("h",), {}
    for name, pair in (("gru_with_r_for_z", "rh"), ("gru_with_z_twice", "zz"), ("gru_with_z_for_h", "zn")):
        step = steps.Step(FEATURES, {"h": UNITS})
        parts = dict(zip("zrn", steps.preactivations(step, w, u, b, 3, "joint", step.state["h"])))
        values = {k: step.act("tanh" if k == "n" else "sigmoid", v) for k, v in parts.items()}
        values["h"] = step.state["h"]
        kept = step.add(values["n"], step.affine(step.times(values["z"], values["n"]), -1.0, 0.0))
        new = step.add(kept, step.times(*(values[k] for k in pair)))
        yield name, step.graph([new], {"y": new}), ("h",), {}
    step = steps.Step(FEATURES, {"h": UNITS})
    h = step.state["h"]
    z, n = steps.preactivations(step, w[: 2 * UNITS], u[: 2 * UNITS], b[: 2 * UNITS], 2, "joint", h)
    z, n = step.act("sigmoid", z), step.act("tanh", n)  # no reset gate
    new = step.add(step.times(step.one_minus(z), n), step.times(z, h))
    yield "gru_without_reset", step.graph([new], {"y": new}), ("h",), {}


@pytest.mark.parametrize("cell", list(near_misses()), ids=lambda c: c[0])
def test_what_is_not_quite_a_known_cell_stays_a_scan_and_is_right(cell):
    _, step, states, fields = cell
    graph = around(step, states, **fields)
    model = rnnrt.from_graph(graph)
    assert kinds(model) == ["scan"]
    x = generator(10).standard_normal((2, 70, FEATURES)).astype(np.float32)
    expected, _ = reference.run(graph, {"x": x})
    assert keeps_promise_1(model.run({"x": x}), graph, {"x": x}, expected)


def test_a_cell_whose_second_state_alone_is_given_stays_a_scan_and_is_right():
    r = generator(28)
    step = steps.lstm(weights(r, 4 * UNITS, FEATURES), weights(r, 4 * UNITS, UNITS), weights(r, 4 * UNITS))
    for started, kind in (("h", "lstm"), ("c", "scan")):
        b = L.GraphBuilder()
        x, start = b.input("x", (FEATURES,)), b.input("start", (UNITS,), time=False)
        b.output("y", b.add(L.Scan, "cell", x, start, graph=step, states=("h", "c"), started=(started,)))
        model = rnnrt.from_graph(b.graph())
        assert kinds(model) == [kind]
        given = {"x": r.standard_normal((2, 9, FEATURES)), "start": r.standard_normal((2, UNITS))}
        expected, _ = reference.run(model.graph, given)
        assert np.abs(model.run(given)["y"] - expected["y"]).max() <= 1e-5


def test_frames_states_and_values_given_once_have_products_of_their_own():
    r = generator(29)
    step = steps.Step(FEATURES, {"h": UNITS}, once=(2,))
    joined = step.join(step.x, step.state["h"], *step.once)
    new = step.act("softsign", step.dense(joined, weights(r, UNITS, FEATURES + UNITS + 2)))
    b = L.GraphBuilder()
    x, once = b.input("x", (FEATURES,)), b.input("once", (2,), time=False)
    b.output("y", b.add(L.Scan, "cell", x, once, graph=step.graph([new], {"y": new}), states=("h",)))
    cut = passes.cut_products(b.graph())["cell"].graph
    assert sorted(x.weight.shape[1] for x in cut.layers if x.kind == "dense") == [2, FEATURES, UNITS]


def perturbed(seed):
    """(step, states): an LSTM or GRU whose parts are swapped at random: many are the cell itself, most are
    close to it.
    """
    r = generator(24, seed)
    n, two = int(r.choice([1, 2, 5])), r.random() < 0.5
    step = steps.Step(FEATURES, {"h": n, "c": n} if two else {"h": n})
    pick = lambda usual, *others: usual if r.random() < 0.9 else others[r.integers(len(others))]
    h = step.state["h"]
    count = 4 if two else 3
    spelling = steps.SPELLINGS[r.integers(4)]
    w, u, b = weights(r, count * n, FEATURES), weights(r, count * n, n), weights(r, count * n)
    gates = steps.preactivations(step, w, u, b, count, spelling, pick(h, step.state["c"] if two else h))
    gates = [gates[k] for k in r.permutation(count)] if r.random() < 0.3 else gates
    act = lambda name, x: step.act(pick(name, "softsign", "hard_sigmoid"), x)
    if two:
        i, f, o = (act("sigmoid", gates[k]) for k in (0, 1, 3))
        g, c = act("tanh", gates[2]), step.state["c"]
        parts = [step.times(pick(f, i, step.one_minus(i)), pick(c, h)), step.times(pick(i, f), pick(g, o, h))]
        new_c = step.add(*parts) if r.random() < 0.9 else step.add(*parts, h)
        new_h = step.times(pick(o, f), act("tanh", pick(new_c, c, parts[0])))
        states = [new_h, new_c] if r.random() < 0.9 else [new_c, new_h]
        return step.graph(states, {"y": pick(new_h, new_c, h)}), ("h", "c")
    z, reset, n_ = act("sigmoid", gates[0]), act("sigmoid", gates[1]), gates[2]
    if r.random() < 0.7:
        n_ = step.dense(step.x, w[2 * n :], b[2 * n :])
        inner = step.times(pick(reset, z), pick(h, z))
        q = step.dense(h, u[2 * n :], pick(b[2 * n :], None))
        n_ = step.add(
            n_, step.dense(inner, u[2 * n :]) if r.random() < 0.5 else step.times(reset, pick(q, h))
        )
    n_ = act("tanh", n_)
    scale = pick(1.0, 2.0, -1.0)
    a, k = pick((n_, h), (h, n_), (n_, n_))
    new = step.add(step.times(step.affine(z, -scale, 1.0), a), step.times(step.affine(z, scale, 0.0), k))
    return step.graph([new], {"y": pick(new, h)}), ("h",)


@pytest.mark.parametrize("seed", range(150))
def test_a_cell_with_its_parts_swapped_is_lifted_only_where_it_is_still_right(seed):
    step, states = perturbed(seed)
    graph = around(step, states, reverse=seed % 3 == 0)
    x = generator(25, seed).standard_normal((2, 20, FEATURES)).astype(np.float32)
    expected, _ = reference.run(graph, {"x": x})
    size = max(
        1.0, *(np.abs(e).max() for e in expected.values())
    )  # some of them grow: another cell errs by more
    for lifted in (True, False):
        for name, y in rnnrt.from_graph(graph, lift=lifted).run({"x": x}).items():
            assert np.abs(y - expected[name]).max() <= 1e-3 * size, (name, lifted)


def test_many_cells_with_their_parts_swapped_are_lifted_and_many_are_not():
    found = [kinds(rnnrt.from_graph(around(*perturbed(seed))))[0] for seed in range(150)]
    assert min(found.count(kind) for kind in ("lstm", "gru", "scan")) >= 10


def test_products_of_frames_do_not_wait_for_the_states():
    r = generator(12)
    graph = around(steps.two_widths(r, FEATURES), ("slow", "was", "fast"))
    inside = passes.optimise(graph).layers[-1].graph
    frames = [x for x in inside.layers if x.kind == "dense" and x.inputs == ("x",)]
    assert len(frames) == 3  # of the two joint products, and the one that was there
    assert not [x for x in inside.layers if x.kind == "concatenate" and "x" in x.inputs]
