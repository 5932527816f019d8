"""Batch rows of one stream, and rows of many streams, that began at different times."""

import numpy as np
import pytest
from cases import CASES
from random_graphs import random_graph

import rnnrt
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


def same_bits(a, b):
    return a.shape == b.shape and a.tobytes() == b.tobytes()


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
    if model.stream().bursts:
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
    if not streams[0].bursts:
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
        (lambda: model.step_many([a, a], x), "named twice"),
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
