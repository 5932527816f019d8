"""Forms of input that once crashed, hung or were answered wrongly, and rules that hold for every network of
cases.py at once.
"""

import gc
import threading
import zlib

import numpy as np
import pytest
from cases import CASES

import rnnrt
from rnnrt import (
    DTypeError,
    NotStreamableError,
    ResourceLimitError,
    ShapeError,
    State,
    StateError,
    StreamBusyError,
    UnsupportedModelError,
    reference,
)
from rnnrt import layers as L


def normal(*shape, seed=0):
    return (np.random.default_rng([seed, *shape]).standard_normal(shape) / 2).astype(np.float32)


def rnn(b, name, x, units, *initial, **fields):
    size = b.signal(x).width
    return b.add(
        L.SimpleRNN,
        name,
        x,
        *initial,
        weight=normal(units, size, seed=units),
        recurrent_weight=normal(units, units),
        bias=normal(units),
        **fields,
    )


def lstm(b, name, x, units, *initial, **fields):
    size = b.signal(x).width
    return b.add(
        L.LSTM,
        name,
        x,
        *initial,
        weight=normal(4 * units, size),
        recurrent_weight=normal(4 * units, units),
        bias=normal(4 * units),
        **fields,
    )


def built(make, metadata=None):
    """Model of the graph that ``make(builder)`` describes; what it returns becomes the outputs y, y1, ..."""
    b = L.GraphBuilder()
    made = make(b)
    for k, value in enumerate(made if isinstance(made, tuple) else (made,)):
        b.output(f"y{k}" if k else "y", value)
    return rnnrt.Model(b.graph(metadata=metadata))


@pytest.fixture(scope="module")
def model():
    return built(lambda b: lstm(b, "lstm", b.input("x", (3,)), 4))


def model_of(name):
    return rnnrt.Model(next(c for c in CASES if c.name == name).graph())


def same_bits(a, b):
    return a.shape == b.shape and a.tobytes() == b.tobytes()


def refused(kind, call, *words):
    """``call`` raises exactly this kind, its message holds the words, and it says what was expected, found or
    can be done.
    """
    with pytest.raises(rnnrt.RnnrtError) as caught:
        call()
    error = caught.value
    assert type(error) is kind, error
    assert error.expected is not None or error.found is not None or error.fix is not None, error
    for word in words:
        assert word in str(error), error
    return error


# ---- nothing, and the same memory twice --------------------------------------------------------------------


def test_no_frames_are_no_frames(model):
    stream, x = model.stream(), normal(9, 3)
    assert stream.push(np.zeros((0, 3), np.float32)).shape == (0, 4)
    first = stream.push(x[:4])
    assert stream.push(x[4:4]).shape == (0, 4)
    assert stream.push(x[4:4], out=np.empty((0, 4), np.float32)).shape == (0, 4)
    assert stream.position == 4
    assert same_bits(np.concatenate([first, stream.push(x[4:]), stream.flush()]), model(x))
    assert model.stream().flush().shape == (0, 4)
    assert model.stream(3).push(np.zeros((3, 0, 3))).shape == (3, 0, 4)
    once = built(lambda b: b.add(L.Last, "last", lstm(b, "lstm", b.input("x", (3,)), 4)))
    assert once.stream().flush().shape == (0, 4)
    assert once.stream().push(x).shape == (0, 4)


def test_arrays_that_repeat_one_row_or_overlap_themselves_are_read_as_they_say(model):
    x = normal(7, 3)
    repeated = np.broadcast_to(x, (5, 7, 3))
    assert same_bits(model(repeated), np.broadcast_to(model(x), (5, 7, 4)))
    assert same_bits(
        model.stream(5).push(repeated), np.ascontiguousarray(np.broadcast_to(model(x), (5, 7, 4)))
    )
    series = normal(40)
    windows = np.lib.stride_tricks.sliding_window_view(series, 3)
    assert same_bits(model(windows), model(windows.copy()))
    still = np.broadcast_to(x[0], (9, 3))
    assert same_bits(model(still), model(still.copy()))


