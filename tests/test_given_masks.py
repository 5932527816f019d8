"""Masks that a caller gives: with whole inputs, beside the frames of a stream, and of many streams."""

import numpy as np
import pytest
from masked_cells import CELLS, cell, frames, mask_of, network, same_bits

import rnnrt
from rnnrt import layers as L
from rnnrt import passes, verification


def test_a_mask_comes_in_any_form_that_says_which_frames_are_real():
    model = rnnrt.from_graph(network(L.LSTM))
    x, mask = frames(), mask_of()
    made = model(x, mask=mask)
    for given in (
        mask.astype(bool),
        mask.astype(np.int8),
        mask.tolist(),
        {"m": mask},
        np.asfortranarray(mask),
    ):
        assert all(same_bits(a, b) for a, b in zip(model(x, mask=given), made))
    assert all(same_bits(a, b) for a, b in zip(model(x, mask), made))
    assert all(same_bits(a, b[2]) for a, b in zip(model(x[2], mask=mask[2]), made))
    plain = rnnrt.from_graph(network(L.LSTM, None))(x)
    assert all(same_bits(a, b) for a, b in zip(model(x), plain))  # all frames are real
    assert model.inputs == {"x": (None, None, 3), "m": (None, None)}


def test_a_mask_that_does_not_fit_is_refused():
    model = rnnrt.from_graph(network(L.LSTM))
    x, mask = frames(), mask_of()
    with pytest.raises(rnnrt.DTypeError, match=r"'m'.*real.*0\.5"):
        model(x, mask=mask * 0.5)
    with pytest.raises(rnnrt.DTypeError, match="'m'.*real.*nan"):
        model(x, mask=np.where(mask, 1, np.nan))
    with pytest.raises(rnnrt.ShapeError, match=r"'m'.*\(4, 70, 3\)"):
        model(x, mask=np.ones((4, 70, 3)))
    with pytest.raises(rnnrt.ShapeError, match="m.*batch"):
        model(x, mask=mask[:3])
    with pytest.raises(rnnrt.ShapeError, match="length|frames"):
        model(x, mask=mask[:, :69])
    with pytest.raises(rnnrt.ShapeError, match="given twice"):
        model(x, mask, mask=mask)
    with pytest.raises(rnnrt.ShapeError, match="both given"):
        model(x, mask=mask, lengths=[70] * 4)
    with pytest.raises(rnnrt.ShapeError, match="row 1.*out of range"):
        model(x, lengths=[70, 71, 3, 3])
    with pytest.raises(rnnrt.ShapeError, match="'x' is not a mask"):
        model(x, mask={"x": mask})
    plain = rnnrt.from_graph(network(L.LSTM, None))
    for call in (
        lambda: plain(x, mask=mask),
        lambda: plain.stream().step(x[0, 0], mask=True),
        lambda: plain.stream().push(x[0], np.empty((70, 6), np.float32), mask=mask[0]),
    ):
        with pytest.raises(rnnrt.UnsupportedModelError, match="mask= means nothing to this model"):
            call()


def test_streams_take_a_mask_beside_the_frame_or_the_chunk():
    model = rnnrt.from_graph(network(L.LSTM))
    x, mask = frames(), mask_of()
    whole = model(x, mask=mask)[0]
    for row, n in ((2, None), (slice(None), 4)):
        stream = model.stream(n)
        axis = 0 if n is None else 1
        at = lambda a, k, row=row: a[row][k] if row == 2 else a[:, k]
        made = [stream.step(at(x, 0), mask=at(mask, 0) != 0)[0], stream.step((at(x, 1), at(mask, 1)))[0]]
        chunks = [at(x, slice(2, 40)), at(x, slice(40, None))]
        masks = [at(mask, slice(2, 40)), at(mask, slice(40, None))]
        made = [
            np.stack(made, axis),
            stream.push(chunks[0], mask=masks[0])[0],
            stream.push((chunks[1], masks[1]))[0],
        ]
        assert same_bits(np.concatenate(made, axis), whole[row])
        stream.reset()
        assert same_bits(stream.push(at(x, slice(9)))[0], at(model(x)[0], slice(9)))  # without: all real
        with pytest.raises(rnnrt.DTypeError, match=r"'m'.*real.*0\.5"):
            stream.step(at(x, 0), mask=np.full((4,) * axis, 0.5))
        with pytest.raises(rnnrt.ShapeError, match="'m'"):
            stream.push(at(x, slice(9)), mask=np.ones((4, 9, 1)))
        with pytest.raises(rnnrt.ShapeError, match="number of frames|numbers of frames"):
            stream.push(at(x, slice(9)), mask=np.ones((4,) * axis + (8,)))


