"""The border: what goes into a model, a stream and a state, right and wrong. What is right is equal to the
plain answer; what is wrong is refused by an RnnrtError whose message names the input, what was expected and
what was found."""

import threading
import time

import numpy as np
import pytest
from cases import CASES, conv, dense, recurrent, weights

import rnnrt
from rnnrt import (
    DTypeError,
    NotStreamableError,
    RnnrtError,
    ShapeError,
    State,
    StateError,
    StreamBusyError,
    UnsupportedModelError,
    reference,
    textbook,
)
from rnnrt import layers as L


def refused(kind, call, *words):
    """The error of ``call``, which must be of exactly ``kind`` and say ``words``."""
    with pytest.raises(RnnrtError) as caught:
        call()
    assert type(caught.value) is kind, caught.value
    for word in words:
        assert str(word) in str(caught.value), str(caught.value)
    return caught.value


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def near(a, b):
    return a.shape == b.shape and np.abs(a - b).max() < 2e-6


def built(build, *, features=(3,), axes="btf", out_axes="btf", metadata=None, **fields):
    """A Model of one input ``x``; ``build(b, x, r)`` makes what is before the output ``y``."""
    b = L.GraphBuilder()
    x = b.input("x", features, axes=axes, **fields)
    b.output("y", build(b, x, np.random.default_rng(5)), out_axes)
    return rnnrt.Model(b.graph(metadata=metadata))


def net(kind=L.LSTM, units=5, **fields):
    return built(lambda b, x, r: recurrent(b, x, r, kind, units), **fields)


def case(name):
    return next(c for c in CASES if c.name == name)


def frames(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def two_inputs_two_outputs(**second):
    """``left`` (3,) and ``right`` (2,); "sum" of both, and "state" of the right one alone."""
    b, r = L.GraphBuilder(), np.random.default_rng(6)
    left, right = b.input("left", (3,)), b.input("right", (2,), **second)
    a = recurrent(b, left, r, L.GRU, 4, name="a")
    if not b.signal(right).time:
        last = b.add(L.Last, "last", a)
        b.output("sum", b.add(L.Concatenate, "cat", last, right))
        b.output("state", dense(b, right, r, 2))
    else:
        c = recurrent(b, right, r, L.SimpleRNN, 4, name="c")
        b.output("sum", b.add(L.Add, "add", a, c))
        b.output("state", "c:h")
    return rnnrt.Model(b.graph())


def embedding():
    return built(
        lambda b, x, r: b.add(L.Embedding, "embedding", x, weight=weights(r, 11, 4)), features=(), ids=True
    )


# ---- shapes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (3,), (2, 7, 4), (7, 2), (2, 7, 3, 1), (1, 2, 7, 3)], ids=str)
def test_a_wrong_rank_or_width_is_refused(shape):
    refused(
        ShapeError,
        lambda: net()(np.zeros(shape, np.float32)),
        "input 'x'",
        "expected (batch, time, 3)",
        f"found {shape}",
    )
    refused(
        ShapeError,
        lambda: net().run({"x": np.zeros(shape, np.float32)}),
        "input 'x'",
        "expected (batch, time, 3)",
        f"found {shape}",
    )


def test_nothing_in_is_refused():
    refused(ShapeError, lambda: net()(np.zeros((2, 0, 3), np.float32)), "input 'x'", "no frames", "(2, 0, 3)")
    refused(ShapeError, lambda: net()(np.zeros((0, 3), np.float32)), "input 'x'", "no frames", "(0, 3)")
    refused(
        ShapeError,
        lambda: net()(np.zeros((0, 7, 3), np.float32)),
        "input 'x'",
        "batch is empty",
        "expected at least one row",
        "found 0",
    )
    short = built(lambda b, x, r: conv(b, x, r, 4, 5))
    refused(
        ShapeError,
        lambda: short(np.zeros((2, 4, 3), np.float32)),
        "too short",
        "output 'y'",
        "found 4 frames",
    )
    assert short(np.zeros((2, 5, 3), np.float32)).shape == (2, 1, 4)


def test_a_fixed_length_is_kept_to():
    fixed = net(length=7)
    assert fixed.inputs == {"x": (None, 7, 3)}
    for made in (6, 8):
        refused(
            ShapeError,
            lambda n=made: fixed(frames(2, n, 3)),
            "input 'x'",
            "(batch, 7, 3)",
            f"found (2, {made}, 3)",
        )


def test_the_inputs_must_be_all_there_and_fit_each_other():
    model = two_inputs_two_outputs()
    left, right = frames(4, 6, 3), frames(4, 6, 2)
    refused(ShapeError, lambda: model(left, right, left), "too many inputs", "['left', 'right']", "found 3")
    refused(ShapeError, lambda: model(left), "'right' is missing", "['left', 'right']")
    refused(ShapeError, lambda: model.run({"left": left}), "'right' is missing")
    refused(
        ShapeError,
        lambda: model.run({"left": left, "middle": right}),
        "no input 'middle'",
        "['left', 'right']",
    )
    refused(DTypeError, lambda: model.run([left, right]), "by name", "['left', 'right']", "found list")
    refused(
        ShapeError,
        lambda: model(left, right[:3]),
        "input 'right'",
        "different batch sizes",
        "found (3, 6, 2)",
    )
    refused(
        ShapeError,
        lambda: model(left, right[:, :5]),
        "the inputs must run over the same time",
        "'left': 6",
        "'right': 5",
    )
    refused(
        ShapeError,
        lambda: model(left, right[0]),
        "input 'right'",
        "some inputs have a batch axis",
        "found (6, 2)",
    )
    stream = model.stream()
    refused(ShapeError, lambda: stream.push(left[0]), "number of inputs", "['left', 'right']", "found 1")
    refused(ShapeError, lambda: stream.push((left[0], right[0, :5])), "different numbers of frames", "[6, 5]")
    refused(
        ShapeError,
        lambda: stream.step((left[0, 0], left[0, 0])),
        "input 'right'",
        "expected (2,)",
        "found (3,)",
    )
    assert stream.position == 0


def test_a_stream_refuses_wrong_frames_and_stays_where_it_was():
    model, x = net(), frames(7, 3)
    stream, batch = model.stream(), model.stream(batch_size=2)
    for wrong in (x[:, :2], x[0], x[None], frames(7, 4)):
        refused(
            ShapeError,
            lambda w=wrong: stream.push(w),
            "input 'x'",
            "expected (time, 3)",
            f"found {wrong.shape}",
        )
    for wrong in (x, x[0, :2], np.float32(1), frames(4)):
        refused(
            ShapeError, lambda w=wrong: stream.step(w), "input 'x'", "expected (3,)", f"found {wrong.shape}"
        )
    refused(
        ShapeError,
        lambda: batch.push(frames(3, 7, 3)),
        "input 'x'",
        "expected (2, time, 3)",
        "found (3, 7, 3)",
    )
    refused(ShapeError, lambda: batch.step(x[0]), "input 'x'", "expected (2, 3)", "found (3,)")
    refused(DTypeError, lambda: stream.step(None), "input 'x'")
    refused(DTypeError, lambda: stream.push("abc"), "input 'x'")
    assert stream.position == batch.position == 0
    assert same_bits(stream.push(x), model(x))
    for wrong in (0, -1, 1.5, "a"):
        refused(ShapeError, lambda w=wrong: model.stream(batch_size=w), "batch_size", repr(wrong))


# ---- types -------------------------------------------------------------------------------------------------

WRONG_TYPES = {
    "complex": np.zeros((2, 7, 3), complex),
    "object": np.zeros((2, 7, 3), object),
    "strings": np.full((2, 7, 3), "1"),
    "dates": np.zeros((2, 7, 3), "M8[s]"),
    "ragged": [[1.0], [1.0, 2.0]],
    "dict": {},
}


@pytest.mark.parametrize("name", WRONG_TYPES)
def test_what_is_no_real_number_is_refused(name):
    x, model = WRONG_TYPES[name], net()
    refused(DTypeError, lambda: model(x), "input 'x'", "found")
    refused(DTypeError, lambda: model.stream(batch_size=2).push(x), "input 'x'", "found")
    refused(
        DTypeError,
        lambda: model.stream(batch_size=2).step(x[:, 0] if isinstance(x, np.ndarray) else x),
        "input 'x'",
        "found",
    )


def forms(x):
    """Arrays of other types, orders and flags with the same numbers, which are small whole ones."""
    yield from (
        (kind, x.astype(kind))
        for kind in ("f8", "f2", "g", "i1", "i2", "i4", "i8", "u1", ">f4", ">f8", ">i4", ">f2")
    )
    yield "Fortran", np.asfortranarray(x)
    yield "every other", np.repeat(np.repeat(x, 2, -1), 2, 0)[::2, ..., ::2]
    yield "backwards", np.ascontiguousarray(x[::-1, ..., ::-1])[::-1, ..., ::-1]
    yield "list", x.tolist()
    fixed = x.copy()
    fixed.flags.writeable = False
    yield "read-only", fixed
    odd = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape)
    assert not odd.flags.aligned
    yield "unaligned", odd