def test_an_out_that_overlaps_the_input_gets_the_right_answer():
    model = built(lambda b: lstm(b, "lstm", rnn(b, "back", b.input("x", (4,)), 4, reverse=True), 4))
    forward = built(lambda b: lstm(b, "lstm", b.input("x", (4,)), 4))
    for tried in (model, forward):
        for into, out_of in (
            (slice(1, None), slice(None, -1)),
            (slice(None, -1), slice(1, None)),
            (slice(None, -1), slice(None, -1)),
        ):
            memory = normal(200, 4)
            x = memory[out_of].copy()
            assert same_bits(tried(memory[out_of], out=memory[into]), tried(x))
            if tried is forward:
                memory[out_of] = x
                assert same_bits(forward.stream().push(memory[out_of], out=memory[into]), forward(x))
    place, x, stream = np.empty(4, np.float32), normal(9, 4), forward.stream()
    for t, frame in enumerate(x):
        place[...] = frame
        assert stream.step(place, out=place) is place
        assert same_bits(place, forward(x)[t])


def test_out_is_for_models_with_one_output(model):
    two = built(lambda b: (lstm(b, "lstm", b.input("x", (3,)), 4), "x"))
    out, x = np.zeros((6, 4), np.float32), normal(6, 3)
    stream = two.stream()
    for call in (
        lambda: two(x, out=out),
        lambda: stream.step(x[0], out=out[0]),
        lambda: stream.push(x, out=out),
        lambda: stream.flush(out=out),
    ):
        refused(ShapeError, call, "one output")
    assert stream.position == 0


