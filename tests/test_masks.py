"""Masks: which frames count. Against Keras, against the same rows without their masked frames, against
lengths, and whatever stands in a masked frame.
"""

import dataclasses

import numpy as np
import pytest
import steps
from case_layers import cell_weights, conv, dense, weights
from cases import CASES
from masked_cells import CELLS, cell, frames, generator, mask_of, network, same_answers, same_bits
from needs import need

import rnnrt
from rnnrt import layers as L
from rnnrt import lowering, passes, reference
from rnnrt.format import graph_json

MASKED = [c for c in CASES if c.name.startswith("masked_")]
OUTPUTS = ("hold", "zero")


# ---- as Keras ----------------------------------------------------------------------------------------------


def of_keras(layer):
    """(rnnrt class, fields) of a built Keras LSTM, GRU or SimpleRNN."""
    kernel, recurrent_kernel, bias = (np.asarray(w.numpy()) for w in layer.cell.weights)
    fields = {"weight": kernel.T, "recurrent_weight": recurrent_kernel.T, "bias": bias}
    kind = {"LSTM": L.LSTM, "GRU": L.GRU, "SimpleRNN": L.SimpleRNN}[type(layer).__name__]
    if kind is L.GRU:
        fields["reset_after"] = layer.cell.reset_after
        if layer.cell.reset_after:
            fields["bias"], fields["recurrent_bias"] = bias
    return kind, fields


def built(layer, features=3, seed=5):
    """The Keras layer with weights that are not zero."""
    layer.build((None, None, features))
    r = generator(seed)
    layer.set_weights([weights(r, *w.shape[::-1]).T for w in layer.get_weights()])
    return layer


def answered(y):
    return [np.asarray(a.detach().cpu()) for a in (y if isinstance(y, (tuple, list)) else [y])]


KERAS = [("SimpleRNN", {}), ("GRU", {}), ("GRU", {"reset_after": False}), ("LSTM", {})]


@pytest.mark.parametrize("started", [False, True])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize(("word", "options"), KERAS, ids=lambda v: str(v) if v else "")
def test_a_masked_recurrence_answers_as_in_keras(word, options, output, backwards, started):
    keras = need("keras")
    layer = getattr(keras.layers, word)(
        6, return_sequences=True, return_state=True, go_backwards=backwards, **options
    )
    layer.zero_output_for_mask = output == "zero"
    kind, fields = of_keras(built(layer))
    b = L.GraphBuilder()
    x, m = b.input("x", (3,)), b.input("m", ())
    y = b.add(kind, "rnn", x, mask=m, masked_output=output, reverse=backwards, **fields)
    b.output("y", y)
    x, mask = frames(4, 20), mask_of(4, 20)
    mask[2] = 0  # a row without any frame
    initial = {f"rnn/{s}": frames(1, 4, 6, 3 + k)[0] for k, s in enumerate(kind.states)} if started else None
    given = {"initial_state": list(initial.values())} if started else {}
    expected, *states = answered(layer(x, mask=mask.astype(bool), **given))
    made, state = rnnrt.from_graph(b.graph())(x, mask=mask, initial_state=initial, return_state=True)
    assert np.abs(made - (expected[:, ::-1] if backwards else expected)).max() < 1e-5
    for name, a in zip(kind.states, states):
        assert np.abs(state.arrays()[f"rnn/{name}"] - a).max() < 1e-5


@pytest.mark.parametrize("word", ["GRU", "LSTM"])
def test_a_masked_bidirectional_layer_and_masked_mean_answer_as_in_keras(word):
    keras = need("keras")
    both = keras.layers.Bidirectional(getattr(keras.layers, word)(5, return_sequences=True))
    built(both)
    b = L.GraphBuilder()
    x = b.input("x", (3,))
    m = b.add(L.NotEqual, "masking", x, value=-1.0)
    parts = []
    for reverse, layer in enumerate((both.forward_layer, both.backward_layer)):
        kind, fields = of_keras(layer)
        fields |= {"mask": m, "masked_output": "zero", "reverse": bool(reverse)}  # Bidirectional makes it so
        parts.append(b.add(kind, f"rnn{reverse}", x, **fields))
    y = b.add(L.Concatenate, "cat", *parts)
    b.output("y", y)
    b.output("mean", b.add(L.GlobalAveragePool, "mean", y, mask=m))
    x, mask = frames(4, 20), mask_of(4, 20)
    mask[2] = 0
    x[mask == 0] = -1
    x[0, 3, 0] = x[0, 4, 1] = -1  # one number that is -1 masks no frame
    masked = keras.layers.Masking(-1.0)
    assert (np.asarray(masked.compute_mask(x).cpu()) == (mask != 0)).all()
    expected = both(x, mask=mask.astype(bool))
    mean = keras.layers.GlobalAveragePooling1D()(expected, mask=mask.astype(bool))
    made = rnnrt.from_graph(b.graph())(x)
    for found, wanted in zip(made, answered([expected, mean])):
        assert (np.isnan(found) == np.isnan(wanted)).all()
        assert np.nanmax(np.abs(found - wanted)) < 1e-5
    assert np.isnan(made[1][2]).all() and np.isfinite(made[1][[0, 1, 3]]).all()  # a mean over no frames


