"""The measurement behind every latency this project prints."""

import gc
import itertools
import time

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


def test_a_call_is_timed_by_itself():
    found = measure.measure({"sleep": lambda: time.sleep(0.002)}, 0.05)["sleep"]
    assert 2000 <= found.min <= found.p50 <= found.p99 <= found.max
    assert 10 <= found.calls <= 25


def test_contenders_take_turns_and_each_gets_its_calls():
    order = []

    def contender(name):
        def call():
            order.append(name)
            time.sleep(0.004)

        return call

    found = measure.measure({"a": contender("a"), "b": contender("b")}, 0.16)
    turns = sum(x != y for x, y in itertools.pairwise(order))
    assert turns >= 5 and all(latency.calls >= measure.LEAST for latency in found.values())
    assert order[:2] == ["a", "b"] and len(order) == 2 + sum(
        latency.calls for latency in found.values()
    )  # the first call is untimed


def test_progress_is_told_and_the_collector_comes_back_even_after_an_error():
    told = []
    measure.measure({"": lambda: time.sleep(0.001)}, 0.1, told.append)
    assert told == sorted(told) and told[-1] == 1.0

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