# ---- NaN and infinity --------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [c for c in CASES if not c.ids], ids=lambda c: c.name)
def test_nan_and_infinity_stay_in_their_row(case):
    model, frames = rnnrt.Model(case.graph()), case.length or 30
    x = case.sample(5, frames)
    expected = model(x)
    for bad in (np.nan, np.inf, -np.inf):
        spoiled = x.copy()
        spoiled[3, frames // 2] = bad
        y = model(spoiled)
        assert same_bits(np.delete(y, 3, 0), np.delete(expected, 3, 0))
        if case.streams:
            stream = model.stream(5)
            y = np.concatenate([stream.push(spoiled), stream.flush()], 1)
            assert same_bits(np.delete(y.reshape((5, -1)), 3, 0), np.delete(expected.reshape((5, -1)), 3, 0))
            stream.reset()
            y = np.concatenate([stream.push(x), stream.flush()], 1)
            assert same_bits(y.reshape((5, -1)), expected.reshape((5, -1)))


# ---- several inputs and outputs ----------------------------------------------------------------------------


def test_more_inputs_than_the_border_has_room_for_are_refused():
    def make(b):
        xs = [b.input(f"x{k}", (1,)) for k in range(70)]
        return b.add(L.Add, "all", b.add(L.Add, "some", *xs[:40]), *xs[40:])

    model, given = built(make), tuple(normal(5, 1) for _ in range(70))
    refused(UnsupportedModelError, lambda: model(*given), "64", "70")
    refused(UnsupportedModelError, model.stream, "64", "70")


def test_inputs_of_two_lengths():
    def make(b):
        x, z = b.input("x", (3,)), b.input("z", (2,), length=5)
        return rnn(b, "free", x, 4, reverse=True), rnn(b, "fixed", z, 3, reverse=True)

    for order in (1, -1):
        graph = built(make).graph
        model = rnnrt.Model(graph.replace(graph.layers, inputs=graph.inputs[::order]))
        x, z = normal(2, 300, 3), normal(2, 5, 2)
        expected, _ = reference.run(graph, {"x": x, "z": z})
        y = model.run({"x": x, "z": z})
        assert np.abs(y["y"] - expected["y"]).max() < 1e-6
        assert np.abs(y["y1"] - expected["y1"]).max() < 1e-6
        refused(ShapeError, lambda m=model, given={"x": x, "z": z[:, :4]}: m.run(given), "'z'")


# ---- inputs without a time axis ----------------------------------------------------------------------------


def with_value():
    def make(b):
        x, value = b.input("x", (3,)), b.input("value", (4,), time=False)
        return b.add(L.Concatenate, "cat", b.add(L.Last, "last", rnn(b, "rnn", x, 4, value)), value)

    return built(make)


def test_what_is_given_once_counts_from_the_first_frame_to_the_last():
    model, x, value = with_value(), normal(3, 11, 3), normal(3, 4)
    expected, _ = reference.run(model.graph, {"x": x, "value": value})
    y = model(x, value)
    assert np.abs(y - expected["y"]).max() < 1e-6
    stream = model.stream(3, inputs={"value": value})
    stream.push(x[:, :5])
    twin, other = stream.clone(), model.stream(3, inputs={"value": value})
    other.state = stream.state
    for s in (stream, twin, other):
        s.push(x[:, 5:])
        assert same_bits(s.flush()[:, 0], y)
    stream.reset()
    stream.push(x)
    assert same_bits(stream.flush()[:, 0], y)
    one = model.stream(inputs={"value": value[0]})
    one.push(x[0])
    assert same_bits(one.flush()[0], y[0])
    shared = model.stream(3, inputs={"value": value[0]})  # one value for all rows
    shared.push(x)
    assert same_bits(shared.flush()[:, 0], model(x, np.broadcast_to(value[0], (3, 4))))
    every = model.stream(every_step=True, inputs={"value": value[0]})
    assert same_bits(every.push(x[0]), np.stack([model(x[0, : t + 1], value[0]) for t in range(11)]))
    assert model.stream(inputs={"value": value[0]}).flush().shape == (0, 8)


def test_what_is_given_once_must_be_given_right():
    model, value = with_value(), normal(4)
    refused(ShapeError, model.stream, "'value'", "give it once")
    refused(ShapeError, lambda: model.stream(inputs={"value": value[:3]}), "'value'", "(3,)")
    refused(ShapeError, lambda: model.stream(2, inputs={"value": normal(3, 4)}), "'value'", "(3, 4)")
    refused(ShapeError, lambda: model.stream(inputs={"value": value, "volume": value}), "'volume'")
    refused(ShapeError, lambda: model.stream(inputs={"value": value, "x": value}), "'x'")
    stream = model.stream(2, inputs={"value": value})
    refused(StateError, lambda: setattr(stream, "state", {"rnn/h": normal(2, 4)}), "rnn/h")


def test_an_initial_state_comes_before_what_the_network_would_start_from():
    def make(b):
        x, h0 = b.input("x", (3,)), b.input("h0", (4,), time=False)
        c0 = b.add(L.Dense, "c0", h0, weight=normal(4, 4))
        return lstm(b, "lstm", x, 4, h0, c0)

    model, x, h0, c = built(make), normal(2, 6, 3), normal(2, 4), normal(2, 4, seed=9)
    for given in ({}, {"lstm/c": c}, {"lstm/h": c}, {"lstm/h": c, "lstm/c": h0}):
        expected, _ = reference.run(model.graph, {"x": x, "h0": h0}, initial_state=given)
        assert np.abs(model(x, h0, initial_state=given) - expected["y"]).max() < 1e-6


def test_answers_that_hang_on_what_is_given_once_alone():
    def make(b):
        x, value = b.input("x", (3,)), b.input("value", (4,), time=False)
        laid_out = b.add(L.Unflatten, "laid_out", value, length=2)
        return (
            rnn(b, "rnn", x, 4),
            value,
            b.add(L.Dense, "dense", value, weight=normal(2, 4)),
            rnn(b, "over_value", laid_out, 3),
        )

    model, x, value = built(make), normal(7, 3), normal(4)
    expected = model(x, value)
    for sizes in ([7], [0, 1, 6], [3, 4]):
        stream, at, parts = model.stream(inputs={"value": value}), 0, []
        for n in sizes:
            parts.append(stream.push(x[at : at + n]))
            at += n
        parts.append(stream.flush())
        made = [np.concatenate(p) for p in zip(*parts)]
        assert same_bits(made[0], expected[0][:at])
        assert same_bits(made[1], expected[1][None])
        assert same_bits(made[2], expected[2][None])
        assert same_bits(made[3], expected[3])
    assert [len(y) for y in model.stream(inputs={"value": value}).flush()] == [0] * 4
    refused(StateError, lambda: model.stream(inputs={"value": value}).step(x[0]), "push()")


def test_a_network_without_time_runs_but_does_not_stream():
    model = built(lambda b: b.add(L.Dense, "dense", b.input("value", (4,), time=False), weight=normal(2, 4)))
    assert model(normal(4)).shape == (2,)
    assert same_bits(model(normal(3, 4))[1], model(normal(3, 4)[1]))
    assert not model.streamable
    refused(NotStreamableError, model.stream, "'value'", "time")


# ---- axes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("out_axes", ["btf", "bft", "tbf", "fbt"])
@pytest.mark.parametrize("in_axes", ["btf", "bft", "tbf", "fbt"])
def test_axes_are_the_sources_and_the_rank_tells_a_batch(in_axes, out_axes):
    b = L.GraphBuilder()
    b.output("y", lstm(b, "lstm", b.input("x", (3,), axes=in_axes), 4), out_axes)
    model = rnnrt.Model(b.graph())
    x = normal(2, 6, 3)
    expected = reference.run(model.graph, {"x": x})[0]["y"]
    turned = lambda a, axes: a.transpose(["btf".index(c) for c in axes])
    plain = lambda a, axes: a.transpose(["tf".index(c) for c in axes.replace("b", "")])
    y = model(turned(x, in_axes))
    assert y.shape == turned(expected, out_axes).shape
    assert np.abs(y - turned(expected, out_axes)).max() < 1e-6
    alone = model(plain(x[1], in_axes))
    assert np.abs(alone - plain(expected[1], out_axes)).max() < 1e-6
    assert same_bits(np.ascontiguousarray(alone), np.ascontiguousarray(np.take(y, 1, out_axes.index("b"))))
    for given, wanted in ((turned(x, in_axes), y), (plain(x[1], in_axes), alone)):
        out = np.zeros(wanted.shape, np.float32)
        assert model(given, out=out) is out
        assert same_bits(out, np.ascontiguousarray(wanted))
    stream = model.stream(2)  # frames and chunks are (batch, time, features) whatever the source's axes
    assert same_bits(stream.push(x), np.ascontiguousarray(y.transpose([out_axes.index(c) for c in "btf"])))
    refused(ShapeError, lambda: model(turned(normal(2, 6, 4), in_axes)), "input 'x'")
    assert model.inputs["x"] == tuple({"b": None, "t": None, "f": 3}[a] for a in in_axes)
    assert model.outputs["y"] == tuple({"b": None, "t": None, "f": 4}[a] for a in out_axes)


# ---- ids ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axes", ["btf", "tbf"])
def test_a_bad_id_is_named_with_its_row_and_time(axes):
    b = L.GraphBuilder()
    ids = b.input("ids", (), ids=True, axes=axes)
    b.output("y", rnn(b, "rnn", b.add(L.Embedding, "table", ids, weight=normal(7, 3)), 4))
    model = rnnrt.Model(b.graph())
    good = np.random.default_rng(0).integers(0, 7, (3, 9))
    turn = (lambda a: a) if axes == "btf" else (lambda a: a.T)
    expected = model(turn(good))
    for dtype in (np.int8, np.uint64, np.float32, np.float64, ">i2"):
        assert same_bits(model(turn(good.astype(dtype))), expected)
    assert same_bits(model(good[1]), expected[1])
    for bad in (7, -1, 2**40, 2.5, np.nan, np.inf):
        spoiled = good.astype(type(bad))
        spoiled[2, 5] = bad
        refused(
            ShapeError,
            lambda s=spoiled: model(turn(s)),
            "'ids'",
            "row 2",
            "time 5",
            "0 to 6",
            str(np.asarray(spoiled)[2, 5]),
        )
        refused(ShapeError, lambda s=spoiled: model(s[2]), "row 0", "time 5")
        stream = model.stream(3)
        stream.push(good[:, :4])
        refused(ShapeError, lambda s=spoiled, m=stream: m.push(s[:, 4:]), "'ids'", "row 2", "time 5")
        refused(ShapeError, lambda s=spoiled, m=stream: m.step(s[:, 5]), "'ids'", "row 2", "time 4")
        assert stream.position == 4
        rest = np.concatenate([stream.step(good[:, 4])[:, None], stream.push(good[:, 5:])], 1)
        assert same_bits(rest, np.ascontiguousarray(expected[:, 4:]))
    refused(DTypeError, lambda: model(turn(good.astype(complex))), "'ids'")
    assert same_bits(model.stream().step(int(good[0, 0])), model.stream().step(good[0, 0]))


def test_a_stream_that_failed_half_way_says_so_until_it_is_reset():
    def make(b):  # the id is made inside: nobody can look at it before
        return b.add(
            L.Embedding,
            "table",
            b.add(L.Affine, "twice", b.input("x", (1,)), scale=[2.0], offset=[0.0]),
            weight=normal(5, 3),
        )

    model, x = built(make), np.array([[0], [1], [2], [9], [1]], np.float32)
    refused(ShapeError, lambda: model(x), "'table'", "row 0", "time 3", "18")
    stream = model.stream()
    refused(ShapeError, lambda: stream.push(x), "'table'", "time 3", "18")
    for call in (lambda: stream.push(x[:2]), lambda: stream.step(x[0]), stream.flush):
        refused(StateError, call, "failed half-way", "reset()")
    stream.reset()
    assert same_bits(stream.push(x[:3]), model(x[:3]))


# ---- states ------------------------------------------------------------------------------------------------


def test_states_that_were_tampered_with_are_refused_or_harmless(model):
    generator = np.random.default_rng(0)
    for network in (
        model,
        model_of("three_delays"),
        model_of("conv_dilated"),
        model_of("last"),
        with_value(),
    ):
        once = {
            n: np.zeros(s[1:], np.float32)
            for n, s in network.inputs.items()
            if not network.graph.signals[n].time
        }
        stream = network.stream(inputs=once)
        width = network.graph.signals["x"].width
        stream.push(normal(23, width))
        whole = stream.state.to_bytes()
        for k in range(300):
            bad = bytearray(whole)
            if k % 3 == 0:
                bad = bad[: generator.integers(0, len(bad))]
            else:
                end = len(bad) - 4  # of all but the checksum, which is put right again
                arrays = sum(a.nbytes for a in stream.state.arrays().values())
                for at in generator.integers(end - arrays - (50 if k % 3 == 1 else 0), end, 1 + k % 5):
                    bad[at] = generator.integers(0, 256)
                bad[end:] = zlib.crc32(bad[:end]).to_bytes(4, "little")
            try:
                state = State.from_bytes(bytes(bad))
                other = network.stream(inputs=once)
                other.state = state
                other.push(normal(9, width))
                other.flush()
            except StateError:
                pass


# ---- lengths -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "lstm_20",
        "gru_20",
        "gru_before_20",
        "rnn_20",
        "lstm_projection",
        "lstm_reverse",
        "gru_reverse",
        "bidirectional_lstm_concatenate",
        "bidirectional_gru_concatenate",
        "two_bidirectional",
        "last_of_both",
        "final_state",
        "lstm_cells",
        "lstm_norm",
        "conv_one_tap",
    ],
)
def test_lengths_mean_what_packing_means(name):
    case = next(c for c in CASES if c.name == name)
    model, x = rnnrt.Model(case.graph()), case.sample(6, 70)
    lengths = np.array([70, 1, 33, 0, 57, 69])
    expected, states = reference.run(model.graph, {"x": x}, lengths=lengths)
    y, state = model(x, lengths=lengths, return_state=True)
    assert np.abs(y - expected["y"]).max() < 1e-5
    for key, a in state.arrays().items():
        assert np.abs(a - states[key]).max() < 1e-5, key
    spoiled = x.copy()
    for row, n in enumerate(lengths):
        spoiled[row, n:] = 1e3  # what lies beyond the end does not matter where a recurrent layer comes first
    if name != "conv_one_tap":
        assert same_bits(model(spoiled, lengths=lengths), y)
    assert same_bits(model.with_options(num_threads=2)(x, lengths=lengths.tolist()), y)
    assert same_bits(model(x, lengths=np.full(6, 70)), model(x))