# ---- what a mask means -------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", MASKED, ids=lambda c: c.name)
def test_the_masked_cases_have_frames_of_both_sorts(case):
    graph, x = case.graph(), case.sample(2, 171)
    inside = [layer.graph for layer in graph.layers if layer.kind == "time_distributed"]
    if inside:
        graph, x = inside[0], x.reshape(-1, inside[0]["frame"].length, 2)
    masks = {x.reads[-1] for x in graph.layers if len(x.reads) > len(x.inputs)}
    shown = graph.replace(graph.layers, outputs=sorted(masks))
    for mask in reference.run(shown, {graph.inputs[0]: x})[0].values():
        assert 0.05 < (mask != 0).mean() < 0.99


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("kind", CELLS)
def test_a_row_answers_as_if_its_masked_frames_were_not_there(kind, output, reverse):
    model = rnnrt.from_graph(network(kind, masked_output=output, reverse=reverse), lift=False)
    x, mask = frames(), mask_of()
    made = model.run({"x": x, "m": mask})
    for b in range(4):
        real = np.flatnonzero(mask[b])
        alone = model.run({"x": x[b, real], "m": np.ones(len(real))})
        walked = real[::-1] if reverse else real
        for name, y in made.items():
            if y.ndim == 2:
                assert same_bits(y[b], alone[name])
                continue
            assert same_bits(y[b, real], alone[name])
            for t in set(range(70)) - set(real):
                before = [k for k in walked if (k > t if reverse else k < t)]
                held = output == "hold" and before
                assert same_bits(y[b, t], y[b, before[-1]] if held else np.zeros_like(y[b, t])), (name, t)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("norm", ["none", "gates"])
@pytest.mark.parametrize("kind", CELLS)
def test_rows_that_are_all_real_have_the_bits_of_the_layer_without_a_mask(kind, norm, reverse):
    fields = {"reverse": reverse} | ({"norm": norm} if kind is not L.Scan else {})
    x = frames()
    plain = rnnrt.from_graph(network(kind, None, **fields)).run({"x": x})
    model = rnnrt.from_graph(network(kind, **fields))
    assert same_answers(model.run({"x": x, "m": np.ones((4, 70))}), plain)
    beside = model.run({"x": x, "m": mask_of()})  # row 0 is all real, whatever the others are
    assert all(same_bits(beside[name][0], y[0]) for name, y in plain.items())


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", CELLS)
def test_a_mask_of_first_frames_has_the_bits_of_lengths(kind, reverse):
    x, lengths = frames(), np.array([70, 1, 33, 57])
    mask = (np.arange(70) < lengths[:, None]).astype(np.float32)
    masked = rnnrt.from_graph(network(kind, masked_output="zero", reverse=reverse), lift=False)
    packed = rnnrt.from_graph(network(kind, None, reverse=reverse), lift=False)
    y, state = masked(x, mask=mask, return_state=True)
    z, packed_state = packed(x, lengths=lengths, return_state=True)
    again = masked(x, lengths=lengths)  # which makes that mask
    assert all(same_bits(a, b) and same_bits(a, c) for a, b, c in zip(y, z, again))
    assert same_answers(state.arrays(), packed_state.arrays())
    held = rnnrt.from_graph(
        network(kind, reverse=reverse), lift=False
    )  # lengths pack nothing where they mask
    assert all(same_bits(a, b) for a, b in zip(held(x, lengths=lengths), held(x, mask=mask)))


