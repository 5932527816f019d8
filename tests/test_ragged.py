"""Rows of different length, in a list or an array of objects: each answers as if it were alone."""

import numpy as np
import pytest
from case_layers import recurrent
from cases import CASES
from needs import need

import rnnrt
from rnnrt import layers as L
from rnnrt.ragged import is_ragged

LENGTHS = [7, 3, 12, 7, 1, 3, 9, 12, 3]


def generator(seed=0):
    return np.random.default_rng(seed)


def rows_of(features=3, lengths=LENGTHS, seed=1):
    return [
        generator((seed, k)).standard_normal((n, features)).astype(np.float32) for k, n in enumerate(lengths)
    ]


def objects(rows):
    made = np.empty(len(rows), object)
    made[:] = rows
    return made


def network(kind=L.GRU, features=3, mask=False, **fields):
    """Every frame's output, the last one and the mean of them."""
    b = L.GraphBuilder()
    x = b.input("x", (features,))
    if mask:
        fields["mask"] = b.input("m", ())
    y = recurrent(b, x, generator(), kind, 5, name="rnn", **fields)
    b.output("y", y)
    b.output("h", f"{y}:h")
    b.output("mean", b.add(L.GlobalAveragePool, "mean", y))
    return rnnrt.from_graph(b.graph())


def same_bits(a, b):
    return a.shape == b.shape and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("form", [list, tuple, objects], ids=["list", "tuple", "objects"])
def test_each_row_answers_as_if_it_were_alone_and_in_its_place(form, reverse):
    model, rows = network(reverse=reverse), rows_of()
    y, h, mean = model(form(rows))
    assert isinstance(y, list) and isinstance(h, np.ndarray) and h.shape == mean.shape == (9, 5)
    for k, row in enumerate(rows):
        assert all(same_bits(a, b) for a, b in zip((y[k], h[k], mean[k]), model(row)))
    again = model.run({"x": form(rows)})
    assert all(same_bits(a, b) for a, b in zip(again["y"], y)) and same_bits(again["h"], h)


def test_rows_of_one_length_are_an_array_or_rows_as_well():
    model, rows = network(), rows_of(lengths=[6] * 4)
    array = model(rows)
    assert array[0].shape == (4, 6, 5)
    one_by_one = model(objects(rows))
    assert all(same_bits(a, b) for a, b in zip(array[0], one_by_one[0]))
    assert same_bits(array[1], one_by_one[1])
    alone = model(objects(rows[:1]))
    assert len(alone[0]) == 1 and same_bits(alone[0][0], array[0][0])


@pytest.mark.parametrize("case", CASES[::9], ids=lambda c: c.name)
def test_rows_of_different_length_in_every_kind_of_network(case):
    graph = case.graph()
    fixed = [graph.signals[name] for name in graph.inputs if graph.signals[name].length]
    if fixed or len(graph.inputs) != 1 or not graph.signals[graph.inputs[0]].time:
        return  # one length, or several inputs
    model = rnnrt.from_graph(graph)
    rows = [case.sample(1, n)[0] for n in (40, 57, 40, 90)]
    made = model(rows)
    made = made if isinstance(made, tuple) else (made,)
    for k, row in enumerate(rows):
        alone = model(row)
        for a, b in zip(made, alone if isinstance(alone, tuple) else (alone,)):
            assert same_bits(np.ascontiguousarray(a[k]), b)


def test_other_axes_and_ids():
    b = L.GraphBuilder()
    x = b.input("x", (3,), axes="bft")
    b.output("y", recurrent(b, x, generator(), L.LSTM, 4), "bft")
    model, rows = rnnrt.from_graph(b.graph()), [row.T for row in rows_of()]
    for row, y in zip(rows, model(rows)):
        assert same_bits(np.ascontiguousarray(y), model(row)) and y.shape == (4, row.shape[1])
    b = L.GraphBuilder()
    x = b.input("x", (3,), axes="tbf")
    b.output("y", recurrent(b, x, generator(), L.LSTM, 4), "tbf")
    model, rows = rnnrt.from_graph(b.graph()), rows_of()
    for row, y in zip(rows, model(rows)):
        assert same_bits(np.ascontiguousarray(y), model(row))
    b = L.GraphBuilder()
    e = b.add(L.Embedding, "e", b.input("ids", (), ids=True), weight=generator().standard_normal((7, 3)))
    b.output("y", recurrent(b, e, generator(), L.GRU, 4))
    model = rnnrt.from_graph(b.graph())
    words = [[1, 2, 3], [6], [4, 0], [5, 5, 1]]
    for row, y in zip(words, model(words)):
        assert same_bits(y, model(row))
    with pytest.raises(rnnrt.ShapeError, match=r"row 2.*'ids'.*time 1.*out of range.*found 9"):
        model([[1, 2, 3], [6], [4, 9], [5, 5, 1]])


