"""Calls a person can live with: plans at once, cancelled calls, other threads that go on, memory that stays
bounded, weights packed once.
"""

import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import rnnrt
from rnnrt import _engine, lowering
from rnnrt import layers as L

rng = np.random.default_rng(5)


def weights(*shape):
    return (rng.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)


def built(add, features=(4,), **keywords):
    """The Model of a graph with one input and what ``add`` (builder, input) makes of it."""
    b = L.GraphBuilder()
    b.output("y", add(b, b.input("x", features, **keywords)))
    return rnnrt.from_graph(b.graph())


# ---- branches that join ----


def test_levels_of_pooling_that_join_stream():
    def add(b, x):
        for _ in range(12):
            x = b.add(
                L.Add,
                "a",
                b.add(L.MaxPool1D, "p", x, size=2, stride=2),
                b.add(L.AveragePool1D, "q", x, size=3, stride=2, padding=(1, 0)),
            )
        return x

    model, x = built(add), weights(20_000, 4)
    stream = model.stream()
    made = np.concatenate([stream.push(x[:9_001]), stream.push(x[9_001:]), stream.flush()])
    assert made.shape == (4, 4) and made.tobytes() == model(x).tobytes()


def test_a_branch_may_lag_further_than_anybody_would_walk():
    def add(b, x):
        y = b.add(L.Conv1D, "late", x, weight=weights(1, 2, 1), dilation=400_000, padding=(0, 400_000))
        for _ in range(200):
            y = b.add(L.Activation, "t", y, activation="linear")
        return b.add(L.Add, "join", x, y)

    model = built(add, (1,))
    stream = model.stream(_block=1 << 19)
    x = weights(400_100, 1)
    assert len(stream.push(x)) == 100 and len(stream.flush()) == 400_000


def test_branches_that_drift_apart_are_refused_before_a_stream_begins_and_answer_whole_where_they_meet():
    def add(b, x):
        return b.add(L.Add, "join", x, b.add(L.AveragePool1D, "half", x, size=1, stride=2))

    model = built(add)
    assert not model.streamable
    with pytest.raises(rnnrt.NotStreamableError, match="'join'.*strides differ"):
        model.stream()
    x = weights(1, 4)
    assert np.array_equal(model(x), 2 * x)
    with pytest.raises(rnnrt.ShapeError, match="'join'"):
        model(weights(2, 4))
    fixed = built(add, length=1)  # one frame is all there is: they meet
    stream = fixed.stream()
    assert np.array_equal(np.concatenate([stream.push(x), stream.flush()]), 2 * x)


# ---- a long call can be ended and watched ----


def lstm(b, x, units=128, reverse=False):
    width = b.signal(x).width
    return b.add(
        L.LSTM,
        "l",
        x,
        weight=weights(4 * units, width),
        recurrent_weight=weights(4 * units, units),
        reverse=reverse,
    )