@pytest.mark.parametrize("kind", [L.LSTM, L.GRU, L.SimpleRNN], ids=lambda k: k.kind)
def test_every_form_of_the_same_numbers_gives_the_same_bits(kind):
    x = np.random.default_rng(2).integers(0, 5, (4, 9, 3)).astype(np.float32)
    model = net(kind)
    plain = model(x)
    for name, form in forms(x):
        before = np.array(form)
        assert same_bits(model(form), plain), name
        assert same_bits(model.stream(batch_size=4).push(form), plain), name
        stream = model.stream(batch_size=4)
        assert same_bits(np.stack([stream.step(np.asarray(form)[:, t]) for t in range(9)], 1), plain), name
        assert (np.array(form) == before).all(), f"{name}: the caller's array was changed"
    for name, form in forms(x[0]):
        assert same_bits(model.stream().push(form), plain[0]), name
    assert same_bits(model(x > 2), model((x > 2).astype(np.float32)))
    assert same_bits(model(np.broadcast_to(x[:1], x.shape)), model(np.repeat(x[:1], 4, 0)))


@pytest.mark.parametrize(
    "name",
    [
        "lstm_20",
        "gru_before_20",
        "conv_dilated",
        "textbook_ln_rnn",
        "global_max",
        "max_pool_overlapping",
        "softmax",
        "bidirectional_lstm_add",
    ],
)
def test_nan_in_one_row_leaves_the_bits_of_the_others(name):
    model = rnnrt.Model(case(name).graph())
    x = case(name).sample(19, 30)
    plain = model(x)
    for bad in (np.nan, np.inf, -np.inf):
        spoilt = x.copy()
        spoilt[7, 4, 0] = bad
        made = model(spoilt)
        others = np.arange(19) != 7
        assert same_bits(made[others], plain[others])
        if np.isnan(bad):
            assert np.isnan(made[7]).any()
        if case(name).streams and plain.ndim == 3:
            stream = model.stream(batch_size=19)
            assert same_bits(np.concatenate([stream.push(spoilt), stream.flush()], 1)[others], plain[others])


