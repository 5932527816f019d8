"""Scan: any graph of one step as a recurrent layer; and the pass that finds the known cells among them."""

import numpy as np
import pytest
import steps
from cases import CASES, weights
from test_engine import ROWS, keeps_promise_1, options
from test_stream import VECTOR_ROWS, pushed, same_bits

import rnnrt
from rnnrt import layers as L
from rnnrt import passes, reference

SCANS = [c for c in CASES if c.name.startswith("scan")]
FEATURES, UNITS = 3, 20


def generator(*seed):
    return np.random.default_rng([*seed, 11])


def around(step, states, features=FEATURES, name="cell", **fields):
    """A graph of one Scan, whose answers and final states are all outputs."""
    b = L.GraphBuilder()
    x = b.input("x", (features,))
    y = b.add(L.Scan, name, x, graph=step, states=states, **fields)
    b.output("y", y)
    for other in b.layers[-1].extra_outputs:
        b.output(other, f"{y}:{other}")
    return b.graph()


def kinds(model):
    return [x.kind for x in model._run_graph.layers if x.kind != "input"]


def run_all(model, x):
    return list(model.run({"x": x}).values())


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

    for change in (peephole, coupled, other_gate):
        step, act, _ = lstm(change)
        yield f"lstm_{change.__name__}", finished(step, act), ("h", "c"), {}
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


# ---- states, lengths, inputs given once --------------------------------------------------------------------


def two_widths(**fields):
    return around(steps.two_widths(generator(13), FEATURES), ("slow", "was", "fast"), **fields)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("batch", [5, 70])
def test_a_row_past_its_end_keeps_its_states_and_says_0(batch, reverse):
    model = rnnrt.from_graph(two_widths(reverse=reverse, initial=generator(14).standard_normal(11)))
    x = generator(15).standard_normal((batch, 70, FEATURES)).astype(np.float32)
    lengths = np.arange(batch) * 7 % 71
    made, state = model(x, lengths=lengths, return_state=True)
    for b, n in enumerate(lengths):
        alone = [np.zeros((0, *y.shape[2:]), np.float32) for y in made[:4]]
        if n:
            alone, end = model(x[b, :n], return_state=True)
            for name, array in state.arrays().items():
                assert same_bits(array[b], end.arrays()[name]), (b, name)
        for y, wanted in zip(made[:4], alone):
            assert same_bits(y[b, :n], wanted), b
            assert not y[b, n:].any(), b


def test_a_stored_start_comes_back_at_every_reset_and_another_start_takes_its_place():
    start = generator(16).standard_normal(11).astype(np.float32)
    model = rnnrt.from_graph(two_widths(initial=start))
    x = generator(17).standard_normal((3, 30, FEATURES)).astype(np.float32)
    whole = run_all(model, x)
    stream = model.stream(batch_size=3)
    for _ in range(2):
        arrays = stream.state.arrays()
        assert [
            np.array_equal(a, np.tile(p, (3, 1))) for a, p in zip(arrays.values(), np.split(start, [5, 8]))
        ]
        for y, wanted in zip(stream.push(x)[:4], whole):
            assert same_bits(y, wanted)
        stream.reset()
    zero = {f"cell/{s}": np.zeros((3, n)) for s, n in (("slow", 5), ("was", 3), ("fast", 3))}
    plain = rnnrt.from_graph(two_widths())
    for y, wanted in zip(model(x, initial_state=zero), plain(x)):
        assert same_bits(y, wanted)
    stream = model.stream(batch_size=3)
    stream.state = zero
    assert same_bits(stream.push(x)[0], plain(x)[0])
    only = model(x, initial_state={"cell/slow": zero["cell/slow"]})[0]
    assert not same_bits(only, plain(x)[0])
    assert not same_bits(only, whole[0])


def test_rows_of_a_scan_are_reset_alone_to_where_they_start():
    start = generator(18).standard_normal(11).astype(np.float32)
    for fields in ({}, {"initial": start}):
        model = rnnrt.from_graph(two_widths(**fields))
        x = generator(19).standard_normal((4, 20, FEATURES)).astype(np.float32)
        stream = model.stream(batch_size=4)
        stream.push(x[:, :8])
        stream.reset(rows=[2])
        y = stream.push(x[:, 8:])[0]
        assert same_bits(y[2], model(x[2, 8:])[0])
        for row in (0, 1, 3):
            assert same_bits(y[row], model(x[row])[0][8:]), row


