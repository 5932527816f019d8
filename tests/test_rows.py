"""Batch rows of one stream, and rows of many streams, that began at different times."""

import signal

import numpy as np
import pytest
from case_layers import recurrent, weights
from cases import CASES
from expect import refused, same_bits
from random_graphs import random_graph
from small_models import built, net

import rnnrt
from rnnrt import DTypeError, ShapeError, _engine
from rnnrt import layers as L

STREAMS = [c for c in CASES if c.streams and not c.length]


def free_stream(seed):
    """A random graph that streams inputs of any length into one output, or None."""
    graph, inputs = random_graph(seed, streamable=True)
    fixed = any(graph.signals[n].length for n in graph.inputs)
    if fixed or len(graph.outputs) > 1 or not rnnrt.from_graph(graph).streamable:
        return None
    return graph, inputs


SEEDS = [seed for seed in range(0, 120, 2) if free_stream(seed)]


class Alone:
    """Each row of a batch as a stream of its own: what the rows must answer, whatever they are run with."""

    def __init__(self, model, rows):
        self.model, self.streams = model, [model.stream() for _ in range(rows)]

    def push(self, x):
        return [s.push(row) for s, row in zip(self.streams, x)]

    def reset(self, rows):
        for row in rows:
            self.streams[row].reset()


def check(made, expected):
    """One array where all rows are due as many frames, else a list with one a row."""
    if len({len(e) for e in expected}) == 1:
        assert isinstance(made, np.ndarray)
    else:
        assert isinstance(made, list)
    assert len(made) == len(expected)
    assert all(same_bits(np.ascontiguousarray(a), b) for a, b in zip(made, expected))


@pytest.mark.parametrize("case", STREAMS, ids=lambda c: c.name)
def test_rows_can_be_reset_in_every_network(case):
    model = rnnrt.Model(case.graph())
    x = case.sample(4, 60)
    stream, alone = model.stream(4), Alone(model, 4)
    at = 0
    for frames, reset in ((3, [1]), (1, []), (5, [0, 2]), (2, [1]), (7, []), (1, [3]), (30, [])):
        check(stream.push(x[:, at : at + frames]), alone.push(x[:, at : at + frames]))
        stream.reset(rows=reset)
        alone.reset(reset)
        at += frames
    assert [int(p) for p in np.broadcast_to(stream.position, 4)] == [s.position for s in alone.streams]
    check(stream.flush(), [s.flush() for s in alone.streams])
    with pytest.raises(rnnrt.StateError, match="over"):
        stream.reset(rows=[0])
    stream.reset()
    check(stream.push(x[:, :9]), [model.stream().push(row[:9]) for row in x])


@pytest.mark.parametrize("case", STREAMS, ids=lambda c: c.name)
def test_streams_at_different_positions_step_together(case):
    model = rnnrt.Model(case.graph())
    if model.stream().may_emit_many:
        with pytest.raises(rnnrt.StateError, match="push_many"):
            model.step_many([model.stream()], [case.sample(1, 1)[0, 0]])
    x = case.sample(3, 40)
    streams, alone = [model.stream() for _ in range(3)], Alone(model, 3)
    for k, frames in enumerate((0, 4, 9)):
        streams[k].push(x[k, :frames])
        alone.streams[k].push(x[k, :frames])
    chunk = x[:, 10:17]
    for made, expected in zip(model.push_many(streams, chunk), alone.push(chunk)):
        assert same_bits(made, expected)
    if not streams[0].may_emit_many:
        frames = x[:, 20]
        made = model.step_many(streams, frames)
        for a, s, frame in zip(made, alone.streams, frames):
            b = s.step(frame)
            assert (a is None) == (b is None) and (a is None or same_bits(a, b))
        due = [s.clone() for s in alone.streams]
        width = model.outputs["y"][-1]
        out = np.full((3, width), 7, np.float32)
        mask = model.step_many(streams, x[:, 21], out=out)
        for row, (s, frame) in enumerate(zip(due, x[:, 21])):
            b = s.step(frame)
            assert mask[row] == (b is not None)
            assert same_bits(out[row], np.full(width, 7, np.float32) if b is None else b)