# ---- out= --------------------------------------------------------------------------------------------------


def test_out_is_filled_and_returned():
    model, x = net(), frames(4, 7, 3)
    plain = model(x)
    for out in (
        np.empty((4, 7, 5), np.float32),
        np.empty((4, 7, 10), np.float32)[..., ::2],
        np.asfortranarray(np.empty((4, 7, 5), np.float32)),
    ):
        assert model(x, out=out) is out
        assert (out == plain).all()
    alone = np.empty((7, 5), np.float32)
    assert model(x[1], out=alone) is alone
    assert same_bits(alone, plain[1])
    transposed = net(axes="bft", out_axes="bft")
    out = np.empty((4, 5, 7), np.float32)
    assert transposed(x.transpose(0, 2, 1), out=out) is out
    assert (out == plain.transpose(0, 2, 1)).all()
    square = net(units=3)
    expected = square(x)
    shared = x.copy()
    assert square(shared, out=shared) is shared
    assert same_bits(shared, expected)


def read_only(*shape):
    return np.broadcast_to(np.float32(0), shape)


def test_out_that_does_not_fit_is_refused():
    model, x = net(), frames(4, 7, 3)
    refused(DTypeError, lambda: model(x, out=np.empty((4, 7, 5))), "out", "float32", "found float64")
    for wrong in ("abc", [0.0], object()):
        refused(DTypeError, lambda w=wrong: model(x, out=w), "out", f"found {type(wrong).__name__}")
    for shape in ((4, 7, 4), (7, 5), (4, 8, 5), (4, 7, 5, 1)):
        refused(
            ShapeError,
            lambda s=shape: model(x, out=np.empty(s, np.float32)),
            "out does not fit",
            "expected (4, 7, 5)",
            f"found {shape}",
        )
    refused(ShapeError, lambda: model(x, out=read_only(4, 7, 5)), "out does not fit", "writeable")
    two = two_inputs_two_outputs()
    refused(
        ShapeError,
        lambda: two(frames(4, 6, 3), frames(4, 6, 2), out=np.empty((4, 6, 4), np.float32)),
        "one output only",
    )


@pytest.mark.parametrize("batch", [None, 2])
def test_out_of_step_push_and_flush(batch):
    model = net()
    lead = () if batch is None else (batch,)
    x = frames(*lead, 7, 3)
    plain, frame = model(x), x[..., 0, :]
    out = np.empty((*lead, 5), np.float32)
    assert model.stream(batch).step(frame, out) is out
    assert same_bits(out, np.ascontiguousarray(plain[..., 0, :]))
    assert model.stream(batch).step(frame.astype(np.float64), out=out) is out
    assert (out == plain[..., 0, :]).all()
    stream = model.stream(batch)
    for wrong in (
        np.empty((*lead, 4), np.float32),
        np.empty((3, *lead, 5), np.float32),
        read_only(*lead, 5),
        np.empty((*lead, 10), np.float32)[..., ::2],
    ):
        refused(
            ShapeError,
            lambda w=wrong: stream.step(frame, w),
            "out does not fit",
            f"expected {(*lead, 5)}",
            "C-contiguous and writeable",
            f"found {wrong.shape}",
        )
        refused(
            ShapeError,
            lambda w=wrong: stream.step(frame.tolist(), w),
            "out does not fit",
            f"expected {(*lead, 5)}",
        )
    refused(DTypeError, lambda: stream.step(frame, np.empty((*lead, 5))), "out", "found float64")
    refused(DTypeError, lambda: stream.step(frame, "abc"), "out", "found str")
    for wrong in (
        np.empty((*lead, 6, 5), np.float32),
        np.empty((*lead, 7, 4), np.float32),
        np.empty((*lead, 7), np.float32),
        read_only(*lead, 7, 5),
    ):
        refused(
            ShapeError,
            lambda w=wrong: stream.push(x, w),
            "out does not fit",
            ", at least 7, 5)" if lead else "(at least 7, 5)",
            f"found {wrong.shape}",
        )
    refused(DTypeError, lambda: stream.push(x, np.empty((*lead, 7, 5))), "out", "found float64")
    refused(DTypeError, lambda: stream.flush("abc"), "out", "found str")
    assert stream.position == 0, "a refused call takes nothing in"
    exact, roomy = np.empty((*lead, 7, 5), np.float32), np.full((*lead, 9, 5), 9, np.float32)
    assert stream.push(x, exact) is exact
    assert same_bits(exact, plain)
    made = model.stream(batch).push(x, out=roomy)
    assert made.base is not None and np.shares_memory(made, roomy)
    assert (made == plain).all() and (roomy[..., 7:, :] == 9).all()
    shared = frames(*lead, 7, 5)
    square = built(lambda b, x, r: recurrent(b, x, r, L.GRU, 5), features=(5,))
    expected = square(shared)
    assert np.shares_memory(square.stream(batch).push(shared, shared), shared)
    assert same_bits(shared, expected)