def test_rows_of_streams_that_began_apart_keep_their_own_masks():
    model = rnnrt.from_graph(network(L.GRU))
    x, mask = frames(), mask_of()
    streams = [model.stream() for _ in range(4)]
    for k, stream in enumerate(streams):
        stream.push(x[k, :k], mask=mask[k, :k])
    for t in range(20):
        given = [(x[k, k + t], mask[k, k + t]) for k in range(4)]
        for k, (y, h) in enumerate(model.step_many(streams, given)):
            assert h is None and same_bits(y, model(x[k], mask=mask[k])[0][k + t])
    stream = model.stream(4)
    stream.push(x[:, :30], mask=mask[:, :30])
    stream.reset(rows=[1])
    y = stream.push(x[:, :40], mask=mask[:, :40])[0]
    assert same_bits(y[1], model(x[1, :40], mask=mask[1, :40])[0])  # zeros first: nothing held from before
    assert not y[1, :5].any()


def test_many_streams_take_a_mask_each():
    model = rnnrt.from_graph(network(L.GRU))
    x, mask = frames(), mask_of()
    whole = model(x, mask=mask)[0]
    streams, pairs = [model.stream() for _ in range(4)], [model.stream(2) for _ in range(2)]
    made = [np.stack([y for y, _ in model.step_many(streams, x[:, 0], mask=mask[:, 0] != 0)])]
    rows = [mask[k, 1:20] if k else None for k in range(4)]  # the first is real throughout
    made += [np.stack([y for y, _ in model.push_many(streams, x[:, 1:20], mask=rows)], 0)]
    made += [np.stack([y for y, _ in model.push_many(streams, list(x[:, 20:]), mask={"m": mask[:, 20:]})], 0)]
    assert same_bits(np.concatenate([made[0][:, None], *made[1:]], 1), whole)
    y = model.step_many(pairs, x[:, 0], mask=mask[:, 0])
    assert same_bits(np.concatenate([a for a, _ in y]), np.ascontiguousarray(whole[:, 0]))
    y = model.push_many(pairs, x[:, 1:], mask=mask[:, 1:])
    assert same_bits(np.concatenate([a for a, _ in y]), np.ascontiguousarray(whole[:, 1:]))
    before = [s.position for s in streams]
    for wrong, words in (
        (mask[:3, 0], "one mask a stream.*expected 4.*found 3"),
        ({"m": mask[:3, 0]}, "one mask 'm' a stream"),
        ({"n": mask[:, 0]}, "'n' is not a mask"),
        (mask[:, :2], "'m'"),
        (np.full(4, 0.5), "'m'.*real.*0\\.5"),
    ):
        with pytest.raises(rnnrt.RnnrtError, match=words):
            model.step_many(streams, x[:, 0], mask=wrong)
    assert [s.position for s in streams] == before
    plain = rnnrt.from_graph(network(L.GRU, mask=None))
    with pytest.raises(rnnrt.UnsupportedModelError, match="mask= means nothing"):
        plain.step_many([plain.stream()], x[:1, 0], mask=[True])