@pytest.mark.parametrize("seed", SEEDS)
def test_rows_of_random_graphs(seed):
    graph, inputs = free_stream(seed)
    model = rnnrt.from_graph(graph)
    timed = [n for n in graph.inputs if graph.signals[n].time]
    given = inputs(3, 90)
    once = {n: given[n] for n in graph.inputs if n not in timed}
    chunk = lambda a, b, row=slice(None): tuple(given[n][row, a:b] for n in timed)
    one = lambda parts: parts if len(parts) > 1 else parts[0]
    stream = model.stream(3, inputs=once)
    alone = [model.stream(inputs={n: a[k] for n, a in once.items()}) for k in range(3)]
    at = 0
    for frames, reset in ((5, 0), (1, 2), (9, 1), (3, 0), (40, 1), (20, 2)):
        parts = [s.push(one(chunk(at, at + frames, k))) for k, s in enumerate(alone)]
        check(stream.push(one(chunk(at, at + frames))), parts)
        stream.reset(rows=[reset])
        alone[reset].reset()
        at += frames


def strided():
    b = L.GraphBuilder()
    x = b.input("x", (2,))
    weight = np.random.default_rng(0).standard_normal((3, 4, 2))
    b.output("y", b.add(L.Conv1D, "c", x, weight=weight, stride=2, padding=(3, 0)))
    return rnnrt.from_graph(b.graph())


def test_rows_out_of_phase_answer_one_by_one():
    model, x = strided(), np.random.default_rng(1).standard_normal((2, 20, 2)).astype(np.float32)
    stream = model.stream(2)
    stream.push(x[:, :3])
    stream.reset(rows=[1])
    assert stream.position.tolist() == [3, 0]
    first = stream.step(x[:, 3])
    assert (
        isinstance(first, list)
        and first[0] is None
        and same_bits(first[1], model.stream().push(x[1, 3:4])[0])
    )
    with pytest.raises(rnnrt.StateError, match="no one shape"):
        stream.push(x[:, 4:5], out=np.empty((2, 4, 3), np.float32))
    stream.push(x[:, 4:5])
    stream.reset(rows=[0, 1])
    assert isinstance(stream.push(x[:, :7]), np.ndarray) and stream.position == 7


def test_a_state_carries_the_position_of_every_row():
    model, x = strided(), np.random.default_rng(1).standard_normal((2, 20, 2)).astype(np.float32)
    stream = model.stream(2)
    stream.push(x[:, :3])
    stream.reset(rows=[1])
    stream.push(x[:, 3:8])
    other = model.stream(2)
    other.state = rnnrt.State.from_bytes(stream.state.to_bytes())
    assert other.position.tolist() == [8, 5]
    for a, b in zip(stream.push(x[:, 8:]), other.push(x[:, 8:])):
        assert same_bits(a, b)


def test_streams_that_cannot_run_together_are_refused_and_nothing_moves():
    model, x = strided(), np.zeros((2, 2), np.float32)
    a, b = model.stream(), model.stream()
    for call, words in (
        (lambda: model.step_many([a, a], x), "given twice"),
        (lambda: model.step_many([a, strided().stream()], x), "another model"),
        (lambda: model.step_many([a, 3], x), "not a stream"),
        (lambda: model.step_many([a, b], x[:1]), "one frame a stream"),
        (lambda: model.push_many([a, b], [x, x[:1]]), "different numbers of frames"),
        (lambda: model.step_many([a, b], [x[0], x]), "wrong shape"),
        (lambda: model.step_many([a, b], x, out=np.empty((2, 4), np.float32)), "out does not fit"),
        (lambda: model.step_many([a, b], x, out=3), "float32"),
    ):
        with pytest.raises(rnnrt.RnnrtError, match=words):
            call()
    b.flush()
    with pytest.raises(rnnrt.StateError, match="over"):
        model.step_many([a, b], x)
    assert a.position == 0