def test_out_of_flush_holds_what_was_held_back():
    model = built(lambda b, x, r: conv(b, x, r, 4, 5, padding=(2, 2)))
    x, out = frames(9, 3), np.empty((6, 4), np.float32)
    stream = model.stream()
    first = stream.push(x)
    assert len(first) == 7
    last = stream.flush(out)
    assert np.shares_memory(last, out)
    assert same_bits(np.concatenate([first, last]), model(x))


# ---- several inputs and outputs, inputs without time -------------------------------------------------------


def test_two_inputs_and_two_outputs_by_place_and_by_name():
    model = two_inputs_two_outputs()
    left, right = frames(4, 6, 3), frames(4, 6, 2)
    expected, _ = reference.run(model.graph, {"left": left, "right": right})
    total, state = model(left, right)
    assert near(total, expected["sum"]) and near(state, expected["state"])
    named = model.run({"right": right, "left": left})
    assert list(named) == ["sum", "state"]
    assert same_bits(named["sum"], total) and same_bits(named["state"], state)
    alone = model(left[1], right[1])
    assert same_bits(alone[0], total[1]) and same_bits(alone[1], state[1])
    stream, made = model.stream(batch_size=4), []
    for t in range(6):
        y, end = stream.step((left[:, t], right[:, t]))
        assert end is None
        made.append(y)
    rest, end = stream.flush()
    assert rest.shape == (4, 0, 4)
    assert same_bits(np.stack(made, 1), total) and same_bits(end[:, 0], state)
    assert stream.max_outputs(3) == (3, 0)
    refused(
        ShapeError,
        lambda: model.stream().push((left[0], right[0]), np.empty((6, 4), np.float32)),
        "one output only",
        "found 2 outputs",
    )


def test_an_input_without_a_time_axis():
    model = two_inputs_two_outputs(time=False)
    left, right = frames(4, 6, 3), frames(4, 2)
    assert model.inputs == {"left": (None, None, 3), "right": (None, 2)}
    expected, _ = reference.run(model.graph, {"left": left, "right": right})
    total, state = model(left, right)
    assert near(total, expected["sum"]) and near(state, expected["state"])
    assert same_bits(model(left[2], right[2])[0], total[2])
    refused(
        ShapeError,
        lambda: model(left, right[:, None]),
        "input 'right'",
        "expected (batch, 2)",
        "found (4, 1, 2)",
    )
    refused(ShapeError, lambda: model(left, right[0]), "input 'right'", "some inputs have a batch axis")
    stream = model.stream(batch_size=4, inputs={"right": right})
    stream.push(left)
    assert same_bits(stream.flush()[0][:, 0], total)
    refused(ShapeError, lambda: model.stream(), "'right' has no time axis", "stream(inputs=")
    refused(
        ShapeError,
        lambda: model.stream(inputs={"right": right}),
        "input 'right'",
        "expected (2,)",
        "found (4, 2)",
    )
    refused(
        ShapeError,
        lambda: model.stream(inputs={"right": right[0], "left": left}),
        "no input 'left' without a time axis",
    )
    refused(DTypeError, lambda: model.stream(inputs={"right": ["a", "b"]}), "input 'right'")
    for wrong in (3, right):
        refused(
            DTypeError, lambda w=wrong: model.stream(inputs=w), "by name", f"found {type(wrong).__name__}"
        )
    timeless = built(lambda b, x, r: dense(b, x, r, 2), time=False, axes="bf")
    assert timeless(frames(4, 3)).shape == (4, 2) and timeless(frames(3)).shape == (2,)
    refused(NotStreamableError, timeless.stream, "'x'", "no time axis")


@pytest.mark.parametrize("axes", ["btf", "bft", "tbf"])
@pytest.mark.parametrize("out_axes", ["btf", "bft", "tbf"])
def test_the_rank_tells_whether_there_is_a_batch(axes, out_axes):
    x = frames(4, 7, 3)
    plain = net()(x)
    model = net(axes=axes, out_axes=out_axes)
    order = lambda a: ["btf".index(c) for c in a]
    single = lambda a: ["tf".index(c) for c in a if c != "b"]
    assert model.inputs["x"] == tuple({"b": None, "t": None, "f": 3}[c] for c in axes)
    assert (model(x.transpose(order(axes))) == plain.transpose(order(out_axes))).all()
    assert (model(x[1].transpose(single(axes))) == plain[1].transpose(single(out_axes))).all()
    refused(ShapeError, lambda: model(frames(2, 2, 2, 2)), "input 'x'", "found (2, 2, 2, 2)")
    refused(ShapeError, lambda: model(frames(8, 8, 8)), "input 'x'", "found (8, 8, 8)")


