"""The textbook's functions against the equations element by element and torch; `from_numpy`'s graph against
the textbook.
"""

import math

import numpy as np
import pytest
from needs import need

import rnnrt
from rnnrt import reference, textbook
from rnnrt.errors import DTypeError, RnnrtError, ShapeError, UnsupportedModelError
from rnnrt.importers import numpy as importer


def rnn_parameters(n_x, n_a, n_y, seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"Wax": (n_a, n_x), "Waa": (n_a, n_a), "Wya": (n_y, n_a), "ba": (n_a, 1), "by": (n_y, 1)}
    return {
        name: rng.standard_normal(shape).astype(np.float32).astype(np.float64)
        for name, shape in shapes.items()
    }


def lstm_parameters(n_x, n_a, n_y, seed=0):
    rng = np.random.default_rng(seed)
    shapes = (
        {f"W{g}": (n_a, n_a + n_x) for g in "fico"}
        | {f"b{g}": (n_a, 1) for g in "fico"}
        | {"Wy": (n_y, n_a), "by": (n_y, 1)}
    )
    return {
        name: rng.standard_normal(shape).astype(np.float32).astype(np.float64)
        for name, shape in shapes.items()
    }


def sequence(n_x, m, steps, n_a, seed=1):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n_x, m, steps)), rng.standard_normal((n_a, m))


SIZES = [(3, 5, 2, 10, 4), (1, 1, 1, 1, 1), (4, 3, 6, 2, 1), (2, 7, 3, 1, 5)]  # n_x, n_a, n_y, m, T_x


def dot(row, column):
    return sum(w * v for w, v in zip(row, column, strict=True))


def softmax_by_hand(scores):
    total = sum(math.exp(s) for s in scores)
    return [math.exp(s) / total for s in scores]


def test_an_rnn_step_is_the_textbook_s_equation_in_scalars():
    p = rnn_parameters(3, 2, 2)
    x, a0 = sequence(3, 4, 1, 2)
    a_next, y, cache = textbook.rnn_cell_forward(x[:, :, 0], a0, p)
    for e in range(4):
        a = [
            math.tanh(dot(p["Wax"][k], x[:, e, 0]) + dot(p["Waa"][k], a0[:, e]) + p["ba"][k, 0])
            for k in range(2)
        ]
        assert a_next[:, e] == pytest.approx(a, abs=1e-12)
        assert y[:, e] == pytest.approx(
            softmax_by_hand([dot(p["Wya"][k], a) + p["by"][k, 0] for k in range(2)]), abs=1e-12
        )
    assert cache[0] is a_next and cache[1] is a0 and cache[3] is p
    np.testing.assert_array_equal(cache[2], x[:, :, 0])


def test_an_lstm_step_is_the_textbook_s_equation_in_scalars():
    p = lstm_parameters(2, 3, 2)
    x, a0 = sequence(2, 2, 1, 3)
    c0 = np.random.default_rng(5).standard_normal((3, 2))
    a_next, c_next, y, cache = textbook.lstm_cell_forward(x[:, :, 0], a0, c0, p)
    for e in range(2):
        column = [*a0[:, e], *x[:, e, 0]]
        gate = {g: [dot(p[f"W{g}"][k], column) + p[f"b{g}"][k, 0] for k in range(3)] for g in "fico"}
        s = {g: [1 / (1 + math.exp(-v)) for v in gate[g]] for g in "fio"}
        c = [s["f"][k] * c0[k, e] + s["i"][k] * math.tanh(gate["c"][k]) for k in range(3)]
        a = [s["o"][k] * math.tanh(c[k]) for k in range(3)]
        assert c_next[:, e] == pytest.approx(c, abs=1e-12)
        assert a_next[:, e] == pytest.approx(a, abs=1e-12)
        assert y[:, e] == pytest.approx(
            softmax_by_hand([dot(p["Wy"][k], a) + p["by"][k, 0] for k in range(2)]), abs=1e-12
        )
        for position, name in ((4, "f"), (5, "i"), (7, "o")):
            assert cache[position][:, e] == pytest.approx(s[name], abs=1e-12)
        assert cache[6][:, e] == pytest.approx([math.tanh(v) for v in gate["c"]], abs=1e-12)
    assert cache[0] is a_next and cache[1] is c_next and cache[2] is a0 and cache[3] is c0 and cache[9] is p
    assert len(cache) == 10