def fixed(length):
    b = L.GraphBuilder()
    x = b.input("x", (2,), length=length)
    b.output("y", b.add(L.Conv1D, "c", x, weight=np.ones((1, 2, 2)), stride=1))
    return rnnrt.from_graph(b.graph())


def test_a_fixed_length_holds_for_every_row():
    model, x = fixed(20), np.zeros((2, 20, 2), np.float32)
    stream = model.stream(2)
    stream.push(x[:, :7])
    stream.reset(rows=[0])
    stream.push(x[:, :12])  # both are past the start now, and run as one batch
    for frames in (2, 9):
        with pytest.raises(rnnrt.ShapeError, match="fixed length"):
            stream.push(x[:, :frames])  # row 1 has room for one
    with pytest.raises(rnnrt.ShapeError, match="fixed length"):
        stream.flush()
    assert stream.position.tolist() == [12, 19]
    stream.push(x[:, :1])
    a, b = model.stream(), model.stream()
    a.push(x[0, :19])
    with pytest.raises(rnnrt.ShapeError, match="fixed length"):
        model.push_many([b, a], x[:, :2])
    assert (a.position, b.position) == (19, 0)


def pooled():
    b = L.GraphBuilder()
    x = b.input("x", (2,))
    b.output("y", b.add(L.GlobalAveragePool, "p", x))
    return rnnrt.from_graph(b.graph())


def test_a_row_without_frames_ends_beside_one_with_frames():
    model, x = pooled(), np.random.default_rng(3).standard_normal((2, 5, 2)).astype(np.float32)
    stream, alone = model.stream(2), Alone(model, 2)
    stream.push(x), alone.push(x)
    stream.reset(rows=[1]), alone.reset([1])
    check(stream.flush(), [s.flush() for s in alone.streams])


def test_what_is_asked_of_out_before_any_row_moves():
    model, x = strided(), np.random.default_rng(4).standard_normal((2, 12, 2)).astype(np.float32)
    a, b = model.stream(), model.stream()
    a.push(x[0, :1])
    out = np.empty((2, 0, 3), np.float32)
    assert model.push_many([a, b], x[:, :0], out=out).tolist() == [0, 0]
    for shape in ((2, 1, 3), (3, 9, 3), (2, 9, 4), (2, 9)):
        with pytest.raises(rnnrt.ShapeError, match=r"out does not fit; expected \(2, at least 2, 3\)"):
            model.push_many([a, b], x[:, 1:5], out=np.empty(shape, np.float32))
    assert (a.position, b.position) == (1, 0)
    streams, expected = [a.clone(), b.clone()], [s.push(row) for s, row in zip((a, b), x[:, 1:5])]
    out = np.empty((2, 3, 3), np.float32)
    counts = model.push_many(streams, x[:, 1:5], out=out)
    assert counts.tolist() == [len(e) for e in expected]
    assert all(same_bits(row[:n], e) for row, n, e in zip(out, counts, expected))


def test_most_frames_of_a_push_are_those_of_the_row_that_is_due_most():
    stream, x = strided().stream(2), np.zeros((2, 20, 2), np.float32)
    stream.push(x[:, :1])
    stream.reset(rows=[1])
    for n in range(9):
        made = stream.clone().push(x[:, :n])
        assert stream.max_outputs(n) == max(map(len, made))


def test_rows_are_one_list_of_numbers():
    stream = strided().stream(2)
    for rows in ([[0, 1]], [2], [-1], [0.0], "a"):
        with pytest.raises(rnnrt.RnnrtError):
            stream.reset(rows=rows)
    stream.reset(rows=[])
    stream.reset(rows=1)


