"""The measurement behind every latency this project prints."""

import gc

import numpy as np
import pytest

from rnnrt.command import measure
from rnnrt.graph import GraphBuilder
from rnnrt.layers import Dense, Embedding


def test_percentiles_are_of_single_calls():
    found = measure.summarise([1000] * 989 + [5000] * 10 + [9000])
    assert (found.min, found.p50, found.max, found.calls) == (1.0, 1.0, 9.0, 1000)
    assert found.p99 == pytest.approx(5.0, abs=0.1) and 5.0 <= found.p999 <= 9.0
    assert found.mean == pytest.approx((989 + 50 + 9) / 1000)


@pytest.fixture
def takes(monkeypatch):
    """``takes(milliseconds, note)``: a call that lasts so long on the clock of measure, which nothing else
    moves."""
    now = 0
    monkeypatch.setattr(measure, "perf_counter_ns", lambda: now)

    def make(milliseconds, note=lambda: None):
        def call():
            nonlocal now
            now += int(milliseconds * 1e6)
            note()

        return call

    return make


def test_a_call_is_timed_by_itself(takes):
    found = measure.measure({"one": takes(2)}, 0.05)["one"]
    assert found.min == found.p50 == found.p999 == found.max == found.mean == 2000
    assert found.calls == 25


def test_contenders_take_turns_and_each_gets_its_calls(takes):
    order = []
    calls = {name: takes(time, lambda n=name: order.append(n)) for name, time in (("a", 4), ("b", 10))}
    found = measure.measure(calls, 0.16)
    # once each untimed; turns of 20 ms until each has had half of the time; LEAST calls for the slow one
    assert order == [*"ab", *(5 * "a" + 2 * "b") * 4, *"bb"]
    assert (found["a"].calls, found["b"].calls) == (20, measure.LEAST)


def test_progress_is_told_and_the_collector_comes_back_even_after_an_error(takes):
    told = []
    measure.measure({"": takes(1)}, 0.1, told.append)
    assert told == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])

    def failing():
        raise ValueError("no")

    with pytest.raises(ValueError):
        measure.measure({"": failing}, 0.01)
    assert gc.isenabled()


def test_random_inputs_fit_the_graph():
    b = GraphBuilder()
    ids = b.input("ids", (), ids=True, length=9)
    b.output(
        "y",
        b.add(Dense, "fc", b.add(Embedding, "table", ids, weight=np.ones((5, 3))), weight=np.ones((2, 3))),
    )
    x = measure.whole_input(b.graph(), 4, 100)["ids"]
    assert x.shape == (4, 9) and x.dtype.kind == "i" and 0 <= x.min() and x.max() < 5