def test_the_textbooks_axes():
    r = np.random.default_rng(4)
    p = {f"W{g}": r.standard_normal((5, 8)) for g in "fico"} | {
        f"b{g}": r.standard_normal((5, 1)) for g in "fico"
    }
    p |= {"Wy": r.standard_normal((2, 5)), "by": r.standard_normal((2, 1))}
    model = rnnrt.from_numpy(p)
    x, a0 = frames(3, 4, 6), frames(5, 4)
    assert model.inputs == {"x": (3, None, None), "a0": (5, None)}
    assert model.outputs == {"a": (5, None, None), "y": (2, None, None), "c": (5, None, None)}
    for made, (a, y, c, _) in (
        (model(x, a0), textbook.lstm_forward(x, a0, p)),
        (model(x), textbook.lstm_forward(x, np.zeros((5, 4)), p)),
    ):
        assert near(made[0], a) and near(made[1], y) and near(made[2], c)
    alone = model(x[:, 1], a0[:, 1])
    for one, all_rows in zip(alone, model(x, a0)):
        assert same_bits(one, np.ascontiguousarray(all_rows[:, 1]))
    refused(
        ShapeError,
        lambda: model(x.transpose(1, 2, 0)),
        "input 'x'",
        "expected (3, batch, time)",
        "found (4, 6, 3)",
    )
    refused(ShapeError, lambda: model(x, a0.T), "input 'a0'", "expected (5, batch)", "found (4, 5)")
    plain = rnnrt.from_numpy(
        {"Wax": p["Wf"][:, 5:], "Waa": p["Wf"][:, :5], "Wya": p["Wy"], "ba": p["bf"], "by": p["by"]}
    )
    stream = plain.stream(inputs={"a0": a0[:, 2]})
    streamed = (np.stack(k, 1) for k in zip(*[stream.step(x[:, 2, t]) for t in range(6)]))
    for one, all_rows in zip(streamed, plain(x, a0)):
        assert same_bits(one, np.ascontiguousarray(all_rows[:, 2]))
    refused(DTypeError, lambda: rnnrt.from_numpy(3), "dictionary", "found int")


# ---- ids ---------------------------------------------------------------------------------------------------


def test_ids_of_any_type_of_number():
    model, ids = embedding(), np.random.default_rng(0).integers(0, 11, (3, 6))
    table = model.graph["embedding"].weight
    for kind in ("i8", "u1", "i4", "f4", "f8", ">i2"):
        assert same_bits(model(ids.astype(kind)), table[ids])
    assert same_bits(model(ids[1]), table[ids[1]])
    assert same_bits(model.stream().push(ids[1]), table[ids[1]])
    assert same_bits(model.stream().step(ids[1, 0]), table[ids[1, 0]])


@pytest.mark.parametrize("bad", [-1, 11, 10.5, -0.5, 1e9, np.nan, np.inf, 1 << 40])
def test_an_id_out_of_range_is_named_with_row_and_time(bad):
    model, ids = embedding(), np.zeros((3, 6), type(bad))
    ids[2, 4] = bad
    words = ("an id is out of range", "input 'x'", "whole numbers from 0 to 10", f"found {bad}")
    refused(ShapeError, lambda: model(ids), *words, "row 2, time 4")
    refused(ShapeError, lambda: model(ids[2]), *words, "row 0, time 4")
    stream = model.stream(batch_size=3)
    stream.push(ids[:, :2])
    refused(ShapeError, lambda: stream.push(ids[:, 2:]), *words, "row 2, time 4")
    stream.push(ids[:, 2:4])
    refused(ShapeError, lambda: stream.step(ids[:, 4]), *words, "row 2, time 4")
    assert stream.position == 4


# ---- initial states ----------------------------------------------------------------------------------------


def both(metadata):
    """A GRU, and an LSTM over it."""
    return built(
        lambda b, x, r: recurrent(b, recurrent(b, x, r, L.GRU, 4, name="one"), r, L.LSTM, 4, name="two"),
        metadata=metadata,
    )


def test_initial_state_by_name_and_as_a_state():
    model, x = both(None), frames(2, 7, 3)
    given = {"one/h": frames(2, 4, seed=3), "two/c": frames(2, 4, seed=4)}
    expected, end = reference.run(model.graph, {"x": x}, given)
    y, state = model(x, initial_state=given, return_state=True)
    assert near(y, expected["y"])
    assert list(state.arrays()) == ["one/h", "two/h", "two/c"] and state.batch_size == 2
    assert all(near(a, end[n]) for n, a in state.arrays().items())
    assert same_bits(model(x, initial_state=state), model(x, initial_state=state.arrays()))
    assert same_bits(
        model(x, initial_state=State.from_bytes(state.to_bytes())), model(x, initial_state=state)
    )
    alone, kept = model(x[1], initial_state={n: a[1] for n, a in given.items()}, return_state=True)
    assert same_bits(alone, y[1]) and kept.batch_size is None and kept.arrays()["two/c"].shape == (4,)
    assert same_bits(model(x, initial_state={}), model(x))
    stream = model.stream(batch_size=2)
    stream.state = given
    assert same_bits(stream.push(x), y)
    assert "one/h" in repr(state) and "batch_size=2" in repr(state)