def test_one_number_is_not_a_list_of_frames():
    model = strided()
    for given in (np.float32(1), np.zeros(()), None):
        with pytest.raises(rnnrt.RnnrtError):
            model.step_many([model.stream(2), model.stream()], given)


def given_once(length):
    b = L.GraphBuilder()
    x = b.input("x", (2,))
    given = b.input("s", (2 * length,), time=False)
    whole = b.add(L.Unflatten, "whole", given, length=length)
    b.output("y", b.add(L.Concatenate, "joined", x, whole))
    return rnnrt.from_graph(b.graph())


def test_streams_at_different_positions_read_what_was_given_once():
    model, random = given_once(10), np.random.default_rng(5)
    x, given = (random.standard_normal(shape).astype(np.float32) for shape in ((2, 10, 2), (2, 20)))
    streams = [model.stream(inputs={"s": g}) for g in given]
    streams[0].push(x[0, :8]), streams[1].push(x[1, :3])
    alone = [s.clone() for s in streams]
    for k in range(2):
        chunks = [x[0, 8 + k : 9 + k], x[1, 3 + k : 4 + k]]
        for a, s, chunk in zip(model.push_many(streams, chunks), alone, chunks):
            assert same_bits(a, s.push(chunk))
    assert same_bits(streams[1].clone().push(x[1, 5:]), alone[1].push(x[1, 5:]))


def test_a_network_without_a_period_takes_any_position():
    b = L.GraphBuilder()
    at = b.input("x", (1,))
    for k in range(8):
        weight = np.ones((1, 1, 1))
        at = b.add(L.Conv1D, f"c{k}", at, weight=weight, stride=(1 << 13) - 1)
    b.output("y", at)
    model = rnnrt.from_graph(b.graph())
    streams = [model.stream(), model.stream()]
    state = streams[0].state
    state.arrays()["position"][...] = 1 << 41
    streams[0].state = state
    made = model.push_many(streams, np.zeros((2, 3, 1), np.float32))
    assert len(made) == 2 and streams[1].position == 3


def test_answers_to_every_step_have_no_one_shape_where_rows_are_apart():
    b = L.GraphBuilder()
    x = b.input("x", (2,))
    conv = b.add(L.Conv1D, "c", x, weight=np.ones((3, 3, 2)))
    b.output("y", b.add(L.Last, "last", conv))
    model, x = rnnrt.from_graph(b.graph()), np.zeros((2, 12, 2), np.float32)
    stream = model.stream(2, every_step=True)
    stream.push(x[:, :7])
    stream.reset(rows=[1])
    with pytest.raises(rnnrt.StateError, match="no one shape"):
        stream.push(x[:, 7:8], out=np.empty((2, 5, 3), np.float32))
    assert stream.position.tolist() == [7, 0]


def test_a_state_of_other_names_is_refused_by_name():
    stream = strided().stream()
    with pytest.raises(rnnrt.RnnrtError):
        stream.state = {3: np.zeros(1)}
    with pytest.raises(rnnrt.RnnrtError):
        strided().stream(inputs={3: np.zeros(1), "b": np.zeros(1)})
    lstm = next(c for c in CASES if c.name.startswith("lstm"))
    with pytest.raises(rnnrt.RnnrtError):
        rnnrt.Model(lstm.graph())(lstm.sample(1, 3), initial_state={3: np.zeros(1), "b": np.zeros(1)})


def test_step_many_fills_the_rows_of_out():
    model, x = net(), np.random.default_rng(1).standard_normal((3, 3)).astype(np.float32)
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