def speaker(r, features=FEATURES, units=6, voice=4):
    """A step that reads a value given once, once through a product of its own and once beside the state."""
    step = steps.Step(features, {"h": units}, once=(voice,))
    told = step.dense(step.once[0], weights(r, units, voice), activation="tanh")
    joined = step.dense(
        step.join(step.x, step.state["h"], step.once[0]), weights(r, units, features + units + voice)
    )
    new = step.act("tanh", step.add(joined, told))
    return step.graph([new], {"y": step.times(new, told)})


def test_values_given_once():
    b = L.GraphBuilder()
    x, voice = b.input("x", (FEATURES,)), b.input("voice", (4,), time=False)
    start = b.input("start", (6,), time=False)
    step = speaker(generator(20))
    b.output("y", b.add(L.Scan, "cell", x, start, voice, graph=step, states=("h",), started=("h",)))
    graph = b.graph()
    model = rnnrt.from_graph(graph)
    r = generator(21)
    given = {
        "x": r.standard_normal((3, 70, FEATURES)),
        "voice": r.standard_normal((3, 4)),
        "start": r.standard_normal((3, 6)),
    }
    given = {n: a.astype(np.float32) for n, a in given.items()}
    expected, _ = reference.run(graph, given)
    y = model.run(given)["y"]
    assert keeps_promise_1({"y": y}, graph, given, expected)
    assert same_bits(model.run({n: a[1] for n, a in given.items()})["y"], y[1])
    once = {n: given[n] for n in ("voice", "start")}
    stream = model.stream(batch_size=3, inputs=once)
    for _ in range(2):
        assert same_bits(pushed(stream, given["x"], [1, 20, 0, 7]), y)
        stream.reset()
    with pytest.raises(rnnrt.StateError, match="cell/h"):
        stream.state = {"cell/h": given["start"]}


# ---- random steps ------------------------------------------------------------------------------------------


def random_step(seed):
    """(graph, states): a step of a few random layers over frames, states of random sizes and values given
    once.
    """
    r = generator(22, seed)
    sizes = lambda: int(r.choice([1, 2, 3, 5, 8, 17]))
    states = {f"s{k}": sizes() for k in range(r.integers(0, 4))}
    step = steps.Step(FEATURES, states, once=[sizes() for _ in range(r.integers(0, 3))])
    values = [step.x, *step.state.values(), *step.once]
    width = lambda v: step.b.signal(v).width
    for _ in range(r.integers(1, 9)):
        one, two = (values[r.integers(len(values))] for _ in range(2))
        bounded = step.act(str(r.choice(["tanh", "softsign", "sigmoid"])), one)
        choice = r.integers(6)
        if choice == 0:
            values.append(step.join(one, two, one))
        elif choice == 1 and width(one) == width(two):
            values.append(step.add(one, two))
        elif choice == 2 and width(one) == width(two):
            values.append(step.times(bounded, two))
        elif choice == 3:
            index = tuple(int(k) for k in r.integers(0, width(one), sizes()))
            values.append(step.b.add(L.Select, "select", one, index=index))
        elif choice == 4:
            values.append(bounded)
        else:
            values.append(step.dense(one, weights(r, sizes(), width(one))))
    nexts = []
    for s, n in states.items():
        fits = [v for v in values if width(v) == n and v != step.state[s]]
        v = fits[r.integers(len(fits))] if fits and r.random() < 0.5 else None
        if v is None:
            source = values[r.integers(len(values))]
            v = step.dense(source, weights(r, n, width(source)), weights(r, n))
        nexts.append(
            step.act("tanh", v) if r.random() < 0.7 else step.affine(step.act("softsign", v), 0.5, 0.1)
        )
        if r.random() < 0.2 and fits:
            nexts[-1] = fits[0] if fits[0] in step.state.values() else nexts[-1]
    answers = {f"y{k}": values[r.integers(len(values))] for k in range(r.integers(1, 4))}
    return step.graph(nexts, answers), tuple(states)