@pytest.mark.parametrize("n_x, n_a, n_y, m, steps", SIZES)
def test_the_loops_are_the_cells_step_by_step(n_x, n_a, n_y, m, steps):
    x, a0 = sequence(n_x, m, steps, n_a)
    p = rnn_parameters(n_x, n_a, n_y)
    a, y, caches = textbook.rnn_forward(x, a0, p)
    assert (
        a.shape == (n_a, m, steps)
        and y.shape == (n_y, m, steps)
        and len(caches[0]) == steps
        and caches[1] is x
    )
    before = a0
    for t in range(steps):
        before, now, _ = textbook.rnn_cell_forward(x[:, :, t], before, p)
        np.testing.assert_array_equal(a[:, :, t], before)
        np.testing.assert_array_equal(y[:, :, t], now)
    p = lstm_parameters(n_x, n_a, n_y)
    a, y, c, caches = textbook.lstm_forward(x, a0, p)
    assert len(caches[0]) == steps and caches[1] is x and len(caches[0][0]) == 10
    before, cell = a0, np.zeros((n_a, m))
    for t in range(steps):
        before, cell, now, _ = textbook.lstm_cell_forward(x[:, :, t], before, cell, p)
        for whole, part in ((a, before), (c, cell), (y, now)):
            np.testing.assert_array_equal(whole[:, :, t], part)


@pytest.mark.parametrize("n_x, n_a, n_y, m, steps", SIZES)
@pytest.mark.parametrize("kind", ["rnn", "lstm"])
def test_the_imported_graph_says_what_the_textbook_says(kind, n_x, n_a, n_y, m, steps):
    x, a0 = sequence(n_x, m, steps, n_a)
    if kind == "rnn":
        p = rnn_parameters(n_x, n_a, n_y)
        wanted = dict(zip("ay", textbook.rnn_forward(x, a0, p)))
    else:
        p = lstm_parameters(n_x, n_a, n_y)
        wanted = dict(zip("ayc", textbook.lstm_forward(x, a0, p)))
    graph = importer.read(p)
    assert [o.name for o in graph.outputs] == list(wanted)
    assert all(o.axes == "fbt" for o in graph.outputs)
    assert (
        graph.inputs == ("x", "a0")
        and graph["x"].axes == "fbt"
        and graph["a0"].axes == "fb"
        and not graph["a0"].time
    )
    assert graph.metadata == {"source": "numpy", "optional_inputs": ["a0"]}
    outputs, _ = reference.run(graph, {"x": x.transpose(1, 2, 0), "a0": a0.T})
    for name, array in wanted.items():
        np.testing.assert_allclose(outputs[name].transpose(2, 0, 1), array, rtol=1e-11, atol=1e-12)