def test_a_masked_mean_is_that_of_the_real_frames_so_far():
    def mean(**fields):
        b = L.GraphBuilder()
        x = b.input("x", (3,))
        fields = {"mask": b.input("m", ())} if fields else {}
        b.output("y", b.add(L.GlobalAveragePool, "mean", x, **fields))
        return rnnrt.from_graph(b.graph())

    model, plain, x, mask = mean(masked=True), mean(), frames(), mask_of()
    made, stream = model(x, mask=mask), model.stream(4, every_step=True)
    for t in range(70):
        y = stream.step(x[:, t], mask=mask[:, t])
        for row, (a, real) in enumerate(zip(x[:, : t + 1], mask[:, : t + 1] != 0)):
            assert same_bits(y[row], plain(a[real])) if real.any() else np.isnan(y[row]).all()
    assert same_bits(y, made)


@pytest.mark.parametrize("kind", CELLS)
def test_past_the_end_of_a_packed_row_nothing_is_held(kind):
    b = L.GraphBuilder()
    x = b.input("x", (3,))
    told = b.add(L.NotEqual, "told", b.add(L.Activation, "relu", x, activation="relu"))
    b.output("y", cell(b, x, kind, mask=told))
    x, lengths = frames(), np.array([70, 1, 33, 57])
    x[:, ::3] = -1
    made = rnnrt.from_graph(b.graph(), lift=False)(x, lengths=lengths)
    expected = reference.run(b.graph(), {"x": x}, lengths=lengths)[0]["y"]
    assert np.abs(made - expected).max() < 1e-5
    for row, end in zip(made, lengths):
        assert not row[end:].any() and row[end - end % 3 - 1 : end].all()


@pytest.mark.parametrize("garbage", [np.nan, np.inf, 1e38])
@pytest.mark.parametrize("kind", CELLS)
def test_what_stands_in_a_masked_frame_reaches_nothing(kind, garbage):
    b = L.GraphBuilder()
    x, m = b.input("x", (3,)), b.input("m", ())
    y = cell(b, x, kind, mask=m)
    b.output("y", y)
    b.output("mean", b.add(L.GlobalAveragePool, "mean", x, mask=m))
    model = rnnrt.from_graph(b.graph(), lift=False)
    x, mask = frames(), mask_of()
    spoiled = x.copy()
    spoiled[mask == 0] = garbage
    made = model.run({"x": x, "m": mask})
    assert all(np.isfinite(y).all() for y in made.values())
    assert same_answers(model.run({"x": spoiled, "m": mask}), made)
    stream = model.stream(4)
    for t in range(70):
        answer = stream.step(spoiled[:, t], mask=mask[:, t])
        assert same_bits(answer[0], np.ascontiguousarray(made["y"][:, t]))
        assert stream.finite.all()
    assert same_bits(stream.flush()[1][:, 0], made["mean"])


def test_outputs_are_zeros_before_the_first_real_frame_wherever_the_states_start():
    x, start = frames(2, 6), np.full((2, 6), 0.5, np.float32)
    mask = np.array([[0, 0, 1, 0, 1, 0], [0, 0, 0, 0, 0, 0]], np.float32)
    for kind, names in ((L.GRU, ("h",)), (L.LSTM, ("h", "c")), (L.SimpleRNN, ("h",))):
        name = kind.__name__.lower()
        model = rnnrt.from_graph(network(kind))
        initial = {f"{name}/{s}": start for s in names}
        made, state = model(x, mask=mask, initial_state=initial, return_state=True)
        assert not made[0][:, :2].any() and made[0][0, 2].all() and not made[0][1].any()
        for s in names:
            assert (state.arrays()[f"{name}/{s}"][1] == 0.5).all()
        stream = model.stream(2, initial_state=initial)
        first = stream.push(x[:, :1], mask=mask[:, :1])[0]
        assert not first.any() and (stream.state.arrays()[f"{name}/h"] == 0.5).all()


def test_a_masked_scan_starts_where_an_edge_or_the_caller_says():
    b = L.GraphBuilder()
    x, m, h0 = b.input("x", (3,)), b.input("m", ()), b.input("h0", (5,), time=False)
    step = steps.two_widths(generator(), 3)
    b.output(
        "y",
        b.add(L.Scan, "scan", x, h0, graph=step, states=("slow", "was", "fast"), started=("slow",), mask=m),
    )
    b.output("slow", "scan:slow")
    graph, given = b.graph(), {"x": frames(), "m": mask_of(), "h0": frames(1, 4, 5)[0]}
    model = rnnrt.from_graph(graph)
    for start in ({}, {"scan/slow": frames(1, 4, 5, 7)[0], "scan/fast": frames(1, 4, 3, 8)[0]}):
        made = model(given["x"], given["m"], given["h0"], initial_state=start)
        expected = reference.run(graph, given, start)[0]
        assert max(np.abs(y - expected[o.name]).max() for y, o in zip(made, graph.outputs)) < 1e-5