def test_initial_state_as_keras_and_pytorch_give_it():
    x, h, c = frames(2, 7, 3), frames(2, 5, seed=3), frames(2, 5, seed=4)
    keras, torch = net(metadata={"source": "keras"}), net(metadata={"source": "torch"})
    plain = keras(x, initial_state={"lstm/h": h, "lstm/c": c})
    assert same_bits(keras(x, initial_state=[h, c]), plain)
    assert same_bits(torch(x, initial_state=(h[None], c[None])), plain)
    assert same_bits(torch(x[1], initial_state=(h[None, 1], c[None, 1])), plain[1])
    assert same_bits(
        net(L.GRU, metadata={"source": "torch"})(x, initial_state=h[None]),
        net(L.GRU)(x, initial_state={"gru/h": h}),
    )
    assert same_bits(
        net(L.GRU, metadata={"source": "keras"})(x, initial_state=h),
        net(L.GRU)(x, initial_state={"gru/h": h}),
    )
    three = both({"source": "keras"})
    states = [frames(2, 4, seed=s) for s in range(3)]
    assert same_bits(
        three(x, initial_state=states), three(x, initial_state=dict(zip(("one/h", "two/h", "two/c"), states)))
    )
    stacked = built(
        lambda b, x, r: recurrent(b, recurrent(b, x, r, L.LSTM, 4, name="one"), r, L.LSTM, 4, name="two"),
        metadata={"source": "torch"},
    )
    h0, c0 = frames(2, 2, 4, seed=8), frames(2, 2, 4, seed=9)
    assert same_bits(
        stacked(x, initial_state=(h0, c0)),
        stacked(x, initial_state={"one/h": h0[0], "two/h": h0[1], "one/c": c0[0], "two/c": c0[1]}),
    )
    refused(
        StateError, lambda: keras(x, initial_state=[h]), "wrong length", "['lstm/h', 'lstm/c']", "found 1"
    )
    refused(
        StateError,
        lambda: stacked(x, initial_state=(h0[:1], c0)),
        "another form than forward takes",
        "expected (2, batch, units)",
        "found (1, 2, 4)",
    )
    refused(
        StateError, lambda: stacked(x, initial_state=h0), "initial_state[0]", "(2, batch, units)", "(2, 4)"
    )
    refused(StateError, lambda: torch(x, initial_state=([[1.0], [1.0, 2.0]], c[None])), "initial_state[0]")
    refused(DTypeError, lambda: keras(x, initial_state=[h, None]), "state 'lstm/c'")


def test_a_wrong_initial_state_is_refused():
    model, x = net(), frames(2, 7, 3)
    refused(
        StateError,
        lambda: model(x, initial_state={"lstm/x": np.zeros((2, 5))}),
        "no state 'lstm/x'",
        "['lstm/h', 'lstm/c']",
    )
    refused(
        StateError,
        lambda: model(x, initial_state={"lstm/h": np.zeros(5)}),
        "lstm/h",
        "expected (2, 5)",
        "found (5,)",
    )
    refused(
        StateError,
        lambda: model(x[0], initial_state={"lstm/h": np.zeros((1, 5))}),
        "lstm/h",
        "expected (5,)",
        "found (1, 5)",
    )
    refused(
        DTypeError,
        lambda: model(x, initial_state={"lstm/h": np.zeros((2, 5), complex)}),
        "state 'lstm/h'",
        "found complex128",
    )
    _, other = net(units=4)(x, return_state=True)
    refused(StateError, lambda: model(x, initial_state=other), "another model", "expected", "found")
    stream = model.stream()
    stream.step(x[0, 0])
    for wrong in (None, 5, b"abc"):
        refused(StateError, lambda w=wrong: setattr(stream, "state", w))
    assert stream.position == 1


# ---- lengths -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", [L.LSTM, L.GRU, L.SimpleRNN], ids=lambda k: k.kind)
@pytest.mark.parametrize("threads", [1, 2])
def test_lengths_mean_what_packing_means(kind, reverse, threads):
    def build(b, x, r):
        y = recurrent(b, x, r, kind, 6, name="one", reverse=reverse)
        return recurrent(b, b.add(L.Concatenate, "cat", y, x), r, kind, 5, name="two", reverse=not reverse)

    model = built(build).with_options(num_threads=threads)
    x, lengths = frames(6, 9, 3), np.array([9, 1, 4, 0, 8, 3])
    given = {"one/h": frames(6, 6, seed=3), "two/h": frames(6, 5, seed=4)}
    for initial in (None, given):
        expected, end = reference.run(model.graph, {"x": x}, initial, lengths=lengths)
        y, state = model(x, lengths=lengths, initial_state=initial, return_state=True)
        assert near(y, expected["y"])
        assert all(near(a, end[n]) for n, a in state.arrays().items())
    for kind_of_number in ("u1", ">i4", "i8"):
        assert same_bits(model(x, lengths=lengths.astype(kind_of_number)), model(x, lengths=lengths.tolist()))
    short = model(x, lengths=lengths)
    assert near(short[2, :4], model(x[2, :4])) and not short[2, 4:].any()
    spoilt = x.copy()
    spoilt[2, 4:] = np.nan
    assert same_bits(model(spoilt, lengths=lengths)[2, :4], short[2, :4]), (
        "what lies past the end of a row is not read"
    )


def test_wrong_lengths_are_refused():
    model, x = net(), frames(4, 9, 3)
    refused(ShapeError, lambda: model(x, lengths=[9, 1, 10, 2]), "row 2", "expected 0 to 9", "found 10")
    refused(ShapeError, lambda: model(x, lengths=[9, -1, 10, 2]), "row 1", "expected 0 to 9", "found -1")
    for wrong in ([9, 1, 2], [[9, 1, 2, 3]], 9, [1.0, 2.0, 3.0, 4.0], [True] * 4):
        refused(ShapeError, lambda w=wrong: model(x, lengths=w), "lengths", "expected (4,)", "found")
    for wrong in ("abcd", [[1], [1, 2]], ["1", "2", "3", "4"]):
        refused(DTypeError, lambda w=wrong: model(x, lengths=w), "lengths", "found")
    moved = built(lambda b, x, r: recurrent(b, conv(b, x, r, 4, 3), r, L.GRU, 5))
    refused(
        UnsupportedModelError, lambda: moved(x, lengths=[9, 1, 2, 3]), "layer 'gru'", "changed the time axis"
    )
    pointwise = built(lambda b, x, r: recurrent(b, conv(b, x, r, 4, 1), r, L.GRU, 5))
    expected, _ = reference.run(pointwise.graph, {"x": x}, lengths=np.array([9, 1, 2, 3]))
    assert near(pointwise(x, lengths=[9, 1, 2, 3]), expected["y"])
    refused(
        UnsupportedModelError,
        lambda: net(metadata={"source": "keras"})(x, lengths=[9, 1, 2, 3]),
        "lengths=",
        "Keras",
    )
    refused(UnsupportedModelError, lambda: model(x, mask=x > 0), "mask=")