# ---- the life of a stream ----------------------------------------------------------------------------------


def test_a_model_that_may_answer_with_several_frames_to_one_refuses_step():
    model, x = model_of("conv_wide_pad"), normal(12, 4)
    stream = model.stream()
    refused(StateError, lambda: stream.step(x[0]), "several frames", "push()")
    first = stream.push(x[:1])
    assert len(first) == stream.max_outputs(0) + 3 == 3
    assert same_bits(np.concatenate([first, stream.push(x[1:]), stream.flush()]), model(x))
    late = built(
        lambda b: b.add(
            L.Conv1D,
            "padded",
            b.add(L.MaxPool1D, "pool", b.input("x", (1,)), size=100, stride=100),
            weight=normal(1, 1, 1),
            padding=(2, 0),
        )
    )
    refused(StateError, lambda: late.stream().step([0.0]), "several frames")
    padded = built(
        lambda b: b.add(L.Conv1D, "conv", b.input("x", (1,)), weight=normal(2, 3, 1), padding=(2, 0))
    )
    assert padded.stream().step([1.0]).shape == (2,)
    repeated = built(
        lambda b: rnn(
            b, "rnn", b.add(L.Unflatten, "frames", b.add(L.Last, "last", b.input("x", (6,))), length=3), 2
        )
    )
    stream = repeated.stream()
    assert stream.step(normal(6)) is None
    assert stream.flush().shape == (3, 2)


