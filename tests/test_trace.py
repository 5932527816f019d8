"""``Model.trace``: the states are the engine's for that layer, the gates what the equations say."""

import dataclasses

import numpy as np
import pytest
from case_layers import recurrent
from cases import CASES
from small_models import built, frames, model_of, net, two_inputs_two_outputs, with_value

import rnnrt
from rnnrt import layers as L
from rnnrt import reference

FRAMES, BATCH = 12, 2
#: One size of each cell is enough here: the kernels of all have tests of their own.
OTHER_SIZES = ("_1", "_5", "_16", "_33", "_130", "_128", "_256")
RECURRENT = [
    c
    for c in CASES
    if not c.name.endswith(OTHER_SIZES)
    and any(x.keeps == "state" for x in rnnrt.passes.optimise(c.graph()).layers)
]


def shown(graph, references):
    """The same graph with these values as its outputs."""
    return rnnrt.from_graph(graph.replace(graph.layers, outputs=[L.Output(r, r) for r in references]))


def by_steps(layer, x, start, real):
    """{gate: (batch, time, units)} of the equations alone, step after step in float64, and h."""
    w, u = layer.weight.astype(np.float64), layer.recurrent_weight.astype(np.float64)
    bias = 0.0 if layer.bias is None else layer.bias.astype(np.float64)
    sigmoid, tanh = (lambda s: 1 / (1 + np.exp(-s))), np.tanh
    h, c, found = start, np.zeros((len(x), layer.units)), {}
    for t in range(x.shape[1])[:: -1 if layer.reverse else 1]:
        p, q = x[:, t] @ w.T + bias, h @ u.T
        if layer.kind == "lstm":
            i, f, g, o = np.split(p + q, 4, axis=1)
            gates = {"i": sigmoid(i), "f": sigmoid(f), "g": tanh(g), "o": sigmoid(o)}
            new_c = gates["f"] * c + gates["i"] * gates["g"]
            new = gates["o"] * tanh(new_c)
            c = np.where(real[:, t, None], new_c, c)
        else:
            (pz, pr, pn), (qz, qr, qn) = np.split(p, 3, axis=1), np.split(q, 3, axis=1)
            if layer.recurrent_bias is not None:
                bz, br, bn = np.split(layer.recurrent_bias.astype(np.float64), 3)
                qz, qr, qn = qz + bz, qr + br, qn + bn
            z, r = sigmoid(pz + qz), sigmoid(pr + qr)
            n = tanh(pn + r * qn) if layer.reset_after else tanh(pn + (r * h) @ u[2 * layer.units :].T)
            gates, new = {"z": z, "r": r, "n": n}, (1 - z) * n + z * h
        h = np.where(real[:, t, None], new, h)
        for name, value in gates.items():
            found.setdefault(name, np.full((len(x), x.shape[1], layer.units), np.nan))[:, t] = np.where(
                real[:, t, None], value, np.nan
            )
    return found


@pytest.mark.parametrize("case", RECURRENT, ids=lambda c: c.name)
def test_states_have_the_bits_of_the_layer_and_gates_follow_from_the_equations(case):
    model, x = rnnrt.from_graph(case.graph()), case.sample(BATCH, FRAMES)
    graph, traced = model._run_graph, model.trace(x)
    assert list(traced) == [layer.name for layer in graph.layers if layer.keeps == "state"]
    for name, found in traced.items():
        layer = graph[name]
        if layer.kind == "scan":
            assert (found["y"].reshape(len(x), -1) == shown(graph, [name])(x).reshape(len(x), -1)).all()
            continue
        cells = [f"{name}:cells"] if layer.kind == "lstm" else []
        answers = shown(graph, [name, *cells])(x)
        for word, answer in zip("hc", answers if cells else [answers]):
            assert found[word].tobytes() == answer.tobytes() and found[word].dtype == np.float32
        assert list(found) == [
            "h",
            *("c" * bool(cells)),
            *{"rnn": "", "gru": "zrn", "lstm": "ifgo"}[layer.kind],
        ]
        check_cell(layer, found, graph)


def check_cell(layer, found, graph):
    """The gates make the next state of the last one."""
    if layer.kind == "rnn" or layer.mask is not None or layer.reverse or len(layer.inputs) > 1:
        return
    if any(name.startswith(f"{layer.name}/") for name in graph.start):
        return
    h = found["h"].astype(np.float64)
    if layer.kind == "gru":
        before = np.concatenate([np.zeros_like(h[:, :1]), h[:, :-1]], 1)
        made, wanted = (1 - found["z"]) * found["n"] + found["z"] * before, h
    else:
        c = found["c"].astype(np.float64)
        before = np.concatenate([np.zeros_like(c[:, :1]), c[:, :-1]], 1)
        made, wanted = found["f"] * before + found["i"] * found["g"], c
        if layer.cell_clip:
            made = np.clip(made, -layer.cell_clip, layer.cell_clip)
    np.testing.assert_allclose(made, wanted, rtol=0, atol=1e-5 * max(1, np.abs(wanted).max()))