def test_plain_rows_are_stepped_at_once_and_all_others_one_by_one_with_the_same_bits():
    """``step_rows`` is the quick way of ``step_many``: it answers or leaves everything as it was."""
    r = np.random.default_rng(4)
    b = L.GraphBuilder()
    y = b.add(L.Conv1D, "conv", b.input("x", (3,)), weight=weights(r, 5, 2, 3), stride=2, padding=(1, 0))
    b.add(L.GRU, "gru", y, weight=weights(r, 12, 5), recurrent_weight=weights(r, 12, 4))
    b.output("y", "gru")
    model = rnnrt.from_graph(b.graph())
    x = weights(r, 6, 9, 3).astype(np.float32)
    streams = [model.stream(), model.stream(2), model.stream(), model.stream(2)]
    alone = [model.stream() for _ in range(6)]
    shifted, out = model.stream(), np.empty((6, 4), np.float32)
    for t in range(9):
        wanted = [s.step(frame) for s, frame in zip(alone, x[:, t])]
        if t % 2:
            due = _engine.step_rows(model, streams, x[:, t].copy(), out)
            assert due.tolist() == [w is not None for w in wanted]
            assert all(same_bits(a, w) for a, w in zip(out, wanted) if w is not None)
        else:
            made = _engine.step_rows(model, streams, x[:, t].copy(), None)
            rows = [made[0], *(made[1] if made[1] is not None else [None] * 2), made[2]]
            assert all(a is w is None or same_bits(a, w) for a, w in zip(rows, wanted))
    before = [s.state.to_bytes() for s in streams]
    frames = x[:, 0].copy()
    ended, other = model.stream(), rnnrt.from_graph(b.graph()).stream()
    ended.push(x[0])
    ended.flush()
    for mixed, given, answer in [
        ([streams[0], streams[0]], frames[:2], None),
        ([streams[0], ended], frames[:2], None),
        ([streams[0], other], frames[:2], None),
        ([streams[0], 3], frames[:2], None),
        ([], frames[:0], None),
        (streams, frames[:5], None),
        (streams, frames.astype(np.float64), None),
        (streams, list(frames), None),
        (streams, frames, out[:5]),
    ]:
        assert _engine.step_rows(model, mixed, given, answer) is NotImplemented
    assert [s.state.to_bytes() for s in streams] == before
    shifted.push(x[0, :8])  # at another phase than those after nine frames
    together = [streams[0], shifted]
    wanted = [s.clone().step(frame) for s, frame in zip(together, frames)]
    assert (wanted[0] is None) != (wanted[1] is None)
    again = [s.clone() for s in together]
    made = _engine.step_rows(model, together, frames[:2], None)  # and nothing was left busy
    assert all(a is w is None or same_bits(a, w) for a, w in zip(made, wanted))
    out[:] = 7
    due = _engine.step_rows(model, again, frames[:2], out[:2])
    for row, w in enumerate(wanted):
        assert due[row] == (w is not None)
        assert same_bits(out[row], np.full(4, 7, np.float32) if w is None else w)


class Mix:
    """Streams of one model at any positions, pushed together, and a copy of each that is pushed alone."""

    def __init__(self, model, sample, seed):
        self.model, self.sample, self.r = model, sample, np.random.default_rng(seed)
        self.streams = [model.stream() for _ in range(9)]
        self.alone = [model.stream() for _ in self.streams]

    def step(self, frames):
        """Some of the streams, in any order; now and then one has begun anew, or goes on from another's."""
        r, count = self.r, len(self.streams)
        for k in r.permutation(count)[: r.integers(3)]:
            if r.integers(2):
                other = int(r.integers(count))
                self.streams[k], self.alone[k] = self.streams[other].clone(), self.alone[other].clone()
            else:
                self.streams[k].reset()
                self.alone[k].reset()
        chosen = [int(k) for k in r.permutation(count)[: 1 + r.integers(count)]]
        chunks = [self.sample(frames) for _ in chosen]
        one = frames == 1 and not self.streams[0].may_emit_many
        call = self.model.step_many if one else self.model.push_many
        given = [chunk[0] for chunk in chunks] if one else chunks
        made = call([self.streams[k] for k in chosen], np.stack(given))
        for answer, chunk, k in zip(made, given, chosen):
            wanted = (self.alone[k].step if one else self.alone[k].push)(chunk)
            assert (answer is None) == (wanted is None)
            assert wanted is None or same_bits(np.ascontiguousarray(answer), wanted)