# ---- options -----------------------------------------------------------------------------------------------


def test_threads_do_not_change_the_bits():
    build = lambda b, x, r: recurrent(b, x, r, L.LSTM, 128)
    model, x = built(build, features=(64,)), frames(13, 40, 64)
    given = {"lstm/h": frames(13, 128, seed=3)}
    y, state = model(x, initial_state=given, return_state=True, lengths=np.arange(13) + 20)
    for threads in (2, 3, 64):
        made, end = model.with_options(num_threads=threads)(
            x, initial_state=given, return_state=True, lengths=np.arange(13) + 20
        )
        assert same_bits(made, y)
        assert all(same_bits(a, state.arrays()[n]) for n, a in end.arrays().items())


def test_unknown_options_are_refused():
    graph, late = net().graph, case("conv_same_stride2_wide").graph()
    for wrong in (0, -1, 1.5, "2", None):
        refused(
            ShapeError, lambda w=wrong: rnnrt.Model(graph, num_threads=w), "num_threads", f"found {wrong!r}"
        )
    for wrong in ("cuda", None, ["native"]):
        refused(
            UnsupportedModelError,
            lambda w=wrong: rnnrt.Model(graph, backend=w),
            "backend",
            "'native' or 'blas'",
            f"found {wrong!r}",
        )
    for wrong in ("bfloat16", "int8", None, np.zeros(3)):
        refused(
            UnsupportedModelError,
            lambda w=wrong: rnnrt.Model(graph, weights=w),
            "weights=",
            "expected 'float32'",
        )
    for wrong in ("mmx", "", 3, "blas"):
        refused(
            UnsupportedModelError,
            lambda w=wrong: rnnrt.Model(graph, isa=w),
            "instruction set",
            "scalar",
            f"found {wrong!r}",
        )
        refused(
            UnsupportedModelError,
            lambda w=wrong: rnnrt.Model(late, isa=w),
            "instruction set",
            f"found {wrong!r}",
        )
    refused(UnsupportedModelError, lambda: net().with_options(speed=3), "['speed']", "num_threads")
    for wrong in (3, None, "model.keras"):
        refused(
            DTypeError, lambda w=wrong: rnnrt.from_graph(w), "not a graph", f"found {type(wrong).__name__}"
        )
        refused(DTypeError, lambda w=wrong: rnnrt.Model(w), "not a graph", f"found {type(wrong).__name__}")


def test_blas_is_near_the_native_answer():
    pytest.importorskip("scipy")
    model, x = net(), frames(4, 7, 3)
    assert near(model.with_options(backend="blas")(x), model(x))


# ---- what a stream is --------------------------------------------------------------------------------------


def test_a_step_that_may_bring_several_frames_is_refused():
    wide = built(lambda b, x, r: conv(b, x, r, 4, 3, padding=(6, 0)))
    laid_out = L.GraphBuilder()
    x, seed = laid_out.input("x", (3,)), laid_out.input("seed", (8,), time=False)
    laid_out.output("frames", laid_out.add(L.Unflatten, "unflatten", seed, length=4))
    laid_out.output("y", dense(laid_out, x, np.random.default_rng(0), 2))
    for model, given in ((wide, None), (rnnrt.Model(laid_out.graph()), {"seed": frames(8)})):
        assert model.bursts
        stream = model.stream(inputs=given)
        refused(StateError, lambda s=stream: s.step(frames(3)), "several frames", "push()")
        refused(StateError, lambda s=stream: s.step([1, 2, 3]), "several frames", "push()")
        assert stream.position == 0
    x = frames(9, 3)
    stream = wide.stream()
    assert len(stream.push(x[:1])) == 5
    assert not net().bursts and not built(lambda b, x, r: conv(b, x, r, 4, 3, padding=(2, 0))).bursts


def test_after_flush_only_reset_or_a_state_is_legal():
    model, x = net(), frames(7, 3)
    stream = model.stream()
    start = stream.state
    plain = stream.push(x)
    stream.flush()
    for call in (
        lambda: stream.step(x[0]),
        lambda: stream.step(x[0].tolist()),
        lambda: stream.push(x),
        lambda: stream.push(x, np.empty((7, 5), np.float32)),
        stream.flush,
    ):
        refused(StateError, call, "flushed", "reset()")
    stream.reset()
    assert same_bits(stream.push(x), plain)
    stream.flush()
    stream.state = start
    assert same_bits(stream.push(x), plain)