def test_masks_states_and_several_inputs_go_row_by_row():
    model, rows = network(mask=True), rows_of()
    masks = [generator((7, k)).random(len(row)) < 0.6 for k, row in enumerate(rows)]
    start = generator(3).standard_normal((9, 5)).astype(np.float32)
    for given in ({"mask": masks}, {"mask": {"m": objects(masks)}}):
        (y, h, _), state = model(rows, **given, initial_state={"rnn/h": start}, return_state=True)
        for k, row in enumerate(rows):
            (y1, h1, _), one = model(row, mask=masks[k], initial_state={"rnn/h": start[k]}, return_state=True)
            assert same_bits(y[k], y1) and same_bits(h[k], h1)
            assert same_bits(state.arrays()["rnn/h"][k], one.arrays()["rnn/h"])
    b = L.GraphBuilder()
    x, z, v = b.input("x", (3,)), b.input("z", (2,)), b.input("v", (4,), time=False)
    h = recurrent(b, x, generator(), L.GRU, 4, name="encoder")
    weight = generator(2).standard_normal((4, 4))
    state = b.add(L.Add, "start", f"{h}:h", b.add(L.Dense, "dense", v, weight=weight))
    fields = {"weight": generator(4).standard_normal((12, 2)), "recurrent_weight": np.eye(12, 4)}
    b.output("y", b.add(L.GRU, "decoder", z, state, **fields))
    model, others = rnnrt.from_graph(b.graph()), rows_of(2, LENGTHS[::-1], 5)
    value = generator(6).standard_normal((9, 4)).astype(np.float32)
    for k, y in enumerate(model(rows, others, value)):
        assert same_bits(y, model(rows[k], others[k], value[k]))
    fixed = np.stack([row[:1] for row in others])
    for k, y in enumerate(model(rows, fixed, value)):
        assert same_bits(y, model(rows[k], fixed[k], value[k]))
    with pytest.raises(rnnrt.ShapeError, match="'z'.*different numbers of rows.*expected 9.*found 8"):
        model(rows, others[:8], value)


def test_errors_name_the_row():
    model, rows = network(), rows_of()
    bad = list(rows)
    bad[5] = np.zeros((3, 4), np.float32)
    with pytest.raises(rnnrt.ShapeError, match=r"row 5.*'x'.*wrong shape.*\(1, 3, 4\)|row 5.*\(3, 4\)"):
        model(bad)
    bad[5] = np.zeros((4, 3, 3), np.float32)
    with pytest.raises(rnnrt.ShapeError, match=r"row 5.*'x'.*\(4, 3, 3\)"):
        model(bad)
    bad[5] = ["a", "b"]
    with pytest.raises(rnnrt.DTypeError, match=r"row 5.*'x'"):
        model(bad)
    bad[5] = np.zeros((0, 3), np.float32)
    with pytest.raises(rnnrt.ShapeError, match=r"row 5.*'x'.*no frames"):
        model(bad)
    bad[5] = np.zeros((3, 3), complex)
    with pytest.raises(rnnrt.DTypeError, match=r"row 5.*complex"):
        model(bad)
    for options in ({"lengths": [1] * 9}, {"out": np.empty((9, 5), np.float32)}):
        with pytest.raises(rnnrt.UnsupportedModelError, match="rows of different length"):
            model(rows, **options)
    b = L.GraphBuilder()
    b.output("y", b.add(L.MaxPool1D, "pool", b.input("x", (3,)), size=4, stride=4))
    with pytest.raises(rnnrt.ShapeError, match="row 4.*too short"):
        rnnrt.from_graph(b.graph())(rows)
    masked = network(mask=True)
    with pytest.raises(rnnrt.ShapeError, match=r"row 4.*'m': 2"):
        masked(rows, mask=[np.ones(len(row) + (k == 4)) for k, row in enumerate(rows)])


def test_progress_is_told_of_all_rows_and_ends_at_the_total():
    model, rows, told = network(), rows_of(lengths=[200, 300, 200, 250] * 20), []
    made = model(rows, progress=lambda done, total: told.append((done, total)))
    done, totals = zip(*told)
    assert len(set(totals)) == 1 and list(done) == sorted(done) and done[-1] == totals[0]
    assert all(same_bits(a, b) for a, b in zip(made[0], model(rows)[0]))

    class Enough(Exception):
        pass

    def stop(done, total):
        raise Enough

    with pytest.raises(Enough):
        model(rows, progress=stop)


def test_many_rows_run_in_as_many_groups_as_there_are_lengths(monkeypatch):
    """Not row by row; and rows that would take too much memory side by side are cut into parts."""
    model, rows, calls = network(), rows_of(lengths=generator().integers(1, 9, 500)), []
    answer = model._calls.answer
    monkeypatch.setattr(model._calls, "answer", lambda *a, **k: calls.append(len(a[0][0])) or answer(*a, **k))
    made = model(rows)
    lengths = [len(row) for row in rows]
    assert calls[0] == 500 and sorted(calls[1:]) == sorted(np.unique(lengths, return_counts=True)[1])
    monkeypatch.setattr("rnnrt.ragged._MOST_STACKED", 100)
    again = model(rows)
    assert max(calls[10:]) <= 33 and all(same_bits(a, b) for a, b in zip(made[0], again[0]))


def test_what_is_ragged_and_what_is_one_array():
    assert is_ragged([[1], [1, 2]]) and is_ragged(objects([[1], [2]])) and is_ragged(([1], [1, 2]))
    for x in ([[1, 2], [3, 4]], [1, 2, 3], np.zeros((3, 2)), [], [[1, 2]], None, "ab", 3):
        assert not is_ragged(x)
    assert is_ragged([np.zeros((3, 4)), np.zeros((3, 5))], 1)
    assert not is_ragged([np.zeros((2, 4)), np.zeros((3, 4))], 1)


@pytest.mark.parametrize("packed", [False, True])
def test_rows_of_a_torch_module(packed):
    torch = need("torch")
    lstm = torch.nn.LSTM(3, 4, bidirectional=True, batch_first=True).eval()
    model, rows = rnnrt.from_torch(lstm), rows_of()
    for row, y in zip(rows, model([torch.tensor(row) for row in rows] if packed else rows)):
        with torch.no_grad():
            assert np.abs(lstm(torch.tensor(row[None]))[0][0].numpy() - y).max() < 1e-5