@pytest.mark.parametrize("case", STREAMS, ids=lambda c: c.name)
def test_any_mix_of_streams_answers_as_each_alone(case):
    r = np.random.default_rng(2)
    mix = Mix(rnnrt.Model(case.graph()), lambda n: case.sample(1, n)[0][r.permutation(n)], 3)
    for frames in (1, 2, 1, 1, 5, 1, 1, 1, 3, 1, 11, 1, 1, 1):
        mix.step(frames)


def test_rows_whose_windows_are_not_equally_full_answer_as_each_alone():
    """In a causal network they run as one batch from their first frame on."""
    b = L.GraphBuilder()
    x = b.input("x", (4,))
    r = np.random.default_rng(5)
    for k, kind in enumerate((L.Conv1D, L.MaxPool1D, L.AveragePool1D, L.Conv1D)):
        window = {"weight": weights(r, 4, 3, 4)} if kind is L.Conv1D else {"size": 3, "stride": 1}
        x = b.add(kind, f"w{k}", x, padding=(2, 0), **window)
    wide = {"weight": weights(r, 20, 3, 4), "dilation": 4, "padding": (8, 0)}
    x = b.add(
        L.Conv1D, "taps", b.add(L.Conv1D, "wide", x, **wide), weight=weights(r, 8, 2, 20), padding=(1, 0)
    )
    depthwise = {"weight": weights(r, 8, 3, 1), "groups": 8, "dilation": 3, "padding": (6, 0)}
    b.output("y", b.add(L.Conv1D, "depthwise", x, **depthwise))
    model = rnnrt.from_graph(b.graph())
    stream, alone, x = model.stream(7), Alone(model, 7), weights(r, 7, 60, 4)
    for t in range(20):
        check(stream.push(x[:, t : t + 1]), alone.push(x[:, t : t + 1]))
        stream.reset(rows=[t % 7])
        alone.reset([t % 7])
    check(stream.push(x[:, 20:21]), alone.push(x[:, 20:21]))
    assert len(set(stream.position.tolist())) == 7
    for frames in (1, 2, 7, 30):
        check(stream.push(x[:, 21 : 21 + frames]), alone.push(x[:, 21 : 21 + frames]))


def test_many_rows_with_much_work_take_the_short_way_too():
    """A step that is long enough to be asked whether it goes on: the same bits, and nothing row by row."""
    model = built(lambda b, x, r: recurrent(b, x, r, L.LSTM, 256), features=(256,))
    count = _engine.LONG_WORK // (8 * 256 * 256) + 1
    frames = np.random.default_rng(0).uniform(-1, 1, (count, 256)).astype(np.float32)
    streams, alone = ([model.stream() for _ in range(count)] for _ in range(2))
    out = np.empty((count, 256), np.float32)
    assert _engine.step_rows(model, streams, frames, out) is not NotImplemented
    np.testing.assert_array_equal(out, [s.step(frame) for s, frame in zip(alone, frames)])


def test_a_signal_ends_a_long_step_of_many_streams():
    class Stop(Exception):
        pass

    def stop(*_):
        raise Stop

    def network(b, x, r):
        for k in range(5):
            x = b.add(L.Dense, f"dense{k}", x, weight=weights(r, 1024, 1024))
        return x

    model = built(network, features=(1024,))
    frames = np.zeros((4000, 1024), np.float32)  # some seconds of work
    streams = [model.stream() for _ in frames]
    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(Stop):
            model.step_many(streams, frames)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    with pytest.raises(rnnrt.StateError):
        streams[0].step(frames[0])
    streams[0].reset()
    assert streams[0].step(frames[0]).shape == (1024,)