@pytest.mark.parametrize("seed", range(80))
def test_random_steps(seed):
    step, states = random_step(seed)
    r = generator(23, seed)
    b = L.GraphBuilder()
    x = b.input("x", (FEATURES,))
    started = [s for s in states if r.random() < 0.3]
    width = lambda name: step.signals[name].width
    edges = [b.input(f"from_{s}", (width(s),), time=False) for s in started]
    once = [b.input(n, (width(n),), time=False) for n in step.inputs[1 + len(states) :]]
    fields = {"started": started, "reverse": r.random() < 0.3}
    if r.random() < 0.4:
        fields["initial"] = r.standard_normal(sum(map(width, states))).astype(np.float32)
    scan = b.add(L.Scan, "scan", x, *edges, *once, graph=step, states=states, **fields)
    for o in ("", *b.layers[-1].extra_outputs):
        b.output(o or "y", f"{scan}:{o}" if o else scan)
    graph = b.graph()
    given = {
        n: r.standard_normal((3, *(70,) * graph.signals[n].time, graph.signals[n].width))
        for n in graph.inputs
    }
    given = {n: a.astype(np.float32) for n, a in given.items()}
    models = [rnnrt.Model(graph, isa=isa) for isa in VECTOR_ROWS or ["scalar"]]
    made = models[0].run(given)
    expected, _ = reference.run(graph, given)
    assert keeps_promise_1(made, graph, given, expected)
    for name, y in made.items():
        for other in models[1:]:
            assert same_bits(other.run(given)[name], y), name
    alone = models[0].run({n: a[2] for n, a in given.items()})
    for name, y in alone.items():
        assert same_bits(y, made[name][2]), name
    if not models[0].streamable:
        return
    stream = models[0].stream(batch_size=3, inputs={n: a for n, a in given.items() if n != "x"})
    for sizes in ([1, 0, 7, 60], [33]):
        parts, at = [], 0
        while at < 70:
            n = sizes[len(parts) % len(sizes)]
            parts.append(stream.push(given["x"][:, at : at + n]))
            at += n
        parts.append(stream.flush())
        for o, pieces in zip(graph.outputs, zip(*(p if isinstance(p, tuple) else (p,) for p in parts))):
            y = np.concatenate(pieces, 1)
            assert same_bits(y if graph.signals[o.value].time else y[:, 0], made[o.name]), o.name
        stream.reset()


# ---- files and refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", SCANS, ids=lambda c: c.name)
def test_a_scan_is_saved_and_loaded(case, tmp_path):
    model = rnnrt.from_graph(case.graph())
    model.save(tmp_path / "scan.rnnrt")
    loaded = rnnrt.load(tmp_path / "scan.rnnrt", verify=True)
    x = case.sample(2, 30)
    assert same_bits(loaded(x), model(x))
    assert loaded.fingerprint == model.fingerprint


def simple(**inputs):
    step = L.GraphBuilder()
    names = [step.input(n, (k,), time=False) for n, k in (inputs or {"x": 3, "h": 3}).items()]
    return step, names