@pytest.mark.parametrize("case", [c for c in CASES if c.streams], ids=lambda c: c.name)
def test_max_outputs_is_what_a_push_returns(case):
    model, frames = rnnrt.Model(case.graph()), case.length or 61
    x = case.sample(1, frames)[0]
    stream, at = model.stream(), 0
    for n in (1, 0, 5, 2, 17, frames):
        n = min(n, frames - at)
        due = stream.max_outputs(n)
        assert len(stream.push(x[at : at + n])) == due
        at += n
    for bad in (-1, 1.5, "3", None, 1 << 70):
        refused(ShapeError, lambda b=bad: stream.max_outputs(b))


def test_every_step_has_said_everything_before_the_end():
    for name in ("last", "global_max", "global_average", "final_state", "last_after_stride"):
        case = next(c for c in CASES if c.name == name)
        model = rnnrt.Model(case.graph())
        stream = model.stream(every_step=True)
        x = case.sample(1, 12)[0]
        assert same_bits(stream.push(x)[-1], model(x))
        assert len(stream.flush()) == 0
        refused(StateError, lambda s=stream, x=x: s.push(x), "reset()")
        stream.reset()
        half = model.stream(every_step=True)
        half.push(x[:5])
        stream.state = State.from_bytes(half.state.to_bytes())
        assert same_bits(stream.push(x[5:])[-1], model(x))