def test_a_frame_differs_from_a_value_where_any_of_its_numbers_does():
    tiny, nan = np.float32(1e-42), np.nan
    x = np.array([[0, 0], [-0.0, 0], [tiny, 0], [0, -tiny], [nan, 0], [3, 3], [0, 3]], np.float32)
    for value, expected in ((0.0, [0, 0, 1, 1, 1, 1, 1]), (3.0, [1, 1, 1, 1, 1, 0, 1]), (1e-42, [1] * 7)):
        b = L.GraphBuilder()
        b.output("y", b.add(L.NotEqual, "mask", b.input("x", (2,)), value=value))
        graph = b.graph()
        for made in (rnnrt.from_graph(graph)(x[None]), reference.run(graph, {"x": x[None]})[0]["y"]):
            assert made[0, :, 0].tolist() == expected
    with pytest.raises(rnnrt.ShapeError, match=r"mask.*finite.*1e\+60"):
        L.NotEqual("mask", "x", value=1e60)


# ---- masks and time ----------------------------------------------------------------------------------------


def strided(b, x, mask):
    return cell(b, conv(b, x, generator(), 6, 3, stride=2), L.LSTM, mask=mask)


def test_a_mask_that_does_not_keep_step_with_its_frames_is_refused():
    b = L.GraphBuilder()
    x, m = b.input("x", (3,)), b.input("m", ())
    b.output("y", strided(b, x, m))
    model = rnnrt.from_graph(b.graph())
    with pytest.raises(rnnrt.ShapeError, match="lstm.*frames"):
        model(frames(), mask=mask_of())
    with pytest.raises(rnnrt.NotStreamableError, match="lstm.*mask that does not keep step"):
        model.stream()
    b = L.GraphBuilder()
    with pytest.raises(rnnrt.ShapeError, match="lstm.*same time"):
        strided(b, b.input("x", (3,), length=70), b.input("m", (), length=70))


@pytest.mark.parametrize(("features", "time"), [((2,), True), ((1,), False)])
def test_a_mask_is_one_number_a_frame(features, time):
    b = L.GraphBuilder()
    x, m = b.input("x", (3,)), b.input("m", features, time=time)
    for add in (
        lambda: cell(b, x, L.LSTM, mask=m),
        lambda: b.add(L.GlobalAveragePool, "mean", x, mask=m),
        lambda: cell(b, x, L.Scan, mask=m),
    ):
        with pytest.raises(rnnrt.ShapeError, match="mask must be a sequence of one number a frame"):
            add()


def test_fields_that_lie_about_a_mask_are_refused():
    b = L.GraphBuilder()
    x = b.input("x", (3,))
    with pytest.raises(rnnrt.ShapeError, match="masked_output.*'hold' or 'zero'.*'keep'"):
        cell(b, x, L.LSTM, masked_output="keep")
    lstm = cell(b, x, L.LSTM)
    layers = [dataclasses.replace(layer, mask="later") if layer.name == lstm else layer for layer in b.layers]
    with pytest.raises(rnnrt.ShapeError, match="lstm.*reads 'later', which no layer before it makes"):
        L.Graph(layers, outputs="lstm")
    w, u, bias, _ = cell_weights(generator(), 1, 6, 6)
    step = steps.rnn(w, u, bias)
    with pytest.raises(rnnrt.ShapeError, match="scan.*no frames to mask"):
        L.Scan("scan", "x", graph=step, states=("x", "h"), per_step=0, steps=3, mask="m")


# ---- passes and files --------------------------------------------------------------------------------------


def test_a_pass_changes_nothing_that_a_mask_is_made_of():
    """x0 + mean(x1) - beta is 0 exactly as the norm is written, and a rounding away from it once folded."""
    b, r = L.GraphBuilder(), generator()
    x = b.input("x", (3,))
    norm = {"mean": [0.1, 0.2], "variance": [0.3, 0.7], "gamma": [1.7, 0.9], "beta": [0.3, 0.4]}
    product = b.add(L.Dense, "product", x, weight=weights(r, 2, 3), bias=weights(r, 2))
    y = b.add(L.Activation, "act", b.add(L.BatchNormalization, "bn", product, **norm), activation="relu")
    m = b.add(L.NotEqual, "mask", y)
    read = b.add(L.BatchNormalization, "read", x, mean=[0.1] * 3, variance=[0.9] * 3)
    y = b.add(L.Dense, "reader", read, weight=weights(r, 2, 3), activation="relu")
    m = b.add(L.Multiply, "both", m, b.add(L.NotEqual, "also", y))
    scan = b.add(L.Scan, "cell", x, graph=steps.rnn(*cell_weights(r, 1, 4, 3)[:3]), states=("h",))
    other = b.add(L.NotEqual, "other", scan)
    plain = dense(b, b.add(L.BatchNormalization, "bn2", dense(b, x, r, 2), **norm), r, 3)
    b.output("y", cell(b, plain, L.LSTM, mask=m))
    b.output("z", cell(b, x, L.GRU, mask=other))
    run = passes.optimise(b.graph())
    names = [x.name for x in run.layers]
    assert {"product", "bn", "act", "mask", "read"} <= {*names} and "bn2" not in names
    assert run["cell"].kind == "scan"