def test_max_outputs_delay_and_receptive_field():
    def facts(build, **fields):
        model = built(build, **fields)
        return model.delay, model.receptive_field

    assert facts(lambda b, x, r: recurrent(b, x, r, L.GRU, 4)) == (0, None)
    assert facts(lambda b, x, r: dense(b, x, r, 4)) == (0, 1)
    assert facts(lambda b, x, r: conv(b, x, r, 4, 3, padding=(2, 0))) == (0, 3)
    assert facts(lambda b, x, r: conv(b, x, r, 4, 5, padding=(2, 2))) == (2, 5)
    assert facts(lambda b, x, r: conv(b, x, r, 4, 3, dilation=4, padding=(4, 4))) == (4, 9)
    assert facts(
        lambda b, x, r: conv(b, conv(b, x, r, 4, 3, padding="same"), r, 4, 3, padding="same", name="two")
    ) == (2, 5)
    assert facts(lambda b, x, r: conv(b, conv(b, x, r, 4, 4, stride=2), r, 4, 3, name="two"))[1] == 4 + 2 * 2
    wavenet = rnnrt.Model(case("wavenet").graph())
    assert (wavenet.delay, wavenet.receptive_field) == (0, 16)
    stream = built(lambda b, x, r: conv(b, x, r, 4, 4, stride=2)).stream()
    assert [stream.max_outputs(n) for n in (0, 3, 4, 5, 6)] == [0, 0, 1, 1, 2]
    stream.push(frames(3, 3))
    assert stream.max_outputs(1) == 1 and len(stream.push(frames(1, 3))) == 1
    for wrong in (-1, 1.5, "a", None):
        refused(ShapeError, lambda w=wrong: stream.max_outputs(w), "number of frames", f"found {wrong!r}")


@pytest.mark.parametrize("c", CASES, ids=lambda c: c.name)
def test_every_model_describes_itself(c):
    model = rnnrt.Model(c.graph())
    text = model.summary()
    assert all(layer.name in text for layer in model.graph.layers) and f"{model.graph.parameters:,}" in text
    assert f"{len(model.graph.layers)} layers" in repr(model)
    assert model.delay >= 0 and (model.receptive_field or 1) >= 1 and model.nbytes >= 0 and model.isa
    if c.streams:
        assert "batch_size=3, position=0" in repr(model.stream(3))


def test_step_many_fills_the_rows_of_out():
    model, x = net(), frames(3, 3)
    streams, out = [model.stream() for _ in range(3)], np.empty((3, 5), np.float32)
    assert model.step_many(streams, x, out=out).tolist() == [True] * 3
    expected = np.stack([model(frame[None])[0] for frame in x])
    assert same_bits(out, expected)
    assert same_bits(np.stack(model.step_many((model.stream() for _ in range(3)), x)), expected)
    refused(
        ShapeError, lambda: model.step_many(streams, x[:2]), "one frame a stream", "expected 3", "found 2"
    )
    for wrong in (out[:2], np.empty((3, 4), np.float32)):
        refused(
            ShapeError, lambda w=wrong: model.step_many(streams, x, w), "out does not fit", str(wrong.shape)
        )
    refused(DTypeError, lambda: model.step_many(streams, x, 3), "out", "found int")
    refused(DTypeError, lambda: model.step_many([streams[0], 3], x[:2]), "streams[1]", "found int")
    refused(DTypeError, lambda: model.step_many(3, x), "streams[0]", "found int")


def test_a_stream_outlives_its_model():
    model, x = net(), frames(7, 3)
    plain = model(x)
    stream = model.stream()
    del model
    junk = [net(units=u)(x) for u in range(1, 9)]
    assert len(junk) == 8 and same_bits(stream.push(x), plain)
    twin = stream.clone()
    twin.reset()
    del stream
    assert same_bits(twin.push(x), plain)


# ---- threads -----------------------------------------------------------------------------------------------


def test_a_busy_stream_refuses_a_second_thread_and_others_go_on():
    model = built(lambda b, x, r: recurrent(b, x, r, L.LSTM, 256), features=(64,))
    x = frames(30000, 64)
    stream, other, made, failed = model.stream(), model.stream(), [], []

    def push():
        try:
            made.append(stream.push(x))
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            failed.append(error)

    start, expected = stream.state, model(x[:20])
    worker = threading.Thread(target=push)
    worker.start()
    while not stream.position and worker.is_alive():  # reading the position does not enter the stream
        time.sleep(0.001)
    entries = {
        "step": lambda: stream.step(x[0]),
        "push": lambda: stream.push(x[:2]),
        "push out": lambda: stream.push(x[:2], np.empty((2, 256), np.float32)),
        "flush": stream.flush,
        "reset": stream.reset,
        "state": lambda: stream.state,
        "state set": lambda: setattr(stream, "state", start),
        "clone": stream.clone,
    }
    for name, enter in entries.items():
        refused(StreamBusyError, enter, "another thread", "model.stream()")
        assert worker.is_alive(), f"the push was over before {name}: the test has shown nothing"
    assert same_bits(np.stack([other.step(frame) for frame in x[:20]]), expected)
    assert worker.is_alive(), "the push was over before the other stream was: the test has shown nothing"
    worker.join()
    assert not failed
    assert same_bits(made[0][:20], expected) and stream.position == 30000
    assert same_bits(made[0], model(x))


def test_eight_threads_with_a_stream_each():
    model = rnnrt.Model(case("textbook_conv_gru").graph())
    x = frames(8, 400, 1)
    serial = model(x)
    made, ready = [None] * 8, threading.Barrier(8)

    def work(row):
        ready.wait()
        stream, parts, at, r = model.stream(), [], 0, np.random.default_rng(row)
        while at < 400:
            n = int(r.integers(0, 60))
            parts.append(stream.push(x[row, at : at + n]))
            at += n
        made[row] = np.concatenate([*parts, stream.flush()]), model(x[row])

    workers = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    for row in range(8):
        assert same_bits(made[row][0], serial[row]) and same_bits(made[row][1], serial[row])