def test_rows_are_reset_by_number(model):
    x, stream = normal(4, 9, 3), model.stream(4)
    stream.push(x[:, :3])
    stream.reset(rows=np.array([3, 1]))
    stream.reset(rows=[])
    stream.reset(rows=0)
    rest = stream.push(x[:, 3:])
    for row in (0, 1, 3):
        assert same_bits(rest[row], model(x[row, 3:]))
    assert same_bits(rest[2], model(x[2])[3:])
    for bad in ([4], [-1], [0.5], [True], "1", [None], [[9]]):
        with pytest.raises((ShapeError, DTypeError), match="rows"):
            stream.reset(rows=bad)


def test_batch_sizes_and_blocks_beyond_reason(model):
    for bad in (0, -1, 1.5, "2", 1 << 25, 1 << 70, [2]):
        refused(ShapeError, lambda b=bad: model.stream(b), "batch_size")
    long = built(
        lambda b: b.add(
            L.Conv1D,
            "conv",
            b.input("x", (4096,)),
            weight=normal(1, 2, 4096),
            dilation=1 << 23,
            padding=(1 << 23, 0),
        )
    )
    with pytest.raises(ResourceLimitError, match="memory"):
        long.stream(1 << 24)


# ---- threads -----------------------------------------------------------------------------------------------