def test_steps_that_cannot_be_are_refused_by_name():
    def refused(step, word, error=rnnrt.ShapeError, inputs=1, **fields):
        b = L.GraphBuilder()
        x = [b.input(f"x{k}", (3,)) for k in range(inputs)]
        with pytest.raises(error, match=word) as caught:
            b.add(L.Scan, "cell", *x, graph=step, **{"states": ("h",), **fields})
        assert "cell" in str(caught.value)

    step, (x, h) = simple()
    total = step.add(L.Add, "sum", x, h)
    step.output("h'", total)
    refused(step.graph(), "at least one answer")
    step.output("y", total)
    good = step.graph()
    refused(None, "graph is missing")
    refused(good, "per_step", per_step=2)
    refused(good, "per_step", per_step=-1)
    refused(good, "needs steps", per_step=0, states=("h", "x"))
    refused(good, "without sequences", steps=3)
    refused(good, "each its own", states=("h/1",))
    refused(good, "each its own", states=("h", "h"))
    refused(good, "started must name", started=("c",))
    refused(good, "initial has the wrong shape", initial=np.zeros(4))
    refused(good, "do not fit the step", inputs=2)
    refused(good, "cannot run in reverse", per_step=0, states=(), steps=3, reverse=True)
    many = {f"s{k}": 3 for k in range(63)}
    for answers in (1, 2):
        step, (x, *states) = simple(x=3, **many)
        for name, value in zip([*many, *(f"y{k}" for k in range(answers))], [*states[1:], x, x, x]):
            step.output(f"new_{name}", value)
        if answers > 1:
            refused(step.graph(), "too many outputs", rnnrt.UnsupportedModelError, states=tuple(many))
            continue
        model = rnnrt.from_graph(around(step.graph(), tuple(many)))  # 63 frames of delay, one state each
        frames = generator(26).standard_normal((70, 3)).astype(np.float32)
        assert same_bits(model(frames)[1:][0], frames[69 - 62])
        assert same_bits(model(frames)[63], frames[69])
    step, (x, h) = simple(x=3, h=4)
    step.output("h'", x)
    step.output("y", x)
    refused(step.graph(), "next 'h' has another shape")
    step, (x, h) = simple()
    timed = step.input("t", (3,))
    step.output("h'", x)
    step.output("y", timed)
    refused(step.graph(), "'t'.*runs over time", rnnrt.UnsupportedModelError)
    b = L.GraphBuilder()
    once = b.input("once", (3,), time=False)
    with pytest.raises(rnnrt.ShapeError, match="input 0 does not fit"):
        b.add(L.Scan, "cell", once, graph=good, states=("h",))


def test_a_layer_with_memory_inside_a_step_is_refused_by_name():
    step, (x, h) = simple()
    over = step.add(L.Unflatten, "unfold", x, length=3)
    over = step.add(L.GRU, "memory", over, weight=np.ones((9, 1)), recurrent_weight=np.ones((9, 3)))
    step.output("h'", h)
    step.output("y", step.add(L.Last, "last", over))
    b = L.GraphBuilder()
    with pytest.raises(rnnrt.UnsupportedModelError, match="unfold.*runs over time.*state"):
        b.add(L.Scan, "cell", b.input("x", (3,)), graph=step.graph(), states=("h",))


def test_a_scan_without_sequences_is_not_cut_by_lengths():
    case = next(c for c in CASES if c.name == "scan_fixed_steps")
    model = rnnrt.from_graph(case.graph())
    x = case.sample(3, 9)
    y = model(x, lengths=[9, 2, 5])
    assert y.shape == (3, 7, 4)
    for b, n in enumerate((9, 2, 5)):
        assert same_bits(y[b], model(x[b, :n]))


def test_the_delay_of_a_scan_is_that_of_the_latest_of_its_sequences():
    case = next(c for c in CASES if c.name == "scan_two_sequences")
    model = rnnrt.from_graph(case.graph())
    assert model.delay == 2  # x itself comes at once, the convolution beside it looks two frames ahead
    stream, frame = model.stream(), np.zeros(FEATURES, np.float32)
    assert [stream.step(frame) is None for _ in range(4)] == [True, True, False, False]


def test_lengths_are_refused_where_any_sequence_of_a_scan_changed_its_time():
    case = next(c for c in CASES if c.name == "scan_two_sequences")
    with pytest.raises(rnnrt.UnsupportedModelError, match="'scan'.*changed the time axis"):
        rnnrt.from_graph(case.graph())(case.sample(2, 9), lengths=[9, 4])


@pytest.mark.parametrize("name", ["scan_fixed_steps", "scan_fixed_steps_once", "scan_from_an_edge"])
def test_a_given_start_takes_the_place_of_an_edge(name):
    case = next(c for c in CASES if c.name == name)
    graph, x = case.graph(), case.sample(2, 9)
    model = rnnrt.Model(graph, lift=False)
    for state, number, size in model.state_values:
        given = {state: generator(27, number).standard_normal((2, size)).astype(np.float32)}
        expected, _ = reference.run(graph, {"x": x}, given)
        assert np.abs(model(x, initial_state=given) - expected["y"]).max() <= 1e-5, state
        assert np.abs(model(x) - expected["y"]).max() > 1e-4, state