def test_a_lifted_scan_keeps_its_mask():
    w, u, bias, _ = cell_weights(generator(), 4, 6, 3)
    for output in OUTPUTS:
        b = L.GraphBuilder()
        x, m = b.input("x", (3,)), b.input("m", ())
        fields = {"graph": steps.lstm(w, u, bias), "states": ("h", "c"), "reverse": output == "zero"}
        b.output("y", b.add(L.Scan, "scan", x, mask=m, masked_output=output, **fields))
        graph = b.graph()
        lifted = passes.optimise(graph)["scan"]
        assert (lifted.kind, lifted.mask, lifted.masked_output) == ("lstm", "m", output)
        given = {"x": frames(), "m": mask_of()}
        made, apart = rnnrt.from_graph(graph).run(given), rnnrt.from_graph(graph, lift=False).run(given)
        assert np.abs(made["y"] - apart["y"]).max() < 1e-6


def test_a_dead_layer_that_a_mask_reads_is_not_dead_and_a_trivial_one_is_passed_by():
    b = L.GraphBuilder()
    x = b.input("x", (3,))
    told = b.add(L.NotEqual, "told", b.add(L.Activation, "relu", x, activation="relu"))
    same = b.add(L.Activation, "same", told, activation="linear")
    b.output("y", cell(b, x, L.GRU, mask=same))
    run = passes.optimise(b.graph())
    assert run["gru"].mask == "told" and [x.name for x in run.layers] == ["x", "relu", "told", "gru"]


def test_masks_are_saved_and_files_without_them_stay_what_they_were(tmp_path):
    model = rnnrt.from_graph(network(L.LSTM, masked_output="zero"))
    model.save(tmp_path / "m.rnnrt")
    loaded = rnnrt.load(tmp_path / "m.rnnrt", verify=True)
    assert loaded.fingerprint == model.fingerprint
    assert (loaded.graph["lstm"].mask, loaded.graph["lstm"].masked_output) == ("m", "zero")
    x, mask = frames(), mask_of()
    assert all(same_bits(a, b) for a, b in zip(loaded(x, mask=mask), model(x, mask=mask)))
    plain = network(L.LSTM, None)
    assert not any("mask" in key for layer in graph_json.encode(plain)[0]["layers"] for key in layer)
    held = network(L.LSTM)
    kept = {key for layer in graph_json.encode(held)[0]["layers"] for key in layer if "mask" in key}
    assert kept == {"mask"}
    prints = {rnnrt.from_graph(g).fingerprint for g in (plain, held, model.graph)}
    assert len(prints) == 3


def test_a_fingerprint_is_that_of_the_files_before_there_were_masks():
    b = L.GraphBuilder()
    half = lambda *shape: np.full(shape, 0.5)
    y = b.add(L.LSTM, "lstm", b.input("x", (1,)), weight=half(4, 1), recurrent_weight=half(4, 1))
    w, u, bias = half(1, 1), half(1, 1), half(1)
    y = b.add(L.Scan, "scan", y, graph=steps.rnn(w, u, bias), states=("h",))
    b.output("y", b.add(L.GlobalAveragePool, "mean", y))
    assert rnnrt.from_graph(b.graph()).fingerprint == FINGERPRINT


#: Of the network above.
FINGERPRINT = "bbdd4d8aae8a50ccb7fa5893d3354ec86b940423e2ba75559ac34ea32836474e"


def test_the_engine_is_told_which_value_is_the_mask():
    rows, _, _ = lowering.descs_of(network(L.GRU, masked_output="zero"))
    assert [row.get("mask") for row in rows] == [None, None, 1]
    assert rows[2]["masked_output"] == 2 and rows[2]["input"] == [0]
