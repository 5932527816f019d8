"""Attention between sequences of different lengths: whole calls, rows of them, files, and what is refused."""

import numpy as np
import pytest
from expect import ROWS, keeps_promise_1, options, refused, same_bits

import rnnrt
from rnnrt import NotStreamableError, ShapeError, reference, timing
from rnnrt import layers as L

WEIGHT = np.array([0.3, -1.2, 0.7, 0.1, -0.4, 2.0], np.float32)
KINDS = {
    "product": {"scale": 0.7},
    "heads": {"heads": 2, "score_activation": "tanh"},
    "causal": {"causal": True},
    "sum": {"weight": WEIGHT, "bias": [0.4], "activation": "tanh", "score_activation": "sigmoid"},
    "masked": {"beside": "mask"},
    "filled": {"beside": "mask", "masked_score": -3.0, "heads": 2},
    "added": {"beside": "added", "weight": WEIGHT},
}
SIZES = ((1, 1), (5, 3), (40, 171), (200, 2))


def graph(beside=None, length=None, **fields):
    b = L.GraphBuilder()
    inputs = [b.input("q", (6,)), b.input("k", (6,), length=length), b.input("v", (4,))]
    if beside:
        inputs.append(b.input("m", ()))
        fields["key_input"] = beside
    b.output("y", b.add(L.Attention, "attention", *inputs, **fields))
    return b.graph()


def given(graph, batch, queries, keys, seed=0):
    r = np.random.default_rng([seed, batch, queries, keys])
    made = {
        name: r.standard_normal((batch, queries if name == "q" else keys, *graph.signals[name].features))
        for name in graph.inputs
    }
    if "m" in made:
        made["m"] = (made["m"] > -0.5) | (np.arange(keys) == keys - 1)
    return {name: x.astype(np.float32) for name, x in made.items()}


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("kind", KINDS)
def test_queries_and_keys_have_lengths_of_their_own(kind, row):
    if row == "blas":
        pytest.importorskip("scipy")
    made = graph(**KINDS[kind])
    model = rnnrt.Model(made, **options(row))
    for queries, keys in SIZES:
        x = given(made, 3, queries, keys)
        y = model(*x.values())
        assert y.shape == (3, queries, 4)
        assert keeps_promise_1({"y": y}, made, x, reference.run(made, x)[0])
        if row != "blas":
            alone = [model(*(a[k : k + 1] for a in x.values())) for k in range(3)]
            assert same_bits(np.concatenate(alone), y)


def test_the_answer_is_what_the_equation_says():
    made = graph(scale=0.5, beside="mask")
    x = given(made, 1, 4, 9)
    score = 0.5 * x["q"][0] @ x["k"][0].T
    score[:, x["m"][0] == 0] = -np.inf
    weight = np.exp(score) / np.exp(score).sum(1, keepdims=True)
    assert np.abs(rnnrt.Model(made)(*x.values())[0] - weight @ x["v"][0]).max() < 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_bits_depend_on_neither_threads_nor_tables(kind):
    made = graph(**KINDS[kind])
    x = given(made, 5, 90, 700)
    answers = [
        rnnrt.Model(made, **options(row))(*x.values()) for row in ROWS if row not in ("blas", "scalar")
    ]
    answers.append(rnnrt.Model(made, num_threads=2)(*x.values()))
    assert all(same_bits(y, answers[0]) for y in answers)


def test_where_every_key_is_masked():
    made = graph(beside="mask")
    x = given(made, 2, 3, 5)
    x["m"][1] = 0
    y = rnnrt.Model(made)(*x.values())
    assert np.isfinite(y[0]).all()
    assert np.isnan(y[1]).all()
    filled = rnnrt.Model(graph(beside="mask", masked_score=-1e9))(*x.values())
    assert np.abs(filled[1] - x["v"][1].mean(0)).max() < 1e-6


def test_a_key_that_is_not_a_number_spoils_the_queries_of_its_row_alone():
    made = graph()
    x = given(made, 2, 3, 5)
    x["k"][1, 4] = np.nan
    y = rnnrt.Model(made)(*x.values())
    assert np.isfinite(y[0]).all()
    assert np.isnan(y[1]).all()


def test_clocks_and_rows_of_different_length():
    made = graph(beside="mask")
    model = rnnrt.Model(made)
    assert model.clocks == timing.clocks(made) == (("q",), ("k", "v", "m"))
    rows = [
        given(made, 1, queries, keys, seed) for seed, (queries, keys) in enumerate(((3, 7), (5, 2), (3, 7)))
    ]
    answers = model(*([row[name][0] for row in rows] for name in made.inputs))
    for row, y in zip(rows, answers):
        assert same_bits(model(*row.values())[0], y)


def test_keys_values_and_mask_have_one_length():
    made = graph(beside="mask")
    x = given(made, 2, 3, 5)
    for name in ("k", "v", "m"):
        with pytest.raises(ShapeError):
            rnnrt.Model(made)(*(x | {name: x[name][:, :4]}).values())


def test_a_mask_is_one_where_none_is_given():
    made = graph(beside="mask")
    assert made.mask_inputs == ("m",)
    x = given(made, 2, 3, 5)
    x["m"][:] = 1
    model = rnnrt.Model(made)
    assert same_bits(model(x["q"], x["k"], x["v"]), model(*x.values()))
    assert graph(beside="added").mask_inputs == ()


def test_it_does_not_stream_and_says_so():
    with pytest.raises(NotStreamableError, match="'attention'.*attends to frames that are known only when"):
        rnnrt.Model(graph()).stream()


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_holds_all_of_it(kind, tmp_path):
    made = graph(**KINDS[kind])
    model = rnnrt.Model(made)
    model.save(tmp_path / "m.rnnrt")
    loaded = rnnrt.load(tmp_path / "m.rnnrt")
    x = given(made, 2, 9, 30)
    assert same_bits(loaded(*x.values()), model(*x.values()))


def test_its_work_grows_with_the_keys():
    assert graph(length=50).work()[0] == 50 * graph().work()[0] == 50 * (6 + 4)


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"heads": 4}, "do not fit one another"),
        ({"heads": 0}, "heads must be a whole number"),
        ({"weight": WEIGHT, "heads": 2}, "one head"),
        ({"weight": WEIGHT[:3]}, "do not fit one another"),
        ({"bias": [1.0]}, "needs a weight"),
        ({"activation": "tanh"}, "needs a weight"),
        ({"weight": WEIGHT, "bias": [1.0, 2.0]}, "bias has the wrong shape"),
        ({"key_input": "other"}, "key_input is not known"),
        ({"scale": float("nan")}, "must be finite"),
        ({"masked_score": float("inf")}, "must be finite"),
    ],
)
def test_what_does_not_fit_is_refused(fields, said):
    refused(ShapeError, lambda: graph(**fields), said)


def test_other_numbers_of_inputs_are_refused():
    b = L.GraphBuilder()
    x = b.input("x", (6,))
    refused(ShapeError, lambda: b.add(L.Attention, "attention", x, x), "reads queries, keys, values")