def test_a_second_thread_in_a_stream_is_refused_while_other_streams_go_on():
    model = built(
        lambda b: lstm(b, "lstm", b.input("x", (64,)), 256)
    )  # enough work for the GIL to be released
    x, short = normal(12_000, 64), normal(3, 64)
    stream, other, expected = model.stream(), model.stream(), model(x)
    started, made, refusals = threading.Event(), [], []

    def push():
        started.set()
        made.append(stream.push(x))

    calls = {
        "step": lambda: stream.step(short[0]),
        "step out": lambda: stream.step(short[0], out=np.empty(256, np.float32)),
        "push": lambda: stream.push(short),
        "push out": lambda: stream.push(short, out=np.empty((3, 256), np.float32)),
        "flush": lambda: stream.flush(),
        "reset": lambda: stream.reset(),
        "state": lambda: stream.state,
        "set state": lambda: setattr(stream, "state", {}),
        "clone": lambda: stream.clone(),
    }
    worker = threading.Thread(target=push)
    worker.start()
    started.wait()
    while stream.position == 0 and worker.is_alive():
        pass  # inside the engine once the position moves
    for name, call in calls.items():
        if worker.is_alive():
            refused(StreamBusyError, call, "another thread", "model.stream()")
            refusals.append(name)
        assert same_bits(other.step(short[0]), model(short[:1])[0])
        other.reset()
    worker.join()
    assert refusals == list(calls), "the push ended too early for this test to mean anything"
    assert same_bits(made[0], expected)
    stream.reset()
    assert same_bits(stream.push(short), model(short))


def test_a_model_and_its_stream_in_a_ring_are_collected():
    for _ in range(20):
        for name in ("lstm_20", "per_frame"):
            model = model_of(name)
            stream = model.stream()
            model.graph.metadata["ring"] = [model, stream]
            model.ring = stream
            stream.push(normal(3, 20))
            model(normal(3, 20))
            del model, stream
        gc.collect()


# ---- what a model says of itself ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "delay"),
    [
        ("lstm_20", 0),
        ("conv_causal", 0),
        ("conv_same", 1),
        ("conv_even_same", 4),
        ("conv_dilated_same", 3),
        ("residual", 1),
        ("three_delays", 5),
    ],
)
def test_delay_is_how_many_frames_pass_before_the_first_answer(name, delay):
    case = next(c for c in CASES if c.name == name)
    model = rnnrt.Model(case.graph())
    stream = model.stream()
    assert model.delay == stream.delay == delay
    held = [stream.step(f) is None for f in case.sample(1, 20)[0]]
    assert held == [True] * delay + [False] * (20 - delay)
    assert len(stream.flush()) == delay


@pytest.mark.parametrize(
    "name",
    [
        "dense_20",
        "conv_causal",
        "conv_same",
        "conv_even_same",
        "conv_dilated",
        "conv_stride",
        "wavenet",
        "residual",
        "three_delays",
        "max_pool_valid",
        "max_pool_overlapping",
        "average_pool_padded",
        "conv_stride_beyond",
        "conv_grouped",
        "softmax",
    ],
)
def test_the_receptive_field_is_what_one_answer_depends_on(name):
    case = next(c for c in CASES if c.name == name)
    model, frames = rnnrt.Model(case.graph()), 64
    x = case.sample(1, frames)[0]
    plain = model(x)
    seen = np.zeros((frames, len(plain)), bool)
    for t in range(frames):
        spoiled = x.copy()
        spoiled[t] = np.nan
        seen[t] = np.isnan(model(spoiled)).any(-1)
    spans = [np.ptp(np.flatnonzero(seen[:, k])) + 1 for k in range(len(plain)) if seen[:, k].any()]
    assert model.receptive_field == max(spans)


def test_what_depends_on_everything_has_no_receptive_field():
    for name in ("lstm_20", "global_max", "flatten", "reverse", "textbook_conv_gru", "last_of_both"):
        assert model_of(name).receptive_field is None


def test_a_graph_names_its_inputs_and_outputs_by_itself():
    """Every Input in its order, and an output called like the value it shows, where nothing else is said."""
    x, y = (L.Input(name, features=(2,)) for name in "xy")
    parts = [x, y, L.Add("sum", ["x", "y"]), L.Reverse("back", "sum")]
    graph = L.Graph(parts, outputs=["back", L.Output("plain", "sum")])
    assert graph.inputs == ("x", "y") and [o.name for o in graph.outputs] == ["back", "plain"]
    assert L.Graph(parts, ("y", "x"), "back").inputs == ("y", "x")
    a, b = np.ones((2, 3, 2), np.float32)
    back, plain = rnnrt.from_graph(graph)(a, b)
    assert (plain == 2).all() and back.shape == plain.shape
    with pytest.raises(ShapeError, match="inputs must name every Input layer once"):
        L.Graph(parts, ["x"], ["back"])
    with pytest.raises(ShapeError, match="a graph needs outputs"):
        L.Graph(parts)