@pytest.mark.parametrize("how", ["whole", "backward", "threads", "integers", "push", "flush"])
def test_ctrl_c_ends_any_long_call_and_the_model_goes_on(how):
    script = Path(__file__).parent / "support" / "interrupted.py"
    done = subprocess.run(
        [sys.executable, script, how], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout.split("\n") == ["KeyboardInterrupt", "goes on", ""], done.stdout + done.stderr[-3000:]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("reverse", [False, True])
def test_progress_is_told_on_the_way_and_at_the_end(reverse, threads):
    model = built(lambda b, x: b.add(L.Last, "y", lstm(b, x, reverse=reverse))).with_options(
        num_threads=threads
    )
    told, caller = [], threading.get_ident()

    def progress(done, total):
        assert threading.get_ident() == caller
        told.append((done, total))

    x = weights(2, 50_000, 4)
    y = model(x, progress=progress)
    assert y.tobytes() == model(x).tobytes()
    done, totals = zip(*told)
    assert len(told) > 3 and list(done) == sorted(done) and 0 < done[0] < totals[0]
    assert set(totals) == {done[-1]} and totals[0] > 2 * 50_000 * 4 * 128 * 128
    told.clear()
    model(x[:, :3], progress=progress)  # a short call has only an end
    assert len(told) == 1 and told[0][0] == told[0][1]
    with pytest.raises(rnnrt.DTypeError, match="progress must be a function"):
        model(x, progress=3)


class Enough(Exception):
    pass


@pytest.mark.parametrize("threads", [1, 2])
def test_what_progress_raises_ends_the_call_and_comes_through(threads):
    model = built(lstm).with_options(num_threads=threads)
    x, calls = weights(2, 50_000, 4), []
    before = model(x[:, :50])

    def progress(done, total):
        calls.append(done)
        raise Enough

    with pytest.raises(Enough):
        model(x, progress=progress)
    assert len(calls) == 1
    assert model(x[:, :50]).tobytes() == before.tobytes()


# ---- other threads go on ----


def pooling(b, x):
    return b.add(L.AveragePool1D, "p", x, size=50, stride=1, padding=(49, 0))


def inside_each_frame(b, x):
    i = L.GraphBuilder()
    f = i.input("f", (1,), length=64)
    i.output("o", i.add(L.Conv1D, "c", f, weight=weights(1, 9, 1), padding="same"))
    y = b.add(L.TimeDistributed, "t", b.add(L.Reshape, "r", x, features=(64, 1)), graph=i.graph())
    return b.add(L.Reshape, "back", y, features=(64,))


@pytest.mark.parametrize("network", [pooling, inside_each_frame])
def test_a_long_push_into_out_lets_other_threads_run_also_where_nothing_has_parameters(network):
    model = built(network, (64,))
    stream, x = model.stream(), weights(30_000, 64)
    out, ready, seen, over = np.empty_like(x), threading.Event(), [], threading.Event()

    def look():
        ready.set()
        while not over.is_set():
            if 0 < stream.position < len(x):  # it is in the middle of its push, and this thread runs
                seen.append(stream.position)
                return

    other = threading.Thread(target=look)
    other.start()
    ready.wait()
    stream.push(x, out=out)
    over.set()
    other.join()
    assert seen and stream.position == len(x)


# ---- memory ----


def bilstm(b, x):
    y = b.add(L.Embedding, "e", x, weight=weights(22, 16)) if b.signal(x).features == () else x
    both = [
        b.add(
            L.LSTM,
            name,
            y,
            weight=weights(128, b.signal(y).width),
            recurrent_weight=weights(128, 32),
            reverse=name == "g",
        )
        for name in "fg"
    ]
    return b.add(L.Concatenate, "c", *both)


def test_a_large_batch_of_ids_is_converted_and_run_in_slices():
    model = built(lambda b, x: b.add(L.Last, "l", bilstm(b, x)), (), ids=True)
    x = rng.integers(0, 22, (100_000, 30)).astype(np.int32)
    model(x[:300])
    tracemalloc.start()
    y = model(x)
    peak = tracemalloc.get_traced_memory()[1] - y.nbytes
    tracemalloc.stop()
    assert peak < 8 << 20  # of 12 MB of ids: neither as float32 nor compared all at once
    assert model._plans.common.rows(30) < 1000
    for k in (0, 149, 50_000, 99_000):
        assert y[k : k + 1000].tobytes() == model(x[k : k + 1000]).tobytes()
    assert y.tobytes() == model.with_options(num_threads=2)(x).tobytes()
    x[70_001, 29] = 22
    with pytest.raises(rnnrt.ShapeError, match="row 70001, time 29"):
        model(x)


def test_states_lengths_and_outputs_of_a_batch_in_slices_are_those_of_its_rows():
    model = built(bilstm)
    x, start = weights(3_000, 40, 4), {"f/h": weights(3_000, 32), "g/c": weights(3_000, 32)}
    lengths = rng.integers(1, 41, 3_000)
    assert model._plans.common.rows(40) < 1_500
    for given in (x, x.astype(np.float64), np.asfortranarray(x)):
        for threads in (1, 2):
            whole = model.with_options(num_threads=threads)
            y, state = whole(given, initial_state=start, lengths=lengths, return_state=True)
            for k in (0, 1_499, 1_500, 2_999):
                row = {name: a[k : k + 1] for name, a in start.items()}
                one, end = model(
                    x[k : k + 1], initial_state=row, lengths=lengths[k : k + 1], return_state=True
                )
                assert y[k : k + 1].tobytes() == one.tobytes()
                for name, a in end.arrays().items():
                    assert state.arrays()[name][k : k + 1].tobytes() == a.tobytes()


def test_an_id_that_a_layer_makes_is_named_by_its_row_in_any_slice():
    model = built(
        lambda b, x: b.add(
            L.Embedding, "e", b.add(L.Activation, "a", x, activation="relu"), weight=weights(5, 8)
        ),
        (),
    )
    x = np.zeros((40_000, 3), np.float32)
    x[31_234, 2] = 7
    for given in (x, x.astype(np.float64)):
        with pytest.raises(rnnrt.ShapeError, match="row 31234, time 2"):
            model(given)


# ---- one copy of the weights ----


def test_plans_for_other_lengths_share_the_packed_weights():
    def add(b, x):
        y = b.add(L.Conv1D, "c", x, weight=weights(6, 5, 4), stride=2, padding="same", bias=weights(6))
        i = L.GraphBuilder()
        i.output("o", i.add(L.Dense, "d", i.input("f", (6,), time=False), weight=weights(3, 6)), "bf")
        y = b.add(L.TimeDistributed, "t", y, graph=i.graph())
        return b.add(L.GRU, "g", y, weight=weights(24, 3), recurrent_weight=weights(24, 8), bias=weights(24))

    model, x = built(add), weights(64, 4)
    assert model._plans.common is None
    for frames in range(20, 45):
        alone = rnnrt.Model(model.graph)
        assert model(x[:frames]).tobytes() == alone(x[:frames]).tobytes()
    first = model._plans.family
    again = _engine.plan_of(lowering.with_length(model._run_graph, 50), None, first)
    assert again.nbytes == first.nbytes
    other = built(lambda b, x: b.add(L.Conv1D, "c", x, weight=weights(6, 5, 4), stride=2, padding="same"))
    with pytest.raises(rnnrt.RnnrtError, match="family"):
        _engine.plan_of(lowering.with_length(other._run_graph, 50), None, first)