def test_torch_s_lstm_with_the_same_gates_says_the_same():
    torch = need("torch")
    p = lstm_parameters(4, 3, 2)
    x, a0 = sequence(4, 5, 6, 3)
    lstm = torch.nn.LSTM(4, 3).double()
    with torch.no_grad():
        lstm.weight_ih_l0.copy_(torch.from_numpy(np.concatenate([p[f"W{g}"][:, 3:] for g in "ifco"])))
        lstm.weight_hh_l0.copy_(torch.from_numpy(np.concatenate([p[f"W{g}"][:, :3] for g in "ifco"])))
        lstm.bias_ih_l0.copy_(torch.from_numpy(np.concatenate([p[f"b{g}"][:, 0] for g in "ifco"])))
        lstm.bias_hh_l0.zero_()
        h0 = torch.from_numpy(a0.T.copy())[None]
        out, (_, c) = lstm(torch.from_numpy(x.transpose(2, 1, 0).copy()), (h0, torch.zeros_like(h0)))
        y = torch.softmax(out @ torch.from_numpy(p["Wy"]).T + torch.from_numpy(p["by"][:, 0]), -1)
    a, y_textbook, c_textbook, _ = textbook.lstm_forward(x, a0, p)
    np.testing.assert_allclose(a, out.numpy().transpose(2, 1, 0), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(y_textbook, y.numpy().transpose(2, 1, 0), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(c_textbook[:, :, -1], c[0].numpy().T, rtol=1e-10, atol=1e-12)


def test_extreme_scores_do_not_overflow():
    p = lstm_parameters(1, 2, 2)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        a, y, c, _ = textbook.lstm_forward(np.full((1, 1, 3), 1e4), np.zeros((2, 1)), p)
    assert np.isfinite(a).all() and np.isfinite(y).all() and np.isfinite(c).all()


def without(parameters, name):
    return {k: v for k, v in parameters.items() if k != name}


@pytest.mark.parametrize(
    "change, kind, words",
    [
        (lambda p: without(p, "bc"), ShapeError, "bc"),
        (lambda p: p | {"Wu": np.ones((3, 5))}, UnsupportedModelError, "Wu"),
        (lambda p: p | {"Waa": np.ones((3, 3))}, UnsupportedModelError, "Waa"),
        (lambda p: p | {"bf": np.ones(3)}, ShapeError, r"bf.*reshape\(-1, 1\)"),
        (lambda p: p | {"bf": np.ones((1, 3))}, ShapeError, "bf"),
        (lambda p: p | {"Wc": np.ones((3, 6))}, ShapeError, "Wc"),
        (lambda p: p | {"Wf": np.ones((3, 3))}, ShapeError, "Wf"),
        (lambda p: p | {"Wy": np.ones((0, 3))}, ShapeError, "Wy"),
        (lambda p: p | {"by": np.ones((3, 1))}, ShapeError, "by"),
        (lambda p: p | {"Wo": np.ones((3, 5), complex)}, DTypeError, "Wo"),
        (lambda p: p | {"Wo": np.full((3, 5), "a")}, DTypeError, "Wo"),
        (lambda p: p | {"Wo": np.full((3, 5), 1e39)}, ShapeError, "Wo.*float32"),
        (lambda p: {}, UnsupportedModelError, "Wax"),
        (lambda p: {"kernel": np.ones(3)}, UnsupportedModelError, "kernel"),
        (lambda p: [1, 2], DTypeError, "list"),
    ],
)
def test_a_wrong_dictionary_is_refused_by_name(change, kind, words):
    with pytest.raises(kind, match=words) as caught:
        importer.read(change(lstm_parameters(2, 3, 2)))
    assert isinstance(caught.value, RnnrtError)


def test_wrong_arguments_are_refused_by_name():
    p = rnn_parameters(3, 2, 2)
    with pytest.raises(ShapeError, match="xt"):
        textbook.rnn_cell_forward(np.ones((2, 1)), np.ones((2, 1)), p)
    with pytest.raises(ShapeError, match="examples differ"):
        textbook.rnn_cell_forward(np.ones((3, 4)), np.ones((2, 1)), p)
    with pytest.raises(ShapeError, match="x has"):
        textbook.rnn_forward(np.ones((3, 4)), np.ones((2, 4)), p)
    with pytest.raises(ShapeError, match="a_prev"):
        textbook.rnn_forward(np.ones((3, 4, 2)), np.ones((1, 4)), p)
    with pytest.raises(DTypeError, match="dictionary.*found int"):
        textbook.lstm_forward(np.ones((3, 4, 2)), np.ones((1, 4)), 3)


def test_the_callers_arrays_are_not_touched():
    p = lstm_parameters(2, 3, 2)
    copies = {k: v.copy() for k, v in p.items()}
    importer.read(p)
    assert all((p[k] == copies[k]).all() for k in p)


def test_the_textbooks_networks_stream():
    r = np.random.default_rng(8)
    shapes = {
        "rnn": {"Wax": (4, 3), "Waa": (4, 4), "Wya": (2, 4), "ba": (4, 1), "by": (2, 1)},
        "lstm": {
            **{f"W{g}": (4, 7) for g in "fico"},
            **{f"b{g}": (4, 1) for g in "fico"},
            "Wy": (2, 4),
            "by": (2, 1),
        },
    }
    for shape in shapes.values():
        model = rnnrt.from_numpy({name: r.standard_normal(size) for name, size in shape.items()})
        x, a0 = r.standard_normal((3, 5, 9)).astype(np.float32), r.standard_normal((4, 5)).astype(np.float32)
        whole = model(x, a0)
        stream = model.stream(batch_size=5, inputs={"a0": a0.T})
        parts = [
            stream.push(x[:, :, :4].transpose(1, 2, 0)),
            stream.push(x[:, :, 4:].transpose(1, 2, 0)),
            stream.flush(),
        ]
        for y, pieces in zip(whole, zip(*parts)):
            assert np.concatenate(pieces, 1).transpose(2, 0, 1).tobytes() == np.ascontiguousarray(y).tobytes()


# ---- backwards ---------------------------------------------------------------------------------------------


def differences(loss, array, width=1e-6):
    """The gradient of loss() with respect to an array, one central difference an element."""
    gradient = np.zeros(array.shape)
    for place in np.ndindex(array.shape):
        before = array[place]
        array[place] = before + width
        above = loss()
        array[place] = before - width
        gradient[place] = (above - loss()) / (2 * width)
        array[place] = before
    return gradient


def assert_gradients(found, loss, arrays):
    """``arrays``: {name of the gradient: what it is the gradient of}."""
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].shape == array.shape and found[name].dtype == np.float64
        np.testing.assert_allclose(found[name], differences(loss, array), rtol=1e-6, atol=1e-8, err_msg=name)


def weights_of(parameters):
    """The parameters that hidden states depend on, by the names of their gradients."""
    return {f"d{name}": parameters[name] for name in parameters if name not in ("Wy", "Wya", "by")}


@pytest.mark.parametrize("n_x, n_a, n_y, m, steps", SIZES)
def test_the_rnn_backwards_is_the_slope_of_the_rnn_forwards(n_x, n_a, n_y, m, steps):
    p = rnn_parameters(n_x, n_a, n_y)
    x, a0 = sequence(n_x, m, steps, n_a)
    da = np.random.default_rng(7).standard_normal((n_a, m, steps))
    xt, da_next = x[:, :, 0].copy(), da[:, :, 0]
    found = textbook.rnn_cell_backward(da_next, textbook.rnn_cell_forward(xt, a0, p)[2])
    arrays = {"dxt": xt, "da_prev": a0, **weights_of(p)}
    assert_gradients(found, lambda: (da_next * textbook.rnn_cell_forward(xt, a0, p)[0]).sum(), arrays)
    found = textbook.rnn_backward(da, textbook.rnn_forward(x, a0, p)[2])
    arrays = {"dx": x, "da0": a0, **weights_of(p)}
    assert_gradients(found, lambda: (da * textbook.rnn_forward(x, a0, p)[0]).sum(), arrays)


@pytest.mark.parametrize("n_x, n_a, n_y, m, steps", SIZES)
def test_the_lstm_backwards_is_the_slope_of_the_lstm_forwards(n_x, n_a, n_y, m, steps):
    p = lstm_parameters(n_x, n_a, n_y)
    x, a0 = sequence(n_x, m, steps, n_a)
    rng = np.random.default_rng(7)
    da, dc_next = rng.standard_normal((n_a, m, steps)), rng.standard_normal((n_a, m))
    c0, xt, da_next = rng.standard_normal((n_a, m)), x[:, :, 0].copy(), da[:, :, 0]
    found = textbook.lstm_cell_backward(da_next, dc_next, textbook.lstm_cell_forward(xt, a0, c0, p)[3])

    def loss():
        a, c, *_ = textbook.lstm_cell_forward(xt, a0, c0, p)
        return (da_next * a).sum() + (dc_next * c).sum()

    assert_gradients(found, loss, {"dxt": xt, "da_prev": a0, "dc_prev": c0, **weights_of(p)})
    found = textbook.lstm_backward(da, textbook.lstm_forward(x, a0, p)[3])
    arrays = {"dx": x, "da0": a0, **weights_of(p)}
    assert_gradients(found, lambda: (da * textbook.lstm_forward(x, a0, p)[0]).sum(), arrays)


@pytest.mark.parametrize("kind", ["rnn", "lstm"])
def test_the_slope_of_a_cross_entropy_is_what_the_module_says(kind):
    x, a0 = sequence(3, 4, 5, 2)
    p = rnn_parameters(3, 2, 6) if kind == "rnn" else lstm_parameters(3, 2, 6)
    forward, backward = getattr(textbook, f"{kind}_forward"), getattr(textbook, f"{kind}_backward")
    labels = np.eye(6)[np.random.default_rng(3).integers(6, size=(4, 5))].transpose(2, 0, 1)
    _, y, *_, caches = forward(x, a0, p)
    da = np.einsum("ya,ymt->amt", p["Wya" if kind == "rnn" else "Wy"], y - labels)
    arrays = {"dx": x, "da0": a0, **weights_of(p)}
    assert_gradients(backward(da, caches), lambda: -(labels * np.log(forward(x, a0, p)[1])).sum(), arrays)


def test_wrong_arguments_of_the_backward_passes_are_refused_by_name():
    x, a0 = sequence(3, 4, 5, 2)
    rnn, lstm = rnn_parameters(3, 2, 6), lstm_parameters(3, 2, 6)
    _, _, caches = textbook.rnn_forward(x, a0, rnn)
    _, _, _, lstm_caches = textbook.lstm_forward(x, a0, lstm)
    da = np.ones((2, 4))
    with pytest.raises(ShapeError, match=r"da_next.*\(2, 4\).*\(2, 1\)"):  # NumPy would broadcast it
        textbook.rnn_cell_backward(da[:, :1], caches[0][0])
    with pytest.raises(ShapeError, match=r"dc_next.*\(2, 4\)"):
        textbook.lstm_cell_backward(da, 0.0, lstm_caches[0][0])
    with pytest.raises(DTypeError, match="cache.*a_next, a_prev, xt, parameters.*10 values"):
        textbook.rnn_cell_backward(da, lstm_caches[0][0])
    with pytest.raises(DTypeError, match="cache.*c_prev.*4 values"):
        textbook.lstm_backward(np.ones((2, 4, 5)), caches)
    with pytest.raises(ShapeError, match=r"da has.*\(2, 4, 5\)"):
        textbook.lstm_backward(np.ones((2, 4, 6)), lstm_caches)
    with pytest.raises(DTypeError, match="caches"):
        textbook.rnn_backward(np.ones((2, 4, 5)), caches[0])
    with pytest.raises(DTypeError, match="one step or more"):
        textbook.rnn_backward(np.ones((2, 4, 0)), textbook.rnn_forward(x[:, :, :0], a0, rnn)[2])