@pytest.mark.parametrize("kind", [L.LSTM, L.GRU])
@pytest.mark.parametrize(
    "fields", [{}, {"reverse": True}, {"reset_after": False}], ids=["", "reverse", "before"]
)
def test_gates_are_within_the_promise_of_the_equations_run_alone(kind, fields):
    if kind is L.LSTM and "reset_after" in fields:
        fields = {"bias": False}
    model, x = built(lambda b, x, r: recurrent(b, x, r, kind, 7, **fields)), frames(BATCH, 30, 3)
    layer = model._run_graph.layers[1]
    wanted = by_steps(layer, x.astype(np.float64), np.zeros((BATCH, 7)), np.ones((BATCH, 30), bool))
    found = model.trace(x)[layer.name]
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-5)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("held", ["hold", "zero"])
def test_a_masked_frame_has_no_gates_and_leaves_the_state_alone(reverse, held):
    x = frames(BATCH, 9, 3)
    x[0, 2:4] = x[1, :3] = x[1, 8] = 0

    def build(b, x, r):
        mask = b.add(L.NotEqual, "mask", x, value=0)
        weights = {"weight": r.normal(size=(20, 3)), "recurrent_weight": r.normal(size=(20, 5))}
        return b.add(L.LSTM, "lstm", x, **weights, reverse=reverse, mask=mask, masked_output=held)

    model = built(build)
    found = model.trace(x)["lstm"]
    real = (x != 0).any(-1)
    wanted = by_steps(model.graph["lstm"], x.astype(np.float64), np.zeros((BATCH, 5)), real)
    for name in "ifgo":
        assert (np.isnan(found[name]) == ~real[:, :, None]).all()
        np.testing.assert_allclose(found[name], wanted[name], rtol=0, atol=1e-5)
    assert found["h"].tobytes() == model(x).tobytes()


def test_a_layer_starts_where_an_input_or_the_graph_says():
    x, value = frames(BATCH, 6, 3), frames(BATCH, 4)
    found = with_value().trace(x, value)["rnn"]
    assert list(found) == ["h"]
    plain = net(L.GRU, 5)
    start = frames(5)
    name = plain.graph.layers[1].name
    begun = rnnrt.from_graph(dataclasses.replace(plain.graph, start={f"{name}/h": start}))
    layer = begun.graph.layers[1]
    wanted = by_steps(
        layer, x.astype(np.float64), np.tile(start.astype(np.float64), (BATCH, 1)), np.ones((BATCH, 6), bool)
    )
    found = begun.trace(x)[name]
    for gate in "zrn":
        np.testing.assert_allclose(found[gate], wanted[gate], rtol=0, atol=1e-5)

    def build(b, x, r):
        first = b.add(L.Last, "last", b.add(L.Dense, "to", x, weight=r.normal(size=(5, 3))))
        weights = {"weight": r.normal(size=(15, 3)), "recurrent_weight": r.normal(size=(15, 5))}
        return b.add(L.GRU, "gru", x, first, **weights)

    model = built(build)
    first = shown(model.graph, ["last"])(x).astype(np.float64)
    wanted = by_steps(model.graph["gru"], x.astype(np.float64), first, np.ones((BATCH, 6), bool))
    for gate in "zrn":
        np.testing.assert_allclose(model.trace(x)["gru"][gate], wanted[gate], rtol=0, atol=1e-5)


def test_shapes_inputs_and_many_layers():
    x = frames(BATCH, 8, 3)
    alone = net(L.LSTM, 5).trace(x[0])
    (name,) = alone
    whole = net(L.LSTM, 5).trace(x)[name]
    assert {k: v.shape for k, v in alone[name].items()} == dict.fromkeys("hcifgo", (8, 5))
    assert all((alone[name][k] == whole[k][0]).all() for k in whole)
    found = two_inputs_two_outputs().trace(x, frames(BATCH, 8, 2))
    assert list(found) == ["a", "c"] and found["c"]["h"].shape == (BATCH, 8, 4)
    turned = built(
        lambda b, x, r: b.add(
            L.SimpleRNN, "rnn", x, weight=r.normal(size=(4, 3)), recurrent_weight=np.eye(4)
        ),
        axes="bft",
        out_axes="bft",
    )
    swapped = x.swapaxes(1, 2)
    assert (turned.trace(swapped)["rnn"]["h"].swapaxes(1, 2) == turned(swapped)).all()

    def deep(b, x, r):
        for k in range(23):  # more than one plan shows
            x = b.add(
                L.LSTM,
                f"l{k}",
                x,
                weight=r.normal(size=(8, b.signal(x).width)),
                recurrent_weight=r.normal(size=(8, 2)),
            )
        return x

    model = built(deep)
    found = model.trace(x)
    assert len(found) == 23 and (found["l22"]["h"] == model(x)).all()


def test_what_has_nothing_to_trace_is_refused():
    with pytest.raises(rnnrt.UnsupportedModelError, match="no recurrent layer"):
        model_of("dense_5").trace(frames(1, 4, 5))
    with pytest.raises(rnnrt.ShapeError, match="wrong shape"):
        model_of("lstm_5").trace(frames(1, 4, 9))


def test_the_reference_answers_with_its_own_gates():
    """One home: what a trace calls a gate is what the oracle's step is made of."""
    layer = net(L.GRU, 5).graph.layers[1]
    x, h = frames(4, 3).astype(np.float64), frames(4, 5).astype(np.float64)
    z, _, n = reference.gates(layer, x, h).values()
    assert (reference._gru_step(layer, x, h)["h"] == (1 - z) * n + z * h).all()


def test_a_mask_that_is_an_input_counts_where_it_is_given():
    b, r = L.GraphBuilder(), np.random.default_rng(3)
    x, mask = b.input("x", (3,)), b.input("mask", (1,))
    b.output("y", recurrent(b, x, r, L.GRU, 5, name="gru", mask=mask))
    model, real = rnnrt.from_graph(b.graph()), np.array([[1, 0, 1, 1], [1, 1, 1, 0]], bool)
    x = frames(2, 4, 3)
    assert (np.isnan(model.trace(x, real[:, :, None])["gru"]["z"]) == ~real[:, :, None]).all()
    found = model.trace(x)["gru"]
    assert not np.isnan(found["z"]).any() and found["h"].tobytes() == model(x).tobytes()