@pytest.mark.parametrize("kind", CELLS)
def test_a_stream_of_a_network_that_may_be_masked_takes_masks_where_it_is_told_to(kind):
    plain, masked = network(kind, mask=None), network(kind, masked_output="zero")
    form = passes.masked.difference(plain, masked)
    model = rnnrt.from_graph(plain.replace(plain.layers, metadata={passes.masked.KEY: form}))
    x, mask = frames(), mask_of()
    whole = model(x, mask=mask)
    stream = model.stream(4, masked=True)
    first = stream.push(x[:, :30], mask=mask[:, :30])[0]
    twin = model.stream(4, masked=True)
    twin.state = rnnrt.State.from_bytes(stream.state.to_bytes())
    for s in (stream, twin):
        rest = [s.step(x[:, t], mask=mask[:, t])[0] for t in range(30, 70)]
        made = np.concatenate([first, np.stack(rest, 1)], 1)
        assert same_bits(made, whole[0] if isinstance(whole, tuple) else whole)
    real = model.stream(4, masked=True).push(x)[0]  # without a mask: all real
    assert same_bits(real, model.stream(4).push(x)[0])
    streams = [model.stream(masked=True) for _ in range(4)]
    many = [y[0] for y in model.step_many(streams, x[:, 0], mask=mask[:, 0])]
    assert same_bits(np.stack(many), np.ascontiguousarray(made[:, 0]))
    with pytest.raises(rnnrt.UnsupportedModelError, match="mask= means nothing"):
        model.stream(4).push(x, mask=mask)
    with pytest.raises(rnnrt.StateError, match="or masked"):
        model.push_many([streams[0], model.stream()], x[:2])
    with pytest.raises(rnnrt.UnsupportedModelError, match="masked=True means nothing"):
        rnnrt.from_graph(network(kind, mask=None)).stream(masked=True)
    always = rnnrt.from_graph(network(kind))
    assert same_bits(
        always.stream(4, masked=True).push(x, mask=mask)[0], always.stream(4).push(x, mask=mask)[0]
    )


def test_many_streams_of_one_output_fill_out_where_frames_are_masked():
    b = L.GraphBuilder()
    x, m = b.input("x", (3,)), b.input("m", ())
    b.output("y", cell(b, x, L.LSTM, mask=m))
    model = rnnrt.from_graph(b.graph())
    x, mask, out = frames(), mask_of(), np.empty((4, 6), np.float32)
    streams = [model.stream() for _ in range(4)]
    for t in range(12):
        assert model.step_many(streams, x[:, t], out=out, mask=mask[:, t]).all()
        assert same_bits(out, np.ascontiguousarray(model(x, mask=mask)[:, t]))


@pytest.mark.parametrize("kind", CELLS)
def test_a_state_taken_between_masked_frames_goes_on(kind):
    model = rnnrt.from_graph(network(kind), lift=False)
    x, mask = frames(), mask_of()
    for cut in (2, 5, 6, 31):
        stream, other = model.stream(4), model.stream(4)
        stream.push(x[:, :cut], mask=mask[:, :cut])
        other.state = rnnrt.State.from_bytes(stream.state.to_bytes())
        rest = [s.push(x[:, cut:], mask=mask[:, cut:]) for s in (stream, other, stream.clone())[:2]]
        assert all(same_bits(a, b) for a, b in zip(*rest))
        assert same_bits(rest[0][0], np.ascontiguousarray(model(x, mask=mask)[0][:, cut:]))


def test_an_input_is_a_mask_where_nothing_but_masks_is_made_of_it():
    b = L.GraphBuilder()
    x, m, n, both = b.input("x", (3,)), b.input("m", (1,)), b.input("n", ()), b.input("both", ())
    other = b.input("other", (1,))
    halved = b.add(L.MaxPool1D, "halved", m, size=2, stride=2)
    y = cell(b, b.add(L.MaxPool1D, "pool", x), L.GRU, mask=halved)
    z = cell(b, x, L.LSTM, mask=n)
    w = cell(b, x, L.SimpleRNN, mask=both)
    v = cell(b, x, L.SimpleRNN, name="told", mask=b.add(L.NotEqual, "told_by", other, value=3.0))
    b.output("y", y)
    b.output("z", b.add(L.Concatenate, "cat", z, w, v, b.add(L.Reshape, "seen", both, features=(1,))))
    graph = b.graph()
    assert graph.mask_inputs == ("m", "n")  # both is data as well, other is made a mask of
    model = rnnrt.from_graph(graph)
    x, mask, ones = frames(), mask_of(), np.ones((4, 70, 1), np.float32)
    with pytest.raises(rnnrt.ShapeError, match="several masks.*'m', 'n'"):
        model(x, None, None, mask, ones, mask=mask)
    made = model(x, None, None, mask, ones, mask={"m": mask})
    again = model(x, mask[:, :, None], np.ones((4, 70)), mask, ones)
    assert all(same_bits(a, b) for a, b in zip(made, again))
    sample = verification.sample_inputs(graph)
    assert set(np.unique(sample["m"])) == set(np.unique(sample["n"])) == {0, 1}
